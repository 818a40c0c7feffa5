/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes that die, stop or end, and what the other side makes of it. */
#include "element-fixture.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 5

/* EXECUTE ARGUMENTS... in place of this process. */
static int
play_execute (int argc, char **argv)
{
  execvp (argv[0], argv);
  return 127;
}

static gboolean
start_feeder (Child * child, const char *properties, const char *caps)
{
  child_start (child, NULL, "feeder", properties, NULL);
  if (!child_expect (child, "open"))
    return FALSE;
  child_say (child, "caps %s", caps);
  return child_expect (child, "caps 1");
}

/* When the push began; 0 if it failed. */
static guint64
push_frames (Child * child, guint64 first, guint count)
{
  guint64 time = 0;
  char line[256];
  int flow = -1;

  child_say (child, "push %" G_GUINT64_FORMAT " %u", first, count);
  if (!child_read (child, line, sizeof line) || sscanf (line, "pushed %d %" G_GUINT64_FORMAT, &flow, &time) != 2 || flow != GST_FLOW_OK)
    return 0;
  return time;
}

static void
test_publisher_killed (void)
{
  static const char *const caps[] = { SMALL, WIDE, "video/x-raw,format=RGB,width=641,height=481,framerate=5/1" };
  CatcherItem *held[ROUNDS + 1] = { NULL }, *item;
  guint64 worst = 0;
  Catcher catcher;
  Child child;

  REQUIRE (catcher_open (&catcher, "io-mode=zero-copy"));
  REQUIRE (start_feeder (&child, "", caps[0]));
  CHECK (push_frames (&child, 1, 1) > 0);
  held[0] = catcher_take_frame (&catcher);
  CHECK_EQUAL (item_number (held[0]), 1);
  for (guint round = 1; round <= ROUNDS; round++) {
    guint64 pushed;
    gboolean new_caps = FALSE;
    /* In the middle of a burst. */
    child_say (&child, "push %u 100000", round * 1000);
    CHECK (WAIT_UNTIL (catcher.frames > 0));
    catcher_drop_all (&catcher);
    item_free (catcher_take_frame (&catcher));
    child_kill (&child);
    CHECK (WAIT_UNTIL ((catcher_drop_all (&catcher), stat_of (catcher.element, "connected") == 0)));
    catcher_drop_all (&catcher);
    REQUIRE (start_feeder (&child, "", caps[round % G_N_ELEMENTS (caps)]));
    pushed = push_frames (&child, round * 1000 + 500, 1);
    while ((item = catcher_take (&catcher)) != NULL && !GST_IS_BUFFER (item->object)) {
      new_caps |= GST_EVENT_TYPE (item->object) == GST_EVENT_CAPS;
      item_free (item);
    }
    REQUIRE (item != NULL);
    CHECK (new_caps);
    CHECK_EQUAL (item_number (item), round * 1000 + 500);
    CHECK (GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_DISCONT));
    CHECK (pushed > 0);
    worst = MAX (worst, item->arrival_ns - pushed);
    held[round] = item;
    CHECK_EQUAL (stat_of (catcher.element, "connections"), round + 1);
  }
  printf ("     resumed %.1f ms after the first frame at worst\n", worst / 1e6);
  CHECK (fixture_is_slow () || worst < 100 * GST_MSECOND);
  CHECK_EQUAL (child_end (&child), 0);
  /* Whatever became of their publishers. */
  CHECK_EQUAL (item_number (held[0]), 1);
  for (guint round = 1; round <= ROUNDS; round++)
    CHECK_EQUAL (item_number (held[round]), round * 1000 + 500);
  for (guint round = 0; round <= ROUNDS; round++)
    item_free (held[round]);
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
}

static void
test_many_restarts (void)
{
  Catcher catcher;
  Feeder feeder;

  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint i = 0; i < 30; i++) {
    REQUIRE (feeder_open (&feeder, ""));
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
    feeder_close (&feeder);
  }
  CHECK_EQUAL (stat_of (catcher.element, "connections"), 30);
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
}

static void
test_no_reconnect (void)
{
  Catcher catcher;
  Child child;

  REQUIRE (start_feeder (&child, "", SMALL));
  REQUIRE (catcher_open (&catcher, "reconnect=false start=oldest"));
  CHECK (push_frames (&child, 1, 1) > 0);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  child_kill (&child);
  pipeline_stop_at_error (catcher.pipeline, "reconnect=true");
  catcher_close (&catcher);
  /* One that ends as it should is an end of stream. */
  REQUIRE (start_feeder (&child, "", SMALL));
  REQUIRE (catcher_open (&catcher, "reconnect=false start=oldest"));
  CHECK (push_frames (&child, 1, 1) > 0);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK_EQUAL (child_end (&child), 0);
  CHECK (WAIT_UNTIL (catcher.ended));
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
}

