/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The stream that a sink publishes. A buffer that is a slot of the current ring is published as it is; the first one of a fresh ring, which
 * a pool of ours made, makes that ring the current one; anything else is copied into the current ring, or into one made for it. Knows
 * nothing of clocks, events or properties. */
#include "gstcuframespublication.h"

#include <errno.h>
#include <gst/base/gstbasesink.h>
#include <gst/video/video.h>

#include "gstcuframescodec.h"
#include "gstcuframesframe.h"
#include "gstcuframeshostallocator.h"
#include "gstcuframesslot.h"

struct _GstCuframesPublication
{
  GstElement *element;          /* not owned: it owns this */
  CuframesPublisher *publisher; /* likewise */
  guint slots;
  GstCuframesPoolErrorFunction on_pool_error;
  GstAllocator *allocator;
  GstCuframesGpu *gpu;          /* once frames in GPU memory are published */
  gboolean by_fence;
  guint64 fence_value;          /* of the newest fence; rises for good */
  guint64 newest_fence;         /* of the current ring; 0 if its frames are complete when they are announced */

  GstCaps *caps;
  GstVideoInfo info;
  GstVideoInfo laid_out;        /* how a copy lies in its slot, once one was made */
  gboolean is_laid_out;
  GBytes *format;               /* the caps as rings carry them */
  CuframesRing *ring;           /* the current one */
  gboolean ring_fits;           /* whether it has the current format */
  gboolean on_gpu;              /* whether its frames lie in GPU memory */
  GstBufferPool *own_pool;      /* that made it, if upstream's did not */
};

/* publisher lives longer than the publication. */
GstCuframesPublication *
gst_cuframes_publication_new (GstElement * element, CuframesPublisher * publisher, guint slots, GstCuframesPoolErrorFunction on_pool_error)
{
  GstCuframesPublication *self = g_new0 (GstCuframesPublication, 1);

  self->element = element;
  self->publisher = publisher;
  self->slots = slots;
  self->on_pool_error = on_pool_error;
  self->allocator = gst_cuframes_host_allocator_new ();
  return self;
}

static void
drop_own_pool (GstCuframesPublication * self)
{
  if (self->own_pool != NULL)
    gst_buffer_pool_set_active (self->own_pool, FALSE);
  gst_clear_object (&self->own_pool);
}

void
gst_cuframes_publication_free (GstCuframesPublication * self)
{
  gst_cuframes_publication_leave (self);
  gst_clear_caps (&self->caps);
  g_clear_pointer (&self->format, g_bytes_unref);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_clear_object (&self->allocator);
  g_free (self);
}

/* Before caps or a pool of GPU memory are asked for. A reference is taken. */
void
gst_cuframes_publication_set_gpu (GstCuframesPublication * self, GstCuframesGpu * gpu, gboolean by_fence)
{
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  self->gpu = gst_cuframes_gpu_ref (gpu);
  self->by_fence = by_fence;
}

static gboolean
has_current_format (const GstCuframesPublication * self, const CuframesRing * ring)
{
  guint32 byte_count;
  const void *bytes = cuframes_ring_peek_format (ring, &byte_count);
  gsize size;
  const void *format = g_bytes_get_data (self->format, &size);

  return byte_count == size && memcmp (bytes, format, size) == 0;
}

gboolean
gst_cuframes_publication_set_caps (GstCuframesPublication * self, GstCaps * caps, GError ** error)
{
  GstVideoInfo info;
  GBytes *format;

  if (!gst_video_info_from_caps (&info, caps)) {
    g_set_error_literal (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "These caps are no raw video that can be published: put videoconvert before the sink");
    return FALSE;
  }
  if (!gst_cuframes_gpu_check_caps (caps, &info, error))
    return FALSE;
  format = gst_cuframes_codec_caps_to_bytes (caps, error);
  if (format == NULL)
    return FALSE;
  if (g_bytes_get_size (format) > CUFRAMES_FORMAT_BYTES_MAX) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The caps take %" G_GSIZE_FORMAT " bytes, %u at most can be published",
        g_bytes_get_size (format), CUFRAMES_FORMAT_BYTES_MAX);
    g_bytes_unref (format);
    return FALSE;
  }
  gst_caps_replace (&self->caps, caps);
  self->info = info;
  self->is_laid_out = FALSE;
  self->on_gpu = gst_cuframes_gpu_caps_are_gpu (caps);
  g_clear_pointer (&self->format, g_bytes_unref);
  self->format = format;
  self->ring_fits = self->ring != NULL && has_current_format (self, self->ring);
  return TRUE;
}

