/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host memory that lies in an arena and so has a descriptor. Knows no socket and no element.
 *
 * SECTION:gstcuframeshostallocator: a #GstAllocator whose memory can be passed to other processes. */
#include "gstcuframeshostallocator.h"

#include <gio/gio.h>
#include <string.h>

/* What vector code likes best. */
#define COPY_ALIGNMENT 64

struct _GstCuframesHostAllocator
{
  GstAllocator parent;
};

/* The memory of a share has no owner: its parent has. */
typedef struct
{
  GstMemory memory;
  CuframesArena *arena;
  gsize arena_offset;
  gpointer data;
  gpointer owner;
  GDestroyNotify release;
} HostMemory;

G_DEFINE_TYPE (GstCuframesHostAllocator, gst_cuframes_host_allocator, GST_TYPE_ALLOCATOR);

static HostMemory *
host_memory_new (GstAllocator * allocator, GstMemoryFlags flags, GstMemory * parent, CuframesArena * arena, gsize arena_offset, gsize maxsize,
    gsize align, gsize offset, gsize size)
{
  HostMemory *self = g_new0 (HostMemory, 1);

  gst_memory_init (GST_MEMORY_CAST (self), flags, allocator, parent, maxsize, align, offset, size);
  self->arena = cuframes_arena_ref (arena);
  self->arena_offset = arena_offset;
  self->data = (gpointer) (guintptr) (cuframes_arena_get_address (arena) + arena_offset);
  return self;
}

static GstMemory *
host_allocator_alloc (GstAllocator * allocator, gsize size, GstAllocationParams * params)
{
  const gsize maxsize = size + params->prefix + params->padding;
  CuframesArena *arena = NULL;
  HostMemory *self;

  if (maxsize < size || cuframes_arena_new_host (MAX (maxsize, 1), &arena) != 0)
    return NULL;
  self = host_memory_new (allocator, params->flags, NULL, arena, 0, maxsize, params->align, params->prefix, size);
  cuframes_arena_unref (arena);
  return GST_MEMORY_CAST (self);
}

static void
host_allocator_free (GstAllocator * allocator, GstMemory * memory)
{
  HostMemory *self = (HostMemory *) memory;

  if (self->release != NULL && self->owner != NULL)
    self->release (self->owner);
  cuframes_arena_unref (self->arena);
  g_free (self);
}

static gpointer
host_memory_map (GstMemory * memory, gsize maxsize, GstMapFlags flags)
{
  return ((HostMemory *) memory)->data;
}

static void
host_memory_unmap (GstMemory * memory)
{
}

static GstMemory *
host_memory_share (GstMemory * memory, gssize offset, gssize size)
{
  HostMemory *self = (HostMemory *) memory;
  GstMemory *parent = memory->parent != NULL ? memory->parent : memory;

  if (size == -1)
    size = memory->size - offset;
  return GST_MEMORY_CAST (host_memory_new (memory->allocator, GST_MINI_OBJECT_FLAGS (parent) | GST_MINI_OBJECT_FLAG_LOCK_READONLY, parent, self->arena,
          self->arena_offset, memory->maxsize, memory->align, memory->offset + offset, size));
}

/* A copy is no memory file: who copies to let a slot go may keep thousands, and each would be a descriptor. */
static GstMemory *
host_memory_copy (GstMemory * memory, gssize offset, gssize size)
{
  GstAllocationParams params = {.align = COPY_ALIGNMENT - 1 };
  GstMemory *copy;
  GstMapInfo map;

  if (size == -1)
    size = (gssize) memory->size > offset ? (gssize) memory->size - offset : 0;
  copy = gst_allocator_alloc (NULL, size, &params);
  if (copy == NULL || !gst_memory_map (copy, &map, GST_MAP_WRITE)) {
    g_clear_pointer (&copy, gst_memory_unref);
    return NULL;
  }
  memcpy (map.data, (guint8 *) ((HostMemory *) memory)->data + memory->offset + offset, size);
  gst_memory_unmap (copy, &map);
  return copy;
}

static gboolean
host_memory_is_span (GstMemory * one, GstMemory * other, gsize * offset)
{
  HostMemory *first = (HostMemory *) one, *second = (HostMemory *) other;

  if (offset != NULL)
    *offset = one->offset - one->parent->offset;
  return (guint8 *) first->data + one->offset + one->size == (guint8 *) second->data + other->offset;
}

static void
gst_cuframes_host_allocator_class_init (GstCuframesHostAllocatorClass * klass)
{
  GstAllocatorClass *allocator_class = GST_ALLOCATOR_CLASS (klass);

  allocator_class->alloc = host_allocator_alloc;
  allocator_class->free = host_allocator_free;
}

