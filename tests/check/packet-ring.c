/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The packet ring, one step at a time: every interleaving here is made on purpose, at the ring's own test points. What only real
 * concurrency can show is in packet-ring-race.c. */
#ifndef CUFRAMES_TESTPOINTS
#error "this test steps in at the test points"
#endif
#include <signal.h>
#include <sys/wait.h>

#include "packet-fixture.h"

/* What happens when the ring passes the test point of that name. */
static struct
{
  const char *name;
  unsigned skip;
  void (*function) (void);
  Fixture *fixture;
  CuframesPacketReader *reader;
  uint64_t count;
  int result;
} step;

void cuframes_testpoint (const char *name);

void
cuframes_testpoint (const char *name)
{
  void (*function) (void) = step.function;

  if (function == NULL || strcmp (name, step.name) != 0 || (step.skip > 0 && step.skip-- > 0))
    return;
  step.function = NULL;         /* what we do may pass test points too */
  function ();
}

static void
set_step (const char *name, void (*function) (void), Fixture *fixture, CuframesPacketReader *reader, uint64_t count)
{
  step.name = name;
  step.skip = 0;
  step.function = function;
  step.fixture = fixture;
  step.reader = reader;
  step.count = count;
  step.result = -1;
}

static void
sizes_out_of_bounds_are_refused (void)
{
  static _Alignas (CUFRAMES_PAGE_BYTES) uint64_t data[1024];
  static CuframesPacketControlPage *control;
  CuframesPacketRing ring;
  CuframesPacketReader reader;

  control = calloc (1, cuframes_packet_control_bytes (16));
  CHECK (cuframes_packet_ring_init (&ring, control, 8, data, 4096, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 17, data, 4096, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 2u << 20, data, 4096, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 16, data, 2048, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 16, data, 5000, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 16, data, UINT64_C (1) << 33, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 16, (uint8_t *) data + 4, 4096, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 16, data, 4096, 0, 4) == -EINVAL);
  CHECK (cuframes_packet_ring_init (&ring, control, 16, data, 4096, 0, 0) == 0);
  CHECK (cuframes_packet_reader_init (&reader, control, 16, data, 4000, 0, 0) == -EINVAL);
  CHECK (cuframes_packet_reader_init (&reader, control, 32, data, 4096, 0, 0) == CUFRAMES_E_PEER);
  CHECK (cuframes_packet_reader_init (&reader, control, 16, data, 8192, 0, 0) == CUFRAMES_E_PEER);
  CHECK (cuframes_packet_reader_init (&reader, control, 16, data, 4096, 0, 0) == 0);
  control->magic++;
  CHECK (cuframes_packet_reader_init (&reader, control, 16, data, 4096, 0, 0) == CUFRAMES_E_PEER);
  cuframes_packet_ring_clear (&ring);
  free (control);
}

static void
every_size_and_split_comes_through (void)
{
  Fixture fixture;
  CuframesPacketReader reader;
  CuframesPacketInfo info;
  uint64_t sequence;

  fixture_init (&fixture, 64, 4096, 0, 0);
  fixture.gop = 1;
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
  CHECK (cuframes_packet_reader_peek (&reader, &info) == CUFRAMES_E_EMPTY);
  for (uint64_t size = 0; size <= 1024; size++) {
    /* 4096 bytes are no multiple of most sizes, so packets end everywhere about the end of the area */
    fixture.least_bytes = fixture.most_bytes = size;
    info = packet_info (&fixture, fixture.writer.head + 1);
    if (((size + 7) & ~UINT64_C (7)) + ((info.meta_bytes + 7u) & ~7u) > 1024) {
      CHECK (write_info (&fixture, &info, &sequence) == CUFRAMES_E_FULL);
      continue;
    }
    CHECK (write_next (&fixture));
    CHECK (take_next (&fixture, &reader, &info) == 0);
    CHECK (info.size_bytes == size);
    CHECK (cuframes_packet_reader_peek (&reader, &info) == CUFRAMES_E_EMPTY);
  }
  CHECK (reader.missed == 0 && reader.overruns == 0);
  fixture_clear (&fixture);
}

