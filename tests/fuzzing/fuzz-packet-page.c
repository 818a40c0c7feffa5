/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* libFuzzer target for the reader of the packet ring: what a hostile publisher writes into its pages, also while they are read.
 *
 * The input changes words of pages that hold a good stream: first byte: where to start and resume, and how many changes come before
 * the reader does; then ten bytes each: which word (two bytes, little-endian), what value. The rest come one each at the reader's
 * test points, between its copies and its validations. */
#include "cuframes-packet-ring.h"
#include "cuframes-util.h"
#include "fuzz.h"

#define INDEX_SIZE 16u
#define DATA_BYTES 4096u
#define CONTROL_BYTES (offsetof (CuframesPacketControlPage, index) + INDEX_SIZE * sizeof (CuframesPacketEntry))
#define CHANGE_BYTES 10u

/* The pages' own memory, so that a step beyond their end is seen. */
static uint64_t *control, *data;
static const uint8_t *changes;
static size_t change_count;

static void
change_word (void)
{
  uint64_t value, word;

  if (change_count == 0)
    return;
  word = changes[0] | (uint64_t) changes[1] << 8;
  memcpy (&value, changes + 2, sizeof value);
  word %= (CONTROL_BYTES + DATA_BYTES) / 8;
  if (word < CONTROL_BYTES / 8)
    control[word] = value;
  else
    data[word - CONTROL_BYTES / 8] = value;
  changes += CHANGE_BYTES;
  change_count--;
}

void
cuframes_testpoint (const char *name)
{
  if (strcmp (name, "packet/record-read") == 0 || strcmp (name, "packet/data-read") == 0)
    change_word ();
}

static void
write_good_stream (void)
{
  static const uint8_t bytes[600];
  CuframesPacketRing ring;
  uint64_t sequence;

  memset (control, 0, CONTROL_BYTES);
  memset (data, 0, DATA_BYTES);
  if (cuframes_packet_ring_init (&ring, (CuframesPacketControlPage *) control, INDEX_SIZE, data, DATA_BYTES, 1000, 8 * 1001) != 0)
    abort ();
  for (uint32_t i = 0; i < 40; i++) {
    CuframesPacketInfo info = {.size_bytes = 8 + i * 13,.meta_bytes = i % 3 * 11 };
    struct iovec piece = {.iov_base = (void *) bytes,.iov_len = info.size_bytes };

    info.flags = i % 5 == 4 ? CUFRAMES_PACKET_KEY : i % 5 == 3 ? CUFRAMES_PACKET_HEADER : 0;
    if (cuframes_packet_ring_write (&ring, &info, &piece, 1, bytes, &sequence) != 0)
      abort ();
  }
  cuframes_packet_ring_clear (&ring);
}

static void
read_packets (CuframesPacketFrom start, CuframesPacketFrom resume)
{
  CuframesPacketReader reader;
  CuframesPacketInfo info;

  if (cuframes_packet_reader_init (&reader, (CuframesPacketControlPage *) control, INDEX_SIZE, data, DATA_BYTES, start, resume) != 0)
    return;
  for (unsigned i = 0; i < 40; i++) {
    int r = cuframes_packet_reader_peek (&reader, &info);

    if (r == 0) {
      if (info.size_bytes > DATA_BYTES / CUFRAMES_PACKET_SHARE || info.meta_bytes > DATA_BYTES / CUFRAMES_PACKET_SHARE)
        abort ();
      CUFRAMES_AUTO_FREE uint8_t *packet = malloc (info.size_bytes);
      CUFRAMES_AUTO_FREE uint8_t *metas = malloc (info.meta_bytes);
      r = cuframes_packet_reader_take (&reader, packet, metas);
    }
    if (r != 0 && r != CUFRAMES_E_EMPTY && r != CUFRAMES_E_OVERRUN && r != CUFRAMES_E_PEER)
      abort ();
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *input, size_t input_bytes)
{
  if (input_bytes == 0)
    return 0;
  control = aligned_alloc (CUFRAMES_LINE_BYTES, CONTROL_BYTES);
  data = aligned_alloc (CUFRAMES_LINE_BYTES, DATA_BYTES);
  change_count = 0;
  write_good_stream ();
  changes = input + 1;
  change_count = (input_bytes - 1) / CHANGE_BYTES;
  for (unsigned i = 0; i < (unsigned) input[0] / 9 % 8; i++)
    change_word ();
  read_packets (input[0] % 3, input[0] / 3 % 3);
  free (control);
  free (data);
  return 0;
}
