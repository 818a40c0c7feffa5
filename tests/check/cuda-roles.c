/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Processes of the tests of GPU memory: one that writes frames with a GPU, one that reads them in several ways, and pipelines that know the
 * numbers in the pixels. What a GPU writes here is queued and late, so that whoever does not wait for it sees another frame or half of one. */
#define _GNU_SOURCE
#include "cuda-roles.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuda-forger.h"
#include "gstcuframescompat.h"
#include "pay-fixture.h"

#define FRAME_NS (GST_SECOND / 30)

static void __attribute__((constructor))
start_again (int argc, char **argv)
{
  char *words = getenv (CUDA_ROLE_ENVIRONMENT), *rest = NULL;

  if (words == NULL)
    return;
  words = strdup (words);
  unsetenv (CUDA_ROLE_ENVIRONMENT);
  for (char *word = strtok_r (words, " ", &rest); word != NULL; word = strtok_r (NULL, " ", &rest)) {
    char *value = strchr (word, '=');
    if (value == NULL)
      unsetenv (word);
    else {
      *value = 0;
      setenv (word, value + 1, 1);
    }
  }
  execv ("/proc/self/exe", argv);
  _exit (127);
}

gboolean
cuda_has_streams (void)
{
#if GST_CHECK_VERSION (1, 24, 0)
  return TRUE;
#else
  return FALSE;
#endif
}

static void
set_stream (GstStructure * config, GstCudaStream * stream)
{
#if GST_CHECK_VERSION (1, 24, 0)
  gst_buffer_pool_config_set_cuda_stream (config, stream);
#endif
}

/* Memory that is no slot, written on a stream. */
static GstMemory *
alloc_foreign (GstCudaContext * context, GstCudaStream * stream, const GstVideoInfo * info)
{
#if GST_CHECK_VERSION (1, 24, 0)
  return gst_cuda_allocator_alloc (NULL, context, stream, info);
#else
  return gst_cuframes_compat_alloc (context, stream, info);
#endif
}

static void *
find_in_driver (const char *function)
{
  void *library = dlopen ("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);

  return library == NULL ? NULL : dlsym (library, function);
}

/* How often the software driver was called. */
static int
count_calls (const char *call)
{
  int (*calls) (const char *) = NULL;
  void *symbol = find_in_driver ("fakecuda_calls");

  memcpy (&calls, &symbol, sizeof calls);
  return calls == NULL ? -1 : calls (call);
}

static gboolean
read_order (char *line, int line_bytes)
{
  if (fgets (line, line_bytes, stdin) == NULL)
    return FALSE;
  line[strcspn (line, "\n")] = 0;
  return TRUE;
}

static void
print_error (GstElement * pipeline)
{
  gchar *text = pipeline_take_error (pipeline);

  printf ("error %s\n", text == NULL ? "none" : text);
  g_free (text);
}

/* A picture in the CPU's memory, laid out as on the GPU. */
static GstBuffer *
wrap_picture (gpointer picture, gsize bytes, GstVideoInfo * info)
{
  GstBuffer *buffer = gst_buffer_new_wrapped_full (0, picture, bytes, 0, bytes, NULL, NULL);

  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (info), GST_VIDEO_INFO_WIDTH (info),
      GST_VIDEO_INFO_HEIGHT (info), GST_VIDEO_INFO_N_PLANES (info), info->offset, info->stride);
  return buffer;
}

/* Between that and memory of a GPU. */
static gboolean
queue_copy (GstMemory * memory, gpointer picture, gboolean to_gpu, CUstream stream)
{
  const gsize pitch = GST_VIDEO_INFO_PLANE_STRIDE (&GST_CUDA_MEMORY_CAST (memory)->info, 0);
  CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_DEVICE,.dstMemoryType = CU_MEMORYTYPE_HOST };
  GstMapInfo map;
  gboolean queued;

  if (!gst_memory_map (memory, &map, (GstMapFlags) ((to_gpu ? GST_MAP_WRITE : GST_MAP_READ) | GST_MAP_CUDA)))
    return FALSE;
  if (to_gpu) {
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  }
  copy.srcDevice = copy.dstDevice = (CUdeviceptr) (guintptr) map.data;
  copy.srcHost = copy.dstHost = picture;
  copy.srcPitch = copy.dstPitch = copy.WidthInBytes = pitch;
  copy.Height = memory->size / pitch;
  queued = CuMemcpy2DAsync (&copy, stream) == CUDA_SUCCESS;
  gst_memory_unmap (memory, &map);
  return queued;
}

