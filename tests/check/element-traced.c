/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What GStreamer's own tracers see of the elements: that nothing is left, that every frame is followed from source to sink, and counted. */
#include "element-fixture.h"

#include <string.h>

#define FRAMES 30
#define PUBLISHER "videotestsrc name=source num-buffers=30 ! " SMALL " ! taginject tags=\"title=x\" ! queue ! cuframessink name=sink channel=test " \
  "sync=false overflow=wait wait-for-subscribers=1"
/* The latency tracer follows nothing from a source straight into a sink. */
#define SUBSCRIBER "cuframessrc name=cuframes channel=test io-mode=%s ! identity name=behind ! fakesink name=end sync=false"

/* The processes that are traced */

/* But the marks that the latency tracer sends out by this pad itself: for the src, and for the element behind it. */
static GstPadProbeReturn
count_foreign_event (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  static const gchar *const own[] = { "cuframes", "behind", NULL };
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
  const gchar *marked;

  if (GST_EVENT_TYPE (event) != GST_EVENT_CUSTOM_DOWNSTREAM)
    return GST_PAD_PROBE_OK;
  marked = gst_structure_get_string (gst_event_get_structure (event), "latency_probe.element");
  if (marked == NULL || !g_strv_contains (own, marked))
    g_atomic_int_inc ((gint *) data);
  return GST_PAD_PROBE_OK;
}

static void
play_both (GstElement * sink, GstElement * src)
{
  GstElement *cuframes = gst_bin_get_by_name (GST_BIN (src), "cuframes");
  GstPad *pad = gst_element_get_static_pad (cuframes, "src");
  gboolean sink_ended, src_ended;
  gint events = 0;

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, count_foreign_event, &events, NULL);
  pipeline_play (src);
  pipeline_play (sink);
  sink_ended = pipeline_reaches_eos (sink);
  src_ended = pipeline_reaches_eos (src);
  printf ("%d %d %d\n", sink_ended, src_ended, g_atomic_int_get (&events));
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

/* What the latency tracer does, without it: a mark past the source's pad before each frame, looked for where the pipeline ends. The names are
 * two of the tracer's, one for either pipeline. */

typedef struct
{
  const char *name;
  gint arrived, strange;        /* atomic */
} Marks;

