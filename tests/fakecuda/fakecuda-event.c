/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Events: a mark in a stream and the time at which it was reached.
 */
#include "fakecuda-private.h"

#include <stdlib.h>
#include <time.h>

struct CUevent_st
{
  CUevent next;
  unsigned int flags;
  int refs;
  bool recorded;
  FakecudaMark mark;
  int64_t reached_ns;
};

static CUevent events;

static CUevent
find_event_locked (CUevent handle)
{
  CUevent event;

  for (event = events; event != NULL && event != handle; event = event->next);
  return event;
}

static void
set_mark_locked (CUevent event, FakecudaMark mark)
{
  if (event->mark.stream != NULL)
    fakecuda_stream_unref_locked (event->mark.stream);
  event->mark = mark;
}

static void
event_unref_locked (CUevent event)
{
  FakecudaMark none = { NULL, 0 };

  if (--event->refs > 0)
    return;
  set_mark_locked (event, none);
  free (event);
}

CUresult
cuEventCreate (CUevent *ret_event, unsigned int flags)
{
  CUcontext context;
  CUresult result;
  CUevent event;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  if (ret_event == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (flags & CU_EVENT_INTERPROCESS)
    return CUDA_ERROR_NOT_SUPPORTED;

  event = fakecuda_new0 (sizeof (*event));
  event->flags = flags;
  event->refs = 1;
  fakecuda_lock ();
  event->next = events;
  events = event;
  fakecuda_unlock ();
  fakecuda_count (FAKECUDA_LIVE_EVENTS, 1);
  *ret_event = event;
  return CUDA_SUCCESS;
}

CUresult
cuEventDestroy (CUevent event)
{
  CUevent *link;

  FAKECUDA_ENTER ();
  fakecuda_lock ();
  for (link = &events; *link != NULL && *link != event; link = &(*link)->next);
  if (event == NULL || *link == NULL) {
    fakecuda_unlock ();
    return CUDA_ERROR_INVALID_HANDLE;
  }
  *link = event->next;
  event_unref_locked (event);
  fakecuda_unlock ();
  fakecuda_count (FAKECUDA_LIVE_EVENTS, -1);
  return CUDA_SUCCESS;
}

static CUresult
run_record (CUstream stream, void *data)
{
  CUevent event = data;
  struct timespec now;

  (void) stream;
  clock_gettime (CLOCK_MONOTONIC, &now);
  fakecuda_lock ();
  event->reached_ns = now.tv_sec * INT64_C (1000000000) + now.tv_nsec;
  fakecuda_unlock ();
  return CUDA_SUCCESS;
}

/* Called under the lock, by the stream that is done with the event. */
static void
free_record (void *data)
{
  event_unref_locked (data);
}

CUresult
cuEventRecord (CUevent event, CUstream handle)
{
  FakecudaWork *work;
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;

  fakecuda_lock ();
  if (find_event_locked (event) == NULL) {
    result = CUDA_ERROR_INVALID_HANDLE;
  } else {
    event->refs++;
    event->recorded = true;
    work = fakecuda_work_new (run_record, event, free_record);
    set_mark_locked (event, fakecuda_submit_locked (stream, work));
  }
  fakecuda_stream_unref_locked (stream);
  fakecuda_unlock ();
  return result;
}

CUresult
cuEventQuery (CUevent event)
{
  CUresult result = CUDA_SUCCESS;

  FAKECUDA_ENTER ();
  fakecuda_lock ();
  if (find_event_locked (event) == NULL)
    result = CUDA_ERROR_INVALID_HANDLE;
  else if (!fakecuda_mark_reached_locked (&event->mark))
    result = CUDA_ERROR_NOT_READY;
  fakecuda_unlock ();
  return result;
}

CUresult
cuEventSynchronize (CUevent event)
{
  CUresult result = CUDA_SUCCESS;
  FakecudaMark mark;

  FAKECUDA_ENTER ();
  fakecuda_lock ();
  if (find_event_locked (event) == NULL) {
    result = CUDA_ERROR_INVALID_HANDLE;
  } else if (event->mark.stream != NULL) {
    mark = event->mark;
    mark.stream->refs++;
    fakecuda_wait_for_mark_locked (&mark);
    fakecuda_stream_unref_locked (mark.stream);
  }
  fakecuda_unlock ();
  return result;
}

CUresult
cuStreamWaitEvent (CUstream handle, CUevent event, unsigned int flags)
{
  FakecudaWork *work;
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  (void) flags;
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;

  fakecuda_lock ();
  if (find_event_locked (event) == NULL) {
    result = CUDA_ERROR_INVALID_HANDLE;
  } else if (event->mark.stream != NULL) {
    work = fakecuda_work_new (NULL, NULL, NULL);
    event->mark.stream->refs++;
    fakecuda_work_add_mark_locked (work, event->mark);
    fakecuda_stream_unref_locked (fakecuda_submit_locked (stream,
            work).stream);
  }
  fakecuda_stream_unref_locked (stream);
  fakecuda_unlock ();
  return result;
}

/* Newer toolkits make a macro of this name; the parameters are the same. */
#undef cuEventElapsedTime
CUresult cuEventElapsedTime (float *ret_milliseconds, CUevent start,
    CUevent end) __attribute__((visibility ("default")));

CUresult
cuEventElapsedTime (float *ret_milliseconds, CUevent start, CUevent end)
{
  CUresult result = CUDA_SUCCESS;

  FAKECUDA_ENTER ();
  fakecuda_lock ();
  if (find_event_locked (start) == NULL || find_event_locked (end) == NULL
      || !start->recorded || !end->recorded
      || ((start->flags | end->flags) & CU_EVENT_DISABLE_TIMING))
    result = CUDA_ERROR_INVALID_HANDLE;
  else if (!fakecuda_mark_reached_locked (&start->mark)
      || !fakecuda_mark_reached_locked (&end->mark))
    result = CUDA_ERROR_NOT_READY;
  else
    *ret_milliseconds = (end->reached_ns - start->reached_ns) / 1e6f;
  fakecuda_unlock ();
  return result;
}
