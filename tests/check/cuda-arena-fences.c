/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fence words, and what waits for the GPU in one process. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "cuda-arena-tests.h"

void
test_fences_that_are_none (void)
{
  CuframesArena *arena = new_arena (), *copy = import_copy (arena), *host = NULL;
  const uint64_t wrong[] = { 0, cuframes_arena_cuda_fence (3, 0), cuframes_arena_cuda_fence (CUFRAMES_ARENA_CUDA_FENCE_WORDS, 1), UINT64_MAX };

  CHECK (cuframes_arena_cuda_fence (0, 12) == 12);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    CHECK (cuframes_arena_cuda_queue_write (arena, NULL, wrong[i]) == -EINVAL);
    CHECK (cuframes_arena_cuda_queue_wait (arena, NULL, wrong[i]) == -EINVAL);
    CHECK (cuframes_arena_cuda_wait_host (arena, wrong[i], 0) == -EINVAL);
  }
  CHECK (cuframes_arena_cuda_queue_write (copy, NULL, 1) == -EPERM);
  if (CHECK (cuframes_arena_new_host (4096, &host) == 0)) {
    CHECK (cuframes_arena_cuda_queue_write (host, NULL, 1) == -EINVAL && cuframes_arena_cuda_wait_host (host, 1, 0) == -EINVAL);
    CHECK (cuframes_arena_cuda_release_waiters (host) == -EINVAL && cuframes_arena_cuda_map_writable (host) == -EINVAL);
    CHECK (cuframes_arena_cuda_peek_device (host) == NULL);
  }
  cuframes_arena_unref (host);
  cuframes_arena_unref (copy);
  cuframes_arena_unref (arena);
}

void
test_a_wait_ends_with_its_own_word_alone (void)
{
  CuframesArena *arena = new_arena (), *copy = import_copy (arena);
  const uint64_t mine = cuframes_arena_cuda_fence (5, 100), other = cuframes_arena_cuda_fence (6, 200);
  CUstream writer = new_stream (), reader = new_stream ();

  CHECK (cuframes_arena_cuda_queue_wait (copy, reader, mine) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, other) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, cuframes_arena_cuda_fence (5, 99)) == 0);
  CHECK (cu.stream_synchronize (writer) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_wait_host (copy, other, 0) == 0);
  CHECK (cuframes_arena_cuda_wait_host (copy, mine, 3000000) == CUFRAMES_E_TIMEOUT);
  CHECK (cu.stream_query (reader) == CUDA_ERROR_NOT_READY);
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, cuframes_arena_cuda_fence (5, 101)) == 0);
  CHECK (cu.stream_synchronize (reader) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_wait_host (copy, mine, CUFRAMES_NONE) == 0);
  cu.stream_destroy (writer);
  cu.stream_destroy (reader);
  cuframes_arena_unref (copy);
  cuframes_arena_unref (arena);
}

void
test_highest_fence_values (void)
{
  CuframesArena *arena = new_arena ();
  const uint32_t word = CUFRAMES_ARENA_CUDA_FENCE_WORDS - 1;
  const uint64_t highest = cuframes_arena_cuda_fence (word, CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX);
  CUstream stream = new_stream ();

  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, highest) == 0);
  CHECK (cuframes_arena_cuda_wait_host (arena, highest, 0) == CUFRAMES_E_TIMEOUT);
  CHECK (cu.stream_query (stream) == CUDA_ERROR_NOT_READY);
  CHECK (cuframes_arena_cuda_release_waiters (arena) == 0);
  CHECK (cu.stream_synchronize (stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_wait_host (arena, highest, 0) == CUFRAMES_E_CLOSED);
  CHECK (cuframes_arena_cuda_queue_write (arena, stream, highest) == 0 && cu.stream_synchronize (stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_wait_host (arena, highest, 0) == 0);
  cu.stream_destroy (stream);
  cuframes_arena_unref (arena);
}

/* More streams than a GPU has queues for, and the one that holds up all others that do not ask to be spared. */
void
test_a_release_gets_past_several_waits (void)
{
  CuframesArena *arena = new_arena (), *copy = import_copy (arena);
  CUstream streams[4];

  /* A GPU has a limited number of queues (CUDA_DEVICE_MAX_CONNECTIONS, 8 if nobody says otherwise). With 64 streams and the default
   * stream waiting, an H200 let no release through. */
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
    streams[i] = new_stream ();
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
    CHECK (cuframes_arena_cuda_queue_wait (copy, streams[i], 1) == 0);
  CHECK (cuframes_arena_cuda_wait_host (copy, 1, 0) == CUFRAMES_E_TIMEOUT);
  CHECK (cuframes_arena_cuda_release_waiters (copy) == 0);
  for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
    CHECK (cu.stream_synchronize (streams[i]) == CUDA_SUCCESS);
    cu.stream_destroy (streams[i]);
  }
  cuframes_arena_unref (copy);
  cuframes_arena_unref (arena);
}

