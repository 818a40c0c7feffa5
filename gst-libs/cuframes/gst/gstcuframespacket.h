/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <gst/gst.h>

#include "cuframes.h"

G_BEGIN_DECLS

/* Between GstBuffer and CuframesPacketInfo; private to the library and the plugin. */
void     gst_cuframes_packet_describe    (GstBuffer * buffer,
                                          CuframesPacketInfo * info);

void     gst_cuframes_packet_apply       (const CuframesPacketInfo * info,
                                          GstBuffer * buffer);

gboolean gst_cuframes_packet_begins      (GstBuffer * buffer,
                                          GstBuffer * header);

G_END_DECLS
