/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* GPU memory of the CUDA virtual memory API, passed as a descriptor. Knows nothing of rings, slots or sockets. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>

#include "cuframes-arena-cuda-private.h"
#include "cuframes-util.h"

static CuframesArenaCuda *
new_arena (CuframesCudaDevice *device, bool writable)
{
  CuframesArenaCuda *self = calloc (1, sizeof *self);

  if (self == NULL) {
    cuframes_cuda_device_say (device, -ENOMEM, "out of memory");
    return NULL;
  }
  self->device = cuframes_cuda_device_ref (device);
  self->writable = writable;
  self->fd = -1;
  pthread_mutex_init (&self->lock, NULL);
  return self;
}

static void
unmap (CuframesArenaCuda *self, CuframesCudaMapping *mapping)
{
  if (mapping->mapped_bytes != 0)
    self->device->driver->mem_unmap (mapping->address, mapping->mapped_bytes);
  mapping->mapped_bytes = 0;
  if (mapping->reserved_bytes != 0)
    self->device->driver->mem_address_free (mapping->address, mapping->reserved_bytes);
  mapping->reserved_bytes = 0;
}

CUresult
cuframes_arena_cuda_map (CuframesArenaCuda *self, CuframesCudaMapping *mapping, uint64_t bytes, bool writable, const char **ret_call)
{
  const CuframesCudaDriver *driver = self->device->driver;
  CUmemAccessDesc access = { 0 };
  CUresult result;

  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = self->device->device;
  access.flags = writable ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_READ;

  *ret_call = "cuMemAddressReserve";
  result = driver->mem_address_reserve (&mapping->address, bytes, 0, 0, 0);
  if (result != CUDA_SUCCESS)
    return result;
  mapping->reserved_bytes = bytes;
  *ret_call = "cuMemMap";
  result = driver->mem_map (mapping->address, bytes, 0, self->handle, 0);
  if (result == CUDA_SUCCESS) {
    mapping->mapped_bytes = bytes;
    *ret_call = "cuMemSetAccess";
    result = driver->mem_set_access (mapping->address, bytes, &access, 1);
  }
  if (result != CUDA_SUCCESS)
    unmap (self, mapping);
  return result;
}

/* How long whoever lets go of the last reference is held up by a GPU that is late; it may have others to serve, as a publisher's server has. */
#define SETTLE_HERE_NS 20000000u
#define SETTLE_NS 2000000000u

static void
undo (CuframesArenaCuda *self)
{
  bool entered;

  /* Memory is the process's and not the context's: without the context it can be given back all the same. */
  entered = cuframes_cuda_device_enter (self->device) == 0;
  cuframes_arena_cuda_drop_mirror (self);
  unmap (self, &self->fences);
  unmap (self, &self->memory);
  if (self->has_handle)
    self->device->driver->mem_release (self->handle);
  if (entered)
    cuframes_cuda_device_leave (self->device);
  self->fd = cuframes_close (self->fd);
  cuframes_life_unref (self->life);
  pthread_mutex_destroy (&self->lock);
  cuframes_cuda_device_unref (self->device);
  free (self);
}

/* A context that has failed runs nothing any more, and never gets to what was queued there. */
static bool
has_failed (CuframesArenaCuda *self)
{
  CUresult result;

  if (cuframes_cuda_device_enter (self->device) != 0)
    return true;
  result = self->device->driver->stream_query (self->device->stream);
  cuframes_cuda_device_leave (self->device);
  return result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY;
}

static void *
free_late (void *data)
{
  /* What a GPU still writes to then stays until the process ends. */
  if (cuframes_arena_cuda_settle (data, SETTLE_NS) || has_failed (data))
    undo (data);
  return NULL;
}

static void *
free_arena (void *data)
{
  if (cuframes_arena_cuda_settle (data, SETTLE_HERE_NS))
    undo (data);
  else
    cuframes_cuda_run_apart (free_late, data);
  return NULL;
}