/* The stream goes on in another ring. */
void
gst_cuframes_publication_leave (GstCuframesPublication * self)
{
  if (self->newest_fence != 0)
    gst_cuframes_gpu_finish (self->ring, self->newest_fence);
  self->newest_fence = 0;
  drop_own_pool (self);
  self->ring = cuframes_ring_unref (self->ring);
  self->ring_fits = FALSE;
}

static GstBufferPool *
new_pool (GstCuframesPublication * self, gboolean on_gpu)
{
  GstBufferPool *pool;

  if (on_gpu) {
    pool = gst_cuframes_gpu_make_pool (self->gpu, self->slots);
    gst_cuframes_gpu_set_error_func (pool, self->on_pool_error, gst_object_ref (self->element), gst_object_unref);
  } else {
    pool = gst_cuframes_pool_new (self->slots);
    gst_cuframes_pool_set_error_func (pool, self->on_pool_error, gst_object_ref (self->element), gst_object_unref);
  }
  return pool;
}

/* (nullable) (transfer full): a configured pool that is not active yet. Any thread. */
GstBufferPool *
gst_cuframes_publication_make_pool (GstCuframesPublication * self, GstCaps * caps, guint min_buffers, guint * size)
{
  GstBufferPool *pool;
  GstStructure *config;
  GstVideoInfo info;

  if (!gst_video_info_from_caps (&info, caps))
    return NULL;
  pool = new_pool (self, gst_cuframes_gpu_caps_are_gpu (caps));
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_set_params (config, caps, GST_VIDEO_INFO_SIZE (&info), min_buffers, 0);
  gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config (pool, config)) {
    gst_object_unref (pool);
    return NULL;
  }
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_get_params (config, NULL, size, NULL, NULL);
  gst_structure_free (config);
  return pool;
}

static CuframesRing *
peek_ring (GstCuframesPublication * self)
{
  return self->on_gpu ? gst_cuframes_gpu_peek_ring (self->own_pool) : gst_cuframes_pool_peek_ring (self->own_pool);
}

/* Makes a ring that nobody has seen the current one. */
static gboolean
adopt_ring (GstCuframesPublication * self, CuframesRing * ring)
{
  if (cuframes_publisher_announce_ring (self->publisher, ring) != 0)
    return FALSE;
  cuframes_ring_unref (self->ring);
  self->ring = cuframes_ring_ref (ring);
  self->newest_fence = 0;
  self->ring_fits = TRUE;
  return TRUE;
}

/* A ring of our own to copy into, where upstream writes elsewhere. */
static gboolean
make_own_ring (GstCuframesPublication * self)
{
  guint size;

  drop_own_pool (self);
  self->own_pool = gst_cuframes_publication_make_pool (self, self->caps, 1, &size);
  return self->own_pool != NULL && gst_buffer_pool_set_active (self->own_pool, TRUE)
      && adopt_ring (self, peek_ring (self));
}

/* The slot that a buffer is, if it can be published as it is. */
static GstCuframesSlot *
find_slot (GstCuframesPublication * self, GstBuffer * buffer)
{
  GstMemory *memory = gst_buffer_n_memory (buffer) == 1 ? gst_buffer_peek_memory (buffer, 0) : NULL;
  GstCuframesSlot *slot = memory == NULL ? NULL : gst_cuframes_slot_peek (memory);

  if (slot == NULL || memory->offset != 0 || !cuframes_ring_is_claimed (slot->ring, slot->index))
    return NULL;
  if (slot->ring == self->ring)
    return self->ring_fits ? slot : NULL;
  if (cuframes_ring_get_generation (slot->ring) != 0 || !has_current_format (self, slot->ring) || !adopt_ring (self, slot->ring))
    return NULL;
  drop_own_pool (self);
  return slot;
}

