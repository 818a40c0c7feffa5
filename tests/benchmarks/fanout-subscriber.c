/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A subscriber's process: the source that is measured into fakesink, with a probe where its frames come out. */
#include "fanout.h"

#include <string.h>

#include "stamp-cuda.h"
#include "stamp-video.h"

#define RETRY_NS (20 * GST_MSECOND)

typedef struct
{
  FanoutChild *child;
  StampCuda *cuda;
  GstVideoInfo info;
  StampTracker tracker;
  guint64 frames;               /* that are measured */
  guint64 cpu_begin_ns;
  gboolean ready, slow, marked, finished;
} Subscriber;

static StampState
read_host (Subscriber * self, GstBuffer * buffer, Stamp * ret_stamp)
{
  GstVideoFrame frame;
  StampState state;

  if (!gst_video_frame_map (&frame, &self->info, buffer, GST_MAP_READ))
    return STAMP_ABSENT;
  state = stamp_video_read (&frame, ret_stamp);
  gst_video_frame_unmap (&frame);
  return state;
}

/* Frames of the user's source carry their number outside the pixels, so that there is nothing to verify. */
static StampState
read_offset (GstBuffer * buffer, Stamp * ret_stamp)
{
  ret_stamp->number = GST_BUFFER_OFFSET (buffer);
  return GST_BUFFER_OFFSET_IS_VALID (buffer) ? STAMP_WHOLE : STAMP_ABSENT;
}

static StampState
read_stamp (Subscriber * self, GstBuffer * buffer, Stamp * ret_stamp)
{
  gboolean stamped = self->child->control->config.source[0] == '\0';
  StampState state;

  if (stamped && self->cuda == NULL)
    state = read_host (self, buffer, ret_stamp);
  else
    state = stamped ? stamp_cuda_read (self->cuda, buffer, &self->info, ret_stamp) : read_offset (buffer, ret_stamp);
  if (state == STAMP_WHOLE)
    ret_stamp->time_ns = atomic_load (&self->child->control->times[ret_stamp->number % FANOUT_TIMES]);
  return state;
}

static void
finish (Subscriber * self)
{
  FanoutSubscriberResult *result = &self->child->control->subscribers[self->child->index];

  if (self->finished)
    return;
  self->finished = TRUE;
  if (self->cpu_begin_ns != 0)
    result->cpu_ns = fanout_cpu_ns () - self->cpu_begin_ns;
  fanout_memory_read (&result->end);
}

static void
measure (Subscriber * self, const Stamp * stamp, guint64 pad_ns, guint64 verified_ns)
{
  FanoutControl *control = self->child->control;
  guint index = self->child->index;

  if (self->frames < control->config.frames) {
    fanout_samples_pad (control, index)[self->frames] = fanout_elapsed (stamp->time_ns, pad_ns);
    fanout_samples_verified (control, index)[self->frames] = fanout_elapsed (stamp->time_ns, verified_ns);
    self->frames++;
  }
  if (!self->marked && stamp->number >= atomic_load (&control->first) + fanout_mark (&control->config)) {
    self->marked = TRUE;
    fanout_memory_read (&control->subscribers[index].mark);
  }
  if (stamp->number == atomic_load (&control->last)) {
    finish (self);
    fanout_child_tell (self->child, FANOUT_EVENT_DONE, NULL);
  }
}

/* Holds the frame as a slow consumer does. It must not change meanwhile. */
static void
dawdle (Subscriber * self, GstBuffer * buffer, const Stamp * stamp)
{
  Stamp again = { 0 };

  fanout_sleep_until (fanout_now_ns () + self->child->control->config.slow_ms * GST_MSECOND);
  if (read_stamp (self, buffer, &again) != STAMP_WHOLE || again.number != stamp->number)
    self->tracker.torn++;
}

