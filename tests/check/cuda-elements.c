/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Frames in GPU memory over a channel from element to element, between processes: on the software driver, whose streams start each piece of work
 * late, so that whoever does not wait for it is found out by the number in the pixels, and with CUFRAMES_TEST_GPU=real on a real one. Nothing of
 * CUDA is in this process. */
#include "cuda-elements-fixture.h"

#define ON_HOST "video/x-raw,format=NV12,width=320,height=240,framerate=30/1"

/* A writer and a reader that has its first frame, and with it a GPU. */
static void
start_pair (Child * writer, const char *writer_environment, const char *sink_properties, const char *writer_how, Child * reader,
    const char *reader_environment, const char *src_properties, const char *reader_how)
{
  START (writer, writer_environment, "writer", sink_properties, writer_how);
  child_say (writer, "caps " ON_GPU);
  CHECK (child_expect (writer, "caps"));
  child_say (writer, "push 1 1");
  CHECK (child_expect (writer, "pushed 0"));
  START (reader, reader_environment, "reader", src_properties, reader_how);
  CHECK (child_expect (reader, "frame 1"));
}

/* One writer, one reader, every frame. */
static void
pass_frames_of (const char *writer_environment, const char *sink_properties, const char *writer_how, const char *reader_how, guint copies)
{
  gchar *properties = g_strdup_printf ("overflow=wait overflow-timeout=10000000000 %s", sink_properties);
  Child writer, reader;

  report_here ();
  start_pair (&writer, writer_environment, properties, writer_how, &reader, LATE, "reconnect=false", reader_how);
  child_say (&writer, "push 2 %u", COUNT - 1);
  CHECK (child_expect (&writer, "pushed 0"));
  CHECK (child_expect (&reader, "frame 60"));
  CHECK_EQUAL (ask (&writer, "frames"), COUNT);
  CHECK_EQUAL (ask (&writer, "copies"), copies);
  CHECK_EQUAL (ask (&reader, "copied"), 0);
  expect_end (&writer);
  expect_total (&reader, COUNT);
  expect_end (&reader);
  expect_nothing_left (2);
  g_free (properties);
}

static void
pass_frames (const char *sink_properties, const char *writer_how, const char *reader_how, guint copies)
{
  pass_frames_of (LATE, sink_properties, writer_how, reader_how, copies);
}

static void
test_slots_by_host (void)
{
  pass_frames ("gpu-sync=host", "queued", "map", 0);
}

static void
test_slots_by_fence (void)
{
  pass_frames ("gpu-sync=fence", "queued", "map", 0);
}

/* Nothing but the streams knows then when a frame is complete. */
static void
test_slots_by_fence_unseen (void)
{
  if (!needs_software ())
    pass_frames_of (LATE " FAKECUDA_FAIL=cuMemHostRegister:1", "gpu-sync=fence", "queued", "map", 0);
}

static void
test_slots_of_the_cpu (void)
{
  pass_frames ("gpu-sync=host", "mapped", "map", 0);
  pass_frames ("gpu-sync=fence", "mapped", "map", 0);
}

static void
test_foreign_memory (void)
{
  pass_frames ("gpu-sync=host", "foreign", "map", COUNT);
  pass_frames ("gpu-sync=fence", "foreign", "map", COUNT);
}

/* What frames cost that are copied, besides the memory that they come in. */
static void
test_memory_of_copies (void)
{
  gint64 before;
  Child writer;

  if (needs_software ())
    return;
  START (&writer, AT_ONCE, "writer", "", "foreign");
  child_say (&writer, "caps " ON_GPU);
  CHECK (child_expect (&writer, "caps"));
  child_say (&writer, "push 1 2");
  CHECK (child_expect (&writer, "pushed 0"));
  before = ask_for (&writer, "calls", "cuMemAllocPitch");
  CHECK (before > 0);
  child_say (&writer, "push 3 20");
  CHECK (child_expect (&writer, "pushed 0"));
  CHECK_EQUAL (ask (&writer, "copies"), 22);
  CHECK_EQUAL (ask_for (&writer, "calls", "cuMemAllocPitch") - before, 20);
  expect_end (&writer);
}

static void
test_reader_on_another_stream (void)
{
  if (!cuda_has_streams ()) {
    fixture_skip ("memory carries no stream before GStreamer 1.24");
    return;
  }
  pass_frames ("gpu-sync=host", "queued", "apart", 0);
  pass_frames ("gpu-sync=fence", "queued", "apart", 0);
}

