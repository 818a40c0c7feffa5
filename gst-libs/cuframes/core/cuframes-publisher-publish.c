/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Publishing: room for the next frame by the overflow policy, the announcement, and who is woken. Nothing here waits for a subscriber unless
 * the policy "wait" says so. Knows nothing of sockets. */
#include "cuframes-publisher-private.h"
#include "cuframes-util.h"

/* Superseded generations that evicted subscribers may keep alive; beyond that, frames are dropped instead. */
#define EVICTED_GENERATIONS_MAX 2u

/* Who holds more than it may has broken the rules: its leases count no longer. Whether somebody did. */
static bool
drop_violators (CuframesPublisher *publisher)
{
  bool dropped = false;

  for (uint32_t i = 0; i < publisher->peer_count; i++) {
    CuframesPeer *peer = publisher->peers[i];
    uint64_t leases;
    if (peer->page == NULL || peer->ring != publisher->ring)
      continue;
    /* relaxed: a count; the reclaim that follows reads the word with its order */
    leases = atomic_load_explicit (&peer->page->leases, memory_order_relaxed);
    if ((uint32_t) __builtin_popcountll (leases) <= publisher->config.max_leases)
      continue;
    cuframes_publisher_log (publisher, "subscriber %u (%s) holds more than its %u frames and is dropped", peer->id, peer->hello.name,
        publisher->config.max_leases);
    cuframes_peer_drop (peer);
    dropped = true;
  }
  if (dropped)
    cuframes_publisher_kick_server (publisher);
  return dropped;
}

/* Whether somebody who asked to be waited for was not told of this ring yet. Who is off the channel has no say. */
static bool
others_wait (const CuframesPublisher *publisher)
{
  for (uint32_t i = 0; i < publisher->peer_count; i++) {
    const CuframesPeer *peer = publisher->peers[i];
    if (peer->page == NULL || peer->lingering || peer->ring == publisher->ring)
      continue;
    /* relaxed: a peer's wish, which decides only how long we wait */
    if (atomic_load_explicit (&peer->page->lossless, memory_order_relaxed) != 0)
      return true;
  }
  return false;
}

/* Room in the ring. One that takes more than it may just when room is looked for is found here, before it costs the frame. */
static int
look_for_room (CuframesPublisher *publisher, CuframesRing *ring, bool waits)
{
  int r;

  do
    r = cuframes_ring_make_room (ring, waits, publisher->config.overflow == CUFRAMES_OVERFLOW_WAIT && others_wait (publisher));
  while (r == CUFRAMES_E_FULL && drop_violators (publisher));
  return r;
}

/* Whether a new generation will bring room: one was evicted and not too many are still about. */
static bool
evict_oldest (CuframesPublisher *publisher)
{
  CuframesPeer *oldest = NULL;
  uint64_t most_behind = 0;
  uint32_t elsewhere = 0;

  for (uint32_t i = 0; i < publisher->peer_count; i++) {
    CuframesPeer *peer = publisher->peers[i];
    uint64_t behind;
    if (peer->page == NULL)
      continue;
    elsewhere += peer->lingering && peer->ring != publisher->ring;
    behind = peer->ring == publisher->ring ? cuframes_ring_get_oldest_lease (publisher->ring, peer->page) : 0;
    if (behind > most_behind) {
      most_behind = behind;
      oldest = peer;
    }
  }
  if (oldest == NULL || elsewhere >= EVICTED_GENERATIONS_MAX)
    return false;
  if (!oldest->lingering) {
    cuframes_publisher_log (publisher, "subscriber %u (%s) holds the oldest frame and is evicted", oldest->id, oldest->hello.name);
    cuframes_peer_dismiss (oldest, CUFRAMES_BYE_EVICTED);
    publisher->stats.evicted++;
  }
  return true;
}

/* 0, CUFRAMES_E_FULL, CUFRAMES_E_HELD, CUFRAMES_E_CANCELLED, or CUFRAMES_E_ABSENT if another ring was started meanwhile. The lock is
 * given up while waiting. */
