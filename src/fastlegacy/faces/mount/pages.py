# SPDX-License-Identifier: MIT
"""What the kernel has kept of virtual files whose headers change: which of its pages and sizes an open may still use.

The kernel keeps the pages of a file for all who have it open, and attributes for a second. It knows one inode for each
name, whatever the versions of the file behind it. So, after a change of headers:

* In the first seconds the answer to the first attempt to open a file is ESTALE. The kernel, not the program, tries
  again then, and asks for the attributes anew before (path_openat with LOOKUP_REVAL).
* The first open of a file drops the pages that are there (without FOPEN_KEEP_CACHE).
* Whoever has opened a file before goes on reading the old bytes, and they come into the shared pages. As long as there
  is somebody like that, others that open the file read past the pages (FOPEN_DIRECT_IO).
* Two sizes of one file are not possible for the kernel. Where the size has changed, and somebody has looked at the new
  file, reading by an old handle fails with ESTALE, rather than to be cut or to be zeros.
"""

from __future__ import annotations

import enum
import errno
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastlegacy._serve import Handles
    from fastlegacy._view import PieceFile

__all__ = ["KernelPages", "Use"]

_log = logging.getLogger("fastlegacy.mount")
_FRESH_MAX = 65_536  # names; who forgets one reads the file once more
_SLOWEST_ANSWER_S = 1.0  # how long an answer with old attributes may be in the making when headers change
# How long one that was given may be on its way to who waits for it. Of two that cross, the kernel believes the first.
_ON_THE_WAY_S = 0.02


class Use(enum.Enum):
    """How an open file may use the kernel's pages."""

    KEEP = "the pages that are there are right"
    DROP = "they are not"
    BYPASS = "they may become wrong at any time"


class KernelPages:
    """Says how each virtual file is to be opened.

    Parameters
    ----------
    handles : fastlegacy._serve.Handles
    version : callable
        A number that has grown when any header has changed; it grows after the new headers can be seen.
    remembered_s : float
        How long the kernel keeps attributes and names, seconds.
    clock, pause : callable
        Return the seconds from any moment on; wait for some.
    """

    def __init__(
        self,
        handles: Handles,
        version: Callable[[], int],
        *,
        remembered_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._handles = handles
        self._version = version
        self._window_s = remembered_s + _SLOWEST_ANSWER_S
        self._clock = clock
        self._pause = pause
        self._lock = threading.Lock()
        self._first = self._seen = version()
        self._settled_at = self._asks_until = clock()
        self._asked: dict[tuple[str, int], int] = {}  # (path, thread) that was sent back -> version then
        # Since the last change, names of files whose pages were dropped -> number of the handle that did it, 0 when
        # it is certain that this has happened. The newest at the end.
        self._fresh: dict[str, int] = {}
        # Virtual names whose pages may be those of a real file that was there in between
        self._shadowed: set[str] = set()

    def version(self) -> int:
        """Return the version of all headers at this moment."""
        with self._lock:
            return self._noticed()

    def _noticed(self) -> int:
        version = self._version()
        if version != self._seen:
            self._seen = version
            self._fresh.clear()
            now = self._clock()
            if now >= self._asks_until:
                self._asked.clear()  # what is left are opens that were given up
            self._settled_at = now + _ON_THE_WAY_S
            self._asks_until = now + self._window_s
        return version

    def shadow(self, path: str) -> None:
        """A real file is opened under a virtual name: its pages will be there."""
        with self._lock:
            self._shadowed.add(path)
            self._handles.unprepare(path)

    def prepare(self, path: str, version: int, epoch: int, file: PieceFile, *, asks: bool) -> bool:
        """Have a file ready for who opens it next, if the pages that the kernel may have of it are right for certain.

        Parameters
        ----------
        path : str
        version, epoch : int
            What :meth:`version` and :data:`fastlegacy.index.epoch.EPOCH` said before the file was made.
        file : PieceFile
        asks : bool
            Whoever waits for it is told when the file is opened.
        """
        with self._lock:
            right = self._noticed() == version == self._first and path not in self._shadowed
            if right:
                self._handles.prepare(path, file, version, epoch, asks)
            return right

    def looked_at(self, path: str, thread: int) -> int | None:
        """Tell in which version the kernel has asked for the attributes of a file that is being opened.

        Parameters
        ----------
        path : str
        thread : int
            Who opens: the kernel says it. 0 if it cannot (a process outside of our pid namespace); such opens are not
            sent back, as it would not be known when they come again.

        Returns
        -------
        int or None
            The version, or one before; None if the open has to be answered with ESTALE, so that the kernel asks.
        """
        with self._lock:
            version = self._noticed()
            if thread == 0 or self._clock() >= self._asks_until:
                return version
            before = self._asked.pop((path, thread), None)
            if before is not None:
                return before  # the kernel tries again only once
            self._asked[path, thread] = version
            pause_s = self._settled_at - self._clock()
        if pause_s > 0:
            self._pause(pause_s)
        return None

    def enter(self, path: str, version: int, looked: int, file: PieceFile) -> tuple[int, Use] | None:
        """Make a handle on a file, and say how it may use the pages.

        Parameters
        ----------
        path : str
        version : int
            What :meth:`version` said before the file was made.
        looked : int
            What :meth:`looked_at` said.
        file : PieceFile

        Returns
        -------
        (int, Use) or None
            The handle; None if headers have changed meanwhile, and the file is to be made anew.
        """
        # in one step: a handle with old bytes must not appear after others were told that there is none
        with self._lock:
            if self._noticed() != version:
                return None
            handle = self._handles.open_virtual(file, path, version)
            # where the kernel may have an old size, only reads past its pages are sure to be whole
            return handle, Use.BYPASS if looked != version else self._use(path, version, file, handle)

    def _use(self, path: str, version: int, file: PieceFile, handle: int) -> Use:
        if path in self._shadowed:
            self._shadowed.discard(path)
            self._fresh.pop(path, None)
        elif version == self._first:
            return Use.KEEP
        elif path in self._fresh:
            number = self._fresh[path]
            if number and not self._handles.is_settled(path, number):
                return Use.DROP  # two at once: this answer may be the first that the kernel looks at
            self._fresh[path] = 0
            return Use.KEEP
        if self._retire(path, version, file.size, file):
            return Use.BYPASS
        if version != self._first:
            if len(self._fresh) >= _FRESH_MAX:
                del self._fresh[next(iter(self._fresh))]
            self._fresh[path] = self._handles.number(handle)
        return Use.DROP

    def tell_size(self, path: str, version: int, size: int) -> None:
        """Know that the kernel will hear this size of a file, whatever was opened by this name."""
        if version != self._first:
            self._retire(path, version, size, None)

    def _retire(self, path: str, version: int, size: int, now: PieceFile | None) -> int:
        stale, others = self._handles.retire(path, version, size, now)
        if stale:
            _log.warning("%s has another size by now: who had it open before cannot read on", path)
        return others

    def check(self, handle: int, path: str) -> None:
        """Raise OSError (ESTALE) if the file of a handle has another size by now."""
        if self._handles.is_stale(handle):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)
