/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* One rich example of each kind of blob, for the codec's tests and for the
 * seeds of its fuzzer. */

#include <gst/gst.h>
#include <gst/video/video.h>
#include <gst/video/video-anc.h>
#include <gst/video/video-sei.h>
#include <gst/video/gstvideoaffinetransformationmeta.h>

#include "gstcuframescodec.h"

#define FIXTURE_CUSTOM_META "CuframesTestMeta"

static inline void
fixture_init (void)
{
  static const gchar *tags[] = { NULL };

  if (!gst_meta_get_info (FIXTURE_CUSTOM_META))
    gst_meta_register_custom (FIXTURE_CUSTOM_META, tags, NULL, NULL, NULL);
}

static inline GstBuffer *
fixture_bytes (const gchar * bytes)
{
  return gst_buffer_new_memdup (bytes, strlen (bytes));
}

static inline GstCaps *
fixture_raw_caps (void)
{
  GstCaps *caps = gst_caps_from_string ("video/x-raw(memory:SystemMemory, "
      "meta:GstVideoOverlayComposition), format=(string)P010_10LE, "
      "width=(int)3840, height=(int)2160, framerate=(fraction)0/1, "
      "max-framerate=(fraction)60000/1001, pixel-aspect-ratio=(fraction)64/45, "
      "interlace-mode=(string)interleaved, "
      "field-order=(string)top-field-first, chroma-site=(string)mpeg2, "
      "colorimetry=(string)bt2100-pq, multiview-mode=(string)side-by-side, "
      "views=(int)2, channel-mask=(bitmask)0x8000000000000003, "
      "mastering-display-info=(string)34000:16000:13250:34500:7500:3000:15635:"
      "16450:10000000:1, content-light-level=(string)1000:400");

  gst_caps_set_simple (caps, "exact", G_TYPE_DOUBLE, 0.1 + 0.2,
      "multiview-flags", GST_TYPE_VIDEO_MULTIVIEW_FLAGSET,
      GST_VIDEO_MULTIVIEW_FLAGS_RIGHT_VIEW_FIRST
      | GST_VIDEO_MULTIVIEW_FLAGS_LEFT_FLIPPED, GST_FLAG_SET_MASK_EXACT, NULL);
  return caps;
}

static inline GstCaps *
fixture_packet_caps (void)
{
  GstCaps *caps = gst_caps_from_string ("video/x-h264, "
      "stream-format=(string)avc, alignment=(string)au, parsed=(boolean)true, "
      "width=(int)1920, height=(int)1080, framerate=(fraction)30/1");
  GstBuffer *codec_data = fixture_bytes ("\001d\377(not really avcC)");
  GValue headers = G_VALUE_INIT, header = G_VALUE_INIT;

  gst_caps_set_simple (caps, "codec_data", GST_TYPE_BUFFER, codec_data, NULL);
  gst_buffer_unref (codec_data);

  g_value_init (&headers, GST_TYPE_ARRAY);
  g_value_init (&header, GST_TYPE_BUFFER);
  g_value_take_boxed (&header, fixture_bytes ("first header"));
  GST_BUFFER_FLAG_SET (gst_value_get_buffer (&header), GST_BUFFER_FLAG_HEADER);
  gst_value_array_append_and_take_value (&headers, &header);
  g_value_init (&header, GST_TYPE_BUFFER);
  g_value_take_boxed (&header, gst_buffer_new ());
  gst_value_array_append_and_take_value (&headers, &header);
  gst_structure_take_value (gst_caps_get_structure (caps, 0), "streamheader",
      &headers);
  return caps;
}

