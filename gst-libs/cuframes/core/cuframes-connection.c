/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding a publisher and shaking hands with it. While there is none, the directory is watched, so that a publisher that comes back is
 * found at once and nobody polls for it. Knows nothing of rings. */
#define _GNU_SOURCE
#include "cuframes-connection.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "cuframes-address.h"
#include "cuframes-fork-guard.h"
#include "cuframes-util.h"

#define HANDSHAKE_NS 5000000000u
/* File systems that tell nothing, and names that lie in none, are looked at again after this. */
#define UNWATCHED_NS 50000000u
#define WATCHED_NS 2000000000u
#define WATCHED_EVENTS (IN_CREATE | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_ONESHOT)
#define BACKLOG_NS 2000000u

static uint64_t
soonest (uint64_t deadline_ns, uint64_t from_now_ns)
{
  const uint64_t then = cuframes_now_ns () + from_now_ns;
  return then < deadline_ns ? then : deadline_ns;
}

/* Waits for one descriptor, or for the time alone if it is -1. 0, CUFRAMES_E_TIMEOUT, CUFRAMES_E_CANCELLED, or a negative errno.
 * A deadline of CUFRAMES_NONE never comes. */
int
cuframes_poll (int fd, short events, int cancel_fd, uint64_t deadline_ns, short *ret_events)
{
  struct pollfd polls[2] = { {.fd = fd,.events = events}, {.fd = cancel_fd,.events = POLLIN} };
  int ready;

  do {
    struct timespec left = { 0 };
    const uint64_t now = deadline_ns == CUFRAMES_NONE ? 0 : cuframes_now_ns ();
    if (deadline_ns != CUFRAMES_NONE && now < deadline_ns)
      left = (struct timespec) { (time_t) ((deadline_ns - now) / 1000000000u), (long) ((deadline_ns - now) % 1000000000u) };
    ready = ppoll (polls, 2, deadline_ns == CUFRAMES_NONE ? NULL : &left, NULL);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0)
    return -errno;
  if (polls[1].revents != 0)
    return CUFRAMES_E_CANCELLED;
  if (ready == 0)
    return CUFRAMES_E_TIMEOUT;
  if (ret_events != NULL)
    *ret_events = polls[0].revents;
  return 0;
}

/* Watches the deepest directory of the path that is there, with a descriptor that is made once and kept: closing one takes the kernel
 * milliseconds. False if that cannot be had. */
static bool
watch_directory (const char *path, int *watch_fd)
{
  char directory[CUFRAMES_SOCKET_PATH_BYTES], events[4096];
  char *end;

  if (path[0] == '@' || strlen (path) >= sizeof directory)
    return false;
  if (*watch_fd < 0)
    *watch_fd = inotify_init1 (IN_CLOEXEC | IN_NONBLOCK);
  if (*watch_fd < 0)
    return false;
  while (read (*watch_fd, events, sizeof events) > 0)
    continue;
  strcpy (directory, path);
  while ((end = strrchr (directory, '/')) != NULL) {
    end[end == directory] = 0;
    if (inotify_add_watch (*watch_fd, directory, WATCHED_EVENTS) >= 0)
      return true;
    if (end == directory)
      return false;
  }
  return inotify_add_watch (*watch_fd, ".", WATCHED_EVENTS) >= 0;
}

/* 0, CUFRAMES_E_ABSENT if nobody listens there, CUFRAMES_E_FULL if too many wait to be let in, or a negative errno. Never waits. */
int
cuframes_connection_dial (const char *path, int *ret_fd)
{
  CUFRAMES_AUTO_CLOSE int fd = -1;
  struct sockaddr_un address;
  socklen_t length;
  int r = cuframes_address_set (path, &address, &length);

  if (r < 0)
    return r;
  cuframes_fork_guard_hold ();
  fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  r = fd < 0 ? -errno : cuframes_fork_guard_add (fd);
  cuframes_fork_guard_let_go ();
  if (r < 0)
    return r;
  if (connect (fd, (struct sockaddr *) &address, length) == 0) {
    *ret_fd = cuframes_steal_fd (&fd);
    return 0;
  }
  r = -errno;
  cuframes_fork_guard_remove (fd);
  if (r == -ENOENT || r == -ECONNREFUSED || r == -ENOTDIR)
    return CUFRAMES_E_ABSENT;
  return r == -EAGAIN || r == -EINTR ? CUFRAMES_E_FULL : r;
}

/* The WELCOME or the refusal, which is then left in the inbox. */
static int
await_answer (int fd, uint64_t deadline_ns, int cancel_fd, CuframesInbox *inbox)
{
  for (;;) {
    int r = cuframes_channel_receive (fd, inbox);
    if (r == CUFRAMES_E_EMPTY)
      r = cuframes_poll (fd, POLLIN, cancel_fd, deadline_ns, NULL);
    else if (r == 0 && inbox->message.type == CUFRAMES_MESSAGE_REFUSED)
      return CUFRAMES_E_REFUSED;
    else
      return r != 0 || inbox->message.type == CUFRAMES_MESSAGE_WELCOME ? r : CUFRAMES_E_PEER;
    if (r != 0)
      return r;
  }
}

