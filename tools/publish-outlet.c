/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A line that there is no room for is left out; one that was taken in part goes on before the next, so that those who read in the end read whole
 * lines. Knows nothing of what they say. */
#include "publish-outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Room says nothing of how much: a terminal, or a pipe that others write to as well, takes a part of a line and waits for its reader. Not to wait
 * is a property of the open file, which other programs may have too; so ours is another one of the same terminal or pipe. A file is not opened anew,
 * for it would be written to from its start. */
static gint
open_anew (gint fd)
{
  gchar path[32];
  struct stat status;

  if (!isatty (fd) && (fstat (fd, &status) != 0 || !S_ISFIFO (status.st_mode)))
    return -1;
  g_snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  return open (path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

/* fd: borrowed */
void
publish_outlet_init (PublishOutlet *self, gint fd)
{
  struct stat status;

  *self = (PublishOutlet) {.fd = fd,.own_fd = open_anew (fd),.rest = g_string_new (NULL) };
  self->is_socket = fstat (fd, &status) == 0 && S_ISSOCK (status.st_mode);
}

void
publish_outlet_clear (PublishOutlet *self)
{
  if (self->own_fd >= 0)
    close (self->own_fd);
  self->own_fd = -1;
  g_string_free (self->rest, TRUE);
  self->rest = NULL;
}

static gssize
write_some (PublishOutlet *self, const gchar *bytes, gsize byte_count)
{
  struct pollfd output = {.fd = self->fd,.events = POLLOUT };

  if (self->own_fd >= 0)
    return write (self->own_fd, bytes, byte_count);
  if (self->is_socket)
    return send (self->fd, bytes, byte_count, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (poll (&output, 1, 0) > 0)
    return write (self->fd, bytes, byte_count);
  errno = EAGAIN;
  return -1;
}

/* An errno, EAGAIN if there is no more room, or 0. */
static gint
write_all (PublishOutlet *self, const gchar *bytes, gsize byte_count, gsize *ret_written)
{
  *ret_written = 0;
  while (*ret_written < byte_count) {
    const gssize written = write_some (self, bytes + *ret_written, byte_count - *ret_written);
    if (written >= 0)
      *ret_written += (gsize) written;
    else if (errno != EINTR)
      return errno;
  }
  return 0;
}

/* 0, also if the line was left out; an errno once it cannot be written to any more. */
gint
publish_outlet_put (PublishOutlet *self, const gchar *line, gsize byte_count)
{
  gsize written;
  gint error = write_all (self, self->rest->str, self->rest->len, &written);

  g_string_erase (self->rest, 0, (gssize) written);
  if (error == 0) {
    error = write_all (self, line, byte_count, &written);
    if (error == EAGAIN && written > 0)
      g_string_append_len (self->rest, line + written, (gssize) (byte_count - written));
  }
  return error == EAGAIN ? 0 : error;
}