static void
cuda_free (CuframesArena *arena)
{
  cuframes_cuda_run_outside_callbacks (free_arena, arena);
}

/* The descriptor is made once and copied: that needs no driver, so it is done on whatever thread greets a subscriber, and an
 * export that the driver refuses is known when the arena is made. */
static int
cuda_export_fd (CuframesArena *arena, int *ret_fd)
{
  const CuframesArenaCuda *self = (const CuframesArenaCuda *) arena;
  int fd;

  if (self->fd < 0)
    return cuframes_cuda_device_say (self->device, -EPERM, "an imported arena is not passed on");
  fd = fcntl (self->fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    return cuframes_cuda_device_say (self->device, -errno, "no descriptor is free");
  *ret_fd = fd;
  return 0;
}

static bool
cuda_orphan (CuframesArena *arena)
{
  return cuframes_arena_cuda_release_waiters (arena) == 0;
}

static bool
cuda_hold_life (CuframesArena *arena, CuframesLife *life)
{
  CuframesArenaCuda *self = (CuframesArenaCuda *) arena;
  bool held;

  pthread_mutex_lock (&self->lock);
  if (self->life == NULL)
    self->life = cuframes_life_ref (life);
  held = self->life == life;
  pthread_mutex_unlock (&self->lock);
  return held;
}

static const CuframesArenaOps cuda_ops = {
  .export_fd = cuda_export_fd,.free = cuda_free,.orphan = cuda_orphan,.adopt_mirror = cuframes_arena_cuda_adopt_mirror,
  .hold_life = cuda_hold_life,
};

static void
describe_memory (const CuframesCudaDevice *device, CUdevice owner, CUmemAllocationProp *ret_properties)
{
  memset (ret_properties, 0, sizeof *ret_properties);
  ret_properties->type = CU_MEM_ALLOCATION_TYPE_PINNED;
  ret_properties->requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  ret_properties->location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  ret_properties->location.id = owner;
  ret_properties->allocFlags.gpuDirectRDMACapable = device->has_rdma;
}

static int
get_granularity (CuframesArenaCuda *self, const CUmemAllocationProp *properties)
{
  size_t bytes = 0;
  CUresult result = self->device->driver->mem_get_allocation_granularity (&bytes, properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM);

  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "cuMemGetAllocationGranularity on %s", self->device->name);
  self->granularity_bytes = bytes;
  return 0;
}

static int
clear_fences (CuframesArenaCuda *self)
{
  static const uint64_t zeros[CUFRAMES_ARENA_CUDA_FENCE_WORDS];
  CUresult result = cuframes_arena_cuda_write_fences (self, self->memory.address, zeros);

  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "clearing the fence words on %s", self->device->name);
  return 0;
}

static int
export_once (CuframesArenaCuda *self)
{
  CUresult result = self->device->driver->mem_export_to_shareable_handle (&self->fd, self->handle,
      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0);

  if (result != CUDA_SUCCESS) {
    self->fd = -1;
    return cuframes_cuda_device_fail (self->device, result, "cuMemExportToShareableHandle on %s", self->device->name);
  }
  if (fcntl (self->fd, F_SETFD, FD_CLOEXEC) < 0)
    return cuframes_cuda_device_say (self->device, -errno, "cuMemExportToShareableHandle gives no descriptor");
  return 0;
}

