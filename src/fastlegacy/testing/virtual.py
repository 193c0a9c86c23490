# SPDX-License-Identifier: MIT
"""Stacks that lie in other files: virtual datasets of every shape, chains of external links, soft links.

Each builder writes several files into a folder and returns the url of the one that a user would open. ``missing``
names source files that are not written, as when a copy was not complete.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import h5py
import numpy as np

from fastlegacy.testing.files import Array, StrPath, create_file, write_stack

__all__ = [
    "external_chain",
    "soft_links",
    "virtual_modules",
    "virtual_nested",
    "virtual_printf",
    "virtual_series",
    "virtual_strided",
]

_SOURCE = "/entry_0000/measurement/data"
_VIRTUAL = "/1.1/measurement/detector"


def virtual_series(
    folder: StrPath,
    frames: Array,
    *,
    files: int = 3,
    filters: str = "bslz4",
    gap: int = 0,
    fillvalue: Any = 0,
    dtype: Any = None,
    missing: Collection[int] = (),
    name: str = "master.h5",
) -> str:
    """Write one file after the other and a virtual dataset over them, as a bliss or NXmx master has it.

    Parameters
    ----------
    folder : path-like
        Exists.
    frames : ndarray, shape (frames, ny, nx)
        Dealt out to the files in order; the last may get fewer.
    files : int
        Number of source files, ``name`` + ``_0000.h5`` and on.
    filters : str
        Of the source files.
    gap : int
        Frames after each file that no source covers: they have the fill value.
    fillvalue : number
        Of the virtual dataset.
    dtype : dtype-like, optional
        Of the virtual dataset, where it differs from the sources' (HDF5 then converts).
    missing : collection of int
        Numbers of the source files that are not written.
    name : str
        The master's.
    """
    each = -(-len(frames) // files)
    total = len(frames) + gap * files
    layout = h5py.VirtualLayout((total, *frames.shape[1:]), frames.dtype if dtype is None else dtype)
    at = 0
    for i in range(files):
        part = frames[i * each : (i + 1) * each]
        source = f"{os.path.splitext(name)[0]}_{i:04d}.h5"
        if i not in missing:
            write_stack(os.path.join(folder, source), part, _SOURCE, filters=filters)
        if len(part):
            layout[at : at + len(part)] = h5py.VirtualSource(source, _SOURCE, part.shape, frames.dtype)
        at += len(part) + gap
    return _write_master(folder, name, layout, fillvalue)


def virtual_nested(folder: StrPath, frames: Array, *, files: int = 2, filters: str = "bslz4", depth: int = 2) -> str:
    """Write a virtual dataset over virtual datasets, as a master over masters of sub-scans.

    Parameters
    ----------
    folder : path-like
        Exists.
    frames : ndarray, shape (frames, ny, nx)
        Halved once at each level.
    files : int
        Real files below each master of the lowest level.
    filters : str
        Of the real files.
    depth : int
        Levels of virtual datasets, at least 1.
    """
    return _nested(folder, frames, files, filters, depth, "master")


def virtual_printf(
    folder: StrPath, frames: Array, *, files: int = 3, filters: str = "bslz4", missing: Collection[int] = ()
) -> str:
    """Write source files that the virtual dataset names by a pattern, ``data_%b.h5``: the number of files is open.

    Percival's and Excalibur's masters at Diamond are of this kind.

    Parameters
    ----------
    folder : path-like
        Exists.
    frames : ndarray, shape (frames, ny, nx)
        Their number is a multiple of `files`.
    files : int
        Number of source files, ``data_0.h5`` and on.
    filters : str
        Of the source files.
    missing : collection of int
        Numbers of the source files that are not written.
    """
    each, rest = divmod(len(frames), files)
    if rest:
        raise ValueError(f"{len(frames)} frames cannot be dealt out evenly to {files} files")
    for i in range(files):
        if i not in missing:
            part = frames[i * each : (i + 1) * each]
            write_stack(os.path.join(folder, f"data_{i}.h5"), part, _SOURCE, filters=filters)
    block = (each, *frames.shape[1:])
    space = h5py.h5s.create_simple(frames.shape, (h5py.h5s.UNLIMITED, *frames.shape[1:]))
    space.select_hyperslab((0, 0, 0), (h5py.h5s.UNLIMITED, 1, 1), stride=block, block=block)
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_virtual(space, b"data_%b.h5", _SOURCE.encode(), h5py.h5s.create_simple(block))
    return _write_low_level(folder, "master.h5", frames, properties)


def virtual_modules(
    folder: StrPath, frames: Array, *, grid: tuple[int, int] = (2, 2), gap: int = 3, filters: str = "bslz4"
) -> str:
    """Write one file for each module of a detector, side by side in the virtual dataset, as Lambda and Jungfrau do.

    Parameters
    ----------
    folder : path-like
        Exists.
    frames : ndarray, shape (frames, ny, nx)
        What the virtual dataset shows; pixels in the gaps are its fill value, the dtype's maximum, instead.
    grid : tuple of int
        Modules along y and along x.
    gap : int
        Pixels between two modules.
    filters : str
        Of the modules' files.
    """
    rows, columns = (_parts(size, n, gap) for size, n in zip(frames.shape[1:], grid, strict=True))
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for number, (y, x) in enumerate((y, x) for y in rows for x in columns):
        part = frames[:, y, x]
        source = f"module_{number:02d}.h5"
        write_stack(os.path.join(folder, source), part, _SOURCE, filters=filters)
        layout[:, y, x] = h5py.VirtualSource(source, _SOURCE, part.shape, frames.dtype)
    limits = np.finfo(frames.dtype) if frames.dtype.kind == "f" else np.iinfo(frames.dtype)
    return _write_master(folder, "master.h5", layout, limits.max)


def virtual_strided(folder: StrPath, frames: Array, *, files: int = 2, filters: str = "bslz4") -> str:
    """Write frames to files in turn (frame i in file i modulo n), as receivers of a fast detector share the work."""
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for i in range(files):
        part = frames[i::files]
        write_stack(os.path.join(folder, f"receiver_{i}.h5"), part, _SOURCE, filters=filters)
        layout[i::files] = h5py.VirtualSource(f"receiver_{i}.h5", _SOURCE, part.shape, frames.dtype)
    return _write_master(folder, "master.h5", layout, 0)


def external_chain(
    folder: StrPath, frames: Array, *, links: int = 3, filters: str = "bslz4", missing: bool = False
) -> str:
    """Write a file, and files that each lead to the next by an external link: proposal -> sample -> dataset -> data.

    Parameters
    ----------
    folder : path-like
        Exists. Each file lies in a folder of its own, so that relative names matter.
    frames : ndarray, shape (frames, ny, nx)
    links : int
        External links on the way, at least 1.
    filters : str
        Of the last file.
    missing : bool
        The last file is not written.
    """
    for i in range(links + 1):
        os.makedirs(os.path.join(folder, f"level_{i}"), exist_ok=True)
    if not missing:
        write_stack(os.path.join(folder, f"level_{links}", "file.h5"), frames, "/group/data", filters=filters)
    for i in range(links):
        with create_file(os.path.join(folder, f"level_{i}", "file.h5")) as file:
            file["/group"] = h5py.ExternalLink(f"../level_{i + 1}/file.h5", "/group")
    return f"{os.path.join(folder, 'level_0', 'file.h5')}::/group/data"


def soft_links(path: StrPath, frames: Array, *, links: int = 2, filters: str = "bslz4") -> str:
    """Write a stack behind soft links in its own file, as ``measurement/eiger`` of bliss leads to the instrument."""
    write_stack(path, frames, "/1.1/instrument/eiger/data", filters=filters)
    target = "/1.1/instrument/eiger/data"
    with h5py.File(path, "r+", locking=False) as file:
        for i in range(links):
            name = f"/1.1/measurement/eiger{i or ''}"
            file[name] = h5py.SoftLink(target)
            target = name
    return f"{os.fspath(path)}::{target}"


def _nested(folder: StrPath, frames: Array, files: int, filters: str, depth: int, stem: str) -> str:
    if depth == 1:
        return virtual_series(folder, frames, files=files, filters=filters, name=f"{stem}.h5")
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    half = len(frames) // 2
    for i, place in enumerate((slice(0, half), slice(half, len(frames)))):
        part = frames[place]
        _nested(folder, part, files, filters, depth - 1, f"{stem}_{i}")
        layout[place] = h5py.VirtualSource(f"{stem}_{i}.h5", _VIRTUAL, part.shape, frames.dtype)
    return _write_master(folder, f"{stem}.h5", layout, 0)


def _parts(size: int, number: int, gap: int) -> list[slice]:
    """Equal parts of an axis with a gap between neighbours; what is left over stays uncovered at the end."""
    each = (size - gap * (number - 1)) // number
    return [slice(i * (each + gap), i * (each + gap) + each) for i in range(number)]


def _write_master(folder: StrPath, name: str, layout: Any, fillvalue: Any) -> str:
    path = os.path.join(folder, name)
    with create_file(path, libver="latest") as file:
        file.create_virtual_dataset(_VIRTUAL, layout, fillvalue=fillvalue)
    return f"{path}::{_VIRTUAL}"


def _write_low_level(folder: StrPath, name: str, frames: Array, properties: Any) -> str:
    path = os.path.join(folder, name)
    links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
    links.set_create_intermediate_group(True)
    space = h5py.h5s.create_simple(frames.shape, (h5py.h5s.UNLIMITED, *frames.shape[1:]))
    with create_file(path, libver="latest") as file:
        h5py.h5d.create(file.id, _VIRTUAL.encode(), h5py.h5t.py_create(frames.dtype), space, properties, links)
    return f"{path}::{_VIRTUAL}"
