/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is let in, and what each side is told of the other: the application's callbacks, connections that are handed over, observers and
 * refusals. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core-fixture.h"
#include "cuframes-wire.h"

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

typedef struct
{
  pthread_mutex_t lock;
  unsigned keyframes, headers, added, removed, logged;
  uint32_t last_id;
} Told;

static void
on_added (void *user_data, const CuframesSubscriberStats *subscriber)
{
  Told *told = user_data;

  pthread_mutex_lock (&told->lock);
  told->added++;
  told->last_id = subscriber->id;
  pthread_mutex_unlock (&told->lock);
}

static void
on_removed (void *user_data, const CuframesSubscriberStats *subscriber)
{
  Told *told = user_data;

  pthread_mutex_lock (&told->lock);
  told->removed += subscriber->id <= told->last_id;
  pthread_mutex_unlock (&told->lock);
}

static void
on_keyframe (void *user_data, bool all_headers)
{
  Told *told = user_data;

  pthread_mutex_lock (&told->lock);
  told->keyframes++;
  told->headers += all_headers;
  pthread_mutex_unlock (&told->lock);
}

static void
on_log (void *user_data, const char *text)
{
  Told *told = user_data;

  (void) text;
  __atomic_fetch_add (&told->logged, 1, __ATOMIC_RELAXED);
}

static const CuframesPublisherCallbacks callbacks = { on_added, on_removed, on_keyframe, on_log };

static unsigned
read_told (Told *told, const unsigned *counter)
{
  unsigned value;

  pthread_mutex_lock (&told->lock);
  value = *counter;
  pthread_mutex_unlock (&told->lock);
  return value;
}

static void
the_application_is_told (void)
{
  Told told = {.lock = PTHREAD_MUTEX_INITIALIZER };
  const CuframesPublisherConfig config = {.callbacks = &callbacks,.user_data = &told };
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  Source source;

  REQUIRE (source_open (&source, "cam", &config) == 0 && source_start_ring (&source, 4, 1, "f") == 0 && source_publish (&source) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK (WAIT_UNTIL (read_told (&told, &told.added) == 1));
  CHECK_EQUAL (cuframes_subscriber_request_keyframe (subscriber, false), 0);
  CHECK (WAIT_UNTIL (read_told (&told, &told.keyframes) == 1));
  CHECK_EQUAL (told.headers, 0);
  CHECK_EQUAL (cuframes_subscriber_request_keyframe (subscriber, true), 0);
  CHECK (WAIT_UNTIL (read_told (&told, &told.headers) == 1));
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (subscriber, &item) == 0);
  cuframes_subscriber_free (subscriber);
  /* it holds a frame: so it has not gone */
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 1));
  CHECK_EQUAL (read_told (&told, &told.removed), 0);
  CHECK (frame_is_whole (item.frame));
  cuframes_frame_unref (item.frame);
  CHECK (WAIT_UNTIL (read_told (&told, &told.removed) == 1));
  source_close (&source);
}

static void
connections_can_be_handed_over (void)
{
  CuframesSubscriberConfig config = {.socket_path = "unused" };
  CuframesSubscriber *subscribers[20];
  CuframesItem item;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0 && source_publish (&source) == 0);
  for (int i = 0; i < 20; i++) {
    int fds[2];
    REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    REQUIRE (cuframes_subscriber_new (&config, &subscribers[i]) == 0);
    CHECK_EQUAL (cuframes_publisher_adopt (source.publisher, fds[0]), 0);
    CHECK_EQUAL (cuframes_subscriber_adopt (subscribers[i], fds[1], FIXTURE_BOUND_NS), 0);
  }
  for (int i = 0; i < 20; i++) {
    CHECK (sink_expect (subscribers[i], CUFRAMES_ITEM_CONNECTED, &item));
    CHECK (sink_expect (subscribers[i], CUFRAMES_ITEM_FORMAT, &item));
    REQUIRE (sink_expect (subscribers[i], CUFRAMES_ITEM_FRAME, &item));
    CHECK (frame_is_whole (item.frame));
    cuframes_frame_unref (item.frame);
    cuframes_subscriber_free (subscribers[i]);
  }
  source_close (&source);
}

static void
what_is_handed_over_may_be_broken (void)
{
  CuframesSubscriberConfig config = {.socket_path = "unused" };
  CuframesSubscriber *subscriber;
  Source source;
  int fds[2], pipes[2];

  REQUIRE (source_open (&source, "cam", NULL) == 0 && cuframes_subscriber_new (&config, &subscriber) == 0);
  REQUIRE (pipe (pipes) == 0 && socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
  CHECK_EQUAL (cuframes_publisher_adopt (source.publisher, pipes[0]), 0);
  CHECK (cuframes_subscriber_adopt (subscriber, pipes[1], FIXTURE_BOUND_NS) != 0);
  close (fds[0]);
  CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, fds[1], FIXTURE_BOUND_NS), CUFRAMES_E_CLOSED);
  REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
  CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, fds[1], 20000000), CUFRAMES_E_TIMEOUT);
  close (fds[0]);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

