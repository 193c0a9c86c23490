# SPDX-License-Identifier: MIT
"""The text of a miniCBF file: comment lines in the words of Dectris detectors, and the MIME header of the pixels.

Words and units are those of Pilatus files. What dxtbx cannot do without is always there, with the neutral values of
``_settings.py`` where nobody said; the line ``Not_given`` tells which these are.
"""

from __future__ import annotations

import base64
import re

import numpy as np

from fastlegacy.layouts._int32 import limits
from fastlegacy.layouts._moments import moment
from fastlegacy.layouts._settings import Settings
from fastlegacy.layouts._text import angle_text, printable
from fastlegacy.model import Geometry, StackFacts
from fastlegacy.pixels import Coded

__all__ = ["CONVENTIONS", "TAIL", "convention", "head"]

CONVENTIONS = ("PILATUS_1.2", "SLS_1.0", "GENERIC_MINI")
TAIL = b"\r\n--CIF-BINARY-FORMAT-SECTION----\r\n;\r\n"

_PILATUS, _, _GENERIC = CONVENTIONS
_MAGIC = b"\x0c\x1a\x04\xd5"
_LONGEST = 80
_UNKNOWN = "unknown"

# (columns, rows) of a module, those of the gap between two, and how many modules there may be side by side
_PILATUS_MODULES = (((487, 195), (7, 17), 5),)
_EIGER_MODULES = (((1030, 514), (10, 37), 4), ((1028, 512), (12, 38), 4))


# ---------------------------------------------------------------------------------------------------- convention


def convention(facts: StackFacts) -> str:
    """Return the header convention with which DIALS opens an image of this shape.

    For Pilatus and Eiger files dxtbx masks the gaps between modules, and fails on a shape that no such detector has.
    The shape alone makes no Eiger: Jungfrau detectors have the same.
    """
    return _PILATUS if _is_eiger(facts) or _is_pilatus(facts) else _GENERIC


def _is_eiger(facts: StackFacts) -> bool:
    return "eiger" in _model(facts) and _made_of(facts, _EIGER_MODULES)


def _is_pilatus(facts: StackFacts) -> bool:
    return "eiger" not in _model(facts) and _made_of(facts, _PILATUS_MODULES)


def _model(facts: StackFacts) -> str:
    return (facts.geometry.detector or "").lower()


def _made_of(facts: StackFacts, modules: tuple[tuple[tuple[int, int], tuple[int, int], int], ...]) -> bool:
    _, ny, nx = facts.shape
    for (columns, rows), (gap_x, gap_y), most in modules:
        across, left_x = divmod(nx + gap_x, columns + gap_x)
        down, left_y = divmod(ny + gap_y, rows + gap_y)
        if left_x == left_y == 0 and 1 <= across <= most and down >= 1:
            return True
    return False


# ---------------------------------------------------------------------------------------------------- text


def head(facts: StackFacts, frame: int, words: str, coded: Coded, padding: str, *, digest: bool) -> bytes:
    """Return a file up to its pixels; one length for all frames, for bodies whose sizes have as many digits.

    Parameters
    ----------
    facts : StackFacts
    frame : int
        Counted from 0.
    words : str
        The header convention.
    coded : Coded
        Size and digest of the body.
    padding : str
        How many bytes follow the body.
    digest : bool
        Whether the digest is written.

    Raises
    ------
    LayoutError
        If the geometry is not possible, or an angle does not fit.
    """
    lines = [
        "###CBF: VERSION 1.5, fastlegacy",
        "",
        f"data_{_block_name(facts, frame)}",
        "",
        f'_array_data.header_convention "{words}"',
        "_array_data.header_contents",
        ";",
        *(f"# {line}" for line in _contents(facts, frame, words)),
        ";",
        "",
        "_array_data.data",
        ";",
        *_mime(facts, coded, padding, digest=digest),
        "",
        "",
    ]
    return "\r\n".join(lines).encode("ascii") + _MAGIC