/* With the context current. What is done when it fails is undone by free_arena(). */
static int
create (CuframesArenaCuda *self, uint64_t size_bytes, uint64_t *ret_size_bytes)
{
  const CuframesCudaDevice *device = self->device;
  CUmemAllocationProp properties;
  const char *call;
  CUresult result;
  int r;

  describe_memory (device, device->device, &properties);
  r = get_granularity (self, &properties);
  if (r != 0)
    return r;
  if (size_bytes <= CUFRAMES_ARENA_CUDA_FENCE_BYTES || !cuframes_align (size_bytes, self->granularity_bytes, &size_bytes))
    return cuframes_cuda_device_say (self->device, -EINVAL, "%llu bytes are no size of an arena", (unsigned long long) size_bytes);

  result = device->driver->mem_create (&self->handle, size_bytes, &properties, 0);
  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "cuMemCreate of %llu bytes on %s", (unsigned long long) size_bytes,
        device->name);
  self->has_handle = true;
  result = cuframes_arena_cuda_map (self, &self->memory, size_bytes, true, &call);
  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "%s of %llu bytes on %s", call, (unsigned long long) size_bytes,
        device->name);
  *ret_size_bytes = size_bytes;
  r = clear_fences (self);
  return r != 0 ? r : export_once (self);
}

/**
 * cuframes_arena_new_cuda:
 * @device: the GPU; the arena takes a reference
 * @size_bytes: its size, more than %CUFRAMES_ARENA_CUDA_FENCE_BYTES; rounded up to what the GPU hands out, mostly 2 MiB
 * @ret_arena: (out) (transfer full): the arena
 *
 * Makes an arena of GPU memory, mapped for reading and writing, with all fence words 0. What lies behind them is undefined.
 * Where the GPU can, the memory is made fit for GPUDirect RDMA. The arena keeps one descriptor open.
 *
 * The last reference may go on any thread, callbacks of the driver included. Work on the GPU that uses the arena must be done
 * by then, see cuframes_cuda_device_when_done(). The memory lives on as long as another process maps it.
 *
 * Returns: 0, -ENOMEM if the GPU's memory does not suffice, -EINVAL if @size_bytes is no size, or another negative errno;
 * cuframes_cuda_device_get_text() says more; on failure @ret_arena is unchanged
 *
 * Since: 0.1
 */
int
cuframes_arena_new_cuda (CuframesCudaDevice *device, uint64_t size_bytes, CuframesArena **ret_arena)
{
  CuframesArenaInfo info = {.kind = CUFRAMES_MEMORY_CUDA };
  CuframesArenaCuda *self = new_arena (device, true);
  int r;

  if (self == NULL)
    return -ENOMEM;
  r = cuframes_cuda_device_enter (device);
  if (r == 0) {
    r = create (self, size_bytes, &info.size_bytes);
    cuframes_cuda_device_leave (device);
  }
  if (r != 0) {
    free_arena (self);
    return r;
  }
  cuframes_cuda_device_get_uuid (device, info.device_uuid);
  cuframes_arena_init (&self->head, &cuda_ops, &info, self->memory.address);
  *ret_arena = &self->head;
  return 0;
}

/* Finds the GPU that the arena lives on, if this one can map its memory. */
static int
find_owner (CuframesCudaDevice *device, const CuframesArenaInfo *info, CUdevice *ret_owner)
{
  char name[CUFRAMES_CUDA_NAME_BYTES];
  CUdevice owner;

  if (info->kind != CUFRAMES_MEMORY_CUDA)
    return cuframes_cuda_device_say (device, CUFRAMES_E_ABSENT, "the publisher's frames are not in GPU memory");
  if (memcmp (info->device_uuid, device->uuid, CUFRAMES_UUID_BYTES) == 0) {
    *ret_owner = device->device;
    return 0;
  }
  if (cuframes_cuda_device_find_other (device, info->device_uuid, &owner) != 0) {
    cuframes_cuda_describe_uuid (info->device_uuid, name);
    return cuframes_cuda_device_say (device, CUFRAMES_E_ABSENT,
        "the publisher's frames are on %s, which this process cannot use; it uses %s", name, device->name);
  }
  if (!cuframes_cuda_device_reaches (device, owner)) {
    cuframes_cuda_describe (device->driver, owner, name);
    return cuframes_cuda_device_say (device, CUFRAMES_E_ABSENT, "the publisher's frames are on %s, which %s cannot reach", name,
        device->name);
  }
  *ret_owner = owner;
  return 0;
}

