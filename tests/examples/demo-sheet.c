/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Keeps small copies of frames of a stream and writes them side by side into one PNG file. */
#include "demo.h"

#include <gst/video/video.h>
#include <string.h>

#define COLUMNS 4
#define GAP 4

struct _DemoSheet
{
  GstVideoInfo info;            /* of every tile: RGB */
  GPtrArray *tiles;             /* of GstBuffer */
  guint64 interval_ns, next_ns;
};

DemoSheet *
demo_sheet_new (guint64 interval_ns)
{
  DemoSheet *sheet = g_new0 (DemoSheet, 1);

  sheet->tiles = g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  sheet->interval_ns = interval_ns;
  return sheet;
}

void
demo_sheet_free (DemoSheet * sheet)
{
  g_ptr_array_unref (sheet->tiles);
  g_free (sheet);
}

/* Takes one frame of each interval. */
void
demo_sheet_add (DemoSheet * sheet, GstBuffer * buffer, GstCaps * caps)
{
  guint64 now_ns = demo_now_ns ();
  GstVideoInfo info;

  if (now_ns < sheet->next_ns || sheet->tiles->len == DEMO_SHEET_FRAMES || !gst_video_info_from_caps (&info, caps))
    return;
  if (sheet->tiles->len != 0 && !gst_video_info_is_equal (&info, &sheet->info))
    return;
  sheet->info = info;
  sheet->next_ns = now_ns + sheet->interval_ns;
  g_ptr_array_add (sheet->tiles, gst_buffer_copy_deep (buffer));
}

static void
paste (GstVideoFrame * canvas, GstVideoFrame * tile, guint column, guint row)
{
  guint width = (guint) GST_VIDEO_FRAME_WIDTH (tile), height = (guint) GST_VIDEO_FRAME_HEIGHT (tile);
  guint8 *to = GST_VIDEO_FRAME_PLANE_DATA (canvas, 0);
  const guint8 *from = GST_VIDEO_FRAME_PLANE_DATA (tile, 0);
  gsize to_stride = (gsize) GST_VIDEO_FRAME_PLANE_STRIDE (canvas, 0), from_stride = (gsize) GST_VIDEO_FRAME_PLANE_STRIDE (tile, 0);

  to += row * (height + GAP) * to_stride + column * (width + GAP) * 3;
  for (guint line = 0; line < height; line++)
    memcpy (to + line * to_stride, from + line * from_stride, 3 * (gsize) width);
}

static GstSample *
compose (DemoSheet * sheet)
{
  guint columns = MIN (COLUMNS, sheet->tiles->len), rows = (sheet->tiles->len + COLUMNS - 1) / COLUMNS;
  guint width = (guint) GST_VIDEO_INFO_WIDTH (&sheet->info), height = (guint) GST_VIDEO_INFO_HEIGHT (&sheet->info);
  GstVideoInfo info;
  GstBuffer *buffer;
  GstVideoFrame canvas;
  GstCaps *caps;
  GstSample *sample;

  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_RGB, columns * (width + GAP) - GAP, rows * (height + GAP) - GAP);
  buffer = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&info), NULL);
  gst_buffer_memset (buffer, 0, 0, GST_VIDEO_INFO_SIZE (&info));
  gst_video_frame_map (&canvas, &info, buffer, GST_MAP_WRITE);
  for (guint i = 0; i < sheet->tiles->len; i++) {
    GstVideoFrame tile;

    if (!gst_video_frame_map (&tile, &sheet->info, g_ptr_array_index (sheet->tiles, i), GST_MAP_READ))
      continue;
    paste (&canvas, &tile, i % COLUMNS, i / COLUMNS);
    gst_video_frame_unmap (&tile);
  }
  gst_video_frame_unmap (&canvas);
  caps = gst_video_info_to_caps (&info);
  sample = gst_sample_new (buffer, caps, NULL, NULL);
  gst_caps_unref (caps);
  gst_buffer_unref (buffer);
  return sample;
}

static gboolean
write_sample (GstSample * sample, const gchar * path, GError ** error)
{
  GstMapInfo map;
  gboolean written;

  gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ);
  written = g_file_set_contents (path, (const gchar *) map.data, (gssize) map.size, error);
  gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
  return written;
}

guint
demo_sheet_write (DemoSheet * sheet, const gchar * path, GError ** error)
{
  GstSample *raw, *png;
  GstCaps *caps;
  gboolean written;

  if (sheet->tiles->len == 0) {
    g_set_error (error, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "no frame for %s", path);
    return 0;
  }
  raw = compose (sheet);
  caps = gst_caps_new_empty_simple ("image/png");
  png = gst_video_convert_sample (raw, caps, 20 * GST_SECOND, error);
  written = png != NULL && write_sample (png, path, error);
  if (png != NULL)
    gst_sample_unref (png);
  gst_caps_unref (caps);
  gst_sample_unref (raw);
  return written ? sheet->tiles->len : 0;
}
