# SPDX-License-Identifier: MIT
"""A stack: the frames of a dataset, wherever HDF5 keeps them, read without HDF5."""

from __future__ import annotations

import operator
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Self, overload

import numpy as np
from numpy.typing import NDArray

from fastlegacy import _core
from fastlegacy.errors import MountError, NoFramesError, NotAStackError, SourceError, UrlError
from fastlegacy.hdf5.blocks import Block, join
from fastlegacy.hdf5.chunks import StoredDataset
from fastlegacy.hdf5.files import Context, default_context, stat_source
from fastlegacy.hdf5.growing import GrowingResolver, Signature, at_rest, signature
from fastlegacy.hdf5.inventory import frames_in_full
from fastlegacy.hdf5.mapping import Box, EmptyError, compose, select
from fastlegacy.hdf5.threads import cores, share
from fastlegacy.hdf5.url import DataUrl, Selection, parse_url
from fastlegacy.hdf5.virtual import Missing, Part, Resolved, Resolver
from fastlegacy.model import Geometry, StackFacts, number_of_frames

__all__ = ["Stack"]

Frame = NDArray[Any]

_MOST_AXES = 10  # FL_MAX_AXES of the kernels


class Stack(Sequence[Frame]):
    """Frames of one shape and dtype: a sequence of 2D arrays that are decoded when they are asked for.

    Use it from as many threads as you like, close it with ``with``, send it to other processes by pickle.

    Parameters
    ----------
    url : str, path or DataUrl
        The dataset, as ``file.h5::/path`` or ``file.h5?path=/path&slice=...``.
    dataset : str, optional
        The dataset's path where ``url`` is only the file.
    missing : {"error", "fill"}
        What to do about source files that a virtual dataset names and that are not there: refuse, or show its fill
        value for their pixels as HDF5 does.
    context : Context, optional
        Cache and files to share; by default those of the process.
    geometry : Geometry, optional
        What is known of the experiment.
    blocks : sequence of Block, optional
        Datasets that follow one another, where the url names the group that they are in.
    growing : bool
        The files may be written to meanwhile: they may get longer and newer, though not shorter, and what is missing
        counts as not there yet, as with ``missing="fill"``. The stack shows what is there when it is opened; to see
        what has come since, open it again where `changed` says so.
    after : Stack, optional
        The same stack as it was opened before: what rests since then is taken from there, not from the files.

    Raises
    ------
    UrlError, SourceError, NotAStackError, FilterError
        If the name cannot be understood, a file cannot be read, the dataset is no stack, a filter is not installed.

    Attributes
    ----------
    facts : StackFacts
        Url, shape, dtype, times and geometry: what layouts are given.
    parts : list of Part
        Boxes of the stack, and the stored dataset that each shows.
    core : _core.Stack
        The kernels' view.
    missing_sources : tuple of str
        With ``missing="fill"``: what is missing, one sentence each.
    stored_shape : tuple of int
        Of the dataset, before the url's slice.
    """

    def __init__(
        self,
        url: str | os.PathLike[str] | DataUrl,
        dataset: str | None = None,
        *,
        missing: Missing = "error",
        context: Context | None = None,
        geometry: Geometry | None = None,
        blocks: Sequence[Block] = (),
        growing: bool = False,
        after: Stack | None = None,
    ) -> None:
        named = url if isinstance(url, DataUrl) else parse_url(url, dataset)
        if named.dataset is None:
            raise UrlError("names a file, not a dataset in it", file=named.file, hint="add ::/path/of/dataset")
        if missing not in ("error", "fill"):
            raise UrlError(f"missing={missing!r} is not one of 'error' and 'fill'")
        self._url = replace(named, file=os.path.abspath(named.file))
        self._missing: Missing = missing
        self._growing = growing
        self._context = context or default_context()
        self._closed = False
        self._blocks = tuple(blocks)
        self._looked_at_ns = time.time_ns()
        self._written = np.zeros(0, dtype=bool)
        self._written_before = self._written if after is None else after._written
        with self._context.no_h5_left():
            resolver = self._resolver(after)
            if blocks:
                resolved = join(resolver, self._url.file, named.dataset, blocks)
            else:
                resolved = resolver.resolve(self._url.file, named.dataset)
        self.missing_sources: tuple[str, ...] = resolved.missing
        self.stored_shape = resolved.shape
        self._frames_path = resolved.path
        self._answers = resolver.answers if isinstance(resolver, GrowingResolver) else {}
        view = _view(resolved, self._url)
        self.parts = [part for part in (_through(view, part) for part in resolved.parts) if part is not None]
        shape = tuple(axis.length for axis in view.axes)
        self.core = _core.Stack(shape, resolved.fill, [_for_core(part) for part in self.parts])
        self._signature = [_signature(self._context, f) for f in self.files()]
        self.facts = StackFacts(
            url=str(self._url),
            shape=(number_of_frames(shape[:-2]), shape[-2], shape[-1]),
            leading_shape=shape[:-2],
            dtype=resolved.dtype,
            mtime_ns=max(mtime_ns for _, _, mtime_ns, _ in self._signature),
            geometry=geometry or Geometry(),
        )

    def _resolver(self, after: Stack | None) -> Resolver:
        if not self._growing:
            return Resolver(self._context, self._missing)
        self._context.close_h5()  # what HDF5 keeps in memory of a file that is open is as old as that
        self._context = self._context.for_growing()
        before = {} if after is None else after._answers
        return GrowingResolver(self._context, looked_at_ns=self._looked_at_ns, before=before)

    # ------------------------------------------------------------------------------------ facts

    @property
    def url(self) -> str:
        """The stack's name, ``file.h5::/path``."""
        return self.facts.url

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, ny, nx)."""
        return self.facts.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels as stored, byte order included."""
        return self.facts.dtype

    @property
    def geometry(self) -> Geometry:
        """What is known of the experiment."""
        return self.facts.geometry

    @property
    def frames_url(self) -> DataUrl:
        """The url of a dataset with frames of this stack: where a detector's mask is looked for.

        That is the stack's own, or for blocks that of the first one which is there, with the slice of rows and columns.
        """
        if not self._blocks:
            return self._url
        items = _expand(self._url.selection or (), len(self.stored_shape))[-2:]
        rows_and_columns = tuple(item for item in items if isinstance(item, slice))
        selection = (..., *rows_and_columns) if self._url.selection and len(rows_and_columns) == 2 else None
        return DataUrl(self._url.file, self._frames_path, selection)

    def with_geometry(self, geometry: Geometry) -> Stack:
        """The same stack with other facts for the headers; it shares everything else."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.facts = replace(self.facts, geometry=geometry)
        return other

    def files(self) -> list[str]:
        """Every HDF5 file behind the stack: the one that was named first, then those with the pixels."""
        sources = {part.source.file for part in self.parts if part.source is not None and not part.source.is_absent}
        return list(dict.fromkeys([self._url.file, *sorted(sources)]))

    def signature(self) -> list[tuple[str, int, int, int]]:
        """(path, size, mtime_ns, inode) of every HDF5 file behind the stack, as they were when it was opened."""
        return list(self._signature)

    def source_signature(self, file: str) -> tuple[int, int, int] | None:
        """(size, mtime_ns, inode) of one of the files as it is now; None where it is not there any more."""
        try:
            return _signature(self._context, file)[1:]
        except SourceError:
            return None

    @property
    def growing(self) -> bool:
        """Whether the files may be written to while the stack is open."""
        return self._growing

    def changed(self) -> bool:
        """Whether there may be more, or something else, in the files by now than when the stack was opened.

        By their sizes, times and inodes. True too while a source is missing, and where a file was written so shortly
        before the stack was opened that one more write need not show in its time.
        """
        if self.missing_sources and self._growing:
            return True
        now = [signature(self._context, file) for file, *_ in self._signature]
        return now != self._signature or (self._growing and not at_rest(now, self._looked_at_ns))

    def written(self) -> NDArray[np.bool_]:
        """For each frame, whether all of it is in the files by now: ndarray of bool, shape (frames,).

        Chunks are those that were in the index when it was first looked at; their bytes have to be in the file now.
        See `fastlegacy.hdf5.inventory.frames_in_full`. What was there for the stack that this one was opened `after`
        is there, or it is an error.

        Raises
        ------
        SourceError
            If a file was replaced or became shorter, or its index is half written.
        """
        sizes: dict[str, int] = {}

        def size_of(source: StoredDataset) -> int:
            assert source.stored_in is not None
            if source.file not in sizes:
                sizes[source.file] = self._context.check_same(source.file, source.stored_in, source.path)
            return sizes[source.file]

        written = frames_in_full(self.parts, self.facts.leading_shape, size_of, self._growing)
        if set(np.flatnonzero(self._written_before)) - set(np.flatnonzero(written)):
            raise SourceError(
                "frames that were there are not: its index is half written, or it is another scan",
                file=self._url.file,
                dataset=self._url.dataset,
                hint="try again a little later, then anew",
            )
        self._written = written
        return written.copy()

    @property
    def cache(self) -> _core.Cache:
        """The chunks and frames that are kept."""
        return self._context.cache

    def decoders(self) -> list[tuple[str, str]]:
        """The datasets with the pixels, and who decodes each: "kernel", "plugin", "h5py" or "stored"."""
        found: dict[str, str] = {}
        for part in self.parts:
            if part.source is not None and not part.source.is_absent:
                by = "+".join(sorted(set(part.source.plan.by))) or "stored"
                found[f"{part.source.file}::{part.source.path}"] = by
        return list(found.items())

    def __repr__(self) -> str:
        n, ny, nx = self.shape
        return f"<Stack {self.url}: {n} frames of {ny} x {nx} {self.dtype}{', closed' if self._closed else ''}>"

    # ------------------------------------------------------------------------------------ frames

    def __len__(self) -> int:
        return self.shape[0]

    @overload
    def __getitem__(self, index: int) -> Frame: ...
    @overload
    def __getitem__(self, index: slice) -> list[Frame]: ...
    def __getitem__(self, index: int | slice) -> Frame | list[Frame]:
        """One frame, ndarray (ny, nx); for a slice the list of its frames."""
        if isinstance(index, slice):
            return [self.read(i) for i in range(*index.indices(len(self)))]
        return self.read(index)

    def __iter__(self) -> Iterator[Frame]:
        return (self.read(i) for i in range(len(self)))

    def read(self, index: int, out: Frame | None = None) -> Frame:
        """Decode one frame.

        Parameters
        ----------
        index : int
            Frame, counted from 0; negative numbers count from the end.
        out : ndarray (ny, nx) of the stack's dtype, C-contiguous, optional
            Memory to decode into.

        Returns
        -------
        ndarray (ny, nx)
            ``out`` where it was given.

        Raises
        ------
        IndexError
            If there is no such frame.
        SourceError, DecodeError
            If its bytes cannot be read, or are damaged.
        """
        number = self._number(index)
        out = self._memory(out, self.shape[1:])
        self.prepare(number, number)
        self.core.read(number * self.shape[1] * self.shape[2], _as_bytes(out))
        return out

    def read_frames(self, start: int, stop: int, out: Frame | None = None, threads: int | None = None) -> Frame:
        """Decode frames ``start`` to ``stop - 1`` on several cores.

        Parameters
        ----------
        start, stop : int
            Frames, counted from 0.
        out : ndarray (stop - start, ny, nx) of the stack's dtype, C-contiguous, optional
        threads : int, optional
            By default as many as there are cores for this process.

        Returns
        -------
        ndarray (stop - start, ny, nx)
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{self.url}: frames {start} to {stop} of {len(self)} frames")
        out = self._memory(out, (stop - start, *self.shape[1:]))
        workers = min(threads or cores(), max(1, stop - start))
        step = min(self._frames_per_chunk, -(-(stop - start) // workers))

        def read(first: int) -> None:
            for i in range(first, min(first + step, stop)):
                self.read(i, out[i - start])

        share(read, range(start, stop, max(1, step)), workers)
        return out

    @cached_property
    def _frames_per_chunk(self) -> int:
        """How many frames one thread should read in a row: two that want the same chunk would wait for each other."""
        most = 1
        if len(self.facts.leading_shape) == 1:
            for part in self.parts:
                axis = part.box.axes[0].src_axis
                if part.source is not None and axis >= 0:
                    most = max(most, part.source.core.chunk[axis])
        return most

    def sparse(
        self,
        index: int,
        cut: float = 0,
        mask: Frame | None = None,
        out: tuple[NDArray[np.uint32], Frame] | None = None,
    ) -> tuple[NDArray[np.uint32], Frame]:
        """Find the pixels of a frame that are above a cut, without making the frame in memory.

        Parameters
        ----------
        index : int
            Frame, counted from 0; negative numbers count from the end.
        cut : number
            Pixels that are larger are found.
        mask : ndarray (ny, nx) of bool or integers, optional
            Pixels where it is not 0 are left out.
        out : (indices, values), optional
            Memory for ny * nx + 1 elements each, uint32 and the stack's dtype; it is taken for frame after frame.

        Returns
        -------
        indices : ndarray of uint32
            ``y * nx + x`` of each pixel, ascending.
        values : ndarray of the stack's dtype
            Both are the beginnings of ``out``, where it was given.

        Raises
        ------
        IndexError
            If there is no such frame.
        SourceError, DecodeError
            If its bytes cannot be read, or are damaged.
        """
        number = self._number(index)
        n = self.shape[1] * self.shape[2]
        if mask is not None:
            if mask.shape != self.shape[1:]:
                raise ValueError(f"a mask of shape {mask.shape} for frames of {self.shape[1:]}")
            mask = mask if mask.dtype.itemsize == 1 else mask != 0
            mask = np.ascontiguousarray(mask).reshape(-1).view(np.uint8)
        indices, values = (np.empty(n + 1, np.uint32), np.empty(n + 1, self.dtype)) if out is None else out
        for name, array, dtype in (("indices", indices, np.dtype(np.uint32)), ("values", values, self.dtype)):
            if array.dtype != dtype or array.ndim != 1 or len(array) <= n or not array.flags.c_contiguous:
                raise ValueError(f"{name} have to be a contiguous array of {n + 1} {dtype}")
        if self.dtype.kind == "u" and self.dtype.itemsize < 8 and self.dtype.isnative and cut >= 0:
            self.prepare(number, number)
            least = int(min(cut, np.iinfo(self.dtype).max))
            found = self.core.sparse(number, least, mask, indices, _as_bytes(values))
        else:
            pixels = self.read(number).reshape(-1)
            wanted = np.greater(pixels, cut)
            above = np.flatnonzero(wanted if mask is None else wanted & (mask == 0))
            found = len(above)
            indices[:found], values[:found] = above, pixels[above]
        return indices[:found], values[:found]

    def prepare(self, first_frame: int, last_frame: int) -> None:
        """Fetch the chunk maps that some frames need; at once where they are there."""
        if self._closed:
            raise SourceError("the stack is closed", file=self._url.file, dataset=self._url.dataset)
        lead = self.facts.leading_shape
        first = last = 0
        if lead:
            inner = number_of_frames(lead[1:])
            first, last = first_frame // inner, last_frame // inner
        self.core.prepare(first, last)

    def _number(self, index: int) -> int:
        """The frame of an index, which may count from the end."""
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.url}: frame {index} of {len(self)} frames")
        return number % len(self)

    def _memory(self, out: Frame | None, shape: tuple[int, ...]) -> Frame:
        if out is None:
            return np.empty(shape, self.dtype)
        if out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous or not out.flags.writeable:
            raise ValueError(f"out has to be a writeable C-contiguous array of shape {shape} and dtype {self.dtype}")
        return out

    # ------------------------------------------------------------------------------------ life

    def redirect(self, prefix: str, replacement: str) -> None:
        """Open files below a folder by another path to it from now on: a mount is about to cover it.

        Raises
        ------
        MountError
            If HDF5 itself would open a file below the folder by its absolute name: through the mount, it would wait
            for ourselves.
        """
        self.must_not_need(os.path.realpath(prefix))
        self._context.redirect(prefix, replacement)

    def must_not_need(self, prefix: str) -> None:
        """Raise MountError if HDF5 itself would open a file below a folder by its absolute name.

        The folder is given without symbolic links: to look for them in a folder that is mounted asks ourselves.
        """
        below = prefix + os.sep
        for name in (name for part in self.parts if part.source for name in part.source.opened_by_hdf5):
            if os.path.isabs(name) and os.path.realpath(name).startswith(below):
                raise MountError(
                    f"needs {name}, which HDF5 would have to read through the mount",
                    file=self._url.file,
                    dataset=self._url.dataset,
                    hint="mount another folder than the one that the data are in",
                )

    def end_redirect(self, prefix: str) -> None:
        """Open files below a folder by their own paths again."""
        self._context.end_redirect(prefix)

    def close(self) -> None:
        """Let go of the HDF5 files. Frames cannot be read any more."""
        self._closed = True
        self._context.close_h5()
        self._context.close_idle(self.files())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._url, self._missing, self.geometry, self._blocks, self._growing)


