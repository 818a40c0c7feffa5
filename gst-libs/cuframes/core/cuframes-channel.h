/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One whole message with its descriptors over one unix socket. */
#ifndef CUFRAMES_CHANNEL_H
#define CUFRAMES_CHANNEL_H

#include "cuframes-wire.h"

/* A message that was received: its descriptors are the receiver's until stolen or closed. */
typedef struct
{
  CuframesMessage message;
  int fds[CUFRAMES_WIRE_FDS_MAX];
  uint32_t fd_count;
  uint8_t *bytes;               /* CUFRAMES_WIRE_BYTES_MAX, what the message borrows from */
} CuframesInbox;

int cuframes_inbox_init (CuframesInbox * inbox);
void cuframes_inbox_clear (CuframesInbox * inbox);
void cuframes_inbox_close_fds (CuframesInbox * inbox);

void cuframes_channel_refuse_fds (int fd);
int cuframes_channel_send (int fd, const CuframesMessage * message, const int *fds, uint32_t fd_count);
int cuframes_channel_receive (int fd, CuframesInbox * inbox);

#endif
