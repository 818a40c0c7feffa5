# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/python/cuframes.py with frames in GPU memory: what DLPack hands on, when it is complete, and how long it is held."""
import ctypes
import os
import threading

import cuframes

from python_fixture import Capsule, Feeder, StampPlane, line_bytes, number_at, probe, subscribe
from tools_fixture import BOUND_S, main, options

CAPS = 'video/x-raw(memory:CUDAMemory),format=NV12,width=320,height=240,framerate=30/1'
NOT_READY = 600
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

driver = ctypes.CDLL('libcuda.so.1')
gpu = cuframes.Gpu()


class Writer(Feeder):
    """Its GPU writes late: who does not wait for it reads another frame."""

    def __init__(self, properties=''):
        super().__init__('cam1', properties, CAPS, options.writer, ['queued'], 'writer')


def call(name, *arguments, expected=0):
    result = getattr(driver, name)(*arguments)
    assert result == expected, f'{name} returns {result}'


def in_context(function):
    call('cuCtxPushCurrent_v2', ctypes.c_void_p(cuframes._library.cuframes_cuda_device_peek_context(gpu._device)))
    try:
        return function()
    finally:
        call('cuCtxPopCurrent_v2', ctypes.byref(ctypes.c_void_p()))


cuframes._library.cuframes_cuda_device_peek_context.restype = ctypes.c_void_p
cuframes._library.cuframes_cuda_device_peek_context.argtypes = [ctypes.c_void_p]


def make_stream():
    stream = ctypes.c_void_p()
    # CU_STREAM_NON_BLOCKING: nothing but the capsule's own care lets it wait for the writer.
    in_context(lambda: call('cuStreamCreate', ctypes.byref(stream), 1))
    return stream


class Consumer:
    """Takes a plane as PyTorch would, by the tensor's fields alone."""

    def __init__(self, plane, stream, **rest):
        assert plane.__dlpack_device__() == (2, 0)
        self.capsule = Capsule(plane.__dlpack__(stream=stream.value, **rest), b'dltensor')
        words = self.capsule.words('QiiiBBHQQQ')
        self.data, self.ndim, self.types = words[0], words[3], words[1:3] + words[4:7]
        self.shape = tuple((ctypes.c_int64 * self.ndim).from_address(words[7]))
        self.strides = tuple((ctypes.c_int64 * self.ndim).from_address(words[8]))

    def queue_copy(self, stream):
        size = self.strides[0] * self.shape[0]
        # Page-locked: a copy to other memory would not return before it is done.
        self.copy = ctypes.c_void_p()
        in_context(lambda: call('cuMemAllocHost_v2', ctypes.byref(self.copy), ctypes.c_size_t(size)))
        in_context(lambda: call('cuMemcpyDtoHAsync_v2', self.copy, ctypes.c_uint64(self.data), ctypes.c_size_t(size), stream))

    def place(self):
        return self.copy.value, self.strides[0], line_bytes(self.shape, 1), self.shape[0]

    def delete(self):
        self.capsule.delete(self.capsule.words('QQ', 48)[1])

    def forget(self):
        in_context(lambda: call('cuMemFreeHost', self.copy))


def read_number(frame, stream):
    consumers = [Consumer(plane, stream) for plane in frame.planes]
    for consumer in consumers:
        consumer.queue_copy(stream)
    in_context(lambda: call('cuStreamSynchronize', stream))
    number = number_at([consumer.place() for consumer in consumers])
    for consumer in consumers:
        consumer.delete()
        consumer.forget()
    return number


def check_numbers(properties):
    writer, stream = Writer(properties), make_stream()
    with subscribe(gpu=gpu, start='oldest') as subscriber:
        for number in range(1, 31):
            writer.push()
            assert read_number(subscriber.read(), stream) == number
    writer.expect_leased(0)


def test_host_sync(directory):
    """every frame is whole on the stream that takes it"""
    check_numbers('')


def test_fences(directory):
    """so it is with gpu-sync=fence"""
    check_numbers('gpu-sync=fence')


