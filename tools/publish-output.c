/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One pipeline that plays from beginning to end, with a sink for each channel. Inputs are put before them and taken away again; the sinks, and so
 * their subscribers, see nothing but a pause. The end of an input is held back from the sinks: only publish_output_end() is theirs. */
#include "publish-output.h"

#include <cuframes.h>
#include <errno.h>

/* On the bus, as an element message of the pipeline: every lane of the input has come to its end. */
#define DRAINED "cuframes-publish-drained"

G_DEFINE_QUARK (publish-output-error-quark, publish_output_error)

typedef struct
{
  PublishOutput *output;
  GstElement *sink;             /* (nullable): not owned, in the pipeline */
  GstPad *pad;                  /* (nullable): the sink's */
  gboolean is_attached;         /* under the lock */
  gboolean is_drained;          /* under the lock */
} Lane;

struct _PublishOutput
{
  GstElement *pipeline;
  GstElement *input;            /* (nullable): not owned, in the pipeline */
  gulong pad_added;
  GMutex lock;
  Lane lanes[PUBLISH_LANES];
  gboolean is_ending;           /* under the lock */
};

/* Whether this was the last lane of its input to end. */
static gboolean
mark_drained (Lane *lane)
{
  PublishOutput *self = lane->output;
  gboolean all = TRUE;

  lane->is_drained = TRUE;
  for (guint i = 0; i < PUBLISH_LANES; i++)
    all = all && (!self->lanes[i].is_attached || self->lanes[i].is_drained);
  return all;
}

static GstPadProbeReturn
on_event (GstPad *pad, GstPadProbeInfo *info, gpointer data)
{
  Lane *lane = data;
  PublishOutput *self = lane->output;
  gboolean is_ending, is_last = FALSE;

  if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) != GST_EVENT_EOS)
    return GST_PAD_PROBE_OK;
  g_mutex_lock (&self->lock);
  is_ending = self->is_ending;
  if (!is_ending)
    is_last = mark_drained (lane);
  g_mutex_unlock (&self->lock);
  if (is_last)
    gst_element_post_message (self->pipeline, gst_message_new_element (GST_OBJECT (self->pipeline),
            gst_structure_new (DRAINED, "input", GST_TYPE_ELEMENT, self->input, NULL)));
  return is_ending ? GST_PAD_PROBE_OK : GST_PAD_PROBE_DROP;
}

/* Opening */

static gboolean
refuse_setting (const PublishSetting *setting, const GParamSpec *spec, GError **error)
{
  if (G_IS_PARAM_SPEC_UINT (spec))
    g_set_error (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_SETTING, "--%s takes a number from %u to %u: %s", setting->option,
        G_PARAM_SPEC_UINT (spec)->minimum, G_PARAM_SPEC_UINT (spec)->maximum, setting->value);
  else
    g_set_error (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_SETTING, "--%s does not take this: %s", setting->option, setting->value);
  return FALSE;
}

/* What one kind of channel has no use for it does not have. */
static gboolean
apply_setting (GstElement *sink, const PublishSetting *setting, GError **error)
{
  GParamSpec *spec = g_object_class_find_property (G_OBJECT_GET_CLASS (sink), setting->property);
  GValue value = G_VALUE_INIT;
  gboolean good;

  if (spec == NULL)
    return TRUE;
  g_value_init (&value, spec->value_type);
  good = gst_value_deserialize (&value, setting->value) && !g_param_value_validate (spec, &value);
  if (good)
    g_object_set_property (G_OBJECT (sink), setting->property, &value);
  g_value_unset (&value);
  return good || refuse_setting (setting, spec, error);
}

static gboolean
check_name (const gchar *channel, GError **error)
{
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  const int r = cuframes_channel_path (channel, path, sizeof path);

  if (r != 0)
    g_set_error (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_SETTING, "%s: %s",
        r == -EINVAL ? "the name of a channel has no slash and starts with no dot or @" : "the path of the channel's socket is too long", channel);
  return r == 0;
}

