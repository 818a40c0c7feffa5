/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sealed memory files: the pages and host arenas. */
#ifndef CUFRAMES_MEMFD_H
#define CUFRAMES_MEMFD_H

#include <stdbool.h>
#include <stdint.h>

#include "cuframes-types.h"

typedef enum
{
  CUFRAMES_MEMFD_OWNER_WRITES,  /* nobody but the maker can map it writable from now on */
  CUFRAMES_MEMFD_PEER_WRITES,   /* whoever is handed it may write */
} CuframesMemfdMode;

typedef enum
{
  CUFRAMES_MEMFD_SPARSE,        /* memory comes as it is used */
  CUFRAMES_MEMFD_RESERVED,      /* it is taken now, so that a full machine shows here and not as a fault later, and zeroed as it is used */
  CUFRAMES_MEMFD_POPULATED,     /* it is taken, zeroed and mapped now: the first use costs nothing */
} CuframesMemfdFill;

int cuframes_memfd_new (const char *name, uint64_t size_bytes, CuframesMemfdMode mode, CuframesMemfdFill fill, int *ret_fd, void **ret_data);
int cuframes_memfd_map (int fd, uint64_t size_bytes, CuframesMemfdMode mode, bool populate, void **ret_data);
void *cuframes_memfd_unmap (void *data, uint64_t size_bytes);

#endif
