/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two parts of the subscriber share: its life in cuframes-subscriber.c, and what comes next in cuframes-subscriber-next.c. */
#ifndef CUFRAMES_SUBSCRIBER_PRIVATE_H
#define CUFRAMES_SUBSCRIBER_PRIVATE_H

#include <pthread.h>

#include "cuframes-pending.h"
#include "cuframes-util.h"
#include "cuframes-view.h"

struct _CuframesSubscriber
{
  CuframesSubscriberConfig config;      /* its strings are owned */
  CuframesHello hello;
  int cancel_fd;
  int watch_fd;                 /* over the channel's directory, once it had to be waited for */
  CuframesInbox inbox;
  char refusal[CUFRAMES_TEXT_BYTES];
  uint32_t refused_code;
  CuframesConnection *connection;
  CuframesConnection *adopted;  /* one that the application made, until its publisher answers */
  CuframesView view;
  CuframesPendingQueue pending;
  CuframesPending *delivered;   /* what the last item borrows from */
  uint64_t event_serial;        /* of the newest event that has come in */
  uint32_t stickies_due;        /* that are still to come in before the first frame */
  uint32_t newest_generation;   /* that has come in */
  bool gone;                    /* the publisher hung up */
  int failure;                  /* or we had to, for want of memory or descriptors: a negative errno */
  uint32_t bye;
  bool greeted;                 /* the item CONNECTED was handed out */
  bool awaits_event;
  uint64_t event_deadline_ns;   /* until when, while it does */
  pthread_mutex_t lock;         /* guards the counters, and changes of connection */
  CuframesSubscriberCounters counters;
};

void cuframes_subscriber_disconnect (CuframesSubscriber * subscriber);

static inline uint64_t
cuframes_deadline_after (uint64_t timeout_ns)
{
  const uint64_t now = cuframes_now_ns ();
  return timeout_ns > CUFRAMES_NONE - now ? CUFRAMES_NONE : now + timeout_ns;
}

#endif
