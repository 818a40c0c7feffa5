/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts the processes of a case, waits for what they tell, and gathers their results. Every wait has a bound, and no child
 * outlives its case. */
#include "fanout-run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_NS (30 * GST_SECOND)
#define SETTLE_NS (3 * GST_SECOND)
#define LEAVE_NS (2 * GST_SECOND)

typedef struct
{
  pid_t pid;
  int event_fd, command_fd;     /* ours: read what it tells, close to stop it */
  guint told[FANOUT_EVENT_FAILED + 1];
  gboolean gone;
} Process;

typedef struct
{
  FanoutControl *control;
  gsize control_bytes;
  int control_fd;
  Process *processes;           /* the publisher first */
  guint count;
  gchar failure[FANOUT_EVENT_TEXT_BYTES];
} Run;

volatile sig_atomic_t fanout_interrupted;

FanoutRow *
fanout_row_new (const gchar * name, FanoutCaseKind kind, const FanoutConfig * config)
{
  FanoutRow *row = g_new0 (FanoutRow, 1);

  row->kind = kind;
  row->name = g_strdup (name);
  row->width = config->width;
  row->height = config->height;
  row->fps = config->fps;
  row->subscribers = config->subscribers;
  row->slow = config->slow;
  row->cuda = config->cuda;
  row->pad = g_array_new (FALSE, FALSE, sizeof (guint32));
  row->verified = g_array_new (FALSE, FALSE, sizeof (guint32));
  row->push = g_array_new (FALSE, FALSE, sizeof (guint32));
  row->publisher_copies = row->subscriber_copies = row->drops = -1;
  return row;
}

void
fanout_row_free (FanoutRow * row)
{
  g_array_unref (row->pad);
  g_array_unref (row->verified);
  g_array_unref (row->push);
  g_free (row->failure);
  g_free (row->name);
  g_free (row);
}

guint64
fanout_row_errors (const FanoutRow * row)
{
  return row->torn + row->absent + row->repeated + row->stale + row->reordered;
}

static const struct
{
  const gchar *name;
  int (*main) (FanoutChild * child);
} roles[] = {
  {"publisher", fanout_publisher_main},
  {"subscriber", fanout_subscriber_main},
  {"waker", fanout_waker_main},
  {"sleeper", fanout_sleeper_main},
};

/* fanout --child ROLE INDEX CONTROL-FD EVENT-FD COMMAND-FD BYTES */
int
fanout_run_child (int argc, char **argv)
{
  FanoutChild child;
  int status = 2;

  if (argc != 8 || !g_str_equal (argv[1], "--child"))
    return -1;
  child.index = (guint) atoi (argv[3]);
  child.event_fd = atoi (argv[5]);
  child.command_fd = atoi (argv[6]);
  child.control = mmap (NULL, g_ascii_strtoull (argv[7], NULL, 10), PROT_READ | PROT_WRITE, MAP_SHARED, atoi (argv[4]), 0);
  if (child.control == MAP_FAILED)
    return 2;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  gst_init (NULL, NULL);
  for (guint i = 0; i < G_N_ELEMENTS (roles); i++)
    if (g_str_equal (argv[2], roles[i].name))
      status = roles[i].main (&child);
  return status;
}

static void
inherit (int fd)
{
  fcntl (fd, F_SETFD, 0);
}

static void
exec_child (Run * run, const gchar * role, guint index, int event_fd, int command_fd)
{
  gchar texts[5][32];

  inherit (run->control_fd);
  inherit (event_fd);
  inherit (command_fd);
  if (g_str_equal (role, "sleeper"))
    inherit (run->control->config.sleep_fds[index]);
  if (g_str_equal (role, "waker"))
    for (guint i = 0; i < run->control->config.subscribers; i++)
      inherit (run->control->config.wake_fds[i]);
  g_snprintf (texts[0], sizeof texts[0], "%u", index);
  g_snprintf (texts[1], sizeof texts[1], "%d", run->control_fd);
  g_snprintf (texts[2], sizeof texts[2], "%d", event_fd);
  g_snprintf (texts[3], sizeof texts[3], "%d", command_fd);
  g_snprintf (texts[4], sizeof texts[4], "%zu", run->control_bytes);
  execl ("/proc/self/exe", "fanout", "--child", role, texts[0], texts[1], texts[2], texts[3], texts[4], NULL);
  _exit (127);
}