static int
make_room (CuframesPublisher *publisher, CuframesRing *ring)
{
  const bool waits = publisher->config.overflow == CUFRAMES_OVERFLOW_WAIT;
  const uint64_t start = !waits ? 0 : publisher->claim_start_ns != 0 ? publisher->claim_start_ns : cuframes_now_ns ();
  int r;

  publisher->claim_start_ns = 0;
  /* Each time, not only when room is short: slots that somebody takes beyond its budget are frames that pass the others by. */
  drop_violators (publisher);
  r = look_for_room (publisher, ring, waits);
  while (r == CUFRAMES_E_FULL && waits) {
    const uint64_t passed = cuframes_now_ns () - start;
    if (publisher->flushing)
      return CUFRAMES_E_CANCELLED;
    if (passed >= publisher->config.overflow_timeout_ns)
      return look_for_room (publisher, ring, false);
    pthread_mutex_unlock (&publisher->lock);
    r = cuframes_ring_wait_released (ring, publisher->config.overflow_timeout_ns - passed);
    pthread_mutex_lock (&publisher->lock);
    if (publisher->ring != ring)
      return CUFRAMES_E_ABSENT;
    if (r != 0)
      return r;
    r = look_for_room (publisher, ring, true);
  }
  if (r == CUFRAMES_E_FULL && publisher->config.overflow == CUFRAMES_OVERFLOW_EVICT && evict_oldest (publisher))
    return CUFRAMES_E_HELD;
  return r;
}

/* The second half of publishing: the head was stored seq_cst, now cuframes_peer_wake() reads each waiting word, where SYNC wake stands. */
void
cuframes_publisher_wake (CuframesPublisher *publisher)
{
  for (uint32_t i = 0; i < publisher->peer_count; i++) {
    CuframesPeer *peer = publisher->peers[i];
    publisher->stats.wakeups += cuframes_peer_wake (peer);
    if (!cuframes_peer_is_costly (peer) || peer->lingering)
      continue;
    cuframes_publisher_log (publisher, "subscriber %u (%s) makes each wake-up long and is taken off", peer->id, peer->hello.name);
    cuframes_peer_dismiss (peer, CUFRAMES_BYE_PROTOCOL);
  }
}

static void
count (CuframesPublisher *publisher, uint64_t size_bytes, uint64_t publish_ns)
{
  publisher->stats.frames++;
  publisher->stats.bytes += size_bytes;
  publisher->stats.last_publish_ns = publish_ns;
}

/* A lock is nobody's turn: a server with much to do takes it again before a thread that waits for it is awake. */
static void
lock_before_the_server (CuframesPublisher *publisher)
{
  /* relaxed: a wish, which decides only who comes first */
  __atomic_fetch_add (&publisher->in_a_hurry, 1, __ATOMIC_RELAXED);
  pthread_mutex_lock (&publisher->lock);
  __atomic_fetch_sub (&publisher->in_a_hurry, 1, __ATOMIC_RELAXED);
}

/**
 * cuframes_publisher_publish:
 * @publisher: a publisher
 * @ring: its current ring
 * @slot: a slot of @ring that was claimed
 * @info: what is known of the frame; sequence, publish_ns and event_serial are set by this function
 * @ret_sequence: (out) (optional): the frame's number
 *
 * Makes a slot the newest frame and wakes the subscribers that sleep. The data must be complete: for a GPU that means its stream was
 * synchronised, or a fence is queued behind its work and %CUFRAMES_FRAME_FENCED is set, before this call. The slot then belongs to the
 * ring and may not be written any more; cuframes_ring_release() is still due when this process no longer refers to it. Any thread,
 * one at a time.
 *
 * Returns: 0; %CUFRAMES_E_FULL if the frame was dropped because no slot would be free for the next; %CUFRAMES_E_HELD likewise, after a
 * subscriber was evicted: start a new ring now and publish a copy there; %CUFRAMES_E_CANCELLED while flushing; %CUFRAMES_E_ABSENT if @ring
 * is not current; -EINVAL if the slot is not claimed. On anything but 0 the slot is still as it was
 *
 * Since: 0.1
 */
