/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A program of somebody else's that has libcuframes as a Meson subproject. */
#include <stdio.h>

#include <cuframes.h>

int
main (void)
{
  char path[CUFRAMES_SOCKET_PATH_BYTES];

  if (cuframes_channel_path ("parent", path, sizeof path) != 0)
    return 1;
  puts (path);
  return 0;
}
