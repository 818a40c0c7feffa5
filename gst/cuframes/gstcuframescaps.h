/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Which streams can cross a channel, and whether as frames or as packets. */
gboolean  gst_cuframes_caps_are_frames (const GstCaps * caps);

GstCaps * gst_cuframes_caps_filter     (GstCaps * caps);

gboolean  gst_cuframes_caps_accept     (GstCaps * caps);

G_END_DECLS
