/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A bin that is put together as the source tells what it brings, on its streaming threads. Knows nothing of channels. */
#include "publish-input.h"

#include <string.h>

#include "publish-source.h"

/* A camera without key pictures is published as it is, after so long. */
#define KEY_US (20 * G_USEC_PER_SEC)
/* For what decodes slower than a camera sends. */
#define BACKLOG_NS (2 * (guint64) GST_SECOND)
/* Raw frames wait in slots that others could have. */
#define RAW_BACKLOG 2
/* A file waits for its decoder. */
#define FILE_BACKLOG_NS (200 * GST_MSECOND)

const gchar *const publish_lane_names[PUBLISH_LANES] = { "frames", "packets", "audio" };

struct _PublishInput
{
  PublishInputConfig config;
  GstElement *bin;

  GMutex lock;
  gboolean has_lane[PUBLISH_LANES];
  gboolean has_video;
  gboolean is_nvidia;

  gboolean is_shifted;          /* under the lock */
  guint64 shift;                /* what is added to running time; under the lock */

  /* Of the video's streaming thread */
  gboolean is_started;
  gint64 arrived_us;            /* the first packet */
  gboolean is_skipping;         /* until the next key picture */
  GstSegment segment;
};

static void
post (PublishInput *self, GstStructure *structure)
{
  gst_element_post_message (self->bin, gst_message_new_element (GST_OBJECT (self->bin), structure));
}

static void
post_failure (PublishInput *self, const gchar *text)
{
  post (self, gst_structure_new (PUBLISH_INPUT_FAILED, "text", G_TYPE_STRING, text, "final", G_TYPE_BOOLEAN, TRUE, NULL));
}

static void
post_lack (PublishInput *self, PublishLane lane, const gchar *text)
{
  post (self, gst_structure_new (PUBLISH_INPUT_LACKS, "text", G_TYPE_STRING, text, "lane", G_TYPE_INT, (gint) lane, NULL));
}

/* Time */

static GstClockTime
get_running_time (PublishInput *self)
{
  GstClock *clock = gst_element_get_clock (self->config.pipeline);
  GstClockTime now;

  if (clock == NULL)
    return 0;
  now = gst_clock_get_time (clock) - gst_element_get_base_time (self->config.pipeline);
  gst_object_unref (clock);
  return now;
}

/* Files begin at 0 each time they are read, the pipeline's time goes on. A live source is on the pipeline's time by itself. All streams of a
 * source move together. */
static guint64
find_shift (PublishInput *self, GstPad *pad)
{
  GstQuery *query = gst_query_new_latency ();
  gboolean is_live = FALSE;
  GstClockTime end;
  guint64 shift;

  if (gst_pad_query (pad, query))
    gst_query_parse_latency (query, &is_live, NULL, NULL);
  gst_query_unref (query);
  g_mutex_lock (&self->config.counts->lock);
  end = self->config.counts->end;
  g_mutex_unlock (&self->config.counts->lock);
  g_mutex_lock (&self->lock);
  if (!self->is_shifted) {
    self->is_shifted = TRUE;
    self->shift = is_live ? 0 : self->config.realtime ? MAX (end, get_running_time (self)) : end;
  }
  shift = self->shift;
  g_mutex_unlock (&self->lock);
  return shift;
}

static GstPadProbeReturn
on_segment (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  PublishInput *self = data;
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info), *moved;
  GstSegment segment;

  if (GST_EVENT_TYPE (event) != GST_EVENT_SEGMENT)
    return GST_PAD_PROBE_OK;
  gst_event_copy_segment (event, &segment);
  if (segment.format != GST_FORMAT_TIME)
    return GST_PAD_PROBE_OK;
  segment.base += find_shift (self, pad);
  moved = gst_event_new_segment (&segment);
  gst_event_set_seqnum (moved, gst_event_get_seqnum (event));
  gst_event_replace ((GstEvent **) &info->data, moved);
  gst_event_unref (moved);
  return GST_PAD_PROBE_OK;
}

