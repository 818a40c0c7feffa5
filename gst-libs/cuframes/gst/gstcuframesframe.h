/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* Flags about the memory of one process mean nothing elsewhere. */
#define GST_CUFRAMES_LOCAL_FLAGS ((guint) (GST_BUFFER_FLAG_TAG_MEMORY | GST_MINI_OBJECT_FLAG_LOCKABLE | GST_MINI_OBJECT_FLAG_LOCK_READONLY \
    | GST_MINI_OBJECT_FLAG_MAY_BE_LEAKED))

/* Between GstBuffer and CuframesFrameInfo; private to the library and the plugin. */
void     gst_cuframes_frame_describe     (GstBuffer * buffer,
                                          const GstVideoInfo * video_info,
                                          CuframesFrameInfo * info);

void     gst_cuframes_frame_set_layout   (CuframesFrameInfo * info,
                                          const GstVideoInfo * video_info);

void     gst_cuframes_frame_apply        (const CuframesFrameInfo * info,
                                          GstBuffer * buffer);

void     gst_cuframes_frame_add_layout   (const CuframesFrameInfo * info,
                                          const GstVideoInfo * video_info,
                                          GstBuffer * buffer);

gboolean gst_cuframes_frame_layout_is    (const CuframesFrameInfo * info,
                                          const CuframesFrameInfo * other);

gboolean gst_cuframes_frame_layout_fits  (const CuframesFrameInfo * info,
                                          const GstVideoInfo * video_info);

G_END_DECLS
