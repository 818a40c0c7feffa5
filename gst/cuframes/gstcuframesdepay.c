/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-cuframesdepay
 * @title: cuframesdepay
 * @see_also: cuframespay, cuframessrc
 *
 * Turns the messages of a cuframespay in another process back into buffers, in the sender's own memory, without a copy. They come from an
 * element that receives over a unix socket, such as socketsrc. Buffers are read-only; each lets its sender use the memory again when it is
 * freed. A message that is not sound is left out with a warning.
 *
 * ## Example launch line
 * |[
 * gst-launch-1.0 socketsrc name=messages ! cuframesdepay ! videoconvert ! autovideosink
 * ]| Shows what comes, once an application has set the source's socket: docs/pay.md.
 *
 * Since: 0.1
 */
#include "gstcuframesdepay.h"

#include <gio/gunixfdmessage.h>
#include <gst/net/gstnetcontrolmessagemeta.h>

#include "cuframes-util.h"
#include "gstcuframescodec.h"
#include "gstcuframesenums.h"
#include "gstcuframesimporter.h"
#include "gstcuframesmessagereader.h"

GST_DEBUG_CATEGORY_STATIC (gst_cuframes_depay_debug);
#define GST_CAT_DEFAULT gst_cuframes_depay_debug

/* A sender that is broken or hostile shall not fill the bus. */
#define WARNING_INTERVAL_US G_USEC_PER_SEC

enum
{
  PROP_0,
  PROP_CUDA_DEVICE_ID,
  PROP_STATS,
  N_PROPERTIES,
};

struct _GstCuframesDepay
{
  GstElement parent;

  GstPad *sinkpad, *srcpad;

  /* Under the object lock */
  gint cuda_device_id;
  GstObject *cuda_context;      /* a GstCudaContext, from the neighbours or made here; under the element's lock */
  guint64 buffers, bytes, missed, invalid;

  /* Streaming thread, between READY and PAUSED */
  GstCuframesMessageReader *reader;
  GstCuframesImporter *importer;
  GstCuframesGpu *gpu;          /* once caps ask for one */
  gboolean has_state;
  guint64 session, state_serial, next_sequence;
  GstCaps *caps;
  GPtrArray *events;            /* of the state, as they came */
  gboolean ended;
  gboolean discont;             /* before the next buffer */
  gint64 next_warning_us;
};

static GParamSpec *properties[N_PROPERTIES];

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink", GST_PAD_SINK, GST_PAD_ALWAYS,
    GST_STATIC_CAPS (GST_CUFRAMES_MESSAGE_CAPS));
static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

G_DEFINE_TYPE (GstCuframesDepay, gst_cuframes_depay, GST_TYPE_ELEMENT);
GST_ELEMENT_REGISTER_DEFINE (cuframesdepay, "cuframesdepay", GST_RANK_NONE, GST_TYPE_CUFRAMES_DEPAY);

/* Messages. Each of these says GST_FLOW_OK to go on. */

/* Consumes the error. */
static GstFlowReturn
leave_out (GstCuframesDepay * self, GError * error)
{
  const gint64 now = g_get_monotonic_time ();
  guint64 invalid;

  GST_OBJECT_LOCK (self);
  invalid = ++self->invalid;
  GST_OBJECT_UNLOCK (self);
  GST_INFO_OBJECT (self, "a message is left out: %s", error->message);
  if (now >= self->next_warning_us) {
    GST_ELEMENT_WARNING (self, STREAM, DECODE, ("A message was left out: %s", error->message), ("%" G_GUINT64_FORMAT " so far", invalid));
    self->next_warning_us = now + WARNING_INTERVAL_US;
  }
  g_error_free (error);
  return GST_FLOW_OK;
}

static GstFlowReturn
leave_out_for (GstCuframesDepay * self, const gchar * why)
{
  return leave_out (self, g_error_new_literal (GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE, why));
}

