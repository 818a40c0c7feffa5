/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "cuda-faults.h"

static const CuframesCudaDriver *real;
static CuframesCudaDriver table;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int calls_to_fault;
static const char *fired;
static CudaLive live;
static bool soiled;
static bool mappings_refused;
static int hidden_attribute;
static CUdevice pretended = -1;
static const uint8_t *pretended_uuid;
static bool pretended_reachable;

static bool
is_due (const char *call)
{
  bool due;

  pthread_mutex_lock (&lock);
  due = calls_to_fault > 0 && --calls_to_fault == 0;
  if (due)
    fired = call;
  pthread_mutex_unlock (&lock);
  return due;
}

static CUresult
count (int *what, int change, CUresult result)
{
  if (result != CUDA_SUCCESS)
    return result;
  pthread_mutex_lock (&lock);
  *what += change;
  pthread_cond_broadcast (&changed);
  pthread_mutex_unlock (&lock);
  return CUDA_SUCCESS;
}

static CUdevice
actual (CUdevice device)
{
  return device == pretended ? 0 : device;
}

#define PASS(field, call, parameters, arguments) \
  static CUresult field parameters \
  { \
    return is_due (call) ? CUDA_ERROR_UNKNOWN : real->field arguments; \
  }
#define TAKE(field, call, what, parameters, arguments) \
  static CUresult field parameters \
  { \
    return is_due (call) ? CUDA_ERROR_OUT_OF_MEMORY : count (&live.what, 1, real->field arguments); \
  }
#define GIVE(field, call, what, parameters, arguments) \
  static CUresult field parameters \
  { \
    bool due = is_due (call); \
    CUresult result = count (&live.what, -1, real->field arguments); \
    return due ? CUDA_ERROR_UNKNOWN : result; \
  }

PASS (init, "cuInit", (unsigned flags), (flags))
PASS (device_get_name, "cuDeviceGetName", (char *name, int bytes, CUdevice device), (name, bytes, actual (device)))
PASS (device_total_mem, "cuDeviceTotalMem", (size_t *bytes, CUdevice device), (bytes, actual (device)))
PASS (ctx_get_device, "cuCtxGetDevice", (CUdevice *device), (device))
PASS (ctx_get_stream_priority_range, "cuCtxGetStreamPriorityRange", (int *least, int *greatest), (least, greatest))
PASS (stream_write_value64, "cuStreamWriteValue64", (CUstream stream, CUdeviceptr address, uint64_t value, unsigned flags),
    (stream, address, value, flags))
PASS (stream_wait_value64, "cuStreamWaitValue64", (CUstream stream, CUdeviceptr address, uint64_t value, unsigned flags),
    (stream, address, value, flags))
PASS (launch_host_func, "cuLaunchHostFunc", (CUstream stream, CUhostFn function, void *user_data), (stream, function, user_data))
PASS (memcpy_dtoh_async, "cuMemcpyDtoHAsync", (void *to, CUdeviceptr from, size_t bytes, CUstream stream), (to, from, bytes, stream))
PASS (memcpy_htod_async, "cuMemcpyHtoDAsync", (CUdeviceptr to, const void *from, size_t bytes, CUstream stream), (to, from, bytes, stream))
PASS (mem_export_to_shareable_handle, "cuMemExportToShareableHandle",
    (void *shareable, CUmemGenericAllocationHandle handle, CUmemAllocationHandleType type, unsigned long long flags),
    (shareable, handle, type, flags))

TAKE (stream_create, "cuStreamCreate", streams, (CUstream *stream, unsigned flags), (stream, flags))
TAKE (stream_create_with_priority, "cuStreamCreateWithPriority", streams, (CUstream *stream, unsigned flags, int priority),
    (stream, flags, priority))
TAKE (ctx_push_current, "cuCtxPushCurrent", pushed_contexts, (CUcontext context), (context))
TAKE (mem_create, "cuMemCreate", handles,
    (CUmemGenericAllocationHandle *handle, size_t bytes, const CUmemAllocationProp *properties, unsigned long long flags),
    (handle, bytes, properties, flags))
TAKE (mem_import_from_shareable_handle, "cuMemImportFromShareableHandle", handles,
    (CUmemGenericAllocationHandle *handle, void *shareable, CUmemAllocationHandleType type), (handle, shareable, type))
