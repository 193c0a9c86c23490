# SPDX-License-Identifier: MIT
"""Pixels as signed 32-bit numbers whose differences are such numbers too: what files of differences can hold.

``x-CBF_BYTE_OFFSET`` and ``AGI_BITFIELD`` hold differences of neighbours. A difference of more than 32 bits has a place
in the first, but not in all of its programs: dxtbx 3.12 does not know the 64-bit form, and encoders of others break at
exactly -2**31. So the numbers that a file can hold, -1 and -2 for gaps and bad pixels among them, span at most
2**31 - 1. Only valid pixels that the user wants as they are (``saturate`` "keep") may still be further apart.
"""

from __future__ import annotations

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._pixels import counts
from fastlegacy.model import StackFacts
from fastlegacy.pixels import Form

__all__ = ["HIGHEST", "limits", "masked_counts"]

_GAP, _BAD = -1, -2
_SPAN = 2**31 - 1

HIGHEST = _BAD + _SPAN
"""The largest pixel of an unsigned stack, whose others are -2 at least."""

_SIGNED_LOWEST = -(2**24)
"""Noise around 0 is kept, and the upper limit hardly gets lower by it."""

_MASK_LOWEST = -(2**30)


def limits(facts: StackFacts) -> tuple[int, int]:
    """Return the smallest and the largest number that a valid pixel can have in the file.

    Raises
    ------
    LayoutError
        If the user's mask value leaves too little room for pixels.
    """
    low, high = (0, HIGHEST) if facts.dtype.kind == "u" else (_SIGNED_LOWEST, _SIGNED_LOWEST + _SPAN)
    mask = facts.policy.mask_value
    if mask is None:
        return low, high
    highest = low + _SPAN
    if not _MASK_LOWEST <= mask <= highest:
        raise LayoutError(
            f"the mask value {mask} is too far from the pixels for a file of 32-bit differences",
            file=facts.url,
            hint=f"choose one from {_MASK_LOWEST} to {highest}",
        )
    return low, min(high, int(mask) + _SPAN)


def masked_counts(facts: StackFacts, *, shape: tuple[int, int] | None = None, at: tuple[int, int] = (0, 0)) -> Form:
    """Return the form of a frame: gaps -1 and bad pixels -2 unless the user named a value, others within limits.

    Parameters
    ----------
    facts : StackFacts
    shape : tuple of int, optional
        (ny, nx) of the frame in the file; that of the image where it is left out.
    at : tuple of int
        Where in it the image's first pixel goes. What is around the image has the value of gaps: no detector there.

    Raises
    ------
    LayoutError
        If the user's mask value is not possible.
    """
    low, high = limits(facts)
    return counts(facts, "<i4", gap=_GAP, bad=_BAD, low=low, high=high, shape=shape, at=at)
