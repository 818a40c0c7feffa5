# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs docs/recipes.md: each box in the very words of the page, in a channel directory and a folder of its own."""
import contextlib
import functools
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys

from tools_fixture import BOUND_S, Process, Skip, main, options, wait_until

BOX = re.compile(r'^```(\w+) ([\w-]+)\n(.*?)^```$', re.MULTILINE | re.DOTALL)
# How Frigate calls FFmpeg around a camera's paths and input_args: its documented defaults.
FRIGATE_GLOBAL = '-hide_banner -loglevel warning -threads 2'
FRIGATE_DETECT = '-r 5 -vf fps=5,scale=1280:720 -threads 2 -f rawvideo -pix_fmt yuv420p pipe:'
FRIGATE_RECORD = '-f segment -segment_time 10 -segment_format mp4 -reset_timestamps 1 -strftime 1 -c copy -an'
# Some of the programs start a pipeline, decode and encode: more than the tests of one program do.
LONG_S = 60

with open(options.page) as file:
    page = file.read()
boxes = {name: text for _, name, text in BOX.findall(page) if name != 'not-run'}
ran, skipped = set(), []
camera_program = os.path.abspath(options.camera)


def inside(test):
    """In the test's own folder, where the page's files go."""
    @functools.wraps(test)
    def run(directory):
        os.chdir(directory)
        try:
            test(directory)
        except Skip:
            skipped.append(test)
            raise
    return run


def box(name):
    ran.add(name)
    return boxes[name]


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Skip(f'{program} is not installed')


@contextlib.contextmanager
def started(command, *, shell=True, ends=False, end_by=signal.SIGTERM, **rest):
    """A box that goes on until it is ended, with all that it started."""
    child = subprocess.Popen(['bash', '-c', command] if shell else command, stdin=subprocess.DEVNULL, start_new_session=True, **rest)
    try:
        yield child
        assert ends or child.poll() is None, f'"{command}" goes on'
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, end_by)
        try:
            child.wait(BOUND_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)


def finishes(command, **rest):
    """A box that ends by itself, and well."""
    arguments = command if isinstance(command, list) else ['bash', '-e', '-o', 'pipefail', '-c', command]
    result = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=LONG_S, **rest)
    assert result.returncode == 0, f'"{command}" ends with {result.returncode}: {result.stderr.decode()[-2000:]}'
    return result.stdout


def probe(path):
    """What ffprobe counts in a file: codec, width, height, frames."""
    text = finishes(['ffprobe', '-v', 'error', '-count_frames', '-select_streams', 'v', '-show_entries',
                     'stream=codec_name,width,height,nb_read_frames', '-of', 'json', path])
    stream = json.loads(text)['streams'][0]
    return stream['codec_name'], stream['width'], stream['height'], int(stream['nb_read_frames'])


