/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The source's streaming thread: joins the channel, and makes of what it brings buffers, events and errors, in its order. Each function that
 * returns a flow says GST_FLOW_OK to go on. Knows nothing of states and properties. */
#include <errno.h>
#include <string.h>

#include "gstcuframeschannel.h"
#include "gstcuframescodec.h"
#include "gstcuframessrc-private.h"

#define GST_CAT_DEFAULT gst_cuframes_src_debug

/* A ring is announced just before its first packet, and a key point may be on its way. */
#define KEY_POINT_PATIENCE_NS (20 * GST_MSECOND)
#define OVERRUN_LOOK_NS GST_SECOND

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
              cuframes_subscriber_get_refusal (self->subscriber), self->gpu != NULL ? "; this element uses " :
              cuframes_subscriber_was_refused_for_memory (self->subscriber) ? "; set cuda-device-id" : "",
              self->gpu == NULL ? "" : gst_cuframes_gpu_get_name (self->gpu)), (NULL));
      break;
    case CUFRAMES_E_CLOSED:
      GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("The other end of %s has hung up", self->path), (NULL));
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

/* The publisher's frames are in GPU memory: a GPU is looked for only now, so that nobody else pays for a context. */
static GstFlowReturn
take_gpu (GstCuframesSrc * self)
{
  gchar *text = NULL, *why;

  self->gpu = gst_cuframes_gpu_new (GST_ELEMENT (self), self->settings.cuda_device_id, &self->cuda_context, &text);
  if (self->gpu == NULL) {
    why = self->by_socket ? g_strdup ("") : g_strdup_printf ("The frames of %s are in GPU memory. ", self->path);
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("%s%s", why, text), (NULL));
    g_free (why);
    g_free (text);
    return GST_FLOW_ERROR;
  }
  gst_cuframes_subscription_set_gpu (self->subscription, self->gpu);
  gst_cuframes_gpu_let_import (self->gpu, self->subscriber);
  return GST_FLOW_OK;
}

/* Over a socket there is no second try: whoever wants frames in GPU memory says so before. */
static GstFlowReturn
take_gpu_ahead (GstCuframesSrc * self)
{
  return self->by_socket && self->gpu == NULL && self->settings.cuda_device_id >= 0 ? take_gpu (self) : GST_FLOW_OK;
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
  gst_cuframes_src_set_flushing (self, FALSE);
  g_mutex_lock (&src->live_lock);
  ending = self->ending;
  g_mutex_unlock (&src->live_lock);
  return ending || GST_PAD_IS_FLUSHING (pad) ? GST_FLOW_FLUSHING : GST_FLOW_OK;
}

static gint
connect_or_adopt (GstCuframesSrc * self)
{
  const gint fd = self->socket_fd;

  if (!self->by_socket)
    return cuframes_subscriber_connect (self->subscriber, self->was_connected ? CUFRAMES_NONE : self->settings.connect_timeout_ns);
  self->socket_fd = -1;
  return cuframes_subscriber_adopt (self->subscriber, fd, self->settings.connect_timeout_ns);
}

static GstFlowReturn
join (GstCuframesSrc * self)
{
  gint r;

  GST_DEBUG_OBJECT (self, "looking for the publisher of %s", self->path);
  if (take_gpu_ahead (self) != GST_FLOW_OK)
    return GST_FLOW_ERROR;
  r = connect_or_adopt (self);
  if (r == CUFRAMES_E_CANCELLED)
    return stop_if_flushing (self);
  if (r == CUFRAMES_E_TIMEOUT && self->settings.connect_timeout_ns == CUFRAMES_NONE)
    return GST_FLOW_OK;
  if (r == CUFRAMES_E_REFUSED && self->gpu == NULL && !self->by_socket && cuframes_subscriber_was_refused_for_memory (self->subscriber))
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
  if (bye == CUFRAMES_BYE_MEMORY && !self->by_socket)
    return self->gpu == NULL ? take_gpu (self) : GST_FLOW_OK;
  if (bye == CUFRAMES_BYE_PROTOCOL) {
    GST_ELEMENT_ERROR (self, RESOURCE, READ, ("The publisher of %s and this element do not understand each other: install the same release on "
            "both sides", self->path), (NULL));
    return GST_FLOW_ERROR;
  }
  if (bye == CUFRAMES_BYE_EVICTED || bye == CUFRAMES_BYE_STALLED)
    GST_ELEMENT_WARNING (self, RESOURCE, READ, ("The publisher of %s took this subscriber off the channel: it was too slow", self->path), (NULL));
  if (self->settings.reconnect && !self->by_socket)
    return GST_FLOW_OK;
  if (bye == CUFRAMES_BYE_SHUTDOWN)
    return GST_FLOW_EOS;
  GST_ELEMENT_ERROR (self, RESOURCE, READ, ("The publisher of %s has gone; %s", self->path, !self->by_socket ? "set reconnect=true to wait for it" :
          bye == CUFRAMES_BYE_MEMORY ? "its frames are in GPU memory now: set cuda-device-id" : "make another connection"), (NULL));
  return GST_FLOW_ERROR;
}

