/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* GValues and GstStructures to bytes and back, field by field and without
 * text: numbers stay exact, and buffers and samples, for which GStreamer has
 * no text, survive. */

#include "gstcuframescodec-private.h"

#include <gst/video/video.h>

/* On the wire: numbers are never given to another kind */
typedef enum
{
  KIND_BOOLEAN = 1,
  KIND_CHAR = 2,
  KIND_UCHAR = 3,
  KIND_INT = 4,
  KIND_UINT = 5,
  KIND_LONG = 6,
  KIND_ULONG = 7,
  KIND_INT64 = 8,
  KIND_UINT64 = 9,
  KIND_FLOAT = 10,
  KIND_DOUBLE = 11,
  KIND_STRING = 12,
  KIND_NULL_STRING = 13,
  KIND_ENUM = 14,
  KIND_FLAGS = 15,
  KIND_GTYPE = 16,
  KIND_FRACTION = 17,
  KIND_BITMASK = 18,
  KIND_FLAG_SET = 19,
  KIND_LIST = 20,
  KIND_ARRAY = 21,
  KIND_STRUCTURE = 22,
  KIND_CAPS = 23,
  KIND_TAG_LIST = 24,
  KIND_BUFFER = 25,
  KIND_SAMPLE = 26,
  KIND_DATE = 27,
  KIND_DATE_TIME = 28,
  KIND_GST_DATE_TIME = 29,
  KIND_BYTES = 30,
  KIND_STRV = 31,
  KIND_SEGMENT = 32,
  N_KINDS
} ValueKind;

/* G_TYPE_INVALID where the kind alone does not say the type */
static const GType *
types_of_kinds (void)
{
  static GType types[N_KINDS];
  static gsize is_filled;

  if (g_once_init_enter (&is_filled)) {
    /* *INDENT-OFF* */
    const GType known[N_KINDS] = {
      [KIND_BOOLEAN] = G_TYPE_BOOLEAN,
      [KIND_CHAR] = G_TYPE_CHAR,
      [KIND_UCHAR] = G_TYPE_UCHAR,
      [KIND_INT] = G_TYPE_INT,
      [KIND_UINT] = G_TYPE_UINT,
      [KIND_LONG] = G_TYPE_LONG,
      [KIND_ULONG] = G_TYPE_ULONG,
      [KIND_INT64] = G_TYPE_INT64,
      [KIND_UINT64] = G_TYPE_UINT64,
      [KIND_FLOAT] = G_TYPE_FLOAT,
      [KIND_DOUBLE] = G_TYPE_DOUBLE,
      [KIND_STRING] = G_TYPE_STRING,
      [KIND_NULL_STRING] = G_TYPE_STRING,
      [KIND_GTYPE] = G_TYPE_GTYPE,
      [KIND_FRACTION] = GST_TYPE_FRACTION,
      [KIND_BITMASK] = GST_TYPE_BITMASK,
      [KIND_LIST] = GST_TYPE_LIST,
      [KIND_ARRAY] = GST_TYPE_ARRAY,
      [KIND_STRUCTURE] = GST_TYPE_STRUCTURE,
      [KIND_CAPS] = GST_TYPE_CAPS,
      [KIND_TAG_LIST] = GST_TYPE_TAG_LIST,
      [KIND_BUFFER] = GST_TYPE_BUFFER,
      [KIND_SAMPLE] = GST_TYPE_SAMPLE,
      [KIND_DATE] = G_TYPE_DATE,
      [KIND_DATE_TIME] = G_TYPE_DATE_TIME,
      [KIND_GST_DATE_TIME] = GST_TYPE_DATE_TIME,
      [KIND_BYTES] = G_TYPE_BYTES,
      [KIND_STRV] = G_TYPE_STRV,
      [KIND_SEGMENT] = GST_TYPE_SEGMENT,
    };
    /* *INDENT-ON* */

    memcpy (types, known, sizeof (types));
    g_once_init_leave (&is_filled, 1);
  }
  return types;
}

