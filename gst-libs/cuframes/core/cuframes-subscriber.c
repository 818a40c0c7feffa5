/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The subscriber as the application calls it: its life, its connection, its counters. What comes over the channel, in which order, and the wait
 * for it are in cuframes-subscriber-next.c. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "cuframes-subscriber-private.h"
#include "cuframes-util.h"

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
void
cuframes_subscriber_disconnect (CuframesSubscriber *subscriber)
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
 * Leaves the channel. Frames that are out stay good until they are given back. In a child that was forked it frees the child's copy alone; a copy
 * in which a thread of the parent was at work at the fork cannot be freed, and stays until the child ends or calls exec.
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
  cuframes_subscriber_disconnect (subscriber);
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
  r = cuframes_connection_open (subscriber->config.socket_path, &subscriber->hello, cuframes_deadline_after (timeout_ns), subscriber->cancel_fd,
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
  r = cuframes_connection_finish (subscriber->adopted, cuframes_deadline_after (timeout_ns), subscriber->cancel_fd, &subscriber->inbox);
  if (r == CUFRAMES_E_TIMEOUT || r == CUFRAMES_E_CANCELLED)
    return r;
  connection = cuframes_steal (&subscriber->adopted);
  if (r != 0)
    cuframes_connection_unref (connection);
  return settle (subscriber, r, connection);
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
