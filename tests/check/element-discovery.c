/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding channels: as devices that come, change and go, and by URI. */
#include "element-fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define AT_MOST_NS GST_SECOND

typedef struct
{
  GstDeviceProvider *provider;
  GstBus *bus;
} Finder;

static gboolean
finder_open (Finder * finder)
{
  finder->provider = gst_device_provider_factory_get_by_name ("cuframesdeviceprovider");
  if (finder->provider == NULL)
    return FALSE;
  finder->bus = gst_device_provider_get_bus (finder->provider);
  return gst_device_provider_start (finder->provider);
}

static void
finder_close (Finder * finder)
{
  gst_device_provider_stop (finder->provider);
  gst_bus_set_flushing (finder->bus, TRUE);
  gst_bus_set_flushing (finder->bus, FALSE);
  gst_object_unref (finder->bus);
  gst_object_unref (finder->provider);
}

/* (nullable) (transfer full) */
static GstDevice *
find_device (Finder * finder, const gchar * channel)
{
  GList *devices = gst_device_provider_get_devices (finder->provider);
  GstDevice *found = NULL;

  for (GList * l = devices; l != NULL; l = l->next) {
    gchar *name = gst_device_get_display_name (l->data);
    if (g_str_equal (name, channel))
      found = gst_object_ref (l->data);
    g_free (name);
  }
  g_list_free_full (devices, gst_object_unref);
  return found;
}

static gboolean
has_device (Finder * finder, const gchar * channel)
{
  GstDevice *device = find_device (finder, channel);
  const gboolean found = device != NULL;

  gst_clear_object (&device);
  return found;
}

static gboolean
device_has_caps (GstDevice * device, const gchar * text)
{
  GstCaps *caps = device == NULL ? NULL : gst_device_get_caps (device), *expected = gst_caps_from_string (text);
  gboolean good = caps != NULL && gst_caps_is_fixed (caps) && gst_caps_is_subset (caps, expected);

  gst_clear_caps (&caps);
  gst_caps_unref (expected);
  return good;
}

/* (nullable) (transfer full): the device of the next message of that type, which must come in time. */
static GstDevice *
await (Finder * finder, GstMessageType type)
{
  const guint64 start = fixture_now_ns ();
  GstMessage *message = gst_bus_timed_pop (finder->bus, FIXTURE_BOUND_NS);
  GstDevice *device = NULL;

  if (message == NULL || GST_MESSAGE_TYPE (message) != type) {
    fixture_fail (__FILE__, __LINE__, __func__, message == NULL ? "no message" : GST_MESSAGE_TYPE_NAME (message));
    g_clear_pointer (&message, gst_message_unref);
    return NULL;
  }
  CHECK (fixture_is_slow () || fixture_now_ns () - start < AT_MOST_NS);
  switch (type) {
    case GST_MESSAGE_DEVICE_ADDED:
      gst_message_parse_device_added (message, &device);
      break;
    case GST_MESSAGE_DEVICE_REMOVED:
      gst_message_parse_device_removed (message, &device);
      break;
    default:
      gst_message_parse_device_changed (message, &device, NULL);
  }
  gst_message_unref (message);
  return device;
}

static gboolean
await_end_of (Finder * finder, const gchar * channel)
{
  GstDevice *device = await (finder, GST_MESSAGE_DEVICE_REMOVED);
  gchar *name = device == NULL ? NULL : gst_device_get_display_name (device);
  const gboolean good = g_strcmp0 (name, channel) == 0 && !has_device (finder, channel);

  g_free (name);
  gst_clear_object (&device);
  return good;
}

static gboolean
publish (Child * child, const gchar * properties, const gchar * caps)
{
  gchar *order = g_strdup_printf ("caps %s", caps);
  gboolean good;

  child_start (child, NULL, "feeder", properties, NULL);
  good = child_expect (child, "open");
  if (good && *caps != '\0') {
    child_say (child, "%s", order);
    good = child_expect (child, "caps 1");
    child_say (child, "push 1 3");
    good &= child_expect (child, "pushed 0");
  }
  g_free (order);
  return good;
}

static void
check_properties (GstDevice * device, guint pid)
{
  GstStructure *properties = gst_device_get_properties (device);
  gchar *class = gst_device_get_device_class (device);
  guint said = 0;

  CHECK (g_str_equal (class, "Video/Source"));
  CHECK (g_strcmp0 (gst_structure_get_string (properties, "channel"), "test") == 0);
  CHECK (g_strcmp0 (gst_structure_get_string (properties, "socket-path"), fixture_path ("test.sock")) == 0);
  CHECK (g_strcmp0 (gst_structure_get_string (properties, "memory"), "host") == 0);
  CHECK (gst_structure_get_uint (properties, "pid", &said) && said == pid);
  gst_structure_free (properties);
  g_free (class);
}

