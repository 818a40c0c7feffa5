/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finds the CUDA driver and its entry points when they are first wanted. Knows nothing of arenas, devices in use or contexts. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "cuframes-cuda-driver.h"
#include "cuframes-types.h"

#define LIBRARY "libcuda.so.1"
/* The first driver that can pass memory as a file descriptor. */
#define VERSION_NEEDED 10020

typedef struct
{
  const char *symbol;
  const char *older_symbol;     /* the same signature under an older name, or NULL */
  size_t place;                 /* of the pointer in the table */
  int since;                    /* CUDA version that brought it; 0: can be done without */
} EntryPoint;

#define ENTRY(field, symbol, older_symbol, since) { symbol, older_symbol, offsetof (CuframesCudaDriver, field), since }

static const EntryPoint entry_points[] = {
  ENTRY (init, "cuInit", NULL, 2000),
  ENTRY (get_error_name, "cuGetErrorName", NULL, 6000),
  ENTRY (device_get_count, "cuDeviceGetCount", NULL, 2000),
  ENTRY (device_get, "cuDeviceGet", NULL, 2000),
  ENTRY (device_get_name, "cuDeviceGetName", NULL, 2000),
  /* The newer one tells the parts of a divided GPU apart. */
  ENTRY (device_get_uuid, "cuDeviceGetUuid_v2", "cuDeviceGetUuid", 9020),
  ENTRY (device_get_attribute, "cuDeviceGetAttribute", NULL, 2000),
  ENTRY (device_total_mem, "cuDeviceTotalMem_v2", NULL, 3020),
  ENTRY (device_can_access_peer, "cuDeviceCanAccessPeer", NULL, 0),
  ENTRY (ctx_push_current, "cuCtxPushCurrent_v2", NULL, 4000),
  ENTRY (ctx_pop_current, "cuCtxPopCurrent_v2", NULL, 4000),
  ENTRY (ctx_get_device, "cuCtxGetDevice", NULL, 2000),
  ENTRY (ctx_get_stream_priority_range, "cuCtxGetStreamPriorityRange", NULL, 0),
  ENTRY (stream_create, "cuStreamCreate", NULL, 2000),
  ENTRY (stream_create_with_priority, "cuStreamCreateWithPriority", NULL, 0),
  ENTRY (stream_destroy, "cuStreamDestroy_v2", NULL, 4000),
  ENTRY (stream_query, "cuStreamQuery", NULL, 2000),
  ENTRY (stream_synchronize, "cuStreamSynchronize", NULL, 2000),
  ENTRY (launch_host_func, "cuLaunchHostFunc", NULL, 10000),
  ENTRY (memcpy_dtoh_async, "cuMemcpyDtoHAsync_v2", NULL, 3020),
  ENTRY (memcpy_htod_async, "cuMemcpyHtoDAsync_v2", NULL, 3020),
  ENTRY (mem_host_register, "cuMemHostRegister_v2", NULL, 0),
  ENTRY (mem_host_unregister, "cuMemHostUnregister", NULL, 0),
  ENTRY (mem_host_get_device_pointer, "cuMemHostGetDevicePointer_v2", NULL, 0),
  ENTRY (mem_get_allocation_granularity, "cuMemGetAllocationGranularity", NULL, 10020),
  ENTRY (mem_create, "cuMemCreate", NULL, 10020),
  ENTRY (mem_release, "cuMemRelease", NULL, 10020),
  ENTRY (mem_address_reserve, "cuMemAddressReserve", NULL, 10020),
  ENTRY (mem_address_free, "cuMemAddressFree", NULL, 10020),
  ENTRY (mem_map, "cuMemMap", NULL, 10020),
  ENTRY (mem_unmap, "cuMemUnmap", NULL, 10020),
  ENTRY (mem_set_access, "cuMemSetAccess", NULL, 10020),
  ENTRY (mem_export_to_shareable_handle, "cuMemExportToShareableHandle", NULL, 10020),
  ENTRY (mem_import_from_shareable_handle, "cuMemImportFromShareableHandle", NULL, 10020),
  ENTRY (mem_get_allocation_properties_from_handle, "cuMemGetAllocationPropertiesFromHandle", NULL, 10020),
};

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static CuframesCudaDriver loaded_driver;
static int load_result;
static char load_text[CUFRAMES_TEXT_BYTES];
static const CuframesCudaDriver *test_driver;   /* atomic */

