# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/python/cuframes.py: arrays in the publisher's memory, for as long as they live."""
import ctypes
import gc
import os
import signal
import sys
import threading

import cuframes

from python_fixture import Capsule, Feeder, count_fds, import_numpy, number_of, probe, subscribe
from tools_fixture import main, options, publish, run, wait_until

numpy = import_numpy()
ROW = 'width=66,height=50,framerate=30/1'


def raises(kind, part, function, *arguments, **rest):
    try:
        function(*arguments, **rest)
    except kind as error:
        assert part in str(error), f'"{error}" says "{part}"'
        return
    assert False, f'{kind.__name__} is raised'


def test_layout(directory):
    """the structures of the module are those of the C headers"""
    found, structures = {}, (cuframes.FrameInfo, cuframes.Item, cuframes.SubscriberConfig, cuframes.SubscriberCounters)
    for structure in structures:
        found[structure.__name__] = f'{ctypes.sizeof(structure)}'
        for name, _ in structure._fields_:
            field = getattr(structure, name)
            found[f'{structure.__name__}.{name}'] = f'{field.offset} {field.size}'
    expected = dict(line.split(' ', 1) for line in probe.probe_layout().decode().splitlines())
    for name in expected:
        if name.isupper():
            found[name] = str(getattr(cuframes, name))
    assert found == expected, {name: (found.get(name), expected.get(name)) for name in {*found, *expected} if found.get(name) != expected.get(name)}


def test_in_place(directory):
    """every frame comes in order, and its array lies in the publisher's memory, read-only"""
    feeder = Feeder()
    with subscribe(start='oldest') as subscriber:
        for number in range(1, 41):
            feeder.push()
            frame = subscriber.read()
            assert number_of(frame) == number and frame.sequence == number and frame.missed == 0
            luma, chroma = (numpy.asarray(plane) for plane in frame.planes)
            assert luma.shape == (242, 322) and chroma.shape == (121, 161, 2) and luma.dtype == numpy.uint8
            assert luma.ctypes.data == frame.planes[0].address
        with open('/proc/self/maps') as maps:
            ranges = [(line.split()[0].split('-'), line) for line in maps]
        line = next(line for (start, end), line in ranges if int(start, 16) <= luma.ctypes.data < int(end, 16))
        assert ' r--s ' in line and 'memfd:' in line, line
        assert subscriber.stats['delivered'] == 40
        assert (frame.format, frame.width, frame.height) == ('NV12', 322, 242)


def test_holds(directory):
    """an array holds its frame, which stays as it is, and gives it back with the last reference"""
    feeder = Feeder(properties='slots=6')
    with subscribe() as subscriber:
        feeder.push()
        frame = subscriber.read()
        luma = numpy.asarray(frame.planes[0])[::2, ::2]
        memory = frame.planes[1].memory()
        before, bytes_before = luma.copy(), bytes(memory)
        del frame
        feeder.expect_leased(1)
        for _ in range(30):
            feeder.push()
            subscriber.read()
        feeder.expect_leased(1)
        assert (luma == before).all() and bytes(memory) == bytes_before and memory.readonly
        del luma
        feeder.expect_leased(1)
        del memory
        feeder.expect_leased(0)


def test_outlives(directory):
    """an array outlives its subscriber and its publisher"""
    feeder = Feeder()
    with subscribe() as subscriber:
        feeder.push()
        frame = subscriber.read()
    feeder.process.kill()
    del subscriber
    gc.collect()
    assert number_of(frame) == 1


def test_closed(directory):
    """a closed subscriber says so"""
    Feeder()
    subscriber = subscribe()
    subscriber.close()
    subscriber.close()
    raises(ValueError, 'closed', subscriber.read)


def test_read_only(directory):
    """nothing writes through an array"""
    feeder = Feeder()
    with subscribe() as subscriber:
        feeder.push()
        frame = subscriber.read()
        for array in (numpy.asarray(frame.planes[0]), numpy.from_dlpack(frame.planes[0]), numpy.frombuffer(frame.data.memory(), numpy.uint8)):
            assert not array.flags.writeable
            raises(ValueError, 'read-only', array.__setitem__, 0, 0)
        raises(ValueError, 'WRITEABLE', setattr, numpy.asarray(frame.planes[0]).flags, 'writeable', True)
        assert number_of(frame) == 1


