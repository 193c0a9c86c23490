# SPDX-License-Identifier: MIT
"""What a mount has served in a few numbers: its statistics in, sums for people and for watching programs out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastlegacy.faces.progress import human

__all__ = ["Figures", "duration"]

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers since the mount was made.

    Attributes
    ----------
    seconds : float
        How long it has been there.
    files : int
        How many times a file was opened.
    reads, writes : int
        Requests of the kernel.
    read_bytes, written_bytes : int
    errors : int
        Reads that failed.
    """

    seconds: float
    files: int
    reads: int
    read_bytes: int
    writes: int
    written_bytes: int
    errors: int

    @classmethod
    def of(cls, statistics: Mapping[str, Any]) -> Figures:
        """Take them from what :func:`fastlegacy.faces.mount.statistics.summary` returns, or from nothing (zeros)."""
        rows = statistics.get("operations", {})

        def number(operation: str, what: str) -> int:
            return int(rows.get(operation, {}).get(what, 0))

        return cls(
            float(statistics.get("seconds", 0)),
            number("open", "calls") + number("create", "calls"),
            number("read", "calls"),
            number("read", "bytes"),
            number("write", "calls"),
            number("write", "bytes"),
            int(statistics.get("errors", 0)),
        )

    def __str__(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        written = f", {human(self.written_bytes)} written" if self.writes else ""
        return f"{files} opened, {human(self.read_bytes)} read{written}, {self.errors} reads failed"


def duration(seconds: float) -> str:
    """Return a time in two units that everybody can read: ``2 d 3 h``, ``5 min 7 s``, ``12 s``."""
    rest = round(seconds)
    for place, (size, unit) in enumerate(_UNITS):
        if rest >= size:
            below, name = _UNITS[place + 1] if place + 1 < len(_UNITS) else (1, "s")
            return f"{rest // size} {unit} {rest % size // below} {name}"
    return f"{rest} s"