static void
a_packet_of_a_quarter_passes_and_a_larger_one_is_refused (void)
{
  Fixture fixture;
  CuframesPacketReader reader;
  CuframesPacketInfo info;
  uint64_t sequence;

  fixture_init (&fixture, 16, 16u << 20, 0, 0);
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
  CHECK (cuframes_packet_ring_get_limit (&fixture.writer) == 4u << 20);
  fixture.least_bytes = fixture.most_bytes = 3000000;   /* an IDR picture of 4K */
  CHECK (write_next (&fixture) && take_next (&fixture, &reader, &info) == 0);
  fixture.least_bytes = fixture.most_bytes = 4u << 20;
  CHECK (write_many (&fixture, 5) && take_next (&fixture, &reader, &info) == CUFRAMES_E_OVERRUN);

  CuframesPacketRing before = fixture.writer;
  info = packet_info (&fixture, fixture.writer.head + 1);
  info.size_bytes++;
  CHECK (write_info (&fixture, &info, &sequence) == CUFRAMES_E_FULL);
  info.size_bytes--;
  info.meta_bytes = 1;
  CHECK (write_info (&fixture, &info, &sequence) == CUFRAMES_E_FULL);
  info.size_bytes = UINT64_MAX - 3;
  info.meta_bytes = 0;
  struct iovec piece = {.iov_base = &info,.iov_len = SIZE_MAX - 3 };
  CHECK (cuframes_packet_ring_write (&fixture.writer, &info, &piece, 1, NULL, &sequence) == CUFRAMES_E_FULL);
  info.size_bytes = 1;
  CHECK (cuframes_packet_ring_write (&fixture.writer, &info, &piece, 1, NULL, &sequence) == -EINVAL);
  CHECK (memcmp (&before, &fixture.writer, sizeof before) == 0);
  CHECK (atomic_load (&fixture.control->head) == before.head && atomic_load (&fixture.control->tail) == before.tail);
  fixture_clear (&fixture);
}

static void
a_buffer_that_is_too_small_costs_nothing (void)
{
  Fixture fixture;
  CuframesPacketReader reader;
  CuframesPacketInfo info;
  uint8_t data[512], metas[64];

  fixture_init (&fixture, 16, 8192, 6, 0);      /* number 7 has metas */
  fixture.least_bytes = fixture.most_bytes = 300;
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
  CHECK (cuframes_packet_reader_take (&reader, data, metas) == -EINVAL);
  CHECK (write_next (&fixture));
  CHECK (cuframes_packet_reader_read (&reader, data, 299, metas, sizeof metas, &info) == CUFRAMES_E_FULL);
  CHECK (info.size_bytes == 300 && info.meta_bytes == 7);
  CHECK (cuframes_packet_reader_read (&reader, data, 300, metas, 6, &info) == CUFRAMES_E_FULL);
  CHECK (cuframes_packet_reader_read (&reader, data, 300, metas, 7, &info) == 0);
  CHECK (bytes_are_right (data, 300, 7, 0) && bytes_are_right (metas, 7, 7, 1));
  CHECK (cuframes_packet_reader_take (&reader, data, metas) == -EINVAL);
  CHECK (cuframes_packet_reader_read (&reader, data, 300, metas, 7, &info) == CUFRAMES_E_EMPTY);
  CHECK (cuframes_packet_reader_take (&reader, data, metas) == -EINVAL);
  fixture_clear (&fixture);
}

/* Writes with flags of its own. */
static bool
write_flagged (Fixture *fixture, uint32_t flags)
{
  CuframesPacketInfo info = packet_info (fixture, fixture->writer.head + 1);
  uint64_t sequence;

  info.flags = flags;
  return write_info (fixture, &info, &sequence) == 0;
}

static bool
starts_at (const Fixture *fixture, CuframesPacketFrom from, uint64_t sequence)
{
  CuframesPacketReader reader;
  CuframesPacketInfo info;

  fixture_open_reader (fixture, &reader, from, from);
  return cuframes_packet_reader_peek (&reader, &info) == 0 && info.sequence == sequence && reader.missed == 0;
}

