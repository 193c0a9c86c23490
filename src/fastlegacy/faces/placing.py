# SPDX-License-Identifier: MIT
"""Puts whole files into place: written under a hidden name in the same folder, then given their name in one step.

A name such as ``.fastlegacy-part-<host>-<process>-<number>`` says who writes the file, so that what an interrupted
process left behind can be told from what a living one is writing.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from fastlegacy.errors import ExportError

__all__ = ["Part", "Parts", "export_error", "place", "remove_leftovers"]

_PREFIX = ".fastlegacy-part-"
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}
_NO_RENAMEAT2 = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP}
_AT_FDCWD = -100  # linux/fcntl.h
_RENAME_NOREPLACE = 1  # linux/fs.h


def export_error(error: OSError, path: Path) -> ExportError:
    """Return an error that says what the operating system has against a file or folder, and what helps."""
    hints = {
        errno.ENOSPC: "make room, then the same command goes on where it stopped",
        errno.EDQUOT: "your quota is used up; make room, then the same command goes on where it stopped",
        errno.EEXIST: "another program made it meanwhile; look at it, then start again",
        errno.EACCES: "choose a folder that you may write to",
        errno.EROFS: "choose a folder on a file system that can be written to",
        errno.ENOTDIR: "choose a folder",
    }
    result = ExportError(f"cannot be written: {error.strerror or error}", file=path, hint=hints.get(error.errno or 0))
    result.errno = error.errno or result.errno
    return result


class Part:
    """A file that is being written under a hidden name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        self._lock = threading.Lock()

    def write(self, data: memoryview, offset: int) -> None:
        """Write all of the data at an offset; several threads may do so at the same time."""
        while data:
            done = self._write_some(data, offset)
            data, offset = data[done:], offset + done

    def close(self) -> None:
        """Close the file (once more does nothing); some file systems say only now that the disk is full."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _write_some(self, data: memoryview, offset: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._fd, data, offset)
        with self._lock:  # Windows has no call that seeks and writes in one
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.write(self._fd, data)


class Parts:
    """Makes the hidden files of one export in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = count()

    @contextlib.contextmanager
    def create(self) -> Iterator[Part]:
        """Make an empty hidden file, and remove what is left of it at the end."""
        part = Part(self._folder / f"{_PREFIX}{_host()}-{os.getpid()}-{id(self):x}{next(self._numbers)}")
        try:
            yield part
        finally:
            with contextlib.suppress(OSError):  # the error that matters is the one that led here
                part.close()
            part.path.unlink(missing_ok=True)


def place(part: Path, final: Path, *, overwrite: bool) -> None:
    """Give a complete file its name in one step; without `overwrite`, never in place of another file.

    Raises
    ------
    FileExistsError
        If there is a file of this name already and `overwrite` is false.
    OSError
        If the file system refuses.
    """
    if overwrite:
        part.replace(final)
    elif os.name == "nt":
        part.rename(final)  # which on Windows never replaces
    else:
        _place_new(part, final)


def _place_new(part: Path, final: Path) -> None:
    try:
        os.link(part, final, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    else:
        part.unlink()
        return
    if not _rename_new(part, final):
        # no way in one step here: claim the name first, so that nobody else's file can be replaced
        os.close(os.open(final, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        part.replace(final)


def _rename_new(part: Path, final: Path) -> bool:
    """Rename by Linux's renameat2, which can refuse to replace; False where there is no such thing."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if not renameat2(_AT_FDCWD, os.fsencode(part), _AT_FDCWD, os.fsencode(final), _RENAME_NOREPLACE):
        return True
    code = ctypes.get_errno()
    if code in _NO_RENAMEAT2:
        return False
    raise OSError(code, os.strerror(code), str(part), None, str(final))


def remove_leftovers(folder: Path) -> int:
    """Remove the hidden files of processes of this machine that are no more; return how many."""
    removed = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and _is_leftover(entry.name):
                # another export may tidy up at the same time; on Windows a file in use cannot be removed
                with contextlib.suppress(FileNotFoundError, PermissionError):
                    os.unlink(entry.path)
                    removed += 1
    return removed


def _is_leftover(name: str) -> bool:
    host, _, rest = name.removeprefix(_PREFIX).rpartition("-")[0].rpartition("-")
    if host != _host() or not rest.isdecimal():
        return False
    return not _is_alive(int(rest))


def _is_alive(pid: int) -> bool:
    if pid == os.getpid():
        return True
    if os.name == "nt":
        return False  # os.kill would end the process there; a file in use cannot be removed anyhow
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _host() -> str:
    return "".join(char if char.isalnum() else "_" for char in platform.node()) or "host"
