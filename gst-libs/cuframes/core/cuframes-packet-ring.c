/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lock-free algorithm of the packet ring, on pages that somebody else mapped. Never a system call, never a wait.
 *
 * A reader holds nothing. It copies a packet into memory of its own and then asks whether the writer had begun to overwrite it:
 * the sequence lock of H.-J. Boehm, "Can Seqlocks Get Along with Programming Language Memory Models?" (2012), with one counter,
 * the tail, for all packets. The copies race by design, so every shared word of a packet is a relaxed atomic. Such a loop moves
 * 14 to 35 GB/s where memcpy() moves 21 to 43 (measured: x86-64, gcc 12 and clang 14, 256 B to 2 MiB); at any bit rate that
 * a camera has the difference cannot be seen, and in return the race is none in the language's terms and ThreadSanitizer can
 * follow it. The fences are needed: an acquire load of the tail does not keep the copy before it, a release store of the tail
 * does not keep the copy behind it. docs/packet-ring.md has the states, the invariants and the crash table. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cuframes-packet-ring.h"
#include "cuframes-util.h"

#define WORD CUFRAMES_PACKET_WORD_BYTES

/* Packets are numbered modulo 2^64, so "after" is a signed difference. */
static bool
is_after (uint64_t a, uint64_t b)
{
  return (int64_t) (a - b) > 0;
}

static bool
is_power_between (uint64_t value, uint64_t least, uint64_t most)
{
  return value >= least && value <= most && (value & (value - 1)) == 0;
}

static bool
are_sizes_valid (uint32_t index_size, const void *data, uint64_t data_bytes)
{
  return is_power_between (index_size, CUFRAMES_PACKET_INDEX_MIN, CUFRAMES_PACKET_INDEX_MAX)
      && is_power_between (data_bytes, CUFRAMES_PACKET_DATA_BYTES_MIN, CUFRAMES_PACKET_DATA_BYTES_MAX)
      && data != NULL && (uintptr_t) data % WORD == 0;
}

/* Room that a packet takes in the data area; false if it is more than limit_bytes. */
static bool
get_room (const CuframesPacketInfo *info, uint64_t limit_bytes, uint64_t *ret_bytes)
{
  uint64_t data_bytes, meta_bytes;

  if (!cuframes_align (info->size_bytes, WORD, &data_bytes) || !cuframes_align (info->meta_bytes, WORD, &meta_bytes))
    return false;
  if (!cuframes_add (data_bytes, meta_bytes, ret_bytes))
    return false;
  return *ret_bytes <= limit_bytes;
}

static void
store_words (_Atomic uint64_t *to, const uint8_t *from, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++) {
    uint64_t word;
    memcpy (&word, from + i * WORD, WORD);
    /* relaxed: SYNC packet_publish and SYNC packet_reserve order all words of a packet at once */
    atomic_store_explicit (&to[i], word, memory_order_relaxed);
  }
}

static void
load_words (uint8_t *to, const _Atomic uint64_t *from, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++) {
    /* relaxed: as in store_words() */
    uint64_t word = atomic_load_explicit (&from[i], memory_order_relaxed);
    memcpy (to + i * WORD, &word, WORD);
  }
}

/* head and position_bytes are the number before the first packet's and where it starts; a position is a whole number of words.
 * control and data are zeroed memory that only this process can write. The caller fills in ring_id and generation.
 * 0, -EINVAL or -ENOMEM. */
int
cuframes_packet_ring_init (CuframesPacketRing *ring, CuframesPacketControlPage *control, uint32_t index_size, void *data,
    uint64_t data_bytes, uint64_t head, uint64_t position_bytes)
{
  if (!are_sizes_valid (index_size, data, data_bytes) || position_bytes % WORD != 0)
    return -EINVAL;
  uint64_t *starts = calloc (index_size, sizeof *starts);
  if (starts == NULL)
    return -ENOMEM;
  *ring = (CuframesPacketRing) {
    .control = control,.words = data,.data_bytes = data_bytes,.index_size = index_size,
    .position_bytes = position_bytes,.starts = starts,
  };
  control->magic = CUFRAMES_PACKET_LAYOUT_MAGIC;
  control->version = CUFRAMES_PACKET_LAYOUT_VERSION;
  control->index_size = index_size;
  control->data_bytes = data_bytes;
  cuframes_packet_ring_set_head (ring, head);
  return 0;
}

