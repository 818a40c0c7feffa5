/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cat-y4m.h"

typedef struct
{
  GstVideoFormat format;
  guint depth;
  guint width_shift, height_shift;      /* of the chroma */
  gboolean is_gray;
  const gchar *name;
} Carried;

/* By rising depth. */
static const Carried carried[] = {
  {GST_VIDEO_FORMAT_GRAY8, 8, 0, 0, TRUE, "mono"},
  {GST_VIDEO_FORMAT_GRAY16_LE, 16, 0, 0, TRUE, "mono16"},
  {GST_VIDEO_FORMAT_I420, 8, 1, 1, FALSE, NULL},
  {GST_VIDEO_FORMAT_I420_10LE, 10, 1, 1, FALSE, "420p10 XYSCSS=420P10"},
  {GST_VIDEO_FORMAT_I420_12LE, 12, 1, 1, FALSE, "420p12 XYSCSS=420P12"},
  {GST_VIDEO_FORMAT_Y41B, 8, 2, 0, FALSE, "411"},
  {GST_VIDEO_FORMAT_Y42B, 8, 1, 0, FALSE, "422"},
  {GST_VIDEO_FORMAT_I422_10LE, 10, 1, 0, FALSE, "422p10 XYSCSS=422P10"},
  {GST_VIDEO_FORMAT_I422_12LE, 12, 1, 0, FALSE, "422p12 XYSCSS=422P12"},
  {GST_VIDEO_FORMAT_Y444, 8, 0, 0, FALSE, "444"},
  {GST_VIDEO_FORMAT_Y444_10LE, 10, 0, 0, FALSE, "444p10 XYSCSS=444P10"},
  {GST_VIDEO_FORMAT_Y444_12LE, 12, 0, 0, FALSE, "444p12 XYSCSS=444P12"},
};

/* The one that loses least: the same chroma, or as much of it as there is, and the depth, or the greatest there is. */
GstVideoFormat
cat_y4m_choose_format (const GstVideoInfo *source)
{
  const GstVideoFormatInfo *format = source->finfo;
  const gboolean is_gray = GST_VIDEO_FORMAT_INFO_IS_GRAY (format);
  const guint depth = GST_VIDEO_FORMAT_INFO_DEPTH (format, 0);
  GstVideoFormat chosen = GST_VIDEO_FORMAT_Y444_12LE;

  for (guint i = 0; i < G_N_ELEMENTS (carried); i++) {
    if (carried[i].is_gray != is_gray)
      continue;
    if (!is_gray && (carried[i].width_shift != GST_VIDEO_FORMAT_INFO_W_SUB (format, 1)
            || carried[i].height_shift != GST_VIDEO_FORMAT_INFO_H_SUB (format, 1)))
      continue;
    chosen = carried[i].format;
    if (carried[i].depth >= depth)
      break;
  }
  return chosen;
}

static const gchar *
name_420 (GstVideoChromaSite site)
{
  if (site == GST_VIDEO_CHROMA_SITE_MPEG2)
    return "420mpeg2";
  return site & GST_VIDEO_CHROMA_SITE_V_COSITED ? "420paldv" : "420jpeg";
}

static gchar
name_interlacing (const GstVideoInfo *info)
{
  switch (GST_VIDEO_INFO_INTERLACE_MODE (info)) {
    case GST_VIDEO_INTERLACE_MODE_PROGRESSIVE:
      return 'p';
    case GST_VIDEO_INTERLACE_MODE_INTERLEAVED:
      return GST_VIDEO_INFO_FIELD_ORDER (info) == GST_VIDEO_FIELD_ORDER_BOTTOM_FIELD_FIRST ? 'b' : 't';
    default:
      return '?';
  }
}

/* (nullable) (transfer full): the first line, its end included; NULL for what cat_y4m_choose_format() never says. A rate that varies is 0:0. */
gchar *
cat_y4m_make_header (const GstVideoInfo *info)
{
  const gchar *name = NULL, *range = "";
  gboolean found = FALSE;

  for (guint i = 0; !found && i < G_N_ELEMENTS (carried); i++)
    if (carried[i].format == GST_VIDEO_INFO_FORMAT (info)) {
      found = TRUE;
      name = carried[i].name != NULL ? carried[i].name : name_420 (info->chroma_site);
    }
  if (!found)
    return NULL;
  if (info->colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255)
    range = " XCOLORRANGE=FULL";
  else if (info->colorimetry.range == GST_VIDEO_COLOR_RANGE_16_235)
    range = " XCOLORRANGE=LIMITED";
  return g_strdup_printf ("YUV4MPEG2 W%d H%d F%d:%d I%c A%d:%d C%s%s\n", GST_VIDEO_INFO_WIDTH (info), GST_VIDEO_INFO_HEIGHT (info),
      GST_VIDEO_INFO_FPS_N (info), GST_VIDEO_INFO_FPS_N (info) == 0 ? 0 : GST_VIDEO_INFO_FPS_D (info), name_interlacing (info),
      GST_VIDEO_INFO_PAR_N (info), GST_VIDEO_INFO_PAR_D (info), name, range);
}
