/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "standard-files.h"

#include <fcntl.h>
#include <unistd.h>

/* A program can be started without standard files. The next socket or memory file would then be standard output, and be written to. Before
 * anything else is opened; false if standard output was closed. */
bool
standard_files_hold (void)
{
  const bool has_output = fcntl (STDOUT_FILENO, F_GETFD) >= 0;
  int fd;

  do {
    fd = open ("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0)
    close (fd);
  return has_output;
}
