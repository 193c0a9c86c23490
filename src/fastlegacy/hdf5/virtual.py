# SPDX-License-Identifier: MIT
"""Virtual datasets taken apart, once, into boxes of the datasets that hold the pixels.

What a virtual dataset maps nowhere has its fill value, as HDF5 defines it. A source that is mapped but missing is
another matter: HDF5 shows the fill value there too, and so invents pixels. Here that is an error, unless asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

import h5py
import numpy as np
from h5py import h5d

from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError
from fastlegacy.hdf5.chunks import StoredDataset, by_h5py, check_stack, fill_bytes, stored_dataset
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import candidates, folders_of, locate, look_for
from fastlegacy.hdf5.mapping import Box, Run, compose, identity, zip_boxes
from fastlegacy.hdf5.objects import as_str, open_object

__all__ = ["Missing", "Part", "Resolved", "Resolver", "source_files"]

Missing = Literal["error", "fill"]

_DEEPEST = 16
_MOST_BLOCKS = 4096
_UNLIMITED = 2**63


@dataclass(frozen=True, slots=True)
class Part:
    """A box of a dataset, and the dataset that it shows; None: a constant, in ``fill``."""

    box: Box
    source: StoredDataset | None
    fill: bytes = b""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A dataset as boxes of stored datasets, laid over each other in order."""

    file: str
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: bytes
    parts: tuple[Part, ...]
    missing: tuple[str, ...] = ()


class _TooOddError(Exception):
    """The mapping is none that boxes can say."""


@dataclass
class Resolver:
    """Resolves datasets, each only once.

    Parameters
    ----------
    context : Context
    missing : {"error", "fill"}
        What to do about a source file or dataset that a virtual dataset names and that is not there.
    """

    context: Context
    missing: Missing = "error"
    _known: dict[tuple[str, str], Resolved] = field(default_factory=dict)

    def resolve(self, file: str, dataset: str, depth: int = 0) -> Resolved:
        """Follow links and virtual mappings down to stored chunks.

        Raises
        ------
        SourceError, NotAStackError, FilterError
        """
        if depth > _DEEPEST:
            raise SourceError(f"virtual datasets are nested more than {_DEEPEST} deep", file=file, dataset=dataset)
        try:
            file, path = locate(self.context, file, dataset)
            if (file, path) not in self._known:
                self._known[file, path] = self._resolve(file, path, depth)
        except FastlegacyError:
            raise
        except (RuntimeError, OSError, KeyError, ValueError, TypeError) as exc:
            hint = "copy the file again from its source, or wait until it is written"
            raise SourceError(f"HDF5 cannot read it: {exc}", file=file, dataset=dataset, hint=hint) from exc
        return self._known[file, path]

    def _resolve(self, file: str, path: str, depth: int) -> Resolved:
        with self.context.open_h5(file) as h5:
            dset = h5[path]
            if not isinstance(dset, h5py.Dataset):
                raise NotAStackError(
                    "is a group, not a dataset", file=file, dataset=path, hint="`fastlegacy ls` lists the stacks"
                )
            check_stack(dset, file, path)
            if dset.is_virtual:
                return self._virtual(dset, file, path, depth)
            stored = stored_dataset(self.context, dset, file, path)
            parts = (Part(identity(stored.shape), stored),)
            return Resolved(file, path, stored.shape, stored.dtype, stored.fill, parts)

    def _virtual(self, dset: Any, file: str, path: str, depth: int) -> Resolved:
        parts: list[Part] = []
        missing: list[str] = []
        odd = False
        for mapping in _mappings(dset):
            try:
                parts += self._mapped(dset, mapping, file, path, depth, missing)
            except _TooOddError:
                odd = True  # and on: of the other sources too it has to be known whether they are there
        if odd:
            names = tuple(dict.fromkeys(mapping.file for mapping in _mappings(dset)))
            whole = by_h5py(self.context, dset, file, path, names)
            parts = [Part(identity(whole.shape), whole)]
        shape = tuple(dset.shape)
        return Resolved(file, path, shape, dset.dtype, fill_bytes(dset), tuple(parts), tuple(dict.fromkeys(missing)))

    def _mapped(
        self, dset: Any, mapping: _Mapping, file: str, path: str, depth: int, missing: list[str]
    ) -> Iterator[Part]:
        try:
            source = self._source(mapping, file, depth)
        except SourceError as exc:
            if self.missing == "error":
                raise
            missing.append(str(exc))
            return
        if source is None:
            return
        missing += source.missing
        if mapping.virtual is None or source.dtype != dset.dtype:
            raise _TooOddError
        boxes = zip_boxes(mapping.virtual, mapping.source_runs(source.shape))
        if boxes is None:
            raise _TooOddError
        gaps = source.fill != fill_bytes(dset) and _is_virtual(source)
        for box in boxes:
            if gaps:
                yield Part(Box(tuple(a._replace(src_axis=-1) for a in box.axes), ()), None, source.fill)
            for part in source.parts:
                inner = compose(box, part.box)
                if inner is not None:
                    yield Part(inner, part.source, part.fill)

    def _source(self, mapping: _Mapping, file: str, depth: int) -> Resolved | None:
        """The dataset that a mapping shows; None for a numbered file that is not there, which is a gap."""
        where: str | None = file
        if mapping.file != ".":
            where = look_for(self.context, mapping.file, file, "HDF5_VDS_PREFIX")
        hint = "copy it to where it is expected, or read on without it by `--missing fill`"
        if where is None and mapping.numbered:
            return None
        if where is None:
            raise SourceError(f"its virtual source file {mapping.file!r} is missing", file=file, hint=hint)
        try:
            return self.resolve(where, mapping.dataset, depth + 1)
        except NotAStackError as exc:
            raise SourceError(f"its virtual source cannot be used: {exc.message}", file=where, hint=hint) from exc


