# SPDX-License-Identifier: MIT
"""What LImA and LImA2 say of a detector: in, the group with its data; out, values of a geometry.

Source: LImA's ``CtSaving_Hdf5.cpp``; for LImA2 what dxtbx reads (``FormatESRFJungfrau4M``). Lengths are in metres. The
beam of LImA2 is taken as counted from the corner of the first pixel, as dxtbx takes it; its own definition was not
found.
"""

from __future__ import annotations

from fastlegacy.sources._facts import Facts

__all__ = ["detector_facts"]

_CORNER_PX = 0.5


def detector_facts(facts: Facts, file: str, home: str) -> None:
    """Keep what the groups beside the data of a LImA file say.

    Parameters
    ----------
    facts : Facts
    file, home : str
        The LImA file, and the group in it with ``data``, ``detector_information``, ``acquisition``.
    """
    info, acquisition = f"{home}/detector_information", f"{home}/acquisition"
    facts.first_number("exposure_s", (f"{acquisition}/exposure_time",), "s", file=file)
    facts.first_number("pixel_x_m", (f"{info}/pixel_size/xsize", f"{info}/x_pixel_size"), "m", file=file)
    facts.first_number("pixel_y_m", (f"{info}/pixel_size/ysize", f"{info}/y_pixel_size"), "m", file=file)
    facts.first_number("distance_m", (f"{info}/detector_distance",), "m", file=file)
    facts.first_number("beam_x_px", (f"{info}/beam_center_x",), "px", file=file, minus=_CORNER_PX)
    facts.first_number("beam_y_px", (f"{info}/beam_center_y",), "px", file=file, minus=_CORNER_PX)
    facts.first_number("wavelength_angstrom", (f"{home}/beam/incident_wavelength",), "angstrom", file=file)
    facts.saturation((f"{info}/saturation_value",), file)
    facts.detector((f"{info}/model", f"{info}/name"), file=file)
