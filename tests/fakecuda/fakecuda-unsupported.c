/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Entry points that are only there to be found: programs look up all that they
 * might use and give up if one is missing.  cuda.h stays out, because these
 * are no real prototypes: the arguments are not looked at.
 */

#define NOT_SUPPORTED 801       /* CUDA_ERROR_NOT_SUPPORTED */

typedef _Bool bool;
int fakecuda_enter (const char *function, bool needs_init);

#define UNSUPPORTED(name) \
  int name (void) __attribute__((visibility ("default"))); \
  int name (void) \
  { \
    int result = fakecuda_enter (#name, 1); \
    return result != 0 ? result : NOT_SUPPORTED; \
  }

/* *INDENT-OFF* */
UNSUPPORTED (cuArray3DCreate_v2)
UNSUPPORTED (cuArrayCreate_v2)
UNSUPPORTED (cuArrayDestroy)
UNSUPPORTED (cuArrayGetDescriptor_v2)
UNSUPPORTED (cuDestroyExternalMemory)
UNSUPPORTED (cuDestroyExternalSemaphore)
UNSUPPORTED (cuDeviceGetDefaultMemPool)
UNSUPPORTED (cuDeviceGetMemPool)
UNSUPPORTED (cuDeviceSetMemPool)
UNSUPPORTED (cuEGLStreamConsumerConnect)
UNSUPPORTED (cuExternalMemoryGetMappedBuffer)
UNSUPPORTED (cuExternalMemoryGetMappedMipmappedArray)
UNSUPPORTED (cuFuncGetAttribute)
UNSUPPORTED (cuFuncSetAttribute)
UNSUPPORTED (cuGLGetDevices_v2)
UNSUPPORTED (cuGraphicsEGLRegisterImage)
UNSUPPORTED (cuGraphicsGLRegisterBuffer)
UNSUPPORTED (cuGraphicsGLRegisterImage)
UNSUPPORTED (cuGraphicsMapResources)
UNSUPPORTED (cuGraphicsResourceGetMappedEglFrame)
UNSUPPORTED (cuGraphicsResourceGetMappedPointer_v2)
UNSUPPORTED (cuGraphicsResourceSetMapFlags_v2)
UNSUPPORTED (cuGraphicsSubResourceGetMappedArray)
UNSUPPORTED (cuGraphicsUnmapResources)
UNSUPPORTED (cuGraphicsUnregisterResource)
UNSUPPORTED (cuImportExternalMemory)
UNSUPPORTED (cuImportExternalSemaphore)
UNSUPPORTED (cuIpcCloseMemHandle)
UNSUPPORTED (cuIpcGetEventHandle)
UNSUPPORTED (cuIpcGetMemHandle)
UNSUPPORTED (cuIpcOpenEventHandle)
UNSUPPORTED (cuIpcOpenMemHandle)
UNSUPPORTED (cuIpcOpenMemHandle_v2)
UNSUPPORTED (cuLaunchKernel)
UNSUPPORTED (cuMemAllocAsync)
UNSUPPORTED (cuMemAllocFromPoolAsync)
UNSUPPORTED (cuMemAllocManaged)
UNSUPPORTED (cuMemFreeAsync)
UNSUPPORTED (cuMemGetHandleForAddressRange)
UNSUPPORTED (cuMemPoolCreate)
UNSUPPORTED (cuMemPoolDestroy)
UNSUPPORTED (cuMemPoolGetAttribute)
UNSUPPORTED (cuMemPoolSetAttribute)
UNSUPPORTED (cuMemcpy3DAsync_v2)
UNSUPPORTED (cuMemcpy3D_v2)
UNSUPPORTED (cuModuleGetFunction)
UNSUPPORTED (cuModuleGetGlobal_v2)
UNSUPPORTED (cuModuleLoadData)
UNSUPPORTED (cuModuleLoadDataEx)
UNSUPPORTED (cuModuleUnload)
UNSUPPORTED (cuSignalExternalSemaphoresAsync)
UNSUPPORTED (cuStreamBatchMemOp)
UNSUPPORTED (cuStreamBatchMemOp_v2)
UNSUPPORTED (cuStreamBeginCapture_v2)
UNSUPPORTED (cuStreamEndCapture)
UNSUPPORTED (cuStreamIsCapturing)
UNSUPPORTED (cuSurfObjectCreate)
UNSUPPORTED (cuSurfObjectDestroy)
UNSUPPORTED (cuTexObjectCreate)
UNSUPPORTED (cuTexObjectDestroy)
UNSUPPORTED (cuWaitExternalSemaphoresAsync)
/* *INDENT-ON* */
