/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishers that lie: about their descriptors, their pages and their messages. The subscriber says what is wrong and goes; it never reads
 * where nothing is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core-fixture.h"
#include "core-lies.h"
#include "cuframes-channel.h"
#include "cuframes-layout.h"
#include "cuframes-memfd.h"

#define SLOTS 4u
#define SLOT_BYTES 4096u
#define META_BYTES 4096u

/* A publisher by hand: its end of the connection and what it hands out. */
typedef struct
{
  int fd;
  int wake[2];
  int fds[3];                   /* control, arena, lease page */
  CuframesControlPage *control;
  void *arena, *page;
  size_t control_bytes;
  CuframesMessage ring;
  CuframesSubscriber *subscriber;
} Liar;

/* Everything as it should be, and welcomed with those descriptors: to wake by, and to live by. -1: what is right. */
static bool
liar_open_with (Liar *liar, uint32_t max_leases, int wake_fd, int life_fd)
{
  const CuframesSubscriberConfig config = {.socket_path = "unused" };
  const CuframesMessage welcome = {.type = CUFRAMES_MESSAGE_WELCOME,.welcome = {.version = 1,.subscriber_id = 1,.ring_id = 1,.max_leases = max_leases } };
  void *control = NULL;
  int fds[2];

  *liar = (Liar) {.control_bytes = CUFRAMES_META_OFFSET_BYTES + SLOTS * META_BYTES };
  if (cuframes_memfd_new ("cuframes-test", liar->control_bytes, CUFRAMES_MEMFD_OWNER_WRITES, CUFRAMES_MEMFD_SPARSE, &liar->fds[0], &control) != 0
      || cuframes_memfd_new ("cuframes-test", SLOTS * SLOT_BYTES, CUFRAMES_MEMFD_OWNER_WRITES, CUFRAMES_MEMFD_SPARSE, &liar->fds[1], &liar->arena) != 0
      || cuframes_memfd_new ("cuframes-test", CUFRAMES_PAGE_BYTES, CUFRAMES_MEMFD_PEER_WRITES, CUFRAMES_MEMFD_SPARSE, &liar->fds[2], &liar->page) != 0
      || socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0 || pipe2 (liar->wake, O_CLOEXEC | O_NONBLOCK) != 0)
    return false;
  liar->fd = fds[0];
  liar->control = control;
  liar->control->magic = CUFRAMES_LAYOUT_MAGIC;
  liar->control->version = CUFRAMES_LAYOUT_VERSION;
  liar->control->ring_id = 1;
  liar->control->generation = 1;
  liar->control->slot_count = SLOTS;
  liar->ring = (CuframesMessage) {.type = CUFRAMES_MESSAGE_RING,.ring = {.ring_id = 1,.generation = 1,.kind = CUFRAMES_RING_FRAMES,
      .slot_count = SLOTS,.slot_bytes = SLOT_BYTES,.meta_stride_bytes = META_BYTES,.control_bytes = liar->control_bytes,
      .fence_offset_bytes = CUFRAMES_NONE,.arena = {.kind = CUFRAMES_MEMORY_HOST,.size_bytes = SLOTS * SLOT_BYTES},.format = "f",.format_bytes = 1 } };
  return cuframes_channel_send (liar->fd, &welcome, (int[]) { wake_fd >= 0 ? wake_fd : liar->wake[0], life_fd >= 0 ? life_fd : liar->wake[0] }, 2) == 0
      && cuframes_subscriber_new (&config, &liar->subscriber) == 0 && cuframes_subscriber_adopt (liar->subscriber, fds[1], FIXTURE_BOUND_NS) == 0;
}

static bool
liar_open (Liar *liar, uint32_t max_leases)
{
  return liar_open_with (liar, max_leases, -1, -1);
}

static void
liar_close (Liar *liar)
{
  liar->subscriber = cuframes_subscriber_free (liar->subscriber);
  close (liar->fd);
  for (int i = 0; i < 2; i++)
    if (liar->wake[i] >= 0)
      close (liar->wake[i]);
  for (int i = 0; i < 3; i++)
    close (liar->fds[i]);
  munmap (liar->control, liar->control_bytes);
  munmap (liar->arena, SLOTS * SLOT_BYTES);
  munmap (liar->page, CUFRAMES_PAGE_BYTES);
}

