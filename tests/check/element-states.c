/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State changes of either element, alone and with the other, and what must end a wait. */
#include "element-fixture.h"

/* What ends at once ends within this, on a loaded machine too. */
#define AT_ONCE_NS (2 * GST_SECOND)

static gboolean
go_to (GstElement * element, GstState state)
{
  const guint64 start = fixture_now_ns ();
  const GstStateChangeReturn change = gst_element_set_state (element, state);

  return change != GST_STATE_CHANGE_FAILURE && (fixture_is_slow () || fixture_now_ns () - start < AT_ONCE_NS);
}

static const GstState walks[][6] = {
  {GST_STATE_READY, GST_STATE_NULL, GST_STATE_PAUSED, GST_STATE_READY, GST_STATE_PLAYING, GST_STATE_NULL},
  {GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_PAUSED, GST_STATE_PLAYING, GST_STATE_READY, GST_STATE_NULL},
  {GST_STATE_PLAYING, GST_STATE_READY, GST_STATE_PAUSED, GST_STATE_NULL, GST_STATE_PLAYING, GST_STATE_NULL},
};

static void
walk (GstElement * pipeline)
{
  for (guint i = 0; i < G_N_ELEMENTS (walks); i++)
    for (guint j = 0; j < G_N_ELEMENTS (walks[i]); j++)
      CHECK (go_to (pipeline, walks[i][j]));
}

static void
test_sink_alone (void)
{
  GstElement *pipeline = pipeline_new ("videotestsrc is-live=true ! " SMALL " ! cuframessink channel=test");

  walk (pipeline);
  CHECK (pipeline_is_well (pipeline));
  pipeline_stop (pipeline);
}

static void
test_bare_sink (void)
{
  GstElement *pipeline = pipeline_new ("cuframessink channel=test");

  walk (pipeline);
  CHECK (pipeline_is_well (pipeline));
  pipeline_stop (pipeline);
}

static void
test_src_alone (void)
{
  GstElement *pipeline = pipeline_new ("cuframessrc channel=test ! fakesink");

  walk (pipeline);
  CHECK (pipeline_is_well (pipeline));
  pipeline_stop (pipeline);
}

static void
test_sink_walks_under_src (void)
{
  GstElement *pipeline = pipeline_new ("videotestsrc is-live=true ! " SMALL " ! cuframessink channel=test");
  Catcher catcher;

  REQUIRE (catcher_open (&catcher, ""));
  walk (pipeline);
  CHECK (go_to (pipeline, GST_STATE_PLAYING));
  catcher_drop_all (&catcher);
  item_free (catcher_take_frame (&catcher));
  CHECK (pipeline_is_well (catcher.pipeline));
  pipeline_stop (pipeline);
  catcher_close (&catcher);
}

static void
test_src_walks_over_sink (void)
{
  GstElement *pipeline = pipeline_new ("cuframessrc channel=test ! fakesink async=false name=end signal-handoffs=true");
  Feeder feeder;
  guint64 number = 1;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < G_N_ELEMENTS (walks); i++)
    for (guint j = 0; j < G_N_ELEMENTS (walks[i]); j++) {
      CHECK (go_to (pipeline, walks[i][j]));
      CHECK (feeder_push (&feeder, number++, 1) == GST_FLOW_OK);
    }
  CHECK (pipeline_is_well (pipeline));
  pipeline_stop (pipeline);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 0));
  CHECK_EQUAL (stat_of (feeder.element, "slots-leased"), 0);
  feeder_close (&feeder);
}

static void
test_sink_first (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 3) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint64 i = 1; i <= 3; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_src_first (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (catcher_open (&catcher, "start=oldest"));
  CHECK_EQUAL (stat_of (catcher.element, "connected"), 0);
  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 3) == GST_FLOW_OK);
  for (guint64 i = 1; i <= 3; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  CHECK_EQUAL (stat_of (catcher.element, "connected"), 1);
  feeder_close (&feeder);
  catcher_close (&catcher);
}