static gboolean
spawn (Run * run, const gchar * role, guint index)
{
  Process *process = &run->processes[run->count];
  int events[2], commands[2];

  if (pipe2 (events, O_CLOEXEC) != 0)
    return FALSE;
  if (pipe2 (commands, O_CLOEXEC) != 0) {
    close (events[0]);
    close (events[1]);
    return FALSE;
  }
  process->pid = fork ();
  if (process->pid == 0)
    exec_child (run, role, index, events[1], commands[0]);
  close (events[1]);
  close (commands[0]);
  process->event_fd = events[0];
  process->command_fd = commands[1];
  process->gone = process->pid < 0;
  run->count++;
  return process->pid > 0;
}

static void
listen_to (Run * run, Process * process)
{
  FanoutEvent event;

  if (read (process->event_fd, &event, sizeof event) != sizeof event) {
    process->gone = TRUE;
    return;
  }
  if (event.kind <= FANOUT_EVENT_FAILED)
    process->told[event.kind]++;
  if (event.kind == FANOUT_EVENT_FAILED && run->failure[0] == '\0')
    g_strlcpy (run->failure, event.text, sizeof run->failure);
}

static gboolean
all_told (const Run * run, guint from, guint to, FanoutEventKind kind)
{
  for (guint i = from; i < to; i++)
    if (run->processes[i].told[kind] == 0)
      return FALSE;
  return TRUE;
}

/* Waits until the processes from..to have told it. FALSE after the time or once one of all has failed. */
static gboolean
wait_told (Run * run, guint from, guint to, FanoutEventKind kind, guint64 timeout_ns)
{
  guint64 deadline_ns = fanout_now_ns () + timeout_ns;
  struct pollfd fds[FANOUT_SUBSCRIBERS_MAX + 1];

  while (!all_told (run, from, to, kind)) {
    guint64 now_ns = fanout_now_ns ();

    if (now_ns >= deadline_ns || run->failure[0] != '\0' || fanout_interrupted)
      return FALSE;
    for (guint i = 0; i < run->count; i++)
      fds[i] = (struct pollfd) {.fd = run->processes[i].gone ? -1 : run->processes[i].event_fd,.events = POLLIN };
    if (poll (fds, run->count, (int) ((deadline_ns - now_ns) / GST_MSECOND) + 1) <= 0)
      continue;
    for (guint i = 0; i < run->count; i++)
      if (fds[i].revents != 0)
        listen_to (run, &run->processes[i]);
    for (guint i = 0; i < run->count; i++)
      if (run->processes[i].gone && run->processes[i].told[FANOUT_EVENT_DONE] == 0 && run->failure[0] == '\0')
        g_strlcpy (run->failure, i == 0 ? "the publisher died" : "a subscriber died", sizeof run->failure);
  }
  return TRUE;
}

