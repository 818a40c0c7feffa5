# SPDX-License-Identifier: LGPL-2.1-or-later
"""cuframes-cat: the pixels it writes are those of the channel, and it ends when and how it should."""
import os
import shutil
import signal
import stat
import struct
import subprocess
import time

from tools_fixture import DONE, FAILED, NO_CHANNEL, USAGE, BOUND_S, Process, Skip, fails, feed, main, options, probe, publish, run

SIZE = 'width=66,height=50,framerate=30/1'
SMALL = 'video/x-raw,format=NV12,width=64,height=48,framerate=30/1'


def source(format, more=SIZE):
    return f'videotestsrc is-live=true pattern=gradient ! video/x-raw,format={format},{more}'


def cat(*arguments, channel='cam1'):
    result = run(options.cat, channel, *arguments)
    assert result.returncode == DONE, result.stderr
    return result.stdout


def parse_y4m(data):
    """The parameters of the first line and the frames."""
    header, rest = data.split(b'\n', 1)
    words = header.decode().split(' ')
    assert words[0] == 'YUV4MPEG2', words
    parameters = {word[0]: word[1:] for word in reversed(words[1:])}
    width, height = int(parameters['W']), int(parameters['H'])
    chroma, sample = parameters['C'], 2 if 'p1' in parameters['C'] or parameters['C'] == 'mono16' else 1
    shifts = {'420': (1, 1), '422': (1, 0), '411': (2, 0), '444': (0, 0)}
    size = width * height
    if not chroma.startswith('mono'):
        x, y = shifts[chroma[:3]]
        size += 2 * ((width + (1 << x) - 1) >> x) * ((height + (1 << y) - 1) >> y)
    size *= sample
    frames = []
    while rest:
        assert rest.startswith(b'FRAME\n') and len(rest) >= 6 + size, (len(rest), size)
        frames.append(rest[6:6 + size])
        rest = rest[6 + size:]
    return parameters, frames


def make_reference(directory, format):
    """What videotestsrc itself makes of that format, lines without padding."""
    path = os.path.join(directory, format)
    process = Process(options.element, '--role', 'pipeline', f'videotestsrc num-buffers=1 pattern=gradient ! video/x-raw,format={format},{SIZE} '
                      f'! filesink location={path}')
    process.expect('playing')
    process.say('eos')
    process.expect('eos 1')
    process.end()
    with open(path, 'rb') as file:
        return file.read()


def unpad(data, planes):
    lines, at = [], 0
    for width, height in planes:
        stride = (width + 3) // 4 * 4
        lines += [data[at + i * stride:at + i * stride + width] for i in range(height)]
        at += stride * height
    return b''.join(lines)


def test_pixels(directory):
    """the pixels are those that were published, without padding"""
    publish(source('I420'))
    expected = unpad(make_reference(directory, 'I420'), [(66, 50), (33, 25), (33, 25)])
    parameters, frames = parse_y4m(cat('--frames=5'))
    assert (parameters['W'], parameters['H'], parameters['F'], parameters['A'], parameters['I']) == ('66', '50', '30:1', '1:1', 'p')
    assert len(frames) == 5 and all(frame == expected for frame in frames)
    assert cat('-f', 'raw', '-n2') == 2 * expected


def test_raw_formats(directory):
    """raw frames are as they were published in every kind of layout"""
    for i, (format, planes) in enumerate((('NV12', [(66, 50), (66, 25)]), ('GRAY8', [(66, 50)]), ('RGB', [(198, 50)]), ('BGRx', [(264, 50)]),
                                          ('YUY2', [(132, 50)]), ('P010_10LE', [(132, 50), (132, 25)]))):
        publish(source(format), f'cam{i}')
        assert cat('--format=raw', '--frames=1', channel=f'cam{i}') == unpad(make_reference(directory, format), planes), format
    publish(source('v210'), 'packed')
    assert cat('--format=raw', '--frames=1', channel='packed') == make_reference(directory, 'v210')


def test_y4m_formats(directory):
    """Y4M keeps chroma, depth, interlacing, rate and pixel shape"""
    cases = (('NV12', SIZE, {'C': '420'}), ('YUY2', SIZE, {'C': '422'}), ('Y41B', SIZE, {'C': '411'}), ('RGB', SIZE, {'C': '444'}),
             ('GRAY8', SIZE, {'C': 'mono'}), ('P010_10LE', SIZE, {'C': '420p10'}), ('I422_12LE', SIZE, {'C': '422p12'}),
             ('I420', 'width=66,height=50,framerate=30000/1001,pixel-aspect-ratio=16/11', {'F': '30000:1001', 'A': '16:11'}),
             ('I420', SIZE + ',interlace-mode=interleaved,field-order=bottom-field-first', {'I': 'b'}))
    for i, (format, more, expected) in enumerate(cases):
        publish(source(format, more), f'cam{i}')
        parameters, frames = parse_y4m(cat('-n1', channel=f'cam{i}'))
        assert len(frames) == 1
        for key, value in expected.items():
            assert parameters[key].startswith(value), (format, more, parameters)


