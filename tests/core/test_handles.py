# SPDX-License-Identifier: MIT
"""The functions that libfuse calls: bytes without the GIL, errors by number, and what the log is told."""

import ctypes
import errno
import gc
import os
import sys
import threading
import weakref

import numpy as np
import pytest

from fastlegacy import _core, _serve, _view

SHAPE = (3, 8, 16)
ARRAY = np.arange(np.prod(SHAPE), dtype="<u2").reshape(SHAPE)
HEADER = b"a header of 32 bytes, and a dot."


class FileInfo(ctypes.Structure):
    """``struct fuse_file_info`` of libfuse 2: ``fh`` stands at byte 24 where a pointer has 8."""

    _fields_ = (
        ("flags", ctypes.c_int),
        ("fh_old", ctypes.c_ulong),
        ("writepage", ctypes.c_int),
        ("bits", ctypes.c_uint),
        ("fh", ctypes.c_uint64),
        ("lock_owner", ctypes.c_uint64),
    )


class Native:
    """The four functions, called as libfuse calls them: without the GIL."""

    def __init__(self, handles):
        info = ctypes.POINTER(FileInfo)
        carry = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64, info)
        end = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, info)
        self._read, self._write = carry(handles.read_address), carry(handles.write_address)
        self._flush, self._release = end(handles.flush_address), end(handles.release_address)

    def read(self, handle, size, offset):
        buffer = ctypes.create_string_buffer(b"\xa5" * (size + 8), size + 8)
        n = self._read(b"/name", buffer, size, offset, FileInfo(fh=handle))
        assert buffer.raw[max(n, 0) :] == b"\xa5" * (size + 8 - max(n, 0)) or n < 0
        return n if n < 0 else buffer.raw[:n]

    def write(self, handle, data, offset):
        return self._write(b"/name", data, len(data), offset, FileInfo(fh=handle))

    def flush(self, handle):
        return self._flush(b"/name", FileInfo(fh=handle))

    def release(self, handle):
        info = FileInfo(fh=handle)
        result = self._release(b"/name", info)
        assert info.fh == 0
        return result


@pytest.fixture
def handles():
    return _serve.Handles()


@pytest.fixture
def native(handles):
    return Native(handles)


def virtual_file(array=ARRAY, load=None, name="scan.h5::/entry/data"):
    files, cache = _core.Files(1), _core.Cache(1 << 20)
    if load is None:
        kind, more = "memory", {"memory": array.tobytes()}
        chunk = array.shape
    else:
        kind, more = "python", {"loader": load}
        chunk = (1, *array.shape[1:])
    dataset = _core.Dataset(name, array.shape, chunk, bytes(array.itemsize), files, cache, kind, **more)
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(array.shape)]
    stack = _core.Stack(array.shape, bytes(array.itemsize), [(dataset, axes, (0, 0, 0))])
    return _view.PieceFile(stack, [("literal", HEADER), ("pixels", 0, len(array), False)])


def test_fh_is_where_libfuse_has_it():
    assert FileInfo.fh.offset == 24


def test_virtual_file(handles, native):
    handle = handles.open_virtual(virtual_file(), "data.edf")
    whole = HEADER + ARRAY.tobytes()
    assert handles.size(handle) == len(whole)
    assert handles.fd(handle) == -1
    for offset, size in [(0, 10), (0, 10_000), (30, 5), (len(whole) - 1, 9), (len(whole), 9), (10**12, 9), (33, 0)]:
        assert native.read(handle, size, offset) == whole[offset : offset + size]
    assert native.write(handle, b"no", 0) == -errno.EBADF
    assert native.flush(handle) == 0
    assert native.release(handle) == 0
    counted = handles.statistics()
    assert (counted["opened"], counted["releases"], counted["flushes"]) == (1, 1, 1)
    assert (counted["reads"], counted["read_bytes"]) == (7, 10 + len(whole) + 5 + 1)
    assert counted["errors"] == counted["writes"] == 0
    assert counted["read_seconds"] >= 0
    assert handles.take_errors() == []


