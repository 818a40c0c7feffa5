/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket of a channel: found by name, never shared by two publishers, never taken from a live one. Knows no message.
 *
 * A lock file beside the socket is held as long as the channel is, and the kernel lets go of it when the process dies, however it
 * does. So who holds the lock may replace what a dead publisher left. The socket is bound and listening under another name before it
 * takes its own, so that nobody ever finds one that does not answer yet. */
#define _GNU_SOURCE
#include "cuframes-listener.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "cuframes-address.h"
#include "cuframes-channel.h"
#include "cuframes-fork-guard.h"
#include "cuframes-util.h"

#define BACKLOG 128

static int
new_socket (int *ret_fd)
{
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  if (fd < 0)
    return -errno;
  *ret_fd = fd;
  return 0;
}

/* 0 if somebody answers, CUFRAMES_E_ABSENT if nobody does, or a negative errno. */
static int
probe (const char *path)
{
  CUFRAMES_AUTO_CLOSE int fd = -1;
  struct sockaddr_un address;
  socklen_t length;
  int r = cuframes_address_set (path, &address, &length);

  if (r == 0)
    r = new_socket (&fd);
  if (r < 0)
    return r;
  if (connect (fd, (struct sockaddr *) &address, length) == 0 || errno == EAGAIN || errno == EPROTOTYPE)
    return 0;
  return errno == ECONNREFUSED || errno == ENOENT ? CUFRAMES_E_ABSENT : -errno;
}

