# SPDX-License-Identifier: MIT
"""Files of the NeXus definition NXmx: those of Diamond, and of Dectris' filewriter 2 with their thresholds.

Source: NeXus manual, NXmx and NXdetector_module; DECTRIS, "FileWriter V2"
(https://github.com/dectris/documentation). The direct beam counts in pixels from the corner of the first one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.model import Geometry
from fastlegacy.sources._facts import Facts
from fastlegacy.sources._images import channels, group_names, images_at
from fastlegacy.sources._nxmx_chain import angles_of, chain, is_nxmx, is_rotation, panel_of
from fastlegacy.sources.find import Found

__all__ = ["SOURCE", "NxmxSource"]

_log = logging.getLogger("fastlegacy.sources")

_CORNER_PX = 0.5
_INCLINED_DEG = 0.5  # a detector that somebody adjusted is straighter


class NxmxSource:
    """Finds ``data/data`` of each entry whose ``definition`` is NXmx."""

    name = "nxmx"
    rank = 25

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the images of each entry, or of each channel of its detector."""
        del path
        entries = [f"/{name}" for name in group_names(context, file, "/")]
        entries = [entry for entry in entries if is_nxmx(context, file, entry)]
        for entry in entries:
            yield from _of_entry(context, file, entry, entry.strip("/") if len(entries) > 1 else "")

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Read detector, beam and goniometer, where they are as the chains of transformations say."""
        entry = "/" + found.path.split("/")[1]
        facts = Facts(context, file)
        facts.first_text("title", (f"{entry}/title",))
        facts.first_text("start_time", (f"{entry}/start_time",))
        detector = _detector_of(facts, entry)
        if detector:
            _put_panel(facts, detector)
            _put_detector(facts, detector, found.detector)
        _put_beam(facts, entry)
        images = images_at(context, file, found.path)
        if images is not None:
            _put_rotation(facts, f"{entry}/sample", images.shape[0])
        return facts.geometry()


def _of_entry(context: Context, file: str, entry: str, scan: str) -> Iterator[Found]:
    path = f"{entry}/data/data"
    images = images_at(context, file, path)
    if images is None:
        return
    value = Facts(context, file).read(f"{entry}/data/channel")
    names = [] if value is None else [str(name) for name in value.data.reshape(-1)]
    for number, selection in channels(images.shape):
        name = "" if number is None else names[number] if number < len(names) else f"channel_{number + 1}"
        yield Found(path, "the definition NXmx", scan, name, selection=selection)


def _detector_of(facts: Facts, entry: str) -> str | None:
    """The group of the detector: ``detector``, or the first that has pixels of a size."""
    for instrument in (name for name in facts.members(entry) if name.startswith("instrument")):
        names = facts.members(f"{entry}/{instrument}")
        for name in sorted(names, key=lambda name: name != "detector"):
            members = facts.members(f"{entry}/{instrument}/{name}")
            if "x_pixel_size" in members or "module" in members:
                return f"{entry}/{instrument}/{name}"
    return None


def _put_panel(facts: Facts, detector: str) -> None:
    """Put what the position of the module says: distance and beam only where somebody set them."""
    module = f"{detector}/module"
    panel = panel_of(facts, module) if "module" in facts.members(detector) else None
    if panel is None:
        return
    facts.first_number("pixel_x_m", (f"{module}/fast_pixel_direction",), "m")
    facts.first_number("pixel_y_m", (f"{module}/slow_pixel_direction",), "m")
    where = str(DataUrl(facts.file, f"{module}/fast_pixel_direction"))
    if panel.distance_m == 0:
        return
    if panel.inclination_deg > _INCLINED_DEG:
        _log.warning("%s: the detector is inclined by %.4g deg, which headers do not say", where, panel.inclination_deg)
    facts.put("distance_m", float(f"{panel.distance_m:.10g}"), where)
    beam = panel.beam_px()
    if beam is not None and any(panel.origin_m[:2]):
        for name, pixels in zip(("beam_x_px", "beam_y_px"), beam, strict=True):
            facts.put(name, float(f"{pixels - _CORNER_PX:.10g}"), where)


def _put_detector(facts: Facts, detector: str, channel: str) -> None:
    facts.first_number("distance_m", (f"{detector}/distance", f"{detector}/detector_distance"), "m")
    facts.first_number("beam_x_px", (f"{detector}/beam_center_x",), "px", minus=_CORNER_PX)
    facts.first_number("beam_y_px", (f"{detector}/beam_center_y",), "px", minus=_CORNER_PX)
    facts.first_number("pixel_x_m", (f"{detector}/x_pixel_size",), "m")
    facts.first_number("pixel_y_m", (f"{detector}/y_pixel_size",), "m")
    facts.first_number("exposure_s", (f"{detector}/count_time",), "s")
    facts.first_number("period_s", (f"{detector}/frame_time",), "s")
    facts.first_number("sensor_thickness_m", (f"{detector}/sensor_thickness",), "m")
    facts.first_text("sensor_material", (f"{detector}/sensor_material",))
    facts.saturation((f"{detector}/saturation_value",))
    thresholds = [f"{detector}/{channel}_channel/threshold_energy"] if channel else []
    for path in (*thresholds, f"{detector}/threshold_energy"):
        value = facts.read(path)
        if value is not None and value.data.size == 1:  # the difference of two thresholds has both
            facts.first_number("threshold_ev", (path,), "ev")
    facts.detector((f"{detector}/description",), (f"{detector}/serial_number", f"{detector}/detector_number"))


def _put_beam(facts: Facts, entry: str) -> None:
    instruments = [f"{entry}/{name}" for name in facts.members(entry) if name.startswith("instrument")]
    beams = [f"{group}/beam" for group in (*instruments, f"{entry}/sample")]
    facts.first_number("wavelength_angstrom", [f"{beam}/incident_wavelength" for beam in beams], "angstrom")
    for beam in beams:
        if "wavelength_angstrom" not in facts.values:
            facts.energy(f"{beam}/incident_energy")


def _put_rotation(facts: Facts, sample: str, frames: int) -> None:
    """Put the axis that turns; the others of the sample's chain are motors."""
    motors: dict[str, float] = {}
    for path, angles in _axes(facts, sample):
        name = path.rpartition("/")[2]
        where = str(DataUrl(facts.file, path))
        if len(set(angles[:frames])) > 1:
            if len(angles) >= frames:
                facts.angles(angles[:frames], where)
            continue
        motors[name] = angles[0]
        if frames == 1 or len(angles) == 1:
            step = facts.number(f"{path}_increment_set", "deg")
            if step:
                facts.put("start_deg", angles[0], where)
                facts.put("step_deg", step, f"{where}_increment_set")
    if motors:
        facts.put("motors", motors, str(DataUrl(facts.file, sample)))


def _axes(facts: Facts, sample: str) -> Iterator[tuple[str, list[float]]]:
    """The rotations on which the sample stands, innermost first: (path, angles in degrees)."""
    start = facts.read(f"{sample}/depends_on")
    first = start.text() if start is not None else ""
    if first in ("", "."):
        first = next((f"transformations/{n}" for n in facts.members(f"{sample}/transformations") if n == "omega"), "")
    if not first:
        return
    for path, value in chain(facts, first if first.startswith("/") else f"{sample}/{first}"):
        angles = angles_of(facts, value) if is_rotation(value) or path.endswith("/omega") else None
        if angles:
            yield path, angles


SOURCE = NxmxSource()