static bool
send_ring (Liar *liar)
{
  return cuframes_channel_send (liar->fd, &liar->ring, liar->fds, 3) == 0;
}

/* With a ring of which the subscriber knows. */
static bool
liar_open_ring (Liar *liar)
{
  CuframesItem item;

  return liar_open (liar, 4) && send_ring (liar) && sink_expect (liar->subscriber, CUFRAMES_ITEM_CONNECTED, &item)
      && sink_expect (liar->subscriber, CUFRAMES_ITEM_FORMAT, &item);
}

/* What the subscriber makes of it: DISCONNECTED with the reason PROTOCOL, or that error. */
static bool
is_found_out (Liar *liar, int error)
{
  CuframesItem item = { 0 };
  int r;

  do {
    r = cuframes_subscriber_next (liar->subscriber, 100000000, &item);
    if (r == 0)
      cuframes_frame_unref (item.frame);
  } while (r == 0 && item.kind != CUFRAMES_ITEM_DISCONNECTED);
  if (error != 0)
    return r == error && cuframes_subscriber_try_next (liar->subscriber, &item) == CUFRAMES_E_ABSENT;
  return r == 0 && item.bye == CUFRAMES_BYE_PROTOCOL;
}

static void
sound_pages_are_taken (void)
{
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_open (&liar, 4));
  CHECK (send_ring (&liar));
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_FORMAT, &item));
  atomic_store (&liar.control->slots[2].state, cuframes_tag (1, 2));
  atomic_store (&liar.control->index[1], cuframes_tag (1, 2));
  atomic_store (&liar.control->head, 1);
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_FRAME, &item));
  cuframes_frame_unref (item.frame);
  liar_close (&liar);
}

static void
descriptors_that_are_something_else_are_found_out (void)
{
  for (int which = 0; which < 3; which++)
    for (LieKind kind = 0; kind < LIE_KINDS; kind++) {
      const size_t sizes[] = { CUFRAMES_META_OFFSET_BYTES + SLOTS * META_BYTES, SLOTS * SLOT_BYTES, CUFRAMES_PAGE_BYTES };
      Liar liar;
      /* a file that nobody can write is a fine arena of a publisher that has nothing more to say */
      if (kind == LIE_WRITE_SEALED && which == 1)
        continue;
      REQUIRE (liar_open (&liar, 4));
      close (liar.fds[which]);
      liar.fds[which] = lie_make (kind, sizes[which]);
      CHECK (send_ring (&liar));
      if (!is_found_out (&liar, 0)) {
        fprintf (stderr, "  descriptor %d, kind %d\n", which, (int) kind);
        CHECK (!"the lie was found out");
      }
      liar_close (&liar);
    }
}

static void
change_ring (CuframesRingMessage *ring, int change)
{
  switch (change) {
    case 0: ring->slot_count = 0; break;
    case 1: ring->slot_count = 65; break;
    case 2: ring->slot_count = UINT32_MAX; break;
    case 3: ring->slot_bytes = 0; break;
    case 4: ring->slot_bytes = UINT64_MAX; break;
    case 5: ring->slot_bytes = UINT64_MAX / 4 + 2; break;
    case 6: ring->slot_bytes = SLOT_BYTES + 1; break;
    case 7: ring->data_offset_bytes = 1; break;
    case 8: ring->data_offset_bytes = UINT64_MAX; break;
    case 9: ring->meta_stride_bytes = UINT64_MAX; break;
    case 10: ring->meta_stride_bytes = META_BYTES + 1; break;
    case 11: ring->control_bytes = 0; break;
    case 12: ring->control_bytes += 4096; break;
    case 13: ring->fence_offset_bytes = SLOTS * SLOT_BYTES - 7; break;
    case 14: ring->kind = CUFRAMES_RING_PACKETS; break;
    case 15: ring->kind = 99; break;
    case 16: ring->generation = 0; break;
    case 17: ring->generation = 2; break;
    case 18: ring->arena.size_bytes = UINT64_MAX; break;
    case 19: ring->arena.size_bytes = 0; break;
    default: ring->arena.size_bytes += 1; break;
  }
}

