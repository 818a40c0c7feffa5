/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A live source of stamped frames, for who says which caps, when, and with which number: takes buffers from the pool that downstream proposes, in
 * host or GPU memory, and writes nothing into them but the stamp. A base class. */
#ifndef STAMP_SOURCE_H
#define STAMP_SOURCE_H

#include <gst/base/gstpushsrc.h>

#include "stamp-cuda.h"

typedef struct
{
  GstPushSrc parent;
  StampCuda *cuda;              /* NULL for host memory */
  GstVideoInfo info;            /* of raw video */
  gboolean wants_cuda;
  gboolean every_byte;          /* stamped, not the marks alone */
  GMutex lock;
  GCond unlocked;
  gboolean unlocking;           /* under the lock; unlocked tells of it */
} StampSource;

typedef struct
{
  GstPushSrcClass parent_class;
} StampSourceClass;

GType stamp_source_get_type (void);

void stamp_source_use_cuda (StampSource * self);        /* before it starts */
/* What get_caps answers: caps, taken, and the filter. */
GstCaps *stamp_source_offer_caps (StampSource * self, GstCaps * take_caps, GstCaps * filter);
/* Until that moment on CLOCK_MONOTONIC; FALSE if it is to stop before. */
gboolean stamp_source_wait (StampSource * self, guint64 until_ns);
/* A frame with the stamp in it. */
GstFlowReturn stamp_source_make_frame (StampSource * self, const Stamp * stamp, GstBuffer ** ret_buffer);

#endif
