/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From opening the channels to their end: connects, notices that a source is gone, waits, connects again. All of it on the main thread; what streaming
 * threads have to say comes over the bus. */
#include "publish-session.h"

#include <errno.h>
#include <glib-unix.h>
#include <string.h>

#include "exit-codes.h"
#include "publish-signals.h"

#define DELAY_MIN_S 0.5
#define DELAY_MAX_S 16.0
/* A connection that lasted so long was a good one: the next delay is short again. */
#define GOOD_NS (10 * GST_SECOND)
/* For subscribers to be told of the end. */
#define END_MS 3000
/* Of packets that have come already, behind the end of their source. */
#define DRAIN_NS (500 * (guint64) GST_MSECOND)
#define TICK_MS 100

typedef enum
{
  CONNECTING,
  LIVE,
  DRAINING,                     /* the source is gone, its last packets are on their way */
  WAITING,                      /* for the next attempt */
  ENDING,
} State;

static const gchar *const state_names[] = { "connecting", "live", "lost", "waiting", "ending" };

typedef struct
{
  const PublishSessionConfig *config;
  PublishReport *report;
  GMainLoop *loop;
  GstBus *bus;
  PublishOutput *output;
  PublishInput *input;          /* NULL while waiting */
  PublishCounts counts;
  PublishDecoderKind decoder;
  gchar *decoder_name;
  gchar *lost_text;             /* why, while draining */
  gchar *notes[PUBLISH_LANES];  /* what the source lacks, or is not asked for */
  gboolean told[PUBLISH_LANES]; /* which is said once, when there is a stream at all */
  gboolean is_camera;           /* comes back when it goes; another source has an end */
  gboolean was_live;            /* ever */
  State state;
  guint connections;
  guint tick_source;
  guint signal_count;
  int status;

  /* CLOCK_MONOTONIC */
  guint64 begun_ns, state_ns, packet_ns, due_ns, report_ns;
  gdouble delay_s;
  guint64 seen_arrivals;        /* when the state was last looked at */
  guint64 before_packets, before_bytes, before_frames;  /* at the last report */
} Session;

static guint64
now_ns (void)
{
  return (guint64) g_get_monotonic_time () * 1000;
}

static void
enter (Session *self, State state)
{
  self->state = state;
  self->state_ns = now_ns ();
}

/* Ends at once. */
static void
quit (Session *self, int status)
{
  self->status = status;
  g_main_loop_quit (self->loop);
}

static void
fail (Session *self, int status, const gchar *text)
{
  gchar *harmless = publish_place_hide_secret (&self->config->place, text);

  publish_report_complain (self->report, harmless);
  g_free (harmless);
  quit (self, status);
}

static void
check_report (Session *self, gboolean good)
{
  gchar *text;

  if (good || self->status != 0)
    return;
  text = g_strdup_printf ("cannot write to standard output: %s", g_strerror (self->report->error));
  fail (self, EXIT_CODE_FAILED, text);
  g_free (text);
}

static gboolean
on_end_overdue (gpointer data)
{
  Session *self = data;

  quit (self, self->status);
  return G_SOURCE_REMOVE;
}

static void
drop_input (Session *self)
{
  if (self->input == NULL)
    return;
  publish_output_detach (self->output);
  g_clear_pointer (&self->input, publish_input_free);
}

/* With the end of the stream to the subscribers. */
static void
end (Session *self)
{
  if (self->state == ENDING)
    return;
  enter (self, ENDING);
  publish_output_end (self->output);
  g_clear_pointer (&self->input, publish_input_free);
  g_timeout_add (END_MS, on_end_overdue, self);
}

/* Coming and going of the source */

static void lose (Session * self, const gchar * text, gboolean is_final);

static void
connect_source (Session *self)
{
  PublishInputConfig config = self->config->input;
  GError *error = NULL;

  config.place = &self->config->place;
  memcpy (config.lanes, self->config->output.lanes, sizeof config.lanes);
  config.decoder = self->decoder;
  config.pipeline = publish_output_peek_pipeline (self->output);
  config.counts = &self->counts;
  enter (self, CONNECTING);
  self->packet_ns = self->state_ns;
  self->input = publish_input_new (&config, &error);
  if (self->input == NULL) {
    lose (self, error->message, error->domain == GST_CORE_ERROR);
    g_error_free (error);
    return;
  }
  publish_output_attach (self->output, publish_input_peek_bin (self->input));
}

static void
wait_to_retry (Session *self, const gchar *text)
{
  gdouble delay_s;

  self->delay_s = CLAMP (self->delay_s * 2, DELAY_MIN_S, DELAY_MAX_S);
  delay_s = self->delay_s * g_random_double_range (0.75, 1.25);
  enter (self, WAITING);
  self->due_ns = self->state_ns + (guint64) (delay_s * 1e9);
  check_report (self, publish_report_event (self->report, "lost", delay_s, "%s: %s; the channels stay open, trying again in %.1f s",
          self->was_live ? "the source is gone" : "the source does not come", text, delay_s));
}

