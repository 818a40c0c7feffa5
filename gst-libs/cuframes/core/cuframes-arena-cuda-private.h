/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an arena of GPU memory holds. Private. */
#ifndef CUFRAMES_ARENA_CUDA_PRIVATE_H
#define CUFRAMES_ARENA_CUDA_PRIVATE_H

#include "cuframes-arena-cuda.h"
#include "cuframes-cuda-device-private.h"

typedef struct
{
  CUdeviceptr address;
  uint64_t reserved_bytes;      /* 0: not reserved */
  uint64_t mapped_bytes;        /* 0: not mapped */
} CuframesCudaMapping;

/* Each member that is set is undone by free_arena(), in reverse. */
typedef struct
{
  CuframesArena head;
  CuframesCudaDevice *device;
  uint64_t granularity_bytes;
  bool writable;
  bool has_handle;
  CUmemGenericAllocationHandle handle;
  CuframesCudaMapping memory;
  int fd;                       /* -1 in an importer */
  pthread_mutex_t lock;
  CuframesCudaMapping fences;   /* under lock: the same memory once more, writable */
  bool released;                /* atomic: this process let all waits go */
} CuframesArenaCuda;

/* NULL for an arena of another kind. */
CuframesArenaCuda *cuframes_arena_cuda_cast (CuframesArena * arena);

/* All with the context current. On failure of the first, ret_call names the driver's function and nothing is left mapped. */
CUresult cuframes_arena_cuda_map (CuframesArenaCuda * self, CuframesCudaMapping * mapping, uint64_t bytes, bool writable,
    const char **ret_call);
CUresult cuframes_arena_cuda_write_fences (CuframesArenaCuda * self, CUdeviceptr address, const uint64_t * words);

#endif
