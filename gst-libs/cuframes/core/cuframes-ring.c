/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A generation: the arena, the control page and the writer's view of the frame ring, shared by the publisher and by memory of the
 * application that refers to a slot. Several threads of one process meet here under a lock; other processes do so without one,
 * in the frame ring. Knows no socket. */
#include "cuframes-ring.h"

#include <limits.h>
#include <string.h>

#include "cuframes-memfd.h"
#include "cuframes-util.h"

/* How often somebody who waits for a slot looks at the subscribers' leases, which are given back without a word. */
#define LEASE_POLL_NS 500000u

int
cuframes_condition_init (pthread_cond_t *condition)
{
  pthread_condattr_t attributes;
  int r = pthread_condattr_init (&attributes);

  if (r != 0)
    return -r;
  pthread_condattr_setclock (&attributes, CLOCK_MONOTONIC);
  r = pthread_cond_init (condition, &attributes);
  pthread_condattr_destroy (&attributes);
  return -r;
}

bool
cuframes_condition_wait (pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t deadline_ns)
{
  struct timespec until = { (time_t) (deadline_ns / 1000000000u), (long) (deadline_ns % 1000000000u) };

  if (deadline_ns / 1000000000u > INT_MAX) {
    pthread_cond_wait (condition, lock);
    return true;
  }
  return pthread_cond_timedwait (condition, lock, &until) == 0;
}

static int
check_config (const CuframesRingConfig *config)
{
  uint64_t data_bytes;
  const uint64_t arena_bytes = cuframes_arena_get_size (config->arena);

  if (config->slot_count < CUFRAMES_SLOTS_MIN || config->slot_count > CUFRAMES_SLOTS_MAX || config->reserve_count == 0
      || config->reserve_count >= config->slot_count || config->slot_bytes == 0 || config->meta_bytes > CUFRAMES_META_BYTES_MAX)
    return -EINVAL;
  if (config->format_bytes > CUFRAMES_FORMAT_BYTES_MAX)
    return -EMSGSIZE;
  if (!cuframes_multiply (config->slot_bytes, config->slot_count, &data_bytes)
      || !cuframes_within (config->data_offset_bytes, data_bytes, arena_bytes))
    return -EINVAL;
  return 0;
}

static void
describe (const CuframesRingConfig *config, CuframesRingMessage *ret_message)
{
  const uint64_t wanted = config->meta_bytes == 0 ? CUFRAMES_META_BYTES_DEFAULT : config->meta_bytes;
  const uint64_t meta_bytes = (wanted + CUFRAMES_PAGE_BYTES - 1) / CUFRAMES_PAGE_BYTES * CUFRAMES_PAGE_BYTES;

  *ret_message = (CuframesRingMessage) {
    .kind = CUFRAMES_RING_FRAMES,.slot_count = config->slot_count,.slot_bytes = config->slot_bytes,.data_offset_bytes = config->data_offset_bytes,
    .meta_stride_bytes = meta_bytes,.control_bytes = CUFRAMES_META_OFFSET_BYTES + meta_bytes * config->slot_count,
    .fence_offset_bytes = config->fence_offset_bytes,.format = config->format,.format_bytes = config->format_bytes,
  };
}

/* What both kinds of ring begin with: a reference to the arena, a copy of the format, and a control page of zeros, filled as
 * told. 0 or a negative errno. */
int
cuframes_ring_prepare (const CuframesRingMessage *message, CuframesArena *arena, CuframesMemfdFill fill, CuframesRing **ret_ring)
{
  CuframesRing *ring = calloc (1, sizeof *ring);
  void *control = NULL, *format = malloc (message->format_bytes + 1);
  int r;

  if (ring == NULL || format == NULL) {
    free (ring);
    free (format);
    return -ENOMEM;
  }
  if (message->format_bytes > 0)
    memcpy (format, message->format, message->format_bytes);
  __atomic_store_n (&ring->references, 1, __ATOMIC_RELAXED);
  pthread_mutex_init (&ring->lock, NULL);
  cuframes_condition_init (&ring->released);
  ring->message = *message;
  ring->message.format = format;
  ring->arena = cuframes_arena_ref (arena);
  cuframes_arena_get_info (arena, &ring->message.arena);
  ring->control_fd = -1;
  r = cuframes_memfd_new ("cuframes-control", message->control_bytes, CUFRAMES_MEMFD_OWNER_WRITES, fill, &ring->control_fd, &control);
  if (r < 0) {
    cuframes_ring_unref (ring);
    return r;
  }
  ring->control = control;
  *ret_ring = ring;
  return 0;
}

