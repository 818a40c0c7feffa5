/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arenas of GPU memory and their fences, on whatever CUDA driver the library path leads to: a real one or tests/fakecuda. Ends
 * with "N passed, N failed, N skipped"; 77 if there is no GPU at all. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cuda-arena-tests.h"
#include "cuframes-util.h"

static void
test_arena_is_rounded_once_and_clear (void)
{
  CuframesArenaInfo info;
  CuframesArena *arena;
  uint64_t words[CUFRAMES_ARENA_CUDA_FENCE_WORDS];
  uint8_t uuid[CUFRAMES_UUID_BYTES];
  bool clear = true;

  cuda_faults_soil_memory (true);
  arena = new_arena ();
  cuda_faults_soil_memory (false);
  cuframes_arena_get_info (arena, &info);
  cuframes_cuda_device_get_uuid (device, uuid);
  CHECK (info.kind == CUFRAMES_MEMORY_CUDA && memcmp (info.device_uuid, uuid, sizeof uuid) == 0);
  CHECK (info.size_bytes >= ARENA_BYTES && info.size_bytes < ARENA_BYTES + (4u << 20));
  CHECK (cu.memcpy_dtoh (words, cuframes_arena_get_address (arena), sizeof words) == CUDA_SUCCESS);
  for (size_t i = 0; i < CUFRAMES_ARENA_CUDA_FENCE_WORDS; i++)
    clear = clear && words[i] == 0;
  CHECK (clear);
  CHECK (cuframes_arena_cuda_peek_device (arena) == device);
  cuframes_arena_unref (arena);
}

static void
test_import_sees_what_was_written_and_outlives_the_arena (void)
{
  CuframesArena *arena = new_arena ();
  CuframesArena *copy = import_copy (arena);
  int fd = -1;

  fill (arena, 0x5a);
  CHECK (copy != NULL && cuframes_arena_get_size (copy) == cuframes_arena_get_size (arena));
  CHECK (copy != NULL && cuframes_arena_export_fd (copy, &fd) == -EPERM && fd == -1);
  cuframes_arena_unref (arena);
  CHECK (copy != NULL && holds (data_of (copy), 0x5a));
  cuframes_arena_unref (copy);
}

static void
test_writable_import_writes_the_same_memory (void)
{
  CuframesArena *arena = new_arena ();
  CuframesArena *copy = NULL;
  CuframesArenaInfo info;
  int fd = -1;

  cuframes_arena_get_info (arena, &info);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0 && (fcntl (fd, F_GETFD) & FD_CLOEXEC) != 0);
  if (CHECK (cuframes_arena_import_cuda_writable (device, &info, fd, &copy) == 0)) {
    fill (copy, 0x17);
    CHECK (holds (data_of (arena), 0x17));
  }
  cuframes_close (fd);
  cuframes_arena_unref (copy);
  cuframes_arena_unref (arena);
}

static void
test_no_call_leaves_a_trace_or_another_context (void)
{
  CudaLive before = cuda_faults_get_live ();
  int descriptors = count_descriptors ();
  CUcontext current = context;

  CHECK (cu.ctx_set_current (NULL) == CUDA_SUCCESS);
  for (int i = 0; i < 20; i++) {
    CuframesArena *arena = new_arena ();
    CuframesArena *copy = import_copy (arena);

    CHECK (cuframes_arena_cuda_map_writable (copy) == 0);
    CHECK (cuframes_arena_cuda_release_waiters (copy) == 0);
    cuframes_arena_unref (copy);
    cuframes_arena_unref (arena);
  }
  CHECK (cu.ctx_get_current (&current) == CUDA_SUCCESS && current == NULL);
  CHECK (cu.ctx_set_current (context) == CUDA_SUCCESS);
  CHECK (is_live (before));
  CHECK (count_descriptors () == descriptors);
}