static gboolean
copy_pixels (GstCuframesPublication * self, GstBuffer * from, GstBuffer * to)
{
  GstVideoFrame source, target;
  gboolean copied;

  if (self->on_gpu)
    return gst_cuframes_gpu_copy (self->gpu, &self->info, from, to);
  if (!gst_video_frame_map (&source, &self->info, from, GST_MAP_READ))
    return FALSE;
  if (!gst_video_frame_map (&target, &self->info, to, GST_MAP_WRITE)) {
    gst_video_frame_unmap (&source);
    return FALSE;
  }
  copied = gst_video_frame_copy (&target, &source);
  gst_video_frame_unmap (&target);
  gst_video_frame_unmap (&source);
  return copied;
}

static gboolean
lay_out (GstCuframesPublication * self)
{
  if (!self->is_laid_out) {
    self->laid_out = self->info;
    self->is_laid_out = !self->on_gpu || gst_cuframes_gpu_lay_out (self->gpu, &self->info, &self->laid_out);
  }
  return self->is_laid_out;
}

static GstMemory *
wrap_slot (GstCuframesPublication * self, GstCuframesSlot * slot)
{
  CuframesArena *arena = cuframes_ring_peek_arena (slot->ring);
  GstMemory *memory;

  if (!lay_out (self)) {
    gst_cuframes_slot_free (slot);
    return NULL;
  }
  if (self->on_gpu)
    return gst_cuframes_gpu_wrap_slot (self->gpu, slot, &self->laid_out);
  memory = gst_cuframes_host_allocator_wrap (GST_CUFRAMES_HOST_ALLOCATOR (self->allocator), 0, arena,
      cuframes_ring_get_slot_address (slot->ring, slot->index) - cuframes_arena_get_address (arena), GST_VIDEO_INFO_SIZE (&self->info), slot,
      gst_cuframes_slot_free);
  gst_cuframes_slot_attach (slot, memory);
  return memory;
}

/* A buffer in a slot of the current ring with the same picture, flags and time stamps; the slot is consumed. */
static GstBuffer *
copy_to_ring (GstCuframesPublication * self, GstBuffer * buffer, GstCuframesSlot * slot)
{
  GstMemory *memory = wrap_slot (self, slot);
  GstVideoInfo *laid_out = &self->laid_out;
  GstBuffer *copy;

  if (memory == NULL)
    return NULL;
  copy = gst_buffer_new ();
  gst_buffer_append_memory (copy, memory);
  gst_buffer_copy_into (copy, buffer, GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  gst_buffer_add_video_meta_full (copy, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (laid_out), GST_VIDEO_INFO_WIDTH (laid_out),
      GST_VIDEO_INFO_HEIGHT (laid_out), GST_VIDEO_INFO_N_PLANES (laid_out), laid_out->offset, laid_out->stride);
  if (copy_pixels (self, buffer, copy))
    return copy;
  gst_buffer_unref (copy);
  return NULL;
}

static gint
no_picture (GError ** error)
{
  g_set_error_literal (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The buffer does not hold a picture of the caps' size");
  return -EINVAL;
}

/* original: what the metas are read from; buffer: the slot. Returns what cuframes_publisher_publish() did. */
static gint
publish_slot (GstCuframesPublication * self, GstBuffer * original, GstBuffer * buffer, GstCuframesSlot * slot, guint64 moment_ns,
    GError ** error)
{
  CuframesFrameInfo info;
  guint64 capacity;
  void *metas = cuframes_ring_get_slot_metas (slot->ring, slot->index, &capacity);
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);
  GstCuframesGpuLetGo let_go = GST_CUFRAMES_GPU_KEEP;
  guint skipped = 0;
  gsize size;
  gint r;

  gst_cuframes_frame_describe (buffer, &self->info, &info);
  /* Every subscriber would leave the channel because of it. */
  if (!gst_cuframes_frame_layout_fits (&info, &self->info))
    return no_picture (error);
  info.moment_ns = moment_ns;
  info.flags = original != buffer ? CUFRAMES_FRAME_COPIED : 0;
  size = gst_cuframes_codec_metas_to_bytes (original, metas, capacity, &skipped);
  if (size > capacity)
    GST_WARNING_OBJECT (self->element, "metas of %" G_GSIZE_FORMAT " bytes do not fit and are left out", size);
  info.meta_bytes = size > capacity ? 0 : size;
  if (self->on_gpu) {
    if (!gst_cuframes_gpu_complete (buffer, self->by_fence, slot->index, ++self->fence_value, &info, &let_go)) {
      g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_WRITE, "The GPU does not take the picture");
      return -EIO;
    }
    if (info.flags & CUFRAMES_FRAME_FENCED)
      self->newest_fence = info.fence_value;
  }
  /* Whoever keeps the buffer upstream and writes to it later gets a copy from GStreamer. */
  GST_MINI_OBJECT_FLAG_SET (memory, GST_MEMORY_FLAG_READONLY);
  r = cuframes_publisher_publish (self->publisher, slot->ring, slot->index, &info, NULL);
  if (r != 0)
    GST_MINI_OBJECT_FLAG_UNSET (memory, GST_MEMORY_FLAG_READONLY);
  else if (self->on_gpu)
    gst_cuframes_gpu_let_go (buffer, let_go);
  return r;
}

