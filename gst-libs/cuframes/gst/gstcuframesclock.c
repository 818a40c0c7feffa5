/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Running time to CLOCK_MONOTONIC and back.  This room reads no clock: it is
 * told what the pipeline clock said between two reads of CLOCK_MONOTONIC, and
 * keeps the difference of the two clocks.
 *
 * The difference is used for every frame, so it must not carry the noise of the
 * samples into the timestamps: of each window the sample with the closest pair
 * of reads counts, and the difference moves towards it slowly.  A clock that
 * has been set, or replaced, is followed at once. */

#include "gstcuframesclock.h"

#include <string.h>

#define JUMP_NS ((gint64) (20 * GST_MSECOND))
#define WINDOW_SAMPLES 16

/* At most this share of the time that has gone by is slewed (500 ppm: 8 us
 * from one frame to the next at 60 per second), and a small error shrinks by a
 * factor of e in SETTLE_NS */
#define SLEW_DIVISOR 2000
#define SETTLE_NS ((gint64) (2 * GST_SECOND))

/* What is left of a longer pause does not count as time to slew in */
#define MAX_STEP_NS ((guint64) GST_SECOND)

#define LAST_TIME (GST_CLOCK_TIME_NONE - 1)

/**
 * gst_cuframes_clock_init:
 * @self: a #GstCuframesClock
 *
 * Forgets everything; no running time can be converted until a base time and,
 * unless the clock is CLOCK_MONOTONIC itself, a sample are known.
 *
 * Since: 0.1
 */
void
gst_cuframes_clock_init (GstCuframesClock * self)
{
  memset (self, 0, sizeof (*self));
  self->base_time_ns = GST_CLOCK_TIME_NONE;
}

/**
 * gst_cuframes_clock_is_monotonic:
 * @clock: (nullable): a #GstClock
 *
 * Looks at the kind of @clock only; its time is not read.
 *
 * Returns: whether the time of @clock is CLOCK_MONOTONIC to the nanosecond:
 *     it is GStreamer's system clock, not a clock derived from it, and nobody
 *     calibrated it
 *
 * Since: 0.1
 */
gboolean
gst_cuframes_clock_is_monotonic (GstClock * clock)
{
  GstClockTime internal, external, num, den;
  GstClockType type;

  if (!clock || G_OBJECT_TYPE (clock) != GST_TYPE_SYSTEM_CLOCK)
    return FALSE;
  g_object_get (clock, "clock-type", &type, NULL);
  gst_clock_get_calibration (clock, &internal, &external, &num, &den);
  return type == GST_CLOCK_TYPE_MONOTONIC && internal == external && num == den;
}

/**
 * gst_cuframes_clock_set_clock:
 * @self: a #GstCuframesClock
 * @is_monotonic: what gst_cuframes_clock_is_monotonic() says of the new clock
 *
 * To be called for each new pipeline clock.  What was learnt of the old one is
 * forgotten; the base time stays.
 *
 * Since: 0.1
 */
void
gst_cuframes_clock_set_clock (GstCuframesClock * self, gboolean is_monotonic)
{
  GstClockTime base_time_ns = self->base_time_ns;

  gst_cuframes_clock_init (self);
  self->base_time_ns = base_time_ns;
  self->is_monotonic = is_monotonic;
  self->has_offset = is_monotonic;
}

/**
 * gst_cuframes_clock_set_base_time:
 * @self: a #GstCuframesClock
 * @base_time_ns: gst_element_get_base_time()
 *
 * Since: 0.1
 */
void
gst_cuframes_clock_set_base_time (GstCuframesClock * self,
    GstClockTime base_time_ns)
{
  self->base_time_ns = base_time_ns;
}

/**
 * gst_cuframes_clock_needs_samples:
 * @self: a #GstCuframesClock
 *
 * Returns: %FALSE if the clock is CLOCK_MONOTONIC itself and samples are lost
 *     labour
 *
 * Since: 0.1
 */
gboolean
gst_cuframes_clock_needs_samples (const GstCuframesClock * self)
{
  return !self->is_monotonic;
}

static gint64
clamp_to_int64 (guint64 magnitude, gboolean is_negative)
{
  if (magnitude > G_MAXINT64)
    magnitude = G_MAXINT64;
  return is_negative ? -(gint64) magnitude : (gint64) magnitude;
}

/* a - b */
static gint64
difference (guint64 a, guint64 b)
{
  return a >= b ? clamp_to_int64 (a - b, FALSE) : clamp_to_int64 (b - a, TRUE);
}

