/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Caps, events and buffer metas to bytes and back.  This room never does I/O,
 * never logs for a peer's sake, and takes every byte it reads for hostile: no
 * string of a peer reaches a GStreamer parser, and nothing is handed to
 * GStreamer that one of its assertions would refuse.
 *
 * All numbers are little-endian; a blob starts with the layout's version and a
 * letter for its kind.  This file holds the bytes themselves and the caps blob;
 * the -value, -structure, -object, -event, -meta and -videometa files hold what
 * is put into them. */

#include "gstcuframescodec-private.h"

/* Most caps and events fit, and are then written in one pass */
#define FIRST_PASS_BYTES 2048

/* *INDENT-OFF* */
G_DEFINE_QUARK (gst-cuframes-codec-error-quark, gst_cuframes_codec_error)
/* *INDENT-ON* */

void
gst_cuframes_codec_writer_fail (GstCuframesCodecWriter * w,
    GstCuframesCodecError code, const gchar * why)
{
  if (w->failed)
    return;
  w->failed = TRUE;
  w->code = code;
  w->why = why;
}

void
gst_cuframes_codec_reader_fail (GstCuframesCodecReader * r,
    GstCuframesCodecError code, const gchar * why)
{
  if (r->failed)
    return;
  r->failed = TRUE;
  r->code = code;
  r->why = why;
}

void
gst_cuframes_codec_reader_set_error (const GstCuframesCodecReader * r,
    GError ** error)
{
  g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR, r->code, r->why);
}

void
gst_cuframes_codec_put_string (GstCuframesCodecWriter * w, const gchar * string)
{
  gsize size = strlen (string);

  if (!g_utf8_validate (string, size, NULL)) {
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a string is not UTF-8");
    return;
  }
  if (size > w->limit) {
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "a string is too long");
    return;
  }
  put_u32 (w, (guint32) size);
  put_bytes (w, string, size);
}

gchar *
gst_cuframes_codec_get_string (GstCuframesCodecReader * r)
{
  guint32 size = get_u32 (r);
  gchar *string;

  if (!r->failed && size > r->size)
    malformed (r, "a string ends too early");
  if (r->failed)
    return NULL;

  string = g_strndup ((const gchar *) r->data, size);
  r->data += size;
  r->size -= size;

  /* With a length, g_utf8_validate() also refuses a zero byte inside */
  if (!g_utf8_validate (string, size, NULL)) {
    malformed (r, "a string is not UTF-8");
    g_free (string);
    return NULL;
  }
  return string;
}

void
gst_cuframes_codec_put_name (GstCuframesCodecWriter * w, const gchar * name)
{
  gsize size = name ? strlen (name) : 0;

  if (size == 0 || size > GST_CUFRAMES_CODEC_MAX_NAME_BYTES
      || !g_utf8_validate (name, size, NULL)) {
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a name is empty, too long or not UTF-8");
    return;
  }
  put_u8 (w, (guint8) size);
  put_bytes (w, name, size);
}

const gchar *
gst_cuframes_codec_get_name (GstCuframesCodecReader * r,
    gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1])
{
  guint8 size = get_u8 (r);

  if (!get_bytes (r, name, size))
    return NULL;
  name[size] = '\0';
  if (size == 0 || !g_utf8_validate (name, size, NULL)) {
    malformed (r, "a name is empty or not UTF-8");
    return NULL;
  }
  return name;
}

/* A name that becomes a quark.  Quarks stay until the process ends, so a peer
 * that sends ever new names would fill it up: after so many they are refused. */
const gchar *
gst_cuframes_codec_get_kept_name (GstCuframesCodecReader * r,
    gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1])
{
  static guint n_new_names;

  if (!gst_cuframes_codec_get_name (r, name))
    return NULL;
  if (g_quark_try_string (name) != 0)
    return name;
  /* Two threads may count one name twice, which does no harm */
  if ((guint) g_atomic_int_get (&n_new_names)
      >= GST_CUFRAMES_CODEC_MAX_NEW_NAMES) {
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "too many names that were never seen before");
    return NULL;
  }
  g_atomic_int_inc (&n_new_names);
  g_quark_from_string (name);
  return name;
}

gboolean
gst_cuframes_codec_get_block (GstCuframesCodecReader * r,
    GstCuframesCodecReader * ret_block)
{
  guint32 size = get_u32 (r);

  if (!r->failed && size > r->size)
    malformed (r, "a block ends too early");
  if (r->failed)
    return FALSE;

  *ret_block = *r;
  ret_block->size = size;
  r->data += size;
  r->size -= size;
  return TRUE;
}

