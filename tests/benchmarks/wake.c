/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What it takes to wake processes that sleep in poll(), by each way that the kernel offers: how the wake pipe was chosen. One process wakes them at a pace,
 * and each tells when it was awake and the descriptor quiet again. The ways take turns, so that none has a better machine than the others. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cuframes-util.h"

#define SLEEPERS_MAX 64
#define TURNS_MAX 1000
#define ROUNDS_MAX 20
#define TURNS_WARM 10
#define PACE_NS 16666667
#define READY_NS UINT64_C (10000000000)

typedef struct
{
  int wake_fd, sleep_fd;
} Ends;

typedef struct
{
  const char *name, *means;
  int (*open) (Ends * ends);
  int (*wake) (int wake_fd);
  int (*quieten) (int sleep_fd);
} Way;

/* Shared by all processes. */
typedef struct
{
  _Atomic uint64_t woken_ns;
  _Atomic unsigned ready;
  uint64_t took_ns[SLEEPERS_MAX][TURNS_MAX];
} Shared;

static void
fail (const char *what)
{
  perror (what);
  _exit (1);
}

static int
open_pipe (Ends *ends)
{
  int fds[2], r = pipe2 (fds, O_CLOEXEC | O_NONBLOCK);

  *ends = (Ends) { fds[1], fds[0] };
  return r;
}

static int
write_byte (int fd)
{
  return write (fd, "w", 1) == 1 ? 0 : -1;
}

static int
read_bytes (int fd)
{
  char bytes[64];

  return read (fd, bytes, sizeof bytes) > 0 ? 0 : -1;
}

static int
open_socket (Ends *ends)
{
  int fds[2], r = socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);

  *ends = (Ends) { fds[1], fds[0] };
  return r == 0 ? shutdown (fds[1], SHUT_RD) : r;
}

