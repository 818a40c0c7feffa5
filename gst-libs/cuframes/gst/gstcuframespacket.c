/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time stamps, flags and size from a GstBuffer to the packet's description in the ring and back, each field exact. */
#include "gstcuframespacket.h"

#include "gstcuframesframe.h"

/* What is a key point is the caller's to say. */
void
gst_cuframes_packet_describe (GstBuffer * buffer, CuframesPacketInfo * info)
{
  *info = (CuframesPacketInfo) {
    .moment_ns = CUFRAMES_NONE,
    .pts_ns = GST_BUFFER_PTS (buffer),
    .dts_ns = GST_BUFFER_DTS (buffer),
    .duration_ns = GST_BUFFER_DURATION (buffer),
    .offset = GST_BUFFER_OFFSET (buffer),
    .offset_end = GST_BUFFER_OFFSET_END (buffer),
    .buffer_flags = GST_BUFFER_FLAGS (buffer) & ~GST_CUFRAMES_LOCAL_FLAGS,
    .size_bytes = gst_buffer_get_size (buffer),
  };
}

/* Everything but the data and the metas. */
void
gst_cuframes_packet_apply (const CuframesPacketInfo * info, GstBuffer * buffer)
{
  GST_BUFFER_PTS (buffer) = info->pts_ns;
  GST_BUFFER_DTS (buffer) = info->dts_ns;
  GST_BUFFER_DURATION (buffer) = info->duration_ns;
  GST_BUFFER_OFFSET (buffer) = info->offset;
  GST_BUFFER_OFFSET_END (buffer) = info->offset_end;
  GST_BUFFER_FLAG_SET (buffer, info->buffer_flags & ~GST_CUFRAMES_LOCAL_FLAGS);
}

/* Whether the buffer's data is the header's, or where that begins: a muxer may send in several packets what its caps carry in one. */
gboolean
gst_cuframes_packet_begins (GstBuffer * buffer, GstBuffer * header)
{
  const gsize size = gst_buffer_get_size (buffer);
  gboolean begins = size > 0 && size <= gst_buffer_get_size (header);
  GstMapInfo map;

  if (begins && gst_buffer_map (buffer, &map, GST_MAP_READ)) {
    begins = gst_buffer_memcmp (header, 0, map.data, map.size) == 0;
    gst_buffer_unmap (buffer, &map);
  }
  return begins;
}
