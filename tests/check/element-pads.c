/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The test's own pads: one that feeds a cuframessink, one that catches what a cuframessrc sends. */
#include "element-fixture.h"

#include <string.h>

#define FRAME_NS (GST_SECOND / 30)

static GstElement *
make_element (const char *factory, const char *properties)
{
  const char *channel = strstr (properties, "channel=") != NULL || strstr (properties, "socket-path=") != NULL ? "" : "channel=test";
  gchar *description = g_strdup_printf ("%s name=cuframes %s %s", factory, channel, properties);
  GstElement *pipeline = pipeline_new ("%s", description);

  g_free (description);
  return pipeline;
}

static gboolean
on_upstream_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  Feeder *feeder = gst_pad_get_element_private (pad);

  if (gst_video_event_is_force_key_unit (event))
    g_atomic_int_inc (&feeder->keyframes);
  if (GST_EVENT_TYPE (event) == GST_EVENT_RECONFIGURE)
    g_atomic_int_inc (&feeder->reconfigures);
  gst_event_unref (event);
  return TRUE;
}

void
feeder_attach (Feeder * feeder, GstElement * pipeline)
{
  GstPad *sink;

  memset (feeder, 0, sizeof *feeder);
  feeder->source = fixture_now_ns ();
  feeder->pipeline = pipeline;
  feeder->element = gst_bin_get_by_name (GST_BIN (feeder->pipeline), "cuframes");
  feeder->pad = gst_pad_new ("feeder", GST_PAD_SRC);
  gst_pad_set_element_private (feeder->pad, feeder);
  gst_pad_set_event_function (feeder->pad, on_upstream_event);
  gst_pad_set_active (feeder->pad, TRUE);
  sink = gst_element_get_static_pad (feeder->element, "sink");
  gst_pad_link_full (feeder->pad, sink, GST_PAD_LINK_CHECK_NOTHING);
  gst_object_unref (sink);
}

void
feeder_prepare (Feeder * feeder, const char *properties)
{
  gchar *all = g_strdup_printf ("sync=false %s", properties);

  feeder_attach (feeder, make_element ("cuframessink", all));
  g_free (all);
}

gboolean
feeder_open (Feeder * feeder, const char *properties)
{
  feeder_prepare (feeder, properties);
  return pipeline_play (feeder->pipeline);
}

static void
drop_pool (Feeder * feeder)
{
  if (feeder->pool != NULL)
    gst_buffer_pool_set_active (feeder->pool, FALSE);
  gst_clear_object (&feeder->pool);
}

