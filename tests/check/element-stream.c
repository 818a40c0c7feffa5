/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What crosses besides pixels: caps, events in order with the frames, time stamps, metas, latency. */
#include "element-fixture.h"

#include <stdio.h>
#include <string.h>

#define BIG_BYTES (1024 * 1024)

static const char *const all_caps[] = {
  "video/x-raw,format=I420,width=64,height=48,framerate=0/1",
  "video/x-raw,format=I420,width=64,height=48,framerate=0/1,max-framerate=60/1",
  "video/x-raw,format=NV12,width=720,height=576,framerate=25/1,interlace-mode=interleaved,field-order=top-field-first,pixel-aspect-ratio=16/15",
  "video/x-raw,format=NV12,width=720,height=576,framerate=25/1,interlace-mode=mixed",
  "video/x-raw,format=P010_10LE,width=64,height=48,framerate=60000/1001,colorimetry=bt2100-pq,chroma-site=mpeg2,"
      "mastering-display-info=(string)34000:16000:13250:34500:7500:3000:15635:16450:10000000:50,content-light-level=(string)1000:400",
  "video/x-raw,format=RGBA,width=64,height=48,framerate=30/1,multiview-mode=side-by-side,"
      "multiview-flags=(GstVideoMultiviewFlagsSet)3:ffffffff,views=2",
  "video/x-raw,format=YUY2,width=64,height=48,framerate=30/1,colorimetry=bt601,chroma-site=none",
  "video/x-raw,format=GRAY8,width=64,height=48,framerate=30/1,x-note=(string)\"semicolon; comma, quote\",x-list=(int)< 1, 2, 3 >,"
      "x-bits=(bitmask)0xff00,x-ratio=(double)0.25,x-flag=(boolean)true",
};

static void
test_caps_fields (void)
{
  Feeder feeder;
  Catcher catcher;

  /* Nobody else may have had a use for the type yet. */
  g_type_ensure (GST_TYPE_VIDEO_MULTIVIEW_FLAGSET);
  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint i = 0; i < G_N_ELEMENTS (all_caps); i++) {
    CatcherItem *item;
    REQUIRE (feeder_begin (&feeder, all_caps[i]));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    CHECK (item->caps != NULL && gst_caps_is_strictly_equal (item->caps, feeder.caps));
    CHECK_EQUAL (item_number (item), i);
    item_free (item);
  }
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_caps_change_with_frames_held (void)
{
  static const char *const caps[] = { SMALL, WIDE, "video/x-raw,format=RGB,width=641,height=481,framerate=5/1" };
  CatcherItem *held[12] = { NULL };
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest io-mode=zero-copy"));
  for (guint i = 0; i < G_N_ELEMENTS (held); i++) {
    REQUIRE (feeder_begin (&feeder, caps[i % G_N_ELEMENTS (caps)]));
    CHECK (feeder_push (&feeder, i * 10, 1) == GST_FLOW_OK);
    held[i] = catcher_take_frame (&catcher);
    REQUIRE (held[i] != NULL);
  }
  for (guint i = 0; i < G_N_ELEMENTS (held); i++)
    CHECK_EQUAL (item_number (held[i]), i * 10);
  feeder_close (&feeder);
  for (guint i = 0; i < G_N_ELEMENTS (held); i++) {
    CHECK_EQUAL (item_number (held[i]), i * 10);
    item_free (held[i]);
  }
  catcher_close (&catcher);
}

static void
test_same_caps_again (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 5; i++) {
    CHECK (feeder_send_caps (&feeder, SMALL));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  }
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "generation"), 1);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static GstEvent *
new_tag (const char *title)
{
  return gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, title, NULL));
}

static GstEvent *
new_custom (GstEventType type, const char *name, int value)
{
  return gst_event_new_custom (type, gst_structure_new (name, "value", G_TYPE_INT, value, "text", G_TYPE_STRING, "what; \"it\" is", NULL));
}

static gboolean
same_structure (GstEvent * a, GstEvent * b)
{
  gchar *one = gst_structure_to_string (gst_event_get_structure (a)), *other = gst_structure_to_string (gst_event_get_structure (b));
  const gboolean same = strcmp (one, other) == 0;

  if (!same)
    fprintf (stderr, "  sent %s\n  got  %s\n", one, other);
  g_free (one);
  g_free (other);
  return same;
}

