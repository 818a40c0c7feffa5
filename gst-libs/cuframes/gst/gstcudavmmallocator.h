/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* Of gst/cuda/gstcudacontext.h, which needs cuda.h. */
#ifndef __GI_SCANNER__
typedef struct _GstCudaContext GstCudaContext;
#else
/* It is GstCuda's there, as the annotations say, and must not become one of ours. */
#define GstCudaContext GstObject
#endif
typedef struct _GstCudaVmmAllocator GstCudaVmmAllocator;
typedef struct _GstCudaVmmAllocatorClass GstCudaVmmAllocatorClass;

#define GST_TYPE_CUDA_VMM_ALLOCATOR    (gst_cuda_vmm_allocator_get_type ())
#define GST_CUDA_VMM_ALLOCATOR(obj)    (G_TYPE_CHECK_INSTANCE_CAST ((obj), GST_TYPE_CUDA_VMM_ALLOCATOR, GstCudaVmmAllocator))
#define GST_IS_CUDA_VMM_ALLOCATOR(obj) (G_TYPE_CHECK_INSTANCE_TYPE ((obj), GST_TYPE_CUDA_VMM_ALLOCATOR))

CUFRAMES_API
GType           gst_cuda_vmm_allocator_get_type    (void);

CUFRAMES_API
GstAllocator *  gst_cuda_vmm_allocator_new         (GstCudaContext * context,
                                                    GError ** error);

CUFRAMES_API
GstMemory *     gst_cuda_vmm_allocator_alloc       (GstCudaVmmAllocator * allocator,
                                                    const GstVideoInfo * info,
                                                    GError ** error);

CUFRAMES_API
GstMemory *     gst_cuda_vmm_allocator_import      (GstCudaVmmAllocator * allocator,
                                                    const GstVideoInfo * info,
                                                    gint fd,
                                                    guint64 arena_size,
                                                    guint64 offset,
                                                    gboolean writable,
                                                    GError ** error);

CUFRAMES_API
GstMemory *     gst_cuda_vmm_allocator_wrap        (GstCudaVmmAllocator * allocator,
                                                    GstMemoryFlags flags,
                                                    const GstVideoInfo * info,
                                                    gpointer stream,
                                                    CuframesArena * arena,
                                                    guint64 offset,
                                                    gpointer owner,
                                                    GDestroyNotify release);

CUFRAMES_API
gboolean        gst_is_cuda_vmm_memory             (GstMemory * memory);

CUFRAMES_API
gint            gst_cuda_vmm_memory_export_fd      (GstMemory * memory,
                                                    guint64 * arena_size,
                                                    guint64 * offset,
                                                    GError ** error);

CUFRAMES_API
CuframesArena * gst_cuda_vmm_memory_peek_arena     (GstMemory * memory);

G_END_DECLS
