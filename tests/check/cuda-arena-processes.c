/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arenas and fences between processes, and processes whose driver is another one. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda-arena-tests.h"
#include "cuframes-util.h"

#define FENCE cuframes_arena_cuda_fence (3, 1)

static int
play_reader (int link)
{
  static const unsigned char other[16] = { 1 };
  CuframesArena *arena = receive_arena (link);

  CHECK (holds (data_of (arena), 0x42));
  CHECK (cu.memcpy_htod (data_of (arena), other, sizeof other) != CUDA_SUCCESS);
  send_message (link, "tried", NULL);
  cuframes_arena_unref (arena);
  return failures != 0;
}

void
test_another_process_reads_and_cannot_write (void)
{
  CuframesArena *arena = new_arena ();
  int link;
  pid_t pid;

  fill (arena, 0x42);
  pid = start ("reader", NULL, &link);
  send_message (link, "arena", arena);
  expect_message (link, "tried", NULL);
  CHECK (holds (data_of (arena), 0x42));
  CHECK (ends_well (pid, link));
  cuframes_arena_unref (arena);
}

static int
play_follower (int link)
{
  CuframesArena *arena = receive_arena (link);
  CUstream stream = new_stream ();

  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, FENCE) == 0);
  CHECK (cu.stream_query (stream) == CUDA_ERROR_NOT_READY);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE, 0) == CUFRAMES_E_TIMEOUT);
  send_message (link, "waiting", NULL);
  CHECK (cu.stream_synchronize (stream) == CUDA_SUCCESS);
  CHECK (holds (data_of (arena), 0x77));
  send_message (link, "seen", NULL);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE + 1, CUFRAMES_NONE) == 0);
  CHECK (holds (data_of (arena), 0x78));
  cu.stream_destroy (stream);
  cuframes_arena_unref (arena);
  return failures != 0;
}

void
test_a_fence_orders_the_frame_for_another_process (void)
{
  CuframesArena *arena = new_arena ();
  CUstream stream = new_stream ();
  int link;
  pid_t pid;

  fill (arena, 0x42);
  pid = start ("follower", NULL, &link);
  send_message (link, "arena", arena);
  expect_message (link, "waiting", NULL);
  CHECK (cu.memset_d8_async (data_of (arena), 0x77, DATA_BYTES, stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_queue_write (arena, stream, FENCE) == 0);
  expect_message (link, "seen", NULL);
  CHECK (cu.memset_d8_async (data_of (arena), 0x78, DATA_BYTES, stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_queue_write (arena, stream, FENCE + 1) == 0);
  CHECK (ends_well (pid, link));
  cu.stream_destroy (stream);
  cuframes_arena_unref (arena);
}

/* Completes one frame, announces it, and waits to be killed. */
static int
play_publisher (int link)
{
  CuframesArena *arena = new_arena ();
  CUstream stream = new_stream ();

  fill (arena, 0x11);
  need (cuframes_arena_cuda_queue_write (arena, stream, FENCE) == 0 && cu.stream_synchronize (stream) == CUDA_SUCCESS, "the fence");
  send_message (link, "arena", arena);
  expect_message (link, "never", NULL);
  return 1;
}

static void
kill_and_wait (pid_t pid, int link)
{
  int status;

  kill (pid, SIGKILL);
  CHECK (waitpid (pid, &status, 0) == pid && WIFSIGNALED (status));
  cuframes_close (link);
}

void
test_waits_of_a_dead_publisher_are_released (void)
{
  CUstream stream = new_stream ();
  CuframesArena *arena;
  uint64_t start_ns;
  int link;
  pid_t pid = start ("publisher", NULL, &link);

  arena = receive_arena (link);
  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, FENCE) == 0 && cu.stream_synchronize (stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, FENCE + 1) == 0);
  kill_and_wait (pid, link);
  CHECK (cu.stream_query (stream) == CUDA_ERROR_NOT_READY);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE + 1, 0) == CUFRAMES_E_TIMEOUT);

  start_ns = cuframes_now_ns ();
  CHECK (cuframes_arena_cuda_release_waiters (arena) == 0);
  CHECK (cu.stream_synchronize (stream) == CUDA_SUCCESS);
  printf ("  released in %llu us\n", (unsigned long long) (cuframes_now_ns () - start_ns) / 1000);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE + 1, CUFRAMES_NONE) == CUFRAMES_E_CLOSED);
  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, FENCE + 1) == CUFRAMES_E_CLOSED);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE, 0) == 0);
  CHECK (cuframes_arena_cuda_queue_wait (arena, stream, FENCE) == 0);
  CHECK (cuframes_arena_cuda_release_waiters (arena) == 0);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE + 1, 0) == CUFRAMES_E_CLOSED);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE, 0) == 0);
  CHECK (holds (data_of (arena), 0x11));
  cu.stream_destroy (stream);
  cuframes_arena_unref (arena);
}

