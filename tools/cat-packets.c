/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the packets of a channel to a stream of bytes that a program can read from a pipe, from its first byte on. */
#include "cat-packets.h"

/* What brings packets into the form that containers and decoders expect; the first that fits. */
static const struct
{
  const gchar *caps;
  const gchar *parser;
  const gchar *bytes;           /* (nullable): the form in a stream of bytes, and in MPEG-TS */
} parsers[] = {
  {"video/x-h264", "h264parse", "video/x-h264,stream-format=byte-stream,alignment=au"},
  {"video/x-h265", "h265parse", "video/x-h265,stream-format=byte-stream,alignment=au"},
  {"video/x-av1", "av1parse", "video/x-av1,stream-format=obu-stream,alignment=tu"},
  {"audio/mpeg,mpegversion=(int){2,4}", "aacparse", "audio/mpeg,stream-format=adts"},
  {"audio/mpeg,mpegversion=(int)1", "mpegaudioparse", NULL},
};

static gboolean
fail (GError **error, GstCaps *caps, const gchar *container)
{
  g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "Packets of %s cannot be written as %s",
      gst_structure_get_name (gst_caps_get_structure (caps, 0)), container);
  return FALSE;
}

/* (nullable) (transfer floating) */
static GstElement *
make (const gchar *factory, GError **error)
{
  GstElement *element = gst_element_factory_make (factory, NULL);

  if (element == NULL)
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN, "GStreamer's element %s is not installed here, and these packets need it", factory);
  return element;
}

/* Puts one more element behind `pad`, which becomes its source pad. */
static gboolean
append (GstBin *bin, GstPad **pad, GstElement *element)
{
  GstPad *sink;
  gboolean linked;

  gst_bin_add (bin, element);
  sink = gst_element_get_compatible_pad (element, *pad, NULL);
  linked = sink != NULL && gst_pad_link (*pad, sink) == GST_PAD_LINK_OK && gst_element_sync_state_with_parent (element);
  gst_clear_object (&sink);
  gst_object_unref (*pad);
  *pad = gst_element_get_static_pad (element, "src");
  return linked;
}

static gboolean
append_form (GstBin *bin, GstPad **pad, const gchar *form)
{
  GstElement *filter = gst_element_factory_make ("capsfilter", NULL);
  GstCaps *caps = gst_caps_from_string (form);

  g_object_set (filter, "caps", caps, NULL);
  gst_caps_unref (caps);
  return append (bin, pad, filter);
}

/* -1 if it needs none. */
static gint
find_parser (GstCaps *caps)
{
  gint found = -1;

  for (guint i = 0; i < G_N_ELEMENTS (parsers) && found < 0; i++) {
    GstCaps *taken = gst_caps_from_string (parsers[i].caps);
    if (gst_caps_can_intersect (caps, taken))
      found = (gint) i;
    gst_caps_unref (taken);
  }
  return found;
}

/* With what a decoder needs before each key picture, so that the stream can be cut anywhere there. */
static gboolean
append_parser (GstBin *bin, GstPad **pad, GstCaps *caps, CatFormat format, GError **error)
{
  const gint index = find_parser (caps);
  const gboolean as_bytes = format == CAT_FORMAT_ES || format == CAT_FORMAT_TS;
  GstElement *parser;

  if (index < 0)
    return TRUE;
  parser = make (parsers[index].parser, error);
  if (parser == NULL)
    return FALSE;
  if (as_bytes && g_object_class_find_property (G_OBJECT_GET_CLASS (parser), "config-interval") != NULL)
    g_object_set (parser, "config-interval", -1, NULL);
  if (!append (bin, pad, parser) || (as_bytes && parsers[index].bytes != NULL && !append_form (bin, pad, parsers[index].bytes)))
    return fail (error, caps, "a stream");
  return TRUE;
}

/* Behind `pad`, which becomes the source pad of what was appended. A streaming container is never complete and always playable. */
gboolean
cat_packets_append (GstBin *bin, GstPad **pad, GstCaps *caps, CatFormat format, GError **error)
{
  const gboolean is_ts = format == CAT_FORMAT_TS;
  GstElement *muxer;

  if (format != CAT_FORMAT_AUTO && format < CAT_FORMAT_ES) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "The channel carries packets of %s, not frames: they can be written as mkv, ts or es",
        gst_structure_get_name (gst_caps_get_structure (caps, 0)));
    return FALSE;
  }
  if (is_ts && gst_structure_has_name (gst_caps_get_structure (caps, 0), "video/mpegts"))
    return TRUE;
  if (!append_parser (bin, pad, caps, format, error))
    return FALSE;
  if (format == CAT_FORMAT_ES)
    return TRUE;
  muxer = make (is_ts ? "mpegtsmux" : "matroskamux", error);
  if (muxer == NULL)
    return FALSE;
  if (!is_ts)
    g_object_set (muxer, "streamable", TRUE, NULL);
  return append (bin, pad, muxer) || fail (error, caps, is_ts ? "MPEG-TS" : "Matroska");
}
