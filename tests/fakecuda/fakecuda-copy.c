/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Copies and fills.  All of them are work of a stream, done in two halves with
 * a delay between them; what a call waits for is what the driver's rules make
 * it wait for and no more:
 *
 *   from pageable host memory   the source is read before the call returns
 *   to pageable host memory     the copy is done when the call returns
 *   pinned and device memory    nothing is done yet when the call returns,
 *                               except that calls which are not asynchronous
 *                               and have pinned memory at one end wait
 */
#include "fakecuda-private.h"

#include <stdlib.h>
#include <string.h>

typedef enum
{
  PLACE_PAGEABLE,
  PLACE_PINNED,
  PLACE_DEVICE
} Place;

typedef struct
{
  Place place;
  CUdeviceptr address;
  size_t pitch;
  CUdevice device;
} End;

typedef struct
{
  End from;
  End to;
  size_t width;
  size_t height;
  void *staged;
  /* A fill has no source but a pattern. */
  size_t pattern_size;
  uint32_t pattern;
} Transfer;

static size_t
extent (const End *end, size_t width, size_t height)
{
  return (height - 1) * end->pitch + width;
}

static bool
is_reachable (const End *end, size_t width, size_t height, bool write)
{
  return end->place == PLACE_PAGEABLE
      || fakecuda_range_allows (end->address, extent (end, width, height),
      end->device, write);
}

static void
fill_row (uint8_t *row, const Transfer *transfer, size_t width)
{
  size_t i;

  for (i = 0; i < width; i += transfer->pattern_size)
    memcpy (row + i, &transfer->pattern, transfer->pattern_size);
}

static CUresult
move_rows (const Transfer *transfer, size_t first, size_t count,
    size_t offset, size_t width)
{
  CUresult result = CUDA_ERROR_ILLEGAL_ADDRESS;
  End from = transfer->from, to = transfer->to;
  size_t i;

  from.address += first * from.pitch + offset;
  to.address += first * to.pitch + offset;

  fakecuda_memory_read_lock ();
  if (is_reachable (&to, width, count, true)
      && (transfer->pattern_size > 0
          || is_reachable (&from, width, count, false))) {
    const uint8_t *source = fakecuda_cpu_address (from.address);
    uint8_t *target = fakecuda_cpu_address (to.address);

    for (i = 0; i < count; i++) {
      if (transfer->pattern_size > 0)
        fill_row (target + i * to.pitch, transfer, width);
      else
        memmove (target + i * to.pitch, source + i * from.pitch, width);
    }
    result = CUDA_SUCCESS;
  }
  fakecuda_memory_unlock ();
  return result;
}

/* Two halves, so that a reader who does not wait sees a torn frame and not
 * just an old one. */
static CUresult
run_transfer (CUstream stream, void *data)
{
  const Transfer *transfer = data;
  unsigned int longest_us = fakecuda_config ()->delay_us / 2;
  size_t half;
  CUresult result;

  if (transfer->height > 1) {
    half = transfer->height / 2;
    result = move_rows (transfer, 0, half, 0, transfer->width);
    if (result != CUDA_SUCCESS)
      return result;
    fakecuda_stream_nap (stream, longest_us);
    return move_rows (transfer, half, transfer->height - half, 0,
        transfer->width);
  }

  half = transfer->width / 2 & ~(size_t) 7;
  if (half > 0) {
    result = move_rows (transfer, 0, 1, 0, half);
    if (result != CUDA_SUCCESS)
      return result;
    fakecuda_stream_nap (stream, longest_us);
  }
  return move_rows (transfer, 0, 1, half, transfer->width - half);
}

static void
free_transfer (void *data)
{
  Transfer *transfer = data;

  free (transfer->staged);
  free (transfer);
}

static void
stage (Transfer *transfer)
{
  const uint8_t *source = fakecuda_cpu_address (transfer->from.address);
  uint8_t *target;
  size_t i;

  target = transfer->staged =
      fakecuda_new0 (transfer->width * transfer->height);
  for (i = 0; i < transfer->height; i++)
    memcpy (target + i * transfer->width, source + i * transfer->from.pitch,
        transfer->width);
  transfer->from.address = (uintptr_t) target;
  transfer->from.pitch = transfer->width;
}

