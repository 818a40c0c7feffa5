/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A GPU as an element uses it: its GstCudaContext, the core's view of it, and a stream. The elements know no more of CUDA than the calls of
 * this file. */
#include "gstcuframesgpu.h"

#include <errno.h>

#include "cuframes-arena-cuda.h"
#include "gstcudavmmcache.h"
#include "gstcudavmmcopy.h"
#include "gstcudavmmformats.h"
#include "gstcuframescudapool.h"

/* How long the CPU waits for a fence where downstream carries no stream. */
#define FENCE_NS (2 * GST_SECOND)

/* How long the CPU looks at a fence before it queues a wait for it: about as long as queueing takes in a process that has just woken (27 us on
 * an H200), so that at worst twice the better choice is spent. A. Karlin et al., "Empirical studies of competitive spinning" (1991). */
#define FENCE_SPIN_US 25

struct _GstCuframesGpu
{
  gatomicrefcount references;
  GstCudaVmmAllocator *allocator;
  GstCudaStream *stream;
  GstCudaVmmCache *cache;       /* of the newest arena that frames were taken from; streaming thread */
};

gboolean
gst_cuframes_gpu_caps_are_gpu (const GstCaps * caps)
{
  return caps != NULL && gst_caps_get_size (caps) > 0
      && gst_caps_features_contains (gst_caps_get_features (caps, 0), GST_CAPS_FEATURE_MEMORY_CUDA_MEMORY);
}

/* FALSE with error set if these are caps of GPU memory and pictures of that format, which info has, cannot lie there. */
gboolean
gst_cuframes_gpu_check_caps (const GstCaps * caps, const GstVideoInfo * info, GError ** error)
{
  if (!gst_cuframes_gpu_caps_are_gpu (caps) || gst_cuda_vmm_formats_have (GST_VIDEO_INFO_FORMAT (info)))
    return TRUE;
  g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "GStreamer has no GPU memory of the format %s: convert it, or use host memory",
      gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (info)));
  return FALSE;
}

/* (transfer full) (nullable): neighbours ask in their threads while the element's own may close it. */
static GstCudaContext *
ref_context (GstElement * element, GstObject ** cuda_context)
{
  GstCudaContext *context;

  GST_OBJECT_LOCK (element);
  context = *cuda_context == NULL ? NULL : gst_object_ref (*cuda_context);
  GST_OBJECT_UNLOCK (element);
  return context;
}

/* Any thread, as the two below. cuda_context is the element's and is NULL at first. */
void
gst_cuframes_gpu_set_context (GstElement * element, GstContext * context, gint device_id, GstObject ** cuda_context)
{
  GstCudaContext *own = ref_context (element, cuda_context);

  /* Not under the lock, which it may take to name the element. */
  gst_cuda_handle_set_context (element, context, device_id, &own);
  GST_OBJECT_LOCK (element);
  if (*cuda_context == NULL)
    *cuda_context = (GstObject *) g_steal_pointer (&own);
  GST_OBJECT_UNLOCK (element);
  gst_clear_object (&own);
}

gboolean
gst_cuframes_gpu_answer_query (GstElement * element, GstQuery * query, GstObject ** cuda_context)
{
  GstCudaContext *context;
  gboolean answered;

  if (GST_QUERY_TYPE (query) != GST_QUERY_CONTEXT)
    return FALSE;
  context = ref_context (element, cuda_context);
  answered = gst_cuda_handle_context_query (element, query, context);
  gst_clear_object (&context);
  return answered;
}

void
gst_cuframes_gpu_clear_context (GstElement * element, GstObject ** cuda_context)
{
  GstObject *context;

  GST_OBJECT_LOCK (element);
  context = g_steal_pointer (cuda_context);
  GST_OBJECT_UNLOCK (element);
  gst_clear_object (&context);
}

