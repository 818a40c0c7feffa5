/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes that are stopped (SIGSTOP) at every step of the protocol, each for as long as it takes: a client that speaks it by hand and stops itself
 * between any two messages, and a publisher that is stopped anywhere in its work. The publisher keeps its pace and its memory, the other subscribers notice
 * nothing, and who goes on afterwards goes on as if nothing had been. What a subscriber of the library does when it is stopped at its own test
 * points is in core-crash.c. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"
#include "cuframes-layout.h"
#include "cuframes-wire.h"

#define SLOTS 16u
#define FRAMES 400u
#define RINGS 4u
#define EVENTS 40u

typedef enum
{
  STEP_CONNECTED,
  STEP_HELLO_SENT,
  STEP_RING_READ,
  STEP_READY_SENT,
  STEP_ASKED_TO_BE_WOKEN,
  STEP_HOLDS_FRAMES,
  STEP_ASKED_FOR_STATISTICS,
  STEP_ASKED_FOR_KEY_FRAME,
  STEP_BYE_SENT,
  STEPS,
} Step;

static const char *const step_names[] = { "connected", "hello sent", "ring read", "ready sent", "asked to be woken", "holds frames", "asked for statistics",
  "asked for a key frame", "bye sent" };

static bool
is_stopped (pid_t pid)
{
  siginfo_t info = { 0 };

  return waitid (P_PID, (id_t) pid, &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Takes the first step that is asked for, stops, and goes its way to the end. */
static int
play_stopper (int argc, char **argv)
{
  const Step step = (Step) (argc > 0 ? atoi (argv[0]) : 0);
  const uint32_t one = 1;
  CuframesLeasePage *page;
  Raw raw = {.fd = -1,.wake_fd = -1,.fds = { -1, -1, -1 } };

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  if (step <= STEP_HELLO_SENT) {
    raw.fd = raw_connect ("cam");
    if (raw.fd < 0 || (step == STEP_HELLO_SENT && !raw_hello (raw.fd, 1, 1, 1u << CUFRAMES_MEMORY_HOST)))
      return 3;
    raise (SIGSTOP);
    raw_close (&raw);
    return 0;
  }
  if (!raw_join (&raw, "cam"))
    return 3;
  page = mmap (NULL, CUFRAMES_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
  if (page == MAP_FAILED)
    return 4;
  if (step == STEP_RING_READ)
    raise (SIGSTOP);
  raw_ready (&raw, raw.generation);
  if (step == STEP_READY_SENT)
    raise (SIGSTOP);
  atomic_store (&page->waiting, 1);
  if (step == STEP_ASKED_TO_BE_WOKEN)
    raise (SIGSTOP);
  atomic_store (&page->leases, 6);
  if (step == STEP_HOLDS_FRAMES)
    raise (SIGSTOP);
  atomic_store (&page->leases, 0);
  raw_send (raw.fd, CUFRAMES_MESSAGE_ASK_STATS, NULL, 0);
  if (step == STEP_ASKED_FOR_STATISTICS)
    raise (SIGSTOP);
  raw_send (raw.fd, CUFRAMES_MESSAGE_KEYFRAME, &one, sizeof one);
  if (step == STEP_ASKED_FOR_KEY_FRAME)
    raise (SIGSTOP);
  raw_send (raw.fd, CUFRAMES_MESSAGE_BYE, &one, sizeof one);
  if (step == STEP_BYE_SENT)
    raise (SIGSTOP);
  raw_close (&raw);
  return 0;
}

static uint32_t
count_subscribers (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats.subscribers;
}

/* Frames, events and new generations; the witness has them all. */
static void
publish_everything (Source *source, Child *witness)
{
  for (unsigned i = 1; i <= FRAMES; i++) {
    if (i % (FRAMES / RINGS) == 0)
      CHECK_EQUAL (source_start_ring (source, SLOTS, 1, "g"), 0);
    if (i % (FRAMES / EVENTS) == 0)
      CHECK_EQUAL (cuframes_publisher_send_event (source->publisher, CUFRAMES_EVENT_GST, 0, &i, sizeof i), 0);
    CHECK_EQUAL (source_publish (source), 0);
    if (i % 8 == 0)
      CHECK_EQUAL (child_ask (witness, "take 8"), 8);
  }
  CHECK_EQUAL (child_ask (witness, "newest"), source->number);
}

static void
stop_at (Step step)
{
  uint64_t start, resident;
  Child witness, stopper;
  unsigned fds, arenas;
  Source source;
  char text[16];

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, SLOTS, 1, "f") == 0);
  child_start (&witness, NULL, "subscriber", NULL);
  CHECK_EQUAL (child_ask (&witness, "connect cam next"), 0);
  publish_everything (&source, &witness);
  arenas = 1;
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes-arena") == arenas));
  fds = fixture_count_fds ();
  resident = fixture_resident_bytes ();
  snprintf (text, sizeof text, "%d", (int) step);
  child_start (&stopper, NULL, "stopper", text, NULL);
  REQUIRE (WAIT_UNTIL (is_stopped (stopper.pid)));
  start = fixture_now_ns ();
  for (int i = 0; i < 5; i++)
    publish_everything (&source, &witness);
  printf ("     %s: %u frames in %u ms\n", step_names[step], 5 * FRAMES, (unsigned) ((fixture_now_ns () - start) / 1000000));
  /* its own generation and the current one; those between are unmapped beside what is published */
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes-arena") <= arenas + 1));
  CHECK (fixture_is_slow () || fixture_resident_bytes () < resident + 4 * 1024 * 1024);
  kill (stopper.pid, SIGCONT);
  CHECK_EQUAL (child_wait (&stopper), 0);
  CHECK (WAIT_UNTIL (count_subscribers (&source) == 1));
  publish_everything (&source, &witness);
  CHECK (WAIT_UNTIL (fixture_count_fds () <= fds && fixture_count_mappings ("memfd:cuframes-arena") <= arenas));
  CHECK_EQUAL (child_end (&witness), 0);
  source_close (&source);
}

static void
a_client_may_stop_at_any_step (void)
{
  for (Step step = 0; step < STEPS; step++)
    stop_at (step);
}

/* Of the publisher's side, in the order in which they come while it works. */
static const char *const publisher_points[] = { "ring/described", "ring/stated", "ring/indexed", "ring/announced", "ring/retired", "publisher/waking",
  "ring/superseded" };

static void
take_until (CuframesSubscriber *subscriber, uint64_t number)
{
  CuframesItem item = { 0 };
  uint64_t last = 0;

  while (last < number) {
    REQUIRE (sink_next (subscriber, &item) == 0 && item.kind != CUFRAMES_ITEM_DISCONNECTED);
    if (item.kind != CUFRAMES_ITEM_FRAME)
      continue;
    CHECK (frame_is_whole (item.frame) && (last == 0 || item.info->sequence == last + 1 + item.missed));
    last = item.info->sequence;
    cuframes_frame_unref (item.frame);
  }
}

/* A subscriber waits for it as long as it takes, and has what was published before and what comes after. */
static void
stop_publisher_at (const char *point)
{
  CuframesSubscriber *subscriber;
  char environment[128];
  Child publisher;
  CuframesItem item;
  int r;

  snprintf (environment, sizeof environment, "CUFRAMES_STOP_AT=%s:1", point);
  child_start (&publisher, environment, "publisher", NULL);
  REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "ring %u", SLOTS) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK_EQUAL (cuframes_subscriber_arm (subscriber), CUFRAMES_E_EMPTY);
  child_say (&publisher, "publish 40");
  child_say (&publisher, "ring %u", SLOTS);
  child_say (&publisher, "publish 40");
  REQUIRE (WAIT_UNTIL (is_stopped (publisher.pid)));
  do {
    r = cuframes_subscriber_next (subscriber, 50000000, &item);
    if (r == 0)
      cuframes_frame_unref (item.frame);
  } while (r == 0 && item.kind != CUFRAMES_ITEM_DISCONNECTED);
  CHECK_EQUAL (r, CUFRAMES_E_TIMEOUT);
  kill (publisher.pid, SIGCONT);
  CHECK_EQUAL (child_answer (&publisher), 40);
  CHECK_EQUAL (child_answer (&publisher), 0);
  CHECK_EQUAL (child_answer (&publisher), 40);
  take_until (subscriber, 80);
  CHECK_EQUAL (child_end (&publisher), 0);
  cuframes_subscriber_free (subscriber);
}

static void
a_publisher_may_stop_anywhere (void)
{
  for (size_t i = 0; i < sizeof publisher_points / sizeof publisher_points[0]; i++)
    stop_publisher_at (publisher_points[i]);
}

static const FixtureRole roles[] = { {"stopper", play_stopper} };

static const FixtureTest tests[] = {
  {"a client may stop at any step of the protocol and nobody notices", a_client_may_stop_at_any_step},
  {"a publisher may stop anywhere and its subscribers wait for it", a_publisher_may_stop_anywhere},
};

FIXTURE_MAIN (tests, roles, 1)
