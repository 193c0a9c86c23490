# SPDX-License-Identifier: MIT
"""The numbers of an experiment, which the builders write at the places and in the units of their conventions."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Experiment"]


@dataclass(frozen=True, slots=True)
class Experiment:
    """What a builder is told. None: it is not written.

    A convention without a place for a value leaves it out.

    Attributes
    ----------
    wavelength_angstrom, distance_m : float or None
    corner_x_px, corner_y_px : float or None
        Direct beam in pixels from the outer corner of the first one, x along the rows.
    pixel_x_m, pixel_y_m : float or None
    exposure_s, period_s : float or None
        Of one frame, and from the start of a frame to that of the next.
    start_deg, step_deg : float or None
        Where the rotation begins, and its change from frame to frame.
    threshold_ev : float or None
        Of the first threshold; others are multiples of it.
    saturation_counts : int or None
    sensor_material, detector, serial_number, title, start_time : str or None
    sensor_thickness_m : float or None
    """

    wavelength_angstrom: float | None = 0.2854
    distance_m: float | None = 0.1535
    corner_x_px: float | None = 16.25
    corner_y_px: float | None = 8.75
    pixel_x_m: float | None = 7.5e-05
    pixel_y_m: float | None = 7.5e-05
    exposure_s: float | None = 0.0395
    period_s: float | None = 0.05
    start_deg: float | None = -12.5
    step_deg: float | None = 0.25
    threshold_ev: float | None = 21700.0
    saturation_counts: int | None = 54321
    sensor_material: str | None = "CdTe"
    sensor_thickness_m: float | None = 0.00075
    detector: str | None = "Dectris EIGER2 CdTe 4M"
    serial_number: str | None = "E-08-0117"
    title: str | None = "lysozyme 3"
    start_time: str | None = "2026-03-01T12:00:00.250"

    def angles_deg(self, frames: int) -> list[float] | None:
        """Where each frame begins."""
        if self.start_deg is None or self.step_deg is None:
            return None
        return [self.start_deg + i * self.step_deg for i in range(frames)]
