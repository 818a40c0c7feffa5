/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets through a channel: where a subscriber starts, and what it is told when it is too slow. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "core-fixture.h"
#include "cuframes-publisher-private.h"

static void
packets_arrive_whole (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 64, 1 << 20, 40));
  subscriber = sink_open_packets (&config);
  REQUIRE (subscriber != NULL);
  for (uint64_t i = 1; i <= 40; i++)
    CHECK_EQUAL (sink_take_next (subscriber, NULL), i);
  CHECK_EQUAL (cuframes_subscriber_next (subscriber, 1000000, &item), CUFRAMES_E_TIMEOUT);
  CHECK_EQUAL (source_publish_packet (&source, 0, 0), 0);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 41);
  CHECK_EQUAL (source_publish_stream (&source, 2, PACKET_GOP, PACKET_SMALL_BYTES), 2);
  source_close (&source);
  /* what was published before the end still comes */
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 42);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 43);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_SHUTDOWN);
  cuframes_subscriber_free (subscriber);
}

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

static void
a_late_joiner_starts_at_the_newest_key_point (void)
{
  CuframesSubscriber *subscriber;
  uint64_t missed = 99;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 64, 1 << 20, "p") == 0);
  CHECK_EQUAL (source_publish_story (&source, "HK....H.HHK..."), 14);
  subscriber = sink_open_packets (NULL);
  REQUIRE (subscriber != NULL);
  /* with the headers that stand right before it */
  CHECK_EQUAL (sink_take_next (subscriber, &missed), 9);
  CHECK_EQUAL (missed, 0);
  for (uint64_t i = 10; i <= 14; i++)
    CHECK_EQUAL (sink_take_next (subscriber, NULL), i);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
the_oldest_start_gives_the_whole_ring (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriber *subscriber;
  uint64_t missed = 99;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 64, 1 << 20, 200));
  subscriber = sink_open_packets (&config);
  REQUIRE (subscriber != NULL);
  /* 64 packets are there, from 137 on; the first key point of those is 141 */
  CHECK_EQUAL (sink_take_next (subscriber, &missed), 141);
  CHECK_EQUAL (missed, 0);
  for (uint64_t i = 142; i <= 200; i++)
    CHECK_EQUAL (sink_take_next (subscriber, NULL), i);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
count_wish (void *user_data, bool all_headers)
{
  __atomic_fetch_add ((int *) user_data, all_headers ? 100 : 1, __ATOMIC_SEQ_CST);
}

static void
who_finds_no_key_point_may_ask_for_one (void)
{
  const CuframesSubscriberConfig next = {.start = CUFRAMES_START_NEXT };
  const CuframesPublisherCallbacks callbacks = {.keyframe_wanted = count_wish };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;
  int wishes = 0;
  const CuframesPublisherConfig config = {.callbacks = &callbacks,.user_data = &wishes };

  REQUIRE (source_open_stream (&source, &config, 64, 1 << 20, 5));
  subscriber = sink_open_packets (&next);
  REQUIRE (subscriber != NULL);
  CHECK (cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (source_publish_story (&source, "..."), 3);
  CHECK_EQUAL (cuframes_subscriber_next (subscriber, 1000000, &item), CUFRAMES_E_TIMEOUT);
  CHECK (cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (cuframes_subscriber_take_packet (subscriber, NULL, NULL), -EINVAL);
  CHECK_EQUAL (cuframes_subscriber_request_keyframe (subscriber, true), 0);
  CHECK (WAIT_UNTIL (__atomic_load_n (&wishes, __ATOMIC_SEQ_CST) == 100));
  CHECK_EQUAL (source_publish_story (&source, "HK."), 3);
  CHECK (!cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 9);
  CHECK (!cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 10);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 11);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
what_is_overwritten_while_it_is_read_is_not_used (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriberCounters counters;
  CuframesSubscriber *subscriber;
  CuframesItem item;
  uint64_t missed = 0;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 32, 1 << 20, 5));
  subscriber = sink_open_packets (&config);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 1);
  REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item));
  CHECK_EQUAL (item.packet_info->sequence, 2);
  CHECK_EQUAL (source_publish_stream (&source, 90, PACKET_GOP, PACKET_SMALL_BYTES), 90);
  CHECK_EQUAL (sink_take (subscriber, &item), -EAGAIN);
  CHECK_EQUAL (cuframes_subscriber_take_packet (subscriber, NULL, NULL), -EINVAL);
  CHECK (!cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (sink_take_next (subscriber, &missed), 91);
  CHECK_EQUAL (missed, 89);
  for (uint64_t i = 92; i <= 95; i++)
    CHECK_EQUAL (sink_take_next (subscriber, &missed), i);
  CHECK_EQUAL (missed, 0);
  cuframes_subscriber_get_counters (subscriber, &counters);
  CHECK_EQUAL (counters.delivered, 6);
  CHECK_EQUAL (counters.missed, 89);
  CHECK_EQUAL (counters.cursor, 95);
  CHECK_EQUAL (counters.head, 95);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
what_is_not_taken_is_passed_over (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriberCounters counters;
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 32, 1 << 20, 6));
  subscriber = sink_open_packets (&config);
  REQUIRE (subscriber != NULL);
  for (uint64_t i = 1; i <= 4; i++) {
    REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item));
    CHECK_EQUAL (item.packet_info->sequence, i);
    CHECK_EQUAL (item.missed, 0);
  }
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 5);
  CHECK_EQUAL (cuframes_subscriber_take_packet (subscriber, NULL, NULL), -EINVAL);
  REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item));
  CHECK_EQUAL (cuframes_subscriber_take_packet (subscriber, NULL, NULL), 0);
  cuframes_subscriber_get_counters (subscriber, &counters);
  CHECK_EQUAL (counters.delivered, 2);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
