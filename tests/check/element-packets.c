/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packets from a sink to a source: everything but raw video. What crosses, where a reader starts, and what becomes of one that is too slow. */
#define _GNU_SOURCE
#include "packet-pads.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TORN G_MAXUINT64

static void
part (Feeder * feeder, Catcher * catcher)
{
  CHECK (pipeline_is_well (feeder->pipeline));
  CHECK (pipeline_is_well (catcher->pipeline));
  catcher_close (catcher);
  feeder_close (feeder);
}

/* Small ones and now and then a large one; some lie in several memories. */
static GstBuffer *
make_mixed (guint64 number)
{
  const gboolean key = (number - 1) % PACKET_GOP == 0;
  const gsize size = key ? 200000 + number * 90000 % 1800001 : 200 + number * 7919 % 60000;
  GstBuffer *whole = packet_new (number, size, key), *parts;

  if (number % 3 != 0)
    return whole;
  parts = gst_buffer_copy_region (whole, GST_BUFFER_COPY_METADATA, 0, 0);
  for (gsize at = 0; at < size; at += size / 4 + 1)
    parts = gst_buffer_append (parts, gst_buffer_copy_region (whole, GST_BUFFER_COPY_MEMORY, at, MIN (size / 4 + 1, size - at)));
  gst_buffer_unref (whole);
  return parts;
}

static void
check_exact (GstBuffer * got, GstBuffer * sent)
{
  CHECK_EQUAL (GST_BUFFER_PTS (got), GST_BUFFER_PTS (sent));
  CHECK_EQUAL (GST_BUFFER_DTS (got), GST_BUFFER_DTS (sent));
  CHECK_EQUAL (GST_BUFFER_DURATION (got), GST_BUFFER_DURATION (sent));
  CHECK_EQUAL (GST_BUFFER_OFFSET (got), GST_BUFFER_OFFSET (sent));
  CHECK_EQUAL (GST_BUFFER_OFFSET_END (got), GST_BUFFER_OFFSET_END (sent));
  CHECK_EQUAL (gst_buffer_get_size (got), gst_buffer_get_size (sent));
  CHECK_EQUAL (GST_BUFFER_FLAGS (got) & ~(GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_TAG_MEMORY),
      GST_BUFFER_FLAGS (sent) & ~(GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_TAG_MEMORY));
}

static void
test_mixed_sizes (void)
{
  Feeder feeder;
  Catcher catcher;
  guint64 next = 1;

  REQUIRE (packet_feeder_open (&feeder, "", PACKET_CAPS));
  REQUIRE (catcher_open (&catcher, "timestamps=original"));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  for (guint64 i = 1; i <= 2000; i++) {
    REQUIRE (gst_pad_push (feeder.pad, make_mixed (i)) == GST_FLOW_OK);
    /* The reader is behind, but not by as much as the ring holds. */
    while (next + 6 < i || (i == 2000 && next <= i)) {
      GstBuffer *got, *sent = make_mixed (next);
      REQUIRE (packet_catcher_take (&catcher, &got) == next);
      check_exact (got, sent);
      CHECK_EQUAL (GST_BUFFER_FLAG_IS_SET (got, GST_BUFFER_FLAG_DISCONT), next == 1);
      gst_buffer_unref (got);
      gst_buffer_unref (sent);
      next++;
    }
  }
  CHECK_EQUAL (stat_of (catcher.element, "delivered"), 2000);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK_EQUAL (stat_of (catcher.element, "overruns"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "frames"), 2000);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  part (&feeder, &catcher);
}

