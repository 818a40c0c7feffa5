/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a process has open, as the kernel tells; what is left in a directory; what the GPU has in use. */
#include "chaos-run.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static guint
count_entries (const gchar * folder, gboolean * ret_known)
{
  DIR *dir = opendir (folder);
  guint count = 0;

  *ret_known = dir != NULL;
  if (dir == NULL)
    return 0;
  for (struct dirent * entry = readdir (dir); entry != NULL; entry = readdir (dir))
    count += strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0;
  closedir (dir);
  return count;
}

guint
chaos_state_count_files (const gchar * folder)
{
  gboolean known;

  return count_entries (folder, &known);
}

static void
count_maps (pid_t pid, ChaosState * state)
{
  gchar path[64], line[512];
  FILE *file;

  g_snprintf (path, sizeof path, "/proc/%d/maps", (int) pid);
  file = fopen (path, "re");
  if (file == NULL)
    return;
  while (fgets (line, sizeof line, file) != NULL) {
    state->maps++;
    state->shared_maps += strstr (line, "memfd:") != NULL;
  }
  fclose (file);
}

/* Without what is shared: slots that are seen for the first time are no growth. */
static void
read_private (pid_t pid, ChaosState * state)
{
  gchar path[64], line[256];
  unsigned long kib;
  FILE *file;

  g_snprintf (path, sizeof path, "/proc/%d/status", (int) pid);
  file = fopen (path, "re");
  if (file == NULL)
    return;
  while (fgets (line, sizeof line, file) != NULL)
    if (sscanf (line, "RssAnon: %lu kB", &kib) == 1)
      state->private_kib = kib;
  fclose (file);
}

void
chaos_state_read (pid_t pid, ChaosState * ret_state)
{
  gchar path[64];

  *ret_state = (ChaosState) { 0 };
  if (pid <= 0)
    return;
  g_snprintf (path, sizeof path, "/proc/%d/fd", (int) pid);
  ret_state->fds = count_entries (path, &ret_state->known);
  count_maps (pid, ret_state);
  read_private (pid, ret_state);
}

/* Waits until it has no more open than at the mark; what goes with a frame that is just held goes soon. */
gboolean
chaos_state_settles (pid_t pid, const ChaosState * mark, guint64 timeout_ns, ChaosState * ret_state)
{
  guint64 deadline_ns = chaos_now_ns () + timeout_ns;

  for (;;) {
    chaos_state_read (pid, ret_state);
    if (ret_state->known && ret_state->fds <= mark->fds && ret_state->shared_maps <= mark->shared_maps)
      return TRUE;
    if (chaos_now_ns () >= deadline_ns || chaos_interrupted)
      return FALSE;
    poll (NULL, 0, 20);
  }
}

/* 0 if nobody knows. */
guint64
chaos_state_gpu_mib (void)
{
  FILE *pipe = popen ("nvidia-smi --query-gpu=memory.used --format=csv,noheader,nounits 2>/dev/null", "re");
  unsigned long mib = 0;

  if (pipe == NULL)
    return 0;
  if (fscanf (pipe, "%lu", &mib) != 1)
    mib = 0;
  pclose (pipe);
  return mib;
}
