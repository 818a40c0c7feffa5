/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One subscriber as its publisher sees it. Trusts nothing that the subscriber can write; what it does wrong costs it its place and
 * nobody else anything. Knows nothing of the other subscribers or of policies. */
#define _GNU_SOURCE
#include "cuframes-peer.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "cuframes-fork-guard.h"
#include "cuframes-memfd.h"
#include "cuframes-util.h"

/* A wake-up takes some microseconds. */
#define COSTLY_WAKE_NS UINT64_C (250000)
#define COSTLY_WAKES_MAX 16u
#define SUSPECT_WAKES 1024u
#define SAMPLE_OF_WAKES 16u

static int
open_wake_pipe (CuframesPeer *peer)
{
  int r = cuframes_fork_guard_pipe (&peer->wake_read_fd, &peer->wake_write_fd);

  if (r == 0)
    /* One page is as small as a pipe gets; it only ever holds a few bytes. */
    fcntl (peer->wake_write_fd, F_SETPIPE_SZ, (int) CUFRAMES_PAGE_BYTES);
  return r;
}

/* The descriptor is consumed, also on failure. 0 or a negative errno. */
int
cuframes_peer_new (int take_fd, const CuframesPeerIdentity *identity, const CuframesHello *hello, uint32_t id, CuframesPeer **ret_peer)
{
  CuframesPeer *peer = calloc (1, sizeof *peer);
  int r;

  if (peer == NULL) {
    cuframes_close (take_fd);
    return -ENOMEM;
  }
  peer->fd = take_fd;
  peer->wake_read_fd = peer->wake_write_fd = -1;
  peer->id = id;
  peer->observer = hello->role == CUFRAMES_ROLE_OBSERVER;
  peer->identity = *identity;
  peer->hello = *hello;
  peer->queue_end = &peer->queue;
  peer->attached_ns = cuframes_now_ns ();
  peer->random = (uint32_t) peer->attached_ns;
  r = cuframes_fork_guard_add (peer->fd);
  if (r == 0)
    r = open_wake_pipe (peer);
  if (r < 0) {
    cuframes_peer_free (peer);
    return r;
  }
  *ret_peer = peer;
  return 0;
}

static void
drop_queue (CuframesPeer *peer)
{
  while (peer->queue != NULL) {
    CuframesOutgoing *first = peer->queue;
    peer->queue = first->next;
    free (first);
  }
  peer->queue_end = &peer->queue;
  peer->queue_count = 0;
  peer->queue_bytes = 0;
  peer->throttled = false;
}

static void
drop_page (CuframesPeer *peer)
{
  if (peer->page == NULL)
    return;
  cuframes_ring_detach (peer->ring, peer->page);
  peer->delivered_before += atomic_load_explicit (&peer->page->delivered, memory_order_relaxed);        /* relaxed: a counter */
  peer->missed_before += atomic_load_explicit (&peer->page->missed, memory_order_relaxed);      /* relaxed: a counter */
  peer->copied_before += atomic_load_explicit (&peer->page->copied, memory_order_relaxed);      /* relaxed: a counter */
  peer->page = cuframes_memfd_unmap (peer->page, CUFRAMES_PAGE_BYTES);
  peer->ring = cuframes_ring_unref (peer->ring);
}

static int
close_guarded (int fd)
{
  if (fd >= 0)
    cuframes_fork_guard_remove (fd);
  return cuframes_close (fd);
}

/* Forgets a subscriber and every lease of it. Takes NULL. Always NULL. */
CuframesPeer *
cuframes_peer_free (CuframesPeer *peer)
{
  if (peer == NULL)
    return NULL;
  drop_page (peer);
  drop_queue (peer);
  peer->fd = close_guarded (peer->fd);
  peer->wake_write_fd = close_guarded (peer->wake_write_fd);
  peer->wake_read_fd = cuframes_close (peer->wake_read_fd);
  free (peer);
  return NULL;
}

static int
enqueue (CuframesPeer *peer, CuframesOutgoing *entry)
{
  entry->next = NULL;
  *peer->queue_end = entry;
  peer->queue_end = &entry->next;
  peer->queue_count++;
  peer->queue_bytes += entry->event.byte_count;
  return 0;
}

/* 0, CUFRAMES_E_FULL if too much is unread, or -ENOMEM. */
int
cuframes_peer_queue_ring (CuframesPeer *peer)
{
  CuframesOutgoing *entry;

  if (peer->observer || peer->lingering || peer->dead)
    return 0;
  if (peer->queue_count >= CUFRAMES_PEER_QUEUE_COUNT_MAX)
    return CUFRAMES_E_FULL;
  entry = calloc (1, sizeof *entry);
  if (entry == NULL)
    return -ENOMEM;
  entry->is_ring = true;
  return enqueue (peer, entry);
}

