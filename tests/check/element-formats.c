/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What stands around packets: formats and their changes, headers, events in their place, metas, time stamps, and which packets are key points. */
#define _GNU_SOURCE
#include "packet-pads.h"

#include <stdio.h>
#include <string.h>

#define TORN G_MAXUINT64
#define OTHER_CAPS "application/x-packets,stage=(int)2"

static gboolean
meet (Feeder * feeder, const char *caps, Catcher * catcher, const char *properties)
{
  return packet_feeder_open (feeder, "", caps) && catcher_open (catcher, properties)
      && WAIT_UNTIL (stat_of (feeder->element, "num-subscribers") == 1);
}

static void
part (Feeder * feeder, Catcher * catcher)
{
  CHECK (pipeline_is_well (feeder->pipeline));
  CHECK (pipeline_is_well (catcher->pipeline));
  catcher_close (catcher);
  feeder_close (feeder);
}

static void
check_caps (Catcher * catcher, const char *text)
{
  GstEvent *event = catcher_take_event (catcher, GST_EVENT_CAPS);
  GstCaps *caps, *expected = gst_caps_from_string (text);

  REQUIRE (event != NULL);
  gst_event_parse_caps (event, &caps);
  if (!gst_caps_is_equal (caps, expected)) {
    gchar *found = gst_caps_to_string (caps);
    fixture_fail (__FILE__, __LINE__, __func__, found);
    g_free (found);
  }
  gst_caps_unref (expected);
  gst_event_unref (event);
}

static void
test_caps_change (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (meet (&feeder, PACKET_CAPS, &catcher, ""));
  CHECK (packet_feeder_push (&feeder, 1, 40, 500) == GST_FLOW_OK);
  CHECK (feeder_send_caps (&feeder, OTHER_CAPS));
  CHECK (packet_feeder_push (&feeder, 61, 40, 500) == GST_FLOW_OK);
  /* The same caps once more begin nothing. */
  CHECK (feeder_send_caps (&feeder, OTHER_CAPS));
  CHECK (packet_feeder_push (&feeder, 101, 1, 500) == GST_FLOW_OK);
  check_caps (&catcher, PACKET_CAPS);
  for (guint64 i = 1; i <= 40; i++)
    REQUIRE (packet_catcher_take (&catcher, NULL) == i);
  check_caps (&catcher, OTHER_CAPS);
  for (guint64 i = 61; i <= 101; i++)
    REQUIRE (packet_catcher_take (&catcher, NULL) == i);
  CHECK_EQUAL (stat_of (feeder.element, "generation"), 2);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  part (&feeder, &catcher);
}

static void
test_frames_and_packets (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "") && feeder_begin (&feeder, SMALL) && catcher_open (&catcher, ""));
  for (guint round = 0; round < 3; round++) {
    CHECK (feeder_push (&feeder, 1 + round, 1) == GST_FLOW_OK);
    check_caps (&catcher, SMALL);
    CHECK_EQUAL (catcher_take_number (&catcher), 1 + round);
    CHECK (feeder_send_caps (&feeder, PACKET_CAPS));
    CHECK (packet_feeder_push (&feeder, 1, 3, 500) == GST_FLOW_OK);
    check_caps (&catcher, PACKET_CAPS);
    for (guint64 i = 1; i <= 3; i++)
      CHECK_EQUAL (packet_catcher_take (&catcher, NULL), i);
    CHECK (feeder_begin (&feeder, SMALL));
  }
  CHECK_EQUAL (stat_of (feeder.element, "generation"), 6);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (catcher.element, "missed"), 0);
  part (&feeder, &catcher);
}

/* In the order of its coding; then what a late reader begins with. */
typedef struct
{
  const char *caps;
  struct
  {
    guint8 bytes[8];
    gboolean key, same_picture;
  } units[12];
  guint count, begin;
} Nals;

#define UNIT(...) { __VA_ARGS__ }

