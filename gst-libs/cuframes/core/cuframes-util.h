/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Descriptors, checked arithmetic, cleanup and test points. Private to the library and the code beside it. */
#ifndef CUFRAMES_UTIL_H
#define CUFRAMES_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* Closes fd unless it is -1, keeps errno. Always -1: `self->fd = cuframes_close (self->fd);` is safe twice. */
static inline int
cuframes_close (int fd)
{
  if (fd >= 0) {
    int saved = errno;
    close (fd);
    errno = saved;
  }
  return -1;
}

/* Hands the descriptor over and leaves -1 behind. */
static inline int
cuframes_steal_fd (int *fd)
{
  int stolen = *fd;
  *fd = -1;
  return stolen;
}

static inline void *
cuframes_steal_pointer_of (void *place)
{
  void **pointer = place;
  void *stolen = *pointer;
  *pointer = NULL;
  return stolen;
}

#define cuframes_steal(place) ((__typeof__ (*(place))) cuframes_steal_pointer_of (place))

static inline void
cuframes_cleanup_close (int *fd)
{
  cuframes_close (*fd);
}

static inline void
cuframes_cleanup_free (void *place)
{
  free (*(void **) place);
}

#define CUFRAMES_AUTO_CLOSE __attribute__ ((cleanup (cuframes_cleanup_close)))
#define CUFRAMES_AUTO_FREE __attribute__ ((cleanup (cuframes_cleanup_free)))

/* False if the sum or product does not fit. */
static inline bool
cuframes_add (uint64_t a, uint64_t b, uint64_t *ret_sum)
{
  return !__builtin_add_overflow (a, b, ret_sum);
}

static inline bool
cuframes_multiply (uint64_t a, uint64_t b, uint64_t *ret_product)
{
  return !__builtin_mul_overflow (a, b, ret_product);
}

/* Rounds up to a power of two; false if the result does not fit. */
static inline bool
cuframes_align (uint64_t value, uint64_t alignment, uint64_t *ret_aligned)
{
  uint64_t sum;
  if (!cuframes_add (value, alignment - 1, &sum))
    return false;
  *ret_aligned = sum & ~(alignment - 1);
  return true;
}

/* True if [offset, offset + length) lies within size. */
static inline bool
cuframes_within (uint64_t offset, uint64_t length, uint64_t size)
{
  return offset <= size && length <= size - offset;
}

static inline uint64_t
cuframes_clock_ns (clockid_t clock)
{
  struct timespec now;
  clock_gettime (clock, &now);
  return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

static inline uint64_t
cuframes_now_ns (void)
{
  return cuframes_clock_ns (CLOCK_MONOTONIC);
}

/* A place where the tests may stop or kill the process. Nothing in a library that is shipped. */
#ifdef CUFRAMES_TESTPOINTS
void cuframes_testpoint (const char *name);
#define CUFRAMES_TESTPOINT(name) cuframes_testpoint (name)
#else
#define CUFRAMES_TESTPOINT(name) ((void) 0)
#endif

#endif