/* Gives the ring its place in a publisher's life, which ends when nothing is written to the ring's memory any more. head is the number before the
 * first frame's, patience_ns how long claims wait for subscribers that asked for it. Before anybody else has the page.
 * 0, or CUFRAMES_E_HELD if it or its memory has a place already. */
int
cuframes_ring_begin (CuframesRing *ring, uint64_t ring_id, uint32_t generation, uint64_t head, uint64_t event_serial, uint64_t patience_ns,
    CuframesLife *life)
{
  const CuframesArenaOps *ops = ring->arena->ops;
  int r = CUFRAMES_E_HELD;

  pthread_mutex_lock (&ring->lock);
  if (ring->message.generation == 0 && (ops->hold_life == NULL || ops->hold_life (ring->arena, life))) {
    ring->message.ring_id = ring->control->ring_id = ring_id;
    ring->message.generation = ring->control->generation = generation;
    ring->message.first_sequence = ring->control->first_sequence = head;
    ring->frames.head = head;
    ring->patience_ns = patience_ns;
    if (ring->message.kind == CUFRAMES_RING_PACKETS)
      cuframes_packet_ring_set_head (&ring->packets, head);
    /* relaxed: the page is not shared yet; its descriptor is sent later */
    atomic_store_explicit (&ring->control->head, head, memory_order_relaxed);
    /* relaxed: likewise */
    atomic_store_explicit (&ring->control->event_serial, event_serial, memory_order_relaxed);
    r = 0;
  }
  pthread_mutex_unlock (&ring->lock);
  return r;
}

/**
 * cuframes_ring_new:
 * @config: the new generation
 * @ret_ring: (out) (transfer full): the ring
 *
 * Makes a ring that nobody sees yet, so that its slots can be written before cuframes_publisher_announce_ring() shows it.
 *
 * Returns: 0, -EINVAL if the slots do not fit the arena or are out of range, -EMSGSIZE if the format is too long, or another negative
 * errno; then @ret_ring is unchanged
 *
 * Since: 0.1
 */
int
cuframes_ring_new (const CuframesRingConfig *config, CuframesRing **ret_ring)
{
  CuframesRing *ring = NULL;
  CuframesRingMessage message;
  int r = check_config (config);

  if (r < 0)
    return r;
  describe (config, &message);
  r = cuframes_ring_prepare (&message, config->arena, CUFRAMES_MEMFD_SPARSE, &ring);
  if (r < 0)
    return r;
  ring->control->magic = CUFRAMES_LAYOUT_MAGIC;
  ring->control->version = CUFRAMES_LAYOUT_VERSION;
  ring->control->slot_count = message.slot_count;
  ring->control->meta_stride_bytes = message.meta_stride_bytes;
  if (ring->arena->ops->adopt_mirror != NULL)
    ring->control_adopted = ring->arena->ops->adopt_mirror (ring->arena, ring->control, message.control_bytes,
        (uint64_t *) ((char *) ring->control + CUFRAMES_FENCE_OFFSET_BYTES));
  r = cuframes_frame_ring_init (&ring->frames, ring->control, config->slot_count, config->reserve_count, 0);
  if (r < 0)
    ring = cuframes_ring_unref (ring);
  else
    *ret_ring = ring;
  return r;
}

/**
 * cuframes_ring_ref:
 * @ring: a ring
 *
 * Returns: (transfer full): @ring with one reference more
 *
 * Since: 0.1
 */
CuframesRing *
cuframes_ring_ref (CuframesRing *ring)
{
  __atomic_fetch_add (&ring->references, 1, __ATOMIC_RELAXED);
  return ring;
}

