/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Makes messages. A buffer whose memory has a descriptor travels as it is; any other is copied once, into slots of a pool. Either way it is
 * held until nobody has its lease. Knows neither sockets nor elements. */
#include "gstcuframesexporter.h"

#include <errno.h>
#include <gio/gunixfdmessage.h>
#include <gst/allocators/allocators.h>
#include <gst/net/gstnetcontrolmessagemeta.h>
#include <string.h>

#include "cuframes-util.h"
#include "gstcuframescodec.h"
#include "gstcuframesdescriptor.h"
#include "gstcuframesframe.h"
#include "gstcuframesmessage.h"

/* What tells a multisocketsink where a late receiver can start, and what it may leave out. */
#define FLAGS_OF_MESSAGE (GST_BUFFER_FLAG_DELTA_UNIT | GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_DROPPABLE)
/* Before the slots grow again. */
#define LEAST_SLOT_BYTES 4096

struct _GstCuframesExporter
{
  GstCuframesHolds *holds;      /* not owned */
  guint max_held;
  guint64 session;
  guint64 sequence;
  GBytes *state;
  guint64 state_serial;
  GstCuframesGpu *gpu;
  GstCaps *caps;
  GstVideoInfo info;
  gboolean is_video, on_gpu, only_dmabuf;
  GstBufferPool *pool;          /* to copy into; from the first copy on */
  gsize slot_bytes;
};

/* Descriptors on their way into a message. */
typedef struct
{
  gint fds[GST_CUFRAMES_MESSAGE_MAX_FDS];
  guint count;
} Descriptors;

static gboolean
add_fd (Descriptors * descriptors, gint take_fd)
{
  if (take_fd >= 0)
    descriptors->fds[descriptors->count++] = take_fd;
  return take_fd >= 0;
}

static void
close_from (Descriptors * descriptors, guint count)
{
  while (descriptors->count > count)
    cuframes_close (descriptors->fds[--descriptors->count]);
}

GstCuframesExporter *
gst_cuframes_exporter_new (GstCuframesHolds * holds, guint max_held)
{
  GstCuframesExporter *self = g_new0 (GstCuframesExporter, 1);

  self->holds = holds;
  self->max_held = max_held;
  self->session = (guint64) g_random_int () << 32 | g_random_int ();
  gst_video_info_init (&self->info);
  return self;
}

static void
drop_pool (GstCuframesExporter * self)
{
  if (self->pool != NULL)
    gst_buffer_pool_set_active (self->pool, FALSE);
  gst_clear_object (&self->pool);
}

/* Takes NULL. Always NULL. What is held stays so. */
GstCuframesExporter *
gst_cuframes_exporter_free (GstCuframesExporter * self)
{
  if (self == NULL)
    return NULL;
  drop_pool (self);
  g_clear_pointer (&self->state, g_bytes_unref);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  gst_clear_caps (&self->caps);
  g_free (self);
  return NULL;
}

/* Before caps of GPU memory. A reference is taken. */
void
gst_cuframes_exporter_set_gpu (GstCuframesExporter * self, GstCuframesGpu * gpu)
{
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  self->gpu = gst_cuframes_gpu_ref (gpu);
}

/* Memory that another process could neither map nor be given a copy of under the same caps. */
static const gchar *
find_foreign_memory (const GstCapsFeatures * features)
{
  for (guint i = 0; features != NULL && i < gst_caps_features_get_size (features); i++) {
    const gchar *feature = gst_caps_features_get_nth (features, i);
    if (g_str_has_prefix (feature, "memory:") && strcmp (feature, GST_CAPS_FEATURE_MEMORY_SYSTEM_MEMORY) != 0
        && strcmp (feature, GST_CAPS_FEATURE_MEMORY_DMABUF) != 0 && strcmp (feature, "memory:CUDAMemory") != 0)
      return feature;
  }
  return NULL;
}

