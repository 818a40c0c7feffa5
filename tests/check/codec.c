/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Caps and events that the codec writes come back as they were. */

#include <gst/check/gstcheck.h>

#include "codec-fixture.h"

static GstCaps *
caps_there_and_back (const GstCaps * caps)
{
  GError *error = NULL;
  GBytes *bytes, *again;
  GstCaps *back;

  bytes = gst_cuframes_codec_caps_to_bytes (caps, &error);
  g_assert_no_error (error);
  back = gst_cuframes_codec_caps_from_bytes (g_bytes_get_data (bytes, NULL),
      g_bytes_get_size (bytes), &error);
  g_assert_no_error (error);
  fail_unless (gst_caps_is_strictly_equal (caps, back),
      "%" GST_PTR_FORMAT " became %" GST_PTR_FORMAT, caps, back);
  again = gst_cuframes_codec_caps_to_bytes (back, &error);
  g_assert_no_error (error);
  fail_unless (g_bytes_equal (bytes, again));
  g_bytes_unref (again);
  g_bytes_unref (bytes);
  return back;
}

static GstEvent *
event_there_and_back (GstEvent * event)
{
  GError *error = NULL;
  GBytes *bytes, *again;
  GstEvent *back;

  bytes = gst_cuframes_codec_event_to_bytes (event, &error);
  g_assert_no_error (error);
  back = gst_cuframes_codec_event_from_bytes (g_bytes_get_data (bytes, NULL),
      g_bytes_get_size (bytes), &error);
  g_assert_no_error (error);
  again = gst_cuframes_codec_event_to_bytes (back, &error);
  g_assert_no_error (error);
  fail_unless (g_bytes_equal (bytes, again));
  g_bytes_unref (again);
  g_bytes_unref (bytes);

  fail_unless_equals_int (GST_EVENT_TYPE (back), GST_EVENT_TYPE (event));
  fail_unless_equals_int (gst_event_get_seqnum (back),
      gst_event_get_seqnum (event));
  fail_unless_equals_int64 (gst_event_get_running_time_offset (back),
      gst_event_get_running_time_offset (event));
  fail_unless (gst_event_is_writable (back));
  gst_event_unref (event);
  return back;
}

static void
assert_event_stays_at_home (GstEvent * event)
{
  GError *error = NULL;

  fail_unless (gst_cuframes_codec_event_to_bytes (event, &error) == NULL);
  g_assert_error (error, GST_CUFRAMES_CODEC_ERROR,
      GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);
  gst_event_unref (event);
}

GST_START_TEST (raw_caps_keep_every_field)
{
  GstCaps *caps = fixture_raw_caps ();
  GstCaps *back = caps_there_and_back (caps);
  const GstStructure *s = gst_caps_get_structure (back, 0);
  gdouble exact;
  gint num, den;
  guint flags, mask;

  fail_unless (gst_caps_features_contains (gst_caps_get_features (back, 0),
          "meta:GstVideoOverlayComposition"));
  fail_unless (gst_structure_get_double (s, "exact", &exact));
  fail_unless (exact == 0.1 + 0.2);
  fail_unless (gst_structure_get_fraction (s, "framerate", &num, &den));
  fail_unless (num == 0 && den == 1);
  fail_unless (gst_structure_get_flagset (s, "multiview-flags", &flags, &mask));
  fail_unless_equals_int (flags, GST_VIDEO_MULTIVIEW_FLAGS_RIGHT_VIEW_FIRST
      | GST_VIDEO_MULTIVIEW_FLAGS_LEFT_FLIPPED);
  fail_unless_equals_int (gst_structure_n_fields (s),
      gst_structure_n_fields (gst_caps_get_structure (caps, 0)));
  gst_caps_unref (back);
  gst_caps_unref (caps);
}

GST_END_TEST;