TAKE (mem_address_reserve, "cuMemAddressReserve", reservations,
    (CUdeviceptr *address, size_t bytes, size_t alignment, CUdeviceptr wanted, unsigned long long flags),
    (address, bytes, alignment, wanted, flags))

TAKE (mem_host_register, "cuMemHostRegister", registrations, (void *memory, size_t bytes, unsigned flags), (memory, bytes, flags))
PASS (mem_host_get_device_pointer, "cuMemHostGetDevicePointer", (CUdeviceptr *address, void *memory, unsigned flags), (address, memory, flags))

GIVE (mem_host_unregister, "cuMemHostUnregister", registrations, (void *memory), (memory))
GIVE (stream_destroy, "cuStreamDestroy", streams, (CUstream stream), (stream))
GIVE (ctx_pop_current, "cuCtxPopCurrent", pushed_contexts, (CUcontext *context), (context))
GIVE (mem_release, "cuMemRelease", handles, (CUmemGenericAllocationHandle handle), (handle))
GIVE (mem_address_free, "cuMemAddressFree", reservations, (CUdeviceptr address, size_t bytes), (address, bytes))
GIVE (mem_unmap, "cuMemUnmap", mappings, (CUdeviceptr address, size_t bytes), (address, bytes))

static CUresult
mem_map (CUdeviceptr address, size_t bytes, size_t offset, CUmemGenericAllocationHandle handle, unsigned long long flags)
{
  if (is_due ("cuMemMap"))
    return CUDA_ERROR_OUT_OF_MEMORY;
  if (mappings_refused)
    return CUDA_ERROR_NOT_SUPPORTED;
  return count (&live.mappings, 1, real->mem_map (address, bytes, offset, handle, flags));
}

static CUresult
mem_set_access (CUdeviceptr address, size_t bytes, const CUmemAccessDesc *access, size_t n)
{
  static unsigned char dirt[4096];
  CUresult result = is_due ("cuMemSetAccess") ? CUDA_ERROR_UNKNOWN : real->mem_set_access (address, bytes, access, n);

  if (result != CUDA_SUCCESS || !soiled)
    return result;
  memset (dirt, 0xa5, sizeof dirt);
  result = real->memcpy_htod_async (address, dirt, sizeof dirt, NULL);
  return result == CUDA_SUCCESS ? real->stream_synchronize (NULL) : result;
}

/* A copy that is still under way when its memory goes would break the context, which is not the fault that was asked for. */
static CUresult
stream_synchronize (CUstream stream)
{
  CUresult result = real->stream_synchronize (stream);

  return is_due ("cuStreamSynchronize") ? CUDA_ERROR_UNKNOWN : result;
}

static CUresult
device_get_count (int *ret_count)
{
  CUresult result = is_due ("cuDeviceGetCount") ? CUDA_ERROR_UNKNOWN : real->device_get_count (ret_count);

  if (result == CUDA_SUCCESS && pretended >= 0)
    (*ret_count)++;
  return result;
}

static CUresult
device_get (CUdevice *ret_device, int ordinal)
{
  if (is_due ("cuDeviceGet"))
    return CUDA_ERROR_UNKNOWN;
  if (ordinal != pretended)
    return real->device_get (ret_device, ordinal);
  *ret_device = pretended;
  return CUDA_SUCCESS;
}

static CUresult
device_get_uuid (CUuuid *ret_uuid, CUdevice device)
{
  if (is_due ("cuDeviceGetUuid"))
    return CUDA_ERROR_UNKNOWN;
  if (device != pretended)
    return real->device_get_uuid (ret_uuid, device);
  memcpy (ret_uuid->bytes, pretended_uuid, sizeof ret_uuid->bytes);
  return CUDA_SUCCESS;
}

static CUresult
device_get_attribute (int *ret_value, CUdevice_attribute attribute, CUdevice device)
{
  CUresult result = is_due ("cuDeviceGetAttribute") ? CUDA_ERROR_UNKNOWN : real->device_get_attribute (ret_value, attribute, device);

  if (result == CUDA_SUCCESS && (int) attribute == hidden_attribute)
    *ret_value = 0;
  return result;
}

static CUresult
device_can_access_peer (int *ret_can, CUdevice device, CUdevice peer)
{
  if (is_due ("cuDeviceCanAccessPeer"))
    return CUDA_ERROR_UNKNOWN;
  if (peer != pretended)
    return real->device_can_access_peer (ret_can, device, peer);
  *ret_can = pretended_reachable;
  return CUDA_SUCCESS;
}

