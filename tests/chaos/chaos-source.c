/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live source that takes buffers from the pool that downstream proposes and stamps them with its process's life and a number. It keeps
 * a pace or runs flat out, and changes its caps now and then. */
#include "chaos.h"

#include <gst/base/gstpushsrc.h>
#include <gst/video/video.h>

#include "fanout-cuda.h"
#include "stamp-video.h"

#define FORMATS 3

typedef struct
{
  GstPushSrc parent;
  ChaosChild *child;
  FanoutCuda *cuda;
  GstVideoInfo info;
  guint64 number, next_ns, change_ns;
  _Atomic gboolean key_due;     /* a subscriber asks for a key point */
  guint format;                 /* which of the formats is offered now */
  GMutex lock;
  GCond unlocked;
  gboolean unlocking;
} ChaosSource;

typedef struct
{
  GstPushSrcClass parent_class;
} ChaosSourceClass;

GType chaos_source_get_type (void);
G_DEFINE_TYPE (ChaosSource, chaos_source, GST_TYPE_PUSH_SRC);

static GstStaticPadTemplate template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS,
    GST_STATIC_CAPS_ANY);

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
chaos_source_set_caps (GstBaseSrc * src, GstCaps * caps)
{
  ChaosSource *self = (ChaosSource *) src;

  return self->child->shared->config.packets || gst_video_info_from_caps (&self->info, caps);
}

static guint
configure_pool (ChaosSource * self, GstBufferPool * pool, GstCaps * caps, guint size, guint least, guint most)
{
  GstStructure *config = gst_buffer_pool_get_config (pool);

  gst_buffer_pool_config_set_params (config, caps, size, least, most);
  if (gst_buffer_pool_has_option (pool, GST_BUFFER_POOL_OPTION_VIDEO_META))
    gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (self->cuda != NULL)
    fanout_cuda_configure (self->cuda, config);
  gst_buffer_pool_set_config (pool, config);
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_get_params (config, NULL, &size, NULL, NULL);
  gst_structure_free (config);
  return size;
}

static gboolean
chaos_source_decide_allocation (GstBaseSrc * src, GstQuery * query)
{
  ChaosSource *self = (ChaosSource *) src;
  GstBufferPool *pool = NULL;
  GstCaps *caps;
  guint size = 0, least = 0, most = 0;

  if (self->child->shared->config.packets)
    return GST_BASE_SRC_CLASS (chaos_source_parent_class)->decide_allocation (src, query);
  gboolean update = gst_query_get_n_allocation_pools (query) > 0;

  gst_query_parse_allocation (query, &caps, NULL);
  if (update)
    gst_query_parse_nth_allocation_pool (query, 0, &pool, &size, &least, &most);
  if (pool == NULL)
    pool = self->cuda != NULL ? fanout_cuda_pool_new (self->cuda) : gst_video_buffer_pool_new ();
  size = configure_pool (self, pool, caps, MAX (size, (guint) GST_VIDEO_INFO_SIZE (&self->info)), least, most);
  if (update)
    gst_query_set_nth_allocation_pool (query, 0, pool, size, least, most);
  else
    gst_query_add_allocation_pool (query, pool, size, least, most);
  gst_object_unref (pool);
  return GST_BASE_SRC_CLASS (chaos_source_parent_class)->decide_allocation (src, query);
}

/* FALSE if it is to stop meanwhile. */
static gboolean
keep_pace (ChaosSource * self)
{
  guint fps = self->child->shared->config.fps;
  guint64 now_ns = chaos_now_ns ();
  gboolean go_on;

  if (fps != 0)
    self->next_ns = MAX (self->next_ns + GST_SECOND / fps, now_ns - MIN (now_ns, GST_SECOND / fps));
  g_mutex_lock (&self->lock);
  while (!self->unlocking && (now_ns = chaos_now_ns ()) < self->next_ns)
    g_cond_wait_until (&self->unlocked, &self->lock, g_get_monotonic_time () + (gint64) (self->next_ns - now_ns) / 1000 + 1);
  go_on = !self->unlocking;
  g_mutex_unlock (&self->lock);
  return go_on;
}

