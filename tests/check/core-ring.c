/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The frame ring by itself: each step on its own, and then a writer and readers of every kind in threads, with counters near their
 * wrap. Built a second time under ThreadSanitizer, which knows nothing of processes; those are the other tests'. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "core-fixture.h"
#include "cuframes-frame-ring.h"

const FixtureRole core_roles[] = { {"", NULL} };

const size_t core_role_count = 0;

#define WORDS 24
#define SLOTS 8
#define FRAMES 70000u
#define READERS 5

/* Pages and slots in plain memory. */
typedef struct
{
  CuframesControlPage *control;
  CuframesFrameRing ring;
  uint64_t data[CUFRAMES_SLOTS_MAX][WORDS];
} World;

static World *
world_new (uint32_t slot_count, uint32_t reserve_count, uint64_t head)
{
  World *world = calloc (1, sizeof *world);

  world->control = aligned_alloc (CUFRAMES_PAGE_BYTES, CUFRAMES_META_OFFSET_BYTES);
  memset (world->control, 0, CUFRAMES_META_OFFSET_BYTES);
  if (cuframes_frame_ring_init (&world->ring, world->control, slot_count, reserve_count, head) != 0)
    abort ();
  return world;
}

static void
world_free (World *world)
{
  cuframes_frame_ring_clear (&world->ring);
  free (world->control);
  free (world);
}

static CuframesLeasePage *
page_new (World *world)
{
  CuframesLeasePage *page = aligned_alloc (CUFRAMES_PAGE_BYTES, CUFRAMES_PAGE_BYTES);

  memset (page, 0, CUFRAMES_PAGE_BYTES);
  if (cuframes_frame_ring_attach (&world->ring, page) != 0)
    abort ();
  return page;
}

/* Frames after keep_after stay. 0, or CUFRAMES_E_FULL when the frame is dropped. */
static int
write_frame_after (World *world, uint64_t keep_after)
{
  const CuframesFrameInfo info = {.pts_ns = world->ring.head + 1 };
  uint32_t slot;
  int r = cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot);

  if (r != 0)
    return r;
  fill_words (world->data[slot], sizeof world->data[slot], world->ring.head + 1);
  r = cuframes_frame_ring_make_room (&world->ring, keep_after);
  if (r == 0)
    cuframes_frame_ring_publish (&world->ring, slot, &info);
  cuframes_frame_ring_release (&world->ring, slot);
  return r;
}

static int
write_frame (World *world)
{
  return write_frame_after (world, world->ring.head);
}

static bool
is_whole (const World *world, uint32_t slot, const CuframesFrameInfo *info)
{
  return info->pts_ns == info->sequence && words_are_of (world->data[slot], sizeof world->data[slot], info->sequence);
}

static void
a_reader_takes_every_frame_in_order (void)
{
  World *world = world_new (4, 1, 0);
  CuframesLeasePage *page = page_new (world);
  CuframesFrameReader reader;
  CuframesFrameInfo info;
  uint32_t slot;

  cuframes_frame_reader_init (&reader, world->control, page, 4, 0);
  CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_NEXT, &slot, &info), CUFRAMES_E_EMPTY);
  for (uint64_t i = 1; i < 1000; i++) {
    CHECK_EQUAL (write_frame (world), 0);
    CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_NEXT, &slot, &info), 0);
    CHECK_EQUAL (info.sequence, i);
    CHECK (is_whole (world, slot, &info));
    cuframes_frame_reader_unlease (page, slot);
  }
  CHECK_EQUAL (reader.missed, 0);
  CHECK_EQUAL (page->leases, 0);
  world_free (world);
  free (page);
}

