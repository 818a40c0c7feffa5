/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pipeline of cuframessrc, what the channel's format asks for, and an appsink. What lies between is known when the caps are, and cat-packets.c
 * knows it of packets. Knows nothing of files. */
#include "cat-source.h"

#include <gst/app/gstappsink.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "cat-packets.h"
#include "cat-y4m.h"

struct _CatSource
{
  GstElement *pipeline;
  GstElement *sink;             /* not owned: in the pipeline */
  GstBus *bus;
  GPollFD bus_poll;
  int frame_fd;                 /* readable when the sink may have a frame */
  CatFormat format;
  gboolean is_complete;         /* streaming thread: the elements behind the source are there */
};

static void
nudge (CatSource *self)
{
  eventfd_write (self->frame_fd, 1);
}

static GstFlowReturn
on_sample (GstAppSink *sink, gpointer data)
{
  nudge (data);
  return GST_FLOW_OK;
}

static void
on_eos (GstAppSink *sink, gpointer data)
{
  nudge (data);
}

static gboolean
post_error (CatSource *self, GError *error)
{
  gst_bus_post (self->bus, gst_message_new_error (GST_OBJECT (self->pipeline), error, NULL));
  g_error_free (error);
  return FALSE;
}

static gboolean
fail_in_stream (CatSource *self, const gchar *text)
{
  return post_error (self, g_error_new_literal (GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN, text));
}

/* Puts one more element behind `pad`, which becomes its source pad. */
static gboolean
append (CatSource *self, GstPad **pad, GstElement *element)
{
  GstPad *sink = gst_element_get_static_pad (element, "sink");
  gboolean linked;

  gst_bin_add (GST_BIN (self->pipeline), element);
  linked = gst_pad_link (*pad, sink) == GST_PAD_LINK_OK && gst_element_sync_state_with_parent (element);
  gst_object_unref (sink);
  gst_object_unref (*pad);
  *pad = gst_element_get_static_pad (element, "src");
  return linked || fail_in_stream (self, "The frames cannot be brought into a form that can be written");
}

static gboolean
append_by_name (CatSource *self, GstPad **pad, const gchar *factory)
{
  GstElement *element = gst_element_factory_make (factory, NULL);
  gchar *text;

  if (element != NULL)
    return append (self, pad, element);
  text = g_strdup_printf ("GStreamer's element %s is not installed here, and these frames need it", factory);
  fail_in_stream (self, text);
  g_free (text);
  return FALSE;
}

static gboolean
append_filter (CatSource *self, GstPad **pad, GstVideoFormat format)
{
  GstElement *filter = gst_element_factory_make ("capsfilter", NULL);
  GstCaps *caps = gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, gst_video_format_to_string (format), NULL);

  g_object_set (filter, "caps", caps, NULL);
  gst_caps_unref (caps);
  return append (self, pad, filter);
}

static gboolean
append_for_frames (CatSource *self, GstPad **pad, GstCaps *caps)
{
  GstCapsFeatures *features = gst_caps_get_features (caps, 0);
  gboolean good = TRUE;
  GstVideoInfo info;

  if (self->format >= CAT_FORMAT_ES)
    return post_error (self, g_error_new_literal (GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
            "The channel carries frames, not packets: they can be written as y4m or raw"));
  if (!gst_video_info_from_caps (&info, caps))
    return fail_in_stream (self, "The channel's frames are of a kind that is not known here");
  if (features != NULL && gst_caps_features_contains (features, "memory:CUDAMemory"))
    good = append_by_name (self, pad, "cudadownload");
  if (good && self->format <= CAT_FORMAT_Y4M)
    good = append_by_name (self, pad, "videoconvert") && append_filter (self, pad, cat_y4m_choose_format (&info));
  return good;
}

static gboolean
append_for_packets (CatSource *self, GstPad **pad, GstCaps *caps)
{
  GError *error = NULL;

  if (cat_packets_append (GST_BIN (self->pipeline), pad, caps, self->format, &error))
    return TRUE;
  return post_error (self, error);
}

/* On the streaming thread, while the caps wait to go on. A change of format finds everything there; the sink's caps tell of it. */
static void
complete (CatSource *self, GstPad *source_pad, GstCaps *caps)
{
  const gboolean is_video = gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw");
  GstPad *pad = gst_object_ref (source_pad);

  self->is_complete = TRUE;
  if (is_video ? append_for_frames (self, &pad, caps) : append_for_packets (self, &pad, caps))
    append (self, &pad, gst_object_ref (self->sink));
  gst_clear_object (&pad);
}

