/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One message with its descriptors over one socket: whole or not at all. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core-fixture.h"
#include "cuframes-channel.h"

typedef struct
{
  int fds[2];
  CuframesInbox inbox;
} Pair;

static bool
pair_open (Pair *pair)
{
  return socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair->fds) == 0 && cuframes_inbox_init (&pair->inbox) == 0;
}

static void
pair_close (Pair *pair)
{
  cuframes_inbox_clear (&pair->inbox);
  for (int i = 0; i < 2; i++)
    if (pair->fds[i] >= 0)
      close (pair->fds[i]);
}

static const CuframesMessage ready = {.type = CUFRAMES_MESSAGE_READY,.ready_generation = 9 };

/* Sends raw bytes with copies of one descriptor, in as many control messages as said. */
static bool
send_raw (int fd, const void *bytes, size_t byte_count, uint32_t fd_count)
{
  union
  {
    struct cmsghdr head;
    char bytes[CMSG_SPACE (64 * sizeof (int))];
  } control = { 0 };
  struct iovec part = { (void *) bytes, byte_count };
  struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1 };

  if (fd_count > 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE (fd_count * sizeof (int));
    control.head = (struct cmsghdr) {.cmsg_level = SOL_SOCKET,.cmsg_type = SCM_RIGHTS,.cmsg_len = CMSG_LEN (fd_count * sizeof (int)) };
    for (uint32_t i = 0; i < fd_count; i++)
      memcpy (CMSG_DATA (&control.head) + i * sizeof (int), &fd, sizeof (int));
  }
  return sendmsg (fd, &header, MSG_NOSIGNAL) == (ssize_t) byte_count;
}

static void
a_message_arrives_with_its_descriptors (void)
{
  const CuframesMessage ring = {.type = CUFRAMES_MESSAGE_RING,.ring = {.generation = 3,.format = "f",.format_bytes = 1} };
  Pair pair;

  REQUIRE (pair_open (&pair));
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), CUFRAMES_E_EMPTY);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ring, (int[3]) { 0, 1, 2 }, 3), 0);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ready, NULL, 0), 0);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  CHECK (pair.inbox.message.type == CUFRAMES_MESSAGE_RING && pair.inbox.message.ring.generation == 3 && pair.inbox.fd_count == 3);
  for (int i = 0; i < 3; i++)
    CHECK_EQUAL (fcntl (pair.inbox.fds[i], F_GETFD), FD_CLOEXEC);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  CHECK (pair.inbox.message.type == CUFRAMES_MESSAGE_READY && pair.inbox.fd_count == 0 && pair.inbox.fds[0] == -1);
  pair_close (&pair);
}

static rlim_t
first_free_fd (void)
{
  const int fd = fcntl (0, F_DUPFD_CLOEXEC, 0);

  close (fd);
  return (rlim_t) fd;
}

static void
too_many_descriptors_are_all_closed (void)
{
  uint8_t bytes[64];
  size_t byte_count;
  Pair pair;

  REQUIRE (pair_open (&pair));
  REQUIRE (cuframes_wire_encode (&ready, 0, bytes, sizeof bytes, &byte_count) == 0);
  for (uint32_t count = 1; count <= 64; count++) {
    const unsigned before = fixture_count_fds ();
    memcpy (bytes + 12, &count, sizeof count);
    REQUIRE (send_raw (pair.fds[0], bytes, byte_count, count));
    CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), CUFRAMES_E_PEER);
    CHECK_EQUAL (fixture_count_fds (), before);
    CHECK_EQUAL (pair.inbox.fd_count, 0);
  }
  pair_close (&pair);
}

/* A peer that keeps to the protocol is not blamed for what this process lacks. */
static void
a_full_table_of_descriptors_is_told_as_such (void)
{
  const CuframesMessage ring = {.type = CUFRAMES_MESSAGE_RING,.ring = {.format = "f",.format_bytes = 1} };
  struct rlimit before, limit;
  unsigned fds;
  Pair pair;

  if (fixture_is_under_valgrind ()) {
    fixture_skip ("valgrind keeps the limit to itself");
    return;
  }
  REQUIRE (pair_open (&pair) && getrlimit (RLIMIT_NOFILE, &before) == 0);
  fds = fixture_count_fds ();
  limit = before;
  for (rlim_t room = 0; room < 3; room++) {
    CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ring, (int[3]) { 0, 1, 2 }, 3), 0);
    limit.rlim_cur = first_free_fd () + room;
    REQUIRE (setrlimit (RLIMIT_NOFILE, &limit) == 0);
    CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), -EMFILE);
    REQUIRE (setrlimit (RLIMIT_NOFILE, &before) == 0);
    CHECK_EQUAL (fixture_count_fds (), fds);
  }
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ring, (int[3]) { 0, 1, 2 }, 3), 0);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  pair_close (&pair);
}

