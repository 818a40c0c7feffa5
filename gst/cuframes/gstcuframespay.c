/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-cuframespay
 * @title: cuframespay
 * @see_also: cuframesdepay, cuframessink
 *
 * Turns each buffer into a small message that carries the descriptors of its memory, for an element that sends such messages over a unix
 * socket, such as multisocketsink. No data is copied if the memory is a sealed memory file, a DMA buffer or GPU memory that can be passed
 * on; the pool that this element proposes upstream has such memory. Memory that is none is copied once, counted in #cuframespay:stats. A
 * buffer is kept as it is until every receiver has let it go.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! video/x-raw,format=NV12,width=1920,height=1080 ! cuframespay ! appsink name=messages
 * ]| Makes messages; an application hands them, or the socket of a multisocketsink, to whom it likes: docs/pay.md.
 *
 * Since: 0.1
 */
#include "gstcuframespay.h"

#include <gst/video/video.h>

#include "gstcuframescodec.h"
#include "gstcuframesenums.h"
#include "gstcuframesexporter.h"
#include "gstcuframesmessage.h"

GST_DEBUG_CATEGORY_STATIC (gst_cuframes_pay_debug);
#define GST_CAT_DEFAULT gst_cuframes_pay_debug

#define DEFAULT_MAX_HELD 16
/* Slots of a pool: what upstream writes at a time comes on top. */
#define MOST_HELD 48
/* What upstream writes at a time if it does not say. */
#define PROPOSED_BUFFERS 2
#define LEAST_NUDGE_INTERVAL_US (10 * 1000)
#define MOST_NUDGE_INTERVAL_US (5 * G_USEC_PER_SEC)

enum
{
  PROP_0,
  PROP_MAX_HELD,
  PROP_WAIT_TIMEOUT,
  PROP_CUDA_DEVICE_ID,
  PROP_STATS,
  N_PROPERTIES,
};

struct _GstCuframesPay
{
  GstElement parent;

  GstPad *sinkpad, *srcpad;
  GstCuframesHolds *holds;      /* for the element's whole life: what a receiver keeps counts over every restart */

  /* Under the object lock */
  guint max_held;
  guint64 wait_timeout_ns;
  gint cuda_device_id;
  GstObject *cuda_context;      /* a GstCudaContext, from the neighbours or made here; under the element's lock */
  guint64 buffers, copies, drops, bytes;

  /* Streaming thread, between READY and PAUSED */
  GstCuframesExporter *exporter;
  GstCuframesGpu *gpu;          /* once caps ask for one */
  gboolean gpu_failed;
  gboolean caps_sent;
  gboolean state_changed;
  gboolean warned;
  gint64 next_nudge_us, nudge_interval_us;
};

static GParamSpec *properties[N_PROPERTIES];

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_CUFRAMES_MESSAGE_CAPS));

G_DEFINE_TYPE (GstCuframesPay, gst_cuframes_pay, GST_TYPE_ELEMENT);
GST_ELEMENT_REGISTER_DEFINE (cuframespay, "cuframespay", GST_RANK_NONE, GST_TYPE_CUFRAMES_PAY);

/* Negotiation */

static gboolean
ensure_gpu (GstCuframesPay * self, GstCaps * caps)
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
  gst_cuframes_exporter_set_gpu (self->exporter, self->gpu);
  return TRUE;
}

static gboolean
set_caps (GstCuframesPay * self, GstCaps * caps)
{
  GError *error = NULL;

  if (!ensure_gpu (self, caps))
    return FALSE;
  if (gst_cuframes_exporter_set_caps (self->exporter, caps, &error))
    return TRUE;
  GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("%s", error->message), ("caps %" GST_PTR_FORMAT, caps));
  g_clear_error (&error);
  return FALSE;
}

/* Pictures are written where the receivers read them. Other data comes in any size, for which a copy is less than a memory file each. */
static gboolean
propose_allocation (GstCuframesPay * self, GstQuery * query)
{
  GstBufferPool *pool;
  gboolean need_pool;
  GstVideoInfo info;
  GstCaps *caps;
  guint size;

  gst_query_parse_allocation (query, &caps, &need_pool);
  if (caps == NULL || self->exporter == NULL || !gst_video_info_from_caps (&info, caps)
      || GST_VIDEO_INFO_FORMAT (&info) <= GST_VIDEO_FORMAT_ENCODED || GST_VIDEO_INFO_SIZE (&info) == 0 || !ensure_gpu (self, caps))
    return FALSE;
  if (need_pool) {
    GstStructure *config;
    pool = gst_cuframes_exporter_make_pool (gst_cuframes_gpu_caps_are_gpu (caps) ? self->gpu : NULL, caps, GST_VIDEO_INFO_SIZE (&info),
        self->max_held, PROPOSED_BUFFERS);
    if (pool == NULL)
      return FALSE;
    config = gst_buffer_pool_get_config (pool);
    gst_buffer_pool_config_get_params (config, NULL, &size, NULL, NULL);
    gst_structure_free (config);
    gst_query_add_allocation_pool (query, pool, size, PROPOSED_BUFFERS, 0);
    gst_object_unref (pool);
  }
  gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
  return TRUE;
}