/* The bytes are copied. 0, CUFRAMES_E_FULL if too much is unread, or -ENOMEM. */
int
cuframes_peer_queue_event (CuframesPeer *peer, const CuframesEventMessage *event)
{
  CuframesOutgoing *entry;

  if (peer->observer || peer->lingering || peer->dead)
    return 0;
  if (peer->queue_count >= CUFRAMES_PEER_QUEUE_COUNT_MAX || event->byte_count > CUFRAMES_PEER_QUEUE_BYTES_MAX - peer->queue_bytes)
    return CUFRAMES_E_FULL;
  entry = calloc (1, sizeof *entry + event->byte_count);
  if (entry == NULL)
    return -ENOMEM;
  entry->event = *event;
  if (event->byte_count > 0)
    memcpy (entry->bytes, event->bytes, event->byte_count);
  entry->event.bytes = entry->bytes;
  return enqueue (peer, entry);
}

/* Until the subscriber has mapped the page, its place in the ring and its wish to miss nothing are as they were on the page before:
 * else the policy "wait" would let the first frames of a new generation pass it by. */
static void
begin_page (const CuframesPeer *peer, const CuframesRing *current, CuframesLeasePage *page)
{
  const bool follows = peer->page != NULL;

  /* relaxed: the page is not shared yet */
  atomic_store_explicit (&page->cursor, follows ? current->message.first_sequence : cuframes_ring_get_head (current), memory_order_relaxed);
  /* relaxed: a wish, which decides only how long the publisher waits; one that has not said it yet may have it */
  atomic_store_explicit (&page->lossless, follows ? atomic_load_explicit (&peer->page->lossless, memory_order_relaxed) : 1, memory_order_relaxed);
}

/* A fresh page that the peer's leases on that ring go to. The old one's leases end: nothing is written to its ring any more. */
static int
change_page (CuframesPeer *peer, CuframesRing *current, int *ret_page_fd)
{
  CuframesLeasePage *page = NULL;
  int r = cuframes_memfd_new ("cuframes-leases", CUFRAMES_PAGE_BYTES, CUFRAMES_MEMFD_PEER_WRITES, CUFRAMES_MEMFD_POPULATED, ret_page_fd, (void **) &page);

  if (r < 0)
    return r;
  begin_page (peer, current, page);
  r = cuframes_ring_attach (current, page);
  if (r < 0) {
    cuframes_memfd_unmap (page, CUFRAMES_PAGE_BYTES);
    *ret_page_fd = cuframes_close (*ret_page_fd);
    return r;
  }
  drop_page (peer);
  peer->page = page;
  peer->ring = cuframes_ring_ref (current);
  return 0;
}

/* Whether a subscriber that says this of itself can map such a ring. Packets are copied out, whatever memory it wants frames in. */
bool
cuframes_peer_can_map (const CuframesHello *hello, const CuframesRingMessage *ring)
{
  const CuframesArenaInfo *arena = &ring->arena;

  if (ring->kind == CUFRAMES_RING_PACKETS)
    return true;
  if ((hello->memory_kinds >> arena->kind & 1) == 0)
    return false;
  for (uint32_t i = 0; i < hello->device_count; i++)
    if (memcmp (hello->devices[i], arena->device_uuid, CUFRAMES_UUID_BYTES) == 0)
      return true;
  return arena->kind == CUFRAMES_MEMORY_HOST;
}

static int
send_ring (CuframesPeer *peer, CuframesRing *current)
{
  CUFRAMES_AUTO_CLOSE int arena_fd = -1;
  CUFRAMES_AUTO_CLOSE int page_fd = -1;
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_RING,.ring = current->message };
  int r;

  if (!cuframes_peer_can_map (&peer->hello, &current->message))
    return CUFRAMES_E_REFUSED;
  r = cuframes_arena_export_fd (current->arena, &arena_fd);
  if (r == 0)
    r = change_page (peer, current, &page_fd);
  if (r == 0) {
    const int fds[3] = { current->control_fd, arena_fd, page_fd };
    r = cuframes_channel_send (peer->fd, &message, fds, 3);
  }
  if (r == 0)
    peer->sent_generation = current->message.generation;
  return r;
}

/* The socket's own limit counts messages and not the memory files that come with them. What was read is known only once all of it was. */
static bool
has_room_for (CuframesPeer *peer, uint32_t byte_count)
{
  int unread = 0;

  if (ioctl (peer->fd, SIOCOUTQ, &unread) == 0 && unread == 0)
    peer->unread_bytes = peer->unread_count = 0;
  return byte_count <= CUFRAMES_PEER_UNREAD_BYTES_MAX - peer->unread_bytes && peer->unread_count < CUFRAMES_PEER_UNREAD_COUNT_MAX;
}

