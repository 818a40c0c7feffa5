/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-cuframessrc
 * @title: cuframessrc
 * @see_also: cuframessink
 *
 * Receives the frames that a cuframessink in another process of this host publishes, without a copy. It may start before or after the
 * publisher, and goes on when a publisher comes back. Its buffers are read-only; each gives its slot back when it is freed.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 cuframessrc channel=cam1 ! videoconvert ! autovideosink
 * ]| Shows channel "cam1".
 * |[
 * gst-launch-1.0 cuframessrc channel=cam1 delivery=latest ! queue ! videoconvert ! x264enc ! mp4mux ! filesink location=cam1.mp4 -e
 * ]| Records it; when the encoder is too slow, it skips frames and costs nobody else anything.
 *
 * Since: 0.1
 */
#include "gstcuframessrc.h"

#include <errno.h>
#include <string.h>

#include "gstcuframeschannel.h"
#include "gstcuframescodec.h"
#include "gstcuframessubscription.h"
#include "gstcuframestiming.h"
#include "gstcuframesuri.h"

GST_DEBUG_CATEGORY_STATIC (gst_cuframes_src_debug);
#define GST_CAT_DEFAULT gst_cuframes_src_debug

#define DEFAULT_DELIVERY CUFRAMES_DELIVERY_FIFO
#define DEFAULT_START CUFRAMES_START_LATEST
#define DEFAULT_IO_MODE GST_CUFRAMES_IO_MODE_AUTO
#define DEFAULT_TIMESTAMPS GST_CUFRAMES_TIMESTAMPS_SYNCHRONISED
#define MAX_SPIN_US 1000000

enum
{
  PROP_0,
  PROP_CHANNEL,
  PROP_SOCKET_PATH,
  PROP_DELIVERY,
  PROP_START,
  PROP_IO_MODE,
  PROP_MAX_LEASES,
  PROP_RECONNECT,
  PROP_CONNECT_TIMEOUT,
  PROP_TIMESTAMPS,
  PROP_SPIN_US,
  PROP_CUDA_DEVICE_ID,
  PROP_STATS,
  N_PROPERTIES,
};

struct _GstCuframesSrc
{
  GstPushSrc parent;

  /* Under the object lock; read once in start() */
  gchar *channel;
  gchar *socket_path;
  CuframesDelivery delivery;
  CuframesStart start;
  GstCuframesIOMode io_mode;
  guint max_leases;
  gboolean reconnect;
  guint64 connect_timeout_ns;
  GstCuframesTimestamps timestamps;
  guint spin_us;
  gint cuda_device_id;
  CuframesSubscriber *subscriber;       /* between start() and stop() */
  GstObject *cuda_context;      /* a GstCudaContext, from the neighbours or made here */
  GstClockTime latency;         /* the publisher's */

  gboolean ending;              /* the application sent EOS; under the base class's live_lock */

  /* Streaming thread */
  gchar *path;
  GstCuframesSubscription *subscription;
  GstCuframesGpu *gpu;          /* once a publisher's frames ask for one */
  GstCuframesTiming timing;
  gboolean was_connected;
  gboolean discont;
};

static GParamSpec *properties[N_PROPERTIES];

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_CUFRAMES_VIDEO_CAPS));

G_DEFINE_TYPE_WITH_CODE (GstCuframesSrc, gst_cuframes_src, GST_TYPE_PUSH_SRC,
    G_IMPLEMENT_INTERFACE (GST_TYPE_URI_HANDLER, gst_cuframes_uri_handler_init));
GST_ELEMENT_REGISTER_DEFINE (cuframessrc, "cuframessrc", GST_RANK_NONE, GST_TYPE_CUFRAMES_SRC);

/* Opening and closing */