def test_the_file_outlives_the_one_who_opened_it(handles, native):
    handle = handles.open_virtual(virtual_file(), "data.edf")
    assert native.read(handle, 40, 32) == ARRAY.tobytes()[:40]
    native.release(handle)


class Chunks:
    """Where the chunks of a stack come from: it is there as long as the stack."""

    def __call__(self, number):
        return ARRAY[number].tobytes()


def test_a_stack_lives_as_long_as_a_file_of_it_is_open(handles, native):
    chunks = [Chunks() for _ in range(3)]
    files = [virtual_file(load=load) for load in chunks]
    stacks = [weakref.ref(load) for load in chunks]
    opened = [handles.open_virtual(file, "x") for file in (*files, files[0])]
    del files, chunks
    assert len(handles.sources) == 3
    native.release(opened[0])
    native.release(opened[1])
    handles.take_errors()
    gc.collect()
    assert [stack() is None for stack in stacks] == [False, True, False]
    assert native.read(opened[3], 4, 32) == ARRAY.tobytes()[:4]
    native.release(opened[3])
    handles.release(opened[2])
    handles.take_errors()
    gc.collect()
    assert [stack() is None for stack in stacks] == [True] * 3
    assert handles.sources == []


def test_ten_thousand_stacks_one_after_the_other_are_not_kept(handles, native):
    most = 0
    for i in range(10_000):
        native.release(handles.open_virtual(virtual_file(array=ARRAY[:1, :1, :1]), f"{i}"))
        if i % 100 == 99:
            most = max(most, len(handles.sources))
            handles.take_errors()
    assert most <= 100
    assert handles.sources == []


def test_threads_that_open_and_close_lose_nothing(handles, native):
    files = [virtual_file(name=f"{i}") for i in range(8)]

    def work(number):
        for i in range(300):
            file = files[(number + i) % len(files)]
            handle = handles.open_virtual(file, f"{i % 5}", i)
            assert native.read(handle, 4, 0) == HEADER[:4]
            handles.retire(f"{i % 5}", i, file.size)
            native.release(handle)
            if i % 10 == 0:
                handles.take_errors()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handles.take_errors()
    assert handles.sources == []
    counted = handles.statistics()
    assert counted["opened"] == counted["releases"] == 1200


def with_header(stack, header):
    return _view.PieceFile(stack, [("literal", header), ("pixels", 0, len(ARRAY), False)])


def test_handles_from_before_a_change(handles, native):
    stack = virtual_file().source
    old, same, new, longer = (with_header(stack, text) for text in (b"old", b"old", b"new", b"longer"))
    first = handles.open_virtual(old, "a/x", 1)
    others = [handles.open_virtual(old, "a/y", 1), handles.open_virtual(old, f"{'z' * 300}/x", 1)]
    assert handles.retire("a/x", 1, longer.size, longer) == (0, 0), "of this version"
    assert handles.retire("a/x", 2, new.size, new) == (0, 1)
    assert handles.retire("a/x", 2, new.size) == (0, 1)
    assert handles.retire("a/x", 2, same.size, same) == (0, 0), "the same bytes: it is of version 2 now"
    assert handles.retire("a/x", 2, new.size, new) == (0, 0)
    assert native.read(first, 3, 0) == b"old"
    assert handles.retire("a/x", 3, longer.size, longer) == (1, 1)
    assert handles.retire("a/x", 3, longer.size) == (0, 1), "it is told once"
    assert handles.is_stale(first)
    assert native.read(first, 3, 0) == -errno.ESTALE
    for other in others:
        assert not handles.is_stale(other)
        assert native.read(other, 3, 0) == b"old"
    native.release(first)
    assert handles.retire("a/x", 3, longer.size, longer) == (0, 0)
    assert handles.retire(f"{'z' * 300}/x", 2, new.size, new) == (0, 1)
    for other in others:
        native.release(other)