/* The input is over. final: another attempt would end the same way. What elements say of it may repeat the URI. */
static void
lose (Session *self, const gchar *text, gboolean is_final)
{
  const PublishSessionConfig *config = self->config;
  gchar *const harmless = publish_place_hide_secret (&config->place, text);
  gchar *const sentence = g_strdup_printf ("%s: %s", config->place.shown, harmless);

  drop_input (self);
  if (!self->was_live && (is_final || now_ns () - self->begun_ns >= config->timeout_ns || !config->reconnect))
    fail (self, EXIT_CODE_NO_SOURCE, sentence);
  else if (self->was_live && (!self->is_camera || !config->reconnect)) {
    end (self);
    publish_report_complain (self->report, sentence);
    self->status = EXIT_CODE_FAILED;
  } else
    wait_to_retry (self, harmless);
  g_free (sentence);
  g_free (harmless);
}

/* The decoder of a GPU can be there and still not take this stream. */
static gboolean
fall_back_to_software (Session *self)
{
  PublishLaneStats stats;

  publish_output_get_stats (self->output, PUBLISH_LANE_FRAMES, &stats);
  if (self->decoder != PUBLISH_DECODER_AUTO || self->input == NULL || !publish_input_decodes_by_nvidia (self->input) || stats.published > 0)
    return FALSE;
  self->decoder = PUBLISH_DECODER_SOFTWARE;
  drop_input (self);
  check_report (self, publish_report_event (self->report, "software", -1, "the NVIDIA decoder does not take this stream; decoding in software"));
  connect_source (self);
  return TRUE;
}

static void
begin_to_drain (Session *self, const gchar *text)
{
  g_free (self->lost_text);
  self->lost_text = g_strdup (text);
  enter (self, DRAINING);
}

static void
tell_notes (Session *self)
{
  for (guint i = 0; i < PUBLISH_LANES; i++) {
    if (self->notes[i] != NULL && !self->told[i])
      check_report (self, publish_report_event (self->report, "note", -1, "%s", self->notes[i]));
    self->told[i] |= self->notes[i] != NULL;
  }
}

static void
take_start (Session *self, const gchar *decoder)
{
  const gboolean is_first = !self->was_live;

  if (self->state != CONNECTING)
    return;
  enter (self, LIVE);
  self->was_live = TRUE;
  self->is_camera = publish_place_is_live (&self->config->place) || publish_input_is_endless (self->input);
  self->connections++;
  g_free (self->decoder_name);
  self->decoder_name = g_strdup (decoder);
  if (is_first || self->is_camera)
    check_report (self, publish_report_event (self->report, "live", -1, is_first ? "publishing %s, decoder %s" : "the source is back: %s, decoder %s",
            self->config->place.shown, decoder));
  tell_notes (self);
}

/* Everything that came has been published. */
static void
take_drain (Session *self)
{
  if (self->state == DRAINING)
    lose (self, self->lost_text, FALSE);
  else if (self->state == CONNECTING)
    lose (self, "there is nothing in it", !publish_place_is_live (&self->config->place));
  else if (self->state != LIVE)
    return;
  else if (self->is_camera)
    lose (self, "it has ended the stream", FALSE);
  else if (self->config->loop) {
    drop_input (self);
    connect_source (self);
  } else
    end (self);
}

/* The bus */

static gboolean
is_final (Session *self, const GError *error)
{
  if (self->config->place.kind == PUBLISH_PLACE_FILE || error->domain == GST_CORE_ERROR)
    return TRUE;
  if (error->domain == GST_STREAM_ERROR)
    return error->code != GST_STREAM_ERROR_FAILED;
  return g_error_matches (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED);
}

/* An HTTP source whose server cannot be reached says no more than that it failed. */
static gboolean
is_unreachable (Session *self, const GError *error)
{
  return self->state == CONNECTING && g_str_has_prefix (self->config->place.location, "http") && g_error_matches (error, GST_STREAM_ERROR,
      GST_STREAM_ERROR_FAILED);
}

/* Elements' own words say what failed, the debug text behind them often why: its last line, without brackets. */
static gchar *
explain (const GError *error, const gchar *debug)
{
  const gchar *line = debug == NULL ? NULL : strrchr (debug, '\n');

  if (line == NULL || line[1] == 0 || error->domain != GST_RESOURCE_ERROR)
    return g_strdup (error->message);
  return g_strdup_printf ("%s (%s)", error->message, line + 1);
}