static gboolean
open_subscriber (GstCuframesSrc * self)
{
  CuframesSubscriberConfig config = {
    .delivery = self->delivery,.start = self->start,.max_leases = self->max_leases,.spin_ns = self->spin_us * G_GUINT64_CONSTANT (1000),
    .lossless = self->delivery == CUFRAMES_DELIVERY_FIFO,
  };
  CuframesSubscriber *subscriber = NULL;
  gchar *text = NULL;
  gint r;

  if (!gst_cuframes_channel_resolve (self->channel, self->socket_path, &self->path, &text)) {
    GST_ELEMENT_ERROR (self, RESOURCE, SETTINGS, ("%s", text), (NULL));
    g_free (text);
    return FALSE;
  }
  config.socket_path = self->path;
  r = cuframes_subscriber_new (&config, &subscriber);
  if (r != 0) {
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("Cannot subscribe: %s", g_strerror (-r)), (NULL));
    g_clear_pointer (&self->path, g_free);
    return FALSE;
  }
  gst_cuframes_timing_clear (&self->timing);
  self->subscription = gst_cuframes_subscription_new (GST_ELEMENT (self), self->io_mode);
  self->was_connected = FALSE;
  self->discont = TRUE;
  GST_OBJECT_LOCK (self);
  self->subscriber = subscriber;
  self->latency = 0;
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
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_clear_object (&self->cuda_context);
  gst_cuframes_timing_clear (&self->timing);
  g_clear_pointer (&self->path, g_free);
}

/* The base class would add a message of its own to ours if this were its start(). */
static GstStateChangeReturn
src_change_state (GstElement * element, GstStateChange transition)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (element);
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !open_subscriber (self))
    return GST_STATE_CHANGE_FAILURE;
  result = GST_ELEMENT_CLASS (gst_cuframes_src_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE))
    close_subscriber (self);
  return result;
}

/* The base class asks for this in every state when the application sends a flush or EOS event. */
static void
set_flushing (GstCuframesSrc * self, gboolean flushing)
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
  set_flushing (GST_CUFRAMES_SRC (src), TRUE);
  return TRUE;
}

static gboolean
src_unlock_stop (GstBaseSrc * src)
{
  set_flushing (GST_CUFRAMES_SRC (src), FALSE);
  return TRUE;
}

/* The base class ends the stream as soon as create() returns, which may be waiting for the end of a pause. */
static gboolean
src_send_event (GstElement * element, GstEvent * event)
{
  GstBaseSrc *src = GST_BASE_SRC (element);
  const GstEventType type = GST_EVENT_TYPE (event);

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

  if (gst_cuframes_gpu_answer_query (GST_ELEMENT (self), query, self->cuda_context))
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

/* Items of the channel. Each says GST_FLOW_OK to go on. */

static GstFlowReturn
fail_connect (GstCuframesSrc * self, gint r)
{
  gchar *text;

  switch (r) {
    case CUFRAMES_E_TIMEOUT:
      GST_ELEMENT_ERROR (self, RESOURCE, NOT_FOUND, ("Nobody publishes on %s: start the publisher, or raise connect-timeout", self->path), (NULL));
      break;
    case CUFRAMES_E_REFUSED:
      GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("The publisher of %s says no: %s%s%s", self->path,
              cuframes_subscriber_get_refusal (self->subscriber), self->gpu == NULL ? "" : "; this element uses ",
              self->gpu == NULL ? "" : gst_cuframes_gpu_get_name (self->gpu)), (NULL));
      break;
    case CUFRAMES_E_PEER:
      GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("What listens on %s is no publisher, or one of another release", self->path), (NULL));
      break;
    default:
      text = gst_cuframes_channel_explain_open (self->path, r);
      GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("%s", text), (NULL));
      g_free (text);
  }
  return GST_FLOW_ERROR;
}

static void
src_set_context (GstElement * element, GstContext * context)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (element);

  gst_cuframes_gpu_set_context (element, context, self->cuda_device_id, &self->cuda_context);
  GST_ELEMENT_CLASS (gst_cuframes_src_parent_class)->set_context (element, context);
}