static void
geometry_that_does_not_fit_is_found_out (void)
{
  for (int change = 0; change <= 20; change++) {
    Liar liar;
    REQUIRE (liar_open (&liar, 4));
    change_ring (&liar.ring.ring, change);
    CHECK (send_ring (&liar));
    if (!is_found_out (&liar, 0)) {
      fprintf (stderr, "  change %d\n", change);
      CHECK (!"the lie was found out");
    }
    liar_close (&liar);
  }
}

static void
memory_of_another_kind_is_no_device_of_ours (void)
{
  for (uint32_t kind = 0; kind < 4; kind++) {
    Liar liar;
    if (kind == CUFRAMES_MEMORY_HOST)
      continue;
    REQUIRE (liar_open (&liar, 4));
    liar.ring.ring.arena.kind = (CuframesMemoryKind) kind;
    CHECK (send_ring (&liar));
    CHECK (is_found_out (&liar, -ENODEV));
    liar_close (&liar);
  }
}

static void
a_page_of_another_make_is_found_out (void)
{
  for (int i = 0; i < 3; i++) {
    Liar liar;
    REQUIRE (liar_open (&liar, 4));
    if (i == 0)
      liar.control->magic++;
    else if (i == 1)
      liar.control->version++;
    else
      liar.control->generation++;
    CHECK (send_ring (&liar));
    CHECK (is_found_out (&liar, 0));
    liar_close (&liar);
  }
}

static void
numbers_out_of_range_are_found_out (void)
{
  for (int lie = 0; lie < 6; lie++) {
    CuframesItem item;
    Liar liar;
    CuframesSlot *slot;
    REQUIRE (liar_open (&liar, 4));
    CHECK (send_ring (&liar));
    CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_CONNECTED, &item));
    CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_FORMAT, &item));
    slot = &liar.control->slots[1];
    atomic_store (&slot->state, cuframes_tag (1, 1));
    atomic_store (&liar.control->index[1], cuframes_tag (1, 1));
    slot->info = (CuframesFrameInfo) {.sequence = 1,.size_bytes = SLOT_BYTES,.plane_count = 1 };
    switch (lie) {
      case 0: atomic_store (&liar.control->index[1], cuframes_tag (1, SLOTS)); break;
      case 1: atomic_store (&liar.control->index[1], cuframes_tag (1, 254)); break;
      case 2: slot->info.size_bytes = SLOT_BYTES + 1; break;
      case 3: slot->info.meta_bytes = META_BYTES + 1; break;
      case 4: slot->info.plane_count = 5; break;
      default: slot->info.plane_offset_bytes[0] = SLOT_BYTES + 1; break;
    }
    atomic_store (&liar.control->head, 1);
    CHECK (is_found_out (&liar, 0));
    liar_close (&liar);
  }
}

static void
a_head_that_goes_back_is_found_out (void)
{
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_open (&liar, 4));
  CHECK (send_ring (&liar));
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_FORMAT, &item));
  for (uint64_t i = 1; i <= 3; i++) {
    atomic_store (&liar.control->slots[i].state, cuframes_tag (i, (uint32_t) i));
    atomic_store (&liar.control->index[i], cuframes_tag (i, (uint32_t) i));
    atomic_store (&liar.control->head, i);
    CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_FRAME, &item));
    cuframes_frame_unref (item.frame);
  }
  atomic_store (&liar.control->head, 1);
  CHECK (is_found_out (&liar, 0));
  liar_close (&liar);
}