static void
a_late_joiner_starts_at_a_key_point_with_its_headers (void)
{
  Fixture fixture;
  CuframesPacketReader newest, next, oldest;
  CuframesPacketInfo info;

  fixture_init (&fixture, 16, 4096, 0, 0);
  fixture.gop = 0;
  fixture_open_reader (&fixture, &newest, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
  fixture_open_reader (&fixture, &oldest, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_NEWEST);
  CHECK (write_many (&fixture, 3));
  CHECK (cuframes_packet_reader_peek (&newest, &info) == CUFRAMES_E_EMPTY && newest.syncing && newest.seen == 3);
  CHECK (write_flagged (&fixture, CUFRAMES_PACKET_HEADER));     /* 4 */
  CHECK (write_flagged (&fixture, CUFRAMES_PACKET_HEADER));     /* 5 */
  CHECK (cuframes_packet_reader_peek (&newest, &info) == CUFRAMES_E_EMPTY && newest.seen == 5);
  CHECK (write_flagged (&fixture, CUFRAMES_PACKET_KEY));        /* 6 */
  CHECK (cuframes_packet_reader_peek (&newest, &info) == 0 && info.sequence == 4);
  CHECK (cuframes_packet_reader_peek (&oldest, &info) == 0 && info.sequence == 4);
  CHECK (write_flagged (&fixture, CUFRAMES_PACKET_HEADER) && write_many (&fixture, 1)); /* 7, 8: headers that no key point follows */
  fixture_open_reader (&fixture, &next, CUFRAMES_PACKET_FROM_NEXT, CUFRAMES_PACKET_FROM_NEWEST);
  CHECK (write_flagged (&fixture, CUFRAMES_PACKET_KEY) && write_many (&fixture, 1));    /* 9, 10 */
  CHECK (starts_at (&fixture, CUFRAMES_PACKET_FROM_NEWEST, 9));
  CHECK (starts_at (&fixture, CUFRAMES_PACKET_FROM_OLDEST, 4));
  CHECK (cuframes_packet_reader_peek (&next, &info) == 0 && info.sequence == 9);
  CHECK (next.missed == 0 && newest.missed == 0 && oldest.missed == 0);
  CHECK (write_many (&fixture, 10));    /* 11 to 20: 4 is gone, 5 is a header, 6 a key point */
  CHECK (starts_at (&fixture, CUFRAMES_PACKET_FROM_OLDEST, 5));
  CHECK (write_many (&fixture, 2));     /* 5 and 6 are gone */
  CHECK (starts_at (&fixture, CUFRAMES_PACKET_FROM_OLDEST, 9));
  CHECK (write_many (&fixture, 3));
  fixture_open_reader (&fixture, &newest, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
  CHECK (cuframes_packet_reader_peek (&newest, &info) == CUFRAMES_E_EMPTY && newest.syncing);
  fixture_clear (&fixture);
}

static void
an_overrun_resumes_where_it_was_told_to (void)
{
  static const struct
  {
    CuframesPacketFrom resume;
    uint64_t sequence;
  } cases[] = { {CUFRAMES_PACKET_FROM_NEWEST, 41}, {CUFRAMES_PACKET_FROM_OLDEST, 31}, {CUFRAMES_PACKET_FROM_NEXT, 51} };
  CuframesPacketInfo info;

  for (unsigned i = 0; i < 3; i++) {
    Fixture fixture;
    CuframesPacketReader reader;

    fixture_init (&fixture, 16, 1u << 16, 0, 0);
    fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEXT, cases[i].resume);
    CHECK (write_many (&fixture, 3) && take_next (&fixture, &reader, &info) == 0 && info.sequence == 1);
    CHECK (write_many (&fixture, 43));  /* 31 to 46 are left */
    CHECK (take_next (&fixture, &reader, &info) == CUFRAMES_E_OVERRUN && reader.overruns == 1 && reader.syncing);
    if (cases[i].resume == CUFRAMES_PACKET_FROM_NEXT)
      CHECK (take_next (&fixture, &reader, &info) == CUFRAMES_E_EMPTY && write_many (&fixture, 6));
    CHECK (take_next (&fixture, &reader, &info) == 0);
    CHECK (info.sequence == cases[i].sequence && reader.missed == info.sequence - 2 && reader.overruns == 1);
    fixture_clear (&fixture);
  }
}

static void
a_new_generation_counts_from_the_old_one (void)
{
  Fixture fixture;
  CuframesPacketReader reader;
  CuframesPacketInfo info;

  fixture_init (&fixture, 16, 1u << 16, 100, 0);
  CHECK (write_many (&fixture, 20));    /* 105 to 120 are left, 111 is a key point */
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_NEWEST);
  cuframes_packet_reader_count_from (&reader, 98);
  CHECK (take_next (&fixture, &reader, &info) == 0 && info.sequence == 111 && reader.missed == 12);
  fixture_clear (&fixture);
}

