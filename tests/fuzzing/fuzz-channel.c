/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One message with its descriptors over one socket: whatever was sent, with whatever descriptors, is taken whole or not at all, and no
 * descriptor is left.
 *
 * The input is a row of messages: a byte whose low bits say how many descriptors come with it and whose high bit makes the header right, two
 * bytes of length, the bytes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cuframes-channel.h"
#include "fuzz.h"

#define FDS_MAX 12
#define MESSAGES_MAX 8

static int ends[2] = { -1, -1 };
static CuframesInbox inbox;

static void
prepare (void)
{
  if (ends[0] >= 0)
    return;
  FUZZ_REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
  FUZZ_REQUIRE (cuframes_inbox_init (&inbox) == 0);
}

static int
lowest_free_fd (void)
{
  const int fd = fcntl (ends[0], F_DUPFD_CLOEXEC, 0);

  FUZZ_REQUIRE (fd >= 0);
  close (fd);
  return fd;
}

static bool
send_with_fds (const uint8_t *bytes, size_t byte_count, uint32_t fd_count)
{
  union
  {
    struct cmsghdr head;
    char bytes[CMSG_SPACE (FDS_MAX * sizeof (int))];
  } control = { 0 };
  int fds[FDS_MAX];
  struct iovec part = { (void *) bytes, byte_count };
  struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1 };

  for (uint32_t i = 0; i < fd_count; i++)
    fds[i] = ends[i % 2];
  if (fd_count > 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE (fd_count * sizeof (int));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN (fd_count * sizeof (int));
    memcpy (CMSG_DATA (&control.head), fds, fd_count * sizeof (int));
  }
  return sendmsg (ends[0], &header, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t) byte_count;
}

static bool
send_next (FuzzInput *input)
{
  const uint8_t first = (uint8_t) fuzz_take (input, 1);
  const uint32_t fd_count = (first & 0x7f) % (FDS_MAX + 1);
  const FuzzInput message = fuzz_take_bytes (input, fuzz_take (input, 2));
  uint8_t bytes[UINT16_MAX + 1];

  if (message.size == 0)
    return false;
  memcpy (bytes, message.bytes, message.size);
  if ((first & 0x80) != 0 && message.size >= CUFRAMES_WIRE_HEADER_BYTES) {
    const uint32_t magic = CUFRAMES_WIRE_MAGIC, body_bytes = (uint32_t) (message.size - CUFRAMES_WIRE_HEADER_BYTES);
    const uint16_t version = CUFRAMES_WIRE_VERSION;

    memcpy (bytes, &magic, sizeof magic);
    memcpy (bytes + 4, &version, sizeof version);
    memcpy (bytes + 8, &body_bytes, sizeof body_bytes);
    memcpy (bytes + 12, &fd_count, sizeof fd_count);
  }
  return send_with_fds (bytes, message.size, fd_count);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  FuzzInput input = { data, size };
  unsigned sent = 0, received = 0;
  int before, r;

  prepare ();
  before = lowest_free_fd ();
  while (sent < MESSAGES_MAX && input.size > 0 && send_next (&input))
    sent++;
  while ((r = cuframes_channel_receive (ends[1], &inbox)) != CUFRAMES_E_EMPTY) {
    FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_PEER);
    FUZZ_REQUIRE (r == 0 || inbox.fd_count == 0);
    FUZZ_REQUIRE (inbox.fd_count <= CUFRAMES_WIRE_FDS_MAX);
    for (uint32_t i = 0; i < inbox.fd_count; i++)
      FUZZ_REQUIRE (fcntl (inbox.fds[i], F_GETFD) == FD_CLOEXEC);
    /* what is taken can be sent */
    if (r == 0 && inbox.message.type != CUFRAMES_MESSAGE_STATS) {
      FUZZ_REQUIRE (cuframes_channel_send (ends[1], &inbox.message, inbox.fds, inbox.fd_count) == 0);
      FUZZ_REQUIRE (recv (ends[0], &(char) { 0 }, 1, MSG_DONTWAIT) == 1);
    }
    received++;
  }
  FUZZ_REQUIRE (received == sent);
  cuframes_inbox_close_fds (&inbox);
  FUZZ_REQUIRE (lowest_free_fd () == before);
  return 0;
}
