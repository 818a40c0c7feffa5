/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking on: asks a publisher for its statistics, once or as often as one likes. An observer is never handed a ring and so can hold
 * nothing. */
#define _GNU_SOURCE
#include "cuframes-observer.h"

#include <poll.h>
#include <stdio.h>

#include "cuframes-connection.h"
#include "cuframes-fork-guard.h"
#include "cuframes-listener.h"
#include "cuframes-util.h"

struct _CuframesObserver
{
  int fd;
  uint32_t pid;
  bool welcome;
  const void *format;           /* in the inbox, until the next message */
  uint32_t format_bytes;
  char refusal[CUFRAMES_TEXT_BYTES];
  CuframesInbox inbox;
};

static CuframesHello
make_hello (void)
{
  CuframesHello hello = {.version_min = CUFRAMES_WIRE_VERSION,.version_max = CUFRAMES_WIRE_VERSION,.role = CUFRAMES_ROLE_OBSERVER };

  snprintf (hello.name, sizeof hello.name, "%s", program_invocation_short_name);
  return hello;
}

static void
read_stats (const CuframesStatsMessage *message, CuframesPublisherStats *ret_stats, CuframesSubscriberStats *ret_subscribers, uint32_t capacity,
    uint32_t *ret_count)
{
  *ret_stats = message->publisher;
  *ret_count = message->count < capacity ? message->count : capacity;
  for (uint32_t i = 0; i < *ret_count; i++)
    cuframes_wire_get_subscriber_stats (message, i, &ret_subscribers[i]);
}

static int
ask (int fd, uint64_t deadline_ns, CuframesInbox *inbox)
{
  const CuframesMessage question = {.type = CUFRAMES_MESSAGE_ASK_STATS };
  int r = cuframes_channel_send (fd, &question, NULL, 0);

  while (r == 0) {
    r = cuframes_channel_receive (fd, inbox);
    if (r == CUFRAMES_E_EMPTY)
      r = cuframes_poll (fd, POLLIN, -1, deadline_ns, NULL);
    else if (r == 0)
      return inbox->message.type == CUFRAMES_MESSAGE_STATS ? 0 : CUFRAMES_E_PEER;
  }
  return r;
}

static int
observe (const char *socket_path, uint64_t deadline_ns, CuframesInbox *inbox)
{
  const CuframesHello hello = make_hello ();
  CuframesConnection *connection = NULL;
  CUFRAMES_AUTO_CLOSE int watch_fd = -1;
  int r;

  r = cuframes_connection_open (socket_path, &hello, deadline_ns, -1, &watch_fd, inbox, &connection);
  if (r == 0)
    r = ask (connection->fd, deadline_ns, inbox);
  cuframes_connection_unref (connection);
  return r;
}

/**
 * cuframes_observe:
 * @socket_path: path of the channel's socket, or `@name`
 * @timeout_ns: how long to wait for the publisher to be there and answer, %CUFRAMES_NONE for ever
 * @ret_stats: (out): its counters
 * @ret_subscribers: (out) (array length=capacity) (nullable): its subscribers and those who look on, this call's own included; %NULL with
 *   a @capacity of 0
 * @capacity: room in @ret_subscribers
 * @ret_count: (out): how many were written
 *
 * Asks a publisher how it fares. It costs the publisher two messages, and no subscriber's place. Any thread.
 *
 * Returns: 0; %CUFRAMES_E_CLOSED if the publisher went meanwhile; or as cuframes_subscriber_connect(); then nothing is written
 *
 * Since: 0.1
 */
int
cuframes_observe (const char *socket_path, uint64_t timeout_ns, CuframesPublisherStats *ret_stats, CuframesSubscriberStats *ret_subscribers,
    uint32_t capacity, uint32_t *ret_count)
{
  const uint64_t now = cuframes_now_ns ();
  CuframesInbox inbox;
  int r = cuframes_inbox_init (&inbox);

  if (r == 0)
    r = observe (socket_path, timeout_ns > CUFRAMES_NONE - now ? CUFRAMES_NONE : now + timeout_ns, &inbox);
  if (r == 0)
    read_stats (&inbox.message.stats, ret_stats, ret_subscribers, capacity, ret_count);
  cuframes_inbox_clear (&inbox);
  return r;
}

/* Both messages are queued at once: the publisher answers when it gets to it. One that refuses may be gone before the second, and what it said
 * waits to be received. */
static int
introduce (CuframesObserver *observer)
{
  const CuframesMessage message = {.type = CUFRAMES_MESSAGE_HELLO,.hello = make_hello () };
  CuframesPeerIdentity identity;
  int r = cuframes_fork_guard_add (observer->fd);

  if (r == 0)
    r = cuframes_listener_identify (observer->fd, &identity);
  if (r == 0) {
    observer->pid = (uint32_t) identity.pid;
    r = cuframes_channel_send (observer->fd, &message, NULL, 0);
  }
  if (r == 0)
    r = cuframes_observer_ask (observer);
  return r == CUFRAMES_E_CLOSED ? 0 : r;
}

/**
 * cuframes_observer_new:
 * @socket_path: path of the channel's socket, or `@name`
 * @ret_observer: (out) (transfer full): the observer
 *
 * Starts to look on at a channel and asks for the statistics, which cuframes_observer_receive() brings once the publisher has answered.
 * It takes no subscriber's place.
 *
 * Returns: 0; %CUFRAMES_E_ABSENT if nobody publishes there; %CUFRAMES_E_FULL if too many wait to be let in; or a negative errno, as
 * -EACCES. Then @ret_observer is unchanged
 *
 * Since: 0.1
 */
