/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a frame carries beside its pixels: layout, crop, regions, time codes and what applications made up. */
#include "element-fixture.h"

#include <string.h>

#define BIG_BYTES (1000 * 1000)
#define CUSTOM "element-metas-custom"

typedef void (*Add) (GstBuffer * buffer);
typedef void (*Check) (GstBuffer * buffer);

static void
add_crop (GstBuffer * buffer)
{
  GstVideoCropMeta *meta = gst_buffer_add_video_crop_meta (buffer);

  meta->x = 3;
  meta->y = 5;
  meta->width = 30;
  meta->height = 20;
}

static void
check_crop (GstBuffer * buffer)
{
  GstVideoCropMeta *meta = gst_buffer_get_video_crop_meta (buffer);

  REQUIRE (meta != NULL);
  CHECK (meta->x == 3 && meta->y == 5 && meta->width == 30 && meta->height == 20);
}

static void
add_regions (GstBuffer * buffer)
{
  for (guint i = 0; i < 20; i++) {
    GstVideoRegionOfInterestMeta *meta = gst_buffer_add_video_region_of_interest_meta (buffer, i % 2 == 0 ? "face" : "car", i, i + 1, 10, 20);
    meta->id = i;
    meta->parent_id = i / 2;
    gst_video_region_of_interest_meta_add_param (meta, gst_structure_new ("detection", "confidence", G_TYPE_DOUBLE, i / 32.0, "label",
            G_TYPE_STRING, "a \"label\"; with, signs", NULL));
    gst_video_region_of_interest_meta_add_param (meta, gst_structure_new_empty ("second"));
  }
}

static void
check_regions (GstBuffer * buffer)
{
  gpointer state = NULL;
  GstMeta *found;
  guint count = 0;

  while ((found = gst_buffer_iterate_meta_filtered (buffer, &state, GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE)) != NULL) {
    GstVideoRegionOfInterestMeta *meta = (GstVideoRegionOfInterestMeta *) found;
    GstStructure *detection = gst_video_region_of_interest_meta_get_param (meta, "detection");
    gdouble confidence = -1;
    CHECK_EQUAL (meta->id, count);
    CHECK_EQUAL (meta->parent_id, count / 2);
    CHECK_EQUAL (meta->x, count);
    CHECK (meta->roi_type == g_quark_from_string (count % 2 == 0 ? "face" : "car"));
    CHECK (detection != NULL && gst_structure_get_double (detection, "confidence", &confidence) && confidence == count / 32.0);
    CHECK (detection != NULL && g_strcmp0 (gst_structure_get_string (detection, "label"), "a \"label\"; with, signs") == 0);
    CHECK (gst_video_region_of_interest_meta_get_param (meta, "second") != NULL);
    count++;
  }
  CHECK_EQUAL (count, 20);
}

static void
add_time_code (GstBuffer * buffer)
{
  GDateTime *day = g_date_time_new_utc (2024, 2, 29, 23, 59, 58.5);

  gst_buffer_add_video_time_code_meta_full (buffer, 30000, 1001, day, GST_VIDEO_TIME_CODE_FLAGS_DROP_FRAME, 23, 59, 58, 15, 0);
  g_date_time_unref (day);
}

static void
check_time_code (GstBuffer * buffer)
{
  GstVideoTimeCodeMeta *meta = gst_buffer_get_video_time_code_meta (buffer);
  gchar *text;

  REQUIRE (meta != NULL);
  text = gst_video_time_code_to_string (&meta->tc);
  CHECK (g_strcmp0 (text, "23:59:58;15") == 0);
  CHECK (meta->tc.config.fps_n == 30000 && meta->tc.config.fps_d == 1001);
  CHECK (meta->tc.config.latest_daily_jam != NULL && g_date_time_get_day_of_month (meta->tc.config.latest_daily_jam) == 29);
  g_free (text);
}

static void
add_reference (GstBuffer * buffer)
{
  GstCaps *ntp = gst_caps_new_empty_simple ("timestamp/x-ntp"), *ptp = gst_caps_from_string ("timestamp/x-ptp, version=(string)v2");

  gst_buffer_add_reference_timestamp_meta (buffer, ntp, G_GUINT64_CONSTANT (3900000000000000001), 40);
  gst_buffer_add_reference_timestamp_meta (buffer, ptp, 7, GST_CLOCK_TIME_NONE);
  gst_caps_unref (ntp);
  gst_caps_unref (ptp);
}

