/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The main job: one publishes, others receive, in this process and in others; they come, go, stop and die. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "core-fixture.h"

#define RUNNERS 8
#define SLOW_RUNNERS 2

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

static void
one_frame_arrives (void)
{
  Source source;
  CuframesSubscriber *subscriber;
  CuframesItem item;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (source_start_ring (&source, 4, 1, "a format") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK (item.byte_count == 8 && memcmp (item.bytes, "a format", 8) == 0);
  CHECK (item.arena_info->kind == CUFRAMES_MEMORY_HOST);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  REQUIRE (item.frame != NULL && frame_is_whole (item.frame));
  CHECK_EQUAL (item.info->sequence, 1);
  CHECK_EQUAL (get_stats (&source).slots_leased, 1);
  cuframes_frame_unref (item.frame);
  CHECK_EQUAL (get_stats (&source).slots_leased, 0);
  CHECK_EQUAL (cuframes_subscriber_next (subscriber, 1000000, &item), CUFRAMES_E_TIMEOUT);
  source_close (&source);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_SHUTDOWN);
  cuframes_subscriber_free (subscriber);
}

static void
frames_survive_the_publisher (void)
{
  Source source;
  CuframesSubscriber *subscriber;
  CuframesFrame *frames[2];
  CuframesItem item;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (source_start_ring (&source, 6, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK_EQUAL (source_publish_many (&source, 3), 3);
  source_close (&source);
  /* what was published before the end still comes */
  for (int i = 0; i < 2; i++) {
    REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
    frames[i] = item.frame;
  }
  REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  cuframes_frame_unref (item.frame);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK (frame_is_whole (frames[0]));
  cuframes_frame_unref (frames[0]);
  cuframes_subscriber_free (subscriber);
  CHECK (frame_is_whole (frames[1]));
  cuframes_frame_unref (frames[1]);
}

static void
an_event_loop_of_its_own_is_quiet_between_frames (void)
{
  struct pollfd polled = {.events = POLLIN };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;
  int r;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  for (int step = 0; step < 6; step++) {
    if (step == 1)
      CHECK_EQUAL (source_start_ring (&source, 4, 1, "f"), 0);
    if (step == 2 || step == 3)
      CHECK_EQUAL (source_publish (&source), 0);
    if (step == 4)
      CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
    if (step == 5)
      source_close (&source);
    polled.fd = cuframes_subscriber_peek_fd (subscriber);
    /* armed before this step: what it did must show on the descriptor */
    if (step > 0)
      CHECK_EQUAL (poll (&polled, 1, (int) (FIXTURE_BOUND_NS / 1000000u)), 1);
    do {
      while ((r = cuframes_subscriber_try_next (subscriber, &item)) == 0)
        cuframes_frame_unref (item.frame);
    } while (cuframes_subscriber_arm (subscriber) == 0);
    CHECK_EQUAL (r, step == 5 ? CUFRAMES_E_ABSENT : CUFRAMES_E_EMPTY);
    polled.fd = cuframes_subscriber_peek_fd (subscriber);
    if (step < 5)
      CHECK_EQUAL (poll (&polled, 1, 0), 0);
  }
  CHECK_EQUAL (polled.fd, -1);
  cuframes_subscriber_free (subscriber);
}

static void
a_dead_publisher_ends_an_event_loop_too (void)
{
  struct pollfd polled = {.events = POLLIN };
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  Child publisher;
  int r, rounds = 0;

  child_start (&publisher, NULL, "publisher", NULL);
  REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "ring 4") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  while (item.kind != CUFRAMES_ITEM_FORMAT)
    REQUIRE (sink_next (subscriber, &item) == 0);
  CHECK_EQUAL (cuframes_subscriber_arm (subscriber), CUFRAMES_E_EMPTY);
  child_kill (&publisher);
  do {
    polled.fd = cuframes_subscriber_peek_fd (subscriber);
    CHECK_EQUAL (poll (&polled, 1, (int) (FIXTURE_BOUND_NS / 1000000u)), 1);
    r = cuframes_subscriber_try_next (subscriber, &item);
    if (r != 0)
      cuframes_subscriber_arm (subscriber);
  } while (r != 0 && rounds++ < 10);
  CHECK_EQUAL (item.kind, CUFRAMES_ITEM_DISCONNECTED);
  CHECK_EQUAL (item.bye, 0);
  cuframes_subscriber_free (subscriber);
}

static void
start_runners (Child *runners, unsigned count, unsigned slow)
{
  char line[64];

  for (unsigned i = 0; i < count; i++)
    child_start (&runners[i], NULL, "runner", "cam", i < slow ? "slow" : "lossless", NULL);
  for (unsigned i = 0; i < count; i++)
    CHECK (child_read (&runners[i], line, sizeof line));        /* has the format */
}

/* What a runner saw of count frames. */
static void
check_runner (Child *runner, uint64_t count, bool slow)
{
  unsigned long long frames = 0, torn = 0, wrong = 0, missed = 0;
  int fds = 0, mappings = 0, kib = 0, status;
  char line[256];

  REQUIRE (child_read (runner, line, sizeof line));
  CHECK (sscanf (line, "%llu %llu %llu %llu %d %d %d", &frames, &torn, &wrong, &missed, &fds, &mappings, &kib) == 7);
  status = child_wait (runner);
  CHECK (WIFEXITED (status) && WEXITSTATUS (status) == 0);
  CHECK_EQUAL (torn, 0);
  CHECK_EQUAL (wrong, 0);
  CHECK_EQUAL (fds, 0);
  CHECK_EQUAL (mappings, 0);
  CHECK (fixture_is_slow () || kib < 256);
  if (slow)
    CHECK (frames > 0 && frames + missed <= count);
  else {
    CHECK_EQUAL (missed, 0);
    CHECK_EQUAL (frames, count);
  }
}

static void
eight_processes_take_twenty_thousand_frames (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_WAIT,.overflow_timeout_ns = FIXTURE_BOUND_NS };
  const uint64_t count = fixture_is_slow () ? 2000 : 20000;
  Child runners[RUNNERS];
  Source source;
  unsigned fds, mappings;
  uint64_t resident;

  REQUIRE (source_open (&source, "cam", &config) == 0);
  REQUIRE (source_start_ring (&source, 16, 1, "f") == 0);
  start_runners (runners, RUNNERS, SLOW_RUNNERS);
  CHECK_EQUAL (source_publish_many (&source, 1000), 1000);
  fds = fixture_count_fds ();
  mappings = fixture_count_mappings (NULL);
  resident = fixture_resident_bytes ();
  CHECK_EQUAL (source_publish_many (&source, count - 1000), count - 1000);
  CHECK_EQUAL (fixture_count_fds (), fds);
  CHECK (fixture_is_slow () || fixture_count_mappings (NULL) == mappings);
  CHECK (fixture_is_slow () || fixture_resident_bytes () < resident + 256 * 1024);
  CHECK_EQUAL (get_stats (&source).frames, count);
  CHECK_EQUAL (get_stats (&source).dropped, 0);
  source_close (&source);
  for (unsigned i = 0; i < RUNNERS; i++)
    check_runner (&runners[i], count, i < SLOW_RUNNERS);
}