static int
check_size (CuframesArenaCuda *self, CUdevice owner, uint64_t size_bytes)
{
  CUmemAllocationProp properties;
  size_t total_bytes = 0;
  CUresult result;
  int r;

  describe_memory (self->device, owner, &properties);
  r = get_granularity (self, &properties);
  if (r != 0)
    return r;
  result = self->device->driver->device_total_mem (&total_bytes, owner);
  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "cuDeviceTotalMem");
  if (size_bytes == 0 || size_bytes % self->granularity_bytes != 0 || size_bytes > total_bytes)
    return cuframes_cuda_device_say (self->device, CUFRAMES_E_PEER, "the publisher's arena cannot have %llu bytes",
        (unsigned long long) size_bytes);
  return 0;
}

/* True for what the driver says when it is given something else than memory of that size. */
static bool
is_peers_fault (CUresult result)
{
  return result == CUDA_ERROR_INVALID_VALUE || result == CUDA_ERROR_INVALID_HANDLE || result == CUDA_ERROR_INVALID_DEVICE
      || result == CUDA_ERROR_OPERATING_SYSTEM || result == CUDA_ERROR_UNKNOWN;
}

/* A driver that finds no place for a descriptor of its own says the same. */
static bool
has_free_descriptor (void)
{
  CUFRAMES_AUTO_CLOSE int fd = open ("/dev/null", O_RDONLY | O_CLOEXEC);

  return fd >= 0 || (errno != EMFILE && errno != ENFILE);
}

static int
fail_import (CuframesArenaCuda *self, CUresult result, const char *call)
{
  int r = cuframes_cuda_device_fail (self->device, result, "the publisher's memory cannot be imported on %s: %s", self->device->name,
      call);

  if (is_peers_fault (result) && !has_free_descriptor ())
    return -EMFILE;
  return is_peers_fault (result) ? CUFRAMES_E_PEER : r;
}

/* Drivers say CUDA_ERROR_NOT_SUPPORTED when an import is mapped by another size than its own, and when they cannot map at all.
 * Memory of our own tells which. Spoils the device's text. */
static bool
maps_own_memory (CuframesCudaDevice *device)
{
  CuframesArenaCuda *own = new_arena (device, true);
  uint64_t size_bytes;
  bool can;

  if (own == NULL)
    return true;
  can = create (own, CUFRAMES_ARENA_CUDA_FENCE_BYTES + 1, &size_bytes) != -EOPNOTSUPP;
  free_arena (own);
  return can;
}

static int
fail_map (CuframesArenaCuda *self, CUresult result, const char *call, uint64_t size_bytes)
{
  if (result == CUDA_ERROR_NOT_SUPPORTED && maps_own_memory (self->device))
    return cuframes_cuda_device_say (self->device, CUFRAMES_E_PEER, "the publisher's memory is not the %llu bytes that it says: %s: %s",
        (unsigned long long) size_bytes, call, cuframes_cuda_driver_get_error_name (self->device->driver, result));
  return fail_import (self, result, call);
}