/* Neither side has a path, and each takes its time. */
static void
connections_alone_are_enough (void)
{
  const CuframesPublisherConfig nowhere = { 0 };
  const CuframesSubscriberConfig config = { 0 };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source = {.slot_bytes = FIXTURE_SLOT_BYTES };
  unsigned entries = 0;
  DIR *directory;
  int fds[2];

  REQUIRE (cuframes_publisher_new (&nowhere, &source.publisher) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  directory = opendir (fixture_directory ());
  while (directory != NULL && readdir (directory) != NULL)
    entries++;
  closedir (directory);
  CHECK_EQUAL (entries, 2);
  REQUIRE (cuframes_subscriber_new (&config, &subscriber) == 0 && socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
  CHECK_EQUAL (cuframes_subscriber_connect (subscriber, 0), -EINVAL);
  CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, -1, 0), CUFRAMES_E_ABSENT);
  CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, fds[1], 1000000), CUFRAMES_E_TIMEOUT);
  cuframes_subscriber_cancel (subscriber, true);
  CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, -1, CUFRAMES_NONE), CUFRAMES_E_CANCELLED);
  cuframes_subscriber_cancel (subscriber, false);
  CHECK_EQUAL (cuframes_publisher_adopt (source.publisher, fds[0]), 0);
  CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, -1, FIXTURE_BOUND_NS), 0);
  CHECK (source_publish (&source) == 0);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  CHECK (frame_is_whole (item.frame));
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
an_observer_sees_and_takes_no_place (void)
{
  const CuframesPublisherConfig config = {.max_subscribers = 2 };
  const CuframesSubscriberConfig named = {.name = "a viewer" };
  CuframesSubscriberStats subscribers[8];
  CuframesPublisherStats stats;
  CuframesSubscriber *first, *second;
  CuframesItem item = { 0 };
  uint32_t count = 0;
  Source source;
  bool seen = false;

  CHECK_EQUAL (cuframes_observe (fixture_socket ("cam"), 10000000, &stats, subscribers, 8, &count), CUFRAMES_E_TIMEOUT);
  REQUIRE (source_open (&source, "cam", &config) == 0 && source_start_ring (&source, 6, 1, "f") == 0 && source_publish (&source) == 0);
  first = sink_open ("cam", &named);
  second = sink_open ("cam", NULL);
  REQUIRE (first != NULL && second != NULL);
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (first, &item) == 0);
  for (int i = 0; i < 50; i++)
    CHECK_EQUAL (cuframes_observe (fixture_socket ("cam"), FIXTURE_BOUND_NS, &stats, subscribers, 8, &count), 0);
  CHECK_EQUAL (stats.subscribers, 2);
  CHECK_EQUAL (stats.frames, 1);
  CHECK_EQUAL (stats.slots, 6);
  CHECK_EQUAL (stats.slots_leased, 1);
  CHECK_EQUAL (stats.bytes, FIXTURE_SLOT_BYTES);
  CHECK (stats.memory_bytes >= 6 * FIXTURE_SLOT_BYTES);
  CHECK (count >= 3);
  for (uint32_t i = 0; i < count; i++)
    if (strcmp (subscribers[i].name, "a viewer") == 0) {
      seen = true;
      CHECK_EQUAL (subscribers[i].pid, getpid ());
      CHECK_EQUAL (subscribers[i].leases_held, 1);
      CHECK_EQUAL (subscribers[i].delivered, 1);
      CHECK_EQUAL (subscribers[i].observer, 0);
    }
  CHECK (seen);
  CHECK_EQUAL (cuframes_observe (fixture_socket ("cam"), FIXTURE_BOUND_NS, &stats, subscribers, 1, &count), 0);
  CHECK_EQUAL (count, 1);
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (first);
  cuframes_subscriber_free (second);
  source_close (&source);
}

