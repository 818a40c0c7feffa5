/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_ARENA_H
#define CUFRAMES_ARENA_H

#include <stdbool.h>

#include "cuframes-types.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CuframesArena:
 *
 * A block of shareable memory that holds the slots of a ring: made once, passed as a descriptor, mapped by whoever was
 * handed it. Reference-counted; every function may be called from any thread.
 *
 * Since: 0.1
 */
typedef struct _CuframesArena CuframesArena;

/* Private: what peers learn a publisher's end by. */
typedef struct _CuframesLife CuframesLife;

/**
 * CuframesArenaInfo:
 * @kind: what the arena is made of
 * @size_bytes: its size
 * @device_uuid: the GPU that it lives on; zeros for host memory
 *
 * What must be known of an arena to import it.
 *
 * Since: 0.1
 */
typedef struct
{
  CuframesMemoryKind kind;
  uint64_t size_bytes;
  uint8_t device_uuid[CUFRAMES_UUID_BYTES];
} CuframesArenaInfo;

/**
 * CuframesArenaOps:
 * @export_fd: makes a new close-on-exec descriptor of the arena: 0 and the caller's to close, or a negative errno
 * @free: unmaps and frees what the arena holds, then the arena itself
 * @orphan: (nullable): lets work end that waits in the memory for what its dead publisher will never write: whether it could; any thread, more
 *    than once
 * @adopt_mirror: (nullable): takes over pages from cuframes_memfd_new(), among them @words, to which fences are to be written too: whether
 *    it did. The pages then live as long as the arena
 * @hold_life: (nullable): keeps a reference to its publisher's life until nothing in this process writes to the memory any more, which may be later
 *    than @free: false if it is another publisher's already
 *
 * What a kind of memory brings. @free is called when the last reference goes.
 *
 * Since: 0.1
 */
typedef struct
{
  int (*export_fd) (CuframesArena * arena, int *ret_fd);
  void (*free) (CuframesArena * arena);
  bool (*orphan) (CuframesArena * arena);
  bool (*adopt_mirror) (CuframesArena * arena, void *pages, uint64_t page_bytes, uint64_t *words);
  bool (*hold_life) (CuframesArena * arena, CuframesLife * life);
} CuframesArenaOps;

/* The head of every kind's own struct. Set up by cuframes_arena_init(); read through the functions below. */
struct _CuframesArena
{
  const CuframesArenaOps *ops;
  CuframesArenaInfo info;
  uint64_t address;             /* host pointer or CUdeviceptr of the first byte */
  unsigned references;          /* atomic */
  uint64_t serial;
};

/**
 * CuframesArenaImportFunction:
 * @user_data: what was registered with the function
 * @info: what the publisher says of the arena; checked by the caller against constants only
 * @fd: (transfer none): the descriptor; closed by the caller afterwards
 * @ret_arena: (out) (transfer full): the arena, mapped for reading
 *
 * Imports an arena of another process, read-only.
 *
 * Returns: 0, %CUFRAMES_E_ABSENT if this process cannot map that kind or device, %CUFRAMES_E_PEER if the descriptor is
 * not what @info says, or a negative errno. On anything but 0 @ret_arena is unchanged.
 *
 * Since: 0.1
 */
typedef int (*CuframesArenaImportFunction) (void *user_data, const CuframesArenaInfo * info, int fd, CuframesArena ** ret_arena);

/* For the kinds: fills the head with one reference. */
CUFRAMES_API void cuframes_arena_init (CuframesArena * arena, const CuframesArenaOps * ops, const CuframesArenaInfo * info,
    uint64_t address);

/* "GPU-" and a UUID, as tools of the driver write it. */
#define CUFRAMES_ARENA_DEVICE_BYTES 48
CUFRAMES_API void cuframes_arena_describe_device (const CuframesArenaInfo * info, char text[CUFRAMES_ARENA_DEVICE_BYTES]);

CUFRAMES_API CuframesArena *cuframes_arena_ref (CuframesArena * arena);
CUFRAMES_API CuframesArena *cuframes_arena_unref (CuframesArena * arena);
CUFRAMES_API CuframesMemoryKind cuframes_arena_get_kind (const CuframesArena * arena);
CUFRAMES_API uint64_t cuframes_arena_get_size (const CuframesArena * arena);
CUFRAMES_API uint64_t cuframes_arena_get_address (const CuframesArena * arena);
CUFRAMES_API uint64_t cuframes_arena_get_serial (const CuframesArena * arena);
CUFRAMES_API void cuframes_arena_get_info (const CuframesArena * arena, CuframesArenaInfo * ret_info);
CUFRAMES_API int cuframes_arena_export_fd (CuframesArena * arena, int *ret_fd);

CUFRAMES_API int cuframes_arena_new_host (uint64_t size_bytes, CuframesArena ** ret_arena);
CUFRAMES_API int cuframes_arena_import_host (void *user_data, const CuframesArenaInfo * info, int fd, CuframesArena ** ret_arena);

#ifdef __cplusplus
}
#endif
#endif
