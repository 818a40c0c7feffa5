/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_TYPES_H
#define CUFRAMES_TYPES_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined __GNUC__
#define CUFRAMES_API extern __attribute__ ((visibility ("default")))
#else
#define CUFRAMES_API extern
#endif

/**
 * CUFRAMES_NONE:
 *
 * The time, offset or size that is not known. Equal to GST_CLOCK_TIME_NONE.
 *
 * Since: 0.1
 */
#define CUFRAMES_NONE UINT64_MAX

/** CUFRAMES_PLANES_MAX: planes of a frame. Since: 0.1 */
#define CUFRAMES_PLANES_MAX 4
/** CUFRAMES_SLOTS_MIN: fewest slots of a ring. Since: 0.1 */
#define CUFRAMES_SLOTS_MIN 2
/** CUFRAMES_SLOTS_MAX: most slots of a ring; one bit each in a lease word. Since: 0.1 */
#define CUFRAMES_SLOTS_MAX 64
/** CUFRAMES_SUBSCRIBERS_MAX: most subscribers a publisher can be told to take. Since: 0.1 */
#define CUFRAMES_SUBSCRIBERS_MAX 1024
/** CUFRAMES_FORMAT_BYTES_MAX: longest description of a format (caps). Since: 0.1 */
#define CUFRAMES_FORMAT_BYTES_MAX (96u * 1024u)
/** CUFRAMES_EVENT_BYTES_MAX: longest event. Since: 0.1 */
#define CUFRAMES_EVENT_BYTES_MAX (16u * 1024u * 1024u)
/** CUFRAMES_NAME_BYTES: room for a program's name, its 0 included. Since: 0.1 */
#define CUFRAMES_NAME_BYTES 32
/** CUFRAMES_TEXT_BYTES: room for a sentence for the user, its 0 included. Since: 0.1 */
#define CUFRAMES_TEXT_BYTES 256
/** CUFRAMES_SOCKET_PATH_BYTES: room for the path of a socket, its 0 included; the publisher needs one byte for itself. Since: 0.1 */
#define CUFRAMES_SOCKET_PATH_BYTES 107
/** CUFRAMES_UUID_BYTES: bytes of a GPU's UUID. Since: 0.1 */
#define CUFRAMES_UUID_BYTES 16

/**
 * CuframesCondition:
 * @CUFRAMES_E_EMPTY: nothing there yet
 * @CUFRAMES_E_FULL: no slot, subscriber or room is free
 * @CUFRAMES_E_OVERRUN: the publisher passed the subscriber
 * @CUFRAMES_E_TIMEOUT: the time given is over
 * @CUFRAMES_E_CANCELLED: another thread cancelled the wait
 * @CUFRAMES_E_CLOSED: the peer has closed the connection
 * @CUFRAMES_E_REFUSED: the peer says no; a text says why
 * @CUFRAMES_E_ABSENT: there is no such channel, event or feature now
 * @CUFRAMES_E_PEER: the peer broke the protocol
 * @CUFRAMES_E_HELD: the thing is in use
 *
 * Positive results of the library's functions: conditions that the direct caller handles. 0 is success, a negative
 * value a negated errno.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_E_EMPTY = 1,
  CUFRAMES_E_FULL,
  CUFRAMES_E_OVERRUN,
  CUFRAMES_E_TIMEOUT,
  CUFRAMES_E_CANCELLED,
  CUFRAMES_E_CLOSED,
  CUFRAMES_E_REFUSED,
  CUFRAMES_E_ABSENT,
  CUFRAMES_E_PEER,
  CUFRAMES_E_HELD,
} CuframesCondition;

/**
 * CuframesMemoryKind:
 * @CUFRAMES_MEMORY_HOST: a memfd
 * @CUFRAMES_MEMORY_CUDA: an allocation of the CUDA virtual memory API
 *
 * What an arena is made of.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_MEMORY_HOST = 1,
  CUFRAMES_MEMORY_CUDA = 2,
} CuframesMemoryKind;

/**
 * CuframesRingKind:
 * @CUFRAMES_RING_FRAMES: slots of one size, read in place
 * @CUFRAMES_RING_PACKETS: packets of any size with key points, copied by who reads them
 *
 * What a ring holds.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_RING_FRAMES = 1,
  CUFRAMES_RING_PACKETS = 2,
} CuframesRingKind;

/**
 * CuframesEventKind:
 * @CUFRAMES_EVENT_EOS: no more frames; the channel stays open
 * @CUFRAMES_EVENT_LATENCY: the publisher's latency in ns, 8 bytes little-endian
 * @CUFRAMES_EVENT_GST: a serialised GstEvent, opaque to this library
 *
 * What an event carries. A subscriber passes over kinds that it does not know.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_EVENT_EOS = 1,
  CUFRAMES_EVENT_LATENCY = 2,
  CUFRAMES_EVENT_GST = 3,
} CuframesEventKind;

/**
 * CuframesByeReason:
 * @CUFRAMES_BYE_SHUTDOWN: the sender ends
 * @CUFRAMES_BYE_EVICTED: the publisher's overflow policy or its user took this subscriber off the channel
 * @CUFRAMES_BYE_STALLED: the subscriber left too many messages unread
 * @CUFRAMES_BYE_PROTOCOL: the receiver broke the protocol
 * @CUFRAMES_BYE_MEMORY: the frames are in memory from now on that the receiver did not say it can map
 *
 * Why a connection ends.
 *
 * Since: 0.1
 */
