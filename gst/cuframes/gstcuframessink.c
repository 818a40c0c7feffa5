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
 * ## Example launch lines
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=NV12,width=1920,height=1080 ! cuframessink channel=test
 * ]| Publishes a test picture on channel "test".
 * |[
 * gst-launch-1.0 cuframessrc channel=test ! videoconvert ! autovideosink
 * ]| Shows it, as often as you like.
 *
 * Since: 0.1
 */
#include "gstcuframessink.h"

#include <gst/video/video.h>

#include "gstcuframeschannel.h"
#include "gstcuframescodec.h"
#include "gstcuframesenums.h"
#include "gstcuframesframe.h"
#include "gstcuframespublication.h"
#include "gstcuframestiming.h"

GST_DEBUG_CATEGORY_STATIC (gst_cuframes_sink_debug);
#define GST_CAT_DEFAULT gst_cuframes_sink_debug

#define DEFAULT_SLOTS 16
#define DEFAULT_OVERFLOW CUFRAMES_OVERFLOW_DROP
#define DEFAULT_OVERFLOW_TIMEOUT GST_SECOND
#define DEFAULT_MAX_SUBSCRIBERS 64
#define DEFAULT_MAX_LEASES 4
#define DEFAULT_SOCKET_MODE 0600
/* What upstream writes at a time if it does not say: one buffer, and one that waits for its moment in this element. */
#define PROPOSED_BUFFERS 2
#define KEYFRAME_INTERVAL_NS GST_SECOND

enum
{
  PROP_0,
  PROP_CHANNEL,
  PROP_SOCKET_PATH,
  PROP_SLOTS,
  PROP_OVERFLOW,
  PROP_OVERFLOW_TIMEOUT,
  PROP_MAX_SUBSCRIBERS,
  PROP_MAX_LEASES,
  PROP_WAIT_FOR_SUBSCRIBERS,
  PROP_SOCKET_MODE,
  PROP_ALLOW_UIDS,
  PROP_ALLOW_GIDS,
  PROP_CUDA_DEVICE_ID,
  PROP_GPU_SYNC,
  PROP_NUM_SUBSCRIBERS,
  PROP_STATS,
  N_PROPERTIES,
};

enum
{
  SIGNAL_SUBSCRIBER_ADDED,
  SIGNAL_SUBSCRIBER_REMOVED,
  SIGNAL_EVICT,
  N_SIGNALS,
};

struct _GstCuframesSink
{
  GstBaseSink parent;

  /* Under the object lock; read once in start() */
  gchar *channel;
  gchar *socket_path;
  guint slots;
  CuframesOverflow overflow;
  guint64 overflow_timeout_ns;
  guint max_subscribers;
  guint max_leases;
  guint wait_for_subscribers;
  guint socket_mode;
  gchar *allow_uids;
  gchar *allow_gids;
  gint cuda_device_id;
  GstCuframesGpuSync gpu_sync;
  CuframesPublisher *publisher; /* between start() and stop() */
  GstObject *cuda_context;      /* a GstCudaContext, from the neighbours or made here */

  /* Streaming thread */
  GstCuframesPublication *publication;
  GstCuframesGpu *gpu;          /* once caps ask for one */
  gboolean gpu_failed;          /* and there was none, which was said */
  GstCuframesTiming timing;
  GstClockTime told_latency;
  gboolean ended;               /* subscribers were told so */
  gboolean waited;

  gint64 last_keyframe_us;      /* server's thread */
};

static GParamSpec *properties[N_PROPERTIES];
static guint signals[N_SIGNALS];

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_CUFRAMES_VIDEO_CAPS));

G_DEFINE_TYPE (GstCuframesSink, gst_cuframes_sink, GST_TYPE_BASE_SINK);
GST_ELEMENT_REGISTER_DEFINE (cuframessink, "cuframessink", GST_RANK_NONE, GST_TYPE_CUFRAMES_SINK);

/* Callbacks of the publisher, in its server's thread */

