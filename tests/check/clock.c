/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The clock conversion on made-up time: no test here reads a clock. */

#include <gst/check/gstcheck.h>

#include "gstcuframesclock.h"

#define NONE GST_CLOCK_TIME_NONE
#define LAST (GST_CLOCK_TIME_NONE - 1)
#define FRAME (GST_SECOND / 60)

static void
setup_offset (GstCuframesClock * clock, GstClockTime base, gint64 offset)
{
  guint64 start = 1000 * GST_SECOND;

  gst_cuframes_clock_init (clock);
  gst_cuframes_clock_set_clock (clock, FALSE);
  gst_cuframes_clock_set_base_time (clock, base);
  fail_unless (gst_cuframes_clock_add_sample (clock, start, start - offset,
          start));
}

GST_START_TEST (nothing_is_known_before_base_time_and_clock_are)
{
  GstCuframesClock clock;
  GstClockTime running_time = 1;

  gst_cuframes_clock_init (&clock);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), NONE);
  gst_cuframes_clock_set_base_time (&clock, 5);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), NONE);
  fail_unless_equals_int (gst_cuframes_clock_to_running_time_full (&clock, 9,
          &running_time), 0);
  fail_unless_equals_uint64 (running_time, NONE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_running_time (&clock, 9),
      NONE);
  gst_cuframes_clock_set_clock (&clock, TRUE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), 6);
  gst_cuframes_clock_set_base_time (&clock, NONE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), NONE);
}

GST_END_TEST;

GST_START_TEST (the_monotonic_clock_is_converted_exactly)
{
  GstCuframesClock clock;
  guint64 i;

  gst_cuframes_clock_init (&clock);
  gst_cuframes_clock_set_clock (&clock, TRUE);
  gst_cuframes_clock_set_base_time (&clock, 123456789);
  fail_if (gst_cuframes_clock_needs_samples (&clock));
  fail_if (gst_cuframes_clock_add_sample (&clock, 10, 99999, 11));
  for (i = 0; i < 1000; i++) {
    guint64 running_time = i * FRAME + i;

    fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock,
            running_time), running_time + 123456789);
    fail_unless_equals_uint64 (gst_cuframes_clock_to_running_time (&clock,
            running_time + 123456789), running_time);
  }
}

GST_END_TEST;

GST_START_TEST (there_and_back_is_exact_with_any_offset)
{
  const gint64 offsets[] = { 0, 1, -1, 999 * (gint64) GST_SECOND,
    -1700000000 * (gint64) GST_SECOND
  };
  GstCuframesClock clock;
  guint i;

  for (i = 0; i < G_N_ELEMENTS (offsets); i++) {
    GstClockTime base = 3000000000 * GST_SECOND, running_time = 777777777;
    guint64 monotonic;

    setup_offset (&clock, base, offsets[i]);
    monotonic = gst_cuframes_clock_to_monotonic (&clock, running_time);
    fail_unless_equals_uint64 (monotonic, running_time + base + offsets[i]);
    fail_unless_equals_uint64 (gst_cuframes_clock_to_running_time (&clock,
            monotonic), running_time);
  }
}

GST_END_TEST;

GST_START_TEST (no_time_stays_no_time)
{
  GstCuframesClock clock;
  GstClockTime running_time;

  setup_offset (&clock, 10, 0);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, NONE),
      NONE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic_full (&clock, 0,
          5), NONE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_running_time (&clock, NONE),
      NONE);
  fail_unless_equals_int (gst_cuframes_clock_to_running_time_full (&clock,
          NONE, &running_time), 0);
}

GST_END_TEST;

GST_START_TEST (negative_running_times_have_a_sign)
{
  GstCuframesClock clock;
  GstClockTime running_time;

  setup_offset (&clock, 1000, 50);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic_full (&clock, -1,
          300), 750);
  fail_unless_equals_int (gst_cuframes_clock_to_running_time_full (&clock, 750,
          &running_time), -1);
  fail_unless_equals_uint64 (running_time, 300);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_running_time (&clock, 750),
      0);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic_full (&clock, -1,
          1050), 0);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic_full (&clock, -1,
          5000), 0);
  /* Below zero on the way, above it at the end */
  setup_offset (&clock, 0, 1000);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic_full (&clock, -1,
          400), 600);
}

