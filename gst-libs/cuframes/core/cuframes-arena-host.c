/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Host memory by memfd. The publisher's mapping is writable, everybody else's cannot be. */
#define _GNU_SOURCE
#include "cuframes-arena-host.h"

#include <fcntl.h>

#include "cuframes-util.h"

typedef struct
{
  CuframesArena head;
  int fd;                       /* -1 in an importer: it needs the mapping alone */
  void *data;
} HostArena;

static int
host_export_fd (CuframesArena *arena, int *ret_fd)
{
  const HostArena *self = (const HostArena *) arena;
  int fd;

  if (self->fd < 0)
    return -EPERM;
  fd = fcntl (self->fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    return -errno;
  *ret_fd = fd;
  return 0;
}

static void
host_free (CuframesArena *arena)
{
  HostArena *self = (HostArena *) arena;

  self->data = cuframes_memfd_unmap (self->data, self->head.info.size_bytes);
  self->fd = cuframes_close (self->fd);
  free (self);
}

static const CuframesArenaOps host_ops = { host_export_fd, host_free, NULL };

static int
host_wrap (int take_fd, void *data, uint64_t size_bytes, CuframesArena **ret_arena)
{
  const CuframesArenaInfo info = {.kind = CUFRAMES_MEMORY_HOST,.size_bytes = size_bytes };
  HostArena *self = calloc (1, sizeof *self);

  if (self == NULL) {
    cuframes_memfd_unmap (data, size_bytes);
    cuframes_close (take_fd);
    return -ENOMEM;
  }
  self->fd = take_fd;
  self->data = data;
  cuframes_arena_init (&self->head, &host_ops, &info, (uint64_t) (uintptr_t) data);
  *ret_arena = &self->head;
  return 0;
}

/* As cuframes_arena_new_host(), filled as told. */
int
cuframes_arena_host_new (uint64_t size_bytes, CuframesMemfdFill fill, CuframesArena **ret_arena)
{
  uint64_t rounded;
  void *data = NULL;
  int fd = -1, r;

  if (!cuframes_align (size_bytes, (uint64_t) sysconf (_SC_PAGESIZE), &rounded))
    return -EINVAL;
  r = cuframes_memfd_new ("cuframes-arena", rounded, CUFRAMES_MEMFD_OWNER_WRITES, fill, &fd, &data);
  if (r < 0)
    return r;
  return host_wrap (fd, data, rounded, ret_arena);
}

/**
 * cuframes_arena_new_host:
 * @size_bytes: its size; rounded up to whole pages
 * @ret_arena: (out) (transfer full): the arena
 *
 * Makes an arena of host memory, all of which is taken now. Only this process can write to it, ever.
 *
 * Returns: 0, -ENOMEM if the machine or -EFBIG if the file size limit (RLIMIT_FSIZE) does not allow it, -EMFILE without a free
 * descriptor, or another negative errno; on failure @ret_arena is unchanged
 *
 * Since: 0.1
 */
int
cuframes_arena_new_host (uint64_t size_bytes, CuframesArena **ret_arena)
{
  return cuframes_arena_host_new (size_bytes, CUFRAMES_MEMFD_POPULATED, ret_arena);
}

/**
 * cuframes_arena_import_host:
 * @user_data: not used
 * @info: what the publisher says of the arena
 * @fd: (transfer none): the descriptor
 * @ret_arena: (out) (transfer full): the arena, mapped for reading
 *
 * A #CuframesArenaImportFunction for host memory.
 *
 * Returns: 0, %CUFRAMES_E_ABSENT for another kind of memory, %CUFRAMES_E_PEER if the descriptor is no sealed memory file of that
 * size, or a negative errno; on anything but 0 @ret_arena is unchanged
 *
 * Since: 0.1
 */
int
cuframes_arena_import_host (void *user_data, const CuframesArenaInfo *info, int fd, CuframesArena **ret_arena)
{
  void *data = NULL;
  int r;

  (void) user_data;
  if (info->kind != CUFRAMES_MEMORY_HOST)
    return CUFRAMES_E_ABSENT;
  r = cuframes_memfd_map (fd, info->size_bytes, CUFRAMES_MEMFD_OWNER_WRITES, true, &data);
  if (r != 0)
    return r;
  return host_wrap (-1, data, info->size_bytes, ret_arena);
}