static void
tell_subscriber (GstCuframesSink * self, guint signal, const CuframesSubscriberStats * subscriber)
{
  GstStructure *structure = gst_cuframes_channel_describe_subscriber (subscriber);

  g_signal_emit (self, signals[signal], 0, subscriber->id, structure);
  gst_structure_free (structure);
  g_object_notify_by_pspec (G_OBJECT (self), properties[PROP_NUM_SUBSCRIBERS]);
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
  const gint64 now = g_get_monotonic_time ();

  if (self->last_keyframe_us != 0 && now - self->last_keyframe_us < (gint64) (KEYFRAME_INTERVAL_NS / GST_USECOND))
    return;
  self->last_keyframe_us = now;
  gst_pad_push_event (GST_BASE_SINK_PAD (self), gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, all_headers, 0));
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

static gboolean
parse_access (GstCuframesSink * self, CuframesPublisherConfig * config, GArray ** uids, GArray ** gids, gchar ** text)
{
  if (self->allow_uids != NULL && (*uids = gst_cuframes_channel_parse_users (self->allow_uids, text)) == NULL)
    return FALSE;
  if (self->allow_gids != NULL && (*gids = gst_cuframes_channel_parse_groups (self->allow_gids, text)) == NULL)
    return FALSE;
  if (*uids != NULL) {
    config->allow_uids = (const guint32 *) (*uids)->data;
    config->allow_uid_count = (*uids)->len;
  }
  if (*gids != NULL) {
    config->allow_gids = (const guint32 *) (*gids)->data;
    config->allow_gid_count = (*gids)->len;
  }
  return TRUE;
}

/* Opens the channel. On failure text says why. */
static gboolean
open_channel (GstCuframesSink * self, CuframesPublisher ** publisher, gchar ** text)
{
  CuframesPublisherConfig config = {
    .socket_mode = self->socket_mode,.max_subscribers = self->max_subscribers,.max_leases = self->max_leases,
    .overflow = self->overflow,.overflow_timeout_ns = self->overflow_timeout_ns,.callbacks = &callbacks,.user_data = self,
  };
  GArray *uids = NULL, *gids = NULL;
  gchar *path = NULL;
  gboolean good;
  gint r;

  if (self->wait_for_subscribers > self->max_subscribers) {
    *text = g_strdup_printf ("wait-for-subscribers is %u, but max-subscribers lets in %u at most: raise it", self->wait_for_subscribers,
        self->max_subscribers);
    return FALSE;
  }
  good = gst_cuframes_channel_resolve (self->channel, self->socket_path, &path, text) && parse_access (self, &config, &uids, &gids, text);
  if (good) {
    config.socket_path = path;
    r = cuframes_publisher_new (&config, publisher);
    good = r == 0;
    if (good)
      GST_INFO_OBJECT (self, "publishing on %s", path);
    else
      *text = gst_cuframes_channel_explain_open (path, r);
  }
  g_clear_pointer (&uids, g_array_unref);
  g_clear_pointer (&gids, g_array_unref);
  g_free (path);
  return good;
}

static void
on_pool_error (gpointer user_data, const gchar * text)
{
  GST_ELEMENT_ERROR (user_data, RESOURCE, NO_SPACE_LEFT, ("%s", text), (NULL));
}

static gboolean
open_publisher (GstCuframesSink * self)
{
  CuframesPublisher *publisher = NULL;
  gchar *text = NULL;

  if (!open_channel (self, &publisher, &text)) {
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_WRITE, ("%s", text), (NULL));
    g_free (text);
    return FALSE;
  }
  gst_cuframes_timing_clear (&self->timing);
  self->told_latency = GST_CLOCK_TIME_NONE;
  self->ended = FALSE;
  self->waited = FALSE;
  self->gpu_failed = FALSE;
  self->publication = gst_cuframes_publication_new (GST_ELEMENT (self), publisher, self->slots, on_pool_error);
  GST_OBJECT_LOCK (self);
  self->publisher = publisher;
  GST_OBJECT_UNLOCK (self);
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
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_clear_object (&self->cuda_context);
  gst_cuframes_timing_clear (&self->timing);
  GST_PAD_STREAM_UNLOCK (GST_BASE_SINK_PAD (self));
  cuframes_publisher_free (publisher);
}

