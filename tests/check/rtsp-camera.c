/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A camera for the tests: "CODEC PORT [sound]", CODEC h264 or h265, PORT 0 for a free one. Says its URI, numbers its frames in their pixels and encodes
 * them without loss, its parameter sets in the session's description alone. "sessions" is answered with "sessions EVER NOW". Ends with its standard
 * input. */
#include <glib-unix.h>
#include <gst/rtsp-server/rtsp-server.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stamp-video.h"

#define PICTURE "videotestsrc name=picture is-live=true ! video/x-raw,format=I420,width=160,height=120,framerate=30/1"
#define H264 "x264enc tune=zerolatency speed-preset=ultrafast pass=quant quantizer=0 key-int-max=15 ! rtph264pay name=pay0 pt=96 config-interval=0"
#define H265 "x265enc tune=zerolatency speed-preset=ultrafast option-string=lossless=1 key-int-max=15 ! rtph265pay name=pay0 pt=96 config-interval=0"
#define SOUND "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 pt=8"

typedef struct
{
  GMainLoop *loop;
  GstRTSPSessionPool *pool;
  gint sessions;                /* atomic */
} Camera;

typedef struct
{
  guint64 number, source;
  GstVideoInfo info;
} Numbers;

static GstPadProbeReturn
on_picture (GstPad *pad, GstPadProbeInfo *probe, gpointer data)
{
  Numbers *numbers = data;
  GstBuffer *buffer = gst_buffer_make_writable (GST_PAD_PROBE_INFO_BUFFER (probe));
  GstCaps *caps = gst_pad_get_current_caps (pad);
  GstVideoFrame frame;

  if (gst_video_info_from_caps (&numbers->info, caps) && gst_video_frame_map (&frame, &numbers->info, buffer, GST_MAP_READWRITE)) {
    stamp_video_write (&frame, &(Stamp) {.number = ++numbers->number,.source = numbers->source,.time_ns = (guint64) g_get_monotonic_time () * 1000});
    gst_video_frame_unmap (&frame);
  }
  gst_caps_unref (caps);
  probe->data = buffer;
  return GST_PAD_PROBE_OK;
}

static void
on_media (GstRTSPMediaFactory *factory, GstRTSPMedia *media, gpointer data)
{
  GstElement *bin = gst_rtsp_media_get_element (media), *picture = gst_bin_get_by_name (GST_BIN (bin), "picture");
  GstPad *pad = gst_element_get_static_pad (picture, "src");
  Numbers *numbers = g_new0 (Numbers, 1);

  numbers->source = (guint64) g_get_monotonic_time ();
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER, on_picture, numbers, g_free);
  gst_object_unref (pad);
  gst_object_unref (picture);
  gst_object_unref (bin);
}

static void
on_session (GstRTSPClient *client, GstRTSPSession *session, gpointer data)
{
  Camera *camera = data;

  g_atomic_int_inc (&camera->sessions);
}

static void
on_client (GstRTSPServer *server, GstRTSPClient *client, gpointer data)
{
  g_signal_connect (client, "new-session", G_CALLBACK (on_session), data);
}

static gboolean
on_input (gint fd, GIOCondition condition, gpointer data)
{
  Camera *camera = data;
  char line[64];

  if (fgets (line, sizeof line, stdin) == NULL) {
    g_main_loop_quit (camera->loop);
    return G_SOURCE_REMOVE;
  }
  if (g_str_has_prefix (line, "sessions"))
    printf ("sessions %d %u\n", g_atomic_int_get (&camera->sessions), gst_rtsp_session_pool_get_n_sessions (camera->pool));
  return G_SOURCE_CONTINUE;
}

static GstRTSPServer *
serve (Camera *camera, const char *codec, const char *port, gboolean has_sound)
{
  GstRTSPServer *server = gst_rtsp_server_new ();
  GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new ();
  GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points (server);
  gchar *launch = g_strdup_printf ("( " PICTURE " ! %s %s )", strcmp (codec, "h265") == 0 ? H265 : H264, has_sound ? SOUND : "");

  gst_rtsp_media_factory_set_launch (factory, launch);
  gst_rtsp_media_factory_set_shared (factory, TRUE);
  g_signal_connect (factory, "media-configure", G_CALLBACK (on_media), NULL);
  gst_rtsp_mount_points_add_factory (mounts, "/camera", factory);
  gst_rtsp_server_set_address (server, "127.0.0.1");
  gst_rtsp_server_set_service (server, port);
  g_signal_connect (server, "client-connected", G_CALLBACK (on_client), camera);
  camera->pool = gst_rtsp_server_get_session_pool (server);
  g_object_unref (mounts);
  g_free (launch);
  return server;
}

int
main (int argc, char **argv)
{
  Camera camera = { 0 };
  GstRTSPServer *server;

  gst_init (&argc, &argv);
  if (argc < 3)
    return 2;
  setvbuf (stdout, NULL, _IOLBF, 0);
  setvbuf (stdin, NULL, _IONBF, 0);
  server = serve (&camera, argv[1], argv[2], argc > 3);
  if (gst_rtsp_server_attach (server, NULL) == 0)
    return 1;
  camera.loop = g_main_loop_new (NULL, FALSE);
  g_unix_fd_add (0, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, &camera);
  printf ("rtsp://127.0.0.1:%d/camera\n", gst_rtsp_server_get_bound_port (server));
  g_main_loop_run (camera.loop);
  g_main_loop_unref (camera.loop);
  g_object_unref (camera.pool);
  g_object_unref (server);
  return 0;
}
