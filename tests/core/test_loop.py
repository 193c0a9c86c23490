# SPDX-License-Identifier: MIT
"""The loop that takes the kernel's requests: a socket that keeps messages apart stands for /dev/fuse."""

import ctypes
import errno
import os
import socket
import struct
import threading

import pytest

from fastlegacy import _core, _serve, _view

IN, READ, OUT = struct.Struct("=IIQQIIII"), struct.Struct("=QQIIQII"), struct.Struct("=IiQ")
READ_CODE, INTERRUPT, OTHER, FORGET = 15, 36, 3, 2
CONTENT = bytes(range(256)) * 40
LONG_S = 60


class Kernel:
    """Sends requests to a loop in a thread of its own, with a libfuse that notes what it is given."""

    def __init__(self, workers=2):
        self.near, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.near.settimeout(LONG_S)
        self.given, self.failed = [], []
        self.given_one = threading.Condition()
        self.hold = threading.Event()
        self.hold.set()
        self.has_exited = False
        self._functions = (
            ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)(self._process),
            ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _session: self.has_exited),
            ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._exit),
        )
        self._thread = threading.Thread(target=self._run, args=(workers,))
        self._thread.start()

    def _process(self, session, request, size, channel):
        assert (session, channel) == (11, 22)
        with self.given_one:
            self.given.append((threading.get_ident(), ctypes.string_at(request, size)))
            self.given_one.notify_all()
        self.hold.wait(LONG_S)

    def _exit(self, _session):
        self.has_exited = True

    def _run(self, workers):
        addresses = tuple(ctypes.cast(each, ctypes.c_void_p).value for each in self._functions)
        try:
            _serve.run_loop(self.far.fileno(), 70_000, 11, 22, addresses, workers, _serve.Handles(), 0)
        except OSError as error:
            self.failed.append(error.errno)

    def send(self, code, body=b"", unique=7):
        self.near.send(IN.pack(IN.size + len(body), code, unique, 1, 0, 0, 0, 0) + body)

    def read(self, handle, size, offset, unique=7):
        self.send(READ_CODE, READ.pack(handle, offset, size, 0, 0, 0, 0), unique)

    def answer(self):
        data = self.near.recv(1 << 21)
        size, error, unique = OUT.unpack_from(data)
        assert size == len(data)
        return error, unique, data[OUT.size :]

    def wait_for_given(self, number):
        with self.given_one:
            assert self.given_one.wait_for(lambda: len(self.given) >= number, LONG_S)

    def end(self):
        self.has_exited = True
        self.hold.set()
        self._thread.join(LONG_S)
        assert not self._thread.is_alive()
        self.near.close()
        self.far.close()


def slow_file(load):
    """A virtual file of 64 bytes, which come from a function."""
    dataset = _core.Dataset(
        "slow", (1, 8, 8), (1, 8, 8), b"\0", _core.Files(1), _core.Cache(1 << 16), "python", loader=load
    )
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate((1, 8, 8))]
    return _view.PieceFile(_core.Stack((1, 8, 8), b"\0", [(dataset, axes, (0, 0, 0))]), [("pixels", 0, 1, False)])


@pytest.fixture
def kernel():
    made = Kernel()
    yield made
    made.end()


@pytest.fixture
def handles():
    return _serve.Handles()


@pytest.fixture
def handle(handles, tmp_path):
    (tmp_path / "real").write_bytes(CONTENT)
    opened = handles.open_real(os.open(tmp_path / "real", os.O_RDONLY))
    yield opened
    handles.release(opened)


def test_reads_are_answered_without_libfuse(kernel, handle, handles):
    for unique, (offset, size) in enumerate([(0, 10), (0, 131_072), (10_000, 500), (10_240, 4), (3, 0)], 1 << 40):
        kernel.read(handle, size, offset, unique)
        assert kernel.answer() == (0, unique, CONTENT[offset : offset + size])
    assert kernel.given == []
    assert handles.statistics()["real_reads"] == 5


