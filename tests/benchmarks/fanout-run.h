/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One case: its processes from fork to the last result, gathered in one row. */
#ifndef FANOUT_RUN_H
#define FANOUT_RUN_H

#include <signal.h>

#include "fanout.h"

typedef enum
{
  FANOUT_CASE_FLOOR,            /* bare pipes */
  FANOUT_CASE_BASELINE,         /* the publisher into fakesink */
  FANOUT_CASE_TRANSPORT,
} FanoutCaseKind;

/* The results of a case, of all its repetitions together. */
typedef struct
{
  FanoutCaseKind kind;
  gchar *name;
  guint width, height, fps, subscribers, slow;
  gboolean cuda;
  gchar *failure;               /* why there are no results */
  gboolean unavailable;            /* because this machine lacks what the case needs */
  guint runs;
  GArray *pad, *verified, *push;        /* of guint32, ns; of the subscribers that are not slow */
  guint64 frames, published, wall_ns, late;
  guint64 publisher_cpu_ns, subscriber_cpu_ns;
  guint64 torn, absent, repeated, stale, reordered, missed, slow_missed;
  gint64 publisher_copies, subscriber_copies, drops;    /* -1: not known */
  gint64 publisher_rss_kib, subscriber_rss_kib, gpu_kib;        /* growth, the largest */
  gint64 fds, maps;             /* growth of any process, the largest */
} FanoutRow;

/* Set by a signal: every wait ends. */
extern volatile sig_atomic_t fanout_interrupted;

FanoutRow *fanout_row_new (const gchar * name, FanoutCaseKind kind, const FanoutConfig * config);
void fanout_row_free (FanoutRow * row);
/* Runs the case once and adds to the row what it gave; a failure is written into the row. */
void fanout_run (FanoutRow * row, const FanoutConfig * config);
/* Errors that no transport may make: torn, absent, repeated, stale or reordered frames. */
guint64 fanout_row_errors (const FanoutRow * row);
/* What the program does when it was started as a child; -1 if it was not. */
int fanout_run_child (int argc, char **argv);

#endif
