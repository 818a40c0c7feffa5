/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subscriber: puts frames or packets, formats and events into one order and waits for the next. Frames and packets come from the ring
 * without a system call, messages from the socket, which is looked at only when the ring says that something is there. */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "cuframes-pending.h"
#include "cuframes-util.h"
#include "cuframes-view.h"

/* How long an event that a frame says was sent before it may take to come. */
#define EVENT_NS 2000000000u
#define SPIN_LOOKS 64u

struct _CuframesSubscriber
{
  CuframesSubscriberConfig config;      /* its strings are owned */
  CuframesHello hello;
  int cancel_fd;
  int watch_fd;                 /* over the channel's directory, once it had to be waited for */
  CuframesInbox inbox;
  char refusal[CUFRAMES_TEXT_BYTES];
  uint32_t refused_code;
  CuframesConnection *connection;
  CuframesConnection *adopted;  /* one that the application made, until its publisher answers */
  CuframesView view;
  CuframesPendingQueue pending;
  CuframesPending *delivered;   /* what the last item borrows from */
  uint64_t event_serial;        /* of the newest event that has come in */
  uint32_t stickies_due;        /* that are still to come in before the first frame */
  uint32_t newest_generation;   /* that has come in */
  bool gone;                    /* the publisher hung up */
  int failure;                  /* or we had to, for want of memory or descriptors: a negative errno */
  uint32_t bye;
  bool greeted;                 /* the item CONNECTED was handed out */
  bool awaits_event;
  pthread_mutex_t lock;         /* guards the counters, and changes of connection */
  CuframesSubscriberCounters counters;
};

static void
set_name (CuframesHello *hello, const char *name)
{
  snprintf (hello->name, sizeof hello->name, "%s", name != NULL ? name : program_invocation_short_name);
}

static void
set_import (CuframesSubscriber *subscriber, CuframesArenaImportFunction import, void *user_data, uint32_t memory_kinds, const uint8_t *device_uuids,
    uint32_t device_count)
{
  CuframesHello *hello = &subscriber->hello;

  subscriber->config.import = import != NULL ? import : cuframes_arena_import_host;
  subscriber->config.import_user_data = user_data;
  hello->memory_kinds = memory_kinds != 0 ? memory_kinds : 1u << CUFRAMES_MEMORY_HOST;
  hello->device_count = device_count;
  if (device_count > 0)
    memcpy (hello->devices, device_uuids, device_count * CUFRAMES_UUID_BYTES);
}

static int
copy_config (CuframesSubscriber *subscriber, const CuframesSubscriberConfig *config)
{
  CuframesHello *hello = &subscriber->hello;

  if (config->device_count > CUFRAMES_WIRE_DEVICES_MAX)
    return -EINVAL;
  subscriber->config = *config;
  subscriber->config.device_uuids = NULL;
  subscriber->config.name = NULL;
  subscriber->config.socket_path = config->socket_path == NULL ? NULL : strdup (config->socket_path);
  hello->version_min = hello->version_max = CUFRAMES_WIRE_VERSION;
  hello->role = CUFRAMES_ROLE_SUBSCRIBER;
  set_name (hello, config->name);
  set_import (subscriber, config->import, config->import_user_data, config->memory_kinds, config->device_uuids, config->device_count);
  return config->socket_path != NULL && subscriber->config.socket_path == NULL ? -ENOMEM : 0;
}

/**
 * cuframes_subscriber_new:
 * @config: how it behaves
 * @ret_subscriber: (out) (transfer full): the subscriber
 *
 * Makes a subscriber, which is not connected yet.
 *
 * Returns: 0, -EINVAL, -ENOMEM, -EMFILE or another negative errno; then @ret_subscriber is unchanged
 *
 * Since: 0.1
 */
int
cuframes_subscriber_new (const CuframesSubscriberConfig *config, CuframesSubscriber **ret_subscriber)
{
  CuframesSubscriber *subscriber = calloc (1, sizeof *subscriber);
  int r;

  if (subscriber == NULL)
    return -ENOMEM;
  subscriber->cancel_fd = subscriber->watch_fd = -1;
  cuframes_pending_queue_init (&subscriber->pending);
  pthread_mutex_init (&subscriber->lock, NULL);
  r = cuframes_inbox_init (&subscriber->inbox);
  if (r == 0)
    r = copy_config (subscriber, config);
  if (r == 0) {
    subscriber->cancel_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    r = subscriber->cancel_fd < 0 ? -errno : 0;
  }
  if (r < 0) {
    cuframes_subscriber_free (subscriber);
    return r;
  }
  *ret_subscriber = subscriber;
  return 0;
}

