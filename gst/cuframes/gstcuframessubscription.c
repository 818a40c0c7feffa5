/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames of a channel as buffers. A frame is handed on where it lies, read-only, and given back when its memory is freed. So that a slow
 * pipeline costs itself and nobody else, the last frame that may be held is copied instead. Knows nothing of connections. */
#include "gstcuframessubscription.h"

#include "gstcuframescodec.h"
#include "gstcuframesframe.h"
#include "gstcuframeshostallocator.h"

struct _GstCuframesSubscription
{
  gatomicrefcount references;
  GstElement *element;          /* not owned; used by the streaming thread alone */
  GstCuframesIOMode io_mode;
  GstAllocator *allocator;
  GstCuframesGpu *gpu;          /* once frames in GPU memory are taken */
  CuframesArena *arena;         /* of the newest frame */
  GstCaps *caps;
  GstVideoInfo info;

  GMutex lock;                  /* guards what follows */
  GCond given_back;
  guint held;
  gboolean flushing;
};

/* A frame that some buffer's memory is. */
typedef struct
{
  GstCuframesSubscription *subscription;
  CuframesFrame *frame;
} HeldFrame;

GstCuframesSubscription *
gst_cuframes_subscription_new (GstElement * element, GstCuframesIOMode io_mode)
{
  GstCuframesSubscription *self = g_new0 (GstCuframesSubscription, 1);

  g_atomic_ref_count_init (&self->references);
  self->element = element;
  self->io_mode = io_mode;
  self->allocator = gst_cuframes_host_allocator_new ();
  g_mutex_init (&self->lock);
  g_cond_init (&self->given_back);
  return self;
}

void
gst_cuframes_subscription_unref (GstCuframesSubscription * self)
{
  if (!g_atomic_ref_count_dec (&self->references))
    return;
  gst_clear_object (&self->allocator);
  self->arena = cuframes_arena_unref (self->arena);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_clear_caps (&self->caps);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->given_back);
  g_free (self);
}

/* Before frames in GPU memory are wrapped. A reference is taken. */
void
gst_cuframes_subscription_set_gpu (GstCuframesSubscription * self, GstCuframesGpu * gpu)
{
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  self->gpu = gst_cuframes_gpu_ref (gpu);
}

/* The publisher has gone: work that waits for a frame which it never completed waits no longer. */
void
gst_cuframes_subscription_end (GstCuframesSubscription * self)
{
  if (self->arena != NULL)
    gst_cuframes_gpu_release_waiters (self->arena);
  self->arena = cuframes_arena_unref (self->arena);
}

/* (nullable) (transfer none): the caps of the frames to come. */
GstCaps *
gst_cuframes_subscription_set_format (GstCuframesSubscription * self, gconstpointer bytes, gsize size, GError ** error)
{
  GstCaps *caps = gst_cuframes_codec_caps_from_bytes (bytes, size, error);
  GstVideoInfo info;

  if (caps == NULL)
    return NULL;
  if (!gst_video_info_from_caps (&info, caps)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The channel carries %s, which is no raw video",
        gst_structure_get_name (gst_caps_get_structure (caps, 0)));
    gst_caps_unref (caps);
    return NULL;
  }
  gst_caps_take (&self->caps, caps);
  self->info = info;
  return self->caps;
}

static void
give_back (gpointer data)
{
  HeldFrame *held = data;
  GstCuframesSubscription *self = held->subscription;

  cuframes_frame_unref (held->frame);
  g_mutex_lock (&self->lock);
  self->held--;
  g_cond_signal (&self->given_back);
  g_mutex_unlock (&self->lock);
  gst_cuframes_subscription_unref (self);
  g_free (held);
}

static void
remember_arena (GstCuframesSubscription * self, CuframesArena * arena)
{
  if (arena == self->arena)
    return;
  cuframes_arena_unref (self->arena);
  self->arena = cuframes_arena_ref (arena);
}

