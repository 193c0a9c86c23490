# SPDX-License-Identifier: MIT
"""Extended attributes and the space of files: those of real files are the file system's, a frame's tell its source."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastlegacy.testing.beside import errno_of

SOURCE = "user.fastlegacy.source"
URL = "/data/a, scan.h5::/entry/data"

Serve = Callable[..., Any]


# ---- without a mount


def test_an_attribute_is_set_told_listed_and_removed(union: SimpleNamespace) -> None:
    (union.folder / "f").touch()
    union.overlay.set_xattr("/f", "user.a", b"\0\xff", 0)
    assert os.getxattr(union.folder / "f", "user.a") == union.overlay.get_xattr("/f", "user.a") == b"\0\xff"
    assert union.overlay.list_xattr("/f") == ["user.a"]
    assert errno_of(lambda: union.overlay.set_xattr("/f", "user.a", b"", os.XATTR_CREATE)) == errno.EEXIST
    assert errno_of(lambda: union.overlay.set_xattr("/f", "user.b", b"", os.XATTR_REPLACE)) == errno.ENODATA
    union.overlay.remove_xattr("/f", "user.a")
    assert union.overlay.list_xattr("/f") == os.listxattr(union.folder / "f") == []


def test_a_frame_tells_its_source_and_nothing_else(union: SimpleNamespace) -> None:
    assert union.overlay.list_xattr("/data0003.img") == [SOURCE]
    assert union.overlay.get_xattr("/data0003.img", SOURCE) == f"{URL} frame 2".encode()
    assert errno_of(lambda: union.overlay.get_xattr("/data0003.img", "user.x")) == errno.ENODATA
    assert errno_of(lambda: union.overlay.set_xattr("/data0003.img", "user.x", b"", 0)) == errno.EROFS
    assert errno_of(lambda: union.overlay.remove_xattr("/data0003.img", SOURCE)) == errno.EROFS


def test_virtual_folders_and_what_is_not_there(nested: SimpleNamespace) -> None:
    assert nested.overlay.list_xattr("/deep") == []
    assert errno_of(lambda: nested.overlay.get_xattr("/deep", SOURCE)) == errno.ENODATA
    assert errno_of(lambda: nested.overlay.set_xattr("/deep", "user.x", b"", 0)) == errno.EROFS
    for work in (lambda: nested.overlay.list_xattr("/no"), lambda: nested.overlay.get_xattr("/no", SOURCE)):
        assert errno_of(work) == errno.ENOENT


def test_a_file_beside_the_frames_has_no_source(union: SimpleNamespace) -> None:
    next(iter(union.virtual._root.stacks))
    tree = union.virtual._root.slots[0].found()
    tree.add({"beside.txt": b"text"})
    assert union.overlay.list_xattr("/beside.txt") == []
    assert errno_of(lambda: union.overlay.get_xattr("/beside.txt", SOURCE)) == errno.ENODATA


def test_links_are_not_followed(union: SimpleNamespace, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "f").touch()
    os.setxattr(outside / "f", "user.secret", b"1")
    (union.folder / "file").symlink_to(outside / "f")
    (union.folder / "folder").symlink_to(outside)
    assert union.overlay.list_xattr("/file") == []
    assert errno_of(lambda: union.overlay.get_xattr("/file", "user.secret")) in (errno.ENODATA, errno.EPERM)
    assert errno_of(lambda: union.overlay.set_xattr("/file", "user.x", b"", 0)) == errno.EPERM
    for path in ("/folder/f", "/../outside/f", "/x/../../outside/f"):
        assert errno_of(lambda path=path: union.overlay.get_xattr(path, "user.secret")) in (
            errno.ENOTDIR,
            errno.ELOOP,
            errno.ENOENT,
        )
        assert errno_of(lambda path=path: union.overlay.set_xattr(path, "user.x", b"", 0)) != 0
    assert os.listxattr(outside / "f") == ["user.secret"]


# ---- with one


@pytest.mark.fuse
def test_attributes_of_a_real_file_are_those_of_the_file_system(mounted: Path, real: Path) -> None:
    path = mounted / "f"
    path.touch()
    assert errno_of(lambda: os.getxattr(path, "user.a")) == errno.ENODATA
    os.setxattr(path, "user.a", b"one")
    os.setxattr(path, "user.b", b"\0" * 3000)
    assert sorted(os.listxattr(path)) == sorted(os.listxattr(real / "f")) == ["user.a", "user.b"]
    assert (os.getxattr(real / "f", "user.a"), os.getxattr(path, "user.b")) == (b"one", b"\0" * 3000)
    with open(path, "wb") as file:
        os.setxattr(file.fileno(), "user.a", b"two", os.XATTR_REPLACE)
        file.write(b"data")
        assert os.getxattr(file.fileno(), "user.a") == b"two"
    os.removexattr(path, "user.b")
    path.rename(mounted / "g")
    assert os.listxattr(real / "g") == ["user.a"]
    for work in (lambda: os.setxattr(mounted / "g", "no.such", b""), lambda: os.setxattr(real / "g", "no.such", b"")):
        assert errno_of(work) == errno.EOPNOTSUPP


@pytest.mark.fuse
def test_a_buffer_that_is_too_small_is_an_error(mounted: Path) -> None:
    (mounted / "f").touch()
    os.setxattr(mounted / "f", "user.a", b"12345")
    libc = ctypes.CDLL(None, use_errno=True)
    room = ctypes.create_string_buffer(8)
    for name, source in ((b"user.a", mounted / "f"), (SOURCE.encode(), mounted / "data0001.img")):
        assert libc.getxattr(os.fsencode(source), name, room, ctypes.c_size_t(3)) == -1
        assert ctypes.get_errno() == errno.ERANGE
        assert libc.listxattr(os.fsencode(source), room, ctypes.c_size_t(3)) == -1
        assert ctypes.get_errno() == errno.ERANGE
    assert libc.getxattr(os.fsencode(mounted / "f"), b"user.a", None, ctypes.c_size_t(0)) == 5


@pytest.mark.fuse
def test_the_source_of_a_frame_is_an_extended_attribute(mounted: Path, real: Path) -> None:
    frame = mounted / "data0004.img"
    os.listdir(mounted)
    assert (os.listxattr(frame), os.getxattr(frame, SOURCE)) == ([SOURCE], f"{URL} frame 3".encode())
    for name in ("security.capability", "security.selinux", "system.posix_acl_access"):
        assert errno_of(lambda name=name: os.getxattr(frame, name)) == errno.EOPNOTSUPP
    assert errno_of(lambda: os.getxattr(frame, "user.x")) == errno.ENODATA
    assert errno_of(lambda: os.setxattr(frame, "user.x", b"1")) in (errno.EROFS, errno.EPERM, errno.EACCES)
    assert errno_of(lambda: os.removexattr(frame, SOURCE)) in (errno.EROFS, errno.EPERM, errno.EACCES)
    assert errno_of(lambda: os.listxattr(mounted / "no")) == errno.ENOENT
    frame.write_bytes(b"real")
    assert (os.listxattr(frame), os.listxattr(real / frame.name)) == ([], [])
    assert errno_of(lambda: os.getxattr(frame, SOURCE)) == errno.ENODATA
    assert os.listxattr(mounted) == os.listxattr(real)


@pytest.mark.fuse
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set these")
def test_attributes_of_root(mounted: Path, real: Path) -> None:
    path = mounted / "f"
    path.touch()
    acl = bytes.fromhex("0200000001000600ffffffff020004000100000004000400ffffffff10000600ffffffff20000400ffffffff")
    for name, value in (("trusted.a", b"1"), ("security.a", b"2"), ("system.posix_acl_access", acl)):
        os.setxattr(path, name, value)
        assert os.getxattr(path, name) == os.getxattr(real / "f", name) == value
    assert path.stat().st_mode & 0o777 == (real / "f").stat().st_mode & 0o777 == 0o664
    assert set(os.listxattr(path)) == set(os.listxattr(real / "f"))


@pytest.mark.fuse
def test_without_extended_attributes(serve: Serve, tmp_path: Path) -> None:
    mount = serve(xattr=False)
    (tmp_path / "demo" / "f").write_bytes(b"data")
    for name in ("f", "data0001.img"):
        assert errno_of(lambda name=name: os.setxattr(tmp_path / "demo" / name, "user.a", b"1")) == errno.EOPNOTSUPP
        assert errno_of(lambda name=name: os.getxattr(tmp_path / "demo" / name, SOURCE)) == errno.EOPNOTSUPP
    _, errors = mount.interrupt()
    assert errors == ""


# ---- space


@pytest.mark.fuse
def test_space_is_allocated_punched_and_zeroed(mounted: Path, real: Path) -> None:
    keep_size, punch_hole, collapse, zero = 1, 2, 8, 16
    libc = ctypes.CDLL(None, use_errno=True)

    def fallocate(fd: int, mode: int, at: int, size: int) -> int:
        done = libc.fallocate(fd, mode, ctypes.c_int64(at), ctypes.c_int64(size))
        return ctypes.get_errno() if done else 0

    fd = os.open(mounted / "f", os.O_RDWR | os.O_CREAT)
    plain = os.open(real / "plain", os.O_RDWR | os.O_CREAT)
    for each in (fd, plain):
        os.posix_fallocate(each, 0, 1 << 20)
        assert (os.fstat(each).st_size, os.fstat(each).st_blocks) >= (1 << 20, 2048)
        os.pwrite(each, b"\xff" * 65536, 0)
    for mode in (keep_size | punch_hole, keep_size | zero, zero, keep_size):
        wanted = fallocate(plain, mode, 4096, 8192)
        assert fallocate(fd, mode, 4096, 8192) == wanted
        assert os.pread(fd, 65536, 0) == os.pread(plain, 65536, 0)
    assert fallocate(fd, keep_size, 1 << 20, 4096) == 0
    assert os.fstat(fd).st_size == 1 << 20
    assert fallocate(fd, collapse, 0, 4096) == errno.EOPNOTSUPP  # the kernel asks no FUSE file system for it
    assert fallocate(fd, 0, 0, 0) == errno.EINVAL
    frame = os.open(mounted / "data0001.img", os.O_RDONLY)
    assert fallocate(frame, 0, 0, 4096) == errno.EBADF
    for each in (fd, plain, frame):
        os.close(each)


@pytest.mark.fuse
def test_what_libfuse_does_not_know_is_an_honest_errno(mounted: Path, real: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    (mounted / "a").write_bytes(b"a")
    (mounted / "b").write_bytes(b"b")

    def renamed(old: str, new: str, flags: int) -> int:
        done = libc.renameat2(-100, os.fsencode(mounted / old), -100, os.fsencode(mounted / new), flags)
        return ctypes.get_errno() if done else 0

    noreplace, exchange = 1, 2
    assert [renamed("a", "b", noreplace), renamed("a", "c", noreplace)] == [errno.EEXIST, errno.EINVAL]
    assert renamed("a", "b", exchange) == errno.EINVAL
    assert errno_of(lambda: os.open(mounted, os.O_TMPFILE | os.O_RDWR)) == errno.EOPNOTSUPP
    with open(mounted / "a", "r+b") as file, open(mounted / "data0001.img", "rb") as frame:
        os.truncate(file.fileno(), 1 << 20)
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 1 << 20
        assert os.lseek(file.fileno(), 5, os.SEEK_DATA) == 5
        assert os.copy_file_range(frame.fileno(), file.fileno(), 100, 0, 50) == 100
        assert os.pread(file.fileno(), 100, 50) == os.pread(frame.fileno(), 100, 0)
    assert sorted(os.listdir(real)) == ["a", "b"]
