/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda-fixture.h"
#include "cuframes-util.h"

struct cu cu;
CUcontext context;
CuframesCudaDevice *device;
int (*software_live) (const char *what);
const char *role = "main";
unsigned failures;
const char *skip_reason;

bool
check (bool good, const char *condition, int line)
{
  if (!good) {
    failures++;
    printf ("  [%s] line %d: %s\n", role, line, condition);
  }
  return good;
}

bool
says (const char *part)
{
  char text[CUFRAMES_TEXT_BYTES];

  cuframes_cuda_device_get_text (device, text, sizeof text);
  if (strstr (text, part) != NULL)
    return true;
  printf ("  the text is: %s\n", text);
  return false;
}

void
tell (void)
{
  char text[CUFRAMES_TEXT_BYTES];

  cuframes_cuda_device_get_text (device, text, sizeof text);
  printf ("  says: %s\n", text);
}

int
count_descriptors (void)
{
  DIR *directory = opendir ("/proc/self/fd");
  int count = -3;               /* ".", ".." and the directory itself */

  if (directory == NULL)
    return -1;
  while (readdir (directory) != NULL)
    count++;
  closedir (directory);
  return count;
}

bool
is_live (CudaLive wanted)
{
  CudaLive live = cuda_faults_get_live ();

  if (memcmp (&live, &wanted, sizeof live) == 0)
    return true;
  printf ("  live: %d handles, %d mappings, %d reservations, %d streams, %d pushed, %d registrations; wanted %d, %d, %d, %d, %d, %d\n", live.handles, live.mappings,
      live.reservations, live.streams, live.pushed_contexts, live.registrations, wanted.handles, wanted.mappings, wanted.reservations, wanted.streams,
      wanted.pushed_contexts, wanted.registrations);
  return false;
}

/* ---- set-up ---- */

static bool
find_symbols (void *library)
{
  static const struct
  {
    void *place;
    const char *symbol;
  } symbols[] = {
    {&cu.device_get, "cuDeviceGet"},
    {&cu.device_get_count, "cuDeviceGetCount"},
    {&cu.ctx_create, "cuCtxCreate_v2"},
    {&cu.ctx_destroy, "cuCtxDestroy_v2"},
    {&cu.ctx_get_current, "cuCtxGetCurrent"},
    {&cu.ctx_set_current, "cuCtxSetCurrent"},
    {&cu.ctx_synchronize, "cuCtxSynchronize"},
    {&cu.stream_create, "cuStreamCreate"},
    {&cu.stream_query, "cuStreamQuery"},
    {&cu.stream_synchronize, "cuStreamSynchronize"},
    {&cu.stream_destroy, "cuStreamDestroy_v2"},
    {&cu.memset_d8_async, "cuMemsetD8Async"},
    {&cu.memcpy_htod, "cuMemcpyHtoD_v2"},
    {&cu.memcpy_dtoh, "cuMemcpyDtoH_v2"},
  };

  void *live;

  for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
    void *function = dlsym (library, symbols[i].symbol);

    memcpy (symbols[i].place, &function, sizeof function);
    if (function == NULL)
      printf ("the driver has no %s\n", symbols[i].symbol);
    if (function == NULL)
      return false;
  }
  live = dlsym (library, "fakecuda_live");
  memcpy (&software_live, &live, sizeof live);
  return true;
}

/* Whatever fails here leaves nothing to test with. */
void
need (bool good, const char *what)
{
  if (good)
    return;
  printf ("[%s] cannot go on: %s\n", role, what);
  exit (1);
}

/* A context on one GPU, current, and the device made from it. False without a usable driver. */
bool
open_device (int ordinal)
{
  char text[CUFRAMES_TEXT_BYTES] = "";
  const CuframesCudaDriver *driver;
  CUdevice cuda_device;
  void *library;

  if (cuframes_cuda_driver_get (&driver, text, sizeof text) != 0) {
    printf ("no CUDA here: %s\n", text);
    return false;
  }
  library = dlopen ("libcuda.so.1", RTLD_NOW);
  need (library != NULL && find_symbols (library), "symbols");
  cuda_faults_install (driver);
  need (cu.device_get (&cuda_device, ordinal) == CUDA_SUCCESS, "cuDeviceGet");
  need (cu.ctx_create (&context, 0, cuda_device) == CUDA_SUCCESS, "cuCtxCreate");
  if (cuframes_cuda_device_new (context, NULL, NULL, text, sizeof text, &device) != 0) {
    printf ("no use of this GPU: %s\n", text);
    return false;
  }
  return true;
}

void
close_device (void)
{
  static const char *const kinds[] = { "handles", "mappings", "reservations", "allocations", "contexts", "streams", "events" };

  device = cuframes_cuda_device_unref (device);
  CHECK (is_live ((CudaLive) { 0 }));
  /* A context that a test broke on purpose may say so. */
  cu.ctx_destroy (context);
  for (size_t i = 0; software_live != NULL && i < sizeof kinds / sizeof kinds[0]; i++)
    if (!CHECK (software_live (kinds[i]) == 0))
      printf ("  %s: %d\n", kinds[i], software_live (kinds[i]));
}

CuframesArena *
new_arena (void)
{
  CuframesArena *arena = NULL;

  if (cuframes_arena_new_cuda (device, ARENA_BYTES, &arena) != 0) {
    tell ();
    need (false, "cuframes_arena_new_cuda");
  }
  return arena;
}

