/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A publisher and subscribers of every temper, kills, stops, restarts and changes of caps at random, every frame checked, and the end
 * compared with the beginning. See docs/chaos.md. */
#include "chaos-run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "stamp-cuda.h"

#define START_NS (60 * GST_SECOND)
#define MARK_AFTER_NS (2 * GST_SECOND)
#define ROUND_MS 2
#define SETTLE_MS 100
#define SECONDS_DEFAULT 60

static void
on_signal (int number)
{
  chaos_interrupted = number;
}

static gboolean
check_config (ChaosConfig * config, const gchar * size, gint64 seed, GError ** error)
{
  guint64 number = (guint64) seed;

  if (sscanf (size, "%ux%u", &config->width, &config->height) != 2 || config->width < 64 || config->height < 64) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--size is WIDTHxHEIGHT, at least 64x64");
    return FALSE;
  }
  if (config->subscribers < 1 || config->subscribers + config->victims > CHAOS_SUBSCRIBERS_MAX || config->slow > config->subscribers) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "1 to %u subscribers, --victims included, --slow of them", CHAOS_SUBSCRIBERS_MAX);
    return FALSE;
  }
  if (config->slow == config->subscribers && config->frames > 0) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--frames counts those of a subscriber that is not --slow");
    return FALSE;
  }
  if (config->cuda && config->packets) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--packets are never in GPU memory");
    return FALSE;
  }
  if (config->cuda && stamp_cuda_missing () != NULL) {
    g_set_error (error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "--cuda: %s", stamp_cuda_missing ());
    return FALSE;
  }
  config->width &= ~1u;
  config->height &= ~3u;
  config->seed = number != 0 ? number : chaos_mix (chaos_now_ns () ^ (guint64) getpid ()) >> 32;
  return TRUE;
}

