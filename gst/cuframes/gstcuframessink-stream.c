/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The sink's streaming thread: gives each buffer its moment and publishes it, and passes events on in their place. Knows nothing of states and
 * properties. */
#include "gstcuframescodec.h"
#include "gstcuframessink-private.h"

#define GST_CAT_DEFAULT gst_cuframes_sink_debug

/* The first packets of a stream with pictures out of order are to be decoded before it begins. The base class would not wait with them, not even for the
 * pipeline to play. */
void
gst_cuframes_sink_get_times (GstBaseSink * sink, GstBuffer * buffer, GstClockTime * start, GstClockTime * end)
{
  GST_BASE_SINK_CLASS (g_type_class_peek_static (GST_TYPE_BASE_SINK))->get_times (sink, buffer, start, end);
  if (!GST_CLOCK_TIME_IS_VALID (*start) || *start >= sink->segment.start || !GST_BUFFER_PTS_IS_VALID (buffer))
    return;
  *start = MIN (GST_BUFFER_PTS (buffer), sink->segment.start);
  *end = GST_BUFFER_DURATION_IS_VALID (buffer) ? *start + GST_BUFFER_DURATION (buffer) : GST_CLOCK_TIME_NONE;
}

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

static GstClockTime
ask_upstream_latency (GstCuframesSink * self)
{
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min = 0;
  gboolean live = FALSE;

  if (gst_pad_peer_query (GST_BASE_SINK_PAD (self), query))
    gst_query_parse_latency (query, &live, &min, NULL);
  gst_query_unref (query);
  return live ? min : 0;
}

/* How much later than its moment a frame is published. A sink that waits for the moment is as late as its whole pipeline has agreed on; one that does
 * not is as late as upstream is, which the base class does not ask then. */
static GstClockTime
find_latency (GstCuframesSink * self)
{
  GstBaseSink *sink = GST_BASE_SINK (self);

  if (gst_base_sink_get_sync (sink))
    return gst_base_sink_get_latency (sink);
  if (g_atomic_int_compare_and_exchange (&self->latency_is_old, TRUE, FALSE))
    self->upstream_latency = ask_upstream_latency (self);
  return self->upstream_latency;
}

static void
tell_latency (GstCuframesSink * self)
{
  const GstClockTime latency = find_latency (self);
  guint8 bytes[8];

  if (latency == self->told_latency)
    return;
  self->told_latency = latency;
  GST_WRITE_UINT64_LE (bytes, latency);
  cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_LATENCY, GST_CUFRAMES_STICKY_LATENCY, bytes, sizeof bytes);
}

/* Lets the first frame through only when as many subscribers as wished are there. They are told of its ring first: one that needs a GPU for it opens
 * that, and comes again, and counts only then. */
static GstFlowReturn
wait_for_subscribers (GstCuframesSink * self, GstBuffer * buffer)
{
  const guint count = self->settings.wait_for_subscribers;

  if (!self->waited && count > 0 && !self->in_packets && gst_buffer_get_size (buffer) > 0
      && !gst_cuframes_publication_announce (self->publication, buffer))
    return GST_FLOW_ERROR;
  while (!self->waited) {
    GstFlowReturn flow;
    if (cuframes_publisher_wait_subscribers (self->publisher, count, CUFRAMES_NONE) == 0) {
      self->waited = TRUE;
      break;
    }
    flow = gst_base_sink_wait_preroll (GST_BASE_SINK (self));
    if (flow != GST_FLOW_OK)
      return flow;
  }
  return GST_FLOW_OK;
}

static GstCuframesPublishResult
publish (GstCuframesSink * self, GstBuffer * buffer, GError ** error)
{
  const guint64 moment_ns = find_moment (self, buffer);
  gboolean is_key = FALSE;

  if (!self->in_packets)
    return gst_cuframes_publication_publish (self->publication, buffer, moment_ns, error);
  if (!gst_cuframes_packet_publication_publish (self->packets, buffer, moment_ns, &is_key, error))
    return GST_CUFRAMES_PUBLISH_FAILED;
  gst_cuframes_key_units_pass (&self->key_units, GST_BASE_SINK_PAD (self), is_key);
  return GST_CUFRAMES_PUBLISH_OK;
}

/* There is no frame for a while: GStreamer's other way to say so is a gap. */
static void
pass_empty (GstCuframesSink * self, GstBuffer * buffer)
{
  GstEvent *gap;

  if (!GST_BUFFER_PTS_IS_VALID (buffer))
    return;
  gap = gst_event_new_gap (GST_BUFFER_PTS (buffer), GST_BUFFER_DURATION (buffer));
  gst_cuframes_sink_forward_event (self, gap);
  gst_event_unref (gap);
}

GstFlowReturn
gst_cuframes_sink_render (GstBaseSink * sink, GstBuffer * buffer)
{
  GstCuframesSink *self = GST_CUFRAMES_SINK (sink);
  GstCuframesPublishResult result = GST_CUFRAMES_PUBLISH_CANCELLED;
  GError *error = NULL;
  GstFlowReturn flow;

  if (!self->has_caps) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("The stream does not say what it is: put typefind, a parser or a caps filter before the sink"), (NULL));
    return GST_FLOW_ERROR;
  }
  flow = wait_for_subscribers (self, buffer);
  if (flow == GST_FLOW_OK && !self->in_packets && gst_buffer_get_size (buffer) == 0) {
    pass_empty (self, buffer);
    return GST_FLOW_OK;
  }
  while (flow == GST_FLOW_OK && result == GST_CUFRAMES_PUBLISH_CANCELLED) {
    tell_latency (self);
    result = publish (self, buffer, &error);
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

/* An event becomes one of the channel, behind the buffers that came before it. */
void
gst_cuframes_sink_forward_event (GstCuframesSink * self, GstEvent * event)
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
    GST_ELEMENT_WARNING (self, STREAM, ENCODE, ("An event of %" G_GSIZE_FORMAT " bytes is left out: there is no memory "
            "for it, or there are too many sticky events", size),
        ("%" GST_PTR_FORMAT, event));
  g_bytes_unref (bytes);
}

/* The stream goes on behind its end: who joins from now on is not to be told of it. The event that takes its place says
 * nothing: who joins hears of the latency by another, which may come before this one. */
void
gst_cuframes_sink_forget_end (GstCuframesSink * self)
{
  guint8 bytes[8];

  self->ended = FALSE;
  GST_WRITE_UINT64_LE (bytes, GST_CLOCK_TIME_NONE);
  cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_LATENCY, GST_EVENT_EOS, bytes, sizeof bytes);
}
