/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What happens when slots run short, and what a subscriber may choose: overflow, leases, start, delivery. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"
#include "cuframes-layout.h"

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

/* A source with a ring and a subscriber that has the format. */
static bool
open_both (Source *source, const CuframesPublisherConfig *publisher, uint32_t slots, const CuframesSubscriberConfig *config,
    CuframesSubscriber **ret_subscriber)
{
  CuframesItem item;

  if (source_open (source, "cam", publisher) != 0 || source_start_ring (source, slots, 1, "one") != 0)
    return false;
  *ret_subscriber = sink_open ("cam", config);
  return *ret_subscriber != NULL && sink_expect (*ret_subscriber, CUFRAMES_ITEM_CONNECTED, &item)
      && sink_expect (*ret_subscriber, CUFRAMES_ITEM_FORMAT, &item);
}

static CuframesFrame *
take (CuframesSubscriber *subscriber)
{
  CuframesItem item;

  return sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item) ? item.frame : NULL;
}

static uint64_t
take_number (CuframesSubscriber *subscriber)
{
  CuframesFrame *frame = take (subscriber);
  const uint64_t number = frame == NULL || !frame_is_whole (frame) ? 0 : cuframes_frame_get_info (frame)->sequence;

  cuframes_frame_unref (frame);
  return number;
}

static void
drop_drops_the_new_frame (void)
{
  CuframesSubscriber *subscriber;
  CuframesFrame *frames[4];
  Source source;

  REQUIRE (open_both (&source, NULL, 5, NULL, &subscriber));
  for (int i = 0; i < 4; i++) {
    CHECK_EQUAL (source_publish (&source), 0);
    REQUIRE ((frames[i] = take (subscriber)) != NULL);
  }
  for (int i = 0; i < 100; i++)
    CHECK_EQUAL (source_publish (&source), CUFRAMES_E_FULL);
  CHECK_EQUAL (get_stats (&source).dropped, 100);
  CHECK_EQUAL (get_stats (&source).slots_leased, 4);
  for (int i = 0; i < 4; i++) {
    CHECK (frame_is_whole (frames[i]));
    cuframes_frame_unref (frames[i]);
    CHECK_EQUAL (source_publish (&source), 0);
  }
  CHECK_EQUAL (take_number (subscriber), 5);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
a_lossless_process_misses_nothing_across_formats (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_WAIT,.overflow_timeout_ns = FIXTURE_BOUND_NS };
  unsigned long long frames = 0, torn = 0, wrong = 0, missed = 0;
  const uint64_t count = fixture_is_slow () ? 1000 : 6000;
  char line[256], last[256] = "";
  Source source;
  Child runner;
  unsigned formats = 0;

  REQUIRE (source_open (&source, "cam", &config) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  child_start (&runner, NULL, "runner", "cam", "lossless", NULL);
  REQUIRE (child_read (&runner, line, sizeof line));
  for (uint64_t i = 0; i < count; i++) {
    if (i % 50 == 0)
      CHECK_EQUAL (source_start_ring (&source, 3 + (uint32_t) (i % 3), 1, "f"), 0);
    CHECK_EQUAL (source_publish (&source), 0);
  }
  source_close (&source);
  while (child_read (&runner, line, sizeof line)) {
    strcpy (last, line);
    formats++;
  }
  CHECK_EQUAL (child_wait (&runner), 0);
  CHECK (sscanf (last, "%llu %llu %llu %llu", &frames, &torn, &wrong, &missed) == 4);
  CHECK_EQUAL (frames, count);
  CHECK_EQUAL (missed, 0);
  CHECK_EQUAL (torn + wrong, 0);
  CHECK (formats > count / 50 / 2);
}

static void
wait_waits_no_longer_than_it_was_told (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_WAIT,.overflow_timeout_ns = 20000000 };
  const CuframesSubscriberConfig lossless = {.lossless = true };
  CuframesSubscriber *subscriber;
  CuframesFrame *frames[4];
  uint64_t start;
  Source source;

  REQUIRE (open_both (&source, &config, 6, &lossless, &subscriber));
  /* it takes nothing: after the time the oldest frame is overwritten */
  CHECK_EQUAL (source_publish_many (&source, 5), 5);
  start = fixture_now_ns ();
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK (fixture_now_ns () - start >= 20000000);
  CHECK (fixture_is_slow () || fixture_now_ns () - start < 200000000);
  /* it holds everything: after the time the frame is dropped */
  for (int i = 0; i < 4; i++)
    REQUIRE ((frames[i] = take (subscriber)) != NULL);
  CHECK_EQUAL (cuframes_frame_get_info (frames[0])->sequence, 2);
  CHECK_EQUAL (source_publish (&source), 0);
  start = fixture_now_ns ();
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK (fixture_now_ns () - start >= 20000000);
  for (int i = 0; i < 4; i++)
    cuframes_frame_unref (frames[i]);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

/* A producer that writes more frames at a time than the ring's reserve takes slots of frames that were published. */
static void
claims_beyond_the_reserve_wait_as_well (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_WAIT,.overflow_timeout_ns = 50000000 };
  const CuframesSubscriberConfig lossless = {.lossless = true };
  CuframesSubscriber *subscriber;
  uint64_t start;
  Source source;
  uint32_t slot;

  REQUIRE (open_both (&source, &config, 6, &lossless, &subscriber));
  CHECK_EQUAL (source_publish_many (&source, 4), 4);
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), 0);
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), 0);
  /* the four that are left have not been read */
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), CUFRAMES_E_FULL);
  CHECK_EQUAL (take_number (subscriber), 1);
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), 0);
  /* bit by bit, until its patience is at its end */
  start = fixture_now_ns ();
  while (cuframes_ring_claim (source.ring, 1000000, &slot) == CUFRAMES_E_FULL && fixture_now_ns () - start < FIXTURE_BOUND_NS)
    continue;
  CHECK (fixture_now_ns () - start >= 50000000);
  CHECK_EQUAL (take_number (subscriber), 3);
  /* who has left is not waited for */
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), 0);
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), CUFRAMES_E_FULL);
  subscriber = cuframes_subscriber_free (subscriber);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), 0);
  source_close (&source);
}

