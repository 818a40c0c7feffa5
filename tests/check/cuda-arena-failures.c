/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every way in which the driver can let an arena down. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cuda-arena-tests.h"
#include "cuframes-util.h"

static int
make_device (CuframesArena *arena)
{
  char text[CUFRAMES_TEXT_BYTES] = "";
  CuframesCudaDevice *other = NULL;
  int released = owners_released;
  int r = cuframes_cuda_device_new (context, release_owner, &owners_released, text, sizeof text, &other);

  (void) arena;
  CHECK (r == 0 ? text[0] == '\0' && owners_released == released : text[0] != '\0' && other == NULL);
  cuframes_cuda_device_unref (other);
  CHECK (owners_released == released + 1);
  return r;
}

static int
make_arena (CuframesArena *arena)
{
  CuframesArena *other = NULL;
  int r = cuframes_arena_new_cuda (device, ARENA_BYTES, &other);

  (void) arena;
  CHECK ((r == 0) == (other != NULL));
  cuframes_arena_unref (other);
  return r;
}

static int
use_import (CuframesArena *arena)
{
  CuframesArena *copy = NULL;
  CuframesArenaInfo info;
  int fd = -1, r;

  cuframes_arena_get_info (arena, &info);
  need (cuframes_arena_export_fd (arena, &fd) == 0, "export");
  r = cuframes_arena_import_cuda (device, &info, fd, &copy);
  CHECK ((r == 0) == (copy != NULL));
  cuframes_close (fd);
  if (r == 0)
    r = cuframes_arena_cuda_release_waiters (copy);
  if (r == 0)
    r = cuframes_arena_cuda_wait_host (copy, 7, 0) == CUFRAMES_E_CLOSED ? 0 : -EIO;
  cuframes_arena_unref (copy);
  return r;
}

static int
use_fence (CuframesArena *arena)
{
  int r = cuframes_arena_cuda_queue_write (arena, NULL, 9);

  if (r == 0)
    r = cuframes_arena_cuda_queue_wait (arena, NULL, 9);
  if (r == 0)
    r = cuframes_arena_cuda_wait_host (arena, 9, CUFRAMES_NONE);
  return r;
}

static int
use_mirror (CuframesArena *arena)
{
  CuframesArena *other = NULL;
  int r = cuframes_arena_new_cuda (device, ARENA_BYTES, &other);

  (void) arena;
  if (r != 0)
    return r;
  give_mirror (other);
  r = cuframes_arena_cuda_queue_write (other, NULL, 9);
  if (r == 0)
    r = cuframes_arena_cuda_wait_host (other, 9, CUFRAMES_NONE);
  cuframes_arena_unref (other);
  return r;
}

/* Each call of the driver that an operation makes fails once, until none is left to fail. */
static void
fail_each_call (const char *what, int (*operation) (CuframesArena *arena))
{
  CuframesArena *arena = new_arena ();
  CudaLive before = cuda_faults_get_live ();
  int descriptors, reported = 0, nth;

  CHECK (operation (arena) == 0);
  descriptors = count_descriptors ();
  for (nth = 1; nth < 200; nth++) {
    const char *fired;
    int r;

    cuda_faults_arm (nth);
    r = operation (arena);
    fired = cuda_faults_get_fired ();
    cuda_faults_arm (0);
    reported += r != 0;
    if (!CHECK (is_live (before)) || !CHECK (count_descriptors () == descriptors))
      printf ("  %s, call %d: %s\n", what, nth, fired != NULL ? fired : "none");
    if (fired == NULL) {
      CHECK (r == 0);
      break;
    }
  }
  printf ("  %s: %d calls failed in turn, %d of them reported\n", what, nth - 1, reported);
  CHECK (reported > 0 && nth < 200);
  CHECK (cu.ctx_synchronize () == CUDA_SUCCESS);
  cuframes_arena_unref (arena);
}

void
test_nothing_is_left_when_any_call_fails (void)
{
  fail_each_call ("a new device", make_device);
  fail_each_call ("a new arena", make_arena);
  fail_each_call ("import and release", use_import);
  fail_each_call ("fences", use_fence);
  fail_each_call ("mirrored fences", use_mirror);
}

typedef struct
{
  const CuframesCudaDriver *driver;
  const char *without;
  int version;
} Lookup;

static int looked_up_version;

static CUresult
tell_version (int *version)
{
  *version = looked_up_version;
  return CUDA_SUCCESS;
}

static int
some_function (void)
{
  return 0;
}

