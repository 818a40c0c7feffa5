/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Virtual memory management: memory is a memfd, an address range is reserved
 * address space, a mapping is a mapping.
 *
 * Behind the memory the file ends with a page that tells what it is, so that
 * another process finds size and device in the descriptor alone, and a
 * descriptor of anything else is refused.
 */
#include "fakecuda-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRAILER_SIZE 4096
#define TRAILER_MAGIC "fakecuda memory 1"

typedef struct
{
  char magic[24];
  uint64_t size;
  CUuuid device;
  uint32_t type;
  uint32_t handle_types;
  unsigned char rdma;
} Trailer;

struct FakecudaHandle
{
  FakecudaHandle *next;
  CUmemGenericAllocationHandle id;
  int refs;
  int mappings;
  int fd;
  size_t size;
  bool imported;
  CUmemAllocationProp prop;
};

typedef struct Reservation
{
  struct Reservation *next;
  CUdeviceptr start;
  size_t size;
} Reservation;

/* Both under the memory lock. */
static FakecudaHandle *handles;
static Reservation *reservations;

bool
fakecuda_handle_is_exportable (const FakecudaHandle *handle)
{
  return handle->prop.requestedHandleTypes
      & CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
}

static bool
is_granular (unsigned long long size)
{
  return size % FAKECUDA_GRANULARITY == 0;
}

static FakecudaHandle *
find_handle (CUmemGenericAllocationHandle id)
{
  FakecudaHandle *handle;

  for (handle = handles; handle != NULL; handle = handle->next) {
    if (handle->id == id && handle->refs > 0)
      return handle;
  }
  return NULL;
}

/* Takes the descriptor. */
static CUmemGenericAllocationHandle
handle_new (int take_fd, size_t size, const CUmemAllocationProp *prop,
    bool imported)
{
  static CUmemGenericAllocationHandle next_id = 0x10000;
  FakecudaHandle *handle = fakecuda_new0 (sizeof (*handle));
  CUmemGenericAllocationHandle id;

  handle->refs = 1;
  handle->fd = take_fd;
  handle->size = size;
  handle->prop = *prop;
  handle->imported = imported;
  fakecuda_memory_write_lock ();
  id = handle->id = ++next_id;
  handle->next = handles;
  handles = handle;
  fakecuda_memory_unlock ();
  fakecuda_count (FAKECUDA_LIVE_HANDLES, 1);
  return id;
}

/* Memory lives as long as a handle or a mapping does. */
static void
handle_free_unused (FakecudaHandle *handle)
{
  FakecudaHandle **link;

  if (handle->refs > 0 || handle->mappings > 0)
    return;
  for (link = &handles; *link != handle; link = &(*link)->next);
  *link = handle->next;
  if (!handle->imported)
    fakecuda_memory_give_back (handle->prop.location.id, handle->size);
  close (handle->fd);
  free (handle);
}

