/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher's door: who may come in, and what those who may are told first. Runs on the server's thread. A client that says nothing costs
 * one descriptor for a while. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cuframes-publisher-server.h"
#include "cuframes-util.h"

/* How long connections that have not said HELLO may take. More than there is room for push the oldest out. */
#define HALF_OPEN_NS 2000000000u
#define OBSERVERS_MAX 16u
/* Without a single free descriptor the listening socket is left alone for a while. */
#define EXHAUSTED_NS 100000000u

static void
refuse (CuframesServer *server, int take_fd, CuframesRefusedCode code, const char *text)
{
  CuframesMessage message = {.type = CUFRAMES_MESSAGE_REFUSED,.refused = {.code = code} };

  snprintf (message.refused.text, sizeof message.refused.text, "%s", text);
  cuframes_channel_send (take_fd, &message, NULL, 0);
  cuframes_close (take_fd);
  pthread_mutex_lock (&server->publisher->lock);
  server->publisher->stats.refused++;
  pthread_mutex_unlock (&server->publisher->lock);
  cuframes_publisher_log (server->publisher, "refused a subscriber: %s", text);
}

static void
forget_half_open (CuframesServer *server, uint32_t i)
{
  server->half_open[i] = server->half_open[--server->half_open_count];
}

/* deadline_ns: CUFRAMES_NONE for what the application made, which is nobody hostile. */
static void
add_half_open (CuframesServer *server, int take_fd, uint64_t deadline_ns)
{
  if (server->half_open_count == CUFRAMES_HALF_OPEN_MAX) {
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < CUFRAMES_HALF_OPEN_MAX; i++)
      if (server->half_open[i].deadline_ns < server->half_open[oldest].deadline_ns)
        oldest = i;
    cuframes_close (server->half_open[oldest].fd);
    forget_half_open (server, oldest);
  }
  server->half_open[server->half_open_count++] = (CuframesHalfOpen) { take_fd, deadline_ns };
}

void
cuframes_server_accept (CuframesServer *server)
{
  for (uint32_t i = 0; i < CUFRAMES_HALF_OPEN_MAX; i++) {
    int fd, r = cuframes_listener_accept (&server->publisher->listener, &fd);
    if (r == 0)
      add_half_open (server, fd, cuframes_now_ns () + HALF_OPEN_NS);
    else if (r == CUFRAMES_E_FULL)
      refuse (server, fd, CUFRAMES_REFUSED_RESOURCES, "the publisher has no file descriptor left: raise its limit (ulimit -n)");
    else {
      if (r != CUFRAMES_E_EMPTY)
        server->listen_again_ns = cuframes_now_ns () + EXHAUSTED_NS;
      return;
    }
  }
}

void
cuframes_server_take_adopted (CuframesServer *server)
{
  CuframesPublisher *publisher = server->publisher;
  int adopted[CUFRAMES_ADOPTED_MAX];
  uint32_t adopted_count;
  uint64_t count;

  if (read (publisher->server_wake_fd, &count, sizeof count) < 0)
    return;
  pthread_mutex_lock (&publisher->lock);
  adopted_count = publisher->adopted_count;
  memcpy (adopted, publisher->adopted, adopted_count * sizeof *adopted);
  publisher->adopted_count = 0;
  pthread_mutex_unlock (&publisher->lock);
  /* not under the lock, for it may close; who came first is the first to be pushed out if there are too many */
  for (uint32_t i = 0; i < adopted_count; i++) {
    cuframes_channel_refuse_fds (adopted[i]);
    add_half_open (server, adopted[i], CUFRAMES_NONE);
  }
}

static bool
contains (const uint32_t *ids, uint32_t count, uint32_t id)
{
  for (uint32_t i = 0; i < count; i++)
    if (ids[i] == id)
      return true;
  return false;
}

/* What a file's mode would do: an abstract address has none. */
static bool
mode_lets_in (uint32_t mode, const CuframesPeerIdentity *identity)
{
  if (identity->uid == 0 || identity->uid == geteuid ())
    return true;
  return identity->gid == getegid () ? (mode & 0020) != 0 : (mode & 0002) != 0;
}

static bool
may_subscribe (const CuframesPublisher *publisher, const CuframesPeerIdentity *identity)
{
  const CuframesPublisherConfig *config = &publisher->config;

  if (config->allow_uids == NULL && config->allow_gids == NULL)
    return publisher->listener.path[0] != '@' || mode_lets_in (config->socket_mode, identity);
  return identity->uid == 0 || identity->uid == geteuid ()
      || contains (config->allow_uids, config->allow_uid_count, identity->uid)
      || contains (config->allow_gids, config->allow_gid_count, identity->gid);
}