static gboolean
pay_sink_query (GstPad * pad, GstObject * parent, GstQuery * query)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (parent);

  if (gst_cuframes_gpu_answer_query (GST_ELEMENT (self), query, &self->cuda_context))
    return TRUE;
  if (GST_QUERY_TYPE (query) == GST_QUERY_ALLOCATION)
    return propose_allocation (self, query);
  return gst_pad_query_default (pad, parent, query);
}

static void
pay_set_context (GstElement * element, GstContext * context)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (element);

  gst_cuframes_gpu_set_context (element, context, self->cuda_device_id, &self->cuda_context);
  GST_ELEMENT_CLASS (gst_cuframes_pay_parent_class)->set_context (element, context);
}

/* Streaming */

static void
warn (GstCuframesPay * self, const gchar * what, GError * error)
{
  GST_WARNING_OBJECT (self, "%s: %s", what, error->message);
  if (!self->warned)
    GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("%s: %s", what, error->message), ("only the first time is told; see stats"));
  self->warned = TRUE;
  g_error_free (error);
}

static gboolean
collect_sticky (GstPad * pad, GstEvent ** event, gpointer user_data)
{
  GPtrArray *events = user_data;
  GBytes *bytes;

  switch (GST_EVENT_TYPE (*event)) {
    case GST_EVENT_SEGMENT:
    case GST_EVENT_TAG:
    case GST_EVENT_CUSTOM_DOWNSTREAM_STICKY:
      bytes = gst_cuframes_codec_event_to_bytes (*event, NULL);
      if (bytes != NULL)
        g_ptr_array_add (events, bytes);
      else
        GST_INFO_OBJECT (pad, "an event cannot travel: %" GST_PTR_FORMAT, *event);
      break;
    default:
      break;
  }
  return TRUE;
}

/* Every message says what it belongs to, so that a receiver may join at any time. */
static gboolean
update_state (GstCuframesPay * self)
{
  GError *error = NULL;
  GPtrArray *events;
  GBytes *state;
  GstCaps *caps;

  if (!self->state_changed)
    return TRUE;
  caps = gst_pad_get_current_caps (self->sinkpad);
  events = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  gst_pad_sticky_events_foreach (self->sinkpad, collect_sticky, events);
  state = gst_cuframes_message_state_to_bytes (caps, events, &error);
  g_ptr_array_unref (events);
  gst_clear_caps (&caps);
  if (state == NULL) {
    GST_ELEMENT_ERROR (self, STREAM, FORMAT, ("These caps or tags cannot be passed on: %s", error->message), (NULL));
    g_clear_error (&error);
    return FALSE;
  }
  gst_cuframes_exporter_take_state (self->exporter, state);
  self->state_changed = FALSE;
  return TRUE;
}

static void
send_caps (GstCuframesPay * self)
{
  GstCaps *caps;

  if (self->caps_sent)
    return;
  caps = gst_caps_new_empty_simple (GST_CUFRAMES_MESSAGE_CAPS);
  gst_pad_push_event (self->srcpad, gst_event_new_caps (caps));
  gst_caps_unref (caps);
  self->caps_sent = TRUE;
}

static void
send_event (GstCuframesPay * self, GstEvent * event)
{
  GError *error = NULL;
  GstBuffer *message;

  if (!update_state (self))
    return;
  send_caps (self);
  message = gst_cuframes_exporter_export_event (self->exporter, event, &error);
  if (message != NULL)
    gst_pad_push (self->srcpad, message);
  else if (g_error_matches (error, GST_CUFRAMES_CODEC_ERROR, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED)) {
    GST_INFO_OBJECT (self, "an event cannot travel: %s", error->message);
    g_clear_error (&error);
  } else
    warn (self, "An event was left out", error);
}

