/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher's server: one thread that lets subscribers in, hears them, and clears up after them. It never waits on one peer, and
 * holds the publisher's lock only while it changes who is there. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "cuframes-layout.h"
#include "cuframes-publisher-private.h"
#include "cuframes-util.h"

/* Connections that have not said HELLO, and how long they may take. More push the oldest out. */
#define HALF_OPEN_MAX 16u
#define HALF_OPEN_NS 2000000000u
#define OBSERVERS_MAX 16u
#define MESSAGES_AT_ONCE 16u
/* Without a single free descriptor the listening socket is left alone for a while. */
#define EXHAUSTED_NS 100000000u

typedef struct
{
  int fd;
  uint64_t deadline_ns;
} HalfOpen;

typedef struct
{
  bool added;
  CuframesSubscriberStats subscriber;
} Notice;

typedef struct
{
  CuframesPublisher *publisher;
  CuframesInbox inbox;
  HalfOpen half_open[HALF_OPEN_MAX];
  uint32_t half_open_count;
  uint64_t listen_again_ns;
  struct pollfd *polls;
  uint32_t poll_capacity;
  Notice *notices;
  uint32_t notice_count, notice_capacity;
  bool keyframe_wanted, all_headers;
} Server;

static void
refuse (Server *server, int take_fd, CuframesRefusedCode code, const char *text)
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
forget_half_open (Server *server, uint32_t i)
{
  server->half_open[i] = server->half_open[--server->half_open_count];
}

/* deadline_ns: CUFRAMES_NONE for what the application made, which is nobody hostile. */
static void
add_half_open (Server *server, int take_fd, uint64_t deadline_ns)
{
  if (server->half_open_count == HALF_OPEN_MAX) {
    uint32_t oldest = 0;
    for (uint32_t i = 1; i < HALF_OPEN_MAX; i++)
      if (server->half_open[i].deadline_ns < server->half_open[oldest].deadline_ns)
        oldest = i;
    cuframes_close (server->half_open[oldest].fd);
    forget_half_open (server, oldest);
  }
  server->half_open[server->half_open_count++] = (HalfOpen) { take_fd, deadline_ns };
}

static void
accept_all (Server *server)
{
  for (uint32_t i = 0; i < HALF_OPEN_MAX; i++) {
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

static void
take_adopted (Server *server)
{
  CuframesPublisher *publisher = server->publisher;
  uint64_t count;

  if (read (publisher->server_wake_fd, &count, sizeof count) < 0)
    return;
  pthread_mutex_lock (&publisher->lock);
  while (publisher->adopted_count > 0)
    add_half_open (server, publisher->adopted[--publisher->adopted_count], CUFRAMES_NONE);
  pthread_mutex_unlock (&publisher->lock);
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
  return cuframes_channel_send (peer->fd, &message, &peer->wake_read_fd, 1);
}

/* Everything a newcomer needs is queued in one go, so that its place among frames and events is one moment. */
static int
greet (CuframesPublisher *publisher, CuframesPeer *peer)
{
  int r = send_welcome (publisher, peer);

  if (r == 0 && publisher->ring != NULL)
    r = cuframes_peer_queue_ring (peer);
  for (const CuframesSticky * sticky = publisher->stickies; r == 0 && sticky != NULL; sticky = sticky->next) {
    const CuframesEventMessage event = {.kind = sticky->kind,.byte_count = sticky->byte_count,.bytes = sticky->bytes };
    r = cuframes_peer_queue_event (peer, &event);
  }
  if (r != 0)
    return r;
  r = cuframes_peer_flush (peer, publisher->ring);
  return r == CUFRAMES_E_FULL ? 0 : r;
}

static void
notice (Server *server, bool added, CuframesPeer *peer)
{
  if (server->notice_count == server->notice_capacity) {
    uint32_t capacity = server->notice_capacity == 0 ? 16 : 2 * server->notice_capacity;
    Notice *notices = realloc (server->notices, capacity * sizeof *notices);
    if (notices == NULL)
      return;
    server->notices = notices;
    server->notice_capacity = capacity;
  }
  server->notices[server->notice_count].added = added;
  cuframes_peer_get_stats (peer, server->publisher->ring, &server->notices[server->notice_count++].subscriber);
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
let_in (Server *server, int take_fd, const CuframesHello *hello, const CuframesPeerIdentity *identity)
{
  CuframesPublisher *publisher = server->publisher;
  char text[CUFRAMES_TEXT_BYTES];
  CuframesRefusedCode code;
  CuframesPeer *peer = NULL;
  const char *objection;
  int r = 0;

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
    if (greet (publisher, peer) != 0)
      cuframes_peer_drop (peer);
    else if (!peer->observer) {
      peer->announced = true;
      notice (server, true, peer);
      pthread_cond_broadcast (&publisher->changed);
    }
  }
  pthread_mutex_unlock (&publisher->lock);
  if (objection != NULL)
    refuse (server, take_fd, code, objection);
  else if (r < 0)
    refuse (server, take_fd, CUFRAMES_REFUSED_RESOURCES, "the publisher has no file descriptor or memory left: raise its limits (ulimit -n)");
}

static void
hear_half_open (Server *server, uint32_t i)
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
obey (Server *server, CuframesPeer *peer)
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
      return cuframes_publisher_send_stats (publisher, peer);
    case CUFRAMES_MESSAGE_BYE:
      cuframes_peer_linger (peer);
      return 0;
    default:
      return CUFRAMES_E_PEER;
  }
}

