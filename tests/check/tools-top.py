# SPDX-License-Identifier: LGPL-2.1-or-later
"""cuframes-top: what it says of channels, that it says it in order, and what it costs."""
import json
import os
import pty
import resource
import select
import signal
import socket
import time

from tools_fixture import DONE, NO_CHANNEL, USAGE, BOUND_S, Process, Skip, fails, feed, main, options, publish, run

LIVE = 'videotestsrc is-live=true ! video/x-raw,format=NV12,width=64,height=48,framerate=50/1'
SMALL = 'video/x-raw,format=NV12,width=64,height=48,framerate=30/1'


def look(*arguments):
    result = run(options.top, '--once', '--json', '--interval=0.3', *arguments)
    assert result.returncode == DONE, result.stderr
    return {channel['channel']: channel for channel in json.loads(result.stdout)['channels']}


def wait_until(arguments, is_so):
    """Looks until it is so; the last look."""
    end = time.monotonic() + BOUND_S
    while True:
        channels = look(*arguments)
        if is_so(channels):
            return channels
        assert time.monotonic() < end, channels


def test_figures(directory):
    """the figures of a live channel and its subscribers are there"""
    publisher = publish(LIVE)
    subscriber = Process(options.element, '--role', 'pipeline', 'cuframessrc name=cuframes channel=cam1 ! fakesink')
    subscriber.expect('playing')
    channel = wait_until([], lambda all: all['cam1']['num_subscribers'] == 1 and all['cam1']['subscribers'][0]['delivered'] > 20)['cam1']
    assert channel['state'] == 'live' and channel['pid'] == publisher.pid
    assert channel['memory'] == 'host' and channel['slots'] > 1 and channel['memory_bytes'] > 64 * 48
    assert channel['format'].startswith('video/x-raw') and 'NV12' in channel['format'] and '50/1' in channel['format']
    assert 30 < channel['fps'] < 70, channel['fps']
    assert channel['frames'] > 20 and channel['drops'] == 0 and 0 <= channel['age_ns'] < 2e9
    assert [s['pid'] for s in channel['subscribers']] == [subscriber.pid]
    one = channel['subscribers'][0]
    assert one['name'] == 'element-discovery', one['name']
    assert one['missed'] == 0 and not one['observer'] and one['attached_ns'] > 0


def test_dead(directory):
    """what does not answer is listed as such and holds nobody up"""
    publish(LIVE, 'live')
    killed, stopped = feed('killed', SMALL, 1), feed('stopped', SMALL, 1)
    killed.kill()
    stopped.signal(signal.SIGSTOP)
    os.waitpid(stopped.pid, os.WUNTRACED)
    stranger = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stranger.bind(os.path.join(directory, 'stranger.sock'))
    stranger.listen()
    with open(os.path.join(directory, 'file.sock'), 'w'):
        pass
    channels = wait_until([], lambda all: all['live']['state'] == 'live')
    assert {name: channel['state'] for name, channel in channels.items()} == {
        'live': 'live', 'killed': 'gone', 'stopped': 'silent', 'stranger': 'refused', 'file': 'gone'}, channels
    assert all(channel['reason'] for name, channel in channels.items() if name != 'live')
    table = run(options.top, '-1', '-i0.1').stdout.decode()
    assert 'gone: ' in table and 'silent: ' in table and 'refused: ' in table
    stranger.close()


def test_teller(directory):
    """a publisher that never stops answering holds nobody up"""
    publish(LIVE, 'live')
    teller = Process(options.teller, os.path.join(directory, 'teller.sock'))
    teller.expect('open')
    result = run(options.top, '--json', '--interval=0.05', '--rounds=100')
    assert result.returncode == DONE and result.stdout.count(b'\n') == 100, result
    channels = json.loads(result.stdout.splitlines()[-1])['channels']
    assert {channel['channel']: channel['state'] for channel in channels} == {'live': 'live', 'teller': 'live'}, channels


def test_interval(directory):
    """an interval without end is one look"""
    feed('cam1', SMALL, 1)
    top = Process(options.top, '--json', '--interval=inf')
    assert json.loads(top.read_line())['channels'][0]['state'] == 'live'
    # Looks for as long as others take theirs would be lines by now.
    look()
    top.signal(signal.SIGINT)
    assert top.child.wait(BOUND_S) == DONE
    assert not top.text and not top.child.stdout.read()


def test_follows(directory):
    """channels that come, go and come back are followed"""
    top = Process(options.top, '--json', '--interval=0.05')
    for action, state in ((feed, 'live'), (None, 'gone'), (feed, 'live')):
        if action is None:
            publisher.kill()
        else:
            publisher = action('cam1', SMALL, 1)
        for _ in range(int(BOUND_S / 0.05)):
            channels = json.loads(top.read_line())['channels']
            if channels and channels[0]['state'] == state:
                break
        assert channels and channels[0]['state'] == state, channels
    publisher.end()
    for _ in range(int(BOUND_S / 0.05)):
        channels = json.loads(top.read_line())['channels']
        if not channels:
            break
    assert not channels
    top.signal(signal.SIGINT)
    assert top.child.wait(BOUND_S) == DONE


