/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher's server: one thread that hears subscribers, sends them what did not fit at once, and clears up after them; whom it lets in
 * is decided in cuframes-publisher-door.c. It never waits on one peer, and holds the publisher's lock only while it changes who is there. */
#define _GNU_SOURCE
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>

#include "cuframes-publisher-server.h"
#include "cuframes-util.h"

#define MESSAGES_AT_ONCE 16u
#define TURNS_GIVEN 100u
/* How long the server rests when it cannot look at its sockets: without memory, or with a limit of descriptors below what it has open. */
#define REST_NS 100000000u
/* How often those are looked at who have large events unread. */
#define THROTTLED_MS 5

/* Under the lock. */
void
cuframes_server_notice (CuframesServer *server, bool added, CuframesPeer *peer)
{
  if (server->notice_count == server->notice_capacity) {
    uint32_t capacity = server->notice_capacity == 0 ? 16 : 2 * server->notice_capacity;
    CuframesNotice *notices = realloc (server->notices, capacity * sizeof *notices);
    if (notices == NULL)
      return;
    server->notices = notices;
    server->notice_capacity = capacity;
  }
  server->notices[server->notice_count].added = added;
  cuframes_peer_get_stats (peer, server->publisher->ring, &server->notices[server->notice_count++].subscriber);
}

/* 0, CUFRAMES_E_FULL, or what else cuframes_channel_send() says. */
int
cuframes_publisher_send_stats (CuframesPublisher *publisher, CuframesPeer *peer)
{
  CUFRAMES_AUTO_FREE CuframesSubscriberStats *subscribers = calloc (publisher->peer_count, sizeof *subscribers);
  CuframesMessage message = {.type = CUFRAMES_MESSAGE_STATS };

  if (subscribers == NULL)
    return -ENOMEM;
  cuframes_publisher_collect_stats (publisher, &message.stats.publisher);
  for (uint32_t i = 0; i < publisher->peer_count && message.stats.count < CUFRAMES_SUBSCRIBERS_MAX; i++)
    if (!publisher->peers[i]->dead)
      cuframes_peer_get_stats (publisher->peers[i], publisher->ring, &subscribers[message.stats.count++]);
  message.stats.subscribers = subscribers;
  if (publisher->ring != NULL && publisher->ring->message.format_bytes <= CUFRAMES_WIRE_STATS_FORMAT_MAX) {
    message.stats.format = publisher->ring->message.format;
    message.stats.format_bytes = publisher->ring->message.format_bytes;
  }
  return cuframes_channel_send (peer->fd, &message, NULL, 0);
}

/* One message of a peer, under the lock. Anything but 0 and CUFRAMES_E_FULL ends it. */
static int
obey (CuframesServer *server, CuframesPeer *peer)
{
  CuframesPublisher *publisher = server->publisher;
  const CuframesMessage *message = &server->inbox.message;

  switch (message->type) {
    case CUFRAMES_MESSAGE_READY:
      if (message->ready_generation != peer->sent_generation)
        return CUFRAMES_E_PEER;
      peer->ready_generation = message->ready_generation;
      return 0;
    case CUFRAMES_MESSAGE_KEYFRAME:
      if (peer->lingering)
        return 0;
      server->keyframe_wanted = true;
      server->all_headers |= message->keyframe_all_headers != 0;
      return 0;
    case CUFRAMES_MESSAGE_ASK_STATS:
      /* It may have asked before it knew; our half of its socket is shut, which must not pass for its having gone. */
      if (peer->lingering)
        return 0;
      return cuframes_publisher_send_stats (publisher, peer);
    case CUFRAMES_MESSAGE_BYE:
      cuframes_peer_linger (peer);
      return 0;
    default:
      return CUFRAMES_E_PEER;
  }
}

/* Lets who publishes go first, but not for ever: its thread may be stopped. */
static void
give_way (CuframesPublisher *publisher)
{
  /* relaxed: see lock_before_the_server() */
  for (uint32_t i = 0; i < TURNS_GIVEN && __atomic_load_n (&publisher->in_a_hurry, __ATOMIC_RELAXED) > 0; i++)
    sched_yield ();
}

/* Only this thread receives and only it frees, so that the lock is not held over the system call: a subscriber that talks without end
 * must not keep the lock from the thread that publishes. */
static void
hear_peer (CuframesServer *server, CuframesPeer *peer)
{
  CuframesPublisher *publisher = server->publisher;

  for (uint32_t i = 0; i < MESSAGES_AT_ONCE; i++) {
    bool goes_on;
    int r = cuframes_channel_receive (peer->fd, &server->inbox);
    if (r == CUFRAMES_E_EMPTY)
      return;
    give_way (publisher);
    pthread_mutex_lock (&publisher->lock);
    if (r == 0 && !peer->dead)
      r = obey (server, peer);
    goes_on = !peer->dead && (r == 0 || r == CUFRAMES_E_FULL);
    if (!goes_on && !peer->dead) {
      if (r != CUFRAMES_E_CLOSED)
        cuframes_publisher_log (publisher, "subscriber %u (%s) broke the protocol and is dropped", peer->id, peer->hello.name);
      cuframes_peer_drop (peer);
    }
    pthread_mutex_unlock (&publisher->lock);
    if (!goes_on)
      return;
  }
}

