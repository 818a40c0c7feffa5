/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What goes through the elements besides plain frames, as users of other elements that connect processes rely on it:
 * segments of every kind, empty buffers, a great many metas, allocation, a change of source. */
#include "element-fixture.h"

#include <string.h>

#define FRAME_NS (GST_SECOND / 30)
#define MANY_METAS 1024
#define META_TEXT_BYTES 1000

static GstClockTime
take_time (Catcher * catcher, guint64 number)
{
  CatcherItem *item = catcher_take_frame (catcher);
  GstClockTime pts = item == NULL ? GST_CLOCK_TIME_NONE : GST_BUFFER_PTS (item->object);

  CHECK_EQUAL (item_number (item), number);
  item_free (item);
  return pts;
}

/* Segments */

static const struct
{
  GstSegmentFlags flags;
  gdouble rate, applied_rate;
  guint64 base, offset, start, stop, time;
  GstClockTime first, second;   /* two frames */
  GstClockTime distance;        /* of their running times */
} segments[] = {
  {0, 1.0, 1.0, 0, 0, 0, GST_CLOCK_TIME_NONE, 0, 0, FRAME_NS, FRAME_NS},
  {0, 1.0, 1.0, 5 * GST_SECOND, 0, 7 * GST_SECOND, 9 * GST_SECOND, 3 * GST_SECOND, 7 * GST_SECOND, 8 * GST_SECOND, GST_SECOND},
  {GST_SEGMENT_FLAG_RESET, 2.0, 1.0, GST_SECOND, 0, GST_SECOND, GST_CLOCK_TIME_NONE, GST_SECOND, GST_SECOND, 3 * GST_SECOND, GST_SECOND},
  {0, 0.5, 2.0, 0, 0, 0, 60 * GST_SECOND, 0, GST_SECOND, 2 * GST_SECOND, 2 * GST_SECOND},
  {GST_SEGMENT_FLAG_TRICKMODE, -1.0, 1.0, 2 * GST_SECOND, 0, 0, 10 * GST_SECOND, 0, 9 * GST_SECOND, 8 * GST_SECOND, GST_SECOND},
  {0, 1.0, -1.0, 0, GST_SECOND, GST_SECOND, 20 * GST_SECOND, 4 * GST_SECOND, 3 * GST_SECOND, 4 * GST_SECOND, GST_SECOND},
  {GST_SEGMENT_FLAG_SKIP | GST_SEGMENT_FLAG_SEGMENT, 4.0, 1.0, 0, 0, 0, GST_CLOCK_TIME_NONE, 0, 0, 4 * GST_SECOND, GST_SECOND},
};

static void
make_segment (GstSegment * segment, guint i)
{
  gst_segment_init (segment, GST_FORMAT_TIME);
  segment->flags = segments[i].flags;
  segment->rate = segments[i].rate;
  segment->applied_rate = segments[i].applied_rate;
  segment->base = segments[i].base;
  segment->offset = segments[i].offset;
  segment->start = segment->position = segments[i].start;
  segment->stop = segments[i].stop;
  segment->time = segments[i].time;
}

static void
check_segment (Catcher * catcher, const GstSegment * wanted)
{
  GstEvent *event = gst_pad_get_sticky_event (catcher->pad, GST_EVENT_SEGMENT, 0);
  const GstSegment *got;

  REQUIRE (event != NULL);
  gst_event_parse_segment (event, &got);
  CHECK_EQUAL (got->flags, wanted->flags);
  CHECK (got->rate == wanted->rate && got->applied_rate == wanted->applied_rate);
  CHECK_EQUAL (got->format, wanted->format);
  CHECK_EQUAL (got->base, wanted->base);
  CHECK_EQUAL (got->offset, wanted->offset);
  CHECK_EQUAL (got->start, wanted->start);
  CHECK_EQUAL (got->stop, wanted->stop);
  CHECK_EQUAL (got->time, wanted->time);
  gst_event_unref (event);
}