static CUresult
mem_get_allocation_granularity (size_t *ret_bytes, const CUmemAllocationProp *properties, CUmemAllocationGranularity_flags option)
{
  CUmemAllocationProp copy = *properties;

  copy.location.id = actual (copy.location.id);
  return is_due ("cuMemGetAllocationGranularity") ? CUDA_ERROR_UNKNOWN : real->mem_get_allocation_granularity (ret_bytes, &copy, option);
}

static CUresult
mem_get_allocation_properties_from_handle (CUmemAllocationProp *ret_properties, CUmemGenericAllocationHandle handle)
{
  CUresult result = is_due ("cuMemGetAllocationPropertiesFromHandle") ? CUDA_ERROR_UNKNOWN
      : real->mem_get_allocation_properties_from_handle (ret_properties, handle);

  if (result == CUDA_SUCCESS && pretended >= 0)
    ret_properties->location.id = pretended;
  return result;
}

/* What the driver lacks stays absent. */
#define PUT(field) table.field = driver->field != NULL ? field : NULL

void
cuda_faults_install (const CuframesCudaDriver *driver)
{
  real = driver;
  table = *driver;
  PUT (init);
  PUT (device_get_count);
  PUT (device_get);
  PUT (device_get_name);
  PUT (device_get_uuid);
  PUT (device_get_attribute);
  PUT (device_total_mem);
  PUT (device_can_access_peer);
  PUT (ctx_push_current);
  PUT (ctx_pop_current);
  PUT (ctx_get_device);
  PUT (ctx_get_stream_priority_range);
  PUT (stream_create);
  PUT (stream_create_with_priority);
  PUT (stream_destroy);
  PUT (stream_synchronize);
  PUT (stream_write_value64);
  PUT (stream_wait_value64);
  PUT (launch_host_func);
  PUT (memcpy_dtoh_async);
  PUT (memcpy_htod_async);
  PUT (mem_host_register);
  PUT (mem_host_unregister);
  PUT (mem_host_get_device_pointer);
  PUT (mem_get_allocation_granularity);
  PUT (mem_create);
  PUT (mem_release);
  PUT (mem_address_reserve);
  PUT (mem_address_free);
  PUT (mem_map);
  PUT (mem_unmap);
  PUT (mem_set_access);
  PUT (mem_export_to_shareable_handle);
  PUT (mem_import_from_shareable_handle);
  PUT (mem_get_allocation_properties_from_handle);
  cuframes_cuda_driver_set_for_test (&table);
}

void
cuda_faults_arm (int nth)
{
  pthread_mutex_lock (&lock);
  calls_to_fault = nth;
  fired = NULL;
  pthread_mutex_unlock (&lock);
}

const char *
cuda_faults_get_fired (void)
{
  const char *call;

  pthread_mutex_lock (&lock);
  call = fired;
  pthread_mutex_unlock (&lock);
  return call;
}

CudaLive
cuda_faults_get_live (void)
{
  CudaLive copy;

  pthread_mutex_lock (&lock);
  copy = live;
  pthread_mutex_unlock (&lock);
  return copy;
}

bool
cuda_faults_wait_live (CudaLive wanted, int timeout_s)
{
  struct timespec deadline;
  bool reached;
  int r = 0;

  clock_gettime (CLOCK_REALTIME, &deadline);
  deadline.tv_sec += timeout_s;
  pthread_mutex_lock (&lock);
  while (memcmp (&live, &wanted, sizeof live) != 0 && r == 0)
    r = pthread_cond_timedwait (&changed, &lock, &deadline);
  reached = memcmp (&live, &wanted, sizeof live) == 0;
  pthread_mutex_unlock (&lock);
  return reached;
}

void
cuda_faults_soil_memory (bool soil)
{
  soiled = soil;
}

void
cuda_faults_refuse_mappings (bool refuse)
{
  mappings_refused = refuse;
}

void
cuda_faults_hide_attribute (int attribute)
{
  hidden_attribute = attribute;
}

void
cuda_faults_pretend_owner (const uint8_t *uuid, bool reachable)
{
  pretended = -1;
  pretended_uuid = uuid;
  pretended_reachable = reachable;
  if (uuid != NULL && real->device_get_count (&pretended) != CUDA_SUCCESS)
    pretended = -1;
}
