/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who is let go, and who is not, when a publisher that has announced a frame before its GPU wrote it dies, ends, or lets a subscriber go. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cuda.h>

#include "core-fixture.h"
#include "cuframes-arena-cuda.h"
#include "cuframes-subscriber.h"
#include "cuframes-util.h"
#include "fakecuda.h"

#define SLOT_BYTES 4096u
#define SLOTS 4u
#define WRITTEN 0x77
/* How long somebody is looked at who is not to be let go; and beyond what memory is waited for whose GPU does not get there. */
#define HELD_NS UINT64_C (200000000)
#define HELD_LONG_NS UINT64_C (2500000000)
/* Longer than anything takes that waits for no GPU. */
#define PROMPT_NS UINT64_C (1000000000)

/* Toolkits after 12 call another version by the plain name. */
CUresult cuCtxCreate_v2 (CUcontext *, unsigned int, CUdevice);

static CuframesCudaDevice *device;

static bool
open_gpu (void)
{
  char text[CUFRAMES_TEXT_BYTES];
  CUcontext context;

  return cuInit (0) == CUDA_SUCCESS && cuCtxCreate_v2 (&context, 0, 0) == CUDA_SUCCESS
      && cuframes_cuda_device_new (context, NULL, NULL, text, sizeof text, &device) == 0;
}

/* ---- publishing ---- */

typedef struct
{
  CuframesPublisher *publisher;
  CuframesArena *private;       /* with the gate, for which the GPU's work waits */
  CUstream writer, opener;
  uint64_t gate;
} Studio;

static CuframesRing *
new_ring (CuframesArena **ret_arena)
{
  CuframesRingConfig config = {.slot_bytes = SLOT_BYTES,.slot_count = SLOTS,.reserve_count = 1,.data_offset_bytes = CUFRAMES_ARENA_CUDA_FENCE_BYTES,
    .fence_offset_bytes = 0,.format = "f",.format_bytes = 1 };
  CuframesRing *ring = NULL;

  if (cuframes_arena_new_cuda (device, CUFRAMES_ARENA_CUDA_FENCE_BYTES + SLOTS * SLOT_BYTES, &config.arena) == 0)
    (void) cuframes_ring_new (&config, &ring);
  *ret_arena = config.arena;
  return ring;
}

/* Of which the publisher has the only reference afterwards. */
static bool
announce (Studio *studio, bool without_descriptors)
{
  CuframesArena *arena = NULL;
  CuframesRing *ring = new_ring (&arena);
  struct rlimit limit, none;
  bool good = ring != NULL && getrlimit (RLIMIT_NOFILE, &limit) == 0;

  none = (struct rlimit) { 0, limit.rlim_max };
  good = good && (!without_descriptors || setrlimit (RLIMIT_NOFILE, &none) == 0) && cuframes_publisher_announce_ring (studio->publisher, ring) == 0
      && setrlimit (RLIMIT_NOFILE, &limit) == 0;
  cuframes_ring_unref (ring);
  cuframes_arena_unref (arena);
  return good;
}

static bool
publish (Studio *studio)
{
  CuframesFrameInfo info = {.size_bytes = SLOT_BYTES,.moment_ns = CUFRAMES_NONE,.flags = CUFRAMES_FRAME_FENCED };
  CuframesArena *arena = NULL;
  CuframesRing *ring = new_ring (&arena);
  uint32_t slot = 0;
  bool good = ring != NULL && cuframes_publisher_announce_ring (studio->publisher, ring) == 0 && cuframes_ring_claim (ring, 0, &slot) == 0
      && cuframes_arena_cuda_queue_wait (studio->private, studio->writer, studio->gate) == 0
      && cuMemsetD8Async (cuframes_ring_get_slot_address (ring, slot), WRITTEN, SLOT_BYTES, studio->writer) == CUDA_SUCCESS;

  info.fence_value = cuframes_arena_cuda_fence (slot, 1);
  good = good && cuframes_arena_cuda_queue_write (arena, studio->writer, info.fence_value) == 0;
  if (good && cuframes_arena_cuda_has_mirror (arena))
    info.flags |= CUFRAMES_FRAME_MIRRORED;
  good = good && cuframes_publisher_publish (studio->publisher, ring, slot, &info, NULL) == 0;
  cuframes_ring_release (ring, slot);
  cuframes_ring_unref (ring);
  cuframes_arena_unref (arena);
  return good;
}

