/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cannot work ends in one error on the bus that says what to do, without a leak or a hang. */
#define _GNU_SOURCE
#include "element-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define NOBODY 65534

/* The element fails to start with these properties, and works when they are mended. */
static void
check_no_start (const char *description, const char *part, const char *property, const char *mended)
{
  GstElement *pipeline = pipeline_new ("%s", description);
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), "cuframes");

  CHECK (!pipeline_play (pipeline));
  pipeline_stop_at_error (pipeline, part);
  if (property != NULL) {
    gst_util_set_object_arg (G_OBJECT (element), property, mended);
    CHECK (pipeline_play (pipeline));
    CHECK (pipeline_is_well (pipeline));
  }
  gst_object_unref (element);
  pipeline_stop (pipeline);
}

static void
test_no_channel (void)
{
  check_no_start ("cuframessrc name=cuframes", "No channel is named", "channel", "good");
  check_no_start ("cuframessink name=cuframes channel=\"\"", "No channel is named", "channel", "good");
}

static void
test_bad_names (void)
{
  static const char *const names[] = { "a/b", "../up", ".hidden", "@abstract", "/tmp/x" };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    gchar *sink = g_strdup_printf ("cuframessink name=cuframes channel=%s", names[i]);
    gchar *src = g_strdup_printf ("cuframessrc name=cuframes channel=%s", names[i]);
    check_no_start (sink, "is no name for a channel", "channel", "good");
    check_no_start (src, "is no name for a channel", "channel", "good");
    g_free (sink);
    g_free (src);
  }
}

static void
test_long_paths (void)
{
  char name[200];
  gchar *description;

  memset (name, 'x', sizeof name - 1);
  name[sizeof name - 1] = 0;
  description = g_strdup_printf ("cuframessink name=cuframes channel=%s", name);
  check_no_start (description, "longer than", "channel", "good");
  g_free (description);
  description = g_strdup_printf ("cuframessrc name=cuframes channel=%s", name);
  check_no_start (description, "longer than", "channel", "good");
  g_free (description);
  description = g_strdup_printf ("cuframessink name=cuframes socket-path=/tmp/%s", name);
  check_no_start (description, "longer than", NULL, NULL);
  g_free (description);
  /* So long that only what lies beside the socket does not fit. */
  name[100 - strlen (fixture_directory ())] = 0;
  description = g_strdup_printf ("cuframessink name=cuframes socket-path=%s/%s", fixture_directory (), name);
  GstElement *pipeline = pipeline_new ("%s", description);
  if (!pipeline_play (pipeline))
    pipeline_stop_at_error (pipeline, "ong");
  pipeline_stop (pipeline);
  g_free (description);
}

static void
test_directories (void)
{
  gchar *description = g_strdup_printf ("cuframessink name=cuframes socket-path=%s/no/such/x.sock", fixture_directory ());

  check_no_start (description, "does not exist", "socket-path", fixture_path ("x.sock"));
  g_free (description);
  setenv ("CUFRAMES_DIR", "/proc/self", 1);
  check_no_start ("cuframessink name=cuframes channel=x", "/proc/self", NULL, NULL);
  setenv ("CUFRAMES_DIR", fixture_directory (), 1);
}

static void
test_in_the_way (void)
{
  FILE *file = fopen (fixture_path ("x.sock"), "we");

  fputs ("precious", file);
  fclose (file);
  check_no_start ("cuframessink name=cuframes channel=x", "in the way", "channel", "y");
  CHECK (access (fixture_path ("x.sock"), F_OK) == 0);
  mkdir (fixture_path ("z.sock"), 0700);
  check_no_start ("cuframessink name=cuframes channel=z", "in the way", "channel", "y");
  CHECK (symlink (fixture_path ("target"), fixture_path ("l.sock")) == 0);
  check_no_start ("cuframessink name=cuframes channel=l", "in the way", "channel", "y");
  CHECK (access (fixture_path ("target"), F_OK) != 0);
}

static void
test_second_publisher (void)
{
  static const char *const paths[] = { "channel=test", "socket-path=@cuframes-test-element-errors" };

  for (guint i = 0; i < G_N_ELEMENTS (paths); i++) {
    gchar *description = g_strdup_printf ("cuframessink name=cuframes %s", paths[i]);
    Feeder feeder;
    Catcher catcher;
    Child child;
    REQUIRE (feeder_open (&feeder, paths[i]));
    REQUIRE (catcher_open (&catcher, paths[i]));
    CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, 1, 2) == GST_FLOW_OK);
    check_no_start (description, "has a publisher already", NULL, NULL);
    child_start (&child, NULL, "feeder", paths[i], NULL);
    CHECK (child_expect (&child, "error"));
    child_end (&child);
    CHECK (feeder_push (&feeder, 3, 2) == GST_FLOW_OK);
    CHECK (WAIT_UNTIL (catcher.frames == 4));
    CHECK_EQUAL (stat_of (catcher.element, "connections"), 1);
    catcher_close (&catcher);
    feeder_close (&feeder);
    g_free (description);
  }
}

