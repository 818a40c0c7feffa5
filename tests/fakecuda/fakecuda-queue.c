/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The machinery behind streams: a thread for each, which does its work in
 * order, each piece after a random delay and after the marks it waits for.
 *
 * A mark is a place in a stream: its n-th piece of work.  Waiting for marks is
 * all there is to events, to the legacy stream's barriers and to
 * synchronisation.
 */
#include "fakecuda-private.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t progress = PTHREAD_COND_INITIALIZER;
static bool held;

void
fakecuda_lock (void)
{
  pthread_mutex_lock (&mutex);
}

void
fakecuda_unlock (void)
{
  pthread_mutex_unlock (&mutex);
}

void *
fakecuda_new0 (size_t size)
{
  void *memory = calloc (1, size);

  if (memory == NULL)
    abort ();
  return memory;
}

void
fakecuda_hold_streams (void)
{
  pthread_mutex_lock (&mutex);
  held = true;
  pthread_mutex_unlock (&mutex);
}

void
fakecuda_resume_streams (void)
{
  pthread_mutex_lock (&mutex);
  held = false;
  pthread_cond_broadcast (&progress);
  pthread_mutex_unlock (&mutex);
}

void
fakecuda_stream_unref_locked (CUstream stream)
{
  if (--stream->refs > 0)
    return;
  pthread_cond_destroy (&stream->has_work);
  free (stream);
}

FakecudaMark
fakecuda_stream_mark_locked (CUstream stream)
{
  FakecudaMark mark = { stream, stream->submitted };

  stream->refs++;
  return mark;
}

bool
fakecuda_mark_reached_locked (const FakecudaMark *mark)
{
  return mark->stream == NULL || mark->stream->completed >= mark->ticket;
}

void
fakecuda_wait_for_mark_locked (const FakecudaMark *mark)
{
  while (!fakecuda_mark_reached_locked (mark))
    pthread_cond_wait (&progress, &mutex);
}

FakecudaWork *
fakecuda_work_new (CUresult (*run) (CUstream, void *), void *data,
    void (*free_data) (void *))
{
  FakecudaWork *work = fakecuda_new0 (sizeof (*work));

  work->run = run;
  work->data = data;
  work->free_data = free_data;
  return work;
}

/* Takes the mark's reference. */
void
fakecuda_work_add_mark_locked (FakecudaWork *work, FakecudaMark mark)
{
  work->marks = realloc (work->marks,
      (work->mark_count + 1) * sizeof (*work->marks));
  if (work->marks == NULL)
    abort ();
  work->marks[work->mark_count++] = mark;
}

static void
work_free_locked (FakecudaWork *work)
{
  size_t i;

  for (i = 0; i < work->mark_count; i++)
    fakecuda_stream_unref_locked (work->marks[i].stream);
  free (work->marks);
  if (work->free_data != NULL)
    work->free_data (work->data);
  free (work);
}

void
fakecuda_work_free (FakecudaWork *work)
{
  pthread_mutex_lock (&mutex);
  work_free_locked (work);
  pthread_mutex_unlock (&mutex);
}

void
fakecuda_stream_nap (CUstream stream, unsigned int longest_us)
{
  struct timespec nap = { 0, 0 };

  if (longest_us == 0)
    return;
  nap.tv_nsec = (rand_r (&stream->random) % (longest_us + 1)) * 1000L;
  if (nap.tv_nsec >= 1000000000) {
    nap.tv_sec = nap.tv_nsec / 1000000000;
    nap.tv_nsec %= 1000000000;
  }
  nanosleep (&nap, NULL);
}

/* A dying context lets go of everything that its streams still wait for. */
static bool
may_start_locked (CUstream stream, const FakecudaWork *work)
{
  size_t i;

  if (atomic_load (&stream->context->dying))
    return true;
  if (held)
    return false;
  for (i = 0; i < work->mark_count; i++) {
    if (!fakecuda_mark_reached_locked (&work->marks[i]))
      return false;
  }
  return true;
}

static void
run_work (CUstream stream, FakecudaWork *work)
{
  CUcontext context = stream->context;
  CUresult result;
  int none = CUDA_SUCCESS;

  if (atomic_load (&context->dying))
    return;
  fakecuda_stream_nap (stream, fakecuda_config ()->delay_us);
  if (work->run == NULL)
    return;
  if (atomic_load (&context->error) != CUDA_SUCCESS && !work->even_after_error)
    return;
  result = work->run (stream, work->data);
  if (result != CUDA_SUCCESS)
    atomic_compare_exchange_strong (&context->error, &none, (int) result);
}

static void
leave_context_locked (CUstream stream)
{
  CUstream *link;

  for (link = &stream->context->streams; *link != stream;
      link = &(*link)->next);
  *link = stream->next;
  pthread_cond_broadcast (&progress);
  fakecuda_stream_unref_locked (stream);
}

