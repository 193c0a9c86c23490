# SPDX-License-Identifier: MIT
"""Reads the stored chunks behind a stack, each once, on all cores; what comes out is what cannot be read, and why."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastlegacy.errors import FastlegacyError, SourceError
from fastlegacy.hdf5.chunks import NOWHERE, StoredDataset
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.threads import cores
from fastlegacy.hdf5.virtual import Part

__all__ = ["Cause", "Checked", "ChunkCheck", "Damage"]

Cause = Literal["damaged", "changed", "unreadable"]
Begin = Callable[[int], None]
Note = Callable[[int, int], None]
_Key = tuple[str, str]
_Job = NDArray[np.int64]
_Faults = dict[int, FastlegacyError]
_Result = tuple[int, _Faults]
_Signature = dict[str, tuple[int, int, int]]

_MOST_BYTES = 16 << 20  # of what is stored in one piece so much is read at a time
_AHEAD = 4  # jobs that wait for each thread
_JOB_BYTES = 8 << 20  # small chunks are read several in one go: a thread's work has to be longer than its hand-over


def _no_news(*_: int) -> None:
    """Nobody wants to know."""


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that cannot be read.

    Attributes
    ----------
    file, dataset : str
        Where it is stored.
    chunk : int or None
        Number of the chunk in the dataset, in C order; None where it is all of the dataset, or it is not chunked.
    frames : tuple of int
        Frames of the stack that need it, counted from 0.
    cause : {"damaged", "changed", "unreadable"}
        The stored bytes are not what they should be; the file was written to meanwhile; the bytes are not there.
    text : str
        What is wrong, in one sentence.
    """

    file: str
    dataset: str
    chunk: int | None
    frames: tuple[int, ...]
    cause: Cause
    text: str


@dataclass(slots=True)
class Checked:
    """What was found of a stack: faults, and how much was read of it now (chunks, decoded bytes)."""

    damages: list[Damage] = field(default_factory=list)
    chunks: int = 0
    read_bytes: int = 0


@dataclass(slots=True)
class _Known:
    """What is known of a dataset: the chunks that were read, and those that cannot be."""

    read: NDArray[np.bool_]
    faults: _Faults = field(default_factory=dict)
    whole: FastlegacyError | None = None  # its chunk map cannot be read


@dataclass(frozen=True, slots=True)
class _Shown:
    """A dataset, the parts of a stack that show it, the chunks that these touch, and which of them to read now."""

    source: StoredDataset
    parts: list[Part]
    known: _Known
    touched: NDArray[np.bool_]
    numbers: _Job
    size: int

    @classmethod
    def of(cls, all_known: dict[_Key, _Known], key: _Key, parts: list[Part]) -> _Shown:
        source = parts[0].source
        assert source is not None
        grid = source.core.grid
        known = all_known.setdefault(key, _Known(np.zeros(math.prod(grid), dtype=bool)))
        touched = np.zeros(grid, dtype=bool)
        for part in parts:
            touched[np.ix_(*_chunks_along(part, source))] = True
        size = math.prod(source.core.chunk) * source.dtype.itemsize
        return cls(source, parts, known, touched.reshape(-1), _to_read(source, known, touched.reshape(-1)), size)


def _to_read(source: StoredDataset, known: _Known, touched: NDArray[np.bool_]) -> _Job:
    """Numbers of the chunks to read, in the order in which they are in the file."""
    numbers = np.flatnonzero(touched & ~known.read)
    if known.whole is not None or not len(numbers):
        return numbers[:0]
    try:
        chunk_map = source.chunk_map()
    except FastlegacyError as exc:
        known.whole = exc
        return numbers[:0]
    if chunk_map is None:
        return numbers if source.core.allocated else numbers[:0]
    addresses = chunk_map[0][numbers]
    written = addresses != NOWHERE
    in_file: _Job = numbers[written][np.argsort(addresses[written], kind="stable")]
    return in_file