static const Nals nals[] = {
  {"video/x-h264,stream-format=byte-stream,alignment=nal",
        {{UNIT (0, 0, 0, 1, 0x41), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0x09), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0x67), FALSE, TRUE},
            {UNIT (0, 0, 1, 0x68), TRUE, TRUE}, {UNIT (0, 0, 1, 0x06), FALSE, TRUE}, {UNIT (0, 0, 1, 0x65), TRUE, TRUE}, {UNIT (0, 0, 1, 0x65), TRUE, TRUE},
            {UNIT (0, 0, 0, 1, 0x09), FALSE, FALSE}, {UNIT (0, 0, 1, 0x41), FALSE, TRUE}}, 9, 1},
  {"video/x-h264,stream-format=avc,alignment=nal,codec_data=(buffer)0142c015ffe1",
        {{UNIT (0, 0, 0, 4, 0x41), FALSE, FALSE}, {UNIT (0, 0, 0, 4, 0x65), TRUE, FALSE}, {UNIT (0, 0, 0, 4, 0x65), TRUE, TRUE},
            {UNIT (0, 0, 0, 4, 0x06), FALSE, FALSE}, {UNIT (0, 0, 0, 4, 0x65), TRUE, TRUE}, {UNIT (0, 0, 0, 4, 0x65), TRUE, TRUE}}, 6, 3},
  {"video/x-h265,stream-format=byte-stream,alignment=nal",
        {{UNIT (0, 0, 0, 1, 0x02, 1), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0x46, 1), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0x40, 1), FALSE, TRUE},
            {UNIT (0, 0, 1, 0x42, 1), FALSE, TRUE}, {UNIT (0, 0, 1, 0x44, 1), FALSE, TRUE}, {UNIT (0, 0, 1, 0x4e, 1), FALSE, TRUE},
            {UNIT (0, 0, 1, 0x26, 1), TRUE, TRUE}, {UNIT (0, 0, 1, 0x26, 1), TRUE, TRUE}, {UNIT (0, 0, 1, 0x02, 1), FALSE, FALSE}}, 9, 1},
  {"video/x-h266,stream-format=byte-stream,alignment=nal",
        {{UNIT (0, 0, 0, 1, 0, 0x01), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0, 0xa1), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0, 0x79), FALSE, TRUE},
            {UNIT (0, 0, 1, 0, 0x81), FALSE, TRUE}, {UNIT (0, 0, 1, 0, 0x41), TRUE, TRUE}, {UNIT (0, 0, 1, 0, 0x41), TRUE, TRUE},
            {UNIT (0, 0, 1, 0, 0x01), FALSE, FALSE}}, 7, 1},
  {"video/x-av1,stream-format=obu-stream,alignment=obu",
        {{UNIT (0x12, 0), FALSE, FALSE}, {UNIT (0x32), FALSE, TRUE}, {UNIT (0x32), TRUE, FALSE}, {UNIT (0x22), TRUE, TRUE}, {UNIT (0x32), FALSE, FALSE}}, 5, 2},
  {"video/x-h264,stream-format=byte-stream,alignment=au",
        {{UNIT (0, 0, 0, 1, 0x65), TRUE, FALSE}, {UNIT (0, 0, 0, 1, 0x41), FALSE, FALSE}, {UNIT (0, 0, 0, 1, 0x65), TRUE, FALSE}}, 3, 2},
};

/* With time stamps and the end of each picture marked, or without either. */
static GstBuffer *
make_unit (const Nals * stream, guint i, gboolean stamped, guint * picture)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, sizeof stream->units[i].bytes, NULL);

  gst_buffer_fill (buffer, 0, stream->units[i].bytes, sizeof stream->units[i].bytes);
  if (!stream->units[i].same_picture)
    (*picture)++;
  if (stamped)
    GST_BUFFER_PTS (buffer) = *picture * PACKET_NS;
  if (stamped && (i + 1 == stream->count || !stream->units[i + 1].same_picture))
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_MARKER);
  if (!stream->units[i].key)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  GST_BUFFER_OFFSET (buffer) = i;
  return buffer;
}

