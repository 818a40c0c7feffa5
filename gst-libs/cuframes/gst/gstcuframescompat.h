/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include <gst/cuda/cuda-gst.h>
#if GST_CHECK_VERSION (1, 24, 0)
#include <gst/cuda/gstcudastream.h>
#endif

G_BEGIN_DECLS

/* The one place that knows what differs between the versions of libgstcuda. Before 1.24 memory has no stream and no way to wrap a
 * pointer: there an allocator of our own maps, copies and frees it, and elements wait for their own work. */
#if !GST_CHECK_VERSION (1, 24, 0)
typedef struct _GstCudaStream GstCudaStream;
#endif

void            gst_cuframes_compat_init_allocator    (GstAllocator * allocator);

GstCudaStream * gst_cuframes_compat_stream_new        (GstCudaContext * context);

void            gst_cuframes_compat_stream_unref      (GstCudaStream * stream);

CUstream        gst_cuframes_compat_stream_get_handle (GstCudaStream * stream);

GstCudaStream * gst_cuframes_compat_config_get_stream (GstStructure * config);

GstMemory *     gst_cuframes_compat_alloc             (GstCudaContext * context,
                                                       GstCudaStream * stream,
                                                       const GstVideoInfo * info);

GstMemory *     gst_cuframes_compat_wrap              (GstAllocator * allocator,
                                                       GstCudaContext * context,
                                                       GstCudaStream * stream,
                                                       const GstVideoInfo * info,
                                                       CUdeviceptr address,
                                                       gpointer owner,
                                                       GDestroyNotify release);

GstCudaStream * gst_cuframes_compat_memory_get_stream (GstMemory * memory);

gboolean        gst_cuframes_compat_memory_is_pending (GstMemory * memory);

void            gst_cuframes_compat_memory_set_pending (GstMemory * memory,
                                                       gboolean pending);

void            gst_cuframes_compat_memory_sync       (GstMemory * memory);

G_END_DECLS
