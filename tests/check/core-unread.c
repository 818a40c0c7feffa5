/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a subscriber leaves unread: bounded in number and in bytes, and it costs the publisher no time. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "core-fixture.h"
#include "cuframes-publisher-private.h"

#define MIB (1024u * 1024u)

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

/* A subscriber that has the format and is then stopped. */
static bool
start_stopped (Source *source, Child *stopped)
{
  if (source_open (source, "cam", NULL) != 0 || source_start_ring (source, 4, 1, "f") != 0)
    return false;
  child_start (stopped, NULL, "subscriber", NULL);
  CHECK_EQUAL (child_ask (stopped, "connect cam"), 0);
  CHECK_EQUAL (child_ask (stopped, "next"), CUFRAMES_ITEM_CONNECTED);
  CHECK_EQUAL (child_ask (stopped, "next"), CUFRAMES_ITEM_FORMAT);
  kill (stopped->pid, SIGSTOP);
  return true;
}

static bool
is_lingering (const Source *source)
{
  CuframesSubscriberStats stats[4];

  return cuframes_publisher_get_subscribers (source->publisher, stats, 4) == 1 && stats[0].lingering == 1;
}

/* Bytes that wait for the only subscriber, here and in its socket; 0 if nothing waits here. */
static uint64_t
get_waiting_bytes (const Source *source)
{
  uint64_t bytes;

  pthread_mutex_lock (&source->publisher->lock);
  bytes = source->publisher->peers[0]->queue_count == 0 ? 0 : source->publisher->peers[0]->unread_bytes + source->publisher->peers[0]->queue_bytes;
  pthread_mutex_unlock (&source->publisher->lock);
  return bytes;
}

static uint64_t
get_cpu_us (void)
{
  struct rusage usage;

  getrusage (RUSAGE_SELF, &usage);
  return (uint64_t) ((usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* What this process uses in a fifth of a second in which it only waits. */
static uint64_t
get_idle_cpu_us (void)
{
  const uint64_t before_us = get_cpu_us ();

  for (uint64_t end = fixture_now_ns () + 200000000; fixture_now_ns () < end;)
    fixture_yield ();
  return get_cpu_us () - before_us;
}

static void
who_leaves_its_events_unread_is_taken_off (void)
{
  const size_t event_bytes = 20000;
  uint8_t *bytes = calloc (1, event_bytes);
  uint64_t resident;
  Source source;
  Child stopped;
  long reason;

  REQUIRE (start_stopped (&source, &stopped));
  resident = fixture_resident_bytes ();
  for (int i = 0; i < 3000; i++)
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, bytes, event_bytes), 0);
  CHECK (fixture_is_slow () || fixture_resident_bytes () < resident + 48 * 1024 * 1024);
  CHECK (is_lingering (&source));
  CHECK_EQUAL (source_publish_many (&source, 50), 50);
  kill (stopped.pid, SIGCONT);
  reason = child_ask (&stopped, "finish");
  CHECK_EQUAL (reason, 100 + CUFRAMES_BYE_STALLED);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  CHECK_EQUAL (child_end (&stopped), 0);
  source_close (&source);
  free (bytes);
}

/* Large events lie in memory files, of which a socket would take hundreds. */
static void
who_leaves_large_events_unread_is_taken_off (void)
{
  uint8_t *bytes = calloc (1, MIB);
  unsigned sent = 0;
  Source source;
  Child stopped;

  REQUIRE (start_stopped (&source, &stopped));
  while (sent < 300 && !is_lingering (&source)) {
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, bytes, MIB), 0);
    sent++;
    CHECK (get_waiting_bytes (&source) <= 64 * MIB);
  }
  CHECK_EQUAL (sent, CUFRAMES_PEER_UNREAD_COUNT_MAX + 32 + 1);
  kill (stopped.pid, SIGCONT);
  CHECK_EQUAL (child_ask (&stopped, "finish"), 100 + CUFRAMES_BYE_STALLED);
  CHECK_EQUAL (child_end (&stopped), 0);
  source_close (&source);
  free (bytes);
}

static void
who_reads_large_events_late_gets_them_all (void)
{
  uint8_t *bytes = calloc (1, 16 * MIB);
  uint64_t cpu_us;
  Source source;
  Child stopped;

  REQUIRE (start_stopped (&source, &stopped));
  for (int i = 0; i < 4; i++)
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, bytes, 16 * MIB), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  cpu_us = get_idle_cpu_us ();
  CHECK (fixture_is_slow () || cpu_us < 100000);
  CHECK (!is_lingering (&source));
  kill (stopped.pid, SIGCONT);
  for (int i = 0; i < 4; i++)
    CHECK_EQUAL (child_ask (&stopped, "next"), CUFRAMES_ITEM_EVENT);
  CHECK_EQUAL (child_ask (&stopped, "take 1"), 1);
  CHECK (WAIT_UNTIL (get_waiting_bytes (&source) == 0));
  for (int i = 0; i < 8; i++) {
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, bytes, 16 * MIB), 0);
    CHECK_EQUAL (child_ask (&stopped, "next"), CUFRAMES_ITEM_EVENT);
  }
  CHECK_EQUAL (child_end (&stopped), 0);
  source_close (&source);
  free (bytes);
}

/* Without room in the socket the server waits and does not spin. */
static void
a_full_socket_costs_the_server_no_time (void)
{
  uint8_t bytes[20000] = { 0 };
  uint64_t cpu_us;
  Source source;
  Child stopped;

  REQUIRE (start_stopped (&source, &stopped));
  for (int i = 0; i < 100; i++)
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, bytes, sizeof bytes), 0);
  cpu_us = get_idle_cpu_us ();
  CHECK (fixture_is_slow () || cpu_us < 100000);
  kill (stopped.pid, SIGCONT);
  for (int i = 0; i < 100; i++)
    CHECK_EQUAL (child_ask (&stopped, "next"), CUFRAMES_ITEM_EVENT);
  CHECK_EQUAL (child_end (&stopped), 0);
  source_close (&source);
}

static const FixtureTest tests[] = {
  {"who leaves its events unread is taken off and hears why", who_leaves_its_events_unread_is_taken_off},
  {"who leaves large events unread is taken off before they are many", who_leaves_large_events_unread_is_taken_off},
  {"who reads large events late gets them all", who_reads_large_events_late_gets_them_all},
  {"a full socket costs the server no time", a_full_socket_costs_the_server_no_time},
};

FIXTURE_MAIN (tests, NULL, 0)
