/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The larger things that a GValue may hold, tags, buffers, samples, segments,
 * dates and lists of strings, to bytes and back. */

#include "gstcuframescodec-private.h"

#include <math.h>

#define SAMPLE_HAS_BUFFER 0x01
#define SAMPLE_HAS_CAPS 0x02
#define SAMPLE_HAS_INFO 0x04

/* The last day of the year 9999, where GDateTime ends as well */
#define MAX_JULIAN_DAY 3652059u

#define DATE_TIME_HAS_MONTH 0x01
#define DATE_TIME_HAS_DAY 0x02
#define DATE_TIME_HAS_TIME 0x04
#define DATE_TIME_HAS_SECOND 0x08

/* GLib asserts that it can write an offset down as hours and minutes */
#define MAX_UTC_OFFSET_SECONDS (24 * 3600 - 1)

/* What a flag of a buffer means elsewhere; the rest is about its memory */
#define BUFFER_FLAGS_THAT_TRAVEL ((guint) (GST_BUFFER_FLAG_LIVE | \
    GST_BUFFER_FLAG_DECODE_ONLY | GST_BUFFER_FLAG_DISCONT | \
    GST_BUFFER_FLAG_RESYNC | GST_BUFFER_FLAG_CORRUPTED | \
    GST_BUFFER_FLAG_MARKER | GST_BUFFER_FLAG_HEADER | GST_BUFFER_FLAG_GAP | \
    GST_BUFFER_FLAG_DROPPABLE | GST_BUFFER_FLAG_DELTA_UNIT | \
    GST_BUFFER_FLAG_NON_DROPPABLE))

static gboolean
give_up_one_tag (GstCuframesCodecWriter * w, gsize size)
{
  if (!w->failed)
    return FALSE;
  /* Other tags are worth sending without it */
  w->failed = FALSE;
  w->size = size;
  return TRUE;
}

void
gst_cuframes_codec_put_tags (GstCuframesCodecWriter * w,
    const GstTagList * tags)
{
  gint i, n = MIN (gst_tag_list_n_tags (tags), GST_CUFRAMES_CODEC_MAX_FIELDS);
  guint32 n_put = 0;
  gsize n_mark;

  put_u8 (w, gst_tag_list_get_scope (tags) == GST_TAG_SCOPE_GLOBAL);
  n_mark = put_mark (w);
  for (i = 0; i < n && !w->failed; i++) {
    const gchar *tag = gst_tag_list_nth_tag_name (tags, i);
    guint j, n_values = gst_tag_list_get_tag_size (tags, tag);
    gsize start = w->size, mark;

    gst_cuframes_codec_put_name (w, tag);
    mark = put_mark (w);
    put_u32 (w, n_values);
    for (j = 0; j < n_values && !w->failed; j++)
      gst_cuframes_codec_put_value (w,
          gst_tag_list_get_value_index (tags, tag, j));
    put_block_end (w, mark);
    if (!give_up_one_tag (w, start))
      n_put++;
  }
  put_patch (w, n_mark, n_put);
}

/* GStreamer warns, or keeps what its getters do not expect */
static gboolean
is_tag_value (const gchar * tag, const GValue * value)
{
  const gchar *string;

  if (!gst_tag_exists (tag) || G_VALUE_TYPE (value) != gst_tag_get_type (tag))
    return FALSE;
  if (!G_VALUE_HOLDS_STRING (value))
    return TRUE;
  string = g_value_get_string (value);
  return string != NULL && string[0] != '\0';
}

static void
get_tag_values (GstCuframesCodecReader * r, GstTagList * tags,
    const gchar * tag)
{
  guint32 n = get_u32 (r);

  while (n-- > 0 && !r->failed) {
    GValue value = G_VALUE_INIT;

    if (!gst_cuframes_codec_get_value (r, &value))
      return;
    if (is_tag_value (tag, &value))
      gst_tag_list_add_value (tags, GST_TAG_MERGE_APPEND, tag, &value);
    g_value_unset (&value);
  }
  gst_cuframes_codec_reader_end (r);
}

/* Tags that nobody registered in this process are left out */
GstTagList *
gst_cuframes_codec_get_tags (GstCuframesCodecReader * r)
{
  gchar tag[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  gboolean is_global = get_u8 (r) != 0;
  guint32 n = get_u32 (r);
  GstTagList *tags;

  if (!r->failed && n > GST_CUFRAMES_CODEC_MAX_FIELDS)
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "too many tags");
  if (r->failed)
    return NULL;

  tags = gst_tag_list_new_empty ();
  gst_tag_list_set_scope (tags,
      is_global ? GST_TAG_SCOPE_GLOBAL : GST_TAG_SCOPE_STREAM);
  while (n-- > 0 && gst_cuframes_codec_get_name (r, tag)) {
    GstCuframesCodecReader block;

    if (!gst_cuframes_codec_get_block (r, &block))
      break;
    get_tag_values (&block, tags, tag);
    r->n_values = block.n_values;
    if (block.failed && block.code != GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED)
      gst_cuframes_codec_reader_fail (r, block.code, block.why);
  }
  if (r->failed)
    g_clear_pointer (&tags, gst_tag_list_unref);
  return tags;
}

