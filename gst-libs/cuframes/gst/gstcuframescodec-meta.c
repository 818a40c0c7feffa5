/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Buffer metas to bytes and back.  What GStreamer 1.22 cannot serialise is
 * coded here, and stays coded here on later versions, so that there is one way
 * per meta whatever versions the two sides run; GStreamer's own serialisation
 * serves all others where it exists.  Each meta is a block of its own, so that
 * a reader steps over what it does not know.
 *
 * Left out without being counted: GstVideoMeta, which travels in the frame's
 * descriptor, and GstParentBufferMeta, which only keeps memory alive.  Left
 * out and counted: metas tied to memory, other metas of audio, protection, and
 * any that nobody can put into bytes. */

#include "gstcuframescodec-private.h"

#include <gst/video/video.h>

/* Read from a private copy: the page that the blob lies in may be the peer's */
#define STACK_COPY_BYTES 4096

#define MAX_METAS 4096

/* On the wire, beside those of gstcuframescodec-videometa.c */
enum
{
  META_CUSTOM = 10,
  META_BY_GSTREAMER = 11,
};

static gboolean
has_tag (const GstMetaInfo * info, const gchar * tag)
{
  GQuark quark = g_quark_try_string (tag);

  return quark != 0 && gst_meta_api_type_has_tag (info->api, quark);
}

#if GST_CHECK_VERSION (1, 24, 0)
static gboolean
gstreamer_can_serialize (const GstMetaInfo * info)
{
  return info->serialize_func != NULL && info->deserialize_func != NULL;
}

static void
put_serialized (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  GByteArray *bytes = g_byte_array_new ();

  if (gst_meta_serialize_simple (meta, bytes))
    put_bytes (w, bytes->data, bytes->len);
  else
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a meta does not serialise itself");
  g_byte_array_unref (bytes);
}

/* GStreamer starts with the whole size, the size of the name, the name, a zero
 * and a version.  It adds these up before it compares them, so a hostile size
 * of the name must not get there. */
static gboolean
get_serialized (GstBuffer * buffer, const GstMetaInfo * info,
    const guint8 * data, gsize size)
{
  GstCuframesCodecReader header = {.data = data,.size = size };
  const gchar *name = g_type_name (info->type);
  gsize name_size = strlen (name);
  guint32 stated_size = get_u32 (&header);
  guint32 stated_name_size = get_u32 (&header);
  guint32 consumed;

  if (header.failed || stated_size != size || stated_name_size != name_size)
    return FALSE;
  if (header.size < name_size + 2
      || memcmp (header.data, name, name_size + 1) != 0)
    return FALSE;
  return gst_meta_deserialize (buffer, data, size, &consumed) != NULL;
}
#else
static gboolean
gstreamer_can_serialize (const GstMetaInfo * info)
{
  return FALSE;
}

static void
put_serialized (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
      "a meta does not serialise itself");
}

static gboolean
get_serialized (GstBuffer * buffer, const GstMetaInfo * info,
    const guint8 * data, gsize size)
{
  return FALSE;
}
#endif

static void
put_custom (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  gst_cuframes_codec_put_name (w, g_type_name (meta->info->type));
  gst_cuframes_codec_put_fields (w,
      gst_custom_meta_get_structure ((GstCustomMeta *) meta));
}

/* A custom meta that nobody registered here is skipped.  Registering it on its
 * arrival would let a peer fill the type system, and would break the program
 * that registers the same name a moment later. */
static gboolean
get_custom (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  const GstMetaInfo *info;
  GstStructure *fields;
  GstCustomMeta *meta;
  gint i, n;

  if (!gst_cuframes_codec_get_name (r, name))
    return FALSE;
  info = gst_meta_get_info (name);
  if (info == NULL || !gst_meta_info_is_custom (info)) {
    r->size = 0;
    return FALSE;
  }

  fields = gst_structure_new_empty ("fields");
  gst_cuframes_codec_get_fields (r, fields);
  if (r->failed) {
    gst_structure_free (fields);
    return FALSE;
  }
  meta = gst_buffer_add_custom_meta (buffer, name);
  n = gst_structure_n_fields (fields);
  for (i = 0; i < n; i++) {
    const gchar *field = gst_structure_nth_field_name (fields, i);

    gst_structure_set_value (gst_custom_meta_get_structure (meta), field,
        gst_structure_get_value (fields, field));
  }
  gst_structure_free (fields);
  return TRUE;
}

