/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gio/gio.h>
#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* What both elements know of channels: names to paths, conditions to sentences, statistics to structures. */
gboolean       gst_cuframes_channel_resolve       (const gchar * channel,
                                                   const gchar * socket_path,
                                                   gchar ** path,
                                                   gchar ** text);

gint           gst_cuframes_channel_copy_socket   (GSocket * socket,
                                                   gchar ** text);

gchar *        gst_cuframes_channel_explain_open  (const gchar * path,
                                                   gint result);

GArray *       gst_cuframes_channel_parse_users   (const gchar * list,
                                                   gchar ** text);

GArray *       gst_cuframes_channel_parse_groups  (const gchar * list,
                                                   gchar ** text);

GstStructure * gst_cuframes_channel_get_stats     (CuframesPublisher * publisher);

GstStructure * gst_cuframes_channel_describe_subscriber (const CuframesSubscriberStats * stats);

G_END_DECLS
