/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whose channel it is: second publishers, what dead ones leave, what lies in the way, and children that are forked without exec. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"

static int
try_open (const char *path, CuframesPublisher **ret_publisher)
{
  const CuframesPublisherConfig config = {.socket_path = path };

  return cuframes_publisher_new (&config, ret_publisher);
}

static bool
is_there (const char *path)
{
  struct stat status;

  return lstat (path, &status) == 0;
}

static void
write_file (const char *path, const char *text)
{
  int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  if (fd < 0 || write (fd, text, strlen (text)) < 0)
    abort ();
  close (fd);
}

static bool
file_holds (const char *path, const char *text)
{
  char buffer[64] = { 0 };
  int fd = open (path, O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : read (fd, buffer, sizeof buffer - 1);

  close (fd);
  return got >= 0 && strcmp (buffer, text) == 0;
}

static void
a_second_publisher_disturbs_nobody (void)
{
  CuframesPublisher *second = NULL;
  CuframesSubscriber *subscriber;
  CuframesPublisherStats stats;
  CuframesItem item;
  Source source;
  Child other;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  child_start (&other, NULL, "publisher", NULL);
  for (int i = 0; i < 20; i++) {
    CHECK_EQUAL (try_open (fixture_socket ("cam"), &second), -EADDRINUSE);
    CHECK_EQUAL (child_ask (&other, "open cam"), -EADDRINUSE);
  }
  CHECK (second == NULL);
  kill (other.pid, SIGKILL);
  child_wait (&other);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  cuframes_frame_unref (item.frame);
  cuframes_publisher_get_stats (source.publisher, &stats);
  CHECK_EQUAL (stats.subscribers, 1);
  CHECK_EQUAL (stats.refused, 0);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
a_second_publisher_fails_even_while_the_first_is_stopped (void)
{
  CuframesPublisher *second = NULL;
  Child first;

  child_start (&first, NULL, "publisher", NULL);
  REQUIRE (child_ask (&first, "open cam") == 0);
  kill (first.pid, SIGSTOP);
  CHECK_EQUAL (try_open (fixture_socket ("cam"), &second), -EADDRINUSE);
  kill (first.pid, SIGCONT);
  CHECK_EQUAL (child_end (&first), 0);
}

static void
an_abstract_channel_has_one_publisher_too (void)
{
  CuframesPublisher *first, *second = NULL;
  CuframesSubscriber *subscriber;
  char name[64];

  snprintf (name, sizeof name, "@cuframes-test-%d", (int) getpid ());
  REQUIRE (try_open (name, &first) == 0);
  CHECK_EQUAL (try_open (name, &second), -EADDRINUSE);
  subscriber = sink_open (name, NULL);
  CHECK (subscriber != NULL);
  cuframes_subscriber_free (subscriber);
  cuframes_publisher_free (first);
  CHECK_EQUAL (try_open (name, &second), 0);
  cuframes_publisher_free (second);
}

static void
nothing_is_left_of_a_channel_that_was_closed (void)
{
  CuframesPublisher *publisher;

  REQUIRE (try_open (fixture_socket ("cam"), &publisher) == 0);
  CHECK (is_there (fixture_socket ("cam")));
  cuframes_publisher_free (publisher);
  CHECK (rmdir (fixture_directory ()) == 0 && mkdir (fixture_directory (), 0700) == 0);
}

static void
what_a_dead_publisher_left_is_replaced (void)
{
  CuframesPublisher *publisher;
  Child child;

  for (int i = 0; i < 5; i++) {
    child_start (&child, NULL, "publisher", NULL);
    REQUIRE (child_ask (&child, "open cam") == 0);
    child_kill (&child);
    CHECK (is_there (fixture_socket ("cam")));
  }
  CHECK_EQUAL (try_open (fixture_socket ("cam"), &publisher), 0);
  cuframes_publisher_free (publisher);
  CHECK (!is_there (fixture_socket ("cam")));
}

static void
a_socket_of_another_kind_of_server_is_left_alone (void)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX };
  CuframesPublisher *publisher = NULL;
  int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

  strcpy (address.sun_path, fixture_socket ("cam"));
  REQUIRE (bind (fd, (struct sockaddr *) &address, sizeof address) == 0 && listen (fd, 1) == 0);
  CHECK_EQUAL (try_open (fixture_socket ("cam"), &publisher), -EADDRINUSE);
  CHECK (is_there (fixture_socket ("cam")));
  close (fd);
  CHECK_EQUAL (try_open (fixture_socket ("cam"), &publisher), 0);
  cuframes_publisher_free (publisher);
}

