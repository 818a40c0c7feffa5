/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A client that speaks the protocol by hand and so can break it. */
#define _GNU_SOURCE
#include "core-fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cuframes-channel.h"

/* A connected socket that waits, or -1. */
int
raw_connect (const char *channel)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX };
  socklen_t length = sizeof address;
  int fd = socket (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

  snprintf (address.sun_path, sizeof address.sun_path, "%s", fixture_socket (channel));
  if (channel[0] == '@') {
    address.sun_path[0] = 0;
    length = (socklen_t) (offsetof (struct sockaddr_un, sun_path) + strlen (channel));
  }
  if (connect (fd, (struct sockaddr *) &address, length) == 0)
    return fd;
  close (fd);
  return -1;
}

bool
raw_send (int fd, uint16_t type, const void *body, uint32_t body_bytes)
{
  const uint32_t magic = CUFRAMES_WIRE_MAGIC, fd_count = 0;
  const uint16_t version = CUFRAMES_WIRE_VERSION;
  uint8_t bytes[1024];

  memcpy (bytes, &magic, 4);
  memcpy (bytes + 4, &version, 2);
  memcpy (bytes + 6, &type, 2);
  memcpy (bytes + 8, &body_bytes, 4);
  memcpy (bytes + 12, &fd_count, 4);
  if (body_bytes > 0)
    memcpy (bytes + 16, body, body_bytes);
  return send (fd, bytes, 16 + body_bytes, MSG_NOSIGNAL) == (ssize_t) (16 + body_bytes);
}

bool
raw_hello (int fd, uint16_t version_min, uint16_t version_max, uint32_t memory_kinds)
{
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_HELLO,.hello = {.version_min = version_min,.version_max = version_max,
      .role = CUFRAMES_ROLE_SUBSCRIBER,.memory_kinds = memory_kinds,.name = "raw" } };

  return cuframes_channel_send (fd, &message, NULL, 0) == 0;
}

static bool
receive (int fd, CuframesInbox *inbox)
{
  struct pollfd readable = {.fd = fd,.events = POLLIN };

  return poll (&readable, 1, (int) (FIXTURE_BOUND_NS / 1000000u)) == 1 && cuframes_channel_receive (fd, inbox) == 0;
}

int
raw_next (int fd, char *text, size_t text_bytes)
{
  CuframesInbox inbox;
  int type = -1;

  if (cuframes_inbox_init (&inbox) == 0 && receive (fd, &inbox))
    type = (int) inbox.message.type;
  if (type == CUFRAMES_MESSAGE_REFUSED && text != NULL)
    snprintf (text, text_bytes, "%s", inbox.message.refused.text);
  cuframes_inbox_clear (&inbox);
  return type;
}

bool
raw_join (Raw *raw, const char *channel)
{
  CuframesInbox inbox;
  bool joined = false;

  *raw = (Raw) {.fd = raw_connect (channel),.wake_fd = -1,.fds = { -1, -1, -1 } };
  if (cuframes_inbox_init (&inbox) != 0)
    return false;
  if (raw->fd >= 0 && raw_hello (raw->fd, 1, 1, 1u << CUFRAMES_MEMORY_HOST) && receive (raw->fd, &inbox)
      && inbox.message.type == CUFRAMES_MESSAGE_WELCOME) {
    raw->subscriber_id = inbox.message.welcome.subscriber_id;
    raw->wake_fd = inbox.fds[0];
    inbox.fds[0] = -1;
    while (!joined && receive (raw->fd, &inbox))
      joined = inbox.message.type == CUFRAMES_MESSAGE_RING;
  }
  for (int i = 0; joined && i < 3; i++) {
    raw->fds[i] = inbox.fds[i];
    inbox.fds[i] = -1;
  }
  raw->generation = joined ? inbox.message.ring.generation : 0;
  cuframes_inbox_clear (&inbox);
  return joined;
}

bool
raw_ready (const Raw *raw, uint32_t generation)
{
  return raw_send (raw->fd, CUFRAMES_MESSAGE_READY, &generation, sizeof generation);
}

bool
raw_is_closed (int fd)
{
  struct pollfd readable = {.fd = fd,.events = POLLIN };
  char bytes[64];

  while (poll (&readable, 1, (int) (FIXTURE_BOUND_NS / 1000000u)) == 1) {
    const ssize_t got = recv (fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno == ECONNRESET))
      return true;
    if (got < 0 && errno != EAGAIN && errno != EINTR)
      return false;
  }
  return false;
}

void
raw_close (Raw *raw)
{
  for (int i = 0; i < 3; i++)
    if (raw->fds[i] >= 0)
      close (raw->fds[i]);
  if (raw->wake_fd >= 0)
    close (raw->wake_fd);
  if (raw->fd >= 0)
    close (raw->fd);
}