def test_files_are_the_same_only_with_the_same_text_and_pixels(handles, native):
    stack = virtual_file().source
    whole = with_header(stack, HEADER)
    handle = handles.open_virtual(whole, "x", 0)
    frame = [("literal", HEADER), ("pixels", 1, 1, False)]
    for version, other in enumerate(
        [
            virtual_file(),  # another stack
            with_header(stack, HEADER[:-1] + b"!"),
            _view.PieceFile(stack, [("literal", HEADER), ("pixels", 0, 3, True)]),
            _view.PieceFile(stack, [("literal", HEADER), ("padding", ARRAY.nbytes, 0)]),
            _view.PieceFile(stack, [("literal", HEADER), ("pixels", 0, 2, False), ("pixels", 2, 1, False)]),
        ],
        1,
    ):
        assert other.size == whole.size
        assert handles.retire("x", version, other.size, other) == (0, 1)
    native.release(handle)
    handle = handles.open_virtual(_view.PieceFile(stack, frame), "x", 0)
    first = _view.PieceFile(stack, [("literal", HEADER), ("pixels", 0, 1, False)])
    assert handles.retire("x", 1, first.size, first) == (0, 1)
    again = _view.PieceFile(stack, frame)
    assert handles.retire("x", 1, again.size, again) == (0, 0)
    native.release(handle)


def test_a_handle_is_settled_when_it_was_used_or_closed(handles, native):
    one, two = (handles.open_virtual(virtual_file(), "x") for _ in range(2))
    numbers = [handles.number(one), handles.number(two)]
    assert numbers[0] != numbers[1]
    assert [handles.is_settled("x", number) for number in numbers] == [False, False]
    native.read(one, 1, 0)
    assert [handles.is_settled("x", number) for number in numbers] == [True, False]
    native.release(two)
    assert handles.is_settled("x", numbers[1])
    native.release(one)
    assert handles.is_settled("x", numbers[0])


def test_real_file(handles, native, tmp_path):
    path = tmp_path / "real"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    handle = handles.open_real(fd)
    assert handles.fd(handle) == fd
    assert handles.size(handle) == -1
    assert native.write(handle, b"0123456789", 4) == 10
    assert native.write(handle, b"abcd", 0) == 4
    assert native.read(handle, 100, 2) == b"cd0123456789"
    assert native.read(handle, 100, 50) == b""
    assert native.flush(handle) == 0
    assert native.release(handle) == 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert path.read_bytes() == b"abcd0123456789"
    counted = handles.statistics()
    assert (counted["writes"], counted["write_bytes"]) == (2, 14)
    assert (counted["real_reads"], counted["real_read_bytes"]) == (2, 12)
    assert counted["reads"] == 0


def test_errors_of_the_system_are_passed_on(handles, native, tmp_path):
    (tmp_path / "real").write_bytes(b"text")
    reading = handles.open_real(os.open(tmp_path / "real", os.O_RDONLY))
    writing = handles.open_real(os.open(tmp_path / "real", os.O_WRONLY))
    assert native.write(reading, b"x", 0) == -errno.EBADF
    assert native.read(writing, 1, 0) == -errno.EBADF
    full = handles.open_real(os.open("/dev/full", os.O_WRONLY))
    assert native.write(full, b"x", 0) == -errno.ENOSPC
    for handle in (reading, writing, full):
        assert native.release(handle) == 0
    assert (tmp_path / "real").read_bytes() == b"text"


def test_no_handle(native):
    assert native.read(0, 4, 0) == -errno.EBADF
    assert native.write(0, b"x", 0) == -errno.EBADF
    assert native.flush(0) == -errno.EBADF
    assert native.release(0) == -errno.EBADF


