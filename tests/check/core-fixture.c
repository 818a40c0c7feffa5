/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define _GNU_SOURCE
#include "core-fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PROGRAM_BOUND_S 300
#define ARGUMENTS_MAX 32

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

static char program[512], directory[64];
static unsigned failures;
static const char *skip_reason;
/* Kept until the test ends. */
static char *paths[64];
static unsigned path_count;

void
fixture_fail (const char *file, int line, const char *function, const char *what)
{
  const char *name = strrchr (file, '/');

  failures++;
  fprintf (stderr, "  %s:%d: %s: not so: %s\n", name == NULL ? file : name + 1, line, function, what);
}

void
fixture_skip (const char *why)
{
  skip_reason = why;
}

bool
fixture_is_slow (void)
{
  const char *preload = getenv ("LD_PRELOAD");

  return has_thread_sanitizer || has_address_sanitizer || getenv ("CUFRAMES_TEST_SLOW") != NULL
      || (preload != NULL && strstr (preload, "vgpreload") != NULL);
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
  char *path = NULL;

  if (asprintf (&path, "%s/%s", directory, name) < 0)
    abort ();
  for (unsigned i = 0; i < path_count; i++)
    if (strcmp (paths[i], path) == 0) {
      free (path);
      return paths[i];
    }
  if (path_count == sizeof paths / sizeof paths[0])
    abort ();
  return paths[path_count++] = path;
}

static void
empty_directory (const char *path)
{
  DIR *entries = opendir (path);
  struct dirent *entry;

  while (entries != NULL && (entry = readdir (entries)) != NULL)
    if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0
        && unlinkat (dirfd (entries), entry->d_name, 0) != 0)
      unlinkat (dirfd (entries), entry->d_name, AT_REMOVEDIR);
  if (entries != NULL)
    closedir (entries);
}

static void
begin (void)
{
  strcpy (directory, "/tmp/cuframes-test-XXXXXX");
  if (mkdtemp (directory) == NULL) {
    perror ("mkdtemp");
    exit (1);
  }
  setenv ("CUFRAMES_DIR", directory, 1);
}

static void
finish (void)
{
  empty_directory (directory);
  if (rmdir (directory) != 0)
    fixture_fail (__FILE__, __LINE__, __func__, "the test's directory can be removed");
  while (path_count > 0)
    free (paths[--path_count]);
}

/* Whether it passed; a skipped test has. */
static bool
run_test (const FixtureTest *test)
{
  const uint64_t start = fixture_now_ns ();
  unsigned fds, mappings, threads;

  failures = 0;
  skip_reason = NULL;
  begin ();
  fds = fixture_count_fds ();
  mappings = fixture_count_mappings ("memfd:");
  threads = fixture_count_threads ();
  test->run ();
  CHECK_EQUAL (fixture_count_fds (), fds);
  CHECK_EQUAL (fixture_count_mappings ("memfd:"), mappings);
  /* ThreadSanitizer starts one of its own. */
  CHECK (has_thread_sanitizer || WAIT_UNTIL (fixture_count_threads () <= threads));
  finish ();
  printf ("%s %s (%u ms)%s%s\n", failures > 0 ? "FAIL" : skip_reason != NULL ? "skip" : "ok  ", test->sentence,
      (unsigned) ((fixture_now_ns () - start) / 1000000u), skip_reason != NULL ? ": " : "", skip_reason != NULL ? skip_reason : "");
  return failures == 0;
}

static int
play (const char *name, int argc, char **argv, const FixtureRole *roles, size_t role_count)
{
  for (size_t i = 0; i < role_count; i++)
    if (strcmp (roles[i].name, name) == 0)
      return roles[i].play (argc, argv);
  return -1;
}