static void
test_is_listed (void)
{
  GstDevice *device;
  Finder finder;
  Child child;

  REQUIRE (publish (&child, "", SMALL));
  REQUIRE (finder_open (&finder));
  device = find_device (&finder, "test");
  REQUIRE (device != NULL);
  CHECK (device_has_caps (device, SMALL));
  check_properties (device, child.pid);
  gst_object_unref (device);
  child_end (&child);
  CHECK (await (&finder, GST_MESSAGE_DEVICE_ADDED) == device);
  gst_object_unref (device);
  CHECK (await_end_of (&finder, "test"));
  finder_close (&finder);
}

static void
test_comes_and_goes (void)
{
  Finder finder;

  REQUIRE (finder_open (&finder));
  for (guint i = 0; i < 4; i++) {
    GstDevice *device;
    Child child;
    REQUIRE (publish (&child, "", i % 2 == 0 ? SMALL : WIDE));
    device = await (&finder, GST_MESSAGE_DEVICE_ADDED);
    CHECK (device_has_caps (device, i % 2 == 0 ? SMALL : WIDE));
    gst_clear_object (&device);
    if (i < 2)
      child_kill (&child);
    else
      CHECK_EQUAL (child_end (&child), 0);
    CHECK (await_end_of (&finder, "test"));
  }
  finder_close (&finder);
}

static void
test_stale_socket (void)
{
  Finder finder;
  Child child;

  REQUIRE (publish (&child, "", SMALL));
  child_kill (&child);
  REQUIRE (g_file_test (fixture_path ("test.sock"), G_FILE_TEST_EXISTS));
  REQUIRE (finder_open (&finder));
  CHECK (!has_device (&finder, "test"));
  REQUIRE (publish (&child, "", SMALL));
  gst_clear_object (&(GstDevice *) {await (&finder, GST_MESSAGE_DEVICE_ADDED)});
  child_end (&child);
  CHECK (await_end_of (&finder, "test"));
  finder_close (&finder);
}

static void
test_format_comes_later (void)
{
  GstDevice *device, *before;
  Finder finder;
  Child child;

  REQUIRE (finder_open (&finder));
  REQUIRE (publish (&child, "", ""));
  before = await (&finder, GST_MESSAGE_DEVICE_ADDED);
  CHECK (before != NULL && !device_has_caps (before, SMALL));
  child_say (&child, "caps %s", SMALL);
  child_say (&child, "push 1 1");
  device = await (&finder, GST_MESSAGE_DEVICE_CHANGED);
  CHECK (device_has_caps (device, SMALL));
  gst_clear_object (&device);
  child_say (&child, "caps %s", WIDE);
  child_say (&child, "push 2 1");
  device = await (&finder, GST_MESSAGE_DEVICE_CHANGED);
  CHECK (device_has_caps (device, WIDE));
  gst_clear_object (&device);
  gst_clear_object (&before);
  child_end (&child);
  CHECK (await_end_of (&finder, "test"));
  finder_close (&finder);
}

static void
test_directory_comes_later (void)
{
  gchar *directory = g_build_filename (fixture_directory (), "deep", "er", NULL);
  GstDevice *device;
  Finder finder;
  Child child;

  setenv ("CUFRAMES_DIR", directory, 1);
  REQUIRE (finder_open (&finder));
  CHECK_EQUAL (g_mkdir_with_parents (directory, 0700), 0);
  REQUIRE (publish (&child, "", SMALL));
  device = await (&finder, GST_MESSAGE_DEVICE_ADDED);
  CHECK (device_has_caps (device, SMALL));
  gst_clear_object (&device);
  child_kill (&child);
  CHECK (await_end_of (&finder, "test"));
  finder_close (&finder);
  g_free (directory);
}

/* Stopped, it does not answer; it is there all the same. */
static void
test_stopped_publisher (void)
{
  guint64 start;
  Finder finder;
  Child child;

  REQUIRE (publish (&child, "", SMALL));
  kill (child.pid, SIGSTOP);
  CHECK_EQUAL (waitpid (child.pid, NULL, WUNTRACED), child.pid);
  start = fixture_now_ns ();
  REQUIRE (finder_open (&finder));
  CHECK (fixture_is_slow () || fixture_now_ns () - start < AT_MOST_NS);
  CHECK (has_device (&finder, "test"));
  gst_clear_object (&(GstDevice *) {await (&finder, GST_MESSAGE_DEVICE_ADDED)});
  kill (child.pid, SIGCONT);
  gst_clear_object (&(GstDevice *) {await (&finder, GST_MESSAGE_DEVICE_CHANGED)});
  child_kill (&child);
  CHECK (await_end_of (&finder, "test"));
  finder_close (&finder);
}

