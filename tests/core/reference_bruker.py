# SPDX-License-Identifier: MIT
"""Twin of ``csrc/bruker.h``: the body of a Bruker frame of FORMAT 100, with one byte for each pixel.

Format: fabio's bruker100 and dxtbx's readers. A byte for each pixel, in C order; then the pixels of 255 and more as
u16; then those of 65535 and more as i32. A pixel that has an entry in the next table has the largest number of its
own. Each table is filled with zeros to a multiple of 16 bytes. All numbers are little endian.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["bruker100_encode"]


def bruker100_encode(pixels: NDArray[np.int32]) -> tuple[bytes, int, int]:
    """Return body, entries of the 16-bit table, entries of the 32-bit table, of an image without negative pixels."""
    flat = pixels.reshape(-1)
    if (flat < 0).any():
        raise ValueError("Bruker frames of this kind have no negative pixels")
    large, larger = flat[flat >= 255], flat[flat >= 65535]
    body = np.minimum(flat, 255).astype("u1").tobytes()
    body += _filled(np.minimum(large, 65535).astype("<u2").tobytes())
    body += _filled(larger.astype("<i4").tobytes())
    return body, len(large), len(larger)


def _filled(table: bytes) -> bytes:
    return table + bytes(-len(table) % 16)
