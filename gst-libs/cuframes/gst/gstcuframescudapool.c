/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pool of GPU memory whose buffers are slots of a ring. It is a GstCudaBufferPool, because nvcodec's decoders write into no other, and
 * does nothing of what that one does.
 *
 * SECTION:gstcuframescudapool: a #GstCudaBufferPool whose buffers can be published without a copy. */
#include "gstcuframescudapool.h"

#include "cuframes-arena-cuda.h"
#include "gstcudavmmallocator-private.h"
#include "gstcuframescompat.h"
#include "gstcuframesslotpool.h"

struct _GstCuframesCudaPool
{
  GstCudaBufferPool parent;
  GstCuframesSlotPool slots;
  GstCudaVmmAllocator *allocator;
  GstCudaStream *stream;        /* that upstream writes on; NULL if it did not say */
};

struct _GstCuframesCudaPoolClass
{
  GstCudaBufferPoolClass parent_class;
};

G_DEFINE_TYPE (GstCuframesCudaPool, gst_cuframes_cuda_pool, GST_TYPE_CUDA_BUFFER_POOL);

static gint
make_cuda_arena (GstBufferPool * pool, guint64 size, CuframesArena ** arena, gchar ** text)
{
  GstCuframesCudaPool *self = GST_CUFRAMES_CUDA_POOL (pool);
  CuframesCudaDevice *device = gst_cuda_vmm_allocator_peek_device (self->allocator);
  gchar said[CUFRAMES_TEXT_BYTES] = "";
  const gint r = cuframes_arena_new_cuda (device, size, arena);

  if (r != 0) {
    cuframes_cuda_device_get_text (device, said, sizeof said);
    *text = g_strdup_printf ("Cannot take %" G_GUINT64_FORMAT " MiB of GPU memory for a ring: %s. Ask for fewer slots, or free GPU memory",
        size >> 20, said);
  }
  return r;
}

static GstMemory *
wrap_cuda_slot (GstBufferPool * pool, GstCuframesSlot * slot, const GstVideoInfo * info, gsize size)
{
  GstCuframesCudaPool *self = GST_CUFRAMES_CUDA_POOL (pool);
  CuframesArena *arena = cuframes_ring_peek_arena (slot->ring);
  GstMemory *memory = gst_cuda_vmm_allocator_wrap (self->allocator, 0, info, self->stream, arena,
      cuframes_ring_get_slot_address (slot->ring, slot->index) - cuframes_arena_get_address (arena), slot, gst_cuframes_slot_free);

  gst_cuframes_slot_attach (slot, memory);
  return memory;
}

/* 512 is what cuMemAllocPitch() aligns to, and more than textures and NVENC ask for. */
static const GstCuframesSlotPoolKind cuda_kind = {
  .make_arena = make_cuda_arena,
  .wrap = wrap_cuda_slot,
  .data_offset = CUFRAMES_ARENA_CUDA_FENCE_BYTES,
  .slot_alignment = 512,
  .fence_offset = 0,
};

static const gchar **
cuda_pool_get_options (GstBufferPool * pool)
{
  static const gchar *options[] = { GST_BUFFER_POOL_OPTION_VIDEO_META, NULL };
  return options;
}

/* The parent's would allocate; what is kept of the configuration is the grandparent's. */
static gboolean
cuda_pool_set_config (GstBufferPool * pool, GstStructure * config)
{
  GstCuframesCudaPool *self = GST_CUFRAMES_CUDA_POOL (pool);
  GstBufferPoolClass *grandparent = g_type_class_peek (GST_TYPE_BUFFER_POOL);
  GstVideoInfo info, laid_out;
  GstCaps *caps = NULL;

  if (!gst_buffer_pool_config_get_params (config, &caps, NULL, NULL, NULL) || caps == NULL || !gst_video_info_from_caps (&info, caps))
    return FALSE;
  if (!gst_cuda_vmm_allocator_lay_out (self->allocator, &info, &laid_out)
      || !gst_cuframes_slot_pool_configure (&self->slots, config, &laid_out))
    return FALSE;
  gst_cuframes_compat_stream_unref (self->stream);
  self->stream = gst_cuframes_compat_config_get_stream (config);
  return grandparent->set_config (pool, config);
}