static void
a_leased_frame_stays_and_the_rest_goes_on (void)
{
  World *world = world_new (4, 1, 0);
  CuframesLeasePage *page = page_new (world);
  CuframesFrameReader reader;
  CuframesFrameInfo first, info;
  uint32_t kept, slot;

  cuframes_frame_reader_init (&reader, world->control, page, 4, 0);
  CHECK_EQUAL (write_frame (world), 0);
  CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_NEXT, &kept, &first), 0);
  for (uint32_t i = 0; i < 1000; i++) {
    CHECK_EQUAL (write_frame (world), 0);
    CHECK (is_whole (world, kept, &first));
  }
  CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_NEXT, &slot, &info), 0);
  /* of four slots one is kept and one is the writer's */
  CHECK_EQUAL (info.sequence, 1000);
  CHECK_EQUAL (reader.missed, 998);
  CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_LATEST, &slot, &info), 0);
  CHECK_EQUAL (info.sequence, 1001);
  world_free (world);
  free (page);
}

static void
with_every_slot_leased_frames_are_dropped_and_the_writer_keeps_its_own (void)
{
  World *world = world_new (4, 2, 0);
  CuframesLeasePage *page = page_new (world);
  CuframesFrameReader reader;
  CuframesFrameInfo info;
  uint32_t slots[2], own;

  cuframes_frame_reader_init (&reader, world->control, page, 4, 0);
  for (uint32_t i = 0; i < 2; i++) {
    CHECK_EQUAL (write_frame (world), 0);
    CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_NEXT, &slots[i], &info), 0);
  }
  for (uint32_t i = 0; i < 10; i++)
    CHECK_EQUAL (write_frame (world), CUFRAMES_E_FULL);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &own), 0);
  cuframes_frame_ring_release (&world->ring, own);
  cuframes_frame_reader_unlease (page, slots[0]);
  CHECK_EQUAL (write_frame (world), 0);
  cuframes_frame_ring_detach (&world->ring, page);
  for (uint32_t i = 0; i < 10; i++)
    CHECK_EQUAL (write_frame (world), 0);
  world_free (world);
  free (page);
}

static void
frames_that_must_stay_are_left_alone (void)
{
  World *world = world_new (4, 1, 0);

  for (uint32_t i = 0; i < 3; i++)
    CHECK_EQUAL (write_frame (world), 0);
  CHECK_EQUAL (cuframes_frame_ring_make_room (&world->ring, 0), CUFRAMES_E_FULL);
  CHECK_EQUAL (cuframes_frame_ring_make_room (&world->ring, 1), 0);
  world_free (world);
}

static void
a_closed_ring_gives_out_only_what_is_free (void)
{
  World *world = world_new (4, 1, 0);
  uint32_t slot;

  CHECK_EQUAL (write_frame (world), 0);
  CHECK_EQUAL (write_frame (world), 0);
  cuframes_frame_ring_close (&world->ring);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), CUFRAMES_E_FULL);
  cuframes_frame_ring_release (&world->ring, slot);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
  world_free (world);
}

static void
memory_that_still_refers_to_a_slot_keeps_it (void)
{
  const CuframesFrameInfo info = { 0 };
  World *world = world_new (3, 1, 0);
  uint32_t kept, slot;

  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, 0, &kept), 0);
  cuframes_frame_ring_publish (&world->ring, kept, &info);
  for (uint32_t i = 0; i < 20; i++) {
    CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
    CHECK (slot != kept);
    CHECK_EQUAL (cuframes_frame_ring_make_room (&world->ring, world->ring.head), 0);
    cuframes_frame_ring_publish (&world->ring, slot, &info);
    cuframes_frame_ring_release (&world->ring, slot);
  }
  world_free (world);
}

static void
the_oldest_frame_is_found (void)
{
  static const uint64_t heads[] = { 0, UINT64_C (1) << 32, UINT64_C (1) << 56, UINT64_MAX };

  for (uint32_t h = 0; h < 4; h++) {
    const uint64_t first = heads[h] - 20;
    World *world = world_new (8, 1, first);
    CuframesLeasePage *page = page_new (world);
    CuframesFrameReader reader;

    cuframes_frame_reader_init (&reader, world->control, page, 8, first);
    CHECK (cuframes_frame_reader_get_oldest (&reader) == first);
    for (uint32_t i = 1; i <= 40; i++) {
      CHECK_EQUAL (write_frame (world), 0);
      CHECK (cuframes_frame_reader_get_oldest (&reader) == (i <= 7 ? first : first + i - 7));
    }
    world_free (world);
    free (page);
  }
}

