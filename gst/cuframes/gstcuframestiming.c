/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps the arithmetic of gstcuframesclock.c up to date with an element's clock and base time. It runs once a frame after a sleep, when
 * every line of code and data is cold: with the usual clock it is two comparisons. */
#include "gstcuframestiming.h"

/* Shorter than any packet lasts, and long enough for many to stay apart in it. */
#define FIRST_MOMENT_NS GST_MSECOND

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

void
gst_cuframes_past_begin (GstCuframesPast * self, gboolean shift)
{
  *self = (GstCuframesPast) {.shift = shift };
}

/* The first packet says how far back the past goes; others are not looked at. */
void
gst_cuframes_past_look (GstCuframesPast * self, gint64 running_time_ns)
{
  if (!self->begun)
    self->reach_ns = running_time_ns < 0 ? -running_time_ns : 0;
  self->begun = TRUE;
}

/* The running time to use, in the order of the time given. */
GstClockTime
gst_cuframes_past_place (const GstCuframesPast * self, gint64 running_time_ns)
{
  const gint64 since = running_time_ns + self->reach_ns;

  if (since <= 0)
    return 0;
  if (self->shift || self->reach_ns == 0)
    return since;
  if (running_time_ns < 0)
    return gst_util_uint64_scale (since, FIRST_MOMENT_NS, self->reach_ns);
  return MAX ((GstClockTime) running_time_ns, FIRST_MOMENT_NS);
}
