/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-cuframessink
 * @title: cuframessink
 * @see_also: cuframessrc
 *
 * Publishes video frames on a channel, from which any number of cuframessrc elements and programs on the same host read them without
 * a copy. Nothing that a subscriber does stalls it. The pool that it proposes upstream hands out slots of the ring, so that a producer
 * which uses it writes straight into what the subscribers read; a frame in other memory costs one copy, counted in #cuframessink:stats.
 *
 * Anything but raw video, such as encoded video and audio, raw audio, transport streams, text and metadata, is published as packets in a ring of
 * bytes. Who joins starts at the last key point; who is too slow goes on at the newest one.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=NV12,width=1920,height=1080 ! cuframessink channel=test
 * ]| Publishes a test picture on channel "test".
 * |[
 * gst-launch-1.0 cuframessrc channel=test ! videoconvert ! autovideosink
 * ]| Shows it, as often as you like.
 * |[
 * gst-launch-1.0 rtspsrc location=rtsp://camera/stream ! rtph264depay ! h264parse config-interval=-1 ! tee name=t
 *     t. ! queue ! cuframessink channel=cam1.packets sync=false
 *     t. ! queue ! avdec_h264 ! cuframessink channel=cam1 sync=false
 * ]| One session to a camera serves recorders, which read the camera's own packets, and detectors, which read frames.
 *
 * Since: 0.1
 */
#include "gstcuframessink.h"

#include <gio/gio.h>
#include <gst/video/video.h>
#include <unistd.h>

#include "gstcuframescaps.h"
#include "gstcuframeschannel.h"
#include "gstcuframessink-private.h"

GST_DEBUG_CATEGORY (gst_cuframes_sink_debug);
#define GST_CAT_DEFAULT gst_cuframes_sink_debug

/* What upstream writes at a time if it does not say: one buffer, and one that waits for its moment in this element. */
#define PROPOSED_BUFFERS 2
/* As many as a publisher lets wait. */
#define EARLY_MAX 16

enum
{
  OWN_NUM_SUBSCRIBERS,
  OWN_STATS,
  N_OWN,
};

enum
{
  SIGNAL_SUBSCRIBER_ADDED,
  SIGNAL_SUBSCRIBER_REMOVED,
  SIGNAL_EVICT,
  SIGNAL_ADD,
  N_SIGNALS,
};

static guint first_own;         /* properties below it are settings */
static GParamSpec *own[N_OWN];
static guint signals[N_SIGNALS];

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE (GstCuframesSink, gst_cuframes_sink, GST_TYPE_BASE_SINK);
GST_ELEMENT_REGISTER_DEFINE (cuframessink, "cuframessink", GST_RANK_NONE, GST_TYPE_CUFRAMES_SINK);

/* Callbacks of the publisher, in its server's thread */

static void
tell_subscriber (GstCuframesSink * self, guint signal, const CuframesSubscriberStats * subscriber)
{
  GstStructure *structure = gst_cuframes_channel_describe_subscriber (subscriber);

  g_signal_emit (self, signals[signal], 0, subscriber->id, structure);
  gst_structure_free (structure);
  g_object_notify_by_pspec (G_OBJECT (self), own[OWN_NUM_SUBSCRIBERS]);
}

static void
on_subscriber_added (void *user_data, const CuframesSubscriberStats * subscriber)
{
  GST_INFO_OBJECT (user_data, "subscriber %u (%s, pid %u) joined", subscriber->id, subscriber->name, subscriber->pid);
  tell_subscriber (user_data, SIGNAL_SUBSCRIBER_ADDED, subscriber);
}

static void
on_subscriber_removed (void *user_data, const CuframesSubscriberStats * subscriber)
{
  GST_INFO_OBJECT (user_data, "subscriber %u (%s, pid %u) left", subscriber->id, subscriber->name, subscriber->pid);
  tell_subscriber (user_data, SIGNAL_SUBSCRIBER_REMOVED, subscriber);
}

static void
on_keyframe_wanted (void *user_data, bool all_headers)
{
  GstCuframesSink *self = user_data;

  gst_cuframes_key_units_ask (&self->key_units, GST_BASE_SINK_PAD (self), all_headers);
}

static void
on_log (void *user_data, const char *text)
{
  GST_INFO_OBJECT (user_data, "%s", text);
}