/* The next thing is the frame or event; event: NULL for a frame. */
static void
expect (Catcher * catcher, guint64 number, GstEvent * event)
{
  CatcherItem *item = catcher_take (catcher);

  REQUIRE (item != NULL);
  if (event == NULL) {
    CHECK (GST_IS_BUFFER (item->object));
    CHECK_EQUAL (GST_IS_BUFFER (item->object) ? item_number (item) : 0, number);
  } else {
    REQUIRE (GST_IS_EVENT (item->object));
    if (GST_EVENT_TYPE (item->object) != GST_EVENT_TYPE (event)) {
      gchar *what = g_strdup_printf ("%s is %s", GST_EVENT_TYPE_NAME (item->object), GST_EVENT_TYPE_NAME (event));
      fixture_fail (__FILE__, __LINE__, __func__, what);
      g_free (what);
    }
    else if (GST_EVENT_TYPE (event) != GST_EVENT_SEGMENT && gst_event_get_structure (event) != NULL)
      CHECK (same_structure (event, GST_EVENT (item->object)));
    gst_event_unref (event);
  }
  item_free (item);
}

static void
test_events_in_order (void)
{
  Feeder feeder;
  Catcher catcher;
  GstSegment segment;
  GstEvent *event;
  const GstSegment *got;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest timestamps=original"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 2) == GST_FLOW_OK);
  CHECK (feeder_event (&feeder, new_tag ("one")));
  CHECK (feeder_push (&feeder, 3, 1) == GST_FLOW_OK);
  CHECK (feeder_event (&feeder, gst_event_new_gap (7, 9)));
  CHECK (feeder_event (&feeder, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, "serialised", 3)));
  CHECK (feeder_event (&feeder, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_STICKY, "sticky", 4)));
  CHECK (feeder_push (&feeder, 4, 1) == GST_FLOW_OK);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.position = 11 * GST_MSECOND;
  segment.time = 5 * GST_SECOND;
  segment.base = 3 * GST_SECOND;
  segment.stop = 100 * GST_SECOND;
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  CHECK (feeder_event (&feeder, new_tag ("two")));
  CHECK (feeder_push (&feeder, 5, 1) == GST_FLOW_OK);
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));

  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  expect (&catcher, 2, NULL);
  expect (&catcher, 0, new_tag ("one"));
  expect (&catcher, 3, NULL);
  event = gst_event_new_gap (7, 9);
  gst_event_set_gap_flags (event, 0);
  expect (&catcher, 0, event);
  expect (&catcher, 0, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, "serialised", 3));
  expect (&catcher, 0, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_STICKY, "sticky", 4));
  expect (&catcher, 4, NULL);
  expect (&catcher, 0, gst_event_new_segment (&segment));
  event = gst_pad_get_sticky_event (catcher.pad, GST_EVENT_SEGMENT, 0);
  gst_event_parse_segment (event, &got);
  CHECK (gst_segment_is_equal (got, &segment) || (got->start == segment.start && got->base == segment.base && got->time == segment.time
          && got->stop == segment.stop && got->rate == segment.rate));
  gst_event_unref (event);
  expect (&catcher, 0, new_tag ("two"));
  expect (&catcher, 5, NULL);
  expect (&catcher, 0, gst_event_new_eos ());
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* The publisher's segment ends and another begins: that is no end for the subscriber. */
static void
test_segments_with_stop (void)
{
  Feeder feeder;
  Catcher catcher;
  GstSegment segment;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest timestamps=original"));
  REQUIRE (feeder_send_caps (&feeder, SMALL));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.stop = 2 * (GST_SECOND / 30);
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  REQUIRE (feeder_negotiate (&feeder));
  CHECK (feeder_push (&feeder, 0, 2) == GST_FLOW_OK);
  segment.base = GST_SECOND / 10;
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  CHECK (feeder_push (&feeder, 0, 2) == GST_FLOW_OK);
  for (guint i = 0; i < 4; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i % 2);
  CHECK (!catcher.ended);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static GstEvent *
new_image_tag (void)
{
  GstBuffer *image = gst_buffer_new_allocate (NULL, BIG_BYTES, NULL);
  GstCaps *caps = gst_caps_from_string ("image/jpeg,width=10,height=10");
  GstSample *sample;
  GstTagList *tags;

  gst_buffer_memset (image, 0, 0x5a, BIG_BYTES);
  sample = gst_sample_new (image, caps, NULL, NULL);
  tags = gst_tag_list_new (GST_TAG_IMAGE, sample, GST_TAG_TITLE, "cover", NULL);
  gst_sample_unref (sample);
  gst_buffer_unref (image);
  gst_caps_unref (caps);
  return gst_event_new_tag (tags);
}

static void
check_image_tag (GstEvent * event)
{
  GstSample *sample = NULL;
  GstTagList *tags;

  REQUIRE (event != NULL);
  gst_event_parse_tag (event, &tags);
  REQUIRE (gst_tag_list_get_sample (tags, GST_TAG_IMAGE, &sample));
  CHECK_EQUAL (gst_buffer_get_size (gst_sample_get_buffer (sample)), BIG_BYTES);
  CHECK (gst_buffer_memcmp (gst_sample_get_buffer (sample), BIG_BYTES - 4, "ZZZZ", 4) == 0);
  gst_sample_unref (sample);
  gst_event_unref (event);
}

static void
test_late_joiner (void)
{
  Feeder feeder;
  Catcher catcher;
  GstEvent *custom;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK (feeder_event (&feeder, new_tag ("old")));
  CHECK (feeder_event (&feeder, new_image_tag ()));
  CHECK (feeder_event (&feeder, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, "gone", 1)));
  CHECK (feeder_event (&feeder, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_STICKY, "kept", 1)));
  CHECK (feeder_event (&feeder, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_STICKY, "kept", 2)));
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catcher, "start=latest"));
  check_image_tag (catcher_take_event (&catcher, GST_EVENT_TAG));
  custom = catcher_take_event (&catcher, GST_EVENT_CUSTOM_DOWNSTREAM_STICKY);
  REQUIRE (custom != NULL);
  CHECK (gst_event_has_name (custom, "kept"));
  gst_event_unref (custom);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  custom = gst_pad_get_sticky_event (catcher.pad, GST_EVENT_CUSTOM_DOWNSTREAM_STICKY, 0);
  REQUIRE (custom != NULL);
  gst_event_unref (custom);
  CHECK (feeder_event (&feeder, new_image_tag ()));
  check_image_tag (catcher_take_event (&catcher, GST_EVENT_TAG));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_new_stream_forgets (void)
{
  Feeder feeder;
  Catcher catcher;
  CatcherItem *item;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_event (&feeder, new_tag ("of the old stream")));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  feeder.begun = FALSE;
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catcher, ""));
  while ((item = catcher_take (&catcher)) != NULL && !GST_IS_BUFFER (item->object)) {
    CHECK (GST_EVENT_TYPE (item->object) != GST_EVENT_TAG);
    item_free (item);
  }
  item_free (item);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* As an application loops a file: end, flushing seek, on again. */
