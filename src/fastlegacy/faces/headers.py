# SPDX-License-Identifier: MIT
"""What headers tell of a measurement: in, words of the user and a side file; out, the geometry of a stack.

The order is: what was set while the mount runs, the command line, the side file, the HDF5 file.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastlegacy import units
from fastlegacy.errors import FastlegacyError, UrlError
from fastlegacy.model import Geometry

if TYPE_CHECKING:
    from fastlegacy.hdf5.files import Context
    from fastlegacy.hdf5.stack import Stack
    from fastlegacy.sources.array import ArrayStack

__all__ = [
    "HEADERS",
    "SIDE_FILE",
    "Header",
    "Headers",
    "check_headers",
    "parse_headers",
    "said",
    "say_the_same",
    "with_side_file",
]

SIDE_FILE = "fastlegacy.toml"
"""Name of the side file that is looked for beside an HDF5 file."""

NAMES = tuple(each.name for each in fields(Geometry) if each.name != "origin")

_Parse = Callable[[str, str], Any]


def _micrometres(text: str, what: str) -> float:
    return units.length_m(text, what, default="um")


def _electronvolts(text: str, what: str) -> float:
    value = units.quantity(text, {"eV": 1.0, "keV": 1e3, "MeV": 1e6}, "eV", what)
    if not value > 0:
        raise UrlError(f"{what}: {text!r} is out of range", hint="give a number greater than zero")
    return value


def _from_energy(text: str, what: str) -> float:
    return units.wavelength_from_energy_angstrom(units.energy_kev(text, what))


def _beam(text: str, what: str) -> tuple[float, float]:
    words = text.split(",")
    if len(words) != 2:
        raise UrlError(f"{what}: {text!r} is not understood", hint="give X,Y in pixels, such as 1024.5,1022")
    return units.pixels_px(words[0], what), units.pixels_px(words[1], what)


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


@dataclass(frozen=True, slots=True)
class Header:
    """A value that a user can say in words.

    Attributes
    ----------
    option : str
        Its name, without dashes before it.
    names : tuple of str
        The attributes of ``Geometry`` that it becomes: all of them the same value, or each one of a tuple.
    parse : callable
        (text, name for errors) -> value.
    metavar, help : str
    """

    option: str
    names: tuple[str, ...]
    parse: _Parse
    metavar: str
    help: str

    def values(self, text: str, what: str) -> dict[str, Any]:
        """Return what a text says: attribute -> value.

        Raises
        ------
        UrlError
            If it is not understood.
        """
        value = self.parse(text, what)
        return (
            dict(zip(self.names, value, strict=True)) if isinstance(value, tuple) else dict.fromkeys(self.names, value)
        )


HEADERS: tuple[Header, ...] = (
    Header(
        "startangle",
        ("start_deg",),
        units.angle_deg,
        "DEG",
        "rotation angle where the first frame starts (deg, rad)",
    ),
    Header("stepangle", ("step_deg",), units.angle_deg, "DEG", "rotation from frame to frame (deg, rad)"),
    Header("expotime", ("exposure_s",), units.time_s, "S", "exposure time of a frame (s, ms, us)"),
    Header("period", ("period_s",), units.time_s, "S", "time from one frame to the next (s, ms, us)"),
    Header(
        "wavelength",
        ("wavelength_angstrom",),
        units.wavelength_angstrom,
        "A",
        "wavelength in angstrom (A, nm, m), or photon energy with its unit (keV, eV)",
    ),
    Header("energy", ("wavelength_angstrom",), _from_energy, "KEV", "photon energy; a bare number is in keV (keV, eV)"),
    Header(
        "x0", ("beam_x_px",), units.pixels_px, "PX", "direct beam, pixels along the rows from the first pixel's centre"
    ),
    Header(
        "y0",
        ("beam_y_px",),
        units.pixels_px,
        "PX",
        "direct beam, pixels down the columns from the first pixel's centre",
    ),
    Header("beam", ("beam_x_px", "beam_y_px"), _beam, "X,Y", "direct beam: --x0 and --y0 in one"),
    Header(
        "distance",
        ("distance_m",),
        units.length_m,
        "MM",
        "from sample to detector; a bare number is in mm (mm, cm, m)",
    ),
    Header(
        "pixelsize",
        ("pixel_x_m", "pixel_y_m"),
        _micrometres,
        "UM",
        "edge of a pixel; a bare number is in micrometres (um, mm, m)",
    ),
    Header("detector", ("detector",), _text, "NAME", "name and serial number of the detector"),
    Header("sensor", ("sensor_material",), _text, "MATERIAL", "material of its sensor, such as Si or CdTe"),
    Header(
        "thickness",
        ("sensor_thickness_m",),
        _micrometres,
        "UM",
        "thickness of its sensor; a bare number is in micrometres (um, mm, m)",
    ),
    Header(
        "threshold",
        ("threshold_ev",),
        _electronvolts,
        "EV",
        "threshold of its counter; a bare number is in eV (eV, keV)",
    ),
    Header("saturation", ("saturation_counts",), _whole, "N", "the largest value that a pixel can be trusted with"),
    Header("title", ("title",), _text, "TEXT", "what the measurement is called"),
    Header("start-time", ("start_time",), _moment, "TIME", "when it began, as ISO 8601"),
    Header("run", ("run",), _whole, "N", "run number"),
)
"""All values that have a word of their own, in the order of the help."""


def parse_headers(texts: Mapping[str, str], prefix: str = "") -> dict[str, Any]:
    """Return what words say: attribute of ``Geometry`` -> value.

    Parameters
    ----------
    texts : mapping
        Name of an option of :data:`HEADERS` -> text.
    prefix : str
        What stands before the name in errors: ``--`` for options.

    Raises
    ------
    UrlError
        If there is no such name, a text is not understood, or two of them say the same.
    """
    known = {header.option: header for header in HEADERS}
    values: dict[str, Any] = {}
    said_by: dict[str, str] = {}
    for option, text in texts.items():
        if option not in known:
            raise UrlError(f"{prefix}{option} is no value of a header", hint=f"there are {', '.join(known)}")
        for name, value in known[option].values(text, f"{prefix}{option}").items():
            if name in values:
                hint = "give one of the two"
                raise UrlError(f"{prefix}{said_by[name]} and {prefix}{option} say the same thing", hint=hint)
            values[name], said_by[name] = value, option
    return values


def check_headers(texts: Mapping[str, str]) -> None:
    """Raise UrlError where a name is unknown, or a text is not understood; an empty one says nothing."""
    known = [header.option for header in HEADERS]
    for name in texts:
        if name not in known:
            raise UrlError(f"{name} is no value of a header", hint=f"there are {', '.join(known)}")
    parse_headers({name: text for name, text in texts.items() if text})


def say_the_same(one: str, other: str) -> bool:
    """Tell whether two options say something of the same value: ``energy`` and ``wavelength`` do."""
    names = {header.option: set(header.names) for header in HEADERS}
    return bool(names[one] & names[other])


def said(values: Mapping[str, Any], origin: str) -> Geometry:
    """Return the geometry of values that somebody said.

    Raises
    ------
    TypeError
        If a value has an unknown name.
    UrlError
        If a number is none.
    """
    if unknown := sorted(set(values) - set(NAMES)):
        raise TypeError(f"{unknown[0]!r} is no value of a header; there are {', '.join(sorted(NAMES))}")
    for name, value in values.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UrlError(f"{name} cannot be {value}", hint="give a number, or leave it out")
    return Geometry(**values, origin=dict.fromkeys(values, origin))


@dataclass(frozen=True, slots=True)
class Headers:
    """Where the values of headers come from, besides the HDF5 file.

    Attributes
    ----------
    values : mapping
        Attribute of ``Geometry`` -> value. Angles may be a path, and motors and counters numbers or paths, of the
        stack's own file.
    side_file : str or None
        A file with a geometry. None: ``fastlegacy.toml`` beside the HDF5 file, where there is one.
    omega_motor : str
        Name of the motor that turns; empty: as the file's convention has it.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    side_file: str | None = None
    omega_motor: str = ""

    def over(self, stack: Stack, context: Context | None = None) -> Stack:
        """Return the stack with all that is known of it.

        Parameters
        ----------
        stack : Stack
            With what its file says.
        context : Context, optional
            Says by which path a file is opened.

        Raises
        ------
        FastlegacyError
            If the side file or what a path leads to cannot be read.
        """
        from fastlegacy.geometry.read import over
        from fastlegacy.hdf5.files import default_context

        context = context or default_context()
        stack = with_side_file(stack, self.side_file_of(stack, context.real_path), context.real_path)
        if self.omega_motor:
            from fastlegacy.sources.rotation import rotation_of

            stack = stack.with_geometry(over(rotation_of(stack, self.omega_motor, context), stack.geometry))
        values = with_values_of_frames(self.values, stack, context)
        return stack.with_geometry(over(said(values, "command line"), stack.geometry)) if values else stack

    def side_file_of(self, stack: Stack, real_path: Callable[[str], str] = lambda path: path) -> str | None:
        """Return the side file of a stack, None where there is none."""
        path = self.side_file_path(stack)
        return path if self.side_file is not None or os.path.exists(real_path(path)) else None

    def side_file_path(self, stack: Stack) -> str:
        """Return where the side file of a stack is, or would be."""
        if self.side_file is not None:
            return os.path.abspath(self.side_file)
        return os.path.join(os.path.dirname(stack.files()[0]), SIDE_FILE)