/* The publisher's frames are in GPU memory: a GPU is looked for only now, so that nobody else pays for a context. */
static GstFlowReturn
take_gpu (GstCuframesSrc * self)
{
  gchar *text = NULL;

  self->gpu = gst_cuframes_gpu_new (GST_ELEMENT (self), self->cuda_device_id, &self->cuda_context, &text);
  if (self->gpu == NULL) {
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("The frames of %s are in GPU memory. %s", self->path, text), (NULL));
    g_free (text);
    return GST_FLOW_ERROR;
  }
  gst_cuframes_subscription_set_gpu (self->subscription, self->gpu);
  gst_cuframes_gpu_let_import (self->gpu, self->subscriber);
  return GST_FLOW_OK;
}

/* What to do when a wait was cancelled. A pause is waited out here. The base class does so too, but if the application plays again before it
 * has taken its lock, it takes FLUSHING for a stop and ends its task for good; and not every version of it takes the cancellation back.
 * A stop or an end is known before it cancels, so that what is looked at after the cancellation was taken back is not too old. */
static GstFlowReturn
stop_if_flushing (GstCuframesSrc * self)
{
  GstBaseSrc *src = GST_BASE_SRC (self);
  GstPad *pad = GST_BASE_SRC_PAD (src);
  gboolean ending;

  g_mutex_lock (&src->live_lock);
  while (!src->live_running && !GST_PAD_IS_FLUSHING (pad) && !self->ending)
    g_cond_wait (&src->live_cond, &src->live_lock);
  g_mutex_unlock (&src->live_lock);
  set_flushing (self, FALSE);
  g_mutex_lock (&src->live_lock);
  ending = self->ending;
  g_mutex_unlock (&src->live_lock);
  return ending || GST_PAD_IS_FLUSHING (pad) ? GST_FLOW_FLUSHING : GST_FLOW_OK;
}

static GstFlowReturn
join (GstCuframesSrc * self)
{
  gint r;

  GST_DEBUG_OBJECT (self, "looking for the publisher of %s", self->path);
  r = cuframes_subscriber_connect (self->subscriber, self->was_connected ? CUFRAMES_NONE : self->connect_timeout_ns);
  if (r == CUFRAMES_E_CANCELLED)
    return stop_if_flushing (self);
  if (r == CUFRAMES_E_TIMEOUT && self->connect_timeout_ns == CUFRAMES_NONE)
    return GST_FLOW_OK;
  if (r == CUFRAMES_E_REFUSED && self->gpu == NULL && cuframes_subscriber_was_refused_for_memory (self->subscriber))
    return take_gpu (self);
  return r == 0 ? GST_FLOW_OK : fail_connect (self, r);
}

static GstFlowReturn
leave (GstCuframesSrc * self, guint32 bye)
{
  GST_INFO_OBJECT (self, "the publisher of %s has gone (%u)", self->path, bye);
  self->discont = TRUE;
  if (bye == 0 || bye == CUFRAMES_BYE_SHUTDOWN)
    gst_cuframes_subscription_end (self->subscription);
  /* With a GPU already it comes back to be refused, in words. */
  if (bye == CUFRAMES_BYE_MEMORY)
    return self->gpu == NULL ? take_gpu (self) : GST_FLOW_OK;
  if (bye == CUFRAMES_BYE_PROTOCOL) {
    GST_ELEMENT_ERROR (self, RESOURCE, READ, ("The publisher of %s and this element do not understand each other: install the same release on "
            "both sides", self->path), (NULL));
    return GST_FLOW_ERROR;
  }
  if (bye == CUFRAMES_BYE_EVICTED || bye == CUFRAMES_BYE_STALLED)
    GST_ELEMENT_WARNING (self, RESOURCE, READ, ("The publisher of %s took this subscriber off the channel: it was too slow", self->path), (NULL));
  if (self->reconnect)
    return GST_FLOW_OK;
  if (bye == CUFRAMES_BYE_SHUTDOWN)
    return GST_FLOW_EOS;
  GST_ELEMENT_ERROR (self, RESOURCE, READ, ("The publisher of %s has gone; set reconnect=true to wait for it", self->path), (NULL));
  return GST_FLOW_ERROR;
}