typedef struct
{
  CuframesArena *arena;
  CuframesCudaDevice *device;
  unsigned char *seen;
  bool complete;
} Lease;

static void
end_lease (void *user_data)
{
  Lease *lease = user_data;

  lease->complete = lease->seen == NULL || *lease->seen == 0x66;
  cuframes_arena_unref (lease->arena);
  cuframes_cuda_device_unref (lease->device);
}

void
test_last_references_go_in_a_callback (void)
{
  char text[CUFRAMES_TEXT_BYTES];
  CudaLive before = cuda_faults_get_live ();
  int released = owners_released;
  CUstream stream = new_stream ();
  Lease lease = { 0 };

  CHECK (cuframes_cuda_device_new (context, release_owner, &owners_released, text, sizeof text, &lease.device) == 0);
  CHECK (cuframes_arena_new_cuda (lease.device, ARENA_BYTES, &lease.arena) == 0);
  CHECK (cu.memset_d8_async (data_of (lease.arena), 0x66, DATA_BYTES, stream) == CUDA_SUCCESS);
  CHECK (cuframes_cuda_device_when_done (device, stream, end_lease, &lease) == 0);
  CHECK (cu.stream_synchronize (stream) == CUDA_SUCCESS);
  CHECK (lease.complete);
  CHECK (cuda_faults_wait_live (before, BOUND_S));
  while (__atomic_load_n (&owners_released, __ATOMIC_ACQUIRE) == released)
    sched_yield ();
  CHECK (is_live (before));
  cu.stream_destroy (stream);
}

void
test_a_callback_runs_behind_a_wait (void)
{
  CuframesArena *arena = new_arena ();
  CUstream writer = new_stream (), reader = new_stream ();
  unsigned char byte = 0x66;
  Lease lease = {.seen = &byte };

  CHECK (cuframes_arena_cuda_queue_wait (arena, reader, 1) == 0);
  CHECK (cuframes_cuda_device_when_done (device, reader, end_lease, &lease) == 0);
  CHECK (!__atomic_load_n (&lease.complete, __ATOMIC_ACQUIRE));
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, 1) == 0);
  CHECK (cu.stream_synchronize (reader) == CUDA_SUCCESS && lease.complete);
  cu.stream_destroy (writer);
  cu.stream_destroy (reader);
  cuframes_arena_unref (arena);
}

typedef struct
{
  CuframesArena *arena;
  uint64_t fence;
  bool returned, opened, called_before, called;
} Gate;

static void
end_behind_gate (void *user_data)
{
  Gate *gate = user_data;

  gate->called_before = !__atomic_load_n (&gate->opened, __ATOMIC_ACQUIRE);
  __atomic_store_n (&gate->called, true, __ATOMIC_RELEASE);
}

/* When the fault is over, and whoever waits has had the time not to. */
static void *
open_gate (void *user_data)
{
  Gate *gate = user_data;

  while (!__atomic_load_n (&gate->returned, __ATOMIC_ACQUIRE) && cuda_faults_get_fired () == NULL)
    sched_yield ();
  CHECK (cuframes_arena_cuda_wait_host (gate->arena, gate->fence, 3000000) == CUFRAMES_E_TIMEOUT);
  __atomic_store_n (&gate->opened, true, __ATOMIC_RELEASE);
  CHECK (cuframes_arena_cuda_queue_write (gate->arena, NULL, gate->fence) == 0);
  return NULL;
}