void
feeder_close (Feeder * feeder)
{
  GstPad *sink = gst_pad_get_peer (feeder->pad);

  drop_pool (feeder);
  CHECK (gst_element_set_state (feeder->pipeline, GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS);
  gst_pad_unlink (feeder->pad, sink);
  gst_object_unref (sink);
  gst_pad_set_active (feeder->pad, FALSE);
  gst_clear_object (&feeder->pad);
  gst_clear_object (&feeder->element);
  gst_clear_object (&feeder->pipeline);
  gst_clear_caps (&feeder->caps);
}

gboolean
feeder_event (Feeder * feeder, GstEvent * event)
{
  return gst_pad_push_event (feeder->pad, event);
}

gboolean
feeder_send_caps (Feeder * feeder, const char *caps)
{
  const gboolean first = !feeder->begun;
  GstSegment segment;
  gboolean good = TRUE;

  gst_clear_caps (&feeder->caps);
  feeder->caps = gst_caps_from_string (caps);
  gst_video_info_from_caps (&feeder->info, feeder->caps);
  if (first)
    good = feeder_event (feeder, gst_event_new_stream_start ("feeder"));
  feeder->begun = TRUE;
  good = feeder_event (feeder, gst_event_new_caps (feeder->caps)) && good;
  gst_segment_init (&segment, GST_FORMAT_TIME);
  if (first)
    good = feeder_event (feeder, gst_event_new_segment (&segment)) && good;
  return good;
}

gboolean
feeder_negotiate (Feeder * feeder)
{
  GstQuery *query = gst_query_new_allocation (feeder->caps, TRUE);
  GstStructure *config;
  guint size, min, max;
  gboolean good;

  drop_pool (feeder);
  good = gst_pad_peer_query (feeder->pad, query) && gst_query_get_n_allocation_pools (query) > 0;
  if (good)
    gst_query_parse_nth_allocation_pool (query, 0, &feeder->pool, &size, &min, &max);
  gst_query_unref (query);
  if (!good || feeder->pool == NULL)
    return FALSE;
  config = gst_buffer_pool_get_config (feeder->pool);
  gst_buffer_pool_config_set_params (config, feeder->caps, size, min, max);
  return gst_buffer_pool_set_config (feeder->pool, config) && gst_buffer_pool_set_active (feeder->pool, TRUE);
}

gboolean
feeder_begin (Feeder * feeder, const char *caps)
{
  return feeder_send_caps (feeder, caps) && feeder_negotiate (feeder);
}

gboolean
stamp_buffer (GstBuffer * buffer, const GstVideoInfo * info, guint64 number, guint64 source)
{
  const Stamp stamp = {.number = number,.source = source,.time_ns = fixture_now_ns () };
  GstVideoFrame frame;
  gboolean good;

  if (!gst_video_frame_map (&frame, (GstVideoInfo *) info, buffer, GST_MAP_WRITE))
    return FALSE;
  good = stamp_video_write (&frame, &stamp);
  gst_video_frame_unmap (&frame);
  return good;
}

static GstBuffer *
finish_frame (Feeder * feeder, GstBuffer * buffer, guint64 number)
{
  CHECK (stamp_buffer (buffer, &feeder->info, number, feeder->source));
  GST_BUFFER_PTS (buffer) = number * FRAME_NS;
  GST_BUFFER_DURATION (buffer) = FRAME_NS;
  return buffer;
}

GstBuffer *
feeder_frame (Feeder * feeder, guint64 number)
{
  GstBuffer *buffer = NULL;

  if (gst_buffer_pool_acquire_buffer (feeder->pool, &buffer, NULL) != GST_FLOW_OK) {
    fixture_fail (__FILE__, __LINE__, __func__, "the pool gives a buffer");
    return feeder_own_frame (feeder, number);
  }
  return finish_frame (feeder, buffer, number);
}

GstBuffer *
feeder_own_frame (Feeder * feeder, guint64 number)
{
  return finish_frame (feeder, gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (&feeder->info), NULL), number);
}

GstFlowReturn
feeder_push (Feeder * feeder, guint64 first, guint count)
{
  GstFlowReturn flow = GST_FLOW_OK;

  for (guint i = 0; i < count && flow == GST_FLOW_OK; i++)
    flow = gst_pad_push (feeder->pad, feeder_frame (feeder, first + i));
  return flow;
}

void
item_free (CatcherItem * item)
{
  if (item == NULL)
    return;
  gst_mini_object_unref (item->object);
  gst_clear_caps (&item->caps);
  g_free (item);
}

/* The lock is held. */
static void
keep (Catcher * catcher, gpointer object, GstCaps * caps)
{
  CatcherItem *item = g_new0 (CatcherItem, 1);

  item->object = object;
  item->caps = caps == NULL ? NULL : gst_caps_ref (caps);
  item->arrival_ns = fixture_now_ns ();
  g_queue_push_tail (&catcher->items, item);
}

static GstFlowReturn
on_buffer (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  Catcher *catcher = gst_pad_get_element_private (pad);
  GstFlowReturn flow = GST_FLOW_OK;
  GstVideoFrame frame;
  GstVideoInfo info;
  Stamp stamp;

  g_mutex_lock (&catcher->lock);
  while (catcher->blocked && !catcher->flushing)
    g_cond_wait (&catcher->changed, &catcher->lock);
  if (catcher->flushing)
    flow = GST_FLOW_FLUSHING;
  else {
    keep (catcher, gst_buffer_ref (buffer), catcher->caps);
    catcher->frames++;
    if (catcher->caps != NULL && gst_video_info_from_caps (&info, catcher->caps) && gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ)) {
      stamp_count (&catcher->tracker, stamp_video_read (&frame, &stamp), &stamp);
      gst_video_frame_unmap (&frame);
    }
  }
  g_mutex_unlock (&catcher->lock);
  gst_buffer_unref (buffer);
  return flow;
}

