/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live source that keeps an absolute pace and counts for the meter; what is measured is the transport. */
#include "fanout.h"

#include <unistd.h>

#include "stamp-source.h"

/* Frames per second before the measurement when it runs without a pace. */
#define PRELUDE_FPS 100

typedef struct
{
  StampSource parent;
  FanoutMeter meter;
  guint64 source, next_ns;
} FanoutSource;

typedef struct
{
  StampSourceClass parent_class;
} FanoutSourceClass;

GType fanout_source_get_type (void);
G_DEFINE_TYPE (FanoutSource, fanout_source, stamp_source_get_type ());

static GstCaps *
fanout_source_get_caps (GstBaseSrc * src, GstCaps * filter)
{
  FanoutSource *self = (FanoutSource *) src;
  const FanoutConfig *config = &self->meter.child->control->config;

  return stamp_source_offer_caps (&self->parent, gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, config->format,
          "width", G_TYPE_INT, (gint) config->width, "height", G_TYPE_INT, (gint) config->height,
          "framerate", GST_TYPE_FRACTION, (gint) config->fps, 1, NULL), filter);
}

static void
keep_pace (FanoutSource * self, guint64 now_ns)
{
  FanoutControl *control = self->meter.child->control;
  gboolean measured = atomic_load_explicit (&control->first, memory_order_relaxed) != 0;
  guint fps = control->config.fps != 0 ? control->config.fps : measured ? 0 : PRELUDE_FPS;
  guint64 period_ns;

  if (fps == 0)
    return;
  period_ns = GST_SECOND / fps;
  self->next_ns += period_ns;
  if (self->next_ns + period_ns < now_ns) {
    control->publisher.late += measured;
    self->next_ns = now_ns;
  }
  fanout_sleep_until (self->next_ns);
}

static GstFlowReturn
fanout_source_create (GstPushSrc * src, GstBuffer ** ret_buffer)
{
  FanoutSource *self = (FanoutSource *) src;
  const guint64 now_ns = fanout_now_ns ();
  Stamp stamp = {.source = self->source };

  if (!fanout_meter_next (&self->meter, now_ns)) {
    stamp_source_wait (&self->parent, G_MAXUINT64);
    return GST_FLOW_FLUSHING;
  }
  keep_pace (self, now_ns);
  stamp.number = self->meter.number;
  return stamp_source_make_frame (&self->parent, &stamp, ret_buffer);
}

static void
fanout_source_class_init (FanoutSourceClass * klass)
{
  GST_BASE_SRC_CLASS (klass)->get_caps = fanout_source_get_caps;
  GST_PUSH_SRC_CLASS (klass)->create = fanout_source_create;
}

static void
fanout_source_init (FanoutSource * self)
{
  self->source = fanout_now_ns () ^ (guint64) getpid () << 32;
}

GstElement *
fanout_source_new (FanoutChild * child)
{
  FanoutSource *self = g_object_new (fanout_source_get_type (), "name", "stamped", NULL);

  self->meter.child = child;
  child->meter = &self->meter;
  if (child->control->config.cuda)
    stamp_source_use_cuda (&self->parent);
  return GST_ELEMENT (self);
}
