/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A publisher one of whose subscribers is the input: its messages with their descriptors, and what it writes into its lease page. Another, which
 * keeps to the rules, gets every frame or packet that is published, whole, and when the hostile one has hung up nothing of it is left.
 *
 * The input: a byte (1: joins as it should first; 2: frames or packets), then steps of a byte each: a message (a byte of flags, one of length), a word
 * of the lease page, a frame or packet, an event, a new ring. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cuframes-channel.h"
#include "cuframes-layout.h"
#include "cuframes-util.h"
#include "cuframes.h"
#include "fuzz.h"

#define SLOT_BYTES 64u
#define SLOTS 8u
#define PATIENCE_NS UINT64_C (100000000000)
#define STEPS_MAX 100
#define KINDS 2
/* Descriptors are counted every so many inputs; so many may be of connections that are about to be closed. */
#define CHECK_EVERY 64u
#define HALF_OPEN_MOST 34u

static struct
{
  CuframesPublisher *publisher;
  CuframesSubscriber *witness;
  CuframesRing *ring;
  uint64_t number;
} sides[KINDS];
static FuzzInput input;
static CuframesInbox inbox;

static void
start_ring (unsigned kind)
{
  CuframesRing *ring = NULL;

  if (kind == 0) {
    CuframesRingConfig config = {.slot_bytes = SLOT_BYTES,.slot_count = SLOTS,.reserve_count = 2,.fence_offset_bytes = CUFRAMES_NONE,.format = "f",
      .format_bytes = 1 };

    FUZZ_REQUIRE (cuframes_arena_new_host (SLOTS * SLOT_BYTES, &config.arena) == 0);
    FUZZ_REQUIRE (cuframes_publisher_start_ring (sides[kind].publisher, &config, &ring) == 0);
    cuframes_arena_unref (config.arena);
  } else {
    const CuframesPacketRingConfig config = {.index_size = 16,.data_bytes = 4096,.format = "p",.format_bytes = 1 };

    FUZZ_REQUIRE (cuframes_ring_new_packets (&config, &ring) == 0);
    FUZZ_REQUIRE (cuframes_publisher_announce_ring (sides[kind].publisher, ring) == 0);
  }
  cuframes_ring_unref (sides[kind].ring);
  sides[kind].ring = ring;
}

static void
prepare (unsigned kind)
{
  const CuframesPublisherConfig config = {.max_leases = 2 };
  const CuframesSubscriberConfig witness_config = {.start = CUFRAMES_START_NEXT };
  int ends[2];

  if (sides[kind].publisher != NULL)
    return;
  FUZZ_REQUIRE (inbox.bytes != NULL || cuframes_inbox_init (&inbox) == 0);
  FUZZ_REQUIRE (cuframes_publisher_new (&config, &sides[kind].publisher) == 0);
  start_ring (kind);
  FUZZ_REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  FUZZ_REQUIRE (cuframes_publisher_adopt (sides[kind].publisher, ends[0]) == 0);
  FUZZ_REQUIRE (cuframes_subscriber_new (&witness_config, &sides[kind].witness) == 0);
  FUZZ_REQUIRE (cuframes_subscriber_adopt (sides[kind].witness, ends[1], PATIENCE_NS) == 0);
}

/* Everything up to the newest frame or packet, each of them what it should be. */
static void
witness (unsigned kind, bool published)
{
  CuframesItem item;
  bool seen = !published;

  while (!seen) {
    FUZZ_REQUIRE (cuframes_subscriber_next (sides[kind].witness, PATIENCE_NS, &item) == 0);
    FUZZ_REQUIRE (item.kind != CUFRAMES_ITEM_DISCONNECTED);
    if (item.kind == CUFRAMES_ITEM_FRAME) {
      FUZZ_REQUIRE (item.missed == 0 && item.info->pts_ns == sides[kind].number);
      FUZZ_REQUIRE (*(uint64_t *) (uintptr_t) cuframes_frame_get_address (item.frame) == sides[kind].number);
      cuframes_frame_unref (item.frame);
      seen = true;
    } else if (item.kind == CUFRAMES_ITEM_PACKET) {
      uint64_t got = 0;

      FUZZ_REQUIRE (item.missed == 0 && item.packet_info->size_bytes == sizeof got);
      FUZZ_REQUIRE (cuframes_subscriber_take_packet (sides[kind].witness, &got, NULL) == 0 && got == sides[kind].number);
      seen = true;
    }
  }
}

