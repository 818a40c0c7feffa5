/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher as the application calls it: its life, generations, who is there. Publishing is in cuframes-publisher-publish.c, events are in
 * cuframes-publisher-events.c, and what comes in over sockets is the server's, in cuframes-publisher-server.c. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>

#include "cuframes-publisher-private.h"
#include "cuframes-util.h"

#define DEFAULT_MAX_SUBSCRIBERS 64u
#define DEFAULT_MAX_LEASES 4u

void
cuframes_publisher_log (CuframesPublisher *publisher, const char *format, ...)
{
  char text[CUFRAMES_TEXT_BYTES];
  va_list arguments;

  if (publisher->callbacks.log == NULL)
    return;
  va_start (arguments, format);
  vsnprintf (text, sizeof text, format, arguments);
  va_end (arguments);
  publisher->callbacks.log (publisher->config.user_data, text);
}

static uint32_t *
copy_ids (const uint32_t *ids, uint32_t count)
{
  uint32_t *copy = malloc ((count + 1) * sizeof *copy);

  if (copy != NULL && count > 0)
    memcpy (copy, ids, count * sizeof *copy);
  return copy;
}

static int
copy_config (CuframesPublisher *publisher, const CuframesPublisherConfig *config)
{
  CuframesPublisherConfig *own = &publisher->config;

  *own = *config;
  own->allow_uids = own->allow_gids = NULL;
  own->socket_path = NULL;
  own->callbacks = NULL;
  if (config->callbacks != NULL)
    publisher->callbacks = *config->callbacks;
  if (own->socket_mode == 0)
    own->socket_mode = 0600;
  if (own->max_subscribers == 0)
    own->max_subscribers = DEFAULT_MAX_SUBSCRIBERS;
  if (own->max_leases == 0)
    own->max_leases = DEFAULT_MAX_LEASES;
  if (own->max_subscribers > CUFRAMES_SUBSCRIBERS_MAX || own->max_leases > CUFRAMES_SLOTS_MAX)
    return -EINVAL;
  own->allow_uids = config->allow_uids == NULL ? NULL : copy_ids (config->allow_uids, config->allow_uid_count);
  own->allow_gids = config->allow_gids == NULL ? NULL : copy_ids (config->allow_gids, config->allow_gid_count);
  if (config->allow_uids == NULL)
    own->allow_uid_count = 0;
  if (config->allow_gids == NULL)
    own->allow_gid_count = 0;
  if ((config->allow_uids != NULL && own->allow_uids == NULL) || (config->allow_gids != NULL && own->allow_gids == NULL))
    return -ENOMEM;
  return 0;
}

static void
destroy (CuframesPublisher *publisher)
{
  for (uint32_t i = 0; i < publisher->peer_count; i++)
    cuframes_peer_free (publisher->peers[i]);
  free (publisher->peers);
  for (uint32_t i = 0; i < publisher->adopted_count; i++)
    cuframes_close (publisher->adopted[i]);
  if (publisher->ring != NULL)
    cuframes_ring_set_flushing (publisher->ring, true);
  cuframes_ring_unref (publisher->ring);
  while (publisher->old_rings != NULL) {
    CuframesRing *old = publisher->old_rings;
    publisher->old_rings = old->next;
    cuframes_ring_unref (old);
  }
  cuframes_life_unref (publisher->life);
  cuframes_publisher_drop_events (publisher);
  cuframes_listener_close (&publisher->listener);
  cuframes_close (publisher->server_wake_fd);
  pthread_cond_destroy (&publisher->changed);
  pthread_mutex_destroy (&publisher->lock);
  free ((void *) publisher->config.allow_uids);
  free ((void *) publisher->config.allow_gids);
  free (publisher);
}

/**
 * cuframes_publisher_new:
 * @config: how it behaves
 * @ret_publisher: (out) (transfer full): the publisher
 *
 * Opens a channel. Subscribers are let in from now on; they get frames once cuframes_publisher_start_ring() was called.
 *
 * Returns: 0, -EADDRINUSE if a live publisher has that channel, -EEXIST if something that is no socket is in its place, -EPERM if the
 * socket of another user is, -ENAMETOOLONG for a path of more than 106 bytes, -EINVAL for a limit out of range or an empty path, -EACCES
 * or -ENOENT for the directory, -EMFILE or another negative errno; then nothing is left behind and @ret_publisher is unchanged
 *
 * Since: 0.1
 */