static void
what_lies_in_the_way_stays (void)
{
  const char *path = fixture_socket ("cam");
  CuframesPublisher *publisher = NULL;

  write_file (path, "precious");
  CHECK_EQUAL (try_open (path, &publisher), -EEXIST);
  CHECK (file_holds (path, "precious"));
  unlink (path);
  REQUIRE (mkdir (path, 0700) == 0);
  CHECK_EQUAL (try_open (path, &publisher), -EEXIST);
  rmdir (path);
  REQUIRE (mkfifo (path, 0600) == 0);
  CHECK_EQUAL (try_open (path, &publisher), -EEXIST);
  unlink (path);
  CHECK_EQUAL (try_open (path, &publisher), 0);
  cuframes_publisher_free (publisher);
}

static void
a_planted_link_is_not_followed (void)
{
  static const char *const suffixes[] = { "", "~", ".lock" };
  const char *target = fixture_path ("target"), *missing = fixture_path ("missing"), *path = fixture_socket ("cam");
  CuframesPublisher *publisher = NULL;
  struct stat status;

  write_file (target, "precious");
  for (int i = 0; i < 3; i++) {
    char link[256];
    snprintf (link, sizeof link, "%s%s", path, suffixes[i]);
    REQUIRE (symlink (target, link) == 0);
    CHECK_EQUAL (try_open (path, &publisher), -EEXIST);
    CHECK (unlink (link) == 0);
    REQUIRE (symlink (missing, link) == 0);
    CHECK_EQUAL (try_open (path, &publisher), -EEXIST);
    CHECK (unlink (link) == 0);
  }
  CHECK (!is_there (missing));
  CHECK (file_holds (target, "precious"));
  CHECK (stat (target, &status) == 0 && (status.st_mode & 07777) == 0600);
  CHECK_EQUAL (try_open (path, &publisher), 0);
  cuframes_publisher_free (publisher);
}

static void
the_socket_has_the_mode_it_was_told (void)
{
  static const uint32_t modes[] = { 0, 0600, 0660, 0666 };
  const mode_t mask = umask (077);

  for (int i = 0; i < 4; i++) {
    const CuframesPublisherConfig config = {.socket_path = fixture_socket ("cam"),.socket_mode = modes[i] };
    CuframesPublisher *publisher;
    struct stat status;
    REQUIRE (cuframes_publisher_new (&config, &publisher) == 0);
    CHECK (stat (config.socket_path, &status) == 0);
    CHECK_EQUAL (status.st_mode & 0777, modes[i] == 0 ? 0600 : modes[i]);
    cuframes_publisher_free (publisher);
  }
  umask (mask);
}

