/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packet ring: packets of any size with key points, overwritten by a writer that never waits and validated by readers that
 * only look. See docs/packet-ring.md.
 *
 * Two views of the same pages, which somebody else mapped: the writer's belongs to the publisher, a reader's to one
 * subscriber, whose mapping is read-only. The calls of one view are serialised by the caller. No call makes a system call or
 * waits; cuframes_packet_ring_init() alone takes memory.
 *
 * Synchronisation points of this ring:
 *   SYNC packet_publish   data, record, then head, release      -> acquire load of head before a read
 *   SYNC packet_reserve   tail, release fence, then data        -> data, acquire fence, then tail: the validation
 *   SYNC wake             head, seq_cst -> waiting, seq_cst: see cuframes-layout.h; one sleeping code serves both rings
 */
#ifndef CUFRAMES_PACKET_RING_H
#define CUFRAMES_PACKET_RING_H

#include <sys/uio.h>

#include "cuframes-layout.h"

#define CUFRAMES_PACKET_LAYOUT_MAGIC 0x31544b50u        /* "PKT1" */
#define CUFRAMES_PACKET_LAYOUT_VERSION 1u
/* Both are powers of two, so that positions and numbers can run over 2^64. */
#define CUFRAMES_PACKET_INDEX_MIN 16u
#define CUFRAMES_PACKET_INDEX_MAX (1u << 20)
#define CUFRAMES_PACKET_DATA_BYTES_MIN 4096u
#define CUFRAMES_PACKET_DATA_BYTES_MAX (UINT64_C (1) << 32)
#define CUFRAMES_PACKET_WORD_BYTES 8u
/* A reader that starts at the newest packet has the time of three more before that one is overwritten. */
#define CUFRAMES_PACKET_SHARE 4u

/* What the index says of a packet. Its data starts at position_bytes, its metas at the next whole word after the data. Positions
 * count every byte ever written; modulo the size of the data area they are an offset in it. */
typedef struct
{
  uint64_t position_bytes;
  CuframesPacketInfo info;
} CuframesPacketRecord;

#define CUFRAMES_PACKET_RECORD_WORDS (sizeof (CuframesPacketRecord) / CUFRAMES_PACKET_WORD_BYTES)

/* A record as it is shared: words, because readers copy it while it may be overwritten. The packet's number in it is its tag. */
typedef struct
{
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t words[CUFRAMES_PACKET_RECORD_WORDS];
} CuframesPacketEntry;

/* The control page: written by the publisher alone; a subscriber cannot map it writable. What both rings have lies where
 * CuframesControlPage has it, so that one code sleeps, wakes and changes generation for both. */
typedef struct
{
  uint32_t magic;
  uint32_t version;
  uint64_t ring_id;
  uint32_t generation;
  uint32_t index_size;
  uint64_t data_bytes;
  uint64_t first_sequence;      /* the first number this generation gives out is one more */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t head; /* number of the newest packet */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t event_serial; /* number of the newest event */
  _Atomic uint32_t successor;   /* the generation that follows, 0 while this one is current */
  _Alignas (CUFRAMES_LINE_BYTES) _Atomic uint64_t tail; /* packets before this number are gone or going */
  _Alignas (CUFRAMES_LINE_BYTES) CuframesPacketEntry index[];
} CuframesPacketControlPage;

_Static_assert (sizeof (CuframesPacketInfo) == 120, "the packet description is part of the protocol");
_Static_assert (sizeof (CuframesPacketRecord) == 128, "a record is part of the protocol");
_Static_assert (sizeof (CuframesPacketEntry) == sizeof (CuframesPacketRecord), "an entry is a record in words");
_Static_assert (offsetof (CuframesPacketControlPage, magic) == offsetof (CuframesControlPage, magic), "one code reads both pages");
_Static_assert (offsetof (CuframesPacketControlPage, version) == offsetof (CuframesControlPage, version), "one code reads both pages");
_Static_assert (offsetof (CuframesPacketControlPage, ring_id) == offsetof (CuframesControlPage, ring_id), "one code reads both pages");
_Static_assert (offsetof (CuframesPacketControlPage, generation) == offsetof (CuframesControlPage, generation),
    "one code reads both pages");
_Static_assert (offsetof (CuframesPacketControlPage, first_sequence) == offsetof (CuframesControlPage, first_sequence),
    "one code reads both pages");
