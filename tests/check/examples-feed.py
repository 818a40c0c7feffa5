# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/feed: what goes in comes out, frame by frame, and it ends when and how it should."""
import signal
import subprocess

from python_fixture import import_numpy, subscribe
from tools_fixture import BOUND_S, DONE, FAILED, NO_CHANNEL, USAGE, Process, fails, main, options, publish, run

numpy = import_numpy()


def start(*arguments):
    process = Process(options.feed, *arguments, stderr=subprocess.PIPE)
    return process


def end(process):
    process.child.stdin.close()
    status, text = process.child.wait(BOUND_S), process.child.stderr.read().decode()
    process.child.stderr.close()
    return status, text


def test_bytes(directory):
    """every byte of every frame arrives, in every format"""
    for format, size in (('NV12', 66 * 50 * 3 // 2), ('I420', 66 * 50 * 3 // 2), ('GRAY8', 66 * 50), ('BGR', 66 * 50 * 3), ('RGB', 66 * 50 * 3)):
        pictures = [numpy.random.default_rng(i).integers(0, 256, size, numpy.uint8).tobytes() for i in range(10)]
        process = start('--size=66x50', f'--format={format}', '--fps=25', format.lower())
        with subscribe(format.lower(), start='oldest') as subscriber:
            for i, picture in enumerate(pictures):
                process.child.stdin.write(picture)
                frame = subscriber.read()
                assert (frame.sequence, frame.format, frame.width, frame.height, frame.duration_ns) == (i + 1, format, 66, 50, 40_000_000)
                assert b''.join(numpy.asarray(plane).tobytes() for plane in frame.planes) == picture
            assert end(process) == (DONE, 'feed: 10 frames published, 0 dropped\n')
            assert subscriber.read() is None


def test_elements(directory):
    """cuframessrc takes it as video of that format"""
    process = start('-s', '66x50', '-f', 'BGR', 'cam1')
    picture = bytes(i % 251 for i in range(66 * 50 * 3))
    process.child.stdin.write(picture)
    assert run(options.cat, '--format=raw', '--frames=1', 'cam1').stdout == picture
    assert end(process)[0] == DONE


def test_ends(directory):
    """it ends at SIGINT and SIGTERM, and says where the input ends within a frame"""
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start('-s', '64x64', 'cam1')
        with subscribe() as subscriber:
            process.child.stdin.write(bytes(64 * 96))
            subscriber.read()
            process.signal(number)
            assert process.child.wait(BOUND_S) == DONE and subscriber.read() is None
        assert end(process) == (DONE, 'feed: 1 frames published, 0 dropped\n')
    process = start('-s', '64x64', 'cam1')
    process.child.stdin.write(bytes(100))
    status, text = end(process)
    assert status == FAILED and 'within a frame: 100 bytes of 6144' in text, text


def test_drops(directory):
    """a subscriber that holds what it may costs dropped frames and stops nobody"""
    process = start('-s', '64x64', 'cam1')
    held = []
    with subscribe() as first, subscribe() as second, subscribe() as third, subscribe() as fourth:
        for _ in range(4):
            process.child.stdin.write(bytes(64 * 96))
            held += [subscriber.read() for subscriber in (first, second, third, fourth)]
        for _ in range(40):
            process.child.stdin.write(bytes(64 * 96))
        assert end(process) == (DONE, 'feed: 44 frames published, 0 dropped\n')
        assert len({frame.sequence for frame in held}) == 4


def test_bad_input(directory):
    """bad input is said in a line, with a status that says which kind"""
    for arguments in ([], ['cam1'], ['-s', '64x64'], ['-s', '63x64', 'cam1'], ['-s', '0x0', 'cam1'], ['-s', '64x64x', 'cam1'], ['-s', '64x70000', 'cam1'],
                      ['-s', '64x64', '-f', 'XYZ', 'cam1'], ['-s', '64x64', '-r', '0', 'cam1'], ['-s', '64x64', '--nosuch', 'cam1']):
        result = run(options.feed, *arguments)
        assert result.returncode == USAGE and b'Usage: ' in result.stderr, arguments
    fails(NO_CHANNEL, 'Invalid', options.feed, '-s', '64x64', '.x')
    publish('videotestsrc is-live=true')
    fails(NO_CHANNEL, 'another publisher', options.feed, '-s', '64x64', 'cam1')
    assert run(options.feed, '--help').stdout.startswith(b'Usage: ')


if __name__ == '__main__':
    main([test_bytes, test_elements, test_ends, test_drops, test_bad_input])