/* The base class makes up what a packet has no time stamp for. Where the parts of a picture follow each other that is wrong. */
static GstPadProbeReturn
give_stamps_back (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  GstCuframesSrc *self = user_data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);

  if (self->in_packets && (GST_BUFFER_PTS (buffer) != self->pts || GST_BUFFER_DTS (buffer) != self->dts)) {
    buffer = gst_buffer_make_writable (buffer);
    GST_BUFFER_PTS (buffer) = self->pts;
    GST_BUFFER_DTS (buffer) = self->dts;
    GST_PAD_PROBE_INFO_DATA (info) = buffer;
  }
  return GST_PAD_PROBE_OK;
}

static GstFlowReturn
take_format (GstCuframesSrc * self, const CuframesItem * item)
{
  GError *error = NULL;
  GstCaps *caps;

  self->in_packets = item->ring_kind == CUFRAMES_RING_PACKETS;
  self->wants_headers = TRUE;
  self->headers_in_stream = FALSE;
  self->asked = FALSE;
  if (self->in_packets && self->probe == 0)
    self->probe = gst_pad_add_probe (GST_BASE_SRC_PAD (self), GST_PAD_PROBE_TYPE_BUFFER, give_stamps_back, self, NULL);
  if (self->in_packets) {
    gst_cuframes_subscription_end (self->subscription);
    caps = gst_cuframes_packet_subscription_set_format (self->packets, item->bytes, item->byte_count, &error);
  } else
    caps = gst_cuframes_subscription_set_format (self->subscription, item->bytes, item->byte_count, &error);
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
    case GST_EVENT_EOS:        /* and ends by another kind of event */
      break;
    case GST_EVENT_SEGMENT:
      if (self->settings.timestamps == GST_CUFRAMES_TIMESTAMPS_ORIGINAL)
        take_segment (self, event);
      break;
    case GST_EVENT_GAP:
      if (self->settings.timestamps == GST_CUFRAMES_TIMESTAMPS_ORIGINAL)
        gst_pad_push_event (GST_BASE_SRC_PAD (self), g_steal_pointer (&event));
      break;
    default:
      if (!GST_EVENT_IS_DOWNSTREAM (event))
        GST_WARNING_OBJECT (self, "an event that goes upstream is left out");
      else if (gst_event_has_name (event, GST_CUFRAMES_HEADERS_EVENT))
        gst_structure_get_boolean (gst_event_get_structure (event), "in-stream", &self->headers_in_stream);
      else
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
stamp_frame (GstCuframesSrc * self, GstBuffer * buffer, guint64 moment_ns)
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

/* The same for a packet; one that was due before this pipeline was keeps its place among the others. */
static void
stamp_packet (GstCuframesSrc * self, GstBuffer * buffer, guint64 moment_ns)
{
  const GstClockTime pts = GST_BUFFER_PTS (buffer), dts = GST_BUFFER_DTS (buffer);
  GstClockTime running_time;
  gint64 presentation, decoding;
  gint sign;

  GST_BUFFER_PTS (buffer) = GST_BUFFER_DTS (buffer) = GST_CLOCK_TIME_NONE;
  if (moment_ns == CUFRAMES_NONE || !gst_cuframes_timing_follow (&self->timing, GST_ELEMENT (self)))
    return;
  sign = gst_cuframes_clock_to_running_time_full (&self->timing.clock, moment_ns, &running_time);
  if (sign == 0)
    return;
  presentation = decoding = sign < 0 ? -(gint64) running_time : (gint64) running_time;
  GST_LOG_OBJECT (self, "a packet is due at %s%" GST_TIME_FORMAT, sign < 0 ? "-" : "", GST_TIME_ARGS (running_time));
  if (GST_CLOCK_TIME_IS_VALID (pts) && GST_CLOCK_TIME_IS_VALID (dts))
    decoding -= GST_CLOCK_DIFF (dts, pts);
  gst_cuframes_past_look (&self->past, MIN (presentation, decoding));
  if (GST_CLOCK_TIME_IS_VALID (pts))
    GST_BUFFER_PTS (buffer) = gst_cuframes_past_place (&self->past, presentation);
  if (GST_CLOCK_TIME_IS_VALID (dts))
    GST_BUFFER_DTS (buffer) = gst_cuframes_past_place (&self->past, decoding);
}

static void
count_overrun (GstCuframesSrc * self, const CuframesItem * item)
{
  if (item->missed == 0)
    return;
  self->discont = TRUE;
  GST_OBJECT_LOCK (self);
  self->overruns++;
  GST_OBJECT_UNLOCK (self);
}

/* What both kinds of stream have. */
static void
finish_buffer (GstCuframesSrc * self, GstBuffer * buffer, guint64 moment_ns)
{
  if (self->settings.timestamps == GST_CUFRAMES_TIMESTAMPS_SYNCHRONISED)
    (self->in_packets ? stamp_packet : stamp_frame) (self, buffer, moment_ns);
  if (self->discont)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  self->discont = FALSE;
}

static GstFlowReturn
take_frame (GstCuframesSrc * self, const CuframesItem * item, GstBuffer ** buffer)
{
  const guint64 moment_ns = item->info->moment_ns;
  gboolean copied = FALSE;
  GError *error = NULL;

  count_overrun (self, item);
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
  finish_buffer (self, *buffer, moment_ns);
  return GST_FLOW_OK;
}

/* A decoder that begins here needs the headers that have passed long ago. Where none have passed it reads the caps. */
static GstBuffer *
put_headers_before (GstCuframesSrc * self, GstBuffer * packet)
{
  GstBuffer *first;

  self->wants_headers = FALSE;
  if (!self->headers_in_stream)
    return packet;
  gst_cuframes_packet_subscription_get_headers (self->packets, packet, &self->ready);
  if (g_queue_is_empty (&self->ready))
    return packet;
  g_queue_push_tail (&self->ready, packet);
  first = g_queue_pop_head (&self->ready);
  GST_BUFFER_FLAG_SET (first, GST_BUFFER_FLAG_DISCONT);
  return first;
}

static GstFlowReturn
take_packet (GstCuframesSrc * self, const CuframesItem * item, GstBuffer ** buffer)
{
  const CuframesPacketInfo info = *item->packet_info;
  GError *error = NULL;

  self->asked = FALSE;
  count_overrun (self, item);
  *buffer = gst_cuframes_packet_subscription_take (self->packets, self->subscriber, &info, &error);
  if (error != NULL) {
    GST_ELEMENT_ERROR (self, RESOURCE, NO_SPACE_LEFT, ("%s", error->message), (NULL));
    g_clear_error (&error);
    return GST_FLOW_ERROR;
  }
  if (*buffer == NULL) {
    GST_DEBUG_OBJECT (self, "packet %" G_GUINT64_FORMAT " was overwritten", info.sequence);
    return GST_FLOW_OK;
  }
  finish_buffer (self, *buffer, info.moment_ns);
  if (self->wants_headers)
    *buffer = put_headers_before (self, *buffer);
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
    case CUFRAMES_ITEM_PACKET:
      return take_packet (self, item, buffer);
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

/* Before it waits long for a key point that is not there, it asks for one. */
static gint
wait_for_item (GstCuframesSrc * self, CuframesItem * item)
{
  gint r;

  if (self->in_packets && !self->asked) {
    r = cuframes_subscriber_try_next (self->subscriber, item);
    if (r != CUFRAMES_E_EMPTY)
      return r;
    if (cuframes_subscriber_is_syncing (self->subscriber)) {
      r = cuframes_subscriber_next (self->subscriber, KEY_POINT_PATIENCE_NS, item);
      if (r != CUFRAMES_E_TIMEOUT)
        return r;
      GST_DEBUG_OBJECT (self, "no key point is there: asking for one");
      self->asked = cuframes_subscriber_request_keyframe (self->subscriber, TRUE) == 0;
    }
  }
  /* An overrun may be found while it waits, and then a key point is missing again. */
  return cuframes_subscriber_next (self->subscriber, self->in_packets && !self->asked ? OVERRUN_LOOK_NS : CUFRAMES_NONE, item);
}

GstFlowReturn
gst_cuframes_src_create (GstPushSrc * src, GstBuffer ** buffer)
{
  GstCuframesSrc *self = GST_CUFRAMES_SRC (src);
  GstFlowReturn flow = GST_FLOW_OK;
  CuframesItem item;

  *buffer = g_queue_pop_head (&self->ready);
  gst_cuframes_subscription_prepare (self->subscription);
  while (flow == GST_FLOW_OK && *buffer == NULL) {
    const gint r = wait_for_item (self, &item);
    switch (r) {
      case 0:
        flow = take_item (self, &item, buffer);
        /* Where much comes that is no buffer nothing is waited for, and so no wait is cancelled. */
        if (flow == GST_FLOW_OK && *buffer == NULL)
          flow = stop_if_flushing (self);
        break;
      case CUFRAMES_E_TIMEOUT:
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
  if (*buffer != NULL) {
    self->pts = GST_BUFFER_PTS (*buffer);
    self->dts = GST_BUFFER_DTS (*buffer);
  }
  /* The error is on the bus; the base class would add another that says nothing. What is downstream ends either way. */
  return flow == GST_FLOW_ERROR ? GST_FLOW_EOS : flow;
}