/* Without "wait" the publisher never waits; whoever is overrun counts what it missed. */
static void
a_publisher_at_full_speed_tears_nothing (void)
{
  const uint64_t count = fixture_is_slow () ? 5000 : 100000;
  Child runners[RUNNERS];
  Source source;
  char line[256];

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (source_start_ring (&source, 16, 1, "f") == 0);
  for (unsigned i = 0; i < RUNNERS; i++)
    child_start (&runners[i], NULL, "runner", "cam", i % 2 == 0 ? "newest" : "fifo", NULL);
  for (unsigned i = 0; i < RUNNERS; i++)
    CHECK (child_read (&runners[i], line, sizeof line));
  source_publish_many (&source, count);
  CHECK_EQUAL (get_stats (&source).dropped, 0);
  source_close (&source);
  for (unsigned i = 0; i < RUNNERS; i++)
    check_runner (&runners[i], count, true);
}

static void
a_stopped_process_stops_nobody_else (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_WAIT,.overflow_timeout_ns = FIXTURE_BOUND_NS };
  const uint64_t count = fixture_is_slow () ? 1000 : 6000;
  Child runners[3], stopped;
  CuframesPublisherStats stats;
  uint64_t before, during;
  Source source;
  long number;

  REQUIRE (source_open (&source, "cam", &config) == 0);
  REQUIRE (source_start_ring (&source, 16, 1, "f") == 0);
  start_runners (runners, 3, 0);
  child_start (&stopped, NULL, "subscriber", NULL);
  REQUIRE (child_ask (&stopped, "connect cam") == 0);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_EQUAL (child_ask (&stopped, "hold 2"), 2);
  before = fixture_now_ns ();
  CHECK_EQUAL (source_publish_many (&source, count / 2), count / 2);
  before = fixture_now_ns () - before;
  kill (stopped.pid, SIGSTOP);
  during = fixture_now_ns ();
  CHECK_EQUAL (source_publish_many (&source, count / 2), count / 2);
  during = fixture_now_ns () - during;
  printf ("     %llu us a frame before, %llu us while one is stopped\n", (unsigned long long) (before * 2 / count / 1000),
      (unsigned long long) (during * 2 / count / 1000));
  CHECK (fixture_is_slow () || during < 3 * before + 1000000000);
  stats = get_stats (&source);
  CHECK_EQUAL (stats.dropped, 0);
  CHECK_EQUAL (stats.slots_leased >= 2, 1);
  kill (stopped.pid, SIGCONT);
  CHECK_EQUAL (child_ask (&stopped, "check"), 2);
  CHECK_EQUAL (child_ask (&stopped, "release"), 2);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (child_ask (&stopped, "take 1"), 1);
  number = child_ask (&stopped, "newest");
  CHECK ((uint64_t) number > count - 16);
  CHECK_EQUAL (child_end (&stopped), 0);
  source_close (&source);
  for (unsigned i = 0; i < 3; i++)
    check_runner (&runners[i], count + 3, false);
}