/* The base class would add a message of its own to ours if this were its start(). */
static GstStateChangeReturn
sink_change_state (GstElement * element, GstStateChange transition)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (element);
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !open_publisher (self))
    return GST_STATE_CHANGE_FAILURE;
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
  self->gpu = gst_cuframes_gpu_new (GST_ELEMENT (self), self->cuda_device_id, &self->cuda_context, &text);
  if (self->gpu == NULL) {
    self->gpu_failed = TRUE;
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_WRITE, ("%s", text), (NULL));
    g_free (text);
    return FALSE;
  }
  gst_cuframes_publication_set_gpu (self->publication, self->gpu, self->gpu_sync == GST_CUFRAMES_GPU_SYNC_FENCE);
  return TRUE;
}

static gboolean
sink_set_caps (GstBaseSink * sink, GstCaps * caps)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (sink);
  GError *error = NULL;

  if (!ensure_gpu (self, caps))
    return FALSE;
  if (gst_cuframes_publication_set_caps (self->publication, caps, &error))
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
  if (gst_cuframes_gpu_answer_query (GST_ELEMENT (sink), query, GST_CUFRAMES_SINK (sink)->cuda_context))
    return TRUE;
  return GST_BASE_SINK_CLASS (gst_cuframes_sink_parent_class)->query (sink, query);
}

static void
sink_set_context (GstElement * element, GstContext * context)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (element);

  gst_cuframes_gpu_set_context (element, context, self->cuda_device_id, &self->cuda_context);
  GST_ELEMENT_CLASS (gst_cuframes_sink_parent_class)->set_context (element, context);
}

/* Streaming */

/* When the frame is due, on the clock that every process of the host shares. */
static guint64
find_moment (GstCuframesSink * self, GstBuffer * buffer)
{
  const GstSegment *segment = &GST_BASE_SINK (self)->segment;
  guint64 running_time;
  gint sign;

  if (segment->format != GST_FORMAT_TIME || !GST_CLOCK_TIME_IS_VALID (GST_BUFFER_DTS_OR_PTS (buffer)))
    return CUFRAMES_NONE;
  if (!gst_cuframes_timing_follow (&self->timing, GST_ELEMENT (self)))
    return CUFRAMES_NONE;
  sign = gst_segment_to_running_time_full (segment, GST_FORMAT_TIME,
      GST_BUFFER_PTS_IS_VALID (buffer) ? GST_BUFFER_PTS (buffer) : GST_BUFFER_DTS (buffer), &running_time);
  return sign == 0 ? CUFRAMES_NONE : gst_cuframes_clock_to_monotonic_full (&self->timing.clock, sign, running_time);
}

static void
tell_latency (GstCuframesSink * self)
{
  const GstClockTime latency = gst_base_sink_get_latency (GST_BASE_SINK (self));
  guint8 bytes[8];

  if (latency == self->told_latency)
    return;
  self->told_latency = latency;
  GST_WRITE_UINT64_LE (bytes, latency);
  cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_LATENCY, GST_CUFRAMES_STICKY_LATENCY, bytes, sizeof bytes);
}

/* Lets the first frame through only when as many subscribers as wished are there. */
static GstFlowReturn
wait_for_subscribers (GstCuframesSink * self)
{
  while (!self->waited) {
    GstFlowReturn flow;
    if (cuframes_publisher_wait_subscribers (self->publisher, self->wait_for_subscribers, CUFRAMES_NONE) == 0) {
      self->waited = TRUE;
      break;
    }
    flow = gst_base_sink_wait_preroll (GST_BASE_SINK (self));
    if (flow != GST_FLOW_OK)
      return flow;
  }
  return GST_FLOW_OK;
}

