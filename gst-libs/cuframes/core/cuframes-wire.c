/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages to bytes and back. One list of fields serves both ways: a cursor either puts or gets. Knows no socket. */
#include <errno.h>
#include <string.h>

#include "cuframes-util.h"
#include "cuframes-wire.h"

#define SUBSCRIBER_STATS_BYTES (6u * 4u + 6u * 8u + CUFRAMES_NAME_BYTES)
#define STATS_COUNT_MAX CUFRAMES_SUBSCRIBERS_MAX

typedef struct
{
  uint8_t *out;                 /* NULL while getting */
  const uint8_t *in;
  size_t size;
  size_t used;
  bool failed;
} Cursor;

static void
raw (Cursor *cursor, void *value, size_t byte_count)
{
  if (cursor->failed || byte_count > cursor->size - cursor->used) {
    cursor->failed = true;
    return;
  }
  if (cursor->out != NULL)
    memcpy (cursor->out + cursor->used, value, byte_count);
  else
    memcpy (value, cursor->in + cursor->used, byte_count);
  cursor->used += byte_count;
}

/* Little-endian is what every machine that cuframes-layout.h accepts has. */
static void
u16 (Cursor *cursor, uint16_t *value)
{
  raw (cursor, value, sizeof *value);
}

static void
u32 (Cursor *cursor, uint32_t *value)
{
  raw (cursor, value, sizeof *value);
}

static void
u64 (Cursor *cursor, uint64_t *value)
{
  raw (cursor, value, sizeof *value);
}

/* A string in a field of fixed size: what follows its end is 0, and it has an end. */
static void
text (Cursor *cursor, char *value, size_t capacity)
{
  if (cursor->out != NULL) {
    char padded[CUFRAMES_TEXT_BYTES] = { 0 };
    memcpy (padded, value, strnlen (value, capacity - 1));
    raw (cursor, padded, capacity);
    return;
  }
  raw (cursor, value, capacity);
  if (!cursor->failed && memchr (value, 0, capacity) == NULL)
    cursor->failed = true;
}

static bool
has_room (Cursor *cursor, uint32_t byte_count, uint32_t limit)
{
  if (byte_count > limit || byte_count > cursor->size - cursor->used)
    cursor->failed = true;
  return !cursor->failed;
}

/* When getting: bytes of the message itself, NULL if there are not that many. */
static const void *
borrow (Cursor *cursor, uint32_t byte_count, uint32_t limit)
{
  const uint8_t *bytes;

  if (!has_room (cursor, byte_count, limit))
    return NULL;
  bytes = cursor->in + cursor->used;
  cursor->used += byte_count;
  return bytes;
}

/* Bytes of a length that was read before. */
static void
tail (Cursor *cursor, const void **value, uint32_t byte_count, uint32_t limit)
{
  if (cursor->out == NULL) {
    *value = borrow (cursor, byte_count, limit);
    return;
  }
  if (!has_room (cursor, byte_count, limit) || byte_count == 0)
    return;
  memcpy (cursor->out + cursor->used, *value, byte_count);
  cursor->used += byte_count;
}

static void
hello (Cursor *cursor, CuframesHello *message)
{
  u16 (cursor, &message->version_min);
  u16 (cursor, &message->version_max);
  u32 (cursor, &message->role);
  u32 (cursor, &message->memory_kinds);
  text (cursor, message->name, sizeof message->name);
  u32 (cursor, &message->device_count);
  if (message->device_count > CUFRAMES_WIRE_DEVICES_MAX)
    cursor->failed = true;
  for (uint32_t i = 0; !cursor->failed && i < message->device_count; i++)
    raw (cursor, message->devices[i], CUFRAMES_UUID_BYTES);
}

static void
welcome (Cursor *cursor, CuframesWelcome *message)
{
  u16 (cursor, &message->version);
  u32 (cursor, &message->subscriber_id);
  u64 (cursor, &message->ring_id);
  u32 (cursor, &message->max_leases);
  u64 (cursor, &message->event_serial);
  u32 (cursor, &message->sticky_count);
  u64 (cursor, &message->head);
}

static void
refused (Cursor *cursor, CuframesRefused *message)
{
  u32 (cursor, &message->code);
  text (cursor, message->text, sizeof message->text);
}

