# SPDX-License-Identifier: MIT
"""The pixels that a layout asks for, where the user has a say: policy and defaults become a form."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._checks import ALL_DTYPES, require_dtype
from fastlegacy.model import Pixels, StackFacts
from fastlegacy.pixels import Form

__all__ = ["as_written", "counts", "pixels"]


def as_written(facts: StackFacts, name: str, dtypes: tuple[str, ...]) -> StackFacts:
    """Return the facts with the dtype of the file's pixels, for a layout that can hold several.

    Raises
    ------
    LayoutError
        If the format cannot hold such pixels.
    """
    code = facts.policy.dtype
    require_dtype(facts, name, dtypes if code is None else ALL_DTYPES)
    if code is None:
        return facts
    written = replace(facts, dtype=_ordered(code, facts.dtype.byteorder))
    require_dtype(written, name, dtypes)
    return written


def pixels(facts: StackFacts, first: int, frames: int = 1, byteorder: str = "|") -> Pixels:
    """Return the pixels of some frames for a layout that can hold several dtypes: as stored, unless the user says else.

    Masked pixels keep their value as long as the dtype is kept. In another one they are -1 where it is signed, its
    largest number where it is unsigned, and no number where it is floating-point.

    Raises
    ------
    LayoutError
        If the dtype cannot hold the mask value.
    """
    policy = facts.policy
    if policy.dtype is None and policy.mask_value is None:
        return Pixels(first, frames, byteorder)
    code = policy.dtype or facts.dtype.str[1:]
    dtype = _ordered(code, facts.dtype.byteorder if byteorder == "|" else byteorder)
    form = counts(facts, dtype.str, gap=_outside(dtype), bad=_outside(dtype))
    return Pixels(first, frames, form=form)


def counts(
    facts: StackFacts,
    dtype: str,
    *,
    gap: float,
    bad: float,
    low: int | None = None,
    high: int | None = None,
    add: int = 0,
    shape: tuple[int, int] | None = None,
    at: tuple[int, int] = (0, 0),
    pad: float | None = None,
) -> Form:
    """Return a form with a layout's own defaults, where the user has not asked for something else.

    Parameters
    ----------
    facts : StackFacts
    dtype : str
        Of the file's pixels, with byte order.
    gap, bad : int or float
        What masked pixels become, unless the user named a value.
    low, high, add
        See :class:`fastlegacy.pixels.Form`.
    shape : tuple of int, optional
        (ny, nx) of the frame in the file; that of the image where it is left out.
    at : tuple of int
        Where in it the image's first pixel goes.
    pad : int or float, optional
        The pixels around the image; by default what gaps become.

    Raises
    ------
    LayoutError
        If the dtype cannot hold the mask value, or the user has asked for another one.
    """
    policy = facts.policy
    if policy.dtype is not None and np.dtype(policy.dtype).str[1:] != np.dtype(dtype).str[1:]:
        raise LayoutError(
            f"the pixels of this format are {np.dtype(dtype).name}, not {np.dtype(policy.dtype).name}",
            file=facts.url,
            hint="leave the dtype to the format",
        )
    if policy.mask_value is not None:
        gap = bad = _fitting(facts, policy.mask_value, np.dtype(dtype))
    return Form(
        dtype=dtype,
        shape=shape or facts.shape[1:],
        at=at,
        gap=gap,
        bad=bad,
        pad=gap if pad is None else pad,
        low=low,
        high=high,
        add=add,
        saturate=policy.saturate or "clip",
    )


def _ordered(code: str, order: str) -> np.dtype[Any]:
    return np.dtype(f"{order if order in '<>' else '='}{code}")


def _outside(dtype: np.dtype[Any]) -> float:
    if dtype.kind == "f":
        return math.nan
    return -1 if dtype.kind == "i" else int(np.iinfo(dtype.str).max)


def _fitting(facts: StackFacts, value: float, dtype: np.dtype[Any]) -> float:
    if dtype.kind == "f":
        return float(value)
    limits = np.iinfo(dtype.str)
    if value != value or int(value) != value or not limits.min <= value <= limits.max:
        raise LayoutError(
            f"the mask value {value} is no pixel of type {dtype.name}",
            file=facts.url,
            hint=f"choose one from {limits.min} to {limits.max}",
        )
    return int(value)
