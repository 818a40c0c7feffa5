/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the two parts of the publisher's thread share: the door in cuframes-publisher-door.c and the loop in cuframes-publisher-server.c. */
#ifndef CUFRAMES_PUBLISHER_SERVER_H
#define CUFRAMES_PUBLISHER_SERVER_H

#include "cuframes-publisher-private.h"

#define CUFRAMES_HALF_OPEN_MAX 16u

typedef struct
{
  int fd;
  uint64_t deadline_ns;
} CuframesHalfOpen;

typedef struct
{
  bool added;
  CuframesSubscriberStats subscriber;
} CuframesNotice;

typedef struct
{
  CuframesPublisher *publisher;
  CuframesInbox inbox;
  CuframesHalfOpen half_open[CUFRAMES_HALF_OPEN_MAX];
  uint32_t half_open_count;
  uint64_t listen_again_ns;
  bool resting;                 /* and has said so */
  bool some_are_throttled;      /* nothing tells when they have read what they were sent */
  struct pollfd *polls;
  uint32_t poll_capacity;
  CuframesNotice *notices;
  uint32_t notice_count, notice_capacity;
  bool keyframe_wanted, all_headers;
} CuframesServer;

void cuframes_server_accept (CuframesServer * server);
void cuframes_server_take_adopted (CuframesServer * server);
void cuframes_server_hear_half_open (CuframesServer * server, uint32_t i);
void cuframes_server_expire (CuframesServer * server);
void cuframes_server_notice (CuframesServer * server, bool added, CuframesPeer * peer);

#endif
