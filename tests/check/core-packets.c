/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets through a channel: where a subscriber starts, what it is told when it is too slow, and what comes between the packets. */
#include <errno.h>
#include <stdlib.h>

#include "core-fixture.h"

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

static const FixtureTest tests[] = {
  {"packets arrive in order and whole", packets_arrive_whole},
};

FIXTURE_MAIN (tests, NULL, 0)
