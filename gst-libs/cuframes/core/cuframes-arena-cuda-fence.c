/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fence words in the first page of GPU memory: written and waited for by streams, read by the CPU, and let go when nobody is
 * left to write them. Knows nothing of how the memory was made. */
#define _GNU_SOURCE
#include <time.h>

#include "cuframes-arena-cuda-private.h"
#include "cuframes-fork-guard.h"
#include "cuframes-layout.h"
#include "cuframes-memfd.h"
#include "cuframes-util.h"

/* Set in a fence word by whoever lets the waits of a dead publisher go. The driver compares by signed difference: with this bit
 * a word is ahead of every value, and what the publisher wrote last can still be read below it. */
#define FENCE_RELEASED (UINT64_C (1) << 62)

#define POLL_PAUSE_FIRST_NS 20000
#define POLL_PAUSE_LONGEST_NS 500000

_Static_assert (CUFRAMES_ARENA_CUDA_FENCE_WORDS * sizeof (uint64_t) == CUFRAMES_ARENA_CUDA_FENCE_BYTES, "the words fill the page");
_Static_assert (CUFRAMES_ARENA_CUDA_FENCE_WORDS == CUFRAMES_FENCE_WORDS, "the mirror has a word for each");
_Static_assert (CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX == CUFRAMES_FENCE_VALUE_MAX, "a fence is the same number everywhere");

CUresult
cuframes_arena_cuda_write_fences (CuframesArenaCuda *self, CUdeviceptr address, const uint64_t *words)
{
  const CuframesCudaDriver *driver = self->device->driver;
  CUresult result = driver->memcpy_htod_async (address, words, CUFRAMES_ARENA_CUDA_FENCE_BYTES, self->device->stream);

  return result == CUDA_SUCCESS ? driver->stream_synchronize (self->device->stream) : result;
}

static CUresult
read_fences (CuframesArenaCuda *self, uint32_t first_word, uint64_t *words, uint32_t word_count)
{
  const CuframesCudaDriver *driver = self->device->driver;
  CUresult result = driver->memcpy_dtoh_async (words, self->memory.address + first_word * sizeof *words, word_count * sizeof *words,
      self->device->stream);

  return result == CUDA_SUCCESS ? driver->stream_synchronize (self->device->stream) : result;
}

/**
 * cuframes_arena_cuda_fence:
 * @word: which fence word, less than %CUFRAMES_ARENA_CUDA_FENCE_WORDS
 * @value: its value when the data is complete, 1 to %CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX
 *
 * Puts a fence into the one number that crosses with a frame. For word 0 it is @value itself.
 *
 * Returns: the fence
 *
 * Since: 0.1
 */
uint64_t
cuframes_arena_cuda_fence (uint32_t word, uint64_t value)
{
  return (uint64_t) word << CUFRAMES_FENCE_WORD_SHIFT | (value & CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX);
}

static bool
split_fence (uint64_t fence, uint32_t *ret_word, uint64_t *ret_value)
{
  *ret_word = (uint32_t) (fence >> CUFRAMES_FENCE_WORD_SHIFT);
  *ret_value = fence & CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX;
  return *ret_word < CUFRAMES_ARENA_CUDA_FENCE_WORDS && *ret_value != 0;
}

bool
cuframes_arena_cuda_adopt_mirror (CuframesArena *arena, void *pages, uint64_t page_bytes, uint64_t *words)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  bool adopted;

  pthread_mutex_lock (&self->lock);
  adopted = self->fd >= 0 && self->mirror.pages == NULL;
  if (adopted)
    self->mirror = (CuframesCudaMirror) { .pages = pages,.page_bytes = page_bytes,.words = words };
  pthread_mutex_unlock (&self->lock);
  return adopted;
}

/* A child that was forked has the pages and not the GPU. */
static bool
is_registered_here (const CuframesArenaCuda *self)
{
  return self->mirror.registered && self->mirror.depth == cuframes_fork_guard_get_depth ();
}

/* Waits until every mirrored fence that was queued has been reached: frames are given back without waiting for them. False if the GPU does
 * not get there in that time. */
bool
cuframes_arena_cuda_settle (CuframesArenaCuda *self, uint64_t timeout_ns)
{
  const struct timespec pause = {.tv_nsec = POLL_PAUSE_FIRST_NS };
  const uint64_t deadline_ns = cuframes_now_ns () + timeout_ns;

  for (uint32_t word = 0; is_registered_here (self) && word < CUFRAMES_FENCE_WORDS; word++)
    /* SYNC mirror: acquire; pairs with write_mirror(); without it the memory may be unmapped before what the GPU did last. */
    while (__atomic_load_n (&self->mirror.words[word], __ATOMIC_ACQUIRE) < self->mirror.queued[word]) {
      if (cuframes_now_ns () >= deadline_ns)
        return false;
      nanosleep (&pause, NULL);
    }
  return true;
}

