/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams of packets between processes: at full size, too fast for who reads them, and with either side killed or stopped. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "core-fixture.h"

#define MIB (UINT64_C (1) << 20)

/* What a packet-reader saw. */
typedef struct
{
  unsigned long long packets, torn, wrong, missed, restarts, astray, lost, last;
} Reading;

static void
start_reader (Child *reader, const char *flags)
{
  char line[64];

  child_start (reader, NULL, "packet-reader", "cam", flags, NULL);
  CHECK (child_read (reader, line, sizeof line));       /* has the format */
}

/* Nothing torn, nothing out of order, each restart at a key point. */
static bool
finish_reader (Child *reader, Reading *reading)
{
  char line[256];
  int status;

  *reading = (Reading) { 0 };
  if (!child_read (reader, line, sizeof line))
    return false;
  CHECK (sscanf (line, "%llu %llu %llu %llu %llu %llu %llu %llu", &reading->packets, &reading->torn, &reading->wrong, &reading->missed,
          &reading->restarts, &reading->astray, &reading->lost, &reading->last) == 8);
  status = child_wait (reader);
  CHECK (WIFEXITED (status) && WEXITSTATUS (status) == 0);
  CHECK_EQUAL (reading->torn, 0);
  CHECK_EQUAL (reading->wrong, 0);
  CHECK_EQUAL (reading->astray, 0);
  return true;
}

static uint64_t
get_lag (const Source *source)
{
  CuframesSubscriberStats subscribers[4];
  const uint32_t count = cuframes_publisher_get_subscribers (source->publisher, subscribers, 4);
  uint64_t lag = 0;

  for (uint32_t i = 0; i < count; i++)
    if (subscribers[i].lag_frames > lag)
      lag = subscribers[i].lag_frames;
  return lag;
}

static void
two_thousand_packets_arrive (void)
{
  Reading reading;
  Source source;
  Child reader;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 1024, 64 * MIB, "p") == 0);
  start_reader (&reader, "next");
  for (int i = 0; i < 2000; i++) {
    CHECK_EQUAL (source_publish_stream (&source, 1, FIXTURE_GOP, 2000000), 1);
    /* no faster than the reader by more than the ring holds */
    if (get_lag (&source) > 100)
      CHECK (WAIT_UNTIL (get_lag (&source) <= 50));
  }
  source_close (&source);
  REQUIRE (finish_reader (&reader, &reading));
  CHECK_EQUAL (reading.packets, 2000);
  CHECK_EQUAL (reading.missed, 0);
  CHECK_EQUAL (reading.last, 2000);
}

/* 10 ms a packet against 200 packets a second, in a ring of a third of a second. */
static void
a_slow_reader_goes_on_at_key_points (void)
{
  Child publisher, reader;
  Reading reading;

  child_start (&publisher, NULL, "publisher", NULL);
  REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "packets 64 %llu", (unsigned long long) (4 * MIB)) == 0);
  start_reader (&reader, "slow next");
  CHECK_EQUAL (child_ask (&publisher, "pace 600 200"), 600);
  CHECK_EQUAL (child_ask (&publisher, "close"), 0);
  REQUIRE (finish_reader (&reader, &reading));
  CHECK_EQUAL (child_end (&publisher), 0);
  printf ("     %llu packets taken, %llu missed in %llu gaps\n", reading.packets, reading.missed, reading.restarts);
  CHECK (reading.packets > 10);
  CHECK (reading.missed > 0 && reading.restarts > 0);
  CHECK (reading.packets + reading.missed <= 600);
  CHECK_EQUAL (reading.last, reading.packets + reading.missed);
}

/* As fast as it can, through a ring of which each packet takes a large part. */
static void
a_publisher_at_full_speed_tears_no_packet (void)
{
  const uint64_t count = fixture_is_slow () ? 1000 : 20000;
  Reading readings[4];
  Child readers[4];
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 16, 256 * 1024, "p") == 0);
  for (int i = 0; i < 4; i++)
    start_reader (&readers[i], i % 2 == 0 ? "next" : "oldest");
  CHECK_EQUAL (source_publish_stream (&source, count, 5, 60000), (int) count);
  source_close (&source);
  for (int i = 0; i < 4; i++) {
    REQUIRE (finish_reader (&readers[i], &readings[i]));
    CHECK (readings[i].packets + readings[i].missed <= count);
    CHECK (readings[i].packets > 0);
    printf ("     %llu packets taken, %llu missed in %llu gaps, %llu overwritten while they were copied\n", readings[i].packets,
        readings[i].missed, readings[i].restarts, readings[i].lost);
  }
}

static void
two_readers_take_what_they_can (void)
{
  Child publisher, fast, slow;
  Reading reading;

  child_start (&publisher, NULL, "publisher", NULL);
  REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "packets 64 %llu", (unsigned long long) (4 * MIB)) == 0);
  start_reader (&fast, "next");
  start_reader (&slow, "slow next");
  CHECK_EQUAL (child_ask (&publisher, "pace 300 200"), 300);
  CHECK_EQUAL (child_ask (&publisher, "close"), 0);
  REQUIRE (finish_reader (&fast, &reading));
  CHECK_EQUAL (reading.packets, fixture_is_slow () ? reading.packets : 300);
  REQUIRE (finish_reader (&slow, &reading));
  CHECK (reading.packets > 10 && reading.missed > 0);
  CHECK_EQUAL (child_end (&publisher), 0);
}

