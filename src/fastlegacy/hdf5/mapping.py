# SPDX-License-Identifier: MIT
"""Regular boxes and how they are laid over each other: pure arithmetic, no HDF5.

An axis says: its i-th place, ``0 <= i < length``, is ``start + step*i`` in the box's own coordinates, and
``src_start + src_step*i`` along axis ``src_axis`` of the source (none where that is -1: one place only).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

__all__ = ["Axis", "Box", "EmptyError", "Run", "compose", "identity", "pair_runs", "select", "zip_boxes"]


class Axis(NamedTuple):
    """One axis of a box, see the module's docstring."""

    start: int
    step: int
    length: int
    src_axis: int
    src_start: int
    src_step: int


class Box(NamedTuple):
    """Axes, and for each axis of the source the index where no axis of the box moves."""

    axes: tuple[Axis, ...]
    base: tuple[int, ...]


class Run(NamedTuple):
    """``length`` places along one axis, ``step`` apart."""

    start: int
    step: int
    length: int


def identity(shape: Sequence[int]) -> Box:
    """The box that shows a source as it is."""
    axes = tuple(Axis(0, 1, n, k, 0, 1) for k, n in enumerate(shape))
    return Box(axes, (0,) * len(shape))


def compose(outer: Box, inner: Box) -> Box | None:
    """A box whose source is shown by another box in its turn, as one box onto the last source.

    Returns
    -------
    Box or None
        None where the two have no place in common.
    """
    base = list(inner.base)
    axes: list[Axis] = []
    moving = {axis.src_axis for axis in outer.axes if axis.src_axis >= 0}
    for m, middle in enumerate(inner.axes):
        if m not in moving:
            i, rest = divmod(outer.base[m] - middle.start, middle.step)
            if rest or not 0 <= i < middle.length:
                return None
            if middle.src_axis >= 0:
                base[middle.src_axis] = middle.src_start + middle.src_step * i
    for axis in outer.axes:
        if axis.src_axis < 0:
            axes.append(axis)
            continue
        through = _through(axis, inner.axes[axis.src_axis])
        if through is None:
            return None
        axes.append(through)
    return Box(tuple(axes), tuple(base))


def _through(axis: Axis, middle: Axis) -> Axis | None:
    """The places of an axis that fall on places of the axis that it moves along."""
    period = middle.step // math.gcd(axis.src_step, middle.step)
    for i in range(min(period, axis.length)):
        if (axis.src_start + axis.src_step * i - middle.start) % middle.step == 0:
            break
    else:
        return None
    first, src_step = axis.src_start + axis.src_step * i, axis.src_step * period
    count = (axis.length - i + period - 1) // period
    at, advance = (first - middle.start) // middle.step, src_step // middle.step
    if at < 0:  # places before the middle's first one
        skip = (-at + advance - 1) // advance
        i, at, count = i + skip * period, at + skip * advance, count - skip
    count = min(count, (middle.length - 1 - at) // advance + 1) if at < middle.length else 0
    if count < 1:
        return None
    start = axis.start + axis.step * i
    if middle.src_axis < 0:
        return Axis(start, axis.step * period, count, -1, 0, 1)
    src_start = middle.src_start + middle.src_step * at
    return Axis(start, axis.step * period, count, middle.src_axis, src_start, middle.src_step * advance)


class EmptyError(IndexError):
    """A slice leaves nothing."""


def select(shape: Sequence[int], selection: Sequence[int | slice]) -> Box:
    """The box of a NumPy selection of integers and slices, one for each axis; integers take their axis away.

    Raises
    ------
    IndexError
        If an integer is out of range, a slice is empty, or goes backwards.
    """
    axes: list[Axis] = []
    base = [0] * len(shape)
    for k, (n, item) in enumerate(zip(shape, selection, strict=True)):
        if isinstance(item, int):
            if not -n <= item < n:
                raise IndexError(f"index {item} of axis {k}, which has {n} places")
            base[k] = item % n
            continue
        start, stop, step = item.indices(n)
        count = len(range(start, stop, step))
        if step < 0:
            raise IndexError(f"the slice of axis {k} is backwards")
        if count == 0:
            raise EmptyError(f"the slice of axis {k} is empty")
        axes.append(Axis(0, 1, count, k, start, step))
    return Box(tuple(axes), tuple(base))


def pair_runs(left: Sequence[Run], right: Sequence[Run]) -> Iterator[tuple[Run, Run]]:
    """Cut two rows of runs of the same total length at each other's borders; pairs of runs of equal length."""
    a, b = list(reversed(left)), list(reversed(right))
    while a and b:
        x, y = a.pop(), b.pop()
        n = min(x.length, y.length)
        yield Run(x.start, x.step, n), Run(y.start, y.step, n)
        if x.length > n:
            a.append(Run(x.start + x.step * n, x.step, x.length - n))
        if y.length > n:
            b.append(Run(y.start + y.step * n, y.step, y.length - n))


def zip_boxes(virtual: Sequence[Sequence[Run]], source: Sequence[Sequence[Run]]) -> list[Box] | None:
    """Boxes of a virtual dataset's mapping: places of the two selections correspond in C order.

    Parameters
    ----------
    virtual, source : sequence of sequences of Run
        The selected places along each axis.

    Returns
    -------
    list of Box or None
        None where the axes do not correspond one to one, so that no box can say it.
    """
    total_v = [sum(run.length for run in runs) for runs in virtual]
    total_s = [sum(run.length for run in runs) for runs in source]
    long_v = [k for k, n in enumerate(total_v) if n != 1]
    long_s = [k for k, n in enumerate(total_s) if n != 1]
    if [total_v[k] for k in long_v] != [total_s[k] for k in long_s]:
        return None
    partner = dict(zip(long_v, long_s, strict=True))
    choices: list[list[Axis]] = []
    for k, runs in enumerate(virtual):
        if k in partner:
            pairs = pair_runs(runs, source[partner[k]])
            choices.append([Axis(v.start, v.step, v.length, partner[k], s.start, s.step) for v, s in pairs])
        else:
            choices.append([Axis(runs[0].start, 1, 1, -1, 0, 1)])
    base = tuple(0 if k in long_s else runs[0].start for k, runs in enumerate(source))
    return [Box(axes, base) for axes in product(*choices)]
