/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Buffers that are kept as they are for as long as somebody has their lease. Any thread; private to the library and the plugin. */
typedef struct _GstCuframesHolds GstCuframesHolds;

GstCuframesHolds * gst_cuframes_holds_new          (void);

GstCuframesHolds * gst_cuframes_holds_free         (GstCuframesHolds * holds);

gint               gst_cuframes_holds_add          (GstCuframesHolds * holds,
                                                    GstBuffer * buffer);

guint              gst_cuframes_holds_get_count    (GstCuframesHolds * holds);

gboolean           gst_cuframes_holds_wait         (GstCuframesHolds * holds,
                                                    guint room,
                                                    GstClockTime timeout);

void               gst_cuframes_holds_set_flushing (GstCuframesHolds * holds,
                                                    gboolean flushing);

G_END_DECLS
