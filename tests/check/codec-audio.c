/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The metas of audio: what they say arrives, and what they say of samples that
 * are not there does not. */

#include <gst/check/gstcheck.h>
#include <gst/audio/audio.h>

#include "gstcuframescodec.h"

#define CHANNELS 3
#define SAMPLES 100
#define BYTES (CHANNELS * SAMPLES * sizeof (gfloat))

static GstBuffer *
make_planar (void)
{
  const GstAudioChannelPosition positions[CHANNELS] = {
    GST_AUDIO_CHANNEL_POSITION_FRONT_LEFT,
    GST_AUDIO_CHANNEL_POSITION_FRONT_RIGHT, GST_AUDIO_CHANNEL_POSITION_LFE1
  };
  gsize offsets[CHANNELS] = { 0, 2 * SAMPLES * sizeof (gfloat),
    SAMPLES * sizeof (gfloat)
  };
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, BYTES, NULL);
  GstAudioInfo info;

  gst_audio_info_set_format (&info, GST_AUDIO_FORMAT_F32LE, 48000, CHANNELS,
      positions);
  info.layout = GST_AUDIO_LAYOUT_NON_INTERLEAVED;
  fail_unless (gst_buffer_add_audio_meta (buffer, &info, SAMPLES, offsets));
  return buffer;
}

static GstBuffer *
carry (GstBuffer * buffer, gsize bytes, guint * n_skipped)
{
  GstBuffer *back = gst_buffer_new_allocate (NULL, bytes, NULL);
  guint8 page[4096];
  gsize size;
  guint left_out;

  size = gst_cuframes_codec_metas_to_bytes (buffer, page, sizeof (page),
      &left_out);
  fail_unless (size > 0 && size <= sizeof (page));
  fail_unless_equals_int (left_out, 0);
  fail_unless (gst_cuframes_codec_metas_from_bytes (back, page, size, n_skipped,
          NULL));
  return back;
}

GST_START_TEST (planar_samples_can_be_read)
{
  GstBuffer *buffer = make_planar (), *back;
  GstAudioMeta *sent = gst_buffer_get_audio_meta (buffer), *meta;
  guint n_skipped;

  back = carry (buffer, BYTES, &n_skipped);
  fail_unless_equals_int (n_skipped, 0);
  meta = gst_buffer_get_audio_meta (back);
  fail_unless (meta != NULL);
  fail_unless (gst_audio_info_is_equal (&meta->info, &sent->info));
  fail_unless_equals_uint64 (meta->samples, SAMPLES);
  for (guint i = 0; i < CHANNELS; i++)
    fail_unless_equals_uint64 (meta->offsets[i], sent->offsets[i]);
  gst_buffer_unref (back);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

/* GStreamer takes no such meta, and says so aloud. */
GST_START_TEST (clipping_without_a_format_is_refused)
{
  GstBuffer *buffer = gst_buffer_new (), *back = gst_buffer_new ();
  guint8 bytes[256];
  guint n_skipped, n_forged = 0;
  gsize size;

  gst_buffer_add_audio_clipping_meta (buffer, GST_FORMAT_DEFAULT, 312, 313);
  size = gst_cuframes_codec_metas_to_bytes (buffer, bytes, sizeof bytes,
      &n_skipped);
  fail_unless (size <= sizeof bytes);
  for (gsize i = 0; i + 12 <= size; i++) {
    if (GST_READ_UINT32_LE (bytes + i) != GST_FORMAT_DEFAULT
        || GST_READ_UINT64_LE (bytes + i + 4) != 312)
      continue;
    GST_WRITE_UINT32_LE (bytes + i, GST_FORMAT_UNDEFINED);
    n_forged++;
  }
  fail_unless_equals_int (n_forged, 1);
  gst_cuframes_codec_metas_from_bytes (back, bytes, size, &n_skipped, NULL);
  fail_unless (gst_buffer_get_audio_clipping_meta (back) == NULL);
  gst_buffer_unref (back);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

GST_START_TEST (clipping_and_level_arrive)
{
  GstBuffer *buffer = gst_buffer_new (), *back;
  const GstAudioClippingMeta *clipping;
  const GstAudioLevelMeta *level;
  guint n_skipped;

  gst_buffer_add_audio_clipping_meta (buffer, GST_FORMAT_DEFAULT, 312,
      G_MAXUINT64);
  gst_buffer_add_audio_level_meta (buffer, 127, TRUE);
  back = carry (buffer, 0, &n_skipped);
  fail_unless_equals_int (n_skipped, 0);
  clipping = gst_buffer_get_audio_clipping_meta (back);
  fail_unless (clipping != NULL);
  fail_unless_equals_int (clipping->format, GST_FORMAT_DEFAULT);
  fail_unless_equals_uint64 (clipping->start, 312);
  fail_unless_equals_uint64 (clipping->end, G_MAXUINT64);
  level = gst_buffer_get_audio_level_meta (back);
  fail_unless (level != NULL);
  fail_unless_equals_int (level->level, 127);
  fail_unless (level->voice_activity);
  gst_buffer_unref (back);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

GST_START_TEST (samples_beyond_the_buffer_are_left_out)
{
  GstBuffer *buffer = make_planar (), *back;
  guint n_skipped;

  back = carry (buffer, BYTES - 1, &n_skipped);
  fail_unless_equals_int (n_skipped, 1);
  fail_unless (gst_buffer_get_audio_meta (back) == NULL);
  gst_buffer_unref (back);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

/* Whatever is changed, the samples of what is read lie within the buffer. */
GST_START_TEST (forged_layouts_stay_within_the_buffer)
{
  static const guint8 changes[] = { 0x01, 0x40, 0x80, 0xff };
  GstBuffer *buffer = make_planar ();
  guint8 page[4096], forged[4096];
  gsize size = gst_cuframes_codec_metas_to_bytes (buffer, page, sizeof (page),
      NULL);

  for (gsize i = 0; i < size; i++) {
    for (guint k = 0; k < G_N_ELEMENTS (changes); k++) {
      GstBuffer *back = gst_buffer_new_allocate (NULL, BYTES, NULL);
      GstAudioMeta *meta;

      memcpy (forged, page, size);
      forged[i] ^= changes[k];
      gst_cuframes_codec_metas_from_bytes (back, forged, size, NULL, NULL);
      meta = gst_buffer_get_audio_meta (back);
      for (gint c = 0; meta && c < meta->info.channels; c++) {
        gsize sample = GST_AUDIO_INFO_BPF (&meta->info) / meta->info.channels;
        gsize offset = meta->offsets ? meta->offsets[c] : 0;

        fail_unless (offset <= BYTES);
        fail_unless (meta->samples <= (BYTES - offset) / sample);
      }
      gst_buffer_unref (back);
    }
  }
  gst_buffer_unref (buffer);
}

GST_END_TEST;

static Suite *
codec_audio_suite (void)
{
  Suite *suite = suite_create ("codec-audio");
  TCase *tcase = tcase_create ("metas");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, planar_samples_can_be_read);
  tcase_add_test (tcase, clipping_and_level_arrive);
  tcase_add_test (tcase, clipping_without_a_format_is_refused);
  tcase_add_test (tcase, samples_beyond_the_buffer_are_left_out);
  tcase_add_test (tcase, forged_layouts_stay_within_the_buffer);
  return suite;
}

GST_CHECK_MAIN (codec_audio);
