/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors of another process as read-only buffers. Every figure of a message is checked against what the descriptor itself says before
 * anything is mapped. Files and GPU arenas that come again are mapped once. Knows neither sockets nor elements. */
#define _GNU_SOURCE
#include "gstcuframesimporter.h"

#include <gst/allocators/allocators.h>
#include <string.h>
#include <sys/stat.h>

#include "cuframes-util.h"
#include "gstcuframescodec.h"
#include "gstcuframesdescriptor.h"
#include "gstcuframesframe.h"
#include "gstcuframeshostallocator.h"

/* More than a sender has in use, unless it makes a file for each buffer. */
#define CACHED_ARENAS 64

/* What a mapping is known by: a file by its inode, which stays its own while it is mapped; GPU memory by what the sender says, which can only
 * lead to another arena of the same sender. */
typedef struct
{
  GstCuframesMessageMemoryKind kind;
  guint64 owner;
  guint64 number;
  guint64 size_bytes;
  CuframesArena *arena;
} CachedArena;

struct _GstCuframesImporter
{
  GstAllocator *host_allocator;
  GstAllocator *dmabuf_allocator;
  GstCuframesGpu *gpu;
  GstVideoInfo info;
  gboolean is_video;            /* of a format whose lines can be checked */
  gboolean wants_gpu, wants_dmabuf;
  CachedArena cache[CACHED_ARENAS];
  guint next;                   /* to be replaced */
};

/* What tells the sender that a buffer is in use: closed with the last of its memories. */
typedef struct
{
  gatomicrefcount references;
  gint fd;
} Lease;

static G_DEFINE_QUARK (gst-cuframes-lease, lease)

static Lease *
lease_new (gint take_fd)
{
  Lease *lease = g_new (Lease, 1);

  g_atomic_ref_count_init (&lease->references);
  lease->fd = take_fd;
  return lease;
}

static Lease *
lease_ref (Lease * lease)
{
  g_atomic_ref_count_inc (&lease->references);
  return lease;
}

static void
lease_unref (gpointer data)
{
  Lease *lease = data;

  if (!g_atomic_ref_count_dec (&lease->references))
    return;
  cuframes_close (lease->fd);
  g_free (lease);
}

GstCuframesImporter *
gst_cuframes_importer_new (void)
{
  GstCuframesImporter *self = g_new0 (GstCuframesImporter, 1);

  gst_video_info_init (&self->info);
  self->host_allocator = gst_cuframes_host_allocator_new ();
  self->dmabuf_allocator = gst_dmabuf_allocator_new ();
  return self;
}

static void
forget_arenas (GstCuframesImporter * self)
{
  for (guint i = 0; i < CACHED_ARENAS; i++)
    self->cache[i].arena = cuframes_arena_unref (self->cache[i].arena);
}

/* Takes NULL. Always NULL. Buffers stay valid. */
GstCuframesImporter *
gst_cuframes_importer_free (GstCuframesImporter * self)
{
  if (self == NULL)
    return NULL;
  forget_arenas (self);
  gst_clear_object (&self->host_allocator);
  gst_clear_object (&self->dmabuf_allocator);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  g_free (self);
  return NULL;
}

/* Before buffers in GPU memory come. A reference is taken. */
void
gst_cuframes_importer_set_gpu (GstCuframesImporter * self, GstCuframesGpu * gpu)
{
  forget_arenas (self);
  g_clear_pointer (&self->gpu, gst_cuframes_gpu_unref);
  self->gpu = gst_cuframes_gpu_ref (gpu);
}

