/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A GPU seen through one context: who it is, what it can do, and what runs behind its streams. Knows nothing of what arenas hold. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cuframes-arena.h"
#include "cuframes-cuda-device-private.h"
#include "cuframes-util.h"

_Static_assert (sizeof (CUuuid) == CUFRAMES_UUID_BYTES, "a UUID has 16 bytes");

typedef struct
{
  void (*callback) (void *user_data);
  void *user_data;
} Done;

/* True in a thread of the driver while it runs one of our callbacks: CUDA must not be called there. */
static __thread bool in_callback;

void
cuframes_cuda_describe_uuid (const uint8_t uuid[CUFRAMES_UUID_BYTES], char text[CUFRAMES_CUDA_NAME_BYTES])
{
  CuframesArenaInfo info;

  memcpy (info.device_uuid, uuid, sizeof info.device_uuid);
  cuframes_arena_describe_device (&info, text);
}

static bool
read_uuid (const CuframesCudaDriver *driver, CUdevice device, uint8_t ret_uuid[CUFRAMES_UUID_BYTES])
{
  CUuuid uuid;

  if (driver->device_get_uuid (&uuid, device) != CUDA_SUCCESS)
    return false;
  memcpy (ret_uuid, uuid.bytes, CUFRAMES_UUID_BYTES);
  return true;
}

void
cuframes_cuda_describe (const CuframesCudaDriver *driver, CUdevice device, char name[CUFRAMES_CUDA_NAME_BYTES])
{
  char model[56] = "";
  char uuid_text[CUFRAMES_CUDA_NAME_BYTES] = "GPU without a UUID";
  uint8_t uuid[CUFRAMES_UUID_BYTES];

  if (driver->device_get_name (model, sizeof model, device) != CUDA_SUCCESS || model[0] == '\0')
    snprintf (model, sizeof model, "GPU %d", (int) device);
  if (read_uuid (driver, device, uuid))
    cuframes_cuda_describe_uuid (uuid, uuid_text);
  snprintf (name, CUFRAMES_CUDA_NAME_BYTES, "%.55s (%.48s)", model, uuid_text);
}

static bool
find (const CuframesCudaDriver *driver, const uint8_t uuid[CUFRAMES_UUID_BYTES], int *ret_ordinal, CUdevice *ret_device)
{
  int count = 0;

  if (driver->device_get_count (&count) != CUDA_SUCCESS)
    return false;
  for (int i = 0; i < count; i++) {
    uint8_t candidate[CUFRAMES_UUID_BYTES];
    CUdevice device;

    if (driver->device_get (&device, i) != CUDA_SUCCESS || !read_uuid (driver, device, candidate))
      continue;
    if (memcmp (candidate, uuid, CUFRAMES_UUID_BYTES) == 0) {
      *ret_ordinal = i;
      *ret_device = device;
      return true;
    }
  }
  return false;
}

/**
 * cuframes_cuda_check_driver:
 * @text: (out): on anything but 0 a sentence for the user
 * @text_bytes: room in @text, %CUFRAMES_TEXT_BYTES is enough
 *
 * Looks whether CUDA can be used at all, before anybody needs a context. May be called from any thread.
 *
 * Returns: 0, or %CUFRAMES_E_ABSENT if there is no driver, an older one than needed, or no GPU
 *
 * Since: 0.1
 */
int
cuframes_cuda_check_driver (char *text, size_t text_bytes)
{
  const CuframesCudaDriver *driver;

  return cuframes_cuda_driver_get (&driver, text, text_bytes);
}

/**
 * cuframes_cuda_device_find:
 * @uuid: a GPU's UUID
 * @text: (out): on anything but 0 a sentence for the user
 * @text_bytes: room in @text, %CUFRAMES_TEXT_BYTES is enough
 * @ret_ordinal: (out): the number that this process's CUDA driver gives the GPU
 *
 * Looks for a GPU among those that this process can use. May be called from any thread; needs no context.
 *
 * Returns: 0, or %CUFRAMES_E_ABSENT if there is no such GPU here or no driver; then @ret_ordinal is unchanged
 *
 * Since: 0.1
 */
