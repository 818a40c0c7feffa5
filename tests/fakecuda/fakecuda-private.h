/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the software driver share.
 *
 * Two locks: fakecuda_lock() guards contexts, streams and events,
 * fakecuda_memory_*lock() the table of memory ranges.  Neither is taken while
 * the other is held.
 */
#ifndef FAKECUDA_PRIVATE_H
#define FAKECUDA_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Built with hidden visibility: the driver's entry points are all there is to
 * see from outside, besides fakecuda.h. */
#pragma GCC visibility push(default)
#include <cuda.h>
#include "fakecuda.h"
/* Newer toolkits give these names to other symbols than we define. */
CUresult CUDAAPI cuCtxCreate_v2 (CUcontext * ret_context, unsigned int flags,
    CUdevice device);
CUresult CUDAAPI cuCtxCreate_v3 (CUcontext * ret_context, void *params,
    int param_count, unsigned int flags, CUdevice device);
#pragma GCC visibility pop

#define FAKECUDA_MAX_DEVICES 16
#define FAKECUDA_GRANULARITY ((size_t) 2 << 20)

/* Set in every address of device memory: no CPU can use such an address, so
 * that code which touches device memory directly dies here as it would on a
 * real machine. */
#define FAKECUDA_DEVICE_TAG (1ULL << 60)

/* First statement of every entry point. */
#define FAKECUDA_ENTER() \
  do { \
    CUresult enter_result = fakecuda_enter (__func__, true); \
    if (enter_result != CUDA_SUCCESS) \
      return enter_result; \
  } while (0)

/* The same for the few that work without cuInit(). */
#define FAKECUDA_ENTER_EARLY() \
  do { \
    CUresult enter_result = fakecuda_enter (__func__, false); \
    if (enter_result != CUDA_SUCCESS) \
      return enter_result; \
  } while (0)

typedef struct
{
  int host_device_count;
  int device_count;
  int visible[FAKECUDA_MAX_DEVICES];
  bool vmm;
  bool stream_mem_ops;
  bool peer;
  int driver_version;
  size_t memory_bytes;
  unsigned int seed;
  unsigned int delay_us;
  const char *report_path;
} FakecudaConfig;

typedef enum
{
  FAKECUDA_LIVE_HANDLES,
  FAKECUDA_LIVE_MAPPINGS,
  FAKECUDA_LIVE_RESERVATIONS,
  FAKECUDA_LIVE_ALLOCATIONS,
  FAKECUDA_LIVE_CONTEXTS,
  FAKECUDA_LIVE_STREAMS,
  FAKECUDA_LIVE_EVENTS,
  FAKECUDA_LIVE_KINDS
} FakecudaLive;

/* fakecuda-config.c */
const FakecudaConfig *fakecuda_config (void);
unsigned int fakecuda_getenv_uint (const char *name, unsigned int fallback);

/* fakecuda-faults.c */
CUresult fakecuda_enter (const char *function, bool needs_init);
void fakecuda_set_initialized (void);
void fakecuda_set_in_host_function (bool value);
void fakecuda_count (FakecudaLive what, int change);
void fakecuda_count_call (const char *function);

/* fakecuda-device.c */
int fakecuda_error_by_name (const char *name, size_t length);
bool fakecuda_device_exists (CUdevice device);
bool fakecuda_devices_are_peers (CUdevice a, CUdevice b);
void fakecuda_device_uuid (CUdevice device, CUuuid * ret_uuid);
CUdevice fakecuda_device_by_uuid (const CUuuid * uuid);

/* fakecuda-context.c */
struct CUctx_st
{
  CUcontext next;
  CUdevice device;
  unsigned int flags;
  bool primary;
  int primary_refs;
  uint32_t peer_devices;
  CUstream streams;
  CUstream legacy_stream;
  atomic_int error;
  atomic_bool dying;
};

CUresult fakecuda_context_current (CUcontext * ret_context);
CUcontext fakecuda_context_first (void);
bool fakecuda_context_is_valid (CUcontext context);

