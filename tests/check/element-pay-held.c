/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffers of cuframespay that somebody holds: for how long they stay as they are, and what becomes of those that come after. */
#include "pay-fixture.h"

static void
test_held_buffers (void)
{
  CatcherItem *held[3];
  Feeder feeder;
  Catcher catcher;

  open_both ("max-held=5", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK_EQUAL (feeder_push (&feeder, 1, 3), GST_FLOW_OK);
  for (guint i = 0; i < 3; i++)
    held[i] = catcher_take_frame (&catcher);
  for (guint i = 0; i < 40; i++) {
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "held") < 5));
    CHECK_EQUAL (feeder_push (&feeder, 100 + i, 1), GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), 100 + i);
  }
  for (guint i = 0; i < 3; i++) {
    CHECK_EQUAL (item_number (held[i]), i + 1);
    item_free (held[i]);
  }
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  CHECK (feeder_event (&feeder, gst_event_new_gap (0, 1)));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "held") == 0));
  close_both (&feeder, &catcher);
}

/* The test holds all that it was sent: the next ones are dropped, seen as missing, and the stream goes on when there is room. */
static void
test_receiver_holds_all (void)
{
  CatcherItem *held[4];
  CatcherItem *next;
  Feeder feeder;
  Catcher catcher;

  open_both ("max-held=4", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK_EQUAL (feeder_push (&feeder, 1, 4), GST_FLOW_OK);
  for (guint i = 0; i < 4; i++)
    held[i] = catcher_take_frame (&catcher);
  CHECK_EQUAL (feeder_push (&feeder, 5, 20), GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 20);
  CHECK_EQUAL (stat_of (feeder.element, "held"), 4);
  for (guint i = 0; i < 4; i++) {
    CHECK_EQUAL (item_number (held[i]), i + 1);
    item_free (held[i]);
  }
  CHECK (feeder_event (&feeder, gst_event_new_gap (0, 1)));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "held") == 0));
  CHECK_EQUAL (feeder_push (&feeder, 25, 1), GST_FLOW_OK);
  next = catcher_take_frame (&catcher);
  REQUIRE (next != NULL);
  CHECK_EQUAL (item_number (next), 25);
  CHECK (GST_BUFFER_FLAG_IS_SET (next->object, GST_BUFFER_FLAG_DISCONT));
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 20);
  item_free (next);
  close_both (&feeder, &catcher);
}

/* A buffer outlives the connection, both elements and their restart, and counts until it is gone. */
static void
test_held_over_a_restart (void)
{
  int ends[2];
  CatcherItem *held;
  Feeder feeder;
  Catcher catcher;

  open_both ("max-held=2", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK_EQUAL (feeder_push (&feeder, 1, 1), GST_FLOW_OK);
  held = catcher_take_frame (&catcher);
  REQUIRE (held != NULL);
  gst_element_set_state (feeder.pipeline, GST_STATE_NULL);
  catcher_close (&catcher);
  CHECK_EQUAL (stat_of (feeder.element, "held"), 1);
  CHECK (pipeline_play (feeder.pipeline));
  make_pair (SOCK_STREAM, ends);
  add_receiver (feeder.pipeline, ends[0]);
  CHECK (depayer_open (&catcher, "", ends[1]));
  feeder.begun = FALSE;
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK_EQUAL (feeder_push (&feeder, 2, 1), GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);
  CHECK_EQUAL (stat_of (feeder.element, "held"), 2);
  CHECK_EQUAL (item_number (held), 1);
  close_both (&feeder, &catcher);
  CHECK_EQUAL (item_number (held), 1);
  item_free (held);
}

static void
stop (GstElement * pipeline, gpointer user_data)
{
  gst_element_set_state (pipeline, GST_STATE_READY);
}

static void
test_wait_ends_with_a_stop (void)
{
  CatcherItem *held[2];
  Feeder feeder;
  Catcher catcher;

  open_both ("max-held=2 " FOR_EVER, &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK_EQUAL (feeder_push (&feeder, 1, 2), GST_FLOW_OK);
  held[0] = catcher_take_frame (&catcher);
  held[1] = catcher_take_frame (&catcher);
  /* Stops by itself once it waits. */
  gst_element_call_async (feeder.pipeline, stop, NULL, NULL);
  CHECK_EQUAL (feeder_push (&feeder, 3, 1), GST_FLOW_FLUSHING);
  CHECK (WAIT_UNTIL (GST_STATE (feeder.pipeline) == GST_STATE_READY));
  item_free (held[0]);
  item_free (held[1]);
  close_both (&feeder, &catcher);
}

static const FixtureTest tests[] = {
  {"held buffers stay as they are while others pass", test_held_buffers},
  {"when all are held the next are dropped, and receivers see that", test_receiver_holds_all},
  {"a held buffer outlives connection and restart, and counts", test_held_over_a_restart},
  {"a wait for room ends with a stop", test_wait_ends_with_a_stop},
};

ELEMENT_MAIN (tests, NULL, 0)
