# SPDX-License-Identifier: MIT
"""Forms and codecs in the words of the kernels: limits in the source's type, numbers as bytes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastlegacy.pixels import Codec, Form

__all__ = ["How", "how"]

How = tuple[object, ...]

_MOST_ADDED = 2**62  # limits less what is added are numbers of 64 bits for the kernels


def how(form: Form, source: str, codec: Codec | None = None) -> How:
    """Return what ``_view`` takes for a form, and for a codec that it is given to.

    Parameters
    ----------
    form : Form
    source : str
        NumPy code of what the form is made from (``_view.View.source_dtype``).
    codec : str, optional

    Raises
    ------
    ValueError
        If no pixel of the source can be within the form's limits, or a number does not fit its dtype.
    """
    if abs(form.add) > _MOST_ADDED:
        raise ValueError(f"{form.add} cannot be added to a pixel")
    to = np.dtype(form.dtype)
    native = to.newbyteorder("=")
    low, high, least, most = _limits(form, np.dtype(source), native)
    return (
        codec,
        to.str[1:],
        not to.isnative,
        form.shape,
        form.at,
        _optional(form.gap, native),
        _optional(form.bad, native),
        _bytes(form.bad if form.bad is not None else 0, native),
        _bytes(form.pad, to),
        low,
        high,
        least,
        most,
        form.add,
        form.saturate == "error" and to.kind != "f",
    )


def _limits(form: Form, source: np.dtype[Any], to: np.dtype[Any]) -> tuple[bytes, bytes, bytes, bytes]:
    """Limits of the source's pixels, and what floating-point pixels beyond them become."""
    if to.kind == "f":
        ends = (-math.inf, math.inf) if source.kind == "f" else _range(source)
        return (_bytes(ends[0], source), _bytes(ends[1], source), bytes(to.itemsize), bytes(to.itemsize))
    smallest, largest = _range(to)
    low = smallest if form.low is None else max(smallest, int(form.low))
    high = largest if form.high is None else min(largest, int(form.high))
    if low > high:
        raise ValueError(f"no {to.name} is from {form.low} to {form.high}")
    least, most = _bytes(low, to), _bytes(high, to)
    if source.kind == "f":
        return _inside(low - form.add, source, up=True), _inside(high - form.add, source, up=False), least, most
    first, last = _range(source)
    if form.saturate == "keep":
        return _bytes(first, source), _bytes(last, source), least, most
    if low - form.add > last or high - form.add < first:
        raise ValueError(f"no {source.name} is from {low} to {high} after {form.add} is added")
    return _bytes(max(first, low - form.add), source), _bytes(min(last, high - form.add), source), least, most


def _range(dtype: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(dtype.str)
    return int(limits.min), int(limits.max)


def _inside(limit: int, source: np.dtype[Any], *, up: bool) -> bytes:
    """The floating-point number that is nearest to a limit, and not beyond it."""
    value = source.type(limit)
    if (int(value) < limit) if up else (int(value) > limit):
        value = np.nextafter(value, source.type(math.inf if up else -math.inf))
    return bytes(value.tobytes())


def _optional(value: float | None, dtype: np.dtype[Any]) -> bytes | None:
    return None if value is None else _bytes(value, dtype)


def _bytes(value: float, dtype: np.dtype[Any]) -> bytes:
    if dtype.kind == "f":
        return np.array(value, dtype).tobytes()
    if not np.iinfo(dtype.str).min <= value <= np.iinfo(dtype.str).max or int(value) != value:
        raise ValueError(f"{value} is no {dtype.name}")
    return np.array(int(value), dtype).tobytes()
