/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets through a channel: where a subscriber starts, what it is told when it is too slow, and what comes between the packets. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "core-fixture.h"
#include "cuframes-publisher-private.h"

#define GOP 10
#define SMALL_BYTES 1000u

/* A ring of packets on a new channel, with so many packets in it. */
static bool
open_stream (Source *source, const CuframesPublisherConfig *config, uint32_t index_size, uint64_t data_bytes, uint64_t count)
{
  return source_open (source, "cam", config) == 0 && source_start_packets (source, index_size, data_bytes, "p") == 0
      && source_publish_stream (source, count, GOP, SMALL_BYTES) == (int) count;
}

/* Connected and with the format, which is one of packets. */
static CuframesSubscriber *
open_sink (const CuframesSubscriberConfig *config)
{
  CuframesSubscriber *subscriber = sink_open ("cam", config);
  CuframesItem item;

  if (subscriber == NULL)
    return NULL;
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_CONNECTED, &item));
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_FORMAT, &item));
  CHECK_EQUAL (item.ring_kind, CUFRAMES_RING_PACKETS);
  CHECK_EQUAL (item.byte_count, 1);
  return subscriber;
}

/* The next packet, whole; its number, or 0. */
static uint64_t
take (CuframesSubscriber *subscriber, uint64_t *ret_missed)
{
  CuframesItem item;

  if (!sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item) || sink_take (subscriber, &item) != 0)
    return 0;
  if (ret_missed != NULL)
    *ret_missed = item.missed;
  return item.packet_info->sequence;
}

static void
packets_arrive_whole (void)
{
  const CuframesSubscriberConfig config = {.start = CUFRAMES_START_OLDEST };
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;

  REQUIRE (open_stream (&source, NULL, 64, 1 << 20, 40));
  subscriber = open_sink (&config);
  REQUIRE (subscriber != NULL);
  for (uint64_t i = 1; i <= 40; i++)
    CHECK_EQUAL (take (subscriber, NULL), i);
  CHECK_EQUAL (cuframes_subscriber_next (subscriber, 1000000, &item), CUFRAMES_E_TIMEOUT);
  CHECK_EQUAL (source_publish_packet (&source, 0, 0), 0);
  CHECK_EQUAL (take (subscriber, NULL), 41);
  CHECK_EQUAL (source_publish_stream (&source, 2, GOP, SMALL_BYTES), 2);
  source_close (&source);
  /* what was published before the end still comes */
  CHECK_EQUAL (take (subscriber, NULL), 42);
  CHECK_EQUAL (take (subscriber, NULL), 43);
  CHECK (sink_expect (subscriber, CUFRAMES_ITEM_DISCONNECTED, &item));
  CHECK_EQUAL (item.bye, CUFRAMES_BYE_SHUTDOWN);
  cuframes_subscriber_free (subscriber);
}