int
cuframes_cuda_device_find (const uint8_t uuid[CUFRAMES_UUID_BYTES], char *text, size_t text_bytes, int *ret_ordinal)
{
  char name[CUFRAMES_CUDA_NAME_BYTES];
  const CuframesCudaDriver *driver;
  CUdevice device;
  int r = cuframes_cuda_driver_get (&driver, text, text_bytes);

  if (r != 0)
    return r;
  if (find (driver, uuid, ret_ordinal, &device))
    return 0;
  cuframes_cuda_describe_uuid (uuid, name);
  snprintf (text, text_bytes, "%s is not among the GPUs that this process can use", name);
  return CUFRAMES_E_ABSENT;
}

int
cuframes_cuda_device_find_other (const CuframesCudaDevice *device, const uint8_t uuid[CUFRAMES_UUID_BYTES], CUdevice *ret_other)
{
  int ordinal;

  return find (device->driver, uuid, &ordinal, ret_other) ? 0 : CUFRAMES_E_ABSENT;
}

bool
cuframes_cuda_device_reaches (const CuframesCudaDevice *device, CUdevice other)
{
  int can = 0;

  if (device->driver->device_can_access_peer == NULL)
    return false;
  return device->driver->device_can_access_peer (&can, device->device, other) == CUDA_SUCCESS && can != 0;
}

static bool
has (const CuframesCudaDevice *device, CUdevice_attribute attribute)
{
  int value = 0;

  return device->driver->device_get_attribute (&value, attribute, device->device) == CUDA_SUCCESS && value != 0;
}

/* A wait that hangs in somebody's stream may hold up other streams of the same priority, as they share the GPU's queues. Ours
 * must get past it, since it is what lets the wait go. */
static CUresult
create_stream (CuframesCudaDevice *device)
{
  const CuframesCudaDriver *driver = device->driver;
  int least = 0, greatest = 0;

  if (driver->stream_create_with_priority == NULL || driver->ctx_get_stream_priority_range == NULL
      || driver->ctx_get_stream_priority_range (&least, &greatest) != CUDA_SUCCESS)
    return driver->stream_create (&device->stream, CU_STREAM_NON_BLOCKING);
  return driver->stream_create_with_priority (&device->stream, CU_STREAM_NON_BLOCKING, greatest);
}

/* With the context current. */
static int
look_at (CuframesCudaDevice *device)
{
  CUresult result = device->driver->ctx_get_device (&device->device);

  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (device, result, "cuCtxGetDevice");
  if (!read_uuid (device->driver, device->device, device->uuid))
    return cuframes_cuda_device_say (device, CUFRAMES_E_ABSENT, "cuDeviceGetUuid fails for GPU %d", (int) device->device);
  cuframes_cuda_describe (device->driver, device->device, device->name);
  if (!has (device, CU_DEVICE_ATTRIBUTE_VIRTUAL_ADDRESS_MANAGEMENT_SUPPORTED))
    return cuframes_cuda_device_say (device, CUFRAMES_E_ABSENT, "%s does not support CUDA virtual memory management", device->name);
  if (!has (device, CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED))
    return cuframes_cuda_device_say (device, CUFRAMES_E_ABSENT, "%s does not support passing memory as a file descriptor", device->name);
  device->has_rdma = has (device, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED);
  device->has_fences = device->driver->stream_wait_value64 != NULL && has (device, device->driver->stream_memory_operations_attribute);
  result = create_stream (device);
  if (result != CUDA_SUCCESS)
    return cuframes_cuda_device_fail (device, result, "cuStreamCreate on %s", device->name);
  return 0;
}

static void *
free_device (void *data)
{
  CuframesCudaDevice *device = data;

  if (device->stream != NULL) {
    bool entered = cuframes_cuda_device_enter (device) == 0;

    device->driver->stream_destroy (device->stream);
    if (entered)
      cuframes_cuda_device_leave (device);
  }
  if (device->release != NULL)
    device->release (device->owner);
  pthread_mutex_destroy (&device->text_lock);
  free (device);
  return NULL;
}

