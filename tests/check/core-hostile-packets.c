/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers of packets that lie: about their descriptors, their geometry and what stands in their pages. The subscriber says what is wrong and
 * goes; it never reads where nothing is, never asks for more memory than a packet may have, and always comes back. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core-fixture.h"
#include "core-lies.h"
#include "cuframes-channel.h"
#include "cuframes-memfd.h"
#include "cuframes-packet-ring.h"

#define INDEX_SIZE 16u
#define DATA_BYTES 8192u
#define LIMIT_BYTES (DATA_BYTES / CUFRAMES_PACKET_SHARE)

/* A publisher by hand: its end of the connection, what it hands out, and a writer on it that does no wrong by itself. */
typedef struct
{
  int fd;
  int wake[2];
  int fds[3];                   /* control, data, lease page */
  CuframesPacketControlPage *control;
  void *data, *page;
  CuframesPacketRing writer;
  CuframesMessage ring;
  CuframesSubscriber *subscriber;
} Liar;

static void *
make_page (int *fd, size_t bytes, CuframesMemfdMode mode)
{
  void *page = NULL;

  if (cuframes_memfd_new ("cuframes-test", bytes, mode, CUFRAMES_MEMFD_SPARSE, fd, &page) != 0)
    abort ();
  return page;
}

/* Everything as it should be, and welcomed. */
static bool
liar_open (Liar *liar)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  const CuframesMessage welcome = {.type = CUFRAMES_MESSAGE_WELCOME,.welcome = {.version = 1,.subscriber_id = 1,.ring_id = 1,.max_leases = 4 } };
  const size_t control_bytes = cuframes_packet_control_bytes (INDEX_SIZE);
  int fds[2];

  *liar = (Liar) { 0 };
  liar->control = make_page (&liar->fds[0], control_bytes, CUFRAMES_MEMFD_OWNER_WRITES);
  liar->data = make_page (&liar->fds[1], DATA_BYTES, CUFRAMES_MEMFD_OWNER_WRITES);
  liar->page = make_page (&liar->fds[2], CUFRAMES_PAGE_BYTES, CUFRAMES_MEMFD_PEER_WRITES);
  if (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0 || pipe2 (liar->wake, O_CLOEXEC | O_NONBLOCK) != 0
      || cuframes_packet_ring_init (&liar->writer, liar->control, INDEX_SIZE, liar->data, DATA_BYTES, 0, 0) != 0)
    return false;
  liar->fd = fds[0];
  liar->control->ring_id = 1;
  liar->control->generation = 1;
  liar->ring = (CuframesMessage) {.type = CUFRAMES_MESSAGE_RING,.ring = {.ring_id = 1,.generation = 1,.kind = CUFRAMES_RING_PACKETS,
      .slot_count = INDEX_SIZE,.slot_bytes = DATA_BYTES,.control_bytes = control_bytes,.fence_offset_bytes = CUFRAMES_NONE,
      .arena = {.kind = CUFRAMES_MEMORY_HOST,.size_bytes = DATA_BYTES},.format = "p",.format_bytes = 1 } };
  return cuframes_channel_send (liar->fd, &welcome, (int[]) { liar->wake[0], liar->wake[0] }, 2) == 0 && cuframes_subscriber_new (&config, &liar->subscriber) == 0
      && cuframes_subscriber_adopt (liar->subscriber, fds[1], FIXTURE_BOUND_NS) == 0;
}

static void
liar_close (Liar *liar)
{
  liar->subscriber = cuframes_subscriber_free (liar->subscriber);
  cuframes_packet_ring_clear (&liar->writer);
  close (liar->fd);
  for (int i = 0; i < 2; i++)
    close (liar->wake[i]);
  for (int i = 0; i < 3; i++)
    close (liar->fds[i]);
  munmap (liar->control, cuframes_packet_control_bytes (INDEX_SIZE));
  munmap (liar->data, DATA_BYTES);
  munmap (liar->page, CUFRAMES_PAGE_BYTES);
}

static bool
send_ring (Liar *liar)
{
  return cuframes_channel_send (liar->fd, &liar->ring, liar->fds, 3) == 0;
}

