/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Flushes, queries, and events of either direction, as users of other elements that connect processes rely on them. */
#include "element-fixture.h"

#define FRAME_NS (GST_SECOND / 30)

/* Flushes */

static guint
count_flushes (Catcher * catcher)
{
  CatcherItem *item;
  guint count = 0;

  while ((item = catcher_take_if (catcher)) != NULL) {
    count += GST_IS_EVENT (item->object) && (GST_EVENT_TYPE (item->object) == GST_EVENT_FLUSH_START
        || GST_EVENT_TYPE (item->object) == GST_EVENT_FLUSH_STOP);
    item_free (item);
  }
  return count;
}

static void
test_flush_upstream_stays (void)
{
  GstSegment segment;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  for (guint i = 0; i < 10; i++) {
    CHECK (gst_element_get_state (feeder.pipeline, NULL, NULL, i == 0 ? 0 : FIXTURE_BOUND_NS) != GST_STATE_CHANGE_FAILURE);
    CHECK (feeder_event (&feeder, gst_event_new_flush_start ()));
    CHECK (feeder_event (&feeder, gst_event_new_flush_stop (i % 2)));
    CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
    CHECK (feeder_push_at (&feeder, i, i * FRAME_NS) == GST_FLOW_OK);
  }
  for (guint i = 0; i < 10; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  CHECK_EQUAL (count_flushes (&catcher), 0);
  both_close (&feeder, &catcher);
}

/* The application flushes the src's pipeline. */
static void
test_flush_downstream (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 10; i++) {
    CHECK (feeder_push_at (&feeder, i, i * FRAME_NS) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
    CHECK (gst_element_send_event (catcher.element, gst_event_new_flush_start ()));
    CHECK (gst_element_send_event (catcher.element, gst_event_new_flush_stop (i % 2)));
    CHECK_EQUAL (count_flushes (&catcher), 2);
  }
  CHECK_EQUAL (stat_of (catcher.element, "connections"), 1);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  both_close (&feeder, &catcher);
}

/* Queries */

static void
test_queries_of_src (void)
{
  GstFormat format;
  gint64 position, duration;
  gboolean seekable;
  GstQuery *query;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "timestamps=original start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push_at (&feeder, 1, 3 * GST_SECOND) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK (WAIT_UNTIL (gst_element_query_position (catcher.element, GST_FORMAT_TIME, &position) && position >= 3 * (gint64) GST_SECOND));
  CHECK (position <= 4 * (gint64) GST_SECOND);
  CHECK (!gst_element_query_position (catcher.element, GST_FORMAT_BYTES, &position) || position == -1);
  CHECK (!gst_element_query_duration (catcher.element, GST_FORMAT_TIME, &duration) || duration == -1);
  query = gst_query_new_seeking (GST_FORMAT_TIME);
  CHECK (gst_element_query (catcher.element, query));
  gst_query_parse_seeking (query, &format, &seekable, NULL, NULL);
  CHECK (!seekable);
  gst_query_unref (query);
  query = gst_query_new_scheduling ();
  CHECK (gst_element_query (catcher.element, query));
  CHECK (!gst_query_has_scheduling_mode (query, GST_PAD_MODE_PULL));
  gst_query_unref (query);
  CHECK (!gst_element_seek_simple (catcher.element, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, 0));
  CHECK (feeder_push_at (&feeder, 2, 4 * GST_SECOND) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  both_close (&feeder, &catcher);
}

/* Its frames come when upstream has them, which is as late as upstream says, whether it waits for a moment or not. */
static void
test_latency_without_sync (void)
{
  GstClockTime latency = 40 * GST_MSECOND;
  Feeder feeder;
  Catcher catcher;

  feeder_prepare (&feeder, "sync=false");
  feeder_answer_latency (&feeder, &latency);
  REQUIRE (pipeline_play (feeder.pipeline));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  CHECK_EQUAL (catcher_ask_latency (&catcher), 0);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push_at (&feeder, 1, 0) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (catcher_ask_latency (&catcher) == 40 * GST_MSECOND));
  latency = 70 * GST_MSECOND;
  CHECK (gst_bin_recalculate_latency (GST_BIN (feeder.pipeline)));
  CHECK (feeder_push_at (&feeder, 2, FRAME_NS) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (catcher_ask_latency (&catcher) == 70 * GST_MSECOND));
  both_close (&feeder, &catcher);
}

/* Who joins after a flush that followed the end hears the latency of now, not that of then. */
static void
test_latency_after_end (void)
{
  GstClockTime latency = 40 * GST_MSECOND;
  GstSegment segment;
  Feeder feeder;
  Catcher catcher;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  feeder_prepare (&feeder, "sync=false");
  feeder_answer_latency (&feeder, &latency);
  REQUIRE (pipeline_play (feeder.pipeline));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push_at (&feeder, 1, 0) == GST_FLOW_OK);
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  CHECK (feeder_event (&feeder, gst_event_new_flush_start ()));
  CHECK (feeder_event (&feeder, gst_event_new_flush_stop (FALSE)));
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  latency = 70 * GST_MSECOND;
  CHECK (gst_bin_recalculate_latency (GST_BIN (feeder.pipeline)));
  CHECK (feeder_push_at (&feeder, 2, FRAME_NS) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  CHECK (WAIT_UNTIL (catcher.frames >= 2));
  CHECK_EQUAL (catcher_ask_latency (&catcher), 70 * GST_MSECOND);
  both_close (&feeder, &catcher);
}

/* Events of the application and from downstream */

static GstPadProbeReturn
count_event (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  const GstEventType type = GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info));

  if (type != GST_EVENT_RECONFIGURE && type != GST_EVENT_LATENCY)
    g_atomic_int_inc ((gint *) data);
  return GST_PAD_PROBE_OK;
}