static void
bad_places_are_named_by_their_error (void)
{
  char path[300], channel[200];
  CuframesPublisher *publisher = NULL;
  const CuframesPublisherConfig too_many = {.socket_path = fixture_socket ("cam"),.max_subscribers = CUFRAMES_SUBSCRIBERS_MAX + 1 };

  memset (path, 'x', sizeof path);
  path[0] = '/';
  path[150] = 0;
  CHECK_EQUAL (try_open (path, &publisher), -ENAMETOOLONG);
  CHECK_EQUAL (try_open (fixture_path ("no/such/directory/cam.sock"), &publisher), -ENOENT);
  CHECK_EQUAL (try_open ("/proc/cam.sock", &publisher), -ENOENT);
  CHECK_EQUAL (try_open ("", &publisher), -ENOENT);
  CHECK_EQUAL (try_open ("@", &publisher), -EINVAL);
  CHECK_EQUAL (cuframes_publisher_new (&too_many, &publisher), -EINVAL);
  write_file (fixture_path ("file"), "x");
  CHECK_EQUAL (try_open (fixture_path ("file/cam.sock"), &publisher), -ENOTDIR);
  CHECK_EQUAL (cuframes_channel_path ("", path, sizeof path), -EINVAL);
  CHECK_EQUAL (cuframes_channel_path ("../cam", path, sizeof path), -EINVAL);
  CHECK_EQUAL (cuframes_channel_path (".cam", path, sizeof path), -EINVAL);
  CHECK_EQUAL (cuframes_channel_path ("@cam", path, sizeof path), -EINVAL);
  memset (channel, 'c', sizeof channel - 1);
  channel[sizeof channel - 1] = 0;
  CHECK_EQUAL (cuframes_channel_path (channel, path, sizeof path), -ENAMETOOLONG);
  CHECK_EQUAL (cuframes_channel_path ("cam", path, 5), -ENAMETOOLONG);
  CHECK (publisher == NULL);
}

static void
a_long_path_works (void)
{
  CuframesPublisher *publisher = NULL;
  CuframesSubscriber *subscriber;
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  int r;

  snprintf (path, sizeof path, "%s/", fixture_directory ());
  memset (path + strlen (path), 'p', sizeof path - 2 - strlen (path));
  path[sizeof path - 2] = 0;
  r = try_open (path, &publisher);
  CHECK_EQUAL (r, 0);
  subscriber = sink_open (path, NULL);
  CHECK (subscriber != NULL);
  cuframes_subscriber_free (subscriber);
  cuframes_publisher_free (publisher);
}

/* A publisher or a subscriber that forks a child, which outlives it without knowing. The child says its number. */
static int
play_forker (int argc, char **argv)
{
  CuframesSubscriber *subscriber = NULL;
  CuframesItem item = { 0 };
  Source source = { 0 };
  pid_t pid;

  if (argc > 0 && strcmp (argv[0], "publisher") == 0) {
    if (source_open (&source, "cam", NULL) != 0 || source_start_ring (&source, 4, 1, "f") != 0
        || cuframes_publisher_wait_subscribers (source.publisher, 1, FIXTURE_BOUND_NS) != 0 || source_publish (&source) != 0)
      return 3;
  } else {
    subscriber = sink_open ("cam", NULL);
    while (subscriber != NULL && item.kind != CUFRAMES_ITEM_FRAME)
      if (sink_next (subscriber, &item) != 0)
        return 4;
  }
  pid = fork ();
  if (pid == 0) {
    if (argc > 1) {             /* it tidies up what it inherited */
      cuframes_frame_unref (item.frame);
      cuframes_subscriber_free (subscriber);
      source_close (&source);
      printf ("0\n");
      fflush (stdout);
    }
    for (;;)
      pause ();
  }
  printf ("%d\n", (int) pid);
  fflush (stdout);
  pause ();
  return 0;
}

static void
a_forked_child_keeps_no_channel_alive (void)
{
  CuframesPublisher *publisher;
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  Child child;
  pid_t grandchild;

  child_start (&child, NULL, "forker", "publisher", NULL);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  grandchild = (pid_t) child_answer (&child);
  REQUIRE (grandchild > 0);
  child_kill (&child);
  CHECK (kill (grandchild, 0) == 0);
  while (item.kind != CUFRAMES_ITEM_DISCONNECTED) {
    REQUIRE (sink_next (subscriber, &item) == 0);
    cuframes_frame_unref (item.frame);
  }
  CHECK_EQUAL (item.bye, 0);
  CHECK_EQUAL (try_open (fixture_socket ("cam"), &publisher), 0);
  cuframes_publisher_free (publisher);
  cuframes_subscriber_free (subscriber);
  kill (grandchild, SIGKILL);
}

