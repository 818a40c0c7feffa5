/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The socket on which a channel is found. */
#ifndef CUFRAMES_LISTENER_H
#define CUFRAMES_LISTENER_H

#include <sys/stat.h>
#include <sys/types.h>
#include <sys/un.h>

#include "cuframes-types.h"

typedef struct
{
  int fd;
  int lock_fd;                  /* locked while the channel is ours; -1 for an abstract address */
  int spare_fd;                 /* given up for a moment to answer when descriptors have run out */
  pid_t owner;
  dev_t device;                 /* which file the socket is, so that we remove no other */
  ino_t inode;
  char path[CUFRAMES_SOCKET_PATH_BYTES];
  char lock_path[CUFRAMES_SOCKET_PATH_BYTES + 8];
} CuframesListener;

typedef struct
{
  pid_t pid;
  uid_t uid;
  gid_t gid;
} CuframesPeerIdentity;

int cuframes_listener_open (CuframesListener * listener, const char *path, mode_t mode);
void cuframes_listener_close (CuframesListener * listener);
int cuframes_listener_accept (CuframesListener * listener, int *ret_fd);
int cuframes_listener_identify (int fd, CuframesPeerIdentity * ret_identity);

#endif