def test_formats(directory):
    """in every layout the samples are where the shape says"""
    cases = {'I420': ((50, 66), (25, 33), (25, 33)), 'NV12': ((50, 66), (25, 33, 2)), 'Y42B': ((50, 66), (50, 33), (50, 33)), 'Y444': ((50, 66),) * 3,
             'NV16': ((50, 66), (50, 33, 2)), 'GRAY8': ((50, 66),), 'GRAY16_LE': ((50, 66),), 'RGB': ((50, 66, 3),), 'BGRx': ((50, 66, 4),),
             'ARGB': ((50, 66, 4),), 'P010_10LE': ((50, 66), (25, 33, 2)), 'I420_10LE': ((50, 66), (25, 33), (25, 33))}
    for format, shapes in cases.items():
        publish(f'videotestsrc is-live=true pattern=gradient ! video/x-raw,format={format},{ROW}', format.lower())
        expected = run(options.cat, '--format=raw', '--frames=1', format.lower()).stdout
        with subscribe(format.lower()) as subscriber:
            frame = subscriber.read()
            arrays = [numpy.asarray(plane) for plane in frame.planes]
            assert frame.format == format and tuple(array.shape for array in arrays) == shapes, (format, [array.shape for array in arrays])
            assert b''.join(array.tobytes() for array in arrays) == expected, format
    publish(f'videotestsrc is-live=true pattern=gradient ! video/x-raw,format=v210,{ROW}', 'packed')
    with subscribe('packed') as subscriber:
        frame = subscriber.read()
        assert frame.format is None and frame.planes == [] and numpy.asarray(frame.data).tobytes() == run(
            options.cat, '--format=raw', '--frames=1', 'packed').stdout


def check_tensor(capsule, plane, offset):
    """DLTensor of dlpack.h: data, device, ndim, type, shape, strides, byte offset."""
    data, device_type, device_id, ndim, code, bits, lanes, shape, strides, byte_offset = capsule.words('QiiiBBHQQQ', offset)
    count = len(plane.shape)
    assert (data, device_type, device_id, ndim, code, bits, lanes, byte_offset) == (plane.address, 1, 0, count, 1, 8, 1, 0)
    assert tuple((ctypes.c_int64 * count).from_address(shape)) == plane.shape
    assert tuple((ctypes.c_int64 * count).from_address(strides)) == plane.strides


def test_dlpack(directory):
    """the DLPack capsule has the layout of dlpack.h, old and new, and holds the frame until its deleter is called"""
    feeder = Feeder()
    with subscribe() as subscriber:
        feeder.push()
        frame = subscriber.read()
        plane = frame.planes[1]
        assert plane.__dlpack_device__() == (1, 0)
        assert (numpy.from_dlpack(plane) == numpy.asarray(plane)).all()
        old = Capsule(plane.__dlpack__(), b'dltensor')
        check_tensor(old, plane, 0)
        new = Capsule(plane.__dlpack__(max_version=(1, 1), dl_device=(1, 0), copy=False), b'dltensor_versioned')
        assert new.words('II') == (1, 0) and new.words('Q', 24) == (1,)
        check_tensor(new, plane, 32)
        unused = plane.__dlpack__()
        raises(ValueError, 'stream', plane.__dlpack__, stream=1)
        raises(BufferError, 'copy', plane.__dlpack__, copy=True)
        raises(BufferError, 'device', plane.__dlpack__, dl_device=(2, 0))
        del frame, plane
        old.delete(old.words('QQ', 48)[1])
        feeder.expect_leased(1)
        new.delete(new.words('Q', 16)[0])
        feeder.expect_leased(1)
        del unused
        feeder.expect_leased(0)


def test_budget(directory):
    """who holds all that it may is told so, and gets the next when it lets go"""
    feeder = Feeder(properties='max-leases=2')
    with subscribe() as subscriber:
        held = []
        for _ in range(2):
            feeder.push()
            held.append(subscriber.read())
        feeder.push()
        raises(BufferError, 'max-leases', subscriber.read)
        assert [number_of(frame) for frame in held] == [1, 2]
        held.pop()
        assert number_of(subscriber.read()) == 3


