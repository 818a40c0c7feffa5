/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The control page of the frame ring as a subscriber reads it: what a hostile publisher writes into it, also between the two looks of a
 * lease. Whatever it is, a lease is of a slot that exists and that this reader did not hold, and every call ends.
 *
 * The input: a byte for the number of slots, then steps of a byte each: publish honestly, lease, unlease, look for the oldest, or change a word
 * (two bytes which, eight bytes the value); a step with the high bit set does so at the next test point instead. */
#include "cuframes-frame-ring.h"
#include "cuframes-util.h"
#include "fuzz.h"

#define FRAMES 40u
#define STEPS_MAX 400

static CuframesControlPage *control;
static CuframesLeasePage *page;
static CuframesFrameRing ring;
static FuzzInput input;
static unsigned changes_due;

static void
change_word (void)
{
  const size_t word = fuzz_take (&input, 2) % (sizeof *control / 8);
  const uint64_t value = fuzz_take (&input, 8);

  memcpy ((uint8_t *) control + word * 8, &value, sizeof value);
}

void
cuframes_testpoint (const char *name)
{
  if (changes_due == 0 || strncmp (name, "ring/leas", 9) != 0)
    return;
  changes_due--;
  change_word ();
}

static void
publish (void)
{
  CuframesFrameInfo info = {.size_bytes = 1 };
  uint32_t slot;

  if (cuframes_frame_ring_claim (&ring, ring.head, &slot) != 0)
    return;
  if (cuframes_frame_ring_make_room (&ring, ring.head) == 0)
    cuframes_frame_ring_publish (&ring, slot, &info);
  cuframes_frame_ring_release (&ring, slot);
}

static void
lease (CuframesFrameReader *reader, CuframesReadOrder order, uint64_t *held)
{
  CuframesFrameInfo info;
  uint32_t slot = UINT32_MAX;
  const uint64_t before = reader->cursor;
  const int r = cuframes_frame_reader_lease (reader, order, &slot, &info);

  FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_EMPTY || r == CUFRAMES_E_PEER);
  if (r != 0)
    return;
  FUZZ_REQUIRE (slot < reader->slot_count);
  FUZZ_REQUIRE ((*held >> slot & 1) == 0);
  FUZZ_REQUIRE (atomic_load (&page->leases) >> slot & 1);
  FUZZ_REQUIRE (info.sequence == reader->cursor && (int64_t) (reader->cursor - before) > 0);
  *held |= UINT64_C (1) << slot;
}

static void
unlease (uint64_t *held)
{
  const uint32_t slot = *held == 0 ? 0 : (uint32_t) __builtin_ctzll (*held);

  if (*held == 0)
    return;
  cuframes_frame_reader_unlease (page, slot);
  FUZZ_REQUIRE ((atomic_load (&page->leases) >> slot & 1) == 0);
  *held &= *held - 1;
}

static void
run_steps (CuframesFrameReader *reader)
{
  uint64_t held = 0;

  for (unsigned i = 0; input.size > 0 && i < STEPS_MAX; i++) {
    const uint8_t step = (uint8_t) fuzz_take (&input, 1);

    if (step & 0x80) {
      changes_due++;
      continue;
    }
    switch (step % 8) {
      case 0:
        publish ();
        break;
      case 1:
      case 2:
        lease (reader, CUFRAMES_READ_NEXT, &held);
        break;
      case 3:
        lease (reader, CUFRAMES_READ_LATEST, &held);
        break;
      case 4:
        unlease (&held);
        break;
      case 5:
        cuframes_frame_reader_get_oldest (reader);
        break;
      default:
        change_word ();
    }
  }
}

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  CuframesFrameReader reader;
  uint32_t slot_count;

  input = (FuzzInput) { data, size };
  changes_due = 0;
  slot_count = CUFRAMES_SLOTS_MIN + (uint32_t) fuzz_take (&input, 1) % (CUFRAMES_SLOTS_MAX - CUFRAMES_SLOTS_MIN + 1);
  /* memory of their own, so that a step beyond their end is seen */
  control = aligned_alloc (CUFRAMES_LINE_BYTES, sizeof *control);
  page = aligned_alloc (CUFRAMES_LINE_BYTES, sizeof *page);
  memset (control, 0, sizeof *control);
  memset (page, 0, sizeof *page);
  FUZZ_REQUIRE (cuframes_frame_ring_init (&ring, control, slot_count, 1, 0) == 0);
  FUZZ_REQUIRE (cuframes_frame_ring_attach (&ring, page) == 0);
  for (unsigned i = 0; i < FRAMES; i++)
    publish ();
  cuframes_frame_reader_init (&reader, control, page, slot_count, FRAMES / 2);
  run_steps (&reader);
  cuframes_frame_ring_clear (&ring);
  free (control);
  free (page);
  return 0;
}
