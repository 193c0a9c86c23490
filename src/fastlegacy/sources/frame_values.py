# SPDX-License-Identifier: MIT
"""Numbers that an HDF5 file holds for each frame of a stack, such as motor positions: in, two paths; out, numbers."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from fastlegacy.errors import UrlError
from fastlegacy.hdf5.files import Context, default_context
from fastlegacy.hdf5.links import locate
from fastlegacy.hdf5.url import DataUrl, parse_url

__all__ = ["frame_values"]


def frame_values(
    url: str,
    path: str,
    frames: int,
    context: Context | None = None,
    *,
    stored_shape: tuple[int, ...] | None = None,
) -> float | list[float]:
    """Read one number for each frame of a stack, or one for all of them.

    Parameters
    ----------
    url : str
        Of the stack. Where it selects frames, their numbers are selected.
    path : str
        Path of the numbers, in the same file.
    frames : int
        How many frames the stack has.
    context : Context, optional
    stored_shape : tuple of int, optional
        Of the frames before the url's slice; by default that of the dataset that the url names.

    Raises
    ------
    UrlError
        If these are no numbers, or not one for each frame.
    SourceError, NotAStackError
        If the file cannot be read, or there is nothing of that name.
    """
    context = context or default_context()
    stack = parse_url(url)
    named = parse_url(stack.file, path)
    with context.no_h5_left():
        values = _read(context, named)
        total = values.size
        if total > 1 and stack.selection is not None:
            values = _selected(values, stored_shape or _shape(context, stack), stack)
    if values.size == 1:
        return float(values[0])
    if values.size != frames:
        raise UrlError(
            f"has {total} numbers, and the stack {frames} frames",
            file=named.file,
            dataset=named.dataset,
            hint="give a dataset with one number for each frame, or one number",
        )
    return [float(value) for value in values]


def _read(context: Context, named: DataUrl) -> NDArray[Any]:
    assert named.dataset is not None
    file, path = locate(context, named.file, named.dataset)
    with context.open_h5(file) as h5:
        dset = h5[path]
        if not isinstance(dset, h5py.Dataset) or dset.shape is None or dset.ndim > 1 or dset.dtype.kind not in "uif":
            raise UrlError(
                "is no list of numbers",
                file=named.file,
                dataset=named.dataset,
                hint="name a dataset with one number for each frame",
            )
        return np.atleast_1d(dset[()])


def _shape(context: Context, stack: DataUrl) -> tuple[int, ...]:
    assert stack.dataset is not None
    file, path = locate(context, stack.file, stack.dataset)
    with context.open_h5(file) as h5:
        shape: tuple[int, ...] = h5[path].shape
    return shape


def _selected(values: NDArray[Any], shape: tuple[int, ...], stack: DataUrl) -> NDArray[Any]:
    """The numbers of the frames that a url selects, where there is one for each frame of the dataset."""
    if values.size != math.prod(shape[:-2]):
        return values
    selected = np.broadcast_to(values.reshape(*shape[:-2], 1, 1), shape)[stack.selection]
    return selected[..., 0, 0].reshape(-1)