/* A hostile one may hold two slots; that leaves enough for all others. */
static void
publish (unsigned kind)
{
  uint64_t sequence, *words;
  uint32_t slot;
  int r;

  sides[kind].number++;
  if (kind == 0) {
    const CuframesFrameInfo info = {.size_bytes = SLOT_BYTES,.pts_ns = sides[kind].number,.moment_ns = CUFRAMES_NONE };

    FUZZ_REQUIRE (cuframes_ring_claim (sides[kind].ring, PATIENCE_NS, &slot) == 0);
    words = (uint64_t *) (uintptr_t) cuframes_ring_get_slot_address (sides[kind].ring, slot);
    words[0] = sides[kind].number;
    r = cuframes_publisher_publish (sides[kind].publisher, sides[kind].ring, slot, &info, &sequence);
    cuframes_ring_release (sides[kind].ring, slot);
    FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_FULL);
  } else {
    const CuframesPacketInfo info = {.size_bytes = sizeof sides[kind].number,.flags = CUFRAMES_PACKET_KEY,.moment_ns = CUFRAMES_NONE };
    const struct iovec piece = { &sides[kind].number, sizeof sides[kind].number };

    r = cuframes_publisher_publish_packet (sides[kind].publisher, sides[kind].ring, &info, &piece, 1, NULL, &sequence);
    FUZZ_REQUIRE (r == 0);
  }
  witness (kind, r == 0);
}

static int
receive (int fd)
{
  struct pollfd readable = {.fd = fd,.events = POLLIN };

  return poll (&readable, 1, (int) (PATIENCE_NS / 1000000)) == 1 ? cuframes_channel_receive (fd, &inbox) : CUFRAMES_E_TIMEOUT;
}

/* Its lease page, or NULL if it was pushed out by those that say nothing. */
static CuframesLeasePage *
join (int fd)
{
  const CuframesMessage hello = {.type = CUFRAMES_MESSAGE_HELLO,.hello = {.version_min = 1,.version_max = 1,.role = CUFRAMES_ROLE_SUBSCRIBER,
      .memory_kinds = 1u << CUFRAMES_MEMORY_HOST,.name = "fuzz"} };
  CuframesMessage ready = {.type = CUFRAMES_MESSAGE_READY };
  void *page;

  if (cuframes_channel_send (fd, &hello, NULL, 0) != 0)
    return NULL;
  do {
    const int r = receive (fd);

    if (r != 0 && r != CUFRAMES_E_CLOSED)
      fprintf (stderr, "the answer to HELLO: %d\n", r);
    FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_CLOSED);
    if (r != 0)
      return NULL;
  } while (inbox.message.type != CUFRAMES_MESSAGE_RING);
  page = mmap (NULL, CUFRAMES_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, inbox.fds[2], 0);
  ready.ready_generation = inbox.message.ring.generation;
  cuframes_inbox_close_fds (&inbox);
  FUZZ_REQUIRE (page != MAP_FAILED && cuframes_channel_send (fd, &ready, NULL, 0) == 0);
  return page;
}

