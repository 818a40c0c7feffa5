/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One generation of packets as a subscriber maps it. */
#ifndef CUFRAMES_PACKET_MAPPING_H
#define CUFRAMES_PACKET_MAPPING_H

#include "cuframes-packet-ring.h"
#include "cuframes-wire.h"

typedef struct
{
  CuframesRingMessage message;  /* checked; its format is not kept */
  const CuframesPacketControlPage *control;
  CuframesLeasePage *page;      /* packets are not leased: it says who waits, and how far this one is */
  const void *data;
} CuframesPacketMapping;

int cuframes_packet_mapping_new (const CuframesRingMessage * message, const int fds[3], CuframesPacketMapping ** ret_mapping);
CuframesPacketMapping *cuframes_packet_mapping_free (CuframesPacketMapping * mapping);

#endif
