/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element-fixture.h"

#include <stdlib.h>
#include <string.h>

static gint living_elements;

gboolean
element_lacks (const char *name)
{
  GstElementFactory *factory = gst_element_factory_find (name);

  if (factory == NULL)
    fixture_skip (name);
  else
    gst_object_unref (factory);
  return factory == NULL;
}

/* A warning of GLib or GStreamer is a failure: somebody broke a rule. */
static void
on_log (const gchar * domain, GLogLevelFlags level, const gchar * message, gpointer user_data)
{
  fprintf (stderr, "  %s: %s\n", domain == NULL ? "?" : domain, message);
  if (level & (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL | G_LOG_LEVEL_ERROR))
    fixture_fail (__FILE__, __LINE__, domain == NULL ? "?" : domain, "nobody breaks a rule of GLib's or GStreamer's");
}

/* What GStreamer opens once and keeps. */
static void
warm_up (void)
{
  GstElement *pipeline = gst_parse_launch ("videotestsrc num-buffers=1 ! fakesink sync=true", NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstClock *clock = gst_system_clock_obtain ();
  GstClockID id = gst_clock_new_single_shot_id (clock, gst_clock_get_time (clock) + 1);

  g_log_set_default_handler (on_log, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  gst_message_unref (gst_bus_timed_pop_filtered (bus, FIXTURE_BOUND_NS, GST_MESSAGE_EOS | GST_MESSAGE_ERROR));
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_clock_id_wait (id, NULL);
  gst_clock_id_unref (id);
  gst_object_unref (clock);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}

static void
end (void)
{
  CHECK_EQUAL (g_atomic_int_get (&living_elements), 0);
  g_atomic_int_set (&living_elements, 0);
}

const FixturePart element_part = {
  .start = gst_init,
  .warm_up = warm_up,
  .end = end,
  .roles = element_roles,
  .role_count = &element_role_count,
  .mappings = "memfd:cuframes",
  .settles = true,
};

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
    fixture_fail (__FILE__, __LINE__, __func__, error->message);
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
  GstMessage *message = take_message (pipeline, GST_MESSAGE_ERROR, FIXTURE_BOUND_NS);

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
  GstMessage *message = take_message (pipeline, GST_MESSAGE_EOS | GST_MESSAGE_ERROR, FIXTURE_BOUND_NS);
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
    fixture_fail (__FILE__, __LINE__, __func__, what);
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