static void
test_key_points (void)
{
  for (guint i = 0; i < 2 * G_N_ELEMENTS (nals); i++) {
    const Nals *stream = &nals[i / 2];
    Feeder feeder;
    Catcher catcher;
    guint picture = 0;
    REQUIRE (packet_feeder_open (&feeder, "", stream->caps));
    for (guint k = 0; k < stream->count; k++)
      CHECK (gst_pad_push (feeder.pad, make_unit (stream, k, i % 2 == 0, &picture)) == GST_FLOW_OK);
    REQUIRE (catcher_open (&catcher, ""));
    for (guint k = stream->begin; k < stream->count; k++) {
      CatcherItem *item = catcher_take_frame (&catcher);
      REQUIRE (item != NULL);
      if (GST_BUFFER_OFFSET (item->object) != k) {
        gchar *text = g_strdup_printf ("%s: unit %u comes, not %u", stream->caps, (guint) GST_BUFFER_OFFSET (item->object), k);
        fixture_fail (__FILE__, __LINE__, __func__, text);
        g_free (text);
      }
      item_free (item);
    }
    part (&feeder, &catcher);
  }
}

static const char *const header_caps = "application/x-packets,streamheader=(buffer)<00010203,0405>";

static gboolean
take_bytes (Catcher * catcher, const char *bytes, gsize count, gboolean discont)
{
  CatcherItem *item = catcher_take_frame (catcher);
  gboolean good = FALSE;

  if (item != NULL)
    good = gst_buffer_get_size (GST_BUFFER (item->object)) == count && gst_buffer_memcmp (GST_BUFFER (item->object), 0, bytes, count) == 0
        && GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_HEADER) && !!GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_DISCONT) == discont;
  item_free (item);
  return good;
}

static void
push_header (Feeder * feeder, const char *bytes, gsize count)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, count, NULL);

  gst_buffer_fill (buffer, 0, bytes, count);
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_HEADER);
  CHECK (gst_pad_push (feeder->pad, buffer) == GST_FLOW_OK);
}

/* Once each, whether a reader is there from the beginning or comes late. */
static void
test_stream_headers (void)
{
  Catcher catchers[3];
  Feeder feeder;

  REQUIRE (meet (&feeder, header_caps, &catchers[0], ""));
  push_header (&feeder, "\0\1\2\3", 4);
  push_header (&feeder, "\4\5", 2);
  CHECK (packet_feeder_push (&feeder, 1, 40, 200) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catchers[1], "") && catcher_open (&catchers[2], "start=oldest"));
  for (guint i = 0; i < G_N_ELEMENTS (catchers); i++) {
    CHECK (take_bytes (&catchers[i], "\0\1\2\3", 4, TRUE));
    CHECK (take_bytes (&catchers[i], "\4\5", 2, FALSE));
    CHECK_EQUAL (packet_catcher_take (&catchers[i], NULL), i == 1 ? 31 : 1);
  }
  catcher_close (&catchers[2]);
  catcher_close (&catchers[1]);
  part (&feeder, &catchers[0]);
}

/* Headers that are in the caps alone stay there. */
static void
test_headers_in_caps (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (packet_feeder_open (&feeder, "", header_caps));
  push_header (&feeder, "\0\1\2\3", 4);
  CHECK (feeder_send_caps (&feeder, "application/x-packets,streamheader=(buffer)<0a0b>"));
  CHECK (packet_feeder_push (&feeder, 1, 40, 200) == GST_FLOW_OK);
  REQUIRE (catcher_open (&catcher, ""));
  CHECK_EQUAL (packet_catcher_take (&catcher, NULL), 31);
  part (&feeder, &catcher);
}

static GstEvent *
new_custom (guint number)
{
  return gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new ("place", "number", G_TYPE_UINT, number, NULL));
}