static GstFlowReturn
take_gpu (GstCuframesDepay * self)
{
  gchar *text = NULL;

  self->gpu = gst_cuframes_gpu_new (GST_ELEMENT (self), self->cuda_device_id, &self->cuda_context, &text);
  if (self->gpu == NULL) {
    GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("The buffers are in GPU memory. %s", text), (NULL));
    g_free (text);
    return GST_FLOW_ERROR;
  }
  gst_cuframes_importer_set_gpu (self->importer, self->gpu);
  return GST_FLOW_OK;
}

static void
ensure_stream_start (GstCuframesDepay * self)
{
  GstEvent *event = gst_pad_get_sticky_event (self->srcpad, GST_EVENT_STREAM_START, 0);
  gchar *stream_id;

  if (event == NULL) {
    stream_id = gst_pad_create_stream_id (self->srcpad, GST_ELEMENT (self), NULL);
    gst_pad_push_event (self->srcpad, gst_event_new_stream_start (stream_id));
    g_free (stream_id);
  }
  gst_clear_event (&event);
}

static GstFlowReturn
apply_caps (GstCuframesDepay * self, GstCaps * caps)
{
  GstFlowReturn flow = GST_FLOW_OK;

  if (caps == NULL || (self->caps != NULL && gst_caps_is_strictly_equal (caps, self->caps)))
    return GST_FLOW_OK;
  if (self->gpu == NULL && gst_cuframes_gpu_caps_are_gpu (caps))
    flow = take_gpu (self);
  if (flow != GST_FLOW_OK)
    return flow;
  gst_caps_replace (&self->caps, caps);
  gst_cuframes_importer_set_caps (self->importer, caps);
  GST_INFO_OBJECT (self, "caps %" GST_PTR_FORMAT, caps);
  return gst_pad_push_event (self->srcpad, gst_event_new_caps (caps)) ? GST_FLOW_OK : GST_FLOW_NOT_NEGOTIATED;
}

static gboolean
was_sent (GstCuframesDepay * self, GBytes * event)
{
  return self->events != NULL && g_ptr_array_find_with_equal_func (self->events, event, g_bytes_equal, NULL);
}

/* (nullable) (transfer full) */
static GstEvent *
read_event (GBytes * bytes)
{
  gsize size;
  gconstpointer data = g_bytes_get_data (bytes, &size);

  return gst_cuframes_codec_event_from_bytes (data, size, NULL);
}

/* Takes the new events' array. One that this process cannot make is left out, as is what is none of a state. */
static void
apply_events (GstCuframesDepay * self, GPtrArray * events)
{
  for (guint i = 0; i < events->len; i++) {
    GBytes *bytes = g_ptr_array_index (events, i);
    GstEvent *event = was_sent (self, bytes) ? NULL : read_event (bytes);
    if (event != NULL && GST_EVENT_IS_STICKY (event) && GST_EVENT_TYPE (event) != GST_EVENT_STREAM_START && GST_EVENT_TYPE (event) != GST_EVENT_EOS)
      gst_pad_push_event (self->srcpad, g_steal_pointer (&event));
    gst_clear_event (&event);
  }
  g_clear_pointer (&self->events, g_ptr_array_unref);
  self->events = events;
}

/* A buffer without a segment has no time. */
static void
ensure_segment (GstCuframesDepay * self)
{
  GstEvent *event = gst_pad_get_sticky_event (self->srcpad, GST_EVENT_SEGMENT, 0);
  GstSegment segment;

  if (event == NULL) {
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_pad_push_event (self->srcpad, gst_event_new_segment (&segment));
  }
  gst_clear_event (&event);
}

static GstFlowReturn
apply_state (GstCuframesDepay * self, const GstCuframesMessage * message, const gint * fds, gboolean * good)
{
  GBytes *bytes = gst_cuframes_importer_get_state (message, fds);
  GPtrArray *events = NULL;
  GstCaps *caps = NULL;
  GError *error = NULL;
  GstFlowReturn flow;
  gconstpointer data;
  gsize size;

  *good = FALSE;
  if (bytes == NULL)
    return leave_out_for (self, "caps and sticky events of a message cannot be read");
  data = g_bytes_get_data (bytes, &size);
  *good = gst_cuframes_message_state_from_bytes (data, size, &caps, &events, &error);
  g_bytes_unref (bytes);
  if (!*good)
    return leave_out (self, error);
  ensure_stream_start (self);
  flow = apply_caps (self, caps);
  apply_events (self, events);
  ensure_segment (self);
  gst_clear_caps (&caps);
  if (self->session != message->session)
    self->next_sequence = 0;
  self->session = message->session;
  self->state_serial = message->state_serial;
  self->has_state = TRUE;
  return flow;
}

