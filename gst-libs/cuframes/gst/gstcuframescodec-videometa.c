/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The metas of GStreamer's core and video library that have an encoding of
 * their own here, field by field. */

#include "gstcuframescodec-private.h"

#include <gst/video/video.h>
#include <gst/video/video-anc.h>
#include <gst/video/gstvideoaffinetransformationmeta.h>
#include <gst/video/video-sei.h>

#define UUID_BYTES 16
#define MATRIX_CELLS 16

/* On the wire: numbers are never given to another meta.  10 and up belong to
 * gstcuframescodec-meta.c, 20 and up to gstcuframescodec-audiometa.c. */
enum
{
  META_CROP = 1,
  META_REGION = 2,
  META_TIME_CODE = 3,
  META_REFERENCE_TIMESTAMP = 4,
  META_CAPTION = 5,
  META_AFD = 6,
  META_BAR = 7,
  META_AFFINE = 8,
  META_SEI_USER_DATA = 9,
};

static void
put_crop (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoCropMeta *crop = (const GstVideoCropMeta *) meta;

  put_u32 (w, crop->x);
  put_u32 (w, crop->y);
  put_u32 (w, crop->width);
  put_u32 (w, crop->height);
}

static gboolean
get_crop (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  guint32 x = get_u32 (r), y = get_u32 (r);
  guint32 width = get_u32 (r), height = get_u32 (r);
  const GstVideoMeta *video = gst_buffer_get_video_meta (buffer);
  GstVideoCropMeta *crop;

  if (r->failed)
    return FALSE;
  /* Elements read pixels where the crop says they are */
  if (video && (x > video->width || width > video->width - x
          || y > video->height || height > video->height - y))
    return FALSE;
  crop = gst_buffer_add_video_crop_meta (buffer);
  crop->x = x;
  crop->y = y;
  crop->width = width;
  crop->height = height;
  return TRUE;
}

static void
put_region (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoRegionOfInterestMeta *region =
      (const GstVideoRegionOfInterestMeta *) meta;
  const GList *l;

  put_u8 (w, region->roi_type != 0);
  if (region->roi_type != 0)
    gst_cuframes_codec_put_name (w, g_quark_to_string (region->roi_type));
  put_u32 (w, (guint32) region->id);
  put_u32 (w, (guint32) region->parent_id);
  put_u32 (w, region->x);
  put_u32 (w, region->y);
  put_u32 (w, region->w);
  put_u32 (w, region->h);
  put_u32 (w, g_list_length (region->params));
  for (l = region->params; l && !w->failed; l = l->next)
    gst_cuframes_codec_put_structure (w, l->data);
}

static gboolean
get_region (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  GstVideoRegionOfInterestMeta *region;
  GList *params = NULL;
  GQuark type = 0;
  guint32 numbers[6], n;
  guint i;

  if (get_u8 (r) != 0 && gst_cuframes_codec_get_kept_name (r, name))
    type = g_quark_from_string (name);
  for (i = 0; i < G_N_ELEMENTS (numbers); i++)
    numbers[i] = get_u32 (r);
  for (n = get_u32 (r); n > 0 && !r->failed; n--) {
    GstStructure *structure = gst_cuframes_codec_get_structure (r);

    if (structure)
      params = g_list_prepend (params, structure);
  }
  if (r->failed) {
    g_list_free_full (params, (GDestroyNotify) gst_structure_free);
    return FALSE;
  }

  region = gst_buffer_add_video_region_of_interest_meta_id (buffer, type,
      numbers[2], numbers[3], numbers[4], numbers[5]);
  region->id = (gint) numbers[0];
  region->parent_id = (gint) numbers[1];
  region->params = g_list_reverse (params);
  return TRUE;
}

static void
put_time_code (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoTimeCode *tc = &((const GstVideoTimeCodeMeta *) meta)->tc;

  put_u32 (w, tc->config.fps_n);
  put_u32 (w, tc->config.fps_d);
  put_u32 (w, tc->config.flags);
  put_u32 (w, tc->hours);
  put_u32 (w, tc->minutes);
  put_u32 (w, tc->seconds);
  put_u32 (w, tc->frames);
  put_u32 (w, tc->field_count);
  put_u8 (w, tc->config.latest_daily_jam != NULL);
  if (tc->config.latest_daily_jam)
    gst_cuframes_codec_put_date_time (w, tc->config.latest_daily_jam);
}

static gboolean
get_time_code (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  GstVideoTimeCode tc = { 0, };
  gboolean added = FALSE;

  tc.config.fps_n = get_u32 (r);
  tc.config.fps_d = get_u32 (r);
  tc.config.flags = get_u32 (r);
  tc.hours = get_u32 (r);
  tc.minutes = get_u32 (r);
  tc.seconds = get_u32 (r);
  tc.frames = get_u32 (r);
  tc.field_count = get_u32 (r);
  if (get_u8 (r) != 0)
    tc.config.latest_daily_jam = gst_cuframes_codec_get_date_time (r);
  if (!r->failed)
    added = gst_buffer_add_video_time_code_meta (buffer, &tc) != NULL;
  g_clear_pointer (&tc.config.latest_daily_jam, g_date_time_unref);
  return added;
}

static void
put_reference_timestamp (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstReferenceTimestampMeta *reference =
      (const GstReferenceTimestampMeta *) meta;

  put_u64 (w, reference->timestamp);
  put_u64 (w, reference->duration);
  gst_cuframes_codec_put_caps (w, reference->reference);
}