/* fakecuda-queue.c */
typedef struct FakecudaWork FakecudaWork;
typedef struct
{
  CUstream stream;
  uint64_t ticket;
} FakecudaMark;

struct FakecudaWork
{
  FakecudaWork *next;
  CUresult (*run) (CUstream stream, void *data);
  void (*free_data) (void *data);
  void *data;
  bool even_after_error;
  uint64_t ticket;
  size_t mark_count;
  FakecudaMark *marks;
};

struct CUstream_st
{
  CUstream next;
  CUcontext context;
  unsigned int flags;
  int priority;
  int refs;
  bool legacy;
  bool closing;
  bool running;
  unsigned int random;
  pthread_cond_t has_work;
  FakecudaWork *first;
  FakecudaWork **last;
  uint64_t submitted;
  uint64_t completed;
};

void fakecuda_lock (void);
void fakecuda_unlock (void);
void *fakecuda_new0 (size_t size);
void fakecuda_stream_unref_locked (CUstream stream);
FakecudaMark fakecuda_stream_mark_locked (CUstream stream);
bool fakecuda_mark_reached_locked (const FakecudaMark * mark);
void fakecuda_wait_for_mark_locked (const FakecudaMark * mark);
void fakecuda_submit (CUstream stream, FakecudaWork * work);
FakecudaMark fakecuda_submit_locked (CUstream stream, FakecudaWork * work);
FakecudaWork *fakecuda_work_new (CUresult (*run) (CUstream, void *),
    void *data, void (*free_data) (void *));
void fakecuda_work_free (FakecudaWork * work);
void fakecuda_work_add_mark_locked (FakecudaWork * work, FakecudaMark mark);
CUresult fakecuda_submit_and_wait (CUstream stream, FakecudaWork * work);
CUresult fakecuda_stream_finish (CUstream stream);
void fakecuda_stream_nap (CUstream stream, unsigned int longest_us);
void fakecuda_context_drain (CUcontext context);
void fakecuda_context_close_streams (CUcontext context);
void fakecuda_stream_close_locked (CUstream stream);

/* fakecuda-stream.c */
CUresult fakecuda_stream_acquire (CUstream handle, CUstream * ret_stream);
void fakecuda_stream_release (CUstream stream);

/* fakecuda-ranges.c */
typedef struct FakecudaHandle FakecudaHandle;
typedef enum
{
  FAKECUDA_RANGE_ALLOCATION,
  FAKECUDA_RANGE_MAPPING,
  FAKECUDA_RANGE_HOST,
  FAKECUDA_RANGE_HOST_REGISTERED
} FakecudaRangeKind;

typedef struct
{
  FakecudaRangeKind kind;
  CUdeviceptr start;
  size_t size;
  CUcontext context;
  CUdevice device;
  unsigned int flags;
  unsigned long long id;
  uint8_t access[FAKECUDA_MAX_DEVICES];
  FakecudaHandle *handle;
} FakecudaRange;

void fakecuda_memory_read_lock (void);
void fakecuda_memory_write_lock (void);
void fakecuda_memory_unlock (void);
FakecudaRange *fakecuda_range_at (CUdeviceptr address);
FakecudaRange *fakecuda_range_next (CUdeviceptr address);
FakecudaRange *fakecuda_range_add (FakecudaRangeKind kind, CUdeviceptr start,
    size_t size, CUdevice device);
void fakecuda_range_remove (FakecudaRange * range);
bool fakecuda_range_is_host (const FakecudaRange * range);
bool fakecuda_range_allows (CUdeviceptr address, size_t size, CUdevice device,
    bool write);
void *fakecuda_cpu_address (CUdeviceptr address);
CUresult fakecuda_memory_take (CUdevice device, size_t size);
void fakecuda_memory_give_back (CUdevice device, size_t size);
size_t fakecuda_memory_used (CUdevice device);

/* fakecuda-vmm.c */
bool fakecuda_handle_is_exportable (const FakecudaHandle * handle);

#endif