static void
test_goes_on_behind_end (void)
{
  Feeder feeder;
  Catcher first, second;
  GstSegment segment;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&first, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&first), 1);
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  CHECK (WAIT_UNTIL (first.ended));
  /* Who joins now is at the end as well. */
  REQUIRE (catcher_open (&second, ""));
  CHECK (WAIT_UNTIL (second.ended));
  catcher_close (&second);
  CHECK (feeder_event (&feeder, gst_event_new_flush_start ()));
  CHECK (feeder_event (&feeder, gst_event_new_flush_stop (TRUE)));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  CHECK (feeder_push (&feeder, 2, 2) == GST_FLOW_OK);
  REQUIRE (catcher_open (&second, ""));
  CHECK_EQUAL (catcher_take_number (&second), 3);
  CHECK (feeder_push (&feeder, 4, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&second), 4);
  CHECK (!second.ended);
  catcher_close (&second);
  catcher_close (&first);
  feeder_close (&feeder);
}

static void
test_many_events (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "slots=64"));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (gint i = 0; i < 40; i++) {
    for (gint j = 0; j < 5; j++)
      CHECK (feeder_event (&feeder, new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, "many", i * 5 + j)));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
  }
  for (gint i = 0; i < 200; i++) {
    GstEvent *event = catcher_take_event (&catcher, GST_EVENT_CUSTOM_DOWNSTREAM);
    gint value = -1;
    REQUIRE (event != NULL);
    gst_structure_get_int (gst_event_get_structure (event), "value", &value);
    CHECK_EQUAL (value, i);
    gst_event_unref (event);
  }
  CHECK_EQUAL (catcher_take_number (&catcher), 39);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* A PTS is always there: where it is not, GstBaseSrc puts the DTS. */
