/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The CUDA driver's entry points that the library calls. Private; nothing here needs the driver to build or to load. */
#ifndef CUFRAMES_CUDA_DRIVER_H
#define CUFRAMES_CUDA_DRIVER_H

#include <cuda.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers of the driver's interface that toolkits before 12.0 have under other names. */
enum
{
  CUFRAMES_CUDA_ATTRIBUTE_64_BIT_STREAM_MEMORY_OPERATIONS_V1 = 93,
  CUFRAMES_CUDA_ATTRIBUTE_64_BIT_STREAM_MEMORY_OPERATIONS = 122,
};

/* One pointer per entry point, spelt out rather than taken from cuda.h's prototypes: toolkits give the plain names to other
 * versions of the functions over the years. Those marked optional are NULL where the driver lacks them. */
typedef struct
{
  int version;                  /* 1000 * major + 10 * minor of the CUDA that the driver is for */
  CUdevice_attribute stream_memory_operations_attribute;        /* says whether the stream_*_value64 found work on a device */

  CUresult (*init) (unsigned flags);
  CUresult (*driver_get_version) (int *version);
  CUresult (*get_error_name) (CUresult result, const char **name);

  CUresult (*device_get_count) (int *count);
  CUresult (*device_get) (CUdevice * device, int ordinal);
  CUresult (*device_get_name) (char *name, int name_bytes, CUdevice device);
  CUresult (*device_get_uuid) (CUuuid * uuid, CUdevice device);
  CUresult (*device_get_attribute) (int *value, CUdevice_attribute attribute, CUdevice device);
  CUresult (*device_total_mem) (size_t *bytes, CUdevice device);
  CUresult (*device_can_access_peer) (int *can, CUdevice device, CUdevice peer);        /* optional */

  CUresult (*ctx_push_current) (CUcontext context);
  CUresult (*ctx_pop_current) (CUcontext * context);
  CUresult (*ctx_get_device) (CUdevice * device);
  CUresult (*ctx_get_stream_priority_range) (int *least, int *greatest);        /* optional */

  CUresult (*stream_create) (CUstream * stream, unsigned flags);
  CUresult (*stream_create_with_priority) (CUstream * stream, unsigned flags, int priority);    /* optional */
  CUresult (*stream_destroy) (CUstream stream);
  CUresult (*stream_query) (CUstream stream);
  CUresult (*stream_synchronize) (CUstream stream);
  CUresult (*stream_write_value64) (CUstream stream, CUdeviceptr address, uint64_t value, unsigned flags);      /* optional */
  CUresult (*stream_wait_value64) (CUstream stream, CUdeviceptr address, uint64_t value, unsigned flags);       /* optional */
  CUresult (*launch_host_func) (CUstream stream, CUhostFn function, void *user_data);
  CUresult (*memcpy_dtoh_async) (void *to, CUdeviceptr from, size_t bytes, CUstream stream);
  CUresult (*memcpy_htod_async) (CUdeviceptr to, const void *from, size_t bytes, CUstream stream);

  CUresult (*mem_host_register) (void *memory, size_t bytes, unsigned flags);   /* optional */
  CUresult (*mem_host_unregister) (void *memory);       /* optional */
  CUresult (*mem_host_get_device_pointer) (CUdeviceptr * address, void *memory, unsigned flags);        /* optional */

  CUresult (*mem_get_allocation_granularity) (size_t *bytes, const CUmemAllocationProp * properties,
      CUmemAllocationGranularity_flags option);
  CUresult (*mem_create) (CUmemGenericAllocationHandle * handle, size_t bytes, const CUmemAllocationProp * properties,
      unsigned long long flags);
  CUresult (*mem_release) (CUmemGenericAllocationHandle handle);
  CUresult (*mem_address_reserve) (CUdeviceptr * address, size_t bytes, size_t alignment, CUdeviceptr wanted,
      unsigned long long flags);
  CUresult (*mem_address_free) (CUdeviceptr address, size_t bytes);
  CUresult (*mem_map) (CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle,
      unsigned long long flags);
  CUresult (*mem_unmap) (CUdeviceptr address, size_t bytes);
  CUresult (*mem_set_access) (CUdeviceptr address, size_t bytes, const CUmemAccessDesc * access, size_t count);
  CUresult (*mem_export_to_shareable_handle) (void *shareable, CUmemGenericAllocationHandle handle,
      CUmemAllocationHandleType type, unsigned long long flags);
  CUresult (*mem_import_from_shareable_handle) (CUmemGenericAllocationHandle * handle, void *shareable,
      CUmemAllocationHandleType type);
  CUresult (*mem_get_allocation_properties_from_handle) (CUmemAllocationProp * properties, CUmemGenericAllocationHandle handle);
} CuframesCudaDriver;

/* Finds an entry point by the symbol's whole name; NULL if there is none. */
typedef void *(*CuframesCudaLookup) (void *user_data, const char *symbol);

int cuframes_cuda_driver_get (const CuframesCudaDriver ** ret_driver, char *text, size_t text_bytes);
int cuframes_cuda_driver_open (const char *library, CuframesCudaDriver * ret_driver, char *text, size_t text_bytes);
int cuframes_cuda_driver_fill (CuframesCudaLookup lookup, void *user_data, CuframesCudaDriver * ret_driver, char *text, size_t text_bytes);
void cuframes_cuda_driver_set_for_test (const CuframesCudaDriver * driver);
const char *cuframes_cuda_driver_get_error_name (const CuframesCudaDriver * driver, CUresult result);
int cuframes_cuda_driver_get_errno (CUresult result);

#ifdef __cplusplus
}
#endif
#endif