static void *
stream_main (void *user_data)
{
  CUstream stream = user_data;

  pthread_mutex_lock (&mutex);
  for (;;) {
    FakecudaWork *work;

    while (stream->first == NULL && !stream->closing)
      pthread_cond_wait (&stream->has_work, &mutex);
    work = stream->first;
    if (work == NULL)
      break;
    while (!may_start_locked (stream, work))
      pthread_cond_wait (&progress, &mutex);
    pthread_mutex_unlock (&mutex);

    run_work (stream, work);

    pthread_mutex_lock (&mutex);
    stream->first = work->next;
    if (stream->first == NULL)
      stream->last = &stream->first;
    stream->completed = work->ticket;
    work_free_locked (work);
    pthread_cond_broadcast (&progress);
  }
  leave_context_locked (stream);
  pthread_mutex_unlock (&mutex);
  return NULL;
}

/* The application's signals are not for the driver's threads. */
static void
start_thread_locked (CUstream stream)
{
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t all, before;

  stream->running = true;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  pthread_attr_init (&attributes);
  pthread_attr_setdetachstate (&attributes, PTHREAD_CREATE_DETACHED);
  if (pthread_create (&thread, &attributes, stream_main, stream) != 0) {
    perror ("fakecuda: stream thread");
    abort ();
  }
  pthread_setname_np (thread, "fakecuda");
  pthread_attr_destroy (&attributes);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
}

/* The legacy stream comes after all that was queued on blocking streams of its
 * context, and before all that is queued there later. */
static void
add_legacy_barrier_locked (CUstream stream, FakecudaWork *work)
{
  CUcontext context = stream->context;
  CUstream other;

  if (stream->flags & CU_STREAM_NON_BLOCKING)
    return;
  for (other = context->streams; other != NULL; other = other->next) {
    if (other == stream || other->flags & CU_STREAM_NON_BLOCKING
        || other->legacy == stream->legacy)
      continue;
    if (other->completed < other->submitted)
      fakecuda_work_add_mark_locked (work,
          fakecuda_stream_mark_locked (other));
  }
}

/* Takes work; gives a mark with a reference. */
FakecudaMark
fakecuda_submit_locked (CUstream stream, FakecudaWork *work)
{
  add_legacy_barrier_locked (stream, work);
  work->ticket = ++stream->submitted;
  *stream->last = work;
  stream->last = &work->next;
  if (!stream->running)
    start_thread_locked (stream);
  pthread_cond_signal (&stream->has_work);
  return fakecuda_stream_mark_locked (stream);
}

/* Takes work. */
void
fakecuda_submit (CUstream stream, FakecudaWork *work)
{
  pthread_mutex_lock (&mutex);
  fakecuda_submit_locked (stream, work);
  fakecuda_stream_unref_locked (stream);
  pthread_mutex_unlock (&mutex);
}

/* Takes work. */
CUresult
fakecuda_submit_and_wait (CUstream stream, FakecudaWork *work)
{
  FakecudaMark mark;
  CUresult result;

  pthread_mutex_lock (&mutex);
  mark = fakecuda_submit_locked (stream, work);
  fakecuda_wait_for_mark_locked (&mark);
  result = atomic_load (&stream->context->error);
  fakecuda_stream_unref_locked (stream);
  pthread_mutex_unlock (&mutex);
  return result;
}

/* Waiting for the legacy stream is waiting for all that its next work would
 * come after. */
CUresult
fakecuda_stream_finish (CUstream stream)
{
  FakecudaMark mark;
  CUresult result;

  if (stream->legacy)
    return fakecuda_submit_and_wait (stream,
        fakecuda_work_new (NULL, NULL, NULL));

  pthread_mutex_lock (&mutex);
  mark = fakecuda_stream_mark_locked (stream);
  fakecuda_wait_for_mark_locked (&mark);
  result = atomic_load (&stream->context->error);
  fakecuda_stream_unref_locked (stream);
  pthread_mutex_unlock (&mutex);
  return result;
}

void
fakecuda_context_drain (CUcontext context)
{
  FakecudaWork *all = fakecuda_work_new (NULL, NULL, NULL);
  CUstream stream;
  size_t i;

  pthread_mutex_lock (&mutex);
  for (stream = context->streams; stream != NULL; stream = stream->next)
    fakecuda_work_add_mark_locked (all, fakecuda_stream_mark_locked (stream));
  for (i = 0; i < all->mark_count; i++)
    fakecuda_wait_for_mark_locked (&all->marks[i]);
  work_free_locked (all);
  pthread_mutex_unlock (&mutex);
}

/* Work that is queued is still done. */
void
fakecuda_stream_close_locked (CUstream stream)
{
  stream->closing = true;
  if (stream->running)
    pthread_cond_signal (&stream->has_work);
  else
    leave_context_locked (stream);
}

/* Returns when no thread of the context is left. */
void
fakecuda_context_close_streams (CUcontext context)
{
  CUstream stream, next;

  pthread_mutex_lock (&mutex);
  atomic_store (&context->dying, true);
  pthread_cond_broadcast (&progress);
  for (stream = context->streams; stream != NULL; stream = next) {
    next = stream->next;
    fakecuda_stream_close_locked (stream);
  }
  while (context->streams != NULL)
    pthread_cond_wait (&progress, &mutex);
  pthread_mutex_unlock (&mutex);
}