GST_END_TEST;

GST_START_TEST (times_saturate_below_no_time)
{
  GstCuframesClock clock;
  GstClockTime running_time;

  setup_offset (&clock, 1000, 50);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, LAST),
      LAST);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic_full (&clock, -1,
          LAST), 0);
  setup_offset (&clock, LAST, 50);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, LAST),
      LAST);
  fail_unless_equals_int (gst_cuframes_clock_to_running_time_full (&clock, 0,
          &running_time), -1);
  fail_unless_equals_uint64 (running_time, LAST);

  gst_cuframes_clock_set_clock (&clock, FALSE);
  gst_cuframes_clock_set_base_time (&clock, 0);
  fail_unless (gst_cuframes_clock_add_sample (&clock, 0, LAST, 0));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 5), 0);
  fail_unless (gst_cuframes_clock_add_sample (&clock, LAST, 0, LAST));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, LAST),
      LAST);
}

GST_END_TEST;

GST_START_TEST (samples_without_sense_are_ignored)
{
  GstCuframesClock clock;

  setup_offset (&clock, 0, 50);
  fail_if (gst_cuframes_clock_add_sample (&clock, 100, NONE, 100));
  fail_if (gst_cuframes_clock_add_sample (&clock, 100, 5000 * GST_SECOND, 99));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 0), 50);
}

GST_END_TEST;

GST_START_TEST (the_closest_reads_at_the_start_set_the_offset)
{
  GstCuframesClock clock;
  guint64 now = GST_SECOND;

  /* The first one was interrupted for 8 ms right behind the clock's read */
  gst_cuframes_clock_init (&clock);
  gst_cuframes_clock_set_base_time (&clock, 0);
  fail_unless (gst_cuframes_clock_add_sample (&clock, now, now,
          now + 8 * GST_MSECOND));
  now += 9 * GST_MSECOND;
  fail_if (gst_cuframes_clock_add_sample (&clock, now, now, now + 40));
  fail_if (gst_cuframes_clock_add_sample (&clock, now + 100, now + 100,
          now + 300));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, now),
      now + 20);
}

GST_END_TEST;

/* Frames at 60 per second on a clock that is @ppm fast, each with one sample
 * whose reads are up to @noise apart.  Returns the largest error, and asserts
 * that the distance of two frames is off by less than the slew. */
static guint64
run_frames (GstCuframesClock * clock, guint n, gint64 ppm, guint32 noise)
{
  GRand *rand = g_rand_new_with_seed (1);
  guint64 largest = 0, previous = NONE;
  guint i;

  for (i = 1; i <= n; i++) {
    guint64 monotonic = 5000 * GST_SECOND + i * FRAME;
    guint64 clock_time = monotonic - 4000 * GST_SECOND
        + (gint64) (i * FRAME / 1000000) * ppm;
    guint64 before = noise ? g_rand_int_range (rand, 0, noise) : 0;
    guint64 after = noise ? g_rand_int_range (rand, 0, noise) : 0;
    guint64 converted;

    gst_cuframes_clock_add_sample (clock, monotonic - before, clock_time,
        monotonic + after);
    converted = gst_cuframes_clock_to_monotonic (clock, clock_time);
    if (previous != NONE && i > 32) {
      gint64 jitter = (gint64) (converted - previous) - (gint64) FRAME;

      fail_unless (ABS (jitter) < 12 * (gint64) GST_USECOND,
          "frame %u is off by %" G_GINT64_FORMAT " ns", i, jitter);
    }
    previous = converted;
    largest = MAX (largest, converted > monotonic ? converted - monotonic
        : monotonic - converted);
  }
  g_rand_free (rand);
  return largest;
}

GST_START_TEST (noise_of_the_samples_stays_out_of_the_timestamps)
{
  GstCuframesClock clock;
  guint64 largest;

  gst_cuframes_clock_init (&clock);
  gst_cuframes_clock_set_base_time (&clock, 0);
  largest = run_frames (&clock, 36000, 0, 2 * GST_MSECOND);
  fail_unless (largest < GST_MSECOND + 100 * GST_USECOND);
}

GST_END_TEST;