/* Of the buffers to come. FALSE with error set if buffers of these caps cannot be passed. */
gboolean
gst_cuframes_exporter_set_caps (GstCuframesExporter * self, const GstCaps * caps, GError ** error)
{
  const GstCapsFeatures *features = gst_caps_get_features (caps, 0);
  const gchar *foreign = find_foreign_memory (features);
  GstVideoInfo info;
  gboolean is_video;

  if (foreign != NULL) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "Buffers in %s cannot be passed to another process: download them first", foreign);
    return FALSE;
  }
  gst_video_info_init (&info);
  is_video = gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw") && gst_video_info_from_caps (&info, caps);
  if (is_video && !gst_cuframes_gpu_check_caps (caps, &info, error))
    return FALSE;
  drop_pool (self);
  gst_caps_replace (&self->caps, (GstCaps *) caps);
  self->on_gpu = gst_cuframes_gpu_caps_are_gpu (caps);
  self->only_dmabuf = features != NULL && gst_caps_features_contains (features, GST_CAPS_FEATURE_MEMORY_DMABUF);
  self->info = info;
  self->is_video = is_video;
  return TRUE;
}

/* (transfer full): caps and sticky events of what comes next. */
void
gst_cuframes_exporter_take_state (GstCuframesExporter * self, GBytes * state)
{
  if (self->state != NULL && g_bytes_equal (self->state, state)) {
    g_bytes_unref (state);
    return;
  }
  g_clear_pointer (&self->state, g_bytes_unref);
  self->state = state;
  self->state_serial++;
}

/* A buffer is left out: receivers see that one is missing. */
void
gst_cuframes_exporter_skip (GstCuframesExporter * self)
{
  self->sequence++;
}

/* (transfer full) (nullable): a configured pool of memory that can be passed on. gpu: (nullable): with caps of GPU memory. Any thread. */
GstBufferPool *
gst_cuframes_exporter_make_pool (GstCuframesGpu * gpu, GstCaps * caps, gsize size, guint slots, guint min_buffers)
{
  GstBufferPool *pool = gpu != NULL ? gst_cuframes_gpu_make_pool (gpu, slots) : gst_cuframes_pool_new (slots);
  GstStructure *config = gst_buffer_pool_get_config (pool);

  gst_buffer_pool_config_set_params (config, caps, (guint) size, min_buffers, 0);
  gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config (pool, config))
    gst_clear_object (&pool);
  return pool;
}

static gboolean
ensure_pool (GstCuframesExporter * self, gsize size)
{
  GstCaps *bytes;

  if (self->pool != NULL && (self->on_gpu || size <= self->slot_bytes))
    return TRUE;
  drop_pool (self);
  if (self->on_gpu) {
    self->pool = gst_cuframes_exporter_make_pool (self->gpu, self->caps, GST_VIDEO_INFO_SIZE (&self->info), self->max_held, 1);
  } else {
    for (self->slot_bytes = LEAST_SLOT_BYTES; self->slot_bytes < size && !self->is_video; self->slot_bytes *= 2);
    self->slot_bytes = MAX (self->slot_bytes, size);
    bytes = gst_caps_new_empty_simple ("application/octet-stream");
    self->pool = size > G_MAXUINT / 2 ? NULL : gst_cuframes_exporter_make_pool (NULL, bytes, self->slot_bytes, self->max_held, 1);
    gst_caps_unref (bytes);
  }
  if (self->pool != NULL && !gst_buffer_pool_set_active (self->pool, TRUE))
    gst_clear_object (&self->pool);
  return self->pool != NULL;
}

static gboolean
copy_bytes (GstBuffer * from, GstBuffer * to)
{
  const gsize size = gst_buffer_get_size (from);
  GstMapInfo map;
  gsize copied;

  if (!gst_buffer_map (to, &map, GST_MAP_WRITE))
    return FALSE;
  copied = gst_buffer_extract (from, 0, map.data, size);
  gst_buffer_unmap (to, &map);
  gst_buffer_set_size (to, (gssize) size);
  return copied == size;
}

/* (transfer full) (nullable): the same in memory of our own, on a GPU laid out anew. Room was waited for, and every copy is held, so a slot is
 * free. */
