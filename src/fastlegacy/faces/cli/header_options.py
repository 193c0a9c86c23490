# SPDX-License-Identifier: MIT
"""The options that say what headers tell of the measurement: geometry, detector, motors and counters."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastlegacy import units
from fastlegacy.errors import FastlegacyError, UrlError

if TYPE_CHECKING:
    from fastlegacy.hdf5.stack import Stack

__all__ = ["add_header_options", "headers", "with_side_file", "with_values_of_frames"]

_Parse = Callable[[str, str], Any]
_SERIES = ("motors", "counters")


def _micrometres(text: str, what: str) -> float:
    return units.length_m(text, what, default="um")


def _electronvolts(text: str, what: str) -> float:
    value = units.quantity(text, {"eV": 1.0, "keV": 1e3, "MeV": 1e6}, "eV", what)
    if not value > 0:
        raise UrlError(f"{what}: {text!r} is out of range", hint="give a number greater than zero")
    return value


def _moment(text: str, what: str) -> str:
    try:
        datetime.fromisoformat(text.strip())
    except ValueError as error:
        hint = "give a time of ISO 8601, such as 2026-03-01T12:00:00+01:00"
        raise UrlError(f"{what}: {text!r} is not understood", hint=hint) from error
    return text.strip()


def _whole(text: str, what: str) -> int:
    if not text.strip().isdecimal():
        raise UrlError(f"{what}: {text!r} is not understood", hint="give a whole number, 0 or more")
    return int(text)


def _text(text: str, what: str) -> str:
    if not text.strip():
        raise UrlError(f"{what}: an empty text says nothing", hint="leave the option out")
    return text.strip()


# option, names in Geometry, how it is read, metavar, help
_HEADERS: tuple[tuple[str, tuple[str, ...], _Parse, str, str], ...] = (
    ("startangle", ("start_deg",), units.angle_deg, "DEG", "rotation angle at the start of the first frame (deg, rad)"),
    ("stepangle", ("step_deg",), units.angle_deg, "DEG", "rotation from frame to frame (deg, rad)"),
    ("expotime", ("exposure_s",), units.time_s, "S", "exposure time of a frame (s, ms, us)"),
    ("period", ("period_s",), units.time_s, "S", "time from the start of a frame to that of the next (s, ms, us)"),
    (
        "wavelength",
        ("wavelength_angstrom",),
        units.wavelength_angstrom,
        "A",
        "wavelength in angstrom (A, nm, m), or photon energy with its unit (keV, eV)",
    ),
    ("x0", ("beam_x_px",), units.pixels_px, "PX", "direct beam, pixels along the rows from the first pixel's centre"),
    (
        "y0",
        ("beam_y_px",),
        units.pixels_px,
        "PX",
        "direct beam, pixels along the columns from the first pixel's centre",
    ),
    ("distance", ("distance_m",), units.length_m, "MM", "from sample to detector; a bare number is in mm (mm, cm, m)"),
    (
        "pixelsize",
        ("pixel_x_m", "pixel_y_m"),
        _micrometres,
        "UM",
        "edge of a pixel; a bare number is in micrometres (um, mm, m)",
    ),
    ("detector", ("detector",), _text, "NAME", "name and serial number of the detector"),
    ("sensor", ("sensor_material",), _text, "MATERIAL", "material of its sensor, such as Si or CdTe"),
    (
        "thickness",
        ("sensor_thickness_m",),
        _micrometres,
        "UM",
        "thickness of its sensor; a bare number is in micrometres (um, mm, m)",
    ),
    (
        "threshold",
        ("threshold_ev",),
        _electronvolts,
        "EV",
        "threshold of its counter; a bare number is in eV (eV, keV)",
    ),
    ("saturation", ("saturation_counts",), _whole, "N", "the largest value that a pixel can be trusted with"),
    ("title", ("title",), _text, "TEXT", "what the measurement is called"),
    ("start-time", ("start_time",), _moment, "TIME", "when it began, as ISO 8601"),
    ("run", ("run",), _whole, "N", "run number"),
)


def add_header_options(parser: argparse.ArgumentParser) -> None:
    """Add the group ``headers``."""
    group = parser.add_argument_group(
        "headers",
        "What is written into headers that have a place for it. Units may be given, as in 140mm or 43.5keV. Beam and "
        "pixel size are those of the stored frames, whatever becomes of these.",
    )
    group.add_argument(
        "--geometry",
        metavar="FILE",
        help="a file that knows it: .poni (pyFAI), .par (ImageD11, CrysAlis), fastlegacy.toml; options go before it",
    )
    for option, _, _, metavar, text in _HEADERS:
        group.add_argument(f"--{option}", metavar=metavar, help=text)
    group.add_argument(
        "--angles",
        metavar="PATH",
        help="rotation angles in degrees at the start of each frame: path of a dataset in the HDF5 file",
    )
    for option, what in (("motor", "position"), ("counter", "reading")):
        group.add_argument(
            f"--{option}",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"{what}: a number, or the path of a dataset with one for each frame; may be given several times",
        )


def headers(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of the measurement: name in Geometry -> value, only those that were given.

    Of motors and counters, those that stand in the HDF5 file are paths: see :func:`with_values_of_frames`.

    Raises
    ------
    UrlError
        If a value is not understood.
    """
    values: dict[str, Any] = {}
    for option, names, parse, _, _ in _HEADERS:
        text = getattr(args, option.replace("-", "_"))
        if text is not None:
            values.update(dict.fromkeys(names, parse(text, f"--{option}")))
    if ("start_deg" in values) != ("step_deg" in values):
        raise UrlError("--startangle and --stepangle make sense only together", hint="give both, or none")
    if args.angles is not None:
        if "start_deg" in values:
            raise UrlError("--angles and --startangle exclude each other", hint="give one of them")
        values["angles_deg"] = args.angles
    for name in _SERIES:
        option = name.removesuffix("s")
        if texts := getattr(args, option):
            values[name] = dict(_named_value(text, f"--{option}") for text in texts)
    return values