static void
test_same_elements_again (void)
{
  Feeder feeder;
  Catcher catcher;
  guint64 number;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint round = 0; round < 4; round++) {
    const GstState low = round % 2 == 0 ? GST_STATE_READY : GST_STATE_NULL;
    REQUIRE (feeder_begin (&feeder, round % 2 == 0 ? SMALL : WIDE));
    CHECK (feeder_push (&feeder, round * 10 + 1, 2) == GST_FLOW_OK);
    /* After its own restart the src sees once more what is still there. */
    do
      number = catcher_take_number (&catcher);
    while (number < round * 10 + 1);
    CHECK_EQUAL (number, round * 10 + 1);
    CHECK_EQUAL (catcher_take_number (&catcher), round * 10 + 2);
    CHECK (go_to (round < 2 ? feeder.pipeline : catcher.pipeline, low));
    if (round < 2)
      feeder.begun = FALSE;
    CHECK (go_to (round < 2 ? feeder.pipeline : catcher.pipeline, GST_STATE_PLAYING));
    CHECK (round < 2 || WAIT_UNTIL (stat_of (catcher.element, "connected") == 1));
    catcher_drop_all (&catcher);
  }
  feeder_close (&feeder);
  catcher_close (&catcher);
}

/* A thread that pushes, for waits of the sink. */
static gpointer
push_in_thread (gpointer data)
{
  Feeder *feeder = data;

  return GINT_TO_POINTER (feeder_push (feeder, 1, 100));
}

static void
test_wait_for_subscribers_ends (void)
{
  static const GstState lows[] = { GST_STATE_READY, GST_STATE_NULL };

  for (guint i = 0; i < G_N_ELEMENTS (lows); i++) {
    Feeder feeder;
    GThread *thread;
    REQUIRE (feeder_open (&feeder, "wait-for-subscribers=1"));
    REQUIRE (feeder_begin (&feeder, SMALL));
    thread = g_thread_new ("feeder", push_in_thread, &feeder);
    CHECK (STAYS (stat_of (feeder.element, "frames") == 0, 50 * GST_MSECOND));
    CHECK (go_to (feeder.pipeline, GST_STATE_PAUSED));
    CHECK (go_to (feeder.pipeline, GST_STATE_PLAYING));
    CHECK (go_to (feeder.pipeline, lows[i]));
    CHECK_EQUAL (GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
    feeder_close (&feeder);
  }
}

static void
test_wait_for_subscribers_lets_through (void)
{
  Catcher catchers[2];
  Feeder feeder;
  GThread *thread;

  REQUIRE (feeder_open (&feeder, "wait-for-subscribers=2 slots=64"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  thread = g_thread_new ("feeder", push_in_thread, &feeder);
  REQUIRE (catcher_open (&catchers[0], ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (STAYS (stat_of (feeder.element, "frames") == 0, 50 * GST_MSECOND));
  REQUIRE (catcher_open (&catchers[1], ""));
  CHECK_EQUAL (GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "frames"), 100);
  for (guint i = 0; i < 2; i++)
    catcher_close (&catchers[i]);
  feeder_close (&feeder);
}

/* With a subscriber that takes nothing, overflow=wait waits. */
static void
test_overflow_wait_ends (void)
{
  static const GstState lows[] = { GST_STATE_READY, GST_STATE_NULL };

  for (guint i = 0; i < G_N_ELEMENTS (lows); i++) {
    Catcher catcher;
    Feeder feeder;
    GThread *thread;
    gint64 frames;
    REQUIRE (feeder_open (&feeder, "overflow=wait overflow-timeout=60000000000 slots=4"));
    REQUIRE (catcher_open (&catcher, "start=oldest"));
    catcher_block (&catcher, TRUE);
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
    CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (stat_of (catcher.element, "delivered") == 1));
    thread = g_thread_new ("feeder", push_in_thread, &feeder);
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "frames") >= 4));
    frames = stat_of (feeder.element, "frames");
    CHECK (STAYS (stat_of (feeder.element, "frames") <= frames + 4, 50 * GST_MSECOND));
    CHECK (go_to (feeder.pipeline, GST_STATE_PAUSED));
    CHECK (go_to (feeder.pipeline, GST_STATE_PLAYING));
    CHECK (go_to (feeder.pipeline, lows[i]));
    CHECK (GPOINTER_TO_INT (g_thread_join (thread)) == GST_FLOW_FLUSHING);
    catcher_close (&catcher);
    feeder_close (&feeder);
  }
}

