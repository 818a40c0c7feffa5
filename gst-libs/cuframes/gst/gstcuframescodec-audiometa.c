/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The metas of GStreamer's audio library, field by field.  Planar samples
 * cannot be read without theirs. */

#include "gstcuframescodec-private.h"

#include <gst/audio/audio.h>

#define MAX_CHANNELS 64
#define MAX_POSITION GST_AUDIO_CHANNEL_POSITION_SURROUND_RIGHT

/* On the wire: numbers are never given to another meta. */
enum
{
  META_AUDIO = 20,
  META_CLIPPING = 21,
  META_LEVEL = 22,
};

static void
put_audio (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstAudioMeta *audio = (const GstAudioMeta *) meta;
  const GstAudioInfo *info = &audio->info;
  const gboolean planar = info->layout == GST_AUDIO_LAYOUT_NON_INTERLEAVED;

  gst_cuframes_codec_put_name (w, GST_AUDIO_INFO_NAME (info));
  put_u8 (w, planar);
  put_u32 (w, (guint32) info->rate);
  put_u32 (w, (guint32) info->channels);
  put_u64 (w, audio->samples);
  for (gint i = 0; i < info->channels && i < MAX_CHANNELS; i++) {
    put_u32 (w, (guint32) info->position[i]);
    put_u64 (w, planar ? audio->offsets[i] : 0);
  }
}

/* Whether all samples lie within the buffer, each in a place of its own. */
static gboolean
samples_fit (const GstAudioInfo * info, guint64 samples, const gsize * offsets,
    gsize size)
{
  const gsize sample = GST_AUDIO_INFO_BPF (info) / info->channels;

  if (sample == 0)
    return FALSE;
  if (info->layout == GST_AUDIO_LAYOUT_INTERLEAVED)
    return samples <= size / GST_AUDIO_INFO_BPF (info);
  for (gint i = 0; i < info->channels; i++) {
    if (offsets[i] > size || samples > (size - offsets[i]) / sample)
      return FALSE;
    for (gint k = 0; k < i; k++) {
      if (MAX (offsets[i], offsets[k]) - MIN (offsets[i], offsets[k])
          < samples * sample)
        return FALSE;
    }
  }
  return TRUE;
}

static gboolean
get_audio (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  GstAudioChannelPosition positions[MAX_CHANNELS];
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  gsize offsets[MAX_CHANNELS];
  GstAudioFormat format;
  GstAudioInfo info;
  guint32 rate, channels;
  guint64 samples;
  gboolean planar;

  if (!gst_cuframes_codec_get_name (r, name))
    return FALSE;
  format = gst_audio_format_from_string (name);
  planar = get_u8 (r) != 0;
  rate = get_u32 (r);
  channels = get_u32 (r);
  samples = get_u64 (r);
  if (channels == 0 || channels > MAX_CHANNELS || rate == 0 || rate > G_MAXINT) {
    r->size = 0;
    return FALSE;
  }
  for (guint i = 0; i < channels; i++) {
    positions[i] = (GstAudioChannelPosition) (gint32) get_u32 (r);
    offsets[i] = get_u64 (r);
    if ((gint) positions[i] < GST_AUDIO_CHANNEL_POSITION_NONE
        || (gint) positions[i] > (gint) MAX_POSITION)
      positions[i] = GST_AUDIO_CHANNEL_POSITION_INVALID;
  }
  /* GStreamer complains aloud of positions that it does not know */
  if (r->failed || format <= GST_AUDIO_FORMAT_ENCODED
      || !gst_audio_check_valid_channel_positions (positions, (gint) channels,
          TRUE))
    return FALSE;

  gst_audio_info_set_format (&info, format, (gint) rate, (gint) channels,
      positions);
  info.layout = planar ? GST_AUDIO_LAYOUT_NON_INTERLEAVED
      : GST_AUDIO_LAYOUT_INTERLEAVED;
  /* Elements read samples where the meta says they are */
  if (!samples_fit (&info, samples, offsets, gst_buffer_get_size (buffer)))
    return FALSE;
  return gst_buffer_add_audio_meta (buffer, &info, samples,
      planar ? offsets : NULL) != NULL;
}

static void
put_clipping (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstAudioClippingMeta *clipping = (const GstAudioClippingMeta *) meta;

  put_u32 (w, clipping->format);
  put_u64 (w, clipping->start);
  put_u64 (w, clipping->end);
}

static gboolean
get_clipping (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  const guint32 format = get_u32 (r);
  const guint64 start = get_u64 (r), end = get_u64 (r);

  /* Formats that a program has registered have other numbers elsewhere */
  if (r->failed || format == GST_FORMAT_UNDEFINED || format > GST_FORMAT_PERCENT)
    return FALSE;
  gst_buffer_add_audio_clipping_meta (buffer, (GstFormat) format, start, end);
  return TRUE;
}

static void
put_level (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstAudioLevelMeta *level = (const GstAudioLevelMeta *) meta;

  put_u8 (w, level->level);
  put_u8 (w, level->voice_activity != FALSE);
}

static gboolean
get_level (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  const guint8 level = get_u8 (r);
  const gboolean voice_activity = get_u8 (r) != 0;

  if (r->failed || level > 127)
    return FALSE;
  gst_buffer_add_audio_level_meta (buffer, level, voice_activity);
  return TRUE;
}

static const GstCuframesCodecMeta codes[] = {
  {META_AUDIO, gst_audio_meta_api_get_type, put_audio, get_audio},
  {META_CLIPPING, gst_audio_clipping_meta_api_get_type, put_clipping,
      get_clipping},
  {META_LEVEL, gst_audio_level_meta_api_get_type, put_level, get_level},
};

const GstCuframesCodecMeta *
gst_cuframes_codec_audio_meta_of_api (GType api)
{
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++) {
    if (codes[i].get_api () == api)
      return &codes[i];
  }
  return NULL;
}

const GstCuframesCodecMeta *
gst_cuframes_codec_audio_meta_of_kind (guint8 kind)
{
  for (guint i = 0; i < G_N_ELEMENTS (codes); i++) {
    if (codes[i].kind == kind)
      return &codes[i];
  }
  return NULL;
}
