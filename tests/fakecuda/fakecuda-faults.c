/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What happens at the door of every entry point: the use is counted, a fault
 * that a test ordered is delivered, and a process or thread that may not call
 * the driver is turned away.  Also the count of what is alive.
 */
#include "fakecuda-private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CALLS 512
#define MAX_NAME 64

typedef struct
{
  char name[MAX_NAME];
  int uses;
  bool armed;
  int uses_until_fault;         /* 0: every use */
  int error;
} Call;

static const char *const live_names[FAKECUDA_LIVE_KINDS] = {
  "handles", "mappings", "reservations", "allocations", "contexts", "streams",
  "events"
};

static pthread_mutex_t calls_mutex = PTHREAD_MUTEX_INITIALIZER;
static Call calls[MAX_CALLS];
static int call_count;
static bool environment_read;

static atomic_int live[FAKECUDA_LIVE_KINDS];
static atomic_bool initialized;
static atomic_bool forked;
static _Thread_local bool in_host_function;

static Call *
find_call (const char *name, size_t length)
{
  int i;

  if (length >= MAX_NAME)
    length = MAX_NAME - 1;
  for (i = 0; i < call_count; i++) {
    if (strncmp (calls[i].name, name, length) == 0
        && calls[i].name[length] == '\0')
      return &calls[i];
  }
  if (call_count == MAX_CALLS) {
    fprintf (stderr, "fakecuda: more calls than expected\n");
    abort ();
  }
  memcpy (calls[call_count].name, name, length);
  return &calls[call_count++];
}

static size_t
unversioned_length (const char *function)
{
  size_t length = strlen (function);

  if (length > 3 && function[length - 3] == '_' && function[length - 2] == 'v')
    length -= 3;
  return length;
}

static int
default_error (const char *call)
{
  static const char *const takers[] = {
    "cuMemAlloc", "cuMemAllocPitch", "cuMemAllocHost", "cuMemHostAlloc",
    "cuMemHostRegister", "cuMemCreate", "cuMemAddressReserve", "cuMemMap",
    "cuMemSetAccess", "cuCtxCreate", "cuDevicePrimaryCtxRetain",
    "cuStreamCreate", "cuEventCreate"
  };
  size_t i;

  for (i = 0; i < sizeof (takers) / sizeof (takers[0]); i++) {
    if (strcmp (call, takers[i]) == 0)
      return CUDA_ERROR_OUT_OF_MEMORY;
  }
  return CUDA_ERROR_UNKNOWN;
}

static void
arm (const char *name, size_t length, int nth, int error)
{
  Call *call = find_call (name, length);

  call->armed = true;
  call->uses_until_fault = nth;
  call->error = error != 0 ? error : default_error (call->name);
}

/* One "call:nth=error"; a mistake in it must not pass for a test without
 * faults. */
static void
arm_from_text (const char *text, size_t length)
{
  const char *end = text + length;
  const char *colon = memchr (text, ':', length);
  const char *equals = memchr (text, '=', length);
  int nth = 1, error = 0;

  if (colon != NULL)
    nth = atoi (colon + 1);
  if (equals != NULL) {
    error = fakecuda_error_by_name (equals + 1, end - equals - 1);
    if (error < 0) {
      fprintf (stderr, "fakecuda: no such error in FAKECUDA_FAIL: %.*s\n",
          (int) length, text);
      abort ();
    }
  }
  if (colon != NULL)
    length = colon - text;
  else if (equals != NULL)
    length = equals - text;
  arm (text, length, nth, error);
}

static void
arm_from_environment (void)
{
  const char *text = getenv ("FAKECUDA_FAIL");

  environment_read = true;
  while (text != NULL && *text != '\0') {
    size_t length = strcspn (text, ",");

    if (length > 0)
      arm_from_text (text, length);
    text += length + (text[length] == ',');
  }
}

static CUresult
count_use (const char *function)
{
  CUresult result = CUDA_SUCCESS;
  Call *call;

  pthread_mutex_lock (&calls_mutex);
  if (!environment_read)
    arm_from_environment ();
  call = find_call (function, unversioned_length (function));
  call->uses++;
  if (call->armed && call->uses_until_fault == 0) {
    result = call->error;
  } else if (call->armed && --call->uses_until_fault == 0) {
    call->armed = false;
    result = call->error;
  }
  pthread_mutex_unlock (&calls_mutex);

  return result;
}

CUresult
fakecuda_enter (const char *function, bool needs_init)
{
  CUresult result;

  /* A context does not survive fork(), in no version of the real driver. */
  if (atomic_load (&forked))
    return CUDA_ERROR_NOT_INITIALIZED;

  result = count_use (function);
  if (result != CUDA_SUCCESS)
    return result;
  if (in_host_function)
    return CUDA_ERROR_NOT_PERMITTED;
  if (needs_init && !atomic_load (&initialized))
    return CUDA_ERROR_NOT_INITIALIZED;
  return CUDA_SUCCESS;
}

void
fakecuda_count_call (const char *function)
{
  count_use (function);
}

static void
note_fork (void)
{
  if (atomic_load (&initialized))
    atomic_store (&forked, true);
}

static void
watch_forks (void)
{
  pthread_atfork (NULL, NULL, note_fork);
}

void
fakecuda_set_initialized (void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;

  pthread_once (&once, watch_forks);
  atomic_store (&initialized, true);
}

void
fakecuda_set_in_host_function (bool value)
{
  in_host_function = value;
}

void
fakecuda_count (FakecudaLive what, int change)
{
  atomic_fetch_add (&live[what], change);
}

void
fakecuda_fail (const char *call, int nth, int error)
{
  pthread_mutex_lock (&calls_mutex);
  arm (call, unversioned_length (call), nth, error);
  pthread_mutex_unlock (&calls_mutex);
}

void
fakecuda_reset (void)
{
  pthread_mutex_lock (&calls_mutex);
  memset (calls, 0, sizeof (calls));
  call_count = 0;
  environment_read = true;
  pthread_mutex_unlock (&calls_mutex);
  fakecuda_resume_streams ();
}

int
fakecuda_calls (const char *call)
{
  int uses;

  pthread_mutex_lock (&calls_mutex);
  uses = find_call (call, unversioned_length (call))->uses;
  pthread_mutex_unlock (&calls_mutex);
  return uses;
}

int
fakecuda_live (const char *what)
{
  int i;

  for (i = 0; i < FAKECUDA_LIVE_KINDS; i++) {
    if (strcmp (what, live_names[i]) == 0)
      return atomic_load (&live[i]);
  }
  return -1;
}

/* One line in one write, because many processes may share the file. */
static void __attribute__((destructor))
write_report (void)
{
  char line[512];
  int length, i, fd;

  if (!atomic_load (&initialized) || atomic_load (&forked)
      || fakecuda_config ()->report_path == NULL)
    return;

  length = snprintf (line, sizeof (line), "%s[%d]",
      program_invocation_short_name, (int) getpid ());
  for (i = 0; i < FAKECUDA_LIVE_KINDS; i++)
    length += snprintf (line + length, sizeof (line) - length, " %s=%d",
        live_names[i], atomic_load (&live[i]));
  line[length++] = '\n';

  fd = open (fakecuda_config ()->report_path,
      O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0 || write (fd, line, length) != length)
    perror ("fakecuda: report");
  if (fd >= 0)
    close (fd);
}