static void
test_original_segments (void)
{
  GstSegment segment;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "timestamps=original start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < G_N_ELEMENTS (segments); i++) {
    make_segment (&segment, i);
    CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
    CHECK (feeder_push_at (&feeder, 2 * i, segments[i].first) == GST_FLOW_OK);
    CHECK_EQUAL (take_time (&catcher, 2 * i), segments[i].first);
    check_segment (&catcher, &segment);
    CHECK (feeder_push_at (&feeder, 2 * i + 1, segments[i].second) == GST_FLOW_OK);
    CHECK_EQUAL (take_time (&catcher, 2 * i + 1), segments[i].second);
  }
  both_close (&feeder, &catcher);
}

/* Whatever the publisher's segment is, its running time becomes the subscriber's, in a plain segment. */
static void
test_synchronised_segments (void)
{
  GstSegment segment, plain;
  Feeder feeder;
  Catcher catcher;

  gst_segment_init (&plain, GST_FORMAT_TIME);
  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < G_N_ELEMENTS (segments); i++) {
    GstClockTime first, second;
    make_segment (&segment, i);
    CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
    CHECK (feeder_push_at (&feeder, 2 * i, segments[i].first) == GST_FLOW_OK);
    CHECK (feeder_push_at (&feeder, 2 * i + 1, segments[i].second) == GST_FLOW_OK);
    first = take_time (&catcher, 2 * i);
    second = take_time (&catcher, 2 * i + 1);
    CHECK (GST_CLOCK_TIME_IS_VALID (first) && GST_CLOCK_TIME_IS_VALID (second));
    CHECK (ABS (GST_CLOCK_DIFF (first + segments[i].distance, second)) < GST_MSECOND);
    check_segment (&catcher, &plain);
  }
  both_close (&feeder, &catcher);
}

static void
test_outside_segment (void)
{
  GstSegment segment;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = GST_SECOND;
  segment.stop = 2 * GST_SECOND;
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  CHECK (feeder_push_at (&feeder, 1, 0) == GST_FLOW_OK);
  CHECK (feeder_push_at (&feeder, 2, GST_SECOND) == GST_FLOW_OK);
  feeder_push_at (&feeder, 3, 3 * GST_SECOND);
  CHECK (feeder_push_at (&feeder, 4, 2 * GST_SECOND - FRAME_NS) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  CHECK_EQUAL (catcher_take_number (&catcher), 4);
  both_close (&feeder, &catcher);
}

/* As from an appsrc whose format nobody set. */
static void
test_bytes_segment (void)
{
  GstSegment segment;
  Feeder feeder;
  Catcher catcher;
  GstClockTime pts;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  gst_segment_init (&segment, GST_FORMAT_BYTES);
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  for (guint i = 0; i < 3; i++) {
    CHECK (feeder_push_at (&feeder, i, GST_CLOCK_TIME_NONE) == GST_FLOW_OK);
    pts = take_time (&catcher, i);
    /* The base class gives the first of all the time 0. */
    CHECK (pts == GST_CLOCK_TIME_NONE || (i == 0 && pts == 0));
  }
  both_close (&feeder, &catcher);
}

/* Buffers */

static void
test_empty_buffers (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "timestamps=original start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 3; i++) {
    GstBuffer *empty = gst_buffer_new ();
    GstClockTime timestamp, duration;
    GstEvent *gap;
    GST_BUFFER_PTS (empty) = i * GST_SECOND + 5;
    GST_BUFFER_DURATION (empty) = i == 2 ? GST_CLOCK_TIME_NONE : FRAME_NS;
    CHECK (feeder_push_at (&feeder, i, i * GST_SECOND) == GST_FLOW_OK);
    CHECK (gst_pad_push (feeder.pad, empty) == GST_FLOW_OK);
    /* Without a time it says nothing at all. */
    CHECK (gst_pad_push (feeder.pad, gst_buffer_new ()) == GST_FLOW_OK);
    CHECK_EQUAL (take_time (&catcher, i), i * GST_SECOND);
    gap = catcher_take_event (&catcher, GST_EVENT_GAP);
    REQUIRE (gap != NULL);
    gst_event_parse_gap (gap, &timestamp, &duration);
    CHECK_EQUAL (timestamp, i * GST_SECOND + 5);
    CHECK_EQUAL (duration, i == 2 ? GST_CLOCK_TIME_NONE : FRAME_NS);
    gst_event_unref (gap);
  }
  CHECK_EQUAL (stat_of (feeder.element, "frames"), 3);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  both_close (&feeder, &catcher);
}

