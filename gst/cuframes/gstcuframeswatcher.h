/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* Knows which channels of the directory live, and in which format. It has a context of its own: one thread at a time runs it. */
typedef struct _GstCuframesWatcher GstCuframesWatcher;

typedef enum
{
  GST_CUFRAMES_WATCHER_APPEARED,
  GST_CUFRAMES_WATCHER_CHANGED,
  GST_CUFRAMES_WATCHER_VANISHED,
} GstCuframesWatcherEvent;

typedef struct
{
  gchar *channel;
  gchar *path;
  GstCaps *caps;                /* NULL before the first format, or if it cannot be read */
  CuframesMemoryKind memory_kind;       /* 0 before the first format */
  guint pid;                    /* the publisher's, 0 if it cannot be seen from here */
} GstCuframesChannelInfo;

/* info is the watcher's. On the thread that runs it. */
typedef void (*GstCuframesWatcherFunction) (GstCuframesWatcherEvent event, const GstCuframesChannelInfo * info, gpointer user_data);

GstCuframesWatcher * gst_cuframes_watcher_new    (GstCuframesWatcherFunction function,
                                                  gpointer user_data);

void                 gst_cuframes_watcher_free   (GstCuframesWatcher * self);

void                 gst_cuframes_watcher_settle (GstCuframesWatcher * self,
                                                  guint timeout_ms);

void                 gst_cuframes_watcher_run    (GstCuframesWatcher * self);

void                 gst_cuframes_watcher_quit   (GstCuframesWatcher * self);

G_END_DECLS
