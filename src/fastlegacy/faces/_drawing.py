# SPDX-License-Identifier: MIT
"""Ellipses, crosses and small texts. In: an image (ny, nx, 3) of uint8, which is changed; places as rows and columns.

What lies outside of the image is not drawn.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["Colour", "Image", "draw_cross", "draw_ellipse", "draw_text", "text_shape"]

Colour = tuple[int, int, int]
Image = NDArray[np.uint8]

_HALO: Colour = (0, 0, 0)
_GLYPH = (7, 5)
# rows from top to bottom, the leftmost pixel in the highest of 5 bits
_GLYPHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "0": (14, 17, 19, 21, 25, 17, 14),
        "1": (4, 12, 4, 4, 4, 4, 14),
        "2": (14, 17, 1, 2, 4, 8, 31),
        "3": (31, 2, 4, 2, 1, 17, 14),
        "4": (2, 6, 10, 18, 31, 2, 2),
        "5": (31, 16, 30, 1, 1, 17, 14),
        "6": (6, 8, 16, 30, 17, 17, 14),
        "7": (31, 1, 2, 4, 8, 8, 8),
        "8": (14, 17, 17, 14, 17, 17, 14),
        "9": (14, 17, 17, 15, 1, 2, 12),
        ".": (0, 0, 0, 0, 0, 12, 12),
        "\u00c5": (4, 10, 4, 10, 17, 31, 17),
        " ": (0, 0, 0, 0, 0, 0, 0),
    }
)


def draw_ellipse(
    image: Image, centre: tuple[float, float], radii: tuple[float, float], colour: Colour, width: int = 1
) -> None:
    """Draw an ellipse with axes along rows and columns.

    Parameters
    ----------
    centre, radii : tuple of float
        Along the slow axis, and along the fast one; pixels, from the centre of the first one.
    width : int
        Of the line, pixels.
    """
    ny, nx = image.shape[:2]
    (cy, cx), (ry, rx) = centre, radii
    # one point of the line for each row and each column that it goes through, so that it has no holes
    for row in _whole(cy - ry, cy + ry, ny):
        half = rx * math.sqrt(max(0.0, 1 - ((row - cy) / ry) ** 2))
        for x in (cx - half, cx + half):
            _dot(image, row, x, colour, width)
    for column in _whole(cx - rx, cx + rx, nx):
        half = ry * math.sqrt(max(0.0, 1 - ((column - cx) / rx) ** 2))
        for y in (cy - half, cy + half):
            _dot(image, y, column, colour, width)


def draw_cross(image: Image, centre: tuple[float, float], arm: int, hole: int, colour: Colour, width: int = 1) -> None:
    """Draw a cross that is open in its middle.

    Parameters
    ----------
    arm, hole : int
        Its arms go from so many pixels to so many from the centre.
    """
    cy, cx = centre
    for step in range(hole, arm + 1):
        for dy, dx in ((step, 0), (-step, 0), (0, step), (0, -step)):
            _dot(image, cy + dy, cx + dx, colour, width)


def text_shape(text: str, size: int) -> tuple[int, int]:
    """Return (ny, nx) of a text, with a halo of one pixel around it, times ``size``."""
    return (_GLYPH[0] + 2) * size, ((_GLYPH[1] + 1) * len(text) + 1) * size


def draw_text(image: Image, corner: tuple[int, int], text: str, size: int, colour: Colour) -> None:
    """Write a text with a dark halo; its upper left corner has to lie in the image, as all of it.

    Only digits, points, spaces and the angstrom sign have glyphs; others are left out.
    """
    ny, nx = text_shape(text, 1)
    ink = np.zeros((ny, nx), np.bool_)
    for i, letter in enumerate(text):
        rows = _GLYPHS.get(letter, _GLYPHS[" "])
        bits = np.array([[row >> (4 - column) & 1 for column in range(_GLYPH[1])] for row in rows], np.bool_)
        ink[1 : 1 + _GLYPH[0], 1 + 6 * i : 6 + 6 * i] = bits
    around = np.zeros_like(ink)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            around |= np.roll(ink, (dy, dx), (0, 1))
    place = image[corner[0] : corner[0] + ny * size, corner[1] : corner[1] + nx * size]
    large = np.ones((size, size), np.bool_)
    place[np.kron(around, large)] = _HALO
    place[np.kron(ink, large)] = colour


def _whole(first: float, last: float, size: int) -> range:
    """Whole numbers between two, as far as they count pixels of an axis."""
    return range(max(0, math.ceil(first)), min(size, math.floor(last) + 1))


def _dot(image: Image, y: float, x: float, colour: Colour, width: int) -> None:
    top, left = (math.floor(at - (width - 1) / 2 + 0.5) for at in (y, x))
    image[max(top, 0) : max(top + width, 0), max(left, 0) : max(left + width, 0)] = colour