/* Waits for the end of a child that was told to leave, by force when the time is over. */
static void
see_off (Run * run, Process * process, guint64 deadline_ns)
{
  int status = 0;
  gboolean forced = FALSE;
  FanoutEvent event;

  if (process->pid <= 0)
    return;
  while (!process->gone) {
    const guint64 now_ns = fanout_now_ns ();
    const int left_ms = now_ns < deadline_ns ? (int) ((deadline_ns - now_ns) / GST_MSECOND) + 1 : 0;
    struct pollfd fd = {.fd = process->event_fd,.events = POLLIN };

    if (poll (&fd, 1, left_ms) > 0)
      process->gone = read (process->event_fd, &event, sizeof event) <= 0;
    else if (left_ms == 0) {
      forced = TRUE;
      kill (process->pid, SIGKILL);
      break;
    }
  }
  while (waitpid (process->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  /* What it measured lies in shared memory by then: that it hangs when it is stopped is said and changes no figure. */
  if (forced)
    g_printerr ("  a process did not leave when it was told to, and was killed\n");
  else if (WIFSIGNALED (status) && run->failure[0] == '\0')
    g_strlcpy (run->failure, "a process crashed", sizeof run->failure);
  close (process->event_fd);
  process->pid = 0;
}

/* All of them at once, so that those who do not leave cost one time out. */
static void
stop (Run * run, guint from, guint to)
{
  const guint64 deadline_ns = fanout_now_ns () + LEAVE_NS;

  for (guint i = from; i < to; i++)
    if (run->processes[i].pid > 0)
      close (run->processes[i].command_fd);
  for (guint i = from; i < to; i++)
    see_off (run, &run->processes[i], deadline_ns);
}

/* The publisher last. */
static void
stop_all (Run * run)
{
  stop (run, MIN (run->count, 1), run->count);
  stop (run, 0, MIN (run->count, 1));
}

static gboolean
run_init (Run * run, const FanoutConfig * config)
{
  memset (run, 0, sizeof *run);
  run->control_bytes = fanout_control_bytes (config->subscribers, config->frames);
  run->control_fd = memfd_create ("fanout", MFD_CLOEXEC);
  if (run->control_fd < 0 || ftruncate (run->control_fd, (off_t) run->control_bytes) != 0)
    return FALSE;
  run->control = mmap (NULL, run->control_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, run->control_fd, 0);
  if (run->control == MAP_FAILED)
    return FALSE;
  run->control->config = *config;
  run->processes = g_new0 (Process, config->subscribers + 1);
  return TRUE;
}

static void
run_clear (Run * run)
{
  g_free (run->processes);
  if (run->control != NULL && run->control != MAP_FAILED)
    munmap (run->control, run->control_bytes);
  close (run->control_fd);
}

static guint64
frames_time (const FanoutConfig * config)
{
  guint fps = config->fps != 0 ? config->fps : 20;

  return (config->warmup + config->frames) * GST_SECOND / fps * 3 + START_NS;
}

static void
measure_transport (Run * run, const FanoutConfig * config)
{
  guint n = config->subscribers;

  if (!spawn (run, "publisher", 0) || !wait_told (run, 0, 1, FANOUT_EVENT_STARTED, START_NS))
    return;
  for (guint i = 0; i < n; i++)
    if (!spawn (run, "subscriber", i))
      return;
  if (!wait_told (run, 1, n + 1, FANOUT_EVENT_READY, START_NS))
    return;
  atomic_store (&run->control->go, 1);
  if (!wait_told (run, 0, 1, FANOUT_EVENT_DONE, frames_time (config)))
    return;
  /* Who misses the last frame never tells: that is a result, not a failure. */
  wait_told (run, 1, n + 1, FANOUT_EVENT_DONE, SETTLE_NS);
}

static gboolean
make_pipes (Run * run)
{
  for (guint i = 0; i < run->control->config.subscribers; i++) {
    int ends[2];

    if (pipe2 (ends, O_CLOEXEC) != 0)
      return FALSE;
    run->control->config.sleep_fds[i] = ends[0];
    run->control->config.wake_fds[i] = ends[1];
  }
  return TRUE;
}

static void
measure_floor (Run * run, const FanoutConfig * config)
{
  guint n = config->subscribers;
  gboolean started = make_pipes (run) && spawn (run, "waker", 0) && wait_told (run, 0, 1, FANOUT_EVENT_STARTED, START_NS);

  /* The waker has its own copy of the write ends now. */
  for (guint i = 0; i < n; i++)
    close (run->control->config.wake_fds[i]);
  for (guint i = 0; i < n && started; i++)
    started = spawn (run, "sleeper", i);
  if (started && wait_told (run, 1, n + 1, FANOUT_EVENT_READY, START_NS)) {
    atomic_store (&run->control->go, 1);
    wait_told (run, 0, n + 1, FANOUT_EVENT_DONE, frames_time (config));
  }
  for (guint i = 0; i < n; i++)
    close (run->control->config.sleep_fds[i]);
}

static gint64
sum (gint64 a, gint64 b)
{
  return b < 0 ? a : MAX (a, 0) + b;
}

static void
add_growth (FanoutRow * row, gint64 * rss_kib, const FanoutMemory * mark, const FanoutMemory * end)
{
  if (mark->rss_kib == 0)
    return;
  *rss_kib = MAX (*rss_kib, (gint64) end->rss_kib - (gint64) mark->rss_kib);
  row->gpu_kib = MAX (row->gpu_kib, (gint64) end->gpu_kib - (gint64) mark->gpu_kib);
  row->fds = MAX (row->fds, (gint64) end->fds - (gint64) mark->fds);
  row->maps = MAX (row->maps, (gint64) end->maps - (gint64) mark->maps);
}

static void
gather_publisher (FanoutRow * row, const Run * run)
{
  const FanoutPublisherResult *publisher = &run->control->publisher;

  row->published += publisher->frames;
  row->publisher_cpu_ns += publisher->cpu_ns;
  row->wall_ns += publisher->wall_ns;
  row->late += publisher->late;
  row->publisher_copies = sum (row->publisher_copies, publisher->copies);
  row->drops = sum (row->drops, publisher->drops);
  add_growth (row, &row->publisher_rss_kib, &publisher->mark, &publisher->end);
  if (row->kind != FANOUT_CASE_FLOOR)
    g_array_append_vals (row->push, fanout_samples_push (run->control), (guint) publisher->frames);
}

static void
gather_subscriber (FanoutRow * row, const Run * run, guint index)
{
  const FanoutSubscriberResult *subscriber = &run->control->subscribers[index];

  row->torn += subscriber->torn;
  row->absent += subscriber->absent;
  row->repeated += subscriber->repeated;
  row->stale += subscriber->stale;
  row->reordered += subscriber->reordered;
  row->subscriber_copies = sum (row->subscriber_copies, subscriber->copies);
  add_growth (row, &row->subscriber_rss_kib, &subscriber->mark, &subscriber->end);
  if (index >= row->subscribers - MIN (row->slow, row->subscribers)) {
    row->slow_missed += subscriber->missed;
    return;
  }
  row->missed += subscriber->missed;
  row->frames += subscriber->frames;
  row->subscriber_cpu_ns += subscriber->cpu_ns;
  g_array_append_vals (row->pad, fanout_samples_pad (run->control, index), (guint) subscriber->frames);
  g_array_append_vals (row->verified, fanout_samples_verified (run->control, index), (guint) subscriber->frames);
}

void
fanout_run (FanoutRow * row, const FanoutConfig * config)
{
  Run run;

  if (!run_init (&run, config)) {
    row->failure = g_strdup ("no memory for the results");
    run_clear (&run);
    return;
  }
  if (row->kind == FANOUT_CASE_FLOOR)
    measure_floor (&run, config);
  else
    measure_transport (&run, config);
  stop_all (&run);
  if (run.control->publisher.frames < config->frames && run.failure[0] == '\0')
    g_strlcpy (run.failure, "it came to a stand", sizeof run.failure);
  if (run.failure[0] != '\0') {
    g_free (row->failure);
    row->failure = g_strdup (run.failure);
  } else {
    row->runs++;
    gather_publisher (row, &run);
    for (guint i = 0; i < config->subscribers; i++)
      gather_subscriber (row, &run, i);
  }
  run_clear (&run);
}
