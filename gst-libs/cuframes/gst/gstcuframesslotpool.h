/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframespool.h"
#include "gstcuframesslot.h"

G_BEGIN_DECLS

/* What a pool brings for its kind of memory. wrap consumes the slot, also on failure. */
typedef struct
{
  gint (*make_arena) (GstBufferPool * pool, guint64 size, CuframesArena ** arena, gchar ** text);
  GstMemory *(*wrap) (GstBufferPool * pool, GstCuframesSlot * slot, const GstVideoInfo * info, gsize size);
  guint64 data_offset;          /* of the first slot in the arena */
  guint64 slot_alignment;
  guint64 fence_offset;
} GstCuframesSlotPoolKind;

/* The part that host and CUDA pools share: buffers are slots of a ring, made when the pool starts. Private to the library. */
typedef struct
{
  const GstCuframesSlotPoolKind *kind;
  guint slots;
  GstCuframesPoolErrorFunction error_func;
  gpointer error_data;
  GDestroyNotify error_notify;
  GstCaps *caps;
  GstVideoInfo info;
  gboolean is_video;
  gsize size;
  guint reserve;
  gboolean add_meta;
  CuframesRing *ring;
} GstCuframesSlotPool;

void          gst_cuframes_slot_pool_clear     (GstCuframesSlotPool * self);

gboolean      gst_cuframes_slot_pool_configure (GstCuframesSlotPool * self,
                                                GstStructure * config,
                                                const GstVideoInfo * laid_out);

gboolean      gst_cuframes_slot_pool_start     (GstCuframesSlotPool * self,
                                                GstBufferPool * pool);

void          gst_cuframes_slot_pool_stop      (GstCuframesSlotPool * self);

GstFlowReturn gst_cuframes_slot_pool_acquire   (GstCuframesSlotPool * self,
                                                GstBufferPool * pool,
                                                GstBuffer ** buffer,
                                                GstBufferPoolAcquireParams * params);

G_END_DECLS