static GstFlowReturn
fail (GstCuframesDepay * self, GError * error)
{
  GST_ELEMENT_ERROR (self, RESOURCE, OPEN_READ, ("%s", error->message), (NULL));
  g_error_free (error);
  return GST_FLOW_ERROR;
}

static GstFlowReturn
take_buffer (GstCuframesDepay * self, const GstCuframesMessage * message, gint * fds)
{
  GError *error = NULL;
  guint skipped_metas;
  GstBuffer *buffer = gst_cuframes_importer_import (self->importer, message, fds, &skipped_metas, &error);

  if (buffer == NULL)
    return error->domain == GST_RESOURCE_ERROR ? fail (self, error) : leave_out (self, error);
  if (skipped_metas > 0)
    GST_DEBUG_OBJECT (self, "%u metas are not known here", skipped_metas);
  if (self->discont)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
  self->discont = FALSE;
  GST_OBJECT_LOCK (self);
  self->buffers++;
  self->bytes += message->info.size_bytes;
  GST_OBJECT_UNLOCK (self);
  return gst_pad_push (self->srcpad, buffer);
}

static GstFlowReturn
take_event (GstCuframesDepay * self, const GstCuframesMessage * message, const gint * fds)
{
  GBytes *bytes = gst_cuframes_importer_get_payload (message, fds);
  GstEvent *event = bytes == NULL ? NULL : read_event (bytes);

  g_clear_pointer (&bytes, g_bytes_unref);
  if (event == NULL)
    return leave_out_for (self, "an event cannot be read");
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_EOS:
      GST_INFO_OBJECT (self, "end of stream");
      self->ended = TRUE;
      gst_pad_push_event (self->srcpad, event);
      return GST_FLOW_EOS;
    case GST_EVENT_GAP:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_BOTH:
      gst_pad_push_event (self->srcpad, event);
      return GST_FLOW_OK;
    default:
      gst_event_unref (event);
      return leave_out_for (self, "an event that is not sent in its place");
  }
}

/* How many messages of this sender are missing before this one. */
static void
follow_sequence (GstCuframesDepay * self, const GstCuframesMessage * message, gboolean joined)
{
  if (message->sequence != self->next_sequence)
    self->discont = TRUE;
  if (!joined && message->sequence > self->next_sequence) {
    GST_OBJECT_LOCK (self);
    self->missed += message->sequence - self->next_sequence;
    GST_OBJECT_UNLOCK (self);
  }
  self->next_sequence = message->sequence + 1;
}

static GstFlowReturn
take_message (GstCuframesDepay * self, const GstCuframesMessage * message, gint * fds)
{
  const gboolean joined = !self->has_state || message->session != self->session;
  GstFlowReturn flow = GST_FLOW_OK;
  gboolean good = TRUE;

  if (joined || message->state_serial != self->state_serial)
    flow = apply_state (self, message, fds, &good);
  if (!good || flow != GST_FLOW_OK)
    return flow;
  follow_sequence (self, message, joined);
  switch (message->type) {
    case GST_CUFRAMES_MESSAGE_BUFFER:
      return take_buffer (self, message, fds);
    case GST_CUFRAMES_MESSAGE_EVENT:
      return take_event (self, message, fds);
    default:
      return GST_FLOW_OK;
  }
}

