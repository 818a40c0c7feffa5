/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stamp-source.h"

#include <time.h>

#include "stamp-video.h"

G_DEFINE_TYPE (StampSource, stamp_source, GST_TYPE_PUSH_SRC);

static GstStaticPadTemplate template = GST_STATIC_PAD_TEMPLATE ("src", GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);

static gboolean
is_raw_video (GstCaps * caps)
{
  return gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw");
}

static gboolean
stamp_source_set_caps (GstBaseSrc * src, GstCaps * caps)
{
  return !is_raw_video (caps) || gst_video_info_from_caps (&((StampSource *) src)->info, caps);
}

static guint
configure_pool (StampSource * self, GstBufferPool * pool, GstCaps * caps, guint size, guint least, guint most)
{
  GstStructure *config = gst_buffer_pool_get_config (pool);

  gst_buffer_pool_config_set_params (config, caps, size, least, most);
  if (gst_buffer_pool_has_option (pool, GST_BUFFER_POOL_OPTION_VIDEO_META))
    gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (self->cuda != NULL)
    stamp_cuda_configure (self->cuda, config);
  gst_buffer_pool_set_config (pool, config);
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_get_params (config, NULL, &size, NULL, NULL);
  gst_structure_free (config);
  return size;
}

static gboolean
stamp_source_decide_allocation (GstBaseSrc * src, GstQuery * query)
{
  StampSource *self = (StampSource *) src;
  GstBufferPool *pool = NULL;
  GstCaps *caps;
  guint size = 0, least = 0, most = 0;
  gboolean update = gst_query_get_n_allocation_pools (query) > 0;

  gst_query_parse_allocation (query, &caps, NULL);
  if (!is_raw_video (caps))
    return GST_BASE_SRC_CLASS (stamp_source_parent_class)->decide_allocation (src, query);
  if (update)
    gst_query_parse_nth_allocation_pool (query, 0, &pool, &size, &least, &most);
  if (pool == NULL)
    pool = self->cuda != NULL ? stamp_cuda_pool_new (self->cuda) : gst_video_buffer_pool_new ();
  size = configure_pool (self, pool, caps, MAX (size, (guint) GST_VIDEO_INFO_SIZE (&self->info)), least, most);
  if (update)
    gst_query_set_nth_allocation_pool (query, 0, pool, size, least, most);
  else
    gst_query_add_allocation_pool (query, pool, size, least, most);
  gst_object_unref (pool);
  return GST_BASE_SRC_CLASS (stamp_source_parent_class)->decide_allocation (src, query);
}

GstCaps *
stamp_source_offer_caps (StampSource * self, GstCaps * take_caps, GstCaps * filter)
{
  GstCaps *both;

  if (self->wants_cuda)
    gst_caps_set_features_simple (take_caps, gst_caps_features_new ("memory:CUDAMemory", NULL));
  if (filter == NULL)
    return take_caps;
  both = gst_caps_intersect (take_caps, filter);
  gst_caps_unref (take_caps);
  return both;
}

static guint64
now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

gboolean
stamp_source_wait (StampSource * self, guint64 until_ns)
{
  gboolean goes_on;
  guint64 now;

  g_mutex_lock (&self->lock);
  while (!self->unlocking && (now = now_ns ()) < until_ns) {
    if (until_ns == G_MAXUINT64)
      g_cond_wait (&self->unlocked, &self->lock);
    else
      g_cond_wait_until (&self->unlocked, &self->lock, g_get_monotonic_time () + (gint64) (until_ns - now) / 1000 + 1);
  }
  goes_on = !self->unlocking;
  g_mutex_unlock (&self->lock);
  return goes_on;
}

static gboolean
stamp_host (StampSource * self, GstBuffer * buffer, const Stamp * stamp)
{
  GstVideoFrame frame;
  StampImage image;
  gboolean fits;

  if (!gst_video_frame_map (&frame, &self->info, buffer, GST_MAP_WRITE))
    return FALSE;
  stamp_video_image (&frame, &image);
  fits = self->every_byte ? stamp_fill (&image, stamp) : stamp_write (&image, stamp);
  gst_video_frame_unmap (&frame);
  return fits;
}