/* Whatever the page says, a frame that is handed out lies within the arena and its description within its bounds. */
static void
nonsense_on_the_control_page_harms_nobody (void)
{
  uint32_t state = 1, handed = 0;

  for (int round = 0; round < 300; round++) {
    Liar liar;
    REQUIRE (liar_open (&liar, 4));
    CHECK (send_ring (&liar));
    for (int step = 0; step < 40; step++) {
      CuframesItem item = { 0 };
      uint32_t *words = (uint32_t *) &liar.control->head;
      const size_t word_count = (sizeof *liar.control - offsetof (CuframesControlPage, head)) / 4;
      for (int i = 0; i < 200; i++) {
        state = state * 1664525 + 1013904223;
        words[(state >> 7) % word_count] = state % 3 == 0 ? state >> 20 : state;
      }
      /* every other round it is nearly right */
      if (round % 2 == 0) {
        const uint64_t number = (uint64_t) step + 1;
        const uint32_t slot = (state >> 16) % 50 == 0 ? SLOTS : (state >> 16) % SLOTS;
        atomic_store (&liar.control->index[number], cuframes_tag (number, slot));
        atomic_store (&liar.control->slots[slot].state, cuframes_tag (number, slot));
        liar.control->slots[slot].info = (CuframesFrameInfo) {.size_bytes = (state >> 8) % 4200,.plane_count = (state >> 5) % 40 == 0 ? 5 : 4,
          .meta_bytes = (state >> 3) % 4200 };
        atomic_store (&liar.control->head, number);
        atomic_store (&liar.control->event_serial, 0);
        atomic_store (&liar.control->successor, 0);
      }
      if (cuframes_subscriber_try_next (liar.subscriber, &item) < 0 || item.kind == CUFRAMES_ITEM_DISCONNECTED)
        break;
      if (item.kind == CUFRAMES_ITEM_FRAME) {
        volatile uint8_t sum = 0;
        handed++;
        CHECK (item.info->size_bytes <= SLOT_BYTES && item.info->meta_bytes <= META_BYTES && item.info->plane_count <= CUFRAMES_PLANES_MAX);
        CHECK (cuframes_frame_get_offset (item.frame) + item.info->size_bytes <= SLOTS * SLOT_BYTES);
        for (uint64_t i = 0; i < item.info->size_bytes; i++)
          sum ^= ((const uint8_t *) (uintptr_t) cuframes_frame_get_address (item.frame))[i];
        for (uint64_t i = 0; i < item.info->meta_bytes; i++)
          sum ^= ((const uint8_t *) cuframes_frame_get_metas (item.frame))[i];
        (void) sum;
      }
      cuframes_frame_unref (item.frame);
    }
    liar_close (&liar);
  }
  CHECK (handed > 100);
}

static void
messages_out_of_place_are_found_out (void)
{
  static const CuframesMessageType types[] = { CUFRAMES_MESSAGE_HELLO, CUFRAMES_MESSAGE_REFUSED, CUFRAMES_MESSAGE_READY, CUFRAMES_MESSAGE_KEYFRAME,
    CUFRAMES_MESSAGE_ASK_STATS, CUFRAMES_MESSAGE_STATS };

  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    const CuframesMessage message = {.type = types[i] };
    Liar liar;
    REQUIRE (liar_open (&liar, 4));
    CHECK_EQUAL (cuframes_channel_send (liar.fd, &message, NULL, 0), 0);
    CHECK (is_found_out (&liar, 0));
    liar_close (&liar);
  }
}

static void
events_in_false_files_are_found_out (void)
{
  for (LieKind kind = 0; kind < LIE_KINDS; kind++) {
    const CuframesMessage message = {.type = CUFRAMES_MESSAGE_EVENT,.event = {.serial = 1,.kind = CUFRAMES_EVENT_GST,.byte_count = 100000} };
    Liar liar;
    int fd;
    if (kind == LIE_WRITE_SEALED)
      continue;
    REQUIRE (liar_open (&liar, 4));
    fd = lie_make (kind, 100000);
    CHECK_EQUAL (cuframes_channel_send (liar.fd, &message, &fd, 1), 0);
    close (fd);
    CHECK (is_found_out (&liar, 0));
    liar_close (&liar);
  }
}

