/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_CUDA_DEVICE_H
#define CUFRAMES_CUDA_DEVICE_H

#include <stdbool.h>

#include "cuframes-types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* CUcontext and CUstream of cuda.h are pointers to these. */
struct CUctx_st;
struct CUstream_st;

/**
 * CuframesCudaDevice:
 *
 * A GPU as one CUDA context sees it. Reference-counted. Every function may be called from any thread, whatever context is
 * current there: each makes the device's own context current and puts the thread's back.
 *
 * Since: 0.1
 */
typedef struct _CuframesCudaDevice CuframesCudaDevice;

CUFRAMES_API int cuframes_cuda_device_new (struct CUctx_st *context, void (*release) (void *owner), void *take_owner, char *text,
    size_t text_bytes, CuframesCudaDevice ** ret_device);
CUFRAMES_API CuframesCudaDevice *cuframes_cuda_device_ref (CuframesCudaDevice * device);
CUFRAMES_API CuframesCudaDevice *cuframes_cuda_device_unref (CuframesCudaDevice * device);
CUFRAMES_API struct CUctx_st *cuframes_cuda_device_peek_context (const CuframesCudaDevice * device);
CUFRAMES_API const char *cuframes_cuda_device_get_name (const CuframesCudaDevice * device);
CUFRAMES_API void cuframes_cuda_device_get_uuid (const CuframesCudaDevice * device, uint8_t ret_uuid[CUFRAMES_UUID_BYTES]);
CUFRAMES_API uint32_t cuframes_cuda_device_get_mappable (const CuframesCudaDevice * device, uint8_t (*ret_uuids)[CUFRAMES_UUID_BYTES],
    uint32_t capacity);
CUFRAMES_API bool cuframes_cuda_device_has_fences (const CuframesCudaDevice * device);
CUFRAMES_API void cuframes_cuda_device_get_text (CuframesCudaDevice * device, char *text, size_t text_bytes);
CUFRAMES_API int cuframes_cuda_device_when_done (CuframesCudaDevice * device, struct CUstream_st *stream,
    void (*callback) (void *user_data), void *user_data);
CUFRAMES_API void cuframes_cuda_run_outside_callbacks (void *(*function) (void *argument), void *argument);
CUFRAMES_API int cuframes_cuda_check_driver (char *text, size_t text_bytes);
CUFRAMES_API int cuframes_cuda_device_find (const uint8_t uuid[CUFRAMES_UUID_BYTES], char *text, size_t text_bytes, int *ret_ordinal);

#ifdef __cplusplus
}
#endif
#endif
