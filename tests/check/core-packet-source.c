/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets for the tests of libcuframes: known by their number alone, to whoever writes and to whoever reads them. */
#include "core-fixture.h"

#include <errno.h>
#include <stdlib.h>

int
source_start_packets (Source *source, uint32_t index_size, uint64_t data_bytes, const char *format)
{
  const CuframesPacketRingConfig config = {.index_size = index_size,.data_bytes = data_bytes,.format = format,
    .format_bytes = (uint32_t) strlen (format) };
  CuframesRing *ring = NULL;
  int r = cuframes_ring_new_packets (&config, &ring);

  if (r != 0)
    return r;
  r = cuframes_publisher_announce_ring (source->publisher, ring);
  cuframes_ring_unref (source->ring);
  source->ring = ring;
  return r;
}

static uint64_t
mix (uint64_t value)
{
  value = (value ^ value >> 31) * UINT64_C (0x9e3779b97f4a7c15);
  return value ^ value >> 29;
}

/* Every word tells the packet and its own place; the last one may be cut off. */
static void
fill (uint8_t *bytes, uint64_t byte_count, uint64_t number)
{
  for (uint64_t i = 0; i < byte_count; i += 8) {
    const uint64_t word = number ^ i * UINT64_C (0x9e3779b97f4a7c15);
    memcpy (bytes + i, &word, byte_count - i < 8 ? byte_count - i : 8);
  }
}

static bool
is_filled (const uint8_t *bytes, uint64_t byte_count, uint64_t number)
{
  for (uint64_t i = 0; i < byte_count; i += 8) {
    const uint64_t word = number ^ i * UINT64_C (0x9e3779b97f4a7c15);
    if (memcmp (bytes + i, &word, byte_count - i < 8 ? byte_count - i : 8) != 0)
      return false;
  }
  return true;
}

static CuframesPacketInfo
describe (uint64_t number, uint64_t size_bytes, uint32_t flags)
{
  return (CuframesPacketInfo) {
    .moment_ns = mix (number + 1),.pts_ns = number * 40000000 + 80000000,.dts_ns = number * 40000000,.duration_ns = 40000000,
    .offset = number,.offset_end = number + 1,.size_bytes = size_bytes,.flags = flags,.buffer_flags = (uint32_t) mix (number),
    .meta_bytes = number % 7 == 0 ? (uint32_t) (number % 50) : 0,
  };
}

/* In two pieces that meet anywhere. */
int
source_publish_packet (Source *source, uint64_t size_bytes, uint32_t flags)
{
  const uint64_t number = source->number + 1, first_bytes = size_bytes == 0 ? 0 : mix (number) % size_bytes;
  const CuframesPacketInfo info = describe (number, size_bytes, flags);
  uint8_t *bytes = malloc (size_bytes + 1), metas[64];
  const struct iovec pieces[] = { {bytes, first_bytes}, {bytes + first_bytes, size_bytes - first_bytes} };
  uint64_t sequence = 0;
  int r;

  fill (bytes, size_bytes, number);
  fill (metas, info.meta_bytes, ~number);
  r = cuframes_publisher_publish_packet (source->publisher, source->ring, &info, pieces, 2, info.meta_bytes > 0 ? metas : NULL, &sequence);
  free (bytes);
  if (r == 0 && sequence != ++source->number)
    abort ();
  return r;
}

uint64_t
stream_packet_bytes (uint64_t number, uint32_t gop, uint64_t most_bytes)
{
  const bool is_key = number % gop == 1;
  const uint64_t least_bytes = 200, spread = is_key ? most_bytes / 2 : most_bytes / 64;

  if (number == 2)
    return least_bytes;
  if (number == 1)
    return most_bytes;
  return (is_key ? most_bytes / 2 : least_bytes) + mix (number) % (spread + 1);
}

int
source_publish_stream (Source *source, uint64_t count, uint32_t gop, uint64_t most_bytes)
{
  int published = 0;

  for (uint64_t i = 0; i < count; i++) {
    const uint64_t number = source->number + 1;
    published += source_publish_packet (source, stream_packet_bytes (number, gop, most_bytes), number % gop == 1 ? CUFRAMES_PACKET_KEY : 0) == 0;
  }
  return published;
}

bool
packet_is_whole (const CuframesPacketInfo *info, const void *data, const void *metas)
{
  CuframesPacketInfo expected = describe (info->sequence, info->size_bytes, info->flags);

  expected.sequence = info->sequence;
  expected.publish_ns = info->publish_ns;
  expected.event_serial = info->event_serial;
  return memcmp (&expected, info, sizeof expected) == 0 && is_filled (data, info->size_bytes, info->sequence)
      && is_filled (metas, info->meta_bytes, ~info->sequence);
}

int
sink_take (CuframesSubscriber *subscriber, const CuframesItem *item)
{
  const CuframesPacketInfo *info = item->packet_info;
  /* exactly as large as the packet, so that a sanitizer sees one byte too many */
  uint8_t *data = malloc (info->size_bytes), *metas = malloc (info->meta_bytes);
  int r = cuframes_subscriber_take_packet (subscriber, data, metas);

  if (r == 0 && !packet_is_whole (info, data, metas))
    r = -EBADMSG;
  free (data);
  free (metas);
  return r;
}

/* A ring of packets on a new channel, with so many packets in it. */
bool
source_open_stream (Source *source, const CuframesPublisherConfig *config, uint32_t index_size, uint64_t data_bytes, uint64_t count)
{
  return source_open (source, "cam", config) == 0 && source_start_packets (source, index_size, data_bytes, "p") == 0
      && source_publish_stream (source, count, PACKET_GOP, PACKET_SMALL_BYTES) == (int) count;
}

/* Connected and with the format, which is one of packets. */
CuframesSubscriber *
sink_open_packets (const CuframesSubscriberConfig *config)
{
  CuframesSubscriber *subscriber = sink_open ("cam", config);
  CuframesItem item;

  if (subscriber == NULL)
    return NULL;
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK_EQUAL (item.ring_kind, CUFRAMES_RING_PACKETS);
  CHECK_EQUAL (item.byte_count, 1);
  return subscriber;
}

/* The next packet, whole; its number, or 0. */
uint64_t
sink_take_next (CuframesSubscriber *subscriber, uint64_t *ret_missed)
{
  CuframesItem item;

  if (!sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item) || sink_take (subscriber, &item) != 0)
    return 0;
  if (ret_missed != NULL)
    *ret_missed = item.missed;
  return item.packet_info->sequence;
}

/* KEY and HEADER flags as letters, "." for neither; every packet small. How many were published. */
int
source_publish_story (Source *source, const char *story)
{
  int published = 0;

  for (; *story != 0; story++)
    published += source_publish_packet (source, 100, *story == 'K' ? CUFRAMES_PACKET_KEY : *story == 'H' ? CUFRAMES_PACKET_HEADER : 0) == 0;
  return published;
}