typedef struct
{
  Source *source;
  int result;
} Waiter;

static void *
publish_in_a_thread (void *user_data)
{
  Waiter *waiter = user_data;

  waiter->result = source_publish (waiter->source);
  return NULL;
}

static void
a_wait_for_room_can_be_ended (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_WAIT,.overflow_timeout_ns = CUFRAMES_NONE };
  const CuframesSubscriberConfig lossless = {.lossless = true };
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (open_both (&source, &config, 4, &lossless, &subscriber));
  CHECK_EQUAL (source_publish_many (&source, 3), 3);
  for (int by = 0; by < 3; by++) {
    Waiter waiter = { &source, 0 };
    pthread_t thread;
    CHECK (pthread_create (&thread, NULL, publish_in_a_thread, &waiter) == 0);
    fixture_yield ();
    if (by == 0)
      cuframes_publisher_set_flushing (source.publisher, true);
    else if (by == 1)
      cuframes_ring_set_flushing (source.ring, true);
    else
      CHECK_EQUAL (take_number (subscriber), 1);
    pthread_join (thread, NULL);
    CHECK_EQUAL (waiter.result, by == 2 ? 0 : CUFRAMES_E_CANCELLED);
    cuframes_publisher_set_flushing (source.publisher, false);
    cuframes_ring_set_flushing (source.ring, false);
  }
  CHECK_EQUAL (source.number, 4);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