static GstFlowReturn
sink_render (GstBaseSink * sink, GstBuffer * buffer)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (sink);
  GstFlowReturn flow = wait_for_subscribers (self);
  GstCuframesPublishResult result = GST_CUFRAMES_PUBLISH_CANCELLED;
  GError *error = NULL;

  while (flow == GST_FLOW_OK && result == GST_CUFRAMES_PUBLISH_CANCELLED) {
    tell_latency (self);
    result = gst_cuframes_publication_publish (self->publication, buffer, find_moment (self, buffer), &error);
    if (result == GST_CUFRAMES_PUBLISH_CANCELLED)
      flow = gst_base_sink_wait_preroll (sink);
  }
  if (result != GST_CUFRAMES_PUBLISH_FAILED)
    return flow;
  if (error != NULL)
    GST_ELEMENT_ERROR (self, RESOURCE, WRITE, ("%s", error->message), (NULL));
  g_clear_error (&error);
  return GST_FLOW_ERROR;
}

static void
forward_event (GstCuframesSink * self, GstEvent * event)
{
  GError *error = NULL;
  CuframesEventKind kind = GST_EVENT_TYPE (event) == GST_EVENT_EOS ? CUFRAMES_EVENT_EOS : CUFRAMES_EVENT_GST;
  GBytes *bytes = gst_cuframes_codec_event_to_bytes (event, &error);
  gsize size;
  gconstpointer data;

  if (bytes == NULL) {
    if (!g_error_matches (error, GST_CUFRAMES_CODEC_ERROR, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED))
      GST_ELEMENT_WARNING (self, STREAM, ENCODE, ("An event is left out: %s", error->message), ("%" GST_PTR_FORMAT, event));
    g_clear_error (&error);
    return;
  }
  data = g_bytes_get_data (bytes, &size);
  if (cuframes_publisher_send_event (self->publisher, kind, gst_cuframes_codec_event_sticky_key (event), data, size) != 0)
    GST_ELEMENT_WARNING (self, STREAM, ENCODE, ("An event is left out: no memory for its %" G_GSIZE_FORMAT " bytes", size),
        ("%" GST_PTR_FORMAT, event));
  g_bytes_unref (bytes);
}

/* The stream goes on behind its end: who joins from now on is not to be told of it. The event that takes its place says nothing new. */
static void
forget_end (GstCuframesSink * self)
{
  guint8 bytes[8];

  self->ended = FALSE;
  GST_WRITE_UINT64_LE (bytes, self->told_latency);
  cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_LATENCY, GST_EVENT_EOS, bytes, sizeof bytes);
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
    self->told_latency = GST_CLOCK_TIME_NONE;
    self->ended = FALSE;
  }
  gst_event_ref (event);
  good = GST_BASE_SINK_CLASS (gst_cuframes_sink_parent_class)->event (sink, event);
  if (forward && good)
    forward_event (self, event);
  if (good && type == GST_EVENT_EOS)
    self->ended = TRUE;
  if (good && type == GST_EVENT_FLUSH_STOP && self->ended)
    forget_end (self);
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

/* GObject */

