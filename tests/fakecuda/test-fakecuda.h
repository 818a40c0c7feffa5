/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the software driver's own test share: checks that count,
 * a block of shareable memory, and this program again in another role.
 */
#ifndef TEST_FAKECUDA_H
#define TEST_FAKECUDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <cuda.h>
#include "fakecuda.h"

#define MIB ((size_t) 1 << 20)
/* Where a role finds the descriptor that it was given. */
#define CHILD_FD 3

extern int passed, failed;

#define check(condition) \
  do { \
    if (condition) { \
      passed++; \
    } else { \
      failed++; \
      printf ("%s:%d: %s: not so: %s\n", __FILE__, __LINE__, __func__, \
          #condition); \
    } \
  } while (0)

#define check_ok(call) check ((call) == CUDA_SUCCESS)

typedef struct
{
  CUmemGenericAllocationHandle handle;
  CUdeviceptr address;
  size_t size;
} Block;

CUcontext enter (CUdevice device);
CUmemAllocationProp device_memory (CUdevice device);
CUresult block_map (Block * block, CUdevice device, CUmemAccess_flags flags);
CUresult block_new (Block * block, size_t size, CUdevice device);
CUresult block_import (Block * block, int fd, size_t size,
    CUmemAccess_flags flags);
void block_free (Block * block);
int block_export (const Block * block);
pid_t start_role (const char *role, int fd, const char *variable);
int finish (pid_t pid);
int run_role (const char *role, int fd, const char *variable);
bool faults (void (*access) (void *), void *address);

void run_memory_tests (void);
void role_reader (void);
void role_stranger (void);
void role_blind (void);
void role_crosseyed (void);

void run_stream_tests (void);
void role_writer (void);

#endif