int
fixture_main (int argc, char **argv, const FixtureTest *tests, size_t test_count, const FixtureRole *roles, size_t role_count)
{
  const char *only = argc > 2 && strcmp (argv[1], "--only") == 0 ? argv[2] : "";
  unsigned passed = 0, failed = 0;
  ssize_t length = readlink ("/proc/self/exe", program, sizeof program - 1);

  setvbuf (stdout, NULL, _IOLBF, 0);
  signal (SIGPIPE, SIG_DFL);
  alarm (PROGRAM_BOUND_S);
  if (length <= 0)
    return 1;
  if (argc > 2 && strcmp (argv[1], "--role") == 0) {
    const char *parents = getenv ("CUFRAMES_DIR");
    int status;
    snprintf (directory, sizeof directory, "%s", parents != NULL ? parents : "");
    status = play (argv[2], argc - 3, argv + 3, roles, role_count);
    return status >= 0 ? status : play (argv[2], argc - 3, argv + 3, core_roles, core_role_count);
  }
  for (size_t i = 0; i < test_count; i++)
    if (strstr (tests[i].sentence, only) != NULL) {
      if (run_test (&tests[i]))
        passed++;
      else
        failed++;
    }
  printf ("%u passed, %u failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

void
child_start (Child *child, const char *environment, const char *role, ...)
{
  char *arguments[ARGUMENTS_MAX] = { program, (char *) "--role", (char *) role };
  int in[2], out[2], count = 3;
  va_list list;

  va_start (list, role);
  while (count < ARGUMENTS_MAX - 1 && (arguments[count] = va_arg (list, char *)) != NULL)
      count++;
  va_end (list);
  if (pipe2 (in, O_CLOEXEC) < 0 || pipe2 (out, O_CLOEXEC) < 0)
    abort ();
  *child = (Child) {.in = in[1],.out = out[0] };
  child->pid = fork ();
  if (child->pid < 0)
    abort ();
  if (child->pid == 0) {
    dup2 (in[0], 0);
    dup2 (out[1], 1);
    if (environment != NULL)
      putenv ((char *) environment);
    execv (program, arguments);
    _exit (127);
  }
  close (in[0]);
  close (out[1]);
}

/* One line without its end. False at the end of the child's output or of the time. */
bool
child_read (Child *child, char *line, size_t line_bytes)
{
  const uint64_t deadline = fixture_now_ns () + FIXTURE_BOUND_NS;

  for (;;) {
    char *end = memchr (child->buffer, '\n', child->used);
    struct pollfd readable = {.fd = child->out,.events = POLLIN };
    ssize_t got;
    if (end != NULL) {
      size_t length = (size_t) (end - child->buffer);
      snprintf (line, line_bytes, "%.*s", (int) length, child->buffer);
      child->used -= length + 1;
      memmove (child->buffer, end + 1, child->used);
      return true;
    }
    if (fixture_now_ns () >= deadline || poll (&readable, 1, (int) (FIXTURE_BOUND_NS / 1000000u)) <= 0)
      return false;
    got = read (child->out, child->buffer + child->used, sizeof child->buffer - child->used);
    if (got <= 0)
      return false;
    child->used += (size_t) got;
  }
}

static void
say (Child *child, const char *format, va_list list)
{
  char line[512];
  int length = vsnprintf (line, sizeof line - 1, format, list);

  line[length++] = '\n';
  signal (SIGPIPE, SIG_IGN);
  if (write (child->in, line, (size_t) length) < 0)
    fprintf (stderr, "  cannot tell process %d: %s", (int) child->pid, line);
  signal (SIGPIPE, SIG_DFL);
}

void
child_say (Child *child, const char *format, ...)
{
  va_list list;

  va_start (list, format);
  say (child, format, list);
  va_end (list);
}

/* Or ended. */
bool
child_has_answered (const Child *child)
{
  struct pollfd readable = {.fd = child->out,.events = POLLIN };

  return memchr (child->buffer, '\n', child->used) != NULL || poll (&readable, 1, 0) > 0;
}

long
child_answer (Child *child)
{
  char line[512];

  return child_read (child, line, sizeof line) ? atol (line) : -1000;
}

long
child_ask (Child *child, const char *format, ...)
{
  va_list list;

  va_start (list, format);
  say (child, format, list);
  va_end (list);
  return child_answer (child);
}

int
child_wait (Child *child)
{
  const uint64_t deadline = fixture_now_ns () + FIXTURE_BOUND_NS;
  int status = -1;
  pid_t ended = 0;

  if (child->pid <= 0)
    return -1;
  while ((ended = waitpid (child->pid, &status, WNOHANG)) == 0 && fixture_now_ns () < deadline)
    fixture_yield ();
  if (ended == 0) {
    kill (child->pid, SIGKILL);
    waitpid (child->pid, NULL, 0);
    status = -1;
  }
  if (child->in >= 0)
    close (child->in);
  close (child->out);
  *child = (Child) {.in = -1,.out = -1 };
  return status;
}

int
child_end (Child *child)
{
  if (child->in >= 0)
    close (child->in);
  child->in = -1;
  return child_wait (child);
}

void
child_kill (Child *child)
{
  kill (child->pid, SIGKILL);
  child_wait (child);
}

void
fill_words (uint64_t *words, size_t byte_count, uint64_t number)
{
  for (size_t i = 0; i < byte_count / sizeof *words; i++)
    words[i] = number ^ i * UINT64_C (0x9e3779b97f4a7c15);
}

bool
words_are_of (const uint64_t *words, size_t byte_count, uint64_t number)
{
  for (size_t i = 0; i < byte_count / sizeof *words; i++)
    if (words[i] != (number ^ i * UINT64_C (0x9e3779b97f4a7c15)))
      return false;
  return true;
}