static void
gst_cuframes_host_allocator_init (GstCuframesHostAllocator * self)
{
  GstAllocator *allocator = GST_ALLOCATOR_CAST (self);

  allocator->mem_type = GST_CUFRAMES_HOST_MEMORY_TYPE;
  allocator->mem_map = host_memory_map;
  allocator->mem_unmap = host_memory_unmap;
  allocator->mem_share = host_memory_share;
  allocator->mem_copy = host_memory_copy;
  allocator->mem_is_span = host_memory_is_span;
}

/**
 * gst_cuframes_host_allocator_new:
 *
 * Makes an allocator of host memory that can be passed to other processes by its descriptor. Each allocation is a memory file of its
 * own, rounded up to whole pages.
 *
 * Returns: (transfer full): the allocator
 *
 * Since: 0.1
 */
GstAllocator *
gst_cuframes_host_allocator_new (void)
{
  return gst_object_ref_sink (g_object_new (GST_TYPE_CUFRAMES_HOST_ALLOCATOR, NULL));
}

/**
 * gst_is_cuframes_host_memory:
 * @memory: a #GstMemory
 *
 * Returns: whether a #GstCuframesHostAllocator made @memory
 *
 * Since: 0.1
 */
gboolean
gst_is_cuframes_host_memory (GstMemory * memory)
{
  return gst_memory_is_type (memory, GST_CUFRAMES_HOST_MEMORY_TYPE);
}

/**
 * gst_cuframes_host_memory_export_fd:
 * @memory: memory of a #GstCuframesHostAllocator of this process
 * @offset: (out): where the memory's first byte, its own offset included, lies in the descriptor
 * @error: return location for an error
 *
 * Makes a descriptor by which another process can map the memory, for reading. The memory's maker alone can write to it.
 *
 * Returns: a new close-on-exec descriptor, which the caller closes, or -1 with @error set; then @offset is unchanged
 *
 * Since: 0.1
 */
gint
gst_cuframes_host_memory_export_fd (GstMemory * memory, gsize * offset, GError ** error)
{
  HostMemory *self = (HostMemory *) memory;
  gint fd = -1, r;

  g_return_val_if_fail (gst_is_cuframes_host_memory (memory), -1);
  r = cuframes_arena_export_fd (self->arena, &fd);
  if (r < 0) {
    g_set_error (error, G_IO_ERROR, g_io_error_from_errno (-r), "Cannot export host memory: %s", g_strerror (-r));
    return -1;
  }
  *offset = self->arena_offset + memory->offset;
  return fd;
}

/**
 * gst_cuframes_host_memory_retarget: (skip)
 * @memory: memory of gst_cuframes_host_allocator_wrap() that nobody else has seen
 * @arena: (transfer none): where it lies from now on
 * @arena_offset: where it starts there
 * @size: its size in bytes
 * @owner: for the function that was given when it was made
 *
 * Points memory that was made in advance at what it is for.
 *
 * Since: 0.1
 */
void
gst_cuframes_host_memory_retarget (GstMemory * memory, CuframesArena * arena, gsize arena_offset, gsize size, gpointer owner)
{
  HostMemory *self = (HostMemory *) memory;

  if (self->arena != arena) {
    cuframes_arena_unref (self->arena);
    self->arena = cuframes_arena_ref (arena);
  }
  self->arena_offset = arena_offset;
  self->data = (gpointer) (guintptr) (cuframes_arena_get_address (arena) + arena_offset);
  self->owner = owner;
  memory->size = memory->maxsize = size;
}

/**
 * gst_cuframes_host_allocator_wrap: (skip)
 * @allocator: an allocator
 * @flags: %GST_MEMORY_FLAG_READONLY for memory of another process
 * @arena: (transfer none): where the memory lies; a reference is taken
 * @arena_offset: where it starts there
 * @size: its size in bytes
 * @owner: (nullable): for @release
 * @release: (nullable): called with @owner, unless that is %NULL, when the memory and every part shared out of it are gone
 *
 * Makes memory of a part of an arena, such as a slot or a leased frame.
 *
 * Returns: (transfer full): the memory
 *
 * Since: 0.1
 */
GstMemory *
gst_cuframes_host_allocator_wrap (GstCuframesHostAllocator * allocator, GstMemoryFlags flags, CuframesArena * arena, gsize arena_offset,
    gsize size, gpointer owner, GDestroyNotify release)
{
  HostMemory *self = host_memory_new (GST_ALLOCATOR_CAST (allocator), flags, NULL, arena, arena_offset, size, 0, 0, size);

  self->owner = owner;
  self->release = release;
  return GST_MEMORY_CAST (self);
}
