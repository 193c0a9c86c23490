# SPDX-License-Identifier: MIT
"""Reads what files say of an experiment: in, paths of values; out, a geometry in its units, each value with its origin.

What a file does not say is left out. What it says and cannot be read is left out too, with one warning for all of it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d
from numpy.typing import NDArray

from fastlegacy.errors import FastlegacyError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.links import locate, look_for, place_of
from fastlegacy.hdf5.objects import members, numbers, open_object, shape_of, short_list
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.model import Geometry
from fastlegacy.sources._sweeps import frame_width_deg
from fastlegacy.units import HC_KEV_ANGSTROM

__all__ = [
    "ANGLES_DEG",
    "HDF5_ERRORS",
    "LENGTHS_M",
    "Facts",
    "Value",
    "as_text",
    "regular_steps",
    "sources_of",
]

_log = logging.getLogger("fastlegacy.sources")

HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError)
"""What h5py raises where a file is damaged, or a link leads nowhere."""

_ATTRIBUTES = ("units", "vector", "offset", "offset_units", "transformation_type", "depends_on")
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_MOST_LEVELS = 16
_MOST_VALUES = 10_000_000  # numbers of one list: more than any scan has frames

Factors = Mapping[str, tuple[float, float]]
"""Spelling of a unit -> (numerator, denominator): 75 um is 75 * 1 / 1000000 m, exactly as 7.5e-05 is written."""

LENGTHS_M: Factors = MappingProxyType(
    {
        **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), (1, 1)),
        **dict.fromkeys(("mm", "millimeter", "millimetre"), (1, 1000)),
        **dict.fromkeys(("cm", "centimeter", "centimetre"), (1, 100)),
        **dict.fromkeys(("um", "micron", "microns", "micrometer", "micrometre"), (1, 1_000_000)),
        **dict.fromkeys(("nm", "nanometer", "nanometre"), (1, 1_000_000_000)),
    }
)
ANGLES_DEG: Factors = MappingProxyType(
    {
        **dict.fromkeys(("deg", "degree", "degrees"), (1, 1)),
        **dict.fromkeys(("rad", "radian", "radians"), (180, math.pi)),
        "mrad": (0.18, math.pi),
    }
)
_TIMES_S: Factors = MappingProxyType(
    {
        **dict.fromkeys(("s", "sec", "second", "seconds"), (1, 1)),
        **dict.fromkeys(("ms", "millisecond", "milliseconds"), (1, 1000)),
        **dict.fromkeys(("us", "microsecond", "microseconds"), (1, 1_000_000)),
        **dict.fromkeys(("ns", "nanosecond", "nanoseconds"), (1, 1_000_000_000)),
    }
)
_WAVELENGTHS_ANGSTROM: Factors = MappingProxyType(
    {
        **dict.fromkeys(("a", "angstrom", "angstroms"), (1, 1)),
        **dict.fromkeys(("nm", "nanometer"), (10, 1)),
        **dict.fromkeys(("pm", "picometer"), (1, 100)),
        **dict.fromkeys(("m", "meter", "metre"), (10_000_000_000, 1)),
    }
)
_ENERGIES_EV: Factors = MappingProxyType({"ev": (1, 1), "kev": (1000, 1), "mev": (1_000_000, 1)})
_COUNTS: Factors = MappingProxyType(dict.fromkeys(("", "counts", "count", "pixel", "pixels", "px"), (1, 1)))

_FACTORS: Mapping[str, tuple[Factors, str]] = MappingProxyType(
    {
        "m": (LENGTHS_M, "m"),
        "deg": (ANGLES_DEG, "deg"),
        "s": (_TIMES_S, "s"),
        "angstrom": (_WAVELENGTHS_ANGSTROM, "angstrom"),
        "ev": (_ENERGIES_EV, "ev"),
        "px": (_COUNTS, ""),
        "counts": (_COUNTS, ""),
    }
)
# micro sign and Greek mu, degree sign, A with ring and the angstrom sign
_SPELLINGS = str.maketrans({"\u00b5": "u", "\u03bc": "u", "\u00b0": "deg", "\u00c5": "a", "\u212b": "a"})


@dataclass(frozen=True, slots=True)
class Value:
    """What stands at a path.

    Attributes
    ----------
    data : ndarray
        At least one axis; numbers as float64, or objects of str.
    scalar : bool
        It has no axis in the file.
    attrs : mapping of str to object
    where : str
        ``file.h5::/path``.
    """

    data: NDArray[Any]
    scalar: bool
    attrs: Mapping[str, Any]
    where: str

    def text(self) -> str:
        """The first element as a text, without white space around it."""
        return str(self.data.flat[0]).strip() if self.data.size else ""

    @property
    def is_numbers(self) -> bool:
        """Whether these are numbers."""
        return self.data.dtype.kind == "f"

    def units(self, name: str = "units") -> str:
        """The attribute ``units`` in lower case, or nothing."""
        return as_text(self.attrs.get(name, "")).translate(_SPELLINGS).strip().lower()


class Facts:
    """Collects the attributes of a geometry from the paths of a file, and of files that it leads to."""

    def __init__(self, context: Context, file: str) -> None:
        self.context = context
        self.file = file
        self.values: dict[str, Any] = {}
        self.origin: dict[str, str] = {}
        self._problems: list[str] = []

    def geometry(self) -> Geometry:
        """Return all that was found; warn once of what could not be read."""
        if self._problems:
            _log.warning("%s: the geometry is not complete: %s", self.file, "; ".join(self._problems[:4]))
        return Geometry(**self.values, origin=self.origin)

    def problem(self, what: str) -> None:
        """Note something that cannot be read: for the one warning."""
        self._problems.append(what)

    # ------------------------------------------------------------------------------------ what stands there

    def read(self, path: str, file: str | None = None) -> Value | None:
        """What stands at a path; None where there is nothing, or nothing that can be read."""
        file = file or self.file
        try:
            found = place_of(self.context, file, path)
            if found is None:
                return None
            with self.context.open_h5(found[0]) as h5:
                return _value(open_object(h5.id, found[1]), _url(file, path))
        except (FastlegacyError, *HDF5_ERRORS) as exc:
            self.problem(f"{path}: {getattr(exc, 'message', exc)}")
            return None

    def members(self, path: str, file: str | None = None) -> list[str]:
        """Names in a group; none where there is no such group."""
        try:
            found = place_of(self.context, file or self.file, path)
            if found is None:
                return []
            with self.context.open_h5(found[0]) as h5:
                return [name for name, _ in members(open_object(h5.id, found[1]))]
        except (FastlegacyError, *HDF5_ERRORS):
            return []

    def places(self, path: str) -> list[tuple[str, str]]:
        """Where a dataset really is, then its sources: those of `sources_of`, as far as they can be followed."""
        found = []
        try:
            for place in sources_of(self.context, self.file, path):
                found.append(place)  # noqa: PERF402 - what was found before an error counts
        except (FastlegacyError, *HDF5_ERRORS) as exc:
            self.problem(f"{path}: {getattr(exc, 'message', exc)}")
        return found

    def lists(self, path: str, lengths: Collection[int]) -> dict[str, NDArray[np.float64]]:
        """The numbers in a group that are alone (length 1), or lists of one of these lengths: name -> array.

        An array has no axis where the number in the file has none. Nothing else in the group is read, units neither.
        What cannot be read is left out.
        """
        found: dict[str, NDArray[np.float64]] = {}
        try:
            where = place_of(self.context, self.file, path)
            if where is None:
                return {}
            with self.context.open_h5(where[0]) as h5:
                group = open_object(h5.id, where[1])
                for name, _ in members(group):
                    try:
                        values = short_list(group, name, lengths)
                    except HDF5_ERRORS as exc:
                        self.problem(f"{path}/{name}: {exc}")
                        continue
                    if values is not None:
                        found[name] = values
        except (FastlegacyError, *HDF5_ERRORS) as exc:
            self.problem(f"{path}: {getattr(exc, 'message', exc)}")
        return found

    def number(self, path: str, unit: str, default: str | None = None, file: str | None = None) -> float | None:
        """One number in a unit ("m", "deg", "s", "angstrom", "ev", "px", "counts"); see `convert`."""
        value = self.read(path, file)
        found = None if value is None else self.convert(value, unit, default)
        return None if found is None or not len(found) else found[0]

    def convert(self, value: Value, unit: str, default: str | None = None) -> list[float] | None:
        """Numbers in a unit; None where they are none, or the units of the file are not known.

        Parameters
        ----------
        value : Value
        unit : str
        default : str, optional
            The unit of numbers that have no attribute ``units``; `unit` unless given.
        """
        if not value.is_numbers or not np.isfinite(value.data).all():
            self.problem(f"{value.where} is not a number")
            return None
        factors, own = _FACTORS[unit]
        name = value.units() or (own if default is None else default)
        if name not in factors:
            self.problem(f"{value.where} has the units {name!r}")
            return None
        over, under = factors[name]
        return [float(number) * over / under for number in value.data.reshape(-1)]

    # ------------------------------------------------------------------------------------ what is made of it

    def put(self, name: str, value: Any, where: str) -> bool:
        """Keep an attribute of the geometry, unless it is None; the first one stays. True where it is known now."""
        if value is not None and name not in self.values:
            self.values[name] = value
            self.origin[name] = where
        return name in self.values

    def first_number(
        self,
        name: str,
        paths: Sequence[str],
        unit: str,
        default: str | None = None,
        *,
        file: str | None = None,
        zero_is_unset: bool = True,
        minus: float = 0.0,
    ) -> bool:
        """Keep the first number of several paths that is set; True where one was found.

        ``minus`` is taken away from it, after the test for zero.
        """
        for path in paths:
            number = self.number(path, unit, default, file)
            if number is None or (zero_is_unset and number <= 0):
                continue
            return self.put(name, number - minus, str(DataUrl(file or self.file, path)))
        return False

    def first_text(self, name: str, paths: Sequence[str], file: str | None = None) -> bool:
        """Keep the first text of several paths that is not empty."""
        for path in paths:
            value = self.read(path, file)
            if value is not None and value.text():
                return self.put(name, value.text(), str(DataUrl(file or self.file, path)))
        return False

    def saturation(self, paths: Sequence[str], file: str | None = None) -> bool:
        """Keep the first saturation value that is set, as an integer."""
        if self.first_number("saturation_counts", paths, "counts", file=file):
            self.values["saturation_counts"] = int(self.values["saturation_counts"])
        return "saturation_counts" in self.values

    def detector(self, names: Sequence[str], numbers: Sequence[str] = (), file: str | None = None) -> None:
        """Keep the detector's name, and its serial number after it."""
        if self.first_text("detector", names, file):
            serial = next((v for v in (self.read(path, file) for path in numbers) if v is not None and v.text()), None)
            if serial is not None:
                self.values["detector"] += f", S/N {serial.text()}"

    def energy(self, path: str, default: str = "ev", file: str | None = None) -> bool:
        """Keep the wavelength of a photon energy."""
        energy_ev = self.number(path, "ev", default, file)
        if energy_ev is None or energy_ev <= 0:
            return False
        return self.put(
            "wavelength_angstrom", HC_KEV_ANGSTROM * 1000 / energy_ev, str(DataUrl(file or self.file, path))
        )

    def angles(
        self,
        angles_deg: Sequence[float],
        where: str,
        widths_deg: Sequence[float] | None = None,
        where_widths: str = "",
    ) -> None:
        """Keep the angles at which frames start, and their step where it is always the same.

        Where it is not, the step is how far one frame turns, as a rule: by their widths, if these are known.
        """
        self.put("angles_deg", tuple(angles_deg), where)
        steps = regular_steps(angles_deg)
        if steps is not None:
            self.put("start_deg", steps[0], where)
            self.put("step_deg", steps[1], where)
            return
        widths = None if widths_deg is None else np.asarray(widths_deg)
        self.put("step_deg", frame_width_deg(np.asarray(angles_deg), widths), where if widths is None else where_widths)