/* What frames are out keeps the mapping and the connection until they are back; the publisher is told that nothing else is wanted. */
static void
disconnect (CuframesSubscriber *subscriber)
{
  const CuframesMessage bye = {.type = CUFRAMES_MESSAGE_BYE,.bye_reason = CUFRAMES_BYE_SHUTDOWN };

  if (subscriber->connection != NULL && !subscriber->gone)
    cuframes_channel_send (subscriber->connection->fd, &bye, NULL, 0);
  cuframes_pending_queue_clear (&subscriber->pending);
  cuframes_view_close (&subscriber->view);
  pthread_mutex_lock (&subscriber->lock);
  subscriber->connection = cuframes_connection_unref (subscriber->connection);
  subscriber->counters.connected = 0;
  pthread_mutex_unlock (&subscriber->lock);
}

/**
 * cuframes_subscriber_free:
 * @subscriber: (transfer full) (nullable): a subscriber
 *
 * Leaves the channel. Frames that are out stay good until they are given back.
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesSubscriber *
cuframes_subscriber_free (CuframesSubscriber *subscriber)
{
  if (subscriber == NULL)
    return NULL;
  disconnect (subscriber);
  subscriber->adopted = cuframes_connection_unref (subscriber->adopted);
  subscriber->delivered = cuframes_pending_free (subscriber->delivered);
  cuframes_inbox_clear (&subscriber->inbox);
  subscriber->cancel_fd = cuframes_close (subscriber->cancel_fd);
  subscriber->watch_fd = cuframes_close (subscriber->watch_fd);
  pthread_mutex_destroy (&subscriber->lock);
  free ((char *) subscriber->config.socket_path);
  free (subscriber);
  return NULL;
}

static uint64_t
deadline_after (uint64_t timeout_ns)
{
  const uint64_t now = cuframes_now_ns ();
  return timeout_ns > CUFRAMES_NONE - now ? CUFRAMES_NONE : now + timeout_ns;
}

static int
settle (CuframesSubscriber *subscriber, int r, CuframesConnection *connection)
{
  subscriber->refused_code = r == CUFRAMES_E_REFUSED ? subscriber->inbox.message.refused.code : 0;
  if (r == CUFRAMES_E_REFUSED)
    memcpy (subscriber->refusal, subscriber->inbox.message.refused.text, sizeof subscriber->refusal);
  if (r != 0)
    return r;
  subscriber->event_serial = connection->welcome.event_serial;
  subscriber->stickies_due = connection->welcome.sticky_count;
  subscriber->newest_generation = 0;
  subscriber->gone = subscriber->greeted = subscriber->awaits_event = false;
  subscriber->failure = 0;
  subscriber->bye = 0;
  pthread_mutex_lock (&subscriber->lock);
  subscriber->connection = connection;
  subscriber->counters.connected = 1;
  subscriber->counters.connections++;
  subscriber->counters.max_leases = connection->welcome.max_leases;
  if (subscriber->config.max_leases > 0 && subscriber->config.max_leases < connection->welcome.max_leases)
    subscriber->counters.max_leases = subscriber->config.max_leases;
  pthread_mutex_unlock (&subscriber->lock);
  return 0;
}

/**
 * cuframes_subscriber_set_import:
 * @subscriber: a subscriber that is not connected
 * @import: imports arenas, or %NULL for host memory alone
 * @user_data: for @import
 * @memory_kinds: bit `1 << kind` of each #CuframesMemoryKind to take, host memory included if it is wanted; 0 for host memory alone
 * @device_uuids: (nullable): the GPUs whose memory @import can map, %CUFRAMES_UUID_BYTES each; copied
 * @device_count: how many, at most 16
 *
 * Says anew what memory the subscriber can map, in place of what its configuration said.
 *
 * Returns: 0, %CUFRAMES_E_HELD if it is connected, or -EINVAL
 *
 * Since: 0.1
 */
