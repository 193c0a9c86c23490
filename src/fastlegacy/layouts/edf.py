# SPDX-License-Identifier: MIT
"""ESRF data format (EDF): a header of ``Key = value ;`` lines in ASCII, then the pixels as they are stored.

Read by fabio (and all that uses it: pyFAI, silx, PyMca, Dioptas, ImageD11) and by FIT2D, whose rules are kept: the
first byte is ``{``, the header is a multiple of 512 bytes and ends with ``}`` and a newline, images count from 1.
Names and units of the geometry are those of the SAXS programs of the ESRF (P. Boesecke, "Keywords for SAXS data in
EDF files"): metres, and pixels counted from the outer corner of the first pixel, whose centre is at 0.5. Title, times,
motors and counters have the names that SPEC and the programs of ID11 give them. What is not printable in ASCII, and
what has a meaning in headers (``;``, ``{`` and ``}``, and spaces in names), stands there as a percent escape.
"""

from __future__ import annotations

from fastlegacy.layouts._checks import ALL_DTYPES, require_frame
from fastlegacy.layouts._edf import USES, WANTS, EdfHeaders
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.model import Layout, Literal, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["LAYOUT", "EdfLayout"]


class EdfLayout(Layout):
    """See the module. What differs from frame to frame has a fixed width, so that all headers have one length."""

    name = "edf"
    suffix = ".edf"
    summary = "ESRF data format"
    readers = ("fabio", "FIT2D", "ImageD11", "pyFAI", "PyMca", "Dioptas")
    dtypes = ALL_DTYPES
    companions = ("poni",)
    wants = WANTS
    uses = USES

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a frame.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes, an angle does not fit, or a motor or
            counter has fewer values than there are frames.
        """
        written = as_written(facts, self.name, self.dtypes)
        require_frame(facts, index)
        return Literal(EdfHeaders.of(written, 1, index).header(index, number=1)), pixels(facts, index)


LAYOUT = EdfLayout()