/* ---- writing ---- */

typedef struct
{
  Feeder feeder;
  GstCudaContext *context;
  GstCudaStream *stream;        /* that frames are written on */
  const char *how;
} Writer;

/* Memory is given back when the GPU is done with it, in another thread: a process that ends before that leaves it behind. */
static void
let_go_of (GstCudaContext * context)
{
  if (context == NULL)
    return;
  CHECK (WAIT_UNTIL (GST_OBJECT_REFCOUNT_VALUE (context) == 1));
  gst_object_unref (context);
}

/* The element keeps its own reference as long as it is open. */
static void
leave_gpu (Writer * writer)
{
  gst_cuframes_compat_stream_unref (writer->stream);
  writer->stream = NULL;
  gst_clear_object (&writer->context);
}

/* The sink's pool, told the stream that writes. */
static gboolean
negotiate_on_gpu (Writer * writer)
{
  Feeder *feeder = &writer->feeder;
  GstStructure *config;

  if (!feeder_negotiate (feeder))
    return FALSE;
  gst_buffer_pool_set_active (feeder->pool, FALSE);
  writer->context = gst_object_ref (GST_CUDA_BUFFER_POOL (feeder->pool)->context);
  writer->stream = gst_cuframes_compat_stream_new (writer->context);
  config = gst_buffer_pool_get_config (feeder->pool);
  set_stream (config, writer->stream);
  return gst_buffer_pool_set_config (feeder->pool, config) && gst_buffer_pool_set_active (feeder->pool, TRUE);
}

static gboolean
take_caps (Writer * writer, const char *caps)
{
  if (!feeder_send_caps (&writer->feeder, caps))
    return FALSE;
  leave_gpu (writer);
  if (strstr (caps, "CUDAMemory") == NULL)
    return feeder_negotiate (&writer->feeder);
  return negotiate_on_gpu (writer);
}

static GstBuffer *
make_foreign_frame (Writer * writer, guint64 number)
{
  Feeder *feeder = &writer->feeder;
  GstMemory *memory = alloc_foreign (writer->context, writer->stream, &feeder->info);
  GstVideoInfo *info = &GST_CUDA_MEMORY_CAST (memory)->info;
  GstBuffer *buffer = gst_buffer_new ();

  gst_buffer_append_memory (buffer, memory);
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (info), GST_VIDEO_INFO_WIDTH (info),
      GST_VIDEO_INFO_HEIGHT (info), GST_VIDEO_INFO_N_PLANES (info), info->offset, info->stride);
  CHECK (stamp_buffer (buffer, &feeder->info, number, feeder->source));
  GST_BUFFER_PTS (buffer) = number * FRAME_NS;
  GST_BUFFER_DURATION (buffer) = FRAME_NS;
  return buffer;
}

/* The GPU is still to write it, except where nothing would tell who reads it. */
static GstBuffer *
make_queued_frame (Writer * writer, guint64 number)
{
  Feeder *feeder = &writer->feeder;
  GstBuffer *buffer = NULL, *host;
  CUstream stream = gst_cuframes_compat_stream_get_handle (writer->stream);
  GstMemory *memory;
  gpointer picture;

  CHECK (gst_buffer_pool_acquire_buffer (feeder->pool, &buffer, NULL) == GST_FLOW_OK);
  memory = gst_buffer_peek_memory (buffer, 0);
  picture = g_malloc0 (memory->size);
  host = wrap_picture (picture, memory->size, &GST_CUDA_MEMORY_CAST (memory)->info);
  CHECK (stamp_buffer (host, &feeder->info, number, feeder->source));
  gst_buffer_unref (host);
  gst_cuda_context_push (writer->context);
  CHECK (queue_copy (memory, picture, TRUE, stream));
  if (!cuda_has_streams ())
    CuStreamSynchronize (stream);
  gst_cuda_context_pop (NULL);
  g_free (picture);
  GST_BUFFER_PTS (buffer) = number * FRAME_NS;
  GST_BUFFER_DURATION (buffer) = FRAME_NS;
  return buffer;
}