/* With the context current. No work that writes fences is under way. */
void
cuframes_arena_cuda_drop_mirror (CuframesArenaCuda *self)
{
  if (is_registered_here (self))
    self->device->driver->mem_host_unregister (self->mirror.words);
  if (self->mirror.pages != NULL)
    cuframes_memfd_unmap (self->mirror.pages, self->mirror.page_bytes);
}

/* With the context current and the lock held. Where it fails there is no mirror, which costs time and nothing else. */
static void
open_mirror (CuframesArenaCuda *self)
{
  const CuframesCudaDriver *driver = self->device->driver;
  CuframesCudaMirror *mirror = &self->mirror;

  mirror->tried = true;
  if (mirror->words == NULL || driver->mem_host_register == NULL || driver->mem_host_unregister == NULL
      || driver->mem_host_get_device_pointer == NULL)
    return;
  mirror->depth = cuframes_fork_guard_get_depth ();
  mirror->registered = driver->mem_host_register (mirror->words, CUFRAMES_PAGE_BYTES, CU_MEMHOSTREGISTER_DEVICEMAP) == CUDA_SUCCESS;
  if (mirror->registered && driver->mem_host_get_device_pointer (&mirror->address, mirror->words, 0) != CUDA_SUCCESS)
    mirror->address = 0;
}

/* With the context current. Behind the word that streams wait for: who saw the mirror need not wait for the other. */
static void
write_mirror (CuframesArenaCuda *self, CUstream stream, uint32_t word, uint64_t value)
{
  CuframesCudaMirror *mirror = &self->mirror;

  pthread_mutex_lock (&self->lock);
  if (!mirror->tried)
    open_mirror (self);
  if (mirror->address != 0) {
    /* SYNC mirror: release, by the GPU, as in write_word(); pairs with cuframes_fence_is_reached(). */
    if (self->device->driver->stream_write_value64 (stream, mirror->address + word * sizeof value, value,
            CU_STREAM_WRITE_VALUE_DEFAULT) == CUDA_SUCCESS)
      mirror->queued[word] = value;
    else
      mirror->address = 0;
  }
  pthread_mutex_unlock (&self->lock);
}

/**
 * cuframes_arena_cuda_has_mirror:
 * @arena: an arena
 *
 * Whether the fences that cuframes_arena_cuda_queue_write() queued also reach the control pages of its ring, so that
 * %CUFRAMES_FRAME_MIRRORED may be said of the frame: ask behind each fence. Any thread.
 *
 * Returns: whether they do
 *
 * Since: 0.1
 */
bool
cuframes_arena_cuda_has_mirror (CuframesArena *arena)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  bool has;

  if (self == NULL)
    return false;
  pthread_mutex_lock (&self->lock);
  has = self->mirror.address != 0;
  pthread_mutex_unlock (&self->lock);
  return has;
}

/* With the context current. */
static int
write_word (CuframesArenaCuda *self, CUstream stream, uint32_t word, uint64_t value)
{
  /* SYNC fence: release, by the GPU: the driver puts a barrier of the whole system before the write, as we do not ask it not to;
   * pairs with cuframes_arena_cuda_queue_wait() and look_at_fence(). Without it a reader on another queue of the GPU may see the
   * word and not yet the frame. */
  CUresult result = self->device->driver->stream_write_value64 (stream, self->memory.address + word * sizeof value, value,
      CU_STREAM_WRITE_VALUE_DEFAULT);

  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "cuStreamWriteValue64 on %s", self->device->name);
  write_mirror (self, stream, word, value);
  return 0;
}

/**
 * cuframes_arena_cuda_queue_write:
 * @arena: an arena that this process made
 * @stream: (nullable): the CUstream on which the frame is written, or %NULL for the context's default stream
 * @fence: the frame's, see cuframes_arena_cuda_fence()
 *
 * Queues the write of a fence behind the work that writes the frame, and returns at once. Work that was queued on @stream before
 * is complete, and its writes are visible to whoever saw the fence word's new value. Announce the frame after this call, and
 * name the fence with it: a release store by the CPU, such as the one that announces the frame, orders no GPU write.
 *
 * Returns: 0, %CUFRAMES_E_ABSENT if the GPU or the driver cannot (then wait for @stream before announcing the frame), -EINVAL
 * for a fence that is none, -EPERM for an imported arena, or another negative errno; on anything but 0 nothing was queued
 *
 * Since: 0.1
 */