static CUresult
check_prop (const CUmemAllocationProp *prop)
{
  if (!fakecuda_config ()->vmm)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (prop == NULL || prop->type != CU_MEM_ALLOCATION_TYPE_PINNED
      || prop->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (prop->location.id))
    return CUDA_ERROR_INVALID_DEVICE;
  if ((int) prop->requestedHandleTypes
      & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
    return CUDA_ERROR_NOT_SUPPORTED;
  return CUDA_SUCCESS;
}

CUresult
cuMemGetAllocationGranularity (size_t *ret_granularity,
    const CUmemAllocationProp *prop, CUmemAllocationGranularity_flags option)
{
  CUresult result;

  FAKECUDA_ENTER ();
  (void) option;
  result = check_prop (prop);
  if (result != CUDA_SUCCESS)
    return result;
  if (ret_granularity == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  *ret_granularity = FAKECUDA_GRANULARITY;
  return CUDA_SUCCESS;
}

static int
create_file (size_t size, const CUmemAllocationProp *prop)
{
  Trailer trailer = { 0 };
  int fd;

  fd = memfd_create ("fakecuda", MFD_CLOEXEC);
  if (fd < 0)
    return -1;
  memcpy (trailer.magic, TRAILER_MAGIC, sizeof (TRAILER_MAGIC));
  trailer.size = size;
  fakecuda_device_uuid (prop->location.id, &trailer.device);
  trailer.type = prop->type;
  trailer.handle_types = prop->requestedHandleTypes;
  trailer.rdma = prop->allocFlags.gpuDirectRDMACapable;
  if (ftruncate (fd, size + TRAILER_SIZE) != 0
      || pwrite (fd, &trailer, sizeof (trailer), size) != sizeof (trailer)) {
    close (fd);
    return -1;
  }
  return fd;
}

CUresult
cuMemCreate (CUmemGenericAllocationHandle *ret_handle, size_t size,
    const CUmemAllocationProp *prop, unsigned long long flags)
{
  CUresult result;
  int fd;

  FAKECUDA_ENTER ();
  result = check_prop (prop);
  if (result != CUDA_SUCCESS)
    return result;
  if (ret_handle == NULL || size == 0 || !is_granular (size) || flags != 0)
    return CUDA_ERROR_INVALID_VALUE;
  result = fakecuda_memory_take (prop->location.id, size);
  if (result != CUDA_SUCCESS)
    return result;
  fd = create_file (size, prop);
  if (fd < 0) {
    fakecuda_memory_give_back (prop->location.id, size);
    return CUDA_ERROR_OPERATING_SYSTEM;
  }
  *ret_handle = handle_new (fd, size, prop, false);
  return CUDA_SUCCESS;
}

CUresult
cuMemRelease (CUmemGenericAllocationHandle id)
{
  FakecudaHandle *handle;

  FAKECUDA_ENTER ();
  fakecuda_memory_write_lock ();
  handle = find_handle (id);
  if (handle != NULL) {
    handle->refs--;
    handle_free_unused (handle);
    fakecuda_count (FAKECUDA_LIVE_HANDLES, -1);
  }
  fakecuda_memory_unlock ();
  return handle != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuMemRetainAllocationHandle (CUmemGenericAllocationHandle *ret_handle,
    void *address)
{
  FakecudaRange *range;
  CUresult result = CUDA_ERROR_INVALID_VALUE;

  FAKECUDA_ENTER ();
  fakecuda_memory_write_lock ();
  range = fakecuda_range_at ((uintptr_t) address);
  if (range != NULL && range->kind == FAKECUDA_RANGE_MAPPING) {
    range->handle->refs++;
    *ret_handle = range->handle->id;
    fakecuda_count (FAKECUDA_LIVE_HANDLES, 1);
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}

CUresult
cuMemGetAllocationPropertiesFromHandle (CUmemAllocationProp *ret_prop,
    CUmemGenericAllocationHandle id)
{
  FakecudaHandle *handle;

  FAKECUDA_ENTER ();
  fakecuda_memory_read_lock ();
  handle = find_handle (id);
  if (handle != NULL)
    *ret_prop = handle->prop;
  fakecuda_memory_unlock ();
  return handle != NULL ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuMemExportToShareableHandle (void *ret_shareable,
    CUmemGenericAllocationHandle id, CUmemAllocationHandleType type,
    unsigned long long flags)
{
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  FakecudaHandle *handle;
  int fd;

  FAKECUDA_ENTER ();
  if (ret_shareable == NULL || flags != 0
      || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
    return CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_read_lock ();
  handle = find_handle (id);
  if (handle != NULL && fakecuda_handle_is_exportable (handle)) {
    fd = fcntl (handle->fd, F_DUPFD_CLOEXEC, 0);
    result = fd >= 0 ? CUDA_SUCCESS : CUDA_ERROR_OPERATING_SYSTEM;
    if (fd >= 0)
      *(int *) ret_shareable = fd;
  }
  fakecuda_memory_unlock ();
  return result;
}

static bool
read_trailer (int fd, Trailer *ret_trailer)
{
  struct stat status;

  return fstat (fd, &status) == 0 && S_ISREG (status.st_mode)
      && status.st_size > TRAILER_SIZE
      && pread (fd, ret_trailer, sizeof (*ret_trailer),
      status.st_size - TRAILER_SIZE) == sizeof (*ret_trailer)
      && memcmp (ret_trailer->magic, TRAILER_MAGIC,
      sizeof (TRAILER_MAGIC)) == 0
      && ret_trailer->size == (uint64_t) status.st_size - TRAILER_SIZE;
}

/* The descriptor stays the caller's. */
CUresult
cuMemImportFromShareableHandle (CUmemGenericAllocationHandle *ret_handle,
    void *shareable, CUmemAllocationHandleType type)
{
  CUmemAllocationProp prop = { 0 };
  Trailer trailer;
  int fd = (int) (intptr_t) shareable;

  FAKECUDA_ENTER ();
  if (!fakecuda_config ()->vmm)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (ret_handle == NULL || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
    return CUDA_ERROR_INVALID_VALUE;
  if (!read_trailer (fd, &trailer))
    return CUDA_ERROR_UNKNOWN;

  prop.type = trailer.type;
  prop.requestedHandleTypes = trailer.handle_types;
  prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  prop.location.id = fakecuda_device_by_uuid (&trailer.device);
  prop.allocFlags.gpuDirectRDMACapable = trailer.rdma;
  if (prop.location.id < 0)
    return CUDA_ERROR_INVALID_DEVICE;
  fd = fcntl (fd, F_DUPFD_CLOEXEC, 0);
  if (fd < 0)
    return CUDA_ERROR_OPERATING_SYSTEM;
  *ret_handle = handle_new (fd, trailer.size, &prop, true);
  return CUDA_SUCCESS;
}

/* mmap() aligns to pages only: take more and give the ends back. */
static void *
reserve_aligned (size_t size, size_t alignment)
{
  uintptr_t start, aligned;
  void *memory;

  memory = mmap (NULL, size + alignment, PROT_NONE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED)
    return NULL;
  start = (uintptr_t) memory;
  aligned = (start + alignment - 1) / alignment * alignment;
  if (aligned > start)
    munmap (memory, aligned - start);
  munmap ((void *) (aligned + size), start + alignment - aligned);
  return (void *) aligned;
}

CUresult
cuMemAddressReserve (CUdeviceptr *ret_address, size_t size, size_t alignment,
    CUdeviceptr wish, unsigned long long flags)
{
  Reservation *reservation;
  void *memory;

  FAKECUDA_ENTER ();
  (void) wish;
  if (!fakecuda_config ()->vmm)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (ret_address == NULL || size == 0 || !is_granular (size) || flags != 0
      || (alignment & (alignment - 1)) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (alignment < FAKECUDA_GRANULARITY)
    alignment = FAKECUDA_GRANULARITY;
  memory = reserve_aligned (size, alignment);
  if (memory == NULL)
    return CUDA_ERROR_OUT_OF_MEMORY;

  reservation = fakecuda_new0 (sizeof (*reservation));
  reservation->start = (uintptr_t) memory | FAKECUDA_DEVICE_TAG;
  reservation->size = size;
  *ret_address = reservation->start;
  fakecuda_memory_write_lock ();
  reservation->next = reservations;
  reservations = reservation;
  fakecuda_memory_unlock ();
  fakecuda_count (FAKECUDA_LIVE_RESERVATIONS, 1);
  return CUDA_SUCCESS;
}

static bool
is_free (CUdeviceptr address, size_t size)
{
  FakecudaRange *next = fakecuda_range_next (address);

  return next == NULL || next->start >= address + size;
}

CUresult
cuMemAddressFree (CUdeviceptr address, size_t size)
{
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  Reservation **link, *reservation;

  FAKECUDA_ENTER ();
  fakecuda_memory_write_lock ();
  for (link = &reservations; *link != NULL; link = &(*link)->next) {
    reservation = *link;
    if (reservation->start != address || reservation->size != size
        || !is_free (address, size))
      continue;
    *link = reservation->next;
    munmap (fakecuda_cpu_address (address), size);
    free (reservation);
    fakecuda_count (FAKECUDA_LIVE_RESERVATIONS, -1);
    result = CUDA_SUCCESS;
    break;
  }
  fakecuda_memory_unlock ();
  return result;
}

static bool
is_reserved (CUdeviceptr address, size_t size)
{
  Reservation *reservation;

  for (reservation = reservations; reservation != NULL;
      reservation = reservation->next) {
    if (address >= reservation->start && size <= reservation->size
        && address - reservation->start <= reservation->size - size)
      return true;
  }
  return false;
}

/* Memory of a device is mapped as a whole, as by the real driver. */
static CUresult
map_locked (CUdeviceptr address, size_t size, size_t offset,
    FakecudaHandle *handle)
{
  FakecudaRange *range;

  if (handle == NULL || !is_reserved (address, size)
      || !is_free (address, size))
    return CUDA_ERROR_INVALID_VALUE;
  if (size != handle->size || offset != 0)
    return CUDA_ERROR_NOT_SUPPORTED;
  if (mmap (fakecuda_cpu_address (address), size, PROT_NONE,
          MAP_SHARED | MAP_FIXED, handle->fd, 0) == MAP_FAILED)
    return CUDA_ERROR_OPERATING_SYSTEM;
  range = fakecuda_range_add (FAKECUDA_RANGE_MAPPING, address, size,
      handle->prop.location.id);
  range->handle = handle;
  handle->mappings++;
  fakecuda_count (FAKECUDA_LIVE_MAPPINGS, 1);
  return CUDA_SUCCESS;
}

CUresult
cuMemMap (CUdeviceptr address, size_t size, size_t offset,
    CUmemGenericAllocationHandle id, unsigned long long flags)
{
  CUresult result;

  FAKECUDA_ENTER ();
  if (size == 0 || !is_granular (size) || !is_granular (address)
      || !is_granular (offset) || flags != 0)
    return CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_write_lock ();
  result = map_locked (address, size, offset, find_handle (id));
  fakecuda_memory_unlock ();
  return result;
}

/* Whether the range is made of whole mappings and nothing else. */
static bool
is_mapped (CUdeviceptr address, size_t size)
{
  while (size > 0) {
    FakecudaRange *range = fakecuda_range_at (address);

    if (range == NULL || range->kind != FAKECUDA_RANGE_MAPPING
        || range->start != address || range->size > size)
      return false;
    address += range->size;
    size -= range->size;
  }
  return true;
}

/* Does not wait for work that still uses the memory: such work then meets
 * nothing there. */
CUresult
cuMemUnmap (CUdeviceptr address, size_t size)
{
  CUdeviceptr end = address + size;
  FakecudaHandle *handle;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  fakecuda_memory_write_lock ();
  if (size == 0 || !is_mapped (address, size)) {
    fakecuda_memory_unlock ();
    return CUDA_ERROR_INVALID_VALUE;
  }
  mmap (fakecuda_cpu_address (address), size, PROT_NONE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  while (address < end) {
    range = fakecuda_range_at (address);
    address += range->size;
    handle = range->handle;
    fakecuda_range_remove (range);
    handle->mappings--;
    handle_free_unused (handle);
    fakecuda_count (FAKECUDA_LIVE_MAPPINGS, -1);
  }
  fakecuda_memory_unlock ();
  return CUDA_SUCCESS;
}

static CUresult
check_access (const FakecudaRange *range, const CUmemAccessDesc *desc)
{
  if (desc->location.type != CU_MEM_LOCATION_TYPE_DEVICE
      || (desc->flags != CU_MEM_ACCESS_FLAGS_PROT_NONE
          && desc->flags != CU_MEM_ACCESS_FLAGS_PROT_READ
          && desc->flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE))
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (desc->location.id))
    return CUDA_ERROR_INVALID_DEVICE;
  if (desc->location.id != range->device
      && !fakecuda_devices_are_peers (desc->location.id, range->device))
    return CUDA_ERROR_INVALID_DEVICE;
  return CUDA_SUCCESS;
}

static void
set_access (FakecudaRange *range, const CUmemAccessDesc *descs, size_t count)
{
  int all = 0;
  size_t i;

  for (i = 0; i < count; i++)
    range->access[descs[i].location.id] = descs[i].flags;
  for (i = 0; i < FAKECUDA_MAX_DEVICES; i++)
    all |= range->access[i];
  mprotect (fakecuda_cpu_address (range->start), range->size,
      (all & 1 ? PROT_READ : 0) | (all & 2 ? PROT_WRITE : 0));
}

CUresult
cuMemSetAccess (CUdeviceptr address, size_t size, const CUmemAccessDesc *descs,
    size_t count)
{
  CUresult result = CUDA_SUCCESS;
  CUdeviceptr end = address + size;
  FakecudaRange *range;
  CUdeviceptr at;
  size_t i;

  FAKECUDA_ENTER ();
  if (size == 0 || descs == NULL || count == 0)
    return CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_write_lock ();
  if (!is_mapped (address, size))
    result = CUDA_ERROR_INVALID_VALUE;
  for (at = address; result == CUDA_SUCCESS && at < end; at += range->size) {
    range = fakecuda_range_at (at);
    for (i = 0; i < count && result == CUDA_SUCCESS; i++)
      result = check_access (range, &descs[i]);
  }
  for (at = address; result == CUDA_SUCCESS && at < end; at += range->size) {
    range = fakecuda_range_at (at);
    set_access (range, descs, count);
  }
  fakecuda_memory_unlock ();
  return result;
}

CUresult
cuMemGetAccess (unsigned long long *ret_flags, const CUmemLocation *location,
    CUdeviceptr address)
{
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  if (ret_flags == NULL || location == NULL
      || location->type != CU_MEM_LOCATION_TYPE_DEVICE
      || !fakecuda_device_exists (location->id))
    return CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_read_lock ();
  range = fakecuda_range_at (address);
  if (range != NULL && range->kind == FAKECUDA_RANGE_MAPPING) {
    *ret_flags = range->access[location->id];
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}
