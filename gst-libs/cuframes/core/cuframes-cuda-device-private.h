/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kinds of memory that live on a GPU see of it. Private. */
#ifndef CUFRAMES_CUDA_DEVICE_PRIVATE_H
#define CUFRAMES_CUDA_DEVICE_PRIVATE_H

#include <pthread.h>

#include "cuframes-cuda-device.h"
#include "cuframes-cuda-driver.h"

#define CUFRAMES_CUDA_NAME_BYTES 112

struct _CuframesCudaDevice
{
  const CuframesCudaDriver *driver;
  CUcontext context;
  CUdevice device;
  CUstream stream;              /* our own; nobody's work is ever queued on it but copies of fence words */
  uint8_t uuid[CUFRAMES_UUID_BYTES];
  char name[CUFRAMES_CUDA_NAME_BYTES];
  bool has_rdma;                /* memory can be made so that other hosts may be given it */
  bool has_fences;
  void (*release) (void *owner);
  void *owner;
  unsigned references;          /* atomic */
  pthread_mutex_t text_lock;
  char text[CUFRAMES_TEXT_BYTES];       /* under text_lock */
};

/* Everything between the two has the device's context current. */
int cuframes_cuda_device_enter (CuframesCudaDevice * device);
void cuframes_cuda_device_leave (CuframesCudaDevice * device);

/* Both keep a sentence for cuframes_cuda_device_get_text(). The first returns result, the second the errno of error. */
int cuframes_cuda_device_say (CuframesCudaDevice * device, int result, const char *format, ...) __attribute__ ((format (printf, 3, 4)));
int cuframes_cuda_device_fail (CuframesCudaDevice * device, CUresult error, const char *format, ...) __attribute__ ((format (printf, 3, 4)));

int cuframes_cuda_device_find_other (const CuframesCudaDevice * device, const uint8_t uuid[CUFRAMES_UUID_BYTES], CUdevice * ret_other);
bool cuframes_cuda_device_reaches (const CuframesCudaDevice * device, CUdevice other);
void cuframes_cuda_describe (const CuframesCudaDriver * driver, CUdevice device, char name[CUFRAMES_CUDA_NAME_BYTES]);
void cuframes_cuda_describe_uuid (const uint8_t uuid[CUFRAMES_UUID_BYTES], char text[CUFRAMES_CUDA_NAME_BYTES]);

void cuframes_cuda_run_apart (void *(*function) (void *argument), void *argument);

#endif
