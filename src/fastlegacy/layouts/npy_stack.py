# SPDX-License-Identifier: MIT
"""NumPy's own format, the whole stack as one file; ``np.load(..., mmap_mode="r")`` opens it without reading it."""

from __future__ import annotations

from dataclasses import dataclass

from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_only_file
from fastlegacy.layouts.npy import npy_header
from fastlegacy.model import Literal, Piece, Pixels, StackFacts

__all__ = ["LAYOUT", "NpyStackLayout"]


@dataclass(frozen=True, slots=True)
class NpyStackLayout:
    """See the module."""

    name: str = "npy-stack"
    suffix: str = ".npy"
    per_frame: bool = False
    summary: str = "NumPy array, one file for the whole stack: numpy"
    dtypes: tuple[str, ...] = ALL_DTYPES

    def pieces(self, facts: StackFacts, frame: int = 0) -> tuple[Piece, ...]:
        """Return header and pixels of all frames: an array of shape (frames, ny, nx).

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_only_file(frame)
        return Literal(npy_header(facts.dtype, facts.shape)), Pixels(0, facts.shape[0])


LAYOUT = NpyStackLayout()
