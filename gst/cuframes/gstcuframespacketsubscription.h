/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* Packets of a channel as buffers, copied once out of the ring. */
typedef struct _GstCuframesPacketSubscription GstCuframesPacketSubscription;

GstCuframesPacketSubscription * gst_cuframes_packet_subscription_new         (GstElement * element);

void                            gst_cuframes_packet_subscription_free        (GstCuframesPacketSubscription * self);

GstCaps *                       gst_cuframes_packet_subscription_set_format  (GstCuframesPacketSubscription * self,
                                                                              gconstpointer bytes,
                                                                              gsize size,
                                                                              GError ** error);

GstBuffer *                     gst_cuframes_packet_subscription_take        (GstCuframesPacketSubscription * self,
                                                                              CuframesSubscriber * subscriber,
                                                                              const CuframesPacketInfo * info,
                                                                              GError ** error);

void                            gst_cuframes_packet_subscription_get_headers (GstCuframesPacketSubscription * self,
                                                                              GstBuffer * first,
                                                                              GQueue * headers);

G_END_DECLS