static int
send_byte (int fd)
{
  return send (fd, "w", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int
open_eventfd (Ends *ends)
{
  ends->wake_fd = ends->sleep_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  return ends->wake_fd < 0 ? -1 : 0;
}

static int
write_event (int fd)
{
  return eventfd_write (fd, 1);
}

static int
read_event (int fd)
{
  eventfd_t value;

  return eventfd_read (fd, &value);
}

static int
open_eventfd_in_epoll (Ends *ends)
{
  struct epoll_event event = {.events = EPOLLIN | EPOLLET };

  *ends = (Ends) { eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK), epoll_create1 (EPOLL_CLOEXEC) };
  return epoll_ctl (ends->sleep_fd, EPOLL_CTL_ADD, ends->wake_fd, &event);
}

static int
take_event (int fd)
{
  struct epoll_event event;

  return epoll_wait (fd, &event, 1, 0) == 1 ? 0 : -1;
}

static int
open_timer (Ends *ends)
{
  ends->wake_fd = ends->sleep_fd = timerfd_create (CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  return ends->wake_fd < 0 ? -1 : 0;
}

static int
expire (int fd)
{
  return timerfd_settime (fd, TFD_TIMER_ABSTIME, &(struct itimerspec) {.it_value.tv_nsec = 1 }, NULL);
}

static int
disarm (int fd)
{
  return timerfd_settime (fd, 0, &(struct itimerspec) { 0 }, NULL);
}

static const Way ways[] = {
  {"pipe", "write()", open_pipe, write_byte, read_bytes},
  {"stream socket", "send()", open_socket, send_byte, read_bytes},
  {"eventfd", "write(), handed out", open_eventfd, write_event, read_event},
  {"eventfd in epoll", "write(), kept", open_eventfd_in_epoll, write_event, take_event},
  {"timerfd", "timerfd_settime()", open_timer, expire, disarm},
};

#define WAY_COUNT (sizeof ways / sizeof ways[0])

static void
sleep_and_tell (const Way *way, int fd, unsigned turns, Shared *shared, unsigned self)
{
  struct pollfd polled = {.fd = fd,.events = POLLIN };

  prctl (PR_SET_PDEATHSIG, SIGKILL);
  shared->ready++;
  for (unsigned i = 0; i < turns; i++) {
    if (poll (&polled, 1, -1) != 1 || way->quieten (fd) != 0)
      fail (way->name);
    shared->took_ns[self][i] = cuframes_now_ns () - shared->woken_ns;
  }
  _exit (0);
}

static int
compare (const void *a, const void *b)
{
  const uint64_t left = *(const uint64_t *) a, right = *(const uint64_t *) b;

  return left < right ? -1 : left > right;
}

static uint64_t
median (uint64_t *values, size_t count)
{
  qsort (values, count, sizeof *values, compare);
  return values[count / 2];
}

static void
wake_all (const Way *way, const Ends *ends, unsigned sleepers, unsigned turns, Shared *shared, uint64_t *push_ns)
{
  const struct timespec pace = {.tv_nsec = PACE_NS };

  for (unsigned i = 0; i < turns; i++) {
    nanosleep (&pace, NULL);
    shared->woken_ns = cuframes_now_ns ();
    for (unsigned k = 0; k < sleepers; k++)
      if (way->wake (ends[k].wake_fd) != 0)
        fail (way->name);
    push_ns[i] = cuframes_now_ns () - shared->woken_ns;
  }
}

/* Medians of one round: from the first wake-up to awake, and until all were woken. */
static void
measure (const Way *way, unsigned sleepers, unsigned turns, Shared *shared, uint64_t *ret_wake_ns, uint64_t *ret_push_ns)
{
  static uint64_t all[SLEEPERS_MAX * TURNS_MAX], push_ns[TURNS_MAX];
  const uint64_t deadline = cuframes_now_ns () + READY_NS;
  Ends ends[SLEEPERS_MAX];
  size_t count = 0;
  int status;

  shared->ready = 0;
  for (unsigned k = 0; k < sleepers; k++) {
    if (way->open (&ends[k]) != 0)
      fail (way->name);
    if (fork () == 0)
      sleep_and_tell (way, ends[k].sleep_fd, turns, shared, k);
  }
  while (shared->ready < sleepers && cuframes_now_ns () < deadline)
    usleep (1000);
  if (shared->ready < sleepers)
    fail ("the sleepers are ready in time");
  wake_all (way, ends, sleepers, turns, shared, push_ns);
  for (unsigned k = 0; k < sleepers; k++)
    if (wait (&status) < 0 || status != 0)
      _exit (1);
  for (unsigned k = 0; k < sleepers; k++) {
    close (ends[k].wake_fd);
    if (ends[k].sleep_fd != ends[k].wake_fd)
      close (ends[k].sleep_fd);
    for (unsigned i = TURNS_WARM; i < turns; i++)
      all[count++] = shared->took_ns[k][i];
  }
  *ret_wake_ns = median (all, count);
  *ret_push_ns = median (push_ns + TURNS_WARM, turns - TURNS_WARM);
}

static void
compare_ways (unsigned sleepers, unsigned turns, unsigned rounds, Shared *shared)
{
  uint64_t wake_ns[WAY_COUNT][ROUNDS_MAX], push_ns[WAY_COUNT][ROUNDS_MAX];
  double wake_us[WAY_COUNT], push_us[WAY_COUNT];

  for (unsigned round = 0; round < rounds; round++)
    for (unsigned i = 0; i < WAY_COUNT; i++)
      measure (&ways[i], sleepers, turns, shared, &wake_ns[i][round], &push_ns[i][round]);
  for (unsigned i = 0; i < WAY_COUNT; i++) {
    wake_us[i] = (double) median (wake_ns[i], rounds) / 1e3;
    push_us[i] = (double) median (push_ns[i], rounds) / 1e3;
    printf ("| %-16s | %-20s | %8u | %6.1f | %6.2f | %8.1f | %6.2f |\n", ways[i].name, ways[i].means, sleepers, wake_us[i], wake_us[i] / wake_us[0],
        push_us[i], push_us[i] / push_us[0]);
  }
  fflush (stdout);
}

/* A number of the command line within limits. */
static unsigned
read_number (const char *text, unsigned least, unsigned most)
{
  char *end;
  const unsigned long value = strtoul (text, &end, 10);

  if (*text == 0 || *end != 0 || value < least || value > most) {
    fprintf (stderr, "wake: \"%s\" is no number from %u to %u\n", text, least, most);
    exit (2);
  }
  return (unsigned) value;
}

int
main (int argc, char **argv)
{
  Shared *shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  unsigned turns, rounds;

  if (argc < 4) {
    fprintf (stderr, "usage: wake ROUNDS TURNS SLEEPERS...\n  as in: wake 6 150 1 4 16\n");
    return 2;
  }
  if (shared == MAP_FAILED)
    fail ("mmap");
  rounds = read_number (argv[1], 1, ROUNDS_MAX);
  turns = read_number (argv[2], 2 * TURNS_WARM, TURNS_MAX);
  puts ("Times in us: the middle of all rounds' medians, and beside it over that of the pipe.\n");
  puts ("| way              | by                   | sleepers | awake  | / pipe | all sent | / pipe |");
  puts ("|------------------|----------------------|----------|--------|--------|----------|--------|");
  for (int i = 3; i < argc; i++)
    compare_ways (read_number (argv[i], 1, SLEEPERS_MAX), turns, rounds, shared);
  return 0;
}
