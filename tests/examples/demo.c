/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The main job on real input: one process decodes and publishes, three use the frames. Starts them, shows how it goes, and ends
 * with a table. scripts/demo builds everything and runs this. */
#include "demo.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FIRST_FRAME_NS (30 * GST_SECOND)
#define LEAVE_NS (15 * GST_SECOND)
#define TICK_MS 200
/* Without a terminal a progress line is a line of its own, and one of these suffices for so many ticks. */
#define TICKS_PER_LINE 25

typedef struct
{
  const gchar *name;
  pid_t pid;
  int command_fd;               /* close it and the process ends; -1: not running */
  gboolean ended;
  int status;
} Process;

static const gchar *const titles[DEMO_NODES] = {
  "publisher", "consumer: checks and counts", "consumer: contact sheet", "consumer: slow"
};

static volatile sig_atomic_t interrupted;
static gint seconds = 15;
static gchar *sheet, *camera;
static gchar **inputs;

static const GOptionEntry entries[] = {
  {"seconds", 's', 0, G_OPTION_ARG_INT, &seconds, "Length of the demonstration (15)", "N"},
  {"sheet", 0, 0, G_OPTION_ARG_FILENAME, &sheet, "Where to write frames side by side (contact-sheet.png)", "FILE"},
  {"camera", 0, G_OPTION_FLAG_HIDDEN, G_OPTION_ARG_FILENAME, &camera, "The program that serves a camera", "PROGRAM"},
  {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &inputs, NULL, NULL},
  {NULL}
};

static void
on_signal (int number)
{
  interrupted = number;
}

static gboolean
has_element (const gchar * name)
{
  GstElementFactory *factory = gst_element_factory_find (name);

  if (factory == NULL)
    return FALSE;
  gst_object_unref (factory);
  return TRUE;
}

/* nvcodec's elements are there only where its GPU is. avdec_h264 keeps the frames that it refers to mapped, so that GStreamer copies
 * them on their way out; without direct rendering it writes each one into the ring instead. */
static const gchar *
h264_decoder (void)
{
  return has_element ("nvh264dec") ? "nvh264dec" : "avdec_h264 direct-rendering=false";
}

static gchar *
source_line (const gchar * input, gboolean own_camera)
{
  if (own_camera)
    return g_strdup_printf ("rtspsrc location=%s protocols=tcp latency=0 ! rtph264depay ! h264parse ! %s", input, h264_decoder ());
  if (g_str_has_prefix (input, "rtsp://") || g_str_has_prefix (input, "rtsps://"))
    return g_strdup_printf ("rtspsrc location=\"%s\" latency=100 ! application/x-rtp,media=video ! decodebin", input);
  if (g_str_has_prefix (input, "/dev/video"))
    return g_strdup_printf ("v4l2src device=%s ! decodebin", input);
  return g_strdup_printf ("filesrc location=\"%s\" ! decodebin ! clocksync", input);
}

/* The consumers keep the publisher's time stamps: that is how this program finds the same frame on both sides. */
static void
write_lines (DemoShared * shared, const gchar * input, gboolean own_camera)
{
  gchar *source = source_line (input, own_camera);
  gboolean cuda = own_camera && g_str_equal (h264_decoder (), "nvh264dec");

  g_snprintf (shared->line[DEMO_PUBLISHER], sizeof shared->line[0], "%s ! cuframessink name=channel channel=demo sync=false", source);
  g_snprintf (shared->line[DEMO_CHECKER], sizeof shared->line[0],
      "cuframessrc name=channel channel=demo timestamps=original ! fakesink sync=false");
  g_snprintf (shared->line[DEMO_SHEET], sizeof shared->line[0], "cuframessrc name=channel channel=demo timestamps=original delivery=latest"
      " ! %svideoconvert ! videoscale ! video/x-raw,format=RGB,width=480,pixel-aspect-ratio=1/1 ! fakesink name=sheet sync=false",
      cuda ? "cudadownload ! " : "");
  g_snprintf (shared->line[DEMO_SLOW], sizeof shared->line[0],
      "cuframessrc name=channel channel=demo timestamps=original ! identity sleep-time=200000 ! fakesink sync=false");
  g_free (source);
}

static void
print_lines (const DemoShared * shared)
{
  const gchar *plugins = g_getenv ("GST_PLUGIN_PATH");

  g_print ("\nEach of these lines runs in a process of its own; they work in terminals of yours too, after\n\n  export CUFRAMES_DIR=%s",
      g_getenv ("CUFRAMES_DIR"));
  if (plugins != NULL)
    g_print (" GST_PLUGIN_PATH=%s", plugins);
  g_print ("\n\n");
  for (guint i = 0; i < DEMO_NODES; i++)
    g_print ("  # %s\n  gst-launch-1.0 %s\n", titles[i], shared->line[i]);
  g_print ("\n");
}

