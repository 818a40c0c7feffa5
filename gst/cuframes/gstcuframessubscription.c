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
  CuframesFrameInfo layout;     /* of the newest frame, if it was found sound */
  guint max_leases;

  /* Made before the streaming thread sleeps, so that it has less to do, all of it cold, when a frame wakes it. */
  GstBuffer *spare;             /* laid out like the newest frame; in host memory with a memory that is still to be pointed at one */
  gpointer spare_held;

  GMutex lock;                  /* guards what follows */
  GCond given_back;
  guint held;                   /* frames of the current ring that are out; those of former ones do not count */
  guint ring_serial;
  gboolean waiting;
  gboolean flushing;
};

/* A frame that some buffer's memory is. */
typedef struct
{
  GstCuframesSubscription *subscription;
  CuframesFrame *frame;
  guint ring_serial;
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
  gst_clear_buffer (&self->spare);
  g_free (self->spare_held);
  gst_clear_object (&self->allocator);
  self->arena = cuframes_arena_unref (self->arena);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_clear_caps (&self->caps);
  g_mutex_clear (&self->lock);
  g_cond_clear (&self->given_back);
  g_free (self);
}

/* A connection begins, which allows so many frames to be held. */
void
gst_cuframes_subscription_begin (GstCuframesSubscription * self, guint max_leases)
{
  self->max_leases = max_leases;
}

/* Before frames in GPU memory are wrapped. A reference is taken. */
void
gst_cuframes_subscription_set_gpu (GstCuframesSubscription * self, GstCuframesGpu * gpu)
{
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  self->gpu = gst_cuframes_gpu_ref (gpu);
}

/* The publisher has gone. */
void
gst_cuframes_subscription_end (GstCuframesSubscription * self)
{
  self->arena = cuframes_arena_unref (self->arena);
  if (self->gpu != NULL)
    gst_cuframes_gpu_forget_frames (self->gpu);
  self->layout.plane_count = 0;
  gst_clear_buffer (&self->spare);
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
  if (!gst_cuframes_gpu_check_caps (caps, &info, error)) {
    gst_caps_unref (caps);
    return NULL;
  }
  gst_caps_take (&self->caps, caps);
  self->info = info;
  g_mutex_lock (&self->lock);
  self->held = 0;
  self->ring_serial++;
  g_mutex_unlock (&self->lock);
  memset (&self->layout, 0, sizeof self->layout);
  gst_clear_buffer (&self->spare);
  if (self->gpu != NULL)
    gst_cuframes_gpu_forget_frames (self->gpu);
  return self->caps;
}

static void
give_back (gpointer data)
{
  HeldFrame *held = data;
  GstCuframesSubscription *self = held->subscription;

  cuframes_frame_unref (held->frame);
  g_mutex_lock (&self->lock);
  if (held->ring_serial == self->ring_serial)
    self->held--;
  if (self->waiting)
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

static HeldFrame *
hold (GstCuframesSubscription * self, CuframesFrame * frame)
{
  HeldFrame *held = self->spare_held != NULL ? g_steal_pointer (&self->spare_held) : g_new (HeldFrame, 1);

  held->subscription = self;
  held->frame = frame;
  g_atomic_ref_count_inc (&self->references);
  g_mutex_lock (&self->lock);
  held->ring_serial = self->ring_serial;
  self->held++;
  g_mutex_unlock (&self->lock);
  return held;
}

/* Makes ready what the next frame will need, if it is like the last. Streaming thread. */
void
gst_cuframes_subscription_prepare (GstCuframesSubscription * self)
{
  if (self->spare_held == NULL)
    self->spare_held = g_new (HeldFrame, 1);
  if (self->spare != NULL || self->layout.plane_count == 0)
    return;
  self->spare = gst_buffer_new ();
  gst_cuframes_frame_add_layout (&self->layout, &self->info, self->spare);
  if (cuframes_arena_get_kind (self->arena) == CUFRAMES_MEMORY_HOST)
    gst_buffer_append_memory (self->spare, gst_cuframes_host_allocator_wrap (GST_CUFRAMES_HOST_ALLOCATOR (self->allocator),
            GST_MEMORY_FLAG_READONLY, self->arena, 0, self->layout.size_bytes, NULL, give_back));
}

/* (nullable): a buffer that is the frame, laid out; the frame is consumed, also on failure. */
static GstBuffer *
wrap_in_place (GstCuframesSubscription * self, CuframesFrame * frame)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);
  CuframesArena *arena = cuframes_frame_peek_arena (frame);
  const gboolean on_gpu = cuframes_arena_get_kind (arena) == CUFRAMES_MEMORY_CUDA;
  GstMemory *memory;

  if (self->spare == NULL || !gst_cuframes_frame_layout_is (info, &self->layout)) {
    gst_clear_buffer (&self->spare);
    self->layout = *info;
    remember_arena (self, arena);
    gst_cuframes_subscription_prepare (self);
  }
  if (on_gpu) {
    memory = gst_cuframes_gpu_wrap_frame (self->gpu, frame, &self->info, hold (self, frame), give_back);
    if (memory == NULL)
      return NULL;
    gst_buffer_append_memory (self->spare, memory);
  } else
    gst_cuframes_host_memory_retarget (gst_buffer_peek_memory (self->spare, 0), arena, cuframes_frame_get_offset (frame), info->size_bytes,
        hold (self, frame));
  return g_steal_pointer (&self->spare);
}

