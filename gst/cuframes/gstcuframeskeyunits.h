/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Key units that subscribers ask for: one event upstream for all that ask at about the same time. */
typedef struct
{
  GMutex lock;
  guint64 interval_ns;
  guint64 sent_ns;              /* 0: none yet */
  gint waiting;                 /* somebody asked too soon after the last one; atomic */
  gboolean all_headers;         /* for those that wait */
} GstCuframesKeyUnits;

void gst_cuframes_key_units_init  (GstCuframesKeyUnits * self);

void gst_cuframes_key_units_clear (GstCuframesKeyUnits * self);

void gst_cuframes_key_units_begin (GstCuframesKeyUnits * self,
                                   guint64 interval_ns);

void gst_cuframes_key_units_ask   (GstCuframesKeyUnits * self,
                                   GstPad * pad,
                                   gboolean all_headers);

void gst_cuframes_key_units_pass  (GstCuframesKeyUnits * self,
                                   GstPad * pad,
                                   gboolean is_key);

G_END_DECLS