static void
test_probe (void)
{
  Finder finder = { gst_device_provider_factory_get_by_name ("cuframesdeviceprovider"), NULL };
  GstElement *other = gst_element_factory_make ("fakesrc", NULL);
  GstElement *element;
  GstDevice *device;
  gchar *channel;
  Child child;

  REQUIRE (finder.provider != NULL);
  CHECK (!has_device (&finder, "test"));
  REQUIRE (publish (&child, "", SMALL));
  device = find_device (&finder, "test");
  REQUIRE (device != NULL);
  CHECK (device_has_caps (device, SMALL));
  element = gst_device_create_element (device, "camera");
  REQUIRE (element != NULL);
  g_object_get (element, "channel", &channel, NULL);
  CHECK (g_strcmp0 (channel, "test") == 0);
  g_free (channel);
  g_object_set (element, "channel", "another", NULL);
  CHECK (gst_device_reconfigure_element (device, element));
  CHECK (!gst_device_reconfigure_element (device, other));
  g_object_get (element, "channel", &channel, NULL);
  CHECK (g_strcmp0 (channel, "test") == 0);
  g_free (channel);
  gst_object_unref (element);
  gst_object_unref (other);
  gst_object_unref (device);
  gst_object_unref (finder.provider);
  child_end (&child);
}

/* As gst-device-monitor-1.0 does it, and no other devices are of interest. */
static void
test_monitor (void)
{
  GstDeviceMonitor *monitor = gst_device_monitor_new ();
  GstCaps *caps = gst_caps_from_string ("video/x-raw,format=NV12,width=64");
  guint found = 0;
  GList *devices;
  Child child;

  REQUIRE (publish (&child, "", SMALL));
  CHECK (gst_device_monitor_add_filter (monitor, "Video/Source", caps) != 0);
  devices = gst_device_monitor_get_devices (monitor);
  for (GList * l = devices; l != NULL; l = l->next)
    found += g_str_equal (G_OBJECT_TYPE_NAME (l->data), "GstCuframesDevice");
  CHECK_EQUAL (found, 1);
  g_list_free_full (devices, gst_object_unref);
  gst_caps_unref (caps);
  gst_object_unref (monitor);
  child_end (&child);
}

/* Of a channel; NULL if none comes in time. */
static GstDevice *
await_at_monitor (GstBus * bus, GstMessageType type)
{
  const guint64 end = fixture_now_ns () + FIXTURE_BOUND_NS;
  GstDevice *device = NULL;

  while (device == NULL && fixture_now_ns () < end) {
    GstMessage *message = gst_bus_timed_pop_filtered (bus, end - fixture_now_ns (), type);
    if (message == NULL)
      return NULL;
    if (type == GST_MESSAGE_DEVICE_ADDED)
      gst_message_parse_device_added (message, &device);
    else
      gst_message_parse_device_removed (message, &device);
    gst_message_unref (message);
    if (!g_str_equal (G_OBJECT_TYPE_NAME (device), "GstCuframesDevice"))
      gst_clear_object (&device);
  }
  return device;
}

static void
check_monitor_follows (GstBus * bus, gboolean is_killed)
{
  guint64 start, shown_ns, gone_ns;
  GstDevice *device;
  Child child;

  start = fixture_now_ns ();
  REQUIRE (publish (&child, "", SMALL));
  device = await_at_monitor (bus, GST_MESSAGE_DEVICE_ADDED);
  shown_ns = fixture_now_ns () - start;
  CHECK (device_has_caps (device, SMALL));
  gst_clear_object (&device);
  start = fixture_now_ns ();
  if (is_killed)
    child_kill (&child);
  else
    child_end (&child);
  device = await_at_monitor (bus, GST_MESSAGE_DEVICE_REMOVED);
  gone_ns = fixture_now_ns () - start;
  REQUIRE (device != NULL);
  gst_clear_object (&device);
  printf ("     shown %" G_GUINT64_FORMAT " ms after its process was begun, gone %" G_GUINT64_FORMAT " ms after it was %s\n", shown_ns / GST_MSECOND,
      gone_ns / GST_MSECOND, is_killed ? "killed" : "ended");
  CHECK (fixture_is_slow () || (shown_ns < AT_MOST_NS && gone_ns < AT_MOST_NS));
}

