/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens to the processes: each deed at a random moment around its mean, on a process chosen at random. */
#include "chaos-run.h"

#define LEASES_NS (2 * GST_SECOND)
#define STOP_LONGEST_MS 1500

static guint64 next_subscriber_kill_ns, next_publisher_kill_ns, next_stop_ns;

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
  guint64 publisher = run->publisher.life;
  int known;

  while ((known = chaos_ask_knows (run, pid)) > 0 && chaos_now_ns () < ended_ns + LEASES_NS && !chaos_interrupted)
    continue;
  if (known > 0)
    chaos_fail (run, "leases of the killed process %d are not back after 2 s", (int) pid);
  if (known != 0 || run->publisher.life != publisher)
    return;
  chaos_times_add (run->leases_kill, chaos_now_ns () - killed_ns);
  chaos_times_add (run->leases_end, chaos_now_ns () - ended_ns);
}

/* Most kills hit one that has frames; the others hit start and handshake. */
static guint
choose_victim (ChaosRun * run)
{
  const ChaosConfig *config = &run->shared->config;
  guint first = config->victims > 0 ? config->subscribers : 0;
  guint chosen = (guint) chaos_random (&run->random, first, run->count - 1);

  if (chaos_random (&run->random, 0, 3) == 0)
    return chosen;
  for (guint i = 0; i < run->count - first; i++) {
    guint candidate = first + (chosen - first + i) % (run->count - first);

    if (atomic_load (&run->shared->subscribers[candidate].ready))
      return candidate;
  }
  return chosen;
}

static void
kill_subscriber (ChaosRun * run)
{
  guint index = choose_victim (run);
  ChaosProcess *process = &run->subscribers[index];
  pid_t pid = process->pid;
  int known = chaos_ask_knows (run, pid);
  guint64 killed_ns = chaos_now_ns (), ended_ns;

  chaos_process_kill (run, process);
  ended_ns = chaos_now_ns ();
  run->subscriber_kills++;
  if (known > 0)
    wait_for_leases (run, pid, killed_ns, ended_ns);
  chaos_process_start (run, FALSE, index);
}

static void
kill_publisher (ChaosRun * run)
{
  ChaosPublisher *publisher = &run->shared->publisher;

  chaos_process_kill (run, &run->publisher);
  run->publisher_kills++;
  atomic_fetch_add (&publisher->drops, atomic_exchange (&publisher->now_drops, 0));
  atomic_fetch_add (&publisher->copies, atomic_exchange (&publisher->now_copies, 0));
  atomic_fetch_add (&publisher->evicted, atomic_exchange (&publisher->now_evicted, 0));
  chaos_process_start (run, TRUE, 0);
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

  if (process->pid <= 0 || process->continue_ns != 0)
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

/* One round; TRUE if anything was done. */
gboolean
chaos_deeds (ChaosRun * run)
{
  const ChaosConfig *config = &run->shared->config;
  gboolean done = FALSE;

  continue_those_due (run, chaos_now_ns ());
  if (is_due (run, &next_subscriber_kill_ns, config->kill_subscribers_ms)) {
    kill_subscriber (run);
    done = TRUE;
  }
  if (is_due (run, &next_publisher_kill_ns, config->kill_publisher_ms)) {
    kill_publisher (run);
    done = TRUE;
  }
  if (is_due (run, &next_stop_ns, config->stop_ms)) {
    stop_one (run);
    done = TRUE;
  }
  return done;
}

void
chaos_deeds_end (ChaosRun * run)
{
  continue_those_due (run, G_MAXUINT64);
}
