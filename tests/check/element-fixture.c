/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "element-fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_BOUND_S 240
#define ARGUMENTS_MAX 32

static char program[512], directory[64];
static gint failures, living_elements;
static const char *skip_reason;
static GPtrArray *paths;

void
element_fail (const char *file, int line, const char *function, const char *what)
{
  const char *name = strrchr (file, '/');

  g_atomic_int_inc (&failures);
  fprintf (stderr, "  %s:%d: %s: not so: %s\n", name == NULL ? file : name + 1, line, function, what);
}

void
element_skip (const char *why)
{
  skip_reason = why;
}

gboolean
element_is_slow (void)
{
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
  return TRUE;
#else
  const char *preload = getenv ("LD_PRELOAD");
  return getenv ("CUFRAMES_TEST_SLOW") != NULL || (preload != NULL && strstr (preload, "vgpreload") != NULL);
#endif
}

gboolean
element_lacks (const char *name)
{
  GstElementFactory *factory = gst_element_factory_find (name);

  if (factory == NULL)
    element_skip (name);
  else
    gst_object_unref (factory);
  return factory == NULL;
}

guint64
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

/* Lets others run; on a machine with idle cores it does not burn one. */
void
element_yield (void)
{
  const struct timespec moment = {.tv_nsec = 200000 };

  ppoll (NULL, 0, &moment, NULL);
}

guint
count_fds (void)
{
  DIR *entries = opendir ("/proc/self/fd");
  guint count = 0;

  while (readdir (entries) != NULL)
    count++;
  closedir (entries);
  return count - 3;
}

guint
count_mappings (void)
{
  FILE *maps = fopen ("/proc/self/maps", "re");
  guint count = 0;
  char line[1024];

  while (maps != NULL && fgets (line, sizeof line, maps) != NULL)
    count += strstr (line, "memfd:cuframes") != NULL;
  if (maps != NULL)
    fclose (maps);
  return count;
}

const gchar *
test_directory (void)
{
  return directory;
}

const gchar *
test_path (const gchar * name)
{
  g_ptr_array_add (paths, g_build_filename (directory, name, NULL));
  return g_ptr_array_index (paths, paths->len - 1);
}

static void
remove_tree (const char *path)
{
  DIR *entries = opendir (path);
  struct dirent *entry;

  while (entries != NULL && (entry = readdir (entries)) != NULL) {
    char *name;
    if (strcmp (entry->d_name, ".") == 0 || strcmp (entry->d_name, "..") == 0)
      continue;
    name = g_build_filename (path, entry->d_name, NULL);
    if (unlink (name) != 0)
      remove_tree (name);
    g_free (name);
  }
  if (entries != NULL)
    closedir (entries);
  rmdir (path);
}

/* A warning of GLib or GStreamer is a failure: somebody broke a rule. */
static void
on_log (const gchar * domain, GLogLevelFlags level, const gchar * message, gpointer user_data)
{
  fprintf (stderr, "  %s: %s\n", domain == NULL ? "?" : domain, message);
  if (level & (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR))
    g_atomic_int_inc (&failures);
}

static gboolean
run_test (const ElementTest * test)
{
  const guint64 start = now_ns ();
  guint fds, mappings;

  failures = 0;
  skip_reason = NULL;
  strcpy (directory, "/tmp/cuframes-test-XXXXXX");
  if (mkdtemp (directory) == NULL) {
    perror ("mkdtemp");
    exit (1);
  }
  setenv ("CUFRAMES_DIR", directory, 1);
  fds = count_fds ();
  mappings = count_mappings ();
  test->run ();
  CHECK (WAIT_UNTIL (count_fds () <= fds));
  CHECK_EQUAL (count_mappings (), mappings);
  CHECK_EQUAL (g_atomic_int_get (&living_elements), 0);
  g_atomic_int_set (&living_elements, 0);
  remove_tree (directory);
  g_ptr_array_set_size (paths, 0);
  printf ("%s %s (%u ms)%s%s\n", failures > 0 ? "FAIL" : skip_reason != NULL ? "skip" : "ok  ", test->sentence,
      (guint) ((now_ns () - start) / GST_MSECOND), skip_reason != NULL ? ": " : "", skip_reason != NULL ? skip_reason : "");
  return failures == 0;
}

static int
play (const char *name, int argc, char **argv, const ElementRole * roles, size_t role_count)
{
  for (size_t i = 0; i < role_count; i++)
    if (strcmp (roles[i].name, name) == 0)
      return roles[i].play (argc, argv);
  return -1;
}

