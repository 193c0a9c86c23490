# SPDX-License-Identifier: MIT
"""Datasets whose files are still being written: what is not there yet counts as never written, not as a fault.

What was learnt of files that have come to rest is used again, so that to look once more costs what is new only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from fastlegacy.errors import SourceError
from fastlegacy.hdf5.chunks import StoredDataset, absent_dataset, fill_bytes
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.mapping import Box, Run, zip_boxes
from fastlegacy.hdf5.virtual import Missing, Part, Resolved, Resolver

__all__ = ["Answers", "GrowingResolver", "Signature", "at_rest", "signature"]

Signature = tuple[str, int, int, int]
"""Path, size, mtime_ns, inode of a file; without a file the numbers are 0."""

_REST_NS = 2_000_000_000  # some file systems count time in steps of 2 s, and most in steps of some ms


def signature(context: Context, file: str) -> Signature:
    """What a file is like now.

    Raises
    ------
    SourceError
        If its file system does not answer.
    """
    context.expect_answer(file)
    try:
        found = os.stat(context.real_path(file))
    except OSError:
        return file, 0, 0, 0
    return file, found.st_size, found.st_mtime_ns, found.st_ino


def at_rest(signatures: Iterable[Signature], looked_at_ns: int) -> bool:
    """Whether files were last written so long before somebody looked that the next write shows in their times."""
    return all(size and mtime_ns < looked_at_ns - _REST_NS for _, size, mtime_ns, _ in signatures)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a dataset was found to be; `rests`: it is that still if the files have the same signatures."""

    resolved: Resolved
    signatures: tuple[Signature, ...]
    rests: bool


Answers = dict[tuple[str, str], _Answer]
"""By file and path of the dataset."""


