/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The shared pages: structs, offsets and the rules of who writes what. No pointer and no descriptor number is ever in them.
 *
 * Table of synchronisation points (a script checks that each name stands at both its ends):
 *   SYNC publish      slot state, index and head, release      -> acquire loads of a lease
 *   SYNC lease        lease bit, seq_cst -> slot state, seq_cst: the subscriber's half of the hazard
 *   SYNC reclaim      slot state, seq_cst -> lease words, seq_cst: the publisher's half of the hazard
 *   SYNC unlease      lease bit cleared, release               -> lease words, acquire, in reclaim
 *   SYNC sleep        waiting, seq_cst -> head, seq_cst: the subscriber's half of the wake-up
 *   SYNC wake         head, seq_cst -> waiting, seq_cst: the publisher's half of the wake-up
 *   SYNC event        event serial, seq_cst                    -> seq_cst load before a sleep
 *   SYNC successor    successor generation, seq_cst            -> seq_cst load before a sleep
 *   SYNC budget       lease bit cleared, then frames out, release -> acquire load of frames out before a lease; within one process
 *   SYNC fence        fence word in GPU memory, written by a stream -> waited for by a stream, or read by a copy
 *   SYNC mirror       fence word in the control pages, written by a stream -> acquire load
 */
#ifndef CUFRAMES_LAYOUT_H
#define CUFRAMES_LAYOUT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "cuframes-types.h"

#define CUFRAMES_LAYOUT_MAGIC 0x314d5246u       /* "FRM1" */
#define CUFRAMES_LAYOUT_VERSION 1u
#define CUFRAMES_PAGE_BYTES 4096u
#define CUFRAMES_LINE_BYTES 64u
/* A power of two and more than slots, so that the entry of a frame outlives its slot. */
#define CUFRAMES_INDEX_SIZE 256u
#define CUFRAMES_META_BYTES_MAX (4u * 1024u * 1024u)
/* Room for metas beside each slot if the publisher is not told otherwise; untouched pages of it cost nothing. */
#define CUFRAMES_META_BYTES_DEFAULT (1024u * 1024u + 64u * 1024u)

/* A tag names one frame in one slot: its sequence number's low 56 bits and the slot plus one. 0 is no frame. The index entry
 * of a frame and the state of its slot hold the same tag while the frame stands. */
typedef uint64_t CuframesTag;

static inline CuframesTag
cuframes_tag (uint64_t sequence, uint32_t slot)
{
  return sequence << 8 | (slot + 1);
}

static inline bool
cuframes_tag_is_of (CuframesTag tag, uint64_t sequence)
{
  return tag != 0 && tag >> 8 == (sequence & (UINT64_MAX >> 8));
}

static inline uint32_t
cuframes_tag_slot (CuframesTag tag)
{
  return (uint32_t) (tag & 0xff) - 1;
}

typedef struct
{
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic CuframesTag state;
  uint64_t reserved[7];
  CuframesFrameInfo info;
} CuframesSlot;

/* The control page: written by the publisher alone; a subscriber cannot map it writable. */
typedef struct
{
  uint32_t magic;
  uint32_t version;
  uint64_t ring_id;
  uint32_t generation;
  uint32_t slot_count;
  uint64_t meta_stride_bytes;
  uint64_t first_sequence;      /* the first number this generation gives out is one more */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t head;  /* number of the newest frame */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t event_serial;  /* number of the newest event */
  _Atomic uint32_t successor;   /* the generation that follows, 0 while this one is current */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic CuframesTag index[CUFRAMES_INDEX_SIZE];
  CuframesSlot slots[CUFRAMES_SLOTS_MAX];
} CuframesControlPage;

/* One per subscriber and generation: written by that subscriber, and by the publisher where it says so. */
typedef struct
{
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t leases;        /* bit i: slot i is in use */
  _Atomic uint32_t bye;         /* by the publisher: a CuframesByeReason once the subscriber is off the channel */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint32_t waiting;       /* 1: write to my pipe; the publisher sets it back */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t cursor;        /* number of the last frame taken or passed over */
  _Atomic uint64_t delivered;
  _Atomic uint64_t missed;
  _Atomic uint64_t copied;
  _Atomic uint32_t lossless;    /* 1: under the policy "wait" no frame after cursor is to be overwritten */
} CuframesLeasePage;

/* Behind the control page one page of fence words, written by a GPU: what it wrote to the fence words of the arena before. */
#define CUFRAMES_FENCE_WORDS 512u
#define CUFRAMES_FENCE_WORD_SHIFT 48
#define CUFRAMES_FENCE_VALUE_MAX ((UINT64_C (1) << CUFRAMES_FENCE_WORD_SHIFT) - 1)
#define CUFRAMES_FENCE_OFFSET_BYTES \
  ((sizeof (CuframesControlPage) + CUFRAMES_PAGE_BYTES - 1) / CUFRAMES_PAGE_BYTES * CUFRAMES_PAGE_BYTES)
#define CUFRAMES_META_OFFSET_BYTES (CUFRAMES_FENCE_OFFSET_BYTES + CUFRAMES_PAGE_BYTES)

_Static_assert (sizeof (CuframesFrameInfo) == 192, "the frame description is part of the protocol");
_Static_assert (sizeof (CuframesSlot) == 256, "a slot is part of the protocol");
_Static_assert (offsetof (CuframesControlPage, head) == 64, "part of the protocol");
_Static_assert (offsetof (CuframesControlPage, event_serial) == 128, "part of the protocol");
_Static_assert (offsetof (CuframesControlPage, index) == 192, "part of the protocol");
_Static_assert (offsetof (CuframesControlPage, slots) == 192 + 8 * CUFRAMES_INDEX_SIZE, "part of the protocol");
_Static_assert (CUFRAMES_FENCE_WORDS * sizeof (uint64_t) == CUFRAMES_PAGE_BYTES, "the fence words fill their page");
_Static_assert (sizeof (CuframesLeasePage) <= CUFRAMES_PAGE_BYTES, "a lease page is one page");
_Static_assert (CUFRAMES_INDEX_SIZE >= 2 * CUFRAMES_SLOTS_MAX, "an entry must outlive its slot");
_Static_assert (ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "shared words need lock-free atomics");
_Static_assert (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the pages are little-endian");

#endif
