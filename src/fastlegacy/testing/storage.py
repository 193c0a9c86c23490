# SPDX-License-Identifier: MIT
"""HDF5 files for every way in which HDF5 keeps bytes and finds chunks again, the rare ones too.

Each builder writes a file and returns the url of its dataset, ``file.h5::/path``.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.files import Array, StrPath, create_file, write_stack
from fastlegacy.testing.filters import filter_arguments

__all__ = [
    "CHUNK_INDEXES",
    "stored_chunk",
    "write_compact",
    "write_external_raw",
    "write_indexed",
    "write_masked",
    "write_unfiltered_edges",
]

CHUNK_INDEXES = ("single", "implicit", "fixed array", "extensible array", "B-tree 2", "B-tree 1")
"""The chunk indexes of HDF5. Detectors write B-tree 1 (old file versions) and extensible array (`latest`, SWMR)."""

_DEFAULT = "/entry/data/data"


def write_indexed(
    path: StrPath,
    frames: Array,
    index: str,
    dataset: str = _DEFAULT,
    *,
    filters: str = "none",
    chunks: tuple[int, ...] | None = None,
) -> str:
    """Write a stack so that HDF5 chooses a certain chunk index.

    Parameters
    ----------
    path : path-like
        The file; it is replaced.
    frames : ndarray, shape (frames, ny, nx)
    index : str
        One of `CHUNK_INDEXES`: ``"single"`` makes one chunk of the whole stack; ``"implicit"`` allocates all chunks
        at once and knows no filter.
    dataset : str
        Its path in the file.
    filters : str
        See `fastlegacy.testing.filters.filter_names`.
    chunks : tuple of int, optional
        Default: one frame each.

    Raises
    ------
    ValueError
        If the index has another name, or cannot hold filtered chunks.
    """
    if index not in CHUNK_INDEXES:
        raise ValueError(f"no chunk index is called {index!r}; there are {', '.join(CHUNK_INDEXES)}")
    if index == "implicit":
        if filters != "none":
            raise ValueError("an implicit index has no place for the sizes of filtered chunks; use another index")
        return _write_implicit(path, frames, dataset, chunks or (1, *frames.shape[1:]))
    unlimited: dict[str, tuple[int | None, ...]] = {
        "extensible array": (None, *frames.shape[1:]),
        "B-tree 2": (None, None, frames.shape[2]),
    }
    return write_stack(
        path,
        frames,
        dataset,
        filters=filters,
        chunks=frames.shape if index == "single" else chunks or (1, *frames.shape[1:]),
        libver="earliest" if index == "B-tree 1" else "latest",
        maxshape=unlimited.get(index),
    )


def stored_chunk(chunk: Array, filters: str = "none", mask: int = 0) -> bytes:
    """Bytes of a chunk as HDF5 stores them.

    Parameters
    ----------
    chunk : ndarray
        Of the chunk's full shape.
    filters : str
        Names joined by ``+`` in h5py's order: shuffle, compression, fletcher32.
    mask : int
        Bit i set: the i-th filter is skipped.
    """
    kept = [name for i, name in enumerate(filters.split("+")) if not mask & 1 << i]
    with h5py.File("chunk.h5", "w", driver="core", backing_store=False) as file:
        options = filter_arguments("+".join(kept) or "none")
        data = file.create_dataset("data", data=chunk, chunks=chunk.shape, **options)
        skipped, raw = data.id.read_direct_chunk((0,) * chunk.ndim)
    if skipped:
        raise ValueError(f"HDF5 skipped a filter of {filters!r} by itself, as it may do; give data that compress")
    return bytes(raw)


def write_masked(
    path: StrPath,
    frames: Array,
    filters: str,
    masks: Sequence[int],
    dataset: str = _DEFAULT,
    *,
    chunks: tuple[int, ...] | None = None,
) -> str:
    """Write chunks with filter masks, as direct chunk writing does for frames that do not compress.

    Parameters
    ----------
    path : path-like
        The file; it is replaced.
    frames : ndarray, shape (frames, ny, nx)
    filters : str
        Names joined by ``+`` in h5py's order.
    masks : sequence of int
        Filter mask of each chunk in turn, from the first again after the last: bit i set skips the i-th filter.
    dataset : str
        Its path in the file.
    chunks : tuple of int, optional
        Default: one frame each. Pixels of an edge chunk outside the dataset are zero.
    """
    chunks = chunks or (1, *frames.shape[1:])
    padded = np.pad(frames, [(0, -size % step) for size, step in zip(frames.shape, chunks, strict=True)])
    with create_file(path) as file:
        stored = file.create_dataset(dataset, frames.shape, frames.dtype, chunks=chunks, **filter_arguments(filters))
        grid = tuple(size // step for size, step in zip(padded.shape, chunks, strict=True))
        for number, place in enumerate(np.ndindex(grid)):
            mask = masks[number % len(masks)]
            start = tuple(i * step for i, step in zip(place, chunks, strict=True))
            part = padded[tuple(slice(a, a + step) for a, step in zip(start, chunks, strict=True))]
            stored.id.write_direct_chunk(start, stored_chunk(part, filters, mask), filter_mask=mask)
    return f"{os.fspath(path)}::{dataset}"


def write_unfiltered_edges(
    path: StrPath, frames: Array, filters: str, chunks: tuple[int, ...], dataset: str = _DEFAULT
) -> str:
    """Write a stack whose partial chunks at the edges are stored without any filter (``H5Pset_chunk_opts``).

    No name in h5py reaches this option: it is set in h5py's own libhdf5.

    Raises
    ------
    RuntimeError
        If that library is not found, or refuses.
    """
    with create_file(path, libver="latest") as file:
        model = file.create_dataset("model", frames.shape, frames.dtype, chunks=chunks, **filter_arguments(filters))
        properties = model.id.get_create_plist()
        del file["model"]
        if _libhdf5().H5Pset_chunk_opts(ctypes.c_int64(properties.id), ctypes.c_uint(2)) < 0:
            raise RuntimeError("HDF5 refuses the option for unfiltered edge chunks")
        _create(file, dataset, frames, properties).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(frames))
    return f"{os.fspath(path)}::{dataset}"


def write_compact(path: StrPath, frames: Array, dataset: str = _DEFAULT, *, libver: str = "default") -> str:
    """Write a small stack (less than 64 kB) into the object header itself: compact storage, as thumbnails have it."""
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_layout(h5py.h5d.COMPACT)
    with create_file(path, libver=libver) as file:
        _create(file, dataset, frames, properties).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(frames))
    return f"{os.fspath(path)}::{dataset}"


def write_external_raw(path: StrPath, frames: Array, dataset: str = _DEFAULT, *, files: int = 2) -> str:
    """Write a stack whose bytes lie in raw files beside the HDF5 file (external storage, as around old raw series).

    HDF5 looks for such files from the working directory, not from the HDF5 file; so their names are absolute.

    Parameters
    ----------
    path : path-like
        The HDF5 file; the raw ones are called after it, ``.0.raw`` and on.
    frames : ndarray, shape (frames, ny, nx)
        Its bytes are cut into equal parts.
    dataset : str
        Its path in the file.
    files : int
        Number of raw files; the last takes the rest.
    """
    blob = np.ascontiguousarray(frames).tobytes()
    cuts = [len(blob) * i // files for i in range(files + 1)]
    external = []
    for i in range(files):
        raw = os.path.abspath(f"{os.fspath(path)}.{i}.raw")
        with open(raw, "wb") as file:
            file.write(blob[cuts[i] : cuts[i + 1]])
        external.append((raw, 0, cuts[i + 1] - cuts[i]))
    with create_file(path) as master:
        master.create_dataset(dataset, shape=frames.shape, dtype=frames.dtype, external=external)
    return f"{os.fspath(path)}::{dataset}"


def _write_implicit(path: StrPath, frames: Array, dataset: str, chunks: tuple[int, ...]) -> str:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk(chunks)
    properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with create_file(path, libver="latest") as file:
        _create(file, dataset, frames, properties).write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(frames))
    return f"{os.fspath(path)}::{dataset}"


def _create(file: Any, dataset: str, frames: Array, properties: Any) -> Any:
    """Low-level dataset of the frames' shape and dtype, for property lists that h5py's own words do not reach."""
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(frames.shape)
    return h5py.h5d.create(file.id, dataset.encode(), h5py.h5t.py_create(frames.dtype), space, properties, links)


def _libhdf5() -> ctypes.CDLL:
    """Return the HDF5 library that h5py has loaded into this process (Linux)."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        paths = {line.split(maxsplit=5)[5].strip() for line in maps if "libhdf5" in line}
    found = sorted(path for path in paths if "_hl" not in os.path.basename(path))
    if not found:
        raise RuntimeError("the HDF5 library of h5py is not among the libraries of this process")
    return ctypes.CDLL(found[0])