static void
put_by_gstreamer (GstCuframesCodecWriter * w, const GstMeta * meta)
{
  gst_cuframes_codec_put_name (w, g_type_name (meta->info->type));
  put_serialized (w, meta);
}

/* Whether GStreamer's own serialisation is asked, on either side */
static gboolean
is_left_to_gstreamer (const GstMetaInfo * info)
{
  return gstreamer_can_serialize (info) && !gst_meta_info_is_custom (info)
      && !gst_cuframes_codec_meta_of_api (info->api)
      && !has_tag (info, GST_META_TAG_MEMORY_STR)
      && !has_tag (info, "audio") && info->api != GST_VIDEO_META_API_TYPE
      && info->api != GST_PROTECTION_META_API_TYPE;
}

static gboolean
get_by_gstreamer (GstCuframesCodecReader * r, GstBuffer * buffer)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  const GstMetaInfo *info;
  const guint8 *data;
  gsize size;

  if (!gst_cuframes_codec_get_name (r, name))
    return FALSE;
  data = r->data;
  size = r->size;
  r->data += size;
  r->size = 0;
  info = gst_meta_get_info (name);
  /* What has a code here is sent by it, and checked by it. */
  return info != NULL && gst_cuframes_codec_meta_of_api (info->api) == NULL
      && is_left_to_gstreamer (info)
      && get_serialized (buffer, info, data, size);
}

static const GstCuframesCodecMeta custom_code =
    { META_CUSTOM, NULL, put_custom, get_custom };
static const GstCuframesCodecMeta gstreamer_code =
    { META_BY_GSTREAMER, NULL, put_by_gstreamer, get_by_gstreamer };

static const GstCuframesCodecMeta *
code_of_meta (const GstMetaInfo * info)
{
  const GstCuframesCodecMeta *code = gst_cuframes_codec_meta_of_api (info->api);

  if (code)
    return code;
  if (gst_meta_info_is_custom (info))
    return has_tag (info, GST_META_TAG_MEMORY_STR) ? NULL : &custom_code;
  return is_left_to_gstreamer (info) ? &gstreamer_code : NULL;
}

static const GstCuframesCodecMeta *
code_of_kind (guint8 kind)
{
  if (kind == META_CUSTOM)
    return &custom_code;
  if (kind == META_BY_GSTREAMER)
    return &gstreamer_code;
  return gst_cuframes_codec_meta_of_kind (kind);
}

/* TRUE: written.  FALSE: left out, @w as before. */
static gboolean
put_meta (GstCuframesCodecWriter * w, const GstCuframesCodecMeta * code,
    const GstMeta * meta)
{
  gsize start = w->size, mark;

  put_u8 (w, code->kind);
  mark = put_mark (w);
  code->put (w, meta);
  put_block_end (w, mark);
  if (!w->failed)
    return TRUE;

  w->failed = FALSE;
  w->size = start;
  return FALSE;
}

/**
 * gst_cuframes_codec_metas_to_bytes:
 * @buffer: a #GstBuffer
 * @data: (out caller-allocates) (nullable): memory for the bytes
 * @capacity: how many bytes fit into @data, 0 to measure
 * @n_skipped: (out) (optional): how many metas of the stream do not travel
 *
 * Writes the metas of @buffer that mean something in another process.  A
 * buffer without such metas costs no memory and gives 0.  #GstVideoMeta is not
 * among them, nor counted: the frame's descriptor carries it.  The caller
 * holds @buffer; any thread may call it.
 *
 * Returns: how many bytes the metas need, at most
 *     %GST_CUFRAMES_CODEC_MAX_METAS_BYTES.  If that is above @capacity, what
 *     lies in @data is of no use.
 *
 * Since: 0.1
 */
