/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A subscriber whose publisher is the input: its messages with their descriptors, and what it writes into the pages, also between the
 * subscriber's looks at them. Whatever that is, frames and packets that are handed out lie within the memory that was handed over,
 * no call fails in another way than it may, and no descriptor is left.
 *
 * The input: a byte that chooses frames or packets and how many fields of the RING message are changed (a byte which, eight bytes the value), then
 * steps of a byte each, see run_step(). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cuframes-channel.h"
#include "cuframes-layout.h"
#include "cuframes-memfd.h"
#include "cuframes-packet-ring.h"
#include "cuframes-util.h"
#include "cuframes.h"
#include "fuzz.h"

#define SLOTS 4u
#define SLOT_BYTES 4096u
#define META_BYTES 4096u
#define INDEX_SIZE 16u
#define DATA_BYTES 4096u
#define CONTROL_BYTES (CUFRAMES_META_OFFSET_BYTES + SLOTS * META_BYTES)
#define ARENA_BYTES (SLOTS * SLOT_BYTES)
#define HELD_MAX 8
#define STEPS_MAX 300

/* The publisher's pages, made once: what an input wrote into them is undone by the next. */
static int page_fds[3] = { -1, -1, -1 };
static uint8_t *pages[3];
static int odd_fds[5];
static const size_t page_bytes[3] = { CONTROL_BYTES, ARENA_BYTES, CUFRAMES_PAGE_BYTES };

static FuzzInput input;
static int fd, wake_fd;
static CuframesMessage ring;
static CuframesSubscriber *subscriber;
static CuframesFrame *held[HELD_MAX];
static unsigned held_count, changes_due;
static CuframesPacketRing packets;
static uint64_t number;

static void
change_word (void)
{
  const size_t which = fuzz_take (&input, 1);
  const size_t word = fuzz_take (&input, 2);
  const uint64_t value = fuzz_take (&input, 8);
  /* what is looked at most is hit most: the heads of the pages */
  uint8_t *page = pages[which % 8 == 7 ? 1 : which % 8 == 6 ? 2 : 0];
  const size_t bytes = page == pages[0] ? (which % 2 == 0 ? 192 : sizeof (CuframesControlPage)) : page == pages[1] ? ARENA_BYTES : 192;

  memcpy (page + word % (bytes / 8) * 8, &value, sizeof value);
}

void
cuframes_testpoint (const char *name)
{
  if (changes_due == 0 || (strncmp (name, "ring/leas", 9) != 0 && strcmp (name, "packet/record-read") != 0 && strcmp (name, "packet/data-read") != 0))
    return;
  changes_due--;
  change_word ();
}