/* Each call of the driver that it makes fails once. */
void
test_a_callback_runs_behind_a_wait_whatever_fails (void)
{
  CuframesArena *arena = new_arena ();
  CUstream stream = new_stream ();
  const char *fired = "";
  int called_after_a_fault = 0;

  for (int nth = 1; fired != NULL && nth < 20; nth++) {
    Gate gate = {.arena = arena,.fence = cuframes_arena_cuda_fence (7, (uint64_t) nth) };
    pthread_t opener;
    int r;

    CHECK (cuframes_arena_cuda_queue_wait (arena, stream, gate.fence) == 0);
    cuda_faults_arm (nth);
    need (pthread_create (&opener, NULL, open_gate, &gate) == 0, "a thread");
    r = cuframes_cuda_device_when_done (device, stream, end_behind_gate, &gate);
    fired = cuda_faults_get_fired ();
    cuda_faults_arm (0);
    __atomic_store_n (&gate.returned, true, __ATOMIC_RELEASE);
    CHECK (cu.stream_synchronize (stream) == CUDA_SUCCESS);
    pthread_join (opener, NULL);
    CHECK (!gate.called_before && gate.called == (r == 0));
    called_after_a_fault += fired != NULL && gate.called;
  }
  CHECK (fired == NULL && called_after_a_fault > 0);
  cu.stream_destroy (stream);
  cuframes_arena_unref (arena);
}

static void
note_thread (void *user_data)
{
  *(pthread_t *) user_data = pthread_self ();
}

void
test_a_callback_for_an_idle_stream (void)
{
  CuframesArena *arena = new_arena ();
  CUstream stream = new_stream ();
  pthread_t thread = 0;
  Lease lease = {.arena = cuframes_arena_ref (arena) };
  CudaLive before = cuda_faults_get_live ();

  CHECK (cuframes_cuda_device_when_done (device, stream, note_thread, &thread) == 0);
  CHECK (pthread_equal (thread, pthread_self ()));
  /* As the last reference that goes in it: freed by this thread, here. */
  cuframes_arena_unref (arena);
  CHECK (cuframes_cuda_device_when_done (device, stream, end_lease, &lease) == 0);
  CHECK (lease.complete);
  before.handles--, before.mappings--, before.reservations--;
  CHECK (is_live (before));

  arena = new_arena ();
  thread = 0;
  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, 1) == 0);
  CHECK (cuframes_cuda_device_when_done (device, stream, note_thread, &thread) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, NULL, 1) == 0);
  CHECK (cu.stream_synchronize (stream) == CUDA_SUCCESS);
  CHECK (thread != 0 && !pthread_equal (thread, pthread_self ()));
  cu.stream_destroy (stream);
  cuframes_arena_unref (arena);
}

void
test_a_callback_for_the_default_stream (void)
{
  CuframesArena *arena = new_arena ();
  CUstream blocking = NULL, writer = new_stream ();
  pthread_t thread = 0;

  need (cu.stream_create (&blocking, CU_STREAM_DEFAULT) == CUDA_SUCCESS, "cuStreamCreate");
  CHECK (cuframes_arena_cuda_queue_wait (arena, blocking, 1) == 0);
  CHECK (cuframes_cuda_device_when_done (device, NULL, note_thread, &thread) == 0);
  CHECK (__atomic_load_n (&thread, __ATOMIC_ACQUIRE) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, 1) == 0);
  CHECK (cu.stream_synchronize (NULL) == CUDA_SUCCESS);
  CHECK (thread != 0);
  cu.stream_destroy (blocking);
  cu.stream_destroy (writer);
  cuframes_arena_unref (arena);
}

static void *
drop (void *arena)
{
  cuframes_arena_unref (arena);
  return NULL;
}

void
test_last_reference_goes_on_another_thread (void)
{
  CudaLive before = cuda_faults_get_live ();
  CuframesArena *arena = new_arena ();
  pthread_t thread;

  CHECK (pthread_create (&thread, NULL, drop, arena) == 0);
  pthread_join (thread, NULL);
  CHECK (is_live (before));
}
