# SPDX-License-Identifier: MIT
"""One dataset as it is stored: its chunk map, its fill value, and who decodes it."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from fastlegacy import _chunks, _core
from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.filters import BITSHUFFLE, Filter, Plan, make_plan, read_filters

__all__ = ["StoredDataset", "absent_dataset", "by_h5py", "check_stack", "stored_dataset"]

_Kind = Literal["contiguous", "chunked", "memory", "python"]
ChunkMap = tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]

NOWHERE = np.uint64(2**64 - 1)
SHUFFLE = 2
_MOST_DIMS = 16  # FL_MAX_DIMS of the kernels
_SKIP_ALL = np.uint32(0xFFFFFFFF)
_PARTIAL_UNFILTERED = 0x0002  # H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS of H5Dpublic.h


@dataclass(frozen=True, slots=True)
class StoredDataset:
    """A dataset that is not virtual, with the kernels' view of it.

    Attributes
    ----------
    file, path : str
    shape : tuple of int
    dtype : numpy.dtype
    fill : bytes
    core : _core.Dataset
    plan : Plan
    filters : tuple of Filter
    chunks : tuple of int or None
        As HDF5 has it; None where the dataset is not chunked.
    stored_bytes : int or None
        What it takes in the file; None where the chunk map says it.
    fetch : callable or None
        Gives the chunk map of a chunked dataset that the kernels leave to h5py.
    opened_by_hdf5 : tuple of str
        Other files, as they are named in this one, that HDF5 itself opens when h5py reads the dataset.
    stored_in : _core.File or None
        The file, as it was when the dataset was opened.
    behind : tuple of StoredDataset or None
        Of a virtual dataset that h5py has to read, in a file that grows: the datasets that its pixels come from.
    """

    file: str
    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: bytes
    core: _core.Dataset
    plan: Plan
    filters: tuple[Filter, ...] = ()
    chunks: tuple[int, ...] | None = None
    stored_bytes: int | None = None
    fetch: Callable[[], ChunkMap] | None = None
    opened_by_hdf5: tuple[str, ...] = ()
    stored_in: _core.File | None = None
    behind: tuple[StoredDataset, ...] | None = None

    @property
    def is_absent(self) -> bool:
        """Whether it stands for a dataset that is not there yet."""
        return self.stored_in is None

    def chunk_map(self) -> ChunkMap | None:
        """Addresses, stored sizes and filter masks of all chunks; None where the dataset is not chunked."""
        return self.fetch() if self.fetch else self.core.chunk_map()


def check_stack(dset: Any, file: str, path: str) -> None:
    """Raise NotAStackError where a dataset has no axes, or its elements are not plain numbers of 1, 2, 4 or 8 bytes."""
    shape, dtype = dset.shape, dset.dtype
    if shape is None or not 0 < len(shape) <= _MOST_DIMS:
        what = "is empty" if shape is None else f"its shape {shape} is not that of frames"
        raise NotAStackError(what, file=file, dataset=path, hint="`fastlegacy ls` lists the image stacks of a file")
    if dtype.kind not in "uif" or dtype.itemsize not in (1, 2, 4, 8) or dtype == np.float16:
        raise NotAStackError(
            f"its elements are {dtype}, not integers or floats of 1 to 8 bytes",
            file=file,
            dataset=path,
            hint="`fastlegacy ls` lists the image stacks of a file",
        )


def fill_bytes(dset: Any) -> bytes:
    """The fill value, one element as stored."""
    return np.asarray(dset.fillvalue).astype(dset.dtype).tobytes()


def stored_dataset(context: Context, dset: Any, file: str, path: str) -> StoredDataset:
    """Describe an open dataset that is not virtual. Its chunk map is fetched later, when first needed.

    Raises
    ------
    FilterError
        If one of its filters is not installed.
    """
    dcpl = dset.id.get_create_plist()
    filters = read_filters(dcpl)
    _check_elements(filters, dset.dtype.itemsize, file, path)
    plan = make_plan(filters, dset.dtype.itemsize, file=file, dataset=path)
    here = context.file(file)
    fill, shape = fill_bytes(dset), tuple(dset.shape)
    name = f"{file}::{path}"

    def make(chunk: tuple[int, ...], kind: _Kind, **more: Any) -> StoredDataset:
        stored_bytes = None if kind == "chunked" else dset.id.get_storage_size()
        core = _core.Dataset(name, shape, chunk, fill, context.files, context.cache, kind, **more)
        return StoredDataset(
            file, path, shape, dset.dtype, fill, core, plan, filters, dset.chunks, stored_bytes, stored_in=here
        )

    whole = tuple(max(1, n) for n in shape)
    layout = dcpl.get_layout()
    if layout == h5py.h5d.COMPACT:
        return make(whole, "memory", memory=dset[()].tobytes())
    if plan.pipeline is None or dcpl.get_external_count() or not _is_plain_number(dset):
        chunk = dset.chunks or (1,) * (len(shape) - 2) + whole[-2:]
        plan = Plan(None, ("h5py",) * max(1, len(plan.by)))
        raw_files = tuple(os.fsdecode(dcpl.get_external(i)[0]) for i in range(dcpl.get_external_count()))
        fetch = _once(_chunk_map_fetcher(context, here, file, path, shape)) if dset.chunks else None
        stored = make(chunk, "python", loader=_loader(context, here, file, path, shape, chunk, fetch))
        return replace(stored, opened_by_hdf5=raw_files, fetch=fetch)
    if layout == h5py.h5d.CONTIGUOUS:
        return make(whole, "contiguous", file=here, address=dset.id.get_offset())
    fetch = _chunk_map_fetcher(context, here, file, path, shape)
    return make(dset.chunks, "chunked", file=here, pipeline=plan.pipeline, chunk_map=fetch)


def _check_elements(filters: tuple[Filter, ...], itemsize: int, file: str, path: str) -> None:
    """Raise SourceError where shuffle or bitshuffle was told another size of elements than the dataset has.

    HDF5 tells them when a dataset is made. Another number is damage, which would put the bytes into another order.
    """
    for f in filters:
        stated = f.values[0:1] if f.number == SHUFFLE else f.values[2:3] if f.number == BITSHUFFLE else ()
        if stated and stated[0] not in (0, itemsize):
            message = f"its header is damaged: {f} of elements of {stated[0]} bytes, which have {itemsize}"
            raise SourceError(message, file=file, dataset=path, hint="copy the file again from its source")


def by_h5py(context: Context, dset: Any, file: str, path: str, sources: tuple[str, ...]) -> StoredDataset:
    """A dataset that h5py has to read, frame by frame: a virtual one, over the source files that it names."""
    shape, fill, here = tuple(dset.shape), fill_bytes(dset), context.file(file)
    chunk = (1,) * (len(shape) - 2) + tuple(max(1, n) for n in shape[-2:])
    loader = _loader(context, here, file, path, shape, chunk)
    core = _core.Dataset(f"{file}::{path}", shape, chunk, fill, context.files, context.cache, "python", loader=loader)
    plan = Plan(None, ("h5py",))
    return StoredDataset(
        file, path, shape, dset.dtype, fill, core, plan, stored_bytes=0, opened_by_hdf5=sources, stored_in=here
    )


def absent_dataset(
    context: Context, file: str, path: str, shape: tuple[int, ...], dtype: np.dtype[Any], fill: bytes
) -> StoredDataset:
    """What stands for a dataset that is not there yet: one of which nothing was ever written."""
    whole = tuple(max(1, n) for n in shape)
    core = _core.Dataset(f"{file}::{path}", shape, whole, fill, context.files, context.cache, "contiguous")
    return StoredDataset(file, path, shape, dtype, fill, core, Plan(None, ()), stored_bytes=0)


def _is_plain_number(dset: Any) -> bool:
    """False for numbers that do not fill their bytes (12 bits in 16, say): HDF5 has to unpack them."""
    kind = dset.id.get_type()
    if isinstance(kind, h5py.h5t.TypeEnumID):
        kind = kind.get_super()
    return bool(kind.get_precision() == 8 * kind.get_size() and kind.get_offset() == 0)


def _once(fetch: Callable[[], ChunkMap]) -> Callable[[], ChunkMap]:
    """The same, but called only until it has worked once."""
    lock = threading.Lock()
    found: list[ChunkMap] = []

    def fetch_once() -> ChunkMap:
        with lock:
            if not found:
                found.append(fetch())
            return found[0]

    return fetch_once


def _loader(
    context: Context,
    here: _core.File,
    file: str,
    path: str,
    shape: tuple[int, ...],
    chunk: tuple[int, ...],
    fetch: Callable[[], ChunkMap] | None = None,
) -> Callable[[int], NDArray[np.uint8]]:
    """Reads one chunk through h5py, padded to the full chunk at the edges of the dataset.

    While the file grows, the chunk map is fetched before the first chunk: what it has is not read too early then, and a
    chunk that is read too early is kept, but nobody says later that it is there.
    """
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))

    def load(chunk_number: int) -> NDArray[np.uint8]:
        place = np.unravel_index(chunk_number, grid)
        box = tuple(slice(int(i) * c, min((int(i) + 1) * c, n)) for i, c, n in zip(place, chunk, shape, strict=True))
        if context.growing and fetch is not None:
            fetch()
        with context.open_h5(file) as h5:
            context.check_same(file, here, path)
            data = h5[path][box]
        if data.shape != chunk:
            whole = np.zeros(chunk, data.dtype)
            whole[tuple(slice(n) for n in data.shape)] = data
            data = whole
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)

    return load


def _chunk_map_fetcher(
    context: Context, here: _core.File, file: str, path: str, shape: tuple[int, ...]
) -> Callable[[], ChunkMap]:
    def read() -> tuple[ChunkMap, bool]:
        """The chunk map, and whether nobody can have written to the file while it was read."""
        with context.no_h5_left(), context.open_h5(file) as h5:
            size = context.check_same(file, here, path)
            before = os.stat(context.real_path(file)).st_mtime_ns
            chunk_map = read_chunk_map(h5[path], shape, file, path, context.growing)
            after = os.stat(context.real_path(file))
            return chunk_map, h5.swmr_mode or (size, before) == (after.st_size, after.st_mtime_ns)

    def fetch() -> ChunkMap:
        try:
            chunk_map, quiet = read()
            if context.growing and not quiet:
                chunk_map = _agreed(chunk_map, read()[0])
            _check_apart(chunk_map, file, path, growing=context.growing)
        except (KeyError, OSError) as exc:
            hint = "open the stack again; if it is being written, a little later"
            raise SourceError(f"HDF5 cannot read it: {exc}", file=file, dataset=path, hint=hint) from exc
        return chunk_map

    return fetch


def _agreed(one: ChunkMap, other: ChunkMap) -> ChunkMap:
    """The chunks on which two readings of an index agree that was being written meanwhile."""
    sure = (one[0] == other[0]) & (one[1] == other[1]) & (one[2] == other[2])
    return np.where(sure, one[0], NOWHERE), one[1], one[2]


def _check_apart(chunk_map: ChunkMap, file: str, path: str, *, growing: bool) -> None:
    """Raise SourceError where two chunks share bytes: the index is damaged, or was read while it was half written.

    Most indexes have no checksum, and a chunk of another frame can be decoded as well as the right one.
    """
    if _chunks.chunks_in_order(chunk_map[0], chunk_map[1]):
        return  # nearly all: nothing has to be sorted
    there = chunk_map[0] != NOWHERE
    addresses, sizes = chunk_map[0][there], chunk_map[1][there]
    order = np.argsort(addresses)
    if np.any((addresses + sizes)[order][:-1] > addresses[order][1:]):
        if growing:
            raise SourceError(
                "its chunk index is half written", file=file, dataset=path, hint="try again a little later"
            )
        hint = "copy the file again from its source"
        raise SourceError("its chunk index is damaged: two chunks share bytes", file=file, dataset=path, hint=hint)


def read_chunk_map(dset: Any, shape: tuple[int, ...], file: str, path: str, growing: bool) -> ChunkMap:
    """Addresses, stored sizes and filter masks of all chunks, in C order of the grid, by one pass over HDF5's index.

    Parameters
    ----------
    dset : h5py.Dataset
    shape : tuple of int
        What of the dataset counts: where it grows, it may be larger by now.
    file, path : str
        Its name.
    growing : bool
        The file may be written to meanwhile: its index may be newer than the shape.

    Raises
    ------
    SourceError
        If the index is damaged.
    """
    chunk = np.array(dset.chunks, dtype=np.int64)
    grid = -(-np.array(shape, dtype=np.int64) // chunk)
    n = int(np.prod(grid))
    addresses = np.full(n, NOWHERE)
    sizes, masks = np.zeros(n, np.uint64), np.zeros(n, np.uint32)
    index = _chunks.ChunkIndex(chunk.tolist(), grid.tolist(), addresses, sizes, masks)
    try:
        _tell_all_chunks(dset, index)
    except (RuntimeError, OSError, ValueError) as exc:
        raise SourceError(f"its chunk index is damaged: {exc}", file=file, dataset=path) from exc
    # while the dataset grows, its index may be ahead of its shape
    if not growing and index.outside:
        raise SourceError("its chunk index is damaged: a chunk lies outside", file=file, dataset=path)
    if index.doubles:
        raise SourceError("its chunk index is damaged: two chunks have one place", file=file, dataset=path)
    if _partial_chunks_unfiltered(dset.id.get_create_plist()):
        partial = np.zeros(grid, dtype=bool)
        for axis, (length, c) in enumerate(zip(dset.shape, dset.chunks, strict=True)):
            if length % c and length // c < grid[axis]:
                partial[(slice(None),) * axis + (length // c,)] = True
        masks[partial.reshape(-1)] = _SKIP_ALL
    return addresses, sizes, masks


def _tell_all_chunks(dset: Any, index: _chunks.ChunkIndex) -> None:
    """Let HDF5 tell a function in C of all chunks; through h5py it takes 100 times as long, with a tuple for each."""
    iterate = _chunk_iterator()
    if iterate is None:
        dset.id.chunk_iter(lambda row: index.put(row.chunk_offset, row.filter_mask, row.byte_offset, row.size))
        return
    with h5py._objects.phil:  # the lock that all calls of HDF5 hold
        failed = iterate(dset.id.id, 0, index.function, index.argument) < 0
    if failed:
        dset.id.chunk_iter(lambda row: None)  # says why
        raise OSError("HDF5 does not say why")


def _partial_chunks_unfiltered(dcpl: Any) -> bool:
    """Whether chunks that reach beyond the dataset were stored without filters: h5py does not say."""
    get_options = _chunk_options_function()
    options = ctypes.c_uint(0)
    if get_options is None or get_options(dcpl.id, ctypes.byref(options)) < 0:
        return False
    return bool(options.value & _PARTIAL_UNFILTERED)


@cache
def _chunk_options_function() -> Any:
    return _hdf5_function("H5Pget_chunk_opts", ctypes.c_int64, ctypes.POINTER(ctypes.c_uint))


@cache
def _chunk_iterator() -> Any:
    # before 1.14 it calls functions of another signature
    if h5py.version.hdf5_version_tuple < (1, 14, 0):
        return None
    return _hdf5_function("H5Dchunk_iter", ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)


def _hdf5_function(name: str, *arguments: Any) -> Any:
    """A function of the HDF5 library that h5py uses, or None where it cannot be found."""
    try:
        function = ctypes.CDLL(h5py.h5z.__file__)[name]
    except (OSError, AttributeError):
        return None
    function.argtypes = list(arguments)
    function.restype = ctypes.c_int
    return function