int
cuframes_arena_cuda_queue_write (CuframesArena *arena, struct CUstream_st *stream, uint64_t fence)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  uint64_t value;
  uint32_t word;
  int r;

  if (self == NULL || !split_fence (fence, &word, &value))
    return -EINVAL;
  if (self->fd < 0)
    return cuframes_cuda_device_say (self->device, -EPERM, "an imported arena's fences are its publisher's");
  if (!self->device->has_fences)
    return cuframes_cuda_device_say (self->device, CUFRAMES_E_ABSENT, "%s does not support cuStreamWriteValue64", self->device->name);
  r = cuframes_cuda_device_enter (self->device);
  if (r != 0)
    return r;
  r = write_word (self, stream, word, value);
  cuframes_cuda_device_leave (self->device);
  return r;
}

/**
 * cuframes_arena_cuda_queue_wait:
 * @arena: an arena
 * @stream: (nullable): the CUstream on which the frame will be read, or %NULL for the context's default stream
 * @fence: the frame's
 *
 * Lets @stream wait for a fence, and returns at once. Work that is queued on @stream after this call sees the frame complete.
 *
 * If the publisher dies first, @stream hangs until cuframes_arena_cuda_release_waiters() is called, by whichever process. A wait that
 * was let go like that looks like one that ended well; once the publisher is gone, which cuframes_frame_is_orphaned() tells,
 * cuframes_arena_cuda_wait_host() with a timeout of 0 tells whether the frame was ever complete.
 *
 * Returns: 0, %CUFRAMES_E_CLOSED if the waits of this arena were let go and the frame will never be complete,
 * %CUFRAMES_E_ABSENT if the GPU or the driver cannot (then use cuframes_arena_cuda_wait_host()), -EINVAL for a fence that is
 * none, or another negative errno; on anything but 0 nothing was queued
 *
 * Since: 0.1
 */
int
cuframes_arena_cuda_queue_wait (CuframesArena *arena, struct CUstream_st *stream, uint64_t fence)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  CUresult result;
  uint64_t value;
  uint32_t word;
  int r;

  if (self == NULL || !split_fence (fence, &word, &value))
    return -EINVAL;
  /* relaxed: a wait queued just before the release is let go by it, and one queued after it finds the word already set. */
  if (__atomic_load_n (&self->released, __ATOMIC_RELAXED)) {
    r = cuframes_arena_cuda_wait_host (arena, fence, 0);
    if (r != CUFRAMES_E_TIMEOUT)
      return r;
  }
  if (!self->device->has_fences)
    return cuframes_cuda_device_say (self->device, CUFRAMES_E_ABSENT, "%s does not support cuStreamWaitValue64", self->device->name);
  r = cuframes_cuda_device_enter (self->device);
  if (r != 0)
    return r;
  /* SYNC fence: acquire, by the GPU; pairs with write_word(). Without it work behind it is started before
   * the value is there. */
  result = self->device->driver->stream_wait_value64 (stream, self->memory.address + word * sizeof value, value,
      CU_STREAM_WAIT_VALUE_GEQ);
  if (result != CUDA_SUCCESS)
    r = cuframes_cuda_device_fail (self->device, result, "cuStreamWaitValue64 on %s", self->device->name);
  cuframes_cuda_device_leave (self->device);
  return r;
}

static int
look_at_fence (CuframesArenaCuda *self, uint32_t word, uint64_t value)
{
  uint64_t now = 0;
  CUresult result;
  int r = cuframes_cuda_device_enter (self->device);

  if (r != 0)
    return r;
  /* SYNC fence: acquire, by a copy that reads what the whole system sees; pairs with write_word(). Without
   * it work that is queued after this call may read the frame before it is complete. */
  result = read_fences (self, word, &now, 1);
  if (result != CUDA_SUCCESS)
    r = cuframes_cuda_device_fail (self->device, result, "reading a fence word on %s", self->device->name);
  else if ((now & CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX) < value)
    r = (now & FENCE_RELEASED) != 0 ? CUFRAMES_E_CLOSED : CUFRAMES_E_TIMEOUT;
  cuframes_cuda_device_leave (self->device);
  return r;
}

/**
 * cuframes_arena_cuda_wait_host:
 * @arena: an arena
 * @fence: a frame's fence
 * @timeout_ns: how long to wait, 0 to look once, %CUFRAMES_NONE for ever
 *
 * Waits on the CPU until a frame is complete, for those who cannot hand on a stream. Looks at the fence word over and over: a
 * wait of the GPU could not be taken back when the time is over. Do not wait long at a time; look at the connection in between.
 *
 * Returns: 0, %CUFRAMES_E_TIMEOUT, %CUFRAMES_E_CLOSED if the frame will never be complete because its publisher is gone,
 * -EINVAL for a fence that is none, or another negative errno
 *
 * Since: 0.1
 */
