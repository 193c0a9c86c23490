# SPDX-License-Identifier: MIT
"""The plainest convention: any dataset of numbers whose last two axes are an image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import h5py

from fastlegacy.errors import FastlegacyError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import look_for
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
            for name, why in self._walk(context, file, h5["/"], "", set(), 0):
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
        for name in group:
            link = group.get(name, getlink=True)
            path = f"{at}/{name}"
            if isinstance(link, h5py.ExternalLink):
                yield from self._elsewhere(context, file, link, path, seen, depth)
            elif isinstance(link, h5py.HardLink):
                yield from self._item(context, group[name], path, seen, depth)

    def _item(self, context: Context, item: Any, path: str, seen: set[Any], depth: int) -> Iterator[tuple[str, str]]:
        """What is found at a group or dataset, the first time that it is reached."""
        file = _real(item.file.filename)  # links may have led through several files
        key = (file, h5py.h5o.get_info(item.id).addr)
        if key in seen:
            return
        seen.add(key)
        if isinstance(item, h5py.Group):
            yield from self._walk(context, file, item, path, seen, depth + 1)
        elif why := reason(item):
            yield path, why

    def _elsewhere(
        self, context: Context, file: str, link: Any, path: str, seen: set[Any], depth: int
    ) -> Iterator[tuple[str, str]]:
        """What an external link leads to; nothing where it leads nowhere."""
        other = look_for(context, link.filename, file, "HDF5_EXT_PREFIX")
        if other is None:
            return
        try:
            with context.open_h5(other) as h5:
                item = h5.get(link.path)
                if item is not None:
                    yield from self._item(context, item, path, seen, depth)
        except FastlegacyError:
            return  # a damaged neighbour does not hide the stacks that are there: opening its url says what is wrong


def reason(dset: Any) -> str | None:
    """Why a dataset is taken for a stack of frames, or None where it is not."""
    shape = dset.shape if isinstance(dset, h5py.Dataset) else None
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
