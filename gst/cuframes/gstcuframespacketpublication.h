/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* The packets that a sink publishes: everything but raw video. */
typedef struct _GstCuframesPacketPublication GstCuframesPacketPublication;

GstCuframesPacketPublication * gst_cuframes_packet_publication_new      (GstElement * element,
                                                                         CuframesPublisher * publisher,
                                                                         guint64 ring_bytes,
                                                                         guint ring_packets);

void                           gst_cuframes_packet_publication_free     (GstCuframesPacketPublication * self);

gboolean                       gst_cuframes_packet_publication_set_caps (GstCuframesPacketPublication * self,
                                                                         GstCaps * caps,
                                                                         GError ** error);

void                           gst_cuframes_packet_publication_restart  (GstCuframesPacketPublication * self);

void                           gst_cuframes_packet_publication_leave    (GstCuframesPacketPublication * self);

gboolean                       gst_cuframes_packet_publication_publish  (GstCuframesPacketPublication * self,
                                                                         GstBuffer * buffer,
                                                                         guint64 moment_ns,
                                                                         gboolean * is_key,
                                                                         GError ** error);

G_END_DECLS