int
cuframes_subscriber_set_import (CuframesSubscriber *subscriber, CuframesArenaImportFunction import, void *user_data, uint32_t memory_kinds,
    const uint8_t *device_uuids, uint32_t device_count)
{
  if (subscriber->connection != NULL)
    return CUFRAMES_E_HELD;
  if (device_count > CUFRAMES_WIRE_DEVICES_MAX)
    return -EINVAL;
  set_import (subscriber, import, user_data, memory_kinds, device_uuids, device_count);
  return 0;
}

/**
 * cuframes_subscriber_connect:
 * @subscriber: a subscriber that is not connected
 * @timeout_ns: how long to wait for a publisher to appear and answer, %CUFRAMES_NONE for ever
 *
 * Joins the channel. While there is no publisher its directory is watched.
 *
 * Returns: 0; %CUFRAMES_E_TIMEOUT; %CUFRAMES_E_CANCELLED; %CUFRAMES_E_REFUSED, see cuframes_subscriber_get_refusal(); %CUFRAMES_E_PEER if
 * what answers is no publisher; %CUFRAMES_E_HELD if it is connected; -EINVAL if it has no socket path; -EACCES, -ENAMETOOLONG, -EPROTOTYPE
 * or another negative errno
 *
 * Since: 0.1
 */
int
cuframes_subscriber_connect (CuframesSubscriber *subscriber, uint64_t timeout_ns)
{
  CuframesConnection *connection = NULL;
  int r;

  if (subscriber->connection != NULL)
    return CUFRAMES_E_HELD;
  if (subscriber->config.socket_path == NULL)
    return -EINVAL;
  r = cuframes_connection_open (subscriber->config.socket_path, &subscriber->hello, deadline_after (timeout_ns), subscriber->cancel_fd,
      &subscriber->watch_fd, &subscriber->inbox, &connection);
  return settle (subscriber, r, connection);
}

/**
 * cuframes_subscriber_adopt:
 * @subscriber: a subscriber that is not connected
 * @take_fd: (transfer full): a SOCK_SEQPACKET socket connected to a publisher; consumed, also on failure. -1 to go on with the one before,
 * after %CUFRAMES_E_TIMEOUT or %CUFRAMES_E_CANCELLED
 * @timeout_ns: how long to wait for the publisher's answer, %CUFRAMES_NONE for ever
 *
 * Joins a channel over a connection that the application made.
 *
 * Returns: as cuframes_subscriber_connect(); %CUFRAMES_E_CLOSED if the other end hung up; %CUFRAMES_E_ABSENT if there is none to go on with
 *
 * Since: 0.1
 */
int
cuframes_subscriber_adopt (CuframesSubscriber *subscriber, int take_fd, uint64_t timeout_ns)
{
  CuframesConnection *connection;
  int r;

  if (subscriber->connection != NULL) {
    cuframes_close (take_fd);
    return CUFRAMES_E_HELD;
  }
  if (take_fd >= 0) {
    subscriber->adopted = cuframes_connection_unref (subscriber->adopted);
    r = cuframes_connection_begin (take_fd, &subscriber->hello, &subscriber->adopted);
    if (r != 0)
      return r;
  }
  if (subscriber->adopted == NULL)
    return CUFRAMES_E_ABSENT;
  r = cuframes_connection_finish (subscriber->adopted, deadline_after (timeout_ns), subscriber->cancel_fd, &subscriber->inbox);
  if (r == CUFRAMES_E_TIMEOUT || r == CUFRAMES_E_CANCELLED)
    return r;
  connection = cuframes_steal (&subscriber->adopted);
  if (r != 0)
    cuframes_connection_unref (connection);
  return settle (subscriber, r, connection);
}

static int
take_event (CuframesSubscriber *subscriber)
{
  const CuframesEventMessage *event = &subscriber->inbox.message.event;

  if (event->serial != 0)
    subscriber->event_serial = event->serial;
  else if (subscriber->stickies_due > 0)
    subscriber->stickies_due--;
  return cuframes_pending_queue_add (&subscriber->pending, &subscriber->inbox);
}

