/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What GStreamer's own tracers see of the elements: that nothing is left, that every frame is followed from source to sink, and counted. */
#include "element-fixture.h"

#include <string.h>

#define FRAMES 30
#define PUBLISHER "videotestsrc name=source num-buffers=30 ! " SMALL " ! taginject tags=\"title=x\" ! queue ! cuframessink name=sink channel=test " \
  "sync=false overflow=wait wait-for-subscribers=1"
/* The latency tracer follows nothing from a source straight into a sink. */
#define SUBSCRIBER "cuframessrc name=cuframes channel=test io-mode=%s ! identity ! fakesink name=end sync=false"

/* The processes that are traced */

static GstPadProbeReturn
count_custom_event (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_CUSTOM_DOWNSTREAM)
    g_atomic_int_inc ((gint *) data);
  return GST_PAD_PROBE_OK;
}

static void
play_both (GstElement * sink, GstElement * src)
{
  GstElement *cuframes = gst_bin_get_by_name (GST_BIN (src), "cuframes");
  GstPad *pad = gst_element_get_static_pad (cuframes, "src");
  gint events = 0;

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, count_custom_event, &events, NULL);
  pipeline_play (src);
  pipeline_play (sink);
  printf ("%d %d %d\n", pipeline_reaches_eos (sink), pipeline_reaches_eos (src), g_atomic_int_get (&events));
  gst_object_unref (pad);
  gst_object_unref (cuframes);
  pipeline_stop (sink);
  pipeline_stop (src);
}

static int
play_once (int argc, char **argv)
{
  play_both (pipeline_new (PUBLISHER), pipeline_new (SUBSCRIBER, "auto"));
  gst_deinit ();
  return 0;
}

/* A subscriber over the lives of several publishers, which is stopped while frames are queued in it. */
static gboolean
play_restarts (void)
{
  gboolean good = TRUE;

  GstElement *src = pipeline_new ("cuframessrc name=cuframes channel=test ! queue ! fakesink sync=true ts-offset=60000000000 async=false");

  pipeline_play (src);
  for (guint i = 0; i < 3; i++) {
    GstElement *sink = pipeline_new ("videotestsrc is-live=true ! %s ! cuframessink name=sink channel=test", i % 2 == 0 ? SMALL : WIDE);
    const gint64 delivered = pipeline_stat (src, "delivered");
    pipeline_play (sink);
    good = WAIT_UNTIL (pipeline_stat (src, "delivered") > delivered + 2) && good;
    pipeline_stop (sink);
  }
  pipeline_stop (src);
  return good;
}

static void
play_errors (void)
{
  static const char *const bad[] = { "videotestsrc ! cuframessink channel=a/b", "cuframessrc channel=x connect-timeout=1 ! fakesink",
    "audiotestsrc ! cuframessink channel=test allow-uids=nobody-of-this-name" };

  for (guint i = 0; i < G_N_ELEMENTS (bad); i++) {
    GstElement *pipeline = pipeline_new ("%s", bad[i]);
    pipeline_play (pipeline);
    g_free (pipeline_take_error (pipeline));
    pipeline_stop (pipeline);
  }
}

static int
play_all (int argc, char **argv)
{
  static const char *const sinks[] = {
    "videotestsrc num-buffers=30 ! " SMALL,
    "videotestsrc num-buffers=30 ! " SMALL " ! identity drop-allocation=true",
    "videotestsrc num-buffers=30 ! " SMALL " ! taginject tags=\"title=x\" ! queue",
    "audiotestsrc num-buffers=30",
  };
  gboolean good;

  for (guint i = 0; i < G_N_ELEMENTS (sinks); i++)
    play_both (pipeline_new ("%s ! cuframessink channel=test sync=false wait-for-subscribers=1", sinks[i]),
        pipeline_new (SUBSCRIBER, i % 2 == 0 ? "auto" : "copy"));
  good = play_restarts ();
  play_errors ();
  gst_deinit ();
  return good ? 0 : 1;
}

/* What was traced */

/* Runs the role under a tracer. Its log; NULL if it did not end well. */
static gchar *
trace (const char *tracer, const char *role, guint rounds)
{
  gchar *log = NULL;
  Child child;

  setenv ("GST_TRACERS", tracer, 1);
  setenv ("GST_DEBUG", "GST_TRACER:7", 1);
  setenv ("GST_DEBUG_NO_COLOR", "1", 1);
  setenv ("GST_DEBUG_FILE", fixture_path ("trace.log"), 1);
  child_start (&child, NULL, role, NULL);
  for (guint i = 0; i < rounds; i++)
    CHECK (child_expect (&child, "1 1 0"));
  CHECK_EQUAL (child_end (&child), 0);
  unsetenv ("GST_TRACERS");
  unsetenv ("GST_DEBUG");
  unsetenv ("GST_DEBUG_NO_COLOR");
  unsetenv ("GST_DEBUG_FILE");
  CHECK (g_file_get_contents (fixture_path ("trace.log"), &log, NULL, NULL));
  return log;
}

