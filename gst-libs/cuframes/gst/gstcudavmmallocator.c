/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GstCudaMemory that has a descriptor. Every memory is a part of an arena of the core; libgstcuda takes it as its own, because this allocator
 * is a GstCudaAllocator. Knows no socket and no element.
 *
 * SECTION:gstcudavmmallocator: a #GstAllocator of GPU memory that can be passed to other processes. */
#include "gstcudavmmallocator-private.h"

#include <errno.h>
#include <gio/gio.h>

#include "cuframes-arena-cuda.h"
#include "gstcudavmmcopy.h"
#include "gstcudavmmformats.h"

struct _GstCudaVmmAllocator
{
  GstCudaAllocator parent;
  GstCudaContext *context;
  CuframesCudaDevice *device;
};

struct _GstCudaVmmAllocatorClass
{
  GstCudaAllocatorClass parent_class;
};

/* What a memory of ours is a part of. It lives until the GPU has finished with the memory. */
typedef struct
{
  CuframesArena *arena;
  guint64 offset;
  CUstream stream;
  GstCudaStream *stream_object;
  gpointer owner;
  GDestroyNotify release;
} Part;

G_DEFINE_TYPE (GstCudaVmmAllocator, gst_cuda_vmm_allocator, GST_TYPE_CUDA_ALLOCATOR);
static G_DEFINE_QUARK (gst-cuda-vmm-part, part)

/* The GPU is done: in the thread that freed the memory, or in one of the driver's, which may not call CUDA. */
static void
finish_part (void *data)
{
  Part *part = data;

  if (part->release != NULL)
    part->release (part->owner);
  cuframes_arena_unref (part->arena);
  g_free (part);
}

/* The CPU is done with the memory. Whoever waits for it is told when the work that was queued on its stream is done too. */
static void
free_part (gpointer data)
{
  Part *part = data;
  CuframesCudaDevice *device = cuframes_arena_cuda_peek_device (part->arena);
  GstCudaStream *stream_object = part->stream_object;

  /* Where even a wait fails, the context has, and runs nothing any more. */
  if (part->stream == NULL || cuframes_cuda_device_when_done (device, part->stream, finish_part, part) != 0)
    finish_part (part);
  gst_cuframes_compat_stream_unref (stream_object);
}

static void
vmm_allocator_finalize (GObject * object)
{
  GstCudaVmmAllocator *self = GST_CUDA_VMM_ALLOCATOR (object);

  self->device = cuframes_cuda_device_unref (self->device);
  gst_clear_object (&self->context);
  G_OBJECT_CLASS (gst_cuda_vmm_allocator_parent_class)->finalize (object);
}

static void
gst_cuda_vmm_allocator_class_init (GstCudaVmmAllocatorClass * klass)
{
  G_OBJECT_CLASS (klass)->finalize = vmm_allocator_finalize;
}

static void
gst_cuda_vmm_allocator_init (GstCudaVmmAllocator * self)
{
  gst_cuframes_compat_init_allocator (GST_ALLOCATOR_CAST (self));
  /* libgstcuda's takes for granted that both sides are laid out in its way. */
  GST_ALLOCATOR_CAST (self)->mem_copy = gst_cuda_vmm_copy_memory;
}

/**
 * gst_cuda_vmm_allocator_new:
 * @context: (type GstCuda.CudaContext): a #GstCudaContext
 * @error: return location for an error
 *
 * Makes an allocator of memory of a GPU that can be passed to other processes by its descriptor. Any thread.
 *
 * Returns: (transfer full) (nullable): the allocator, or %NULL if the driver or the GPU cannot do that; @error says what is missing
 *
 * Since: 0.1
 */