static GstFlowReturn
push (Writer * writer, guint64 first, guint count)
{
  GstFlowReturn flow = GST_FLOW_OK;

  if (strcmp (writer->how, "mapped") == 0 || writer->context == NULL)
    return feeder_push (&writer->feeder, first, count);
  for (guint i = 0; i < count && flow == GST_FLOW_OK; i++)
    flow = gst_pad_push (writer->feeder.pad, strcmp (writer->how, "foreign") == 0 ? make_foreign_frame (writer, first + i)
        : make_queued_frame (writer, first + i));
  return flow;
}

/* The stream does nothing more: on the software driver by its own word, on a real one by a wait that nobody ends. */
static gboolean
hold_stream (Writer * writer)
{
  CUstream stream = gst_cuframes_compat_stream_get_handle (writer->stream);
  CUresult (*wait_value) (CUstream, CUdeviceptr, guint64, unsigned) = NULL;
  void (*hold) (void) = NULL;
  void *symbol = find_in_driver ("fakecuda_hold_streams");
  CUdeviceptr word = 0;
  gboolean held;

  if (symbol != NULL) {
    memcpy (&hold, &symbol, sizeof hold);
    hold ();
    return TRUE;
  }
  symbol = find_in_driver ("cuStreamWaitValue64_v2");
  memcpy (&wait_value, &symbol, sizeof wait_value);
  gst_cuda_context_push (writer->context);
  /* No memory is all ones. */
  held = wait_value != NULL && CuMemAlloc (&word, sizeof (guint64)) == CUDA_SUCCESS
      && wait_value (stream, word, G_MAXUINT64, CU_STREAM_WAIT_VALUE_EQ) == CUDA_SUCCESS;
  gst_cuda_context_pop (NULL);
  return held;
}

/* A frame that the GPU will never write. What it would be is pinned, so that the copy is queued and no more. */
static void
push_unwritten (Writer * writer, guint64 number)
{
  Feeder *feeder = &writer->feeder;
  GstBuffer *buffer = NULL;
  gpointer picture = NULL;
  GstMemory *memory;

  if (find_in_driver ("fakecuda_hold_streams") != NULL || !cuda_has_streams ()) {
    CHECK (hold_stream (writer));
    buffer = make_queued_frame (writer, number);
  } else {
    CHECK (gst_buffer_pool_acquire_buffer (feeder->pool, &buffer, NULL) == GST_FLOW_OK);
    memory = gst_buffer_peek_memory (buffer, 0);
    gst_cuda_context_push (writer->context);
    CHECK (CuMemAllocHost (&picture, memory->size) == CUDA_SUCCESS);
    gst_cuda_context_pop (NULL);
    CHECK (hold_stream (writer));
    gst_cuda_context_push (writer->context);
    CHECK (queue_copy (memory, picture, TRUE, gst_cuframes_compat_stream_get_handle (writer->stream)));
    gst_cuda_context_pop (NULL);
  }
  printf ("unwritten %d\n", gst_pad_push (feeder->pad, buffer));
}

/* A connection instead of a channel. */
static gboolean
open_with_added (Feeder * feeder, const char *properties, int fd)
{
  GSocket *socket = g_socket_new_from_fd (fd, NULL);
  gboolean added = FALSE;

  feeder_prepare (feeder, properties);
  g_object_set (feeder->element, "channel", NULL, NULL);
  g_signal_emit_by_name (feeder->element, "add", socket, &added);
  g_object_unref (socket);
  return added && pipeline_play (feeder->pipeline);
}

