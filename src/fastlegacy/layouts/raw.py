# SPDX-License-Identifier: MIT
"""Pixels and nothing else: one frame, little endian, row after row, from byte 0 on.

For programs that are told shape and type and skip a header of 0 bytes: ImageJ and Fiji ("Import > Raw"), hexrd,
CrysAlisPro ("import of generic images"), ``numpy.fromfile``. Files end in ``.bin``, so that they are never taken for
those of ``flat``, which end in ``.raw`` and begin with a header.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.model import Piece, Pixels, StackFacts

__all__ = ["LAYOUT", "RawLayout"]


@dataclass(frozen=True, slots=True)
class RawLayout:
    """See the module."""

    name: str = "raw"
    suffix: str = ".bin"
    per_frame: bool = True
    summary: str = "pixels only, little endian, no header: ImageJ, hexrd, CrysAlisPro import, numpy.fromfile"
    dtypes: tuple[str, ...] = ALL_DTYPES

    def pieces(self, facts: StackFacts, frame: int) -> tuple[Piece, ...]:
        """Return the pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_frame(facts, frame)
        return (Pixels(frame, 1, "<"),)


LAYOUT = RawLayout()