static void
ring (Cursor *cursor, CuframesRingMessage *message)
{
  uint32_t memory_kind = message->arena.kind;

  u64 (cursor, &message->ring_id);
  u32 (cursor, &message->generation);
  u32 (cursor, &message->kind);
  u64 (cursor, &message->first_sequence);
  u32 (cursor, &message->slot_count);
  u64 (cursor, &message->slot_bytes);
  u64 (cursor, &message->data_offset_bytes);
  u64 (cursor, &message->meta_stride_bytes);
  u64 (cursor, &message->control_bytes);
  u64 (cursor, &message->fence_offset_bytes);
  u32 (cursor, &memory_kind);
  u64 (cursor, &message->arena.size_bytes);
  raw (cursor, message->arena.device_uuid, CUFRAMES_UUID_BYTES);
  u32 (cursor, &message->format_bytes);
  tail (cursor, &message->format, message->format_bytes, CUFRAMES_FORMAT_BYTES_MAX);
  message->arena.kind = (CuframesMemoryKind) memory_kind;
}

/* The bytes of a long event are in its descriptor. */
static void
event (Cursor *cursor, CuframesEventMessage *message, bool in_fd)
{
  u64 (cursor, &message->serial);
  u64 (cursor, &message->after_sequence);
  u32 (cursor, &message->kind);
  u32 (cursor, &message->byte_count);
  if (message->byte_count > CUFRAMES_EVENT_BYTES_MAX)
    cursor->failed = true;
  if (!in_fd)
    tail (cursor, &message->bytes, message->byte_count, CUFRAMES_WIRE_EVENT_INLINE_MAX);
}

static void
publisher_stats (Cursor *cursor, CuframesPublisherStats *stats)
{
  u64 (cursor, &stats->ring_id);
  u32 (cursor, &stats->generation);
  u32 (cursor, &stats->ring_kind);
  u32 (cursor, &stats->memory_kind);
  u32 (cursor, &stats->slots);
  u32 (cursor, &stats->subscribers);
  u64 (cursor, &stats->frames);
  u64 (cursor, &stats->dropped);
  u64 (cursor, &stats->copies);
  u64 (cursor, &stats->bytes);
  u64 (cursor, &stats->wakeups);
  u64 (cursor, &stats->evicted);
  u64 (cursor, &stats->refused);
  u64 (cursor, &stats->memory_bytes);
  u32 (cursor, &stats->slots_leased);
  u32 (cursor, &stats->slots_held);
  u64 (cursor, &stats->last_publish_ns);
}

static void
subscriber_stats (Cursor *cursor, CuframesSubscriberStats *stats)
{
  u32 (cursor, &stats->id);
  u32 (cursor, &stats->pid);
  u32 (cursor, &stats->uid);
  u32 (cursor, &stats->observer);
  u32 (cursor, &stats->lingering);
  u32 (cursor, &stats->leases_held);
  u64 (cursor, &stats->delivered);
  u64 (cursor, &stats->missed);
  u64 (cursor, &stats->copied);
  u64 (cursor, &stats->wakeups);
  u64 (cursor, &stats->lag_frames);
  u64 (cursor, &stats->attached_ns);
  text (cursor, stats->name, sizeof stats->name);
}

static void
stats (Cursor *cursor, CuframesStatsMessage *message)
{
  publisher_stats (cursor, &message->publisher);
  u32 (cursor, &message->count);
  if (message->count > STATS_COUNT_MAX)
    cursor->failed = true;
  if (cursor->out == NULL)
    message->encoded = borrow (cursor, cursor->failed ? 0 : message->count * SUBSCRIBER_STATS_BYTES, STATS_COUNT_MAX * SUBSCRIBER_STATS_BYTES);
  for (uint32_t i = 0; cursor->out != NULL && !cursor->failed && i < message->count; i++) {
    CuframesSubscriberStats copy = message->subscribers[i];
    subscriber_stats (cursor, &copy);
  }
  u32 (cursor, &message->format_bytes);
  tail (cursor, &message->format, message->format_bytes, CUFRAMES_WIRE_STATS_FORMAT_MAX);
}

static void
body (Cursor *cursor, CuframesMessage *message, uint32_t fd_count)
{
  switch (message->type) {
    case CUFRAMES_MESSAGE_HELLO:
      hello (cursor, &message->hello);
      break;
    case CUFRAMES_MESSAGE_WELCOME:
      welcome (cursor, &message->welcome);
      break;
    case CUFRAMES_MESSAGE_REFUSED:
      refused (cursor, &message->refused);
      break;
    case CUFRAMES_MESSAGE_RING:
      ring (cursor, &message->ring);
      break;
    case CUFRAMES_MESSAGE_READY:
      u32 (cursor, &message->ready_generation);
      break;
    case CUFRAMES_MESSAGE_EVENT:
      event (cursor, &message->event, fd_count == 1);
      break;
    case CUFRAMES_MESSAGE_KEYFRAME:
      u32 (cursor, &message->keyframe_all_headers);
      break;
    case CUFRAMES_MESSAGE_ASK_STATS:
      break;
    case CUFRAMES_MESSAGE_STATS:
      stats (cursor, &message->stats);
      break;
    case CUFRAMES_MESSAGE_BYE:
      u32 (cursor, &message->bye_reason);
      break;
    default:
      cursor->failed = true;
  }
}