static gboolean
cuda_pool_start (GstBufferPool * pool)
{
  return gst_cuframes_slot_pool_start (&GST_CUFRAMES_CUDA_POOL (pool)->slots, pool);
}

static gboolean
cuda_pool_stop (GstBufferPool * pool)
{
  gst_cuframes_slot_pool_stop (&GST_CUFRAMES_CUDA_POOL (pool)->slots);
  return TRUE;
}

static GstFlowReturn
cuda_pool_acquire_buffer (GstBufferPool * pool, GstBuffer ** buffer, GstBufferPoolAcquireParams * params)
{
  return gst_cuframes_slot_pool_acquire (&GST_CUFRAMES_CUDA_POOL (pool)->slots, pool, buffer, params);
}

static void
cuda_pool_release_buffer (GstBufferPool * pool, GstBuffer * buffer)
{
  gst_buffer_unref (buffer);
}

static void
cuda_pool_finalize (GObject * object)
{
  GstCuframesCudaPool *self = GST_CUFRAMES_CUDA_POOL (object);

  gst_cuframes_slot_pool_clear (&self->slots);
  gst_cuframes_compat_stream_unref (self->stream);
  gst_clear_object (&self->allocator);
  G_OBJECT_CLASS (gst_cuframes_cuda_pool_parent_class)->finalize (object);
}

static void
gst_cuframes_cuda_pool_class_init (GstCuframesCudaPoolClass * klass)
{
  GstBufferPoolClass *pool_class = GST_BUFFER_POOL_CLASS (klass);

  G_OBJECT_CLASS (klass)->finalize = cuda_pool_finalize;
  pool_class->get_options = cuda_pool_get_options;
  pool_class->set_config = cuda_pool_set_config;
  pool_class->start = cuda_pool_start;
  pool_class->stop = cuda_pool_stop;
  pool_class->acquire_buffer = cuda_pool_acquire_buffer;
  pool_class->release_buffer = cuda_pool_release_buffer;
}

static void
gst_cuframes_cuda_pool_init (GstCuframesCudaPool * self)
{
  self->slots.kind = &cuda_kind;
}

/**
 * gst_cuframes_cuda_pool_new:
 * @allocator: the GPU to take memory from
 * @slots: frames that subscribers can see at a time; what the producer writes at a time is added
 *
 * Makes a pool of GPU memory. Each time it is activated it makes a ring.
 *
 * Returns: (transfer full) (type GstBufferPool): the pool
 *
 * Since: 0.1
 */
GstBufferPool *
gst_cuframes_cuda_pool_new (GstCudaVmmAllocator * allocator, guint slots)
{
  GstCuframesCudaPool *self = gst_object_ref_sink (g_object_new (GST_TYPE_CUFRAMES_CUDA_POOL, NULL));

  self->allocator = gst_object_ref (allocator);
  self->slots.slots = slots;
  GST_CUDA_BUFFER_POOL (self)->context = gst_object_ref (gst_cuda_vmm_allocator_peek_context (allocator));
  return GST_BUFFER_POOL_CAST (self);
}

/**
 * gst_cuframes_cuda_pool_set_error_func:
 * @pool: a #GstCuframesCudaPool that is not active
 * @func: (scope notified): what to call when it cannot start
 * @user_data: for @func
 * @notify: (nullable): frees @user_data
 *
 * As gst_cuframes_pool_set_error_func().
 *
 * Since: 0.1
 */
void
gst_cuframes_cuda_pool_set_error_func (GstBufferPool * pool, GstCuframesPoolErrorFunction func, gpointer user_data, GDestroyNotify notify)
{
  GstCuframesSlotPool *slots = &GST_CUFRAMES_CUDA_POOL (pool)->slots;

  slots->error_func = func;
  slots->error_data = user_data;
  slots->error_notify = notify;
}

/**
 * gst_cuframes_cuda_pool_peek_ring: (skip)
 * @pool: a #GstCuframesCudaPool
 *
 * Returns: (transfer none) (nullable): the ring that its buffers are slots of, while it is active
 *
 * Since: 0.1
 */
CuframesRing *
gst_cuframes_cuda_pool_peek_ring (GstBufferPool * pool)
{
  return GST_CUFRAMES_CUDA_POOL (pool)->slots.ring;
}
