/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The messages between cuframespay and cuframesdepay as bytes. Does no I/O and owns no descriptor; every byte that it reads is taken for
 * hostile. */
#include "gstcuframesmessage.h"

#include "gstcuframescodec-private.h"

/* "cuframsg" and the version. Long enough to find the next message by it where a stream was cut. */
static const guint8 magic[] = { 'c', 'u', 'f', 'r', 'a', 'm', 's', 'g', 1, 0 };

#define SIZE_PLACE sizeof magic
#define LEAST_BYTES (SIZE_PLACE + 2)
#define HAS_VIDEO_META 0x01
#define BY_FD 0x80000000u

static void
put_block (GstCuframesCodecWriter * w, const GstCuframesMessageBlock * block)
{
  put_u32 (w, (guint32) block->size | (block->by_fd ? BY_FD : 0));
  if (!block->by_fd)
    put_bytes (w, block->data, block->size);
}

static void
put_buffer (GstCuframesCodecWriter * w, const GstCuframesMessage * message)
{
  const CuframesFrameInfo *info = &message->info;

  put_u8 (w, message->has_video_meta ? HAS_VIDEO_META : 0);
  put_u64 (w, info->pts_ns);
  put_u64 (w, info->dts_ns);
  put_u64 (w, info->duration_ns);
  put_u64 (w, info->offset);
  put_u64 (w, info->offset_end);
  put_u32 (w, info->buffer_flags);
  put_u32 (w, info->format);
  put_u32 (w, info->width);
  put_u32 (w, info->height);
  put_u8 (w, (guint8) info->plane_count);
  for (guint i = 0; i < info->plane_count; i++) {
    put_u64 (w, info->plane_offset_bytes[i]);
    put_u32 (w, (guint32) info->plane_stride_bytes[i]);
  }
  put_u8 (w, (guint8) message->memory_count);
  for (guint i = 0; i < message->memory_count; i++) {
    const GstCuframesMessageMemory *memory = &message->memories[i];
    put_u8 (w, (guint8) memory->kind);
    put_u64 (w, memory->offset_bytes);
    put_u64 (w, memory->size_bytes);
    if (memory->kind == GST_CUFRAMES_MESSAGE_MEMORY_CUDA) {
      put_u64 (w, memory->arena_bytes);
      put_u64 (w, memory->arena_serial);
      put_bytes (w, memory->device_uuid, sizeof memory->device_uuid);
    }
  }
}

static gsize
write_into (const GstCuframesMessage * message, guint8 * data, gsize capacity)
{
  GstCuframesCodecWriter w;
  guint16 size;

  gst_cuframes_codec_writer_init (&w, data, capacity, G_MAXUINT16);
  put_bytes (&w, magic, sizeof magic);
  put_u16 (&w, 0);
  put_u8 (&w, (guint8) message->type);
  put_u8 (&w, (guint8) gst_cuframes_message_count_fds (message));
  put_u64 (&w, message->session);
  put_u64 (&w, message->sequence);
  put_u64 (&w, message->state_serial);
  if (message->type == GST_CUFRAMES_MESSAGE_BUFFER)
    put_buffer (&w, message);
  put_block (&w, &message->state);
  put_block (&w, &message->payload);
  if (w.failed || w.size > capacity)
    return w.failed ? G_MAXSIZE : w.size;
  size = GUINT16_TO_LE ((guint16) w.size);
  memcpy (data + SIZE_PLACE, &size, sizeof size);
  return w.size;
}

/* Decides which of payload and state lie in the message, the payload first, which is of this message alone: whatever is left out costs
 * a memory file. */
void
gst_cuframes_message_place (GstCuframesMessage * message)
{
  guint8 data[GST_CUFRAMES_MESSAGE_MAX_BYTES];
  gsize room;

  message->state.by_fd = message->payload.by_fd = TRUE;
  room = sizeof data - write_into (message, data, sizeof data);
  message->payload.by_fd = message->payload.size > room;
  room -= message->payload.by_fd ? 0 : message->payload.size;
  message->state.by_fd = message->state.size > room;
}

/* After gst_cuframes_message_place(). Returns how many bytes the message has. */
gsize
gst_cuframes_message_write (const GstCuframesMessage * message, guint8 data[GST_CUFRAMES_MESSAGE_MAX_BYTES])
{
  const gsize size = write_into (message, data, GST_CUFRAMES_MESSAGE_MAX_BYTES);

  g_assert (size <= GST_CUFRAMES_MESSAGE_MAX_BYTES);
  return size;
}

