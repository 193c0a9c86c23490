# SPDX-License-Identifier: MIT
"""The whole stack as one multi-frame EDF: the blocks of ``edf`` one after the other, all of the same length.

fabio (and what uses it) opens it as a series of frames, each with its header. As in files that FIT2D takes, images
count from 1 to the number of frames, in ``EDF_DataBlockID``, ``Image`` and ``HeaderID`` alike.
"""

from __future__ import annotations

from fastlegacy.layouts._checks import ALL_DTYPES, require_only_file
from fastlegacy.layouts._edf import USES, WANTS, EdfHeaders
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.model import Layout, Literal, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["LAYOUT", "EdfStackLayout"]


class EdfStackLayout(Layout):
    """See the module. Block `n` begins at `n` times the length of a block, so that it can be found by arithmetic."""

    name = "edf-stack"
    suffix = ".edf"
    per_frame = False
    summary = "ESRF data format, one file for the whole stack"
    readers = ("fabio", "silx", "pyFAI", "PyMca")
    dtypes = ALL_DTYPES
    wants = WANTS
    uses = USES

    def pieces(self, facts: StackFacts, index: int = 0, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of all frames in turn.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes, an angle does not fit, or a motor or
            counter has fewer values than there are frames.
        """
        written = as_written(facts, self.name, self.dtypes)
        require_only_file(index)
        frames = facts.shape[0]
        if frames == 0:
            return ()
        headers = EdfHeaders.of(written, highest=frames)
        return tuple([piece for i in range(frames) for piece in (Literal(headers.header(i, i + 1)), pixels(facts, i))])


LAYOUT = EdfStackLayout()