static void
test_connect_timeout (void)
{
  Catcher catcher;
  const guint64 start = fixture_now_ns ();

  REQUIRE (catcher_open (&catcher, "channel=nobody connect-timeout=100000000"));
  pipeline_stop_at_error (catcher.pipeline, "Nobody publishes");
  CHECK (fixture_now_ns () - start >= 100 * GST_MSECOND && fixture_now_ns () - start < 5 * GST_SECOND);
  catcher_close (&catcher);
}

static void
test_slots_and_pool (void)
{
  Feeder feeder;
  GstStructure *config;

  REQUIRE (feeder_open (&feeder, "slots=64"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  gst_buffer_pool_set_active (feeder.pool, FALSE);
  config = gst_buffer_pool_get_config (feeder.pool);
  gst_buffer_pool_config_set_params (config, feeder.caps, GST_VIDEO_INFO_SIZE (&feeder.info), 63, 0);
  CHECK (gst_buffer_pool_set_config (feeder.pool, config));
  CHECK (!gst_buffer_pool_set_active (feeder.pool, TRUE));
  pipeline_stop_at_error (feeder.pipeline, "63 buffers");
  gst_clear_object (&feeder.pool);
  feeder_close (&feeder);
}

static void
test_wait_for_more_than_fit (void)
{
  check_no_start ("cuframessink name=cuframes channel=test max-subscribers=2 wait-for-subscribers=3", "max-subscribers", "wait-for-subscribers", "2");
}

static void
test_unknown_users (void)
{
  check_no_start ("cuframessink name=cuframes channel=test allow-uids=root,no-such-user-here", "no user \"no-such-user-here\"", "allow-uids", "root");
  check_no_start ("cuframessink name=cuframes channel=test allow-gids=no-such-group-here", "no group \"no-such-group-here\"", "allow-gids", "0,root");
}

static void
test_socket_mode (void)
{
  static const guint modes[] = { 0600, 0660, 0666, 0700 };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++) {
    gchar *properties = g_strdup_printf ("socket-mode=%u", modes[i]);
    struct stat status;
    Feeder feeder;
    mode_t mask = umask (0077);
    REQUIRE (feeder_open (&feeder, properties));
    umask (mask);
    CHECK (stat (fixture_path ("test.sock"), &status) == 0);
    CHECK_EQUAL (status.st_mode & 0777, modes[i]);
    feeder_close (&feeder);
    CHECK (stat (fixture_path ("test.sock"), &status) != 0);
    g_free (properties);
  }
}

/* As another user: "catcher-as UID PROPERTIES". */
static int
play_catcher_as (int argc, char **argv)
{
  const uid_t uid = (uid_t) atoi (argv[0]);
  Catcher catcher;
  gchar *text;

  if (setgroups (0, NULL) != 0 || setgid (uid) != 0 || setuid (uid) != 0) {
    printf ("skip\n");
    return 0;
  }
  if (!catcher_open (&catcher, argv[1]))
    printf ("failed\n");
  while (catcher.frames == 0 && (text = pipeline_take_error (catcher.pipeline)) == NULL)
    fixture_yield ();
  if (catcher.frames > 0)
    printf ("frame\n");
  else {
    printf ("error %s\n", text);
    g_free (text);
  }
  catcher_close (&catcher);
  return 0;
}

/* Says "frame" as soon as one is there, or the error. */
static int
play_peeker_as (int argc, char **argv)
{
  const uid_t uid = (uid_t) atoi (argv[0]);
  Catcher catcher;
  CatcherItem *item;

  if (setgroups (0, NULL) != 0 || setgid (uid) != 0 || setuid (uid) != 0 || !catcher_open (&catcher, argv[1]))
    return 1;
  item = catcher_take_frame (&catcher);
  printf ("%s\n", item != NULL ? "frame" : "nothing");
  item_free (item);
  catcher_close (&catcher);
  return 0;
}

static void
test_access (void)
{
  char uid[16], line[1024];
  static const char *const lists[] = { "socket-mode=438 allow-uids=daemon", "socket-mode=438 allow-uids=\"\"", "socket-mode=438 allow-gids=\"\"" };
  Feeder feeder;
  Child child;

  if (!fixture_needs_root ("another user is kept out and let in"))
    return;
  snprintf (uid, sizeof uid, "%d", NOBODY);
  chmod (fixture_directory (), 0755);
  /* The socket's mode keeps him out. */
  REQUIRE (feeder_open (&feeder, ""));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  child_start (&child, NULL, "catcher-as", uid, "", NULL);
  CHECK (child_read (&child, line, sizeof line) && strstr (line, "No permission") != NULL);
  CHECK_EQUAL (child_end (&child), 0);
  feeder_close (&feeder);
  /* The mode lets him in, the list does not, be it empty. */
  for (guint i = 0; i < G_N_ELEMENTS (lists); i++) {
    REQUIRE (feeder_open (&feeder, lists[i]));
    REQUIRE (feeder_begin (&feeder, SMALL));
    CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
    child_start (&child, NULL, "catcher-as", uid, "", NULL);
    CHECK (child_read (&child, line, sizeof line));
    if (strstr (line, "says no: ") == NULL || strstr (line, uid) == NULL)
      fixture_fail (__FILE__, __LINE__, __func__, line);
    CHECK_EQUAL (child_end (&child), 0);
    CHECK_EQUAL (stat_of (feeder.element, "refused"), 1);
    CHECK_EQUAL (stat_of (feeder.element, "num-subscribers"), 0);
    feeder_close (&feeder);
  }
  /* Both do. */
  REQUIRE (feeder_open (&feeder, "socket-mode=438 allow-uids=daemon,65534"));
  REQUIRE (feeder_begin (&feeder, SMALL));
  CHECK (feeder_push (&feeder, 1, 1) == GST_FLOW_OK);
  child_start (&child, NULL, "peeker-as", uid, "", NULL);
  CHECK (child_expect (&child, "frame"));
  CHECK_EQUAL (child_end (&child), 0);
  feeder_close (&feeder);
}

static void
test_too_many_subscribers (void)
{
  Feeder feeder;
  Catcher first, second;

  REQUIRE (feeder_open (&feeder, "max-subscribers=1"));
  REQUIRE (catcher_open (&first, ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  REQUIRE (catcher_open (&second, ""));
  pipeline_stop_at_error (second.pipeline, "says no: ");
  catcher_close (&second);
  CHECK (pipeline_is_well (first.pipeline));
  catcher_close (&first);
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 0));
  REQUIRE (catcher_open (&second, ""));
  CHECK (WAIT_UNTIL (stat_of (feeder.element, "num-subscribers") == 1));
  catcher_close (&second);
  feeder_close (&feeder);
}

/* More than there is: the pool cannot start, and what is copied cannot either. */
static int
play_limited (int argc, char **argv)
{
  const struct rlimit limit = { (rlim_t) atoll (argv[1]), (rlim_t) atoll (argv[1]) };
  GstElement *pipeline;
  gchar *text;
  guint fds;

  signal (SIGXFSZ, SIG_IGN);
  setrlimit (strcmp (argv[0], "fsize") == 0 ? RLIMIT_FSIZE : strcmp (argv[0], "as") == 0 ? RLIMIT_AS : RLIMIT_NOFILE, &limit);
  fds = fixture_count_fds ();
  pipeline = pipeline_new ("%s", argv[2]);
  pipeline_play (pipeline);
  text = pipeline_take_error (pipeline);
  printf ("error %s\n", text);
  g_free (text);
  pipeline_stop (pipeline);
  printf ("leaked %d\n", (int) (fixture_count_fds () - fds));
  return 0;
}

static void
check_limited (const char *what, const char *limit, const char *description, const char *part)
{
  char line[1024];
  Child child;

  child_start (&child, NULL, "limited", what, limit, description, NULL);
  CHECK (child_read (&child, line, sizeof line));
  if (strstr (line, part) == NULL)
    fixture_fail (__FILE__, __LINE__, __func__, line);
  CHECK (child_expect (&child, "leaked 0"));
  CHECK_EQUAL (child_end (&child), 0);
}

static void
test_limits_of_memory (void)
{
  static const char *const huge = "videotestsrc num-buffers=1 ! video/x-raw,format=RGBA,width=8000,height=8000,framerate=1/1 ! "
      "cuframessink name=cuframes channel=test slots=60";
  static const char *const copied = "videotestsrc num-buffers=1 ! video/x-raw,format=RGBA,width=2000,height=2000,framerate=1/1 ! "
      "identity drop-allocation=true ! cuframessink name=cuframes channel=test slots=60";

  check_limited ("fsize", "100000000", huge, "Ask for fewer slots");
  check_limited ("fsize", "100000000", copied, "Ask for fewer slots");
  check_limited ("fsize", "10000000", "audiotestsrc num-buffers=1 ! cuframessink name=cuframes channel=test", "lower packet-ring-bytes");
  /* A sanitizer takes more addresses for itself than this limit allows. */
  if (!fixture_is_slow ())
    check_limited ("as", "1000000000", copied, "Ask for fewer slots");
}

static void
test_huge_caps (void)
{
  static const char *const sizes[] = { "width=65535,height=65535", "width=2147483647,height=2147483647" };

  for (guint i = 0; i < G_N_ELEMENTS (sizes); i++) {
    gchar *text = g_strdup_printf ("video/x-raw,format=RGBA,framerate=1/1,%s", sizes[i]);
    GstCaps *caps = gst_caps_from_string (text);
    Feeder feeder;
    REQUIRE (feeder_open (&feeder, "slots=64"));
    CHECK (feeder_event (&feeder, gst_event_new_stream_start ("huge")));
    feeder_event (&feeder, gst_event_new_caps (caps));
    pipeline_stop_at_error (feeder.pipeline, "caps");
    feeder_close (&feeder);
    gst_caps_unref (caps);
    g_free (text);
  }
}

static void
test_no_readable_memory (void)
{
  static const char *const caps[] = { "video/x-raw(memory:Nonsense),format=RGBA,width=10,height=10", "video/x-h264(memory:Nonsense),stream-format=byte-stream" };
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  for (guint i = 0; i < G_N_ELEMENTS (caps); i++) {
    Feeder feeder;
    GstCaps *odd = gst_caps_from_string (caps[i]);
    REQUIRE (feeder_open (&feeder, ""));
    CHECK (feeder_event (&feeder, gst_event_new_stream_start ("odd")));
    feeder_event (&feeder, gst_event_new_caps (odd));
    feeder_event (&feeder, gst_event_new_segment (&segment));
    CHECK (gst_pad_push (feeder.pad, gst_buffer_new_allocate (NULL, 400, NULL)) == GST_FLOW_NOT_NEGOTIATED);
    gst_caps_unref (odd);
    feeder_close (&feeder);
  }
}

/* With few descriptors the publisher refuses those that it cannot serve, and the others stay. */
static int
play_crowd (int argc, char **argv)
{
  const struct rlimit limit = { 40, 40 };
  Feeder feeder;
  char line[64];

  setrlimit (RLIMIT_NOFILE, &limit);
  if (!feeder_open (&feeder, "") || !feeder_begin (&feeder, SMALL))
    return 1;
  printf ("open\n");
  for (guint i = 1; fgets (line, sizeof line, stdin) != NULL; i++)
    printf ("pushed %d subscribers %" G_GINT64_FORMAT "\n", feeder_push (&feeder, i, 1), stat_of (feeder.element, "num-subscribers"));
  if (!pipeline_is_well (feeder.pipeline))
    return 2;
  feeder_close (&feeder);
  return 0;
}

static void
test_few_descriptors (void)
{
  Catcher catchers[24];
  guint refused = 0, served = 0;
  char line[256];
  Child child;

  child_start (&child, NULL, "crowd", NULL);
  CHECK (child_expect (&child, "open"));
  child_say (&child, "push");
  CHECK (child_expect (&child, "pushed 0"));
  for (guint i = 0; i < G_N_ELEMENTS (catchers); i++)
    REQUIRE (catcher_open (&catchers[i], ""));
  for (guint i = 0; i < G_N_ELEMENTS (catchers); i++) {
    GstBus *bus = gst_element_get_bus (catchers[i].pipeline);
    GstMessage *message = NULL;
    CHECK (WAIT_UNTIL (catchers[i].frames > 0 || (message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR)) != NULL));
    if (message != NULL) {
      GError *error = NULL;
      gst_message_parse_error (message, &error, NULL);
      if (strstr (error->message, "says no: ") == NULL)
        fixture_fail (__FILE__, __LINE__, __func__, error->message);
      g_error_free (error);
      gst_message_unref (message);
      refused++;
    } else
      served++;
    gst_object_unref (bus);
  }
  CHECK (refused > 0);
  CHECK (served > 2);
  child_say (&child, "push");
  CHECK (child_read (&child, line, sizeof line) && g_str_has_prefix (line, "pushed 0"));
  for (guint i = 0; i < G_N_ELEMENTS (catchers); i++) {
    CHECK (catchers[i].frames == 0 || WAIT_UNTIL (catchers[i].frames == 2));
    catcher_close (&catchers[i]);
  }
  CHECK_EQUAL (child_end (&child), 0);
}

