# SPDX-License-Identifier: MIT
"""Groups and datasets by h5py's low-level calls: in, an open group and a name; out, links, shapes and numbers.

Who indexes a proposal looks at ten thousands of objects: h5py's own ``Group`` and ``Dataset`` take ten times as long.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from h5py import h5, h5d, h5g, h5l, h5o, h5p, h5s, h5t
from numpy.typing import NDArray

__all__ = [
    "EXTERNAL",
    "HARD",
    "SOFT",
    "LinkKind",
    "as_bytes",
    "as_str",
    "is_written",
    "link_kind",
    "link_target",
    "members",
    "numbers",
    "open_object",
    "series_shape",
    "shape_of",
    "short_list",
]

LinkKind = int
HARD: LinkKind = h5l.TYPE_HARD
SOFT: LinkKind = h5l.TYPE_SOFT
EXTERNAL: LinkKind = h5l.TYPE_EXTERNAL

_NUMBERS = (h5t.INTEGER, h5t.FLOAT)


def as_bytes(name: str) -> bytes:
    """A name as HDF5 wants it."""
    return name.encode("utf-8", "surrogateescape")


def as_str(name: bytes) -> str:
    """A name of HDF5."""
    return name.decode("utf-8", "surrogateescape")


def open_object(group: Any, path: str) -> Any:
    """What stands at a path below a group; what h5py raises where there is nothing."""
    return h5o.open(group, as_bytes(path))


def members(group: Any) -> list[tuple[str, LinkKind]]:
    """Names in a group in the order in which h5py lists them, and what kind of link each is; of a dataset none."""
    found: list[tuple[str, LinkKind]] = []
    if isinstance(group, h5g.GroupID):
        tracked = group.get_create_plist().get_link_creation_order() & h5p.CRT_ORDER_TRACKED
        index = h5.INDEX_CRT_ORDER if tracked else h5.INDEX_NAME
        group.links.iterate(lambda name, info: found.append((as_str(name), info.type)), idx_type=index, info=True)
    return found


def link_kind(group: Any, path: str) -> LinkKind | None:
    """What the last name of a path is; None where there is none. Links before it are followed by HDF5."""
    try:
        return int(group.links.get_info(as_bytes(path)).type)
    except (KeyError, RuntimeError, ValueError):
        return None


def link_target(group: Any, path: str) -> tuple[str, str]:
    """What a soft or an external link names: (file, path); the file is empty for a soft one."""
    value = group.links.get_val(as_bytes(path))
    if isinstance(value, tuple):
        return as_str(value[0]), as_str(value[1])
    return "", as_str(value)


def shape_of(thing: Any) -> tuple[int, ...] | None:
    """Shape of a dataset; None where something else stands there, or a dataset without a value."""
    if not isinstance(thing, h5d.DatasetID):
        return None
    space = thing.get_space()
    if space.get_simple_extent_ndims() == 0:
        return None if space.get_simple_extent_type() == h5s.NULL else ()
    return tuple(space.get_simple_extent_dims())


def series_shape(thing: Any) -> tuple[int, ...] | None:
    """Shape of a series of images: numbers of three axes or more; None for everything else."""
    shape = shape_of(thing)
    if shape is None or len(shape) < 3 or 0 in shape or min(shape[-2:]) < 2:
        return None
    dtype = thing.dtype
    return shape if dtype.kind in "uif" and dtype.itemsize in (1, 2, 4, 8) and dtype != "f2" else None


def numbers(dset: Any, shape: tuple[int, ...]) -> NDArray[np.float64] | None:
    """All of a dataset as float64; None where these are no integers or floats.

    Of single precision, the shortest decimals that the numbers stand for: 7.5e-05.
    """
    kind = dset.get_type()
    if kind.get_class() not in _NUMBERS:
        return None
    single = kind.get_class() == h5t.FLOAT and kind.get_size() == 4
    data = np.empty(shape, "f4" if single else "f8")
    if data.size:
        dset.read(h5s.ALL, h5s.ALL, data, mtype=h5t.NATIVE_FLOAT if single else h5t.NATIVE_DOUBLE)
    return data.astype("U32").astype(np.float64) if single else data


def short_list(group: Any, name: str, lengths: Collection[int]) -> NDArray[np.float64] | None:
    """A list of numbers, or a number alone (length 1, no axis), of one of these lengths; None for all else."""
    dset = h5o.open(group, as_bytes(name))
    if not isinstance(dset, h5d.DatasetID):
        return None
    space = dset.get_space()
    axes, count = space.get_simple_extent_ndims(), space.get_simple_extent_npoints()
    return numbers(dset, (count,) * axes) if axes < 2 and count in lengths else None


def is_written(dset: Any) -> bool:
    """Tell whether every chunk of a dataset was written; without chunks, whether there is room for it in the file."""
    properties = dset.get_create_plist()
    if properties.get_layout() != h5d.CHUNKED:
        return bool(dset.get_space_status() == h5d.SPACE_STATUS_ALLOCATED)
    shape = shape_of(dset) or ()
    chunks = math.prod(-(-size // length) for size, length in zip(shape, properties.get_chunk(), strict=True))
    return bool(dset.get_num_chunks() >= chunks)