static void
prepare_with_given (Catcher * catcher, const char *properties, int fd)
{
  GSocket *socket = g_socket_new_from_fd (fd, NULL);

  catcher_prepare (catcher, properties);
  g_object_set (catcher->element, "channel", NULL, "socket", socket, NULL);
  g_object_unref (socket);
}

/* Waits for the GPU, behind which memory comes back, and sends what makes a multisocketsink let go of what it has sent. */
static gboolean
settle (Writer * writer)
{
  gboolean idle = FALSE;

  if (gst_cuda_context_push (writer->context)) {
    idle = CuStreamSynchronize (gst_cuframes_compat_stream_get_handle (writer->stream)) == CUDA_SUCCESS;
    gst_cuda_context_pop (NULL);
  }
  return feeder_event (&writer->feeder, gst_event_new_gap (0, 1)) && idle;
}

/* The sink; with "added=N PROPERTIES" one that serves that socket alone, with "descriptor=N PROPERTIES" a payer that sends to it. */
static gboolean
open_writer (Feeder * feeder, const char *properties)
{
  int fd, length;

  if (sscanf (properties, "descriptor=%d%n", &fd, &length) == 1)
    return payer_open (feeder, properties + length, fd);
  if (sscanf (properties, "added=%d%n", &fd, &length) == 1)
    return open_with_added (feeder, properties + length, fd);
  return feeder_open (feeder, properties);
}

/* PROPERTIES, how frames are made ("queued": slots written by a GPU that is late, "mapped": slots written by the CPU, "foreign": other memory): "caps CAPS", "push FIRST COUNT", "unwritten NUMBER", "settle" (see above), "calls FUNCTION" of the driver, "stat FIELD". */
static int
play_writer (int argc, char **argv)
{
  Writer writer = {.how = argv[1] };
  char line[2048];
  guint64 first;
  guint count;

  if (!open_writer (&writer.feeder, argv[0])) {
    print_error (writer.feeder.pipeline);
    return 1;
  }
  printf ("open\n");
  while (read_order (line, sizeof line)) {
    if (g_str_has_prefix (line, "caps ")) {
      if (take_caps (&writer, line + 5))
        printf ("caps\n");
      else
        print_error (writer.feeder.pipeline);
    } else if (sscanf (line, "push %" G_GUINT64_FORMAT " %u", &first, &count) == 2)
      printf ("pushed %d\n", push (&writer, first, count));
    else if (g_str_has_prefix (line, "stat "))
      printf ("stat %" G_GINT64_FORMAT "\n", stat_of (writer.feeder.element, line + 5));
    else if (strcmp (line, "settle") == 0)
      printf ("settled %d\n", settle (&writer));
    else if (g_str_has_prefix (line, "calls "))
      printf ("stat %d\n", count_calls (line + 6));
    else if (sscanf (line, "unwritten %" G_GUINT64_FORMAT, &first) == 1)
      push_unwritten (&writer, first);
  }
  CHECK (pipeline_is_well (writer.feeder.pipeline));
  feeder_close (&writer.feeder);
  gst_cuframes_compat_stream_unref (writer.stream);
  let_go_of (writer.context);
  return 0;
}

/* ---- reading ---- */

typedef struct
{
  Catcher catcher;
  const char *how;
  GstCudaContext *context;
  GstCudaStream *stream;        /* of our own */
  gpointer picture;             /* pinned, so that a copy to it is under way when the call returns */
  gsize picture_bytes;
  guint frames, bad;
} Reader;

static gboolean
make_room (Reader * reader, GstMemory * memory)
{
  if (reader->context != NULL)
    return TRUE;
  reader->context = gst_object_ref (GST_CUDA_MEMORY_CAST (memory)->context);
  reader->stream = gst_cuframes_compat_stream_new (reader->context);
  reader->picture_bytes = memory->size;
  gst_cuda_context_push (reader->context);
  CuMemAllocHost (&reader->picture, memory->size);
  gst_cuda_context_pop (NULL);
  return reader->picture != NULL;
}

