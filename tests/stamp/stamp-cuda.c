/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Stamps in GPU memory: small copies from and to pinned host memory on the stream that the frame carries, so that nothing but them
 * and the transport is measured. */
#include "stamp-cuda.h"

#include <dlfcn.h>
#include <gst/cuda/cuda-gst.h>
#include <gst/cuda/gstcudabufferpool.h>
#include <gst/cuda/gstcudacontext.h>
#include <gst/cuda/gstcudaloader.h>
#include <gst/cuda/gstcudamemory.h>
#include <gst/cuda/gstcudautils.h>
#include <string.h>

#define DEVICE 0
#define CELL_BYTES 64
/* More than any queue of frames holds, so that no cell is written while the GPU still has to read it. */
#define CELLS 4096

struct _StampCuda
{
  GstCudaContext *context;
  guint8 *cells;                /* pinned */
  guint next_cell;
  CUstream stream;              /* for memory that carries none */
  gpointer carried;             /* GstCudaStream, where this GStreamer has it */
};

/* The context whose memory is counted in this process. */
static GstCudaContext *counted;

/* What differs between versions: whether frames carry the stream on which their work is ordered. */
#if GST_CHECK_VERSION (1, 24, 0)
#include <gst/cuda/gstcudastream.h>

static CUstream
stream_of (StampCuda * cuda, GstMemory * memory, gboolean * ret_carried)
{
  GstCudaStream *stream = gst_cuda_memory_get_stream (GST_CUDA_MEMORY_CAST (memory));

  *ret_carried = stream != NULL;
  return stream != NULL ? gst_cuda_stream_get_handle (stream) : cuda->stream;
}

static void
mark_unsynchronised (GstMemory * memory)
{
  GST_MINI_OBJECT_FLAG_SET (memory, GST_CUDA_MEMORY_TRANSFER_NEED_SYNC);
}

void
stamp_cuda_configure (StampCuda * cuda, GstStructure * pool_config)
{
  if (cuda->carried == NULL)
    cuda->carried = gst_cuda_stream_new (cuda->context);
  if (cuda->carried != NULL)
    gst_buffer_pool_config_set_cuda_stream (pool_config, cuda->carried);
}

static void
drop_stream (StampCuda * cuda)
{
  gst_clear_cuda_stream ((GstCudaStream **) & cuda->carried);
}
#else
static CUstream
stream_of (StampCuda * cuda, GstMemory * memory, gboolean * ret_carried)
{
  (void) memory;
  *ret_carried = FALSE;
  return cuda->stream;
}

static void
mark_unsynchronised (GstMemory * memory)
{
  (void) memory;
}

void
stamp_cuda_configure (StampCuda * cuda, GstStructure * pool_config)
{
  (void) cuda, (void) pool_config;
}

static void
drop_stream (StampCuda * cuda)
{
  (void) cuda;
}
#endif

static void
look_for_driver (const gchar ** ret_missing)
{
  int count = 0;

  *ret_missing = NULL;
  if (!gst_cuda_load_library ())
    *ret_missing = "no CUDA driver";
  else if (CuInit (0) != CUDA_SUCCESS || CuDeviceGetCount (&count) != CUDA_SUCCESS || count == 0)
    *ret_missing = "no CUDA device";
}

const gchar *
stamp_cuda_missing (void)
{
  static const gchar *missing;
  static gboolean looked;

  if (!looked)
    look_for_driver (&missing);
  looked = TRUE;
  return missing;
}

static gchar *
driver_release (void)
{
  gchar *contents = NULL, *release = NULL;
  GMatchInfo *match = NULL;
  GRegex *regex = g_regex_new ("\\b\\d{3}\\.\\d+(\\.\\d+)?\\b", 0, 0, NULL);

  if (g_file_get_contents ("/proc/driver/nvidia/version", &contents, NULL, NULL) && g_regex_match (regex, contents, 0, &match))
    release = g_match_info_fetch (match, 0);
  g_clear_pointer (&match, g_match_info_unref);
  g_regex_unref (regex);
  g_free (contents);
  return release != NULL ? release : g_strdup ("not named");
}

