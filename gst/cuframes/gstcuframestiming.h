/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "gstcuframesclock.h"

G_BEGIN_DECLS

/* An element's clock against CLOCK_MONOTONIC, which every process of the host shares. */
typedef struct
{
  GstCuframesClock clock;
  GstClock *seen;               /* the clock that the above is about */
} GstCuframesTiming;

/* Packets that were due before this pipeline was: a decoder needs them, and running time has no place for them. */
typedef struct
{
  gboolean shift;               /* whether the stream's time begins with them, or they are squeezed into its first moment */
  gboolean begun;
  gint64 reach_ns;              /* how far back the first packet is */
} GstCuframesPast;

void         gst_cuframes_past_begin    (GstCuframesPast * self,
                                         gboolean shift);

void         gst_cuframes_past_look     (GstCuframesPast * self,
                                         gint64 running_time_ns);

GstClockTime gst_cuframes_past_place    (const GstCuframesPast * self,
                                         gint64 running_time_ns);

void         gst_cuframes_timing_clear  (GstCuframesTiming * self);

gboolean     gst_cuframes_timing_follow (GstCuframesTiming * self,
                                         GstElement * element);

G_END_DECLS
