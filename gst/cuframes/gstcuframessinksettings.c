/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The properties of a sink that can be set: their defaults and limits, and the publisher that they ask for. Knows nothing of streams. */
#include "gstcuframessinksettings.h"

#include "gstcuframeschannel.h"

#define DEFAULT_SLOTS 16
#define DEFAULT_OVERFLOW CUFRAMES_OVERFLOW_DROP
#define DEFAULT_OVERFLOW_TIMEOUT GST_SECOND
#define DEFAULT_MAX_SUBSCRIBERS 64
#define DEFAULT_MAX_LEASES 4
#define DEFAULT_SOCKET_MODE 0600
/* 10 s of 20 Mbit/s with room to spare, in packets of a third of a millisecond. */
#define DEFAULT_PACKET_RING_BYTES (G_GUINT64_CONSTANT (32) << 20)
#define MAX_PACKET_RING_BYTES (G_GUINT64_CONSTANT (1) << 32)
#define DEFAULT_PACKET_RING_PACKETS 32768
#define MAX_PACKET_RING_PACKETS (1u << 20)
#define DEFAULT_KEY_UNIT_INTERVAL GST_SECOND

enum
{
  PROP_0,
  PROP_CHANNEL,
  PROP_SOCKET_PATH,
  PROP_SLOTS,
  PROP_OVERFLOW,
  PROP_OVERFLOW_TIMEOUT,
  PROP_MAX_SUBSCRIBERS,
  PROP_MAX_LEASES,
  PROP_WAIT_FOR_SUBSCRIBERS,
  PROP_SOCKET_MODE,
  PROP_ALLOW_UIDS,
  PROP_ALLOW_GIDS,
  PROP_CUDA_DEVICE_ID,
  PROP_GPU_SYNC,
  PROP_PACKET_RING_BYTES,
  PROP_PACKET_RING_PACKETS,
  PROP_KEY_UNIT_INTERVAL,
  N_PROPERTIES,
};

void
gst_cuframes_sink_settings_init (GstCuframesSinkSettings * self)
{
  *self = (GstCuframesSinkSettings) {
    .slots = DEFAULT_SLOTS,
    .overflow = DEFAULT_OVERFLOW,
    .overflow_timeout_ns = DEFAULT_OVERFLOW_TIMEOUT,
    .max_subscribers = DEFAULT_MAX_SUBSCRIBERS,
    .max_leases = DEFAULT_MAX_LEASES,
    .socket_mode = DEFAULT_SOCKET_MODE,
    .cuda_device_id = -1,
    .packet_ring_bytes = DEFAULT_PACKET_RING_BYTES,
    .packet_ring_packets = DEFAULT_PACKET_RING_PACKETS,
    .key_unit_interval_ns = DEFAULT_KEY_UNIT_INTERVAL,
  };
}

void
gst_cuframes_sink_settings_clear (GstCuframesSinkSettings * self)
{
  g_clear_pointer (&self->channel, g_free);
  g_clear_pointer (&self->socket_path, g_free);
  g_clear_pointer (&self->allow_uids, g_free);
  g_clear_pointer (&self->allow_gids, g_free);
}

/* FALSE if it is none of these. */
gboolean
gst_cuframes_sink_settings_set (GstCuframesSinkSettings * self, guint id, const GValue * value)
{
  switch (id) {
    case PROP_CHANNEL:
      g_free (self->channel);
      self->channel = g_value_dup_string (value);
      break;
    case PROP_SOCKET_PATH:
      g_free (self->socket_path);
      self->socket_path = g_value_dup_string (value);
      break;
    case PROP_SLOTS:
      self->slots = g_value_get_uint (value);
      break;
    case PROP_OVERFLOW:
      self->overflow = g_value_get_enum (value);
      break;
    case PROP_OVERFLOW_TIMEOUT:
      self->overflow_timeout_ns = g_value_get_uint64 (value);
      break;
    case PROP_MAX_SUBSCRIBERS:
      self->max_subscribers = g_value_get_uint (value);
      break;
    case PROP_MAX_LEASES:
      self->max_leases = g_value_get_uint (value);
      break;
    case PROP_WAIT_FOR_SUBSCRIBERS:
      self->wait_for_subscribers = g_value_get_uint (value);
      break;
    case PROP_SOCKET_MODE:
      self->socket_mode = g_value_get_uint (value);
      break;
    case PROP_ALLOW_UIDS:
      g_free (self->allow_uids);
      self->allow_uids = g_value_dup_string (value);
      break;
    case PROP_ALLOW_GIDS:
      g_free (self->allow_gids);
      self->allow_gids = g_value_dup_string (value);
      break;
    case PROP_CUDA_DEVICE_ID:
      self->cuda_device_id = g_value_get_int (value);
      break;
    case PROP_GPU_SYNC:
      self->gpu_sync = g_value_get_enum (value);
      break;
    case PROP_PACKET_RING_BYTES:
      self->packet_ring_bytes = g_value_get_uint64 (value);
      break;
    case PROP_PACKET_RING_PACKETS:
      self->packet_ring_packets = g_value_get_uint (value);
      break;
    case PROP_KEY_UNIT_INTERVAL:
      self->key_unit_interval_ns = g_value_get_uint64 (value);
      break;
    default:
      return FALSE;
  }
  return TRUE;
}

