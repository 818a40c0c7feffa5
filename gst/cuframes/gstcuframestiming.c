/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps the arithmetic of gstcuframesclock.c up to date with an element's clock and base time. It runs once a frame after a sleep, when
 * every line of code and data is cold: with the usual clock it is two comparisons. */
#include "gstcuframestiming.h"

void
gst_cuframes_timing_clear (GstCuframesTiming * self)
{
  gst_clear_object (&self->seen);
  gst_cuframes_clock_init (&self->clock);
}

static void
take_sample (GstCuframesTiming * self)
{
  const guint64 before = g_get_monotonic_time () * GST_USECOND;
  const GstClockTime now = gst_clock_get_time (self->seen);
  const guint64 after = g_get_monotonic_time () * GST_USECOND;

  gst_cuframes_clock_add_sample (&self->clock, before, now, after);
}

/* FALSE while the element has no clock. Streaming thread. */
gboolean
gst_cuframes_timing_follow (GstCuframesTiming * self, GstElement * element)
{
  GstClock *changed = NULL;

  GST_OBJECT_LOCK (element);
  if (GST_ELEMENT_CLOCK (element) != self->seen && GST_ELEMENT_CLOCK (element) != NULL)
    changed = gst_object_ref (GST_ELEMENT_CLOCK (element));
  gst_cuframes_clock_set_base_time (&self->clock, element->base_time);
  GST_OBJECT_UNLOCK (element);
  if (changed != NULL) {
    gst_clear_object (&self->seen);
    self->seen = changed;
    gst_cuframes_clock_set_clock (&self->clock, gst_cuframes_clock_is_monotonic (changed));
  }
  if (self->seen == NULL)
    return FALSE;
  if (gst_cuframes_clock_needs_samples (&self->clock))
    take_sample (self);
  return TRUE;
}
