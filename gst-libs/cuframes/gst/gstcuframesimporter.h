/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframesgpu.h"
#include "gstcuframesmessage.h"

G_BEGIN_DECLS

/* Buffers out of the messages of a cuframespay. One thread; private to the library and the plugin. */
typedef struct _GstCuframesImporter GstCuframesImporter;

GstCuframesImporter * gst_cuframes_importer_new      (void);

GstCuframesImporter * gst_cuframes_importer_free     (GstCuframesImporter * importer);

void                  gst_cuframes_importer_set_gpu  (GstCuframesImporter * importer,
                                                      GstCuframesGpu * gpu);

void                  gst_cuframes_importer_set_caps (GstCuframesImporter * importer,
                                                      const GstCaps * caps);

GBytes *              gst_cuframes_importer_get_state (const GstCuframesMessage * message,
                                                       const gint * fds);

GBytes *              gst_cuframes_importer_get_payload (const GstCuframesMessage * message,
                                                       const gint * fds);

GstBuffer *           gst_cuframes_importer_import   (GstCuframesImporter * importer,
                                                      const GstCuframesMessage * message,
                                                      gint * fds,
                                                      guint * n_skipped_metas,
                                                      GError ** error);

G_END_DECLS
