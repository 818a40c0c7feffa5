/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* In place of gstcuframesgpu.c where GStreamer's CUDA library was not found when building: there is no GPU, and the elements say why. */
#include "gstcuframesgpu.h"

#include <errno.h>

gboolean
gst_cuframes_gpu_caps_are_gpu (const GstCaps * caps)
{
  return FALSE;
}

gboolean
gst_cuframes_gpu_check_caps (const GstCaps * caps, const GstVideoInfo * info, GError ** error)
{
  return TRUE;
}

void
gst_cuframes_gpu_set_context (GstElement * element, GstContext * context, gint device_id, GstObject ** cuda_context)
{
}

gboolean
gst_cuframes_gpu_answer_query (GstElement * element, GstQuery * query, GstObject ** cuda_context)
{
  return FALSE;
}

void
gst_cuframes_gpu_clear_context (GstElement * element, GstObject ** cuda_context)
{
}

GstCuframesGpu *
gst_cuframes_gpu_new (GstElement * element, gint device_id, GstObject ** cuda_context, gchar ** text)
{
  *text = g_strdup ("This plugin was built without GStreamer's CUDA library: install its development files and build it again");
  return NULL;
}

GstCuframesGpu *
gst_cuframes_gpu_ref (GstCuframesGpu * self)
{
  return self;
}

void
gst_cuframes_gpu_unref (GstCuframesGpu * self)
{
}

GstBufferPool *
gst_cuframes_gpu_make_pool (GstCuframesGpu * self, guint slots)
{
  return NULL;
}

void
gst_cuframes_gpu_set_error_func (GstBufferPool * pool, GstCuframesPoolErrorFunction func, gpointer user_data, GDestroyNotify notify)
{
}

CuframesRing *
gst_cuframes_gpu_peek_ring (GstBufferPool * pool)
{
  return NULL;
}

gboolean
gst_cuframes_gpu_lay_out (GstCuframesGpu * self, const GstVideoInfo * info, GstVideoInfo * laid_out)
{
  return FALSE;
}

GstMemory *
gst_cuframes_gpu_wrap_slot (GstCuframesGpu * self, GstCuframesSlot * slot, const GstVideoInfo * laid_out)
{
  return NULL;
}

gboolean
gst_cuframes_gpu_copy (GstCuframesGpu * self, const GstVideoInfo * info, GstBuffer * from, GstBuffer * to)
{
  return FALSE;
}

gboolean
gst_cuframes_gpu_complete (GstBuffer * buffer, gboolean by_fence, guint32 slot, guint64 value, CuframesFrameInfo * info,
    GstCuframesGpuLetGo * let_go)
{
  return FALSE;
}

void
gst_cuframes_gpu_let_go (GstBuffer * buffer, GstCuframesGpuLetGo let_go)
{
}

gint
gst_cuframes_gpu_let_import (GstCuframesGpu * self, CuframesSubscriber * subscriber)
{
  return -ENODEV;
}

void
gst_cuframes_gpu_forget_frames (GstCuframesGpu * self)
{
}

GstMemory *
gst_cuframes_gpu_wrap_frame (GstCuframesGpu * self, CuframesFrame * frame, const GstVideoInfo * info, gpointer owner, GDestroyNotify release)
{
  return NULL;
}

void
gst_cuframes_gpu_finish (CuframesRing * ring, guint64 fence)
{
}

gint
gst_cuframes_gpu_export (GstMemory * memory, CuframesArenaInfo * info, guint64 * serial, guint64 * offset)
{
  return -1;
}

gint
gst_cuframes_gpu_import (GstCuframesGpu * self, const CuframesArenaInfo * info, gint fd, CuframesArena ** arena)
{
  return -ENODEV;
}

GstMemory *
gst_cuframes_gpu_wrap_part (GstCuframesGpu * self, CuframesArena * arena, guint64 offset, const CuframesFrameInfo * frame,
    const GstVideoInfo * info, gpointer owner, GDestroyNotify release)
{
  return NULL;
}

const gchar *
gst_cuframes_gpu_get_name (GstCuframesGpu * self)
{
  return "";
}

gchar *
gst_cuframes_gpu_explain (GstCuframesGpu * self)
{
  return NULL;
}