static const GstMetaInfo *
get_note (void)
{
  static const gchar *tags[] = { NULL };

  if (gst_meta_get_info ("CuframesTestNote") == NULL)
    gst_meta_register_custom ("CuframesTestNote", tags, NULL, NULL, NULL);
  return gst_meta_get_info ("CuframesTestNote");
}

static guint
check_notes (GstBuffer * buffer, const char *text)
{
  gpointer state = NULL;
  GstMeta *meta;
  guint count = 0;

  while ((meta = gst_buffer_iterate_meta_filtered (buffer, &state, get_note ()->api)) != NULL) {
    GstStructure *structure = gst_custom_meta_get_structure ((GstCustomMeta *) meta);
    guint number;
    CHECK (gst_structure_get_uint (structure, "number", &number) && number == count);
    CHECK (g_strcmp0 (gst_structure_get_string (structure, "text"), text) == 0);
    count++;
  }
  return count;
}

static void
test_many_metas (void)
{
  gchar *text = g_strnfill (META_TEXT_BYTES, 'x');
  Feeder feeder;
  Catcher catcher;

  get_note ();
  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 4; i++) {
    GstBuffer *buffer = feeder_frame (&feeder, i);
    CatcherItem *item;
    for (guint j = 0; j < MANY_METAS && i % 2 == 0; j++)
      gst_structure_set (gst_custom_meta_get_structure (gst_buffer_add_custom_meta (buffer, "CuframesTestNote")), "number", G_TYPE_UINT, j,
          "text", G_TYPE_STRING, text, NULL);
    CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    CHECK_EQUAL (item_number (item), i);
    CHECK_EQUAL (item == NULL ? 0 : check_notes (GST_BUFFER (item->object), text), i % 2 == 0 ? MANY_METAS : 0);
    item_free (item);
  }
  both_close (&feeder, &catcher);
  g_free (text);
}

/* Allocation */

static void
test_allocation_query (void)
{
  GstCaps *caps = gst_caps_from_string (SMALL);
  guint size, min, max;
  GstBufferPool *pool;
  GstQuery *query;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, ""));
  for (guint need_pool = 0; need_pool < 2; need_pool++) {
    query = gst_query_new_allocation (caps, need_pool);
    CHECK (gst_pad_peer_query (feeder.pad, query));
    CHECK (gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL));
    CHECK_EQUAL (gst_query_get_n_allocation_pools (query), need_pool);
    if (need_pool == 1) {
      gst_query_parse_nth_allocation_pool (query, 0, &pool, &size, &min, &max);
      CHECK (strcmp (G_OBJECT_TYPE_NAME (pool), "GstCuframesPool") == 0);
      CHECK_EQUAL (size, 64 * 48 * 3 / 2);
      CHECK (min >= 1 && max == 0);
      CHECK (gst_buffer_pool_has_option (pool, GST_BUFFER_POOL_OPTION_VIDEO_META));
      CHECK (gst_buffer_pool_has_option (pool, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT));
      gst_object_unref (pool);
    }
    gst_query_unref (query);
  }
  query = gst_query_new_allocation (NULL, TRUE);
  CHECK (!gst_pad_peer_query (feeder.pad, query));
  gst_query_unref (query);
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
  gst_caps_unref (caps);
}

static void
test_pool_configuration (void)
{
  const GstAllocationParams params = {.align = 63 };
  guint size, min, max;
  GstBuffer *buffers[6];
  GstStructure *config;
  GstMapInfo map;
  GstCaps *caps;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, "slots=4"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  gst_buffer_pool_set_active (feeder.pool, FALSE);
  config = gst_buffer_pool_get_config (feeder.pool);
  gst_buffer_pool_config_set_params (config, feeder.caps, 10000, G_N_ELEMENTS (buffers), 0);
  gst_buffer_pool_config_set_allocator (config, NULL, &params);
  CHECK (gst_buffer_pool_set_config (feeder.pool, config));
  config = gst_buffer_pool_get_config (feeder.pool);
  CHECK (gst_buffer_pool_config_get_params (config, &caps, &size, &min, &max));
  CHECK (gst_caps_is_equal (caps, feeder.caps));
  CHECK_EQUAL (size, 10000);
  CHECK_EQUAL (min, G_N_ELEMENTS (buffers));
  gst_structure_free (config);
  REQUIRE (gst_buffer_pool_set_active (feeder.pool, TRUE));
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++) {
    buffers[i] = feeder_frame (&feeder, i);
    CHECK_EQUAL (gst_buffer_get_size (buffers[i]), 10000);
    CHECK (gst_buffer_map (buffers[i], &map, GST_MAP_READWRITE));
    CHECK_EQUAL ((guintptr) map.data & params.align, 0);
    gst_buffer_unmap (buffers[i], &map);
    CHECK (gst_buffer_get_video_meta (buffers[i]) != NULL);
  }
  CHECK_EQUAL (stat_of (feeder.element, "frames"), 0);
  for (guint i = 0; i < G_N_ELEMENTS (buffers); i++)
    CHECK (gst_pad_push (feeder.pad, buffers[i]) == GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "slots"), 4 + G_N_ELEMENTS (buffers));
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