static int
take_message (CuframesSubscriber *subscriber)
{
  const CuframesMessage *message = &subscriber->inbox.message;

  switch (message->type) {
    case CUFRAMES_MESSAGE_EVENT:
      return take_event (subscriber);
    case CUFRAMES_MESSAGE_RING:
      subscriber->newest_generation = message->ring.generation;
      return cuframes_pending_queue_add (&subscriber->pending, &subscriber->inbox);
    case CUFRAMES_MESSAGE_BYE:
      subscriber->bye = message->bye_reason;
      return 0;
    default:
      return CUFRAMES_E_PEER;
  }
}

static void
hang_up (CuframesSubscriber *subscriber, int r)
{
  subscriber->gone = true;
  if (r < 0 && subscriber->failure == 0)
    subscriber->failure = r;
  if (r == CUFRAMES_E_PEER && subscriber->bye == 0)
    subscriber->bye = CUFRAMES_BYE_PROTOCOL;
}

/* Takes in every message that is there. */
static void
hear (CuframesSubscriber *subscriber)
{
  while (!subscriber->gone) {
    int r = cuframes_channel_receive (subscriber->connection->fd, &subscriber->inbox);
    if (r == CUFRAMES_E_EMPTY)
      return;
    if (r == 0)
      r = take_message (subscriber);
    if (r != 0)
      hang_up (subscriber, r);
  }
}

/* Whether the ring says that messages are there. Before the first ring they are looked for every time. */
static bool
has_news (const CuframesSubscriber *subscriber)
{
  const CuframesView *view = &subscriber->view;

  if (view->control == NULL || subscriber->awaits_event)
    return true;
  /* SYNC event: seq_cst; pairs with cuframes_publisher_send_event(). */
  if (atomic_load_explicit (&view->control->event_serial, memory_order_seq_cst) != subscriber->event_serial)
    return true;
  /* SYNC successor: seq_cst; pairs with cuframes_ring_supersede(). */
  if (atomic_load_explicit (&view->control->successor, memory_order_seq_cst) != 0 && subscriber->newest_generation == view->generation)
    return true;
  /* relaxed: the publisher writes to the pipe as well, so that it is seen before the next sleep ends */
  return atomic_load_explicit (&view->page->bye, memory_order_relaxed) != 0;
}

static int
change_ring (CuframesSubscriber *subscriber, const CuframesPending *pending)
{
  const CuframesMessage ready = {.type = CUFRAMES_MESSAGE_READY,.ready_generation = pending->message.ring.generation };
  int r = cuframes_view_open (&subscriber->view, subscriber->connection, &pending->message.ring, pending->fds, &subscriber->config);

  if (r != 0)
    return r;
  pthread_mutex_lock (&subscriber->lock);
  subscriber->counters.generation = ready.ready_generation;
  pthread_mutex_unlock (&subscriber->lock);
  r = cuframes_channel_send (subscriber->connection->fd, &ready, NULL, 0);
  if (r != 0)
    hang_up (subscriber, r);    /* without it the publisher would never send another ring */
  return 0;
}

/* The first pending message becomes the item. 0, or why the ring cannot be mapped. */
static int
deliver_pending (CuframesSubscriber *subscriber, CuframesItem *item)
{
  CuframesPending *pending = cuframes_pending_queue_take (&subscriber->pending);
  const CuframesMessage *message = &pending->message;
  int r = 0;

  subscriber->delivered = pending;
  item->bytes = pending->bytes;
  item->byte_count = pending->byte_count;
  if (message->type == CUFRAMES_MESSAGE_EVENT) {
    item->kind = CUFRAMES_ITEM_EVENT;
    item->event_kind = message->event.kind;
    return 0;
  }
  r = change_ring (subscriber, pending);
  item->kind = CUFRAMES_ITEM_FORMAT;
  item->ring_kind = message->ring.kind;
  item->arena_info = &message->ring.arena;
  for (uint32_t i = 0; i < CUFRAMES_WIRE_FDS_MAX; i++)
    pending->fds[i] = cuframes_close (pending->fds[i]);
  return r;
}

/* Under the lock. */
static void
count_delivered (CuframesSubscriber *subscriber, uint64_t sequence)
{
  subscriber->counters.delivered++;
  subscriber->counters.cursor = sequence;
  /* relaxed: a counter */
  subscriber->counters.head = atomic_load_explicit (&subscriber->view.control->head, memory_order_relaxed);
}