static void
sink_set_property (GObject * object, guint id, const GValue * value, GParamSpec * spec)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_CHANNEL:
      g_free (self->channel);
      self->channel = g_value_dup_string (value);
      break;
    case PROP_SOCKET_PATH:
      g_free (self->socket_path);
      self->socket_path = g_value_dup_string (value);
      break;
    case PROP_SLOTS:
      self->slots = g_value_get_uint (value);
      break;
    case PROP_OVERFLOW:
      self->overflow = g_value_get_enum (value);
      break;
    case PROP_OVERFLOW_TIMEOUT:
      self->overflow_timeout_ns = g_value_get_uint64 (value);
      break;
    case PROP_MAX_SUBSCRIBERS:
      self->max_subscribers = g_value_get_uint (value);
      break;
    case PROP_MAX_LEASES:
      self->max_leases = g_value_get_uint (value);
      break;
    case PROP_WAIT_FOR_SUBSCRIBERS:
      self->wait_for_subscribers = g_value_get_uint (value);
      break;
    case PROP_SOCKET_MODE:
      self->socket_mode = g_value_get_uint (value);
      break;
    case PROP_ALLOW_UIDS:
      g_free (self->allow_uids);
      self->allow_uids = g_value_dup_string (value);
      break;
    case PROP_ALLOW_GIDS:
      g_free (self->allow_gids);
      self->allow_gids = g_value_dup_string (value);
      break;
    case PROP_CUDA_DEVICE_ID:
      self->cuda_device_id = g_value_get_int (value);
      break;
    case PROP_GPU_SYNC:
      self->gpu_sync = g_value_get_enum (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  }
  GST_OBJECT_UNLOCK (self);
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

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_CHANNEL:
      g_value_set_string (value, self->channel);
      break;
    case PROP_SOCKET_PATH:
      g_value_set_string (value, self->socket_path);
      break;
    case PROP_SLOTS:
      g_value_set_uint (value, self->slots);
      break;
    case PROP_OVERFLOW:
      g_value_set_enum (value, self->overflow);
      break;
    case PROP_OVERFLOW_TIMEOUT:
      g_value_set_uint64 (value, self->overflow_timeout_ns);
      break;
    case PROP_MAX_SUBSCRIBERS:
      g_value_set_uint (value, self->max_subscribers);
      break;
    case PROP_MAX_LEASES:
      g_value_set_uint (value, self->max_leases);
      break;
    case PROP_WAIT_FOR_SUBSCRIBERS:
      g_value_set_uint (value, self->wait_for_subscribers);
      break;
    case PROP_SOCKET_MODE:
      g_value_set_uint (value, self->socket_mode);
      break;
    case PROP_ALLOW_UIDS:
      g_value_set_string (value, self->allow_uids);
      break;
    case PROP_ALLOW_GIDS:
      g_value_set_string (value, self->allow_gids);
      break;
    case PROP_CUDA_DEVICE_ID:
      g_value_set_int (value, self->cuda_device_id);
      break;
    case PROP_GPU_SYNC:
      g_value_set_enum (value, self->gpu_sync);
      break;
    case PROP_NUM_SUBSCRIBERS:
      g_value_set_uint (value, count_subscribers (self));
      break;
    case PROP_STATS:
      g_value_take_boxed (value, gst_cuframes_channel_get_stats (self->publisher));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