static void
test_subscribers_killed (void)
{
  guint fds = 0, mappings = 0;
  Feeder feeder;
  Child child;

  REQUIRE (feeder_open (&feeder, "slots=4"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  for (guint i = 0; i < 12; i++) {
    /* It holds all that it may: nobody takes the frames in this pipeline. */
    child_start (&child, NULL, "pipeline", "cuframessrc name=cuframes channel=test io-mode=zero-copy start=oldest ! queue ! "
        "fakesink sync=true ts-offset=60000000000", NULL);
    CHECK (child_expect (&child, "playing"));
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
    for (guint j = 0; j < 6; j++)
      CHECK (feeder_push (&feeder, i * 10 + j + 2, 1) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "slots-leased") >= 1));
    child_kill (&child);
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 0));
    CHECK_EQUAL (stat_of (feeder.element, "slots-leased"), 0);
    if (i == 2) {
      fds = fixture_count_fds ();
      mappings = fixture_count_mappings ("memfd:cuframes");
    }
  }
  CHECK (WAIT_UNTIL (fixture_count_fds () <= fds));
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes") <= mappings));
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

static void
test_subscriber_stopped (void)
{
  guint64 number = 1;
  Feeder feeder;
  Catcher catcher;
  Child child;

  REQUIRE (feeder_open (&feeder, "slots=8"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  REQUIRE (catcher_open (&catcher, "start=next"));
  child_start (&child, NULL, "catcher", "channel=test start=next", NULL);
  CHECK (child_expect (&child, "open"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 2));
  CHECK (feeder_push (&feeder, number, 1) == GST_FLOW_OK);
  CHECK (child_expect (&child, "frame 1 "));
  CHECK_EQUAL (catcher_take_number (&catcher), number);
  kill (child.pid, SIGSTOP);
  for (; number < 500; ) {
    CHECK (feeder_push (&feeder, ++number, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), number);
  }
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  kill (child.pid, SIGCONT);
  CHECK (child_expect (&child, "frame 500 "));
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  CHECK (child_expect (&child, "sound 1"));
  CHECK_EQUAL (child_end (&child), 0);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* The command line */

static void
test_gst_launch (void)
{
  Catcher catcher;
  Child child;
  int status;

  if (fixture_is_slow ()) {
    fixture_skip ("gst-launch-1.0 has no sanitizer");
    return;
  }
  child_start (&child, NULL, "execute", "gst-launch-1.0", "-e", "-q", "videotestsrc", "is-live=true", "!", SMALL, "!", "cuframessink",
      "channel=test", NULL);
  REQUIRE (catcher_open (&catcher, ""));
  item_free (catcher_take_frame (&catcher));
  item_free (catcher_take_frame (&catcher));
  kill (child.pid, SIGINT);
  CHECK (WAIT_UNTIL (catcher.ended));
  status = child_end (&child);
  CHECK (WIFEXITED (status) && WEXITSTATUS (status) == 0);
  CHECK (access (fixture_path ("test.sock"), F_OK) != 0);
  catcher_close (&catcher);
}

static void
test_gst_launch_waiting (void)
{
  char line[256];
  Child child;
  int status;

  if (fixture_is_slow ()) {
    fixture_skip ("gst-launch-1.0 has no sanitizer");
    return;
  }
  child_start (&child, NULL, "execute", "gst-launch-1.0", "-e", "cuframessrc", "channel=nobody", "!", "fakesink", NULL);
  while (child_read (&child, line, sizeof line) && strstr (line, "New clock") == NULL);
  kill (child.pid, SIGINT);
  status = child_end (&child);
  CHECK (WIFEXITED (status) && WEXITSTATUS (status) == 0);
}

static const FixtureTest tests[] = {
  {"a killed publisher that comes back with other caps is found again, and old frames stay as they are", test_publisher_killed},
  {"a publisher that is restarted at once is found every time", test_many_restarts},
  {"with reconnect=false the publisher's death is an error and its end an end of stream", test_no_reconnect},
  {"killed subscribers leave nothing behind", test_subscribers_killed},
  {"a stopped subscriber costs nobody else anything and goes on with newer frames", test_subscriber_stopped},
  {"gst-launch-1.0 -e ends the stream for subscribers too", test_gst_launch},
  {"gst-launch-1.0 -e ends while it waits for a publisher", test_gst_launch_waiting},
};

static const FixtureRole roles[] = {
  {"execute", play_execute},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