/* (nullable) (transfer full): on failure text says what is missing. cuda_context is the element's, set by its neighbours or here. */
GstCuframesGpu *
gst_cuframes_gpu_new (GstElement * element, gint device_id, GstObject ** cuda_context, gchar ** text)
{
  gchar said[CUFRAMES_TEXT_BYTES] = "";
  GstCuframesGpu *self;
  GstCudaContext *context;
  GstAllocator *allocator;
  GError *error = NULL;

  /* GStreamer says less of what is missing, and before 1.24 its second try never returns where there is no GPU. */
  if (cuframes_cuda_check_driver (said, sizeof said) != 0) {
    *text = g_strdup_printf ("CUDA cannot be used: %s; or use host memory (cudadownload before the sink)", said);
    return NULL;
  }
  if (!gst_cuda_load_library ()) {
    *text = g_strdup ("CUDA cannot be used: GStreamer finds no function that it needs in libcuda.so.1: install a newer NVIDIA driver, or use "
        "host memory (cudadownload before the sink)");
    return NULL;
  }
  /* It sets the pointer without the lock, which it cannot be called under: neighbours that it asks hand their context to the element. */
  gst_cuda_ensure_element_context (element, device_id, (GstCudaContext **) cuda_context);
  context = ref_context (element, cuda_context);
  if (context == NULL) {
    *text = g_strdup_printf ("CUDA cannot be used on device %d: the driver gave no context; see that a GPU is there (nvidia-smi) and "
        "that this process may use it", device_id);
    return NULL;
  }
  allocator = gst_cuda_vmm_allocator_new (context, &error);
  if (allocator == NULL) {
    *text = g_strdup (error->message);
    g_clear_error (&error);
    gst_object_unref (context);
    return NULL;
  }
  self = g_new0 (GstCuframesGpu, 1);
  g_atomic_ref_count_init (&self->references);
  self->allocator = GST_CUDA_VMM_ALLOCATOR (allocator);
  self->stream = gst_cuframes_compat_stream_new (context);
  gst_object_unref (context);
  return self;
}

GstCuframesGpu *
gst_cuframes_gpu_ref (GstCuframesGpu * self)
{
  g_atomic_ref_count_inc (&self->references);
  return self;
}

static gpointer
free_gpu (gpointer data)
{
  GstCuframesGpu *self = data;

  gst_cuda_vmm_cache_close (self->cache);
  gst_cuframes_compat_stream_unref (self->stream);
  gst_object_unref (self->allocator);
  g_free (self);
  return NULL;
}

/* The last reference may go in a thread of the driver, where CUDA may not be called, and with it the context. */
void
gst_cuframes_gpu_unref (GstCuframesGpu * self)
{
  if (g_atomic_ref_count_dec (&self->references))
    cuframes_cuda_run_outside_callbacks (free_gpu, self);
}

GstBufferPool *
gst_cuframes_gpu_make_pool (GstCuframesGpu * self, guint slots)
{
  return gst_cuframes_cuda_pool_new (self->allocator, slots);
}

void
gst_cuframes_gpu_set_error_func (GstBufferPool * pool, GstCuframesPoolErrorFunction func, gpointer user_data, GDestroyNotify notify)
{
  gst_cuframes_cuda_pool_set_error_func (pool, func, user_data, notify);
}

CuframesRing *
gst_cuframes_gpu_peek_ring (GstBufferPool * pool)
{
  return gst_cuframes_cuda_pool_peek_ring (pool);
}

/* How pictures lie in GPU memory. Ask once for a format, not for a frame: it takes memory for one and gives it back, for which the driver waits
 * until the GPU is idle. FALSE if there is none left. */
gboolean
gst_cuframes_gpu_lay_out (GstCuframesGpu * self, const GstVideoInfo * info, GstVideoInfo * laid_out)
{
  return gst_cuda_vmm_allocator_lay_out (self->allocator, info, laid_out);
}

/* (nullable) (transfer full): memory to copy a picture into; the slot is consumed. */
GstMemory *
gst_cuframes_gpu_wrap_slot (GstCuframesGpu * self, GstCuframesSlot * slot, const GstVideoInfo * laid_out)
{
  CuframesArena *arena = cuframes_ring_peek_arena (slot->ring);
  GstMemory *memory;

  if (GST_VIDEO_INFO_SIZE (laid_out) > cuframes_ring_get_slot_bytes (slot->ring)) {
    gst_cuframes_slot_free (slot);
    return NULL;
  }
  memory = gst_cuda_vmm_allocator_wrap (self->allocator, 0, laid_out, self->stream, arena,
      cuframes_ring_get_slot_address (slot->ring, slot->index) - cuframes_arena_get_address (arena), slot, gst_cuframes_slot_free);
  gst_cuframes_slot_attach (slot, memory);
  return memory;
}

