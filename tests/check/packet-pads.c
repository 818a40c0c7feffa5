/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "packet-pads.h"

#include <string.h>

#define PACKET_MAGIC 0x70616b65u

static guint64
scramble (guint64 value)
{
  value ^= value >> 31;
  value *= G_GUINT64_CONSTANT (0x7fb5d329728ea185);
  return value ^ (value >> 27);
}

/* Number and size, then words that both say what they are. At least 16 bytes. */
static void
fill (guint8 * data, gsize size, guint64 number)
{
  const guint64 head[2] = { number, size ^ ((guint64) PACKET_MAGIC << 32) };
  guint64 word;

  memcpy (data, head, sizeof head);
  for (gsize at = sizeof head; at < size; at += sizeof word) {
    word = scramble (number * G_GUINT64_CONSTANT (0x100000001b3) + at);
    memcpy (data + at, &word, MIN (sizeof word, size - at));
  }
}

GstBuffer *
packet_new (guint64 number, gsize size, gboolean key)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, size, NULL);
  GstMapInfo map;

  gst_buffer_map (buffer, &map, GST_MAP_WRITE);
  fill (map.data, map.size, number);
  gst_buffer_unmap (buffer, &map);
  GST_BUFFER_DTS (buffer) = number * PACKET_NS;
  GST_BUFFER_PTS (buffer) = number * PACKET_NS + 2 * PACKET_NS;
  GST_BUFFER_DURATION (buffer) = PACKET_NS;
  GST_BUFFER_OFFSET (buffer) = number;
  GST_BUFFER_OFFSET_END (buffer) = number + 1;
  if (!key)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  return buffer;
}

guint64
packet_number (GstBuffer * buffer)
{
  guint64 number = G_MAXUINT64;
  guint8 *expected;
  GstMapInfo map;

  if (buffer == NULL || !gst_buffer_map (buffer, &map, GST_MAP_READ))
    return number;
  if (map.size >= 16) {
    memcpy (&number, map.data, sizeof number);
    expected = g_malloc (map.size);
    fill (expected, map.size, number);
    if (memcmp (expected, map.data, map.size) != 0)
      number = G_MAXUINT64;
    g_free (expected);
  }
  gst_buffer_unmap (buffer, &map);
  return number;
}

gboolean
packet_is_key (GstBuffer * buffer)
{
  return !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT);
}

gboolean
packet_feeder_open (Feeder * feeder, const char *properties, const char *caps)
{
  return feeder_open (feeder, properties) && feeder_send_caps (feeder, caps);
}

GstFlowReturn
packet_feeder_push (Feeder * feeder, guint64 first, guint count, gsize size)
{
  GstFlowReturn flow = GST_FLOW_OK;

  for (guint64 i = first; i < first + count && flow == GST_FLOW_OK; i++)
    flow = gst_pad_push (feeder->pad, packet_new (i, size, (i - 1) % PACKET_GOP == 0));
  return flow;
}

guint64
packet_catcher_take (Catcher * catcher, GstBuffer ** ret_buffer)
{
  CatcherItem *item = catcher_take_frame (catcher);
  guint64 number = item == NULL ? G_MAXUINT64 : packet_number (GST_BUFFER (item->object));

  if (ret_buffer != NULL)
    *ret_buffer = item == NULL ? NULL : gst_buffer_ref (GST_BUFFER (item->object));
  item_free (item);
  return number;
}
