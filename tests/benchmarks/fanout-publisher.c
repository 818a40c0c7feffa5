/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher's process: the stamping source, or a pipeline of the user's whose frames are numbered as they arrive, into
 * the sink that is measured. */
#include "fanout.h"

static GstElement *
find_sink (GstBin * bin)
{
  GstIterator *sinks = gst_bin_iterate_sinks (bin);
  GValue value = G_VALUE_INIT;
  GstElement *sink = NULL;

  if (gst_iterator_next (sinks, &value) == GST_ITERATOR_OK)
    sink = g_value_dup_object (&value);
  g_value_unset (&value);
  gst_iterator_free (sinks);
  return sink;
}

/* One that is a bin itself, a chain in the description, is looked into. */
static GstElement *
find_inner_sink (GstElement * element)
{
  GstElement *inner;

  if (!GST_IS_BIN (element))
    return gst_object_ref (element);
  inner = find_sink (GST_BIN (element));
  return inner != NULL ? inner : gst_object_ref (element);
}

/* A frame of the user's source: it carries its number as its offset. The second waits until every subscriber has seen the first. */
static GstPadProbeReturn
on_frame (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  FanoutMeter *meter = user_data;
  FanoutControl *control = meter->child->control;
  GstBuffer *buffer;

  while (meter->number == 1 && !control->config.baseline && !atomic_load (&control->go) && !GST_PAD_IS_FLUSHING (pad))
    fanout_sleep_until (fanout_now_ns () + GST_MSECOND);
  if (!fanout_meter_next (meter, fanout_now_ns ()))
    return GST_PAD_PROBE_DROP;
  buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GST_BUFFER_OFFSET (buffer) = meter->number;
  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  return GST_PAD_PROBE_OK;
}

/* The frame reaches the sink: from here on it is the pair of elements that is measured. */
static GstPadProbeReturn
on_arrival (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  FanoutChild *child = user_data;

  fanout_meter_publish (child->meter, fanout_now_ns ());
  return GST_PAD_PROBE_OK;
}

static void
watch_arrivals (FanoutChild * child, GstElement * sink)
{
  GstPad *pad = gst_element_get_static_pad (sink, "sink");

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_arrival, child, NULL);
  gst_object_unref (pad);
}

/* The identity at its end has a pad from the beginning, whatever demuxers add later. */
static GstElement *
source_new (FanoutChild * child, GError ** error)
{
  static FanoutMeter meter;
  gchar *description;
  GstElement *source, *last;
  GstPad *pad;

  if (child->control->config.source[0] == '\0')
    return fanout_source_new (child);
  description = g_strdup_printf ("%s ! identity name=fanout-last silent=true", child->control->config.source);
  source = gst_parse_bin_from_description (description, FALSE, error);
  g_free (description);
  if (source == NULL)
    return NULL;
  meter.child = child;
  child->meter = &meter;
  last = gst_bin_get_by_name (GST_BIN (source), "fanout-last");
  pad = gst_element_get_static_pad (last, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, &meter, NULL);
  gst_element_add_pad (source, gst_ghost_pad_new ("src", pad));
  gst_object_unref (pad);
  gst_object_unref (last);
  return source;
}

static GstElement *
build (FanoutChild * child, GstElement ** ret_sink, GError ** error)
{
  GstElement *pipeline = gst_pipeline_new ("publisher");
  GstElement *source = source_new (child, error);
  GstElement *sink = source != NULL ? gst_parse_bin_from_description (child->control->config.sink, TRUE, error) : NULL;

  if (source != NULL)
    gst_bin_add (GST_BIN (pipeline), source);
  if (sink == NULL) {
    gst_object_unref (pipeline);
    return NULL;
  }
  gst_bin_add (GST_BIN (pipeline), sink);
  if (!gst_element_link (source, sink)) {
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_NEGOTIATION, "%s takes no such frames", child->control->config.sink);
    gst_object_unref (pipeline);
    return NULL;
  }
  *ret_sink = find_inner_sink (sink);
  watch_arrivals (child, *ret_sink);
  return pipeline;
}

int
fanout_publisher_main (FanoutChild * child)
{
  FanoutPublisherResult *result = &child->control->publisher;
  GstElement *pipeline, *sink = NULL;
  GError *error = NULL;
  gchar *failure = NULL;

  fanout_child_touch_samples (fanout_samples_push (child->control), child->control->config.frames);
  pipeline = build (child, &sink, &error);
  if (pipeline == NULL) {
    fanout_child_tell (child, FANOUT_EVENT_FAILED, error->message);
    return 1;
  }
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  if (!fanout_child_wait (child, pipeline, &failure))
    fanout_child_tell (child, FANOUT_EVENT_FAILED, failure);
  result->copies = fanout_stat (sink, (const gchar * const[]) { "copies", "copied", NULL });
  result->drops = fanout_stat (sink, (const gchar * const[]) { "drops", "dropped", NULL });
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (sink);
  gst_object_unref (pipeline);
  g_free (failure);
  return 0;
}