/* Says anew what number comes before the first packet's. Before the first packet, and before anybody else has the pages. */
void
cuframes_packet_ring_set_head (CuframesPacketRing *ring, uint64_t head)
{
  ring->head = head;
  ring->tail = head + 1;
  ring->control->first_sequence = head;
  /* relaxed: nobody else maps the page yet; its descriptor is sent later */
  atomic_store_explicit (&ring->control->tail, ring->tail, memory_order_relaxed);
  /* relaxed: likewise */
  atomic_store_explicit (&ring->control->head, head, memory_order_relaxed);
}

/* Gives the private memory back. The shared pages are not touched. */
void
cuframes_packet_ring_clear (CuframesPacketRing *ring)
{
  free (ring->starts);
  *ring = (CuframesPacketRing) { 0 };
}

/* Bytes of the largest packet that is taken; its data and its metas each count in whole words. */
uint64_t
cuframes_packet_ring_get_limit (const CuframesPacketRing *ring)
{
  return ring->data_bytes / CUFRAMES_PACKET_SHARE;
}

/* A stream of bytes into the data area, which is written in whole words: pieces may end within one. */
typedef struct
{
  CuframesPacketRing *ring;
  uint64_t position_bytes;      /* of the word to be stored next */
  uint64_t pending;
  size_t pending_bytes;
} Stream;

static void
put_words (Stream *stream, const uint8_t *bytes, uint64_t count)
{
  CuframesPacketRing *ring = stream->ring;
  const uint64_t first = (stream->position_bytes & (ring->data_bytes - 1)) / WORD;
  const uint64_t to_end = ring->data_bytes / WORD - first;
  const uint64_t before = count < to_end ? count : to_end;

  store_words (ring->words + first, bytes, before);
  store_words (ring->words, bytes + before * WORD, count - before);
  stream->position_bytes += count * WORD;
}

/* Fills the last word up with zeros. */
static void
flush (Stream *stream)
{
  if (stream->pending_bytes > 0)
    put_words (stream, (const uint8_t *) &stream->pending, 1);
  stream->pending = 0;
  stream->pending_bytes = 0;
}

static void
put_bytes (Stream *stream, const uint8_t *bytes, size_t count)
{
  if (count == 0)
    return;
  if (stream->pending_bytes > 0) {
    size_t missing = WORD - stream->pending_bytes;
    size_t taken = count < missing ? count : missing;

    memcpy ((uint8_t *) &stream->pending + stream->pending_bytes, bytes, taken);
    stream->pending_bytes += taken;
    if (stream->pending_bytes < WORD)
      return;
    flush (stream);
    bytes += taken;
    count -= taken;
  }
  put_words (stream, bytes, count / WORD);
  stream->pending_bytes = count % WORD;
  memcpy (&stream->pending, bytes + count - stream->pending_bytes, stream->pending_bytes);
}

/* Tells the readers which packets go before anything of them is overwritten. */
static void
reserve (CuframesPacketRing *ring, uint64_t sequence, uint64_t end_bytes)
{
  uint64_t tail = ring->tail;

  while (tail != sequence && (sequence - tail >= ring->index_size
          || end_bytes - ring->starts[tail & (ring->index_size - 1)] > ring->data_bytes))
    tail++;
  if (tail == ring->tail)
    return;
  ring->tail = tail;
  /* relaxed: the fence below orders it */
  atomic_store_explicit (&ring->control->tail, tail, memory_order_relaxed);
  /* SYNC packet_reserve: release fence, then the words of the new packet; pairs with the acquire fence in is_gone(); without it a
   * reader may copy new words, still see the old tail, and hand out a torn packet. */
  atomic_thread_fence (memory_order_release);
  /* If we die here peers see fewer packets, all of them whole: who was to read a reserved one counts an overrun and goes on. */
  CUFRAMES_TESTPOINT ("packet/reserved");
}

/* Writes a packet: info->size_bytes bytes of data from the pieces together, info->meta_bytes bytes of metas. What is in its way is
 * overwritten, whoever reads it. Subscribers that sleep must be woken after this. 0; CUFRAMES_E_FULL if the packet is larger than
 * cuframes_packet_ring_get_limit(); -EINVAL if the pieces are not info->size_bytes long. Unless 0, nothing has changed. */