/* caps: (nullable): of the buffers to come. The memory of former ones is let go. */
void
gst_cuframes_importer_set_caps (GstCuframesImporter * self, const GstCaps * caps)
{
  const GstCapsFeatures *features = caps == NULL ? NULL : gst_caps_get_features (caps, 0);
  const GstVideoFormatInfo *format;

  forget_arenas (self);
  self->wants_gpu = gst_cuframes_gpu_caps_are_gpu (caps);
  self->wants_dmabuf = features != NULL && gst_caps_features_contains (features, GST_CAPS_FEATURE_MEMORY_DMABUF);
  self->is_video = FALSE;
  gst_video_info_init (&self->info);
  if (caps == NULL || !gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/x-raw") || !gst_video_info_from_caps (&self->info, caps))
    return;
  format = self->info.finfo;
  self->is_video = GST_VIDEO_FORMAT_INFO_FORMAT (format) > GST_VIDEO_FORMAT_ENCODED && GST_VIDEO_FORMAT_INFO_N_PLANES (format) > 0
      && gst_cuframes_gpu_check_caps (caps, &self->info, NULL);
}

static GBytes *
get_block (const GstCuframesMessageBlock * block, const gint * fd)
{
  return block->by_fd ? gst_cuframes_descriptor_read (*fd, block->size) : g_bytes_new (block->data, block->size);
}

/* (nullable) (transfer full): caps and sticky events of a message with these descriptors. */
GBytes *
gst_cuframes_importer_get_state (const GstCuframesMessage * message, const gint * fds)
{
  return get_block (&message->state, fds + (message->type == GST_CUFRAMES_MESSAGE_BUFFER ? 1 + message->memory_count : 0));
}

/* (nullable) (transfer full): its metas or its event. */
GBytes *
gst_cuframes_importer_get_payload (const GstCuframesMessage * message, const gint * fds)
{
  return get_block (&message->payload, fds + gst_cuframes_message_count_fds (message) - message->payload.by_fd);
}

static gboolean
fail (GError ** error, const gchar * why)
{
  g_set_error_literal (error, GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE, why);
  return FALSE;
}

/* (transfer none) (nullable) */
static CuframesArena *
look_up (GstCuframesImporter * self, const CachedArena * wanted)
{
  for (guint i = 0; i < CACHED_ARENAS; i++) {
    const CachedArena *entry = &self->cache[i];
    if (entry->arena != NULL && entry->kind == wanted->kind && entry->owner == wanted->owner && entry->number == wanted->number
        && entry->size_bytes == wanted->size_bytes)
      return entry->arena;
  }
  return NULL;
}

static CuframesArena *
remember (GstCuframesImporter * self, const CachedArena * entry)
{
  cuframes_arena_unref (self->cache[self->next].arena);
  self->cache[self->next] = *entry;
  self->next = (self->next + 1) % CACHED_ARENAS;
  return entry->arena;
}

/* (transfer none) (nullable) */
static CuframesArena *
import_file (GstCuframesImporter * self, gint fd, GError ** error)
{
  CachedArena entry = {.kind = GST_CUFRAMES_MESSAGE_MEMORY_FILE };
  CuframesArenaInfo info = {.kind = CUFRAMES_MEMORY_HOST };
  CuframesArena *known;
  struct stat status;

  if (!gst_cuframes_descriptor_get_size (fd, entry.kind, &entry.size_bytes) || fstat (fd, &status) < 0) {
    fail (error, "a descriptor is no memory file that is sealed against shrinking");
    return NULL;
  }
  entry.owner = status.st_dev;
  entry.number = status.st_ino;
  known = look_up (self, &entry);
  if (known != NULL)
    return known;
  info.size_bytes = entry.size_bytes;
  if (cuframes_arena_import_host (NULL, &info, fd, &entry.arena) == 0)
    return remember (self, &entry);
  fail (error, "a memory file cannot be mapped");
  return NULL;
}

/* (transfer none) (nullable) */
static CuframesArena *
import_gpu (GstCuframesImporter * self, const GstCuframesMessage * message, const GstCuframesMessageMemory * memory, gint fd, GError ** error)
{
  CachedArena entry = {.kind = memory->kind,.owner = message->session,.number = memory->arena_serial,.size_bytes = memory->arena_bytes };
  CuframesArenaInfo info = {.kind = CUFRAMES_MEMORY_CUDA,.size_bytes = memory->arena_bytes };
  CuframesArena *known = look_up (self, &entry);
  gchar device[CUFRAMES_ARENA_DEVICE_BYTES];
  gint r;

  if (known != NULL)
    return known;
  memcpy (info.device_uuid, memory->device_uuid, sizeof info.device_uuid);
  r = self->gpu == NULL ? -ENODEV : gst_cuframes_gpu_import (self->gpu, &info, fd, &entry.arena);
  if (r == 0)
    return remember (self, &entry);
  if (r == CUFRAMES_E_PEER || r == -EINVAL) {
    fail (error, "a descriptor is no GPU memory");
    return NULL;
  }
  cuframes_arena_describe_device (&info, device);
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ, "The buffers are in memory of %s, which %s cannot map: set cuda-device-id to "
      "the same GPU on both sides", device, self->gpu == NULL ? "this process" : gst_cuframes_gpu_get_name (self->gpu));
  return NULL;
}

/* (transfer full) (nullable): takes the descriptor. */
static GstMemory *
wrap_dmabuf (GstCuframesImporter * self, const GstCuframesMessageMemory * part, gint * fd, Lease * lease, GError ** error)
{
  GstMemory *memory;
  guint64 size;

  if (!gst_cuframes_descriptor_get_size (*fd, part->kind, &size) || !cuframes_within (part->offset_bytes, part->size_bytes, size)) {
    fail (error, "a descriptor is no DMA buffer of the size that is said");
    return NULL;
  }
  memory = gst_dmabuf_allocator_alloc (self->dmabuf_allocator, cuframes_steal_fd (fd), size);
  if (memory == NULL) {
    fail (error, "a DMA buffer cannot be taken");
    return NULL;
  }
  gst_memory_resize (memory, part->offset_bytes, part->size_bytes);
  GST_MINI_OBJECT_FLAG_SET (memory, GST_MEMORY_FLAG_READONLY);
  gst_mini_object_set_qdata (GST_MINI_OBJECT_CAST (memory), lease_quark (), lease_ref (lease), lease_unref);
  return memory;
}

