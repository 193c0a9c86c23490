# SPDX-License-Identifier: MIT
"""The plainest convention: any dataset of numbers whose last two axes are an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from h5py import h5g, h5o

from fastlegacy.errors import FastlegacyError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import look_for, place_of
from fastlegacy.hdf5.objects import EXTERNAL, HARD, link_target, members, open_object, shape_of
from fastlegacy.model import Geometry
from fastlegacy.sources.find import PLAIN_RANK, Found

__all__ = ["SOURCE", "DatasetSource"]

_SMALLEST_IMAGE = 32  # pixels along each side: below it, a 2D dataset is more likely a table
_DEEPEST = 32


class DatasetSource:
    """Finds every dataset with three axes or more, and every 2D one that is large enough to be an image."""

    name = "dataset"
    rank = PLAIN_RANK

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the stacks, each dataset once.

        External links are followed; soft links are not, they show again what is found elsewhere.
        """
        del path
        with context.open_h5(file) as h5:
            for name, why in self._walk(context, file, h5.id, "", set(), 0):
                yield Found(name, why)

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Nothing is known of a plain dataset."""
        del context, file, found
        return Geometry()

    def _walk(
        self, context: Context, file: str, group: Any, at: str, seen: set[Any], depth: int
    ) -> Iterator[tuple[str, str]]:
        if depth > _DEEPEST:
            return
        for name, kind in members(group):
            path = f"{at}/{name}"
            if kind == EXTERNAL:
                yield from self._elsewhere(context, file, link_target(group, name), path, seen, depth)
            elif kind == HARD:
                yield from self._item(context, file, open_object(group, name), path, seen, depth)

    def _item(
        self, context: Context, file: str, item: Any, path: str, seen: set[Any], depth: int
    ) -> Iterator[tuple[str, str]]:
        """What is found at a group or dataset, the first time that it is reached."""
        key = (_real(file), h5o.get_info(item).addr)
        if key in seen:
            return
        seen.add(key)
        if isinstance(item, h5g.GroupID):
            yield from self._walk(context, file, item, path, seen, depth + 1)
        elif why := reason(item):
            yield path, why

    def _elsewhere(
        self, context: Context, file: str, link: tuple[str, str], path: str, seen: set[Any], depth: int
    ) -> Iterator[tuple[str, str]]:
        """What an external link leads to; nothing where it leads nowhere."""
        other = look_for(context, link[0], file, "HDF5_EXT_PREFIX")
        if other is None:
            return
        try:
            place = place_of(context, other, link[1])
            if place is not None:
                with context.open_h5(place[0]) as h5:
                    yield from self._item(context, place[0], open_object(h5.id, place[1]), path, seen, depth)
        except FastlegacyError:
            return  # a damaged neighbour does not hide the stacks that are there: opening its url says what is wrong


def reason(dset: Any) -> str | None:
    """Why a dataset, open by h5py's low-level calls, is taken for a stack of frames; None where it is not."""
    shape = shape_of(dset)
    if shape is None or len(shape) < 2 or 0 in shape:
        return None  # as most datasets are: of these nothing more is asked
    dtype = dset.dtype
    if dtype.kind not in "uif" or dtype.itemsize not in (1, 2, 4, 8) or dtype == "f2":
        return None
    if len(shape) >= 3 and min(shape[-2:]) > 1:
        return f"{len(shape)} axes of numbers"
    if len(shape) == 2 and min(shape) >= _SMALLEST_IMAGE:
        return "2D, large enough to be an image"
    return None


@lru_cache(maxsize=16)
def _real(file: str) -> str:
    return os.path.realpath(file)


SOURCE = DatasetSource()