/* a - b for signed numbers: gint64 saturates */
static gint64
error_of (gint64 a, gint64 b)
{
  gint64 error;

  if (__builtin_sub_overflow (a, b, &error))
    return a < b ? -G_MAXINT64 : G_MAXINT64;
  return error == G_MININT64 ? -G_MAXINT64 : error;
}

static void
jump (GstCuframesClock * self, gint64 offset_ns, guint64 gap_ns, guint64 now_ns)
{
  self->has_offset = TRUE;
  self->is_starting = TRUE;
  self->offset_ns = offset_ns;
  self->target_ns = offset_ns;
  self->slewed_at_ns = now_ns;
  self->best_offset_ns = offset_ns;
  self->best_gap_ns = gap_ns;
  self->n_samples = 1;
}

static void
consider (GstCuframesClock * self, gint64 offset_ns, guint64 gap_ns)
{
  if (self->n_samples == 0 || gap_ns < self->best_gap_ns) {
    self->best_offset_ns = offset_ns;
    self->best_gap_ns = gap_ns;
    /* The sample that the difference was set by may have been a bad one, and
     * little has been converted with it */
    if (self->is_starting) {
      self->offset_ns = offset_ns;
      self->target_ns = offset_ns;
    }
  }
  if (++self->n_samples < WINDOW_SAMPLES)
    return;
  self->target_ns = self->best_offset_ns;
  self->is_starting = FALSE;
  self->n_samples = 0;
}

static void
slew (GstCuframesClock * self, guint64 now_ns)
{
  gint64 elapsed, step, most;

  if (now_ns <= self->slewed_at_ns)
    return;
  elapsed = (gint64) MIN (now_ns - self->slewed_at_ns, MAX_STEP_NS);
  self->slewed_at_ns = now_ns;

  /* Below JUMP_NS times MAX_STEP_NS, which fits */
  step = error_of (self->target_ns, self->offset_ns) * elapsed / SETTLE_NS;
  most = elapsed / SLEW_DIVISOR;
  self->offset_ns += CLAMP (step, -most, most);
}

/**
 * gst_cuframes_clock_add_sample:
 * @self: a #GstCuframesClock
 * @before_ns: CLOCK_MONOTONIC before the pipeline clock was read
 * @clock_time_ns: the pipeline clock's time
 * @after_ns: CLOCK_MONOTONIC after the pipeline clock was read
 *
 * Learns from one sample: one per frame is right, a few more at the start, of
 * which the one with the closest reads is taken.  A sample that makes no sense
 * is ignored.
 *
 * Returns: %TRUE if converted times jump with this sample: the first one, and
 *     one that is more than 20 ms off
 *
 * Since: 0.1
 */
gboolean
gst_cuframes_clock_add_sample (GstCuframesClock * self, guint64 before_ns,
    GstClockTime clock_time_ns, guint64 after_ns)
{
  guint64 gap_ns, middle_ns;
  gint64 offset_ns, error_ns, doubt_ns;

  if (self->is_monotonic || !GST_CLOCK_TIME_IS_VALID (clock_time_ns)
      || after_ns < before_ns)
    return FALSE;
  gap_ns = after_ns - before_ns;
  middle_ns = before_ns + gap_ns / 2;
  offset_ns = difference (middle_ns, clock_time_ns);

  if (!self->has_offset) {
    jump (self, offset_ns, gap_ns, after_ns);
    return TRUE;
  }

  /* Between two reads that are far apart the clock may have been read anywhere:
   * only what is left after that doubt is the clock's own doing */
  error_ns = ABS (error_of (offset_ns, self->offset_ns));
  doubt_ns = clamp_to_int64 (gap_ns - gap_ns / 2, FALSE);
  if (error_ns > JUMP_NS && error_ns - JUMP_NS > doubt_ns) {
    jump (self, offset_ns, gap_ns, after_ns);
    return TRUE;
  }

  /* Beyond JUMP_NS only in doubt: nothing to learn from */
  if (error_ns <= JUMP_NS)
    consider (self, offset_ns, gap_ns);
  slew (self, after_ns);
  return FALSE;
}

/* Both sides are summed before they meet, so that an intermediate result below
 * zero does not cut off a sum that is above it */
