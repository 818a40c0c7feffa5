/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets of a channel as buffers. Packets have any size, and those that downstream queues may be many and small: a pool of buffers as large as
 * the largest would cost more than the allocator does, which keeps what comes back. Knows nothing of connections. */
#include "gstcuframespacketsubscription.h"

#include <errno.h>

#include "gstcuframescodec.h"
#include "gstcuframespacket.h"

struct _GstCuframesPacketSubscription
{
  GstElement *element;          /* not owned: it owns this */
  GstCaps *caps;
  GByteArray *metas;
};

GstCuframesPacketSubscription *
gst_cuframes_packet_subscription_new (GstElement * element)
{
  GstCuframesPacketSubscription *self = g_new0 (GstCuframesPacketSubscription, 1);

  self->element = element;
  self->metas = g_byte_array_new ();
  return self;
}

void
gst_cuframes_packet_subscription_free (GstCuframesPacketSubscription * self)
{
  gst_clear_caps (&self->caps);
  g_byte_array_unref (self->metas);
  g_free (self);
}

/* (nullable) (transfer none): the caps of the packets to come. */
GstCaps *
gst_cuframes_packet_subscription_set_format (GstCuframesPacketSubscription * self, gconstpointer bytes, gsize size, GError ** error)
{
  GstCaps *caps = gst_cuframes_codec_caps_from_bytes (bytes, size, error);

  if (caps == NULL)
    return NULL;
  if (!gst_caps_is_fixed (caps)) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "The channel's caps leave something open");
    gst_caps_unref (caps);
    return NULL;
  }
  gst_caps_take (&self->caps, caps);
  return self->caps;
}

static void
read_metas (GstCuframesPacketSubscription * self, const CuframesPacketInfo * info, GstBuffer * buffer)
{
  GError *error = NULL;
  guint skipped = 0;

  if (gst_cuframes_codec_metas_from_bytes (buffer, self->metas->data, info->meta_bytes, &skipped, &error))
    return;
  GST_WARNING_OBJECT (self->element, "metas of packet %" G_GUINT64_FORMAT " are left out: %s", info->sequence, error->message);
  g_clear_error (&error);
}

/* (nullable) (transfer full): the packet that the subscriber has just found, with time stamps as the publisher gave them. NULL without an error is one
 * that was overwritten meanwhile. */
GstBuffer *
gst_cuframes_packet_subscription_take (GstCuframesPacketSubscription * self, CuframesSubscriber * subscriber, const CuframesPacketInfo * info,
    GError ** error)
{
  GstBuffer *buffer = info->size_bytes == 0 ? gst_buffer_new () : gst_buffer_new_allocate (NULL, info->size_bytes, NULL);
  /* The codec takes no more. */
  const gboolean has_metas = info->meta_bytes > 0 && info->meta_bytes <= GST_CUFRAMES_CODEC_MAX_METAS_BYTES;
  GstMapInfo map = { 0 };
  gint r = -ENOMEM;

  if (has_metas)
    g_byte_array_set_size (self->metas, info->meta_bytes);
  if (buffer != NULL && (info->size_bytes == 0 || gst_buffer_map (buffer, &map, GST_MAP_WRITE))) {
    r = cuframes_subscriber_take_packet (subscriber, map.data, has_metas ? self->metas->data : NULL);
    if (map.memory != NULL)
      gst_buffer_unmap (buffer, &map);
  }
  if (r == 0) {
    gst_cuframes_packet_apply (info, buffer);
    if (has_metas)
      read_metas (self, info, buffer);
    else if (info->meta_bytes > 0)
      GST_WARNING_OBJECT (self->element, "metas of %u bytes are left out", info->meta_bytes);
    return buffer;
  }
  gst_clear_buffer (&buffer);
  if (r != -EAGAIN)
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT, "There is no memory for a packet of %" G_GUINT64_FORMAT " bytes",
        info->size_bytes);
  return NULL;
}

/* Appends the stream headers that the caps carry, for who begins with first: not if the stream begins there itself. */
void
gst_cuframes_packet_subscription_get_headers (GstCuframesPacketSubscription * self, GstBuffer * first, GQueue * headers)
{
  const GValue *array = gst_structure_get_value (gst_caps_get_structure (self->caps, 0), "streamheader");

  if (array == NULL || !GST_VALUE_HOLDS_ARRAY (array))
    return;
  for (guint i = 0; i < gst_value_array_get_size (array); i++) {
    const GValue *value = gst_value_array_get_value (array, i);
    GstBuffer *header = GST_VALUE_HOLDS_BUFFER (value) ? gst_value_get_buffer (value) : NULL;
    if (header == NULL || (i == 0 && gst_cuframes_packet_begins (first, header)))
      return;
    header = gst_buffer_copy (header);
    GST_BUFFER_FLAG_SET (header, GST_BUFFER_FLAG_HEADER);
    g_queue_push_tail (headers, header);
  }
}
