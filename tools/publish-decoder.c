/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chooses a decoder: one that exists, takes the stream, and can be opened. */
#include "publish-decoder.h"

#include <string.h>

#define NVIDIA_PLUGIN "nvcodec"

static gboolean
is_of_nvidia (GstElementFactory *factory)
{
  return g_strcmp0 (gst_plugin_feature_get_plugin_name (GST_PLUGIN_FEATURE (factory)), NVIDIA_PLUGIN) == 0;
}

static gboolean
is_software (GstElementFactory *factory)
{
  return strstr (gst_element_factory_get_metadata (factory, GST_ELEMENT_METADATA_KLASS), "Hardware") == NULL;
}

static gboolean
is_wanted (GstElementFactory *factory, PublishDecoderKind kind)
{
  return kind == PUBLISH_DECODER_NVIDIA ? is_of_nvidia (factory) : is_software (factory) && !is_of_nvidia (factory);
}

/* (nullable) (transfer floating): in state READY, so that it has its device. */
static GstElement *
try_factory (GstElementFactory *factory)
{
  GstElement *decoder = gst_element_factory_create (factory, NULL);

  if (decoder == NULL)
    return NULL;
  if (gst_element_set_state (decoder, GST_STATE_READY) != GST_STATE_CHANGE_FAILURE)
    return decoder;
  gst_element_set_state (decoder, GST_STATE_NULL);
  gst_object_unref (gst_object_ref_sink (decoder));
  return NULL;
}

static GstElement *
try_kind (PublishDecoderKind kind, GList *factories)
{
  GstElement *decoder = NULL;

  for (GList * l = factories; l != NULL && decoder == NULL; l = l->next)
    if (is_wanted (l->data, kind))
      decoder = try_factory (l->data);
  return decoder;
}

/* (nullable) (transfer floating) */
GstElement *
publish_decoder_new (PublishDecoderKind kind, GstCaps *caps, GError **error)
{
  GList *all = gst_element_factory_list_get_elements (GST_ELEMENT_FACTORY_TYPE_DECODER | GST_ELEMENT_FACTORY_TYPE_MEDIA_VIDEO
      | GST_ELEMENT_FACTORY_TYPE_MEDIA_IMAGE, GST_RANK_MARGINAL);
  GList *factories = gst_element_factory_list_filter (all, caps, GST_PAD_SINK, FALSE);
  GstElement *decoder = NULL;

  if (kind != PUBLISH_DECODER_SOFTWARE)
    decoder = try_kind (PUBLISH_DECODER_NVIDIA, factories);
  if (decoder == NULL && kind != PUBLISH_DECODER_NVIDIA)
    decoder = try_kind (PUBLISH_DECODER_SOFTWARE, factories);
  if (decoder == NULL)
    g_set_error (error, GST_CORE_ERROR, GST_CORE_ERROR_MISSING_PLUGIN, "No %s that can be used here decodes %s",
        kind == PUBLISH_DECODER_NVIDIA ? "NVIDIA decoder" : "GStreamer element", gst_structure_get_name (gst_caps_get_structure (caps, 0)));
  else if (g_object_class_find_property (G_OBJECT_GET_CLASS (decoder), "direct-rendering") != NULL)
    /* Otherwise libav's elements keep the frames to themselves and copy them on their way out, out of the pool's memory. */
    g_object_set (decoder, "direct-rendering", FALSE, NULL);
  gst_plugin_feature_list_free (factories);
  gst_plugin_feature_list_free (all);
  return decoder;
}

gboolean
publish_decoder_is_nvidia (GstElement *decoder)
{
  return is_of_nvidia (gst_element_get_factory (decoder));
}