/* What GstSegment's own functions assert, and elements count on */
static gboolean
is_segment (const GstSegment * s)
{
  if (!isfinite (s->rate) || s->rate == 0.0 || !isfinite (s->applied_rate)
      || s->applied_rate == 0.0)
    return FALSE;
  if (s->format == GST_FORMAT_UNDEFINED
      || gst_format_get_details (s->format) == NULL)
    return FALSE;
  if (s->start == GST_CLOCK_TIME_NONE || s->base == GST_CLOCK_TIME_NONE
      || s->offset == GST_CLOCK_TIME_NONE)
    return FALSE;
  if (s->stop == GST_CLOCK_TIME_NONE)
    return s->rate > 0.0;
  return s->stop >= s->start && s->offset <= s->stop - s->start;
}

void
gst_cuframes_codec_put_segment (GstCuframesCodecWriter * w,
    const GstSegment * segment)
{
  if (!is_segment (segment))
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a segment is not consistent");
  put_u32 (w, segment->flags);
  put_u32 (w, segment->format);
  put_double (w, segment->rate);
  put_double (w, segment->applied_rate);
  put_u64 (w, segment->base);
  put_u64 (w, segment->offset);
  put_u64 (w, segment->start);
  put_u64 (w, segment->stop);
  put_u64 (w, segment->time);
  put_u64 (w, segment->position);
  put_u64 (w, segment->duration);
}

void
gst_cuframes_codec_get_segment (GstCuframesCodecReader * r,
    GstSegment * segment)
{
  gst_segment_init (segment, GST_FORMAT_TIME);
  segment->flags = gst_cuframes_codec_known_flags (GST_TYPE_SEGMENT_FLAGS,
      get_u32 (r));
  segment->format = get_u32 (r);
  segment->rate = get_double (r);
  segment->applied_rate = get_double (r);
  segment->base = get_u64 (r);
  segment->offset = get_u64 (r);
  segment->start = get_u64 (r);
  segment->stop = get_u64 (r);
  segment->time = get_u64 (r);
  segment->position = get_u64 (r);
  segment->duration = get_u64 (r);
  if (!r->failed && !is_segment (segment))
    malformed (r, "a segment is not consistent");
}

static void
put_memory (GstCuframesCodecWriter * w, GstBuffer * buffer)
{
  gsize size = gst_buffer_get_size (buffer);

  if (!w->failed && (size > G_MAXUINT32 || size > w->limit - w->size))
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "a buffer is too large");
  put_u32 (w, (guint32) size);
  if (w->failed || size > w->limit - w->size)
    return;

  if (size > 0 && w->size <= w->capacity && size <= w->capacity - w->size
      && gst_buffer_extract (buffer, 0, w->data + w->size, size) != size)
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a buffer cannot be read");
  w->size += size;
}

void
gst_cuframes_codec_put_buffer (GstCuframesCodecWriter * w, GstBuffer * buffer)
{
  put_u32 (w, GST_BUFFER_FLAGS (buffer) & BUFFER_FLAGS_THAT_TRAVEL);
  put_u64 (w, GST_BUFFER_PTS (buffer));
  put_u64 (w, GST_BUFFER_DTS (buffer));
  put_u64 (w, GST_BUFFER_DURATION (buffer));
  put_u64 (w, GST_BUFFER_OFFSET (buffer));
  put_u64 (w, GST_BUFFER_OFFSET_END (buffer));
  put_memory (w, buffer);
}

GstBuffer *
gst_cuframes_codec_get_buffer (GstCuframesCodecReader * r)
{
  guint32 flags = get_u32 (r);
  GstClockTime pts = get_u64 (r);
  GstClockTime dts = get_u64 (r);
  GstClockTime duration = get_u64 (r);
  guint64 offset = get_u64 (r);
  guint64 offset_end = get_u64 (r);
  GstCuframesCodecReader block;
  GstBuffer *buffer;

  if (!gst_cuframes_codec_get_block (r, &block))
    return NULL;

  buffer = block.size > 0 ? gst_buffer_new_memdup (block.data, block.size)
      : gst_buffer_new ();
  GST_BUFFER_FLAG_SET (buffer, flags & BUFFER_FLAGS_THAT_TRAVEL);
  GST_BUFFER_PTS (buffer) = pts;
  GST_BUFFER_DTS (buffer) = dts;
  GST_BUFFER_DURATION (buffer) = duration;
  GST_BUFFER_OFFSET (buffer) = offset;
  GST_BUFFER_OFFSET_END (buffer) = offset_end;
  return buffer;
}