static void
nonsense_on_the_page_harms_no_reader (void)
{
  World *world = world_new (SLOTS, 1, 0);
  CuframesLeasePage *page = page_new (world);
  CuframesFrameReader reader;
  CuframesFrameInfo info;
  uint32_t slot = 0, state = 1;

  for (uint32_t round = 0; round < 200; round++) {
    uint32_t *words = (uint32_t *) world->control;
    for (size_t i = 0; i < sizeof *world->control / 4; i++) {
      state = state * 1664525 + 1013904223;
      words[i] = state;
    }
    /* every other round the entries look right but for their slot */
    for (uint64_t i = 0; round % 2 == 0 && i < CUFRAMES_INDEX_SIZE; i++)
      atomic_store (&world->control->index[i], i << 8 | (state + i) % 256);
    if (round % 2 == 0)
      atomic_store (&world->control->head, 200);
    atomic_store (&page->leases, 0);
    cuframes_frame_reader_init (&reader, world->control, page, SLOTS, 0);
    for (uint32_t i = 0; i < 100; i++) {
      int r = cuframes_frame_reader_lease (&reader, i % 3 == 0 ? CUFRAMES_READ_LATEST : CUFRAMES_READ_NEXT, &slot, &info);
      CHECK (r == 0 || r == CUFRAMES_E_EMPTY || r == CUFRAMES_E_PEER);
      CHECK (r != 0 || slot < SLOTS);
    }
    (void) cuframes_frame_reader_get_oldest (&reader);
  }
  /* a head that goes back */
  atomic_store (&world->control->head, 5);
  cuframes_frame_reader_init (&reader, world->control, page, SLOTS, 6);
  CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_NEXT, &slot, &info), CUFRAMES_E_PEER);
  CHECK_EQUAL (cuframes_frame_reader_lease (&reader, CUFRAMES_READ_LATEST, &slot, &info), CUFRAMES_E_PEER);
  world_free (world);
  free (page);
}

static void
limits_out_of_range_are_refused (void)
{
  CuframesControlPage *control = aligned_alloc (CUFRAMES_PAGE_BYTES, CUFRAMES_META_OFFSET_BYTES);
  CuframesFrameRing ring;

  CHECK_EQUAL (cuframes_frame_ring_init (&ring, control, 1, 1, 0), -EINVAL);
  CHECK_EQUAL (cuframes_frame_ring_init (&ring, control, CUFRAMES_SLOTS_MAX + 1, 1, 0), -EINVAL);
  CHECK_EQUAL (cuframes_frame_ring_init (&ring, control, 4, 0, 0), -EINVAL);
  CHECK_EQUAL (cuframes_frame_ring_init (&ring, control, 4, 4, 0), -EINVAL);
  free (control);
}

/* Readers in threads. */
typedef struct
{
  World *world;
  CuframesLeasePage *page;
  uint64_t first;
  CuframesReadOrder order;
  uint32_t hold_count;          /* frames it keeps while it takes the next */
  uint32_t looks;               /* how often it reads a frame */
  bool hands_over;              /* another thread gives its frames back */
  atomic_uint handed;           /* slot + 1 */
  atomic_bool *over, *helper_over;
  uint64_t taken, torn, disordered, missed, unaccounted;
} Reader;

static void
give_back (Reader *reader, uint32_t slot)
{
  if (!reader->hands_over) {
    cuframes_frame_reader_unlease (reader->page, slot);
    return;
  }
  while (atomic_load (&reader->handed) != 0)
    sched_yield ();
  atomic_store (&reader->handed, slot + 1);
}

static void *
give_back_for_another (void *user_data)
{
  Reader *reader = user_data;

  for (;;) {
    const bool over = atomic_load (reader->helper_over);
    const unsigned handed = atomic_load (&reader->handed);
    if (handed != 0) {
      cuframes_frame_reader_unlease (reader->page, handed - 1);
      atomic_store (&reader->handed, 0);
    } else if (over)
      return NULL;
    else
      sched_yield ();
  }
}

