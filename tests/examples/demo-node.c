/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One process of the demonstration: runs its gst-launch line and looks at what passes. The publisher writes into a ledger when it
 * hands each frame to the sink and what is in it; the consumers look there how long the frame was on its way and whether it is
 * still the same. */
#include "demo.h"

#include <gst/video/video.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#define DIGEST_LINES 16

typedef struct
{
  DemoShared *shared;
  DemoNode *node;
  DemoRole role;
  GstVideoInfo info;
  gboolean readable;            /* the CPU can read the pixels without a copy */
  DemoSheet *sheet;
} Node;

guint64
demo_now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

static guint64
cpu_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &now);
  return (guint64) now.tv_sec * GST_SECOND + (guint64) now.tv_nsec;
}

static guint64
digest_line (guint64 digest, const guint8 * line, gsize bytes)
{
  for (gsize i = 0; i + sizeof (guint64) <= bytes; i += sizeof (guint64)) {
    guint64 word;

    memcpy (&word, line + i, sizeof word);
    digest = (digest ^ word) * G_GUINT64_CONSTANT (0x9e3779b97f4a7c15);
    digest ^= digest >> 32;
  }
  return digest;
}

/* Of some lines of each plane, whatever the strides are on this side. Never 0. */
static guint64
digest_of (const Node * self, GstBuffer * buffer)
{
  GstVideoFrame frame;
  guint64 digest = 1;

  if (!self->readable || !gst_video_frame_map (&frame, &self->info, buffer, GST_MAP_READ))
    return 0;
  for (guint component = 0; component < GST_VIDEO_FRAME_N_COMPONENTS (&frame); component++) {
    guint plane = GST_VIDEO_FRAME_COMP_PLANE (&frame, component);
    guint lines = (guint) GST_VIDEO_FRAME_COMP_HEIGHT (&frame, component);
    gsize stride = (gsize) GST_VIDEO_FRAME_PLANE_STRIDE (&frame, plane);
    gsize bytes = (gsize) GST_VIDEO_FRAME_COMP_WIDTH (&frame, component) * (gsize) GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, component);

    for (guint i = 0; i < MIN (DIGEST_LINES, lines); i++) {
      guint line = i * (lines - 1) / MAX (MIN (DIGEST_LINES, lines) - 1, 1);

      digest = digest_line (digest, (const guint8 *) GST_VIDEO_FRAME_PLANE_DATA (&frame, plane) + line * stride, MIN (bytes, stride));
    }
  }
  gst_video_frame_unmap (&frame);
  return MAX (digest, 1);
}

static void
write_ledger (Node * self, GstBuffer * buffer)
{
  guint64 number = atomic_load (&self->shared->published);
  DemoEntry *entry = &self->shared->ledger[number % DEMO_LEDGER];

  atomic_store (&entry->pts, GST_CLOCK_TIME_NONE);
  atomic_store (&entry->digest, digest_of (self, buffer));
  atomic_store (&entry->time_ns, demo_now_ns ());
  atomic_store (&entry->pts, GST_BUFFER_PTS (buffer));
  atomic_store (&self->shared->published, number + 1);
}

static const DemoEntry *
find_in_ledger (const DemoShared * shared, GstClockTime pts)
{
  guint64 published = atomic_load (&shared->published);

  for (guint64 back = 1; back <= MIN (published, DEMO_LEDGER - 1) && GST_CLOCK_TIME_IS_VALID (pts); back++) {
    const DemoEntry *entry = &shared->ledger[(published - back) % DEMO_LEDGER];

    if (atomic_load (&entry->pts) == pts)
      return entry;
  }
  return NULL;
}

static void
read_ledger (Node * self, GstBuffer * buffer, guint64 arrived_ns)
{
  const DemoEntry *entry = find_in_ledger (self->shared, GST_BUFFER_PTS (buffer));
  guint64 published_ns, published_digest, digest;

  if (entry == NULL)
    return;
  published_ns = atomic_load (&entry->time_ns);
  published_digest = atomic_load (&entry->digest);
  self->node->latency_ns[atomic_fetch_add (&self->node->latencies, 1) % DEMO_SAMPLES] =
      (guint32) MIN (arrived_ns - MIN (published_ns, arrived_ns), G_MAXUINT32);
  digest = self->role == DEMO_CHECKER && published_digest != 0 ? digest_of (self, buffer) : 0;
  if (digest != 0 && digest != published_digest)
    atomic_fetch_add (&self->node->bad, 1);
}

static void
on_caps (Node * self, GstCaps * caps)
{
  GstCapsFeatures *features = gst_caps_get_features (caps, 0);

  self->readable = gst_video_info_from_caps (&self->info, caps)
      && gst_caps_features_is_equal (features, GST_CAPS_FEATURES_MEMORY_SYSTEM_MEMORY);
}

