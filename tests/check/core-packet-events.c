/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What comes between the packets: events, formats and the end of the stream in their place. */
#include <errno.h>
#include <stdlib.h>

#include "core-fixture.h"

static CuframesPublisherStats
get_stats (const Source *source)
{
  CuframesPublisherStats stats;

  cuframes_publisher_get_stats (source->publisher, &stats);
  return stats;
}

static int
send_text (Source *source, uint64_t sticky_key, const char *text)
{
  return cuframes_publisher_send_event (source->publisher, CUFRAMES_EVENT_GST, sticky_key, text, strlen (text));
}

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
  CHECK_EQUAL (source_publish_story (&source, "K"), 1);
  CHECK_EQUAL (send_text (&source, 0, "b"), 0);
  CHECK_EQUAL (send_text (&source, 0, "c"), 0);
  CHECK_EQUAL (source_publish_story (&source, ".."), 2);
  CHECK_EQUAL (send_text (&source, 0, "d"), 0);
  CHECK_EQUAL (source_start_packets (&source, 64, 1 << 20, "q"), 0);
  CHECK_EQUAL (send_text (&source, 0, "e"), 0);
  CHECK_EQUAL (source_publish_story (&source, "HK"), 2);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  CHECK_STORY (subscriber, "C early R a P b c P P d R e P P E ");
  CHECK_EQUAL (source_publish_story (&source, "."), 1);
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
  subscriber = sink_open_packets (NULL);
  REQUIRE (subscriber != NULL);
  CHECK_EQUAL (source_publish_story (&source, ".."), 2);
  CHECK_EQUAL (send_text (&source, 0, "a"), 0);
  CHECK_EQUAL (source_publish_story (&source, "..."), 3);
  CHECK_EQUAL (cuframes_publisher_send_event (source.publisher, CUFRAMES_EVENT_EOS, 0, NULL, 0), 0);
  CHECK_STORY (subscriber, "a E ");
  CHECK_EQUAL (source_start_packets (&source, 64, 1 << 20, "q"), 0);
  CHECK_EQUAL (source_publish_story (&source, "K."), 2);
  CHECK_STORY (subscriber, "R P P ");
  cuframes_subscriber_free (subscriber);
  source_close (&source);
}

static void
the_end_of_a_stream_comes_behind_its_packets (void)
{
  CuframesSubscriber *subscriber;
  Source source;

  REQUIRE (source_open_stream (&source, NULL, 64, 1 << 20, 14));
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
  subscriber = sink_open_packets (NULL);
  REQUIRE (subscriber != NULL);
  for (unsigned i = 0; i < 100; i++) {
    CHECK_EQUAL (source_publish_stream (&source, 1, PACKET_GOP, PACKET_SMALL_BYTES), 1);
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

/* A reader of packets may be seconds behind; so may its events. */
static void
who_is_far_behind_has_its_events_in_place (void)
{
  const unsigned count = 3000;
  CuframesSubscriber *subscriber;
  CuframesItem item;
  Source source;
  unsigned events = 0, packets = 0;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_packets (&source, 4096, 8 << 20, "p") == 0);
  subscriber = sink_open_packets (NULL);
  REQUIRE (subscriber != NULL);
  for (unsigned i = 1; i <= count + 1; i++) {
    if (i <= count) {
      CHECK_EQUAL (source_publish_stream (&source, 1, PACKET_GOP, PACKET_SMALL_BYTES), 1);
      CHECK_EQUAL (send_text (&source, 0, "e"), 0);
    }
    if (i % 50 != 0 && i <= count)
      continue;
    while (cuframes_subscriber_next (subscriber, i <= count ? 0 : 20000000, &item) == 0) {
      events += item.kind == CUFRAMES_ITEM_EVENT;
      if (item.kind != CUFRAMES_ITEM_PACKET)
        continue;
      CHECK_EQUAL (sink_take (subscriber, &item), 0);
      CHECK_EQUAL (events, packets++);
      if (i <= count)
        break;
    }
  }
  CHECK_EQUAL (packets, count);
  CHECK_EQUAL (events, count);
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
  CHECK_EQUAL (source_publish_story (&source, "K.."), 3);
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

static const FixtureTest tests[] = {
  {"events keep their place among packets and formats", events_keep_their_place_among_packets},
  {"events come also while no key point does", events_come_also_while_no_key_point_does},
  {"the end of a stream comes behind the packets that are still there", the_end_of_a_stream_comes_behind_its_packets},
  {"who is overrun still gets every event, and in its place", who_is_overrun_still_gets_every_event},
  {"who is far behind has its events in place", who_is_far_behind_has_its_events_in_place},
  {"frames and packets follow each other on one channel", frames_and_packets_follow_each_other_on_one_channel},
};

FIXTURE_MAIN (tests, NULL, 0)
