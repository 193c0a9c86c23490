# SPDX-License-Identifier: MIT
"""A picture of frames as the files of a mount show them: in, a view; out, colours, with beam centre and rings.

Pixels are reduced by their maximum, so that a Bragg peak of one pixel is seen at every size. The colours are those of
D. A. Green, Bull. Astr. Soc. India 39 (2011) 289 ("cubehelix"), which become brighter from the lowest to the highest.
A ring is where Bragg's law puts a spacing on a flat detector at right angles to the beam.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fastlegacy.errors import ExportError, UrlError
from fastlegacy.faces._drawing import Colour, Image, draw_cross, draw_ellipse, draw_text, text_shape
from fastlegacy.faces._png import png
from fastlegacy.index.view import View
from fastlegacy.model import Geometry
from fastlegacy.pixels import Form

__all__ = ["BEAM", "MASKED", "RING", "Picture", "colours", "lacking", "picture", "render", "ring_radius_m", "write_png"]

Combine = Literal["sum", "max"]

MASKED: Colour = (96, 32, 112)
"""Gaps, bad pixels, and what is no number."""
RING: Colour = (0, 224, 255)
BEAM: Colour = (255, 48, 48)

_COLOURS = 240  # together with those that are drawn, fewer than the 256 of a palette
_LEAST_PX = 400  # smaller frames are enlarged, up to this
_THIN_PX = 24  # one row of pixels becomes so high,
_THINNEST = 8  # but not more than this part of its length
_LEAST_FOR_TEXT_PX = 160
_PERCENTILES = (1, 50, 99.9)
_SAMPLES = 1_000_000  # of the pixels, enough for percentiles
_RINGS = 5

_NEEDED = (
    ("direct beam", ("beam_x_px", "beam_y_px"), "--x0 and --y0"),
    ("wavelength", ("wavelength_angstrom",), "--wavelength"),
    ("distance", ("distance_m",), "--distance"),
    ("pixel size", ("pixel_x_m", "pixel_y_m"), "--pixelsize"),
)


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """What a user sees.

    Attributes
    ----------
    rgb : ndarray of uint8, shape (ny, nx, 3)
    low, high : float
        Values of the darkest and of the brightest colour; what is beyond them has the same.
    masked : float
        Share of the frame's pixels that are gaps, bad, or no number.
    rings_angstrom : tuple of float
        Spacings of the rings that are drawn.
    scale : tuple of float
        Rows, and columns, of the picture for one of the frame.
    """

    rgb: Image
    low: float
    high: float
    masked: float
    rings_angstrom: tuple[float, ...]
    scale: tuple[float, float]

    def place(self, y: float, x: float) -> tuple[float, float]:
        """Return where a point of the frame is in the picture; both count pixels from the centre of the first one."""
        return (y + 0.5) * self.scale[0] - 0.5, (x + 0.5) * self.scale[1] - 0.5


def render(
    view: View,
    frames: int | Sequence[int] = 0,
    *,
    combine: Combine = "sum",
    size: tuple[int, int] = (1200, 1200),
    rings: Sequence[float] | None = None,
) -> Image:
    """Return the colours of a frame, or of several together: ndarray of uint8, shape (ny, nx, 3).

    See :func:`picture`, which tells more of it.
    """
    return picture(view, frames, combine=combine, size=size, rings=rings).rgb


def picture(
    view: View,
    frames: int | Sequence[int] = 0,
    *,
    combine: Combine = "sum",
    size: tuple[int, int] = (1200, 1200),
    rings: Sequence[float] | None = None,
) -> Picture:
    """Return a picture of a frame, or of several together.

    Parameters
    ----------
    view : View
        The geometry is that of its facts.
    frames : int, or several
        Counted from 0.
    combine : {"sum", "max"}
        What becomes of a pixel of several frames.
    size : tuple of int
        Most rows, and most columns, of the picture.
    rings : sequence of float, optional
        Spacings in angstrom; by default some that lie well in the frame. Empty: none.

    Raises
    ------
    UrlError
        If there is no such frame, or a size or a spacing is not possible.
    SourceError, DecodeError
        If a frame cannot be read.
    """
    if min(size) < 1:
        raise UrlError(f"a picture of {size[0]} x {size[1]} pixels is not possible", hint="give 1 or more")
    values = _values(view, frames, combine)
    masked = float(np.isnan(values).mean())
    low, step, high = _limits(values, counts=view.facts.dtype.kind in "ui")
    values, scale = _fitted(values, size)
    rgb = _coloured(values, low, step, high)
    shown = Picture(rgb, low, high, masked, (), scale)
    drawn = _draw_rings(shown, view.facts.geometry, view.facts.shape[1:], rings)
    _draw_beam(shown, view.facts.geometry)
    return Picture(rgb, low, high, masked, drawn, scale)


def write_png(path: str | os.PathLike[str], rgb: Image) -> None:
    """Write a picture as a PNG file.

    Raises
    ------
    ExportError
        If the file cannot be written.
    """
    try:
        Path(path).write_bytes(png(rgb))
    except OSError as error:
        raise ExportError(
            f"the picture cannot be written: {error.strerror}", file=path, hint="name another folder"
        ) from error


def lacking(geometry: Geometry) -> dict[str, list[str]]:
    """Return what cannot be drawn, and for want of what: "beam centre" and "rings" -> words and options."""
    unknown = [
        f"{words} ({options})"
        for words, names, options in _NEEDED
        if any(getattr(geometry, name) is None for name in names)
    ]
    beam = [words for words in unknown if words.startswith(_NEEDED[0][0])]
    return {what: words for what, words in (("beam centre", beam), ("rings", unknown)) if words}


def ring_radius_m(spacing_angstrom: float, wavelength_angstrom: float, distance_m: float) -> float | None:
    """Return the radius of a powder ring, metres; None where it lies at 90 degrees or more from the beam."""
    sine = wavelength_angstrom / (2 * spacing_angstrom)
    return None if sine >= math.sqrt(0.5) else distance_m * math.tan(2 * math.asin(sine))


@cache
def colours() -> NDArray[np.uint8]:
    """Return the colours of values from the lowest to the highest, ndarray of uint8, shape (n, 3)."""
    value = np.linspace(0, 1, _COLOURS)
    angle = 2 * np.pi * (0.5 / 3 + 1 - 1.5 * value)
    amplitude = value * (1 - value) / 2
    weights = np.array([[-0.14861, 1.78277], [-0.29227, -0.90649], [1.97294, 0.0]])
    rgb = value[:, None] + amplitude[:, None] * (np.stack([np.cos(angle), np.sin(angle)], 1) @ weights.T)
    table: NDArray[np.uint8] = np.clip(np.rint(255 * rgb), 0, 255).astype(np.uint8)
    return table


# ---------------------------------------------------------------------------------------------------- values


def _values(view: View, frames: int | Sequence[int], combine: Combine) -> NDArray[np.float64]:
    """Pixels of the frames together, (ny, nx); those that are masked or no number in any frame are NaN."""
    wanted = [frames] if isinstance(frames, int) else list(frames)
    count = view.facts.shape[0]
    if not wanted:
        raise UrlError("no frame is chosen", file=view.facts.url, hint=f"there are frames 0 to {count - 1}")
    for frame in wanted:
        if not 0 <= frame < count:
            raise UrlError(f"there is no frame {frame}", file=view.facts.url, hint=f"there are frames 0 to {count - 1}")
    form = Form("<f4", view.facts.shape[1:], gap=math.nan, bad=math.nan)
    how = view.how(form)
    together = np.add if combine == "sum" else np.maximum
    total = np.full(form.shape, 0.0 if combine == "sum" else -math.inf)
    each = np.empty(form.shape, form.dtype)
    for frame in wanted:
        view.stack.prepare(frame, frame)
        view.core.develop(frame, how, each.reshape(-1).view(np.uint8))
        each[np.isinf(each)] = np.nan
        together(total, each, out=total)
    return total


def _fitted(values: NDArray[np.float64], size: tuple[int, int]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The values in at most so many rows and columns, and how many of them one row and column of the frame became."""
    ny, nx = values.shape
    side = max(math.ceil(ny / size[0]), math.ceil(nx / size[1]))
    down = min(side, ny), min(side, nx)
    padded = np.pad(values, ((0, -ny % down[0]), (0, -nx % down[1])), constant_values=np.nan)
    squares = padded.reshape(padded.shape[0] // down[0], down[0], -1, down[1])
    small = np.fmax.reduce(np.fmax.reduce(squares, axis=3), axis=1)
    room = size[0] // small.shape[0], size[1] // small.shape[1]
    even = max(1, min(*room, math.ceil(_LEAST_PX / max(small.shape))))
    thin = min(_THIN_PX, even * max(small.shape) // _THINNEST)
    up = [max(even, min(most, math.ceil(thin / length))) for most, length in zip(room, small.shape, strict=True)]
    large = small.repeat(up[0], axis=0).repeat(up[1], axis=1)
    return large, (up[0] / down[0], up[1] / down[1])


def _limits(values: NDArray[np.float64], *, counts: bool) -> tuple[float, float, float]:
    """Value of the darkest colour, difference from it where the scale becomes logarithmic, value of the brightest."""
    valid = values[~np.isnan(values)]
    if valid.size == 0:
        return 0.0, 1.0, 1.0
    some = valid[:: max(1, valid.size // _SAMPLES)]
    low, middle, high = np.percentile(some, _PERCENTILES).tolist()
    if high <= low:
        high = float(valid.max())
    if high <= low:
        high = low + 1.0
    # the background is what most pixels are; of counts nothing is smaller than one
    least = 1.0 if counts else 1e-4 * (high - low)
    return low, max(middle - low, least), high


def _coloured(values: NDArray[np.float64], low: float, step: float, high: float) -> Image:
    """Colours of the values on a logarithmic scale."""
    outside = np.isnan(values)
    above = np.clip(np.where(outside, low, values), low, high) - low
    part = np.log1p(above / step) / math.log1p((high - low) / step)
    rgb: Image = colours()[np.rint(part * (_COLOURS - 1)).astype(np.intp)]
    rgb[outside] = MASKED
    return rgb


# ---------------------------------------------------------------------------------------------------- beam and rings


def _line_width(rgb: Image) -> int:
    ny, nx = rgb.shape[:2]
    return max(1, int(max(ny, nx) / 900 + 0.5))


def _draw_beam(shown: Picture, geometry: Geometry) -> None:
    if geometry.beam_x_px is None or geometry.beam_y_px is None:
        return
    smallest = min(shown.rgb.shape[:2])
    arm = max(2, smallest // 20)
    centre = shown.place(geometry.beam_y_px, geometry.beam_x_px)
    draw_cross(shown.rgb, centre, arm, arm // 5, BEAM, 2 * _line_width(shown.rgb) if arm > 8 else 1)


def _draw_rings(
    shown: Picture, geometry: Geometry, shape: tuple[int, ...], wanted: Sequence[float] | None
) -> tuple[float, ...]:
    """Draw rings, and return the spacings of those of which a part lies in the frame."""
    for spacing in wanted or ():
        if not 0 < spacing < math.inf:
            raise UrlError(f"a ring of {spacing:g} angstrom is not possible", hint="give spacings greater than zero")
    x, y, wavelength, distance = (
        geometry.beam_x_px,
        geometry.beam_y_px,
        geometry.wavelength_angstrom,
        geometry.distance_m,
    )
    x_m, y_m = geometry.pixel_x_m, geometry.pixel_y_m
    if x is None or y is None or wavelength is None or distance is None or x_m is None or y_m is None:
        return ()
    nearest_m, farthest_m = _reach_m(shape, (y, x), (y_m, x_m))
    spacings = _spacings(wavelength, distance, nearest_m, farthest_m) if wanted is None else wanted
    drawn = []
    for spacing in spacings:
        radius_m = ring_radius_m(spacing, wavelength, distance)
        if radius_m is None or not nearest_m <= radius_m <= farthest_m:
            continue
        radii = radius_m / y_m * shown.scale[0], radius_m / x_m * shown.scale[1]
        draw_ellipse(shown.rgb, shown.place(y, x), radii, RING, _line_width(shown.rgb))
        _label(shown, shown.place(y, x), radii, f"{spacing:.4g} \u00c5")
        drawn.append(spacing)
    return tuple(drawn)


def _reach_m(shape: tuple[int, ...], beam: tuple[float, float], pixel_m: tuple[float, float]) -> tuple[float, float]:
    """Distances of the nearest and the farthest point of the frame from the beam."""
    nearest, farthest = [], []
    for length, centre, size_m in zip(shape, beam, pixel_m, strict=True):
        first, last = -0.5 - centre, length - 0.5 - centre
        nearest.append(size_m * max(0.0, first, -last))
        farthest.append(size_m * max(abs(first), abs(last)))
    return math.hypot(*nearest), math.hypot(*farthest)


def _spacings(wavelength: float, distance: float, nearest_m: float, farthest_m: float) -> list[float]:
    """Round spacings of rings at about equal distances from each other, the largest first."""
    step_m = (farthest_m - nearest_m) / (_RINGS + 0.5)
    radii_m = [nearest_m + step_m * i for i in range(_RINGS + 2)]
    exact = [wavelength / (2 * math.sin(math.atan2(radius_m, distance) / 2)) for radius_m in radii_m if radius_m > 0]
    rings = exact[-_RINGS - 1 : -1]
    return [_rounded(one, one - smaller) for one, smaller in zip(rings, exact[-_RINGS:], strict=True)]


def _rounded(value: float, step: float) -> float:
    """The number next to a value that has the fewest digits, by at most a quarter of the step."""
    unit = 10.0 ** math.floor(math.log10(step / 2))
    coarse = max(digit * unit for digit in (1, 2, 5) if digit * unit <= step / 2)
    return float(f"{round(value / coarse) * coarse:.6g}")


def _label(shown: Picture, centre: tuple[float, float], radii: tuple[float, float], text: str) -> None:
    """Write beside a ring what it is, at the first of some places that lie in the picture."""
    ny, nx = shown.rgb.shape[:2]
    if min(ny, nx) < _LEAST_FOR_TEXT_PX:
        return
    size = max(1, round(min(ny, nx) / 450))
    height, width = text_shape(text, size)
    for degrees in (45, 135, 225, 315, 0, 90, 180, 270, 20, 70, 110, 160, 200, 250, 290, 340):
        turn = math.radians(degrees)
        y, x = centre[0] - radii[0] * math.sin(turn), centre[1] + radii[1] * math.cos(turn)
        top, left = round(y - height / 2), round(x - width / 2)
        if 0 <= top <= ny - height and 0 <= left <= nx - width:
            draw_text(shown.rgb, (top, left), text, size, RING)
            return
