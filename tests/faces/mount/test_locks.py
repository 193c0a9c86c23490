# SPDX-License-Identifier: MIT
"""Locks on files in a mount: the kernel keeps them, among all who use the mount."""

from __future__ import annotations

import errno
import fcntl
import inspect
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fastlegacy.testing.beside import errno_of

pytestmark = pytest.mark.fuse

KINDS = ("flock", "posix", "ofd")


def lock(fd: int, kind: str, exclusive: bool = True, start: int = 0, length: int = 0) -> None:
    """Take a lock, or fail at once; a length of 0 goes on to the end."""
    how = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    if kind == "flock":
        fcntl.flock(fd, how | fcntl.LOCK_NB)
    elif kind == "posix":
        fcntl.lockf(fd, how | fcntl.LOCK_NB, length, start)
    else:
        what = fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, struct.pack("hhqqixxxx", what, os.SEEK_SET, start, length, 0))


_HOLDER = f"""
import fcntl, os, struct, sys
{inspect.getsource(lock)}
flags, exclusive, start, length = map(int, sys.argv[3:])
fd = os.open(sys.argv[1], flags)
lock(fd, sys.argv[2], bool(exclusive), start, length)
print("held", flush=True)
sys.stdin.readline()
os.close(fd)
print("closed", flush=True)
sys.stdin.readline()
"""


class Holder:
    """Another process that holds a lock."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def close(self) -> None:
        """Let it close the file."""
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        assert self.process.stdout.readline() == "closed\n"


@contextmanager
def held(
    path: Path, kind: str, *, flags: int = os.O_RDWR, exclusive: bool = True, start: int = 0, length: int = 0
) -> Iterator[Holder]:
    """Let another process hold a lock while the body runs."""
    words = [str(word) for word in (path, kind, flags, int(exclusive), start, length)]
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _HOLDER, *words], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout
        try:
            assert process.stdout.readline() == "held\n"
            yield Holder(process)
        finally:
            process.kill()


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def refused(fd: int, kind: str, *, exclusive: bool = True, start: int = 0, length: int = 0) -> bool:
    """Tell whether somebody else has a lock in the way."""
    code = errno_of(lambda: lock(fd, kind, exclusive, start, length))
    assert code in (0, errno.EAGAIN)
    return code != 0


@pytest.fixture
def path(mounted: Path) -> Path:
    """A real file in a mount."""
    (mounted / "f").write_bytes(bytes(100))
    return mounted / "f"


def test_a_lock_keeps_another_process_out_until_the_file_is_closed(path: Path) -> None:
    for kind in KINDS:
        with opened(path) as fd, held(path, kind) as holder:
            assert refused(fd, kind)
            assert refused(fd, kind, exclusive=False)
            holder.close()
            lock(fd, kind)


def test_a_lock_ends_with_the_process_that_holds_it(path: Path, wait: Callable[..., bool]) -> None:
    for kind in KINDS:
        with opened(path) as fd:
            with held(path, kind) as holder:
                assert refused(fd, kind)
                holder.process.kill()
                holder.process.wait(100)
            assert wait(lambda fd=fd, kind=kind: not refused(fd, kind))


def test_shared_locks_are_held_together(path: Path) -> None:
    for kind in KINDS:
        with opened(path) as fd, held(path, kind, exclusive=False):
            lock(fd, kind, exclusive=False)
            assert refused(fd, kind)


def test_ranges_of_a_file_are_locked_by_themselves(path: Path) -> None:
    for kind in ("posix", "ofd"):
        with opened(path) as fd, held(path, kind, start=10, length=20):
            lock(fd, kind, start=0, length=10)
            lock(fd, kind, start=30)
            for start, length in ((9, 2), (29, 1), (0, 0)):
                assert refused(fd, kind, start=start, length=length)


def test_a_frame_is_locked_as_a_file_that_is_read_only(mounted: Path) -> None:
    frame = mounted / "data0001.img"
    with opened(frame, os.O_RDONLY) as fd:
        with held(frame, "flock", flags=os.O_RDONLY):
            assert refused(fd, "flock")
        for kind in ("posix", "ofd"):
            with held(frame, kind, flags=os.O_RDONLY, exclusive=False):
                lock(fd, kind, exclusive=False)
                # to lock others out by these, a file has to be open for writing
                assert errno_of(lambda kind=kind: lock(fd, kind)) == errno.EBADF  # type: ignore[misc]
        assert os.pread(fd, 8, 0) == b"a header"


@pytest.mark.parametrize("kind", ["flock", "ofd"])
def test_threads_with_files_of_their_own_wait_for_each_other(path: Path, kind: str) -> None:
    rounds, threads = 20, 4
    (path.parent / "count").write_text("0")

    def count() -> None:
        for _ in range(rounds):
            with opened(path) as fd:
                while refused(fd, kind):
                    pass
                now = int((path.parent / "count").read_text())
                (path.parent / "count").write_text(str(now + 1))

    running = [threading.Thread(target=count) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    assert int((path.parent / "count").read_text()) == rounds * threads


def test_who_waits_for_a_lock_gets_it_when_it_is_free(path: Path, wait: Callable[..., bool]) -> None:
    order: list[str] = []

    def take() -> None:
        with opened(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX)
            order.append("taken")

    def somebody_waits() -> bool:
        lines = Path("/proc/locks").read_text().splitlines()
        return any("->" in line and f" {os.getpid()} " in line for line in lines)

    thread = threading.Thread(target=take)
    with opened(path) as fd:
        lock(fd, "flock")
        thread.start()
        assert wait(somebody_waits)
        order.append("let go")
    thread.join(100)
    assert order == ["let go", "taken"]


def test_locks_are_not_shared_with_the_folder_beside_the_mount(path: Path, real: Path) -> None:
    for kind in KINDS:
        with held(path, kind), opened(real / path.name) as beside:
            lock(beside, kind)
        with held(real / path.name, kind), opened(path) as fd:
            lock(fd, kind)


def test_a_lock_is_on_a_name_of_a_file_with_several(path: Path) -> None:
    other = path.with_name("other")
    os.link(path, other)
    with held(path, "flock"):
        with opened(other) as fd:
            lock(fd, "flock")
        with opened(path) as fd:
            assert refused(fd, "flock")


def test_a_file_that_was_renamed_keeps_its_lock(path: Path) -> None:
    with held(path, "flock"):
        new = path.rename(path.with_name("new"))
        with opened(new) as fd:
            assert refused(fd, "flock")
