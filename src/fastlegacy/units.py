# SPDX-License-Identifier: MIT
"""Numbers with units as people type them: ``140mm``, ``0.14 m``, ``43.5keV``, ``0.2854``, ``512MB``.

Every function takes the text and the name of the option it belongs to, and returns a float in the unit that its
own name says. A bare number has the default unit of the function.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from fastlegacy.errors import UrlError

__all__ = [
    "HC_KEV_ANGSTROM",
    "angle_deg",
    "energy_kev",
    "length_m",
    "memory_bytes",
    "pixels_px",
    "quantity",
    "time_s",
    "wavelength_angstrom",
    "wavelength_from_energy_angstrom",
]

HC_KEV_ANGSTROM = 12.398419843320026
"""Planck constant times speed of light (exact in the SI of 2019), keV * angstrom."""

_NUMBER = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*(\S*)")

_LENGTHS_M: Mapping[str, float] = MappingProxyType(
    {"m": 1.0, "cm": 1e-2, "mm": 1e-3, "um": 1e-6, "micron": 1e-6, "nm": 1e-9, "A": 1e-10, "pm": 1e-12}
)
_WAVELENGTHS_ANGSTROM: Mapping[str, float] = MappingProxyType(
    {"A": 1.0, "angstrom": 1.0, "nm": 10.0, "pm": 0.01, "um": 1e4, "m": 1e10}
)
_ANGLES_DEG: Mapping[str, float] = MappingProxyType({"deg": 1.0, "rad": 57.29577951308232, "mrad": 0.05729577951308232})
_TIMES_S: Mapping[str, float] = MappingProxyType({"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0})
_ENERGIES_KEV: Mapping[str, float] = MappingProxyType({"keV": 1.0, "eV": 1e-3, "MeV": 1e3})
_PIXELS_PX: Mapping[str, float] = MappingProxyType({"px": 1.0})
_MEMORY_BYTES: Mapping[str, float] = MappingProxyType(
    {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
    | {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
)
# micro sign and Greek mu, degree sign, A with ring and the angstrom sign
_SPELLINGS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u00b0": "deg", "\u00c5": "A", "\u212b": "A"})


def quantity(text: str, units: Mapping[str, float], default: str, what: str) -> float:
    """Return the number that a text with an optional unit stands for.

    Parameters
    ----------
    text : str
        A decimal number, then perhaps spaces, then perhaps a unit.
    units : mapping of str to float
        What is understood: unit -> factor.
    default : str
        The unit of a bare number; one of `units`.
    what : str
        Name of the option, for the error message.

    Raises
    ------
    UrlError
        If the text is something else.
    """
    match = _NUMBER.fullmatch(text.strip())
    factor = None if match is None else _factor(match[2] or default, units)
    value = float("nan") if match is None or factor is None else _times(float(match[1]), factor)
    if not math.isfinite(value):
        raise UrlError(
            f"{what}: {text!r} is not understood",
            hint=f"give a number, alone ({default}) or with one of the units {', '.join(units)}, such as 12.5{default}",
        )
    return value


def length_m(text: str, what: str, *, default: str = "mm") -> float:
    """Length greater than zero, metres; a bare number is in `default`."""
    return _positive(quantity(text, _LENGTHS_M, default, what), text, what)


def angle_deg(text: str, what: str) -> float:
    """Angle, degrees; a bare number is in degrees."""
    return quantity(text, _ANGLES_DEG, "deg", what)


def time_s(text: str, what: str) -> float:
    """Time greater than zero, seconds; a bare number is in seconds."""
    return _positive(quantity(text, _TIMES_S, "s", what), text, what)


def energy_kev(text: str, what: str) -> float:
    """Photon energy greater than zero, keV; a bare number is in keV."""
    return _positive(quantity(text, _ENERGIES_KEV, "keV", what), text, what)


def pixels_px(text: str, what: str) -> float:
    """Position on the detector, pixels."""
    return quantity(text, _PIXELS_PX, "px", what)


def memory_bytes(text: str, what: str) -> int:
    """Amount of memory, bytes (kB = 1000, KiB = 1024); a bare number is in megabytes."""
    return int(_positive(quantity(text, _MEMORY_BYTES, "MB", what), text, what))


def wavelength_angstrom(text: str, what: str) -> float:
    """Wavelength, angstrom, from a length (a bare number is in angstrom) or a photon energy such as ``43.5keV``."""
    match = _NUMBER.fullmatch(text.strip())
    if match is not None and _factor(match[2], _ENERGIES_KEV) is not None:
        return wavelength_from_energy_angstrom(energy_kev(text, what))
    try:
        return _positive(quantity(text, _WAVELENGTHS_ANGSTROM, "A", what), text, what)
    except UrlError as error:
        hint = "give a wavelength, alone (A) or with A, nm, pm, um, m, or a photon energy with eV, keV, MeV"
        raise UrlError(error.message, hint=hint) from None


def wavelength_from_energy_angstrom(energy_kev: float) -> float:
    """Wavelength, angstrom, of photons of an energy in keV: ``hc / E``."""
    return HC_KEV_ANGSTROM / energy_kev


def _factor(unit: str, units: Mapping[str, float]) -> float | None:
    unit = unit.translate(_SPELLINGS)
    if unit in units:
        return units[unit]
    return {name.casefold(): factor for name, factor in units.items()}.get(unit.casefold())


def _times(value: float, factor: float) -> float:
    # dividing by 1000 instead of multiplying by the inexact 0.001 makes 140mm exactly 0.14
    inverse = round(1 / factor)
    return value / inverse if factor < 1 and abs(inverse * factor - 1) < 1e-12 else value * factor


def _positive(value: float, text: str, what: str) -> float:
    if not value > 0:
        raise UrlError(f"{what}: {text!r} is out of range", hint="give a number greater than zero")
    return value