int
cuframes_arena_cuda_wait_host (CuframesArena *arena, uint64_t fence, uint64_t timeout_ns)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  struct timespec pause = {.tv_nsec = POLL_PAUSE_FIRST_NS };
  uint64_t deadline_ns, value;
  uint32_t word;
  int r;

  if (self == NULL || !split_fence (fence, &word, &value))
    return -EINVAL;
  if (!cuframes_add (cuframes_now_ns (), timeout_ns, &deadline_ns))
    deadline_ns = CUFRAMES_NONE;
  for (;;) {
    r = look_at_fence (self, word, value);
    if (r != CUFRAMES_E_TIMEOUT || cuframes_now_ns () >= deadline_ns)
      return r;
    nanosleep (&pause, NULL);
    if (pause.tv_nsec < POLL_PAUSE_LONGEST_NS)
      pause.tv_nsec *= 2;
  }
}

/* With the context current and the lock held. */
static int
map_fences (CuframesArenaCuda *self, CUdeviceptr *ret_address)
{
  const char *call = NULL;
  CUresult result;

  if (self->writable) {
    *ret_address = self->memory.address;
    return 0;
  }
  if (self->fences.mapped_bytes == 0) {
    /* All of it, though only the first page is ever written: an allocation cannot be mapped in part. It costs addresses alone. */
    result = cuframes_arena_cuda_map (self, &self->fences, self->memory.mapped_bytes, true, &call);
    if (result != CUDA_SUCCESS)
      return cuframes_cuda_device_fail (self->device, result, "mapping the fence words on %s: %s", self->device->name, call);
  }
  *ret_address = self->fences.address;
  return 0;
}

/**
 * cuframes_arena_cuda_map_writable:
 * @arena: an arena
 *
 * Maps an imported arena once more, for writing, so that cuframes_arena_cuda_release_waiters() has nothing to allocate later.
 * Only the fence words are written through that mapping. No effect if it is there.
 *
 * Returns: 0, -EINVAL for an arena of another kind, or another negative errno
 *
 * Since: 0.1
 */
int
cuframes_arena_cuda_map_writable (CuframesArena *arena)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  CUdeviceptr address = 0;
  int r;

  if (self == NULL)
    return -EINVAL;
  r = cuframes_cuda_device_enter (self->device);
  if (r != 0)
    return r;
  pthread_mutex_lock (&self->lock);
  r = map_fences (self, &address);
  pthread_mutex_unlock (&self->lock);
  cuframes_cuda_device_leave (self->device);
  return r;
}

/* With the context current and the lock held. */
static int
release_fences (CuframesArenaCuda *self)
{
  uint64_t words[CUFRAMES_ARENA_CUDA_FENCE_WORDS];
  CUdeviceptr address = 0;
  CUresult result;
  int r = map_fences (self, &address);

  if (r != 0)
    return r;
  result = read_fences (self, 0, words, CUFRAMES_ARENA_CUDA_FENCE_WORDS);
  for (uint32_t i = 0; i < CUFRAMES_ARENA_CUDA_FENCE_WORDS; i++)
    words[i] = (words[i] & CUFRAMES_ARENA_CUDA_FENCE_VALUE_MAX) | FENCE_RELEASED;
  if (result == CUDA_SUCCESS)
    result = cuframes_arena_cuda_write_fences (self, address, words);
  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (self->device, result, "releasing waits on %s", self->device->name);
  return 0;
}

/**
 * cuframes_arena_cuda_release_waiters:
 * @arena: an arena whose publisher is gone
 *
 * Lets all waits for fences of @arena go, in every process. Frames that were not complete then never will be: drop them. Those
 * that were can still be told, see cuframes_arena_cuda_wait_host(). Once is enough, more do no harm, nor do several subscribers
 * at once.
 *
 * Call it only when the publisher is known to be gone, which the end of a connection to it does not say; subscribers of a channel are
 * let go by libcuframes. While it lives, the other subscribers would be let go before their frames are complete, and a fence that it
 * writes meanwhile could be lost. It is no new power: a subscriber with bad intent can write to all of a CUDA arena.
 *
 * Returns: 0, -EINVAL for an arena of another kind, or another negative errno
 *
 * Since: 0.1
 */
int
cuframes_arena_cuda_release_waiters (CuframesArena *arena)
{
  CuframesArenaCuda *self = cuframes_arena_cuda_cast (arena);
  int r;

  if (self == NULL)
    return -EINVAL;
  r = cuframes_cuda_device_enter (self->device);
  if (r != 0)
    return r;
  pthread_mutex_lock (&self->lock);
  r = release_fences (self);
  pthread_mutex_unlock (&self->lock);
  cuframes_cuda_device_leave (self->device);
  /* relaxed: it only spares a wait that would end at once, see cuframes_arena_cuda_queue_wait() */
  if (r == 0)
    __atomic_store_n (&self->released, true, __ATOMIC_RELAXED);
  return r;
}
