/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memories for the places of one arena, each made when its place is first used and then used again whenever it comes by: nothing is allocated for
 * a frame, and what others keep with a memory, such as an encoder's registration, is good for the next frame in its place. What a memory is lent
 * for is given back when it is freed, behind the GPU work that read it. */
#include "gstcudavmmcache.h"

#include "cuframes-arena-cuda.h"
#include "gstcuframescompat.h"

struct _GstCudaVmmCache
{
  gatomicrefcount references;   /* the user's, and one of each memory */
  GstCudaVmmAllocator *allocator;
  CuframesArena *arena;
  GstVideoInfo info;
  GstCudaStream *stream;
  GMutex lock;                  /* guards what follows */
  GPtrArray *idle;
  gboolean closed;
};

typedef struct
{
  GstCudaVmmCache *cache;
  guint64 offset;
  gsize size;
  gpointer owner;               /* whom the memory is lent for */
  GDestroyNotify release;
} Place;

static G_DEFINE_QUARK (gst-cuda-vmm-place, place)

GstCudaVmmCache *
gst_cuda_vmm_cache_new (GstCudaVmmAllocator * allocator, CuframesArena * arena, const GstVideoInfo * info, gpointer stream)
{
  GstCudaVmmCache *self = g_new0 (GstCudaVmmCache, 1);

  g_atomic_ref_count_init (&self->references);
  self->allocator = gst_object_ref (allocator);
  self->arena = cuframes_arena_ref (arena);
  self->info = *info;
  if (stream != NULL)
    self->stream = (GstCudaStream *) gst_mini_object_ref (stream);
  g_mutex_init (&self->lock);
  self->idle = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_memory_unref);
  return self;
}

static void
cache_unref (GstCudaVmmCache * self)
{
  if (!g_atomic_ref_count_dec (&self->references))
    return;
  g_ptr_array_unref (self->idle);
  g_mutex_clear (&self->lock);
  gst_cuframes_compat_stream_unref (self->stream);
  cuframes_arena_unref (self->arena);
  gst_object_unref (self->allocator);
  g_free (self);
}

static void
free_place (gpointer data)
{
  Place *place = data;

  cache_unref (place->cache);
  g_free (place);
}

/* (nullable). Frees what lies idle; what is lent is freed when it comes back. NULL. */
GstCudaVmmCache *
gst_cuda_vmm_cache_close (GstCudaVmmCache * self)
{
  GPtrArray *idle;

  if (self == NULL)
    return NULL;
  g_mutex_lock (&self->lock);
  self->closed = TRUE;
  idle = self->idle;
  self->idle = g_ptr_array_new ();
  g_mutex_unlock (&self->lock);
  /* Each looks into the cache as it goes. */
  g_ptr_array_unref (idle);
  cache_unref (self);
  return NULL;
}

gboolean
gst_cuda_vmm_cache_fits (const GstCudaVmmCache * self, const CuframesArena * arena, const GstVideoInfo * info)
{
  return self->arena == arena && info->size == self->info.size && memcmp (info->offset, self->info.offset, sizeof info->offset) == 0
      && memcmp (info->stride, self->info.stride, sizeof info->stride) == 0 && info->finfo == self->info.finfo
      && info->width == self->info.width && info->height == self->info.height;
}

static gboolean
keep (GstCudaVmmCache * self, GstMemory * memory)
{
  gboolean kept;

  g_mutex_lock (&self->lock);
  kept = !self->closed;
  if (kept)
    g_ptr_array_add (self->idle, gst_memory_ref (memory));
  g_mutex_unlock (&self->lock);
  return kept;
}

/* The last reference has gone. The memory is kept before its place is given back: from then on the same place may come by again. */
static gboolean
on_dispose (GstMiniObject * object)
{
  GstMemory *memory = GST_MEMORY_CAST (object);
  Place *place = gst_mini_object_get_qdata (object, place_quark ());
  GstCudaVmmCache *cache = place->cache;
  CuframesCudaDevice *device = gst_cuda_vmm_allocator_peek_device (cache->allocator);
  const CUstream stream = gst_cuframes_compat_stream_get_handle (cache->stream);
  gpointer owner = g_steal_pointer (&place->owner);
  GDestroyNotify release = place->release;
  gboolean kept;

  if (owner == NULL)
    return TRUE;
  g_atomic_ref_count_inc (&cache->references);
  /* What somebody cut is not used again: copies on the CPU's side have its size. */
  kept = memory->offset == 0 && memory->size == place->size && keep (cache, memory);
  /* Where even a wait fails, the context has, and runs nothing any more. */
  if (stream == NULL || cuframes_cuda_device_when_done (device, stream, release, owner) != 0)
    release (owner);
  cache_unref (cache);
  return !kept;
}

static GstMemory *
take_idle (GstCudaVmmCache * self, guint64 offset)
{
  GstMemory *memory = NULL;

  g_mutex_lock (&self->lock);
  for (guint i = 0; i < self->idle->len && memory == NULL; i++) {
    GstMemory *candidate = g_ptr_array_index (self->idle, i);
    Place *place = gst_mini_object_get_qdata (GST_MINI_OBJECT_CAST (candidate), place_quark ());
    if (place->offset == offset)
      memory = g_ptr_array_steal_index_fast (self->idle, i);
  }
  g_mutex_unlock (&self->lock);
  return memory;
}

static GstMemory *
make (GstCudaVmmCache * self, guint64 offset)
{
  GstMemory *memory = gst_cuda_vmm_allocator_wrap (self->allocator, GST_MEMORY_FLAG_READONLY, &self->info, self->stream, self->arena, offset, NULL, NULL);
  Place *place = g_new0 (Place, 1);

  g_atomic_ref_count_inc (&self->references);
  place->cache = self;
  place->offset = offset;
  place->size = memory->size;
  gst_mini_object_set_qdata (GST_MINI_OBJECT_CAST (memory), place_quark (), place, free_place);
  GST_MINI_OBJECT_CAST (memory)->dispose = on_dispose;
  return memory;
}

/* (transfer full): read-only memory of one place. owner is released when the GPU has finished with it. */
GstMemory *
gst_cuda_vmm_cache_wrap (GstCudaVmmCache * self, guint64 offset, gpointer owner, GDestroyNotify release)
{
  GstMemory *memory = take_idle (self, offset);
  Place *place;

  if (memory == NULL)
    memory = make (self, offset);
  place = gst_mini_object_get_qdata (GST_MINI_OBJECT_CAST (memory), place_quark ());
  place->owner = owner;
  place->release = release;
  GST_MINI_OBJECT_FLAG_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD);
  return memory;
}
