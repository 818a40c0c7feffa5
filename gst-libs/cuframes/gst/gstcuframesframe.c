/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time stamps, flags and plane layout from a GstBuffer to the frame's description in the ring and back, each field exact. Touches no
 * memory of the frame. */
#include "gstcuframesframe.h"

G_STATIC_ASSERT (CUFRAMES_NONE == GST_CLOCK_TIME_NONE);
G_STATIC_ASSERT (CUFRAMES_NONE == GST_BUFFER_OFFSET_NONE);

void
gst_cuframes_frame_set_layout (CuframesFrameInfo * info, const GstVideoInfo * video_info)
{
  info->plane_count = GST_VIDEO_INFO_N_PLANES (video_info);
  info->format = GST_VIDEO_INFO_FORMAT (video_info);
  info->width = GST_VIDEO_INFO_WIDTH (video_info);
  info->height = GST_VIDEO_INFO_HEIGHT (video_info);
  for (guint i = 0; i < info->plane_count; i++) {
    info->plane_offset_bytes[i] = GST_VIDEO_INFO_PLANE_OFFSET (video_info, i);
    info->plane_stride_bytes[i] = GST_VIDEO_INFO_PLANE_STRIDE (video_info, i);
  }
}

static void
set_layout_of_meta (CuframesFrameInfo * info, const GstVideoMeta * meta)
{
  info->plane_count = meta->n_planes;
  info->format = meta->format;
  info->width = meta->width;
  info->height = meta->height;
  for (guint i = 0; i < meta->n_planes; i++) {
    info->plane_offset_bytes[i] = meta->offset[i];
    info->plane_stride_bytes[i] = meta->stride[i];
  }
}

/* video_info: NULL for what is no picture. */
void
gst_cuframes_frame_describe (GstBuffer * buffer, const GstVideoInfo * video_info, CuframesFrameInfo * info)
{
  const GstVideoMeta *meta = gst_buffer_get_video_meta (buffer);

  *info = (CuframesFrameInfo) {
    .moment_ns = CUFRAMES_NONE,
    .pts_ns = GST_BUFFER_PTS (buffer),
    .dts_ns = GST_BUFFER_DTS (buffer),
    .duration_ns = GST_BUFFER_DURATION (buffer),
    .offset = GST_BUFFER_OFFSET (buffer),
    .offset_end = GST_BUFFER_OFFSET_END (buffer),
    .buffer_flags = GST_BUFFER_FLAGS (buffer) & ~GST_CUFRAMES_LOCAL_FLAGS,
    .size_bytes = gst_buffer_get_size (buffer),
  };
  if (meta != NULL)
    set_layout_of_meta (info, meta);
  else if (video_info != NULL)
    gst_cuframes_frame_set_layout (info, video_info);
}

/* The same for a plane whose pixels are packed in groups or tiles, or whose entries are no pixels: as GStreamer itself would lay it out, with the
 * stride that is said. The stride of a tiled plane counts tiles, across and down. */
static gboolean
packed_plane_fits (const CuframesFrameInfo * info, const GstVideoFormatInfo * format, guint plane)
{
  const guint64 room = info->size_bytes - info->plane_offset_bytes[plane];
  const guint stride = info->plane_stride_bytes[plane];
  GstVideoInfo plain;
  guint64 bytes, least;

  if (!gst_video_info_set_format (&plain, GST_VIDEO_FORMAT_INFO_FORMAT (format), info->width, info->height)
      || GST_VIDEO_INFO_PLANE_STRIDE (&plain, plane) <= 0)
    return FALSE;
  least = GST_VIDEO_INFO_PLANE_STRIDE (&plain, plane);
  bytes = (plane + 1 < info->plane_count ? GST_VIDEO_INFO_PLANE_OFFSET (&plain, plane + 1) : GST_VIDEO_INFO_SIZE (&plain))
      - GST_VIDEO_INFO_PLANE_OFFSET (&plain, plane);
  if (GST_VIDEO_FORMAT_INFO_IS_TILED (format)) {
    const guint64 across = GST_VIDEO_TILE_X_TILES (stride), down = GST_VIDEO_TILE_Y_TILES (stride);
    const guint64 least_across = GST_VIDEO_TILE_X_TILES (least), least_down = GST_VIDEO_TILE_Y_TILES (least);
    return least_across > 0 && least_down > 0 && across >= least_across && down >= least_down
        && bytes / (least_across * least_down) * across * down <= room;
  }
  return stride >= least && (bytes / least - 1) * stride + least <= room;
}

