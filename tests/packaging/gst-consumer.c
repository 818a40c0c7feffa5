/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Somebody else's GStreamer program, as C and as C++: takes a buffer from a pool whose memory can be shared. */
#include <gstcuframes.h>

int
main (int argc, char **argv)
{
  GstStructure *config;
  GstBufferPool *pool;
  GstBuffer *buffer = NULL;
  GstVideoInfo info;
  GstCaps *caps;
  gboolean done;

  gst_init (&argc, &argv);
  gst_video_info_set_format (&info, GST_VIDEO_FORMAT_NV12, 64, 48);
  caps = gst_video_info_to_caps (&info);
  pool = gst_cuframes_pool_new (4);
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_set_params (config, caps, (guint) info.size, 0, 0);
  done = gst_buffer_pool_set_config (pool, config) && gst_buffer_pool_set_active (pool, TRUE)
      && gst_buffer_pool_acquire_buffer (pool, &buffer, NULL) == GST_FLOW_OK && gst_is_cuframes_host_memory (gst_buffer_peek_memory (buffer, 0));
  gst_clear_buffer (&buffer);
  gst_buffer_pool_set_active (pool, FALSE);
  gst_object_unref (pool);
  gst_caps_unref (caps);
  g_print (done ? "took a buffer\n" : "took no buffer\n");
  return done ? 0 : 1;
}
