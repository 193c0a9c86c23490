# SPDX-License-Identifier: MIT
"""The rules of the union, without a mount."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import Caller

VIRTUAL, OTHER, NOTHING = "/data0001.img", "/data0002.img", "/nothing"


def listed(union: SimpleNamespace, path: str = "/") -> list[str]:
    fd = union.overlay.open_folder(path)
    try:
        return [name for name, _, _ in union.overlay.entries(fd, path)][1:]
    finally:
        os.close(fd)


def write(overlay: Overlay, path: str, data: bytes, flags: int, me: Caller) -> None:
    fd = overlay.open(path, os.O_WRONLY | flags, me)
    assert isinstance(fd, int)
    os.write(fd, data)
    os.close(fd)


def content_of(overlay: Overlay, path: str, me: Caller) -> bytes:
    opened = overlay.open(path, os.O_RDONLY, me)
    if isinstance(opened, int):
        with open(opened, "rb") as file:
            return file.read()
    bytes_of = opened.open()
    buffer = bytearray(bytes_of.size)
    bytes_of.read_into(buffer)
    return bytes(buffer)


def test_a_virtual_file_is_read(union: SimpleNamespace, served: ModuleType, me: Caller) -> None:
    assert content_of(union.overlay, OTHER, me) == served.content(1)


def test_a_real_file_wins(union: SimpleNamespace, served: ModuleType, me: Caller) -> None:
    (union.folder / "data0001.img").write_bytes(b"real")
    assert content_of(union.overlay, VIRTUAL, me) == b"real"
    assert union.overlay.attributes(VIRTUAL)["st_size"] == 4
    (union.folder / "data0001.img").unlink()
    assert content_of(union.overlay, VIRTUAL, me) == served.content(0)


def test_listing_has_each_name_once(union: SimpleNamespace, served: ModuleType) -> None:
    (union.folder / "data0003.img").write_bytes(b"real")
    (union.folder / "sub").mkdir()
    (union.folder / ".fuse_hidden0001").write_bytes(b"open somewhere")
    names = listed(union)
    assert len(names) == len(set(names)) == served.FRAMES + 1
    assert listed(union, "/sub") == []


def test_types_and_inodes_in_listings(union: SimpleNamespace) -> None:
    (union.folder / "sub").mkdir()
    (union.folder / "link").symlink_to("nowhere")
    os.mkfifo(union.folder / "pipe")
    (union.folder / "file").touch()
    fd = union.overlay.open_folder("/")
    found = {name: (kind, inode) for name, kind, inode in union.overlay.entries(fd, "/")}
    os.close(fd)
    expected = {"sub": stat.S_IFDIR, "link": stat.S_IFLNK, "pipe": 0, "file": stat.S_IFREG, VIRTUAL[1:]: stat.S_IFREG}
    assert {name: found[name][0] for name in expected} == expected
    for name in ("sub", "link", VIRTUAL[1:]):
        assert found[name][1] == union.overlay.attributes(f"/{name}")["st_ino"]


def test_virtual_files_are_in_the_root_only(union: SimpleNamespace, me: Caller) -> None:
    (union.folder / "sub").mkdir()
    for call in (union.overlay.attributes, lambda path: union.overlay.open(path, os.O_RDONLY, me)):
        with pytest.raises(FileNotFoundError):
            call("/sub/data0001.img")


MODIFICATIONS: dict[str, Callable[[Overlay, Caller], object]] = {
    "open to write": lambda o, me: o.open(VIRTUAL, os.O_WRONLY, me),
    "open to read and write": lambda o, me: o.open(VIRTUAL, os.O_RDWR, me),
    "open to append": lambda o, me: o.open(VIRTUAL, os.O_WRONLY | os.O_APPEND, me),
    "create without truncation": lambda o, me: o.create(VIRTUAL, os.O_RDWR | os.O_CREAT, 0o644, me),
    "unlink": lambda o, me: o.unlink(VIRTUAL),
    "rename": lambda o, me: o.rename(VIRTUAL, "/x"),
    "rename to another virtual name": lambda o, me: o.rename(VIRTUAL, OTHER),
    "link from": lambda o, me: o.link("/x", VIRTUAL),
    "chmod": lambda o, me: o.chmod(VIRTUAL, 0o644),
    "chown": lambda o, me: o.chown(VIRTUAL, 1, 1),
    "truncate": lambda o, me: o.truncate(VIRTUAL, 0),
    "set times": lambda o, me: o.set_times(VIRTUAL, 1, 1),
    "access to write": lambda o, me: o.check_access(VIRTUAL, os.W_OK),
}

OTHER_FAILURES: dict[str, tuple[int, Callable[[Overlay, Caller], object]]] = {
    "exclusive": (errno.EEXIST, lambda o, me: o.create(VIRTUAL, os.O_WRONLY | os.O_EXCL, 0o644, me)),
    "mkdir": (errno.EEXIST, lambda o, me: o.make_folder(VIRTUAL, 0o755, me)),
    "mknod": (errno.EEXIST, lambda o, me: o.make_node(VIRTUAL, stat.S_IFIFO | 0o644, 0, me)),
    "symlink": (errno.EEXIST, lambda o, me: o.make_link(VIRTUAL, "x", me)),
    "rmdir": (errno.ENOTDIR, lambda o, me: o.remove_folder(VIRTUAL)),
    "readlink": (errno.EINVAL, lambda o, me: o.read_link(VIRTUAL)),
    "access to run": (errno.EACCES, lambda o, me: o.check_access(VIRTUAL, os.X_OK)),
    "open nothing": (errno.ENOENT, lambda o, me: o.open(NOTHING, os.O_RDONLY, me)),
    "truncate nothing": (errno.ENOENT, lambda o, me: o.truncate(NOTHING, 0)),
    "unlink nothing": (errno.ENOENT, lambda o, me: o.unlink(NOTHING)),
    "rename nothing": (errno.ENOENT, lambda o, me: o.rename(NOTHING, "/x")),
    "access nothing": (errno.ENOENT, lambda o, me: o.check_access(NOTHING, os.F_OK)),
    "virtual attributes of nothing": (errno.ENOENT, lambda o, me: o.virtual_attributes(NOTHING, 1)),
}


@pytest.mark.parametrize("name", MODIFICATIONS)
def test_a_virtual_file_is_not_modified(union: SimpleNamespace, me: Caller, name: str) -> None:
    with pytest.raises(OSError, match="Read-only") as caught:
        MODIFICATIONS[name](union.overlay, me)
    assert caught.value.errno == errno.EROFS
    assert list(union.folder.iterdir()) == []


@pytest.mark.parametrize("name", OTHER_FAILURES)
def test_other_failures(union: SimpleNamespace, me: Caller, name: str) -> None:
    code, call = OTHER_FAILURES[name]
    with pytest.raises(OSError, match=r".") as caught:
        call(union.overlay, me)
    assert caught.value.errno == code
    assert list(union.folder.iterdir()) == []


def test_reading_is_allowed(union: SimpleNamespace) -> None:
    union.overlay.check_access(VIRTUAL, os.R_OK)


@pytest.mark.parametrize("by_create", [False, True])
def test_truncation_on_opening_makes_a_real_file(union: SimpleNamespace, me: Caller, by_create: bool) -> None:
    overlay = union.overlay
    before = os.umask(0)
    try:
        if by_create:
            fd = overlay.create(VIRTUAL, os.O_WRONLY | os.O_TRUNC, 0o600, me)
            os.write(fd, b"new")
            os.close(fd)
        else:
            write(overlay, VIRTUAL, b"new", os.O_TRUNC, me)
    finally:
        os.umask(before)
    assert (union.folder / "data0001.img").read_bytes() == b"new"
    assert overlay.attributes(VIRTUAL)["st_size"] == 3
    assert stat.S_IMODE(overlay.attributes(VIRTUAL)["st_mode"]) == 0o640
    overlay.unlink(VIRTUAL)
    assert overlay.attributes(VIRTUAL)["st_size"] > 3


def test_rename_over_a_virtual_name(union: SimpleNamespace, me: Caller) -> None:
    (union.folder / "tmp").write_bytes(b"saved")
    union.overlay.rename("/tmp", VIRTUAL)
    assert content_of(union.overlay, VIRTUAL, me) == b"saved"
    union.overlay.rename(VIRTUAL, "/away")
    assert content_of(union.overlay, VIRTUAL, me) != b"saved"
    (union.folder / "sub").mkdir()
    with pytest.raises(NotADirectoryError):
        union.overlay.rename("/sub", VIRTUAL)


def test_no_permission_does_not_uncover_a_virtual_file(
    union: SimpleNamespace, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr("fastlegacy.faces.mount.real.os.stat", refuse)
    with pytest.raises(PermissionError):
        union.overlay.attributes(VIRTUAL)


def test_hidden_files_of_this_mount_go_at_the_end(union: SimpleNamespace) -> None:
    for name in ("mine", "mine2", ".fuse_hidden_of_somebody_else"):
        (union.folder / name).touch()
    union.overlay.hide("/mine", "/.fuse_hidden01", is_replaced=False)
    union.overlay.hide("/mine2", "/.fuse_hidden02", is_replaced=False)
    union.overlay.unlink("/.fuse_hidden02")
    union.overlay.remove_hidden()
    assert [path.name for path in union.folder.iterdir()] == [".fuse_hidden_of_somebody_else"]


def test_free_space(union: SimpleNamespace) -> None:
    assert union.overlay.statistics()["f_bavail"] > 0
