/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel's frames in host memory, one after the other, with descriptors to wait on. */
#ifndef CAT_SOURCE_H
#define CAT_SOURCE_H

#include <gst/video/video.h>

typedef struct _CatSource CatSource;

typedef struct
{
  const gchar *channel;         /* this or socket_path */
  const gchar *socket_path;
  guint64 timeout_ns;           /* to wait for a publisher */
  gboolean latest;
  gboolean reconnect;
  gboolean as_y4m;              /* in a format that Y4M can carry */
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