static void
test_all_leases_out (void)
{
  static const GstState lows[] = { GST_STATE_READY, GST_STATE_NULL };

  for (guint i = 0; i < G_N_ELEMENTS (lows); i++) {
    Catcher catcher;
    Feeder feeder;
    REQUIRE (feeder_open (&feeder, ""));
    REQUIRE (catcher_open (&catcher, "io-mode=zero-copy max-leases=2 start=oldest"));
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, 1, 5) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (catcher.frames == 2));
    CHECK (STAYS (catcher.frames == 2, 30 * GST_MSECOND));
    CHECK (go_to (catcher.pipeline, GST_STATE_PAUSED));
    CHECK (go_to (catcher.pipeline, GST_STATE_PLAYING));
    CHECK_EQUAL (catcher_take_number (&catcher), 1);
    CHECK (WAIT_UNTIL (catcher.frames == 3));
    CHECK (go_to (catcher.pipeline, lows[i]));
    CHECK_EQUAL (catcher_take_number (&catcher), 2);
    catcher_close (&catcher);
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 0));
    feeder_close (&feeder);
  }
}

static void
test_paused_for_a_moment (void)
{
  Catcher catcher;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "io-mode=copy"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 300; i++) {
    CHECK (go_to (catcher.pipeline, GST_STATE_PAUSED));
    CHECK (go_to (catcher.pipeline, GST_STATE_PLAYING));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    REQUIRE (catcher_take_number (&catcher) == i);
  }
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_eos_without_publisher (void)
{
  Catcher catcher;

  for (guint i = 0; i < 3; i++) {
    REQUIRE (catcher_open (&catcher, ""));
    if (i > 0)
      CHECK (go_to (catcher.pipeline, GST_STATE_PAUSED));
    CHECK (gst_element_send_event (catcher.pipeline, gst_event_new_eos ()));
    CHECK (go_to (catcher.pipeline, GST_STATE_PLAYING));
    CHECK (WAIT_UNTIL (catcher.ended));
    if (i == 2) {
      CHECK (go_to (catcher.pipeline, GST_STATE_READY));
      catcher.ended = FALSE;
      CHECK (go_to (catcher.pipeline, GST_STATE_PLAYING));
      CHECK (STAYS (!catcher.ended, 20 * GST_MSECOND));
    }
    catcher_close (&catcher);
  }
}

static void
test_events_in_ready (void)
{
  GstElement *src = gst_element_factory_make ("cuframessrc", NULL);
  GstElement *sink = gst_element_factory_make ("cuframessink", NULL);

  g_object_set (src, "channel", "test", NULL);
  g_object_set (sink, "channel", "test", NULL);
  for (guint i = 0; i < 2; i++) {
    gst_element_set_state (src, i == 0 ? GST_STATE_NULL : GST_STATE_READY);
    gst_element_set_state (sink, i == 0 ? GST_STATE_NULL : GST_STATE_READY);
    gst_element_send_event (src, gst_event_new_flush_start ());
    gst_element_send_event (src, gst_event_new_flush_stop (TRUE));
    gst_element_send_event (src, gst_event_new_eos ());
    gst_element_send_event (src, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, 0));
    gst_element_send_event (sink, gst_event_new_latency (0));
    gst_element_send_event (sink, gst_event_new_seek (1.0, GST_FORMAT_TIME, GST_SEEK_FLAG_FLUSH, GST_SEEK_TYPE_SET, 0, GST_SEEK_TYPE_NONE, 0));
    stat_of (src, "connected");
    stat_of (sink, "frames");
  }
  gst_element_set_state (src, GST_STATE_NULL);
  gst_element_set_state (sink, GST_STATE_NULL);
  gst_object_unref (src);
  gst_object_unref (sink);
}