static void
check_reference (GstBuffer * buffer)
{
  GstCaps *ntp = gst_caps_new_empty_simple ("timestamp/x-ntp"), *ptp = gst_caps_from_string ("timestamp/x-ptp");
  GstReferenceTimestampMeta *meta = gst_buffer_get_reference_timestamp_meta (buffer, ntp);

  CHECK (meta != NULL && meta->timestamp == G_GUINT64_CONSTANT (3900000000000000001) && meta->duration == 40);
  meta = gst_buffer_get_reference_timestamp_meta (buffer, ptp);
  CHECK (meta != NULL && meta->timestamp == 7 && meta->duration == GST_CLOCK_TIME_NONE);
  gst_caps_unref (ntp);
  gst_caps_unref (ptp);
}

static void
register_custom (void)
{
  static const gchar *tags[] = { NULL };

  if (gst_meta_get_info (CUSTOM) == NULL)
    gst_meta_register_custom (CUSTOM, tags, NULL, NULL, NULL);
}

static void
add_custom_of (GstBuffer * buffer, gsize size)
{
  GstCustomMeta *meta = gst_buffer_add_custom_meta (buffer, CUSTOM);
  gchar *text = g_malloc (size + 1);

  memset (text, 'x', size);
  text[size] = 0;
  gst_structure_set (gst_custom_meta_get_structure (meta), "number", G_TYPE_INT64, G_MININT64, "text", G_TYPE_STRING, text, "rate",
      GST_TYPE_FRACTION, 1, 3, NULL);
  g_free (text);
}

static void
check_custom_of (GstBuffer * buffer, gsize size)
{
  GstCustomMeta *meta = gst_buffer_get_custom_meta (buffer, CUSTOM);
  gint64 number = 0;
  const gchar *text;

  REQUIRE (meta != NULL);
  CHECK (gst_structure_get_int64 (gst_custom_meta_get_structure (meta), "number", &number) && number == G_MININT64);
  text = gst_structure_get_string (gst_custom_meta_get_structure (meta), "text");
  CHECK (text != NULL && strlen (text) == size);
}

static void
add_custom (GstBuffer * buffer)
{
  add_custom_of (buffer, 3);
}

static void
check_custom (GstBuffer * buffer)
{
  check_custom_of (buffer, 3);
}

static void
add_big (GstBuffer * buffer)
{
  add_custom_of (buffer, BIG_BYTES);
}

static void
check_big (GstBuffer * buffer)
{
  check_custom_of (buffer, BIG_BYTES);
}

static void
add_all (GstBuffer * buffer)
{
  add_crop (buffer);
  add_regions (buffer);
  add_time_code (buffer);
  add_reference (buffer);
  add_custom (buffer);
}

static void
check_all (GstBuffer * buffer)
{
  check_crop (buffer);
  check_regions (buffer);
  check_time_code (buffer);
  check_reference (buffer);
  check_custom (buffer);
}

/* In our memory and in memory that is copied. */
static void
check_meta (Add add, Check check)
{
  Feeder feeder;
  Catcher catcher;

  register_custom ();
  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  for (guint i = 0; i < 4; i++) {
    GstBuffer *buffer = i % 2 == 0 ? feeder_frame (&feeder, i) : feeder_own_frame (&feeder, i);
    CatcherItem *item;
    add (buffer);
    CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    CHECK_EQUAL (item_number (item), i);
    check (GST_BUFFER (item->object));
    item_free (item);
  }
  /* And none on the frame after. */
  CHECK (feeder_push (&feeder, 4, 1) == GST_FLOW_OK);
  CatcherItem *item = catcher_take_frame (&catcher);
  CHECK (item != NULL && gst_buffer_get_n_meta (GST_BUFFER (item->object), GST_VIDEO_CROP_META_API_TYPE) == 0);
  CHECK (item != NULL && gst_buffer_get_custom_meta (GST_BUFFER (item->object), CUSTOM) == NULL);
  item_free (item);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

#define META_TEST(what) static void test_##what (void) { check_meta (add_##what, check_##what); }
META_TEST (crop);
META_TEST (regions);
META_TEST (time_code);
META_TEST (reference);
META_TEST (custom);
META_TEST (big);
META_TEST (all);

static void
test_too_big (void)
{
  Feeder feeder;
  Catcher catcher;
  GstBuffer *buffer;

  register_custom ();
  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  buffer = feeder_frame (&feeder, 1);
  add_custom_of (buffer, 8 * BIG_BYTES);
  CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  CHECK (pipeline_is_well (feeder.pipeline));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* Metas that have no meaning elsewhere are left out; the frame goes. */
static void
test_local_metas (void)
{
  Feeder feeder;
  Catcher catcher;
  GstBuffer *buffer, *parent = gst_buffer_new ();

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  buffer = feeder_frame (&feeder, 1);
  gst_buffer_add_parent_buffer_meta (buffer, parent);
  gst_buffer_add_protection_meta (buffer, gst_structure_new_empty ("application/x-cenc"));
  add_crop (buffer);
  CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_OK);
  CatcherItem *item = catcher_take_frame (&catcher);
  CHECK_EQUAL (item_number (item), 1);
  if (item != NULL)
    check_crop (GST_BUFFER (item->object));
  item_free (item);
  catcher_close (&catcher);
  feeder_close (&feeder);
  gst_buffer_unref (parent);
}

/* A buffer of the pool that upstream made smaller than its picture. */
static void
test_short_buffers (void)
{
  Feeder feeder;
  Catcher catcher;
  GstBuffer *buffer;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 1);
  buffer = feeder_frame (&feeder, 2);
  gst_buffer_set_size (buffer, 100);
  CHECK (gst_pad_push (feeder.pad, buffer) == GST_FLOW_ERROR);
  pipeline_stop_at_error (feeder.pipeline, "picture");
  CHECK (pipeline_is_well (catcher.pipeline));
  feeder_close (&feeder);
  catcher_close (&catcher);
}

