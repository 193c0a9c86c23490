# SPDX-License-Identifier: MIT
"""The geometry for headers that leave nothing out: what is known, and neutral values where nobody said.

Programs that read SMV, mccd and sfrm refuse a file where wavelength or distance are missing or zero. The neutral values
are 1 Angstrom, 100 mm, pixels of 0.1 mm, the beam in the middle of the image, and a still of no exposure time at 0
degrees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastlegacy.errors import LayoutError
from fastlegacy.model import Geometry, StackFacts

__all__ = ["WANTS", "Settings"]

WANTS = (
    "distance_m",
    "wavelength_angstrom",
    "beam_x_px",
    "beam_y_px",
    ("pixel_x_m", "pixel_y_m"),
    ("start_deg", "angles_deg"),
    "step_deg",
    "exposure_s",
)
"""What :class:`Settings` has neutral values for."""

_SAME_SIZE = 1e-3
_ANGLE_WIDTH = 12


@dataclass(frozen=True, slots=True)
class Settings:
    """A geometry without holes.

    Attributes
    ----------
    wavelength_angstrom, distance_mm, pixel_x_mm, pixel_y_mm : float
        All larger than 0.
    beam_x_px, beam_y_px : float
        Direct beam in pixels from the outer corner of the first pixel, whose centre is at 0.5.
    exposure_s, start_deg, step_deg : float
        Of one frame; the angle at the start of frame 0; its change from frame to frame.
    geometry : Geometry
        What it was made from.
    """

    wavelength_angstrom: float
    distance_mm: float
    pixel_x_mm: float
    pixel_y_mm: float
    beam_x_px: float
    beam_y_px: float
    exposure_s: float
    start_deg: float
    step_deg: float
    geometry: Geometry

    @classmethod
    def of(cls, facts: StackFacts) -> Settings:
        """Return the geometry of a stack.

        Raises
        ------
        LayoutError
            If a value is no number, or a length is not larger than 0.
        """
        geometry = facts.geometry
        _, ny, nx = facts.shape
        settings = cls(
            wavelength_angstrom=_else(geometry.wavelength_angstrom, 1.0),
            distance_mm=1e3 * _else(geometry.distance_m, 0.1),
            pixel_x_mm=1e3 * _else(geometry.pixel_x_m, _else(geometry.pixel_y_m, 1e-4)),
            pixel_y_mm=1e3 * _else(geometry.pixel_y_m, _else(geometry.pixel_x_m, 1e-4)),
            beam_x_px=nx / 2 if geometry.beam_x_px is None else geometry.beam_x_px + 0.5,
            beam_y_px=ny / 2 if geometry.beam_y_px is None else geometry.beam_y_px + 0.5,
            exposure_s=_else(geometry.exposure_s, 0.0),
            start_deg=_else(geometry.start_deg, 0.0),
            step_deg=_else(geometry.step_deg, 0.0),
            geometry=geometry,
        )
        settings._check(facts)
        return settings

    def angle_deg(self, frame: int) -> float:
        """Rotation angle at the start of a frame; of one more than the last, where that one ends."""
        return _else(self.geometry.angle_deg(frame), self.start_deg + frame * self.step_deg)

    def angle_text(self, facts: StackFacts, frame: int, key: str, further_deg: float = 0.0) -> str:
        """Return the rotation angle at the start of a frame, or further on, with 6 decimals, 12 characters wide.

        Raises
        ------
        LayoutError
            If it takes more characters; `key` is the header's word for it.
        """
        angle_deg = self.angle_deg(frame) + further_deg
        text = f"{angle_deg:{_ANGLE_WIDTH}.6f}"
        if not math.isfinite(angle_deg) or len(text) > _ANGLE_WIDTH:
            raise LayoutError(
                f"the angle {angle_deg} degrees does not fit into the {_ANGLE_WIDTH} characters of {key}",
                file=facts.url,
                frame=frame,
                hint="check start angle and step angle",
            )
        return text

    def pixel_mm(self, facts: StackFacts, name: str) -> float:
        """Return the size of square pixels, for a format that has one number for it.

        Raises
        ------
        LayoutError
            If they are not square.
        """
        if not math.isclose(self.pixel_x_mm, self.pixel_y_mm, rel_tol=_SAME_SIZE):
            raise LayoutError(
                f"pixels of {self.pixel_x_mm:g} mm x {self.pixel_y_mm:g} mm are not square, and {name} has one size",
                file=facts.url,
                hint="give both pixel sizes alike, or use a format with two, such as mccd",
            )
        return self.pixel_x_mm

    def _check(self, facts: StackFacts) -> None:
        for name in self.__slots__[:-1]:
            value = getattr(self, name)
            positive = name in ("wavelength_angstrom", "distance_mm", "pixel_x_mm", "pixel_y_mm")
            if not math.isfinite(value) or (positive and value <= 0):
                raise LayoutError(
                    f"{name} cannot be {value:g}",
                    file=facts.url,
                    hint="give another value, or leave it out for a neutral one",
                )


def _else(value: float | None, neutral: float) -> float:
    return neutral if value is None else value
