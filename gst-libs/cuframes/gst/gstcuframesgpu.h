/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "gstcuframespool.h"
#include "gstcuframesslot.h"

G_BEGIN_DECLS

/* A GPU as an element uses it. Where libgstcuda was not found when building, gstcuframesgpu-absent.c stands in and every GPU is absent.
 * Reference-counted; private to the library and the plugin. */
typedef struct _GstCuframesGpu GstCuframesGpu;

gboolean         gst_cuframes_gpu_caps_are_gpu    (const GstCaps * caps);

gboolean         gst_cuframes_gpu_check_caps      (const GstCaps * caps,
                                                   const GstVideoInfo * info,
                                                   GError ** error);

void             gst_cuframes_gpu_set_context     (GstElement * element,
                                                   GstContext * context,
                                                   gint device_id,
                                                   GstObject ** cuda_context);

gboolean         gst_cuframes_gpu_answer_query    (GstElement * element,
                                                   GstQuery * query,
                                                   GstObject ** cuda_context);

void             gst_cuframes_gpu_clear_context   (GstElement * element,
                                                   GstObject ** cuda_context);

GstCuframesGpu * gst_cuframes_gpu_new             (GstElement * element,
                                                   gint device_id,
                                                   GstObject ** cuda_context,
                                                   gchar ** text);

GstCuframesGpu * gst_cuframes_gpu_ref             (GstCuframesGpu * self);

void             gst_cuframes_gpu_unref           (GstCuframesGpu * self);

/* Publishing */
GstBufferPool *  gst_cuframes_gpu_make_pool       (GstCuframesGpu * self,
                                                   guint slots);

void             gst_cuframes_gpu_set_error_func  (GstBufferPool * pool,
                                                   GstCuframesPoolErrorFunction func,
                                                   gpointer user_data,
                                                   GDestroyNotify notify);

CuframesRing *   gst_cuframes_gpu_peek_ring       (GstBufferPool * pool);

gboolean         gst_cuframes_gpu_lay_out         (GstCuframesGpu * self,
                                                   const GstVideoInfo * info,
                                                   GstVideoInfo * laid_out);

GstMemory *      gst_cuframes_gpu_wrap_slot       (GstCuframesGpu * self,
                                                   GstCuframesSlot * slot,
                                                   const GstVideoInfo * laid_out);

gboolean         gst_cuframes_gpu_copy            (GstCuframesGpu * self,
                                                   const GstVideoInfo * info,
                                                   GstBuffer * from,
                                                   GstBuffer * to);

/* What the free of a published slot's memory has to wait for. */
typedef enum
{
  GST_CUFRAMES_GPU_KEEP,        /* what GStreamer says: others use the memory */
  GST_CUFRAMES_GPU_LET_GO_BEHIND_STREAM,        /* its stream, before the slot is given back, but not the CPU */
  GST_CUFRAMES_GPU_LET_GO,      /* nothing: all is done, or the ring itself watches the fence before the slot is written again */
} GstCuframesGpuLetGo;

gboolean         gst_cuframes_gpu_complete        (GstBuffer * buffer,
                                                   gboolean by_fence,
                                                   guint32 slot,
                                                   guint64 value,
                                                   CuframesFrameInfo * info,
                                                   GstCuframesGpuLetGo * let_go);

void             gst_cuframes_gpu_let_go          (GstBuffer * buffer,
                                                   GstCuframesGpuLetGo let_go);

void             gst_cuframes_gpu_finish          (CuframesRing * ring,
                                                   guint64 fence);

/* Subscribing */
gint             gst_cuframes_gpu_let_import      (GstCuframesGpu * self,
                                                   CuframesSubscriber * subscriber);

void             gst_cuframes_gpu_forget_frames   (GstCuframesGpu * self);

GstMemory *      gst_cuframes_gpu_wrap_frame      (GstCuframesGpu * self,
                                                   CuframesFrame * frame,
                                                   const GstVideoInfo * info,
                                                   gpointer owner,
                                                   GDestroyNotify release);

/* Descriptors */
gint             gst_cuframes_gpu_export          (GstMemory * memory,
                                                   CuframesArenaInfo * info,
                                                   guint64 * serial,
                                                   guint64 * offset);

gint             gst_cuframes_gpu_import          (GstCuframesGpu * self,
                                                   const CuframesArenaInfo * info,
                                                   gint fd,
                                                   CuframesArena ** arena);

GstMemory *      gst_cuframes_gpu_wrap_part       (GstCuframesGpu * self,
                                                   CuframesArena * arena,
                                                   guint64 offset,
                                                   const CuframesFrameInfo * frame,
                                                   const GstVideoInfo * info,
                                                   gpointer owner,
                                                   GDestroyNotify release);

const gchar *    gst_cuframes_gpu_get_name        (GstCuframesGpu * self);

gchar *          gst_cuframes_gpu_explain         (GstCuframesGpu * self);

G_END_DECLS
