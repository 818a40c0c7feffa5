/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a subscriber can do with the descriptors that it is handed: read. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"
#include "cuframes-layout.h"

#define CONTROL 0
#define ARENA 1
#define LEASES 2

static bool
open_raw (Source *source, Raw *raw)
{
  return source_open (source, "cam", NULL) == 0 && source_start_ring (source, 6, 1, "f") == 0 && source_publish (source) == 0
      && raw_join (raw, "cam") && raw_ready (raw, raw->generation);
}

static void
close_raw (Source *source, Raw *raw)
{
  raw_close (raw);
  source_close (source);
}

static void
pages_cannot_be_mapped_writable (void)
{
  Source source;
  Raw raw;

  REQUIRE (open_raw (&source, &raw));
  for (int i = CONTROL; i <= ARENA; i++) {
    void *data = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[i], 0);
    CHECK (data == MAP_FAILED && (errno == EPERM || errno == EACCES));
    data = mmap (NULL, 4096, PROT_WRITE, MAP_SHARED, raw.fds[i], 0);
    CHECK (data == MAP_FAILED);
    data = mmap (NULL, 4096, PROT_READ, MAP_SHARED, raw.fds[i], 0);
    REQUIRE (data != MAP_FAILED);
    CHECK (mprotect (data, 4096, PROT_READ | PROT_WRITE) < 0 && (errno == EACCES || errno == EPERM));
    munmap (data, 4096);
  }
  close_raw (&source, &raw);
}

static void
pages_cannot_be_written_by_any_other_way (void)
{
  char path[64];
  Source source;
  Raw raw;
  int fd;

  REQUIRE (open_raw (&source, &raw));
  for (int i = CONTROL; i <= ARENA; i++) {
    CHECK (pwrite (raw.fds[i], "x", 1, 0) < 0);
    CHECK (fallocate (raw.fds[i], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) < 0);
    CHECK (fallocate (raw.fds[i], FALLOC_FL_ZERO_RANGE, 0, 4096) < 0);
    snprintf (path, sizeof path, "/proc/self/fd/%d", raw.fds[i]);
    fd = open (path, O_RDWR | O_CLOEXEC);
    if (fd >= 0) {
      CHECK (mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
      CHECK (pwrite (fd, "x", 1, 0) < 0);
      close (fd);
    }
  }
  CHECK (words_are_of ((const uint64_t *) (uintptr_t) cuframes_ring_get_slot_address (source.ring, 0), FIXTURE_SLOT_BYTES, 1));
  close_raw (&source, &raw);
}

static void
no_page_can_be_resized (void)
{
  struct stat before, after;
  Source source;
  Raw raw;

  REQUIRE (open_raw (&source, &raw));
  for (int i = CONTROL; i <= LEASES; i++) {
    REQUIRE (fstat (raw.fds[i], &before) == 0);
    CHECK (ftruncate (raw.fds[i], 0) < 0 && (errno == EPERM || errno == EINVAL));
    CHECK (ftruncate (raw.fds[i], before.st_size * 2) < 0);
    CHECK (posix_fallocate (raw.fds[i], before.st_size, 4096) != 0);
    CHECK (fstat (raw.fds[i], &after) == 0 && after.st_size == before.st_size);
    CHECK (fcntl (raw.fds[i], F_ADD_SEALS, F_SEAL_WRITE) < 0);
  }
  close_raw (&source, &raw);
}

static void
each_is_handed_its_own_lease_page (void)
{
  CuframesLeasePage *pages[2];
  Raw raws[2];
  Source source;

  REQUIRE (open_raw (&source, &raws[0]));
  REQUIRE (raw_join (&raws[1], "cam"));
  for (int i = 0; i < 2; i++) {
    pages[i] = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raws[i].fds[LEASES], 0);
    REQUIRE (pages[i] != MAP_FAILED);
  }
  atomic_store (&pages[0]->leases, 1);
  CHECK (atomic_load (&pages[1]->leases) == 0);
  for (int i = 0; i < 2; i++)
    munmap (pages[i], 4096);
  raw_close (&raws[1]);
  close_raw (&source, &raws[0]);
}

static sigjmp_buf jump;

static void
on_fault (int number)
{
  siglongjmp (jump, number);
}

/* Whether writing there ends in a signal. */
static bool
write_faults (volatile uint8_t *place)
{
  struct sigaction action = {.sa_handler = on_fault }, before_segv, before_bus;
  bool faulted = true;

  sigaction (SIGSEGV, &action, &before_segv);
  sigaction (SIGBUS, &action, &before_bus);
  if (sigsetjmp (jump, 1) == 0) {
    *place = 1;
    faulted = false;
  }
  sigaction (SIGSEGV, &before_segv, NULL);
  sigaction (SIGBUS, &before_bus, NULL);
  return faulted;
}

static void
a_write_through_a_frame_faults (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 6, 1, "f") == 0 && source_publish (&source) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (subscriber, &item) == 0);
  CHECK (write_faults ((volatile uint8_t *) (uintptr_t) cuframes_frame_get_address (item.frame)));
  CHECK (write_faults ((volatile uint8_t *) (uintptr_t) cuframes_frame_get_metas (item.frame)));
  CHECK (frame_is_whole (item.frame));
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