static void
deliver_fetched (CuframesSubscriber *subscriber, CuframesItem *item)
{
  cuframes_view_deliver (&subscriber->view, item);
  pthread_mutex_lock (&subscriber->lock);
  subscriber->counters.missed += item->missed;
  if (item->kind == CUFRAMES_ITEM_FRAME) {
    count_delivered (subscriber, item->info->sequence);
    /* relaxed: a counter */
    subscriber->counters.leases_held = __atomic_load_n (&subscriber->view.frames->leased, __ATOMIC_RELAXED);
  }
  pthread_mutex_unlock (&subscriber->lock);
}

/* Whether the first pending message comes before what was fetched, or at this point if nothing was. What is kept for those who join comes before
 * everything, but for the end of the stream, which has a place. */
static bool
pending_is_due (const CuframesSubscriber *subscriber, int fetched)
{
  const CuframesMessage *message = &subscriber->pending.first->message;
  const bool is_ring = message->type == CUFRAMES_MESSAGE_RING;
  const uint64_t after = is_ring ? message->ring.first_sequence : message->event.after_sequence;
  uint64_t sequence, event_serial;
  bool passed;

  if (subscriber->view.control == NULL || (!is_ring && message->event.serial == 0 && message->event.kind != CUFRAMES_EVENT_EOS))
    return true;
  if (fetched == 0 && cuframes_view_get_fetched (&subscriber->view, &sequence, &event_serial))
    return (int64_t) (sequence - after) > 0;
  passed = (int64_t) (cuframes_view_get_position (&subscriber->view) - after) >= 0;
  if (fetched == CUFRAMES_E_HELD)
    return passed;
  /* SYNC successor: seq_cst; pairs with cuframes_ring_supersede(): a ring that was followed has no more than we have seen. */
  return passed || subscriber->gone || atomic_load_explicit (&subscriber->view.control->successor, memory_order_seq_cst) != 0;
}

/* A frame or packet names the events that come before it, and the welcome those that come before all of them. One that has not come in yet is
 * on its way. */
static bool
lacks_event (CuframesSubscriber *subscriber, int fetched)
{
  uint64_t sequence, event_serial;
  bool lacks = subscriber->stickies_due > 0;

  if (fetched == 0 && cuframes_view_get_fetched (&subscriber->view, &sequence, &event_serial))
    lacks |= (int64_t) (event_serial - subscriber->event_serial) > 0;
  subscriber->awaits_event = lacks && !subscriber->gone && subscriber->bye == 0;
  return subscriber->awaits_event;
}

static void
deliver_end (CuframesSubscriber *subscriber, CuframesItem *item)
{
  item->kind = CUFRAMES_ITEM_DISCONNECTED;
  item->bye = subscriber->bye;
  disconnect (subscriber);
}

/**
 * cuframes_subscriber_try_next:
 * @subscriber: a subscriber
 * @ret_item: (out): what comes next
 *
 * Takes what is there, without waiting. Formats and events come in their place among the frames.
 *
 * Returns: 0; %CUFRAMES_E_EMPTY; %CUFRAMES_E_HELD if a frame is there and as many as allowed are out; %CUFRAMES_E_ABSENT if it is not
 * connected; -ENODEV if this process cannot map the new memory, or another negative errno: then it is disconnected
 *
 * Since: 0.1
 */
