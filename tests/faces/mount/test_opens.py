# SPDX-License-Identifier: MIT
"""Files that are opened without Python: they are those that Python would open, and Python may be busy meanwhile."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastlegacy.errors import DecodeError, MountError
from fastlegacy.faces.mount import _refuse
from fastlegacy.faces.mount.opens import Opens
from fastlegacy.index.epoch import EPOCH
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames
from fastlegacy.testing.mounts import mounted

from .test_native import Served

KEEP_CACHE = 1


def wait_until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 100
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.005)


class Union(Served):
    """A union without a mount, with the thread that has files ready."""

    def begin(self) -> Opens:
        opens = Opens(self.handles, self.operations.pages, self.virtual.file)
        self.operations._on_open = opens.opened
        return opens

    def read(self, path: str) -> bytes:
        """Open, read and close a file, as libfuse does it."""
        info = self.open(path)
        assert not isinstance(info, int), os.strerror(-info)
        assert self.handles.name(info.fh) == path
        size = self.handles.size(info.fh)
        self.handles.release(info.fh)
        return self.virtual.file(path).read() if size >= 0 else b""

    @property
    def opened_by_c(self) -> int:
        return int(self.handles.statistics()["native_opens"])


@pytest.fixture
def union(tmp_path: Path, served: ModuleType) -> Iterator[Union]:
    """Return a union whose files of 64 frames have been listed."""
    try:
        high = _refuse.load()
    except MountError as error:
        pytest.skip(str(error))
    made = Union(served.make_tree(frames=64), tmp_path / "demo", high)
    made.ask("/data0001.img")
    with made.begin():
        yield made
    made.end()


def name(number: int) -> str:
    return f"/data{number:04d}.img"


def prepared(union: Union, number: int) -> bool:
    """Whether C opens a file; it is no longer prepared then."""
    union.python.clear()
    info = union.open(name(number))
    union.handles.release(info.fh)
    return union.python == []


def open_in_order(union: Union, *numbers: int) -> None:
    for number in numbers:
        union.handles.release(union.open(name(number)).fh)


@pytest.mark.parametrize("numbers", [(1, 2, 3), (1, 4, 7, 10), (60, 59, 58), (64, 56, 48, 40)])
def test_what_comes_next_is_opened_by_c(union: Union, numbers: tuple[int, ...]) -> None:
    open_in_order(union, *numbers)
    following = 2 * numbers[-1] - numbers[-2]
    wait_until(lambda: union.handles.is_prepared(name(following)))
    assert prepared(union, following)
    info = union.open(name(following))
    assert union.handles.size(info.fh) == len(union.virtual.file(name(following)).read())
    union.handles.release(info.fh)


def test_the_whole_scan_in_order(union: Union, served: ModuleType) -> None:
    for number in range(1, 65):
        if number > 10:
            wait_until(partial(union.handles.is_prepared, name(number)))
        info = union.open(name(number))
        assert info.keep_cache == KEEP_CACHE
        assert info.direct_io == 0
        assert union.handles.name(info.fh) == name(number)
        assert union.handles.size(info.fh) == len(served.content(0))
        union.handles.release(info.fh)
    assert union.opened_by_c >= 54


def test_no_order_no_work(union: Union) -> None:
    open_in_order(union, 5, 30, 7, 41, 12, 60, 3)
    union.handles.wait_for_prefetch()
    open_in_order(union, 31, 61, 8, 13)
    assert union.opened_by_c == 0


def test_the_order_goes_on_where_c_has_opened_some_between(union: Union, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is as quick as the thread: file 3 is ready when it is opened, and 4 not yet."""
    whole, opened = Opens._prepare, threading.Event()

    def prepare(self: Opens, path: str, tree: Any, index: int, *, asks: bool) -> bool:
        assert index != 3 or opened.wait(100)
        return whole(self, path, tree, index, asks=asks)

    monkeypatch.setattr(Opens, "_prepare", prepare)
    open_in_order(union, 1, 2)
    wait_until(lambda: union.handles.is_prepared(name(3)))
    union.python.clear()
    open_in_order(union, 3, 4)
    assert union.python == [name(4)]
    opened.set()
    wait_until(lambda: union.handles.is_prepared(name(6)))


