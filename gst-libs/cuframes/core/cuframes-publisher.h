/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_PUBLISHER_H
#define CUFRAMES_PUBLISHER_H

#include <stdbool.h>
#include <sys/uio.h>

#include "cuframes-arena.h"
#include "cuframes-types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CuframesPublisher:
 *
 * The publishing end of a channel: a socket on which subscribers are let in, served by a thread of its own, and the ring
 * that they read. Every function may be called from any thread unless it says otherwise; none waits for a subscriber unless
 * it says so.
 *
 * Since: 0.1
 */
typedef struct _CuframesPublisher CuframesPublisher;

/**
 * CuframesRing:
 *
 * One generation of a channel's ring as its publisher holds it: the arena, the pages and, of a ring of frames, who uses which slot.
 * Reference-counted; it may outlive the publisher, so that memory which refers to a slot stays good.
 *
 * Since: 0.1
 */
typedef struct _CuframesRing CuframesRing;

/**
 * CuframesOverflow:
 * @CUFRAMES_OVERFLOW_DROP: drop the new frame
 * @CUFRAMES_OVERFLOW_WAIT: wait for room, and for subscribers that read every frame in order, up to a time
 * @CUFRAMES_OVERFLOW_EVICT: take the subscriber that holds the oldest frame off the channel
 *
 * What to do when no slot is free for the next frame.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_OVERFLOW_DROP,
  CUFRAMES_OVERFLOW_WAIT,
  CUFRAMES_OVERFLOW_EVICT,
} CuframesOverflow;

/**
 * CuframesPublisherCallbacks:
 * @subscriber_added: a subscriber has been let in
 * @subscriber_removed: it has gone and holds nothing any more
 * @keyframe_wanted: a subscriber asks for a key frame; @all_headers asks for stream headers too
 * @log: something happened that a developer may want to read; any thread, and it must not call the publisher
 *
 * What the publisher tells. All but @log are called on its own thread with no lock held and may call every function of the publisher
 * but cuframes_publisher_free(). Each may be %NULL.
 *
 * Since: 0.1
 */
typedef struct
{
  void (*subscriber_added) (void *user_data, const CuframesSubscriberStats * subscriber);
  void (*subscriber_removed) (void *user_data, const CuframesSubscriberStats * subscriber);
  void (*keyframe_wanted) (void *user_data, bool all_headers);
  void (*log) (void *user_data, const char *text);
} CuframesPublisherCallbacks;

/**
 * CuframesPublisherConfig:
 * @socket_path: path of the socket, or `@name` for an abstract one; see cuframes_channel_path(). %NULL to listen nowhere and serve those
 * connections alone that cuframes_publisher_adopt() is given
 * @socket_mode: permissions of the socket's file, 0 for 0600; for an abstract socket, which has no file, the publisher goes by them itself
 * @max_subscribers: most subscribers at once, 0 for 64
 * @max_leases: slots that one subscriber may hold at once, 0 for 4
 * @overflow: what to do when no slot is free
 * @overflow_timeout_ns: how long %CUFRAMES_OVERFLOW_WAIT waits for one frame, 0 not at all
 * @first_sequence: number before that of the first frame; for tests
 * @allow_uids: users that may subscribe besides the publisher's own and root, or %NULL for everybody whom the socket's mode lets in
 * @allow_uid_count: length of @allow_uids
 * @allow_gids: groups, likewise; it is the subscriber's effective group that counts, not its further ones
 * @allow_gid_count: length of @allow_gids
 * @callbacks: what to call, or %NULL
 * @user_data: for the callbacks
 *
 * How a publisher behaves. Everything is copied by cuframes_publisher_new(). Set it to zeros first.
 *
 * Since: 0.1
 */
typedef struct
{
  const char *socket_path;
  uint32_t socket_mode;
  uint32_t max_subscribers;
  uint32_t max_leases;
  CuframesOverflow overflow;
  uint64_t overflow_timeout_ns;
  uint64_t first_sequence;
  const uint32_t *allow_uids;
  uint32_t allow_uid_count;
  const uint32_t *allow_gids;
  uint32_t allow_gid_count;
  const CuframesPublisherCallbacks *callbacks;
  void *user_data;
} CuframesPublisherConfig;

/**
 * CuframesRingConfig:
 * @arena: (transfer none): memory of the slots; the ring takes a reference
 * @data_offset_bytes: where the first slot starts in the arena
 * @slot_bytes: distance of two slots
 * @slot_count: slots, @reserve_count included; %CUFRAMES_SLOTS_MIN to %CUFRAMES_SLOTS_MAX
 * @reserve_count: slots that stay the publisher's own, as many as the producer writes at a time; at least 1, less than @slot_count
 * @meta_bytes: room for serialised metas beside each slot, 4 MiB at most; 0 for the default of 1088 KiB
 * @fence_offset_bytes: where the fence words start in the arena, or %CUFRAMES_NONE
 * @format: description of the frames, for GStreamer serialised caps, or caps as text with a 0 at the end, such as
 * "video/x-raw, format=(string)NV12, width=(int)640, height=(int)480, framerate=(fraction)30/1"
 * @format_bytes: length of @format, at most %CUFRAMES_FORMAT_BYTES_MAX
 *
 * A new generation.
 *
 * Since: 0.1
 */
