# SPDX-License-Identifier: MIT
"""NumPy's own format, version 1.0, one file for each frame; ``np.load`` reads it, also with ``mmap_mode``.

Format: numpy.lib.format (NEP 1): magic, version, u16 length, a Python dict as text padded with spaces to a multiple
of 64 bytes in all, a newline, then the pixels as they are stored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype, require_frame
from fastlegacy.model import Literal, Piece, Pixels, StackFacts

__all__ = ["LAYOUT", "NpyLayout", "npy_header"]

_MAGIC = b"\x93NUMPY\x01\x00"


@dataclass(frozen=True, slots=True)
class NpyLayout:
    """See the module."""

    name: str = "npy"
    suffix: str = ".npy"
    per_frame: bool = True
    summary: str = "NumPy array, one file for each frame: numpy, fabio"
    dtypes: tuple[str, ...] = ALL_DTYPES

    def pieces(self, facts: StackFacts, frame: int) -> tuple[Piece, ...]:
        """Return header and pixels of a frame: an array of shape (ny, nx).

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        require_dtype(facts, self.name, self.dtypes)
        require_frame(facts, frame)
        return Literal(npy_header(facts.dtype, facts.shape[1:])), Pixels(frame)


def npy_header(dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> bytes:
    """Return the header of an array in C order: 128 bytes where the text fits, else the next multiple of 64.

    Parameters
    ----------
    dtype : numpy.dtype
        As stored, byte order included.
    shape : tuple of int
    """
    text = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    total = max(128, -(-(len(_MAGIC) + 2 + len(text) + 1) // 64) * 64)
    length = total - len(_MAGIC) - 2
    return _MAGIC + struct.pack("<H", length) + f"{text:<{length - 1}}\n".encode("ascii")


LAYOUT = NpyLayout()