static gboolean
on_event (GstPad * pad, GstObject * parent, GstEvent * event)
{
  Catcher *catcher = gst_pad_get_element_private (pad);
  GstCaps *caps;

  g_mutex_lock (&catcher->lock);
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_CAPS:
      gst_event_parse_caps (event, &caps);
      gst_caps_replace (&catcher->caps, caps);
      break;
    case GST_EVENT_EOS:
      catcher->ended = TRUE;
      break;
    case GST_EVENT_FLUSH_START:
    case GST_EVENT_FLUSH_STOP:
      catcher->flushing = GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_START;
      g_cond_broadcast (&catcher->changed);
      break;
    default:
      break;
  }
  keep (catcher, event, NULL);
  g_mutex_unlock (&catcher->lock);
  return TRUE;
}

void
catcher_attach (Catcher * catcher, GstElement * pipeline)
{
  static GstStaticPadTemplate any = GST_STATIC_PAD_TEMPLATE ("catcher", GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS_ANY);
  GstPad *src;

  memset (catcher, 0, sizeof *catcher);
  g_mutex_init (&catcher->lock);
  g_cond_init (&catcher->changed);
  g_queue_init (&catcher->items);
  catcher->pipeline = pipeline;
  catcher->element = gst_bin_get_by_name (GST_BIN (catcher->pipeline), "cuframes");
  catcher->pad = gst_pad_new_from_static_template (&any, "catcher");
  gst_pad_set_element_private (catcher->pad, catcher);
  gst_pad_set_chain_function (catcher->pad, on_buffer);
  gst_pad_set_event_function (catcher->pad, on_event);
  gst_pad_set_active (catcher->pad, TRUE);
  src = gst_element_get_static_pad (catcher->element, "src");
  gst_pad_link_full (src, catcher->pad, GST_PAD_LINK_CHECK_NOTHING);
  gst_object_unref (src);
}

gboolean
catcher_prepare (Catcher * catcher, const char *properties)
{
  catcher_attach (catcher, make_element ("cuframessrc", properties));
  return TRUE;
}

gboolean
catcher_open (Catcher * catcher, const char *properties)
{
  return catcher_prepare (catcher, properties) && pipeline_play (catcher->pipeline);
}

void
catcher_close (Catcher * catcher)
{
  GstPad *src = gst_pad_get_peer (catcher->pad);

  g_mutex_lock (&catcher->lock);
  catcher->flushing = TRUE;
  g_cond_broadcast (&catcher->changed);
  g_mutex_unlock (&catcher->lock);
  CHECK (gst_element_set_state (catcher->pipeline, GST_STATE_NULL) == GST_STATE_CHANGE_SUCCESS);
  gst_pad_unlink (src, catcher->pad);
  gst_object_unref (src);
  gst_pad_set_active (catcher->pad, FALSE);
  catcher_drop_all (catcher);
  gst_clear_object (&catcher->pad);
  gst_clear_object (&catcher->element);
  gst_clear_object (&catcher->pipeline);
  gst_clear_caps (&catcher->caps);
  g_mutex_clear (&catcher->lock);
  g_cond_clear (&catcher->changed);
}

void
catcher_block (Catcher * catcher, gboolean blocked)
{
  g_mutex_lock (&catcher->lock);
  catcher->blocked = blocked;
  g_cond_broadcast (&catcher->changed);
  g_mutex_unlock (&catcher->lock);
}

CatcherItem *
catcher_take_if (Catcher * catcher)
{
  CatcherItem *item;

  g_mutex_lock (&catcher->lock);
  item = g_queue_pop_head (&catcher->items);
  g_mutex_unlock (&catcher->lock);
  return item;
}

CatcherItem *
catcher_take (Catcher * catcher)
{
  CatcherItem *item = NULL;

  WAIT_UNTIL ((item = catcher_take_if (catcher)) != NULL);
  return item;
}