/* 0 for a value that stays at home: a pointer, an object, a NULL boxed */
static ValueKind
kind_of_value (const GValue * value)
{
  GType type = G_VALUE_TYPE (value);
  guint kind;

  if (type == G_TYPE_STRING)
    return g_value_get_string (value) ? KIND_STRING : KIND_NULL_STRING;
  if (G_TYPE_IS_ENUM (type))
    return KIND_ENUM;
  if (G_TYPE_IS_FLAGS (type))
    return KIND_FLAGS;
  if (g_type_is_a (type, GST_TYPE_FLAG_SET))
    return KIND_FLAG_SET;
  if (G_TYPE_FUNDAMENTAL (type) == G_TYPE_BOXED && !g_value_get_boxed (value))
    return 0;

  for (kind = 1; kind < N_KINDS; kind++) {
    if (types_of_kinds ()[kind] == type)
      return kind;
  }
  return 0;
}

/* Caps get compared, and GStreamer asserts that it can */
static gboolean
is_fit_for_caps (ValueKind kind)
{
  return kind != KIND_CHAR && kind != KIND_DATE_TIME && kind != KIND_BYTES
      && kind != KIND_STRV && kind != KIND_SEGMENT;
}

static void
put_list (GstCuframesCodecWriter * w, const GValue * list)
{
  gboolean is_array = GST_VALUE_HOLDS_ARRAY (list);
  guint i, n = is_array ? gst_value_array_get_size (list)
      : gst_value_list_get_size (list);

  put_u32 (w, n);
  for (i = 0; i < n && !w->failed; i++)
    gst_cuframes_codec_put_value (w, is_array
        ? gst_value_array_get_value (list, i)
        : gst_value_list_get_value (list, i));
}

static void
put_boxed (GstCuframesCodecWriter * w, ValueKind kind, gpointer boxed)
{
  switch (kind) {
    case KIND_STRUCTURE:
      gst_cuframes_codec_put_structure (w, boxed);
      break;
    case KIND_CAPS:
      gst_cuframes_codec_put_caps (w, boxed);
      break;
    case KIND_TAG_LIST:
      gst_cuframes_codec_put_tags (w, boxed);
      break;
    case KIND_BUFFER:
      gst_cuframes_codec_put_buffer (w, boxed);
      break;
    case KIND_SAMPLE:
      gst_cuframes_codec_put_sample (w, boxed);
      break;
    case KIND_DATE:
      gst_cuframes_codec_put_date (w, boxed);
      break;
    case KIND_DATE_TIME:
      gst_cuframes_codec_put_date_time (w, boxed);
      break;
    case KIND_GST_DATE_TIME:
      gst_cuframes_codec_put_gst_date_time (w, boxed);
      break;
    case KIND_BYTES:
      gst_cuframes_codec_put_g_bytes (w, boxed);
      break;
    case KIND_STRV:
      gst_cuframes_codec_put_strv (w, boxed);
      break;
    case KIND_SEGMENT:
      gst_cuframes_codec_put_segment (w, boxed);
      break;
    default:
      g_assert_not_reached ();
  }
}

