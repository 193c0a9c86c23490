# SPDX-License-Identifier: MIT
"""Filter pipelines: which filters a dataset has, and who undoes each.

bitshuffle (plain, LZ4, zstd), blosc, LZ4, shuffle and fletcher32 have kernels in ``_codec``. zstd itself is plain C
functions of hdf5plugin's libraries, deflate and bzip2 are those of the system's: the filter functions that hdf5plugin
wraps around zstd and bzip2 do not come back from a chunk that is cut short. Where the package ``deflate`` or the system
has libdeflate, deflate is undone by that, in a third of zlib's time. The other filters of hdf5plugin are undone by the
filter function that their library hands out (``H5PLget_plugin_info``, HDF5's plug-in interface). What is left goes
through h5py.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import h5py

from fastlegacy import _codec
from fastlegacy.errors import FilterError

__all__ = ["Filter", "Plan", "make_plan", "read_filters"]

BLOSC, BITSHUFFLE, ZSTD = 32001, 32008, 32015
_CODECS: dict[int, Literal["deflate", "bzip2"]] = {1: "deflate", 307: "bzip2"}
_LIBRARIES = {
    1: ("libz.so.1", "libz.1.dylib", "zlib1.dll"),
    307: ("libbz2.so.1.0", "libbz2.so.1", "libbz2.1.0.dylib", "libbz2.dll"),
}
_BUILT_IN = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset"}
_REENTRANT = frozenset({307, BLOSC, 32004, BITSHUFFLE, ZSTD, 32026})
"""bzip2, blosc, lz4, bitshuffle, zstd, blosc2: their decoders keep nothing between calls, or lock by themselves."""


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter of a dataset: its registered number, its client data, and a name for people."""

    number: int
    values: tuple[int, ...] = ()
    name: str = ""

    def __str__(self) -> str:
        if self.number == BITSHUFFLE:
            return {0: "bitshuffle", 2: "bitshuffle+lz4", 3: "bitshuffle+zstd"}.get(_compression(self), "bitshuffle")
        return self.name or f"filter {self.number}"


@dataclass(frozen=True, slots=True)
class Plan:
    """How a dataset's chunks are decoded.

    Attributes
    ----------
    pipeline : _codec.Pipeline or None
        None: through h5py.
    by : tuple of str
        For each filter, who undoes it: "kernel", "plugin" or "h5py".
    """

    pipeline: _codec.Pipeline | None
    by: tuple[str, ...]


def read_filters(dcpl: Any) -> tuple[Filter, ...]:
    """Filters of a dataset, in the order in which they were applied, from its h5py creation property list."""
    filters = []
    for i in range(dcpl.get_nfilters()):
        number, _flags, values, name = dcpl.get_filter(i)
        known = _BUILT_IN.get(number) or _plugin_names().get(number) or name.decode("utf-8", "replace")
        filters.append(Filter(number, tuple(values), known))
    return tuple(filters)


def make_plan(filters: Sequence[Filter], itemsize: int, *, file: str | None = None, dataset: str | None = None) -> Plan:
    """Find a decoder for every filter.

    Raises
    ------
    FilterError
        If not even h5py has one.
    """
    pipeline = _codec.Pipeline()
    by = tuple(_add(pipeline, f, itemsize) for f in filters)
    if "h5py" not in by:
        return Plan(pipeline, by)
    _plugin_paths()  # hdf5plugin registers its filters with HDF5 when it is imported
    for f in filters:
        if not h5py.h5z.filter_avail(f.number):
            raise FilterError(
                f"the HDF5 filter {f.number} ({f.name or 'unknown'}) is not installed here",
                file=file,
                dataset=dataset,
                hint="install its plug-in and point HDF5_PLUGIN_PATH at it; `fastlegacy doctor` lists what is there",
            )
    return Plan(None, tuple("h5py" for _ in filters))


def _add(pipeline: _codec.Pipeline, f: Filter, itemsize: int) -> str:
    """Add a filter to the pipeline; says who will undo it."""
    match f.number:
        case 1 if libdeflate():
            pipeline.add_libdeflate(*libdeflate())
        case number if number in _CODECS and codec_function(number):
            pipeline.add_codec(_CODECS[number], codec_function(number))
        case 2:
            pipeline.add_shuffle(f.values[0] if f.values else itemsize)
        case 3:
            pipeline.add_fletcher32()
        case 32001 if zstd() and (libdeflate() or codec_function(1)):
            pipeline.add_blosc(libdeflate(), codec_function(1), zstd())
        case 32015 if zstd():
            pipeline.add_zstd(*zstd())
        case 32004:
            pipeline.add_lz4()
        case 32008 if _compression(f) in (0, 2) or (_compression(f) == 3 and zstd()):
            size, block = (*f.values[2:4], 0, 0)[:2]
            compression = _compression(f)
            pipeline.add_bitshuffle(size or itemsize, block, compression, zstd() if compression == 3 else ())
        case number if plugin_function(number):
            mutex = None if number in _REENTRANT else _mutex(number)
            pipeline.add_plugin(number, plugin_function(number), f.values, mutex)
            return "plugin"
        case _:
            return "h5py"
    return "kernel"