def is_live(name):
    result = subprocess.run(['cuframes-top', '--once', '--json', '--interval=0.1', name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            stdin=subprocess.DEVNULL, timeout=BOUND_S)
    return result.returncode == 0


def await_channel(*names):
    for name in names:
        wait_until(lambda: is_live(name), f'{name} is live')


@contextlib.contextmanager
def camera():
    """Sets CAMERA to one of our own, as the page's first box leaves it."""
    process = Process(camera_program, '--width=640', '--height=360')
    os.environ['CAMERA'] = process.expect('rtsp://')
    finishes(box('camera') + 'test "$CAMERA" = ' + shlex.quote(os.environ['CAMERA']))
    try:
        yield process
    finally:
        del os.environ['CAMERA']


@contextlib.contextmanager
def published(name='publish'):
    with camera(), started(box(name), stdout=subprocess.DEVNULL):
        await_channel('cam1', 'cam1.packets')
        yield


def count_sessions():
    """Established connections to the camera's port, of which each RTSP session over TCP has one."""
    port = int(re.search(r':(\d+)/', os.environ['CAMERA']).group(1))
    with open('/proc/net/tcp') as table:
        lines = [line.split() for line in table][1:]
    return sum(int(words[2].split(':')[1], 16) == port and words[3] == '01' for words in lines)


def test_look(directory):
    """the test picture is published, listed, and one frame of it becomes a picture"""
    with started(box('test-picture'), stdout=subprocess.DEVNULL):
        await_channel('cam1')
        text = finishes(box('look'))
        assert b'NV12 1280x720' in text, text
        with open('cam1.png', 'rb') as picture:
            assert picture.read(8) == b'\x89PNG\r\n\x1a\n'


def test_record(directory):
    """FFmpeg records the camera's packets, from now on and from before"""
    need('ffmpeg', 'ffprobe')
    with published():
        finishes(box('ffmpeg-record'))
        assert count_sessions() == 1
        finishes(box('ffmpeg-before'))
    for path, seconds in (('cam1.mkv', 10), ('event.mkv', 3)):
        codec, width, height, frames = probe(path)
        assert (codec, width, height) == ('h264', 640, 360) and frames > 10 * seconds, (codec, width, height, frames)
        length = float(finishes(['ffprobe', '-v', 'error', '-show_entries', 'format=duration', '-of', 'csv=p=0', path]))
        assert abs(length - seconds) < 0.5, (path, length)


def test_pipeline(directory):
    """a pipeline publishes pictures and packets of one session too"""
    need('ffprobe')
    with published('publish-pipeline'):
        finishes('cuframes-cat --frames=60 cam1.packets > cam1.mkv')
        finishes('cuframes-cat --frames=30 cam1 > cam1.y4m')
        assert count_sessions() == 1
    assert probe('cam1.mkv') == ('h264', 640, 360, 60)
    assert probe('cam1.y4m') == ('rawvideo', 640, 360, 30)


def test_encode(directory):
    """FFmpeg encodes the pictures"""
    need('ffmpeg', 'ffprobe')
    with started(box('test-picture'), stdout=subprocess.DEVNULL):
        await_channel('cam1')
        finishes(box('ffmpeg-encode'))
    assert probe('cam1.mp4') == ('h264', 1280, 720, 60)


def test_ffmpeg_publishes(directory):
    """FFmpeg publishes, through GStreamer and through feed"""
    need('ffmpeg', 'ffprobe')
    for name, channel in (('ffmpeg-publish', 'cam2'), ('ffmpeg-feed', 'cam3')):
        with started(box(name), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            await_channel(channel)
            finishes(f'cuframes-cat --frames=20 {channel} > {channel}.y4m')
        assert probe(f'{channel}.y4m') == ('rawvideo', 640, 360, 20)


def test_opencv(directory):
    """OpenCV reads pictures, by GStreamer and as arrays, and both see the same brightness"""
    try:
        import cv2  # noqa: F401
    except ImportError:
        raise Skip('OpenCV for Python is not installed') from None
    with started(box('test-picture'), stdout=subprocess.DEVNULL):
        await_channel('cam1')
        seen = [finishes([sys.executable, '-c', box(name)]).decode().rsplit(' ', 1) for name in ('opencv-capture', 'opencv-arrays')]
        assert all(shape == '(720, 1280, 3)' for shape, _ in seen), seen
        assert abs(float(seen[0][1]) - float(seen[1][1])) < 5, seen
    with published():
        assert finishes([sys.executable, '-c', box('opencv-grey')]) == b'I420 (360, 640)\n'


def test_containers(directory):
    """two programs with namespaces of their own share a directory alone"""
    need('unshare')
    if subprocess.run(['unshare', '--mount', '--pid', '--ipc', '--net', '--uts', '--fork', 'true'], stderr=subprocess.DEVNULL).returncode != 0:
        raise Skip('this user may not make namespaces')
    # The first process of a namespace hears only what it handles, which is Ctrl-C.
    with started(box('containers-publisher'), end_by=signal.SIGINT, stdout=subprocess.DEVNULL):
        await_channel('inside')
        finishes(box('containers-subscriber'))


def load_yaml(name):
    try:
        import yaml
    except ImportError:
        raise Skip('PyYAML is not installed') from None
    return yaml.safe_load(box(name))


def check_compose():
    """One volume, which both services mount in one place, and the page's script as the command of the first."""
    compose = load_yaml('frigate-compose')
    assert set(compose) == {'services', 'volumes'} and set(compose['services']) == {'cuframes', 'frigate'} and set(compose['volumes']) == {'cuframes'}
    for service in compose['services'].values():
        assert 'image' in service and 'cuframes:/run/cuframes' in service['volumes']
    first = compose['services']['cuframes']
    assert first['command'] == ['sh', '/pipes.sh'] and './pipes.sh:/pipes.sh:ro' in first['volumes']
    assert first['environment']['CUFRAMES_DIR'] == '/run/cuframes' and 'CAMERA' in first['environment']


def inputs_of_frigate():
    """(path, input_args) by role."""
    inputs = load_yaml('frigate-config')['cameras']['cam1']['ffmpeg']['inputs']
    return {role: (entry['path'], entry['input_args']) for entry in inputs for role in entry['roles']}


def frigate_ffmpeg(role, directory, output):
    path, arguments = inputs_of_frigate()[role]
    here = os.path.join(directory, os.path.basename(path))
    assert os.path.dirname(path) == '/run/cuframes' and stat.S_ISFIFO(os.stat(here).st_mode), here
    return ['ffmpeg', *FRIGATE_GLOBAL.split(), *arguments.split(), '-i', here, *output.split()]


def test_frigate(directory):
    """Frigate's two FFmpegs read the pipes of one session, and again after they were started again"""
    need('ffmpeg', 'ffprobe')
    check_compose()
    with open('pipes.sh', 'w') as script:
        script.write(box('frigate-pipes'))
    with camera(), started(['sh', 'pipes.sh'], shell=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        await_channel('cam1', 'cam1.packets')
        for attempt in range(2):
            record = subprocess.Popen(frigate_ffmpeg('record', directory, f'{FRIGATE_RECORD} cam1@%s-{attempt}.mp4'), stdin=subprocess.DEVNULL)
            detect = subprocess.Popen(frigate_ffmpeg('detect', directory, FRIGATE_DETECT), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
            try:
                for _ in range(20):
                    assert len(detect.stdout.read(1280 * 720 * 3 // 2)) == 1280 * 720 * 3 // 2
                assert count_sessions() == 1
                wait_until(lambda: any(name.endswith(f'-{attempt}.mp4') and os.path.getsize(name) > 65536 for name in os.listdir()), 'a recording')
            finally:
                detect.kill()
                detect.communicate()
                record.send_signal(signal.SIGINT)
                record.wait(BOUND_S)
            name, = [name for name in os.listdir() if name.endswith(f'-{attempt}.mp4')]
            codec, width, height, frames = probe(name)
            assert (codec, width, height) == ('h264', 640, 360) and frames > 10, (codec, width, height, frames)


def test_go2rtc(directory):
    """the command of go2rtc's exec source writes a stream that FFmpeg knows by itself"""
    need('ffprobe')
    source = load_yaml('go2rtc')['streams']['cam1']
    assert source.startswith('exec:')
    command = shlex.split(source[len('exec:'):])
    with published(), started(command, shell=False, ends=True, stdout=subprocess.PIPE) as source:
        text = subprocess.run(['ffprobe', '-v', 'error', '-read_intervals', '%+2', '-count_packets', '-show_entries',
                               'stream=codec_name,width,height,nb_read_packets:format=format_name', '-of', 'json', '-i', 'pipe:0'],
                              stdin=source.stdout, stdout=subprocess.PIPE, timeout=LONG_S).stdout
        found = json.loads(text)
        assert found['format']['format_name'] == 'mpegts' and found['streams'][0]['codec_name'] == 'h264', found
        assert int(found['streams'][0]['nb_read_packets']) > 30
        source.stdout.close()
        source.wait(BOUND_S)


def test_obs(directory):
    """the pipeline for OBS runs into a sink of the name that OBS gives it"""
    with started(box('test-picture'), stdout=subprocess.DEVNULL):
        await_channel('cam1')
        finishes(f'gst-launch-1.0 {box("obs").strip()} identity name=video eos-after=30 ! fakesink')


def test_page(directory):
    """every box of the page was run, or stands where the page says that it is not"""
    for match in BOX.finditer(page):
        if match.group(2) == 'not-run':
            section = page[page.rindex('\n## ', 0, match.start()):match.start()]
            assert re.search(r'\bnot run\b', section, re.IGNORECASE), section
    assert page.count('```') == 2 * len(BOX.findall(page))
    if skipped:
        raise Skip('some of them could not be run here')
    assert ran == set(boxes), f'{set(boxes) ^ ran} is on the page and was not run, or was run and is not on the page'


if __name__ == '__main__':
    tests = [test_look, test_record, test_pipeline, test_encode, test_ffmpeg_publishes, test_opencv, test_containers, test_frigate, test_go2rtc, test_obs]
    main([inside(test) for test in tests + [test_page] * (not options.only)], 480)