int
cuframes_packet_ring_write (CuframesPacketRing *ring, const CuframesPacketInfo *info, const struct iovec *pieces, uint32_t piece_count,
    const void *metas, uint64_t *ret_sequence)
{
  CuframesPacketControlPage *control = ring->control;
  const uint64_t sequence = ring->head + 1;
  CuframesPacketRecord record = {.position_bytes = ring->position_bytes,.info = *info };
  Stream stream = {.ring = ring,.position_bytes = ring->position_bytes };
  uint64_t room, given_bytes = 0;

  for (uint32_t i = 0; i < piece_count; i++)
    if (!cuframes_add (given_bytes, pieces[i].iov_len, &given_bytes))
      return -EINVAL;
  if (given_bytes != info->size_bytes || (metas == NULL && info->meta_bytes > 0))
    return -EINVAL;
  if (!get_room (info, cuframes_packet_ring_get_limit (ring), &room))
    return CUFRAMES_E_FULL;

  reserve (ring, sequence, ring->position_bytes + room);
  for (uint32_t i = 0; i < piece_count; i++)
    put_bytes (&stream, pieces[i].iov_base, pieces[i].iov_len);
  flush (&stream);
  put_bytes (&stream, metas, info->meta_bytes);
  flush (&stream);
  /* If we die here peers see what they saw after the reservation: nobody looks beyond head. */
  CUFRAMES_TESTPOINT ("packet/copied");
  record.info.sequence = sequence;
  store_words (control->index[sequence & (ring->index_size - 1)].words, (const uint8_t *) &record, CUFRAMES_PACKET_RECORD_WORDS);
  /* If we die here: likewise. */
  CUFRAMES_TESTPOINT ("packet/described");
  ring->starts[sequence & (ring->index_size - 1)] = ring->position_bytes;
  ring->position_bytes += room;
  ring->head = sequence;
  /* SYNC packet_publish: release; pairs with the acquire in load_head(); without it a reader may find old words under the new number.
   * SYNC wake: seq_cst, then the waiting words in cuframes_publisher_wake(); pairs with cuframes_subscriber_arm(), which says that it
   * waits and then reads this word; without it a subscriber may go to sleep over this packet. */
  atomic_store_explicit (&control->head, sequence, memory_order_seq_cst);
  /* If we die here those awake have the packet and those asleep are woken by the hang-up of their pipes. */
  CUFRAMES_TESTPOINT ("packet/announced");
  *ret_sequence = sequence;
  return 0;
}

static uint64_t
load_head (const CuframesPacketReader *reader)
{
  /* SYNC packet_publish: acquire; pairs with cuframes_packet_ring_write(). */
  return atomic_load_explicit (&reader->control->head, memory_order_acquire);
}

/* Whether the writer may have overwritten any of what was copied so far of that packet. */
static bool
is_gone (const CuframesPacketReader *reader, uint64_t sequence)
{
  /* SYNC packet_reserve: acquire fence, then tail; pairs with the release fence in reserve(): whoever copied a word of a later packet
   * sees the tail that was stored before that word. Without it the load may be done before the copy is. */
  atomic_thread_fence (memory_order_acquire);
  /* relaxed: the fence above orders it */
  return is_after (atomic_load_explicit (&reader->control->tail, memory_order_relaxed), sequence);
}

/* Looks for a key point again, which `from` says where to find. */
static void
start_sync (CuframesPacketReader *reader, CuframesPacketFrom from)
{
  uint64_t head = load_head (reader);

  reader->syncing = true;
  reader->peeked = false;
  reader->seek = from;
  reader->seen = from == CUFRAMES_PACKET_FROM_NEXT ? head : head - reader->index_size;
}

static int
overrun (CuframesPacketReader *reader)
{
  reader->overruns++;
  start_sync (reader, reader->resume);
  return CUFRAMES_E_OVERRUN;
}

/* The sizes come from the publisher's message, checked by the caller against the mappings; nothing is ever read beyond them.
 * 0, -EINVAL if they are outside the limits, CUFRAMES_E_PEER if the page says otherwise. */