gchar *
stamp_cuda_describe (void)
{
  gchar name[128] = "";
  gchar *release, *text;
  CUdevice device;
  int version = 0;

  if (stamp_cuda_missing () != NULL || CuDeviceGet (&device, DEVICE) != CUDA_SUCCESS)
    return NULL;
  CuDeviceGetName (name, sizeof name, device);
  CuDriverGetVersion (&version);
  release = driver_release ();
  text = g_strdup_printf ("%s, driver %s, CUDA %d.%d", name, release, version / 1000, version % 1000 / 10);
  g_free (release);
  return text;
}

guint64
stamp_cuda_memory_used_kib (void)
{
  static CUresult (*get_info) (size_t * unused, size_t * total);
  size_t unused = 0, total = 0;

  if (counted == NULL)
    return 0;
  if (get_info == NULL) {
    void *driver = dlopen ("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);

    if (driver != NULL)
      *(void **) &get_info = dlsym (driver, "cuMemGetInfo_v2");
  }
  if (get_info == NULL || !gst_cuda_context_push (counted))
    return 0;
  if (get_info (&unused, &total) != CUDA_SUCCESS)
    unused = total;
  gst_cuda_context_pop (NULL);
  return (total - unused) / 1024;
}

StampCuda *
stamp_cuda_new (void)
{
  if (stamp_cuda_missing () != NULL)
    return NULL;
  gst_cuda_memory_init_once ();
  return g_new0 (StampCuda, 1);
}

void
stamp_cuda_free (StampCuda * cuda)
{
  if (cuda == NULL)
    return;
  if (cuda->cells != NULL && gst_cuda_context_push (cuda->context)) {
    CuStreamSynchronize (cuda->stream);
    CuStreamDestroy (cuda->stream);
    CuMemFreeHost (cuda->cells);
    gst_cuda_context_pop (NULL);
  }
  if (counted == cuda->context)
    counted = NULL;
  drop_stream (cuda);
  gst_clear_object (&cuda->context);
  g_free (cuda);
}

/* Takes what it needs in the context; which is the one that the first frame or the pipeline brings. */
static gboolean
settle (StampCuda * cuda, GstCudaContext * context)
{
  gboolean good;

  if (cuda->cells != NULL)
    return TRUE;
  if (context != cuda->context)
    gst_object_replace ((GstObject **) & cuda->context, GST_OBJECT (context));
  if (!gst_cuda_context_push (cuda->context))
    return FALSE;
  good = CuStreamCreate (&cuda->stream, CU_STREAM_DEFAULT) == CUDA_SUCCESS;
  good = good && CuMemAllocHost ((void **) &cuda->cells, CELLS * CELL_BYTES) == CUDA_SUCCESS;
  gst_cuda_context_pop (NULL);
  counted = cuda->context;
  return good;
}

gboolean
stamp_cuda_open (StampCuda * cuda, GstElement * element)
{
  return gst_cuda_ensure_element_context (element, DEVICE, &cuda->context) && settle (cuda, cuda->context);
}

void
stamp_cuda_set_context (StampCuda * cuda, GstElement * element, GstContext * context)
{
  gst_cuda_handle_set_context (element, context, DEVICE, &cuda->context);
}

gboolean
stamp_cuda_query (StampCuda * cuda, GstElement * element, GstQuery * query)
{
  return GST_QUERY_TYPE (query) == GST_QUERY_CONTEXT && gst_cuda_handle_context_query (element, query, cuda->context);
}

GstBufferPool *
stamp_cuda_pool_new (StampCuda * cuda)
{
  return gst_cuda_buffer_pool_new (cuda->context);
}

static gboolean
copy (CUdeviceptr device, guint8 * host, gsize bytes, gboolean to_device, CUstream stream)
{
  CUDA_MEMCPY2D params = {.WidthInBytes = bytes,.Height = 1 };

  params.srcMemoryType = to_device ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE;
  params.dstMemoryType = to_device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  if (to_device) {
    params.srcHost = host;
    params.dstDevice = device;
  } else {
    params.srcDevice = device;
    params.dstHost = host;
  }
  params.srcPitch = params.dstPitch = CELL_BYTES;
  return CuMemcpy2DAsync (&params, stream) == CUDA_SUCCESS;
}

/* Header and last mark, both ends of the first plane. */
static gboolean
copy_stamp (GstVideoFrame * frame, guint8 * cell, gboolean to_device, CUstream stream)
{
  guint64 start = (guint64) (guintptr) GST_VIDEO_FRAME_PLANE_DATA (frame, 0);
  guint64 line = start + (guint64) (GST_VIDEO_FRAME_COMP_HEIGHT (frame, 0) - 1) * (guint64) GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0);
  guint64 last = line + (guint64) (GST_VIDEO_FRAME_COMP_WIDTH (frame, 0) * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, 0)) - STAMP_MARK_BYTES;

  return copy ((CUdeviceptr) start, cell, STAMP_HEADER_BYTES, to_device, stream)
      && copy ((CUdeviceptr) last, cell + STAMP_HEADER_BYTES, STAMP_MARK_BYTES, to_device, stream);
}