int
cuframes_subscriber_try_next (CuframesSubscriber *subscriber, CuframesItem *ret_item)
{
  int r;

  *ret_item = (CuframesItem) { 0 };
  subscriber->delivered = cuframes_pending_free (subscriber->delivered);
  if (subscriber->connection == NULL)
    return CUFRAMES_E_ABSENT;
  if (!subscriber->greeted) {
    subscriber->greeted = true;
    ret_item->kind = CUFRAMES_ITEM_CONNECTED;
    return 0;
  }
  if (has_news (subscriber))
    hear (subscriber);
  if (subscriber->view.control != NULL && subscriber->bye == 0)
    /* relaxed: it may be seen late, the pipe wakes */
    subscriber->bye = atomic_load_explicit (&subscriber->view.page->bye, memory_order_relaxed);
  if (subscriber->bye > CUFRAMES_BYE_SHUTDOWN) {
    deliver_end (subscriber, ret_item);
    return 0;
  }
  r = cuframes_view_fetch (&subscriber->view, subscriber->config.delivery, subscriber->counters.max_leases);
  if (r < 0 || r == CUFRAMES_E_PEER) {
    hang_up (subscriber, r);
    deliver_end (subscriber, ret_item);
    return r < 0 ? r : 0;
  }
  if (subscriber->pending.first != NULL && pending_is_due (subscriber, r)) {
    r = deliver_pending (subscriber, ret_item);
    if (r == CUFRAMES_E_PEER) {
      hang_up (subscriber, r);
      deliver_end (subscriber, ret_item);
      return 0;
    }
    if (r < 0)
      disconnect (subscriber);
    return r;
  }
  if ((r == 0 || r == CUFRAMES_E_EMPTY) && lacks_event (subscriber, r))
    return CUFRAMES_E_EMPTY;
  if (r == 0)
    deliver_fetched (subscriber, ret_item);
  else if (r == CUFRAMES_E_EMPTY && (subscriber->gone || subscriber->bye != 0)) {
    r = subscriber->failure;
    deliver_end (subscriber, ret_item);
  }
  return r;
}

/**
 * cuframes_subscriber_take_packet:
 * @subscriber: a subscriber whose last item was %CUFRAMES_ITEM_PACKET
 * @data: (nullable): where its data goes, `size_bytes` of its `packet_info`; %NULL if it is not wanted
 * @metas: (nullable): where its serialised metas go, `meta_bytes`; %NULL if they are not wanted
 *
 * Copies the packet out of the ring and makes sure that it was whole. One that is not taken is passed over by the next call of
 * cuframes_subscriber_next(). Metas are the publisher's bytes: check them before use.
 *
 * Returns: 0; -EAGAIN if the publisher has overwritten it meanwhile: @data and @metas hold anything, go on with cuframes_subscriber_next(), which
 * finds the newest key point and counts what was missed; -EINVAL if there is no packet to take
 *
 * Since: 0.1
 */
int
cuframes_subscriber_take_packet (CuframesSubscriber *subscriber, void *data, void *metas)
{
  int r = cuframes_view_take (&subscriber->view, data, metas);

  if (r != 0)
    return r == CUFRAMES_E_OVERRUN ? -EAGAIN : r;
  pthread_mutex_lock (&subscriber->lock);
  count_delivered (subscriber, subscriber->view.packet.sequence);
  pthread_mutex_unlock (&subscriber->lock);
  return 0;
}

/**
 * cuframes_subscriber_is_syncing:
 * @subscriber: a subscriber
 *
 * Whether it reads packets and finds no key point to start from, at first or after an overrun: cuframes_subscriber_request_keyframe()
 * may bring one.
 *
 * Returns: %true if nothing comes before the next key point
 *
 * Since: 0.1
 */
bool
cuframes_subscriber_is_syncing (CuframesSubscriber *subscriber)
{
  return cuframes_view_is_syncing (&subscriber->view);
}

/**
 * cuframes_subscriber_peek_fd:
 * @subscriber: a subscriber
 *
 * The descriptor that becomes readable or hangs up when something is there, once cuframes_subscriber_arm() has said
 * %CUFRAMES_E_EMPTY; for an event loop of the application's own. Call cuframes_subscriber_try_next() until it is empty, arm, poll. It may
 * be another one after each arm: ask anew.
 *
 * Returns: (transfer none): the descriptor, or -1 if it is not connected
 *
 * Since: 0.1
 */
int
cuframes_subscriber_peek_fd (const CuframesSubscriber *subscriber)
{
  if (subscriber->connection == NULL)
    return -1;
  return subscriber->awaits_event ? subscriber->connection->fd : subscriber->connection->wake_fd;
}

static bool
has_anything (const CuframesSubscriber *subscriber)
{
  return cuframes_view_has_more (&subscriber->view) || has_news (subscriber);
}

/* Takes the wake-ups off the pipe. What they were written for is looked for after this, so that none is lost: frames are on the ring, but
 * a message may be one of which the ring says nothing. The end of the pipe is the publisher's. */