static void
test_short_foreign_buffers (void)
{
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (gst_pad_push (feeder.pad, gst_buffer_new_allocate (NULL, 100, NULL)) == GST_FLOW_ERROR);
  pipeline_stop_at_error (feeder.pipeline, "picture");
  CHECK (pipeline_is_well (catcher.pipeline));
  feeder_close (&feeder);
  catcher_close (&catcher);
}

/* Layouts */

static GstBuffer *
new_padded (Feeder * feeder, guint64 number, gint left)
{
  gsize offsets[GST_VIDEO_MAX_PLANES] = { 0 }, total = (gsize) left;
  gint strides[GST_VIDEO_MAX_PLANES] = { 0 };
  GstBuffer *buffer;

  for (guint i = 0; i < GST_VIDEO_INFO_N_PLANES (&feeder->info); i++) {
    gint components[GST_VIDEO_MAX_COMPONENTS];
    gst_video_format_info_component (feeder->info.finfo, i, components);
    offsets[i] = total;
    strides[i] = GST_VIDEO_INFO_PLANE_STRIDE (&feeder->info, i) + 64;
    total += (gsize) strides[i] * GST_VIDEO_INFO_COMP_HEIGHT (&feeder->info, components[0]) + 33;
  }
  buffer = gst_buffer_new_allocate (NULL, total, NULL);
  gst_buffer_add_video_meta_full (buffer, 0, GST_VIDEO_INFO_FORMAT (&feeder->info), GST_VIDEO_INFO_WIDTH (&feeder->info),
      GST_VIDEO_INFO_HEIGHT (&feeder->info), GST_VIDEO_INFO_N_PLANES (&feeder->info), offsets, strides);
  CHECK (stamp_buffer (buffer, &feeder->info, number, feeder->source));
  return buffer;
}