/* A child ends when the parent closes its pipe, or dies. Ctrl-C on a terminal is the parent's to handle. */
static void
become_child (void)
{
  signal (SIGINT, SIG_IGN);
  prctl (PR_SET_PDEATHSIG, SIGKILL);
}

static gboolean
spawn_node (Process * process, DemoRole role, int shared_fd)
{
  gchar texts[3][16];
  int commands[2];

  if (pipe2 (commands, O_CLOEXEC) != 0)
    return FALSE;
  process->name = titles[role];
  process->pid = fork ();
  if (process->pid == 0) {
    become_child ();
    fcntl (commands[0], F_SETFD, 0);
    fcntl (shared_fd, F_SETFD, 0);
    g_snprintf (texts[0], sizeof texts[0], "%d", (int) role);
    g_snprintf (texts[1], sizeof texts[1], "%d", shared_fd);
    g_snprintf (texts[2], sizeof texts[2], "%d", commands[0]);
    execl ("/proc/self/exe", "demo", "--node", texts[0], texts[1], texts[2], NULL);
    _exit (127);
  }
  close (commands[0]);
  process->command_fd = commands[1];
  return process->pid > 0;
}

/* Reads one line from the camera, its address. */
static gchar *
read_address (int fd)
{
  gchar line[256];
  gsize length = 0;
  guint64 deadline_ns = demo_now_ns () + FIRST_FRAME_NS;

  while (length + 1 < sizeof line && demo_now_ns () < deadline_ns && !interrupted) {
    struct pollfd pollfd = {.fd = fd,.events = POLLIN };

    if (poll (&pollfd, 1, TICK_MS) <= 0)
      continue;
    if (read (fd, line + length, 1) != 1)
      return NULL;
    if (line[length] == '\n') {
      line[length] = '\0';
      return g_strdup (line);
    }
    length++;
  }
  return NULL;
}

static gchar *
start_camera (Process * process)
{
  int input[2], output[2];
  gchar *address;

  if (camera == NULL || pipe2 (input, O_CLOEXEC) != 0 || pipe2 (output, O_CLOEXEC) != 0)
    return NULL;
  process->name = "camera";
  process->pid = fork ();
  if (process->pid == 0) {
    become_child ();
    dup2 (input[0], STDIN_FILENO);
    dup2 (output[1], STDOUT_FILENO);
    execl (camera, camera, NULL);
    _exit (127);
  }
  close (input[0]);
  close (output[1]);
  process->command_fd = input[1];
  address = read_address (output[0]);
  close (output[0]);
  return address;
}

static gboolean
has_ended (Process * process)
{
  if (!process->ended && process->pid > 0 && waitpid (process->pid, &process->status, WNOHANG) == process->pid)
    process->ended = TRUE;
  return process->ended || process->pid <= 0;
}

static void
ask_to_end (Process * process)
{
  if (process->command_fd >= 0)
    close (process->command_fd);
  process->command_fd = -1;
}

/* The consumers first, so that they do not see the publisher go. */
static void
end_all (Process * processes, guint count)
{
  guint64 deadline_ns;

  for (guint i = count; i > 0; i--) {
    Process *process = &processes[i - 1];

    ask_to_end (process);
    deadline_ns = demo_now_ns () + LEAVE_NS;
    while (!has_ended (process) && demo_now_ns () < deadline_ns)
      poll (NULL, 0, 10);
    if (has_ended (process))
      continue;
    kill (process->pid, SIGKILL);
    waitpid (process->pid, &process->status, 0);
    process->ended = TRUE;
  }
}

static guint64
frames_of (DemoShared * shared, DemoRole role)
{
  return atomic_load (&shared->nodes[role].frames);
}

static void
show_progress (DemoShared * shared, guint tick, guint64 since_ns)
{
  gboolean terminal = isatty (STDOUT_FILENO);

  if (!terminal && tick % TICKS_PER_LINE != 0)
    return;
  g_print ("%s%5.1f s  published %" G_GUINT64_FORMAT "  checked %" G_GUINT64_FORMAT "  sheet %" G_GUINT64_FORMAT "  slow %"
      G_GUINT64_FORMAT "  bad %" G_GUINT64_FORMAT "%s", terminal ? "\r" : "", since_ns == 0 ? 0.0 : (gdouble) (demo_now_ns () - since_ns) / 1e9,
      frames_of (shared, DEMO_PUBLISHER), frames_of (shared, DEMO_CHECKER), frames_of (shared, DEMO_SHEET),
      frames_of (shared, DEMO_SLOW), atomic_load (&shared->nodes[DEMO_CHECKER].bad), terminal ? "  " : "\n");
}