/* A change of source */

static GstEvent *
new_stream (const char *id, guint group)
{
  GstEvent *event = gst_event_new_stream_start (id);

  gst_event_set_group_id (event, group);
  return event;
}

static void
start_stream (Feeder * feeder, guint number)
{
  static const char rgb[] = "video/x-raw,format=RGB,width=64,height=48,framerate=25/1";
  const char *const caps[] = { SMALL, WIDE, rgb, rgb };
  gchar *id = g_strdup_printf ("source-%u", number);
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = number * GST_SECOND;
  CHECK (feeder_event (feeder, new_stream (id, number + 1)));
  feeder->begun = TRUE;
  REQUIRE (feeder_begin (feeder, caps[number % G_N_ELEMENTS (caps)]));
  CHECK (feeder_event (feeder, gst_event_new_segment (&segment)));
  CHECK (feeder_event (feeder, gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, id, NULL))));
  g_free (id);
}

static void
test_change_of_source (void)
{
  gboolean has_group = FALSE;
  guint starts = 0, group;
  CatcherItem *item;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  for (guint i = 0; i < 8; i++) {
    gboolean tagged = FALSE;
    start_stream (&feeder, i);
    CHECK (feeder_push_at (&feeder, i, i * GST_SECOND) == GST_FLOW_OK);
    while ((item = catcher_take (&catcher)) != NULL && !GST_IS_BUFFER (item->object)) {
      if (GST_EVENT_TYPE (item->object) == GST_EVENT_STREAM_START) {
        starts++;
        has_group = gst_event_parse_group_id (GST_EVENT (item->object), &group);
      }
      if (GST_EVENT_TYPE (item->object) == GST_EVENT_TAG) {
        gchar *title = NULL, *wanted = g_strdup_printf ("source-%u", i);
        GstTagList *tags;
        gst_event_parse_tag (GST_EVENT (item->object), &tags);
        tagged = gst_tag_list_get_string (tags, GST_TAG_TITLE, &title) && strcmp (title, wanted) == 0;
        g_free (title);
        g_free (wanted);
      }
      item_free (item);
    }
    REQUIRE (item != NULL);
    CHECK (tagged);
    CHECK (gst_caps_is_equal (item->caps, feeder.caps));
    CHECK_EQUAL (item_number (item), i);
    item_free (item);
  }
  /* To its pipeline the src is one stream, whatever goes through it. */
  CHECK_EQUAL (starts, 1);
  CHECK (has_group);
  CHECK (!catcher.ended);
  both_close (&feeder, &catcher);
}

static const FixtureTest tests[] = {
  {"segments with every field set cross as they are with timestamps=original", test_original_segments},
  {"running time crosses whatever the segment with timestamps=synchronised", test_synchronised_segments},
  {"frames outside the segment are not published", test_outside_segment},
  {"frames in a segment of bytes cross without a time", test_bytes_segment},
  {"an empty buffer is a gap", test_empty_buffers},
  {"a thousand metas of a kilobyte cross with one frame", test_many_metas},
  {"the allocation query is answered with a pool, its size, and GstVideoMeta", test_allocation_query},
  {"the pool keeps to the size, the count and the alignment that it is asked for", test_pool_configuration},
  {"a change of source brings its caps and tags and is no new stream", test_change_of_source},
};

ELEMENT_MAIN (tests, NULL, 0)
