# SPDX-License-Identifier: MIT
"""A geometry as people read it: in, its values; out, each with its unit and where it came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastlegacy.model import Geometry

__all__ = ["geometry_rows", "plain_geometry"]

_UNITS = {"deg": "deg", "s": "s", "angstrom": "A", "m": "m", "px": "px", "counts": "counts", "ev": "eV"}
_SHOWN = 12  # motors, or counters: the scans of some beamlines have hundreds


def geometry_rows(geometry: Geometry, file: str) -> list[tuple[str, str, str]]:
    """Return what is known of an experiment: (name, value with its unit, where it comes from).

    Parameters
    ----------
    geometry : Geometry
    file : str
        The file of the stack: values of this one are named by their path alone.
    """
    rows = []
    for name, value in _known(geometry).items():
        origin = geometry.origin.get(name, "").removeprefix(f"{file}::")
        if isinstance(value, Mapping):
            rows += _series_rows(name, value, origin)
            continue
        words = name.split("_")
        unit = _UNITS.get(words[-1], "") if len(words) > 1 else ""
        label = " ".join(words[:-1] if unit else words)
        rows.append((label, _value_text(value, unit), origin))
    return rows


def plain_geometry(geometry: Geometry) -> dict[str, Any]:
    """Return what is known of an experiment for JSON: name -> value and origin."""
    origin = geometry.origin
    return {name: {"value": value, "origin": origin.get(name, "")} for name, value in _known(geometry).items()}


def _known(geometry: Geometry) -> dict[str, Any]:
    values = {field.name: getattr(geometry, field.name) for field in fields(geometry) if field.name != "origin"}
    return {name: value for name, value in values.items() if value is not None and value != {}}


def _series_rows(name: str, series: Mapping[str, Any], origin: str) -> list[tuple[str, str, str]]:
    one = name.removesuffix("s")
    rows = [(f"{one} {key}", _value_text(value, ""), origin) for key, value in list(series.items())[:_SHOWN]]
    more = len(series) - len(rows)
    return [*rows, (name, f"and {more} more (--json lists them)", origin)] if more > 0 else rows


def _value_text(value: Any, unit: str) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        ends = f"{value[0]:.10g} to {value[-1]:.10g} {unit}".strip()
        return f"{ends}, {len(value)} values"
    return (f"{value:.10g} {unit}" if isinstance(value, float) else f"{value} {unit}").strip()
