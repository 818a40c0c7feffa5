/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of cuframespay and cuframesdepay share: either element, or both, with the socket element that it is made for, and the test's own
 * pad on the other side. */
#ifndef PAY_FIXTURE_H
#define PAY_FIXTURE_H

#include <fcntl.h>
#include <gio/gio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "element-fixture.h"

#define FOR_EVER "wait-timeout=18446744073709551615"

/* Close-on-exec both. */
static inline void
make_pair (int type, int ends[2])
{
  if (socketpair (AF_UNIX, type | SOCK_CLOEXEC, 0, ends) < 0)
    g_error ("socketpair: %s", g_strerror (errno));
}

/* The descriptor is consumed. */
static inline GSocket *
socket_of (int take_fd)
{
  GError *error = NULL;
  GSocket *connection = g_socket_new_from_fd (take_fd, &error);

  if (connection == NULL)
    g_error ("%s", error->message);
  return connection;
}

static inline void
add_receiver (GstElement * pipeline, int take_fd)
{
  GstElement *sender = gst_bin_get_by_name (GST_BIN (pipeline), "sender");
  GSocket *connection = socket_of (take_fd);

  g_signal_emit_by_name (sender, "add", connection);
  g_object_unref (connection);
  gst_object_unref (sender);
}

static inline GstElement *
payer_pipeline (const char *properties)
{
  return pipeline_new ("cuframespay name=cuframes %s ! multisocketsink name=sender sync=false async=false enable-last-sample=false", properties);
}

static inline gboolean
payer_open (Feeder * feeder, const char *properties, int take_fd)
{
  gboolean good;

  feeder_attach (feeder, payer_pipeline (properties));
  good = pipeline_play (feeder->pipeline);
  if (take_fd >= 0)
    add_receiver (feeder->pipeline, take_fd);
  return good;
}

static inline GstElement *
depayer_pipeline (const char *rest, int take_fd)
{
  GstElement *pipeline = pipeline_new ("socketsrc name=receiver ! cuframesdepay name=cuframes %s", rest);
  GstElement *receiver = gst_bin_get_by_name (GST_BIN (pipeline), "receiver");
  GSocket *connection = socket_of (take_fd);

  g_object_set (receiver, "socket", connection, NULL);
  g_object_unref (connection);
  gst_object_unref (receiver);
  return pipeline;
}

static inline gboolean
depayer_open (Catcher * catcher, const char *properties, int take_fd)
{
  catcher_attach (catcher, depayer_pipeline (properties, take_fd));
  return pipeline_play (catcher->pipeline);
}

/* A warning of the element, and how many more of them there are not. */
static inline gchar *
take_warning (GstElement * pipeline, guint64 timeout_ns)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (bus, timeout_ns, GST_MESSAGE_WARNING);
  GError *error = NULL;
  gchar *text = NULL;

  gst_object_unref (bus);
  if (message == NULL)
    return NULL;
  gst_message_parse_warning (message, &error, NULL);
  text = g_strdup (error->message);
  g_error_free (error);
  gst_message_unref (message);
  return text;
}

/* Both in this process. */
static inline void
open_both (const char *properties, Feeder * feeder, Catcher * catcher)
{
  int ends[2];

  make_pair (SOCK_STREAM, ends);
  CHECK (payer_open (feeder, properties, ends[0]));
  CHECK (depayer_open (catcher, "", ends[1]));
}

/* Whether it has posted neither an error nor a warning. */
static inline gboolean
is_quiet (GstElement * pipeline)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message = gst_bus_timed_pop_filtered (bus, 0, GST_MESSAGE_ERROR | GST_MESSAGE_WARNING);
  const gboolean quiet = message == NULL;
  gchar *text;

  gst_object_unref (bus);
  if (!quiet) {
    text = gst_structure_to_string (gst_message_get_structure (message));
    fprintf (stderr, "  bus: %s\n", text);
    g_free (text);
    gst_message_unref (message);
  }
  return quiet;
}

static inline void
close_both (Feeder * feeder, Catcher * catcher)
{
  CHECK (is_quiet (feeder->pipeline));
  CHECK (is_quiet (catcher->pipeline));
  feeder_close (feeder);
  catcher_close (catcher);
}

#endif