static bool
obey (Studio *studio, const char *order)
{
  if (strcmp (order, "publish") == 0)
    return publish (studio);
  if (strcmp (order, "evict") == 0)
    return cuframes_publisher_evict (studio->publisher, 1) == 0;
  if (strcmp (order, "announce") == 0)
    return announce (studio, false);
  if (strcmp (order, "announce without descriptors") == 0)
    return announce (studio, true);
  if (strcmp (order, "write") == 0)
    return cuframes_arena_cuda_queue_write (studio->private, studio->opener, studio->gate) == 0;
  if (strcmp (order, "goodbye") != 0)
    return false;
  studio->publisher = cuframes_publisher_free (studio->publisher);
  return true;
}

/* PATH: "publish" a frame that its GPU writes when it is told to "write", "evict" the first subscriber, "announce" another ring, say "goodbye":
 * answers 1 where that went well. Ends as by a crash. */
static int
play_publisher (int argc, char **argv)
{
  const CuframesPublisherConfig config = {.socket_path = argv[0],.max_leases = 4 };
  Studio studio = {.gate = cuframes_arena_cuda_fence (100, 1) };
  char line[64];

  (void) argc;
  if (!open_gpu () || cuStreamCreate (&studio.writer, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS
      || cuStreamCreate (&studio.opener, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS
      || cuframes_arena_new_cuda (device, CUFRAMES_ARENA_CUDA_FENCE_BYTES + 1, &studio.private) != 0
      || cuframes_publisher_new (&config, &studio.publisher) != 0 || !announce (&studio, false))
    return 1;
  printf ("open\n");
  while (fgets (line, sizeof line, stdin) != NULL) {
    line[strcspn (line, "\n")] = 0;
    printf ("%d\n", obey (&studio, line));
  }
  _exit (0);
}

/* ---- reading ---- */

typedef struct
{
  CuframesSubscriber *subscriber;
  CuframesFrame *frame;
  CUstream stream;
} Reader;

static bool
next_is (Reader *reader, CuframesItemKind kind)
{
  CuframesItem item = { 0 };

  while (cuframes_subscriber_next (reader->subscriber, FIXTURE_BOUND_NS, &item) == 0 && item.kind != kind)
    if (item.kind == CUFRAMES_ITEM_DISCONNECTED || item.kind == CUFRAMES_ITEM_FRAME)
      return false;
  reader->frame = item.kind == CUFRAMES_ITEM_FRAME ? item.frame : reader->frame;
  return item.kind == kind;
}

static bool
holds_still (const Reader *reader)
{
  return cuStreamQuery (reader->stream) == CUDA_ERROR_NOT_READY;
}

static bool
begins_to_wait (Reader *reader)
{
  return next_is (reader, CUFRAMES_ITEM_FRAME) && cuframes_arena_cuda_queue_wait (cuframes_frame_peek_arena (reader->frame), reader->stream,
      cuframes_frame_get_info (reader->frame)->fence_value) == 0 && holds_still (reader);
}

/* As a user decides who hands on a frame with the stream on which it will be complete. */
static bool
takes_for_whole (const Reader *reader)
{
  CuframesArena *arena = cuframes_frame_peek_arena (reader->frame);
  const uint64_t fence = cuframes_frame_get_info (reader->frame)->fence_value;
  const int r = cuframes_arena_cuda_queue_wait (arena, reader->stream, fence);

  return r == 0 && (!cuframes_frame_is_orphaned (reader->frame) || cuframes_arena_cuda_wait_host (arena, fence, 0) == 0);
}

static bool
is_written (const Reader *reader)
{
  unsigned char bytes[SLOT_BYTES];

  return cuMemcpyDtoH (bytes, cuframes_frame_get_address (reader->frame), sizeof bytes) == CUDA_SUCCESS && bytes[0] == WRITTEN
      && bytes[SLOT_BYTES - 1] == WRITTEN;
}

static bool
answer (Reader *reader, const char *question)
{
  if (strcmp (question, "waits") == 0)
    return begins_to_wait (reader);
  if (strcmp (question, "is disconnected") == 0)
    return next_is (reader, CUFRAMES_ITEM_DISCONNECTED);
  if (strcmp (question, "has the next format") == 0)
    return next_is (reader, CUFRAMES_ITEM_FORMAT);
  if (strcmp (question, "is held") == 0)
    return STAYS (holds_still (reader), HELD_NS);
  if (strcmp (question, "is held for long") == 0)
    return STAYS (holds_still (reader), HELD_LONG_NS);
  if (strcmp (question, "is let go") == 0)
    return WAIT_UNTIL (!holds_still (reader)) && cuStreamQuery (reader->stream) == CUDA_SUCCESS;
  if (strcmp (question, "has it written") == 0)
    return is_written (reader);
  if (strcmp (question, "takes a whole frame") == 0)
    return next_is (reader, CUFRAMES_ITEM_FRAME) && takes_for_whole (reader);
  if (strcmp (question, "has a driver that fails once") == 0)
    fakecuda_fail ("cuMemMap", 1, 0);
  else if (strcmp (question, "cannot rescue anybody") == 0)
    fakecuda_fail ("cuMemMap", 0, 0);
  else
    return false;
  return true;
}

/* PATH: answers the questions above with 0 or 1. */
static int
play_reader (int argc, char **argv)
{
  uint8_t uuid[1][CUFRAMES_UUID_BYTES];
  CuframesSubscriberConfig config = {.socket_path = argv[0],.start = CUFRAMES_START_OLDEST };
  Reader reader = { 0 };
  char line[64];

  (void) argc;
  if (!open_gpu () || cuStreamCreate (&reader.stream, CU_STREAM_NON_BLOCKING) != CUDA_SUCCESS)
    return 1;
  cuframes_cuda_device_get_uuid (device, uuid[0]);
  if (cuframes_subscriber_new (&config, &reader.subscriber) != 0
      || cuframes_subscriber_set_import (reader.subscriber, cuframes_arena_import_cuda, device, 1u << CUFRAMES_MEMORY_CUDA, uuid[0], 1) != 0
      || cuframes_subscriber_connect (reader.subscriber, FIXTURE_BOUND_NS) != 0 || !next_is (&reader, CUFRAMES_ITEM_FORMAT))
    return 1;
  printf ("joined\n");
  while (fgets (line, sizeof line, stdin) != NULL) {
    line[strcspn (line, "\n")] = 0;
    printf ("%d\n", answer (&reader, line));
  }
  cuframes_frame_unref (reader.frame);
  cuframes_subscriber_free (reader.subscriber);
  return 0;
}

static const FixtureRole roles[] = {
  {"studio", play_publisher},
  {"spectator", play_reader},
};

/* ---- tests ---- */

typedef struct
{
  Child publisher, reader;
} Scene;

static bool
join (Child *reader)
{
  child_start (reader, NULL, "spectator", fixture_path ("cam.sock"), NULL);
  return child_expect (reader, "joined");
}

/* A reader whose GPU waits for a frame that the publisher's will write when it is told to. */
static bool
scene_open (Scene *scene)
{
  child_start (&scene->publisher, NULL, "studio", fixture_path ("cam.sock"), NULL);
  return child_expect (&scene->publisher, "open") && join (&scene->reader) && child_ask (&scene->publisher, "publish") == 1
      && child_ask (&scene->reader, "has the next format") == 1 && child_ask (&scene->reader, "waits") == 1;
}

static void
check_let_go (Scene *scene)
{
  CHECK_EQUAL (child_ask (&scene->reader, "is let go"), 1);
  CHECK_EQUAL (child_ask (&scene->reader, "has it written"), 0);
  CHECK_EQUAL (child_end (&scene->reader), 0);
}

/* Nobody lets it go before its frame is complete, which it becomes. */
static void
check_completed (Scene *scene)
{
  CHECK_EQUAL (child_ask (&scene->reader, "is held"), 1);
  CHECK_EQUAL (child_ask (&scene->publisher, "write"), 1);
  CHECK_EQUAL (child_ask (&scene->reader, "is let go"), 1);
  CHECK_EQUAL (child_ask (&scene->reader, "has it written"), 1);
  CHECK_EQUAL (child_end (&scene->reader), 0);
  CHECK_EQUAL (child_end (&scene->publisher), 0);
}

static void
who_waits_for_a_publisher_that_is_killed_is_let_go (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene));
  child_kill (&scene.publisher);
  check_let_go (&scene);
}

