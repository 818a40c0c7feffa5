/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of the publisher share: the application's calls in cuframes-publisher.c, cuframes-publisher-publish.c and
 * cuframes-publisher-events.c, and the server's thread in cuframes-publisher-server.c. */
#ifndef CUFRAMES_PUBLISHER_PRIVATE_H
#define CUFRAMES_PUBLISHER_PRIVATE_H

#include "cuframes-life.h"
#include "cuframes-listener.h"
#include "cuframes-peer.h"
#include "cuframes-publisher.h"

#define CUFRAMES_ADOPTED_MAX 64u

/* An event that somebody who joins later is told of. */
typedef struct _CuframesSticky CuframesSticky;
struct _CuframesSticky
{
  CuframesSticky *next;
  uint64_t key;
  uint64_t after_sequence;      /* where it had its place when it was sent */
  CuframesEventKind kind;
  uint32_t byte_count;
  uint8_t bytes[];
};

struct _CuframesPublisher
{
  CuframesPublisherConfig config;       /* its arrays are owned, its socket_path is not set */
  CuframesPublisherCallbacks callbacks;
  pid_t owner;
  uint64_t ring_id;
  CuframesLife *life;           /* also held by what a GPU may still write to */
  CuframesListener listener;
  pthread_t thread;
  bool thread_runs;
  CuframesInbox inbox;          /* made here and handed to the thread, which has it from then on */
  int server_wake_fd;           /* an eventfd of our own: new work for the server */

  pthread_mutex_t lock;         /* guards what follows */
  unsigned in_a_hurry;          /* atomic: threads that publish and want the lock */
  pthread_cond_t changed;
  bool stopping;
  bool flushing;
  CuframesPeer **peers;
  uint32_t peer_count, peer_capacity;
  uint32_t next_id;
  int adopted[CUFRAMES_ADOPTED_MAX];
  uint32_t adopted_count;
  CuframesRing *ring;
  CuframesRing *old_rings;      /* superseded; the server forgets those that no peer refers to, because unmapping takes its time */
  uint32_t generation;
  uint64_t head;
  uint64_t claim_start_ns;      /* since when the frame waits that is published next; 0 if it does not */
  uint64_t event_serial;
  CuframesSticky *stickies;
  CuframesPublisherStats stats; /* the counters of it */
};

/* Server */
int cuframes_publisher_start_server (CuframesPublisher * publisher);
void cuframes_publisher_stop_server (CuframesPublisher * publisher);
void cuframes_publisher_kick_server (CuframesPublisher * publisher);

/* Under the lock */
void cuframes_publisher_flush_peer (CuframesPublisher * publisher, CuframesPeer * peer);
int cuframes_publisher_send_stats (CuframesPublisher * publisher, CuframesPeer * peer);
void cuframes_publisher_collect_stats (CuframesPublisher * publisher, CuframesPublisherStats * ret_stats);
void cuframes_publisher_take_off (CuframesPublisher * publisher, CuframesPeer * peer);
void cuframes_publisher_wake (CuframesPublisher * publisher);
void cuframes_publisher_drop_events (CuframesPublisher * publisher);
uint32_t cuframes_publisher_count_subscribers (const CuframesPublisher * publisher);

/* Anywhere */
void cuframes_publisher_log (CuframesPublisher * publisher, const char *format, ...) __attribute__ ((format (printf, 2, 3)));

#endif
