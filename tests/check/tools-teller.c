/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A publisher that answers without being asked, without end, for the tests of the programs: the path of its socket. Several processes send to each
 * observer, and of another format each time, so that one who reads as fast as it can still finds something. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cuframes-channel.h"

#define TELLERS 4

static const char *const formats[] = {
  "video/x-raw, format=(string)GRAY8, width=(int)64, height=(int)48, framerate=(fraction)30/1",
  "video/x-raw, format=(string)GRAY8, width=(int)64, height=(int)480, framerate=(fraction)30/1",
};

static void
tell (int fd, pid_t parent)
{
  uint8_t bytes[2][1024];
  size_t byte_counts[2];

  /* Killed with whoever started us. */
  if (prctl (PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid () != parent)
    _exit (1);
  for (unsigned i = 0; i < 2; i++) {
    const CuframesMessage message = {.type = CUFRAMES_MESSAGE_STATS,.stats = {.format = formats[i],.format_bytes = (uint32_t) strlen (formats[i]) + 1} };
    if (cuframes_wire_encode (&message, 0, bytes[i], sizeof bytes[i], &byte_counts[i]) != 0)
      _exit (1);
  }
  for (unsigned i = 0; send (fd, bytes[i % 2], byte_counts[i % 2], MSG_NOSIGNAL) >= 0; i++)
    continue;
  _exit (0);
}

static int
welcome (int fd)
{
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_WELCOME,.welcome = {.version = 1,.subscriber_id = 1,.ring_id = 1,.max_leases = 1} };
  const pid_t self = getpid ();
  int wake[2], r;

  if (pipe2 (wake, O_CLOEXEC | O_NONBLOCK) != 0)
    return 1;
  r = cuframes_channel_send (fd, &message, (int[]) { wake[0], wake[0] }, 2);
  close (wake[0]);
  close (wake[1]);
  for (int i = 0; r == 0 && i < TELLERS; i++) {
    const pid_t child = fork ();
    if (child == 0)
      tell (fd, self);
    r = child < 0;
  }
  return r;
}

int
main (int argc, char **argv)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX };
  const int listener = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  int fd;

  if (argc != 2 || strlen (argv[1]) >= sizeof address.sun_path || signal (SIGCHLD, SIG_IGN) == SIG_ERR)
    return 1;
  strcpy (address.sun_path, argv[1]);
  if (listener < 0 || bind (listener, (struct sockaddr *) &address, sizeof address) != 0 || listen (listener, 8) != 0)
    return 1;
  printf ("open\n");
  fflush (stdout);
  while ((fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
    if (welcome (fd) != 0)
      return 1;
    close (fd);
  }
  return 1;
}
