# SPDX-License-Identifier: MIT
"""The real folder by paths does what the one by descriptors does, which is the oracle here; and it has no way out."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastlegacy.faces.mount import real_paths
from fastlegacy.faces.mount.real import Caller, RealFolder
from fastlegacy.faces.mount.real_paths import RealPaths

TIMES = ("st_atime", "st_mtime", "st_ctime", "st_ino")


def filled(folder: Path) -> Path:
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub" / "file").write_bytes(b"inside\r\n\x1a")
    (folder.parent / "secret").write_text("outside")
    (folder / "out").symlink_to(folder.parent)
    (folder / "link").symlink_to("sub/file")
    (folder / "nowhere").symlink_to("nothing")
    return folder


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[RealFolder, RealPaths]]:
    """Two equal folders: the first behind a descriptor, the second by its path."""
    first, second = (filled(tmp_path / name / "inside") for name in "12")
    fd = os.open(first, os.O_PATH | os.O_DIRECTORY)
    yield RealFolder(fd, give_away=False), RealPaths(str(second))
    os.close(fd)


def outcome(call: Callable[[RealFolder], Any], real: RealFolder) -> Any:
    """Return what a call returns, or its errno; what is an open file as what is in it."""
    try:
        found = call(real)
    except OSError as error:
        return error.errno
    if isinstance(found, dict):
        return {name: value for name, value in found.items() if name not in TIMES}
    return found


def content(fd: int) -> bytes:
    with open(fd, "rb") as file:
        return file.read()


def listed(real: RealFolder, path: str) -> list[str]:
    fd = real.open_folder(path)
    try:
        return sorted(entry.name for entry in real.entries(fd))
    finally:
        real.close_folder(fd)


ME = Caller(os.geteuid(), os.getegid())
PATHS = [
    *("/", "/sub", "/sub/", "/sub/.", "/sub/file", "/link", "/nowhere", "/nothing", "/sub/nothing", "/sub/file/x"),
    *("/../secret", "/sub/../../secret", "/..", "/sub/..", "/./sub/file", "/sub//file", "/out/secret", "/link/x"),
]
CALLS: dict[str, Callable[[RealFolder, str], Any]] = {
    "attributes": lambda real, path: real.attributes(path),
    "exists": lambda real, path: real.exists(path),
    "listing": listed,
    "reading": lambda real, path: content(real.open(path, os.O_RDONLY)),
    "emptying": lambda real, path: content(real.open(path, os.O_RDWR | os.O_TRUNC)),
    "creating": lambda real, path: os.close(real.create(path, os.O_WRONLY, 0o644, ME)),
    "creating anew": lambda real, path: os.close(real.create(path, os.O_WRONLY | os.O_EXCL, 0o644, ME)),
    "a node": lambda real, path: real.make_node(path, stat.S_IFREG | 0o600, 0, ME),
    "a folder": lambda real, path: real.make_folder(path, 0o755, ME),
    "a link": lambda real, path: real.make_link(path, "text", ME),
    "what a link says": lambda real, path: real.read_link(path),
    "another name": lambda real, path: real.link(path, "/sub/file"),
    "renaming": lambda real, path: real.rename("/sub/file", path),
    "renaming it": lambda real, path: real.rename(path, "/new"),
    "removing": lambda real, path: real.unlink(path),
    "removing a folder": lambda real, path: real.remove_folder(path),
    "truncating": lambda real, path: real.truncate(path, 2),
    "access": lambda real, path: real.check_access(path, os.R_OK),
}
# a link's own permissions always allow everything, and os.access of Windows looks through it
DIFFERENT = {("access", "/nowhere")}
# refused by both, for different reasons
REFUSED = {(name, path) for name in ("renaming", "renaming it", "removing a folder") for path in ("/", "/sub/.")}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", CALLS)
def test_it_does_what_the_one_by_descriptors_does(
    both: tuple[RealFolder, RealPaths], tmp_path: Path, name: str, path: str
) -> None:
    call = CALLS[name]
    done = [outcome(lambda real: call(real, path), real) for real in both]
    if (name, path) in REFUSED:
        assert all(isinstance(code, int) and code > 0 for code in done)
    elif (name, path) not in DIFFERENT:
        assert done[0] == done[1]
    trees = [
        {str(p.relative_to(tmp_path / part)): p.is_file() and p.read_bytes() for p in (tmp_path / part).rglob("*")}
        for part in "12"
    ]
    assert trees[0] == trees[1]
    assert (tmp_path / "2" / "secret").read_text() == "outside"


@pytest.mark.parametrize("path", ["/sub\\file", "/C:", "/file:stream", "/sub/x:y", "/a\0b", "/c:/sub/file"])
def test_no_name_is_taken_that_means_something_else_to_windows(both: tuple[RealFolder, RealPaths], path: str) -> None:
    for call in (
        lambda: both[1].attributes(path),
        lambda: both[1].create(path, os.O_WRONLY, 0o644, ME),
        lambda: both[1].make_folder(path, 0o755, ME),
    ):
        with pytest.raises(FileNotFoundError):
            call()


def test_no_way_through_a_junction(both: tuple[RealFolder, RealPaths], monkeypatch: pytest.MonkeyPatch) -> None:
    lstat = os.lstat

    def with_tag(path: str) -> Any:
        found = lstat(path)
        names = ("st_mode", "st_size", "st_ino", "st_nlink", "st_uid", "st_gid")
        tag = {"sub": 0xA0000003, "deep": 0x9000001A}.get(os.path.basename(path), 0)  # a junction; a file of OneDrive
        return SimpleNamespace(**{name: getattr(found, name) for name in names}, st_reparse_tag=tag)

    monkeypatch.setattr(real_paths.os, "lstat", with_tag)
    for call in (lambda: both[1].open("/sub/file", os.O_RDONLY), lambda: both[1].open_folder("/sub")):
        with pytest.raises(NotADirectoryError):
            call()
    monkeypatch.setattr(real_paths.os, "lstat", lambda path: with_tag(path.replace("sub", "deep")))
    monkeypatch.setattr(real_paths.os.path, "join", lambda *parts: "/".join(parts))
    assert real_paths._is_link(with_tag(both[1]._root)) is False


def test_folders_are_made_for_what_is_put_into_them_and_go_if_it_fails(both: tuple[RealFolder, RealPaths]) -> None:
    for real in both:
        with real.parents_made("/a/b/c"):
            os.close(real.create("/a/b/c", os.O_WRONLY, 0o644, ME))
        with pytest.raises(ZeroDivisionError), real.parents_made("/x/y/z"):
            raise ZeroDivisionError
        assert listed(real, "/a/b") == ["c"]
        assert not real.exists("/x")
        assert stat.S_IMODE(real.inherited("/a/b")["st_mode"]) == real.attributes("/")["st_mode"] & 0o7777


def test_times_can_be_left_alone(both: tuple[RealFolder, RealPaths]) -> None:
    real = both[1]
    real.set_times("/sub/file", 5_000_000_001, 6)
    real.set_times("/sub/file", None, 7)
    real.set_times("/sub/file", 8, None)
    found = real.attributes("/sub/file")
    assert (found["st_atime"], found["st_mtime"]) == (8, 7)


def test_what_windows_has_not_is_said_to_be_impossible(both: tuple[RealFolder, RealPaths]) -> None:
    real = both[1]
    for code, call in (
        (errno.ENOSYS, lambda: real.chown("/sub/file", 1, 1)),
        (errno.EPERM, lambda: real.make_node("/pipe", stat.S_IFIFO | 0o600, 0, ME)),
        (errno.EPERM, lambda: real.link("/again", "/link")),
        (errno.ENOTSUP, lambda: real.chmod("/link", 0o600)),
        (errno.ENOTSUP, lambda: real.set_times("/link", 1, 1)),
        (errno.ENOTSUP, lambda: real._parent("/sub/file")),
    ):
        with pytest.raises(OSError) as caught:  # noqa: PT011 - its number is what is looked at
            call()
        assert caught.value.errno == code


def test_permissions_and_free_space(both: tuple[RealFolder, RealPaths]) -> None:
    both[1].chmod("/sub/file", 0o400)
    assert stat.S_IMODE(both[1].attributes("/sub/file")["st_mode"]) == 0o400
    sizes = [found["f_blocks"] * found["f_frsize"] for found in (real.statistics() for real in both)]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.01)


def test_files_are_opened_by_who_knows_how(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []

    def opener(path: str, flags: int, mode: int) -> int:
        seen.append((path, flags, mode))
        return os.open(path, flags, mode)

    real = RealPaths(str(filled(tmp_path / "inside")), opener=opener)
    os.close(real.open("/sub/file", os.O_RDWR | os.O_TRUNC | os.O_DIRECTORY))
    os.close(real.create("/sub/new", os.O_WRONLY | os.O_APPEND, 0o640, ME))
    assert seen == [
        (str(tmp_path / "inside" / "sub" / "file"), os.O_RDWR | os.O_TRUNC, 0),
        (str(tmp_path / "inside" / "sub" / "new"), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640),
    ]


@pytest.mark.parametrize(
    ("folder", "whole"),
    [("C:\\data\\work", "\\\\?\\C:\\data\\work"), ("\\\\server\\share\\x", "\\\\?\\UNC\\server\\share\\x")],
)
def test_windows_is_told_to_take_paths_as_they_are(monkeypatch: pytest.MonkeyPatch, folder: str, whole: str) -> None:
    monkeypatch.setattr(real_paths, "os", SimpleNamespace(name="nt", path=SimpleNamespace(abspath=str)))
    assert real_paths._whole(folder) == whole
    assert real_paths._whole(whole) == whole
