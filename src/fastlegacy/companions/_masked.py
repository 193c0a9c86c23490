# SPDX-License-Identifier: MIT
"""The mask of a frame, and the rectangles that it is made of. In: a scene. Out: an array, or rectangles in pixels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlegacy.companions.scene import Scene

__all__ = ["Rectangle", "frame_mask", "full_bands", "rectangles"]


class Rectangle(NamedTuple):
    """Pixels of a frame, counted from 0: rows `top` to `bottom` and columns `left` to `right`, ends not included."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        """How many pixels there are in it."""
        return (self.bottom - self.top) * (self.right - self.left)


def frame_mask(scene: Scene) -> NDArray[np.bool_] | None:
    """Return the mask of the whole frame: True where there is no valid pixel, which is so around the image.

    Returns
    -------
    numpy.ndarray of shape ``scene.frame_shape``, bool, or None
        None where no mask is known and the image fills the frame.
    """
    _, ny, nx = scene.facts.shape
    if scene.mask is None and scene.frame_shape == (ny, nx):
        return None
    row, column = scene.image_at
    masked = np.ones(scene.frame_shape, bool)
    masked[row : row + ny, column : column + nx] = False if scene.mask is None else scene.mask != 0
    return masked


def full_bands(masked: NDArray[np.bool_]) -> list[Rectangle]:
    """Return the bands of rows, and then of columns, that are masked from edge to edge: gaps between modules."""
    ny, nx = masked.shape
    rows = [Rectangle(start, stop, 0, nx) for start, stop in _runs(np.logical_and.reduce(masked, axis=1))]
    return rows + [Rectangle(0, ny, start, stop) for start, stop in _runs(np.logical_and.reduce(masked, axis=0))]


def rectangles(masked: NDArray[np.bool_]) -> list[Rectangle]:
    """Return rectangles that cover all masked pixels and no other, the full bands first, then the largest first.

    Those that are not full bands do not overlap: each is a run of pixels in a row, and the same run in the rows below.
    """
    bands = full_bands(masked)
    rest = masked.copy()
    for band in bands:
        rest[band.top : band.bottom, band.left : band.right] = False
    return bands + sorted(_stacked(rest), key=lambda found: (-found.area, found))


def _stacked(masked: NDArray[np.bool_]) -> list[Rectangle]:
    done: list[Rectangle] = []
    growing: dict[tuple[int, int], int] = {}
    for row in range(masked.shape[0] + 1):
        runs = set(_runs(masked[row])) if row < masked.shape[0] and masked[row].any() else set()
        done += [Rectangle(top, row, *run) for run, top in growing.items() if run not in runs]
        growing = {run: growing.get(run, row) for run in runs}
    return done


def _runs(line: NDArray[Any]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(line.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]