static gboolean
parse (int *argc, char ***argv, ChaosConfig * config)
{
  gint seconds = 0, subscribers = 8, slow = -1, victims = -1, kill_subscribers = 0, kill_publisher = 0, stop = 0, caps = 0, fps = 60, slots = 32;
  gint growth = 8192;
  gint64 seed = 0, frames = 0;
  gchar *size = NULL, *overflow = NULL, *gpu_sync = NULL;
  gint limits = 0, clock_steps = 0;
  gboolean cuda = FALSE, every_byte = FALSE, full_directory = FALSE, packets = FALSE;
  const GOptionEntry entries[] = {
    {"seconds", 0, 0, G_OPTION_ARG_INT, &seconds, "how long (60; with --frames at most 3600)", "S"},
    {"frames", 0, 0, G_OPTION_ARG_INT64, &frames, "until every fast subscriber that is not killed has had so many", "N"},
    {"seed", 0, 0, G_OPTION_ARG_INT64, &seed, "of everything that is random (from the clock)", "N"},
    {"subscribers", 0, 0, G_OPTION_ARG_INT, &subscribers, "that live all the time (8)", "N"},
    {"slow", 0, 0, G_OPTION_ARG_INT, &slow, "of them, slow or holding frames (a quarter)", "N"},
    {"victims", 0, 0, G_OPTION_ARG_INT, &victims, "beside them, to be killed (4 with --kill-subscribers-ms; 0: kill the others)", "N"},
    {"kill-subscribers-ms", 0, 0, G_OPTION_ARG_INT, &kill_subscribers, "kill one every so often, on the average", "MS"},
    {"kill-publisher-ms", 0, 0, G_OPTION_ARG_INT, &kill_publisher, "kill and restart the publisher", "MS"},
    {"stop-ms", 0, 0, G_OPTION_ARG_INT, &stop, "stop a process for a while", "MS"},
    {"caps-changes-ms", 0, 0, G_OPTION_ARG_INT, &caps, "change the caps", "MS"},
    {"limits-ms", 0, 0, G_OPTION_ARG_INT, &limits, "let a process run out of descriptors or of memory files for a while", "MS"},
    {"clock-steps-ms", 0, 0, G_OPTION_ARG_INT, &clock_steps, "set the wall clock that the processes see", "MS"},
    {"full-directory", 0, 0, G_OPTION_ARG_NONE, &full_directory, "/dev/shm is full, the channels' directory at times (needs leave to mount)", NULL},
    {"size", 0, 0, G_OPTION_ARG_STRING, &size, "of the frames (320x240)", "WxH"},
    {"fps", 0, 0, G_OPTION_ARG_INT, &fps, "frames a second, 0 for as many as go (60)", "N"},
    {"slots", 0, 0, G_OPTION_ARG_INT, &slots, "of the ring (32)", "N"},
    {"overflow", 0, 0, G_OPTION_ARG_STRING, &overflow, "drop, wait or evict (drop)", "WHAT"},
    {"every-byte", 0, 0, G_OPTION_ARG_NONE, &every_byte, "write and check every byte, not marks all over the frame (host memory only)", NULL},
    {"packets", 0, 0, G_OPTION_ARG_NONE, &packets, "packets of 32 to 12,000 bytes with a key point every 30, instead of frames", NULL},
    {"cuda", 0, 0, G_OPTION_ARG_NONE, &cuda, "frames in GPU memory", NULL},
    {"gpu-sync", 0, 0, G_OPTION_ARG_STRING, &gpu_sync, "host or fence (host)", "WHAT"},
    {"growth-kib", 0, 0, G_OPTION_ARG_INT, &growth, "private memory that a process may grow by (8192)", "KIB"},
    {NULL}
  };
  GOptionContext *context = g_option_context_new ("- every frame checked while processes are killed and stopped");
  GError *error = NULL;
  gboolean good;

  g_option_context_add_main_entries (context, entries, NULL);
  good = g_option_context_parse (context, argc, argv, &error);
  *config = (ChaosConfig) {
    .seconds = (guint64) (seconds > 0 ? seconds : frames > 0 ? 3600 : SECONDS_DEFAULT),.frames = (guint64) MAX (frames, 0),.fps = (guint) MAX (fps, 0),
    .slots = (guint) MAX (slots, 2),.subscribers = (guint) MAX (subscribers, 0),.slow = (guint) (slow >= 0 ? slow : subscribers / 4),
    .victims = (guint) (victims >= 0 ? victims : kill_subscribers > 0 ? 4 : 0),.kill_subscribers_ms = (guint) MAX (kill_subscribers, 0),
    .kill_publisher_ms = (guint) MAX (kill_publisher, 0),.stop_ms = (guint) MAX (stop, 0),.caps_changes_ms = (guint) MAX (caps, 0),
    .limits_ms = (guint) MAX (limits, 0),.clock_steps_ms = (guint) MAX (clock_steps, 0),.full_directory = full_directory,.growth_kib = (guint) growth,.cuda = cuda,.packets = packets,.every_byte = every_byte,
  };
  g_strlcpy (config->overflow, overflow != NULL ? overflow : "drop", sizeof config->overflow);
  g_strlcpy (config->gpu_sync, gpu_sync != NULL ? gpu_sync : "host", sizeof config->gpu_sync);
  good = good && check_config (config, size != NULL ? size : "320x240", seed, &error);
  if (!good)
    fprintf (stderr, "chaos: %s\n", error->message);
  g_clear_error (&error);
  g_option_context_free (context);
  g_free (size);
  g_free (overflow);
  g_free (gpu_sync);
  return good;
}

static gboolean
run_init (ChaosRun * run, const ChaosConfig * config)
{
  run->shared_fd = memfd_create ("chaos", MFD_CLOEXEC);
  if (run->shared_fd < 0 || ftruncate (run->shared_fd, sizeof *run->shared) != 0)
    return FALSE;
  run->shared = mmap (NULL, sizeof *run->shared, PROT_READ | PROT_WRITE, MAP_SHARED, run->shared_fd, 0);
  if (run->shared == MAP_FAILED)
    return FALSE;
  run->shared->config = *config;
  chaos_clock_follow (run->shared);
  run->count = config->subscribers + config->victims;
  run->random = chaos_mix (config->seed);
  run->leases_kill = g_new0 (ChaosTimes, 1);
  run->leases_end = g_new0 (ChaosTimes, 1);
  run->dir = g_dir_make_tmp ("chaos-XXXXXX", NULL);
  if (run->dir == NULL)
    return FALSE;
  chaos_scarcity_begin (run);
  run->socket_path = g_strdup_printf ("%s/" CHAOS_CHANNEL ".sock", run->dir);
  g_setenv ("CUFRAMES_DIR", run->dir, TRUE);
  /* The parent has brought it up to date. */
  g_setenv ("GST_REGISTRY_UPDATE", "no", TRUE);
  run->gpu_before_mib = config->cuda ? chaos_state_gpu_mib () : 0;
  if (run->gpu_before_mib == 0)
    run->gpu_before_mib = G_MAXUINT64;
  return TRUE;
}

