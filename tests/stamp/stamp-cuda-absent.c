/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stands in for stamp-cuda.c where gstreamer-cuda-1.0 is not installed. */
#include "stamp-cuda.h"

const gchar *
stamp_cuda_missing (void)
{
  return "built without gstreamer-cuda-1.0";
}

gchar *
stamp_cuda_describe (void)
{
  return NULL;
}

guint64
stamp_cuda_memory_used_kib (void)
{
  return 0;
}

StampCuda *
stamp_cuda_new (void)
{
  return NULL;
}

void
stamp_cuda_free (StampCuda * cuda)
{
  (void) cuda;
}

gboolean
stamp_cuda_open (StampCuda * cuda, GstElement * element)
{
  (void) cuda, (void) element;
  return FALSE;
}

void
stamp_cuda_set_context (StampCuda * cuda, GstElement * element, GstContext * context)
{
  (void) cuda, (void) element, (void) context;
}

gboolean
stamp_cuda_query (StampCuda * cuda, GstElement * element, GstQuery * query)
{
  (void) cuda, (void) element, (void) query;
  return FALSE;
}

GstBufferPool *
stamp_cuda_pool_new (StampCuda * cuda)
{
  (void) cuda;
  return NULL;
}

void
stamp_cuda_configure (StampCuda * cuda, GstStructure * pool_config)
{
  (void) cuda, (void) pool_config;
}

gboolean
stamp_cuda_write (StampCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, const Stamp * stamp)
{
  (void) cuda, (void) buffer, (void) info, (void) stamp;
  return FALSE;
}

StampState
stamp_cuda_read (StampCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, Stamp * ret_stamp)
{
  (void) cuda, (void) buffer, (void) info, (void) ret_stamp;
  return STAMP_ABSENT;
}

GstBuffer *
stamp_cuda_local_frame (StampCuda * cuda, const GstVideoInfo * info)
{
  (void) cuda, (void) info;
  return NULL;
}