/* Queues the picture's copy on the target's stream. A source in GPU memory is complete before; one that is written on another stream is
 * waited for. The source may be freed once the copy is done, so that is waited for too. */
gboolean
gst_cuframes_gpu_copy (GstCuframesGpu * self, const GstVideoInfo * info, GstBuffer * from, GstBuffer * to)
{
  const gboolean from_gpu = gst_is_cuda_memory (gst_buffer_peek_memory (from, 0));
  CUstream stream = gst_cuframes_compat_stream_get_handle (self->stream);
  GstVideoFrame source, target;
  gboolean copied = FALSE;

  if (!gst_video_frame_map (&source, info, from, (GstMapFlags) (GST_MAP_READ | (from_gpu ? GST_MAP_CUDA : 0))))
    return FALSE;
  /* After the mapping, which queues the upload of what the CPU wrote. */
  if (from_gpu)
    gst_cuframes_compat_memory_sync (gst_buffer_peek_memory (from, 0));
  if (gst_video_frame_map (&target, info, to, (GstMapFlags) (GST_MAP_WRITE | GST_MAP_CUDA))) {
    if (gst_cuda_context_push (gst_cuda_vmm_allocator_peek_context (self->allocator))) {
      copied = TRUE;
      for (guint plane = 0; plane < GST_VIDEO_FRAME_N_PLANES (&source); plane++)
        copied = copied && gst_cuda_vmm_copy_queue_plane (&source.info, plane, from_gpu, GST_VIDEO_FRAME_PLANE_DATA (&source, plane),
            GST_VIDEO_FRAME_PLANE_STRIDE (&source, plane), GST_VIDEO_FRAME_PLANE_DATA (&target, plane),
            GST_VIDEO_FRAME_PLANE_STRIDE (&target, plane), stream);
      copied = CuStreamSynchronize (stream) == CUDA_SUCCESS && copied;
      gst_cuda_context_pop (NULL);
    }
    gst_video_frame_unmap (&target);
  }
  gst_video_frame_unmap (&source);
  gst_cuframes_compat_memory_set_pending (gst_buffer_peek_memory (to, 0), FALSE);
  return copied;
}

/* What the CPU wrote lies in the memory's staging copy until somebody maps it for the GPU. */
static gboolean
upload (GstMemory * memory)
{
  GstMapInfo map;

  if (!gst_memory_map (memory, &map, (GstMapFlags) (GST_MAP_READ | GST_MAP_CUDA)))
    return FALSE;
  gst_memory_unmap (memory, &map);
  return TRUE;
}

/* Whether nobody else in this process can read it, by another branch of a tee for one. */
static gboolean
is_nobody_elses (GstBuffer * buffer, GstMemory * memory)
{
  return GST_MINI_OBJECT_REFCOUNT_VALUE (buffer) == 1 && GST_MINI_OBJECT_REFCOUNT_VALUE (memory) == 1;
}

/* Queues a write of the slot's fence word behind the work that writes the frame. */
static gboolean
queue_fence (GstMemory * memory, guint32 slot, guint64 value, CuframesFrameInfo * info)
{
  GstCudaStream *stream = gst_cuframes_compat_memory_get_stream (memory);
  CuframesArena *arena = gst_cuda_vmm_memory_peek_arena (memory);

  info->fence_value = cuframes_arena_cuda_fence (slot, value);
  if (stream == NULL || cuframes_arena_cuda_queue_write (arena, gst_cuframes_compat_stream_get_handle (stream), info->fence_value) != 0)
    return FALSE;
  info->flags |= CUFRAMES_FRAME_FENCED | (cuframes_arena_cuda_has_mirror (arena) ? CUFRAMES_FRAME_MIRRORED : 0);
  return TRUE;
}

/* Before a slot is published: nothing orders the GPU's writes before the CPU's announcement but this. Either they are waited for here, or a
 * write of the slot's fence word is queued behind them and the frame says so. value rises with every frame of the ring, from 1. What the CPU
 * wrote is waited for in any case, since GStreamer's staging memory must outlive its upload.
 *
 * let_go: for gst_cuframes_gpu_let_go(). Who is alone with the memory now stays so. */
