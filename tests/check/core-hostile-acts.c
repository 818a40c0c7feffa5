/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the attackers of core-hostile.c do, each in a process of its own. */
#define _GNU_SOURCE
#include "core-hostile-acts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core-fixture.h"
#include "core-lies.h"
#include "cuframes-layout.h"
#include "cuframes-wire.h"

#define WATCH_NS FIXTURE_BOUND_NS
/* So many cost enough on any machine. */
#define PLACES_ENOUGH 15000u

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

/* Often, and for a second at most: on a busy machine each turn takes its time. */
static void
ask_to_be_woken (CuframesLeasePage *page)
{
  const uint64_t end = fixture_now_ns () + UINT64_C (1000000000);

  for (int i = 0; i < 100000 && fixture_now_ns () < end; i++) {
    atomic_store (&page->waiting, 1);
    if (i % 16 == 0)
      sched_yield ();
  }
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
  ask_to_be_woken (page);
  close (raw.wake_fd);
  raw.wake_fd = -1;
  ask_to_be_woken (page);
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

static bool
has_something (int fd)
{
  struct pollfd wanted = {.fd = fd,.events = POLLIN };

  return poll (&wanted, 1, 0) > 0;
}

/* Watches its pipe from as many places as it may have descriptors, each of which a wake-up has to tell, and asks for one all the time; until it is
 * taken off, or a while has shown that so few places are no matter. */
static int
watch_from_everywhere (void)
{
  struct epoll_event event = {.events = EPOLLIN };
  struct rlimit limit;
  CuframesLeasePage *page;
  uint32_t places = 0, wakes = 0;
  uint64_t end;
  Raw raw;
  int epoll;

  getrlimit (RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max < 30000 ? limit.rlim_max : 30000;
  setrlimit (RLIMIT_NOFILE, &limit);
  if (!raw_join (&raw, "cam") || !raw_ready (&raw, raw.generation))
    return 3;
  page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
  epoll = epoll_create1 (EPOLL_CLOEXEC);
  if (page == MAP_FAILED || epoll < 0)
    return 4;
  for (int fd; (fd = dup (raw.wake_fd)) >= 0; places++)
    epoll_ctl (epoll, EPOLL_CTL_ADD, fd, &event);
  end = fixture_now_ns () + WATCH_NS;
  while (fixture_now_ns () < end && !has_something (raw.fd)) {
    char bytes[64];
    atomic_store (&page->waiting, 1);
    while (read (raw.wake_fd, bytes, sizeof bytes) > 0)
      wakes++;
    sched_yield ();
  }
  /* What a sanitizer looks at in the end needs descriptors. */
  close_range ((unsigned) epoll + 1, ~0u, 0);
  if (has_something (raw.fd) || places < PLACES_ENOUGH)
    return 0;
  fprintf (stderr, "  woken %u times in %u places\n", wakes, places);
  return 5;
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
  {"watch", watch_from_everywhere},
};

int
play_attacker (int argc, char **argv)
{
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++)
    if (argc > 0 && strcmp (acts[i].name, argv[0]) == 0)
      return acts[i].act ();
  return 2;
}