/* A reader that is passed again and again. */
static void
follow_slowly (uint64_t first, uint64_t position_bytes, uint32_t index_size, uint64_t data_bytes, CuframesPacketFrom resume)
{
  Fixture fixture;
  CuframesPacketReader reader;
  CuframesPacketInfo info;
  uint64_t delivered = 0, last = first;
  bool restarted = true;

  fixture_init (&fixture, index_size, data_bytes, first, position_bytes);
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEWEST, resume);
  for (unsigned i = 0; i < 600; i++) {
    CHECK (write_many (&fixture, 1 + mix (i) % 5));
    int r = take_next (&fixture, &reader, &info);
    CHECK (r == 0 || r == CUFRAMES_E_OVERRUN || r == CUFRAMES_E_EMPTY);
    if (r == CUFRAMES_E_OVERRUN)
      restarted = true;
    if (r != 0)
      continue;
    CHECK (restarted ? packet_is_key (&fixture, info.sequence) : info.sequence == last + 1);
    CHECK (info.sequence - last - 1 < UINT64_C (1) << 32);
    restarted = false;
    last = info.sequence;
    delivered++;
    CHECK (delivered + reader.missed == last - first);
  }
  CHECK (delivered > 10 && reader.overruns > 5 && reader.missed > 0);
  fixture_clear (&fixture);
}

static void
a_slow_reader_restarts_at_key_points_and_counts_what_it_lost (void)
{
  follow_slowly (0, 0, 32, 1u << 16, CUFRAMES_PACKET_FROM_NEWEST);
  follow_slowly (0, 0, 256, 4096, CUFRAMES_PACKET_FROM_NEWEST);
  follow_slowly (0, 0, 32, 1u << 16, CUFRAMES_PACKET_FROM_OLDEST);
  follow_slowly (0, 0, 32, 1u << 16, CUFRAMES_PACKET_FROM_NEXT);
}

static void
counters_run_over (void)
{
  static const uint64_t edges[] = { UINT64_C (1) << 32, UINT64_C (1) << 56, UINT64_C (1) << 63, 0 };

  for (unsigned i = 0; i < 4; i++) {
    Fixture fixture;
    CuframesPacketReader reader;
    CuframesPacketInfo info;

    fixture_init (&fixture, 16, 4096, edges[i] - 100, edges[i] - 8000);
    fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
    for (unsigned k = 0; k < 400; k++) {
      CHECK (write_next (&fixture) && take_next (&fixture, &reader, &info) == 0 && info.sequence == edges[i] - 99 + k);
      CHECK (k < 30 || starts_at (&fixture, CUFRAMES_PACKET_FROM_NEWEST, info.sequence - k % 10));
    }
    CHECK (fixture.writer.position_bytes - (edges[i] - 8000) > 8000 && reader.missed == 0);
    fixture_clear (&fixture);
    follow_slowly (edges[i] - 100, edges[i] - 8000, 32, 8192, CUFRAMES_PACKET_FROM_NEWEST);
    follow_slowly (edges[i] - 100, edges[i] - 8000, 32, 8192, CUFRAMES_PACKET_FROM_OLDEST);
  }
}