packets_that_are_too_large_are_refused (void)
{
  const CuframesPacketInfo wrong = {.size_bytes = 10 };
  const struct iovec piece = { (void *) "abc", 3 };
  CuframesSubscriber *subscriber;
  CuframesRing *other = NULL;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 64, 16 << 20, "p") == 0);
  subscriber = sink_open_packets (NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (cuframes_ring_get_packet_limit (source.ring), 4 << 20);
  CHECK_EQUAL (source_publish_packet (&source, (4 << 20) + 1, CUFRAMES_PACKET_KEY), CUFRAMES_E_FULL);
  CHECK_EQUAL (get_stats (&source).dropped, 1);
  CHECK_EQUAL (get_stats (&source).frames, 0);
  /* a key picture of a 4K camera, and the largest that goes */
  CHECK_EQUAL (source_publish_packet (&source, 3 << 20, CUFRAMES_PACKET_KEY), 0);
  CHECK_EQUAL (source_publish_packet (&source, 4 << 20, 0), 0);
  CHECK_EQUAL (cuframes_publisher_publish_packet (source.publisher, source.ring, &wrong, &piece, 1, NULL, NULL), -EINVAL);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 1);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 2);
  CHECK_EQUAL (get_stats (&source).bytes, 7 << 20);
  /* a ring that is not the current one */
  REQUIRE (cuframes_ring_new_packets (&(CuframesPacketRingConfig) { 0 }, &other) == 0);
  CHECK_EQUAL (cuframes_publisher_publish_packet (source.publisher, other, &(CuframesPacketInfo) { 0 }, NULL, 0, NULL, NULL), CUFRAMES_E_ABSENT);
  CHECK_EQUAL (cuframes_ring_get_packet_limit (other), 8 << 20);
  cuframes_ring_unref (other);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
sizes_out_of_range_are_refused (void)
{
  static const CuframesPacketRingConfig bad[] = { {.index_size = (1u << 20) + 1}, {.data_bytes = (UINT64_C (1) << 32) + 1}, {.data_bytes = UINT64_MAX} };
  const CuframesPacketRingConfig long_format = {.format = "f",.format_bytes = CUFRAMES_FORMAT_BYTES_MAX + 1 };
  const CuframesPacketRingConfig odd = {.index_size = 17,.data_bytes = 5000 };
  CuframesRing *ring = NULL;
  uint32_t slot;

  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
    CHECK_EQUAL (cuframes_ring_new_packets (&bad[i], &ring), -EINVAL);
  CHECK_EQUAL (cuframes_ring_new_packets (&long_format, &ring), -EMSGSIZE);
  CHECK (ring == NULL);
  REQUIRE (cuframes_ring_new_packets (&odd, &ring) == 0);
  CHECK_EQUAL (cuframes_ring_get_packet_limit (ring), 2048);
  CHECK_EQUAL (cuframes_ring_get_kind (ring), CUFRAMES_RING_PACKETS);
  CHECK_EQUAL (ring->message.slot_count, 32);
  /* it has no slots */
  CHECK_EQUAL (cuframes_ring_claim (ring, 0, &slot), CUFRAMES_E_FULL);
  CHECK (!cuframes_ring_is_claimed (ring, 0));
  cuframes_ring_unref (ring);
}

