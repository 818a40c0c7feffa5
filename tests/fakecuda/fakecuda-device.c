/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The driver itself and its devices: versions, error names, attributes, ids.
 */
#include "fakecuda-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VMM_SINCE_VERSION 10020
#define PCI_BUS_ID_FORMAT "0000:%02x:00.0"

#define ERROR(name, text) { name, #name, text }

static const struct
{
  CUresult error;
  const char *name;
  const char *text;
} errors[] = {
  ERROR (CUDA_SUCCESS, "no error"),
  ERROR (CUDA_ERROR_INVALID_VALUE, "invalid argument"),
  ERROR (CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
  ERROR (CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
  ERROR (CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
  ERROR (CUDA_ERROR_DEVICE_UNAVAILABLE, "device busy or unavailable"),
  ERROR (CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
  ERROR (CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
  ERROR (CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
  ERROR (CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
  ERROR (CUDA_ERROR_MAP_FAILED, "mapping of buffer object failed"),
  ERROR (CUDA_ERROR_ALREADY_MAPPED, "resource already mapped"),
  ERROR (CUDA_ERROR_NOT_MAPPED, "resource not mapped"),
  ERROR (CUDA_ERROR_UNSUPPORTED_LIMIT, "limit is not supported"),
  ERROR (CUDA_ERROR_PEER_ACCESS_UNSUPPORTED,
      "peer access is not supported between these two devices"),
  ERROR (CUDA_ERROR_OPERATING_SYSTEM, "OS call failed"),
  ERROR (CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
  ERROR (CUDA_ERROR_ILLEGAL_STATE, "operation not legal in this state"),
  ERROR (CUDA_ERROR_NOT_FOUND, "named symbol not found"),
  ERROR (CUDA_ERROR_NOT_READY, "device not ready"),
  ERROR (CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access occurred"),
  ERROR (CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out"),
  ERROR (CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED,
      "peer access is already enabled"),
  ERROR (CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access is not enabled"),
  ERROR (CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "primary context is active"),
  ERROR (CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
  ERROR (CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED,
      "memory is already registered"),
  ERROR (CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "memory is not registered"),
  ERROR (CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
  ERROR (CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
  ERROR (CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
  ERROR (CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
  ERROR (CUDA_ERROR_SYSTEM_NOT_READY, "system not yet initialized"),
  ERROR (CUDA_ERROR_SYSTEM_DRIVER_MISMATCH,
      "driver and library versions do not match"),
  ERROR (CUDA_ERROR_TIMEOUT, "wait timed out"),
  ERROR (CUDA_ERROR_UNKNOWN, "unknown error"),
};

#define ERROR_COUNT (sizeof (errors) / sizeof (errors[0]))

/* A name or a number; -1 for neither. */
int
fakecuda_error_by_name (const char *name, size_t length)
{
  size_t i;

  for (i = 0; i < ERROR_COUNT; i++) {
    if (strlen (errors[i].name) == length
        && memcmp (errors[i].name, name, length) == 0)
      return errors[i].error;
  }
  return length > 0 && name[0] >= '1' && name[0] <= '9' ? atoi (name) : -1;
}

CUresult
cuGetErrorName (CUresult error, const char **ret_name)
{
  size_t i;

  FAKECUDA_ENTER_EARLY ();
  for (i = 0; i < ERROR_COUNT; i++) {
    if (errors[i].error == error) {
      *ret_name = errors[i].name;
      return CUDA_SUCCESS;
    }
  }
  *ret_name = NULL;
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuGetErrorString (CUresult error, const char **ret_text)
{
  size_t i;

  FAKECUDA_ENTER_EARLY ();
  for (i = 0; i < ERROR_COUNT; i++) {
    if (errors[i].error == error) {
      *ret_text = errors[i].text;
      return CUDA_SUCCESS;
    }
  }
  *ret_text = NULL;
  return CUDA_ERROR_INVALID_VALUE;
}

CUresult
cuInit (unsigned int flags)
{
  FAKECUDA_ENTER_EARLY ();
  if (flags != 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (fakecuda_config ()->device_count == 0)
    return CUDA_ERROR_NO_DEVICE;
  fakecuda_set_initialized ();
  return CUDA_SUCCESS;
}

CUresult
cuDriverGetVersion (int *ret_version)
{
  FAKECUDA_ENTER_EARLY ();
  if (ret_version == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  *ret_version = fakecuda_config ()->driver_version;
  return CUDA_SUCCESS;
}

bool
fakecuda_device_exists (CUdevice device)
{
  return device >= 0 && device < fakecuda_config ()->device_count;
}

bool
fakecuda_devices_are_peers (CUdevice a, CUdevice b)
{
  return a != b && fakecuda_config ()->peer;
}

/* The id belongs to the device of the host, whatever number it is seen by. */
void
fakecuda_device_uuid (CUdevice device, CUuuid *ret_uuid)
{
  memcpy (ret_uuid->bytes, "fakecuda-device", 15);
  ret_uuid->bytes[15] = '0' + fakecuda_config ()->visible[device];
}

CUdevice
fakecuda_device_by_uuid (const CUuuid *uuid)
{
  CUdevice device;
  CUuuid other;

  for (device = 0; device < fakecuda_config ()->device_count; device++) {
    fakecuda_device_uuid (device, &other);
    if (memcmp (&other, uuid, sizeof (other)) == 0)
      return device;
  }
  return -1;
}

CUresult
cuDeviceGetCount (int *ret_count)
{
  FAKECUDA_ENTER ();
  if (ret_count == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  *ret_count = fakecuda_config ()->device_count;
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGet (CUdevice *ret_device, int ordinal)
{
  FAKECUDA_ENTER ();
  if (ret_device == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (ordinal))
    return CUDA_ERROR_INVALID_DEVICE;
  *ret_device = ordinal;
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetName (char *name, int length, CUdevice device)
{
  FAKECUDA_ENTER ();
  if (name == NULL || length <= 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  snprintf (name, length, "Software GPU %d",
      fakecuda_config ()->visible[device]);
  return CUDA_SUCCESS;
}

static CUresult
get_uuid (CUuuid *ret_uuid, CUdevice device)
{
  if (ret_uuid == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  fakecuda_device_uuid (device, ret_uuid);
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetUuid_v2 (CUuuid *ret_uuid, CUdevice device)
{
  FAKECUDA_ENTER ();
  return get_uuid (ret_uuid, device);
}

/* Newer toolkits make a macro of this name. */
#undef cuDeviceGetUuid
CUresult cuDeviceGetUuid (CUuuid * ret_uuid, CUdevice device)
    __attribute__((visibility ("default")));

CUresult
cuDeviceGetUuid (CUuuid *ret_uuid, CUdevice device)
{
  FAKECUDA_ENTER ();
  return get_uuid (ret_uuid, device);
}

CUresult
cuDeviceTotalMem (size_t *ret_bytes, CUdevice device)
{
  FAKECUDA_ENTER ();
  if (ret_bytes == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  *ret_bytes = fakecuda_config ()->memory_bytes;
  return CUDA_SUCCESS;
}

static int
constant_attribute (CUdevice_attribute attribute)
{
  static const struct
  {
    CUdevice_attribute attribute;
    int value;
  } values[] = {
    {CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
    {CU_DEVICE_ATTRIBUTE_WARP_SIZE, 32},
    {CU_DEVICE_ATTRIBUTE_MAX_PITCH, 0x7fffffff},
    {CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT, 512},
    {CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT, 32},
    {CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, 1},
    {CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
    {CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS, 1},
    {CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT, 2},
    {CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING, 1},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 9},
    {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
    {CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED, 1},
    {CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED, 1},
  };
  size_t i;

  for (i = 0; i < sizeof (values) / sizeof (values[0]); i++) {
    if (values[i].attribute == attribute)
      return values[i].value;
  }
  return 0;
}

CUresult
cuDeviceGetAttribute (int *ret_value, CUdevice_attribute attribute,
    CUdevice device)
{
  const FakecudaConfig *config = fakecuda_config ();

  FAKECUDA_ENTER ();
  if (ret_value == NULL || attribute <= 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;

  switch ((int) attribute) {
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
      /* An older driver does not know the question. */
      if (config->driver_version < VMM_SINCE_VERSION)
        return CUDA_ERROR_INVALID_VALUE;
      *ret_value = config->vmm;
      break;
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR_V1:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
      *ret_value = config->stream_mem_ops;
      break;
    case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID:
      *ret_value = config->visible[device] + 1;
      break;
    default:
      *ret_value = constant_attribute (attribute);
      break;
  }
  return CUDA_SUCCESS;
}

CUresult
cuDeviceCanAccessPeer (int *ret_can, CUdevice device, CUdevice peer)
{
  FAKECUDA_ENTER ();
  if (ret_can == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device) || !fakecuda_device_exists (peer))
    return CUDA_ERROR_INVALID_DEVICE;
  *ret_can = fakecuda_devices_are_peers (device, peer);
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetP2PAttribute (int *ret_value, CUdevice_P2PAttribute attribute,
    CUdevice device, CUdevice peer)
{
  FAKECUDA_ENTER ();
  if (ret_value == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device) || !fakecuda_device_exists (peer)
      || device == peer)
    return CUDA_ERROR_INVALID_DEVICE;
  *ret_value = attribute == CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED
      && fakecuda_devices_are_peers (device, peer);
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetPCIBusId (char *id, int length, CUdevice device)
{
  FAKECUDA_ENTER ();
  if (id == NULL || length < 13)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  snprintf (id, length, PCI_BUS_ID_FORMAT,
      fakecuda_config ()->visible[device] + 1);
  return CUDA_SUCCESS;
}

CUresult
cuDeviceGetByPCIBusId (CUdevice *ret_device, const char *id)
{
  CUdevice device;
  char other[32];

  FAKECUDA_ENTER ();
  if (ret_device == NULL || id == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  for (device = 0; device < fakecuda_config ()->device_count; device++) {
    snprintf (other, sizeof (other), PCI_BUS_ID_FORMAT,
        fakecuda_config ()->visible[device] + 1);
    if (strcmp (id, other) == 0) {
      *ret_device = device;
      return CUDA_SUCCESS;
    }
  }
  return CUDA_ERROR_INVALID_DEVICE;
}
