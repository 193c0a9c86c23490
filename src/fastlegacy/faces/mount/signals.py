# SPDX-License-Identifier: MIT
"""The signals that end a mount: whenever they come, it ends in good order.

libfuse's own handlers are there while it serves, and only then. A signal that comes between mount(2) and that moment,
or while it is unmounted, would kill the process: a dead mount would stay, and the link to the real folder. So they are
not used. Python's own are there from before anything is changed until all is cleaned up. As the main thread is in C
most of that time, Python tells a thread of each signal by way of a pipe, and this thread ends libfuse's loop.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType, TracebackType
from typing import Any, Self

from fastlegacy.faces.mount._loop import Requests

__all__ = ["ENDING", "Signals", "main_in_steps"]

_log = logging.getLogger("fastlegacy.mount")
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_HUNG_UP = signal.SIGPIPE
_AGAIN_S = 0.05
_STOP = 0  # no signal has this number


class Signals:
    """Takes the ending signals from ``with`` until its end; belongs into the main thread."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._ended = threading.Event()
        self._end: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._main = threading.get_ident()
        self._thread = threading.Thread(target=self._run, name="fastlegacy-signals", daemon=True)
        self._pipe = (-1, -1)
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup_before = -1

    @property
    def wanted(self) -> bool:
        """Somebody wants the mount to end."""
        return self._wanted.is_set()

    def __enter__(self) -> Self:
        self._pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._pipe[1], False)  # Python wants it so: a handler must not wait
        self._thread.start()
        self._wakeup_before = signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in ENDING:
            before = signal.getsignal(number)
            # nohup's wish is respected; that of a shell which starts programs by "&" without Ctrl-C is not
            if number == signal.SIGINT or before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, _noted)
        # Python ignores it. libfuse takes that for its own doing, and at its end lets it kill the process again: who
        # answers somebody that has hung up would die of it. What is noted it leaves alone.
        self._before[_HUNG_UP] = signal.getsignal(_HUNG_UP)
        signal.signal(_HUNG_UP, _noted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.write(self._pipe[1], bytes([_STOP]))
        self._thread.join()
        for fd in self._pipe:
            os.close(fd)

    @contextmanager
    def ends(self, end: Callable[[], None]) -> Iterator[None]:
        """Call a function in another thread as soon as a signal comes, and interrupt the main thread until it goes on.

        The main thread looks at :attr:`wanted` first: what came before is not told again.
        """
        self._ended.clear()
        self._end = end
        try:
            yield
        finally:
            with self._lock:  # afterwards it is not called any more
                self._end = None
            self._ended.set()

    def _run(self) -> None:
        while (got := os.read(self._pipe[0], 1)) and got[0] != _STOP:
            if got[0] not in ENDING:
                continue
            self._wanted.set()
            while self._asked_to_end(got[0]):
                self._ended.wait(_AGAIN_S)

    def _asked_to_end(self, number: int) -> bool:
        with self._lock:
            if self._end is None:
                return False
            self._end()
            # it may wait for its workers, and may have looked just before whether it is to end
            signal.pthread_kill(self._main, number)
            return True


def _noted(_number: int, _frame: FrameType | None) -> None:
    """Nothing: the thread that reads from the pipe does what is to be done."""


class _Library:
    """libfuse as refuse sees it, but for its main function."""

    def __init__(self, library: Any, signals: Signals, requests: Requests) -> None:
        self._library = library
        self._signals = signals
        self._requests = requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)

    def fuse_main_real(self, count: int, words: Any, table: Any, table_bytes: int, data: Any) -> int:
        """Mount, serve until the end, unmount; return 0, or 1 if that was not possible."""
        setup = self._library.fuse_setup
        setup.restype = ctypes.c_void_p
        folder, threads, size = ctypes.c_char_p(), ctypes.c_int(), ctypes.c_size_t(table_bytes)
        with _uninterrupted():
            address = setup(count, words, table, size, ctypes.byref(folder), ctypes.byref(threads), data)
        if not address:
            return 1
        fuse = ctypes.c_void_p(address)
        failed = False
        try:
            with self._signals.ends(lambda: self._library.fuse_exit(fuse)):
                if not self._signals.wanted:
                    self._requests.serve(self._library, fuse)
        except OSError as error:
            _log.error("the kernel's requests cannot be read: %s", error)
            failed = True
        finally:
            with _uninterrupted():
                self._library.fuse_teardown(fuse, folder)
        return int(failed)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals that this thread gets wait: system calls in libfuse are not made for being interrupted."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def main_in_steps(high: ModuleType, signals: Signals, requests: Requests) -> Iterator[None]:
    """Let refuse run libfuse's main function in steps, and keep its hands off the handler of SIGINT.

    Parameters
    ----------
    high : module
        What ``_refuse.load`` returned.
    signals : Signals
        Knows when it is to end.
    requests : Requests
        Serves it.
    """
    library, set_handler = high._libfuse, high.signal
    high._libfuse = _Library(library, signals, requests)  # type: ignore[attr-defined]
    high.signal = lambda number, _handler: signal.getsignal(number)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        high._libfuse, high.signal = library, set_handler  # type: ignore[attr-defined]
