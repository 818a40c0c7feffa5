/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A subscriber's way to a publisher: finding the socket, waiting for it to appear, and the handshake. */
#ifndef CUFRAMES_CONNECTION_H
#define CUFRAMES_CONNECTION_H

#include "cuframes-channel.h"

/* Reference-counted: as long as a frame is held the socket stays open, because its closing gives every lease back. */
typedef struct
{
  unsigned references;          /* atomic */
  int fd;
  int wake_fd;
  int life_fd;                  /* hangs up when the publisher will write no fence any more */
  CuframesWelcome welcome;
} CuframesConnection;

int cuframes_connection_dial (const char *path, int *ret_fd);
int cuframes_connection_open (const char *path, const CuframesHello * hello, uint64_t deadline_ns, int cancel_fd, int *watch_fd, CuframesInbox * inbox,
    CuframesConnection ** ret_connection);
int cuframes_connection_begin (int take_fd, const CuframesHello * hello, CuframesConnection ** ret_connection);
int cuframes_connection_finish (CuframesConnection * connection, uint64_t deadline_ns, int cancel_fd, CuframesInbox * inbox);
CuframesConnection *cuframes_connection_ref (CuframesConnection * connection);
CuframesConnection *cuframes_connection_unref (CuframesConnection * connection);

int cuframes_poll (int fd, short events, int cancel_fd, uint64_t deadline_ns, short *ret_events);

#endif
