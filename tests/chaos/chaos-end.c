/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Marks what the processes have open once all of them work, brings everything back to that in the end, and compares. */
#include "chaos-run.h"

#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>

#define SETTLE_NS (5 * GST_SECOND)
/* Who had no frame for so long may be without a publisher and has less open than it has later. */
#define LATELY_NS (100 * GST_MSECOND)
#define FRAMES_NS (30 * GST_SECOND)
#define GPU_SLACK_KIB (64 * 1024)
#define GPU_WAIT_NS (10 * GST_SECOND)

/* It has had a frame of this publisher, and lately. */
static gboolean
gets_frames (const ChaosRun * run, guint index, guint64 since_ns)
{
  const ChaosSubscriber *subscriber = &run->shared->subscribers[index];

  return atomic_load (&subscriber->ready) && atomic_load (&subscriber->last_ns) > since_ns
      && atomic_load (&subscriber->life) == run->publisher.life;
}

/* Until every subscriber has had a frame that came after this call. */
gboolean
chaos_wait_frames (ChaosRun * run, guint64 timeout_ns)
{
  guint64 begin_ns = chaos_now_ns ();
  guint missing;

  do {
    missing = 0;
    poll (NULL, 0, 20);
    if (!chaos_process_look (run) || chaos_interrupted)
      return FALSE;
    for (guint i = 0; i < run->count; i++)
      missing += !gets_frames (run, i, begin_ns);
  } while (missing > 0 && chaos_now_ns () < begin_ns + timeout_ns);
  for (guint i = 0; i < run->count; i++)
    if (!gets_frames (run, i, begin_ns))
      chaos_fail (run, "subscriber %u (process %d) gets no frames", i, (int) run->subscribers[i].pid);
  return missing == 0;
}

static void
mark (ChaosRun * run, ChaosProcess * process)
{
  chaos_state_read (process->pid, &process->mark);
  process->mark_ns = 0;
  /* Who had to wait for a publisher keeps the descriptor with which it watched for it. */
  if (process != &run->publisher && (run->shared->config.kill_publisher_ms > 0 || run->shared->config.limits_ms > 0))
    process->mark.fds++;
}

/* A publisher has a lease page and three descriptors for each of them. */
static gboolean
all_are_there (const ChaosRun * run)
{
  for (guint i = 0; i < run->count; i++)
    if (run->subscribers[i].pid <= 0 || run->subscribers[i].killed_ns != 0 || !gets_frames (run, i, 0))
      return FALSE;
  return TRUE;
}

/* Those that were started later, when they work. */
void
chaos_end_mark_new (ChaosRun * run)
{
  guint64 now_ns = chaos_now_ns ();

  if (run->publisher.pid > 0 && run->publisher.mark_ns != 0 && now_ns >= run->publisher.mark_ns && run->publisher.continue_ns == 0
      && all_are_there (run))
    mark (run, &run->publisher);
  for (guint i = 0; i < run->count; i++) {
    ChaosProcess *process = &run->subscribers[i];

    if (process->pid > 0 && process->mark_ns != 0 && now_ns >= process->mark_ns && process->continue_ns == 0 && process->killed_ns == 0
        && gets_frames (run, i, now_ns - LATELY_NS))
      mark (run, process);
  }
}

void
chaos_end_mark (ChaosRun * run)
{
  mark (run, &run->publisher);
  for (guint i = 0; i < run->count; i++)
    mark (run, &run->subscribers[i]);
  run->first_publisher_life = run->publisher.life;
  run->gpu_mark_kib = atomic_load (&run->shared->publisher.gpu_kib);
}

static void
compare (ChaosRun * run, const ChaosProcess * process, const ChaosState * mark, const gchar * what, guint index)
{
  ChaosState now;
  gboolean good = chaos_state_settles (process->pid, mark, SETTLE_NS, &now);
  gint64 growth_kib = (gint64) now.private_kib - (gint64) mark->private_kib;

  printf ("  %s %u: descriptors %u -> %u, shared mappings %u -> %u, all mappings %u -> %u, private memory %" G_GUINT64_FORMAT " -> %"
      G_GUINT64_FORMAT " KiB (%+" G_GINT64_FORMAT ")\n", what, index, mark->fds, now.fds, mark->shared_maps, now.shared_maps, mark->maps, now.maps,
      mark->private_kib, now.private_kib, growth_kib);
  if (!good)
    chaos_fail (run, "%s %u has more open than in the beginning", what, index);
  if (growth_kib > (gint64) run->shared->config.growth_kib)
    chaos_fail (run, "%s %u has grown by %" G_GINT64_FORMAT " KiB", what, index, growth_kib);
}

