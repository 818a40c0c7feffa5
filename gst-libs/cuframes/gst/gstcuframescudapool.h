/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcudavmmallocator.h"
#include "gstcuframespool.h"

G_BEGIN_DECLS

#define GST_TYPE_CUFRAMES_CUDA_POOL    (gst_cuframes_cuda_pool_get_type ())
#define GST_CUFRAMES_CUDA_POOL(obj)    (G_TYPE_CHECK_INSTANCE_CAST ((obj), GST_TYPE_CUFRAMES_CUDA_POOL, GstCuframesCudaPool))
#define GST_IS_CUFRAMES_CUDA_POOL(obj) (G_TYPE_CHECK_INSTANCE_TYPE ((obj), GST_TYPE_CUFRAMES_CUDA_POOL))

typedef struct _GstCuframesCudaPool GstCuframesCudaPool;
typedef struct _GstCuframesCudaPoolClass GstCuframesCudaPoolClass;

CUFRAMES_API
GType           gst_cuframes_cuda_pool_get_type       (void);

CUFRAMES_API
GstBufferPool * gst_cuframes_cuda_pool_new            (GstCudaVmmAllocator * allocator,
                                                       guint slots);

CUFRAMES_API
void            gst_cuframes_cuda_pool_set_error_func (GstBufferPool * pool,
                                                       GstCuframesPoolErrorFunction func,
                                                       gpointer user_data,
                                                       GDestroyNotify notify);

CUFRAMES_API
CuframesRing *  gst_cuframes_cuda_pool_peek_ring      (GstBufferPool * pool);

G_END_DECLS