static gboolean
get_reference_timestamp (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  GstClockTime timestamp = get_u64 (r);
  GstClockTime duration = get_u64 (r);
  GstCaps *caps = gst_cuframes_codec_get_caps (r);
  gboolean fits = caps != NULL && GST_CLOCK_TIME_IS_VALID (timestamp);

  if (fits)
    gst_buffer_add_reference_timestamp_meta (buffer, caps, timestamp, duration);
  gst_clear_caps (&caps);
  return fits;
}

static void
put_caption (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoCaptionMeta *caption = (const GstVideoCaptionMeta *) meta;
  gsize mark;

  put_u32 (w, caption->caption_type);
  mark = put_mark (w);
  put_bytes (w, caption->data, caption->size);
  put_block_end (w, mark);
}

static gboolean
get_caption (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  GstVideoCaptionType type = get_u32 (r);
  GstCuframesCodecReader block;

  if (!gst_cuframes_codec_get_block (r, &block) || block.size == 0)
    return FALSE;
  return gst_buffer_add_video_caption_meta (buffer, type, block.data,
      block.size) != NULL;
}

static void
put_afd (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoAFDMeta *afd = (const GstVideoAFDMeta *) meta;

  put_u8 (w, afd->field);
  put_u8 (w, afd->spec);
  put_u8 (w, afd->afd);
}

static gboolean
get_afd (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  guint8 field = get_u8 (r);
  guint8 spec = get_u8 (r);
  guint8 afd = get_u8 (r);

  if (r->failed || field > 1 || spec > GST_VIDEO_AFD_SPEC_SMPTE_ST2016_1)
    return FALSE;
  /* The codes that the specifications reserve */
  if (afd > 15 || afd == 1 || (afd >= 5 && afd <= 7) || afd == 12
      || (afd == 0 && spec == GST_VIDEO_AFD_SPEC_DVB_ETSI))
    return FALSE;
  return gst_buffer_add_video_afd_meta (buffer, field, spec, afd) != NULL;
}

static void
put_bar (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoBarMeta *bar = (const GstVideoBarMeta *) meta;

  put_u8 (w, bar->field);
  put_u8 (w, bar->is_letterbox != FALSE);
  put_u32 (w, bar->bar_data1);
  put_u32 (w, bar->bar_data2);
}

static gboolean
get_bar (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  guint8 field = get_u8 (r);
  gboolean is_letterbox = get_u8 (r) != 0;
  guint32 data1 = get_u32 (r);
  guint32 data2 = get_u32 (r);

  if (r->failed || field > 1)
    return FALSE;
  return gst_buffer_add_video_bar_meta (buffer, field, is_letterbox, data1,
      data2) != NULL;
}

static void
put_affine (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoAffineTransformationMeta *affine =
      (const GstVideoAffineTransformationMeta *) meta;
  guint i;

  for (i = 0; i < MATRIX_CELLS; i++)
    put_float (w, affine->matrix[i]);
}

static gboolean
get_affine (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  GstVideoAffineTransformationMeta *affine;
  gfloat matrix[MATRIX_CELLS];
  guint i;

  for (i = 0; i < MATRIX_CELLS; i++)
    matrix[i] = get_float (r);
  if (r->failed)
    return FALSE;
  affine = gst_buffer_add_video_affine_transformation_meta (buffer);
  memcpy (affine->matrix, matrix, sizeof (matrix));
  return TRUE;
}

static void
put_sei_user_data (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  const GstVideoSEIUserDataUnregisteredMeta *sei =
      (const GstVideoSEIUserDataUnregisteredMeta *) meta;
  gsize mark;

  put_bytes (w, sei->uuid, UUID_BYTES);
  mark = put_mark (w);
  put_bytes (w, sei->data, sei->size);
  put_block_end (w, mark);
}

static gboolean
get_sei_user_data (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  GstCuframesCodecReader block;
  guint8 uuid[UUID_BYTES];

  get_bytes (r, uuid, sizeof (uuid));
  /* GStreamer takes an empty one, and asserts when it copies the buffer */
  if (!gst_cuframes_codec_get_block (r, &block) || block.size == 0)
    return FALSE;
  return gst_buffer_add_video_sei_user_data_unregistered_meta (buffer, uuid,
      (guint8 *) block.data, block.size) != NULL;
}

static const GstCuframesCodecMeta codes[] = {
  {META_CROP, gst_video_crop_meta_api_get_type, put_crop, get_crop},
  {META_REGION, gst_video_region_of_interest_meta_api_get_type, put_region,
      get_region},
  {META_TIME_CODE, gst_video_time_code_meta_api_get_type, put_time_code,
      get_time_code},
  {META_REFERENCE_TIMESTAMP, gst_reference_timestamp_meta_api_get_type,
      put_reference_timestamp, get_reference_timestamp},
  {META_CAPTION, gst_video_caption_meta_api_get_type, put_caption,
      get_caption},
  {META_AFD, gst_video_afd_meta_api_get_type, put_afd, get_afd},
  {META_BAR, gst_video_bar_meta_api_get_type, put_bar, get_bar},
  {META_AFFINE, gst_video_affine_transformation_meta_api_get_type, put_affine,
      get_affine},
  {META_SEI_USER_DATA,
        gst_video_sei_user_data_unregistered_meta_api_get_type,
      put_sei_user_data, get_sei_user_data},
};

const GstCuframesCodecMeta *
gst_cuframes_codec_meta_of_api (GType api)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (codes); i++) {
    if (codes[i].get_api () == api)
      return &codes[i];
  }
  return gst_cuframes_codec_audio_meta_of_api (api);
}

const GstCuframesCodecMeta *
gst_cuframes_codec_meta_of_kind (guint8 kind)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (codes); i++) {
    if (codes[i].kind == kind)
      return &codes[i];
  }
  return gst_cuframes_codec_audio_meta_of_kind (kind);
}