class ChunkCheck:
    """Checks one stack after the other; a chunk that several of them show is read once.

    Parameters
    ----------
    threads : int, optional
        As many as there are cores for this process by default.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or cores()
        self._known: dict[_Key, _Known] = {}
        self._local = threading.local()

    def __call__(self, stack: Stack, begin: Begin = _no_news, note: Note = _no_news) -> Checked:
        """Read everything that a stack shows.

        Parameters
        ----------
        stack : Stack
        begin : callable
            Called once, with the number of chunks that will be read.
        note : callable
            Called with chunks and decoded bytes that were read since the last call.
        """
        found = Checked()
        parts: dict[_Key, list[Part]] = {}
        for part in stack.parts:
            if part.source is not None and not part.source.is_absent:
                parts.setdefault((part.source.file, part.source.path), []).append(part)
        todo = [_Shown.of(self._known, key, shown) for key, shown in parts.items()]
        begin(sum(len(one.numbers) for one in todo))
        for one in todo:
            self._read(one, found, note)
            one.known.read |= one.touched
        signature = {file: (size, mtime_ns, inode) for file, size, mtime_ns, inode in stack.signature()}
        found.damages = [damage for one in todo for damage in _damages(stack, one, signature)]
        found.damages.sort(key=lambda one: (one.frames[:1], one.file, one.dataset, one.chunk or 0))
        return found

    def _read(self, one: _Shown, found: Checked, note: Note) -> None:
        several = max(1, _JOB_BYTES // one.size)
        jobs = (one.numbers[i : i + several] for i in range(0, len(one.numbers), several))
        for read, faults in self._in_threads(lambda job: self._job(one.source, one.size, job), jobs):
            one.known.faults.update(faults)
            found.chunks += read
            found.read_bytes += read * one.size
            note(read, read * one.size)

    def _in_threads(self, work: Callable[[_Job], _Result], jobs: Iterator[_Job]) -> Iterator[_Result]:
        with ThreadPoolExecutor(self._threads) as pool:
            waiting: set[Future[_Result]] = set()
            try:
                for job in jobs:
                    waiting.add(pool.submit(work, job))
                    if len(waiting) >= _AHEAD * self._threads:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from (one.result() for one in done)
                yield from (one.result() for one in waiting)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _job(self, source: StoredDataset, size: int, numbers: _Job) -> _Result:
        step = min(size, _MOST_BYTES) if source.core.address is not None else size
        room = getattr(self._local, "room", None)
        if room is None or len(room) < step:
            self._local.room = room = np.empty(step, dtype=np.uint8)
        faults: _Faults = {}
        for number in map(int, numbers):
            try:
                for at in range(0, size, step):
                    source.core.read(number, at, room[: min(step, size - at)])
            except FastlegacyError as exc:
                faults[number] = exc
            except MemoryError as exc:  # a damaged chunk may state any size; what it needs is not there
                faults[number] = SourceError(f"out of memory: {exc}", file=source.file, dataset=source.path)
        return len(numbers), faults


def _damages(stack: Stack, one: _Shown, signature: _Signature) -> Iterator[Damage]:
    source = one.source

    def damage(chunk: int | None, exc: FastlegacyError) -> Damage:
        frames = sorted({frame for part in one.parts for frame in _frames_of(stack, part, source, chunk)})
        where = chunk if source.chunks is not None else None
        text = exc.message.removeprefix(f"chunk {chunk}: ")
        return Damage(source.file, source.path, where, tuple(frames), _cause(stack, exc, source, signature), text)

    if one.known.whole is not None:
        yield damage(None, one.known.whole)
        return
    for number, exc in sorted(one.known.faults.items()):
        if one.touched[number]:
            yield damage(number, exc)


def _cause(stack: Stack, exc: FastlegacyError, source: StoredDataset, signature: _Signature) -> Cause:
    if not isinstance(exc, SourceError):
        return "damaged"
    now = stack.source_signature(source.file)
    return "changed" if now != signature.get(source.file) else "unreadable"


def _chunks_along(part: Part, source: StoredDataset) -> list[NDArray[np.int64]]:
    """For each axis of the dataset, the chunks that a part shows something of."""
    along = [np.array([base // size]) for base, size in zip(part.box.base, source.core.chunk, strict=True)]
    for axis in part.box.axes:
        if axis.src_axis >= 0:
            places = axis.src_start + axis.src_step * np.arange(axis.length)
            along[axis.src_axis] = np.unique(places // source.core.chunk[axis.src_axis])
    return along


def _frames_of(stack: Stack, part: Part, source: StoredDataset, chunk: int | None) -> Iterator[int]:
    """Frames of the stack for which a part shows something of a chunk; of any chunk where that is None."""
    place = None if chunk is None else [int(i) for i in np.unravel_index(chunk, source.core.grid)]
    if place is not None and any(i not in ks for i, ks in zip(place, _chunks_along(part, source), strict=True)):
        return
    leading = []
    for axis in part.box.axes[:-2]:
        places = np.arange(axis.length)
        if place is not None and axis.src_axis >= 0:
            there = (axis.src_start + axis.src_step * places) // source.core.chunk[axis.src_axis]
            places = places[there == place[axis.src_axis]]
        leading.append([int(i) for i in axis.start + axis.step * places])
    shape = stack.facts.leading_shape
    for index in product(*leading):
        yield int(np.ravel_multi_index(index, shape)) if shape else 0
