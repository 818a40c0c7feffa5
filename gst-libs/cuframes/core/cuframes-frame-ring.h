/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frame ring: slots, sequence numbers and leases on mapped pages. See docs/ring.md.
 *
 * Two views of the same pages. The writer belongs to the publisher and its calls are serialised by the caller; the reader
 * belongs to one subscriber, of which one thread at a time may lease while any thread may give a lease back. No call makes
 * a system call or waits. */
#ifndef CUFRAMES_FRAME_RING_H
#define CUFRAMES_FRAME_RING_H

#include "cuframes-layout.h"

typedef enum
{
  CUFRAMES_SLOT_FREE,           /* nobody's; may be claimed */
  CUFRAMES_SLOT_CLAIMED,        /* the publisher's process writes it */
  CUFRAMES_SLOT_PUBLISHED,      /* a frame of the ring */
  CUFRAMES_SLOT_RETIRED,        /* no longer a frame; a subscriber's bit was seen on it */
} CuframesSlotUse;

/* The publisher's private truth. Nothing in it is ever read back from a shared page but the lease words. */
typedef struct
{
  CuframesControlPage *control;
  uint32_t slot_count;
  uint32_t reserve_count;       /* slots that stay the publisher's own, see cuframes_frame_ring_make_room() */
  uint64_t head;
  bool closed;                  /* superseded: nothing is reclaimed any more */
  struct
  {
    CuframesSlotUse use;
    bool held;                  /* memory of the publisher's own process still refers to it */
    uint64_t sequence;
    uint64_t fence;             /* of a published frame that a GPU may still be writing; else 0 */
  } slots[CUFRAMES_SLOTS_MAX];
  CuframesLeasePage **pages;    /* the subscribers', in no order; those that are waited for come first */
  uint32_t waited_count;
  uint32_t page_count;
  uint32_t page_capacity;
} CuframesFrameRing;

int cuframes_frame_ring_init (CuframesFrameRing * ring, CuframesControlPage * control, uint32_t slot_count, uint32_t reserve_count,
    uint64_t head);
void cuframes_frame_ring_clear (CuframesFrameRing * ring);
int cuframes_frame_ring_attach (CuframesFrameRing * ring, CuframesLeasePage * page);
void cuframes_frame_ring_detach (CuframesFrameRing * ring, CuframesLeasePage * page);
void cuframes_frame_ring_disregard (CuframesFrameRing * ring, CuframesLeasePage * page);
uint64_t cuframes_frame_ring_get_floor (const CuframesFrameRing * ring);
int cuframes_frame_ring_claim (CuframesFrameRing * ring, uint64_t keep_after, uint32_t * ret_slot);
int cuframes_frame_ring_make_room (CuframesFrameRing * ring, uint64_t keep_after);
uint64_t cuframes_frame_ring_publish (CuframesFrameRing * ring, uint32_t slot, const CuframesFrameInfo * info);
void cuframes_frame_ring_release (CuframesFrameRing * ring, uint32_t slot);
void cuframes_frame_ring_close (CuframesFrameRing * ring);
uint64_t cuframes_frame_ring_get_leases (const CuframesFrameRing * ring);
bool cuframes_fence_is_reached (const CuframesControlPage * control, uint64_t fence);

/* A subscriber's view. */
typedef struct
{
  const CuframesControlPage *control;
  CuframesLeasePage *page;
  uint32_t slot_count;
  uint64_t cursor;              /* number of the last frame taken or passed over */
  uint64_t missed;
} CuframesFrameReader;

typedef enum
{
  CUFRAMES_READ_NEXT,           /* every frame in order; after an overrun the oldest still there */
  CUFRAMES_READ_LATEST,         /* the newest frame; those before it are missed */
} CuframesReadOrder;

void cuframes_frame_reader_init (CuframesFrameReader * reader, const CuframesControlPage * control, CuframesLeasePage * page,
    uint32_t slot_count, uint64_t cursor);
int cuframes_frame_reader_lease (CuframesFrameReader * reader, CuframesReadOrder order, uint32_t * ret_slot, CuframesFrameInfo * ret_info);
void cuframes_frame_reader_unlease (CuframesLeasePage * page, uint32_t slot);
uint64_t cuframes_frame_reader_get_oldest (const CuframesFrameReader * reader);

#endif
