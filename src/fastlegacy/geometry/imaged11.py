# SPDX-License-Identifier: MIT
"""Parameter files of ImageD11 (.par): in, lines of a name and a value; out, distance, beam, pixels and wavelength.

Source: documentation of ImageD11, "Calibration", and ``ImageD11.transform.compute_xyz_lab``, which says what the
parameters do. ``z`` is the slow axis of the frame as it is stored, and ``y`` the fast one: centres and sizes are
applied before the flips o11 ... o22, which therefore change neither. Centres count pixels from the centre of the
first one. Lengths are in micrometres. The detector is tilted about the beam centre, so that distance and centre are
those along the beam.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastlegacy.geometry.reader import Entry, Shape, from_file, read_bytes, tell_of_tilt
from fastlegacy.model import Geometry

__all__ = ["READER", "ImageD11Reader"]

_NAMES = ("distance", "y_center", "z_center", "y_size", "z_size", "wavelength")
_MICROMETRES = 1e6


class ImageD11Reader:
    """See the module."""

    name = "imaged11"
    summary = "parameters of ImageD11 (.par)"

    def recognises(self, path: Path, head: bytes) -> bool:
        """By one of the geometry's names at the beginning of a line of a .par or .prm file that is not CrysAlis'."""
        if path.suffix.lower() not in (".par", ".prm", ".pars") or b"XCALIBUR" in head:
            return False
        words = {line.split()[0].replace(b"-", b"_") for line in head.splitlines() if line.split()}
        return any(name.encode() in words for name in _NAMES)

    def read(self, path: Path, shape: Shape | None) -> Geometry:
        """Return distance, wavelength, beam and pixels."""
        del shape
        entries = {entry.key: entry for entry in _entries(path)}
        values: dict[str, Any] = {}
        if "distance" in entries:
            values["distance_m"] = entries["distance"].positive() / _MICROMETRES
        if "wavelength" in entries:
            values["wavelength_angstrom"] = entries["wavelength"].positive()
        for axis, letter in (("y", "x"), ("z", "y")):
            if f"{axis}_center" in entries:
                values[f"beam_{letter}_px"] = entries[f"{axis}_center"].number()
            if f"{axis}_size" in entries:
                values[f"pixel_{letter}_m"] = _size_m(entries[f"{axis}_size"])
        tilts = [entries[name].number() if name in entries else 0.0 for name in ("tilt_y", "tilt_z")]
        tell_of_tilt(path, math.cos(tilts[0]) * math.cos(tilts[1]))
        return from_file(path, values)


READER = ImageD11Reader()


def _entries(path: Path) -> Iterator[Entry]:
    text = read_bytes(path).decode("utf-8", "replace")
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#", 1)[0].split()
        # None is what ImageD11 writes for a parameter that was not set
        if len(words) > 1 and words[1] != "None":
            yield Entry(path, number, words[0].replace("-", "_"), words[1])


def _size_m(entry: Entry) -> float:
    # older files flip an axis by a negative size
    size = abs(entry.number())
    if size == 0:
        raise entry.error("a pixel has no size of zero")
    return size / _MICROMETRES