static void
set_times (GstBuffer * buffer, guint i)
{
  static const guint64 odd[] = { 0, 1, 41708333, GST_CLOCK_TIME_NONE, 3600 * GST_SECOND + 7, G_MAXUINT64 - 1 };
  static const guint flags[] = {
    0, GST_BUFFER_FLAG_DELTA_UNIT, GST_BUFFER_FLAG_CORRUPTED | GST_BUFFER_FLAG_DROPPABLE,
    GST_BUFFER_FLAG_MARKER | GST_VIDEO_BUFFER_FLAG_INTERLACED | GST_VIDEO_BUFFER_FLAG_TFF, GST_BUFFER_FLAG_GAP | GST_BUFFER_FLAG_DECODE_ONLY,
    GST_BUFFER_FLAG_RESYNC | GST_BUFFER_FLAG_HEADER | GST_VIDEO_BUFFER_FLAG_RFF | GST_VIDEO_BUFFER_FLAG_MULTIPLE_VIEW,
  };

  GST_BUFFER_PTS (buffer) = i % 6 == 3 ? 5 : odd[i % 6];
  GST_BUFFER_DTS (buffer) = odd[(i + 1) % 6];
  GST_BUFFER_DURATION (buffer) = odd[(i + 2) % 6];
  GST_BUFFER_OFFSET (buffer) = odd[(i + 3) % 6];
  GST_BUFFER_OFFSET_END (buffer) = odd[(i + 4) % 6];
  GST_BUFFER_FLAG_SET (buffer, flags[i % 6]);
}

static void
test_time_stamps_exact (void)
{
  const guint local = GST_BUFFER_FLAG_TAG_MEMORY | GST_MINI_OBJECT_FLAG_LOCKABLE;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest timestamps=original"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 12; i++) {
    GstBuffer *sent = i < 6 ? feeder_frame (&feeder, i) : feeder_own_frame (&feeder, i), *got;
    CatcherItem *item;
    set_times (sent, i);
    CHECK (gst_pad_push (feeder.pad, gst_buffer_ref (sent)) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    got = GST_BUFFER (item->object);
    CHECK_EQUAL (GST_BUFFER_PTS (got), GST_BUFFER_PTS (sent));
    CHECK_EQUAL (GST_BUFFER_DTS (got), GST_BUFFER_DTS (sent));
    CHECK_EQUAL (GST_BUFFER_DURATION (got), GST_BUFFER_DURATION (sent));
    CHECK_EQUAL (GST_BUFFER_OFFSET (got), GST_BUFFER_OFFSET (sent));
    CHECK_EQUAL (GST_BUFFER_OFFSET_END (got), GST_BUFFER_OFFSET_END (sent));
    CHECK_EQUAL (GST_BUFFER_FLAGS (got) & ~local, (GST_BUFFER_FLAGS (sent) & ~local) | (i == 0 ? GST_BUFFER_FLAG_DISCONT : 0));
    item_free (item);
    gst_buffer_unref (sent);
  }
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* base times and clocks differ, the moment is the same. */
static void
check_in_step (const char *what, GstClockType feeder_clock, GstClockType catcher_clock)
{
  GstClock *clocks[2] = {
    g_object_new (GST_TYPE_SYSTEM_CLOCK, "clock-type", feeder_clock, NULL), g_object_new (GST_TYPE_SYSTEM_CLOCK, "clock-type", catcher_clock, NULL)
  };
  Feeder feeder;
  Catcher catcher;

  for (guint i = 0; i < 2; i++)
    gst_object_ref_sink (clocks[i]);
  REQUIRE (catcher_prepare (&catcher, "start=oldest"));
  gst_pipeline_use_clock (GST_PIPELINE (catcher.pipeline), clocks[1]);
  REQUIRE (pipeline_play (catcher.pipeline));
  REQUIRE (feeder_open (&feeder, ""));
  gst_element_set_state (feeder.pipeline, GST_STATE_READY);
  gst_pipeline_use_clock (GST_PIPELINE (feeder.pipeline), clocks[0]);
  REQUIRE (pipeline_play (feeder.pipeline));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 5; i++) {
    GstBuffer *buffer = feeder_frame (&feeder, i);
    GstClockTimeDiff moment, got;
    CatcherItem *item;
    if (i == 0)
      GST_BUFFER_DTS (buffer) = 0;
    GST_BUFFER_PTS (buffer) = GST_SECOND * (i + 10);
    if (i == 1)
      GST_BUFFER_DTS (buffer) = GST_BUFFER_PTS (buffer) - 3 * GST_MSECOND;
    CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
    /* Both against the monotonic clock. */
    moment = (GstClockTimeDiff) (fixture_now_ns () + gst_element_get_base_time (feeder.element) - gst_clock_get_time (clocks[0]) + GST_SECOND * (i + 10));
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    got = (GstClockTimeDiff) (fixture_now_ns () + gst_element_get_base_time (catcher.element) - gst_clock_get_time (clocks[1])
        + GST_BUFFER_PTS (item->object));
    if (ABS (got - moment) > (fixture_is_slow () ? 20 : 2) * GST_MSECOND) {
      gchar *text = g_strdup_printf ("%s: %" G_GINT64_FORMAT " us apart", what, (got - moment) / 1000);
      fixture_fail (__FILE__, __LINE__, __func__, text);
      g_free (text);
    }
    CHECK (i != 1 || GST_BUFFER_PTS (item->object) - GST_BUFFER_DTS (item->object) == 3 * GST_MSECOND);
    item_free (item);
  }
  feeder_close (&feeder);
  catcher_close (&catcher);
  for (guint i = 0; i < 2; i++)
    gst_object_unref (clocks[i]);
}

