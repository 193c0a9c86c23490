# SPDX-License-Identifier: MIT
"""Open files: HDF5 files through h5py for the index, and the table of plain files that the kernels read.

Both are bounded. Files are only ever opened for reading, and without HDF5's lock: a lock would stop the program that
may still be writing, and on some network file systems cannot be had at all.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import h5py

from fastlegacy import _core
from fastlegacy.errors import SourceError

__all__ = ["Context", "default_context", "stat_source"]

DEFAULT_CACHE_BYTES = 512 << 20
_MOST_OPEN = 256


class Context:
    """What the stacks of a process share: the cache, the table of plain files, the HDF5 files that are open.

    Parameters
    ----------
    cache_bytes : int
        Bound of the cache of chunks.
    max_open : int, optional
        Bound of open files, of each of the two kinds; by default an eighth of what the system allows, at most 256.
    """

    def __init__(self, cache_bytes: int = DEFAULT_CACHE_BYTES, max_open: int | None = None) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.max_open = max_open or max(2, min(_MOST_OPEN, limit // 8))
        self.cache = _core.Cache(cache_bytes)
        self.files = _core.Files(self.max_open)
        self._numbers: dict[tuple[str, int, int, int], int] = {}
        self._redirects: dict[str, str] = {}
        self._h5: OrderedDict[str, h5py.File] = OrderedDict()
        self._lock = threading.RLock()

    def number(self, path: str) -> int:
        """Number of a plain file in the kernels' table. It is the file that is there now, and must stay it.

        Raises
        ------
        SourceError
            If the file is missing.
        """
        real = self.real_path(path)
        status = stat_source(path, real)
        key = (path, status.st_size, status.st_ino, status.st_mtime_ns)
        with self._lock:
            if key not in self._numbers:
                self._numbers[key] = self.files.add(
                    os.fsencode(real), status.st_size, status.st_ino, status.st_mtime_ns
                )
            return self._numbers[key]

    def real_path(self, path: str) -> str:
        """By which path a file is opened: another one while a mount covers the folder that it is in."""
        for prefix, replacement in self._redirects.items():
            if path.startswith(prefix + os.sep):
                return replacement + path[len(prefix) :]
        return path

    def redirect(self, prefix: str, replacement: str) -> None:
        """From now on open the files below a folder through another path to it."""
        with self._lock:
            self._redirects[os.path.realpath(prefix)] = replacement
            for (path, *_), number in self._numbers.items():
                self.files.rename(number, os.fsencode(self.real_path(path)))
            self.close_h5()

    def end_redirect(self, prefix: str) -> None:
        """Open the files below a folder by their own paths again."""
        with self._lock:
            self._redirects.pop(os.path.realpath(prefix), None)
            for (path, *_), number in self._numbers.items():
                self.files.rename(number, os.fsencode(self.real_path(path)))
            self.close_h5()

    @contextmanager
    def open_h5(self, path: str) -> Iterator[h5py.File]:
        """An HDF5 file, open for reading; kept open afterwards, as one of a bounded number.

        Raises
        ------
        SourceError
            If the file is missing, is not HDF5, or is cut short.
        """
        with self._lock:
            h5 = self._h5.pop(path, None)
            if h5 is None:
                while len(self._h5) >= self.max_open:
                    self._h5.popitem(last=False)[1].close()
                h5 = open_for_reading(path, self.real_path(path))
            self._h5[path] = h5
            yield h5

    @contextmanager
    def no_h5_left(self) -> Iterator[None]:
        """Files opened inside are closed at the end: while one is open, nobody in this process can write it anew."""
        try:
            yield
        finally:
            self.close_h5()

    def close_h5(self) -> None:
        """Close every HDF5 file that is kept open."""
        with self._lock:
            while self._h5:
                self._h5.popitem()[1].close()


@cache
def default_context() -> Context:
    """The context that all stacks of this process share unless told otherwise."""
    os.register_at_fork(after_in_child=default_context.cache_clear)
    return Context()


def stat_source(path: str, real: str | None = None) -> os.stat_result:
    """``os.stat`` of a source file, with an error that names it."""
    try:
        return os.stat(real or path)
    except OSError as exc:
        raise SourceError(f"cannot be read: {exc.strerror}", file=path, hint="check the path and the mount") from exc


def open_for_reading(path: str, real: str) -> h5py.File:
    """Open an HDF5 file, never for writing; say in words what is wrong where that fails."""
    status = stat_source(path, real)
    if os.path.isdir(real):
        raise SourceError("is a folder, not an HDF5 file", file=path, hint="name a file in it; `fastlegacy ls` helps")
    try:
        return h5py.File(real, "r", locking=False)
    except OSError as exc:
        text = str(exc)
    if not os.access(real, os.R_OK):
        raise SourceError(f"cannot be read: {os.strerror(errno.EACCES)}", file=path, hint="check its permissions")
    if "truncated file" in text:
        raise SourceError(
            f"is cut short: HDF5 expects more than its {status.st_size} bytes",
            file=path,
            hint="copy it again from its source, or wait until it is written",
        )
    if status.st_size == 0 or "signature not found" in text:
        raise SourceError("is not an HDF5 file", file=path, hint="check its name")
    raise SourceError(f"HDF5 cannot open it: {text}", file=path, hint="try `h5ls` or `h5stat` on it")
