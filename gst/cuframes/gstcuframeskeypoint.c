/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which packets of a stream a reader can start with: those that depend on nothing before them. Where a picture comes in several packets
 * (alignment=nal and the like) it is the first of them, and the parameter sets and the like that stand before it belong to it. Knows of a NAL unit
 * its type alone. */
#include "gstcuframeskeypoint.h"

/* As much of a packet as a start code with its zeros and a NAL unit's header take. */
#define HEAD_BYTES 16

static const struct
{
  const gchar *media_type;
  GstCuframesCoding coding;
  guint length_index;           /* of the byte in codec_data that says how long a NAL unit's length is */
} codings[] = {
  {"video/x-h264", GST_CUFRAMES_CODING_H264, 4},
  {"video/x-h265", GST_CUFRAMES_CODING_H265, 21},
  {"video/x-h266", GST_CUFRAMES_CODING_H266, 0},
};

static guint
find_length_bytes (const GstStructure * structure, guint index)
{
  const gchar *format = gst_structure_get_string (structure, "stream-format");
  const GValue *value = gst_structure_get_value (structure, "codec_data");
  guint8 byte = 3;

  if (format == NULL || g_str_equal (format, "byte-stream"))
    return 0;
  /* The low bits of the first byte in H.266 stand one place further left. */
  if (value != NULL && GST_VALUE_HOLDS_BUFFER (value) && gst_buffer_extract (gst_value_get_buffer (value), index, &byte, 1) == 1 && index == 0)
    byte >>= 1;
  return (byte & 3) + 1;
}

void
gst_cuframes_key_point_init (GstCuframesKeyPoint * self, const GstCaps * caps)
{
  const GstStructure *structure = gst_caps_get_structure (caps, 0);
  const gchar *alignment = gst_structure_get_string (structure, "alignment");

  *self = (GstCuframesKeyPoint) {.pts = GST_CLOCK_TIME_NONE };
  self->in_parts = alignment != NULL && (g_str_equal (alignment, "nal") || g_str_equal (alignment, "obu"));
  for (guint i = 0; i < G_N_ELEMENTS (codings); i++)
    if (gst_structure_has_name (structure, codings[i].media_type)) {
      self->coding = codings[i].coding;
      self->length_bytes = find_length_bytes (structure, codings[i].length_index);
    }
}

/* FALSE if there is none. */
static gboolean
find_nal_header (const GstCuframesKeyPoint * self, GstBuffer * buffer, guint8 header[2])
{
  guint8 head[HEAD_BYTES];
  gsize count = gst_buffer_extract (buffer, 0, head, sizeof head);
  gsize at = self->length_bytes;

  if (at == 0) {
    while (at < count && head[at] == 0)
      at++;
    if (at < 2 || at >= count || head[at++] != 1)
      return FALSE;
  }
  if (at + 2 > count)
    return FALSE;
  header[0] = head[at];
  header[1] = head[at + 1];
  return TRUE;
}

/* Whether the packet is a NAL unit that comes before the picture which it belongs to. */
static gboolean
is_prefix (const GstCuframesKeyPoint * self, GstBuffer * buffer)
{
  guint8 header[2];
  guint type;

  if (self->coding == GST_CUFRAMES_CODING_OTHER || !find_nal_header (self, buffer, header))
    return FALSE;
  switch (self->coding) {
    case GST_CUFRAMES_CODING_H264:     /* SEI, parameter sets, delimiter, further sets */
      type = header[0] & 0x1f;
      return (type >= 6 && type <= 9) || type == 13 || type == 15;
    case GST_CUFRAMES_CODING_H265:     /* parameter sets, delimiter, prefix SEI */
      type = (header[0] >> 1) & 0x3f;
      return (type >= 32 && type <= 35) || type == 39;
    default:                   /* capabilities, parameter sets, prefix APS, picture header, delimiter, prefix SEI */
      type = header[1] >> 3;
      return (type >= 12 && type <= 17) || type == 19 || type == 20 || type == 23;
  }
}

/* A picture that comes in several packets has one time stamp, and its last packet a marker; not every producer gives both. */
static gboolean
goes_on (const GstCuframesKeyPoint * self, GstBuffer * buffer)
{
  if (!self->begun)
    return FALSE;
  return !GST_CLOCK_TIME_IS_VALID (self->pts) || !GST_BUFFER_PTS_IS_VALID (buffer) || GST_BUFFER_PTS (buffer) == self->pts;
}

static guint32
find_in_parts (GstCuframesKeyPoint * self, GstBuffer * buffer)
{
  const gboolean same = goes_on (self, buffer);
  const gboolean is_key = !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  const gboolean header = is_prefix (self, buffer) || (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_HEADER) && !is_key);
  guint32 flags = 0;

  if (!same) {
    self->key_told = FALSE;
    self->pts = GST_CLOCK_TIME_NONE;
  }
  if (GST_BUFFER_PTS_IS_VALID (buffer))
    self->pts = GST_BUFFER_PTS (buffer);
  self->begun = !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_MARKER);
  if (header)
    flags = CUFRAMES_PACKET_HEADER;
  else if (is_key && !self->key_told)
    flags = CUFRAMES_PACKET_KEY;
  /* Without time stamps and markers the next key picture is known by what lies between. */
  self->key_told = header ? self->key_told && GST_CLOCK_TIME_IS_VALID (self->pts) : is_key;
  return flags;
}

/* The CUFRAMES_PACKET_* bits of the next packet of the stream. A key point that brings its headers with it is one that stands alone. */
guint32
gst_cuframes_key_point_find (GstCuframesKeyPoint * self, GstBuffer * buffer)
{
  if (self->in_parts)
    return find_in_parts (self, buffer);
  if (!GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT))
    return CUFRAMES_PACKET_KEY;
  return GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_HEADER) ? CUFRAMES_PACKET_HEADER : 0;
}