static void
who_was_evicted_is_let_go_when_the_publisher_dies (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene));
  CHECK_EQUAL (child_ask (&scene.publisher, "evict"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is disconnected"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is held"), 1);
  child_kill (&scene.publisher);
  check_let_go (&scene);
}

static void
who_was_evicted_gets_its_frame_all_the_same (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene));
  CHECK_EQUAL (child_ask (&scene.publisher, "evict"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is disconnected"), 1);
  check_completed (&scene);
}

static void
a_publisher_that_said_goodbye_still_completes_its_frames (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene));
  CHECK_EQUAL (child_ask (&scene.publisher, "goodbye"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is disconnected"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is held for long"), 1);
  check_completed (&scene);
}

static void
a_publisher_that_said_goodbye_on_a_later_ring_still_completes_its_frames (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene) && child_ask (&scene.publisher, "announce") == 1 && child_ask (&scene.reader, "has the next format") == 1);
  CHECK_EQUAL (child_ask (&scene.publisher, "goodbye"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is disconnected"), 1);
  check_completed (&scene);
}

/* Whose reader has gone on to the next ring, so that the memory of the one before is nobody's but the GPU's. */
static void
a_gpu_that_is_late_holds_up_no_newcomer (void)
{
  uint64_t start_ns;
  Scene scene;
  Child late;

  REQUIRE (scene_open (&scene) && child_ask (&scene.publisher, "announce") == 1 && child_ask (&scene.reader, "has the next format") == 1);
  start_ns = fixture_now_ns ();
  CHECK (join (&late));
  CHECK (fixture_is_slow () || fixture_now_ns () - start_ns < PROMPT_NS);
  start_ns = fixture_now_ns ();
  CHECK_EQUAL (child_ask (&scene.publisher, "goodbye"), 1);
  CHECK (fixture_is_slow () || fixture_now_ns () - start_ns < PROMPT_NS);
  CHECK_EQUAL (child_end (&late), 0);
  check_completed (&scene);
}

static void
a_publisher_that_said_goodbye_and_ends_too_early_lets_go (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene));
  CHECK_EQUAL (child_ask (&scene.publisher, "goodbye"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is disconnected"), 1);
  CHECK_EQUAL (child_end (&scene.publisher), 0);
  check_let_go (&scene);
}

static void
a_publisher_without_descriptors_still_completes_its_frames (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene));
  CHECK_EQUAL (child_ask (&scene.publisher, "announce without descriptors"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is disconnected"), 1);
  check_completed (&scene);
}

static void
a_rescue_that_fails_is_tried_again (void)
{
  Scene scene;

  REQUIRE (scene_open (&scene) && child_ask (&scene.reader, "has a driver that fails once") == 1);
  child_kill (&scene.publisher);
  check_let_go (&scene);
}

/* Its own rescue has not been yet: here it never comes. */
static void
who_takes_a_frame_after_another_one_s_rescue_is_not_deceived (void)
{
  Scene scene;
  Child late;

  REQUIRE (scene_open (&scene) && join (&late) && child_ask (&late, "cannot rescue anybody") == 1);
  child_kill (&scene.publisher);
  check_let_go (&scene);
  CHECK_EQUAL (child_ask (&late, "takes a whole frame"), 0);
  CHECK_EQUAL (child_end (&late), 0);
}

static void
who_takes_a_frame_that_was_written_before_its_publisher_died_has_it (void)
{
  Scene scene;
  Child late;

  REQUIRE (scene_open (&scene) && join (&late) && child_ask (&late, "cannot rescue anybody") == 1);
  CHECK_EQUAL (child_ask (&scene.publisher, "write"), 1);
  CHECK_EQUAL (child_ask (&scene.reader, "is let go"), 1);
  child_kill (&scene.publisher);
  CHECK_EQUAL (child_end (&scene.reader), 0);
  CHECK_EQUAL (child_ask (&late, "takes a whole frame"), 1);
  CHECK_EQUAL (child_ask (&late, "has it written"), 1);
  CHECK_EQUAL (child_end (&late), 0);
}

static const FixtureTest tests[] = {
  {"who waits for a publisher that is killed is let go", who_waits_for_a_publisher_that_is_killed_is_let_go},
  {"who was evicted is let go when the publisher dies", who_was_evicted_is_let_go_when_the_publisher_dies},
  {"who was evicted gets its frame all the same", who_was_evicted_gets_its_frame_all_the_same},
  {"a publisher that said goodbye still completes its frames", a_publisher_that_said_goodbye_still_completes_its_frames},
  {"a publisher that said goodbye on a later ring still completes its frames", a_publisher_that_said_goodbye_on_a_later_ring_still_completes_its_frames},
  {"a GPU that is late holds up neither a newcomer nor the end of the channel", a_gpu_that_is_late_holds_up_no_newcomer},
  {"a publisher that said goodbye and ends too early lets go", a_publisher_that_said_goodbye_and_ends_too_early_lets_go},
  {"a publisher without descriptors drops readers and still completes their frames", a_publisher_without_descriptors_still_completes_its_frames},
  {"a rescue that fails is tried again", a_rescue_that_fails_is_tried_again},
  {"who takes a frame after another one's rescue is not deceived", who_takes_a_frame_after_another_one_s_rescue_is_not_deceived},
  {"who takes a frame that was written before its publisher died has it", who_takes_a_frame_that_was_written_before_its_publisher_died_has_it},
};

FIXTURE_MAIN (tests, roles, sizeof roles / sizeof roles[0])