sink_finalize (GObject * object)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (object);

  g_free (self->channel);
  g_free (self->socket_path);
  g_free (self->allow_uids);
  g_free (self->allow_gids);
  G_OBJECT_CLASS (gst_cuframes_sink_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass * object_class)
{
  const GParamFlags set_before = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  const GParamFlags read_only = G_PARAM_READABLE | G_PARAM_STATIC_STRINGS;

  properties[PROP_CHANNEL] = g_param_spec_string ("channel", "Channel", "Name of the channel to publish on", NULL, set_before);
  properties[PROP_SOCKET_PATH] = g_param_spec_string ("socket-path", "Socket path",
      "Path of the channel's socket, or @name for an abstract one, instead of a channel in the channels' directory", NULL, set_before);
  properties[PROP_SLOTS] = g_param_spec_uint ("slots", "Slots",
      "Frames that subscribers can see or hold at a time; what upstream writes at a time is added", CUFRAMES_SLOTS_MIN, CUFRAMES_SLOTS_MAX,
      DEFAULT_SLOTS, set_before);
  properties[PROP_OVERFLOW] = g_param_spec_enum ("overflow", "Overflow", "What to do when no slot is free for the next frame",
      GST_TYPE_CUFRAMES_OVERFLOW, DEFAULT_OVERFLOW, set_before);
  properties[PROP_OVERFLOW_TIMEOUT] = g_param_spec_uint64 ("overflow-timeout", "Overflow timeout",
      "With overflow=wait, how long to wait for one frame, in ns", 0, G_MAXUINT64, DEFAULT_OVERFLOW_TIMEOUT, set_before);
  properties[PROP_MAX_SUBSCRIBERS] = g_param_spec_uint ("max-subscribers", "Maximum of subscribers", "Subscribers that are let in at once",
      1, CUFRAMES_SUBSCRIBERS_MAX, DEFAULT_MAX_SUBSCRIBERS, set_before);
  properties[PROP_MAX_LEASES] = g_param_spec_uint ("max-leases", "Maximum of leases", "Frames that one subscriber may hold at once",
      1, CUFRAMES_SLOTS_MAX, DEFAULT_MAX_LEASES, set_before);
  properties[PROP_WAIT_FOR_SUBSCRIBERS] = g_param_spec_uint ("wait-for-subscribers", "Wait for subscribers",
      "Subscribers that must be there before the first frame is let through", 0, CUFRAMES_SUBSCRIBERS_MAX, 0, set_before);
  properties[PROP_SOCKET_MODE] = g_param_spec_uint ("socket-mode", "Socket mode", "Permissions of the socket's file (0600 octal is 384)",
      0, 0777, DEFAULT_SOCKET_MODE, set_before);
  properties[PROP_ALLOW_UIDS] = g_param_spec_string ("allow-uids", "Allowed users",
      "Users that may subscribe, by name or number, separated by commas; besides them the publisher's own and root. Not set: whoever "
      "the socket's mode lets in", NULL, set_before);
  properties[PROP_ALLOW_GIDS] = g_param_spec_string ("allow-gids", "Allowed groups",
      "Primary groups that may subscribe, by name or number, separated by commas; likewise", NULL, set_before);
  properties[PROP_CUDA_DEVICE_ID] = g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU to use for frames in GPU memory, -1 for "
      "the one of the element upstream", -1, G_MAXINT, -1, set_before);
  properties[PROP_GPU_SYNC] = g_param_spec_enum ("gpu-sync", "GPU synchronisation", "How a frame in GPU memory is known to be complete",
      GST_TYPE_CUFRAMES_GPU_SYNC, GST_CUFRAMES_GPU_SYNC_HOST, set_before);
  properties[PROP_NUM_SUBSCRIBERS] = g_param_spec_uint ("num-subscribers", "Number of subscribers", "Subscribers now", 0,
      G_MAXUINT, 0, read_only);
  properties[PROP_STATS] = g_param_spec_boxed ("stats", "Statistics", "Counters of the channel and of each subscriber", GST_TYPE_STRUCTURE,
      read_only);
  g_object_class_install_properties (object_class, N_PROPERTIES, properties);
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
  gst_element_class_set_static_metadata (element_class, "Frame sharing sink", "Sink/Video",
      "Publishes video frames to any number of processes of this host, without a copy", "gst-cuframes contributors");
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_OVERFLOW, 0);
  gst_type_mark_as_plugin_api (GST_TYPE_CUFRAMES_GPU_SYNC, 0);
  element_class->set_context = sink_set_context;
  element_class->change_state = sink_change_state;
  sink_class->unlock = sink_unlock;
  sink_class->unlock_stop = sink_unlock_stop;
  sink_class->set_caps = sink_set_caps;
  sink_class->propose_allocation = sink_propose_allocation;
  sink_class->query = sink_query;
  sink_class->render = sink_render;
  sink_class->event = sink_event;
}

static void
gst_cuframes_sink_init (GstCuframesSink * self)
{
  self->slots = DEFAULT_SLOTS;
  self->overflow = DEFAULT_OVERFLOW;
  self->overflow_timeout_ns = DEFAULT_OVERFLOW_TIMEOUT;
  self->max_subscribers = DEFAULT_MAX_SUBSCRIBERS;
  self->max_leases = DEFAULT_MAX_LEASES;
  self->socket_mode = DEFAULT_SOCKET_MODE;
  self->cuda_device_id = -1;
  /* The last sample would keep a slot for as long as the element plays. */
  gst_base_sink_set_last_sample_enabled (GST_BASE_SINK (self), FALSE);
}
