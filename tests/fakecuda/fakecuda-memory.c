/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plain device memory and pinned host memory.
 */
#include "fakecuda-private.h"

#include <sys/mman.h>
#include <unistd.h>

#define PITCH_ALIGNMENT 512

static size_t
round_up (size_t size, size_t alignment)
{
  return (size + alignment - 1) / alignment * alignment;
}

static size_t
page_round (size_t size)
{
  return round_up (size, sysconf (_SC_PAGESIZE));
}

static CUresult
allocate (FakecudaRangeKind kind, size_t size, unsigned int flags,
    CUdeviceptr *ret_address)
{
  bool on_device = kind == FAKECUDA_RANGE_ALLOCATION;
  FakecudaRange *range;
  CUcontext context;
  CUresult result;
  void *memory;

  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  if (size == 0 || size > (size_t) 1 << 46)
    return size == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_ERROR_OUT_OF_MEMORY;
  if (on_device) {
    result = fakecuda_memory_take (context->device, size);
    if (result != CUDA_SUCCESS)
      return result;
  }
  memory = mmap (NULL, page_round (size), PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    if (on_device)
      fakecuda_memory_give_back (context->device, size);
    return CUDA_ERROR_OUT_OF_MEMORY;
  }

  *ret_address = (uintptr_t) memory | (on_device ? FAKECUDA_DEVICE_TAG : 0);
  fakecuda_memory_write_lock ();
  range = fakecuda_range_add (kind, *ret_address, size, context->device);
  range->context = context;
  range->flags = flags;
  fakecuda_memory_unlock ();
  fakecuda_count (FAKECUDA_LIVE_ALLOCATIONS, 1);
  return CUDA_SUCCESS;
}

/* Freeing waits for the device, as the real driver does. */
static CUresult
release (FakecudaRangeKind kind, CUdeviceptr address)
{
  FakecudaRange *range;
  CUcontext owner = NULL;
  size_t size;

  fakecuda_memory_read_lock ();
  range = fakecuda_range_at (address);
  if (range != NULL && range->kind == kind && range->start == address)
    owner = range->context;
  fakecuda_memory_unlock ();
  if (owner == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (fakecuda_context_is_valid (owner))
    fakecuda_context_drain (owner);

  fakecuda_memory_write_lock ();
  range = fakecuda_range_at (address);
  if (range == NULL || range->start != address) {
    fakecuda_memory_unlock ();
    return CUDA_ERROR_INVALID_VALUE;
  }
  size = range->size;
  if (kind == FAKECUDA_RANGE_ALLOCATION)
    fakecuda_memory_give_back (range->device, size);
  fakecuda_range_remove (range);
  munmap (fakecuda_cpu_address (address), page_round (size));
  fakecuda_memory_unlock ();
  fakecuda_count (FAKECUDA_LIVE_ALLOCATIONS, -1);
  return CUDA_SUCCESS;
}

CUresult
cuMemAlloc (CUdeviceptr *ret_address, size_t size)
{
  FAKECUDA_ENTER ();
  if (ret_address == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  return allocate (FAKECUDA_RANGE_ALLOCATION, size, 0, ret_address);
}

CUresult
cuMemAllocPitch (CUdeviceptr *ret_address, size_t *ret_pitch, size_t width,
    size_t height, unsigned int element_size)
{
  CUresult result;

  FAKECUDA_ENTER ();
  if (ret_address == NULL || ret_pitch == NULL || width == 0 || height == 0
      || (element_size != 4 && element_size != 8 && element_size != 16))
    return CUDA_ERROR_INVALID_VALUE;
  if (width > (size_t) 1 << 40 || height > (size_t) 1 << 20)
    return CUDA_ERROR_OUT_OF_MEMORY;
  width = round_up (width, PITCH_ALIGNMENT);
  result = allocate (FAKECUDA_RANGE_ALLOCATION, width * height, 0,
      ret_address);
  if (result == CUDA_SUCCESS)
    *ret_pitch = width;
  return result;
}

CUresult
cuMemFree (CUdeviceptr address)
{
  FAKECUDA_ENTER ();
  return release (FAKECUDA_RANGE_ALLOCATION, address);
}

CUresult
cuMemGetInfo (size_t *ret_free, size_t *ret_total)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  *ret_total = fakecuda_config ()->memory_bytes;
  *ret_free = *ret_total - fakecuda_memory_used (context->device);
  return CUDA_SUCCESS;
}

static CUresult
allocate_host (void **ret_memory, size_t size, unsigned int flags)
{
  CUdeviceptr address;
  CUresult result;

  if (ret_memory == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  result = allocate (FAKECUDA_RANGE_HOST, size, flags, &address);
  if (result == CUDA_SUCCESS)
    *ret_memory = fakecuda_cpu_address (address);
  return result;
}

CUresult
cuMemAllocHost (void **ret_memory, size_t size)
{
  FAKECUDA_ENTER ();
  return allocate_host (ret_memory, size, 0);
}

CUresult
cuMemHostAlloc (void **ret_memory, size_t size, unsigned int flags)
{
  FAKECUDA_ENTER ();
  return allocate_host (ret_memory, size, flags);
}

CUresult
cuMemFreeHost (void *memory)
{
  FAKECUDA_ENTER ();
  return release (FAKECUDA_RANGE_HOST, (uintptr_t) memory);
}

CUresult
cuMemHostRegister (void *memory, size_t size, unsigned int flags)
{
  CUdeviceptr address = (uintptr_t) memory;
  FakecudaRange *next, *range;
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  if (memory == NULL || size == 0 || address & FAKECUDA_DEVICE_TAG)
    return CUDA_ERROR_INVALID_VALUE;

  fakecuda_memory_write_lock ();
  next = fakecuda_range_next (address);
  if (next != NULL && next->start < address + size) {
    result = CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  } else {
    range = fakecuda_range_add (FAKECUDA_RANGE_HOST_REGISTERED, address, size,
        context->device);
    range->context = context;
    range->flags = flags;
    fakecuda_count (FAKECUDA_LIVE_ALLOCATIONS, 1);
  }
  fakecuda_memory_unlock ();
  return result;
}

CUresult
cuMemHostUnregister (void *memory)
{
  CUresult result = CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  fakecuda_memory_write_lock ();
  range = fakecuda_range_at ((uintptr_t) memory);
  if (range != NULL && range->kind == FAKECUDA_RANGE_HOST_REGISTERED
      && range->start == (uintptr_t) memory) {
    fakecuda_range_remove (range);
    fakecuda_count (FAKECUDA_LIVE_ALLOCATIONS, -1);
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}

CUresult
cuMemHostGetDevicePointer (CUdeviceptr *ret_address, void *memory,
    unsigned int flags)
{
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  (void) flags;
  fakecuda_memory_read_lock ();
  range = fakecuda_range_at ((uintptr_t) memory);
  if (range != NULL && fakecuda_range_is_host (range)) {
    *ret_address = (uintptr_t) memory;
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}

CUresult
cuMemHostGetFlags (unsigned int *ret_flags, void *memory)
{
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  fakecuda_memory_read_lock ();
  range = fakecuda_range_at ((uintptr_t) memory);
  if (range != NULL && fakecuda_range_is_host (range)) {
    *ret_flags = range->flags;
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}