def ready(union: Union, number: int, *, version: int | None = None, epoch: int | None = None) -> bool:
    """Have a file ready, as the thread does it."""
    now = union.operations.pages.version() if version is None else version
    at = EPOCH.now if epoch is None else epoch
    file = union.virtual.file(name(number)).open()
    return union.operations.pages.prepare(name(number), now, at, file, asks=False)


def test_to_write_is_for_python(union: Union) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR):
        assert ready(union, 5)
        assert union.open(name(5), flags) == -errno.EROFS
    info = union.open(name(5), os.O_WRONLY | os.O_TRUNC)
    assert union.handles.fd(info.fh) >= 0
    union.handles.release(info.fh)
    assert (union.folder / name(5)[1:]).exists()
    assert union.opened_by_c == 0


def test_a_real_file_wins(union: Union) -> None:
    assert ready(union, 5)
    (union.folder / name(5)[1:]).write_bytes(b"real")
    info = union.open(name(5))
    assert union.handles.fd(info.fh) >= 0
    union.handles.release(info.fh)
    assert union.opened_by_c == 0


def test_pages_of_a_real_file_that_was_there_are_dropped(union: Union) -> None:
    assert ready(union, 5)
    real = union.folder / name(5)[1:]
    real.write_bytes(b"real")
    union.handles.release(union.open(name(5)).fh)
    assert not ready(union, 5)
    real.unlink()
    info = union.open(name(5))
    assert (info.keep_cache, info.direct_io) == (0, 0)
    assert union.opened_by_c == 0
    union.handles.release(info.fh)


def test_a_change_makes_what_is_ready_worthless(union: Union) -> None:
    assert ready(union, 5)
    EPOCH.advance()
    assert not prepared(union, 5)
    union.ask(name(5))  # what C was told is worthless too, and it is told anew
    assert ready(union, 6)
    union.version = 1
    EPOCH.advance()
    assert union.open(name(6)) == -errno.ESTALE  # so the kernel asks for attributes again
    assert not ready(union, 7)
    assert not ready(union, 7, version=0)
    assert union.opened_by_c == 0


def test_what_was_made_before_a_change_is_not_used_after_it(union: Union) -> None:
    before = EPOCH.now
    EPOCH.advance()
    union.ask(name(5))
    assert ready(union, 5, epoch=before)
    assert not prepared(union, 5)


def test_another_size_than_the_kernel_was_told_is_for_python(union: Union) -> None:
    larger = union.virtual.file(name(5)).tree.stack
    assert larger is not None
    other = union.virtual.file(name(5)).open()
    union.handles.prepare(name(6), other, 0, EPOCH.now)
    assert prepared(union, 6)  # the same size: this is how it can fail
    from fastlegacy._view import PieceFile

    union.handles.prepare(name(6), PieceFile(other.source, [("literal", b"short")]), 0, EPOCH.now)
    assert not prepared(union, 6)


def test_more_than_there_is_room_for(union: Union) -> None:
    file = union.virtual.file(name(1)).open()
    for number in range(1000):
        union.handles.prepare(f"/x{number}", file, 0, EPOCH.now)
    assert ready(union, 5)
    assert prepared(union, 5)
    union.handles.unprepare()
    union.handles.take_errors()
    assert union.handles.sources == []


def test_what_nobody_can_use_any_more_is_let_go(union: Union) -> None:
    assert ready(union, 5)
    assert len(union.handles.sources) == 1
    union.handles.take_errors()
    assert len(union.handles.sources) == 1
    EPOCH.advance()
    union.handles.take_errors()
    assert union.handles.sources == []


def test_a_frame_that_cannot_be_opened_stops_nobody(
    union: Union, monkeypatch: pytest.MonkeyPatch, served: ModuleType
) -> None:
    tree = union.virtual.file(name(1)).tree
    whole = type(tree).open_pieces

    def fails(self: Any, index: int) -> Any:
        if index == 3:
            raise DecodeError("damaged")
        return whole(self, index)

    monkeypatch.setattr(type(tree), "open_pieces", fails)
    open_in_order(union, 1, 2)
    wait_until(lambda: union.handles.is_prepared(name(3)))
    assert union.open(name(4)) == -errno.EIO
    open_in_order(union, 5, 6)
    wait_until(lambda: union.handles.is_prepared(name(7)))