static void
run_clear (ChaosRun * run)
{
  rmdir (run->dir);
  munmap (run->shared, sizeof *run->shared);
  close (run->shared_fd);
  g_free (run->leases_kill);
  g_free (run->leases_end);
  g_free (run->socket_path);
  g_free (run->dir);
}

static gboolean
start_publisher (ChaosRun * run)
{
  guint64 deadline_ns = chaos_now_ns () + START_NS;

  if (!chaos_process_start (run, TRUE, 0))
    return FALSE;
  while (atomic_load (&run->shared->publisher.made) < 3 && chaos_now_ns () < deadline_ns && !chaos_interrupted) {
    if (chaos_process_has_gone (&run->publisher, 5 * GST_MSECOND))
      return chaos_process_look (run);
  }
  /* What a publisher opens for its first visitor it keeps. */
  chaos_ask_knows (run, 0);
  chaos_ask_close ();
  poll (NULL, 0, SETTLE_MS);
  chaos_state_read (run->publisher.pid, &run->before);
  return TRUE;
}

static gboolean
start_all (ChaosRun * run)
{
  gboolean started = start_publisher (run);

  for (guint i = 0; i < run->count && started; i++)
    started = chaos_process_start (run, FALSE, i);
  return started && chaos_wait_frames (run, START_NS);
}

static gboolean
have_frames (const ChaosRun * run)
{
  const ChaosConfig *config = &run->shared->config;

  if (config->frames == 0)
    return FALSE;
  for (guint i = 0; i < config->subscribers; i++)
    if (chaos_kind_of (config, i) == CHAOS_KIND_FIFO && atomic_load (&run->shared->subscribers[i].received) < config->frames)
      return FALSE;
  return TRUE;
}

/* A quiet time first, so that what is open then can be the mark. */
static void
rage (ChaosRun * run)
{
  guint64 end_ns = run->begin_ns + run->shared->config.seconds * GST_SECOND;
  guint64 line_ns = run->begin_ns + GST_SECOND, mark_ns = run->begin_ns + MARK_AFTER_NS;

  while (!chaos_interrupted && chaos_now_ns () < end_ns && !have_frames (run)) {
    guint64 now_ns = chaos_now_ns ();

    if (mark_ns != 0 && now_ns >= mark_ns) {
      chaos_end_mark (run);
      mark_ns = 0;
    }
    if (!chaos_process_look (run))
      return;
    if (mark_ns == 0)
      chaos_deeds (run);
    chaos_deeds_wait (run, ROUND_MS);
    if (now_ns >= line_ns) {
      chaos_report_line (run);
      line_ns += GST_SECOND;
    }
  }
}

int
main (int argc, char **argv)
{
  const struct sigaction action = {.sa_handler = on_signal };
  static ChaosRun run;
  ChaosConfig config;
  int status = chaos_process_role (argc, argv);

  if (status >= 0)
    return status;
  gst_init (NULL, NULL);
  if (!parse (&argc, &argv, &config))
    return 2;
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  signal (SIGPIPE, SIG_IGN);
  prctl (PR_SET_CHILD_SUBREAPER, 1);
  if (!run_init (&run, &config)) {
    fprintf (stderr, "chaos: cannot begin: %s\n", strerror (errno));
    return 2;
  }
  printf ("seed %" G_GUINT64_FORMAT ": %u subscribers (%u slow) and %u to be killed, %ux%u at %u fps in %s memory%s%s\n", config.seed, config.subscribers,
      config.slow, config.victims, config.width, config.height, config.fps, config.cuda ? "GPU" : config.packets ? "packets in host" : "host", config.cuda ? ", gpu-sync=" : "",
      config.cuda ? config.gpu_sync : "");
  run.begin_ns = chaos_now_ns ();
  if (start_all (&run)) {
    run.begin_ns = chaos_now_ns ();
    rage (&run);
  } else if (!chaos_interrupted)
    chaos_fail (&run, "not everybody got a frame in the beginning");
  chaos_end (&run);
  chaos_report_end (&run);
  status = chaos_report_errors (&run) + run.failures > 0 || chaos_interrupted;
  run_clear (&run);
  return status;
}