@dataclass
class GrowingResolver(Resolver):
    """Resolves datasets that are being written.

    Parameters
    ----------
    context : Context
        One for files that grow.
    looked_at_ns : int
        When this look began, by the system's clock.
    before : mapping, optional
        The ``answers`` of the look before: datasets of files that rest since then are not read again.

    Attributes
    ----------
    answers : dict
        What each dataset was found to be, for the next look.
    """

    missing: Missing = "fill"
    looked_at_ns: int = 0
    before: Answers = field(default_factory=dict)
    answers: Answers = field(default_factory=dict)
    _found: dict[tuple[str, str, str], Resolved | SourceError | None] = field(default_factory=dict)
    _behind: dict[tuple[str, str], list[StoredDataset]] = field(default_factory=dict)

    def resolve(self, file: str, dataset: str, depth: int = 0) -> Resolved:
        """Follow links and virtual mappings down to stored chunks, or to what was found there before.

        Raises
        ------
        SourceError, NotAStackError, FilterError
        """
        key = (file, dataset)
        if key not in self.answers:
            before = self.before.get(key)
            if before is None or not before.rests or before.signatures != self._signatures(file, before.resolved):
                before = self._look(file, dataset, depth, before)
            self.answers[key] = before
        return self.answers[key].resolved

    def _look(self, file: str, dataset: str, depth: int, before: _Answer | None) -> _Answer:
        try:
            resolved = super().resolve(file, dataset, depth)
        except SourceError:
            if before is None or not self._is_there(before.resolved):
                raise
            return replace(before, rests=False)  # its writer is at it just now; what was there is there still
        signatures = self._signatures(file, resolved)
        return _Answer(resolved, signatures, _is_stored(resolved) and at_rest(signatures, self.looked_at_ns))

    def _is_there(self, resolved: Resolved) -> bool:
        source = resolved.parts[0].source if _is_stored(resolved) else None
        if source is None or source.stored_in is None:
            return False
        self.context.check_same(source.file, source.stored_in, source.path)
        return True

    def _signatures(self, file: str, resolved: Resolved) -> tuple[Signature, ...]:
        return tuple(signature(self.context, name) for name in dict.fromkeys((file, resolved.file)))

    def _virtual(self, dset: Any, file: str, path: str, depth: int) -> Resolved:
        resolved = super()._virtual(dset, file, path, depth)
        behind = tuple(self._behind.pop((file, path), ()))
        if len(resolved.parts) != 1:
            return resolved
        (part,) = resolved.parts
        if part.source is None or not part.source.opened_by_hdf5:
            return resolved
        for one in behind:
            one.chunk_map()  # before the first pixel is read, so that none is kept that was read too early
        return replace(resolved, parts=(replace(part, source=replace(part.source, behind=behind)),))

    def _mapped(self, dset: Any, mapping: Any, file: str, path: str, depth: int, missing: list[str]) -> Iterator[Part]:
        behind = self._behind.setdefault((file, path), [])
        try:
            source = self._source(mapping, file, depth)
        except SourceError:
            absent = self._absent(dset, mapping, file)
            behind += [part.source for part in absent if part.source]
        else:
            absent = self._beyond(dset, mapping, source, file) if source else self._absent(dset, mapping, file)
            behind += [part.source for part in (source.parts if source else absent) if part.source]
        yield from super()._mapped(dset, mapping, file, path, depth, missing)
        yield from absent

    def _source(self, mapping: Any, file: str, depth: int) -> Resolved | None:
        """The dataset that a mapping shows; who asks again gets the same answer, though it may have come meanwhile."""
        key = (file, mapping.file, mapping.dataset)
        if key not in self._found:
            try:
                self._found[key] = super()._source(mapping, file, depth)
            except SourceError as exc:
                self._found[key] = exc
        found = self._found[key]
        if isinstance(found, SourceError):
            raise found
        return found

    def _absent(self, dset: Any, mapping: Any, file: str) -> list[Part]:
        """All that a mapping covers whose source is not there."""
        virtual = mapping.virtual or [[Run(0, 1, n)] for n in dset.shape]
        shape = tuple(sum(run.length for run in runs) for runs in virtual)
        boxes = zip_boxes(virtual, [[Run(0, 1, n)] for n in shape]) or []
        stored = absent_dataset(self.context, file, mapping.dataset, shape, dset.dtype, fill_bytes(dset))
        return [Part(box, stored) for box in boxes]

    def _beyond(self, dset: Any, mapping: Any, source: Resolved, file: str) -> list[Part]:
        """What a mapping covers beyond the end that its source has by now."""
        if mapping.virtual is None:
            return []
        runs = mapping.source_runs(source.shape)
        ends = tuple(max(run.start + run.step * (run.length - 1) + 1 for run in axis) for axis in runs)
        if all(end <= n for end, n in zip(ends, source.shape, strict=True)):
            return []
        stored = absent_dataset(self.context, file, mapping.dataset, ends, dset.dtype, fill_bytes(dset))
        boxes = zip_boxes(mapping.virtual, runs) or []
        tails = [_tail(box, i, source.shape) for box in boxes for i in range(len(box.axes))]
        return [Part(tail, stored) for tail in tails if tail is not None]


def _tail(box: Box, number: int, shape: tuple[int, ...]) -> Box | None:
    """The places along one axis of a box that lie beyond a shape of its source."""
    axis = box.axes[number]
    if axis.src_axis < 0:
        return None
    inside = max(0, -(-(shape[axis.src_axis] - axis.src_start) // axis.src_step))
    if inside >= axis.length:
        return None
    rest = axis._replace(
        start=axis.start + axis.step * inside,
        length=axis.length - inside,
        src_start=axis.src_start + axis.src_step * inside,
    )
    return Box((*box.axes[:number], rest, *box.axes[number + 1 :]), box.base)


def _is_stored(resolved: Resolved) -> bool:
    """Whether a dataset is all in its own file, so that this file says whether there is more by now."""
    sources = [part.source for part in resolved.parts]
    return (
        len(sources) == 1
        and sources[0] is not None
        and sources[0].file == resolved.file
        and not (sources[0].is_absent or sources[0].opened_by_hdf5)
    )
