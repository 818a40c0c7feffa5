/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Contexts: the stack of current ones of each thread, primary ones, peers.
 */
#include "fakecuda-private.h"

#include <stdlib.h>

#define MAX_DEPTH 64
#define DEFAULT_STACK_SIZE 1024

static CUcontext contexts;
static CUcontext primaries[FAKECUDA_MAX_DEVICES];
static unsigned int primary_flags[FAKECUDA_MAX_DEVICES];
static pthread_mutex_t primaries_mutex = PTHREAD_MUTEX_INITIALIZER;

static _Thread_local CUcontext stack[MAX_DEPTH];
static _Thread_local int depth;

CUcontext
fakecuda_context_first (void)
{
  return contexts;
}

static bool
is_valid_locked (CUcontext context)
{
  CUcontext other;

  for (other = contexts; other != NULL; other = other->next) {
    if (other == context)
      return !atomic_load (&context->dying);
  }
  return false;
}

bool
fakecuda_context_is_valid (CUcontext context)
{
  bool valid;

  fakecuda_lock ();
  valid = is_valid_locked (context);
  fakecuda_unlock ();
  return valid;
}

/* Nobody makes a context current in which work has failed. */
static bool
is_usable (CUcontext context)
{
  return fakecuda_context_is_valid (context)
      && atomic_load (&context->error) == CUDA_SUCCESS;
}

/* The error of an earlier piece of work stays with its context for good. */
CUresult
fakecuda_context_current (CUcontext *ret_context)
{
  if (depth == 0 || stack[depth - 1] == NULL)
    return CUDA_ERROR_INVALID_CONTEXT;
  if (!fakecuda_context_is_valid (stack[depth - 1]))
    return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  *ret_context = stack[depth - 1];
  return atomic_load (&(*ret_context)->error);
}

static CUcontext
context_new (CUdevice device, unsigned int flags, bool primary)
{
  CUcontext context = fakecuda_new0 (sizeof (*context));

  context->device = device;
  context->flags = flags;
  context->primary = primary;
  fakecuda_lock ();
  context->next = contexts;
  contexts = context;
  fakecuda_unlock ();
  fakecuda_count (FAKECUDA_LIVE_CONTEXTS, 1);
  return context;
}

static void
context_free (CUcontext context)
{
  CUcontext *link;

  fakecuda_context_close_streams (context);
  fakecuda_lock ();
  for (link = &contexts; *link != context; link = &(*link)->next);
  *link = context->next;
  fakecuda_unlock ();
  free (context);
  fakecuda_count (FAKECUDA_LIVE_CONTEXTS, -1);
}

static CUresult
create (CUcontext *ret_context, unsigned int flags, CUdevice device)
{
  if (ret_context == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  if (depth == MAX_DEPTH)
    return CUDA_ERROR_OUT_OF_MEMORY;
  *ret_context = stack[depth++] = context_new (device, flags, false);
  return CUDA_SUCCESS;
}

CUresult
cuCtxCreate_v2 (CUcontext *ret_context, unsigned int flags, CUdevice device)
{
  FAKECUDA_ENTER ();
  return create (ret_context, flags, device);
}

CUresult
cuCtxCreate_v3 (CUcontext *ret_context, void *params, int param_count,
    unsigned int flags, CUdevice device)
{
  FAKECUDA_ENTER ();
  if (params != NULL || param_count != 0)
    return CUDA_ERROR_NOT_SUPPORTED;
  return create (ret_context, flags, device);
}

CUresult
cuCtxDestroy (CUcontext context)
{
  FAKECUDA_ENTER ();
  if (context == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_context_is_valid (context) || context->primary)
    return CUDA_ERROR_INVALID_CONTEXT;
  if (depth > 0 && stack[depth - 1] == context)
    depth--;
  context_free (context);
  return CUDA_SUCCESS;
}

CUresult
cuCtxPushCurrent (CUcontext context)
{
  FAKECUDA_ENTER ();
  if (!is_usable (context))
    return CUDA_ERROR_INVALID_CONTEXT;
  if (depth == MAX_DEPTH)
    return CUDA_ERROR_OUT_OF_MEMORY;
  stack[depth++] = context;
  return CUDA_SUCCESS;
}

CUresult
cuCtxPopCurrent (CUcontext *ret_context)
{
  FAKECUDA_ENTER ();
  if (depth == 0)
    return CUDA_ERROR_INVALID_CONTEXT;
  depth--;
  if (ret_context != NULL)
    *ret_context = stack[depth];
  return CUDA_SUCCESS;
}

CUresult
cuCtxSetCurrent (CUcontext context)
{
  FAKECUDA_ENTER ();
  if (context != NULL && !is_usable (context))
    return CUDA_ERROR_INVALID_CONTEXT;
  if (depth > 0)
    depth--;
  if (context != NULL)
    stack[depth++] = context;
  return CUDA_SUCCESS;
}

CUresult
cuCtxGetCurrent (CUcontext *ret_context)
{
  FAKECUDA_ENTER ();
  if (ret_context == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  *ret_context = depth > 0 ? stack[depth - 1] : NULL;
  return CUDA_SUCCESS;
}

CUresult
cuCtxGetDevice (CUdevice *ret_device)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result == CUDA_SUCCESS)
    *ret_device = context->device;
  return result;
}