/* Only this thread receives and only it frees, so that the lock is not held over the system call: a subscriber that talks without end
 * must not keep the lock from the thread that publishes. */
static void
hear_peer (Server *server, CuframesPeer *peer)
{
  CuframesPublisher *publisher = server->publisher;

  for (uint32_t i = 0; i < MESSAGES_AT_ONCE; i++) {
    bool goes_on;
    int r = cuframes_channel_receive (peer->fd, &server->inbox);
    if (r == CUFRAMES_E_EMPTY)
      return;
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

/* Under the lock. */
static void
bury (Server *server)
{
  CuframesPublisher *publisher = server->publisher;

  for (uint32_t i = 0; i < publisher->peer_count;) {
    CuframesPeer *peer = publisher->peers[i];
    if (!peer->dead) {
      i++;
      continue;
    }
    if (peer->announced)
      notice (server, false, peer);
    publisher->peers[i] = publisher->peers[--publisher->peer_count];
    cuframes_peer_free (peer);
    pthread_cond_broadcast (&publisher->changed);
  }
}

static void
tell (Server *server)
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
list_polls (Server *server, uint32_t *ret_count)
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
  for (uint32_t i = 0; i < publisher->peer_count; i++)
    polls[at++] = (struct pollfd) {
      .fd = publisher->peers[i]->fd,.events = (short) (POLLIN | (cuframes_peer_wants_to_send (publisher->peers[i]) ? POLLOUT : 0)),
    };
  *ret_count = count;
  return 0;
}

static int
get_timeout_ms (Server *server)
{
  uint64_t now = cuframes_now_ns (), next = server->listen_again_ns;

  for (uint32_t i = 0; i < server->half_open_count; i++)
    if (server->half_open[i].deadline_ns != CUFRAMES_NONE && (next == 0 || server->half_open[i].deadline_ns < next))
      next = server->half_open[i].deadline_ns;
  if (next == 0)
    return -1;
  return next <= now ? 0 : (int) ((next - now) / 1000000u) + 1;
}

static void
expire (Server *server)
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

/* The peers do not change between list_polls() and this: only this thread adds or frees them. */
static void
serve_peers (Server *server, uint32_t first, uint32_t count)
{
  CuframesPublisher *publisher = server->publisher;

  for (uint32_t i = first; i < count; i++) {
    CuframesPeer *peer = publisher->peers[i - first];
    if (server->polls[i].revents == 0)
      continue;
    if (server->polls[i].revents & (POLLIN | POLLHUP | POLLERR))
      hear_peer (server, peer);
    pthread_mutex_lock (&publisher->lock);
    if (!peer->dead && cuframes_peer_wants_to_send (peer))
      cuframes_publisher_flush_peer (publisher, peer);
    pthread_mutex_unlock (&publisher->lock);
  }
  pthread_mutex_lock (&publisher->lock);
  bury (server);
  pthread_mutex_unlock (&publisher->lock);
}

static bool
serve (Server *server)
{
  CuframesPublisher *publisher = server->publisher;
  uint32_t count = 0, first_peer = 2 + server->half_open_count;
  bool stopping;
  int r;

  pthread_mutex_lock (&publisher->lock);
  r = list_polls (server, &count);
  stopping = publisher->stopping;
  pthread_mutex_unlock (&publisher->lock);
  if (stopping || r < 0)
    return false;
  if (poll (server->polls, count, get_timeout_ms (server)) < 0)
    return errno == EINTR;
  serve_peers (server, first_peer, count);
  for (uint32_t i = first_peer; i-- > 2;)
    if (server->polls[i].revents != 0)
      hear_half_open (server, i - 2);
  if (server->polls[0].revents != 0)
    take_adopted (server);
  if (server->polls[1].revents != 0)
    accept_all (server);
  expire (server);
  tell (server);
  return true;
}

static void
say_goodbye (Server *server)
{
  CuframesPublisher *publisher = server->publisher;

  pthread_mutex_lock (&publisher->lock);
  for (uint32_t i = 0; i < publisher->peer_count; i++) {
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
  Server server = {.publisher = user_data };

  if (cuframes_inbox_init (&server.inbox) == 0)
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
  int r;

  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  r = -pthread_create (&publisher->thread, NULL, run, publisher);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  publisher->thread_runs = r == 0;
  if (r == 0)
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