static void
anything_but_a_whole_message_is_refused (void)
{
  static uint8_t large[CUFRAMES_WIRE_BYTES_MAX + 1];
  const int room = 4 * CUFRAMES_WIRE_BYTES_MAX;
  uint8_t bytes[64];
  size_t byte_count;
  Pair pair;

  REQUIRE (pair_open (&pair));
  REQUIRE (cuframes_wire_encode (&ready, 0, bytes, sizeof bytes, &byte_count) == 0);
  for (size_t cut = 1; cut < byte_count; cut++) {
    REQUIRE (send_raw (pair.fds[0], bytes, cut, 0));
    CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), CUFRAMES_E_PEER);
  }
  /* a message of many parts of one byte is many messages */
  for (size_t i = 0; i < byte_count; i++)
    REQUIRE (send_raw (pair.fds[0], bytes + i, 1, 0));
  for (size_t i = 0; i < byte_count; i++)
    CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), CUFRAMES_E_PEER);
  /* longer than any message may be: its head is sound and its length says what was sent */
  REQUIRE (setsockopt (pair.fds[0], SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) == 0 || setsockopt (pair.fds[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof room) == 0);
  memcpy (large, bytes, byte_count);
  if (send_raw (pair.fds[0], large, sizeof large, 0))
    CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), CUFRAMES_E_PEER);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ready, NULL, 0), 0);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  pair_close (&pair);
}

static void
a_full_socket_says_so_and_a_closed_one_too (void)
{
  uint32_t sent = 0, received = 0;
  Pair pair;
  int r;

  REQUIRE (pair_open (&pair));
  while ((r = cuframes_channel_send (pair.fds[0], &ready, NULL, 0)) == 0 && sent < 1000000)
    sent++;
  CHECK_EQUAL (r, CUFRAMES_E_FULL);
  while (cuframes_channel_receive (pair.fds[1], &pair.inbox) == 0)
    received++;
  CHECK_EQUAL (received, sent);
  close (pair.fds[1]);
  pair.fds[1] = -1;
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ready, NULL, 0), CUFRAMES_E_CLOSED);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[0], &pair.inbox), CUFRAMES_E_CLOSED);
  pair_close (&pair);
}

static void
last_words_are_heard_although_we_were_not (void)
{
  const CuframesMessage bye = {.type = CUFRAMES_MESSAGE_BYE,.bye_reason = CUFRAMES_BYE_SHUTDOWN };
  Pair pair;

  REQUIRE (pair_open (&pair));
  CHECK_EQUAL (cuframes_channel_send (pair.fds[1], &ready, NULL, 0), 0);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &bye, NULL, 0), 0);
  close (pair.fds[0]);          /* with what we said unread */
  pair.fds[0] = -1;
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  CHECK_EQUAL (pair.inbox.message.type, CUFRAMES_MESSAGE_BYE);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), CUFRAMES_E_CLOSED);
  pair_close (&pair);
}

static void
a_message_that_cannot_be_sent_keeps_its_descriptors (void)
{
  CuframesMessage ring = {.type = CUFRAMES_MESSAGE_RING,.ring = {.format_bytes = CUFRAMES_FORMAT_BYTES_MAX + 1} };
  Pair pair;

  REQUIRE (pair_open (&pair));
  ring.ring.format = calloc (1, ring.ring.format_bytes);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ring, (int[3]) { 0, 1, 2 }, 3), -EMSGSIZE);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ready, (int[1]) { 0 }, 1), -EMSGSIZE);
  ring.ring.format_bytes = CUFRAMES_FORMAT_BYTES_MAX;
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &ring, (int[3]) { 0, 1, 2 }, 3), 0);
  CHECK (fcntl (0, F_GETFD) >= 0);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  CHECK_EQUAL (pair.inbox.message.ring.format_bytes, CUFRAMES_FORMAT_BYTES_MAX);
  free ((void *) ring.ring.format);
  pair_close (&pair);
}

static void
descriptors_that_are_not_fetched_are_not_lost (void)
{
  const CuframesMessage welcome = {.type = CUFRAMES_MESSAGE_WELCOME };
  Pair pair;

  REQUIRE (pair_open (&pair));
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &welcome, (int[2]) { 0, 0 }, 2), 0);
  CHECK_EQUAL (cuframes_channel_send (pair.fds[0], &welcome, (int[2]) { 0, 0 }, 2), 0);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  CHECK_EQUAL (cuframes_channel_receive (pair.fds[1], &pair.inbox), 0);
  pair_close (&pair);
}

static const FixtureTest tests[] = {
  {"a message arrives with its descriptors, which are closed on exec", a_message_arrives_with_its_descriptors},
  {"too many descriptors are all closed", too_many_descriptors_are_all_closed},
  {"a full table of descriptors is told as such", a_full_table_of_descriptors_is_told_as_such},
  {"anything but a whole message is refused", anything_but_a_whole_message_is_refused},
  {"a full socket says so, and a closed one too", a_full_socket_says_so_and_a_closed_one_too},
  {"last words are heard although what we said was not", last_words_are_heard_although_we_were_not},
  {"a message that cannot be sent leaves its descriptors to the caller", a_message_that_cannot_be_sent_keeps_its_descriptors},
  {"descriptors that nobody takes out of the inbox are closed", descriptors_that_are_not_fetched_are_not_lost},
};

FIXTURE_MAIN (tests, NULL, 0)
