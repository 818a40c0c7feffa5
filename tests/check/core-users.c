/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who may attach, with processes of other users: through the mode of a socket, the lists of users and groups, an abstract name, and in directories
 * that somebody else may write to. What a publisher does with files that are not its own, and what reaches a process that was refused.
 *
 * It needs root to be other users. Without, the program says what is not shown and counts as skipped, which CI takes for failed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core-fixture.h"
#include "cuframes-wire.h"

#define STRANGER 65534
#define SOMEBODY 12345
/* How long who was let in listens; who was refused hears the hang-up. */
#define SNOOP_MS 300
/* Stands in the format and in every frame. */
#define SECRET "only-for-those-who-are-let-in"

static bool
become (const char *uid)
{
  const uid_t id = (uid_t) atoi (uid);

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  return setresgid (id, id, id) == 0 && setresuid (id, id, id) == 0;
}

/* UID PATH: a subscriber of that user; says the result and the reason. */
static int
play_stranger (int argc, char **argv)
{
  CuframesSubscriberConfig config = {.socket_path = argc > 1 ? argv[1] : "" };
  CuframesSubscriber *subscriber;
  int r;

  if (argc < 2 || !become (argv[0]) || cuframes_subscriber_new (&config, &subscriber) != 0)
    return 2;
  r = cuframes_subscriber_connect (subscriber, FIXTURE_BOUND_NS);
  printf ("%d %s\n", r, cuframes_subscriber_get_refusal (subscriber));
  cuframes_subscriber_free (subscriber);
  return 0;
}

static int
ask_user (unsigned uid, const char *path, char *text, size_t text_bytes)
{
  char line[512] = "", number[16];
  Child child;

  snprintf (number, sizeof number, "%u", uid);
  child_start (&child, NULL, "stranger", number, path, NULL);
  if (!child_read (&child, line, sizeof line))
    strcpy (line, "-1000 ");
  child_end (&child);
  snprintf (text, text_bytes, "%s", strchr (line, ' ') + 1);
  return atoi (line);
}

static int
open_for (const char *name, uint32_t mode, const uint32_t *uids, uint32_t uid_count, const uint32_t *gids, uint32_t gid_count, Source *source)
{
  const CuframesPublisherConfig config = {.socket_mode = mode,.allow_uids = uids,.allow_uid_count = uid_count,.allow_gids = gids,
    .allow_gid_count = gid_count };

  return source_open (source, name, &config);
}

static const char *
abstract_name (void)
{
  static char name[64];

  snprintf (name, sizeof name, "@cuframes-users-%d", (int) getpid ());
  return name;
}

typedef struct
{
  uint32_t mode;
  bool by_uid, by_gid;
  uint32_t allowed;             /* 0: an empty list */
  int by_path, by_abstract;     /* what the stranger gets */
} Rule;

static void
only_who_is_allowed_gets_in (void)
{
  static const Rule rules[] = {
    {0600, false, false, 0, -EACCES, CUFRAMES_E_REFUSED},
    {0660, false, false, 0, -EACCES, CUFRAMES_E_REFUSED},
    {0666, false, false, 0, 0, 0},
    {0666, true, false, SOMEBODY, CUFRAMES_E_REFUSED, CUFRAMES_E_REFUSED},
    {0666, true, false, STRANGER, 0, 0},
    {0666, false, true, SOMEBODY, CUFRAMES_E_REFUSED, CUFRAMES_E_REFUSED},
    {0666, false, true, STRANGER, 0, 0},
    {0666, true, false, 0, CUFRAMES_E_REFUSED, CUFRAMES_E_REFUSED},
    {0600, true, false, STRANGER, -EACCES, 0},
  };
  char text[CUFRAMES_TEXT_BYTES];

  REQUIRE (chmod (fixture_directory (), 0755) == 0);
  for (size_t i = 0; i < 2 * sizeof rules / sizeof rules[0]; i++) {
    const Rule *rule = &rules[i / 2];
    const char *name = i % 2 == 0 ? fixture_socket ("cam") : abstract_name ();
    const uint32_t count = rule->allowed != 0;
    Source source;
    int r;
    REQUIRE (open_for (name, rule->mode, rule->by_uid ? &rule->allowed : NULL, count, rule->by_gid ? &rule->allowed : NULL, count, &source) == 0);
    r = ask_user (STRANGER, name, text, sizeof text);
    if (r != (i % 2 == 0 ? rule->by_path : rule->by_abstract)) {
      fprintf (stderr, "  rule %zu: %d\n", i, r);
      CHECK (!"the stranger gets what the rule says");
    }
    if (r == CUFRAMES_E_REFUSED)
      CHECK (strstr (text, "65534") != NULL && strstr (text, "allow-uids") != NULL);
    CHECK_EQUAL (ask_user (0, name, text, sizeof text), 0);
    source_close (&source);
  }
}