/* One that is dead and from now on nobody's but the caller's, or NULL. */
static CuframesPeer *
take_dead (CuframesServer *server)
{
  CuframesPublisher *publisher = server->publisher;
  CuframesPeer *dead = NULL;

  pthread_mutex_lock (&publisher->lock);
  for (uint32_t i = 0; dead == NULL && i < publisher->peer_count; i++)
    if (publisher->peers[i]->dead) {
      dead = publisher->peers[i];
      publisher->peers[i] = publisher->peers[--publisher->peer_count];
    }
  if (dead != NULL) {
    if (dead->announced)
      cuframes_server_notice (server, false, dead);
    pthread_cond_broadcast (&publisher->changed);
  }
  pthread_mutex_unlock (&publisher->lock);
  return dead;
}

/* Not under the lock: with its socket go the descriptors that it sent and nobody received, and the last close of one may wait. A dead one
 * has no page any more, so that nothing of this touches a ring. */
static void
bury (CuframesServer *server)
{
  CuframesPeer *dead;

  while ((dead = take_dead (server)) != NULL)
    cuframes_peer_free (dead);
}

static void
tell (CuframesServer *server)
{
  const CuframesPublisherCallbacks *callbacks = &server->publisher->callbacks;
  void *user_data = server->publisher->config.user_data;

  for (uint32_t i = 0; i < server->notice_count; i++) {
    void (*callback) (void *, const CuframesSubscriberStats *) =
        server->notices[i].added ? callbacks->subscriber_added : callbacks->subscriber_removed;
    if (callback != NULL)
      callback (user_data, &server->notices[i].subscriber);
  }
  server->notice_count = 0;
  if (server->keyframe_wanted && callbacks->keyframe_wanted != NULL)
    callbacks->keyframe_wanted (user_data, server->all_headers);
  server->keyframe_wanted = server->all_headers = false;
}

/* The descriptors to poll: ours, the half-open ones, the peers, in this order. Under the lock. 0 or -ENOMEM. */
static int
list_polls (CuframesServer *server, uint32_t *ret_count)
{
  CuframesPublisher *publisher = server->publisher;
  const uint32_t count = 2 + server->half_open_count + publisher->peer_count;
  struct pollfd *polls = server->polls;
  uint32_t at = 2;

  if (count > server->poll_capacity) {
    polls = realloc (server->polls, 2 * count * sizeof *polls);
    if (polls == NULL)
      return -ENOMEM;
    server->polls = polls;
    server->poll_capacity = 2 * count;
  }
  polls[0] = (struct pollfd) {.fd = publisher->server_wake_fd,.events = POLLIN };
  polls[1] = (struct pollfd) {.fd = server->listen_again_ns != 0 ? -1 : publisher->listener.fd,.events = POLLIN };
  for (uint32_t i = 0; i < server->half_open_count; i++)
    polls[at++] = (struct pollfd) {.fd = server->half_open[i].fd,.events = POLLIN };
  server->some_are_throttled = false;
  for (uint32_t i = 0; i < publisher->peer_count; i++)
    server->some_are_throttled |= publisher->peers[i]->throttled;
  for (uint32_t i = 0; i < publisher->peer_count; i++)
    polls[at++] = (struct pollfd) {
      .fd = publisher->peers[i]->fd,.events = (short) (POLLIN | (cuframes_peer_wants_to_send (publisher->peers[i]) ? POLLOUT : 0)),
    };
  *ret_count = count;
  return 0;
}

static int
get_timeout_ms (CuframesServer *server)
{
  uint64_t now = cuframes_now_ns (), next = server->listen_again_ns;
  int timeout_ms;

  for (uint32_t i = 0; i < server->half_open_count; i++)
    if (server->half_open[i].deadline_ns != CUFRAMES_NONE && (next == 0 || server->half_open[i].deadline_ns < next))
      next = server->half_open[i].deadline_ns;
  timeout_ms = next == 0 ? -1 : next <= now ? 0 : (int) ((next - now) / 1000000u) + 1;
  return server->some_are_throttled && (timeout_ms < 0 || timeout_ms > THROTTLED_MS) ? THROTTLED_MS : timeout_ms;
}

/* The peers do not change between list_polls() and this: only this thread adds or frees them. */
static void
serve_peers (CuframesServer *server, uint32_t first, uint32_t count)
{
  CuframesPublisher *publisher = server->publisher;

  for (uint32_t i = first; i < count; i++) {
    CuframesPeer *peer = publisher->peers[i - first];
    if (server->polls[i].revents == 0 && !server->some_are_throttled)
      continue;
    if (server->polls[i].revents & (POLLIN | POLLHUP | POLLERR))
      hear_peer (server, peer);
    pthread_mutex_lock (&publisher->lock);
    if (!peer->dead && (cuframes_peer_wants_to_send (peer) || peer->throttled))
      cuframes_publisher_flush_peer (publisher, peer);
    pthread_mutex_unlock (&publisher->lock);
  }
  bury (server);
}