GstAllocator *
gst_cuda_vmm_allocator_new (GstCudaContext * context, GError ** error)
{
  gchar text[CUFRAMES_TEXT_BYTES] = "";
  CuframesCudaDevice *device = NULL;
  GstCudaVmmAllocator *self;

  g_return_val_if_fail (GST_IS_CUDA_CONTEXT (context), NULL);
  if (cuframes_cuda_device_new (gst_cuda_context_get_handle (context), gst_object_unref, gst_object_ref (context), text, sizeof text, &device) != 0) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, text);
    return NULL;
  }
  gst_cuda_memory_init_once ();
  self = gst_object_ref_sink (g_object_new (GST_TYPE_CUDA_VMM_ALLOCATOR, NULL));
  self->context = gst_object_ref (context);
  self->device = device;
  return GST_ALLOCATOR_CAST (self);
}

static void
set_error (GstCudaVmmAllocator * self, gint r, GError ** error)
{
  gchar text[CUFRAMES_TEXT_BYTES] = "";

  cuframes_cuda_device_get_text (self->device, text, sizeof text);
  g_set_error_literal (error, G_IO_ERROR, r < 0 ? g_io_error_from_errno (-r) : G_IO_ERROR_FAILED, text[0] != '\0' ? text : g_strerror (ABS (r)));
}

/* libgstcuda since 1.24 maps as many lines for the CPU as fit the size; the last one of another process's picture may end with its samples. */
static void
extend_to_whole_lines (GstVideoInfo * info, gsize room)
{
  const gint stride = GST_VIDEO_INFO_PLANE_STRIDE (info, 0);
  const gsize rest = stride > 0 ? info->size % (gsize) stride : 0;

  if (rest != 0 && info->size <= room && stride - rest <= room - info->size)
    info->size += stride - rest;
}

/**
 * gst_cuda_vmm_allocator_wrap: (skip)
 * @allocator: an allocator of the GPU that @arena is mapped on
 * @flags: %GST_MEMORY_FLAG_READONLY for memory of another process
 * @info: the picture as it lies there: strides, offsets and size; the memory ends with a whole line where @arena has room for it
 * @stream: (nullable): the #GstCudaStream that writes or reads it; ignored before GStreamer 1.24
 * @arena: (transfer none): where it lies; a reference is taken
 * @offset: where it starts there
 * @owner: (nullable): for @release
 * @release: (nullable): called with @owner when the memory is freed and what was queued on @stream before that is done. It may run in a thread
 *   of the driver, must not call CUDA, and must not hold the last reference of a #GstCudaContext
 *
 * Makes memory of a part of an arena, such as a slot or a leased frame. Any thread.
 *
 * Returns: (transfer full): the memory
 *
 * Since: 0.1
 */
GstMemory *
gst_cuda_vmm_allocator_wrap (GstCudaVmmAllocator * allocator, GstMemoryFlags flags, const GstVideoInfo * info, gpointer stream,
    CuframesArena * arena, guint64 offset, gpointer owner, GDestroyNotify release)
{
  Part *part = g_new0 (Part, 1);
  GstVideoInfo whole_lines = *info;
  GstMemory *memory;

  extend_to_whole_lines (&whole_lines, cuframes_arena_get_size (arena) - offset);
  part->arena = cuframes_arena_ref (arena);
  part->offset = offset;
  part->owner = owner;
  part->release = release;
  part->stream = gst_cuframes_compat_stream_get_handle (stream);
  if (stream != NULL)
    part->stream_object = (GstCudaStream *) gst_mini_object_ref (stream);
  memory = gst_cuframes_compat_wrap (GST_ALLOCATOR_CAST (allocator), allocator->context, stream, &whole_lines,
      (CUdeviceptr) (cuframes_arena_get_address (arena) + offset), part, free_part);
  GST_MINI_OBJECT_FLAG_SET (memory, flags | GST_CUDA_MEMORY_TRANSFER_NEED_DOWNLOAD);
  gst_mini_object_set_qdata (GST_MINI_OBJECT_CAST (memory), part_quark (), part, NULL);
  return memory;
}

