/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live source that keeps an absolute pace, takes buffers from the pool that downstream proposes, and writes nothing into them
 * but the stamp, so that what is measured is the transport. */
#include "fanout.h"

#include <gst/base/gstpushsrc.h>
#include <unistd.h>

#include "fanout-cuda.h"
#include "stamp-video.h"

/* Frames per second before the measurement when it runs without a pace. */
#define PRELUDE_FPS 100

typedef struct
{
  GstPushSrc parent;
  FanoutMeter meter;
  FanoutCuda *cuda;
  GstVideoInfo info;
  guint64 source, next_ns;
  GMutex lock;
  GCond unlocked;
  gboolean unlocking;
} FanoutSource;

typedef struct
{
  GstPushSrcClass parent_class;
} FanoutSourceClass;

GType fanout_source_get_type (void);
G_DEFINE_TYPE (FanoutSource, fanout_source, GST_TYPE_PUSH_SRC);

static GstStaticPadTemplate template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS ("video/x-raw(ANY)"));

static GstCaps *
fanout_source_get_caps (GstBaseSrc * src, GstCaps * filter)
{
  const FanoutConfig *config = &((FanoutSource *) src)->meter.child->control->config;
  GstCaps *caps = gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, config->format,
      "width", G_TYPE_INT, (gint) config->width, "height", G_TYPE_INT, (gint) config->height,
      "framerate", GST_TYPE_FRACTION, (gint) config->fps, 1, NULL);

  if (config->cuda)
    gst_caps_set_features_simple (caps, gst_caps_features_new ("memory:CUDAMemory", NULL));
  if (filter != NULL) {
    GstCaps *both = gst_caps_intersect (caps, filter);

    gst_caps_unref (caps);
    caps = both;
  }
  return caps;
}

static gboolean
fanout_source_set_caps (GstBaseSrc * src, GstCaps * caps)
{
  return gst_video_info_from_caps (&((FanoutSource *) src)->info, caps);
}