static GstFlowReturn
take_format (GstCuframesSrc * self, const CuframesItem * item)
{
  GError *error = NULL;
  GstCaps *caps = gst_cuframes_subscription_set_format (self->subscription, item->bytes, item->byte_count, &error);

  if (caps == NULL) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("%s", error->message), (NULL));
    g_clear_error (&error);
    return GST_FLOW_ERROR;
  }
  GST_INFO_OBJECT (self, "format %" GST_PTR_FORMAT, caps);
  return gst_base_src_set_caps (GST_BASE_SRC (self), caps) ? GST_FLOW_OK : GST_FLOW_NOT_NEGOTIATED;
}

static void
take_latency (GstCuframesSrc * self, const CuframesItem * item)
{
  GstClockTime latency;

  if (item->byte_count != 8)
    return;
  memcpy (&latency, item->bytes, 8);
  latency = GUINT64_FROM_LE (latency);
  GST_OBJECT_LOCK (self);
  if (latency == self->latency || !GST_CLOCK_TIME_IS_VALID (latency))
    latency = GST_CLOCK_TIME_NONE;
  else
    self->latency = latency;
  GST_OBJECT_UNLOCK (self);
  if (latency != GST_CLOCK_TIME_NONE)
    gst_element_post_message (GST_ELEMENT (self), gst_message_new_latency (GST_OBJECT (self)));
}

/* The base class sends a segment with the buffer that follows it: later than the events in between, which are its own. So it is left to
 * the base class only as long as none was sent. */
static void
take_segment (GstCuframesSrc * self, GstEvent * event)
{
  GstBaseSrc *src = GST_BASE_SRC (self);
  GstEvent *sent = gst_pad_get_sticky_event (GST_BASE_SRC_PAD (src), GST_EVENT_SEGMENT, 0);
  const GstSegment *segment;

  gst_event_parse_segment (event, &segment);
  if (sent == NULL || segment->format != src->segment.format) {
    gst_base_src_new_segment (src, segment);
  } else {
    GST_OBJECT_LOCK (src);
    gst_segment_copy_into (segment, &src->segment);
    GST_OBJECT_UNLOCK (src);
    gst_pad_push_event (GST_BASE_SRC_PAD (src), gst_event_ref (event));
  }
  gst_clear_event (&sent);
}

/* A gap has no moment of its own: it follows the frames around it, and so it is passed on with the publisher's time stamps only. */
static void
take_gst_event (GstCuframesSrc * self, const CuframesItem * item)
{
  GError *error = NULL;
  GstEvent *event = gst_cuframes_codec_event_from_bytes (item->bytes, item->byte_count, &error);

  if (event == NULL) {
    GST_WARNING_OBJECT (self, "an event is left out: %s", error->message);
    g_clear_error (&error);
    return;
  }
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:       /* this element is a stream of its own */
      break;
    case GST_EVENT_SEGMENT:
      if (self->timestamps == GST_CUFRAMES_TIMESTAMPS_ORIGINAL)
        take_segment (self, event);
      break;
    case GST_EVENT_GAP:
      if (self->timestamps == GST_CUFRAMES_TIMESTAMPS_ORIGINAL)
        gst_pad_push_event (GST_BASE_SRC_PAD (self), g_steal_pointer (&event));
      break;
    default:
      gst_pad_push_event (GST_BASE_SRC_PAD (self), g_steal_pointer (&event));
  }
  gst_clear_event (&event);
}

static GstFlowReturn
take_event (GstCuframesSrc * self, const CuframesItem * item)
{
  switch (item->event_kind) {
    case CUFRAMES_EVENT_EOS:
      GST_INFO_OBJECT (self, "end of stream");
      return GST_FLOW_EOS;
    case CUFRAMES_EVENT_LATENCY:
      take_latency (self, item);
      return GST_FLOW_OK;
    case CUFRAMES_EVENT_GST:
      take_gst_event (self, item);
      return GST_FLOW_OK;
    default:
      return GST_FLOW_OK;
  }
}