static inline GstTagList *
fixture_tags (void)
{
  GstCaps *caps = gst_caps_from_string ("image/png, width=(int)16");
  GstBuffer *image = fixture_bytes ("\211PNG: a cover");
  GstSample *sample = gst_sample_new (image, caps, NULL,
      gst_structure_new ("GstTagImageInfo", "image-type", G_TYPE_INT, 3, NULL));
  GstDateTime *when = gst_date_time_new (5.5, 2024, 2, 29, 23, 59, 59.25);
  GDate *date = g_date_new_dmy (29, 2, 2024);
  GstTagList *tags = gst_tag_list_new (GST_TAG_TITLE, "Einfahrt Süd",
      GST_TAG_IMAGE, sample, GST_TAG_DATE_TIME, when, GST_TAG_DATE, date,
      GST_TAG_GEO_LOCATION_LATITUDE, 48.137154321, GST_TAG_BITRATE, 4000000,
      NULL);

  gst_tag_list_add (tags, GST_TAG_MERGE_APPEND, GST_TAG_KEYWORDS, "gate",
      GST_TAG_KEYWORDS, "night", GST_TAG_KEYWORDS, "rain", NULL);
  gst_tag_list_set_scope (tags, GST_TAG_SCOPE_GLOBAL);
  g_date_free (date);
  gst_date_time_unref (when);
  gst_sample_unref (sample);
  gst_buffer_unref (image);
  gst_caps_unref (caps);
  return tags;
}

static inline void
fixture_take_list (GstStructure * structure, const gchar * field, GType type)
{
  GValue list = G_VALUE_INIT, inner = G_VALUE_INIT, item = G_VALUE_INIT;
  gint i;

  g_value_init (&list, type);
  g_value_init (&inner, type);
  for (i = -1; i <= 1; i++) {
    g_value_init (&item, G_TYPE_INT);
    g_value_set_int (&item, i * G_MAXINT);
    if (type == GST_TYPE_LIST)
      gst_value_list_append_and_take_value (&inner, &item);
    else
      gst_value_array_append_and_take_value (&inner, &item);
  }
  if (type == GST_TYPE_LIST)
    gst_value_list_append_and_take_value (&list, &inner);
  else
    gst_value_array_append_and_take_value (&list, &inner);
  gst_structure_take_value (structure, field, &list);
}

/* Every type of value that travels */
static inline GstStructure *
fixture_structure (void)
{
  const gchar *strings[] = { "one", "", "three", NULL };
  GstStructure *nested = gst_structure_new ("inner/x-thing", "deep",
      G_TYPE_STRING, "value", NULL);
  GstCaps *caps = fixture_packet_caps ();
  GstTagList *tags = fixture_tags ();
  GBytes *bytes = g_bytes_new_static ("a\0b", 3);
  GTimeZone *zone = g_time_zone_new_offset (-(9 * 3600 + 30 * 60));
  GDateTime *whole = g_date_time_new (zone, 1999, 12, 31, 23, 59, 59);
  GDateTime *when = g_date_time_add (whole, 999999);
  GstDateTime *partial = gst_date_time_new_ym (2031, 7);
  GstDateTime *to_the_minute = gst_date_time_new (-3.5, 2031, 7, 9, 6, 5, -1);
  GstSegment segment;
  GstStructure *s;

  gst_segment_init (&segment, GST_FORMAT_BYTES);
  segment.stop = 99;
  s = gst_structure_new ("cuframes/test", "boolean", G_TYPE_BOOLEAN, TRUE,
      "char", G_TYPE_CHAR, -128, "uchar", G_TYPE_UCHAR, 255,
      "int", G_TYPE_INT, G_MININT, "uint", G_TYPE_UINT, G_MAXUINT,
      "long", G_TYPE_LONG, -5L, "ulong", G_TYPE_ULONG, 5UL,
      "int64", G_TYPE_INT64, G_MININT64, "uint64", G_TYPE_UINT64, G_MAXUINT64,
      "float", G_TYPE_FLOAT, 0.1f, "double", G_TYPE_DOUBLE, G_MINDOUBLE,
      "string", G_TYPE_STRING, "grüß \"Gott\", \\ends;", "null",
      G_TYPE_STRING, NULL, "enum", GST_TYPE_FORMAT, GST_FORMAT_BUFFERS,
      "flags", GST_TYPE_SEGMENT_FLAGS, GST_SEGMENT_FLAG_SKIP, "gtype",
      G_TYPE_GTYPE, G_TYPE_INT64, "fraction", GST_TYPE_FRACTION, -30000, 1001,
      "bitmask", GST_TYPE_BITMASK, G_GUINT64_CONSTANT (1) << 63,
      "flagset", GST_TYPE_FLAG_SET, 5, 7, "structure", GST_TYPE_STRUCTURE,
      nested, "caps", GST_TYPE_CAPS, caps, "tags", GST_TYPE_TAG_LIST, tags,
      "date-time", G_TYPE_DATE_TIME, when, "partial", GST_TYPE_DATE_TIME,
      partial, "to-the-minute", GST_TYPE_DATE_TIME, to_the_minute, "bytes",
      G_TYPE_BYTES, bytes, "strv", G_TYPE_STRV, strings, "segment",
      GST_TYPE_SEGMENT, &segment, NULL);
  fixture_take_list (s, "list", GST_TYPE_LIST);
  fixture_take_list (s, "array", GST_TYPE_ARRAY);

  gst_date_time_unref (to_the_minute);
  gst_date_time_unref (partial);
  g_date_time_unref (when);
  g_date_time_unref (whole);
  g_time_zone_unref (zone);
  g_bytes_unref (bytes);
  gst_tag_list_unref (tags);
  gst_caps_unref (caps);
  gst_structure_free (nested);
  return s;
}