static gint
publish_copy (GstCuframesPublication * self, GstBuffer * buffer, guint64 moment_ns, GError ** error)
{
  GstCuframesSlot *slot;
  GstBuffer *copy;
  gint r;

  if (!self->ring_fits && !make_own_ring (self))
    return -ENOMEM;
  slot = gst_cuframes_slot_claim_for_copy (self->publisher, self->ring, &r);
  if (slot == NULL)
    return r;
  copy = copy_to_ring (self, buffer, slot);
  if (copy == NULL)
    return no_picture (error);
  r = publish_slot (self, buffer, copy, slot, moment_ns, error);
  gst_buffer_unref (copy);
  return r;
}

/* A subscriber was evicted and holds what it holds: everybody else goes on in a new ring, and so does upstream when it likes. */
static gint
start_over (GstCuframesPublication * self, GstBuffer * buffer, guint64 moment_ns, GError ** error)
{
  GST_INFO_OBJECT (self->element, "a subscriber was evicted; going on in a new ring");
  if (!make_own_ring (self))
    return -ENOMEM;
  gst_pad_push_event (GST_BASE_SINK_PAD (self->element), gst_event_new_reconfigure ());
  return publish_copy (self, buffer, moment_ns, error);
}

/* Tells subscribers of the ring that the buffer will go to, before it does. FALSE without memory for it; the user was told why. */
gboolean
gst_cuframes_publication_announce (GstCuframesPublication * self, GstBuffer * buffer)
{
  return find_slot (self, buffer) != NULL || self->ring_fits || make_own_ring (self);
}

GstCuframesPublishResult
gst_cuframes_publication_publish (GstCuframesPublication * self, GstBuffer * buffer, guint64 moment_ns, GError ** error)
{
  GstCuframesSlot *slot = find_slot (self, buffer);
  gint r;

  if (slot != NULL)
    r = publish_slot (self, buffer, buffer, slot, moment_ns, error);
  else
    r = publish_copy (self, buffer, moment_ns, error);
  if (r == CUFRAMES_E_HELD)
    r = start_over (self, buffer, moment_ns, error);
  switch (r) {
    case 0:
      return GST_CUFRAMES_PUBLISH_OK;
    case CUFRAMES_E_FULL:
    case CUFRAMES_E_HELD:
      GST_LOG_OBJECT (self->element, "no slot is free: dropped %" GST_PTR_FORMAT, buffer);
      return GST_CUFRAMES_PUBLISH_OK;
    case CUFRAMES_E_CANCELLED:
      return GST_CUFRAMES_PUBLISH_CANCELLED;
    default:
      return GST_CUFRAMES_PUBLISH_FAILED;
  }
}
