/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <gst/gst.h>

#include "cuframes.h"
#include "gstcuframesenums.h"

G_BEGIN_DECLS

/* What the user can set of a source, under its object lock, and the subscriber that it asks for. */
typedef struct
{
  gchar *channel;
  gchar *socket_path;
  GSocket *socket;
  CuframesDelivery delivery;
  CuframesStart start;
  GstCuframesIOMode io_mode;
  guint max_leases;
  gboolean reconnect;
  guint64 connect_timeout_ns;
  GstCuframesTimestamps timestamps;
  guint spin_us;
  gint cuda_device_id;
} GstCuframesSrcSettings;

void     gst_cuframes_src_settings_init    (GstCuframesSrcSettings * self);

void     gst_cuframes_src_settings_clear   (GstCuframesSrcSettings * self);

guint    gst_cuframes_src_settings_install (GObjectClass * object_class);

gboolean gst_cuframes_src_settings_set     (GstCuframesSrcSettings * self,
                                             guint id,
                                             const GValue * value);

gboolean gst_cuframes_src_settings_get     (const GstCuframesSrcSettings * self,
                                             guint id,
                                             GValue * value);

gboolean gst_cuframes_src_settings_open     (const GstCuframesSrcSettings * self,
                                             GSocket * socket,
                                             CuframesSubscriber ** subscriber,
                                             gint * socket_fd,
                                             gchar ** path,
                                             GError ** error);

G_END_DECLS
