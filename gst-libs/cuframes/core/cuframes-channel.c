/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whole messages with their descriptors over a connected SOCK_SEQPACKET socket, never waiting. Knows no state of either side. */
#define _GNU_SOURCE
#include "cuframes-channel.h"

#include <string.h>
#include <sys/socket.h>

#include "cuframes-util.h"

#if !defined SO_PASSRIGHTS && (defined __x86_64__ || defined __i386__ || defined __aarch64__ || defined __arm__ || defined __riscv)
#define SO_PASSRIGHTS 83
#endif
/* As many descriptors as the kernel lets into one message. */
#define KERNEL_FDS_MAX 253

typedef union
{
  struct cmsghdr head;
  char bytes[CMSG_SPACE (CUFRAMES_WIRE_FDS_MAX * sizeof (int))];
} Control;

typedef union
{
  struct cmsghdr head;
  char bytes[CMSG_SPACE (KERNEL_FDS_MAX * sizeof (int))];
} ReceivedControl;

/* What a peer sends may be a TCP socket whose last close waits as long as the peer has said (SO_LINGER). Always -1. */
static int
close_foreign (int fd)
{
  static const struct linger none = { 0 };

  if (fd >= 0)
    setsockopt (fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
  return cuframes_close (fd);
}

/* Nobody can send descriptors over this socket, or over what is accepted from it: closing a stranger's descriptor, received or not, may
 * wait as long as the stranger likes. Before Linux 6.16 there is no such thing, and whoever sends one is dropped for it. */
void
cuframes_channel_refuse_fds (int fd)
{
#ifdef SO_PASSRIGHTS
  setsockopt (fd, SOL_SOCKET, SO_PASSRIGHTS, &(int) { 0 }, sizeof (int));
#else
  (void) fd;
#endif
}

/* 0 or -ENOMEM. */
int
cuframes_inbox_init (CuframesInbox *inbox)
{
  *inbox = (CuframesInbox) { .fds = { -1, -1, -1 } };
  inbox->bytes = malloc (CUFRAMES_WIRE_BYTES_MAX);
  return inbox->bytes == NULL ? -ENOMEM : 0;
}

void
cuframes_inbox_close_fds (CuframesInbox *inbox)
{
  for (uint32_t i = 0; i < CUFRAMES_WIRE_FDS_MAX; i++)
    inbox->fds[i] = close_foreign (inbox->fds[i]);
  inbox->fd_count = 0;
}

void
cuframes_inbox_clear (CuframesInbox *inbox)
{
  cuframes_inbox_close_fds (inbox);
  free (cuframes_steal (&inbox->bytes));
}

static bool
is_hang_up (int error)
{
  return error == EPIPE || error == ECONNRESET || error == ENOTCONN || error == ECONNREFUSED;
}

/* The descriptors are borrowed. 0, CUFRAMES_E_FULL if the peer leaves its messages unread, CUFRAMES_E_CLOSED, -EMSGSIZE,
 * -ENOMEM, -ETOOMANYREFS or another negative errno; nothing was sent then. */
int
cuframes_channel_send (int fd, const CuframesMessage *message, const int *fds, uint32_t fd_count)
{
  CUFRAMES_AUTO_FREE uint8_t *bytes = malloc (CUFRAMES_WIRE_BYTES_MAX);
  Control control = { 0 };
  struct iovec part;
  struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1 };
  size_t byte_count;
  ssize_t sent;
  int r;

  if (bytes == NULL)
    return -ENOMEM;
  r = cuframes_wire_encode (message, fd_count, bytes, CUFRAMES_WIRE_BYTES_MAX, &byte_count);
  if (r < 0)
    return r;
  part = (struct iovec) { bytes, byte_count };
  if (fd_count > 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE (fd_count * sizeof (int));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN (fd_count * sizeof (int));
    memcpy (CMSG_DATA (&control.head), fds, fd_count * sizeof (int));
  }
  do {
    sent = sendmsg (fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0)
    return 0;
  if (errno == EAGAIN || errno == ENOBUFS)
    return CUFRAMES_E_FULL;
  return is_hang_up (errno) ? CUFRAMES_E_CLOSED : -errno;
}

/* Takes every descriptor that came; those beyond what any message may carry are closed and make the message bad.
 * 0, CUFRAMES_E_PEER, or -EMFILE: the kernel passes on what finds a place in our table and cuts off the rest. */
static int
take_fds (CuframesInbox *inbox, struct msghdr *header)
{
  bool good = (header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;

  for (struct cmsghdr * c = CMSG_FIRSTHDR (header); c != NULL; c = CMSG_NXTHDR (header, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
      continue;
    for (size_t i = 0; i < (c->cmsg_len - CMSG_LEN (0)) / sizeof (int); i++) {
      int fd;
      memcpy (&fd, CMSG_DATA (c) + i * sizeof (int), sizeof fd);
      if (inbox->fd_count < CUFRAMES_WIRE_FDS_MAX)
        inbox->fds[inbox->fd_count++] = fd;
      else {
        close_foreign (fd);
        good = false;
      }
    }
  }
  if ((header->msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == MSG_CTRUNC && inbox->fd_count < CUFRAMES_WIRE_FDS_MAX)
    return -EMFILE;
  return good ? 0 : CUFRAMES_E_PEER;
}

/* Replaces what the inbox held. 0, CUFRAMES_E_EMPTY if nothing is there, CUFRAMES_E_CLOSED, CUFRAMES_E_PEER for anything but one
 * whole message with its own count of descriptors, -EMFILE if this process has no place for them, or another negative errno. */
int
cuframes_channel_receive (int fd, CuframesInbox *inbox)
{
  ReceivedControl control;
  struct iovec part = { inbox->bytes, CUFRAMES_WIRE_BYTES_MAX };
  struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1,.msg_control = control.bytes,.msg_controllen = sizeof control.bytes };
  ssize_t received;
  bool was_reset = false;
  int r;

  cuframes_inbox_close_fds (inbox);
  /* A peer that closes before it has read everything leaves an error, which the kernel tells before the peer's last messages. */
  do {
    received = recvmsg (fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received < 0 && (errno == EINTR || (errno == ECONNRESET && !was_reset && (was_reset = true))));
  if (received < 0)
    return errno == EAGAIN ? CUFRAMES_E_EMPTY : is_hang_up (errno) ? CUFRAMES_E_CLOSED : -errno;
  r = take_fds (inbox, &header);
  if (r != 0) {
    cuframes_inbox_close_fds (inbox);
    return r;
  }
  if (received == 0) {
    cuframes_inbox_close_fds (inbox);
    return CUFRAMES_E_CLOSED;
  }
  if (cuframes_wire_decode (inbox->bytes, (size_t) received, inbox->fd_count, &inbox->message) != 0) {
    cuframes_inbox_close_fds (inbox);
    return CUFRAMES_E_PEER;
  }
  return 0;
}