static void
put_content (GstCuframesCodecWriter * w, ValueKind kind, const GValue * value)
{
  switch (kind) {
    case KIND_BOOLEAN:
      put_u8 (w, g_value_get_boolean (value) != FALSE);
      break;
    case KIND_CHAR:
      put_u8 (w, (guint8) g_value_get_schar (value));
      break;
    case KIND_UCHAR:
      put_u8 (w, g_value_get_uchar (value));
      break;
    case KIND_INT:
      put_u32 (w, (guint32) g_value_get_int (value));
      break;
    case KIND_UINT:
      put_u32 (w, g_value_get_uint (value));
      break;
    case KIND_LONG:
      put_u64 (w, (guint64) (gint64) g_value_get_long (value));
      break;
    case KIND_ULONG:
      put_u64 (w, g_value_get_ulong (value));
      break;
    case KIND_INT64:
      put_u64 (w, (guint64) g_value_get_int64 (value));
      break;
    case KIND_UINT64:
      put_u64 (w, g_value_get_uint64 (value));
      break;
    case KIND_FLOAT:
      put_float (w, g_value_get_float (value));
      break;
    case KIND_DOUBLE:
      put_double (w, g_value_get_double (value));
      break;
    case KIND_STRING:
      gst_cuframes_codec_put_string (w, g_value_get_string (value));
      break;
    case KIND_NULL_STRING:
      break;
    case KIND_ENUM:
      put_u32 (w, (guint32) g_value_get_enum (value));
      break;
    case KIND_FLAGS:
      put_u32 (w, g_value_get_flags (value));
      break;
    case KIND_GTYPE:
      gst_cuframes_codec_put_name (w, g_type_name (g_value_get_gtype (value)));
      break;
    case KIND_FRACTION:
      put_u32 (w, (guint32) gst_value_get_fraction_numerator (value));
      put_u32 (w, (guint32) gst_value_get_fraction_denominator (value));
      break;
    case KIND_BITMASK:
      put_u64 (w, gst_value_get_bitmask (value));
      break;
    case KIND_FLAG_SET:
      put_u32 (w, gst_value_get_flagset_flags (value));
      put_u32 (w, gst_value_get_flagset_mask (value));
      break;
    case KIND_LIST:
    case KIND_ARRAY:
      put_list (w, value);
      break;
    default:
      put_boxed (w, kind, g_value_get_boxed (value));
      break;
  }
}

void
gst_cuframes_codec_put_value (GstCuframesCodecWriter * w, const GValue * value)
{
  ValueKind kind = kind_of_value (value);

  if (kind == 0 || (w->caps_depth > 0 && !is_fit_for_caps (kind))) {
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a value has a type that means nothing in another process");
    return;
  }
  if (w->depth >= GST_CUFRAMES_CODEC_MAX_DEPTH
      || w->n_values >= GST_CUFRAMES_CODEC_MAX_VALUES) {
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "too many values, or nested too deep");
    return;
  }

  w->depth++;
  w->n_values++;
  put_u8 (w, kind);
  if (kind == KIND_ENUM || kind == KIND_FLAGS || kind == KIND_FLAG_SET)
    gst_cuframes_codec_put_name (w, G_VALUE_TYPE_NAME (value));
  put_content (w, kind, value);
  w->depth--;
}

/* The type inside, as GStreamer finds it when it decides whether two values
 * may share a list */
static GType
basic_type (const GValue * value)
{
  for (;;) {
    if (GST_VALUE_HOLDS_LIST (value)) {
      if (gst_value_list_get_size (value) == 0)
        return G_TYPE_INVALID;
      value = gst_value_list_get_value (value, 0);
    } else if (GST_VALUE_HOLDS_ARRAY (value)) {
      if (gst_value_array_get_size (value) == 0)
        return G_TYPE_INVALID;
      value = gst_value_array_get_value (value, 0);
    } else {
      return G_VALUE_TYPE (value);
    }
  }
}

static void
get_list (GstCuframesCodecReader * r, GValue * list)
{
  guint32 n = get_u32 (r);

  while (n-- > 0 && !r->failed) {
    GValue item = G_VALUE_INIT;
    GType list_type, item_type;

    if (!gst_cuframes_codec_get_value (r, &item))
      return;
    list_type = basic_type (list);
    item_type = basic_type (&item);
    if (list_type != item_type && list_type != G_TYPE_INVALID
        && item_type != G_TYPE_INVALID) {
      malformed (r, "a list holds different types");
      g_value_unset (&item);
    } else if (GST_VALUE_HOLDS_ARRAY (list)) {
      gst_value_array_append_and_take_value (list, &item);
    } else {
      gst_value_list_append_and_take_value (list, &item);
    }
  }
}

