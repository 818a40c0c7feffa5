/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What GStreamer's CUDA library names of the driver's OpenGL side.  OpenGL's
 * own headers are not needed: an object's name is an unsigned int there.
 */

/* The toolkit's own guard: see cuda.h. */
#ifndef CUDAGL_H
#define CUDAGL_H

#include <cuda.h>

#ifdef __cplusplus
extern "C"
{
#endif

typedef enum CUGLDeviceList_enum
{
  CU_GL_DEVICE_LIST_ALL = 0x01,
  CU_GL_DEVICE_LIST_CURRENT_FRAME = 0x02,
  CU_GL_DEVICE_LIST_NEXT_FRAME = 0x03
} CUGLDeviceList;

CUresult CUDAAPI cuGLGetDevices (unsigned int *pCudaDeviceCount, CUdevice *pCudaDevices, unsigned int cudaDeviceCount, CUGLDeviceList deviceList);

#ifdef __cplusplus
}
#endif

#endif