def test_ffmpeg(directory):
    """ffmpeg reads it as it comes"""
    if shutil.which('ffprobe') is None:
        raise Skip('ffprobe is not installed')
    publish(source('NV12'))
    data = cat('--frames=10')
    result = run('ffprobe', '-v', 'error', '-f', 'yuv4mpegpipe', '-count_frames', '-show_entries',
                 'stream=nb_read_frames,width,height,pix_fmt,r_frame_rate', '-of', 'csv=p=0', '-i', 'pipe:0', stdin=None, input=data)
    assert result.stdout.decode().strip() == '66,50,yuv420p,30/1,10', (result.stdout, result.stderr)


def test_png(directory):
    """one frame becomes a picture"""
    publish(source('NV12'))
    path = os.path.join(directory, 'x.png')
    assert cat('--png', path) == b''
    with open(path, 'rb') as file:
        start = file.read(24)
    assert start[:8] == b'\x89PNG\r\n\x1a\n' and struct.unpack('>II', start[16:]) == (66, 50)
    assert cat('--png=-').startswith(b'\x89PNG')
    assert cat('--png=-', '--format=raw').startswith(b'\x89PNG')


def test_png_to_others(directory):
    """a picture is written to a pipe, a device or a link's file, and none of them is replaced"""
    publish(source('NV12'))
    pipe, link, file, full = (os.path.join(directory, name) for name in ('pipe', 'link', 'x.png', 'full'))
    os.mkfifo(pipe)
    os.symlink(file, link)
    os.symlink('/dev/full', full)
    with open(file, 'wb') as old:
        old.write(b'x' * 1000000)
    reader = Process('cat', pipe)
    assert cat('--png', pipe) == b''
    assert reader.child.wait(BOUND_S) == 0 and reader.child.stdout.read().startswith(b'\x89PNG')
    assert cat('--png', link) == b''
    with open(file, 'rb') as picture:
        data = picture.read()
    assert data.startswith(b'\x89PNG') and len(data) < 1000000
    fails(FAILED, 'No space', options.cat, 'cam1', '--png', full)
    assert stat.S_ISFIFO(os.lstat(pipe).st_mode) and os.readlink(link) == file and os.readlink(full) == '/dev/full'


def test_png_unread(directory):
    """a picture for a pipe that nobody opens is given up at a signal"""
    publish(source('NV12'))
    pipe = os.path.join(directory, 'pipe')
    os.mkfifo(pipe)
    process = start_cat('cam1', '--verbose', '--png', pipe, stderr=subprocess.PIPE)
    assert process.child.stderr.readline().startswith(b'cuframes-cat: a picture')
    process.signal(signal.SIGTERM)
    assert process.child.wait(BOUND_S) == FAILED
    assert b'stopped' in process.child.stderr.read()
    process.child.stderr.close()


def start_cat(*arguments, **rest):
    return Process(options.cat, *arguments, **rest)


def test_signals(directory):
    """it ends at SIGINT and SIGTERM, read or unread, with whole frames so far"""
    publish(source('I420', 'width=640,height=480,framerate=30/1'))
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start_cat('cam1')
        process.expect('YUV4MPEG2')
        process.signal(number)
        assert process.child.wait(BOUND_S) == DONE
    # Before its signals are caught it may die of one; then it has written nothing either.
    waiting = start_cat('nosuch', '--timeout=inf')
    waiting.signal(signal.SIGINT)
    assert waiting.child.wait(BOUND_S) in (DONE, -signal.SIGINT)


def test_pipe(directory):
    """a reader that goes ends it at once, frames or not"""
    publish(source('I420'))
    process = start_cat('cam1')
    process.expect('YUV4MPEG2')
    process.child.stdout.close()
    assert process.child.wait(BOUND_S) == DONE
    process.child.stdout = open(os.devnull)
    feed('still', SMALL, 1)
    process = start_cat('still')
    process.expect('YUV4MPEG2')
    process.child.stdout.close()
    assert process.child.wait(BOUND_S) == DONE
    process.child.stdout = open(os.devnull)


def test_end(directory):
    """the end of the channel is its end, and a killed publisher a failure"""
    publisher = Process(options.element, '--role', 'pipeline', f'videotestsrc num-buffers=20 ! {SMALL} ! cuframessink name=cuframes channel=cam1 '
                        'wait-for-subscribers=1 overflow=wait')
    publisher.expect('playing')
    assert len(parse_y4m(cat())[1]) == 20
    publisher.end()
    publisher = feed('cam1', SMALL, 3)
    process = start_cat('cam1', stderr=subprocess.PIPE)
    process.expect('YUV4MPEG2')
    publisher.kill()
    assert process.child.wait(BOUND_S) == FAILED and process.child.stderr.read().count(b'\n') == 1
    process.child.stderr.close()