static CUresult
check (const Transfer *transfer)
{
  bool good;

  fakecuda_memory_read_lock ();
  good = is_reachable (&transfer->to, transfer->width, transfer->height, true)
      && (transfer->pattern_size > 0 || is_reachable (&transfer->from,
          transfer->width, transfer->height, false));
  fakecuda_memory_unlock ();
  return good ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

static bool
must_wait (const Transfer *transfer, bool async)
{
  if (transfer->to.place == PLACE_PAGEABLE)
    return true;
  if (async || transfer->pattern_size > 0)
    return !async && transfer->to.place == PLACE_PINNED;
  return transfer->to.place == PLACE_PINNED
      || transfer->from.place == PLACE_PINNED;
}

/* Leaves the caller's transfer alone.  The stream's own device does the work,
 * unless the ends say otherwise. */
static CUresult
start (const Transfer *request, CUstream handle, bool async)
{
  FakecudaWork *work;
  Transfer *transfer;
  CUstream stream;
  CUresult result;

  result = fakecuda_stream_acquire (handle, &stream);
  if (result != CUDA_SUCCESS)
    return result;
  transfer = fakecuda_new0 (sizeof (*transfer));
  *transfer = *request;
  if (transfer->from.device < 0)
    transfer->from.device = stream->context->device;
  if (transfer->to.device < 0)
    transfer->to.device = stream->context->device;

  if (transfer->width > 0 && transfer->height > 0)
    result = check (transfer);
  if (result != CUDA_SUCCESS || transfer->width == 0 || transfer->height == 0) {
    free (transfer);
    fakecuda_stream_release (stream);
    return result;
  }
  if (transfer->pattern_size == 0 && transfer->from.place == PLACE_PAGEABLE
      && transfer->to.place != PLACE_PAGEABLE)
    stage (transfer);

  work = fakecuda_work_new (run_transfer, transfer, free_transfer);
  if (must_wait (transfer, async))
    result = fakecuda_submit_and_wait (stream, work);
  else
    fakecuda_submit (stream, work);
  fakecuda_stream_release (stream);
  return result;
}

static End
end_at (CUdeviceptr address, CUmemorytype type)
{
  End end = { PLACE_DEVICE, address, 0, -1 };
  FakecudaRange *range;

  fakecuda_memory_read_lock ();
  range = fakecuda_range_at (address);
  if (range != NULL && fakecuda_range_is_host (range))
    end.place = PLACE_PINNED;
  else if (type == CU_MEMORYTYPE_HOST)
    end.place = PLACE_PAGEABLE;
  fakecuda_memory_unlock ();
  return end;
}

static CUresult
copy (CUdeviceptr to, CUmemorytype to_type, CUdeviceptr from,
    CUmemorytype from_type, size_t size, CUstream stream, bool async)
{
  Transfer transfer = { 0 };

  transfer.to = end_at (to, to_type);
  transfer.from = end_at (from, from_type);
  transfer.width = size;
  transfer.height = 1;
  return start (&transfer, stream, async);
}

CUresult
cuMemcpy (CUdeviceptr to, CUdeviceptr from, size_t size)
{
  FAKECUDA_ENTER ();
  return copy (to, CU_MEMORYTYPE_UNIFIED, from, CU_MEMORYTYPE_UNIFIED, size,
      NULL, false);
}

CUresult
cuMemcpyAsync (CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream)
{
  FAKECUDA_ENTER ();
  return copy (to, CU_MEMORYTYPE_UNIFIED, from, CU_MEMORYTYPE_UNIFIED, size,
      stream, true);
}

CUresult
cuMemcpyDtoD (CUdeviceptr to, CUdeviceptr from, size_t size)
{
  FAKECUDA_ENTER ();
  return copy (to, CU_MEMORYTYPE_DEVICE, from, CU_MEMORYTYPE_DEVICE, size,
      NULL, false);
}

CUresult
cuMemcpyDtoDAsync (CUdeviceptr to, CUdeviceptr from, size_t size,
    CUstream stream)
{
  FAKECUDA_ENTER ();
  return copy (to, CU_MEMORYTYPE_DEVICE, from, CU_MEMORYTYPE_DEVICE, size,
      stream, true);
}

CUresult
cuMemcpyDtoH (void *to, CUdeviceptr from, size_t size)
{
  FAKECUDA_ENTER ();
  return copy ((uintptr_t) to, CU_MEMORYTYPE_HOST, from, CU_MEMORYTYPE_DEVICE,
      size, NULL, false);
}

CUresult
cuMemcpyDtoHAsync (void *to, CUdeviceptr from, size_t size, CUstream stream)
{
  FAKECUDA_ENTER ();
  return copy ((uintptr_t) to, CU_MEMORYTYPE_HOST, from, CU_MEMORYTYPE_DEVICE,
      size, stream, true);
}

CUresult
cuMemcpyHtoD (CUdeviceptr to, const void *from, size_t size)
{
  FAKECUDA_ENTER ();
  return copy (to, CU_MEMORYTYPE_DEVICE, (uintptr_t) from, CU_MEMORYTYPE_HOST,
      size, NULL, false);
}

CUresult
cuMemcpyHtoDAsync (CUdeviceptr to, const void *from, size_t size,
    CUstream stream)
{
  FAKECUDA_ENTER ();
  return copy (to, CU_MEMORYTYPE_DEVICE, (uintptr_t) from, CU_MEMORYTYPE_HOST,
      size, stream, true);
}

static CUresult
copy_peer (CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
    CUcontext from_context, size_t size, CUstream stream, bool async)
{
  Transfer transfer = { 0 };

  if (!fakecuda_context_is_valid (to_context)
      || !fakecuda_context_is_valid (from_context))
    return CUDA_ERROR_INVALID_CONTEXT;
  transfer.to = end_at (to, CU_MEMORYTYPE_DEVICE);
  transfer.from = end_at (from, CU_MEMORYTYPE_DEVICE);
  transfer.to.device = to_context->device;
  transfer.from.device = from_context->device;
  transfer.width = size;
  transfer.height = 1;
  return start (&transfer, stream, async);
}

CUresult
cuMemcpyPeer (CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
    CUcontext from_context, size_t size)
{
  FAKECUDA_ENTER ();
  return copy_peer (to, to_context, from, from_context, size, NULL, false);
}

CUresult
cuMemcpyPeerAsync (CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
    CUcontext from_context, size_t size, CUstream stream)
{
  FAKECUDA_ENTER ();
  return copy_peer (to, to_context, from, from_context, size, stream, true);
}

static CUresult
end_2d (End *ret_end, CUmemorytype type, const void *host, CUdeviceptr device,
    size_t x, size_t y, size_t pitch, const CUDA_MEMCPY2D *request)
{
  if (type != CU_MEMORYTYPE_HOST && type != CU_MEMORYTYPE_DEVICE
      && type != CU_MEMORYTYPE_UNIFIED)
    return type == CU_MEMORYTYPE_ARRAY ? CUDA_ERROR_NOT_SUPPORTED :
        CUDA_ERROR_INVALID_VALUE;
  if (pitch == 0 && request->Height <= 1 && y == 0)
    pitch = x + request->WidthInBytes;
  if (pitch < x + request->WidthInBytes)
    return CUDA_ERROR_INVALID_VALUE;
  if (type == CU_MEMORYTYPE_HOST)
    device = (uintptr_t) host;
  *ret_end = end_at (device + y * pitch + x, type);
  ret_end->pitch = pitch;
  return CUDA_SUCCESS;
}

static CUresult
copy_2d (const CUDA_MEMCPY2D *request, CUstream stream, bool async)
{
  Transfer transfer = { 0 };
  CUresult result;

  if (request == NULL)
    return CUDA_ERROR_INVALID_VALUE;
  result = end_2d (&transfer.from, request->srcMemoryType, request->srcHost,
      request->srcDevice, request->srcXInBytes, request->srcY,
      request->srcPitch, request);
  if (result != CUDA_SUCCESS)
    return result;
  result = end_2d (&transfer.to, request->dstMemoryType, request->dstHost,
      request->dstDevice, request->dstXInBytes, request->dstY,
      request->dstPitch, request);
  if (result != CUDA_SUCCESS)
    return result;
  transfer.width = request->WidthInBytes;
  transfer.height = request->Height;
  return start (&transfer, stream, async);
}

CUresult
cuMemcpy2D (const CUDA_MEMCPY2D *request)
{
  FAKECUDA_ENTER ();
  return copy_2d (request, NULL, false);
}

CUresult
cuMemcpy2DUnaligned (const CUDA_MEMCPY2D *request)
{
  FAKECUDA_ENTER ();
  return copy_2d (request, NULL, false);
}

CUresult
cuMemcpy2DAsync (const CUDA_MEMCPY2D *request, CUstream stream)
{
  FAKECUDA_ENTER ();
  return copy_2d (request, stream, true);
}

static CUresult
fill (CUdeviceptr to, size_t pitch, uint32_t pattern, size_t pattern_size,
    size_t count, size_t height, CUstream stream, bool async)
{
  Transfer transfer = { 0 };

  if (to % pattern_size != 0 || (height > 1 && pitch % pattern_size != 0)
      || (height > 1 && pitch < count * pattern_size))
    return CUDA_ERROR_INVALID_VALUE;
  transfer.to = end_at (to, CU_MEMORYTYPE_DEVICE);
  transfer.to.pitch = pitch;
  transfer.pattern = pattern;
  transfer.pattern_size = pattern_size;
  transfer.width = count * pattern_size;
  transfer.height = height;
  return start (&transfer, stream, async);
}

/* The pattern is copied from its first byte on: little endian, like every
 * host that has such a GPU. */
#define FILL_ENTRY_POINTS(bits, type) \
  CUresult cuMemsetD##bits (CUdeviceptr to, type value, size_t count) \
  { \
    FAKECUDA_ENTER (); \
    return fill (to, 0, value, bits / 8, count, 1, NULL, false); \
  } \
  CUresult cuMemsetD##bits##Async (CUdeviceptr to, type value, size_t count, \
      CUstream stream) \
  { \
    FAKECUDA_ENTER (); \
    return fill (to, 0, value, bits / 8, count, 1, stream, true); \
  } \
  CUresult cuMemsetD2D##bits (CUdeviceptr to, size_t pitch, type value, \
      size_t width, size_t height) \
  { \
    FAKECUDA_ENTER (); \
    return fill (to, pitch, value, bits / 8, width, height, NULL, false); \
  } \
  CUresult cuMemsetD2D##bits##Async (CUdeviceptr to, size_t pitch, \
      type value, size_t width, size_t height, CUstream stream) \
  { \
    FAKECUDA_ENTER (); \
    return fill (to, pitch, value, bits / 8, width, height, stream, true); \
  }

/* *INDENT-OFF* */
FILL_ENTRY_POINTS (8, unsigned char)
FILL_ENTRY_POINTS (16, unsigned short)
FILL_ENTRY_POINTS (32, unsigned int)
/* *INDENT-ON* */
