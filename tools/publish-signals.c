/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The first signal is the main loop's to hear, and the second as well; but a main loop hears nothing while an element on its thread waits for a
 * server that is dead. Then the second signal ends the process from here. Once per process: what a handler needs is never closed. */
#include "publish-signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "exit-codes.h"

/* For the loop to end in good order, if it runs: sockets are removed then. */
#define ORDER_S 1

static int event_fd = -1;
static atomic_uint count;

static void
on_alarm (int number)
{
  _exit (EXIT_CODE_DONE);
}

static void
on_signal (int number)
{
  const int error = errno;
  const uint64_t one = 1;

  /* relaxed: a counter */
  if (atomic_fetch_add_explicit (&count, 1, memory_order_relaxed) == 1)
    alarm (ORDER_S);
  /* It fails only when it is full, and then the loop has been told. */
  if (write (event_fd, &one, sizeof one) < 0)
    errno = error;
}

/* A descriptor that is readable when a signal has come, or -1 with errno. */
int
publish_signals_catch (void)
{
  static const int numbers[] = { SIGINT, SIGTERM, SIGHUP };
  const struct sigaction on_number = {.sa_handler = on_signal,.sa_flags = SA_RESTART }, on_time = {.sa_handler = on_alarm };

  event_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (event_fd < 0 || sigaction (SIGALRM, &on_time, NULL) != 0)
    return -1;
  for (gsize i = 0; i < G_N_ELEMENTS (numbers); i++)
    if (sigaction (numbers[i], &on_number, NULL) != 0)
      return -1;
  return event_fd;
}

/* How many have come since the last time. */
guint
publish_signals_take (int fd)
{
  uint64_t taken = 0;

  return read (fd, &taken, sizeof taken) == sizeof taken ? (guint) MIN (taken, G_MAXUINT) : 0;
}