guint
gst_cuframes_message_count_fds (const GstCuframesMessage * message)
{
  return (message->type == GST_CUFRAMES_MESSAGE_BUFFER ? 1 + message->memory_count : 0) + message->state.by_fd + message->payload.by_fd;
}

/* How many bytes the message has that starts here: 0 if too few are there to say, -1 if none starts here. */
gssize
gst_cuframes_message_measure (const guint8 * data, gsize size)
{
  guint16 stated;

  if (memcmp (data, magic, MIN (size, sizeof magic)) != 0)
    return -1;
  if (size < LEAST_BYTES)
    return 0;
  memcpy (&stated, data + SIZE_PLACE, sizeof stated);
  stated = GUINT16_FROM_LE (stated);
  return stated < LEAST_BYTES || stated > GST_CUFRAMES_MESSAGE_MAX_BYTES ? -1 : stated;
}

static void
get_block (GstCuframesCodecReader * r, gsize limit, GstCuframesMessageBlock * block)
{
  const guint32 size = get_u32 (r);

  block->by_fd = (size & BY_FD) != 0;
  block->size = size & ~BY_FD;
  block->data = NULL;
  if (!r->failed && block->size > limit)
    malformed (r, "a block is too large");
  if (r->failed || block->by_fd)
    return;
  if (block->size > r->size) {
    malformed (r, "a block ends too early");
    return;
  }
  block->data = r->data;
  r->data += block->size;
  r->size -= block->size;
}

static void
get_memory (GstCuframesCodecReader * r, GstCuframesMessageMemory * memory)
{
  memory->kind = get_u8 (r);
  memory->offset_bytes = get_u64 (r);
  memory->size_bytes = get_u64 (r);
  if (memory->kind == GST_CUFRAMES_MESSAGE_MEMORY_CUDA) {
    memory->arena_bytes = get_u64 (r);
    memory->arena_serial = get_u64 (r);
    get_bytes (r, memory->device_uuid, sizeof memory->device_uuid);
  } else if (memory->kind != GST_CUFRAMES_MESSAGE_MEMORY_FILE && memory->kind != GST_CUFRAMES_MESSAGE_MEMORY_DMABUF)
    malformed (r, "memory of an unknown kind");
  if (memory->size_bytes == 0 || memory->size_bytes > G_MAXSSIZE || memory->offset_bytes > G_MAXSSIZE - memory->size_bytes)
    malformed (r, "memory of an invalid size");
}

static void
get_memories (GstCuframesCodecReader * r, GstCuframesMessage * message)
{
  message->memory_count = get_u8 (r);
  if (message->memory_count > GST_CUFRAMES_MESSAGE_MAX_MEMORIES)
    malformed (r, "too many memories");
  for (guint i = 0; i < message->memory_count && !r->failed; i++) {
    get_memory (r, &message->memories[i]);
    if (!r->failed && !g_uint64_checked_add (&message->info.size_bytes, message->info.size_bytes, message->memories[i].size_bytes))
      malformed (r, "memory of an invalid size");
  }
  if (message->info.size_bytes > G_MAXSSIZE)
    malformed (r, "memory of an invalid size");
}

static void
get_buffer (GstCuframesCodecReader * r, GstCuframesMessage * message)
{
  CuframesFrameInfo *info = &message->info;

  message->has_video_meta = (get_u8 (r) & HAS_VIDEO_META) != 0;
  info->pts_ns = get_u64 (r);
  info->dts_ns = get_u64 (r);
  info->duration_ns = get_u64 (r);
  info->offset = get_u64 (r);
  info->offset_end = get_u64 (r);
  info->buffer_flags = get_u32 (r);
  info->format = get_u32 (r);
  info->width = get_u32 (r);
  info->height = get_u32 (r);
  info->plane_count = get_u8 (r);
  if (info->plane_count > CUFRAMES_PLANES_MAX)
    malformed (r, "too many planes");
  for (guint i = 0; i < info->plane_count && !r->failed; i++) {
    info->plane_offset_bytes[i] = get_u64 (r);
    info->plane_stride_bytes[i] = (gint32) get_u32 (r);
  }
  if (!r->failed)
    get_memories (r, message);
}