def _block_name(facts: StackFacts, frame: int) -> str:
    file = facts.url.partition("::")[0].rpartition("/")[2].removesuffix(".h5")
    width = max(5, len(str(facts.shape[0])))
    return f"{re.sub('[^A-Za-z0-9]+', '_', file).strip('_')[:50] or 'image'}_{frame + 1:0{width}d}"


def _mime(facts: StackFacts, coded: Coded, padding: str, *, digest: bool) -> list[str]:
    _, ny, nx = facts.shape
    return [
        "--CIF-BINARY-FORMAT-SECTION--",
        "Content-Type: application/octet-stream;",
        '     conversions="x-CBF_BYTE_OFFSET"',
        "Content-Transfer-Encoding: BINARY",
        f"X-Binary-Size: {coded.size}",
        "X-Binary-ID: 1",
        'X-Binary-Element-Type: "signed 32-bit integer"',
        "X-Binary-Element-Byte-Order: LITTLE_ENDIAN",
        *([f"Content-MD5: {base64.b64encode(coded.md5).decode('ascii')}"] if digest else []),
        f"X-Binary-Number-of-Elements: {ny * nx}",
        f"X-Binary-Size-Fastest-Dimension: {nx}",
        f"X-Binary-Size-Second-Dimension: {ny}",
        f"X-Binary-Size-Padding: {padding}",
    ]


# ---------------------------------------------------------------------------------------------------- comments


def _contents(facts: StackFacts, frame: int, words: str) -> list[str]:
    time = moment(facts, frame).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return [
        _detector(facts, words),
        time,
        *_detector_lines(facts),
        *_beam_lines(facts),
        *_angle_lines(facts, frame),
        *_remarks(facts, words),
    ]


def _detector(facts: StackFacts, words: str) -> str:
    name = facts.geometry.detector
    # dxtbx goes by this line too, whatever the convention: a name here says that the shape is that of the detector
    if words == _GENERIC and re.search("eiger|pilatus", _model(facts)) and not (_is_eiger(facts) or _is_pilatus(facts)):
        name = None
    return _said("Detector: ", name)


def _detector_lines(facts: StackFacts) -> list[str]:
    geometry, settings = facts.geometry, Settings.of(facts)
    period_s = settings.exposure_s if geometry.period_s is None else geometry.period_s
    lines = [
        *_sensor_lines(geometry),
        f"Pixel_size {_pixel_m(settings.pixel_x_mm)} x {_pixel_m(settings.pixel_y_mm)}",
        f"Exposure_time {_plain(settings.exposure_s)} s",
        f"Exposure_period {_plain(period_s)} s",
        f"Count_cutoff {_count_cutoff(facts)} counts",
    ]
    if geometry.threshold_ev is not None:
        lines.append(f"Threshold_setting: {_plain(geometry.threshold_ev)} eV")
    return lines


def _sensor_lines(geometry: Geometry) -> list[str]:
    material = re.sub("[^A-Za-z0-9]", "", geometry.sensor_material or "")
    if not material:
        return []
    name = {"si": "Silicon", "silicon": "Silicon", "cdte": "CdTe"}.get(material.lower(), material)
    # without a thickness dxtbx fails on a CdTe or silicon sensor; with 0 it corrects no parallax
    return [f"{name} sensor, thickness {geometry.sensor_thickness_m or 0.0:.6f} m"]


def _count_cutoff(facts: StackFacts) -> int:
    high = limits(facts)[1]
    if facts.geometry.saturation_counts is not None:
        return min(facts.geometry.saturation_counts, high)
    if facts.dtype.kind == "f":
        return high
    # the largest unsigned number is that of gaps
    return min(int(np.iinfo(facts.dtype.str).max) - (facts.dtype.kind == "u"), high)


def _beam_lines(facts: StackFacts) -> list[str]:
    settings = Settings.of(facts)
    return [
        f"Wavelength {_plain(settings.wavelength_angstrom)} A",
        f"Detector_distance {_plain(settings.distance_mm / 1e3)} m",
        f"Beam_xy ({_plain(settings.beam_x_px)}, {_plain(settings.beam_y_px)}) pixels",
    ]