/* Until the time is over, counted from the first frame, or a process ends. */
static void
watch (DemoShared * shared, Process * processes, guint count)
{
  guint64 start_ns = demo_now_ns (), since_ns = 0;
  gboolean ended = FALSE;

  for (guint tick = 0; !interrupted && !ended; tick++) {
    guint64 now_ns = demo_now_ns ();

    if (since_ns == 0 && frames_of (shared, DEMO_CHECKER) != 0)
      since_ns = now_ns;
    if (since_ns == 0 ? now_ns - start_ns > FIRST_FRAME_NS : now_ns - since_ns > shared->seconds * GST_SECOND)
      break;
    show_progress (shared, tick, since_ns);
    poll (NULL, 0, TICK_MS);
    for (guint i = 0; i < count; i++)
      ended |= has_ended (&processes[i]);
  }
  show_progress (shared, 0, since_ns);
  g_print ("\n");
}

static int
compare_samples (const void *a, const void *b)
{
  guint32 x = *(const guint32 *) a, y = *(const guint32 *) b;

  return x < y ? -1 : x > y;
}

static void
print_count (gint64 value)
{
  if (value < 0)
    g_print (" | %8s", "-");
  else
    g_print (" | %8" G_GINT64_FORMAT, value);
}

static void
print_row (DemoShared * shared, DemoRole role)
{
  DemoNode *node = &shared->nodes[role];
  guint64 frames = atomic_load (&node->frames), samples = MIN (atomic_load (&node->latencies), DEMO_SAMPLES);

  g_print ("%-28s | %8" G_GUINT64_FORMAT, titles[role], frames);
  print_count (atomic_load (&node->lost));
  if (samples != 0) {
    qsort (node->latency_ns, samples, sizeof node->latency_ns[0], compare_samples);
    g_print (" | %8.0f us | %8.0f us", node->latency_ns[samples / 2] / 1000.0, node->latency_ns[samples * 99 / 100] / 1000.0);
  } else {
    g_print (" | %11s | %11s", "-", "-");
  }
  if (frames != 0)
    g_print (" | %11.0f us", (gdouble) atomic_load (&node->cpu_ns) / (gdouble) frames / 1000.0);
  else
    g_print (" | %14s", "-");
  print_count (atomic_load (&node->copies));
  g_print ("\n");
}

static void
print_table (DemoShared * shared)
{
  g_print ("\n%-28s | %8s | %8s | %11s | %11s | %14s | %8s\n", "", "frames", "drops", "latency p50", "latency p99", "CPU per frame", "copies");
  g_print ("-----------------------------|----------|----------|-------------|-------------|----------------|---------\n");
  for (guint i = 0; i < DEMO_NODES; i++)
    print_row (shared, i);
  g_print ("\nLatency is from the moment when the publisher hands the frame to cuframessink until it comes out of the consumer's cuframessrc.\n"
      "CPU per frame is all that the process does: the publisher's decoding, the contact sheet's scaling.\n"
      "The slow consumer takes 0.2 s for each frame; what it misses is its own loss alone.\n");
}

/* What went wrong, to standard error; TRUE if nothing did. */
static gboolean
judge (DemoShared * shared, Process * processes, guint count)
{
  gboolean good = TRUE;

  for (guint i = 0; i < DEMO_NODES; i++) {
    if (atomic_load (&shared->nodes[i].failed)) {
      g_printerr ("%s: %s\n", titles[i], shared->nodes[i].failure);
      good = FALSE;
    } else if (frames_of (shared, i) == 0) {
      g_printerr ("%s: saw no frame\n", titles[i]);
      good = FALSE;
    }
  }
  for (guint i = 0; i < count; i++)
    if (processes[i].pid > 0 && WIFSIGNALED (processes[i].status)) {
      g_printerr ("%s: ended by signal %d\n", processes[i].name, WTERMSIG (processes[i].status));
      good = FALSE;
    }
  if (atomic_load (&shared->nodes[DEMO_CHECKER].bad) != 0) {
    g_printerr ("%" G_GUINT64_FORMAT " frames were not what was published\n", atomic_load (&shared->nodes[DEMO_CHECKER].bad));
    good = FALSE;
  }
  return good;
}