/* The number in the copy. */
static guint64
read_picture (Reader * reader, GstVideoInfo * info)
{
  GstBuffer *copy = wrap_picture (reader->picture, reader->picture_bytes, info);
  guint64 number = buffer_number (copy, reader->catcher.caps);

  gst_buffer_unref (copy);
  return number;
}

/* Consumes the buffer. "apart": waits as GStreamer has it, then reads on a stream of its own. "behind": queues the copy on the memory's
 * stream and gives the frame back before it is done. */
static guint64
read_on_gpu (Reader * reader, GstBuffer * buffer)
{
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);
  const gboolean apart = strcmp (reader->how, "apart") == 0;
  guint64 number = G_MAXUINT64;
  GstVideoInfo info;

  if (make_room (reader, memory) && gst_cuda_context_push (reader->context)) {
    CUstream stream = gst_cuframes_compat_stream_get_handle (apart ? reader->stream : gst_cuframes_compat_memory_get_stream (memory));
    info = GST_CUDA_MEMORY_CAST (memory)->info;
    if (apart)
      gst_cuframes_compat_memory_sync (memory);
    if (memory->size <= reader->picture_bytes && queue_copy (memory, reader->picture, FALSE, stream)) {
      if (!apart)
        gst_clear_buffer (&buffer);
      CuStreamSynchronize (stream);
      number = read_picture (reader, &info);
    }
    gst_cuda_context_pop (NULL);
  }
  gst_clear_buffer (&buffer);
  return number;
}

static GstFlowReturn
on_frame (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  Reader *reader = gst_pad_get_element_private (pad);
  const guint64 expected = GST_BUFFER_PTS (buffer) / FRAME_NS;
  guint64 number;

  if (strcmp (reader->how, "map") == 0) {
    number = buffer_number (buffer, reader->catcher.caps);
    gst_buffer_unref (buffer);
  } else
    number = read_on_gpu (reader, buffer);
  reader->frames++;
  reader->bad += number != expected;
  printf ("frame %" G_GUINT64_FORMAT "%s\n", expected, number == expected ? "" : " is another or torn");
  return GST_FLOW_OK;
}

static gboolean
on_reader_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  Reader *reader = gst_pad_get_element_private (pad);
  GstCaps *caps;

  if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS) {
    gst_event_parse_caps (event, &caps);
    gst_caps_replace (&reader->catcher.caps, caps);
    printf ("caps %s\n", gst_caps_features_contains (gst_caps_get_features (caps, 0), GST_CAPS_FEATURE_MEMORY_CUDA_MEMORY) ? "gpu" : "host");
  }
  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    printf ("total %u bad %u\n", reader->frames, reader->bad);
  gst_event_unref (event);
  return TRUE;
}

static void
close_reader (Reader * reader)
{
  catcher_close (&reader->catcher);
  if (reader->context == NULL)
    return;
  gst_cuda_context_push (reader->context);
  CuMemFreeHost (reader->picture);
  gst_cuda_context_pop (NULL);
  gst_cuframes_compat_stream_unref (reader->stream);
  let_go_of (reader->context);
}

/* The source; with "added=N PROPERTIES" one that is given that socket, with "descriptor=N PROPERTIES" a depayer that reads from it. */
static void
prepare_reader (Catcher * catcher, const char *properties)
{
  gchar *all = g_strdup_printf ("timestamps=original start=oldest %s", properties);
  int fd, length;

  if (sscanf (properties, "descriptor=%d%n", &fd, &length) == 1)
    catcher_attach (catcher, depayer_pipeline (properties + length, fd));
  else if (sscanf (properties, "added=%d%n", &fd, &length) == 1)
    prepare_with_given (catcher, properties + length, fd);
  else
    catcher_prepare (catcher, all);
  g_free (all);
}

/* PROPERTIES, "map", "apart" or "behind": says "caps gpu" or "caps host", "frame NUMBER" and, at the end of the stream, "total COUNT bad
 * COUNT"; "stat FIELD", "error". */