static void
write_meanwhile (void)
{
  step.result = write_many (step.fixture, step.count);
}

/* The writer writes `count` packets between the reader's copy and its validation. */
static void
overwrite_at (const char *point, uint64_t count)
{
  Fixture fixture;
  CuframesPacketReader reader;
  CuframesPacketInfo info;

  fixture_init (&fixture, 64, 4096, 0, 0);
  fixture.gop = 3;
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_OLDEST);
  CHECK (write_many (&fixture, 30));
  CHECK (cuframes_packet_reader_peek (&reader, &info) == 0);
  const uint64_t sequence = info.sequence;

  set_step (point, write_meanwhile, &fixture, &reader, count);
  int r = take_next (&fixture, &reader, &info);
  CHECK (step.result == true);
  if ((int64_t) (fixture.writer.tail - sequence) <= 0) {
    CHECK (r == 0 && info.sequence == sequence && reader.missed == 0);
  } else {
    CHECK (r == CUFRAMES_E_OVERRUN && reader.overruns == 1);
    CHECK (take_next (&fixture, &reader, &info) == 0);
    CHECK (packet_is_key (&fixture, info.sequence) && reader.missed == info.sequence - sequence);
  }
  fixture_clear (&fixture);
}

static void
what_is_overwritten_during_the_copy_is_never_handed_out (void)
{
  for (uint64_t count = 0; count < 100; count++) {
    overwrite_at ("packet/record-read", count);
    if (test_is_failing)
      return;
    overwrite_at ("packet/data-read", count);
    if (test_is_failing)
      return;
  }
}

static void
look_meanwhile (void)
{
  CuframesPacketInfo info;

  step.result = take_next (step.fixture, step.reader, &info);
}

static void
the_reader_finds_whole_packets_at_every_point_of_a_write (void)
{
  static const char *const points[] = { "packet/reserved", "packet/copied", "packet/described", "packet/announced" };
  unsigned whole = 0, gone = 0;

  for (unsigned point = 0; point < 4; point++)
    for (uint64_t behind = 0; behind < 64; behind++) {
      Fixture fixture;
      CuframesPacketReader reader;
      CuframesPacketInfo info;

      fixture_init (&fixture, 64, 4096, 0, 0);
      fixture.gop = 1;
      fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_OLDEST);
      CHECK (write_next (&fixture) && take_next (&fixture, &reader, &info) == 0);
      CHECK (write_many (&fixture, behind));
      set_step (points[point], look_meanwhile, &fixture, &reader, 0);
      for (unsigned i = 0; i < 64 && step.function != NULL; i++)
        CHECK (write_next (&fixture));
      CHECK (step.function == NULL);
      CHECK (step.result == 0 || step.result == CUFRAMES_E_OVERRUN || (step.result == CUFRAMES_E_EMPTY && behind == 0));
      whole += step.result == 0;
      gone += step.result == CUFRAMES_E_OVERRUN;
      fixture_clear (&fixture);
    }
  CHECK (whole > 0 && gone > 0);
}

static void
die (void)
{
  kill (getpid (), SIGKILL);
}

/* One row of the crash table in docs/packet-ring.md. */
static void
die_at (const char *point, uint64_t newest)
{
  Fixture fixture;
  CuframesPacketReader reader, joiner;
  CuframesPacketInfo info;
  int status, r;

  fixture_init (&fixture, 16, 4096, 0, 0);
  fixture.gop = 1;
  CHECK (write_many (&fixture, 40));
  fixture_open_reader (&fixture, &reader, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_OLDEST);
  CHECK (cuframes_packet_reader_peek (&reader, &info) == 0);

  pid_t child = fork ();
  if (child == 0) {
    set_step (point, die, &fixture, NULL, 0);
    write_next (&fixture);
    _exit (1);
  }
  CHECK (waitpid (child, &status, 0) == child && WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL);
  const uint64_t tail = atomic_load (&fixture.seen_control->tail);
  CHECK ((int64_t) (tail - info.sequence) > 0);
  CHECK (take_next (&fixture, &reader, &info) == CUFRAMES_E_OVERRUN);

  fixture_open_reader (&fixture, &joiner, CUFRAMES_PACKET_FROM_OLDEST, CUFRAMES_PACKET_FROM_OLDEST);
  for (uint64_t sequence = tail; sequence <= newest; sequence++) {
    CHECK (take_next (&fixture, &reader, &info) == 0 && info.sequence == sequence);
    CHECK (take_next (&fixture, &joiner, &info) == 0 && info.sequence == sequence);
  }
  r = take_next (&fixture, &reader, &info);
  CHECK (r == CUFRAMES_E_EMPTY && take_next (&fixture, &joiner, &info) == r);
  fixture_clear (&fixture);
}

