/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframesmessage.h"

G_BEGIN_DECLS

/* Memory as descriptors, and what a descriptor is that somebody sent; private to the library and the plugin. */
gboolean gst_cuframes_descriptor_get_size  (gint fd,
                                            GstCuframesMessageMemoryKind kind,
                                            guint64 * size);

GBytes * gst_cuframes_descriptor_read      (gint fd,
                                            gsize size);

gint     gst_cuframes_descriptor_of_bytes  (gconstpointer data,
                                            gsize size);

gint     gst_cuframes_descriptor_of_memory (GstMemory * memory,
                                            GstCuframesMessageMemory * description);

G_END_DECLS