/* Why a HELLO is refused, or NULL. */
static const char *
find_objection (const CuframesPublisher *publisher, const CuframesHello *hello, const CuframesPeerIdentity *identity,
    CuframesRefusedCode *ret_code, char text[CUFRAMES_TEXT_BYTES])
{
  if (hello->version_min > CUFRAMES_WIRE_VERSION || hello->version_max < CUFRAMES_WIRE_VERSION) {
    *ret_code = CUFRAMES_REFUSED_VERSION;
    snprintf (text, CUFRAMES_TEXT_BYTES, "the publisher speaks protocol version %u, the subscriber %u to %u: install the same release on both sides",
        CUFRAMES_WIRE_VERSION, hello->version_min, hello->version_max);
    return text;
  }
  if (hello->role != CUFRAMES_ROLE_SUBSCRIBER && hello->role != CUFRAMES_ROLE_OBSERVER) {
    *ret_code = CUFRAMES_REFUSED_VERSION;
    return "the subscriber asks for a part that the publisher does not know";
  }
  if (!may_subscribe (publisher, identity)) {
    *ret_code = CUFRAMES_REFUSED_ACCESS;
    snprintf (text, CUFRAMES_TEXT_BYTES, "user %u with group %u may not subscribe: add it to the publisher's allow-uids or allow-gids, or widen its socket-mode",
        (unsigned) identity->uid, (unsigned) identity->gid);
    return text;
  }
  return NULL;
}

/* Under the lock. */
static const char *
find_room (const CuframesPublisher *publisher, const CuframesHello *hello, CuframesRefusedCode *ret_code, char text[CUFRAMES_TEXT_BYTES])
{
  const uint32_t subscribers = cuframes_publisher_count_subscribers (publisher);
  char device[CUFRAMES_ARENA_DEVICE_BYTES];

  *ret_code = CUFRAMES_REFUSED_FULL;
  if (hello->role == CUFRAMES_ROLE_OBSERVER)
    return publisher->peer_count - subscribers >= OBSERVERS_MAX ? "too many observers look on already" : NULL;
  if (subscribers >= publisher->config.max_subscribers) {
    snprintf (text, CUFRAMES_TEXT_BYTES, "the channel has its %u subscribers: raise the publisher's max-subscribers",
        publisher->config.max_subscribers);
    return text;
  }
  if (publisher->ring != NULL && !cuframes_peer_can_map (hello, &publisher->ring->message)) {
    *ret_code = CUFRAMES_REFUSED_MEMORY;
    if (publisher->ring->message.arena.kind != CUFRAMES_MEMORY_CUDA)
      return "the frames are in host memory, which this subscriber does not take";
    cuframes_arena_describe_device (&publisher->ring->message.arena, device);
    snprintf (text, CUFRAMES_TEXT_BYTES, "the frames are in memory of %s (CUDA), which this subscriber cannot map", device);
    return text;
  }
  return NULL;
}

static int
reserve_peer (CuframesPublisher *publisher)
{
  uint32_t capacity = publisher->peer_capacity == 0 ? 16 : 2 * publisher->peer_capacity;
  CuframesPeer **peers;

  if (publisher->peer_count < publisher->peer_capacity)
    return 0;
  peers = realloc (publisher->peers, capacity * sizeof *peers);
  if (peers == NULL)
    return -ENOMEM;
  publisher->peers = peers;
  publisher->peer_capacity = capacity;
  return 0;
}

static int
send_welcome (CuframesPublisher *publisher, CuframesPeer *peer)
{
  CuframesMessage message = {
    .type = CUFRAMES_MESSAGE_WELCOME,
    .welcome = {
          .version = CUFRAMES_WIRE_VERSION,.subscriber_id = peer->id,.ring_id = publisher->ring_id,
          .max_leases = publisher->config.max_leases,.event_serial = publisher->event_serial,.head = publisher->head,
        },
  };

  for (const CuframesSticky * sticky = publisher->stickies; !peer->observer && sticky != NULL; sticky = sticky->next)
    message.welcome.sticky_count++;
  return cuframes_channel_send (peer->fd, &message, (int[]) { peer->wake_read_fd, publisher->life->read_fd }, 2);
}