static bool
is_referred_to (const CuframesPublisher *publisher, const CuframesRing *ring)
{
  for (uint32_t i = 0; i < publisher->peer_count; i++)
    if (publisher->peers[i]->ring == ring)
      return true;
  return false;
}

/* With the last reference a ring is unmapped, which for a large one takes milliseconds: not under the lock, and not on the thread that publishes. */
static void
forget_rings (CuframesPublisher *publisher)
{
  CuframesRing *forgotten = NULL;

  pthread_mutex_lock (&publisher->lock);
  for (CuframesRing ** place = &publisher->old_rings; *place != NULL;) {
    CuframesRing *old = *place;
    if (is_referred_to (publisher, old)) {
      place = &old->next;
      continue;
    }
    *place = old->next;
    old->next = forgotten;
    forgotten = old;
  }
  pthread_mutex_unlock (&publisher->lock);
  while (forgotten != NULL) {
    CuframesRing *old = forgotten;
    forgotten = old->next;
    cuframes_ring_unref (old);
  }
}

/* Why it cannot go on is over some time; until then nobody is heard, and frames go on. */
static void
rest (CuframesServer *server, int r)
{
  const struct timespec time = {.tv_nsec = REST_NS };

  if (!server->resting)
    cuframes_publisher_log (server->publisher, "cannot hear the subscribers for now: %s", strerror (-r));
  server->resting = true;
  nanosleep (&time, NULL);
}

static bool
serve (CuframesServer *server)
{
  CuframesPublisher *publisher = server->publisher;
  uint32_t count = 0, first_peer = 2 + server->half_open_count;
  bool stopping;
  int r;

  pthread_mutex_lock (&publisher->lock);
  r = list_polls (server, &count);
  stopping = publisher->stopping;
  pthread_mutex_unlock (&publisher->lock);
  if (stopping)
    return false;
  if (r == 0 && poll (server->polls, count, get_timeout_ms (server)) < 0)
    r = -errno;
  if (r < 0) {
    if (r != -EINTR)
      rest (server, r);
    return true;
  }
  server->resting = false;
  serve_peers (server, first_peer, count);
  for (uint32_t i = first_peer; i-- > 2;)
    if (server->polls[i].revents != 0)
      cuframes_server_hear_half_open (server, i - 2);
  if (server->polls[0].revents != 0)
    cuframes_server_take_adopted (server);
  if (server->polls[1].revents != 0)
    cuframes_server_accept (server);
  cuframes_server_expire (server);
  forget_rings (publisher);
  tell (server);
  return true;
}

/* What is still queued goes out as far as there is room, a last generation too: memory outlives its publisher. */
static void
say_goodbye (CuframesServer *server)
{
  CuframesPublisher *publisher = server->publisher;

  pthread_mutex_lock (&publisher->lock);
  for (uint32_t i = 0; i < publisher->peer_count; i++) {
    publisher->peers[i]->ending = true;
    cuframes_peer_flush (publisher->peers[i], publisher->ring);
    cuframes_peer_dismiss (publisher->peers[i], CUFRAMES_BYE_SHUTDOWN);
  }
  pthread_mutex_unlock (&publisher->lock);
  for (uint32_t i = 0; i < server->half_open_count; i++)
    cuframes_close (server->half_open[i].fd);
}

static void *
run (void *user_data)
{
  CuframesPublisher *publisher = user_data;
  CuframesServer server = {.publisher = publisher,.inbox = publisher->inbox };

  while (serve (&server))
    continue;
  say_goodbye (&server);
  cuframes_inbox_clear (&server.inbox);
  free (server.polls);
  free (server.notices);
  return NULL;
}

void
cuframes_publisher_kick_server (CuframesPublisher *publisher)
{
  eventfd_write (publisher->server_wake_fd, 1);
}

/* The application's signals are none of the server's. 0 or a negative errno. */
int
cuframes_publisher_start_server (CuframesPublisher *publisher)
{
  sigset_t all, before;
  int r = cuframes_inbox_init (&publisher->inbox);

  if (r < 0)
    return r;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  r = -pthread_create (&publisher->thread, NULL, run, publisher);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  publisher->thread_runs = r == 0;
  if (r < 0)
    cuframes_inbox_clear (&publisher->inbox);
  else
    pthread_setname_np (publisher->thread, "cuframes-server");
  return r;
}

void
cuframes_publisher_stop_server (CuframesPublisher *publisher)
{
  if (!publisher->thread_runs)
    return;
  pthread_mutex_lock (&publisher->lock);
  publisher->stopping = true;
  pthread_mutex_unlock (&publisher->lock);
  cuframes_publisher_kick_server (publisher);
  pthread_join (publisher->thread, NULL);
  publisher->thread_runs = false;
}
