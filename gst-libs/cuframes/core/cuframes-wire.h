/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages to bytes and back. Pure: no I/O, and nothing is allocated by a length that a peer sent. docs/protocol.md lists the
 * messages with their descriptors. */
#ifndef CUFRAMES_WIRE_H
#define CUFRAMES_WIRE_H

#include <stdbool.h>

#include "cuframes-arena.h"
#include "cuframes-types.h"

#define CUFRAMES_WIRE_MAGIC 0x52465543u /* "CUFR" */
#define CUFRAMES_WIRE_VERSION 1u
#define CUFRAMES_WIRE_HEADER_BYTES 16u
#define CUFRAMES_WIRE_BYTES_MAX (160u * 1024u)
#define CUFRAMES_WIRE_FDS_MAX 3u
#define CUFRAMES_WIRE_DEVICES_MAX 16u
/* What is written to a wake pipe: whether the ring or the socket is to be looked at. */
#define CUFRAMES_WAKE_FRAME 'f'
#define CUFRAMES_WAKE_MESSAGE 'm'
/* Longer events travel in a memory file of their own. */
#define CUFRAMES_WIRE_EVENT_INLINE_MAX (32u * 1024u)
/* Longer formats are left out of statistics, so that these fit into a message with every subscriber there can be. */
#define CUFRAMES_WIRE_STATS_FORMAT_MAX (32u * 1024u)

typedef enum
{
  CUFRAMES_MESSAGE_HELLO = 1,   /* subscriber: what I speak and can map */
  CUFRAMES_MESSAGE_WELCOME,     /* publisher: you are in. 2 descriptors: wake pipe, life pipe */
  CUFRAMES_MESSAGE_REFUSED,     /* publisher: you are not, and why */
  CUFRAMES_MESSAGE_RING,        /* publisher: a new generation. 3 descriptors: control, arena, lease page */
  CUFRAMES_MESSAGE_READY,       /* subscriber: I have mapped that generation */
  CUFRAMES_MESSAGE_EVENT,       /* publisher: an event. 1 descriptor if its bytes are not inline */
  CUFRAMES_MESSAGE_KEYFRAME,    /* subscriber: a key frame, please */
  CUFRAMES_MESSAGE_ASK_STATS,   /* subscriber: your statistics, please */
  CUFRAMES_MESSAGE_STATS,       /* publisher: here they are; to an observer also when a generation begins */
  CUFRAMES_MESSAGE_BYE,         /* either: I am leaving, or you are */
} CuframesMessageType;

typedef enum
{
  CUFRAMES_ROLE_SUBSCRIBER = 1,
  CUFRAMES_ROLE_OBSERVER = 2,
} CuframesRole;

typedef enum
{
  CUFRAMES_REFUSED_VERSION = 1,
  CUFRAMES_REFUSED_FULL,
  CUFRAMES_REFUSED_ACCESS,
  CUFRAMES_REFUSED_MEMORY,
  CUFRAMES_REFUSED_RESOURCES,
} CuframesRefusedCode;

typedef struct
{
  uint16_t version_min;
  uint16_t version_max;
  uint32_t role;
  uint32_t memory_kinds;        /* bit 1 << kind */
  uint32_t device_count;
  uint8_t devices[CUFRAMES_WIRE_DEVICES_MAX][CUFRAMES_UUID_BYTES];
  char name[CUFRAMES_NAME_BYTES];
} CuframesHello;

typedef struct
{
  uint16_t version;
  uint32_t subscriber_id;
  uint64_t ring_id;
  uint32_t max_leases;
  uint64_t event_serial;        /* sticky events that follow do not count */
  uint32_t sticky_count;        /* how many of them follow: they come before the first frame */
  uint64_t head;                /* newest frame at this moment: where the start is counted from */
} CuframesWelcome;

typedef struct
{
  uint32_t code;
  char text[CUFRAMES_TEXT_BYTES];
} CuframesRefused;

/* Of a ring of packets slot_count is the size of the index and slot_bytes that of the data area. */
typedef struct
{
  uint64_t ring_id;
  uint32_t generation;
  uint32_t kind;
  uint64_t first_sequence;
  uint32_t slot_count;
  uint64_t slot_bytes;
  uint64_t data_offset_bytes;
  uint64_t meta_stride_bytes;
  uint64_t control_bytes;
  uint64_t fence_offset_bytes;
  CuframesArenaInfo arena;
  const void *format;           /* borrowed */
  uint32_t format_bytes;
} CuframesRingMessage;

typedef struct
{
  uint64_t serial;              /* 0: a sticky event repeated for somebody who joins */
  uint64_t after_sequence;      /* apply it behind this frame */
  uint32_t kind;
  uint32_t byte_count;
  const void *bytes;            /* borrowed; NULL: in the descriptor */
} CuframesEventMessage;

typedef struct
{
  CuframesPublisherStats publisher;
  uint32_t count;
  const uint8_t *encoded;       /* borrowed when decoded; see cuframes_wire_get_subscriber_stats() */
  const CuframesSubscriberStats *subscribers;   /* borrowed when encoding */
  const void *format;           /* borrowed */
  uint32_t format_bytes;        /* 0 before the first ring */
} CuframesStatsMessage;

typedef struct
{
  CuframesMessageType type;
  union
  {
    CuframesHello hello;
    CuframesWelcome welcome;
    CuframesRefused refused;
    CuframesRingMessage ring;
    uint32_t ready_generation;
    CuframesEventMessage event;
    uint32_t keyframe_all_headers;
    CuframesStatsMessage stats;
    uint32_t bye_reason;
  };
} CuframesMessage;

int cuframes_wire_encode (const CuframesMessage * message, uint32_t fd_count, uint8_t * bytes, size_t capacity, size_t *ret_byte_count);
int cuframes_wire_decode (const uint8_t * bytes, size_t byte_count, uint32_t fd_count, CuframesMessage * ret_message);
void cuframes_wire_get_subscriber_stats (const CuframesStatsMessage * message, uint32_t i, CuframesSubscriberStats * ret_stats);

#endif