static uint64_t
write_packet (Liar *liar, uint64_t size_bytes, uint32_t flags)
{
  const CuframesPacketInfo info = {.size_bytes = size_bytes,.flags = flags };
  uint8_t bytes[LIMIT_BYTES];
  const struct iovec piece = { bytes, size_bytes };
  uint64_t sequence = 0;

  memset (bytes, 7, sizeof bytes);
  CHECK_EQUAL (cuframes_packet_ring_write (&liar->writer, &info, &piece, 1, NULL, &sequence), 0);
  return sequence;
}

/* A writer of one packet, which the subscriber has been told of. */
static bool
liar_begin (Liar *liar)
{
  CuframesItem item;

  if (!liar_open (liar) || !send_ring (liar))
    return false;
  write_packet (liar, 100, CUFRAMES_PACKET_KEY);
  return sink_expect (liar->subscriber, CUFRAMES_ITEM_CONNECTED, &item) && sink_expect (liar->subscriber, CUFRAMES_ITEM_FORMAT, &item);
}

/* DISCONNECTED with the reason PROTOCOL is what the subscriber makes of it. */
static bool
is_found_out (Liar *liar)
{
  CuframesItem item = { 0 };
  int r;

  do
    r = cuframes_subscriber_next (liar->subscriber, 100000000, &item);
  while (r == 0 && item.kind != CUFRAMES_ITEM_DISCONNECTED);
  return r == 0 && item.bye == CUFRAMES_BYE_PROTOCOL;
}

static void
sound_pages_are_taken (void)
{
  uint8_t bytes[100];
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_begin (&liar));
  REQUIRE (sink_expect (liar.subscriber, CUFRAMES_ITEM_PACKET, &item));
  CHECK_EQUAL (item.packet_info->size_bytes, 100);
  CHECK_EQUAL (cuframes_subscriber_take_packet (liar.subscriber, bytes, NULL), 0);
  CHECK_EQUAL (bytes[99], 7);
  liar_close (&liar);
}

static void
descriptors_that_are_something_else_are_found_out (void)
{
  const size_t sizes[] = { cuframes_packet_control_bytes (INDEX_SIZE), DATA_BYTES, CUFRAMES_PAGE_BYTES };

  for (int which = 0; which < 3; which++)
    for (LieKind kind = 0; kind < LIE_KINDS; kind++) {
      Liar liar;
      /* a file that nobody can write is a fine place for the data of a publisher that has nothing more to say */
      if (kind == LIE_WRITE_SEALED && which == 1)
        continue;
      REQUIRE (liar_open (&liar));
      close (liar.fds[which]);
      liar.fds[which] = lie_make (kind, sizes[which]);
      CHECK (send_ring (&liar));
      if (!is_found_out (&liar)) {
        fprintf (stderr, "  descriptor %d, kind %d\n", which, (int) kind);
        CHECK (!"the lie was found out");
      }
      liar_close (&liar);
    }
}

/* False when there is no such change. */
static bool
change_geometry (Liar *liar, int change)
{
  CuframesRingMessage *ring = &liar->ring.ring;

  switch (change) {
    case 0: ring->slot_count = 0; break;
    case 1: ring->slot_count = 8; break;
    case 2: ring->slot_count = 17; break;
    case 3: ring->slot_count = 32; break;
    case 4: ring->slot_count = 1u << 21; break;
    case 5: ring->slot_count = UINT32_MAX; break;
    case 6: ring->slot_bytes = 0; break;
    case 7: ring->slot_bytes = 4095; break;
    case 8: ring->slot_bytes = DATA_BYTES / 2; break;
    case 9: ring->slot_bytes = 2 * DATA_BYTES; break;
    case 10: ring->slot_bytes = UINT64_C (1) << 33; break;
    case 11: ring->slot_bytes = UINT64_MAX; break;
    case 12: ring->data_offset_bytes = 8; break;
    case 13: ring->meta_stride_bytes = 8; break;
    case 14: ring->control_bytes += 4096; break;
    case 15: ring->control_bytes = 0; break;
    case 16: ring->fence_offset_bytes = 0; break;
    case 17: ring->arena.kind = CUFRAMES_MEMORY_CUDA; break;
    case 18: ring->arena.size_bytes = DATA_BYTES - 1; break;
    case 19: ring->generation = 0; break;
    case 20: ring->generation = 2; break;
    case 21: ring->kind = CUFRAMES_RING_FRAMES; break;
    case 22: liar->control->magic++; break;
    case 23: liar->control->version++; break;
    case 24: liar->control->generation++; break;
    case 25: liar->control->index_size *= 2; break;
    case 26: liar->control->data_bytes *= 2; break;
    default: return false;
  }
  return true;
}