static void
an_event_that_never_comes_is_not_waited_for_for_ever (void)
{
  CuframesItem item;
  uint64_t start;
  Liar liar;

  REQUIRE (liar_open_ring (&liar));
  atomic_store (&liar.control->slots[1].state, cuframes_tag (1, 1));
  atomic_store (&liar.control->index[1], cuframes_tag (1, 1));
  liar.control->slots[1].info.event_serial = 5;
  atomic_store (&liar.control->head, 1);
  start = fixture_now_ns ();
  /* However short the waits are. */
  while (cuframes_subscriber_next (liar.subscriber, 50000000, &item) == CUFRAMES_E_TIMEOUT && fixture_now_ns () - start < FIXTURE_BOUND_NS)
    continue;
  CHECK_EQUAL (item.kind, CUFRAMES_ITEM_DISCONNECTED);
  CHECK_EQUAL (item.bye, 0);
  CHECK (fixture_is_slow () || fixture_now_ns () - start < 4000000000);
  liar_close (&liar);
}

static void
a_descriptor_of_the_welcome_that_is_no_pipe_is_found_out (void)
{
  int fds[4], pair[2];

  fds[0] = open ("/dev/zero", O_RDONLY | O_CLOEXEC);
  fds[1] = eventfd (1, EFD_CLOEXEC);
  REQUIRE (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, &fds[2]) == 0 && pipe2 (pair, O_CLOEXEC) == 0);
  for (int i = 0; i < 4; i++) {
    Liar liar;
    CHECK (!liar_open_with (&liar, 4, fds[i], -1));
    liar_close (&liar);
    CHECK (!liar_open_with (&liar, 4, -1, fds[i]));
    liar_close (&liar);
    close (fds[i]);
  }
  for (int i = 0; i < 2; i++) {
    Liar liar;
    CHECK_EQUAL (liar_open_with (&liar, 4, pair[i], -1), i == 0);
    liar_close (&liar);
    CHECK_EQUAL (liar_open_with (&liar, 4, -1, pair[i]), i == 0);
    liar_close (&liar);
    close (pair[i]);
  }
}

/* The publisher made the pipe and has a share in its open file: it decides at any time whether reading from it blocks. */
static void
a_wake_pipe_that_blocks_holds_nobody (void)
{
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_open_ring (&liar));
  REQUIRE (fcntl (liar.wake[0], F_SETFL, 0) == 0);
  CHECK_EQUAL (cuframes_subscriber_next (liar.subscriber, 50000000, &item), CUFRAMES_E_TIMEOUT);
  CHECK (write (liar.wake[1], "1", 1) == 1);
  CHECK_EQUAL (cuframes_subscriber_next (liar.subscriber, 50000000, &item), CUFRAMES_E_TIMEOUT);
  cuframes_subscriber_cancel (liar.subscriber, true);
  CHECK_EQUAL (cuframes_subscriber_next (liar.subscriber, CUFRAMES_NONE, &item), CUFRAMES_E_CANCELLED);
  liar_close (&liar);
}

typedef struct
{
  int fd;
  int over;                     /* atomic */
  int began;                    /* atomic */
} Flood;

static void *
fill_pipe (void *data)
{
  static const char bytes[65536];
  Flood *flood = data;

  while (!__atomic_load_n (&flood->over, __ATOMIC_RELAXED))
    if (write (flood->fd, bytes, sizeof bytes) > 0)
      __atomic_store_n (&flood->began, 1, __ATOMIC_RELAXED);
  return NULL;
}

static void
a_wake_pipe_without_end_holds_nobody (void)
{
  Flood flood = { 0 };
  CuframesItem item;
  pthread_t thread;
  Liar liar;

  REQUIRE (liar_open_ring (&liar));
  CHECK (fcntl (liar.wake[0], F_SETPIPE_SZ, 1 << 20) > 0);
  flood.fd = liar.wake[1];
  REQUIRE (pthread_create (&thread, NULL, fill_pipe, &flood) == 0);
  CHECK (WAIT_UNTIL (__atomic_load_n (&flood.began, __ATOMIC_RELAXED)));
  CHECK_EQUAL (cuframes_subscriber_next (liar.subscriber, 50000000, &item), CUFRAMES_E_TIMEOUT);
  cuframes_subscriber_cancel (liar.subscriber, true);
  CHECK_EQUAL (cuframes_subscriber_next (liar.subscriber, CUFRAMES_NONE, &item), CUFRAMES_E_CANCELLED);
  __atomic_store_n (&flood.over, 1, __ATOMIC_RELAXED);
  pthread_join (thread, NULL);
  liar_close (&liar);
}