static int
send_event (CuframesPeer *peer, const CuframesEventMessage *event)
{
  CUFRAMES_AUTO_CLOSE int fd = -1;
  CuframesMessage message = {.type = CUFRAMES_MESSAGE_EVENT,.event = *event };
  void *data = NULL;
  int r;

  if (event->byte_count <= CUFRAMES_WIRE_EVENT_INLINE_MAX)
    return cuframes_channel_send (peer->fd, &message, NULL, 0);
  peer->throttled = !has_room_for (peer, event->byte_count);
  if (peer->throttled)
    return CUFRAMES_E_FULL;
  r = cuframes_memfd_new ("cuframes-event", event->byte_count, CUFRAMES_MEMFD_OWNER_WRITES, CUFRAMES_MEMFD_POPULATED, &fd, &data);
  if (r < 0)
    return r;
  memcpy (data, event->bytes, event->byte_count);
  cuframes_memfd_unmap (data, event->byte_count);
  message.event.bytes = NULL;
  r = cuframes_channel_send (peer->fd, &message, &fd, 1);
  if (r == 0) {
    peer->unread_bytes += event->byte_count;
    peer->unread_count++;
  }
  return r;
}

static bool
ring_comes_later (const CuframesOutgoing *entry)
{
  for (entry = entry->next; entry != NULL; entry = entry->next)
    if (entry->is_ring)
      return true;
  return false;
}

/* A generation is sent when the one before it was mapped: so a subscriber that reads nothing keeps one alive besides the current one, however many
 * follow. */
static int
send_first (CuframesPeer *peer, CuframesRing *current)
{
  if (!peer->queue->is_ring)
    return send_event (peer, &peer->queue->event);
  if (ring_comes_later (peer->queue) || current == NULL)
    return 0;
  if (peer->sent_generation != peer->ready_generation && !peer->ending)
    return CUFRAMES_E_FULL;
  return send_ring (peer, current);
}

/* That too many of the user's descriptors are on their way somewhere is no fault of this peer's: it waits until there are fewer. */
static int
flush_one (CuframesPeer *peer, CuframesRing *current)
{
  int r;

  peer->throttled = false;
  r = send_first (peer, current);
  if (r != -ETOOMANYREFS)
    return r;
  peer->throttled = true;
  return CUFRAMES_E_FULL;
}

/* One in so many, and which cannot be told before: the processor's time costs system calls. */
static bool
is_sampled (CuframesPeer *peer)
{
  if (peer->suspect_wakes == 0)
    return false;
  peer->suspect_wakes--;
  /* Numerical Recipes' generator: it only has to be unknown to the peer. */
  peer->random = peer->random * 1664525u + 1013904223u;
  return (peer->random >> 16) % SAMPLE_OF_WAKES == 0;
}

/* One byte on the pipe, whether it sleeps or not. A full pipe wakes as well.
 * The kernel tells here everybody who watches the pipe: who watches it from ten thousand places lets each of its wake-ups take a millisecond of
 * the publisher. Time passes for other reasons, too, so after one that took long some of the next are measured by the processor's time, and what they
 * take beyond their due is owed until others take less. */
void
cuframes_peer_poke (CuframesPeer *peer, char why)
{
  const bool sampled = is_sampled (peer);
  const clockid_t clock = sampled ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
  const uint64_t start = cuframes_clock_ns (clock);
  uint64_t cost_ns, debt_ns;

  if (peer->wake_write_fd < 0 || write (peer->wake_write_fd, &why, 1) >= 0)
    peer->wakeups++;
  cost_ns = cuframes_clock_ns (clock) - start;
  if (sampled) {
    debt_ns = peer->wake_debt_ns + cost_ns * SAMPLE_OF_WAKES;
    peer->wake_debt_ns = debt_ns > COSTLY_WAKE_NS * SAMPLE_OF_WAKES ? debt_ns - COSTLY_WAKE_NS * SAMPLE_OF_WAKES : 0;
  }
  if (cost_ns >= COSTLY_WAKE_NS)
    peer->suspect_wakes = SUSPECT_WAKES;
}

/* Whether it makes waking it cost what no sleeping reader costs. */
bool
cuframes_peer_is_costly (const CuframesPeer *peer)
{
  return peer->wake_debt_ns > COSTLY_WAKES_MAX * COSTLY_WAKE_NS;
}

/* Sends what can be sent, and wakes the peer over it. 0 or CUFRAMES_E_FULL; CUFRAMES_E_CLOSED if the peer is gone;
 * CUFRAMES_E_REFUSED if it cannot map the ring; or a negative errno. On all but the first two it should be dropped. */