static void
a_writer_that_dies_leaves_whole_packets (void)
{
  die_at ("packet/reserved", 40);
  if (!test_is_failing)
    die_at ("packet/copied", 40);
  if (!test_is_failing)
    die_at ("packet/described", 40);
  if (!test_is_failing)
    die_at ("packet/announced", 41);
}

/* What a reader says of a page in which one word is wrong. */
static int
peek_at_wrong (Fixture *fixture, CuframesPacketReader reader, _Atomic uint64_t *word, uint64_t value)
{
  CuframesPacketInfo info;
  const uint64_t right = atomic_load (word);

  atomic_store (word, value);
  int r = cuframes_packet_reader_peek (&reader, &info);
  atomic_store (word, right);
  return fixture->writer.head == atomic_load (&fixture->control->head) ? r : -1;
}

static void
nonsense_is_called_nonsense (void)
{
  Fixture fixture;
  CuframesPacketReader fresh, used;
  CuframesPacketInfo info;
  const size_t sequence = offsetof (CuframesPacketRecord, info.sequence) / 8, size = offsetof (CuframesPacketRecord, info.size_bytes) / 8;

  fixture_init (&fixture, 16, 4096, 0, 0);
  CHECK (write_many (&fixture, 1));
  fixture_open_reader (&fixture, &fresh, CUFRAMES_PACKET_FROM_NEWEST, CUFRAMES_PACKET_FROM_NEWEST);
  used = fresh;
  CHECK (take_next (&fixture, &used, &info) == 0 && write_many (&fixture, 1));

  CHECK (peek_at_wrong (&fixture, used, &fixture.control->index[2].words[0], atomic_load (&fixture.control->index[2].words[0])) == 0);
  CHECK (peek_at_wrong (&fixture, used, &fixture.control->head, 0) == CUFRAMES_E_PEER);
  CHECK (peek_at_wrong (&fixture, fresh, &fixture.control->head, fresh.seen - 1) == CUFRAMES_E_PEER);
  CHECK (peek_at_wrong (&fixture, used, &fixture.control->index[2].words[0], 4) == CUFRAMES_E_PEER);
  CHECK (peek_at_wrong (&fixture, used, &fixture.control->index[2].words[sequence], 18) == CUFRAMES_E_PEER);
  CHECK (peek_at_wrong (&fixture, used, &fixture.control->index[2].words[size], 1025) == CUFRAMES_E_PEER);
  CHECK (peek_at_wrong (&fixture, used, &fixture.control->index[2].words[size], 1024) == 0);
  used.limit_bytes = 1016;
  CHECK (peek_at_wrong (&fixture, used, &fixture.control->index[2].words[size], 1024) == CUFRAMES_E_PEER);
  fixture_clear (&fixture);
}

static uint64_t
pick_value (uint64_t random, uint64_t near)
{
  static const uint64_t values[] = { 0, 1, 7, 8, 1023, 1024, 1025, 4095, 4096, UINT32_MAX, UINT64_C (1) << 32, INT64_MAX,
    UINT64_C (1) << 63, UINT64_MAX - 8, UINT64_MAX - 7, UINT64_MAX
  };

  switch (random % 4) {
    case 0:
      return values[random / 4 % 16];
    case 1:
      return near + random / 4 % 40 - 20;
    case 2:
      return near ^ UINT64_C (1) << random / 4 % 64;
    default:
      return mix (random);
  }
}

