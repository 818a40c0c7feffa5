/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fences that the GPU writes to pages of the host too. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "cuda-arena-tests.h"
#include "cuframes-layout.h"
#include "cuframes-life.h"
#include "cuframes-util.h"

#define PAGES 3

/* Pages of which the middle one is to follow the fences. They are the arena's then. */
uint64_t *
give_mirror (CuframesArena *arena)
{
  char *pages = mmap (NULL, PAGES * CUFRAMES_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  uint64_t *words = (uint64_t *) (pages + CUFRAMES_PAGE_BYTES);

  need (pages != MAP_FAILED, "pages");
  need (arena->ops->adopt_mirror (arena, pages, PAGES * CUFRAMES_PAGE_BYTES, words), "a mirror");
  return words;
}

static uint64_t
look (const uint64_t *word)
{
  return __atomic_load_n (word, __ATOMIC_ACQUIRE);
}

void
test_a_mirror_follows_its_fence (void)
{
  CuframesArena *arena = new_arena (), *copy = import_copy (arena), *host = NULL;
  const uint64_t gate = cuframes_arena_cuda_fence (1, 1), first = cuframes_arena_cuda_fence (2, 5);
  CUstream writer = new_stream (), other = new_stream ();
  uint64_t *words = give_mirror (arena);

  CHECK (!arena->ops->adopt_mirror (arena, words, CUFRAMES_PAGE_BYTES, words));
  CHECK (!copy->ops->adopt_mirror (copy, words, CUFRAMES_PAGE_BYTES, words));
  CHECK (!cuframes_arena_cuda_has_mirror (arena));
  CHECK (cuframes_arena_cuda_queue_wait (arena, writer, gate) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, first) == 0);
  CHECK (cuframes_arena_cuda_has_mirror (arena) && !cuframes_arena_cuda_has_mirror (copy));
  CHECK (cuframes_arena_cuda_wait_host (arena, first, 3000000) == CUFRAMES_E_TIMEOUT);
  CHECK (look (&words[2]) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, other, gate) == 0);
  CHECK (cu.stream_synchronize (other) == CUDA_SUCCESS && cu.stream_synchronize (writer) == CUDA_SUCCESS);
  CHECK (look (&words[1]) == 1 && look (&words[2]) == 5 && look (&words[3]) == 0);
  /* What lets a dead publisher's waits go says of no frame that it is complete. */
  CHECK (cuframes_arena_cuda_release_waiters (copy) == 0 && look (&words[2]) == 5 && look (&words[3]) == 0);
  if (CHECK (cuframes_arena_new_host (4096, &host) == 0))
    CHECK (!cuframes_arena_cuda_has_mirror (host) && host->ops->adopt_mirror == NULL);
  cuframes_arena_unref (host);
  cu.stream_destroy (writer);
  cu.stream_destroy (other);
  cuframes_arena_unref (copy);
  cuframes_arena_unref (arena);
}

static bool
hangs_up (int fd, int timeout_s)
{
  struct pollfd poll_fd = {.fd = fd };

  return poll (&poll_fd, 1, timeout_s * 1000) == 1 && (poll_fd.revents & POLLHUP) != 0;
}

void
test_memory_stays_until_its_fences_are_reached (void)
{
  CudaLive before = cuda_faults_get_live (), taken;
  CuframesArena *arena = new_arena (), *copy = import_copy (arena);
  CUstream writer = new_stream ();
  CuframesLife *life = NULL, *other = NULL;
  int fd;

  CHECK (cuframes_arena_cuda_map_writable (copy) == 0);
  need (cuframes_life_new (&life) == 0 && cuframes_life_new (&other) == 0, "lives");
  fd = fcntl (life->read_fd, F_DUPFD_CLOEXEC, 0);
  CHECK (arena->ops->hold_life (arena, life) && arena->ops->hold_life (arena, life) && !arena->ops->hold_life (arena, other));
  cuframes_life_unref (other);
  cuframes_life_unref (life);
  give_mirror (arena);
  CHECK (cuframes_arena_cuda_queue_wait (arena, writer, cuframes_arena_cuda_fence (1, 1)) == 0);
  CHECK (cuframes_arena_cuda_queue_write (arena, writer, cuframes_arena_cuda_fence (2, 1)) == 0);
  taken = cuda_faults_get_live ();
  /* Returns before the GPU is there. */
  cuframes_arena_unref (arena);
  CHECK (cuframes_arena_cuda_wait_host (copy, cuframes_arena_cuda_fence (2, 1), 3000000) == CUFRAMES_E_TIMEOUT);
  CHECK (cuda_faults_get_live ().registrations == taken.registrations && cuda_faults_get_live ().mappings == taken.mappings);
  CHECK (!hangs_up (fd, 0));
  CHECK (cuframes_arena_cuda_release_waiters (copy) == 0);
  CHECK (hangs_up (fd, BOUND_S));
  cuframes_close (fd);
  CHECK (cu.stream_synchronize (writer) == CUDA_SUCCESS);
  cu.stream_destroy (writer);
  cuframes_arena_unref (copy);
  CHECK (cuda_faults_wait_live (before, BOUND_S));
}
