# SPDX-License-Identifier: MIT
"""The functions of ``import fastlegacy``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlegacy.errors import FilterError, LayoutError
from fastlegacy.hdf5.files import default_context
from fastlegacy.hdf5.filters import BITSHUFFLE, Filter, make_plan
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.virtual import Missing
from fastlegacy.index.tree import Tree
from fastlegacy.model import Geometry, Layout, StackInfo
from fastlegacy.registry import plugins
from fastlegacy.sources.find import find_stacks, open_stack

__all__ = ["decode", "formats", "open", "stacks", "tree"]

FilterSpec = str | int | tuple[int, Sequence[int]]


def open(
    url: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    missing: Missing = "error",
    memory_bytes: int | None = None,
) -> Stack:
    """Open a stack of frames.

    Parameters
    ----------
    url : str or path
        ``file.h5::/path``, ``file.h5?path=/path&slice=0:10``, or the file alone: then with ``dataset``, or, where there
        is only one stack in the file, without.
    dataset : str, optional
        Path of the dataset in the file, taken as it is.
    missing : {"error", "fill"}
        What to do about source files that a virtual dataset names and that are not there: refuse, or show its fill
        value for their pixels as HDF5 does.
    memory_bytes : int, optional
        From now on the caches of this process together keep at most this much.

    Returns
    -------
    Stack
        A sequence of 2D arrays, decoded when they are asked for.

    Raises
    ------
    UrlError, SourceError, NotAStackError, FilterError

    Examples
    --------
    >>> import fastlegacy
    >>> with fastlegacy.open("scan.h5::/1.1/measurement/eiger") as stack:  # doctest: +SKIP
    ...     stack[7].max()
    """
    if memory_bytes is not None:
        default_context().cache.max_bytes = memory_bytes
    return open_stack(url, dataset, missing=missing)


def stacks(path: str | os.PathLike[str]) -> list[StackInfo]:
    """List the stacks of a file, or of all HDF5 files in a folder and below.

    Raises
    ------
    SourceError
        If the file is missing or cannot be read.
    """
    return list(find_stacks(path))


def formats() -> dict[str, Layout]:
    """All legacy formats by name."""
    return plugins("fastlegacy.layouts", "LAYOUT")


def tree(stack: Stack, format: str = "edf", stem: str = "data", *, first: int = 1, **geometry: float | int) -> Tree:
    """The legacy files of a stack: a mapping of names to virtual files.

    Parameters
    ----------
    stack : Stack
    format : str
        A name of ``fastlegacy formats``.
    stem : str
        What names start with: ``data`` gives ``data0001.edf``, ``data0002.edf``, ...
    first : int
        Number of the first frame.
    **geometry
        Values for the headers, named as the attributes of ``Geometry``: ``start_deg``, ``step_deg``, ``exposure_s``,
        ``wavelength_angstrom``, ``distance_m``, ``beam_x_px``, ``beam_y_px``, ``pixel_x_m``, ``pixel_y_m``, ``run``.

    Raises
    ------
    LayoutError
        If there is no such format, or it cannot hold this stack.
    TypeError
        If a value for the headers has an unknown name.
    """
    layouts = formats()
    if format not in layouts:
        raise LayoutError(f"there is no format {format!r}", hint=f"there are {', '.join(layouts)}")
    if geometry:
        known = {f.name for f in fields(Geometry)} - {"origin"}
        if unknown := sorted(set(geometry) - known):
            raise TypeError(f"{unknown[0]!r} is no value of a header; there are {', '.join(sorted(known))}")
        origin = {**stack.geometry.origin, **dict.fromkeys(geometry, "caller")}
        stack = stack.with_geometry(replace(stack.geometry, **geometry, origin=origin))  # type: ignore[arg-type]
    return Tree(stack, layouts[format], stem=stem, first=first)


def decode(
    chunk: bytes | bytearray | memoryview | NDArray[Any],
    *,
    shape: Sequence[int],
    dtype: ArrayLike | str | type | np.dtype[Any],
    filters: Sequence[FilterSpec] = ("bitshuffle+lz4",),
    filter_mask: int = 0,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Decode one chunk as HDF5 stores it (what h5py's ``read_direct_chunk`` gives).

    Parameters
    ----------
    chunk : bytes-like
    shape : sequence of int
        Of the chunk.
    dtype : dtype
        Of its elements.
    filters : sequence
        In the order in which they were applied: numbers of HDF5 filters, (number, client data values), or names:
        "bitshuffle", "bitshuffle+lz4", "bitshuffle+zstd", "deflate", "shuffle", "fletcher32", "lz4", "zstd", ...
    filter_mask : int
        Bit i is set where filter i was skipped.
    out : ndarray, C-contiguous, optional
        Memory to decode into, of this shape and dtype.

    Returns
    -------
    ndarray

    Raises
    ------
    DecodeError
        If the bytes are damaged.
    FilterError
        If a filter is unknown, or can only be undone by HDF5 itself.
    """
    wanted = np.dtype(dtype)  # type: ignore[arg-type]
    specs = [_filter(spec, wanted.itemsize) for spec in filters]
    plan = make_plan(specs, wanted.itemsize)
    if plan.pipeline is None:
        raise FilterError(
            f"{', '.join(map(str, specs))}: only HDF5 itself can undo this",
            hint="read the dataset with fastlegacy.open",
        )
    if out is None:
        out = np.empty(tuple(shape), wanted)
    if out.shape != tuple(shape) or out.dtype != wanted or not out.flags.c_contiguous:
        raise ValueError(f"out has to be a C-contiguous array of shape {tuple(shape)} and dtype {wanted}")
    plan.pipeline.decode(np.frombuffer(chunk, np.uint8), out.reshape(-1).view(np.uint8), filter_mask)
    return out


def _filter(spec: FilterSpec, itemsize: int) -> Filter:
    if isinstance(spec, tuple):
        return Filter(spec[0], tuple(spec[1]), f"filter {spec[0]}")
    if isinstance(spec, int):
        return _filter_by_number(spec, itemsize)
    compressions = {"bitshuffle": 0, "bitshuffle+lz4": 2, "bitshuffle+zstd": 3}
    if spec in compressions:
        return Filter(BITSHUFFLE, (0, 2, itemsize, 0, compressions[spec]), spec)
    import hdf5plugin

    numbers = {"deflate": 1, "gzip": 1, "shuffle": 2, "fletcher32": 3, **hdf5plugin.FILTERS}
    if spec not in numbers:
        raise FilterError(f"there is no filter {spec!r}", hint=f"there are {', '.join([*compressions, *numbers])}")
    return _filter_by_number(numbers[spec], itemsize)


def _filter_by_number(number: int, itemsize: int) -> Filter:
    values = {2: (itemsize,), BITSHUFFLE: (0, 2, itemsize, 0, 2)}.get(number, ())
    return Filter(number, values, f"filter {number}")