/* FALSE if it is none of these. */
gboolean
gst_cuframes_sink_settings_get (const GstCuframesSinkSettings * self, guint id, GValue * value)
{
  switch (id) {
    case PROP_CHANNEL:
      g_value_set_string (value, self->channel);
      break;
    case PROP_SOCKET_PATH:
      g_value_set_string (value, self->socket_path);
      break;
    case PROP_SLOTS:
      g_value_set_uint (value, self->slots);
      break;
    case PROP_OVERFLOW:
      g_value_set_enum (value, self->overflow);
      break;
    case PROP_OVERFLOW_TIMEOUT:
      g_value_set_uint64 (value, self->overflow_timeout_ns);
      break;
    case PROP_MAX_SUBSCRIBERS:
      g_value_set_uint (value, self->max_subscribers);
      break;
    case PROP_MAX_LEASES:
      g_value_set_uint (value, self->max_leases);
      break;
    case PROP_WAIT_FOR_SUBSCRIBERS:
      g_value_set_uint (value, self->wait_for_subscribers);
      break;
    case PROP_SOCKET_MODE:
      g_value_set_uint (value, self->socket_mode);
      break;
    case PROP_ALLOW_UIDS:
      g_value_set_string (value, self->allow_uids);
      break;
    case PROP_ALLOW_GIDS:
      g_value_set_string (value, self->allow_gids);
      break;
    case PROP_CUDA_DEVICE_ID:
      g_value_set_int (value, self->cuda_device_id);
      break;
    case PROP_GPU_SYNC:
      g_value_set_enum (value, self->gpu_sync);
      break;
    case PROP_PACKET_RING_BYTES:
      g_value_set_uint64 (value, self->packet_ring_bytes);
      break;
    case PROP_PACKET_RING_PACKETS:
      g_value_set_uint (value, self->packet_ring_packets);
      break;
    case PROP_KEY_UNIT_INTERVAL:
      g_value_set_uint64 (value, self->key_unit_interval_ns);
      break;
    default:
      return FALSE;
  }
  return TRUE;
}