GstCudaContext *
gst_cuda_vmm_allocator_peek_context (GstCudaVmmAllocator * allocator)
{
  return allocator->context;
}

CuframesCudaDevice *
gst_cuda_vmm_allocator_peek_device (GstCudaVmmAllocator * allocator)
{
  return allocator->device;
}

/* How libgstcuda itself would lay the picture out on this GPU: its elements take no other. */
gboolean
gst_cuda_vmm_allocator_lay_out (GstCudaVmmAllocator * allocator, const GstVideoInfo * info, GstVideoInfo * laid_out)
{
  GstMemory *sample = gst_cuframes_compat_alloc (allocator->context, NULL, info);

  if (sample == NULL)
    return FALSE;
  *laid_out = GST_CUDA_MEMORY_CAST (sample)->info;
  gst_memory_unref (sample);
  return TRUE;
}

/* As gst_cuda_vmm_allocator_alloc(), laid out as laid_out says. */
GstMemory *
gst_cuda_vmm_allocator_alloc_as (GstCudaVmmAllocator * allocator, const GstVideoInfo * laid_out, GError ** error)
{
  CuframesArena *arena = NULL;
  GstMemory *memory;
  gint r;

  r = cuframes_arena_new_cuda (allocator->device, CUFRAMES_ARENA_CUDA_FENCE_BYTES + GST_VIDEO_INFO_SIZE (laid_out), &arena);
  if (r != 0) {
    set_error (allocator, r, error);
    return NULL;
  }
  memory = gst_cuda_vmm_allocator_wrap (allocator, 0, laid_out, NULL, arena, CUFRAMES_ARENA_CUDA_FENCE_BYTES, NULL, NULL);
  cuframes_arena_unref (arena);
  return memory;
}

/**
 * gst_cuda_vmm_allocator_alloc:
 * @allocator: an allocator
 * @info: the picture that the memory is to hold
 * @error: return location for an error
 *
 * Takes GPU memory for one picture, laid out as libgstcuda would, which does not have every format: not GRAY8, for one. Each call
 * takes at least the GPU's granularity (2 MiB): a pool of slots in one arena wastes less. Any thread.
 *
 * Returns: (transfer full) (nullable): #GstCudaMemory, or %NULL with @error set
 *
 * Since: 0.1
 */
GstMemory *
gst_cuda_vmm_allocator_alloc (GstCudaVmmAllocator * allocator, const GstVideoInfo * info, GError ** error)
{
  GstVideoInfo laid_out;

  if (!gst_cuda_vmm_allocator_lay_out (allocator, info, &laid_out)) {
    if (gst_cuda_vmm_formats_have (GST_VIDEO_INFO_FORMAT (info)))
      g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_NO_SPACE, "The GPU has no memory left for a picture of this size");
    else
      g_set_error (error, G_IO_ERROR, G_IO_ERROR_NOT_SUPPORTED, "GStreamer has no GPU memory of the format %s",
          gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (info)));
    return NULL;
  }
  return gst_cuda_vmm_allocator_alloc_as (allocator, &laid_out, error);
}

/**
 * gst_cuda_vmm_allocator_import:
 * @allocator: an allocator of the GPU that the memory lies on
 * @info: the picture as it lies there: strides, offsets and size
 * @fd: a descriptor, which stays the caller's, of gst_cuda_vmm_memory_export_fd()
 * @arena_size: size of what @fd refers to
 * @offset: where the picture starts there
 * @writable: whether to map it for writing; otherwise a write by the GPU fails
 * @error: return location for an error
 *
 * Maps memory of another process. Any thread.
 *
 * Returns: (transfer full) (nullable): #GstCudaMemory, or %NULL with @error set
 *
 * Since: 0.1
 */