static void
a_killed_process_gives_its_leases_back_within_10_ms (void)
{
  uint64_t best = UINT64_MAX, worst = 0;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (source_start_ring (&source, 8, 1, "f") == 0);
  for (int round = 0; round < 10; round++) {
    uint64_t start, passed;
    Child child;
    child_start (&child, NULL, "subscriber", NULL);
    REQUIRE (child_ask (&child, "connect cam next") == 0);
    CHECK_EQUAL (source_publish_many (&source, 4), 4);
    CHECK_EQUAL (child_ask (&child, "hold 4"), 4);
    CHECK_EQUAL (get_stats (&source).slots_leased, 4);
    start = fixture_now_ns ();
    kill (child.pid, SIGKILL);
    while (get_stats (&source).slots_leased > 0 && fixture_now_ns () - start < FIXTURE_BOUND_NS)
      continue;
    passed = fixture_now_ns () - start;
    if (passed > worst)
      worst = passed;
    if (passed < best)
      best = passed;
    child_wait (&child);
  }
  printf ("     at best %llu us, at worst %llu us\n", (unsigned long long) (best / 1000), (unsigned long long) (worst / 1000));
  /* The worst says how busy the machine is. */
  CHECK (fixture_is_slow () || best < 10000000);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  source_close (&source);
}

static void
come_and_go (Source *source, int round)
{
  CuframesSubscriber *subscriber = sink_open ("cam", NULL);
  CuframesItem item = { 0 };

  REQUIRE (subscriber != NULL);
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (subscriber, &item) == 0);
  if (round % 2 == 0)
    cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  if (round % 2 == 1)
    cuframes_frame_unref (item.frame);
  CHECK_EQUAL (source_publish (source), 0);
}

static void
come_and_die (Source *source)
{
  Child child;

  child_start (&child, NULL, "subscriber", NULL);
  REQUIRE (child_ask (&child, "connect cam") == 0);
  CHECK_EQUAL (child_ask (&child, "hold 1"), 1);
  CHECK_EQUAL (source_publish (source), 0);
  child_kill (&child);
}

