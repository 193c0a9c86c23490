# SPDX-License-Identifier: MIT
"""The 25 lines of 256 bytes before the pixels of an Esperanto file.

Rothkirch et al., J. Synchrotron Rad. 20 (2013) 711, doi 10.1107/S0909049513018621, table 2, says what the items mean.
"""

from __future__ import annotations

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._int32 import limits
from fastlegacy.layouts._moments import moment
from fastlegacy.layouts._settings import Settings
from fastlegacy.layouts._text import printable
from fastlegacy.model import StackFacts

__all__ = ["header"]

_LINES = 25
_ROOM = 256 - len("\r\n")

_END = "\r\x1a"
_KAPPA_ALPHA_DEG = 50.0
_POLARIZATION = 0.98
_OVERFLOW_COUNTS = 1_000_000

_Line = tuple[str | int | float, ...]


def header(facts: StackFacts, frame: int, width: int, column: int, pixels: str) -> bytes:
    """Return the header of a frame.

    Parameters
    ----------
    facts : StackFacts
    frame : int
        Counted from 0.
    width : int
        Rows, and columns, of the square in the file.
    column : int
        Where in it the image's first column is.
    pixels : str
        "4BYTE_LONG" or "AGI_BITFIELD".

    Raises
    ------
    LayoutError
        If the geometry is not possible, or a line of it is too long.
    """
    lines: list[_Line] = [
        ("ESPERANTO FORMAT   1 CONSISTING OF   25 LINES OF   256 BYTES EACH",),
        ("IMAGE", width, width, 1, 1, f'"{pixels}"'),
        *_detector_lines(facts),
        *_time_lines(facts, frame),
        *_angle_lines(facts, frame),
        *_geometry_lines(facts, column),
        ("ABSTORUN", 0),
        ("HISTORY", f'"{_history(facts)}"'),
    ]
    lines += [()] * (_LINES - len(lines))
    text = "\r\n".join(_text(facts, frame, line) for line in lines) + _END
    return text.encode("ascii")


def _text(facts: StackFacts, frame: int, line: _Line) -> str:
    text = " ".join(_item(item) for item in line).ljust(_ROOM)
    if len(text) > _ROOM:
        raise LayoutError(
            f"the line {line[0]} of the header takes {len(text)} characters, and Esperanto has {_ROOM}",
            file=facts.url,
            frame=frame,
            hint="check the geometry for numbers that are too large",
        )
    return text


def _item(value: str | int | float) -> str:
    # zeros have no sign
    return f"{round(value, 6) + 0.0:.6f}" if isinstance(value, float) else str(value)


def _detector_lines(facts: StackFacts) -> list[_Line]:
    saturation = facts.geometry.saturation_counts
    overflow = _OVERFLOW_COUNTS if saturation is None else min(saturation, limits(facts)[1])
    return [
        ("SPECIAL_CCD_1", 1.0, 0, 0, 1.0, 0.0, 0.0),
        ("SPECIAL_CCD_2", 0, 0, 0, 0, overflow),
        ("SPECIAL_CCD_3", *[0] * 5),
        ("SPECIAL_CCD_4", *[0] * 8),
        ("SPECIAL_CCD_5", *[0.0] * 4),
    ]


def _time_lines(facts: StackFacts, frame: int) -> list[_Line]:
    settings = Settings.of(facts)
    pixel_mm = settings.pixel_mm(facts, "Esperanto")
    time = moment(facts, frame).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return [
        ("TIME", settings.exposure_s, 0.0, 0.0),
        ("MONITOR", *[0] * 4),
        ("PIXELSIZE", pixel_mm, pixel_mm, 1e3 * (facts.geometry.sensor_thickness_m or 0.0)),
        ("TIMESTAMP", f'"{time}"'),
        ("GRIDPATTERN", '""'),
    ]


def _angle_lines(facts: StackFacts, frame: int) -> list[_Line]:
    settings = Settings.of(facts)
    # omega turns the other way round
    angle_deg = settings.angle_deg(frame)
    start_deg, end_deg = sorted((-angle_deg, -angle_deg - settings.step_deg))
    return [("STARTANGLESINDEG", start_deg, 0.0, 0.0, 0.0), ("ENDANGLESINDEG", end_deg, 0.0, 0.0, 0.0)]


def _geometry_lines(facts: StackFacts, column: int) -> list[_Line]:
    settings = Settings.of(facts)
    # pixels from the centre of the first one of the square
    beam_px = settings.beam_x_px - 0.5 + column, settings.beam_y_px - 0.5
    return [
        ("GONIOMODEL_1", *[0.0] * 5, *beam_px, _KAPPA_ALPHA_DEG, 0.0, settings.distance_mm),
        ("GONIOMODEL_2", *[0.0] * 4),
        ("WAVELENGTH", *[settings.wavelength_angstrom] * 4),
        ("MONOCHROMATOR", _POLARIZATION, '"SYNCHROTRON"'),
    ]


def _history(facts: StackFacts) -> str:
    room = _ROOM - len('HISTORY ""')
    text = f"fastlegacy {printable(facts.url, chr(34))}"
    return text if len(text) <= room else f"...{text[3 - room :]}"