evict_takes_the_holder_of_the_oldest_frame_off (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_EVICT };
  CuframesSubscriber *holder, *other;
  CuframesFrame *frames[4];
  CuframesItem item;
  Source source;

  REQUIRE (open_both (&source, &config, 5, NULL, &holder));
  other = sink_open ("cam", NULL);
  REQUIRE (other != NULL);
  for (int i = 0; i < 4; i++) {
    CHECK_EQUAL (source_publish (&source), 0);
    REQUIRE ((frames[i] = take (holder)) != NULL);
  }
  CHECK_EQUAL (source_publish (&source), CUFRAMES_E_HELD);
  CHECK_EQUAL (get_stats (&source).evicted, 1);
  CHECK_EQUAL (source_start_ring (&source, 5, 1, "two"), 0);
  CHECK_EQUAL (source_publish_many (&source, 100), 100);
  for (int i = 0; i < 4; i++)
    CHECK (frame_is_whole (frames[i]));
  CHECK (sink_expect (holder, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_EVICTED);
  while (sink_next (other, &item) == 0 && item.kind != CUFRAMES_ITEM_FORMAT)
    continue;
  CHECK (item.byte_count == 3 && memcmp (item.bytes, "one", 3) == 0);
  while (sink_next (other, &item) == 0 && item.kind != CUFRAMES_ITEM_FORMAT)
    cuframes_frame_unref (item.frame);
  CHECK (item.byte_count == 3 && memcmp (item.bytes, "two", 3) == 0);
  CHECK_EQUAL (take_number (other), 101);
  /* the evicted one may come back, and its old frames stay as they are */
  CHECK_EQUAL (cuframes_subscriber_connect (holder, FIXTURE_BOUND_NS), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  CHECK (sink_expect (holder, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (holder, CUFRAMES_ITEM_FORMAT, &item));
  CHECK (take_number (holder) >= 104);
  for (int i = 0; i < 4; i++) {
    CHECK (frame_is_whole (frames[i]));
    cuframes_frame_unref (frames[i]);
  }
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 2));
  cuframes_subscriber_free (holder);
  cuframes_subscriber_free (other);
  source_close (&source);
}

static void
evictions_keep_a_bounded_number_of_generations (void)
{
  const CuframesPublisherConfig config = {.overflow = CUFRAMES_OVERFLOW_EVICT };
  CuframesSubscriber *subscribers[4] = { NULL };
  CuframesFrame *frames[4][4];
  CuframesItem item;
  Source source;
  int opened = 0, r = CUFRAMES_E_HELD;

  REQUIRE (source_open (&source, "cam", &config) == 0);
  for (; opened < 4 && r == CUFRAMES_E_HELD; opened++) {
    CHECK_EQUAL (source_start_ring (&source, 5, 1, "f"), 0);
    subscribers[opened] = sink_open ("cam", NULL);
    REQUIRE (subscribers[opened] != NULL);
    CHECK (sink_expect (subscribers[opened], CUFRAMES_ITEM_CONNECTED, &item));
    CHECK (sink_expect (subscribers[opened], CUFRAMES_ITEM_FORMAT, &item));
    for (int i = 0; i < 4; i++) {
      CHECK_EQUAL (source_publish (&source), 0);
      REQUIRE ((frames[opened][i] = take (subscribers[opened])) != NULL);
    }
    r = source_publish (&source);
  }
  CHECK_EQUAL (r, CUFRAMES_E_FULL);
  CHECK (opened > 1);
  for (int s = 0; s < opened; s++) {
    for (int i = 0; i < 4; i++) {
      CHECK (frame_is_whole (frames[s][i]));
      cuframes_frame_unref (frames[s][i]);
    }
    cuframes_subscriber_free (subscribers[s]);
  }
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  CHECK_EQUAL (source_publish (&source), 0);
  source_close (&source);
}

static void
an_evicted_subscriber_hears_it_although_frames_go_on (void)
{
  CuframesSubscriberStats stats[2];
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (open_both (&source, NULL, 8, NULL, &subscriber));
  REQUIRE (cuframes_publisher_get_subscribers (source.publisher, stats, 2) == 1);
  CHECK_EQUAL (cuframes_publisher_evict (source.publisher, stats[0].id + 1), CUFRAMES_E_ABSENT);
  CHECK_EQUAL (cuframes_publisher_evict (source.publisher, stats[0].id), 0);
  CHECK_EQUAL (cuframes_publisher_evict (source.publisher, stats[0].id), CUFRAMES_E_ABSENT);
  CHECK_EQUAL (source_publish_many (&source, 3), 3);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_EVICTED);
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 0));
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
who_claims_every_slot_is_dropped (void)
{
  CuframesSubscriber *honest;
  CuframesLeasePage *page;
  CuframesFrame *held;
  Source source;
  Raw raw;

  REQUIRE (open_both (&source, NULL, 6, NULL, &honest));
  CHECK_EQUAL (source_publish (&source), 0);
  REQUIRE ((held = take (honest)) != NULL);
  REQUIRE (raw_join (&raw, "cam") && raw_ready (&raw, raw.generation));
  page = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, raw.fds[2], 0);
  REQUIRE (page != MAP_FAILED);
  atomic_store (&page->leases, UINT64_MAX);
  atomic_store (&page->lossless, UINT32_MAX);
  atomic_store (&page->cursor, UINT64_MAX / 2);
  CHECK_EQUAL (source_publish_many (&source, 50), 50);
  CHECK_EQUAL (get_stats (&source).dropped, 0);
  CHECK (raw_is_closed (raw.fd));
  CHECK (WAIT_UNTIL (get_stats (&source).subscribers == 1));
  CHECK (frame_is_whole (held));
  cuframes_frame_unref (held);
  CHECK (take_number (honest) > 1);
  munmap (page, 4096);
  raw_close (&raw);
  cuframes_subscriber_free (honest);
  source_close (&source);
}

