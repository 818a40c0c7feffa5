/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lease pages as the publisher reads them: two subscribers keep to the rules, two write what they like, also in the middle of a reclaim.
 * Whatever that is, a slot that an honest one holds keeps its frame, no slot is given out twice, and the publisher keeps its reserve.
 *
 * The input: a byte each for slots and reserve, then steps of a byte: claim, publish, release, let the honest lease and give back, write a hostile
 * word (eight bytes), attach or detach a hostile page, retire the ring; a step with the high bit set has a hostile write or a lease of an
 * honest one come at the next test point. */
#include "cuframes-frame-ring.h"
#include "cuframes-util.h"
#include "fuzz.h"

#define HONEST 2
#define HOSTILE 2
#define STEPS_MAX 600

typedef struct
{
  CuframesLeasePage *page;
  CuframesFrameReader reader;
  uint64_t held;
  uint64_t numbers[CUFRAMES_SLOTS_MAX]; /* of the frames that it holds */
} Honest;

static CuframesControlPage *control;
static CuframesFrameRing ring;
static Honest honest[HONEST];
static CuframesLeasePage *hostile[HOSTILE];
static bool attached[HOSTILE];
static uint64_t data[CUFRAMES_SLOTS_MAX];       /* what is written into the slots: the number of the frame */
static uint64_t claimed;                        /* slots that the producer has */
static FuzzInput input;
static unsigned due;
static bool inside;                             /* a test point within a test point */

static void
lease (Honest *one, CuframesReadOrder order)
{
  CuframesFrameInfo info;
  uint32_t slot;
  const int r = cuframes_frame_reader_lease (&one->reader, order, &slot, &info);

  FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_EMPTY);
  if (r != 0)
    return;
  FUZZ_REQUIRE (slot < ring.slot_count && (one->held >> slot & 1) == 0 && (claimed >> slot & 1) == 0);
  FUZZ_REQUIRE (data[slot] == info.sequence);
  one->held |= UINT64_C (1) << slot;
  one->numbers[slot] = info.sequence;
}

static void
unlease (Honest *one)
{
  const uint32_t slot = one->held == 0 ? 0 : (uint32_t) __builtin_ctzll (one->held);

  if (one->held == 0)
    return;
  FUZZ_REQUIRE (data[slot] == one->numbers[slot]);
  cuframes_frame_reader_unlease (one->page, slot);
  one->held &= one->held - 1;
}

static void
write_hostile (uint8_t which)
{
  const uint64_t value = fuzz_take (&input, 8);

  memcpy ((uint8_t *) hostile[which % HOSTILE] + (which / HOSTILE % 4 == 0 ? 0 : (which / HOSTILE * 8) % (sizeof *hostile[0] - 8)), &value, sizeof value);
}

void
cuframes_testpoint (const char *name)
{
  uint8_t what;

  if (due == 0 || inside || strcmp (name, "ring/retired") != 0)
    return;
  due--;
  inside = true;
  what = (uint8_t) fuzz_take (&input, 1);
  if (what % 2 == 0)
    write_hostile (what / 2);
  else
    lease (&honest[what / 2 % HONEST], what & 4 ? CUFRAMES_READ_NEXT : CUFRAMES_READ_LATEST);
  inside = false;
}

static void
claim (void)
{
  uint32_t slot;
  const int r = cuframes_frame_ring_claim (&ring, ring.head, &slot);

  FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_FULL);
  if (r != 0)
    return;
  FUZZ_REQUIRE (slot < ring.slot_count && (claimed >> slot & 1) == 0);
  for (int i = 0; i < HONEST; i++)
    FUZZ_REQUIRE ((honest[i].held >> slot & 1) == 0);
  claimed |= UINT64_C (1) << slot;
  data[slot] = 0;
}

static uint32_t
count_own (void)
{
  uint32_t own = 0;

  for (uint32_t i = 0; i < ring.slot_count; i++)
    own += ring.slots[i].use == CUFRAMES_SLOT_FREE || ring.slots[i].use == CUFRAMES_SLOT_CLAIMED;
  return own;
}

static void
publish (void)
{
  const CuframesFrameInfo info = {.size_bytes = 1 };
  const uint32_t slot = claimed == 0 ? 0 : (uint32_t) __builtin_ctzll (claimed);
  int r;

  if (claimed == 0)
    return;
  r = cuframes_frame_ring_make_room (&ring, ring.head);
  FUZZ_REQUIRE (r == 0 || r == CUFRAMES_E_FULL);
  if (r != 0)
    return;
  data[slot] = ring.head + 1;
  claimed &= claimed - 1;
  FUZZ_REQUIRE (cuframes_frame_ring_publish (&ring, slot, &info) == data[slot]);
  cuframes_frame_ring_release (&ring, slot);
  FUZZ_REQUIRE (count_own () >= ring.reserve_count);
}