static void
quieten (CuframesSubscriber *subscriber)
{
  char bytes[64];
  bool is_message = false;
  ssize_t got;

  do {
    got = read (subscriber->connection->wake_fd, bytes, sizeof bytes);
    is_message |= got == (ssize_t) sizeof bytes || (got > 0 && memchr (bytes, CUFRAMES_WAKE_MESSAGE, (size_t) got) != NULL);
  } while (got == (ssize_t) sizeof bytes || (got < 0 && errno == EINTR));
  if (got == 0 || (got < 0 && errno != EAGAIN)) {
    hear (subscriber);
    hang_up (subscriber, 0);
  } else if (is_message || subscriber->view.control == NULL)
    hear (subscriber);
}

/**
 * cuframes_subscriber_arm:
 * @subscriber: a subscriber that has nothing left to take
 *
 * Asks the publisher to wake this subscriber. Takes earlier wake-ups off the descriptor, so that it is quiet until the next one.
 *
 * Returns: %CUFRAMES_E_EMPTY: it will, poll the descriptor; 0: something is there already; %CUFRAMES_E_ABSENT: it is not connected
 *
 * Since: 0.1
 */
int
cuframes_subscriber_arm (CuframesSubscriber *subscriber)
{
  const uint32_t pending_count = subscriber->pending.count;

  if (subscriber->connection == NULL)
    return CUFRAMES_E_ABSENT;
  if (subscriber->awaits_event)
    return CUFRAMES_E_EMPTY;
  quieten (subscriber);
  if (subscriber->gone || subscriber->bye != 0 || subscriber->pending.count != pending_count)
    return 0;
  if (subscriber->view.control == NULL)
    return CUFRAMES_E_EMPTY;
  /* SYNC sleep: seq_cst, then the head; pairs with cuframes_peer_wake(), which stores the head and then reads this word. */
  atomic_store_explicit (&subscriber->view.page->waiting, 1, memory_order_seq_cst);
  CUFRAMES_TESTPOINT ("subscriber/armed");
  if (!has_anything (subscriber))
    return CUFRAMES_E_EMPTY;
  /* relaxed: at worst it writes a byte that wakes for nothing */
  atomic_store_explicit (&subscriber->view.page->waiting, 0, memory_order_relaxed);
  return 0;
}

static bool
spin (const CuframesSubscriber *subscriber)
{
  uint64_t end;

  if (subscriber->view.control == NULL || subscriber->awaits_event || subscriber->config.spin_ns == 0)
    return false;
  end = cuframes_now_ns () + subscriber->config.spin_ns;
  do {
    for (uint32_t i = 0; i < SPIN_LOOKS; i++) {
      if (has_anything (subscriber))
        return true;
#if defined __x86_64__ || defined __i386__
      __builtin_ia32_pause ();
#endif
    }
  } while (cuframes_now_ns () < end);
  return false;
}

/* Sleeps until something may be there. 0 or as cuframes_poll(). */
static int
sleep_until (CuframesSubscriber *subscriber, uint64_t deadline_ns)
{
  const int fd = cuframes_subscriber_peek_fd (subscriber);
  const uint64_t event_deadline_ns = subscriber->awaits_event ? deadline_after (EVENT_NS) : CUFRAMES_NONE;
  const bool for_event = subscriber->awaits_event && event_deadline_ns < deadline_ns;
  short events = 0;
  int r = cuframes_poll (fd, POLLIN, subscriber->cancel_fd, for_event ? event_deadline_ns : deadline_ns, &events);

  if (r == CUFRAMES_E_TIMEOUT && for_event) {
    hang_up (subscriber, CUFRAMES_E_PEER);
    return 0;
  }
  if (r != 0)
    return r;
  pthread_mutex_lock (&subscriber->lock);
  subscriber->counters.wakeups++;
  pthread_mutex_unlock (&subscriber->lock);
  if (subscriber->awaits_event)
    return 0;
  if (events & POLLIN)
    return 0;
  hear (subscriber);
  hang_up (subscriber, 0);
  return 0;
}