/* Whether the lines of a plane lie within the data. */
static gboolean
plane_fits (const CuframesFrameInfo * info, const GstVideoFormatInfo * format, guint plane)
{
  const gint64 stride = info->plane_stride_bytes[plane];
  gint components[GST_VIDEO_MAX_COMPONENTS];
  guint64 room, lines, line_bytes;

  if (info->plane_offset_bytes[plane] > info->size_bytes || stride < 0 || info->width > G_MAXINT16 || info->height > G_MAXINT16)
    return FALSE;
  if (GST_VIDEO_FORMAT_INFO_IS_TILED (format) || GST_VIDEO_FORMAT_INFO_HAS_PALETTE (format))
    return packed_plane_fits (info, format, plane);
  gst_video_format_info_component (format, plane, components);
  if (GST_VIDEO_FORMAT_INFO_PSTRIDE (format, components[0]) == 0)
    return packed_plane_fits (info, format, plane);
  room = info->size_bytes - info->plane_offset_bytes[plane];
  lines = GST_VIDEO_FORMAT_INFO_SCALE_HEIGHT (format, components[0], (gint) info->height);
  line_bytes = (guint64) GST_VIDEO_FORMAT_INFO_SCALE_WIDTH (format, components[0], (gint) info->width) *
      GST_VIDEO_FORMAT_INFO_PSTRIDE (format, components[0]);
  return line_bytes <= room && line_bytes <= (guint64) stride && (lines == 0 || (lines - 1) * stride <= room - line_bytes);
}

/* Whether a picture of that layout, sent by another process, lies within its own data. It may be larger than the caps say
 * where it is cropped. */
gboolean
gst_cuframes_frame_layout_fits (const CuframesFrameInfo * info, const GstVideoInfo * video_info)
{
  if (info->plane_count == 0 || info->plane_count != GST_VIDEO_INFO_N_PLANES (video_info) || info->format != (guint) GST_VIDEO_INFO_FORMAT (video_info))
    return FALSE;
  /* GStreamer maps a picture by the caps. */
  if (info->width < (guint) GST_VIDEO_INFO_WIDTH (video_info) || info->height < (guint) GST_VIDEO_INFO_HEIGHT (video_info))
    return FALSE;
  for (guint plane = 0; plane < info->plane_count; plane++)
    if (!plane_fits (info, video_info->finfo, plane))
      return FALSE;
  return TRUE;
}

/* Everything but the memory, the layout and the metas. */
void
gst_cuframes_frame_apply (const CuframesFrameInfo * info, GstBuffer * buffer)
{
  GST_BUFFER_PTS (buffer) = info->pts_ns;
  GST_BUFFER_DTS (buffer) = info->dts_ns;
  GST_BUFFER_DURATION (buffer) = info->duration_ns;
  GST_BUFFER_OFFSET (buffer) = info->offset;
  GST_BUFFER_OFFSET_END (buffer) = info->offset_end;
  GST_BUFFER_FLAG_SET (buffer, info->buffer_flags & ~GST_CUFRAMES_LOCAL_FLAGS);
}

/* The planes, as a GstVideoMeta. */
void
gst_cuframes_frame_add_layout (const CuframesFrameInfo * info, const GstVideoInfo * video_info, GstBuffer * buffer)
{
  gsize offsets[GST_VIDEO_MAX_PLANES] = { 0 };
  gint strides[GST_VIDEO_MAX_PLANES] = { 0 };

  for (guint i = 0; i < info->plane_count; i++) {
    offsets[i] = info->plane_offset_bytes[i];
    strides[i] = info->plane_stride_bytes[i];
  }
  if (info->plane_count > 0)
    gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (video_info), info->width, info->height,
        info->plane_count, offsets, strides);
}

/* Whether two frames lie alike in their slots. One without planes is none, and like no other. */
gboolean
gst_cuframes_frame_layout_is (const CuframesFrameInfo * info, const CuframesFrameInfo * other)
{
  return info->plane_count > 0 && info->plane_count == other->plane_count && info->size_bytes == other->size_bytes && info->format == other->format
      && info->width == other->width && info->height == other->height
      && memcmp (info->plane_offset_bytes, other->plane_offset_bytes, sizeof info->plane_offset_bytes) == 0
      && memcmp (info->plane_stride_bytes, other->plane_stride_bytes, sizeof info->plane_stride_bytes) == 0;
}