def _angle_lines(facts: StackFacts, frame: int) -> list[str]:
    settings = Settings.of(facts)
    # zeros have no sign
    text = angle_text(round(settings.angle_deg(frame), 8) + 0.0, facts, frame, "Start_angle")
    # the spaces stand behind the unit, where every reader strips them
    angle = f"{text.rstrip()} deg.".ljust(len(text) + len(" deg."))
    step = f"{_plain(settings.step_deg)} deg."
    return [
        f"Start_angle {angle}",
        f"Angle_increment {step}",
        "Detector_2theta 0.0000 deg.",
        "Phi 0.0000 deg.",
        f"Omega {angle}",
        f"Omega_increment {step}",
        "Oscillation_axis omega",
    ]


def _remarks(facts: StackFacts, words: str) -> list[str]:
    geometry = facts.geometry
    file, _, dataset = facts.url.partition("::")
    folder, slash, name = file.rpartition("/")
    lines = [
        _said("Image_path: ", folder + slash or "./", end=True),
        _said("Source: ", f"{name}::{dataset}", end=True),
    ]
    if geometry.title is not None:
        lines.append(_said('Title: "', geometry.title) + '"')
    if geometry.detector is not None and _detector(facts, words) == f"Detector: {_UNKNOWN}":
        lines.append(_said('Camera: "', geometry.detector) + '"')
    missing = _not_given(geometry)
    return [*lines, f"Not_given: {', '.join(missing)}"] if missing else lines


def _not_given(geometry: Geometry) -> list[str]:
    # not in the words of the lines above: scripts look for those
    values: dict[str, object] = {
        "pixel size": geometry.pixel_y_m if geometry.pixel_x_m is None else geometry.pixel_x_m,
        "exposure": geometry.exposure_s,
        "cutoff": geometry.saturation_counts,
        "energy": geometry.wavelength_angstrom,
        "distance": geometry.distance_m,
        "beam": None if geometry.beam_x_px is None else geometry.beam_y_px,
        "start": geometry.start_deg if geometry.angles_deg is None else geometry.angles_deg,
        "step": geometry.step_deg,
    }
    return [name for name, value in values.items() if value is None]


def _plain(value: float, decimals: int = 4) -> str:
    # without an exponent, for programs that look for numbers with patterns; zeros have no sign
    whole, _, fraction = f"{round(value, 9) + 0.0:.9f}".partition(".")
    fraction = fraction.rstrip("0").ljust(decimals, "0")
    return f"{whole}.{fraction}" if fraction else whole


def _pixel_m(size_mm: float) -> str:
    return f"{_plain(1e3 * size_mm, 0)}e-6 m"


def _said(key: str, text: str | None, *, end: bool = False) -> str:
    """Return a line with a user's text that no reader takes, or a part of it, for something else.

    CBFlib warns of lines of more than 80 characters: the end of the text is left out, or with `end` the beginning.
    """
    # cctbx splits lines at #, and fabio joins them at a backslash
    kept = printable((text or "").strip(), '#;"\\')
    kept = kept.replace("_array_data", "%5Farray_data").replace("--CIF", "-%2DCIF")
    # fabio takes a line whose second word is "sensor" for that of the sensor
    kept = re.sub(r"^([()=:, ]*)sensor", r"\1%73ensor", kept)
    room = _LONGEST - len("# ") - len(key) - len('"') - len("3A")
    if len(kept) > room:
        kept = f"...{kept[3 - room :]}" if end else f"{kept[: room - 3]}..."
    # dxtbx takes two words with two colons, of which one is ours, for a time
    kept = kept.replace(":", "%3A") if kept.count(":") == 1 else kept
    # fabio fails on a line of one word
    return key + (kept if re.search("[A-Za-z0-9/]", kept) else _UNKNOWN)