gsize
gst_cuframes_codec_metas_to_bytes (GstBuffer * buffer, gpointer data,
    gsize capacity, guint * n_skipped)
{
  GstCuframesCodecWriter w;
  gpointer state = NULL;
  guint n_put = 0, skipped = 0;
  GstMeta *meta;

  g_return_val_if_fail (GST_IS_BUFFER (buffer), 0);
  g_return_val_if_fail (data != NULL || capacity == 0, 0);

  gst_cuframes_codec_writer_init (&w, data, capacity,
      GST_CUFRAMES_CODEC_MAX_METAS_BYTES);
  put_u8 (&w, GST_CUFRAMES_CODEC_VERSION);
  put_u8 (&w, GST_CUFRAMES_CODEC_BLOB_METAS);

  while ((meta = gst_buffer_iterate_meta (buffer, &state))) {
    const GstCuframesCodecMeta *code;

    if (meta->info->api == GST_VIDEO_META_API_TYPE
        || meta->info->api == GST_PARENT_BUFFER_META_API_TYPE)
      continue;
    code = code_of_meta (meta->info);
    if (code && n_put < MAX_METAS && put_meta (&w, code, meta))
      n_put++;
    else
      skipped++;
  }
  if (n_skipped)
    *n_skipped = skipped;
  return n_put > 0 ? w.size : 0;
}

static void
get_metas (GstCuframesCodecReader * r, GstBuffer * buffer, guint * skipped)
{
  guint n = 0;

  while (!r->failed && r->size > 0) {
    const GstCuframesCodecMeta *code = code_of_kind (get_u8 (r));
    GstCuframesCodecReader block;

    if (++n > MAX_METAS)
      gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
          "too many metas");
    if (!gst_cuframes_codec_get_block (r, &block))
      return;
    if (!code || !code->get (&block, buffer))
      (*skipped)++;
    else
      gst_cuframes_codec_reader_end (&block);
    r->n_values = block.n_values;
    if (block.failed && block.code != GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED)
      gst_cuframes_codec_reader_fail (r, block.code, block.why);
  }
}

/**
 * gst_cuframes_codec_metas_from_bytes:
 * @buffer: a writable #GstBuffer; its #GstVideoMeta, if any, bounds the crop
 * @data: (array length=size) (nullable): a peer's bytes
 * @size: how many, 0 for no metas
 * @n_skipped: (out) (optional): how many metas are unknown to this process or
 *     have no place on @buffer
 * @error: return location for a #GError, or %NULL
 *
 * Adds what gst_cuframes_codec_metas_to_bytes() wrote.  @data is trusted in
 * nothing and may be a page that the peer writes to during the call.  A custom
 * meta is skipped unless this process registered its name.  Any thread may
 * call it.
 *
 * Returns: %FALSE with @error set if the bytes are not well formed; the metas
 *     before the fault are on @buffer then
 *
 * Since: 0.1
 */
gboolean
gst_cuframes_codec_metas_from_bytes (GstBuffer * buffer, gconstpointer data,
    gsize size, guint * n_skipped, GError ** error)
{
  guint8 stack_copy[STACK_COPY_BYTES];
  guint8 *heap_copy = NULL;
  GstCuframesCodecReader r;
  guint skipped = 0;

  g_return_val_if_fail (GST_IS_BUFFER (buffer), FALSE);
  g_return_val_if_fail (gst_buffer_is_writable (buffer), FALSE);
  g_return_val_if_fail (data != NULL || size == 0, FALSE);
  g_return_val_if_fail (error == NULL || *error == NULL, FALSE);

  if (n_skipped)
    *n_skipped = 0;
  if (size == 0)
    return TRUE;

  if (size <= sizeof (stack_copy))
    memcpy (stack_copy, data, size);
  else if (size <= GST_CUFRAMES_CODEC_MAX_METAS_BYTES)
    heap_copy = g_memdup2 (data, size);
  if (gst_cuframes_codec_reader_begin (&r, heap_copy ? heap_copy : stack_copy,
          size, GST_CUFRAMES_CODEC_MAX_METAS_BYTES,
          GST_CUFRAMES_CODEC_BLOB_METAS))
    get_metas (&r, buffer, &skipped);
  g_free (heap_copy);

  if (n_skipped)
    *n_skipped = skipped;
  if (r.failed)
    gst_cuframes_codec_reader_set_error (&r, error);
  return !r.failed;
}