static void
test_more_memory_than_there_is (void)
{
  CudaLive before = cuda_faults_get_live ();
  CuframesArena *arena = NULL;

  CHECK (cuframes_arena_new_cuda (device, UINT64_C (1) << 44, &arena) == -ENOMEM && arena == NULL);
  CHECK (says ("CUDA_ERROR_OUT_OF_MEMORY") && says ("GPU-"));
  tell ();
  CHECK (cuframes_arena_new_cuda (device, UINT64_MAX, &arena) == -EINVAL && arena == NULL);
  CHECK (cuframes_arena_new_cuda (device, CUFRAMES_ARENA_CUDA_FENCE_BYTES, &arena) == -EINVAL && arena == NULL);
  CHECK (is_live (before));
}

static void
test_descriptors_that_are_no_gpu_memory (void)
{
  CuframesArenaInfo info = {.kind = CUFRAMES_MEMORY_CUDA,.size_bytes = 4u << 20 };
  CudaLive before = cuda_faults_get_live ();
  int descriptors = count_descriptors ();
  int fds[] = { -1, memfd_create ("no-gpu-memory", MFD_CLOEXEC), open ("/dev/null", O_RDWR | O_CLOEXEC), socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) };

  cuframes_cuda_device_get_uuid (device, info.device_uuid);
  CHECK (ftruncate (fds[1], 8u << 20) == 0);
  for (size_t i = 0; i < sizeof fds / sizeof fds[0]; i++) {
    CuframesArena *arena = NULL;

    CHECK (cuframes_arena_import_cuda (device, &info, fds[i], &arena) == CUFRAMES_E_PEER && arena == NULL);
    tell ();
    cuframes_close (fds[i]);
  }
  CHECK (is_live (before));
  CHECK (count_descriptors () == descriptors);
}

static void
test_no_place_for_a_descriptor (void)
{
  CuframesArena *arena = new_arena (), *copy = NULL;
  CudaLive before = cuda_faults_get_live ();
  struct rlimit limit, none;
  CuframesArenaInfo info;
  int fd = -1, r;

  cuframes_arena_get_info (arena, &info);
  CHECK (getrlimit (RLIMIT_NOFILE, &limit) == 0);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);
  none = limit;
  none.rlim_cur = 0;
  setrlimit (RLIMIT_NOFILE, &none);
  r = cuframes_arena_import_cuda (device, &info, fd, &copy);
  setrlimit (RLIMIT_NOFILE, &limit);
  /* a driver may need none */
  CHECK (r == -EMFILE || r == 0);
  cuframes_arena_unref (copy);
  CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == 0);
  cuframes_arena_unref (copy);
  CHECK (is_live (before));
  cuframes_close (fd);
  cuframes_arena_unref (arena);
}

static void
test_sizes_that_are_not_the_arenas (void)
{
  CuframesArena *arena = new_arena ();
  uint64_t size_bytes = cuframes_arena_get_size (arena);
  const uint64_t wrong[] = { 0, 1, size_bytes - 1, size_bytes + 4096, size_bytes - (2u << 20), size_bytes + (2u << 20), 2 * size_bytes, UINT64_C (1) << 44, UINT64_C (1) << 62, UINT64_MAX };
  CudaLive before = cuda_faults_get_live ();
  CuframesArenaInfo info;
  int fd = -1;

  cuframes_arena_get_info (arena, &info);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    CuframesArena *copy = NULL;

    info.size_bytes = wrong[i];
    if (!CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == CUFRAMES_E_PEER && copy == NULL))
      printf ("  size %llu\n", (unsigned long long) wrong[i]);
    tell ();
  }
  cuframes_close (fd);
  CHECK (is_live (before));
  cuframes_arena_unref (arena);
}