void
gst_cuframes_codec_put_sample (GstCuframesCodecWriter * w, GstSample * sample)
{
  GstBuffer *buffer = gst_sample_get_buffer (sample);
  GstCaps *caps = gst_sample_get_caps (sample);
  const GstStructure *info = gst_sample_get_info (sample);

  if (gst_sample_get_buffer_list (sample))
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a sample holds a list of buffers");
  put_u8 (w, (buffer ? SAMPLE_HAS_BUFFER : 0) | (caps ? SAMPLE_HAS_CAPS : 0)
      | (info ? SAMPLE_HAS_INFO : 0));
  gst_cuframes_codec_put_segment (w, gst_sample_get_segment (sample));
  if (buffer)
    gst_cuframes_codec_put_buffer (w, buffer);
  if (caps)
    gst_cuframes_codec_put_caps (w, caps);
  if (info)
    gst_cuframes_codec_put_structure (w, info);
}

GstSample *
gst_cuframes_codec_get_sample (GstCuframesCodecReader * r)
{
  guint8 parts = get_u8 (r);
  GstSample *sample = NULL;
  GstBuffer *buffer = NULL;
  GstCaps *caps = NULL;
  GstStructure *info = NULL;
  GstSegment segment;

  gst_cuframes_codec_get_segment (r, &segment);
  if (parts & SAMPLE_HAS_BUFFER)
    buffer = gst_cuframes_codec_get_buffer (r);
  if (parts & SAMPLE_HAS_CAPS)
    caps = gst_cuframes_codec_get_caps (r);
  if (parts & SAMPLE_HAS_INFO)
    info = gst_cuframes_codec_get_structure (r);

  if (r->failed)
    gst_clear_structure (&info);
  else
    sample = gst_sample_new (buffer, caps, &segment, info);
  gst_clear_buffer (&buffer);
  gst_clear_caps (&caps);
  return sample;
}

void
gst_cuframes_codec_put_date_time (GstCuframesCodecWriter * w, GDateTime * dt)
{
  put_u16 (w, g_date_time_get_year (dt));
  put_u8 (w, g_date_time_get_month (dt));
  put_u8 (w, g_date_time_get_day_of_month (dt));
  put_u8 (w, g_date_time_get_hour (dt));
  put_u8 (w, g_date_time_get_minute (dt));
  put_u8 (w, g_date_time_get_second (dt));
  put_u32 (w, g_date_time_get_microsecond (dt));
  put_u32 (w, (guint32) (g_date_time_get_utc_offset (dt) / G_USEC_PER_SEC));
}

/* The zone comes back as its offset at that time: its name is not kept */
GDateTime *
gst_cuframes_codec_get_date_time (GstCuframesCodecReader * r)
{
  gint year = get_u16 (r);
  gint month = get_u8 (r);
  gint day = get_u8 (r);
  gint hour = get_u8 (r);
  gint minute = get_u8 (r);
  gint second = get_u8 (r);
  guint32 usec = get_u32 (r);
  gint32 utc_offset = (gint32) get_u32 (r);
  GDateTime *whole, *dt = NULL;
  GTimeZone *zone;

  if (!r->failed && (usec >= G_USEC_PER_SEC
          || utc_offset > MAX_UTC_OFFSET_SECONDS
          || utc_offset < -MAX_UTC_OFFSET_SECONDS))
    malformed (r, "a time is out of range");
  if (r->failed)
    return NULL;

  zone = utc_offset == 0 ? g_time_zone_new_utc ()
      : g_time_zone_new_offset (utc_offset);
  whole = g_date_time_new (zone, year, month, day, hour, minute, second);
  g_time_zone_unref (zone);
  if (whole) {
    /* Added, because seconds as a double would not keep them exact */
    dt = g_date_time_add (whole, usec);
    g_date_time_unref (whole);
  }
  if (!dt)
    malformed (r, "a time does not exist");
  return dt;
}

