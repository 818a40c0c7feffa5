/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "cuframes.h"
#include "gstcudavmmformats.h"

G_BEGIN_DECLS

typedef enum
{
  GST_CUFRAMES_IO_MODE_AUTO,
  GST_CUFRAMES_IO_MODE_ZERO_COPY,
  GST_CUFRAMES_IO_MODE_COPY,
} GstCuframesIOMode;

typedef enum
{
  GST_CUFRAMES_TIMESTAMPS_SYNCHRONISED,
  GST_CUFRAMES_TIMESTAMPS_ORIGINAL,
} GstCuframesTimestamps;

typedef enum
{
  GST_CUFRAMES_GPU_SYNC_HOST,
  GST_CUFRAMES_GPU_SYNC_FENCE,
} GstCuframesGpuSync;

/* What both elements carry, by preference. */
#define GST_CUFRAMES_VIDEO_CAPS \
  GST_VIDEO_CAPS_MAKE_WITH_FEATURES ("memory:CUDAMemory", GST_CUDA_VMM_FORMATS) "; " GST_VIDEO_CAPS_MAKE (GST_VIDEO_FORMATS_ALL)

/* Keys of what the sink itself keeps for those who join late; above those of any GstEvent. */
#define GST_CUFRAMES_STICKY_LATENCY (G_GUINT64_CONSTANT (1) << 63)
#define GST_CUFRAMES_STICKY_HEADERS (GST_CUFRAMES_STICKY_LATENCY + 1)

/* What the sink tells the source, and the source tells nobody: whether the stream began with the headers that its caps carry. */
#define GST_CUFRAMES_HEADERS_EVENT "GstCuframesHeaders"

void gst_cuframes_warn_of_late_property (GstElement * element, const GParamSpec * spec);

#define GST_TYPE_CUFRAMES_OVERFLOW (gst_cuframes_overflow_get_type ())
GType gst_cuframes_overflow_get_type (void);

#define GST_TYPE_CUFRAMES_DELIVERY (gst_cuframes_delivery_get_type ())
GType gst_cuframes_delivery_get_type (void);

#define GST_TYPE_CUFRAMES_START (gst_cuframes_start_get_type ())
GType gst_cuframes_start_get_type (void);

#define GST_TYPE_CUFRAMES_IO_MODE (gst_cuframes_io_mode_get_type ())
GType gst_cuframes_io_mode_get_type (void);

#define GST_TYPE_CUFRAMES_TIMESTAMPS (gst_cuframes_timestamps_get_type ())
GType gst_cuframes_timestamps_get_type (void);

#define GST_TYPE_CUFRAMES_GPU_SYNC (gst_cuframes_gpu_sync_get_type ())
GType gst_cuframes_gpu_sync_get_type (void);

G_END_DECLS
