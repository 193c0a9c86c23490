# SPDX-License-Identifier: MIT
"""Masters of Dectris' filewriter 1: ``/entry/data`` with the links ``data_000001``, ``data_000002``, ...

Source: DECTRIS, "Header Groups" of the EIGER API (https://www.dectris.com/support/downloads/header-docs/nexus/). There
the direct beam counts in pixels from the corner of the first one: without a better value it is half the number of
pixels. Zero stands for a wavelength, a distance or a beam that nobody set.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.model import Geometry
from fastlegacy.sources._dectris_blocks import block_names, blocks_of
from fastlegacy.sources._facts import Facts
from fastlegacy.sources._images import group_names, images_at
from fastlegacy.sources._nxmx_chain import is_nxmx
from fastlegacy.sources.find import Found

__all__ = ["SOURCE", "DectrisSource"]

_CORNER_PX = 0.5
_AXES = ("omega", "phi", "chi", "kappa")
_MODEL = re.compile(r"(?i)\b(arina|eiger|ela|mythen|pilatus|quadro|selun|singla)[0-9]*")


class DectrisSource:
    """Finds the blocks of each entry, or, where the master holds the images itself, its dataset."""

    name = "dectris"
    rank = 30

    def find(self, context: Context, file: str, path: str = "") -> Iterator[Found]:
        """Yield the series of each entry."""
        del path
        entries = [f"/{name}" for name in group_names(context, file, "/")]
        entries = [entry for entry in entries if _is_master(context, file, entry)]
        for entry in entries:
            found = _series(context, file, entry, entry.strip("/") if len(entries) > 1 else "")
            if found is not None:
                yield found

    def geometry(self, context: Context, file: str, found: Found) -> Geometry:
        """Read all that headers want from detector, beam and goniometer."""
        entry = "/" + found.path.split("/")[1]
        facts = Facts(context, file)
        _put_detector(facts, f"{entry}/instrument/detector")
        _put_beam(facts, entry)
        _put_goniometer(facts, f"{entry}/sample/goniometer", _frames(context, file, found))
        return facts.geometry()


def _is_master(context: Context, file: str, entry: str) -> bool:
    """Tell it by what filewriter 1 alone writes: blocks, or the detector's own parameters beside images."""
    names = group_names(context, file, f"{entry}/data")
    if is_nxmx(context, file, entry):
        return False
    if block_names(names):
        return True
    return "data" in names and "detectorSpecific" in group_names(context, file, f"{entry}/instrument/detector")


def _series(context: Context, file: str, entry: str, scan: str) -> Found | None:
    facts = Facts(context, file)
    detector = f"{entry}/instrument/detector"
    description = facts.read(f"{detector}/description")
    model = _MODEL.search(description.text()) if description is not None else None
    name = model[0].lower() if model else ""
    links = block_names(group_names(context, file, f"{entry}/data"))
    if not links:
        images = images_at(context, file, f"{entry}/data/data")
        if images is None or len(images.shape) != 3:
            return None
        return Found(f"{entry}/data/data", "a master of Dectris with its images", scan, name)
    blocks = blocks_of(context, file, f"{entry}/data", links, _images_asked_for(facts, detector))
    why = f"a master of Dectris, {len(links)} block{'s' if len(links) > 1 else ''}"
    return Found(f"{entry}/data", why, scan, name, blocks)


def _images_asked_for(facts: Facts, detector: str) -> int | None:
    images = facts.number(f"{detector}/detectorSpecific/nimages", "counts")
    triggers = facts.number(f"{detector}/detectorSpecific/ntrigger", "counts")
    return int(images * (triggers or 1)) or None if images else None


def _frames(context: Context, file: str, found: Found) -> int:
    if found.blocks:
        return sum(block.frames or 0 for block in found.blocks)
    images = images_at(context, file, found.path)
    return 0 if images is None else images.shape[0]


def _put_detector(facts: Facts, detector: str) -> None:
    specific = f"{detector}/detectorSpecific"
    facts.first_number("distance_m", (f"{detector}/detector_distance", f"{detector}/distance"), "m")
    facts.first_number("beam_x_px", (f"{detector}/beam_center_x",), "px", minus=_CORNER_PX)
    facts.first_number("beam_y_px", (f"{detector}/beam_center_y",), "px", minus=_CORNER_PX)
    facts.first_number("pixel_x_m", (f"{detector}/x_pixel_size",), "m")
    facts.first_number("pixel_y_m", (f"{detector}/y_pixel_size",), "m")
    facts.first_number("exposure_s", (f"{detector}/count_time",), "s")
    facts.first_number("period_s", (f"{detector}/frame_time",), "s")
    facts.first_number("sensor_thickness_m", (f"{detector}/sensor_thickness",), "m")
    facts.first_text("sensor_material", (f"{detector}/sensor_material",))
    facts.first_number("threshold_ev", (f"{detector}/threshold_energy",), "ev")
    facts.saturation(
        (
            f"{specific}/saturation_value",
            f"{detector}/saturation_value",
            f"{specific}/countrate_correction_count_cutoff",
            f"{specific}/detectorModule_000/countrate_correction_count_cutoff",
        )
    )
    facts.detector((f"{detector}/description",), (f"{detector}/detector_number",))
    facts.first_text("start_time", (f"{specific}/data_collection_date",))


def _put_beam(facts: Facts, entry: str) -> None:
    facts.first_number(
        "wavelength_angstrom",
        (
            f"{entry}/sample/beam/incident_wavelength",
            f"{entry}/instrument/beam/wavelength",
            f"{entry}/instrument/monochromator/wavelength",
            f"{entry}/instrument/beam/incident_wavelength",
        ),
        "angstrom",
    )


def _put_goniometer(facts: Facts, goniometer: str, frames: int) -> None:
    """Angles of the axis that turns; the others, and two theta, are motors."""
    starts: dict[str, list[float]] = {}
    for axis in _AXES:
        value = facts.read(f"{goniometer}/{axis}")
        angles = None if value is None else facts.convert(value, "deg")
        if angles:
            starts[axis] = angles
    turning = [axis for axis, angles in starts.items() if len(set(angles[:frames])) > 1]
    for axis in turning or starts:
        if _put_axis(facts, f"{goniometer}/{axis}", starts[axis], frames):
            break
    motors = {axis: angles[0] if len(set(angles)) == 1 else angles[:frames] for axis, angles in starts.items()}
    usable = {axis: value for axis, value in motors.items() if isinstance(value, float) or len(value) == frames}
    if usable:
        facts.put("motors", usable, str(DataUrl(facts.file, goniometer)))


def _put_axis(facts: Facts, path: str, angles: list[float], frames: int) -> bool:
    """Put an axis, if it turns: by its list of angles, or by the only one and a step."""
    where = str(DataUrl(facts.file, path))
    if len(angles) >= frames > 1 and len(set(angles[:frames])) > 1:
        facts.angles(angles[:frames], where)
        return True
    if len(angles) > 1:
        return False
    for name in ("increment", "range_average"):
        step = facts.number(f"{path}_{name}", "deg")
        if step:
            facts.put("start_deg", angles[0], where)
            return facts.put("step_deg", step, f"{where}_{name}")
    return False


SOURCE = DectrisSource()
