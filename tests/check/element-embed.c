/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sink inside an application that negotiates and uses its pool by itself, and does with buffers what applications do. */
#include "element-fixture.h"

static gboolean
configure (Feeder * feeder, guint min, guint max)
{
  GstStructure *config;

  gst_buffer_pool_set_active (feeder->pool, FALSE);
  config = gst_buffer_pool_get_config (feeder->pool);
  gst_buffer_pool_config_set_params (config, feeder->caps, GST_VIDEO_INFO_SIZE (&feeder->info), min, max);
  return gst_buffer_pool_set_config (feeder->pool, config) && gst_buffer_pool_set_active (feeder->pool, TRUE);
}

static void
test_pool_stopped_with_buffers_out (void)
{
  GstBuffer *buffers[3];
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  REQUIRE (configure (&feeder, 4, 0));
  for (guint i = 0; i < 3; i++)
    buffers[i] = feeder_frame (&feeder, i);
  CHECK (gst_pad_push (feeder.pad, buffers[0]) == GST_FLOW_OK);
  gst_buffer_pool_set_active (feeder.pool, FALSE);
  gst_clear_object (&feeder.pool);
  CHECK (gst_pad_push (feeder.pad, buffers[1]) == GST_FLOW_OK);
  for (guint i = 0; i < 2; i++)
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  feeder_close (&feeder);
  /* The last outlives its pool, its sink and its pipeline. */
  CHECK (gst_buffer_memset (buffers[2], 0, 1, 100) == 100);
  gst_buffer_unref (buffers[2]);
  catcher_close (&catcher);
}

static void
test_unpublished_give_back (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "slots=2"));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 1000; i++)
    gst_buffer_unref (feeder_frame (&feeder, i));
  for (guint i = 0; i < 10; i++) {
    gst_buffer_unref (feeder_frame (&feeder, 5000));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  }
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_more_buffers_than_slots (void)
{
  GstBuffer *buffers[20];
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "slots=4"));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  REQUIRE (configure (&feeder, 20, 0));
  for (guint round = 0; round < 3; round++) {
    for (guint i = 0; i < 20; i++)
      buffers[i] = feeder_frame (&feeder, round * 20 + i);
    for (guint i = 0; i < 20; i++) {
      CHECK (gst_pad_push (feeder.pad, buffers[i]) == GST_FLOW_OK);
      CHECK_EQUAL (catcher_take_number (&catcher), round * 20 + i);
    }
  }
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "slots"), 24);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static gpointer
acquire_in_thread (gpointer data)
{
  GstBuffer *buffer = NULL;
  const GstFlowReturn flow = gst_buffer_pool_acquire_buffer (data, &buffer, NULL);

  gst_clear_buffer (&buffer);
  return GINT_TO_POINTER (flow);
}