/* The video's packets, as they come */

static void
count_packet (PublishInput *self, GstBuffer *buffer)
{
  PublishCounts *counts = self->config.counts;
  GstClockTime end = gst_segment_to_running_time (&self->segment, GST_FORMAT_TIME, GST_BUFFER_DTS_OR_PTS (buffer));

  if (GST_CLOCK_TIME_IS_VALID (end) && GST_BUFFER_DURATION_IS_VALID (buffer))
    end += GST_BUFFER_DURATION (buffer);
  g_mutex_lock (&counts->lock);
  counts->packets++;
  counts->bytes += gst_buffer_get_size (buffer);
  if (GST_CLOCK_TIME_IS_VALID (end))
    counts->end = MAX (counts->end, end);
  g_mutex_unlock (&counts->lock);
}

static void
tell_start (PublishInput *self)
{
  GstElement *decoder = gst_bin_get_by_name (GST_BIN (self->bin), "decoder");
  const gchar *name = decoder == NULL ? "none" : GST_OBJECT_NAME (gst_element_get_factory (decoder));

  self->is_started = TRUE;
  post (self, gst_structure_new (PUBLISH_INPUT_STARTED, "decoder", G_TYPE_STRING, name, NULL));
  gst_clear_object (&decoder);
}

/* Some cameras send pictures without a time. It is then the one at which they come. */
static void
ensure_time (PublishInput *self, GstPadProbeInfo *info)
{
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  const GstClockTime now = get_running_time (self);

  if (GST_BUFFER_PTS_IS_VALID (buffer) || GST_BUFFER_DTS_IS_VALID (buffer) || self->segment.format != GST_FORMAT_TIME)
    return;
  if (publish_place_is_live (self->config.place) || self->config.realtime) {
    buffer = gst_buffer_make_writable (buffer);
    GST_BUFFER_PTS (buffer) = gst_segment_position_from_running_time (&self->segment, GST_FORMAT_TIME, now);
    info->data = buffer;
  }
}

/* Who connects to a camera gets what it sends just then. What comes before the first key picture nobody can decode, and behind what came from an
 * earlier connection it would look as if it belonged there. */
static gboolean
is_too_early (PublishInput *self, GstBuffer *buffer)
{
  const gint64 now = g_get_monotonic_time ();

  g_mutex_lock (&self->config.counts->lock);
  self->config.counts->arrivals++;
  g_mutex_unlock (&self->config.counts->lock);
  if (self->is_started || !publish_place_is_live (self->config.place) || !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT))
    return FALSE;
  if (self->arrived_us == 0)
    self->arrived_us = now;
  return now - self->arrived_us < KEY_US;
}

static GstPadProbeReturn
on_packet (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  PublishInput *self = data;

  if (info->type & GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM) {
    const GstPadProbeReturn result = on_segment (pad, info, data);
    if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_SEGMENT)
      gst_event_copy_segment (GST_PAD_PROBE_INFO_EVENT (info), &self->segment);
    return result;
  }
  if (is_too_early (self, GST_PAD_PROBE_INFO_BUFFER (info)))
    return GST_PAD_PROBE_DROP;
  ensure_time (self, info);
  count_packet (self, GST_PAD_PROBE_INFO_BUFFER (info));
  if (!self->is_started)
    tell_start (self);
  return GST_PAD_PROBE_OK;
}

/* A camera does not wait for a slow decoder, and neither do the packets: what the decoder has no time for is left out, from here to a key
 * picture, so that it never sees a hole. */
