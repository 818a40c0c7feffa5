# SPDX-License-Identifier: LGPL-2.1-or-later
"""cuframes-publish: files and cameras become channels, which stay while their sources come and go."""
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import threading
import time

from tools_fixture import DONE, FAILED, NO_CHANNEL, NO_SOURCE, USAGE, BOUND_S, Process, Skip, fails, main, options, probe, run, wait_until

STREAM = 'video/x-raw,format=I420,width=64,height=48,framerate=30/1'


def make(directory, description, name):
    """A file of GStreamer's making."""
    path = os.path.join(directory, name)
    process = Process(options.element, '--role', 'pipeline', f'{description} ! filesink location={path}')
    process.expect('playing')
    process.say('eos')
    process.expect('eos 1')
    process.end()
    return path


def make_movie(directory, frames=60, name='movie.mp4', more=''):
    return make(directory, f'{more} videotestsrc num-buffers={frames} ! {STREAM} ! x264enc key-int-max=15 bframes=2 ! h264parse ! mp4mux name=mux', name)


class Publisher(Process):
    """cuframes-publish with its lines of JSON."""

    def __init__(self, *arguments, **rest):
        super().__init__(options.publish, '--channel=cam1', '--json', '--interval=0.1', *arguments, **rest)

    def await_event(self, name, is_so=lambda event: True):
        end = time.monotonic() + BOUND_S
        while True:
            event = json.loads(self.read_line())
            if event['event'] == name and is_so(event):
                return event
            assert time.monotonic() < end, event

    def finish(self, number=signal.SIGINT):
        self.signal(number)
        return self.child.wait(BOUND_S)


class Camera(Process):
    def __init__(self, codec='h264', port=0, *more):
        super().__init__(options.camera, codec, str(port), *more, stderr=subprocess.DEVNULL)
        self.uri = self.expect('rtsp://')
        self.port = int(re.search(r':(\d+)/', self.uri).group(1))

    def count_sessions(self):
        self.say('sessions')
        return [int(word) for word in self.expect('sessions').split()[1:]]


class Catcher(Process):
    """Reads the numbers in the frames of a channel."""

    def __init__(self, properties='channel=cam1'):
        super().__init__(options.element, '--role', 'catcher', properties)
        self.expect('open')
        self.last = None

    def take_frame(self):
        while True:
            line = self.read_line()
            if line.startswith('frame '):
                self.last = int(line.split()[1])
                return self.last
            assert line == 'caps', line

    def take_frames(self, count):
        return [self.take_frame() for _ in range(count)]

    def drain(self):
        """To the end of the stream; whether all frames were whole, in order and there once."""
        while True:
            line = self.read_line()
            if line.startswith('sound '):
                return line == 'sound 1'
            assert line.startswith('frame ') or line == 'caps', line


def test_file(directory):
    """a file is published whole and as fast as it is read, and its end is the end"""
    movie = make_movie(directory)
    publisher = Publisher(movie, '--no-packets', '--wait-for-subscribers=1')
    result = run(options.cat, '--format=raw', 'cam1')
    assert result.returncode == DONE and len(result.stdout) == 60 * 64 * 48 * 3 // 2, len(result.stdout)
    assert publisher.child.wait(BOUND_S) == DONE
    url = 'file://' + movie
    publisher = Publisher(url, '--no-packets', '--wait-for-subscribers=1')
    assert len(run(options.cat, '--format=raw', 'cam1').stdout) == 60 * 64 * 48 * 3 // 2
    assert publisher.child.wait(BOUND_S) == DONE


def test_packets_of_file(directory):
    """the packets of a file arrive with their times, and what they are piped to is complete"""
    movie = make_movie(directory)
    publisher = Publisher(movie, '--no-frames', '--wait-for-subscribers=1')
    copy = os.path.join(directory, 'copy.mp4')
    done = run('sh', '-c', f'{options.cat} --start=oldest cam1.packets | ffmpeg -v error -i - -c copy {copy}')
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert publisher.child.wait(BOUND_S) == DONE
    for path in (movie, copy):
        name, frames, length_s = probe(path)
        assert (name, frames) == ('h264', 60) and abs(length_s - 2) < 0.1, (path, name, frames, length_s)