/**
 * cuframes_cuda_device_new:
 * @context: (transfer none): a CUcontext
 * @release: (nullable): called with @take_owner when the device is freed, on whatever thread that is
 * @take_owner: (nullable): what keeps @context alive; taken, also on failure
 * @text: (out): on anything but 0 a sentence for the user
 * @text_bytes: room in @text, %CUFRAMES_TEXT_BYTES is enough
 * @ret_device: (out) (transfer full): the device
 *
 * Looks at the GPU of a context. @context must stay good until @release is called; without @release as long as the device and
 * all that was made from it. May be called from any thread.
 *
 * Returns: 0, %CUFRAMES_E_ABSENT if there is no driver, the driver is too old or the GPU cannot share memory by descriptor, or
 * a negative errno; on anything but 0 @ret_device is unchanged
 *
 * Since: 0.1
 */
int
cuframes_cuda_device_new (struct CUctx_st *context, void (*release) (void *owner), void *take_owner, char *text, size_t text_bytes,
    CuframesCudaDevice **ret_device)
{
  CuframesCudaDevice *device = calloc (1, sizeof *device);
  int r;

  if (device == NULL) {
    if (release != NULL)
      release (take_owner);
    snprintf (text, text_bytes, "out of memory");
    return -ENOMEM;
  }
  device->context = context;
  device->release = release;
  device->owner = take_owner;
  __atomic_store_n (&device->references, 1, __ATOMIC_RELAXED);
  pthread_mutex_init (&device->text_lock, NULL);

  r = cuframes_cuda_driver_get (&device->driver, device->text, sizeof device->text);
  if (r == 0)
    r = cuframes_cuda_device_enter (device);
  if (r == 0) {
    r = look_at (device);
    cuframes_cuda_device_leave (device);
  }
  if (r != 0) {
    cuframes_cuda_device_get_text (device, text, text_bytes);
    free_device (device);
    return r;
  }
  *ret_device = device;
  return 0;
}

/**
 * cuframes_cuda_device_ref:
 * @device: a device
 *
 * Returns: (transfer full): @device with one reference more
 *
 * Since: 0.1
 */
CuframesCudaDevice *
cuframes_cuda_device_ref (CuframesCudaDevice *device)
{
  __atomic_fetch_add (&device->references, 1, __ATOMIC_RELAXED);
  return device;
}

/**
 * cuframes_cuda_device_unref:
 * @device: (transfer full) (nullable): a device
 *
 * Gives a reference back. May be called from a callback of cuframes_cuda_device_when_done().
 *
 * Returns: %NULL
 *
 * Since: 0.1
 */
CuframesCudaDevice *
cuframes_cuda_device_unref (CuframesCudaDevice *device)
{
  if (device != NULL && __atomic_fetch_sub (&device->references, 1, __ATOMIC_ACQ_REL) == 1)
    cuframes_cuda_run_outside_callbacks (free_device, device);
  return NULL;
}

/**
 * cuframes_cuda_device_peek_context:
 * @device: a device
 *
 * Returns: (transfer none): the CUcontext that it was made from
 *
 * Since: 0.1
 */
struct CUctx_st *
cuframes_cuda_device_peek_context (const CuframesCudaDevice *device)
{
  return device->context;
}

/**
 * cuframes_cuda_device_get_name:
 * @device: a device
 *
 * Returns: (transfer none): the GPU's model and UUID, for messages; good as long as @device
 *
 * Since: 0.1
 */
const char *
cuframes_cuda_device_get_name (const CuframesCudaDevice *device)
{
  return device->name;
}

/**
 * cuframes_cuda_device_get_uuid:
 * @device: a device
 * @ret_uuid: (out): %CUFRAMES_UUID_BYTES bytes
 *
 * Tells which GPU it is, whatever number it has in this process.
 *
 * Since: 0.1
 */
