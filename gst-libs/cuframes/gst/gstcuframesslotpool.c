/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the pools of both kinds of memory share. A buffer is made for each acquisition and freed at its release: its slot is chosen by
 * what the subscribers hold at that moment, which no queue of ready-made buffers could know. */
#include "gstcuframesslotpool.h"

#include "gstcuframescodec.h"

/* How long one look for a slot takes before flushing is looked at again. The ring itself is not flushed by its pool: a publisher may go on in it
 * with copies when the producer has let the pool go. */
#define CLAIM_NS (10 * GST_MSECOND)

void
gst_cuframes_slot_pool_clear (GstCuframesSlotPool * self)
{
  gst_cuframes_slot_pool_stop (self);
  gst_clear_caps (&self->caps);
  if (self->error_notify != NULL)
    self->error_notify (self->error_data);
  self->error_notify = NULL;
  self->error_func = NULL;
}

static void
fail (GstCuframesSlotPool * self, GstBufferPool * pool, gchar * text)
{
  GST_ERROR_OBJECT (pool, "%s", text);
  if (self->error_func != NULL)
    self->error_func (self->error_data, text);
  g_free (text);
}

/* Reads the pool's configuration. laid_out is the picture with the alignment that was asked for. */
gboolean
gst_cuframes_slot_pool_configure (GstCuframesSlotPool * self, GstStructure * config, const GstVideoInfo * laid_out)
{
  guint size, min, max;
  GstCaps *caps;

  if (!gst_buffer_pool_config_get_params (config, &caps, &size, &min, &max) || caps == NULL)
    return FALSE;
  gst_caps_replace (&self->caps, caps);
  self->is_video = laid_out != NULL;
  if (laid_out != NULL)
    self->info = *laid_out;
  self->size = MAX (size, laid_out != NULL ? GST_VIDEO_INFO_SIZE (laid_out) : 0);
  self->reserve = MAX (min, 1);
  self->add_meta = laid_out != NULL;
  gst_buffer_pool_config_set_params (config, caps, self->size, min, max);
  return self->size > 0;
}

/* Subscribers are left at least two slots; what the producer writes at a time comes on top. */
static gboolean
count_slots (GstCuframesSlotPool * self, GstBufferPool * pool, CuframesRingConfig * config)
{
  config->reserve_count = self->reserve;
  config->slot_count = MIN (self->slots + self->reserve, CUFRAMES_SLOTS_MAX);
  if (config->slot_count >= self->reserve + CUFRAMES_SLOTS_MIN)
    return TRUE;
  fail (self, pool, g_strdup_printf ("The element upstream wants %u buffers at a time, but a ring has %u slots at most: "
          "ask it for fewer, or put a converter in between", self->reserve, CUFRAMES_SLOTS_MAX));
  return FALSE;
}

static gint
make_ring (GstCuframesSlotPool * self, GstBufferPool * pool, CuframesRingConfig * config, gchar ** text)
{
  const guint64 alignment = self->kind->slot_alignment;
  guint64 size;
  gint r;

  config->slot_bytes = (self->size + alignment - 1) / alignment * alignment;
  config->data_offset_bytes = self->kind->data_offset;
  config->fence_offset_bytes = self->kind->fence_offset;
  if (!g_uint64_checked_mul (&size, config->slot_bytes, config->slot_count) || !g_uint64_checked_add (&size, size, config->data_offset_bytes))
    return -EOVERFLOW;
  r = self->kind->make_arena (pool, size, &config->arena, text);
  if (r == 0)
    r = cuframes_ring_new (config, &self->ring);
  if (r != 0 && *text == NULL)
    *text = g_strdup_printf ("Cannot take %" G_GUINT64_FORMAT " bytes for %u slots of %" G_GSIZE_FORMAT " bytes: %s. Ask for fewer slots, "
        "or raise the limit on memory, file size (ulimit -f) or descriptors (ulimit -n)", size, config->slot_count, self->size,
        g_strerror (ABS (r)));
  config->arena = cuframes_arena_unref (config->arena);
  return r;
}

gboolean
gst_cuframes_slot_pool_start (GstCuframesSlotPool * self, GstBufferPool * pool)
{
  CuframesRingConfig config = { 0 };
  GError *error = NULL;
  gchar *text = NULL;
  GBytes *format;
  gsize format_size;
  gint r;

  if (!count_slots (self, pool, &config))
    return FALSE;
  format = gst_cuframes_codec_caps_to_bytes (self->caps, &error);
  if (format == NULL) {
    fail (self, pool, g_strdup (error->message));
    g_clear_error (&error);
    return FALSE;
  }
  config.format = g_bytes_get_data (format, &format_size);
  config.format_bytes = format_size;
  r = make_ring (self, pool, &config, &text);
  g_bytes_unref (format);
  if (r != 0)
    fail (self, pool, text != NULL ? text : g_strdup_printf ("Cannot make a ring: %s", g_strerror (ABS (r))));
  return r == 0;
}

/* Memory that is out keeps the ring. */
void
gst_cuframes_slot_pool_stop (GstCuframesSlotPool * self)
{
  self->ring = cuframes_ring_unref (self->ring);
}

static GstCuframesSlot *
claim (GstCuframesSlotPool * self, GstBufferPool * pool, gboolean wait, gint * result)
{
  GstCuframesSlot *slot;

  do {
    slot = gst_cuframes_slot_claim (self->ring, wait ? CLAIM_NS : 0, result);
  } while (*result == CUFRAMES_E_FULL && wait && !GST_BUFFER_POOL_IS_FLUSHING (pool));
  return slot;
}

GstFlowReturn
gst_cuframes_slot_pool_acquire (GstCuframesSlotPool * self, GstBufferPool * pool, GstBuffer ** buffer, GstBufferPoolAcquireParams * params)
{
  const gboolean wait = params == NULL || (params->flags & GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT) == 0;
  GstCuframesSlot *slot;
  GstMemory *memory;
  gint result;

  if (GST_BUFFER_POOL_IS_FLUSHING (pool))
    return GST_FLOW_FLUSHING;
  slot = claim (self, pool, wait, &result);
  if (slot == NULL)
    return result == CUFRAMES_E_FULL && !wait ? GST_FLOW_EOS : GST_FLOW_FLUSHING;
  memory = self->kind->wrap (pool, slot, self->is_video ? &self->info : NULL, self->size);
  if (memory == NULL)
    return GST_FLOW_ERROR;
  *buffer = gst_buffer_new ();
  gst_buffer_append_memory (*buffer, memory);
  if (self->add_meta)
    gst_buffer_add_video_meta_full (*buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (&self->info), GST_VIDEO_INFO_WIDTH (&self->info),
        GST_VIDEO_INFO_HEIGHT (&self->info), GST_VIDEO_INFO_N_PLANES (&self->info), self->info.offset, self->info.stride);
  return GST_FLOW_OK;
}
