# SPDX-License-Identifier: MIT
"""The threads beside a mount: they say when it is ready, write failed reads to the log, and look for news."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fastlegacy.faces.mount import mountinfo
from fastlegacy.faces.mount.rarely import Rarely

if TYPE_CHECKING:
    from fastlegacy._serve import Handles

__all__ = ["Watch", "done", "joined"]

_log = logging.getLogger("fastlegacy.mount")
_INTERVAL_S = 0.25
_READ_AHEAD_KIB = 2048


class Watch:
    """Runs from ``with`` until its end.

    Parameters
    ----------
    folder : str
        Where the mount is.
    handles : fastlegacy._serve.Handles
        Where the messages of failed reads come from.
    ready : threading.Event
        Set by whoever knows that the mount is there.
    on_ready : callable, optional
        Called then.
    poll : callable, optional
        Looks for news; returns what is new, for the log.
    hangs : callable
        Whether a source does not answer: the end does not wait for what waits for it.
    rarely : Rarely, optional
        Who else tells of failures shares it.
    """

    def __init__(
        self,
        folder: str,
        handles: Handles,
        ready: threading.Event,
        on_ready: Callable[[], None] | None,
        poll: Callable[[], list[str]] | None = None,
        hangs: Callable[[], bool] = lambda: False,
        rarely: Rarely | None = None,
    ) -> None:
        self._folder = folder
        self._handles = handles
        self._ready = ready
        self._on_ready = on_ready
        self._poll = poll
        self._hangs = hangs
        self._has_failed = False
        self._stop = threading.Event()
        self._rarely = rarely or Rarely()
        # two, because looking for news may have to wait for a file system, and errors are told meanwhile
        self._threads = [
            threading.Thread(target=target, name=f"fastlegacy-{name}", daemon=True)
            for name, target in (("watch", self._tell), ("news", self._look))
        ]

    def __enter__(self) -> Watch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._ready.set()
        for thread in self._threads:
            joined(thread, self._hangs)

    def _tell(self) -> None:
        while not self._stop.wait(_INTERVAL_S):
            self._log_errors()
        self._log_errors()
        for line in self._rarely.rest():
            _log.error("%s", line)

    def _look(self) -> None:
        self._ready.wait()
        if not self._stop.is_set():
            self._announce()
        while not self._stop.wait(_INTERVAL_S):
            self._log_news()

    def _log_news(self) -> None:
        if self._poll is None:
            return
        try:
            for line in self._poll():
                _log.info("%s", line)
        except Exception:
            if not self._has_failed:
                _log.exception("looking for news has failed; the mount goes on with what it knows, and tries again")
            self._has_failed = True

    def _announce(self) -> None:
        _widen_read_ahead(self._folder)
        if self._on_ready is None:
            return
        try:
            self._on_ready()
        except Exception:
            _log.exception("the program's own function that is called when the mount is ready has failed")

    def _log_errors(self) -> None:
        for line in self._rarely.lines(self._handles.take_errors()):
            _log.error("%s", line)


def joined(thread: threading.Thread, hangs: Callable[[], bool]) -> bool:
    """Wait for a thread, but not where a source does not answer; tell whether it has ended."""
    while thread.is_alive() and not hangs():
        thread.join(_INTERVAL_S)
    thread.join(0)
    return not thread.is_alive()


def done(job: Callable[[], object], hangs: Callable[[], bool]) -> bool:
    """Do something that may have to wait for a source; tell whether it is done, or left to a thread of its own."""
    thread = threading.Thread(target=job, name="fastlegacy-end", daemon=True)
    thread.start()
    return joined(thread, hangs)


def _widen_read_ahead(folder: str) -> None:
    mount = mountinfo.find(folder)
    if mount is None or os.geteuid() != 0:
        return
    # where /sys is read-only (containers) it stays as it is
    with suppress(OSError):
        Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb").write_text(f"{_READ_AHEAD_KIB}\n")
