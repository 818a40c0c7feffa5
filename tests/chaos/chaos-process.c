/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Starts the processes, sees them go, and lets none outlive the program. A socket pair ties each to the parent: it hangs up on either side
 * when the other has gone. */
#include "chaos-run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define LEAVE_NS (15 * GST_SECOND)
/* One that is started later has what it needs open after so long. */
#define MARK_AFTER_NS (5 * GST_SECOND)
/* Processes that gave up of which the reason is printed; all of them are counted. */
#define REPORTS 20

volatile sig_atomic_t chaos_interrupted;

void
chaos_fail (ChaosRun * run, const gchar * format, ...)
{
  va_list args;

  run->failures++;
  va_start (args, format);
  fputs ("FAILED: ", stdout);
  vprintf (format, args);
  putchar ('\n');
  va_end (args);
}

/* chaos --role publisher|subscriber INDEX LIFE RANDOM SHARED-FD PARENT-FD */
int
chaos_process_role (int argc, char **argv)
{
  ChaosChild child;

  if (argc != 8 || !g_str_equal (argv[1], "--role"))
    return -1;
  prctl (PR_SET_PDEATHSIG, SIGKILL);
  signal (SIGINT, SIG_IGN);
  child.index = (guint) atoi (argv[3]);
  child.life = g_ascii_strtoull (argv[4], NULL, 10);
  child.random = g_ascii_strtoull (argv[5], NULL, 10);
  child.parent_fd = atoi (argv[7]);
  signal (SIGXFSZ, SIG_IGN);
  child.shared = mmap (NULL, sizeof *child.shared, PROT_READ | PROT_WRITE, MAP_SHARED, atoi (argv[6]), 0);
  close (atoi (argv[6]));
  if (child.shared == MAP_FAILED)
    return 2;
  chaos_clock_follow (child.shared);
  fcntl (child.parent_fd, F_SETFD, FD_CLOEXEC);
  gst_init (NULL, NULL);
  return g_str_equal (argv[2], "publisher") ? chaos_publisher_main (&child) : chaos_subscriber_main (&child);
}

static void
exec_role (ChaosRun * run, gboolean publisher, guint index, guint64 life, int fd)
{
  gchar texts[5][32];

  fcntl (run->shared_fd, F_SETFD, 0);
  fcntl (fd, F_SETFD, 0);
  g_snprintf (texts[0], sizeof texts[0], "%u", index);
  g_snprintf (texts[1], sizeof texts[1], "%" G_GUINT64_FORMAT, life);
  g_snprintf (texts[2], sizeof texts[2], "%" G_GUINT64_FORMAT, chaos_mix (run->shared->config.seed ^ chaos_mix (life)));
  g_snprintf (texts[3], sizeof texts[3], "%d", run->shared_fd);
  g_snprintf (texts[4], sizeof texts[4], "%d", fd);
  setenv ("FAKECUDA_SEED", texts[1], 1);
  execl ("/proc/self/exe", "chaos", "--role", publisher ? "publisher" : "subscriber", texts[0], texts[1], texts[2], texts[3], texts[4], NULL);
  _exit (127);
}

gboolean
chaos_process_start (ChaosRun * run, gboolean publisher, guint index)
{
  ChaosProcess *process = publisher ? &run->publisher : &run->subscribers[index];
  int ends[2];

  *process = (ChaosProcess) {.fd = -1,.life = ++run->lives,.mark_ns = chaos_now_ns () + MARK_AFTER_NS };
  if (!publisher) {
    atomic_store (&run->shared->subscribers[index].ready, 0);
    atomic_store (&run->shared->subscribers[index].failed, 0);
  }
  if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return FALSE;
  run->publisher_lives += publisher;
  process->pid = fork ();
  if (process->pid == 0)
    exec_role (run, publisher, index, process->life, ends[1]);
  close (ends[1]);
  process->fd = ends[0];
  return process->pid > 0;
}

gboolean
chaos_process_has_gone (const ChaosProcess * process, guint64 timeout_ns)
{
  struct pollfd fd = {.fd = process->fd,.events = POLLIN };
  const struct timespec timeout = {.tv_sec = (time_t) (timeout_ns / GST_SECOND),.tv_nsec = (long) (timeout_ns % GST_SECOND) };

  return ppoll (&fd, 1, &timeout, NULL) > 0;
}