gboolean
gst_cuframes_gpu_complete (GstBuffer * buffer, gboolean by_fence, guint32 slot, guint64 value, CuframesFrameInfo * info,
    GstCuframesGpuLetGo * let_go)
{
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);
  const gboolean by_cpu = GST_MEMORY_FLAG_IS_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_UPLOAD);
  const gboolean alone = is_nobody_elses (buffer, memory);
  gboolean pending;

  *let_go = GST_CUFRAMES_GPU_KEEP;
  if (by_cpu && !upload (memory))
    return FALSE;
  pending = gst_cuframes_compat_memory_is_pending (memory);
  if (by_fence && !by_cpu && pending && queue_fence (memory, slot, value, info)) {
    if (alone)
      *let_go = info->flags & CUFRAMES_FRAME_MIRRORED ? GST_CUFRAMES_GPU_LET_GO : GST_CUFRAMES_GPU_LET_GO_BEHIND_STREAM;
    return TRUE;
  }
  gst_cuframes_compat_memory_sync (memory);
  if (alone && pending)
    *let_go = GST_CUFRAMES_GPU_LET_GO;
  return TRUE;
}

/* Once the slot is published. When its memory is freed, GStreamer would wait for the memory's stream, and so would this library before it
 * gives back the slot. */
void
gst_cuframes_gpu_let_go (GstBuffer * buffer, GstCuframesGpuLetGo let_go)
{
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);

  if (let_go == GST_CUFRAMES_GPU_KEEP)
    return;
  gst_cuframes_compat_memory_set_pending (memory, FALSE);
  if (let_go == GST_CUFRAMES_GPU_LET_GO)
    gst_cuda_vmm_memory_detach_stream (memory);
}

/* Before a publisher says goodbye: whoever waits for its newest frame would wait for ever if this process ended before its GPU. */
void
gst_cuframes_gpu_finish (CuframesRing * ring, guint64 fence)
{
  cuframes_arena_cuda_wait_host (cuframes_ring_peek_arena (ring), fence, FENCE_NS);
}

/* Lets a subscriber that is not connected take frames in GPU memory. */
gint
gst_cuframes_gpu_let_import (GstCuframesGpu * self, CuframesSubscriber * subscriber)
{
  CuframesCudaDevice *device = gst_cuda_vmm_allocator_peek_device (self->allocator);
  guint8 uuids[16][CUFRAMES_UUID_BYTES];
  const guint32 count = cuframes_cuda_device_get_mappable (device, uuids, G_N_ELEMENTS (uuids));

  return cuframes_subscriber_set_import (subscriber, cuframes_arena_import_cuda, device,
      1u << CUFRAMES_MEMORY_HOST | 1u << CUFRAMES_MEMORY_CUDA, uuids[0], MIN (count, G_N_ELEMENTS (uuids)));
}

/* The picture as this frame's own description lays it out. */
static void
lay_out_frame (const CuframesFrameInfo * info, const GstVideoInfo * caps_info, GstVideoInfo * laid_out)
{
  *laid_out = *caps_info;
  for (guint i = 0; i < info->plane_count; i++) {
    laid_out->offset[i] = info->plane_offset_bytes[i];
    laid_out->stride[i] = info->plane_stride_bytes[i];
  }
  laid_out->size = info->size_bytes;
}

static gboolean
completes_soon (const CuframesFrame * frame)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);
  gint64 end;

  if (cuframes_frame_is_complete (frame))
    return TRUE;
  end = g_get_monotonic_time () + FENCE_SPIN_US;
  while (info->flags & CUFRAMES_FRAME_MIRRORED && g_get_monotonic_time () < end)
    if (cuframes_frame_is_complete (frame))
      return TRUE;
  return FALSE;
}

/* No more frames come from where they came from. */
void
gst_cuframes_gpu_forget_frames (GstCuframesGpu * self)
{
  self->cache = gst_cuda_vmm_cache_close (self->cache);
}

/* (nullable) (transfer full): read-only memory of a leased frame. owner is released when the GPU has finished with it; on failure it is
 * released at once. */
