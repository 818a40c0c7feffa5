/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which producers write straight into the ring, and that every subscriber sees exactly the picture that was published, whoever
 * writes to his buffers afterwards. */
#include "element-fixture.h"

#include <string.h>

/* Digests of pictures in the order in which they came by. */
typedef struct
{
  GMutex lock;
  GPtrArray *digests;
} Digests;

static gchar *
digest_of (GstBuffer * buffer, GstCaps * caps)
{
  GChecksum *sum = g_checksum_new (G_CHECKSUM_SHA1);
  GstVideoFrame frame;
  GstVideoInfo info;
  gchar *digest;

  if (gst_video_info_from_caps (&info, caps) && gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ)) {
    StampImage image;
    stamp_video_image (&frame, &image);
    for (guint plane = 0; plane < image.plane_count; plane++)
      for (guint line = 0; line < image.planes[plane].lines; line++)
        g_checksum_update (sum, image.planes[plane].data + line * image.planes[plane].stride_bytes, image.planes[plane].line_bytes);
    gst_video_frame_unmap (&frame);
  }
  digest = g_strdup (g_checksum_get_string (sum));
  g_checksum_free (sum);
  return digest;
}

static GstPadProbeReturn
on_frame (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  Digests *digests = user_data;
  GstCaps *caps = gst_pad_get_current_caps (pad);

  g_mutex_lock (&digests->lock);
  g_ptr_array_add (digests->digests, digest_of (GST_PAD_PROBE_INFO_BUFFER (info), caps));
  g_mutex_unlock (&digests->lock);
  gst_caps_unref (caps);
  return GST_PAD_PROBE_OK;
}

static void
watch_sink (GstElement * pipeline, Digests * digests)
{
  GstElement *sink = gst_bin_get_by_name (GST_BIN (pipeline), "cuframes");
  GstPad *pad = gst_element_get_static_pad (sink, "sink");

  g_mutex_init (&digests->lock);
  digests->digests = g_ptr_array_new_with_free_func (g_free);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_frame, digests, NULL);
  gst_object_unref (pad);
  gst_object_unref (sink);
}

static void
clear_digests (Digests * digests)
{
  g_ptr_array_unref (digests->digests);
  g_mutex_clear (&digests->lock);
}

/* What comes before the sink, how many frames it makes (0: that depends on its version), and how many of them may and must cost a copy. */
static void
check_producer (const char *producer, guint frames, guint least_copies, guint most_copies)
{
  GstElement *pipeline = pipeline_new ("%s ! cuframessink name=cuframes channel=test sync=false slots=62 wait-for-subscribers=1", producer);
  Digests digests;
  Catcher catcher;
  gint64 copies;

  watch_sink (pipeline, &digests);
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  CHECK (pipeline_play (pipeline));
  CHECK (pipeline_reaches_eos (pipeline));
  copies = pipeline_stat (pipeline, "copies");
  if (frames == 0)
    frames = digests.digests->len;
  CHECK_EQUAL (pipeline_stat (pipeline, "frames"), frames);
  CHECK_EQUAL (pipeline_stat (pipeline, "drops"), 0);
  CHECK_EQUAL (digests.digests->len, frames);
  if (copies < least_copies || copies > most_copies) {
    gchar *what = g_strdup_printf ("%" G_GINT64_FORMAT " copies lie between %u and %u: %s", copies, least_copies, most_copies, producer);
    fixture_fail (__FILE__, __LINE__, __func__, what);
    g_free (what);
  }
  for (guint i = 0; i < MIN (frames, digests.digests->len); i++) {
    CatcherItem *item = catcher_take_frame (&catcher);
    gchar *digest;
    REQUIRE (item != NULL);
    digest = digest_of (GST_BUFFER (item->object), item->caps);
    CHECK (strcmp (digest, g_ptr_array_index (digests.digests, i)) == 0);
    g_free (digest);
    item_free (item);
  }
  pipeline_stop (pipeline);
  catcher_close (&catcher);
  clear_digests (&digests);
}