/* The moment on the clock that every process of the host shares becomes running time here. The publisher's decoding time stamp keeps its
 * distance from the presentation's. */
static void
stamp (GstCuframesSrc * self, GstBuffer * buffer, guint64 moment_ns)
{
  const GstClockTime pts = GST_BUFFER_PTS (buffer), dts = GST_BUFFER_DTS (buffer);
  GstClockTime running_time = GST_CLOCK_TIME_NONE;
  GstClockTimeDiff distance;

  if (moment_ns != CUFRAMES_NONE && gst_cuframes_timing_follow (&self->timing, GST_ELEMENT (self)))
    running_time = gst_cuframes_clock_to_running_time (&self->timing.clock, moment_ns);
  GST_BUFFER_DTS (buffer) = GST_CLOCK_TIME_NONE;
  GST_BUFFER_PTS (buffer) = running_time;
  if (!GST_CLOCK_TIME_IS_VALID (dts) || !GST_CLOCK_TIME_IS_VALID (running_time))
    return;
  if (!GST_CLOCK_TIME_IS_VALID (pts)) {
    GST_BUFFER_PTS (buffer) = GST_CLOCK_TIME_NONE;
    GST_BUFFER_DTS (buffer) = running_time;
    return;
  }
  distance = GST_CLOCK_DIFF (dts, pts);
  if (distance < 0 || (GstClockTime) distance <= running_time)
    GST_BUFFER_DTS (buffer) = running_time - distance;
}

static GstFlowReturn
take_frame (GstCuframesSrc * self, const CuframesItem * item, GstBuffer ** buffer)
{
  const guint64 moment_ns = item->info->moment_ns;
  gboolean copied = FALSE;
  GError *error = NULL;

  *buffer = gst_cuframes_subscription_wrap (self->subscription, item->frame, &copied, &error);
  if (*buffer == NULL && error == NULL) {
    GST_WARNING_OBJECT (self, "a frame was never completed and is left out");
    self->discont = TRUE;
    return GST_FLOW_OK;
  }
  if (*buffer == NULL) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("%s", error->message), (NULL));
    g_clear_error (&error);
    return GST_FLOW_ERROR;
  }
  if (copied)
    cuframes_subscriber_count_copy (self->subscriber);
  if (self->timestamps == GST_CUFRAMES_TIMESTAMPS_SYNCHRONISED)
    stamp (self, *buffer, moment_ns);
  if (self->discont || item->missed > 0)
    GST_BUFFER_FLAG_SET (*buffer, GST_BUFFER_FLAG_DISCONT);
  self->discont = FALSE;
  return GST_FLOW_OK;
}

static GstFlowReturn
take_item (GstCuframesSrc * self, const CuframesItem * item, GstBuffer ** buffer)
{
  CuframesSubscriberCounters counters;

  switch (item->kind) {
    case CUFRAMES_ITEM_CONNECTED:
      GST_INFO_OBJECT (self, "joined %s", self->path);
      self->was_connected = TRUE;
      cuframes_subscriber_get_counters (self->subscriber, &counters);
      gst_cuframes_subscription_begin (self->subscription, counters.max_leases);
      return GST_FLOW_OK;
    case CUFRAMES_ITEM_FORMAT:
      return take_format (self, item);
    case CUFRAMES_ITEM_EVENT:
      return take_event (self, item);
    case CUFRAMES_ITEM_FRAME:
      return take_frame (self, item, buffer);
    case CUFRAMES_ITEM_DISCONNECTED:
      return leave (self, item->bye);
  }
  return GST_FLOW_OK;
}

static GstFlowReturn
fail_map (GstCuframesSrc * self)
{
  gchar *text = self->gpu == NULL ? NULL : gst_cuframes_gpu_explain (self->gpu);

  GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("The frames of %s are in memory that this element cannot map. %s", self->path,
          text != NULL ? text : ""), (NULL));
  g_free (text);
  return GST_FLOW_ERROR;
}

