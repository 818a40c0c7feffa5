/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-cuframessrc
 * @title: cuframessrc
 * @see_also: cuframessink
 *
 * Receives the frames that a cuframessink in another process of this host publishes, without a copy. It may start before or after the
 * publisher, and goes on when a publisher comes back. Its buffers are read-only; each gives its slot back when it is freed.
 *
 * A channel may carry packets of any other stream, too: encoded video and audio, raw audio, transport streams, text and metadata. Each is copied once.
 * The first one is a key point, from which a decoder can start, and so is the first one after packets were missed.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 cuframessrc channel=cam1 ! videoconvert ! autovideosink
 * ]| Shows channel "cam1".
 * |[
 * gst-launch-1.0 cuframessrc channel=cam1 delivery=latest ! queue ! videoconvert ! x264enc ! mp4mux ! filesink location=cam1.mp4 -e
 * ]| Records it; when the encoder is too slow, it skips frames and costs nobody else anything.
 * |[
 * gst-launch-1.0 cuframessrc channel=cam1.packets start=oldest timestamps=original ! h264parse ! matroskamux ! filesink location=cam1.mkv -e
 * ]| Records the camera's own packets of channel "cam1.packets", beginning with what was there before the start.
 *
 * Since: 0.1
 */
#include "gstcuframessrc.h"

#include <unistd.h>

#include "gstcuframessrc-private.h"
#include "gstcuframesuri.h"

GST_DEBUG_CATEGORY (gst_cuframes_src_debug);
#define GST_CAT_DEFAULT gst_cuframes_src_debug

static guint stats_id;          /* properties below it are settings */

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE_WITH_CODE (GstCuframesSrc, gst_cuframes_src, GST_TYPE_PUSH_SRC,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_cuframes_uri_handler_init));
GST_ELEMENT_REGISTER_DEFINE (cuframessrc, "cuframessrc", GST_RANK_NONE, GST_TYPE_CUFRAMES_SRC);

/* Opening and closing */

static void
close_socket (GstCuframesSrc * self)
{
  if (self->socket_fd >= 0)
    close (self->socket_fd);
  self->socket_fd = -1;
}

static CuframesSubscriber *
new_subscriber (GstCuframesSrc * self)
{
  CuframesSubscriber *subscriber = NULL;
  GError *error = NULL;
  GSocket *socket;

  /* Kept on, it would keep the connection open behind our end. */
  GST_OBJECT_LOCK (self);
  socket = g_steal_pointer (&self->settings.socket);
  GST_OBJECT_UNLOCK (self);
  self->by_socket = socket != NULL;
  if (!gst_cuframes_src_settings_open (&self->settings, socket, &subscriber, &self->socket_fd, &self->path, &error)) {
    gst_element_message_full (GST_ELEMENT (self), GST_MESSAGE_ERROR, error->domain, error->code, g_strdup (error->message), NULL, __FILE__,
        GST_FUNCTION, __LINE__);
    g_error_free (error);
    close_socket (self);
  }
  g_clear_object (&socket);
  return subscriber;
}

/* Properties stay as they are from before they are read. */
static void
set_open (GstCuframesSrc * self, gboolean open)
{
  GST_OBJECT_LOCK (self);
  self->open = open;
  GST_OBJECT_UNLOCK (self);
}

static gboolean
open_subscriber (GstCuframesSrc * self)
{
  CuframesSubscriber *subscriber = new_subscriber (self);

  if (subscriber == NULL)
    return FALSE;
  gst_cuframes_timing_clear (&self->timing);
  self->subscription = gst_cuframes_subscription_new (GST_ELEMENT (self), self->settings.io_mode);
  self->packets = gst_cuframes_packet_subscription_new (GST_ELEMENT (self));
  self->in_packets = self->asked = FALSE;
  self->wants_headers = TRUE;
  gst_cuframes_past_begin (&self->past, self->settings.start == CUFRAMES_START_OLDEST);
  self->was_connected = FALSE;
  self->discont = TRUE;
  GST_OBJECT_LOCK (self);
  self->subscriber = subscriber;
  self->latency = 0;
  self->overruns = 0;
  self->ending = FALSE;
  GST_OBJECT_UNLOCK (self);
  return TRUE;
}

