/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Children that are forked without exec while threads of the parent are at work in what the children inherit, and that free it. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"

#define FORKS 300
#define EARLY_FORKS 1000
#define CHILD_BOUND_S 5

static atomic_bool stopping;

static void *
publish_all_the_time (void *data)
{
  while (!atomic_load (&stopping))
    source_publish (data);
  return NULL;
}

static void *
wait_all_the_time (void *data)
{
  Source *source = data;

  while (!atomic_load (&stopping))
    cuframes_publisher_wait_subscribers (source->publisher, 5, 10000000);
  return NULL;
}

static void *
ask_all_the_time (void *data)
{
  CuframesPublisherStats stats;
  Source *source = data;

  while (!atomic_load (&stopping))
    cuframes_publisher_get_stats (source->publisher, &stats);
  return NULL;
}

/* Whether some child that freed what it inherited did not end. */
static int
count_hung (Source *source)
{
  int hung = 0;

  for (int i = 0; i < FORKS; i++) {
    int status = 0;
    const pid_t pid = fork ();
    if (pid == 0) {
      signal (SIGALRM, SIG_DFL);
      alarm (CHILD_BOUND_S);
      source_close (source);
      _exit (0);
    }
    waitpid (pid, &status, 0);
    if (!WIFEXITED (status) || WEXITSTATUS (status) != 0)
      hung++;
    /* One says it all. */
    if (hung > 0)
      break;
  }
  return hung;
}

/* Says how many hung, and whether the publisher is as it was. */
static int
play_parent (int argc, char **argv)
{
  void *(*const works[]) (void *) = { publish_all_the_time, wait_all_the_time, ask_all_the_time };
  pthread_t threads[3];
  Source source;
  int hung;

  if (source_open (&source, "cam", NULL) != 0 || source_start_ring (&source, 4, 1, "f") != 0)
    return 3;
  for (int i = 0; i < 3; i++)
    if (pthread_create (&threads[i], NULL, works[i], &source) != 0)
      return 4;
  hung = count_hung (&source);
  atomic_store (&stopping, true);
  for (int i = 0; i < 3; i++)
    pthread_join (threads[i], NULL);
  printf ("%d\n", hung);
  source_close (&source);
  return 0;
}

static void
children_of_a_busy_publisher_can_free_it (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  Child child;

  child_start (&child, NULL, "parent", NULL);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  while (item.kind != CUFRAMES_ITEM_DISCONNECTED && cuframes_subscriber_next (subscriber, FIXTURE_BOUND_NS, &item) == 0) {
    CHECK (item.kind != CUFRAMES_ITEM_FRAME || frame_is_whole (item.frame));
    cuframes_frame_unref (item.frame);
    item.frame = NULL;
  }
  CHECK_EQUAL (child_answer (&child), 0);
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_SHUTDOWN);
  CHECK_EQUAL (child_end (&child), 0);
  cuframes_subscriber_free (subscriber);
}

static void *
open_all_the_time (void *data)
{
  Source source;

  while (!atomic_load (&stopping))
    if (source_open (&source, "own", NULL) == 0)
      source_close (&source);
  return NULL;
}

/* Whether this process has a listening socket. */
static bool
listens (void)
{
  for (int fd = 3; fd < 64; fd++) {
    int listening = 0;
    socklen_t length = sizeof listening;
    if (getsockopt (fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && listening)
      return true;
  }
  return false;
}

/* In a process of its own, since its children have its threads' locks as they were. How many of them kept something. */
static int
play_opener (int argc, char **argv)
{
  pthread_t thread;
  int kept = 0;

  if (pthread_create (&thread, NULL, open_all_the_time, NULL) != 0)
    return 1;
  for (int i = 0; i < EARLY_FORKS; i++) {
    int status = 0;
    const pid_t pid = fork ();
    if (pid == 0)
      _exit (listens ());
    if (waitpid (pid, &status, 0) != pid || status != 0)
      kept++;
  }
  atomic_store (&stopping, true);
  pthread_join (thread, NULL);
  printf ("%d\n", kept);
  return 0;
}

static void
children_keep_nothing_however_early_they_come (void)
{
  Child child;

  child_start (&child, NULL, "opener", NULL);
  CHECK_EQUAL (child_answer (&child), 0);
  CHECK_EQUAL (child_end (&child), 0);
}

static const FixtureRole roles[] = { {"parent", play_parent}, {"opener", play_opener} };

static const FixtureTest tests[] = {
  {"children that are forked while a publisher is at work can free it, and disturb nobody", children_of_a_busy_publisher_can_free_it},
  {"children that are forked while a channel is opened keep nothing of it", children_keep_nothing_however_early_they_come},
};

FIXTURE_MAIN (tests, roles, 2)
