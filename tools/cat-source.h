/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel's frames in host memory, or its packets as a stream of bytes, one after the other, with descriptors to wait on. */
#ifndef CAT_SOURCE_H
#define CAT_SOURCE_H

#include <gst/video/video.h>

typedef struct _CatSource CatSource;

typedef enum
{
  CAT_FORMAT_AUTO,              /* Y4M of frames, Matroska of packets */
  CAT_FORMAT_Y4M,
  CAT_FORMAT_RAW,
  CAT_FORMAT_PNG,               /* frames as they are, too */
  CAT_FORMAT_ES,
  CAT_FORMAT_TS,
  CAT_FORMAT_MKV,
} CatFormat;

typedef struct
{
  const gchar *channel;         /* this or socket_path */
  const gchar *socket_path;
  guint64 timeout_ns;           /* to wait for a publisher */
  gboolean latest;
  gboolean reconnect;
  CatFormat format;
  const gchar *start;           /* (nullable): of cuframessrc */
  guint64 count;                /* of frames or packets to take, 0: all */
} CatSourceConfig;

typedef enum
{
  CAT_SOURCE_FRAME,
  CAT_SOURCE_NOTHING,           /* yet */
  CAT_SOURCE_ENDED,
  CAT_SOURCE_NO_CHANNEL,        /* with an error */
  CAT_SOURCE_BAD_NAME,          /* with an error */
  CAT_SOURCE_FAILED,            /* with an error */
} CatSourceResult;

CatSource *cat_source_open (const CatSourceConfig * config, GError ** error);
void cat_source_close (CatSource * self);
int cat_source_peek_bus_fd (const CatSource * self);
int cat_source_peek_frame_fd (const CatSource * self);
CatSourceResult cat_source_next (CatSource * self, GstSample ** ret_sample, GError ** error);

#endif
