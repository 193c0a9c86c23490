# SPDX-License-Identifier: MIT
"""What programs do rarely in a mount, compared with what a plain folder says to it."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.testing.beside import errno_of

SOON_S = 60  # what is remembered for a second, on a busy machine

pytestmark = pytest.mark.fuse

LONG = "n" * 300

Serve = Callable[..., Any]


@contextmanager
def opened(path: Path, flags: int = os.O_RDONLY) -> Iterator[int]:
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


# ---- names


def test_a_name_that_is_too_long(folders: Path, real: Path) -> None:
    (folders / "real").mkdir()
    (folders / "file").touch()
    for above in (".", "img", "deep", "deep/pix", "real"):
        path = folders / above / LONG
        uses: dict[str, Callable[[], object]] = {
            "stat": lambda path=path: os.stat(path),
            "open": lambda path=path: os.open(path, os.O_RDONLY),
            "make": lambda path=path: os.open(path, os.O_WRONLY | os.O_CREAT, 0o644),
            "mkdir": lambda path=path: os.mkdir(path),
            "symlink": lambda path=path: os.symlink("text", path),
            "rename": lambda path=path: os.rename(folders / "file", path),
            "unlink": lambda path=path: os.unlink(path),
            "getxattr": lambda path=path: os.getxattr(path, "user.a"),
        }  # type: ignore[dict-item]
        for _ in range(2):
            codes = {what: errno_of(use) for what, use in uses.items()}
            assert set(codes.values()) == {errno.ENAMETOOLONG}, (above, codes)
            os.listdir(folders / above)  # from now on C answers where it can
    assert sorted(os.listdir(real)) == ["file", "real"]


def test_the_longest_name(folders: Path, real: Path) -> None:
    (folders / "deep" / LONG[:255]).write_text("x")
    assert (real / "deep" / LONG[:255]).read_text() == "x"
    assert not (folders / "img" / LONG[:255]).exists()


def test_a_path_that_is_too_long(mounted: Path, real: Path) -> None:
    path = os.path.join(mounted, *["x"] * 2100)
    for use in (lambda: os.stat(path), lambda: os.mkdir(path), lambda: os.open(path, os.O_RDONLY)):
        assert errno_of(use) == errno.ENAMETOOLONG
    assert os.listdir(real) == []


def test_a_place_deeper_than_a_path_can_say(mounted: Path, real: Path) -> None:
    """Who goes down step by step gets there, as in a plain folder."""
    depth = 25
    fd = os.open(mounted, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    made = os.open("f", os.O_RDWR | os.O_CREAT, 0o644, dir_fd=fd)
    os.write(made, b"deep")
    os.close(made)
    assert os.stat("f", dir_fd=fd).st_size == 4
    assert os.listdir(fd) == ["f"]
    os.close(fd)
    for root in (mounted, real):
        assert [name for place, _, names, _ in os.fwalk(f"{root}/.") for name in names if len(place) > 4096] == ["f"]


def test_what_file_managers_leave_behind_are_plain_files(folders: Path, real: Path) -> None:
    names = (".DS_Store", "._data0001.img", "Thumbs.db", "desktop.ini")
    for above, name in product((".", "img", "deep"), names):
        path = folders / above / name
        assert not path.exists()
        path.write_bytes(b"x")
        assert path.read_bytes() == (real / above / name).read_bytes() == b"x"
        assert name in os.listdir(folders / above)
        path.unlink()
        assert name not in os.listdir(folders / above)


# ---- permissions


def test_access_of_a_frame(mounted: Path) -> None:
    frame = mounted / "data0001.img"
    assert os.access(frame, os.F_OK)
    assert os.access(frame, os.R_OK)
    assert not os.access(frame, os.X_OK)
    # the kernel lets root write whatever the permissions say, and does not ask the mount
    assert os.access(frame, os.W_OK) == (os.geteuid() == 0)
    assert errno_of(lambda: os.open(frame, os.O_WRONLY)) == errno.EROFS


# ---- to the disk


def test_folders_and_files_are_brought_to_the_disk(folders: Path) -> None:
    (folders / "real").mkdir()
    for name in (".", "real", "img", "deep", "deep/pix"):
        with opened(folders / name, os.O_RDONLY | os.O_DIRECTORY) as fd:
            os.fsync(fd)
            os.fdatasync(fd)
    with opened(folders / "file", os.O_RDWR | os.O_CREAT) as fd:
        os.write(fd, b"data")
        os.fdatasync(fd)
        os.fsync(fd)
    with opened(folders / "img" / "data0001.img") as fd:
        os.fsync(fd)
        os.fdatasync(fd)


def test_the_server_writes_as_the_program_has_asked_for(
    serve: Serve, tmp_path: Path, wait: Callable[..., bool]
) -> None:
    mount = serve()
    made = tmp_path / "demo" / "f"

    def flags_in_the_server() -> list[int]:
        links = Path(f"/proc/{mount.process.pid}/fd").iterdir()
        numbers = [link.name for link in links if os.path.realpath(link).endswith("/demo/f")]
        texts = []
        for number in numbers:
            with suppress(FileNotFoundError):  # the server closes after the program has
                texts.append(Path(f"/proc/{mount.process.pid}/fdinfo/{number}").read_text())
        return [int(re.findall(r"^flags:\s+(\w+)", text, re.MULTILINE)[0], 8) & os.O_SYNC for text in texts]

    for flag in (os.O_SYNC, os.O_DSYNC, 0):
        for how in (os.O_CREAT | os.O_EXCL, 0):
            with opened(made, os.O_WRONLY | flag | how) as fd:
                assert fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_SYNC == flag
                assert flags_in_the_server() == [flag]
            assert wait(lambda: flags_in_the_server() == [])  # the kernel tells of a close when it has returned
        made.unlink()
    mount.interrupt()


def test_a_limit_of_the_size_of_files_is_told(mounted: Path, real: Path) -> None:
    program = """
