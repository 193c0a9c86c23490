# SPDX-License-Identifier: MIT
"""PNG files of 8-bit colour: in, an array of pixels; out, bytes. Source: PNG specification, ISO/IEC 15948:2004."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["png"]

_COLOUR = 2  # three samples of a pixel, no palette


def png(rgb: NDArray[np.uint8]) -> bytes:
    """Return the PNG file of an image.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (ny, nx, 3)
    """
    ny, nx = rgb.shape[:2]
    # each row begins with the number of its filter: 0, none
    rows = np.zeros((ny, 1 + 3 * nx), np.uint8)
    rows[:, 1:] = rgb.reshape(ny, 3 * nx)
    header = struct.pack(">IIBBBBB", nx, ny, 8, _COLOUR, 0, 0, 0)
    body = zlib.compress(rows.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