GstMemory *
gst_cuframes_gpu_wrap_frame (GstCuframesGpu * self, CuframesFrame * frame, const GstVideoInfo * caps_info, gpointer owner, GDestroyNotify release)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);
  CuframesArena *arena = cuframes_frame_peek_arena (frame);
  const gboolean fenced = !completes_soon (frame);
  GstVideoInfo laid_out;
  GstMemory *memory;
  gboolean complete = TRUE, on_stream = FALSE, orphaned;

  lay_out_frame (info, caps_info, &laid_out);
  if (fenced && self->stream != NULL)
    on_stream = cuframes_arena_cuda_queue_wait (arena, gst_cuframes_compat_stream_get_handle (self->stream), info->fence_value) == 0;
  /* Behind the wait: when the publisher is gone, another subscriber may have let it go before it was queued. */
  orphaned = fenced && cuframes_frame_is_orphaned (frame);
  if (orphaned || (fenced && !on_stream))
    complete = cuframes_arena_cuda_wait_host (arena, info->fence_value, orphaned ? 0 : FENCE_NS) == 0;
  if (!complete) {
    release (owner);
    return NULL;
  }
  if (self->cache == NULL || !gst_cuda_vmm_cache_fits (self->cache, arena, &laid_out)) {
    gst_cuda_vmm_cache_close (self->cache);
    self->cache = gst_cuda_vmm_cache_new (self->allocator, arena, &laid_out, self->stream);
  }
  memory = gst_cuda_vmm_cache_wrap (self->cache, cuframes_frame_get_offset (frame), owner, release);
  gst_cuframes_compat_memory_set_pending (memory, on_stream);
  return memory;
}

/* A new descriptor of the arena that the memory is a part of, -1 if it is none that can be passed. serial is one for each arena of this
 * process. */
gint
gst_cuframes_gpu_export (GstMemory * memory, CuframesArenaInfo * info, guint64 * serial, guint64 * offset)
{
  guint64 size;
  gint fd;

  if (!gst_is_cuda_vmm_memory (memory) || gst_cuda_vmm_memory_peek_arena (memory) == NULL)
    return -1;
  fd = gst_cuda_vmm_memory_export_fd (memory, &size, offset, NULL);
  if (fd < 0)
    return -1;
  *offset += memory->offset;
  cuframes_arena_get_info (gst_cuda_vmm_memory_peek_arena (memory), info);
  *serial = cuframes_arena_get_serial (gst_cuda_vmm_memory_peek_arena (memory));
  return fd;
}

/* Maps an arena of another process for reading: 0, or as cuframes_arena_import_cuda(). */
gint
gst_cuframes_gpu_import (GstCuframesGpu * self, const CuframesArenaInfo * info, gint fd, CuframesArena ** arena)
{
  return cuframes_arena_import_cuda (gst_cuda_vmm_allocator_peek_device (self->allocator), info, fd, arena);
}

/* (transfer full): read-only memory of a complete picture in an arena that was imported; the caller has seen that it lies within. owner is
 * released when the GPU has finished with it. */
GstMemory *
gst_cuframes_gpu_wrap_part (GstCuframesGpu * self, CuframesArena * arena, guint64 offset, const CuframesFrameInfo * frame,
    const GstVideoInfo * caps_info, gpointer owner, GDestroyNotify release)
{
  GstVideoInfo laid_out;
  GstMemory *memory;

  lay_out_frame (frame, caps_info, &laid_out);
  memory = gst_cuda_vmm_allocator_wrap (self->allocator, GST_MEMORY_FLAG_READONLY, &laid_out, self->stream, arena, offset, owner, release);
  gst_cuframes_compat_memory_set_pending (memory, FALSE);
  return memory;
}

/* (transfer none): its model and UUID, for messages. */
const gchar *
gst_cuframes_gpu_get_name (GstCuframesGpu * self)
{
  return cuframes_cuda_device_get_name (gst_cuda_vmm_allocator_peek_device (self->allocator));
}

/* (transfer full): what the driver said last. */
gchar *
gst_cuframes_gpu_explain (GstCuframesGpu * self)
{
  gchar text[CUFRAMES_TEXT_BYTES] = "";

  cuframes_cuda_device_get_text (gst_cuda_vmm_allocator_peek_device (self->allocator), text, sizeof text);
  return g_strdup (text);
}