static GstBuffer *
copy (GstCuframesExporter * self, GstBuffer * buffer)
{
  GstBufferPoolAcquireParams params = {.flags = GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT };
  GstBuffer *target = NULL;
  gboolean good;

  if (!ensure_pool (self, gst_buffer_get_size (buffer)) || gst_buffer_pool_acquire_buffer (self->pool, &target, &params) != GST_FLOW_OK)
    return NULL;
  good = self->on_gpu ? self->is_video && gst_cuframes_gpu_copy (self->gpu, &self->info, buffer, target) : copy_bytes (buffer, target);
  if (good)
    gst_buffer_copy_into (target, buffer, GST_BUFFER_COPY_FLAGS | GST_BUFFER_COPY_TIMESTAMPS, 0, -1);
  else
    gst_clear_buffer (&target);
  return target;
}

/* Adds a descriptor for each memory, or none and returns FALSE. */
static gboolean
describe_memories (GstCuframesExporter * self, GstBuffer * buffer, GstCuframesMessage * message, Descriptors * descriptors)
{
  GstCuframesGpuLetGo let_go;
  const guint before = descriptors->count, n = gst_buffer_n_memory (buffer);

  message->memory_count = 0;
  if (n > GST_CUFRAMES_MESSAGE_MAX_MEMORIES || (self->on_gpu && (n != 1 || gst_buffer_get_video_meta (buffer) == NULL)))
    return FALSE;
  for (guint i = 0; i < n; i++) {
    GstMemory *memory = gst_buffer_peek_memory (buffer, i);
    GstCuframesMessageMemory *description = &message->memories[message->memory_count];
    if (memory->size == 0)
      continue;
    if (!add_fd (descriptors, gst_cuframes_descriptor_of_memory (memory, description))
        || self->on_gpu != (description->kind == GST_CUFRAMES_MESSAGE_MEMORY_CUDA)
        || (self->only_dmabuf && description->kind != GST_CUFRAMES_MESSAGE_MEMORY_DMABUF)) {
      close_from (descriptors, before);
      return FALSE;
    }
    message->memory_count++;
  }
  if (!self->on_gpu || gst_cuframes_gpu_complete (buffer, FALSE, 0, 0, NULL, &let_go))
    return TRUE;
  close_from (descriptors, before);
  return FALSE;
}

/* (transfer full) (nullable): the message with its descriptors, which are consumed. state and payload lie where they belong. */
static GstBuffer *
finish (GstCuframesExporter * self, GstCuframesMessage * message, Descriptors * descriptors, GError ** error)
{
  guint8 data[GST_CUFRAMES_MESSAGE_MAX_BYTES];
  GSocketControlMessage *control;
  GUnixFDList *list;
  GstBuffer *buffer;

  message->session = self->session;
  message->sequence = self->sequence;
  message->state_serial = self->state_serial;
  message->state.data = g_bytes_get_data (self->state, &message->state.size);
  gst_cuframes_message_place (message);
  if ((message->state.by_fd && !add_fd (descriptors, gst_cuframes_descriptor_of_bytes (message->state.data, message->state.size)))
      || (message->payload.by_fd && !add_fd (descriptors, gst_cuframes_descriptor_of_bytes (message->payload.data, message->payload.size)))) {
    close_from (descriptors, 0);
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "Cannot make a memory file: %s", g_strerror (errno));
    return NULL;
  }
  buffer = gst_buffer_new_memdup (data, gst_cuframes_message_write (message, data));
  if (descriptors->count > 0) {
    list = g_unix_fd_list_new_from_array (descriptors->fds, (gint) descriptors->count);
    control = g_unix_fd_message_new_with_fd_list (list);
    gst_buffer_add_net_control_message_meta (buffer, control);
    g_object_unref (control);
    g_object_unref (list);
  }
  self->sequence++;
  return buffer;
}

static gpointer
write_metas (GstBuffer * buffer, GstCuframesMessageBlock * block)
{
  gpointer data;

  block->size = gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0, NULL);
  if (block->size == 0)
    return NULL;
  data = g_malloc (block->size);
  gst_cuframes_codec_metas_to_bytes (buffer, data, block->size, NULL);
  block->data = data;
  return data;
}