static gboolean
add_lane (PublishOutput *self, PublishLane number, const PublishOutputConfig *config, GError **error)
{
  static const gchar *const suffixes[] = { "", ".packets", ".audio" };
  Lane *lane = &self->lanes[number];
  gboolean good;
  gchar *channel;

  lane->sink = gst_element_factory_make ("cuframessink", publish_lane_names[number]);
  if (lane->sink == NULL) {
    g_set_error (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_MISSING, "GStreamer's element cuframessink is not installed here; see GST_PLUGIN_PATH");
    return FALSE;
  }
  gst_bin_add (GST_BIN (self->pipeline), lane->sink);
  lane->pad = gst_element_get_static_pad (lane->sink, "sink");
  gst_pad_add_probe (lane->pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_event, lane, NULL);
  channel = g_strconcat (config->channel, suffixes[number], NULL);
  g_object_set (lane->sink, "channel", channel, "sync", config->sync, "async", FALSE, NULL);
  good = check_name (channel, error);
  g_free (channel);
  for (guint i = 0; good && i < config->setting_count; i++)
    good = apply_setting (lane->sink, &config->settings[i], error);
  return good;
}

/* The sinks say on the bus why they do not open. */
static gboolean
play (PublishOutput *self, GError **error)
{
  GstBus *bus;
  GstMessage *message;
  GError *found = NULL;

  if (gst_element_set_state (self->pipeline, GST_STATE_PLAYING) != GST_STATE_CHANGE_FAILURE)
    return TRUE;
  bus = gst_element_get_bus (self->pipeline);
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  if (message != NULL)
    gst_message_parse_error (message, &found, NULL);
  g_set_error_literal (error, PUBLISH_OUTPUT_ERROR, PUBLISH_OUTPUT_ERROR_CHANNEL, found != NULL ? found->message : "the channels cannot be opened");
  g_clear_error (&found);
  g_clear_pointer (&message, gst_message_unref);
  gst_object_unref (bus);
  return FALSE;
}

PublishOutput *
publish_output_new (const PublishOutputConfig *config, GError **error)
{
  PublishOutput *self = g_new0 (PublishOutput, 1);
  GstClock *clock = gst_system_clock_obtain ();
  gboolean good = TRUE;

  g_mutex_init (&self->lock);
  self->pipeline = gst_object_ref_sink (gst_pipeline_new ("publish"));
  /* Inputs come and go; the clock stays. */
  gst_pipeline_use_clock (GST_PIPELINE (self->pipeline), clock);
  gst_object_unref (clock);
  for (guint i = 0; i < PUBLISH_LANES; i++) {
    self->lanes[i].output = self;
    if (good && config->lanes[i])
      good = add_lane (self, i, config, error);
  }
  if (good && play (self, error))
    return self;
  publish_output_free (self);
  return NULL;
}

void
publish_output_free (PublishOutput *self)
{
  gst_element_set_state (self->pipeline, GST_STATE_NULL);
  for (guint i = 0; i < PUBLISH_LANES; i++)
    gst_clear_object (&self->lanes[i].pad);
  gst_object_unref (self->pipeline);
  g_mutex_clear (&self->lock);
  g_free (self);
}

GstElement *
publish_output_peek_pipeline (const PublishOutput *self)
{
  return self->pipeline;
}

/* Inputs */

/* On a streaming thread of the input, before anything flows. */
static void
on_pad_added (GstElement *input, GstPad *pad, gpointer data)
{
  PublishOutput *self = data;

  for (guint i = 0; i < PUBLISH_LANES; i++) {
    Lane *lane = &self->lanes[i];
    if (lane->pad == NULL || !g_str_equal (GST_PAD_NAME (pad), publish_lane_names[i]))
      continue;
    g_mutex_lock (&self->lock);
    lane->is_attached = TRUE;
    g_mutex_unlock (&self->lock);
    if (gst_pad_link (pad, lane->pad) != GST_PAD_LINK_OK)
      GST_ELEMENT_ERROR (lane->sink, STREAM, WRONG_TYPE, ("This stream cannot be published"), (NULL));
  }
}