static const CuframesPublisherCallbacks callbacks = {
  .subscriber_added = on_subscriber_added,
  .subscriber_removed = on_subscriber_removed,
  .keyframe_wanted = on_keyframe_wanted,
  .log = on_log,
};

/* Opening and closing */

static void
on_pool_error (gpointer user_data, const gchar * text)
{
  GST_ELEMENT_ERROR (user_data, RESOURCE, NO_SPACE_LEFT, ("%s", text), (NULL));
}

/* From here on connections go to the publisher. */
static void
take_early (GstCuframesSink * self, CuframesPublisher * publisher)
{
  guint count;

  GST_OBJECT_LOCK (self);
  self->publisher = publisher;
  count = self->early->len;
  for (guint i = 0; i < count; i++)
    cuframes_publisher_adopt (publisher, g_array_index (self->early, gint, i));
  g_array_set_size (self->early, 0);
  GST_OBJECT_UNLOCK (self);
  if (count == 0 && self->settings.channel == NULL && self->settings.socket_path == NULL)
    GST_ELEMENT_WARNING (self, RESOURCE, SETTINGS, ("No channel is named: only connections that the application adds are served. Set the property "
            "\"channel\", or \"socket-path\", to be found"), (NULL));
}

/* Properties stay as they are from before they are read. */
static void
set_open (GstCuframesSink * self, gboolean open)
{
  GST_OBJECT_LOCK (self);
  self->open = open;
  GST_OBJECT_UNLOCK (self);
}

static gboolean
open_publisher (GstCuframesSink * self)
{
  CuframesPublisher *publisher = NULL;
  gchar *text = NULL;

  if (!gst_cuframes_sink_settings_open (&self->settings, &callbacks, self, &publisher, &text)) {
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_WRITE, ("%s", text), (NULL));
    g_free (text);
    return FALSE;
  }
  gst_cuframes_timing_clear (&self->timing);
  self->told_latency = GST_CLOCK_TIME_NONE;
  g_atomic_int_set (&self->latency_is_old, TRUE);
  self->ended = FALSE;
  self->waited = FALSE;
  self->has_caps = FALSE;
  self->gpu_failed = FALSE;
  gst_cuframes_key_units_begin (&self->key_units, self->settings.key_unit_interval_ns);
  self->publication = gst_cuframes_publication_new (GST_ELEMENT (self), publisher, self->settings.slots, on_pool_error);
  self->packets = gst_cuframes_packet_publication_new (GST_ELEMENT (self), publisher, self->settings.packet_ring_bytes,
      self->settings.packet_ring_packets);
  take_early (self, publisher);
  return TRUE;
}

static void
close_publisher (GstCuframesSink * self)
{
  CuframesPublisher *publisher;

  GST_OBJECT_LOCK (self);
  publisher = g_steal_pointer (&self->publisher);
  GST_OBJECT_UNLOCK (self);
  /* Upstream may still be running, and GStreamer hands on its allocation query, under this lock, to elements in any state. */
  GST_PAD_STREAM_LOCK (GST_BASE_SINK_PAD (self));
  g_clear_pointer (&self->publication, gst_cuframes_publication_free);
  g_clear_pointer (&self->packets, gst_cuframes_packet_publication_free);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_cuframes_gpu_clear_context (GST_ELEMENT (self), &self->cuda_context);
  gst_cuframes_timing_clear (&self->timing);
  GST_PAD_STREAM_UNLOCK (GST_BASE_SINK_PAD (self));
  cuframes_publisher_free (publisher);
  set_open (self, FALSE);
}

/* The base class would add a message of its own to ours if this were its start(). */
static GstStateChangeReturn
sink_change_state (GstElement * element, GstStateChange transition)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (element);
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED) {
    set_open (self, TRUE);
    if (!open_publisher (self)) {
      set_open (self, FALSE);
      return GST_STATE_CHANGE_FAILURE;
    }
  }
  result = GST_ELEMENT_CLASS (gst_cuframes_sink_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE))
    close_publisher (self);
  return result;
}

static void
set_flushing (GstCuframesSink * self, gboolean flushing)
{
  GST_OBJECT_LOCK (self);
  if (self->publisher != NULL)
    cuframes_publisher_set_flushing (self->publisher, flushing);
  GST_OBJECT_UNLOCK (self);
}

static gboolean
sink_unlock (GstBaseSink * sink)
{
  set_flushing (GST_CUFRAMES_SINK (sink), TRUE);
  return TRUE;
}

