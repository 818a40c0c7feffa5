/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_SUBSCRIBER_H
#define CUFRAMES_SUBSCRIBER_H

#include <stdbool.h>

#include "cuframes-arena.h"
#include "cuframes-types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CuframesSubscriber:
 *
 * The receiving end of a channel. One thread at a time may call its functions; cuframes_subscriber_cancel(),
 * cuframes_subscriber_request_keyframe(), cuframes_subscriber_get_counters() and the functions of frames may be called from any thread.
 *
 * Since: 0.1
 */
typedef struct _CuframesSubscriber CuframesSubscriber;

/**
 * CuframesFrame:
 *
 * One leased frame: it does not change until it is released, whatever becomes of the publisher or the subscriber. Reference-counted.
 *
 * Since: 0.1
 */
typedef struct _CuframesFrame CuframesFrame;

/**
 * CuframesDelivery:
 * @CUFRAMES_DELIVERY_FIFO: every frame in order; what was overwritten meanwhile is counted as missed
 * @CUFRAMES_DELIVERY_LATEST: always the newest frame
 *
 * Which frame comes next. Packets come in order either way, and after an overrun from the newest key point on.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_DELIVERY_FIFO,
  CUFRAMES_DELIVERY_LATEST,
} CuframesDelivery;

/**
 * CuframesStart:
 * @CUFRAMES_START_LATEST: with the newest frame that is there, or the newest key point among packets
 * @CUFRAMES_START_NEXT: with the first frame or key point that is published from now on
 * @CUFRAMES_START_OLDEST: with the oldest frame or key point that is there
 *
 * Which frame or packet comes first. Headers directly before a key point come with it.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_START_LATEST,
  CUFRAMES_START_NEXT,
  CUFRAMES_START_OLDEST,
} CuframesStart;

/**
 * CuframesItemKind:
 * @CUFRAMES_ITEM_CONNECTED: the publisher let this subscriber in
 * @CUFRAMES_ITEM_FORMAT: a new generation: frames or packets have this format from now on
 * @CUFRAMES_ITEM_FRAME: a frame
 * @CUFRAMES_ITEM_EVENT: an event, in its place among the frames or packets
 * @CUFRAMES_ITEM_DISCONNECTED: the publisher has gone or has taken this subscriber off; `bye` says why, 0 if it died
 * @CUFRAMES_ITEM_PACKET: a packet, for cuframes_subscriber_take_packet()
 *
 * What cuframes_subscriber_next() found.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_ITEM_CONNECTED = 1,
  CUFRAMES_ITEM_FORMAT,
  CUFRAMES_ITEM_FRAME,
  CUFRAMES_ITEM_EVENT,
  CUFRAMES_ITEM_DISCONNECTED,
  CUFRAMES_ITEM_PACKET,
} CuframesItemKind;

/**
 * CuframesItem:
 * @kind: which of the others are set
 * @frame: (transfer full): the frame
 * @info: (transfer none): what is known of @frame; good as long as @frame
 * @packet_info: (transfer none): what is known of a packet; good until the next call of cuframes_subscriber_next()
 * @missed: frames or packets that were missed just before this one
 * @event_kind: #CuframesEventKind of an event
 * @bytes: (transfer none): the format or the event; good until the next call of cuframes_subscriber_next()
 * @byte_count: length of @bytes
 * @ring_kind: #CuframesRingKind of a format
 * @arena_info: (transfer none): memory of a format's frames or packets; good until the next call
 * @bye: #CuframesByeReason, 0 if the publisher died
 *
 * One thing that a channel brings, in its place among the others.
 *
 * Since: 0.1
 */
typedef struct
{
  CuframesItemKind kind;
  CuframesFrame *frame;
  const CuframesFrameInfo *info;
  const CuframesPacketInfo *packet_info;
  uint64_t missed;
  uint32_t event_kind;
  const void *bytes;
  size_t byte_count;
  uint32_t ring_kind;
  const CuframesArenaInfo *arena_info;
  uint32_t bye;
} CuframesItem;

/**
 * CuframesSubscriberConfig:
 * @socket_path: path of the socket, or `@name` for an abstract one; see cuframes_channel_path(). %NULL if connections come by
 * cuframes_subscriber_adopt() alone
 * @name: what to be called in the publisher's statistics, or %NULL for the program's name
 * @delivery: which frame comes next
 * @start: which frame comes first
 * @max_leases: most frames of one generation to hold at once, 0 for as many as the publisher allows, which is also the most
 * @lossless: under the publisher's policy "wait", ask it to wait for this subscriber
 * @spin_ns: how long to spin before sleeping, 0 not to
 * @import: imports arenas that are not host memory, which the library maps itself; or %NULL for host memory alone
 * @import_user_data: for @import
 * @memory_kinds: bit `1 << kind` of each #CuframesMemoryKind to take, host memory included if it is wanted; 0 for host memory alone
 * @device_uuids: the GPUs whose memory @import can map, %CUFRAMES_UUID_BYTES each, or %NULL
 * @device_count: how many, at most 16
 *
 * How a subscriber behaves. Copied by cuframes_subscriber_new(). Set it to zeros first.
 *
 * Since: 0.1
 */
