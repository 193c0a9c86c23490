# SPDX-License-Identifier: MIT
"""Whole legacy files from the pieces of a layout, by the NumPy twins of the kernels: no kernel has a part in them."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlegacy.model import CodedPixels, Layout, Literal, Padding, Pixels, StackFacts, piece_size
from fastlegacy.pixels import Code, Coded

from .core import reference_bruker, reference_encode
from .core.reference_pixels import develop

__all__ = ["body", "file_bytes", "measured", "pixels_of"]


def body(code: Code, frame: NDArray[Any], mask: NDArray[Any] | None = None) -> tuple[bytes, tuple[int, ...]]:
    """Return a frame through a codec, and what it counts."""
    pixels = develop(frame, code.form, mask=mask)
    if code.codec == "bruker100":
        data, *counts = reference_bruker.bruker100_encode(pixels)
        return data, tuple(counts)
    encode = {"byte_offset": reference_encode.byte_offset_encode, "agi_bitfield": reference_encode.agi_encode}
    return bytes(encode[code.codec](pixels)), ()


def measured(code: Code, frame: NDArray[Any], mask: NDArray[Any] | None = None) -> Coded:
    """Return what a layout is told of an encoded frame."""
    data, counts = body(code, frame, mask)
    return Coded(len(data), counts, hashlib.md5(data, usedforsecurity=False).digest() if code.digest else bytes(16))


def pixels_of(piece: Pixels | CodedPixels, frames: NDArray[Any], mask: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the pixels (frames, ny, nx) of a piece as the file has them."""
    if isinstance(piece, CodedPixels):
        return develop(frames[piece.frame], piece.code.form, mask=mask)[np.newaxis]
    wanted = frames[piece.first : piece.first + piece.frames]
    if piece.form is not None:
        return np.stack([develop(frame, piece.form, mask=mask) for frame in wanted]).astype(piece.form.dtype)
    order = wanted.dtype if piece.byteorder == "|" else wanted.dtype.newbyteorder(piece.byteorder)
    return wanted.astype(order)


def file_bytes(
    layout: Layout, facts: StackFacts, frames: NDArray[Any], index: int = 0, mask: NDArray[Any] | None = None
) -> bytes:
    """Return a file of a layout, made of frames (frames, ny, nx); its pieces have the sizes that they tell."""
    code = layout.code(facts)
    coded = None if code is None else measured(code, frames[layout.frame_of(facts, index)], mask)
    parts = []
    for piece in layout.pieces(facts, index, coded):
        match piece:
            case Literal(data):
                parts.append(data)
            case Padding(size, value):
                parts.append(bytes([value]) * size)
            case CodedPixels(frame, wanted):
                parts.append(body(wanted, frames[frame], mask)[0])
            case Pixels():
                parts.append(pixels_of(piece, frames, mask).tobytes())
        assert len(parts[-1]) == piece_size(piece, facts)
    return b"".join(parts)