static gboolean
fanout_source_decide_allocation (GstBaseSrc * src, GstQuery * query)
{
  FanoutSource *self = (FanoutSource *) src;
  GstBufferPool *pool = NULL;
  GstStructure *config;
  GstCaps *caps;
  guint size = 0, least = 0, most = 0;
  gboolean update = gst_query_get_n_allocation_pools (query) > 0;

  gst_query_parse_allocation (query, &caps, NULL);
  if (update)
    gst_query_parse_nth_allocation_pool (query, 0, &pool, &size, &least, &most);
  size = MAX (size, (guint) GST_VIDEO_INFO_SIZE (&self->info));
  if (pool == NULL)
    pool = self->cuda != NULL ? fanout_cuda_pool_new (self->cuda) : gst_video_buffer_pool_new ();

  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_set_params (config, caps, size, least, most);
  if (gst_buffer_pool_has_option (pool, GST_BUFFER_POOL_OPTION_VIDEO_META))
    gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (self->cuda != NULL)
    fanout_cuda_configure (self->cuda, config);
  gst_buffer_pool_set_config (pool, config);
  if (self->cuda != NULL) {
    config = gst_buffer_pool_get_config (pool);
    gst_buffer_pool_config_get_params (config, NULL, &size, NULL, NULL);
    gst_structure_free (config);
  }
  if (update)
    gst_query_set_nth_allocation_pool (query, 0, pool, size, least, most);
  else
    gst_query_add_allocation_pool (query, pool, size, least, most);
  gst_object_unref (pool);
  return GST_BASE_SRC_CLASS (fanout_source_parent_class)->decide_allocation (src, query);
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

static gboolean
stamp_host (FanoutSource * self, GstBuffer * buffer, Stamp * stamp)
{
  GstVideoFrame frame;
  gboolean fits;

  if (!gst_video_frame_map (&frame, &self->info, buffer, GST_MAP_WRITE))
    return FALSE;
  fits = stamp_video_write (&frame, stamp);
  gst_video_frame_unmap (&frame);
  return fits;
}

static gboolean
stamp_cuda (FanoutSource * self, GstBuffer * buffer, Stamp * stamp)
{
  return fanout_cuda_write (self->cuda, buffer, &self->info, stamp);
}

static GstFlowReturn
wait_for_unlock (FanoutSource * self)
{
  g_mutex_lock (&self->lock);
  while (!self->unlocking)
    g_cond_wait (&self->unlocked, &self->lock);
  g_mutex_unlock (&self->lock);
  return GST_FLOW_FLUSHING;
}

static GstFlowReturn
fanout_source_create (GstPushSrc * src, GstBuffer ** ret_buffer)
{
  FanoutSource *self = (FanoutSource *) src;
  guint64 now_ns = fanout_now_ns ();
  Stamp stamp = {.source = self->source };
  GstFlowReturn flow;

  if (!fanout_meter_next (&self->meter, now_ns))
    return wait_for_unlock (self);
  keep_pace (self, now_ns);
  stamp.number = self->meter.number;

  flow = GST_BASE_SRC_CLASS (fanout_source_parent_class)->alloc (GST_BASE_SRC (src), 0,
      (guint) GST_VIDEO_INFO_SIZE (&self->info), ret_buffer);
  if (flow != GST_FLOW_OK)
    return flow;
  if (self->cuda != NULL ? stamp_cuda (self, *ret_buffer, &stamp) : stamp_host (self, *ret_buffer, &stamp))
    return GST_FLOW_OK;
  gst_clear_buffer (ret_buffer);
  GST_ELEMENT_ERROR (self, RESOURCE, WRITE, ("cannot write a stamp into the frame"), (NULL));
  return GST_FLOW_ERROR;
}

static gboolean
set_unlocking (GstBaseSrc * src, gboolean unlocking)
{
  FanoutSource *self = (FanoutSource *) src;

  g_mutex_lock (&self->lock);
  self->unlocking = unlocking;
  g_cond_signal (&self->unlocked);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static gboolean
fanout_source_unlock (GstBaseSrc * src)
{
  return set_unlocking (src, TRUE);
}

static gboolean
fanout_source_unlock_stop (GstBaseSrc * src)
{
  return set_unlocking (src, FALSE);
}

static gboolean
fanout_source_start (GstBaseSrc * src)
{
  FanoutSource *self = (FanoutSource *) src;

  if (!self->meter.child->control->config.cuda || (self->cuda != NULL && fanout_cuda_open (self->cuda, GST_ELEMENT (src))))
    return TRUE;
  GST_ELEMENT_ERROR (src, RESOURCE, OPEN_READ_WRITE, ("no CUDA context"), (NULL));
  return FALSE;
}

static void
fanout_source_set_context (GstElement * element, GstContext * context)
{
  FanoutSource *self = (FanoutSource *) element;

  if (self->cuda != NULL)
    fanout_cuda_set_context (self->cuda, element, context);
  GST_ELEMENT_CLASS (fanout_source_parent_class)->set_context (element, context);
}

static gboolean
fanout_source_query (GstBaseSrc * src, GstQuery * query)
{
  FanoutSource *self = (FanoutSource *) src;

  if (self->cuda != NULL && fanout_cuda_query (self->cuda, GST_ELEMENT (src), query))
    return TRUE;
  return GST_BASE_SRC_CLASS (fanout_source_parent_class)->query (src, query);
}

static void
fanout_source_finalize (GObject * object)
{
  FanoutSource *self = (FanoutSource *) object;

  fanout_cuda_free (self->cuda);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->unlocked);
  G_OBJECT_CLASS (fanout_source_parent_class)->finalize (object);
}

static void
fanout_source_class_init (FanoutSourceClass * klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSrcClass *base_class = GST_BASE_SRC_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = fanout_source_finalize;
  gst_element_class_add_static_pad_template (element_class, &template);
  gst_element_class_set_static_metadata (element_class, "Stamped frames", "Source/Video",
      "Paced frames with nothing in them but their number", "gst-cuframes");
  element_class->set_context = fanout_source_set_context;
  base_class->get_caps = fanout_source_get_caps;
  base_class->set_caps = fanout_source_set_caps;
  base_class->decide_allocation = fanout_source_decide_allocation;
  base_class->unlock = fanout_source_unlock;
  base_class->unlock_stop = fanout_source_unlock_stop;
  base_class->start = fanout_source_start;
  base_class->query = fanout_source_query;
  GST_PUSH_SRC_CLASS (klass)->create = fanout_source_create;
}

static void
fanout_source_init (FanoutSource * self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->unlocked);
  self->source = fanout_now_ns () ^ (guint64) getpid () << 32;
  gst_base_src_set_live (GST_BASE_SRC (self), TRUE);
  gst_base_src_set_format (GST_BASE_SRC (self), GST_FORMAT_TIME);
  gst_base_src_set_do_timestamp (GST_BASE_SRC (self), TRUE);
}

GstElement *
fanout_source_new (FanoutChild * child)
{
  FanoutSource *self = g_object_new (fanout_source_get_type (), "name", "stamped", NULL);

  self->meter.child = child;
  child->meter = &self->meter;
  if (child->control->config.cuda)
    self->cuda = fanout_cuda_new ();
  return GST_ELEMENT (self);
}