static int
lacks (int version, const char *symbol, int since, char *text, size_t text_bytes)
{
  if (version < since)
    snprintf (text, text_bytes, "the NVIDIA driver is too old: it is for CUDA %d.%d, %s needs CUDA %d.%d", version / 1000,
        version % 1000 / 10, symbol, since / 1000, since % 1000 / 10);
  else
    snprintf (text, text_bytes, "the NVIDIA driver for CUDA %d.%d has no %s", version / 1000, version % 1000 / 10, symbol);
  return CUFRAMES_E_ABSENT;
}

/* A pointer to a function and one to data have the same form on every system that has dlsym(). */
static void
set_entry (CuframesCudaDriver *driver, size_t place, void *function)
{
  memcpy ((char *) driver + place, &function, sizeof function);
}

/* Both or none, and the attribute that speaks of the version found. */
static void
fill_stream_memory_operations (CuframesCudaLookup lookup, void *user_data, CuframesCudaDriver *driver)
{
  void *write_value = lookup (user_data, "cuStreamWriteValue64_v2");
  void *wait_value = lookup (user_data, "cuStreamWaitValue64_v2");

  driver->stream_memory_operations_attribute = (CUdevice_attribute) CUFRAMES_CUDA_ATTRIBUTE_64_BIT_STREAM_MEMORY_OPERATIONS;
  if (write_value == NULL || wait_value == NULL) {
    driver->stream_memory_operations_attribute = (CUdevice_attribute) CUFRAMES_CUDA_ATTRIBUTE_64_BIT_STREAM_MEMORY_OPERATIONS_V1;
    write_value = lookup (user_data, "cuStreamWriteValue64");
    wait_value = lookup (user_data, "cuStreamWaitValue64");
  }
  if (write_value == NULL || wait_value == NULL)
    return;
  set_entry (driver, offsetof (CuframesCudaDriver, stream_write_value64), write_value);
  set_entry (driver, offsetof (CuframesCudaDriver, stream_wait_value64), wait_value);
}

/*
 * cuframes_cuda_driver_fill:
 * @lookup: finds a symbol
 * @user_data: for @lookup
 * @ret_driver: (out): the table
 * @text: (out): on anything but 0 a sentence for the user
 * @text_bytes: room in @text
 *
 * Fills a table by whatever way to find symbols. May be called from any thread.
 *
 * Returns: 0, or %CUFRAMES_E_ABSENT if the driver is too old; then @ret_driver holds nothing of use
 */
int
cuframes_cuda_driver_fill (CuframesCudaLookup lookup, void *user_data, CuframesCudaDriver *ret_driver, char *text, size_t text_bytes)
{
  CuframesCudaDriver driver = { 0 };

  set_entry (&driver, offsetof (CuframesCudaDriver, driver_get_version), lookup (user_data, "cuDriverGetVersion"));
  if (driver.driver_get_version == NULL || driver.driver_get_version (&driver.version) != CUDA_SUCCESS) {
    snprintf (text, text_bytes, "%s does not tell its version: it is no CUDA driver that can be used", LIBRARY);
    return CUFRAMES_E_ABSENT;
  }
  if (driver.version < VERSION_NEEDED)
    return lacks (driver.version, "cuMemExportToShareableHandle", VERSION_NEEDED, text, text_bytes);

  for (size_t i = 0; i < sizeof entry_points / sizeof entry_points[0]; i++) {
    const EntryPoint *entry = &entry_points[i];
    void *function = lookup (user_data, entry->symbol);

    if (function == NULL && entry->older_symbol != NULL)
      function = lookup (user_data, entry->older_symbol);
    if (function == NULL && entry->since != 0)
      return lacks (driver.version, entry->symbol, entry->since, text, text_bytes);
    set_entry (&driver, entry->place, function);
  }
  fill_stream_memory_operations (lookup, user_data, &driver);
  *ret_driver = driver;
  return 0;
}

static void *
lookup_in_library (void *user_data, const char *symbol)
{
  return dlsym (user_data, symbol);
}

/*
 * cuframes_cuda_driver_open:
 * @library: file name of the driver
 * @ret_driver: (out): the table
 * @text: (out): on anything but 0 a sentence for the user
 * @text_bytes: room in @text
 *
 * Loads a driver and fills a table from it. What was loaded is never closed: the driver keeps threads that would run on in
 * unmapped code. May be called from any thread.
 *
 * Returns: 0, or %CUFRAMES_E_ABSENT if there is none or it is too old; then @ret_driver holds nothing of use
 */
