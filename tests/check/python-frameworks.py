# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/python/cuframes.py with PyTorch, CuPy and NumPy themselves on a real GPU: what they take by DLPack is the frame, where it lies."""
import ctypes
import importlib
import os
import sys

try:
    import torch
    if not torch.cuda.is_available():
        raise ImportError
except ImportError:
    print('skip: PyTorch with a GPU is not installed')
    sys.exit(77)

import cuframes
from python_fixture import probe, subscribe
from tools_fixture import Process, Skip, main, options, wait_until

WIDTH, HEIGHT = 640, 360
HALF_A_SECOND = 10 ** 9    # cycles

probe.probe_count_leased.restype = ctypes.c_uint32
gpu = cuframes.Gpu()


def import_cupy():
    try:
        return importlib.import_module('cupy')
    except ImportError:
        raise Skip('CuPy is not installed') from None


class Publisher:
    """Announces each picture before the GPU has written it: number n is full of (line + n) mod 251."""

    def __init__(self, directory):
        path = os.path.join(directory, 'cam1.sock').encode()
        self.probe = ctypes.c_void_p(probe.probe_open(path, gpu._device, WIDTH, HEIGHT))
        self.stream = torch.cuda.Stream()
        self.lines = torch.arange(HEIGHT, device='cuda').unsqueeze(1)

    def push(self, number, late=True):
        slot, driver = ctypes.c_uint32(), ctypes.CDLL('libcuda.so.1')
        address = probe.probe_claim(self.probe, ctypes.byref(slot))
        assert address
        with torch.cuda.stream(self.stream):
            picture = picture_of(number, self.lines)
            if late:
                torch.cuda._sleep(HALF_A_SECOND // 10)
            assert driver.cuMemcpyDtoDAsync_v2(ctypes.c_uint64(address), ctypes.c_uint64(picture.data_ptr()), ctypes.c_size_t(WIDTH * HEIGHT),
                                               ctypes.c_void_p(self.stream.cuda_stream)) == 0
            picture.record_stream(self.stream)
            assert probe.probe_publish(self.probe, slot, ctypes.c_void_p(self.stream.cuda_stream))

    def expect_leased(self, count):
        wait_until(lambda: probe.probe_count_leased(self.probe) == count, f'{count} slots are held')


def picture_of(number, lines):
    return ((lines + number) % 251).to(torch.uint8).expand(HEIGHT, WIDTH).contiguous()


def check_tensor(tensor, plane, number, publisher):
    assert tensor.data_ptr() == plane.address and tuple(tensor.shape) == (HEIGHT, WIDTH) and tensor.dtype == torch.uint8
    assert tensor.device == torch.device('cuda', gpu.ordinal) and tensor.stride() == (WIDTH, 1)
    assert torch.equal(tensor, picture_of(number, publisher.lines)), number


def test_torch(directory):
    """PyTorch sees each frame whole, in place, on its default stream and on another"""
    publisher = Publisher(directory)
    torch.cuda.synchronize()
    with subscribe(gpu=gpu, start='oldest') as subscriber:
        for number, stream in enumerate([torch.cuda.default_stream(), torch.cuda.Stream()] * 5):
            publisher.push(number)
            frame = subscriber.read()
            with torch.cuda.stream(stream):
                tensor = torch.from_dlpack(frame.planes[0])
                check_tensor(tensor, frame.planes[0], number, publisher)
        del frame, tensor
        publisher.expect_leased(0)
    probe.probe_close(publisher.probe)


def test_held(directory):
    """a frame stays as it is until PyTorch's kernels that read it are done, though the tensor is gone"""
    publisher = Publisher(directory)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with subscribe(gpu=gpu) as subscriber:
        publisher.push(7)
        publisher.stream.synchronize()
        with torch.cuda.stream(stream):
            tensor = torch.from_dlpack(subscriber.read().planes[0])
            torch.cuda._sleep(HALF_A_SECOND)
            copy = tensor.clone()
            del tensor
        publisher.expect_leased(1)
        for number in range(8, 28):
            publisher.push(number, late=False)
            subscriber.read()
        assert not stream.query(), 'the kernel is still to run'
        stream.synchronize()
        assert torch.equal(copy, picture_of(7, publisher.lines))
        publisher.expect_leased(0)
    probe.probe_close(publisher.probe)


def test_cupy(directory):
    """CuPy sees each frame whole, in place"""
    cupy = import_cupy()
    publisher = Publisher(directory)
    torch.cuda.synchronize()
    with subscribe(gpu=gpu, start='oldest') as subscriber:
        for number in range(5):
            publisher.push(number)
            frame = subscriber.read()
            array = cupy.from_dlpack(frame.planes[0])
            assert array.data.ptr == frame.planes[0].address and array.shape == (HEIGHT, WIDTH)
            assert (array == cupy.asarray(picture_of(number, publisher.lines))).all()
        del frame, array
        publisher.expect_leased(0)
    probe.probe_close(publisher.probe)


def test_host(directory):
    """PyTorch and NumPy take frames in host memory by DLPack, in place"""
    import numpy
    process = Process(options.feed, '--size=64x48', '--format=GRAY8', 'cam2')
    with subscribe('cam2', gpu=gpu) as subscriber:
        process.child.stdin.write(bytes(range(256)) * 12)
        plane = subscriber.read().planes[0]
        tensor, array = torch.from_dlpack(plane), numpy.from_dlpack(plane)
        assert tensor.data_ptr() == array.ctypes.data == plane.address and not array.flags.writeable
        assert array.tobytes() == tensor.numpy().tobytes() == bytes(range(256)) * 12


if __name__ == '__main__':
    main([test_torch, test_held, test_cupy, test_host])
