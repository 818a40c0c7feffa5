# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the tests of the programs share: a channel directory for each test, publishers, and waits that have a bound."""
import argparse
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

BOUND_S = 20
DONE, FAILED, USAGE, NO_CHANNEL, NO_SOURCE = 0, 1, 2, 3, 4

parser = argparse.ArgumentParser()
# Programs are named from where Meson stands; tests may stand elsewhere.
for name in ('top', 'cat', 'element', 'channels', 'teller', 'probe', 'writer', 'feed', 'publish', 'camera', 'page'):
    parser.add_argument('--' + name, type=os.path.abspath)
parser.add_argument('--only', default='')
options = parser.parse_args()


class Skip(Exception):
    pass


class Process:
    """A child that speaks by lines. It is gone when the test ends."""
    all = []

    def __init__(self, *arguments, **rest):
        rest.setdefault('stdout', subprocess.PIPE)
        self.child = subprocess.Popen(arguments, stdin=subprocess.PIPE, bufsize=0, **rest)
        self.pid = self.child.pid
        self.text = b''
        Process.all.append(self)

    def read_line(self):
        end = time.monotonic() + BOUND_S
        while b'\n' not in self.text:
            left = end - time.monotonic()
            assert left > 0 and select.select([self.child.stdout], [], [], left)[0], 'no line in time'
            more = os.read(self.child.stdout.fileno(), 65536)
            assert more, 'the output ended before its line'
            self.text += more
        line, self.text = self.text.split(b'\n', 1)
        return line.decode()

    def expect(self, start):
        line = self.read_line()
        assert line.startswith(start), f'"{line}" starts with "{start}"'
        return line

    def say(self, line):
        self.child.stdin.write(line.encode() + b'\n')

    def end(self):
        self.child.stdin.close()
        return self.child.wait(BOUND_S)

    def kill(self):
        self.child.kill()
        self.child.wait(BOUND_S)

    def signal(self, number):
        self.child.send_signal(number)


def publish(description, channel='cam1', properties=''):
    """A pipeline into a channel, for as long as it is not ended."""
    process = Process(options.element, '--role', 'pipeline', f'{description} ! cuframessink name=cuframes channel={channel} {properties}')
    process.expect('playing')
    return process


def feed(channel, caps, count):
    """A channel with that many frames, and no more to come."""
    process = Process(options.element, '--role', 'feeder', f'channel={channel}')
    process.expect('open')
    process.say(f'caps {caps}')
    process.expect('caps 1')
    process.say(f'push 1 {count}')
    process.expect('pushed 0')
    return process


def run(*arguments, **rest):
    rest.setdefault('stdin', subprocess.DEVNULL)
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=BOUND_S, **rest)


def wait_until(condition, what):
    end = time.monotonic() + BOUND_S
    while not condition():
        assert time.monotonic() < end, f'{what} in time'
        time.sleep(0.002)


def probe(path):
    """What FFmpeg finds in a file or in bytes: the codec, the frames that it decodes without a complaint, the length in seconds."""
    data = path if isinstance(path, bytes) else None
    result = subprocess.run(['ffprobe', '-v', 'error', '-count_frames', '-show_entries', 'stream=codec_name,nb_read_frames:format=duration', '-of', 'json',
                             '-' if data else path], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=BOUND_S)
    assert result.returncode == 0 and not result.stderr, result.stderr
    found = json.loads(result.stdout)
    stream, = found['streams']
    return stream['codec_name'], int(stream['nb_read_frames']), float(found['format'].get('duration', 0))


def fails(status, part, *arguments, **rest):
    """It ends with that status and one line that says so."""
    result = run(*arguments, **rest)
    text = result.stderr.decode()
    assert result.returncode == status, f'{arguments} ends with {result.returncode}, not {status}: {text}'
    assert text.count('\n') == 1 and part in text, f'"{text}" is one line with "{part}"'


def main(tests, limit_s=240):
    failures = 0
    signal.alarm(limit_s)
    for test in tests:
        sentence = test.__doc__
        if options.only not in sentence:
            continue
        directory = tempfile.mkdtemp(prefix='cuframes-test-')
        os.environ['CUFRAMES_DIR'] = directory
        start, verdict = time.monotonic(), 'ok  '
        try:
            test(directory)
        except Skip as why:
            verdict, sentence = 'skip', f'{sentence}: {why}'
        except Exception:
            verdict = 'FAIL'
            failures += 1
            traceback.print_exc()
        for process in Process.all:
            if process.child.poll() is None:
                process.signal(signal.SIGCONT)
                process.kill()
            if process.child.stdout is not None:
                process.child.stdout.close()
        Process.all.clear()
        shutil.rmtree(directory, ignore_errors=True)
        print(f'{verdict} {sentence} ({(time.monotonic() - start) * 1000:.0f} ms)', flush=True)
    sys.exit(1 if failures else 0)