/* The writer would like to have the slots back long before the reader's copies are done. */
static void
read_behind (const char *sync, const char *reader_environment)
{
  gchar *properties = g_strdup_printf ("overflow=drop slots=2 %s", sync);
  Child writer, reader;
  char line[256] = "";
  guint count = 0;

  start_pair (&writer, AT_ONCE, properties, "queued", &reader, reader_environment, "reconnect=false io-mode=zero-copy", "behind");
  child_say (&writer, "push 2 2000");
  CHECK (child_expect (&writer, "pushed 0"));
  expect_end (&writer);
  while (child_read (&reader, line, sizeof line) && !g_str_has_prefix (line, "total ")) {
    count += g_str_has_prefix (line, "frame ");
    CHECK (strstr (line, "torn") == NULL);
  }
  CHECK (count >= 5);
  CHECK (g_str_has_suffix (line, " bad 0"));
  expect_end (&reader);
  g_free (properties);
}

static void
test_reader_that_gives_back_early (void)
{
  if (!cuda_has_streams ()) {
    fixture_skip ("memory carries no stream before GStreamer 1.24");
    return;
  }
  read_behind ("gpu-sync=host", LATE);
  read_behind ("gpu-sync=fence", LATE);
}

static void
test_reader_whose_driver_calls_nobody (void)
{
  if (!cuda_has_streams ()) {
    fixture_skip ("memory carries no stream before GStreamer 1.24");
    return;
  }
  if (!needs_software ())
    read_behind ("gpu-sync=host", LATE " FAKECUDA_FAIL=cuLaunchHostFunc:0");
}

static void
run_pipelines (const char *sync)
{
  gchar *publish = g_strdup_printf ("videotestsrc name=write num-buffers=%u ! " ON_HOST " ! cudaupload ! " ON_GPU
      " ! cuframessink name=cuframes channel=test sync=false slots=64 wait-for-subscribers=1 %s", COUNT, sync);
  Child publisher, subscriber;

  report_here ();
  START (&publisher, LATE, "numbered", publish);
  CHECK (child_expect (&publisher, "playing"));
  START (&subscriber, LATE, "numbered",
      "cuframessrc name=cuframes channel=test start=next reconnect=false ! cudadownload ! video/x-raw ! fakesink name=read sync=false");
  CHECK (child_expect (&subscriber, "playing"));
  child_say (&publisher, "eos");
  child_say (&subscriber, "eos");
  CHECK (child_expect (&publisher, "eos 1"));
  CHECK (child_expect (&subscriber, "eos 1"));
  CHECK_EQUAL (ask (&publisher, "frames"), COUNT);
  CHECK_EQUAL (ask (&publisher, "copies"), 0);
  CHECK_EQUAL (ask (&subscriber, "copied"), 0);
  close (subscriber.in);
  subscriber.in = -1;
  expect_total (&subscriber, COUNT);
  expect_end (&subscriber);
  expect_end (&publisher);
  expect_nothing_left (2);
  g_free (publish);
}

static void
test_pipelines (void)
{
  run_pipelines ("gpu-sync=host");
  run_pipelines ("gpu-sync=fence");
}

/* The publisher dies when it has announced frames that its GPU has not written. The reader is waiting for one of them on the GPU. */
static void
test_killed_by_fence (void)
{
  static const char *const properties = "gpu-sync=fence overflow=drop slots=8";
  Child writer, reader;
  char line[256] = "";
  guint bad = 0;

  start_pair (&writer, LATE, properties, "queued", &reader, LATE, "", "map");
  child_say (&writer, "push 2 2");
  CHECK (child_expect (&reader, "frame 3"));
  child_say (&writer, "unwritten 4");
  if (cuda_has_streams ()) {
    CHECK (child_expect (&writer, "unwritten 0"));
    CHECK (WAIT_UNTIL (ask (&reader, "delivered") == 4));
  }
  child_kill (&writer);

  START (&writer, LATE, "writer", properties, "queued");
  child_say (&writer, "caps " ON_GPU);
  CHECK (child_expect (&writer, "caps"));
  CHECK (WAIT_UNTIL (ask (&writer, "num-subscribers") == 1));
  child_say (&writer, "push 101 3");
  while (child_read (&reader, line, sizeof line) && !g_str_has_prefix (line, "frame 103"))
    bad += strstr (line, "torn") != NULL;
  CHECK (g_str_has_prefix (line, "frame 103"));
  /* What was on its way downstream when the publisher died cannot be taken back. */
  CHECK (bad <= 1);
  expect_end (&writer);
  expect_end (&reader);
}

