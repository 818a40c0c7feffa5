/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Other processes of a test. */
#define _GNU_SOURCE
#include "fixture.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGUMENTS_MAX 32

void
child_start (Child *child, const char *environment, const char *role, ...)
{
  static char program[512];
  char *arguments[ARGUMENTS_MAX] = { program, (char *) "--role", (char *) role };
  int in[2], out[2], count = 3;
  va_list list;

  va_start (list, role);
  while (count < ARGUMENTS_MAX - 1 && (arguments[count] = va_arg (list, char *)) != NULL)
      count++;
  va_end (list);
  if (readlink ("/proc/self/exe", program, sizeof program - 1) <= 0 || pipe2 (in, O_CLOEXEC) < 0 || pipe2 (out, O_CLOEXEC) < 0)
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

bool
child_expect (Child *child, const char *start)
{
  char line[1024];

  while (child_read (child, line, sizeof line))
    if (strncmp (line, start, strlen (start)) == 0)
      return true;
  return false;
}

static void
say (Child *child, const char *format, va_list list)
{
  char line[2048];
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
