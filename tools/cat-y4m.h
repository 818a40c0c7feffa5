/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* YUV4MPEG2: what it can carry and how it says so. */
#ifndef CAT_Y4M_H
#define CAT_Y4M_H

#include <gst/video/video.h>

#define CAT_Y4M_FRAME "FRAME\n"

GstVideoFormat cat_y4m_choose_format (const GstVideoInfo * source);
gchar *cat_y4m_make_header (const GstVideoInfo * info);

#endif