/* Copies of the descriptors: another branch of the pipeline may want them too. */
static GArray *
collect_fds (GstBuffer * buffer)
{
  GArray *fds = g_array_new (FALSE, FALSE, sizeof (gint));
  gpointer state = NULL;
  GstMeta *meta;

  while ((meta = gst_buffer_iterate_meta_filtered (buffer, &state, GST_NET_CONTROL_MESSAGE_META_API_TYPE)) != NULL) {
    GSocketControlMessage *control = ((GstNetControlMessageMeta *) meta)->message;
    GUnixFDList *list = G_IS_UNIX_FD_MESSAGE (control) ? g_unix_fd_message_get_fd_list (G_UNIX_FD_MESSAGE (control)) : NULL;
    for (gint i = 0; list != NULL && i < g_unix_fd_list_get_length (list); i++) {
      const gint fd = g_unix_fd_list_get (list, i, NULL);
      if (fd >= 0)
        g_array_append_val (fds, fd);
    }
  }
  return fds;
}

static gboolean
push_received (GstCuframesDepay * self, GstBuffer * buffer)
{
  GArray *fds;
  GstMapInfo map;

  if (!gst_buffer_map (buffer, &map, GST_MAP_READ))
    return FALSE;
  fds = collect_fds (buffer);
  gst_cuframes_message_reader_push (self->reader, map.data, map.size, (const gint *) (gpointer) fds->data, fds->len);
  g_array_unref (fds);
  gst_buffer_unmap (buffer, &map);
  return TRUE;
}

static GstFlowReturn
depay_chain (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (parent);
  GstCuframesMessageReaderResult result = GST_CUFRAMES_MESSAGE_READER_MESSAGE;
  GstFlowReturn flow = self->ended ? GST_FLOW_EOS : GST_FLOW_OK;
  GstCuframesMessage message;
  GError *error = NULL;
  gint *fds;

  if (flow == GST_FLOW_OK && !push_received (self, buffer))
    flow = leave_out_for (self, "a message cannot be mapped");
  /* With it go the copies of the descriptors that it has, the lease's among them. */
  gst_buffer_unref (buffer);
  while (flow == GST_FLOW_OK && result != GST_CUFRAMES_MESSAGE_READER_EMPTY) {
    result = gst_cuframes_message_reader_next (self->reader, &message, &fds, &error);
    if (result == GST_CUFRAMES_MESSAGE_READER_MESSAGE)
      flow = take_message (self, &message, fds);
    else if (result == GST_CUFRAMES_MESSAGE_READER_INVALID)
      flow = leave_out (self, g_steal_pointer (&error));
  }
  return flow;
}

/* Events and queries */

/* The sender's caps and segments go on, not those of the element that receives. */
static gboolean
depay_sink_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (parent);

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:
    case GST_EVENT_SEGMENT:
    case GST_EVENT_TAG:
      gst_event_unref (event);
      return TRUE;
    case GST_EVENT_EOS:
      if (!gst_cuframes_message_reader_is_empty (self->reader))
        leave_out_for (self, "the last message is not whole");
      gst_cuframes_message_reader_clear (self->reader);
      if (self->ended) {
        gst_event_unref (event);
        return TRUE;
      }
      self->ended = TRUE;
      break;
    case GST_EVENT_FLUSH_STOP:
      gst_cuframes_message_reader_clear (self->reader);
      g_clear_pointer (&self->events, g_ptr_array_unref);
      self->ended = self->has_state = FALSE;
      break;
    default:
      break;
  }
  return gst_pad_event_default (pad, parent, event);
}

static gboolean
depay_src_query (GstPad * pad, GstObject * parent, GstQuery * query)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (parent);

  if (gst_cuframes_gpu_answer_query (GST_ELEMENT (self), query, &self->cuda_context))
    return TRUE;
  return gst_pad_query_default (pad, parent, query);
}

static void
depay_set_context (GstElement * element, GstContext * context)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (element);

  gst_cuframes_gpu_set_context (element, context, self->cuda_device_id, &self->cuda_context);
  GST_ELEMENT_CLASS (gst_cuframes_depay_parent_class)->set_context (element, context);
}

/* States */

static void
open (GstCuframesDepay * self)
{
  self->reader = gst_cuframes_message_reader_new ();
  self->importer = gst_cuframes_importer_new ();
  self->has_state = self->ended = self->discont = FALSE;
  self->next_sequence = 0;
  self->next_warning_us = 0;
  GST_OBJECT_LOCK (self);
  self->buffers = self->bytes = self->missed = self->invalid = 0;
  GST_OBJECT_UNLOCK (self);
}

