/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* The tie between a GstMemory and a slot of a ring that this process publishes; private to the library and the plugin. */
typedef struct
{
  CuframesRing *ring;
  guint32 index;
} GstCuframesSlot;

GstCuframesSlot * gst_cuframes_slot_claim  (CuframesRing * ring,
                                            guint64 timeout_ns,
                                            gint * result);

GstCuframesSlot * gst_cuframes_slot_claim_for_copy
                                           (CuframesPublisher * publisher,
                                            CuframesRing * ring,
                                            gint * result);

void              gst_cuframes_slot_free   (gpointer slot);

void              gst_cuframes_slot_attach (GstCuframesSlot * slot,
                                            GstMemory * memory);

GstCuframesSlot * gst_cuframes_slot_peek   (GstMemory * memory);

G_END_DECLS