gboolean
gst_cuframes_codec_reader_begin (GstCuframesCodecReader * r,
    gconstpointer data, gsize size, gsize limit, GstCuframesCodecBlob blob)
{
  guint8 version, kind;

  memset (r, 0, sizeof (*r));
  r->data = data;
  r->size = size;

  if (size > limit) {
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "more bytes than the limit allows");
    return FALSE;
  }
  version = get_u8 (r);
  kind = get_u8 (r);
  if (!r->failed && version != GST_CUFRAMES_CODEC_VERSION)
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_VERSION,
        "written in another version of the layout");
  if (!r->failed && kind != blob)
    malformed (r, "not the expected kind of bytes");
  return !r->failed;
}

void
gst_cuframes_codec_reader_end (GstCuframesCodecReader * r)
{
  if (!r->failed && r->size != 0)
    malformed (r, "bytes are left over at the end");
}

GBytes *
gst_cuframes_codec_encode (GstCuframesCodecPutFunc put, gpointer object,
    gsize limit, GError ** error)
{
  guint8 first[FIRST_PASS_BYTES];
  GstCuframesCodecWriter w;
  guint8 *data;
  gsize size;

  gst_cuframes_codec_writer_init (&w, first, sizeof (first), limit);
  put (&w, object);
  if (w.failed)
    goto failed;
  size = w.size;
  if (size <= sizeof (first))
    return g_bytes_new (first, size);

  data = g_malloc (size);
  gst_cuframes_codec_writer_init (&w, data, size, size);
  put (&w, object);
  if (!w.failed && w.size == size)
    return g_bytes_new_take (data, size);

  g_free (data);
  gst_cuframes_codec_writer_fail (&w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
      "changed while it was written");
failed:
  g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR, w.code, w.why);
  return NULL;
}

static void
put_caps_blob (GstCuframesCodecWriter * w, gpointer object)
{
  put_u8 (w, GST_CUFRAMES_CODEC_VERSION);
  put_u8 (w, GST_CUFRAMES_CODEC_BLOB_CAPS);
  gst_cuframes_codec_put_caps (w, object);
}

/**
 * gst_cuframes_codec_caps_to_bytes:
 * @caps: fixed #GstCaps
 * @error: return location for a #GError, or %NULL
 *
 * Writes @caps with all fields and features, buffers such as codec_data among
 * them.  Any thread may call it.
 *
 * Returns: (transfer full) (nullable): the bytes, at most
 *     %GST_CUFRAMES_CODEC_MAX_CAPS_BYTES, or %NULL with @error set
 *
 * Since: 0.1
 */
GBytes *
gst_cuframes_codec_caps_to_bytes (const GstCaps * caps, GError ** error)
{
  g_return_val_if_fail (GST_IS_CAPS (caps), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (!gst_caps_is_fixed (caps)) {
    g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR,
        GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED, "caps are not fixed");
    return NULL;
  }
  return gst_cuframes_codec_encode (put_caps_blob, (gpointer) caps,
      GST_CUFRAMES_CODEC_MAX_CAPS_BYTES, error);
}

/**
 * gst_cuframes_codec_caps_from_bytes:
 * @data: (array length=size): a peer's bytes
 * @size: how many
 * @error: return location for a #GError, or %NULL
 *
 * Reads what gst_cuframes_codec_caps_to_bytes() wrote, or caps as text, which
 * is what programs without GStreamer write: one structure of strings, whole
 * numbers and fractions, ended by a 0.  @data is trusted in nothing, but must
 * not change during the call.  Any thread may call it.
 *
 * Returns: (transfer full) (nullable): fixed #GstCaps, or %NULL with @error set
 *
 * Since: 0.1
 */
GstCaps *
gst_cuframes_codec_caps_from_bytes (gconstpointer data, gsize size,
    GError ** error)
{
  guint8 bytes[GST_CUFRAMES_CODEC_MAX_TEXT_BYTES];
  GstCuframesCodecReader r;
  GstCaps *caps = NULL;

  g_return_val_if_fail (data != NULL || size == 0, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  if (gst_cuframes_codec_is_text (data, size)) {
    size = gst_cuframes_codec_text_to_bytes (data, size, bytes);
    if (size == 0) {
      g_set_error_literal (error, GST_CUFRAMES_CODEC_ERROR,
          GST_CUFRAMES_CODEC_ERROR_MALFORMED, "not caps as text");
      return NULL;
    }
    data = bytes;
  }
  if (gst_cuframes_codec_reader_begin (&r, data, size,
          GST_CUFRAMES_CODEC_MAX_CAPS_BYTES, GST_CUFRAMES_CODEC_BLOB_CAPS)) {
    caps = gst_cuframes_codec_get_caps (&r);
    gst_cuframes_codec_reader_end (&r);
  }
  if (!r.failed && !gst_caps_is_fixed (caps))
    malformed (&r, "caps are not fixed");
  if (!r.failed)
    return caps;

  gst_clear_caps (&caps);
  gst_cuframes_codec_reader_set_error (&r, error);
  return NULL;
}
