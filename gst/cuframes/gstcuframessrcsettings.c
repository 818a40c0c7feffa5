/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The properties of a source that can be set: their defaults and limits, and the subscriber that they ask for. Knows nothing of streams. */
#include "gstcuframessrcsettings.h"

#include "gstcuframeschannel.h"

#define DEFAULT_DELIVERY CUFRAMES_DELIVERY_FIFO
#define DEFAULT_START CUFRAMES_START_LATEST
#define DEFAULT_IO_MODE GST_CUFRAMES_IO_MODE_AUTO
#define DEFAULT_TIMESTAMPS GST_CUFRAMES_TIMESTAMPS_SYNCHRONISED
#define MAX_SPIN_US 1000000

enum
{
  PROP_0,
  PROP_CHANNEL,
  PROP_SOCKET_PATH,
  PROP_SOCKET,
  PROP_DELIVERY,
  PROP_START,
  PROP_IO_MODE,
  PROP_MAX_LEASES,
  PROP_RECONNECT,
  PROP_CONNECT_TIMEOUT,
  PROP_TIMESTAMPS,
  PROP_SPIN_US,
  PROP_CUDA_DEVICE_ID,
  N_PROPERTIES,
};

void
gst_cuframes_src_settings_init (GstCuframesSrcSettings * self)
{
  *self = (GstCuframesSrcSettings) {
    .delivery = DEFAULT_DELIVERY,
    .start = DEFAULT_START,
    .io_mode = DEFAULT_IO_MODE,
    .reconnect = TRUE,
    .connect_timeout_ns = CUFRAMES_NONE,
    .timestamps = DEFAULT_TIMESTAMPS,
    .cuda_device_id = -1,
  };
}

void
gst_cuframes_src_settings_clear (GstCuframesSrcSettings * self)
{
  g_clear_pointer (&self->channel, g_free);
  g_clear_pointer (&self->socket_path, g_free);
  g_clear_object (&self->socket);
}

/* FALSE if it is none of these. */
gboolean
gst_cuframes_src_settings_set (GstCuframesSrcSettings * self, guint id, const GValue * value)
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
    case PROP_SOCKET:
      g_clear_object (&self->socket);
      self->socket = g_value_dup_object (value);
      break;
    case PROP_DELIVERY:
      self->delivery = g_value_get_enum (value);
      break;
    case PROP_START:
      self->start = g_value_get_enum (value);
      break;
    case PROP_IO_MODE:
      self->io_mode = g_value_get_enum (value);
      break;
    case PROP_MAX_LEASES:
      self->max_leases = g_value_get_uint (value);
      break;
    case PROP_RECONNECT:
      self->reconnect = g_value_get_boolean (value);
      break;
    case PROP_CONNECT_TIMEOUT:
      self->connect_timeout_ns = g_value_get_uint64 (value);
      break;
    case PROP_TIMESTAMPS:
      self->timestamps = g_value_get_enum (value);
      break;
    case PROP_SPIN_US:
      self->spin_us = g_value_get_uint (value);
      break;
    case PROP_CUDA_DEVICE_ID:
      self->cuda_device_id = g_value_get_int (value);
      break;
    default:
      return FALSE;
  }
  return TRUE;
}

/* FALSE if it is none of these. */
gboolean
gst_cuframes_src_settings_get (const GstCuframesSrcSettings * self, guint id, GValue * value)
{
  switch (id) {
    case PROP_CHANNEL:
      g_value_set_string (value, self->channel);
      break;
    case PROP_SOCKET_PATH:
      g_value_set_string (value, self->socket_path);
      break;
    case PROP_SOCKET:
      g_value_set_object (value, self->socket);
      break;
    case PROP_DELIVERY:
      g_value_set_enum (value, self->delivery);
      break;
    case PROP_START:
      g_value_set_enum (value, self->start);
      break;
    case PROP_IO_MODE:
      g_value_set_enum (value, self->io_mode);
      break;
    case PROP_MAX_LEASES:
      g_value_set_uint (value, self->max_leases);
      break;
    case PROP_RECONNECT:
      g_value_set_boolean (value, self->reconnect);
      break;
    case PROP_CONNECT_TIMEOUT:
      g_value_set_uint64 (value, self->connect_timeout_ns);
      break;
    case PROP_TIMESTAMPS:
      g_value_set_enum (value, self->timestamps);
      break;
    case PROP_SPIN_US:
      g_value_set_uint (value, self->spin_us);
      break;
    case PROP_CUDA_DEVICE_ID:
      g_value_set_int (value, self->cuda_device_id);
      break;
    default:
      return FALSE;
  }
  return TRUE;
}

