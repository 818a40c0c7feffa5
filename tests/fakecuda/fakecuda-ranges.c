/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of memory that the driver knows, by address: who may reach what.
 */
#include "fakecuda-private.h"

#include <stdlib.h>
#include <string.h>

static pthread_rwlock_t rwlock = PTHREAD_RWLOCK_INITIALIZER;
static FakecudaRange **ranges;
static size_t range_count;
static size_t range_room;
static _Atomic size_t used[FAKECUDA_MAX_DEVICES];

void
fakecuda_memory_read_lock (void)
{
  pthread_rwlock_rdlock (&rwlock);
}

void
fakecuda_memory_write_lock (void)
{
  pthread_rwlock_wrlock (&rwlock);
}

void
fakecuda_memory_unlock (void)
{
  pthread_rwlock_unlock (&rwlock);
}

void *
fakecuda_cpu_address (CUdeviceptr address)
{
  return (void *) (uintptr_t) (address & ~FAKECUDA_DEVICE_TAG);
}

void *
fakecuda_host_pointer (unsigned long long device_pointer)
{
  return fakecuda_cpu_address (device_pointer);
}

/* The place of the first range that ends behind address. */
static size_t
find_place (CUdeviceptr address)
{
  size_t low = 0, high = range_count;

  while (low < high) {
    size_t middle = low + (high - low) / 2;

    if (address - ranges[middle]->start < ranges[middle]->size
        || ranges[middle]->start > address)
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

FakecudaRange *
fakecuda_range_next (CUdeviceptr address)
{
  size_t place = find_place (address);

  return place < range_count ? ranges[place] : NULL;
}

FakecudaRange *
fakecuda_range_at (CUdeviceptr address)
{
  FakecudaRange *range = fakecuda_range_next (address);

  return range != NULL && range->start <= address ? range : NULL;
}

FakecudaRange *
fakecuda_range_add (FakecudaRangeKind kind, CUdeviceptr start, size_t size,
    CUdevice device)
{
  static unsigned long long next_id;
  FakecudaRange *range = fakecuda_new0 (sizeof (*range));
  size_t place = find_place (start);

  range->kind = kind;
  range->start = start;
  range->size = size;
  range->device = device;
  range->id = ++next_id;

  if (range_count == range_room) {
    range_room = range_room > 0 ? 2 * range_room : 64;
    ranges = realloc (ranges, range_room * sizeof (*ranges));
    if (ranges == NULL)
      abort ();
  }
  memmove (ranges + place + 1, ranges + place,
      (range_count - place) * sizeof (*ranges));
  ranges[place] = range;
  range_count++;
  return range;
}

void
fakecuda_range_remove (FakecudaRange *range)
{
  size_t place = find_place (range->start);

  memmove (ranges + place, ranges + place + 1,
      (range_count - place - 1) * sizeof (*ranges));
  range_count--;
  free (range);
  if (range_count == 0) {
    free (ranges);
    ranges = NULL;
    range_room = 0;
  }
}

bool
fakecuda_range_is_host (const FakecudaRange *range)
{
  return range->kind == FAKECUDA_RANGE_HOST
      || range->kind == FAKECUDA_RANGE_HOST_REGISTERED;
}

static bool
allows (const FakecudaRange *range, CUdevice device, bool write)
{
  int wanted = write ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE :
      CU_MEM_ACCESS_FLAGS_PROT_READ;

  switch (range->kind) {
    case FAKECUDA_RANGE_MAPPING:
      return (range->access[device] & wanted) == wanted;
    case FAKECUDA_RANGE_HOST_REGISTERED:
      return !write || !(range->flags & CU_MEMHOSTREGISTER_READ_ONLY);
    default:
      return true;
  }
}

/* Whether a device may read or write all of it; mappings that lie side by side
 * count as one. */
bool
fakecuda_range_allows (CUdeviceptr address, size_t size, CUdevice device,
    bool write)
{
  while (size > 0) {
    FakecudaRange *range = fakecuda_range_at (address);
    size_t left;

    if (range == NULL || !allows (range, device, write))
      return false;
    left = range->size - (address - range->start);
    if (left >= size)
      return true;
    address += left;
    size -= left;
  }
  return true;
}

CUresult
fakecuda_memory_take (CUdevice device, size_t size)
{
  size_t limit = fakecuda_config ()->memory_bytes;
  size_t before = atomic_load (&used[device]);

  do {
    if (size > limit || before > limit - size)
      return CUDA_ERROR_OUT_OF_MEMORY;
  } while (!atomic_compare_exchange_weak (&used[device], &before,
          before + size));
  return CUDA_SUCCESS;
}

void
fakecuda_memory_give_back (CUdevice device, size_t size)
{
  atomic_fetch_sub (&used[device], size);
}

size_t
fakecuda_memory_used (CUdevice device)
{
  return atomic_load (&used[device]);
}
