/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a mapped GstVideoFrame to the lines that stamp.h writes and reads. */
#ifndef STAMP_VIDEO_H
#define STAMP_VIDEO_H

#include <gst/video/video.h>

#include "stamp.h"

static inline guint32
stamp_video_line_bytes (const GstVideoFrame * frame, guint plane, guint component)
{
  gint pixel_stride = GST_VIDEO_FRAME_COMP_PSTRIDE (frame, component);
  if (pixel_stride <= 0)
    return ABS (GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane));
  return (guint32) (GST_VIDEO_FRAME_COMP_WIDTH (frame, component) * pixel_stride);
}

static inline void
stamp_video_image (const GstVideoFrame * frame, StampImage * ret_image)
{
  guint plane_count = MIN (GST_VIDEO_FRAME_N_PLANES (frame), STAMP_PLANES_MAX);

  ret_image->plane_count = plane_count;
  for (guint plane = 0; plane < plane_count; plane++) {
    guint component = 0;

    while (component + 1 < GST_VIDEO_FRAME_N_COMPONENTS (frame)
        && GST_VIDEO_FRAME_COMP_PLANE (frame, component) != plane)
      component++;
    ret_image->planes[plane] = (StampPlane) {
      .data = (uint8_t *) GST_VIDEO_FRAME_PLANE_DATA (frame, plane),
      .stride_bytes = GST_VIDEO_FRAME_PLANE_STRIDE (frame, plane),
      .line_bytes = stamp_video_line_bytes (frame, plane, component),
      .lines = (guint32) GST_VIDEO_FRAME_COMP_HEIGHT (frame, component),
    };
  }
}

static inline gboolean
stamp_video_write (GstVideoFrame * frame, const Stamp * stamp)
{
  StampImage image;

  stamp_video_image (frame, &image);
  return stamp_write (&image, stamp);
}

static inline StampState
stamp_video_read (const GstVideoFrame * frame, Stamp * ret_stamp)
{
  StampImage image;

  stamp_video_image (frame, &image);
  return stamp_read (&image, ret_stamp);
}

#endif