static GstPadProbeReturn
on_packet_to_decode (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  PublishInput *self = data;
  GstElement *queue = gst_pad_get_parent_element (pad);
  guint64 backlog_ns = 0;

  g_object_get (queue, "current-level-time", &backlog_ns, NULL);
  gst_object_unref (queue);
  if (backlog_ns > BACKLOG_NS + self->config.latency_ms * (guint64) GST_MSECOND)
    self->is_skipping = TRUE;
  else if (!GST_BUFFER_FLAG_IS_SET (GST_PAD_PROBE_INFO_BUFFER (info), GST_BUFFER_FLAG_DELTA_UNIT))
    self->is_skipping = FALSE;
  if (!self->is_skipping)
    return GST_PAD_PROBE_OK;
  g_mutex_lock (&self->config.counts->lock);
  self->config.counts->skipped++;
  g_mutex_unlock (&self->config.counts->lock);
  return GST_PAD_PROBE_DROP;
}

/* Building */

/* Puts one more element behind `pad`, which becomes its source pad if it has one. */
static gboolean
append (PublishInput *self, GstPad **pad, GstElement *element)
{
  GstPad *sink = gst_element_get_static_pad (element, "sink");
  gboolean linked;

  gst_bin_add (GST_BIN (self->bin), element);
  linked = gst_pad_link (*pad, sink) == GST_PAD_LINK_OK && gst_element_sync_state_with_parent (element);
  gst_object_unref (sink);
  gst_object_unref (*pad);
  *pad = gst_element_get_static_pad (element, "src");
  return linked;
}

static gboolean
append_by_name (PublishInput *self, GstPad **pad, const gchar *factory)
{
  GstElement *element = gst_element_factory_make (factory, NULL);
  gchar *text;

  if (element != NULL)
    return append (self, pad, element);
  text = g_strdup_printf ("GStreamer's element %s is not installed here, and this source needs it", factory);
  post_failure (self, text);
  g_free (text);
  return FALSE;
}

/* A file waits when the queue is full. A camera does not: packets for a decoder are left out with care before that, of others the oldest go. */
static gboolean
append_queue (PublishInput *self, GstPad **pad, gboolean is_for_decoder, guint limit_buffers)
{
  const gboolean is_live = publish_place_is_live (self->config.place);
  const guint64 live_limit_ns = is_for_decoder ? 0 : BACKLOG_NS + self->config.latency_ms * (guint64) GST_MSECOND;
  GstElement *queue = gst_element_factory_make ("queue", NULL);

  g_object_set (queue, "max-size-buffers", limit_buffers, "max-size-bytes", 0, "max-size-time", is_live ? live_limit_ns : (guint64) FILE_BACKLOG_NS, NULL);
  if (is_live && !is_for_decoder)
    gst_util_set_object_arg (G_OBJECT (queue), "leaky", "downstream");
  return append (self, pad, queue);
}

static void
show_pad (PublishInput *self, GstPad *pad, PublishLane lane)
{
  GstPad *ghost = gst_ghost_pad_new (publish_lane_names[lane], pad);

  gst_pad_set_active (ghost, TRUE);
  self->has_lane[lane] = TRUE;
  gst_element_add_pad (self->bin, ghost);
}

/* Nobody wants this stream, but its demuxer is to go on. */
static void
sink_pad (PublishInput *self, GstPad *pad)
{
  GstElement *sink = gst_element_factory_make ("fakesink", NULL);
  GstPad *end = gst_object_ref (pad);

  g_object_set (sink, "async", FALSE, "sync", FALSE, NULL);
  append (self, &end, sink);
  gst_clear_object (&end);
}

/* H.264 and H.265 as byte stream with its parameter sets before each key picture: whoever joins there can begin. */
static gboolean
append_parser (PublishInput *self, GstPad **pad, GstCaps *caps)
{
  const gchar *media = gst_structure_get_name (gst_caps_get_structure (caps, 0));
  const gboolean is_h264 = g_str_equal (media, "video/x-h264");
  GstElement *parser, *filter;
  GstCaps *form;

  if (!is_h264 && !g_str_equal (media, "video/x-h265"))
    return TRUE;
  if (!append_by_name (self, pad, is_h264 ? "h264parse" : "h265parse"))
    return FALSE;
  parser = gst_pad_get_parent_element (*pad);
  g_object_set (parser, "config-interval", -1, NULL);
  gst_object_unref (parser);
  filter = gst_element_factory_make ("capsfilter", NULL);
  form = gst_caps_new_simple (media, "stream-format", G_TYPE_STRING, "byte-stream", "alignment", G_TYPE_STRING, "au", NULL);
  g_object_set (filter, "caps", form, NULL);
  gst_caps_unref (form);
  return append (self, pad, filter);
}