void
test_a_reader_outlives_the_publisher (void)
{
  CuframesArenaInfo info;
  CuframesArena *arena = NULL;
  int link, fd;
  pid_t pid = start ("publisher", NULL, &link);

  fd = expect_message (link, "arena", &info);
  kill_and_wait (pid, link);
  if (CHECK (cuframes_arena_import_cuda (device, &info, fd, &arena) == 0))
    CHECK (holds (data_of (arena), 0x11));
  else
    tell ();
  cuframes_close (fd);
  cuframes_arena_unref (arena);
}

static int
play_without_driver (int link)
{
  char text[CUFRAMES_TEXT_BYTES] = "";
  const CuframesCudaDriver *driver = NULL;
  CuframesCudaDevice *other = NULL;
  int released = owners_released;

  (void) link;
  if (cuframes_cuda_driver_get (&driver, text, sizeof text) == 0) {
    printf ("  SKIPPED: there is a driver outside LD_LIBRARY_PATH\n");
    return SKIPPED;
  }
  CHECK (driver == NULL && strstr (text, "libcuda.so.1 was not found: install the NVIDIA driver") != NULL);
  CHECK (cuframes_cuda_device_new (NULL, release_owner, &owners_released, text, sizeof text, &other) == CUFRAMES_E_ABSENT && other == NULL);
  CHECK (owners_released == released + 1);
  printf ("  says: %s\n", text);
  return failures != 0;
}

void
test_without_a_driver (void)
{
  int link;
  pid_t pid = start ("without-driver", "LD_LIBRARY_PATH", &link);

  CHECK (ends_well (pid, link));
}

static int
play_without_gpu (int link)
{
  char text[CUFRAMES_TEXT_BYTES] = "";
  const CuframesCudaDriver *driver = NULL;

  (void) link;
  CHECK (cuframes_cuda_driver_get (&driver, text, sizeof text) == CUFRAMES_E_ABSENT && driver == NULL);
  CHECK (strstr (text, "CUDA_ERROR_NO_DEVICE") != NULL);
  printf ("  says: %s\n", text);
  return failures != 0;
}

void
test_without_a_gpu (void)
{
  int link;
  pid_t pid = start ("without-gpu", "CUDA_VISIBLE_DEVICES=", &link);

  CHECK (ends_well (pid, link));
}

