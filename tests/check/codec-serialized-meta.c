/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Metas that serialise themselves, which GStreamer knows since 1.24: built for
 * such versions only. */

#include <gst/check/gstcheck.h>

#include "codec-fixture.h"

#define NAME "CuframesTestNumberMeta"

typedef struct
{
  GstMeta meta;
  guint32 number;
} NumberMeta;

static guint deserialized_count;

static gboolean
number_init (GstMeta * meta, gpointer params, GstBuffer * buffer)
{
  ((NumberMeta *) meta)->number = 0;
  return TRUE;
}

static gboolean
number_serialize (const GstMeta * meta, GstByteArrayInterface * data,
    guint8 * version)
{
  guint32 number = GUINT32_TO_LE (((const NumberMeta *) meta)->number);

  *version = 3;
  return number != 0 && gst_byte_array_interface_append_data (data,
      (guint8 *) & number, sizeof (number));
}

static GstMeta *
number_deserialize (const GstMetaInfo * info, GstBuffer * buffer,
    const guint8 * data, gsize size, guint8 version)
{
  NumberMeta *meta;
  guint32 number;

  deserialized_count++;
  if (size != 4 || version != 3)
    return NULL;
  meta = (NumberMeta *) gst_buffer_add_meta (buffer, info, NULL);
  memcpy (&number, data, sizeof (number));
  meta->number = GUINT32_FROM_LE (number);
  return (GstMeta *) meta;
}

static const GstMetaInfo *
number_info (void)
{
  static const gchar *tags[] = { NULL };
  static const GstMetaInfo *info;
  GstMetaInfo *fresh;

  if (!info) {
    fresh = gst_meta_info_new (gst_meta_api_type_register (NAME "API", tags),
        NAME, sizeof (NumberMeta));
    fresh->init_func = number_init;
    fresh->serialize_func = number_serialize;
    fresh->deserialize_func = number_deserialize;
    info = gst_meta_info_register (fresh);
  }
  return info;
}

static GstBuffer *
buffer_with_number (guint32 number)
{
  GstBuffer *buffer = gst_buffer_new ();

  ((NumberMeta *) gst_buffer_add_meta (buffer, number_info (), NULL))->number =
      number;
  return buffer;
}

GST_START_TEST (a_meta_that_serialises_itself_survives)
{
  GstBuffer *buffer = buffer_with_number (0x12345678);
  GstBuffer *back = gst_buffer_new ();
  guint8 page[256];
  guint n_skipped;
  gsize size = gst_cuframes_codec_metas_to_bytes (buffer, page, sizeof (page),
      &n_skipped);

  fail_unless (size > 0 && size <= sizeof (page));
  fail_unless_equals_int (n_skipped, 0);
  fail_unless (gst_cuframes_codec_metas_from_bytes (back, page, size,
          &n_skipped, NULL));
  fail_unless_equals_int (n_skipped, 0);
  fail_unless_equals_int (((NumberMeta *) gst_buffer_get_meta (back,
              number_info ()->api))->number, 0x12345678);
  gst_buffer_unref (back);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

GST_START_TEST (a_meta_that_refuses_to_serialise_is_counted)
{
  GstBuffer *buffer = buffer_with_number (0);
  guint n_skipped;

  fail_unless_equals_int (gst_cuframes_codec_metas_to_bytes (buffer, NULL, 0,
          &n_skipped), 0);
  fail_unless_equals_int (n_skipped, 1);
  gst_buffer_unref (buffer);
}

GST_END_TEST;

/* GStreamer adds up the sizes in its header without asking whether the sum
 * wraps: what is wrong there must not reach it */
GST_START_TEST (a_forged_header_never_reaches_gstreamer)
{
  GstBuffer *buffer = buffer_with_number (5);
  guint8 page[256], forged[256];
  gsize i, j, size = gst_cuframes_codec_metas_to_bytes (buffer, page,
      sizeof (page), NULL);
  /* Blob header, block header, our copy of the name */
  const gsize start = 2 + 5 + 1 + strlen (NAME);
  const gsize end = start + 8 + strlen (NAME) + 1;
  const guint8 changes[] = { 0xff, 0x80, 1 };

  number_info ();
  for (i = start; i < end; i++) {
    for (j = 0; j < G_N_ELEMENTS (changes); j++) {
      GstBuffer *back = gst_buffer_new ();
      guint n_skipped;

      memcpy (forged, page, size);
      forged[i] ^= changes[j];
      deserialized_count = 0;
      fail_unless (gst_cuframes_codec_metas_from_bytes (back, forged, size,
              &n_skipped, NULL));
      fail_unless_equals_int (n_skipped, 1);
      fail_unless_equals_int (deserialized_count, 0);
      gst_buffer_unref (back);
    }
  }
  gst_buffer_unref (buffer);
}

GST_END_TEST;

static Suite *
codec_serialized_meta_suite (void)
{
  Suite *suite = suite_create ("codec-serialized-meta");
  TCase *tcase = tcase_create ("metas");

  suite_add_tcase (suite, tcase);
  tcase_add_test (tcase, a_meta_that_serialises_itself_survives);
  tcase_add_test (tcase, a_meta_that_refuses_to_serialise_is_counted);
  tcase_add_test (tcase, a_forged_header_never_reaches_gstreamer);
  return suite;
}

GST_CHECK_MAIN (codec_serialized_meta);
