/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef CUFRAMES_ARENA_CUDA_H
#define CUFRAMES_ARENA_CUDA_H

#include "cuframes-arena.h"
#include "cuframes-cuda-device.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * CUFRAMES_ARENA_CUDA_FENCE_BYTES:
 *
 * Bytes at the start of every CUDA arena that hold its fence words, 0 in a new arena; data starts behind them.
 *
 * A fence is a number that a publisher gives to a frame, see cuframes_arena_cuda_fence(): one of the fence words, and the value
 * that this word reaches when the frame's data is complete. Each word is written by one stream at a time, with values that
 * rise; so a word for each slot lets slots be written on different streams, while with a single word every frame must go
 * through one stream.
 *
 * Since: 0.1
 */
#define CUFRAMES_ARENA_CUDA_FENCE_BYTES 4096u
/** CUFRAMES_ARENA_CUDA_FENCE_WORDS: fence words of an arena. Since: 0.1 */
#define CUFRAMES_ARENA_CUDA_FENCE_WORDS 512u
/** CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX: highest value of a fence word; the lowest is 1. Since: 0.1 */
#define CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX ((UINT64_C (1) << 48) - 1)

CUFRAMES_API int cuframes_arena_new_cuda (CuframesCudaDevice * device, uint64_t size_bytes, CuframesArena ** ret_arena);
CUFRAMES_API int cuframes_arena_import_cuda (void *user_data, const CuframesArenaInfo * info, int fd, CuframesArena ** ret_arena);
CUFRAMES_API int cuframes_arena_import_cuda_writable (CuframesCudaDevice * device, const CuframesArenaInfo * info, int fd,
    CuframesArena ** ret_arena);
CUFRAMES_API CuframesCudaDevice *cuframes_arena_cuda_peek_device (const CuframesArena * arena);

CUFRAMES_API uint64_t cuframes_arena_cuda_fence (uint32_t word, uint64_t value);
CUFRAMES_API int cuframes_arena_cuda_queue_write (CuframesArena * arena, struct CUstream_st *stream, uint64_t fence);
CUFRAMES_API bool cuframes_arena_cuda_has_mirror (CuframesArena * arena);
CUFRAMES_API int cuframes_arena_cuda_queue_wait (CuframesArena * arena, struct CUstream_st *stream, uint64_t fence);
CUFRAMES_API int cuframes_arena_cuda_wait_host (CuframesArena * arena, uint64_t fence, uint64_t timeout_ns);
CUFRAMES_API int cuframes_arena_cuda_map_writable (CuframesArena * arena);
CUFRAMES_API int cuframes_arena_cuda_release_waiters (CuframesArena * arena);

#ifdef __cplusplus
}
#endif
#endif