static void
a_budget_used_up_is_told_and_nothing_is_lost_by_it (void)
{
  const CuframesSubscriberConfig config = {.max_leases = 2 };
  CuframesSubscriberCounters counters;
  CuframesSubscriber *subscriber;
  CuframesFrame *frames[2];
  CuframesItem item;
  Source source;

  REQUIRE (open_both (&source, NULL, 8, &config, &subscriber));
  CHECK_EQUAL (source_publish_many (&source, 4), 4);
  frames[0] = take (subscriber);
  frames[1] = take (subscriber);
  REQUIRE (frames[0] != NULL && frames[1] != NULL);
  CHECK_EQUAL (sink_next (subscriber, &item), CUFRAMES_E_HELD);
  /* a new format waits behind the frames of the old one */
  CHECK_EQUAL (source_start_ring (&source, 8, 1, "two"), 0);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  CHECK_EQUAL (sink_next (subscriber, &item), CUFRAMES_E_HELD);
  cuframes_frame_unref (frames[0]);
  CHECK_EQUAL (take_number (subscriber), 3);
  CHECK_EQUAL (take_number (subscriber), 4);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_EVENT, &item));
  cuframes_subscriber_get_counters (subscriber, &counters);
  CHECK_EQUAL (counters.missed, 0);
  CHECK_EQUAL (counters.delivered, 4);
  CHECK_EQUAL (counters.max_leases, 2);
  CHECK (frame_is_whole (frames[1]));
  cuframes_frame_unref (frames[1]);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
frames_of_older_generations_stay (void)
{
  CuframesSubscriber *subscriber;
  CuframesFrame *frames[20];
  CuframesItem item;
  Source source;

  REQUIRE (open_both (&source, NULL, 4, NULL, &subscriber));
  for (int i = 0; i < 20; i++) {
    CHECK_EQUAL (source_publish (&source), 0);
    REQUIRE ((frames[i] = take (subscriber)) != NULL);
    CHECK_EQUAL (source_start_ring (&source, 4, 1, "f"), 0);
    CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  }
  CHECK_EQUAL (source_publish_many (&source, 50), 50);
  for (int i = 0; i < 20; i++) {
    CHECK_EQUAL (cuframes_frame_get_info (frames[i])->sequence, i + 1);
    CHECK (frame_is_whole (frames[i]));
    cuframes_frame_unref (frames[i]);
  }
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
many_formats_at_once_end_with_the_newest (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item = { 0 };
  Source source;

  REQUIRE (open_both (&source, NULL, 4, NULL, &subscriber));
  for (int i = 0; i < 50; i++) {
    CHECK_EQUAL (source_start_ring (&source, 4, 1, i == 49 ? "last" : "other"), 0);
    CHECK_EQUAL (source_publish (&source), 0);
  }
  while (item.kind != CUFRAMES_ITEM_FRAME || item.info->sequence < 50) {
    cuframes_frame_unref (item.frame);
    REQUIRE (sink_next (subscriber, &item) == 0);
    if (item.kind == CUFRAMES_ITEM_FORMAT && item.byte_count == 4)
      CHECK (memcmp (item.bytes, "last", 4) == 0);
  }
  CHECK (frame_is_whole (item.frame));
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
the_start_is_as_chosen (void)
{
  static const CuframesStart starts[] = { CUFRAMES_START_LATEST, CUFRAMES_START_NEXT, CUFRAMES_START_OLDEST };
  static const uint64_t firsts[] = { 10, 11, 4 };
  CuframesSubscriberCounters counters;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 8, 1, "f") == 0);
  CHECK_EQUAL (source_publish_many (&source, 10), 10);
  for (int i = 0; i < 3; i++) {
    const CuframesSubscriberConfig config = {.start = starts[i] };
    CuframesSubscriber *subscriber = sink_open ("cam", &config);
    CuframesItem item;
    REQUIRE (subscriber != NULL);
    CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
    CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
    if (starts[i] == CUFRAMES_START_NEXT) {
      CHECK_EQUAL (cuframes_subscriber_try_next (subscriber, &item), CUFRAMES_E_EMPTY);
      CHECK_EQUAL (source_publish (&source), 0);
    }
    CHECK_EQUAL (take_number (subscriber), firsts[i] + (starts[i] == CUFRAMES_START_OLDEST));
    cuframes_subscriber_get_counters (subscriber, &counters);
    CHECK_EQUAL (counters.missed, 0);
    cuframes_subscriber_free (subscriber);
  }
  source_close (&source);
}

