/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cuts what was received into messages. On a datagram socket a buffer is a message. On a stream socket one message may come in parts, and
 * messages without descriptors may come together with the one behind them; there the kernel hands a message's descriptors over with its first
 * byte and never reads past them, so they belong to the messages in the order in which both came. Owns the descriptors that it was given, and
 * knows no socket. */
#include "gstcuframesmessagereader.h"

#include <string.h>

#include "cuframes-util.h"
#include "gstcuframescodec.h"

/* Those of the message that is under way and of the next, which may begin in the same piece. */
#define MAX_WAITING_FDS (2 * GST_CUFRAMES_MESSAGE_MAX_FDS)

struct _GstCuframesMessageReader
{
  GByteArray *bytes;            /* that wait, behind those of the message given last */
  gsize given_bytes;
  gint fds[MAX_WAITING_FDS];    /* likewise */
  guint fd_count;
  gint given_fds[GST_CUFRAMES_MESSAGE_MAX_FDS]; /* of the message given last; those that were taken are -1 */
  guint given_fd_count;
};

GstCuframesMessageReader *
gst_cuframes_message_reader_new (void)
{
  GstCuframesMessageReader *self = g_new0 (GstCuframesMessageReader, 1);

  self->bytes = g_byte_array_new ();
  return self;
}

static void
close_all (gint * fds, guint * count)
{
  while (*count > 0)
    cuframes_close (fds[--*count]);
}

/* The message given last is done with. */
static void
drop_given (GstCuframesMessageReader * self)
{
  if (self->given_bytes > 0)
    g_byte_array_remove_range (self->bytes, 0, self->given_bytes);
  self->given_bytes = 0;
  close_all (self->given_fds, &self->given_fd_count);
}

/* Forgets all that waits. */
void
gst_cuframes_message_reader_clear (GstCuframesMessageReader * self)
{
  drop_given (self);
  g_byte_array_set_size (self->bytes, 0);
  close_all (self->fds, &self->fd_count);
}

/* Takes NULL. Always NULL. */
GstCuframesMessageReader *
gst_cuframes_message_reader_free (GstCuframesMessageReader * self)
{
  if (self == NULL)
    return NULL;
  gst_cuframes_message_reader_clear (self);
  g_byte_array_unref (self->bytes);
  g_free (self);
  return NULL;
}

/* Whether no part of a message waits for its rest. */
gboolean
gst_cuframes_message_reader_is_empty (const GstCuframesMessageReader * self)
{
  return self->bytes->len == self->given_bytes;
}

/* Adds what one receive brought. The descriptors are consumed. The message given last is no longer valid. */
void
gst_cuframes_message_reader_push (GstCuframesMessageReader * self, const guint8 * data, gsize size, const gint * take_fds, guint fd_count)
{
  drop_given (self);
  g_byte_array_append (self->bytes, data, (guint) size);
  for (guint i = 0; i < fd_count; i++)
    if (self->fd_count < MAX_WAITING_FDS)
      self->fds[self->fd_count++] = take_fds[i];
    else
      cuframes_close (take_fds[i]);
}

/* The bytes are no message: goes on where the next may start. Whose the descriptors are is not known any more. */
static GstCuframesMessageReaderResult
skip_to_next (GstCuframesMessageReader * self, GError ** error)
{
  gsize skip = 1;

  while (gst_cuframes_message_measure (self->bytes->data + skip, self->bytes->len - skip) < 0)
    skip++;
  g_byte_array_remove_range (self->bytes, 0, skip);
  close_all (self->fds, &self->fd_count);
  g_set_error (error, GST_CUFRAMES_CODEC_ERROR, GST_CUFRAMES_CODEC_ERROR_MALFORMED, "%" G_GSIZE_FORMAT " bytes are no message", skip);
  return GST_CUFRAMES_MESSAGE_READER_INVALID;
}

static gboolean
take_fds (GstCuframesMessageReader * self, guint count)
{
  if (count > self->fd_count)
    return FALSE;
  memcpy (self->given_fds, self->fds, count * sizeof *self->fds);
  self->given_fd_count = count;
  self->fd_count -= count;
  memmove (self->fds, self->fds + count, self->fd_count * sizeof *self->fds);
  return TRUE;
}

/* Descriptors that nobody can be waiting for any more. */
static GstCuframesMessageReaderResult
end (GstCuframesMessageReader * self, GError ** error)
{
  if (self->bytes->len > 0 || self->fd_count == 0)
    return GST_CUFRAMES_MESSAGE_READER_EMPTY;
  close_all (self->fds, &self->fd_count);
  g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR, GST_CUFRAMES_CODEC_ERROR_MALFORMED, "descriptors came without a message");
  return GST_CUFRAMES_MESSAGE_READER_INVALID;
}

/* The next message. It and its descriptors, as many as gst_cuframes_message_count_fds() says, are the reader's and valid until its next call;
 * who keeps one of the descriptors leaves -1 in its place. error is set with INVALID. */
GstCuframesMessageReaderResult
gst_cuframes_message_reader_next (GstCuframesMessageReader * self, GstCuframesMessage * message, gint ** fds, GError ** error)
{
  gssize size;

  drop_given (self);
  if (self->bytes->len == 0)
    return end (self, error);
  size = gst_cuframes_message_measure (self->bytes->data, self->bytes->len);
  if (size < 0)
    return skip_to_next (self, error);
  if (size == 0 || (gsize) size > self->bytes->len)
    return GST_CUFRAMES_MESSAGE_READER_EMPTY;
  self->given_bytes = (gsize) size;
  if (!gst_cuframes_message_read (message, self->bytes->data, (gsize) size, error)) {
    close_all (self->fds, &self->fd_count);
    return GST_CUFRAMES_MESSAGE_READER_INVALID;
  }
  if (!take_fds (self, gst_cuframes_message_count_fds (message))) {
    close_all (self->fds, &self->fd_count);
    g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR, GST_CUFRAMES_CODEC_ERROR_MALFORMED, "a message came without its descriptors");
    return GST_CUFRAMES_MESSAGE_READER_INVALID;
  }
  *fds = self->given_fds;
  return GST_CUFRAMES_MESSAGE_READER_MESSAGE;
}
