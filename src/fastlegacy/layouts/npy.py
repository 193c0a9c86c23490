# SPDX-License-Identifier: MIT
"""NumPy's own format, version 1.0, one file for each frame; ``np.load`` reads it, also with ``mmap_mode``.

Format: numpy.lib.format (NEP 1): magic, version, u16 length, a Python dict as text padded with spaces to a multiple
of 64 bytes in all, a newline, then the pixels as they are stored.
"""

from __future__ import annotations

import struct

import numpy as np

from fastlegacy.layouts._checks import ALL_DTYPES, require_frame
from fastlegacy.layouts._pixels import as_written, pixels
from fastlegacy.model import Layout, Literal, Piece, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["LAYOUT", "NpyLayout", "npy_header"]

_MAGIC = b"\x93NUMPY\x01\x00"


class NpyLayout(Layout):
    """See the module."""

    name = "npy"
    suffix = ".npy"
    summary = "NumPy array, one file for each frame"
    readers = ("numpy", "fabio")
    dtypes = ALL_DTYPES
    companions = ("poni",)

    def pieces(self, facts: StackFacts, index: int, coded: Coded | None = None) -> tuple[Piece, ...]:
        """Return header and pixels of a frame: an array of shape (ny, nx).

        Raises
        ------
        LayoutError
            If the pixels are not integers or floats of 1, 2, 4 or 8 bytes.
        """
        written = as_written(facts, self.name, self.dtypes)
        require_frame(facts, index)
        return Literal(npy_header(written.dtype, written.shape[1:])), pixels(facts, index)


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