static void
test_events (void)
{
  Feeder feeder;
  Catcher catcher;
  CatcherItem *item;

  REQUIRE (meet (&feeder, PACKET_CAPS, &catcher, ""));
  for (guint i = 1; i <= 100; i++) {
    CHECK (packet_feeder_push (&feeder, i, 1, 300) == GST_FLOW_OK);
    CHECK (feeder_event (&feeder, new_custom (i)));
  }
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  for (guint i = 1; i <= 100; i++) {
    guint number = 0;
    CHECK_EQUAL (packet_catcher_take (&catcher, NULL), i);
    item = catcher_take (&catcher);
    REQUIRE (item != NULL && GST_IS_EVENT (item->object) && GST_EVENT_TYPE (item->object) == GST_EVENT_CUSTOM_DOWNSTREAM);
    gst_structure_get_uint (gst_event_get_structure (GST_EVENT (item->object)), "number", &number);
    CHECK_EQUAL (number, i);
    item_free (item);
  }
  item = catcher_take (&catcher);
  CHECK (item != NULL && GST_IS_EVENT (item->object) && GST_EVENT_TYPE (item->object) == GST_EVENT_EOS);
  item_free (item);
  part (&feeder, &catcher);
}

/* What is there is read before the end is told. */
static void
test_late_end (void)
{
  Feeder feeder;
  Catcher catcher;
  GstEvent *event;

  REQUIRE (packet_feeder_open (&feeder, "", PACKET_CAPS));
  CHECK (packet_feeder_push (&feeder, 1, 40, 300) == GST_FLOW_OK);
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint64 i = 1; i <= 40; i++)
    REQUIRE (packet_catcher_take (&catcher, NULL) == i);
  event = catcher_take_event (&catcher, GST_EVENT_EOS);
  CHECK (event != NULL);
  gst_clear_event (&event);
  part (&feeder, &catcher);
}

static void
test_metas_and_empty_packets (void)
{
  GstCaps *reference = gst_caps_new_empty_simple ("timestamp/x-unix");
  GstBuffer *buffer = gst_buffer_new (), *got = NULL;
  const GstReferenceTimestampMeta *meta;
  Feeder feeder;
  Catcher catcher;
  CatcherItem *item;

  REQUIRE (meet (&feeder, "text/x-raw,format=utf8", &catcher, "timestamps=original"));
  GST_BUFFER_PTS (buffer) = 5;
  GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_GAP);
  CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
  item = catcher_take_frame (&catcher);
  REQUIRE (item != NULL);
  CHECK_EQUAL (gst_buffer_get_size (GST_BUFFER (item->object)), 0);
  CHECK_EQUAL (GST_BUFFER_PTS (item->object), 5);
  CHECK (GST_BUFFER_FLAG_IS_SET (item->object, GST_BUFFER_FLAG_GAP));
  item_free (item);
  buffer = packet_new (1, 1000, TRUE);
  gst_buffer_add_reference_timestamp_meta (buffer, reference, 1234567890, 40);
  CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
  CHECK_EQUAL (packet_catcher_take (&catcher, &got), 1);
  meta = got == NULL ? NULL : gst_buffer_get_reference_timestamp_meta (got, reference);
  CHECK (meta != NULL && meta->timestamp == 1234567890 && meta->duration == 40);
  gst_clear_buffer (&got);
  gst_caps_unref (reference);
  part (&feeder, &catcher);
}