static void *
read_frames (void *user_data)
{
  Reader *self = user_data;
  CuframesFrameReader reader;
  uint32_t slots[CUFRAMES_SLOTS_MAX], held = 0, oldest = 0;
  CuframesFrameInfo infos[CUFRAMES_SLOTS_MAX];
  uint64_t last = self->first;

  cuframes_frame_reader_init (&reader, self->world->control, self->page, SLOTS, self->first);
  for (;;) {
    const bool over = atomic_load (self->over);
    const uint32_t at = (oldest + held) % CUFRAMES_SLOTS_MAX;
    int r = cuframes_frame_reader_lease (&reader, self->order, &slots[at], &infos[at]);
    if (r == CUFRAMES_E_EMPTY && over)
      break;
    if (r != 0) {
      self->disordered += r == CUFRAMES_E_PEER;
      sched_yield ();
      continue;
    }
    self->taken++;
    self->disordered += (int64_t) (infos[at].sequence - last) <= 0;
    last = infos[at].sequence;
    for (uint32_t i = 0; i < self->looks; i++)
      self->torn += !is_whole (self->world, slots[at], &infos[at]);
    if (++held <= self->hold_count)
      continue;
    self->torn += !is_whole (self->world, slots[oldest], &infos[oldest]);
    give_back (self, slots[oldest]);
    oldest = (oldest + 1) % CUFRAMES_SLOTS_MAX;
    held--;
  }
  for (; held > 0; held--, oldest = (oldest + 1) % CUFRAMES_SLOTS_MAX) {
    self->torn += !is_whole (self->world, slots[oldest], &infos[oldest]);
    give_back (self, slots[oldest]);
  }
  self->missed = reader.missed;
  self->unaccounted = reader.cursor - self->first - self->taken - self->missed;
  return NULL;
}

/* A frame that is announced before a GPU has written it: its slot is not written again before that. */
static void
a_frame_that_a_gpu_still_writes_keeps_its_slot (void)
{
  World *world = world_new (3, 1, 0);
  _Atomic uint64_t *words = (_Atomic uint64_t *) ((char *) world->control + CUFRAMES_FENCE_OFFSET_BYTES);
  uint32_t slot, published[2];

  for (uint32_t i = 0; i < 2; i++) {
    CuframesFrameInfo info = {.flags = CUFRAMES_FRAME_FENCED | CUFRAMES_FRAME_MIRRORED };
    CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &published[i]), 0);
    info.fence_value = (uint64_t) published[i] << CUFRAMES_FENCE_WORD_SHIFT | (7 + i);
    CHECK_EQUAL (cuframes_frame_ring_make_room (&world->ring, world->ring.head), 0);
    cuframes_frame_ring_publish (&world->ring, published[i], &info);
    cuframes_frame_ring_release (&world->ring, published[i]);
  }
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), CUFRAMES_E_FULL);
  atomic_store (&words[published[0]], 6);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), CUFRAMES_E_FULL);
  atomic_store (&words[published[1]], 8);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
  CHECK_EQUAL (slot, published[1]);
  atomic_store (&words[published[0]], 7);
  CHECK_EQUAL (cuframes_frame_ring_claim (&world->ring, world->ring.head, &slot), 0);
  CHECK_EQUAL (slot, published[0]);
  world_free (world);
}

