/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What all tests stand on, those of the core and those of the elements: tests that are named by sentences, a channel directory of its own
 * for each, descriptors and mappings counted before and after, waits with a bound, and other processes that are this program in another
 * role. Knows neither frames nor GStreamer. */
#ifndef FIXTURE_H
#define FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Longer than anything takes that works; shorter than what anybody likes to wait for. */
#define FIXTURE_BOUND_NS (UINT64_C (10000000000) * (fixture_is_slow () ? 4 : 1))

typedef struct
{
  const char *sentence;
  void (*run) (void);
} FixtureTest;

typedef struct
{
  const char *name;
  int (*play) (int argc, char **argv);
} FixtureRole;

/* What the tests of one part have in common. The functions may be NULL. */
typedef struct
{
  void (*start) (int *argc, char ***argv);      /* once in every process */
  void (*warm_up) (void);       /* once before the tests: what is opened then stays open */
  void (*begin) (void);         /* around each test, when its directory is there */
  void (*end) (void);
  const FixtureRole *roles;     /* known to all of its programs */
  const size_t *role_count;
  const char *mappings;         /* names of those that are counted */
  bool settles;                 /* threads that nobody joins may close their descriptors a moment later */
} FixturePart;

/* With "--role NAME ..." plays the role; with "--only TEXT" runs the tests whose sentence has it. A test that hangs ends the program with
 * its sentence and the last line that says how many passed. */
int fixture_main (int argc, char **argv, const FixturePart * part, const FixtureTest * tests, size_t test_count, const FixtureRole * roles,
    size_t role_count);

void fixture_fail (const char *file, int line, const char *function, const char *what) __attribute__ ((noinline));
void fixture_skip (const char *why);
bool fixture_needs_root (const char *what);     /* or what is not shown: said, and in CI a failure */
bool fixture_is_slow (void);    /* under valgrind or a sanitizer: figures of time mean nothing */
bool fixture_is_under_valgrind (void);

/* Goes on after a failure, or leaves the test. */
#define CHECK(condition) \
  do { if (!(condition)) fixture_fail (__FILE__, __LINE__, __func__, #condition); } while (0)
#define REQUIRE(condition) \
  do { if (!(condition)) { fixture_fail (__FILE__, __LINE__, __func__, #condition); return; } } while (0)
#define CHECK_EQUAL(a, b) \
  do { \
    const long long a_ = (long long) (a), b_ = (long long) (b); \
    char text_[256]; \
    snprintf (text_, sizeof text_, "%s is %lld, not %lld", #a, a_, b_); \
    if (a_ != b_) fixture_fail (__FILE__, __LINE__, __func__, text_); \
  } while (0)

/* Looks again and again until it is so, or the time is over. */
#define WAIT_UNTIL(expression) \
  ({ const uint64_t wait_end_ = fixture_now_ns () + FIXTURE_BOUND_NS; \
     bool is_so_; \
     while (!(is_so_ = (expression)) && fixture_now_ns () < wait_end_) fixture_yield (); \
     is_so_; })
/* Is it so all the time? */
#define STAYS(expression, ns) \
  ({ const uint64_t stay_end_ = fixture_now_ns () + (ns); \
     bool still_so_; \
     while ((still_so_ = (expression)) && fixture_now_ns () < stay_end_) fixture_yield (); \
     still_so_; })
uint64_t fixture_now_ns (void);
void fixture_yield (void);

/* The test's own channel directory, and a path in it that lives as long as the test. */
const char *fixture_directory (void);
const char *fixture_path (const char *name);

unsigned fixture_count_fds (void);
unsigned fixture_count_threads (void);
unsigned fixture_count_mappings (const char *of);       /* whose name has this; NULL for all */
uint64_t fixture_resident_bytes (void);

/* Another process: this program in a role. Talks by lines over its standard input and output. */
typedef struct
{
  pid_t pid;
  int in, out;
  char buffer[8192];
  size_t used;
} Child;

void child_start (Child * child, const char *environment, const char *role, ...) __attribute__ ((sentinel));
/* One line without its end. False at the end of the child's output or of the time. */
bool child_read (Child * child, char *line, size_t line_bytes);
bool child_expect (Child * child, const char *start);   /* reads up to a line that starts so */
void child_say (Child * child, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
bool child_has_answered (const Child * child);  /* or ended */
/* The number in the next line; -1000 if none came. */
long child_answer (Child * child);
/* Says it and takes the answer. */
long child_ask (Child * child, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
int child_wait (Child * child); /* the wait status, or -1 if it did not end; then it is killed */
int child_end (Child * child);  /* closes its input, waits */
void child_kill (Child * child);

#endif
