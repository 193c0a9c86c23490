# SPDX-License-Identifier: MIT
"""``dials.phil``: the frames and the geometry for ``dials.import``, whatever the headers of the frames say.

Source: documentation of DIALS, "dials.import", and the phil scopes of dxtbx. Lengths are in mm; pixels are counted from
the outer corner of the first one, whose centre is at 0.5. A rotation per frame is not negative in DIALS: a scan that
goes back turns about the opposite axis. The other programs of DIALS take the geometry from what was imported.
"""

from __future__ import annotations

from fastlegacy.companions._needs import beam_px, known, unsaid
from fastlegacy.companions.scene import Scene
from fastlegacy.model import Geometry

__all__ = ["COMPANION", "DialsImport"]

_LAYOUTS = ("cbf", "smv", "mccd")
# what ends a quotation, stands for a digit, or for a variable of phil
_FORBIDDEN = frozenset("#$\"'\\")


class DialsImport:
    """See the module."""

    name = "dials"
    summary = "geometry for DIALS (dials.import dials.phil)"
    readers = ("DIALS",)
    warns = False

    def missing(self, scene: Scene) -> tuple[str, ...]:
        """Return what nobody said."""
        return unsaid(scene, "distance", "wavelength", "direct beam", layouts=_LAYOUTS)

    def files(self, scene: Scene) -> dict[str, bytes]:
        """Return ``dials.phil``."""
        geometry = scene.facts.geometry
        x_px, y_px = beam_px(scene)
        lines = [
            "# written by fastlegacy; use it in this folder: dials.import dials.phil",
            *_template(scene),
            "geometry {",
            f"  beam.wavelength = {_number(known(geometry.wavelength_angstrom, scene))}",
            f"  detector.distance = {_number(1e3 * known(geometry.distance_m, scene))}",
            f"  detector.fast_slow_beam_centre = {_number(x_px + 0.5)} {_number(y_px + 0.5)}",
            *_rotation(geometry),
            "}",
        ]
        return {"dials.phil": ("\n".join(lines) + "\n").encode()}


def _template(scene: Scene) -> list[str]:
    template = scene.template("#")
    if template is None or not _FORBIDDEN.isdisjoint(scene.stem) or not scene.stem.isprintable():
        return ["# no template fits the names of the frames: give them after dials.phil"]
    return [f'input.template = "{template}"']


def _rotation(geometry: Geometry) -> list[str]:
    start_deg, step_deg = geometry.start_deg, geometry.step_deg
    if start_deg is None or not step_deg:
        return []
    turn = 1 if step_deg > 0 else -1
    lines = [f"  scan.oscillation = {_number(turn * start_deg)} {_number(turn * step_deg)}"]
    if turn < 0:
        lines.append("  goniometer.axis = -1 0 0")
    return lines


def _number(value: float) -> str:
    return f"{value:.10g}"


COMPANION = DialsImport()
