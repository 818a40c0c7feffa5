/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats that pictures in GPU memory cannot have: libgstcuda before 1.24 ends a process that asks it for one. */
#include "cuda-elements-fixture.h"

#define SIZE "width=(int)64, height=(int)64, framerate=(fraction)30/1"
#define GRAY_ON_GPU "video/x-raw(memory:CUDAMemory), format=(string)GRAY8, " SIZE
#define GRAY_ON_HOST "video/x-raw, format=(string)GRAY8, " SIZE

/* What a reader says of a publisher that says that of its frames in GPU memory, which are gray. */
static void
check_refused (const char *caps, const char *max_leases, const char *src_properties, const char *why)
{
  Child forger, reader;

  report_here ();
  START (&forger, AT_ONCE, "forger", fixture_path ("test.sock"), caps, max_leases);
  CHECK (child_expect (&forger, "open"));
  child_say (&forger, "publish");
  CHECK (child_expect (&forger, "published 1"));
  START (&reader, AT_ONCE, "reader", src_properties, "map");
  child_say (&reader, "error");
  expect_text (&reader, "error", why, NULL);
  expect_end (&reader);
  expect_end (&forger);
  expect_nothing_left (2);
}

static void
test_gray_from_a_publisher (void)
{
  check_refused (GRAY_ON_GPU, "4", "io-mode=copy", "GStreamer has no GPU memory of the format GRAY8");
  check_refused (GRAY_ON_GPU, "4", "io-mode=zero-copy", "GStreamer has no GPU memory of the format GRAY8");
}

static void
test_gray_from_a_publisher_of_one_lease (void)
{
  check_refused (GRAY_ON_GPU, "1", "io-mode=auto", "GStreamer has no GPU memory of the format GRAY8");
}

static void
test_gray_that_is_said_to_be_in_host_memory (void)
{
  check_refused (GRAY_ON_HOST, "4", "io-mode=copy", "does not fit its own format");
}

static gboolean
takes (GstPad * pad, const char *text)
{
  GstCaps *caps = gst_caps_from_string (text), *all = gst_pad_query_caps (pad, NULL);
  const gboolean can = gst_caps_can_intersect (caps, all) && gst_pad_query_accept_caps (pad, caps);

  gst_caps_unref (all);
  gst_caps_unref (caps);
  return can;
}

/* So that what is before it converts. */
static void
test_what_the_sink_asks_for (void)
{
  GstElement *sink = gst_element_factory_make ("cuframessink", NULL);
  GstPad *pad;

  REQUIRE (sink != NULL);
  pad = gst_element_get_static_pad (sink, "sink");
  CHECK (takes (pad, ON_GPU));
  CHECK (takes (pad, GRAY_ON_HOST));
  CHECK (!takes (pad, GRAY_ON_GPU));
  gst_object_unref (pad);
  gst_object_unref (sink);
}

static void
check_pipeline_fails (const char *description, const char *why)
{
  Child pipeline;

  START (&pipeline, AT_ONCE, "numbered", description);
  child_say (&pipeline, "error");
  expect_text (&pipeline, "error", why, NULL);
  expect_end (&pipeline);
}

static void
test_gray_into_the_sink (void)
{
  check_pipeline_fails ("fakesrc num-buffers=1 sizetype=fixed sizemax=4096 ! typefind force-caps=\"" GRAY_ON_GPU "\" ! cuframessink channel=test", "data stream");
}

static void
test_gray_into_the_payer (void)
{
  check_pipeline_fails ("fakesrc num-buffers=1 sizetype=fixed sizemax=4096 ! typefind force-caps=\"" GRAY_ON_GPU "\" ! cuframespay ! fakesink",
      "GStreamer has no GPU memory of the format GRAY8");
}

static const FixtureTest tests[] = {
  {"a publisher of gray frames in GPU memory is refused, copied or not", test_gray_from_a_publisher},
  {"a publisher of gray frames in GPU memory is refused where each frame is copied for want of leases", test_gray_from_a_publisher_of_one_lease},
  {"frames in GPU memory under caps of host memory are refused", test_gray_that_is_said_to_be_in_host_memory},
  {"the sink asks for formats that GPU memory can have", test_what_the_sink_asks_for},
  {"gray frames in GPU memory end in an error of the sink's pipeline", test_gray_into_the_sink},
  {"gray frames in GPU memory end in an error of the payer's", test_gray_into_the_payer},
};

ELEMENT_MAIN (tests, cuda_roles, cuda_role_count)