/* What receivers hear of in its place among the buffers. Sticky events go with the messages that follow. */
static gboolean
pay_sink_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (parent);
  GstCaps *caps;
  gboolean good;

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:
      gst_event_parse_caps (event, &caps);
      good = set_caps (self, caps);
      gst_event_unref (event);
      self->state_changed = TRUE;
      send_caps (self);
      return good;
    case GST_EVENT_GAP:
    case GST_EVENT_EOS:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_BOTH:
      send_event (self, event);
      break;
    case GST_EVENT_FLUSH_START:
      gst_cuframes_holds_set_flushing (self->holds, TRUE);
      break;
    case GST_EVENT_FLUSH_STOP:
      gst_cuframes_holds_set_flushing (self->holds, FALSE);
      break;
    case GST_EVENT_SEGMENT:
      send_caps (self);
      break;
    default:
      break;
  }
  if (GST_EVENT_IS_STICKY (event) || GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP)
    self->state_changed = TRUE;
  return gst_pad_event_default (pad, parent, event);
}

/* A multisocketsink lets go of what it has sent when the next message comes, not before: when there is no room it gets one that says nothing,
 * ever more seldom while that does not help. */
static GstFlowReturn
nudge (GstCuframesPay * self)
{
  GError *error = NULL;
  GstBuffer *message = gst_cuframes_exporter_export_nothing (self->exporter, &error);

  self->next_nudge_us = g_get_monotonic_time () + self->nudge_interval_us;
  self->nudge_interval_us = MIN (2 * self->nudge_interval_us, MOST_NUDGE_INTERVAL_US);
  if (message != NULL)
    return gst_pad_push (self->srcpad, message);
  warn (self, "A message was left out", error);
  return GST_FLOW_OK;
}

static GstFlowReturn
flow_without_room (GstCuframesPay * self)
{
  return GST_PAD_IS_FLUSHING (self->sinkpad) || GST_PAD_IS_FLUSHING (self->srcpad) ? GST_FLOW_FLUSHING : GST_FLOW_OK;
}

/* FALSE if the buffer is to be left out; flow says how to go on. */
static gboolean
wait_for_room (GstCuframesPay * self, GstFlowReturn * flow)
{
  const gint64 start = g_get_monotonic_time ();
  guint64 timeout_us, waited_us = 0;
  guint room;

  GST_OBJECT_LOCK (self);
  room = self->max_held;
  timeout_us = self->wait_timeout_ns / GST_USECOND;
  GST_OBJECT_UNLOCK (self);
  while (!gst_cuframes_holds_wait (self->holds, room, MIN (timeout_us - waited_us, (guint64) self->nudge_interval_us) * GST_USECOND)) {
    *flow = flow_without_room (self);
    if (*flow == GST_FLOW_OK && g_get_monotonic_time () >= self->next_nudge_us)
      *flow = nudge (self);
    waited_us = g_get_monotonic_time () - start;
    if (*flow != GST_FLOW_OK || waited_us >= timeout_us) {
      GST_DEBUG_OBJECT (self, "%u buffers are held", room);
      return FALSE;
    }
  }
  self->nudge_interval_us = LEAST_NUDGE_INTERVAL_US;
  self->next_nudge_us = 0;
  return TRUE;
}

static void
count (GstCuframesPay * self, gsize bytes, gboolean copied, gboolean sent)
{
  GST_OBJECT_LOCK (self);
  if (sent) {
    self->buffers++;
    self->bytes += bytes;
    self->copies += copied;
  } else
    self->drops++;
  GST_OBJECT_UNLOCK (self);
}

static GstFlowReturn
pay_chain (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (parent);
  const gsize size = gst_buffer_get_size (buffer);
  GstFlowReturn flow = GST_FLOW_OK;
  GstBuffer *message = NULL;
  gboolean copied = FALSE;
  GError *error = NULL;

  if (!update_state (self)) {
    gst_buffer_unref (buffer);
    return GST_FLOW_ERROR;
  }
  send_caps (self);
  if (wait_for_room (self, &flow)) {
    message = gst_cuframes_exporter_export_buffer (self->exporter, buffer, &copied, &error);
    if (message == NULL)
      warn (self, "A buffer was left out", error);
  }
  gst_buffer_unref (buffer);
  count (self, size, copied, message != NULL);
  if (message != NULL)
    return gst_pad_push (self->srcpad, message);
  gst_cuframes_exporter_skip (self->exporter);
  return flow;
}

/* States */

static void
open (GstCuframesPay * self)
{
  self->exporter = gst_cuframes_exporter_new (self->holds, self->max_held);
  self->caps_sent = self->gpu_failed = self->warned = FALSE;
  self->state_changed = TRUE;
  self->next_nudge_us = 0;
  self->nudge_interval_us = LEAST_NUDGE_INTERVAL_US;
  gst_cuframes_holds_set_flushing (self->holds, FALSE);
  GST_OBJECT_LOCK (self);
  self->buffers = self->copies = self->drops = self->bytes = 0;
  GST_OBJECT_UNLOCK (self);
}

