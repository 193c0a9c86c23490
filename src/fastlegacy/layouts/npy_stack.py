# SPDX-License-Identifier: MIT
"""NumPy's own format, the whole stack as one file; ``np.load(..., mmap_mode="r")`` opens it without reading it."""

from __future__ import annotations

from fastlegacy.layouts._checks import ALL_DTYPES, require_only_file
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.layouts.npy import npy_header
from fastlegacy.model import Layout, Literal, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["LAYOUT", "NpyStackLayout"]


class NpyStackLayout(Layout):
    """See the module."""

    name = "npy-stack"
    suffix = ".npy"
    per_frame = False
    summary = "NumPy array, one file for the whole stack"
    readers = ("numpy",)
    dtypes = ALL_DTYPES

    def pieces(self, facts: StackFacts, index: int = 0, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of all frames: an array of shape (frames, ny, nx).

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        written = as_written(facts, self.name, self.dtypes)
        require_only_file(index)
        return Literal(npy_header(written.dtype, written.shape)), pixels(facts, 0, facts.shape[0])


LAYOUT = NpyStackLayout()
