/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <string.h>

#include <gst/gst.h>

#include "gstcuframescodec.h"

G_BEGIN_DECLS

/* Seen by the gstcuframescodec*.c files only. */

#define GST_CUFRAMES_CODEC_VERSION 1

#define GST_CUFRAMES_CODEC_MAX_DEPTH 8
#define GST_CUFRAMES_CODEC_MAX_VALUES (256u * 1024u)
/* GstStructure looks its fields up one by one */
#define GST_CUFRAMES_CODEC_MAX_FIELDS 1024
#define GST_CUFRAMES_CODEC_MAX_NAME_BYTES 255
/* Of caps as text, its 0 included; as bytes they are shorter */
#define GST_CUFRAMES_CODEC_MAX_TEXT_BYTES 1024
/* Names that peers may add to the process, which keeps them for good */
#define GST_CUFRAMES_CODEC_MAX_NEW_NAMES (64u * 1024u)

typedef enum {
  GST_CUFRAMES_CODEC_BLOB_CAPS = 'C',
  GST_CUFRAMES_CODEC_BLOB_EVENT = 'E',
  GST_CUFRAMES_CODEC_BLOB_METAS = 'M',
} GstCuframesCodecBlob;

/*
 * GstCuframesCodecWriter:
 *
 * Writes what fits into memory of the caller and counts on when it is full, so
 * that one pass gives either the bytes or the size that they need.  The first
 * failure sticks: what follows is neither written nor counted.
 */
typedef struct {
  guint8 *data;
  gsize capacity;
  gsize size;
  gsize limit;
  guint depth;
  guint caps_depth;
  guint n_values;
  gboolean failed;
  GstCuframesCodecError code;
  const gchar *why;
} GstCuframesCodecWriter;

/*
 * GstCuframesCodecReader:
 *
 * What is left of a peer's bytes.  The first failure sticks: every later read
 * gives zero or NULL, so a caller may read a group of fields and look once.
 */
typedef struct {
  const guint8 *data;
  gsize size;
  guint depth;
  guint caps_depth;
  guint n_values;
  gboolean failed;
  GstCuframesCodecError code;
  const gchar *why;
} GstCuframesCodecReader;

/*
 * GstCuframesCodecMeta:
 * @kind: its number on the wire
 * @get_api: the API type that it writes
 * @put: writes one meta
 * @get: reads one and adds it; %FALSE if the reader failed or if the meta,
 *     well formed, has no place on this buffer
 */
typedef struct {
  guint8 kind;
  GType (*get_api) (void);
  void (*put) (GstCuframesCodecWriter * w, const GstMeta * meta);
  gboolean (*get) (GstCuframesCodecReader * r, GstBuffer * buffer);
} GstCuframesCodecMeta;

typedef void (*GstCuframesCodecPutFunc) (GstCuframesCodecWriter * w,
    gpointer object);

/* gstcuframescodec.c */
G_GNUC_INTERNAL void gst_cuframes_codec_writer_fail (GstCuframesCodecWriter * w,
    GstCuframesCodecError code, const gchar * why);
G_GNUC_INTERNAL void gst_cuframes_codec_put_string (GstCuframesCodecWriter * w,
    const gchar * string);
G_GNUC_INTERNAL void gst_cuframes_codec_put_name (GstCuframesCodecWriter * w,
    const gchar * name);
G_GNUC_INTERNAL GBytes *gst_cuframes_codec_encode (GstCuframesCodecPutFunc put,
    gpointer object, gsize limit, GError ** error);

G_GNUC_INTERNAL void gst_cuframes_codec_reader_fail (GstCuframesCodecReader * r,
    GstCuframesCodecError code, const gchar * why);
G_GNUC_INTERNAL gboolean gst_cuframes_codec_reader_begin
    (GstCuframesCodecReader * r, gconstpointer data, gsize size, gsize limit,
    GstCuframesCodecBlob blob);
G_GNUC_INTERNAL void gst_cuframes_codec_reader_end (GstCuframesCodecReader * r);
G_GNUC_INTERNAL void gst_cuframes_codec_reader_set_error
    (const GstCuframesCodecReader * r, GError ** error);
G_GNUC_INTERNAL gchar *gst_cuframes_codec_get_string (GstCuframesCodecReader *
    r);
G_GNUC_INTERNAL const gchar *gst_cuframes_codec_get_name (GstCuframesCodecReader
    * r, gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1]);
G_GNUC_INTERNAL const gchar *gst_cuframes_codec_get_kept_name
    (GstCuframesCodecReader * r,
    gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1]);
G_GNUC_INTERNAL gboolean gst_cuframes_codec_get_block (GstCuframesCodecReader *
    r, GstCuframesCodecReader * ret_block);