/* GStreamer hands allocation queries on in any state, and upstream may still run when the sink has stopped. */
static gpointer
ask_for_pools (gpointer data)
{
  Feeder *feeder = data;
  GstCaps *caps = gst_caps_from_string (SMALL);

  while (!g_atomic_int_get (&feeder->keyframes)) {
    GstQuery *query = gst_query_new_allocation (caps, TRUE);
    gst_pad_peer_query (feeder->pad, query);
    gst_query_unref (query);
    /* The sink wants the stream lock now and then as well. */
    fixture_yield ();
  }
  gst_caps_unref (caps);
  return NULL;
}

static void
test_queries_during_walks (void)
{
  Feeder feeder;
  GThread *thread;

  REQUIRE (feeder_open (&feeder, ""));
  thread = g_thread_new ("pools", ask_for_pools, &feeder);
  for (guint i = 0; i < (fixture_is_slow () ? 20 : 300); i++) {
    CHECK (go_to (feeder.pipeline, i % 2 == 0 ? GST_STATE_NULL : GST_STATE_READY));
    CHECK (go_to (feeder.pipeline, GST_STATE_PLAYING));
  }
  g_atomic_int_set (&feeder.keyframes, 1);
  g_thread_join (thread);
  feeder_close (&feeder);
}

static gpointer
look_at_stats (gpointer data)
{
  gpointer *elements = data;

  for (guint i = 0; g_atomic_pointer_get (&elements[2]) == NULL; i++) {
    stat_of (GST_ELEMENT (elements[0]), "frames");
    stat_of (GST_ELEMENT (elements[1]), "connected");
  }
  return NULL;
}

static void
test_stats_during_walks (void)
{
  gpointer elements[3] = { NULL };
  Catcher catcher;
  Feeder feeder;
  GThread *thread;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, ""));
  elements[0] = feeder.element;
  elements[1] = catcher.element;
  thread = g_thread_new ("stats", look_at_stats, elements);
  for (guint i = 0; i < 30; i++) {
    GstElement *pipeline = i % 2 == 0 ? feeder.pipeline : catcher.pipeline;
    CHECK (go_to (pipeline, GST_STATE_NULL));
    CHECK (go_to (pipeline, GST_STATE_PLAYING));
    feeder.begun = feeder.begun && i % 2 != 0;
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
    catcher_drop_all (&catcher);
  }
  g_atomic_pointer_set (&elements[2], &elements);
  g_thread_join (thread);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static const FixtureTest tests[] = {
  {"the sink goes up and down in every order without a subscriber", test_sink_alone},
  {"the sink goes up and down in every order without anything upstream", test_bare_sink},
  {"the src goes up and down in every order without a publisher", test_src_alone},
  {"the sink goes up and down in every order while a subscriber stays, which resumes", test_sink_walks_under_src},
  {"the src goes up and down in every order while frames are published", test_src_walks_over_sink},
  {"a src that starts after the sink gets its frames", test_sink_first},
  {"a src that starts before the sink gets its frames", test_src_first},
  {"the same elements work again after READY and NULL, with other caps too", test_same_elements_again},
  {"a sink that waits for its first subscribers can be paused and stopped at once", test_wait_for_subscribers_ends},
  {"wait-for-subscribers lets the first frame through when all are there", test_wait_for_subscribers_lets_through},
  {"a sink that waits for room can be paused and stopped at once", test_overflow_wait_ends},
  {"a src whose leases are all out can be paused and stopped at once", test_all_leases_out},
  {"a src that is paused for a moment goes on", test_paused_for_a_moment},
  {"a src that waits for a publisher ends at an EOS event from the application", test_eos_without_publisher},
  {"events and statistics do no harm in NULL and READY", test_events_in_ready},
  {"allocation queries can come while the sink goes up and down", test_queries_during_walks},
  {"statistics can be read while the elements go up and down", test_stats_during_walks},
};

ELEMENT_MAIN (tests, NULL, 0)
