/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What becomes of the others when a process dies or stops at each place where its peers could notice. The places are the test points,
 * read from the library's sources, so that none can be forgotten; each must be reached by one side at least. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"

#define POINTS_MAX 64
#define TRIES 50u
#define SLOTS 6u

static char points[POINTS_MAX][64];
static bool reached[POINTS_MAX];
static unsigned point_count;

static void
find_points_in (const char *path)
{
  FILE *file = fopen (path, "re");
  char line[1024];

  while (file != NULL && fgets (line, sizeof line, file) != NULL) {
    const char *start = strstr (line, "CUFRAMES_TESTPOINT (\"");
    if (start != NULL && point_count < POINTS_MAX && sscanf (start, "CUFRAMES_TESTPOINT (\"%63[^\"]\"", points[point_count]) == 1)
      point_count++;
  }
  if (file != NULL)
    fclose (file);
}

/* The packet ring has tests of its own. */
static void
find_points (void)
{
  DIR *sources = opendir (CORE_SOURCE_DIR);
  struct dirent *entry;

  point_count = 0;
  while (sources != NULL && (entry = readdir (sources)) != NULL) {
    char path[1024];
    if (strstr (entry->d_name, ".c") == NULL || strstr (entry->d_name, "packet") != NULL)
      continue;
    snprintf (path, sizeof path, "%s/%s", CORE_SOURCE_DIR, entry->d_name);
    find_points_in (path);
  }
  if (sources != NULL)
    closedir (sources);
}

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

static bool
is_stopped (pid_t pid)
{
  char path[64], line[256];
  bool stopped = false;
  FILE *file;

  snprintf (path, sizeof path, "/proc/%d/stat", (int) pid);
  file = fopen (path, "re");
  if (file != NULL && fgets (line, sizeof line, file) != NULL)
    stopped = strstr (line, ") T ") != NULL;
  if (file != NULL)
    fclose (file);
  return stopped;
}

static bool
has_died (pid_t pid)
{
  siginfo_t info = { 0 };

  return waitid (P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
}

/* Takes frames until one is numbered so, or until the end. */
static bool
take_until (CuframesSubscriber *subscriber, CuframesItemKind kind, uint64_t number)
{
  CuframesItem item;

  for (;;) {
    bool found, whole = true;
    if (sink_next (subscriber, &item) != 0)
      return false;
    found = item.kind == kind && (kind != CUFRAMES_ITEM_FRAME || item.info->sequence >= number);
    if (item.kind == CUFRAMES_ITEM_FRAME)
      whole = frame_is_whole (item.frame);
    cuframes_frame_unref (item.frame);
    if (found || !whole)
      return whole;
    if (item.kind == CUFRAMES_ITEM_DISCONNECTED)
      return false;
  }
}

static bool
hold_two (CuframesSubscriber *subscriber, CuframesFrame *held[2])
{
  CuframesItem item;

  for (int i = 0; i < 2;) {
    if (sink_next (subscriber, &item) != 0 || item.kind == CUFRAMES_ITEM_DISCONNECTED)
      return false;
    if (item.kind == CUFRAMES_ITEM_FRAME)
      held[i++] = item.frame;
  }
  return true;
}

/* The publisher's whole life by orders, which it may not survive. */
static bool
publisher_lives (Child *publisher)
{
  return child_ask (publisher, "publish 20") >= 0 && child_ask (publisher, "ring %u", SLOTS) == 0 && child_ask (publisher, "publish 20") >= 0;
}

static void
resume (CuframesSubscriber *subscriber, Child *other)
{
  Child publisher;

  child_start (&publisher, NULL, "publisher", NULL);
  child_say (other, "connect cam");
  REQUIRE (child_ask (&publisher, "open cam") == 0);
  REQUIRE (child_ask (&publisher, "ring %u", SLOTS) == 0);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, FIXTURE_BOUND_NS), 0);
  CHECK_EQUAL (child_answer (other), 0);
  CHECK_EQUAL (child_ask (&publisher, "publish 3"), 3);
  CHECK (take_until (subscriber, CUFRAMES_ITEM_FRAME, 3));
  CHECK_EQUAL (child_ask (other, "take 1"), 1);
  CHECK_EQUAL (child_ask (&publisher, "close"), 0);
  CHECK (take_until (subscriber, CUFRAMES_ITEM_DISCONNECTED, 0));
  CHECK_EQUAL (child_end (&publisher), 0);
}

