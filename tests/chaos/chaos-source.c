/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live source that stamps frames with its process's life and a number. It keeps a pace or runs flat out, and changes its caps now and then. */
#include "chaos.h"

#include <gst/video/video.h>

#include "stamp-source.h"

#define FORMATS 3

typedef struct
{
  StampSource parent;
  ChaosChild *child;
  guint64 number, next_ns, change_ns;
  _Atomic gboolean key_due;     /* a subscriber asks for a key point */
  guint format;                 /* which of the formats is offered now */
} ChaosSource;

typedef struct
{
  StampSourceClass parent_class;
} ChaosSourceClass;

GType chaos_source_get_type (void);
G_DEFINE_TYPE (ChaosSource, chaos_source, stamp_source_get_type ());

/* As it was asked for, with half as many lines, and in another format. */
static GstCaps *
chaos_source_get_caps (GstBaseSrc * src, GstCaps * filter)
{
  ChaosSource *self = (ChaosSource *) src;
  const ChaosConfig *config = &self->child->shared->config;
  GstCaps *caps = config->packets ? gst_caps_new_simple ("application/x-chaos", "format", G_TYPE_INT, (gint) self->format, NULL)
      : gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, self->format == 2 ? "I420" : "NV12",
      "width", G_TYPE_INT, (gint) config->width, "height", G_TYPE_INT, (gint) (self->format == 1 ? config->height / 4 * 2 : config->height),
      "framerate", GST_TYPE_FRACTION, (gint) config->fps, 1, NULL);

  return stamp_source_offer_caps (&self->parent, caps, filter);
}

/* FALSE if it is to stop meanwhile. */
static gboolean
keep_pace (ChaosSource * self)
{
  const guint fps = self->child->shared->config.fps;
  const guint64 now_ns = chaos_now_ns ();

  if (fps != 0)
    self->next_ns = MAX (self->next_ns + GST_SECOND / fps, now_ns - MIN (now_ns, GST_SECOND / fps));
  return stamp_source_wait (&self->parent, self->next_ns);
}

static gboolean
change_caps (ChaosSource * self)
{
  guint mean_ms = self->child->shared->config.caps_changes_ms;

  if (mean_ms == 0 || chaos_now_ns () < self->change_ns)
    return TRUE;
  if (self->change_ns != 0) {
    self->format = (self->format + 1) % FORMATS;
    atomic_fetch_add (&self->child->shared->publisher.formats, 1);
  }
  self->change_ns = chaos_now_ns () + chaos_around (&self->child->random, mean_ms) * GST_MSECOND;
  return gst_base_src_negotiate (GST_BASE_SRC (self));
}

static GstBuffer *
make_packet (ChaosSource * self, const Stamp * stamp)
{
  const gboolean key = atomic_exchange (&self->key_due, FALSE) || chaos_packet_is_key (stamp->number);
  const gsize size = chaos_packet_size (stamp->number, key);
  guint8 *data = g_malloc (size);
  GstBuffer *buffer;

  chaos_packet_write (data, size, stamp);
  buffer = gst_buffer_new_wrapped (data, size);
  if (!key)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  return buffer;
}

static GstFlowReturn
chaos_source_create (GstPushSrc * src, GstBuffer ** ret_buffer)
{
  ChaosSource *self = (ChaosSource *) src;
  ChaosPublisher *publisher = &self->child->shared->publisher;
  Stamp stamp = {.source = self->child->life,.number = self->number + 1 };
  GstFlowReturn flow = GST_FLOW_OK;

  if (!keep_pace (self))
    return GST_FLOW_FLUSHING;
  if (!change_caps (self))
    return GST_PAD_IS_FLUSHING (GST_BASE_SRC_PAD (src)) ? GST_FLOW_FLUSHING : GST_FLOW_NOT_NEGOTIATED;
  if (self->child->shared->config.packets)
    *ret_buffer = make_packet (self, &stamp);
  else if ((flow = stamp_source_make_frame (&self->parent, &stamp, ret_buffer)) != GST_FLOW_OK)
    return flow;
  if (self->number++ == 0)
    atomic_store (&publisher->first_ns[self->child->life % CHAOS_LIVES], chaos_now_ns ());
  atomic_fetch_add (&publisher->made, 1);
  return GST_FLOW_OK;
}

static gboolean
chaos_source_event (GstBaseSrc * src, GstEvent * event)
{
  ChaosSource *self = (ChaosSource *) src;

  if (gst_video_event_is_force_key_unit (event))
    atomic_store (&self->key_due, TRUE);
  return GST_BASE_SRC_CLASS (chaos_source_parent_class)->event (src, event);
}

static void
chaos_source_class_init (ChaosSourceClass * klass)
{
  GstBaseSrcClass *base_class = GST_BASE_SRC_CLASS (klass);

  base_class->get_caps = chaos_source_get_caps;
  base_class->event = chaos_source_event;
  GST_PUSH_SRC_CLASS (klass)->create = chaos_source_create;
}

static void
chaos_source_init (ChaosSource * self)
{
}

GstElement *
chaos_source_new (ChaosChild * child)
{
  ChaosSource *self = g_object_new (chaos_source_get_type (), "name", "stamped", NULL);

  self->child = child;
  self->parent.every_byte = child->shared->config.every_byte;
  if (child->shared->config.cuda)
    stamp_source_use_cuda (&self->parent);
  return GST_ELEMENT (self);
}