GST_START_TEST (caps_as_text_are_what_the_text_says)
{
  static const gchar *const texts[] = {
    "video/x-raw, format=(string)NV12, width=(int)640, height=(int)480, framerate=(fraction)30000/1001",
    "video/x-raw(memory:CUDAMemory), format=(string)P010_10LE, colorimetry=(string)1:4:0:0, width=(int)7680",
    "application/x-mine",
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (texts); i++) {
    GstCaps *expected = gst_caps_from_string (texts[i]);
    GError *error = NULL;
    GstCaps *caps = gst_cuframes_codec_caps_from_bytes (texts[i],
        strlen (texts[i]) + 1, &error);

    fail_unless (error == NULL, "%s", texts[i]);
    fail_unless (gst_caps_is_strictly_equal (caps, expected), "%s", texts[i]);
    gst_caps_unref (caps);
    gst_caps_unref (expected);
  }
}

GST_END_TEST;

GST_START_TEST (packet_caps_keep_their_headers)
{
  GstCaps *caps = fixture_packet_caps ();
  GstCaps *back = caps_there_and_back (caps);
  const GValue *headers =
      gst_structure_get_value (gst_caps_get_structure (back, 0),
      "streamheader");
  GstBuffer *header;

  fail_unless_equals_int (gst_value_array_get_size (headers), 2);
  header = gst_value_get_buffer (gst_value_array_get_value (headers, 0));
  fail_unless (GST_BUFFER_FLAG_IS_SET (header, GST_BUFFER_FLAG_HEADER));
  fail_unless (!GST_BUFFER_PTS_IS_VALID (header));
  gst_check_buffer_data (header, "first header", 12);
  header = gst_value_get_buffer (gst_value_array_get_value (headers, 1));
  fail_unless_equals_int (gst_buffer_get_size (header), 0);
  gst_caps_unref (back);
  gst_caps_unref (caps);
}

GST_END_TEST;

GST_START_TEST (all_caps_features_survive)
{
  const gchar *descriptions[] = {
    "video/x-raw, width=(int)1", "video/x-raw(memory:CUDAMemory), width=(int)1",
    "video/x-raw(memory:DMABuf, format:Interlaced), drm-format=(string)NV12",
    "meta/x-klv"
  };
  guint i;

  for (i = 0; i < G_N_ELEMENTS (descriptions); i++) {
    GstCaps *caps = gst_caps_from_string (descriptions[i]);
    GstCaps *back = caps_there_and_back (caps);

    fail_unless (gst_caps_features_is_equal (gst_caps_get_features (caps, 0),
            gst_caps_get_features (back, 0)));
    gst_caps_unref (back);
    gst_caps_unref (caps);
  }
}

GST_END_TEST;