static GstPadProbeReturn
on_data (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  guint64 now_ns = demo_now_ns ();
  Node *self = user_data;

  (void) pad;
  if (GST_PAD_PROBE_INFO_TYPE (info) & GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM) {
    GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);
    GstCaps *caps;

    if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS) {
      gst_event_parse_caps (event, &caps);
      on_caps (self, caps);
    }
    return GST_PAD_PROBE_OK;
  }
  if (self->role == DEMO_PUBLISHER)
    write_ledger (self, GST_PAD_PROBE_INFO_BUFFER (info));
  else
    read_ledger (self, GST_PAD_PROBE_INFO_BUFFER (info), now_ns);
  atomic_fetch_add (&self->node->frames, 1);
  atomic_store (&self->node->cpu_ns, cpu_ns ());
  return GST_PAD_PROBE_OK;
}

static GstPadProbeReturn
on_sheet (GstPad * pad, GstPadProbeInfo * info, gpointer user_data)
{
  Node *self = user_data;
  GstCaps *caps = gst_pad_get_current_caps (pad);

  demo_sheet_add (self->sheet, GST_PAD_PROBE_INFO_BUFFER (info), caps);
  gst_clear_caps (&caps);
  return GST_PAD_PROBE_OK;
}

static void
probe (GstElement * pipeline, const gchar * element_name, const gchar * pad_name, GstPadProbeType type, GstPadProbeCallback callback,
    Node * self)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), element_name);
  GstPad *pad = gst_element_get_static_pad (element, pad_name);

  gst_pad_add_probe (pad, type, callback, self, NULL);
  gst_object_unref (pad);
  gst_object_unref (element);
}

static gint64
stat (GstStructure * stats, const gchar * name)
{
  const GValue *value = gst_structure_get_value (stats, name);
  GValue number = G_VALUE_INIT;
  gint64 found = -1;

  g_value_init (&number, G_TYPE_INT64);
  if (value != NULL && g_value_transform (value, &number))
    found = g_value_get_int64 (&number);
  g_value_unset (&number);
  return found;
}

static void
read_stats (Node * self, GstElement * pipeline)
{
  GstElement *element = gst_bin_get_by_name (GST_BIN (pipeline), "channel");
  gboolean publishes = self->role == DEMO_PUBLISHER;
  GstStructure *stats = NULL;

  g_object_get (element, "stats", &stats, NULL);
  if (stats != NULL) {
    atomic_store (&self->node->lost, stat (stats, publishes ? "drops" : "missed"));
    atomic_store (&self->node->copies, stat (stats, publishes ? "copies" : "copied"));
    gst_structure_free (stats);
  }
  gst_object_unref (element);
}

static void
fail (Node * self, const gchar * text)
{
  g_strlcpy (self->node->failure, text, sizeof self->node->failure);
  atomic_store (&self->node->failed, 1);
}

/* TRUE if it ended the stream. */
static gboolean
on_message (Node * self, GstMessage * message)
{
  GError *error = NULL;
  gchar *text;

  if (GST_MESSAGE_TYPE (message) != GST_MESSAGE_ERROR)
    return GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS;
  gst_message_parse_error (message, &error, NULL);
  text = g_strdup_printf ("%s: %s", GST_MESSAGE_SRC_NAME (message), error->message);
  fail (self, text);
  g_free (text);
  g_clear_error (&error);
  return TRUE;
}

static void
run (Node * self, GstElement * pipeline, int command_fd)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GPollFD bus_fd;
  gboolean ended = FALSE;

  gst_bus_get_pollfd (bus, &bus_fd);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (!ended) {
    struct pollfd fds[] = { {.fd = command_fd,.events = POLLIN}, {.fd = bus_fd.fd,.events = POLLIN} };
    GstMessage *message;

    if (poll (fds, G_N_ELEMENTS (fds), -1) < 0)
      continue;
    ended = fds[0].revents != 0;
    while (!ended && (message = gst_bus_pop (bus)) != NULL) {
      ended = on_message (self, message);
      gst_message_unref (message);
    }
  }
  read_stats (self, pipeline);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
}

static void
write_sheet (Node * self)
{
  GError *error = NULL;

  atomic_store (&self->shared->sheet_frames, demo_sheet_write (self->sheet, self->shared->sheet, &error));
  if (error != NULL && !atomic_load (&self->node->failed))
    fail (self, error->message);
  g_clear_error (&error);
  demo_sheet_free (self->sheet);
}

/* Every line names the element that holds the channel "channel", and the end of the contact sheet's "sheet". */
int
demo_node_main (DemoShared * shared, DemoRole role, int command_fd)
{
  Node self = {.shared = shared,.node = &shared->nodes[role],.role = role };
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (shared->line[role], &error);

  atomic_store (&self.node->lost, -1);
  atomic_store (&self.node->copies, -1);
  if (error != NULL) {
    fail (&self, error->message);
    return 1;
  }
  probe (pipeline, "channel", role == DEMO_PUBLISHER ? "sink" : "src", GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM,
      on_data, &self);
  if (role == DEMO_SHEET) {
    self.sheet = demo_sheet_new (shared->seconds * GST_SECOND / (DEMO_SHEET_FRAMES + 1));
    probe (pipeline, "sheet", "sink", GST_PAD_PROBE_TYPE_BUFFER, on_sheet, &self);
  }
  run (&self, pipeline, command_fd);
  if (self.sheet != NULL)
    write_sheet (&self);
  gst_object_unref (pipeline);
  return 0;
}
