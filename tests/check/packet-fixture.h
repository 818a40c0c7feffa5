/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the packet ring's tests share: a ring in descriptor-backed memory that the reader maps read-only between guard pages,
 * packets that are known by their number alone, and the count of tests. */
#ifndef PACKET_FIXTURE_H
#define PACKET_FIXTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cuframes-packet-ring.h"
#include "cuframes-util.h"

static unsigned test_passed, test_failed;
static bool test_is_failing;

#define CHECK(condition) \
  do { \
    if (!(condition)) { \
      fprintf (stderr, "%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, #condition); \
      test_is_failing = true; \
      return; \
    } \
  } while (0)

#define RUN(test) run_test (#test, test)

static inline void
run_test (const char *name, void (*test) (void))
{
  test_is_failing = false;
  test ();
  printf ("%s %s\n", test_is_failing ? "FAIL" : "ok  ", name);
  fflush (stdout);
  if (test_is_failing)
    test_failed++;
  else
    test_passed++;
}

static inline int
finish_tests (void)
{
  printf ("%u passed, %u failed\n", test_passed, test_failed);
  return test_failed == 0 ? 0 : 1;
}

/* Maps fd between two pages that nobody may touch. */
static inline void *
map_guarded (int fd, size_t bytes, int protection)
{
  size_t whole = (bytes + CUFRAMES_PAGE_BYTES - 1) / CUFRAMES_PAGE_BYTES * CUFRAMES_PAGE_BYTES;
  uint8_t *place = mmap (NULL, whole + 2 * CUFRAMES_PAGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

  if (place == MAP_FAILED || mmap (place + CUFRAMES_PAGE_BYTES, whole, protection, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
    abort ();
  return place + CUFRAMES_PAGE_BYTES;
}

static inline void
unmap_guarded (const void *place, size_t bytes)
{
  size_t whole = (bytes + CUFRAMES_PAGE_BYTES - 1) / CUFRAMES_PAGE_BYTES * CUFRAMES_PAGE_BYTES;
  munmap ((uint8_t *) place - CUFRAMES_PAGE_BYTES, whole + 2 * CUFRAMES_PAGE_BYTES);
}

typedef struct
{
  CuframesPacketRing writer;
  CuframesPacketControlPage *control;
  uint8_t *data;
  const CuframesPacketControlPage *seen_control;
  const uint8_t *seen_data;
  uint32_t index_size;
  uint64_t data_bytes;
  uint64_t first;               /* number before the first packet's */
  uint64_t gop;                 /* packets from one key point to the next, 0 for no key points at all */
  uint64_t least_bytes, most_bytes;
} Fixture;

static inline void
map_both (size_t bytes, void *ret_written, void *ret_seen)
{
  int fd = memfd_create ("packet-ring-test", MFD_CLOEXEC);
  void *written, *seen;

  if (fd < 0 || ftruncate (fd, (off_t) bytes) != 0)
    abort ();
  written = map_guarded (fd, bytes, PROT_READ | PROT_WRITE);
  seen = map_guarded (fd, bytes, PROT_READ);
  close (fd);
  memcpy (ret_written, &written, sizeof written);
  memcpy (ret_seen, &seen, sizeof seen);
}

static inline void
fixture_init (Fixture *fixture, uint32_t index_size, uint64_t data_bytes, uint64_t first, uint64_t position_bytes)
{
  *fixture = (Fixture) {.index_size = index_size,.data_bytes = data_bytes,.first = first,.gop = 10,.least_bytes = 8,
    .most_bytes = data_bytes / 16 };
  map_both (cuframes_packet_control_bytes (index_size), &fixture->control, &fixture->seen_control);
  map_both (data_bytes, &fixture->data, &fixture->seen_data);
  if (cuframes_packet_ring_init (&fixture->writer, fixture->control, index_size, fixture->data, data_bytes, first, position_bytes) != 0)
    abort ();
}

static inline void
fixture_clear (Fixture *fixture)
{
  size_t control_bytes = cuframes_packet_control_bytes (fixture->index_size);

  cuframes_packet_ring_clear (&fixture->writer);
  unmap_guarded (fixture->control, control_bytes);
  unmap_guarded (fixture->seen_control, control_bytes);
  unmap_guarded (fixture->data, fixture->data_bytes);
  unmap_guarded (fixture->seen_data, fixture->data_bytes);
}

static inline void
fixture_open_reader (const Fixture *fixture, CuframesPacketReader *reader, CuframesPacketFrom start, CuframesPacketFrom resume)
{
  if (cuframes_packet_reader_init (reader, fixture->seen_control, fixture->index_size, fixture->seen_data, fixture->data_bytes, start,
          resume) != 0)
    abort ();
}

static inline uint64_t
mix (uint64_t value)
{
  value = (value ^ value >> 31) * UINT64_C (0x9e3779b97f4a7c15);
  value = (value ^ value >> 29) * UINT64_C (0xbf58476d1ce4e5b9);
  return value ^ value >> 32;
}

static inline bool
packet_is_key (const Fixture *fixture, uint64_t sequence)
{
  return fixture->gop != 0 && (sequence - fixture->first - 1) % fixture->gop == 0;
}

static inline CuframesPacketInfo
packet_info (const Fixture *fixture, uint64_t sequence)
{
  bool key = packet_is_key (fixture, sequence);
  uint64_t spread = fixture->most_bytes - fixture->least_bytes;
  uint64_t most = key ? spread : spread / 16;
  uint64_t more = most == 0 ? 0 : mix (sequence) % (most + 1);

  /* both ends of the range are sure to come */
  if (sequence - fixture->first == 2)
    more = 0;
  else if (sequence - fixture->first == fixture->gop + 1)
    more = spread;
  return (CuframesPacketInfo) {
    .sequence = sequence,.publish_ns = mix (sequence + 1),.event_serial = mix (sequence + 2),.moment_ns = mix (sequence + 3),
    .pts_ns = sequence * 40000000,.dts_ns = sequence * 40000000 - 7,.duration_ns = 40000000,.offset = sequence,.offset_end = sequence + 1,
    .size_bytes = fixture->least_bytes + more,
    .flags = key ? CUFRAMES_PACKET_KEY : 0,.buffer_flags = (uint32_t) mix (sequence + 4),
    .meta_bytes = sequence % 7 == 0 ? (uint32_t) (sequence % 50) : 0,
  };
}

/* What stands in the data, or in the metas with another salt: every word tells the packet and its own place. */
static inline void
fill_bytes (uint8_t *bytes, uint64_t count, uint64_t sequence, uint64_t salt)
{
  for (uint64_t i = 0; i < count; i += 8) {
    uint64_t word = mix (sequence) ^ mix (i + salt);
    memcpy (bytes + i, &word, count - i < 8 ? count - i : 8);
  }
}

static inline bool
bytes_are_right (const uint8_t *bytes, uint64_t count, uint64_t sequence, uint64_t salt)
{
  for (uint64_t i = 0; i < count; i += 8) {
    uint64_t word = mix (sequence) ^ mix (i + salt);
    if (memcmp (bytes + i, &word, count - i < 8 ? count - i : 8) != 0)
      return false;
  }
  return true;
}

/* Writes data in one to four pieces that end anywhere. */
static inline int
write_info (Fixture *fixture, const CuframesPacketInfo *info, uint64_t *ret_sequence)
{
  uint64_t sequence = info->sequence;
  CUFRAMES_AUTO_FREE uint8_t *bytes = malloc (info->size_bytes + 1);
  CUFRAMES_AUTO_FREE uint8_t *metas = malloc (info->meta_bytes + 1);
  struct iovec pieces[4];
  uint32_t count = 1 + (uint32_t) (mix (sequence + 5) % 4);
  uint64_t done = 0;

  fill_bytes (bytes, info->size_bytes, sequence, 0);
  fill_bytes (metas, info->meta_bytes, sequence, 1);
  for (uint32_t i = 0; i < count; i++) {
    uint64_t left = info->size_bytes - done;
    uint64_t length = i + 1 == count ? left : mix (sequence + 6 + i) % (left + 1);
    pieces[i] = (struct iovec) {.iov_base = bytes + done,.iov_len = length };
    done += length;
  }
  return cuframes_packet_ring_write (&fixture->writer, info, pieces, count, info->meta_bytes > 0 ? metas : NULL, ret_sequence);
}

/* Writes the next packet as its number wants it; false if it got another number or none. */
static inline bool
write_next (Fixture *fixture)
{
  CuframesPacketInfo info = packet_info (fixture, fixture->writer.head + 1);
  uint64_t sequence;

  return write_info (fixture, &info, &sequence) == 0 && sequence == info.sequence;
}

static inline bool
write_many (Fixture *fixture, uint64_t count)
{
  for (uint64_t i = 0; i < count; i++)
    if (!write_next (fixture))
      return false;
  return true;
}

/* Peeks and takes into memory of exactly the right size; CUFRAMES_E_PEER too if the packet is not what its number says. */
static inline int
take_next (const Fixture *fixture, CuframesPacketReader *reader, CuframesPacketInfo *ret_info)
{
  CuframesPacketInfo expected;
  int r = cuframes_packet_reader_peek (reader, ret_info);

  if (r != 0)
    return r;
  CUFRAMES_AUTO_FREE uint8_t *data = malloc (ret_info->size_bytes);
  CUFRAMES_AUTO_FREE uint8_t *metas = malloc (ret_info->meta_bytes);
  r = cuframes_packet_reader_take (reader, data, metas);
  if (r != 0)
    return r;
  expected = packet_info (fixture, ret_info->sequence);
  expected.flags |= ret_info->flags & CUFRAMES_PACKET_HEADER;
  if (memcmp (&expected, ret_info, sizeof expected) != 0)
    return CUFRAMES_E_PEER;
  if (!bytes_are_right (data, ret_info->size_bytes, ret_info->sequence, 0)
      || !bytes_are_right (metas, ret_info->meta_bytes, ret_info->sequence, 1))
    return CUFRAMES_E_PEER;
  return 0;
}

#endif