static void
close_subscriber (GstCuframesSrc * self)
{
  CuframesSubscriber *subscriber;

  GST_OBJECT_LOCK (self);
  subscriber = g_steal_pointer (&self->subscriber);
  GST_OBJECT_UNLOCK (self);
  cuframes_subscriber_free (subscriber);
  g_clear_pointer (&self->subscription, gst_cuframes_subscription_unref);
  g_clear_pointer (&self->packets, gst_cuframes_packet_subscription_free);
  g_queue_clear_full (&self->ready, (GDestroyNotify) gst_buffer_unref);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_cuframes_gpu_clear_context (GST_ELEMENT (self), &self->cuda_context);
  gst_cuframes_timing_clear (&self->timing);
  g_clear_pointer (&self->path, g_free);
  close_socket (self);
  set_open (self, FALSE);
}

/* The base class would add a message of its own to ours if this were its start(). */
static GstStateChangeReturn
src_change_state (GstElement * element, GstStateChange transition)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (element);
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED) {
    set_open (self, TRUE);
    if (!open_subscriber (self)) {
      set_open (self, FALSE);
      return GST_STATE_CHANGE_FAILURE;
    }
  }
  result = GST_ELEMENT_CLASS (gst_cuframes_src_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE))
    close_subscriber (self);
  return result;
}

/* The base class asks for this in every state when the application sends a flush or EOS event. */
void
gst_cuframes_src_set_flushing (GstCuframesSrc * self, gboolean flushing)
{
  GST_OBJECT_LOCK (self);
  if (self->subscriber != NULL) {
    cuframes_subscriber_cancel (self->subscriber, flushing);
    gst_cuframes_subscription_set_flushing (self->subscription, flushing);
  }
  GST_OBJECT_UNLOCK (self);
}

static gboolean
src_unlock (GstBaseSrc * src)
{
  gst_cuframes_src_set_flushing (GST_CUFRAMES_SRC (src), TRUE);
  return TRUE;
}

static gboolean
src_unlock_stop (GstBaseSrc * src)
{
  gst_cuframes_src_set_flushing (GST_CUFRAMES_SRC (src), FALSE);
  return TRUE;
}

/* The base class ends the stream as soon as create() returns, which may be waiting for the end of a pause. A seek it would carry out here, which it
 * refuses on the pad. */
static gboolean
src_send_event (GstElement * element, GstEvent * event)
{
  GstBaseSrc *src = GST_BASE_SRC (element);
  const GstEventType type = GST_EVENT_TYPE (event);

  if (type == GST_EVENT_SEEK) {
    gst_event_unref (event);
    return FALSE;
  }
  if (type == GST_EVENT_EOS || type == GST_EVENT_FLUSH_STOP) {
    g_mutex_lock (&src->live_lock);
    GST_CUFRAMES_SRC (src)->ending = type == GST_EVENT_EOS;
    g_cond_broadcast (&src->live_cond);
    g_mutex_unlock (&src->live_lock);
  }
  return GST_ELEMENT_CLASS (gst_cuframes_src_parent_class)->send_event (element, event);
}

/* Caps come from the publisher, not from a negotiation. */
static gboolean
src_negotiate (GstBaseSrc * src)
{
  return TRUE;
}

static gboolean
src_is_seekable (GstBaseSrc * src)
{
  return FALSE;
}

static gboolean
src_query (GstBaseSrc * src, GstQuery * query)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (src);

  if (gst_cuframes_gpu_answer_query (GST_ELEMENT (self), query, &self->cuda_context))
    return TRUE;
  if (GST_QUERY_TYPE (query) != GST_QUERY_LATENCY)
    return GST_BASE_SRC_CLASS (gst_cuframes_src_parent_class)->query (src, query);
  GST_OBJECT_LOCK (self);
  gst_query_set_latency (query, TRUE, self->latency, GST_CLOCK_TIME_NONE);
  GST_OBJECT_UNLOCK (self);
  return TRUE;
}

/* A key frame is wanted downstream: the publisher's producer is asked for it. */
static gboolean
src_event (GstBaseSrc * src, GstEvent * event)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (src);
  gboolean all_headers;

  if (gst_video_event_is_force_key_unit (event) && gst_video_event_parse_upstream_force_key_unit (event, NULL, &all_headers, NULL)) {
    GST_OBJECT_LOCK (self);
    if (self->subscriber != NULL)
      cuframes_subscriber_request_keyframe (self->subscriber, all_headers);
    GST_OBJECT_UNLOCK (self);
    return TRUE;
  }
  return GST_BASE_SRC_CLASS (gst_cuframes_src_parent_class)->event (src, event);
}

