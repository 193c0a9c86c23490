# SPDX-License-Identifier: MIT
"""One frame of 4 megapixels to the encoded formats and back, on one core, beside fabio's functions for the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from fabio.compression import agi_bitfield, compByteOffset, decByteOffset
from fabio.ext import _agi_bitfield
from numpy.typing import NDArray

from fastlegacy import _encode
from fastlegacy.testing.frames import EIGER_4M, detector_frames

Note: TypeAlias = Callable[[str, str, int], None]
Image: TypeAlias = NDArray[np.int32]


@pytest.fixture(scope="module")
def frame(measuring: bool) -> Image:
    """Counts, and -1 where there are none."""
    (counts,) = detector_frames(1, EIGER_4M if measuring else (300, 260), "int32")
    image: Image = np.where(counts == np.iinfo(np.int32).max, -1, counts).astype(np.int32)
    return image


@pytest.fixture(scope="module")
def square(frame: Image) -> Image:
    """The frame in a square, as Esperanto needs it: at the top, in the middle from left to right."""
    ny, nx = frame.shape
    side = -(-max(ny, nx) // 4) * 4
    left = (side - nx) // 2
    image: Image = np.full((side, side), -1, np.int32)
    image[:ny, left : left + nx] = frame
    return image


def test_byte_offset_encode(benchmark: Any, note: Note, frame: Image) -> None:
    """``byte_offset_encode(array)``."""
    note("byte offset, encode", "fastlegacy", frame.nbytes)
    assert benchmark(_encode.byte_offset_encode, frame) == compByteOffset(frame)


def test_byte_offset_encode_fabio(benchmark: Any, note: Note, frame: Image) -> None:
    """``compByteOffset(array)``, which takes the fast way for int32."""
    note("byte offset, encode", "fabio", frame.nbytes)
    assert benchmark(compByteOffset, frame) == _encode.byte_offset_encode(frame)


def test_byte_offset_size(benchmark: Any, note: Note, frame: Image) -> None:
    """``byte_offset_size(array)``: what ``stat`` needs."""
    note("byte offset, size", "fastlegacy", frame.nbytes)
    assert benchmark(_encode.byte_offset_size, frame) == len(_encode.byte_offset_encode(frame))


def test_byte_offset_size_fabio(benchmark: Any, note: Note, frame: Image) -> None:
    """``len(compByteOffset(array))``: there is nothing that only counts."""
    note("byte offset, size", "fabio, encoded", frame.nbytes)
    assert benchmark(lambda: len(compByteOffset(frame))) == _encode.byte_offset_size(frame)


def test_byte_offset_decode(benchmark: Any, note: Note, frame: Image) -> None:
    """``byte_offset_decode(data, array)``."""
    data = _encode.byte_offset_encode(frame)
    out = np.empty_like(frame)
    note("byte offset, decode", "fastlegacy", frame.nbytes)
    benchmark(_encode.byte_offset_decode, data, out)
    np.testing.assert_array_equal(out, frame)


def test_byte_offset_decode_fabio(benchmark: Any, note: Note, frame: Image) -> None:
    """``decByteOffset(data, size, dtype="int32")``, the faster of its two."""
    data = _encode.byte_offset_encode(frame)
    note("byte offset, decode", "fabio", frame.nbytes)
    out = benchmark(decByteOffset, data, frame.size, dtype="int32")
    np.testing.assert_array_equal(np.reshape(out, frame.shape), frame)


def test_byte_offset_decode_memory(benchmark: Any, note: Note, frame: Image) -> None:
    """``array.fill``: no decoder can be faster than the memory that it writes to."""
    out = np.empty_like(frame)
    note("byte offset, decode", "array.fill", frame.nbytes)
    benchmark(out.fill, 1)


def test_agi_encode(benchmark: Any, note: Note, square: Image) -> None:
    """``agi_encode(array)``."""
    note("AGI_BITFIELD, encode", "fastlegacy", square.nbytes)
    assert benchmark(_encode.agi_encode, square) == _agi_bitfield.compress(square)


def test_agi_encode_fabio(benchmark: Any, note: Note, square: Image) -> None:
    """``compress(array)`` of its C module, which its Esperanto writer takes."""
    note("AGI_BITFIELD, encode", "fabio", square.nbytes)
    assert benchmark(_agi_bitfield.compress, square) == _encode.agi_encode(square)


def test_agi_size(benchmark: Any, note: Note, square: Image) -> None:
    """``agi_size(array)``: what ``stat`` needs."""
    note("AGI_BITFIELD, size", "fastlegacy", square.nbytes)
    assert benchmark(_encode.agi_size, square) == len(_encode.agi_encode(square))


def test_agi_size_fabio(benchmark: Any, note: Note, square: Image) -> None:
    """``len(compress(array))``: there is nothing that only counts."""
    note("AGI_BITFIELD, size", "fabio, encoded", square.nbytes)
    assert benchmark(lambda: len(_agi_bitfield.compress(square))) == _encode.agi_size(square)


def test_agi_decode(benchmark: Any, note: Note, square: Image) -> None:
    """``agi_decode(data, array)``."""
    data = _encode.agi_encode(square)
    out = np.empty_like(square)
    note("AGI_BITFIELD, decode", "fastlegacy", square.nbytes)
    benchmark(_encode.agi_decode, data, out)
    np.testing.assert_array_equal(out, square)


def test_agi_decode_fabio(benchmark: Any, note: Note, square: Image) -> None:
    """``decompress(data, shape)``, which is written in Python."""
    data = _encode.agi_encode(square)
    note("AGI_BITFIELD, decode", "fabio", square.nbytes)
    out = benchmark(agi_bitfield.decompress, data, square.shape)
    np.testing.assert_array_equal(out, square)
