/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One generation as a subscriber maps it, and the frames that are leased from it. */
#ifndef CUFRAMES_MAPPING_H
#define CUFRAMES_MAPPING_H

#include "cuframes-connection.h"
#include "cuframes-frame-ring.h"
#include "cuframes-subscriber.h"

/* Reference-counted: every frame that is out holds one, and it holds the connection. */
typedef struct
{
  unsigned references;          /* atomic */
  unsigned leased;              /* atomic: frames out */
  unsigned depth;               /* of the process that mapped it, see cuframes_fork_guard_get_depth() */
  CuframesConnection *connection;
  CuframesRingMessage message;  /* checked; its format is not kept */
  const CuframesControlPage *control;
  CuframesLeasePage *page;
  CuframesArena *arena;
  int watch_fd;                 /* ends the watch over the publisher's life; -1 while there is none */
} CuframesMapping;

int cuframes_mapping_new (CuframesConnection * connection, const CuframesRingMessage * message, const int fds[3],
    CuframesArenaImportFunction import, void *user_data, CuframesMapping ** ret_mapping);
CuframesMapping *cuframes_mapping_ref (CuframesMapping * mapping);
CuframesMapping *cuframes_mapping_unref (CuframesMapping * mapping);
int cuframes_mapping_lease (CuframesMapping * mapping, CuframesFrameReader * reader, CuframesReadOrder order, CuframesFrame ** ret_frame);

#endif