/* (transfer full) (nullable) */
static GstMemory *
wrap (GstCuframesImporter * self, const GstCuframesMessage * message, const GstCuframesMessageMemory * part, gint * fd, Lease * lease,
    GError ** error)
{
  const gboolean on_gpu = part->kind == GST_CUFRAMES_MESSAGE_MEMORY_CUDA;
  CuframesArena *arena;

  if (part->kind == GST_CUFRAMES_MESSAGE_MEMORY_DMABUF)
    return wrap_dmabuf (self, part, fd, lease, error);
  arena = on_gpu ? import_gpu (self, message, part, *fd, error) : import_file (self, *fd, error);
  if (arena == NULL)
    return NULL;
  if (!cuframes_within (part->offset_bytes, part->size_bytes, cuframes_arena_get_size (arena))) {
    fail (error, "a part of memory lies beyond the descriptor's end");
    return NULL;
  }
  if (on_gpu)
    return gst_cuframes_gpu_wrap_part (self->gpu, arena, part->offset_bytes, &message->info, &self->info, lease_ref (lease), lease_unref);
  return gst_cuframes_host_allocator_wrap (GST_CUFRAMES_HOST_ALLOCATOR (self->host_allocator), GST_MEMORY_FLAG_READONLY, arena,
      part->offset_bytes, part->size_bytes, lease_ref (lease), lease_unref);
}

static gboolean
append_memories (GstCuframesImporter * self, const GstCuframesMessage * message, gint * fds, GstBuffer * buffer, GError ** error)
{
  Lease *lease = lease_new (cuframes_steal_fd (&fds[0]));
  gboolean good = TRUE;

  for (guint i = 0; i < message->memory_count && good; i++) {
    GstMemory *memory = wrap (self, message, &message->memories[i], &fds[1 + i], lease, error);
    good = memory != NULL;
    if (good)
      gst_buffer_append_memory (buffer, memory);
  }
  lease_unref (lease);
  return good;
}

/* Elements map GPU memory and DMA buffers by what the caps say. */
static gboolean
kinds_fit (GstCuframesImporter * self, const GstCuframesMessage * message)
{
  for (guint i = 0; i < message->memory_count; i++) {
    const GstCuframesMessageMemoryKind kind = message->memories[i].kind;
    if (self->wants_gpu != (kind == GST_CUFRAMES_MESSAGE_MEMORY_CUDA) || (self->wants_dmabuf && kind != GST_CUFRAMES_MESSAGE_MEMORY_DMABUF))
      return FALSE;
  }
  return !self->wants_gpu || (message->memory_count == 1 && self->is_video);
}

/* Where the format tells nothing of the lines, planes must at least start within the data. */
static gboolean
planes_fit (const CuframesFrameInfo * info)
{
  for (guint i = 0; i < info->plane_count; i++)
    if (info->plane_offset_bytes[i] > info->size_bytes)
      return FALSE;
  return info->plane_count > 0 && info->width <= G_MAXINT16 && info->height <= G_MAXINT16;
}

static gboolean
layout_fits (GstCuframesImporter * self, const GstCuframesMessage * message)
{
  const CuframesFrameInfo *info = &message->info;

  if (message->memory_count == 0)
    return !message->has_video_meta;
  if (self->is_video)
    return gst_cuframes_frame_layout_fits (info, &self->info);
  return !message->has_video_meta || planes_fit (info);
}

static gboolean
add_metas (const GstCuframesMessage * message, const gint * fds, GstBuffer * buffer, guint * n_skipped, GError ** error)
{
  GBytes *bytes = gst_cuframes_importer_get_payload (message, fds);
  gconstpointer data;
  gboolean good;
  gsize size;

  if (bytes == NULL)
    return fail (error, "the metas of a buffer cannot be read");
  data = g_bytes_get_data (bytes, &size);
  good = gst_cuframes_codec_metas_from_bytes (buffer, data, size, n_skipped, error);
  g_bytes_unref (bytes);
  return good;
}

/* fds: the message's; those that are kept are taken and -1 left behind. (transfer full) (nullable): the buffer, or NULL with error set: of the
 * stream for a message that must be left out, of a resource for what only the user can help. */
GstBuffer *
gst_cuframes_importer_import (GstCuframesImporter * self, const GstCuframesMessage * message, gint * fds, guint * n_skipped_metas, GError ** error)
{
  GstBuffer *buffer;
  gboolean good;

  *n_skipped_metas = 0;
  if (!kinds_fit (self, message)) {
    fail (error, "a buffer is in memory that its caps do not allow");
    return NULL;
  }
  if (!layout_fits (self, message)) {
    fail (error, "a picture does not lie within its memory");
    return NULL;
  }
  buffer = gst_buffer_new ();
  good = append_memories (self, message, fds, buffer, error);
  if (good) {
    gst_cuframes_frame_apply (&message->info, buffer);
    if (message->memory_count > 0 && (self->is_video || message->has_video_meta))
      gst_cuframes_frame_add_layout (&message->info, &self->info, buffer);
    good = message->payload.size == 0 || add_metas (message, fds, buffer, n_skipped_metas, error);
  }
  if (!good)
    gst_clear_buffer (&buffer);
  return buffer;
}
