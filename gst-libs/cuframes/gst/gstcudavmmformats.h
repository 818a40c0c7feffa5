/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which formats pictures in GPU memory can have. Knows nothing of CUDA, so that caps can be made of it. */
#pragma once

#include <string.h>

#include <gst/video/video.h>

G_BEGIN_DECLS

/* Those that libgstcuda takes memory for in 1.22 as in 1.26. The former ends the process that asks it for another one, or for a copy of such memory. */
#define GST_CUDA_VMM_FORMATS "{ NV12, NV21, I420, YV12, P010_10LE, P016_LE, I420_10LE, Y42B, I422_10LE, I422_12LE, Y444, Y444_16LE, YUY2, UYVY, " \
    "RGBA, BGRA, RGBx, BGRx, ARGB, ABGR, RGB, BGR, RGB10A2_LE, BGR10A2_LE, RGBP, BGRP, GBR, GBRA }"

static inline gboolean
gst_cuda_vmm_formats_have (GstVideoFormat format)
{
  const gchar *name = gst_video_format_to_string (format);
  const gsize length = name == NULL ? 0 : strlen (name);

  for (const gchar * at = name == NULL ? NULL : strstr (GST_CUDA_VMM_FORMATS, name); at != NULL; at = strstr (at + length, name))
    if (at[-1] == ' ' && (at[length] == ',' || at[length] == ' '))
      return TRUE;
  return FALSE;
}

G_END_DECLS