/* Reads one whole message. Its blocks point into data, which must not change. FALSE with error set if it is not well formed. */
gboolean
gst_cuframes_message_read (GstCuframesMessage * message, const guint8 * data, gsize size, GError ** error)
{
  GstCuframesCodecReader r = {.data = data,.size = size };
  guint8 stated_fds;

  memset (message, 0, sizeof *message);
  if (gst_cuframes_message_measure (data, size) != (gssize) size)
    malformed (&r, "not one whole message");
  else {
    r.data += LEAST_BYTES;
    r.size -= LEAST_BYTES;
  }
  message->type = get_u8 (&r);
  stated_fds = get_u8 (&r);
  message->session = get_u64 (&r);
  message->sequence = get_u64 (&r);
  message->state_serial = get_u64 (&r);
  if (message->type == GST_CUFRAMES_MESSAGE_BUFFER)
    get_buffer (&r, message);
  else if (message->type != GST_CUFRAMES_MESSAGE_EVENT && message->type != GST_CUFRAMES_MESSAGE_NOTHING)
    malformed (&r, "a message of an unknown type");
  get_block (&r, GST_CUFRAMES_MESSAGE_MAX_STATE_BYTES, &message->state);
  get_block (&r, MAX (GST_CUFRAMES_CODEC_MAX_METAS_BYTES, GST_CUFRAMES_CODEC_MAX_EVENT_BYTES), &message->payload);
  gst_cuframes_codec_reader_end (&r);
  if (!r.failed && stated_fds != gst_cuframes_message_count_fds (message))
    malformed (&r, "the number of descriptors is not what it must be");
  if (r.failed)
    gst_cuframes_codec_reader_set_error (&r, error);
  return !r.failed;
}

static void
append_block (GByteArray * array, GBytes * bytes)
{
  gsize size = 0;
  gconstpointer data = bytes == NULL ? NULL : g_bytes_get_data (bytes, &size);
  const guint32 le = GUINT32_TO_LE ((guint32) size);

  g_byte_array_append (array, (const guint8 *) &le, sizeof le);
  if (size > 0)
    g_byte_array_append (array, data, size);
}

/* events: of GBytes, made by the codec. (transfer full) (nullable): NULL with error set for caps that cannot travel or too much of all. */
GBytes *
gst_cuframes_message_state_to_bytes (const GstCaps * caps, GPtrArray * events, GError ** error)
{
  GByteArray *array;
  GBytes *bytes = NULL;

  if (caps != NULL) {
    bytes = gst_cuframes_codec_caps_to_bytes (caps, error);
    if (bytes == NULL)
      return NULL;
  }
  array = g_byte_array_new ();
  append_block (array, bytes);
  g_clear_pointer (&bytes, g_bytes_unref);
  for (guint i = 0; i < events->len && array->len <= GST_CUFRAMES_MESSAGE_MAX_STATE_BYTES; i++)
    append_block (array, g_ptr_array_index (events, i));
  if (array->len <= GST_CUFRAMES_MESSAGE_MAX_STATE_BYTES && events->len <= GST_CUFRAMES_MESSAGE_MAX_STATE_EVENTS)
    return g_byte_array_free_to_bytes (array);
  g_byte_array_unref (array);
  g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE, "caps and sticky events are more than can be sent");
  return NULL;
}

/* What the former wrote. caps: (out) (transfer full) (nullable); events: (out) (transfer full), of GBytes for the codec. On failure neither
 * is set. */
gboolean
gst_cuframes_message_state_from_bytes (gconstpointer data, gsize size, GstCaps ** caps, GPtrArray ** events, GError ** error)
{
  GstCuframesCodecReader r = {.data = data,.size = size }, block;
  GstCaps *read_caps = NULL;
  GPtrArray *read_events;

  if (!gst_cuframes_codec_get_block (&r, &block)) {
    gst_cuframes_codec_reader_set_error (&r, error);
    return FALSE;
  }
  if (block.size > 0) {
    read_caps = gst_cuframes_codec_caps_from_bytes (block.data, block.size, error);
    if (read_caps == NULL)
      return FALSE;
  }
  read_events = g_ptr_array_new_with_free_func ((GDestroyNotify) g_bytes_unref);
  while (r.size > 0 && !r.failed) {
    if (read_events->len == GST_CUFRAMES_MESSAGE_MAX_STATE_EVENTS)
      malformed (&r, "too many sticky events");
    else if (gst_cuframes_codec_get_block (&r, &block))
      g_ptr_array_add (read_events, g_bytes_new (block.data, block.size));
  }
  if (r.failed) {
    gst_clear_caps (&read_caps);
    g_ptr_array_unref (read_events);
    gst_cuframes_codec_reader_set_error (&r, error);
    return FALSE;
  }
  *caps = read_caps;
  *events = read_events;
  return TRUE;
}
