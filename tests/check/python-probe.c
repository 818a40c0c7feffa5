/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of examples/python have the C side do: say where the fields of its structures lie, number pictures, and publish frames that
 * the GPU has still to write. */
#include <cuframes.h>
#include <cuframes-arena-cuda.h>

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "stamp.h"

#define EXPORT __attribute__ ((visibility ("default")))
#define SIZE(type) printf_to (&text, #type " %zu\n", sizeof (Cuframes##type))
#define FIELD(type, field) printf_to (&text, #type "." #field " %zu %zu\n", offsetof (Cuframes##type, field), sizeof (((Cuframes##type *) 0)->field))

typedef struct
{
  char bytes[8192];
  size_t length;
} Text;

EXPORT const char *probe_layout (void);
EXPORT uint64_t probe_number (const StampPlane * planes, uint32_t count);
EXPORT bool probe_stamp (const StampPlane * planes, uint32_t count, uint64_t number);

/* A channel of grey pictures in GPU memory. */
typedef struct
{
  CuframesPublisher *publisher;
  CuframesArena *arena;
  CuframesRing *ring;
  uint32_t width, height;
  uint64_t published;
} Probe;

EXPORT Probe *probe_open (const char *path, CuframesCudaDevice * device, uint32_t width, uint32_t height);
EXPORT uint64_t probe_claim (Probe * self, uint32_t * ret_slot);
EXPORT bool probe_publish (Probe * self, uint32_t slot, struct CUstream_st *stream);
EXPORT uint32_t probe_count_leased (Probe * self);
EXPORT void probe_close (Probe * self);

static void __attribute__ ((format (printf, 2, 3)))
printf_to (Text * text, const char *format, ...)
{
  va_list arguments;

  va_start (arguments, format);
  text->length += (size_t) vsnprintf (text->bytes + text->length, sizeof text->bytes - text->length, format, arguments);
  va_end (arguments);
}

static Text text;

static void
describe_frame_info (void)
{
  SIZE (FrameInfo);
  FIELD (FrameInfo, sequence);
  FIELD (FrameInfo, publish_ns);
  FIELD (FrameInfo, event_serial);
  FIELD (FrameInfo, moment_ns);
  FIELD (FrameInfo, pts_ns);
  FIELD (FrameInfo, dts_ns);
  FIELD (FrameInfo, duration_ns);
  FIELD (FrameInfo, offset);
  FIELD (FrameInfo, offset_end);
  FIELD (FrameInfo, fence_value);
  FIELD (FrameInfo, size_bytes);
  FIELD (FrameInfo, plane_offset_bytes);
  FIELD (FrameInfo, plane_stride_bytes);
  FIELD (FrameInfo, plane_count);
  FIELD (FrameInfo, flags);
  FIELD (FrameInfo, buffer_flags);
  FIELD (FrameInfo, meta_bytes);
  FIELD (FrameInfo, format);
  FIELD (FrameInfo, width);
  FIELD (FrameInfo, height);
  FIELD (FrameInfo, reserved);
}

static void
describe_item (void)
{
  SIZE (Item);
  FIELD (Item, kind);
  FIELD (Item, frame);
  FIELD (Item, info);
  FIELD (Item, packet_info);
  FIELD (Item, missed);
  FIELD (Item, event_kind);
  FIELD (Item, bytes);
  FIELD (Item, byte_count);
  FIELD (Item, ring_kind);
  FIELD (Item, arena_info);
  FIELD (Item, bye);
}

static void
describe_config (void)
{
  SIZE (SubscriberConfig);
  FIELD (SubscriberConfig, socket_path);
  FIELD (SubscriberConfig, name);
  FIELD (SubscriberConfig, delivery);
  FIELD (SubscriberConfig, start);
  FIELD (SubscriberConfig, max_leases);
  FIELD (SubscriberConfig, lossless);
  FIELD (SubscriberConfig, spin_ns);
  FIELD (SubscriberConfig, import);
  FIELD (SubscriberConfig, import_user_data);
  FIELD (SubscriberConfig, memory_kinds);
  FIELD (SubscriberConfig, device_uuids);
  FIELD (SubscriberConfig, device_count);
}

static void
describe_counters (void)
{
  SIZE (SubscriberCounters);
  FIELD (SubscriberCounters, connected);
  FIELD (SubscriberCounters, generation);
  FIELD (SubscriberCounters, connections);
  FIELD (SubscriberCounters, delivered);
  FIELD (SubscriberCounters, missed);
  FIELD (SubscriberCounters, copied);
  FIELD (SubscriberCounters, wakeups);
  FIELD (SubscriberCounters, leases_held);
  FIELD (SubscriberCounters, max_leases);
  FIELD (SubscriberCounters, head);
  FIELD (SubscriberCounters, cursor);
}

