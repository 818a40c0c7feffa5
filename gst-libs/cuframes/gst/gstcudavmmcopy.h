/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframescompat.h"

G_BEGIN_DECLS

gboolean    gst_cuda_vmm_copy_queue_plane (const GstVideoInfo * info,
                                           guint plane,
                                           gboolean from_gpu,
                                           gconstpointer from,
                                           gint from_stride,
                                           gpointer to,
                                           gint to_stride,
                                           CUstream stream);

GstMemory * gst_cuda_vmm_copy_memory      (GstMemory * memory,
                                           gssize offset,
                                           gssize size);

G_END_DECLS
