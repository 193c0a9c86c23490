# SPDX-License-Identifier: MIT
"""How far a long job is: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

__all__ = ["Looking", "Progress", "human"]

_BAR_EVERY_S = 0.1
_LINE_EVERY_S = 30.0
_LOOKING_EVERY_S = 3.0
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


class Progress:
    """Shows files and bytes done, and how fast. Call it with what was done since the last call.

    Parameters
    ----------
    files : int
        How many files there are to do.
    stream : text stream, optional
        Where to show it; standard error by default.
    clock : callable
        Returns seconds.
    what : str
        What is counted, for people.
    """

    def __init__(
        self,
        files: int,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        what: str = "frames",
    ) -> None:
        self._total = files
        self._what = what
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._is_terminal = self._stream.isatty()
        self._start = self._shown = clock()
        self._files = self._bytes = self._width = 0

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, files: int, size: int) -> None:
        """Add files and bytes that were done."""
        self._files += files
        self._bytes += size
        now = self._clock()
        if now - self._shown >= (_BAR_EVERY_S if self._is_terminal else _LINE_EVERY_S):
            self._shown = now
            self._show(now)

    def close(self) -> None:
        """Show the last state on a terminal, and go to the next line."""
        if self._is_terminal and self._files + self._bytes:
            self._show(self._clock())
            self._stream.write("\n")
            self._stream.flush()
            self._files = self._bytes = 0

    def _show(self, now: float) -> None:
        text = self._text(max(now - self._start, 1e-9))
        if self._is_terminal:
            # spaces wipe what a longer line left
            self._stream.write(f"\r{text:<{self._width}}")
            self._width = len(text)
        else:
            self._stream.write(f"{text}\n")
        self._stream.flush()

    def _text(self, seconds: float) -> str:
        share = self._files / self._total if self._total else 1.0
        facts = (
            f"{self._files}/{self._total}  {self._files / seconds:.1f} {self._what}/s  {human(self._bytes / seconds)}/s"
        )
        if 0 < self._files < self._total:
            facts += f"  {_clock_time(seconds / self._files * (self._total - self._files))} left"
        if not self._is_terminal:
            return f"{share:4.0%}  {facts}"
        room = min(30, shutil.get_terminal_size().columns - len(facts) - 6)
        return f"[{'#' * round(share * room):.<{room}}]  {facts}" if room > 4 else facts


class Looking:
    """Says now and then how many files were looked into, where that takes longer than some seconds.

    Parameters
    ----------
    quiet : bool
        Say nothing.
    stream : text stream, optional
        Where to say it; standard error by default.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self, *, quiet: bool = False, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._quiet = quiet
        self._next = clock() + _LOOKING_EVERY_S

    def __enter__(self) -> Looking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._quiet = True

    def __call__(self, done: int, total: int) -> None:
        """Note that so many files of all are done."""
        if self._quiet or self._clock() < self._next:
            return
        self._next = self._clock() + _LOOKING_EVERY_S
        self._stream.write(f"fastlegacy: looked into {done} of {total} HDF5 files\n")
        self._stream.flush()


def human(size: float) -> str:
    """Return a size in bytes as people read it: ``3.2 MB`` (powers of 1000)."""
    for unit in _UNITS:
        if abs(size) < 999.95 or unit == _UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
