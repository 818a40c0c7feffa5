/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes next: frames or packets, formats and events in one order, and the wait for it. Frames and packets come from the ring without a
 * system call, messages from the socket, which is looked at only when the ring says that something is there. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>

#include "cuframes-subscriber-private.h"
#include "cuframes-util.h"

/* How long an event that a frame says was sent before it may take to come. A publisher may have been stopped meanwhile: it is left, not blamed. */
#define EVENT_NS 2000000000u
#define SPIN_LOOKS 64u
/* A page that changes without end, or a pipe that is filled without end, always has something new and never anything to take: the time is looked at
 * after so many turns. */
#define TURNS 64u

static int
take_event (CuframesSubscriber *subscriber)
{
  const CuframesEventMessage *event = &subscriber->inbox.message.event;

  if (event->serial != 0)
    subscriber->event_serial = event->serial;
  else if (subscriber->stickies_due > 0)
    subscriber->stickies_due--;
  subscriber->event_deadline_ns = cuframes_deadline_after (EVENT_NS);
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
      return CUFRAMES_E_CLOSED; /* nothing follows */
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
  lacks = lacks && !subscriber->gone && subscriber->bye == 0;
  if (lacks && !subscriber->awaits_event)
    subscriber->event_deadline_ns = cuframes_deadline_after (EVENT_NS);
  subscriber->awaits_event = lacks;
  return lacks;
}

static void
deliver_end (CuframesSubscriber *subscriber, CuframesItem *item)
{
  item->kind = CUFRAMES_ITEM_DISCONNECTED;
  item->bye = subscriber->bye;
  cuframes_subscriber_disconnect (subscriber);
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
  if (subscriber->view.control != NULL && subscriber->bye == 0) {
    /* relaxed: it may be seen late, the pipe wakes */
    subscriber->bye = atomic_load_explicit (&subscriber->view.page->bye, memory_order_relaxed);
    /* What was sent before it may have come after our look at the socket. */
    if (subscriber->bye != 0)
      hear (subscriber);
  }
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
      cuframes_subscriber_disconnect (subscriber);
    return r;
  }
  if ((r == 0 || r == CUFRAMES_E_EMPTY) && lacks_event (subscriber, r)) {
    if (cuframes_now_ns () < subscriber->event_deadline_ns)
      return CUFRAMES_E_EMPTY;
    deliver_end (subscriber, ret_item);
    return 0;
  }
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

/* Reads without waiting, whatever the publisher makes of the pipe: its open file is shared, so who made it may make it blocking at any time. */
static ssize_t
read_wake_ups (int fd, char *bytes, size_t byte_count)
{
  const struct iovec part = { bytes, byte_count };
  ssize_t got;

  do {
    got = vmsplice (fd, &part, 1, SPLICE_F_NONBLOCK);
    if (got < 0 && (errno == ENOSYS || errno == EPERM))         /* not let by a filter of system calls */
      got = read (fd, bytes, byte_count);
  } while (got < 0 && errno == EINTR);
  return got;
}

/* Takes the wake-ups off the pipe. What they were written for is looked for after this, so that none is lost: frames are on the ring, but
 * a message may be one of which the ring says nothing. The end of the pipe is the publisher's. More than a publisher leaves there is left for
 * the next time. */
static void
quieten (CuframesSubscriber *subscriber)
{
  char bytes[CUFRAMES_PAGE_BYTES];
  const ssize_t got = read_wake_ups (subscriber->connection->wake_fd, bytes, sizeof bytes);

  if (got == 0 || (got < 0 && errno != EAGAIN)) {
    hear (subscriber);
    hang_up (subscriber, 0);
  } else if (subscriber->view.control == NULL || (got > 0 && memchr (bytes, CUFRAMES_WAKE_MESSAGE, (size_t) got) != NULL))
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
  const bool for_event = subscriber->awaits_event && subscriber->event_deadline_ns < deadline_ns;
  short events = 0;
  int r = cuframes_poll (fd, POLLIN, subscriber->cancel_fd, for_event ? subscriber->event_deadline_ns : deadline_ns, &events);

  if (r == CUFRAMES_E_TIMEOUT && for_event)
    return 0;
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

/* Whether it is time to end though there is always something new. 0, CUFRAMES_E_TIMEOUT, CUFRAMES_E_CANCELLED or a negative errno. */
static int
look_up (const CuframesSubscriber *subscriber, uint64_t deadline_ns)
{
  const int r = cuframes_poll (-1, 0, subscriber->cancel_fd, 0, NULL);

  return r == CUFRAMES_E_TIMEOUT && cuframes_now_ns () < deadline_ns ? 0 : r;
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
  const uint64_t deadline = timeout_ns == CUFRAMES_NONE ? CUFRAMES_NONE : cuframes_deadline_after (timeout_ns);

  for (uint32_t turn = 1;; turn++) {
    int r = cuframes_subscriber_try_next (subscriber, ret_item);
    if (r != CUFRAMES_E_EMPTY)
      return r;
    r = spin (subscriber) || cuframes_subscriber_arm (subscriber) == 0 ? 0 : sleep_until (subscriber, deadline);
    if (r == 0 && turn % TURNS == 0)
      r = look_up (subscriber, deadline);
    if (r != 0)
      return r;
  }
}