GstFlowReturn
stamp_source_make_frame (StampSource * self, const Stamp * stamp, GstBuffer ** ret_buffer)
{
  Stamp timed = *stamp;
  GstFlowReturn flow = GST_BASE_SRC_CLASS (stamp_source_parent_class)->alloc (GST_BASE_SRC (self), 0,
      (guint) GST_VIDEO_INFO_SIZE (&self->info), ret_buffer);

  if (flow != GST_FLOW_OK)
    return flow;
  timed.time_ns = now_ns ();
  if (self->cuda != NULL ? stamp_cuda_write (self->cuda, *ret_buffer, &self->info, &timed) : stamp_host (self, *ret_buffer, &timed))
    return GST_FLOW_OK;
  gst_clear_buffer (ret_buffer);
  GST_ELEMENT_ERROR (self, RESOURCE, WRITE, ("cannot write a stamp into the frame"), (NULL));
  return GST_FLOW_ERROR;
}

static gboolean
set_unlocking (GstBaseSrc * src, gboolean unlocking)
{
  StampSource *self = (StampSource *) src;

  g_mutex_lock (&self->lock);
  self->unlocking = unlocking;
  g_cond_signal (&self->unlocked);
  g_mutex_unlock (&self->lock);
  return TRUE;
}

static gboolean
stamp_source_unlock (GstBaseSrc * src)
{
  return set_unlocking (src, TRUE);
}

static gboolean
stamp_source_unlock_stop (GstBaseSrc * src)
{
  return set_unlocking (src, FALSE);
}

static gboolean
stamp_source_start (GstBaseSrc * src)
{
  StampSource *self = (StampSource *) src;

  if (!self->wants_cuda || (self->cuda != NULL && stamp_cuda_open (self->cuda, GST_ELEMENT (src))))
    return TRUE;
  GST_ELEMENT_ERROR (src, RESOURCE, OPEN_READ_WRITE, ("no CUDA context"), (NULL));
  return FALSE;
}

static void
stamp_source_set_context (GstElement * element, GstContext * context)
{
  StampSource *self = (StampSource *) element;

  if (self->cuda != NULL)
    stamp_cuda_set_context (self->cuda, element, context);
  GST_ELEMENT_CLASS (stamp_source_parent_class)->set_context (element, context);
}

static gboolean
stamp_source_query (GstBaseSrc * src, GstQuery * query)
{
  StampSource *self = (StampSource *) src;

  if (self->cuda != NULL && stamp_cuda_query (self->cuda, GST_ELEMENT (src), query))
    return TRUE;
  return GST_BASE_SRC_CLASS (stamp_source_parent_class)->query (src, query);
}

static void
stamp_source_finalize (GObject * object)
{
  StampSource *self = (StampSource *) object;

  stamp_cuda_free (self->cuda);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->unlocked);
  G_OBJECT_CLASS (stamp_source_parent_class)->finalize (object);
}

static void
stamp_source_class_init (StampSourceClass * klass)
{
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSrcClass *base_class = GST_BASE_SRC_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = stamp_source_finalize;
  gst_element_class_add_static_pad_template (element_class, &template);
  gst_element_class_set_static_metadata (element_class, "Stamped frames", "Source/Video",
      "Frames with nothing in them but where they come from and their number", "gst-cuframes");
  element_class->set_context = stamp_source_set_context;
  base_class->set_caps = stamp_source_set_caps;
  base_class->decide_allocation = stamp_source_decide_allocation;
  base_class->unlock = stamp_source_unlock;
  base_class->unlock_stop = stamp_source_unlock_stop;
  base_class->start = stamp_source_start;
  base_class->query = stamp_source_query;
}

static void
stamp_source_init (StampSource * self)
{
  g_mutex_init (&self->lock);
  g_cond_init (&self->unlocked);
  gst_base_src_set_live (GST_BASE_SRC (self), TRUE);
  gst_base_src_set_format (GST_BASE_SRC (self), GST_FORMAT_TIME);
  gst_base_src_set_do_timestamp (GST_BASE_SRC (self), TRUE);
}

void
stamp_source_use_cuda (StampSource * self)
{
  self->wants_cuda = TRUE;
  self->cuda = stamp_cuda_new ();
}