static gboolean
sink_unlock_stop (GstBaseSink * sink)
{
  set_flushing (GST_CUFRAMES_SINK (sink), FALSE);
  return TRUE;
}

/* Negotiation */

/* Frames in GPU memory need the GPU, frames in host memory nothing. */
static gboolean
ensure_gpu (GstCuframesSink * self, GstCaps * caps)
{
  gchar *text = NULL;

  if (self->gpu != NULL || !gst_cuframes_gpu_caps_are_gpu (caps))
    return TRUE;
  if (self->gpu_failed)
    return FALSE;
  self->gpu = gst_cuframes_gpu_new (GST_ELEMENT (self), self->settings.cuda_device_id, &self->cuda_context, &text);
  if (self->gpu == NULL) {
    self->gpu_failed = TRUE;
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_WRITE, ("%s", text), (NULL));
    g_free (text);
    return FALSE;
  }
  gst_cuframes_publication_set_gpu (self->publication, self->gpu, self->settings.gpu_sync == GST_CUFRAMES_GPU_SYNC_FENCE);
  return TRUE;
}

static GstCaps *
sink_get_caps (GstBaseSink * sink, GstCaps * filter)
{
  return filter == NULL ? gst_caps_new_any () : gst_cuframes_caps_filter (filter);
}

static gboolean
sink_set_caps (GstBaseSink * sink, GstCaps * caps)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (sink);
  GError *error = NULL;

  if (!ensure_gpu (self, caps))
    return FALSE;
  self->in_packets = !gst_cuframes_caps_are_frames (caps);
  if (self->in_packets) {
    gst_cuframes_publication_leave (self->publication);
    gst_cuframes_packet_publication_set_caps (self->packets, caps, &error);
  } else {
    gst_cuframes_packet_publication_leave (self->packets);
    gst_cuframes_publication_set_caps (self->publication, caps, &error);
  }
  self->has_caps = error == NULL;
  if (error == NULL)
    return TRUE;
  GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("%s", error->message), ("caps %" GST_PTR_FORMAT, caps));
  g_clear_error (&error);
  return FALSE;
}

static gboolean
sink_propose_allocation (GstBaseSink * sink, GstQuery * query)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (sink);
  GstBufferPool *pool;
  gboolean need_pool;
  GstCaps *caps;
  guint size;

  gst_query_parse_allocation (query, &caps, &need_pool);
  if (caps == NULL || self->publication == NULL || !ensure_gpu (self, caps))
    return FALSE;
  /* Packets are copied from wherever they are. */
  if (!gst_cuframes_caps_are_frames (caps))
    return TRUE;
  if (need_pool) {
    pool = gst_cuframes_publication_make_pool (self->publication, caps, PROPOSED_BUFFERS, &size);
    if (pool == NULL)
      return FALSE;
    gst_query_add_allocation_pool (query, pool, size, PROPOSED_BUFFERS, 0);
    gst_object_unref (pool);
  }
  gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
  return TRUE;
}

static gboolean
sink_query (GstBaseSink * sink, GstQuery * query)
{
  GstCaps *caps;

  if (gst_cuframes_gpu_answer_query (GST_ELEMENT (sink), query, &GST_CUFRAMES_SINK (sink)->cuda_context))
    return TRUE;
  if (GST_QUERY_TYPE (query) == GST_QUERY_ACCEPT_CAPS) {
    gst_query_parse_accept_caps (query, &caps);
    gst_query_set_accept_caps_result (query, gst_cuframes_caps_accept (caps));
    return TRUE;
  }
  return GST_BASE_SINK_CLASS (gst_cuframes_sink_parent_class)->query (sink, query);
}

static void
sink_set_context (GstElement * element, GstContext * context)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (element);

  gst_cuframes_gpu_set_context (element, context, self->settings.cuda_device_id, &self->cuda_context);
  GST_ELEMENT_CLASS (gst_cuframes_sink_parent_class)->set_context (element, context);
}

/* The pipeline has asked all its elements for their latency anew. */
static gboolean
sink_send_event (GstElement * element, GstEvent * event)
{
  if (GST_EVENT_TYPE (event) == GST_EVENT_LATENCY)
    g_atomic_int_set (&GST_CUFRAMES_SINK (element)->latency_is_old, TRUE);
  return GST_ELEMENT_CLASS (gst_cuframes_sink_parent_class)->send_event (element, event);
}

