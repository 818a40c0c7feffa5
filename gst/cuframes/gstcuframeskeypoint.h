/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

typedef enum
{
  GST_CUFRAMES_CODING_OTHER,
  GST_CUFRAMES_CODING_H264,
  GST_CUFRAMES_CODING_H265,
  GST_CUFRAMES_CODING_H266,
} GstCuframesCoding;

/* Which packets of a stream a reader can start with. */
typedef struct
{
  GstCuframesCoding coding;
  gboolean in_parts;            /* several packets make one picture */
  guint length_bytes;           /* before each NAL unit; 0 for a start code */
  gboolean begun;               /* the picture of the packets before is not known to be complete */
  gboolean key_told;            /* of it */
  GstClockTime pts;             /* of it */
} GstCuframesKeyPoint;

void    gst_cuframes_key_point_init (GstCuframesKeyPoint * self,
                                     const GstCaps * caps);

guint32 gst_cuframes_key_point_find (GstCuframesKeyPoint * self,
                                     GstBuffer * buffer);

G_END_DECLS
