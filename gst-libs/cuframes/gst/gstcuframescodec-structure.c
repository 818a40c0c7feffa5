/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* GstStructure and GstCaps to bytes and back.  GStreamer asserts what names
 * may look like; the same is asked here of a peer's bytes, before GStreamer
 * sees them. */

#include "gstcuframescodec-private.h"

enum
{
  FEATURES_NONE = 0,
  FEATURES_ANY = 1,
  FEATURES_LISTED = 2,
};

#define CAPS_FLAG_ANY 0x01

static gboolean
is_structure_name (const gchar * name)
{
  const gchar *c;

  if (!g_ascii_isalpha (name[0]))
    return FALSE;
  for (c = name + 1; *c != '\0'; c++) {
    if (!g_ascii_isalnum (*c) && strchr ("/-_.:+", *c) == NULL)
      return FALSE;
  }
  /* GStreamer warns of the first two, and takes a structure with the last
   * name for the inside of a GstTagList, with rules of its own */
  return !g_str_has_prefix (name, "video/x-raw-")
      && !g_str_has_prefix (name, "audio/x-raw-")
      && strcmp (name, "taglist") != 0;
}

static gboolean
is_feature_name (const gchar * name)
{
  const gchar *c = name;

  while (g_ascii_isalpha (*c))
    c++;
  if (*c++ != ':' || !g_ascii_isalpha (*c))
    return FALSE;
  while (g_ascii_isalnum (*c))
    c++;
  return *c == '\0';
}

static gboolean
put_field (GQuark field, const GValue * value, gpointer user_data)
{
  GstCuframesCodecWriter *w = user_data;

  gst_cuframes_codec_put_name (w, g_quark_to_string (field));
  gst_cuframes_codec_put_value (w, value);
  return !w->failed;
}

void
gst_cuframes_codec_put_fields (GstCuframesCodecWriter * w,
    const GstStructure * structure)
{
  gint n = gst_structure_n_fields (structure);

  if (n > GST_CUFRAMES_CODEC_MAX_FIELDS)
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "a structure has too many fields");
  put_u32 (w, n);
  gst_structure_foreach (structure, put_field, w);
}

void
gst_cuframes_codec_get_fields (GstCuframesCodecReader * r,
    GstStructure * structure)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  guint32 n = get_u32 (r);

  if (!r->failed && n > GST_CUFRAMES_CODEC_MAX_FIELDS)
    gst_cuframes_codec_reader_fail (r, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "a structure has too many fields");

  while (n-- > 0 && !r->failed) {
    GValue value = G_VALUE_INIT;

    if (gst_cuframes_codec_get_kept_name (r, name)
        && gst_cuframes_codec_get_value (r, &value))
      gst_structure_take_value (structure, name, &value);
  }
}

void
gst_cuframes_codec_put_structure (GstCuframesCodecWriter * w,
    const GstStructure * structure)
{
  const gchar *name = gst_structure_get_name (structure);

  if (!is_structure_name (name))
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_NOT_SUPPORTED,
        "a structure has a reserved name");
  gst_cuframes_codec_put_name (w, name);
  gst_cuframes_codec_put_fields (w, structure);
}

GstStructure *
gst_cuframes_codec_get_structure (GstCuframesCodecReader * r)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  GstStructure *structure;

  if (!gst_cuframes_codec_get_kept_name (r, name))
    return NULL;
  if (!is_structure_name (name)) {
    malformed (r, "not a name for a structure");
    return NULL;
  }

  structure = gst_structure_new_empty (name);
  gst_cuframes_codec_get_fields (r, structure);
  if (r->failed)
    gst_clear_structure (&structure);
  return structure;
}

static void
put_features (GstCuframesCodecWriter * w, const GstCapsFeatures * features)
{
  guint i, n;

  if (gst_caps_features_is_any (features)) {
    put_u8 (w, FEATURES_ANY);
    return;
  }
  if (gst_caps_features_is_equal (features,
          GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY)) {
    put_u8 (w, FEATURES_NONE);
    return;
  }

  n = gst_caps_features_get_size (features);
  if (n > G_MAXUINT8)
    gst_cuframes_codec_writer_fail (w, GST_CUFRAMES_CODEC_ERROR_TOO_LARGE,
        "caps have too many features");
  put_u8 (w, FEATURES_LISTED);
  put_u8 (w, (guint8) n);
  for (i = 0; i < n; i++)
    gst_cuframes_codec_put_name (w, gst_caps_features_get_nth (features, i));
}

/* NULL without a failure: plain system memory */
static GstCapsFeatures *
get_features (GstCuframesCodecReader * r)
{
  gchar name[GST_CUFRAMES_CODEC_MAX_NAME_BYTES + 1];
  GstCapsFeatures *features;
  guint8 how = get_u8 (r);
  guint8 n;

  if (r->failed || how == FEATURES_NONE)
    return NULL;
  if (how == FEATURES_ANY)
    return gst_caps_features_new_any ();
  if (how != FEATURES_LISTED) {
    malformed (r, "caps features of a kind that does not exist");
    return NULL;
  }

  n = get_u8 (r);
  features = gst_caps_features_new_empty ();
  while (n-- > 0 && gst_cuframes_codec_get_kept_name (r, name)) {
    if (is_feature_name (name))
      gst_caps_features_add (features, name);
    else
      malformed (r, "not a name for a caps feature");
  }
  if (r->failed)
    g_clear_pointer (&features, gst_caps_features_free);
  return features;
}

void
gst_cuframes_codec_put_caps (GstCuframesCodecWriter * w, const GstCaps * caps)
{
  guint i, n = gst_caps_get_size (caps);

  put_u8 (w, gst_caps_is_any (caps) ? CAPS_FLAG_ANY : 0);
  put_u32 (w, n);
  w->caps_depth++;
  for (i = 0; i < n && !w->failed; i++) {
    put_features (w, gst_caps_get_features (caps, i));
    gst_cuframes_codec_put_structure (w, gst_caps_get_structure (caps, i));
  }
  w->caps_depth--;
}

/* The start of caps of one structure, up to the number of its fields. */
void
gst_cuframes_codec_put_one_structure (GstCuframesCodecWriter * w,
    const gchar * feature, const gchar * name)
{
  put_u8 (w, 0);
  put_u32 (w, 1);
  put_u8 (w, feature ? FEATURES_LISTED : FEATURES_NONE);
  if (feature) {
    put_u8 (w, 1);
    gst_cuframes_codec_put_name (w, feature);
  }
  gst_cuframes_codec_put_name (w, name);
}

GstCaps *
gst_cuframes_codec_get_caps (GstCuframesCodecReader * r)
{
  guint8 flags = get_u8 (r);
  guint32 n = get_u32 (r);
  GstCaps *caps;

  if (!r->failed && ((flags & ~CAPS_FLAG_ANY) != 0
          || (n > 0 && (flags & CAPS_FLAG_ANY))))
    malformed (r, "caps with flags that do not exist");
  if (r->failed)
    return NULL;

  caps = flags & CAPS_FLAG_ANY ? gst_caps_new_any () : gst_caps_new_empty ();
  r->caps_depth++;
  while (n-- > 0 && !r->failed) {
    GstCapsFeatures *features = get_features (r);
    GstStructure *structure = gst_cuframes_codec_get_structure (r);

    if (structure)
      gst_caps_append_structure_full (caps, structure, features);
    else if (features)
      gst_caps_features_free (features);
  }
  r->caps_depth--;
  if (r->failed)
    gst_clear_caps (&caps);
  return caps;
}