/* gstcuframescodec-value.c */
G_GNUC_INTERNAL void gst_cuframes_codec_put_value (GstCuframesCodecWriter * w,
    const GValue * value);
G_GNUC_INTERNAL guint gst_cuframes_codec_known_flags (GType type, guint flags);
G_GNUC_INTERNAL gboolean gst_cuframes_codec_get_value (GstCuframesCodecReader *
    r, GValue * value);

/* gstcuframescodec-structure.c */
G_GNUC_INTERNAL void gst_cuframes_codec_put_fields (GstCuframesCodecWriter * w,
    const GstStructure * structure);
G_GNUC_INTERNAL void gst_cuframes_codec_get_fields (GstCuframesCodecReader * r,
    GstStructure * structure);
G_GNUC_INTERNAL void gst_cuframes_codec_put_structure (GstCuframesCodecWriter *
    w, const GstStructure * structure);
G_GNUC_INTERNAL GstStructure *gst_cuframes_codec_get_structure
    (GstCuframesCodecReader * r);

G_GNUC_INTERNAL void gst_cuframes_codec_put_caps (GstCuframesCodecWriter * w,
    const GstCaps * caps);
G_GNUC_INTERNAL GstCaps *gst_cuframes_codec_get_caps (GstCuframesCodecReader *
    r);

G_GNUC_INTERNAL void gst_cuframes_codec_put_one_structure
    (GstCuframesCodecWriter * w, const gchar * feature, const gchar * name);

/* gstcuframescodec-text.c */
G_GNUC_INTERNAL gboolean gst_cuframes_codec_is_text (gconstpointer data,
    gsize size);
G_GNUC_INTERNAL gsize gst_cuframes_codec_text_to_bytes (gconstpointer data,
    gsize size, guint8 bytes[GST_CUFRAMES_CODEC_MAX_TEXT_BYTES]);

/* gstcuframescodec-object.c */
G_GNUC_INTERNAL void gst_cuframes_codec_put_tags (GstCuframesCodecWriter * w,
    const GstTagList * tags);
G_GNUC_INTERNAL GstTagList *gst_cuframes_codec_get_tags (GstCuframesCodecReader
    * r);
G_GNUC_INTERNAL void gst_cuframes_codec_put_segment (GstCuframesCodecWriter * w,
    const GstSegment * segment);
G_GNUC_INTERNAL void gst_cuframes_codec_get_segment (GstCuframesCodecReader * r,
    GstSegment * segment);
G_GNUC_INTERNAL void gst_cuframes_codec_put_buffer (GstCuframesCodecWriter * w,
    GstBuffer * buffer);
G_GNUC_INTERNAL GstBuffer *gst_cuframes_codec_get_buffer (GstCuframesCodecReader
    * r);
G_GNUC_INTERNAL void gst_cuframes_codec_put_sample (GstCuframesCodecWriter * w,
    GstSample * sample);
G_GNUC_INTERNAL GstSample *gst_cuframes_codec_get_sample (GstCuframesCodecReader
    * r);
G_GNUC_INTERNAL void gst_cuframes_codec_put_date_time (GstCuframesCodecWriter *
    w, GDateTime * date_time);
G_GNUC_INTERNAL GDateTime *gst_cuframes_codec_get_date_time
    (GstCuframesCodecReader * r);
G_GNUC_INTERNAL void gst_cuframes_codec_put_gst_date_time
    (GstCuframesCodecWriter * w, GstDateTime * date_time);
G_GNUC_INTERNAL GstDateTime *gst_cuframes_codec_get_gst_date_time
    (GstCuframesCodecReader * r);

G_GNUC_INTERNAL void gst_cuframes_codec_put_date (GstCuframesCodecWriter * w,
    const GDate * date);
G_GNUC_INTERNAL GDate *gst_cuframes_codec_get_date (GstCuframesCodecReader * r);
G_GNUC_INTERNAL void gst_cuframes_codec_put_strv (GstCuframesCodecWriter * w,
    gchar ** strv);
G_GNUC_INTERNAL gchar **gst_cuframes_codec_get_strv (GstCuframesCodecReader *
    r);
G_GNUC_INTERNAL void gst_cuframes_codec_put_g_bytes (GstCuframesCodecWriter *
    w, GBytes * bytes);
G_GNUC_INTERNAL GBytes *gst_cuframes_codec_get_g_bytes (GstCuframesCodecReader
    * r);

/* gstcuframescodec-audiometa.c */
G_GNUC_INTERNAL const GstCuframesCodecMeta *
gst_cuframes_codec_audio_meta_of_api (GType api);
G_GNUC_INTERNAL const GstCuframesCodecMeta *
gst_cuframes_codec_audio_meta_of_kind (guint8 kind);