/* A publisher that ends in order has completed what it announced, however late its GPU is, and whether or not it writes fences to the host. */
static void
test_ends_by_fence (void)
{
  Child writer, reader;

  for (guint round = 0; round < 5; round++) {
    start_pair (&writer, round % 2 == 0 ? "FAKECUDA_DELAY_US=20000" : "FAKECUDA_DELAY_US=20000 FAKECUDA_FAIL=cuMemHostRegister:1",
        "gpu-sync=fence", "queued", &reader, AT_ONCE, "reconnect=false", "map");
    child_say (&writer, "push 2 3");
    expect_end (&writer);
    expect_total (&reader, 4);
    expect_end (&reader);
  }
}

static void
test_no_driver (void)
{
  gchar *none;
  Child writer, reader;

  if (needs_software ())
    return;
  none = g_strdup_printf ("LD_LIBRARY_PATH GST_REGISTRY=%s", fixture_path ("registry"));
  START (&writer, none, "writer", "", "queued");
  CHECK (child_expect (&writer, "open"));
  child_say (&writer, "caps " ON_GPU);
  expect_text (&writer, "error", "libcuda.so.1 was not found", "install the NVIDIA driver", NULL);
  expect_end (&writer);

  START (&writer, "", "writer", "", "queued");
  child_say (&writer, "caps " ON_GPU);
  CHECK (child_expect (&writer, "caps"));
  child_say (&writer, "push 1 1");
  START (&reader, none, "reader", "", "map");
  child_say (&reader, "error");
  expect_text (&reader, "error", "in GPU memory", "libcuda.so.1 was not found", "install the NVIDIA driver", NULL);
  expect_end (&reader);
  expect_end (&writer);

  START (&writer, none, "writer", "wait-for-subscribers=1", "queued");
  child_say (&writer, "caps " ON_HOST);
  CHECK (child_expect (&writer, "caps"));
  START (&reader, none, "reader", "reconnect=false", "map");
  child_say (&writer, "push 1 2");
  CHECK (child_expect (&reader, "caps host"));
  expect_end (&writer);
  expect_total (&reader, 2);
  expect_end (&reader);
  g_free (none);
}

/* Both sides on a driver or a GPU that lacks something. */
static void
lack (const char *environment, const char *part)
{
  Child writer, reader;

  START (&writer, environment, "writer", "", "queued");
  child_say (&writer, "caps " ON_GPU);
  expect_text (&writer, "error", part, NULL);
  expect_end (&writer);

  START (&writer, "", "writer", "", "queued");
  child_say (&writer, "caps " ON_GPU);
  CHECK (child_expect (&writer, "caps"));
  child_say (&writer, "push 1 1");
  START (&reader, environment, "reader", "", "map");
  child_say (&reader, "error");
  expect_text (&reader, "error", "in GPU memory", part, NULL);
  expect_end (&reader);
  expect_end (&writer);
}

static void
test_no_memory_management (void)
{
  if (needs_software ())
    return;
  lack ("FAKECUDA_NO_VMM=1", "does not support CUDA virtual memory management");
}

static void
test_old_driver (void)
{
  if (needs_software ())
    return;
  lack ("FAKECUDA_DRIVER_VERSION=10000", "CUDA");
}

static void
test_no_gpu (void)
{
  if (needs_software ())
    return;
  lack ("FAKECUDA_NO_DEVICE=1", "CUDA");
}

/* One side is without stream memory operations. */
static void
pass_without_fences (const char *writer_environment, const char *reader_environment)
{
  Child writer, reader;

  start_pair (&writer, writer_environment, "gpu-sync=fence", "queued", &reader, reader_environment, "reconnect=false", "map");
  child_say (&writer, "push 2 7");
  CHECK (child_expect (&writer, "pushed 0"));
  expect_end (&writer);
  expect_total (&reader, 8);
  expect_end (&reader);
}

static void
test_no_fences (void)
{
  if (needs_software ())
    return;
  pass_without_fences (LATE " FAKECUDA_NO_STREAM_MEM_OPS=1", LATE);
  pass_without_fences (LATE, LATE " FAKECUDA_NO_STREAM_MEM_OPS=1");
}

/* As many as the driver's kernel module has, or the software driver if it is told to. */
static guint
count_gpus (void)
{
  GDir *directory = is_real () ? g_dir_open ("/proc/driver/nvidia/gpus", 0, NULL) : NULL;
  guint count = 0;

  if (!is_real ())
    return 2;
  while (directory != NULL && g_dir_read_name (directory) != NULL)
    count++;
  g_clear_pointer (&directory, g_dir_close);
  return count;
}

