/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Below what Meson gives the programs, so that it is this one that tells which test hangs. */
#define TEST_BOUND_S 200u
#define ROLE_BOUND_S 240u
#define SLOW_FACTOR 10u

#ifndef __has_feature
#define __has_feature(feature) 0
#endif
#if defined __SANITIZE_THREAD__ || __has_feature (thread_sanitizer)
static const bool has_thread_sanitizer = true;
#else
static const bool has_thread_sanitizer = false;
#endif
#if defined __SANITIZE_ADDRESS__ || __has_feature (address_sanitizer)
static const bool has_address_sanitizer = true;
#else
static const bool has_address_sanitizer = false;
#endif

typedef struct Path
{
  struct Path *next;
  char text[];
} Path;

static char directory[64];
static atomic_uint failures;
static const char *skip_reason;
static Path *paths;             /* kept until the test ends */
static const char *running;
static unsigned passed, failed, skipped;

void
fixture_fail (const char *file, int line, const char *function, const char *what)
{
  const char *name = strrchr (file, '/');

  /* relaxed: a count, read when the threads that count are gone */
  atomic_fetch_add_explicit (&failures, 1, memory_order_relaxed);
  fprintf (stderr, "  %s:%d: %s: not so: %s\n", name == NULL ? file : name + 1, line, function, what);
}

void
fixture_skip (const char *why)
{
  skip_reason = why;
}

bool
fixture_needs_root (const char *what)
{
  if (geteuid () == 0)
    return true;
  if (getenv ("CI") != NULL)
    fixture_fail (__FILE__, __LINE__, __func__, what);
  else
    skip_reason = what;
  return false;
}

bool
fixture_is_under_valgrind (void)
{
  const char *preload = getenv ("LD_PRELOAD");

  return preload != NULL && strstr (preload, "vgpreload") != NULL;
}

bool
fixture_is_slow (void)
{
  return has_thread_sanitizer || has_address_sanitizer || getenv ("CUFRAMES_TEST_SLOW") != NULL || fixture_is_under_valgrind ();
}

uint64_t
fixture_now_ns (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (uint64_t) now.tv_sec * 1000000000u + (uint64_t) now.tv_nsec;
}

/* Lets others run; on a machine with idle cores it does not burn one. */
void
fixture_yield (void)
{
  const struct timespec moment = {.tv_nsec = 200000 };

  ppoll (NULL, 0, &moment, NULL);
}

static unsigned
count_entries (const char *path)
{
  DIR *entries = opendir (path);
  unsigned count = 0;

  if (entries == NULL)
    return 0;
  while (readdir (entries) != NULL)
    count++;
  closedir (entries);
  return count - 2;
}

unsigned
fixture_count_fds (void)
{
  return count_entries ("/proc/self/fd") - 1;   /* the directory's own */
}

unsigned
fixture_count_threads (void)
{
  return count_entries ("/proc/self/task");
}

unsigned
fixture_count_mappings (const char *of)
{
  FILE *maps = fopen ("/proc/self/maps", "re");
  unsigned count = 0;
  char line[1024];

  while (maps != NULL && fgets (line, sizeof line, maps) != NULL)
    count += of == NULL || strstr (line, of) != NULL;
  if (maps != NULL)
    fclose (maps);
  return count;
}

uint64_t
fixture_resident_bytes (void)
{
  FILE *file = fopen ("/proc/self/statm", "re");
  unsigned long total = 0, resident = 0;

  if (file == NULL || fscanf (file, "%lu %lu", &total, &resident) != 2)
    resident = 0;
  if (file != NULL)
    fclose (file);
  return (uint64_t) resident * (uint64_t) sysconf (_SC_PAGESIZE);
}

const char *
fixture_directory (void)
{
  return directory;
}

const char *
fixture_path (const char *name)
{
  const size_t bytes = strlen (directory) + strlen (name) + 2;
  Path *path = malloc (sizeof *path + bytes);

  if (path == NULL)
    abort ();
  snprintf (path->text, bytes, "%s/%s", directory, name);
  for (Path * known = paths; known != NULL; known = known->next)
    if (strcmp (known->text, path->text) == 0) {
      free (path);
      return known->text;
    }
  path->next = paths;
  paths = path;
  return path->text;
}

static void
remove_tree (int parent_fd, const char *name)
{
  const int fd = openat (parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  DIR *entries = fd < 0 ? NULL : fdopendir (fd);
  struct dirent *entry;

  while (entries != NULL && (entry = readdir (entries)) != NULL)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0 && unlinkat (fd, entry->d_name, 0) != 0)
      remove_tree (fd, entry->d_name);
  if (entries != NULL)
    closedir (entries);
  unlinkat (parent_fd, name, AT_REMOVEDIR);
}

