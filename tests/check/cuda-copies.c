/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Copies of pictures in GPU memory that are laid out otherwise than libgstcuda would: by a publisher that is not GStreamer. */
#include <stdlib.h>

#include "cuda-elements-fixture.h"
#include "cuframes-arena-cuda.h"
#include "gstcudavmmallocator-private.h"
#include "gstcuframescompat.h"

#define WIDTH 320
#define HEIGHT 240
#define OFFSET 4096u

static guint8
sample (guint plane, guint x, guint y)
{
  return (guint8) (1 + plane * 101 + y * 7 + x);
}

/* How many lines of the mapped picture are not as they were written; with write they are written. */
static guint
visit_lines (guint8 * data, const GstVideoInfo * info, gboolean write)
{
  guint wrong = 0;

  for (guint plane = 0; plane < GST_VIDEO_INFO_N_PLANES (info); plane++) {
    gint components[GST_VIDEO_MAX_COMPONENTS];
    guint bytes;
    gst_video_format_info_component (info->finfo, plane, components);
    bytes = GST_VIDEO_INFO_COMP_WIDTH (info, components[0]) * GST_VIDEO_INFO_COMP_PSTRIDE (info, components[0]);
    for (guint y = 0; y < (guint) GST_VIDEO_INFO_COMP_HEIGHT (info, components[0]); y++) {
      guint8 *line = data + GST_VIDEO_INFO_PLANE_OFFSET (info, plane) + (gsize) y * GST_VIDEO_INFO_PLANE_STRIDE (info, plane);
      gboolean good = TRUE;
      for (guint x = 0; x < bytes; x++)
        if (write)
          line[x] = sample (plane, x, y);
        else
          good = good && line[x] == sample (plane, x, y);
      wrong += !good;
    }
  }
  return wrong;
}

static guint
count_wrong_lines (GstMemory * memory)
{
  GstMapInfo map;
  guint wrong = G_MAXUINT;

  if (memory != NULL && gst_memory_map (memory, &map, GST_MAP_READ)) {
    wrong = visit_lines (map.data, &GST_CUDA_MEMORY_CAST (memory)->info, FALSE);
    gst_memory_unmap (memory, &map);
  }
  return wrong;
}

/* The whole picture at once, without what knows of lines. */
static gboolean
write_picture (CuframesArena * arena, const GstVideoInfo * info)
{
  CUDA_MEMCPY2D copy = {.srcMemoryType = CU_MEMORYTYPE_HOST,.dstMemoryType = CU_MEMORYTYPE_DEVICE,.Height = 1 };
  guint8 *picture = g_malloc0 (info->size);
  gboolean written;

  visit_lines (picture, info, TRUE);
  copy.srcHost = picture;
  copy.dstDevice = cuframes_arena_get_address (arena) + OFFSET;
  copy.srcPitch = copy.dstPitch = copy.WidthInBytes = info->size;
  written = CuMemcpy2DAsync (&copy, NULL) == CUDA_SUCCESS && CuStreamSynchronize (NULL) == CUDA_SUCCESS;
  g_free (picture);
  return written;
}

/* In a deep copy of a buffer, as whoever has it finds its lines: by its GstVideoMeta, which was copied with it. */
static guint
count_wrong_lines_of_buffer (GstMemory * memory, GstVideoInfo * info)
{
  GstBuffer *buffer = gst_buffer_new (), *copied;
  GstVideoFrame frame;
  guint wrong = G_MAXUINT;

  gst_buffer_append_memory (buffer, gst_memory_ref (memory));
  gst_buffer_add_video_meta_full (buffer, GST_VIDEO_FRAME_FLAG_NONE, GST_VIDEO_INFO_FORMAT (info), WIDTH, HEIGHT, GST_VIDEO_INFO_N_PLANES (info),
      info->offset, info->stride);
  copied = gst_buffer_copy_deep (buffer);
  if (copied != NULL && gst_video_frame_map (&frame, info, copied, GST_MAP_READ)) {
    wrong = 0;
    for (guint plane = 0; plane < GST_VIDEO_INFO_N_PLANES (info); plane++)
      for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (&frame, plane); y++)
        wrong += ((guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, plane))[y * GST_VIDEO_FRAME_PLANE_STRIDE (&frame, plane)] != sample (plane, 0, (guint) y);
    gst_video_frame_unmap (&frame);
  }
  gst_clear_buffer (&copied);
  gst_buffer_unref (buffer);
  return wrong;
}

