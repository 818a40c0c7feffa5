/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where channels live: names to paths, paths to socket addresses. Opens nothing. */
#include "cuframes-address.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cuframes-publisher.h"

/**
 * cuframes_channel_directory:
 * @path: (out): room for the path
 * @path_bytes: size of @path
 *
 * Finds the directory of this process's channels: `$CUFRAMES_DIR`, else `$XDG_RUNTIME_DIR/cuframes`, else `/run/cuframes`.
 *
 * Returns: 0, or -ENAMETOOLONG
 *
 * Since: 0.1
 */
int
cuframes_channel_directory (char *path, size_t path_bytes)
{
  const char *own = getenv ("CUFRAMES_DIR"), *runtime = getenv ("XDG_RUNTIME_DIR");
  int length;

  if (own != NULL && own[0] != 0)
    length = snprintf (path, path_bytes, "%s", own);
  else if (runtime != NULL && runtime[0] != 0)
    length = snprintf (path, path_bytes, "%s/cuframes", runtime);
  else
    length = snprintf (path, path_bytes, "/run/cuframes");
  return length < 0 || (size_t) length >= path_bytes ? -ENAMETOOLONG : 0;
}

/**
 * cuframes_channel_path:
 * @channel: name of a channel: not empty, without `/`, not starting with `.` or `@`
 * @path: (out): room for the path
 * @path_bytes: size of @path; %CUFRAMES_SOCKET_PATH_BYTES is enough for every path that works
 *
 * Finds the socket of a channel by its name.
 *
 * Returns: 0, -EINVAL if @channel is no name, or -ENAMETOOLONG if the path is longer than a socket's may be
 *
 * Since: 0.1
 */
int
cuframes_channel_path (const char *channel, char *path, size_t path_bytes)
{
  char directory[CUFRAMES_SOCKET_PATH_BYTES];
  int length;

  if (channel[0] == 0 || channel[0] == '.' || channel[0] == '@' || strchr (channel, '/') != NULL)
    return -EINVAL;
  if (cuframes_channel_directory (directory, sizeof directory) < 0)
    return -ENAMETOOLONG;
  length = snprintf (path, path_bytes, "%s/%s.sock", directory, channel);
  return length < 0 || (size_t) length >= path_bytes || length >= CUFRAMES_SOCKET_PATH_BYTES ? -ENAMETOOLONG : 0;
}

/* 0, -EINVAL for an empty path, or -ENAMETOOLONG. "@name" is an abstract address. */
int
cuframes_address_set (const char *path, struct sockaddr_un *ret_address, socklen_t *ret_length)
{
  size_t length = strlen (path);

  if (length == 0 || (path[0] == '@' && length == 1))
    return -EINVAL;
  if (length >= sizeof ret_address->sun_path)
    return -ENAMETOOLONG;
  memset (ret_address, 0, sizeof *ret_address);
  ret_address->sun_family = AF_UNIX;
  memcpy (ret_address->sun_path, path, length);
  if (path[0] == '@') {
    ret_address->sun_path[0] = 0;
    *ret_length = (socklen_t) (offsetof (struct sockaddr_un, sun_path) + length);
  } else
    *ret_length = sizeof *ret_address;
  return 0;
}
