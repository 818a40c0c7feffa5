/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packets that a sink publishes. Each is copied into the ring once, straight from the memories that it is made of. Nothing here waits for
 * anybody. Knows nothing of clocks, events or properties. */
#include "gstcuframespacketpublication.h"

#include <sys/uio.h>

#include "gstcuframescodec.h"
#include "gstcuframesenums.h"
#include "gstcuframeskeypoint.h"
#include "gstcuframespacket.h"

/* Headers of a stream whose caps may follow them. */
#define REMEMBERED_HEADERS 4
#define REMEMBERED_BYTES 65536
/* Most metas are small; more is taken when it is needed, and kept. */
#define META_BYTES 4096

struct _GstCuframesPacketPublication
{
  GstElement *element;          /* not owned: it owns this */
  CuframesPublisher *publisher; /* likewise */
  guint64 ring_bytes;
  guint ring_packets;

  GBytes *format;               /* the caps as rings carry them */
  CuframesRing *ring;           /* the current one, once a packet of that format was there */
  GstCuframesKeyPoint key_point;
  GstBuffer *header;            /* the first of those that the caps carry */
  GQueue sent_headers;          /* copies of the newest headers in the stream */
  gboolean told_headers;        /* subscribers know that they are in the stream, too */
  GByteArray *metas;
  struct iovec *pieces;
  GstMapInfo *maps;
};

/* publisher lives longer than this. */
GstCuframesPacketPublication *
gst_cuframes_packet_publication_new (GstElement * element, CuframesPublisher * publisher, guint64 ring_bytes, guint ring_packets)
{
  GstCuframesPacketPublication *self = g_new0 (GstCuframesPacketPublication, 1);

  self->element = element;
  self->publisher = publisher;
  self->ring_bytes = ring_bytes;
  self->ring_packets = ring_packets;
  g_queue_init (&self->sent_headers);
  self->metas = g_byte_array_sized_new (META_BYTES);
  g_byte_array_set_size (self->metas, META_BYTES);
  self->pieces = g_new (struct iovec, gst_buffer_get_max_memory ());
  self->maps = g_new (GstMapInfo, gst_buffer_get_max_memory ());
  return self;
}

void
gst_cuframes_packet_publication_free (GstCuframesPacketPublication * self)
{
  gst_cuframes_packet_publication_leave (self);
  g_queue_clear_full (&self->sent_headers, (GDestroyNotify) gst_buffer_unref);
  g_byte_array_unref (self->metas);
  g_free (self->pieces);
  g_free (self->maps);
  g_free (self);
}

/* (nullable) (transfer full) */
static GstBuffer *
find_header (GstCaps * caps)
{
  const GValue *headers = gst_structure_get_value (gst_caps_get_structure (caps, 0), "streamheader");
  const GValue *first;

  if (headers == NULL || !GST_VALUE_HOLDS_ARRAY (headers) || gst_value_array_get_size (headers) == 0)
    return NULL;
  first = gst_value_array_get_value (headers, 0);
  return GST_VALUE_HOLDS_BUFFER (first) ? gst_buffer_ref (gst_value_get_buffer (first)) : NULL;
}

/* For who joins late. */
static void
tell_headers (GstCuframesPacketPublication * self, gboolean in_stream)
{
  GstEvent *event;
  GBytes *bytes;
  gsize size;

  if (in_stream == self->told_headers)
    return;
  event = gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new (GST_CUFRAMES_HEADERS_EVENT, "in-stream", G_TYPE_BOOLEAN, in_stream,
          NULL));
  bytes = gst_cuframes_codec_event_to_bytes (event, NULL);
  gst_event_unref (event);
  if (bytes != NULL) {
    gconstpointer data = g_bytes_get_data (bytes, &size);
    self->told_headers = cuframes_publisher_send_event (self->publisher, CUFRAMES_EVENT_GST, GST_CUFRAMES_STICKY_HEADERS, data, size) == 0 && in_stream;
    g_bytes_unref (bytes);
  }
}

/* A muxer knows the headers to put into its caps when it has sent the first ones. */
static gboolean
was_sent (GstCuframesPacketPublication * self)
{
  for (GList * l = self->sent_headers.head; l != NULL && self->header != NULL; l = l->next)
    if (gst_cuframes_packet_begins (l->data, self->header))
      return TRUE;
  return FALSE;
}

static void
remember_header (GstCuframesPacketPublication * self, GstBuffer * buffer)
{
  if (!GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_HEADER) || gst_buffer_get_size (buffer) > REMEMBERED_BYTES)
    return;
  if (self->sent_headers.length == REMEMBERED_HEADERS)
    gst_buffer_unref (g_queue_pop_head (&self->sent_headers));
  g_queue_push_tail (&self->sent_headers, gst_buffer_copy_deep (buffer));
  if (self->header != NULL && gst_cuframes_packet_begins (buffer, self->header))
    tell_headers (self, TRUE);
}

/* The publisher has forgotten its events. */
void
gst_cuframes_packet_publication_restart (GstCuframesPacketPublication * self)
{
  self->told_headers = FALSE;
  g_queue_clear_full (&self->sent_headers, (GDestroyNotify) gst_buffer_unref);
}