/* (transfer full) (nullable): the message of a buffer that is held, and of its descriptors, which are consumed. laid_out has its planes. */
static GstBuffer *
export_held (GstCuframesExporter * self, GstBuffer * buffer, GstBuffer * laid_out, GstCuframesMessage * message, Descriptors * descriptors,
    GError ** error)
{
  GstBuffer *result;
  gpointer metas;

  message->type = GST_CUFRAMES_MESSAGE_BUFFER;
  gst_cuframes_frame_describe (laid_out, self->is_video ? &self->info : NULL, &message->info);
  message->has_video_meta = gst_buffer_get_video_meta (laid_out) != NULL;
  metas = write_metas (buffer, &message->payload);
  result = finish (self, message, descriptors, error);
  g_free (metas);
  if (result == NULL)
    return NULL;
  GST_BUFFER_PTS (result) = GST_BUFFER_PTS (buffer);
  GST_BUFFER_DTS (result) = GST_BUFFER_DTS (buffer);
  GST_BUFFER_DURATION (result) = GST_BUFFER_DURATION (buffer);
  GST_BUFFER_FLAG_SET (result, GST_BUFFER_FLAGS (buffer) & FLAGS_OF_MESSAGE);
  return result;
}

/* The lease comes first; it keeps what the descriptors behind it lead to. */
static gboolean
hold (GstCuframesExporter * self, GstBuffer * buffer, Descriptors * descriptors, GError ** error)
{
  const gint lease = gst_cuframes_holds_add (self->holds, buffer);

  if (lease < 0) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "Cannot make a lease: %s. Raise the limit on descriptors (ulimit -n)",
        g_strerror (errno));
    close_from (descriptors, 0);
    return FALSE;
  }
  memmove (descriptors->fds + 1, descriptors->fds, descriptors->count * sizeof *descriptors->fds);
  descriptors->fds[0] = lease;
  descriptors->count++;
  return TRUE;
}

/* Room was waited for, and gst_cuframes_exporter_take_state() was called before. (transfer full) (nullable): the message. */
GstBuffer *
gst_cuframes_exporter_export_buffer (GstCuframesExporter * self, GstBuffer * buffer, gboolean * copied, GError ** error)
{
  GstCuframesMessage message = { 0 };
  Descriptors descriptors = { 0 };
  GstBuffer *own = NULL, *result = NULL;

  *copied = !describe_memories (self, buffer, &message, &descriptors);
  if (*copied) {
    if (!self->only_dmabuf)
      own = copy (self, buffer);
    if (own == NULL || !describe_memories (self, own, &message, &descriptors)) {
      g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, self->only_dmabuf ? "A buffer is in no DMA buffer, as its "
          "caps say" : "A buffer cannot be copied into memory that can be passed on: see the limits on memory and descriptors");
      gst_clear_buffer (&own);
      return NULL;
    }
  }
  /* A copy of bytes lies as the original did. */
  if (hold (self, *copied ? own : buffer, &descriptors, error))
    result = export_held (self, buffer, *copied && self->on_gpu ? own : buffer, &message, &descriptors, error);
  gst_clear_buffer (&own);
  return result;
}

/* (transfer full) (nullable): the message of an event; gst_cuframes_exporter_take_state() was called before. */
GstBuffer *
gst_cuframes_exporter_export_event (GstCuframesExporter * self, GstEvent * event, GError ** error)
{
  GstCuframesMessage message = {.type = GST_CUFRAMES_MESSAGE_EVENT };
  GBytes *bytes = gst_cuframes_codec_event_to_bytes (event, error);
  Descriptors descriptors = { 0 };
  GstBuffer *result;

  if (bytes == NULL)
    return NULL;
  message.payload.data = g_bytes_get_data (bytes, &message.payload.size);
  result = finish (self, &message, &descriptors, error);
  g_bytes_unref (bytes);
  return result;
}

/* (transfer full) (nullable): a message that says nothing but its number; gst_cuframes_exporter_take_state() was called before. */
GstBuffer *
gst_cuframes_exporter_export_nothing (GstCuframesExporter * self, GError ** error)
{
  GstCuframesMessage message = {.type = GST_CUFRAMES_MESSAGE_NOTHING };
  Descriptors descriptors = { 0 };

  return finish (self, &message, &descriptors, error);
}