/* Reads, waits and releases on a second GPU what lives on the first. */
static void
use_from_afar (CuframesArena *arena, CuframesCudaDevice *second, const CuframesArenaInfo *info, int fd)
{
  CuframesArena *far = NULL;
  CUstream near_stream = new_stream (), far_stream;

  fill (arena, 0x21);
  if (!CHECK (cuframes_arena_import_cuda (second, info, fd, &far) == 0))
    return;
  need (cu.ctx_set_current (cuframes_cuda_device_peek_context (second)) == CUDA_SUCCESS, "the other context");
  far_stream = new_stream ();
  CHECK (holds (data_of (far), 0x21));
  CHECK (cuframes_arena_cuda_queue_wait (far, far_stream, FENCE) == 0);
  CHECK (cu.stream_query (far_stream) == CUDA_ERROR_NOT_READY);
  CHECK (cuframes_arena_cuda_queue_write (arena, near_stream, FENCE) == 0);
  CHECK (cu.stream_synchronize (far_stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_wait_host (far, FENCE, CUFRAMES_NONE) == 0);
  CHECK (cuframes_arena_cuda_queue_wait (far, far_stream, FENCE + 1) == 0);
  CHECK (cuframes_arena_cuda_release_waiters (far) == 0);
  CHECK (cu.stream_synchronize (far_stream) == CUDA_SUCCESS);
  CHECK (cuframes_arena_cuda_wait_host (arena, FENCE + 1, 0) == CUFRAMES_E_CLOSED);
  cu.stream_destroy (far_stream);
  need (cu.ctx_set_current (context) == CUDA_SUCCESS, "cuCtxSetCurrent");
  cu.stream_destroy (near_stream);
  cuframes_arena_unref (far);
}

static void
stay_out_of_reach (CuframesCudaDevice *second, const CuframesArenaInfo *info, int fd)
{
  char text[CUFRAMES_TEXT_BYTES];
  CuframesArena *far = NULL;

  CHECK (cuframes_arena_import_cuda (second, info, fd, &far) == CUFRAMES_E_ABSENT && far == NULL);
  cuframes_cuda_device_get_text (second, text, sizeof text);
  CHECK (strstr (text, cuframes_cuda_device_get_name (device)) != NULL && strstr (text, cuframes_cuda_device_get_name (second)) != NULL);
  printf ("  says: %s\n", text);
}

static int
share_with (CuframesCudaDevice *second, bool within_reach)
{
  uint8_t uuids[2][CUFRAMES_UUID_BYTES];
  bool reached = cuframes_cuda_device_get_mappable (second, uuids, 2) == 2;
  CuframesArena *arena;
  CuframesArenaInfo info;
  int fd = -1;

  if (reached != within_reach) {
    printf ("  SKIPPED: the two GPUs %s each other\n", reached ? "reach" : "do not reach");
    return SKIPPED;
  }
  arena = new_arena ();
  cuframes_arena_get_info (arena, &info);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);
  if (within_reach)
    use_from_afar (arena, second, &info, fd);
  else
    stay_out_of_reach (second, &info, fd);
  cuframes_close (fd);
  cuframes_arena_unref (arena);
  return failures != 0;
}

static int
play_two_gpus (bool within_reach)
{
  char text[CUFRAMES_TEXT_BYTES] = "";
  CuframesCudaDevice *second = NULL;
  CUcontext second_context = NULL;
  CUdevice cuda_device;
  int count = 0, r;

  need (cu.device_get_count (&count) == CUDA_SUCCESS, "cuDeviceGetCount");
  if (count < 2) {
    printf ("  SKIPPED: there is one GPU\n");
    return SKIPPED;
  }
  need (cu.device_get (&cuda_device, 1) == CUDA_SUCCESS && cu.ctx_create (&second_context, 0, cuda_device) == CUDA_SUCCESS, "cuCtxCreate");
  need (cuframes_cuda_device_new (second_context, NULL, NULL, text, sizeof text, &second) == 0, text);
  need (cu.ctx_set_current (context) == CUDA_SUCCESS, "cuCtxSetCurrent");
  r = share_with (second, within_reach);
  cuframes_cuda_device_unref (second);
  cu.ctx_destroy (second_context);
  return r;
}

void
test_two_gpus_within_reach (void)
{
  int link;
  pid_t pid = start ("two-gpus", NULL, &link);

  CHECK (ends_well (pid, link));
}

void
test_two_gpus_out_of_reach (void)
{
  int link;
  pid_t pid = start ("two-gpus-apart", NULL, &link);

  CHECK (ends_well (pid, link));
}

static int
play (const char *name, int link)
{
  if (strcmp (name, "reader") == 0)
    return play_reader (link);
  if (strcmp (name, "follower") == 0)
    return play_follower (link);
  if (strcmp (name, "publisher") == 0)
    return play_publisher (link);
  if (strncmp (name, "two-gpus", 8) == 0)
    return play_two_gpus (strcmp (name, "two-gpus") == 0);
  printf ("no role is called %s\n", name);
  return 1;
}

int
play_role (const char *name, int link)
{
  int r;

  role = name;
  if (strcmp (name, "without-driver") == 0)
    return play_without_driver (link);
  if (strcmp (name, "without-gpu") == 0)
    return play_without_gpu (link);
  /* For tests/fakecuda; nothing to a real driver. */
  if (strncmp (name, "two-gpus", 8) == 0)
    setenv ("FAKECUDA_DEVICES", "2", 1);
  if (strcmp (name, "two-gpus-apart") == 0)
    setenv ("FAKECUDA_PEER", "0", 1);
  need (open_device (0), "no GPU");
  r = play (name, link);
  close_device ();
  return r != 0 ? r : failures != 0;
}