def test_a_read_that_fails_is_an_error(kernel, handles):
    handle = handles.open_real(os.open("/", os.O_RDONLY))
    kernel.read(handle, 100, 0)
    assert kernel.answer() == (-errno.EISDIR, 7, b"")
    handles.release(handle)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        READ.pack(0, 0, 100, 0, 0, 0, 0),
        READ.pack(1, 0, (1 << 20) + 1, 0, 0, 0, 0),
        READ.pack(1, 1 << 63, 1, 0, 0, 0, 0),
        READ.pack(1, 0, 100, 0, 0, 0, 0)[:-1],
    ],
)
def test_odd_reads_are_for_libfuse(kernel, body):
    kernel.send(READ_CODE, body)
    kernel.wait_for_given(1)
    assert kernel.given[0][1][IN.size :] == body


def test_everything_else_is_for_libfuse(kernel):
    kernel.send(INTERRUPT, bytes(8))
    kernel.send(OTHER, b"x" * 60_000)
    kernel.wait_for_given(1)
    assert [request[4:8] for _, request in kernel.given] == [struct.pack("=I", OTHER)]
    assert kernel.given[0][1][IN.size :] == b"x" * 60_000


@pytest.mark.parametrize("workers", [1, 3])
def test_whatever_waits_holds_up_nobody_else(handle, workers):
    kernel = Kernel(workers)
    kernel.hold.clear()
    try:
        for _ in range(20):
            kernel.send(OTHER)
        kernel.wait_for_given(20)
        assert len({thread for thread, _ in kernel.given}) == 20
        kernel.read(handle, 4, 0)
        assert kernel.answer()[2] == CONTENT[:4]
    finally:
        kernel.end()


def test_reads_that_wait_hold_up_nobody_else(handle, handles):
    kernel = Kernel(1)
    blocked = threading.Event()
    go_on = threading.Event()

    def chunk(_number):
        blocked.set()
        go_on.wait(LONG_S)
        return bytes(64)

    file = slow_file(chunk)
    slow = handles.open_virtual(file, "slow")
    try:
        kernel.read(slow, 4, 0, unique=1)
        assert blocked.wait(LONG_S)
        kernel.read(handle, 4, 0, unique=2)
        assert kernel.answer() == (0, 2, CONTENT[:4])
        go_on.set()
        assert kernel.answer() == (0, 1, bytes(4))
    finally:
        go_on.set()
        kernel.end()
        handles.release(slow)


def test_what_is_no_request_ends_the_loop(kernel):
    kernel.near.send(b"no header")
    kernel._thread.join(LONG_S)
    assert kernel.failed == [errno.EIO]


def test_a_device_that_is_gone_ends_the_loop():
    kernel = Kernel()
    kernel.near.shutdown(socket.SHUT_RDWR)
    kernel._thread.join(LONG_S)
    assert kernel.failed == [errno.EIO]
    kernel.end()


def test_who_asks_the_mount_while_it_ends_does_not_keep_it(kernel, handle):
    kernel.hold.clear()
    kernel.send(OTHER)
    kernel.wait_for_given(1)
    kernel.has_exited = True
    kernel.send(OTHER, unique=8)  # the one that is held may be who waits for this
    kernel.send(FORGET, unique=9)
    kernel.read(handle, 100, 0, unique=10)
    # by two threads, of which either may be the first
    assert {kernel.answer(), kernel.answer()} == {(-errno.ENOTCONN, 8, b""), (-errno.ENOTCONN, 10, b"")}
    kernel.hold.set()
    kernel._thread.join(LONG_S)
    assert not kernel._thread.is_alive()
    assert kernel.failed == []


def test_threads_that_python_knows_are_used_again(kernel):
    before = set(threading.enumerate())  # other tests may have left some
    seen = []
    for number in range(1, 50):
        kernel.send(OTHER)
        kernel.wait_for_given(number)
        seen.append(kernel.given[-1][0])
    assert len(set(seen)) < 30
    assert len(set(threading.enumerate()) - before) < 30
