/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libgstcuda of GStreamer 1.22: the private part of its memory belongs to its own allocator, so ours brings everything that an allocator
 * does. Elements of that version wait for their own work, and there are no streams to carry. */
#include "gstcuframescompat.h"

#include "gstcudavmmformats.h"

typedef struct
{
  GstCudaMemory cuda;           /* its priv stays NULL: only the default allocator looks at it */
  CUdeviceptr address;
  gpointer staging;             /* the CPU's view, pinned, of the same layout */
  GMutex lock;
  gpointer owner;
  GDestroyNotify release;
} WrappedMemory;

/* The whole memory as one line: another process's picture need not end with a whole one. */
static void
describe_block (const WrappedMemory * self, CUDA_MEMCPY2D * copy)
{
  memset (copy, 0, sizeof *copy);
  copy->srcPitch = copy->dstPitch = copy->WidthInBytes = self->cuda.mem.maxsize;
  copy->Height = 1;
}

static gboolean
run_copy (WrappedMemory * self, const CUDA_MEMCPY2D * copy)
{
  gboolean done;

  if (!gst_cuda_context_push (self->cuda.context))
    return FALSE;
  done = CuMemcpy2DAsync (copy, NULL) == CUDA_SUCCESS && CuStreamSynchronize (NULL) == CUDA_SUCCESS;
  gst_cuda_context_pop (NULL);
  return done;
}

static gboolean
upload (WrappedMemory * self)
{
  CUDA_MEMCPY2D copy;

  if (self->staging == NULL || !GST_MEMORY_FLAG_IS_SET (self, GST_CUDA_MEMORY_TRANSFER_NEED_UPLOAD))
    return TRUE;
  describe_block (self, &copy);
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = self->staging;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = self->address;
  return run_copy (self, &copy);
}

static gboolean
allocate_staging (WrappedMemory * self)
{
  gboolean done;

  if (!gst_cuda_context_push (self->cuda.context))
    return FALSE;
  done = CuMemAllocHost (&self->staging, self->cuda.mem.maxsize) == CUDA_SUCCESS;
  gst_cuda_context_pop (NULL);
  return done;
}

static gboolean
download (WrappedMemory * self)
{
  CUDA_MEMCPY2D copy;

  if (self->staging != NULL && !GST_MEMORY_FLAG_IS_SET (self, GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD))
    return TRUE;
  if (self->staging == NULL && !allocate_staging (self))
    return FALSE;
  describe_block (self, &copy);
  copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = self->address;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = self->staging;
  return run_copy (self, &copy);
}

static gpointer
wrapped_map (GstMemory * memory, gsize maxsize, GstMapFlags flags)
{
  WrappedMemory *self = (WrappedMemory *) memory;
  gpointer data = NULL;

  g_mutex_lock (&self->lock);
  if ((flags & GST_MAP_CUDA) == GST_MAP_CUDA) {
    if (upload (self)) {
      GST_MEMORY_FLAG_UNSET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_UPLOAD);
      if (flags & GST_MAP_WRITE)
        GST_MINI_OBJECT_FLAG_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD);
      data = (gpointer) (guintptr) self->address;
    }
  } else if (download (self)) {
    GST_MEMORY_FLAG_UNSET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD);
    if (flags & GST_MAP_WRITE)
      GST_MINI_OBJECT_FLAG_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_UPLOAD);
    data = self->staging;
  }
  g_mutex_unlock (&self->lock);
  return data;
}

static void
wrapped_unmap (GstMemory * memory, GstMapInfo * info)
{
}

/* (nullable): memory of the default allocator's, which must be named. It asserts that it knows the format, which a peer may have chosen. */
GstMemory *
gst_cuframes_compat_alloc (GstCudaContext * context, GstCudaStream * stream, const GstVideoInfo * info)
{
  GstAllocator *allocator;
  GstMemory *memory;

  if (!gst_cuda_vmm_formats_have (GST_VIDEO_INFO_FORMAT (info)))
    return NULL;
  allocator = gst_allocator_find (GST_CUDA_MEMORY_TYPE_NAME);
  memory = gst_cuda_allocator_alloc (GST_CUDA_ALLOCATOR (allocator), context, info);
  gst_object_unref (allocator);
  return memory;
}

static void
wrapped_free (GstAllocator * allocator, GstMemory * memory)
{
  WrappedMemory *self = (WrappedMemory *) memory;

  if (self->staging != NULL && gst_cuda_context_push (self->cuda.context)) {
    CuMemFreeHost (self->staging);
    gst_cuda_context_pop (NULL);
  }
  self->release (self->owner);
  gst_object_unref (self->cuda.context);
  g_mutex_clear (&self->lock);
  g_free (self);
}

void
gst_cuframes_compat_init_allocator (GstAllocator * allocator)
{
  GST_ALLOCATOR_GET_CLASS (allocator)->free = wrapped_free;
  allocator->mem_map = wrapped_map;
  allocator->mem_unmap_full = wrapped_unmap;
}

GstCudaStream *
gst_cuframes_compat_stream_new (GstCudaContext * context)
{
  return NULL;
}

void
gst_cuframes_compat_stream_unref (GstCudaStream * stream)
{
}

CUstream
gst_cuframes_compat_stream_get_handle (GstCudaStream * stream)
{
  return NULL;
}

GstCudaStream *
gst_cuframes_compat_config_get_stream (GstStructure * config)
{
  return NULL;
}

GstMemory *
gst_cuframes_compat_wrap (GstAllocator * allocator, GstCudaContext * context, GstCudaStream * stream, const GstVideoInfo * info,
    CUdeviceptr address, gpointer owner, GDestroyNotify release)
{
  WrappedMemory *self = g_new0 (WrappedMemory, 1);

  gst_memory_init (GST_MEMORY_CAST (self), 0, allocator, NULL, GST_VIDEO_INFO_SIZE (info), 0, 0, GST_VIDEO_INFO_SIZE (info));
  self->cuda.context = gst_object_ref (context);
  self->cuda.info = *info;
  self->address = address;
  self->owner = owner;
  self->release = release;
  g_mutex_init (&self->lock);
  return GST_MEMORY_CAST (self);
}

GstCudaStream *
gst_cuframes_compat_memory_get_stream (GstMemory * memory)
{
  return NULL;
}

gboolean
gst_cuframes_compat_memory_is_pending (GstMemory * memory)
{
  return FALSE;
}

void
gst_cuframes_compat_memory_set_pending (GstMemory * memory, gboolean pending)
{
}

void
gst_cuframes_compat_memory_sync (GstMemory * memory)
{
}