static void
publisher_dies_at (unsigned point, unsigned visit)
{
  char environment[128];
  Child publisher, other;
  CuframesSubscriber *subscriber;
  CuframesFrame *held[2] = { NULL, NULL };

  snprintf (environment, sizeof environment, "CUFRAMES_DIE_AT=%s:%u", points[point], visit);
  child_start (&publisher, environment, "publisher", NULL);
  REQUIRE (child_ask (&publisher, "open cam") == 0 && child_ask (&publisher, "ring %u", SLOTS) == 0);
  child_start (&other, NULL, "subscriber", NULL);
  CHECK_EQUAL (child_ask (&other, "connect cam next"), 0);
  child_say (&other, "take 1000");      /* most of the time it sleeps */
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  child_say (&publisher, "publish 2");
  if (hold_two (subscriber, held) && child_answer (&publisher) == 2 && publisher_lives (&publisher))
    CHECK_EQUAL (child_end (&publisher), 0);
  else {
    int status = child_wait (&publisher);
    reached[point] = WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL;
    CHECK (reached[point]);
  }
  if (cuframes_subscriber_peek_fd (subscriber) >= 0)
    CHECK (take_until (subscriber, CUFRAMES_ITEM_DISCONNECTED, 0));
  CHECK_EQUAL (child_answer (&other), -100);
  for (int i = 0; i < 2; i++)
    CHECK (held[i] == NULL || frame_is_whole (held[i]));
  resume (subscriber, &other);
  for (int i = 0; i < 2; i++) {
    CHECK (held[i] == NULL || frame_is_whole (held[i]));
    cuframes_frame_unref (held[i]);
  }
  cuframes_subscriber_free (subscriber);
  CHECK_EQUAL (child_end (&other), 0);
}

static void
a_publisher_may_die_anywhere (void)
{
  find_points ();
  CHECK (point_count >= 11);
  for (unsigned i = 0; i < point_count; i++) {
    publisher_dies_at (i, 1);
    if (reached[i])
      publisher_dies_at (i, 8);
  }
}

/* All of the ring's slots can be had. */
static void
check_all_slots (Source *source)
{
  uint32_t slots[SLOTS];

  for (uint32_t i = 0; i < SLOTS; i++)
    CHECK_EQUAL (cuframes_ring_claim (source->ring, 0, &slots[i]), 0);
  for (uint32_t i = 0; i < SLOTS; i++)
    cuframes_ring_release (source->ring, slots[i]);
}

static void
subscriber_ends_at (unsigned point, unsigned visit, bool stop)
{
  CuframesSubscriberConfig config = {.start = CUFRAMES_START_NEXT };
  CuframesSubscriber *witness;
  char environment[128];
  Source source;
  Child child;

  snprintf (environment, sizeof environment, "CUFRAMES_%s_AT=%s:%u", stop ? "STOP" : "DIE", points[point], visit);
  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, SLOTS, 1, "f") == 0);
  witness = sink_open ("cam", &config);
  REQUIRE (witness != NULL);
  child_start (&child, environment, "subscriber", NULL);
  REQUIRE (child_ask (&child, "connect cam next") == 0);
  child_say (&child, "take 10");
  while (!is_stopped (child.pid) && !has_died (child.pid) && !child_has_answered (&child)) {
    CHECK_EQUAL (source_publish (&source), 0);
    CHECK (take_until (witness, CUFRAMES_ITEM_FRAME, source.number));
    fixture_yield ();
  }
  if (has_died (child.pid) || is_stopped (child.pid))
    reached[point] = true;
  /* nobody else notices */
  for (int i = 0; i < 50; i++) {
    CHECK_EQUAL (source_publish (&source), 0);
    CHECK (take_until (witness, CUFRAMES_ITEM_FRAME, source.number));
  }
  if (stop) {
    kill (child.pid, SIGCONT);
    for (uint64_t end = fixture_now_ns () + FIXTURE_BOUND_NS; fixture_now_ns () < end && !child_has_answered (&child); fixture_yield ())
      CHECK_EQUAL (source_publish (&source), 0);
    CHECK_EQUAL (child_answer (&child), 10);
    CHECK_EQUAL (child_end (&child), 0);
  } else
    child_kill (&child);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 1));
  CHECK_EQUAL (get_stats (&source).slots_leased, 0);
  check_all_slots (&source);
  cuframes_subscriber_free (witness);
  source_close (&source);
}

static void
a_subscriber_may_die_anywhere (void)
{
  for (unsigned i = 0; i < point_count; i++) {
    subscriber_ends_at (i, 1, false);
    subscriber_ends_at (i, 3, false);
  }
}

static void
a_subscriber_may_stop_anywhere (void)
{
  for (unsigned i = 0; i < point_count; i++)
    subscriber_ends_at (i, 2, true);
}

/* By some a publisher comes only if a subscriber sleeps just then. */
static void
every_test_point_was_reached (void)
{
  for (unsigned i = 0; i < point_count; i++) {
    for (unsigned tries = 0; tries < TRIES && !reached[i]; tries++)
      publisher_dies_at (i, 1);
    if (!reached[i])
      fixture_fail (__FILE__, __LINE__, points[i], "some process came by this test point");
  }
}

static const FixtureTest tests[] = {
  {"a publisher may die at any test point: frames that are held stay, and all resume with the next one", a_publisher_may_die_anywhere},
  {"a subscriber may die at any test point: every slot comes back and nobody notices", a_subscriber_may_die_anywhere},
  {"a subscriber may stop at any test point and go on later", a_subscriber_may_stop_anywhere},
  {"every test point was reached", every_test_point_was_reached},
};

FIXTURE_MAIN (tests, NULL, 0)