/* gstcuframescodec-videometa.c */
G_GNUC_INTERNAL const GstCuframesCodecMeta *gst_cuframes_codec_meta_of_api
    (GType api);
G_GNUC_INTERNAL const GstCuframesCodecMeta *gst_cuframes_codec_meta_of_kind
    (guint8 kind);

static inline void
gst_cuframes_codec_writer_init (GstCuframesCodecWriter * w, gpointer data,
    gsize capacity, gsize limit)
{
  memset (w, 0, sizeof (*w));
  w->data = data;
  w->capacity = capacity;
  w->limit = limit;
}

static inline void
put_bytes (GstCuframesCodecWriter * w, gconstpointer bytes, gsize size)
{
  if (w->failed)
    return;
  if (size > w->limit - w->size) {
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "more bytes than the limit allows");
    return;
  }
  if (size > 0 && w->size <= w->capacity && size <= w->capacity - w->size)
    memcpy (w->data + w->size, bytes, size);
  w->size += size;
}

static inline void
put_u8 (GstCuframesCodecWriter * w, guint8 value)
{
  put_bytes (w, &value, 1);
}

static inline void
put_u16 (GstCuframesCodecWriter * w, guint16 value)
{
  guint16 le = GUINT16_TO_LE (value);

  put_bytes (w, &le, sizeof (le));
}

static inline void
put_u32 (GstCuframesCodecWriter * w, guint32 value)
{
  guint32 le = GUINT32_TO_LE (value);

  put_bytes (w, &le, sizeof (le));
}

static inline void
put_u64 (GstCuframesCodecWriter * w, guint64 value)
{
  guint64 le = GUINT64_TO_LE (value);

  put_bytes (w, &le, sizeof (le));
}

static inline void
put_double (GstCuframesCodecWriter * w, gdouble value)
{
  guint64 bits;

  G_STATIC_ASSERT (sizeof (bits) == sizeof (value));
  memcpy (&bits, &value, sizeof (bits));
  put_u64 (w, bits);
}

static inline void
put_float (GstCuframesCodecWriter * w, gfloat value)
{
  guint32 bits;

  G_STATIC_ASSERT (sizeof (bits) == sizeof (value));
  memcpy (&bits, &value, sizeof (bits));
  put_u32 (w, bits);
}

/* A number that is known only after what follows it has been written: its
 * place is kept here and filled by put_patch(). */
static inline gsize
put_mark (GstCuframesCodecWriter * w)
{
  gsize mark = w->size;

  put_u32 (w, 0);
  return mark;
}

static inline void
put_patch (GstCuframesCodecWriter * w, gsize mark, guint32 value)
{
  guint32 le = GUINT32_TO_LE (value);

  if (!w->failed && mark <= w->capacity && sizeof (le) <= w->capacity - mark)
    memcpy (w->data + mark, &le, sizeof (le));
}

static inline void
put_block_end (GstCuframesCodecWriter * w, gsize mark)
{
  if (!w->failed)
    put_patch (w, mark, (guint32) (w->size - mark - sizeof (guint32)));
}

static inline gboolean
get_bytes (GstCuframesCodecReader * r, gpointer bytes, gsize size)
{
  if (!r->failed && size > r->size)
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_MALFORMED,
        "ends too early");
  if (r->failed) {
    memset (bytes, 0, size);
    return FALSE;
  }
  memcpy (bytes, r->data, size);
  r->data += size;
  r->size -= size;
  return TRUE;
}

static inline guint8
get_u8 (GstCuframesCodecReader * r)
{
  guint8 value;

  get_bytes (r, &value, sizeof (value));
  return value;
}

static inline guint16
get_u16 (GstCuframesCodecReader * r)
{
  guint16 le;

  get_bytes (r, &le, sizeof (le));
  return GUINT16_FROM_LE (le);
}

static inline guint32
get_u32 (GstCuframesCodecReader * r)
{
  guint32 le;

  get_bytes (r, &le, sizeof (le));
  return GUINT32_FROM_LE (le);
}

static inline guint64
get_u64 (GstCuframesCodecReader * r)
{
  guint64 le;

  get_bytes (r, &le, sizeof (le));
  return GUINT64_FROM_LE (le);
}

static inline gdouble
get_double (GstCuframesCodecReader * r)
{
  guint64 bits = get_u64 (r);
  gdouble value;

  memcpy (&value, &bits, sizeof (value));
  return value;
}

static inline gfloat
get_float (GstCuframesCodecReader * r)
{
  guint32 bits = get_u32 (r);
  gfloat value;

  memcpy (&value, &bits, sizeof (value));
  return value;
}

static inline void
malformed (GstCuframesCodecReader * r, const gchar * why)
{
  gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_MALFORMED, why);
}

G_END_DECLS
