/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whatever bytes a peer sends, the codec answers with an error or with
 * something that GStreamer can use: no crash, no warning, no large memory. */

#include <gst/check/gstcheck.h>

#include "codec-fixture.h"
#include "gstcuframesframe.h"

#define N_BLOBS 5

/* Header of each kind: version, kind */
#define CAPS "\001C"
#define EVENT "\001E"
#define METAS "\001M"

/* Caps up to the first field: no flags, one structure, no features, name */
#define ONE_STRUCTURE "\000\001\000\000\000\000\005video"
#define ONE_FIELD "\001\000\000\000\001a"

typedef struct
{
  const gchar *what;
  guint8 which;
  const gchar *bytes;
  gsize size;
  GstCuframesCodecError code;
} HostileCase;

#define HOSTILE(what, which, bytes, code) \
    { what, which, bytes, sizeof (bytes) - 1, \
      GST_CUFRAMES_CODEC_ERROR_ ## code }

static const HostileCase cases[] = {
  HOSTILE ("no bytes at all", 0, "", MALFORMED),
  HOSTILE ("a version of tomorrow", 0, "\002C", VERSION),
  HOSTILE ("an event where caps belong", 0, EVENT, MALFORMED),
  HOSTILE ("caps without an end", 0, CAPS "\000\001\000\000", MALFORMED),
  HOSTILE ("caps with unknown flags", 0, CAPS "\002\000\000\000\000",
      MALFORMED),
  HOSTILE ("empty caps", 0, CAPS "\000\000\000\000\000", MALFORMED),
  HOSTILE ("any caps", 0, CAPS "\001\000\000\000\000", MALFORMED),
  HOSTILE ("four thousand million structures", 0, CAPS
      "\000\377\377\377\377\000\005video\000\000\000\000", MALFORMED),
  HOSTILE ("four thousand million fields", 0, CAPS ONE_STRUCTURE
      "\377\377\377\377", TOO_LARGE),
  HOSTILE ("a name that GStreamer warns of", 0, CAPS
      "\000\001\000\000\000\000\017video/x-raw-rgb\000\000\000\000", MALFORMED),
  HOSTILE ("the name of the inside of tags", 0, CAPS
      "\000\001\000\000\000\000\007taglist\000\000\000\000", MALFORMED),
  HOSTILE ("a name with a space", 0, CAPS
      "\000\001\000\000\000\000\003a b\000\000\000\000", MALFORMED),
  HOSTILE ("a feature without a colon", 0, CAPS
      "\000\001\000\000\000\002\001\004what\001a\000\000\000\000", MALFORMED),
  HOSTILE ("an empty field name", 0, CAPS ONE_STRUCTURE
      "\001\000\000\000\000\004\000\000\000\000", MALFORMED),
  HOSTILE ("a value of an unknown kind", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\177", MALFORMED),
  HOSTILE ("a string of four thousand million bytes", 0, CAPS ONE_STRUCTURE
      ONE_FIELD "\014\377\377\377\377a", MALFORMED),
  HOSTILE ("a string that is not UTF-8", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\014\002\000\000\000\377\376", MALFORMED),
  HOSTILE ("a string with a zero inside", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\014\003\000\000\000a\000b", MALFORMED),
  HOSTILE ("a fraction with denominator 0", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\021\001\000\000\000\000\000\000\000", MALFORMED),
  HOSTILE ("a fraction with numerator INT_MIN", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\021\000\000\000\200\001\000\000\000", MALFORMED),
  HOSTILE ("a list of four thousand million values", 0, CAPS ONE_STRUCTURE
      ONE_FIELD "\025\377\377\377\377\001\001", MALFORMED),
  HOSTILE ("a list of different types", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\025\002\000\000\000\001\001\004\001\000\000\000", MALFORMED),
  HOSTILE ("a list in fixed caps", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\024\001\000\000\000\001\001", MALFORMED),
  HOSTILE ("a value that caps cannot compare", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\002\001", MALFORMED),
  HOSTILE ("an enum of the abstract type", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\016\005GEnum\000\000\000\000", NOT_SUPPORTED),
  HOSTILE ("an enum of an object's type", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\016\007GObject\000\000\000\000", NOT_SUPPORTED),
  HOSTILE ("an enum with an unknown number", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\016\011GstFormat\000\000\000\100", NOT_SUPPORTED),
  HOSTILE ("a date in the year eleven million", 0, CAPS ONE_STRUCTURE ONE_FIELD
      "\033\377\377\377\377", MALFORMED),
  HOSTILE ("bytes after the end", 0, CAPS ONE_STRUCTURE "\000\000\000\000a",
      MALFORMED),
  HOSTILE ("text without an end", 0, "video/x-raw, width=(int)1", MALFORMED),
  HOSTILE ("text with two ends", 0, "video/x-raw\0, a=(int)1\0", MALFORMED),
  HOSTILE ("text with a list", 0, "video/x-raw, a=(int){1}\0", MALFORMED),
  HOSTILE ("text with nested caps", 0, "video/x-raw, a=(GstCaps)b\0", MALFORMED),
  HOSTILE ("text with a quote", 0, "video/x-raw, a=(string)\"b\0", MALFORMED),
  HOSTILE ("text with an empty string", 0, "video/x-raw, a=(string)\0", MALFORMED),
  HOSTILE ("text with a fraction of nothing", 0, "video/x-raw, a=(fraction)1/0\0", MALFORMED),
  HOSTILE ("text with a number too large", 0, "video/x-raw, a=(int)2147483648\0", MALFORMED),
  HOSTILE ("text with a field without a name", 0, "video/x-raw, =(int)1\0", MALFORMED),
  HOSTILE ("text with a name that GStreamer warns of", 0, "video/x-raw-rgb\0", MALFORMED),
  HOSTILE ("text with an open feature", 0, "video/x-raw(memory:CUDAMemory\0", MALFORMED),
  HOSTILE ("text with a feature without a colon", 0, "video/x-raw(what)\0", MALFORMED),
  HOSTILE ("text that ends with a comma", 0, "video/x-raw,\0", MALFORMED),
  HOSTILE ("an event of type 0", 1, EVENT "\000\000\000\000\001\000\000\000"
      "\000\000\000\000\000\000\000\000", NOT_SUPPORTED),
  HOSTILE ("an end of stream with sequence number 0", 1, EVENT
      "\016\156\000\000\000\000\000\000" "\000\000\000\000\000\000\000\000",
      MALFORMED),
  HOSTILE ("a meta that is longer than the blob", 2, METAS
      "\001\377\377\377\377\000", MALFORMED),
  HOSTILE ("a crop that ends too early", 2, METAS
      "\001\004\000\000\000\000\000\000\000", MALFORMED),
};

static GstCuframesCodecError
code_of (guint8 which, gconstpointer data, gsize size)
{
  GstBuffer *buffer = gst_buffer_new ();
  GError *error = NULL;
  gint code;

  if (which == 0)
    gst_cuframes_codec_caps_from_bytes (data, size, &error);
  else if (which == 1)
    gst_cuframes_codec_event_from_bytes (data, size, &error);
  else
    gst_cuframes_codec_metas_from_bytes (buffer, data, size, NULL, &error);
  gst_buffer_unref (buffer);
  fail_unless (error != NULL && error->message[0] != '\0');
  fail_unless (error->domain == GST_CUFRAMES_CODEC_ERROR);
  code = error->code;
  g_clear_error (&error);
  return code;
}

GST_START_TEST (each_hostile_case_ends_in_its_error)
{
  guint i;

  for (i = 0; i < G_N_ELEMENTS (cases); i++) {
    const HostileCase *c = &cases[i];
    /* A copy of exact size, so that valgrind sees one byte too far */
    guint8 *data = g_memdup2 (c->bytes, c->size);

    fail_if (fixture_exercise (c->which, data, c->size), "%s", c->what);
    fail_unless (code_of (c->which, data, c->size) == c->code, "%s", c->what);
    g_free (data);
  }
}

GST_END_TEST;

GST_START_TEST (a_blob_cut_off_at_any_byte_is_refused)
{
  guint8 which;

  for (which = 0; which < N_BLOBS; which++) {
    GBytes *blob = fixture_blob (which);
    gsize size, whole;
    gconstpointer bytes = g_bytes_get_data (blob, &whole);

    fail_unless (fixture_exercise (which, bytes, whole));
    for (size = 0; size < whole; size++) {
      guint8 *data = g_memdup2 (bytes, size);
      gboolean taken = fixture_exercise (which, data, size);

      /* Metas stand one after another: a cut between two leaves a valid blob,
       * and so does no byte at all */
      fail_if (taken && which != 2, "blob %u cut off at %" G_GSIZE_FORMAT,
          which, size);
      g_free (data);
    }
    g_bytes_unref (blob);
  }
}

GST_END_TEST;

GST_START_TEST (a_blob_with_any_byte_changed_does_no_harm)
{
  const guint8 changes[] = { 0xff, 0x80, 0x01, 0x7f };
  guint8 which;
  gsize i, j, size;

  for (which = 0; which < N_BLOBS; which++) {
    GBytes *blob = fixture_blob (which);
    guint8 *data = g_bytes_unref_to_data (blob, &size);

    for (i = 0; i < size; i++) {
      for (j = 0; j < G_N_ELEMENTS (changes); j++) {
        data[i] ^= changes[j];
        fixture_exercise (which, data, size);
        data[i] ^= changes[j];
      }
    }
    g_free (data);
  }
}

GST_END_TEST;

GST_START_TEST (four_bytes_of_ones_anywhere_do_no_harm)
{
  guint8 which;
  gsize i, size;

  for (which = 0; which < N_BLOBS; which++) {
    GBytes *blob = fixture_blob (which);
    guint8 *data = g_bytes_unref_to_data (blob, &size);

    for (i = 0; i + 4 <= size; i++) {
      guint8 kept[4];

      memcpy (kept, data + i, 4);
      memset (data + i, 0xff, 4);
      fixture_exercise (which, data, size);
      memcpy (data + i, kept, 4);
    }
    g_free (data);
  }
}

GST_END_TEST;

GST_START_TEST (values_nested_without_end_are_refused)
{
  const gchar start[] = CAPS ONE_STRUCTURE ONE_FIELD;
  const guint8 array_of_one[] = { 21, 1, 0, 0, 0 };
  GByteArray *blob = g_byte_array_new ();

  g_byte_array_append (blob, (const guint8 *) start, sizeof (start) - 1);
  while (blob->len + sizeof (array_of_one) < GST_CUFRAMES_CODEC_MAX_CAPS_BYTES)
    g_byte_array_append (blob, array_of_one, sizeof (array_of_one));
  fail_unless_equals_int (code_of (0, blob->data, blob->len),
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  g_byte_array_unref (blob);
}

GST_END_TEST;

GST_START_TEST (structures_nested_too_deep_stay_at_home)
{
  GstStructure *s = gst_structure_new_empty ("leaf");
  GError *error = NULL;
  GstEvent *event;
  guint i;

  for (i = 0; i < 20; i++) {
    GstStructure *outer = gst_structure_new ("node", "child",
        GST_TYPE_STRUCTURE, s, NULL);

    gst_structure_free (s);
    s = outer;
  }
  event = gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, s);
  fail_unless (gst_cuframes_codec_event_to_bytes (event, &error) == NULL);
  g_assert_error (error, GST_CUFRAMES_CODEC_ERROR,
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  g_clear_error (&error);
  gst_event_unref (event);
}

GST_END_TEST;

GST_START_TEST (blobs_above_their_limit_are_refused_unread)
{
  /* Never read, so it need not be there */
  const guint8 *data = (const guint8 *) CAPS;

  fail_unless_equals_int (code_of (0, data,
          GST_CUFRAMES_CODEC_MAX_CAPS_BYTES + 1),
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  fail_unless_equals_int (code_of (1, data,
          GST_CUFRAMES_CODEC_MAX_EVENT_BYTES + 1),
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  fail_unless_equals_int (code_of (2, data,
          GST_CUFRAMES_CODEC_MAX_METAS_BYTES + 1),
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  fail_unless_equals_int (code_of (2, data, G_MAXSIZE),
      GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
}

GST_END_TEST;

/* An event with a thousand fields, whose names start with QQ and a number that
 * @round makes new */
static void
forge_names (guint8 * data, gsize size, guint round)
{
  gchar number[7];
  guint n = 0;
  gsize i;

  for (i = 0; i + 8 <= size; i++) {
    if (data[i] != 'Q' || data[i + 1] != 'Q')
      continue;
    g_snprintf (number, sizeof (number), "%06x", round * 1000 + n++);
    memcpy (data + i + 2, number, 6);
  }
  fail_unless_equals_int (n, 1000);
}

GST_START_TEST (names_never_seen_before_are_taken_up_to_a_bound)
{
  GstStructure *structure = gst_structure_new_empty ("names");
  GstEvent *event, *back;
  guint8 *data;
  gsize size;
  guint i;

  for (i = 0; i < 1000; i++) {
    gchar name[9];

    g_snprintf (name, sizeof (name), "QQ%06x", i);
    gst_structure_set (structure, name, G_TYPE_BOOLEAN, TRUE, NULL);
  }
  event = gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, structure);
  data = g_bytes_unref_to_data (gst_cuframes_codec_event_to_bytes (event, NULL),
      &size);
  gst_event_unref (event);

  for (i = 1; i < 100; i++) {
    forge_names (data, size, i);
    back = gst_cuframes_codec_event_from_bytes (data, size, NULL);
    if (!back)
      break;
    gst_event_unref (back);
  }
  fail_unless (i > 60 && i < 70, "round %u", i);
  /* Known names go on as before */
  fail_unless (code_of (1, data, size) == GST_CUFRAMES_CODEC_ERROR_TOO_LARGE);
  forge_names (data, size, 1);
  fail_unless (fixture_exercise (1, data, size));
  g_free (data);
}

GST_END_TEST;

static guint
skips_of (GstBuffer * buffer, const gchar * bytes, gsize size)
{
  GError *error = NULL;
  guint n_skipped = 99;

  fail_unless (gst_cuframes_codec_metas_from_bytes (buffer, bytes, size,
          &n_skipped, &error));
  g_assert_no_error (error);
  return n_skipped;
}

#define SKIPS(buffer, bytes) skips_of (buffer, bytes, sizeof (bytes) - 1)

GST_START_TEST (metas_that_do_not_fit_here_are_stepped_over)
{
  GstBuffer *buffer = gst_buffer_new ();

  gst_buffer_add_video_meta (buffer, GST_VIDEO_FRAME_FLAG_NONE,
      GST_VIDEO_FORMAT_NV12, 640, 480);
  /* A meta of tomorrow, a custom one that nobody registered, GStreamer's
   * GstVideoMeta, a crop outside the frame; behind each a bar that is taken */
#define BAR "\007\012\000\000\000\000\001\005\000\000\000\006\000\000\000"
  fail_unless_equals_int (SKIPS (buffer, METAS "\310\003\000\000\000xyz" BAR),
      1);
  fail_unless_equals_int (SKIPS (buffer, METAS
          "\012\013\000\000\000\006Nobody\000\000\000\000" BAR), 1);
  fail_unless_equals_int (SKIPS (buffer, METAS
          "\013\016\000\000\000\014GstVideoMetax" BAR), 1);
  fail_unless_equals_int (SKIPS (buffer, METAS
          "\001\020\000\000\000\001\000\000\000\000\000\000\000\200\002\000\000"
          "\340\001\000\000" BAR), 1);
  fail_unless_equals_int (gst_buffer_get_n_meta (buffer,
          GST_VIDEO_BAR_META_API_TYPE), 4);
  fail_unless_equals_int (gst_buffer_get_n_meta (buffer,
          GST_VIDEO_META_API_TYPE), 1);
  fail_unless (gst_buffer_get_video_crop_meta (buffer) == NULL);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

/* A picture that a peer lays out: as GStreamer would, and with less than that. */
GST_START_TEST (pictures_that_exceed_their_data_are_refused)
{
  GEnumClass *formats = g_type_class_ref (GST_TYPE_VIDEO_FORMAT);

  for (guint i = 0; i < formats->n_values; i++) {
    const GstVideoFormat format = formats->values[i].value;
    CuframesFrameInfo plain = { 0 }, wrong;
    GstVideoInfo info;

    if (format <= GST_VIDEO_FORMAT_ENCODED || !gst_video_info_set_format (&info, format, 4096, 2160) || GST_VIDEO_INFO_N_PLANES (&info) == 0)
      continue;
    gst_cuframes_frame_set_layout (&plain, &info);
    plain.size_bytes = GST_VIDEO_INFO_SIZE (&info);
    fail_unless (gst_cuframes_frame_layout_fits (&plain, &info), "%s", info.finfo->name);
    wrong = plain;
    wrong.size_bytes = 4096;
    fail_if (gst_cuframes_frame_layout_fits (&wrong, &info), "%s in a page", info.finfo->name);
    for (guint plane = 0; plane < plain.plane_count; plane++) {
      wrong = plain;
      wrong.plane_stride_bytes[plane] = 0;
      fail_if (gst_cuframes_frame_layout_fits (&wrong, &info), "%s without a stride", info.finfo->name);
      wrong = plain;
      wrong.plane_offset_bytes[plane] = plain.size_bytes - 1;
      fail_if (gst_cuframes_frame_layout_fits (&wrong, &info), "%s at the end", info.finfo->name);
      wrong = plain;
      wrong.plane_stride_bytes[plane] = G_MAXINT32;
      fail_if (gst_cuframes_frame_layout_fits (&wrong, &info), "%s with a huge stride", info.finfo->name);
    }
  }
  g_type_class_unref (formats);
}

GST_END_TEST;

static Suite *
codec_hostile_suite (void)
{
  Suite *suite = suite_create ("codec-hostile");
  TCase *tcase = tcase_create ("hostile bytes");

  g_log_set_always_fatal (G_LOG_LEVEL_WARNING | G_LOG_LEVEL_CRITICAL
      | G_LOG_LEVEL_ERROR);
  suite_add_tcase (suite, tcase);
  tcase_set_timeout (tcase, 180);
  tcase_add_test (tcase, each_hostile_case_ends_in_its_error);
  tcase_add_test (tcase, a_blob_cut_off_at_any_byte_is_refused);
  tcase_add_test (tcase, a_blob_with_any_byte_changed_does_no_harm);
  tcase_add_test (tcase, four_bytes_of_ones_anywhere_do_no_harm);
  tcase_add_test (tcase, values_nested_without_end_are_refused);
  tcase_add_test (tcase, structures_nested_too_deep_stay_at_home);
  tcase_add_test (tcase, blobs_above_their_limit_are_refused_unread);
  tcase_add_test (tcase, names_never_seen_before_are_taken_up_to_a_bound);
  tcase_add_test (tcase, metas_that_do_not_fit_here_are_stepped_over);
  tcase_add_test (tcase, pictures_that_exceed_their_data_are_refused);
  return suite;
}

GST_CHECK_MAIN (codec_hostile);