static void
prepare (void)
{
  int pipe_fds[2];

  if (page_fds[0] >= 0)
    return;
  /* our own end of the wake pipe may have no reader any more */
  signal (SIGPIPE, SIG_IGN);
  for (int i = 0; i < 3; i++) {
    void *data = NULL;
    FUZZ_REQUIRE (cuframes_memfd_new ("fuzz", page_bytes[i], i == 2 ? CUFRAMES_MEMFD_PEER_WRITES : CUFRAMES_MEMFD_OWNER_WRITES,
            CUFRAMES_MEMFD_SPARSE, &page_fds[i], &data) == 0);
    pages[i] = data;
  }
  FUZZ_REQUIRE (pipe2 (pipe_fds, O_CLOEXEC) == 0);
  odd_fds[0] = pipe_fds[0];
  odd_fds[1] = open ("/dev/null", O_RDWR | O_CLOEXEC);
  odd_fds[2] = open ("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  odd_fds[3] = memfd_create ("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  odd_fds[4] = memfd_create ("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  FUZZ_REQUIRE (ftruncate (odd_fds[3], CONTROL_BYTES) == 0 && ftruncate (odd_fds[4], 100) == 0);
  FUZZ_REQUIRE (fcntl (odd_fds[4], F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW) == 0);
}

static int
lowest_free_fd (void)
{
  const int lowest = fcntl (page_fds[0], F_DUPFD_CLOEXEC, 0);

  FUZZ_REQUIRE (lowest >= 0);
  close (lowest);
  return lowest;
}

static void
start_frames (void)
{
  CuframesControlPage *control = (CuframesControlPage *) pages[0];

  control->magic = CUFRAMES_LAYOUT_MAGIC;
  control->version = CUFRAMES_LAYOUT_VERSION;
  control->ring_id = 1;
  control->generation = 1;
  control->slot_count = SLOTS;
  ring.ring = (CuframesRingMessage) {.ring_id = 1,.generation = 1,.kind = CUFRAMES_RING_FRAMES,.slot_count = SLOTS,.slot_bytes = SLOT_BYTES,
    .meta_stride_bytes = META_BYTES,.control_bytes = CONTROL_BYTES,.fence_offset_bytes = CUFRAMES_NONE,
    .arena = {.kind = CUFRAMES_MEMORY_HOST,.size_bytes = ARENA_BYTES},.format = "f",.format_bytes = 1 };
}

static void
start_packets (void)
{
  CuframesPacketControlPage *control = (CuframesPacketControlPage *) pages[0];

  FUZZ_REQUIRE (cuframes_packet_ring_init (&packets, control, INDEX_SIZE, pages[1], DATA_BYTES, 0, 0) == 0);
  control->ring_id = 1;
  control->generation = 1;
  ring.ring = (CuframesRingMessage) {.ring_id = 1,.generation = 1,.kind = CUFRAMES_RING_PACKETS,.slot_count = INDEX_SIZE,.slot_bytes = DATA_BYTES,
    .control_bytes = cuframes_packet_control_bytes (INDEX_SIZE),.fence_offset_bytes = CUFRAMES_NONE,
    .arena = {.kind = CUFRAMES_MEMORY_HOST,.size_bytes = ARENA_BYTES},.format = "f",.format_bytes = 1 };
}

static void
change_ring (void)
{
  const uint8_t which = (uint8_t) fuzz_take (&input, 1);
  const uint64_t value = fuzz_take (&input, 8);
  CuframesRingMessage *message = &ring.ring;

  switch (which % 12) {
    case 0: message->ring_id = value; break;
    case 1: message->generation = (uint32_t) value; break;
    case 2: message->kind = (uint32_t) value; break;
    case 3: message->first_sequence = value; break;
    case 4: message->slot_count = (uint32_t) value; break;
    case 5: message->slot_bytes = value; break;
    case 6: message->data_offset_bytes = value; break;
    case 7: message->meta_stride_bytes = value; break;
    case 8: message->control_bytes = value; break;
    case 9: message->fence_offset_bytes = value; break;
    case 10: message->arena.kind = (CuframesMemoryKind) (value & 3); break;
    default: message->arena.size_bytes = value;
  }
}

static void
send_message (const CuframesMessage *message, const int *fds, uint32_t fd_count)
{
  const int r = cuframes_channel_send (fd, message, fds, fd_count);

  FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_FULL || r == CUFRAMES_E_CLOSED || r == -EMSGSIZE);
}

static void
send_ring (void)
{
  const uint8_t odd = (uint8_t) fuzz_take (&input, 1);
  int fds[3] = { page_fds[0], page_fds[1], page_fds[2] };

  if (odd % 8 < 3)
    fds[odd % 8] = odd_fds[odd / 8 % 5];
  send_message (&ring, fds, 3);
  ring.ring.generation++;
}

static void
send_event (void)
{
  const FuzzInput bytes = fuzz_take_bytes (&input, fuzz_take (&input, 1));
  CuframesMessage event = {.type = CUFRAMES_MESSAGE_EVENT };
  const uint8_t how = (uint8_t) fuzz_take (&input, 1);

  event.event = (CuframesEventMessage) {.serial = fuzz_take (&input, 1),.after_sequence = fuzz_take (&input, 1),.kind = how % 5,
    .bytes = bytes.bytes,.byte_count = (uint32_t) bytes.size };
  if (how & 0x80)
    event.event.serial = event.event.after_sequence = fuzz_take (&input, 8);
  if (how & 0x40) {
    event.event.byte_count = (uint32_t) fuzz_take (&input, 4);
    send_message (&event, how & 0x20 ? &page_fds[1] : &odd_fds[how / 4 % 5], 1);
  } else
    send_message (&event, NULL, 0);
}

static void
send_raw (void)
{
  const uint32_t magic = CUFRAMES_WIRE_MAGIC, fd_count = 0;
  const uint16_t version = CUFRAMES_WIRE_VERSION;
  const FuzzInput raw = fuzz_take_bytes (&input, fuzz_take (&input, 1));
  const uint32_t body_bytes = (uint32_t) (raw.size < 2 ? 0 : raw.size - 2);
  uint8_t bytes[CUFRAMES_WIRE_HEADER_BYTES + 256] = { 0 };

  memcpy (bytes, &magic, 4);
  memcpy (bytes + 4, &version, 2);
  memcpy (bytes + 6, raw.bytes, raw.size < 2 ? raw.size : 2);
  memcpy (bytes + 8, &body_bytes, 4);
  memcpy (bytes + 12, &fd_count, 4);
  if (body_bytes > 0)
    memcpy (bytes + CUFRAMES_WIRE_HEADER_BYTES, raw.bytes + 2, body_bytes);
  if (send (fd, bytes, CUFRAMES_WIRE_HEADER_BYTES + body_bytes, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
    FUZZ_REQUIRE (errno == EAGAIN || errno == EPIPE || errno == ECONNRESET);
}

/* A frame or packet as it should be, but for its description. */
static void
publish (bool of_packets)
{
  static const uint8_t bytes[1100];
  CuframesControlPage *control = (CuframesControlPage *) pages[0];
  CuframesFrameInfo info = {.size_bytes = fuzz_take (&input, 2),.meta_bytes = (uint32_t) fuzz_take (&input, 2),.plane_count = (uint32_t) fuzz_take (&input, 1) };
  const uint8_t how = (uint8_t) fuzz_take (&input, 1);
  const uint32_t slot = how % SLOTS;

  if (of_packets) {
    CuframesPacketInfo packet = {.size_bytes = info.size_bytes % sizeof bytes,.meta_bytes = info.meta_bytes % 64,.flags = how % 4,.event_serial = how / 64 };
    struct iovec piece = {.iov_base = (void *) bytes,.iov_len = packet.size_bytes };
    (void) cuframes_packet_ring_write (&packets, &packet, &piece, 1, bytes, &number);
    return;
  }
  number++;
  info.sequence = number;
  info.event_serial = how / 64;
  info.flags = how / 4 % 4;
  info.plane_offset_bytes[0] = info.plane_count > 2 ? info.meta_bytes : 0;
  control->slots[slot].info = info;
  atomic_store (&control->slots[slot].state, cuframes_tag (number, slot));
  atomic_store (&control->index[number % CUFRAMES_INDEX_SIZE], cuframes_tag (number, slot));
  atomic_store (&control->head, number);
}

static void
read_all (const void *bytes, uint64_t byte_count)
{
  volatile uint8_t sum = 0;

  for (uint64_t i = 0; i < byte_count; i += 61)
    sum ^= ((const volatile uint8_t *) bytes)[i];
  if (byte_count > 0)
    sum ^= ((const volatile uint8_t *) bytes)[byte_count - 1];
  (void) sum;
}

static void
use_frame (const CuframesItem *item)
{
  FUZZ_REQUIRE (item->info->plane_count <= CUFRAMES_PLANES_MAX && item->info->size_bytes <= ARENA_BYTES && item->info->meta_bytes <= CONTROL_BYTES);
  read_all ((const void *) (uintptr_t) cuframes_frame_get_address (item->frame), item->info->size_bytes);
  read_all (cuframes_frame_get_metas (item->frame), item->info->meta_bytes);
  if (held_count < HELD_MAX)
    held[held_count++] = item->frame;
  else
    cuframes_frame_unref (item->frame);
}

static void
use_packet (const CuframesItem *item)
{
  const uint64_t size_bytes = item->packet_info->size_bytes, meta_bytes = item->packet_info->meta_bytes;

  FUZZ_REQUIRE (size_bytes <= DATA_BYTES && meta_bytes <= DATA_BYTES);
  CUFRAMES_AUTO_FREE uint8_t *data = malloc (size_bytes + 1);
  CUFRAMES_AUTO_FREE uint8_t *metas = malloc (meta_bytes + 1);
  const int r = cuframes_subscriber_take_packet (subscriber, data, metas);
  FUZZ_REQUIRE (r == 0 || r == -EAGAIN);
}

static void
take_next (void)
{
  CuframesItem item;
  const int r = cuframes_subscriber_try_next (subscriber, &item);

  FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_EMPTY || r == CUFRAMES_E_HELD || r == CUFRAMES_E_ABSENT || r == -ENODEV || r == -ENOMEM);
  if (r != 0)
    return;
  if (item.kind == CUFRAMES_ITEM_FRAME)
    use_frame (&item);
  else if (item.kind == CUFRAMES_ITEM_PACKET)
    use_packet (&item);
  else if (item.kind == CUFRAMES_ITEM_FORMAT || item.kind == CUFRAMES_ITEM_EVENT)
    read_all (item.bytes, item.byte_count);
}

static void
run_step (uint8_t step, bool of_packets)
{
  switch (step % 16) {
    case 0:
      send_event ();
      break;
    case 1:
      send_ring ();
      break;
    case 2:
      send_raw ();
      break;
    case 3:
    case 4:
      change_word ();
      break;
    case 5:
    case 6:
      publish (of_packets);
      break;
    case 7:
      if (held_count > 0)
        cuframes_frame_unref (held[--held_count]);
      break;
    case 8:
      (void) cuframes_subscriber_request_keyframe (subscriber, step & 0x40);
      break;
    case 9:
      if (step & 0x40 && wake_fd >= 0)
        wake_fd = cuframes_close (wake_fd);
      else if (wake_fd >= 0)
        (void) !write (wake_fd, "fmx", 1 + step / 16 % 3);
      break;
    case 10:
      (void) cuframes_subscriber_arm (subscriber);
      break;
    case 11:
      ring.ring.generation = (uint32_t) fuzz_take (&input, 1);
      ((CuframesControlPage *) pages[0])->generation = ring.ring.generation;
      break;
    default:
      take_next ();
  }
}

/* Welcomed, and with a sound ring unless the input changes it. */
static void
start (bool of_packets, uint8_t how)
{
  const CuframesSubscriberConfig config = {.start = (CuframesStart) (how / 8 % 3),.delivery = (CuframesDelivery) (how / 32 % 2) };
  const CuframesMessage welcome = {.type = CUFRAMES_MESSAGE_WELCOME,.welcome = {.version = 1,.subscriber_id = 1,.ring_id = 1,.max_leases = 4,
      .sticky_count = how / 64 % 2} };
  int ends[2], wake[2];

  for (int i = 0; i < 3; i++)
    memset (pages[i], 0, i == 0 ? sizeof (CuframesControlPage) : page_bytes[i]);
  number = 0;
  held_count = changes_due = 0;
  ring = (CuframesMessage) {.type = CUFRAMES_MESSAGE_RING };
  if (of_packets)
    start_packets ();
  else
    start_frames ();
  for (unsigned i = 0; i < how % 4u; i++)
    change_ring ();
  FUZZ_REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0 && pipe2 (wake, O_CLOEXEC | O_NONBLOCK) == 0);
  fd = ends[0];
  wake_fd = wake[1];
  send_message (&welcome, (int[]) { wake[0], wake[0] }, 2);
  close (wake[0]);
  FUZZ_REQUIRE (cuframes_subscriber_new (&config, &subscriber) == 0);
  FUZZ_REQUIRE (cuframes_subscriber_adopt (subscriber, ends[1], UINT64_C (10000000000)) == 0);
  send_ring ();
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  uint8_t how;
  bool of_packets;
  int before;

  input = (FuzzInput) { data, size };
  how = (uint8_t) fuzz_take (&input, 1);
  of_packets = (how & 4) != 0;
  prepare ();
  before = lowest_free_fd ();
  start (of_packets, how);
  for (unsigned i = 0; input.size > 0 && i < STEPS_MAX; i++) {
    const uint8_t step = (uint8_t) fuzz_take (&input, 1);

    if ((step & 0xf0) == 0xf0)
      changes_due++;
    else
      run_step (step, of_packets);
  }
  /* what it holds may outlive it */
  subscriber = cuframes_subscriber_free (subscriber);
  while (held_count > 0)
    cuframes_frame_unref (held[--held_count]);
  cuframes_close (fd);
  wake_fd = cuframes_close (wake_fd);
  if (of_packets)
    cuframes_packet_ring_clear (&packets);
  FUZZ_REQUIRE (lowest_free_fd () == before);
  return 0;
}
