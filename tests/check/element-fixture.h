/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the elements share: tests that are named by sentences, a channel directory of its own for each, descriptors, mappings
 * and elements counted before and after, frames known by the number in their pixels, other processes that are this program in another
 * role, and a pad of the test's own at either element, so that each buffer and event that goes in or comes out is seen as it is. */
#ifndef ELEMENT_FIXTURE_H
#define ELEMENT_FIXTURE_H

#include <gst/gst.h>
#include <gst/video/video.h>
#include <sys/types.h>

#include "stamp-video.h"

/* Longer than anything takes that works. */
#define BOUND_NS (10 * GST_SECOND)
#define SMALL "video/x-raw,format=NV12,width=64,height=48,framerate=30/1"
#define WIDE "video/x-raw,format=NV12,width=128,height=96,framerate=30/1"

typedef struct
{
  const char *sentence;
  void (*run) (void);
} ElementTest;

typedef struct
{
  const char *name;
  int (*play) (int argc, char **argv);
} ElementRole;

int element_main (int argc, char **argv, const ElementTest * tests, size_t test_count, const ElementRole * roles, size_t role_count);
extern const ElementRole element_roles[];
extern const size_t element_role_count;

#define ELEMENT_MAIN(tests, roles, role_count) \
  int main (int argc, char **argv) { return element_main (argc, argv, tests, G_N_ELEMENTS (tests), roles, role_count); }

void element_fail (const char *file, int line, const char *function, const char *what) __attribute__ ((noinline));
void element_skip (const char *why);
gboolean element_is_slow (void);        /* under valgrind or a sanitizer: figures of time mean nothing */
gboolean element_lacks (const char *factory);   /* then the test is skipped */

/* Goes on after a failure, or leaves the test. */
#define CHECK(condition) \
  do { if (!(condition)) element_fail (__FILE__, __LINE__, __func__, #condition); } while (0)
#define REQUIRE(condition) \
  do { if (!(condition)) { element_fail (__FILE__, __LINE__, __func__, #condition); return; } } while (0)
#define CHECK_EQUAL(a, b) \
  do { \
    const gint64 a_ = (gint64) (a), b_ = (gint64) (b); \
    if (a_ != b_) { \
      gchar *text_ = g_strdup_printf ("%s is %" G_GINT64_FORMAT ", not %" G_GINT64_FORMAT, #a, a_, b_); \
      element_fail (__FILE__, __LINE__, __func__, text_); \
      g_free (text_); \
    } \
  } while (0)
/* Looks again and again until it is so, or the time is over. */
#define WAIT_UNTIL(expression) \
  ({ const guint64 wait_end_ = now_ns () + BOUND_NS; \
     gboolean is_so_; \
     while (!(is_so_ = (expression)) && now_ns () < wait_end_) element_yield (); \
     is_so_; })
/* Is it so all the time? */
#define STAYS(expression, ns) \
  ({ const guint64 stay_end_ = now_ns () + (ns); \
     gboolean still_so_; \
     while ((still_so_ = (expression)) && now_ns () < stay_end_) element_yield (); \
     still_so_; })
guint64 now_ns (void);
void element_yield (void);

const gchar *test_directory (void);
const gchar *test_path (const gchar * name);    /* in it; lives as long as the test */
guint count_fds (void);
guint count_mappings (void);    /* of memory files */

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
void feeder_close (Feeder * feeder);
gboolean feeder_event (Feeder * feeder, GstEvent * event);
gboolean feeder_send_caps (Feeder * feeder, const char *caps);  /* with what has to come before, and the segment after the first */
gboolean feeder_negotiate (Feeder * feeder);    /* the sink's pool */
gboolean feeder_begin (Feeder * feeder, const char *caps);      /* both */
GstBuffer *feeder_frame (Feeder * feeder, guint64 number);      /* of the pool, stamped and with time stamps */
GstBuffer *feeder_own_frame (Feeder * feeder, guint64 number);  /* of system memory */
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
void catcher_close (Catcher * catcher);
void catcher_block (Catcher * catcher, gboolean blocked);
CatcherItem *catcher_take (Catcher * catcher);  /* waits; NULL if nothing comes */
CatcherItem *catcher_take_if (Catcher * catcher);
CatcherItem *catcher_take_frame (Catcher * catcher);    /* passing over events */
GstEvent *catcher_take_event (Catcher * catcher, GstEventType type);    /* passing over whatever else */
void catcher_drop_all (Catcher * catcher);
void item_free (CatcherItem * item);
/* The number in a frame's pixels; G_MAXUINT64 if it is torn or none is there. */
guint64 item_number (CatcherItem * item);
guint64 buffer_number (GstBuffer * buffer, GstCaps * caps);
guint64 catcher_take_number (Catcher * catcher);
gboolean catcher_is_sound (Catcher * catcher);  /* nothing torn, twice or out of order so far */

/* Another process: this program in a role. Talks by lines over its standard input and output. */
typedef struct
{
  pid_t pid;
  int in, out;
  char buffer[8192];
  size_t used;
} Child;

void child_start (Child * child, const char *environment, const char *role, ...) G_GNUC_NULL_TERMINATED;
gboolean child_read (Child * child, char *line, size_t line_bytes);
gboolean child_expect (Child * child, const char *start);       /* reads up to a line that starts so */
void child_say (Child * child, const char *format, ...) G_GNUC_PRINTF (2, 3);
int child_wait (Child * child); /* the wait status, or -1 if it did not end; then it is killed */
int child_end (Child * child);  /* closes its input, waits */
void child_kill (Child * child);

#endif
