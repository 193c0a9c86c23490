# SPDX-License-Identifier: MIT
"""The functions of ``import fastlegacy``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlegacy.errors import FilterError, LayoutError
from fastlegacy.faces.beside import require_made
from fastlegacy.faces.choices import layouts_of
from fastlegacy.faces.headers import NAMES, Headers, said
from fastlegacy.faces.recipe import MaskLike, Recipe, mask_classes
from fastlegacy.faces.wanted import Wanted
from fastlegacy.geometry.read import over
from fastlegacy.hdf5.files import default_context
from fastlegacy.hdf5.filters import BITSHUFFLE, Filter, make_plan
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.virtual import Missing
from fastlegacy.index.folder import Folder
from fastlegacy.index.store import cache_folder
from fastlegacy.index.template import Place, Template
from fastlegacy.index.tree import Tree
from fastlegacy.model import Layout, StackInfo
from fastlegacy.registry import plugins
from fastlegacy.sources.array import ArrayStack
from fastlegacy.sources.find import find_stacks, open_stack

if TYPE_CHECKING:
    from fastlegacy.faces.collection import Collection

__all__ = ["collection", "decode", "encode", "formats", "open", "sparse", "stacks", "tree"]

FilterSpec = str | int | tuple[int, Sequence[int]]

_PIXELS = ("mask", "mask_value", "saturate", "dtype", "transpose", "flip_ud", "flip_lr", "rotation_deg", "binning")


def open(
    url: str | os.PathLike[str],
    dataset: str | None = None,
    *,
    missing: Missing = "error",
    memory_bytes: int | None = None,
) -> Stack:
    """Open a stack of frames.

    Parameters
    ----------
    url : str or path
        ``file.h5::/path``, ``file.h5?path=/path&slice=0:10``, or the file alone: then with ``dataset``, or, where there
        is only one stack in the file, without.
    dataset : str, optional
        Path of the dataset in the file, taken as it is.
    missing : {"error", "fill"}
        What to do about source files that a virtual dataset names and that are not there: refuse, or show its fill
        value for their pixels as HDF5 does.
    memory_bytes : int, optional
        From now on the caches of this process together keep at most this much.

    Returns
    -------
    Stack
        A sequence of 2D arrays, decoded when they are asked for.

    Raises
    ------
    UrlError, SourceError, NotAStackError, FilterError

    Examples
    --------
    >>> import fastlegacy
    >>> with fastlegacy.open("scan.h5::/1.1/measurement/eiger") as stack:  # doctest: +SKIP
    ...     stack[7].max()
    """
    if memory_bytes is not None:
        default_context().cache.max_bytes = memory_bytes
    return open_stack(url, dataset, missing=missing)


def stacks(path: str | os.PathLike[str]) -> list[StackInfo]:
    """List the stacks of a file, or of all HDF5 files in a folder and below.

    Raises
    ------
    SourceError
        If the file is missing or cannot be read.
    """
    return list(find_stacks(path))


def sparse(
    stack: Stack,
    frame: int,
    cut: float = 0,
    mask: MaskLike = None,
    out: tuple[NDArray[np.uint32], NDArray[Any]] | None = None,
) -> tuple[NDArray[np.uint32], NDArray[Any]]:
    """The pixels of a frame that are above a cut: indices ``y * nx + x``, and values. The frame itself is never made.

    Parameters
    ----------
    stack : Stack
    frame : int
    cut : number
        Pixels that are larger are found.
    mask : array (ny, nx), str, path or None
        Pixels where an array is not 0 are left out. Otherwise as in :func:`tree`; then it is read again for each
        frame, so that for many frames an array is the better choice.
    out : (indices, values), optional
        Memory for ny * nx + 1 elements each, uint32 and the stack's dtype; it can be used for frame after frame.

    Returns
    -------
    indices : ndarray of uint32, ascending
    values : ndarray of the stack's dtype

    Raises
    ------
    IndexError
        If there is no such frame.
    SourceError, DecodeError
        If its bytes cannot be read, or are damaged.

    Examples
    --------
    >>> import fastlegacy
    >>> with fastlegacy.open("scan.h5::/1.1/measurement/eiger") as stack:  # doctest: +SKIP
    ...     indices, values = fastlegacy.sparse(stack, 7, cut=10)
    ...     rows, columns = divmod(indices, stack.shape[2])
    """
    bad = mask if mask is None or isinstance(mask, np.ndarray) else mask_classes(mask, stack)
    return stack.sparse(frame, cut, bad, out)


def formats() -> dict[str, Layout]:
    """All legacy formats by name."""
    return plugins("fastlegacy.layouts", "LAYOUT")


def tree(
    stack: Stack | ArrayStack,
    format: str | Iterable[str] = "edf",
    stem: str = "data",
    *,
    first: int = 1,
    mask: MaskLike = "auto",
    mask_value: float | None = None,
    saturate: str | None = None,
    dtype: object | None = None,
    transpose: bool = False,
    flip_ud: bool = False,
    flip_lr: bool = False,
    rotation_deg: int = 0,
    binning: int = 1,
    options: Mapping[str, object] | None = None,
    companions: Sequence[str] | None = None,
    remember_sizes: bool = False,
    **geometry: Any,
) -> Tree | Folder:
    """The legacy files of a stack: a mapping of names to virtual files.

    Parameters
    ----------
    stack : Stack
    format : str, or several
        Names of ``fastlegacy formats``: ``"edf"``, ``"edf,cbf"`` or ``["edf", "cbf"]``. The files of several formats
        are in folders of their names.
    stem : str
        What names start with: ``data`` gives ``data0001.edf``, ``data0002.edf``, ...
    first : int
        Number of the first file.
    mask : str, path, array (ny, nx) or None
        ``"auto"``: that of the HDF5 file, where there is one. ``"none"`` or None: none. Else ``file.h5::/path``, an
        image that fabio reads, or an array: the bits of NXmx's ``pixel_mask``, or truth values; as stored, whatever
        way the frames are turned.
    mask_value : number, optional
        What masked pixels become; by default as the format wants.
    saturate : {"clip", "keep", "error"}, optional
        What valid pixels become that are too large for the file: its largest number, their lowest bits, an error.
    dtype : dtype, optional
        Type of the pixels in the files, for formats that can hold several.
    transpose, flip_ud, flip_lr : bool
    rotation_deg : {0, 90, 180, 270}
        How images are turned, in this order; counter-clockwise, as ``numpy.rot90``.
    binning : int
        Squares of so many pixels along each side become one pixel, their sum.
    options : mapping, optional
        Options of the formats: name -> value; ``"cbf:md5"`` is the option of one of several formats.
    companions : sequence of str, optional
        Small files that are shown beside the frames; by default those that the format's programs want, as far as
        enough is known for them.
    remember_sizes : bool
        Where sizes depend on the pixels: keep those that were measured in the user's cache folder, for the next time.
    **geometry
        Values for the headers, named as the attributes of ``Geometry``: ``start_deg``, ``step_deg``, ``exposure_s``,
        ``wavelength_angstrom``, ``distance_m``, ``beam_x_px``, ``motors``, ... They are those of the stored frames.

    Returns
    -------
    Tree or Folder
        A Folder where there are several formats.

    Raises
    ------
    LayoutError
        If there is no such format, or it cannot hold this stack.
    UrlError
        If an option, the mask, or another choice is not possible.
    TypeError
        If a value for the headers has an unknown name, or ``stack`` is a url.
    """
    if isinstance(stack, str | os.PathLike):
        raise TypeError(f"tree() takes a stack: tree(fastlegacy.open({os.fspath(stack)!r}), ...)")
    recipe = Recipe.of(
        format,
        first=first,
        mask=mask,
        mask_value=mask_value,
        saturate=saturate,
        dtype=dtype,
        transpose=transpose,
        flip_ud=flip_ud,
        flip_lr=flip_lr,
        rotation_deg=rotation_deg,
        binning=binning,
        options=options,
        companions=companions,
        remember_sizes=remember_sizes,
    )
    if geometry:
        stack = stack.with_geometry(over(said(geometry, "the caller"), stack.geometry))
    view = recipe.view(stack)
    trees = {name: recipe.tree(view, name, Place((), stem), exact=False) for name in recipe.layouts}
    recipe.add_companions(list(trees.values()))
    require_made(list(trees.values()), companions)
    return Folder(trees) if len(trees) > 1 else next(iter(trees.values()))


def collection(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    format: str | Iterable[str] = "edf",
    *,
    name: str | None = None,
    stem: str | None = None,
    scans: Sequence[str] = (),
    detectors: Sequence[str] = (),
    thresholds: Sequence[int] = (),
    frames: slice | None = None,
    missing: Missing = "error",
    follow: bool = False,
    side_file: str | os.PathLike[str] | None = None,
    omega_motor: str = "",
    headers: Mapping[str, Any] | None = None,
    remember: bool = False,
    **choices: Any,
) -> Collection:
    """All stacks of files and folders as legacy files, each opened when its files are looked for.

    Parameters
    ----------
    sources : path, or several
        Urls of datasets, HDF5 files, and folders with such files.
    format : str, or several
    name : str, optional
        Template of the files' names and folders, such as ``"{scan}/{detector}_####"``; docs/tree.md tells all of it.
    stem : str, optional
        What stands for ``{stem}``; by default the name of the HDF5 file.
    scans, detectors : sequence of str
        Names, or patterns as a shell has them, of those that are wanted.
    thresholds : sequence of int
        Channels of detectors with several thresholds, counted from 1.
    frames : slice, optional
        Of each stack.
    missing : {"error", "fill"}
        See :func:`open`.
    follow : bool
        ``Collection.poll`` looks for scans and frames that are being written.
    side_file : path, optional
        A file with the geometry; by default ``fastlegacy.toml`` beside the HDF5 file.
    omega_motor : str
        Name of the motor that turns the sample.
    headers : mapping, optional
        Values for the headers, by the attributes of ``Geometry``.
    remember : bool
        Keep what was learnt of the files, and measured sizes, in the user's cache folder.
    **choices
        For pixels and formats: ``first``, ``reverse``, ``mask``, ``binning``, ``options``, ``companions``, ... as in
        :func:`tree`.

    Returns
    -------
    Collection
        Its ``root`` maps paths to virtual files. Close it, or use it with ``with``.

    Raises
    ------
    FastlegacyError
        If a source is not there, holds no stack, or cannot be shown so.

    Examples
    --------
    >>> with fastlegacy.collection("RAW_DATA", "cbf", scans=["1.1"]) as all_scans:  # doctest: +SKIP
    ...     print(list(all_scans.root.children))
    """
    from fastlegacy.faces.collection import Collection

    given = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    return Collection(
        [os.fspath(source) for source in given],
        Recipe.of(format, remember_sizes=remember, **choices),
        wanted=Wanted(tuple(scans), tuple(detectors), tuple(thresholds), frames),
        template=None if name is None else Template(name),
        stem=stem,
        headers=Headers(dict(headers or {}), None if side_file is None else os.fspath(side_file), omega_motor),
        missing=missing,
        follow=follow,
        memory=cache_folder() if remember else None,
    )


def encode(
    array: ArrayLike, format: str, *, url: str = "array", mtime_ns: int = 0, stem: str = "data", **header: Any
) -> bytes:
    """The bytes of a legacy file with these pixels: those that a mount shows for the same stack.

    Parameters
    ----------
    array : array (ny, nx), or (n, ny, nx) for formats with one file for the whole stack
    format : str
        A name of ``fastlegacy formats``.
    url : str
        What headers call the source of the pixels.
    mtime_ns : int
        The time of the source, nanoseconds since 1970, for headers without another.
    stem : str
        What the file's name starts with, for headers that hold it.
    **header
        Values for the header, choices for pixels, and the options of the format, by the names that they have in
        :func:`tree`: ``exposure_s=0.1, mask_value=0, md5=True``.

    Raises
    ------
    LayoutError
        If there is no such format, or it cannot hold this.
    NotAStackError
        If the array is no image, or its pixels are no numbers of 1 to 8 bytes.
    TypeError
        If a value has an unknown name.

    Examples
    --------
    >>> import fastlegacy, numpy
    >>> data = fastlegacy.encode(numpy.zeros((4, 6), "u2"), "edf", exposure_s=0.1)
    >>> data[:1], len(data) % 512
    (b'{', 48)
    """
    ((name, layout),) = _only(layouts_of(format)).items()
    known = {*NAMES, *_PIXELS, "options", *layout.options}
    if unknown := sorted(set(header) - known):
        raise TypeError(f"{unknown[0]!r} is no value of the format {name}; there are {', '.join(sorted(known))}")
    options = {**header.pop("options", {})}
    options |= {key: header.pop(key) for key in list(header) if key in layout.options and key not in NAMES}
    stack = ArrayStack(array, url=url, mtime_ns=mtime_ns)
    if layout.per_frame and len(stack) != 1:
        raise LayoutError(
            f"the format {name} has one file for each frame, and there are {len(stack)}",
            file=url,
            hint="encode them one by one",
        )
    files = tree(stack, name, stem, options=options, companions=(), **header)
    return next(iter(files.values())).read()


def _only(layouts: dict[str, Layout]) -> dict[str, Layout]:
    if len(layouts) != 1:
        raise LayoutError(f"{', '.join(layouts)} are several formats", hint="encode them one by one")
    return layouts


def decode(
    chunk: bytes | bytearray | memoryview | NDArray[Any],
    *,
    shape: Sequence[int],
    dtype: ArrayLike | str | type | np.dtype[Any],
    filters: Sequence[FilterSpec] = ("bitshuffle+lz4",),
    filter_mask: int = 0,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Decode one chunk as HDF5 stores it (what h5py's ``read_direct_chunk`` gives).

    Parameters
    ----------
    chunk : bytes-like
    shape : sequence of int
        Of the chunk.
    dtype : dtype
        Of its elements.
    filters : sequence
        In the order in which they were applied: numbers of HDF5 filters, (number, client data values), or names:
        "bitshuffle", "bitshuffle+lz4", "bitshuffle+zstd", "deflate", "shuffle", "fletcher32", "lz4", "zstd", ...
    filter_mask : int
        Bit i is set where filter i was skipped.
    out : ndarray, C-contiguous, optional
        Memory to decode into, of this shape and dtype.

    Returns
    -------
    ndarray

    Raises
    ------
    DecodeError
        If the bytes are damaged.
    FilterError
        If a filter is unknown, or can only be undone by HDF5 itself.
    """
    wanted = np.dtype(dtype)  # type: ignore[arg-type]
    specs = [_filter(spec, wanted.itemsize) for spec in filters]
    plan = make_plan(specs, wanted.itemsize)
    if plan.pipeline is None:
        raise FilterError(
            f"{', '.join(map(str, specs))}: only HDF5 itself can undo this",
            hint="read the dataset with fastlegacy.open",
        )
    if out is None:
        out = np.empty(tuple(shape), wanted)
    if out.shape != tuple(shape) or out.dtype != wanted or not out.flags.c_contiguous:
        raise ValueError(f"out has to be a C-contiguous array of shape {tuple(shape)} and dtype {wanted}")
    plan.pipeline.decode(np.frombuffer(chunk, np.uint8), out.reshape(-1).view(np.uint8), filter_mask)
    return out


def _filter(spec: FilterSpec, itemsize: int) -> Filter:
    if isinstance(spec, tuple):
        return Filter(spec[0], tuple(spec[1]), f"filter {spec[0]}")
    if isinstance(spec, int):
        return _filter_by_number(spec, itemsize)
    compressions = {"bitshuffle": 0, "bitshuffle+lz4": 2, "bitshuffle+zstd": 3}
    if spec in compressions:
        return Filter(BITSHUFFLE, (0, 2, itemsize, 0, compressions[spec]), spec)
    import hdf5plugin

    numbers = {"deflate": 1, "gzip": 1, "shuffle": 2, "fletcher32": 3, **hdf5plugin.FILTERS}
    if spec not in numbers:
        raise FilterError(f"there is no filter {spec!r}", hint=f"there are {', '.join([*compressions, *numbers])}")
    return _filter_by_number(numbers[spec], itemsize)


def _filter_by_number(number: int, itemsize: int) -> Filter:
    values = {2: (itemsize,), BITSHUFFLE: (0, 2, itemsize, 0, 2)}.get(number, ())
    return Filter(number, values, f"filter {number}")