static gboolean
sink_event (GstBaseSink * sink, GstEvent * event)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (sink);
  const GstEventType type = GST_EVENT_TYPE (event);
  gboolean forward = GST_EVENT_IS_SERIALIZED (event) && type != GST_EVENT_CAPS && type != GST_EVENT_FLUSH_STOP;
  gboolean good;

  if (type == GST_EVENT_STREAM_START) {
    cuframes_publisher_forget_events (self->publisher);
    gst_cuframes_packet_publication_restart (self->packets);
    self->told_latency = GST_CLOCK_TIME_NONE;
    self->ended = FALSE;
  }
  gst_event_ref (event);
  good = GST_BASE_SINK_CLASS (gst_cuframes_sink_parent_class)->event (sink, event);
  if (forward && good)
    gst_cuframes_sink_forward_event (self, event);
  if (good && type == GST_EVENT_EOS)
    self->ended = TRUE;
  if (good && type == GST_EVENT_FLUSH_STOP && self->ended)
    gst_cuframes_sink_forget_end (self);
  gst_event_unref (event);
  return good;
}

static gboolean
sink_evict (GstCuframesSink * self, guint id)
{
  gboolean evicted = FALSE;

  GST_OBJECT_LOCK (self);
  if (self->publisher != NULL)
    evicted = cuframes_publisher_evict (self->publisher, id) == 0;
  GST_OBJECT_UNLOCK (self);
  return evicted;
}

static gboolean
sink_add (GstCuframesSink * self, GSocket * socket)
{
  gchar *text = NULL;
  gboolean added = FALSE;
  gint fd;

  g_return_val_if_fail (G_IS_SOCKET (socket), FALSE);
  fd = gst_cuframes_channel_copy_socket (socket, &text);
  if (fd < 0) {
    GST_WARNING_OBJECT (self, "%s", text);
    g_free (text);
    return FALSE;
  }
  GST_OBJECT_LOCK (self);
  if (self->publisher != NULL)
    added = cuframes_publisher_adopt (self->publisher, fd) == 0;
  else if (self->early->len < EARLY_MAX) {
    g_array_append_val (self->early, fd);
    added = TRUE;
  } else
    close (fd);
  GST_OBJECT_UNLOCK (self);
  return added;
}

/* GObject */

static void
sink_set_property (GObject * object, guint id, const GValue * value, GParamSpec * spec)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (object);
  gboolean open, known = TRUE;

  GST_OBJECT_LOCK (self);
  open = self->open;
  if (!open)
    known = gst_cuframes_sink_settings_set (&self->settings, id, value);
  GST_OBJECT_UNLOCK (self);
  if (open)
    gst_cuframes_warn_of_late_property (GST_ELEMENT (self), spec);
  if (!known)
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
}

static guint
count_subscribers (GstCuframesSink * self)
{
  CuframesPublisherStats stats = { 0 };

  if (self->publisher != NULL)
    cuframes_publisher_get_stats (self->publisher, &stats);
  return stats.subscribers;
}

static void
sink_get_property (GObject * object, guint id, GValue * value, GParamSpec * spec)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (object);
  gboolean known = TRUE;

  GST_OBJECT_LOCK (self);
  if (id == first_own + OWN_NUM_SUBSCRIBERS)
    g_value_set_uint (value, count_subscribers (self));
  else if (id == first_own + OWN_STATS)
    g_value_take_boxed (value, gst_cuframes_channel_get_stats (self->publisher));
  else
    known = gst_cuframes_sink_settings_get (&self->settings, id, value);
  GST_OBJECT_UNLOCK (self);
  if (!known)
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
}

static void
sink_finalize (GObject * object)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (object);

  for (guint i = 0; i < self->early->len; i++)
    close (g_array_index (self->early, gint, i));
  g_array_unref (self->early);
  gst_cuframes_sink_settings_clear (&self->settings);
  gst_cuframes_key_units_clear (&self->key_units);
  G_OBJECT_CLASS (gst_cuframes_sink_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass * object_class)
{
  const GParamFlags read_only = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  first_own = gst_cuframes_sink_settings_install (object_class);
  own[OWN_NUM_SUBSCRIBERS] = g_param_spec_uint ("num-subscribers", "Number of subscribers", "Subscribers now", 0, G_MAXUINT, 0, read_only);
  own[OWN_STATS] = g_param_spec_boxed ("stats", "Statistics", "Counters of the channel and of each subscriber", GST_TYPE_STRUCTURE, read_only);
  for (guint i = 0; i < N_OWN; i++)
    g_object_class_install_property (object_class, first_own + i, own[i]);
}

