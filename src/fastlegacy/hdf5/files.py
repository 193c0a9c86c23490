# SPDX-License-Identifier: MIT
"""Open files: HDF5 files through h5py for the index, and the table of plain files that the kernels read.

Both are bounded. Files are only ever opened for reading, and without HDF5's lock: a lock would stop the program that
may still be writing, and on some network file systems cannot be had at all.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import h5py

from fastlegacy import _core
from fastlegacy.errors import SilentSourceError, SourceError

__all__ = ["Context", "default_context", "stat_source"]

DEFAULT_CACHE_BYTES = 512 << 20
_MOST_OPEN = 256
_MOST_H5 = 8  # each takes half a megabyte of HDF5's
_MOST_FOLDERS = 10_000
_WINDOWS_OPEN = 8192  # of the C library there


def _open_limit() -> int:
    """Return how many files a process may have open."""
    if sys.platform == "win32":
        return _WINDOWS_OPEN
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Context:
    """What the stacks of a process share: the cache, the table of plain files, the HDF5 files that are open.

    Parameters
    ----------
    cache_bytes : int
        Bound of the cache of chunks.
    max_open : int, optional
        Bound of open files; by default an eighth of what the system allows, at most 256. Of those that HDF5 has open
        there are never more than 8.
    """

    def __init__(self, cache_bytes: int = DEFAULT_CACHE_BYTES, max_open: int | None = None) -> None:
        self.max_open = max_open or max(2, min(_MOST_OPEN, _open_limit() // 8))
        self.cache = _core.Cache(cache_bytes)
        self.files = _core.Files(self.max_open)
        self.growing = False
        self._files: dict[str, list[weakref.ref[_core.File]]] = {}  # path -> the files it has been that are in use
        self._redirects: dict[str, str] = {}
        self._covered: dict[str, str] = {}
        self._paths: set[str] = set()
        self._h5: OrderedDict[str, _Kept] = OrderedDict()
        self._holds = _Holds()
        self._folders: dict[str, str] = {}  # folders that were asked for under a redirect -> where they really are
        self._lock = threading.RLock()

    def for_growing(self) -> Context:
        """The same context, for stacks whose files are being written: a file may get longer and newer there."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.growing = True
        return other

    @property
    def patience_s(self) -> float:
        """For how long one waits for a file system before others do not even begin to; 0: for ever."""
        return self.files.patience_s

    @patience_s.setter
    def patience_s(self, seconds: float) -> None:
        self.files.patience_s = self.cache.patience_s = seconds

    def expect_answer(self, path: str, *, deep: bool = False) -> None:
        """Touch a file before somebody does who holds a lock, or Python's own, while it waits for a file system.

        Who has no patience to lose does not come back before the file system answers; the mount's watcher sees it.

        Parameters
        ----------
        path : str
        deep : bool
            Open and read it, too.

        Raises
        ------
        SourceError
            If others wait for it in vain.
        """
        if self.files.patience_s and not self.files.answers(os.fsencode(self.real_path(path)), deep=deep):
            hint = "wait for the file server; what it holds can be read again then"
            raise SilentSourceError("the file system that it is on does not answer", file=path, hint=hint)

    def file(self, path: str) -> _core.File:
        """A plain file in the kernels' table. It is the file that is there now, and must stay it.

        Raises
        ------
        SourceError
            If the file is missing.
        """
        self.expect_answer(path)
        real = self.real_path(path)
        identity = _identity(stat_source(path, real))
        with self._lock:
            self._paths.add(path)
            for file in reversed(self._in_use(path)):
                if file.growing == self.growing and file.same(*identity):
                    return file
            file = self.files.add(os.fsencode(real), *identity, growing=self.growing)
            self._files.setdefault(path, []).append(weakref.ref(file))
            return file

    def check_same(self, path: str, file: _core.File, dataset: str) -> int:
        """Raise SourceError where another file has this name by now: its bytes lie elsewhere. Returns its size now."""
        self.expect_answer(path)
        identity = _identity(stat_source(path, self.real_path(path)))
        if not file.same(*identity):
            raise SourceError(
                "the file has changed since it was opened", file=path, dataset=dataset, hint="open the stack again"
            )
        return identity[0]

    def _in_use(self, path: str) -> list[_core.File]:
        """The files that a path has been and that somebody still reads from; the others are forgotten."""
        files = [file for ref in self._files.get(path, ()) if (file := ref()) is not None]
        self._files[path] = [weakref.ref(file) for file in files]
        return files

    def real_path(self, path: str) -> str:
        """By which path a file is opened: another one while a mount covers the folder that it is in."""
        if path in self._covered:
            return self._covered[path]
        if not self._redirects:
            return path
        return self._redirected(path) or self._redirected(self._without_links(path)) or path

    def _redirected(self, path: str) -> str | None:
        for prefix, replacement in list(self._redirects.items()):
            if path == prefix or path.startswith(prefix + os.sep):
                return replacement + path[len(prefix) :]
        return None

    def _without_links(self, path: str) -> str:
        """A path whose folder is that without symbolic links: they may lead below a folder that is covered."""
        folder, name = os.path.split(path)
        if folder not in self._folders:
            if len(self._folders) >= _MOST_FOLDERS:
                self._folders.clear()
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def redirect(self, prefix: str, replacement: str) -> None:
        """From now on open the files below a folder through another path to it.

        A mount calls this before it covers the folder: through the mount, our own reads would wait for ourselves.
        Files that are known by now are found below the folder through symbolic links too.
        """
        prefix = os.path.realpath(prefix)
        with self._lock:
            real = {path: os.path.realpath(path) for path in self._paths}
            self._redirects[prefix] = replacement
            self._folders.clear()
            self._covered.update(
                (path, replacement + there[len(prefix) :])
                for path, there in real.items()
                if there.startswith(prefix + os.sep)
            )
            self._rename_all()

    def end_redirect(self, prefix: str) -> None:
        """Open the files below a folder by their own paths again."""
        with self._lock:
            replacement = self._redirects.pop(os.path.realpath(prefix), None)
            if replacement is not None:
                there = replacement + os.sep
                for path in [path for path, to in self._covered.items() if to.startswith(there)]:
                    del self._covered[path]
            self._rename_all()

    def _rename_all(self) -> None:
        for path in list(self._files):
            for file in self._in_use(path):
                file.rename(os.fsencode(self.real_path(path)))
        self.close_h5()

    def close_idle(self, paths: Iterable[str]) -> None:
        """Close some of the plain files, except those that are being read; they are opened again when needed."""
        with self._lock:
            for path in paths:
                for file in self._in_use(path):
                    file.close_idle()

    @contextmanager
    def open_h5(self, path: str) -> Iterator[h5py.File]:
        """An HDF5 file, open for reading; kept open afterwards, as one of a bounded number.

        Raises
        ------
        SourceError
            If the file is missing, is not HDF5, or is cut short.
        """
        self.expect_answer(path, deep=True)
        with self._lock:
            kept = self._keep(path)
            kept.users += 1
            try:
                yield kept.h5
            finally:
                kept.users -= 1

    def _keep(self, path: str) -> _Kept:
        """The open file of a path, now the newest of those that are kept. The lock is held."""
        real = self.real_path(path)
        identity = _identity(stat_source(path, real))
        kept = self._h5.pop(path, None)
        if kept is not None and kept.users == 0 and kept.identity != identity:
            kept.h5.close()  # another file has this name now
            kept = None
        if kept is None:
            self._close_idle_h5(min(self.max_open, _MOST_H5) - 1)
            kept = _Kept(open_for_reading(path, real), identity)
            self._paths.add(path)
        self._h5[path] = kept
        return kept

    def _close_idle_h5(self, most: int) -> None:
        """Close the oldest of the HDF5 files that nobody reads just now, until no more than ``most`` are open."""
        idle = [path for path, kept in self._h5.items() if kept.users == 0]
        for path in idle[: max(0, len(self._h5) - most)]:
            self._h5.pop(path).h5.close()

    @contextmanager
    def no_h5_left(self) -> Iterator[None]:
        """Files opened inside are closed at the end: while one is open, nobody in this process can write it anew.

        Of several that are in one another, or in several threads, the end is that of the last one.
        """
        with self._lock:
            self._holds.count += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds.count -= 1
                if not self._holds.count:
                    self.close_h5()

    def close_h5(self) -> None:
        """Close every HDF5 file that is kept open, except those that are being read."""
        with self._lock:
            self._close_idle_h5(0)


@dataclass(slots=True)
class _Holds:
    """How many want files to stay open just now."""

    count: int = 0


@dataclass(slots=True)
class _Kept:
    """An HDF5 file that is kept open: which file it was then, and how many read it just now."""

    h5: h5py.File
    identity: tuple[int, int, int]
    users: int = 0


def _identity(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_ino, status.st_mtime_ns


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
    if "already open for write" in text:
        return _open_while_written(path, real)
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


def _open_while_written(path: str, real: str) -> h5py.File:
    """Open a file that its writer has marked as being written: it may let others read meanwhile (SWMR)."""
    try:
        return h5py.File(real, "r", locking=False, swmr=True)
    except OSError as exc:
        if "not already open for SWMR" not in str(exc):
            raise SourceError(
                f"HDF5 cannot open it while it is written: {exc}", file=path, hint="try again a little later"
            ) from exc
    raise SourceError(
        "is being written by a program that does not let others read it yet",
        file=path,
        hint="wait until it is written; if its writer has died, `h5clear -s` on a copy makes it readable",
    )
