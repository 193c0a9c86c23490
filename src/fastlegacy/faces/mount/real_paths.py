# SPDX-License-Identifier: MIT
"""The real folder reached by its path, for Windows, which has no descriptors of folders.

Each folder on the way to an entry is looked at before the entry is used: none of them may be a link or a junction, and
no name may be one that Windows takes for something else (``..``, a drive, a stream). Another program that has the right
to put a link into the folder can do so between the look and the use; a descriptor would not let it.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import NoReturn

from fastlegacy.faces.mount.real import Attributes, Caller, RealFolder, attributes_of, failure
from fastlegacy.faces.mount.win32 import O_BINARY

__all__ = ["RealPaths"]

_KEPT_FLAGS = 3 | os.O_APPEND | os.O_TRUNC
_NAME_SURROGATE = 0x20000000  # of the tags of reparse points those that stand for another place: links and junctions
_UNFIT = frozenset("/\\:\0")
_BLOCK_BYTES = 4096
_NAME_MAX = 255


class RealPaths(RealFolder):
    """A folder and all below it, by paths such as ``/sub/name``: what :class:`RealFolder` is elsewhere.

    Parameters
    ----------
    folder : str
        Its path, absolute.
    opener : callable
        Opens a file as ``os.open`` does, by path, flags and mode.
    """

    def __init__(self, folder: str, *, opener: Callable[[str, int, int], int] = os.open) -> None:
        self._root = _whole(folder)
        self._open_file = opener
        self.give_away = False
        self._folders: dict[int, str] = {}
        self._numbers = count(1)
        self._lock = threading.Lock()

    def _parent(self, path: str) -> NoReturn:
        # what RealFolder has and is not below here cannot be done without descriptors
        raise failure(errno.ENOTSUP, path)

    def _path(self, path: str) -> str:
        """Return the whole path of an entry; the folders above it are there, and are folders."""
        *folders, name = path.strip("/").split("/")
        whole = self._root
        for folder in folders:
            if folder == "." or not _is_fit(folder):
                raise failure(errno.ENOENT, path)
            whole = os.path.join(whole, folder)
            found = os.lstat(whole)
            if _is_link(found) or not stat.S_ISDIR(found.st_mode):
                raise failure(errno.ENOTDIR, path)
        if name in ("", "."):
            return whole
        if not _is_fit(name):
            raise failure(errno.ENOENT, path)
        return os.path.join(whole, name)

    def _entry_path(self, path: str) -> str:
        """Return the whole path of what is to be renamed or removed: not of the folder itself."""
        if path.strip("/").rpartition("/")[2] in ("", "."):
            raise failure(errno.EINVAL, path)
        return self._path(path)

    def attributes(self, path: str) -> Attributes:
        """Attributes of an entry (of the link itself if it is one)."""
        return attributes_of(os.lstat(self._path(path)))

    def check_access(self, path: str, mode: int) -> None:
        """Raise PermissionError unless this process may use an entry in this way."""
        whole = self._path(path)
        os.lstat(whole)
        if not os.access(whole, mode):
            raise failure(errno.EACCES, path)

    def statistics(self) -> dict[str, int]:
        """Return size and free space of the drive as ``f_*`` names and values of statvfs(3)."""
        found = shutil.disk_usage(self._root)
        free = found.free // _BLOCK_BYTES
        return {
            "f_bsize": _BLOCK_BYTES,
            "f_frsize": _BLOCK_BYTES,
            "f_blocks": found.total // _BLOCK_BYTES,
            "f_bfree": free,
            "f_bavail": free,
            "f_namemax": _NAME_MAX,
        }

    # ---- folders that are listed have a number instead of a descriptor

    def open_folder(self, path: str) -> int:
        """Return a number for a folder that is to be listed."""
        whole = self._path(path)
        found = os.lstat(whole)
        if _is_link(found) or not stat.S_ISDIR(found.st_mode):
            raise failure(errno.ENOTDIR, path)
        with self._lock:
            number = next(self._numbers)
            self._folders[number] = whole
        return number

    def entries(self, fd: int) -> Iterator[os.DirEntry[str]]:
        """Iterate over the entries of a folder."""
        with os.scandir(self._folders[fd]) as found:
            yield from found

    def inode_of_folder(self, fd: int) -> int:
        """Return the inode number of a folder."""
        return os.lstat(self._folders[fd]).st_ino

    def sync_folder(self, fd: int) -> None:
        """Nothing: Windows keeps its folders by a journal, and offers no such call."""

    def close_folder(self, fd: int) -> None:
        """Forget a number."""
        with self._lock:
            del self._folders[fd]

    # ---- files

    def _open_path(self, path: str, flags: int, mode: int) -> int:
        whole = self._path(path)
        with suppress(FileNotFoundError):
            if _is_link(os.lstat(whole)):
                raise failure(errno.EEXIST if flags & os.O_EXCL else errno.ELOOP, path)
        return self._open_file(whole, flags | O_BINARY, mode)

    def open(self, path: str, flags: int, caller: Caller | None = None) -> int:
        """Open a file that is there; the descriptor is the caller's. O_APPEND and O_TRUNC are kept."""
        del caller
        return self._open_path(path, flags & _KEPT_FLAGS, 0)

    def create(self, path: str, flags: int, mode: int, caller: Caller) -> int:
        """Open a file, which is made if it is not there; O_EXCL is kept too."""
        del caller
        return self._open_path(path, flags & (_KEPT_FLAGS | os.O_EXCL) | os.O_CREAT, mode)

    def make_node(self, path: str, mode: int, device: int, caller: Caller) -> None:
        """Make a plain file; Windows has nothing else of this kind."""
        del device
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise failure(errno.EPERM, path)
        os.close(self.create(path, os.O_WRONLY | os.O_EXCL, stat.S_IMODE(mode), caller))

    def make_folder(self, path: str, mode: int, caller: Caller) -> None:
        """Make a folder."""
        del caller
        os.mkdir(self._path(path), mode)

    def _make_inheriting(self, path: str, made: list[str]) -> None:
        with suppress(FileExistsError):
            os.mkdir(self._path(path))
            made.append(path)

    def inherited(self, path: str) -> Attributes:
        """Permissions and owner of a folder that is made for what is put into it: those of the uppermost folder."""
        del path
        found = self.attributes("/")
        return {"st_mode": stat.S_IMODE(found["st_mode"]), "st_uid": found["st_uid"], "st_gid": found["st_gid"]}

    def make_link(self, path: str, text: str, caller: Caller) -> None:
        """Make a symbolic link that holds this text; Windows lets only some users do so."""
        del caller
        os.symlink(text, self._path(path))

    def link(self, path: str, existing: str) -> None:
        """Give an existing file one more name."""
        whole = self._path(existing)
        if _is_link(os.lstat(whole)):
            raise failure(errno.EPERM, existing)
        os.link(whole, self._path(path))

    def read_link(self, path: str) -> str:
        """Text of a symbolic link."""
        return os.readlink(self._path(path))

    def rename(self, old_path: str, new_path: str) -> None:
        """Rename, over an existing file too."""
        os.replace(self._entry_path(old_path), self._entry_path(new_path))

    def unlink(self, path: str) -> None:
        """Remove a name that is not a folder."""
        os.unlink(self._path(path))

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        os.rmdir(self._entry_path(path))

    def chmod(self, path: str, mode: int) -> None:
        """Set the permissions, of which Windows keeps whether anybody may write."""
        whole = self._path(path)
        if _is_link(os.lstat(whole)):
            raise failure(errno.ENOTSUP, path)
        os.chmod(whole, stat.S_IMODE(mode))

    def chown(self, path: str, uid: int, gid: int) -> None:
        """Nothing is given away: files belong to whoever has mounted. ENOSYS is what WinFsp passes over."""
        del uid, gid
        raise failure(errno.ENOSYS, path)

    def set_times(self, path: str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set the times, nanoseconds since 1970; None leaves one as it is."""
        whole = self._path(path)
        found = os.lstat(whole)
        if _is_link(found):
            raise failure(errno.ENOTSUP, path)
        times = (
            found.st_atime_ns if atime_ns is None else atime_ns,
            found.st_mtime_ns if mtime_ns is None else mtime_ns,
        )
        os.utime(whole, ns=times)


def _whole(folder: str) -> str:
    # with this prefix Windows takes paths as they are: NUL and "name." are files, and 260 characters are no limit
    folder = os.path.abspath(folder)
    if os.name != "nt" or folder.startswith("\\\\?\\"):
        return folder
    return f"\\\\?\\UNC{folder[1:]}" if folder.startswith("\\\\") else f"\\\\?\\{folder}"


def _is_fit(name: str) -> bool:
    return name not in ("", "..") and _UNFIT.isdisjoint(name)


def _is_link(found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) or bool(getattr(found, "st_reparse_tag", 0) & _NAME_SURROGATE)
