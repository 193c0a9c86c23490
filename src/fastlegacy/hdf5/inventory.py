# SPDX-License-Identifier: MIT
"""What is really stored of a stack: bytes on disk, which frames were ever written, and which are there in full."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastlegacy.hdf5.chunks import NOWHERE, StoredDataset
from fastlegacy.hdf5.virtual import Part

if TYPE_CHECKING:
    from fastlegacy.hdf5.stack import Stack

__all__ = ["frames_in_full", "stored_bytes", "written_frames"]

_Mask = NDArray[np.bool_]


def stored_bytes(stack: Stack) -> int:
    """Bytes that the datasets behind a stack take in their files, compressed as they are."""
    sources = {(s.file, s.path): s for s in (part.source for part in stack.parts) if s is not None}
    return sum(_bytes_of(source) for source in sources.values())


def written_frames(stack: Stack) -> _Mask:
    """For each frame of a stack, whether any of its pixels was ever written: ndarray of bool, shape (frames,)."""
    there = np.zeros(stack.facts.leading_shape, dtype=bool)
    for part in stack.parts:
        if part.source is None:
            continue
        chunk_map = part.source.chunk_map()
        if chunk_map is None:
            there[_places(part)] |= part.source.core.allocated
        else:
            there[_places(part)] |= _shown(part, part.source, chunk_map[0] != NOWHERE, np.any)
    return there.reshape(-1)


def frames_in_full(
    parts: list[Part], leading_shape: tuple[int, ...], size_of: Callable[[StoredDataset], int], growing: bool
) -> _Mask:
    """For each frame, whether all of it can be read by now: ndarray of bool, shape (frames,).

    A frame is there when each of its chunks is, with all bytes within the file. What a virtual dataset maps nowhere is
    not waited for. While a file grows, a chunk of several frames may be written again as long as none comes after it:
    its frames count from then on only. So do not, then, several frames in one piece: HDF5 makes room for all of them
    with the first.

    Parameters
    ----------
    parts : list of Part
    leading_shape : tuple of int
    size_of : callable
        Size in bytes of the file that a dataset is in, now.
    growing : bool
        The files may be written to at this moment.
    """
    there = np.ones(leading_shape, dtype=bool)
    for part in parts:
        if part.source is not None:
            there[_places(part)] &= _in_full(part, part.source, size_of, growing)
    return there.reshape(-1)


def _bytes_of(source: StoredDataset) -> int:
    if source.stored_bytes is not None:
        return source.stored_bytes
    chunk_map = source.chunk_map()
    return int(chunk_map[1].sum()) if chunk_map else 0


def _in_full(part: Part, source: StoredDataset, size_of: Callable[[StoredDataset], int], growing: bool) -> _Mask | bool:
    if source.is_absent:
        return False
    if source.behind is not None:
        return all(_all_of(one, size_of, growing) for one in source.behind)
    in_frame = {a.src_axis for a in part.box.axes[-2:]}
    leading = [k for k in range(len(source.shape)) if k not in in_frame]
    several = growing and any(source.core.chunk[k] > 1 for k in leading)
    chunk_map = source.chunk_map()
    if chunk_map is None:
        if source.core.address is None:
            return source.core.allocated
        return False if several else _within_file(part, source, size_of)
    there = _chunks_there(source, chunk_map[0], chunk_map[1], size_of)
    if several:
        there &= _before_another(there.reshape(source.core.grid), leading).reshape(-1)
    return _shown(part, source, there, np.all)


def _all_of(source: StoredDataset, size_of: Callable[[StoredDataset], int], growing: bool) -> bool:
    """Whether a dataset is there from its first to its last byte, and nothing of it can be written again."""
    if source.is_absent or source.behind is not None or (growing and any(n > 1 for n in source.core.chunk[:-2])):
        return False
    chunk_map = source.chunk_map()
    if chunk_map is not None:
        return bool(_chunks_there(source, chunk_map[0], chunk_map[1], size_of).all())
    address = source.core.address
    if address is None:
        return source.core.allocated
    return address + math.prod(source.shape) * source.dtype.itemsize <= size_of(source)


def _chunks_there(
    source: StoredDataset,
    addresses: NDArray[np.uint64],
    sizes: NDArray[np.uint64],
    size_of: Callable[[StoredDataset], int],
) -> _Mask:
    size = np.uint64(size_of(source))
    there: _Mask = (addresses != NOWHERE) & (addresses <= size)
    there &= sizes <= size - np.where(there, addresses, 0)
    return there


def _before_another(there: _Mask, leading: list[int]) -> _Mask:
    """For each chunk, whether any other is there that holds later frames."""
    found = there.any(axis=tuple(k for k in range(there.ndim) if k not in leading), keepdims=True)
    flat = found.reshape(-1)
    later = np.zeros_like(flat)
    later[:-1] = np.logical_or.accumulate(flat[::-1])[::-1][1:]
    before: _Mask = np.broadcast_to(later.reshape(found.shape), there.shape)
    return before


def _within_file(part: Part, source: StoredDataset, size_of: Callable[[StoredDataset], int]) -> _Mask:
    """Of contiguous data: for each place along the leading axes of a part, whether its last byte is in the file."""
    *leading, ay, ax = part.box.axes
    strides = [math.prod(source.shape[k + 1 :]) for k in range(len(source.shape))]
    moving = {a.src_axis for a in part.box.axes}
    last = sum(stride * part.box.base[k] for k, stride in enumerate(strides) if k not in moving)
    last += sum(strides[a.src_axis] * (a.src_start + a.src_step * (a.length - 1)) for a in (ay, ax) if a.src_axis >= 0)
    element = np.full(tuple(a.length for a in leading), last, dtype=np.int64)
    for i, a in enumerate(leading):
        if a.src_axis >= 0:
            along = strides[a.src_axis] * (a.src_start + a.src_step * np.arange(a.length))
            element += along.reshape((-1,) + (1,) * (len(leading) - 1 - i))
    assert source.core.address is not None
    ends = source.core.address + (element + 1) * source.dtype.itemsize
    return np.atleast_1d(ends <= size_of(source)).reshape(ends.shape)


def _places(part: Part) -> tuple[slice, ...]:
    """Where a part lies along the leading axes of the stack."""
    return tuple(slice(a.start, a.start + a.step * a.length, a.step) for a in part.box.axes[:-2])


def _shown(part: Part, source: StoredDataset, chunks: _Mask, together: Callable[..., _Mask]) -> _Mask:
    """What a flag of each chunk says of each place along the leading axes of a part.

    ``together``: np.any or np.all, over the chunks that lie in one frame.
    """
    flags = chunks.reshape(source.core.grid)
    axes = part.box.axes[:-2]
    moving = {a.src_axis for a in axes if a.src_axis >= 0}
    in_frame = {a.src_axis: a for a in part.box.axes[-2:] if a.src_axis >= 0}
    for k in reversed(range(flags.ndim)):
        size = source.core.chunk[k]
        if k in in_frame:
            a = in_frame[k]
            touched = np.unique((a.src_start + a.src_step * np.arange(a.length)) // size)
            flags = together(flags.take(touched, axis=k), axis=k)
        elif k not in moving:
            flags = np.asarray(flags.take(part.box.base[k] // size, axis=k))
    index = [
        (a.src_start + a.src_step * np.arange(a.length)) // source.core.chunk[a.src_axis]
        for a in axes
        if a.src_axis >= 0
    ]
    shown = flags[np.ix_(*index)] if index else flags
    return shown.reshape(tuple(a.length for a in axes))
