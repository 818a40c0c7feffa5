/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Streams: what waits for what, and what does not.
 */
#include <string.h>
#include <unistd.h>

#include "test-fakecuda.h"

static void
test_asynchronous_copy_waits_for_nobody (void)
{
  CUcontext context = enter (0);
  CUdeviceptr memory;
  CUstream stream;
  char *pinned;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (cuMemAlloc (&memory, MIB));
  check_ok (cuMemAllocHost ((void **) &pinned, MIB));
  memset (pinned, 1, MIB);
  fakecuda_hold_streams ();
  check_ok (cuMemsetD8Async (memory, 2, MIB, stream));
  check_ok (cuMemcpyDtoHAsync (pinned, memory, MIB, stream));
  check (cuStreamQuery (stream) == CUDA_ERROR_NOT_READY);
  check (pinned[0] == 1 && pinned[MIB - 1] == 1);
  fakecuda_resume_streams ();
  check_ok (cuStreamSynchronize (stream));
  check_ok (cuStreamQuery (stream));
  check (pinned[0] == 2 && pinned[MIB - 1] == 2);
  check_ok (cuMemFreeHost (pinned));
  check_ok (cuMemFree (memory));
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

static void
test_pageable_source_is_read_before_the_call_returns (void)
{
  CUcontext context = enter (0);
  CUdeviceptr memory;
  CUstream stream;
  char text[16] = "before";

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (cuMemAlloc (&memory, sizeof (text)));
  fakecuda_hold_streams ();
  check_ok (cuMemcpyHtoDAsync (memory, text, sizeof (text), stream));
  strcpy (text, "after");
  fakecuda_resume_streams ();
  check_ok (cuMemcpyDtoHAsync (text, memory, sizeof (text), stream));
  check (strcmp (text, "before") == 0);
  check_ok (cuMemFree (memory));
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

static void
test_rows_are_copied_by_pitch (void)
{
  CUcontext context = enter (0);
  unsigned char in[6 * 10], out[6 * 12];
  CUDA_MEMCPY2D copy = { 0 };
  CUdeviceptr memory;
  size_t pitch, i, wrong = 0;

  for (i = 0; i < sizeof (in); i++)
    in[i] = i;
  memset (out, 0xff, sizeof (out));
  check_ok (cuMemAllocPitch (&memory, &pitch, 10, 6, 16));
  copy.srcMemoryType = CU_MEMORYTYPE_HOST;
  copy.srcHost = in;
  copy.srcPitch = 10;
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = memory;
  copy.dstPitch = pitch;
  copy.WidthInBytes = 10;
  copy.Height = 6;
  check_ok (cuMemcpy2D (&copy));

  memset (&copy, 0, sizeof (copy));
  copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.srcDevice = memory;
  copy.srcPitch = pitch;
  copy.srcXInBytes = 2;
  copy.dstMemoryType = CU_MEMORYTYPE_HOST;
  copy.dstHost = out;
  copy.dstPitch = 12;
  copy.WidthInBytes = 8;
  copy.Height = 6;
  check_ok (cuMemcpy2D (&copy));
  for (i = 0; i < sizeof (out); i++)
    wrong += out[i] != (i % 12 < 8 ? i / 12 * 10 + 2 + i % 12 : 0xff);
  check (wrong == 0);
  copy.Height = 7;
  copy.srcY = 6;
  check (cuMemcpy2D (&copy) == CUDA_ERROR_INVALID_VALUE);
  check_ok (cuMemFree (memory));
  check_ok (cuCtxDestroy (context));
}

static void
test_legacy_stream_is_a_barrier (void)
{
  CUcontext context = enter (0);
  CUstream blocking, free_running;
  CUdeviceptr memory;
  unsigned char *pinned;
  int i, wrong = 0;

  check_ok (cuStreamCreate (&blocking, CU_STREAM_DEFAULT));
  check_ok (cuStreamCreate (&free_running, CU_STREAM_NON_BLOCKING));
  check_ok (cuMemAlloc (&memory, 64));
  check_ok (cuMemAllocHost ((void **) &pinned, 64));
  for (i = 0; i < 50; i++) {
    cuMemsetD8Async (memory, i, 64, blocking);
    cuMemcpyDtoHAsync (pinned, memory, 64, NULL);
    cuMemsetD8Async (memory, 255, 64, blocking);
    cuStreamSynchronize (NULL);
    wrong += pinned[0] != i || pinned[63] != i;
  }
  check (wrong == 0);
  check_ok (cuCtxSynchronize ());

  fakecuda_hold_streams ();
  check_ok (cuMemsetD8Async (memory, 1, 64, blocking));
  check (cuStreamQuery (NULL) == CUDA_SUCCESS);
  check (cuStreamQuery (free_running) == CUDA_SUCCESS);
  check (cuStreamQuery (blocking) == CUDA_ERROR_NOT_READY);
  fakecuda_resume_streams ();
  check_ok (cuStreamDestroy (blocking));
  check_ok (cuStreamDestroy (free_running));
  check_ok (cuMemFreeHost (pinned));
  check_ok (cuMemFree (memory));
  check_ok (cuCtxDestroy (context));
}

typedef struct
{
  int order[8];
  int count;
  CUresult call_inside;
} Order;

static void CUDA_CB
note_order (void *user_data)
{
  Order *order = user_data;
  CUdeviceptr memory;

  order->order[order->count] = order->count;
  order->count++;
  order->call_inside = cuMemAlloc (&memory, 4);
}

static void CUDA_CB
note_callback (CUstream stream, CUresult status, void *user_data)
{
  Order *order = user_data;

  (void) stream;
  order->order[order->count++] = status == CUDA_SUCCESS ? 100 : -1;
}

static void
test_host_functions_run_in_order_and_may_not_call_the_driver (void)
{
  CUcontext context = enter (0);
  Order order = { {0}, 0, CUDA_SUCCESS };
  CUstream stream;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (cuLaunchHostFunc (stream, note_order, &order));
  check_ok (cuLaunchHostFunc (stream, note_order, &order));
  check_ok (cuStreamAddCallback (stream, note_callback, &order, 0));
  check_ok (cuLaunchHostFunc (stream, note_order, &order));
  check_ok (cuStreamSynchronize (stream));
  check (order.count == 4);
  check (order.order[0] == 0 && order.order[1] == 1 && order.order[2] == 100
      && order.order[3] == 3);
  check (order.call_inside == CUDA_ERROR_NOT_PERMITTED);
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

static void
test_event_orders_two_streams (void)
{
  CUcontext context = enter (0);
  unsigned char *pinned;
  CUstream writer, reader;
  CUdeviceptr memory;
  CUevent event;
  int i, wrong = 0;

  check_ok (cuStreamCreate (&writer, CU_STREAM_NON_BLOCKING));
  check_ok (cuStreamCreate (&reader, CU_STREAM_NON_BLOCKING));
  check_ok (cuEventCreate (&event, CU_EVENT_DISABLE_TIMING));
  check_ok (cuEventQuery (event));
  check_ok (cuMemAlloc (&memory, 4096));
  check_ok (cuMemAllocHost ((void **) &pinned, 4096));
  for (i = 0; i < 50; i++) {
    cuMemsetD8Async (memory, i, 4096, writer);
    cuEventRecord (event, writer);
    cuStreamWaitEvent (reader, event, 0);
    cuMemcpyDtoHAsync (pinned, memory, 4096, reader);
    cuStreamSynchronize (reader);
    wrong += pinned[0] != i || pinned[4095] != i;
  }
  check (wrong == 0);
  fakecuda_hold_streams ();
  check_ok (cuEventRecord (event, writer));
  check (cuEventQuery (event) == CUDA_ERROR_NOT_READY);
  fakecuda_resume_streams ();
  check_ok (cuEventSynchronize (event));
  check_ok (cuEventQuery (event));
  check_ok (cuEventDestroy (event));
  check_ok (cuMemFreeHost (pinned));
  check_ok (cuMemFree (memory));
  check_ok (cuStreamDestroy (writer));
  check_ok (cuStreamDestroy (reader));
  check_ok (cuCtxDestroy (context));
}

/* What a test that forgot its wait would see, as long as the driver bites.  A
 * race by design: nothing for a tool that looks for races. */
#ifndef __SANITIZE_THREAD__
static void
test_missing_wait_shows (void)
{
  CUcontext context = enter (0);
  unsigned char *pinned;
  CUdeviceptr memory;
  CUstream writer, reader;
  int i, wrong = 0;

  check_ok (cuStreamCreate (&writer, CU_STREAM_NON_BLOCKING));
  check_ok (cuStreamCreate (&reader, CU_STREAM_NON_BLOCKING));
  check_ok (cuMemAlloc (&memory, 4096));
  check_ok (cuMemAllocHost ((void **) &pinned, 4096));
  for (i = 0; i < 100; i++) {
    cuMemsetD8Async (memory, i + 1, 4096, writer);
    cuMemcpyDtoHAsync (pinned, memory, 4096, reader);
    cuCtxSynchronize ();
    wrong += pinned[0] != i + 1 || pinned[4095] != i + 1;
  }
  check (wrong > 0);
  check_ok (cuMemFreeHost (pinned));
  check_ok (cuMemFree (memory));
  check_ok (cuStreamDestroy (writer));
  check_ok (cuStreamDestroy (reader));
  check_ok (cuCtxDestroy (context));
}
#endif

static void
test_wait_ends_when_another_process_writes (void)
{
  CUcontext context = enter (0);
  unsigned char byte = 0;
  CUstream stream;
  Block block;
  pid_t pid;
  int fd;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (block_new (&block, 2 * MIB, 0));
  check_ok (cuMemsetD8 (block.address, 0, block.size));
  check_ok (cuCtxSynchronize ());
  check_ok (cuStreamWaitValue64 (stream, block.address + 8, 5,
          CU_STREAM_WAIT_VALUE_GEQ));
  check (cuStreamWaitValue64 (stream, block.address + 4, 5,
          CU_STREAM_WAIT_VALUE_GEQ) == CUDA_ERROR_INVALID_VALUE);
  fd = block_export (&block);
  pid = start_role ("writer", fd, NULL);
  check_ok (cuMemcpyDtoHAsync (&byte, block.address + MIB, 1, stream));
  check (byte == 9);
  check (finish (pid) == 0);
  close (fd);
  block_free (&block);
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

void
role_writer (void)
{
  CUcontext context = enter (0);
  CUstream stream;
  Block block;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (block_import (&block, CHILD_FD, 2 * MIB,
          CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
  check_ok (cuStreamWriteValue64 (stream, block.address + 8, 4, 0));
  check_ok (cuMemsetD8Async (block.address + MIB, 9, 1, stream));
  check_ok (cuStreamWriteValue64 (stream, block.address + 8, 6, 0));
  check_ok (cuStreamSynchronize (stream));
  block_free (&block);
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

static void
test_wait_for_equal_and_cyclic_values (void)
{
  CUcontext context = enter (0);
  CUstream stream;
  CUdeviceptr memory;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (cuMemAlloc (&memory, 16));
  check_ok (cuStreamWriteValue64 (stream, memory, 3, 0));
  check_ok (cuStreamWaitValue64 (stream, memory, (uint64_t) - 5,
          CU_STREAM_WAIT_VALUE_GEQ));
  check_ok (cuStreamWaitValue64 (stream, memory, 3, CU_STREAM_WAIT_VALUE_EQ));
  check_ok (cuStreamWriteValue32 (stream, memory + 8, 7, 0));
  check_ok (cuStreamWaitValue32 (stream, memory + 8, 7,
          CU_STREAM_WAIT_VALUE_EQ));
  check_ok (cuStreamSynchronize (stream));
  check_ok (cuMemFree (memory));
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

static void
test_wait_is_released_through_a_second_mapping (void)
{
  CUcontext context = enter (0);
  CUstream waiter, rescuer;
  uint64_t word = 0;
  Block block, writable;

  check_ok (cuStreamCreate (&waiter, CU_STREAM_NON_BLOCKING));
  check_ok (cuStreamCreate (&rescuer, CU_STREAM_NON_BLOCKING));
  check_ok (block_new (&writable, 4 * MIB, 0));
  check_ok (cuMemcpyHtoD (writable.address, &word, sizeof (word)));
  /* The copy from pageable memory may still be on its way. */
  check_ok (cuCtxSynchronize ());
  block.handle = writable.handle;
  block.size = writable.size;
  check_ok (block_map (&block, 0, CU_MEM_ACCESS_FLAGS_PROT_READ));
  check_ok (cuStreamWaitValue64 (waiter, block.address, 9,
          CU_STREAM_WAIT_VALUE_GEQ));
  check (cuStreamQuery (waiter) == CUDA_ERROR_NOT_READY);
  word = 9;
  check_ok (cuMemcpyHtoDAsync (writable.address, &word, sizeof (word),
          rescuer));
  check_ok (cuStreamSynchronize (waiter));
  check_ok (cuStreamDestroy (waiter));
  check_ok (cuStreamDestroy (rescuer));
  check_ok (cuMemUnmap (block.address, block.size));
  check_ok (cuMemAddressFree (block.address, block.size));
  block_free (&writable);
  check_ok (cuCtxDestroy (context));
}

static void
test_destroyed_context_lets_go_of_waits (void)
{
  CUcontext context = enter (0);
  CUstream stream;
  Block block;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (block_new (&block, 2 * MIB, 0));
  check_ok (cuStreamWaitValue64 (stream, block.address, 1,
          CU_STREAM_WAIT_VALUE_EQ));
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
  block_free (&block);
}

static void
test_work_on_unmapped_memory_breaks_the_context (void)
{
  CUcontext context = enter (0);
  CUstream stream;
  Block block;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (block_new (&block, 2 * MIB, 0));
  fakecuda_hold_streams ();
  check_ok (cuMemsetD8Async (block.address, 1, block.size, stream));
  block_free (&block);
  fakecuda_resume_streams ();
  check (cuStreamSynchronize (stream) == CUDA_ERROR_ILLEGAL_ADDRESS);
  check (cuCtxSynchronize () == CUDA_ERROR_ILLEGAL_ADDRESS);
  check_ok (cuStreamDestroy (stream));
  check_ok (cuCtxDestroy (context));
}

static void
test_word_written_without_access_breaks_the_context (void)
{
  CUcontext context = enter (0);
  CUstream stream;
  Block block, readable;

  check_ok (cuStreamCreate (&stream, CU_STREAM_NON_BLOCKING));
  check_ok (block_new (&block, 2 * MIB, 0));
  readable = block;
  check_ok (block_map (&readable, 0, CU_MEM_ACCESS_FLAGS_PROT_READ));
  check_ok (cuStreamWriteValue64 (stream, readable.address, 9, 0));
  check (cuStreamSynchronize (stream) == CUDA_ERROR_LAUNCH_FAILED);
  check (cuCtxSynchronize () == CUDA_ERROR_LAUNCH_FAILED);
  check (cuCtxPushCurrent (context) == CUDA_ERROR_INVALID_CONTEXT);
  check_ok (cuStreamDestroy (stream));
  check_ok (cuMemUnmap (readable.address, readable.size));
  check_ok (cuMemAddressFree (readable.address, readable.size));
  block_free (&block);
  check_ok (cuCtxDestroy (context));
}

void
run_stream_tests (void)
{
  test_asynchronous_copy_waits_for_nobody ();
  test_pageable_source_is_read_before_the_call_returns ();
  test_rows_are_copied_by_pitch ();
  test_legacy_stream_is_a_barrier ();
  test_host_functions_run_in_order_and_may_not_call_the_driver ();
  test_event_orders_two_streams ();
#ifndef __SANITIZE_THREAD__
  test_missing_wait_shows ();
#endif
  test_wait_ends_when_another_process_writes ();
  test_wait_for_equal_and_cyclic_values ();
  test_wait_is_released_through_a_second_mapping ();
  test_destroyed_context_lets_go_of_waits ();
  test_work_on_unmapped_memory_breaks_the_context ();
  test_word_written_without_access_breaks_the_context ();
}