static void
test_monitor_follows (void)
{
  GstDeviceMonitor *monitor = gst_device_monitor_new ();
  GstBus *bus = gst_device_monitor_get_bus (monitor);

  CHECK (gst_device_monitor_add_filter (monitor, "Video/Source", NULL) != 0);
  REQUIRE (gst_device_monitor_start (monitor));
  for (guint i = 0; i < 4; i++)
    check_monitor_follows (bus, i % 2 == 1);
  gst_device_monitor_stop (monitor);
  gst_bus_set_flushing (bus, TRUE);
  gst_object_unref (bus);
  gst_object_unref (monitor);
}

static void
test_sound (void)
{
  GstDevice *device;
  gchar *class;
  Finder finder;
  Child child;

  if (element_lacks ("alawenc"))
    return;
  REQUIRE (finder_open (&finder));
  child_start (&child, NULL, "pipeline", "audiotestsrc is-live=true ! alawenc ! cuframessink channel=test", NULL);
  device = await (&finder, GST_MESSAGE_DEVICE_ADDED);
  REQUIRE (device != NULL);
  if (!device_has_caps (device, "audio/x-alaw")) {
    gst_clear_object (&device);
    device = await (&finder, GST_MESSAGE_DEVICE_CHANGED);
  }
  CHECK (device_has_caps (device, "audio/x-alaw"));
  class = gst_device_get_device_class (device);
  CHECK (g_str_equal (class, "Audio/Source"));
  g_free (class);
  gst_clear_object (&device);
  child_end (&child);
  CHECK (await_end_of (&finder, "test"));
  finder_close (&finder);
}

static void
count_frame (GstElement * sink, GstBuffer * buffer, GstPad * pad, gpointer count)
{
  g_atomic_int_inc ((gint *) count);
}

/* What a player makes of a URI; the sink is its own, or the one behind it. */
static GstElement *
make_player (const gchar * factory, gint * count)
{
  GstElement *sink = gst_element_factory_make ("fakesink", NULL), *pipeline, *last;
  gchar *description;

  g_object_set (sink, "signal-handoffs", TRUE, NULL);
  g_signal_connect (sink, "handoff", G_CALLBACK (count_frame), count);
  if (g_str_has_prefix (factory, "playbin")) {
    pipeline = gst_element_factory_make (factory, NULL);
    g_object_set (pipeline, "uri", "cuframes://test?start=oldest&delivery=fifo", "video-sink", sink, NULL);
    return pipeline;
  }
  description = g_strdup_printf ("%s uri=cuframes://test?start=oldest ! identity name=last", factory);
  pipeline = gst_parse_launch (description, NULL);
  g_free (description);
  gst_bin_add (GST_BIN (pipeline), sink);
  last = gst_bin_get_by_name (GST_BIN (pipeline), "last");
  gst_element_link (last, sink);
  gst_object_unref (last);
  return pipeline;
}

static void
test_players (void)
{
  static const gchar *const factories[] = { "uridecodebin", "uridecodebin3", "playbin", "playbin3" };

  for (guint i = 0; i < G_N_ELEMENTS (factories); i++) {
    GstElement *pipeline;
    gint count = 0;
    Child child;
    if (element_lacks (factories[i]))
      return;
    REQUIRE (publish (&child, "", SMALL));
    pipeline = make_player (factories[i], &count);
    REQUIRE (pipeline != NULL);
    CHECK_EQUAL (gst_element_set_state (pipeline, GST_STATE_PAUSED), GST_STATE_CHANGE_NO_PREROLL);
    CHECK (pipeline_play (pipeline));
    CHECK (WAIT_UNTIL (g_atomic_int_get (&count) >= 3));
    CHECK (pipeline_is_well (pipeline));
    pipeline_stop (pipeline);
    child_end (&child);
  }
}

static gboolean
uri_gives (const gchar * uri, const gchar * property, const gchar * expected)
{
  GstElement *element = gst_element_make_from_uri (GST_URI_SRC, uri, NULL, NULL);
  GParamSpec *spec = element == NULL ? NULL : g_object_class_find_property (G_OBJECT_GET_CLASS (element), property);
  GValue value = G_VALUE_INIT;
  gchar *text;
  gboolean good;

  if (spec == NULL)
    return FALSE;
  g_value_init (&value, spec->value_type);
  g_object_get_property (G_OBJECT (element), property, &value);
  text = G_VALUE_HOLDS_STRING (&value) ? g_value_dup_string (&value) : gst_value_serialize (&value);
  good = g_strcmp0 (text, expected) == 0;
  if (!good)
    fprintf (stderr, "  %s: %s is %s\n", uri, property, text);
  g_free (text);
  g_value_unset (&value);
  gst_object_unref (element);
  return good;
}

