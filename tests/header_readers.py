# SPDX-License-Identifier: MIT
"""Headers of legacy files in one set of words and units, read by fabio, tifffile, or by the format's document.

Each reader takes the path of a file, and the frame of the file, and returns what stands there:
``wavelength_angstrom``, ``distance_m``, ``beam_x_px`` and ``beam_y_px`` (from the centre of the first pixel of the
file), ``pixel_x_m``, ``pixel_y_m``, ``exposure_s``, ``period_s``, ``angle_deg``, ``end_deg``, ``step_deg``,
``threshold_ev``, ``saturation_counts``, ``sensor_material``, ``sensor_thickness_m``, ``title``, ``detector``, ``run``,
``seconds`` (of the frame's beginning, since 1970), ``motors``, ``counters``. Nothing here is fastlegacy's.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fabio
import tifffile

__all__ = ["READERS"]

Header = dict[str, Any]


def _seconds(text: str, pattern: str = "") -> float:
    time = datetime.strptime(text, pattern) if pattern else datetime.fromisoformat(text)
    return time.replace(tzinfo=UTC).timestamp()


def _edf(path: Path, frame: int, place: int = 0) -> Header:
    """Words of the SAXS programs: metres, and the corner of the first pixel; Omega and SPEC's pairs of lines."""
    del frame
    with fabio.open(str(path)) as image:
        keys = dict(image.get_frame(place).header)
    found = {
        "wavelength_angstrom": _number(keys, "WaveLength", 1e10),
        "distance_m": _number(keys, "SampleDistance"),
        "beam_x_px": _number(keys, "Center_1", less=0.5),
        "beam_y_px": _number(keys, "Center_2", less=0.5),
        "pixel_x_m": _number(keys, "PSize_1"),
        "pixel_y_m": _number(keys, "PSize_2"),
        "exposure_s": _number(keys, "ExposureTime"),
        "angle_deg": _number(keys, "Omega"),
        "step_deg": _number(keys, "OmegaStep"),
        "run": _number(keys, "Run"),
        "seconds": _number(keys, "time_of_day"),
        "title": keys.get("title"),
        "start_time": keys.get("Date"),
    }
    for prefix in ("motor", "counter"):
        names, values = (keys.get(f"{prefix}_{part}", "").split() for part in ("mne", "pos"))
        found[f"{prefix}s"] = dict(zip(names, map(float, values), strict=True))
    return {name: value for name, value in found.items() if value not in (None, {})}


def _edf_stack(path: Path, frame: int) -> Header:
    return _edf(path, frame, place=frame)


def _number(keys: Mapping[str, str], key: str, factor: float = 1.0, less: float = 0.0) -> float | None:
    return float(keys[key]) * factor - less if key in keys else None


# words of Pilatus headers -> what they are, groups of numbers
_PILATUS: dict[str, tuple[str, ...]] = {
    r"Wavelength (\S+) A$": ("wavelength_angstrom",),
    r"Detector_distance (\S+) m$": ("distance_m",),
    r"Pixel_size (\S+) m x (\S+) m$": ("pixel_x_m", "pixel_y_m"),
    r"Beam_xy \((\S+), (\S+)\) pixels$": ("beam_x_px", "beam_y_px"),
    r"Exposure_time (\S+) s$": ("exposure_s",),
    r"Exposure_period (\S+) s$": ("period_s",),
    r"Start_angle (\S+) deg\.$": ("angle_deg",),
    r"Angle_increment (\S+) deg\.$": ("step_deg",),
    r"Omega (\S+) deg\.$": ("omega_deg",),
    r"Omega_increment (\S+) deg\.$": ("omega_step_deg",),
    r"Threshold_setting: (\S+) eV$": ("threshold_ev",),
    r"Count_cutoff (\S+) counts$": ("saturation_counts",),
    r"\S+ sensor, thickness (\S+) m$": ("sensor_thickness_m",),
}
_TEXTS = {
    r"(\S+) sensor, thickness": "sensor_material",
    r"Detector: (.*)$": "detector",
    r'Camera: "(.*?)"?$': "detector",  # fabio takes a quotation mark at the end of the last line away
    r'Title: "(.*?)"?$': "title",
    r"Not_given: (.*)$": "not_given",
    r"(\d{4}-\d\d-\d\dT[\d:.]+)$": "time",
}


