/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens to the processes: each deed at a random moment around its mean, on a process chosen at random. */
#include "chaos-run.h"

#include <poll.h>

#define DEATH_NS (15 * GST_SECOND)
#define LEASES_NS (2 * GST_SECOND)
#define STOP_LONGEST_MS 1500

static guint64 next_subscriber_kill_ns, next_publisher_kill_ns, next_stop_ns, next_limit_ns, next_step_ns;

static gboolean
is_due (ChaosRun * run, guint64 * next_ns, guint mean_ms)
{
  guint64 now_ns = chaos_now_ns ();
  gboolean due = *next_ns != 0 && now_ns >= *next_ns;

  if (mean_ms == 0)
    return FALSE;
  if (due || *next_ns == 0)
    *next_ns = now_ns + chaos_around (&run->random, mean_ms) * GST_MSECOND;
  return due;
}

static void
wait_for_leases (ChaosRun * run, pid_t pid, guint64 killed_ns, guint64 ended_ns)
{
  int known;

  while ((known = chaos_ask_knows (run, pid)) > 0 && chaos_now_ns () < ended_ns + LEASES_NS && !chaos_interrupted)
    continue;
  if (known > 0)
    chaos_fail (run, "leases of the killed process %d are not back after 2 s", (int) pid);
  if (known != 0)
    return;
  chaos_times_add (run->leases_kill, chaos_now_ns () - killed_ns);
  chaos_times_add (run->leases_end, chaos_now_ns () - ended_ns);
}

/* Most kills hit one that has frames; the others hit start and handshake. The number of subscribers if all of them are dying. */
static guint
choose_victim (ChaosRun * run)
{
  const ChaosConfig *config = &run->shared->config;
  guint first = config->victims > 0 ? config->subscribers : 0, range = run->count - first, chosen = run->count;
  guint place = (guint) chaos_random (&run->random, 0, range - 1);
  gboolean anybody = chaos_random (&run->random, 0, 3) == 0;

  for (guint i = 0; i < range; i++) {
    guint candidate = first + (place + i) % range;

    if (run->subscribers[candidate].pid <= 0 || run->subscribers[candidate].killed_ns != 0)
      continue;
    if (anybody || atomic_load (&run->shared->subscribers[candidate].ready))
      return candidate;
    chosen = candidate;
  }
  return chosen;
}

/* Its death takes a while, on a GPU above all, and others are killed meanwhile. */
static void
kill_subscriber (ChaosRun * run)
{
  guint index = choose_victim (run);
  ChaosProcess *process = &run->subscribers[index];

  if (index == run->count)
    return;
  process->known_by = chaos_ask_knows (run, process->pid) > 0 ? run->publisher.life : 0;
  process->killed_ns = chaos_now_ns ();
  kill (process->pid, SIGKILL);
  run->subscriber_kills++;
}

static void
bury (ChaosRun * run, guint index)
{
  ChaosProcess *process = &run->subscribers[index];
  guint64 killed_ns = process->killed_ns;
  gboolean known = process->known_by == run->publisher.life;
  pid_t pid = process->pid;

  chaos_process_reap (process);
  if (known)
    wait_for_leases (run, pid, killed_ns, chaos_now_ns ());
  chaos_process_start (run, FALSE, index);
}

static guint
bury_the_dead (ChaosRun * run)
{
  guint dying = 0;

  for (guint i = 0; i < run->count; i++) {
    ChaosProcess *process = &run->subscribers[i];

    if (process->killed_ns != 0 && chaos_process_has_gone (process, 0))
      bury (run, i);
    dying += process->killed_ns != 0;
    if (process->killed_ns != 0 && chaos_now_ns () > process->killed_ns + DEATH_NS) {
      chaos_fail (run, "process %d does not die", (int) process->pid);
      process->killed_ns = G_MAXUINT64 - DEATH_NS;
    }
  }
  return dying;
}

void
chaos_deeds_wait (ChaosRun * run, guint milliseconds)
{
  struct pollfd fds[CHAOS_SUBSCRIBERS_MAX];
  guint count = 0;

  for (guint i = 0; i < run->count; i++)
    if (run->subscribers[i].killed_ns != 0)
      fds[count++] = (struct pollfd) {.fd = run->subscribers[i].fd,.events = POLLIN };
  poll (fds, count, (int) milliseconds);
}

/* One of four finds no room for its socket when it comes back. */
static void
kill_publisher (ChaosRun * run)
{
  chaos_process_kill (run, &run->publisher);
  run->publisher_kills++;
  if (chaos_random (&run->random, 0, 3) == 0)
    chaos_scarcity_fill (run);
  chaos_publisher_restart (run);
}

/* Everybody's times are disturbed while the publisher is stopped. Told at both ends: frames may still be on their way at the first. */
static void
note_stop (ChaosRun * run, const ChaosProcess * process)
{
  for (guint i = 0; i < run->count; i++)
    if (process == &run->publisher || process == &run->subscribers[i])
      atomic_fetch_add (&run->shared->subscribers[i].stops, 1);
}

static void
go_on (ChaosRun * run, ChaosProcess * process)
{
  if (process->pid > 0 && process->continue_ns != 0) {
    note_stop (run, process);
    kill (process->pid, SIGCONT);
  }
  process->continue_ns = 0;
}

static void
stop_one (ChaosRun * run)
{
  gboolean publisher = chaos_random (&run->random, 0, 7) == 0;
  guint index = (guint) chaos_random (&run->random, 0, run->count - 1);
  ChaosProcess *process = publisher ? &run->publisher : &run->subscribers[index];

  if (process->pid <= 0 || process->continue_ns != 0 || process->killed_ns != 0)
    return;
  process->continue_ns = chaos_now_ns () + chaos_random (&run->random, 10, STOP_LONGEST_MS) * GST_MSECOND;
  note_stop (run, process);
  kill (process->pid, SIGSTOP);
  run->stops++;
}

static void
continue_those_due (ChaosRun * run, guint64 now_ns)
{
  if (run->publisher.continue_ns <= now_ns)
    go_on (run, &run->publisher);
  for (guint i = 0; i < run->count; i++)
    if (run->subscribers[i].continue_ns <= now_ns)
      go_on (run, &run->subscribers[i]);
}

void
chaos_deeds (ChaosRun * run)
{
  const ChaosConfig *config = &run->shared->config;

  bury_the_dead (run);
  continue_those_due (run, chaos_now_ns ());
  chaos_scarcity_lift (run, chaos_now_ns ());
  if (is_due (run, &next_subscriber_kill_ns, config->kill_subscribers_ms))
    kill_subscriber (run);
  if (is_due (run, &next_publisher_kill_ns, config->kill_publisher_ms))
    kill_publisher (run);
  if (is_due (run, &next_stop_ns, config->stop_ms))
    stop_one (run);
  if (is_due (run, &next_limit_ns, config->limits_ms))
    chaos_scarcity_limit (run);
  if (is_due (run, &next_step_ns, config->clock_steps_ms))
    chaos_clock_step (run);
  chaos_end_mark_new (run);
}

void
chaos_deeds_end (ChaosRun * run)
{
  guint64 deadline_ns = chaos_now_ns () + DEATH_NS;

  continue_those_due (run, G_MAXUINT64);
  chaos_scarcity_lift (run, G_MAXUINT64);
  while (bury_the_dead (run) > 0 && chaos_now_ns () < deadline_ns)
    chaos_deeds_wait (run, 10);
}
