/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Counts the publisher's frames, decides which are measured, and notes what the run of them cost. */
#include "fanout.h"

/* Looks back at the frame before: how long its push took, and what is to be looked at once. */
static void
look_back (FanoutMeter * meter, guint64 now_ns)
{
  FanoutControl *control = meter->child->control;
  FanoutPublisherResult *result = &control->publisher;
  guint64 first = atomic_load_explicit (&control->first, memory_order_relaxed);

  if (first == 0 || meter->number < first)
    return;
  fanout_samples_push (control)[result->frames++] = fanout_elapsed (meter->published_ns, now_ns);
  if (meter->number == first + fanout_mark (&control->config))
    fanout_memory_read (&result->mark);
  if (meter->number == atomic_load_explicit (&control->last, memory_order_relaxed)) {
    result->cpu_ns = fanout_cpu_ns () - meter->cpu_begin_ns;
    result->wall_ns = now_ns - meter->wall_begin_ns;
    fanout_memory_read (&result->end);
    fanout_child_tell (meter->child, FANOUT_EVENT_DONE, NULL);
  }
}

static void
look_ahead (FanoutMeter * meter, guint64 now_ns)
{
  FanoutControl *control = meter->child->control;
  const FanoutConfig *config = &control->config;
  guint64 first = atomic_load_explicit (&control->first, memory_order_relaxed);

  if (meter->number == 0)
    fanout_child_tell (meter->child, FANOUT_EVENT_STARTED, NULL);
  if (first == 0 && (config->baseline || atomic_load (&control->go))) {
    first = meter->number + 1 + config->warmup;
    atomic_store (&control->last, first + config->frames - 1);
    atomic_store (&control->first, first);
  }
  if (meter->number + 1 == first) {
    meter->cpu_begin_ns = fanout_cpu_ns ();
    meter->wall_begin_ns = now_ns;
  }
}

gboolean
fanout_meter_next (FanoutMeter * meter, guint64 now_ns)
{
  guint64 last = atomic_load_explicit (&meter->child->control->last, memory_order_relaxed);

  if (last != 0 && meter->number > last)
    return FALSE;
  look_back (meter, now_ns);
  if (last != 0 && meter->number == last) {
    meter->number++;
    return FALSE;
  }
  look_ahead (meter, now_ns);
  meter->number++;
  return TRUE;
}

void
fanout_meter_publish (FanoutMeter * meter, guint64 now_ns)
{
  meter->published_ns = now_ns;
  atomic_store (&meter->child->control->times[meter->number % FANOUT_TIMES], now_ns);
}