GST_START_TEST (caps_that_are_not_fixed_or_too_large_are_refused)
{
  GstCaps *caps = gst_caps_from_string ("video/x-raw, width=[1, 10]");
  GError *error = NULL;
  gchar *text;

  fail_unless (gst_cuframes_codec_caps_to_bytes (caps, &error) == NULL);
  g_assert_error (error, GST_CUFRAMES_CODEC_ERROR,
      GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED);
  g_clear_error (&error);
  gst_caps_unref (caps);

  text = g_strnfill (GST_CUFRAMES_CODEC_MAX_CAPS_BYTES, 'x');
  caps = gst_caps_new_simple ("video/x-raw", "a", G_TYPE_STRING, text, NULL);
  fail_unless (gst_cuframes_codec_caps_to_bytes (caps, &error) == NULL);
  g_assert_error (error, GST_CUFRAMES_CODEC_ERROR,
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  g_clear_error (&error);
  text[GST_CUFRAMES_CODEC_MAX_CAPS_BYTES - 64] = '\0';
  gst_caps_set_simple (caps, "a", G_TYPE_STRING, text, NULL);
  gst_caps_unref (caps_there_and_back (caps));
  gst_caps_unref (caps);
  g_free (text);
}

GST_END_TEST;

GST_START_TEST (stream_start_keeps_id_flags_and_group)
{
  GstEvent *event = gst_event_new_stream_start ("cam1/ü/0");
  const gchar *id;
  GstStreamFlags flags;
  guint group;

  gst_event_set_stream_flags (event, GST_STREAM_FLAG_SPARSE);
  gst_event_set_group_id (event, 4711);
  gst_event_set_running_time_offset (event, -GST_SECOND);
  event = event_there_and_back (event);
  gst_event_parse_stream_start (event, &id);
  gst_event_parse_stream_flags (event, &flags);
  fail_unless (gst_event_parse_group_id (event, &group));
  fail_unless_equals_string (id, "cam1/ü/0");
  fail_unless_equals_int (flags, GST_STREAM_FLAG_SPARSE);
  fail_unless_equals_int (group, 4711);
  gst_event_unref (event);

  event = event_there_and_back (gst_event_new_stream_start (""));
  fail_if (gst_event_parse_group_id (event, &group));
  gst_event_unref (event);
}

GST_END_TEST;

GST_START_TEST (segment_keeps_every_field)
{
  const GstSegment *back;
  GstSegment segment;
  GstEvent *event;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.flags = GST_SEGMENT_FLAG_RESET | GST_SEGMENT_FLAG_TRICKMODE;
  segment.rate = -1.0 / 3.0;
  segment.applied_rate = 2.0000000000000004;
  segment.base = 11;
  segment.offset = 12;
  segment.start = 13;
  segment.stop = 14000;
  segment.time = GST_CLOCK_TIME_NONE;
  segment.position = 16;
  segment.duration = 17;
  event = event_there_and_back (gst_event_new_segment (&segment));
  gst_event_parse_segment (event, &back);
  fail_unless (gst_segment_is_equal (&segment, back));
  gst_event_unref (event);
}

GST_END_TEST;

GST_START_TEST (tags_keep_images_dates_lists_and_scope)
{
  GstTagList *tags = fixture_tags (), *back;
  GstSample *sample;
  GstDateTime *when;
  GstEvent *event;

  event = event_there_and_back (gst_event_new_tag (gst_tag_list_ref (tags)));
  gst_event_parse_tag (event, &back);
  fail_unless (gst_tag_list_get_scope (back) == GST_TAG_SCOPE_GLOBAL);
  fail_unless_equals_int (gst_tag_list_n_tags (back),
      gst_tag_list_n_tags (tags));
  fail_unless_equals_int (gst_tag_list_get_tag_size (back, GST_TAG_KEYWORDS),
      3);

  fail_unless (gst_tag_list_get_sample (back, GST_TAG_IMAGE, &sample));
  gst_check_buffer_data (gst_sample_get_buffer (sample), "\211PNG: a cover",
      13);
  fail_unless (gst_structure_has_field_typed (gst_sample_get_info (sample),
          "image-type", G_TYPE_INT));
  gst_sample_unref (sample);

  fail_unless (gst_tag_list_get_date_time (back, GST_TAG_DATE_TIME, &when));
  fail_unless_equals_int (gst_date_time_get_microsecond (when), 250000);
  fail_unless_equals_float (gst_date_time_get_time_zone_offset (when), 5.5);
  gst_date_time_unref (when);
  gst_event_unref (event);
  gst_tag_list_unref (tags);
}

GST_END_TEST;

GST_START_TEST (a_tag_that_cannot_travel_leaves_the_others)
{
  GstTagList *tags = gst_tag_list_new (GST_TAG_TITLE, "kept", NULL), *back;
  GstSample *sample = gst_sample_new (NULL, NULL, NULL, NULL);
  GstBufferList *list = gst_buffer_list_new ();
  GstEvent *event;
  GError *error = NULL;
  GBytes *bytes;

  gst_sample_set_buffer_list (sample, list);
  gst_tag_list_add (tags, GST_TAG_MERGE_APPEND, GST_TAG_IMAGE, sample,
      GST_TAG_ARTIST, "kept as well", NULL);
  event = gst_event_new_tag (tags);
  bytes = gst_cuframes_codec_event_to_bytes (event, &error);
  g_assert_no_error (error);
  gst_event_unref (event);
  event = gst_cuframes_codec_event_from_bytes (g_bytes_get_data (bytes, NULL),
      g_bytes_get_size (bytes), &error);
  g_assert_no_error (error);
  gst_event_parse_tag (event, &back);
  fail_unless_equals_int (gst_tag_list_n_tags (back), 2);
  gst_event_unref (event);
  g_bytes_unref (bytes);
  gst_buffer_list_unref (list);
  gst_sample_unref (sample);
}

GST_END_TEST;

GST_START_TEST (gap_and_eos_survive)
{
  GstEvent *event = gst_event_new_gap (5, GST_CLOCK_TIME_NONE);
  GstClockTime timestamp, duration;
  GstGapFlags flags;

  gst_event_set_gap_flags (event, GST_GAP_FLAG_MISSING_DATA);
  event = event_there_and_back (event);
  gst_event_parse_gap (event, &timestamp, &duration);
  gst_event_parse_gap_flags (event, &flags);
  fail_unless_equals_uint64 (timestamp, 5);
  fail_unless_equals_uint64 (duration, GST_CLOCK_TIME_NONE);
  fail_unless_equals_int (flags, GST_GAP_FLAG_MISSING_DATA);
  gst_event_unref (event);
  gst_event_unref (event_there_and_back (gst_event_new_eos ()));
}

GST_END_TEST;

GST_START_TEST (custom_events_keep_every_type_of_value)
{
  const GstEventType types[] = { GST_EVENT_CUSTOM_DOWNSTREAM,
    GST_EVENT_CUSTOM_DOWNSTREAM_OOB, GST_EVENT_CUSTOM_DOWNSTREAM_STICKY,
    GST_EVENT_CUSTOM_UPSTREAM, GST_EVENT_CUSTOM_BOTH, GST_EVENT_CUSTOM_BOTH_OOB
  };
  GstStructure *structure = fixture_structure ();
  guint i;

  for (i = 0; i < G_N_ELEMENTS (types); i++) {
    GstEvent *event = event_there_and_back (gst_event_new_custom (types[i],
            gst_structure_copy (structure)));
    const GstStructure *back = gst_event_get_structure (event);
    gint j, n = gst_structure_n_fields (structure);

    fail_unless_equals_int (gst_structure_n_fields (back), n);
    fail_unless_equals_string (gst_structure_get_name (back), "cuframes/test");
    for (j = 0; j < n; j++) {
      const gchar *field = gst_structure_nth_field_name (structure, j);
      const GValue *a = gst_structure_get_value (structure, field);
      const GValue *b = gst_structure_get_value (back, field);

      fail_unless (G_VALUE_TYPE (a) == G_VALUE_TYPE (b), "type of %s", field);
      /* The bytes of those that GStreamer cannot compare were compared */
      if (gst_value_can_compare (a, b))
        fail_unless (gst_value_compare (a, b) == GST_VALUE_EQUAL, "%s", field);
    }
    gst_event_unref (event);
  }
  gst_structure_free (structure);
}

GST_END_TEST;

GST_START_TEST (force_key_unit_survives_in_both_directions)
{
  GstClockTime timestamp, stream_time, running_time;
  gboolean all_headers;
  GstEvent *event;
  guint count;

  event = event_there_and_back (gst_video_event_new_downstream_force_key_unit
      (1, 2, GST_CLOCK_TIME_NONE, TRUE, 7));
  fail_unless (gst_video_event_parse_downstream_force_key_unit (event,
          &timestamp, &stream_time, &running_time, &all_headers, &count));
  fail_unless (timestamp == 1 && stream_time == 2 && all_headers && count == 7);
  fail_unless (running_time == GST_CLOCK_TIME_NONE);
  gst_event_unref (event);

  event = event_there_and_back (gst_video_event_new_upstream_force_key_unit
      (GST_CLOCK_TIME_NONE, FALSE, 8));
  fail_unless (gst_video_event_parse_upstream_force_key_unit (event,
          &running_time, &all_headers, &count));
  fail_unless (!all_headers && count == 8);
  gst_event_unref (event);
}

GST_END_TEST;

GST_START_TEST (events_without_meaning_elsewhere_stay_at_home)
{
  assert_event_stays_at_home (gst_event_new_flush_start ());
  assert_event_stays_at_home (gst_event_new_stream_group_done (1));
  assert_event_stays_at_home (gst_event_new_latency (1));
  assert_event_stays_at_home (gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
          NULL));
  assert_event_stays_at_home (gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
          gst_structure_new ("with-pointer", "p", G_TYPE_POINTER, NULL, NULL)));
  assert_event_stays_at_home (gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
          gst_structure_new_empty ("latency_probe.id")));
  assert_event_stays_at_home (gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM,
          gst_structure_new_empty ("sub_latency_probe.id")));
}

