/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for fanout-cuda.c where gstreamer-cuda-1.0 is not installed. */
#include "fanout-cuda.h"

const gchar *
fanout_cuda_missing (void)
{
  return "built without gstreamer-cuda-1.0";
}

gchar *
fanout_cuda_describe (void)
{
  return NULL;
}

guint64
fanout_cuda_memory_used_kib (void)
{
  return 0;
}

FanoutCuda *
fanout_cuda_new (void)
{
  return NULL;
}

void
fanout_cuda_free (FanoutCuda * cuda)
{
  (void) cuda;
}

gboolean
fanout_cuda_open (FanoutCuda * cuda, GstElement * element)
{
  (void) cuda, (void) element;
  return FALSE;
}

void
fanout_cuda_set_context (FanoutCuda * cuda, GstElement * element, GstContext * context)
{
  (void) cuda, (void) element, (void) context;
}

gboolean
fanout_cuda_query (FanoutCuda * cuda, GstElement * element, GstQuery * query)
{
  (void) cuda, (void) element, (void) query;
  return FALSE;
}

GstBufferPool *
fanout_cuda_pool_new (FanoutCuda * cuda)
{
  (void) cuda;
  return NULL;
}

void
fanout_cuda_configure (FanoutCuda * cuda, GstStructure * pool_config)
{
  (void) cuda, (void) pool_config;
}

gboolean
fanout_cuda_write (FanoutCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, const Stamp * stamp)
{
  (void) cuda, (void) buffer, (void) info, (void) stamp;
  return FALSE;
}

StampState
fanout_cuda_read (FanoutCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, Stamp * ret_stamp)
{
  (void) cuda, (void) buffer, (void) info, (void) ret_stamp;
  return STAMP_ABSENT;
}

GstBuffer *
fanout_cuda_local_frame (FanoutCuda * cuda, const GstVideoInfo * info)
{
  (void) cuda, (void) info;
  return NULL;
}