CUresult
cuCtxGetFlags (unsigned int *ret_flags)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result == CUDA_SUCCESS)
    *ret_flags = context->flags;
  return result;
}

CUresult
cuCtxGetApiVersion (CUcontext context, unsigned int *ret_version)
{
  FAKECUDA_ENTER ();
  if (context != NULL && !fakecuda_context_is_valid (context))
    return CUDA_ERROR_INVALID_CONTEXT;
  *ret_version = 3020;
  return CUDA_SUCCESS;
}

CUresult
cuCtxGetLimit (size_t *ret_value, CUlimit limit)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result == CUDA_SUCCESS)
    *ret_value = limit == CU_LIMIT_STACK_SIZE ? DEFAULT_STACK_SIZE : 0;
  return result;
}

CUresult
cuCtxSetLimit (CUlimit limit, size_t value)
{
  CUcontext context;

  FAKECUDA_ENTER ();
  (void) limit;
  (void) value;
  return fakecuda_context_current (&context);
}

CUresult
cuCtxGetStreamPriorityRange (int *ret_least, int *ret_greatest)
{
  CUcontext context;

  FAKECUDA_ENTER ();
  if (ret_least != NULL)
    *ret_least = 0;
  if (ret_greatest != NULL)
    *ret_greatest = -5;
  return fakecuda_context_current (&context);
}

CUresult
cuCtxSynchronize (void)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  fakecuda_context_drain (context);
  return atomic_load (&context->error);
}

CUresult
cuCtxEnablePeerAccess (CUcontext peer, unsigned int flags)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  if (flags != 0)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_context_is_valid (peer) || peer == context)
    return CUDA_ERROR_INVALID_CONTEXT;
  if (!fakecuda_devices_are_peers (context->device, peer->device))
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  if (context->peer_devices & 1u << peer->device)
    return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  context->peer_devices |= 1u << peer->device;
  return CUDA_SUCCESS;
}

CUresult
cuCtxDisablePeerAccess (CUcontext peer)
{
  CUcontext context;
  CUresult result;

  FAKECUDA_ENTER ();
  result = fakecuda_context_current (&context);
  if (result != CUDA_SUCCESS)
    return result;
  if (!fakecuda_context_is_valid (peer))
    return CUDA_ERROR_INVALID_CONTEXT;
  if (!(context->peer_devices & 1u << peer->device))
    return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  context->peer_devices &= ~(1u << peer->device);
  return CUDA_SUCCESS;
}

CUresult
cuDevicePrimaryCtxRetain (CUcontext *ret_context, CUdevice device)
{
  FAKECUDA_ENTER ();
  if (ret_context == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  pthread_mutex_lock (&primaries_mutex);
  if (primaries[device] == NULL)
    primaries[device] = context_new (device, primary_flags[device], true);
  primaries[device]->primary_refs++;
  *ret_context = primaries[device];
  pthread_mutex_unlock (&primaries_mutex);
  return CUDA_SUCCESS;
}

static CUresult
drop_primary (CUdevice device, bool all_refs)
{
  CUresult result = CUDA_SUCCESS;
  CUcontext context;

  pthread_mutex_lock (&primaries_mutex);
  context = primaries[device];
  if (context == NULL) {
    result = all_refs ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
  } else if (--context->primary_refs == 0 || all_refs) {
    primaries[device] = NULL;
    context_free (context);
  }
  pthread_mutex_unlock (&primaries_mutex);
  return result;
}

CUresult
cuDevicePrimaryCtxRelease (CUdevice device)
{
  FAKECUDA_ENTER ();
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  return drop_primary (device, false);
}

CUresult
cuDevicePrimaryCtxReset (CUdevice device)
{
  FAKECUDA_ENTER ();
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  return drop_primary (device, true);
}

CUresult
cuDevicePrimaryCtxSetFlags (CUdevice device, unsigned int flags)
{
  FAKECUDA_ENTER ();
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  primary_flags[device] = flags;
  return CUDA_SUCCESS;
}

CUresult
cuDevicePrimaryCtxGetState (CUdevice device, unsigned int *ret_flags,
    int *ret_active)
{
  FAKECUDA_ENTER ();
  if (ret_flags == NULL || ret_active == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  if (!fakecuda_device_exists (device))
    return CUDA_ERROR_INVALID_DEVICE;
  *ret_flags = primary_flags[device];
  pthread_mutex_lock (&primaries_mutex);
  *ret_active = primaries[device] != NULL;
  pthread_mutex_unlock (&primaries_mutex);
  return CUDA_SUCCESS;
}
