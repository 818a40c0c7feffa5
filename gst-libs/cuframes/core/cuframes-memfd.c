/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Memory files that cannot change size, and whose writers are settled when they are made. Knows nothing of what lies in them. */
#define _GNU_SOURCE
#include "cuframes-memfd.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>

#include "cuframes-util.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* Older kernels undo a reservation at any signal: a small one comes to its end between two of them. */
#define RESERVE_STEP_BYTES (UINT64_C (8) << 20)

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

static int
create (const char *name)
{
  int fd = memfd_create (name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
  if (fd < 0 && errno == EINVAL)        /* before Linux 6.3 */
    fd = memfd_create (name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  return fd < 0 ? -errno : fd;
}

/* The kernel answers a file that is too large with a signal, and memory that it does not have with the OOM killer. */
static int
check_limits (uint64_t size_bytes)
{
  struct rlimit limit;
  struct sysinfo memory;

  if (size_bytes == 0 || size_bytes > INT64_MAX)
    return -EINVAL;
  if (getrlimit (RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && size_bytes > limit.rlim_cur)
    return -EFBIG;
  if (sysinfo (&memory) == 0 && size_bytes / memory.mem_unit > memory.totalram)
    return -ENOMEM;
  return 0;
}

static int
resize (int fd, uint64_t size_bytes, CuframesMemfdFill fill)
{
  int error;

  if (ftruncate (fd, (off_t) size_bytes) < 0)
    return -errno;
  if (fill == CUFRAMES_MEMFD_SPARSE)
    return 0;
  for (uint64_t at = 0; at < size_bytes; at += RESERVE_STEP_BYTES)
    do {
      error = posix_fallocate (fd, (off_t) at, (off_t) (size_bytes - at < RESERVE_STEP_BYTES ? size_bytes - at : RESERVE_STEP_BYTES));
      if (error != 0 && error != EINTR)
        return -error;
    } while (error == EINTR);
  return 0;
}

/* Before Linux 5.1 there is no seal against later writable mappings: there a descriptor that is open for reading alone is
 * handed on, which holds as long as the receiver may not open files of this process by /proc. */
static int
seal (int *fd, CuframesMemfdMode mode)
{
  char path[32];
  int reopened;

  if (mode == CUFRAMES_MEMFD_PEER_WRITES)
    return fcntl (*fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) < 0 ? -errno : 0;
  if (fcntl (*fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) == 0)
    return 0;
  if (errno != EINVAL)
    return -errno;
  if (fcntl (*fd, F_ADD_SEALS, SIZE_SEALS | F_SEAL_SEAL) < 0)
    return -errno;
  snprintf (path, sizeof path, "/proc/self/fd/%d", *fd);
  reopened = open (path, O_RDONLY | O_CLOEXEC);
  if (reopened < 0)
    return -errno;
  cuframes_close (*fd);
  *fd = reopened;
  return 0;
}

/* Makes a file of zeros, maps it readable and writable for the maker, then seals it. The descriptor and the mapping are
 * the caller's.
 * 0 or a negative errno; nothing is set on failure. */
int
cuframes_memfd_new (const char *name, uint64_t size_bytes, CuframesMemfdMode mode, CuframesMemfdFill fill, int *ret_fd, void **ret_data)
{
  CUFRAMES_AUTO_CLOSE int fd = -1;
  void *data;
  int r = check_limits (size_bytes);

  if (r < 0)
    return r;
  fd = create (name);
  if (fd < 0)
    return cuframes_steal_fd (&fd);
  r = resize (fd, size_bytes, fill);
  if (r < 0)
    return r;
  data = mmap (NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | (fill == CUFRAMES_MEMFD_POPULATED ? MAP_POPULATE : 0), fd, 0);
  if (data == MAP_FAILED)
    return -errno;
  r = seal (&fd, mode);
  if (r < 0) {
    munmap (data, size_bytes);
    return r;
  }
  *ret_fd = cuframes_steal_fd (&fd);
  *ret_data = data;
  return 0;
}

/* Maps a borrowed descriptor that a peer sent, after checking that it is a regular file of at least that size which can never
 * shrink: a shorter one would end in SIGBUS when the peer likes. 0, CUFRAMES_E_PEER or a negative errno. */
int
cuframes_memfd_map (int fd, uint64_t size_bytes, CuframesMemfdMode mode, bool populate, void **ret_data)
{
  struct stat status;
  int seals, protection = mode == CUFRAMES_MEMFD_PEER_WRITES ? PROT_READ | PROT_WRITE : PROT_READ;
  void *data;

  if (fstat (fd, &status) < 0)
    return -errno;
  if (!S_ISREG (status.st_mode) || status.st_size < 0 || size_bytes == 0 || (uint64_t) status.st_size < size_bytes)
    return CUFRAMES_E_PEER;
  seals = fcntl (fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0)
    return CUFRAMES_E_PEER;
  /* Where a peer's file has holes this process would be made to pay for the memory. */
  populate = populate && (uint64_t) status.st_blocks * 512 >= size_bytes;
  data = mmap (NULL, size_bytes, protection, MAP_SHARED | (populate ? MAP_POPULATE : 0), fd, 0);
  if (data == MAP_FAILED)
    return errno == EACCES || errno == EPERM ? CUFRAMES_E_PEER : -errno;
  *ret_data = data;
  return 0;
}

/* Takes NULL. Always NULL. */
void *
cuframes_memfd_unmap (void *data, uint64_t size_bytes)
{
  if (data != NULL)
    munmap (data, size_bytes);
  return NULL;
}