static void
an_event_loop_is_woken_once_for_each_packet (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_NEXT };
  struct pollfd polled = {.events = POLLIN };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 64, 1 << 20, "p") == 0);
  subscriber = sink_open_packets (&config);
  REQUIRE (subscriber != NULL);
  /* the first three are no key point: they wake, and nothing comes */
  for (const char *packet = "...K.."; *packet != 0; packet++) {
    int r, taken = 0;
    while (cuframes_subscriber_arm (subscriber) == 0)
      CHECK_EQUAL (cuframes_subscriber_try_next (subscriber, &item), CUFRAMES_E_EMPTY);
    polled.fd = cuframes_subscriber_peek_fd (subscriber);
    CHECK_EQUAL (poll (&polled, 1, 0), 0);
    CHECK_EQUAL (source_publish_story (&source, (char[]) { *packet, 0 }), 1);
    CHECK_EQUAL (poll (&polled, 1, (int) (FIXTURE_BOUND_NS / 1000000u)), 1);
    while ((r = cuframes_subscriber_try_next (subscriber, &item)) == 0)
      taken += sink_take (subscriber, &item) == 0;
    CHECK_EQUAL (r, CUFRAMES_E_EMPTY);
    CHECK_EQUAL (taken, source.number > 3);
  }
  CHECK_EQUAL (get_stats (&source).wakeups, 6);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
statistics_tell_of_packets (void)
{
  CuframesSubscriberStats subscribers[4];
  CuframesPublisherStats seen;
  CuframesSubscriber *subscriber;
  Source source;
  uint64_t bytes = 0;
  uint32_t count = 0;

  REQUIRE (source_open_stream (&source, NULL, 64, 1 << 20, 20));
  subscriber = sink_open_packets (NULL);
  REQUIRE (subscriber != NULL);
  for (uint64_t i = 11; i <= 15; i++)
    CHECK_EQUAL (sink_take_next (subscriber, NULL), i);
  for (uint64_t i = 1; i <= 20; i++)
    bytes += stream_packet_bytes (i, PACKET_GOP, PACKET_SMALL_BYTES);
  REQUIRE (cuframes_observe (fixture_socket ("cam"), FIXTURE_BOUND_NS, &seen, subscribers, 4, &count) == 0);
  CHECK_EQUAL (seen.ring_kind, CUFRAMES_RING_PACKETS);
  CHECK_EQUAL (seen.memory_kind, CUFRAMES_MEMORY_HOST);
  CHECK_EQUAL (seen.slots, 64);
  CHECK_EQUAL (seen.frames, 20);
  CHECK_EQUAL (seen.bytes, bytes);
  CHECK_EQUAL (seen.slots_leased, 0);
  CHECK (seen.last_publish_ns > 0 && seen.last_publish_ns <= fixture_now_ns ());
  CHECK (seen.memory_bytes > 1 << 20 && seen.memory_bytes < (1 << 20) + 65536);
  REQUIRE (count == 2);
  CHECK_EQUAL (subscribers[0].delivered, 5);
  CHECK_EQUAL (subscribers[0].missed, 0);
  CHECK_EQUAL (subscribers[0].lag_frames, 5);
  CHECK_EQUAL (source_publish_stream (&source, 100, PACKET_GOP, PACKET_SMALL_BYTES), 100);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 111);
  CHECK (cuframes_publisher_get_subscribers (source.publisher, subscribers, 4) >= 1);
  CHECK_EQUAL (subscribers[0].delivered, 6);
  CHECK_EQUAL (subscribers[0].missed, 95);
  CHECK_EQUAL (subscribers[0].lag_frames, 9);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

