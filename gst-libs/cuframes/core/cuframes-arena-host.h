/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host memory for the rooms of this library; the public part is in cuframes-arena.h. */
#ifndef CUFRAMES_ARENA_HOST_H
#define CUFRAMES_ARENA_HOST_H

#include "cuframes-arena.h"
#include "cuframes-memfd.h"

int cuframes_arena_host_new (uint64_t size_bytes, CuframesMemfdFill fill, CuframesArena ** ret_arena);

#endif
