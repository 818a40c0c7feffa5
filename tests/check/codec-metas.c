/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Metas that the codec writes come back as they were, and one that cannot
 * travel leaves the others. */

#include <gst/check/gstcheck.h>

#include "codec-fixture.h"

/* @buffer is given up; the metas come back on a bare buffer with the same
 * GstVideoMeta, as a subscriber makes it */
static GstBuffer *
metas_there_and_back (GstBuffer * buffer, guint expected_skips)
{
  GstBuffer *back = gst_buffer_new ();
  GError *error = NULL;
  guint n_skipped = 99;
  gsize size = gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0, &n_skipped);
  guint8 *data = g_malloc (size + 1), *again = g_malloc (size + 1);

  fail_unless_equals_int (n_skipped, expected_skips);
  data[size] = 0x5a;
  fail_unless_equals_int (gst_cuframes_codec_metas_to_bytes (buffer, data,
          size, NULL), size);
  fail_unless_equals_int (data[size], 0x5a);

  fail_unless (gst_cuframes_codec_metas_from_bytes (back, data, size,
          &n_skipped, &error));
  g_assert_no_error (error);
  fail_unless_equals_int (n_skipped, 0);
  fail_unless_equals_int (gst_cuframes_codec_metas_to_bytes (back, again, size,
          NULL), size);
  fail_unless (memcmp (data, again, size) == 0);
  g_free (again);
  g_free (data);
  gst_buffer_unref (buffer);
  return back;
}

GST_START_TEST (metas_keep_every_field)
{
  GstBuffer *buffer = metas_there_and_back (fixture_buffer (), 0);
  GstVideoRegionOfInterestMeta *region;
  GstReferenceTimestampMeta *reference;
  GstVideoTimeCodeMeta *time_code;
  GstCustomMeta *custom;
  GstStructure *param;
  gdouble number;

  region = gst_buffer_get_video_region_of_interest_meta_id (buffer, 17);
  fail_unless_equals_string (g_quark_to_string (region->roi_type), "person");
  fail_unless (region->x == 1 && region->y == 2 && region->w == 300
      && region->h == 400 && region->parent_id == -1);
  fail_unless_equals_int (g_list_length (region->params), 2);
  param = gst_video_region_of_interest_meta_get_param (region, "detection");
  fail_unless (gst_structure_get_double (param, "confidence", &number));
  fail_unless (number == 0.987654321);

  time_code = gst_buffer_get_video_time_code_meta (buffer);
  fail_unless (time_code->tc.hours == 23 && time_code->tc.frames == 29
      && time_code->tc.field_count == 1);
  fail_unless_equals_int (g_date_time_get_second (time_code->tc.config.
          latest_daily_jam), 9);

  reference = gst_buffer_get_reference_timestamp_meta (buffer, NULL);
  fail_unless_equals_uint64 (reference->timestamp, 12345678901234567);
  fail_unless_equals_uint64 (reference->duration, GST_CLOCK_TIME_NONE);

  custom = gst_buffer_get_custom_meta (buffer, FIXTURE_CUSTOM_META);
  fail_unless_equals_string (gst_structure_get_string
      (gst_custom_meta_get_structure (custom), "plate"), "M-XY 123");
  gst_buffer_unref (buffer);
}

GST_END_TEST;

GST_START_TEST (metas_of_the_memory_stay_at_home)
{
  GstBuffer *buffer = gst_buffer_new (), *parent = gst_buffer_new ();
  guint n_skipped = 99;

  gst_buffer_add_video_meta (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_FORMAT_NV12, 1920, 1080);
  gst_buffer_add_parent_buffer_meta (buffer, parent);
  fail_unless_equals_int (gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0,
          &n_skipped), 0);
  fail_unless_equals_int (n_skipped, 0);

  gst_buffer_add_protection_meta (buffer, gst_structure_new_empty ("key"));
  fail_unless_equals_int (gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0,
          &n_skipped), 0);
  fail_unless_equals_int (n_skipped, 1);
  gst_buffer_unref (parent);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

static GstBuffer *
buffer_with_custom_string (gsize length)
{
  GstBuffer *buffer = gst_buffer_new ();
  gchar *text = g_strnfill (length, 'x');
  GstCustomMeta *custom;

  fixture_init ();
  custom = gst_buffer_add_custom_meta (buffer, FIXTURE_CUSTOM_META);
  gst_structure_set (gst_custom_meta_get_structure (custom), "text",
      G_TYPE_STRING, text, NULL);
  g_free (text);
  return buffer;
}

GST_START_TEST (a_custom_meta_of_one_megabyte_passes)
{
  GstBuffer *buffer =
      metas_there_and_back (buffer_with_custom_string (1024 * 1024), 0);
  GstCustomMeta *custom =
      gst_buffer_get_custom_meta (buffer, FIXTURE_CUSTOM_META);

  fail_unless_equals_int (strlen (gst_structure_get_string
          (gst_custom_meta_get_structure (custom), "text")), 1024 * 1024);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

GST_START_TEST (a_meta_above_the_limit_leaves_the_others)
{
  GstBuffer *buffer =
      buffer_with_custom_string (GST_CUFRAMES_CODEC_MAX_METAS_BYTES);

  gst_buffer_add_video_bar_meta (buffer, 0, FALSE, 1, 2);
  buffer = metas_there_and_back (buffer, 1);
  fail_unless (gst_buffer_get_video_bar_meta (buffer) != NULL);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

GST_START_TEST (a_page_too_small_for_the_metas_is_never_overrun)
{
  GstBuffer *buffer = fixture_buffer ();
  gsize capacity, size =
      gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0, NULL);

  for (capacity = 0; capacity < size; capacity++) {
    guint8 *page = g_malloc (capacity + 1);

    page[capacity] = 0x5a;
    fail_unless_equals_int (gst_cuframes_codec_metas_to_bytes (buffer, page,
            capacity, NULL), size);
    fail_unless_equals_int (page[capacity], 0x5a);
    g_free (page);
  }
  gst_buffer_unref (buffer);
}

GST_END_TEST;

static Suite *
codec_metas_suite (void)
{
  Suite *suite = suite_create ("codec-metas");
  TCase *tcase = tcase_create ("round trips");

  suite_add_tcase (suite, tcase);
  tcase_set_timeout (tcase, 60);
  tcase_add_test (tcase, metas_keep_every_field);
  tcase_add_test (tcase, metas_of_the_memory_stay_at_home);
  tcase_add_test (tcase, a_custom_meta_of_one_megabyte_passes);
  tcase_add_test (tcase, a_meta_above_the_limit_leaves_the_others);
  tcase_add_test (tcase, a_page_too_small_for_the_metas_is_never_overrun);
  return suite;
}

GST_CHECK_MAIN (codec_metas);