/**
 * cuframes_ring_unref:
 * @ring: (transfer full) (nullable): a ring
 *
 * Gives a reference back; with the last one the ring is unmapped in this process.
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesRing *
cuframes_ring_unref (CuframesRing *ring)
{
  if (ring == NULL || __atomic_fetch_sub (&ring->references, 1, __ATOMIC_ACQ_REL) != 1)
    return NULL;
  cuframes_frame_ring_clear (&ring->frames);
  cuframes_packet_ring_clear (&ring->packets);
  if (!ring->control_adopted)
    cuframes_memfd_unmap (ring->control, ring->message.control_bytes);
  ring->control_fd = cuframes_close (ring->control_fd);
  ring->arena = cuframes_arena_unref (ring->arena);
  free ((void *) ring->message.format);
  pthread_cond_destroy (&ring->released);
  pthread_mutex_destroy (&ring->lock);
  free (ring);
  return NULL;
}

/* In a child that was forked: whether no thread of the parent was at work in the ring just then, so that it is whole here. Nobody waits for it in this
 * process, whatever the condition remembers. */
bool
cuframes_ring_inherit (CuframesRing *ring)
{
  if (pthread_mutex_trylock (&ring->lock) != 0)
    return false;
  pthread_mutex_unlock (&ring->lock);
  return cuframes_condition_init (&ring->released) == 0;
}

/* Lets a page's leases count; packets are not leased. 0 or -ENOMEM. */
int
cuframes_ring_attach (CuframesRing *ring, CuframesLeasePage *page)
{
  int r;

  if (ring->message.kind == CUFRAMES_RING_PACKETS)
    return 0;
  pthread_mutex_lock (&ring->lock);
  r = cuframes_frame_ring_attach (&ring->frames, page);
  pthread_mutex_unlock (&ring->lock);
  return r;
}

void
cuframes_ring_detach (CuframesRing *ring, CuframesLeasePage *page)
{
  pthread_mutex_lock (&ring->lock);
  cuframes_frame_ring_detach (&ring->frames, page);
  pthread_cond_broadcast (&ring->released);
  pthread_mutex_unlock (&ring->lock);
}

/* Nobody waits for the owner of that page any more; what it holds it holds. */
void
cuframes_ring_disregard (CuframesRing *ring, CuframesLeasePage *page)
{
  pthread_mutex_lock (&ring->lock);
  cuframes_frame_ring_disregard (&ring->frames, page);
  pthread_cond_broadcast (&ring->released);
  pthread_mutex_unlock (&ring->lock);
}

/* The last frame that everybody who is waited for has taken. Who is not on this ring yet has taken nothing of it. */
static uint64_t
get_floor (const CuframesRing *ring)
{
  return ring->others ? ring->message.first_sequence : cuframes_frame_ring_get_floor (&ring->frames);
}

/* With waits what subscribers who asked for it have not taken stays; others says that some of them are not on this ring yet.
 * 0 or CUFRAMES_E_FULL. */
int
cuframes_ring_make_room (CuframesRing *ring, bool waits, bool others)
{
  int r;

  pthread_mutex_lock (&ring->lock);
  ring->others = others;
  r = cuframes_frame_ring_make_room (&ring->frames, waits ? get_floor (ring) : ring->frames.head);
  pthread_mutex_unlock (&ring->lock);
  return r;
}

uint64_t
cuframes_ring_announce (CuframesRing *ring, uint32_t slot, const CuframesFrameInfo *info)
{
  uint64_t sequence;

  pthread_mutex_lock (&ring->lock);
  sequence = cuframes_frame_ring_publish (&ring->frames, slot, info);
  ring->short_since_ns = 0;
  pthread_cond_broadcast (&ring->released);
  pthread_mutex_unlock (&ring->lock);
  return sequence;
}

/* Number of the newest frame or packet. Under the publisher's lock, which every announcement holds. */
uint64_t
cuframes_ring_get_head (const CuframesRing *ring)
{
  return ring->message.kind == CUFRAMES_RING_PACKETS ? ring->packets.head : ring->frames.head;
}

/* How far behind the head the oldest frame lies that this page leases; 0 for none. A bit on a slot that holds no frame is an attempt. */
uint64_t
cuframes_ring_get_oldest_lease (CuframesRing *ring, CuframesLeasePage *page)
{
  uint64_t oldest = 0;

  pthread_mutex_lock (&ring->lock);
  for (uint32_t i = 0; i < ring->frames.slot_count; i++) {
    /* relaxed: chooses whom to evict, nothing is written by it */
    const uint64_t leases = atomic_load_explicit (&page->leases, memory_order_relaxed);
    const uint64_t behind = ring->frames.head - ring->frames.slots[i].sequence + 1;
    const CuframesSlotUse use = ring->frames.slots[i].use;
    if (leases >> i & 1 && (use == CUFRAMES_SLOT_PUBLISHED || use == CUFRAMES_SLOT_RETIRED) && behind > oldest)
      oldest = behind;
  }
  pthread_mutex_unlock (&ring->lock);
  return oldest;
}

