# SPDX-License-Identifier: MIT
"""Finds the stacks of a file or a folder, by all conventions that are registered."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import h5py
import numpy as np

from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError, UrlError
from fastlegacy.hdf5.blocks import Block
from fastlegacy.hdf5.files import Context, default_context, stat_source
from fastlegacy.hdf5.inventory import stored_bytes, written_frames
from fastlegacy.hdf5.links import locate
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl, Selection, parse_url
from fastlegacy.hdf5.virtual import Missing
from fastlegacy.model import Geometry, StackInfo
from fastlegacy.registry import plugins
from fastlegacy.sources._facts import HDF5_ERRORS
from fastlegacy.sources._frames import geometry_of_frames

__all__ = [
    "PLAIN_RANK",
    "SUFFIXES",
    "Claim",
    "Found",
    "Source",
    "claim_of",
    "claims",
    "describe",
    "describe_named",
    "find_stacks",
    "open_claim",
    "open_stack",
    "places_of",
    "source_named",
]

_log = logging.getLogger("fastlegacy.sources")

SUFFIXES = (".h5", ".hdf5", ".hdf", ".nxs", ".nx5", ".cxi")
"""Endings of the names of HDF5 files."""

_MOST_NAMES = 5


PLAIN_RANK = 1000
"""Rank of the convention that any dataset follows."""


@dataclass(frozen=True, slots=True)
class Found:
    """A stack of a file, as a convention sees it.

    Attributes
    ----------
    path : str
        The dataset in the file, or the group whose datasets are its blocks.
    why : str
        By what it was recognised, for ``fastlegacy ls``.
    scan : str
        Name of the scan, such as ``1.1``; empty where a file has one scan only.
    detector : str
        Name of the detector, or of one of its channels; empty where there is no choice.
    blocks : tuple of Block
        Datasets that follow one another, such as Dectris' ``data_000001``; empty: `path` itself is the dataset.
    selection : tuple or None
        Where a dataset holds several stacks, such as the thresholds of a detector: the slice that is this one.
    """

    path: str
    why: str
    scan: str = ""
    detector: str = ""
    blocks: tuple[Block, ...] = ()
    selection: Selection | None = None


class Source(Protocol):
    """A convention: one module of ``fastlegacy.sources`` defines one, as ``SOURCE``.

    Attributes
    ----------
    name : str
    rank : int
        Conventions of lower rank claim the stacks of a file first.
    """

    name: str
    rank: int

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the stacks of a file; with a path, only those that it may belong to have to be among them."""
        ...

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Return what the file says of a stack, and nothing else.

        Lists have one value for each frame of the stack, or for each place along the first axis of the dataset.
        ``Geometry.origin`` says where each value is: ``file.h5::/path/of/value``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Claim:
    """A stack and the convention that knows it."""

    source: Source
    found: Found

    def url(self, file: str) -> DataUrl:
        """Its name."""
        return DataUrl(file, self.found.path, self.found.selection)

    @property
    def why(self) -> str:
        """Scan, detector, and by what it was recognised."""
        scan = f"scan {self.found.scan}" if self.found.scan else ""
        detector = f"detector {self.found.detector}" if self.found.detector else ""
        return ", ".join(part for part in (scan, detector, self.found.why) if part)


def find_stacks(path: str | os.PathLike[str], context: Context | None = None) -> Iterator[StackInfo]:
    """Describe the stacks of a file, or of all HDF5 files in a folder and below.

    In a folder, files that cannot be read are passed over; a file that is named itself has to be readable.

    Raises
    ------
    SourceError
        If the file is missing or cannot be read.
    """
    context = context or default_context()
    path = os.path.abspath(path)
    stat_source(path)
    if not os.path.isdir(path):
        yield from _stacks_of_file(context, path)
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            file = os.path.join(folder, name)
            if name.lower().endswith(SUFFIXES) and h5py.is_hdf5(file):
                with suppress(FastlegacyError):
                    yield from _stacks_of_file(context, file)


def open_stack(
    url: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    missing: Missing = "error",
    context: Context | None = None,
) -> Stack:
    """Open a stack by its url; a file alone will do where there is just one stack in it.

    Raises
    ------
    UrlError
        If a file alone is given, and it has several stacks.
    NotAStackError
        If it has none.
    """
    named = parse_url(url, dataset)
    context = context or default_context()
    with context.no_h5_left():
        if named.dataset is None:
            claim: Claim | None = _only_stack(context, named.file)
            assert claim is not None
            named = claim.url(named.file)
        else:
            claim = claim_of(context, named)
    return open_claim(claim, named, missing=missing, context=context)