GST_START_TEST (a_clock_that_runs_away_is_followed)
{
  GstCuframesClock clock;
  gint64 ppm;

  for (ppm = -200; ppm <= 200; ppm += 100) {
    guint64 largest;

    gst_cuframes_clock_init (&clock);
    gst_cuframes_clock_set_base_time (&clock, 0);
    largest = run_frames (&clock, 36000, ppm, 0);
    fail_unless (largest < GST_MSECOND, "%" G_GUINT64_FORMAT " ns behind",
        largest);
  }
}

GST_END_TEST;

GST_START_TEST (a_clock_that_was_set_is_followed_at_once)
{
  GstCuframesClock clock;
  guint64 start = 1000 * GST_SECOND, now = start;
  guint i;

  setup_offset (&clock, 0, 0);
  for (i = 0; i < 100; i++) {
    now += FRAME;
    fail_if (gst_cuframes_clock_add_sample (&clock, now, now, now));
  }
  now += FRAME;
  /* 30 ms in doubt because the reads are 60 ms apart: not believed */
  fail_if (gst_cuframes_clock_add_sample (&clock, now, now,
          now + 60 * GST_MSECOND));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, now),
      now);
  now += 61 * GST_MSECOND;
  fail_if (gst_cuframes_clock_add_sample (&clock, now,
          now - 20 * GST_MSECOND, now));
  now += FRAME;
  fail_unless (gst_cuframes_clock_add_sample (&clock, now,
          now - 21 * GST_MSECOND, now));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 5),
      5 + 21 * GST_MSECOND);
}

GST_END_TEST;

GST_START_TEST (a_new_clock_starts_afresh_and_keeps_the_base_time)
{
  GstCuframesClock clock;

  setup_offset (&clock, 1000, 50);
  gst_cuframes_clock_set_clock (&clock, FALSE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), NONE);
  fail_unless (gst_cuframes_clock_add_sample (&clock, 500, 400, 500));
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), 1101);
  gst_cuframes_clock_set_clock (&clock, TRUE);
  fail_unless_equals_uint64 (gst_cuframes_clock_to_monotonic (&clock, 1), 1001);
}

GST_END_TEST;

GST_START_TEST (only_the_plain_system_clock_is_monotonic)
{
  GstClock *clock = gst_system_clock_obtain ();
  GstClock *other;

  fail_if (gst_cuframes_clock_is_monotonic (NULL));
  fail_unless (gst_cuframes_clock_is_monotonic (clock));
  gst_object_unref (clock);

  other = g_object_new (GST_TYPE_SYSTEM_CLOCK, "name", "other", "clock-type",
      GST_CLOCK_TYPE_REALTIME, NULL);
  gst_object_ref_sink (other);
  fail_if (gst_cuframes_clock_is_monotonic (other));
  g_object_set (other, "clock-type", GST_CLOCK_TYPE_MONOTONIC, NULL);
  fail_unless (gst_cuframes_clock_is_monotonic (other));
  gst_clock_set_calibration (other, 0, 5, 1, 1);
  fail_if (gst_cuframes_clock_is_monotonic (other));
  gst_object_unref (other);
}

GST_END_TEST;

static Suite *
clock_suite (void)
{
  Suite *suite = suite_create ("clock");
  TCase *tcase = tcase_create ("conversion");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, nothing_is_known_before_base_time_and_clock_are);
  tcase_add_test (tcase, the_monotonic_clock_is_converted_exactly);
  tcase_add_test (tcase, there_and_back_is_exact_with_any_offset);
  tcase_add_test (tcase, no_time_stays_no_time);
  tcase_add_test (tcase, negative_running_times_have_a_sign);
  tcase_add_test (tcase, times_saturate_below_no_time);
  tcase_add_test (tcase, samples_without_sense_are_ignored);
  tcase_add_test (tcase, the_closest_reads_at_the_start_set_the_offset);
  tcase_add_test (tcase, noise_of_the_samples_stays_out_of_the_timestamps);
  tcase_add_test (tcase, a_clock_that_runs_away_is_followed);
  tcase_add_test (tcase, a_clock_that_was_set_is_followed_at_once);
  tcase_add_test (tcase, a_new_clock_starts_afresh_and_keeps_the_base_time);
  tcase_add_test (tcase, only_the_plain_system_clock_is_monotonic);
  return suite;
}

GST_CHECK_MAIN (clock);
