# SPDX-License-Identifier: MIT
"""NumPy twin of ``csrc/pixels.h``: the way of a pixel as ``fastlegacy.pixels`` describes it, one step after another."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlegacy.pixels import AS_STORED, Form, Orientation

__all__ = ["OverflowInFrameError", "classes", "develop"]

_VALID, _GAP, _BAD = 0, 1, 2


class OverflowInFrameError(Exception):
    """A valid pixel is beyond the limits, and the form says that this is an error."""


def classes(frame: NDArray[Any], mask: NDArray[Any] | None) -> NDArray[np.uint8]:
    """0 valid, 1 gap, 2 bad, for each stored pixel."""
    if mask is not None:
        return mask.astype(np.uint8)
    if frame.dtype.kind != "u":
        return np.zeros(frame.shape, np.uint8)
    return (frame == np.iinfo(frame.dtype).max).astype(np.uint8)


def develop(
    frame: NDArray[Any],
    form: Form,
    *,
    mask: NDArray[Any] | None = None,
    orientation: Orientation = AS_STORED,
    binning: int = 1,
) -> NDArray[Any]:
    """Return the frame (ny, nx) as a file has it, an array of the form's shape and dtype."""
    kind = classes(frame, mask)
    values = frame.astype(object) if frame.dtype.kind in "ui" else frame.astype(frame.dtype.newbyteorder("="))
    values, kind = _binned(values, kind, binning)
    image = _turned(_written(values, kind, form), orientation)
    out = np.full(form.shape, _number(form.pad, np.dtype(form.dtype)), form.dtype)
    (y, x), (ny, nx) = form.at, image.shape
    out[y : y + ny, x : x + nx] = image
    return out


def _binned(values: NDArray[Any], kind: NDArray[Any], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if n == 1:
        return values, kind
    ny, nx = values.shape[0] // n, values.shape[1] // n
    squares = values[: ny * n, : nx * n].reshape(ny, n, nx, n)
    kinds = kind[: ny * n, : nx * n].reshape(ny, n, nx, n)
    gap, bad = (kinds == _GAP).any((1, 3)), (kinds == _BAD).any((1, 3))
    if squares.dtype != object:
        squares = squares.astype(np.float64)
    return squares.sum((1, 3)), np.where(gap, _GAP, np.where(bad, _BAD, _VALID)).astype(np.uint8)


def _written(values: NDArray[Any], kind: NDArray[Any], form: Form) -> NDArray[Any]:
    dtype = np.dtype(form.dtype)
    out = np.empty(values.shape, dtype)
    for at in np.ndindex(values.shape):
        if kind[at] == _GAP and form.gap is not None:
            out[at] = _number(form.gap, dtype)
        elif kind[at] == _BAD and form.bad is not None:
            out[at] = _number(form.bad, dtype)
        else:
            out[at] = _valid(values[at], form, dtype)
    return out


def _valid(value: Any, form: Form, dtype: np.dtype[Any]) -> Any:
    if dtype.kind == "f":
        return float(value) + form.add
    limits = np.iinfo(dtype)
    low = limits.min if form.low is None else int(form.low)
    high = limits.max if form.high is None else int(form.high)
    if isinstance(value, int):
        value += form.add
        if low <= value <= high:
            return value
        if form.saturate == "error":
            raise OverflowInFrameError(value)
        if form.saturate == "keep":
            bits = value & (2 ** (8 * dtype.itemsize) - 1)
            return bits - 2 ** (8 * dtype.itemsize) if dtype.kind == "i" and bits > limits.max else bits
        return min(max(value, low), high)
    if np.isnan(value):
        return _number(form.bad or 0, dtype)
    if np.isinf(value):
        return high if value > 0 else low
    return min(max(int(np.rint(value)) + form.add, low), high)


def _number(value: Any, dtype: np.dtype[Any]) -> Any:
    return float(value) if dtype.kind == "f" else int(value)


def _turned(image: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    if orientation.transpose:
        image = image.T
    if orientation.flip_ud:
        image = image[::-1]
    return image[:, ::-1] if orientation.flip_lr else image