/* Descriptors of the library's are not for the programs that the application starts. */
static int
play_lister (int argc, char **argv)
{
  (void) argc;
  (void) argv;
  printf ("%u %u\n", fixture_count_fds (), fixture_count_mappings ("memfd:"));
  return 0;
}

static void
nothing_is_inherited_by_exec (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  char before[64], after[64];
  Source source;
  Child child;

  child_start (&child, NULL, "lister", NULL);
  CHECK (child_read (&child, before, sizeof before));
  CHECK_EQUAL (child_end (&child), 0);
  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 6, 1, "f") == 0 && source_publish (&source) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (subscriber, &item) == 0);
  child_start (&child, NULL, "lister", NULL);
  CHECK (child_read (&child, after, sizeof after));
  CHECK_EQUAL (child_end (&child), 0);
  CHECK (strcmp (before, after) == 0);
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
a_frame_carries_what_it_was_given (void)
{
  CuframesFrameInfo info = {.pts_ns = 1,.dts_ns = 2,.duration_ns = 3,.offset = 4,.offset_end = 5,.moment_ns = 6,.fence_value = 7,
    .size_bytes = 4096,.plane_offset_bytes = {0, 1024, 2048, 3072},.plane_stride_bytes = {64, -32, 16, 8},.plane_count = 4,
    .flags = CUFRAMES_FRAME_COPIED,.buffer_flags = 0x12345,.format = 23,.width = 640,.height = 480 };
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  uint64_t capacity, number;
  Source source;
  uint32_t slot;
  void *metas;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 6, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  REQUIRE (cuframes_ring_claim (source.ring, 0, &slot) == 0);
  CHECK (cuframes_ring_is_claimed (source.ring, slot));
  metas = cuframes_ring_get_slot_metas (source.ring, slot, &capacity);
  CHECK (capacity >= 4096);
  info.meta_bytes = (uint32_t) capacity;
  memset (metas, 0x5a, capacity);
  CHECK_EQUAL (cuframes_publisher_publish (source.publisher, source.ring, slot, &info, &number), 0);
  CHECK (!cuframes_ring_is_claimed (source.ring, slot));
  cuframes_ring_release (source.ring, slot);
  while (item.kind != CUFRAMES_ITEM_FRAME)
    REQUIRE (sink_next (subscriber, &item) == 0);
  info.sequence = number;
  info.publish_ns = item.info->publish_ns;
  info.event_serial = item.info->event_serial;
  CHECK (memcmp (&info, item.info, sizeof info) == 0);
  CHECK (item.info->publish_ns <= fixture_now_ns ());
  for (uint64_t i = 0; i < capacity; i++)
    if (((const uint8_t *) cuframes_frame_get_metas (item.frame))[i] != 0x5a) {
      CHECK (!"the metas are as they were");
      break;
    }
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
rings_out_of_range_are_refused (void)
{
  CuframesRingConfig config = {.slot_bytes = 4096,.slot_count = 4,.reserve_count = 1,.fence_offset_bytes = CUFRAMES_NONE };
  CuframesRing *ring = NULL;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && cuframes_arena_new_host (16384, &config.arena) == 0);
  for (int i = 0; i < 9; i++) {
    CuframesRingConfig bad = config;
    switch (i) {
      case 0: bad.slot_count = 1; break;
      case 1: bad.slot_count = CUFRAMES_SLOTS_MAX + 1; break;
      case 2: bad.slot_count = 5; break;
      case 3: bad.reserve_count = 0; break;
      case 4: bad.reserve_count = 4; break;
      case 5: bad.slot_bytes = 0; break;
      case 6: bad.slot_bytes = UINT64_MAX / 2; break;
      case 7: bad.data_offset_bytes = 1; break;
      case 8: bad.meta_bytes = UINT64_MAX; break;
    }
    CHECK_EQUAL (cuframes_publisher_start_ring (source.publisher, &bad, &ring), -EINVAL);
  }
  CHECK (ring == NULL);
  CHECK_EQUAL (cuframes_publisher_start_ring (source.publisher, &config, &ring), 0);
  cuframes_ring_unref (ring);
  cuframes_arena_unref (config.arena);
  CHECK (cuframes_arena_new_host (0, &config.arena) < 0);
  CHECK (cuframes_arena_new_host (UINT64_MAX, &config.arena) < 0);
  CHECK_EQUAL (cuframes_arena_new_host (UINT64_C (1) << 60, &config.arena), -ENOMEM);
  source_close (&source);
}

static const FixtureRole roles[] = { {"lister", play_lister} };

static const FixtureTest tests[] = {
  {"neither the control page nor the arena can be mapped writable", pages_cannot_be_mapped_writable},
  {"they cannot be written by any other way", pages_cannot_be_written_by_any_other_way},
  {"no page can be resized or sealed", no_page_can_be_resized},
  {"each subscriber is handed a lease page of its own", each_is_handed_its_own_lease_page},
  {"a write through a frame faults", a_write_through_a_frame_faults},
  {"a program that the application starts inherits nothing", nothing_is_inherited_by_exec},
  {"a frame carries what it was given, byte by byte", a_frame_carries_what_it_was_given},
  {"rings and arenas out of range are refused", rings_out_of_range_are_refused},
};

FIXTURE_MAIN (tests, roles, 1)
