/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parent's rooms: processes and what is done to them, what they have open, and what is said about it. */
#ifndef CHAOS_RUN_H
#define CHAOS_RUN_H

#include <signal.h>

#include "chaos.h"

/* What a process has open now. */
typedef struct
{
  gboolean known;
  guint fds;
  guint shared_maps;            /* of memory that is passed by descriptor */
  guint maps;
  guint64 private_kib;
} ChaosState;

typedef struct
{
  pid_t pid;
  int fd;                       /* hangs up when it has gone; closed to make it leave */
  guint64 life;
  guint64 continue_ns;          /* stopped until then, 0 if it runs */
  guint64 killed_ns;            /* it is dying since then */
  guint64 known_by;             /* the life of the publisher that knew it then, 0 if it was not known */
  ChaosState mark;
  guint64 mark_ns;              /* when the mark is to be set, 0 if it is */
  int limited;                  /* which limit was lowered, */
  guint64 limit_before;         /* from what, */
  guint64 limited_until_ns;     /* and for how long; 0 if none is */
  guint64 scarce_ns;            /* end of the last time that something of it was limited */
} ChaosProcess;

typedef struct
{
  ChaosShared *shared;
  int shared_fd;
  guint64 random, lives, publisher_lives;
  ChaosProcess publisher;
  ChaosProcess subscribers[CHAOS_SUBSCRIBERS_MAX];
  guint count;                  /* subscribers of all kinds */
  gchar *dir, *socket_path;
  gboolean has_small;           /* the directory is a small file system of our own */
  guint64 full_until_ns, was_full_ns, publisher_scarce_ns;
  guint64 begin_ns;
  guint64 made_before;          /* when the last status line was written */
  /* What was done */
  guint subscriber_kills, publisher_kills, stops, clock_steps, fillings;
  guint limits[2];              /* of memory files, of descriptors */
  guint gave_up;                /* processes that ended with an error because something had run out */
  ChaosTimes *leases_kill, *leases_end; /* until a killed subscriber's leases were back: from the kill, and from the end of its process */
  /* What went wrong */
  guint failures;
  ChaosState before;            /* the first publisher without subscribers */
  guint64 first_publisher_life;
  guint64 gpu_before_mib, gpu_mark_kib;
} ChaosRun;

extern volatile sig_atomic_t chaos_interrupted;

/* chaos-process.c */
int chaos_process_role (int argc, char **argv);
gboolean chaos_process_start (ChaosRun * run, gboolean publisher, guint index);
gboolean chaos_process_has_gone (const ChaosProcess * process, guint64 timeout_ns);
/* Takes the exit status of one that has gone. */
int chaos_process_reap (ChaosProcess * process);
void chaos_process_kill (ChaosRun * run, ChaosProcess * process);
void chaos_process_leave (ChaosRun * run, ChaosProcess * process, const gchar * what);
gboolean chaos_process_look (ChaosRun * run);
gboolean chaos_publisher_restart (ChaosRun * run);
void chaos_fail (ChaosRun * run, const gchar * format, ...) G_GNUC_PRINTF (2, 3);

/* chaos-deeds.c: what happens to the processes */
void chaos_deeds (ChaosRun * run);
/* Until somebody who was killed is dead, or the time is over. */
void chaos_deeds_wait (ChaosRun * run, guint milliseconds);
void chaos_deeds_end (ChaosRun * run);

/* chaos-scarcity.c: what runs out for a while */
void chaos_scarcity_begin (ChaosRun * run);
void chaos_scarcity_fill (ChaosRun * run);
void chaos_scarcity_limit (ChaosRun * run);
void chaos_scarcity_lift (ChaosRun * run, guint64 now_ns);
gboolean chaos_scarcity_excuses (const ChaosRun * run, const ChaosProcess * process);
void chaos_scarcity_end (ChaosRun * run);

/* chaos-clock.c */
void chaos_clock_step (ChaosRun * run);

/* chaos-ask.c: 1 if the publisher knows this process, 0 if it does not, -1 if it does not answer */
int chaos_ask_knows (ChaosRun * run, pid_t pid);
void chaos_ask_compare (ChaosRun * run);
void chaos_ask_close (void);

/* chaos-state.c */
void chaos_state_read (pid_t pid, ChaosState * ret_state);
gboolean chaos_state_settles (pid_t pid, const ChaosState * mark, guint64 timeout_ns, ChaosState * ret_state);
guint chaos_state_count_files (const gchar * folder);
guint64 chaos_state_gpu_mib (void);

/* chaos-end.c: brings the run to its end and compares */
void chaos_end_mark (ChaosRun * run);
void chaos_end_mark_new (ChaosRun * run);
void chaos_end (ChaosRun * run);
gboolean chaos_wait_frames (ChaosRun * run, guint64 timeout_ns);

/* chaos-report.c */
void chaos_report_line (ChaosRun * run);
void chaos_report_end (ChaosRun * run);
guint64 chaos_report_errors (const ChaosRun * run);

#endif