GST_END_TEST;

static guint64
key_of (GstEvent * event)
{
  guint64 key = gst_cuframes_codec_event_sticky_key (event);

  gst_event_unref (event);
  return key;
}

static GstEvent *
sticky (const gchar * name, gint value)
{
  return gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_STICKY,
      gst_structure_new (name, "value", G_TYPE_INT, value, NULL));
}

static GstEvent *
tag (GstTagScope scope, const gchar * title)
{
  GstTagList *tags = gst_tag_list_new (GST_TAG_TITLE, title, NULL);

  gst_tag_list_set_scope (tags, scope);
  return gst_event_new_tag (tags);
}

GST_START_TEST (sticky_keys_follow_the_rule_of_pads)
{
  fail_unless_equals_uint64 (key_of (gst_event_new_gap (1, 1)), 0);
  fail_unless_equals_uint64 (key_of (gst_event_new_custom
          (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty ("a"))), 0);
  fail_if (key_of (gst_event_new_eos ()) == 0);
  fail_unless_equals_uint64 (key_of (gst_event_new_stream_start ("a")),
      key_of (gst_event_new_stream_start ("b")));
  fail_unless_equals_uint64 (key_of (sticky ("one", 1)),
      key_of (sticky ("one", 2)));
  fail_if (key_of (sticky ("one", 1)) == key_of (sticky ("two", 1)));
  fail_unless_equals_uint64 (key_of (tag (GST_TAG_SCOPE_STREAM, "a")),
      key_of (tag (GST_TAG_SCOPE_STREAM, "b")));
  fail_if (key_of (tag (GST_TAG_SCOPE_STREAM, "a")) ==
      key_of (tag (GST_TAG_SCOPE_GLOBAL, "a")));
}

