/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A channel as applications find it: a GstDevice that makes a cuframessrc. */
#include "gstcuframesdevice.h"

#define ELEMENT "cuframessrc"

struct _GstCuframesDevice
{
  GstDevice parent;

  gchar *channel;
};

G_DEFINE_TYPE (GstCuframesDevice, gst_cuframes_device, GST_TYPE_DEVICE);

static GstElement *
device_create_element (GstDevice * device, const gchar * name)
{
  GstElement *element = gst_element_factory_make (ELEMENT, name);

  if (element != NULL)
    g_object_set (element, "channel", GST_CUFRAMES_DEVICE (device)->channel, "socket-path", NULL, NULL);
  return element;
}

static gboolean
device_reconfigure_element (GstDevice * device, GstElement * element)
{
  GstElementFactory *factory = gst_element_get_factory (element);

  if (factory == NULL || !g_str_equal (GST_OBJECT_NAME (factory), ELEMENT) || GST_STATE (element) > GST_STATE_READY)
    return FALSE;
  g_object_set (element, "channel", GST_CUFRAMES_DEVICE (device)->channel, "socket-path", NULL, NULL);
  return TRUE;
}

static void
device_finalize (GObject * object)
{
  g_free (GST_CUFRAMES_DEVICE (object)->channel);
  G_OBJECT_CLASS (gst_cuframes_device_parent_class)->finalize (object);
}

static void
gst_cuframes_device_class_init (GstCuframesDeviceClass * klass)
{
  G_OBJECT_CLASS (klass)->finalize = device_finalize;
  GST_DEVICE_CLASS (klass)->create_element = device_create_element;
  GST_DEVICE_CLASS (klass)->reconfigure_element = device_reconfigure_element;
}

static void
gst_cuframes_device_init (GstCuframesDevice * self)
{
}

/* Before the first format: whatever a channel can carry. */
static GstCaps *
get_possible_caps (void)
{
  GstElementFactory *factory = gst_element_factory_find (ELEMENT);
  const GList *templates = factory == NULL ? NULL : gst_element_factory_get_static_pad_templates (factory);
  GstCaps *caps = templates == NULL ? gst_caps_new_any () : gst_static_pad_template_get_caps (templates->data);

  gst_clear_object (&factory);
  return caps;
}

static const gchar *
name_memory (CuframesMemoryKind kind)
{
  switch (kind) {
    case CUFRAMES_MEMORY_HOST:
      return "host";
    case CUFRAMES_MEMORY_CUDA:
      return "cuda";
    default:
      return "unknown";
  }
}

/* A list of cameras is to have no sound in it. */
static const gchar *
name_class (const GstCaps * caps)
{
  if (caps == NULL || gst_caps_is_any (caps) || gst_caps_is_empty (caps))
    return "Video/Source";
  return g_str_has_prefix (gst_structure_get_name (gst_caps_get_structure (caps, 0)), "audio/") ? "Audio/Source" : "Video/Source";
}

/* (transfer floating) */
GstDevice *
gst_cuframes_device_new (const GstCuframesChannelInfo * info)
{
  GstCaps *caps = info->caps != NULL ? gst_caps_ref (info->caps) : get_possible_caps ();
  GstStructure *properties = gst_structure_new ("cuframes-proplist", "device.api", G_TYPE_STRING, "cuframes",
      "channel", G_TYPE_STRING, info->channel, "socket-path", G_TYPE_STRING, info->path,
      "memory", G_TYPE_STRING, name_memory (info->memory_kind), "pid", G_TYPE_UINT, info->pid, NULL);
  GstCuframesDevice *self = g_object_new (GST_TYPE_CUFRAMES_DEVICE, "display-name", info->channel, "device-class", name_class (info->caps),
      "caps", caps, "properties", properties, NULL);

  self->channel = g_strdup (info->channel);
  gst_structure_free (properties);
  gst_caps_unref (caps);
  return GST_DEVICE (self);
}