int
cuframes_publisher_new (const CuframesPublisherConfig *config, CuframesPublisher **ret_publisher)
{
  CuframesPublisher *publisher = calloc (1, sizeof *publisher);
  int r;

  if (publisher == NULL)
    return -ENOMEM;
  publisher->listener = (CuframesListener) { .fd = -1,.lock_fd = -1,.spare_fd = -1 };
  publisher->owner = getpid ();
  publisher->next_id = 1;
  publisher->head = config->first_sequence;
  pthread_mutex_init (&publisher->lock, NULL);
  cuframes_condition_init (&publisher->changed);
  publisher->server_wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  r = publisher->server_wake_fd < 0 ? -errno : copy_config (publisher, config);
  if (r == 0)
    r = cuframes_life_new (&publisher->life);
  if (r == 0 && getrandom (&publisher->ring_id, sizeof publisher->ring_id, 0) != sizeof publisher->ring_id)
    r = -EIO;
  if (r == 0 && config->socket_path != NULL)
    r = cuframes_listener_open (&publisher->listener, config->socket_path, publisher->config.socket_mode);
  if (r == 0)
    r = cuframes_publisher_start_server (publisher);
  if (r < 0) {
    destroy (publisher);
    return r;
  }
  *ret_publisher = publisher;
  return 0;
}

/* In a child that was forked: whether no thread of the parent was at work just then in what is about to be freed. A lock that one held would be held
 * for ever, and what it guards be halfway between two states. */
static bool
inherit (CuframesPublisher *publisher)
{
  bool whole = pthread_mutex_trylock (&publisher->lock) == 0;

  if (!whole)
    return false;
  pthread_mutex_unlock (&publisher->lock);
  whole = cuframes_condition_init (&publisher->changed) == 0 && (publisher->ring == NULL || cuframes_ring_inherit (publisher->ring));
  for (CuframesRing * old = publisher->old_rings; whole && old != NULL; old = old->next)
    whole = cuframes_ring_inherit (old);
  for (uint32_t i = 0; whole && i < publisher->peer_count; i++)
    whole = publisher->peers[i]->ring == NULL || cuframes_ring_inherit (publisher->peers[i]->ring);
  return whole;
}

/**
 * cuframes_publisher_free:
 * @publisher: (transfer full) (nullable): a publisher
 *
 * Closes the channel: subscribers are told so, and keep what they hold. Rings that the application still refers to live on. Not
 * from a callback. In a child that was forked it frees the child's copy alone, and not even that if a thread of the parent was at work
 * in it at the fork: then the copy stays until the child ends or calls exec.
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesPublisher *
cuframes_publisher_free (CuframesPublisher *publisher)
{
  if (publisher == NULL)
    return NULL;
  if (publisher->owner == getpid ())
    cuframes_publisher_stop_server (publisher);
  else if (!inherit (publisher))
    return NULL;
  destroy (publisher);
  return NULL;
}

/**
 * cuframes_publisher_adopt:
 * @publisher: a publisher
 * @take_fd: (transfer full): a connected SOCK_SEQPACKET socket; consumed, also on failure
 *
 * Takes a connection that the application made, as if it had come in over the channel's socket. It may take its time to say HELLO, but
 * 16 connections at most may be about to. Any thread.
 *
 * Returns: 0 or %CUFRAMES_E_FULL if too many wait already
 *
 * Since: 0.1
 */
int
cuframes_publisher_adopt (CuframesPublisher *publisher, int take_fd)
{
  int r = CUFRAMES_E_FULL;

  pthread_mutex_lock (&publisher->lock);
  if (publisher->adopted_count < CUFRAMES_ADOPTED_MAX) {
    publisher->adopted[publisher->adopted_count++] = take_fd;
    r = 0;
  }
  pthread_mutex_unlock (&publisher->lock);
  if (r == 0)
    cuframes_publisher_kick_server (publisher);
  else
    cuframes_close (take_fd);
  return r;
}

void
cuframes_publisher_flush_peer (CuframesPublisher *publisher, CuframesPeer *peer)
{
  const CuframesRing *before = peer->ring;
  const bool was_throttled = peer->throttled;
  int r = cuframes_peer_flush (peer, publisher->ring);

  if (peer->ring != before)
    cuframes_publisher_kick_server (publisher);
  if (r == CUFRAMES_E_FULL) {
    /* One that is throttled the server looks at by itself from the first time on. */
    if (!was_throttled)
      cuframes_publisher_kick_server (publisher);
    return;
  }
  if (r == CUFRAMES_E_REFUSED)
    cuframes_peer_dismiss (peer, CUFRAMES_BYE_MEMORY);
  else if (r != 0) {
    cuframes_publisher_log (publisher, "subscriber %u (%s) dropped: cannot send to it: %s", peer->id, peer->hello.name,
        r < 0 ? strerror (-r) : "it has gone");
    cuframes_peer_drop (peer);
    cuframes_publisher_kick_server (publisher);
  }
}

