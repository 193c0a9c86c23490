# SPDX-License-Identifier: MIT
"""Small files in a cache folder: sealed bytes in, the same bytes out, or nothing where they were damaged or cut short.

A folder is made and opened once and used through its descriptor from then on, so that a mount may cover it: through
the mount, the process that serves it would wait for itself.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = [
    "NOT_THERE",
    "Signature",
    "Source",
    "cache_folder",
    "close_folder",
    "locked",
    "open_folder",
    "read",
    "seal",
    "signature_of",
    "sources_of",
    "tidy",
    "unseal",
    "write",
]

Signature = tuple[int, int, int]
"""Size, modification time in nanoseconds and inode number of a file."""

Source = tuple[str, int, int, int]
"""Path, size, modification time in nanoseconds and inode number of a file."""

NOT_THERE: Signature = (-1, -1, -1)

_DIGEST = hashlib.sha256
_DIGEST_BYTES = 32
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


def sources_of(paths: Iterable[str], real_path: Callable[[str], str] = lambda path: path) -> list[Source]:
    """Return what tells whether files are still the same; a file that is not there has -1 throughout.

    Parameters
    ----------
    paths : iterable of str
    real_path : callable
        By which path a file is looked at.
    """
    return [(path, *signature_of(real_path(path))) for path in sorted({os.path.abspath(path) for path in paths})]


def signature_of(path: str) -> Signature:
    """Return what tells whether a file is still the same."""
    try:
        status = os.stat(path)
    except OSError:
        return NOT_THERE
    return status.st_size, status.st_mtime_ns, status.st_ino


def seal(body: bytes) -> bytes:
    """Return bytes with their digest at the end."""
    return body + _DIGEST(body).digest()


def unseal(data: bytes | bytearray, magic: bytes) -> memoryview:
    """Return the bytes without the digest; ValueError where they do not begin so, or are not what was sealed."""
    if not data.startswith(magic):
        raise ValueError("it is of another version")
    body = memoryview(data)[:-_DIGEST_BYTES]
    if _DIGEST(body).digest() != data[-_DIGEST_BYTES:]:
        raise ValueError("it is damaged")
    return body


def open_folder(folder: Path) -> int:
    """Make a folder and those above it, for the user only, and return its descriptor.

    Raises
    ------
    OSError
        If that is not possible. On Windows, which has no such descriptors, it never is: nothing is remembered there.
    """
    if sys.platform == "win32":
        raise OSError(errno.ENOTSUP, "folders have no descriptors on Windows", str(folder))
    # not by mkdir(parents=True): a mount runs without umask, and folders above would be open to everybody
    for each in (*reversed(folder.parents), folder):
        if not each.is_dir():
            with suppress(FileExistsError):
                each.mkdir(0o700)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def close_folder(fd: int) -> None:
    """Close it; nothing happens where it could not be opened (-1)."""
    if fd >= 0:
        os.close(fd)


def read(folder: int, name: str) -> bytearray:
    """Return the content of a plain file, which is the caller's to change; OSError where there is none."""
    if folder < 0:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    # O_NONBLOCK: a pipe of that name must not keep anybody waiting
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with open(fd, "rb") as file:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{name} is not a plain file")
        data = bytearray(status.st_size)  # once: what is kept of a million frames takes 24 MB
        del data[file.readinto(data) :]
        return data


def write(folder: int, name: str, data: bytes) -> None:
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
def locked(folder: int) -> Iterator[None]:
    """Keep other processes from saving, as far as possible.

    Without the lock nothing is damaged: what two processes save at the same time is then what one of them knew.
    """
    if folder < 0:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "lock")
    fd = os.open("lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        _lock(fd)
        yield
    finally:
        os.close(fd)


def _lock(fd: int) -> None:
    import fcntl  # Windows has no such module, and no folder that comes here

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


def tidy(folder: int, newest: str, suffix: str, most_files: int, most_bytes: int) -> None:
    """Remove what killed processes have left, and the files that were used last the longest time ago, if too many."""
    now = time.time()
    files: list[tuple[float, int, str]] = []
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if name.endswith(".tmp") and now - status.st_mtime > _LEFTOVER_S:
                os.unlink(name, dir_fd=folder)
            elif name.endswith(suffix):
                files.append((float("inf") if name == newest else status.st_mtime, status.st_size, name))
    total = 0
    for number, (_, size, name) in enumerate(sorted(files, reverse=True)):
        total += size
        if number and (number >= most_files or total > most_bytes):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
