/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The entry points of streams, and the work that is no copy: host functions,
 * writes of a word and waits for one.
 */
#include "fakecuda-private.h"

#include <stdlib.h>
#include <time.h>

/* Between two looks at a word that another process may write. */
#define WAIT_VALUE_NAP_US 100

typedef struct
{
  CUhostFn function;
  CUstreamCallback callback;
  CUstream handle;
  void *user_data;
} HostFunction;

typedef struct
{
  CUdeviceptr address;
  uint64_t value;
  unsigned int flags;
  size_t size;
} Word;

static CUstream
stream_new_locked (CUcontext context, unsigned int flags)
{
  static unsigned int count;
  CUstream stream = fakecuda_new0 (sizeof (*stream));

  stream->context = context;
  stream->flags = flags;
  stream->refs = 1;
  stream->random = fakecuda_config ()->seed + 7919 * count++;
  stream->last = &stream->first;
  pthread_cond_init (&stream->has_work, NULL);
  stream->next = context->streams;
  context->streams = stream;
  return stream;
}

static CUstream
legacy_stream_locked (CUcontext context)
{
  if (context->legacy_stream == NULL) {
    context->legacy_stream = stream_new_locked (context, CU_STREAM_DEFAULT);
    context->legacy_stream->legacy = true;
  }
  return context->legacy_stream;
}

static CUstream
find_stream_locked (CUstream handle)
{
  CUcontext context;
  CUstream stream;

  for (context = fakecuda_context_first (); context != NULL;
      context = context->next) {
    for (stream = context->streams; stream != NULL; stream = stream->next) {
      if (stream == handle && !stream->closing && !stream->legacy)
        return stream;
    }
  }
  return NULL;
}

/* Gives a reference.  Fails like every use of a stream of a context in which
 * earlier work failed. */
CUresult
fakecuda_stream_acquire (CUstream handle, CUstream *ret_stream)
{
  CUcontext current;
  CUresult result;
  CUstream stream;

  result = fakecuda_context_current (&current);
  if (result != CUDA_SUCCESS)
    return result;

  fakecuda_lock ();
  if (handle == NULL || handle == CU_STREAM_LEGACY
      || handle == CU_STREAM_PER_THREAD)
    stream = legacy_stream_locked (current);
  else
    stream = find_stream_locked (handle);
  if (stream != NULL) {
    stream->refs++;
    result = atomic_load (&stream->context->error);
  } else {
    result = CUDA_ERROR_INVALID_HANDLE;
  }
  if (result != CUDA_SUCCESS && stream != NULL)
    fakecuda_stream_unref_locked (stream);
  fakecuda_unlock ();

  *ret_stream = stream;
  return result;
}

void
fakecuda_stream_release (CUstream stream)
{
  fakecuda_lock ();
  fakecuda_stream_unref_locked (stream);
  fakecuda_unlock ();
}

