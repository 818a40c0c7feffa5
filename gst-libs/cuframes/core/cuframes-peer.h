/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One subscriber as its publisher sees it: the socket, the wake pipe, the lease page and what it has still to be sent. All calls are
 * made under the publisher's lock; none waits. */
#ifndef CUFRAMES_PEER_H
#define CUFRAMES_PEER_H

#include "cuframes-channel.h"
#include "cuframes-listener.h"
#include "cuframes-ring.h"

#define CUFRAMES_PEER_QUEUE_COUNT_MAX 256u
#define CUFRAMES_PEER_QUEUE_BYTES_MAX (32u * 1024u * 1024u)
/* Of events in memory files that were sent and are not read. */
#define CUFRAMES_PEER_UNREAD_BYTES_MAX (32u * 1024u * 1024u)
/* Likewise, in number: the kernel counts all descriptors that a user's processes sent and nobody received, against RLIMIT_NOFILE. */
#define CUFRAMES_PEER_UNREAD_COUNT_MAX 8u

/* What is sent in order: events, and a marker for "the ring that is current when the turn comes". */
typedef struct _CuframesOutgoing CuframesOutgoing;
struct _CuframesOutgoing
{
  CuframesOutgoing *next;
  bool is_ring;
  CuframesEventMessage event;
  uint8_t bytes[];
};

typedef struct
{
  int fd;
  int wake_read_fd;             /* kept open so that writing never raises SIGPIPE */
  int wake_write_fd;
  uint32_t id;
  bool observer;
  bool lingering;               /* off the channel, but what it holds is honoured until it hangs up */
  bool dead;                    /* to be removed by the server */
  bool announced;               /* the application was told of it */
  bool ending;                  /* the publisher goes: no generation follows that READY would have to be waited for */
  CuframesPeerIdentity identity;
  CuframesHello hello;          /* what it said of itself */
  CuframesRing *ring;           /* the one its page belongs to */
  CuframesLeasePage *page;
  uint32_t sent_generation;
  uint32_t ready_generation;
  CuframesOutgoing *queue, **queue_end;
  uint32_t queue_count;
  size_t queue_bytes;
  size_t unread_bytes;          /* of memory files in its socket, at most */
  uint32_t unread_count;
  bool throttled;               /* nothing more is sent until it has read what it was sent */
  uint32_t suspect_wakes;       /* so many more, since one took long: some of them are measured */
  uint32_t random;              /* which */
  uint64_t wake_debt_ns;        /* what wake-ups took beyond their due */
  uint64_t wakeups;
  uint64_t attached_ns;
  uint64_t delivered_before;    /* counters of earlier generations' pages */
  uint64_t missed_before;
  uint64_t copied_before;
} CuframesPeer;

int cuframes_peer_new (int take_fd, const CuframesPeerIdentity * identity, const CuframesHello * hello, uint32_t id, CuframesPeer ** ret_peer);
CuframesPeer *cuframes_peer_free (CuframesPeer * peer);
bool cuframes_peer_can_map (const CuframesHello * hello, const CuframesRingMessage * ring);
int cuframes_peer_queue_ring (CuframesPeer * peer);
int cuframes_peer_queue_event (CuframesPeer * peer, const CuframesEventMessage * event);
int cuframes_peer_flush (CuframesPeer * peer, CuframesRing * current);
bool cuframes_peer_wants_to_send (const CuframesPeer * peer);
bool cuframes_peer_wake (CuframesPeer * peer);
void cuframes_peer_poke (CuframesPeer * peer, char why);
bool cuframes_peer_is_costly (const CuframesPeer * peer);
void cuframes_peer_linger (CuframesPeer * peer);
void cuframes_peer_dismiss (CuframesPeer * peer, CuframesByeReason reason);
void cuframes_peer_drop (CuframesPeer * peer);
void cuframes_peer_get_stats (CuframesPeer * peer, const CuframesRing * current, CuframesSubscriberStats * ret_stats);

#endif