static void
test_testsrc (void)
{
  static const char *const formats[] = { "I420", "NV12", "YUY2", "RGB", "BGRA", "Y444", "P010_10LE", "GRAY8", "v210" };
  static const char *const sizes[] = { "width=641,height=481", "width=64,height=48", "width=1,height=1", "width=1000,height=3" };

  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    for (guint j = 0; j < G_N_ELEMENTS (sizes); j++) {
      gchar *producer = g_strdup_printf ("videotestsrc num-buffers=6 pattern=ball ! video/x-raw,format=%s,%s,framerate=30/1", formats[i], sizes[j]);
      check_producer (producer, 6, 0, 0);
      g_free (producer);
    }
}

static void
test_converters (void)
{
  check_producer ("videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=641,height=481 ! videoconvert ! video/x-raw,format=NV12", 20, 0, 0);
  check_producer ("videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=320,height=240 ! videoscale ! video/x-raw,width=641,height=481",
      20, 0, 0);
  check_producer ("videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=320,height=240 ! videoflip method=clockwise", 20, 0, 0);
}

static void
test_between (void)
{
  check_producer ("videotestsrc num-buffers=60 ! " SMALL " ! queue", 60, 0, 0);
  check_producer ("videotestsrc num-buffers=60 ! " SMALL " ! queue max-size-buffers=3 ! identity ! queue max-size-buffers=2", 60, 0, 0);
  check_producer ("videotestsrc num-buffers=20 ! " SMALL " ! capsfilter ! identity", 20, 0, 0);
}

static void
test_foreign_memory (void)
{
  check_producer ("videotestsrc num-buffers=20 ! " SMALL " ! identity drop-allocation=true", 20, 20, 20);
}

static void
test_same_buffer_again (void)
{
  check_producer ("videotestsrc num-buffers=1 ! " SMALL " ! imagefreeze num-buffers=10", 10, 9, 10);
  check_producer ("videotestsrc num-buffers=10 ! video/x-raw,format=NV12,width=64,height=48,framerate=10/1 ! videorate ! "
      "video/x-raw,framerate=30/1", 0, 15, 30);
  check_producer ("videotestsrc num-buffers=10 ! " SMALL " ! tee name=t ! queue ! fakesink sync=false t. ! queue", 10, 0, 10);
}

static void
test_filters_in_place (void)
{
  check_producer ("videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=320,height=240 ! videobalance hue=0.5 ! queue", 20, 0, 0);
}

static void
test_decoders (void)
{
  static const struct
  {
    const char *encoder, *decoder;
    guint frames;
  } ways[] = {
    {"bframes=2 b-pyramid=true", "avdec_h264 direct-rendering=false", 50},
    /* With direct rendering it asks for a new pool with every frame of such a size, and each is a ring. */
    {"bframes=2 b-pyramid=true", "avdec_h264", 12},
    /* openh264 has no buffers of its own to give away and copies itself, into the pool's. */
    {"", "openh264dec", 50},
  };

  if (element_lacks ("x264enc") || element_lacks ("avdec_h264"))
    return;
  for (guint i = 0; i < G_N_ELEMENTS (ways); i++) {
    gchar *producer = g_strdup_printf ("videotestsrc num-buffers=%u pattern=ball ! video/x-raw,format=I420,width=642,height=482,framerate=30/1 ! "
        "x264enc speed-preset=ultrafast %s ! h264parse ! %s", ways[i].frames, ways[i].encoder, ways[i].decoder);
    check_producer (producer, ways[i].frames, 0, 0);
    g_free (producer);
  }
}

static void
test_jpeg (void)
{
  if (element_lacks ("jpegenc") || element_lacks ("jpegdec"))
    return;
  check_producer ("videotestsrc num-buffers=20 ! video/x-raw,format=I420,width=320,height=240 ! jpegenc ! jpegdec", 20, 0, 0);
}

/* Downstream */

