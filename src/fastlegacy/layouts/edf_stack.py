# SPDX-License-Identifier: MIT
"""The whole stack as one multi-frame EDF: the blocks of ``edf`` one after the other, all of the same length.

fabio (and what uses it) opens it as a series of frames, each with its header. As in files that FIT2D takes, images
count from 1 to the number of frames, in ``EDF_DataBlockID``, ``Image`` and ``HeaderID`` alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_only_file
from fastlegacy.layouts._edf import EdfHeaders
from fastlegacy.model import Literal, Piece, Pixels, StackFacts

__all__ = ["LAYOUT", "EdfStackLayout"]


@dataclass(frozen=True, slots=True)
class EdfStackLayout:
    """See the module. Block `n` begins at `n` times the length of a block, so that it can be found by arithmetic."""

    name: str = "edf-stack"
    suffix: str = ".edf"
    per_frame: bool = False
    summary: str = "ESRF data format, one file for the whole stack: fabio, silx, pyFAI, PyMca"
    dtypes: tuple[str, ...] = ALL_DTYPES

    def pieces(self, facts: StackFacts, frame: int = 0) -> tuple[Piece, ...]:
        """Return header and pixels of all frames in turn.

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes, or an angle does not fit.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_only_file(frame)
        frames = facts.shape[0]
        if frames == 0:
            return ()
        headers = EdfHeaders.of(facts, highest=frames)
        return tuple([piece for i in range(frames) for piece in (Literal(headers.header(i, i + 1)), Pixels(i))])


LAYOUT = EdfStackLayout()