GST_END_TEST;

static Suite *
codec_suite (void)
{
  Suite *suite = suite_create ("codec");
  TCase *tcase = tcase_create ("round trips");

  suite_add_tcase (suite, tcase);
  tcase_set_timeout (tcase, 60);
  tcase_add_test (tcase, raw_caps_keep_every_field);
  tcase_add_test (tcase, caps_as_text_are_what_the_text_says);
  tcase_add_test (tcase, packet_caps_keep_their_headers);
  tcase_add_test (tcase, all_caps_features_survive);
  tcase_add_test (tcase, caps_that_are_not_fixed_or_too_large_are_refused);
  tcase_add_test (tcase, stream_start_keeps_id_flags_and_group);
  tcase_add_test (tcase, segment_keeps_every_field);
  tcase_add_test (tcase, tags_keep_images_dates_lists_and_scope);
  tcase_add_test (tcase, a_tag_that_cannot_travel_leaves_the_others);
  tcase_add_test (tcase, gap_and_eos_survive);
  tcase_add_test (tcase, custom_events_keep_every_type_of_value);
  tcase_add_test (tcase, force_key_unit_survives_in_both_directions);
  tcase_add_test (tcase, events_without_meaning_elsewhere_stay_at_home);
  tcase_add_test (tcase, sticky_keys_follow_the_rule_of_pads);
  return suite;
}

GST_CHECK_MAIN (codec);
