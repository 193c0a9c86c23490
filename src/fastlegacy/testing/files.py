# SPDX-License-Identifier: MIT
"""HDF5 files with one stack in them: any storage, chunk shape, filter, byte order and file version.

Each builder writes a file and returns the url of its dataset, ``file.h5::/path``.
"""

from __future__ import annotations

import os
from typing import Any

import h5py
from numpy.typing import NDArray

from fastlegacy.testing.filters import filter_arguments

__all__ = ["LIBVERS", "Array", "StrPath", "create_file", "write_stack"]

StrPath = str | os.PathLike[str]
Array = NDArray[Any]

LIBVERS: dict[str, tuple[str, str] | None] = {
    "default": None,
    "earliest": ("earliest", "v108"),
    "v108": ("v108", "v108"),
    "v110": ("v110", "v110"),
    "latest": ("latest", "latest"),
}
"""Names of file versions, and the bounds that h5py takes for them."""


def create_file(path: StrPath, *, libver: str = "default", userblock: int = 0) -> Any:
    """Create an HDF5 file, without a lock: tests open it several times.

    Parameters
    ----------
    path : path-like
        An existing file is replaced.
    libver : str
        One of `LIBVERS`.
    userblock : int
        Bytes before HDF5's own, 0 or a power of two from 512 on; they are filled with ``#``. With a user block, each
        address in the file counts from its end.

    Returns
    -------
    h5py.File
        Open for writing.
    """
    path = os.fspath(path)
    file = h5py.File(path, "w", libver=LIBVERS[libver], userblock_size=userblock or None, locking=False)
    if userblock:
        file.close()
        with open(path, "r+b") as raw:
            raw.write(b"#" * userblock)
        file = h5py.File(path, "r+", libver=LIBVERS[libver], locking=False)
    return file


def write_stack(
    path: StrPath,
    frames: Array,
    dataset: str = "/entry/data/data",
    *,
    filters: str = "none",
    chunks: tuple[int, ...] | None = None,
    libver: str = "default",
    userblock: int = 0,
    dtype: Any = None,
    maxshape: tuple[int | None, ...] | None = None,
    fillvalue: Any = None,
    written: slice | None = None,
) -> str:
    """Write a stack as any program with h5py does: Dectris' and LImA's data files are of this kind.

    Parameters
    ----------
    path : path-like
        The file; it is replaced.
    frames : ndarray
        2D or more; (frames, ny, nx) as a rule.
    dataset : str
        Its path in the file.
    filters : str
        One of `fastlegacy.testing.filters.filter_names`.
    chunks : tuple of int, optional
        Chunk shape; chunks at an edge are stored in full by HDF5. None: contiguous, or whole frames if there is a
        filter or a `maxshape`.
    libver, userblock
        See `create_file`.
    dtype : dtype-like, optional
        As stored, byte order included; default: that of `frames`.
    maxshape : tuple, optional
        None in it: unlimited.
    fillvalue : number, optional
        Value of what was never written.
    written : slice, optional
        Frames that are written at all; the others stay unallocated, as in a scan that was stopped.

    Returns
    -------
    str
        ``file::/dataset``.
    """
    options = filter_arguments(filters)
    if chunks is None and (options or maxshape):
        chunks = (1,) * (frames.ndim - 2) + frames.shape[-2:]
    with create_file(path, libver=libver, userblock=userblock) as file:
        stored = file.create_dataset(
            dataset,
            shape=frames.shape,
            dtype=frames.dtype if dtype is None else dtype,
            chunks=chunks,
            maxshape=maxshape,
            fillvalue=fillvalue,
            **options,
        )
        if written is None:
            stored[...] = frames
        elif len(range(*written.indices(len(frames)))):
            stored[written] = frames[written]
    return f"{os.fspath(path)}::{dataset}"
