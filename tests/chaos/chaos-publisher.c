/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The publisher's process: stamped frames into cuframessink. */
#include "chaos.h"

#include "stamp-cuda.h"

typedef struct
{
  ChaosPublisher *publisher;
  GstElement *sink;
} Look;

static guint64
stat_of (const GstStructure * stats, const gchar * name)
{
  guint64 value = 0;

  gst_structure_get_uint64 (stats, name, &value);
  return value;
}

static void
look (gpointer data)
{
  Look *self = data;
  GstStructure *stats = NULL;

  g_object_get (self->sink, "stats", &stats, NULL);
  if (stats == NULL)
    return;
  atomic_store (&self->publisher->now_drops, stat_of (stats, "drops"));
  atomic_store (&self->publisher->now_copies, stat_of (stats, "copies"));
  atomic_store (&self->publisher->now_evicted, stat_of (stats, "evicted"));
  gst_structure_free (stats);
  atomic_store (&self->publisher->gpu_kib, stamp_cuda_memory_used_kib ());
}

int
chaos_publisher_main (ChaosChild * child)
{
  const ChaosConfig *config = &child->shared->config;
  ChaosPublisher *publisher = &child->shared->publisher;
  GstElement *pipeline = gst_pipeline_new ("publisher");
  GstElement *source = chaos_source_new (child);
  GstElement *sink = gst_element_factory_make ("cuframessink", "sink");
  gchar *failure = NULL;

  if (sink == NULL) {
    g_strlcpy (publisher->failure, "no cuframessink: set GST_PLUGIN_PATH", sizeof publisher->failure);
    atomic_store (&publisher->failed, 1);
    return 1;
  }
  g_object_set (sink, "channel", CHAOS_CHANNEL, "sync", FALSE, "slots", config->slots, "max-subscribers", 2 * CHAOS_SUBSCRIBERS_MAX, NULL);
  gst_util_set_object_arg (G_OBJECT (sink), "overflow", config->overflow);
  gst_util_set_object_arg (G_OBJECT (sink), "gpu-sync", config->gpu_sync);
  gst_bin_add_many (GST_BIN (pipeline), source, sink, NULL);
  gst_element_link (source, sink);

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  Look at = {.publisher = publisher,.sink = sink };
  if (!chaos_child_wait (child, pipeline, look, &at, &failure)) {
    g_strlcpy (publisher->failure, failure, sizeof publisher->failure);
    atomic_store (&publisher->failed, 1);
  }
  look (&at);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
  g_free (failure);
  return failure != NULL;
}