/* Caps that say the same go on in the same ring. */
gboolean
gst_cuframes_packet_publication_set_caps (GstCuframesPacketPublication * self, GstCaps * caps, GError ** error)
{
  GBytes *format = gst_cuframes_codec_caps_to_bytes (caps, error);

  if (format == NULL)
    return FALSE;
  if (g_bytes_get_size (format) > CUFRAMES_FORMAT_BYTES_MAX) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The caps take %" G_GSIZE_FORMAT " bytes, %u at most can be published",
        g_bytes_get_size (format), CUFRAMES_FORMAT_BYTES_MAX);
    g_bytes_unref (format);
    return FALSE;
  }
  if (self->format != NULL && g_bytes_equal (format, self->format)) {
    g_bytes_unref (format);
    return TRUE;
  }
  gst_cuframes_packet_publication_leave (self);
  self->format = format;
  self->header = find_header (caps);
  gst_cuframes_key_point_init (&self->key_point, caps);
  return TRUE;
}

/* The stream goes on in another ring. */
void
gst_cuframes_packet_publication_leave (GstCuframesPacketPublication * self)
{
  self->ring = cuframes_ring_unref (self->ring);
  g_clear_pointer (&self->format, g_bytes_unref);
  gst_clear_buffer (&self->header);
}

/* A ring is announced with its first packet: upstream may change its mind before. */
static gboolean
start_ring (GstCuframesPacketPublication * self, GError ** error)
{
  CuframesPacketRingConfig config = {.index_size = self->ring_packets,.data_bytes = self->ring_bytes };
  gsize size;
  gint r;

  config.format = g_bytes_get_data (self->format, &size);
  config.format_bytes = size;
  r = cuframes_ring_new_packets (&config, &self->ring);
  if (r == 0 && cuframes_publisher_announce_ring (self->publisher, self->ring) == 0) {
    tell_headers (self, was_sent (self));
    return TRUE;
  }
  self->ring = cuframes_ring_unref (self->ring);
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "There is no room for a ring of %" G_GUINT64_FORMAT
      " bytes and %u packets (%s): lower packet-ring-bytes or packet-ring-packets", self->ring_bytes, self->ring_packets, g_strerror (ABS (r)));
  return FALSE;
}

/* Metas of the buffer, in self->metas. */
static guint32
write_metas (GstCuframesPacketPublication * self, GstBuffer * buffer)
{
  guint skipped = 0;
  gsize size = gst_cuframes_codec_metas_to_bytes (buffer, self->metas->data, self->metas->len, &skipped);

  if (size > self->metas->len && size <= GST_CUFRAMES_CODEC_MAX_METAS_BYTES) {
    g_byte_array_set_size (self->metas, size);
    size = gst_cuframes_codec_metas_to_bytes (buffer, self->metas->data, self->metas->len, &skipped);
  }
  if (size <= self->metas->len)
    return size;
  GST_WARNING_OBJECT (self->element, "metas of %" G_GSIZE_FORMAT " bytes do not fit and are left out", size);
  return 0;
}

static gboolean
refuse (GstCuframesPacketPublication * self, const CuframesPacketInfo * info, GError ** error)
{
  const guint64 bytes = info->size_bytes + info->meta_bytes;

  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_WRITE, "A packet of %" G_GUINT64_FORMAT " bytes is larger than a quarter of the ring, %"
      G_GUINT64_FORMAT " bytes: set packet-ring-bytes to %" G_GUINT64_FORMAT " or more", bytes, cuframes_ring_get_packet_limit (self->ring),
      4 * (bytes + 16));
  return FALSE;
}

static gboolean
publish_mapped (GstCuframesPacketPublication * self, guint count, const CuframesPacketInfo * info, GError ** error)
{
  gint r;

  for (guint i = 0; i < count; i++)
    self->pieces[i] = (struct iovec) { self->maps[i].data, self->maps[i].size };
  r = cuframes_publisher_publish_packet (self->publisher, self->ring, info, self->pieces, count, info->meta_bytes > 0 ? self->metas->data : NULL,
      NULL);
  if (r == CUFRAMES_E_FULL)
    return refuse (self, info, error);
  if (r != 0)
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_WRITE, "A packet could not be published (%d)", r);
  return r == 0;
}

/* is_key: whether a reader can start with it. */
gboolean
gst_cuframes_packet_publication_publish (GstCuframesPacketPublication * self, GstBuffer * buffer, guint64 moment_ns, gboolean * is_key, GError ** error)
{
  const guint count = gst_buffer_n_memory (buffer);
  CuframesPacketInfo info;
  guint mapped = 0;
  gboolean good;

  if (self->ring == NULL && !start_ring (self, error))
    return FALSE;
  gst_cuframes_packet_describe (buffer, &info);
  info.moment_ns = moment_ns;
  info.flags = gst_cuframes_key_point_find (&self->key_point, buffer);
  info.meta_bytes = write_metas (self, buffer);
  *is_key = (info.flags & CUFRAMES_PACKET_KEY) != 0;
  while (mapped < count && gst_memory_map (gst_buffer_peek_memory (buffer, mapped), &self->maps[mapped], GST_MAP_READ))
    mapped++;
  good = mapped == count;
  if (good)
    good = publish_mapped (self, count, &info, error);
  else
    g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ, "The data of a packet cannot be read");
  while (mapped-- > 0)
    gst_memory_unmap (self->maps[mapped].memory, &self->maps[mapped]);
  if (good)
    remember_header (self, buffer);
  return good;
}