void
cuframes_cuda_device_get_uuid (const CuframesCudaDevice *device, uint8_t ret_uuid[CUFRAMES_UUID_BYTES])
{
  memcpy (ret_uuid, device->uuid, CUFRAMES_UUID_BYTES);
}

/**
 * cuframes_cuda_device_get_mappable:
 * @device: a device
 * @ret_uuids: (out): room for @capacity UUIDs
 * @capacity: most UUIDs to write
 *
 * Tells on which GPUs an arena may live for cuframes_arena_import_cuda() to map it: the device itself first, then the GPUs
 * that it reaches as peers.
 *
 * Returns: UUIDs written
 *
 * Since: 0.1
 */
uint32_t
cuframes_cuda_device_get_mappable (const CuframesCudaDevice *device, uint8_t (*ret_uuids)[CUFRAMES_UUID_BYTES], uint32_t capacity)
{
  const CuframesCudaDriver *driver = device->driver;
  uint32_t written = 0;
  int count = 0;

  if (capacity == 0)
    return 0;
  memcpy (ret_uuids[written++], device->uuid, CUFRAMES_UUID_BYTES);
  if (driver->device_get_count (&count) != CUDA_SUCCESS)
    return written;
  for (int i = 0; i < count && written < capacity; i++) {
    CUdevice other;

    if (driver->device_get (&other, i) != CUDA_SUCCESS || other == device->device)
      continue;
    if (cuframes_cuda_device_reaches (device, other) && read_uuid (driver, other, ret_uuids[written]))
      written++;
  }
  return written;
}

/**
 * cuframes_cuda_device_has_fences:
 * @device: a device
 *
 * Returns: true if streams of this GPU can write and wait for fence words (stream memory operations of 64 bits)
 *
 * Since: 0.1
 */
bool
cuframes_cuda_device_has_fences (const CuframesCudaDevice *device)
{
  return device->has_fences;
}

/**
 * cuframes_cuda_device_get_text:
 * @device: a device
 * @text: (out): a sentence for the user
 * @text_bytes: room in @text, %CUFRAMES_TEXT_BYTES is enough
 *
 * Says why the newest call on this device or on an arena made from it failed or returned %CUFRAMES_E_ABSENT or
 * %CUFRAMES_E_PEER, naming the driver's function and error. A device that several threads use keeps the newest of them all.
 *
 * Since: 0.1
 */
void
cuframes_cuda_device_get_text (CuframesCudaDevice *device, char *text, size_t text_bytes)
{
  pthread_mutex_lock (&device->text_lock);
  snprintf (text, text_bytes, "%s", device->text);
  pthread_mutex_unlock (&device->text_lock);
}

static void
keep_text (CuframesCudaDevice *device, const char *text)
{
  pthread_mutex_lock (&device->text_lock);
  snprintf (device->text, sizeof device->text, "%s", text);
  pthread_mutex_unlock (&device->text_lock);
}

int
cuframes_cuda_device_say (CuframesCudaDevice *device, int result, const char *format, ...)
{
  char text[CUFRAMES_TEXT_BYTES];
  va_list arguments;

  va_start (arguments, format);
  vsnprintf (text, sizeof text, format, arguments);
  va_end (arguments);
  keep_text (device, text);
  return result;
}

int
cuframes_cuda_device_fail (CuframesCudaDevice *device, CUresult error, const char *format, ...)
{
  char text[CUFRAMES_TEXT_BYTES];
  size_t length;
  va_list arguments;

  va_start (arguments, format);
  vsnprintf (text, sizeof text, format, arguments);
  va_end (arguments);
  length = strlen (text);
  snprintf (text + length, sizeof text - length, ": %s", cuframes_cuda_driver_get_error_name (device->driver, error));
  keep_text (device, text);
  return cuframes_cuda_driver_get_errno (error);
}