static void
compare_gpu (ChaosRun * run)
{
  guint64 now_kib = atomic_load (&run->shared->publisher.gpu_kib);

  if (run->gpu_mark_kib == 0 || now_kib == 0)
    return;
  printf ("  GPU memory in use: %" G_GUINT64_FORMAT " -> %" G_GUINT64_FORMAT " KiB\n", run->gpu_mark_kib, now_kib);
  if (now_kib > run->gpu_mark_kib + GPU_SLACK_KIB)
    chaos_fail (run, "GPU memory in use has grown");
}

static void
compare_gpu_after (ChaosRun * run)
{
  guint64 deadline_ns = chaos_now_ns () + GPU_WAIT_NS;
  guint64 now_mib;

  if (run->gpu_before_mib == G_MAXUINT64)
    return;
  while ((now_mib = chaos_state_gpu_mib ()) > run->gpu_before_mib + GPU_SLACK_KIB / 1024 && chaos_now_ns () < deadline_ns)
    poll (NULL, 0, 100);
  printf ("  GPU memory in use before and after: %" G_GUINT64_FORMAT " -> %" G_GUINT64_FORMAT " MiB\n", run->gpu_before_mib, now_mib);
  if (now_mib > run->gpu_before_mib + GPU_SLACK_KIB / 1024)
    chaos_fail (run, "GPU memory is left in use");
}

static void
compare_working (ChaosRun * run)
{
  const ChaosConfig *config = &run->shared->config;
  ChaosState now;

  chaos_ask_compare (run);
  chaos_ask_close ();
  if (run->publisher.mark.known)
    compare (run, &run->publisher, &run->publisher.mark, "publisher", 0);
  for (guint i = 0; i < config->subscribers; i++)
    if (run->subscribers[i].mark.known)
      compare (run, &run->subscribers[i], &run->subscribers[i].mark, "subscriber", i);
  compare_gpu (run);
  for (guint i = 0; i < run->count; i++)
    chaos_process_leave (run, &run->subscribers[i], "a subscriber");
  if (!run->publisher.mark.known || run->publisher.life != run->first_publisher_life)
    return;
  if (!chaos_state_settles (run->publisher.pid, &run->before, SETTLE_NS, &now))
    chaos_fail (run, "the publisher has %u descriptors and %u shared mappings without subscribers; before the first one it had %u and %u", now.fds,
        now.shared_maps, run->before.fds, run->before.shared_maps);
}

/* Whoever is a child still is one too many. */
static void
compare_processes (ChaosRun * run)
{
  guint left = 0;
  pid_t pid;

  while ((pid = waitpid (-1, NULL, WNOHANG)) > 0)
    continue;
  if (pid == 0)
    left = 1;
  printf ("  processes left: %s; files left in the channels' directory: %u\n", left ? "some" : "none", chaos_state_count_files (run->dir));
  if (left)
    chaos_fail (run, "a process is left");
  if (chaos_state_count_files (run->dir) > 0)
    chaos_fail (run, "the channels' directory is not empty");
}

void
chaos_end (ChaosRun * run)
{
  gboolean works;

  chaos_deeds_end (run);
  works = run->publisher.pid > 0 && !chaos_interrupted && chaos_wait_frames (run, FRAMES_NS);
  printf ("\nEnd state\n");
  if (works)
    compare_working (run);
  chaos_ask_close ();
  for (guint i = 0; i < run->count; i++)
    chaos_process_leave (run, &run->subscribers[i], "a subscriber");
  chaos_process_leave (run, &run->publisher, "the publisher");
  compare_processes (run);
  chaos_scarcity_end (run);
  compare_gpu_after (run);
}
