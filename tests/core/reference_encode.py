# SPDX-License-Identifier: MIT
"""Twins of the codecs of legacy formats: slow and obvious, written from the formats and not from the C code.

Formats
-------
byte offset
    CBF's x-CBF_BYTE_OFFSET, see CBFlib's manual and ``csrc/byteoffset.h``: differences in 1, 2, 4 or 8 bytes, where
    the smallest number of a width says that the next wider one follows.
AGI_BITFIELD
    Rothkirch et al., J. Synchrotron Rad. 20 (2013) 711, doi 10.1107/S0909049513018621, and ``csrc/bitfield.h``: rows
    of differences in fields of eight, with 1 to 8 bits for each.
"""

from __future__ import annotations

import itertools
import struct

import numpy as np
from numpy.typing import NDArray

_WIDTHS = ((1, "<b"), (2, "<h"), (4, "<i"), (8, "<q"))


def byte_offset_encode(pixels: NDArray[np.int32]) -> bytes:
    """Differences of the image as one line, in numbers without limit."""
    out = bytearray()
    before = 0
    for pixel in pixels.reshape(-1).tolist():
        difference, before = pixel - before, pixel
        for size, code in _WIDTHS:
            limit = 2 ** (8 * size - 1) - 1
            if -limit <= difference <= limit:
                out += struct.pack(code, difference)
                break
            out += struct.pack(code, -limit - 1)
    return bytes(out)


def byte_offset_decode(data: bytes, number: int) -> list[int]:
    """So many pixels, whatever their size."""
    pixels = []
    at = pixel = 0
    for _ in range(number):
        for size, code in _WIDTHS:
            (difference,) = struct.unpack_from(code, data, at)
            at += size
            if difference != -(2 ** (8 * size - 1)):
                break
        pixel += difference
        pixels.append(pixel)
    return pixels


def agi_encode(pixels: NDArray[np.int32]) -> bytes:
    """An image: size of the rows, rows, where each starts."""
    rows = [agi_row(row.tolist()) for row in pixels]
    starts = [sum(map(len, rows[:y])) for y in range(len(rows))]
    data = b"".join(rows)
    return struct.pack("<I", len(data)) + data + struct.pack(f"<{len(starts)}I", *starts)


def agi_row(row: list[int]) -> bytes:
    """A row: escaped first pixel, groups of 16 differences, escaped rest."""
    differences = [_wrapped(b - a) for a, b in itertools.pairwise(row)]
    out = _escaped(row[0])
    whole = len(differences) // 16 * 16
    for at in range(0, whole, 16):
        out += _group(differences[at : at + 8], differences[at + 8 : at + 16])
    return out + b"".join(_escaped(d) for d in differences[whole:])


def _wrapped(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


def _escaped(value: int) -> bytes:
    if -127 <= value < 127:
        return bytes([value + 127])
    if -32767 < value < 32767:
        return b"\xfe" + struct.pack("<h", value)
    return b"\xff" + struct.pack("<i", value)


def _group(a: list[int], b: list[int]) -> bytes:
    (codes_a, over_a), (codes_b, over_b) = _field(a), _field(b)
    return bytes([len(codes_b) << 4 | len(codes_a)]) + codes_a + codes_b + over_a + over_b


def _field(differences: list[int]) -> tuple[bytes, bytes]:
    """Eight codes, as many bytes as each has bits, and what runs over."""
    for width in range(1, 8):
        if all(-(2 ** (width - 1) - 1) <= d <= 2 ** (width - 1) for d in differences):
            codes = sum(d + 2 ** (width - 1) - 1 << k * width for k, d in enumerate(differences))
            return codes.to_bytes(width, "little"), b""
    narrow, over = b"", b""
    for d in differences:
        if -127 <= d < 127:
            narrow += bytes([d + 127])
        elif -32767 <= d < 32767:
            narrow, over = narrow + b"\xfe", over + struct.pack("<h", d)
        else:
            narrow, over = narrow + b"\xff", over + struct.pack("<i", d)
    return narrow, over