static void
refusals_say_why (void)
{
  const CuframesPublisherConfig config = {.max_subscribers = 1 };
  CuframesSubscriberConfig other = {.socket_path = fixture_socket ("cam") };
  CuframesSubscriber *subscriber, *refused;
  char text[CUFRAMES_TEXT_BYTES];
  Source source;
  int fd;

  REQUIRE (source_open (&source, "cam", &config) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL && cuframes_subscriber_new (&other, &refused) == 0);
  CHECK_EQUAL (cuframes_subscriber_connect (refused, FIXTURE_BOUND_NS), CUFRAMES_E_REFUSED);
  CHECK (strstr (cuframes_subscriber_get_refusal (refused), "max-subscribers") != NULL);
  cuframes_subscriber_free (subscriber);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  CHECK_EQUAL (cuframes_subscriber_connect (refused, FIXTURE_BOUND_NS), 0);
  cuframes_subscriber_free (refused);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  fd = raw_connect ("cam");
  CHECK (raw_hello (fd, 2, 7, 2));
  CHECK_EQUAL (raw_next (fd, text, sizeof text), CUFRAMES_MESSAGE_REFUSED);
  CHECK (strstr (text, "version 1") != NULL && strstr (text, "2 to 7") != NULL);
  CHECK (raw_is_closed (fd));
  close (fd);
  fd = raw_connect ("cam");
  CHECK (raw_hello (fd, 1, 1, 1u << CUFRAMES_MEMORY_CUDA));
  CHECK_EQUAL (raw_next (fd, text, sizeof text), CUFRAMES_MESSAGE_REFUSED);
  CHECK (strstr (text, "host memory") != NULL);
  close (fd);
  CHECK (WAIT_UNTIL (get_stats (&source).refused == 3));
  source_close (&source);
}

/* A publisher with few descriptors: lets in whom it can and says why it does not. */
static int
play_pauper (int argc, char **argv)
{
  const struct rlimit few = { 32, 32 };
  const unsigned fds = fixture_count_fds ();
  CuframesPublisherStats stats;
  Source source;
  char line[64];

  (void) argc;
  (void) argv;
  if (setrlimit (RLIMIT_NOFILE, &few) != 0 || source_open (&source, "cam", NULL) != 0 || source_start_ring (&source, 4, 1, "f") != 0)
    return 2;
  printf ("0\n");
  while (fgets (line, sizeof line, stdin) != NULL) {
    int r = source_publish (&source);
    cuframes_publisher_get_stats (source.publisher, &stats);
    printf ("%d\n", r != 0 ? -1 : (int) stats.subscribers);
  }
  source_close (&source);
  printf ("%d\n", (int) (fixture_count_fds () - fds));
  return 0;
}

static void
without_descriptors_a_publisher_refuses_and_lives (void)
{
  CuframesSubscriber *subscribers[20] = { NULL };
  CuframesSubscriberConfig config = {.socket_path = fixture_socket ("cam") };
  CuframesItem item;
  uint32_t in = 0, refused = 0;
  Child child;

  child_start (&child, NULL, "pauper", NULL);
  REQUIRE (child_answer (&child) == 0);
  for (int i = 0; i < 20; i++) {
    int r;
    REQUIRE (cuframes_subscriber_new (&config, &subscribers[i]) == 0);
    r = cuframes_subscriber_connect (subscribers[i], 2000000000);
    in += r == 0;
    refused += r == CUFRAMES_E_REFUSED;
    if (r == CUFRAMES_E_REFUSED)
      CHECK (strstr (cuframes_subscriber_get_refusal (subscribers[i]), "ulimit -n") != NULL);
  }
  CHECK (in >= 4);
  CHECK_EQUAL (in + refused, 20);
  CHECK_EQUAL (child_ask (&child, "publish"), in);
  for (int i = 0; i < 20; i++)
    if (cuframes_subscriber_peek_fd (subscribers[i]) >= 0) {
      CHECK (sink_expect (subscribers[i], CUFRAMES_ITEM_CONNECTED, &item));
      CHECK (sink_expect (subscribers[i], CUFRAMES_ITEM_FORMAT, &item));
      CHECK (sink_expect (subscribers[i], CUFRAMES_ITEM_FRAME, &item));
      cuframes_frame_unref (item.frame);
    }
  /* when some leave there is room again */
  for (int i = 0; i < 20; i++)
    subscribers[i] = cuframes_subscriber_free (subscribers[i]);
  CHECK (WAIT_UNTIL (child_ask (&child, "publish") == 0));
  subscribers[0] = sink_open ("cam", NULL);
  CHECK (subscribers[0] != NULL);
  cuframes_subscriber_free (subscribers[0]);
  close (child.in);
  child.in = -1;
  CHECK_EQUAL (child_answer (&child), 0);
  CHECK_EQUAL (child_wait (&child), 0);
}

static const FixtureRole roles[] = { {"pauper", play_pauper} };

static const FixtureTest tests[] = {
  {"the application is told who comes and goes and wants a key frame", the_application_is_told},
  {"connections can be handed over", connections_can_be_handed_over},
  {"what is handed over may be broken", what_is_handed_over_may_be_broken},
  {"a publisher that listens nowhere and a subscriber without a path meet over a connection", connections_alone_are_enough},
  {"an observer sees everything and takes nobody's place", an_observer_sees_and_takes_no_place},
  {"refusals say why", refusals_say_why},
  {"without descriptors a publisher refuses with a reason, and lives on", without_descriptors_a_publisher_refuses_and_lives},
};

FIXTURE_MAIN (tests, roles, 1)
