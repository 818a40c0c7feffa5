# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads the frames of a channel in Python: no copy, no GStreamer, nothing to install but libcuframes.

    import cuframes, numpy

    with cuframes.Subscriber('cam1') as subscriber:
        for frame in subscriber:
            luma = numpy.asarray(frame.planes[0])       # read-only, in the publisher's memory

A frame is held, and does not change, as long as its Frame, one of its Planes or an array made from one is alive; then its slot goes back
to the publisher. A publisher lets each subscriber hold a few frames at a time (4 unless told otherwise): copy what you want to keep.

Frames in GPU memory need a Gpu, and are handed on by DLPack, to PyTorch, CuPy, JAX and others:

    with cuframes.Subscriber('cam1', gpu=cuframes.Gpu()) as subscriber:
        for frame in subscriber:
            luma = torch.from_dlpack(frame.planes[0])

This module is one file over the C interface of libcuframes-1.0: copy it, change it.
"""
import ctypes
import os
import sys
import threading
import time

from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint8, c_uint16, c_uint32, c_uint64, c_void_p

__all__ = ['Frame', 'Gpu', 'Plane', 'Subscriber']

NONE = 2**64 - 1
TIMEOUT, CANCELLED, REFUSED, HELD = 4, 5, 7, 10
FRAME, EVENT, DISCONNECTED, PACKET = 3, 4, 5, 6
EVENT_EOS = 1
BYE_SHUTDOWN = 1
MEMORY_HOST, MEMORY_CUDA = 1, 2
FRAME_FENCED = 1 << 1
TEXT_BYTES, PATH_BYTES, UUID_BYTES, PLANES_MAX, DEVICES_MAX = 256, 107, 16, 4, 16
# A wait is cut in pieces, so that Ctrl-C is seen between two of them. Joining takes a moment, so its pieces are longer.
STEP_NS, CONNECT_STEP_NS = 200_000_000, 2_000_000_000
# How long a subscriber that holds all it may waits for a frame to be given back, by another thread or the GPU.
HELD_S, HELD_STEP_S = 1, 0.001

# GstVideoFormat: name, bytes of a sample, and of each plane: shift of its width, shift of its height, samples side by side.
FULL_PLANE, HALF, QUARTER = (0, 0, 1), (1, 0, 1), (1, 1, 1)
FORMATS = {
    2: ('I420', 1, [FULL_PLANE, QUARTER, QUARTER]), 3: ('YV12', 1, [FULL_PLANE, QUARTER, QUARTER]),
    18: ('Y42B', 1, [FULL_PLANE, HALF, HALF]), 20: ('Y444', 1, [FULL_PLANE] * 3),
    23: ('NV12', 1, [FULL_PLANE, (1, 1, 2)]), 24: ('NV21', 1, [FULL_PLANE, (1, 1, 2)]),
    51: ('NV16', 1, [FULL_PLANE, (1, 0, 2)]), 52: ('NV24', 1, [FULL_PLANE, (0, 0, 2)]),
    62: ('P010_10LE', 2, [FULL_PLANE, (1, 1, 2)]), 92: ('P012_LE', 2, [FULL_PLANE, (1, 1, 2)]), 90: ('P016_LE', 2, [FULL_PLANE, (1, 1, 2)]),
    43: ('I420_10LE', 2, [FULL_PLANE, QUARTER, QUARTER]), 45: ('I422_10LE', 2, [FULL_PLANE, HALF, HALF]), 47: ('Y444_10LE', 2, [FULL_PLANE] * 3),
    25: ('GRAY8', 1, [FULL_PLANE]), 27: ('GRAY16_LE', 2, [FULL_PLANE]),
    15: ('RGB', 1, [(0, 0, 3)]), 16: ('BGR', 1, [(0, 0, 3)]),
    99: ('RGBP', 1, [FULL_PLANE] * 3), 100: ('BGRP', 1, [FULL_PLANE] * 3),
    **{number: (name, 1, [(0, 0, 4)])
       for number, name in zip(range(7, 15), ('RGBx', 'BGRx', 'xRGB', 'xBGR', 'RGBA', 'BGRA', 'ARGB', 'ABGR'))},
}


# What follows is cuframes-types.h, cuframes-arena.h and cuframes-subscriber.h.

class FrameInfo(ctypes.Structure):
    _fields_ = [(name, c_uint64) for name in ('sequence', 'publish_ns', 'event_serial', 'moment_ns', 'pts_ns', 'dts_ns', 'duration_ns', 'offset',
                                              'offset_end', 'fence_value', 'size_bytes')] + [
        ('plane_offset_bytes', c_uint64 * PLANES_MAX), ('plane_stride_bytes', c_int32 * PLANES_MAX), ('plane_count', c_uint32), ('flags', c_uint32),
        ('buffer_flags', c_uint32), ('meta_bytes', c_uint32), ('format', c_uint32), ('width', c_uint32), ('height', c_uint32),
        ('reserved', c_uint32 * 7)]


class Item(ctypes.Structure):
    _fields_ = [('kind', c_int), ('frame', c_void_p), ('info', POINTER(FrameInfo)), ('packet_info', c_void_p), ('missed', c_uint64),
                ('event_kind', c_uint32), ('bytes', c_void_p), ('byte_count', c_size_t), ('ring_kind', c_uint32), ('arena_info', c_void_p),
                ('bye', c_uint32)]


class SubscriberConfig(ctypes.Structure):
    _fields_ = [('socket_path', c_char_p), ('name', c_char_p), ('delivery', c_int), ('start', c_int), ('max_leases', c_uint32),
                ('lossless', ctypes.c_bool), ('spin_ns', c_uint64), ('import', c_void_p), ('import_user_data', c_void_p), ('memory_kinds', c_uint32),
                ('device_uuids', c_void_p), ('device_count', c_uint32)]


class SubscriberCounters(ctypes.Structure):
    _fields_ = [('connected', c_uint32), ('generation', c_uint32), ('connections', c_uint64), ('delivered', c_uint64), ('missed', c_uint64),
                ('copied', c_uint64), ('wakeups', c_uint64), ('leases_held', c_uint32), ('max_leases', c_uint32), ('head', c_uint64),
                ('cursor', c_uint64)]


# And this is dlpack.h.

class Tensor(ctypes.Structure):
    _fields_ = [('data', c_void_p), ('device_type', c_int32), ('device_id', c_int32), ('ndim', c_int32), ('code', c_uint8), ('bits', c_uint8),
                ('lanes', c_uint16), ('shape', POINTER(c_int64)), ('strides', POINTER(c_int64)), ('byte_offset', c_uint64)]


class ManagedTensor(ctypes.Structure):
    _fields_ = [('tensor', Tensor), ('manager_ctx', c_void_p), ('deleter', c_void_p)]
    name = b'dltensor'


class ManagedTensorVersioned(ctypes.Structure):
    _fields_ = [('major', c_uint32), ('minor', c_uint32), ('manager_ctx', c_void_p), ('deleter', c_void_p), ('flags', c_uint64), ('tensor', Tensor)]
    name = b'dltensor_versioned'


DLPACK_CPU, DLPACK_CUDA = 1, 2
DLPACK_UINT = 1
DLPACK_READ_ONLY = 1 << 0


def _declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_library = ctypes.CDLL('libcuframes-1.0.so.0')
_channel_path = _declare(_library, 'cuframes_channel_path', c_int, c_char_p, c_char_p, c_size_t)
_subscriber_new = _declare(_library, 'cuframes_subscriber_new', c_int, POINTER(SubscriberConfig), POINTER(c_void_p))
_subscriber_free = _declare(_library, 'cuframes_subscriber_free', c_void_p, c_void_p)
_subscriber_connect = _declare(_library, 'cuframes_subscriber_connect', c_int, c_void_p, c_uint64)
_subscriber_next = _declare(_library, 'cuframes_subscriber_next', c_int, c_void_p, c_uint64, POINTER(Item))
_subscriber_cancel = _declare(_library, 'cuframes_subscriber_cancel', None, c_void_p, ctypes.c_bool)
_subscriber_get_refusal = _declare(_library, 'cuframes_subscriber_get_refusal', c_char_p, c_void_p)
_subscriber_get_counters = _declare(_library, 'cuframes_subscriber_get_counters', None, c_void_p, POINTER(SubscriberCounters))
_frame_ref = _declare(_library, 'cuframes_frame_ref', c_void_p, c_void_p)
_frame_unref = _declare(_library, 'cuframes_frame_unref', c_void_p, c_void_p)
_frame_is_orphaned = _declare(_library, 'cuframes_frame_is_orphaned', ctypes.c_bool, c_void_p)
_frame_get_address = _declare(_library, 'cuframes_frame_get_address', c_uint64, c_void_p)
_frame_peek_arena = _declare(_library, 'cuframes_frame_peek_arena', c_void_p, c_void_p)
_arena_get_kind = _declare(_library, 'cuframes_arena_get_kind', c_int, c_void_p)
_arena_queue_wait = _declare(_library, 'cuframes_arena_cuda_queue_wait', c_int, c_void_p, c_void_p, c_uint64)
_arena_wait_host = _declare(_library, 'cuframes_arena_cuda_wait_host', c_int, c_void_p, c_uint64, c_uint64)
_device_new = _declare(_library, 'cuframes_cuda_device_new', c_int, c_void_p, c_void_p, c_void_p, c_char_p, c_size_t, POINTER(c_void_p))
_device_unref = _declare(_library, 'cuframes_cuda_device_unref', c_void_p, c_void_p)
_device_get_name = _declare(_library, 'cuframes_cuda_device_get_name', c_char_p, c_void_p)
_device_get_mappable = _declare(_library, 'cuframes_cuda_device_get_mappable', c_uint32, c_void_p, c_void_p, c_uint32)
_device_when_done = _declare(_library, 'cuframes_cuda_device_when_done', c_int, c_void_p, c_void_p, c_void_p, c_void_p)
_check_driver = _declare(_library, 'cuframes_cuda_check_driver', c_int, c_char_p, c_size_t)
# Of our own, since ctypes.pythonapi is everybody's. Not py_object: the destructor looks at a capsule that nobody refers to any more.
_capsule_new = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, c_char_p, c_void_p)(('PyCapsule_New', ctypes.pythonapi))
_capsule_is_valid = ctypes.PYFUNCTYPE(c_int, c_void_p, c_char_p)(('PyCapsule_IsValid', ctypes.pythonapi))
_capsule_get_pointer = ctypes.PYFUNCTYPE(c_void_p, c_void_p, c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))


def _address_of(function):
    return ctypes.cast(function, c_void_p).value


def _time(ns):
    return None if ns == NONE else ns


class Gpu:
    """A GPU on which frames are read: number `ordinal` of those that this process sees, in its primary context, which is the one that PyTorch,
    CuPy and the CUDA runtime use.

    Raises RuntimeError with a sentence if there is none, or if it cannot share memory.
    """

    def __init__(self, ordinal=0):
        text, device, context = ctypes.create_string_buffer(TEXT_BYTES), c_void_p(), c_void_p()
        self._device = None
        if _check_driver(text, TEXT_BYTES) != 0:
            raise RuntimeError(text.value.decode())
        driver, number = ctypes.CDLL('libcuda.so.1'), c_int()
        # The context is never released: what was made from it may outlive this object.
        result = driver.cuInit(0) or driver.cuDeviceGet(byref(number), c_int(ordinal)) or driver.cuDevicePrimaryCtxRetain(byref(context), number)
        if result != 0:
            raise RuntimeError(f'GPU {ordinal}: the CUDA driver says error {result}')
        if _device_new(context, None, None, text, TEXT_BYTES, byref(device)) != 0:
            raise RuntimeError(text.value.decode())
        self._device, self.ordinal, self.name = device, ordinal, _device_get_name(device).decode()

    def __del__(self, unref=_device_unref):
        if self._device is not None:
            unref(self._device)


class _Lease:
    """Holds a frame until the last who refers to it has gone, and the GPU has done what was queued on it."""

    def __init__(self, frame, gpu):
        self.frame, self.gpu = frame, gpu
        self.streams = set()

    # When the interpreter ends, the module's names may be gone before the last frame.
    def __del__(self, ref=_frame_ref, unref=_frame_unref, unref_address=_address_of(_frame_unref), when_done=_device_when_done):
        # Each stream holds a reference of its own, which goes behind its work.
        for stream in self.streams:
            if when_done(self.gpu._device, stream, unref_address, ref(self.frame)) != 0:
                unref(self.frame)
        unref(self.frame)


class Plane:
    """One plane of a frame. numpy.asarray(plane), or numpy.from_dlpack(plane), is a read-only array in host memory; torch.from_dlpack(plane)
    and its like take both host and GPU memory.

    shape: lines, columns and, where samples lie side by side, those: NV12 is (height, width) and (height / 2, width / 2, 2)
    strides: the same in bytes
    dtype: as NumPy writes it
    address: of the first sample, on the GPU if gpu is not None
    """

    def __init__(self, lease, address, shape, strides, sample_bytes, fence):
        self._lease, self._fence = lease, fence
        self.address, self.shape, self.strides = address, shape, strides
        self.dtype = '|u1' if sample_bytes == 1 else f'<u{sample_bytes}'
        self._sample_bytes = sample_bytes

    @property
    def gpu(self):
        return self._lease.gpu

    @property
    def __array_interface__(self):
        if self.gpu is not None:
            raise AttributeError('these frames are in GPU memory: take them by DLPack')
        return {'version': 3, 'shape': self.shape, 'strides': self.strides, 'typestr': self.dtype, 'data': (self.address, True)}

    def memory(self):
        """All bytes from the first sample to the last, the padding of lines included: a read-only memoryview, for host memory alone."""
        if self.gpu is not None:
            raise BufferError('these frames are in GPU memory: take them by DLPack')
        size = self._sample_bytes + sum((count - 1) * stride for count, stride in zip(self.shape, self.strides))
        block = (c_uint8 * size).from_address(self.address)
        block.lease = self._lease
        return memoryview(block).toreadonly().cast('B')

    def __dlpack_device__(self):
        return (DLPACK_CPU, 0) if self.gpu is None else (DLPACK_CUDA, self.gpu.ordinal)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        """For those who take a plane. On a GPU, `stream` is where it will be read: work queued there from now on sees the whole frame, and the
        frame is held until what is queued there when the last array goes is done. Who reads on other streams too makes `stream` wait for them.

        DLPack before 1.0 has no word for read-only. Whoever writes all the same is stopped by the kernel or the GPU, with an error that ends the
        program.
        """
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise BufferError('the frame is on another device, and this does not copy')
        if copy:
            raise BufferError('this does not copy')
        if self.gpu is not None:
            self._prepare(stream)
        elif stream is not None:
            raise ValueError('host memory has no streams')
        return _export(self, ManagedTensorVersioned if max_version is not None and max_version[0] >= 1 else ManagedTensor)

    def _prepare(self, stream):
        if stream == 0:
            raise ValueError('stream 0 says nothing: 1 is the default stream, 2 that of each thread')
        handle = None if stream in (None, -1, 1) else c_void_p(stream)
        if stream != -1 and self._fence is not None:
            arena = _frame_peek_arena(self._lease.frame)
            # Behind the wait: when the publisher is gone, another subscriber may have let it go before it was queued.
            if _arena_queue_wait(arena, handle, self._fence) != 0 or _frame_is_orphaned(self._lease.frame):
                _wait_for_fence(arena, self._fence)
        self._lease.streams.add(None if handle is None else handle.value)


def _wait_for_fence(arena, fence):
    result = TIMEOUT
    while result == TIMEOUT:
        result = _arena_wait_host(arena, fence, STEP_NS)
    if result != 0:
        raise BufferError('the publisher died before this frame was complete')


# By the managed tensor's address: what must live until its deleter is called.
_exports = {}


@ctypes.CFUNCTYPE(None, c_void_p)
def _delete_tensor(address):
    _exports.pop(address, None)


@ctypes.CFUNCTYPE(None, c_void_p)
def _delete_capsule(capsule):
    # Who took the tensor has given the capsule another name.
    for kind in (ManagedTensor, ManagedTensorVersioned):
        if _capsule_is_valid(capsule, kind.name):
            _exports.pop(_capsule_get_pointer(capsule, kind.name), None)


# Tensors may outlive this module.
for _callback in (_delete_tensor, _delete_capsule):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(_callback))


def _export(plane, kind):
    count = len(plane.shape)
    shape = (c_int64 * count)(*plane.shape)
    strides = (c_int64 * count)(*(stride // plane._sample_bytes for stride in plane.strides))
    managed = kind(deleter=_address_of(_delete_tensor))
    managed.tensor = Tensor(plane.address, *plane.__dlpack_device__(), count, DLPACK_UINT, 8 * plane._sample_bytes, 1, shape, strides, 0)
    if kind is ManagedTensorVersioned:
        managed.major, managed.minor, managed.flags = 1, 0, DLPACK_READ_ONLY
    address = ctypes.addressof(managed)
    _exports[address] = (managed, shape, strides, plane._lease)
    return _capsule_new(address, kind.name, _address_of(_delete_capsule))


class Frame:
    """One frame of a channel.

    planes: list of Plane; empty if the format is not in FORMATS, then there is still `data`
    data: the whole frame as a Plane of bytes
    format, width, height: as GStreamer names the format, None if it is not in FORMATS
    sequence: number of the frame in its channel
    missed: frames that passed by just before this one
    pts_ns, duration_ns: or None
    moment_ns: CLOCK_MONOTONIC (time.monotonic_ns()) at which the frame is due, or None
    publish_ns: CLOCK_MONOTONIC at which it was announced
    """

    def __init__(self, lease, info, missed):
        address = _frame_get_address(lease.frame)
        fence = info.fence_value if info.flags & FRAME_FENCED else None
        self.format, sample, planes = FORMATS.get(info.format, (None, 1, []))
        self.width, self.height, self.sequence, self.missed = info.width, info.height, info.sequence, missed
        self.pts_ns, self.duration_ns, self.moment_ns = _time(info.pts_ns), _time(info.duration_ns), _time(info.moment_ns)
        self.publish_ns = info.publish_ns
        self.data = Plane(lease, address, (info.size_bytes,), (1,), 1, fence)
        self.planes = []
        if info.plane_count != len(planes):
            return
        for i, (x, y, channels) in enumerate(planes):
            shape, strides = (-(-info.height >> y), -(-info.width >> x)), (info.plane_stride_bytes[i], sample * channels)
            if channels > 1:
                shape, strides = shape + (channels,), strides + (sample,)
            plane_bytes = sample + sum((count - 1) * stride for count, stride in zip(shape, strides))
            # The publisher's numbers: what they say must lie in the frame.
            if 0 in shape or strides[0] < shape[1] * strides[1] or info.plane_offset_bytes[i] + plane_bytes > info.size_bytes:
                self.planes = []
                return
            self.planes.append(Plane(lease, address + info.plane_offset_bytes[i], shape, strides, sample, fence))


class Subscriber:
    """The receiving end of a channel: iterate over it, or call read(). One thread at a time may do that; cancel() is for any other.

    channel: its name, or the path of a socket (with a slash), or @name for an abstract one
    delivery: 'fifo' for every frame in order, 'latest' for always the newest
    start: 'latest', 'next' or 'oldest': which frame comes first
    max_leases: frames to hold at most, 0 for as many as the publisher allows
    gpu: a Gpu, for frames in its memory; frames in host memory come too
    reconnect: when the publisher goes, wait for the next one
    timeout_s: how long to wait for the publisher, and for each frame; None for ever

    Raises ValueError for a name that is none, ConnectionRefusedError with the publisher's reason, TimeoutError, and OSError.
    """

    def __init__(self, channel, *, delivery='fifo', start='latest', max_leases=0, gpu=None, reconnect=False, name=None, timeout_s=None):
        self._subscriber = None
        self.channel, self.gpu, self.reconnect, self.timeout_s = channel, gpu, reconnect, timeout_s
        self._ended = False
        self._lock = threading.Lock()
        path = channel.encode()
        if '/' not in channel and not channel.startswith('@'):
            text = ctypes.create_string_buffer(PATH_BYTES)
            result = _channel_path(path, text, PATH_BYTES)
            if result != 0:
                raise ValueError(f'"{channel}" is no name of a channel: {os.strerror(-result)}')
            path = text.value
        config = SubscriberConfig(socket_path=path, name=(name or os.path.basename(sys.argv[0]) or 'python').encode(),
                                  delivery=('fifo', 'latest').index(delivery), start=('latest', 'next', 'oldest').index(start),
                                  max_leases=max_leases)
        if gpu is not None:
            uuids = (c_uint8 * (UUID_BYTES * DEVICES_MAX))()
            config.device_count = _device_get_mappable(gpu._device, uuids, DEVICES_MAX)
            config.device_uuids = ctypes.addressof(uuids)
            config.memory_kinds = 1 << MEMORY_HOST | 1 << MEMORY_CUDA
            config.import_user_data = gpu._device
            setattr(config, 'import', _address_of(_library.cuframes_arena_import_cuda))
        subscriber = c_void_p()
        result = _subscriber_new(byref(config), byref(subscriber))
        if result != 0:
            raise OSError(-result, os.strerror(-result), channel)
        self._subscriber = subscriber
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self, free=_subscriber_free):
        subscriber, self._subscriber = self._subscriber, None
        if subscriber is not None:
            free(subscriber)

    def __iter__(self):
        return iter(self.read, None)

    def close(self):
        """Leaves the channel. Frames that are still held stay as they are."""
        with self._lock:
            subscriber, self._subscriber = self._subscriber, None
            if subscriber is not None:
                _subscriber_free(subscriber)

    def cancel(self):
        """Lets read() in another thread return None, now and from now on."""
        with self._lock:
            if self._subscriber is not None:
                _subscriber_cancel(self._subscriber, True)

    @property
    def stats(self):
        """Counters over all connections, by name."""
        counters = SubscriberCounters()
        _subscriber_get_counters(self._open(), byref(counters))
        return {name: getattr(counters, name) for name, _ in SubscriberCounters._fields_}

    def read(self):
        """The next Frame, or None when the publisher has ended the channel or cancel() was called.

        Raises ConnectionResetError when the publisher died or took this subscriber off, unless told to reconnect; and BufferError when this
        program holds as many frames as it may, and lets none go for a second.
        """
        item = Item()
        while not self._ended:
            result = self._wait(STEP_NS, lambda ns: self._next(ns, item))
            if result == CANCELLED:
                return None
            if result != 0:
                raise self._error(result)
            if item.kind == FRAME:
                return self._take(item)
            if item.kind == EVENT and item.event_kind == EVENT_EOS:
                self._ended = not self.reconnect
            elif item.kind == PACKET:
                raise TypeError(f'{self.channel} carries packets, and this module reads frames')
            elif item.kind == DISCONNECTED:
                self._reconnect(item.bye)
        return None

    def _open(self):
        if self._subscriber is None:
            raise ValueError('the subscriber is closed')
        return self._subscriber

    def _next(self, timeout_ns, item):
        end = time.monotonic() + HELD_S
        result = _subscriber_next(self._open(), timeout_ns, byref(item))
        while result == HELD and time.monotonic() < end:
            time.sleep(HELD_STEP_S)
            result = _subscriber_next(self._open(), timeout_ns, byref(item))
        return result

    def _take(self, item):
        kind = _arena_get_kind(_frame_peek_arena(item.frame))
        lease = _Lease(item.frame, self.gpu if kind == MEMORY_CUDA else None)
        return Frame(lease, item.info.contents, item.missed)

    def _reconnect(self, bye):
        if self.reconnect:
            self._connect()
        elif bye == BYE_SHUTDOWN:
            self._ended = True
        else:
            raise ConnectionResetError(f'{self.channel}: the publisher ' + ('died' if bye == 0 else 'took this subscriber off'))

    def _connect(self):
        result = self._wait(CONNECT_STEP_NS, lambda ns: _subscriber_connect(self._open(), ns))
        if result == CANCELLED:
            self._ended = True
        elif result != 0:
            raise self._error(result)

    def _wait(self, step_ns, call):
        """Calls until there is a result other than TIMEOUT, or the time is over."""
        end_ns = None if self.timeout_s is None else time.monotonic_ns() + int(self.timeout_s * 1e9)
        while True:
            left_ns = step_ns if end_ns is None else max(0, min(step_ns, end_ns - time.monotonic_ns()))
            result = call(left_ns)
            if result != TIMEOUT or left_ns < step_ns:
                return result

    def _error(self, result):
        if result == TIMEOUT:
            return TimeoutError(f'{self.channel}: nobody publishes there, or nothing came in time')
        if result == HELD:
            return BufferError(f'{self.channel}: this program holds all frames that it may. Copy what is to be kept, or let the publisher '
                               'allow more (cuframessink max-leases)')
        if result == REFUSED:
            return ConnectionRefusedError(f'{self.channel}: {_subscriber_get_refusal(self._open()).decode()}')
        if result < 0:
            return OSError(-result, os.strerror(-result), self.channel)
        return ConnectionAbortedError(f'{self.channel}: what answers there is no publisher, or broke the protocol')