static gboolean
stamp_host (ChaosSource * self, GstBuffer * buffer, const Stamp * stamp)
{
  GstVideoFrame frame;
  StampImage image;
  gboolean fits;

  if (!gst_video_frame_map (&frame, &self->info, buffer, GST_MAP_WRITE))
    return FALSE;
  stamp_video_image (&frame, &image);
  fits = self->child->shared->config.every_byte ? stamp_fill (&image, stamp) : stamp_write (&image, stamp);
  gst_video_frame_unmap (&frame);
  return fits;
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
make_frame (ChaosSource * self, Stamp * stamp, GstBuffer ** ret_buffer)
{
  GstFlowReturn flow = GST_BASE_SRC_CLASS (chaos_source_parent_class)->alloc (GST_BASE_SRC (self), 0, (guint) GST_VIDEO_INFO_SIZE (&self->info),
      ret_buffer);

  if (flow != GST_FLOW_OK)
    return flow;
  stamp->time_ns = chaos_now_ns ();
  if (self->cuda != NULL ? fanout_cuda_write (self->cuda, *ret_buffer, &self->info, stamp) : stamp_host (self, *ret_buffer, stamp))
    return GST_FLOW_OK;
  gst_clear_buffer (ret_buffer);
  GST_ELEMENT_ERROR (self, RESOURCE, WRITE, ("cannot write a stamp into the frame"), (NULL));
  return GST_FLOW_ERROR;
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
  else if ((flow = make_frame (self, &stamp, ret_buffer)) != GST_FLOW_OK)
    return flow;
  if (self->number++ == 0)
    atomic_store (&publisher->first_ns[self->child->life % CHAOS_LIVES], chaos_now_ns ());
  atomic_fetch_add (&publisher->made, 1);
  return GST_FLOW_OK;
}

static gboolean
set_unlocking (GstBaseSrc * src, gboolean unlocking)
{
  ChaosSource *self = (ChaosSource *) src;

  g_mutex_lock (&self->lock);
  self->unlocking = unlocking;
  g_cond_signal (&self->unlocked);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static gboolean
chaos_source_unlock (GstBaseSrc * src)
{
  return set_unlocking (src, TRUE);
}

static gboolean
chaos_source_unlock_stop (GstBaseSrc * src)
{
  return set_unlocking (src, FALSE);
}

static gboolean
chaos_source_start (GstBaseSrc * src)
{
  ChaosSource *self = (ChaosSource *) src;

  if (!self->child->shared->config.cuda || (self->cuda != NULL && fanout_cuda_open (self->cuda, GST_ELEMENT (src))))
    return TRUE;
  GST_ELEMENT_ERROR (src, RESOURCE, OPEN_READ_WRITE, ("no CUDA context"), (NULL));
  return FALSE;
}

static void
chaos_source_set_context (GstElement * element, GstContext * context)
{
  ChaosSource *self = (ChaosSource *) element;

  if (self->cuda != NULL)
    fanout_cuda_set_context (self->cuda, element, context);
  GST_ELEMENT_CLASS (chaos_source_parent_class)->set_context (element, context);
}

static gboolean
chaos_source_event (GstBaseSrc * src, GstEvent * event)
{
  ChaosSource *self = (ChaosSource *) src;

  if (gst_video_event_is_force_key_unit (event))
    atomic_store (&self->key_due, TRUE);
  return GST_BASE_SRC_CLASS (chaos_source_parent_class)->event (src, event);
}

static gboolean
chaos_source_query (GstBaseSrc * src, GstQuery * query)
{
  ChaosSource *self = (ChaosSource *) src;

  if (self->cuda != NULL && fanout_cuda_query (self->cuda, GST_ELEMENT (src), query))
    return TRUE;
  return GST_BASE_SRC_CLASS (chaos_source_parent_class)->query (src, query);
}

static void
chaos_source_finalize (GObject * object)
{
  ChaosSource *self = (ChaosSource *) object;

  fanout_cuda_free (self->cuda);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->unlocked);
  G_OBJECT_CLASS (chaos_source_parent_class)->finalize (object);
}

static void
chaos_source_class_init (ChaosSourceClass * klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSrcClass *base_class = GST_BASE_SRC_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = chaos_source_finalize;
  gst_element_class_add_static_pad_template (element_class, &template);
  gst_element_class_set_static_metadata (element_class, "Stamped frames", "Source/Video",
      "Frames that say which life of the publisher they come from, and their number", "gst-cuframes");
  element_class->set_context = chaos_source_set_context;
  base_class->get_caps = chaos_source_get_caps;
  base_class->set_caps = chaos_source_set_caps;
  base_class->decide_allocation = chaos_source_decide_allocation;
  base_class->unlock = chaos_source_unlock;
  base_class->unlock_stop = chaos_source_unlock_stop;
  base_class->start = chaos_source_start;
  base_class->query = chaos_source_query;
  base_class->event = chaos_source_event;
  GST_PUSH_SRC_CLASS (klass)->create = chaos_source_create;
}

static void
chaos_source_init (ChaosSource * self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->unlocked);
  gst_base_src_set_live (GST_BASE_SRC (self), TRUE);
  gst_base_src_set_format (GST_BASE_SRC (self), GST_FORMAT_TIME);
  gst_base_src_set_do_timestamp (GST_BASE_SRC (self), TRUE);
}

GstElement *
chaos_source_new (ChaosChild * child)
{
  ChaosSource *self = g_object_new (chaos_source_get_type (), "name", "stamped", NULL);

  self->child = child;
  if (child->shared->config.cuda)
    self->cuda = fanout_cuda_new ();
  return GST_ELEMENT (self);
}
