/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/video/video.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* What cuframespay and cuframesdepay say to each other; private to the library and the plugin. docs/pay.md has the layout. */
#define GST_CUFRAMES_MESSAGE_CAPS "application/x-cuframes-message"

/* A message is sent whole or not at all: by datagrams because a socketsrc reads 4096 bytes at a time, by streams because the kernel takes so
 * little in one piece. What is larger lies in a memory file beside it. */
#define GST_CUFRAMES_MESSAGE_MAX_BYTES 2048u
#define GST_CUFRAMES_MESSAGE_MAX_MEMORIES 16u
/* The lease, the memories, state and payload. */
#define GST_CUFRAMES_MESSAGE_MAX_FDS (GST_CUFRAMES_MESSAGE_MAX_MEMORIES + 3u)
#define GST_CUFRAMES_MESSAGE_MAX_STATE_BYTES (8u * 1024u * 1024u)
#define GST_CUFRAMES_MESSAGE_MAX_STATE_EVENTS 64u

typedef enum
{
  GST_CUFRAMES_MESSAGE_BUFFER = 1,
  GST_CUFRAMES_MESSAGE_EVENT = 2,
  GST_CUFRAMES_MESSAGE_NOTHING = 3,     /* makes the queues on the way let go of what they have sent */
} GstCuframesMessageType;

typedef enum
{
  GST_CUFRAMES_MESSAGE_MEMORY_FILE = 1,
  GST_CUFRAMES_MESSAGE_MEMORY_DMABUF = 2,
  GST_CUFRAMES_MESSAGE_MEMORY_CUDA = 3,
} GstCuframesMessageMemoryKind;

/* A part of what a descriptor refers to. arena_bytes, arena_serial and device_uuid are of GPU memory alone, whose descriptors tell nothing of
 * themselves: the serial is one for each arena of a session, so that a receiver imports it once. */
typedef struct
{
  GstCuframesMessageMemoryKind kind;
  guint64 offset_bytes;
  guint64 size_bytes;
  guint64 arena_bytes;
  guint64 arena_serial;
  guint8 device_uuid[CUFRAMES_UUID_BYTES];
} GstCuframesMessageMemory;

/* Bytes that lie in the message, or in a memory file of their own: then data is NULL when the message was read. */
typedef struct
{
  const guint8 *data;
  gsize size;
  gboolean by_fd;
} GstCuframesMessageBlock;

/* state holds caps and sticky events, so that a message says by itself what it belongs to; state_serial changes when it does. payload is the
 * buffer's metas, the event, or empty. Descriptors in order: of a buffer its lease and its memories; then state and payload where they are by_fd. */
typedef struct
{
  GstCuframesMessageType type;
  guint64 session;
  guint64 sequence;
  guint64 state_serial;
  gboolean has_video_meta;
  CuframesFrameInfo info;
  guint memory_count;
  GstCuframesMessageMemory memories[GST_CUFRAMES_MESSAGE_MAX_MEMORIES];
  GstCuframesMessageBlock state;
  GstCuframesMessageBlock payload;
} GstCuframesMessage;

void       gst_cuframes_message_place            (GstCuframesMessage * message);

gsize      gst_cuframes_message_write            (const GstCuframesMessage * message,
                                                  guint8 data[GST_CUFRAMES_MESSAGE_MAX_BYTES]);

guint      gst_cuframes_message_count_fds        (const GstCuframesMessage * message);

gssize     gst_cuframes_message_measure          (const guint8 * data,
                                                  gsize size);

gboolean   gst_cuframes_message_read             (GstCuframesMessage * message,
                                                  const guint8 * data,
                                                  gsize size,
                                                  GError ** error);

GBytes *   gst_cuframes_message_state_to_bytes   (const GstCaps * caps,
                                                  GPtrArray * events,
                                                  GError ** error);

gboolean   gst_cuframes_message_state_from_bytes (gconstpointer data,
                                                  gsize size,
                                                  GstCaps ** caps,
                                                  GPtrArray ** events,
                                                  GError ** error);

G_END_DECLS