/* Says HELLO over a connected socket, which is consumed, also on failure. 0, CUFRAMES_E_CLOSED or a negative errno. */
int
cuframes_connection_begin (int take_fd, const CuframesHello *hello, CuframesConnection **ret_connection)
{
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_HELLO,.hello = *hello };
  CuframesConnection *connection = calloc (1, sizeof *connection);
  int r;

  if (connection == NULL) {
    cuframes_fork_guard_remove (take_fd);
    cuframes_close (take_fd);
    return -ENOMEM;
  }
  __atomic_store_n (&connection->references, 1, __ATOMIC_RELAXED);
  connection->fd = take_fd;
  connection->wake_fd = connection->life_fd = -1;
  r = cuframes_fork_guard_add (connection->fd);
  if (r == 0)
    r = cuframes_channel_send (connection->fd, &message, NULL, 0);
  if (r == 0)
    *ret_connection = connection;
  else
    cuframes_connection_unref (connection);
  return r;
}

/* A wake-up is read from one without a look at what it is, and another thing might never hang up. */
static bool
is_reading_end (int fd)
{
  struct stat status;

  return fstat (fd, &status) == 0 && S_ISFIFO (status.st_mode) && (fcntl (fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

/* Waits for the answer. 0; CUFRAMES_E_TIMEOUT or CUFRAMES_E_CANCELLED: it may be called again; CUFRAMES_E_REFUSED with the reason in the inbox,
 * CUFRAMES_E_CLOSED, CUFRAMES_E_PEER or a negative errno: the connection is of no more use. */
int
cuframes_connection_finish (CuframesConnection *connection, uint64_t deadline_ns, int cancel_fd, CuframesInbox *inbox)
{
  int r = await_answer (connection->fd, deadline_ns, cancel_fd, inbox);

  if (r == 0 && (inbox->message.welcome.max_leases == 0 || !is_reading_end (inbox->fds[0]) || !is_reading_end (inbox->fds[1])))
    r = CUFRAMES_E_PEER;
  if (r != 0)
    return r;
  connection->welcome = inbox->message.welcome;
  connection->wake_fd = cuframes_steal_fd (&inbox->fds[0]);
  connection->life_fd = cuframes_steal_fd (&inbox->fds[1]);
  return 0;
}

static int
greet (int take_fd, const CuframesHello *hello, uint64_t deadline_ns, int cancel_fd, CuframesInbox *inbox, CuframesConnection **ret_connection)
{
  CuframesConnection *connection = NULL;
  int r = cuframes_connection_begin (take_fd, hello, &connection);

  if (r == 0)
    r = cuframes_connection_finish (connection, soonest (deadline_ns, HANDSHAKE_NS), cancel_fd, inbox);
  if (r == 0)
    *ret_connection = connection;
  else
    cuframes_connection_unref (connection);
  return r;
}

/* Connects, waiting for a publisher to appear until the deadline, and shakes hands. Results as above. watch_fd is the caller's, -1 at first, to be closed when
 * no more connections are wanted. */
int
cuframes_connection_open (const char *path, const CuframesHello *hello, uint64_t deadline_ns, int cancel_fd, int *watch_fd, CuframesInbox *inbox,
    CuframesConnection **ret_connection)
{
  /* The first look is without a watch; when nobody is there, the next one comes after the watch was set, so that nobody is missed. */
  for (bool watched = false, looked = false;; looked = true) {
    uint64_t pause_ns = watched ? WATCHED_NS : UNWATCHED_NS;
    int fd = -1, r = cuframes_connection_dial (path, &fd);

    if (r == CUFRAMES_E_FULL)
      pause_ns = BACKLOG_NS;
    if (r == 0) {
      r = greet (fd, hello, deadline_ns, cancel_fd, inbox, ret_connection);
      pause_ns = BACKLOG_NS;
      /* Closed: a publisher that was just ending. Silent: one that is stopped, or so busy that it must be asked again. */
      if (r != CUFRAMES_E_CLOSED && r != CUFRAMES_E_TIMEOUT)
        return r;
    }
    if (r < 0)
      return r;
    if (looked || r != CUFRAMES_E_ABSENT) {
      r = cuframes_poll (watched ? *watch_fd : -1, POLLIN, cancel_fd, soonest (deadline_ns, pause_ns), NULL);
      if (r != 0 && r != CUFRAMES_E_TIMEOUT)
        return r;
      if (cuframes_now_ns () >= deadline_ns)
        return CUFRAMES_E_TIMEOUT;
    }
    watched = watch_directory (path, watch_fd);
  }
}

CuframesConnection *
cuframes_connection_ref (CuframesConnection *connection)
{
  __atomic_fetch_add (&connection->references, 1, __ATOMIC_RELAXED);
  return connection;
}

/* Takes NULL. Always NULL. */
CuframesConnection *
cuframes_connection_unref (CuframesConnection *connection)
{
  if (connection == NULL || __atomic_fetch_sub (&connection->references, 1, __ATOMIC_ACQ_REL) != 1)
    return NULL;
  /* For the publisher to hear of it though a child was forked just now. */
  shutdown (connection->fd, SHUT_RDWR);
  cuframes_fork_guard_remove (connection->fd);
  connection->fd = cuframes_close (connection->fd);
  connection->wake_fd = cuframes_close (connection->wake_fd);
  connection->life_fd = cuframes_close (connection->life_fd);
  free (connection);
  return NULL;
}
