/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clients that misbehave on purpose. The publisher keeps its pace and its memory through all of it, the other subscribers notice nothing,
 * and when the client has gone nothing of it is left. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core-fixture.h"
#include "core-hostile-acts.h"
#include "cuframes-layout.h"
#include "cuframes-util.h"
#include "cuframes-wire.h"

#define FRAMES_LEAST 200u


static int
compare_times (const void *a, const void *b)
{
  const uint64_t first = *(const uint64_t *) a, second = *(const uint64_t *) b;

  return first < second ? -1 : first > second;
}

/* How often this thread has gone to sleep by itself. */
static long
count_waits (void)
{
  struct rusage usage;

  getrusage (RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

static bool
has_ended (pid_t pid)
{
  siginfo_t info = { 0 };

  return waitid (P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* The time that a frame takes: all of it if the publisher waited for anybody, otherwise its own work, so that nothing is said of a machine that has no
 * time for it. */
static bool
publish_timed (Source *source, uint64_t *ret_ns)
{
  const uint64_t start = fixture_now_ns (), work_start = cuframes_clock_ns (CLOCK_THREAD_CPUTIME_ID);
  const long waits = count_waits ();
  const bool good = source_publish (source) == 0;

  *ret_ns = count_waits () == waits ? cuframes_clock_ns (CLOCK_THREAD_CPUTIME_ID) - work_start : fixture_now_ns () - start;
  return good;
}

/* Publishes under attack; the witness, another process, misses nothing of it. */
static void
withstand (const char *act)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_DROP };
  static uint64_t times[1000000];
  CuframesPublisherStats stats;
  uint64_t start, resident;
  unsigned fds, count = 0;
  Child attacker, witness;
  Source source;
  long got = 0;

  REQUIRE (source_open (&source, "cam", &config) == 0 && source_start_ring (&source, 16, 1, "f") == 0);
  child_start (&witness, NULL, "subscriber", NULL);
  CHECK_EQUAL (child_ask (&witness, "connect cam next"), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK_EQUAL (child_ask (&witness, "take 1"), 1);
  fds = fixture_count_fds ();
  resident = fixture_resident_bytes ();
  child_start (&attacker, NULL, "attacker", act, NULL);
  start = fixture_now_ns ();
  while ((count < FRAMES_LEAST || !has_ended (attacker.pid)) && count < sizeof times / sizeof times[0]
      && fixture_now_ns () - start < FIXTURE_BOUND_NS) {
    CHECK (publish_timed (&source, &times[count++]));
    if (count % 8 == 0)
      CHECK_EQUAL (got = child_ask (&witness, "take 8"), 8);
  }
  if (count % 8 != 0)
    CHECK_EQUAL (child_ask (&witness, "take %u", count % 8), count % 8);
  CHECK_EQUAL (child_ask (&witness, "newest"), source.number);
  CHECK_EQUAL (child_wait (&attacker), 0);
  qsort (times, count, sizeof times[0], compare_times);
  printf ("     %u frames in %u ms; publishing took %u us in the middle, %u us for 99 of 100, %u us at worst\n", count,
      (unsigned) ((fixture_now_ns () - start) / 1000000), (unsigned) (times[count / 2] / 1000), (unsigned) (times[count * 99 / 100] / 1000),
      (unsigned) (times[count - 1] / 1000));
  CHECK (fixture_is_slow () || times[count / 2] < 1000000);
  CHECK (fixture_is_slow () || times[count * 99 / 100] < 10000000);
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 1));
  CHECK_EQUAL (stats.dropped, 0);
  CHECK_EQUAL (stats.slots_leased, 0);
  CHECK (WAIT_UNTIL (fixture_count_fds () <= fds));
  CHECK (fixture_is_slow () || fixture_resident_bytes () < resident + (sizeof times[0] * count) + 4 * 1024 * 1024);
  CHECK_EQUAL (child_end (&witness), 0);
  source_close (&source);
}

static void
who_watches_from_everywhere_holds_up_nobody (void)
{
  withstand ("watch");
}

static void
ten_thousand_connect_and_say_nothing (void)
{
  withstand ("silent");
}

static void
ten_thousand_connect_and_go (void)
{
  withstand ("connects");
}

static void
garbage_is_not_answered (void)
{
  withstand ("garbage");
}

static void
a_flood_of_questions_stops_nobody (void)
{
  withstand ("questions");
}

static void
a_flood_of_key_frame_requests_stops_nobody (void)
{
  withstand ("keyframes");
}

static void
a_thousand_join_and_vanish (void)
{
  withstand ("vanish");
}

static void
a_full_or_closed_wake_pipe_stops_nobody (void)
{
  withstand ("pipe");
}

static void
nonsense_on_a_lease_page_stops_nobody (void)
{
  withstand ("scribble");
}

static void
lease_words_of_all_ones_stop_nobody (void)
{
  withstand ("ones");
}

static void
a_byte_at_a_time_is_no_message (void)
{
  withstand ("bytes");
}

static void
descriptors_that_nobody_asked_for_are_closed (void)
{
  withstand ("descriptors");
}

/* One who has joined and then does something that the protocol does not allow is dropped. */
static void
check_dropped (Source *source, Raw *raw)
{
  CuframesPublisherStats stats;

  CHECK (raw_is_closed (raw->fd));
  raw_close (raw);
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source->publisher, &stats), stats.subscribers) == 0));
  CHECK_EQUAL (source_publish_many (source, 10), 10);
}