/* Every gap begins at a key point and is counted; returns how many packets came and how many gaps. */
static guint
follow_gaps (Catcher * catcher, guint64 end, guint * gaps)
{
  guint64 first = 0, last = 0, missed = 0;
  gint64 overwritten;
  guint came = 0;

  *gaps = 0;
  while (last < end) {
    GstBuffer *buffer;
    const guint64 number = packet_catcher_take (catcher, &buffer);
    if (number == TORN || number <= last) {
      fixture_fail (__FILE__, __LINE__, __func__, "every packet is whole and later than the one before");
      gst_clear_buffer (&buffer);
      return came;
    }
    if (number != last + 1 && last > 0) {
      CHECK (packet_is_key (buffer));
      CHECK (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT));
      (*gaps)++;
      missed += number - last - 1;
    } else
      CHECK_EQUAL (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT), last == 0);
    gst_buffer_unref (buffer);
    if (last == 0)
      first = number;
    last = number;
    came++;
  }
  /* It began at a key point: at the first one that came, or at one before that, which was overwritten before it was taken. */
  overwritten = stat_of (catcher->element, "missed") - (gint64) missed;
  CHECK (overwritten >= 0 && overwritten < (gint64) first);
  CHECK_EQUAL (((gint64) first - overwritten - 1) % PACKET_GOP, 0);
  /* A packet with which it was to go on may be overwritten as well. */
  CHECK (stat_of (catcher->element, "overruns") >= *gaps);
  return came;
}

