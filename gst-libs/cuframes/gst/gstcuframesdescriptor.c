/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory as descriptors that can be sent, and what can be known of descriptors that were received. Knows neither sockets nor elements. */
#define _GNU_SOURCE
#include "gstcuframesdescriptor.h"

#include <fcntl.h>
#include <gst/allocators/allocators.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "cuframes-util.h"
#include "gstcuframesgpu.h"
#include "gstcuframeshostallocator.h"

#define DMABUF_FILE_SYSTEM 0x444d4142

/* A file that can shrink would be a fault for whoever reads it. */
static gboolean
is_sealed_file (gint fd, guint64 * size)
{
  struct stat status;
  const gint seals = fcntl (fd, F_GET_SEALS);

  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat (fd, &status) < 0 || !S_ISREG (status.st_mode) || status.st_size < 0)
    return FALSE;
  *size = (guint64) status.st_size;
  return TRUE;
}

static gboolean
is_dmabuf (gint fd, guint64 * size)
{
  struct statfs status;
  off_t end;

  if (fstatfs (fd, &status) < 0 || status.f_type != DMABUF_FILE_SYSTEM)
    return FALSE;
  end = lseek (fd, 0, SEEK_END);
  if (end < 0)
    return FALSE;
  *size = (guint64) end;
  return TRUE;
}

/* FALSE if the descriptor is not of that kind. One of GPU memory says nothing of itself: only the driver can tell. */
gboolean
gst_cuframes_descriptor_get_size (gint fd, GstCuframesMessageMemoryKind kind, guint64 * size)
{
  if (kind == GST_CUFRAMES_MESSAGE_MEMORY_FILE)
    return is_sealed_file (fd, size);
  return kind == GST_CUFRAMES_MESSAGE_MEMORY_DMABUF && is_dmabuf (fd, size);
}

/* (nullable) (transfer full): a private copy of a memory file of exactly that size, which the caller has bounded. */
GBytes *
gst_cuframes_descriptor_read (gint fd, gsize size)
{
  guint64 file_bytes;
  guint8 *data;
  gsize done = 0;

  if (size == 0 || !is_sealed_file (fd, &file_bytes) || file_bytes < size)
    return NULL;
  data = g_malloc (size);
  while (done < size) {
    const ssize_t n = pread (fd, data + done, size - done, (off_t) done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      break;
    done += (gsize) n;
  }
  if (done == size)
    return g_bytes_new_take (data, size);
  g_free (data);
  return NULL;
}

/* Puts bytes into a memory file that nobody can change any more. Returns a new descriptor or -1. */
gint
gst_cuframes_descriptor_of_bytes (gconstpointer data, gsize size)
{
  CuframesArena *arena = NULL;
  gint fd = -1;

  if (cuframes_arena_new_host (size, &arena) != 0)
    return -1;
  memcpy ((gpointer) (guintptr) cuframes_arena_get_address (arena), data, size);
  cuframes_arena_export_fd (arena, &fd);
  cuframes_arena_unref (arena);
  return fd;
}

static gint
of_gpu_memory (GstMemory * memory, GstCuframesMessageMemory * description)
{
  CuframesArenaInfo arena;
  gint fd = gst_cuframes_gpu_export (memory, &arena, &description->arena_serial, &description->offset_bytes);

  if (fd < 0)
    return -1;
  description->kind = GST_CUFRAMES_MESSAGE_MEMORY_CUDA;
  description->arena_bytes = arena.size_bytes;
  memcpy (description->device_uuid, arena.device_uuid, sizeof arena.device_uuid);
  return fd;
}

static gint
duplicate (gint fd, guint64 offset, guint64 size, GstCuframesMessageMemory * description)
{
  guint64 file_bytes;

  if (!gst_cuframes_descriptor_get_size (fd, description->kind, &file_bytes) || !cuframes_within (offset, size, file_bytes))
    return -1;
  return fcntl (fd, F_DUPFD_CLOEXEC, 0);
}

/* Describes the memory and returns a new descriptor by which another process can map it; -1 if there is none, and the memory can only be
 * copied. What the GPU still writes is the caller's to wait for. */
gint
gst_cuframes_descriptor_of_memory (GstMemory * memory, GstCuframesMessageMemory * description)
{
  gsize offset = memory->offset;

  memset (description, 0, sizeof *description);
  description->size_bytes = memory->size;
  description->offset_bytes = memory->offset;
  if (gst_is_cuframes_host_memory (memory)) {
    const gint fd = gst_cuframes_host_memory_export_fd (memory, &offset, NULL);
    description->kind = GST_CUFRAMES_MESSAGE_MEMORY_FILE;
    description->offset_bytes = offset;
    return fd;
  }
  if (gst_is_dmabuf_memory (memory)) {
    description->kind = GST_CUFRAMES_MESSAGE_MEMORY_DMABUF;
    return duplicate (gst_dmabuf_memory_get_fd (memory), memory->offset, memory->size, description);
  }
  if (gst_is_fd_memory (memory)) {
    description->kind = GST_CUFRAMES_MESSAGE_MEMORY_FILE;
    return duplicate (gst_fd_memory_get_fd (memory), memory->offset, memory->size, description);
  }
  return of_gpu_memory (memory, description);
}