static void
test_uris (void)
{
  CHECK (uri_gives ("cuframes://cam1", "channel", "cam1"));
  CHECK (uri_gives ("cuframes://cam1/", "channel", "cam1"));
  CHECK (uri_gives ("cuframes://Cam%201:a#x", "channel", "Cam 1:a"));
  CHECK (uri_gives ("cuframes://cam1?delivery=latest&max-leases=3", "delivery", "latest"));
  CHECK (uri_gives ("cuframes://cam1?delivery=latest&max-leases=3", "max-leases", "3"));
  CHECK (uri_gives ("cuframes://cam1?reconnect=false", "reconnect", "false"));
  CHECK (uri_gives ("cuframes:///run/a%20b/x.sock", "socket-path", "/run/a b/x.sock"));
  CHECK (uri_gives ("cuframes:///run/x.sock", "channel", NULL));
  CHECK (uri_gives ("cuframes://@abstract", "socket-path", "@abstract"));
}

static const struct
{
  const gchar *uri, *part;
} bad_uris[] = {
  {"cuframes://", "names no channel"},
  {"cuframes:cam1", "names no channel"},
  {"cuframes://cam1?speed=3", "speed"},
  {"cuframes://cam1?delivery=sometimes", "sometimes"},
  {"cuframes://cam1?max-leases=1000", "max-leases"},
  {"cuframes://cam1?max-leases", "max-leases"},
  {"cuframes://cam1?channel=other", "channel"},
  {"cuframes://cam1?name=x", "name"},
  {"cuframes://cam1?stats=x", "stats"},
};

static void
test_bad_uris (void)
{
  GstElement *element = gst_element_factory_make ("cuframessrc", NULL);
  gchar *uri;

  g_object_set (element, "channel", "as before", NULL);
  for (guint i = 0; i < G_N_ELEMENTS (bad_uris); i++) {
    GError *error = NULL;
    CHECK (!gst_uri_handler_set_uri (GST_URI_HANDLER (element), bad_uris[i].uri, &error));
    CHECK (error != NULL && strstr (error->message, bad_uris[i].part) != NULL);
    g_clear_error (&error);
  }
  uri = gst_uri_handler_get_uri (GST_URI_HANDLER (element));
  CHECK (g_strcmp0 (uri, "cuframes://as%20before") == 0);
  g_free (uri);
  gst_element_set_state (element, GST_STATE_PAUSED);
  CHECK (!gst_uri_handler_set_uri (GST_URI_HANDLER (element), "cuframes://cam1", NULL));
  gst_element_set_state (element, GST_STATE_NULL);
  CHECK (gst_uri_handler_set_uri (GST_URI_HANDLER (element), "cuframes://@a/b", NULL));
  uri = gst_uri_handler_get_uri (GST_URI_HANDLER (element));
  CHECK (g_strcmp0 (uri, "cuframes://@a/b") == 0);
  g_free (uri);
  gst_object_unref (element);
}

static const FixtureTest tests[] = {
  {"a channel that is there is listed with its caps", test_is_listed},
  {"channels come and go within a second, killed ones too", test_comes_and_goes},
  {"what a dead publisher left is no device until the next one comes", test_stale_socket},
  {"a channel whose format comes later is changed then, and at each other format", test_format_comes_later},
  {"a directory that comes later is found", test_directory_comes_later},
  {"a stopped publisher holds nobody up and is listed", test_stopped_publisher},
  {"devices can be listed without being watched, and make elements", test_probe},
  {"a device monitor finds channels by class and caps", test_monitor},
  {"a device monitor shows a channel within a second of its start and forgets it within a second of its end, killed or not", test_monitor_follows},
  {"a channel of sound is no camera", test_sound},
  {"uridecodebin and playbin, old and new, play a channel as a live source", test_players},
  {"a URI names a channel or a socket and sets properties", test_uris},
  {"a bad URI changes nothing and says why", test_bad_uris},
};

/* Providers are made once and keep what they open, those of other plugins too. */
static void
warm_up_providers (void)
{
  GstDeviceMonitor *monitor = gst_device_monitor_new ();

  gst_device_monitor_add_filter (monitor, "Video/Source", NULL);
  g_list_free_full (gst_device_monitor_get_devices (monitor), gst_object_unref);
  gst_object_unref (monitor);
}

int
main (int argc, char **argv)
{
  gst_init (NULL, NULL);
  if (argc < 3 || strcmp (argv[1], "--role") != 0)
    warm_up_providers ();
  return fixture_main (argc, argv, &element_part, tests, G_N_ELEMENTS (tests), NULL, 0);
}
