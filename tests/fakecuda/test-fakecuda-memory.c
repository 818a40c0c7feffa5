/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory: what is shared, who may reach it, what is refused.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test-fakecuda.h"

static void
read_byte (void *address)
{
  (void) *(volatile char *) address;
}

static void
write_byte (void *address)
{
  *(volatile char *) address = 1;
}

static void
test_memory_is_read_in_another_process_and_not_written (void)
{
  CUcontext context = enter (0);
  Block block;
  int fd;

  check_ok (block_new (&block, 4 * MIB, 0));
  check_ok (cuMemsetD32 (block.address, 0x11223344, MIB));
  check_ok (cuCtxSynchronize ());
  fd = block_export (&block);
  check (run_role ("reader", fd, NULL) == 0);
  close (fd);
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

void
role_reader (void)
{
  CUcontext context = enter (0);
  CUmemLocation location = { CU_MEM_LOCATION_TYPE_DEVICE, 0 };
  unsigned long long access = 0;
  uint32_t words[2] = { 0 };
  Block block;

  check_ok (block_import (&block, CHILD_FD, 4 * MIB,
          CU_MEM_ACCESS_FLAGS_PROT_READ));
  check_ok (cuMemcpyDtoH (words, block.address + 4 * MIB - 8, 8));
  check (words[0] == 0x11223344 && words[1] == 0x11223344);
  check_ok (cuMemGetAccess (&access, &location, block.address));
  check (access == CU_MEM_ACCESS_FLAGS_PROT_READ);
  check (cuMemsetD8 (block.address, 1, 1) == CUDA_ERROR_INVALID_VALUE);
  check (cuMemcpyHtoD (block.address, words, 4) == CUDA_ERROR_INVALID_VALUE);
  check (!faults (read_byte, fakecuda_host_pointer (block.address)));
  check (faults (write_byte, fakecuda_host_pointer (block.address)));
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

static void
test_memory_without_access_is_out_of_reach (void)
{
  CUcontext context = enter (0);
  CUmemAllocationProp prop = device_memory (0);
  CUdeviceptr address;
  Block block;

  block.size = 2 * MIB;
  check_ok (cuMemCreate (&block.handle, block.size, &prop, 0));
  check_ok (cuMemAddressReserve (&block.address, block.size, 0, 0, 0));
  check (cuMemsetD8 (block.address, 1, 1) == CUDA_ERROR_INVALID_VALUE);
  check_ok (cuMemMap (block.address, block.size, 0, block.handle, 0));
  check (cuMemsetD8 (block.address, 1, 1) == CUDA_ERROR_INVALID_VALUE);
  check (faults (read_byte, fakecuda_host_pointer (block.address)));
  check (cuMemAddressFree (block.address, block.size)
      == CUDA_ERROR_INVALID_VALUE);
  block_free (&block);

  check_ok (cuMemAlloc (&address, 4096));
  check_ok (cuMemsetD8 (address, 7, 4096));
  check (cuMemsetD8 (address, 7, 4097) == CUDA_ERROR_INVALID_VALUE);
  check (faults (read_byte, (void *) (uintptr_t) address));
  check_ok (cuMemFree (address));
  check (cuMemFree (address) == CUDA_ERROR_INVALID_VALUE);
  check_ok (cuCtxDestroy (context));
}

static void
test_sizes_that_are_not_granular_are_refused (void)
{
  CUmemAllocationProp prop = device_memory (0);
  CUmemGenericAllocationHandle handle;
  CUdeviceptr address;
  size_t granularity;

  check_ok (cuMemGetAllocationGranularity (&granularity, &prop,
          CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  check (granularity == 2 * MIB);
  check (cuMemCreate (&handle, MIB, &prop, 0) == CUDA_ERROR_INVALID_VALUE);
  check (cuMemAddressReserve (&address, MIB, 0, 0, 0)
      == CUDA_ERROR_INVALID_VALUE);
  prop.location.id = 2;
  check (cuMemCreate (&handle, 2 * MIB, &prop, 0)
      == CUDA_ERROR_INVALID_DEVICE);
}

static void
test_memory_is_mapped_as_a_whole (void)
{
  CUcontext context = enter (0);
  CUdeviceptr address;
  Block block;

  check_ok (block_new (&block, 4 * MIB, 0));
  check_ok (cuMemAddressReserve (&address, 8 * MIB, 0, 0, 0));
  check (cuMemMap (address, 2 * MIB, 0, block.handle, 0)
      == CUDA_ERROR_NOT_SUPPORTED);
  check (cuMemMap (address, 2 * MIB, 2 * MIB, block.handle, 0)
      == CUDA_ERROR_NOT_SUPPORTED);
  check (cuMemMap (address, 8 * MIB, 0, block.handle, 0)
      == CUDA_ERROR_NOT_SUPPORTED);
  check_ok (cuMemMap (address, 4 * MIB, 0, block.handle, 0));
  check_ok (cuMemUnmap (address, 4 * MIB));
  check_ok (cuMemAddressFree (address, 8 * MIB));
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

static void
test_descriptor_is_not_inherited (void)
{
  CUcontext context = enter (0);
  Block block;
  int fd;

  check_ok (block_new (&block, 2 * MIB, 0));
  fd = block_export (&block);
  check (fcntl (fd, F_GETFD) == FD_CLOEXEC);
  close (fd);
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

static void
test_descriptor_of_something_else_is_refused (void)
{
  CUmemGenericAllocationHandle handle;
  int fd = memfd_create ("other", MFD_CLOEXEC);
  int ends[2];

  check (ftruncate (fd, 4 * MIB) == 0);
  check (cuMemImportFromShareableHandle (&handle, (void *) (intptr_t) fd,
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
      == CUDA_ERROR_UNKNOWN);
  close (fd);
  check (cuMemImportFromShareableHandle (&handle, (void *) (intptr_t) fd,
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
      == CUDA_ERROR_UNKNOWN);
  check (pipe2 (ends, O_CLOEXEC) == 0);
  check (cuMemImportFromShareableHandle (&handle, (void *) (intptr_t) ends[0],
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
      == CUDA_ERROR_UNKNOWN);
  close (ends[0]);
  close (ends[1]);
}

static void
test_memory_outlives_its_handle_while_mapped (void)
{
  CUcontext context = enter (0);
  CUmemGenericAllocationHandle again;
  CUmemAllocationProp prop;
  Block block;

  check_ok (block_new (&block, 2 * MIB, 0));
  check_ok (cuMemRelease (block.handle));
  check (fakecuda_live ("handles") == 0);
  check_ok (cuMemsetD8 (block.address, 1, block.size));
  check_ok (cuMemRetainAllocationHandle (&again,
          (void *) (uintptr_t) (block.address + 17)));
  check_ok (cuMemGetAllocationPropertiesFromHandle (&prop, again));
  check (prop.location.id == 0
      && prop.requestedHandleTypes == CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
  block.handle = again;
  check_ok (cuCtxSynchronize ());
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

static void
test_memory_of_a_device_is_not_endless (void)
{
  CUcontext context = enter (0);
  size_t total, before, after;
  CUdeviceptr memory;
  Block block;

  check_ok (cuMemGetInfo (&before, &total));
  check (block_new (&block, total + 2 * MIB, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  check (cuMemAlloc (&memory, total + 1) == CUDA_ERROR_OUT_OF_MEMORY);
  check_ok (block_new (&block, 8 * MIB, 0));
  check_ok (cuMemGetInfo (&after, &total));
  check (before - after == 8 * MIB);
  block_free (&block);
  check_ok (cuMemGetInfo (&after, &total));
  check (before == after);
  check_ok (cuCtxDestroy (context));
}

static void
test_pointer_tells_where_it_points (void)
{
  CUcontext context = enter (1), other = NULL;
  CUdeviceptr memory, start;
  unsigned int type = 0;
  size_t size = 0;
  int ordinal = -1;
  void *pinned;

  check_ok (cuMemAlloc (&memory, 4096));
  check_ok (cuMemAllocHost (&pinned, 4096));
  check_ok (cuPointerGetAttribute (&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
          memory + 5));
  check (type == CU_MEMORYTYPE_DEVICE);
  check_ok (cuPointerGetAttribute (&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
          (uintptr_t) pinned));
  check (type == CU_MEMORYTYPE_HOST);
  check_ok (cuPointerGetAttribute (&ordinal,
          CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, memory));
  check (ordinal == 1);
  check_ok (cuPointerGetAttribute (&other, CU_POINTER_ATTRIBUTE_CONTEXT,
          memory));
  check (other == context);
  check (cuPointerGetAttribute (&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
          (uintptr_t) & type) == CUDA_ERROR_INVALID_VALUE);
  check_ok (cuMemGetAddressRange (&start, &size, memory + 5));
  check (start == memory && size == 4096);
  check_ok (cuMemFreeHost (pinned));
  check_ok (cuMemFree (memory));
  check_ok (cuCtxDestroy (context));
}

static void
test_other_device_reaches_memory_only_as_peer (void)
{
  CUmemAccessDesc access = { {CU_MEM_LOCATION_TYPE_DEVICE, 1},
  CU_MEM_ACCESS_FLAGS_PROT_READ
  };
  CUcontext context = enter (1);
  unsigned char byte;
  Block block;
  int fd;

  check_ok (block_new (&block, 2 * MIB, 0));
  check (cuMemcpyDtoH (&byte, block.address, 1) == CUDA_ERROR_INVALID_VALUE);
  check_ok (cuMemSetAccess (block.address, block.size, &access, 1));
  check_ok (cuMemcpyDtoH (&byte, block.address, 1));
  check (cuMemsetD8 (block.address, 0, 1) == CUDA_ERROR_INVALID_VALUE);
  block_free (&block);

  check_ok (block_new (&block, 2 * MIB, 1));
  fd = block_export (&block);
  check (run_role ("stranger", fd, "FAKECUDA_PEER=0") == 0);
  check (run_role ("blind", fd, "FAKECUDA_DEVICES=1") == 0);
  check (run_role ("crosseyed", fd, "CUDA_VISIBLE_DEVICES=1,0") == 0);
  close (fd);
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

void
role_stranger (void)
{
  Block block;
  int can = 1;

  check_ok (cuInit (0));
  check_ok (cuDeviceCanAccessPeer (&can, 0, 1));
  check (can == 0);
  check (block_import (&block, CHILD_FD, 2 * MIB,
          CU_MEM_ACCESS_FLAGS_PROT_READ) == CUDA_ERROR_INVALID_DEVICE);
}

void
role_blind (void)
{
  Block block;

  check_ok (cuInit (0));
  check (block_import (&block, CHILD_FD, 2 * MIB,
          CU_MEM_ACCESS_FLAGS_PROT_READ) == CUDA_ERROR_INVALID_DEVICE);
}

void
role_crosseyed (void)
{
  CUmemAllocationProp prop;
  Block block;

  check_ok (cuInit (0));
  check_ok (block_import (&block, CHILD_FD, 2 * MIB,
          CU_MEM_ACCESS_FLAGS_PROT_READ));
  check_ok (cuMemGetAllocationPropertiesFromHandle (&prop, block.handle));
  check (prop.location.id == 0);
  block_free (&block);
}

void
run_memory_tests (void)
{
  test_memory_is_read_in_another_process_and_not_written ();
  test_memory_without_access_is_out_of_reach ();
  test_sizes_that_are_not_granular_are_refused ();
  test_memory_is_mapped_as_a_whole ();
  test_descriptor_is_not_inherited ();
  test_descriptor_of_something_else_is_refused ();
  test_memory_outlives_its_handle_while_mapped ();
  test_memory_of_a_device_is_not_endless ();
  test_pointer_tells_where_it_points ();
  test_other_device_reaches_memory_only_as_peer ();
}
