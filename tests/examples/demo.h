/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the processes of the demonstration share. */
#ifndef DEMO_H
#define DEMO_H

#include <gst/gst.h>
#include <stdatomic.h>

#define DEMO_LEDGER 1024
#define DEMO_SAMPLES 65536
#define DEMO_SHEET_FRAMES 12

typedef enum
{
  DEMO_PUBLISHER,
  DEMO_CHECKER,
  DEMO_SHEET,
  DEMO_SLOW,
  DEMO_NODES
} DemoRole;

/* One frame as the publisher saw it: how consumers know when it was published and what was in it. */
typedef struct
{
  _Atomic guint64 pts;
  _Atomic guint64 time_ns;
  _Atomic guint64 digest;       /* of the pixels, 0: not known */
} DemoEntry;

typedef struct
{
  _Atomic guint64 frames, bad, latencies;
  _Atomic guint64 cpu_ns;
  _Atomic gint64 lost, copies;  /* drops of the publisher, missed frames of a consumer; -1: not known */
  _Atomic guint32 failed;
  gchar failure[256];
  guint32 latency_ns[DEMO_SAMPLES];
} DemoNode;

typedef struct
{
  guint seconds;
  gchar line[DEMO_NODES][1024];
  gchar sheet[1024];
  _Atomic guint32 sheet_frames; /* in the file */
  _Atomic guint64 published;    /* entries of the ledger that were written */
  DemoEntry ledger[DEMO_LEDGER];
  DemoNode nodes[DEMO_NODES];
} DemoShared;

/* demo-node.c: the life of one process; ends when command_fd is closed at its other end */
int demo_node_main (DemoShared * shared, DemoRole role, int command_fd);
guint64 demo_now_ns (void);

/* demo-sheet.c: frames side by side in one picture */
typedef struct _DemoSheet DemoSheet;
DemoSheet *demo_sheet_new (guint64 interval_ns);
void demo_sheet_add (DemoSheet * sheet, GstBuffer * buffer, GstCaps * caps);
/* Number of frames in the file that was written, 0 with an error. */
guint demo_sheet_write (DemoSheet * sheet, const gchar * path, GError ** error);
void demo_sheet_free (DemoSheet * sheet);

#endif