static void
send_raw (int fd)
{
  const uint8_t flags = (uint8_t) fuzz_take (&input, 1);
  const FuzzInput raw = fuzz_take_bytes (&input, fuzz_take (&input, 1));
  const uint32_t fd_count = flags % 16 < 12 ? 0 : flags % 4;
  const uint32_t magic = CUFRAMES_WIRE_MAGIC, body_bytes = (uint32_t) (raw.size < 2 ? 0 : raw.size - 2);
  const uint16_t version = CUFRAMES_WIRE_VERSION;
  uint8_t bytes[CUFRAMES_WIRE_HEADER_BYTES + 256] = { 0 };
  union
  {
    struct cmsghdr head;
    char bytes[CMSG_SPACE (3 * sizeof (int))];
  } control = { 0 };
  struct iovec part = { bytes, CUFRAMES_WIRE_HEADER_BYTES + body_bytes };
  struct msghdr header = {.msg_iov = &part,.msg_iovlen = 1 };
  const int fds[3] = { fd, fd, fd };

  memcpy (bytes, &magic, 4);
  memcpy (bytes + 4, &version, 2);
  memcpy (bytes + 6, raw.bytes, raw.size < 2 ? raw.size : 2);
  memcpy (bytes + 8, &body_bytes, 4);
  memcpy (bytes + 12, &fd_count, 4);
  if (body_bytes > 0)
    memcpy (bytes + CUFRAMES_WIRE_HEADER_BYTES, raw.bytes + 2, body_bytes);
  if (flags & 0x80)
    part = (struct iovec) { (void *) raw.bytes, raw.size };
  if (part.iov_len == 0)
    return;
  if (fd_count > 0) {
    header.msg_control = control.bytes;
    header.msg_controllen = CMSG_SPACE (fd_count * sizeof (int));
    control.head.cmsg_level = SOL_SOCKET;
    control.head.cmsg_type = SCM_RIGHTS;
    control.head.cmsg_len = CMSG_LEN (fd_count * sizeof (int));
    memcpy (CMSG_DATA (&control.head), fds, fd_count * sizeof (int));
  }
  if (sendmsg (fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
    FUZZ_REQUIRE (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET || errno == ETOOMANYREFS || errno == EPERM);
}

static void
run_step (uint8_t step, int fd, CuframesLeasePage *page, unsigned kind)
{
  switch (step % 8) {
    case 0:
    case 1:
      publish (kind);
      break;
    case 2:
      if (step / 8 % 8 == 7)
        start_ring (kind);
      break;
    case 3:
      (void) cuframes_publisher_send_event (sides[kind].publisher, CUFRAMES_EVENT_GST, step / 8 % 2, &step, 1);
      break;
    case 4:
    case 5:
      if (page != NULL) {
        const size_t word = fuzz_take (&input, 1) % (sizeof *page / 8);
        const uint64_t value = fuzz_take (&input, 8);

        memcpy ((uint8_t *) page + word * 8, &value, sizeof value);
      }
      break;
    default:
      send_raw (fd);
  }
}

static bool
is_alone (unsigned kind)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (sides[kind].publisher, &stats);
  return stats.subscribers == 1;
}

/* Those that hung up before they had said who they are may still be in the way of the next for a moment. */
static void
connect_to (unsigned kind, int ends[2])
{
  const uint64_t end_ns = cuframes_now_ns () + PATIENCE_NS;
  int r = CUFRAMES_E_FULL;

  while (r == CUFRAMES_E_FULL && cuframes_now_ns () < end_ns) {
    FUZZ_REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    r = cuframes_publisher_adopt (sides[kind].publisher, ends[0]);
    if (r != 0)
      close (ends[1]);
  }
  FUZZ_REQUIRE (r == 0);
}

static unsigned
count_fds (void)
{
  DIR *folder = opendir ("/proc/self/fd");
  unsigned count = 0;

  FUZZ_REQUIRE (folder != NULL);
  while (readdir (folder) != NULL)
    count++;
  closedir (folder);
  return count;
}

/* The server closes what belonged to one that has gone a moment later. */
static void
check_fds (void)
{
  static unsigned runs, most;
  const uint64_t end_ns = cuframes_now_ns () + PATIENCE_NS;

  if (++runs % CHECK_EVERY != 0)
    return;
  if (runs <= 2 * CHECK_EVERY)
    most = count_fds () + HALF_OPEN_MOST;
  while (count_fds () > most && cuframes_now_ns () < end_ns)
    sched_yield ();
  FUZZ_REQUIRE (count_fds () <= most);
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  CuframesLeasePage *page = NULL;
  unsigned kind;
  uint64_t end_ns;
  uint8_t how;
  int ends[2];

  input = (FuzzInput) { data, size };
  how = (uint8_t) fuzz_take (&input, 1);
  kind = how / 2 % KINDS;
  prepare (kind);
  connect_to (kind, ends);
  for (bool joins = (how & 1) != 0; joins; joins = page == NULL) {
    page = join (ends[1]);
    if (page == NULL) {
      close (ends[1]);
      connect_to (kind, ends);
    }
  }
  for (unsigned i = 0; input.size > 0 && i < STEPS_MAX; i++)
    run_step ((uint8_t) fuzz_take (&input, 1), ends[1], page, kind);
  if (page != NULL)
    munmap (page, CUFRAMES_PAGE_BYTES);
  close (ends[1]);
  end_ns = cuframes_now_ns () + PATIENCE_NS;
  while (!is_alone (kind) && cuframes_now_ns () < end_ns)
    sched_yield ();
  FUZZ_REQUIRE (is_alone (kind));
  publish (kind);
  check_fds ();
  return 0;
}
