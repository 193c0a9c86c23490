# SPDX-License-Identifier: MIT
"""Datasets that follow one another as one stack: in, their paths; out, one dataset in boxes of stored ones.

Dectris' filewriter writes a series as ``data_000001``, ``data_000002``, ...: each a dataset, as a rule in a file of its
own. Where a file did not come, its frames are missing; how many they are has to be known from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.chunks import absent_dataset
from fastlegacy.hdf5.growing import GrowingResolver
from fastlegacy.hdf5.mapping import Axis, Box, identity
from fastlegacy.hdf5.virtual import Part, Resolved, Resolver

__all__ = ["Block", "join"]

_HINT = "copy it to where it is expected, or read on without it by `--missing fill`"


@dataclass(frozen=True, slots=True)
class Block:
    """One of several datasets that follow one another.

    Attributes
    ----------
    path : str
        Of the dataset, in the file that names it; empty for frames that are in no dataset at all.
    frames : int or None
        How many frames it has; of one that cannot be read, as far as that is known from elsewhere.
    """

    path: str
    frames: int | None = None


def join(resolver: Resolver, file: str, group: str, blocks: Sequence[Block]) -> Resolved:
    """Resolve several datasets, and lay them one after another along the first axis.

    A block of two axes is one frame. What is missing is an error, or, where the resolver is told so, has the fill value
    of the first block that is there. Of blocks that grow, frames that are not there yet count as never written.

    Returns
    -------
    Resolved
        Its path is that of the first block that is there.

    Raises
    ------
    SourceError
        If a block cannot be read, or has frames of another shape or dtype than the others.
    NotAStackError, FilterError
        If the blocks are no frames, or a filter is missing.
    """
    parts: list[Part] = []
    missing: list[str] = []
    first: Resolved | None = None
    path = group
    at = 0
    awaited: list[tuple[int, int]] = []  # first frame, number of frames
    growing = isinstance(resolver, GrowingResolver)
    for block in blocks:
        resolved = _resolve(resolver, file, block, at, missing)
        there = 0
        if resolved is not None:
            resolved = _as_series(resolved)
            if first is None:
                first, path = resolved, block.path
            _check(first, resolved)
            parts += _shifted(resolved, at, first.fill)
            missing += resolved.missing
            there = resolved.shape[0]
        length = max(there, block.frames or 0) if growing or resolved is None else there
        if growing and length > there:
            awaited.append((at + there, length - there))
        at += length
    if first is None:
        raise SourceError(f"none of its {len(blocks)} blocks is there", file=file, dataset=group, hint=_HINT)
    parts += (_awaited(resolver, first, group, start, length) for start, length in awaited)
    shape = (at, *first.shape[1:])
    return Resolved(file, path, shape, first.dtype, first.fill, tuple(parts), tuple(dict.fromkeys(missing)))


def _awaited(resolver: Resolver, first: Resolved, group: str, start: int, length: int) -> Part:
    """Frames that are not there yet."""
    shape = (length, *first.shape[1:])
    stored = absent_dataset(resolver.context, first.file, group, shape, first.dtype, first.fill)
    box = identity(shape)
    return Part(Box((box.axes[0]._replace(start=start), *box.axes[1:]), box.base), stored)


def _resolve(resolver: Resolver, file: str, block: Block, at: int, missing: list[str]) -> Resolved | None:
    """The block, or None where it is missing and may be."""
    place = _place(at, block.frames)
    try:
        if block.path:
            return resolver.resolve(file, block.path)
        what = f"no block has {place}"
        cause: Exception | None = None
    except (SourceError, NotAStackError) as exc:
        what, cause = f"{block.path}, with {place}, is missing: {exc.file or ''} {exc.message}", exc
    error = SourceError(what, file=file, hint=_HINT)
    if resolver.missing == "error":
        raise error from cause
    missing.append(f"{file}: {what}")
    return None


def _place(at: int, frames: int | None) -> str:
    if frames is None:
        return f"the frames from {at} on"
    return f"frame {at}" if frames == 1 else f"the frames {at} to {at + frames - 1}"


def _as_series(resolved: Resolved) -> Resolved:
    """The same, with an axis of one frame where there is an image only."""
    if len(resolved.shape) != 2:
        return resolved
    alone = Axis(0, 1, 1, -1, 0, 1)
    parts = tuple(replace(part, box=Box((alone, *part.box.axes), part.box.base)) for part in resolved.parts)
    return replace(resolved, shape=(1, *resolved.shape), parts=parts)


def _check(first: Resolved, other: Resolved) -> None:
    if (other.shape[1:], other.dtype) != (first.shape[1:], first.dtype):
        raise SourceError(
            f"has frames of {_text(other.shape, other.dtype)}, and {first.file}::{first.path} of "
            f"{_text(first.shape, first.dtype)}: they are not one series",
            file=other.file,
            dataset=other.path,
            hint="open each of the two by its own url",
        )


def _text(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{' x '.join(map(str, shape[1:]))} {dtype.str}"


def _shifted(resolved: Resolved, at: int, fill: bytes) -> Iterator[Part]:
    """The parts of a block at its place in the series."""
    if resolved.fill != fill:
        axes = (Axis(at, 1, resolved.shape[0], -1, 0, 1), *(Axis(0, 1, n, -1, 0, 1) for n in resolved.shape[1:]))
        yield Part(Box(axes, ()), None, resolved.fill)
    for part in resolved.parts:
        head, *rest = part.box.axes
        yield replace(part, box=Box((head._replace(start=head.start + at), *rest), part.box.base))