static GstPadProbeReturn
send_mark (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  const Marks *marks = data;
  GstPad *peer = gst_pad_get_peer (pad);

  gst_pad_send_event (peer, gst_event_new_custom (GST_EVENT_CUSTOM_DOWNSTREAM, gst_structure_new_empty (marks->name)));
  gst_object_unref (peer);
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
take_mark (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
  Marks *marks = data;

  if (GST_EVENT_TYPE (event) == GST_EVENT_CUSTOM_DOWNSTREAM)
    g_atomic_int_inc (gst_event_has_name (event, marks->name) ? &marks->arrived : &marks->strange);
  return GST_PAD_PROBE_OK;
}

static void
mark_frames (GstElement * pipeline, const char *from, const char *to, Marks * marks)
{
  GstElement *source = gst_bin_get_by_name (GST_BIN (pipeline), from), *sink = gst_bin_get_by_name (GST_BIN (pipeline), to);
  GstPad *src_pad = gst_element_get_static_pad (source, "src"), *sink_pad = gst_element_get_static_pad (sink, "sink");

  gst_pad_add_probe (src_pad, GST_PAD_PROBE_TYPE_BUFFER, send_mark, marks, NULL);
  gst_pad_add_probe (sink_pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, take_mark, marks, NULL);
  gst_object_unref (src_pad);
  gst_object_unref (sink_pad);
  gst_object_unref (source);
  gst_object_unref (sink);
}

static int
play_marked (int argc, char **argv)
{
  GstElement *sink = pipeline_new (PUBLISHER), *src = pipeline_new (SUBSCRIBER, "auto");
  Marks sent = {.name = "latency_probe.id" }, taken = {.name = "sub_latency_probe.id" };

  mark_frames (sink, "source", "sink", &sent);
  mark_frames (src, "cuframes", "end", &taken);
  play_both (sink, src);
  printf ("marks %d %d, strange %d %d\n", sent.arrived, taken.arrived, sent.strange, taken.strange);
  gst_deinit ();
  return 0;
}

/* Whether GStreamer calls a tracer with the lock of the pad that it is about. */

typedef GstTracer LockTracer;
typedef GstTracerClass LockTracerClass;

GType lock_tracer_get_type (void);
G_DEFINE_TYPE (LockTracer, lock_tracer, GST_TYPE_TRACER);

static guint hook_calls, hook_locks;

static void
lock_tracer_class_init (LockTracerClass * klass)
{
}

static void
lock_tracer_init (LockTracer * tracer)
{
}

static void
try_lock (GstTracer * tracer, GstClockTime time, GstPad * pad, GstEvent * event)
{
  hook_calls++;
  if (g_mutex_trylock (GST_OBJECT_GET_LOCK (pad)))
    GST_OBJECT_UNLOCK (pad);
  else
    hook_locks++;
}

/* One pad, one event and no other thread: a lock that is taken is the caller's. */
static int
play_hook (int argc, char **argv)
{
  GstTracer *tracer = g_object_new (lock_tracer_get_type (), NULL);
  GstPad *src = gst_pad_new ("src", GST_PAD_SRC), *sink = gst_pad_new ("sink", GST_PAD_SINK);
  gboolean good;

  gst_tracing_register_hook (tracer, "pad-push-event-pre", G_CALLBACK (try_lock));
  good = gst_pad_link (src, sink) == GST_PAD_LINK_OK && gst_pad_set_active (sink, TRUE) && gst_pad_set_active (src, TRUE);
  gst_pad_push_event (src, gst_event_new_stream_start ("stream"));
  printf ("%s\n", !good || hook_calls == 0 ? "no call" : hook_locks > 0 ? "locked" : "free");
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
test_marks (void)
{
  gchar *marks = g_strdup_printf ("marks %d %d, strange 0 0", FRAMES, FRAMES);
  Child child;

  child_start (&child, NULL, "marked", NULL);
  CHECK (child_expect (&child, "1 1 0"));
  CHECK (child_expect (&child, marks));
  CHECK_EQUAL (child_end (&child), 0);
  g_free (marks);
}

/* GStreamer 1.26.2 calls tracers with the pad's lock, which the latency tracer takes: no pipeline whatever gets past its first event. */
static gboolean
latency_tracer_locks_up (void)
{
  char line[64] = "";
  Child child;

  child_start (&child, NULL, "hook", NULL);
  CHECK (child_read (&child, line, sizeof line));
  CHECK_EQUAL (child_end (&child), 0);
  CHECK (strcmp (line, "free") == 0 || strcmp (line, "locked") == 0);
  return strcmp (line, "locked") == 0;
}

static void
test_latency (void)
{
  gchar *log;

  if (latency_tracer_locks_up ()) {
    fixture_skip ("the latency tracer of this GStreamer locks up with any pipeline");
    return;
  }
  log = trace ("latency(flags=pipeline+element+reported)", "once", 1);
  REQUIRE (log != NULL);
  CHECK_EQUAL (count_lines (log, "latency,", "src-element=(string)source,", "sink-element=(string)sink,"), FRAMES);
  CHECK_EQUAL (count_lines (log, "latency,", "src-element=(string)cuframes,", "sink-element=(string)end,"), FRAMES);
  CHECK (count_lines (log, "element-reported-latency,", "element=(string)cuframes,", "live=(boolean)1,") > 0);
  g_free (log);
}

/* The number that the tracer gave the pad of the element of that type. */
static guint
find_pad (const gchar * log, const char *type)
{
  gchar *type_field = g_strdup_printf ("type=(string)%s,", type);
  gchar **lines = g_strsplit (log, "\n", 0);
  guint element = G_MAXUINT, pad = G_MAXUINT;

  for (gchar ** line = lines; *line != NULL; line++) {
    const gchar *record = strstr (*line, ":: ");
    guint index, parent;
    if (record == NULL)
      continue;
    if (strstr (record, "new-element,") != NULL && strstr (record, type_field) != NULL && strstr (record, " ix=(uint)") != NULL)
      sscanf (strstr (record, " ix=(uint)"), " ix=(uint)%u", &element);
    if (strstr (record, "new-pad,") != NULL && strstr (record, " ix=(uint)") != NULL
        && sscanf (strstr (record, " ix=(uint)"), " ix=(uint)%u, parent-ix=(uint)%u", &index, &parent) == 2 && parent == element && pad == G_MAXUINT)
      pad = index;
  }
  g_strfreev (lines);
  g_free (type_field);
  return pad;
}

static void
test_stats (void)
{
  static const char *const events[] = { "stream-start", "caps", "segment", "tag", "eos" };
  gchar *log = trace ("stats", "once", 1), *pad, *other_pad;
  guint records;

  REQUIRE (log != NULL);
  pad = g_strdup_printf (" pad-ix=(uint)%u,", find_pad (log, "GstCuframesSrc"));
  other_pad = g_strdup_printf (" pad-ix=(uint)%u,", find_pad (log, "GstVideoTestSrc"));
  /* GStreamer 1.26's tracer writes down a sticky event twice, whatever source it comes from: the only end of another one tells. */
  records = count_lines (log, "event,", other_pad, "name=(string)eos;");
  CHECK (records == 1 || records == 2);
  CHECK_EQUAL (count_lines (log, "buffer,", pad, "buffer-size=(uint)4608,"), FRAMES);
  for (guint i = 0; i < G_N_ELEMENTS (events); i++) {
    gchar *name = g_strdup_printf ("name=(string)%s;", events[i]);
    CHECK_EQUAL (count_lines (log, "event,", pad, name), records);
    g_free (name);
  }
  g_free (other_pad);
  g_free (pad);
  g_free (log);
}

static const FixtureTest tests[] = {
  {"the leaks tracer finds nothing, whatever went through and however it ended", test_leaks},
  {"latency marks before each frame reach the end of their own pipeline, and no other", test_marks},
  {"the latency tracer follows every frame of either pipeline, and its marks do not cross", test_latency},
  {"the stats tracer counts every frame, and each event once", test_stats},
};

static const FixtureRole roles[] = {
  {"all", play_all},
  {"once", play_once},
  {"marked", play_marked},
  {"hook", play_hook},
};

ELEMENT_MAIN (tests, roles, G_N_ELEMENTS (roles))