CatcherItem *
catcher_take_frame (Catcher * catcher)
{
  CatcherItem *item;

  while ((item = catcher_take (catcher)) != NULL && !GST_IS_BUFFER (item->object))
    item_free (item);
  return item;
}

GstEvent *
catcher_take_event (Catcher * catcher, GstEventType type)
{
  CatcherItem *item;
  GstEvent *event;

  while ((item = catcher_take (catcher)) != NULL && !(GST_IS_EVENT (item->object) && GST_EVENT_TYPE (item->object) == type))
    item_free (item);
  if (item == NULL)
    return NULL;
  event = gst_event_ref (GST_EVENT (item->object));
  item_free (item);
  return event;
}

void
catcher_drop_all (Catcher * catcher)
{
  CatcherItem *item;

  while ((item = catcher_take_if (catcher)) != NULL)
    item_free (item);
}

guint64
buffer_number (GstBuffer * buffer, GstCaps * caps)
{
  GstVideoFrame frame;
  GstVideoInfo info;
  Stamp stamp = { 0 };
  StampState state;

  if (caps == NULL || !gst_video_info_from_caps (&info, caps) || !gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ))
    return G_MAXUINT64;
  state = stamp_video_read (&frame, &stamp);
  gst_video_frame_unmap (&frame);
  return state == STAMP_WHOLE ? stamp.number : G_MAXUINT64;
}

guint64
item_number (CatcherItem * item)
{
  return item == NULL ? G_MAXUINT64 : buffer_number (GST_BUFFER (item->object), item->caps);
}

guint64
catcher_take_number (Catcher * catcher)
{
  CatcherItem *item = catcher_take_frame (catcher);
  guint64 number = item_number (item);

  item_free (item);
  return number;
}

gboolean
catcher_is_sound (Catcher * catcher)
{
  gboolean sound;

  g_mutex_lock (&catcher->lock);
  sound = stamp_errors (&catcher->tracker) == 0;
  g_mutex_unlock (&catcher->lock);
  return sound;
}

gboolean
both_open (Feeder * feeder, const char *sink, Catcher * catcher, const char *src)
{
  return feeder_open (feeder, sink) && catcher_open (catcher, src) && WAIT_UNTIL (stat_of (feeder->element, "num-subscribers") == 1);
}

void
both_close (Feeder * feeder, Catcher * catcher)
{
  CHECK (pipeline_is_well (feeder->pipeline));
  CHECK (pipeline_is_well (catcher->pipeline));
  catcher_close (catcher);
  feeder_close (feeder);
}

GstFlowReturn
feeder_push_at (Feeder * feeder, guint64 number, GstClockTime pts)
{
  GstBuffer *buffer = feeder_frame (feeder, number);

  GST_BUFFER_PTS (buffer) = pts;
  return gst_pad_push (feeder->pad, buffer);
}

static GstPadProbeReturn
answer_latency (GstPad * pad, GstPadProbeInfo * info, gpointer data)
{
  GstQuery *query = GST_PAD_PROBE_INFO_QUERY (info);

  if (GST_QUERY_TYPE (query) != GST_QUERY_LATENCY)
    return GST_PAD_PROBE_OK;
  gst_query_set_latency (query, TRUE, *(GstClockTime *) data, GST_CLOCK_TIME_NONE);
  return GST_PAD_PROBE_HANDLED;
}

GstClockTime
catcher_ask_latency (Catcher * catcher)
{
  GstQuery *query = gst_query_new_latency ();
  GstClockTime min = GST_CLOCK_TIME_NONE;
  gboolean live = FALSE;

  if (gst_pad_peer_query (catcher->pad, query))
    gst_query_parse_latency (query, &live, &min, NULL);
  gst_query_unref (query);
  CHECK (live);
  return min;
}

void
feeder_answer_latency (Feeder * feeder, GstClockTime * latency)
{
  gst_pad_add_probe (feeder->pad, GST_PAD_PROBE_TYPE_QUERY_UPSTREAM, answer_latency, latency, NULL);
}
