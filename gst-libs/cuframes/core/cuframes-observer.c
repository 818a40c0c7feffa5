/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking on: asks a publisher for its statistics and leaves. An observer is never handed a ring and so can hold nothing. */
#define _GNU_SOURCE
#include <poll.h>
#include <stdio.h>

#include "cuframes-connection.h"
#include "cuframes-subscriber.h"
#include "cuframes-util.h"

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
  CuframesHello hello = {.version_min = CUFRAMES_WIRE_VERSION,.version_max = CUFRAMES_WIRE_VERSION,.role = CUFRAMES_ROLE_OBSERVER };
  CuframesConnection *connection = NULL;
  int r;

  snprintf (hello.name, sizeof hello.name, "%s", program_invocation_short_name);
  r = cuframes_connection_open (socket_path, &hello, deadline_ns, -1, inbox, &connection);
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
  if (r == 0) {
    const CuframesStatsMessage *stats = &inbox.message.stats;
    *ret_stats = stats->publisher;
    *ret_count = stats->count < capacity ? stats->count : capacity;
    for (uint32_t i = 0; i < *ret_count; i++)
      cuframes_wire_get_subscriber_stats (stats, i, &ret_subscribers[i]);
  }
  cuframes_inbox_clear (&inbox);
  return r;
}