def source_files(context: Context, file: str, path: str) -> tuple[str, ...]:
    """Absolute paths of the files that a virtual dataset names, each once; none for other datasets.

    None of them is opened. One that is missing is named too, where HDF5 would look for it first. Of numbered files
    (``%b``) those are named that are there, up to the first that is not.

    Raises
    ------
    SourceError
        If the file, or one to which links lead, is missing or cannot be read.
    NotAStackError
        If there is nothing at the path.
    """
    try:
        file, path = locate(context, file, path)
        with context.open_h5(file) as h5:
            names = _file_names(open_object(h5.id, path))
    except FastlegacyError:
        raise
    except (RuntimeError, OSError, KeyError, ValueError, TypeError) as exc:
        hint = "copy the file again from its source, or wait until it is written"
        raise SourceError(f"HDF5 cannot read it: {exc}", file=file, dataset=path, hint=hint) from exc
    folders = folders_of(file)
    found = (where for name in names for where in _named_files(context, name, folders))
    return tuple(dict.fromkeys(found))


def _file_names(dset: Any) -> list[str]:
    """Names of other files as they stand in a virtual dataset, each once."""
    if not isinstance(dset, h5d.DatasetID):
        return []
    properties = dset.get_create_plist()
    if properties.get_layout() != h5d.VIRTUAL:
        return []
    names = dict.fromkeys(properties.get_virtual_filename(i) for i in range(properties.get_virtual_count()))
    return [name if isinstance(name, str) else as_str(name) for name in names if name not in (".", b".")]


def _named_files(context: Context, name: str, folders: Sequence[str]) -> Iterator[str]:
    numbered = "%b" in name.replace("%%", "")
    number = 0
    while True:
        places = candidates(_number(name, number), folders, "HDF5_VDS_PREFIX")
        first = next(places)
        there = next((place for place in chain((first,), places) if os.path.exists(context.real_path(place))), None)
        if there is not None or not numbered:
            yield there or first
        if there is None or not numbered:
            return
        number += 1