CuframesArena *
import_copy (CuframesArena *arena)
{
  CuframesArena *copy = NULL;
  CuframesArenaInfo info;
  int fd = -1;

  cuframes_arena_get_info (arena, &info);
  CHECK (cuframes_arena_export_fd (arena, &fd) == 0);
  if (!CHECK (cuframes_arena_import_cuda (device, &info, fd, &copy) == 0))
    tell ();
  cuframes_close (fd);
  return copy;
}

CUdeviceptr
data_of (CuframesArena *arena)
{
  return cuframes_arena_get_address (arena) + CUFRAMES_ARENA_CUDA_FENCE_BYTES;
}

/* The whole of the data is one byte repeated. */
bool
holds (CUdeviceptr address, int byte)
{
  static unsigned char data[DATA_BYTES];
  bool same = cu.memcpy_dtoh (data, address, sizeof data) == CUDA_SUCCESS;

  for (size_t i = 0; same && i < sizeof data; i++)
    same = data[i] == byte;
  return same;
}

void
fill (CuframesArena *arena, int byte)
{
  static unsigned char data[DATA_BYTES];

  memset (data, byte, sizeof data);
  /* A copy from pageable memory may still be under way when the call returns. */
  need (cu.memcpy_htod (data_of (arena), data, sizeof data) == CUDA_SUCCESS && cu.ctx_synchronize () == CUDA_SUCCESS, "cuMemcpyHtoD");
}

CUstream
new_stream (void)
{
  CUstream stream = NULL;

  need (cu.stream_create (&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS, "cuStreamCreate");
  return stream;
}

/* ---- other processes ---- */

typedef struct
{
  char what[16];
  CuframesArenaInfo info;
} Message;

void
send_message (int link, const char *what, CuframesArena *arena)
{
  Message message = { 0 };
  struct iovec iov = { &message, sizeof message };
  union
  {
    struct cmsghdr align;
    char bytes[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct msghdr header = {.msg_iov = &iov,.msg_iovlen = 1 };
  int fd = -1;

  snprintf (message.what, sizeof message.what, "%s", what);
  if (arena != NULL) {
    struct cmsghdr *part = &control.align;

    cuframes_arena_get_info (arena, &message.info);
    need (cuframes_arena_export_fd (arena, &fd) == 0, "export");
    header.msg_control = &control;
    header.msg_controllen = sizeof control;
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN (sizeof fd);
    memcpy (CMSG_DATA (part), &fd, sizeof fd);
  }
  need (sendmsg (link, &header, MSG_NOSIGNAL) == sizeof message, "sendmsg");
  cuframes_close (fd);
}

/* Waits for that message and no other; the descriptor that came with it, or -1. */
int
expect_message (int link, const char *what, CuframesArenaInfo *ret_info)
{
  Message message = { 0 };
  struct iovec iov = { &message, sizeof message };
  union
  {
    struct cmsghdr align;
    char bytes[CMSG_SPACE (sizeof (int))];
  } control = { 0 };
  struct msghdr header = {.msg_iov = &iov,.msg_iovlen = 1,.msg_control = &control,.msg_controllen = sizeof control };
  int fd = -1;

  need (recvmsg (link, &header, MSG_CMSG_CLOEXEC) == sizeof message && strcmp (message.what, what) == 0, what);
  if (CMSG_FIRSTHDR (&header) != NULL)
    memcpy (&fd, CMSG_DATA (CMSG_FIRSTHDR (&header)), sizeof fd);
  if (ret_info != NULL)
    *ret_info = message.info;
  return fd;
}

CuframesArena *
receive_arena (int link)
{
  CuframesArena *arena = NULL;
  CuframesArenaInfo info;
  int fd = expect_message (link, "arena", &info);

  if (!CHECK (cuframes_arena_import_cuda (device, &info, fd, &arena) == 0))
    tell ();
  cuframes_close (fd);
  need (arena != NULL, "the arena");
  return arena;
}

/* name=value is set, name alone is unset in the other process. */
pid_t
start (const char *other_role, const char *environment, int *ret_link)
{
  char number[16], variable[64] = "";
  int links[2];
  pid_t pid;

  fflush (stdout);
  need (socketpair (AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, links) == 0, "socketpair");
  snprintf (number, sizeof number, "%d", links[1]);
  if (environment != NULL)
    snprintf (variable, sizeof variable, "%s", environment);
  pid = fork ();
  need (pid >= 0, "fork");
  if (pid == 0) {
    char *value = strchr (variable, '=');

    if (value != NULL)
      *value++ = '\0';
    if (value != NULL)
      setenv (variable, value, 1);
    else if (environment != NULL)
      unsetenv (variable);
    fcntl (links[1], F_SETFD, 0);
    execl ("/proc/self/exe", "cuda-arena", "--role", other_role, number, (char *) NULL);
    _exit (127);
  }
  close (links[1]);
  *ret_link = links[0];
  return pid;
}

bool
ends_well (pid_t pid, int link)
{
  int status = 0;

  cuframes_close (link);
  waitpid (pid, &status, 0);
  if (WIFEXITED (status) && WEXITSTATUS (status) == SKIPPED)
    skip_reason = "see above";
  return WIFEXITED (status) && (WEXITSTATUS (status) == 0 || WEXITSTATUS (status) == SKIPPED);
}

int owners_released;

void
release_owner (void *owner)
{
  CHECK (owner == &owners_released);
  __atomic_fetch_add (&owners_released, 1, __ATOMIC_ACQ_REL);
}