/* It left too much unread. */
void
cuframes_publisher_take_off (CuframesPublisher *publisher, CuframesPeer *peer)
{
  cuframes_publisher_log (publisher, "subscriber %u (%s) leaves its messages unread and is taken off", peer->id, peer->hello.name);
  cuframes_peer_dismiss (peer, CUFRAMES_BYE_STALLED);
}

/* Observers are never sent a ring; the statistics say what the new one is like. One that reads nothing finds older ones first. */
static void
tell_observer (CuframesPublisher *publisher, CuframesPeer *peer)
{
  const int r = peer->dead || peer->lingering ? 0 : cuframes_publisher_send_stats (publisher, peer);

  if (r != 0 && r != CUFRAMES_E_FULL) {
    cuframes_peer_drop (peer);
    cuframes_publisher_kick_server (publisher);
  }
}

/**
 * cuframes_publisher_announce_ring:
 * @publisher: a publisher
 * @ring: a ring that was announced nowhere yet; the publisher takes a reference
 *
 * Starts a new generation: from now on frames are published to this ring, and subscribers are told its format. What they hold of the
 * ring before stays as it is. The ring before gives out no slots any more but those that come back. Any thread.
 *
 * Returns: 0, or %CUFRAMES_E_HELD if the ring was announced before, or its GPU memory by another publisher
 *
 * Since: 0.1
 */
int
cuframes_publisher_announce_ring (CuframesPublisher *publisher, CuframesRing *ring)
{
  CuframesRing *old = NULL;
  int r;

  pthread_mutex_lock (&publisher->lock);
  r = cuframes_ring_begin (ring, publisher->ring_id, publisher->generation + 1, publisher->head, publisher->event_serial,
      publisher->config.overflow == CUFRAMES_OVERFLOW_WAIT ? publisher->config.overflow_timeout_ns : 0, publisher->life);
  if (r == 0) {
    old = publisher->ring;
    publisher->ring = cuframes_ring_ref (ring);
    publisher->generation++;
    if (old != NULL)
      cuframes_ring_supersede (old, publisher->generation);
    for (uint32_t i = 0; i < publisher->peer_count; i++) {
      if (cuframes_peer_queue_ring (publisher->peers[i]) != 0)
        cuframes_publisher_take_off (publisher, publisher->peers[i]);
      cuframes_publisher_flush_peer (publisher, publisher->peers[i]);
      if (publisher->peers[i]->observer)
        tell_observer (publisher, publisher->peers[i]);
    }
    if (old != NULL) {
      old->next = publisher->old_rings;
      publisher->old_rings = old;
      cuframes_publisher_kick_server (publisher);
    }
  }
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/**
 * cuframes_publisher_start_ring:
 * @publisher: a publisher
 * @config: the new generation
 * @ret_ring: (out) (transfer full): the ring
 *
 * Makes a ring and announces it, as cuframes_ring_new() and cuframes_publisher_announce_ring() do. Any thread.
 *
 * Returns: 0, or as cuframes_ring_new(); then everything is as it was
 *
 * Since: 0.1
 */
int
cuframes_publisher_start_ring (CuframesPublisher *publisher, const CuframesRingConfig *config, CuframesRing **ret_ring)
{
  CuframesRing *ring = NULL;
  int r = cuframes_ring_new (config, &ring);

  if (r != 0)
    return r;
  r = cuframes_publisher_announce_ring (publisher, ring);
  if (r != 0)
    ring = cuframes_ring_unref (ring);
  else
    *ret_ring = ring;
  return r;
}

/**
 * cuframes_publisher_evict:
 * @publisher: a publisher
 * @subscriber_id: whom
 *
 * Takes a subscriber off the channel. It is told so; what it holds stays as it is until it lets go or dies. Any thread.
 *
 * Returns: 0, or %CUFRAMES_E_ABSENT if there is no such subscriber
 *
 * Since: 0.1
 */
int
cuframes_publisher_evict (CuframesPublisher *publisher, uint32_t subscriber_id)
{
  int r = CUFRAMES_E_ABSENT;

  pthread_mutex_lock (&publisher->lock);
  for (uint32_t i = 0; i < publisher->peer_count; i++)
    if (publisher->peers[i]->id == subscriber_id && !publisher->peers[i]->dead && !publisher->peers[i]->lingering) {
      cuframes_peer_dismiss (publisher->peers[i], CUFRAMES_BYE_EVICTED);
      publisher->stats.evicted++;
      r = 0;
    }
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

uint32_t
cuframes_publisher_count_subscribers (const CuframesPublisher *publisher)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < publisher->peer_count; i++)
    count += !publisher->peers[i]->observer && !publisher->peers[i]->dead;
  return count;
}

