# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Python sees of the libraries and elements by GObject introspection: enough to use them."""
import mmap
import os
import resource
import signal
import sys

from tools_fixture import main, wait_until

try:
    import gi
except ImportError:
    print('skip: PyGObject is not installed')
    sys.exit(77)

gi.require_version('Gst', '1.0')
gi.require_version('GstVideo', '1.0')
gi.require_version('GstCuframes', '1.0')
from gi.repository import GLib, GObject, Gst, GstCuframes, GstVideo  # noqa: E402

CAPS = 'video/x-raw,format=NV12,width=64,height=48,framerate=30/1'
HAVE_CUDA = hasattr(GstCuframes, 'CudaVmmAllocator')


def read_descriptor(fd, offset, size):
    with mmap.mmap(fd, offset + size, prot=mmap.PROT_READ) as memory:
        data = memory[offset:offset + size]
    os.close(fd)
    return data


def start_pool(pool, caps):
    config = pool.get_config()
    Gst.BufferPool.config_set_params(config, Gst.Caps.from_string(caps), 64 * 72, 0, 0)
    return pool.set_config(config) and pool.set_active(True)


def test_allocator(directory):
    """memory of the host allocator is shareable from Python"""
    allocator = GstCuframes.CuframesHostAllocator.new()
    assert isinstance(allocator, Gst.Allocator)
    buffer = Gst.Buffer.new_allocate(allocator, 5000, None)
    memory = buffer.peek_memory(0)
    assert GstCuframes.is_cuframes_host_memory(memory) and memory.is_type(GstCuframes.CUFRAMES_HOST_MEMORY_TYPE)
    buffer.fill(100, b'written in Python')
    fd, offset = GstCuframes.cuframes_host_memory_export_fd(memory)
    assert read_descriptor(fd, offset, 5000)[100:117] == b'written in Python'
    assert not GstCuframes.is_cuframes_host_memory(Gst.Buffer.new_allocate(None, 10, None).peek_memory(0))


def test_pool(directory):
    """the pool hands out slots, and tells a Python function why it cannot"""
    pool, said = GstCuframes.CuframesPool.new(4), []
    pool.set_error_func(lambda text: said.append(text))
    start_pool(pool, CAPS)
    result, buffer = pool.acquire_buffer(None)
    assert result == Gst.FlowReturn.OK and GstCuframes.is_cuframes_host_memory(buffer.peek_memory(0))
    del buffer
    assert pool.set_active(False) and not said
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        assert not start_pool(pool, CAPS) and len(said) == 1 and said[0]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_elements(directory):
    """properties and enums are described, with their defaults, and can be set by their nicks"""
    for name in ('cuframessink', 'cuframessrc'):
        element = Gst.ElementFactory.make(name)
        own = [spec for spec in element.list_properties() if spec.owner_type == element.__gtype__]
        assert len(own) > 8
        for spec in own:
            assert spec.blurb and spec.nick and len(spec.blurb) > 10, spec.name
            if spec.flags & GObject.ParamFlags.READABLE:
                element.get_property(spec.name)
    sink = Gst.ElementFactory.make('cuframessink')
    assert sink.props.overflow.value_nick == 'drop'
    sink.props.overflow = 'evict'
    assert sink.props.overflow.value_nick == 'evict'
    source = Gst.ElementFactory.make('cuframessrc')
    source.props.delivery = 'latest'
    assert source.props.delivery.value_nick == 'latest'
    assert {'subscriber-added', 'subscriber-removed', 'evict', 'add'} <= set(GObject.signal_list_names(sink.__gtype__))


def test_signals(directory):
    """a program in Python sees subscribers come, reads the statistics, evicts one, and sees it go"""
    publisher = Gst.parse_launch(f'videotestsrc is-live=true ! {CAPS} ! cuframessink name=sink channel=cam1')
    subscriber = Gst.parse_launch('cuframessrc channel=cam1 reconnect=false ! fakesink sync=false')
    sink, added, removed = publisher.get_by_name('sink'), [], []
    sink.connect('subscriber-added', lambda _, number, about: added.append((number, about.get_value('pid'))))
    sink.connect('subscriber-removed', lambda _, number, about: removed.append(number))
    publisher.set_state(Gst.State.PLAYING)
    subscriber.set_state(Gst.State.PLAYING)
    wait_until(lambda: sink.props.num_subscribers == 1 and added, 'a subscriber')
    number, pid = added[0]
    assert pid == os.getpid()
    wait_until(lambda: sink.props.stats.get_value('frames') > 3, 'frames')
    assert sink.emit('evict', number) is True and sink.emit('evict', 4711) is False
    subscriber.set_state(Gst.State.NULL)
    wait_until(lambda: removed == [number], 'it goes')
    publisher.set_state(Gst.State.NULL)


def test_devices(directory):
    """a device monitor in Python lists a channel, and makes its element"""
    monitor = Gst.DeviceMonitor.new()
    monitor.add_filter('Video/Source', None)
    publisher = Gst.parse_launch(f'videotestsrc is-live=true ! {CAPS} ! cuframessink channel=cam1')
    publisher.set_state(Gst.State.PLAYING)
    assert monitor.start()

    def find():
        return [device for device in monitor.get_devices() or () if device.get_display_name() == 'cam1']
    wait_until(find, 'a device')
    device = find()[0]
    assert device.get_properties().get_value('channel') == 'cam1'
    assert device.create_element(None).get_factory().get_name() == 'cuframessrc'
    monitor.stop()
    publisher.set_state(Gst.State.NULL)


def test_cuda(directory):
    """GstCudaVmmAllocator is a GstCuda.CudaAllocator that takes its contexts and shares its memory"""
    gi.require_version('GstCuda', '1.0')
    from gi.repository import GstCuda
    assert GObject.type_is_a(GstCuframes.CudaVmmAllocator, GstCuda.CudaAllocator)
    assert GObject.type_is_a(GstCuframes.CuframesCudaPool, GstCuda.CudaBufferPool)
    assert GstCuda.cuda_load_library()
    context = GstCuda.CudaContext.new(0)
    allocator = GstCuframes.CudaVmmAllocator.new(context)
    info = GstVideo.VideoInfo()
    info.set_format(GstVideo.VideoFormat.NV12, 64, 48)
    memory = allocator.alloc(info)
    assert GstCuframes.is_cuda_vmm_memory(memory)
    fd, arena_size, offset = GstCuframes.cuda_vmm_memory_export_fd(memory)
    again = allocator.import_(info, fd, arena_size, offset, False)
    os.close(fd)
    assert GstCuframes.is_cuda_vmm_memory(again) and offset >= 4096 and arena_size > offset
    assert isinstance(GstCuframes.CuframesCudaPool.new(allocator, 4), Gst.BufferPool)
    try:
        allocator.import_(info, 0, arena_size, offset, False)
        assert False, 'it is refused'
    except GLib.Error as error:
        assert error.message


if __name__ == '__main__':
    Gst.init(None)
    main([test_allocator, test_pool, test_elements, test_signals, test_devices] + [test_cuda] * HAVE_CUDA)