static void
test_two_gpus_out_of_reach (void)
{
  Child writer, reader;

  if (needs_software ())
    return;
  START (&writer, LATE " FAKECUDA_DEVICES=2", "writer", "cuda-device-id=0", "queued");
  child_say (&writer, "caps " ON_GPU);
  CHECK (child_expect (&writer, "caps"));
  child_say (&writer, "push 1 1");
  START (&reader, "FAKECUDA_DEVICES=2 FAKECUDA_PEER=0", "reader", "cuda-device-id=1", "map");
  child_say (&reader, "error");
  expect_text (&reader, "error", "GPU-66616b65-6375-6461-2d64-657669636530", "Software GPU 1 (GPU-66616b65-6375-6461-2d64-657669636531)", NULL);
  expect_end (&reader);
  expect_end (&writer);
}

/* From the memory of one GPU to the other's streams. */
static void
read_from_another_gpu (const char *sync, const char *src_properties)
{
  gchar *properties = g_strdup_printf ("cuda-device-id=0 overflow=wait overflow-timeout=10000000000 %s", sync);
  gchar *reading = g_strdup_printf ("cuda-device-id=1 reconnect=false %s", src_properties);
  Child writer, reader;

  start_pair (&writer, LATE " FAKECUDA_DEVICES=2", properties, "queued", &reader, LATE " FAKECUDA_DEVICES=2", reading, "map");
  child_say (&writer, "push 2 %u", COUNT - 1);
  CHECK (child_expect (&writer, "pushed 0"));
  expect_end (&writer);
  expect_total (&reader, COUNT);
  expect_end (&reader);
  g_free (properties);
  g_free (reading);
}

static void
test_two_gpus_within_reach (void)
{
  if (count_gpus () < 2) {
    fixture_skip ("there is one GPU");
    return;
  }
  read_from_another_gpu ("gpu-sync=host", "");
  read_from_another_gpu ("gpu-sync=fence", "");
  read_from_another_gpu ("gpu-sync=fence", "io-mode=copy");
}

static void
test_memory_changes (void)
{
  static const char *const caps[] = { ON_HOST, ON_GPU, ON_HOST, ON_GPU };
  Child writer, reader;
  guint number = 1;

  report_here ();
  START (&writer, LATE, "writer", "", "queued");
  START (&reader, LATE, "reader", "", "map");
  for (guint i = 0; i < G_N_ELEMENTS (caps); i++, number += 5) {
    gchar *last = g_strdup_printf ("frame %u", number + 4);
    child_say (&writer, "caps %s", caps[i]);
    CHECK (child_expect (&writer, "caps"));
    child_say (&writer, "push %u 5", number);
    CHECK (child_expect (&reader, caps[i] == caps[0] ? "caps host" : "caps gpu"));
    CHECK (child_expect (&reader, last));
    g_free (last);
  }
  CHECK_EQUAL (ask (&reader, "connections"), 2);
  expect_end (&writer);
  expect_end (&reader);
  expect_nothing_left (2);
}

static const FixtureTest tests[] = {
  {"frames in slots cross without a copy, complete when they are announced", test_slots_by_host},
  {"frames in slots cross without a copy, complete by a fence", test_slots_by_fence},
  {"frames in slots cross complete by a fence that the host cannot see", test_slots_by_fence_unseen},
  {"what the CPU wrote into slots of the GPU arrives", test_slots_of_the_cpu},
  {"frames in other GPU memory are copied once each, and whole", test_foreign_memory},
  {"frames that are copied take no memory of the GPU one by one", test_memory_of_copies},
  {"a reader on another stream waits as GStreamer has it", test_reader_on_another_stream},
  {"a slot comes back when the reader's GPU is done, not its CPU", test_reader_that_gives_back_early},
  {"a slot comes back when the reader's GPU is done though the driver calls nobody", test_reader_whose_driver_calls_nobody},
  {"cudaupload to cudadownload by both ways of waiting", test_pipelines},
  {"a reader that waits for a dead publisher is rescued and goes on with the next", test_killed_by_fence},
  {"a publisher that ends has completed what it announced", test_ends_by_fence},
  {"without a driver each side says so, and host memory works", test_no_driver},
  {"a GPU without virtual memory management is named", test_no_memory_management},
  {"a driver that is too old is told", test_old_driver},
  {"a driver without a GPU is told", test_no_gpu},
  {"GPUs without stream memory operations wait on the CPU", test_no_fences},
  {"two GPUs are both named when they do not reach each other", test_two_gpus_out_of_reach},
  {"a GPU reads what is in the memory of another one within reach", test_two_gpus_within_reach},
  {"a channel goes from host memory to GPU memory and back", test_memory_changes},
};

ELEMENT_MAIN (tests, cuda_roles, cuda_role_count)