/**
 * cuframes_subscriber_next:
 * @subscriber: a subscriber
 * @timeout_ns: how long to wait, %CUFRAMES_NONE for ever
 * @ret_item: (out): what comes next
 *
 * Takes what comes next, and waits for it.
 *
 * Returns: 0; %CUFRAMES_E_TIMEOUT; %CUFRAMES_E_CANCELLED; or as cuframes_subscriber_try_next(), but never %CUFRAMES_E_EMPTY
 *
 * Since: 0.1
 */
int
cuframes_subscriber_next (CuframesSubscriber *subscriber, uint64_t timeout_ns, CuframesItem *ret_item)
{
  const uint64_t deadline = timeout_ns == CUFRAMES_NONE ? CUFRAMES_NONE : deadline_after (timeout_ns);

  for (;;) {
    int r = cuframes_subscriber_try_next (subscriber, ret_item);
    if (r != CUFRAMES_E_EMPTY)
      return r;
    if (spin (subscriber) || cuframes_subscriber_arm (subscriber) == 0)
      continue;
    r = sleep_until (subscriber, deadline);
    if (r != 0)
      return r;
  }
}

/**
 * cuframes_subscriber_cancel:
 * @subscriber: a subscriber
 * @cancelled: whether waits end at once
 *
 * Ends the wait of another thread, and every further one until called with %false. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_subscriber_cancel (CuframesSubscriber *subscriber, bool cancelled)
{
  eventfd_t value;

  if (cancelled)
    eventfd_write (subscriber->cancel_fd, 1);
  else
    eventfd_read (subscriber->cancel_fd, &value);
}

/**
 * cuframes_subscriber_request_keyframe:
 * @subscriber: a subscriber
 * @all_headers: whether stream headers are wanted too
 *
 * Asks the publisher's producer for a key frame. Any thread.
 *
 * Returns: 0, %CUFRAMES_E_ABSENT if it is not connected, or as the socket answers
 *
 * Since: 0.1
 */
int
cuframes_subscriber_request_keyframe (CuframesSubscriber *subscriber, bool all_headers)
{
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_KEYFRAME,.keyframe_all_headers = all_headers };
  int r = CUFRAMES_E_ABSENT;

  pthread_mutex_lock (&subscriber->lock);
  if (subscriber->connection != NULL)
    r = cuframes_channel_send (subscriber->connection->fd, &message, NULL, 0);
  pthread_mutex_unlock (&subscriber->lock);
  return r;
}

/**
 * cuframes_subscriber_count_copy:
 * @subscriber: a subscriber
 *
 * Says that a frame was copied instead of being held, for the statistics on both sides.
 *
 * Since: 0.1
 */
void
cuframes_subscriber_count_copy (CuframesSubscriber *subscriber)
{
  pthread_mutex_lock (&subscriber->lock);
  subscriber->counters.copied++;
  pthread_mutex_unlock (&subscriber->lock);
  if (subscriber->view.control != NULL)
    /* relaxed: a counter */
    atomic_fetch_add_explicit (&subscriber->view.page->copied, 1, memory_order_relaxed);
}

/**
 * cuframes_subscriber_get_refusal:
 * @subscriber: a subscriber
 *
 * Returns: (transfer none): why the last connection was refused, in the publisher's words; good until the next one
 *
 * Since: 0.1
 */
const char *
cuframes_subscriber_get_refusal (const CuframesSubscriber *subscriber)
{
  return subscriber->refusal;
}

/**
 * cuframes_subscriber_was_refused_for_memory:
 * @subscriber: a subscriber
 *
 * Returns: whether the last connection was refused because the frames are in memory that this subscriber does not say it can map;
 * cuframes_subscriber_set_import() may change that
 *
 * Since: 0.1
 */
bool
cuframes_subscriber_was_refused_for_memory (const CuframesSubscriber *subscriber)
{
  return subscriber->refused_code == CUFRAMES_REFUSED_MEMORY;
}

/**
 * cuframes_subscriber_get_counters:
 * @subscriber: a subscriber
 * @ret_counters: (out): its counters. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_subscriber_get_counters (CuframesSubscriber *subscriber, CuframesSubscriberCounters *ret_counters)
{
  pthread_mutex_lock (&subscriber->lock);
  *ret_counters = subscriber->counters;
  pthread_mutex_unlock (&subscriber->lock);
}
