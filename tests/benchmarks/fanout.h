/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the processes of the benchmark share: one page of settings and results, and the rooms that make and read it.
 *
 * One parent runs cases; each case is one publisher and N subscribers, processes of the same program, which share the page
 * FanoutControl and behind it the samples. A child tells the parent what happens through a pipe of its own. */
#ifndef FANOUT_H
#define FANOUT_H

#include <gst/gst.h>
#include <stdatomic.h>

#define FANOUT_SUBSCRIBERS_MAX 128
#define FANOUT_TEXT_BYTES 1024
#define FANOUT_EVENT_TEXT_BYTES 240
/* Moments at which the newest frames reached the sink. */
#define FANOUT_TIMES 65536

typedef enum
{
  FANOUT_EVENT_STARTED = 1,     /* publisher: its first frame is due */
  FANOUT_EVENT_READY,           /* subscriber: its first frame is there */
  FANOUT_EVENT_DONE,            /* publisher: the last frame is out. subscriber: it has it */
  FANOUT_EVENT_FAILED,
} FanoutEventKind;

typedef struct
{
  guint32 kind;
  gchar text[FANOUT_EVENT_TEXT_BYTES];
} FanoutEvent;

typedef struct
{
  guint width, height, fps;
  guint subscribers;
  guint slow, slow_ms;          /* the last ones, and how long they hold each frame */
  guint64 warmup, frames;
  gboolean cuda;
  gboolean baseline;            /* no subscribers: the publisher alone */
  gchar format[16];
  gchar sink[FANOUT_TEXT_BYTES];
  gchar src[FANOUT_TEXT_BYTES];
  gchar source[FANOUT_TEXT_BYTES];      /* the user's, in place of stamped frames, or empty */
  int wake_fds[FANOUT_SUBSCRIBERS_MAX], sleep_fds[FANOUT_SUBSCRIBERS_MAX];      /* both ends of the bare pipes */
} FanoutConfig;

typedef struct
{
  guint64 rss_kib, gpu_kib;
  guint fds, maps;
} FanoutMemory;

typedef struct
{
  guint64 frames, cpu_ns, wall_ns, late;
  gint64 copies, drops;         /* -1: the sink does not say */
  FanoutMemory mark, end;
} FanoutPublisherResult;

typedef struct
{
  guint64 frames, cpu_ns;
  guint64 torn, absent, repeated, stale, reordered, missed;
  gint64 copies;
  FanoutMemory mark, end;
} FanoutSubscriberResult;

typedef struct
{
  FanoutConfig config;
  _Atomic guint32 go;           /* every subscriber is there: measure */
  _Atomic guint64 first, last;  /* numbers of the frames that are measured, 0 before */
  _Atomic guint64 woken;        /* the bare pipe's moment of writing */
  _Atomic guint64 times[FANOUT_TIMES];
  FanoutPublisherResult publisher;
  FanoutSubscriberResult subscribers[FANOUT_SUBSCRIBERS_MAX];
  guint32 samples[];            /* ns: per subscriber at the pad, then verified; then the publisher's pushes */
} FanoutControl;

typedef struct
{
  FanoutControl *control;
  guint index;
  int event_fd, command_fd;
  struct _FanoutMeter *meter;   /* the publisher's */
} FanoutChild;

/* fanout-child.c: what every child does */
gsize fanout_control_bytes (guint subscribers, guint64 frames);
guint32 *fanout_samples_pad (FanoutControl * control, guint subscriber);
guint32 *fanout_samples_verified (FanoutControl * control, guint subscriber);
guint32 *fanout_samples_push (FanoutControl * control);
void fanout_child_touch_samples (guint32 * samples, guint64 count);
void fanout_child_tell (FanoutChild * child, FanoutEventKind kind, const gchar * text);
gboolean fanout_child_wait (FanoutChild * child, GstElement * pipeline, gchar ** ret_error);
guint64 fanout_now_ns (void);
guint64 fanout_cpu_ns (void);
guint32 fanout_elapsed (guint64 from_ns, guint64 to_ns);
void fanout_sleep_until (guint64 when_ns);
guint64 fanout_mark (const FanoutConfig * config);
void fanout_memory_read (FanoutMemory * memory);
gint64 fanout_stat (GstElement * element, const gchar * const *names);

/* fanout-meter.c: what the publisher notes between one frame and the next */
typedef struct _FanoutMeter
{
  FanoutChild *child;
  guint64 number;               /* of the frame that was published last */
  guint64 published_ns;         /* when it was handed to the sink */
  guint64 cpu_begin_ns, wall_begin_ns;
} FanoutMeter;

/* The sink is done with the last frame and the next is to be made. FALSE once the last one that is measured is out. */
gboolean fanout_meter_next (FanoutMeter * meter, guint64 now_ns);
/* The frame's moment: it is handed to the sink now. */
void fanout_meter_publish (FanoutMeter * meter, guint64 now_ns);

/* The roles; each is the whole life of a process and returns its exit status */
int fanout_publisher_main (FanoutChild * child);
int fanout_subscriber_main (FanoutChild * child);
int fanout_waker_main (FanoutChild * child);
int fanout_sleeper_main (FanoutChild * child);

/* fanout-source.c: a live source that stamps frames and keeps the pace */
GstElement *fanout_source_new (FanoutChild * child);

#endif