int
cuframes_cuda_device_enter (CuframesCudaDevice *device)
{
  CUresult result = device->driver->ctx_push_current (device->context);

  return result == CUDA_SUCCESS ? 0 : cuframes_cuda_device_fail (device, result, "cuCtxPushCurrent");
}

void
cuframes_cuda_device_leave (CuframesCudaDevice *device)
{
  CUcontext context;

  device->driver->ctx_pop_current (&context);
}

static void CUDA_CB
run_done (void *user_data)
{
  Done *done = user_data;

  in_callback = true;
  done->callback (done->user_data);
  in_callback = false;
  free (done);
}

/**
 * cuframes_cuda_device_when_done:
 * @device: a device
 * @stream: (nullable): a CUstream of the device's context, or %NULL for its default stream
 * @callback: what to call
 * @user_data: for @callback
 *
 * Calls @callback once all work that is queued on @stream now is done: before this function returns if that is so already, else on
 * a thread of the driver. This is how a slot that a GPU reads is given back: a release store by the CPU orders no GPU work, so a
 * lease that is cleared when the CPU is done with a frame would let the publisher write under a reader that has only been queued.
 * Where the driver takes no call to queue, or there is no memory for one, this function waits for @stream and calls @callback itself.
 *
 * @callback must not call CUDA nor wait for anything that does. It may give back frames, and the last references of arenas
 * and devices: what needs CUDA for that is then done on a thread made for it. The driver does not call @callback once the
 * context has failed; the leases come back when the subscriber's connection closes.
 *
 * Returns: 0, or a negative errno if it could not wait either, for which the context must have failed, and with it all its work have
 * ended; then @callback will not be called
 *
 * Since: 0.1
 */
int
cuframes_cuda_device_when_done (CuframesCudaDevice *device, struct CUstream_st *stream, void (*callback) (void *user_data), void *user_data)
{
  Done *done = malloc (sizeof *done);
  CUresult result = CUDA_SUCCESS;
  bool idle, queued = false;
  int r = cuframes_cuda_device_enter (device);

  if (r == 0) {
    /* What is queued on the default stream waits for the context's other streams, and a query of it alone may not count those. */
    idle = stream != NULL && device->driver->stream_query (stream) == CUDA_SUCCESS;
    if (!idle && done != NULL) {
      *done = (Done) { callback, user_data };
      queued = device->driver->launch_host_func (stream, run_done, done) == CUDA_SUCCESS;
    }
    /* Who is told that it failed may have nothing left but to give the memory back under the GPU. */
    if (!idle && !queued)
      result = device->driver->stream_synchronize (stream);
    if (result != CUDA_SUCCESS)
      r = cuframes_cuda_device_fail (device, result, "waiting for a stream on %s", device->name);
    cuframes_cuda_device_leave (device);
  }
  if (queued)
    return 0;
  free (done);
  if (r == 0)
    callback (user_data);       /* it may drop the device */
  return r;
}

static bool
run_in_thread (void *(*function) (void *argument), void *argument)
{
  pthread_attr_t attributes;
  sigset_t all, before;
  pthread_t thread;
  int r;

  pthread_attr_init (&attributes);
  pthread_attr_setdetachstate (&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  r = pthread_create (&thread, &attributes, function, argument);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  pthread_attr_destroy (&attributes);
  return r == 0;
}

/**
 * cuframes_cuda_run_outside_callbacks:
 * @function: what to call; its result is not used
 * @argument: for @function
 *
 * Runs @function now, or in a thread of its own if this one belongs to the driver, where CUDA may not be called. Without a thread
 * to be had it does not run: what it would free stays until the process ends, since waiting here would stop the driver. Any thread.
 *
 * Since: 0.1
 */
void
cuframes_cuda_run_outside_callbacks (void *(*function) (void *argument), void *argument)
{
  if (in_callback)
    run_in_thread (function, argument);
  else
    function (argument);
}

/* In a thread of its own, or here if there is none to be had. Not from a callback. */
void
cuframes_cuda_run_apart (void *(*function) (void *argument), void *argument)
{
  if (!run_in_thread (function, argument))
    function (argument);
}
