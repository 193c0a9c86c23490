# SPDX-License-Identifier: MIT
"""Flat binary: 256 bytes that say what follows, then the pixels of one frame, little endian, row after row.

Made for programs that import raw data after a header of known size: CrysAlisPro ("import of generic images", skip
256 bytes), ImageJ and Fiji, hexrd. The header is one line of 253 characters, CR, LF and Ctrl-Z, so that ``type`` and
``more`` stop before the pixels. Layout: ``FlatFrom3d`` of Id11DataDisk.
"""

from __future__ import annotations

from fastlegacy.layouts._checks import ALL_DTYPES, require_frame
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.model import Layout, Literal, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["HEADER_BYTES", "LAYOUT", "FlatLayout"]

HEADER_BYTES = 256


class FlatLayout(Layout):
    """See the module. The header has no value of a single frame, so it is the same in all files of a stack."""

    name = "flat"
    suffix = ".raw"
    summary = "flat binary after a 256-byte header"
    readers = ("CrysAlisPro import", "ImageJ", "hexrd")
    dtypes = ALL_DTYPES

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        written = as_written(facts, self.name, self.dtypes)
        require_frame(facts, index)
        return Literal(_header(written)), pixels(facts, index, byteorder="<")


def _header(facts: StackFacts) -> bytes:
    _, ny, nx = facts.shape
    text = f"BINARY slow {ny:5d} x fast {nx:5d} header {HEADER_BYTES} bytes type {facts.dtype.name}"
    return f"{text:<253}\r\n\x1a".encode("ascii")


LAYOUT = FlatLayout()
