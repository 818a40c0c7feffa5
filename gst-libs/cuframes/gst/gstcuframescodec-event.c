/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Events to bytes and back.  Those that GStreamer knows are rebuilt by its own
 * constructors from checked fields, never from a peer's structure: elements
 * parse them without asking whether the fields are there. */

#include "gstcuframescodec-private.h"

#define STREAM_HAS_GROUP_ID 0x01

/* FNV-1a */
#define HASH_START G_GUINT64_CONSTANT (0xcbf29ce484222325)
#define HASH_FACTOR G_GUINT64_CONSTANT (0x100000001b3)

/* The latency tracer sends one before each buffer and measures the time to the
 * sink by it: beyond the process it would be another clock's. */
static gboolean
is_latency_mark (const GstStructure * structure)
{
  return gst_structure_has_name (structure, "latency_probe.id")
      || gst_structure_has_name (structure, "sub_latency_probe.id");
}

static gboolean
is_custom (GstEventType type)
{
  switch (type) {
    case GST_EVENT_CUSTOM_UPSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM:
    case GST_EVENT_CUSTOM_DOWNSTREAM_OOB:
    case GST_EVENT_CUSTOM_DOWNSTREAM_STICKY:
    case GST_EVENT_CUSTOM_BOTH:
    case GST_EVENT_CUSTOM_BOTH_OOB:
      return TRUE;
    default:
      return FALSE;
  }
}

static void
put_stream_start (GstCuframesCodecWriter * w, GstEvent * event)
{
  const gchar *stream_id;
  GstStreamFlags flags;
  guint group_id = 0;
  gboolean has_group_id;

  gst_event_parse_stream_start (event, &stream_id);
  gst_event_parse_stream_flags (event, &flags);
  has_group_id = gst_event_parse_group_id (event, &group_id);

  put_u8 (w, has_group_id ? STREAM_HAS_GROUP_ID : 0);
  put_u32 (w, flags);
  put_u32 (w, group_id);
  gst_cuframes_codec_put_string (w, stream_id);
}

static GstEvent *
get_stream_start (GstCuframesCodecReader * r)
{
  guint8 parts = get_u8 (r);
  guint32 flags = get_u32 (r);
  guint32 group_id = get_u32 (r);
  gchar *stream_id = gst_cuframes_codec_get_string (r);
  GstEvent *event;

  if (r->failed)
    return NULL;
  event = gst_event_new_stream_start (stream_id);
  gst_event_set_stream_flags (event,
      gst_cuframes_codec_known_flags (GST_TYPE_STREAM_FLAGS, flags));
  if ((parts & STREAM_HAS_GROUP_ID) && group_id != GST_GROUP_ID_INVALID)
    gst_event_set_group_id (event, group_id);
  g_free (stream_id);
  return event;
}

static void
put_gap (GstCuframesCodecWriter * w, GstEvent * event)
{
  GstClockTime timestamp, duration;
  GstGapFlags flags;

  gst_event_parse_gap (event, &timestamp, &duration);
  gst_event_parse_gap_flags (event, &flags);
  put_u64 (w, timestamp);
  put_u64 (w, duration);
  put_u32 (w, flags);
}

static GstEvent *
get_gap (GstCuframesCodecReader * r)
{
  GstClockTime timestamp = get_u64 (r);
  GstClockTime duration = get_u64 (r);
  guint32 flags = get_u32 (r);
  GstEvent *event;

  if (!r->failed && !GST_CLOCK_TIME_IS_VALID (timestamp))
    malformed (r, "a gap without a timestamp");
  if (r->failed)
    return NULL;
  event = gst_event_new_gap (timestamp, duration);
  gst_event_set_gap_flags (event,
      gst_cuframes_codec_known_flags (GST_TYPE_GAP_FLAGS, flags));
  return event;
}

static void
put_body (GstCuframesCodecWriter * w, GstEvent * event)
{
  const GstStructure *structure = gst_event_get_structure (event);
  const GstSegment *segment;
  GstTagList *tags;

  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      put_stream_start (w, event);
      break;
    case GST_EVENT_SEGMENT:
      gst_event_parse_segment (event, &segment);
      gst_cuframes_codec_put_segment (w, segment);
      break;
    case GST_EVENT_TAG:
      gst_event_parse_tag (event, &tags);
      gst_cuframes_codec_put_tags (w, tags);
      break;
    case GST_EVENT_GAP:
      put_gap (w, event);
      break;
    case GST_EVENT_EOS:
      break;
    default:
      if (is_custom (GST_EVENT_TYPE (event)) && structure
          && !is_latency_mark (structure))
        gst_cuframes_codec_put_structure (w, structure);
      else
        gst_cuframes_codec_writer_fail (w,
            GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
            "an event that means nothing in another process");
      break;
  }
}

static GstEvent *
get_body (GstCuframesCodecReader * r, GstEventType type)
{
  GstStructure *structure;
  GstSegment segment;
  GstTagList *tags;

  switch (type) {
    case GST_EVENT_STREAM_START:
      return get_stream_start (r);
    case GST_EVENT_SEGMENT:
      gst_cuframes_codec_get_segment (r, &segment);
      return r->failed ? NULL : gst_event_new_segment (&segment);
    case GST_EVENT_TAG:
      tags = gst_cuframes_codec_get_tags (r);
      return tags ? gst_event_new_tag (tags) : NULL;
    case GST_EVENT_GAP:
      return get_gap (r);
    case GST_EVENT_EOS:
      return gst_event_new_eos ();
    default:
      if (is_custom (type)) {
        structure = gst_cuframes_codec_get_structure (r);
        return structure ? gst_event_new_custom (type, structure) : NULL;
      }
      gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
          "an event that is unknown here");
      return NULL;
  }
}