static void
a_killed_publisher_comes_back (void)
{
  Child publisher, subscriber;

  child_start (&subscriber, NULL, "subscriber", NULL);
  for (int round = 0; round < 3; round++) {
    child_start (&publisher, NULL, "publisher", NULL);
    REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "packets 256 %llu", (unsigned long long) (4 * MIB)) == 0);
    CHECK_EQUAL (child_ask (&publisher, "stream 40 20000"), 40);
    CHECK_EQUAL (child_ask (&subscriber, "connect cam"), 0);
    /* from the key point 31 */
    CHECK_EQUAL (child_ask (&subscriber, "take 5"), 5);
    CHECK_EQUAL (child_ask (&subscriber, "newest"), 35);
    CHECK_EQUAL (child_ask (&publisher, "stream 5 20000"), 5);
    child_kill (&publisher);
    /* what is in the ring is still good */
    CHECK_EQUAL (child_ask (&subscriber, "take 10"), 10);
    CHECK_EQUAL (child_ask (&subscriber, "newest"), 45);
    CHECK_EQUAL (child_ask (&subscriber, "next"), 100);
  }
  CHECK_EQUAL (child_end (&subscriber), 0);
}

static void
readers_that_are_killed_or_stopped_hold_nobody_up (void)
{
  Child killed, stopped, reader;
  CuframesPublisherStats stats;
  Reading reading;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 64, 4 * MIB, "p") == 0);
  start_reader (&reader, "next");
  child_start (&killed, NULL, "subscriber", NULL);
  child_start (&stopped, NULL, "subscriber", NULL);
  CHECK_EQUAL (child_ask (&killed, "connect cam"), 0);
  CHECK_EQUAL (child_ask (&stopped, "connect cam"), 0);
  CHECK_EQUAL (source_publish_stream (&source, 5, FIXTURE_GOP, 20000), 5);
  CHECK_EQUAL (child_ask (&killed, "take 2"), 2);
  CHECK_EQUAL (child_ask (&stopped, "take 2"), 2);
  kill (stopped.pid, SIGSTOP);
  child_kill (&killed);
  CHECK_EQUAL (source_publish_stream (&source, 495, FIXTURE_GOP, 20000), 495);
  cuframes_publisher_get_stats (source.publisher, &stats);
  CHECK_EQUAL (stats.dropped, 0);
  CHECK_EQUAL (stats.frames, 500);
  kill (stopped.pid, SIGCONT);
  /* on at the newest key point, 481 */
  CHECK_EQUAL (child_ask (&stopped, "take 20"), 20);
  CHECK_EQUAL (child_ask (&stopped, "newest"), 500);
  CHECK_EQUAL (child_end (&stopped), 0);
  source_close (&source);
  REQUIRE (finish_reader (&reader, &reading));
  CHECK_EQUAL (reading.last, 500);
}

/* Wherever it dies, what was announced is whole and nothing else is there. */
static void
a_publisher_may_die_at_any_store (void)
{
  static const struct
  {
    const char *where;
    long survived, announced;
  } points[] = {
    /* the first that needs the room of another */
    {"CUFRAMES_DIE_AT=packet/reserved:1", 16, 16},
    {"CUFRAMES_DIE_AT=packet/copied:7", 6, 6}, {"CUFRAMES_DIE_AT=packet/described:7", 6, 6}, {"CUFRAMES_DIE_AT=packet/announced:7", 6, 7},
  };

  for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
    Child publisher, subscriber;
    child_start (&publisher, points[i].where, "publisher", NULL);
    REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "packets 16 %llu", (unsigned long long) MIB) == 0);
    child_start (&subscriber, NULL, "subscriber", NULL);
    CHECK_EQUAL (child_ask (&subscriber, "connect cam next"), 0);
    CHECK_EQUAL (child_ask (&subscriber, "next"), CUFRAMES_ITEM_CONNECTED);
    CHECK_EQUAL (child_ask (&subscriber, "next"), CUFRAMES_ITEM_FORMAT);
    for (long n = 1; n <= points[i].survived; n++) {
      CHECK_EQUAL (child_ask (&publisher, "stream 1 20000"), 1);
      CHECK_EQUAL (child_ask (&subscriber, "take 1"), 1);
    }
    child_say (&publisher, "stream 1 20000");
    CHECK_EQUAL (child_ask (&subscriber, "next"), points[i].announced > points[i].survived ? CUFRAMES_ITEM_PACKET : 100);
    CHECK_EQUAL (child_ask (&subscriber, "next"), points[i].announced > points[i].survived ? 100 : -CUFRAMES_E_ABSENT);
    CHECK_EQUAL (child_ask (&subscriber, "newest"), points[i].survived);
    child_kill (&publisher);
    CHECK_EQUAL (child_end (&subscriber), 0);
  }
}

static const FixtureTest tests[] = {
  {"two thousand packets of 200 B to 2 MB arrive in another process, in order and whole", two_thousand_packets_arrive},
  {"a slow reader goes on at key points and counts what it lost", a_slow_reader_goes_on_at_key_points},
  {"a publisher at full speed tears no packet", a_publisher_at_full_speed_tears_no_packet},
  {"two readers take what they can", two_readers_take_what_they_can},
  {"a publisher that is killed comes back, and what it left is taken first", a_killed_publisher_comes_back},
  {"readers that are killed or stopped hold nobody up", readers_that_are_killed_or_stopped_hold_nobody_up},
  {"a publisher may die at any store", a_publisher_may_die_at_any_store},
};

FIXTURE_MAIN (tests, NULL, 0)