static void
begin (const FixturePart *part)
{
  /* relaxed: no other thread is there yet */
  atomic_store_explicit (&failures, 0, memory_order_relaxed);
  skip_reason = NULL;
  strcpy (directory, "/tmp/cuframes-test-XXXXXX");
  if (mkdtemp (directory) == NULL) {
    perror ("mkdtemp");
    exit (1);
  }
  setenv ("CUFRAMES_DIR", directory, 1);
  if (part->begin != NULL)
    part->begin ();
}

static void
finish (const FixturePart *part)
{
  if (part->end != NULL)
    part->end ();
  remove_tree (AT_FDCWD, directory);
  if (access (directory, F_OK) == 0)
    fixture_fail (__FILE__, __LINE__, __func__, "the test's directory can be removed");
  while (paths != NULL) {
    Path *first = paths;
    paths = first->next;
    free (first);
  }
}

/* Whether it did not fail. One that was skipped counts neither way. */
static bool
run_test (const FixturePart *part, const FixtureTest *test)
{
  const uint64_t start = fixture_now_ns ();
  unsigned fds, mappings, threads, failed_checks;

  running = test->sentence;
  alarm (TEST_BOUND_S * (fixture_is_slow () ? SLOW_FACTOR : 1));
  begin (part);
  fds = fixture_count_fds ();
  mappings = fixture_count_mappings (part->mappings);
  threads = fixture_count_threads ();
  test->run ();
  if (part->settles)
    CHECK (WAIT_UNTIL (fixture_count_fds () <= fds));
  else
    CHECK_EQUAL (fixture_count_fds (), fds);
  CHECK_EQUAL (fixture_count_mappings (part->mappings), mappings);
  /* ThreadSanitizer starts one of its own, and GLib keeps its pools'. */
  CHECK (has_thread_sanitizer || part->settles || WAIT_UNTIL (fixture_count_threads () <= threads));
  finish (part);
  alarm (0);
  /* relaxed: likewise */
  failed_checks = atomic_load_explicit (&failures, memory_order_relaxed);
  printf ("%s %s (%u ms)%s%s\n", failed_checks > 0 ? "FAIL" : skip_reason != NULL ? "skip" : "ok  ", test->sentence,
      (unsigned) ((fixture_now_ns () - start) / 1000000u), skip_reason != NULL ? ": " : "", skip_reason != NULL ? skip_reason : "");
  return failed_checks == 0;
}

/* Whichever thread it interrupts may hold stdio's locks. */
static void
on_alarm (int number)
{
  char text[512];
  const int length = snprintf (text, sizeof text, "FAIL %s (it hangs)\n%u passed, %u failed\n", running, passed, failed + 1);

  if (write (STDOUT_FILENO, text, (size_t) length) < 0)
    _exit (2);
  _exit (1);
}

static int
play (const char *name, int argc, char **argv, const FixtureRole *roles, size_t role_count)
{
  for (size_t i = 0; i < role_count; i++)
    if (strcmp (roles[i].name, name) == 0)
      return roles[i].play (argc, argv);
  return -1;
}

static int
play_any (const FixturePart *part, int argc, char **argv, const FixtureRole *roles, size_t role_count)
{
  const char *parents = getenv ("CUFRAMES_DIR");
  int status;

  alarm (ROLE_BOUND_S * (fixture_is_slow () ? SLOW_FACTOR : 1));
  snprintf (directory, sizeof directory, "%s", parents != NULL ? parents : "");
  status = play (argv[2], argc - 3, argv + 3, roles, role_count);
  return status >= 0 ? status : play (argv[2], argc - 3, argv + 3, part->roles, *part->role_count);
}

int
fixture_main (int argc, char **argv, const FixturePart *part, const FixtureTest *tests, size_t test_count, const FixtureRole *roles,
    size_t role_count)
{
  const char *only = argc > 2 && strcmp (argv[1], "--only") == 0 ? argv[2] : "";

  setvbuf (stdout, NULL, _IOLBF, 0);
  signal (SIGPIPE, SIG_DFL);
  if (part->start != NULL)
    part->start (&argc, &argv);
  if (argc > 2 && strcmp (argv[1], "--role") == 0)
    return play_any (part, argc, argv, roles, role_count);
  signal (SIGALRM, on_alarm);
  if (part->warm_up != NULL)
    part->warm_up ();
  for (size_t i = 0; i < test_count; i++)
    if (strstr (tests[i].sentence, only) != NULL) {
      if (!run_test (part, &tests[i]))
        failed++;
      else if (skip_reason != NULL)
        skipped++;
      else
        passed++;
    }
  if (skipped > 0)
    printf ("%u skipped\n", skipped);
  printf ("%u passed, %u failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
