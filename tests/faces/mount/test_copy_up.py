# SPDX-License-Identifier: MIT
"""With --copy-up, a frame that a program changes becomes a real file first."""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fastlegacy.faces.mount import draft
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import Caller, RealFolder
from fastlegacy.index.folder import Folder
from fastlegacy.index.tree import Tree
from fastlegacy.testing.beside import errno_of

PATH, NAME = "/data0001.img", "data0001.img"

Serve = Callable[..., Any]


@pytest.fixture
def copying(union: SimpleNamespace) -> SimpleNamespace:
    """A union whose virtual files can be changed."""
    real = RealFolder(union.fd, give_away=False)
    union.overlay = Overlay(real, union.virtual, copies_up=True)
    return union


@pytest.fixture
def mounted(serve: Serve, tmp_path: Path) -> Iterator[Path]:
    """A mounted folder; the log of the mount has to be empty at the end."""
    mount = serve(copy_up=True)
    yield tmp_path / "demo"
    _, errors = mount.interrupt()
    assert errors == ""


# ---- without a mount

CHANGES: dict[str, Callable[[Overlay], object]] = {
    "truncate": lambda overlay: overlay.truncate(PATH, 100),
    "chmod": lambda overlay: overlay.chmod(PATH, 0o600),
    "chown": lambda overlay: overlay.chown(PATH, os.geteuid(), os.getegid()),
    "set_times": lambda overlay: overlay.set_times(PATH, 1, 2),
    "set_xattr": lambda overlay: overlay.set_xattr(PATH, "user.a", b"b", 0),
    "link": lambda overlay: overlay.link("/other", PATH),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("unnamed", [True, False])
def test_every_change_makes_a_real_file_of_the_same_bytes(
    copying: SimpleNamespace, served: ModuleType, monkeypatch: pytest.MonkeyPatch, change: str, unnamed: bool
) -> None:
    before = copying.overlay.attributes(PATH)
    if not unnamed:  # as on NFS
        monkeypatch.setattr(draft.os, "O_TMPFILE", os.O_DIRECTORY)
    CHANGES[change](copying.overlay)
    names = {NAME, "other"} if change == "link" else {NAME}
    assert set(os.listdir(copying.folder)) == names
    after = copying.overlay.attributes(PATH)
    size = 100 if change == "truncate" else len(served.content(0))
    assert (copying.folder / NAME).read_bytes() == served.content(0)[:size]
    if change == "chmod":
        assert after["st_mode"] & 0o7777 == 0o600
    else:
        assert after["st_mode"] == before["st_mode"]
    if change not in ("truncate", "set_times"):
        assert after["st_mtime"] == before["st_mtime"]
    copying.overlay.unlink(PATH)
    assert copying.overlay.attributes(PATH) == before


def test_writing_in_place(copying: SimpleNamespace, served: ModuleType, me: Caller) -> None:
    fd = copying.overlay.open(PATH, os.O_RDWR, me)
    assert os.pread(fd, 10, 0) == served.content(0)[:10]
    os.pwrite(fd, b"changed", 64)
    os.close(fd)
    expected = bytearray(served.content(0))
    expected[64:71] = b"changed"
    assert (copying.folder / NAME).read_bytes() == bytes(expected)


def test_folders_and_names_cannot_be_changed_all_the_same(nested: SimpleNamespace, me: Caller) -> None:
    overlay = Overlay(RealFolder(nested.fd, give_away=False), nested.virtual, copies_up=True)
    for work in (
        lambda: overlay.chmod("/img", 0o700),
        lambda: overlay.unlink("/img/data0001.img"),
        lambda: overlay.rename("/img/data0001.img", "/x"),
        lambda: overlay.rename("/img", "/x"),
    ):
        assert errno_of(work) == errno.EROFS
    assert errno_of(lambda: overlay.chmod("/no", 0o700)) == errno.ENOENT
    assert os.listdir(nested.folder) == []


def test_in_a_virtual_folder_the_real_one_is_made(nested: SimpleNamespace, served: ModuleType) -> None:
    overlay = Overlay(RealFolder(nested.fd, give_away=False), nested.virtual, copies_up=True)
    overlay.chmod("/deep/pix/data0002.pix", 0o600)
    assert (nested.folder / "deep" / "pix" / "data0002.pix").read_bytes() == served.pixels(1).tobytes()


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_file_that_comes_meanwhile_stays(
    copying: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    def somebody_else_was_first(fd: int, _file: object) -> None:
        os.write(fd, b"the copy")
        (copying.folder / NAME).write_bytes(b"theirs")

    monkeypatch.setattr("fastlegacy.faces.mount.overlay.write_all", somebody_else_was_first)
    if not unnamed:
        monkeypatch.setattr(draft.os, "O_TMPFILE", os.O_DIRECTORY)
    copying.overlay.chmod(PATH, 0o600)
    assert (copying.folder / NAME).read_bytes() == b"theirs"
    assert os.listdir(copying.folder) == [NAME]


def test_without_hard_links_it_is_renamed(copying: SimpleNamespace, served: ModuleType, monkeypatch: Any) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(draft.os, "O_TMPFILE", os.O_DIRECTORY)
    monkeypatch.setattr(draft.os, "link", refuse)
    copying.overlay.chmod(PATH, 0o600)
    assert (copying.folder / NAME).read_bytes() == served.content(0)
    assert os.listdir(copying.folder) == [NAME]


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_full_disk_leaves_nothing_behind(
    nested: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, unnamed: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    overlay = Overlay(RealFolder(nested.fd, give_away=False), nested.virtual, copies_up=True)
    if not unnamed:
        monkeypatch.setattr(draft.os, "O_TMPFILE", os.O_DIRECTORY)
    monkeypatch.setattr(draft.os, "write", full)
    assert errno_of(lambda: overlay.truncate("/img/data0001.img", 5)) == errno.ENOSPC
    assert os.listdir(nested.folder) == []


def test_access_is_that_of_the_folder(copying: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    copying.overlay.check_access(PATH, os.W_OK)
    monkeypatch.setattr("fastlegacy.faces.mount.real.os.access", lambda *_, **__: False)
    assert errno_of(lambda: copying.overlay.check_access(PATH, os.W_OK)) == errno.EACCES


def test_a_large_file_is_copied_in_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, served: ModuleType) -> None:
    monkeypatch.setattr(draft, "_STEP_BYTES", 1000)
    tree = Folder.of(served.make_tree()).slots[0].found()
    assert isinstance(tree, Tree)
    fd = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
    draft.write_all(fd, tree["data0003.img"])
    os.close(fd)
    assert (tmp_path / "copy").read_bytes() == served.content(2)


# ---- with one


@pytest.mark.fuse
def test_a_frame_is_overwritten_in_place(mounted: Path, tmp_path: Path, served: ModuleType) -> None:
    path, real = mounted / NAME, tmp_path / "demo_real" / NAME
    before, expected = path.stat(), bytearray(served.content(0))
    assert before.st_mode & 0o222
    with open(path, "rb") as reader, open(path, "r+b") as file:
        assert file.read(64) == expected[:64]
        file.write(b"pixels")
        file.flush()
        expected[64:70] = b"pixels"
        reader.seek(0)
        assert reader.read() == expected, "who had it open sees the change"
        assert os.fstat(reader.fileno()).st_ino == real.stat().st_ino
        assert real.read_bytes() == path.read_bytes() == expected
    with open(path, "ab") as file:
        file.write(b"at the end")
    assert real.read_bytes() == path.read_bytes() == expected + b"at the end"
    path.unlink()
    assert path.read_bytes() == served.content(0)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert os.listdir(real.parent) == []


@pytest.mark.fuse
def test_other_changes_of_a_frame(mounted: Path, tmp_path: Path, served: ModuleType) -> None:
    one, two, three = (mounted / f"data000{number}.img" for number in (1, 2, 3))
    os.truncate(one, 100)
    os.utime(two, ns=(5, 6))
    os.chmod(three, 0o600)
    assert (one.stat().st_size, one.read_bytes()) == (100, served.content(0)[:100])
    assert (two.stat().st_mtime_ns, two.read_bytes()) == (6, served.content(1))
    assert (three.stat().st_mode & 0o777, three.read_bytes()) == (0o600, served.content(2))
    os.truncate(one, 0)
    assert one.read_bytes() == b""
    assert sorted(os.listdir(tmp_path / "demo_real")) == [one.name, two.name, three.name]
    for refused in (
        lambda: os.rename(mounted / "data0004.img", mounted / "x"),
        lambda: os.unlink(mounted / "data0004.img"),
    ):
        assert errno_of(refused) == errno.EROFS


@pytest.mark.fuse
def test_a_frame_is_changed_through_memory(mounted: Path, tmp_path: Path, served: ModuleType) -> None:
    with open(mounted / NAME, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[64:68] = b"\1\2\3\4"
        mapped.flush()
    expected = served.content(0)[:64] + b"\1\2\3\4" + served.content(0)[68:]
    assert (tmp_path / "demo_real" / NAME).read_bytes() == expected


@pytest.mark.fuse
def test_many_change_one_frame_at_once(mounted: Path, served: ModuleType) -> None:
    path = mounted / NAME

    def work(number: int) -> None:
        fd = os.open(path, os.O_RDWR)
        os.pwrite(fd, bytes([number]), 64 + number)
        os.close(fd)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() == served.content(0)[:64] + bytes(range(8)) + served.content(0)[72:]


@pytest.mark.fuse
def test_a_frame_that_cannot_be_read_is_not_copied(serve: Serve, tmp_path: Path, served: ModuleType) -> None:
    mount = serve(copy_up=True, broken=True)
    broken = tmp_path / "demo" / f"data{served.BROKEN_FRAME + 1:04d}.img"
    assert errno_of(lambda: os.open(broken, os.O_RDWR)) == errno.EIO
    assert os.listdir(tmp_path / "demo_real") == []
    assert errno_of(lambda: os.truncate(tmp_path / "demo" / ".fastlegacy" / "status", 3)) == errno.EROFS
    _, errors = mount.interrupt()
    assert broken.name in errors
