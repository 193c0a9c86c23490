# SPDX-License-Identifier: MIT
"""Sizes of encoded frames across mounts: a table of integers, kept in a file in the user's cache folder.

Such a file is a line with the version, a line of JSON with all that the sizes depend on, the table (little-endian
64-bit integers), and the SHA-256 of all this. Whatever is not exactly as it should be is not used.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import stat
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLUMNS", "Rows", "SideFile", "Source", "cache_folder", "side_file", "sources_of"]

_log = logging.getLogger("fastlegacy.sizes")

COLUMNS = 3
"""Numbers kept of a frame: bytes, and two counts; -1 is "not known"."""

Rows = NDArray[np.int64]
Source = tuple[str, int, int, int]
"""Path, size, modification time in nanoseconds and inode number of a file."""

_MAGIC = b"fastlegacy sizes 1\n"
_DIGEST = hashlib.sha256
_DIGEST_BYTES = 32
_STORED = np.dtype("<i8")

_FILES_MAX = 1000
_BYTES_MAX = 64 * 2**20
_LOCK_PATIENCE_S = 1.0
_LEFTOVER_S = 60.0


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path | None:
    """Return fastlegacy's cache folder, which may not be there yet; None where the user wants none, or has no home.

    It is ``$FASTLEGACY_CACHE``, else ``$XDG_CACHE_HOME/fastlegacy``, else ``~/.cache/fastlegacy``.
    """
    own = environment.get("FASTLEGACY_CACHE")
    if own is not None:
        return None if own.strip().lower() in ("", "none") else Path(own).absolute()
    base = environment.get("XDG_CACHE_HOME", "")
    # the XDG Base Directory Specification: a relative path is to be ignored
    folder = Path(base) if os.path.isabs(base) else Path(environment.get("HOME") or os.path.expanduser("~"), ".cache")
    return folder / "fastlegacy" if folder.is_absolute() else None


def side_file(
    key: str, sources: Callable[[], Sequence[Source]], environment: Mapping[str, str] = os.environ
) -> SideFile | None:
    """Return the side file of a key in the user's cache folder, or None where there is to be none.

    See :class:`SideFile` for the parameters. Where no file is behind the stack, nothing would tell that its pixels
    have changed: then there is none either.
    """
    folder = cache_folder(environment)
    found = sources() if folder is not None else ()
    if folder is None or not found:
        return None
    name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
    return SideFile(folder / "sizes" / f"{name}.sizes", key, found)


def sources_of(paths: Iterable[str]) -> list[Source]:
    """Return what tells whether files are still the same; a file that is not there has -1 throughout."""
    return [_source(os.path.abspath(path)) for path in sorted(set(paths))]


def _source(path: str) -> Source:
    try:
        status = os.stat(path)
    except OSError:
        return path, -1, -1, -1
    return path, status.st_size, status.st_mtime_ns, status.st_ino


class SideFile:
    """A file with the table of one stack in one form.

    The folder is made and opened here and now. It is used through its descriptor from then on, so that a mount may
    cover it: through the mount, the process that serves it would wait for itself.

    Parameters
    ----------
    path : pathlib.Path
    key : str
        Everything that the sizes depend on, except the contents of the files.
    sources : sequence of Source
        The files behind the stack as they were before the first frame was measured. What is measured after a file has
        changed is then kept under a signature that is never seen again.
    """

    def __init__(self, path: Path, key: str, sources: Sequence[Source]) -> None:
        self.path = path
        self._name = path.name
        self._label = {"key": key, "sources": [list(source) for source in sources]}
        self._warned = False
        self._folder = -1
        self._trouble: OSError | None = None
        try:
            self._folder = _made(path.parent)
        except OSError as error:
            self._trouble = error
        self._finalizer = weakref.finalize(self, _close, self._folder)
        self._finalizer.atexit = False

    def __repr__(self) -> str:
        return f"<SideFile {self.path}>"

    def load(self, frames: int) -> Rows | None:
        """Return the table (frames, 3), or None where there is none that is valid. What is not valid is removed."""
        if self._folder < 0:
            return None
        try:
            data = _read(self._folder, self._name)
            rows = _rows(data, self._header(frames), frames)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.debug("%s is not used: %s", self.path, error)
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._folder)
            return None
        # files that were not used for the longest time are the first to be removed
        with suppress(OSError):
            os.utime(self._name, dir_fd=self._folder, follow_symlinks=False)
        return rows

    def save(self, rows: Rows) -> Rows | None:
        """Keep a table, and return it together with what other processes have kept meanwhile.

        Returns
        -------
        ndarray (frames, 3) or None
            None: it could not be kept, or another process has kept one of newer files.
        """
        try:
            if self._trouble is not None:
                raise self._trouble
            if self._folder < 0:
                return None
            with _locked(self._folder):
                return self._saved(rows)
        except OSError as error:
            if not self._warned:
                self._warned = True
                _log.warning(
                    "sizes cannot be kept in %s (%s): they are measured again by the next mount",
                    self.path.parent,
                    error.strerror or error,
                )
            return None

    def close(self) -> None:
        """Let go of the folder. Nothing is loaded or saved after this."""
        self._folder, self._trouble = -1, None
        self._finalizer()

    def _header(self, frames: int) -> bytes:
        return _MAGIC + json.dumps({"frames": frames, **self._label}, sort_keys=True).encode("ascii") + b"\n"

    def _saved(self, rows: Rows) -> Rows | None:
        header = self._header(len(rows))
        is_new = False
        try:
            data = _read(self._folder, self._name)
        except FileNotFoundError:
            is_new, data = True, b""
        try:
            kept = _rows(data, header, len(rows))
        except ValueError:
            if _newest(data) > _newest_source(self._label["sources"]):
                return None
        else:
            rows = np.where(rows[:, :1] >= 0, rows, kept)
            if np.array_equal(rows, kept):
                return rows
        body = header + rows.astype(_STORED).tobytes()
        _write(self._folder, self._name, body + _DIGEST(body).digest())
        if is_new:
            _tidy(self._folder, self._name)
        return rows


# ------------------------------------------------------------------------------------------------------- the content


def _rows(data: bytes, header: bytes, frames: int) -> Rows:
    """Return the table in a file that has this header; ValueError says why it cannot be used."""
    body = _checked(data)
    if not body.startswith(header):
        raise ValueError("it is of another stack, another form, or of files that have changed since")
    rows = np.frombuffer(body, _STORED, offset=len(header)).astype(np.int64)
    return rows.reshape(frames, COLUMNS)


def _checked(data: bytes) -> bytes:
    if not data.startswith(_MAGIC):
        raise ValueError("it is of another version")
    body = data[:-_DIGEST_BYTES]
    if _DIGEST(body).digest() != data[-_DIGEST_BYTES:]:
        raise ValueError("it is damaged")
    return body


def _newest(data: bytes) -> int:
    """Return the newest modification time in a file's header; -1 for a file that is not valid at all."""
    try:
        label = json.loads(_checked(data)[len(_MAGIC) :].split(b"\n", 1)[0])
        return _newest_source(label["sources"])
    except (ValueError, KeyError, TypeError, IndexError):
        return -1