static void
release (void)
{
  const uint32_t slot = claimed == 0 ? 0 : (uint32_t) __builtin_ctzll (claimed);

  if (claimed == 0)
    return;
  claimed &= claimed - 1;
  cuframes_frame_ring_release (&ring, slot);
}

static void
come_or_go (unsigned which)
{
  if (attached[which])
    cuframes_frame_ring_detach (&ring, hostile[which]);
  else
    FUZZ_REQUIRE (cuframes_frame_ring_attach (&ring, hostile[which]) == 0);
  attached[which] = !attached[which];
}

static void
run_step (uint8_t step)
{
  const uint8_t which = step >> 4 & 7;

  switch (step & 0x0f) {
    case 0:
    case 1:
    case 2:
      claim ();
      break;
    case 3:
    case 4:
    case 5:
      publish ();
      break;
    case 6:
      release ();
      break;
    case 7:
    case 8:
      lease (&honest[which % HONEST], which & 2 ? CUFRAMES_READ_NEXT : CUFRAMES_READ_LATEST);
      break;
    case 9:
    case 10:
      unlease (&honest[which % HONEST]);
      break;
    case 11:
      come_or_go (which % HOSTILE);
      break;
    case 12:
      cuframes_frame_ring_get_leases (&ring);
      break;
    case 13:
      if (which == 7)
        cuframes_frame_ring_close (&ring);
      break;
    default:
      write_hostile (which);
  }
}

static void
open_all (void)
{
  const uint32_t slot_count = CUFRAMES_SLOTS_MIN + (uint32_t) fuzz_take (&input, 1) % (CUFRAMES_SLOTS_MAX - CUFRAMES_SLOTS_MIN + 1);
  const uint32_t reserve_count = 1 + (uint32_t) fuzz_take (&input, 1) % (slot_count - 1);

  claimed = due = 0;
  control = aligned_alloc (CUFRAMES_LINE_BYTES, sizeof *control);
  memset (control, 0, sizeof *control);
  FUZZ_REQUIRE (cuframes_frame_ring_init (&ring, control, slot_count, reserve_count, 0) == 0);
  for (int i = 0; i < HONEST; i++) {
    honest[i] = (Honest) {.page = aligned_alloc (CUFRAMES_LINE_BYTES, sizeof *honest[i].page) };
    memset (honest[i].page, 0, sizeof *honest[i].page);
    cuframes_frame_reader_init (&honest[i].reader, control, honest[i].page, slot_count, 0);
    FUZZ_REQUIRE (cuframes_frame_ring_attach (&ring, honest[i].page) == 0);
  }
  for (int i = 0; i < HOSTILE; i++) {
    hostile[i] = aligned_alloc (CUFRAMES_LINE_BYTES, sizeof *hostile[i]);
    memset (hostile[i], 0xff, sizeof *hostile[i]);
    attached[i] = false;
  }
}

/* When those who lie have gone and those who do not have given everything back, every slot can be had: none is lost. */
static void
close_all (void)
{
  due = 0;
  for (int i = 0; i < HOSTILE; i++) {
    if (attached[i])
      cuframes_frame_ring_detach (&ring, hostile[i]);
    free (hostile[i]);
  }
  for (int i = 0; i < HONEST; i++)
    while (honest[i].held != 0)
      unlease (&honest[i]);
  for (uint32_t i = 0; !ring.closed && i < ring.slot_count; i++)
    claim ();
  FUZZ_REQUIRE (ring.closed || claimed == UINT64_MAX >> (64 - ring.slot_count));
  cuframes_frame_ring_clear (&ring);
  for (int i = 0; i < HONEST; i++)
    free (honest[i].page);
  free (control);
}

int
LLVMFuzzerTestOneInput (const uint8_t *bytes, size_t size)
{
  input = (FuzzInput) { bytes, size };
  open_all ();
  for (unsigned i = 0; input.size > 0 && i < STEPS_MAX; i++) {
    const uint8_t step = (uint8_t) fuzz_take (&input, 1);

    if (step & 0x80)
      due++;
    else
      run_step (step);
  }
  close_all ();
  return 0;
}
