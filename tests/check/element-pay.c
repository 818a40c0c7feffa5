/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffers through cuframespay, a socket, and cuframesdepay: what crosses and that it is exact, and in whose memory it lies. */
#include "pay-fixture.h"

#include <gst/allocators/allocators.h>
#include <sys/mman.h>

#define CUSTOM "element-pay-custom"
#define BIG_BYTES (1000 * 1000)
#define FRAME_NS (GST_SECOND / 30)

static void
test_fields (void)
{
  static const struct
  {
    GstClockTime pts, dts, duration;
    guint64 offset, offset_end;
    guint flags;
  } cases[] = {
    {0, GST_CLOCK_TIME_NONE, FRAME_NS, 7, 8, GST_BUFFER_FLAG_DISCONT},
    {GST_CLOCK_TIME_NONE, 5, GST_CLOCK_TIME_NONE, GST_BUFFER_OFFSET_NONE, GST_BUFFER_OFFSET_NONE, GST_BUFFER_FLAG_DELTA_UNIT | GST_BUFFER_FLAG_MARKER},
    {G_MAXUINT64 - 1, G_MAXUINT64 / 3, 1, G_MAXUINT64 - 1, 0, GST_BUFFER_FLAG_CORRUPTED | GST_BUFFER_FLAG_GAP | GST_BUFFER_FLAG_DROPPABLE},
    {1, 2, 3, 4, 5, GST_BUFFER_FLAG_HEADER | GST_VIDEO_BUFFER_FLAG_INTERLACED | GST_VIDEO_BUFFER_FLAG_TFF},
  };
  Feeder feeder;
  Catcher catcher;

  open_both ("", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstBuffer *buffer = i % 2 == 0 ? feeder_frame (&feeder, i) : feeder_own_frame (&feeder, i);
    CatcherItem *item;
    GST_BUFFER_PTS (buffer) = cases[i].pts;
    GST_BUFFER_DTS (buffer) = cases[i].dts;
    GST_BUFFER_DURATION (buffer) = cases[i].duration;
    GST_BUFFER_OFFSET (buffer) = cases[i].offset;
    GST_BUFFER_OFFSET_END (buffer) = cases[i].offset_end;
    GST_BUFFER_FLAG_SET (buffer, cases[i].flags);
    CHECK_EQUAL (gst_pad_push (feeder.pad, buffer), GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    buffer = GST_BUFFER (item->object);
    CHECK_EQUAL (item_number (item), i);
    CHECK_EQUAL (GST_BUFFER_PTS (buffer), cases[i].pts);
    CHECK_EQUAL (GST_BUFFER_DTS (buffer), cases[i].dts);
    CHECK_EQUAL (GST_BUFFER_DURATION (buffer), cases[i].duration);
    CHECK_EQUAL (GST_BUFFER_OFFSET (buffer), cases[i].offset);
    CHECK_EQUAL (GST_BUFFER_OFFSET_END (buffer), cases[i].offset_end);
    CHECK_EQUAL (GST_BUFFER_FLAGS (buffer) & ~(guint) GST_BUFFER_FLAG_TAG_MEMORY, cases[i].flags);
    item_free (item);
  }
  close_both (&feeder, &catcher);
}

static void
test_read_only (void)
{
  Feeder feeder;
  Catcher catcher;
  CatcherItem *item;
  GstMapInfo map;

  open_both ("", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK_EQUAL (feeder_push (&feeder, 1, 1), GST_FLOW_OK);
  item = catcher_take_frame (&catcher);
  REQUIRE (item != NULL);
  CHECK (GST_MEMORY_IS_READONLY (gst_buffer_peek_memory (GST_BUFFER (item->object), 0)));
  CHECK (!gst_memory_map (gst_buffer_peek_memory (GST_BUFFER (item->object), 0), &map, GST_MAP_WRITE));
  CHECK_EQUAL (item_number (item), 1);
  item_free (item);
  close_both (&feeder, &catcher);
}

/* ---- metas ---- */

static void
add_metas (GstBuffer * buffer, gsize bytes)
{
  static const gchar *tags[] = { NULL };
  GstVideoRegionOfInterestMeta *region = gst_buffer_add_video_region_of_interest_meta (buffer, "face", 1, 2, 3, 4);
  gchar *text = g_strnfill (bytes, 'x');

  if (gst_meta_get_info (CUSTOM) == NULL)
    gst_meta_register_custom (CUSTOM, tags, NULL, NULL, NULL);
  region->id = 77;
  gst_structure_set (gst_custom_meta_get_structure (gst_buffer_add_custom_meta (buffer, CUSTOM)), "number", G_TYPE_INT64, G_MININT64, "text",
      G_TYPE_STRING, text, NULL);
  g_free (text);
}

static void
check_metas (GstBuffer * buffer, gsize bytes)
{
  GstVideoRegionOfInterestMeta *region = gst_buffer_get_video_region_of_interest_meta_id (buffer, 77);
  GstCustomMeta *custom = gst_buffer_get_custom_meta (buffer, CUSTOM);
  const gchar *text;
  gint64 number = 0;

  REQUIRE (region != NULL && custom != NULL);
  CHECK (region->x == 1 && region->y == 2 && region->w == 3 && region->h == 4 && region->roi_type == g_quark_from_string ("face"));
  text = gst_structure_get_string (gst_custom_meta_get_structure (custom), "text");
  CHECK (gst_structure_get_int64 (gst_custom_meta_get_structure (custom), "number", &number) && number == G_MININT64);
  CHECK (text != NULL && strlen (text) == bytes);
}

static void
test_metas (void)
{
  static const gsize sizes[] = { 3, 1500, BIG_BYTES };
  Feeder feeder;
  Catcher catcher;

  open_both ("", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 2 * G_N_ELEMENTS (sizes); i++) {
    GstBuffer *buffer = i % 2 == 0 ? feeder_frame (&feeder, i) : feeder_own_frame (&feeder, i);
    CatcherItem *item;
    add_metas (buffer, sizes[i / 2]);
    CHECK_EQUAL (gst_pad_push (feeder.pad, buffer), GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    CHECK_EQUAL (item_number (item), i);
    check_metas (GST_BUFFER (item->object), sizes[i / 2]);
    item_free (item);
  }
  close_both (&feeder, &catcher);
}

/* Planes in reverse with long lines and room between them, in memory that is copied and in memory that is not. */
static void
test_layout (void)
{
  gsize offsets[GST_VIDEO_MAX_PLANES] = { 20000, 512 };
  gint strides[GST_VIDEO_MAX_PLANES] = { 200, 192 };
  GstAllocator *fd_allocator = gst_fd_allocator_new ();
  Feeder feeder;
  Catcher catcher;

  open_both ("", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 2; i++) {
    GstBuffer *buffer = gst_buffer_new ();
    GstVideoMeta *meta;
    CatcherItem *item;
    if (i == 0)
      gst_buffer_append_memory (buffer, gst_allocator_alloc (NULL, 40000, NULL));
    else {
      const int fd = memfd_create ("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
      CHECK (ftruncate (fd, 50000) == 0 && fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
      gst_buffer_append_memory (buffer, gst_fd_allocator_alloc (fd_allocator, fd, 50000, GST_FD_MEMORY_FLAG_NONE));
      gst_buffer_resize (buffer, 5000, 40000);
    }
    gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_FORMAT_NV12, 64, 48, 2, offsets, strides);
    CHECK (stamp_buffer (buffer, &feeder.info, 10 + i, 1));
    CHECK_EQUAL (gst_pad_push (feeder.pad, buffer), GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    meta = gst_buffer_get_video_meta (GST_BUFFER (item->object));
    REQUIRE (meta != NULL);
    CHECK_EQUAL (gst_buffer_get_size (GST_BUFFER (item->object)), 40000);
    CHECK (meta->offset[0] == 20000 && meta->offset[1] == 512 && meta->stride[0] == 200 && meta->stride[1] == 192);
    CHECK_EQUAL (item_number (item), 10 + i);
    CHECK_EQUAL (stat_of (feeder.element, "copies"), 1);
    item_free (item);
  }
  gst_object_unref (fd_allocator);
  close_both (&feeder, &catcher);
}

/* ---- memory ---- */

typedef enum
{
  SEALED,
  UNSEALED,
  REGULAR,
  SYSTEM,
} Kind;

/* size bytes that count up from first; taken out of the middle of a file. */
static GstMemory *
make_memory (GstAllocator * fd_allocator, Kind kind, guint8 first, gsize size)
{
  GstMemory *memory;
  GstMapInfo map;
  int fd;

  if (kind == SYSTEM)
    memory = gst_allocator_alloc (NULL, size, NULL);
  else {
    fd = kind == REGULAR ? open ("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600) : memfd_create ("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    CHECK (ftruncate (fd, size + 8192) == 0);
    CHECK (kind != SEALED || fcntl (fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    memory = gst_fd_allocator_alloc (fd_allocator, fd, size + 8192, GST_FD_MEMORY_FLAG_NONE);
    gst_memory_resize (memory, 4321, size);
  }
  CHECK (gst_memory_map (memory, &map, GST_MAP_WRITE));
  for (gsize i = 0; i < size; i++)
    map.data[i] = (guint8) (first + i);
  gst_memory_unmap (memory, &map);
  return memory;
}

static void
check_bytes (GstBuffer * buffer, gsize size)
{
  GstMapInfo map;
  gboolean same = TRUE;

  CHECK_EQUAL (gst_buffer_get_size (buffer), size);
  REQUIRE (gst_buffer_map (buffer, &map, GST_MAP_READ));
  for (gsize i = 0; i < map.size; i++)
    same = same && map.data[i] == (guint8) i;
  CHECK (same);
  gst_buffer_unmap (buffer, &map);
}

static void
test_kinds_of_memory (void)
{
  static const struct
  {
    Kind kinds[16];
    guint count, copies;
  } cases[] = {
    {{SEALED}, 1, 0}, {{UNSEALED}, 1, 1}, {{REGULAR}, 1, 1}, {{SYSTEM}, 1, 1}, {{SEALED, SEALED, SEALED}, 3, 0}, {{SEALED, SYSTEM}, 2, 1},
    {{SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED, SEALED}, 16, 0},
    {{SEALED}, 0, 0},
  };
  GstAllocator *fd_allocator = gst_fd_allocator_new ();
  guint64 copies = 0;
  Feeder feeder;
  Catcher catcher;

  open_both ("", &feeder, &catcher);
  CHECK (feeder_send_caps (&feeder, "application/x-test"));
  for (guint i = 0; i < G_N_ELEMENTS (cases); i++) {
    GstBuffer *buffer = gst_buffer_new ();
    CatcherItem *item;
    gsize size = 0;
    for (guint j = 0; j < cases[i].count; size += 1000 + j, j++)
      gst_buffer_append_memory (buffer, make_memory (fd_allocator, cases[i].kinds[j], (guint8) size, 1000 + j));
    CHECK_EQUAL (gst_pad_push (feeder.pad, buffer), GST_FLOW_OK);
    CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
    item = catcher_take_frame (&catcher);
    CHECK_EQUAL (stat_of (catcher.element, "invalid"), 0);
    REQUIRE (item != NULL);
    CHECK_EQUAL (gst_buffer_n_memory (GST_BUFFER (item->object)), cases[i].copies > 0 ? 1 : cases[i].count);
    check_bytes (GST_BUFFER (item->object), size);
    copies += cases[i].copies;
    CHECK_EQUAL (stat_of (feeder.element, "copies"), copies);
    item_free (item);
  }
  gst_object_unref (fd_allocator);
  close_both (&feeder, &catcher);
}

static void
test_sizes_that_grow (void)
{
  Feeder feeder;
  Catcher catcher;
  CatcherItem *held = NULL;

  open_both ("", &feeder, &catcher);
  CHECK (feeder_send_caps (&feeder, "application/x-test"));
  for (gsize size = 1; size < 4000000; size = size * 3 + 1) {
    GstBuffer *buffer = gst_buffer_new ();
    CatcherItem *item;
    gst_buffer_append_memory (buffer, make_memory (NULL, SYSTEM, 0, size));
    CHECK_EQUAL (gst_pad_push (feeder.pad, buffer), GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    check_bytes (GST_BUFFER (item->object), size);
    if (held == NULL)
      held = item;
    else
      item_free (item);
  }
  check_bytes (GST_BUFFER (held->object), 1);
  item_free (held);
  close_both (&feeder, &catcher);
}

/* What is received can be sent on. */
static void
test_two_legs (void)
{
  Feeder feeder;
  Catcher catcher;
  GstElement *middle;
  int first[2], second[2];

  make_pair (SOCK_STREAM, first);
  make_pair (SOCK_SEQPACKET, second);
  CHECK (payer_open (&feeder, "", first[0]));
  middle = depayer_pipeline ("! cuframespay ! multisocketsink name=sender sync=false async=false", first[1]);
  CHECK (pipeline_play (middle));
  add_receiver (middle, second[0]);
  CHECK (depayer_open (&catcher, "", second[1]));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 1; i <= 30; i++) {
    CHECK_EQUAL (feeder_push (&feeder, i, 1), GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  }
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  CHECK (WAIT_UNTIL (catcher.ended));
  CHECK (pipeline_is_well (middle));
  pipeline_stop (middle);
  close_both (&feeder, &catcher);
}

/* ---- events ---- */

static void
test_events (void)
{
  Feeder feeder;
  Catcher catcher;
  GstEvent *event;
  GstTagList *tags;
  gchar *text = NULL;
  GstSegment segment;
  const GstSegment *received;

  open_both ("", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_event (&feeder, gst_event_new_tag (gst_tag_list_new (GST_TAG_TITLE, "a title", NULL))));
  CHECK_EQUAL (feeder_push (&feeder, 1, 1), GST_FLOW_OK);
  event = catcher_take_event (&catcher, GST_EVENT_TAG);
  REQUIRE (event != NULL);
  gst_event_parse_tag (event, &tags);
  CHECK (gst_tag_list_get_string (tags, GST_TAG_TITLE, &text) && strcmp (text, "a title") == 0);
  g_free (text);
  gst_event_unref (event);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = 0.5;
  segment.offset = 5;
  segment.base = GST_SECOND;
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  CHECK (feeder_event (&feeder, gst_event_new_gap (7, 8)));
  CHECK (feeder_event (&feeder, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new ("hello", "n", G_TYPE_INT, 5, NULL))));
  CHECK_EQUAL (feeder_push (&feeder, 2, 1), GST_FLOW_OK);
  event = catcher_take_event (&catcher, GST_EVENT_SEGMENT);
  REQUIRE (event != NULL);
  gst_event_parse_segment (event, &received);
  CHECK (gst_segment_is_equal (received, &segment));
  gst_event_unref (event);
  event = catcher_take_event (&catcher, GST_EVENT_GAP);
  CHECK (event != NULL);
  gst_clear_event (&event);
  event = catcher_take_event (&catcher, GST_EVENT_CUSTOM_DOWNSTREAM);
  CHECK (event != NULL && gst_event_has_name (event, "hello"));
  gst_clear_event (&event);
  CHECK_EQUAL (catcher_take_number (&catcher), 2);

  REQUIRE (feeder_begin (&feeder, WIDE));
  CHECK_EQUAL (feeder_push (&feeder, 3, 1), GST_FLOW_OK);
  event = catcher_take_event (&catcher, GST_EVENT_CAPS);
  CHECK (event != NULL);
  gst_clear_event (&event);
  CHECK_EQUAL (catcher_take_number (&catcher), 3);
  CHECK (gst_caps_is_strictly_equal (catcher.caps, feeder.caps));
  CHECK (feeder_event (&feeder, gst_event_new_eos ()));
  CHECK (WAIT_UNTIL (catcher.ended));
  close_both (&feeder, &catcher);
}

/* Caps and tags that do not fit into a message, and somebody who joins in the middle. */
static void
test_late_and_large (void)
{
  int ends[2];
  gchar *large = g_strnfill (BIG_BYTES, 't');
  GstEvent *event;
  GstTagList *tags;
  gchar *text = NULL;
  Feeder feeder;
  Catcher catcher, late;

  open_both ("", &feeder, &catcher);
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_event (&feeder, gst_event_new_tag (gst_tag_list_new (GST_TAG_COMMENT, large, NULL))));
  for (guint i = 1; i <= 5; i++) {
    CHECK_EQUAL (feeder_push (&feeder, i, 1), GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
  }
  make_pair (SOCK_SEQPACKET, ends);
  add_receiver (feeder.pipeline, ends[0]);
  CHECK (depayer_open (&late, "", ends[1]));
  CHECK_EQUAL (feeder_push (&feeder, 6, 1), GST_FLOW_OK);
  event = catcher_take_event (&late, GST_EVENT_CAPS);
  CHECK (event != NULL);
  gst_clear_event (&event);
  event = catcher_take_event (&late, GST_EVENT_TAG);
  REQUIRE (event != NULL);
  gst_event_parse_tag (event, &tags);
  CHECK (gst_tag_list_get_string (tags, GST_TAG_COMMENT, &text) && strcmp (text, large) == 0);
  gst_clear_event (&event);
  CHECK (WAIT_UNTIL (stat_of (late.element, "buffers") >= 1));
  CHECK_EQUAL (stat_of (late.element, "missed"), 0);
  CHECK (catcher_is_sound (&late));
  catcher_close (&late);
  g_free (text);
  g_free (large);
  close_both (&feeder, &catcher);
}

static void
test_launch_lines (void)
{
  int ends[2];
  GstElement *receiver, *sender;

  make_pair (SOCK_STREAM, ends);
  receiver = depayer_pipeline ("! videoconvert ! video/x-raw,format=I420 ! fakesink name=sink signal-handoffs=true sync=false", ends[1]);
  sender = pipeline_new ("videotestsrc num-buffers=100 ! video/x-raw,format=NV12,width=320,height=240 ! cuframespay name=cuframes " FOR_EVER
      " ! multisocketsink name=sender sync=false async=false");
  gst_element_set_state (sender, GST_STATE_READY);
  add_receiver (sender, ends[0]);
  CHECK (pipeline_play (receiver));
  CHECK (pipeline_play (sender));
  CHECK (pipeline_reaches_eos (sender));
  CHECK (pipeline_reaches_eos (receiver));
  CHECK_EQUAL (pipeline_stat (sender, "copies"), 0);
  CHECK_EQUAL (pipeline_stat (sender, "buffers"), 100);
  CHECK_EQUAL (pipeline_stat (receiver, "buffers"), 100);
  pipeline_stop (sender);
  pipeline_stop (receiver);
}

static void
test_foreign_features (void)
{
  GstCaps *caps = gst_caps_from_string ("video/x-raw(memory:GLMemory),format=RGBA,width=2,height=2");
  Feeder feeder;

  CHECK (payer_open (&feeder, "", -1));
  CHECK (feeder_event (&feeder, gst_event_new_stream_start ("feeder")));
  feeder_event (&feeder, gst_event_new_caps (caps));
  gst_caps_unref (caps);
  pipeline_stop_at_error (feeder.pipeline, "memory:GLMemory");
  feeder_close (&feeder);
}

static const FixtureTest tests[] = {
  {"time stamps, offsets and flags are exact", test_fields},
  {"buffers are read-only", test_read_only},
  {"custom and video metas cross, large ones too", test_metas},
  {"strides and offsets are kept, copied or not", test_layout},
  {"sealed memory files cross as they are, all else is copied once", test_kinds_of_memory},
  {"buffers of growing sizes are copied", test_sizes_that_grow},
  {"what is received can be sent on", test_two_legs},
  {"segments, tags, gaps, custom events and caps cross in their place", test_events},
  {"who joins late has caps and tags, however large", test_late_and_large},
  {"launch lines need no caps", test_launch_lines},
  {"memory of other kinds is refused in words", test_foreign_features},
};

ELEMENT_MAIN (tests, NULL, 0)