def with_values_of_frames(values: dict[str, Any], stack: Stack) -> dict[str, Any]:
    """Return the values with the numbers of motors and counters whose paths were given, from the stack's file.

    Raises
    ------
    FastlegacyError
        If there are no such numbers.
    """
    found = dict(values)
    if "angles_deg" in values:
        angles = _read(values["angles_deg"], stack, "--angles")
        angles = angles if isinstance(angles, list) else [angles]
        # between frames of a sweep the angle changes from one to the next; the last frame is as wide as the others
        step = (angles[-1] - angles[0]) / (len(angles) - 1) if len(angles) > 1 else 0.0
        found |= {"angles_deg": tuple(angles), "start_deg": angles[0], "step_deg": step}
    for name in _SERIES:
        if name in values:
            option = f"--{name.removesuffix('s')}"
            found[name] = {key: _read(value, stack, f"{option} {key}") for key, value in values[name].items()}
    return found


def with_side_file(stack: Stack, path: str | None) -> Stack:
    """Return the stack with the geometry of a side file, where one is given, over that of its HDF5 file.

    Raises
    ------
    SourceError
        If the file cannot be read.
    UrlError
        If it is no geometry.
    """
    from fastlegacy.geometry.read import over, read_geometry

    if path is None:
        return stack
    return stack.with_geometry(over(read_geometry(path, stack.facts.shape[1:], len(stack)), stack.geometry))


def _named_value(text: str, what: str) -> tuple[str, float | str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name or not equals or not value:
        hint = "write NAME=NUMBER, or NAME=/path/of/a/dataset with one number for each frame"
        raise UrlError(f"{what}: {text!r} is not understood", hint=hint)
    try:
        number = float(value)
    except ValueError:
        return name, value
    if not math.isfinite(number):
        raise UrlError(f"{what}: {value!r} is no position or reading", hint="give a number, or leave it out")
    return name, number


def _read(value: float | str, stack: Stack, what: str) -> float | list[float]:
    from fastlegacy.sources.frame_values import frame_values

    if not isinstance(value, str):
        return value
    try:
        return frame_values(stack.url, value, len(stack), stored_shape=stack.stored_shape)
    except FastlegacyError as error:
        raise UrlError(f"{what}: {error}") from error