static void
src_set_context (GstElement * element, GstContext * context)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (element);

  gst_cuframes_gpu_set_context (element, context, self->settings.cuda_device_id, &self->cuda_context);
  GST_ELEMENT_CLASS (gst_cuframes_src_parent_class)->set_context (element, context);
}

/* GObject */

static GstStructure *
get_stats (GstCuframesSrc * self)
{
  CuframesSubscriberCounters counters = { 0 };

  if (self->subscriber != NULL)
    cuframes_subscriber_get_counters (self->subscriber, &counters);
  /* The counter is as old as the last frame. */
  if (self->subscriber != NULL)
    counters.leases_held = gst_cuframes_subscription_count_held (self->subscription);
  return gst_structure_new ("application/x-cuframes-stats",
      "connected", G_TYPE_BOOLEAN, counters.connected != 0, "connections", G_TYPE_UINT64, counters.connections,
      "generation", G_TYPE_UINT, counters.generation, "delivered", G_TYPE_UINT64, counters.delivered,
      "missed", G_TYPE_UINT64, counters.missed, "overruns", G_TYPE_UINT64, self->overruns, "copied", G_TYPE_UINT64, counters.copied, "wakeups", G_TYPE_UINT64, counters.wakeups,
      "leases-held", G_TYPE_UINT, counters.leases_held, "max-leases", G_TYPE_UINT, counters.max_leases,
      "sequence", G_TYPE_UINT64, counters.cursor, "head", G_TYPE_UINT64, counters.head, NULL);
}

static void
src_set_property (GObject * object, guint id, const GValue * value, GParamSpec * spec)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (object);
  gboolean open, known = TRUE;

  GST_OBJECT_LOCK (self);
  open = self->open;
  if (!open)
    known = gst_cuframes_src_settings_set (&self->settings, id, value);
  GST_OBJECT_UNLOCK (self);
  if (open)
    gst_cuframes_warn_of_late_property (GST_ELEMENT (self), spec);
  if (!known)
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
}

static void
src_get_property (GObject * object, guint id, GValue * value, GParamSpec * spec)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (object);
  gboolean known = TRUE;

  GST_OBJECT_LOCK (self);
  if (id == stats_id)
    g_value_take_boxed (value, get_stats (self));
  else
    known = gst_cuframes_src_settings_get (&self->settings, id, value);
  GST_OBJECT_UNLOCK (self);
  if (!known)
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
}

static void
src_finalize (GObject * object)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (object);

  gst_cuframes_src_settings_clear (&self->settings);
  G_OBJECT_CLASS (gst_cuframes_src_parent_class)->finalize (object);
}

static void
gst_cuframes_src_class_init (GstCuframesSrcClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSrcClass *src_class = GST_BASE_SRC_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_cuframes_src_debug, "cuframessrc", 0, "receives frames of other processes");
  object_class->set_property = src_set_property;
  object_class->get_property = src_get_property;
  object_class->finalize = src_finalize;
  stats_id = gst_cuframes_src_settings_install (object_class);
  g_object_class_install_property (object_class, stats_id, g_param_spec_boxed ("stats", "Statistics", "Counters of this subscriber",
          GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS));
  gst_element_class_set_static_metadata (element_class, "Frame sharing source", "Source",
      "Receives video frames without a copy, or packets of another stream, that another process of this host publishes", "gst-cuframes contributors");
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_DELIVERY, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_START, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_IO_MODE, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_TIMESTAMPS, 0);
  element_class->set_context = src_set_context;
  element_class->change_state = src_change_state;
  element_class->send_event = src_send_event;
  src_class->unlock = src_unlock;
  src_class->unlock_stop = src_unlock_stop;
  src_class->negotiate = src_negotiate;
  src_class->is_seekable = src_is_seekable;
  src_class->query = src_query;
  src_class->event = src_event;
  GST_PUSH_SRC_CLASS (klass)->create = gst_cuframes_src_create;
}

static void
gst_cuframes_src_init (GstCuframesSrc * self)
{
  GstBaseSrc *src = GST_BASE_SRC (self);

  gst_cuframes_src_settings_init (&self->settings);
  self->socket_fd = -1;
  g_queue_init (&self->ready);
  /* The publisher chooses them. */
  gst_pad_use_fixed_caps (GST_BASE_SRC_PAD (src));
  gst_base_src_set_live (src, TRUE);
  gst_base_src_set_format (src, GST_FORMAT_TIME);
  gst_base_src_set_do_timestamp (src, FALSE);
  /* The end of the publisher's segment is not the end of its stream. */
  gst_base_src_set_automatic_eos (src, FALSE);
}