int
cuframes_peer_flush (CuframesPeer *peer, CuframesRing *current)
{
  const uint32_t before = peer->queue_count;
  int r = 0;

  while (peer->queue != NULL && r == 0) {
    CuframesOutgoing *first = peer->queue;
    r = flush_one (peer, current);
    if (r != 0)
      break;
    peer->queue = first->next;
    if (peer->queue == NULL)
      peer->queue_end = &peer->queue;
    peer->queue_count--;
    peer->queue_bytes -= first->event.byte_count;
    free (first);
  }
  if (peer->queue_count != before)
    cuframes_peer_poke (peer, CUFRAMES_WAKE_MESSAGE);
  return r;
}

/* Whether it is worth asking the socket for room. */
bool
cuframes_peer_wants_to_send (const CuframesPeer *peer)
{
  return peer->queue != NULL && !peer->throttled && !(peer->queue->is_ring && peer->sent_generation != peer->ready_generation);
}

/* Wakes it if it sleeps. Whether it did. */
bool
cuframes_peer_wake (CuframesPeer *peer)
{
  if (peer->page == NULL || peer->lingering)
    return false;
  /* SYNC wake: seq_cst; pairs with the store in cuframes_subscriber_arm(). */
  if (atomic_load_explicit (&peer->page->waiting, memory_order_seq_cst) == 0)
    return false;
  /* relaxed: the load above is what is ordered; this takes the wish back so that one sleep costs one byte */
  if (atomic_exchange_explicit (&peer->page->waiting, 0, memory_order_relaxed) == 0)
    return false;
  /* If we die here the hang-up of the pipe wakes it. */
  CUFRAMES_TESTPOINT ("publisher/waking");
  cuframes_peer_poke (peer, CUFRAMES_WAKE_FRAME);
  return true;
}

/* From now on it is sent nothing and woken no more; its leases count until it hangs up. */
void
cuframes_peer_linger (CuframesPeer *peer)
{
  peer->lingering = true;
  if (peer->page != NULL)
    cuframes_ring_disregard (peer->ring, peer->page);
  drop_queue (peer);
}

/* Takes it off the channel, gently: what it holds stays as it is until it hangs up. */
void
cuframes_peer_dismiss (CuframesPeer *peer, CuframesByeReason reason)
{
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_BYE,.bye_reason = reason };

  if (peer->lingering || peer->dead)
    return;
  cuframes_peer_linger (peer);
  /* Nothing follows: one whose socket is full finds the end behind what it has left unread. */
  cuframes_channel_send (peer->fd, &message, NULL, 0);
  shutdown (peer->fd, SHUT_WR);
  if (peer->page != NULL)
    /* relaxed: read again and again; the message on the socket says the same */
    atomic_store_explicit (&peer->page->bye, reason, memory_order_relaxed);
  cuframes_peer_poke (peer, CUFRAMES_WAKE_MESSAGE);
}

/* Takes it off the channel at once and forgets its leases: it has gone, or broke the rules. The server frees it. */
void
cuframes_peer_drop (CuframesPeer *peer)
{
  peer->dead = true;
  drop_page (peer);
  drop_queue (peer);
  shutdown (peer->fd, SHUT_RDWR);
}

void
cuframes_peer_get_stats (CuframesPeer *peer, const CuframesRing *current, CuframesSubscriberStats *ret_stats)
{
  *ret_stats = (CuframesSubscriberStats) {
    .id = peer->id,.pid = (uint32_t) peer->identity.pid,.uid = peer->identity.uid,.observer = peer->observer,
    .lingering = peer->lingering,.wakeups = peer->wakeups,.attached_ns = peer->attached_ns,
    .delivered = peer->delivered_before,.missed = peer->missed_before,.copied = peer->copied_before,
  };
  memcpy (ret_stats->name, peer->hello.name, sizeof ret_stats->name);
  ret_stats->name[sizeof ret_stats->name - 1] = 0;
  if (peer->page == NULL)
    return;
  ret_stats->leases_held = (uint32_t) __builtin_popcountll (atomic_load_explicit (&peer->page->leases, memory_order_relaxed));  /* relaxed: a counter */
  ret_stats->delivered += atomic_load_explicit (&peer->page->delivered, memory_order_relaxed);  /* relaxed: a counter */
  ret_stats->missed += atomic_load_explicit (&peer->page->missed, memory_order_relaxed);        /* relaxed: a counter */
  ret_stats->copied += atomic_load_explicit (&peer->page->copied, memory_order_relaxed);        /* relaxed: a counter */
  if (peer->ring == current)
    ret_stats->lag_frames = cuframes_ring_get_head (current) - atomic_load_explicit (&peer->page->cursor, memory_order_relaxed);    /* relaxed: a counter */
}