static int
play_reader (int argc, char **argv)
{
  Reader reader = {.how = argv[1] };
  char line[2048];

  prepare_reader (&reader.catcher, argv[0]);
  gst_pad_set_element_private (reader.catcher.pad, &reader);
  gst_pad_set_chain_function (reader.catcher.pad, on_frame);
  gst_pad_set_event_function (reader.catcher.pad, on_reader_event);
  pipeline_play (reader.catcher.pipeline);
  printf ("open\n");
  while (read_order (line, sizeof line)) {
    if (g_str_has_prefix (line, "stat "))
      printf ("stat %" G_GINT64_FORMAT "\n", stat_of (reader.catcher.element, line + 5));
    else if (strcmp (line, "error") == 0)
      print_error (reader.catcher.pipeline);
  }
  close_reader (&reader);
  return 0;
}

/* ---- pipelines ---- */

typedef struct
{
  guint64 number;
  guint frames, bad;
  StampTracker tracker;
} Numbers;

static GstPadProbeReturn
write_number (GstPad * pad, GstPadProbeInfo * probe, gpointer user_data)
{
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (probe));
  GstCaps *caps = gst_pad_get_current_caps (pad);
  Numbers *numbers = user_data;
  GstVideoInfo info;

  if (gst_video_info_from_caps (&info, caps))
    CHECK (stamp_buffer (buffer, &info, ++numbers->number, 1));
  gst_caps_unref (caps);
  GST_PAD_PROBE_INFO_DATA (probe) = buffer;
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
read_number (GstPad * pad, GstPadProbeInfo * probe, gpointer user_data)
{
  GstCaps *caps = gst_pad_get_current_caps (pad);
  Numbers *numbers = user_data;
  const Stamp stamp = {.number = buffer_number (GST_PAD_PROBE_INFO_BUFFER (probe), caps),.source = 1 };

  numbers->frames++;
  stamp_count (&numbers->tracker, stamp.number == G_MAXUINT64 ? STAMP_TORN : STAMP_WHOLE, &stamp);
  gst_caps_unref (caps);
  return GST_PAD_PROBE_OK;
}

static void
probe (GstElement * pipeline, const char *name, const char *pad_name, GstPadProbeCallback callback, Numbers * numbers)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), name);
  GstPad *pad;

  if (element == NULL)
    return;
  pad = gst_element_get_static_pad (element, pad_name);
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, callback, numbers, NULL);
  gst_object_unref (pad);
  gst_object_unref (element);
}

/* DESCRIPTION: frames that leave the element "write" are numbered, those that reach "read" are checked; "eos" (waits for it), "stat FIELD",
 * "error" (waits for one). Says "total COUNT bad COUNT" at the end. */
static int
play_numbered (int argc, char **argv)
{
  GstElement *pipeline = pipeline_new ("%s", argv[0]);
  Numbers numbers = { 0 };
  char line[2048];

  probe (pipeline, "write", "src", write_number, &numbers);
  probe (pipeline, "read", "sink", read_number, &numbers);
  printf ("%s\n", pipeline_play (pipeline) ? "playing" : "failed");
  while (read_order (line, sizeof line)) {
    if (g_str_has_prefix (line, "stat "))
      printf ("stat %" G_GINT64_FORMAT "\n", pipeline_stat (pipeline, line + 5));
    else if (strcmp (line, "eos") == 0)
      printf ("eos %d\n", pipeline_reaches_eos (pipeline));
    else if (strcmp (line, "error") == 0)
      print_error (pipeline);
  }
  pipeline_stop (pipeline);
  printf ("total %u bad %u\n", numbers.frames, (guint) stamp_errors (&numbers.tracker));
  return 0;
}

const FixtureRole cuda_roles[] = {
  {"writer", play_writer},
  {"reader", play_reader},
  {"numbered", play_numbered},
  {"forger", play_forger},
};

const size_t cuda_role_count = G_N_ELEMENTS (cuda_roles);