static GstFlowReturn
src_create (GstPushSrc * src, GstBuffer ** buffer)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (src);
  GstFlowReturn flow = GST_FLOW_OK;
  CuframesItem item;

  *buffer = NULL;
  gst_cuframes_subscription_prepare (self->subscription);
  while (flow == GST_FLOW_OK && *buffer == NULL) {
    const gint r = cuframes_subscriber_next (self->subscriber, CUFRAMES_NONE, &item);
    switch (r) {
      case 0:
        flow = take_item (self, &item, buffer);
        break;
      case CUFRAMES_E_ABSENT:
        flow = join (self);
        break;
      case CUFRAMES_E_CANCELLED:
        flow = stop_if_flushing (self);
        break;
      case CUFRAMES_E_HELD:
        flow = gst_cuframes_subscription_wait (self->subscription) ? GST_FLOW_OK : stop_if_flushing (self);
        break;
      case -ENODEV:
        flow = fail_map (self);
        break;
      default:
        GST_ELEMENT_ERROR (self, RESOURCE, READ, ("Cannot read from %s: %s", self->path, g_strerror (ABS (r))), (NULL));
        flow = GST_FLOW_ERROR;
    }
  }
  /* The error is on the bus; the base class would add another that says nothing. What is downstream ends either way. */
  return flow == GST_FLOW_ERROR ? GST_FLOW_EOS : flow;
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
      "missed", G_TYPE_UINT64, counters.missed, "copied", G_TYPE_UINT64, counters.copied, "wakeups", G_TYPE_UINT64, counters.wakeups,
      "leases-held", G_TYPE_UINT, counters.leases_held, "max-leases", G_TYPE_UINT, counters.max_leases,
      "sequence", G_TYPE_UINT64, counters.cursor, "head", G_TYPE_UINT64, counters.head, NULL);
}

static void
src_set_property (GObject * object, guint id, const GValue * value, GParamSpec * spec)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (object);

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
    case PROP_DELIVERY:
      self->delivery = g_value_get_enum (value);
      break;
    case PROP_START:
      self->start = g_value_get_enum (value);
      break;
    case PROP_IO_MODE:
      self->io_mode = g_value_get_enum (value);
      break;
    case PROP_MAX_LEASES:
      self->max_leases = g_value_get_uint (value);
      break;
    case PROP_RECONNECT:
      self->reconnect = g_value_get_boolean (value);
      break;
    case PROP_CONNECT_TIMEOUT:
      self->connect_timeout_ns = g_value_get_uint64 (value);
      break;
    case PROP_TIMESTAMPS:
      self->timestamps = g_value_get_enum (value);
      break;
    case PROP_SPIN_US:
      self->spin_us = g_value_get_uint (value);
      break;
    case PROP_CUDA_DEVICE_ID:
      self->cuda_device_id = g_value_get_int (value);
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
src_get_property (GObject * object, guint id, GValue * value, GParamSpec * spec)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_CHANNEL:
      g_value_set_string (value, self->channel);
      break;
    case PROP_SOCKET_PATH:
      g_value_set_string (value, self->socket_path);
      break;
    case PROP_DELIVERY:
      g_value_set_enum (value, self->delivery);
      break;
    case PROP_START:
      g_value_set_enum (value, self->start);
      break;
    case PROP_IO_MODE:
      g_value_set_enum (value, self->io_mode);
      break;
    case PROP_MAX_LEASES:
      g_value_set_uint (value, self->max_leases);
      break;
    case PROP_RECONNECT:
      g_value_set_boolean (value, self->reconnect);
      break;
    case PROP_CONNECT_TIMEOUT:
      g_value_set_uint64 (value, self->connect_timeout_ns);
      break;
    case PROP_TIMESTAMPS:
      g_value_set_enum (value, self->timestamps);
      break;
    case PROP_SPIN_US:
      g_value_set_uint (value, self->spin_us);
      break;
    case PROP_CUDA_DEVICE_ID:
      g_value_set_int (value, self->cuda_device_id);
      break;
    case PROP_STATS:
      g_value_take_boxed (value, get_stats (self));
      break;
    default:
      G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  }
  GST_OBJECT_UNLOCK (self);
}

