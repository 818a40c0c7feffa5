/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Messages of a publisher that wait for their place among frames or packets, in the order in which they came. */
#ifndef CUFRAMES_PENDING_H
#define CUFRAMES_PENDING_H

#include "cuframes-channel.h"

typedef struct _CuframesPending CuframesPending;
struct _CuframesPending
{
  CuframesPending *next;
  CuframesMessage message;      /* a RING or an EVENT; its variable part is in bytes */
  int fds[CUFRAMES_WIRE_FDS_MAX];
  uint32_t byte_count;
  uint8_t bytes[];
};

typedef struct
{
  CuframesPending *first, **end;
  uint32_t count, ring_count;
  uint64_t total_bytes;
} CuframesPendingQueue;

void cuframes_pending_queue_init (CuframesPendingQueue * queue);
void cuframes_pending_queue_clear (CuframesPendingQueue * queue);
int cuframes_pending_queue_add (CuframesPendingQueue * queue, CuframesInbox * inbox);
CuframesPending *cuframes_pending_queue_take (CuframesPendingQueue * queue);
CuframesPending *cuframes_pending_free (CuframesPending * pending);

#endif