int
cuframes_observer_new (const char *socket_path, CuframesObserver **ret_observer)
{
  CuframesObserver *observer = calloc (1, sizeof *observer);
  int r;

  if (observer == NULL)
    return -ENOMEM;
  observer->fd = -1;
  r = cuframes_inbox_init (&observer->inbox);
  if (r == 0)
    r = cuframes_connection_dial (socket_path, &observer->fd);
  if (r == 0)
    r = introduce (observer);
  if (r != 0) {
    cuframes_observer_free (observer);
    return r;
  }
  *ret_observer = observer;
  return 0;
}

/**
 * cuframes_observer_free:
 * @observer: (transfer full) (nullable): an observer
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesObserver *
cuframes_observer_free (CuframesObserver *observer)
{
  if (observer == NULL)
    return NULL;
  if (observer->fd >= 0)
    cuframes_fork_guard_remove (observer->fd);
  observer->fd = cuframes_close (observer->fd);
  cuframes_inbox_clear (&observer->inbox);
  free (observer);
  return NULL;
}

/**
 * cuframes_observer_peek_fd:
 * @observer: an observer
 *
 * Returns: (transfer none): a descriptor that is readable when cuframes_observer_receive() has something, the publisher's end included
 *
 * Since: 0.1
 */
int
cuframes_observer_peek_fd (const CuframesObserver *observer)
{
  return observer->fd;
}

/**
 * cuframes_observer_ask:
 * @observer: an observer
 *
 * Asks for the statistics as they are now. It costs the publisher two messages.
 *
 * Returns: 0; %CUFRAMES_E_FULL if it has left too many questions unanswered; %CUFRAMES_E_CLOSED if it has gone; or a negative errno
 *
 * Since: 0.1
 */
int
cuframes_observer_ask (CuframesObserver *observer)
{
  const CuframesMessage question = {.type = CUFRAMES_MESSAGE_ASK_STATS };

  return cuframes_channel_send (observer->fd, &question, NULL, 0);
}

/**
 * cuframes_observer_receive:
 * @observer: an observer
 * @ret_stats: (out): the publisher's counters
 * @ret_subscribers: (out) (array length=capacity) (nullable): its subscribers and those who look on, this one included; %NULL with a
 *   @capacity of 0
 * @capacity: room in @ret_subscribers
 * @ret_count: (out): how many were written
 *
 * Takes the next statistics: an answer, or what a publisher sends unasked when a new generation begins.
 *
 * Returns: 0; %CUFRAMES_E_EMPTY if nothing is there yet; %CUFRAMES_E_REFUSED if the publisher says no, and cuframes_observer_get_refusal()
 * why; %CUFRAMES_E_CLOSED if it has gone; %CUFRAMES_E_PEER if it broke the protocol; or a negative errno. On all but the first two the observer
 * is of no more use; nothing is written then
 *
 * Since: 0.1
 */
int
cuframes_observer_receive (CuframesObserver *observer, CuframesPublisherStats *ret_stats, CuframesSubscriberStats *ret_subscribers,
    uint32_t capacity, uint32_t *ret_count)
{
  const CuframesMessage *message = &observer->inbox.message;

  for (;;) {
    const int r = cuframes_channel_receive (observer->fd, &observer->inbox);
    observer->format = NULL;
    observer->format_bytes = 0;
    if (r != 0)
      return r;
    if (message->type == CUFRAMES_MESSAGE_WELCOME && !observer->welcome)
      observer->welcome = true;
    else if (message->type == CUFRAMES_MESSAGE_REFUSED && !observer->welcome) {
      snprintf (observer->refusal, sizeof observer->refusal, "%s", message->refused.text);
      return CUFRAMES_E_REFUSED;
    } else if (message->type == CUFRAMES_MESSAGE_STATS && observer->welcome) {
      read_stats (&message->stats, ret_stats, ret_subscribers, capacity, ret_count);
      observer->format = message->stats.format;
      observer->format_bytes = message->stats.format_bytes;
      return 0;
    } else
      return message->type == CUFRAMES_MESSAGE_BYE ? CUFRAMES_E_CLOSED : CUFRAMES_E_PEER;
  }
}

/**
 * cuframes_observer_peek_format:
 * @observer: an observer
 * @ret_byte_count: (out): length of the format
 *
 * The format of the frames as the last statistics told it; for GStreamer serialised caps.
 *
 * Returns: (transfer none) (nullable): the format, good until the next cuframes_observer_receive(); %NULL if there is none yet or it is
 * longer than 32 KiB
 *
 * Since: 0.1
 */
const void *
cuframes_observer_peek_format (const CuframesObserver *observer, uint32_t *ret_byte_count)
{
  *ret_byte_count = observer->format_bytes;
  return observer->format_bytes > 0 ? observer->format : NULL;
}

/**
 * cuframes_observer_get_refusal:
 * @observer: an observer
 *
 * Returns: why the publisher said no, in its words; empty if it did not
 *
 * Since: 0.1
 */
const char *
cuframes_observer_get_refusal (const CuframesObserver *observer)
{
  return observer->refusal;
}

/**
 * cuframes_observer_get_pid:
 * @observer: an observer
 *
 * Returns: the process that opened the channel, by the kernel's word; 0 if it cannot be seen from this PID namespace
 *
 * Since: 0.1
 */
uint32_t
cuframes_observer_get_pid (const CuframesObserver *observer)
{
  return observer->pid;
}
