/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* An H.264 camera for those who have none: a moving test picture with the time in it, served over RTSP on the loopback interface. */
#include <glib-unix.h>
#include <gst/rtsp-server/rtsp-server.h>

#define PATH "/camera"

static gint width = 1280, height = 720, fps = 30, port;

static const GOptionEntry entries[] = {
  {"width", 0, 0, G_OPTION_ARG_INT, &width, "Width of the picture (1280)", "N"},
  {"height", 0, 0, G_OPTION_ARG_INT, &height, "Height of the picture (720)", "N"},
  {"fps", 0, 0, G_OPTION_ARG_INT, &fps, "Frames per second (30)", "N"},
  {"port", 0, 0, G_OPTION_ARG_INT, &port, "Port to listen on, 0 for a free one (0)", "N"},
  {NULL}
};

static gboolean
on_signal (gpointer loop)
{
  g_main_loop_quit (loop);
  return G_SOURCE_CONTINUE;
}

/* Whoever started this program holds the other end of its standard input; when that goes, so does the camera. */
static gboolean
on_input (gint fd, GIOCondition condition, gpointer loop)
{
  (void) fd, (void) condition;
  g_main_loop_quit (loop);
  return G_SOURCE_REMOVE;
}

static GstRTSPServer *
serve (void)
{
  GstRTSPServer *server = gst_rtsp_server_new ();
  GstRTSPMediaFactory *factory = gst_rtsp_media_factory_new ();
  GstRTSPMountPoints *mounts = gst_rtsp_server_get_mount_points (server);
  gchar *service = g_strdup_printf ("%d", port);
  gchar *launch = g_strdup_printf ("( videotestsrc is-live=true pattern=smpte horizontal-speed=3"
      " ! video/x-raw,format=I420,width=%d,height=%d,framerate=%d/1"
      " ! timeoverlay halignment=center valignment=center font-desc=\"Sans Bold 56\""
      " ! x264enc tune=zerolatency speed-preset=ultrafast bitrate=4000 key-int-max=%d"
      " ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=1 )", width, height, fps, fps);

  gst_rtsp_media_factory_set_launch (factory, launch);
  gst_rtsp_media_factory_set_shared (factory, TRUE);
  gst_rtsp_mount_points_add_factory (mounts, PATH, factory);
  gst_rtsp_server_set_address (server, "127.0.0.1");
  gst_rtsp_server_set_service (server, service);
  g_object_unref (mounts);
  g_free (launch);
  g_free (service);
  return server;
}

int
main (int argc, char **argv)
{
  GOptionContext *context = g_option_context_new ("- an RTSP camera on the loopback interface");
  GError *error = NULL;
  GstRTSPServer *server;
  GMainLoop *loop;

  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  if (!g_option_context_parse (context, &argc, &argv, &error)) {
    g_printerr ("%s\n", error->message);
    return 2;
  }
  g_option_context_free (context);
  server = serve ();
  if (gst_rtsp_server_attach (server, NULL) == 0) {
    g_printerr ("cannot listen on port %d of 127.0.0.1\n", port);
    return 1;
  }
  loop = g_main_loop_new (NULL, FALSE);
  g_unix_signal_add (SIGINT, on_signal, loop);
  g_unix_signal_add (SIGTERM, on_signal, loop);
  g_unix_fd_add (0, G_IO_IN | G_IO_HUP | G_IO_ERR, on_input, loop);
  /* The parent reads this line: nothing may keep it back. */
  g_print ("rtsp://127.0.0.1:%d" PATH "\n", gst_rtsp_server_get_bound_port (server));
  g_main_loop_run (loop);
  g_main_loop_unref (loop);
  g_object_unref (server);
  return 0;
}
