# SPDX-License-Identifier: MIT
"""Geometry files of fastlegacy itself: in, TOML with the names of ``Geometry``; out, what it says.

Format: docs/geometry.md. The table ``[geometry]`` has a number under the full name of an attribute
(``distance_m = 0.14``), or a text with its unit under the name without (``distance = "140 mm"``). The tables
``[motors]`` and ``[counters]`` have a number, or a list with one number for each frame.
"""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastlegacy import units
from fastlegacy.errors import UrlError
from fastlegacy.geometry.reader import Shape, from_file, read_bytes
from fastlegacy.model import Geometry

__all__ = ["READER", "TomlReader"]

_TABLES = ("geometry", "motors", "counters")
_TOGETHER = (("start_deg", "step_deg"), ("beam_x_px", "beam_y_px"))
_WHOLE = ("run", "saturation_counts")
_TEXTS = ("detector", "sensor_material", "title", "start_time")
_ANY_SIGN = ("start_deg", "step_deg", "beam_x_px", "beam_y_px")


def _threshold_ev(text: str, what: str) -> float:
    return units.energy_kev(text, what) * 1e3


_WITH_UNITS: Mapping[str, Callable[[str, str], float]] = MappingProxyType(
    {
        "start_deg": units.angle_deg,
        "step_deg": units.angle_deg,
        "exposure_s": units.time_s,
        "period_s": units.time_s,
        "wavelength_angstrom": units.wavelength_angstrom,
        "distance_m": units.length_m,
        "beam_x_px": units.pixels_px,
        "beam_y_px": units.pixels_px,
        "pixel_x_m": units.length_m,
        "pixel_y_m": units.length_m,
        "sensor_thickness_m": units.length_m,
        "threshold_ev": _threshold_ev,
    }
)
_SHORT: Mapping[str, str] = MappingProxyType({name.rpartition("_")[0]: name for name in _WITH_UNITS})
_KEYS = (*_WITH_UNITS, *_SHORT, *_WHOLE, *_TEXTS, "angles_deg")


class TomlReader:
    """See the module."""

    name = "fastlegacy"
    summary = "geometry as TOML (fastlegacy.toml)"

    def recognises(self, path: Path, head: bytes) -> bool:
        """By the suffix .toml."""
        del head
        return path.suffix.lower() == ".toml"

    def read(self, path: Path, shape: Shape | None) -> Geometry:
        """Return all that the file says."""
        del shape
        tables = _tables(path)
        values: dict[str, Any] = {}
        for key, value in tables["geometry"].items():
            _require(path, "[geometry]", key, _KEYS)
            name = _SHORT.get(key, key)
            if name in values:
                raise _error(path, key, f"the value of {name} stands there twice", "take one of them out")
            values[name] = _value(path, key, name, value)
        for pair in _TOGETHER:
            if sum(name in values for name in pair) == 1:
                raise _error(
                    path, " and ".join(pair), "one of them means nothing without the other", "give both, or none"
                )
        if "angles_deg" in values:
            values |= _start_and_step(path, values)
        for table in ("motors", "counters"):
            series = {key: _series(path, f"{table}.{key}", value) for key, value in tables[table].items()}
            values[table] = series or None
        return from_file(path, values)


READER = TomlReader()


def _tables(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = tomllib.loads(read_bytes(path).decode("utf-8-sig"))
    except ValueError as error:  # also what decoding and parsing raise
        raise UrlError(
            f"this is no TOML: {error}", file=path, hint="docs/geometry.md shows how it is written"
        ) from error
    for key, value in found.items():
        if key in _KEYS:
            raise _error(path, key, "it stands outside of a table", "write [geometry] on a line before it")
        _require(path, "the file", key, _TABLES)
        if not isinstance(value, dict):
            raise _error(path, key, "this is the name of a table", f"write [{key}] on a line of its own")
    return {name: found.get(name, {}) for name in _TABLES}


def _require(path: Path, where: str, key: str, known: Iterable[str]) -> None:
    names = list(known)
    if key in names:
        return
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {near[0]!r}? There are {', '.join(names)}" if near else f"there are {', '.join(names)}"
    raise UrlError(f"{where} has no key {key!r}", file=path, hint=hint)


def _error(path: Path, key: str, what: str, hint: str) -> UrlError:
    return UrlError(f"{key}: {what}", file=path, hint=hint)


def _value(path: Path, key: str, name: str, value: object) -> Any:
    if name in _TEXTS:
        return _text(path, key, value)
    if name == "angles_deg":
        series = _series(path, key, value)
        if not isinstance(series, list):
            raise _error(path, key, "this is no list", "give a list with one number for each frame")
        return tuple(series)
    if name in _WHOLE:
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise _error(path, key, f"{value!r} is not understood", "give a whole number, 0 or more")
        return value
    return _quantity(path, key, name, value)


def _quantity(path: Path, key: str, name: str, value: object) -> float:
    short = name.rpartition("_")[0]
    hint = f'write {name} = 0.1 for a number, or {short} = "0.1 UNIT" with its unit'
    if isinstance(value, str):
        if value.strip()[-1:].isdecimal() or value.strip()[-1:] == ".":
            raise _error(path, key, f"{value!r} has no unit", hint)
        try:
            return _WITH_UNITS[name](value, key)
        except UrlError as error:
            raise UrlError(error.message, file=path, hint=error.hint) from error
    number = _number(value)
    if number is None:
        raise _error(path, key, f"{value!r} is not understood", hint)
    if key != name:
        raise _error(path, key, f"{value!r} has no unit", hint)
    if number <= 0 and name not in _ANY_SIGN:
        raise _error(path, key, f"{value!r} is out of range", "give a number greater than zero")
    return number


def _start_and_step(path: Path, values: Mapping[str, Any]) -> dict[str, float]:
    """What formats without room for each angle say of them: the first one, and the mean step."""
    if "start_deg" in values:
        raise _error(path, "angles_deg", "start and step say the same in another way", "take one of them out")
    angles = values["angles_deg"]
    step = (angles[-1] - angles[0]) / (len(angles) - 1) if len(angles) > 1 else 0.0
    return {"start_deg": angles[0], "step_deg": step}


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _text(path: Path, key: str, value: object) -> str:
    if key == "start_time" and isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if not isinstance(value, str) or not value.strip():
        raise _error(path, key, f"{value!r} is no text", "write it between quotation marks, or leave it out")
    if key == "start_time":
        try:
            datetime.fromisoformat(value.strip())
        except ValueError as error:
            hint = "give a time of ISO 8601, such as 2026-03-01T12:00:00+01:00"
            raise _error(path, key, f"{value!r} is not understood", hint) from error
    return value.strip()


def _series(path: Path, key: str, value: object) -> float | list[float]:
    hint = "give a number, or a list with one for each frame"
    if isinstance(value, list):
        numbers = [_number(each) for each in value]
        if not numbers or None in numbers:
            raise _error(path, key, "this is no list of numbers", hint)
        return [number for number in numbers if number is not None]
    number = _number(value)
    if number is None:
        raise _error(path, key, f"{value!r} is not understood", hint)
    return number
