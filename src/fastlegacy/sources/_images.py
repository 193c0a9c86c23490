# SPDX-License-Identifier: MIT
"""Which datasets of a file are series of images: in, a path; out, its shape and where it really is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import h5py

from fastlegacy.errors import FastlegacyError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import locate
from fastlegacy.hdf5.url import Selection
from fastlegacy.sources._facts import HDF5_ERRORS

__all__ = ["Images", "channels", "group_names", "images_at", "series_in"]

_MOST_CHANNELS = 16


class Images(NamedTuple):
    """A dataset of three axes or more: where it really is, and its shape."""

    file: str
    path: str
    shape: tuple[int, ...]


def images_at(context: Context, file: str, path: str) -> Images | None:
    """The series of images at a path; None where there is something else, nothing, or nothing that can be read."""
    try:
        place, name = locate(context, file, path)
        with context.open_h5(place) as h5:
            dset = h5[name]
            return Images(place, name, tuple(dset.shape)) if _is_series(dset) else None
    except (FastlegacyError, *HDF5_ERRORS):
        return None


def series_in(context: Context, file: str, path: str, below: str = "") -> Iterator[tuple[str, Images]]:
    """The series of images in a group: (name, where it really is).

    Parameters
    ----------
    context : Context
    file, path : str
        The group. Nothing is found where there is none.
    below : str
        Where the datasets are below each name: ``data`` for the groups of detectors.
    """
    try:
        place, name = locate(context, file, path)
        with context.open_h5(place) as h5:
            group = h5[name]
            names = list(group) if isinstance(group, h5py.Group) else []
            near = {member: _near(h5, group, f"{member}/{below}".rstrip("/")) for member in names}
    except (FastlegacyError, *HDF5_ERRORS):
        return
    for member, found in near.items():
        if isinstance(found, tuple):
            yield member, Images(place, *found)
        elif found is None and (images := images_at(context, file, f"{path}/{member}/{below}".rstrip("/"))):
            yield member, images


def _near(h5: Any, group: Any, name: str) -> tuple[str, tuple[int, ...]] | bool | None:
    """Path and shape of a series in this file; False where it is none, None where links lead to another file."""
    first, _, rest = name.partition("/")
    link = group.get(first, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        return None
    try:
        item = group[first]
        if rest and (not isinstance(item, h5py.Group) or item.get(rest, getlink=True) is None):
            return False
        if rest and not isinstance(item.get(rest, getlink=True), h5py.HardLink):
            return None
        item = item[rest] if rest else item
    except HDF5_ERRORS:
        return False
    if not _is_series(item):
        return False
    if item.file.filename != h5.filename:
        return None
    if isinstance(link, h5py.SoftLink) and not rest:
        return None  # a few in each scan: what they lead to is found step by step
    return item.name, tuple(item.shape)


def group_names(context: Context, file: str, path: str) -> list[str]:
    """Names in a group, links that lead elsewhere too; none where there is no such group."""
    try:
        place, name = locate(context, file, path)
        with context.open_h5(place) as h5:
            group = h5[name]
            return list(group) if isinstance(group, h5py.Group) else []
    except (FastlegacyError, *HDF5_ERRORS):
        return []


def channels(shape: tuple[int, ...]) -> Iterator[tuple[int | None, Selection | None]]:
    """The stacks in a dataset (frames, channels, ny, nx): number and slice of each; of three axes, the whole one."""
    if len(shape) != 4 or not 1 <= shape[1] <= _MOST_CHANNELS:
        yield None, None
        return
    for channel in range(shape[1]):
        yield channel, (slice(None), channel)


def _is_series(dset: Any) -> bool:
    shape = dset.shape if isinstance(dset, h5py.Dataset) else None
    if shape is None or len(shape) < 3 or 0 in shape or min(shape[-2:]) < 2:
        return False
    dtype = dset.dtype
    return bool(dtype.kind in "uif" and dtype.itemsize in (1, 2, 4, 8) and dtype != "f2")
