/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures in GPU memory are copied plane by plane, because the two sides may be laid out differently: a publisher may choose its own offsets and
 * strides, while memory of libgstcuda's has always its. Knows no frame and no slot. */
#include "gstcudavmmcopy.h"

#include "gstcudavmmallocator-private.h"

/* With the context current. info has the picture's format and size; what of a line lies behind its samples is not copied. */
gboolean
gst_cuda_vmm_copy_queue_plane (const GstVideoInfo * info, guint plane, gboolean from_gpu, gconstpointer from, gint from_stride, gpointer to,
    gint to_stride, CUstream stream)
{
  CUDA_MEMCPY2D copy = { 0 };
  gint components[GST_VIDEO_MAX_COMPONENTS];

  gst_video_format_info_component (info->finfo, plane, components);
  copy.srcMemoryType = from_gpu ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  copy.srcDevice = from_gpu ? (CUdeviceptr) (guintptr) from : 0;
  copy.srcHost = from;
  copy.srcPitch = from_stride;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = (CUdeviceptr) (guintptr) to;
  copy.dstPitch = to_stride;
  copy.WidthInBytes = GST_VIDEO_INFO_COMP_WIDTH (info, components[0]) * GST_VIDEO_INFO_COMP_PSTRIDE (info, components[0]);
  copy.Height = GST_VIDEO_INFO_COMP_HEIGHT (info, components[0]);
  return CuMemcpy2DAsync (&copy, stream) == CUDA_SUCCESS;
}

/* On the stream that writes or wrote the source. */
static gboolean
copy_planes (GstMemory * memory, gconstpointer from, GstMemory * target, gpointer to)
{
  const GstVideoInfo *info = &GST_CUDA_MEMORY_CAST (memory)->info, *target_info = &GST_CUDA_MEMORY_CAST (target)->info;
  CUstream stream = gst_cuframes_compat_stream_get_handle (gst_cuframes_compat_memory_get_stream (memory));
  gboolean copied = TRUE;

  if (!gst_cuda_context_push (GST_CUDA_MEMORY_CAST (memory)->context))
    return FALSE;
  for (guint plane = 0; plane < GST_VIDEO_INFO_N_PLANES (info); plane++)
    copied = copied && gst_cuda_vmm_copy_queue_plane (info, plane, TRUE, (const guint8 *) from + GST_VIDEO_INFO_PLANE_OFFSET (info, plane),
        GST_VIDEO_INFO_PLANE_STRIDE (info, plane), (guint8 *) to + GST_VIDEO_INFO_PLANE_OFFSET (target_info, plane),
        GST_VIDEO_INFO_PLANE_STRIDE (target_info, plane), stream);
  copied = CuStreamSynchronize (stream) == CUDA_SUCCESS && copied;
  gst_cuda_context_pop (NULL);
  return copied;
}

static gboolean
lies_as (const GstVideoInfo * info, const GstVideoInfo * other)
{
  return memcmp (info->offset, other->offset, sizeof info->offset) == 0 && memcmp (info->stride, other->stride, sizeof info->stride) == 0;
}

/* A GstMemoryCopyFunction: a deep copy of all of it. It lies as it did, for so the buffer's GstVideoMeta says, which is copied as it is: in memory of
 * the default allocator's where that one lays it out so, else in some of ours. */
GstMemory *
gst_cuda_vmm_copy_memory (GstMemory * memory, gssize offset, gssize size)
{
  GstCudaMemory *self = GST_CUDA_MEMORY_CAST (memory);
  GstMemory *target;
  GstMapInfo from, to;
  gboolean done = FALSE;

  if (offset != 0 || (size != -1 && (gsize) size != memory->size))
    return NULL;
  target = gst_cuframes_compat_alloc (self->context, gst_cuframes_compat_memory_get_stream (memory), &self->info);
  if (target != NULL && !lies_as (&GST_CUDA_MEMORY_CAST (target)->info, &self->info)) {
    gst_memory_unref (target);
    target = gst_cuda_vmm_allocator_alloc_as (GST_CUDA_VMM_ALLOCATOR (memory->allocator), &self->info, NULL);
  }
  if (target == NULL)
    return NULL;
  if (gst_memory_map (memory, &from, (GstMapFlags) (GST_MAP_READ | GST_MAP_CUDA))) {
    if (gst_memory_map (target, &to, (GstMapFlags) (GST_MAP_WRITE | GST_MAP_CUDA))) {
      done = copy_planes (memory, from.data, target, to.data);
      gst_memory_unmap (target, &to);
    }
    gst_memory_unmap (memory, &from);
  }
  gst_cuframes_compat_memory_set_pending (target, FALSE);
  if (!done)
    g_clear_pointer (&target, gst_memory_unref);
  return target;
}
