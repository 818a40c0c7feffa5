/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Asks the publisher whom it knows, through one observer that is kept as long as the publisher lives. */
#include "chaos-run.h"

#include <poll.h>
#include <stdio.h>

#include "cuframes.h"

#define ANSWER_NS (300 * GST_MSECOND)

static CuframesObserver *observer;
static guint64 observed_life;
static CuframesSubscriberStats subscribers[4 * CHAOS_SUBSCRIBERS_MAX];

void
chaos_ask_close (void)
{
  observer = cuframes_observer_free (observer);
}

static int
wait_for_answer (CuframesPublisherStats * stats, uint32_t * count, guint64 deadline_ns)
{
  int r;

  while ((r = cuframes_observer_receive (observer, stats, subscribers, G_N_ELEMENTS (subscribers), count)) == CUFRAMES_E_EMPTY) {
    struct pollfd fd = {.fd = cuframes_observer_peek_fd (observer),.events = POLLIN };
    guint64 now_ns = chaos_now_ns ();

    if (now_ns >= deadline_ns || poll (&fd, 1, (int) ((deadline_ns - now_ns) / GST_MSECOND) + 1) < 0)
      return CUFRAMES_E_TIMEOUT;
  }
  return r;
}

/* The observer's first question is asked when it is made. A new generation is told unasked, so that an answer may be one question old: the
 * next one is asked only when all are there. */
static int
ask (ChaosRun * run, CuframesPublisherStats * stats, uint32_t * count)
{
  guint64 deadline_ns = chaos_now_ns () + ANSWER_NS;
  int r = 0;

  if (observer != NULL && observed_life != run->publisher.life)
    chaos_ask_close ();
  if (observer == NULL) {
    observed_life = run->publisher.life;
    r = cuframes_observer_new (run->socket_path, &observer);
  } else {
    while (cuframes_observer_receive (observer, stats, subscribers, G_N_ELEMENTS (subscribers), count) == 0)
      continue;
    r = cuframes_observer_ask (observer);
  }
  if (r == 0)
    r = wait_for_answer (stats, count, deadline_ns);
  if (r != 0)
    chaos_ask_close ();
  return r;
}

int
chaos_ask_knows (ChaosRun * run, pid_t pid)
{
  CuframesPublisherStats stats;
  uint32_t count = 0;

  if (run->publisher.pid <= 0 || run->publisher.continue_ns != 0 || ask (run, &stats, &count) != 0)
    return -1;
  for (uint32_t i = 0; i < count; i++)
    if (subscribers[i].pid == (uint32_t) pid)
      return 1;
  return 0;
}

static gboolean
is_ours (const ChaosRun * run, guint32 pid)
{
  for (guint i = 0; i < run->count; i++)
    if ((guint32) run->subscribers[i].pid == pid)
      return TRUE;
  return FALSE;
}

/* Nobody that is dead may be a subscriber still. */
void
chaos_ask_compare (ChaosRun * run)
{
  CuframesPublisherStats stats;
  uint32_t count = 0;
  int r = ask (run, &stats, &count);

  if (r != 0) {
    chaos_fail (run, "the publisher does not answer: %d", r);
    return;
  }
  printf ("  publisher: %u subscribers, %u slots of %u leased, %u held by itself, generation %u\n", stats.subscribers, stats.slots_leased,
      stats.slots, stats.slots_held, stats.generation);
  for (uint32_t i = 0; i < count; i++)
    if (!subscribers[i].observer && !is_ours (run, subscribers[i].pid))
      chaos_fail (run, "process %u is dead and a subscriber still, with %u leases", subscribers[i].pid, subscribers[i].leases_held);
}