static GstPadProbeReturn
on_buffer (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  guint64 pad_ns = fanout_now_ns ();
  Subscriber *self = user_data;
  GstBuffer *buffer = GST_PAD_PROBE_INFO_BUFFER (info);
  guint64 first = atomic_load (&self->child->control->first);
  Stamp stamp = { 0 };
  StampState state;
  guint64 verified_ns;

  (void) pad;
  state = read_stamp (self, buffer, &stamp);
  verified_ns = fanout_now_ns ();
  if (!self->ready) {
    self->ready = TRUE;
    fanout_child_tell (self->child, FANOUT_EVENT_READY, NULL);
  }
  if (first == 0 || self->finished || (state == STAMP_WHOLE && stamp.number < first && self->tracker.frames == 0))
    return GST_PAD_PROBE_OK;
  if (self->cpu_begin_ns == 0)
    self->cpu_begin_ns = fanout_cpu_ns ();
  stamp_count (&self->tracker, state, &stamp);
  if (state == STAMP_WHOLE) {
    if (self->tracker.frames == 1)
      self->tracker.missed = stamp.number - first;
    if (self->slow)
      dawdle (self, buffer, &stamp);
    measure (self, &stamp, pad_ns, verified_ns);
  }
  return GST_PAD_PROBE_OK;
}

static GstElement *
build (Subscriber * self, GError ** error)
{
  gchar *description = g_strdup_printf ("%s ! fakesink name=fanout-end sync=false async=false enable-last-sample=false",
      self->child->control->config.src);
  GstElement *pipeline = gst_parse_launch (description, error);
  GstElement *end;
  GstPad *sink, *src;

  g_free (description);
  if (pipeline == NULL)
    return NULL;
  end = gst_bin_get_by_name (GST_BIN (pipeline), "fanout-end");
  sink = gst_element_get_static_pad (end, "sink");
  src = gst_pad_get_peer (sink);
  gst_pad_add_probe (src, GST_PAD_PROBE_TYPE_BUFFER, on_buffer, self, NULL);
  gst_object_unref (src);
  gst_object_unref (sink);
  gst_object_unref (end);
  return pipeline;
}

static void
collect (Subscriber * self, GstElement * pipeline)
{
  FanoutControl *control = self->child->control;
  FanoutSubscriberResult *result = &control->subscribers[self->child->index];
  GstIterator *sources = gst_bin_iterate_sources (GST_BIN (pipeline));
  GValue value = G_VALUE_INIT;

  result->copies = -1;
  if (gst_iterator_next (sources, &value) == GST_ITERATOR_OK)
    result->copies = fanout_stat (g_value_get_object (&value), (const gchar * const[]) { "copied", "copies", NULL });
  g_value_unset (&value);
  gst_iterator_free (sources);
  result->frames = self->frames;
  result->torn = self->tracker.torn;
  result->absent = self->tracker.absent;
  result->repeated = self->tracker.repeated;
  result->stale = self->tracker.stale;
  result->reordered = self->tracker.reordered;
  result->missed = self->tracker.missed;
  if (self->tracker.frames == 0)
    result->missed = control->config.frames;
  else if (self->tracker.last < atomic_load (&control->last))
    result->missed += atomic_load (&control->last) - self->tracker.last;
}

/* One life of the pipeline; FALSE if it ended before its first frame and is worth another try. */
static gboolean
run_once (Subscriber * self, gchar ** ret_failure)
{
  GError *error = NULL;
  GstElement *pipeline = build (self, &error);
  gboolean stopped;

  if (pipeline == NULL) {
    *ret_failure = g_strdup (error->message);
    g_clear_error (&error);
    return TRUE;
  }
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  stopped = fanout_child_wait (self->child, pipeline, ret_failure);
  finish (self);
  collect (self, pipeline);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  self->finished = FALSE;
  return stopped || self->ready;
}

int
fanout_subscriber_main (FanoutChild * child)
{
  const FanoutConfig *config = &child->control->config;
  Subscriber self = {.child = child };
  guint64 deadline_ns = fanout_now_ns () + 10 * GST_SECOND;
  gchar *failure = NULL;

  gst_video_info_set_format (&self.info, gst_video_format_from_string (config->format), config->width, config->height);
  self.slow = child->index >= config->subscribers - MIN (config->slow, config->subscribers);
  if (config->cuda)
    self.cuda = stamp_cuda_new ();
  fanout_child_touch_samples (fanout_samples_pad (child->control, child->index), 2 * config->frames);
  while (!run_once (&self, &failure) && fanout_now_ns () < deadline_ns) {
    g_clear_pointer (&failure, g_free);
    fanout_sleep_until (fanout_now_ns () + RETRY_NS);
  }
  if (failure != NULL)
    fanout_child_tell (child, FANOUT_EVENT_FAILED, failure);
  stamp_cuda_free (self.cuda);
  g_free (failure);
  return failure != NULL;
}
