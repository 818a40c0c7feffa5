/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One generation of a channel's ring in its publisher. Private; the public part is in cuframes-publisher.h. */
#ifndef CUFRAMES_RING_H
#define CUFRAMES_RING_H

#include <pthread.h>

#include "cuframes-frame-ring.h"
#include "cuframes-memfd.h"
#include "cuframes-packet-ring.h"
#include "cuframes-publisher.h"
#include "cuframes-wire.h"

struct _CuframesRing
{
  unsigned references;          /* atomic */
  CuframesRing *next;           /* among those that its publisher is about to forget */
  CuframesRingMessage message;  /* its geometry; the format is owned */
  CuframesArena *arena;
  int control_fd;
  CuframesControlPage *control; /* of a ring of packets what both pages have in common */
  bool control_adopted;         /* the arena unmaps it */
  pthread_mutex_t lock;         /* guards what follows; taken after the publisher's */
  pthread_cond_t released;
  CuframesFrameRing frames;     /* of a ring of frames */
  CuframesPacketRing packets;   /* of a ring of packets */
  bool flushing;
  uint64_t patience_ns;         /* how long claims leave alone what subscribers who are waited for have not taken */
  uint64_t short_since_ns;      /* since when no slot could be claimed for that; 0 while one could */
  bool others;                  /* some of those are not on this ring yet */
};

int cuframes_ring_prepare (const CuframesRingMessage * message, CuframesArena * arena, CuframesMemfdFill fill, CuframesRing ** ret_ring);
int cuframes_ring_begin (CuframesRing * ring, uint64_t ring_id, uint32_t generation, uint64_t head, uint64_t event_serial,
    uint64_t patience_ns, CuframesLife * life);
bool cuframes_ring_inherit (CuframesRing * ring);
int cuframes_ring_attach (CuframesRing * ring, CuframesLeasePage * page);
void cuframes_ring_detach (CuframesRing * ring, CuframesLeasePage * page);
void cuframes_ring_disregard (CuframesRing * ring, CuframesLeasePage * page);
int cuframes_ring_make_room (CuframesRing * ring, bool waits, bool others);
uint64_t cuframes_ring_announce (CuframesRing * ring, uint32_t slot, const CuframesFrameInfo * info);
int cuframes_ring_write (CuframesRing * ring, const CuframesPacketInfo * info, const struct iovec *pieces, uint32_t piece_count, const void *metas,
    uint64_t * ret_sequence);
uint64_t cuframes_ring_get_head (const CuframesRing * ring);
uint64_t cuframes_ring_get_oldest_lease (CuframesRing * ring, CuframesLeasePage * page);
void cuframes_ring_supersede (CuframesRing * ring, uint32_t successor);
void cuframes_ring_count (CuframesRing * ring, uint32_t * ret_leased, uint32_t * ret_held);
int cuframes_ring_wait_released (CuframesRing * ring, uint64_t timeout_ns);

/* Waits on a condition made for CLOCK_MONOTONIC; false when the time is over. */
int cuframes_condition_init (pthread_cond_t * condition);
bool cuframes_condition_wait (pthread_cond_t * condition, pthread_mutex_t * lock, uint64_t deadline_ns);

#endif