def test_named_pipe(directory):
    """a named pipe is published when somebody writes to it, and waiting for that is ended by a signal"""
    movie = make(directory, f'videotestsrc num-buffers=30 ! {STREAM} ! x264enc key-int-max=15 ! mpegtsmux', 'movie.ts')
    path = os.path.join(directory, 'pipe')
    os.mkfifo(path)
    publisher = Publisher(path, '--no-packets')
    publisher.await_event('status')
    assert publisher.finish(signal.SIGTERM) == DONE
    publisher = Publisher(path, '--no-packets', '--wait-for-subscribers=1')
    publisher.await_event('status')
    reader = subprocess.Popen([options.cat, '--format=raw', '--timeout=inf', 'cam1'], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    with open(movie, 'rb') as file, open(path, 'wb') as pipe:
        pipe.write(file.read())
    assert len(reader.communicate(timeout=BOUND_S)[0]) == 30 * 64 * 48 * 3 // 2
    assert publisher.child.wait(BOUND_S) == DONE


def test_blocked(directory):
    """a second signal ends it while its main thread waits for what does not answer"""
    number = {'x86_64': '257', 'aarch64': '56'}.get(os.uname().machine)
    if number is None or not os.path.exists('/proc/self/syscall'):
        raise Skip('where a process waits is not known here')
    movie = make_movie(directory, 15)
    publisher = Publisher(movie, '--no-packets', '--realtime', '--loop')
    publisher.await_event('live')
    # It was a file when it was looked at first.
    pipe = os.path.join(directory, 'pipe')
    os.mkfifo(pipe)
    os.rename(pipe, movie)

    def opens():
        with open(f'/proc/{publisher.pid}/syscall') as file:
            return file.read().split()[0] == number

    wait_until(opens, 'the file is opened again')
    # Two of a kind could be one.
    publisher.signal(signal.SIGTERM)
    publisher.signal(signal.SIGINT)
    assert publisher.child.wait(BOUND_S) == DONE


def test_loop(directory):
    """a file in a loop goes on at its own speed for the same subscribers, without a copy"""
    movie = make_movie(directory, 15)
    publisher = Publisher(movie, '--no-packets', '--realtime', '--loop')
    reader = Process(options.element, '--role', 'pipeline', 'cuframessrc name=cuframes channel=cam1 ! fakesink')
    reader.expect('playing')
    status = publisher.await_event('status', lambda event: event['connections'] >= 4 and event['frames'] > 45)
    assert status['state'] == 'live' and status['uptime_s'] > 1.3 and status['copies'] == 0 and status['drops'] == 0, status
    for field, value in (('stat connections', 1), ('stat missed', 0)):
        reader.say(field)
        assert reader.expect('stat') == f'stat {value}'
    assert publisher.finish() == DONE
    reader.say('eos')
    reader.expect('eos 1')


class Recorder(Process):
    """Writes the packets of a channel to a file, in the manner of the manual."""

    def __init__(self, directory, codec, muxer):
        self.path = os.path.join(directory, 'record.' + muxer)
        super().__init__(options.element, '--role', 'pipeline',
                         f'cuframessrc name=cuframes channel=cam1.packets start=oldest ! {codec}parse ! {muxer}mux ! filesink location={self.path}')
        self.expect('playing')

    def get(self, field):
        self.say('stat ' + field)
        return int(self.expect('stat').split()[1])

    def finish(self):
        self.say('eos')
        self.expect('eos 1')
        return self.get('delivered')


def discover_s(path):
    found = re.search(r'Duration: (\d+):(\d+):([\d.]+)', run('gst-discoverer-1.0', path).stdout.decode())
    return int(found[1]) * 3600 + int(found[2]) * 60 + float(found[3])


def count_decoded(directory, path):
    raw = make(directory, f'filesrc location={path} ! decodebin ! video/x-raw,format=I420', 'raw')
    return os.path.getsize(raw) / (160 * 120 * 3 / 2)


def check_recording(directory, path, codec, packets):
    """It plays to its end, and everybody finds the same in it."""
    name, frames, length_s = probe(path)
    assert name == {'h264': 'h264', 'h265': 'hevc'}[codec] and frames == packets, (name, frames, packets)
    assert abs(discover_s(path) - length_s) < 0.002 and length_s > 0.5, (discover_s(path), length_s)
    assert count_decoded(directory, path) == frames
    return length_s


def watch_camera(directory, codec):
    camera = Camera(codec)
    publisher = Publisher(camera.uri)
    publisher.await_event('live')
    recorders = [Recorder(directory, codec, muxer) for muxer in ('mp4', 'matroska')]
    catchers = [Catcher(), Catcher()]
    for catcher in catchers:
        numbers = catcher.take_frames(45)
        assert numbers == list(range(numbers[0], numbers[0] + 45)), numbers
    assert camera.count_sessions() == [1, 1]
    status = publisher.await_event('status', lambda event: event['subscribers'] == 2 and event['packet_subscribers'] == 2)
    assert status['drops'] == 0 and status['copies'] == 0 and status['packet_drops'] == 0 and status['bits_per_second'] > 0, status
    assert publisher.finish(signal.SIGTERM) == DONE
    assert all(catcher.drain() for catcher in catchers)
    for recorder in recorders:
        packets = recorder.finish()
        assert recorder.get('missed') == 0
        assert abs(check_recording(directory, recorder.path, codec, packets) - packets / 30) < 0.5
    assert camera.count_sessions()[0] == 1


def test_h264(directory):
    """one session to an H.264 camera serves detectors and recorders, and SIGTERM ends their streams"""
    watch_camera(directory, 'h264')


def test_h265(directory):
    """one session to an H.265 camera serves detectors and recorders"""
    watch_camera(directory, 'h265')


def test_camera_restarts(directory):
    """a camera that is killed and comes back is found again, and subscribers stay connected"""
    camera = Camera()
    publisher = Publisher(camera.uri)
    publisher.await_event('live')
    recorder = Recorder(directory, 'h264', 'mp4')
    catcher = Catcher()
    catcher.take_frames(40)
    camera.kill()
    lost = publisher.await_event('lost')
    assert 0.3 < lost['delay_s'] < 0.7 and 'channels stay open' in lost['text'], lost
    again = publisher.await_event('lost')
    assert 0.7 < again['delay_s'] < 1.3, again
    camera = Camera('h264', camera.port)
    assert 'back' in publisher.await_event('live')['text']
    last = catcher.last
    while catcher.take_frame() > last:
        last = catcher.last
    before = recorder.get('delivered')
    catcher.take_frames(30)
    assert publisher.await_event('status', lambda event: event['state'] == 'live')['connections'] == 2
    assert publisher.finish() == DONE
    assert catcher.drain()
    packets = recorder.finish()
    assert packets > before + 20 and recorder.get('connections') == 1 and recorder.get('missed') == 0
    check_recording(directory, recorder.path, 'h264', packets)


def test_joins_between_key_pictures(directory):
    """a connection that begins between two key pictures is published from the second on"""
    camera = Camera()
    other = Process(options.publish, '--quiet', '--channel=other', '--no-frames', camera.uri, stderr=subprocess.DEVNULL)
    watcher = Process(options.cat, '--frames=5', '--timeout=inf', 'other.packets')
    assert watcher.child.wait(BOUND_S) == DONE
    publisher = Publisher(camera.uri, '--no-frames')
    publisher.await_event('live')
    recorder = Recorder(directory, 'h264', 'matroska')
    publisher.await_event('status', lambda event: event['packets'] > 40)
    assert camera.count_sessions() == [2, 2]
    assert publisher.finish() == DONE
    check_recording(directory, recorder.path, 'h264', recorder.finish())
    other.signal(signal.SIGINT)
    assert other.child.wait(BOUND_S) == DONE


def test_camera_comes_later(directory):
    """a camera that is not there yet is waited for as long as told"""
    camera = Camera()
    camera.kill()
    fails(NO_SOURCE, '127.0.0.1', options.publish, '-c', 'cam1', '-t', '0', '--no-packets', '-q', camera.uri)
    publisher = Publisher(camera.uri, '--no-packets', '--timeout=inf')
    assert 'does not come' in publisher.await_event('lost')['text']
    publisher.await_event('lost')
    camera = Camera('h264', camera.port)
    publisher.await_event('live')
    assert publisher.finish() == DONE


def test_camera_hangs(directory):
    """a camera that says nothing any more is given up and tried again"""
    camera = Camera()
    publisher = Publisher(camera.uri, '--no-packets', '--stall=1')
    publisher.await_event('live')
    camera.signal(signal.SIGSTOP)
    assert 'no picture' in publisher.await_event('lost')['text']
    camera.signal(signal.SIGCONT)
    publisher.await_event('live')
    assert publisher.finish() == DONE


def test_no_reconnect(directory):
    """without reconnection the camera's end is a failure, of which subscribers are told"""
    camera = Camera()
    publisher = Publisher(camera.uri, '--no-packets', '--no-reconnect', stderr=subprocess.PIPE)
    publisher.await_event('live')
    catcher = Catcher()
    catcher.take_frames(5)
    camera.kill()
    assert publisher.child.wait(BOUND_S) == FAILED
    text = publisher.child.stderr.read().decode()
    publisher.child.stderr.close()
    assert text.count('\n') == 1 and 'rtsp://' in text, text
    assert catcher.drain()


class Server:
    """Answers what is asked on a port, one request for each connection or as many as come."""

    def __init__(self, answer, stays=False):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.answer = answer
        self.stays = stays
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
                with connection:
                    while request := connection.recv(65536):
                        connection.sendall(self.answer(request))
                        if not self.stays:
                            break
            except OSError:
                if self.listener.fileno() < 0:
                    return


def test_http(directory):
    """over HTTP a file has an end, and a stream without a length is a camera"""
    movie = make(directory, f'videotestsrc num-buffers=30 ! {STREAM} ! x264enc key-int-max=15 ! mpegtsmux', 'movie.ts')
    with open(movie, 'rb') as file:
        data = file.read()
    server = Server(lambda request: b'HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n' % len(data) + data)
    publisher = Publisher(f'http://127.0.0.1:{server.port}/movie.ts', '--no-packets', '--wait-for-subscribers=1')
    assert len(run(options.cat, '--format=raw', 'cam1').stdout) == 30 * 64 * 48 * 3 // 2
    assert publisher.child.wait(BOUND_S) == DONE
    server.listener.close()
    server = Server(lambda request: b'HTTP/1.0 200 OK\r\n\r\n' + data)
    publisher = Publisher(f'http://127.0.0.1:{server.port}/live', '--no-packets')
    publisher.await_event('live')
    assert 'ended the stream' in publisher.await_event('lost')['text']
    assert 'back' in publisher.await_event('live')['text']
    assert publisher.finish() == DONE
    server.listener.close()


def test_password(directory):
    """a camera that wants another password is not asked again and again"""
    def answer(request):
        number = re.search(rb'CSeq: *(\d+)', request)
        return b'RTSP/1.0 401 Unauthorized\r\nCSeq: %s\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n' % (number[1] if number else b'0')

    server = Server(answer, stays=True)
    fails(NO_SOURCE, 'nauthorized', options.publish, '-qc', 'cam1', '--timeout=inf', f'rtsp://guest:wrong@127.0.0.1:{server.port}/camera')
    server.listener.close()


def test_slow_decoder(directory):
    """what the decoder has no time for is left out up to a key picture, and the packets have it all"""
    camera = Camera()
    publisher = Publisher(camera.uri, '--latency=0', '--overflow=wait', '--overflow-timeout=inf')
    publisher.await_event('live')
    catcher = Catcher()
    catcher.take_frames(5)
    catcher.signal(signal.SIGSTOP)
    before = publisher.await_event('status', lambda event: event['skipped'] > 0)
    after = publisher.await_event('status', lambda event: event['packets'] > before['packets'] + 10)
    assert after['frames'] == before['frames'] and after['state'] == 'live', after
    catcher.signal(signal.SIGCONT)
    end = publisher.await_event('status', lambda event: event['frames'] > after['frames'] + 60)
    assert end['packet_drops'] == 0
    assert publisher.finish() == DONE
    assert catcher.drain()


def test_raw(directory):
    """a source of raw video has no packets, and says so"""
    path = make(directory, f'videotestsrc num-buffers=30 ! {STREAM} ! y4menc', 'raw.y4m')
    publisher = Publisher(path, '--wait-for-subscribers=1')
    assert len(run(options.cat, '--format=raw', 'cam1').stdout) == 30 * 64 * 48 * 3 // 2
    assert 'no packets' in publisher.await_event('note')['text']
    assert publisher.child.wait(BOUND_S) == DONE


def test_sound(directory):
    """sound is left out with one line, or published as it is"""
    camera = Camera('h264', 0, 'sound')
    publisher = Publisher(camera.uri, '--no-packets')
    publisher.await_event('live')
    assert '--audio' in publisher.await_event('note')['text']
    assert publisher.finish() == DONE
    publisher = Publisher(camera.uri, '--audio', '--no-frames')
    publisher.await_event('live')
    sound = run(options.cat, '--frames=10', 'cam1.audio')
    assert sound.returncode == DONE and probe(sound.stdout)[:2] == ('pcm_alaw', 10), sound.stderr
    assert publisher.finish() == DONE


def test_decoder(directory):
    """the decoder is the one that was asked for, or none"""
    movie = make_movie(directory)
    publisher = Publisher(movie, '--no-packets', '--decoder=software')
    assert 'avdec_h264' in publisher.await_event('live')['text']
    assert publisher.child.wait(BOUND_S) == DONE
    if run('gst-inspect-1.0', '--exists', 'nvh264dec').returncode != 0:
        fails(NO_SOURCE, 'NVIDIA', options.publish, '-qc', 'cam1', '--no-packets', '--decoder=nvidia', movie)


def test_status(directory):
    """the status is one line a time, in place on a terminal alone"""
    movie = make_movie(directory)
    arguments = [options.publish, '-c', 'cam1', '--no-packets', '--realtime', '--loop', '-i', '0.1', movie]
    publisher = Process(*arguments, stderr=subprocess.DEVNULL)
    lines = [publisher.read_line() for _ in range(5)]
    assert all(re.fullmatch(r'cam1: \w+  in [\d.]+ fps [\d.]+ Mbit/s  out [\d.]+ fps  drops 0  skipped 0  subscribers 0, of packets 0', line)
               for line in lines), lines
    publisher.signal(signal.SIGHUP)
    assert publisher.child.wait(BOUND_S) == DONE
    try:
        pid, terminal = pty.fork()
    except OSError as why:
        raise Skip(str(why))
    if pid == 0:
        os.execv(options.publish, arguments)
    text, end = b'', time.monotonic() + BOUND_S
    while text.count(b'\r\x1b[K') < 3:
        assert time.monotonic() < end and select.select([terminal], [], [], BOUND_S)[0], text
        text += os.read(terminal, 65536)
    os.write(terminal, b'\x03')
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)


