/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Looking on: what an observer hears, when, and that it never waits, holds nothing and costs nobody a place. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core-fixture.h"

#define SUBSCRIBERS 8

typedef struct
{
  CuframesPublisherStats stats;
  CuframesSubscriberStats subscribers[SUBSCRIBERS];
  uint32_t count;
} Heard;

/* The next thing that comes; CUFRAMES_E_TIMEOUT if nothing does. */
static int
hear (CuframesObserver *observer, Heard *heard)
{
  const uint64_t end = fixture_now_ns () + FIXTURE_BOUND_NS;
  int r;

  while ((r = cuframes_observer_receive (observer, &heard->stats, heard->subscribers, SUBSCRIBERS, &heard->count)) == CUFRAMES_E_EMPTY) {
    struct pollfd readable = {.fd = cuframes_observer_peek_fd (observer),.events = POLLIN };
    if (fixture_now_ns () > end || poll (&readable, 1, (int) (FIXTURE_BOUND_NS / 1000000)) <= 0)
      return CUFRAMES_E_TIMEOUT;
  }
  return r;
}

static bool
has_format (const CuframesObserver *observer, const char *format)
{
  uint32_t byte_count;
  const void *bytes = cuframes_observer_peek_format (observer, &byte_count);

  if (format == NULL)
    return bytes == NULL && byte_count == 0;
  return bytes != NULL && byte_count == strlen (format) && memcmp (bytes, format, byte_count) == 0;
}

static void
an_observer_asks_as_often_as_it_likes (void)
{
  CuframesObserver *observer = NULL;
  Source source;
  Heard heard;

  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 6, 1, "caps of it") == 0);
  REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observer) == 0);
  CHECK_EQUAL (cuframes_observer_get_pid (observer), getpid ());
  CHECK (has_format (observer, NULL));
  for (uint64_t i = 0; i < 20; i++) {
    CHECK_EQUAL (hear (observer, &heard), 0);
    CHECK_EQUAL (heard.stats.frames, i);
    CHECK_EQUAL (heard.stats.subscribers, 0);
    CHECK (heard.count == 1 && heard.subscribers[0].observer == 1);
    CHECK (has_format (observer, "caps of it"));
    CHECK_EQUAL (source_publish (&source), 0);
    CHECK_EQUAL (cuframes_observer_ask (observer), 0);
  }
  CHECK_EQUAL (hear (observer, &heard), 0);
  CHECK_EQUAL (cuframes_observer_receive (observer, &heard.stats, NULL, 0, &heard.count), CUFRAMES_E_EMPTY);
  CHECK (has_format (observer, NULL));
  CHECK (cuframes_observer_free (observer) == NULL);
  CHECK (cuframes_observer_free (NULL) == NULL);
  source_close (&source);
}

static void
a_new_format_is_told_unasked (void)
{
  CuframesObserver *observer = NULL;
  Source source;
  Heard heard;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observer) == 0);
  CHECK_EQUAL (hear (observer, &heard), 0);
  CHECK_EQUAL (heard.stats.generation, 0);
  CHECK (has_format (observer, NULL));
  for (uint32_t i = 1; i <= 3; i++) {
    const char *format = i % 2 == 1 ? "the first" : "another";
    CHECK_EQUAL (source_start_ring (&source, 4, 1, format), 0);
    CHECK_EQUAL (hear (observer, &heard), 0);
    CHECK_EQUAL (heard.stats.generation, i);
    CHECK_EQUAL (heard.stats.memory_kind, CUFRAMES_MEMORY_HOST);
    CHECK (has_format (observer, format));
  }
  cuframes_observer_free (observer);
  source_close (&source);
}

/* Sends no more than the socket takes. */
static void
one_that_hears_nothing_holds_nobody_up (void)
{
  CuframesObserver *observer = NULL;
  char *format = calloc (1, 30000);
  Source source;
  Heard heard;
  uint32_t newest = 0;
  int r;

  memset (format, 'x', 29999);
  REQUIRE (source_open (&source, "cam", NULL) == 0);
  REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observer) == 0);
  CHECK_EQUAL (hear (observer, &heard), 0);
  for (uint32_t i = 0; i < 100; i++)
    CHECK_EQUAL (source_start_ring (&source, 4, 1, format), 0);
  CHECK_EQUAL (source_publish (&source), 0);
  while ((r = cuframes_observer_receive (observer, &heard.stats, NULL, 0, &heard.count)) == 0)
    newest = heard.stats.generation;
  CHECK_EQUAL (r, CUFRAMES_E_EMPTY);
  CHECK (newest > 0);
  CHECK_EQUAL (cuframes_observer_ask (observer), 0);
  CHECK_EQUAL (hear (observer, &heard), 0);
  CHECK_EQUAL (heard.stats.generation, 100);
  cuframes_observer_free (observer);
  source_close (&source);
  free (format);
}