static void
test_a_driver_that_maps_nothing (void)
{
  CuframesArena *arena = new_arena (), *copy = NULL;
  CudaLive before = cuda_faults_get_live ();
  CuframesArenaInfo info;
  int fd = -1;

  cuframes_arena_get_info (arena, &info);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);
  cuda_faults_refuse_mappings (true);
  CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == -EOPNOTSUPP && copy == NULL);
  CHECK (says ("cuMemMap: CUDA_ERROR_NOT_SUPPORTED"));
  tell ();
  cuda_faults_refuse_mappings (false);
  CHECK (is_live (before));
  cuframes_close (fd);
  cuframes_arena_unref (arena);
}

static void
test_a_gpu_that_is_not_there (void)
{
  CuframesArena *arena = new_arena (), *copy = NULL;
  char text[CUFRAMES_TEXT_BYTES] = "";
  CuframesArenaInfo info;
  uint8_t uuid[CUFRAMES_UUID_BYTES];
  int fd = -1, ordinal = -1;

  cuframes_arena_get_info (arena, &info);
  memcpy (uuid, info.device_uuid, sizeof uuid);
  memset (info.device_uuid, 0xee, sizeof info.device_uuid);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);
  CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == CUFRAMES_E_ABSENT && copy == NULL);
  CHECK (says ("GPU-eeeeeeee-eeee-eeee-eeee-eeeeeeeeeeee") && says (cuframes_cuda_device_get_name (device)));
  tell ();
  CHECK (cuframes_cuda_device_find (info.device_uuid, text, sizeof text, &ordinal) == CUFRAMES_E_ABSENT && ordinal == -1);
  CHECK (strstr (text, "GPU-eeee") != NULL);
  CHECK (cuframes_cuda_device_find (uuid, text, sizeof text, &ordinal) == 0 && ordinal == 0);
  info.kind = CUFRAMES_MEMORY_HOST;
  CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == CUFRAMES_E_ABSENT && copy == NULL);
  cuframes_close (fd);
  cuframes_arena_unref (arena);
}

static void
test_another_gpu_within_and_out_of_reach (void)
{
  static const uint8_t other[CUFRAMES_UUID_BYTES] = { 0xab, 0xcd };
  uint8_t uuids[4][CUFRAMES_UUID_BYTES];
  CuframesArena *arena = new_arena (), *copy = NULL;
  CuframesArenaInfo info;
  uint32_t mappable = cuframes_cuda_device_get_mappable (device, uuids, 4);
  int fd = -1;

  fill (arena, 0x33);
  cuframes_arena_get_info (arena, &info);
  CHECK (mappable >= 1 && memcmp (uuids[0], info.device_uuid, sizeof uuids[0]) == 0);
  memcpy (info.device_uuid, other, sizeof other);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);

  cuda_faults_pretend_owner (other, false);
  CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == CUFRAMES_E_ABSENT && copy == NULL);
  CHECK (says ("GPU-abcd0000-") && says (cuframes_cuda_device_get_name (device)));
  tell ();
  CHECK (cuframes_cuda_device_get_mappable (device, uuids, 4) == mappable);

  cuda_faults_pretend_owner (other, true);
  CHECK (cuframes_cuda_device_get_mappable (device, uuids, 4) == mappable + 1);
  if (CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == 0))
    CHECK (holds (data_of (copy), 0x33));
  copy = cuframes_arena_unref (copy);

  /* Now the memory is said to be on the other one while the publisher names ours. */
  cuframes_cuda_device_get_uuid (device, info.device_uuid);
  CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == CUFRAMES_E_PEER && copy == NULL);
  cuda_faults_pretend_owner (NULL, false);
  cuframes_close (fd);
  cuframes_arena_unref (arena);
}

