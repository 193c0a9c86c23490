# SPDX-License-Identifier: MIT
"""A stack whose frames are an array in memory: to layouts, trees and kernels it looks like one of an HDF5 file."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastlegacy import _core
from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.hdf5.files import default_context
from fastlegacy.hdf5.mapping import identity
from fastlegacy.model import Geometry, StackFacts, number_of_frames

__all__ = ["ArrayStack"]

_MOST_AXES = 10  # FL_MAX_AXES of the kernels


class ArrayStack:
    """Frames that are in memory already. The array is copied once; what becomes of it later makes no difference.

    Parameters
    ----------
    frames : array (ny, nx) or (..., ny, nx) of integers or floats
        Leading axes are taken as one series of frames.
    url : str
        What headers and messages call it.
    mtime_ns : int
        The time that its files have, nanoseconds since 1970.
    geometry : Geometry, optional

    Raises
    ------
    NotAStackError
        If the array has fewer than two axes, no pixel, or pixels that are not integers of 1 to 8 bytes or floats of
        4 or 8 bytes.

    Attributes
    ----------
    facts : StackFacts
    core : _core.Stack
        The kernels' view.
    cache : _core.Cache
        Where whole frames are kept that have been turned.
    """

    def __init__(
        self, frames: ArrayLike, *, url: str = "array", mtime_ns: int = 0, geometry: Geometry | None = None
    ) -> None:
        array = np.asarray(frames)
        _check(array, url)
        shape = array.shape
        self.facts = StackFacts(
            url=url,
            shape=(number_of_frames(shape[:-2]), shape[-2], shape[-1]),
            leading_shape=shape[:-2],
            dtype=array.dtype,
            mtime_ns=mtime_ns,
            geometry=geometry or Geometry(),
        )
        fill = bytes(array.dtype.itemsize)
        self.cache = default_context().cache
        files = default_context().files  # none of them is behind it
        dataset = _core.Dataset(url, shape, shape, fill, files, self.cache, "memory", memory=array.tobytes())
        box = identity(shape)
        self.core = _core.Stack(shape, fill, [(dataset, box.axes, box.base)])
        self._closed = False

    @property
    def url(self) -> str:
        """What headers and messages call it."""
        return self.facts.url

    @property
    def shape(self) -> tuple[int, int, int]:
        """(frames, ny, nx)."""
        return self.facts.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the pixels, byte order included."""
        return self.facts.dtype

    @property
    def geometry(self) -> Geometry:
        """What is known of the experiment."""
        return self.facts.geometry

    def with_geometry(self, geometry: Geometry) -> Self:
        """The same frames with other facts for the headers."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.facts = replace(self.facts, geometry=geometry)
        return other

    def files(self) -> list[str]:
        """No file is behind it."""
        return []

    def signature(self) -> list[tuple[str, int, int, int]]:
        """No file is behind it."""
        return []

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        n, ny, nx = self.shape
        return f"<ArrayStack {self.url}: {n} frames of {ny} x {nx} {self.dtype}{', closed' if self._closed else ''}>"

    def __getitem__(self, index: int) -> NDArray[Any]:
        """One frame, ndarray (ny, nx)."""
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.url}: frame {index} of {len(self)} frames")
        out = np.empty(self.shape[1:], self.dtype)
        self.prepare(number % len(self), number % len(self))
        self.core.read(number % len(self) * out.size, out.reshape(-1).view(np.uint8))
        return out

    def prepare(self, first_frame: int, last_frame: int) -> None:
        """Nothing has to be fetched for any frame; an error where the stack is closed."""
        del first_frame, last_frame
        if self._closed:
            raise SourceError("the stack is closed", file=self.url)

    def redirect(self, prefix: str, replacement: str) -> None:
        """A mount that covers a folder covers nothing of this."""

    def end_redirect(self, prefix: str) -> None:
        """Nothing was redirected."""

    def close(self) -> None:
        """Frames cannot be read any more."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check(array: NDArray[Any], url: str) -> None:
    if not 2 <= array.ndim <= _MOST_AXES or array.size == 0:
        raise NotAStackError(
            f"an array of shape {array.shape} is no series of frames", file=url, hint="give (ny, nx) or (n, ny, nx)"
        )
    dtype = array.dtype
    if dtype.kind not in "uif" or dtype.itemsize not in (1, 2, 4, 8) or dtype == np.float16:
        raise NotAStackError(
            f"its elements are {dtype}, not integers or floats of 1 to 8 bytes",
            file=url,
            hint="convert it by astype",
        )