def test_latest(directory):
    """latest delivery jumps to the newest frame and counts what it missed"""
    feeder = Feeder()
    with subscribe(delivery='latest', name='sleeper') as subscriber:
        feeder.push()
        assert number_of(subscriber.read()) == 1
        feeder.push(5)
        frame = subscriber.read()
        assert number_of(frame) == 6 and frame.missed == 4


def test_end(directory):
    """the channel's end ends the loop, and a publisher's death raises"""
    feeder = Feeder()
    with subscribe(start='oldest') as subscriber:
        feeder.push(3)
        frames = iter(subscriber)
        assert [number_of(next(frames)) for _ in range(3)] == [1, 2, 3]
        feeder.process.end()
        assert next(frames, None) is None and subscriber.read() is None
    feeder = Feeder()
    with subscribe() as subscriber:
        feeder.push()
        subscriber.read()
        feeder.process.kill()
        raises(ConnectionResetError, 'died', subscriber.read)


def test_reconnect(directory):
    """told so it goes on with the next publisher"""
    feeder = Feeder()
    with subscribe(start='oldest', reconnect=True) as subscriber:
        feeder.push(2)
        assert [number_of(subscriber.read()) for _ in range(2)] == [1, 2]
        feeder.process.kill()
        feeder = Feeder()
        feeder.push(1)
        assert number_of(subscriber.read()) == 1 and subscriber.stats['connections'] == 2


def test_errors(directory):
    """what is wrong is said in one exception"""
    raises(ValueError, 'no name of a channel', subscribe, '.hidden')
    raises(OSError, 'nosuch', subscribe, '/' + 'nosuch/' * 40)
    raises(TimeoutError, 'nosuch', subscribe, 'nosuch', timeout_s=0.1)
    Feeder(properties='max-subscribers=1')
    with subscribe():
        raises(ConnectionRefusedError, 'cam1', subscribe)


def test_cancel(directory):
    """another thread ends a read, and so does Ctrl-C"""
    Feeder()
    with subscribe() as subscriber:
        thread = threading.Timer(0.05, subscriber.cancel)
        thread.start()
        assert subscriber.read() is None
        thread.join()
    with subscribe() as subscriber:
        thread = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        thread.start()
        raises(KeyboardInterrupt, '', subscriber.read)
        thread.join()


def test_descriptors(directory):
    """nothing is left of a hundred subscribers and their arrays"""
    feeder = Feeder(properties='max-subscribers=100')
    feeder.push()

    def visit():
        with subscribe(start='oldest') as subscriber:
            return numpy.asarray(subscriber.read().planes[0])
    visit()
    gc.collect()
    before = count_fds()
    for _ in range(100):
        visit()
    gc.collect()
    assert count_fds() == before and not cuframes._exports
    wait_until(lambda: feeder.stat('num-subscribers') == 0, 'all have left')


def test_example(directory):
    """the example says how bright a channel is, and in one line what is wrong"""
    publish('videotestsrc is-live=true pattern=white ! video/x-raw,format=NV12,width=320,height=240,framerate=30/1')
    program = os.path.join(os.path.dirname(cuframes.__file__), 'brightness.py')
    result = run(sys.executable, program, 'cam1', '5')
    lines = result.stdout.decode().splitlines()
    assert result.returncode == 0 and lines[-2].endswith('320x240 NV12, brightness 235.0') and lines[-1].startswith('5 frames, '), result
    for arguments, part in ((['.x'], 'no name'), ([], 'CHANNEL'), (['cam1', 'many'], 'CHANNEL')):
        result = run(sys.executable, program, *arguments)
        assert result.returncode == 1 and result.stderr.count(b'\n') == 1 and part in result.stderr.decode(), result


if __name__ == '__main__':
    main([test_layout, test_in_place, test_holds, test_outlives, test_closed, test_read_only, test_formats, test_dlpack, test_budget, test_latest, test_end,
          test_reconnect, test_errors, test_cancel, test_descriptors, test_example])