/* Another publisher may remove the file between our opening and our locking of it: then the lock is worth nothing. */
static int
lock_channel (CuframesListener *listener)
{
  for (;;) {
    CUFRAMES_AUTO_CLOSE int fd = open (listener->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat opened, named;

    if (fd < 0)
      return errno == ELOOP ? -EEXIST : -errno;
    if (flock (fd, LOCK_EX | LOCK_NB) < 0)
      return errno == EWOULDBLOCK ? -EADDRINUSE : -errno;
    if (fstat (fd, &opened) < 0)
      return -errno;
    if (lstat (listener->lock_path, &named) == 0 && named.st_ino == opened.st_ino && named.st_dev == opened.st_dev) {
      listener->lock_fd = cuframes_steal_fd (&fd);
      return 0;
    }
  }
}

/* With the lock held, only a socket of our own user to which nobody answers is removed. */
static int
remove_stale (const char *path)
{
  struct stat status;
  int r;

  if (lstat (path, &status) < 0)
    return errno == ENOENT ? 0 : -errno;
  if (!S_ISSOCK (status.st_mode))
    return -EEXIST;
  r = probe (path);
  if (r == 0)
    return -EADDRINUSE;
  if (r == -EACCES && status.st_uid != geteuid ())
    return -EPERM;
  if (r < 0)
    return r;
  if (status.st_uid != geteuid () && geteuid () != 0)
    return -EPERM;
  return unlink (path) < 0 && errno != ENOENT ? -errno : 0;
}

static int
bind_as (int fd, const char *path)
{
  struct sockaddr_un address;
  socklen_t length;
  int r = cuframes_address_set (path, &address, &length);

  if (r < 0)
    return r;
  return bind (fd, (struct sockaddr *) &address, length) < 0 ? -errno : 0;
}

static int
open_path (CuframesListener *listener, mode_t mode)
{
  char early[CUFRAMES_SOCKET_PATH_BYTES + 1];
  struct stat status;
  int r = lock_channel (listener);

  if (r == 0)
    r = remove_stale (listener->path);
  if (r < 0)
    return r;
  if (snprintf (early, sizeof early, "%s~", listener->path) >= (int) sizeof early)
    return -ENAMETOOLONG;
  r = remove_stale (early);
  if (r == 0)
    r = bind_as (listener->fd, early);
  if (r < 0)
    return r;
  /* Not chmod(), which follows a link that somebody else may have put there meanwhile. */
  if (lstat (early, &status) < 0 || fchmodat (AT_FDCWD, early, mode, AT_SYMLINK_NOFOLLOW) < 0 || listen (listener->fd, BACKLOG) < 0 || renameat2 (AT_FDCWD, early, AT_FDCWD, listener->path, RENAME_NOREPLACE) < 0) {
    r = -errno;
    unlink (early);
    return r;
  }
  listener->device = status.st_dev;
  listener->inode = status.st_ino;
  return 0;
}

static int
open_abstract (CuframesListener *listener)
{
  int r = bind_as (listener->fd, listener->path);

  if (r < 0)
    return r;
  return listen (listener->fd, BACKLOG) < 0 ? -errno : 0;
}

/* Makes the directory of a channel if its parent is there; a directory that is there is left as it is. */
static void
make_directory (const char *path)
{
  char directory[CUFRAMES_SOCKET_PATH_BYTES];
  char *end;

  snprintf (directory, sizeof directory, "%s", path);
  end = strrchr (directory, '/');
  if (end != NULL && end != directory) {
    *end = 0;
    mkdir (directory, 0700);
  }
}

/* The lock is the last to go, and its file goes while it is held. */
/* Those who were not let in yet: with their connections goes what they sent, which may take the kernel as long as they like. */
static void
turn_away (const CuframesListener *listener)
{
  for (int i = 0; listener->fd >= 0 && i < SOMAXCONN; i++) {
    const int fd = accept4 (listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
      return;
    close (fd);
  }
}

static void
close_all (CuframesListener *listener)
{
  if (listener->owner == getpid ())
    turn_away (listener);
  cuframes_fork_guard_hold ();
  if (listener->fd >= 0)
    cuframes_fork_guard_remove (listener->fd);
  listener->fd = cuframes_close (listener->fd);
  listener->spare_fd = cuframes_close (listener->spare_fd);
  if (listener->lock_fd >= 0) {
    if (listener->owner == getpid ())
      unlink (listener->lock_path);
    cuframes_fork_guard_remove (listener->lock_fd);
    listener->lock_fd = cuframes_close (listener->lock_fd);
  }
  cuframes_fork_guard_let_go ();
}

static int
guard (const CuframesListener *listener)
{
  const int r = cuframes_fork_guard_add (listener->fd);

  return r == 0 && listener->lock_fd >= 0 ? cuframes_fork_guard_add (listener->lock_fd) : r;
}

/* Where somebody else may write to the directory, something of his may have taken the socket's place: that is not ours to remove. */
static void
remove_own (const CuframesListener *listener)
{
  struct stat status;

  if (lstat (listener->path, &status) == 0 && status.st_dev == listener->device && status.st_ino == listener->inode)
    unlink (listener->path);
}

/* Listens on a path or "@name". 0, -EADDRINUSE if a live publisher has the channel, -EEXIST if something else is in the way,
 * -ENAMETOOLONG, -EACCES, -ENOENT or another negative errno; then nothing is left behind. */
int
cuframes_listener_open (CuframesListener *listener, const char *path, mode_t mode)
{
  int r;

  *listener = (CuframesListener) { .fd = -1,.lock_fd = -1,.spare_fd = -1,.owner = getpid () };
  if (strlen (path) >= sizeof listener->path)
    return -ENAMETOOLONG;
  strcpy (listener->path, path);
  cuframes_fork_guard_hold ();
  r = new_socket (&listener->fd);
  if (r == 0)
    cuframes_channel_refuse_fds (listener->fd);
  if (r == 0 && path[0] == '@')
    r = open_abstract (listener);
  else if (r == 0) {
    make_directory (path);
    snprintf (listener->lock_path, sizeof listener->lock_path, "%s.lock", path);
    r = open_path (listener, mode);
  }
  if (r == 0 && (r = guard (listener)) < 0 && listener->lock_fd >= 0)
    remove_own (listener);
  cuframes_fork_guard_let_go ();
  if (r < 0)
    close_all (listener);
  return r;
}

/* Takes the channel away. In a child that the owner forked it only closes. */
void
cuframes_listener_close (CuframesListener *listener)
{
  if (listener->fd < 0)
    return;
  if (listener->lock_fd >= 0 && listener->owner == getpid ())
    remove_own (listener);
  close_all (listener);
}

/* 0; CUFRAMES_E_EMPTY if nobody is there; CUFRAMES_E_FULL if descriptors have run out: the caller tells that peer so and closes the
 * descriptor, which is the spare one; CUFRAMES_E_HELD if not even that one could be had; or a negative errno. */
int
cuframes_listener_accept (CuframesListener *listener, int *ret_fd)
{
  if (listener->spare_fd < 0)
    listener->spare_fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);
  for (int r = 0; r <= CUFRAMES_E_FULL; r += CUFRAMES_E_FULL) {
    int fd = accept4 (listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
      *ret_fd = fd;
      return r;
    }
    if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
      return CUFRAMES_E_EMPTY;
    if (errno != EMFILE && errno != ENFILE)
      return -errno;
    listener->spare_fd = cuframes_close (listener->spare_fd);
  }
  return CUFRAMES_E_HELD;
}

/* Who is at the other end, by the kernel's word. 0 or a negative errno. */
int
cuframes_listener_identify (int fd, CuframesPeerIdentity *ret_identity)
{
  struct ucred credentials;
  socklen_t length = sizeof credentials;

  if (getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
    return -errno;
  *ret_identity = (CuframesPeerIdentity) { credentials.pid, credentials.uid, credentials.gid };
  return 0;
}