static bool
fd_count_fits (CuframesMessageType type, uint32_t fd_count)
{
  switch (type) {
    case CUFRAMES_MESSAGE_WELCOME:
      return fd_count == 2;
    case CUFRAMES_MESSAGE_RING:
      return fd_count == 3;
    case CUFRAMES_MESSAGE_EVENT:
      return fd_count <= 1;
    default:
      return fd_count == 0;
  }
}

static void
header (Cursor *cursor, uint32_t *magic, uint16_t *version, uint16_t *type, uint32_t *body_bytes, uint32_t *fd_count)
{
  u32 (cursor, magic);
  u16 (cursor, version);
  u16 (cursor, type);
  u32 (cursor, body_bytes);
  u32 (cursor, fd_count);
}

/* 0, or -EMSGSIZE if the message does not fit or goes over its limits. */
int
cuframes_wire_encode (const CuframesMessage *message, uint32_t fd_count, uint8_t *bytes, size_t capacity, size_t *ret_byte_count)
{
  CuframesMessage copy = *message;
  Cursor cursor = {.out = bytes,.size = capacity };
  uint32_t magic = CUFRAMES_WIRE_MAGIC, body_bytes = 0;
  uint16_t version = CUFRAMES_WIRE_VERSION, type = (uint16_t) message->type;

  header (&cursor, &magic, &version, &type, &body_bytes, &fd_count);
  body (&cursor, &copy, fd_count);
  if (cursor.failed || !fd_count_fits (message->type, fd_count))
    return -EMSGSIZE;
  *ret_byte_count = cursor.used;
  body_bytes = (uint32_t) (cursor.used - CUFRAMES_WIRE_HEADER_BYTES);
  cursor.used = 0;
  header (&cursor, &magic, &version, &type, &body_bytes, &fd_count);
  return 0;
}

/* What is variable in the message is borrowed from bytes. The whole message must be there and nothing behind it.
 * HELLO and REFUSED begin alike in every version and may go on in others, so that a refusal can say which versions are spoken.
 * 0 or CUFRAMES_E_PEER. */
int
cuframes_wire_decode (const uint8_t *bytes, size_t byte_count, uint32_t fd_count, CuframesMessage *ret_message)
{
  Cursor cursor = {.in = bytes,.size = byte_count };
  uint32_t magic = 0, body_bytes = 0, said_fd_count = 0;
  uint16_t version = 0, type = 0;
  bool may_go_on;

  memset (ret_message, 0, sizeof *ret_message);
  header (&cursor, &magic, &version, &type, &body_bytes, &said_fd_count);
  if (cursor.failed || magic != CUFRAMES_WIRE_MAGIC || body_bytes != byte_count - cursor.used || said_fd_count != fd_count)
    return CUFRAMES_E_PEER;
  may_go_on = version != CUFRAMES_WIRE_VERSION;
  if (may_go_on && type != CUFRAMES_MESSAGE_HELLO && type != CUFRAMES_MESSAGE_REFUSED)
    return CUFRAMES_E_PEER;
  ret_message->type = (CuframesMessageType) type;
  body (&cursor, ret_message, fd_count);
  if (cursor.failed || (cursor.used != byte_count && !may_go_on) || !fd_count_fits (ret_message->type, fd_count))
    return CUFRAMES_E_PEER;
  return 0;
}

/* The i-th subscriber of a decoded message; i is below its count. */
void
cuframes_wire_get_subscriber_stats (const CuframesStatsMessage *message, uint32_t i, CuframesSubscriberStats *ret_stats)
{
  Cursor cursor = {.in = message->encoded + (size_t) i * SUBSCRIBER_STATS_BYTES,.size = SUBSCRIBER_STATS_BYTES };

  memset (ret_stats, 0, sizeof *ret_stats);
  subscriber_stats (&cursor, ret_stats);
  ret_stats->name[CUFRAMES_NAME_BYTES - 1] = 0;
}