static void
close_all (GstCuframesDepay * self)
{
  self->reader = gst_cuframes_message_reader_free (self->reader);
  self->importer = gst_cuframes_importer_free (self->importer);
  g_clear_pointer (&self->events, g_ptr_array_unref);
  gst_clear_caps (&self->caps);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_cuframes_gpu_clear_context (GST_ELEMENT (self), &self->cuda_context);
}

static GstStateChangeReturn
depay_change_state (GstElement * element, GstStateChange transition)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (element);
  GstStateChangeReturn result;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED)
    open (self);
  result = GST_ELEMENT_CLASS (gst_cuframes_depay_parent_class)->change_state (element, transition);
  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED && result == GST_STATE_CHANGE_FAILURE))
    close_all (self);
  return result;
}

/* GObject */

static GstStructure *
get_stats (GstCuframesDepay * self)
{
  return gst_structure_new ("application/x-cuframes-stats", "buffers", G_TYPE_UINT64, self->buffers, "bytes", G_TYPE_UINT64, self->bytes,
      "missed", G_TYPE_UINT64, self->missed, "invalid", G_TYPE_UINT64, self->invalid, NULL);
}

static void
depay_set_property (GObject * object, guint id, const GValue * value, GParamSpec * spec)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (object);

  if (GST_STATE (self) > GST_STATE_READY) {
    gst_cuframes_warn_of_late_property (GST_ELEMENT (self), spec);
    return;
  }
  GST_OBJECT_LOCK (self);
  if (id == PROP_CUDA_DEVICE_ID)
    self->cuda_device_id = g_value_get_int (value);
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, spec);
  GST_OBJECT_UNLOCK (self);
}

static void
depay_get_property (GObject * object, guint id, GValue * value, GParamSpec * spec)
{
  GstCuframesDepay *self = GST_CUFRAMES_DEPAY (object);

  GST_OBJECT_LOCK (self);
  switch (id) {
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
depay_finalize (GObject * object)
{
  gst_cuframes_gpu_clear_context (GST_ELEMENT (object), &GST_CUFRAMES_DEPAY (object)->cuda_context);
  G_OBJECT_CLASS (gst_cuframes_depay_parent_class)->finalize (object);
}

static void
gst_cuframes_depay_class_init (GstCuframesDepayClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_cuframes_depay_debug, "cuframesdepay", 0, "makes buffers of messages with descriptors");
  object_class->set_property = depay_set_property;
  object_class->get_property = depay_get_property;
  object_class->finalize = depay_finalize;
  properties[PROP_CUDA_DEVICE_ID] = g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU to use for buffers in GPU memory, -1 for "
      "the one of the element downstream", -1, G_MAXINT, -1, G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY);
  properties[PROP_STATS] = g_param_spec_boxed ("stats", "Statistics", "Counters of buffers received, missed and left out as not sound",
      GST_TYPE_STRUCTURE, G_PARAM_READABLE | G_PARAM_STATIC_STRINGS);
  g_object_class_install_properties (object_class, N_PROPERTIES, properties);
  gst_element_class_set_static_metadata (element_class, "Descriptor depayloader", "Codec/Depayloader/Network",
      "Turns messages that carry descriptors of memory back into buffers, read-only and without a copy", "gst-cuframes contributors");
  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  element_class->set_context = depay_set_context;
  element_class->change_state = depay_change_state;
}

static void
gst_cuframes_depay_init (GstCuframesDepay * self)
{
  self->cuda_device_id = -1;
  self->sinkpad = gst_pad_new_from_static_template (&sink_template, "sink");
  gst_pad_set_chain_function (self->sinkpad, depay_chain);
  gst_pad_set_event_function (self->sinkpad, depay_sink_event);
  gst_element_add_pad (GST_ELEMENT (self), self->sinkpad);
  self->srcpad = gst_pad_new_from_static_template (&src_template, "src");
  gst_pad_set_query_function (self->srcpad, depay_src_query);
  gst_pad_use_fixed_caps (self->srcpad);
  gst_element_add_pad (GST_ELEMENT (self), self->srcpad);
}
