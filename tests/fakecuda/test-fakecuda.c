/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The software driver keeps the promises that the other tests build on.
 *
 * Processes that use the driver beside the first one are this program again,
 * with the name of a role: a driver does not survive fork().
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test-fakecuda.h"

int passed, failed;
static const char *program;

/* Newer headers give the plain name to another function. */
CUresult cuCtxCreate_v2 (CUcontext *, unsigned int, CUdevice);

CUcontext
enter (CUdevice device)
{
  CUcontext context = NULL;

  check_ok (cuInit (0));
  check_ok (cuCtxCreate_v2 (&context, 0, device));
  return context;
}

CUmemAllocationProp
device_memory (CUdevice device)
{
  CUmemAllocationProp prop = { 0 };

  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  prop.location.id = device;
  return prop;
}

CUresult
block_map (Block *block, CUdevice device, CUmemAccess_flags flags)
{
  CUmemAccessDesc access = { {CU_MEM_LOCATION_TYPE_DEVICE, device}, flags };
  CUresult result;

  result = cuMemAddressReserve (&block->address, block->size, 0, 0, 0);
  if (result != CUDA_SUCCESS)
    return result;
  result = cuMemMap (block->address, block->size, 0, block->handle, 0);
  if (result == CUDA_SUCCESS) {
    result = cuMemSetAccess (block->address, block->size, &access, 1);
    if (result != CUDA_SUCCESS)
      cuMemUnmap (block->address, block->size);
  }
  if (result != CUDA_SUCCESS)
    cuMemAddressFree (block->address, block->size);
  return result;
}

