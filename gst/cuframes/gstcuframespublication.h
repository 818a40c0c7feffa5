/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "gstcuframesgpu.h"

G_BEGIN_DECLS

/* The stream that a sink publishes: which ring is current, which buffers lie in it, and what has to be copied. */
typedef struct _GstCuframesPublication GstCuframesPublication;

typedef enum
{
  GST_CUFRAMES_PUBLISH_OK,      /* published, or dropped and counted */
  GST_CUFRAMES_PUBLISH_CANCELLED,       /* flushing: try again later */
  GST_CUFRAMES_PUBLISH_FAILED,  /* with an error, unless the pool has reported it */
} GstCuframesPublishResult;

GstCuframesPublication * gst_cuframes_publication_new        (GstElement * element,
                                                             CuframesPublisher * publisher,
                                                             guint slots,
                                                             GstCuframesPoolErrorFunction on_pool_error);

void                     gst_cuframes_publication_free       (GstCuframesPublication * self);

void                     gst_cuframes_publication_set_gpu    (GstCuframesPublication * self,
                                                             GstCuframesGpu * gpu,
                                                             gboolean by_fence);

gboolean                 gst_cuframes_publication_set_caps   (GstCuframesPublication * self,
                                                             GstCaps * caps,
                                                             GError ** error);

void                     gst_cuframes_publication_leave      (GstCuframesPublication * self);

GstBufferPool *          gst_cuframes_publication_make_pool  (GstCuframesPublication * self,
                                                             GstCaps * caps,
                                                             guint min_buffers,
                                                             guint * size);

gboolean                 gst_cuframes_publication_announce   (GstCuframesPublication * self,
                                                             GstBuffer * buffer);

GstCuframesPublishResult gst_cuframes_publication_publish    (GstCuframesPublication * self,
                                                             GstBuffer * buffer,
                                                             guint64 moment_ns,
                                                             GError ** error);

G_END_DECLS