static GstPadProbeReturn
scribble (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (info));
  GstMapInfo map;

  if (gst_buffer_map (buffer, &map, GST_MAP_READWRITE)) {
    memset (map.data, 0x77, map.size);
    gst_buffer_unmap (buffer, &map);
    g_atomic_int_inc ((gint *) user_data);
  }
  GST_PAD_PROBE_INFO_DATA (info) = buffer;
  return GST_PAD_PROBE_OK;
}

/* One subscriber writes to its buffers; the other must not see it, nor may the publisher. */
static void
check_writer (const char *writer, gboolean by_probe)
{
  GstElement *pipeline = pipeline_new ("cuframessrc name=cuframes channel=test start=oldest ! %s ! fakesink name=end sync=false", writer);
  gint scribbled = 0;
  Feeder feeder;
  Catcher catcher;
  guint first_mappings = 0;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest io-mode=zero-copy"));
  if (by_probe) {
    GstElement *src = gst_bin_get_by_name (GST_BIN (pipeline), "cuframes");
    GstPad *pad = gst_element_get_static_pad (src, "src");
    gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, scribble, &scribbled, NULL);
    gst_object_unref (pad);
    gst_object_unref (src);
  }
  CHECK (pipeline_play (pipeline));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 2));
  REQUIRE (feeder_begin (&feeder, "video/x-raw,format=I420,width=64,height=48,framerate=30/1"));
  for (guint i = 0; i < 30; i++) {
    CatcherItem *item;
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (pipeline_stat (pipeline, "delivered") == i + 1));
    CHECK (!by_probe || WAIT_UNTIL (g_atomic_int_get (&scribbled) == (gint) i + 1));
    item = catcher_take_frame (&catcher);
    CHECK_EQUAL (item_number (item), i);
    item_free (item);
    if (i == 10)
      first_mappings = fixture_count_mappings ("memfd:cuframes");
  }
  CHECK_EQUAL (fixture_count_mappings ("memfd:cuframes"), first_mappings);
  CHECK (pipeline_is_well (pipeline));
  pipeline_stop (pipeline);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static void
test_writer_downstream (void)
{
  check_writer ("identity", TRUE);
}

static void
test_filter_downstream (void)
{
  check_writer ("videobalance saturation=0 contrast=0.2", FALSE);
}

static void
test_overlay_downstream (void)
{
  if (element_lacks ("textoverlay"))
    return;
  check_writer ("timeoverlay ! videoconvert", FALSE);
}

/* Upstream keeps a buffer that it has pushed, and writes to it. */
static void
test_writer_upstream (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest io-mode=zero-copy max-leases=4"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 20; i++) {
    GstBuffer *kept = feeder_frame (&feeder, i);
    CatcherItem *item;
    CHECK (gst_pad_push (feeder.pad, gst_buffer_ref (kept)) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    if (i % 2 == 0) {
      GstMapInfo map;
      kept = gst_buffer_make_writable (kept);
      CHECK (gst_buffer_map (kept, &map, GST_MAP_WRITE));
      memset (map.data, 0x11, map.size);
      gst_buffer_unmap (kept, &map);
    } else {
      GstVideoFrame frame;
      kept = gst_buffer_make_writable (kept);
      CHECK (gst_video_frame_map (&frame, &feeder.info, kept, GST_MAP_READWRITE));
      memset (GST_VIDEO_FRAME_PLANE_DATA (&frame, 0), 0x11, 64);
      gst_video_frame_unmap (&frame);
    }
    CHECK_EQUAL (item_number (item), i);
    item_free (item);
    gst_buffer_unref (kept);
  }
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* A frame that is mapped for reading upstream, as a decoder's reference picture is, is still published without a copy. */
static void
test_reader_upstream (void)
{
  GstBuffer *kept[4] = { NULL };
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, "slots=4"));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 40; i++) {
    gst_clear_buffer (&kept[i % 2]);
    kept[i % 2] = feeder_frame (&feeder, i);
    CHECK (gst_pad_push (feeder.pad, gst_buffer_ref (kept[i % 2])) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), i);
    CHECK_EQUAL (buffer_number (kept[i % 2], feeder.caps), i);
  }
  for (guint i = 0; i < 2; i++)
    gst_clear_buffer (&kept[i]);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* The producer stops its pool, as one that negotiates anew or goes away does, and what follows has the same caps and other memory. */