static gboolean
run (DemoShared * shared, int shared_fd)
{
  Process processes[DEMO_NODES + 1] = { {.command_fd = -1} };
  guint count = 0;
  gboolean own_camera = inputs == NULL, good;
  gchar *input = own_camera ? start_camera (&processes[count++]) : g_strdup (inputs[0]);

  if (input == NULL) {
    g_printerr ("The camera did not start.\n");
    end_all (processes, count);
    return FALSE;
  }
  write_lines (shared, input, own_camera);
  print_lines (shared);
  for (guint i = 0; i < DEMO_NODES; i++)
    if (!spawn_node (&processes[count++], i, shared_fd))
      g_printerr ("%s: %s\n", titles[i], g_strerror (errno));
  watch (shared, processes, count);
  end_all (processes, count);
  print_table (shared);
  good = judge (shared, processes, count);
  if (atomic_load (&shared->sheet_frames) != 0)
    g_print ("%s: %u frames of the stream\n", shared->sheet, atomic_load (&shared->sheet_frames));
  g_free (input);
  return good;
}

static DemoShared *
map_shared (int fd)
{
  DemoShared *shared = mmap (NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

  return shared == MAP_FAILED ? NULL : shared;
}

/* demo --node ROLE SHARED-FD COMMAND-FD */
static int
run_node (char **argv)
{
  DemoShared *shared = map_shared (atoi (argv[3]));

  gst_init (NULL, NULL);
  return shared == NULL ? 1 : demo_node_main (shared, (DemoRole) atoi (argv[2]), atoi (argv[4]));
}

static gboolean
parse (int argc, char **argv)
{
  GOptionContext *context = g_option_context_new ("[FILE | rtsp://ADDRESS | /dev/videoN]");
  GError *error = NULL;
  gboolean good;

  g_option_context_set_summary (context, "Decodes a stream once, publishes it on the channel \"demo\" and uses it in three processes. Without\n"
      "an input it serves a camera of its own.");
  g_option_context_set_description (context, "Exit status: 0, 1 if a pipeline failed, a consumer saw no frame or a frame was not what was\n"
      "published, 2 for wrong options.\n");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  good = g_option_context_parse (context, &argc, &argv, &error);
  if (!good)
    g_printerr ("%s\n", error->message);
  else if (seconds < 1 || seconds > 86400 || (inputs != NULL && inputs[1] != NULL)) {
    g_printerr ("one input at most, and 1 to 86400 seconds\n");
    good = FALSE;
  } else if (!has_element ("cuframessink")) {
    g_printerr ("GStreamer does not find cuframessink: set GST_PLUGIN_PATH to the folder of libgstcuframes.so\n");
    good = FALSE;
  }
  g_clear_error (&error);
  g_option_context_free (context);
  return good;
}

/* The publisher removes its socket when it ends by itself; whatever is left goes with the folder. */
static void
remove_folder (const gchar * folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);

  for (const gchar * name = dir != NULL ? g_dir_read_name (dir) : NULL; name != NULL; name = g_dir_read_name (dir)) {
    gchar *path = g_build_filename (folder, name, NULL);

    g_unlink (path);
    g_free (path);
  }
  if (dir != NULL)
    g_dir_close (dir);
  g_rmdir (folder);
}

int
main (int argc, char **argv)
{
  struct sigaction action = {.sa_handler = on_signal };
  gchar *folder = NULL;
  DemoShared *shared;
  gboolean good;
  int fd;

  if (argc == 5 && g_str_equal (argv[1], "--node"))
    return run_node (argv);
  if (!parse (argc, argv))
    return 2;
  fd = memfd_create ("demo", MFD_CLOEXEC);
  shared = fd >= 0 && ftruncate (fd, sizeof *shared) == 0 ? map_shared (fd) : NULL;
  if (shared == NULL) {
    g_printerr ("no memory: %s\n", g_strerror (errno));
    return 1;
  }
  shared->seconds = (guint) seconds;
  g_strlcpy (shared->sheet, sheet != NULL ? sheet : "contact-sheet.png", sizeof shared->sheet);
  if (g_getenv ("CUFRAMES_DIR") == NULL && (folder = g_dir_make_tmp ("cuframes-demo-XXXXXX", NULL)) != NULL)
    g_setenv ("CUFRAMES_DIR", folder, TRUE);
  sigaction (SIGINT, &action, NULL);
  sigaction (SIGTERM, &action, NULL);
  good = run (shared, fd);
  if (folder != NULL)
    remove_folder (folder);
  g_free (folder);
  return good ? 0 : 1;
}