class UnreadTerminal:
    """A full terminal that nobody reads any more, or one with room for some lines."""

    def __init__(self, has_room):
        try:
            self.master, self.end = pty.openpty()
        except OSError as why:
            raise Skip(str(why))
        # Of another open file: the program's own is to block.
        filler = os.open(os.ttyname(self.end), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
        try:
            while True:
                os.write(filler, b'x' * 4096)
        except BlockingIOError:
            pass
        os.close(filler)
        while has_room and self.is_full():
            os.read(self.master, 16)

    def is_full(self):
        return not select.select([], [self.end], [], 0)[1]

    def close(self):
        os.close(self.master)
        os.close(self.end)


def test_unread_terminal(directory):
    """a terminal that nobody reads holds up neither the channels nor the end"""
    movie = make_movie(directory, 15)
    terminal = UnreadTerminal(has_room=True)
    publisher = Publisher(movie, '--no-packets', '--realtime', '--loop', stdout=terminal.end)
    catcher = Catcher()
    # Three seconds, in which lines come that the terminal has no room for. Each turn of the loop begins on the thread that writes them.
    catcher.take_frames(90)
    assert publisher.finish(signal.SIGTERM) == DONE
    terminal.close()
    terminal = UnreadTerminal(has_room=False)
    requests = []
    server = Server(lambda request: requests.append(request) or b'')
    publisher = Process(options.publish, '-qc', 'cam1', '-t', 'inf', '--no-packets', f'rtsp://127.0.0.1:{server.port}/x', stderr=terminal.end)
    wait_until(lambda: len(requests) >= 3, 'the source is tried again')
    publisher.signal(signal.SIGTERM)
    assert publisher.child.wait(BOUND_S) == DONE
    server.listener.close()
    terminal.close()


def test_secret(directory):
    """user and password of a URI are never shown"""
    camera = Camera()
    publisher = Publisher(camera.uri.replace('://', '://guest:hidden@'), '--no-packets', stderr=subprocess.PIPE)
    assert 'hidden' not in publisher.await_event('live')['text']
    with open(f'/proc/{publisher.pid}/cmdline') as file:
        assert 'hidden' not in file.read()
    camera.kill()
    assert 'hidden' not in publisher.await_event('lost')['text']
    assert publisher.finish() == DONE
    assert b'hidden' not in publisher.child.stderr.read()
    publisher.child.stderr.close()
    fails(NO_SOURCE, '127.0.0.1', options.publish, '-qc', 'cam1', '-t0', '--no-packets', 'rtsp://guest:hidden@127.0.0.1:1/x')


def test_secret_of_error(directory):
    """a password that an element's error repeats is not shown when a file over HTTP breaks"""
    movie = make(directory, f'videotestsrc num-buffers=300 ! {STREAM} ! x264enc key-int-max=15 ! mpegtsmux', 'movie.ts')
    with open(movie, 'rb') as file:
        data = file.read()
    is_live, requests = threading.Event(), []

    def answer(request):
        requests.append(request)
        if len(requests) > 1:
            assert is_live.wait(BOUND_S)
            return b'HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n'
        return b'HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n' % len(data) + data[:len(data) // 2]

    server = Server(answer)
    publisher = Publisher(f'http://guest:hidden@127.0.0.1:{server.port}/movie.ts', '--no-packets', stderr=subprocess.PIPE)
    publisher.await_event('live')
    is_live.set()
    assert publisher.child.wait(BOUND_S) == FAILED
    text = publisher.child.stderr.read().decode()
    publisher.child.stderr.close()
    server.listener.close()
    assert text.count('\n') == 1 and '127.0.0.1' in text and 'hidden' not in text and 'guest' not in text, text


def test_bad_input(directory):
    """bad input is one line and a status that says which kind"""
    movie = make_movie(directory, 15)
    for part, arguments in (('--channel', []), ('--channel', [movie]), ('--channel', ['-c', 'cam1']), ('--nosuch', ['--nosuch']), ('-c', ['-c']),
                            ('nosuch://', ['-c', 'cam1', 'nosuch://x']), ('fast', ['-c', 'cam1', '-d', 'fast', movie]), ('x', ['-t', 'x', '-c', 'cam1', movie]),
                            ('pigeon', ['--transport=pigeon', '-c', 'cam1', movie]), ('-5', ['-L', '-5', '-c', 'cam1', movie]), ('a/b', ['-c', 'a/b', movie]),
                            ('x' * 50, ['-c', 'x' * 200, movie]), ('from 2 to 64', ['-c', 'cam1', '--slots=1', movie]), ('999', ['--socket-mode=999', '-c', 'cam1', movie]),
                            ('overflow', ['-c', 'cam1', '--overflow=never', movie]), ('nothing is left', ['-c', 'cam1', '--no-frames', '--no-packets', movie]),
                            ('no caps', ['-c', 'cam1', '--caps=;;', movie]), ('V4L2', ['-c', 'cam1', '--caps=image/jpeg', movie]),
                            ('for files', ['-c', 'cam1', '--loop', 'rtsp://127.0.0.1:1/x']), ('other', ['-c', 'cam1', movie, 'other'])):
        fails(USAGE, part, options.publish, *arguments)
    text = os.path.join(directory, 'text')
    with open(text, 'w') as file:
        file.write('no video at all\n' * 100)
    sound = make(directory, 'audiotestsrc num-buffers=10 ! wavenc', 'sound.wav')
    for part, source in (('No such file', '/nonexistent'), ('directory', directory), ('no video device', '/dev/null'), ('No such file', 'v4l2:///dev/video99'),
                         ('text', text), ('no video', sound), ('reached', 'http://127.0.0.1:1/x'), ('127.0.0.1:1', 'rtsp://127.0.0.1:1/x')):
        fails(NO_SOURCE, part, options.publish, '-qc', 'cam1', '-t0', '--no-packets', source)
    if os.getuid() != 0:
        os.chmod(text, 0)
        fails(NO_SOURCE, 'Permission', options.publish, '-c', 'cam1', text)
    publisher = Publisher(movie, '--no-packets', '--realtime', '--loop')
    publisher.await_event('live')
    fails(NO_CHANNEL, 'publisher already', options.publish, '-c', 'cam1', '--no-packets', movie)
    fails(NO_CHANNEL, 'CUFRAMES_DIR', options.publish, '-c', 'cam1', '--no-packets', movie, env=dict(os.environ, CUFRAMES_DIR='/proc/none'))
    fails(FAILED, 'No space', 'sh', '-c', f'exec {options.publish} -jc cam2 --no-packets {movie} >/dev/full')
    fails(FAILED, 'cuframessink', options.publish, '-c', 'cam2', movie,
          env=dict(os.environ, GST_PLUGIN_PATH='/nonexistent', GST_REGISTRY=os.path.join(directory, 'registry')))
    assert run('sh', '-c', f'exec {options.publish} -c cam2 --no-packets {movie} >&-').returncode == DONE
    assert publisher.finish() == DONE
    for option in ('--help', '--version'):
        fails(FAILED, 'No space', 'sh', '-c', f'exec {options.publish} {option} >/dev/full')
    assert b'Usage' in run(options.publish, '--help').stdout
    assert run(options.publish, '--version').stdout.startswith(b'cuframes-publish ')


if __name__ == '__main__':
    main([test_file, test_packets_of_file, test_named_pipe, test_blocked, test_loop, test_h264, test_h265, test_camera_restarts, test_joins_between_key_pictures, test_camera_comes_later, test_camera_hangs, test_no_reconnect,
          test_http, test_password, test_slow_decoder, test_raw,
          test_sound, test_decoder, test_status, test_unread_terminal, test_secret, test_secret_of_error, test_bad_input])
