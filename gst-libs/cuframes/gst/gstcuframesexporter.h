/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframesgpu.h"
#include "gstcuframesholds.h"

G_BEGIN_DECLS

/* Buffers and events as messages that carry their descriptors. One thread; private to the library and the plugin. */
typedef struct _GstCuframesExporter GstCuframesExporter;

GstCuframesExporter * gst_cuframes_exporter_new            (GstCuframesHolds * holds,
                                                            guint max_held);

GstCuframesExporter * gst_cuframes_exporter_free           (GstCuframesExporter * exporter);

void                  gst_cuframes_exporter_set_gpu        (GstCuframesExporter * exporter,
                                                            GstCuframesGpu * gpu);

gboolean              gst_cuframes_exporter_set_caps       (GstCuframesExporter * exporter,
                                                            const GstCaps * caps,
                                                            GError ** error);

void                  gst_cuframes_exporter_take_state     (GstCuframesExporter * exporter,
                                                            GBytes * state);

GstBuffer *           gst_cuframes_exporter_export_buffer  (GstCuframesExporter * exporter,
                                                            GstBuffer * buffer,
                                                            gboolean * copied,
                                                            GError ** error);

GstBuffer *           gst_cuframes_exporter_export_event   (GstCuframesExporter * exporter,
                                                            GstEvent * event,
                                                            GError ** error);

GstBuffer *           gst_cuframes_exporter_export_nothing (GstCuframesExporter * exporter,
                                                            GError ** error);

void                  gst_cuframes_exporter_skip           (GstCuframesExporter * exporter);

GstBufferPool *       gst_cuframes_exporter_make_pool      (GstCuframesGpu * gpu,
                                                            GstCaps * caps,
                                                            gsize size,
                                                            guint slots,
                                                            guint min_buffers);

G_END_DECLS
