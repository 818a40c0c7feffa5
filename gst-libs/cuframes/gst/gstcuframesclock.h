/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Shared between libgstcuframes and the plugin; not installed. */

/**
 * GstCuframesClock:
 *
 * Converts between the running time of a pipeline and CLOCK_MONOTONIC.  A plain
 * value without threads, clocks or memory of its own: the caller takes the
 * samples and holds the lock.  The fields are for gstcuframesclock.c.
 */
typedef struct {
  GstClockTime base_time_ns;
  gboolean is_monotonic;
  gboolean has_offset;
  gboolean is_starting;
  gint64 offset_ns;
  guint64 slewed_at_ns;
  gint64 target_ns;
  gint64 best_offset_ns;
  guint64 best_gap_ns;
  guint n_samples;
} GstCuframesClock;

void         gst_cuframes_clock_init            (GstCuframesClock * self);

gboolean     gst_cuframes_clock_is_monotonic    (GstClock * clock);

void         gst_cuframes_clock_set_clock       (GstCuframesClock * self,
                                                 gboolean is_monotonic);

void         gst_cuframes_clock_set_base_time   (GstCuframesClock * self,
                                                 GstClockTime base_time_ns);

gboolean     gst_cuframes_clock_add_sample      (GstCuframesClock * self,
                                                 guint64 before_ns,
                                                 GstClockTime clock_time_ns,
                                                 guint64 after_ns);

gboolean     gst_cuframes_clock_needs_samples   (const GstCuframesClock * self);

guint64      gst_cuframes_clock_to_monotonic    (const GstCuframesClock * self,
                                                 GstClockTime running_time_ns);

guint64      gst_cuframes_clock_to_monotonic_full
                                                (const GstCuframesClock * self,
                                                 gint sign,
                                                 GstClockTime running_time_ns);

GstClockTime gst_cuframes_clock_to_running_time (const GstCuframesClock * self,
                                                 guint64 monotonic_ns);

gint         gst_cuframes_clock_to_running_time_full
                                                (const GstCuframesClock * self,
                                                 guint64 monotonic_ns,
                                                 GstClockTime * running_time_ns);

G_END_DECLS