static inline void
fixture_add_time_code (GstBuffer * buffer)
{
  GDateTime *jam = g_date_time_new_utc (2024, 5, 6, 7, 8, 9);

  gst_buffer_add_video_time_code_meta_full (buffer, 30000, 1001, jam,
      GST_VIDEO_TIME_CODE_FLAGS_DROP_FRAME, 23, 59, 58, 29, 1);
  g_date_time_unref (jam);
}

/* Every meta that has an encoding of its own */
static inline GstBuffer *
fixture_buffer (void)
{
  guint8 uuid[16] = { 0xff, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
  guint8 data[5] = { 0, 0xff, 3, 2, 1 };
  GstBuffer *buffer = gst_buffer_new ();
  GstVideoRegionOfInterestMeta *region;
  GstVideoAffineTransformationMeta *affine;
  GstVideoCropMeta *crop;
  GstCustomMeta *custom;
  GstCaps *ntp = gst_caps_new_empty_simple ("timestamp/x-ntp");

  fixture_init ();
  gst_buffer_add_video_meta (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_FORMAT_NV12, 1920, 1080);
  crop = gst_buffer_add_video_crop_meta (buffer);
  crop->x = 8;
  crop->y = 16;
  crop->width = 1912;
  crop->height = 1064;
  region = gst_buffer_add_video_region_of_interest_meta (buffer, "person",
      1, 2, 300, 400);
  region->id = 17;
  region->parent_id = -1;
  gst_video_region_of_interest_meta_add_param (region,
      gst_structure_new ("detection", "confidence", G_TYPE_DOUBLE, 0.987654321,
          "label", G_TYPE_STRING, "Person", NULL));
  gst_video_region_of_interest_meta_add_param (region,
      gst_structure_new ("roi/x264enc", "delta-qp", G_TYPE_DOUBLE, -4.0, NULL));
  fixture_add_time_code (buffer);
  gst_buffer_add_reference_timestamp_meta (buffer, ntp, 12345678901234567,
      GST_CLOCK_TIME_NONE);
  gst_buffer_add_video_caption_meta (buffer, GST_VIDEO_CAPTION_TYPE_CEA708_RAW,
      data, sizeof (data));
  gst_buffer_add_video_afd_meta (buffer, 1, GST_VIDEO_AFD_SPEC_ATSC_A53,
      GST_VIDEO_AFD_4_3_FULL_16_9_FULL);
  gst_buffer_add_video_bar_meta (buffer, 1, TRUE, 20, 1060);
  affine = gst_buffer_add_video_affine_transformation_meta (buffer);
  affine->matrix[0] = -0.1f;
  affine->matrix[15] = 1.5f;
  gst_buffer_add_video_sei_user_data_unregistered_meta (buffer, uuid, data,
      sizeof (data));
  custom = gst_buffer_add_custom_meta (buffer, FIXTURE_CUSTOM_META);
  gst_structure_set (gst_custom_meta_get_structure (custom), "speed",
      G_TYPE_DOUBLE, 3.14, "plate", G_TYPE_STRING, "M-XY 123", NULL);
  gst_caps_unref (ntp);
  return buffer;
}

/* What applications do with what they are given: print, compare, copy, and
 * publish it again */
static inline void
fixture_use_caps (GstCaps * caps)
{
  GstCaps *copy = gst_caps_copy (caps);
  gchar *text = gst_caps_to_string (caps);
  GBytes *bytes;

  g_assert_true (gst_caps_is_fixed (caps));
  gst_caps_is_equal (caps, copy);
  bytes = gst_cuframes_codec_caps_to_bytes (caps, NULL);
  g_clear_pointer (&bytes, g_bytes_unref);
  g_free (text);
  gst_caps_unref (copy);
}

static inline void
fixture_use_event (GstEvent * event)
{
  const GstStructure *structure = gst_event_get_structure (event);
  gchar *text = structure ? gst_structure_to_string (structure) : NULL;
  const GstSegment *segment;
  GstTagList *tags, *copy;
  GBytes *bytes;

  gst_cuframes_codec_event_sticky_key (event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_SEGMENT) {
    gst_event_parse_segment (event, &segment);
    gst_segment_to_running_time (segment, segment->format, segment->start);
    gst_segment_to_stream_time (segment, segment->format, segment->start);
    gst_segment_position_from_running_time (segment, segment->format, 1);
  } else if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
    gst_event_parse_tag (event, &tags);
    copy = gst_tag_list_merge (tags, tags, GST_TAG_MERGE_APPEND);
    gst_tag_list_is_equal (tags, copy);
    gst_tag_list_unref (copy);
  }
  bytes = gst_cuframes_codec_event_to_bytes (event, NULL);
  g_clear_pointer (&bytes, g_bytes_unref);
  g_free (text);
}