def test_by_many_threads_while_headers_change(union: Union) -> None:
    """Who sees the new version finds all older handles: none comes later."""
    over = threading.Event()

    def program() -> None:
        while not over.is_set():
            for number in range(1, 65):
                info = union.open(name(number))
                if not isinstance(info, int):
                    union.handles.release(info.fh)

    threads = [threading.Thread(target=program) for _ in range(3)]
    for thread in threads:
        thread.start()

    def some_opened() -> bool:
        for _ in range(20):
            union.ask(name(1))
            for number in range(1, 65):
                ready(union, number)
        return union.opened_by_c > 0

    wait_until(some_opened)
    EPOCH.advance()
    union.version = 1
    EPOCH.advance()
    union.operations.pages.version()
    opened = union.opened_by_c
    late = [union.opened_by_c - opened for _ in range(200)]
    over.set()
    for thread in threads:
        thread.join()
    assert max(late) <= len(threads)  # those that were counted after they had looked


# ---------------------------------------------------------------------------------------------- mounted

PROGRAM = """
import ctypes, os, sys, threading, time
from pathlib import Path
from fastlegacy.faces.mount.opens import Opens
from fastlegacy.faces.mount.session import mount
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.folder import Folder
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT

url, folder, below, notes = sys.argv[1:]
notes = Path(notes)
fifo = os.open(notes / "fifo", os.O_RDWR)
prepare = Opens._prepare

def noted(self, path, tree, index, *, asks):
    done = prepare(self, path, tree, index, asks=asks)
    (notes / f"ready {index + 1}").touch()
    return done

Opens._prepare = noted

def hold():
    held = ctypes.PyDLL(None)  # its functions are called with the GIL held
    while not (notes / "hold").exists():
        time.sleep(0.01)
    sys.setswitchinterval(1000)  # nobody takes the GIL away
    held.creat(os.fsencode(notes / "held"), 0o600)
    held.read(fifo, ctypes.create_string_buffer(1), 1)
    sys.setswitchinterval(0.005)

threading.Thread(target=hold, daemon=True).start()
shown = Tree(Stack(url), LAYOUT)
for name in reversed(below.split("/") if below else []):
    shown = Folder({name: shown})
mount(shown, folder)
"""


@contextmanager
def mounted_here(tmp_path: Path, below: str = "") -> Iterator[tuple[Path, Path]]:
    """Mount 80 frames; yield the folder that they are in, and one for notes to and from the server."""
    url = write_stack(tmp_path / "scan.h5", detector_frames(80, (60, 50), "u2"), filters="bslz4", chunks=(1, 60, 50))
    work, notes = tmp_path / "work", tmp_path / "notes"
    work.mkdir()
    notes.mkdir()
    os.mkfifo(notes / "fifo")
    with mounted([sys.executable, "-c", PROGRAM, url, str(work), below, str(notes)], work):
        yield work / below, notes


@contextmanager
def read(path: Path, notes: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Read a file in another process while Python does nothing; at the end it may go on, and the program must end."""
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.DEVNULL) as program:
        try:
            yield program
        finally:
            (notes / "fifo").write_bytes(b"x")
        assert program.wait(100) == 0


@pytest.mark.parametrize("below", ["", "scan/edf"])
@pytest.mark.parametrize(("following", "waits"), [(5, False), (80, True)])
def test_programs_go_on_while_python_does_not(
    tmp_path: Path, fuse: None, following: int, waits: bool, below: str
) -> None:
    with mounted_here(tmp_path, below) as (work, notes):
        os.listdir(work)
        for number in range(1, 5):
            (work / f"data{number:04d}.edf").read_bytes()
        wait_until((notes / "ready 5").exists)
        assert not (notes / "ready 80").exists()
        (notes / "hold").touch()
        wait_until((notes / "held").exists)
        time.sleep(1.2)  # the kernel has forgotten what it knew of the folders
        with read(work / f"data{following:04d}.edf", notes) as program:
            if waits:
                with pytest.raises(subprocess.TimeoutExpired):
                    program.wait(1)
            else:
                assert program.wait(100) == 0
