/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A subscriber's process: cuframessrc, and a probe at its pad that reads every frame's stamp. */
#include "chaos.h"

#include <time.h>

#include "stamp-cuda.h"
#include "stamp-video.h"

#define HOLD_NS GST_SECOND
/* Bad frames that a process speaks of; all of them are counted. */
#define REPORTS 10

typedef struct
{
  GstBuffer *buffer;
  GstVideoInfo info;
  Stamp stamp;
  guint64 until_ns;
} Held;

typedef struct
{
  ChaosChild *child;
  ChaosSubscriber *counts;
  ChaosKind kind;
  StampCuda *cuda;
  GMutex reading;               /* frames on the GPU are read from two threads */
  GstVideoInfo info, end_info;
  StampTracker tracker;
  guint64 source;               /* newest life of the publisher that was seen */
  guint32 stops;
  GQueue held;
  guint held_most;
  guint reports;
} Subscriber;

static StampState
read_host (const GstVideoInfo * info, GstBuffer * buffer, gboolean every_byte, Stamp * ret_stamp)
{
  GstVideoFrame frame;
  StampImage image;
  StampState state;

  if (!gst_video_frame_map (&frame, info, buffer, GST_MAP_READ))
    return STAMP_ABSENT;
  stamp_video_image (&frame, &image);
  state = every_byte ? stamp_read_filled (&image, ret_stamp) : stamp_read (&image, ret_stamp);
  gst_video_frame_unmap (&frame);
  return state;
}

static StampState
read_stamp (Subscriber * self, const GstVideoInfo * info, GstBuffer * buffer, Stamp * ret_stamp)
{
  StampState state;

  if (self->child->shared->config.packets)
    return chaos_packet_read (buffer, ret_stamp);
  if (self->cuda == NULL)
    return read_host (info, buffer, self->child->shared->config.every_byte, ret_stamp);
  g_mutex_lock (&self->reading);
  state = stamp_cuda_read (self->cuda, buffer, info, ret_stamp);
  g_mutex_unlock (&self->reading);
  return state;
}

static gboolean
is_same (Subscriber * self, const GstVideoInfo * info, GstBuffer * buffer, const Stamp * stamp)
{
  Stamp now = { 0 };
  StampState state = read_stamp (self, info, buffer, &now);
  gboolean same = state == STAMP_WHOLE && now.source == stamp->source && now.number == stamp->number;

  atomic_fetch_add (&self->counts->rechecked, 1);
  if (same)
    return TRUE;
  atomic_fetch_add (&self->counts->changed, 1);
  if (self->reports++ >= REPORTS)
    return FALSE;
  g_printerr ("subscriber %u: frame %" G_GUINT64_FORMAT " of life %" G_GUINT64_FORMAT " changed: state %d, now frame %" G_GUINT64_FORMAT
      " of life %" G_GUINT64_FORMAT "\n", self->child->index, stamp->number, stamp->source, state, now.number, now.source);
  return FALSE;
}

/* What a stop has made longer says nothing, nor does a slow one's way through the frames that the publisher before left behind. */
static void
note_time (Subscriber * self, const Stamp * stamp, guint64 now_ns)
{
  guint32 stops = atomic_load (&self->counts->stops);
  guint64 last_ns = atomic_load (&self->counts->last_ns);
  gboolean undisturbed = self->tracker.frames > 0 && stops == self->stops;
  guint64 first_ns = atomic_load (&self->child->shared->publisher.first_ns[stamp->source % CHAOS_LIVES]);

  if (undisturbed && stamp->source > self->source && self->kind != CHAOS_KIND_SLOW)
    chaos_times_add (&self->child->shared->resumes, now_ns > first_ns ? now_ns - first_ns : 0);
  else if (undisturbed && stamp->source == self->source && now_ns - last_ns > atomic_load (&self->counts->silence_ns))
    atomic_store (&self->counts->silence_ns, now_ns - last_ns);
  atomic_store (&self->counts->last_ns, now_ns);
  self->stops = stops;
}