static void
install_signals (GstCuframesSinkClass * klass)
{
  /**
   * GstCuframesSink::subscriber-added:
   * @sink: the sink
   * @id: the subscriber
   * @subscriber: what is known of it
   *
   * A subscriber was let in. Emitted in a thread of the element's own.
   *
   * Since: 0.1
   */
  signals[SIGNAL_SUBSCRIBER_ADDED] = g_signal_new ("subscriber-added", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
      G_TYPE_NONE, 2, G_TYPE_UINT, GST_TYPE_STRUCTURE | G_SIGNAL_TYPE_STATIC_SCOPE);
  /**
   * GstCuframesSink::subscriber-removed:
   * @sink: the sink
   * @id: the subscriber
   * @subscriber: what was known of it
   *
   * A subscriber has gone and holds nothing any more. Emitted in a thread of the element's own.
   *
   * Since: 0.1
   */
  signals[SIGNAL_SUBSCRIBER_REMOVED] = g_signal_new ("subscriber-removed", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST, 0, NULL, NULL, NULL,
      G_TYPE_NONE, 2, G_TYPE_UINT, GST_TYPE_STRUCTURE | G_SIGNAL_TYPE_STATIC_SCOPE);
  /**
   * GstCuframesSink::evict:
   * @sink: the sink
   * @id: a subscriber
   *
   * Takes a subscriber off the channel.
   *
   * Returns: whether there was one of that number
   *
   * Since: 0.1
   */
  signals[SIGNAL_EVICT] = g_signal_new_class_handler ("evict", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (sink_evict), NULL, NULL, NULL, G_TYPE_BOOLEAN, 1, G_TYPE_UINT);
  /**
   * GstCuframesSink::add:
   * @sink: the sink
   * @socket: (transfer none): a connected unix socket of the type SEQPACKET
   *
   * Serves a connection that the application made: a subscriber is to be at its other end, such as a cuframessrc with its property "socket".
   * In any state and any thread; one that is added to a stopped sink is served when it starts. The sink takes a copy of the descriptor: let
   * go of the socket, for the subscriber has gone only when both are closed.
   *
   * Returns: whether the sink has taken it: not if it is of another kind, or if 16 wait already
   *
   * Since: 0.1
   */
  signals[SIGNAL_ADD] = g_signal_new_class_handler ("add", G_TYPE_FROM_CLASS (klass), G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (sink_add), NULL, NULL, NULL, G_TYPE_BOOLEAN, 1, G_TYPE_SOCKET);
}

static void
gst_cuframes_sink_class_init (GstCuframesSinkClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSinkClass *sink_class = GST_BASE_SINK_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_cuframes_sink_debug, "cuframessink", 0, "publishes frames to other processes");
  object_class->set_property = sink_set_property;
  object_class->get_property = sink_get_property;
  object_class->finalize = sink_finalize;
  install_properties (object_class);
  install_signals (klass);
  gst_element_class_set_static_metadata (element_class, "Frame sharing sink", "Sink",
      "Publishes video frames without a copy, and any other stream as packets, to any number of processes of this host", "gst-cuframes contributors");
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_OVERFLOW, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_GPU_SYNC, 0);
  element_class->set_context = sink_set_context;
  element_class->change_state = sink_change_state;
  element_class->send_event = sink_send_event;
  sink_class->unlock = sink_unlock;
  sink_class->unlock_stop = sink_unlock_stop;
  sink_class->get_caps = sink_get_caps;
  sink_class->set_caps = sink_set_caps;
  sink_class->get_times = gst_cuframes_sink_get_times;
  sink_class->propose_allocation = sink_propose_allocation;
  sink_class->query = sink_query;
  sink_class->render = gst_cuframes_sink_render;
  sink_class->event = sink_event;
}

static void
gst_cuframes_sink_init (GstCuframesSink * self)
{
  gst_cuframes_sink_settings_init (&self->settings);
  gst_cuframes_key_units_init (&self->key_units);
  self->early = g_array_new (FALSE, FALSE, sizeof (gint));
  /* The last sample would keep a slot for as long as the element plays. */
  gst_base_sink_set_last_sample_enabled (GST_BASE_SINK (self), FALSE);
}
