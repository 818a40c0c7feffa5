/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Caps as text, which publishers without GStreamer write, to the bytes that
 * the other files read: the checks of names and values are theirs.  It takes
 * one structure with strings, whole numbers and fractions, as gst-inspect-1.0
 * writes them, and no more. */

#include "gstcuframescodec-private.h"

static gboolean
parse_int (const gchar * text, gint * ret_number)
{
  gint64 number;

  if (!g_ascii_string_to_signed (text, 10, -G_MAXINT, G_MAXINT, &number, NULL))
    return FALSE;
  *ret_number = (gint) number;
  return TRUE;
}

static gboolean
set_fraction (GValue * value, gchar * text)
{
  gchar *slash = strchr (text, '/');
  gint numerator, denominator;

  if (slash == NULL)
    return FALSE;
  *slash = '\0';
  if (!parse_int (text, &numerator) || !parse_int (slash + 1, &denominator)
      || denominator <= 0)
    return FALSE;
  g_value_init (value, GST_TYPE_FRACTION);
  gst_value_set_fraction (value, numerator, denominator);
  return TRUE;
}

/* Quotes and escapes are not for this room */
static gboolean
set_string (GValue * value, const gchar * text)
{
  const gchar *c;

  for (c = text; *c != '\0'; c++)
    if (!g_ascii_isgraph (*c) || strchr ("\"\\;{}[]<>", *c) != NULL)
      return FALSE;
  g_value_init (value, G_TYPE_STRING);
  g_value_set_static_string (value, text);
  return c != text;
}

static gboolean
set_int (GValue * value, const gchar * text)
{
  gint number;

  if (!parse_int (text, &number))
    return FALSE;
  g_value_init (value, G_TYPE_INT);
  g_value_set_int (value, number);
  return TRUE;
}

/* "name=(type)value" */
static gboolean
put_field (GstCuframesCodecWriter * w, gchar * field)
{
  gchar *type = strstr (field, "=("), *text;
  GValue value = G_VALUE_INIT;
  gboolean good;

  if (type == NULL || (text = strchr (type, ')')) == NULL)
    return FALSE;
  *type = *text++ = '\0';
  type += strlen ("=(");
  if (g_str_equal (type, "int"))
    good = set_int (&value, text);
  else if (g_str_equal (type, "fraction"))
    good = set_fraction (&value, text);
  else
    good = g_str_equal (type, "string") && set_string (&value, text);
  if (good) {
    gst_cuframes_codec_put_name (w, field);
    gst_cuframes_codec_put_value (w, &value);
  }
  if (G_IS_VALUE (&value))
    g_value_unset (&value);
  return good;
}

/* "media/type" or "media/type(memory:Feature)" */
static gboolean
put_head (GstCuframesCodecWriter * w, gchar * head)
{
  gchar *feature = strchr (head, '(');

  if (feature != NULL) {
    if (!g_str_has_suffix (feature, ")"))
      return FALSE;
    feature[strlen (feature) - 1] = '\0';
    *feature++ = '\0';
  }
  gst_cuframes_codec_put_one_structure (w, feature, head);
  return TRUE;
}

static gboolean
put_text (GstCuframesCodecWriter * w, gchar * text)
{
  gchar **parts = g_strsplit (text, ",", 0);
  gboolean good;
  guint i;

  for (i = 0; parts[i] != NULL; i++)
    g_strstrip (parts[i]);
  good = parts[0] != NULL && put_head (w, parts[0]);
  if (good)
    put_u32 (w, i - 1);
  for (i = 1; good && parts[i] != NULL; i++)
    good = put_field (w, parts[i]);
  g_strfreev (parts);
  return good;
}

/* Whether it is text: the versions of the layout are no letters. */
gboolean
gst_cuframes_codec_is_text (gconstpointer data, gsize size)
{
  return size > 0 && g_ascii_isalpha (*(const guint8 *) data);
}

/* Caps as text, with their 0 at the end, to bytes.  0 if it is not well
 * formed, else how many they are. */
gsize
gst_cuframes_codec_text_to_bytes (gconstpointer data, gsize size,
    guint8 bytes[GST_CUFRAMES_CODEC_MAX_TEXT_BYTES])
{
  const guint8 *end = memchr (data, '\0', size);
  GstCuframesCodecWriter w;
  gchar *text;
  gboolean good;

  if (size > GST_CUFRAMES_CODEC_MAX_TEXT_BYTES || end == NULL
      || end != (const guint8 *) data + size - 1)
    return 0;
  text = g_strdup (data);
  gst_cuframes_codec_writer_init (&w, bytes, GST_CUFRAMES_CODEC_MAX_TEXT_BYTES,
      GST_CUFRAMES_CODEC_MAX_TEXT_BYTES);
  put_u8 (&w, GST_CUFRAMES_CODEC_VERSION);
  put_u8 (&w, GST_CUFRAMES_CODEC_BLOB_CAPS);
  good = put_text (&w, text) && !w.failed;
  g_free (text);
  return good ? w.size : 0;
}