def test_order(directory):
    """channels are sorted by what was asked for"""
    for i, name in enumerate(('b', 'c10', 'c9', 'a')):
        feed(name, f'video/x-raw,format=NV12,width={(i + 1) * 256},height=480,framerate=30/1', i + 1)
    order = lambda *arguments: list(look(*arguments))
    assert order() == ['a', 'b', 'c9', 'c10'], order()
    assert order('--reverse') == ['c10', 'c9', 'b', 'a']
    assert order('--sort=memory') == ['a', 'c9', 'c10', 'b'], order('--sort=memory')
    assert order('-s', 'age') == ['b', 'c10', 'c9', 'a'], order('-s', 'age')
    assert order('c9', 'b') == ['b', 'c9']
    assert order('--sort=bitrate') == ['a', 'b', 'c9', 'c10'], order('--sort=bitrate')


def test_names(directory):
    """named channels are asked alone, and a missing one is an exit status"""
    feed('cam1', SMALL, 1)
    assert list(look('cam1', os.path.join(directory, 'cam1.sock'))) == [os.path.join(directory, 'cam1.sock'), 'cam1']
    os.mkdir(os.path.join(directory, '.deeper'))
    for path in ('./cam1.sock', '../cam1.sock', '../.deeper/../cam1.sock'):
        result = run(options.top, '-1j', '-i0.1', path, cwd=os.path.join(directory, '' if path.startswith('./') else '.deeper'))
        assert result.returncode == DONE and json.loads(result.stdout)['channels'][0]['state'] == 'live', (path, result)
    result = run(options.top, '-1', '-i0.1', 'cam1', 'nosuch')
    assert result.returncode == NO_CHANNEL and b'nosuch' in result.stdout
    result = run(options.top, '-1', '-i0.1', '-d', '/nonexistent')
    assert result.returncode == DONE


def test_bad_input(directory):
    """a wrong command line is one line and status 2"""
    for part, arguments in (('--nosuch', ['--nosuch']), ('speed', ['--sort=speed']), ('0.001', ['-i', '0.001']), ('abc', ['-i', 'abc']),
                            ('-1', ['-n', '-1']), ('--sort', ['--sort']), ('.x', ['.x']), ('long', ['x' * 200]), ('long', ['-d', 'x' * 200])):
        fails(USAGE, part, options.top, *arguments)
    fails(1, 'standard output', 'sh', '-c', f'exec {options.top} -1 -i0.1 >/dev/full')
    fails(1, 'closed', 'sh', '-c', f'exec {options.top} -1 -i0.1 >&-')
    for option in ('--help', '--version'):
        fails(1, 'No space', 'sh', '-c', f'exec {options.top} {option} >/dev/full')
    assert b'Usage' in run(options.top, '--help').stdout
    assert run(options.top, '--version').stdout.startswith(b'cuframes-top ')


def test_foreign_text(directory):
    """names from elsewhere do nothing to the terminal and keep the JSON whole"""
    name = 'x\x1b[2J"\\\u00e9\u202e'
    feed(name, SMALL, 1)
    assert list(look()) == [name]
    table = run(options.top, '-1', '-i0.1').stdout
    assert b'\x1b' not in table and '\u00e9'.encode() in table and '\u202e'.encode() not in table


def read_screen(terminal, part):
    text, end = b'', time.monotonic() + BOUND_S
    while part not in text:
        assert time.monotonic() < end and select.select([terminal], [], [], BOUND_S)[0], text
        text += os.read(terminal, 65536)
    return text


def test_terminal(directory):
    """on a terminal it draws a screen, takes keys, and leaves it as it was"""
    feed('cam1', SMALL, 1)
    try:
        pid, terminal = pty.fork()
    except OSError as why:
        raise Skip(str(why))
    if pid == 0:
        os.execv(options.top, [options.top, '--interval=0.2'])
    read_screen(terminal, b'NV12 64x48 30')
    os.write(terminal, b's')
    read_screen(terminal, b'by fps')
    os.write(terminal, b'jkcrq')
    text = b''
    while True:
        assert select.select([terminal], [], [], BOUND_S)[0]
        try:
            more = os.read(terminal, 65536)
        except OSError:
            break
        if not more:
            break
        text += more
    assert text.endswith(b'\x1b[?25h\x1b[?1049l'), text[-40:]
    assert os.waitpid(pid, 0)[1] == 0
    os.close(terminal)


def test_cost(directory):
    """fifty channels cost it less than 2 % of a core and them no frame"""
    channels = Process(options.channels, '50', '30')
    channels.expect('open')
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    result = run(options.top, '--json', '--rounds=6', '--interval=1')
    passed, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    looks = [json.loads(line)['channels'] for line in result.stdout.splitlines()]
    assert len(looks) == 6 and all(len(look) == 50 for look in looks)
    assert all(channel['state'] == 'live' for look in looks for channel in look)
    assert all(20 < channel['fps'] < 40 for channel in looks[-1]), [channel['fps'] for channel in looks[-1]]
    packets = [channel for channel in looks[-1] if channel['kind'] == 'packets']
    assert len(packets) == 25 and all(abs(channel['bits_per_second'] - channel['fps'] * 80000) < 1000 for channel in packets), packets[0]
    assert all(channel['kind'] == 'frames' and channel['bits_per_second'] > 0 for channel in looks[-1] if channel not in packets)
    share = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / passed
    print(f'  {share * 100:.2f} % of a core')
    channels.child.stdin.close()
    frames, drops = channels.read_line().split()
    assert channels.child.wait(BOUND_S) == 0
    assert int(frames) > 50 * 100 and int(drops) == 0
    if 'CUFRAMES_TEST_SLOW' in os.environ:
        raise Skip('figures of time mean nothing here')
    assert share < 0.02, share


if __name__ == '__main__':
    main([test_figures, test_dead, test_teller, test_interval, test_follows, test_order, test_names, test_bad_input, test_foreign_text, test_terminal, test_cost])