void
gst_cuframes_codec_put_gst_date_time (GstCuframesCodecWriter * w,
    GstDateTime * dt)
{
  GDateTime *full = gst_date_time_to_g_date_time (dt);
  gboolean has_time = gst_date_time_has_time (dt);
  guint8 parts = (gst_date_time_has_month (dt) ? DATE_TIME_HAS_MONTH : 0)
      | (gst_date_time_has_day (dt) ? DATE_TIME_HAS_DAY : 0)
      | (has_time ? DATE_TIME_HAS_TIME : 0)
      | (gst_date_time_has_second (dt) ? DATE_TIME_HAS_SECOND : 0);

  put_u8 (w, parts);
  if (full) {
    gst_cuframes_codec_put_date_time (w, full);
    g_date_time_unref (full);
    return;
  }
  put_u16 (w, gst_date_time_get_year (dt));
  put_u8 (w, parts & DATE_TIME_HAS_MONTH ? gst_date_time_get_month (dt) : 0);
  put_u8 (w, parts & DATE_TIME_HAS_DAY ? gst_date_time_get_day (dt) : 0);
  put_u8 (w, has_time ? gst_date_time_get_hour (dt) : 0);
  put_u8 (w, has_time ? gst_date_time_get_minute (dt) : 0);
  put_float (w, has_time ? gst_date_time_get_time_zone_offset (dt) : 0.0f);
}

static GstDateTime *
get_partial_date_time (GstCuframesCodecReader * r, guint8 parts)
{
  gint year = get_u16 (r);
  gint month = get_u8 (r);
  gint day = get_u8 (r);
  gint hour = get_u8 (r);
  gint minute = get_u8 (r);
  gfloat zone = get_float (r);
  GstDateTime *dt = NULL;

  if (!r->failed && isfinite (zone)) {
    if (parts & DATE_TIME_HAS_TIME)
      dt = gst_date_time_new (zone, year, month, day, hour, minute, -1.0);
    else
      dt = gst_date_time_new (0.0f, year,
          parts & DATE_TIME_HAS_MONTH ? month : -1,
          parts & DATE_TIME_HAS_DAY ? day : -1, -1, -1, -1.0);
  }
  if (!dt)
    malformed (r, "a date does not exist");
  return dt;
}

GstDateTime *
gst_cuframes_codec_get_gst_date_time (GstCuframesCodecReader * r)
{
  guint8 parts = get_u8 (r);
  GDateTime *full;

  if (!(parts & DATE_TIME_HAS_SECOND))
    return get_partial_date_time (r, parts);
  full = gst_cuframes_codec_get_date_time (r);
  return full ? gst_date_time_new_from_g_date_time (full) : NULL;
}

void
gst_cuframes_codec_put_strv (GstCuframesCodecWriter * w, gchar ** strv)
{
  guint i, n = g_strv_length (strv);

  put_u32 (w, n);
  for (i = 0; i < n; i++)
    gst_cuframes_codec_put_string (w, strv[i]);
}

void
gst_cuframes_codec_put_g_bytes (GstCuframesCodecWriter * w, GBytes * bytes)
{
  gsize size;
  gconstpointer data = g_bytes_get_data (bytes, &size);

  put_u32 (w, (guint32) MIN (size, G_MAXUINT32));
  put_bytes (w, data, size);
}

void
gst_cuframes_codec_put_date (GstCuframesCodecWriter * w, const GDate * date)
{
  guint32 julian = g_date_valid (date) ? g_date_get_julian (date) : 0;

  if (julian == 0 || julian > MAX_JULIAN_DAY)
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a date is not valid");
  put_u32 (w, julian);
}

gchar **
gst_cuframes_codec_get_strv (GstCuframesCodecReader * r)
{
  guint32 n = get_u32 (r);
  GPtrArray *strings;

  /* A string takes at least the four bytes of its length */
  if (!r->failed && n > r->size / 4)
    malformed (r, "a list of strings ends too early");
  if (!r->failed && n > GST_CUFRAMES_CODEC_MAX_VALUES)
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "too many strings");
  if (r->failed)
    return NULL;

  strings = g_ptr_array_new_full (n + 1, g_free);
  while (n-- > 0 && !r->failed)
    g_ptr_array_add (strings, gst_cuframes_codec_get_string (r));
  if (r->failed) {
    g_ptr_array_unref (strings);
    return NULL;
  }
  g_ptr_array_add (strings, NULL);
  return (gchar **) g_ptr_array_free (strings, FALSE);
}

GBytes *
gst_cuframes_codec_get_g_bytes (GstCuframesCodecReader * r)
{
  GstCuframesCodecReader block;

  if (!gst_cuframes_codec_get_block (r, &block))
    return NULL;
  return g_bytes_new (block.data, block.size);
}

GDate *
gst_cuframes_codec_get_date (GstCuframesCodecReader * r)
{
  guint32 julian = get_u32 (r);

  if (!r->failed && (julian > MAX_JULIAN_DAY || !g_date_valid_julian (julian)))
    malformed (r, "a date is not valid");
  return r->failed ? NULL : g_date_new_julian (julian);
}