def with_side_file(stack: Stack, path: str | None, real_path: Callable[[str], str] = lambda path: path) -> Stack:
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
    real = real_path(path)
    try:
        found = read_geometry(real, stack.facts.shape[1:], len(stack))
    except FastlegacyError as error:
        error.file = path  # by the name that the user knows
        raise
    if real != path:
        found = replace(found, origin={name: where.replace(real, path) for name, where in found.origin.items()})
    return stack.with_geometry(over(found, stack.geometry))


def with_values_of_frames(values: Mapping[str, Any], stack: Stack, context: Context | None = None) -> dict[str, Any]:
    """Return the values with the numbers of motors and counters whose paths were given, from the stack's file.

    Raises
    ------
    FastlegacyError
        If there are no such numbers.
    """
    found = dict(values)
    if isinstance(values.get("angles_deg"), str):
        angles = _read(values["angles_deg"], stack, "--angles", context)
        angles = angles if isinstance(angles, list) else [angles]
        # between frames of a sweep the angle changes from one to the next; the last frame is as wide as the others
        step = (angles[-1] - angles[0]) / (len(angles) - 1) if len(angles) > 1 else 0.0
        found |= {"angles_deg": tuple(angles), "start_deg": angles[0], "step_deg": step}
    for name in ("motors", "counters"):
        if name in values:
            option = f"--{name.removesuffix('s')}"
            found[name] = {key: _read(value, stack, f"{option} {key}", context) for key, value in values[name].items()}
    return found


def _read(value: Any, stack: Stack | ArrayStack, what: str, context: Context | None) -> Any:
    from fastlegacy.sources.frame_values import frame_values

    if not isinstance(value, str):
        return value
    try:
        shape = getattr(stack, "stored_shape", None)
        return frame_values(stack.facts.url, value, len(stack), context, stored_shape=shape)
    except FastlegacyError as error:
        raise UrlError(f"{what}: {error}") from error
