/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the elements share besides the fixture: pipelines whose elements are known to be gone in the end, frames known by the number
 * in their pixels, and a pad of the test's own at either element, so that each buffer and event that goes in or comes out is seen as it is. A
 * warning of GLib's or GStreamer's is a failure. */
#ifndef ELEMENT_FIXTURE_H
#define ELEMENT_FIXTURE_H

#include <gst/gst.h>
#include <gst/video/video.h>

#include "fixture.h"
#include "stamp-video.h"

#define SMALL "video/x-raw,format=NV12,width=64,height=48,framerate=30/1"
#define WIDE "video/x-raw,format=NV12,width=128,height=96,framerate=30/1"

extern const FixturePart element_part;
extern const FixtureRole element_roles[];       /* of element-roles.c */
extern const size_t element_role_count;

#define ELEMENT_MAIN(tests, roles, role_count) \
  int main (int argc, char **argv) { return fixture_main (argc, argv, &element_part, tests, G_N_ELEMENTS (tests), roles, role_count); }

gboolean element_lacks (const char *factory);   /* then the test is skipped */

/* Any pipeline; its elements are known to be gone when the test ends. */
GstElement *pipeline_new (const char *format, ...) G_GNUC_PRINTF (1, 2);
gboolean pipeline_play (GstElement * pipeline);
void pipeline_stop (GstElement * pipeline);     /* and unref */
gchar *pipeline_take_error (GstElement * pipeline);     /* waits for it */
gboolean pipeline_is_well (GstElement * pipeline);      /* no error is on its bus */
gboolean pipeline_reaches_eos (GstElement * pipeline);
void pipeline_stop_at_error (GstElement * pipeline, const char *part);  /* exactly one, with that in its text */
void element_track (GstElement * element);
/* A field of the property "stats" of the element named "cuframes", of its only subscriber with "subscriber/FIELD"; -1 if there is none. */
gint64 stat_of (GstElement * element, const char *field);
gint64 pipeline_stat (GstElement * pipeline, const char *field);

/* A cuframessink with the test's pad before it. */
typedef struct
{
  GstElement *pipeline, *element;
  GstPad *pad;
  GstBufferPool *pool;
  GstCaps *caps;
  GstVideoInfo info;
  guint64 source;               /* of its stamps */
  gboolean begun;
  gint keyframes, reconfigures; /* events that came back; atomic */
} Feeder;

gboolean feeder_open (Feeder * feeder, const char *properties); /* playing; channel "test" unless named */
void feeder_prepare (Feeder * feeder, const char *properties);  /* the same in state NULL */
void feeder_attach (Feeder * feeder, GstElement * pipeline);    /* before the element "cuframes" of a pipeline, which is taken */
void feeder_close (Feeder * feeder);
gboolean feeder_event (Feeder * feeder, GstEvent * event);
gboolean feeder_send_caps (Feeder * feeder, const char *caps);  /* with what has to come before, and the segment after the first */
gboolean feeder_negotiate (Feeder * feeder);    /* the sink's pool */
gboolean feeder_begin (Feeder * feeder, const char *caps);      /* both */
GstBuffer *feeder_frame (Feeder * feeder, guint64 number);      /* of the pool, stamped and with time stamps */
GstBuffer *feeder_own_frame (Feeder * feeder, guint64 number);  /* of system memory */
/* Upstream of the sink says that it is live and that late; *latency is looked at each time. */
void feeder_answer_latency (Feeder * feeder, GstClockTime * latency);
GstFlowReturn feeder_push (Feeder * feeder, guint64 first, guint count);
gboolean stamp_buffer (GstBuffer * buffer, const GstVideoInfo * info, guint64 number, guint64 source);

/* A cuframessrc with the test's pad behind it. */
typedef struct
{
  GstElement *pipeline, *element;
  GstPad *pad;
  GMutex lock;
  GCond changed;
  GQueue items;                 /* of CatcherItem: buffers and events in order */
  GstCaps *caps;
  gboolean blocked, flushing, ended;
  guint frames;                 /* that have come */
  StampTracker tracker;
} Catcher;

typedef struct
{
  GstMiniObject *object;
  GstCaps *caps;                /* of a buffer */
  guint64 arrival_ns;
} CatcherItem;

gboolean catcher_open (Catcher * catcher, const char *properties);      /* playing */
gboolean catcher_prepare (Catcher * catcher, const char *properties);   /* the same in state NULL */
void catcher_attach (Catcher * catcher, GstElement * pipeline); /* behind the element "cuframes" of a pipeline, which is taken */
void catcher_close (Catcher * catcher);
void catcher_block (Catcher * catcher, gboolean blocked);
CatcherItem *catcher_take (Catcher * catcher);  /* waits; NULL if nothing comes */
CatcherItem *catcher_take_if (Catcher * catcher);
CatcherItem *catcher_take_frame (Catcher * catcher);    /* passing over events */
GstEvent *catcher_take_event (Catcher * catcher, GstEventType type);    /* passing over whatever else */
void catcher_drop_all (Catcher * catcher);
void item_free (CatcherItem * item);
/* One of each, joined, and the end of both, with no error on either bus. */
gboolean both_open (Feeder * feeder, const char *sink, Catcher * catcher, const char *src);
void both_close (Feeder * feeder, Catcher * catcher);
GstFlowReturn feeder_push_at (Feeder * feeder, guint64 number, GstClockTime pts);
/* The number in a frame's pixels; G_MAXUINT64 if it is torn or none is there. */
guint64 item_number (CatcherItem * item);
guint64 buffer_number (GstBuffer * buffer, GstCaps * caps);
guint64 catcher_take_number (Catcher * catcher);
gboolean catcher_is_sound (Catcher * catcher);  /* nothing torn, twice or out of order so far */
GstClockTime catcher_ask_latency (Catcher * catcher);   /* of the src, which is live */

#endif