int
chaos_process_reap (ChaosProcess * process)
{
  int status = 0;

  while (waitpid (process->pid, &status, 0) < 0 && errno == EINTR)
    continue;
  close (process->fd);
  process->pid = 0;
  process->fd = -1;
  process->continue_ns = process->killed_ns = 0;
  return status;
}

/* Its descriptors are closed when this returns. */
void
chaos_process_kill (ChaosRun * run, ChaosProcess * process)
{
  if (process->pid <= 0)
    return;
  kill (process->pid, SIGKILL);
  if (!chaos_process_has_gone (process, LEAVE_NS))
    chaos_fail (run, "process %d does not die", (int) process->pid);
  chaos_process_reap (process);
}

void
chaos_process_leave (ChaosRun * run, ChaosProcess * process, const gchar * what)
{
  guint64 deadline_ns = chaos_now_ns () + LEAVE_NS;
  siginfo_t info = { 0 };
  int status;

  if (process->pid <= 0)
    return;
  shutdown (process->fd, SHUT_WR);
  while (!chaos_process_has_gone (process, 10 * GST_MSECOND) && chaos_now_ns () < deadline_ns)
    if (waitid (P_PID, (id_t) process->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
      break;
  if (chaos_now_ns () >= deadline_ns) {
    chaos_fail (run, "%s %d did not leave when it was told", what, (int) process->pid);
    kill (process->pid, SIGKILL);
  }
  status = chaos_process_reap (process);
  if (WIFSIGNALED (status) && WTERMSIG (status) != SIGKILL)
    chaos_fail (run, "%s crashed at its end: signal %d", what, WTERMSIG (status));
}

static void
look_at (ChaosRun * run, ChaosProcess * process, const gchar * what, guint index, const _Atomic guint32 * failed, const gchar * failure)
{
  pid_t pid = process->pid;
  int status;

  if (pid <= 0 || process->killed_ns != 0 || !chaos_process_has_gone (process, 0))
    return;
  status = chaos_process_reap (process);
  if (WIFEXITED (status) && atomic_load (failed) && failure[0] != 0 && chaos_scarcity_excuses (run, process)) {
    if (run->gave_up++ < REPORTS)
      printf ("  %s %u (process %d) gave up: %s\n", what, index, (int) pid, failure);
    return;
  }
  chaos_fail (run, "%s %u (process %d) ended by itself: %s %d %s", what, index, (int) pid, WIFSIGNALED (status) ? "signal" : "status",
      WIFSIGNALED (status) ? WTERMSIG (status) : WEXITSTATUS (status), atomic_load (failed) ? failure : "");
}

/* What the life that is over has counted is kept. */
gboolean
chaos_publisher_restart (ChaosRun * run)
{
  ChaosPublisher *publisher = &run->shared->publisher;

  atomic_fetch_add (&publisher->drops, atomic_exchange (&publisher->now_drops, 0));
  atomic_fetch_add (&publisher->copies, atomic_exchange (&publisher->now_copies, 0));
  atomic_fetch_add (&publisher->evicted, atomic_exchange (&publisher->now_evicted, 0));
  atomic_store (&publisher->failed, 0);
  return chaos_process_start (run, TRUE, 0);
}

/* Those that ended by themselves are started again, but for a publisher that cannot even start though nothing has run out. */
gboolean
chaos_process_look (ChaosRun * run)
{
  ChaosPublisher *publisher = &run->shared->publisher;
  const guint gave_up = run->gave_up;

  look_at (run, &run->publisher, "the publisher, life", (guint) run->publisher.life, &publisher->failed, publisher->failure);
  if (run->publisher.pid == 0 && run->gave_up == gave_up && atomic_load (&publisher->first_ns[run->publisher.life % CHAOS_LIVES]) == 0)
    return FALSE;
  if (run->publisher.pid == 0 && !chaos_publisher_restart (run))
    return FALSE;
  for (guint i = 0; i < run->count; i++) {
    ChaosSubscriber *subscriber = &run->shared->subscribers[i];

    look_at (run, &run->subscribers[i], "subscriber", i, &subscriber->failed, subscriber->failure);
    if (run->subscribers[i].pid == 0 && !chaos_process_start (run, FALSE, i))
      return FALSE;
  }
  return run->failures < 50;
}
