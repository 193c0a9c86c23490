# SPDX-License-Identifier: MIT
"""``check``: reads everything in files and folders, and says what is damaged, missing, or was never written."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from fastlegacy.errors import FastlegacyError, FilterError, NotAStackError, SourceError
from fastlegacy.hdf5.chunk_check import ChunkCheck, Damage
from fastlegacy.hdf5.files import Context, stat_source
from fastlegacy.hdf5.inventory import stored_bytes, written_frames
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl, parse_url
from fastlegacy.sources.find import SUFFIXES, Claim, claim_of, claims, open_claim

__all__ = ["CheckReport", "Fault", "StackReport", "as_plain", "check"]

_CACHE_BYTES = 64 << 20  # a chunk is read once: nothing is worth keeping

Begin = Callable[[str, int], None]
Note = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A file or a stack that cannot be read at all.

    Attributes
    ----------
    where : str
        The file, or the stack's url.
    text : str
        Why, in one sentence.
    """

    where: str
    text: str


@dataclass(slots=True)
class StackReport:
    """What was found of one stack.

    Attributes
    ----------
    url : str
    frames : int
    chunks, read_bytes, stored_bytes : int
        Chunks and decoded bytes that were read for this stack (what another one shows too is read once), and what all
        of it takes in its files.
    damages : list of Damage
        What cannot be read.
    missing : tuple of str
        Sources of a virtual dataset that are not there, one sentence each.
    missing_frames : int
        Frames of which nothing at all is there because of that.
    never_written : int
        Frames that nobody has written: no fault, they have the fill value.
    changed : tuple of str
        Files that were written to while they were read.
    """

    url: str
    frames: int
    chunks: int = 0
    read_bytes: int = 0
    stored_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)
    missing: tuple[str, ...] = ()
    missing_frames: int = 0
    never_written: int = 0
    changed: tuple[str, ...] = ()

    @property
    def damaged_frames(self) -> list[int]:
        """Frames of which something cannot be read, counted from 0."""
        return sorted({frame for damage in self.damages for frame in damage.frames})

    @property
    def is_good(self) -> bool:
        """Whether everything is there, and can be read."""
        return not (self.damages or self.missing or self.changed)


@dataclass(slots=True)
class CheckReport:
    """What was found: a report of each stack, and what cannot be read at all."""

    stacks: list[StackReport] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether everything is there, and can be read."""
        return not self.faults and all(stack.is_good for stack in self.stacks)


def check(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    threads: int | None = None,
    begin: Begin = lambda url, chunks: None,
    note: Note = lambda chunks, size: None,
) -> CheckReport:
    """Read and decode everything, each stored chunk once, and say what is damaged.

    Parameters
    ----------
    paths : str, path, or sequence of them
        Urls of stacks, HDF5 files (all stacks in them), and folders (all HDF5 files in them and below).
    threads : int, optional
        As many as there are cores for this process by default.
    begin : callable
        Called with each stack's url before it is read, and the number of chunks to read.
    note : callable
        Called with chunks and decoded bytes that were read since the last call.

    Returns
    -------
    CheckReport
        Damage is told there, it is no exception.

    Raises
    ------
    UrlError, SourceError
        If a path is no name of anything, or nothing is there.
    """
    if isinstance(paths, str | os.PathLike):
        paths = [paths]
    context = Context(_CACHE_BYTES)
    read = ChunkCheck(threads)
    report = CheckReport()
    seen: set[str] = set()
    for named, claim in _stacks(context, paths, report):
        if str(named) not in seen:
            seen.add(str(named))
            _check_stack(context, read, named, claim, report, begin, note)
    return report


def as_plain(report: CheckReport) -> dict[str, Any]:
    """Return a report as plain types for JSON."""
    stacks = []
    for stack in report.stacks:
        damages = [
            {"file": d.file, "dataset": d.dataset, "chunk": d.chunk, "frames": list(d.frames), "cause": d.cause}
            | {"text": d.text}
            for d in stack.damages
        ]
        stacks.append(
            {
                "url": stack.url,
                "good": stack.is_good,
                "frames": stack.frames,
                "damaged_frames": stack.damaged_frames,
                "missing_frames": stack.missing_frames,
                "never_written_frames": stack.never_written,
                "chunks_read": stack.chunks,
                "bytes_read": stack.read_bytes,
                "stored_bytes": stack.stored_bytes,
                "damages": damages,
                "missing_sources": list(stack.missing),
                "changed_files": list(stack.changed),
            }
        )
    faults = [{"where": fault.where, "text": fault.text} for fault in report.faults]
    return {"good": report.is_good, "stacks": stacks, "unreadable": faults}


def _stacks(
    context: Context, paths: Sequence[str | os.PathLike[str]], report: CheckReport
) -> Iterator[tuple[DataUrl, Claim | None]]:
    """Everything that is named; what cannot be opened goes to the report."""
    for path in (os.fspath(path) for path in paths):
        if os.path.exists(path):
            yield from _stacks_below(context, os.path.abspath(path), report)
            continue
        named = parse_url(path)
        stat_source(named.file)
        if named.dataset is None:
            yield from _stacks_below(context, os.path.abspath(named.file), report)
            continue
        with _Told(report, path), context.no_h5_left():
            yield named, claim_of(context, named)


def _stacks_below(context: Context, path: str, report: CheckReport) -> Iterator[tuple[DataUrl, Claim | None]]:
    for file in _files_below(path):
        found: list[Claim] = []
        with _Told(report, file), context.no_h5_left():
            found = claims(context, file)
        for claim in found:
            yield claim.url(file), claim


def _files_below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES):
                yield os.path.join(folder, name)


class _Told:
    """A context in which an error goes to the report, as that of a file or a stack."""

    def __init__(self, report: CheckReport, where: str) -> None:
        self._report, self._where = report, where

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, FastlegacyError):
            return False
        self._report.faults.append(Fault(self._where, error.message))
        return True


def _check_stack(
    context: Context,
    read: ChunkCheck,
    named: DataUrl,
    claim: Claim | None,
    report: CheckReport,
    begin: Begin,
    note: Note,
) -> None:
    with _Told(report, str(named)), open_claim(claim, named, missing="fill", context=context) as stack:
        one = StackReport(stack.url, len(stack), missing=stack.missing_sources)
        found = read(stack, partial(begin, stack.url), note)
        one.damages, one.chunks, one.read_bytes = found.damages, found.chunks, found.read_bytes
        one.changed = tuple(
            file for file, *before in stack.signature() if stack.source_signature(file) != tuple(before)
        )
        _count_frames(stack, one)
        report.stacks.append(one)


def _count_frames(stack: Stack, one: StackReport) -> None:
    try:
        there = written_frames(stack)
        one.stored_bytes = stored_bytes(stack)
    except (FilterError, NotAStackError, SourceError):
        return  # a chunk map that cannot be read is told as damage
    empty = ~there
    mapped = np.zeros(stack.facts.leading_shape, dtype=bool)
    for part in stack.parts:
        mapped[tuple(slice(a.start, a.start + a.step * a.length, a.step) for a in part.box.axes[:-2])] = True
    lost = empty & ~mapped.reshape(-1) if stack.missing_sources else np.zeros_like(empty)
    one.missing_frames, one.never_written = int(lost.sum()), int((empty & ~lost).sum())