_Static_assert (offsetof (CuframesPacketControlPage, head) == offsetof (CuframesControlPage, head), "one code sleeps on both pages");
_Static_assert (offsetof (CuframesPacketControlPage, event_serial) == offsetof (CuframesControlPage, event_serial),
    "one code sleeps on both pages");
_Static_assert (offsetof (CuframesPacketControlPage, successor) == offsetof (CuframesControlPage, successor),
    "one code sleeps on both pages");
_Static_assert (offsetof (CuframesPacketControlPage, tail) == 192, "part of the protocol");
_Static_assert (offsetof (CuframesPacketControlPage, index) == 256, "part of the protocol");

/* Bytes of a control page, whole pages. */
static inline uint64_t
cuframes_packet_control_bytes (uint32_t index_size)
{
  uint64_t bytes = offsetof (CuframesPacketControlPage, index) + (uint64_t) index_size * sizeof (CuframesPacketEntry);
  return (bytes + CUFRAMES_PAGE_BYTES - 1) / CUFRAMES_PAGE_BYTES * CUFRAMES_PAGE_BYTES;
}

/* The publisher's private truth. Nothing in it is ever read back from a shared page. */
typedef struct
{
  CuframesPacketControlPage *control;
  _Atomic uint64_t *words;
  uint64_t data_bytes;
  uint32_t index_size;
  uint64_t head;
  uint64_t tail;
  uint64_t position_bytes;      /* where the next packet starts */
  uint64_t *starts;             /* where each packet of the ring starts */
} CuframesPacketRing;

int cuframes_packet_ring_init (CuframesPacketRing * ring, CuframesPacketControlPage * control, uint32_t index_size, void *data,
    uint64_t data_bytes, uint64_t head, uint64_t position_bytes);
void cuframes_packet_ring_clear (CuframesPacketRing * ring);
void cuframes_packet_ring_set_head (CuframesPacketRing * ring, uint64_t head);
uint64_t cuframes_packet_ring_get_limit (const CuframesPacketRing * ring);
int cuframes_packet_ring_write (CuframesPacketRing * ring, const CuframesPacketInfo * info, const struct iovec *pieces, uint32_t piece_count,
    const void *metas, uint64_t * ret_sequence);

typedef enum
{
  CUFRAMES_PACKET_FROM_NEWEST,  /* the newest key point that is there, else the next to come */
  CUFRAMES_PACKET_FROM_NEXT,    /* the first key point that is written from now on */
  CUFRAMES_PACKET_FROM_OLDEST,  /* the oldest key point that is there, else the next to come */
} CuframesPacketFrom;

/* A subscriber's view. */
typedef struct
{
  const CuframesPacketControlPage *control;
  const _Atomic uint64_t *words;
  uint64_t data_bytes;
  uint32_t index_size;
  CuframesPacketFrom resume;    /* where to go on after an overrun; may be changed at any time */
  CuframesPacketFrom seek;      /* where the key point is looked for while syncing */
  bool syncing;                 /* no key point found yet since the start or the last overrun */
  bool counting;                /* what lies between cursor and the next packet is missed */
  bool peeked;                  /* packet is the one after cursor */
  uint64_t limit_bytes;         /* a larger packet is nonsense; may be lowered after init */
  uint64_t cursor;              /* number of the last packet taken or passed over */
  uint64_t seen;                /* while head is this number there is nothing to do; what a sleeper compares head with */
  uint64_t missed;              /* packets that passed by */
  uint64_t overruns;
  CuframesPacketRecord packet;
} CuframesPacketReader;

int cuframes_packet_reader_init (CuframesPacketReader * reader, const CuframesPacketControlPage * control, uint32_t index_size,
    const void *data, uint64_t data_bytes, CuframesPacketFrom start, CuframesPacketFrom resume);
void cuframes_packet_reader_count_from (CuframesPacketReader * reader, uint64_t cursor);
int cuframes_packet_reader_peek (CuframesPacketReader * reader, CuframesPacketInfo * ret_info);
int cuframes_packet_reader_take (CuframesPacketReader * reader, void *data, void *metas);
void cuframes_packet_reader_skip (CuframesPacketReader * reader);
int cuframes_packet_reader_read (CuframesPacketReader * reader, void *data, uint64_t data_capacity_bytes, void *metas,
    uint64_t meta_capacity_bytes, CuframesPacketInfo * ret_info);

#endif
