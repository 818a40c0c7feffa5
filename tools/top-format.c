/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Formats are caps as the elements write them. No plugin is needed to read them, so none is looked for. */
#include "top-format.h"

#include <gst/gst.h>
#include <stdlib.h>
#include <string.h>

#include "gstcuframescodec.h"

static char *
describe_briefly (const GstCaps *caps)
{
  const GstStructure *structure = gst_caps_get_structure (caps, 0);
  const gchar *name = gst_structure_get_name (structure), *format = gst_structure_get_string (structure, "format");
  GString *text = g_string_new (format != NULL && g_str_has_suffix (name, "/x-raw") ? format : name);
  gint width, height, numerator, denominator, rate;
  char *copy;

  if (gst_structure_get_int (structure, "width", &width) && gst_structure_get_int (structure, "height", &height))
    g_string_append_printf (text, " %dx%d", width, height);
  if (gst_structure_get_fraction (structure, "framerate", &numerator, &denominator) && numerator > 0) {
    gchar number[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_printf (text, " %s", g_ascii_formatd (number, sizeof number, "%.4g", (double) numerator / denominator));
  }
  if (gst_structure_get_int (structure, "rate", &rate))
    g_string_append_printf (text, " %d Hz", rate);
  copy = strdup (text->str);
  g_string_free (text, TRUE);
  return copy;
}

void
top_format_describe (const void *bytes, uint32_t byte_count, char **ret_caps, char **ret_brief)
{
  GstCaps *caps;
  gchar *text;

  *ret_caps = *ret_brief = NULL;
  if (!gst_is_initialized ()) {
    g_setenv ("GST_REGISTRY_DISABLE", "yes", TRUE);
    if (!gst_init_check (NULL, NULL, NULL))
      return;
  }
  caps = gst_cuframes_codec_caps_from_bytes (bytes, byte_count, NULL);
  if (caps == NULL)
    return;
  text = gst_caps_to_string (caps);
  *ret_caps = strdup (text);
  if (gst_caps_get_size (caps) > 0)
    *ret_brief = describe_briefly (caps);
  g_free (text);
  gst_caps_unref (caps);
}