static gint
subtract (guint64 plus_a, guint64 plus_b, guint64 minus_a, guint64 minus_b,
    guint64 * ret_magnitude)
{
  guint64 plus, minus;

  if (__builtin_add_overflow (plus_a, plus_b, &plus))
    plus = G_MAXUINT64;
  if (__builtin_add_overflow (minus_a, minus_b, &minus))
    minus = G_MAXUINT64;
  *ret_magnitude = plus >= minus ? plus - minus : minus - plus;
  *ret_magnitude = MIN (*ret_magnitude, LAST_TIME);
  return plus >= minus ? 1 : -1;
}

static guint64
offset_if_positive (const GstCuframesClock * self)
{
  return self->offset_ns > 0 ? (guint64) self->offset_ns : 0;
}

static guint64
offset_if_negative (const GstCuframesClock * self)
{
  return self->offset_ns < 0 ? -(guint64) self->offset_ns : 0;
}

static gboolean
can_convert (const GstCuframesClock * self)
{
  return self->has_offset && GST_CLOCK_TIME_IS_VALID (self->base_time_ns);
}

/**
 * gst_cuframes_clock_to_monotonic_full:
 * @self: a #GstCuframesClock
 * @sign: the sign that gst_segment_to_running_time_full() returned
 * @running_time_ns: the absolute running time that came with it
 *
 * Returns: the moment of that running time on CLOCK_MONOTONIC in ns, 0 if it
 *     was before that clock began, and %GST_CLOCK_TIME_NONE if @sign is 0, if
 *     @running_time_ns is %GST_CLOCK_TIME_NONE, or if base time or clock are
 *     not known yet
 *
 * Since: 0.1
 */
guint64
gst_cuframes_clock_to_monotonic_full (const GstCuframesClock * self, gint sign,
    GstClockTime running_time_ns)
{
  guint64 monotonic_ns, ahead, behind;

  if (sign == 0 || !GST_CLOCK_TIME_IS_VALID (running_time_ns)
      || !can_convert (self))
    return GST_CLOCK_TIME_NONE;

  ahead = sign > 0 ? running_time_ns : 0;
  behind = sign > 0 ? 0 : running_time_ns;
  if (__builtin_add_overflow (ahead, self->base_time_ns, &ahead))
    ahead = G_MAXUINT64;
  if (subtract (ahead, offset_if_positive (self), behind,
          offset_if_negative (self), &monotonic_ns) < 0)
    return 0;
  return monotonic_ns;
}

/**
 * gst_cuframes_clock_to_monotonic:
 * @self: a #GstCuframesClock
 * @running_time_ns: a running time
 *
 * Returns: as gst_cuframes_clock_to_monotonic_full()
 *
 * Since: 0.1
 */
guint64
gst_cuframes_clock_to_monotonic (const GstCuframesClock * self,
    GstClockTime running_time_ns)
{
  return gst_cuframes_clock_to_monotonic_full (self, 1, running_time_ns);
}

/**
 * gst_cuframes_clock_to_running_time_full:
 * @self: a #GstCuframesClock
 * @monotonic_ns: a moment on CLOCK_MONOTONIC
 * @running_time_ns: (out): the absolute running time, %GST_CLOCK_TIME_NONE if
 *     it cannot be known
 *
 * Returns: 1, -1 for a moment before the base time, 0 if it cannot be known
 *
 * Since: 0.1
 */
gint
gst_cuframes_clock_to_running_time_full (const GstCuframesClock * self,
    guint64 monotonic_ns, GstClockTime * running_time_ns)
{
  *running_time_ns = GST_CLOCK_TIME_NONE;
  if (!GST_CLOCK_TIME_IS_VALID (monotonic_ns) || !can_convert (self))
    return 0;
  return subtract (monotonic_ns, offset_if_negative (self),
      self->base_time_ns, offset_if_positive (self), running_time_ns);
}

/**
 * gst_cuframes_clock_to_running_time:
 * @self: a #GstCuframesClock
 * @monotonic_ns: a moment on CLOCK_MONOTONIC
 *
 * Returns: the running time, 0 for a moment before the base time, and
 *     %GST_CLOCK_TIME_NONE if it cannot be known
 *
 * Since: 0.1
 */
GstClockTime
gst_cuframes_clock_to_running_time (const GstCuframesClock * self,
    guint64 monotonic_ns)
{
  GstClockTime running_time_ns;

  if (gst_cuframes_clock_to_running_time_full (self, monotonic_ns,
          &running_time_ns) < 0)
    return 0;
  return running_time_ns;
}