/* Who is leaving is there no more, whatever it still holds. */
static uint32_t
count_present (const CuframesPublisher *publisher)
{
  uint32_t count = 0;

  for (uint32_t i = 0; i < publisher->peer_count; i++)
    count += !publisher->peers[i]->observer && !publisher->peers[i]->dead && !publisher->peers[i]->lingering;
  return count;
}

/**
 * cuframes_publisher_wait_subscribers:
 * @publisher: a publisher
 * @count: how many
 * @timeout_ns: how long to wait, %CUFRAMES_NONE for ever
 *
 * Waits until so many subscribers are there. Any thread; ended by cuframes_publisher_set_flushing().
 *
 * Returns: 0, %CUFRAMES_E_TIMEOUT or %CUFRAMES_E_CANCELLED
 *
 * Since: 0.1
 */
int
cuframes_publisher_wait_subscribers (CuframesPublisher *publisher, uint32_t count, uint64_t timeout_ns)
{
  const uint64_t now = cuframes_now_ns ();
  const uint64_t deadline = timeout_ns > CUFRAMES_NONE - now ? CUFRAMES_NONE : now + timeout_ns;
  int r = 0;

  pthread_mutex_lock (&publisher->lock);
  while (r == 0 && count_present (publisher) < count) {
    if (publisher->flushing)
      r = CUFRAMES_E_CANCELLED;
    else if (cuframes_now_ns () >= deadline)
      r = CUFRAMES_E_TIMEOUT;
    else
      cuframes_condition_wait (&publisher->changed, &publisher->lock, deadline);
  }
  pthread_mutex_unlock (&publisher->lock);
  return r;
}

/**
 * cuframes_publisher_set_flushing:
 * @publisher: a publisher
 * @flushing: whether to end waits at once
 *
 * Ends waits for subscribers and for room, for a producer that pauses or stops. Claims of slots have cuframes_ring_set_flushing(). Any thread.
 *
 * Since: 0.1
 */
void
cuframes_publisher_set_flushing (CuframesPublisher *publisher, bool flushing)
{
  pthread_mutex_lock (&publisher->lock);
  publisher->flushing = flushing;
  pthread_cond_broadcast (&publisher->changed);
  pthread_mutex_unlock (&publisher->lock);
}

void
cuframes_publisher_collect_stats (CuframesPublisher *publisher, CuframesPublisherStats *ret_stats)
{
  *ret_stats = publisher->stats;
  ret_stats->ring_id = publisher->ring_id;
  ret_stats->generation = publisher->generation;
  ret_stats->subscribers = cuframes_publisher_count_subscribers (publisher);
  if (publisher->ring == NULL)
    return;
  ret_stats->ring_kind = publisher->ring->message.kind;
  ret_stats->memory_kind = cuframes_arena_get_kind (publisher->ring->arena);
  ret_stats->slots = publisher->ring->message.slot_count;
  ret_stats->memory_bytes = cuframes_arena_get_size (publisher->ring->arena)
      + (publisher->ring->message.kind == CUFRAMES_RING_PACKETS ? publisher->ring->message.control_bytes : CUFRAMES_META_OFFSET_BYTES)
      + (uint64_t) ret_stats->subscribers * CUFRAMES_PAGE_BYTES;
  cuframes_ring_count (publisher->ring, &ret_stats->slots_leased, &ret_stats->slots_held);
}

/**
 * cuframes_publisher_get_stats:
 * @publisher: a publisher
 * @ret_stats: (out): its counters now. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_publisher_get_stats (CuframesPublisher *publisher, CuframesPublisherStats *ret_stats)
{
  pthread_mutex_lock (&publisher->lock);
  cuframes_publisher_collect_stats (publisher, ret_stats);
  pthread_mutex_unlock (&publisher->lock);
}

/**
 * cuframes_publisher_get_subscribers:
 * @publisher: a publisher
 * @ret_subscribers: (out) (array length=capacity): what is known of each
 * @capacity: room in @ret_subscribers
 *
 * Returns: how many were written. Any thread.
 *
 * Since: 0.1
 */
uint32_t
cuframes_publisher_get_subscribers (CuframesPublisher *publisher, CuframesSubscriberStats *ret_subscribers, uint32_t capacity)
{
  uint32_t count = 0;

  pthread_mutex_lock (&publisher->lock);
  for (uint32_t i = 0; i < publisher->peer_count && count < capacity; i++)
    if (!publisher->peers[i]->dead)
      cuframes_peer_get_stats (publisher->peers[i], publisher->ring, &ret_subscribers[count++]);
  pthread_mutex_unlock (&publisher->lock);
  return count;
}
