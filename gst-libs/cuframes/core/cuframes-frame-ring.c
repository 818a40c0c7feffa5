/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lock-free algorithm of the frame ring, on pages that somebody else mapped. Never a system call, never a wait.
 *
 * Publish, lease and reclaim are the hazard pointers of M. M. Michael, "Hazard Pointers: Safe Memory Reclamation for Lock-Free
 * Objects" (2004), with one bit a slot instead of a pointer: each side writes its own word and then reads the other's. The two
 * sides of that are seq_cst operations on the words themselves rather than stand-alone fences, which is the same instruction on
 * x86 and what ThreadSanitizer can follow. docs/ring.md has the states, the invariants and the crash table. */
#include <errno.h>
#include <stdlib.h>

#include "cuframes-frame-ring.h"
#include "cuframes-util.h"

/* Frames are numbered modulo 2^64, so "after" is a signed difference. */
static bool
is_after (uint64_t a, uint64_t b)
{
  return (int64_t) (a - b) > 0;
}

/* 0 or -EINVAL. head is the number before the first frame's. control is zeroed memory that only this process can write. */
int
cuframes_frame_ring_init (CuframesFrameRing *ring, CuframesControlPage *control, uint32_t slot_count, uint32_t reserve_count, uint64_t head)
{
  if (slot_count < CUFRAMES_SLOTS_MIN || slot_count > CUFRAMES_SLOTS_MAX || reserve_count == 0 || reserve_count >= slot_count)
    return -EINVAL;
  *ring = (CuframesFrameRing) {
    .control = control,.slot_count = slot_count,.reserve_count = reserve_count,.head = head,
  };
  /* relaxed: nobody else maps the page yet; its descriptor is sent later */
  atomic_store_explicit (&control->head, head, memory_order_relaxed);
  return 0;
}

/* Forgets every page. Neither the control page nor a lease page is touched. */
void
cuframes_frame_ring_clear (CuframesFrameRing *ring)
{
  free (ring->pages);
  *ring = (CuframesFrameRing) { 0 };
}

/* Lets a page's leases count. Must come before its owner can see the ring. 0 or -ENOMEM. */
int
cuframes_frame_ring_attach (CuframesFrameRing *ring, CuframesLeasePage *page)
{
  if (ring->page_count == ring->page_capacity) {
    uint32_t capacity = ring->page_capacity == 0 ? 16 : 2 * ring->page_capacity;
    CuframesLeasePage **pages = realloc (ring->pages, capacity * sizeof *pages);
    if (pages == NULL)
      return -ENOMEM;
    ring->pages = pages;
    ring->page_capacity = capacity;
  }
  ring->pages[ring->page_count++] = ring->pages[ring->waited_count];
  ring->pages[ring->waited_count++] = page;
  return 0;
}

/* From now on nobody waits for the owner of that page, whatever it says there; its leases still count. A page that is not there is passed over. */
void
cuframes_frame_ring_disregard (CuframesFrameRing *ring, CuframesLeasePage *page)
{
  for (uint32_t i = 0; i < ring->waited_count; i++)
    if (ring->pages[i] == page) {
      ring->pages[i] = ring->pages[--ring->waited_count];
      ring->pages[ring->waited_count] = page;
      return;
    }
}

/* Forgets a page and with it every lease on it. A page that is not there is passed over. */
void
cuframes_frame_ring_detach (CuframesFrameRing *ring, CuframesLeasePage *page)
{
  cuframes_frame_ring_disregard (ring, page);
  for (uint32_t i = ring->waited_count; i < ring->page_count; i++)
    if (ring->pages[i] == page) {
      ring->pages[i] = ring->pages[--ring->page_count];
      return;
    }
}

/* The last frame that everybody who asked to be waited for has taken; the head if there is none. */
uint64_t
cuframes_frame_ring_get_floor (const CuframesFrameRing *ring)
{
  uint64_t floor = ring->head;

  for (uint32_t i = 0; i < ring->waited_count; i++) {
    uint64_t cursor;
    /* relaxed: a peer's wish, which decides only how long we wait */
    if (atomic_load_explicit (&ring->pages[i]->lossless, memory_order_relaxed) == 0)
      continue;
    /* relaxed: likewise */
    cursor = atomic_load_explicit (&ring->pages[i]->cursor, memory_order_relaxed);
    if (is_after (floor, cursor))
      floor = cursor;
  }
  return floor;
}

