/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From a camera, file or device to pads of parsed or raw streams. Each kind of source needs something else before its streams are known; that
 * ends here. */
#include "publish-source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* A camera that takes longer to answer is away. */
#define TCP_TIMEOUT_US (G_GUINT64_CONSTANT (5) * G_USEC_PER_SEC)

typedef struct
{
  PublishSourceConfig config;
  PublishSourceCallbacks callbacks;
  GstBin *bin;                  /* not owned */
  gboolean has_rtsp_video;      /* one streaming thread */
} Source;

static void
on_parsed (GstElement *parser, GstPad *pad, gpointer data)
{
  Source *source = data;

  source->callbacks.stream (pad, source->callbacks.user_data);
}

static void
on_no_more (GstElement *element, gpointer data)
{
  Source *source = data;

  source->callbacks.no_more_streams (source->callbacks.user_data);
}

static gboolean
add_parser (Source *source, GstPad *pad, gboolean is_last)
{
  GstElement *parser = gst_element_factory_make ("parsebin", NULL);
  gboolean linked;
  GstPad *sink;

  if (parser == NULL)
    return FALSE;
  g_signal_connect (parser, "pad-added", G_CALLBACK (on_parsed), source);
  /* Which of the two it says depends on what is in it. */
  if (is_last) {
    g_signal_connect (parser, "no-more-pads", G_CALLBACK (on_no_more), source);
    g_signal_connect (parser, "drained", G_CALLBACK (on_no_more), source);
  }
  gst_bin_add (source->bin, parser);
  sink = gst_element_get_static_pad (parser, "sink");
  linked = gst_pad_link (pad, sink) == GST_PAD_LINK_OK && gst_element_sync_state_with_parent (parser);
  gst_object_unref (sink);
  return linked;
}

/* RTSP: its pads come one by one. */

static void
on_rtsp_pad (GstElement *element, GstPad *pad, gpointer data)
{
  if (GST_PAD_IS_SRC (pad) && !add_parser (data, pad, FALSE))
    GST_ELEMENT_ERROR (element, CORE, MISSING_PLUGIN, ("GStreamer's element parsebin cannot be used here"), (NULL));
}

/* Its parsers may still be looking; what counts is what the camera offers. */
static void
on_no_more_rtsp (GstElement *element, gpointer data)
{
  Source *source = data;

  if (!source->has_rtsp_video)
    on_no_more (element, data);
}

/* What is not wanted is not even asked for. */
static gboolean
on_rtsp_stream (GstElement *element, guint index, GstCaps *caps, gpointer data)
{
  Source *source = data;
  const gchar *media = gst_structure_get_string (gst_caps_get_structure (caps, 0), "media");

  if (g_strcmp0 (media, "video") == 0)
    return source->has_rtsp_video = TRUE;
  if (g_strcmp0 (media, "audio") != 0)
    return FALSE;
  if (!source->config.wants_audio)
    source->callbacks.sound_left_out (source->callbacks.user_data);
  return source->config.wants_audio;
}

static void
set_up_rtsp (Source *source, GstElement *element)
{
  g_object_set (element, "location", source->config.place->location, "latency", source->config.latency_ms, "tcp-timeout", TCP_TIMEOUT_US, NULL);
  if (strcmp (source->config.transport, "auto") != 0)
    gst_util_set_object_arg (G_OBJECT (element), "protocols", source->config.transport);
  g_signal_connect (element, "select-stream", G_CALLBACK (on_rtsp_stream), source);
  g_signal_connect (element, "pad-added", G_CALLBACK (on_rtsp_pad), source);
  g_signal_connect (element, "no-more-pads", G_CALLBACK (on_no_more_rtsp), source);
}

/* Devices: one pad, raw or not as they are asked. */

/* (transfer full): the camera's own encoding if it has one. */
static GstCaps *
choose_device_caps (GstElement *element)
{
  static const gchar *const encodings[] = { "video/x-h264", "video/x-h265", "image/jpeg" };
  GstPad *pad = gst_element_get_static_pad (element, "src");
  GstCaps *offered = gst_pad_query_caps (pad, NULL), *chosen = NULL;

  for (guint i = 0; i < G_N_ELEMENTS (encodings) && chosen == NULL; i++) {
    GstCaps *caps = gst_caps_new_empty_simple (encodings[i]);
    if (gst_caps_can_intersect (offered, caps))
      chosen = gst_caps_ref (caps);
    gst_caps_unref (caps);
  }
  gst_caps_unref (offered);
  gst_object_unref (pad);
  return chosen != NULL ? chosen : gst_caps_new_empty_simple ("video/x-raw");
}

