/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stamps in GPU memory. Where Meson finds no gstreamer-cuda-1.0, stamp-cuda-absent.c says so to whoever asks. */
#ifndef STAMP_CUDA_H
#define STAMP_CUDA_H

#include <gst/video/video.h>

#include "stamp.h"

typedef struct _StampCuda StampCuda;

/* What is missing to run CUDA cases, or NULL if nothing is. */
const gchar *stamp_cuda_missing (void);
/* Device, driver and its version; (transfer full), NULL without one. */
gchar *stamp_cuda_describe (void);
/* KiB of memory in use on the first device, 0 in a process that has not used it. */
guint64 stamp_cuda_memory_used_kib (void);

/* The publisher's side: a source element that fills CUDA memory. NULL where something is missing. */
StampCuda *stamp_cuda_new (void);
void stamp_cuda_free (StampCuda * cuda);
gboolean stamp_cuda_open (StampCuda * cuda, GstElement * element);
void stamp_cuda_set_context (StampCuda * cuda, GstElement * element, GstContext * context);
gboolean stamp_cuda_query (StampCuda * cuda, GstElement * element, GstQuery * query);
GstBufferPool *stamp_cuda_pool_new (StampCuda * cuda);
/* Has the pool's frames carry the stream of the copies, as nvcodec's elements do. */
void stamp_cuda_configure (StampCuda * cuda, GstStructure * pool_config);
gboolean stamp_cuda_write (StampCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, const Stamp * stamp);

/* The subscriber's side: reads header and last mark back. */
StampState stamp_cuda_read (StampCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, Stamp * ret_stamp);
/* The same from memory of this process alone, to know what reading back costs by itself. */
GstBuffer *stamp_cuda_local_frame (StampCuda * cuda, const GstVideoInfo * info);

#endif
