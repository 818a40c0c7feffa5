/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "cuframes.h"
#include "gstcuframesenums.h"
#include "gstcuframesgpu.h"

G_BEGIN_DECLS

/* Frames of a channel as buffers: in place, or copied when too many are out. Reference-counted, since buffers outlive the element. */
typedef struct _GstCuframesSubscription GstCuframesSubscription;

GstCuframesSubscription * gst_cuframes_subscription_new         (GstElement * element,
                                                                GstCuframesIOMode io_mode);

void                      gst_cuframes_subscription_unref       (GstCuframesSubscription * self);

void                      gst_cuframes_subscription_set_gpu     (GstCuframesSubscription * self,
                                                                GstCuframesGpu * gpu);

void                      gst_cuframes_subscription_begin       (GstCuframesSubscription * self,
                                                                guint max_leases);

void                      gst_cuframes_subscription_prepare     (GstCuframesSubscription * self);

void                      gst_cuframes_subscription_end         (GstCuframesSubscription * self);

GstCaps *                 gst_cuframes_subscription_set_format  (GstCuframesSubscription * self,
                                                                gconstpointer bytes,
                                                                gsize size,
                                                                GError ** error);

GstBuffer *               gst_cuframes_subscription_wrap        (GstCuframesSubscription * self,
                                                                CuframesFrame * frame,
                                                                gboolean * copied,
                                                                GError ** error);

gboolean                  gst_cuframes_subscription_wait        (GstCuframesSubscription * self);

guint                     gst_cuframes_subscription_count_held  (GstCuframesSubscription * self);

void                      gst_cuframes_subscription_set_flushing (GstCuframesSubscription * self,
                                                                gboolean flushing);

G_END_DECLS