static void
geometry_that_does_not_fit_is_found_out (void)
{
  bool more = true;

  for (int change = 0; more; change++) {
    Liar liar;
    REQUIRE (liar_open (&liar));
    more = change_geometry (&liar, change);
    CHECK (send_ring (&liar));
    if (more && !is_found_out (&liar)) {
      fprintf (stderr, "  change %d\n", change);
      CHECK (!"the lie was found out");
    }
    liar_close (&liar);
  }
}

static void
put_record (Liar *liar, uint64_t sequence, const CuframesPacketRecord *record)
{
  uint64_t words[CUFRAMES_PACKET_RECORD_WORDS];

  memcpy (words, record, sizeof words);
  for (size_t i = 0; i < CUFRAMES_PACKET_RECORD_WORDS; i++)
    atomic_store (&liar->control->index[sequence % INDEX_SIZE].words[i], words[i]);
}

static void
records_that_lie_are_found_out (void)
{
  for (int lie = 0; lie < 9; lie++) {
    CuframesPacketRecord record = {.position_bytes = 104,.info = {.sequence = 2,.size_bytes = 16 } };
    CuframesItem item;
    Liar liar;
    REQUIRE (liar_begin (&liar));
    CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_PACKET, &item));
    switch (lie) {
      case 0: record.info.sequence = 3; break;
      case 1: record.info.sequence = 2 + INDEX_SIZE; break;
      case 2: record.position_bytes = 105; break;
      case 3: record.info.size_bytes = LIMIT_BYTES + 1; break;
      case 4: record.info.size_bytes = UINT64_MAX; break;
      case 5: record.info.size_bytes = UINT64_MAX - 15; break;
      case 6: record.info.meta_bytes = UINT32_MAX; break;
      case 7: record.info.meta_bytes = LIMIT_BYTES; break;
      default: record.info.size_bytes = LIMIT_BYTES; record.info.meta_bytes = 1; break;
    }
    put_record (&liar, 2, &record);
    atomic_store (&liar.control->head, 2);
    CHECK (is_found_out (&liar));
    liar_close (&liar);
  }
}

static void
heads_that_go_back_are_found_out (void)
{
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_begin (&liar));
  write_packet (&liar, 10, 0);
  write_packet (&liar, 10, 0);
  for (int i = 0; i < 3; i++) {
    REQUIRE (sink_expect (liar.subscriber, CUFRAMES_ITEM_PACKET, &item));
    CHECK_EQUAL (cuframes_subscriber_take_packet (liar.subscriber, NULL, NULL), 0);
  }
  atomic_store (&liar.control->head, 1);
  CHECK (is_found_out (&liar));
  liar_close (&liar);
}

/* A tail that jumps ahead takes packets away, one that stays behind or beyond takes nothing that is not checked. */
static void
tails_that_lie_cost_packets_at_most (void)
{
  static const uint64_t tails[] = { 0, 2, 100, UINT64_MAX, UINT64_C (1) << 63, (UINT64_C (1) << 63) - 1 };

  for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
    CuframesItem item = { 0 };
    Liar liar;
    int r;
    REQUIRE (liar_begin (&liar));
    atomic_store (&liar.control->tail, tails[i]);
    r = cuframes_subscriber_next (liar.subscriber, 10000000, &item);
    CHECK (r == CUFRAMES_E_TIMEOUT || (r == 0 && item.kind == CUFRAMES_ITEM_PACKET && item.packet_info->size_bytes == 100)
        || (r == 0 && item.kind == CUFRAMES_ITEM_DISCONNECTED));
    liar_close (&liar);
  }
}