/* All slots that some subscriber holds or is trying to hold. */
uint64_t
cuframes_frame_ring_get_leases (const CuframesFrameRing *ring)
{
  uint64_t leases = 0;

  /* SYNC reclaim: seq_cst; pairs with the seq_cst lease bit in try_lease(); without it a bit set just before our retirement of the slot
   * may be missed and a frame be overwritten that a subscriber has validated. */
  /* SYNC unlease: acquire; pairs with the release in cuframes_frame_reader_unlease(); without it the next writer's stores may pass the
   * last reads of the subscriber. */
  for (uint32_t i = 0; i < ring->page_count; i++)
    leases |= atomic_load_explicit (&ring->pages[i]->leases, memory_order_seq_cst);
  return leases;
}

/* Whether a GPU has reached a fence that it writes to the control pages. */
bool
cuframes_fence_is_reached (const CuframesControlPage *control, uint64_t fence)
{
  const _Atomic uint64_t *words = (const _Atomic uint64_t *) ((const char *) control + CUFRAMES_FENCE_OFFSET_BYTES);
  const uint64_t word = fence >> CUFRAMES_FENCE_WORD_SHIFT;

  /* SYNC mirror: acquire; pairs with write_mirror(), where the driver puts a barrier of the whole system before the GPU's write; without
   * it work that is queued after this look may read the frame before it is complete. */
  return word < CUFRAMES_FENCE_WORDS
      && atomic_load_explicit (&words[word], memory_order_acquire) >= (fence & CUFRAMES_FENCE_VALUE_MAX);
}

/* Whether the GPU has finished with what was announced before it had. */
static bool
is_complete (const CuframesFrameRing *ring, uint32_t slot)
{
  return ring->slots[slot].fence == 0 || cuframes_fence_is_reached (ring->control, ring->slots[slot].fence);
}

/* The slot to take next: one that is retired already, else the one with the oldest frame. */
static bool
find_candidate (const CuframesFrameRing *ring, uint64_t leases, uint64_t keep_after, uint32_t *ret_slot)
{
  bool found = false;
  uint64_t oldest = 0;

  for (uint32_t i = 0; i < ring->slot_count; i++) {
    if (leases >> i & 1 || ring->slots[i].held)
      continue;
    if (ring->slots[i].use == CUFRAMES_SLOT_RETIRED) {
      *ret_slot = i;
      return true;
    }
    if (ring->slots[i].use != CUFRAMES_SLOT_PUBLISHED || is_after (ring->slots[i].sequence, keep_after)
        || !is_complete (ring, i))
      continue;
    if (!found || is_after (oldest, ring->slots[i].sequence)) {
      oldest = ring->slots[i].sequence;
      *ret_slot = i;
      found = true;
    }
  }
  return found;
}

/* A slot that was retired before the lease words were read last, and on which no bit was seen then, is nobody's: no lease of it can be
 * validated any more. The words are read afresh after each retirement, so that a bit which has gone meanwhile stands in nobody's way. */
static int
reclaim (CuframesFrameRing *ring, uint64_t keep_after)
{
  uint64_t leases = cuframes_frame_ring_get_leases (ring);
  uint32_t slot;

  while (!ring->closed && find_candidate (ring, leases, keep_after, &slot)) {
    if (ring->slots[slot].use == CUFRAMES_SLOT_RETIRED) {
      ring->slots[slot].use = CUFRAMES_SLOT_FREE;
      return 0;
    }
    /* SYNC reclaim: seq_cst, then the lease words; pairs with try_lease(), which sets its bit and then reads this word. */
    atomic_exchange_explicit (&ring->control->slots[slot].state, 0, memory_order_seq_cst);
    ring->slots[slot].use = CUFRAMES_SLOT_RETIRED;
    /* If we die here a peer sees a frame less: it counts an overrun and goes on; who holds a lease keeps the memory by its mapping. */
    CUFRAMES_TESTPOINT ("ring/retired");
    leases = cuframes_frame_ring_get_leases (ring);
  }
  return CUFRAMES_E_FULL;
}

/* A slot to write to. Frames numbered after keep_after are left alone; the ring's head leaves none alone. Until it is published or
 * released nobody else reads or writes it. 0 or CUFRAMES_E_FULL. */
int
cuframes_frame_ring_claim (CuframesFrameRing *ring, uint64_t keep_after, uint32_t *ret_slot)
{
  for (int pass = 0; pass < 2; pass++) {
    for (uint32_t i = 0; i < ring->slot_count; i++)
      if (ring->slots[i].use == CUFRAMES_SLOT_FREE) {
        ring->slots[i].use = CUFRAMES_SLOT_CLAIMED;
        ring->slots[i].held = true;
        *ret_slot = i;
        return 0;
      }
    if (pass == 0 && reclaim (ring, keep_after) != 0)
      break;
  }
  return CUFRAMES_E_FULL;
}

