/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool of host memory whose buffers are slots of a ring, so that whoever writes to them writes what subscribers will read.
 *
 * SECTION:gstcuframespool: a #GstBufferPool whose buffers can be published without a copy. */
#include "gstcuframespool.h"

#include "gstcuframeshostallocator.h"
#include "gstcuframesslotpool.h"

struct _GstCuframesPool
{
  GstBufferPool parent;
  GstCuframesSlotPool slots;
  GstAllocator *allocator;
};

G_DEFINE_TYPE (GstCuframesPool, gst_cuframes_pool, GST_TYPE_BUFFER_POOL);

static gint
make_host_arena (GstBufferPool * pool, guint64 size, CuframesArena ** arena, gchar ** text)
{
  return cuframes_arena_new_host (size, arena);
}

static GstMemory *
wrap_host_slot (GstBufferPool * pool, GstCuframesSlot * slot, const GstVideoInfo * info, gsize size)
{
  CuframesArena *arena = cuframes_ring_peek_arena (slot->ring);
  const guint64 offset = cuframes_ring_get_slot_address (slot->ring, slot->index) - cuframes_arena_get_address (arena);
  GstMemory *memory = gst_cuframes_host_allocator_wrap (GST_CUFRAMES_HOST_ALLOCATOR (GST_CUFRAMES_POOL (pool)->allocator), 0, arena,
      offset, size, slot, gst_cuframes_slot_free);

  gst_cuframes_slot_attach (slot, memory);
  return memory;
}

static const GstCuframesSlotPoolKind host_kind = {
  .make_arena = make_host_arena,
  .wrap = wrap_host_slot,
  .slot_alignment = 4096,
  .fence_offset = CUFRAMES_NONE,
};

static const gchar **
pool_get_options (GstBufferPool * pool)
{
  static const gchar *options[] = { GST_BUFFER_POOL_OPTION_VIDEO_META, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT, NULL };
  return options;
}

/* An alignment makes lines longer than the caps say, which only a consumer of GstVideoMeta can read. */
static gboolean
lay_out (GstStructure * config, GstVideoInfo * info)
{
  GstVideoAlignment alignment;

  if (!gst_buffer_pool_config_has_option (config, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT)
      || !gst_buffer_pool_config_has_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META))
    return TRUE;
  gst_buffer_pool_config_get_video_alignment (config, &alignment);
  if (!gst_video_info_align (info, &alignment))
    return FALSE;
  gst_buffer_pool_config_set_video_alignment (config, &alignment);
  return TRUE;
}

static gboolean
pool_set_config (GstBufferPool * pool, GstStructure * config)
{
  GstCuframesPool *self = GST_CUFRAMES_POOL (pool);
  GstVideoInfo info;
  GstCaps *caps = NULL;
  gboolean is_video;

  gst_buffer_pool_config_get_params (config, &caps, NULL, NULL, NULL);
  is_video = caps != NULL && gst_video_info_from_caps (&info, caps) && GST_VIDEO_INFO_FORMAT (&info) != GST_VIDEO_FORMAT_ENCODED;
  if (is_video && !lay_out (config, &info))
    return FALSE;
  if (!gst_cuframes_slot_pool_configure (&self->slots, config, is_video ? &info : NULL))
    return FALSE;
  return GST_BUFFER_POOL_CLASS (gst_cuframes_pool_parent_class)->set_config (pool, config);
}

static gboolean
pool_start (GstBufferPool * pool)
{
  return gst_cuframes_slot_pool_start (&GST_CUFRAMES_POOL (pool)->slots, pool);
}

static gboolean
pool_stop (GstBufferPool * pool)
{
  gst_cuframes_slot_pool_stop (&GST_CUFRAMES_POOL (pool)->slots);
  return TRUE;
}

static GstFlowReturn
pool_acquire_buffer (GstBufferPool * pool, GstBuffer ** buffer, GstBufferPoolAcquireParams * params)
{
  return gst_cuframes_slot_pool_acquire (&GST_CUFRAMES_POOL (pool)->slots, pool, buffer, params);
}

static void
pool_release_buffer (GstBufferPool * pool, GstBuffer * buffer)
{
  gst_buffer_unref (buffer);
}

static void
pool_finalize (GObject * object)
{
  GstCuframesPool *self = GST_CUFRAMES_POOL (object);

  gst_cuframes_slot_pool_clear (&self->slots);
  gst_clear_object (&self->allocator);
  G_OBJECT_CLASS (gst_cuframes_pool_parent_class)->finalize (object);
}

static void
gst_cuframes_pool_class_init (GstCuframesPoolClass * klass)
{
  GstBufferPoolClass *pool_class = GST_BUFFER_POOL_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = pool_finalize;
  pool_class->get_options = pool_get_options;
  pool_class->set_config = pool_set_config;
  pool_class->start = pool_start;
  pool_class->stop = pool_stop;
  pool_class->acquire_buffer = pool_acquire_buffer;
  pool_class->release_buffer = pool_release_buffer;
}

static void
gst_cuframes_pool_init (GstCuframesPool * self)
{
  self->allocator = gst_cuframes_host_allocator_new ();
  self->slots.kind = &host_kind;
}

/**
 * gst_cuframes_pool_new:
 * @slots: frames that subscribers can see at a time, %CUFRAMES_SLOTS_MIN to %CUFRAMES_SLOTS_MAX; what the producer writes at a time
 *   (the minimum of buffers in the pool's configuration) is added
 *
 * Makes a pool of host memory. Each time it is activated it makes a ring.
 *
 * Returns: (transfer full): the pool
 *
 * Since: 0.1
 */
GstBufferPool *
gst_cuframes_pool_new (guint slots)
{
  GstCuframesPool *self = gst_object_ref_sink (g_object_new (GST_TYPE_CUFRAMES_POOL, NULL));

  self->slots.slots = slots;
  return GST_BUFFER_POOL_CAST (self);
}

/**
 * gst_cuframes_pool_set_error_func:
 * @pool: (type GstCuframesPool): a pool that is not active
 * @func: (scope notified): what to call when it cannot start
 * @user_data: for @func
 * @notify: (nullable): frees @user_data
 *
 * Lets an element tell its user why a pool cannot start, which the one that activates it cannot know.
 *
 * Since: 0.1
 */
void
gst_cuframes_pool_set_error_func (GstBufferPool * pool, GstCuframesPoolErrorFunction func, gpointer user_data, GDestroyNotify notify)
{
  GstCuframesSlotPool *slots = &GST_CUFRAMES_POOL (pool)->slots;

  slots->error_func = func;
  slots->error_data = user_data;
  slots->error_notify = notify;
}

/**
 * gst_cuframes_pool_peek_ring: (skip)
 * @pool: (type GstCuframesPool): a pool
 *
 * Returns: (transfer none) (nullable): the ring that its buffers are slots of, while it is active
 *
 * Since: 0.1
 */
CuframesRing *
gst_cuframes_pool_peek_ring (GstBufferPool * pool)
{
  return GST_CUFRAMES_POOL (pool)->slots.ring;
}