/* What the network says is no fault of a decoder. */
static void
take_input_error (Session *self, const GError *error, const gchar *text)
{
  if (self->state != CONNECTING && self->state != LIVE)
    return;
  if (error->domain != GST_RESOURCE_ERROR && fall_back_to_software (self))
    return;
  if (self->state == LIVE && self->is_camera)
    begin_to_drain (self, text);
  else
    lose (self, text, is_final (self, error));
}

static void
take_error (Session *self, GstMessage *message)
{
  GstElement *bin = self->input == NULL ? NULL : publish_input_peek_bin (self->input);
  GError *error = NULL;
  gchar *debug = NULL, *text;

  gst_message_parse_error (message, &error, &debug);
  text = is_unreachable (self, error) ? g_strdup ("the server cannot be reached") : explain (error, debug);
  if (bin != NULL && gst_object_has_as_ancestor (GST_MESSAGE_SRC (message), GST_OBJECT (bin)))
    take_input_error (self, error, text);
  else if (gst_object_has_as_ancestor (GST_MESSAGE_SRC (message), GST_OBJECT (publish_output_peek_pipeline (self->output))) && self->state != ENDING)
    fail (self, EXIT_CODE_FAILED, error->message);
  g_free (text);
  g_free (debug);
  g_error_free (error);
}

static void
take_lack (Session *self, const GstStructure *structure)
{
  gint lane = PUBLISH_LANES;

  if (!gst_structure_get_int (structure, "lane", &lane) || lane < 0 || lane >= PUBLISH_LANES || self->notes[lane] != NULL)
    return;
  self->notes[lane] = g_strdup (gst_structure_get_string (structure, "text"));
  publish_output_close_lane (self->output, (PublishLane) lane);
  if (self->state == LIVE)
    tell_notes (self);
}

static void
take_element_message (Session *self, GstMessage *message)
{
  const GstStructure *structure = gst_message_get_structure (message);
  const gboolean is_of_input = self->input != NULL && GST_MESSAGE_SRC (message) == GST_OBJECT (publish_input_peek_bin (self->input));
  gboolean final = FALSE;

  if (self->input != NULL && publish_output_is_drain_of (structure, publish_input_peek_bin (self->input)))
    take_drain (self);
  if (!is_of_input)
    return;
  if (gst_structure_has_name (structure, PUBLISH_INPUT_STARTED))
    take_start (self, gst_structure_get_string (structure, "decoder"));
  else if (gst_structure_has_name (structure, PUBLISH_INPUT_LACKS))
    take_lack (self, structure);
  else if (gst_structure_has_name (structure, PUBLISH_INPUT_FAILED)) {
    gst_structure_get_boolean (structure, "final", &final);
    if (!fall_back_to_software (self))
      lose (self, gst_structure_get_string (structure, "text"), final);
  }
}

static gboolean
on_message (GstBus *bus, GstMessage *message, gpointer data)
{
  Session *self = data;

  switch (GST_MESSAGE_TYPE (message)) {
    case GST_MESSAGE_ERROR:
      take_error (self, message);
      break;
    case GST_MESSAGE_ELEMENT:
      take_element_message (self, message);
      break;
    case GST_MESSAGE_LATENCY:
      gst_bin_recalculate_latency (GST_BIN (publish_output_peek_pipeline (self->output)));
      break;
    case GST_MESSAGE_EOS:
      if (self->state == ENDING)
        quit (self, self->status);
      break;
    default:
      break;
  }
  return G_SOURCE_CONTINUE;
}

/* Time */

static void
report_status (Session *self, guint64 now)
{
  const gdouble seconds = (gdouble) (now - self->report_ns) / 1e9;
  PublishStatus status = {.state = state_names[self->state],.decoder = self->decoder_name != NULL ? self->decoder_name : "none" };
  PublishLaneStats frames, packets, audio;
  guint64 bytes;

  publish_output_get_stats (self->output, PUBLISH_LANE_FRAMES, &frames);
  publish_output_get_stats (self->output, PUBLISH_LANE_PACKETS, &packets);
  publish_output_get_stats (self->output, PUBLISH_LANE_AUDIO, &audio);
  g_mutex_lock (&self->counts.lock);
  status.packets = self->counts.packets;
  status.skipped = self->counts.skipped;
  bytes = self->counts.bytes;
  g_mutex_unlock (&self->counts.lock);
  status.fps_in = (gdouble) (status.packets - self->before_packets) / seconds;
  status.fps_out = (gdouble) (frames.published - self->before_frames) / seconds;
  status.bits_per_second = (gdouble) (bytes - self->before_bytes) * 8 / seconds;
  status.frames = frames.published;
  status.frame_drops = frames.drops;
  status.copies = frames.copies;
  status.packets_published = packets.published;
  status.packet_drops = packets.drops;
  status.subscribers = frames.subscribers;
  status.packet_subscribers = packets.subscribers;
  status.audio_subscribers = audio.subscribers;
  status.connections = self->connections;
  status.uptime_s = (gdouble) (now - self->begun_ns) / 1e9;
  self->before_packets = status.packets;
  self->before_bytes = bytes;
  self->before_frames = frames.published;
  self->report_ns = now;
  check_report (self, publish_report_status (self->report, &status));
}