@dataclass(frozen=True, slots=True)
class _Mapping:
    """One mapping of a virtual dataset: the runs along each axis of what it covers, and a space of its source.

    ``virtual`` is None where it covers no regular box.
    """

    virtual: tuple[tuple[Run, ...], ...] | None
    file: str
    dataset: str
    space: Any
    numbered: bool = False

    def source_runs(self, shape: tuple[int, ...]) -> tuple[tuple[Run, ...], ...]:
        """Runs along each axis of the source, as long in all as the virtual ones where the source has no end."""
        if self.space.get_select_type() == h5py.h5s.SEL_ALL:
            return tuple((Run(0, 1, n),) for n in self._whole(shape))
        longest = max(sum(run.length for run in runs) for runs in self.virtual or ())
        return tuple(tuple(_runs(*axis, most=longest)) for axis in _hyperslab(self.space))

    def _whole(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a source of which all is shown: of one that has fewer frames by now, what it will have."""
        lengths = tuple(sum(run.length for run in runs) for runs in self.virtual or ())
        is_shorter = len(lengths) == len(shape) and lengths[1:] == shape[1:] and lengths[:1] > shape[:1]
        return lengths if is_shorter else shape


def _is_virtual(source: Resolved) -> bool:
    return not (len(source.parts) == 1 and source.parts[0].box == identity(source.shape))


def _mappings(dset: Any) -> Iterator[_Mapping]:
    """All mappings of a virtual dataset, those of numbered files (``%b``) written out."""
    dcpl = dset.id.get_create_plist()
    for i in range(dcpl.get_virtual_count()):
        file, dataset = dcpl.get_virtual_filename(i), dcpl.get_virtual_dsetname(i)
        space, source = dcpl.get_virtual_vspace(i), dcpl.get_virtual_srcspace(i)
        try:
            yield from _one_mapping(dset.shape, file, dataset, space, source)
        except _TooOddError:
            yield _Mapping(None, _unescape(file), _unescape(dataset), source)


def _one_mapping(shape: tuple[int, ...], file: str, dataset: str, space: Any, source: Any) -> Iterator[_Mapping]:
    axes = [(0, 1, 1, n) for n in shape] if _all(space) else _hyperslab(space)
    if "%b" in file or "%b" in dataset:
        yield from _numbered(axes, shape, file, dataset, source)
        return
    runs = tuple(tuple(_clip(_runs(*axis, most=n), n)) for axis, n in zip(axes, shape, strict=True))
    if all(runs):
        yield _Mapping(runs, _unescape(file), _unescape(dataset), source)


def _numbered(
    axes: list[tuple[int, int, int, int]], shape: tuple[int, ...], file: str, dataset: str, source: Any
) -> Iterator[_Mapping]:
    """Block number b of the unlimited axis comes from the file and dataset with b in their name."""
    endless = [k for k, axis in enumerate(axes) if axis[2] >= _UNLIMITED]
    if len(endless) != 1:
        raise _TooOddError
    k = endless[0]
    start, stride, _, block = axes[k]
    for b in range(max(0, -(-(shape[k] - start) // stride))):
        place = (start + b * stride, 1, 1, block)
        here = [place if axis == k else a for axis, a in enumerate(axes)]
        runs = tuple(tuple(_clip(_runs(*axis, most=n), n)) for axis, n in zip(here, shape, strict=True))
        if all(runs):
            yield _Mapping(runs, _number(file, b), _number(dataset, b), source, numbered=True)


def _number(name: str, b: int) -> str:
    return "%".join(part.replace("%b", str(b)) for part in name.split("%%"))


def _unescape(name: str) -> str:
    return name.replace("%%", "%")


def _all(space: Any) -> bool:
    return bool(space.get_select_type() == h5py.h5s.SEL_ALL)


def _hyperslab(space: Any) -> list[tuple[int, int, int, int]]:
    """(start, stride, count, block) along each axis of a selection."""
    if space.get_select_type() != h5py.h5s.SEL_HYPERSLABS or not space.is_regular_hyperslab():
        raise _TooOddError
    return [tuple(map(int, axis)) for axis in zip(*space.get_regular_hyperslab(), strict=True)]  # type: ignore[misc]


def _runs(start: int, stride: int, count: int, block: int, *, most: int) -> Iterator[Run]:
    """The places of a hyperslab along one axis; of an endless one, enough for ``most`` places from the start on."""
    if block >= _UNLIMITED:
        yield Run(start, 1, most)
        return
    count = min(count, -(-most // block)) if count >= _UNLIMITED else count
    if block == 1 or count == 1 or stride == block:
        yield Run(start, stride, count) if block == 1 else Run(start, 1, count * block)
        return
    if count > _MOST_BLOCKS:
        raise _TooOddError
    for i in range(count):
        yield Run(start + i * stride, 1, block)


def _clip(runs: Iterator[Run], n: int) -> Iterator[Run]:
    """Runs without the places from n on."""
    for run in runs:
        count = min(run.length, -(-(n - run.start) // run.step))
        if count > 0:
            yield Run(run.start, run.step, count)
