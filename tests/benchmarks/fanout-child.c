/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every child of the benchmark does: clocks, memory, the way to the parent. */
#include "fanout.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "stamp-cuda.h"

gsize
fanout_control_bytes (guint subscribers, guint64 frames)
{
  return sizeof (FanoutControl) + (2 * (gsize) subscribers + 1) * frames * sizeof (guint32);
}

guint32 *
fanout_samples_pad (FanoutControl * control, guint subscriber)
{
  return control->samples + 2 * (gsize) subscriber * control->config.frames;
}

guint32 *
fanout_samples_verified (FanoutControl * control, guint subscriber)
{
  return fanout_samples_pad (control, subscriber) + control->config.frames;
}

guint32 *
fanout_samples_push (FanoutControl * control)
{
  return fanout_samples_pad (control, control->config.subscribers);
}

/* The pages of the samples would look like growth if they were touched while frames are measured. */
void
fanout_child_touch_samples (guint32 * samples, guint64 count)
{
  memset (samples, 0, count * sizeof *samples);
}

void
fanout_child_tell (FanoutChild * child, FanoutEventKind kind, const gchar * text)
{
  FanoutEvent event = {.kind = kind };

  if (text != NULL)
    g_strlcpy (event.text, text, sizeof event.text);
  while (write (child->event_fd, &event, sizeof event) < 0 && errno == EINTR)
    continue;
}

static gchar *
error_of (GstMessage * message)
{
  GError *error = NULL;
  gchar *text;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS)
    return g_strdup_printf ("%s: the stream ended", GST_MESSAGE_SRC_NAME (message));
  if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ERROR)
    return NULL;
  gst_message_parse_error (message, &error, NULL);
  text = g_strdup_printf ("%s: %s", GST_MESSAGE_SRC_NAME (message), error->message);
  g_clear_error (&error);
  return text;
}

/* Waits until the parent closes its end, TRUE, or the pipeline ends, FALSE. */
gboolean
fanout_child_wait (FanoutChild * child, GstElement * pipeline, gchar ** ret_error)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GPollFD bus_fd;

  gst_bus_get_pollfd (bus, &bus_fd);
  *ret_error = NULL;
  while (*ret_error == NULL) {
    struct pollfd fds[] = { {.fd = child->command_fd,.events = POLLIN}, {.fd = bus_fd.fd,.events = POLLIN} };
    GstMessage *message;

    if (poll (fds, G_N_ELEMENTS (fds), -1) < 0)
      continue;
    if (fds[0].revents != 0)
      break;
    while (*ret_error == NULL && (message = gst_bus_pop (bus)) != NULL) {
      *ret_error = error_of (message);
      gst_message_unref (message);
    }
  }
  gst_object_unref (bus);
  return *ret_error == NULL;
}

guint64
fanout_now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

guint64
fanout_cpu_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

guint32
fanout_elapsed (guint64 from_ns, guint64 to_ns)
{
  return to_ns <= from_ns ? 0 : (guint32) MIN (to_ns - from_ns, G_MAXUINT32);
}

void
fanout_sleep_until (guint64 when_ns)
{
  struct timespec when = {.tv_sec = (time_t) (when_ns / GST_SECOND),.tv_nsec = (long) (when_ns % GST_SECOND) };

  while (clock_nanosleep (CLOCK_MONOTONIC, TIMER_ABSTIME, &when, NULL) == EINTR)
    continue;
}

/* Frames after the first one measured at which memory is looked at for the first time. */
guint64
fanout_mark (const FanoutConfig * config)
{
  return MIN (config->frames / 10, 1000);
}

static guint
count_entries (const gchar * folder)
{
  DIR *dir = opendir (folder);
  guint count = 0;

  if (dir == NULL)
    return 0;
  for (struct dirent * entry = readdir (dir); entry != NULL; entry = readdir (dir))
    count += entry->d_name[0] != '.';
  closedir (dir);
  return count - 1;             /* the folder itself is open */
}

void
fanout_memory_read (FanoutMemory * memory)
{
  gchar chunk[4096];
  unsigned long pages = 0;
  FILE *file = fopen ("/proc/self/statm", "re");

  *memory = (FanoutMemory) { 0 };
  if (file != NULL) {
    if (fscanf (file, "%*u %lu", &pages) == 1)
      memory->rss_kib = pages * (guint64) sysconf (_SC_PAGESIZE) / 1024;
    fclose (file);
  }
  memory->fds = count_entries ("/proc/self/fd");
  file = fopen ("/proc/self/maps", "re");
  if (file != NULL) {
    for (gsize got = fread (chunk, 1, sizeof chunk, file); got > 0; got = fread (chunk, 1, sizeof chunk, file))
      for (gsize i = 0; i < got; i++)
        memory->maps += chunk[i] == '\n';
    fclose (file);
  }
  memory->gpu_kib = stamp_cuda_memory_used_kib ();
}

/* The first of the names that the element's statistics have; -1 if it has none. */
gint64
fanout_stat (GstElement * element, const gchar * const *names)
{
  GstStructure *stats = NULL;
  gint64 found = -1;

  if (element == NULL || g_object_class_find_property (G_OBJECT_GET_CLASS (element), "stats") == NULL)
    return -1;
  g_object_get (element, "stats", &stats, NULL);
  for (guint i = 0; stats != NULL && names[i] != NULL && found < 0; i++) {
    const GValue *value = gst_structure_get_value (stats, names[i]);
    GValue number = G_VALUE_INIT;

    g_value_init (&number, G_TYPE_INT64);
    if (value != NULL && g_value_transform (value, &number))
      found = g_value_get_int64 (&number);
    g_value_unset (&number);
  }
  if (stats != NULL)
    gst_structure_free (stats);
  return found;
}
