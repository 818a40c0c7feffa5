/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What runs out for a while: descriptors and memory files of one process, by its limits, and room in the channels' directory, which lies on a
 * small file system of its own where the program may mount one. /dev/shm is full there all the time. */
#include "chaos-run.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <unistd.h>

#define SHORTEST_MS 20
#define LONGEST_MS 500
#define FILLERS 64
#define FILLER ".filler"
/* A process that ends with an error so long after something ran out has ended for that; others that ended later have a fault. */
#define GRACE_NS (10 * GST_SECOND)

static gboolean
mount_small (const gchar * place, const gchar * options)
{
  return mount ("chaos", place, "tmpfs", MS_NOSUID | MS_NODEV, options) == 0;
}

static void
fill_shm (void)
{
  static const gchar bytes[1 << 16];
  int fd = open ("/dev/shm/full", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

  while (fd >= 0 && write (fd, bytes, sizeof bytes) > 0)
    continue;
  if (fd >= 0)
    close (fd);
}

/* Before other threads and processes are there: they all live in the new mount namespace, and nobody else sees it. */
void
chaos_scarcity_begin (ChaosRun * run)
{
  gchar options[64];

  if (!run->shared->config.full_directory)
    return;
  g_snprintf (options, sizeof options, "mode=0700,size=64k,nr_inodes=%d", FILLERS);
  run->has_small = unshare (CLONE_NEWNS) == 0 && mount ("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 && mount_small (run->dir, options)
      && mount_small ("/dev/shm", "size=64k");
  if (run->has_small)
    fill_shm ();
  else
    printf ("NOT DONE: the channels' directory and /dev/shm are never full, for the program may not mount: %s\n", g_strerror (errno));
}

static void
fill_directory (ChaosRun * run, gboolean full)
{
  for (guint i = 0; i < FILLERS; i++) {
    gchar path[256];
    int fd;

    g_snprintf (path, sizeof path, "%s/" FILLER "-%u", run->dir, i);
    if (!full) {
      unlink (path);
      continue;
    }
    fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
      close (fd);
  }
}

/* Until it is over, a publisher that starts finds no room for its socket. What the dead one left would leave it some. */
void
chaos_scarcity_fill (ChaosRun * run)
{
  static const gchar *const leavings[] = { "", ".lock", "~" };

  if (!run->has_small || run->full_until_ns != 0)
    return;
  for (guint i = 0; i < G_N_ELEMENTS (leavings); i++) {
    gchar *path = g_strconcat (run->socket_path, leavings[i], NULL);

    unlink (path);
    g_free (path);
  }
  fill_directory (run, TRUE);
  run->full_until_ns = chaos_now_ns () + chaos_random (&run->random, SHORTEST_MS, LONGEST_MS) * GST_MSECOND;
  run->fillings++;
}

static guint64
count_open (pid_t pid)
{
  ChaosState state;

  chaos_state_read (pid, &state);
  return state.fds;
}

/* No descriptor more than it has; or no memory file larger than a page. */
void
chaos_scarcity_limit (ChaosRun * run)
{
  gboolean publisher = chaos_random (&run->random, 0, 3) == 0, files = chaos_random (&run->random, 0, 1) == 0;
  guint index = (guint) chaos_random (&run->random, 0, run->count - 1);
  guint64 length_ns = chaos_random (&run->random, SHORTEST_MS, LONGEST_MS) * GST_MSECOND;
  ChaosProcess *process = publisher ? &run->publisher : &run->subscribers[index];
  struct rlimit limit;

  if (process->pid <= 0 || process->limited_until_ns != 0 || process->killed_ns != 0 || (!publisher && !atomic_load (&run->shared->subscribers[index].ready)))
    return;
  process->limited = files ? RLIMIT_NOFILE : RLIMIT_FSIZE;
  if (prlimit (process->pid, process->limited, NULL, &limit) != 0)
    return;
  process->limit_before = limit.rlim_cur;
  limit.rlim_cur = files ? count_open (process->pid) : 4096;
  if (prlimit (process->pid, process->limited, &limit, NULL) != 0)
    return;
  process->limited_until_ns = chaos_now_ns () + length_ns;
  process->scarce_ns = process->limited_until_ns;
  if (publisher)
    run->publisher_scarce_ns = process->limited_until_ns;
  run->limits[files]++;
}

static void
lift (ChaosProcess * process, guint64 now_ns)
{
  struct rlimit limit;

  if (process->limited_until_ns == 0 || process->limited_until_ns > now_ns)
    return;
  if (process->pid > 0 && prlimit (process->pid, process->limited, NULL, &limit) == 0) {
    limit.rlim_cur = process->limit_before;
    prlimit (process->pid, process->limited, &limit, NULL);
  }
  process->limited_until_ns = 0;
}

/* Gives back what is due at that moment. */
void
chaos_scarcity_lift (ChaosRun * run, guint64 now_ns)
{
  lift (&run->publisher, now_ns);
  for (guint i = 0; i < run->count; i++)
    lift (&run->subscribers[i], now_ns);
  if (run->full_until_ns == 0 || run->full_until_ns > now_ns)
    return;
  fill_directory (run, FALSE);
  run->was_full_ns = chaos_now_ns ();
  run->full_until_ns = 0;
}

static gboolean
is_lately (guint64 ns)
{
  return ns != 0 && chaos_now_ns () < ns + GRACE_NS;
}

/* Whether something that a process needs ran out, its own or its publisher's. */
gboolean
chaos_scarcity_excuses (const ChaosRun * run, const ChaosProcess * process)
{
  return is_lately (process->scarce_ns) || is_lately (run->publisher_scarce_ns)
      || (process == &run->publisher && (run->full_until_ns != 0 || is_lately (run->was_full_ns)));
}

void
chaos_scarcity_end (ChaosRun * run)
{
  chaos_scarcity_lift (run, G_MAXUINT64);
  if (run->has_small)
    umount2 (run->dir, MNT_DETACH);
}