/* Pushes packets that were due before the catcher's pipeline plays, and checks what it makes of their time stamps. */
static void
check_past (const char *properties, gboolean shifted)
{
  GstClockTime last_dts = 0, first = GST_CLOCK_TIME_NONE;
  Feeder feeder;
  Catcher catcher;

  REQUIRE (packet_feeder_open (&feeder, "", PACKET_CAPS));
  /* So that what was pushed lies in its past. */
  CHECK (packet_feeder_push (&feeder, 1, 30, 200) == GST_FLOW_OK);
  CHECK (WAIT_UNTIL (gst_element_get_current_running_time (feeder.element) > 40 * PACKET_NS));
  REQUIRE (catcher_open (&catcher, properties));
  for (guint64 i = 1; i <= 30; i++) {
    GstBuffer *buffer;
    REQUIRE (packet_catcher_take (&catcher, &buffer) == i);
    CHECK (GST_BUFFER_PTS_IS_VALID (buffer) && GST_BUFFER_DTS_IS_VALID (buffer));
    CHECK (GST_BUFFER_DTS (buffer) > last_dts || i == 1);
    CHECK (GST_BUFFER_PTS (buffer) > GST_BUFFER_DTS (buffer));
    if (i == 1)
      first = GST_BUFFER_DTS (buffer);
    last_dts = GST_BUFFER_DTS (buffer);
    CHECK_EQUAL (GST_BUFFER_DURATION (buffer), PACKET_NS);
    gst_buffer_unref (buffer);
  }
  CHECK_EQUAL (first, 0);
  if (shifted)
    CHECK (ABS (GST_CLOCK_DIFF (last_dts, 29 * PACKET_NS)) < (GstClockTimeDiff) GST_MSECOND);
  else
    CHECK (last_dts < GST_MSECOND);
  part (&feeder, &catcher);
}

static void
test_past (void)
{
  check_past ("", FALSE);
  check_past ("start=oldest", TRUE);
}

static void
test_caps_query (void)
{
  static const struct
  {
    const char *filter, *answer;
  } cases[] = {
    {"video/x-h264", "video/x-h264"},
    {"video/x-raw(memory:GLMemory),format=RGBA; video/x-raw,format=RGBA", "video/x-raw,format=RGBA,width=[1,2147483647],height=[1,2147483647],"
        "framerate=[0/1,2147483647/1]"},
    {"audio/x-raw(memory:Elsewhere); audio/x-raw", "audio/x-raw"},
  };
  Feeder feeder;
  Catcher catcher;
  GstCaps *caps;

  REQUIRE (meet (&feeder, PACKET_CAPS, &catcher, ""));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstCaps *filter = gst_caps_from_string (cases[i].filter), *answer = gst_caps_from_string (cases[i].answer);
    caps = gst_pad_peer_query_caps (feeder.pad, filter);
    CHECK (gst_caps_is_equal (caps, answer));
    gst_caps_unref (caps);
    gst_caps_unref (filter);
    gst_caps_unref (answer);
  }
  caps = gst_pad_peer_query_caps (catcher.pad, NULL);
  CHECK (gst_caps_is_any (caps));
  gst_caps_unref (caps);
  CHECK (packet_feeder_push (&feeder, 1, 1, 100) == GST_FLOW_OK);
  CHECK_EQUAL (packet_catcher_take (&catcher, NULL), 1);
  caps = gst_pad_peer_query_caps (catcher.pad, NULL);
  CHECK (gst_caps_is_equal (caps, catcher.caps));
  gst_caps_unref (caps);
  part (&feeder, &catcher);
}

static const FixtureTest tests[] = {
  {"new caps come in their place, the same ones begin nothing", test_caps_change},
  {"a channel goes from frames to packets and back, and frames stay where they are", test_frames_and_packets},
  {"the key point is the first packet of its picture, with what stands before it", test_key_points},
  {"stream headers come once, to early and late readers", test_stream_headers},
  {"headers that are in the caps alone stay there", test_headers_in_caps},
  {"events come in their place among packets, the end behind the last one", test_events},
  {"who comes after the end reads what is there, and then the end", test_late_end},
  {"metas and empty packets cross", test_metas_and_empty_packets},
  {"packets that were due before the pipeline played keep their order", test_past},
  {"the caps query tells what can cross, and what comes", test_caps_query},
};

ELEMENT_MAIN (tests, NULL, 0)
