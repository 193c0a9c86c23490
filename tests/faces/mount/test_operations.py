# SPDX-License-Identifier: MIT
"""What refuse calls: handles, errors, caching, counting."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fastlegacy import _serve
from fastlegacy.errors import DecodeError, FilterError
from fastlegacy.faces.mount.operations import Operations
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.rarely import Rarely
from fastlegacy.index.tree import Tree

VIRTUAL = "/data0001.img"


@pytest.fixture
def operations(union: SimpleNamespace) -> Operations:
    return operations_of(union.overlay)


def operations_of(overlay: Overlay, rarely: Rarely | None = None) -> Operations:
    return Operations(
        overlay,
        _serve.Handles(),
        lambda: (os.geteuid(), os.getegid(), os.getpid()),
        kernel_checks=True,
        on_init=lambda: None,
        rarely=rarely,
    )


def info(flags: int = os.O_RDONLY) -> SimpleNamespace:
    return SimpleNamespace(flags=flags, fh=0, keep_cache=0)


@pytest.fixture
def virtual(operations: Operations) -> Iterator[SimpleNamespace]:
    opened = info()
    operations("open", VIRTUAL, opened)
    yield opened
    operations._handles.release(opened.fh)


def test_open_virtual(operations: Operations, virtual: SimpleNamespace, served: ModuleType) -> None:
    assert virtual.keep_cache
    assert operations._handles.size(virtual.fh) == len(served.content(0))
    # fstat comes without a path
    assert operations("getattr", None, virtual) == operations("getattr", VIRTUAL)
    operations("fsync", None, 1, virtual)
    with pytest.raises(OSError, match="Read-only"):
        operations("truncate", None, 0, virtual)


def test_an_open_virtual_file_stays_one(
    operations: Operations, virtual: SimpleNamespace, union: SimpleNamespace
) -> None:
    (union.folder / VIRTUAL[1:]).write_bytes(b"real")
    assert operations("getattr", None, virtual)["st_size"] > 4
    assert operations("getattr", VIRTUAL)["st_size"] == 4


def test_create_write_and_truncate(operations: Operations, union: SimpleNamespace) -> None:
    made = info(os.O_RDWR | os.O_CREAT | os.O_EXCL)
    operations("create", "/new", 0o600, made)
    fd = operations._handles.fd(made.fh)
    os.write(fd, b"12345")
    operations("truncate", None, 2, made)
    operations("fsync", None, 0, made)
    assert operations("getattr", None, made)["st_size"] == 2
    operations._handles.release(made.fh)
    assert (union.folder / "new").read_bytes() == b"12"
    operations("truncate", "/new", 1)
    assert operations("getattr", "/new")["st_size"] == 1
    with pytest.raises(FileExistsError):
        operations("create", "/new", 0o600, made)


def test_pages_of_a_real_file_are_not_kept_for_the_virtual_one(operations: Operations, union: SimpleNamespace) -> None:
    def opened() -> SimpleNamespace:
        found = info()
        operations("open", VIRTUAL, found)
        operations._handles.release(found.fh)
        return found

    assert opened().keep_cache
    (union.folder / VIRTUAL[1:]).write_bytes(b"real")
    assert not opened().keep_cache
    (union.folder / VIRTUAL[1:]).unlink()
    assert not opened().keep_cache
    assert opened().keep_cache


def test_after_a_change_of_headers_the_kernel_looks_again_and_reads_again(
    union: SimpleNamespace, served: ModuleType
) -> None:
    version = 0
    operations = Operations(
        union.overlay,
        _serve.Handles(),
        lambda: (os.geteuid(), os.getegid(), os.getpid()),
        kernel_checks=True,
        on_init=lambda: None,
        version=lambda: version,
    )
    before = info()
    operations("open", VIRTUAL, before)
    assert before.keep_cache
    version = 1
    first = info()
    with pytest.raises(OSError, match=r".") as caught:
        operations("open", VIRTUAL, first)
    assert caught.value.errno == errno.ESTALE
    assert not first.fh
    assert operations("getattr", VIRTUAL)["st_size"] == len(served.content(0))
    operations("open", VIRTUAL, first)  # not one byte has changed, so that the old handle does not matter
    assert (first.keep_cache, hasattr(first, "direct_io")) == (0, False)
    assert operations("getattr", None, before)["st_size"] == len(served.content(0))
    for opened in (before, first):
        operations._handles.release(opened.fh)
    made = info(os.O_WRONLY | os.O_CREAT)
    operations("create", "/real", 0o600, made)  # what is real is never sent back
    operations._handles.release(made.fh)


def test_a_file_is_opened_anew_if_headers_change_meanwhile(
    union: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = [0]
    operations = Operations(
        union.overlay,
        _serve.Handles(),
        lambda: (0, 0, 0),
        kernel_checks=True,
        on_init=lambda: None,
        version=lambda: versions[-1],
    )
    open_pieces, attributes = Tree.open_pieces, union.overlay.attributes

    def opened_and_changed(tree: Tree, index: int) -> Any:
        made = open_pieces(tree, index)
        if len(versions) < 3:
            versions.append(len(versions))
        return made

    def told_and_changed(path: str) -> Any:
        found = attributes(path)
        if len(versions) < 5:
            versions.append(len(versions))
        return found

    monkeypatch.setattr(Tree, "open_pieces", opened_and_changed)
    opened = info()
    operations("open", VIRTUAL, opened)
    assert operations._handles.statistics()["opened"] == 1
    monkeypatch.setattr(operations._overlay, "attributes", told_and_changed)
    assert operations("getattr", VIRTUAL)
    assert versions == [0, 1, 2, 3, 4]
    operations._handles.release(opened.fh)


def test_listing(operations: Operations, union: SimpleNamespace, served: ModuleType) -> None:
    handle = operations("opendir", "/")
    entries = operations("readdir", None, handle)
    operations("fsyncdir", None, 0, handle)
    fd = operations._folders[handle].fd
    operations("releasedir", None, handle)
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    names = [name for name, _, _ in entries]
    assert names[:2] == [".", ".."]
    assert len(names) == served.FRAMES + 2
    assert {offset for _, _, offset in entries} == {0}
    assert entries[0][1]["st_ino"] == union.folder.stat().st_ino
    assert operations._folders == {}


def test_a_virtual_folder_is_listed(nested: SimpleNamespace, served: ModuleType) -> None:
    operations = operations_of(nested.overlay)
    handle = operations("opendir", "/deep")
    operations("fsyncdir", None, 0, handle)
    entries = {name: attributes for name, attributes, _ in operations("readdir", None, handle)}
    assert set(entries) == {".", "..", "pix"}
    for name, path in ((".", "/deep"), ("pix", "/deep/pix")):
        found = operations("getattr", path)
        assert entries[name] == {"st_mode": stat.S_IFDIR, "st_ino": found["st_ino"]}
    operations("mkdir", "/deep/new", 0o755)
    assert "new" in [name for name, _, _ in operations("readdir", None, handle)], "rewinddir shows what is new"
    operations("fsyncdir", None, 0, handle)
    operations("releasedir", None, handle)
    assert operations._folders == {}


def test_folders_that_are_open_at_once_are_not_mixed_up(nested: SimpleNamespace) -> None:
    operations = operations_of(nested.overlay)
    (nested.folder / "img").mkdir()
    handles = {path: operations("opendir", path) for path in ("/", "/img", "/deep", "/deep/pix", "/img")}
    assert len(set(handles.values())) == len(handles)
    counts = {path: len(operations("readdir", None, handle)) for path, handle in handles.items()}
    assert counts == {"/": 4, "/img": 14, "/deep": 3, "/deep/pix": 14}


def test_a_file_that_cannot_be_measured_is_one_line_of_the_log(
    operations: Operations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, served: ModuleType
) -> None:
    size_of = Tree.size_of

    def measured(tree: Tree, name: str) -> int:
        if name == VIRTUAL[1:]:
            raise DecodeError("chunk 0 is damaged", file="scan.h5", dataset="/x", frame=0)
        return size_of(tree, name)

    monkeypatch.setattr(Tree, "size_of", measured)
    for _ in range(3):
        with pytest.raises(OSError, match="damaged") as caught:
            operations("getattr", VIRTUAL)
        assert caught.value.errno == errno.EIO
    assert [record.getMessage() for record in caplog.records] == [
        f"getattr of {VIRTUAL}: scan.h5::/x frame 0: chunk 0 is damaged"
    ]
    assert operations("getattr", "/data0002.img")["st_size"] == len(served.content(1))
    assert VIRTUAL[1:] in [name for name, _, _ in operations("readdir", None, operations("opendir", "/"))]


def test_the_size_of_an_open_file_is_not_measured_again(
    operations: Operations, virtual: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, served: ModuleType
) -> None:
    def fail(*_: object) -> int:
        raise AssertionError("it was measured")

    monkeypatch.setattr(Tree, "size_of", fail)
    assert operations("getattr", None, virtual)["st_size"] == len(served.content(0))


def test_every_change_reaches_the_folder(operations: Operations, union: SimpleNamespace) -> None:
    operations("mkdir", "/sub", 0o755)
    operations("mknod", "/sub/node", 0o100644, 0)
    operations("symlink", "/sub/link", "node")
    operations("link", "/sub/hard", "/sub/node")
    operations("chmod", "/sub/node", 0o600)
    operations("chown", "/sub/node", -1, -1)
    operations("utimens", "/sub/node", (None, 5))
    operations("rename", "/sub/hard", "/moved")
    assert operations("readlink", "/sub/link") == "node"
    assert (union.folder / "moved").stat().st_mtime_ns == 5
    operations("utimens", "/moved")
    assert (union.folder / "moved").stat().st_mtime_ns > 5
    operations("unlink", "/sub/node")
    operations("unlink", "/sub/link")
    operations("rmdir", "/sub")
    assert [path.name for path in union.folder.iterdir()] == ["moved"]
    assert operations("statfs", "/")["f_blocks"] > 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("odd"), errno.EIO),
        (OSError("without a number"), errno.EIO),
        (SystemExit(3), errno.EIO),
        (KeyboardInterrupt(), errno.EIO),
        (PermissionError(errno.EACCES, "no"), errno.EACCES),
        (DecodeError("broken", file="f.h5", dataset="/d", frame=2), errno.EIO),
        (FilterError("missing"), errno.ENOTSUP),
    ],
)
def test_nothing_but_an_errno_gets_out(
    operations: Operations, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(_path: str) -> None:
        raise error

    monkeypatch.setattr(operations._overlay, "attributes", fail)
    with pytest.raises(OSError, match=r".") as caught:
        operations("getattr", "/x")
    assert caught.value.errno == code
    assert operations.counters.operations()["getattr"]["calls"] == 1


def test_an_internal_error_is_one_line_of_the_log(
    operations: Operations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(operations._overlay, "attributes", lambda _path: 1 / 0)
    with caplog.at_level(logging.INFO), pytest.raises(OSError, match="error"):
        operations("getattr", "/x")
    assert [record.getMessage() for record in caplog.records] == [
        "internal error in getattr: ZeroDivisionError: division by zero"
    ]


def test_a_thousand_files_that_cannot_be_measured_are_a_short_log(
    operations: Operations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(path: str) -> None:
        raise DecodeError("chunk is damaged", file="scan.h5", dataset="/x", frame=int(path[1:]))

    monkeypatch.setattr(operations._overlay, "attributes", fail)
    for _ in range(2):
        for number in range(1000):
            with pytest.raises(OSError, match="damaged"):
                operations("getattr", f"/{number}")
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "getattr of /0: scan.h5::/x frame 0: chunk is damaged"
    assert 50 <= len(lines) <= 110
    assert len(set(lines)) == len(lines)


def test_what_cannot_be_measured_is_told_again_after_a_minute(
    union: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = iter((0.0, 0.0, 1.0, 61.0))  # the first is when it began
    operations = operations_of(union.overlay, Rarely(clock=lambda: next(seconds)))

    def fail(_path: str) -> None:
        raise DecodeError("chunk is damaged", file="scan.h5", dataset="/x", frame=0)

    monkeypatch.setattr(operations._overlay, "attributes", fail)
    for _ in range(3):
        with pytest.raises(OSError, match="damaged"):
            operations("getattr", "/0")
    line = "getattr of /0: scan.h5::/x frame 0: chunk is damaged"
    assert [record.getMessage() for record in caplog.records] == [line, f"{line} (and 1 times before)"]


def test_an_internal_error_that_comes_again_and_again_is_one_line_of_the_log(
    operations: Operations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(operations._overlay, "attributes", lambda _path: 1 / 0)
    with caplog.at_level(logging.DEBUG):
        for number in range(1000):
            with pytest.raises(OSError, match="error"):
                operations("getattr", f"/{number}")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("ERROR", "internal error in getattr: ZeroDivisionError: division by zero"),
        ("DEBUG", "traceback of the internal error"),
    ]


def test_slots(operations: Operations, union: SimpleNamespace) -> None:
    for name in ("read", "write", "flush", "release", "fallocate"):
        assert isinstance(getattr(operations, name), int)
    assert operations.access is None
    checking = Operations(
        union.overlay, _serve.Handles(), lambda: (0, 0, 0), kernel_checks=False, on_init=lambda: None, xattr=False
    )
    assert {checking.getxattr, checking.setxattr, checking.listxattr, checking.removexattr} == {None}
    checking("access", VIRTUAL, os.R_OK)
    with pytest.raises(OSError, match="Read-only"):
        checking("access", VIRTUAL, os.W_OK)


def test_life(union: SimpleNamespace) -> None:
    happened: list[str] = []
    operations = Operations(
        union.overlay, _serve.Handles(), lambda: (0, 0, 0), kernel_checks=True, on_init=lambda: happened.append("init")
    )
    assert operations("init", "/") is None
    assert happened == ["init"]


def test_a_path_that_libfuse_left_out(operations: Operations) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        operations("getattr", None)
    assert caught.value.errno == errno.ESTALE
