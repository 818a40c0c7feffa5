/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The wall clock of all processes of the program: the true one and an offset that the parent changes at random, as if somebody set the
 * machine's clock. The program brings the C library's functions under their own names, and what it loads finds these first. The kernel's own
 * waits against the wall clock are not moved, and CLOCK_MONOTONIC stays what it is. */
#include "chaos-run.h"

#include <gmodule.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

G_MODULE_EXPORT int clock_gettime (clockid_t clock, struct timespec *ret_time);
G_MODULE_EXPORT int gettimeofday (struct timeval *ret_time, void *zone);
G_MODULE_EXPORT time_t time (time_t * ret_time);

static const _Atomic gint64 *offset_ns;

void
chaos_clock_follow (const ChaosShared *shared)
{
  offset_ns = &shared->clock_offset_ns;
}

int
clock_gettime (clockid_t clock, struct timespec *ret_time)
{
  gint64 ns;
  int r = (int) syscall (SYS_clock_gettime, clock, ret_time);

  if (r != 0 || offset_ns == NULL || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE))
    return r;
  ns = (gint64) ret_time->tv_sec * (gint64) GST_SECOND + ret_time->tv_nsec + atomic_load (offset_ns);
  *ret_time = (struct timespec) { (time_t) (ns / (gint64) GST_SECOND), (long) (ns % (gint64) GST_SECOND) };
  return 0;
}

int
gettimeofday (struct timeval *ret_time, void *zone)
{
  struct timespec now;

  clock_gettime (CLOCK_REALTIME, &now);
  *ret_time = (struct timeval) { now.tv_sec, now.tv_nsec / 1000 };
  return 0;
}

time_t
time (time_t *ret_time)
{
  struct timespec now;

  clock_gettime (CLOCK_REALTIME, &now);
  if (ret_time != NULL)
    *ret_time = now.tv_sec;
  return now.tv_sec;
}

/* By seconds, by hours or by years, forward or back. What GLib says is the time must follow, or nothing is shown by this. */
void
chaos_clock_step (ChaosRun *run)
{
  static const gint64 spans_s[] = { 10, 24 * 3600, 10 * 365 * 24 * G_GINT64_CONSTANT (3600) };
  const gint64 span_ns = spans_s[chaos_random (&run->random, 0, G_N_ELEMENTS (spans_s) - 1)] * (gint64) GST_SECOND;
  const gint64 offset = (gint64) chaos_random (&run->random, 0, 2 * (guint64) span_ns) - span_ns;
  const gint64 before = atomic_load (&run->shared->clock_offset_ns), shown_us = g_get_real_time ();
  gint64 moved_us;

  atomic_store (&run->shared->clock_offset_ns, offset);
  moved_us = g_get_real_time () - shown_us;
  if (ABS (moved_us - (offset - before) / 1000) > G_USEC_PER_SEC)
    chaos_fail (run, "the wall clock was set by %" G_GINT64_FORMAT " us and moved by %" G_GINT64_FORMAT, (offset - before) / 1000, moved_us);
  run->clock_steps++;
}