static uint32_t
count_own (const CuframesFrameRing *ring)
{
  uint32_t own = 0;

  for (uint32_t i = 0; i < ring->slot_count; i++)
    own += ring->slots[i].use == CUFRAMES_SLOT_FREE || ring->slots[i].use == CUFRAMES_SLOT_CLAIMED;
  return own;
}

/* Before a publish: reclaims until the publisher keeps its reserve besides the slot to be published. If it cannot, the frame must
 * be dropped: its slot stays the publisher's, and so the producer's next claim never waits for a subscriber.
 * 0 or CUFRAMES_E_FULL. */
int
cuframes_frame_ring_make_room (CuframesFrameRing *ring, uint64_t keep_after)
{
  for (uint32_t own = count_own (ring); own < ring->reserve_count + 1; own++) {
    int r = reclaim (ring, keep_after);
    if (r != 0)
      return r;
  }
  return 0;
}

/* Makes a claimed slot the newest frame. Data and metas must be complete, or fenced, before. Returns its number. Subscribers that
 * sleep must be woken after this. */
uint64_t
cuframes_frame_ring_publish (CuframesFrameRing *ring, uint32_t slot, const CuframesFrameInfo *info)
{
  CuframesControlPage *control = ring->control;
  CuframesSlot *shared = &control->slots[slot];
  uint64_t sequence = ring->head + 1;
  CuframesTag tag = cuframes_tag (sequence, slot);

  shared->info = *info;
  shared->info.sequence = sequence;
  CUFRAMES_TESTPOINT ("ring/described");
  /* SYNC publish: release; pairs with the acquire in try_lease(); without it the reader may see the slot's old description. */
  atomic_store_explicit (&shared->state, tag, memory_order_release);
  /* If we die here the frame has a slot and no entry: no peer ever looks at it. */
  CUFRAMES_TESTPOINT ("ring/stated");
  /* SYNC publish: release; pairs with the acquire in try_lease(); without it the reader may miss the state that belongs to the entry. */
  atomic_store_explicit (&control->index[sequence % CUFRAMES_INDEX_SIZE], tag, memory_order_release);
  CUFRAMES_TESTPOINT ("ring/indexed");
  ring->slots[slot].use = CUFRAMES_SLOT_PUBLISHED;
  ring->slots[slot].sequence = sequence;
  ring->slots[slot].fence = (info->flags & CUFRAMES_FRAME_MIRRORED) != 0 ? info->fence_value : 0;
  ring->head = sequence;
  /* SYNC wake: seq_cst, then the waiting words in cuframes_publisher_wake(); pairs with cuframes_subscriber_arm(), which says that it
   * waits and then reads this word; without it a subscriber may go to sleep over this frame.
   * SYNC publish: as a release it pairs with the acquire in cuframes_frame_reader_lease(). */
  atomic_store_explicit (&control->head, sequence, memory_order_seq_cst);
  /* If we die here those awake have the frame and those asleep are woken by the hang-up of their pipes. */
  CUFRAMES_TESTPOINT ("ring/announced");
  return sequence;
}

/* The ring is superseded: its subscribers' pages may be forgotten, since only what is free is given out from now on. */
void
cuframes_frame_ring_close (CuframesFrameRing *ring)
{
  ring->closed = true;
  ring->page_count = ring->waited_count = 0;
}

/* The publisher's own process no longer refers to the slot. Unpublished, it is free again; published, it may be reclaimed. */
void
cuframes_frame_ring_release (CuframesFrameRing *ring, uint32_t slot)
{
  ring->slots[slot].held = false;
  if (ring->slots[slot].use == CUFRAMES_SLOT_CLAIMED)
    ring->slots[slot].use = CUFRAMES_SLOT_FREE;
}

/* cursor is the number before the first frame wanted. slot_count was checked by the caller against CUFRAMES_SLOTS_MAX. */
void
cuframes_frame_reader_init (CuframesFrameReader *reader, const CuframesControlPage *control, CuframesLeasePage *page, uint32_t slot_count,
    uint64_t cursor)
{
  *reader = (CuframesFrameReader) {
    .control = control,.page = page,.slot_count = slot_count,.cursor = cursor,
  };
}