static gboolean
append_decoder (PublishInput *self, GstPad **pad, GstCaps *caps)
{
  GError *error = NULL;
  GstElement *decoder = publish_decoder_new (self->config.decoder, caps, &error);

  if (decoder == NULL) {
    post_failure (self, error->message);
    g_error_free (error);
    return FALSE;
  }
  gst_object_set_name (GST_OBJECT (decoder), "decoder");
  self->is_nvidia = publish_decoder_is_nvidia (decoder);
  return append (self, pad, decoder);
}

static gboolean
build_frames (PublishInput *self, GstPad *from, GstCaps *caps, gboolean is_raw)
{
  const gboolean is_live = publish_place_is_live (self->config.place);
  GstPad *pad = gst_object_ref (from), *in;
  gboolean good = append_queue (self, &pad, !is_raw, is_raw ? RAW_BACKLOG : 0);

  if (good && is_live && !is_raw) {
    GstElement *queue = gst_pad_get_parent_element (pad);
    in = gst_element_get_static_pad (queue, "sink");
    gst_pad_add_probe (in, GST_PAD_PROBE_TYPE_BUFFER, on_packet_to_decode, self, NULL);
    gst_object_unref (in);
    gst_object_unref (queue);
  }
  good = good && (is_raw || append_decoder (self, &pad, caps));
  if (good)
    show_pad (self, pad, PUBLISH_LANE_FRAMES);
  gst_clear_object (&pad);
  return good;
}

static gboolean
build_lane (PublishInput *self, GstPad *from, PublishLane lane)
{
  GstPad *pad = gst_object_ref (from);
  const gboolean good = append_queue (self, &pad, FALSE, 0);

  if (good)
    show_pad (self, pad, lane);
  gst_clear_object (&pad);
  return good;
}

static GstPad *
request_branch (GstElement *tee)
{
  return gst_element_request_pad_simple (tee, "src_%u");
}

static gboolean
build_branches (PublishInput *self, GstPad **pad, GstCaps *caps, gboolean is_raw)
{
  const gboolean *lanes = self->config.lanes;
  GstElement *tee = gst_element_factory_make ("tee", NULL);
  gboolean good;
  GstPad *branch;

  g_object_set (tee, "allow-not-linked", TRUE, NULL);
  good = append (self, pad, tee);
  if (good && lanes[PUBLISH_LANE_PACKETS] && !is_raw) {
    branch = request_branch (tee);
    good = build_lane (self, branch, PUBLISH_LANE_PACKETS);
    gst_object_unref (branch);
  }
  if (good && lanes[PUBLISH_LANE_FRAMES]) {
    branch = request_branch (tee);
    good = build_frames (self, branch, caps, is_raw);
    gst_object_unref (branch);
  }
  return good;
}

static void
build_video (PublishInput *self, GstPad *from, GstCaps *caps)
{
  const gboolean is_raw = g_str_equal (gst_structure_get_name (gst_caps_get_structure (caps, 0)), "video/x-raw");
  GstPad *pad = gst_object_ref (from);
  gboolean good = is_raw || append_parser (self, &pad, caps);

  self->has_video = TRUE;
  if (is_raw && self->config.lanes[PUBLISH_LANE_PACKETS])
    post_lack (self, PUBLISH_LANE_PACKETS, "the source brings raw video: there are no packets to publish");
  if (good) {
    gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_packet, self, NULL);
    /* Frames that come raw go straight to the sink, whose pool their source then writes to. */
    good = is_raw ? !self->config.lanes[PUBLISH_LANE_FRAMES] || build_frames (self, pad, caps, TRUE) : build_branches (self, &pad, caps, FALSE);
  }
  if (!good)
    post_failure (self, "the elements for this video cannot be linked");
  gst_clear_object (&pad);
}