static void
a_format_too_long_for_statistics_is_left_out (void)
{
  char *format = calloc (1, CUFRAMES_FORMAT_BYTES_MAX + 1);
  CuframesObserver *observer = NULL;
  Source source;
  Heard heard;

  memset (format, 'x', CUFRAMES_FORMAT_BYTES_MAX);
  REQUIRE (source_open (&source, "cam", NULL) == 0 && source_start_ring (&source, 4, 1, format) == 0);
  REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observer) == 0);
  CHECK_EQUAL (hear (observer, &heard), 0);
  CHECK_EQUAL (heard.stats.generation, 1);
  CHECK (has_format (observer, NULL));
  cuframes_observer_free (observer);
  source_close (&source);
  free (format);
}

static void
the_publishers_end_is_heard (void)
{
  for (int killed = 0; killed < 2; killed++) {
    CuframesObserver *observer = NULL, *late = NULL;
    Child child;
    Heard heard;
    child_start (&child, NULL, "publisher", NULL);
    CHECK_EQUAL (child_ask (&child, "open cam"), 0);
    REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observer) == 0);
    CHECK_EQUAL (cuframes_observer_get_pid (observer), child.pid);
    CHECK_EQUAL (hear (observer, &heard), 0);
    if (killed)
      child_kill (&child);
    else
      CHECK_EQUAL (child_end (&child), 0);
    CHECK_EQUAL (hear (observer, &heard), CUFRAMES_E_CLOSED);
    CHECK_EQUAL (cuframes_observer_new (fixture_socket ("cam"), &late), CUFRAMES_E_ABSENT);
    cuframes_observer_free (observer);
  }
}

static void
a_stopped_publisher_is_not_waited_for (void)
{
  CuframesObserver *observer = NULL;
  uint64_t start;
  Child child;
  Heard heard;

  child_start (&child, NULL, "publisher", NULL);
  CHECK_EQUAL (child_ask (&child, "open cam"), 0);
  kill (child.pid, SIGSTOP);
  CHECK_EQUAL (waitpid (child.pid, NULL, WUNTRACED), child.pid);
  start = fixture_now_ns ();
  REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observer) == 0);
  for (int i = 0; i < 10000; i++)
    cuframes_observer_ask (observer);
  CHECK_EQUAL (cuframes_observer_receive (observer, &heard.stats, heard.subscribers, SUBSCRIBERS, &heard.count), CUFRAMES_E_EMPTY);
  CHECK (fixture_is_slow () || fixture_now_ns () - start < FIXTURE_BOUND_NS / 10);
  kill (child.pid, SIGCONT);
  CHECK_EQUAL (hear (observer, &heard), 0);
  CHECK_EQUAL (child_end (&child), 0);
  cuframes_observer_free (observer);
}

static void
one_too_many_is_told_so (void)
{
  CuframesObserver *observers[17] = { NULL };
  Source source;
  Heard heard;

  REQUIRE (source_open (&source, "cam", NULL) == 0);
  for (int i = 0; i < 17; i++) {
    REQUIRE (cuframes_observer_new (fixture_socket ("cam"), &observers[i]) == 0);
    CHECK_EQUAL (hear (observers[i], &heard), i < 16 ? 0 : CUFRAMES_E_REFUSED);
  }
  CHECK (strstr (cuframes_observer_get_refusal (observers[16]), "too many observers") != NULL);
  CHECK_EQUAL (strlen (cuframes_observer_get_refusal (observers[0])), 0);
  for (int i = 0; i < 17; i++)
    cuframes_observer_free (observers[i]);
  source_close (&source);
}

static void
what_cannot_be_observed_says_why (void)
{
  CuframesObserver *observer = NULL;

  CHECK_EQUAL (cuframes_observer_new (fixture_socket ("cam"), &observer), CUFRAMES_E_ABSENT);
  CHECK_EQUAL (cuframes_observer_new ("@cuframes-test-nobody", &observer), CUFRAMES_E_ABSENT);
  CHECK_EQUAL (cuframes_observer_new ("", &observer), -EINVAL);
  CHECK (observer == NULL);
}

static const FixtureTest tests[] = {
  {"an observer asks as often as it likes", an_observer_asks_as_often_as_it_likes},
  {"a new format is told unasked", a_new_format_is_told_unasked},
  {"one that hears nothing holds nobody up", one_that_hears_nothing_holds_nobody_up},
  {"a format too long for statistics is left out", a_format_too_long_for_statistics_is_left_out},
  {"the publisher's end is heard, a violent one too", the_publishers_end_is_heard},
  {"a stopped publisher is not waited for", a_stopped_publisher_is_not_waited_for},
  {"one too many is told so", one_too_many_is_told_so},
  {"what cannot be observed says why", what_cannot_be_observed_says_why},
};

FIXTURE_MAIN (tests, NULL, 0)