static void
src_finalize (GObject * object)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (object);

  g_free (self->channel);
  g_free (self->socket_path);
  G_OBJECT_CLASS (gst_cuframes_src_parent_class)->finalize (object);
}

static void
install_properties (GObjectClass * object_class)
{
  const GParamFlags set_before = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;

  properties[PROP_CHANNEL] = g_param_spec_string ("channel", "Channel", "Name of the channel to receive", NULL, set_before);
  properties[PROP_SOCKET_PATH] = g_param_spec_string ("socket-path", "Socket path",
      "Path of the channel's socket, or @name for an abstract one, instead of a channel in the channels' directory", NULL, set_before);
  properties[PROP_DELIVERY] = g_param_spec_enum ("delivery", "Delivery", "Which frame comes next", GST_TYPE_CUFRAMES_DELIVERY,
      DEFAULT_DELIVERY, set_before);
  properties[PROP_START] = g_param_spec_enum ("start", "Start", "Which frame comes first", GST_TYPE_CUFRAMES_START, DEFAULT_START, set_before);
  properties[PROP_IO_MODE] = g_param_spec_enum ("io-mode", "I/O mode", "Whether frames are handed on where they are, or copied",
      GST_TYPE_CUFRAMES_IO_MODE, DEFAULT_IO_MODE, set_before);
  properties[PROP_MAX_LEASES] = g_param_spec_uint ("max-leases", "Maximum of leases",
      "Frames to hold at once, 0 for as many as the publisher allows", 0, CUFRAMES_SLOTS_MAX, 0, set_before);
  properties[PROP_RECONNECT] = g_param_spec_boolean ("reconnect", "Reconnect", "Wait for the publisher to come back when it goes", TRUE, set_before);
  properties[PROP_CONNECT_TIMEOUT] = g_param_spec_uint64 ("connect-timeout", "Connect timeout",
      "How long to wait for the publisher to appear at first, in ns; the maximum is for ever", 0, G_MAXUINT64, G_MAXUINT64, set_before);
  properties[PROP_TIMESTAMPS] = g_param_spec_enum ("timestamps", "Time stamps", "Which time stamps the buffers get",
      GST_TYPE_CUFRAMES_TIMESTAMPS, DEFAULT_TIMESTAMPS, set_before);
  properties[PROP_SPIN_US] = g_param_spec_uint ("spin-us", "Spin", "How long to look for the next frame before sleeping, in microseconds; takes "
      "a core and saves the wake-up", 0, MAX_SPIN_US, 0, set_before);
  properties[PROP_CUDA_DEVICE_ID] = g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU to use for frames in GPU memory, -1 for "
      "the one of the element downstream", -1, G_MAXINT, -1, set_before);
  properties[PROP_STATS] = g_param_spec_boxed ("stats", "Statistics", "Counters of this subscriber", GST_TYPE_STRUCTURE,
      G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPERTIES, properties);
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
  install_properties (object_class);
  gst_element_class_set_static_metadata (element_class, "Frame sharing source", "Source/Video",
      "Receives video frames that another process of this host publishes, without a copy", "gst-cuframes contributors");
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
  GST_PUSH_SRC_CLASS (klass)->create = src_create;
}

static void
gst_cuframes_src_init (GstCuframesSrc * self)
{
  GstBaseSrc *src = GST_BASE_SRC (self);

  self->delivery = DEFAULT_DELIVERY;
  self->start = DEFAULT_START;
  self->io_mode = DEFAULT_IO_MODE;
  self->reconnect = TRUE;
  self->connect_timeout_ns = CUFRAMES_NONE;
  self->cuda_device_id = -1;
  self->timestamps = DEFAULT_TIMESTAMPS;
  gst_base_src_set_live (src, TRUE);
  gst_base_src_set_format (src, GST_FORMAT_TIME);
  gst_base_src_set_do_timestamp (src, FALSE);
  /* The end of the publisher's segment is not the end of its stream. */
  gst_base_src_set_automatic_eos (src, FALSE);
}