static void
close_all (GstCuframesPay * self)
{
  /* Upstream may still be running, and GStreamer hands on its allocation query, under this lock, to elements in any state. */
  GST_PAD_STREAM_LOCK (self->sinkpad);
  self->exporter = gst_cuframes_exporter_free (self->exporter);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_cuframes_gpu_clear_context (GST_ELEMENT (self), &self->cuda_context);
  GST_PAD_STREAM_UNLOCK (self->sinkpad);
}

static GstStateChangeReturn
pay_change_state (GstElement * element, GstStateChange transition)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (element);
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED)
    open (self);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY)
    gst_cuframes_holds_set_flushing (self->holds, TRUE);
  result = GST_ELEMENT_CLASS (gst_cuframes_pay_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE))
    close_all (self);
  return result;
}

/* GObject */

static GstStructure *
get_stats (GstCuframesPay * self)
{
  return gst_structure_new ("application/x-cuframes-stats", "buffers", G_TYPE_UINT64, self->buffers, "copies", G_TYPE_UINT64, self->copies,
      "drops", G_TYPE_UINT64, self->drops, "bytes", G_TYPE_UINT64, self->bytes, "held", G_TYPE_UINT, gst_cuframes_holds_get_count (self->holds), NULL);
}

static void
pay_set_property (GObject * object, guint id, const GValue * value, GParamSpec * spec)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (object);

  if (GST_STATE (self) > GST_STATE_READY) {
    gst_cuframes_warn_of_late_property (GST_ELEMENT (self), spec);
    return;
  }
  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_MAX_HELD:
      self->max_held = g_value_get_uint (value);
      break;
    case PROP_WAIT_TIMEOUT:
      self->wait_timeout_ns = g_value_get_uint64 (value);
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
pay_get_property (GObject * object, guint id, GValue * value, GParamSpec * spec)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
    case PROP_MAX_HELD:
      g_value_set_uint (value, self->max_held);
      break;
    case PROP_WAIT_TIMEOUT:
      g_value_set_uint64 (value, self->wait_timeout_ns);
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
pay_finalize (GObject * object)
{
  GstCuframesPay *self = GST_CUFRAMES_PAY (object);

  self->holds = gst_cuframes_holds_free (self->holds);
  gst_cuframes_gpu_clear_context (GST_ELEMENT (self), &self->cuda_context);
  G_OBJECT_CLASS (gst_cuframes_pay_parent_class)->finalize (object);
}

static void
gst_cuframes_pay_class_init (GstCuframesPayClass * klass)
{
  const GParamFlags set_before = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_cuframes_pay_debug, "cuframespay", 0, "makes messages of descriptors");
  object_class->set_property = pay_set_property;
  object_class->get_property = pay_get_property;
  object_class->finalize = pay_finalize;
  properties[PROP_MAX_HELD] = g_param_spec_uint ("max-held", "Maximum held",
      "Buffers that receivers, and queues on the way to them, may hold at once", 2, MOST_HELD, DEFAULT_MAX_HELD, set_before);
  properties[PROP_WAIT_TIMEOUT] = g_param_spec_uint64 ("wait-timeout", "Wait timeout", "How long to wait, in ns, while max-held buffers are held, "
      "before the next one is dropped; the maximum is for ever", 0, G_MAXUINT64, 0, set_before);
  properties[PROP_CUDA_DEVICE_ID] = g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU to use for buffers in GPU memory, -1 for "
      "the one of the element upstream", -1, G_MAXINT, -1, set_before);
  properties[PROP_STATS] = g_param_spec_boxed ("stats", "Statistics", "Counters of buffers sent, copied and dropped", GST_TYPE_STRUCTURE,
      G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPERTIES, properties);
  gst_element_class_set_static_metadata (element_class, "Descriptor payloader", "Codec/Payloader/Network",
      "Turns buffers into messages that carry the descriptors of their memory, to be sent over a unix socket", "gst-cuframes contributors");
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  element_class->set_context = pay_set_context;
  element_class->change_state = pay_change_state;
}

static void
gst_cuframes_pay_init (GstCuframesPay * self)
{
  self->max_held = DEFAULT_MAX_HELD;
  self->cuda_device_id = -1;
  self->holds = gst_cuframes_holds_new ();
  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, pay_chain);
  gst_pad_set_event_function (self->sinkpad, pay_sink_event);
  gst_pad_set_query_function (self->sinkpad, pay_sink_query);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_use_fixed_caps (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
}
