/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stamps in GPU memory. Where Meson finds no gstreamer-cuda-1.0, fanout-cuda-absent.c says so to whoever asks. */
#ifndef FANOUT_CUDA_H
#define FANOUT_CUDA_H

#include <gst/video/video.h>

#include "stamp.h"

typedef struct _FanoutCuda FanoutCuda;

/* What is missing to run CUDA cases, or NULL if nothing is. */
const gchar *fanout_cuda_missing (void);
/* Device, driver and its version; (transfer full), NULL without one. */
gchar *fanout_cuda_describe (void);
/* KiB of memory in use on the first device, 0 in a process that has not used it. */
guint64 fanout_cuda_memory_used_kib (void);

/* The publisher's side: a source element that fills CUDA memory. NULL where something is missing. */
FanoutCuda *fanout_cuda_new (void);
void fanout_cuda_free (FanoutCuda * cuda);
gboolean fanout_cuda_open (FanoutCuda * cuda, GstElement * element);
void fanout_cuda_set_context (FanoutCuda * cuda, GstElement * element, GstContext * context);
gboolean fanout_cuda_query (FanoutCuda * cuda, GstElement * element, GstQuery * query);
GstBufferPool *fanout_cuda_pool_new (FanoutCuda * cuda);
/* Has the pool's frames carry the stream of the copies, as nvcodec's elements do. */
void fanout_cuda_configure (FanoutCuda * cuda, GstStructure * pool_config);
gboolean fanout_cuda_write (FanoutCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, const Stamp * stamp);

/* The subscriber's side: reads header and last mark back. */
StampState fanout_cuda_read (FanoutCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, Stamp * ret_stamp);
/* The same from memory of this process alone, to know what reading back costs by itself. */
GstBuffer *fanout_cuda_local_frame (FanoutCuda * cuda, const GstVideoInfo * info);

#endif