static void
test_acquire (void)
{
  GstBufferPoolAcquireParams params = {.flags = GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT };
  GstBuffer *buffers[8], *another = NULL;
  guint count = 0;
  GThread *thread;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, "slots=2"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  while (count < 8 && gst_buffer_pool_acquire_buffer (feeder.pool, &buffers[count], &params) == GST_FLOW_OK)
    count++;
  CHECK (count >= 2 && count < 8);
  CHECK (gst_buffer_pool_acquire_buffer (feeder.pool, &another, &params) == GST_FLOW_EOS);
  /* A wait ends with a buffer that comes back, with flushing, and with the pool. */
  thread = g_thread_new ("acquire", acquire_in_thread, feeder.pool);
  gst_buffer_unref (buffers[--count]);
  CHECK_EQUAL (GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_OK);
  CHECK (gst_buffer_pool_acquire_buffer (feeder.pool, &buffers[count], &params) == GST_FLOW_OK);
  count++;
  thread = g_thread_new ("acquire", acquire_in_thread, feeder.pool);
  gst_buffer_pool_set_flushing (feeder.pool, TRUE);
  CHECK_EQUAL (GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
  gst_buffer_pool_set_flushing (feeder.pool, FALSE);
  thread = g_thread_new ("acquire", acquire_in_thread, feeder.pool);
  gst_buffer_pool_set_active (feeder.pool, FALSE);
  CHECK_EQUAL (GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
  while (count > 0)
    gst_buffer_unref (buffers[--count]);
  CHECK (gst_buffer_pool_set_active (feeder.pool, TRUE));
  CHECK (feeder_push (&feeder, 1, 3) == GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  feeder_close (&feeder);
}

static void
test_pool_before_playing (void)
{
  Feeder feeder;
  GstBuffer *buffer;

  REQUIRE (feeder_open (&feeder, ""));
  gst_element_set_state (feeder.pipeline, GST_STATE_PAUSED);
  REQUIRE (feeder_begin (&feeder, SMALL));
  buffer = feeder_frame (&feeder, 1);
  /* The pool outlives a stop of the sink, and its buffers are copied then. */
  gst_element_set_state (feeder.pipeline, GST_STATE_NULL);
  REQUIRE (pipeline_play (feeder.pipeline));
  feeder.begun = FALSE;
  REQUIRE (feeder_send_caps (&feeder, SMALL));
  CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
  CHECK (feeder_push (&feeder, 2, 3) == GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "frames"), 4);
  feeder_close (&feeder);
}

static void
test_old_pool (void)
{
  GstBufferPool *old;
  GstBuffer *left[3];
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  REQUIRE (configure (&feeder, 4, 0));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  for (guint i = 0; i < 3; i++)
    left[i] = feeder_frame (&feeder, 10 + i);
  old = g_steal_pointer (&feeder.pool);
  REQUIRE (feeder_negotiate (&feeder));
  CHECK (feeder_push (&feeder, 2, 1) == GST_FLOW_OK);
  CHECK (gst_pad_push (feeder.pad, left[0]) == GST_FLOW_OK);
  CHECK (feeder_push (&feeder, 12, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  CHECK_EQUAL (catcher_take_number (&catcher), 10);
  CHECK_EQUAL (catcher_take_number (&catcher), 12);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 1);
  /* After a change of caps they are another picture. */
  REQUIRE (feeder_begin (&feeder, "video/x-raw,format=I420,width=80,height=60,framerate=30/1"));
  CHECK (gst_pad_push (feeder.pad, feeder_own_frame (&feeder, 20)) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 20);
  gst_buffer_unref (left[1]);
  gst_buffer_unref (left[2]);
  gst_buffer_pool_set_active (old, FALSE);
  gst_object_unref (old);
  CHECK (pipeline_is_well (feeder.pipeline));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* A flush makes the sink lose its state and get it back with the next frame, by a thread of the pipeline's. Another flush before that thread is
 * done can leave the pipeline in PAUSED, whatever its sink is. */
static void
flush (Feeder * feeder)
{
  GstSegment segment;

  CHECK (gst_element_get_state (feeder->pipeline, NULL, NULL, FIXTURE_BOUND_NS) == GST_STATE_CHANGE_SUCCESS);
  CHECK (feeder_event (feeder, gst_event_new_flush_start ()));
  CHECK (feeder_event (feeder, gst_event_new_flush_stop (TRUE)));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  CHECK (feeder_event (feeder, gst_event_new_segment (&segment)));
}

static void
test_flush (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "slots=4"));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 20; i++) {
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
    flush (&feeder);
  }
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK (pipeline_is_well (feeder.pipeline));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static gpointer
push_in_thread (gpointer data)
{
  return GINT_TO_POINTER (feeder_push (data, 100, 50));
}

static void
test_flush_while_waiting (void)
{
  Feeder feeder;
  Catcher catcher;
  GThread *thread;
  guint64 number;

  REQUIRE (feeder_open (&feeder, "slots=4 overflow=wait overflow-timeout=60000000000"));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  catcher_block (&catcher, TRUE);
  thread = g_thread_new ("feeder", push_in_thread, &feeder);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "frames") >= 4));
  CHECK (feeder_event (&feeder, gst_event_new_flush_start ()));
  CHECK_EQUAL (GPOINTER_TO_INT (g_thread_join (thread)), GST_FLOW_FLUSHING);
  CHECK (feeder_event (&feeder, gst_event_new_flush_stop (TRUE)));
  GstSegment segment;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  catcher_block (&catcher, FALSE);
  CHECK (feeder_push (&feeder, 200, 20) == GST_FLOW_OK);
  do
    number = catcher_take_number (&catcher);
  while (number < 219);
  CHECK_EQUAL (number, 219);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK (catcher_is_sound (&catcher));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* One channel's frames on another. */
static void
test_relay (void)
{
  GstElement *relay = pipeline_new ("cuframessrc channel=test start=oldest ! queue ! cuframessink name=cuframes channel=other sync=false");
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (pipeline_play (relay));
  REQUIRE (catcher_open (&catcher, "channel=other start=oldest"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (WAIT_UNTIL (pipeline_stat (relay, "num-subscribers") == 1));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 50; i++) {
    GstBuffer *buffer = feeder_frame (&feeder, i);
    CatcherItem *item;
    GstVideoCropMeta *crop = gst_buffer_add_video_crop_meta (buffer);
    crop->x = i;
    CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    CHECK_EQUAL (item_number (item), i);
    crop = item == NULL ? NULL : gst_buffer_get_video_crop_meta (GST_BUFFER (item->object));
    CHECK (crop != NULL && crop->x == i);
    item_free (item);
  }
  CHECK_EQUAL (pipeline_stat (relay, "copies"), 50);
  CHECK (pipeline_is_well (relay));
  pipeline_stop (relay);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* Many pipelines, as a server opens and closes them. */
static void
test_many_pipelines (void)
{
  Feeder feeder;
  guint fds = 0;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 100; i++) {
    Catcher catcher;
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    REQUIRE (catcher_open (&catcher, i % 2 == 0 ? "start=oldest" : "start=latest io-mode=copy"));
    item_free (catcher_take_frame (&catcher));
    catcher_close (&catcher);
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 0));
    if (i == 10)
      fds = fixture_count_fds ();
  }
  CHECK (WAIT_UNTIL (fixture_count_fds () <= fds));
  feeder_close (&feeder);
}

static const FixtureTest tests[] = {
  {"a pool can be stopped while its buffers are out, and they outlive everything", test_pool_stopped_with_buffers_out},
  {"buffers that are dropped unpublished give their slot back", test_unpublished_give_back},
  {"a pool that is asked for more buffers than there are slots has them", test_more_buffers_than_slots},
  {"a wait for a buffer ends when one comes back, with flushing, and with the pool", test_acquire},
  {"buffers of a pool from before a restart are published all the same", test_pool_before_playing},
  {"buffers of a former pool are copied, and the new one goes on without copies", test_old_pool},
  {"flushing seeks keep the ring and lose nothing that was published", test_flush},
  {"a flush ends a wait for room, and the stream goes on", test_flush_while_waiting},
  {"frames of one channel can be published on another with their metas", test_relay},
  {"a hundred subscribers come and go and leave nothing behind", test_many_pipelines},
};

ELEMENT_MAIN (tests, NULL, 0)
