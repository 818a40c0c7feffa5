/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include "gstcuframesmessage.h"

G_BEGIN_DECLS

/* Whole messages with their descriptors out of what comes from a socket of any type. Not thread-safe; private to the library and the plugin. */
typedef struct _GstCuframesMessageReader GstCuframesMessageReader;

typedef enum
{
  GST_CUFRAMES_MESSAGE_READER_EMPTY,    /* nothing whole is there */
  GST_CUFRAMES_MESSAGE_READER_MESSAGE,
  GST_CUFRAMES_MESSAGE_READER_INVALID,  /* something was left out; go on */
} GstCuframesMessageReaderResult;

GstCuframesMessageReader *     gst_cuframes_message_reader_new      (void);

GstCuframesMessageReader *     gst_cuframes_message_reader_free     (GstCuframesMessageReader * reader);

void                           gst_cuframes_message_reader_clear    (GstCuframesMessageReader * reader);

gboolean                       gst_cuframes_message_reader_is_empty (const GstCuframesMessageReader * reader);

void                           gst_cuframes_message_reader_push     (GstCuframesMessageReader * reader,
                                                                     const guint8 * data,
                                                                     gsize size,
                                                                     const gint * take_fds,
                                                                     guint fd_count);

GstCuframesMessageReaderResult gst_cuframes_message_reader_next     (GstCuframesMessageReader * reader,
                                                                     GstCuframesMessage * message,
                                                                     gint ** fds,
                                                                     GError ** error);

G_END_DECLS
