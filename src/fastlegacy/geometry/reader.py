# SPDX-License-Identifier: MIT
"""What a reader of side files is, and what all of them need: lines of text in, numbers and geometry out."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fastlegacy.errors import SourceError, UrlError
from fastlegacy.model import Geometry

__all__ = ["Entry", "Reader", "Shape", "from_file", "read_bytes", "tell_of_tilt"]

Shape = tuple[int, int]

_log = logging.getLogger("fastlegacy.geometry")
_LEAST_TILT_DEG = 0.05
"""Below it, the geometry of a flat detector at right angles is wrong by less than most calibrations are."""


class Reader(Protocol):
    """Reads one kind of file. One module in ``fastlegacy.geometry`` defines one, as ``READER``.

    Attributes
    ----------
    name : str
        One word.
    summary : str
        One line: what these files are.
    """

    name: str
    summary: str

    def recognises(self, path: Path, head: bytes) -> bool:
        """Say whether a file is of this kind, from its name and its first bytes. At most one reader may say yes."""

    def read(self, path: Path, shape: Shape | None) -> Geometry:
        """Return what the file says; its ``origin`` names the file for each value.

        Parameters
        ----------
        path : Path
        shape : tuple of int or None
            (ny, nx) of the stored frames, for files that count pixels from another corner or in a larger frame.

        Raises
        ------
        UrlError
            If the file is not understood; the message names the line, or the key.
        SourceError
            If it cannot be read.
        """


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it stands in a file.

    Attributes
    ----------
    path : Path
    line : int
        Counted from 1.
    key, text : str
    """

    path: Path
    line: int
    key: str
    text: str

    def number(self) -> float:
        """Return the text as a number.

        Raises
        ------
        UrlError
            If it is none, or not a finite one.
        """
        try:
            value = float(self.text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise self.error(f"{self.text!r} is no number")
        return value

    def positive(self) -> float:
        """Return the text as a number greater than zero.

        Raises
        ------
        UrlError
            If it is none.
        """
        value = self.number()
        if value <= 0:
            raise self.error(f"{self.text!r} is not greater than zero")
        return value

    def error(
        self, what: str, hint: str = "correct the line, or take it out and give the value as an option"
    ) -> UrlError:
        """Return an error that says where in the file it is."""
        return UrlError(f"line {self.line}, {self.key}: {what}", file=self.path, hint=hint)


def read_bytes(path: Path, most: int = -1) -> bytes:
    """Return the content of a file, or its first bytes.

    Raises
    ------
    SourceError
        If it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise SourceError(
            f"the geometry cannot be read: {error.strerror}", file=os.fspath(path), hint="check the name of the file"
        ) from error


def from_file(path: Path, values: Mapping[str, Any]) -> Geometry:
    """Return the geometry with these values, those that are None left out; the file is their origin.

    Raises
    ------
    UrlError
        If there is no value at all.
    """
    known = {name: value for name, value in values.items() if value is not None}
    if not known:
        raise UrlError("the file says nothing of the geometry", file=path, hint="take another file, or options")
    return Geometry(**known, origin=dict.fromkeys(known, path.name))


def tell_of_tilt(path: Path, cos_tilt: float) -> None:
    """Log that a detector is not at right angles to the beam, where it is not."""
    tilt_deg = math.degrees(math.acos(max(-1.0, min(1.0, cos_tilt))))
    if tilt_deg >= _LEAST_TILT_DEG:
        _log.warning(
            "%s: the detector is tilted by %.2f degrees, for which headers and companions have no place; "
            "beam centre and distance are those along the beam",
            path,
            tilt_deg,
        )