static void
take_stream (GstPad *pad, gpointer data)
{
  PublishInput *self = data;
  GstCaps *caps = gst_pad_get_current_caps (pad);
  const gchar *media;

  if (caps == NULL)
    caps = gst_pad_query_caps (pad, NULL);
  media = gst_caps_is_any (caps) || gst_caps_is_empty (caps) ? "" : gst_structure_get_name (gst_caps_get_structure (caps, 0));
  if ((g_str_has_prefix (media, "video/") || g_str_has_prefix (media, "image/")) && !self->has_video)
    build_video (self, pad, caps);
  else if (g_str_has_prefix (media, "audio/") && self->config.lanes[PUBLISH_LANE_AUDIO] && !self->has_lane[PUBLISH_LANE_AUDIO]) {
    gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_segment, self, NULL);
    build_lane (self, pad, PUBLISH_LANE_AUDIO);
  } else {
    if (g_str_has_prefix (media, "audio/") && !self->config.lanes[PUBLISH_LANE_AUDIO])
      post_lack (self, PUBLISH_LANE_AUDIO, "the source has sound, which is not published; --audio does that");
    sink_pad (self, pad);
  }
  gst_caps_unref (caps);
}

static void
take_end_of_streams (gpointer data)
{
  PublishInput *self = data;

  if (!self->has_video)
    post_failure (self, "there is no video in it");
}

static void
take_silent_sound (gpointer data)
{
  post_lack (data, PUBLISH_LANE_AUDIO, "the source has sound, which is not published; --audio does that");
}

/* A source that cannot be made is an error; what goes wrong later is told on the bus. */
PublishInput *
publish_input_new (const PublishInputConfig *config, GError **error)
{
  const PublishSourceConfig source = {.place = config->place,.latency_ms = config->latency_ms,.transport = config->transport,.caps = config->caps,
    .wants_audio = config->lanes[PUBLISH_LANE_AUDIO]
  };
  PublishInput *self = g_new0 (PublishInput, 1);
  const PublishSourceCallbacks callbacks = { take_stream, take_end_of_streams, take_silent_sound, self };

  self->config = *config;
  g_mutex_init (&self->lock);
  self->bin = gst_object_ref_sink (gst_bin_new (NULL));
  gst_segment_init (&self->segment, GST_FORMAT_UNDEFINED);
  if (!publish_source_add (GST_BIN (self->bin), &source, &callbacks, error)) {
    publish_input_free (self);
    return NULL;
  }
  return self;
}

/* Once it is out of its pipeline. */
void
publish_input_free (PublishInput *self)
{
  gst_element_set_state (self->bin, GST_STATE_NULL);
  gst_object_unref (self->bin);
  g_mutex_clear (&self->lock);
  g_free (self);
}

GstElement *
publish_input_peek_bin (const PublishInput *self)
{
  return self->bin;
}

gboolean
publish_input_decodes_by_nvidia (const PublishInput *self)
{
  return self->is_nvidia;
}

/* A stream over HTTP without a length is a camera: when it ends, it was cut. */
gboolean
publish_input_is_endless (const PublishInput *self)
{
  GstElement *source;
  gint64 byte_count = -1;

  if (!g_str_has_prefix (self->config.place->location, "http"))
    return FALSE;
  source = gst_bin_get_by_interface (GST_BIN (self->bin), GST_TYPE_URI_HANDLER);
  if (source == NULL || !gst_element_query_duration (source, GST_FORMAT_BYTES, &byte_count))
    byte_count = -1;
  gst_clear_object (&source);
  return byte_count <= 0;
}