static guint
count_lines (const gchar * log, const char *name, const char *part, const char *other_part)
{
  gchar **lines = g_strsplit (log, "\n", 0);
  guint count = 0;

  for (gchar ** line = lines; *line != NULL; line++) {
    const gchar *record = strstr (*line, " TRACE ") == NULL ? NULL : strstr (*line, ":: ");
    count += record != NULL && g_str_has_prefix (record + 3, name) && strstr (record, part) != NULL && strstr (record, other_part) != NULL;
  }
  g_strfreev (lines);
  return count;
}

static void
test_leaks (void)
{
  gchar *log = trace ("leaks", "all", 4);

  REQUIRE (log != NULL);
  /* The format of such lines is there in any case. */
  CHECK (strstr (log, "object-alive") != NULL);
  for (char *line = log; (line = strstr (line, "object-alive, type-name=(string)")) != NULL; line++)
    if (strchr ("%", line[strlen ("object-alive, type-name=(string)")]) == NULL) {
      line[strcspn (line, "\n")] = 0;
      fixture_fail (__FILE__, __LINE__, __func__, line);
    }
  g_free (log);
}

static void
test_latency (void)
{
  gchar *log = trace ("latency(flags=pipeline+element+reported)", "once", 1);

  REQUIRE (log != NULL);
  CHECK_EQUAL (count_lines (log, "latency,", "src-element=(string)source,", "sink-element=(string)sink,"), FRAMES);
  CHECK_EQUAL (count_lines (log, "latency,", "src-element=(string)cuframes,", "sink-element=(string)end,"), FRAMES);
  CHECK (count_lines (log, "element-reported-latency,", "element=(string)cuframes,", "live=(boolean)1,") > 0);
  g_free (log);
}

/* The number that the tracer gave the src's pad. */
static guint
find_pad (const gchar * log)
{
  gchar **lines = g_strsplit (log, "\n", 0);
  guint element = G_MAXUINT, pad = G_MAXUINT;

  for (gchar ** line = lines; *line != NULL; line++) {
    const gchar *record = strstr (*line, ":: ");
    guint index, parent;
    if (record == NULL)
      continue;
    if (strstr (record, "new-element,") != NULL && strstr (record, "type=(string)GstCuframesSrc,") != NULL && strstr (record, " ix=(uint)") != NULL)
      sscanf (strstr (record, " ix=(uint)"), " ix=(uint)%u", &element);
    if (strstr (record, "new-pad,") != NULL && strstr (record, " ix=(uint)") != NULL
        && sscanf (strstr (record, " ix=(uint)"), " ix=(uint)%u, parent-ix=(uint)%u", &index, &parent) == 2 && parent == element && pad == G_MAXUINT)
      pad = index;
  }
  g_strfreev (lines);
  return pad;
}

static void
test_stats (void)
{
  gchar *log = trace ("stats", "once", 1), *pad;

  REQUIRE (log != NULL);
  pad = g_strdup_printf (" pad-ix=(uint)%u,", find_pad (log));
  CHECK_EQUAL (count_lines (log, "buffer,", pad, "buffer-size=(uint)4608,"), FRAMES);
  CHECK_EQUAL (count_lines (log, "event,", pad, "name=(string)stream-start"), 1);
  CHECK_EQUAL (count_lines (log, "event,", pad, "name=(string)caps"), 1);
  CHECK_EQUAL (count_lines (log, "event,", pad, "name=(string)segment"), 1);
  CHECK_EQUAL (count_lines (log, "event,", pad, "name=(string)tag"), 1);
  CHECK_EQUAL (count_lines (log, "event,", pad, "name=(string)eos"), 1);
  g_free (pad);
  g_free (log);
}

static const FixtureTest tests[] = {
  {"the leaks tracer finds nothing, whatever went through and however it ended", test_leaks},
  {"the latency tracer follows every frame of either pipeline, and its marks do not cross", test_latency},
  {"the stats tracer counts every frame, and each event once", test_stats},
};

static const FixtureRole roles[] = {
  {"all", play_all},
  {"once", play_once},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