/* KEY and HEADER flags as letters, "." for neither; every packet small. How many were published. */
static int
publish_story (Source *source, const char *story)
{
  int published = 0;

  for (; *story != 0; story++)
    published += source_publish_packet (source, 100, *story == 'K' ? CUFRAMES_PACKET_KEY : *story == 'H' ? CUFRAMES_PACKET_HEADER : 0) == 0;
  return published;
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
  CHECK_EQUAL (publish_story (&source, "HK....H.HHK..."), 14);
  subscriber = open_sink (NULL);
  REQUIRE (subscriber != NULL);
  /* with the headers that stand right before it */
  CHECK_EQUAL (take (subscriber, &missed), 9);
  CHECK_EQUAL (missed, 0);
  for (uint64_t i = 10; i <= 14; i++)
    CHECK_EQUAL (take (subscriber, NULL), i);
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

  REQUIRE (open_stream (&source, NULL, 64, 1 << 20, 200));
  subscriber = open_sink (&config);
  REQUIRE (subscriber != NULL);
  /* 64 packets are there, from 137 on; the first key point of those is 141 */
  CHECK_EQUAL (take (subscriber, &missed), 141);
  CHECK_EQUAL (missed, 0);
  for (uint64_t i = 142; i <= 200; i++)
    CHECK_EQUAL (take (subscriber, NULL), i);
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

  REQUIRE (open_stream (&source, &config, 64, 1 << 20, 5));
  subscriber = open_sink (&next);
  REQUIRE (subscriber != NULL);
  CHECK (cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (publish_story (&source, "..."), 3);
  CHECK_EQUAL (cuframes_subscriber_next (subscriber, 1000000, &item), CUFRAMES_E_TIMEOUT);
  CHECK (cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (cuframes_subscriber_take_packet (subscriber, NULL, NULL), -EINVAL);
  CHECK_EQUAL (cuframes_subscriber_request_keyframe (subscriber, true), 0);
  CHECK (WAIT_UNTIL (__atomic_load_n (&wishes, __ATOMIC_SEQ_CST) == 100));
  CHECK_EQUAL (publish_story (&source, "HK."), 3);
  CHECK (!cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (take (subscriber, NULL), 9);
  CHECK (!cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (take (subscriber, NULL), 10);
  CHECK_EQUAL (take (subscriber, NULL), 11);
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

  REQUIRE (open_stream (&source, NULL, 32, 1 << 20, 5));
  subscriber = open_sink (&config);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (take (subscriber, NULL), 1);
  REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item));
  CHECK_EQUAL (item.packet_info->sequence, 2);
  CHECK_EQUAL (source_publish_stream (&source, 90, GOP, SMALL_BYTES), 90);
  CHECK_EQUAL (sink_take (subscriber, &item), -EAGAIN);
  CHECK_EQUAL (cuframes_subscriber_take_packet (subscriber, NULL, NULL), -EINVAL);
  CHECK (!cuframes_subscriber_is_syncing (subscriber));
  CHECK_EQUAL (take (subscriber, &missed), 91);
  CHECK_EQUAL (missed, 89);
  for (uint64_t i = 92; i <= 95; i++)
    CHECK_EQUAL (take (subscriber, &missed), i);
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

  REQUIRE (open_stream (&source, NULL, 32, 1 << 20, 6));
  subscriber = open_sink (&config);
  REQUIRE (subscriber != NULL);
  for (uint64_t i = 1; i <= 4; i++) {
    REQUIRE (sink_expect (subscriber, CUFRAMES_ITEM_PACKET, &item));
    CHECK_EQUAL (item.packet_info->sequence, i);
    CHECK_EQUAL (item.missed, 0);
  }
  CHECK_EQUAL (take (subscriber, NULL), 5);
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
  subscriber = open_sink (NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (cuframes_ring_get_packet_limit (source.ring), 4 << 20);
  CHECK_EQUAL (source_publish_packet (&source, (4 << 20) + 1, CUFRAMES_PACKET_KEY), CUFRAMES_E_FULL);
  CHECK_EQUAL (get_stats (&source).dropped, 1);
  CHECK_EQUAL (get_stats (&source).frames, 0);
  /* a key picture of a 4K camera, and the largest that goes */
  CHECK_EQUAL (source_publish_packet (&source, 3 << 20, CUFRAMES_PACKET_KEY), 0);
  CHECK_EQUAL (source_publish_packet (&source, 4 << 20, 0), 0);
  CHECK_EQUAL (cuframes_publisher_publish_packet (source.publisher, source.ring, &wrong, &piece, 1, NULL, NULL), -EINVAL);
  CHECK_EQUAL (take (subscriber, NULL), 1);
  CHECK_EQUAL (take (subscriber, NULL), 2);
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

static int
send_text (Source *source, uint64_t sticky_key, const char *text)
{
  return cuframes_publisher_send_event (source->publisher, CUFRAMES_EVENT_GST, sticky_key, text, strlen (text));
}

/* "P" a packet, "F" a frame, "R" a format, "C" connected, "D" the end, "E" the end of the stream, "!" what is torn, else an event's text; as many
 * as there are at once. */
static void
describe (CuframesSubscriber *subscriber, char *story, size_t story_bytes)
{
  CuframesItem item;

  story[0] = 0;
  while (cuframes_subscriber_next (subscriber, 20000000, &item) == 0 && strlen (story) + 32 < story_bytes) {
    char *end = story + strlen (story);
    if (item.kind == CUFRAMES_ITEM_EVENT && item.event_kind == CUFRAMES_EVENT_EOS)
      strcpy (end, "E ");
    else if (item.kind == CUFRAMES_ITEM_EVENT)
      snprintf (end, 32, "%.*s ", (int) item.byte_count, (const char *) item.bytes);
    else if (item.kind == CUFRAMES_ITEM_PACKET)
      strcpy (end, sink_take (subscriber, &item) == 0 ? "P " : "! ");
    else if (item.kind == CUFRAMES_ITEM_FRAME)
      strcpy (end, frame_is_whole (item.frame) ? "F " : "! ");
    else
      strcpy (end, item.kind == CUFRAMES_ITEM_CONNECTED ? "C " : item.kind == CUFRAMES_ITEM_FORMAT ? "R " : "D ");
    cuframes_frame_unref (item.frame);
  }
}

#define CHECK_STORY(subscriber, expected) \
  do { \
    char story_[1024]; \
    describe (subscriber, story_, sizeof story_); \
    if (strcmp (story_, expected) != 0) { \
      fprintf (stderr, "  the story is \"%s\"\n", story_); \
      fixture_fail (__FILE__, __LINE__, __func__, "it is \"" expected "\""); \
    } \
  } while (0)

static void
events_keep_their_place_among_packets (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (send_text (&source, 0, "early"), 0);
  CHECK_EQUAL (source_start_packets (&source, 64, 1 << 20, "p"), 0);
  CHECK_EQUAL (send_text (&source, 0, "a"), 0);
  CHECK_EQUAL (publish_story (&source, "K"), 1);
  CHECK_EQUAL (send_text (&source, 0, "b"), 0);
  CHECK_EQUAL (send_text (&source, 0, "c"), 0);
  CHECK_EQUAL (publish_story (&source, ".."), 2);
  CHECK_EQUAL (send_text (&source, 0, "d"), 0);
  CHECK_EQUAL (source_start_packets (&source, 64, 1 << 20, "q"), 0);
  CHECK_EQUAL (send_text (&source, 0, "e"), 0);
  CHECK_EQUAL (publish_story (&source, "HK"), 2);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  CHECK_STORY (subscriber, "C early R a P b c P P d R e P P E ");
  CHECK_EQUAL (publish_story (&source, "."), 1);
  CHECK_EQUAL (send_text (&source, 0, "last"), 0);
  source_close (&source);
  CHECK_STORY (subscriber, "P last D ");
  cuframes_subscriber_free (subscriber);
}

static void
events_come_also_while_no_key_point_does (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 64, 1 << 20, "p") == 0);
  subscriber = open_sink (NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (publish_story (&source, ".."), 2);
  CHECK_EQUAL (send_text (&source, 0, "a"), 0);
  CHECK_EQUAL (publish_story (&source, "..."), 3);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  CHECK_STORY (subscriber, "a E ");
  CHECK_EQUAL (source_start_packets (&source, 64, 1 << 20, "q"), 0);
  CHECK_EQUAL (publish_story (&source, "K."), 2);
  CHECK_STORY (subscriber, "R P P ");
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
the_end_of_a_stream_comes_behind_its_packets (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (open_stream (&source, NULL, 64, 1 << 20, 14));
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 1, NULL, 0), 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_STORY (subscriber, "C R P P P P E ");
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
who_is_overrun_still_gets_every_event (void)
{
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;
  unsigned events = 0, packets = 0;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 16, 1 << 20, "p") == 0);
  subscriber = open_sink (NULL);
  REQUIRE (subscriber != NULL);
  for (unsigned i = 0; i < 100; i++) {
    CHECK_EQUAL (source_publish_stream (&source, 1, GOP, SMALL_BYTES), 1);
    CHECK_EQUAL (send_text (&source, 0, "e"), 0);
  }
  while (cuframes_subscriber_next (subscriber, 20000000, &item) == 0) {
    events += item.kind == CUFRAMES_ITEM_EVENT;
    if (item.kind != CUFRAMES_ITEM_PACKET)
      continue;
    CHECK_EQUAL (events, item.packet_info->sequence - 1);
    CHECK_EQUAL (sink_take (subscriber, &item), 0);
    packets++;
  }
  CHECK_EQUAL (events, 100);
  CHECK_EQUAL (packets, 10);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
frames_and_packets_follow_each_other_on_one_channel (void)
{
  CuframesSubscriber *subscriber;
  CuframesFrameInfo frame = { 0 };
  uint32_t slot;
  Source source;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, "f") == 0);
  subscriber = sink_open ("cam", NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_STORY (subscriber, "C R F F ");
  CHECK_EQUAL (get_stats (&source).ring_kind, CUFRAMES_RING_FRAMES);
  CHECK_EQUAL (source_start_packets (&source, 64, 1 << 20, "p"), 0);
  CHECK_EQUAL (get_stats (&source).ring_kind, CUFRAMES_RING_PACKETS);
  /* each kind of ring takes its own kind alone */
  CHECK_EQUAL (cuframes_publisher_publish (source.publisher, source.ring, 0, &frame, NULL), -EINVAL);
  CHECK_EQUAL (publish_story (&source, "K.."), 3);
  CHECK_STORY (subscriber, "R P P P ");
  CHECK_EQUAL (source_start_ring (&source, 4, 1, "f"), 0);
  CHECK_EQUAL (source_publish_packet (&source, 10, 0), -EINVAL);
  CHECK_EQUAL (cuframes_ring_claim (source.ring, 0, &slot), 0);
  cuframes_ring_release (source.ring, slot);
  CHECK_EQUAL (source_publish_many (&source, 2), 2);
  CHECK_STORY (subscriber, "R F F ");
  CHECK_EQUAL (get_stats (&source).frames, 7);
  cuframes_subscriber_free (subscriber);
  source_close (&source);
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
  subscriber = open_sink (&config);
  REQUIRE (subscriber != NULL);
  /* the first three are no key point: they wake, and nothing comes */
  for (const char *packet = "...K.."; *packet != 0; packet++) {
    int r, taken = 0;
    while (cuframes_subscriber_arm (subscriber) == 0)
      CHECK_EQUAL (cuframes_subscriber_try_next (subscriber, &item), CUFRAMES_E_EMPTY);
    polled.fd = cuframes_subscriber_peek_fd (subscriber);
    CHECK_EQUAL (poll (&polled, 1, 0), 0);
    CHECK_EQUAL (publish_story (&source, (char[]) { *packet, 0 }), 1);
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

  REQUIRE (open_stream (&source, NULL, 64, 1 << 20, 20));
  subscriber = open_sink (NULL);
  REQUIRE (subscriber != NULL);
  for (uint64_t i = 11; i <= 15; i++)
    CHECK_EQUAL (take (subscriber, NULL), i);
  for (uint64_t i = 1; i <= 20; i++)
    bytes += stream_packet_bytes (i, GOP, SMALL_BYTES);
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
  CHECK_EQUAL (source_publish_stream (&source, 100, GOP, SMALL_BYTES), 100);
  CHECK_EQUAL (take (subscriber, NULL), 111);
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
    CHECK_EQUAL (publish_story (&source, "K........."), 10);
    for (uint64_t n = 1; n <= 10; n++)
      CHECK_EQUAL (take (subscriber, NULL), starts[i] + n);
    for (uint64_t n = 11; n <= 40; n++) {
      CHECK_EQUAL (publish_story (&source, n == 35 ? "K" : "."), 1);
      if (n % 5 == 0)
        CHECK_EQUAL (send_text (&source, 0, "e"), 0);
      if (n == 20)
        CHECK_STORY (subscriber, "P P P P P e P P P P P e ");
    }
    CHECK_STORY (subscriber, "P P P P P e P P P P P e P P P P P e P P P P P e ");
    for (uint64_t n = 41; n <= 200; n++)
      CHECK_EQUAL (publish_story (&source, n % 10 == 1 ? "K" : "."), 1);
    CHECK_EQUAL (take (subscriber, &missed), starts[i] + 191);
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

  REQUIRE (open_stream (&source, NULL, 64, 1 << 20, 15));
  first = open_sink (&oldest);
  second = open_sink (NULL);
  REQUIRE (first != NULL && second != NULL);
  for (uint64_t i = 1; i <= 15; i++) {
    CHECK_EQUAL (take (first, NULL), i);
    if (i > 10)
      CHECK_EQUAL (take (second, NULL), i);
  }
  first = cuframes_subscriber_free (first);
  CHECK_EQUAL (source_publish_stream (&source, 1, GOP, SMALL_BYTES), 1);
  CHECK_EQUAL (take (second, NULL), 16);
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

  REQUIRE (open_stream (&source, NULL, 64, 1 << 20, 1));
  subscriber = open_sink (&config);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (take (subscriber, NULL), 1);
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
  {"events keep their place among packets and formats", events_keep_their_place_among_packets},
  {"events come also while no key point does", events_come_also_while_no_key_point_does},
  {"the end of a stream comes behind the packets that are still there", the_end_of_a_stream_comes_behind_its_packets},
  {"who is overrun still gets every event, and in its place", who_is_overrun_still_gets_every_event},
  {"frames and packets follow each other on one channel", frames_and_packets_follow_each_other_on_one_channel},
  {"an event loop is woken once for each packet and quiet in between", an_event_loop_is_woken_once_for_each_packet},
  {"statistics tell of packets", statistics_tell_of_packets},
  {"numbers and positions run over", numbers_run_over},
  {"two subscribers are each where they are", two_subscribers_are_each_where_they_are},
  {"packets go to who takes frames of a GPU alone", packets_go_to_who_takes_frames_of_a_gpu_alone},
};

FIXTURE_MAIN (tests, NULL, 0)