static void
a_forked_child_keeps_no_leases_alive (void)
{
  CuframesPublisherStats stats;
  pid_t grandchild;
  Source source;
  Child child;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0 && source_publish (&source) == 0);
  child_start (&child, NULL, "forker", "subscriber", NULL);
  grandchild = (pid_t) child_answer (&child);
  REQUIRE (grandchild > 0);
  cuframes_publisher_get_stats (source.publisher, &stats);
  CHECK_EQUAL (stats.slots_leased, 1);
  child_kill (&child);
  CHECK (kill (grandchild, 0) == 0);
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 0));
  CHECK_EQUAL (stats.slots_leased, 0);
  kill (grandchild, SIGKILL);
  source_close (&source);
}

static void
a_forked_child_that_tidies_up_gives_nothing_away (void)
{
  CuframesPublisherStats stats;
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  pid_t grandchild;
  Source source;
  Child child;
  long a, b;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0 && source_publish (&source) == 0);
  child_start (&child, NULL, "forker", "subscriber", "tidy", NULL);
  a = child_answer (&child);
  b = child_answer (&child);
  grandchild = (pid_t) (a + b);
  REQUIRE (a >= 0 && b >= 0 && grandchild > 0);
  cuframes_publisher_get_stats (source.publisher, &stats);
  CHECK_EQUAL (stats.slots_leased, 1);
  CHECK_EQUAL (stats.subscribers, 1);
  kill (grandchild, SIGKILL);
  child_kill (&child);
  CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.subscribers) == 0));
  source_close (&source);
  /* and a publisher's */
  child_start (&child, NULL, "forker", "publisher", "tidy", NULL);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  a = child_answer (&child);
  b = child_answer (&child);
  grandchild = (pid_t) (a + b);
  REQUIRE (a >= 0 && b >= 0 && grandchild > 0);
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (subscriber, &item) == 0);
  cuframes_frame_unref (item.frame);
  CHECK_EQUAL (cuframes_subscriber_next (subscriber, 20000000, &item), CUFRAMES_E_TIMEOUT);
  CHECK (is_there (fixture_socket ("cam")));
  kill (grandchild, SIGKILL);
  child_kill (&child);
  cuframes_subscriber_free (subscriber);
}

static const FixtureRole roles[] = { {"forker", play_forker} };

static const FixtureTest tests[] = {
  {"a second publisher gets -EADDRINUSE and disturbs nobody", a_second_publisher_disturbs_nobody},
  {"a second publisher fails even while the first is stopped", a_second_publisher_fails_even_while_the_first_is_stopped},
  {"an abstract channel has one publisher too", an_abstract_channel_has_one_publisher_too},
  {"nothing is left of a channel that was closed", nothing_is_left_of_a_channel_that_was_closed},
  {"what a dead publisher left is replaced", what_a_dead_publisher_left_is_replaced},
  {"a socket on which another kind of server listens is left alone", a_socket_of_another_kind_of_server_is_left_alone},
  {"what lies in the way is no socket and stays", what_lies_in_the_way_stays},
  {"a planted symbolic link is not followed", a_planted_link_is_not_followed},
  {"the socket has the mode it was told, whatever the umask", the_socket_has_the_mode_it_was_told},
  {"bad places and names are told by their error", bad_places_are_named_by_their_error},
  {"a path one byte shorter than the longest works", a_long_path_works},
  {"a forked child keeps no channel alive", a_forked_child_keeps_no_channel_alive},
  {"a forked child keeps no leases alive", a_forked_child_keeps_no_leases_alive},
  {"a forked child that frees what it inherited gives nothing away", a_forked_child_that_tidies_up_gives_nothing_away},
};

FIXTURE_MAIN (tests, roles, 1)