int
cuframes_packet_reader_init (CuframesPacketReader *reader, const CuframesPacketControlPage *control, uint32_t index_size,
    const void *data, uint64_t data_bytes, CuframesPacketFrom start, CuframesPacketFrom resume)
{
  if (!are_sizes_valid (index_size, data, data_bytes))
    return -EINVAL;
  if (control->magic != CUFRAMES_PACKET_LAYOUT_MAGIC || control->version != CUFRAMES_PACKET_LAYOUT_VERSION
      || control->index_size != index_size || control->data_bytes != data_bytes)
    return CUFRAMES_E_PEER;
  *reader = (CuframesPacketReader) {
    .control = control,.words = data,.data_bytes = data_bytes,.index_size = index_size,.resume = resume,
    .limit_bytes = data_bytes / CUFRAMES_PACKET_SHARE,
  };
  start_sync (reader, start);
  reader->cursor = load_head (reader);
  return 0;
}

/* For a subscriber that goes on from an earlier generation, right after init: what lies between cursor, the last packet it took there,
 * and the first one here counts as missed. */
void
cuframes_packet_reader_count_from (CuframesPacketReader *reader, uint64_t cursor)
{
  reader->cursor = cursor;
  reader->counting = true;
}

/* 0, CUFRAMES_E_OVERRUN if that packet is gone, CUFRAMES_E_PEER if the page holds nonsense. */
static int
read_record (const CuframesPacketReader *reader, uint64_t sequence, CuframesPacketRecord *ret_record)
{
  uint64_t room;

  load_words ((uint8_t *) ret_record, reader->control->index[sequence & (reader->index_size - 1)].words, CUFRAMES_PACKET_RECORD_WORDS);
  CUFRAMES_TESTPOINT ("packet/record-read");
  if (is_gone (reader, sequence))
    return CUFRAMES_E_OVERRUN;
  if (ret_record->info.sequence != sequence || ret_record->position_bytes % WORD != 0)
    return CUFRAMES_E_PEER;
  if (!get_room (&ret_record->info, reader->limit_bytes, &room))
    return CUFRAMES_E_PEER;
  return 0;
}

static bool
has_flag (const CuframesPacketReader *reader, uint64_t sequence, uint32_t flag, int *ret_result)
{
  CuframesPacketRecord record;

  *ret_result = read_record (reader, sequence, &record);
  return *ret_result == 0 && (record.info.flags & flag) != 0;
}

/* Looks at the packets first to head for a key point. 0, CUFRAMES_E_EMPTY or CUFRAMES_E_PEER. */
static int
find_key (const CuframesPacketReader *reader, uint64_t first, uint64_t head, uint64_t *ret_sequence)
{
  const bool backwards = reader->seek == CUFRAMES_PACKET_FROM_NEWEST;
  const uint64_t count = head - first + 1;

  for (uint64_t i = 0; i < count; i++) {
    uint64_t sequence = backwards ? head - i : first + i;
    int r;

    if (has_flag (reader, sequence, CUFRAMES_PACKET_KEY, &r)) {
      *ret_sequence = sequence;
      return 0;
    }
    if (r == CUFRAMES_E_PEER)
      return r;
    if (r == CUFRAMES_E_OVERRUN && backwards)
      break;
  }
  return CUFRAMES_E_EMPTY;
}

/* Moves the cursor to just before a key point and the headers that stand before it. 0, CUFRAMES_E_EMPTY or CUFRAMES_E_PEER. */
static int
find_start (CuframesPacketReader *reader, uint64_t head)
{
  const uint64_t oldest = head - reader->index_size + 1;
  /* relaxed: saves looking at what is gone; read_record() validates */
  const uint64_t tail = atomic_load_explicit (&reader->control->tail, memory_order_relaxed);
  uint64_t first = is_after (reader->seen + 1, oldest) ? reader->seen + 1 : oldest;
  uint64_t sequence;
  int r = CUFRAMES_E_EMPTY;

  if (is_after (reader->seen, head))
    return CUFRAMES_E_PEER;
  if (is_after (tail, first))
    first = tail;
  if (!is_after (first, head))
    r = find_key (reader, first, head, &sequence);
  if (r == CUFRAMES_E_EMPTY)
    reader->seen = head;
  if (r != 0)
    return r;
  while (sequence != oldest && has_flag (reader, sequence - 1, CUFRAMES_PACKET_HEADER, &r))
    sequence--;
  if (reader->counting && is_after (sequence - 1, reader->cursor))
    reader->missed += sequence - 1 - reader->cursor;
  reader->cursor = sequence - 1;
  reader->counting = true;
  reader->syncing = false;
  return 0;
}

