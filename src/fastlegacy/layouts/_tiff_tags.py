# SPDX-License-Identifier: MIT
"""The values of a TIFF header: its directory, the description in Pilatus words, the resolution, the time."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple

from fastlegacy.layouts._text import angle_text, printable
from fastlegacy.model import Geometry, StackFacts

__all__ = ["Resolution", "date_time", "description", "directory", "resolution"]

_TYPES = {"ASCII": 2, "SHORT": 3, "LONG": 4, "RATIONAL": 5}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_UNIT, _PER_CENTIMETRE = 1, 3


class Resolution(NamedTuple):
    """Pixels for each unit of length, as numerator and denominator, and the number that TIFF has for the unit."""

    x: tuple[int, int]
    y: tuple[int, int]
    unit: int


def directory(entries: list[tuple[int, str, int, int]]) -> bytes:
    """Return an image file directory, the last of its file, from (tag, type, count, value or offset)."""
    # little endian: a SHORT in the first two bytes of the value's four is the same as a LONG
    packed = [struct.pack("<HHII", tag, _TYPES[kind], count, value) for tag, kind, count, value in entries]
    return struct.pack("<H", len(packed)) + b"".join(packed) + bytes(4)


def description(facts: StackFacts, frame: int) -> bytes:
    """Return the lines of a Pilatus header, for what is known, with the zero at their end; one length for all frames.

    Raises
    ------
    LayoutError
        If the angle does not fit.
    """
    lines = [*_stack_lines(facts.geometry), *_angle_lines(facts, frame), f"Image_path: {printable(facts.url)}"]
    return "".join(f"# {line}\r\n" for line in lines).encode("ascii") + b"\0"


def _stack_lines(geometry: Geometry) -> list[str]:
    lines = []
    if geometry.pixel_x_m is not None and geometry.pixel_y_m is not None:
        lines.append(f"Pixel_size {_micrometres(geometry.pixel_x_m)} m x {_micrometres(geometry.pixel_y_m)} m")
    if geometry.exposure_s is not None:
        lines.append(f"Exposure_time {geometry.exposure_s:.12g} s")
    if geometry.wavelength_angstrom is not None:
        lines.append(f"Wavelength {geometry.wavelength_angstrom:.12g} A")
    if geometry.distance_m is not None:
        lines.append(f"Detector_distance {geometry.distance_m:.12g} m")
    if geometry.beam_x_px is not None and geometry.beam_y_px is not None:
        lines.append(f"Beam_xy ({geometry.beam_x_px + 0.5:.12g}, {geometry.beam_y_px + 0.5:.12g}) pixels")
    return lines


def _micrometres(length_m: float) -> str:
    # 75e-6 and not 7.5e-05: programs look for the first with patterns
    return f"{length_m * 1e6:.9f}".rstrip("0").rstrip(".") + "e-6"


def _angle_lines(facts: StackFacts, frame: int) -> list[str]:
    angle_deg = facts.geometry.angle_deg(frame)
    if angle_deg is None:
        return []
    text = angle_text(angle_deg, facts, frame, "Start_angle")
    # the spaces stand behind the unit, where every reader strips them
    padding = " " * (len(text) - len(text.rstrip()))
    lines = [f"Start_angle {text.rstrip()} deg.{padding}"]
    # angles that are not evenly spaced have no step
    step_deg = facts.geometry.step_deg
    return lines if step_deg is None else [*lines, f"Angle_increment {step_deg:.12g} deg."]


def resolution(geometry: Geometry) -> Resolution:
    """Return the pixels for each centimetre, or 1 of no unit where the pixel size is not known."""
    sizes_m = geometry.pixel_x_m, geometry.pixel_y_m
    if any(size_m is None or not 1e-8 <= size_m <= 1 for size_m in sizes_m):
        return Resolution((1, 1), (1, 1), _NO_UNIT)
    x, y = (Fraction(0.01 / size_m).limit_denominator(1000) for size_m in sizes_m if size_m is not None)
    return Resolution((x.numerator, x.denominator), (y.numerator, y.denominator), _PER_CENTIMETRE)


def date_time(mtime_ns: int) -> bytes:
    """Return the 20 bytes of DateTime, in UTC; with spaces for digits where the time is beyond four digits of years."""
    try:
        time = _EPOCH + timedelta(seconds=mtime_ns // 10**9)
    except OverflowError:
        return b"    :  :     :  :  \0"
    return f"{time.year:04d}:{time:%m:%d %H:%M:%S}\0".encode("ascii")
