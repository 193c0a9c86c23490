# SPDX-License-Identifier: MIT
"""The signals that end a mount on Windows: Ctrl-C and Ctrl-Break, whenever they come.

WinFsp takes both while it serves, and ends then. Before and after that Python's handlers see them, which only note that
the end is wanted: the folder gets its name back in any case.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["ConsoleSignals"]

_STOP = b"\0"  # no signal has this number


class ConsoleSignals:
    """Takes the ending signals from ``with`` until its end; belongs into the main thread."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self._before: dict[int, Any] = {}
        self._wakeup_before = -1
        self._thread = threading.Thread(target=self._run, name="fastlegacy-signals", daemon=True)
        self._listen, self._tell = socket.socketpair()

    @property
    def wanted(self) -> bool:
        """Somebody wants the mount to end."""
        return self._wanted.is_set()

    def end_by(self, end: Callable[[], None] | None) -> None:
        """Call a function, in another thread, when a signal comes, or at once if one has come; None: none any more."""
        with self._lock:
            self._end = end
            if end is not None and self.wanted:
                end()

    def __enter__(self) -> Self:
        self._tell.setblocking(False)
        self._thread.start()
        # the main thread is in C: Python's handlers run only afterwards, but this is told of at once
        self._wakeup_before = signal.set_wakeup_fd(self._tell.fileno(), warn_on_full_buffer=False)
        for name in ("SIGINT", "SIGBREAK"):
            number = getattr(signal, name, None)
            if number is not None:
                self._before[number] = signal.signal(number, self._noted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._tell.send(_STOP)
        self._thread.join()
        self._tell.close()
        self._listen.close()

    def _noted(self, _number: int, _frame: FrameType | None) -> None:
        self._wanted.set()

    def _run(self) -> None:
        while (got := self._listen.recv(1)) and got != _STOP:
            if got[0] in self._before:
                self._wanted.set()
                with self._lock:
                    if self._end is not None:
                        self._end()