def test_reconnect(directory):
    """told so it waits for the publisher to come back"""
    publisher = publish(source('I420'))
    process = start_cat('cam1', '--reconnect', '--frames=200')
    process.expect('YUV4MPEG2')
    publisher.kill()
    publish(source('I420', SIZE))
    end, size = time.monotonic() + BOUND_S, 0
    while process.child.poll() is None:
        assert time.monotonic() < end
        size += len(os.read(process.child.stdout.fileno(), 65536))
    assert process.child.wait(BOUND_S) == DONE


def test_change(directory):
    """a change of format ends it with one line"""
    publisher = feed('cam1', SMALL, 1)
    process = start_cat('cam1', stderr=subprocess.PIPE)
    process.expect('YUV4MPEG2')
    publisher.say('caps video/x-raw,format=NV12,width=128,height=96,framerate=30/1')
    publisher.say('push 2 1')
    assert process.child.wait(BOUND_S) == FAILED
    text = process.child.stderr.read().decode()
    process.child.stderr.close()
    assert text.count('\n') == 1 and '64x48' in text and '128x96' in text, text


def publish_packets(codec='x264enc key-int-max=10 tune=zerolatency ! h264parse config-interval=-1'):
    return publish(f'videotestsrc is-live=true ! video/x-raw,width=64,height=48,framerate=30/1 ! {codec}', 'cam1.packets')


def test_packets(directory):
    """packets are written as a stream that decodes from its first byte, in each format"""
    publish_packets()
    for format, arguments in (('matroska', []), ('matroska', ['--format=mkv']), ('mpegts', ['--format=ts']), ('h264', ['--format=es']), ('ts', ['-fts', '-snext']),
                              ('es', ['-fes', '-soldest'])):
        assert probe(cat('--frames=25', *arguments, channel='cam1.packets'))[:2] == ('h264', 25), format
    oldest = probe(cat('-n20', '-soldest', channel='cam1.packets'))
    assert oldest[1] == 20, oldest
    fails(USAGE, 'not frames', options.cat, '--format=y4m', 'cam1.packets')
    fails(USAGE, 'not frames', options.cat, '--png=-', 'cam1.packets')
    feed('cam1', SMALL, 1)
    fails(USAGE, 'not packets', options.cat, '--format=ts', 'cam1')


def test_packet_kinds(directory):
    """packets that a container does not know are refused with one line, others are not changed"""
    publish_packets('jpegenc')
    assert cat('--format=es', '--frames=1', channel='cam1.packets')[:3] == b'\xff\xd8\xff'
    assert probe(cat('-n5', channel='cam1.packets'))[:2] == ('mjpeg', 5)
    fails(USAGE, 'image/jpeg', options.cat, '--format=ts', 'cam1.packets')


def test_bad_input(directory):
    """bad input is one line and a status that says which kind"""
    feed('cam1', SMALL, 1)
    for part, arguments in (('name a channel', []), ('--nosuch', ['--nosuch']), ('abc', ['-f', 'abc', 'cam1']), ('sometime', ['-s', 'sometime', 'cam1']), ('0', ['-n', '0', 'cam1']),
                            ('x', ['-t', 'x', 'cam1']), ('cam2', ['cam1', 'cam2']), ('not both', ['cam1', '-S', '/x']), ('--png', ['--png']),
                            ('a/b', ['a/b']), ('longer', ['x' * 200])):
        fails(USAGE, part, options.cat, *arguments)
    fails(NO_CHANNEL, 'nosuch', options.cat, 'nosuch', '-t', '0.1')
    fails(NO_CHANNEL, 'elsewhere', options.cat, '-S', os.path.join(directory, 'elsewhere'), '-t', '0')
    fails(FAILED, 'No space', 'sh', '-c', f'exec {options.cat} cam1 >/dev/full')
    fails(FAILED, 'nonexistent', options.cat, 'cam1', '--png=/nonexistent/x.png')
    fails(FAILED, 'cuframessrc', options.cat, 'cam1', env=dict(os.environ, GST_PLUGIN_PATH='/nonexistent', GST_REGISTRY=os.path.join(directory, 'registry')))
    fails(FAILED, 'closed', 'sh', '-c', f'exec {options.cat} cam1 >&-')
    for option in ('--help', '--version'):
        fails(FAILED, 'No space', 'sh', '-c', f'exec {options.cat} {option} >/dev/full')
    assert b'Usage' in run(options.cat, '--help').stdout
    assert run(options.cat, '--version').stdout.startswith(b'cuframes-cat ')


if __name__ == '__main__':
    main([test_pixels, test_raw_formats, test_y4m_formats, test_ffmpeg, test_png, test_png_to_others, test_png_unread, test_signals, test_pipe, test_end, test_reconnect, test_change,
          test_packets, test_packet_kinds,
          test_bad_input])