static void
nothing_is_heard_after_a_goodbye (void)
{
  const CuframesMessage bye = {.type = CUFRAMES_MESSAGE_BYE,.bye_reason = CUFRAMES_BYE_SHUTDOWN }, hello = {.type = CUFRAMES_MESSAGE_HELLO };
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_open_ring (&liar));
  CHECK_EQUAL (cuframes_channel_send (liar.fd, &bye, NULL, 0), 0);
  CHECK_EQUAL (cuframes_channel_send (liar.fd, &hello, NULL, 0), 0);
  CHECK (write (liar.wake[1], (const char[]) { CUFRAMES_WAKE_MESSAGE }, 1) == 1);
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_SHUTDOWN);
  liar_close (&liar);
}

/* Many generations come at once, no frame may be held at all, the pipe closes first: none of it hangs or leaks. */
static void
odd_manners_end_well (void)
{
  CuframesItem item;
  Liar liar;

  REQUIRE (liar_open (&liar, 4));
  for (uint32_t i = 1; i <= 30; i++) {
    liar.ring.ring.generation = i;
    CHECK (send_ring (&liar));
  }
  CHECK (is_found_out (&liar, 0));      /* the page says generation 1 */
  liar_close (&liar);
  CHECK (!liar_open (&liar, 0));
  liar_close (&liar);
  REQUIRE (liar_open (&liar, 4));
  close (liar.wake[1]);
  liar.wake[1] = -1;
  shutdown (liar.fd, SHUT_RDWR);
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (liar.subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  liar_close (&liar);
}

static void
a_welcome_that_is_none_is_refused (void)
{
  static const CuframesMessageType types[] = { CUFRAMES_MESSAGE_HELLO, CUFRAMES_MESSAGE_BYE, CUFRAMES_MESSAGE_EVENT };
  const CuframesSubscriberConfig config = {.socket_path = "unused" };

  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
    const CuframesMessage message = {.type = types[i] };
    CuframesSubscriber *subscriber;
    int fds[2];
    REQUIRE (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0 && cuframes_subscriber_new (&config, &subscriber) == 0);
    CHECK_EQUAL (cuframes_channel_send (fds[0], &message, NULL, 0), 0);
    CHECK_EQUAL (cuframes_subscriber_adopt (subscriber, fds[1], FIXTURE_BOUND_NS), CUFRAMES_E_PEER);
    cuframes_subscriber_free (subscriber);
    close (fds[0]);
  }
}

static const FixtureTest tests[] = {
  {"sound pages are taken", sound_pages_are_taken},
  {"descriptors that are something else are found out", descriptors_that_are_something_else_are_found_out},
  {"geometry that does not fit is found out", geometry_that_does_not_fit_is_found_out},
  {"memory of another kind is told as no device of ours", memory_of_another_kind_is_no_device_of_ours},
  {"a page of another make is found out", a_page_of_another_make_is_found_out},
  {"numbers out of range are found out", numbers_out_of_range_are_found_out},
  {"a head that goes back is found out", a_head_that_goes_back_is_found_out},
  {"nonsense on the control page harms nobody", nonsense_on_the_control_page_harms_nobody},
  {"messages out of place are found out", messages_out_of_place_are_found_out},
  {"events in false files are found out", events_in_false_files_are_found_out},
  {"an event that never comes is not waited for for ever", an_event_that_never_comes_is_not_waited_for_for_ever},
  {"odd manners end well", odd_manners_end_well},
  {"a welcome that is none is refused", a_welcome_that_is_none_is_refused},
  {"a descriptor of the welcome that is no pipe to read from is found out", a_descriptor_of_the_welcome_that_is_no_pipe_is_found_out},
  {"a wake pipe that blocks holds nobody", a_wake_pipe_that_blocks_holds_nobody},
  {"a wake pipe without end holds nobody", a_wake_pipe_without_end_holds_nobody},
  {"nothing is heard after a goodbye", nothing_is_heard_after_a_goodbye},
};

FIXTURE_MAIN (tests, NULL, 0)