def _newest_source(sources: Any) -> int:
    return max((int(mtime_ns) for _, _, mtime_ns, _ in sources), default=-1)


# -------------------------------------------------------------------------------------------------------- the folder


def _made(folder: Path) -> int:
    """Make a folder and those above it, for the user only, and return its descriptor."""
    # not by mkdir(parents=True): a mount runs without umask, and folders above would be open to everybody
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            with suppress(FileExistsError):
                each.mkdir(0o700)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _read(folder: int, name: str) -> bytes:
    # O_NONBLOCK: a pipe of that name must not keep anybody waiting
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(f"{name} is not a plain file")
        return file.read()


def _write(folder: int, name: str, data: bytes) -> None:
    """Put a whole file in the place of another: whenever the process ends, one of the two is there."""
    other = f"{name}.{secrets.token_hex(8)}.tmp"
    fd = os.open(other, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
        os.replace(other, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with suppress(OSError):
            os.unlink(other, dir_fd=folder)
        raise


@contextmanager
def _locked(folder: int) -> Iterator[None]:
    """Keep other processes from saving, as far as possible.

    Without the lock nothing is damaged: what two processes save at the same time is then what one of them knew.
    """
    fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        _lock(fd)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    end = time.monotonic() + _LOCK_PATIENCE_S
    # a file system without locks raises another OSError
    with suppress(OSError):
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= end:
                    return None
            time.sleep(0.01)


def _tidy(folder: int, newest: str) -> None:
    """Remove what killed processes have left, and the files that were used last the longest time ago, if too many."""
    now = time.time()
    files: list[tuple[float, int, str]] = []
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if name.endswith(".tmp") and now - status.st_mtime > _LEFTOVER_S:
                os.unlink(name, dir_fd=folder)
            elif name.endswith(".sizes"):
                files.append((float("inf") if name == newest else status.st_mtime, status.st_size, name))
    total = 0
    for number, (_, size, name) in enumerate(sorted(files, reverse=True)):
        total += size
        if number and (number >= _FILES_MAX or total > _BYTES_MAX):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