def open_claim(
    claim: Claim | None,
    named: DataUrl,
    *,
    missing: Missing = "error",
    context: Context | None = None,
    growing: bool = False,
    after: Stack | None = None,
) -> Stack:
    """Open a stack that was found before.

    Parameters
    ----------
    claim : Claim or None
        Who knows it; None where only its path is known.
    named : DataUrl
        The stack, or a part of it.
    missing, context, growing, after
        See :class:`fastlegacy.hdf5.stack.Stack`.

    Raises
    ------
    SourceError, NotAStackError, FilterError
    """
    context = context or default_context()
    blocks = () if claim is None or _block_of(context, named, claim.found) is not None else claim.found.blocks
    with context.no_h5_left():
        stack = Stack(named, missing=missing, context=context, blocks=blocks, growing=growing, after=after)
        return stack if claim is None else _with_geometry_of(claim, named, stack, context)


def source_named(name: str) -> Source:
    """Return the convention of a name; KeyError where there is none."""
    found: Source = {source.name: source for source in _conventions()}[name]
    return found


def describe(stack: Stack, claim: Claim | None = None) -> StackInfo:
    """Everything that ``fastlegacy ls`` shows of an open stack; without a claim, of one that only its path names."""
    stored = next((part.source for part in stack.parts if part.source is not None), None)
    there = written_frames(stack)
    return StackInfo(
        url=stack.url,
        shape=(*stack.facts.leading_shape, *stack.shape[1:]),
        dtype=str(stack.dtype) if stack.dtype.itemsize == 1 else stack.dtype.str,
        filters=[str(f) for f in stored.filters] if stored else [],
        chunks=stored.chunks if stored else None,
        stored_bytes=stored_bytes(stack),
        nbytes=int(np.prod(stack.shape, dtype=np.int64)) * stack.dtype.itemsize,
        frames=len(stack),
        frames_stored=int(there.sum()),
        decoded_by=next((by for _, by in stack.decoders()), "stored"),
        source="dataset" if claim is None else claim.source.name,
        why="named by the user" if claim is None else claim.why,
        scan="" if claim is None else claim.found.scan,
        detector="" if claim is None else claim.found.detector,
    )


def describe_named(stack: Stack, context: Context | None = None) -> StackInfo:
    """Describe an open stack, with the convention that knows what its url names."""
    context = context or default_context()
    with context.no_h5_left():
        claim = claim_of(context, parse_url(stack.url))
    return describe(stack, claim)


def claims(context: Context, file: str, path: str = "", *, plain: bool | Literal["else"] = True) -> list[Claim]:
    """The stacks of a file, each claimed by the first convention that knows it.

    Parameters
    ----------
    context : Context
    file : str
    path : str
        Only those that a path may belong to are of interest.
    plain : bool or "else"
        Look for plain datasets as well, which no convention claims; "else": where there is nothing that one does.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    found: list[Claim] = []
    taken: set[tuple[str, str]] = set()
    with context.open_h5(file):
        for source in _conventions():
            if source.rank >= PLAIN_RANK and (not plain or (plain == "else" and found)):
                break
            if path and found:
                break  # whoever knows the path is asked first
            for item in _found_by(source, context, file, path):
                places = places_of(context, file, item)
                if source.rank < PLAIN_RANK or not (places & taken or (found and _is_flat(context, file, item))):
                    found.append(Claim(source, item))
                    taken |= places
    return found


def claim_of(context: Context, named: DataUrl) -> Claim | None:
    """The stack that a url names, or names a part of, as a convention knows it; None where only its path is known."""
    assert named.dataset is not None
    file = os.path.abspath(named.file)
    candidates = claims(context, file, named.dataset, plain=False)
    same = [claim for claim in candidates if _names(context, file, claim.found, named.dataset)]
    exact = [claim for claim in same if claim.found.selection == named.selection]
    return next(iter(exact or same), None)


def _conventions() -> list[Source]:
    return sorted(plugins("fastlegacy.sources", "SOURCE").values(), key=lambda source: (source.rank, source.name))


def _found_by(source: Source, context: Context, file: str, path: str) -> list[Found]:
    """What one convention finds. It may not understand a file, which does not hide what others find in it."""
    found: list[Found] = []
    try:
        for item in source.find(context, file, path):
            found.append(item)  # noqa: PERF402 - what was found before an error counts
    except (FastlegacyError, *HDF5_ERRORS) as exc:
        if source.rank >= PLAIN_RANK:
            if isinstance(exc, FastlegacyError):
                raise
            hint = "copy the file again from its source, or wait until it is written"
            raise SourceError(f"HDF5 cannot read it: {exc}", file=file, hint=hint) from exc
        _log.warning("%s: not understood as %s: %s", file, source.name, exc)
    return found


def places_of(context: Context, file: str, found: Found) -> set[tuple[str, str]]:
    """Return where a stack's datasets really are: (file, path), links resolved."""
    paths = [block.path for block in found.blocks if block.path] or [found.path]
    return {place for path in paths if (place := _where(context, file, path)) is not None}


