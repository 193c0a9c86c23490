# SPDX-License-Identifier: MIT
"""Which datasets of a file are series of images: in, a path; out, its shape and where it really is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fastlegacy.errors import FastlegacyError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import place_of, target_of
from fastlegacy.hdf5.objects import HARD, SOFT, link_kind, members, open_object, series_shape
from fastlegacy.hdf5.url import Selection
from fastlegacy.sources._facts import HDF5_ERRORS

__all__ = ["Images", "Looked", "channels", "group_names", "images_at", "series_in"]

_MOST_CHANNELS = 16


class Images(NamedTuple):
    """A dataset of three axes or more: where it really is, and its shape."""

    file: str
    path: str
    shape: tuple[int, ...]


Looked = dict[tuple[str, str], Images | None]
"""What stands at places, (file, path) without links, that were looked at: images, or something else."""


def images_at(context: Context, file: str, path: str) -> Images | None:
    """The series of images at a path; None where there is something else, nothing, or nothing that can be read."""
    try:
        found = place_of(context, file, path)
        if found is None:
            return None
        with context.open_h5(found[0]) as h5:
            shape = series_shape(open_object(h5.id, found[1]))
            return None if shape is None else Images(*found, shape)
    except (FastlegacyError, *HDF5_ERRORS):
        return None


def series_in(
    context: Context, file: str, path: str, below: str = "", looked: Looked | None = None
) -> Iterator[tuple[str, Images]]:
    """The series of images in a group: (name, where it really is).

    Parameters
    ----------
    context : Context
    file, path : str
        The group. Nothing is found where there is none.
    below : str
        Where the datasets are below each name: ``data`` for the groups of detectors.
    looked : dict, optional
        What was looked at before; soft links to it cost nothing. What is looked at now is added.
    """
    looked = {} if looked is None else looked
    try:
        where = place_of(context, file, path)
        if where is None:
            return
        with context.open_h5(where[0]) as h5:
            group = open_object(h5.id, where[1])
            near = {name: _near(group, where, name, kind, below, looked) for name, kind in members(group)}
    except (FastlegacyError, *HDF5_ERRORS):
        return
    for name, found in near.items():
        if isinstance(found, Images):
            yield name, found
        elif found is None and (images := images_at(context, file, f"{path}/{name}/{below}".rstrip("/"))):
            yield name, images


def _near(group: Any, where: tuple[str, str], name: str, kind: int, below: str, looked: Looked) -> Images | bool | None:
    """The series of a name to which hard links lead; False where there is none, None where other links lead."""
    place, home = where
    path = f"{name}/{below}".rstrip("/")
    if kind == SOFT and not below:
        target = (place, target_of(group, home, name))
        return (looked[target] or False) if target in looked else None
    if kind != HARD:
        return None
    if below:
        kind_below = link_kind(group, path)
        if kind_below != HARD:
            return False if kind_below is None else None
    try:
        shape = series_shape(open_object(group, path))
    except HDF5_ERRORS:
        return False
    there = f"{home.rstrip('/')}/{path}"
    looked[place, there] = None if shape is None else Images(place, there, shape)
    return looked[place, there] or False


def group_names(context: Context, file: str, path: str) -> list[str]:
    """Names in a group, links that lead elsewhere too; none where there is no such group."""
    try:
        found = place_of(context, file, path)
        if found is None:
            return []
        with context.open_h5(found[0]) as h5:
            return [name for name, _ in members(open_object(h5.id, found[1]))]
    except (FastlegacyError, *HDF5_ERRORS):
        return []


def channels(shape: tuple[int, ...]) -> Iterator[tuple[int | None, Selection | None]]:
    """The stacks in a dataset (frames, channels, ny, nx): number and slice of each; of three axes, the whole one."""
    if len(shape) != 4 or not 1 <= shape[1] <= _MOST_CHANNELS:
        yield None, None
        return
    for channel in range(shape[1]):
        yield channel, (slice(None), channel)
