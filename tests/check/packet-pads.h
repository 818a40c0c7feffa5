/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets for the tests of the elements: known by their number, of which every byte of their data is made, so that one that is torn is told from
 * one that is whole. */
#ifndef PACKET_PADS_H
#define PACKET_PADS_H

#include "element-fixture.h"

#define PACKET_CAPS "application/x-packets,stage=(int)1"
/* Every so many a key point, the first of all included. */
#define PACKET_GOP 30
#define PACKET_NS (GST_SECOND / 200)

GstBuffer *packet_new (guint64 number, gsize size, gboolean key);
/* The number of a whole packet, else G_MAXUINT64. */
guint64 packet_number (GstBuffer * buffer);
gboolean packet_is_key (GstBuffer * buffer);
/* A sink that is fed packets of these caps. */
gboolean packet_feeder_open (Feeder * feeder, const char *properties, const char *caps);
/* So many of that size from number first on. */
GstFlowReturn packet_feeder_push (Feeder * feeder, guint64 first, guint count, gsize size);
/* The next packet's number; the buffer if it is asked for. */
guint64 packet_catcher_take (Catcher * catcher, GstBuffer ** ret_buffer);

#endif