static void
two_hundred_come_and_go (void)
{
  unsigned fds, mappings;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (source_start_ring (&source, 8, 1, "f") == 0);
  CHECK_EQUAL (source_publish (&source), 0);
  come_and_go (&source, 0);
  come_and_die (&source);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  fds = fixture_count_fds ();
  mappings = fixture_count_mappings (NULL);
  for (int i = 0; i < 100; i++) {
    come_and_go (&source, i);
    come_and_die (&source);
  }
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  CHECK_EQUAL (get_stats (&source).slots_leased, 0);
  CHECK_EQUAL (fixture_count_fds (), fds);
  CHECK (fixture_is_slow () || fixture_count_mappings (NULL) == mappings);
  source_close (&source);
}

static void
a_subscriber_waits_for_its_publisher (void)
{
  CuframesSubscriberConfig config = {.socket_path = fixture_socket ("cam") };
  CuframesSubscriber *subscriber;
  Source source;
  Child child;

  child_start (&child, NULL, "subscriber", NULL);
  child_say (&child, "connect cam");
  REQUIRE (cuframes_subscriber_new (&config, &subscriber) == 0);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, 0), CUFRAMES_E_TIMEOUT);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, 20000000), CUFRAMES_E_TIMEOUT);
  cuframes_subscriber_cancel (subscriber, true);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, CUFRAMES_NONE), CUFRAMES_E_CANCELLED);
  cuframes_subscriber_cancel (subscriber, false);
  REQUIRE (source_open (&source, "cam", NULL) == 0);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, FIXTURE_BOUND_NS), 0);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, FIXTURE_BOUND_NS), CUFRAMES_E_HELD);
  CHECK_EQUAL (source_start_ring (&source, 4, 1, "f"), 0);
  CHECK_EQUAL (cuframes_publisher_wait_subscribers (source.publisher, 2, FIXTURE_BOUND_NS), 0);
  CHECK_EQUAL (child_answer (&child), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (child_ask (&child, "take 1"), 1);
  CHECK_EQUAL (child_ask (&child, "newest"), 1);
  cuframes_subscriber_free (subscriber);
  child_end (&child);
  source_close (&source);
}

static void
the_directory_may_come_later_than_the_subscriber (void)
{
  const char *deep = fixture_path ("deep");
  char name[CUFRAMES_SOCKET_PATH_BYTES];
  CuframesPublisherConfig config = {.socket_path = name };
  CuframesPublisher *publisher;
  Child child;

  snprintf (name, sizeof name, "%s/cam.sock", deep);
  child_start (&child, NULL, "subscriber", NULL);
  child_say (&child, "connect %s", name);
  REQUIRE (cuframes_publisher_new (&config, &publisher) == 0);
  CHECK_EQUAL (cuframes_publisher_wait_subscribers (publisher, 1, FIXTURE_BOUND_NS), 0);
  CHECK_EQUAL (child_answer (&child), 0);
  CHECK_EQUAL (child_end (&child), 0);
  cuframes_publisher_free (publisher);
}

static const FixtureTest tests[] = {
  {"a frame that is published arrives as it is", one_frame_arrives},
  {"frames that are held survive the publisher and the subscriber", frames_survive_the_publisher},
  {"an event loop of the application's own is woken once and quiet in between", an_event_loop_of_its_own_is_quiet_between_frames},
  {"a publisher that dies ends an event loop's wait", a_dead_publisher_ends_an_event_loop_too},
  {"a subscriber waits for its publisher, and can be cancelled", a_subscriber_waits_for_its_publisher},
  {"the channel's directory may come later than the subscriber", the_directory_may_come_later_than_the_subscriber},
  {"eight processes take twenty thousand frames, and the fast ones miss none", eight_processes_take_twenty_thousand_frames},
  {"a publisher at full speed tears no frame of eight processes and drops none", a_publisher_at_full_speed_tears_nothing},
  {"a process that is stopped stops nobody else", a_stopped_process_stops_nobody_else},
  {"a process that is killed gives its leases back within 10 ms", a_killed_process_gives_its_leases_back_within_10_ms},
  {"two hundred come and go or are killed, and nothing of them stays", two_hundred_come_and_go},
};

FIXTURE_MAIN (tests, NULL, 0)