/* A bin that is not playing yet; it is now. */
void
publish_output_attach (PublishOutput *self, GstElement *bin)
{
  self->input = bin;
  self->pad_added = g_signal_connect (bin, "pad-added", G_CALLBACK (on_pad_added), self);
  gst_bin_add (GST_BIN (self->pipeline), bin);
  gst_element_sync_state_with_parent (bin);
}

static void
flush (Lane *lane, gboolean start)
{
  if (lane->pad != NULL && lane->is_attached)
    gst_pad_send_event (lane->pad, start ? gst_event_new_flush_start () : gst_event_new_flush_stop (FALSE));
}

/* Stops the bin and takes it away. A sink that waits would hold its threads: a flush ends the wait, and does not cross to the subscribers. */
void
publish_output_detach (PublishOutput *self)
{
  if (self->input == NULL)
    return;
  g_signal_handler_disconnect (self->input, self->pad_added);
  for (guint i = 0; i < PUBLISH_LANES; i++)
    flush (&self->lanes[i], TRUE);
  gst_element_set_locked_state (self->input, TRUE);
  gst_element_set_state (self->input, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (self->pipeline), self->input);
  self->input = NULL;
  for (guint i = 0; i < PUBLISH_LANES; i++) {
    flush (&self->lanes[i], FALSE);
    g_mutex_lock (&self->lock);
    self->lanes[i].is_attached = self->lanes[i].is_drained = FALSE;
    g_mutex_unlock (&self->lock);
  }
}

/* A channel that has nothing to carry is not left open. */
void
publish_output_close_lane (PublishOutput *self, PublishLane number)
{
  Lane *lane = &self->lanes[number];

  if (lane->sink == NULL || lane->is_attached)
    return;
  gst_element_set_state (lane->sink, GST_STATE_NULL);
  gst_bin_remove (GST_BIN (self->pipeline), lane->sink);
  lane->sink = NULL;
  gst_clear_object (&lane->pad);
}

/* Tells the subscribers that this was all. The pipeline posts EOS when they were told. */
void
publish_output_end (PublishOutput *self)
{
  publish_output_detach (self);
  g_mutex_lock (&self->lock);
  self->is_ending = TRUE;
  g_mutex_unlock (&self->lock);
  for (guint i = 0; i < PUBLISH_LANES; i++) {
    GstPad *pad = self->lanes[i].pad;
    GstEvent *start;
    GstSegment segment;
    if (pad == NULL)
      continue;
    start = gst_pad_get_sticky_event (pad, GST_EVENT_STREAM_START, 0);
    if (start == NULL)
      gst_pad_send_event (pad, gst_event_new_stream_start (publish_lane_names[i]));
    gst_clear_event (&start);
    gst_segment_init (&segment, GST_FORMAT_TIME);
    gst_pad_send_event (pad, gst_event_new_segment (&segment));
    gst_pad_send_event (pad, gst_event_new_eos ());
  }
}

/* Whether an element message says that the input is drained, and not one before it. */
gboolean
publish_output_is_drain_of (const GstStructure *structure, GstElement *bin)
{
  const GValue *input = gst_structure_has_name (structure, DRAINED) ? gst_structure_get_value (structure, "input") : NULL;

  return input != NULL && g_value_get_object (input) == bin;
}

void
publish_output_get_stats (PublishOutput *self, PublishLane number, PublishLaneStats *ret_stats)
{
  GstStructure *stats = NULL;

  *ret_stats = (PublishLaneStats) { 0 };
  if (self->lanes[number].sink == NULL)
    return;
  g_object_get (self->lanes[number].sink, "stats", &stats, NULL);
  if (stats == NULL)
    return;
  ret_stats->is_open = TRUE;
  gst_structure_get_uint64 (stats, "frames", &ret_stats->published);
  gst_structure_get_uint64 (stats, "drops", &ret_stats->drops);
  gst_structure_get_uint64 (stats, "copies", &ret_stats->copies);
  gst_structure_get_uint (stats, "num-subscribers", &ret_stats->subscribers);
  gst_structure_free (stats);
}