/* Whatever the pages say, a packet that is handed out has no more than a packet may have, and taking it reads within the data. */
static void
nonsense_on_the_pages_harms_nobody (void)
{
  uint32_t state = 1, handed = 0;

  for (int round = 0; round < 300; round++) {
    Liar liar;
    REQUIRE (liar_open (&liar));
    CHECK (send_ring (&liar));
    for (int step = 0; step < 40; step++) {
      CuframesItem item = { 0 };
      uint32_t *words = (uint32_t *) &liar.control->head;
      const size_t word_count = (cuframes_packet_control_bytes (INDEX_SIZE) - offsetof (CuframesPacketControlPage, head)) / 4;
      for (int i = 0; i < 100; i++) {
        state = state * 1664525 + 1013904223;
        words[(state >> 7) % word_count] = state % 3 == 0 ? state >> 20 : state;
      }
      /* every other round it is nearly right */
      if (round % 2 == 0) {
        const uint64_t number = (uint64_t) step + 1;
        const CuframesPacketRecord record = {.position_bytes = (uint64_t) state * 8,.info = {.sequence = number + ((state >> 16) % 50 == 0),
            .size_bytes = (state >> 8) % 2100,.meta_bytes = (state >> 3) % 20,.flags = state >> 30 } };
        put_record (&liar, number, &record);
        atomic_store (&liar.control->tail, 1);
        atomic_store (&liar.control->head, number);
        atomic_store (&liar.control->event_serial, 0);
        atomic_store (&liar.control->successor, 0);
      }
      if (cuframes_subscriber_try_next (liar.subscriber, &item) < 0 || item.kind == CUFRAMES_ITEM_DISCONNECTED)
        break;
      if (item.kind == CUFRAMES_ITEM_PACKET) {
        uint8_t *data = malloc (item.packet_info->size_bytes), *metas = malloc (item.packet_info->meta_bytes);
        handed++;
        CHECK (item.packet_info->size_bytes + item.packet_info->meta_bytes <= LIMIT_BYTES);
        cuframes_subscriber_take_packet (liar.subscriber, data, metas);
        free (data);
        free (metas);
      }
    }
    liar_close (&liar);
  }
  CHECK (handed > 100);
}

typedef struct
{
  CuframesPacketControlPage *control;
  bool over;                    /* atomic */
} Runner;

static void *
run_away (void *user_data)
{
  Runner *runner = user_data;

  for (uint64_t head = 2; !__atomic_load_n (&runner->over, __ATOMIC_RELAXED); head++) {
    atomic_store (&runner->control->tail, head + 1);
    atomic_store (&runner->control->head, head);
  }
  return NULL;
}

/* There is always something new and never anything to take. */
static void
a_head_that_runs_away_keeps_nobody (void)
{
  CuframesItem item = { 0 };
  pthread_t thread;
  Runner runner;
  Liar liar;
  int r;

  REQUIRE (liar_begin (&liar));
  runner = (Runner) { liar.control, false };
  REQUIRE (pthread_create (&thread, NULL, run_away, &runner) == 0);
  do
    r = cuframes_subscriber_next (liar.subscriber, 20000000, &item);
  while (r == 0 && item.kind == CUFRAMES_ITEM_PACKET);
  CHECK (r == CUFRAMES_E_TIMEOUT || (r == 0 && item.kind == CUFRAMES_ITEM_DISCONNECTED));
  cuframes_subscriber_cancel (liar.subscriber, true);
  r = cuframes_subscriber_next (liar.subscriber, CUFRAMES_NONE, &item);
  CHECK (r == CUFRAMES_E_CANCELLED || r == CUFRAMES_E_ABSENT || (r == 0 && item.kind == CUFRAMES_ITEM_DISCONNECTED));
  __atomic_store_n (&runner.over, true, __ATOMIC_RELAXED);
  pthread_join (thread, NULL);
  liar_close (&liar);
}

static const FixtureTest tests[] = {
  {"sound pages are taken", sound_pages_are_taken},
  {"descriptors that are something else are found out", descriptors_that_are_something_else_are_found_out},
  {"geometry that does not fit is found out", geometry_that_does_not_fit_is_found_out},
  {"records that lie are found out", records_that_lie_are_found_out},
  {"heads that go back are found out", heads_that_go_back_are_found_out},
  {"tails that lie cost packets at most", tails_that_lie_cost_packets_at_most},
  {"nonsense on the pages harms nobody", nonsense_on_the_pages_harms_nobody},
  {"a head that runs away keeps nobody", a_head_that_runs_away_keeps_nobody},
};

FIXTURE_MAIN (tests, NULL, 0)