/* FORMAT, lines between two planes, bytes behind each line, whether the last line has those too: says how many lines are wrong as the CPU sees the
 * memory, in a copy of it, and in a copy of a buffer with it. */
static int
play_copier (int argc, char **argv)
{
  const guint gap_lines = (guint) atoi (argv[1]), pad = (guint) atoi (argv[2]);
  GstCudaContext *context = gst_cuda_load_library () ? gst_cuda_context_new (0) : NULL;
  GstCudaVmmAllocator *allocator = context == NULL ? NULL : GST_CUDA_VMM_ALLOCATOR (gst_cuda_vmm_allocator_new (context, NULL));
  CuframesArena *arena = NULL;
  GstMemory *memory, *copied;
  GstVideoInfo info;
  gsize end = 0;
  guint mapped;

  (void) argc;
  gst_video_info_set_format (&info, gst_video_format_from_string (argv[0]), WIDTH, HEIGHT);
  for (guint plane = 0; plane < GST_VIDEO_INFO_N_PLANES (&info); plane++) {
    info.stride[plane] = (gint) (GST_VIDEO_INFO_PLANE_STRIDE (&info, 0) + (plane == 0 ? pad : 0));
    info.offset[plane] = end;
    end += (gsize) info.stride[plane] * (GST_VIDEO_INFO_COMP_HEIGHT (&info, plane == 0 ? 0 : plane) + gap_lines);
  }
  info.size = end - (gsize) info.stride[0] * gap_lines - (atoi (argv[3]) ? 0 : pad);
  if (allocator == NULL || cuframes_arena_new_cuda (gst_cuda_vmm_allocator_peek_device (allocator), OFFSET + info.size, &arena) != 0)
    return 1;
  gst_cuda_context_push (context);
  CHECK (write_picture (arena, &info));
  gst_cuda_context_pop (NULL);
  memory = gst_cuda_vmm_allocator_wrap (allocator, GST_MEMORY_FLAG_READONLY, &info, NULL, arena, OFFSET, NULL, NULL);
  copied = gst_memory_copy (memory, 0, -1);
  mapped = count_wrong_lines (memory);
  printf ("wrong: %u mapped, %u copied, %u in a buffer\n", mapped, count_wrong_lines (copied), count_wrong_lines_of_buffer (memory, &info));
  if (copied != NULL)
    gst_memory_unref (copied);
  gst_memory_unref (memory);
  cuframes_arena_unref (arena);
  gst_object_unref (allocator);
  gst_object_unref (context);
  return 0;
}

static const FixtureRole roles[] = {
  {"copier", play_copier},
};

static void
check_copy (const char *format, const char *gap_lines, const char *pad, const char *last_line_is_whole)
{
  Child copier;

  report_here ();
  START (&copier, AT_ONCE, "copier", format, gap_lines, pad, last_line_is_whole);
  expect_text (&copier, "wrong", "wrong: 0 mapped, 0 copied, 0 in a buffer", NULL);
  expect_end (&copier);
  expect_nothing_left (1);
}

static void
test_longer_lines (void)
{
  check_copy ("NV12", "0", "704", "1");
  check_copy ("I420", "0", "704", "1");
  check_copy ("RGBA", "0", "4", "1");
}

static void
test_planes_apart (void)
{
  check_copy ("NV12", "2", "192", "1");
  check_copy ("NV12", "400", "192", "1");
  check_copy ("I420", "8", "0", "1");
}

static void
test_last_line_of_samples (void)
{
  check_copy ("NV12", "0", "192", "0");
  check_copy ("NV12", "2", "192", "0");
}

static const FixtureTest tests[] = {
  {"a picture with longer lines than libgstcuda's is copied whole", test_longer_lines},
  {"a picture with lines between its planes is copied whole", test_planes_apart},
  {"a picture whose last line ends with its samples is copied and mapped whole", test_last_line_of_samples},
};

ELEMENT_MAIN (tests, roles, sizeof roles / sizeof roles[0])