int
cuframes_cuda_driver_open (const char *library, CuframesCudaDriver *ret_driver, char *text, size_t text_bytes)
{
  void *handle = dlopen (library, RTLD_NOW | RTLD_LOCAL);
  const char *reason;

  if (handle != NULL)
    return cuframes_cuda_driver_fill (lookup_in_library, handle, ret_driver, text, text_bytes);
  reason = dlerror ();
  if (reason == NULL || strstr (reason, "No such file") != NULL)
    snprintf (text, text_bytes, "%s was not found: install the NVIDIA driver", library);
  else
    snprintf (text, text_bytes, "%s cannot be loaded: %s", library, reason);
  return CUFRAMES_E_ABSENT;
}

static void
load (void)
{
  load_result = cuframes_cuda_driver_open (LIBRARY, &loaded_driver, load_text, sizeof load_text);
}

/*
 * cuframes_cuda_driver_get:
 * @ret_driver: (out) (transfer none): the table; good for the life of the process
 * @text: (out): on anything but 0 a sentence for the user
 * @text_bytes: room in @text
 *
 * Loads the driver once per process and initialises it. A driver that could not be initialised is tried again by the next
 * call, as some start after the machine. A process that forks after this call must not use CUDA in the child. May be called
 * from any thread.
 *
 * Returns: 0, or %CUFRAMES_E_ABSENT if there is no driver that can be used or no GPU; then @ret_driver is unchanged
 */
int
cuframes_cuda_driver_get (const CuframesCudaDriver **ret_driver, char *text, size_t text_bytes)
{
  /* relaxed: a test sets it before it starts threads */
  const CuframesCudaDriver *driver = __atomic_load_n (&test_driver, __ATOMIC_RELAXED);
  CUresult result;

  if (driver == NULL) {
    pthread_once (&load_once, load);
    if (load_result != 0) {
      snprintf (text, text_bytes, "%s", load_text);
      return load_result;
    }
    driver = &loaded_driver;
  }
  result = driver->init (0);
  if (result == CUDA_ERROR_NO_DEVICE)
    snprintf (text, text_bytes, "the NVIDIA driver finds no GPU (CUDA_ERROR_NO_DEVICE)");
  else if (result != CUDA_SUCCESS)
    snprintf (text, text_bytes, "the NVIDIA driver does not start: cuInit: %s", cuframes_cuda_driver_get_error_name (driver, result));
  if (result != CUDA_SUCCESS)
    return CUFRAMES_E_ABSENT;
  *ret_driver = driver;
  return 0;
}

/*
 * cuframes_cuda_driver_set_for_test:
 * @driver: (transfer none) (nullable): the table to use from now on, or %NULL for the real one
 *
 * For tests, before other threads use CUDA. Objects made before keep the table that they were made with.
 */
void
cuframes_cuda_driver_set_for_test (const CuframesCudaDriver *driver)
{
  /* relaxed: see cuframes_cuda_driver_get() */
  __atomic_store_n (&test_driver, driver, __ATOMIC_RELAXED);
}

/*
 * cuframes_cuda_driver_get_error_name:
 * @driver: a table
 * @result: what one of its functions returned
 *
 * Returns: (transfer none): the error's name in the driver's words, such as "CUDA_ERROR_OUT_OF_MEMORY"
 */
const char *
cuframes_cuda_driver_get_error_name (const CuframesCudaDriver *driver, CUresult result)
{
  const char *name = NULL;

  if (driver->get_error_name (result, &name) != CUDA_SUCCESS || name == NULL)
    return "an error without a name";
  return name;
}

/*
 * cuframes_cuda_driver_get_errno:
 * @result: what one of the driver's functions returned, not %CUDA_SUCCESS
 *
 * Returns: the negative errno that comes nearest
 */
int
cuframes_cuda_driver_get_errno (CUresult result)
{
  switch (result) {
    case CUDA_ERROR_OUT_OF_MEMORY:
      return -ENOMEM;
    case CUDA_ERROR_INVALID_VALUE:
    case CUDA_ERROR_INVALID_HANDLE:
      return -EINVAL;
    case CUDA_ERROR_NOT_PERMITTED:
      return -EPERM;
    case CUDA_ERROR_NOT_SUPPORTED:
      return -EOPNOTSUPP;
    case CUDA_ERROR_NOT_INITIALIZED:
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_NO_DEVICE:
    case CUDA_ERROR_INVALID_DEVICE:
    case CUDA_ERROR_INVALID_CONTEXT:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
      return -ENODEV;
    default:
      return -EIO;
  }
}