static void
run_threads (uint64_t wrap)
{
  static const struct { CuframesReadOrder order; uint32_t hold_count, looks; bool hands_over; } kinds[READERS] = {
    {CUFRAMES_READ_NEXT, 0, 1, false},
    {CUFRAMES_READ_LATEST, 0, 1, false},
    {CUFRAMES_READ_NEXT, 2, 1, false},
    {CUFRAMES_READ_NEXT, 0, 50, false},
    {CUFRAMES_READ_NEXT, 1, 1, true},
  };
  const uint64_t first = wrap - FRAMES / 2;
  World *world = world_new (SLOTS, 1, first);
  Reader *readers = calloc (READERS, sizeof *readers);
  pthread_t threads[READERS], helper;
  atomic_bool over = false, helper_over = false;
  uint64_t dropped = 0, taken = 0;

  for (uint32_t i = 0; i < READERS; i++) {
    readers[i] = (Reader) {.world = world,.page = page_new (world),.first = first,.order = kinds[i].order,.hold_count = kinds[i].hold_count,
      .looks = kinds[i].looks,.hands_over = kinds[i].hands_over,.over = &over,.helper_over = &helper_over };
    pthread_create (&threads[i], NULL, read_frames, &readers[i]);
  }
  pthread_create (&helper, NULL, give_back_for_another, &readers[READERS - 1]);
  /* By turns the writer runs as fast as it can, and waits for the first reader, so that all of them run into each other. */
  atomic_store (&readers[0].page->cursor, first);
  for (uint32_t i = 0; i < FRAMES;) {
    if (write_frame_after (world, i / 512 % 4 == 0 ? world->ring.head : atomic_load (&readers[0].page->cursor)) == 0) {
      i++;
      continue;
    }
    dropped++;
    sched_yield ();
  }
  atomic_store (&over, true);
  for (uint32_t i = 0; i < READERS; i++)
    pthread_join (threads[i], NULL);
  atomic_store (&helper_over, true);
  pthread_join (helper, NULL);
  for (uint32_t i = 0; i < READERS; i++) {
    CHECK_EQUAL (readers[i].torn, 0);
    CHECK_EQUAL (readers[i].disordered, 0);
    CHECK_EQUAL (readers[i].unaccounted, 0);
    CHECK_EQUAL (readers[i].taken + readers[i].missed, FRAMES);
    CHECK (readers[i].taken > 0);
    CHECK_EQUAL (readers[i].page->leases, 0);
    taken += readers[i].taken;
  }
  CHECK (world->ring.head == first + FRAMES);
  CHECK_EQUAL (cuframes_frame_ring_get_leases (&world->ring), 0);
  printf ("     %u frames, %llu taken by %u readers, %llu dropped\n", FRAMES, (unsigned long long) taken, READERS, (unsigned long long) dropped);
  for (uint32_t i = 0; i < READERS; i++)
    free (readers[i].page);
  free (readers);
  world_free (world);
}

static void
threads_across_32_bits (void)
{
  run_threads (UINT64_C (1) << 32);
}

static void
threads_across_56_bits (void)
{
  run_threads (UINT64_C (1) << 56);
}

static void
threads_across_64_bits (void)
{
  run_threads (0);
}

static const FixtureTest tests[] = {
  {"a reader takes every frame in order", a_reader_takes_every_frame_in_order},
  {"a leased frame stays and the rest goes on", a_leased_frame_stays_and_the_rest_goes_on},
  {"with every slot leased frames are dropped and the writer keeps its own", with_every_slot_leased_frames_are_dropped_and_the_writer_keeps_its_own},
  {"frames that must stay are left alone", frames_that_must_stay_are_left_alone},
  {"a closed ring gives out only what is free", a_closed_ring_gives_out_only_what_is_free},
  {"memory that still refers to a slot keeps it", memory_that_still_refers_to_a_slot_keeps_it},
  {"a frame that a GPU still writes keeps its slot", a_frame_that_a_gpu_still_writes_keeps_its_slot},
  {"the oldest frame is found, also across the wrap of the numbers", the_oldest_frame_is_found},
  {"nonsense on the page harms no reader", nonsense_on_the_page_harms_no_reader},
  {"limits out of range are refused", limits_out_of_range_are_refused},
  {"no frame is torn, repeated or reordered in threads while numbers pass 2^32", threads_across_32_bits},
  {"no frame is torn, repeated or reordered in threads while numbers pass 2^56", threads_across_56_bits},
  {"no frame is torn, repeated or reordered in threads while numbers pass 2^64", threads_across_64_bits},
};

FIXTURE_MAIN (tests, NULL, 0)
