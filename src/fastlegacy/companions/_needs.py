# SPDX-License-Identifier: MIT
"""What the files of a companion cannot be without: asked for and named in one way by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastlegacy.companions.scene import Scene
from fastlegacy.errors import LayoutError

__all__ = ["beam_px", "known", "unsaid"]

_ATTRIBUTES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "distance": ("distance_m",),
        "wavelength": ("wavelength_angstrom",),
        "direct beam": ("beam_x_px", "beam_y_px"),
        "pixel size": ("pixel_x_m", "pixel_y_m"),
        "start angle": ("start_deg",),
        "step angle": ("step_deg",),
    }
)


def unsaid(scene: Scene, *words: str, layouts: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return those of the words that the scene's geometry knows nothing of.

    Parameters
    ----------
    scene : Scene
    words : str
        "distance", "wavelength", "direct beam", "pixel size", "start angle", "step angle".
    layouts : tuple of str
        The files are of use beside these layouts only; empty: beside all.
    """
    geometry = scene.facts.geometry
    missing = [word for word in words if any(getattr(geometry, name) is None for name in _ATTRIBUTES[word])]
    if layouts and scene.layout not in layouts:
        missing.insert(0, f"frames as {' or '.join(layouts)}")
    return tuple(missing)


def known(value: float | None, scene: Scene) -> float:
    """Return a value that :func:`unsaid` was asked about before.

    Raises
    ------
    LayoutError
        If it is not known all the same.
    """
    if value is None:
        raise LayoutError(
            "the geometry lacks a value that this file cannot be without",
            file=scene.facts.url,
            hint="ask the companion what is missing before it makes its files",
        )
    return value


def beam_px(scene: Scene) -> tuple[float, float]:
    """Return the direct beam (x, y) in the frame, pixels from the centre of the frame's first pixel.

    Raises
    ------
    LayoutError
        If it is not known.
    """
    geometry = scene.facts.geometry
    row, column = scene.image_at
    return known(geometry.beam_x_px, scene) + column, known(geometry.beam_y_px, scene) + row