static void
test_in_step (void)
{
  check_in_step ("both on the monotonic clock", GST_CLOCK_TYPE_MONOTONIC, GST_CLOCK_TYPE_MONOTONIC);
  check_in_step ("the publisher on the realtime clock", GST_CLOCK_TYPE_REALTIME, GST_CLOCK_TYPE_MONOTONIC);
  check_in_step ("the subscriber on the realtime clock", GST_CLOCK_TYPE_MONOTONIC, GST_CLOCK_TYPE_REALTIME);
}

static void
test_frames_before_base_time (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 0, 3) == GST_FLOW_OK);
  REQUIRE (catcher_prepare (&catcher, "start=oldest"));
  gst_element_set_start_time (catcher.pipeline, GST_CLOCK_TIME_NONE);
  gst_element_set_base_time (catcher.pipeline, gst_util_get_timestamp () + GST_SECOND);
  REQUIRE (pipeline_play (catcher.pipeline));
  for (guint i = 0; i < 3; i++) {
    CatcherItem *item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    CHECK_EQUAL (GST_BUFFER_PTS (item->object), 0);
    item_free (item);
  }
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_latency (void)
{
  GstClockTime latency = 40 * GST_MSECOND;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "sync=true processing-deadline=0"));
  gst_element_set_state (feeder.pipeline, GST_STATE_READY);
  feeder_answer_latency (&feeder, &latency);
  REQUIRE (pipeline_play (feeder.pipeline));
  REQUIRE (catcher_open (&catcher, ""));
  CHECK_EQUAL (catcher_ask_latency (&catcher), 0);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 0, 3) == GST_FLOW_OK);
  item_free (catcher_take_frame (&catcher));
  CHECK (WAIT_UNTIL (catcher_ask_latency (&catcher) == 40 * GST_MSECOND));
  latency = 70 * GST_MSECOND;
  CHECK (gst_bin_recalculate_latency (GST_BIN (feeder.pipeline)));
  CHECK (feeder_push (&feeder, 4, 1) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (catcher_ask_latency (&catcher) == 70 * GST_MSECOND));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_keyframe_request (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  item_free (catcher_take_frame (&catcher));
  for (guint i = 0; i < 20; i++)
    CHECK (gst_pad_push_event (catcher.pad, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, i)));
  CHECK (WAIT_UNTIL (g_atomic_int_get (&feeder.keyframes) > 0));
  CHECK (g_atomic_int_get (&feeder.keyframes) <= 2);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static const FixtureTest tests[] = {
  {"every field of the caps crosses", test_caps_fields},
  {"caps change in the middle of the stream while frames of all former ones are held", test_caps_change_with_frames_held},
  {"the same caps once more cost no new ring", test_same_caps_again},
  {"segment, tags, gap, custom events and the end come in their place among the frames", test_events_in_order},
  {"the end of the publisher's segment is not the end of the stream", test_segments_with_stop},
  {"who joins late gets the newest of each sticky event, a picture of 1 MB too, and no other", test_late_joiner},
  {"a new stream forgets the old one's tags", test_new_stream_forgets},
  {"a stream that goes on behind its end has no end for those who join", test_goes_on_behind_end},
  {"hundreds of events between frames keep their order", test_many_events},
  {"time stamps, duration, offsets and flags cross exactly", test_time_stamps_exact},
  {"two pipelines with other base times and clocks are in step", test_in_step},
  {"frames from before the subscriber's base time have the time 0", test_frames_before_base_time},
  {"the src answers the latency query with the publisher's latency, also when it changes", test_latency},
  {"a wish for a key frame reaches the producer, and not too often", test_keyframe_request},
};

ELEMENT_MAIN (tests, NULL, 0)
