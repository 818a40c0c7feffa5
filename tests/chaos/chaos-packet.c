/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets that say which they are: a head with the life of the publisher, the number and the size, and bytes behind it that follow from these. */
#include "chaos.h"

#include <string.h>

#define HEAD_WORDS 4
#define MAGIC G_GUINT64_CONSTANT (0x6b63617053414843)
#define LARGEST_BYTES 20000
#define KEY_EVERY 30

/* A key point is larger than what lies between two of them. */
gsize
chaos_packet_size (guint64 number, gboolean key)
{
  const gsize size = HEAD_WORDS * 8 + chaos_mix (number) % (LARGEST_BYTES / 10);

  return key ? size + LARGEST_BYTES / 2 : size;
}

gboolean
chaos_packet_is_key (guint64 number)
{
  return number % KEY_EVERY == 1;
}

static guint8
byte_of (guint64 seed, gsize i)
{
  return (guint8) (seed >> i % 8 * 8) ^ (guint8) (i * 31);
}

void
chaos_packet_write (guint8 * data, gsize size, const Stamp * stamp)
{
  const guint64 head[HEAD_WORDS] = { MAGIC, stamp->source, stamp->number, size };
  const guint64 seed = chaos_mix (stamp->source ^ chaos_mix (stamp->number));

  memcpy (data, head, sizeof head);
  for (gsize i = sizeof head; i < size; i++)
    data[i] = byte_of (seed, i);
}

StampState
chaos_packet_read (GstBuffer * buffer, Stamp * ret_stamp)
{
  guint64 head[HEAD_WORDS] = { 0 }, seed;
  StampState state = STAMP_ABSENT;
  GstMapInfo map;

  if (!gst_buffer_map (buffer, &map, GST_MAP_READ))
    return STAMP_ABSENT;
  if (map.size >= sizeof head)
    memcpy (head, map.data, sizeof head);
  if (head[0] == MAGIC) {
    *ret_stamp = (Stamp) {.source = head[1],.number = head[2] };
    seed = chaos_mix (head[1] ^ chaos_mix (head[2]));
    state = head[3] == map.size ? STAMP_WHOLE : STAMP_TORN;
    for (gsize i = sizeof head; state == STAMP_WHOLE && i < map.size; i++)
      if (map.data[i] != byte_of (seed, i))
        state = STAMP_TORN;
  }
  gst_buffer_unmap (buffer, &map);
  return state;
}
