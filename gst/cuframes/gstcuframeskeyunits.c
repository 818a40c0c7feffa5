/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Force-key-unit events on behalf of subscribers, so many a second that an encoder can bear it. Knows no subscribers. */
#include "gstcuframeskeyunits.h"

#include <gst/video/video.h>

void
gst_cuframes_key_units_init (GstCuframesKeyUnits * self)
{
  *self = (GstCuframesKeyUnits) { 0 };
  g_mutex_init (&self->lock);
}

void
gst_cuframes_key_units_clear (GstCuframesKeyUnits * self)
{
  g_mutex_clear (&self->lock);
}

/* A stream begins. */
void
gst_cuframes_key_units_begin (GstCuframesKeyUnits * self, guint64 interval_ns)
{
  g_mutex_lock (&self->lock);
  self->interval_ns = interval_ns;
  self->sent_ns = 0;
  self->all_headers = FALSE;
  g_atomic_int_set (&self->waiting, FALSE);
  g_mutex_unlock (&self->lock);
}

/* Under the lock. */
static gboolean
is_time (const GstCuframesKeyUnits * self, guint64 now_ns)
{
  return self->sent_ns == 0 || now_ns - self->sent_ns >= self->interval_ns;
}

/* A subscriber asks. Any thread. */
void
gst_cuframes_key_units_ask (GstCuframesKeyUnits * self, GstPad * pad, gboolean all_headers)
{
  const guint64 now_ns = g_get_monotonic_time () * GST_USECOND;
  gboolean send;

  g_mutex_lock (&self->lock);
  send = is_time (self, now_ns);
  if (send)
    self->sent_ns = now_ns;
  /* Those who wait get with it what they asked for. */
  all_headers = all_headers || self->all_headers;
  self->all_headers = !send && all_headers;
  g_atomic_int_set (&self->waiting, !send);
  g_mutex_unlock (&self->lock);
  if (send)
    gst_pad_push_event (pad, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, all_headers, 0));
}

/* A packet of the stream has passed: a key unit is what those who wait have waited for, and without one their time may have come. */
void
gst_cuframes_key_units_pass (GstCuframesKeyUnits * self, GstPad * pad, gboolean is_key)
{
  gboolean send, all_headers;
  guint64 now_ns;

  if (!g_atomic_int_get (&self->waiting))
    return;
  now_ns = g_get_monotonic_time () * GST_USECOND;
  g_mutex_lock (&self->lock);
  send = !is_key && is_time (self, now_ns);
  all_headers = self->all_headers;
  if (send)
    self->sent_ns = now_ns;
  if (send || is_key) {
    self->all_headers = FALSE;
    g_atomic_int_set (&self->waiting, FALSE);
  }
  g_mutex_unlock (&self->lock);
  if (send)
    gst_pad_push_event (pad, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, all_headers, 0));
}