int
cuframes_publisher_publish (CuframesPublisher *publisher, CuframesRing *ring, uint32_t slot, const CuframesFrameInfo *info,
    uint64_t *ret_sequence)
{
  CuframesFrameInfo announced = *info;
  int r;

  /* Nobody would ever see such a fence there. */
  if (!ring->control_adopted || announced.fence_value >> CUFRAMES_FENCE_WORD_SHIFT >= CUFRAMES_FENCE_WORDS)
    announced.flags &= ~CUFRAMES_FRAME_MIRRORED;
  lock_before_the_server (publisher);
  if (!cuframes_ring_is_claimed (ring, slot))
    r = -EINVAL;
  else
    r = publisher->ring == ring ? make_room (publisher, ring) : CUFRAMES_E_ABSENT;
  if (r == 0) {
    announced.event_serial = publisher->event_serial;
    announced.publish_ns = cuframes_now_ns ();
    publisher->head = cuframes_ring_announce (ring, slot, &announced);
    count (publisher, announced.size_bytes, announced.publish_ns);
    publisher->stats.copies += (announced.flags & CUFRAMES_FRAME_COPIED) != 0;
    if (ret_sequence != NULL)
      *ret_sequence = publisher->head;
    cuframes_publisher_wake (publisher);
  } else if (r == CUFRAMES_E_FULL)
    publisher->stats.dropped++;
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/**
 * cuframes_publisher_publish_packet:
 * @publisher: a publisher
 * @ring: its current ring, one of packets
 * @info: what is known of the packet; sequence, publish_ns and event_serial are set by this function
 * @pieces: (array length=piece_count): the packet's data, `size_bytes` of @info together; copied
 * @piece_count: length of @pieces
 * @metas: (nullable): serialised metas, `meta_bytes` of @info; copied
 * @ret_sequence: (out) (optional): the packet's number
 *
 * Makes this the newest packet and wakes the subscribers that sleep. The oldest ones make room, whoever reads them: it waits for nobody,
 * whatever the publisher's policy on overflow. Any thread, one at a time.
 *
 * Returns: 0; %CUFRAMES_E_FULL if the packet is larger than cuframes_ring_get_packet_limit(), which is counted as dropped;
 * %CUFRAMES_E_ABSENT if @ring is not current; -EINVAL if it is no ring of packets or the pieces are not `size_bytes` long. On anything but 0
 * nothing has changed
 *
 * Since: 0.1
 */
int
cuframes_publisher_publish_packet (CuframesPublisher *publisher, CuframesRing *ring, const CuframesPacketInfo *info,
    const struct iovec *pieces, uint32_t piece_count, const void *metas, uint64_t *ret_sequence)
{
  CuframesPacketInfo announced = *info;
  uint64_t sequence = 0;
  int r;

  lock_before_the_server (publisher);
  announced.event_serial = publisher->event_serial;
  announced.publish_ns = cuframes_now_ns ();
  r = publisher->ring != ring ? CUFRAMES_E_ABSENT : cuframes_ring_write (ring, &announced, pieces, piece_count, metas, &sequence);
  if (r == 0) {
    publisher->head = sequence;
    count (publisher, announced.size_bytes, announced.publish_ns);
    if (ret_sequence != NULL)
      *ret_sequence = sequence;
    cuframes_publisher_wake (publisher);
  } else if (r == CUFRAMES_E_FULL)
    publisher->stats.dropped++;
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/* Whether it is of use to wait for a slot: 0, CUFRAMES_E_CANCELLED or CUFRAMES_E_ABSENT. */
static int
may_wait (CuframesPublisher *publisher, const CuframesRing *ring)
{
  int r;

  pthread_mutex_lock (&publisher->lock);
  r = publisher->flushing ? CUFRAMES_E_CANCELLED : publisher->ring != ring ? CUFRAMES_E_ABSENT : 0;
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/**
 * cuframes_publisher_claim:
 * @publisher: a publisher
 * @ring: its current ring
 * @ret_slot: (out): the slot
 *
 * Takes a slot to copy a frame into, which cuframes_publisher_publish() or cuframes_ring_release() takes back. Unlike
 * cuframes_ring_claim(), which a producer calls for the frames that it writes, it waits as long as the publisher's policy on overflow says; what
 * it has waited counts when the frame is published. Any thread, one at a time.
 *
 * Returns: 0; %CUFRAMES_E_FULL if there is none, which is counted as a dropped frame; %CUFRAMES_E_CANCELLED while flushing; %CUFRAMES_E_ABSENT if
 * @ring is not current and has no slot
 *
 * Since: 0.1
 */
int
cuframes_publisher_claim (CuframesPublisher *publisher, CuframesRing *ring, uint32_t *ret_slot)
{
  const uint64_t timeout_ns = publisher->config.overflow == CUFRAMES_OVERFLOW_WAIT ? publisher->config.overflow_timeout_ns : 0;
  const uint64_t start = cuframes_now_ns ();
  uint64_t passed = 0;
  int r;

  while ((r = cuframes_ring_claim (ring, 0, ret_slot)) == CUFRAMES_E_FULL && passed < timeout_ns) {
    r = may_wait (publisher, ring);
    if (r == 0)
      r = cuframes_ring_wait_released (ring, timeout_ns - passed);
    if (r != 0)
      break;
    passed = cuframes_now_ns () - start;
  }
  pthread_mutex_lock (&publisher->lock);
  publisher->claim_start_ns = r == 0 && passed > 0 ? start : 0;
  publisher->stats.dropped += r == CUFRAMES_E_FULL;
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/**
 * cuframes_publisher_count_drop:
 * @publisher: a publisher
 *
 * Counts a frame that the application dropped because cuframes_ring_claim() gave it no slot. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_publisher_count_drop (CuframesPublisher *publisher)
{
  pthread_mutex_lock (&publisher->lock);
  publisher->stats.dropped++;
  pthread_mutex_unlock (&publisher->lock);
}