def test_layout(directory):
    """the tensor says where the samples are"""
    writer, stream = Writer(), make_stream()
    with subscribe(gpu=gpu) as subscriber:
        writer.push()
        frame = subscriber.read()
        luma, chroma = (Consumer(plane, stream) for plane in frame.planes)
        assert luma.types == chroma.types == (2, 0, 1, 8, 1)
        assert luma.shape == (240, 320) and chroma.shape == (120, 160, 2)
        assert luma.strides == (frame.planes[0].strides[0], 1) and chroma.strides == (frame.planes[1].strides[0], 2, 1)
        assert luma.data == frame.planes[0].address and chroma.data == frame.planes[1].address
        new = Capsule(frame.planes[0].__dlpack__(stream=-1, max_version=(1, 0)), b'dltensor_versioned')
        assert new.words('II') == (1, 0) and new.words('Q', 24) == (1,) and new.words('Q', 32) == (luma.data,)
        new.delete(new.words('Q', 16)[0])
        luma.delete()
        chroma.delete()
        for reach in (lambda: frame.planes[0].memory(), lambda: frame.planes[0].__array_interface__, lambda: frame.planes[0].__dlpack__(stream=0)):
            try:
                reach()
                assert False, 'it is refused'
            except (AttributeError, BufferError, ValueError):
                pass


def test_holds(directory):
    """a frame is held until the work that was queued on the stream is done"""
    writer, stream = Writer(), make_stream()
    go = threading.Event()
    wait = HOST_FUNCTION(lambda _: go.wait(BOUND_S) and None)
    with subscribe(gpu=gpu) as subscriber:
        writer.push()
        frame = subscriber.read()
        consumers = [Consumer(plane, stream) for plane in frame.planes]
        in_context(lambda: call('cuLaunchHostFunc', stream, wait, None))
        for consumer in consumers:
            consumer.queue_copy(stream)
            consumer.delete()
        del frame
        for _ in range(20):
            writer.push()
            subscriber.read()
        writer.expect_leased(1)
        go.set()
        writer.expect_leased(0)
    assert number_at([consumer.place() for consumer in consumers]) == 1


def test_host_frames(directory):
    """a subscriber with a GPU takes frames in host memory too"""
    feeder = Feeder()
    with subscribe(gpu=gpu) as subscriber:
        feeder.push()
        frame = subscriber.read()
        assert frame.planes[0].gpu is None and frame.planes[0].__dlpack_device__() == (1, 0)


def test_refused(directory):
    """a subscriber without a GPU is told that the frames are in GPU memory"""
    writer = Writer()
    writer.push()
    try:
        subscribe()
        assert False, 'it is refused'
    except ConnectionRefusedError as error:
        assert 'GPU' in str(error) or 'CUDA' in str(error), error


def test_no_gpu(directory):
    """a GPU that is not there is one sentence"""
    try:
        cuframes.Gpu(99)
        assert False, 'it is refused'
    except RuntimeError as error:
        assert '99' in str(error)


def test_unfinished(directory):
    """a frame that is announced before the GPU has written it is whole on the stream that takes it, and taking it waits for nothing"""
    width, height = 320, 240
    writing, reading, go, slot, picture = make_stream(), make_stream(), threading.Event(), ctypes.c_uint32(), ctypes.c_void_p()
    wait = HOST_FUNCTION(lambda _: go.wait(BOUND_S) and None)
    in_context(lambda: call('cuMemAllocHost_v2', ctypes.byref(picture), ctypes.c_size_t(width * height)))
    assert probe.probe_stamp(ctypes.byref(StampPlane(picture.value, width, width, height)), 1, ctypes.c_uint64(7))
    publisher = ctypes.c_void_p(probe.probe_open(os.path.join(directory, 'cam1.sock').encode(), gpu._device, width, height))
    with subscribe(gpu=gpu) as subscriber:
        address = ctypes.c_uint64(probe.probe_claim(publisher, ctypes.byref(slot)))
        in_context(lambda: call('cuLaunchHostFunc', writing, wait, None))
        in_context(lambda: call('cuMemcpyHtoDAsync_v2', address, picture, ctypes.c_size_t(width * height), writing))
        assert probe.probe_publish(publisher, slot, writing)
        consumer = Consumer(subscriber.read().planes[0], reading)
        consumer.queue_copy(reading)
        in_context(lambda: call('cuStreamQuery', reading, expected=NOT_READY))
        go.set()
        in_context(lambda: call('cuStreamSynchronize', reading))
        assert number_at([consumer.place()]) == 7
        consumer.delete()
        consumer.forget()
    probe.probe_close(publisher)


if __name__ == '__main__':
    main([test_host_sync, test_fences, test_layout, test_holds, test_host_frames, test_refused, test_no_gpu, test_unfinished])