static void *
look_up (void *user_data, const char *symbol)
{
  const Lookup *lookup = user_data;
  CUresult (*version) (int *) = tell_version;
  int (*other) (void) = some_function;
  void *function;

  if (lookup->without != NULL && strncmp (symbol, lookup->without, strlen (lookup->without)) == 0)
    return NULL;
  if (strcmp (symbol, "cuDriverGetVersion") == 0)
    memcpy (&function, &version, sizeof function);
  else
    memcpy (&function, &other, sizeof function);
  return function;
}

static int
fill_table (const char *without, int version, char *text, CuframesCudaDriver *ret_driver)
{
  Lookup lookup = {.without = without };

  looked_up_version = version;
  text[0] = '\0';
  memset (ret_driver, 0, sizeof *ret_driver);
  return cuframes_cuda_driver_fill (look_up, &lookup, ret_driver, text, CUFRAMES_TEXT_BYTES);
}

void
test_drivers_that_lack_something (void)
{
  char text[CUFRAMES_TEXT_BYTES];
  CuframesCudaDriver driver;

  CHECK (fill_table (NULL, 10010, text, &driver) == CUFRAMES_E_ABSENT);
  printf ("  says: %s\n", text);
  CHECK (strstr (text, "10.1") != NULL && strstr (text, "10.2") != NULL && strstr (text, "cuMemExportToShareableHandle") != NULL);
  CHECK (fill_table ("cuMemCreate", 12040, text, &driver) == CUFRAMES_E_ABSENT && strstr (text, "cuMemCreate") != NULL);
  printf ("  says: %s\n", text);
  CHECK (fill_table ("cuStreamWaitValue64", 12040, text, &driver) == 0 && driver.stream_write_value64 == NULL);
  CHECK (fill_table ("cuStreamWaitValue64_v2", 11040, text, &driver) == 0 && driver.stream_wait_value64 != NULL
      && (int) driver.stream_memory_operations_attribute == CUFRAMES_CUDA_ATTRIBUTE_64_BIT_STREAM_MEMORY_OPERATIONS_V1);
  CHECK (fill_table ("cuDeviceCanAccessPeer", 12040, text, &driver) == 0 && driver.device_can_access_peer == NULL);
  CHECK (fill_table ("cuDeviceGetUuid_v2", 11000, text, &driver) == 0 && driver.device_get_uuid != NULL);
  CHECK (fill_table ("cuDriverGetVersion", 0, text, &driver) == CUFRAMES_E_ABSENT && text[0] != '\0');
  CHECK (cuframes_cuda_driver_open ("libcuda-that-is-not-there.so.1", &driver, text, sizeof text) == CUFRAMES_E_ABSENT);
  printf ("  says: %s\n", text);
  CHECK (strstr (text, "libcuda-that-is-not-there.so.1 was not found") != NULL);
}

void
test_gpus_that_lack_something (void)
{
  static const int needed[] = { 102, 103 };
  char text[CUFRAMES_TEXT_BYTES];
  const CuframesCudaDriver *driver = NULL;
  CuframesCudaDevice *other = NULL;
  CuframesArena *arena = NULL;

  need (cuframes_cuda_driver_get (&driver, text, sizeof text) == 0, text);
  for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
    cuda_faults_hide_attribute (needed[i]);
    CHECK (cuframes_cuda_device_new (context, NULL, NULL, text, sizeof text, &other) == CUFRAMES_E_ABSENT && other == NULL);
    CHECK (strstr (text, "GPU-") != NULL && strstr (text, "does not support") != NULL);
    printf ("  says: %s\n", text);
  }
  cuda_faults_hide_attribute ((int) driver->stream_memory_operations_attribute);
  need (cuframes_cuda_device_new (context, NULL, NULL, text, sizeof text, &other) == 0, text);
  cuda_faults_hide_attribute (0);
  CHECK (!cuframes_cuda_device_has_fences (other));
  need (cuframes_arena_new_cuda (other, ARENA_BYTES, &arena) == 0, "cuframes_arena_new_cuda");
  CHECK (cuframes_arena_cuda_queue_write (arena, NULL, 1) == CUFRAMES_E_ABSENT);
  CHECK (cuframes_arena_cuda_queue_wait (arena, NULL, 1) == CUFRAMES_E_ABSENT);
  CHECK (cuframes_arena_cuda_wait_host (arena, 1, 0) == CUFRAMES_E_TIMEOUT);
  cuframes_cuda_device_get_text (other, text, sizeof text);
  CHECK (strstr (text, "cuStreamWaitValue64") != NULL);
  cuframes_arena_unref (arena);
  cuframes_cuda_device_unref (other);
}
