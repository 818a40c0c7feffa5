/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libgstcuda of GStreamer 1.24 and later: memory carries the stream that writes it. */
#include "gstcuframescompat.h"

void
gst_cuframes_compat_init_allocator (GstAllocator * allocator)
{
}

/* (nullable): without one, work goes to the default stream. */
GstCudaStream *
gst_cuframes_compat_stream_new (GstCudaContext * context)
{
  return gst_cuda_stream_new (context);
}

void
gst_cuframes_compat_stream_unref (GstCudaStream * stream)
{
  gst_clear_cuda_stream (&stream);
}

CUstream
gst_cuframes_compat_stream_get_handle (GstCudaStream * stream)
{
  return stream == NULL ? NULL : gst_cuda_stream_get_handle (stream);
}

GstCudaStream *
gst_cuframes_compat_config_get_stream (GstStructure * config)
{
  return gst_buffer_pool_config_get_cuda_stream (config);
}

GstMemory *
gst_cuframes_compat_alloc (GstCudaContext * context, GstCudaStream * stream, const GstVideoInfo * info)
{
  return gst_cuda_allocator_alloc (NULL, context, stream, info);
}

GstMemory *
gst_cuframes_compat_wrap (GstAllocator * allocator, GstCudaContext * context, GstCudaStream * stream, const GstVideoInfo * info,
    CUdeviceptr address, gpointer owner, GDestroyNotify release)
{
  return gst_cuda_allocator_alloc_wrapped (GST_CUDA_ALLOCATOR (allocator), context, stream, info, address, owner, release);
}

GstCudaStream *
gst_cuframes_compat_memory_get_stream (GstMemory * memory)
{
  return gst_cuda_memory_get_stream (GST_CUDA_MEMORY_CAST (memory));
}

/* Whether work that writes the memory may still be under way on its stream. */
gboolean
gst_cuframes_compat_memory_is_pending (GstMemory * memory)
{
  return GST_MEMORY_FLAG_IS_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_SYNC);
}

void
gst_cuframes_compat_memory_set_pending (GstMemory * memory, gboolean pending)
{
  if (pending)
    GST_MINI_OBJECT_FLAG_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_SYNC);
  else
    GST_MINI_OBJECT_FLAG_UNSET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_SYNC);
}

void
gst_cuframes_compat_memory_sync (GstMemory * memory)
{
  gst_cuda_memory_sync (GST_CUDA_MEMORY_CAST (memory));
}
