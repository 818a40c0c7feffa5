/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Lists the channels of the directory to applications that look for devices, and tells them when one comes, changes or goes. */
#include "gstcuframesdeviceprovider.h"

#include "gstcuframesdevice.h"
#include "gstcuframeswatcher.h"

GST_DEBUG_CATEGORY (gst_cuframes_device_debug);
#define GST_CAT_DEFAULT gst_cuframes_device_debug

/* A publisher that was stopped does not answer; it is not waited for longer than this. */
#define ANSWER_MS 250

struct _GstCuframesDeviceProvider
{
  GstDeviceProvider parent;

  GstCuframesWatcher *watcher;  /* between start() and stop() */
  GThread *thread;              /* runs it */
  GHashTable *devices;          /* channel to GstDevice; of that thread */
};

G_DEFINE_TYPE (GstCuframesDeviceProvider, gst_cuframes_device_provider, GST_TYPE_DEVICE_PROVIDER);
GST_DEVICE_PROVIDER_REGISTER_DEFINE (cuframesdeviceprovider, "cuframesdeviceprovider", GST_RANK_PRIMARY, GST_TYPE_CUFRAMES_DEVICE_PROVIDER);

static void
collect (GstCuframesWatcherEvent event, const GstCuframesChannelInfo * info, gpointer user_data)
{
  GList **devices = user_data;

  if (event == GST_CUFRAMES_WATCHER_APPEARED)
    *devices = g_list_prepend (*devices, gst_cuframes_device_new (info));
}

static GList *
provider_probe (GstDeviceProvider * provider)
{
  GList *devices = NULL;
  GstCuframesWatcher *watcher = gst_cuframes_watcher_new (collect, &devices);

  gst_cuframes_watcher_settle (watcher, ANSWER_MS);
  gst_cuframes_watcher_free (watcher);
  return devices;
}

static void
take_event (GstCuframesWatcherEvent event, const GstCuframesChannelInfo * info, gpointer user_data)
{
  GstCuframesDeviceProvider *self = user_data;
  GstDeviceProvider *provider = user_data;
  GstDevice *old = g_hash_table_lookup (self->devices, info->channel), *device;

  if (event == GST_CUFRAMES_WATCHER_VANISHED) {
    GST_INFO_OBJECT (self, "channel %s has gone", info->channel);
    gst_device_provider_device_remove (provider, old);
    g_hash_table_remove (self->devices, info->channel);
    return;
  }
  GST_INFO_OBJECT (self, "channel %s has %s: %" GST_PTR_FORMAT, info->channel, old == NULL ? "come" : "changed", info->caps);
  device = gst_object_ref_sink (gst_cuframes_device_new (info));
  if (old == NULL)
    gst_device_provider_device_add (provider, device);
  else
    gst_device_provider_device_changed (provider, device, old);
  g_hash_table_replace (self->devices, g_strdup (info->channel), device);
}

static gpointer
run_watcher (gpointer watcher)
{
  gst_cuframes_watcher_run (watcher);
  return NULL;
}

static gboolean
provider_start (GstDeviceProvider * provider)
{
  GstCuframesDeviceProvider *self = GST_CUFRAMES_DEVICE_PROVIDER (provider);

  self->watcher = gst_cuframes_watcher_new (take_event, self);
  gst_cuframes_watcher_settle (self->watcher, ANSWER_MS);
  self->thread = g_thread_new ("cuframes-devices", run_watcher, self->watcher);
  return TRUE;
}

/* The base class forgets the devices itself. */
static void
provider_stop (GstDeviceProvider * provider)
{
  GstCuframesDeviceProvider *self = GST_CUFRAMES_DEVICE_PROVIDER (provider);

  gst_cuframes_watcher_quit (self->watcher);
  g_clear_pointer (&self->thread, g_thread_join);
  g_clear_pointer (&self->watcher, gst_cuframes_watcher_free);
  g_hash_table_remove_all (self->devices);
}

static void
provider_finalize (GObject * object)
{
  g_hash_table_unref (GST_CUFRAMES_DEVICE_PROVIDER (object)->devices);
  G_OBJECT_CLASS (gst_cuframes_device_provider_parent_class)->finalize (object);
}

static void
gst_cuframes_device_provider_class_init (GstCuframesDeviceProviderClass * klass)
{
  GstDeviceProviderClass *provider_class = GST_DEVICE_PROVIDER_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_cuframes_device_debug, "cuframesdevice", 0, "finds channels");
  G_OBJECT_CLASS (klass)->finalize = provider_finalize;
  provider_class->probe = provider_probe;
  provider_class->start = provider_start;
  provider_class->stop = provider_stop;
  gst_device_provider_class_set_static_metadata (provider_class, "Frame sharing device provider", "Source/Audio/Video",
      "Lists the channels that processes of this host publish on", "gst-cuframes contributors");
}

static void
gst_cuframes_device_provider_init (GstCuframesDeviceProvider * self)
{
  self->devices = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, gst_object_unref);
}
