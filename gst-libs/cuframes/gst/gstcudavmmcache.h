/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcudavmmallocator-private.h"

G_BEGIN_DECLS

typedef struct _GstCudaVmmCache GstCudaVmmCache;

GstCudaVmmCache * gst_cuda_vmm_cache_new   (GstCudaVmmAllocator * allocator,
                                            CuframesArena * arena,
                                            const GstVideoInfo * info,
                                            gpointer stream);

GstCudaVmmCache * gst_cuda_vmm_cache_close (GstCudaVmmCache * self);

gboolean          gst_cuda_vmm_cache_fits  (const GstCudaVmmCache * self,
                                            const CuframesArena * arena,
                                            const GstVideoInfo * info);

GstMemory *       gst_cuda_vmm_cache_wrap  (GstCudaVmmCache * self,
                                            guint64 offset,
                                            gpointer owner,
                                            GDestroyNotify release);

G_END_DECLS