static void
report (Subscriber * self, const gchar * what, const Stamp * stamp)
{
  if (self->reports++ >= REPORTS)
    return;
  g_printerr ("subscriber %u: %s: frame %" G_GUINT64_FORMAT " of life %" G_GUINT64_FORMAT ", after %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
      "\n", self->child->index, what, stamp->number, stamp->source, self->tracker.last, self->source);
}

static void
count_order (Subscriber * self, const Stamp * stamp)
{
  ChaosSubscriber *counts = self->counts;
  guint64 missed = self->tracker.missed;

  if (stamp->source < self->source) {
    report (self, "stale, from a publisher that is gone", stamp);
    atomic_fetch_add (&counts->stale, 1);
    return;
  }
  switch (stamp_track (&self->tracker, stamp)) {
    case STAMP_REPEATED:
      report (self, "repeated", stamp);
      atomic_fetch_add (&counts->repeated, 1);
      break;
    case STAMP_STALE:
      report (self, "stale", stamp);
      atomic_fetch_add (&counts->stale, 1);
      break;
    case STAMP_REORDERED:
      report (self, "reordered", stamp);
      atomic_fetch_add (&counts->reordered, 1);
      break;
    case STAMP_RESTARTED:
      atomic_fetch_add (&counts->restarts, 1);
      break;
    default:
      break;
  }
  self->source = stamp->source;
  atomic_store (&counts->life, stamp->source);
  atomic_fetch_add (&counts->missed, self->tracker.missed - missed);
}

static void
give_back (Subscriber * self, guint64 now_ns)
{
  Held *held;

  while ((held = g_queue_peek_head (&self->held)) != NULL && held->until_ns <= now_ns) {
    is_same (self, &held->info, held->buffer, &held->stamp);
    gst_buffer_unref (held->buffer);
    g_free (g_queue_pop_head (&self->held));
  }
}

static void
hold (Subscriber * self, GstBuffer * buffer, const Stamp * stamp, guint64 now_ns)
{
  Held *held;

  give_back (self, now_ns);
  if (self->held.length >= self->held_most)
    return;
  held = g_new (Held, 1);
  *held = (Held) {.buffer = gst_buffer_ref (buffer),.info = self->info,.stamp = *stamp,.until_ns = now_ns + HOLD_NS };
  g_queue_push_tail (&self->held, held);
}

/* A stream is begun, and gone on with after a gap, at a key point. */
static void
count_keyless (Subscriber * self, GstBuffer * buffer, const Stamp * stamp)
{
  const gboolean follows = self->tracker.frames > 0 && stamp->source == self->source && stamp->number == self->tracker.last + 1;

  if (!self->child->shared->config.packets || follows || !GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT))
    return;
  report (self, "no key point after a gap", stamp);
  atomic_fetch_add (&self->counts->keyless, 1);
}

static void
check (Subscriber * self, GstBuffer * buffer)
{
  ChaosSubscriber *counts = self->counts;
  guint64 now_ns = chaos_now_ns ();
  Stamp stamp = { 0 };
  StampState state = read_stamp (self, &self->info, buffer, &stamp);

  if (state == STAMP_WHOLE) {
    count_keyless (self, buffer, &stamp);
    note_time (self, &stamp, now_ns);
    count_order (self, &stamp);
    if (self->kind == CHAOS_KIND_HOLD)
      hold (self, buffer, &stamp, now_ns);
  } else {
    report (self, state == STAMP_TORN ? "torn" : "without a stamp", &stamp);
    atomic_fetch_add (state == STAMP_TORN ? &counts->torn : &counts->absent, 1);
  }
  atomic_fetch_add (&counts->received, 1);
  atomic_store (&counts->ready, 1);
}