def _compression(f: Filter) -> int:
    """What bitshuffle's filter did after it: 0 nothing, 2 LZ4, 3 zstd."""
    return f.values[4] if len(f.values) > 4 else 0


# ------------------------------------------------------------------------------------ functions in libraries


@cache
def codec_function(number: int) -> int:
    """Address of the function that decodes a whole chunk of deflate or bzip2, 0 where no library has it."""
    symbol = {1: "uncompress", 307: "BZ2_bzBuffToBuffDecompress"}[number]
    return next(iter(_functions(_libraries(number), (symbol,))), 0)


@cache
def libdeflate() -> tuple[int, int, int] | tuple[()]:
    """Addresses of libdeflate's functions that make, use and drop a decoder; empty where nobody has them."""
    symbols = ("libdeflate_alloc_decompressor", "libdeflate_zlib_decompress", "libdeflate_free_decompressor")
    spec = find_spec("deflate")
    folders = spec.submodule_search_locations or () if spec else ()
    packaged = [str(path) for folder in folders for path in sorted(Path(folder).glob("_deflate*"))]
    return _three((*packaged, "libdeflate.so.0", "libdeflate.0.dylib"), symbols)


@cache
def zstd() -> tuple[int, int, int] | tuple[()]:
    """Addresses of zstd's functions that make, use and drop a decoder; empty where hdf5plugin has them not."""
    names = [_plugin_paths()[plugin] for plugin in (BITSHUFFLE, ZSTD) if plugin in _plugin_paths()]
    return _three(names, ("ZSTD_createDCtx", "ZSTD_decompressDCtx", "ZSTD_freeDCtx"))


def _three(libraries: Iterable[str], symbols: tuple[str, str, str]) -> tuple[int, int, int] | tuple[()]:
    found = _functions(libraries, symbols)
    return (found[0], found[1], found[2]) if found else ()


def _functions(libraries: Iterable[str], symbols: Sequence[str]) -> tuple[int, ...]:
    """Addresses of functions in the first library that is there and has them all; empty where none has."""
    for name in libraries:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        found = tuple(_address(library, symbol) for symbol in symbols)
        if all(found):
            return found
    return ()


def _libraries(number: int) -> Iterator[str]:
    """Libraries that may have a codec: the system's, then that of hdf5plugin, which is imported only then."""
    yield from _LIBRARIES[number]
    if number in _plugin_paths():
        yield _plugin_paths()[number]


@cache
def plugin_function(number: int) -> int:
    """Address of the filter function of a plug-in library of hdf5plugin, 0 where there is none."""
    path = _plugin_paths().get(number)
    if path is None:
        return 0
    library = ctypes.CDLL(path)
    library.H5PLget_plugin_info.restype = ctypes.POINTER(_FilterClass)
    info = library.H5PLget_plugin_info()
    return (info.contents.filter or 0) if info and info.contents.id == number else 0


class _FilterClass(ctypes.Structure):
    """H5Z_class2_t of H5Zpublic.h."""

    _fields_ = (
        ("version", ctypes.c_int),
        ("id", ctypes.c_int),
        ("encoder_present", ctypes.c_uint),
        ("decoder_present", ctypes.c_uint),
        ("name", ctypes.c_char_p),
        ("can_apply", ctypes.c_void_p),
        ("set_local", ctypes.c_void_p),
        ("filter", ctypes.c_void_p),
    )


@cache
def _mutex(number: int) -> _codec.Mutex:
    """One for each filter number and process: what it guards is the library's own state."""
    return _codec.Mutex()


@cache
def _plugin_paths() -> dict[int, str]:
    """Filter number -> library of hdf5plugin."""
    import hdf5plugin

    paths = hdf5plugin.get_config().registered_filters
    return {number: paths[name] for name, number in hdf5plugin.FILTERS.items() if os.path.isfile(paths.get(name, ""))}


@cache
def _plugin_names() -> dict[int, str]:
    import hdf5plugin

    return {number: name for name, number in hdf5plugin.FILTERS.items()}


def _address(library: ctypes.CDLL, symbol: str) -> int:
    try:
        return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0
