/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PUBLISH_SOURCE_H
#define PUBLISH_SOURCE_H

#include <gst/gst.h>

#include "publish-place.h"

typedef struct
{
  const PublishPlace *place;
  guint latency_ms;
  const gchar *transport;
  const gchar *caps;
  gboolean wants_audio;
} PublishSourceConfig;

/* On streaming threads. */
typedef struct
{
  void (*stream) (GstPad * pad, gpointer user_data);    /* parsed, or raw */
  void (*no_more_streams) (gpointer user_data);
  void (*sound_left_out) (gpointer user_data);
  gpointer user_data;           /* lives as long as the bin plays */
} PublishSourceCallbacks;

gboolean publish_source_add (GstBin * bin, const PublishSourceConfig * config, const PublishSourceCallbacks * callbacks, GError ** error);

#endif