static void
test_stopped_pool (void)
{
  Catcher catcher;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (gst_pad_push (feeder.pad, feeder_frame (&feeder, 0)) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 0);
  CHECK (gst_buffer_pool_set_active (feeder.pool, FALSE));
  CHECK (gst_pad_push (feeder.pad, feeder_own_frame (&feeder, 1)) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 1);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* With overflow=wait a frame that is still in a stopped pool's slot is waited for too. */
static void
test_stopped_pool_waits (void)
{
  GstBuffer *last;
  Catcher catcher;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, "slots=2 overflow=wait overflow-timeout=200000000"));
  REQUIRE (catcher_open (&catcher, "start=oldest delivery=fifo"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  catcher_block (&catcher, TRUE);
  for (guint i = 0; i < 3; i++)
    CHECK (gst_pad_push (feeder.pad, feeder_frame (&feeder, i)) == GST_FLOW_OK);
  last = feeder_frame (&feeder, 3);
  CHECK (gst_buffer_pool_set_active (feeder.pool, FALSE));
  CHECK (gst_pad_push (feeder.pad, last) == GST_FLOW_OK);
  catcher_block (&catcher, FALSE);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* With overflow=wait a frame that must be copied waits for room as any other, also while upstream holds what was kept for it. */
static void
test_copy_waits (void)
{
  GstBuffer *held[2];
  Catcher catcher;
  Feeder feeder;

  REQUIRE (feeder_open (&feeder, "slots=2 overflow=wait overflow-timeout=3000000000"));
  REQUIRE (catcher_open (&catcher, "start=oldest delivery=fifo io-mode=copy"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  CHECK (gst_pad_push (feeder.pad, feeder_frame (&feeder, 0)) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 0);
  held[0] = feeder_frame (&feeder, 1000);
  held[1] = feeder_frame (&feeder, 1001);
  for (guint i = 1; i < 100; i++)
    CHECK (gst_pad_push (feeder.pad, feeder_own_frame (&feeder, i)) == GST_FLOW_OK);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 99);
  CHECK_EQUAL (stat_of (feeder.element, "drops"), 0);
  gst_buffer_unref (held[0]);
  gst_buffer_unref (held[1]);
  catcher_close (&catcher);
  feeder_close (&feeder);
}


static const FixtureTest tests[] = {
  {"with overflow=wait a frame that must be copied is waited for as any other", test_copy_waits},
  {"a frame in other memory follows one of a pool that was stopped", test_stopped_pool},
  {"a frame of a stopped pool waits for room no longer than told", test_stopped_pool_waits},
  {"videotestsrc writes into the ring in every kind of format and at odd sizes", test_testsrc},
  {"converters and scalers write into the ring", test_converters},
  {"queues and filters in between cost no copy", test_between},
  {"filters in place upstream cost no copy", test_filters_in_place},
  {"memory that is not ours costs one copy, which is counted", test_foreign_memory},
  {"the same buffer once more costs a copy and is another frame", test_same_buffer_again},
  {"H.264 decoders write into the ring", test_decoders},
  {"a JPEG decoder writes into the ring", test_jpeg},
  {"a probe downstream that writes gets a copy and changes nothing for others", test_writer_downstream},
  {"a filter in place downstream gets a copy and changes nothing for others", test_filter_downstream},
  {"an overlay downstream gets a copy and changes nothing for others", test_overlay_downstream},
  {"upstream that writes to a buffer after it was published gets a copy", test_writer_upstream},
  {"upstream may keep published buffers and read them", test_reader_upstream},
};

ELEMENT_MAIN (tests, NULL, 0)