CUresult
block_new (Block *block, size_t size, CUdevice device)
{
  CUmemAllocationProp prop = device_memory (device);
  CUresult result;

  block->size = size;
  result = cuMemCreate (&block->handle, size, &prop, 0);
  if (result != CUDA_SUCCESS)
    return result;
  result = block_map (block, device, CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  if (result != CUDA_SUCCESS)
    cuMemRelease (block->handle);
  return result;
}

CUresult
block_import (Block *block, int fd, size_t size, CUmemAccess_flags flags)
{
  CUresult result;

  block->size = size;
  result = cuMemImportFromShareableHandle (&block->handle,
      (void *) (intptr_t) fd, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
  if (result != CUDA_SUCCESS)
    return result;
  result = block_map (block, 0, flags);
  if (result != CUDA_SUCCESS)
    cuMemRelease (block->handle);
  return result;
}

void
block_free (Block *block)
{
  check_ok (cuMemUnmap (block->address, block->size));
  check_ok (cuMemAddressFree (block->address, block->size));
  check_ok (cuMemRelease (block->handle));
}

int
block_export (const Block *block)
{
  int fd = -1;

  check_ok (cuMemExportToShareableHandle (&fd, block->handle,
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR, 0));
  return fd;
}

/* Starts this program in a role, with fd as its descriptor 3 and one variable
 * ("NAME=value") added to its environment. */
pid_t
start_role (const char *role, int fd, const char *variable)
{
  pid_t pid = fork ();

  if (pid == 0) {
    if (fd >= 0 && (dup2 (fd, CHILD_FD) < 0
            || fcntl (CHILD_FD, F_SETFD, 0) < 0))
      _exit (99);
    if (variable != NULL)
      putenv ((char *) variable);
    execl (program, program, role, NULL);
    _exit (99);
  }
  return pid;
}

int
finish (pid_t pid)
{
  int status = -1;

  while (waitpid (pid, &status, 0) < 0 && errno == EINTR);
  return status;
}

int
run_role (const char *role, int fd, const char *variable)
{
  return finish (start_role (role, fd, variable));
}

/* Whether the CPU dies of the access. */
bool
faults (void (*access) (void *), void *address)
{
  pid_t pid = fork ();
  int status;

  if (pid == 0) {
    signal (SIGSEGV, SIG_DFL);
    signal (SIGBUS, SIG_DFL);
    access (address);
    _exit (0);
  }
  status = finish (pid);
  return WIFSIGNALED (status)
      && (WTERMSIG (status) == SIGSEGV || WTERMSIG (status) == SIGBUS);
}

static void
test_device_answers_what_it_is (void)
{
  CUuuid first, second;
  char name[64] = "";
  const char *text = NULL;
  void *function = NULL;
  CUdevice device;
  int value = 0;

  check (cuDeviceGetCount (&value) == CUDA_ERROR_NOT_INITIALIZED);
  check_ok (cuInit (0));
  check_ok (cuDeviceGetCount (&value));
  check (value == 2);
  check_ok (cuDeviceGet (&device, 1));
  check (cuDeviceGet (&device, 2) == CUDA_ERROR_INVALID_DEVICE);
  check_ok (cuDeviceGetName (name, sizeof (name), 0));
  check (name[0] != '\0');
  check_ok (cuDeviceGetUuid_v2 (&first, 0));
  check_ok (cuDeviceGetUuid_v2 (&second, 1));
  check (memcmp (&first, &second, sizeof (first)) != 0);
  check_ok (cuDeviceGetAttribute (&value,
          CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
  check (value == 1);
  check_ok (cuGetErrorName (CUDA_ERROR_NOT_READY, &text));
  check (text != NULL && strcmp (text, "CUDA_ERROR_NOT_READY") == 0);
  check_ok (cuGetProcAddress ("cuMemAlloc", &function, 12000, 0, NULL));
  check (function == (void *) cuMemAlloc);
  check (cuGetProcAddress ("cuMemAllocNever", &function, 12000, 0, NULL)
      == CUDA_ERROR_NOT_FOUND);
}

static void
test_driver_does_not_survive_fork (void)
{
  pid_t pid = fork ();

  if (pid == 0)
    _exit (cuInit (0) == CUDA_ERROR_NOT_INITIALIZED ? 0 : 1);
  check (finish (pid) == 0);
}

static void
test_ordered_fault_comes_once_and_leaves_nothing (void)
{
  static const char *const steps[] = {
    "cuMemCreate", "cuMemAddressReserve", "cuMemMap", "cuMemSetAccess"
  };
  CUcontext context = enter (0);
  Block block;
  size_t i;

  for (i = 0; i < sizeof (steps) / sizeof (steps[0]); i++) {
    fakecuda_reset ();
    fakecuda_fail (steps[i], 2, 0);
    check_ok (block_new (&block, 2 * MIB, 0));
    block_free (&block);
    check (block_new (&block, 2 * MIB, 0) == CUDA_ERROR_OUT_OF_MEMORY);
    check (fakecuda_calls (steps[i]) == 2);
    check (fakecuda_live ("handles") == 0);
    check (fakecuda_live ("mappings") == 0);
    check (fakecuda_live ("reservations") == 0);
    check_ok (block_new (&block, 2 * MIB, 0));
    block_free (&block);
  }
  fakecuda_fail ("cuStreamCreate", 0, CUDA_ERROR_INVALID_CONTEXT);
  check (cuStreamCreate (NULL, 0) == CUDA_ERROR_INVALID_CONTEXT);
  check (cuStreamCreate (NULL, 0) == CUDA_ERROR_INVALID_CONTEXT);
  fakecuda_reset ();
  check (fakecuda_live ("nonsense") == -1);
  check_ok (cuCtxDestroy (context));
}

static void
test_fault_can_be_ordered_by_the_environment (void)
{
  check (run_role ("unlucky", -1,
          "FAKECUDA_FAIL=cuMemMap:2=CUDA_ERROR_MAP_FAILED,cuMemCreate:3") == 0);
}

static void
role_unlucky (void)
{
  CUcontext context = enter (0);
  Block block;

  check_ok (block_new (&block, 2 * MIB, 0));
  block_free (&block);
  check (block_new (&block, 2 * MIB, 0) == CUDA_ERROR_MAP_FAILED);
  check (block_new (&block, 2 * MIB, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  check_ok (block_new (&block, 2 * MIB, 0));
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

static void
test_lesser_drivers_and_devices (void)
{
  check (run_role ("nodevice", -1, "FAKECUDA_NO_DEVICE=1") == 0);
  check (run_role ("novmm", -1, "FAKECUDA_NO_VMM=1") == 0);
  check (run_role ("nomemops", -1, "FAKECUDA_NO_STREAM_MEM_OPS=1") == 0);
  check (run_role ("old", -1, "FAKECUDA_DRIVER_VERSION=10000") == 0);
}

static void
role_nodevice (void)
{
  check (cuInit (0) == CUDA_ERROR_NO_DEVICE);
}

static void
role_novmm (void)
{
  int value = 1;
  Block block;

  check_ok (cuInit (0));
  check_ok (cuDeviceGetAttribute (&value,
          CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
  check (value == 0);
  check (block_new (&block, 2 * MIB, 0) == CUDA_ERROR_NOT_SUPPORTED);
}

static void
role_nomemops (void)
{
  CUcontext context = enter (0);
  CUdeviceptr memory;
  int value = 1;

  check_ok (cuDeviceGetAttribute (&value,
          CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, 0));
  check (value == 0);
  check_ok (cuMemAlloc (&memory, 8));
  check (cuStreamWriteValue64 (NULL, memory, 1, 0)
      == CUDA_ERROR_NOT_SUPPORTED);
  check_ok (cuMemFree (memory));
  check_ok (cuCtxDestroy (context));
}

static void
role_old (void)
{
  int value = 0;

  check_ok (cuDriverGetVersion (&value));
  check (value == 10000);
  check_ok (cuInit (0));
  check (cuDeviceGetAttribute (&value,
          CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0)
      == CUDA_ERROR_INVALID_VALUE);
}

static void
test_report_counts_what_was_not_given_back (void)
{
  char variable[64], line[256] = "";
  int fd = memfd_create ("report", MFD_CLOEXEC);

  snprintf (variable, sizeof (variable), "FAKECUDA_REPORT=/proc/%d/fd/%d",
      (int) getpid (), fd);
  check (run_role ("leaker", -1, variable) == 0);
  check (pread (fd, line, sizeof (line) - 1, 0) > 0);
  check (strstr (line, " handles=1 ") != NULL);
  check (strstr (line, " allocations=0 ") != NULL);
  check (strstr (line, " contexts=0 ") != NULL);
  close (fd);
}

static void
role_leaker (void)
{
  CUmemAllocationProp prop = device_memory (0);
  CUmemGenericAllocationHandle handle;

  check_ok (cuInit (0));
  check_ok (cuMemCreate (&handle, 2 * MIB, &prop, 0));
}

static void
test_contexts_stack_per_thread_and_primary_ones_are_shared (void)
{
  CUcontext first = enter (0), second = enter (1), current = NULL, primary;
  CUcontext again;
  unsigned int flags;
  int active;

  check_ok (cuCtxGetCurrent (&current));
  check (current == second);
  check_ok (cuCtxPopCurrent (&current));
  check (current == second);
  check_ok (cuCtxGetCurrent (&current));
  check (current == first);
  check_ok (cuCtxDestroy (second));
  check (cuCtxPushCurrent (second) == CUDA_ERROR_INVALID_CONTEXT);
  check_ok (cuCtxDestroy (first));
  check (cuCtxSynchronize () == CUDA_ERROR_INVALID_CONTEXT);

  check_ok (cuDevicePrimaryCtxRetain (&primary, 0));
  check_ok (cuDevicePrimaryCtxRetain (&again, 0));
  check (primary == again);
  check_ok (cuDevicePrimaryCtxRelease (0));
  check_ok (cuDevicePrimaryCtxGetState (0, &flags, &active));
  check (active);
  check_ok (cuDevicePrimaryCtxRelease (0));
  check (cuDevicePrimaryCtxRelease (0) == CUDA_ERROR_INVALID_CONTEXT);
}

static void
check_nothing_is_left (void)
{
  check (fakecuda_live ("handles") == 0);
  check (fakecuda_live ("mappings") == 0);
  check (fakecuda_live ("reservations") == 0);
  check (fakecuda_live ("allocations") == 0);
  check (fakecuda_live ("contexts") == 0);
  check (fakecuda_live ("streams") == 0);
  check (fakecuda_live ("events") == 0);
}

static void
run_tests (void)
{
  test_device_answers_what_it_is ();
  test_driver_does_not_survive_fork ();
  run_memory_tests ();
  run_stream_tests ();
  test_ordered_fault_comes_once_and_leaves_nothing ();
  test_fault_can_be_ordered_by_the_environment ();
  test_lesser_drivers_and_devices ();
  test_report_counts_what_was_not_given_back ();
  test_contexts_stack_per_thread_and_primary_ones_are_shared ();
  check_nothing_is_left ();
}

static void
run_as (const char *name)
{
  static const struct
  {
    const char *name;
    void (*run) (void);
  } roles[] = {
    {"reader", role_reader},
    {"writer", role_writer},
    {"unlucky", role_unlucky},
    {"stranger", role_stranger},
    {"blind", role_blind},
    {"crosseyed", role_crosseyed},
    {"nodevice", role_nodevice},
    {"novmm", role_novmm},
    {"nomemops", role_nomemops},
    {"old", role_old},
    {"leaker", role_leaker},
  };
  size_t i;

  for (i = 0; i < sizeof (roles) / sizeof (roles[0]); i++) {
    if (strcmp (name, roles[i].name) != 0)
      continue;
    roles[i].run ();
    if (strcmp (name, "leaker") != 0)
      check_nothing_is_left ();
    return;
  }
  failed++;
}

int
main (int argc, char **argv)
{
  program = argv[0];
  setenv ("FAKECUDA_DEVICES", "2", 0);
  if (argc > 1) {
    run_as (argv[1]);
    return failed != 0;
  }
  run_tests ();
  printf ("%d passed, %d failed\n", passed, failed);
  return failed != 0;
}
