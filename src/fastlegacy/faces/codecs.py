# SPDX-License-Identifier: MIT
"""The codecs of legacy formats on arrays: an image to bytes, and bytes to an image.

``byte_offset`` is x-CBF_BYTE_OFFSET of CBF files (CBFlib's manual). ``agi_bitfield`` is that of Esperanto files
(Rothkirch et al., J. Synchrotron Rad. 20 (2013) 711, doi 10.1107/S0909049513018621). Both work without the GIL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Buffer

from fastlegacy import _encode

__all__ = ["agi_bitfield_decode", "agi_bitfield_encode", "byte_offset_decode", "byte_offset_encode"]


def byte_offset_encode(pixels: NDArray[Any]) -> bytes:
    """Encode an array by CBF's byte offset: the differences of neighbours, in 1, 2, 4 or 8 bytes each.

    Parameters
    ----------
    pixels : ndarray of integers, any shape
        Encoded in C order, as one line.

    Raises
    ------
    ValueError
        If the pixels are not integers, or one of them is no signed 32-bit number.
    """
    return _encode.byte_offset_encode(_as_int32(pixels))


def byte_offset_decode(data: Buffer, shape: int | Sequence[int]) -> NDArray[np.int32]:
    """Decode what CBF's byte offset has encoded; bytes behind the last pixel are not looked at.

    Parameters
    ----------
    data : bytes-like
    shape : int or sequence of int
        Of the result.

    Returns
    -------
    ndarray of int32

    Raises
    ------
    DecodeError
        If the data end before the image does, or a pixel is no signed 32-bit number.
    """
    out = np.empty(shape, np.int32)
    _encode.byte_offset_decode(_as_bytes(data), out)
    return out


def agi_bitfield_encode(image: NDArray[Any]) -> bytes:
    """Encode an image as AGI_BITFIELD: the size of its rows, the rows, and the table of where they start.

    Parameters
    ----------
    image : ndarray of integers, shape (ny, nx)

    Raises
    ------
    ValueError
        If this is no image of integers, or a pixel is no signed 32-bit number.
    LayoutError
        If the result would be larger than 4 GiB.
    """
    if image.ndim != 2:
        raise ValueError(f"an image has two axes, not {image.ndim}")
    return _encode.agi_encode(_as_int32(image))


def agi_bitfield_decode(data: Buffer, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Decode an AGI_BITFIELD image; bytes behind it are not looked at.

    Parameters
    ----------
    data : bytes-like
    shape : tuple of int
        (ny, nx).

    Returns
    -------
    ndarray of int32, shape (ny, nx)

    Raises
    ------
    DecodeError
        If the data are no such image of this shape.
    """
    ny, nx = shape
    out = np.empty((ny, nx), np.int32)
    _encode.agi_decode(_as_bytes(data), out)
    return out


def _as_bytes(data: Buffer) -> memoryview:
    view = memoryview(data)
    return view if view.nbytes == 0 else view.cast("B")


def _as_int32(pixels: NDArray[Any]) -> NDArray[np.int32]:
    """The pixels as signed 32-bit numbers that lie in one piece."""
    if pixels.dtype.kind not in "iu":
        raise ValueError(f"pixels of type {pixels.dtype} are not integers; convert them by rounding and astype")
    limits = np.iinfo(np.int32)
    if not np.can_cast(pixels.dtype, np.int32) and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        if low < limits.min or high > limits.max:
            raise ValueError(f"pixels from {low} to {high} do not fit into signed 32-bit numbers; clip them")
    return np.ascontiguousarray(pixels, np.int32)
