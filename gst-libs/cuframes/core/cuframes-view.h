/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The generation that a subscriber reads now, of frames or of packets: what comes next on it, and how far the subscriber is. */
#ifndef CUFRAMES_VIEW_H
#define CUFRAMES_VIEW_H

#include "cuframes-mapping.h"
#include "cuframes-packet-mapping.h"
#include "cuframes-subscriber.h"

typedef struct
{
  CuframesMapping *frames;      /* one of these two, or neither before the first ring */
  CuframesPacketMapping *packets;
  const CuframesControlPage *control;   /* what the pages of both kinds have in common; NULL before the first ring */
  CuframesLeasePage *page;
  uint32_t generation;
  CuframesFrameReader reader;
  CuframesPacketReader packet_reader;
  CuframesFrame *stash;         /* a frame that is leased, but something comes before it */
  CuframesPacketInfo packet;    /* the packet after the cursor, if fetched */
  bool fetched;                 /* a packet is there */
  bool offered;                 /* it was handed out and not taken yet */
  uint64_t missed_told;         /* of the reader's count, what items have said */
} CuframesView;

int cuframes_view_open (CuframesView * view, CuframesConnection * connection, const CuframesRingMessage * message, const int fds[3],
    const CuframesSubscriberConfig * config);
void cuframes_view_close (CuframesView * view);
int cuframes_view_fetch (CuframesView * view, CuframesDelivery delivery, uint32_t max_leases);
void cuframes_view_deliver (CuframesView * view, CuframesItem * item);
int cuframes_view_take (CuframesView * view, void *data, void *metas);
bool cuframes_view_get_fetched (const CuframesView * view, uint64_t * ret_sequence, uint64_t * ret_event_serial);
uint64_t cuframes_view_get_position (const CuframesView * view);
bool cuframes_view_has_more (const CuframesView * view);
bool cuframes_view_is_syncing (CuframesView * view);

#endif