/* The group of a process counts, not the name that it has for itself. */
static void
a_publisher_of_another_user_lets_in_itself_and_root (void)
{
  char text[CUFRAMES_TEXT_BYTES];
  Child publisher;

  REQUIRE (chmod (fixture_directory (), 0777) == 0);
  child_start (&publisher, NULL, "publisher-as", "12345", fixture_socket ("cam"), NULL);
  REQUIRE (child_answer (&publisher) == 0);
  CHECK_EQUAL (ask_user (SOMEBODY, fixture_socket ("cam"), text, sizeof text), 0);
  CHECK_EQUAL (ask_user (0, fixture_socket ("cam"), text, sizeof text), 0);
  CHECK_EQUAL (ask_user (STRANGER, fixture_socket ("cam"), text, sizeof text), -EACCES);
  CHECK_EQUAL (child_end (&publisher), 0);
}

/* UID PATH: says the result of opening the channel, and keeps it until its input ends. */
static int
play_publisher_as (int argc, char **argv)
{
  CuframesPublisherConfig config = {.socket_path = argc > 1 ? argv[1] : "" };
  CuframesPublisher *publisher = NULL;
  char byte;

  if (argc < 2 || !become (argv[0]))
    return 2;
  printf ("%d\n", cuframes_publisher_new (&config, &publisher));
  while (read (STDIN_FILENO, &byte, 1) > 0)
    continue;
  cuframes_publisher_free (publisher);
  return 0;
}

static int
publish_as (const char *uid, const char *path)
{
  Child child;
  int r;

  child_start (&child, NULL, "publisher-as", uid, path, NULL);
  r = (int) child_answer (&child);
  CHECK_EQUAL (child_end (&child), 0);
  return r;
}

static bool
is_of (const char *path, uid_t uid, mode_t type)
{
  struct stat status;

  return lstat (path, &status) == 0 && status.st_uid == uid && (status.st_mode & S_IFMT) == type;
}

/* UID PATH live|shut|dead|link|file|lock: puts it there, says so, and keeps it until its input ends. */
static int
play_planter (int argc, char **argv)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX };
  char byte;
  int fd = -1;

  if (argc < 3 || !become (argv[0]))
    return 2;
  snprintf (address.sun_path, sizeof address.sun_path, "%s", argv[1]);
  if (strcmp (argv[2], "link") == 0) {
    if (symlink (fixture_path ("target"), argv[1]) != 0)
      return 3;
  } else if (strcmp (argv[2], "lock") == 0 || strcmp (argv[2], "file") == 0) {
    fd = open (argv[1], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0 || fchmod (fd, 0666) != 0 || (argv[2][0] == 'l' && flock (fd, LOCK_EX) != 0))
      return 4;
  } else {
    fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    umask (strcmp (argv[2], "shut") == 0 ? 077 : 0);
    if (bind (fd, (struct sockaddr *) &address, sizeof address) != 0 || listen (fd, 5) != 0)
      return 5;
    if (strcmp (argv[2], "dead") == 0)
      close (fd);
  }
  printf ("0\n");
  while (read (STDIN_FILENO, &byte, 1) > 0)
    continue;
  return 0;
}

static void
plant (Child *planter, const char *suffix, const char *what)
{
  char path[256];

  snprintf (path, sizeof path, "%s%s", fixture_socket ("cam"), suffix);
  child_start (planter, NULL, "planter", "65534", path, what, NULL);
  CHECK_EQUAL (child_answer (planter), 0);
}

static void
clear (const char *suffix)
{
  char path[256];

  snprintf (path, sizeof path, "%s%s", fixture_socket ("cam"), suffix);
  CHECK (unlink (path) == 0);
}