static GstPadProbeReturn
on_device_caps (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Source *source = data;
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
  GstCaps *caps;

  if (GST_EVENT_TYPE (event) != GST_EVENT_CAPS)
    return GST_PAD_PROBE_OK;
  gst_event_parse_caps (event, &caps);
  if (gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw"))
    source->callbacks.stream (pad, source->callbacks.user_data);
  else
    add_parser (source, pad, TRUE);
  return GST_PAD_PROBE_REMOVE;
}

static gboolean
set_up_device (Source *source, GstElement *element, GError **error)
{
  GstElement *filter = gst_element_factory_make ("capsfilter", NULL);
  GstCaps *caps = NULL;
  GstPad *pad;

  g_object_set (element, "device", source->config.place->location, NULL);
  if (source->config.caps != NULL)
    caps = gst_caps_from_string (source->config.caps);
  else if (gst_element_set_state (element, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE)
    caps = choose_device_caps (element);
  if (caps == NULL) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ, "%s cannot be opened: it is no camera, or in use", source->config.place->shown);
    gst_element_set_state (element, GST_STATE_NULL);
    gst_object_unref (gst_object_ref_sink (filter));
    return FALSE;
  }
  g_object_set (filter, "caps", caps, NULL);
  gst_caps_unref (caps);
  gst_bin_add (source->bin, filter);
  pad = gst_element_get_static_pad (filter, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_device_caps, source, NULL);
  gst_object_unref (pad);
  return gst_element_link (element, filter);
}

/* Files: one pad of bytes. */

static void
close_pipe (gpointer data)
{
  close (GPOINTER_TO_INT (data));
}

/* Whoever opens a named pipe, or reads from one, waits for its writer, and filesrc cannot be told to stop that. fdsrc can, but takes what is open; it
 * is closed with the element. */
static gboolean
set_up_pipe (Source *source, GstElement *element, GError **error)
{
  const gint fd = open (source->config.place->location, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

  if (fd < 0) {
    g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ, g_strerror (errno));
    return FALSE;
  }
  g_object_set (element, "fd", fd, NULL);
  g_object_set_data_full (G_OBJECT (element), "cuframes-publish-pipe", GINT_TO_POINTER (fd), close_pipe);
  return TRUE;
}

static gboolean
set_up_file (Source *source, GstElement *element, GError **error)
{
  gboolean good = TRUE;
  GstPad *pad;

  if (source->config.place->is_pipe)
    good = set_up_pipe (source, element, error);
  else
    g_object_set (element, "location", source->config.place->location, NULL);
  pad = gst_element_get_static_pad (element, "src");
  good = good && add_parser (source, pad, TRUE);
  gst_object_unref (pad);
  return good;
}

/* Everything else: one pad of bytes, or pads of streams. */

static void
on_other_pad (GstElement *element, GstPad *pad, gpointer data)
{
  Source *source = data;
  GstCaps *caps = gst_pad_get_current_caps (pad), *raw = gst_caps_from_string ("video/x-raw(ANY);audio/x-raw(ANY)");

  if (caps == NULL)
    caps = gst_pad_query_caps (pad, NULL);
  if (!gst_caps_is_any (caps) && gst_caps_can_intersect (caps, raw))
    source->callbacks.stream (pad, source->callbacks.user_data);
  else
    add_parser (source, pad, TRUE);
  gst_caps_unref (raw);
  gst_caps_unref (caps);
}

static GstElement *
make_element (const PublishPlace *place, GError **error)
{
  const gchar *const factory = place->kind == PUBLISH_PLACE_RTSP ? "rtspsrc" : place->kind == PUBLISH_PLACE_DEVICE ? "v4l2src"
      : place->kind == PUBLISH_PLACE_OTHER ? "urisourcebin" : place->is_pipe ? "fdsrc" : "filesrc";
  GstElement *element = gst_element_factory_make (factory, "source");

  if (element == NULL)
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN, "GStreamer's element %s is not installed here, and this source needs it", factory);
  return element;
}

/* Puts the source and what it needs into the bin, which is not to be playing yet. */
gboolean
publish_source_add (GstBin *bin, const PublishSourceConfig *config, const PublishSourceCallbacks *callbacks, GError **error)
{
  GstElement *element = make_element (config->place, error);
  gboolean good = TRUE;
  Source *source;

  if (element == NULL)
    return FALSE;
  source = g_new (Source, 1);
  *source = (Source) {.config = *config,.callbacks = *callbacks,.bin = bin };
  g_object_set_data_full (G_OBJECT (bin), "cuframes-publish-source", source, g_free);
  gst_bin_add (bin, element);
  switch (config->place->kind) {
    case PUBLISH_PLACE_RTSP:
      set_up_rtsp (source, element);
      break;
    case PUBLISH_PLACE_DEVICE:
      good = set_up_device (source, element, error);
      break;
    case PUBLISH_PLACE_FILE:
      good = set_up_file (source, element, error);
      break;
    case PUBLISH_PLACE_OTHER:
      g_object_set (element, "uri", config->place->location, NULL);
      g_signal_connect (element, "pad-added", G_CALLBACK (on_other_pad), source);
  }
  if (!good && error != NULL && *error == NULL)
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN, "GStreamer's element parsebin cannot be used here");
  return good;
}
