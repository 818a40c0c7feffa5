/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said: one line a second and the table at the end. */
#include "chaos-run.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct
{
  guint64 received, missed, restarts, torn, absent, stale, repeated, reordered, keyless, changed, rechecked, silence_ns;
} Sum;

static const gchar *const kind_names[] = { "fifo", "latest", "slow", "hold" };

static void
add (Sum * sum, const ChaosSubscriber * subscriber)
{
  sum->received += atomic_load (&subscriber->received);
  sum->missed += atomic_load (&subscriber->missed);
  sum->restarts += atomic_load (&subscriber->restarts);
  sum->torn += atomic_load (&subscriber->torn);
  sum->absent += atomic_load (&subscriber->absent);
  sum->stale += atomic_load (&subscriber->stale);
  sum->repeated += atomic_load (&subscriber->repeated);
  sum->reordered += atomic_load (&subscriber->reordered);
  sum->keyless += atomic_load (&subscriber->keyless);
  sum->changed += atomic_load (&subscriber->changed);
  sum->rechecked += atomic_load (&subscriber->rechecked);
  sum->silence_ns = MAX (sum->silence_ns, atomic_load (&subscriber->silence_ns));
}

static Sum
sum_all (const ChaosRun * run)
{
  Sum sum = { 0 };

  for (guint i = 0; i < run->count; i++)
    add (&sum, &run->shared->subscribers[i]);
  return sum;
}

guint64
chaos_report_errors (const ChaosRun * run)
{
  Sum sum = sum_all (run);

  return sum.torn + sum.absent + sum.stale + sum.repeated + sum.reordered + sum.keyless + sum.changed;
}

void
chaos_report_line (ChaosRun * run)
{
  const ChaosPublisher *publisher = &run->shared->publisher;
  guint64 made = atomic_load (&publisher->made);
  Sum sum = sum_all (run);
  guint ready = 0;

  for (guint i = 0; i < run->count; i++)
    ready += atomic_load (&run->shared->subscribers[i].ready) != 0;
  printf ("%4u s  made %" G_GUINT64_FORMAT " (+%" G_GUINT64_FORMAT ")  subscribers %u/%u  received %" G_GUINT64_FORMAT "  missed %" G_GUINT64_FORMAT
      "  torn %" G_GUINT64_FORMAT " stale %" G_GUINT64_FORMAT " repeated %" G_GUINT64_FORMAT " reordered %" G_GUINT64_FORMAT " changed %"
      G_GUINT64_FORMAT "  kills %u+%u stops %u\n", (guint) ((chaos_now_ns () - run->begin_ns) / GST_SECOND), made, made - run->made_before, ready,
      run->count, sum.received, sum.missed, sum.torn + sum.absent, sum.stale, sum.repeated, sum.reordered, sum.changed, run->subscriber_kills,
      run->publisher_kills, run->stops);
  fflush (stdout);
  run->made_before = made;
}

static int
compare (const void *a, const void *b)
{
  const guint32 *left = a, *right = b;

  return (*left > *right) - (*left < *right);
}

static void
print_times (const gchar * what, ChaosTimes * times)
{
  guint count = MIN (atomic_load (&times->count), CHAOS_SAMPLES);

  if (count == 0)
    return;
  qsort (times->us, count, sizeof times->us[0], compare);
  printf ("%s: p50 %.3f, p99 %.3f, max %.3f ms (%u times)\n", what, times->us[count / 2] / 1000.0, times->us[(guint64) count * 99 / 100] / 1000.0,
      times->us[count - 1] / 1000.0, atomic_load (&times->count));
}

static void
print_kind (const gchar * name, guint members, const Sum * sum)
{
  if (members > 0)
    printf ("%-14s %6u %12" G_GUINT64_FORMAT " %12" G_GUINT64_FORMAT " %6" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %6" G_GUINT64_FORMAT " %9"
        G_GUINT64_FORMAT " %10" G_GUINT64_FORMAT " %10" G_GUINT64_FORMAT " %8" G_GUINT64_FORMAT " %9" G_GUINT64_FORMAT " %11.1f\n", name, members,
        sum->received, sum->missed, sum->torn, sum->absent, sum->stale, sum->repeated, sum->reordered, sum->rechecked, sum->changed, sum->restarts,
        sum->silence_ns / 1e6);
}

static void
print_kinds (const ChaosRun * run, gboolean victims)
{
  const ChaosConfig *config = &run->shared->config;
  guint from = victims ? config->subscribers : 0, to = victims ? run->count : config->subscribers;

  for (guint kind = 0; kind < CHAOS_KIND_COUNT; kind++) {
    Sum sum = { 0 };
    guint members = 0;
    gchar name[32];

    for (guint i = from; i < to; i++)
      if (chaos_kind_of (config, i) == kind) {
        members++;
        add (&sum, &run->shared->subscribers[i]);
      }
    g_snprintf (name, sizeof name, "%s%s", kind_names[kind], victims ? ", killed" : "");
    print_kind (name, members, &sum);
  }
}

void
chaos_report_end (ChaosRun * run)
{
  ChaosPublisher *publisher = &run->shared->publisher;
  Sum sum = sum_all (run);

  printf ("\nPublisher: %" G_GUINT64_FORMAT " frames in %" G_GUINT64_FORMAT " lives, %" G_GUINT64_FORMAT " dropped, %" G_GUINT64_FORMAT " copied, %" G_GUINT64_FORMAT
      " changes of caps, %" G_GUINT64_FORMAT " evictions\n", atomic_load (&publisher->made), run->publisher_lives,
      atomic_load (&publisher->drops) + atomic_load (&publisher->now_drops), atomic_load (&publisher->copies) + atomic_load (&publisher->now_copies),
      atomic_load (&publisher->formats), atomic_load (&publisher->evicted) + atomic_load (&publisher->now_evicted));
  printf ("Kills of subscribers: %u, of the publisher: %u; stops: %u; steps of the wall clock: %u\n", run->subscriber_kills, run->publisher_kills, run->stops,
      run->clock_steps);
  printf ("Limits of descriptors: %u, of memory files: %u; full directories: %u; processes that gave up for one of these, and came back: %u\n",
      run->limits[1], run->limits[0], run->fillings, run->gave_up);
  print_times ("From a publisher's first frame to a subscriber's, after a restart", &run->shared->resumes);
  print_times ("Leases back, from the kill", run->leases_kill);
  print_times ("Leases back, from the end of the killed process", run->leases_end);
  printf ("\n%-14s %6s %12s %12s %6s %8s %6s %9s %10s %10s %8s %9s %11s\n", "subscribers", "number", "received", "missed", "torn", "unmarked", "stale",
      "repeated", "reordered", "rechecked", "changed", "restarts", "silence ms");
  print_kinds (run, FALSE);
  print_kinds (run, TRUE);
  print_kind ("all", run->count, &sum);
  if (run->shared->config.packets)
    printf ("Packets that came after a gap and were no key point: %" G_GUINT64_FORMAT "\n", sum.keyless);
  printf ("\n%s: %" G_GUINT64_FORMAT " bad frames, %u other failures, seed %" G_GUINT64_FORMAT "\n",
      chaos_report_errors (run) + run->failures > 0 ? "FAILED" : chaos_interrupted ? "INTERRUPTED" : "PASSED", chaos_report_errors (run), run->failures, run->shared->config.seed);
}