/* 0, CUFRAMES_E_OVERRUN if that frame is no longer there, CUFRAMES_E_PEER if the page holds nonsense. */
static int
try_lease (CuframesFrameReader *reader, uint64_t sequence, uint32_t *ret_slot)
{
  const CuframesControlPage *control = reader->control;
  /* SYNC publish: acquire; pairs with cuframes_frame_ring_publish(). */
  const CuframesTag tag = atomic_load_explicit (&control->index[sequence % CUFRAMES_INDEX_SIZE], memory_order_acquire);
  const uint32_t slot = cuframes_tag_slot (tag);
  const uint64_t bit = UINT64_C (1) << (slot & 63);

  if (!cuframes_tag_is_of (tag, sequence))
    return CUFRAMES_E_OVERRUN;
  if (slot >= reader->slot_count)
    return CUFRAMES_E_PEER;
  /* SYNC lease: seq_cst, then the slot's state; pairs with reclaim(), which retires the slot and then reads this word. */
  if (atomic_fetch_or_explicit (&reader->page->leases, bit, memory_order_seq_cst) & bit)
    return CUFRAMES_E_PEER;     /* a slot that we hold was given a new frame */
  CUFRAMES_TESTPOINT ("ring/leasing");
  /* SYNC lease: seq_cst; pairs with the exchange in reclaim(); without it the slot may be written while we believe in the lease.
   * SYNC publish: as an acquire it pairs with the state in cuframes_frame_ring_publish(). */
  if (atomic_load_explicit (&control->slots[slot].state, memory_order_seq_cst) != tag) {
    cuframes_frame_reader_unlease (reader->page, slot);
    return CUFRAMES_E_OVERRUN;
  }
  CUFRAMES_TESTPOINT ("ring/leased");
  *ret_slot = slot;
  return 0;
}

/* For the publisher's statistics and its policy "wait", which trust them no further than that. */
static void
tell_progress (CuframesFrameReader *reader)
{
  /* relaxed: nothing is ordered by these counters */
  atomic_store_explicit (&reader->page->cursor, reader->cursor, memory_order_relaxed);
  /* relaxed: likewise */
  atomic_store_explicit (&reader->page->missed, reader->missed, memory_order_relaxed);
}

/* Leases the next or the newest frame after the cursor, which moves to it, and copies its description. The slot then stays as it is
 * until cuframes_frame_reader_unlease(). 0, CUFRAMES_E_EMPTY, or CUFRAMES_E_PEER. */
int
cuframes_frame_reader_lease (CuframesFrameReader *reader, CuframesReadOrder order, uint32_t *ret_slot, CuframesFrameInfo *ret_info)
{
  /* SYNC publish: acquire; pairs with cuframes_frame_ring_publish(); without it an entry up to head may not be there yet. */
  const uint64_t head = atomic_load_explicit (&reader->control->head, memory_order_acquire);
  uint64_t sequence = order == CUFRAMES_READ_LATEST ? head : reader->cursor + 1;

  if (is_after (reader->cursor, head))
    return CUFRAMES_E_PEER;
  if (head == reader->cursor)
    return CUFRAMES_E_EMPTY;
  if (head - sequence >= CUFRAMES_INDEX_SIZE)
    sequence = head - CUFRAMES_INDEX_SIZE + 1;
  for (; !is_after (sequence, head); sequence++) {
    int r = try_lease (reader, sequence, ret_slot);
    if (r == CUFRAMES_E_OVERRUN)
      continue;
    if (r != 0)
      return r;
    *ret_info = reader->control->slots[*ret_slot].info;
    ret_info->sequence = sequence;
    reader->missed += sequence - reader->cursor - 1;
    reader->cursor = sequence;
    tell_progress (reader);
    return 0;
  }
  reader->missed += head - reader->cursor;
  reader->cursor = head;
  tell_progress (reader);
  return CUFRAMES_E_EMPTY;
}

/* Gives a slot back; any thread. Every read of it, also by a GPU, must be over. */
void
cuframes_frame_reader_unlease (CuframesLeasePage *page, uint32_t slot)
{
  /* SYNC unlease: release; pairs with the load in cuframes_frame_ring_get_leases(). */
  atomic_fetch_and_explicit (&page->leases, ~(UINT64_C (1) << slot), memory_order_release);
  CUFRAMES_TESTPOINT ("ring/unleased");
}

/* The number before the oldest frame that is still there; a hint, it may go at any moment. */
uint64_t
cuframes_frame_reader_get_oldest (const CuframesFrameReader *reader)
{
  /* SYNC publish: acquire; pairs with cuframes_frame_ring_publish(). */
  const uint64_t head = atomic_load_explicit (&reader->control->head, memory_order_acquire);
  uint64_t oldest = head;

  for (uint32_t i = 0; i < reader->slot_count; i++) {
    /* relaxed: a hint; the lease validates */
    const CuframesTag tag = atomic_load_explicit (&reader->control->slots[i].state, memory_order_relaxed);
    const uint64_t behind = (head - (tag >> 8)) & (UINT64_MAX >> 8);
    if (tag != 0 && behind < CUFRAMES_INDEX_SIZE && is_after (oldest, head - behind - 1))
      oldest = head - behind - 1;
  }
  return oldest;
}