/* Everything a newcomer needs is queued in one go, so that its place among frames and events is one moment. */
static int
greet (CuframesPublisher *publisher, CuframesPeer *peer)
{
  int r = send_welcome (publisher, peer);

  if (r == 0 && publisher->ring != NULL)
    r = cuframes_peer_queue_ring (peer);
  for (const CuframesSticky * sticky = publisher->stickies; r == 0 && sticky != NULL; sticky = sticky->next) {
    const CuframesEventMessage event = {.after_sequence = sticky->after_sequence,.kind = sticky->kind,.byte_count = sticky->byte_count,
      .bytes = sticky->bytes };
    r = cuframes_peer_queue_event (peer, &event);
  }
  if (r != 0)
    return r;
  r = cuframes_peer_flush (peer, publisher->ring);
  return r == CUFRAMES_E_FULL ? 0 : r;
}

/* The descriptor is consumed if this succeeds, and good to answer on if not: once welcomed, nobody can be refused any more. So the
 * three descriptors that the answer and the greeting take for a moment must be there as well. 0 or a negative errno. */
static int
new_peer (int *take_fd, const CuframesPeerIdentity *identity, const CuframesHello *hello, uint32_t id, CuframesPeer **ret_peer)
{
  int spares[3], r = 0;

  for (uint32_t i = 0; i < 3; i++) {
    spares[i] = fcntl (*take_fd, F_DUPFD_CLOEXEC, 0);
    if (spares[i] < 0)
      r = -errno;
  }
  if (r == 0) {
    r = cuframes_peer_new (*take_fd, identity, hello, id, ret_peer);
    *take_fd = r == 0 ? -1 : cuframes_steal_fd (&spares[0]);
  }
  for (uint32_t i = 0; i < 3; i++)
    cuframes_close (spares[i]);
  return r;
}

static void
let_in (CuframesServer *server, int take_fd, const CuframesHello *hello, const CuframesPeerIdentity *identity)
{
  CuframesPublisher *publisher = server->publisher;
  char text[CUFRAMES_TEXT_BYTES];
  CuframesRefusedCode code;
  CuframesPeer *peer = NULL;
  const char *objection;
  int r = 0, greeted;

  pthread_mutex_lock (&publisher->lock);
  objection = find_room (publisher, hello, &code, text);
  if (objection == NULL) {
    r = reserve_peer (publisher);
    if (r == 0)
      r = new_peer (&take_fd, identity, hello, publisher->next_id, &peer);
  }
  if (peer != NULL) {
    publisher->next_id++;
    publisher->peers[publisher->peer_count++] = peer;
    if ((greeted = greet (publisher, peer)) != 0) {
      cuframes_publisher_log (publisher, "subscriber %u (%s) could not be greeted: %s", peer->id, peer->hello.name,
          greeted < 0 ? strerror (-greeted) : "too much is kept for those who join, or its socket is full");
      cuframes_peer_drop (peer);
    } else if (!peer->observer) {
      peer->announced = true;
      cuframes_server_notice (server, true, peer);
      pthread_cond_broadcast (&publisher->changed);
    }
  }
  pthread_mutex_unlock (&publisher->lock);
  if (objection != NULL)
    refuse (server, take_fd, code, objection);
  else if (r < 0)
    refuse (server, take_fd, CUFRAMES_REFUSED_RESOURCES, "the publisher has no file descriptor or memory left: raise its limits (ulimit -n)");
}

void
cuframes_server_hear_half_open (CuframesServer *server, uint32_t i)
{
  int fd = server->half_open[i].fd;
  char text[CUFRAMES_TEXT_BYTES];
  CuframesPeerIdentity identity;
  CuframesRefusedCode code;
  const char *objection;
  int r = cuframes_channel_receive (fd, &server->inbox);

  if (r == CUFRAMES_E_EMPTY)
    return;
  forget_half_open (server, i);
  if (r != 0 || server->inbox.message.type != CUFRAMES_MESSAGE_HELLO || cuframes_listener_identify (fd, &identity) < 0) {
    cuframes_close (fd);
    return;
  }
  objection = find_objection (server->publisher, &server->inbox.message.hello, &identity, &code, text);
  if (objection != NULL)
    refuse (server, fd, code, objection);
  else
    let_in (server, fd, &server->inbox.message.hello, &identity);
}

void
cuframes_server_expire (CuframesServer *server)
{
  const uint64_t now = cuframes_now_ns ();

  if (server->listen_again_ns != 0 && server->listen_again_ns <= now)
    server->listen_again_ns = 0;
  for (uint32_t i = server->half_open_count; i-- > 0;)
    if (server->half_open[i].deadline_ns <= now) {
      cuframes_close (server->half_open[i].fd);
      forget_half_open (server, i);
    }
}
