/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of GPU memory stand on: a GPU, an arena or two, and other processes, which are the same program in a role. */
#ifndef CUDA_FIXTURE_H
#define CUDA_FIXTURE_H

#include <sys/types.h>

#include "cuda-faults.h"
#include "cuframes-arena-cuda.h"

#define ARENA_BYTES (5u * 1024 * 1024)
#define DATA_BYTES (1024u * 1024)
#define BOUND_S 120
#define SKIPPED 77

/* The few calls that a user of the library makes himself. */
struct cu
{
  CUresult (*device_get) (CUdevice *, int);
  CUresult (*device_get_count) (int *);
  CUresult (*ctx_create) (CUcontext *, unsigned, CUdevice);
  CUresult (*ctx_destroy) (CUcontext);
  CUresult (*ctx_get_current) (CUcontext *);
  CUresult (*ctx_set_current) (CUcontext);
  CUresult (*ctx_synchronize) (void);
  CUresult (*stream_create) (CUstream *, unsigned);
  CUresult (*stream_query) (CUstream);
  CUresult (*stream_synchronize) (CUstream);
  CUresult (*stream_destroy) (CUstream);
  CUresult (*memset_d8_async) (CUdeviceptr, unsigned char, size_t, CUstream);
  CUresult (*memcpy_htod) (CUdeviceptr, const void *, size_t);
  CUresult (*memcpy_dtoh) (void *, CUdeviceptr, size_t);
};

extern struct cu cu;
extern CUcontext context;
extern CuframesCudaDevice *device;
extern int (*software_live) (const char *what);        /* the driver's own count if it is tests/fakecuda, else NULL */
extern const char *role;
extern unsigned failures;
extern const char *skip_reason; /* set by a test that could not be made here */

#define CHECK(condition) check ((condition), #condition, __LINE__)
bool check (bool good, const char *condition, int line);
/* Ends the process unless good: nothing is left to test with. */
void need (bool good, const char *what);
bool says (const char *part);
void tell (void);
int count_descriptors (void);
bool is_live (CudaLive wanted);

/* Makes a context on one GPU, current, and the device from it. False without a driver or a GPU that can be used. */
bool open_device (int ordinal);
/* Undoes it, and checks that nothing at all is left. */
void close_device (void);
CuframesArena *new_arena (void);
CuframesArena *import_copy (CuframesArena * arena);
CUdeviceptr data_of (CuframesArena * arena);
bool holds (CUdeviceptr address, int byte);
void fill (CuframesArena * arena, int byte);
CUstream new_stream (void);

/* environment: "name=value" is set, "name" alone is unset in the other process. */
pid_t start (const char *other_role, const char *environment, int *ret_link);
bool ends_well (pid_t pid, int link);
void send_message (int link, const char *what, CuframesArena * arena);
int expect_message (int link, const char *what, CuframesArenaInfo * ret_info);
CuframesArena *receive_arena (int link);

/* Counts how often it was called; for what a device keeps. */
extern int owners_released;     /* atomic */
void release_owner (void *owner);

#endif
