# SPDX-License-Identifier: MIT
"""PONI file of pyFAI, version 2: distance, point of normal incidence, wavelength and pixels of a flat detector.

Source: documentation of pyFAI, "Geometry". Lengths are in metres; axis 1 is the slow one and axis 2 the fast one; the
point of normal incidence is measured from the outer corner of the first pixel, half a pixel before its centre. The
detector stands at right angles to the beam, so that this point is where the beam meets it. Version 2 is
enough: the orientation that version 2.1 adds would be the one that pyFAI takes without it (3).
"""

from __future__ import annotations

import json

from fastlegacy.companions._needs import beam_px, known, unsaid
from fastlegacy.companions.scene import Scene

__all__ = ["COMPANION", "PoniFile"]


class PoniFile:
    """See the module."""

    name = "poni"
    summary = "geometry for pyFAI (.poni)"
    readers = ("pyFAI", "Dioptas")
    warns = False

    def missing(self, scene: Scene) -> tuple[str, ...]:
        """Return what nobody said."""
        return unsaid(scene, "distance", "direct beam", "pixel size")

    def files(self, scene: Scene) -> dict[str, bytes]:
        """Return ``STEM.poni``."""
        geometry = scene.facts.geometry
        pixel1_m, pixel2_m = known(geometry.pixel_y_m, scene), known(geometry.pixel_x_m, scene)
        beam_x_px, beam_y_px = beam_px(scene)
        detector = {"pixel1": pixel1_m, "pixel2": pixel2_m, "max_shape": list(scene.frame_shape)}
        lines = [
            "# written by fastlegacy: axis 1 is the slow one (y), axis 2 the fast one (x)",
            "poni_version: 2",
            "Detector: Detector",
            f"Detector_config: {json.dumps(detector)}",
            f"Distance: {known(geometry.distance_m, scene):.12g}",
            f"Poni1: {(beam_y_px + 0.5) * pixel1_m:.12g}",
            f"Poni2: {(beam_x_px + 0.5) * pixel2_m:.12g}",
            "Rot1: 0.0",
            "Rot2: 0.0",
            "Rot3: 0.0",
        ]
        if geometry.wavelength_angstrom is not None:
            lines.append(f"Wavelength: {geometry.wavelength_angstrom / 1e10:.12g}")
        return {f"{scene.base}.poni": ("\n".join(lines) + "\n").encode("ascii")}


COMPANION = PoniFile()
