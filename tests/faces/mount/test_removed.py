# SPDX-License-Identifier: MIT
"""Files that are removed while they are open: as in any folder, they are gone at once, and go on for who has them."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.fuse

Serve = Callable[..., Any]
Remove = Callable[[Path], None]


@pytest.fixture
def opened(mounted: Path) -> Iterator[int]:
    """A file that was removed while it was open, and its folder too."""
    folder = mounted / "sub"
    folder.mkdir()
    fd = os.open(folder / "f", os.O_CREAT | os.O_RDWR, 0o640)
    os.write(fd, b"hello")
    os.unlink(folder / "f")
    assert os.listdir(folder) == []
    folder.rmdir()
    yield fd
    os.close(fd)


def renamed_over(path: Path) -> None:
    path.with_name("other").write_bytes(b"new")
    path.with_name("other").rename(path)


def unlinked(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("remove", [unlinked, renamed_over])
def test_nothing_is_left_in_the_real_folder(mounted: Path, tmp_path: Path, remove: Remove) -> None:
    path = mounted / "f"
    path.write_bytes(b"before")
    with open(path, "r+b") as file:
        remove(path)
        assert sorted(os.listdir(tmp_path / "demo_real")) == sorted({"f"} if path.exists() else ())
        assert os.fstat(file.fileno()).st_nlink == 0
        assert file.read() == b"before"
        file.write(b" and after")
        file.flush()
        assert os.pread(file.fileno(), 99, 0) == b"before and after"
    assert (path.read_bytes() if path.exists() else b"new") == b"new"


def test_it_is_read_written_and_cut(opened: int) -> None:
    assert os.pread(opened, 99, 0) == b"hello"
    os.pwrite(opened, b"J", 0)
    os.ftruncate(opened, 3)
    os.fsync(opened)
    assert (os.pread(opened, 99, 0), os.fstat(opened).st_size) == (b"Jel", 3)
    os.truncate(f"/proc/self/fd/{opened}", 1)
    assert (os.pread(opened, 99, 0), os.fstat(opened).st_size) == (b"J", 1)


def test_its_attributes_are_told_and_changed(opened: int) -> None:
    found = os.fstat(opened)
    assert (found.st_nlink, found.st_size, found.st_mode & 0o7777) == (0, 5, 0o640)
    os.fchmod(opened, 0o600)
    os.utime(opened, ns=(1_000_000_002, 3_000_000_004))
    found = os.fstat(opened)
    assert (found.st_mode & 0o7777, found.st_atime_ns, found.st_mtime_ns) == (0o600, 1_000_000_002, 3_000_000_004)
    os.utime(opened)
    assert os.fstat(opened).st_mtime_ns > found.st_mtime_ns
    if os.geteuid() == 0:
        os.fchown(opened, 12, -1)
        assert (os.fstat(opened).st_uid, os.fstat(opened).st_gid) == (12, found.st_gid)


def test_its_extended_attributes_are_told_and_changed(opened: int) -> None:
    os.setxattr(opened, "user.a", b"xyz")
    assert os.getxattr(opened, "user.a") == b"xyz"
    assert os.listxattr(opened) == ["user.a"]
    with pytest.raises(FileExistsError):
        os.setxattr(opened, "user.a", b"w", os.XATTR_CREATE)
    os.removexattr(opened, "user.a")
    for change in (lambda: os.getxattr(opened, "user.a"), lambda: os.removexattr(opened, "user.a")):
        with pytest.raises(OSError, match=r".") as caught:
            change()
        assert caught.value.errno == errno.ENODATA


def test_it_is_opened_once_more_by_proc(opened: int) -> None:
    path = f"/proc/self/fd/{opened}"
    for number in range(3):
        again = os.open(path, os.O_RDWR | os.O_APPEND)
        os.write(again, b"!")
        assert os.fstat(again).st_size == 6 + number
        os.close(again)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert os.fstat(opened).st_size == 0


def test_its_other_name_stays(mounted: Path) -> None:
    one, other = mounted / "one", mounted / "other"
    one.write_bytes(b"text")
    os.link(one, other)
    fd = os.open(one, os.O_RDWR)
    one.unlink()
    os.pwrite(fd, b"T", 0)
    assert (os.fstat(fd).st_nlink, other.read_bytes()) == (1, b"Text")
    other.unlink()
    assert (os.fstat(fd).st_nlink, os.pread(fd, 9, 0)) == (0, b"Text")
    os.close(fd)


def test_a_new_file_of_the_same_name_is_another_one(mounted: Path) -> None:
    path = mounted / "f"
    path.write_bytes(b"old")
    fd = os.open(path, os.O_RDWR)
    path.unlink()
    path.write_bytes(b"newer")
    assert (os.fstat(fd).st_size, path.stat().st_size) == (3, 5)
    os.fchmod(fd, 0o600)
    assert path.stat().st_mode & 0o777 != 0o600
    os.close(fd)
    assert path.read_bytes() == b"newer"


def test_an_open_frame_stays_when_a_file_is_renamed_over_it(mounted: Path, served: ModuleType) -> None:
    path = mounted / "data0002.img"
    with open(path, "rb") as file:
        assert file.read(10) == served.content(1)[:10]
        renamed_over(path)
        found = os.fstat(file.fileno())
        assert (found.st_size, found.st_mode & 0o777) == (len(served.content(1)), 0o444)
        assert file.read() == served.content(1)[10:]
        for change in (lambda: os.fchmod(file.fileno(), 0o600), lambda: os.setxattr(file.fileno(), "user.a", b"b")):
            with pytest.raises(OSError, match=r".") as caught:
                change()
            assert caught.value.errno == errno.EROFS
        assert os.listxattr(file.fileno()) == []
    assert path.read_bytes() == b"new"
    path.unlink()
    assert path.read_bytes() == served.content(1)


def test_removed_and_killed_nothing_stays_behind(serve: Serve, tmp_path: Path) -> None:
    mount = serve()
    folder = tmp_path / "demo"
    (folder / "sub").mkdir()
    fd = os.open(folder / "sub" / "f", os.O_CREAT | os.O_RDWR)
    os.unlink(folder / "sub" / "f")
    mount.process.send_signal(signal.SIGKILL)
    mount.process.wait(100)
    for late in (lambda: os.write(fd, b"late"), lambda: os.close(fd)):
        with pytest.raises(OSError, match=r".") as caught:
            late()
        assert caught.value.errno == errno.ENOTCONN
    again = serve()
    assert os.listdir(folder / "sub") == []
    (folder / "sub").rmdir()
    again.interrupt()
    assert os.listdir(folder) == []


def test_folders_are_removed_while_files_in_them_are_used(mounted: Path) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(60):
                folder = mounted / f"{number}"
                folder.mkdir()
                fd = os.open(folder / "f", os.O_CREAT | os.O_RDWR)
                os.unlink(folder / "f")
                folder.rmdir()
                os.write(fd, bytes(turn))
                again = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
                found = os.fstat(fd)
                if (found.st_nlink, found.st_size, os.read(again, 99)) != (0, turn, bytes(turn)):
                    wrong.append((number, turn, found))
                os.close(again)
                os.close(fd)
        except OSError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_who_reads_a_frame_sees_the_file_that_is_written_in_its_place(mounted: Path, served: ModuleType) -> None:
    path = mounted / "data0003.img"
    with open(path, "rb") as before:
        assert before.read(10) == served.content(2)[:10]
        path.write_bytes(b"written in place")
        assert os.pread(before.fileno(), 99, 0) == b"written in place"
        assert os.fstat(before.fileno()).st_size == 16
        path.unlink()
        assert (os.pread(before.fileno(), 99, 0), os.fstat(before.fileno()).st_nlink) == (b"written in place", 0)
        with open(path, "rb") as again:
            assert again.read() == served.content(2)
        assert os.pread(before.fileno(), 99, 0) == b"written in place"
