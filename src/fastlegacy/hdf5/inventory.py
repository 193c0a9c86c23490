# SPDX-License-Identifier: MIT
"""What is really stored of a stack: bytes on disk, and which of its frames were ever written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastlegacy.hdf5.chunks import NOWHERE, StoredDataset
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.virtual import Part

__all__ = ["stored_bytes", "written_frames"]


def stored_bytes(stack: Stack) -> int:
    """Bytes that the datasets behind a stack take in their files, compressed as they are."""
    sources = {(s.file, s.path): s for s in (part.source for part in stack.parts) if s is not None}
    return sum(_bytes_of(source) for source in sources.values())


def written_frames(stack: Stack) -> NDArray[np.bool_]:
    """For each frame of a stack, whether any of its pixels was ever written: ndarray of bool, shape (frames,)."""
    lead = stack.facts.leading_shape
    there = np.zeros(lead, dtype=bool)
    for part in stack.parts:
        if part.source is not None:
            _mark(there, part, part.source)
    return there.reshape(-1)


def _bytes_of(source: StoredDataset) -> int:
    if source.stored_bytes is not None:
        return source.stored_bytes
    chunk_map = source.chunk_map()
    return int(chunk_map[1].sum()) if chunk_map else 0


def _mark(there: NDArray[np.bool_], part: Part, source: StoredDataset) -> None:
    axes = part.box.axes[:-2]
    places = tuple(slice(a.start, a.start + a.step * a.length, a.step) for a in axes)
    chunk_map = source.chunk_map()
    if chunk_map is None:
        there[places] |= source.core.allocated
        return
    written = (chunk_map[0] != NOWHERE).reshape(source.core.grid)
    moving = {a.src_axis for a in axes if a.src_axis >= 0}
    in_frame = {a.src_axis for a in part.box.axes[-2:]}
    for k in reversed(range(written.ndim)):
        if k in in_frame:
            written = written.any(axis=k)
        elif k not in moving:
            written = written.take(part.box.base[k] // source.core.chunk[k], axis=k)
    index = [
        (a.src_start + a.src_step * np.arange(a.length)) // source.core.chunk[a.src_axis]
        for a in axes
        if a.src_axis >= 0
    ]
    shown = written[np.ix_(*index)] if index else written
    there[places] |= shown.reshape(tuple(a.length for a in axes))