/* Returns the first number that is left for properties of the element itself. */
guint
gst_cuframes_sink_settings_install (GObjectClass * object_class)
{
  const GParamFlags set_before = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  GParamSpec *properties[N_PROPERTIES] = { NULL };

  properties[PROP_CHANNEL] = g_param_spec_string ("channel", "Channel", "Name of the channel to publish on", NULL, set_before);
  properties[PROP_SOCKET_PATH] = g_param_spec_string ("socket-path", "Socket path",
      "Path of the channel's socket, or @name for an abstract one, instead of a channel in the channels' directory", NULL, set_before);
  properties[PROP_SLOTS] = g_param_spec_uint ("slots", "Slots",
      "Frames that subscribers can see or hold at a time; what upstream writes at a time is added", CUFRAMES_SLOTS_MIN, CUFRAMES_SLOTS_MAX,
      DEFAULT_SLOTS, set_before);
  properties[PROP_OVERFLOW] = g_param_spec_enum ("overflow", "Overflow", "What to do when no slot is free for the next frame",
      GST_TYPE_CUFRAMES_OVERFLOW, DEFAULT_OVERFLOW, set_before);
  properties[PROP_OVERFLOW_TIMEOUT] = g_param_spec_uint64 ("overflow-timeout", "Overflow timeout",
      "With overflow=wait, how long to wait for one frame, in ns", 0, G_MAXUINT64, DEFAULT_OVERFLOW_TIMEOUT, set_before);
  properties[PROP_MAX_SUBSCRIBERS] = g_param_spec_uint ("max-subscribers", "Maximum of subscribers", "Subscribers that are let in at once",
      1, CUFRAMES_SUBSCRIBERS_MAX, DEFAULT_MAX_SUBSCRIBERS, set_before);
  properties[PROP_MAX_LEASES] = g_param_spec_uint ("max-leases", "Maximum of leases", "Frames that one subscriber may hold at once",
      1, CUFRAMES_SLOTS_MAX, DEFAULT_MAX_LEASES, set_before);
  properties[PROP_WAIT_FOR_SUBSCRIBERS] = g_param_spec_uint ("wait-for-subscribers", "Wait for subscribers",
      "Subscribers that must be there before the first frame is let through", 0, CUFRAMES_SUBSCRIBERS_MAX, 0, set_before);
  properties[PROP_SOCKET_MODE] = g_param_spec_uint ("socket-mode", "Socket mode", "Permissions of the socket's file (0600 octal is 384)",
      0, 0777, DEFAULT_SOCKET_MODE, set_before);
  properties[PROP_ALLOW_UIDS] = g_param_spec_string ("allow-uids", "Allowed users",
      "Users that may subscribe, by name or number, separated by commas; besides them the publisher's own and root. Not set: whoever "
      "the socket's mode lets in", NULL, set_before);
  properties[PROP_ALLOW_GIDS] = g_param_spec_string ("allow-gids", "Allowed groups",
      "Primary groups that may subscribe, by name or number, separated by commas; likewise", NULL, set_before);
  properties[PROP_CUDA_DEVICE_ID] = g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU to use for frames in GPU memory, -1 for "
      "the one of the element upstream", -1, G_MAXINT, -1, set_before);
  properties[PROP_GPU_SYNC] = g_param_spec_enum ("gpu-sync", "GPU synchronisation", "How a frame in GPU memory is known to be complete",
      GST_TYPE_CUFRAMES_GPU_SYNC, GST_CUFRAMES_GPU_SYNC_HOST, set_before);
  properties[PROP_PACKET_RING_BYTES] = g_param_spec_uint64 ("packet-ring-bytes", "Bytes of the packet ring",
      "Room for the packets of a stream that is no raw video, in bytes; rounded up to a power of two. A packet may take a quarter of it", 4096,
      MAX_PACKET_RING_BYTES, DEFAULT_PACKET_RING_BYTES, set_before);
  properties[PROP_PACKET_RING_PACKETS] = g_param_spec_uint ("packet-ring-packets", "Packets of the packet ring",
      "Packets that the ring has room for; rounded up to a power of two", 16, MAX_PACKET_RING_PACKETS, DEFAULT_PACKET_RING_PACKETS, set_before);
  properties[PROP_KEY_UNIT_INTERVAL] = g_param_spec_uint64 ("key-unit-interval", "Key unit interval",
      "Least time between two force-key-unit events that subscribers cause upstream, in ns", 0, G_MAXUINT64, DEFAULT_KEY_UNIT_INTERVAL, set_before);
  for (guint id = PROP_0 + 1; id < N_PROPERTIES; id++)
    g_object_class_install_property (object_class, id, properties[id]);
  return N_PROPERTIES;
}

static gboolean
parse_access (const GstCuframesSinkSettings * self, CuframesPublisherConfig * config, GArray ** uids, GArray ** gids, gchar ** text)
{
  if (self->allow_uids != NULL && (*uids = gst_cuframes_channel_parse_users (self->allow_uids, text)) == NULL)
    return FALSE;
  if (self->allow_gids != NULL && (*gids = gst_cuframes_channel_parse_groups (self->allow_gids, text)) == NULL)
    return FALSE;
  if (*uids != NULL) {
    config->allow_uids = (const guint32 *) (*uids)->data;
    config->allow_uid_count = (*uids)->len;
  }
  if (*gids != NULL) {
    config->allow_gids = (const guint32 *) (*gids)->data;
    config->allow_gid_count = (*gids)->len;
  }
  return TRUE;
}

/* Opens the channel; without a name it is found by nobody, and connections have to be added. On failure text says why. */
gboolean
gst_cuframes_sink_settings_open (const GstCuframesSinkSettings * self, const CuframesPublisherCallbacks * callbacks, gpointer user_data,
    CuframesPublisher ** publisher, gchar ** text)
{
  CuframesPublisherConfig config = {
    .socket_mode = self->socket_mode,.max_subscribers = self->max_subscribers,.max_leases = self->max_leases,
    .overflow = self->overflow,.overflow_timeout_ns = self->overflow_timeout_ns,.callbacks = callbacks,.user_data = user_data,
  };
  GArray *uids = NULL, *gids = NULL;
  gchar *path = NULL;
  gboolean good;
  gint r;

  if (self->wait_for_subscribers > self->max_subscribers) {
    *text = g_strdup_printf ("wait-for-subscribers is %u, but max-subscribers lets in %u at most: raise it", self->wait_for_subscribers,
        self->max_subscribers);
    return FALSE;
  }
  good = (self->channel == NULL && self->socket_path == NULL) || gst_cuframes_channel_resolve (self->channel, self->socket_path, &path, text);
  good = good && parse_access (self, &config, &uids, &gids, text);
  if (good) {
    config.socket_path = path;
    r = cuframes_publisher_new (&config, publisher);
    good = r == 0;
    if (!good)
      *text = gst_cuframes_channel_explain_open (path, r);
  }
  g_clear_pointer (&uids, g_array_unref);
  g_clear_pointer (&gids, g_array_unref);
  g_free (path);
  return good;
}
