# SPDX-License-Identifier: MIT
"""Open files without C: what :class:`fastlegacy._serve.Handles` is, for Windows, where its C cannot be built.

Where libfuse's table has addresses of C functions elsewhere, it has methods here. Pixels are decoded by the same
kernels, without the GIL; what is slower is the way to them.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from fastlegacy.errors import FastlegacyError
from fastlegacy.faces.mount.real import failure

if TYPE_CHECKING:
    from fastlegacy._view import PieceFile

__all__ = ["PlainHandles"]

Done = TypeVar("Done")
_MESSAGES_MAX = 64
_COUNTED = ("reads", "read_bytes", "real_reads", "real_read_bytes", "writes", "write_bytes")


@dataclass(slots=True, eq=False)
class _Open:
    """One open file: a virtual one by its bytes, or a real one by its descriptor."""

    name: str
    file: PieceFile | None = None
    fd: int = -1
    version: int = 0
    stale: bool = False
    used: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class PlainHandles:
    """The open files of a mount, and the operations that carry bytes. Safe for threads.

    Methods have the names, arguments and results of those of ``Handles``.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}
        self._last = 0
        self._messages: list[str] = []
        self._counts: Counter[str] = Counter()

    # ---- operations, as refuse calls them

    def read(self, _path: str | None, size: int, offset: int, info: Any) -> bytes:
        """Return bytes of an open file."""
        start = time.perf_counter_ns()
        opened = self._of(info.fh)
        if opened.file is None:
            data = self._at(opened, offset, lambda fd: os.read(fd, size))
            self._count("real_reads", start, "read_ns", real_read_bytes=len(data))
            return data
        if opened.stale:
            raise failure(errno.ESTALE, opened.name)
        opened.used = True
        buffer = bytearray(max(0, min(size, opened.file.size - offset)))
        try:
            done = opened.file.read_into(buffer, offset) if buffer else 0
        except FastlegacyError as error:
            self._note(f"{opened.name}, bytes {offset} to {offset + size}: {error}")
            raise failure(errno.EIO, opened.name) from error
        self._count("reads", start, "read_ns", read_bytes=done)
        return bytes(memoryview(buffer)[:done])

    def write(self, _path: str | None, data: bytes, offset: int, info: Any) -> int:
        """Write into a real file; return how many bytes were written."""
        start = time.perf_counter_ns()
        opened = self._of(info.fh)
        if opened.file is not None:
            raise failure(errno.EBADF, opened.name)
        done = self._at(opened, offset, lambda fd: _written(fd, data))
        self._count("writes", start, "write_ns", write_bytes=done)
        return done

    def flush(self, _path: str | None, info: Any) -> None:
        """Let the file system say what it has to say at close."""
        opened = self._of(info.fh)
        self._count("flushes")
        if opened.file is None:
            os.close(os.dup(opened.fd))

    def close(self, _path: str | None, info: Any) -> None:
        """Close a file."""
        self.release(info.fh)
        info.fh = 0

    @property
    def read_address(self) -> Callable[..., bytes]:
        """What refuse calls to read."""
        return self.read

    @property
    def write_address(self) -> Callable[..., int]:
        """What refuse calls to write."""
        return self.write

    @property
    def flush_address(self) -> Callable[..., None]:
        """What refuse calls at each ``close()``."""
        return self.flush

    @property
    def release_address(self) -> Callable[..., None]:
        """What refuse calls after the last ``close()``."""
        return self.close

    @property
    def fallocate_address(self) -> None:
        """Nothing: Windows does not ask for it."""

    @staticmethod
    def _at(opened: _Open, offset: int, do: Callable[[int], Done]) -> Done:
        with opened.lock:  # Windows has no pread
            os.lseek(opened.fd, offset, os.SEEK_SET)
            return do(opened.fd)

    # ---- handles

    def _of(self, handle: int) -> _Open:
        opened = self._open.get(handle)
        if opened is None:
            raise failure(errno.EBADF, "")
        return opened

    def _entered(self, opened: _Open) -> int:
        with self._lock:
            self._last += 1
            self._open[self._last] = opened
            self._counts["opened"] += 1
            return self._last

    def open_virtual(self, file: PieceFile, name: str, version: int = 0) -> int:
        """Return a handle on a virtual file."""
        return self._entered(_Open(name, file, version=version))

    def follow(self, fd: int) -> int:
        """Return how many handles on virtual files are to show a real one from now on: each stays what it is here."""
        del fd
        return 0

    def open_real(self, fd: int, *, writes: bool = False) -> int:
        """Return a handle on a real file; it owns the descriptor from now on."""
        del writes
        return self._entered(_Open("", fd=fd))

    def retire(self, name: str, version: int, size: int, now: PieceFile | None = None) -> tuple[int, int]:
        """Look at what was opened by a name before a version; return how many are stale by now, and how many there are.

        Whether an older one has the very same bytes is not looked at: ``now`` is of no use here.
        """
        del now
        stale = others = 0
        with self._lock:
            for opened in self._open.values():
                if opened.file is None or opened.name != name or opened.version >= version:
                    continue
                others += 1
                if not opened.stale and opened.file.size != size:
                    opened.stale = True
                    stale += 1
        return stale, others

    def name(self, handle: int) -> str:
        """Return the path by which a virtual file was opened."""
        return self._of(handle).name

    def unprepare(self, name: str | None = None) -> None:
        """Forget a file that was ready to be opened: there are none, as Python opens all."""

    def number(self, handle: int) -> int:
        """Return a number that no other handle of this mount ever has."""
        return handle

    def is_settled(self, name: str, number: int) -> bool:
        """Tell whether a file of this name was used or closed since it was opened."""
        opened = self._open.get(number)
        return opened is None or opened.name != name or opened.used

    def is_stale(self, handle: int) -> bool:
        """Tell whether the file has another size by now."""
        return self._of(handle).stale

    def fd(self, handle: int) -> int:
        """Return the descriptor of a real file, -1 of a virtual one."""
        return self._of(handle).fd

    def size(self, handle: int) -> int:
        """Return the size of a virtual file, -1 of a real one."""
        file = self._of(handle).file
        return -1 if file is None else file.size

    def release(self, handle: int) -> None:
        """Close a handle."""
        with self._lock:
            opened = self._open.pop(handle, None)
            self._counts["releases"] += 1
        if opened is not None and opened.fd >= 0:
            os.close(opened.fd)

    # ---- what was served

    def _count(self, name: str, start_ns: int = 0, time_name: str = "", **more: int) -> None:
        with self._lock:
            self._counts[name] += 1
            if time_name:
                self._counts[time_name] += time.perf_counter_ns() - start_ns
            self._counts.update(more)

    def _note(self, message: str) -> None:
        with self._lock:
            self._counts["errors"] += 1
            if len(self._messages) < _MESSAGES_MAX:
                self._messages.append(message)
            else:
                self._counts["lost"] += 1

    def statistics(self) -> dict[str, int | float]:
        """Return what was served so far."""
        with self._lock:
            counts = Counter(self._counts)
        found: dict[str, int | float] = {name: counts[name] for name in _COUNTED}
        found |= {name: counts[name] for name in ("flushes", "opened", "releases", "errors")}
        found |= {"read_seconds": counts["read_ns"] * 1e-9, "write_seconds": counts["write_ns"] * 1e-9}
        # Python counts them itself, and nothing is done ahead
        by_c = ("attributes", "attributes_seconds", "native_opens", "native_opens_seconds", "prefetched")
        return found | dict.fromkeys(by_c, 0)

    def take_errors(self) -> list[str]:
        """Return the messages of the reads that failed since the last call; of very many only the first."""
        with self._lock:
            messages, self._messages = self._messages, []
            lost = self._counts.pop("lost", 0)
        return [*messages, f"and {lost} more reads that failed"] if lost else messages


def _written(fd: int, data: bytes) -> int:
    done = 0
    while done < len(data):
        try:
            done += os.write(fd, data[done:])
        except OSError:
            if done == 0:
                raise
            break  # what was written counts; the next write says why no more could be
    return done