def _pilatus(text: str) -> Header:
    found: Header = {}
    for line in text.splitlines():
        words = line.removeprefix("#").strip()
        for pattern, names in _PILATUS.items():
            if match := re.match(pattern, words):
                found |= zip(names, map(float, match.groups()), strict=True)
        for pattern, name in _TEXTS.items():
            if match := re.match(pattern, words):
                found[name] = match[1]
    # these count from the corner of the first pixel
    found |= {name: found[name] - 0.5 for name in ("beam_x_px", "beam_y_px") if name in found}
    if "time" in found:
        found["seconds"] = _seconds(found.pop("time"))
    return found


def _cbf(path: Path, frame: int) -> Header:
    del frame
    with fabio.open(str(path)) as image:
        found = _pilatus(image.header["_array_data.header_contents"])
    # the same twice, for programs that look for one or the other
    assert (found.pop("omega_deg"), found.pop("omega_step_deg")) == (found["angle_deg"], found["step_deg"])
    found["sensor_material"] = {"Silicon": "Si"}.get(found.get("sensor_material", ""), found.get("sensor_material"))
    return {name: value for name, value in found.items() if value is not None}


def _tiff(path: Path, frame: int) -> Header:
    del frame
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags
        found = _pilatus(tags["ImageDescription"].value)
        if "pixel_x_m" in found:
            # pixels for each centimetre
            assert tags["ResolutionUnit"].value == 3
            for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
                over, under = tags[tag].value
                assert abs(0.01 * under / over / found[f"pixel_{axis}_m"] - 1) < 1e-3
    return found


def _smv(path: Path, frame: int) -> Header:
    """ADSC: the beam in mm in MOSFLM's frame, where X is along the slow axis."""
    del frame
    with fabio.open(str(path)) as image:
        keys = dict(image.header)
    pixel_mm = float(keys["PIXEL_SIZE"])
    assert keys["PHI"] == keys["OSC_START"]
    return {
        "wavelength_angstrom": float(keys["WAVELENGTH"]),
        "distance_m": float(keys["DISTANCE"]) / 1e3,
        "beam_x_px": float(keys["BEAM_CENTER_Y"]) / pixel_mm - 0.5,
        "beam_y_px": float(keys["BEAM_CENTER_X"]) / pixel_mm - 0.5,
        "pixel_x_m": pixel_mm / 1e3,
        "pixel_y_m": pixel_mm / 1e3,
        "exposure_s": float(keys["TIME"]),
        "angle_deg": float(keys["OSC_START"]),
        "step_deg": float(keys["OSC_RANGE"]),
        "saturation_counts": int(keys["CCD_IMAGE_SATURATION"]),
        "seconds": _seconds(keys["DATE"], "%a %b %d %H:%M:%S %Y"),
    }


# byte in the file, from the record of marccd's documentation, which begins at byte 1024: what is there, its unit
_MARCCD = {
    1024 + 640: ("distance_m", 1e-6),
    1024 + 644: ("beam_x_px", 1e-3),
    1024 + 648: ("beam_y_px", 1e-3),
    1024 + 656: ("exposure_s", 1e-3),
    1024 + 684: ("angle_deg", 1e-3),
    1024 + 716: ("end_deg", 1e-3),
    1024 + 736: ("step_deg", 1e-3),
    1024 + 772: ("pixel_x_m", 1e-9),
    1024 + 776: ("pixel_y_m", 1e-9),
    1024 + 908: ("wavelength_angstrom", 1e-5),
    1024 + 104: ("saturation_counts", 1),
}


