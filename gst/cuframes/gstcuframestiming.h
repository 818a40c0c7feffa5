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

void     gst_cuframes_timing_clear  (GstCuframesTiming * self);

gboolean gst_cuframes_timing_follow (GstCuframesTiming * self,
                                     GstElement * element);

G_END_DECLS