static GstEvent *
new_navigation (void)
{
  return gst_event_new_navigation (gst_structure_new ("application/x-gst-navigation", "event", G_TYPE_STRING, "key-press", "key", G_TYPE_STRING,
          "space", NULL));
}

/* One subscriber's wishes are none of the others' business. */
static void
test_upstream_events_stay (void)
{
  gint events = 0;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  gst_pad_add_probe (feeder.pad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, count_event, &events, NULL);
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 5; i++) {
    CHECK (feeder_push_at (&feeder, i, i * FRAME_NS) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
    gst_pad_push_event (catcher.pad, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW, 2.0, GST_SECOND, i * FRAME_NS));
    gst_pad_push_event (catcher.pad, gst_event_new_custom (GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty ("wish")));
    CHECK (!gst_pad_push_event (catcher.pad, new_navigation ()));
    CHECK (!gst_pad_push_event (catcher.pad, gst_event_new_seek (1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0,
                GST_SEEK_TYPE_NONE, 0)));
    gst_pad_push_event (catcher.pad, gst_event_new_reconfigure ());
  }
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK_EQUAL (g_atomic_int_get (&events), 0);
  CHECK_EQUAL (count_flushes (&catcher), 0);
  both_close (&feeder, &catcher);
}

static void
test_events_of_application (void)
{
  gint events = 0;
  GstEvent *event;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (both_open (&feeder, "", &catcher, "start=oldest"));
  gst_pad_add_probe (feeder.pad, GST_PAD_PROBE_TYPE_EVENT_UPSTREAM, count_event, &events, NULL);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push_at (&feeder, 1, 0) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK (gst_element_send_event (feeder.element, gst_event_new_custom (GST_EVENT_CUSTOM_UPSTREAM, gst_structure_new_empty ("wish"))));
  CHECK_EQUAL (g_atomic_int_get (&events), 1);
  CHECK (gst_element_send_event (catcher.element, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty ("mark"))));
  CHECK (gst_element_send_event (catcher.element, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM_OOB, gst_structure_new_empty ("aside"))));
  event = catcher_take_event (&catcher, GST_EVENT_CUSTOM_DOWNSTREAM_OOB);
  CHECK (event != NULL && gst_event_has_name (event, "aside"));
  gst_clear_event (&event);
  CHECK (feeder_push_at (&feeder, 2, FRAME_NS) == GST_FLOW_OK);
  event = catcher_take_event (&catcher, GST_EVENT_CUSTOM_DOWNSTREAM);
  CHECK (event != NULL && gst_event_has_name (event, "mark"));
  gst_clear_event (&event);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  CHECK (gst_element_send_event (catcher.element, gst_event_new_eos ()));
  CHECK (WAIT_UNTIL (catcher.ended));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "slots-leased") == 0));
  both_close (&feeder, &catcher);
}

static const FixtureTest tests[] = {
  {"who joins after a flush behind the end hears the latency of now", test_latency_after_end},
  {"a flush upstream of the sink is none of the subscriber's", test_flush_upstream_stays},
  {"a flush of the src's pipeline loses nothing and keeps the connection", test_flush_downstream},
  {"the src answers queries of position, duration, seeking and scheduling", test_queries_of_src},
  {"a sink with sync=false tells upstream's latency", test_latency_without_sync},
  {"QoS, navigation, seeks and custom events from downstream end at the src", test_upstream_events_stay},
  {"events that the application sends to either element go their way", test_events_of_application},
};

ELEMENT_MAIN (tests, NULL, 0)
