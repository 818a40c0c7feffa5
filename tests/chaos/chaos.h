/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the processes of the chaos program share. One parent starts a publisher and its subscribers, which are the same program in other
 * roles, and does to them what happens to processes; each counts in the shared page, where its figures outlive it. */
#ifndef CHAOS_H
#define CHAOS_H

#include <gst/gst.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "stamp.h"

#define CHAOS_SUBSCRIBERS_MAX 256
#define CHAOS_CHANNEL "chaos"
#define CHAOS_TEXT_BYTES 256
/* Lives of the publisher whose first moment is remembered, and the times that can be noted of each sort. */
#define CHAOS_LIVES 4096
#define CHAOS_SAMPLES 65536

typedef enum
{
  CHAOS_KIND_FIFO,              /* checks every frame and gives it back */
  CHAOS_KIND_LATEST,            /* the same with delivery=latest */
  CHAOS_KIND_SLOW,              /* frames wait in a queue and are looked at again behind it */
  CHAOS_KIND_HOLD,              /* keeps frames for a second and looks whether they have changed */
  CHAOS_KIND_COUNT,
} ChaosKind;

typedef struct
{
  guint64 seed, seconds, frames;
  guint width, height, fps, slots;
  guint subscribers;            /* that live all the time */
  guint slow;                   /* of them */
  guint victims;                /* beside them: those that are killed */
  guint kill_subscribers_ms, kill_publisher_ms, stop_ms, caps_changes_ms, limits_ms, clock_steps_ms;
  gboolean full_directory;
  guint growth_kib;             /* of private memory that is no leak yet */
  gboolean cuda, packets, every_byte;
  gchar gpu_sync[16], overflow[16];
} ChaosConfig;

typedef struct
{
  _Atomic guint32 count;
  guint32 us[CHAOS_SAMPLES];
} ChaosTimes;

typedef struct
{
  _Atomic guint64 received, missed, restarts;
  _Atomic guint64 torn, absent, stale, repeated, reordered;
  _Atomic guint64 keyless;      /* packets after a gap that are no key point */
  _Atomic guint64 changed;      /* frames that were not the same when they were looked at again */
  _Atomic guint64 rechecked;    /* and those that were looked at again at all */
  _Atomic guint64 life;         /* of the publisher that its newest frame is from */
  _Atomic guint64 last_ns;      /* when its newest frame came */
  _Atomic guint64 silence_ns;   /* longest time between two frames of one life of the publisher */
  _Atomic guint32 ready;        /* this process has had a frame */
  _Atomic guint32 stops;        /* times it was stopped: what it measured meanwhile means nothing */
  _Atomic guint32 failed;
  gchar failure[CHAOS_TEXT_BYTES];
} ChaosSubscriber;

typedef struct
{
  _Atomic guint64 made;         /* frames handed to the sink, over all lives */
  _Atomic guint64 drops, copies, evicted;       /* of lives that are over, and the current one's beside them */
  _Atomic guint64 now_drops, now_copies, now_evicted;
  _Atomic guint64 formats;
  _Atomic guint64 gpu_kib;      /* in use on the device, 0 if not known */
  _Atomic guint64 first_ns[CHAOS_LIVES];
  _Atomic guint32 failed;
  gchar failure[CHAOS_TEXT_BYTES];
} ChaosPublisher;

typedef struct
{
  ChaosConfig config;
  ChaosPublisher publisher;
  ChaosSubscriber subscribers[CHAOS_SUBSCRIBERS_MAX];
  ChaosTimes resumes;           /* from a publisher's first frame to a subscriber's */
  _Atomic gint64 clock_offset_ns;       /* how far the wall clock is off the true one */
} ChaosShared;

/* A process of the program in a role */
typedef struct
{
  ChaosShared *shared;
  guint index;                  /* which subscriber */
  guint64 life;                 /* how many processes were started before it, over the whole run */
  guint64 random;
  int parent_fd;                /* hangs up when the process is to leave */
} ChaosChild;

int chaos_publisher_main (ChaosChild * child);
int chaos_subscriber_main (ChaosChild * child);

/* chaos-packet.c: what is sent with --packets */
gsize chaos_packet_size (guint64 number, gboolean key);
gboolean chaos_packet_is_key (guint64 number);
void chaos_packet_write (guint8 * data, gsize size, const Stamp * stamp);
StampState chaos_packet_read (GstBuffer * buffer, Stamp * ret_stamp);

/* chaos-clock.c: from here on the wall clock is the one of the shared page */
void chaos_clock_follow (const ChaosShared * shared);

/* chaos-source.c: a live source that stamps frames with the life of its process and a number */
GstElement *chaos_source_new (ChaosChild * child);

/* chaos-child.c: what all processes do */
guint64 chaos_now_ns (void);
guint64 chaos_mix (guint64 value);
guint64 chaos_random (guint64 * state, guint64 from, guint64 to);
/* Around a mean: from half of it to one and a half. */
guint64 chaos_around (guint64 * state, guint64 mean);
void chaos_times_add (ChaosTimes * times, guint64 ns);
ChaosKind chaos_kind_of (const ChaosConfig * config, guint index);
/* Until the parent hangs up, TRUE, or the pipeline fails, FALSE; calls look every quarter of a second. */
gboolean chaos_child_wait (ChaosChild * child, GstElement * pipeline, void (*look) (gpointer data), gpointer data, gchar ** ret_error);

#endif
