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
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"
#include "core-lies.h"
#include "cuframes-layout.h"
#include "cuframes-wire.h"

#define FRAMES_LEAST 200u

static uint32_t random_state = 12345;

static uint32_t
next_random (void)
{
  random_state = random_state * 1664525 + 1013904223;
  return random_state >> 8;
}

static int
be_silent (void)
{
  int kept[64] = { 0 };

  for (int i = 0; i < 10000; i++) {
    const int fd = raw_connect ("cam");
    if (fd < 0)
      return 3;
    if (kept[i % 64] > 0)
      close (kept[i % 64]);
    kept[i % 64] = fd;
  }
  return 0;
}

static int
connect_and_go (void)
{
  for (int i = 0; i < 10000; i++)
    close (raw_connect ("cam"));
  return 0;
}

static int
speak_garbage (void)
{
  uint8_t bytes[512];

  for (int i = 0; i < 3000; i++) {
    const int fd = raw_connect ("cam");
    const uint32_t magic = CUFRAMES_WIRE_MAGIC;
    const size_t byte_count = 1 + next_random () % sizeof bytes;
    for (size_t at = 0; at < byte_count; at++)
      bytes[at] = (uint8_t) next_random ();
    if (i % 2 == 0)
      memcpy (bytes, &magic, sizeof magic);
    if (send (fd, bytes, byte_count, MSG_NOSIGNAL) < 0 || !raw_is_closed (fd))
      return 3;
    close (fd);
  }
  return 0;
}

