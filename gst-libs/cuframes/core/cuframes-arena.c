/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all kinds of arena have in common: a count of references and what is known of the memory. */
#include "cuframes-arena.h"

#include <stdio.h>

static uint64_t serials;        /* atomic */

/**
 * cuframes_arena_init:
 * @arena: the head of a kind's struct
 * @ops: (transfer none): what the kind brings; lives as long as the arena
 * @info: what is known of the memory
 * @address: address of its first byte
 *
 * Fills the head of an arena with one reference. For those who bring a kind of memory.
 *
 * Since: 0.1
 */
void
cuframes_arena_init (CuframesArena *arena, const CuframesArenaOps *ops, const CuframesArenaInfo *info, uint64_t address)
{
  arena->ops = ops;
  arena->info = *info;
  arena->address = address;
  /* Relaxed: a number that nobody else has is all that is asked of it. */
  arena->serial = __atomic_add_fetch (&serials, 1, __ATOMIC_RELAXED);
  __atomic_store_n (&arena->references, 1, __ATOMIC_RELAXED);
}

/**
 * cuframes_arena_describe_device:
 * @info: what is known of an arena
 * @text: (out): %CUFRAMES_ARENA_DEVICE_BYTES bytes
 *
 * Names the GPU that an arena lies on, for messages: "GPU-" and its UUID.
 *
 * Since: 0.1
 */
void
cuframes_arena_describe_device (const CuframesArenaInfo *info, char text[CUFRAMES_ARENA_DEVICE_BYTES])
{
  size_t length = (size_t) snprintf (text, CUFRAMES_ARENA_DEVICE_BYTES, "GPU");

  for (int i = 0; i < CUFRAMES_UUID_BYTES; i++)
    length += (size_t) snprintf (text + length, CUFRAMES_ARENA_DEVICE_BYTES - length, "%s%02x",
        i == 0 || (i >= 4 && i <= 10 && i % 2 == 0) ? "-" : "", info->device_uuid[i]);
}

/**
 * cuframes_arena_ref:
 * @arena: an arena
 *
 * Returns: (transfer full): @arena with one reference more
 *
 * Since: 0.1
 */
CuframesArena *
cuframes_arena_ref (CuframesArena *arena)
{
  __atomic_fetch_add (&arena->references, 1, __ATOMIC_RELAXED);
  return arena;
}

/**
 * cuframes_arena_unref:
 * @arena: (transfer full) (nullable): an arena
 *
 * Gives a reference back. With the last one the memory is unmapped in this process; it lives on as long as another process
 * maps it.
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesArena *
cuframes_arena_unref (CuframesArena *arena)
{
  if (arena != NULL && __atomic_fetch_sub (&arena->references, 1, __ATOMIC_ACQ_REL) == 1)
    arena->ops->free (arena);
  return NULL;
}

/**
 * cuframes_arena_get_kind:
 * @arena: an arena
 *
 * Returns: what the arena is made of
 *
 * Since: 0.1
 */
CuframesMemoryKind
cuframes_arena_get_kind (const CuframesArena *arena)
{
  return arena->info.kind;
}

/**
 * cuframes_arena_get_size:
 * @arena: an arena
 *
 * Returns: its size in bytes
 *
 * Since: 0.1
 */
uint64_t
cuframes_arena_get_size (const CuframesArena *arena)
{
  return arena->info.size_bytes;
}

/**
 * cuframes_arena_get_address:
 * @arena: an arena
 *
 * Returns: where the arena is mapped: a pointer of this process, or a CUdeviceptr
 *
 * Since: 0.1
 */
uint64_t
cuframes_arena_get_address (const CuframesArena *arena)
{
  return arena->address;
}

/**
 * cuframes_arena_get_serial:
 * @arena: an arena
 *
 * Returns: a number that no other arena of this process has or had, from 1
 *
 * Since: 0.1
 */
uint64_t
cuframes_arena_get_serial (const CuframesArena *arena)
{
  return arena->serial;
}

/**
 * cuframes_arena_get_info:
 * @arena: an arena
 * @ret_info: (out): what another process must know to import it
 *
 * Since: 0.1
 */
void
cuframes_arena_get_info (const CuframesArena *arena, CuframesArenaInfo *ret_info)
{
  *ret_info = arena->info;
}

/**
 * cuframes_arena_export_fd:
 * @arena: an arena that this process made
 * @ret_fd: (out): a new close-on-exec descriptor of it; the caller closes it
 *
 * Makes a descriptor by which another process imports the arena.
 *
 * Returns: 0 or a negative errno; on failure @ret_fd is unchanged
 *
 * Since: 0.1
 */
int
cuframes_arena_export_fd (CuframesArena *arena, int *ret_fd)
{
  return arena->ops->export_fd (arena, ret_fd);
}