/* A camera that says nothing is gone, whatever its connection says. */
static void
look_for_stall (Session *self, guint64 now)
{
  guint64 arrivals;
  gchar *text;

  g_mutex_lock (&self->counts.lock);
  arrivals = self->counts.arrivals;
  g_mutex_unlock (&self->counts.lock);
  if (arrivals != self->seen_arrivals)
    self->packet_ns = now;
  self->seen_arrivals = arrivals;
  if (self->state == LIVE && now - self->state_ns > GOOD_NS)
    self->delay_s = 0;
  /* Another source may be slow because its readers are. */
  if (self->config->place.kind == PUBLISH_PLACE_FILE || (self->state == LIVE && !self->is_camera) || now - self->packet_ns < self->config->stall_ns)
    return;
  text = g_strdup_printf ("no picture for %.1f s", (gdouble) self->config->stall_ns / 1e9);
  lose (self, text, FALSE);
  g_free (text);
}

static gboolean
on_tick (gpointer data)
{
  Session *self = data;
  const guint64 now = now_ns ();

  if (self->state == CONNECTING || self->state == LIVE)
    look_for_stall (self, now);
  else if (self->state == DRAINING && now - self->state_ns > DRAIN_NS + self->config->input.latency_ms * (guint64) GST_MSECOND)
    lose (self, self->lost_text, FALSE);
  else if (self->state == WAITING && now >= self->due_ns)
    connect_source (self);
  if (now - self->report_ns >= self->config->interval_ns && self->state != ENDING)
    report_status (self, now);
  return G_SOURCE_CONTINUE;
}

/* The second time it is meant. */
static gboolean
on_signal (gint fd, GIOCondition condition, gpointer data)
{
  Session *self = data;

  self->signal_count += publish_signals_take (fd);
  if (self->signal_count > 1)
    quit (self, self->status);
  else if (self->signal_count > 0)
    end (self);
  return G_SOURCE_CONTINUE;
}

/* Running */

static int
open_channels (Session *self)
{
  PublishOutputConfig config = self->config->output;
  GError *error = NULL;
  int status = EXIT_CODE_NO_CHANNEL;

  config.sync = publish_place_is_live (&self->config->place) || self->config->input.realtime;
  self->output = publish_output_new (&config, &error);
  if (self->output != NULL)
    return EXIT_CODE_DONE;
  if (g_error_matches (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_SETTING))
    status = EXIT_CODE_USAGE;
  else if (g_error_matches (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_MISSING))
    status = EXIT_CODE_FAILED;
  publish_report_complain (self->report, error->message);
  g_error_free (error);
  return status;
}

static void
run_loop (Session *self, int signal_fd)
{
  const guint sources[] = { g_unix_fd_add (signal_fd, G_IO_IN, on_signal, self), g_timeout_add (TICK_MS, on_tick, self) };

  self->bus = gst_element_get_bus (publish_output_peek_pipeline (self->output));
  gst_bus_add_watch (self->bus, on_message, self);
  self->begun_ns = self->report_ns = now_ns ();
  connect_source (self);
  if (self->status == 0)
    g_main_loop_run (self->loop);
  gst_bus_remove_watch (self->bus);
  for (guint i = 0; i < G_N_ELEMENTS (sources); i++)
    g_source_remove (sources[i]);
  drop_input (self);
  gst_object_unref (self->bus);
}

/* Until the end of the source, a signal or a failure; the exit status. */
int
publish_session_run (const PublishSessionConfig *config, PublishReport *report)
{
  Session self = {.config = config,.report = report,.decoder = config->input.decoder };
  int status, signal_fd;

  status = open_channels (&self);
  if (status != EXIT_CODE_DONE)
    return status;
  signal_fd = publish_signals_catch ();
  if (signal_fd < 0) {
    publish_report_complain (report, g_strerror (errno));
    publish_output_free (self.output);
    return EXIT_CODE_FAILED;
  }
  g_mutex_init (&self.counts.lock);
  self.loop = g_main_loop_new (NULL, FALSE);
  run_loop (&self, signal_fd);
  publish_output_free (self.output);
  g_main_loop_unref (self.loop);
  g_mutex_clear (&self.counts.lock);
  g_free (self.decoder_name);
  g_free (self.lost_text);
  for (guint i = 0; i < PUBLISH_LANES; i++)
    g_free (self.notes[i]);
  return self.status;
}
