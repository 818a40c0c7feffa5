/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an arena of GPU memory holds. Private. */
#ifndef CUFRAMES_ARENA_CUDA_PRIVATE_H
#define CUFRAMES_ARENA_CUDA_PRIVATE_H

#include "cuframes-arena-cuda.h"
#include "cuframes-cuda-device-private.h"
#include "cuframes-life.h"

typedef struct
{
  CUdeviceptr address;
  uint64_t reserved_bytes;      /* 0: not reserved */
  uint64_t mapped_bytes;        /* 0: not mapped */
} CuframesCudaMapping;

/* Pages of the host that the GPU writes fences to, besides the fence words of the memory itself. */
typedef struct
{
  void *pages;                  /* NULL: none */
  uint64_t page_bytes;
  uint64_t *words;
  CUdeviceptr address;          /* of the words on the GPU; 0 until the first fence, and for good if the GPU cannot */
  bool tried, registered;
  unsigned depth;               /* of forks, where it was registered */
  uint64_t queued[CUFRAMES_ARENA_CUDA_FENCE_WORDS];     /* the newest value of each word that was queued */
} CuframesCudaMirror;

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
  CuframesCudaMirror mirror;    /* under lock */
  CuframesLife *life;           /* under lock: its publisher's, once a ring of it was announced */
  bool released;                /* atomic: this process let all waits go */
} CuframesArenaCuda;

/* NULL for an arena of another kind. */
CuframesArenaCuda *cuframes_arena_cuda_cast (CuframesArena * arena);

/* All with the context current. On failure of cuframes_arena_cuda_map(), ret_call names the driver's function and nothing is left mapped. */
CUresult cuframes_arena_cuda_map (CuframesArenaCuda * self, CuframesCudaMapping * mapping, uint64_t bytes, bool writable,
    const char **ret_call);
bool cuframes_arena_cuda_adopt_mirror (CuframesArena * arena, void *pages, uint64_t page_bytes, uint64_t * words);
bool cuframes_arena_cuda_settle (CuframesArenaCuda * self, uint64_t timeout_ns);
void cuframes_arena_cuda_drop_mirror (CuframesArenaCuda * self);
CUresult cuframes_arena_cuda_write_fences (CuframesArenaCuda * self, CUdeviceptr address, const uint64_t * words);

#endif