static guint8 *
take_cell (StampCuda * cuda)
{
  return cuda->cells + (gsize) (cuda->next_cell++ % CELLS) * CELL_BYTES;
}

gboolean
stamp_cuda_write (StampCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, const Stamp * stamp)
{
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);
  GstVideoFrame frame;
  guint8 *cell;
  gboolean carried, good;
  CUstream stream;

  if (!gst_is_cuda_memory (memory) || !gst_video_frame_map (&frame, info, buffer, GST_MAP_WRITE | GST_MAP_CUDA))
    return FALSE;
  stream = stream_of (cuda, memory, &carried);
  cell = take_cell (cuda);
  stamp_make_header (stamp, cell);
  stamp_make_last_mark (stamp, cell + STAMP_HEADER_BYTES);
  good = gst_cuda_context_push (cuda->context);
  if (good) {
    good = copy_stamp (&frame, cell, TRUE, stream);
    if (!carried)
      CuStreamSynchronize (stream);
    gst_cuda_context_pop (NULL);
  }
  gst_video_frame_unmap (&frame);
  if (carried)
    mark_unsynchronised (memory);
  return good;
}

StampState
stamp_cuda_read (StampCuda * cuda, GstBuffer * buffer, const GstVideoInfo * info, Stamp * ret_stamp)
{
  GstMemory *memory = gst_buffer_peek_memory (buffer, 0);
  GstVideoFrame frame;
  guint8 *cell;
  gboolean carried, good;
  CUstream stream;

  if (!gst_is_cuda_memory (memory) || !settle (cuda, GST_CUDA_MEMORY_CAST (memory)->context)
      || !gst_video_frame_map (&frame, info, buffer, GST_MAP_READ | GST_MAP_CUDA))
    return STAMP_ABSENT;
  stream = stream_of (cuda, memory, &carried);
  cell = take_cell (cuda);
  good = gst_cuda_context_push (cuda->context);
  if (good) {
    good = copy_stamp (&frame, cell, FALSE, stream) && CuStreamSynchronize (stream) == CUDA_SUCCESS;
    gst_cuda_context_pop (NULL);
  }
  gst_video_frame_unmap (&frame);
  return good ? stamp_parse (cell, cell + STAMP_HEADER_BYTES, ret_stamp) : STAMP_ABSENT;
}

GstBuffer *
stamp_cuda_local_frame (StampCuda * cuda, const GstVideoInfo * info)
{
  GstCudaContext *context = gst_cuda_context_new (DEVICE);
  GstCaps *caps = gst_video_info_to_caps ((GstVideoInfo *) info);
  const Stamp stamp = {.number = 1,.source = 1 };
  GstBuffer *buffer = NULL;
  GstBufferPool *pool;
  GstStructure *config;

  gst_caps_set_features_simple (caps, gst_caps_features_new ("memory:CUDAMemory", NULL));
  if (context != NULL && settle (cuda, context)) {
    pool = gst_cuda_buffer_pool_new (context);
    config = gst_buffer_pool_get_config (pool);
    gst_buffer_pool_config_set_params (config, caps, (guint) GST_VIDEO_INFO_SIZE (info), 0, 0);
    gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
    stamp_cuda_configure (cuda, config);
    if (gst_buffer_pool_set_config (pool, config) && gst_buffer_pool_set_active (pool, TRUE))
      gst_buffer_pool_acquire_buffer (pool, &buffer, NULL);
    gst_buffer_pool_set_active (pool, FALSE);
    gst_object_unref (pool);
  }
  if (buffer != NULL && !stamp_cuda_write (cuda, buffer, info, &stamp))
    gst_clear_buffer (&buffer);
  gst_caps_unref (caps);
  gst_clear_object (&context);
  return buffer;
}
