# SPDX-License-Identifier: MIT
"""Keeps a log short where the same fails again and again: messages in, those that are worth a line out."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Rarely"]

_AGAIN_S = 60.0
_MOST_LINES = 100
_MOST_KNOWN = 1000
_RANGE = re.compile(r", bytes \d+ to \d+")


class Rarely:
    """Tells each message once, and again with a count if it still comes some time later.

    Messages may be of anything that fails. Those that differ only in the range of bytes that was read are the same: a
    program that reads a damaged file from end to end fails many times at one fault. However many faults there are, a
    minute has a bounded number of lines.
    Safe for threads.

    Parameters
    ----------
    again_s : float
        After so many seconds what comes again is told again.
    most_lines : int
        Of all messages, in that time.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self, again_s: float = _AGAIN_S, most_lines: int = _MOST_LINES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._again_s = again_s
        self._most_lines = most_lines
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, int]] = OrderedDict()  # -> when it was told, how often not since
        self._lock = threading.Lock()
        self._begin, self._lines, self._untold = clock(), 0, 0

    def lines(self, messages: list[str]) -> list[str]:
        """Take what has happened since the last call; return the lines for the log."""
        now = self._clock()
        with self._lock:
            found = self._rest() if now - self._begin >= self._again_s else []
            if now - self._begin >= self._again_s:
                self._begin, self._lines = now, 0
            return found + [line for message in messages if (line := self._line(message, now)) is not None]

    def rest(self) -> list[str]:
        """Return what is to be said at the end."""
        with self._lock:
            return self._rest()

    def _rest(self) -> list[str]:
        untold, self._untold = self._untold, 0
        return [f"and {untold} more failures, too many for this log"] if untold else []

    def _line(self, message: str, now: float) -> str | None:
        key = _RANGE.sub("", message)
        told, missed = self._known.get(key, (None, 0))
        if told is not None and now - told < self._again_s:
            self._known[key] = (told, missed + 1)
            return None
        if self._lines >= self._most_lines:
            self._untold += 1
            return None
        self._lines += 1
        self._known[key] = (now, 0)
        self._known.move_to_end(key)
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return f"{message} (and {missed} times before)" if missed else message