static void
nothing_of_somebody_elses_is_followed_or_replaced (void)
{
  static const char *const suffixes[] = { "", "~", ".lock" };
  const char *path = fixture_socket ("cam"), *target = fixture_path ("target");
  struct stat status;
  Child planter;
  int fd;

  fd = open (target, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  REQUIRE (fd >= 0 && write (fd, "precious", 8) == 8 && fchown (fd, SOMEBODY, SOMEBODY) == 0);
  close (fd);
  /* as /tmp, and as a directory in which nobody is kept from anything */
  for (int i = 0; i < 2; i++) {
    REQUIRE (chmod (fixture_directory (), i == 0 ? 01777 : 0777) == 0);
    for (int suffix = 0; suffix < 3; suffix++) {
      plant (&planter, suffixes[suffix], "link");
      CHECK (publish_as ("12345", path) < 0);
      CHECK (stat (target, &status) == 0 && status.st_size == 8 && (status.st_mode & 07777) == 0600);
      CHECK_EQUAL (child_end (&planter), 0);
      clear (suffixes[suffix]);
    }
    plant (&planter, "", "live");
    CHECK_EQUAL (publish_as ("12345", path), -EADDRINUSE);
    CHECK (is_of (path, STRANGER, S_IFSOCK));
    CHECK_EQUAL (child_end (&planter), 0);
    clear ("");
    plant (&planter, "", "shut");
    CHECK_EQUAL (publish_as ("12345", path), -EPERM);
    CHECK (is_of (path, STRANGER, S_IFSOCK));
    CHECK_EQUAL (child_end (&planter), 0);
    clear ("");
    plant (&planter, "", "dead");
    CHECK_EQUAL (publish_as ("12345", path), -EPERM);
    CHECK (is_of (path, STRANGER, S_IFSOCK));
    CHECK_EQUAL (child_end (&planter), 0);
    clear ("");
    plant (&planter, "", "file");
    CHECK_EQUAL (publish_as ("12345", path), -EEXIST);
    CHECK (is_of (path, STRANGER, S_IFREG));
    CHECK_EQUAL (child_end (&planter), 0);
    clear ("");
    plant (&planter, ".lock", "lock");
    CHECK (publish_as ("12345", path) < 0);
    CHECK_EQUAL (child_end (&planter), 0);
    clear (".lock");
    CHECK_EQUAL (publish_as ("12345", path), 0);
  }
  CHECK (unlink (target) == 0);
}

/* UID PATH: takes the socket's place by one of its own, as who may write to the directory can. */
static void
what_took_its_place_is_not_removed_with_the_channel (void)
{
  const char *path = fixture_socket ("cam");
  Child publisher, planter;

  REQUIRE (chmod (fixture_directory (), 0777) == 0);
  child_start (&publisher, NULL, "publisher-as", "12345", path, NULL);
  REQUIRE (child_answer (&publisher) == 0);
  REQUIRE (unlink (path) == 0);
  plant (&planter, "", "live");
  CHECK_EQUAL (child_end (&publisher), 0);
  CHECK (is_of (path, STRANGER, S_IFSOCK));
  CHECK_EQUAL (child_end (&planter), 0);
  clear ("");
}

/* UID PATH PID: connects, says HELLO as subscriber and as observer, and says how many descriptors came, how many messages other than REFUSED, and how many of
 * them had the secret; then how many files of the publisher's process it could open. */
static int
play_snooper (int argc, char **argv)
{
  static uint8_t bytes[CUFRAMES_WIRE_BYTES_MAX];
  unsigned descriptors = 0, others = 0, secrets = 0, opened = 0;
  char path[300], control[256];
  struct dirent *entry;
  DIR *folder;

  if (argc < 3 || !become (argv[0]))
    return 2;
  for (uint32_t role = CUFRAMES_ROLE_SUBSCRIBER; role <= CUFRAMES_ROLE_OBSERVER; role++) {
    const CuframesMessage hello = {.type = CUFRAMES_MESSAGE_HELLO,.hello = {.version_min = 1,.version_max = 1,.role = role,.memory_kinds = 6,.name = "s"} };
    const int fd = raw_connect (argv[1]);
    struct pollfd readable = {.fd = fd,.events = POLLIN };
    size_t byte_count;
    if (fd < 0)
      return 3;
    if (cuframes_wire_encode (&hello, 0, bytes, sizeof bytes, &byte_count) != 0 || send (fd, bytes, byte_count, MSG_NOSIGNAL) < 0)
      return 4;
    while (poll (&readable, 1, SNOOP_MS) == 1) {
      struct iovec part = { bytes, sizeof bytes };
      struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1,.msg_control = control,.msg_controllen = sizeof control };
      const ssize_t got = recvmsg (fd, &header, 0);
      if (got <= 0)
        break;
      descriptors += header.msg_controllen > 0;
      others += got < 8 || bytes[6] != CUFRAMES_MESSAGE_REFUSED;
      secrets += memmem (bytes, (size_t) got, SECRET, strlen (SECRET)) != NULL;
    }
    close (fd);
  }
  snprintf (path, sizeof path, "/proc/%s/fd", argv[2]);
  folder = opendir (path);
  while (folder != NULL && (entry = readdir (folder)) != NULL) {
    snprintf (path, sizeof path, "/proc/%.16s/fd/%.64s", argv[2], entry->d_name);
    opened += entry->d_name[0] != '.' && open (path, O_RDONLY | O_CLOEXEC) >= 0;
  }
  snprintf (path, sizeof path, "/proc/%.16s/mem", argv[2]);
  opened += open (path, O_RDONLY | O_CLOEXEC) >= 0;
  printf ("%u %u %u %u\n", descriptors, others, secrets, opened);
  return 0;
}