def as_text(value: Any) -> str:
    """Return a text of HDF5, a string or bytes, perhaps the only one of an array, as str."""
    while isinstance(value, np.ndarray):
        if not value.size:
            return ""
        value = value.flat[0]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def regular_steps(angles_deg: Sequence[float]) -> tuple[float, float] | None:
    """Return (start, step) of angles that are evenly spaced, or None.

    They are where each lies within a twentieth of a step of the straight line through the first and the last: encoders
    are no better than that, and a frame that is out by more belongs to another sweep.
    """
    if len(angles_deg) < 2:
        return None
    values = np.asarray(angles_deg, dtype=np.float64)
    step = (values[-1] - values[0]) / (len(values) - 1)
    line = values[0] + step * np.arange(len(values))
    if step == 0 or np.abs(values - line).max() > abs(step) / 20:
        return None
    return float(values[0]), float(f"{step:.10g}")


def sources_of(context: Context, file: str, path: str) -> Iterator[tuple[str, str]]:
    """Where a dataset really is: (file, path) after its links, then of its first source that is there, and so on."""
    for _ in range(_MOST_LEVELS):
        file, path = locate(context, file, path)
        yield file, path
        source = _first_source(context, file, path)
        if source is None:
            return
        file, path = source


def _first_source(context: Context, file: str, path: str) -> tuple[str, str] | None:
    with context.open_h5(file) as h5:
        dset = open_object(h5.id, path)
        if not isinstance(dset, h5d.DatasetID):
            return None
        properties = dset.get_create_plist()
        if properties.get_layout() != h5d.VIRTUAL:
            return None
        before = None
        for i in range(properties.get_virtual_count()):
            names = properties.get_virtual_filename(i), properties.get_virtual_dsetname(i)
            if names == before:
                continue
            before = names
            name, dataset = (part.replace("%b", "0").replace("%%", "%") for part in names)
            there = file if name == "." else look_for(context, name, file, "HDF5_VDS_PREFIX")
            if there is not None:
                return there, dataset
    return None


def _value(dset: Any, where: str) -> Value | None:
    shape = shape_of(dset)
    if shape is None or math.prod(shape) > _MOST_VALUES:
        return None
    data: NDArray[Any] | None = numbers(dset, shape)
    if data is None:
        data = _others(h5py.Dataset(dset))
    if data is None:
        return None
    attrs: Mapping[str, Any] = _NOTHING
    if h5a.get_num_attrs(dset):
        known = h5py.Dataset(dset).attrs
        attrs = {name: known[name] for name in _ATTRIBUTES if h5a.exists(dset, name.encode())}
    return Value(np.atleast_1d(data), not shape, attrs, where)


def _others(dset: Any) -> NDArray[Any] | None:
    """Texts as an array of str, truth and choices as numbers; None for everything else."""
    if dset.dtype.kind in "uifb":
        return np.asarray(dset[()]).astype(np.float64)
    if dset.dtype.kind in "SO":
        return np.array([as_text(item) for item in np.asarray(dset[()], dtype=object).reshape(-1)], dtype=object)
    return None


def _url(file: str, path: str) -> str:
    return str(DataUrl(file, path))