static inline void
fixture_use_metas (GstBuffer * buffer)
{
  GstBuffer *copy = gst_buffer_copy (buffer);
  guint8 page[4096];

  gst_cuframes_codec_metas_to_bytes (copy, page, sizeof (page), NULL);
  gst_buffer_unref (copy);
}

/* @which: as the first byte of the fuzzer's input.  Returns whether the bytes
 * were taken. */
static inline gboolean
fixture_exercise (guint8 which, gconstpointer data, gsize size)
{
  GError *error = NULL;
  gboolean taken = FALSE;
  GstBuffer *buffer;
  GstEvent *event;
  GstCaps *caps;

  switch (which % 3) {
    case 0:
      caps = gst_cuframes_codec_caps_from_bytes (data, size, &error);
      taken = caps != NULL;
      if (caps)
        fixture_use_caps (caps);
      gst_clear_caps (&caps);
      break;
    case 1:
      event = gst_cuframes_codec_event_from_bytes (data, size, &error);
      taken = event != NULL;
      if (event)
        fixture_use_event (event);
      gst_clear_event (&event);
      break;
    default:
      buffer = gst_buffer_new ();
      gst_buffer_add_video_meta (buffer, GST_VIDEO_FRAME_FLAG_NONE,
          GST_VIDEO_FORMAT_NV12, 1920, 1080);
      taken = gst_cuframes_codec_metas_from_bytes (buffer, data, size, NULL,
          &error);
      fixture_use_metas (buffer);
      gst_buffer_unref (buffer);
      break;
  }
  g_assert_true (taken == (error == NULL));
  g_clear_error (&error);
  return taken;
}

/* The rich example of that kind as bytes */
static inline GBytes *
fixture_blob (guint8 which)
{
  GstCaps *caps;
  GstEvent *event;
  GstBuffer *buffer;
  GBytes *bytes;
  guint8 *data;
  gsize size;

  switch (which) {
    case 0:
    case 3:
      caps = which == 0 ? fixture_raw_caps () : fixture_packet_caps ();
      bytes = gst_cuframes_codec_caps_to_bytes (caps, NULL);
      gst_caps_unref (caps);
      return bytes;
    case 1:
    case 4:
      event = which == 1 ? gst_event_new_tag (fixture_tags ())
          : gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_STICKY,
          fixture_structure ());
      bytes = gst_cuframes_codec_event_to_bytes (event, NULL);
      gst_event_unref (event);
      return bytes;
    case 2:
      buffer = fixture_buffer ();
      size = gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0, NULL);
      data = g_malloc (size);
      gst_cuframes_codec_metas_to_bytes (buffer, data, size, NULL);
      gst_buffer_unref (buffer);
      return g_bytes_new_take (data, size);
    default:
      return NULL;
  }
}