static void
put_event_blob (GstCuframesCodecWriter * w, gpointer object)
{
  GstEvent *event = object;

  put_u8 (w, GST_CUFRAMES_CODEC_VERSION);
  put_u8 (w, GST_CUFRAMES_CODEC_BLOB_EVENT);
  put_u32 (w, GST_EVENT_TYPE (event));
  put_u32 (w, gst_event_get_seqnum (event));
  put_u64 (w, (guint64) gst_event_get_running_time_offset (event));
  put_body (w, event);
}

/**
 * gst_cuframes_codec_event_to_bytes:
 * @event: a #GstEvent
 * @error: return location for a #GError, or %NULL
 *
 * Writes stream-start, segment, tag, gap, EOS and the custom events, among
 * them force-key-unit of both directions, with sequence number and
 * running-time offset.  All else, and the latency tracer's marks, ends in
 * %GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED; caps travel by
 * gst_cuframes_codec_caps_to_bytes().  A tag that cannot travel is left out of
 * its list; any other structure travels whole or not at all.  Any thread may
 * call it.
 *
 * Returns: (transfer full) (nullable): the bytes, at most
 *     %GST_CUFRAMES_CODEC_MAX_EVENT_BYTES, or %NULL with @error set
 *
 * Since: 0.1
 */
GBytes *
gst_cuframes_codec_event_to_bytes (GstEvent * event, GError ** error)
{
  g_return_val_if_fail (GST_IS_EVENT (event), NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  return gst_cuframes_codec_encode (put_event_blob, event,
      GST_CUFRAMES_CODEC_MAX_EVENT_BYTES, error);
}

/**
 * gst_cuframes_codec_event_from_bytes:
 * @data: (array length=size): a peer's bytes
 * @size: how many
 * @error: return location for a #GError, or %NULL
 *
 * Reads what gst_cuframes_codec_event_to_bytes() wrote.  @data is trusted in
 * nothing, but must not change during the call.  Tags that are not registered
 * in this process are left out.  Any thread may call it.
 *
 * Returns: (transfer full) (nullable): a writable #GstEvent, or %NULL with
 *     @error set; %GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED is no fault of the
 *     peer
 *
 * Since: 0.1
 */
GstEvent *
gst_cuframes_codec_event_from_bytes (gconstpointer data, gsize size,
    GError ** error)
{
  GstCuframesCodecReader r;
  GstEvent *event = NULL;
  GstEventType type;
  guint32 seqnum;
  gint64 offset;

  g_return_val_if_fail (data != NULL || size == 0, NULL);
  g_return_val_if_fail (error == NULL || *error == NULL, NULL);

  gst_cuframes_codec_reader_begin (&r, data, size,
      GST_CUFRAMES_CODEC_MAX_EVENT_BYTES, GST_CUFRAMES_CODEC_BLOB_EVENT);
  type = get_u32 (&r);
  seqnum = get_u32 (&r);
  offset = (gint64) get_u64 (&r);
  if (!r.failed && seqnum == GST_SEQNUM_INVALID)
    malformed (&r, "an event without a sequence number");
  if (!r.failed)
    event = get_body (&r, type);
  gst_cuframes_codec_reader_end (&r);

  if (r.failed) {
    gst_clear_event (&event);
    gst_cuframes_codec_reader_set_error (&r, error);
    return NULL;
  }
  gst_event_set_seqnum (event, seqnum);
  gst_event_set_running_time_offset (event, offset);
  return event;
}

static guint64
hash_name (guint64 hash, const gchar * name)
{
  for (; *name != '\0'; name++)
    hash = (hash ^ (guint8) * name) * HASH_FACTOR;
  return hash;
}

/**
 * gst_cuframes_codec_event_sticky_key:
 * @event: a #GstEvent
 *
 * Tells which sticky events replace one another, by the rule that pads follow:
 * one of each type, but custom ones by their name and tags by their scope.
 * Any thread may call it.
 *
 * Returns: the same number for events that replace one another, 0 for an event
 *     that is not sticky
 *
 * Since: 0.1
 */
guint64
gst_cuframes_codec_event_sticky_key (GstEvent * event)
{
  const GstStructure *structure;
  GstTagList *tags;
  guint64 key;

  g_return_val_if_fail (GST_IS_EVENT (event), 0);

  if (!GST_EVENT_IS_STICKY (event))
    return 0;
  key = GST_EVENT_TYPE (event);
  if (!(gst_event_type_get_flags (GST_EVENT_TYPE (event))
          & GST_EVENT_TYPE_STICKY_MULTI))
    return key;

  if (GST_EVENT_TYPE (event) == GST_EVENT_TAG) {
    gst_event_parse_tag (event, &tags);
    return key | (guint64) (gst_tag_list_get_scope (tags) + 1) << 32;
  }
  structure = gst_event_get_structure (event);
  if (structure) {
    key = hash_name ((HASH_START ^ key) * HASH_FACTOR,
        gst_structure_get_name (structure));
    /* Apart from the types and scopes above, and never 0 */
    key |= G_GUINT64_CONSTANT (1) << 63;
  }
  return key;
}