static gpointer
get_boxed (GstCuframesCodecReader * r, ValueKind kind)
{
  switch (kind) {
    case KIND_STRUCTURE:
      return gst_cuframes_codec_get_structure (r);
    case KIND_CAPS:
      return gst_cuframes_codec_get_caps (r);
    case KIND_TAG_LIST:
      return gst_cuframes_codec_get_tags (r);
    case KIND_BUFFER:
      return gst_cuframes_codec_get_buffer (r);
    case KIND_SAMPLE:
      return gst_cuframes_codec_get_sample (r);
    case KIND_DATE:
      return gst_cuframes_codec_get_date (r);
    case KIND_DATE_TIME:
      return gst_cuframes_codec_get_date_time (r);
    case KIND_GST_DATE_TIME:
      return gst_cuframes_codec_get_gst_date_time (r);
    case KIND_BYTES:
      return gst_cuframes_codec_get_g_bytes (r);
    case KIND_STRV:
      return gst_cuframes_codec_get_strv (r);
    default:
      g_assert_not_reached ();
  }
}

/* GStreamer asserts that it can name each flag when it prints them */
guint
gst_cuframes_codec_known_flags (GType type, guint flags)
{
  GFlagsClass *klass = g_type_class_ref (type);
  guint known = flags & klass->mask;

  g_type_class_unref (klass);
  return known;
}

static void
get_flags (GstCuframesCodecReader * r, GValue * value)
{
  guint flags = get_u32 (r);

  if (flags != gst_cuframes_codec_known_flags (G_VALUE_TYPE (value), flags))
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "flags that are unknown here");
  else
    g_value_set_flags (value, flags);
}

static void
get_enum (GstCuframesCodecReader * r, GValue * value)
{
  gint number = (gint) get_u32 (r);
  GEnumClass *klass;

  if (r->failed)
    return;
  klass = g_type_class_ref (G_VALUE_TYPE (value));
  /* The same assertion as for flags */
  if (!g_enum_get_value (klass, number))
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "an enum has a number that is unknown here");
  else
    g_value_set_enum (value, number);
  g_type_class_unref (klass);
}

static void
get_gtype (GstCuframesCodecReader * r, GValue * value)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  GType type;

  if (!gst_cuframes_codec_get_name (r, name))
    return;
  type = g_type_from_name (name);
  if (type == G_TYPE_INVALID)
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a type is unknown here");
  else
    g_value_set_gtype (value, type);
}

static void
get_fraction (GstCuframesCodecReader * r, GValue * value)
{
  gint num = (gint) get_u32 (r);
  gint den = (gint) get_u32 (r);

  if (!r->failed && (den <= 0 || num < -G_MAXINT))
    malformed (r, "a fraction is out of range");
  if (!r->failed)
    gst_value_set_fraction (value, num, den);
}

static void
get_long (GstCuframesCodecReader * r, ValueKind kind, GValue * value)
{
  guint64 number = get_u64 (r);

  /* The peer may be a 64-bit process and this one not */
  if (kind == KIND_LONG) {
    if ((gint64) (glong) number != (gint64) number)
      malformed (r, "a long is out of range");
    else
      g_value_set_long (value, (glong) number);
  } else {
    if ((gulong) number != number)
      malformed (r, "a long is out of range");
    else
      g_value_set_ulong (value, (gulong) number);
  }
}

