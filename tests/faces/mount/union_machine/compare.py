# SPDX-License-Identifier: MIT
"""What two folders look like, so that they can be compared."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "PLACES",
    "Result",
    "Tree",
    "differences",
    "eventually",
    "is_file",
    "is_folder",
    "outcome",
    "read_whole",
    "seen",
    "tree",
    "walk",
]

PLACES = (0, 1, 4095, 4096, 70_000, 5 << 30)
_MOST = 1 << 20  # files are compared whole up to this size, else at their ends and where something was written
_AROUND = 40_000
_LARGE = 1 << 30  # larger files have holes here

Result = tuple[str, Any]
Tree = dict[bytes, tuple[object, ...]]


def outcome(work: Callable[[], Any]) -> Result:
    """What an operation returns, or the name of its errno."""
    try:
        return "ok", work()
    except OSError as exc:
        return "error", errno.errorcode.get(exc.errno or 0, str(exc))


def eventually(holds: Callable[[], bool], timeout_s: float = 15) -> bool:
    """Tell whether something holds now, or a little later: the kernel remembers attributes for a second."""
    end = time.monotonic() + timeout_s
    while True:
        is_late = time.monotonic() > end  # before the last look: this process may have slept
        if holds():
            return True
        if is_late:
            return False
        time.sleep(0.05)


def is_folder(path: bytes) -> bool:
    """Tell whether a folder, and no link to one, is there."""
    return os.path.isdir(path) and not os.path.islink(path)


def is_file(path: bytes) -> bool:
    """Tell whether a file, and no link to one, is there."""
    return os.path.isfile(path) and not os.path.islink(path)


def read_whole(path: bytes) -> bytes:
    """All bytes of a file; none where there is none."""
    try:
        return Path(os.fsdecode(path)).read_bytes()
    except OSError:
        return b""


def seen(path: bytes) -> list[bytes]:
    """The bytes of a file by which it is compared."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= _MOST:
            return [file.read()]
        return [os.pread(file.fileno(), _AROUND, place) for place in (*PLACES, size - _AROUND)]


def walk(root: bytes) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    """Paths below a folder, each as often as it is listed."""
    folders = [b""]
    while folders:
        folder = folders.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                path = os.path.join(folder, entry.name)
                yield path, entry
                if entry.is_dir(follow_symlinks=False):
                    folders.append(path)


def tree(root: bytes, *, links: bool) -> Tree:
    """Path -> how often it is listed, and mode, owner, size, whether it has holes, number of links; or text (of links).

    Parameters
    ----------
    root : bytes
    links : bool
        Count the links of files.
    """
    found: Tree = {}
    listed: dict[bytes, int] = {}
    for path, entry in walk(root):
        listed[path] = listed.get(path, 0) + 1
        try:
            status = os.lstat(os.path.join(root, path))
            text = os.readlink(os.path.join(root, path)) if stat.S_ISLNK(status.st_mode) else b""
        except OSError as exc:
            found[path] = (exc.errno,)
            continue
        facts: tuple[object, ...] = (listed[path], _kind(entry), status.st_mode, status.st_uid, status.st_gid)
        if stat.S_ISREG(status.st_mode):
            holes = status.st_size > _LARGE and status.st_blocks * 512 < status.st_size // 2
            facts += (status.st_size, holes, status.st_nlink if links else 0)
        found[path] = (*facts, text)
    return found


def _kind(entry: os.DirEntry[bytes]) -> str:
    """What a listing itself says of an entry's type."""
    if entry.is_symlink():
        return "link"
    return "folder" if entry.is_dir(follow_symlinks=False) else "file"


def differences(one: Tree, other: Tree) -> dict[bytes, tuple[Any, Any]]:
    """What is not the same in two trees."""
    return {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
