/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

G_BEGIN_DECLS

/* Shared between libgstcuframes and the plugin; not installed. */

/**
 * GST_CUFRAMES_CODEC_MAX_CAPS_BYTES:
 *
 * Largest caps blob that is written or accepted.
 */
#define GST_CUFRAMES_CODEC_MAX_CAPS_BYTES (128u * 1024u)

/**
 * GST_CUFRAMES_CODEC_MAX_EVENT_BYTES:
 *
 * Largest event blob that is written or accepted; tags may carry images.
 */
#define GST_CUFRAMES_CODEC_MAX_EVENT_BYTES (4u * 1024u * 1024u)

/**
 * GST_CUFRAMES_CODEC_MAX_METAS_BYTES:
 *
 * Largest blob of the metas of one buffer.
 */
#define GST_CUFRAMES_CODEC_MAX_METAS_BYTES (4u * 1024u * 1024u)

/**
 * GstCuframesCodecError:
 * @GST_CUFRAMES_CODEC_ERROR_MALFORMED: the bytes are not what this side writes
 * @GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED: holds something that has no meaning
 *     in another process, or that this side has never heard of
 * @GST_CUFRAMES_CODEC_ERROR_TOO_LARGE: above the limit for its kind
 * @GST_CUFRAMES_CODEC_ERROR_VERSION: written in a layout that this side
 *     does not read
 */
typedef enum {
  GST_CUFRAMES_CODEC_ERROR_MALFORMED,
  GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
  GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
  GST_CUFRAMES_CODEC_ERROR_VERSION,
} GstCuframesCodecError;

#define GST_CUFRAMES_CODEC_ERROR (gst_cuframes_codec_error_quark ())

GQuark     gst_cuframes_codec_error_quark      (void);

GBytes *   gst_cuframes_codec_caps_to_bytes    (const GstCaps * caps,
                                                GError ** error);

GstCaps *  gst_cuframes_codec_caps_from_bytes  (gconstpointer data,
                                                gsize size,
                                                GError ** error);

GBytes *   gst_cuframes_codec_event_to_bytes   (GstEvent * event,
                                                GError ** error);

GstEvent * gst_cuframes_codec_event_from_bytes (gconstpointer data,
                                                gsize size,
                                                GError ** error);

guint64    gst_cuframes_codec_event_sticky_key (GstEvent * event);

gsize      gst_cuframes_codec_metas_to_bytes   (GstBuffer * buffer,
                                                gpointer data,
                                                gsize capacity,
                                                guint * n_skipped);

gboolean   gst_cuframes_codec_metas_from_bytes (GstBuffer * buffer,
                                                gconstpointer data,
                                                gsize size,
                                                guint * n_skipped,
                                                GError ** error);

G_END_DECLS
