/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"
#include "gstcuframesenums.h"

G_BEGIN_DECLS

/* What the user can set of a sink, under its object lock, and what a channel is opened by. */
typedef struct
{
  gchar *channel;
  gchar *socket_path;
  guint slots;
  CuframesOverflow overflow;
  guint64 overflow_timeout_ns;
  guint max_subscribers;
  guint max_leases;
  guint wait_for_subscribers;
  guint socket_mode;
  gchar *allow_uids;
  gchar *allow_gids;
  gint cuda_device_id;
  GstCuframesGpuSync gpu_sync;
  guint64 packet_ring_bytes;
  guint packet_ring_packets;
  guint64 key_unit_interval_ns;
} GstCuframesSinkSettings;

void     gst_cuframes_sink_settings_init    (GstCuframesSinkSettings * self);

void     gst_cuframes_sink_settings_clear   (GstCuframesSinkSettings * self);

guint    gst_cuframes_sink_settings_install (GObjectClass * object_class);

gboolean gst_cuframes_sink_settings_set     (GstCuframesSinkSettings * self,
                                             guint id,
                                             const GValue * value);

gboolean gst_cuframes_sink_settings_get     (const GstCuframesSinkSettings * self,
                                             guint id,
                                             GValue * value);

gboolean gst_cuframes_sink_settings_open    (const GstCuframesSinkSettings * self,
                                             const CuframesPublisherCallbacks * callbacks,
                                             gpointer user_data,
                                             CuframesPublisher ** publisher,
                                             gchar ** text);

G_END_DECLS