static void
get_content (GstCuframesCodecReader * r, ValueKind kind, GValue * value)
{
  GstSegment segment;
  guint flags;

  switch (kind) {
    case KIND_BOOLEAN:
      g_value_set_boolean (value, get_u8 (r) != 0);
      break;
    case KIND_CHAR:
      g_value_set_schar (value, (gint8) get_u8 (r));
      break;
    case KIND_UCHAR:
      g_value_set_uchar (value, get_u8 (r));
      break;
    case KIND_INT:
      g_value_set_int (value, (gint) get_u32 (r));
      break;
    case KIND_UINT:
      g_value_set_uint (value, get_u32 (r));
      break;
    case KIND_LONG:
    case KIND_ULONG:
      get_long (r, kind, value);
      break;
    case KIND_INT64:
      g_value_set_int64 (value, (gint64) get_u64 (r));
      break;
    case KIND_UINT64:
      g_value_set_uint64 (value, get_u64 (r));
      break;
    case KIND_FLOAT:
      g_value_set_float (value, get_float (r));
      break;
    case KIND_DOUBLE:
      g_value_set_double (value, get_double (r));
      break;
    case KIND_STRING:
      g_value_take_string (value, gst_cuframes_codec_get_string (r));
      break;
    case KIND_NULL_STRING:
      break;
    case KIND_ENUM:
      get_enum (r, value);
      break;
    case KIND_FLAGS:
      get_flags (r, value);
      break;
    case KIND_GTYPE:
      get_gtype (r, value);
      break;
    case KIND_FRACTION:
      get_fraction (r, value);
      break;
    case KIND_BITMASK:
      gst_value_set_bitmask (value, get_u64 (r));
      break;
    case KIND_FLAG_SET:
      flags = get_u32 (r);
      gst_value_set_flagset (value, flags, get_u32 (r));
      break;
    case KIND_LIST:
    case KIND_ARRAY:
      get_list (r, value);
      break;
    case KIND_SEGMENT:
      gst_cuframes_codec_get_segment (r, &segment);
      g_value_set_boxed (value, &segment);
      break;
    default:
      g_value_take_boxed (value, get_boxed (r, kind));
      break;
  }
}

/* G_TYPE_INVALID, with the reader failed, for a kind or type unknown here */
static GType
get_type (GstCuframesCodecReader * r, ValueKind kind)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  GType type, base;

  if (kind == KIND_ENUM)
    base = G_TYPE_ENUM;
  else if (kind == KIND_FLAGS)
    base = G_TYPE_FLAGS;
  else if (kind == KIND_FLAG_SET)
    base = GST_TYPE_FLAG_SET;
  else if (kind > 0 && kind < N_KINDS)
    return types_of_kinds ()[kind];
  else {
    malformed (r, "a value is of a kind that does not exist");
    return G_TYPE_INVALID;
  }

  if (!gst_cuframes_codec_get_name (r, name))
    return G_TYPE_INVALID;
  /* Registered by its first user, who may be us */
  if (kind == KIND_FLAG_SET)
    g_type_ensure (GST_TYPE_VIDEO_MULTIVIEW_FLAGSET);
  type = g_type_from_name (name);
  if (type == G_TYPE_INVALID || !g_type_is_a (type, base)
      || !G_TYPE_IS_VALUE (type)) {
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a value has a type that is unknown here");
    return G_TYPE_INVALID;
  }
  return type;
}

/* @value: zeroed; initialised on success, zeroed again on failure */
gboolean
gst_cuframes_codec_get_value (GstCuframesCodecReader * r, GValue * value)
{
  ValueKind kind = get_u8 (r);
  GType type;

  if (!r->failed && (r->depth >= GST_CUFRAMES_CODEC_MAX_DEPTH
          || r->n_values >= GST_CUFRAMES_CODEC_MAX_VALUES))
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "too many values, or nested too deep");
  if (!r->failed && r->caps_depth > 0 && !is_fit_for_caps (kind))
    malformed (r, "caps hold a value that cannot be compared");
  if (r->failed)
    return FALSE;
  type = get_type (r, kind);
  if (r->failed)
    return FALSE;

  r->depth++;
  r->n_values++;
  g_value_init (value, type);
  get_content (r, kind, value);
  r->depth--;
  if (r->failed)
    g_value_unset (value);
  return !r->failed;
}