static void
test_foreign_strides (void)
{
  static const char *const formats[] = { "I420", "NV12", "YUY2", "RGB", "RGBA", "GRAY8", "Y42B", "A420", "P010_10LE", "UYVY", "BGRx" };
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    gchar *caps = g_strdup_printf ("video/x-raw,format=%s,width=%u,height=%u,framerate=30/1", formats[i], i % 2 == 0 ? 641 : 322, 241);
    REQUIRE (feeder_begin (&feeder, caps));
    CHECK (gst_pad_push (feeder.pad, new_padded (&feeder, 2 * i, 16)) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), 2 * i);
    CHECK (feeder_push (&feeder, 2 * i + 1, 1) == GST_FLOW_OK);
    CHECK_EQUAL (catcher_take_number (&catcher), 2 * i + 1);
    g_free (caps);
  }
  CHECK_EQUAL (stat_of (feeder.element, "copies"), G_N_ELEMENTS (formats));
  CHECK (catcher_is_sound (&catcher));
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* Upstream asks the pool for an alignment: the subscriber sees real strides, and nothing is copied. */
static void
test_alignment (void)
{
  static const char *const formats[] = { "I420", "NV12", "YUY2", "RGB" };
  Feeder feeder;
  Catcher catcher;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++) {
    GstVideoAlignment alignment = {.padding_left = 16,.padding_right = 32,.padding_top = 4,.padding_bottom = 17,.stride_align = {127, 127, 127, 127} };
    gchar *caps = g_strdup_printf ("video/x-raw,format=%s,width=641,height=481,framerate=30/1", formats[i]);
    GstStructure *config;
    CatcherItem *item;
    GstVideoMeta *meta;
    REQUIRE (feeder_begin (&feeder, caps));
    gst_buffer_pool_set_active (feeder.pool, FALSE);
    config = gst_buffer_pool_get_config (feeder.pool);
    gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
    gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
    gst_buffer_pool_config_set_video_alignment (config, &alignment);
    if (!gst_buffer_pool_set_config (feeder.pool, config)) {
      config = gst_buffer_pool_get_config (feeder.pool);
      CHECK (gst_buffer_pool_set_config (feeder.pool, config));
    }
    REQUIRE (gst_buffer_pool_set_active (feeder.pool, TRUE));
    CHECK (feeder_push (&feeder, i, 1) == GST_FLOW_OK);
    item = catcher_take_frame (&catcher);
    REQUIRE (item != NULL);
    CHECK_EQUAL (item_number (item), i);
    meta = gst_buffer_get_video_meta (GST_BUFFER (item->object));
    REQUIRE (meta != NULL);
    CHECK (meta->stride[0] % 128 == 0 && meta->stride[0] > GST_VIDEO_INFO_PLANE_STRIDE (&feeder.info, 0));
    CHECK (meta->offset[0] > 0);
    CHECK (meta->width == 641 && meta->height == 481);
    item_free (item);
    g_free (caps);
  }
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 0);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

/* Planes in memories of their own, as V4L2 and DMA drivers give them. */
static void
test_memory_per_plane (void)
{
  Feeder feeder;
  Catcher catcher;
  GstBuffer *whole, *parts;

  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (catcher_open (&catcher, "start=oldest"));
  REQUIRE (feeder_begin (&feeder, "video/x-raw,format=I420,width=322,height=242,framerate=30/1"));
  whole = feeder_own_frame (&feeder, 5);
  parts = gst_buffer_new ();
  for (guint i = 0; i < 3; i++) {
    gsize start = GST_VIDEO_INFO_PLANE_OFFSET (&feeder.info, i);
    gsize end = i == 2 ? GST_VIDEO_INFO_SIZE (&feeder.info) : GST_VIDEO_INFO_PLANE_OFFSET (&feeder.info, i + 1);
    gst_buffer_append (parts, gst_buffer_copy_region (whole, GST_BUFFER_COPY_MEMORY | GST_BUFFER_COPY_DEEP, start, (gssize) (end - start)));
  }
  CHECK_EQUAL (gst_buffer_n_memory (parts), 3);
  CHECK (gst_pad_push (feeder.pad, parts) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 5);
  gst_buffer_unref (whole);
  /* A slot that shares its buffer with other memory is no slot. */
  whole = feeder_frame (&feeder, 6);
  gst_buffer_append_memory (whole, gst_allocator_alloc (NULL, 100, NULL));
  CHECK (gst_pad_push (feeder.pad, whole) == GST_FLOW_OK);
  CHECK_EQUAL (catcher_take_number (&catcher), 6);
  CHECK_EQUAL (stat_of (feeder.element, "copies"), 2);
  catcher_close (&catcher);
  feeder_close (&feeder);
}

static const FixtureTest tests[] = {
  {"a crop crosses", test_crop},
  {"regions of interest cross with their parameters", test_regions},
  {"a time code crosses with its daily jam", test_time_code},
  {"reference time stamps cross with their caps", test_reference},
  {"a custom meta crosses", test_custom},
  {"a custom meta of 1 MB crosses", test_big},
  {"all metas cross at once", test_all},
  {"a meta that is too big is left out and the frame goes", test_too_big},
  {"metas without meaning elsewhere are left out and the others go", test_local_metas},
  {"a buffer of the pool that is smaller than its picture is an error of the publisher's alone", test_short_buffers},
  {"a buffer of other memory that is smaller than its picture is one too", test_short_foreign_buffers},
  {"strides of foreign memory are read as GstVideoMeta says, at odd sizes in every kind of format", test_foreign_strides},
  {"an alignment that upstream asks for reaches the subscriber as real strides without a copy", test_alignment},
  {"planes in memories of their own are put together", test_memory_per_plane},
};

ELEMENT_MAIN (tests, NULL, 0)