typedef struct
{
  CuframesArena *arena;
  uint64_t data_offset_bytes;
  uint64_t slot_bytes;
  uint32_t slot_count;
  uint32_t reserve_count;
  uint64_t meta_bytes;
  uint64_t fence_offset_bytes;
  const void *format;
  uint32_t format_bytes;
} CuframesRingConfig;

/**
 * CuframesPacketRingConfig:
 * @index_size: packets that the ring has room for, rounded up to a power of two; at most 2^20, 0 for 8192
 * @data_bytes: bytes of packets and their metas that it has room for, rounded up to a power of two; at most 4 GiB, 0 for 32 MiB
 * @format: description of the packets, for GStreamer serialised caps
 * @format_bytes: length of @format, at most %CUFRAMES_FORMAT_BYTES_MAX
 *
 * A new generation that holds packets. Set it to zeros first.
 *
 * Since: 0.1
 */
typedef struct
{
  uint32_t index_size;
  uint64_t data_bytes;
  const void *format;
  uint32_t format_bytes;
} CuframesPacketRingConfig;

/* cuframes-address: where channels live */
CUFRAMES_API int cuframes_channel_directory (char *path, size_t path_bytes);
CUFRAMES_API int cuframes_channel_path (const char *channel, char *path, size_t path_bytes);

/* The publisher */
CUFRAMES_API int cuframes_publisher_new (const CuframesPublisherConfig * config, CuframesPublisher ** ret_publisher);
CUFRAMES_API CuframesPublisher *cuframes_publisher_free (CuframesPublisher * publisher);
CUFRAMES_API int cuframes_publisher_adopt (CuframesPublisher * publisher, int take_fd);
CUFRAMES_API int cuframes_publisher_start_ring (CuframesPublisher * publisher, const CuframesRingConfig * config, CuframesRing ** ret_ring);
CUFRAMES_API int cuframes_publisher_announce_ring (CuframesPublisher * publisher, CuframesRing * ring);
CUFRAMES_API int cuframes_publisher_publish (CuframesPublisher * publisher, CuframesRing * ring, uint32_t slot, const CuframesFrameInfo * info,
    uint64_t * ret_sequence);
CUFRAMES_API int cuframes_publisher_publish_packet (CuframesPublisher * publisher, CuframesRing * ring, const CuframesPacketInfo * info,
    const struct iovec *pieces, uint32_t piece_count, const void *metas, uint64_t * ret_sequence);
CUFRAMES_API int cuframes_publisher_claim (CuframesPublisher * publisher, CuframesRing * ring, uint32_t * ret_slot);
CUFRAMES_API void cuframes_publisher_count_drop (CuframesPublisher * publisher);
CUFRAMES_API int cuframes_publisher_send_event (CuframesPublisher * publisher, CuframesEventKind kind, uint64_t sticky_key, const void *bytes,
    size_t byte_count);
CUFRAMES_API void cuframes_publisher_forget_events (CuframesPublisher * publisher);
CUFRAMES_API int cuframes_publisher_evict (CuframesPublisher * publisher, uint32_t subscriber_id);
CUFRAMES_API int cuframes_publisher_wait_subscribers (CuframesPublisher * publisher, uint32_t count, uint64_t timeout_ns);
CUFRAMES_API void cuframes_publisher_set_flushing (CuframesPublisher * publisher, bool flushing);
CUFRAMES_API void cuframes_publisher_get_stats (CuframesPublisher * publisher, CuframesPublisherStats * ret_stats);
CUFRAMES_API uint32_t cuframes_publisher_get_subscribers (CuframesPublisher * publisher, CuframesSubscriberStats * ret_subscribers, uint32_t capacity);

/* Its ring */
CUFRAMES_API int cuframes_ring_new (const CuframesRingConfig * config, CuframesRing ** ret_ring);
CUFRAMES_API int cuframes_ring_new_packets (const CuframesPacketRingConfig * config, CuframesRing ** ret_ring);
CUFRAMES_API CuframesRing *cuframes_ring_ref (CuframesRing * ring);
CUFRAMES_API CuframesRing *cuframes_ring_unref (CuframesRing * ring);
CUFRAMES_API int cuframes_ring_claim (CuframesRing * ring, uint64_t timeout_ns, uint32_t * ret_slot);
CUFRAMES_API void cuframes_ring_release (CuframesRing * ring, uint32_t slot);
CUFRAMES_API void cuframes_ring_set_flushing (CuframesRing * ring, bool flushing);
CUFRAMES_API bool cuframes_ring_is_claimed (CuframesRing * ring, uint32_t slot);
CUFRAMES_API uint64_t cuframes_ring_get_slot_address (const CuframesRing * ring, uint32_t slot);
CUFRAMES_API void *cuframes_ring_get_slot_metas (const CuframesRing * ring, uint32_t slot, uint64_t * ret_capacity_bytes);
CUFRAMES_API uint64_t cuframes_ring_get_slot_bytes (const CuframesRing * ring);
CUFRAMES_API uint32_t cuframes_ring_get_generation (const CuframesRing * ring);
CUFRAMES_API CuframesRingKind cuframes_ring_get_kind (const CuframesRing * ring);
CUFRAMES_API uint64_t cuframes_ring_get_packet_limit (const CuframesRing * ring);
CUFRAMES_API const void *cuframes_ring_peek_format (const CuframesRing * ring, uint32_t * ret_byte_count);
CUFRAMES_API CuframesArena *cuframes_ring_peek_arena (const CuframesRing * ring);

#ifdef __cplusplus
}
#endif
#endif