/* With a reader that takes one while the publisher writes many. */
static void
test_slow_reader (void)
{
  Feeder feeder;
  Catcher catcher;
  guint gaps, came;

  REQUIRE (packet_feeder_open (&feeder, "packet-ring-bytes=65536 packet-ring-packets=64", PACKET_CAPS));
  REQUIRE (catcher_open (&catcher, ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (packet_feeder_push (&feeder, 1, 1, 500) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (catcher.frames == 1));
  for (guint i = 0; i < 20; i++) {
    const guint seen = catcher.frames;
    catcher_block (&catcher, TRUE);
    CHECK (packet_feeder_push (&feeder, 2 + 100 * i, 100, 500) == GST_FLOW_OK);
    catcher_block (&catcher, FALSE);
    CHECK (WAIT_UNTIL (catcher.frames > seen && stat_of (catcher.element, "sequence") == 1 + 100 * (i + 1)));
  }
  came = follow_gaps (&catcher, 2001, &gaps);
  CHECK (came > 10 && came < 2001);
  CHECK (gaps > 10);
  part (&feeder, &catcher);
}

/* PROPERTIES COUNT SIZE: says "open", and pushes at a line. */
static int
play_packets (int argc, char **argv)
{
  Feeder feeder;
  char line[64];

  if (!packet_feeder_open (&feeder, argv[0], PACKET_CAPS))
    return 1;
  printf ("open\n");
  for (guint64 first = 1; fgets (line, sizeof line, stdin) != NULL; first += (guint64) atoi (argv[1]))
    printf ("pushed %d\n", packet_feeder_push (&feeder, first, (guint) atoi (argv[1]), (gsize) atoi (argv[2])));
  feeder_close (&feeder);
  return 0;
}

/* The publisher runs as fast as it can, in a small ring, in another process. */
static void
test_running_reader (void)
{
  Catcher catcher;
  Child child;
  guint gaps;

  child_start (&child, NULL, "packets", "packet-ring-bytes=65536", "20000", "3000", NULL);
  REQUIRE (child_expect (&child, "open"));
  REQUIRE (catcher_open (&catcher, ""));
  child_say (&child, "go");
  CHECK (follow_gaps (&catcher, 20000, &gaps) > 10);
  CHECK (child_expect (&child, "pushed 0"));
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
  CHECK_EQUAL (child_end (&child), 0);
}

/* Says what it gets; stopped, it costs nobody anything. */
static int
play_packet_reader (int argc, char **argv)
{
  Catcher catcher;
  guint64 number;

  if (!catcher_open (&catcher, argv[0]))
    return 1;
  while ((number = packet_catcher_take (&catcher, NULL)) != TORN)
    printf ("packet %" G_GUINT64_FORMAT "\n", number);
  catcher_close (&catcher);
  return 0;
}

static void
test_stopped_reader (void)
{
  Catcher catcher;
  Feeder feeder;
  Child child;

  REQUIRE (packet_feeder_open (&feeder, "packet-ring-bytes=262144 overflow=wait overflow-timeout=18446744073709551615", PACKET_CAPS));
  child_start (&child, NULL, "packet-reader", "", NULL);
  REQUIRE (catcher_open (&catcher, ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 2));
  CHECK (packet_feeder_push (&feeder, 1, 1, 1000) == GST_FLOW_OK);
  CHECK (child_expect (&child, "packet 1"));
  kill (child.pid, SIGSTOP);
  for (guint i = 0; i < 40; i++) {
    CHECK (packet_feeder_push (&feeder, 2 + 100 * i, 100, 1000) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (stat_of (catcher.element, "sequence") == 1 + 100 * (i + 1)));
  }
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  kill (child.pid, SIGCONT);
  CHECK (child_expect (&child, "packet 4001"));
  child_kill (&child);
  part (&feeder, &catcher);
}

static void
test_large_packets (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (packet_feeder_open (&feeder, "", PACKET_CAPS));
  REQUIRE (catcher_open (&catcher, ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (packet_feeder_push (&feeder, 1, 1, 3 << 20) == GST_FLOW_OK);
  CHECK_EQUAL (packet_catcher_take (&catcher, NULL), 1);
  CHECK (packet_feeder_push (&feeder, 2, 1, 8 << 20) == GST_FLOW_OK);
  CHECK_EQUAL (packet_catcher_take (&catcher, NULL), 2);
  CHECK (packet_feeder_push (&feeder, 3, 1, (8 << 20) + 1) == GST_FLOW_ERROR);
  pipeline_stop_at_error (feeder.pipeline, "set packet-ring-bytes to");
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
  feeder_close (&feeder);
  REQUIRE (packet_feeder_open (&feeder, "packet-ring-bytes=33554500", PACKET_CAPS));
  CHECK (packet_feeder_push (&feeder, 1, 1, (8 << 20) + 1) == GST_FLOW_OK);
  CHECK (pipeline_is_well (feeder.pipeline));
  feeder_close (&feeder);
}

static void
test_start (void)
{
  static const struct
  {
    const char *property;
    guint64 first;
  } starts[] = { {"start=oldest", 1}, {"start=latest", 61}, {"start=next", 91} };

  for (guint i = 0; i < G_N_ELEMENTS (starts); i++) {
    Feeder feeder;
    Catcher catcher;
    REQUIRE (packet_feeder_open (&feeder, "", PACKET_CAPS));
    CHECK (packet_feeder_push (&feeder, 1, 70, 300) == GST_FLOW_OK);
    CHECK_EQUAL (stat_of (feeder.element, "memory-bytes"), 37752832);
    REQUIRE (catcher_open (&catcher, starts[i].property));
    /* The third has found that there is no key point to start with, and says so. */
    CHECK (WAIT_UNTIL (i == 2 ? g_atomic_int_get (&feeder.keyframes) == 1 : stat_of (catcher.element, "sequence") == 70));
    CHECK (packet_feeder_push (&feeder, 71, 30, 300) == GST_FLOW_OK);
    for (guint64 number = starts[i].first; number <= 100; number++)
      REQUIRE (packet_catcher_take (&catcher, NULL) == number);
    CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
    CHECK_EQUAL (g_atomic_int_get (&feeder.keyframes), i == 2);
    part (&feeder, &catcher);
  }
}

static void
join_next (Catcher * catcher)
{
  CHECK (catcher_open (catcher, "start=next"));
  CHECK (WAIT_UNTIL (stat_of (catcher->element, "generation") == 1));
}

static void
test_key_unit_interval (void)
{
  static const char *const intervals[] = { "key-unit-interval=0", "key-unit-interval=18446744073709551615" };

  for (guint i = 0; i < G_N_ELEMENTS (intervals); i++) {
    Catcher catchers[3];
    Feeder feeder;
    REQUIRE (packet_feeder_open (&feeder, intervals[i], PACKET_CAPS));
    CHECK (packet_feeder_push (&feeder, 1, 1, 300) == GST_FLOW_OK);
    for (guint k = 0; k < G_N_ELEMENTS (catchers); k++) {
      join_next (&catchers[k]);
      CHECK (WAIT_UNTIL (g_atomic_int_get (&feeder.keyframes) == (i == 0 ? (gint) k + 1 : 1)));
    }
    CHECK (packet_feeder_push (&feeder, 2, 40, 300) == GST_FLOW_OK);
    for (guint k = 0; k < G_N_ELEMENTS (catchers); k++) {
      CHECK_EQUAL (packet_catcher_take (&catchers[k], NULL), 31);
      catcher_close (&catchers[k]);
    }
    CHECK_EQUAL (g_atomic_int_get (&feeder.keyframes), i == 0 ? 3 : 1);
    feeder_close (&feeder);
  }
}

/* Who asks too soon is not forgotten: the event follows when its time has come, unless a key point does before. */
static void
test_late_key_unit (void)
{
  Catcher catchers[2];
  Feeder feeder;
  guint64 number = 2;

  REQUIRE (packet_feeder_open (&feeder, "key-unit-interval=50000000", PACKET_CAPS));
  CHECK (packet_feeder_push (&feeder, 1, 1, 300) == GST_FLOW_OK);
  join_next (&catchers[0]);
  CHECK (WAIT_UNTIL (g_atomic_int_get (&feeder.keyframes) == 1));
  join_next (&catchers[1]);
  while (g_atomic_int_get (&feeder.keyframes) < 2 && number < 100000) {
    CHECK (gst_pad_push (feeder.pad, packet_new (number++, 100, FALSE)) == GST_FLOW_OK);
    fixture_yield ();
  }
  CHECK_EQUAL (g_atomic_int_get (&feeder.keyframes), 2);
  CHECK (gst_pad_push (feeder.pad, packet_new (number, 100, TRUE)) == GST_FLOW_OK);
  CHECK_EQUAL (packet_catcher_take (&catchers[0], NULL), number);
  CHECK_EQUAL (packet_catcher_take (&catchers[1], NULL), number);
  catcher_close (&catchers[1]);
  part (&feeder, &catchers[0]);
}

static void
test_asked_for_downstream (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (packet_feeder_open (&feeder, "", PACKET_CAPS) && catcher_open (&catcher, ""));
  CHECK (packet_feeder_push (&feeder, 1, 1, 300) == GST_FLOW_OK);
  CHECK_EQUAL (packet_catcher_take (&catcher, NULL), 1);
  CHECK_EQUAL (g_atomic_int_get (&feeder.keyframes), 0);
  CHECK (gst_pad_push_event (catcher.pad, gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE, 0)));
  CHECK (WAIT_UNTIL (g_atomic_int_get (&feeder.keyframes) == 1));
  part (&feeder, &catcher);
}

static void
test_reconnection (void)
{
  Catcher catcher;
  Child child;
  GstBuffer *buffer;
  guint64 number;

  REQUIRE (catcher_open (&catcher, ""));
  for (guint life = 0; life < 2; life++) {
    child_start (&child, NULL, "packets", "", "40", "1000", NULL);
    REQUIRE (child_expect (&child, "open"));
    CHECK (WAIT_UNTIL (stat_of (catcher.element, "connections") == (gint64) life + 1));
    child_say (&child, "go");
    number = packet_catcher_take (&catcher, &buffer);
    CHECK (buffer != NULL && packet_is_key (buffer) && GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DISCONT));
    gst_clear_buffer (&buffer);
    while (number != TORN && number < 40)
      number = packet_catcher_take (&catcher, NULL);
    CHECK_EQUAL (number, 40);
    child_kill (&child);
  }
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  CHECK (pipeline_is_well (catcher.pipeline));
  catcher_close (&catcher);
}

static const FixtureRole roles[] = { {"packets", play_packets}, {"packet-reader", play_packet_reader} };

static const FixtureTest tests[] = {
  {"2000 packets of 200 bytes to 2 MB come whole, in order and with everything that they had", test_mixed_sizes},
  {"a slow reader goes on at key points and counts what it missed", test_slow_reader},
  {"a reader of a publisher that runs is never handed a torn packet", test_running_reader},
  {"a stopped reader stops nobody", test_stopped_reader},
  {"a packet may take a quarter of the ring, and one that is larger is one error", test_large_packets},
  {"a reader starts at the last, the next or the first key point", test_start},
  {"key units are asked for no more often than told", test_key_unit_interval},
  {"who asks too soon for a key unit is not forgotten", test_late_key_unit},
  {"a key unit that is asked for downstream is asked for upstream of the publisher", test_asked_for_downstream},
  {"a reader goes on with the next publisher at a key point", test_reconnection},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