def _mccd(path: Path, frame: int) -> Header:
    del frame
    data = path.read_bytes()[:4096]
    found: Header = {name: struct.unpack_from("<i", data, at)[0] * unit for at, (name, unit) in _MARCCD.items()}
    found |= {name: found[name] - 0.5 for name in ("beam_x_px", "beam_y_px")}
    found["title"] = data[2048:2176].rstrip(b"\0").decode()
    found["seconds"] = _seconds(data[2368:2400].rstrip(b"\0").decode(), "%m%d%H%M%Y.%S")
    # before and after the exposure
    assert data[1024 + 696 : 1024 + 700] == data[1024 + 728 : 1024 + 732] == data[1024 + 640 : 1024 + 644]
    return found


def _sfrm(path: Path, frame: int) -> Header:
    """Bruker: cm; pixels of 5 mm over the second word of DETTYPE; angles are 2-theta, omega, phi, chi."""
    with fabio.open(str(path)) as image:
        keys = dict(image.header)
    assert int(keys["NUMBER"]) == frame + 1
    x_px, y_px, *again = (float(word) for word in keys["CENTER"].split())
    pixel_m = 5e-3 / float(keys["DETTYPE"].split()[1])
    start = [float(word) for word in keys["ANGLES"].split()]
    assert start == [0.0, float(keys["START"]), 0.0, 0.0]
    assert (again, keys["AXIS"]) == ([x_px, y_px], "2")
    assert float(keys["RANGE"]) == abs(float(keys["INCREME"]))
    return {
        "wavelength_angstrom": float(keys["WAVELEN"].split()[0]),
        "distance_m": float(keys["DISTANC"].split()[0]) / 100,
        "beam_x_px": x_px - 0.5,
        "beam_y_px": y_px - 0.5,
        "pixel_x_m": pixel_m,
        "pixel_y_m": pixel_m,
        "exposure_s": float(keys["CUMULAT"]),
        "angle_deg": start[1],
        "end_deg": float(keys["ENDING"].split()[1]),
        "step_deg": float(keys["INCREME"]),
        "saturation_counts": int(keys["CCDPARM"].split()[4]),
        "title": keys["TITLE"].strip(),
        "run": int(keys["RUN"]),
        "seconds": _seconds(keys["CREATED"]),
    }


def _esperanto(path: Path, frame: int) -> Header:
    """CrysAlis: omega has the other sign and always grows; the beam is counted in the square."""
    del frame
    with fabio.open(str(path)) as image:
        keys = dict(image.header)
    ends = -float(keys["dom_s"]), -float(keys["dom_e"])
    return {
        "wavelength_angstrom": float(keys["dalpha1"]),
        "distance_m": float(keys["ddistanceinmm"]) / 1e3,
        "beam_x_px": float(keys["dxorigininpix"]),
        "beam_y_px": float(keys["dyorigininpix"]),
        "pixel_x_m": float(keys["drealpixelsizex"]) / 1e3,
        "pixel_y_m": float(keys["drealpixelsizey"]) / 1e3,
        "exposure_s": float(keys["dexposuretimeinsec"]),
        "ends_deg": ends,
        "saturation_counts": int(keys["loverflowthreshold"]),
        "sensor_thickness_m": float(keys["dsithicknessmmforpixeldetector"]) / 1e3,
        "seconds": _seconds(keys["timestampstring"]),
    }


def _ge(path: Path, frame: int) -> Header:
    del frame
    with fabio.open(str(path)) as image:
        keys = {
            key: value.rstrip(b"\0").decode() if isinstance(value, bytes) else value
            for key, value in image.header.items()
        }
    return {
        "exposure_s": keys["ExposureTimeInMillisecs"] / 1e3,
        "title": keys["AcquisitionName"],
        "seconds": _seconds(f"{keys['AcquisitionDate']} {keys['AcquisitionTime']}"),
    }


READERS: dict[str, Callable[[Path, int], Header]] = {
    "cbf": _cbf,
    "edf": _edf,
    "edf-stack": _edf_stack,
    "esperanto": _esperanto,
    "ge": _ge,
    "mccd": _mccd,
    "sfrm": _sfrm,
    "smv": _smv,
    "tiff": _tiff,
}
"""Name of the format -> reader. Formats whose headers tell of nothing but pixels have none."""