static CUresult
create (CUstream *ret_stream, unsigned int flags, int priority)
{
  CUcontext context;
  CUresult result;

  if (ret_stream == NULL || (flags & ~CU_STREAM_NON_BLOCKING) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  fakecuda_lock ();
  *ret_stream = stream_new_locked (context, flags);
  (*ret_stream)->priority = priority;
  fakecuda_unlock ();
  fakecuda_count (FAKECUDA_LIVE_STREAMS, 1);
  return CUDA_SUCCESS;
}

CUresult
cuStreamCreate (CUstream *ret_stream, unsigned int flags)
{
  FAKECUDA_ENTER ();
  return create (ret_stream, flags, 0);
}

CUresult
cuStreamCreateWithPriority (CUstream *ret_stream, unsigned int flags,
    int priority)
{
  FAKECUDA_ENTER ();
  return create (ret_stream, flags, priority);
}

/* Work that is queued is still done, as by the real driver. */
static CUresult
destroy (CUstream handle)
{
  CUstream stream;

  fakecuda_lock ();
  stream = find_stream_locked (handle);
  if (stream != NULL)
    fakecuda_stream_close_locked (stream);
  fakecuda_unlock ();
  if (stream == NULL)
    return CUDA_ERROR_INVALID_HANDLE;
  fakecuda_count (FAKECUDA_LIVE_STREAMS, -1);
  return CUDA_SUCCESS;
}

CUresult
cuStreamDestroy (CUstream handle)
{
  FAKECUDA_ENTER ();
  return destroy (handle);
}

/* GStreamer 1.22 looks up the symbol of old. */
#undef cuStreamDestroy
CUresult cuStreamDestroy (CUstream handle)
    __attribute__((visibility ("default")));

CUresult
cuStreamDestroy (CUstream handle)
{
  FAKECUDA_ENTER ();
  return destroy (handle);
}

CUresult
cuStreamQuery (CUstream handle)
{
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;
  fakecuda_lock ();
  if (stream->completed < stream->submitted)
    result = CUDA_ERROR_NOT_READY;
  fakecuda_stream_unref_locked (stream);
  fakecuda_unlock ();
  return result;
}

CUresult
cuStreamSynchronize (CUstream handle)
{
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;
  result = fakecuda_stream_finish (stream);
  fakecuda_stream_release (stream);
  return result;
}

CUresult
cuStreamGetCtx (CUstream handle, CUcontext *ret_context)
{
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;
  *ret_context = stream->context;
  fakecuda_stream_release (stream);
  return CUDA_SUCCESS;
}

CUresult
cuStreamGetFlags (CUstream handle, unsigned int *ret_flags)
{
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;
  *ret_flags = stream->flags;
  fakecuda_stream_release (stream);
  return CUDA_SUCCESS;
}

CUresult
cuStreamGetPriority (CUstream handle, int *ret_priority)
{
  CUstream stream;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;
  *ret_priority = stream->priority;
  fakecuda_stream_release (stream);
  return CUDA_SUCCESS;
}

static CUresult
submit_to_handle (CUstream handle, FakecudaWork *work)
{
  CUstream stream;
  CUresult result;

  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS) {
    fakecuda_work_free (work);
    return result;
  }
  fakecuda_submit (stream, work);
  fakecuda_stream_release (stream);
  return CUDA_SUCCESS;
}

/* Calls of the driver fail inside. */
static CUresult
run_host_function (CUstream stream, void *data)
{
  HostFunction *host = data;

  fakecuda_set_in_host_function (true);
  if (host->function != NULL)
    host->function (host->user_data);
  else
    host->callback (host->handle, atomic_load (&stream->context->error),
        host->user_data);
  fakecuda_set_in_host_function (false);
  return CUDA_SUCCESS;
}