/* Lines "TYPE SIZE" and "TYPE.FIELD OFFSET SIZE", and the constants as "NAME VALUE". */
const char *
probe_layout (void)
{
  text.length = 0;
  describe_frame_info ();
  describe_item ();
  describe_config ();
  describe_counters ();
  printf_to (&text, "TIMEOUT %d\nCANCELLED %d\nREFUSED %d\nHELD %d\n", CUFRAMES_E_TIMEOUT, CUFRAMES_E_CANCELLED, CUFRAMES_E_REFUSED, CUFRAMES_E_HELD);
  printf_to (&text, "FRAME %d\nEVENT %d\nDISCONNECTED %d\nPACKET %d\n", CUFRAMES_ITEM_FRAME, CUFRAMES_ITEM_EVENT, CUFRAMES_ITEM_DISCONNECTED,
      CUFRAMES_ITEM_PACKET);
  printf_to (&text, "EVENT_EOS %d\n", CUFRAMES_EVENT_EOS);
  printf_to (&text, "BYE_SHUTDOWN %d\nMEMORY_HOST %d\nMEMORY_CUDA %d\n", CUFRAMES_BYE_SHUTDOWN, CUFRAMES_MEMORY_HOST, CUFRAMES_MEMORY_CUDA);
  printf_to (&text, "FRAME_FENCED %u\nTEXT_BYTES %d\nPATH_BYTES %d\n", CUFRAMES_FRAME_FENCED, CUFRAMES_TEXT_BYTES, CUFRAMES_SOCKET_PATH_BYTES);
  printf_to (&text, "UUID_BYTES %d\nPLANES_MAX %d\n", CUFRAMES_UUID_BYTES, CUFRAMES_PLANES_MAX);
  return text.bytes;
}

static StampImage
image_of (const StampPlane * planes, uint32_t count)
{
  StampImage image = {.plane_count = count };

  for (uint32_t i = 0; i < count && i < STAMP_PLANES_MAX; i++)
    image.planes[i] = planes[i];
  return image;
}

bool
probe_stamp (const StampPlane * planes, uint32_t count, uint64_t number)
{
  StampImage image = image_of (planes, count);
  Stamp stamp = {.number = number,.source = 1 };

  return stamp_write (&image, &stamp);
}

/* The number of a whole picture, 0 for any other. */
uint64_t
probe_number (const StampPlane * planes, uint32_t count)
{
  StampImage image = image_of (planes, count);
  Stamp stamp;

  return stamp_read (&image, &stamp) == STAMP_WHOLE ? stamp.number : 0;
}

void
probe_close (Probe * self)
{
  cuframes_ring_unref (self->ring);
  cuframes_publisher_free (self->publisher);
  cuframes_arena_unref (self->arena);
  free (self);
}

static bool
start_ring (Probe * self, CuframesCudaDevice * device)
{
  static const char format[] = "video/x-raw(memory:CUDAMemory), format=(string)GRAY8";
  CuframesRingConfig config = {.data_offset_bytes = CUFRAMES_ARENA_CUDA_FENCE_BYTES,.slot_count = 4,.reserve_count = 1,.format = format,
    .format_bytes = sizeof format,.slot_bytes = ((uint64_t) self->width * self->height + 4095) / 4096 * 4096
  };

  if (cuframes_arena_new_cuda (device, config.data_offset_bytes + config.slot_count * config.slot_bytes, &self->arena) != 0)
    return false;
  config.arena = self->arena;
  return cuframes_publisher_start_ring (self->publisher, &config, &self->ring) == 0;
}

Probe *
probe_open (const char *path, CuframesCudaDevice * device, uint32_t width, uint32_t height)
{
  CuframesPublisherConfig config = {.socket_path = path };
  Probe *self = calloc (1, sizeof *self);

  if (self == NULL)
    return NULL;
  self->width = width;
  self->height = height;
  if (cuframes_publisher_new (&config, &self->publisher) != 0 || !start_ring (self, device)) {
    probe_close (self);
    return NULL;
  }
  return self;
}

/* The slot's address on the GPU, 0 if there is none. */
uint64_t
probe_claim (Probe * self, uint32_t * ret_slot)
{
  return cuframes_ring_claim (self->ring, 0, ret_slot) == 0 ? cuframes_ring_get_slot_address (self->ring, *ret_slot) : 0;
}

/* Announces at once what is complete when the work that is queued on the stream now is done. */
bool
probe_publish (Probe * self, uint32_t slot, struct CUstream_st *stream)
{
  const uint64_t fence = cuframes_arena_cuda_fence (slot, ++self->published);
  const CuframesFrameInfo info = {.moment_ns = CUFRAMES_NONE,.pts_ns = CUFRAMES_NONE,.dts_ns = CUFRAMES_NONE,.duration_ns = CUFRAMES_NONE,
    .offset = CUFRAMES_NONE,.offset_end = CUFRAMES_NONE,.size_bytes = (uint64_t) self->width * self->height,.plane_count = 1,
    .plane_stride_bytes = {(int32_t) self->width},.format = 25,.width = self->width,.height = self->height,.flags = CUFRAMES_FRAME_FENCED,
    .fence_value = fence
  };
  bool good = cuframes_arena_cuda_queue_write (self->arena, stream, fence) == 0
      && cuframes_publisher_publish (self->publisher, self->ring, slot, &info, NULL) == 0;

  cuframes_ring_release (self->ring, slot);
  return good;
}

/* Slots that subscribers hold. */
uint32_t
probe_count_leased (Probe * self)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (self->publisher, &stats);
  return stats.slots_leased;
}
