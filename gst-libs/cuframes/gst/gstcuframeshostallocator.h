/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/**
 * GST_CUFRAMES_HOST_MEMORY_TYPE:
 *
 * Name of the memory that #GstCuframesHostAllocator makes.
 *
 * Since: 0.1
 */
#define GST_CUFRAMES_HOST_MEMORY_TYPE "CuframesHostMemory"

#define GST_TYPE_CUFRAMES_HOST_ALLOCATOR (gst_cuframes_host_allocator_get_type ())
CUFRAMES_API
G_DECLARE_FINAL_TYPE (GstCuframesHostAllocator, gst_cuframes_host_allocator, GST, CUFRAMES_HOST_ALLOCATOR, GstAllocator)

CUFRAMES_API
GstAllocator * gst_cuframes_host_allocator_new        (void);

CUFRAMES_API
gboolean       gst_is_cuframes_host_memory            (GstMemory * memory);

CUFRAMES_API
gint           gst_cuframes_host_memory_export_fd     (GstMemory * memory,
                                                       gsize * offset,
                                                       GError ** error);

CUFRAMES_API
void           gst_cuframes_host_memory_retarget      (GstMemory * memory,
                                                       CuframesArena * arena,
                                                       gsize arena_offset,
                                                       gsize size,
                                                       gpointer owner);

CUFRAMES_API
GstMemory *    gst_cuframes_host_allocator_wrap       (GstCuframesHostAllocator * allocator,
                                                       GstMemoryFlags flags,
                                                       CuframesArena * arena,
                                                       gsize arena_offset,
                                                       gsize size,
                                                       gpointer owner,
                                                       GDestroyNotify release);

G_END_DECLS
