/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "core-lies.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int
lie_make_memfd (size_t bytes, unsigned seals)
{
  int fd = memfd_create ("cuframes-test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

  if (fd < 0 || ftruncate (fd, (off_t) bytes) != 0 || (seals != 0 && fcntl (fd, F_ADD_SEALS, seals) != 0))
    abort ();
  return fd;
}

int
lie_make (LieKind kind, size_t bytes)
{
  int fds[2];
  FILE *file;

  switch (kind) {
    case LIE_A_PIPE:
      if (pipe2 (fds, O_CLOEXEC) != 0)
        abort ();
      close (fds[1]);
      return fds[0];
    case LIE_A_DIRECTORY:
      return open ("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    case LIE_A_DEVICE:
      return open ("/dev/zero", O_RDWR | O_CLOEXEC);
    case LIE_A_SOCKET:
      return socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    case LIE_AN_ORDINARY_FILE:
      file = tmpfile ();
      fds[0] = fcntl (fileno (file), F_DUPFD_CLOEXEC, 0);
      fclose (file);
      if (ftruncate (fds[0], (off_t) bytes) != 0)
        abort ();
      return fds[0];
    case LIE_UNSEALED:
      return lie_make_memfd (bytes, 0);
    case LIE_TOO_SMALL:
      return lie_make_memfd (bytes - 1, F_SEAL_SHRINK | F_SEAL_GROW);
    case LIE_EMPTY:
      return lie_make_memfd (0, F_SEAL_SHRINK | F_SEAL_GROW);
    default:
      return lie_make_memfd (bytes, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
  }
}
