# SPDX-License-Identifier: MIT
"""Detector masks: in, the url of a dataset or the name of a mask; out, for each pixel whether it is valid, gap or bad.

What the numbers of a mask mean is NXmx's ``pixel_mask`` (https://manual.nexusformat.org, NXdetector): bit 0 is a gap, a
place without a detector; bits 1 to 15 are dead, under- or over-responding, noisy, clustered and user-masked pixels;
higher bits do not make a pixel invalid (31: interpolated). Masks of truth values or floating-point numbers say gap.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlegacy.errors import FastlegacyError, UrlError
from fastlegacy.hdf5.files import Context, default_context
from fastlegacy.hdf5.links import find_file, locate
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl, parse_url

__all__ = ["Mask", "classes_of", "find_mask", "mask_of", "read_mask"]

_log = logging.getLogger("fastlegacy.masks")

GAP, BAD = 1, 2
_MOST_PLANES = 8
_MOST_GROUPS = 1024
_DEEPEST = 4  # virtual datasets over virtual datasets
_BELOW_A_DETECTOR = ("detectorSpecific", "detector_information")

_Place = tuple[str, str]
"""A file, and a path in it."""

# what h5py raises where a file is damaged, or a link leads nowhere
_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError)


@dataclass(frozen=True, slots=True)
class Mask:
    """Which pixels of a detector can be used.

    Attributes
    ----------
    classes : ndarray of uint8, shape (ny, nx)
        0: valid, 1: gap, 2: bad; in the orientation as stored.
    where : str
        File, or file and dataset, that it was read from.
    """

    classes: NDArray[np.uint8]
    where: str

    @property
    def gaps(self) -> int:
        """How many pixels are gaps."""
        return int(np.count_nonzero(self.classes == GAP))

    @property
    def bad(self) -> int:
        """How many pixels are bad."""
        return int(np.count_nonzero(self.classes == BAD))


def classes_of(mask: NDArray[Any]) -> NDArray[np.uint8]:
    """Return 0 (valid), 1 (gap) or 2 (bad) for each number of a mask, by the bits of NXmx; see the module."""
    if mask.dtype.kind not in "iu":
        masked: NDArray[np.uint8] = (mask != 0).astype(np.uint8)
        return masked
    bits = mask.astype(np.uint16)  # the lowest ones, also of signed and of larger numbers
    classes: NDArray[np.uint8] = (bits != 0).view(np.uint8) * np.uint8(BAD) - (bits & 1).astype(np.uint8)
    return classes


# ---------------------------------------------------------------------------------------------------- by its name


def read_mask(text: str | os.PathLike[str], shape: tuple[int, int], context: Context | None = None) -> Mask:
    """Read the mask that the user names.

    Parameters
    ----------
    text : str or path
        ``file.h5::/path`` of a mask in an HDF5 file, or an image file that fabio reads (EDF, TIFF, CBF, npy, ...). In
        an image all pixels that are not 0 are masked.
    shape : tuple of int
        (ny, nx) of the frames, as stored.

    Raises
    ------
    UrlError
        If it cannot be read as a mask, or has another shape.
    SourceError, NotAStackError, DecodeError
        If the HDF5 file cannot be read, or has no such dataset.
    """
    named = parse_url(text)
    context = context or default_context()
    if named.dataset is not None:
        where = str(named)
        mask = _one_plane(_planes(context, named, where), where)
        return Mask(classes_of(_fitting(mask, shape, where)), where)
    # through a mount that covers the file, who serves it would wait for itself
    there = context.real_path(os.path.abspath(named.file))
    if os.path.isfile(there) and h5py.is_hdf5(there):
        hint = f"add the mask's path, such as {named.file}::/entry/instrument/detector/pixel_mask"
        raise UrlError("names an HDF5 file, not a mask in it", file=named.file, hint=hint)
    image = _fitting(_read_image(named.file, there), shape, named.file)
    classes = classes_of(image)
    classes[(classes == 0) & (image != 0)] = BAD  # bits that NXmx does not count: whoever draws a mask means it
    return Mask(classes, named.file)


def mask_of(array: ArrayLike, shape: tuple[int, int]) -> Mask:
    """Return an array (ny, nx) as a mask: integers by the bits of NXmx, truth values and other numbers as gaps.

    Raises
    ------
    UrlError
        If it has another shape than the frames, (ny, nx) as stored.
    """
    where = "an array"
    return Mask(classes_of(_fitting(np.asarray(array), shape, where)), where)


def _read_image(file: str, there: str) -> NDArray[Any]:
    import fabio

    try:
        with fabio.open(there) as image:
            frames, data = image.nframes, np.asarray(image.data)
    except Exception as exc:  # fabio's readers raise whatever they stumble over
        hint = "name an image file that fabio reads, or file.h5::/path/of/the/mask"
        raise UrlError(f"cannot be read as a mask: {exc}", file=file, hint=hint) from exc
    if frames != 1:
        raise UrlError(f"has {frames} images, and a mask is one", file=file, hint="save the mask alone")
    return data


def _fitting(mask: NDArray[Any], shape: tuple[int, int], where: str) -> NDArray[Any]:
    """The mask, if it has the shape of the frames."""
    if mask.shape == shape:
        return mask
    hint = "a mask has as many rows and columns as the frames"
    if mask.shape == shape[::-1]:
        hint = "masks are given in the orientation of the stored frames, whatever way these are turned"
    raise UrlError(f"the mask has the shape {mask.shape}, and the frames have {shape}", file=where, hint=hint)


def _planes(context: Context, named: DataUrl, where: str) -> NDArray[Any]:
    """The planes (n, ny, nx) of a mask in an HDF5 file; as a rule there is one."""
    assert named.dataset is not None
    file, path = locate(context, named.file, named.dataset)
    with context.open_h5(file) as h5:
        dset = h5[path]
        if isinstance(dset, h5py.Dataset) and dset.dtype.kind == "b":
            selected = dset[()] if named.selection is None else dset[named.selection]
            return np.asarray(selected).reshape(-1, *selected.shape[-2:])
    with Stack(named, context=context) as stack:
        if len(stack) > _MOST_PLANES:
            raise UrlError(
                f"has {len(stack)} planes: masks that differ from frame to frame cannot be used",
                file=where,
                hint="choose one by ?path=...&slice=0",
            )
        return stack.read_frames(0, len(stack))


def _one_plane(planes: NDArray[Any], where: str) -> NDArray[Any]:
    return planes[0] if len(planes) == 1 or (planes == planes[0]).all() else _united(list(planes), where)


def _united(masks: list[NDArray[Any]], where: str) -> NDArray[np.uint8]:
    _log.warning("%s: %d masks that differ; a pixel that one of them masks is masked", where, len(masks))
    return classes_of(np.bitwise_or.reduce([classes_of(mask) for mask in masks]))


# ---------------------------------------------------------------------------------------------------- in the file


def find_mask(url: str | os.PathLike[str] | DataUrl | _Place, context: Context | None = None) -> Mask | None:
    """Look where HDF5 files keep the mask of a detector, for a dataset with its frames.

    That is ``pixel_mask`` (or ``mask``) beside the dataset, and in the groups of the detector, ``detectorSpecific`` and
    the channels of the threshold: going up from the place that the url names, then from the one that links lead to,
    then from the first source of a virtual dataset. Of several detectors that one counts whose name is in the path.

    Parameters
    ----------
    url : str, path, DataUrl or (file, dataset)
        As for a stack. What it selects of rows and columns is selected of the mask.
    context : Context, optional

    Returns
    -------
    Mask or None
        None where there is none that fits. What is there and cannot be read is a warning.
    """
    named = DataUrl(*url) if isinstance(url, tuple) else url if isinstance(url, DataUrl) else parse_url(url)
    if named.dataset is None:
        raise UrlError("names a file, not a dataset in it", file=named.file, hint="add ::/path/of/dataset")
    context = context or default_context()
    with context.no_h5_left():
        return _find(context, named)


def _find(context: Context, named: DataUrl) -> Mask | None:
    assert named.dataset is not None
    own = os.path.abspath(named.file), named.dataset
    file, path = locate(context, *own)
    with context.open_h5(file) as h5:
        shape: tuple[int, ...] = getattr(h5[path], "shape", None) or ()
    if len(shape) < 2:
        return None
    search = _Search(context, (shape[-2], shape[-1]), {own, (file, path)})
    for place in _places(context, own):
        try:
            mask = search.at(place)
        except (FastlegacyError, *_HDF5_ERRORS) as exc:
            _log.warning("%s: no mask was looked for: %s", "::".join(place), exc)
            continue
        if mask is not None:
            _log.info("%s: %d gaps and %d bad pixels", mask.where, mask.gaps, mask.bad)
            return mask if named.selection is None else Mask(_selected(mask.classes, shape, named), mask.where)
    return None


def _places(context: Context, own: _Place) -> Iterator[_Place]:
    """Where the dataset is: as it was named, as links lead to it, and its first source for each level of virtuality."""
    yield own
    try:
        for _ in range(_DEEPEST):
            there = locate(context, *own)
            if there != own:
                yield there
            source = _first_source(context, there)
            if source is None:
                return
            own = source
            yield own
    except (FastlegacyError, *_HDF5_ERRORS) as exc:
        _log.debug("no further place to look for a mask: %s", exc)


def _first_source(context: Context, place: _Place) -> _Place | None:
    file, path = place
    with context.open_h5(file) as h5:
        dset = h5[path]
        properties = dset.id.get_create_plist() if dset.is_virtual else None
        if properties is None or properties.get_virtual_count() == 0:
            return None
        name, source = properties.get_virtual_filename(0), properties.get_virtual_dsetname(0)
    if "%b" in name:
        return None
    return (file if name == "." else find_file(context, name, file, "HDF5_VDS_PREFIX", source)), source


def _selected(classes: NDArray[np.uint8], shape: tuple[int, ...], named: DataUrl) -> NDArray[np.uint8]:
    """The classes of the pixels that a url selects: the mask is the same along all leading axes."""
    selected = np.broadcast_to(classes, shape)[named.selection]
    return np.ascontiguousarray(selected[(0,) * (selected.ndim - 2)])


class _Search:
    """Looks for masks of one shape (ny, nx)."""

    def __init__(self, context: Context, shape: tuple[int, int], frames: set[_Place]) -> None:
        self._context = context
        self._shape = shape
        self._names: set[str] = set()
        self._seen: set[_Place] = set(frames)  # a mask may be looked at as well, but not through itself

    def at(self, place: _Place) -> Mask | None:
        """The mask nearest to a dataset."""
        file, path = place
        parts = path.strip("/").split("/")
        self._names.update(parts)
        for depth in range(len(parts) - 1, -1, -1):
            group = self._group(file, "/" + "/".join(parts[:depth]))
            if group is None or group in self._seen:
                continue
            self._seen.add(group)
            mask = self._beside(group, near=depth == len(parts) - 1) or self._of_instrument(group)
            if mask is not None:
                return mask
        return None

    def _beside(self, group: _Place, *, near: bool) -> Mask | None:
        """The mask in a group, which may be that of a detector, or in the groups below it where detectors have it."""
        names = self._members(group)
        for name in ("pixel_mask", "mask") if near else ("pixel_mask",):
            mask = self._read(group, name) if name in names else None
            if mask is not None:
                return mask
        for below in _BELOW_A_DETECTOR:
            mask = self._read(group, f"{below}/pixel_mask") if below in names else None
            if mask is not None:
                return mask
        channels = [self._read(group, f"{name}/pixel_mask") for name in sorted(names) if name.endswith("_channel")]
        return _as_one([mask for mask in channels if mask is not None])

    def _of_instrument(self, group: _Place) -> Mask | None:
        """The mask of the detector in the instrument of a group: by its name, or the only one that has a mask."""
        for name in sorted(name for name in self._members(group) if name.startswith("instrument")):
            instrument = self._group(group[0], _join(group[1], name))
            if instrument is None:
                continue
            names = self._members(instrument)
            detectors = [
                self._group(instrument[0], _join(instrument[1], n)) for n in sorted(names & self._names or names)
            ]
            masks = [self._beside(detector, near=True) for detector in detectors if detector is not None]
            found = [mask for mask in masks if mask is not None]
            if any(not np.array_equal(mask.classes, found[0].classes) for mask in found):
                where = ", ".join(mask.where for mask in found)
                _log.warning("no mask is used: several detectors have one (%s); choose one by --mask", where)
                return None
            if found:
                return found[0]
        return None

    def _group(self, file: str, path: str) -> _Place | None:
        """Where a group really is; None where there is none."""
        try:
            place = locate(self._context, file, path)
            with self._context.open_h5(place[0]) as h5:
                return place if isinstance(h5[place[1]], h5py.Group) else None
        except (FastlegacyError, *_HDF5_ERRORS):
            return None

    def _members(self, group: _Place) -> set[str]:
        file, path = group
        with self._context.open_h5(file) as h5:
            return set(h5[path]) if len(h5[path]) <= _MOST_GROUPS else set()

    def _read(self, group: _Place, name: str) -> Mask | None:
        """A mask by its path below a group: None where there is none that fits, a warning where it cannot be read."""
        file, path = group[0], _join(group[1], name)
        where = str(DataUrl(file, path))
        below, _, last = path.rpartition("/")
        inside = self._group(file, below or "/")
        if inside is None or last not in self._members(inside):
            return None
        try:
            place = locate(self._context, file, path)
            if place in self._seen or not self._fits(place):
                return None
            classes = classes_of(_one_plane(_planes(self._context, DataUrl(*place), where), where))
        except (FastlegacyError, *_HDF5_ERRORS) as exc:
            _log.warning("the mask %s cannot be used: %s", where, exc)
            return None
        if last == "mask" and 2 * np.count_nonzero(classes) > classes.size:
            _log.warning("%s is not used: it masks more than half of the image; --mask %s if it should", where, where)
            return None
        return Mask(classes, where)

    def _fits(self, place: _Place) -> bool:
        """Tell whether something is one mask, or a few, of the frames' shape."""
        file, path = place
        with self._context.open_h5(file) as h5:
            shape = getattr(h5[path], "shape", None) or ()
        return len(shape) in (2, 3) and shape[-2:] == self._shape and 0 not in shape


def _as_one(masks: list[Mask]) -> Mask | None:
    """The mask that the channels of a detector have in common."""
    if not masks:
        return None
    if all(np.array_equal(mask.classes, masks[0].classes) for mask in masks):
        return masks[0]
    where = ", ".join(mask.where for mask in masks)
    return Mask(_united([mask.classes for mask in masks], where), where)


def _join(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"