/* What GStreamer opens once and keeps. */
static void
warm_up (void)
{
  GstElement *pipeline = gst_parse_launch ("videotestsrc num-buffers=1 ! fakesink sync=true", NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstClock *clock = gst_system_clock_obtain ();
  GstClockID id = gst_clock_new_single_shot_id (clock, gst_clock_get_time (clock) + 1);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_message_unref (gst_bus_timed_pop_filtered (bus, BOUND_NS, GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_clock_id_wait (id, NULL);
  gst_clock_id_unref (id);
  gst_object_unref (clock);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}

int
element_main (int argc, char **argv, const ElementTest * tests, size_t test_count, const ElementRole * roles, size_t role_count)
{
  const char *only = argc > 2 && strcmp (argv[1], "--only") == 0 ? argv[2] : "";
  guint passed = 0, failed = 0;
  int status;

  setvbuf (stdout, NULL, _IOLBF, 0);
  signal (SIGPIPE, SIG_DFL);
  alarm (PROGRAM_BOUND_S);
  if (readlink ("/proc/self/exe", program, sizeof program - 1) <= 0)
    return 1;
  gst_init (NULL, NULL);
  if (argc > 2 && strcmp (argv[1], "--role") == 0) {
    status = play (argv[2], argc - 3, argv + 3, roles, role_count);
    return status >= 0 ? status : play (argv[2], argc - 3, argv + 3, element_roles, element_role_count);
  }
  paths = g_ptr_array_new_with_free_func (g_free);
  g_log_set_default_handler (on_log, NULL);
  warm_up ();
  for (size_t i = 0; i < test_count; i++)
    if (strstr (tests[i].sentence, only) != NULL) {
      if (run_test (&tests[i]))
        passed++;
      else
        failed++;
    }
  g_ptr_array_unref (paths);
  printf ("%u passed, %u failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

static void
on_element_gone (gpointer data, GObject * element)
{
  g_atomic_int_add (&living_elements, -1);
}

void
element_track (GstElement * element)
{
  g_atomic_int_inc (&living_elements);
  g_object_weak_ref (G_OBJECT (element), on_element_gone, NULL);
}

static void
track_all (GstElement * pipeline)
{
  GstIterator *elements = gst_bin_iterate_recurse (GST_BIN (pipeline));
  GValue value = G_VALUE_INIT;

  element_track (pipeline);
  while (gst_iterator_next (elements, &value) == GST_ITERATOR_OK) {
    element_track (g_value_get_object (&value));
    g_value_reset (&value);
  }
  g_value_unset (&value);
  gst_iterator_free (elements);
}

GstElement *
pipeline_new (const char *format, ...)
{
  GError *error = NULL;
  GstElement *pipeline;
  gchar *description;
  va_list list;

  va_start (list, format);
  description = g_strdup_vprintf (format, list);
  va_end (list);
  pipeline = gst_parse_launch_full (description, NULL, GST_PARSE_FLAG_FATAL_ERRORS | GST_PARSE_FLAG_PLACE_IN_BIN, &error);
  if (pipeline == NULL) {
    element_fail (__FILE__, __LINE__, __func__, error->message);
    g_error ("cannot make \"%s\"", description);
  }
  /* A single element, or one that lies in a bin of another kind, becomes a pipeline. */
  if (!GST_IS_PIPELINE (pipeline)) {
    GstElement *inner = pipeline;
    pipeline = gst_pipeline_new (NULL);
    gst_bin_add (GST_BIN (pipeline), inner);
  }
  g_free (description);
  track_all (pipeline);
  return pipeline;
}

gboolean
pipeline_play (GstElement * pipeline)
{
  return gst_element_set_state (pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE;
}

void
pipeline_stop (GstElement * pipeline)
{
  CHECK (gst_element_set_state (pipeline, GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS);
  gst_object_unref (pipeline);
}

static GstMessage *
take_message (GstElement * pipeline, GstMessageType types, guint64 timeout_ns)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (bus, timeout_ns, types);

  gst_object_unref (bus);
  return message;
}

static gchar *
read_error (GstMessage * message)
{
  GError *error = NULL;
  gchar *text, *debug = NULL;

  gst_message_parse_error (message, &error, &debug);
  text = g_strdup (error->message);
  if (getenv ("CUFRAMES_TEST_VERBOSE") != NULL)
    fprintf (stderr, "  error: %s (%s)\n", text, debug);
  g_error_free (error);
  g_free (debug);
  gst_message_unref (message);
  return text;
}

gchar *
pipeline_take_error (GstElement * pipeline)
{
  GstMessage *message = take_message (pipeline, GST_MESSAGE_ERROR, BOUND_NS);

  return message == NULL ? NULL : read_error (message);
}

gboolean
pipeline_is_well (GstElement * pipeline)
{
  GstMessage *message = take_message (pipeline, GST_MESSAGE_ERROR, 0);

  if (message == NULL)
    return TRUE;
  gchar *text = read_error (message);
  fprintf (stderr, "  bus: %s\n", text);
  g_free (text);
  return FALSE;
}

gboolean
pipeline_reaches_eos (GstElement * pipeline)
{
  GstMessage *message = take_message (pipeline, GST_MESSAGE_EOS | GST_MESSAGE_ERROR, BOUND_NS);
  gboolean good = message != NULL && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;

  if (message != NULL && !good) {
    gchar *text = read_error (message);
    fprintf (stderr, "  bus: %s\n", text);
    g_free (text);
  } else
    g_clear_pointer (&message, gst_message_unref);
  return good;
}

/* The pipeline is stopped but not freed, so that what is left on the bus can be seen. */
void
pipeline_stop_at_error (GstElement * pipeline, const char *part)
{
  gchar *text = pipeline_take_error (pipeline);

  CHECK (text != NULL);
  if (text != NULL && strstr (text, part) == NULL) {
    gchar *what = g_strdup_printf ("the error \"%s\" says \"%s\"", text, part);
    element_fail (__FILE__, __LINE__, __func__, what);
    g_free (what);
  }
  g_free (text);
  gst_element_set_state (pipeline, GST_STATE_READY);
  CHECK (pipeline_is_well (pipeline));
  gst_element_set_state (pipeline, GST_STATE_NULL);
}

static gint64
number_of (const GValue * value)
{
  if (value == NULL)
    return -1;
  if (G_VALUE_HOLDS_UINT64 (value))
    return (gint64) g_value_get_uint64 (value);
  if (G_VALUE_HOLDS_UINT (value))
    return g_value_get_uint (value);
  return G_VALUE_HOLDS_BOOLEAN (value) ? g_value_get_boolean (value) : -1;
}

gint64
stat_of (GstElement * element, const char *field)
{
  GstStructure *stats = NULL;
  const GValue *list;
  gint64 number = -1;

  g_object_get (element, "stats", &stats, NULL);
  if (!g_str_has_prefix (field, "subscriber/"))
    number = number_of (gst_structure_get_value (stats, field));
  else {
    list = gst_structure_get_value (stats, "subscribers");
    if (list != NULL && gst_value_array_get_size (list) == 1)
      number = number_of (gst_structure_get_value (gst_value_get_structure (gst_value_array_get_value (list, 0)), field + 11));
  }
  gst_structure_free (stats);
  return number;
}

gint64
pipeline_stat (GstElement * pipeline, const char *field)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), "cuframes");
  gint64 number = stat_of (element, field);

  gst_object_unref (element);
  return number;
}

void
child_start (Child * child, const char *environment, const char *role, ...)
{
  char *arguments[ARGUMENTS_MAX] = { program, (char *) "--role", (char *) role };
  int in[2], out[2], count = 3;
  va_list list;

  va_start (list, role);
  while (count < ARGUMENTS_MAX - 1 && (arguments[count] = va_arg (list, char *)) != NULL)
      count++;
  va_end (list);
  if (pipe2 (in, O_CLOEXEC) < 0 || pipe2 (out, O_CLOEXEC) < 0)
    abort ();
  *child = (Child) {.in = in[1],.out = out[0] };
  child->pid = fork ();
  if (child->pid < 0)
    abort ();
  if (child->pid == 0) {
    dup2 (in[0], 0);
    dup2 (out[1], 1);
    if (environment != NULL)
      putenv ((char *) environment);
    execv (program, arguments);
    _exit (127);
  }
  close (in[0]);
  close (out[1]);
}

/* One line without its end. FALSE at the end of the child's output or of the time. */
gboolean
child_read (Child * child, char *line, size_t line_bytes)
{
  for (;;) {
    char *end = memchr (child->buffer, '\n', child->used);
    struct pollfd readable = {.fd = child->out,.events = POLLIN };
    ssize_t got;
    if (end != NULL) {
      size_t length = (size_t) (end - child->buffer);
      snprintf (line, line_bytes, "%.*s", (int) length, child->buffer);
      child->used -= length + 1;
      memmove (child->buffer, end + 1, child->used);
      return TRUE;
    }
    if (poll (&readable, 1, (int) (BOUND_NS / GST_MSECOND)) <= 0)
      return FALSE;
    got = read (child->out, child->buffer + child->used, sizeof child->buffer - child->used);
    if (got <= 0)
      return FALSE;
    child->used += (size_t) got;
  }
}

gboolean
child_expect (Child * child, const char *start)
{
  char line[1024];

  while (child_read (child, line, sizeof line))
    if (g_str_has_prefix (line, start))
      return TRUE;
  return FALSE;
}

void
child_say (Child * child, const char *format, ...)
{
  char line[2048];
  va_list list;
  int length;

  va_start (list, format);
  length = vsnprintf (line, sizeof line - 1, format, list);
  va_end (list);
  line[length++] = '\n';
  signal (SIGPIPE, SIG_IGN);
  if (write (child->in, line, (size_t) length) < 0)
    fprintf (stderr, "  cannot tell process %d: %s", (int) child->pid, line);
  signal (SIGPIPE, SIG_DFL);
}

int
child_wait (Child * child)
{
  int status = -1;

  if (child->pid <= 0)
    return -1;
  if (!WAIT_UNTIL (waitpid (child->pid, &status, WNOHANG) == child->pid)) {
    kill (child->pid, SIGKILL);
    waitpid (child->pid, NULL, 0);
    status = -1;
  }
  if (child->in >= 0)
    close (child->in);
  close (child->out);
  *child = (Child) {.in = -1,.out = -1 };
  return status;
}

int
child_end (Child * child)
{
  if (child->in >= 0)
    close (child->in);
  child->in = -1;
  return child_wait (child);
}

void
child_kill (Child * child)
{
  kill (child->pid, SIGKILL);
  child_wait (child);
}