def _reopen(url: DataUrl, missing: Missing, geometry: Geometry, blocks: tuple[Block, ...], growing: bool) -> Stack:
    return Stack(url, missing=missing, geometry=geometry, blocks=blocks, growing=growing)


def _signature(context: Context, file: str) -> Signature:
    context.expect_answer(file)
    found = stat_source(file, context.real_path(file))
    return file, found.st_size, found.st_mtime_ns, found.st_ino


def _as_bytes(out: Frame) -> NDArray[np.uint8]:
    return out.reshape(-1).view(np.uint8)


def _for_core(part: Part) -> tuple[Any, Any, Any]:
    return part.source.core if part.source is not None else part.fill, part.box.axes, part.box.base


def _through(view: Box, part: Part) -> Part | None:
    box = compose(view, part.box)
    return None if box is None else Part(box, part.source, part.fill)


def _view(resolved: Resolved, url: DataUrl) -> Box:
    """The box of a dataset that the url selects: all of it, where it selects nothing."""
    shape = resolved.shape
    where: dict[str, Any] = {"file": resolved.file, "dataset": resolved.path}
    if len(shape) < 2 or 0 in shape:
        raise NotAStackError(
            f"its shape {shape} is not that of frames", **where, hint="`fastlegacy ls` lists the image stacks"
        )
    try:
        view = select(shape, _expand(url.selection or (), len(shape)))
    except EmptyError as exc:
        raise NoFramesError(f"{exc}; its shape is {shape}", **where, hint="choose frames that are there") from exc
    except IndexError as exc:
        raise UrlError(f"{exc}; its shape is {shape}", **where, hint="change the slice of the url") from exc
    if len(view.axes) > _MOST_AXES:
        raise NotAStackError(f"has {len(view.axes)} axes", **where, hint=f"choose {_MOST_AXES} of them by slice=...")
    if len(view.axes) < 2:
        raise NotAStackError("the slice leaves less than a frame", **where, hint="keep two axes at least")
    return view


def _expand(selection: Selection, n_axes: int) -> list[int | slice]:
    """A selection with one item for each axis."""
    given = list(selection)
    if ... not in given:
        given.append(...)
    at = given.index(...)
    missing = n_axes - (len(given) - 1)
    if missing < 0:
        raise IndexError(f"a slice of {len(given) - 1} axes")
    items = given[:at] + [slice(None)] * missing + given[at + 1 :]
    return [item for item in items if isinstance(item, int | slice)]