typedef struct
{
  const char *socket_path;
  const char *name;
  CuframesDelivery delivery;
  CuframesStart start;
  uint32_t max_leases;
  bool lossless;
  uint64_t spin_ns;
  CuframesArenaImportFunction import;
  void *import_user_data;
  uint32_t memory_kinds;
  const uint8_t *device_uuids;
  uint32_t device_count;
} CuframesSubscriberConfig;

/**
 * CuframesSubscriberCounters:
 * @connected: 1 while connected
 * @generation: the ring of the newest format
 * @connections: times it was let in
 * @delivered: frames handed out, and packets taken
 * @missed: frames or packets that passed it by, up to the last that was handed out
 * @copied: frames that cuframes_subscriber_count_copy() was told of
 * @wakeups: times it slept and was woken
 * @leases_held: frames of the newest generation that were out when the last one was handed out, that one included
 * @max_leases: frames it may hold at once
 * @head: number of the newest frame of the channel when the last one was handed out
 * @cursor: number of the last frame handed out
 *
 * A subscriber's own counters. They run free over all connections.
 *
 * Since: 0.1
 */
typedef struct
{
  uint32_t connected;
  uint32_t generation;
  uint64_t connections;
  uint64_t delivered;
  uint64_t missed;
  uint64_t copied;
  uint64_t wakeups;
  uint32_t leases_held;
  uint32_t max_leases;
  uint64_t head;
  uint64_t cursor;
} CuframesSubscriberCounters;

CUFRAMES_API int cuframes_subscriber_new (const CuframesSubscriberConfig * config, CuframesSubscriber ** ret_subscriber);
CUFRAMES_API CuframesSubscriber *cuframes_subscriber_free (CuframesSubscriber * subscriber);
CUFRAMES_API int cuframes_subscriber_set_import (CuframesSubscriber * subscriber, CuframesArenaImportFunction import, void *user_data,
    uint32_t memory_kinds, const uint8_t * device_uuids, uint32_t device_count);
CUFRAMES_API int cuframes_subscriber_connect (CuframesSubscriber * subscriber, uint64_t timeout_ns);
CUFRAMES_API int cuframes_subscriber_adopt (CuframesSubscriber * subscriber, int take_fd, uint64_t timeout_ns);
CUFRAMES_API int cuframes_subscriber_next (CuframesSubscriber * subscriber, uint64_t timeout_ns, CuframesItem * ret_item);
CUFRAMES_API int cuframes_subscriber_try_next (CuframesSubscriber * subscriber, CuframesItem * ret_item);
CUFRAMES_API int cuframes_subscriber_take_packet (CuframesSubscriber * subscriber, void *data, void *metas);
CUFRAMES_API bool cuframes_subscriber_is_syncing (CuframesSubscriber * subscriber);
CUFRAMES_API int cuframes_subscriber_peek_fd (const CuframesSubscriber * subscriber);
CUFRAMES_API int cuframes_subscriber_arm (CuframesSubscriber * subscriber);
CUFRAMES_API void cuframes_subscriber_cancel (CuframesSubscriber * subscriber, bool cancelled);
CUFRAMES_API int cuframes_subscriber_request_keyframe (CuframesSubscriber * subscriber, bool all_headers);
CUFRAMES_API void cuframes_subscriber_count_copy (CuframesSubscriber * subscriber);
CUFRAMES_API const char *cuframes_subscriber_get_refusal (const CuframesSubscriber * subscriber);
CUFRAMES_API bool cuframes_subscriber_was_refused_for_memory (const CuframesSubscriber * subscriber);
CUFRAMES_API void cuframes_subscriber_get_counters (CuframesSubscriber * subscriber, CuframesSubscriberCounters * ret_counters);

CUFRAMES_API CuframesFrame *cuframes_frame_ref (CuframesFrame * frame);
CUFRAMES_API CuframesFrame *cuframes_frame_unref (CuframesFrame * frame);
CUFRAMES_API const CuframesFrameInfo *cuframes_frame_get_info (const CuframesFrame * frame);
CUFRAMES_API bool cuframes_frame_is_complete (const CuframesFrame * frame);
CUFRAMES_API bool cuframes_frame_is_orphaned (const CuframesFrame * frame);
CUFRAMES_API uint64_t cuframes_frame_get_address (const CuframesFrame * frame);
CUFRAMES_API const void *cuframes_frame_get_metas (const CuframesFrame * frame);
CUFRAMES_API CuframesArena *cuframes_frame_peek_arena (const CuframesFrame * frame);
CUFRAMES_API uint64_t cuframes_frame_get_offset (const CuframesFrame * frame);

#ifdef __cplusplus
}
#endif
#endif
