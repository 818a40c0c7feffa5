/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef PUBLISH_DECODER_H
#define PUBLISH_DECODER_H

#include <gst/gst.h>

typedef enum
{
  PUBLISH_DECODER_AUTO,         /* an NVIDIA one if it can be opened, else software */
  PUBLISH_DECODER_NVIDIA,
  PUBLISH_DECODER_SOFTWARE,
} PublishDecoderKind;

GstElement *publish_decoder_new (PublishDecoderKind kind, GstCaps * caps, GError ** error);
gboolean publish_decoder_is_nvidia (GstElement * decoder);

#endif