/* Whether the frame must be copied so that the next one can still be taken. */
static gboolean
must_copy (GstCuframesSubscription * self)
{
  gboolean copy;

  if (self->io_mode != GST_CUFRAMES_IO_MODE_AUTO)
    return self->io_mode == GST_CUFRAMES_IO_MODE_COPY;
  g_mutex_lock (&self->lock);
  copy = self->held + 1 >= self->max_leases;
  g_mutex_unlock (&self->lock);
  return copy;
}

/* The same buffer with memory of its own; FALSE if there is none. */
static gboolean
copy_memory (GstBuffer * buffer)
{
  GstMemory *copy = gst_memory_copy (gst_buffer_peek_memory (buffer, 0), 0, -1);

  if (copy != NULL)
    gst_buffer_replace_memory (buffer, 0, copy);
  return copy != NULL;
}

static void
read_metas (GstCuframesSubscription * self, CuframesFrame * frame, GstBuffer * buffer)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);
  GError *error = NULL;
  guint skipped = 0;

  if (gst_cuframes_codec_metas_from_bytes (buffer, cuframes_frame_get_metas (frame), info->meta_bytes, &skipped, &error))
    return;
  GST_WARNING_OBJECT (self->element, "metas of frame %" G_GUINT64_FORMAT " are left out: %s", info->sequence, error->message);
  g_clear_error (&error);
}

/* The frame is consumed, also on failure. (nullable) (transfer full): its buffer, with time stamps as the publisher gave them. NULL without an
 * error is a frame that its publisher never completed. */
GstBuffer *
gst_cuframes_subscription_wrap (GstCuframesSubscription * self, CuframesFrame * frame, gboolean * copied, GError ** error)
{
  const CuframesFrameInfo *info = cuframes_frame_get_info (frame);
  const gboolean on_gpu = cuframes_arena_get_kind (cuframes_frame_peek_arena (frame)) == CUFRAMES_MEMORY_CUDA;
  GstBuffer *buffer;

  if (self->caps == NULL || on_gpu != gst_cuframes_gpu_caps_are_gpu (self->caps)
      || (!gst_cuframes_frame_layout_is (info, &self->layout) && !gst_cuframes_frame_layout_fits (info, &self->info))) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The publisher sent a frame that does not fit its own format");
    cuframes_frame_unref (frame);
    return NULL;
  }
  *copied = must_copy (self);
  cuframes_frame_ref (frame);
  buffer = wrap_in_place (self, frame);
  if (buffer != NULL) {
    gst_cuframes_frame_apply (info, buffer);
    if (info->meta_bytes > 0)
      read_metas (self, frame, buffer);
  }
  if (buffer != NULL && *copied && !copy_memory (buffer)) {
    g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "There is no memory to copy a frame to");
    gst_clear_buffer (&buffer);
  }
  cuframes_frame_unref (frame);
  return buffer;
}

/* Frames that are out. Any thread. */
guint
gst_cuframes_subscription_count_held (GstCuframesSubscription * self)
{
  guint held;

  g_mutex_lock (&self->lock);
  held = self->held;
  g_mutex_unlock (&self->lock);
  return held;
}

/* Waits until one of the frames that are out comes back. FALSE when flushing. */
gboolean
gst_cuframes_subscription_wait (GstCuframesSubscription * self)
{
  gboolean flushing;

  g_mutex_lock (&self->lock);
  self->waiting = TRUE;
  while (self->held >= self->max_leases && !self->flushing)
    g_cond_wait (&self->given_back, &self->lock);
  self->waiting = FALSE;
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