/* The generation that follows is there: only free slots are given out from now on. */
void
cuframes_ring_supersede (CuframesRing *ring, uint32_t successor)
{
  pthread_mutex_lock (&ring->lock);
  cuframes_frame_ring_close (&ring->frames);
  /* SYNC successor: seq_cst; pairs with has_news() and pending_is_due(); without it a subscriber may sleep on a ring that gets no more frames. */
  atomic_store_explicit (&ring->control->successor, successor, memory_order_seq_cst);
  CUFRAMES_TESTPOINT ("ring/superseded");
  pthread_cond_broadcast (&ring->released);
  pthread_mutex_unlock (&ring->lock);
}

void
cuframes_ring_count (CuframesRing *ring, uint32_t *ret_leased, uint32_t *ret_held)
{
  uint64_t leases;
  uint32_t held = 0;

  pthread_mutex_lock (&ring->lock);
  leases = cuframes_frame_ring_get_leases (&ring->frames);
  for (uint32_t i = 0; i < ring->frames.slot_count; i++)
    held += ring->frames.slots[i].held;
  pthread_mutex_unlock (&ring->lock);
  *ret_leased = (uint32_t) __builtin_popcountll (leases);
  *ret_held = held;
}

/* Until something of this process changes, or it is time to look at the leases again. 0, or CUFRAMES_E_CANCELLED while flushing. */
int
cuframes_ring_wait_released (CuframesRing *ring, uint64_t timeout_ns)
{
  int r;

  pthread_mutex_lock (&ring->lock);
  if (!ring->flushing)
    cuframes_condition_wait (&ring->released, &ring->lock, cuframes_now_ns () + (timeout_ns < LEASE_POLL_NS ? timeout_ns : LEASE_POLL_NS));
  r = ring->flushing ? CUFRAMES_E_CANCELLED : 0;
  pthread_mutex_unlock (&ring->lock);
  return r;
}

/* Under the lock. Patience is counted over all claims in a row that found nothing, since who claims may do so bit by bit. */
static int
claim_now (CuframesRing *ring, uint32_t *ret_slot)
{
  const uint64_t now = ring->patience_ns > 0 ? cuframes_now_ns () : 0;
  const bool waits = ring->patience_ns > 0 && (ring->short_since_ns == 0 || now - ring->short_since_ns < ring->patience_ns);
  const int r = cuframes_frame_ring_claim (&ring->frames, waits ? get_floor (ring) : ring->frames.head, ret_slot);

  if (r == 0)
    ring->short_since_ns = 0;
  else if (ring->short_since_ns == 0)
    ring->short_since_ns = now;
  return r;
}

/**
 * cuframes_ring_claim:
 * @ring: a ring
 * @timeout_ns: how long to wait while this process itself holds every slot that no subscriber holds; 0 not to wait
 * @ret_slot: (out): the slot
 *
 * Takes a slot to write a frame to. It is this process's until cuframes_publisher_publish() or cuframes_ring_release().
 * Oldest frames that nobody holds make room. As many as the ring's reserve can be claimed at a time without that; beyond it, under the
 * publisher's policy "wait", frames that a subscriber who is waited for has not taken are left alone for the policy's time. Any thread.
 *
 * Returns: 0, %CUFRAMES_E_FULL when the time is over, or %CUFRAMES_E_CANCELLED while flushing
 *
 * Since: 0.1
 */
int
cuframes_ring_claim (CuframesRing *ring, uint64_t timeout_ns, uint32_t *ret_slot)
{
  const uint64_t start = cuframes_now_ns ();
  int r;

  pthread_mutex_lock (&ring->lock);
  for (;;) {
    uint64_t now, passed;
    r = ring->flushing ? CUFRAMES_E_CANCELLED : claim_now (ring, ret_slot);
    if (r != CUFRAMES_E_FULL)
      break;
    now = cuframes_now_ns ();
    passed = now - start;
    if (passed >= timeout_ns)
      break;
    cuframes_condition_wait (&ring->released, &ring->lock, now + (timeout_ns - passed < LEASE_POLL_NS ? timeout_ns - passed : LEASE_POLL_NS));
  }
  pthread_mutex_unlock (&ring->lock);
  return r;
}