static void
broken_rules_cost_the_place (void)
{
  const uint32_t one = 1, nonsense[8] = { 1, 2, 3 };
  const CuframesMessage welcome = {.type = CUFRAMES_MESSAGE_WELCOME };
  uint8_t bytes[64];
  size_t byte_count;
  Source source;
  Raw raw;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  REQUIRE (raw_join (&raw, "cam") && raw_ready (&raw, raw.generation + 1));
  check_dropped (&source, &raw);
  REQUIRE (raw_join (&raw, "cam") && raw_hello (raw.fd, 1, 1, 2));
  check_dropped (&source, &raw);
  REQUIRE (raw_join (&raw, "cam") && raw_send (raw.fd, CUFRAMES_MESSAGE_READY, nonsense, sizeof nonsense));
  check_dropped (&source, &raw);
  REQUIRE (raw_join (&raw, "cam") && raw_send (raw.fd, 4711, &one, sizeof one));
  check_dropped (&source, &raw);
  REQUIRE (raw_join (&raw, "cam") && send (raw.fd, "x", 1, 0) == 1);
  check_dropped (&source, &raw);
  REQUIRE (raw_join (&raw, "cam") && cuframes_wire_encode (&welcome, 2, bytes, sizeof bytes, &byte_count) == 0);
  REQUIRE (send (raw.fd, bytes, byte_count, 0) == (ssize_t) byte_count);
  check_dropped (&source, &raw);
  REQUIRE (raw_join (&raw, "cam") && raw_send (raw.fd, CUFRAMES_MESSAGE_EVENT, nonsense, 24));
  check_dropped (&source, &raw);
  source_close (&source);
}

static void
what_comes_after_a_farewell_does_no_harm (void)
{
  const uint32_t reason = CUFRAMES_BYE_SHUTDOWN;
  CuframesPublisherStats stats;
  Source source;
  Raw raw;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  REQUIRE (raw_join (&raw, "cam") && raw_ready (&raw, raw.generation));
  CHECK (raw_send (raw.fd, CUFRAMES_MESSAGE_BYE, &reason, sizeof reason));
  for (int i = 0; i < 100; i++) {
    CHECK (raw_send (raw.fd, CUFRAMES_MESSAGE_BYE, &reason, sizeof reason));
    CHECK (raw_ready (&raw, raw.generation));
    CHECK (raw_send (raw.fd, CUFRAMES_MESSAGE_KEYFRAME, &reason, sizeof reason));
    CHECK_EQUAL (source_publish (&source), 0);
  }
  CHECK_EQUAL (source_start_ring (&source, 4, 1, "g"), 0);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  cuframes_publisher_get_stats (source.publisher, &stats);
  CHECK_EQUAL (stats.subscribers, 1);
  raw_close (&raw);
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 0));
  source_close (&source);
}