/* As fast as the socket takes it; a peer that is dropped joins again. */
static int
flood (uint16_t type, const void *body, uint32_t body_bytes)
{
  Raw raw = {.fd = -1,.wake_fd = -1,.fds = { -1, -1, -1 } };
  char bytes[4096];

  for (int i = 0; i < 60000; i++) {
    if (raw.fd < 0 && !raw_join (&raw, "cam"))
      return 3;
    while (recv (raw.fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
      continue;
    if (!raw_send (raw.fd, type, body, body_bytes)) {
      raw_close (&raw);
      raw.fd = -1;
    }
  }
  raw_close (&raw);
  return 0;
}

static int
flood_questions (void)
{
  return flood (CUFRAMES_MESSAGE_ASK_STATS, NULL, 0);
}

static int
flood_keyframes (void)
{
  const uint32_t all = 1;

  return flood (CUFRAMES_MESSAGE_KEYFRAME, &all, sizeof all);
}

static int
join_and_vanish (void)
{
  for (int i = 0; i < 1000; i++) {
    Raw raw;
    if (!raw_join (&raw, "cam"))
      return 3;
    raw_close (&raw);
  }
  return 0;
}

/* Wants to be woken all the time, and reads no wake-up. */
static int
fill_the_pipe (void)
{
  CuframesLeasePage *page;
  char path[64];
  Raw raw;
  int fd;

  if (!raw_join (&raw, "cam") || !raw_ready (&raw, raw.generation))
    return 3;
  page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
  if (page == MAP_FAILED)
    return 4;
  snprintf (path, sizeof path, "/proc/self/fd/%d", raw.wake_fd);
  fcntl (raw.wake_fd, F_SETFL, 0);
  fd = open (path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
  while (fd >= 0 && write (fd, path, sizeof path) > 0)
    continue;
  for (int i = 0; i < 100000; i++) {
    atomic_store (&page->waiting, 1);
    if (i % 16 == 0)
      sched_yield ();
  }
  close (raw.wake_fd);
  raw.wake_fd = -1;
  for (int i = 0; i < 100000; i++) {
    atomic_store (&page->waiting, 1);
    if (i % 16 == 0)
      sched_yield ();
  }
  raw_close (&raw);
  return 0;
}

/* Everything that it can write is nonsense. */
static int
scribble (void)
{
  uint32_t *words;
  Raw raw;

  for (int round = 0; round < 50; round++) {
    if (!raw_join (&raw, "cam") || !raw_ready (&raw, raw.generation))
      return 3;
    words = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
    if (words == MAP_FAILED)
      return 4;
    for (int i = 0; i < 20000; i++)
      __atomic_store_n (&words[i % 1024], next_random (), __ATOMIC_RELAXED);
    munmap (words, 4096);
    raw_close (&raw);
  }
  return 0;
}

/* Holds everything there is, or says so. */
static int
claim_all (void)
{
  for (int round = 0; round < 16; round++) {
    CuframesLeasePage *page;
    Raw raw;
    if (!raw_join (&raw, "cam") || !raw_ready (&raw, raw.generation))
      return 3;
    page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
    if (page == MAP_FAILED)
      return 4;
    if (round % 2 == 0)
      memset (page, 0xff, 4096);
    for (int i = 0; i < 500; i++) {
      atomic_store (&page->leases, UINT64_MAX);
      if (i % 16 == 0)
        sched_yield ();
    }
    munmap (page, 4096);
    raw_close (&raw);
  }
  return 0;
}

/* The first message of a subscriber, whole and in parts. */
static size_t
make_hello (uint8_t *bytes, size_t capacity)
{
  const CuframesMessage hello = {.type = CUFRAMES_MESSAGE_HELLO,.hello = {.version_min = 1,.version_max = 1,.role = CUFRAMES_ROLE_SUBSCRIBER,
      .memory_kinds = 1u << CUFRAMES_MEMORY_HOST,.name = "hostile"} };
  size_t byte_count = 0;

  return cuframes_wire_encode (&hello, 0, bytes, capacity, &byte_count) == 0 ? byte_count : 0;
}

/* On a socket that keeps messages apart one byte is a message, and no good one. */
static int
speak_by_bytes (void)
{
  uint8_t bytes[256];
  const size_t byte_count = make_hello (bytes, sizeof bytes);

  for (int i = 0; i < 1000; i++) {
    const int fd = raw_connect ("cam");
    size_t at = (size_t) i % byte_count;
    if (send (fd, bytes, i % 2 == 0 ? 1 : byte_count - 1 - at, MSG_NOSIGNAL) < 0)
      return 3;
    for (; at < byte_count; at++)
      if (send (fd, bytes + at, 1, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
        return 4;
    if (!raw_is_closed (fd))
      return 5;
    close (fd);
  }
  return 0;
}

static bool
send_with_fds (int fd, const uint8_t *bytes, size_t byte_count, const int *fds, uint32_t fd_count)
{
  union
  {
    struct cmsghdr head;
    char bytes[CMSG_SPACE (LIE_KINDS * 8 * sizeof (int))];
  } control = { 0 };
  struct iovec part = { (void *) bytes, byte_count };
  struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1,.msg_control = control.bytes,.msg_controllen = CMSG_SPACE (fd_count * sizeof (int)) };

  control.head.cmsg_level = SOL_SOCKET;
  control.head.cmsg_type = SCM_RIGHTS;
  control.head.cmsg_len = CMSG_LEN (fd_count * sizeof (int));
  memcpy (CMSG_DATA (&control.head), fds, fd_count * sizeof (int));
  return sendmsg (fd, &header, MSG_NOSIGNAL) == (ssize_t) byte_count;
}

/* No message of a subscriber has descriptors: whoever sends some, of whatever kind and number, before it has joined or after, loses its place. */
static int
send_descriptors (void)
{
  uint8_t bytes[256];
  const size_t byte_count = make_hello (bytes, sizeof bytes);
  int lies[LIE_KINDS * 8];

  for (int i = 0; i < LIE_KINDS * 8; i++)
    lies[i] = lie_make ((LieKind) (i % LIE_KINDS), 4096);
  for (uint32_t i = 0; i < 600; i++) {
    const uint32_t fd_count = 1 + i % (LIE_KINDS * 8), said = i % 3 == 0 ? 0 : fd_count;
    Raw raw = {.fd = -1,.wake_fd = -1,.fds = { -1, -1, -1 } };
    if (i % 2 == 0)
      raw.fd = raw_connect ("cam");
    else if (!raw_join (&raw, "cam"))
      return 3;
    memcpy (bytes + 12, &said, sizeof said);
    errno = 0;                  /* EPERM: the kernel lets none through, from Linux 6.16 on */
    if (!send_with_fds (raw.fd, bytes, byte_count, lies + i % LIE_KINDS, fd_count > LIE_KINDS * 7 ? LIE_KINDS * 7 : fd_count) && errno != EPERM)
      return 4;
    if (errno != EPERM && !raw_is_closed (raw.fd))
      return 5;
    raw_close (&raw);
  }
  for (int i = 0; i < LIE_KINDS * 8; i++)
    close (lies[i]);
  return 0;
}

static const struct
{
  const char *name;
  int (*act) (void);
} acts[] = {
  {"silent", be_silent},
  {"connects", connect_and_go},
  {"garbage", speak_garbage},
  {"questions", flood_questions},
  {"keyframes", flood_keyframes},
  {"vanish", join_and_vanish},
  {"pipe", fill_the_pipe},
  {"scribble", scribble},
  {"ones", claim_all},
  {"bytes", speak_by_bytes},
  {"descriptors", send_descriptors},
};

static int
play_attacker (int argc, char **argv)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
    if (argc > 0 && strcmp (acts[i].name, argv[0]) == 0)
      return acts[i].act ();
  return 2;
}

static int
compare_times (const void *a, const void *b)
{
  const uint64_t first = *(const uint64_t *) a, second = *(const uint64_t *) b;

  return first < second ? -1 : first > second;
}

static bool
has_ended (pid_t pid)
{
  siginfo_t info = { 0 };

  return waitid (P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid;
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
    const uint64_t before = fixture_now_ns ();
    CHECK_EQUAL (source_publish (&source), 0);
    times[count++] = fixture_now_ns () - before;
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
  REQUIRE (raw_join (&raw, "cam") && cuframes_wire_encode (&welcome, 1, bytes, sizeof bytes, &byte_count) == 0);
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
  {"descriptors that nobody asked for are closed, whatever they are and however many", descriptors_that_nobody_asked_for_are_closed},
  {"who breaks a rule of the protocol loses its place", broken_rules_cost_the_place},
  {"what comes after a farewell does no harm", what_comes_after_a_farewell_does_no_harm},
  {"a question after an eviction costs no lease", a_question_after_an_eviction_costs_no_lease},
  {"clients that stop halfway cost a place each and one generation together", clients_that_stop_halfway_cost_a_place_each},
  {"a handshake that is never finished is ended in its time", a_handshake_that_is_never_finished_ends},
};

FIXTURE_MAIN (tests, roles, 1)
