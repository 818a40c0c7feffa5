/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "cuframes-cuda-device.h"
#include "gstcudavmmallocator.h"

G_BEGIN_DECLS

/* For the plugin too; not in an installed header. */
CUFRAMES_API
GstCudaContext *     gst_cuda_vmm_allocator_peek_context (GstCudaVmmAllocator * allocator);

CUFRAMES_API
CuframesCudaDevice * gst_cuda_vmm_allocator_peek_device  (GstCudaVmmAllocator * allocator);

CUFRAMES_API
gboolean             gst_cuda_vmm_allocator_lay_out      (GstCudaVmmAllocator * allocator,
                                                          const GstVideoInfo * info,
                                                          GstVideoInfo * laid_out);

CUFRAMES_API
void                 gst_cuda_vmm_memory_detach_stream   (GstMemory * memory);

CUFRAMES_API
GstMemory *          gst_cuda_vmm_allocator_alloc_as     (GstCudaVmmAllocator * allocator,
                                                          const GstVideoInfo * laid_out,
                                                          GError ** error);

G_END_DECLS
