/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all processes of the chaos program do: clock, random numbers, the way to the parent. */
#include "chaos.h"

#include <poll.h>
#include <time.h>

#define LOOK_MS 250

guint64
chaos_now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

guint64
chaos_mix (guint64 value)
{
  value += G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
  value = (value ^ (value >> 30)) * G_GUINT64_CONSTANT (0xbf58476d1ce4e5b9);
  value = (value ^ (value >> 27)) * G_GUINT64_CONSTANT (0x94d049bb133111eb);
  return value ^ (value >> 31);
}

guint64
chaos_random (guint64 * state, guint64 from, guint64 to)
{
  *state = chaos_mix (*state);
  return from + *state % (to - from + 1);
}

guint64
chaos_around (guint64 * state, guint64 mean)
{
  return chaos_random (state, mean / 2, mean + mean / 2);
}

void
chaos_times_add (ChaosTimes * times, guint64 ns)
{
  guint32 place = atomic_fetch_add (&times->count, 1);

  if (place < CHAOS_SAMPLES)
    times->us[place] = (guint32) MIN (ns / 1000, G_MAXUINT32);
}

/* The slow ones are the last of those that live all the time; every third of the others wants the newest frame only. */
ChaosKind
chaos_kind_of (const ChaosConfig * config, guint index)
{
  if (index < config->subscribers && index >= config->subscribers - config->slow)
    return (config->subscribers - index) % 2 == 1 ? CHAOS_KIND_SLOW : CHAOS_KIND_HOLD;
  if (index < config->subscribers)
    return index % 3 == 2 ? CHAOS_KIND_LATEST : CHAOS_KIND_FIFO;
  return (ChaosKind) ((index - config->subscribers) % CHAOS_KIND_COUNT);
}

static gchar *
error_of (GstMessage * message)
{
  GError *error = NULL;
  gchar *debug = NULL, *text;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS)
    return g_strdup_printf ("%s: the stream ended", GST_MESSAGE_SRC_NAME (message));
  if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ERROR)
    return NULL;
  gst_message_parse_error (message, &error, &debug);
  text = g_strdup_printf ("%s: %s (%s)", GST_MESSAGE_SRC_NAME (message), error->message, debug != NULL ? debug : "");
  g_clear_error (&error);
  g_free (debug);
  return text;
}

gboolean
chaos_child_wait (ChaosChild * child, GstElement * pipeline, void (*look) (gpointer data), gpointer data, gchar ** ret_error)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GPollFD bus_fd;

  gst_bus_get_pollfd (bus, &bus_fd);
  *ret_error = NULL;
  while (*ret_error == NULL) {
    struct pollfd fds[] = { {.fd = child->parent_fd,.events = POLLIN}, {.fd = bus_fd.fd,.events = POLLIN} };
    GstMessage *message;

    if (poll (fds, G_N_ELEMENTS (fds), LOOK_MS) < 0)
      continue;
    if (fds[0].revents != 0)
      break;
    while (*ret_error == NULL && (message = gst_bus_pop (bus)) != NULL) {
      *ret_error = error_of (message);
      gst_message_unref (message);
    }
    if (look != NULL)
      look (data);
  }
  gst_object_unref (bus);
  return *ret_error == NULL;
}