/* Who asks just before it hears that it was taken off has not gone: what it holds stays as it is. */
static void
a_question_after_an_eviction_costs_no_lease (void)
{
  CuframesPublisherStats stats;
  CuframesLeasePage *page;
  Source source;
  Raw raw, other;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  REQUIRE (raw_join (&raw, "cam") && raw_ready (&raw, raw.generation));
  page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
  REQUIRE (page != MAP_FAILED);
  atomic_store (&page->leases, 1);
  CHECK_EQUAL (cuframes_publisher_evict (source.publisher, raw.subscriber_id), 0);
  CHECK (raw_send (raw.fd, CUFRAMES_MESSAGE_ASK_STATS, NULL, 0));
  /* Whoever is let in after that comes behind it, and the second one is a turn later at least. */
  for (int i = 0; i < 2; i++) {
    CHECK (raw_join (&other, "cam"));
    raw_close (&other);
  }
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 1));
  CHECK_EQUAL (stats.slots_leased, 1);
  munmap (page, 4096);
  raw_close (&raw);
  source_close (&source);
}

/* A client that is stopped in the middle of the handshake holds one place and nothing else. */
static void
clients_that_stop_halfway_cost_a_place_each (void)
{
  CuframesPublisherStats stats;
  CuframesItem item;
  CuframesSubscriber *subscriber;
  Source source;
  int fds[10];

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  for (int i = 0; i < 10; i++)
    CHECK ((fds[i] = raw_connect ("cam")) >= 0 && raw_hello (fds[i], 1, 1, 2));
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 10));
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  for (int i = 0; i < 100; i++) {
    if (i % 10 == 0) {
      CHECK_EQUAL (source_start_ring (&source, 4, 1, "g"), 0);
      CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
    }
    CHECK_EQUAL (source_publish (&source), 0);
    REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
    CHECK (frame_is_whole (item.frame));
    cuframes_frame_unref (item.frame);
  }
  /* of ten generations each of them keeps one alive; they all keep the same */
  CHECK (WAIT_UNTIL (fixture_count_mappings ("memfd:cuframes-arena") <= 4));
  for (int i = 0; i < 10; i++)
    close (fds[i]);
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 1));
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
a_handshake_that_is_never_finished_ends (void)
{
  struct pollfd polled = {.events = POLLIN };
  uint64_t start = fixture_now_ns ();
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  polled.fd = raw_connect ("cam");
  CHECK_EQUAL (poll (&polled, 1, (int) (FIXTURE_BOUND_NS / 1000000)), 1);
  CHECK (raw_is_closed (polled.fd));
  CHECK (fixture_now_ns () - start > 1000000000 && (fixture_is_slow () || fixture_now_ns () - start < 4000000000));
  close (polled.fd);
  source_close (&source);
}

static const FixtureRole roles[] = { {"attacker", play_attacker} };

static const FixtureTest tests[] = {
  {"ten thousand connect and say nothing", ten_thousand_connect_and_say_nothing},
  {"ten thousand connect and go", ten_thousand_connect_and_go},
  {"garbage is not answered", garbage_is_not_answered},
  {"a flood of questions stops nobody", a_flood_of_questions_stops_nobody},
  {"a flood of key frame requests stops nobody", a_flood_of_key_frame_requests_stops_nobody},
  {"a thousand join and vanish", a_thousand_join_and_vanish},
  {"a wake pipe that is full, and one that is closed, stops nobody", a_full_or_closed_wake_pipe_stops_nobody},
  {"nonsense on a lease page stops nobody", nonsense_on_a_lease_page_stops_nobody},
  {"lease words of all ones stop nobody", lease_words_of_all_ones_stop_nobody},
  {"a byte at a time is no message", a_byte_at_a_time_is_no_message},
  {"who watches its pipe from everywhere holds up nobody", who_watches_from_everywhere_holds_up_nobody},
  {"descriptors that nobody asked for are closed, whatever they are and however many", descriptors_that_nobody_asked_for_are_closed},
  {"who breaks a rule of the protocol loses its place", broken_rules_cost_the_place},
  {"what comes after a farewell does no harm", what_comes_after_a_farewell_does_no_harm},
  {"a question after an eviction costs no lease", a_question_after_an_eviction_costs_no_lease},
  {"clients that stop halfway cost a place each and one generation together", clients_that_stop_halfway_cost_a_place_each},
  {"a handshake that is never finished is ended in its time", a_handshake_that_is_never_finished_ends},
};

FIXTURE_MAIN (tests, roles, 1)