def test_release_from_python(handles, tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    for handle in (handles.open_real(fd), handles.open_virtual(virtual_file(), "x")):
        handles.release(handle)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    assert handles.statistics()["releases"] == 2


def failing(number):
    if number == 1:
        raise OSError("disk on fire")
    return np.frombuffer(ARRAY[number].tobytes(), np.uint8)


def test_an_error_is_a_number_for_the_program_and_a_line_for_the_log(handles, native):
    handle = handles.open_virtual(virtual_file(load=failing), "data0002.edf")
    frame = ARRAY[0].nbytes
    assert native.read(handle, frame, 32 + frame) == -errno.EIO
    assert native.read(handle, frame, 32) == ARRAY[0].tobytes()
    assert native.read(handle, frame, 32 + 2 * frame) == ARRAY[2].tobytes()
    (line,) = handles.take_errors()
    for word in (
        "data0002.edf",
        "scan.h5::/entry/data",
        "frame 1",
        "disk on fire",
        f"bytes {32 + frame} to {32 + 2 * frame}",
    ):
        assert word in line
    assert handles.take_errors() == []
    assert handles.statistics()["errors"] == 1
    native.release(handle)


def test_lines_for_the_log_are_bounded(handles, native):
    handle = handles.open_virtual(virtual_file(load=failing), "data0002.edf")
    for _ in range(100):
        assert native.read(handle, 10, 32 + ARRAY[0].nbytes) == -errno.EIO
    lines = handles.take_errors()
    assert len(lines) == 65
    assert lines[-1] == "and 36 more reads that failed"
    assert handles.take_errors() == []
    assert handles.statistics()["errors"] == 100
    native.release(handle)


def test_long_and_odd_names(handles, native):
    name = "Å" * 300 + "\udcff"
    handle = handles.open_virtual(virtual_file(load=failing, name=f"/x\udcff/{'y' * 300}.h5::/d"), name)
    assert native.read(handle, 10, 32 + ARRAY[0].nbytes) == -errno.EIO
    (line,) = handles.take_errors()
    assert line.startswith("Å" * 100)
    assert "disk on fire" in line
    native.release(handle)


def reads_done_under_the_gil(handles, native, file, slices=1):
    """Start a read of the whole file in a thread, hold the GIL for half a second, and say if it ended meanwhile."""
    held = ctypes.PyDLL(None)  # its functions are called with the GIL held
    handle = handles.open_virtual(file, "data.edf")
    started = threading.Event()
    size = handles.size(handle)
    buffer = ctypes.create_string_buffer(size)
    results = []

    def read():
        info = FileInfo(fh=handle)
        started.set()
        results.append(native._read(b"/name", buffer, size, 0, info))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # nobody takes the GIL away from whoever has it
    try:
        thread = threading.Thread(target=read)
        thread.start()
        started.wait()
        before = handles.statistics()["reads"]
        for _ in range(slices):
            held.usleep(500_000)
            after = handles.statistics()["reads"]
            if after != before:
                break
    finally:
        sys.setswitchinterval(interval)
    thread.join()
    assert results == [size]
    native.release(handle)
    return after - before


def test_pixels_need_no_gil(handles, native):
    array = np.arange(20 << 20, dtype="<u2").reshape(20, 1024, 1024)
    stack = virtual_file(array).source
    file = _view.PieceFile(stack, [("pixels", 0, 20, True)])  # swapping 40 MB takes long enough to be overtaken
    # a busy machine may let the reader wait, or wake the holder up only when the read is over: then nothing was seen
    assert 1 in (reads_done_under_the_gil(handles, native, file, slices=20) for _ in range(5))


def test_what_h5py_has_to_read_waits_for_the_gil(handles, native):
    """The other test can fail: this is how."""
    file = virtual_file(load=lambda number: np.frombuffer(ARRAY[number].tobytes(), np.uint8))
    assert reads_done_under_the_gil(handles, native, file) == 0
