# SPDX-License-Identifier: MIT
"""Names for filter pipelines, and what h5py must be told to write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["filter_arguments", "filter_names"]

_H5PY: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "scaleoffset": {"scaleoffset": 0},
    "shuffle": {"shuffle": True},
    "gzip": {"compression": "gzip", "compression_opts": 2},
    "lzf": {"compression": "lzf"},
    "szip": {"compression": "szip"},
    "fletcher32": {"fletcher32": True},
}

_PLUGINS: Mapping[str, Callable[[Any], Mapping[str, Any]]] = {
    "bslz4": lambda h: h.Bitshuffle(cname="lz4"),
    "bslz4-block64": lambda h: h.Bitshuffle(nelems=64, cname="lz4"),
    "bslz4-block2048": lambda h: h.Bitshuffle(nelems=2048, cname="lz4"),
    "bitshuffle": lambda h: h.Bitshuffle(cname="none"),
    "bszstd": lambda h: h.Bitshuffle(cname="zstd", clevel=3),
    "lz4": lambda h: h.LZ4(),
    "lz4-block4096": lambda h: h.LZ4(nbytes=4096),
    "zstd": lambda h: h.Zstd(clevel=3),
    "blosc-lz4": lambda h: h.Blosc(cname="lz4", clevel=5, shuffle=h.Blosc.SHUFFLE),
    "blosc-zstd-bitshuffle": lambda h: h.Blosc(cname="zstd", clevel=3, shuffle=h.Blosc.BITSHUFFLE),
    "blosc-zlib": lambda h: h.Blosc(cname="zlib", clevel=3, shuffle=h.Blosc.NOSHUFFLE),
    "blosc2-zstd": lambda h: h.Blosc2(cname="zstd", clevel=3),
    "bzip2": lambda h: h.BZip2(blocksize=2),
    "zfp-reversible": lambda h: h.Zfp(reversible=True),
    "sz": lambda h: h.SZ(absolute=0.01),
    "sz3": lambda h: h.SZ3(absolute=0.01),
    "sperr": lambda h: h.Sperr(rate=8.0),
    "fcidecomp": lambda h: h.FciDecomp(),
}

_COMBINATIONS = (
    "shuffle+gzip",
    "gzip+fletcher32",
    "shuffle+gzip+fletcher32",
    "shuffle+lzf",
    "shuffle+lz4",
    "shuffle+zstd",
    "bslz4+fletcher32",
)

_ONLY_DTYPES: Mapping[str, frozenset[str]] = {
    "scaleoffset": frozenset({"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8"}),
    "szip": frozenset({"u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"}),
    "zfp-reversible": frozenset({"i4", "i8", "f4", "f8"}),
    "sz": frozenset({"f4", "f8"}),
    "sz3": frozenset({"f4", "f8"}),
    "sperr": frozenset({"f4", "f8"}),
    "fcidecomp": frozenset({"u1", "u2", "i1", "i2"}),
}

_LITTLE_ENDIAN_ONLY = frozenset({"zfp-reversible", "sz", "sz3", "sperr", "fcidecomp"})


def filter_names(dtype: DTypeLike | None = None) -> list[str]:
    """Names of pipelines for `filter_arguments`; with a dtype, those that can hold it on this machine.

    A filter that h5py's HDF5 was built without (szip, in some builds) is left out.
    """
    import h5py

    names = [*_H5PY, *_PLUGINS, *_COMBINATIONS]
    if not (h5py.h5z.filter_avail(h5py.h5z.FILTER_SZIP) and "szip" in h5py.filters.encode):
        names.remove("szip")
    if dtype is None:
        return names
    dtype = np.dtype(dtype)
    code = dtype.str[1:]
    swapped = dtype.newbyteorder("<") != dtype
    return [
        name
        for name in names
        if code in _ONLY_DTYPES.get(name, {code}) and not (swapped and name in _LITTLE_ENDIAN_ONLY)
    ]


def filter_arguments(name: str) -> dict[str, Any]:
    """Keyword arguments for h5py's ``create_dataset`` that write a filter pipeline.

    Parameters
    ----------
    name : str
        One name of `filter_names`, or several joined by ``+``. h5py's order is fixed, whatever the order of the
        names: scaleoffset, shuffle, compression, fletcher32.

    Raises
    ------
    ValueError
        If nothing has this name.
    """
    arguments: dict[str, Any] = {}
    for part in name.split("+"):
        if part in _H5PY:
            arguments |= _H5PY[part]
        elif part in _PLUGINS:
            import hdf5plugin

            arguments |= dict(_PLUGINS[part](hdf5plugin))
        else:
            raise ValueError(f"no filter is called {part!r}; known are {', '.join([*_H5PY, *_PLUGINS])}")
    return arguments