/* Numbers and positions go over 2^32 and 2^64, with a reader that is overrun across it. */
static void
numbers_run_over (void)
{
  static const uint64_t starts[] = { UINT64_MAX - 20, UINT32_MAX - UINT64_C (20), (UINT64_C (1) << 63) - 20 };

  for (size_t i = 0; i < 3; i++) {
    const CuframesPublisherConfig config = {.first_sequence = starts[i] };
    const CuframesSubscriberConfig oldest = {.start = CUFRAMES_START_OLDEST };
    CuframesPacketRingConfig ring_config = {.index_size = 32,.data_bytes = 65536 };
    CuframesSubscriber *subscriber;
    CuframesRing *ring = NULL;
    uint64_t missed = 0;
    Source source;
    REQUIRE (source_open (&source, "cam", &config) == 0 && cuframes_ring_new_packets (&ring_config, &ring) == 0);
    ring->packets.position_bytes = (starts[i] - 1000) & ~UINT64_C (7);
    source.publisher->event_serial = UINT64_MAX - 3;
    REQUIRE (cuframes_publisher_announce_ring (source.publisher, ring) == 0);
    source.ring = ring;
    subscriber = sink_open ("cam", &oldest);
    REQUIRE (subscriber != NULL);
    CHECK_STORY (subscriber, "C R ");
    CHECK_EQUAL (source_publish_story (&source, "K........."), 10);
    for (uint64_t n = 1; n <= 10; n++)
      CHECK_EQUAL (sink_take_next (subscriber, NULL), starts[i] + n);
    for (uint64_t n = 11; n <= 40; n++) {
      CHECK_EQUAL (source_publish_story (&source, n == 35 ? "K" : "."), 1);
      if (n % 5 == 0)
        CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_GST, 0, "e", 1), 0);
      if (n == 20)
        CHECK_STORY (subscriber, "P P P P P e P P P P P e ");
    }
    CHECK_STORY (subscriber, "P P P P P e P P P P P e P P P P P e P P P P P e ");
    for (uint64_t n = 41; n <= 200; n++)
      CHECK_EQUAL (source_publish_story (&source, n % 10 == 1 ? "K" : "."), 1);
    CHECK_EQUAL (sink_take_next (subscriber, &missed), starts[i] + 191);
    CHECK_EQUAL (missed, 150);
    cuframes_subscriber_free (subscriber);
    source_close (&source);
  }
}

static void
two_subscribers_are_each_where_they_are (void)
{
  const CuframesSubscriberConfig oldest = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriber *first, *second;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 64, 1 << 20, 15));
  first = sink_open_packets (&oldest);
  second = sink_open_packets (NULL);
  REQUIRE (first != NULL && second != NULL);
  for (uint64_t i = 1; i <= 15; i++) {
    CHECK_EQUAL (sink_take_next (first, NULL), i);
    if (i > 10)
      CHECK_EQUAL (sink_take_next (second, NULL), i);
  }
  first = cuframes_subscriber_free (first);
  CHECK_EQUAL (source_publish_stream (&source, 1, PACKET_GOP, PACKET_SMALL_BYTES), 1);
  CHECK_EQUAL (sink_take_next (second, NULL), 16);
  cuframes_subscriber_free (second);
  source_close (&source);
}

/* Memory that a subscriber takes frames in says nothing of packets. */
static void
packets_go_to_who_takes_frames_of_a_gpu_alone (void)
{
  const CuframesSubscriberConfig config = {.memory_kinds = 1u << CUFRAMES_MEMORY_CUDA };
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 64, 1 << 20, 1));
  subscriber = sink_open_packets (&config);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (sink_take_next (subscriber, NULL), 1);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static const FixtureTest tests[] = {
  {"packets arrive in order and whole", packets_arrive_whole},
  {"a late joiner starts at the newest key point, with its headers", a_late_joiner_starts_at_the_newest_key_point},
  {"the oldest start gives the whole ring", the_oldest_start_gives_the_whole_ring},
  {"who finds no key point may ask for one", who_finds_no_key_point_may_ask_for_one},
  {"what is overwritten while it is read is not used, and counts as missed", what_is_overwritten_while_it_is_read_is_not_used},
  {"what is not taken is passed over", what_is_not_taken_is_passed_over},
  {"packets that are too large are refused, a key picture of 3 MB is not", packets_that_are_too_large_are_refused},
  {"sizes out of range are refused", sizes_out_of_range_are_refused},
  {"an event loop is woken once for each packet and quiet in between", an_event_loop_is_woken_once_for_each_packet},
  {"statistics tell of packets", statistics_tell_of_packets},
  {"numbers and positions run over", numbers_run_over},
  {"two subscribers are each where they are", two_subscribers_are_each_where_they_are},
  {"packets go to who takes frames of a GPU alone", packets_go_to_who_takes_frames_of_a_gpu_alone},
};

FIXTURE_MAIN (tests, NULL, 0)
