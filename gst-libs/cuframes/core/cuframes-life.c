/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A pipe that nobody writes to, by whose hang-up other processes learn that nothing in this one will write to shared memory any more: it has
 * died, or all who could have let go. Knows neither who holds it nor who is told. */
#include "cuframes-life.h"

#include "cuframes-fork-guard.h"
#include "cuframes-util.h"

/* 0 or a negative errno. */
int
cuframes_life_new (CuframesLife **ret_life)
{
  CuframesLife *life = calloc (1, sizeof *life);
  int r;

  if (life == NULL)
    return -ENOMEM;
  r = cuframes_fork_guard_pipe (&life->read_fd, &life->write_fd);
  if (r < 0) {
    free (life);
    return r;
  }
  __atomic_store_n (&life->references, 1, __ATOMIC_RELAXED);
  *ret_life = life;
  return 0;
}

CuframesLife *
cuframes_life_ref (CuframesLife *life)
{
  __atomic_fetch_add (&life->references, 1, __ATOMIC_RELAXED);
  return life;
}

/* Takes NULL. Always NULL. Any thread. */
CuframesLife *
cuframes_life_unref (CuframesLife *life)
{
  if (life == NULL || __atomic_fetch_sub (&life->references, 1, __ATOMIC_ACQ_REL) != 1)
    return NULL;
  cuframes_fork_guard_remove (life->write_fd);
  cuframes_close (life->write_fd);
  cuframes_close (life->read_fd);
  free (life);
  return NULL;
}