/* With the context current. What is done when it fails is undone by free_arena(). */
static int
import (CuframesArenaCuda *self, CUdevice owner, uint64_t size_bytes, int fd)
{
  const CuframesCudaDriver *driver = self->device->driver;
  CUmemAllocationProp properties = { 0 };
  const char *call = NULL;
  CUresult result;
  int r = check_size (self, owner, size_bytes);

  if (r != 0)
    return r;
  result = driver->mem_import_from_shareable_handle (&self->handle, (void *) (uintptr_t) fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
  if (result != CUDA_SUCCESS)
    return fail_import (self, result, "cuMemImportFromShareableHandle");
  self->has_handle = true;
  result = driver->mem_get_allocation_properties_from_handle (&properties, self->handle);
  if (result != CUDA_SUCCESS)
    return fail_import (self, result, "cuMemGetAllocationPropertiesFromHandle");
  if (properties.location.type != CU_MEM_LOCATION_TYPE_DEVICE || properties.location.id != owner)
    return cuframes_cuda_device_say (self->device, CUFRAMES_E_PEER, "the publisher's memory is not on the GPU that it names");
  result = cuframes_arena_cuda_map (self, &self->memory, size_bytes, self->writable, &call);
  if (result != CUDA_SUCCESS)
    return fail_map (self, result, call, size_bytes);
  return 0;
}

static int
import_arena (CuframesCudaDevice *device, const CuframesArenaInfo *info, int fd, bool writable, CuframesArena **ret_arena)
{
  CUdevice owner = 0;
  CuframesArenaCuda *self;
  int r = find_owner (device, info, &owner);

  if (r != 0)
    return r;
  self = new_arena (device, writable);
  if (self == NULL)
    return -ENOMEM;
  r = cuframes_cuda_device_enter (device);
  if (r == 0) {
    r = import (self, owner, info->size_bytes, fd);
    cuframes_cuda_device_leave (device);
  }
  if (r != 0) {
    free_arena (self);
    return r;
  }
  cuframes_arena_init (&self->head, &cuda_ops, info, self->memory.address);
  *ret_arena = &self->head;
  return 0;
}

/**
 * cuframes_arena_import_cuda:
 * @user_data: the #CuframesCudaDevice to map the arena for
 * @info: what the publisher says of the arena
 * @fd: (transfer none): the descriptor
 * @ret_arena: (out) (transfer full): the arena, mapped for reading
 *
 * A #CuframesArenaImportFunction for GPU memory. Memory of another GPU is mapped where @user_data reaches that GPU as a peer,
 * and read across the bus. Import an arena once per generation: it takes some 0.1 ms. The last reference may go on any thread,
 * as with cuframes_arena_new_cuda(). May be called from any thread.
 *
 * Returns: 0, %CUFRAMES_E_ABSENT for another kind of memory or a GPU that cannot be reached, %CUFRAMES_E_PEER if the
 * descriptor is not GPU memory of that size on that GPU, or a negative errno; cuframes_cuda_device_get_text() says more; on
 * anything but 0 @ret_arena is unchanged
 *
 * Since: 0.1
 */
int
cuframes_arena_import_cuda (void *user_data, const CuframesArenaInfo *info, int fd, CuframesArena **ret_arena)
{
  return import_arena (user_data, info, fd, false, ret_arena);
}

/**
 * cuframes_arena_import_cuda_writable:
 * @device: the GPU to map the arena for; the arena takes a reference
 * @info: what is known of the arena
 * @fd: (transfer none): the descriptor
 * @ret_arena: (out) (transfer full): the arena, mapped for reading and writing
 *
 * As cuframes_arena_import_cuda(), for processes that share memory to write to it. No subscriber of a channel should.
 *
 * Returns: as cuframes_arena_import_cuda()
 *
 * Since: 0.1
 */
int
cuframes_arena_import_cuda_writable (CuframesCudaDevice *device, const CuframesArenaInfo *info, int fd, CuframesArena **ret_arena)
{
  return import_arena (device, info, fd, true, ret_arena);
}

CuframesArenaCuda *
cuframes_arena_cuda_cast (CuframesArena *arena)
{
  return arena->ops == &cuda_ops ? (CuframesArenaCuda *) arena : NULL;
}

/**
 * cuframes_arena_cuda_peek_device:
 * @arena: an arena
 *
 * Returns: (transfer none) (nullable): the GPU that it is mapped for, %NULL for an arena that is not GPU memory
 *
 * Since: 0.1
 */
CuframesCudaDevice *
cuframes_arena_cuda_peek_device (const CuframesArena *arena)
{
  return arena->ops == &cuda_ops ? ((const CuframesArenaCuda *) arena)->device : NULL;
}