/**
 * cuframes_ring_release:
 * @ring: a ring
 * @slot: a slot that was claimed
 *
 * Says that this process no longer refers to the slot. One that was not published is free again; the frame of one that was stays
 * until its turn comes. Work of a GPU on the slot must be over. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_ring_release (CuframesRing *ring, uint32_t slot)
{
  pthread_mutex_lock (&ring->lock);
  cuframes_frame_ring_release (&ring->frames, slot);
  pthread_cond_broadcast (&ring->released);
  pthread_mutex_unlock (&ring->lock);
}

/**
 * cuframes_ring_set_flushing:
 * @ring: a ring
 * @flushing: whether claims fail at once
 *
 * Ends waits for a slot, for a producer that stops. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_ring_set_flushing (CuframesRing *ring, bool flushing)
{
  pthread_mutex_lock (&ring->lock);
  ring->flushing = flushing;
  pthread_cond_broadcast (&ring->released);
  pthread_mutex_unlock (&ring->lock);
}

/**
 * cuframes_ring_is_claimed:
 * @ring: a ring
 * @slot: a slot
 *
 * Returns: whether @slot is claimed and not yet published. Any thread.
 *
 * Since: 0.1
 */
bool
cuframes_ring_is_claimed (CuframesRing *ring, uint32_t slot)
{
  bool claimed;

  pthread_mutex_lock (&ring->lock);
  claimed = slot < ring->frames.slot_count && ring->frames.slots[slot].use == CUFRAMES_SLOT_CLAIMED;
  pthread_mutex_unlock (&ring->lock);
  return claimed;
}

/**
 * cuframes_ring_get_slot_address:
 * @ring: a ring
 * @slot: a slot
 *
 * Returns: where the slot is mapped: a pointer of this process, or a CUdeviceptr. Any thread.
 *
 * Since: 0.1
 */
uint64_t
cuframes_ring_get_slot_address (const CuframesRing *ring, uint32_t slot)
{
  return cuframes_arena_get_address (ring->arena) + ring->message.data_offset_bytes + slot * ring->message.slot_bytes;
}

/**
 * cuframes_ring_get_slot_metas:
 * @ring: a ring
 * @slot: a slot that was claimed and is not published
 * @ret_capacity_bytes: (out): room there
 *
 * Returns: (transfer none): where to write serialised metas, in host memory; set `meta_bytes` when publishing. Any thread.
 *
 * Since: 0.1
 */
void *
cuframes_ring_get_slot_metas (const CuframesRing *ring, uint32_t slot, uint64_t *ret_capacity_bytes)
{
  *ret_capacity_bytes = ring->message.meta_stride_bytes;
  return (uint8_t *) ring->control + CUFRAMES_META_OFFSET_BYTES + slot * ring->message.meta_stride_bytes;
}

/**
 * cuframes_ring_get_slot_bytes:
 * @ring: a ring
 *
 * Returns: room in a slot, in bytes
 *
 * Since: 0.1
 */
uint64_t
cuframes_ring_get_slot_bytes (const CuframesRing *ring)
{
  return ring->message.slot_bytes;
}

/**
 * cuframes_ring_get_generation:
 * @ring: a ring
 *
 * Returns: its number in its publisher's life, from 1; 0 before it is announced
 *
 * Since: 0.1
 */
uint32_t
cuframes_ring_get_generation (const CuframesRing *ring)
{
  return ring->message.generation;
}

/**
 * cuframes_ring_peek_format:
 * @ring: a ring
 * @ret_byte_count: (out): its length
 *
 * Returns: (transfer none): the description of its frames
 *
 * Since: 0.1
 */
const void *
cuframes_ring_peek_format (const CuframesRing *ring, uint32_t *ret_byte_count)
{
  *ret_byte_count = ring->message.format_bytes;
  return ring->message.format;
}

/**
 * cuframes_ring_peek_arena:
 * @ring: a ring
 *
 * Returns: (transfer none): the arena of its slots
 *
 * Since: 0.1
 */
CuframesArena *
cuframes_ring_peek_arena (const CuframesRing *ring)
{
  return ring->arena;
}