static const struct
{
  const char *sentence;
  void (*run) (void);
} tests[] = {
  {"an arena is rounded once, and its fence words are 0", test_arena_is_rounded_once_and_clear},
  {"an import sees what is written and outlives the arena", test_import_sees_what_was_written_and_outlives_the_arena},
  {"a writable import writes the same memory", test_writable_import_writes_the_same_memory},
  {"no call leaves a trace or another context behind", test_no_call_leaves_a_trace_or_another_context},
  {"more memory than there is gives a clear error", test_more_memory_than_there_is},
  {"descriptors that are no GPU memory are the peer's fault", test_descriptors_that_are_no_gpu_memory},
  {"without a place for a descriptor an import says so", test_no_place_for_a_descriptor},
  {"sizes that are not the arena's are the peer's fault", test_sizes_that_are_not_the_arenas},
  {"a driver that maps nothing is not the peer's fault", test_a_driver_that_maps_nothing},
  {"a GPU that is not there is named, with ours", test_a_gpu_that_is_not_there},
  {"another GPU is mapped within reach and named out of reach (pretended)", test_another_gpu_within_and_out_of_reach},
  {"nothing is left when any call of the driver fails", test_nothing_is_left_when_any_call_fails},
  {"drivers that lack something say what", test_drivers_that_lack_something},
  {"GPUs that lack something say what", test_gpus_that_lack_something},
  {"fences that are none are refused", test_fences_that_are_none},
  {"a wait ends with its own word alone", test_a_wait_ends_with_its_own_word_alone},
  {"the highest fence value can be waited for and released", test_highest_fence_values},
  {"a mirror follows its fence", test_a_mirror_follows_its_fence},
  {"memory stays until its fences are reached", test_memory_stays_until_its_fences_are_reached},
  {"the last references may go in a callback", test_last_references_go_in_a_callback},
  {"a callback runs behind a wait", test_a_callback_runs_behind_a_wait},
  {"a callback runs behind a wait where the driver queues no callback", test_a_callback_runs_behind_a_wait_whatever_fails},
  {"a callback for an idle stream runs at once, and may use the driver", test_a_callback_for_an_idle_stream},
  {"a callback for the default stream runs behind the other streams", test_a_callback_for_the_default_stream},
  {"the last reference may go on another thread", test_last_reference_goes_on_another_thread},
  {"another process reads, and cannot write what it reads", test_another_process_reads_and_cannot_write},
  {"a fence orders the frame for another process", test_a_fence_orders_the_frame_for_another_process},
  {"waits of a dead publisher are released", test_waits_of_a_dead_publisher_are_released},
  {"a reader outlives the publisher", test_a_reader_outlives_the_publisher},
  {"without a driver the error says so", test_without_a_driver},
  {"without a GPU the error says so", test_without_a_gpu},
  {"two GPUs within reach share an arena", test_two_gpus_within_reach},
  {"two GPUs out of reach are both named", test_two_gpus_out_of_reach},
  {"a release gets past several waits", test_a_release_gets_past_several_waits},
  {"nothing is left at the end", close_device},
};

int
main (int argc, char **argv)
{
  unsigned passed = 0, failed = 0, skipped = 0;

  setvbuf (stdout, NULL, _IOLBF, 0);
  alarm (BOUND_S);
  if (argc == 4 && strcmp (argv[1], "--role") == 0)
    return play_role (argv[2], atoi (argv[3]));
  if (!open_device (0)) {
    printf ("SKIPPED: all of it, for want of a GPU or tests/fakecuda\n");
    return SKIPPED;
  }
  printf ("driver: %s; GPU: %s\n", software_live != NULL ? "tests/fakecuda" : "a real one", cuframes_cuda_device_get_name (device));
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
    failures = 0;
    skip_reason = NULL;
    tests[i].run ();
    passed += failures == 0 && skip_reason == NULL;
    failed += failures != 0;
    skipped += failures == 0 && skip_reason != NULL;
    printf ("%s: %s%s%s\n", failures != 0 ? "FAILED" : skip_reason != NULL ? "SKIPPED" : "passed", tests[i].sentence,
        failures == 0 && skip_reason != NULL ? ": " : "", failures == 0 && skip_reason != NULL ? skip_reason : "");
  }
  printf ("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
  return failed != 0;
}