GstMemory *
gst_cuda_vmm_allocator_import (GstCudaVmmAllocator * allocator, const GstVideoInfo * info, gint fd, guint64 arena_size, guint64 offset,
    gboolean writable, GError ** error)
{
  CuframesArenaInfo arena_info = {.kind = CUFRAMES_MEMORY_CUDA,.size_bytes = arena_size };
  CuframesArena *arena = NULL;
  GstMemory *memory;
  gint r;

  if (offset > arena_size || GST_VIDEO_INFO_SIZE (info) > arena_size - offset) {
    g_set_error_literal (error, G_IO_ERROR, G_IO_ERROR_INVALID_ARGUMENT, "The picture does not lie within the memory");
    return NULL;
  }
  cuframes_cuda_device_get_uuid (allocator->device, arena_info.device_uuid);
  if (writable)
    r = cuframes_arena_import_cuda_writable (allocator->device, &arena_info, fd, &arena);
  else
    r = cuframes_arena_import_cuda (allocator->device, &arena_info, fd, &arena);
  if (r != 0) {
    set_error (allocator, r, error);
    return NULL;
  }
  memory = gst_cuda_vmm_allocator_wrap (allocator, writable ? 0 : GST_MEMORY_FLAG_READONLY, info, NULL, arena, offset, NULL, NULL);
  cuframes_arena_unref (arena);
  return memory;
}

/**
 * gst_is_cuda_vmm_memory:
 * @memory: a #GstMemory
 *
 * Returns: whether a #GstCudaVmmAllocator made @memory
 *
 * Since: 0.1
 */
gboolean
gst_is_cuda_vmm_memory (GstMemory * memory)
{
  return memory != NULL && memory->allocator != NULL && GST_IS_CUDA_VMM_ALLOCATOR (memory->allocator);
}

/**
 * gst_cuda_vmm_memory_peek_arena: (skip)
 * @memory: memory of a #GstCudaVmmAllocator
 *
 * Returns: (transfer none) (nullable): the arena it is a part of
 *
 * Since: 0.1
 */
CuframesArena *
gst_cuda_vmm_memory_peek_arena (GstMemory * memory)
{
  Part *part = gst_mini_object_get_qdata (GST_MINI_OBJECT_CAST (memory), part_quark ());

  return part == NULL ? NULL : part->arena;
}

/* Nothing that is queued on the memory's stream concerns the memory any more, or its owner waits for that elsewhere: it is given back as soon
 * as it is freed. */
void
gst_cuda_vmm_memory_detach_stream (GstMemory * memory)
{
  Part *part = gst_mini_object_get_qdata (GST_MINI_OBJECT_CAST (memory), part_quark ());

  if (part != NULL)
    part->stream = NULL;
}

/**
 * gst_cuda_vmm_memory_export_fd:
 * @memory: memory of a #GstCudaVmmAllocator that this process made
 * @arena_size: (out): size of what the descriptor refers to
 * @offset: (out): where the memory starts there
 * @error: return location for an error
 *
 * Makes a descriptor by which another process can map the memory. A CUDA descriptor cannot be sealed: who is handed it can also write.
 * Any thread.
 *
 * Returns: a new close-on-exec descriptor, which the caller closes, or -1 with @error set; then nothing else is
 *
 * Since: 0.1
 */
gint
gst_cuda_vmm_memory_export_fd (GstMemory * memory, guint64 * arena_size, guint64 * offset, GError ** error)
{
  Part *part;
  gint fd = -1, r;

  g_return_val_if_fail (gst_is_cuda_vmm_memory (memory), -1);
  part = gst_mini_object_get_qdata (GST_MINI_OBJECT_CAST (memory), part_quark ());
  r = part == NULL ? -EINVAL : cuframes_arena_export_fd (part->arena, &fd);
  if (r != 0) {
    g_set_error (error, G_IO_ERROR, r < 0 ? g_io_error_from_errno (-r) : G_IO_ERROR_FAILED, "Cannot export GPU memory: %s", g_strerror (ABS (r)));
    return -1;
  }
  *arena_size = cuframes_arena_get_size (part->arena);
  *offset = part->offset;
  return fd;
}
