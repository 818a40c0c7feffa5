/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the driver tells about an address.
 */
#include "fakecuda-private.h"

#include <string.h>

#define ANSWER(type, value) (*(type *) data = (type) (value))

static unsigned int
allowed_handle_types (const FakecudaRange *range)
{
  return range->kind == FAKECUDA_RANGE_MAPPING
      && fakecuda_handle_is_exportable (range->handle) ?
      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : CU_MEM_HANDLE_TYPE_NONE;
}

static CUresult
answer (void *data, CUpointer_attribute attribute, const FakecudaRange *range,
    CUdeviceptr address)
{
  bool host = fakecuda_range_is_host (range);

  switch ((int) attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      /* Virtual memory belongs to no context. */
      ANSWER (CUcontext, range->context);
      break;
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      ANSWER (unsigned int, host ? CU_MEMORYTYPE_HOST : CU_MEMORYTYPE_DEVICE);
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      ANSWER (CUdeviceptr, address);
      break;
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!host)
        return CUDA_ERROR_INVALID_VALUE;
      ANSWER (void *, (uintptr_t) address);
      break;
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      ANSWER (unsigned long long, range->id);
      break;
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      ANSWER (int, range->device);
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      ANSWER (CUdeviceptr, range->start);
      break;
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      ANSWER (size_t, range->size);
      break;
    case CU_POINTER_ATTRIBUTE_MAPPED:
      ANSWER (unsigned char, 1);
      break;
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      ANSWER (unsigned long long, allowed_handle_types (range));
      break;
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      ANSWER (unsigned int, range->kind == FAKECUDA_RANGE_MAPPING ?
          range->access[range->device] : CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
      break;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      ANSWER (unsigned char, 0);
      break;
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      ANSWER (CUmemoryPool, 0);
      break;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
  return CUDA_SUCCESS;
}

CUresult
cuPointerGetAttribute (void *data, CUpointer_attribute attribute,
    CUdeviceptr address)
{
  CUresult result = CUDA_ERROR_INVALID_VALUE;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  if (data == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_read_lock ();
  range = fakecuda_range_at (address);
  if (range != NULL)
    result = answer (data, attribute, range, address);
  fakecuda_memory_unlock ();
  return result;
}

/* Of an address that the driver does not know, everything is zero here. */
CUresult
cuPointerGetAttributes (unsigned int count, CUpointer_attribute *attributes,
    void **data, CUdeviceptr address)
{
  FakecudaRange *range;
  unsigned int i;

  FAKECUDA_ENTER ();
  if (attributes == NULL || data == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_read_lock ();
  range = fakecuda_range_at (address);
  for (i = 0; i < count; i++) {
    if (range == NULL
        || answer (data[i], attributes[i], range, address) != CUDA_SUCCESS)
      memset (data[i], 0, 1);
  }
  fakecuda_memory_unlock ();
  return CUDA_SUCCESS;
}

CUresult
cuPointerSetAttribute (const void *value, CUpointer_attribute attribute,
    CUdeviceptr address)
{
  CUresult result;

  FAKECUDA_ENTER ();
  fakecuda_memory_read_lock ();
  result = value != NULL && attribute == CU_POINTER_ATTRIBUTE_SYNC_MEMOPS
      && fakecuda_range_at (address) != NULL ? CUDA_SUCCESS :
      CUDA_ERROR_INVALID_VALUE;
  fakecuda_memory_unlock ();
  return result;
}

CUresult
cuMemGetAddressRange (CUdeviceptr *ret_start, size_t *ret_size,
    CUdeviceptr address)
{
  CUresult result = CUDA_ERROR_NOT_FOUND;
  FakecudaRange *range;

  FAKECUDA_ENTER ();
  fakecuda_memory_read_lock ();
  range = fakecuda_range_at (address);
  if (range != NULL) {
    if (ret_start != NULL)
      *ret_start = range->start;
    if (ret_size != NULL)
      *ret_size = range->size;
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}
