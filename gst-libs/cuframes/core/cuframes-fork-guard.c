/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors whose being open means something to a peer: that this process lives. A child that the application forks without
 * exec holds them too and would keep a dead publisher's channel, or a dead subscriber's leases, alive. In the child each of
 * them is replaced by /dev/null, so that their numbers stay taken and objects that the child inherited close nothing else. */
#define _GNU_SOURCE
#include "cuframes-fork-guard.h"

#include <fcntl.h>
#include <pthread.h>

#include "cuframes-util.h"

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;     /* held while something is made that is to be guarded; taken before the other */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int *guarded;
static size_t guarded_count, guarded_capacity;
static unsigned depth;          /* atomic */

static void
before_fork (void)
{
  pthread_mutex_lock (&making);
  pthread_mutex_lock (&lock);
}

static void
after_fork_in_parent (void)
{
  pthread_mutex_unlock (&lock);
  pthread_mutex_unlock (&making);
}

static void
after_fork_in_child (void)
{
  int null = open ("/dev/null", O_RDWR | O_CLOEXEC);

  for (size_t i = 0; i < guarded_count; i++)
    if (null < 0 || dup3 (null, guarded[i], O_CLOEXEC) < 0)
      close (guarded[i]);
  cuframes_close (null);
  guarded_count = 0;
  /* relaxed: a child has one thread here */
  __atomic_fetch_add (&depth, 1, __ATOMIC_RELAXED);
  after_fork_in_parent ();
}

static void
install (void)
{
  pthread_atfork (before_fork, after_fork_in_parent, after_fork_in_child);
}

/* From the making of a descriptor to its guarding, and from there to its closing, no child may come to be that inherits it unguarded. Any thread, and
 * not twice in one. */
void
cuframes_fork_guard_hold (void)
{
  pthread_once (&once, install);
  pthread_mutex_lock (&making);
}

void
cuframes_fork_guard_let_go (void)
{
  pthread_mutex_unlock (&making);
}

/* Under the lock. */
static bool
is_guarded (int fd)
{
  for (size_t i = 0; i < guarded_count; i++)
    if (guarded[i] == fd)
      return true;
  return false;
}

/* The descriptor stays the caller's, who removes it before closing it. Twice is once. 0 or -ENOMEM. Any thread. */
int
cuframes_fork_guard_add (int fd)
{
  int r = 0;

  pthread_once (&once, install);
  pthread_mutex_lock (&lock);
  if (is_guarded (fd)) {
    pthread_mutex_unlock (&lock);
    return 0;
  }
  if (guarded_count == guarded_capacity) {
    size_t capacity = guarded_capacity == 0 ? 64 : 2 * guarded_capacity;
    int *grown = realloc (guarded, capacity * sizeof *grown);
    if (grown == NULL)
      r = -ENOMEM;
    else {
      guarded = grown;
      guarded_capacity = capacity;
    }
  }
  if (r == 0)
    guarded[guarded_count++] = fd;
  pthread_mutex_unlock (&lock);
  return r;
}

/* A pipe whose writing end is guarded, since its hang-up is to be heard; neither end waits. 0 or a negative errno. Any thread. */
int
cuframes_fork_guard_pipe (int *ret_read_fd, int *ret_write_fd)
{
  int fds[2], r;

  cuframes_fork_guard_hold ();
  r = pipe2 (fds, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
  if (r == 0) {
    r = cuframes_fork_guard_add (fds[1]);
    if (r < 0) {
      cuframes_close (fds[0]);
      cuframes_close (fds[1]);
    } else {
      *ret_read_fd = fds[0];
      *ret_write_fd = fds[1];
    }
  }
  cuframes_fork_guard_let_go ();
  return r;
}

/* One that is not there is passed over. Any thread. */
void
cuframes_fork_guard_remove (int fd)
{
  pthread_mutex_lock (&lock);
  for (size_t i = 0; i < guarded_count; i++)
    if (guarded[i] == fd) {
      guarded[i] = guarded[--guarded_count];
      break;
    }
  pthread_mutex_unlock (&lock);
}

/* How many forks lie between this process and the first that guarded something. Who remembers it knows whether what it inherited is
 * its own: pages that are shared with peers are shared with a forked child too, which must not write to them. Any thread. */
unsigned
cuframes_fork_guard_get_depth (void)
{
  /* relaxed: it changes only in a fork */
  return __atomic_load_n (&depth, __ATOMIC_RELAXED);
}
