# SPDX-License-Identifier: MIT
"""The log of a mount for people: time, level and a sentence in each line; the last lines of it are kept in memory."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["LastLines", "file_handler", "kept_log", "log_file_of", "name_of"]

_NAME_BYTES = 200
_KEPT_LINES = 500
_KEPT_CHARACTERS = 400
_UNFIT = str.maketrans(dict.fromkeys("/\0\n\r\t", "_"))


class _Line(logging.Formatter):
    """``2026-03-01T14:05:09+0100 warning: what has happened``; what goes over several lines is indented."""

    def __init__(self, *, traceback: bool) -> None:
        super().__init__()
        self._traceback = traceback

    def format(self, record: logging.LogRecord) -> str:
        """Return one line; with a traceback several."""
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(record.created))
        text = " ".join(record.getMessage().split())
        line = f"{when} {record.levelname.lower()}: {text}"
        if self._traceback and record.exc_info:
            line += "\n    " + self.formatException(record.exc_info).replace("\n", "\n    ")
        return line


class LastLines(logging.Handler):
    """Keeps the last lines of a log."""

    def __init__(self, most: int = _KEPT_LINES) -> None:
        super().__init__()
        self.setFormatter(_Line(traceback=False))
        self._lines: deque[str] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append(self.format(record)[:_KEPT_CHARACTERS])

    def text(self) -> str:
        """Return the lines, the oldest first."""
        return "".join(f"{line}\n" for line in tuple(self._lines))


@contextmanager
def kept_log() -> Iterator[LastLines]:
    """Keep the last lines of fastlegacy's log while the body runs."""
    handler, ours = LastLines(), logging.getLogger("fastlegacy")
    ours.addHandler(handler)
    try:
        yield handler
    finally:
        ours.removeHandler(handler)


def file_handler(path: str) -> logging.FileHandler:
    """Return what writes a log to the end of a file, which is made if it is not there.

    Raises
    ------
    OSError
        If it cannot be written to.
    """
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Line(traceback=True))
    return handler


def name_of(folder: str) -> str:
    """Return the name of the files that belong to the mount on a folder: its path, as far as that fits in a name."""
    words = folder.strip("/").translate(_UNFIT) or "root"
    return os.fsencode(words)[-_NAME_BYTES:].decode("utf-8", "ignore")


def log_file_of(folder: str) -> Path:
    """Return where the log of a mount in the background is, unless the user says where.

    It is below ``$XDG_STATE_HOME/fastlegacy``, else ``~/.local/state/fastlegacy``.

    Raises
    ------
    RuntimeError
        If the user has no home.
    """
    base = os.environ.get("XDG_STATE_HOME", "")
    # the XDG Base Directory Specification: a relative path is to be ignored
    top = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return top / "fastlegacy" / f"{name_of(folder)}.log"