typedef enum
{
  CUFRAMES_BYE_SHUTDOWN = 1,
  CUFRAMES_BYE_EVICTED = 2,
  CUFRAMES_BYE_STALLED = 3,
  CUFRAMES_BYE_PROTOCOL = 4,
  CUFRAMES_BYE_MEMORY = 5,
} CuframesByeReason;

/** CUFRAMES_FRAME_COPIED: the publisher copied this frame into its slot. Since: 0.1 */
#define CUFRAMES_FRAME_COPIED (1u << 0)
/** CUFRAMES_FRAME_FENCED: the data is complete once the fence @fence_value is reached. Since: 0.1 */
#define CUFRAMES_FRAME_FENCED (1u << 1)
/** CUFRAMES_FRAME_MIRRORED: the GPU writes the fence to the control pages too, see cuframes_frame_is_complete(). Since: 0.1 */
#define CUFRAMES_FRAME_MIRRORED (1u << 2)

/**
 * CuframesFrameInfo:
 * @sequence: number of the frame in its channel, counted from the publisher's first; set by the ring
 * @publish_ns: CLOCK_MONOTONIC when the frame was announced; set by the publisher
 * @event_serial: events that were sent before this frame; set by the publisher
 * @moment_ns: CLOCK_MONOTONIC at which the frame is due, or %CUFRAMES_NONE
 * @pts_ns: presentation time stamp, or %CUFRAMES_NONE
 * @dts_ns: decoding time stamp, or %CUFRAMES_NONE
 * @duration_ns: duration, or %CUFRAMES_NONE
 * @offset: media-specific offset, or %CUFRAMES_NONE
 * @offset_end: media-specific end offset, or %CUFRAMES_NONE
 * @fence_value: with %CUFRAMES_FRAME_FENCED the frame's fence, see cuframes_arena_cuda_fence()
 * @size_bytes: bytes of data from the start of the slot
 * @plane_offset_bytes: where each plane starts in the slot
 * @plane_stride_bytes: distance of two lines of each plane
 * @plane_count: planes of the frame, 0 if the data is no picture
 * @flags: CUFRAMES_FRAME_* bits
 * @buffer_flags: the GstBufferFlags of the frame, as they are
 * @meta_bytes: bytes of serialised metas that lie beside the slot
 * @format: GstVideoFormat of the frame, 0 if not known
 * @width: width in pixels
 * @height: height in pixels
 * @reserved: 0
 *
 * What is known of one frame. Fixed size, little-endian, version %CUFRAMES_WIRE_VERSION.
 *
 * Since: 0.1
 */
typedef struct
{
  uint64_t sequence;
  uint64_t publish_ns;
  uint64_t event_serial;
  uint64_t moment_ns;
  uint64_t pts_ns;
  uint64_t dts_ns;
  uint64_t duration_ns;
  uint64_t offset;
  uint64_t offset_end;
  uint64_t fence_value;
  uint64_t size_bytes;
  uint64_t plane_offset_bytes[CUFRAMES_PLANES_MAX];
  int32_t plane_stride_bytes[CUFRAMES_PLANES_MAX];
  uint32_t plane_count;
  uint32_t flags;
  uint32_t buffer_flags;
  uint32_t meta_bytes;
  uint32_t format;
  uint32_t width;
  uint32_t height;
  uint32_t reserved[7];
} CuframesFrameInfo;

/** CUFRAMES_PACKET_KEY: the first packet of a key point: a decoder can start here. Since: 0.1 */
#define CUFRAMES_PACKET_KEY (1u << 0)
/** CUFRAMES_PACKET_HEADER: the packet describes the stream; those just before a key point belong to it. Since: 0.1 */
#define CUFRAMES_PACKET_HEADER (1u << 1)