static void
latest_gives_the_newest_and_counts_the_rest (void)
{
  const CuframesSubscriberConfig config = {.delivery = CUFRAMES_DELIVERY_LATEST };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (open_both (&source, NULL, 8, &config, &subscriber));
  CHECK_EQUAL (source_publish_many (&source, 5), 5);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  CHECK_EQUAL (item.info->sequence, 5);
  CHECK_EQUAL (item.missed, 4);
  cuframes_frame_unref (item.frame);
  CHECK_EQUAL (cuframes_subscriber_try_next (subscriber, &item), CUFRAMES_E_EMPTY);
  CHECK_EQUAL (source_publish_many (&source, 1000), 1000);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  CHECK_EQUAL (item.info->sequence, 1005);
  CHECK_EQUAL (item.missed, 999);
  cuframes_frame_unref (item.frame);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
an_overrun_is_counted_and_goes_on_with_the_oldest (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (open_both (&source, NULL, 8, NULL, &subscriber));
  CHECK_EQUAL (source_publish_many (&source, 1000), 1000);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FRAME, &item));
  CHECK_EQUAL (item.info->sequence, 994);
  CHECK_EQUAL (item.missed, 993);
  cuframes_frame_unref (item.frame);
  for (uint64_t i = 995; i <= 1000; i++)
    CHECK_EQUAL (take_number (subscriber), i);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static const FixtureTest tests[] = {
  {"drop drops the new frame while all slots are held", drop_drops_the_new_frame},
  {"a lossless process misses nothing across a hundred formats", a_lossless_process_misses_nothing_across_formats},
  {"wait waits no longer than it was told", wait_waits_no_longer_than_it_was_told},
  {"claims beyond the reserve wait as well", claims_beyond_the_reserve_wait_as_well},
  {"a wait for room can be ended from outside", a_wait_for_room_can_be_ended},
  {"evict takes the holder of the oldest frame off and leaves it its frames", evict_takes_the_holder_of_the_oldest_frame_off},
  {"evictions keep a bounded number of generations", evictions_keep_a_bounded_number_of_generations},
  {"an evicted subscriber hears it although frames go on", an_evicted_subscriber_hears_it_although_frames_go_on},
  {"who claims every slot is dropped and nobody notices", who_claims_every_slot_is_dropped},
  {"a budget that is used up is told, and nothing is lost by it", a_budget_used_up_is_told_and_nothing_is_lost_by_it},
  {"frames of twenty generations stay while they are held", frames_of_older_generations_stay},
  {"of many formats at once the newest is reached", many_formats_at_once_end_with_the_newest},
  {"a subscriber starts with the newest, the next or the oldest frame", the_start_is_as_chosen},
  {"latest gives the newest frame and counts the rest", latest_gives_the_newest_and_counts_the_rest},
  {"an overrun is counted and goes on with the oldest frame", an_overrun_is_counted_and_goes_on_with_the_oldest},
};

FIXTURE_MAIN (tests, NULL, 0)
