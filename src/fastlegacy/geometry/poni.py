# SPDX-License-Identifier: MIT
"""PONI files of pyFAI, versions 1 to 3: in, the text; out, distance and beam centre along the beam, and pixels.

Source: documentation of pyFAI, "Geometry", and what ``pyFAI.io.ponifile`` writes. Lengths are in metres, angles in
radians. Axis 1 is the slow one and axis 2 the fast one. The point of normal incidence is measured from the outer
corner of the first pixel. With rotations other than zero the beam meets the detector elsewhere: ``distance`` is the
length of the normal, so that along the beam it is ``distance / (cos(rot1) cos(rot2))``, and the beam is at
``poni1 + distance tan(rot2) / cos(rot1)`` and ``poni2 - distance tan(rot1)``. These are the values of ``getFit2D``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fastlegacy.errors import UrlError
from fastlegacy.geometry.reader import Entry, Shape, from_file, read_bytes, tell_of_tilt
from fastlegacy.model import Geometry

__all__ = ["READER", "PoniReader"]

_NEWEST = 3.0
_ALONG = 3  # an array as it is; the others begin at another of its corners
_FLIPPED: Mapping[int, tuple[bool, bool]] = MappingProxyType(
    {0: (False, False), 1: (True, True), 2: (True, False), 3: (False, False), 4: (False, True)}
)
# files of older versions name a detector and leave it to pyFAI to know its pixels
_PIXELS_M: Mapping[str, float] = MappingProxyType(
    {
        "pilatus4": 150e-6,
        "pilatus": 172e-6,
        "eiger": 75e-6,
        "jungfrau": 75e-6,
        "lambda": 55e-6,
        "maxipix": 55e-6,
        "titan": 60e-6,
    }
)


class PoniReader:
    """See the module."""

    name = "poni"
    summary = "geometry of pyFAI (.poni)"

    def recognises(self, path: Path, head: bytes) -> bool:
        """By the suffix, or a line that begins with ``Poni1:``."""
        return path.suffix.lower() == ".poni" or b"\nponi1:" in b"\n" + head.lower()

    def read(self, path: Path, shape: Shape | None) -> Geometry:
        """Return distance, wavelength, beam, pixels and sensor."""
        entries = {entry.key.lower(): entry for entry in _entries(path)}
        _check_version(entries.get("poni_version"))
        config = _config(entries.get("detector_config"))
        pixel1_m, pixel2_m = _pixels_m(path, entries, config)
        distance_m = entries.get("distance", entries.get("dist"))
        values: dict[str, Any] = {"pixel_y_m": pixel1_m, "pixel_x_m": pixel2_m, **_sensor(config)}
        if "wavelength" in entries:
            values["wavelength_angstrom"] = entries["wavelength"].positive() * 1e10
        if distance_m is not None:
            values |= _beam(path, entries, distance_m.positive(), _Pixels(pixel1_m, pixel2_m, config, shape))
        return from_file(path, values)


READER = PoniReader()


def _entries(path: Path) -> Iterator[Entry]:
    """Lines ``key: value``; of several with one key, the last one counts."""
    text = read_bytes(path).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        key, colon, value = (part.strip() for part in line.partition(":"))
        if colon and not key.startswith("#") and value.lower() != "none":
            yield Entry(path, number, key, value)


def _check_version(version: Entry | None) -> None:
    if version is not None and version.number() > _NEWEST:
        raise version.error(
            f"version {version.text} of PONI files is not known", hint="write it as version 2.1, or use options"
        )


def _config(entry: Entry | None) -> dict[str, Any]:
    if entry is None:
        return {}
    try:
        config = json.loads(entry.text)
    except ValueError as error:
        raise entry.error("this is no JSON") from error
    if not isinstance(config, dict):
        raise entry.error("this is no JSON object")
    return config


def _pixels_m(path: Path, entries: Mapping[str, Entry], config: Mapping[str, Any]) -> tuple[float, float]:
    """Size of a pixel along axis 1 and axis 2."""
    if "pixelsize1" in entries and "pixelsize2" in entries:
        return entries["pixelsize1"].positive(), entries["pixelsize2"].positive()
    found = config.get("pixel1"), config.get("pixel2")
    if all(isinstance(value, int | float) and 0 < value < math.inf for value in found):
        return float(found[0]), float(found[1])  # type: ignore[arg-type]
    detector = entries.get("detector")
    name = "" if detector is None else detector.text
    plain = "".join(char for char in name.lower().removeprefix("detector") if char.isalnum())
    for family, size_m in _PIXELS_M.items():
        if plain.startswith(family):
            return size_m, size_m
    what = f"the pixels of the detector {name!r} are" if name else "the size of the pixels is"
    raise UrlError(
        f"{what} not known here, and the beam cannot be told in pixels without",
        file=path,
        hint="add the lines PixelSize1: and PixelSize2: with the size of a pixel in metres",
    )


def _sensor(config: Mapping[str, Any]) -> dict[str, Any]:
    sensor = config.get("sensor")
    if not isinstance(sensor, dict):
        return {}
    material, thickness_m = sensor.get("material"), sensor.get("thickness")
    values: dict[str, Any] = {"sensor_material": material} if isinstance(material, str) and material else {}
    if isinstance(thickness_m, int | float) and 0 < thickness_m < math.inf:
        values["sensor_thickness_m"] = float(thickness_m)
    return values


class _Pixels:
    """How a place on the detector, metres from its corner, is counted in pixels of the array."""

    def __init__(self, pixel1_m: float, pixel2_m: float, config: Mapping[str, Any], shape: Shape | None) -> None:
        self._sizes_m = pixel1_m, pixel2_m
        self._orientation = config.get("orientation", _ALONG)
        self._shape = shape or _shape(config.get("max_shape"))

    def px(self, path: Path, place_m: tuple[float, float]) -> tuple[float, float]:
        """Pixels (axis 1, axis 2) from the centre of the array's first one."""
        if not isinstance(self._orientation, int) or self._orientation not in _FLIPPED:
            raise UrlError(f"the orientation {self._orientation!r} is not known", file=path, hint="there are 1 to 4")
        flips = _FLIPPED[self._orientation]
        if any(flips) and self._shape is None:
            raise UrlError(
                f"with orientation {self._orientation} pixels are counted from the last row or column, and the shape "
                "of the frames is not known",
                file=path,
                hint='give the shape, or add "max_shape": [ny, nx] to Detector_config',
            )
        sizes = self._shape or (0, 0)
        pixels = [place / size - 0.5 for place, size in zip(place_m, self._sizes_m, strict=True)]
        y, x = (size - 1 - at if flip else at for at, size, flip in zip(pixels, sizes, flips, strict=True))
        return y, x


def _shape(value: object) -> Shape | None:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(size, int) for size in value):
        return None
    return value[0], value[1]


def _beam(path: Path, entries: Mapping[str, Entry], distance_m: float, pixels: _Pixels) -> dict[str, float]:
    """Distance and beam centre, both along the beam."""
    rot1, rot2 = (entries[key].number() if key in entries else 0.0 for key in ("rot1", "rot2"))
    cos_tilt = math.cos(rot1) * math.cos(rot2)
    tell_of_tilt(path, cos_tilt)
    if cos_tilt < 1e-9:  # the beam never meets the plane of the detector
        return {}
    values = {"distance_m": distance_m / cos_tilt}
    if "poni1" in entries and "poni2" in entries:
        at1_m = entries["poni1"].number() + distance_m * math.tan(rot2) / math.cos(rot1)
        at2_m = entries["poni2"].number() - distance_m * math.tan(rot1)
        values["beam_y_px"], values["beam_x_px"] = pixels.px(path, (at1_m, at2_m))
    return values