/* (nullable): the frame is consumed, also on failure. */
static GstMemory *
wrap_in_place (GstCuframesSubscription * self, CuframesFrame * frame)
{
  HeldFrame *held = g_new (HeldFrame, 1);

  held->subscription = self;
  held->frame = frame;
  g_atomic_ref_count_inc (&self->references);
  g_mutex_lock (&self->lock);
  self->held++;
  g_mutex_unlock (&self->lock);
  remember_arena (self, cuframes_frame_peek_arena (frame));
  if (cuframes_arena_get_kind (cuframes_frame_peek_arena (frame)) == CUFRAMES_MEMORY_CUDA)
    return gst_cuframes_gpu_wrap_frame (self->gpu, frame, &self->info, held, give_back);
  return gst_cuframes_host_allocator_wrap (GST_CUFRAMES_HOST_ALLOCATOR (self->allocator), GST_MEMORY_FLAG_READONLY,
      cuframes_frame_peek_arena (frame), cuframes_frame_get_offset (frame), cuframes_frame_get_info (frame)->size_bytes, held, give_back);
}

/* Whether the frame must be copied so that the next one can still be taken. */
static gboolean
must_copy (GstCuframesSubscription * self, guint max_leases)
{
  gboolean copy;

  if (self->io_mode != GST_CUFRAMES_IO_MODE_AUTO)
    return self->io_mode == GST_CUFRAMES_IO_MODE_COPY;
  g_mutex_lock (&self->lock);
  copy = self->held + 1 >= max_leases;
  g_mutex_unlock (&self->lock);
  return copy;
}

static GstMemory *
copy_memory (GstMemory * memory)
{
  GstMemory *copy = gst_memory_copy (memory, 0, -1);

  gst_memory_unref (memory);
  return copy;
}

/* The frame is consumed, also on failure. (nullable) (transfer full): its buffer, with time stamps as the publisher gave them. */
GstBuffer *
gst_cuframes_subscription_wrap (GstCuframesSubscription * self, CuframesFrame * frame, guint max_leases, gboolean * copied, GError ** error)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);
  const gboolean copy = must_copy (self, max_leases);
  GstBuffer *buffer;
  GstMemory *memory;
  guint skipped = 0;

  if (self->caps == NULL || !gst_cuframes_frame_layout_fits (info, &self->info)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The publisher sent a frame that does not fit its own format");
    cuframes_frame_unref (frame);
    return NULL;
  }
  buffer = gst_buffer_new ();
  gst_cuframes_frame_apply (info, &self->info, buffer);
  if (info->meta_bytes > 0
      && !gst_cuframes_codec_metas_from_bytes (buffer, cuframes_frame_get_metas (frame), info->meta_bytes, &skipped, error)) {
    GST_WARNING_OBJECT (self->element, "metas of frame %" G_GUINT64_FORMAT " are left out: %s", info->sequence, (*error)->message);
    g_clear_error (error);
  }
  memory = wrap_in_place (self, frame);
  if (memory != NULL && copy)
    memory = copy_memory (memory);
  if (memory == NULL) {
    g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ, "A frame was never completed, or there is no memory to copy it to");
    gst_buffer_unref (buffer);
    return NULL;
  }
  gst_buffer_append_memory (buffer, memory);
  *copied = copy;
  return buffer;
}

/* Waits until one of the frames that are out comes back. FALSE when flushing. */
gboolean
gst_cuframes_subscription_wait (GstCuframesSubscription * self, guint max_leases)
{
  gboolean flushing;

  g_mutex_lock (&self->lock);
  while (self->held >= max_leases && !self->flushing)
    g_cond_wait (&self->given_back, &self->lock);
  flushing = self->flushing;
  g_mutex_unlock (&self->lock);
  return !flushing;
}

void
gst_cuframes_subscription_set_flushing (GstCuframesSubscription * self, gboolean flushing)
{
  g_mutex_lock (&self->lock);
  self->flushing = flushing;
  g_cond_broadcast (&self->given_back);
  g_mutex_unlock (&self->lock);
}