import errno, os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
print(os.write(fd, bytes(900)), os.write(fd, bytes(900)))
for work in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 5000)):
    try:
        print(work())
    except OSError as error:
        print(errno.errorcode[error.errno])
print(os.fstat(fd).st_size)
"""
    said = [
        subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True).stdout
        for path in (mounted / "f", real / "plain")
    ]
    assert said[0] == said[1] == "900 100\nEFBIG\nEFBIG\n1000\n"


# ---- times

_NOW, _OMIT = (1 << 30) - 1, (1 << 30) - 2
_TICK_NS = 50_000_000  # of the file system's clock, and more


def set_times(path: Path, atime_ns: int, mtime_ns: int) -> None:
    """Set the times by utimensat, with these nanoseconds of the second 0."""
    libc = ctypes.CDLL(None, use_errno=True)
    times = (ctypes.c_long * 4)(0, atime_ns, 0, mtime_ns)
    if libc.utimensat(-100, os.fsencode(path), times, 0):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def test_one_time_is_set_to_now(mounted: Path, real: Path) -> None:
    path = mounted / "f"
    path.touch()

    def times() -> tuple[int, int]:
        found = (real / "f").stat()
        return found.st_atime_ns, found.st_mtime_ns

    for which, (atime, mtime) in enumerate([(_NOW, _OMIT), (_OMIT, _NOW)]):
        os.utime(path, ns=(11, 12))
        start_ns = time.time_ns()
        set_times(path, atime, mtime)
        assert times()[1 - which] == (11, 12)[1 - which]
        assert start_ns - _TICK_NS <= times()[which] <= time.time_ns() + _TICK_NS
    os.utime(path, ns=(11, 12))
    set_times(path, _OMIT, _OMIT)
    assert times() == (11, 12)
    assert errno_of(lambda: set_times(mounted / "data0001.img", _OMIT, _NOW)) == errno.EROFS


# ---- more


def test_programs_meet_at_a_socket_in_the_mount(folders: Path, real: Path) -> None:
    for above in (".", "img"):
        meet_at_a_socket(folders, real, above)


def meet_at_a_socket(folders: Path, real: Path, above: str) -> None:
    (folders / above / "file").touch()
    with (
        opened(folders / above) as fd,
        socket.socket(socket.AF_UNIX) as server,
        socket.socket(socket.AF_UNIX) as client,
    ):
        place = f"/proc/self/fd/{fd}/meet"  # the text of an address is short
        server.bind(place)
        server.listen()
        assert stat.S_ISSOCK((real / above / "meet").stat().st_mode)
        assert stat.S_ISSOCK((folders / above / "meet").stat().st_mode)
        client.connect(place)
        peer, _ = server.accept()
        with peer:
            client.sendall(b"hello")
            assert peer.recv(5) == b"hello"
        with socket.socket(socket.AF_UNIX) as other:
            assert errno_of(lambda: other.bind(place)) == errno.EADDRINUSE
    (folders / above / "meet").unlink()
    assert not (real / above / "meet").exists()


@pytest.mark.parametrize("kind", ["folder", "file", "pipe"])
def test_what_another_program_replaces_by_another_kind_is_a_fault_for_one_look_at_most(
    mounted: Path, real: Path, wait: Callable[..., bool], kind: str
) -> None:
    make: dict[str, Callable[[Path], object]] = {
        "folder": Path.mkdir,
        "file": lambda path: path.write_bytes(b"1"),
        "pipe": os.mkfifo,
    }
    path = mounted / "x"
    faults = 0

    def is_new() -> bool:
        nonlocal faults
        try:
            return path.lstat().st_mode == (real / "x").lstat().st_mode
        except OSError as error:
            faults += error.errno == errno.EIO
            return False

    os.symlink("nothing", real / "x")
    assert path.is_symlink()
    (real / "x").unlink()
    make[kind](real / "x")
    assert wait(is_new, SOON_S)
    assert faults <= 1
    assert is_new()


def test_a_change_below_is_seen_a_second_later(mounted: Path, real: Path, wait: Callable[..., bool]) -> None:
    path = mounted / "f"
    path.write_bytes(b"1")

    def size() -> int:
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return -1

    assert size() == 1
    (real / "f").write_bytes(b"12")
    assert wait(lambda: size() == 2, SOON_S)
    assert path.read_bytes() == b"12"
    os.rename(real / "f", real / "g")
    assert wait(lambda: size() == -1, SOON_S)
    assert (mounted / "g").read_bytes() == b"12"
    (real / "data0001.img").write_bytes(b"real")
    assert wait(lambda: (mounted / "data0001.img").stat().st_size == 4, SOON_S)


def listed_by_ls(folder: Path) -> dict[str, int]:
    """Names and inode numbers of all entries, as readdir tells them; ``os.listdir`` leaves the dots out."""
    done = subprocess.run(["ls", "-fai", str(folder)], check=True, capture_output=True, text=True)
    return {name: int(number) for number, name in (line.split(maxsplit=1) for line in done.stdout.splitlines())}


def test_both_dots_are_listed(folders: Path) -> None:
    (folders / "new" / "below").mkdir(parents=True)
    (folders / "img" / "real").mkdir()
    for folder in (folders, *(folders / name for name in ("new", "new/below", "img", "img/real", "deep", "deep/pix"))):
        found = listed_by_ls(folder)
        assert found["."] == folder.stat().st_ino
        assert found[".."] == folder.parent.stat().st_ino
        assert set(found) - {".", ".."} == set(os.listdir(folder))