def _where(context: Context, file: str, path: str) -> tuple[str, str] | None:
    try:
        place, name = locate(context, file, path)
    except (FastlegacyError, *HDF5_ERRORS):
        return None
    return os.path.realpath(place), name


def _is_flat(context: Context, file: str, found: Found) -> bool:
    """Tell whether something is one image: beside stacks that a convention knows, a mask or a flat field."""
    place = _where(context, file, found.path)
    if place is None:
        return False
    with context.open_h5(place[0]) as h5:
        return len(h5[place[1]].shape) == 2


def _names(context: Context, file: str, found: Found, path: str) -> bool:
    """Tell whether a path is that of a stack, or of one of its blocks, perhaps by other links."""
    paths = {found.path, *(block.path for block in found.blocks)}
    if path in paths:
        return True
    place = _where(context, file, path)
    return place is not None and any(place == _where(context, file, p) for p in paths if p)


def _with_geometry_of(claim: Claim, named: DataUrl, stack: Stack, context: Context) -> Stack:
    """The stack, or the part of one that a url names, with the geometry that its convention reads."""
    found = claim.found
    try:
        geometry = claim.source.geometry(context, os.path.abspath(named.file), found)
        block = _block_of(context, named, found)
        first = sum(one.frames or 0 for one in found.blocks[:block]) if block is not None else 0
        geometry = geometry_of_frames(geometry, stack.stored_shape, named.selection, first)
    except (FastlegacyError, *HDF5_ERRORS, IndexError) as exc:
        _log.warning("%s: its geometry cannot be read: %s", stack.url, exc)
        return stack
    return stack.with_geometry(geometry)


def _block_of(context: Context, named: DataUrl, found: Found) -> int | None:
    """Which of several blocks a url names; None where it names all of them."""
    if not found.blocks or named.dataset == found.path:
        return None
    file = os.path.abspath(named.file)
    assert named.dataset is not None
    place = _where(context, file, named.dataset)
    for i, block in enumerate(found.blocks):
        if block.path and (
            block.path == named.dataset or (place is not None and place == _where(context, file, block.path))
        ):
            return i
    return None


def _stacks_of_file(context: Context, file: str) -> Iterator[StackInfo]:
    with context.no_h5_left():
        found = claims(context, file)
    for claim in found:
        blocks = claim.found.blocks
        try:
            with Stack(claim.url(file), missing="fill", context=context, blocks=blocks) as stack:
                info = describe(stack, claim)
        except FastlegacyError as exc:
            info = _unreadable(context, file, claim, exc)
        yield info


def _unreadable(context: Context, file: str, claim: Claim, exc: FastlegacyError) -> StackInfo:
    shape: tuple[int, ...] = ()
    dtype = "uint8"
    with suppress(FastlegacyError, *HDF5_ERRORS), context.no_h5_left():
        place, path = locate(context, file, claim.found.path)
        with context.open_h5(place) as h5:
            dset: Any = h5[path]
            if isinstance(dset, h5py.Dataset):
                shape, dtype = tuple(dset.shape), str(dset.dtype)
    frames = int(np.prod(shape[:-2], dtype=np.int64)) if shape else 0
    nbytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize if shape else 0
    url, why = str(claim.url(file)), f"cannot be read: {exc}"
    names = claim.source.name, why, claim.found.scan, claim.found.detector
    return StackInfo(url, shape, dtype, [], None, 0, nbytes, frames, 0, "nothing", *names)


def _only_stack(context: Context, file: str) -> Claim:
    file = os.path.abspath(file)
    found = claims(context, file, plain="else")
    best = min((claim.source.rank for claim in found), default=0)
    found = [claim for claim in found if claim.source.rank == best]
    if len(found) == 1:
        return found[0]
    if not found:
        raise NotAStackError("holds no stack of images", file=file, hint="`fastlegacy ls` says what is in a file")
    names = [str(claim.url("")).removeprefix("::").removeprefix("?path=") for claim in found]
    few = ", ".join(names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
    raise UrlError(f"holds {len(found)} stacks ({few})", file=file, hint=f"name one: {found[0].url(file)}")
