# SPDX-License-Identifier: MIT
"""Pixels and nothing else: one frame, little endian, row after row, from byte 0 on.

For programs that are told shape and type and skip a header of 0 bytes: ImageJ and Fiji ("Import > Raw"), hexrd,
CrysAlisPro ("import of generic images"), ``numpy.fromfile``. Files end in ``.bin``, so that they are never taken for
those of ``flat``, which end in ``.raw`` and begin with a header.
"""

from __future__ import annotations

from fastlegacy.layouts._checks import ALL_DTYPES, require_frame
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.model import Layout, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["LAYOUT", "RawLayout"]


class RawLayout(Layout):
    """See the module."""

    name = "raw"
    suffix = ".bin"
    summary = "pixels only, little endian, no header"
    readers = ("ImageJ", "hexrd", "CrysAlisPro import", "numpy.fromfile")
    dtypes = ALL_DTYPES

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return the pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        as_written(facts, self.name, self.dtypes)
        require_frame(facts, index)
        return (pixels(facts, index, byteorder="<"),)


LAYOUT = RawLayout()