/* Changes one word: of the page's head half of the time, of the index or the data otherwise. */
static void
spoil (Fixture *fixture, uint64_t random)
{
  uint64_t *control = (uint64_t *) fixture->control, *data = (uint64_t *) fixture->data;
  uint64_t words = (offsetof (CuframesPacketControlPage, index) + fixture->index_size * sizeof (CuframesPacketEntry)) / 8;
  uint64_t *word;

  if (random % 8 == 0)
    word = &data[random / 8 % (fixture->data_bytes / 8)];
  else if (random % 2 == 0)
    word = &control[random / 8 % 2 ? offsetof (CuframesPacketControlPage, head) / 8 : offsetof (CuframesPacketControlPage, tail) / 8];
  else
    word = &control[random / 8 % words];
  *word = pick_value (mix (random), *word);
}

static void
spoil_meanwhile (void)
{
  for (uint64_t i = 0; i < 3; i++)
    spoil (step.fixture, mix (step.count + i));
}

static void
nothing_on_the_page_harms_the_reader (void)
{
  Fixture fixture;
  CuframesPacketInfo info;
  static uint64_t control[(256 + 16 * 128) / 8];
  unsigned found[16] = { 0 };

  fixture_init (&fixture, 16, 4096, 1000, 4096 * 7 + 8);
  CHECK (write_many (&fixture, 75));
  memcpy (control, fixture.control, sizeof control);
  for (uint64_t i = 0; i < 30000; i++) {
    CuframesPacketReader reader;

    memcpy (fixture.control, control, sizeof control);
    fixture_open_reader (&fixture, &reader, i % 3, i / 3 % 3);
    for (uint64_t k = 0; k < 1 + i % 4; k++)
      spoil (&fixture, mix (i * 8 + k));
    for (unsigned reads = 0; reads < 24; reads++) {
      set_step (i % 2 ? "packet/record-read" : "packet/data-read", spoil_meanwhile, &fixture, &reader, mix (i));
      step.skip = (unsigned) (mix (i) % 30);
      int r = cuframes_packet_reader_peek (&reader, &info);
      if (r == 0) {
        CHECK (info.size_bytes <= 1024 && info.meta_bytes <= 1024 && info.sequence == reader.cursor + 1);
        CUFRAMES_AUTO_FREE uint8_t *data = malloc (info.size_bytes);
        CUFRAMES_AUTO_FREE uint8_t *metas = malloc (info.meta_bytes);
        r = cuframes_packet_reader_take (&reader, data, metas);
      }
      CHECK (r == 0 || r == CUFRAMES_E_EMPTY || r == CUFRAMES_E_OVERRUN || r == CUFRAMES_E_PEER);
      found[r]++;
    }
  }
  step.function = NULL;
  CHECK (found[0] > 0 && found[CUFRAMES_E_EMPTY] > 0 && found[CUFRAMES_E_OVERRUN] > 0 && found[CUFRAMES_E_PEER] > 0);
  fixture_clear (&fixture);
}

int
main (void)
{
  RUN (sizes_out_of_bounds_are_refused);
  RUN (every_size_and_split_comes_through);
  RUN (a_packet_of_a_quarter_passes_and_a_larger_one_is_refused);
  RUN (a_buffer_that_is_too_small_costs_nothing);
  RUN (a_late_joiner_starts_at_a_key_point_with_its_headers);
  RUN (an_overrun_resumes_where_it_was_told_to);
  RUN (a_new_generation_counts_from_the_old_one);
  RUN (a_slow_reader_restarts_at_key_points_and_counts_what_it_lost);
  RUN (counters_run_over);
  RUN (what_is_overwritten_during_the_copy_is_never_handed_out);
  RUN (the_reader_finds_whole_packets_at_every_point_of_a_write);
  RUN (a_writer_that_dies_leaves_whole_packets);
  RUN (nonsense_is_called_nonsense);
  RUN (nothing_on_the_page_harms_the_reader);
  return finish_tests ();
}