CUresult
cuLaunchHostFunc (CUstream handle, CUhostFn function, void *user_data)
{
  HostFunction *host;

  FAKECUDA_ENTER ();
  if (function == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  host = fakecuda_new0 (sizeof (*host));
  host->function = function;
  host->user_data = user_data;
  return submit_to_handle (handle,
      fakecuda_work_new (run_host_function, host, free));
}

CUresult
cuStreamAddCallback (CUstream handle, CUstreamCallback callback,
    void *user_data, unsigned int flags)
{
  HostFunction *host;
  FakecudaWork *work;

  FAKECUDA_ENTER ();
  if (callback == NULL || flags != 0)
    return CUDA_ERROR_INVALID_VALUE;
  host = fakecuda_new0 (sizeof (*host));
  host->callback = callback;
  host->handle = handle;
  host->user_data = user_data;
  work = fakecuda_work_new (run_host_function, host, free);
  work->even_after_error = true;
  return submit_to_handle (handle, work);
}

static CUresult
run_write (CUstream stream, void *data)
{
  const Word *word = data;
  void *target = fakecuda_cpu_address (word->address);
  CUresult result = CUDA_ERROR_LAUNCH_FAILED;

  fakecuda_memory_read_lock ();
  if (fakecuda_range_allows (word->address, word->size,
          stream->context->device, true)) {
    /* Everything that the stream did before is there for whoever sees the
     * word, in this process or another. */
    if (word->size == 8)
      atomic_store_explicit ((_Atomic uint64_t *) target, word->value,
          memory_order_release);
    else
      atomic_store_explicit ((_Atomic uint32_t *) target,
          (uint32_t) word->value, memory_order_release);
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}

static bool
is_satisfied (const Word *word, uint64_t seen)
{
  switch (word->flags & ~CU_STREAM_WAIT_VALUE_FLUSH) {
    case CU_STREAM_WAIT_VALUE_EQ:
      return seen == word->value;
    case CU_STREAM_WAIT_VALUE_AND:
      return (seen & word->value) != 0;
    case CU_STREAM_WAIT_VALUE_NOR:
      return word->size == 8 ? ~(seen | word->value) != 0
          : (uint32_t) ~ (seen | word->value) != 0;
    default:
      /* Cyclic: the word may have wrapped around. */
      return word->size == 8 ? (int64_t) (seen - word->value) >= 0
          : (int32_t) (uint32_t) (seen - word->value) >= 0;
  }
}

static CUresult
look (CUstream stream, const Word *word, bool *ret_satisfied)
{
  void *source = fakecuda_cpu_address (word->address);
  CUresult result = CUDA_ERROR_ILLEGAL_ADDRESS;
  uint64_t seen = 0;

  fakecuda_memory_read_lock ();
  if (fakecuda_range_allows (word->address, word->size,
          stream->context->device, false)) {
    seen = word->size == 8 ?
        atomic_load_explicit ((_Atomic uint64_t *) source,
        memory_order_acquire) : atomic_load_explicit ((_Atomic uint32_t *)
        source, memory_order_acquire);
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  *ret_satisfied = is_satisfied (word, seen);
  return result;
}

static CUresult
run_wait (CUstream stream, void *data)
{
  static const struct timespec nap = { 0, WAIT_VALUE_NAP_US * 1000 };
  bool satisfied = false;
  CUresult result;

  for (;;) {
    result = look (stream, data, &satisfied);
    if (result != CUDA_SUCCESS || satisfied
        || atomic_load (&stream->context->dying))
      return result;
    nanosleep (&nap, NULL);
  }
}

/* That a word may not be written is found out by the device alone: the call
 * succeeds and the context dies. */
static CUresult
submit_word (CUstream handle, CUdeviceptr address, uint64_t value, size_t size,
    unsigned int flags, bool write)
{
  CUcontext context;
  CUresult result;
  Word *word;
  bool valid;

  if (!fakecuda_config ()->stream_mem_ops)
    return CUDA_ERROR_NOT_SUPPORTED;
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  fakecuda_memory_read_lock ();
  valid = address % size == 0
      && fakecuda_range_allows (address, size, context->device, false);
  fakecuda_memory_unlock ();
  if (!valid)
    return CUDA_ERROR_INVALID_VALUE;

  word = fakecuda_new0 (sizeof (*word));
  word->address = address;
  word->value = value;
  word->flags = flags;
  word->size = size;
  return submit_to_handle (handle,
      fakecuda_work_new (write ? run_write : run_wait, word, free));
}

/* The same behaviour under the old symbols and the current ones; which of the
 * two a plain name means depends on the header. */
#undef cuStreamWriteValue32
#undef cuStreamWriteValue64
#undef cuStreamWaitValue32
#undef cuStreamWaitValue64

#define WORD_ENTRY_POINT(name, type, write) \
  CUresult name (CUstream stream, CUdeviceptr address, type value, \
      unsigned int flags) __attribute__((visibility ("default"))); \
  CUresult name (CUstream stream, CUdeviceptr address, type value, \
      unsigned int flags) \
  { \
    FAKECUDA_ENTER (); \
    return submit_word (stream, address, value, sizeof (value), flags, \
        write); \
  }

/* *INDENT-OFF* */
WORD_ENTRY_POINT (cuStreamWriteValue32, cuuint32_t, true)
WORD_ENTRY_POINT (cuStreamWriteValue64, cuuint64_t, true)
WORD_ENTRY_POINT (cuStreamWaitValue32, cuuint32_t, false)
WORD_ENTRY_POINT (cuStreamWaitValue64, cuuint64_t, false)
WORD_ENTRY_POINT (cuStreamWriteValue32_v2, cuuint32_t, true)
WORD_ENTRY_POINT (cuStreamWriteValue64_v2, cuuint64_t, true)
WORD_ENTRY_POINT (cuStreamWaitValue32_v2, cuuint32_t, false)
WORD_ENTRY_POINT (cuStreamWaitValue64_v2, cuuint64_t, false)
/* *INDENT-ON* */
