/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Test points, in the variant of the library that the tests link: CUFRAMES_DIE_AT="ring/retired:3" kills the process with SIGKILL the
 * third time it comes by there; CUFRAMES_STOP_AT stops it with SIGSTOP. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cuframes-util.h"

static unsigned die_count, stop_count;

static void
visit (const char *name, const char *variable, int signal_number, unsigned *count)
{
  const char *wanted = getenv (variable), *colon = wanted == NULL ? NULL : strchr (wanted, ':');

  if (colon == NULL || strlen (name) != (size_t) (colon - wanted) || strncmp (name, wanted, (size_t) (colon - wanted)) != 0)
    return;
  /* relaxed: a counter */
  if (__atomic_add_fetch (count, 1, __ATOMIC_RELAXED) == (unsigned) atoi (colon + 1))
    kill (getpid (), signal_number);
}

void
cuframes_testpoint (const char *name)
{
  visit (name, "CUFRAMES_DIE_AT", SIGKILL, &die_count);
  visit (name, "CUFRAMES_STOP_AT", SIGSTOP, &stop_count);
}