/* Describes the packet after the cursor, which does not move: so the caller can apply the events before it and take memory for
 * it. The sizes are within the limits. 0; CUFRAMES_E_EMPTY if there is none, or no key point to start from while reader->syncing;
 * CUFRAMES_E_OVERRUN, once each time, if it is gone: the next call looks for a key point and counts what was missed;
 * CUFRAMES_E_PEER if the page holds nonsense. Unless 0, ret_info is unchanged. */
int
cuframes_packet_reader_peek (CuframesPacketReader *reader, CuframesPacketInfo *ret_info)
{
  const uint64_t head = load_head (reader);
  int r;

  reader->peeked = false;
  if (reader->syncing && (r = find_start (reader, head)) != 0)
    return r;
  if (is_after (reader->cursor, head))
    return CUFRAMES_E_PEER;
  if (head == reader->cursor) {
    reader->seen = head;
    return CUFRAMES_E_EMPTY;
  }
  r = read_record (reader, reader->cursor + 1, &reader->packet);
  if (r == CUFRAMES_E_OVERRUN)
    return overrun (reader);
  if (r != 0)
    return r;
  reader->peeked = true;
  *ret_info = reader->packet.info;
  return 0;
}

static void
copy_out (const CuframesPacketReader *reader, uint64_t position_bytes, uint8_t *to, uint64_t count_bytes)
{
  const uint64_t first = (position_bytes & (reader->data_bytes - 1)) / WORD;
  const uint64_t word_count = reader->data_bytes / WORD;
  const uint64_t whole = count_bytes / WORD;
  const uint64_t before = whole < word_count - first ? whole : word_count - first;

  load_words (to, reader->words + first, before);
  load_words (to + before * WORD, reader->words, whole - before);
  if (count_bytes % WORD != 0) {
    /* relaxed: as in store_words() */
    uint64_t last = atomic_load_explicit (&reader->words[(first + whole) & (word_count - 1)], memory_order_relaxed);
    memcpy (to + whole * WORD, &last, count_bytes % WORD);
  }
}

/* Copies the packet that cuframes_packet_reader_peek() described to data and metas, which have room for size_bytes and meta_bytes;
 * NULL is what the caller does not want. The cursor moves to it. 0; CUFRAMES_E_OVERRUN, as in peek, if it was overwritten
 * meanwhile: data and metas then hold anything; -EINVAL if no packet has been peeked at. */
int
cuframes_packet_reader_take (CuframesPacketReader *reader, void *data, void *metas)
{
  const CuframesPacketRecord *packet = &reader->packet;
  uint64_t data_bytes;

  if (!reader->peeked || !cuframes_align (packet->info.size_bytes, WORD, &data_bytes))
    return -EINVAL;
  if (data != NULL)
    copy_out (reader, packet->position_bytes, data, packet->info.size_bytes);
  if (metas != NULL)
    copy_out (reader, packet->position_bytes + data_bytes, metas, packet->info.meta_bytes);
  CUFRAMES_TESTPOINT ("packet/data-read");
  if (is_gone (reader, packet->info.sequence))
    return overrun (reader);
  reader->peeked = false;
  reader->cursor = packet->info.sequence;
  reader->seen = reader->cursor;
  return 0;
}

/* Passes over the packet that cuframes_packet_reader_peek() described; nothing if there is none. */
void
cuframes_packet_reader_skip (CuframesPacketReader *reader)
{
  if (!reader->peeked)
    return;
  reader->peeked = false;
  reader->cursor = reader->packet.info.sequence;
  reader->seen = reader->cursor;
}

/* Peek and take in one, into memory of a fixed size. CUFRAMES_E_FULL if that is too small: ret_info says what is needed and the
 * cursor does not move. */
int
cuframes_packet_reader_read (CuframesPacketReader *reader, void *data, uint64_t data_capacity_bytes, void *metas,
    uint64_t meta_capacity_bytes, CuframesPacketInfo *ret_info)
{
  int r = cuframes_packet_reader_peek (reader, ret_info);

  if (r != 0)
    return r;
  if (ret_info->size_bytes > data_capacity_bytes || ret_info->meta_bytes > meta_capacity_bytes)
    return CUFRAMES_E_FULL;
  return cuframes_packet_reader_take (reader, data, metas);
}
