# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of examples/python share: the C side's view of a picture and of its publisher, and waits that have a bound."""
import ctypes
import os
import struct
import sys

import cuframes
from tools_fixture import BOUND_S, Process, options, wait_until


def import_numpy():
    """The module, without which the test cannot be."""
    try:
        import numpy
    except ImportError:
        print('skip: NumPy is not installed')
        sys.exit(77)
    return numpy


CAPS = 'video/x-raw,format=NV12,width=322,height=242,framerate=30/1'


class StampPlane(ctypes.Structure):
    _fields_ = [('data', ctypes.c_void_p), ('stride_bytes', ctypes.c_ssize_t), ('line_bytes', ctypes.c_uint32), ('lines', ctypes.c_uint32)]


probe = ctypes.CDLL(options.probe)
probe.probe_layout.restype = ctypes.c_char_p
probe.probe_number.restype = probe.probe_claim.restype = ctypes.c_uint64
probe.probe_open.restype = ctypes.c_void_p
probe.probe_stamp.restype = probe.probe_publish.restype = ctypes.c_bool


def number_at(planes):
    """The frame's number in pictures at these (address, stride, bytes of a line, lines); 0 if they do not belong together."""
    array = (StampPlane * len(planes))(*planes)
    return probe.probe_number(array, ctypes.c_uint32(len(planes)))


def line_bytes(shape, itemsize):
    return itemsize * shape[1] * (shape[2] if len(shape) > 2 else 1)


def number_of(frame):
    return number_at([(plane.address, plane.strides[0], line_bytes(plane.shape, 1), plane.shape[0]) for plane in frame.planes])


class Feeder:
    """Publishes numbered frames, as many as it is told."""

    def __init__(self, channel='cam1', properties='', caps=CAPS, program=None, more=(), role='feeder'):
        self.process = Process(program or options.element, '--role', role, f'channel={channel} {properties}', *more)
        self.process.expect('open')
        self.begin(caps)
        self.last = 0

    def begin(self, caps):
        self.process.say(f'caps {caps}')
        assert self.process.expect('caps') in ('caps', 'caps 1')

    def push(self, count=1):
        self.process.say(f'push {self.last + 1} {count}')
        self.process.expect('pushed 0')
        self.last += count

    def stat(self, field):
        self.process.say(f'stat {field}')
        return int(self.process.expect('stat').split()[1])

    def expect_leased(self, count):
        wait_until(lambda: self.stat('slots-leased') == count, f'{count} slots are held')


def count_fds():
    return len(os.listdir('/proc/self/fd'))


def subscribe(channel='cam1', **rest):
    rest.setdefault('timeout_s', BOUND_S)
    return cuframes.Subscriber(channel, **rest)


class Capsule:
    """A managed tensor as its consumer sees it, whatever made it."""

    def __init__(self, capsule, kind):
        get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(('PyCapsule_GetPointer', ctypes.pythonapi))
        set_name = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(('PyCapsule_SetName', ctypes.pythonapi))
        self.raw, self.capsule, self.used = get_pointer(capsule, kind), capsule, b'used_' + kind
        set_name(capsule, self.used)

    def words(self, format, offset=0):
        return struct.unpack_from('=' + format, ctypes.string_at(self.raw + offset, struct.calcsize('=' + format)))

    def delete(self, deleter):
        """From a thread that knows nothing of Python, as a consumer's may be."""
        thread, function = ctypes.c_ulong(), ctypes.cast(deleter, ctypes.c_void_p)
        library = ctypes.CDLL(None)
        assert library.pthread_create(ctypes.byref(thread), None, function, ctypes.c_void_p(self.raw)) == 0
        assert library.pthread_join(thread, None) == 0