static GstPadProbeReturn
on_source_event (GstPad *pad, GstPadProbeInfo *probe, gpointer data)
{
  CatSource *self = data;
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (probe);
  GstCaps *caps;

  if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS && !self->is_complete) {
    gst_event_parse_caps (event, &caps);
    complete (self, pad, caps);
  }
  return GST_PAD_PROBE_OK;
}

static GstElement *
make_sink (CatSource *self)
{
  GstAppSinkCallbacks callbacks = {.eos = on_eos,.new_sample = on_sample };
  GstElement *sink = gst_element_factory_make ("appsink", NULL);

  if (sink == NULL)
    return NULL;
  g_object_set (sink, "sync", FALSE, "async", FALSE, "max-buffers", 1, "drop", FALSE, "enable-last-sample", FALSE, NULL);
  gst_app_sink_set_callbacks (GST_APP_SINK (sink), &callbacks, self, NULL);
  return gst_object_ref_sink (sink);
}

static void
add_source (CatSource *self, GstElement *source, const CatSourceConfig *config)
{
  GstPad *pad = gst_element_get_static_pad (source, "src");

  g_object_set (source, "channel", config->channel, "socket-path", config->socket_path, "connect-timeout", config->timeout_ns,
      "reconnect", config->reconnect, NULL);
  gst_util_set_object_arg (G_OBJECT (source), "delivery", config->latest ? "latest" : "fifo");
  if (config->start != NULL)
    gst_util_set_object_arg (G_OBJECT (source), "start", config->start);
  if (config->count > 0 && config->count <= G_MAXINT)
    g_object_set (source, "num-buffers", (gint) config->count, NULL);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_source_event, self, NULL);
  gst_bin_add (GST_BIN (self->pipeline), source);
  gst_object_unref (pad);
}

/* NULL if elements are missing. What else is wrong cat_source_next() says. */
CatSource *
cat_source_open (const CatSourceConfig *config, GError **error)
{
  CatSource *self = g_new0 (CatSource, 1);
  GstElement *source = gst_element_factory_make ("cuframessrc", NULL);

  self->frame_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  self->pipeline = gst_object_ref_sink (gst_pipeline_new (NULL));
  self->bus = gst_element_get_bus (self->pipeline);
  self->sink = make_sink (self);
  self->format = config->format;
  gst_bus_get_pollfd (self->bus, &self->bus_poll);
  if (source == NULL || self->sink == NULL) {
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN, "GStreamer's element %s is not installed here; see GST_PLUGIN_PATH",
        source == NULL ? "cuframessrc" : "appsink");
    gst_clear_object (&source);
    cat_source_close (self);
    return NULL;
  }
  add_source (self, source, config);
  gst_element_set_state (self->pipeline, GST_STATE_PLAYING);
  return self;
}

void
cat_source_close (CatSource *self)
{
  gst_element_set_state (self->pipeline, GST_STATE_NULL);
  gst_object_unref (self->pipeline);
  gst_clear_object (&self->sink);
  gst_object_unref (self->bus);
  close (self->frame_fd);
  g_free (self);
}

/* Readable when there is a message. */
int
cat_source_peek_bus_fd (const CatSource *self)
{
  return self->bus_poll.fd;
}

int
cat_source_peek_frame_fd (const CatSource *self)
{
  return self->frame_fd;
}

static CatSourceResult
judge (const GError *error)
{
  if (error->domain != GST_RESOURCE_ERROR)
    return CAT_SOURCE_FAILED;
  switch (error->code) {
    case GST_RESOURCE_ERROR_SETTINGS:
      return CAT_SOURCE_BAD_NAME;
    case GST_RESOURCE_ERROR_NOT_FOUND:
    case GST_RESOURCE_ERROR_OPEN_READ:
      return CAT_SOURCE_NO_CHANNEL;
    default:
      return CAT_SOURCE_FAILED;
  }
}

static CatSourceResult
take_message (CatSource *self, GError **error)
{
  GstMessage *message = gst_bus_pop_filtered (self->bus, GST_MESSAGE_ERROR | GST_MESSAGE_EOS);
  CatSourceResult result = CAT_SOURCE_ENDED;
  GError *found = NULL;

  if (message == NULL)
    return CAT_SOURCE_NOTHING;
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &found, NULL);
    result = judge (found);
    g_propagate_error (error, found);
  }
  gst_message_unref (message);
  return result;
}

/* What is there now; frames before the end. */
CatSourceResult
cat_source_next (CatSource *self, GstSample **ret_sample, GError **error)
{
  eventfd_t count;

  eventfd_read (self->frame_fd, &count);
  *ret_sample = gst_app_sink_try_pull_sample (GST_APP_SINK (self->sink), 0);
  if (*ret_sample != NULL)
    return CAT_SOURCE_FRAME;
  return take_message (self, error);
}