/**
 * CuframesPacketInfo:
 * @sequence: number of the packet in its channel, counted from the publisher's first; set by the ring
 * @publish_ns: CLOCK_MONOTONIC when the packet was announced; set by the publisher
 * @event_serial: events that were sent before this packet; set by the publisher
 * @moment_ns: CLOCK_MONOTONIC at which the packet is due, or %CUFRAMES_NONE
 * @pts_ns: presentation time stamp, or %CUFRAMES_NONE
 * @dts_ns: decoding time stamp, or %CUFRAMES_NONE
 * @duration_ns: duration, or %CUFRAMES_NONE
 * @offset: media-specific offset, or %CUFRAMES_NONE
 * @offset_end: media-specific end offset, or %CUFRAMES_NONE
 * @size_bytes: bytes of the packet's data
 * @flags: CUFRAMES_PACKET_* bits
 * @buffer_flags: the GstBufferFlags of the packet, as they are
 * @meta_bytes: bytes of serialised metas that come with the packet
 * @reserved: 0
 *
 * What is known of one packet. Fixed size, little-endian, version %CUFRAMES_WIRE_VERSION.
 *
 * Since: 0.1
 */
typedef struct
{
  uint64_t sequence;
  uint64_t publish_ns;
  uint64_t event_serial;
  uint64_t moment_ns;
  uint64_t pts_ns;
  uint64_t dts_ns;
  uint64_t duration_ns;
  uint64_t offset;
  uint64_t offset_end;
  uint64_t size_bytes;
  uint32_t flags;
  uint32_t buffer_flags;
  uint32_t meta_bytes;
  uint32_t reserved[7];
} CuframesPacketInfo;

/**
 * CuframesSubscriberStats:
 * @id: the subscriber, unique in its publisher's life
 * @pid: its process as the publisher's PID namespace sees it, 0 if it cannot
 * @uid: its user
 * @observer: 1 if it only looks on and is never sent a frame
 * @lingering: 1 if it left or was evicted and still holds frames
 * @leases_held: slots it holds now
 * @delivered: frames or packets it has taken, by its own account
 * @missed: frames or packets that passed it by, by its own account
 * @copied: frames it copied instead of holding, by its own account
 * @wakeups: bytes written to its pipe: wake-ups, and one for each batch of messages
 * @lag_frames: frames or packets between the newest and the last that it took, by its own account; 0 while it is sent the newest ring
 * @attached_ns: CLOCK_MONOTONIC when it was let in
 * @name: its program, by its own account
 *
 * One subscriber, seen by the publisher.
 *
 * Since: 0.1
 */
typedef struct
{
  uint32_t id;
  uint32_t pid;
  uint32_t uid;
  uint32_t observer;
  uint32_t lingering;
  uint32_t leases_held;
  uint64_t delivered;
  uint64_t missed;
  uint64_t copied;
  uint64_t wakeups;
  uint64_t lag_frames;
  uint64_t attached_ns;
  char name[CUFRAMES_NAME_BYTES];
} CuframesSubscriberStats;

/**
 * CuframesPublisherStats:
 * @ring_id: the publisher's life, a random number
 * @generation: the ring of it that is current, 0 before the first
 * @ring_kind: #CuframesRingKind of the ring, 0 before the first
 * @memory_kind: #CuframesMemoryKind of the ring
 * @slots: slots of the ring, the publisher's reserve included; of packets as many as its index has room for
 * @subscribers: subscribers now, lingering ones included, observers not
 * @frames: frames published, or packets
 * @dropped: frames dropped because no slot was free, and packets refused because they were too large
 * @copies: frames that cost a copy
 * @bytes: bytes of data published
 * @wakeups: wake-ups written to subscribers that slept
 * @evicted: subscribers evicted
 * @refused: subscribers and observers that were refused with a reason
 * @memory_bytes: bytes of the arena, of the control page without its room for metas, and of the lease pages
 * @slots_leased: slots that subscribers hold now
 * @slots_held: slots that the publisher's own process holds now
 * @last_publish_ns: CLOCK_MONOTONIC of the newest frame, 0 before the first
 *
 * A publisher's counters. They run free from its start.
 *
 * Since: 0.1
 */
typedef struct
{
  uint64_t ring_id;
  uint32_t generation;
  uint32_t ring_kind;
  uint32_t memory_kind;
  uint32_t slots;
  uint32_t subscribers;
  uint64_t frames;
  uint64_t dropped;
  uint64_t copies;
  uint64_t bytes;
  uint64_t wakeups;
  uint64_t evicted;
  uint64_t refused;
  uint64_t memory_bytes;
  uint32_t slots_leased;
  uint32_t slots_held;
  uint64_t last_publish_ns;
} CuframesPublisherStats;

#ifdef __cplusplus
}
#endif
#endif