static void
nothing_of_a_frame_reaches_who_was_refused (void)
{
  static const uint32_t somebody = SOMEBODY, stranger = STRANGER;
  const char *names[] = { fixture_socket ("cam"), abstract_name () };
  char line[128], pid[16];
  unsigned found[4] = { 0 };
  CuframesPublisherStats stats;
  Source source;
  Child child;

  REQUIRE (chmod (fixture_directory (), 0777) == 0);
  snprintf (pid, sizeof pid, "%d", (int) getpid ());
  for (int i = 0; i < 2; i++) {
    REQUIRE (open_for (names[i], 0666, &somebody, 1, NULL, 0, &source) == 0 && source_start_ring (&source, 4, 1, SECRET) == 0);
    CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 1, SECRET, strlen (SECRET)), 0);
    CHECK_EQUAL (source_publish_many (&source, 3), 3);
    child_start (&child, NULL, "snooper", "65534", names[i], pid, NULL);
    CHECK (child_read (&child, line, sizeof line));
    if (strcmp (line, "0 0 0 0") != 0)
      fixture_fail (__FILE__, __LINE__, __func__, line);
    CHECK_EQUAL (child_end (&child), 0);
    CHECK (WAIT_UNTIL ((cuframes_publisher_get_stats (source.publisher, &stats), stats.refused) == 2));
    CHECK_EQUAL (stats.subscribers, 0);
    source_close (&source);
  }
  /* who is let in finds what is looked for above, but for the publisher's own files */
  REQUIRE (open_for (names[0], 0666, &stranger, 1, NULL, 0, &source) == 0 && source_start_ring (&source, 4, 1, SECRET) == 0);
  child_start (&child, NULL, "snooper", "65534", names[0], pid, NULL);
  CHECK (child_read (&child, line, sizeof line) && sscanf (line, "%u %u %u %u", &found[0], &found[1], &found[2], &found[3]) == 4);
  CHECK (found[0] > 0 && found[1] > 0 && found[2] > 0 && found[3] == 0);
  CHECK_EQUAL (child_end (&child), 0);
  source_close (&source);
}

static const FixtureRole roles[] = { {"stranger", play_stranger}, {"publisher-as", play_publisher_as}, {"planter", play_planter}, {"snooper", play_snooper} };

static const FixtureTest tests[] = {
  {"only who is allowed gets in, by a path and by an abstract name", only_who_is_allowed_gets_in},
  {"a publisher of another user lets in itself and root", a_publisher_of_another_user_lets_in_itself_and_root},
  {"in a directory for everybody nothing of somebody else's is followed or replaced", nothing_of_somebody_elses_is_followed_or_replaced},
  {"what took the socket's place is not removed with the channel", what_took_its_place_is_not_removed_with_the_channel},
  {"nothing of a frame reaches who was refused", nothing_of_a_frame_reaches_who_was_refused},
};

int
main (int argc, char **argv)
{
  const bool is_role = argc > 2 && strcmp (argv[1], "--role") == 0;

  if (!is_role && geteuid () != 0) {
    printf ("skip: needs root to be other users; not shown here: who may attach, and what is done with files of other users\n0 passed, 0 failed\n");
    return FIXTURE_SKIPPED;
  }
  return fixture_main (argc, argv, &core_part, tests, sizeof tests / sizeof tests[0], roles, sizeof roles / sizeof roles[0]);
}