/* Somebody else answers on the channel. */

static int
listen_as_stranger (int type)
{
  struct sockaddr_un address = {.sun_family = AF_UNIX };
  int fd = socket (AF_UNIX, type | SOCK_CLOEXEC, 0);

  strncpy (address.sun_path, fixture_path ("test.sock"), sizeof address.sun_path - 1);
  CHECK (bind (fd, (struct sockaddr *) &address, sizeof address) == 0);
  CHECK (listen (fd, 4) == 0);
  return fd;
}

static void
check_stranger (const void *bytes, size_t byte_count, const char *part)
{
  int listener = listen_as_stranger (SOCK_SEQPACKET), peer;
  Catcher catcher;
  char got[4096];

  REQUIRE (catcher_open (&catcher, "connect-timeout=1000000000"));
  peer = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
  CHECK (peer >= 0);
  CHECK (recv (peer, got, sizeof got, 0) > 0);
  if (byte_count > 0)
    CHECK (send (peer, bytes, byte_count, 0) == (ssize_t) byte_count);
  pipeline_stop_at_error (catcher.pipeline, part);
  close (peer);
  close (listener);
  unlink (fixture_path ("test.sock"));
  catcher_close (&catcher);
}

static void
test_strangers (void)
{
  guint8 garbage[200], header[16] = { 'C', 'U', 'F', 'R', 99, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
  int listener;
  Catcher catcher;

  for (guint i = 0; i < sizeof garbage; i++)
    garbage[i] = (guint8) (i * 37 + 11);
  check_stranger (garbage, sizeof garbage, "no publisher, or one of another release");
  check_stranger (header, sizeof header, "no publisher, or one of another release");
  check_stranger ("C", 1, "no publisher, or one of another release");
  /* It never answers. */
  check_stranger (NULL, 0, "");
  /* It is a socket of another kind. */
  listener = listen_as_stranger (SOCK_STREAM);
  REQUIRE (catcher_open (&catcher, "connect-timeout=1000000000"));
  pipeline_stop_at_error (catcher.pipeline, "socket of another kind");
  catcher_close (&catcher);
  check_no_start ("cuframessink name=cuframes channel=test", "", NULL, NULL);
  close (listener);
  unlink (fixture_path ("test.sock"));
}

/* As from filesrc or udpsrc, where nobody says what the bytes are. */
static void
test_no_caps (void)
{
  GstSegment segment;
  Feeder feeder;

  gst_segment_init (&segment, GST_FORMAT_BYTES);
  REQUIRE (feeder_open (&feeder, ""));
  CHECK (feeder_event (&feeder, gst_event_new_stream_start ("bytes")));
  CHECK (feeder_event (&feeder, gst_event_new_segment (&segment)));
  CHECK (gst_pad_push (feeder.pad, gst_buffer_new_allocate (NULL, 100, NULL)) == GST_FLOW_ERROR);
  pipeline_stop_at_error (feeder.pipeline, "does not say what it is");
  feeder_close (&feeder);
}

static const FixtureTest tests[] = {
  {"without a channel neither element starts, with one it does", test_no_channel},
  {"a bad name is said to be one", test_bad_names},
  {"a path that is too long is said to be", test_long_paths},
  {"a directory that is missing or cannot be written is named", test_directories},
  {"what is in the way and no socket stays there", test_in_the_way},
  {"a second publisher gets an error and disturbs nobody", test_second_publisher},
  {"an unknown channel is an error when the time is over", test_connect_timeout},
  {"a pool of more buffers than a ring may have is an error that says so", test_slots_and_pool},
  {"waiting for more subscribers than are let in is an error", test_wait_for_more_than_fit},
  {"unknown users and groups are named", test_unknown_users},
  {"socket-mode is the file's mode, whatever the umask", test_socket_mode},
  {"users are let in or refused, with the reason", test_access},
  {"one subscriber too many is refused with the reason", test_too_many_subscribers},
  {"without memory the error says what to do", test_limits_of_memory},
  {"huge caps do no harm", test_huge_caps},
  {"what lies in memory that cannot be shared or read is refused", test_no_readable_memory},
  {"with few descriptors some subscribers are refused and the others served", test_few_descriptors},
  {"who answers on a channel and is no publisher is told apart", test_strangers},
  {"a stream without caps is one error that says so", test_no_caps},
};

static const FixtureRole roles[] = {
  {"catcher-as", play_catcher_as},
  {"peeker-as", play_peeker_as},
  {"limited", play_limited},
  {"crowd", play_crowd},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