/* Returns the first number that is left for properties of the element itself. */
guint
gst_cuframes_src_settings_install (GObjectClass * object_class)
{
  const GParamFlags set_before = G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | GST_PARAM_MUTABLE_READY;
  GParamSpec *properties[N_PROPERTIES] = { NULL };

  properties[PROP_CHANNEL] = g_param_spec_string ("channel", "Channel", "Name of the channel to receive", NULL, set_before);
  properties[PROP_SOCKET_PATH] = g_param_spec_string ("socket-path", "Socket path",
      "Path of the channel's socket, or @name for an abstract one, instead of a channel in the channels' directory", NULL, set_before);
  properties[PROP_SOCKET] = g_param_spec_object ("socket", "Socket", "A connection to a publisher that the application made, a unix socket of the type "
      "SEQPACKET, instead of a channel. Used for one start, then it is let go of", G_TYPE_SOCKET, set_before);
  properties[PROP_DELIVERY] = g_param_spec_enum ("delivery", "Delivery", "Which frame comes next", GST_TYPE_CUFRAMES_DELIVERY,
      DEFAULT_DELIVERY, set_before);
  properties[PROP_START] = g_param_spec_enum ("start", "Start", "Which frame comes first", GST_TYPE_CUFRAMES_START, DEFAULT_START, set_before);
  properties[PROP_IO_MODE] = g_param_spec_enum ("io-mode", "I/O mode", "Whether frames are handed on where they are, or copied",
      GST_TYPE_CUFRAMES_IO_MODE, DEFAULT_IO_MODE, set_before);
  properties[PROP_MAX_LEASES] = g_param_spec_uint ("max-leases", "Maximum of leases",
      "Frames to hold at once, 0 for as many as the publisher allows", 0, CUFRAMES_SLOTS_MAX, 0, set_before);
  properties[PROP_RECONNECT] = g_param_spec_boolean ("reconnect", "Reconnect", "Wait for the publisher to come back when it goes", TRUE, set_before);
  properties[PROP_CONNECT_TIMEOUT] = g_param_spec_uint64 ("connect-timeout", "Connect timeout",
      "How long to wait for the publisher to appear at first, in ns; the maximum is for ever", 0, G_MAXUINT64, G_MAXUINT64, set_before);
  properties[PROP_TIMESTAMPS] = g_param_spec_enum ("timestamps", "Time stamps", "Which time stamps the buffers get",
      GST_TYPE_CUFRAMES_TIMESTAMPS, DEFAULT_TIMESTAMPS, set_before);
  properties[PROP_SPIN_US] = g_param_spec_uint ("spin-us", "Spin", "How long to look for the next frame before sleeping, in microseconds; takes "
      "a core and saves the wake-up", 0, MAX_SPIN_US, 0, set_before);
  properties[PROP_CUDA_DEVICE_ID] = g_param_spec_int ("cuda-device-id", "CUDA device", "Number of the GPU to use for frames in GPU memory, -1 for "
      "the one of the element downstream", -1, G_MAXINT, -1, set_before);
  for (guint id = PROP_0 + 1; id < N_PROPERTIES; id++)
    g_object_class_install_property (object_class, id, properties[id]);
  return N_PROPERTIES;
}

/* socket: NULL to look for the channel. A subscriber that is not connected yet, a descriptor of its own for the socket, and what to call the other end.
 * A wrong setting is told from what cannot be had now by the error's code. */
gboolean
gst_cuframes_src_settings_open (const GstCuframesSrcSettings * self, GSocket * socket, CuframesSubscriber ** subscriber, gint * socket_fd, gchar ** path,
    GError ** error)
{
  CuframesSubscriberConfig config = {
    .delivery = self->delivery,.start = self->start,.max_leases = self->max_leases,.spin_ns = self->spin_us * G_GUINT64_CONSTANT (1000),
    .lossless = self->delivery == CUFRAMES_DELIVERY_FIFO,
  };
  gchar *text = NULL;
  gint r;

  if (socket != NULL)
    *socket_fd = gst_cuframes_channel_copy_socket (socket, &text);
  else
    gst_cuframes_channel_resolve (self->channel, self->socket_path, path, &text);
  if (text != NULL) {
    g_set_error_literal (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, text);
    g_free (text);
    return FALSE;
  }
  config.socket_path = *path;
  r = cuframes_subscriber_new (&config, subscriber);
  if (r != 0) {
    g_set_error (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ, "Cannot subscribe: %s", g_strerror (-r));
    g_clear_pointer (path, g_free);
    return FALSE;
  }
  if (socket != NULL)
    *path = g_strdup ("the given socket");
  return TRUE;
}