static GstPadProbeReturn
take_caps (const Subscriber * self, GstPadProbeInfo * info, GstVideoInfo * video_info)
{
  GstCaps *caps;

  if (!self->child->shared->config.packets && GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_CAPS) {
    gst_event_parse_caps (GST_PAD_PROBE_INFO_EVENT (info), &caps);
    gst_video_info_from_caps (video_info, caps);
  }
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
on_arrival (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  Subscriber *self = data;

  if (!(info->type & GST_PAD_PROBE_TYPE_BUFFER))
    return take_caps (self, info, &self->info);
  check (self, GST_PAD_PROBE_INFO_BUFFER (info));
  return GST_PAD_PROBE_OK;
}

/* Behind the queue: the frame has waited, waits again as work on it would take its time, and must be what it was. */
static GstPadProbeReturn
on_end (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  Subscriber *self = data;
  guint64 wait_ns;
  Stamp stamp = { 0 };

  if (!(info->type & GST_PAD_PROBE_TYPE_BUFFER))
    return take_caps (self, info, &self->end_info);
  wait_ns = chaos_random (&self->child->random, 5, 100) * GST_MSECOND;
  if (read_stamp (self, &self->end_info, GST_PAD_PROBE_INFO_BUFFER (info), &stamp) != STAMP_WHOLE) {
    report (self, "torn behind the queue", &stamp);
    atomic_fetch_add (&self->counts->changed, 1);
    return GST_PAD_PROBE_OK;
  }
  clock_nanosleep (CLOCK_MONOTONIC, 0, &(struct timespec) {.tv_nsec = (long) wait_ns }, NULL);
  is_same (self, &self->end_info, GST_PAD_PROBE_INFO_BUFFER (info), &stamp);
  return GST_PAD_PROBE_OK;
}

static void
watch (Subscriber * self, GstElement * pipeline, const gchar * element, const gchar * pad_name, GstPadProbeCallback callback)
{
  GstElement *found = gst_bin_get_by_name (GST_BIN (pipeline), element);
  GstPad *pad = gst_element_get_static_pad (found, pad_name);

  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, callback, self, NULL);
  gst_object_unref (pad);
  gst_object_unref (found);
}

static GstElement *
build (Subscriber * self, GError ** error)
{
  static const gchar *const io_modes[] = { "auto", "zero-copy", "copy" };
  guint64 *random = &self->child->random;
  const gchar *io_mode = self->kind == CHAOS_KIND_HOLD ? "auto" : io_modes[chaos_random (random, 0, 9) < 8 ? chaos_random (random, 0, 1) : 2];
  gchar *queue = NULL, *text;
  GstElement *pipeline;

  if (self->kind == CHAOS_KIND_SLOW)
    queue = g_strdup_printf ("queue max-size-buffers=%u max-size-bytes=0 max-size-time=0 !", (guint) chaos_random (random, 1, 5));
  text = g_strdup_printf ("cuframessrc name=src channel=" CHAOS_CHANNEL " io-mode=%s delivery=%s ! %s fakesink name=end sync=false async=false "
      "enable-last-sample=false", io_mode, self->kind == CHAOS_KIND_LATEST ? "latest" : "fifo", queue != NULL ? queue : "");
  pipeline = gst_parse_launch (text, error);
  g_free (queue);
  g_free (text);
  if (pipeline == NULL)
    return NULL;
  watch (self, pipeline, "src", "src", on_arrival);
  if (self->kind == CHAOS_KIND_SLOW)
    watch (self, pipeline, "end", "sink", on_end);
  return pipeline;
}

static int
fail (Subscriber * self, const gchar * text)
{
  g_strlcpy (self->counts->failure, text, sizeof self->counts->failure);
  atomic_store (&self->counts->failed, 1);
  return 1;
}

int
chaos_subscriber_main (ChaosChild * child)
{
  Subscriber self = {.child = child,.counts = &child->shared->subscribers[child->index],.held = G_QUEUE_INIT };
  GError *error = NULL;
  gchar *failure = NULL;
  GstElement *pipeline;
  int status = 0;

  self.kind = chaos_kind_of (&child->shared->config, child->index);
  self.held_most = (guint) chaos_random (&child->random, 1, 5);
  g_mutex_init (&self.reading);
  self.stops = atomic_load (&self.counts->stops);
  if (child->shared->config.cuda)
    self.cuda = stamp_cuda_new ();
  pipeline = build (&self, &error);
  if (pipeline == NULL)
    return fail (&self, error->message);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  if (!chaos_child_wait (child, pipeline, NULL, NULL, &failure))
    status = fail (&self, failure);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  give_back (&self, G_MAXUINT64);
  gst_object_unref (pipeline);
  stamp_cuda_free (self.cuda);
  g_mutex_clear (&self.reading);
  g_free (failure);
  return status;
}
