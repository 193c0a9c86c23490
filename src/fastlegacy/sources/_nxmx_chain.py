# SPDX-License-Identifier: MIT
"""Chains of NeXus transformations: in, the field that a chain begins with; out, where it puts things, metres.

Source: NeXus manual, NXtransformations: a field is a translation or a rotation along its ``vector``, comes after its
``offset``, and ``depends_on`` names what it stands on; ``.`` is the laboratory, in which the beam goes along z.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlegacy.hdf5.files import Context
from fastlegacy.sources._facts import ANGLES_DEG, LENGTHS_M, Facts, Value, as_text
from fastlegacy.sources._images import group_names, images_at

__all__ = ["Panel", "angles_of", "chain", "is_nxmx", "is_rotation", "panel_of"]

_LONGEST = 32
Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Panel:
    """A flat detector in the laboratory.

    Attributes
    ----------
    origin_m : ndarray (3,)
        The outer corner of the first pixel.
    fast_m, slow_m : ndarray (3,)
        From a pixel to the next one, along a row and down a column.
    """

    origin_m: Vector
    fast_m: Vector
    slow_m: Vector

    @property
    def normal(self) -> Vector:
        """Unit vector at right angles to the detector."""
        across = np.cross(self.fast_m, self.slow_m)
        return np.asarray(across / np.linalg.norm(across))

    @property
    def distance_m(self) -> float:
        """From the sample to the plane of the detector, along its normal."""
        return abs(float(self.origin_m @ self.normal))

    @property
    def inclination_deg(self) -> float:
        """Angle between the detector's normal and the beam."""
        return math.degrees(math.acos(min(1.0, abs(float(self.normal[2])))))

    def beam_px(self) -> tuple[float, float] | None:
        """Where the beam meets the plane: x, y in pixels from the corner of the first one; None if it does not."""
        matrix = np.column_stack([self.fast_m, self.slow_m, [0.0, 0.0, -1.0]])
        if abs(np.linalg.det(matrix)) < 1e-9 * float(np.linalg.norm(self.fast_m) * np.linalg.norm(self.slow_m)):
            return None
        x, y, _ = np.linalg.solve(matrix, -self.origin_m)
        return float(x), float(y)


def is_nxmx(context: Context, file: str, entry: str) -> bool:
    """Tell whether an entry says that it is of the definition NXmx, and has its images as one dataset."""
    if "definition" not in group_names(context, file, entry):
        return False
    definition = Facts(context, file).read(f"{entry}/definition")
    if definition is None or definition.text() != "NXmx":
        return False
    return images_at(context, file, f"{entry}/data/data") is not None


def chain(facts: Facts, path: str) -> Iterator[tuple[str, Value]]:
    """The fields of a chain, from the one at a path to that which stands in the laboratory: (path, value)."""
    for _ in range(_LONGEST):
        value = facts.read(path)
        if value is None:
            return
        yield path, value
        parent = as_text(value.attrs.get("depends_on", ".")).strip()
        if parent in ("", "."):
            return
        path = parent if parent.startswith("/") else f"{path.rpartition('/')[0]}/{parent}"
    facts.problem(f"{path}: more than {_LONGEST} transformations one after the other")


def is_rotation(value: Value) -> bool:
    """Tell a rotation from a translation."""
    return as_text(value.attrs.get("transformation_type", "")) == "rotation"


def panel_of(facts: Facts, module: str) -> Panel | None:
    """The detector of a group NXdetector_module; None where it does not say enough."""
    fast, slow = (facts.read(f"{module}/{axis}_pixel_direction") for axis in ("fast", "slow"))
    if fast is None or slow is None:
        return None
    fast_m, slow_m = _along(facts, fast), _along(facts, slow)
    if fast_m is None or slow_m is None or not fast_m.any() or not slow_m.any():
        return None
    place = np.eye(4)
    if "module_offset" not in facts.members(module):
        place[:3, 3] += _offset(facts, fast)  # as filewriter 2 has it
    for _, value in list(chain(facts, f"{module}/fast_pixel_direction"))[1:]:
        matrix = _matrix(facts, value)
        if matrix is None:
            return None
        place = matrix @ place
    return Panel(place[:3, 3], place[:3, :3] @ fast_m, place[:3, :3] @ slow_m)


def _along(facts: Facts, value: Value) -> Vector | None:
    """A translation as a vector, metres."""
    length = facts.convert(value, "m")
    vector = _vector(value)
    return None if not length or vector is None else length[0] * vector


def _vector(value: Value) -> Vector | None:
    vector = np.asarray(value.attrs.get("vector", ()), dtype=np.float64).reshape(-1)
    return vector if vector.size == 3 and np.isfinite(vector).all() else None


def _offset(facts: Facts, value: Value) -> Vector:
    offset = np.asarray(value.attrs.get("offset", 0.0), dtype=np.float64).reshape(-1)
    if offset.size != 3 or not offset.any():
        return np.zeros(3)
    units = value.units("offset_units") or (value.units() if not is_rotation(value) else "m")
    if units not in LENGTHS_M:
        facts.problem(f"{value.where} has an offset in {units!r}")
        return np.zeros(3)
    over, under = LENGTHS_M[units]
    return np.asarray(offset * over / under)


def _matrix(facts: Facts, value: Value) -> NDArray[np.float64] | None:
    """A transformation as a 4 x 4 matrix, at its first value."""
    matrix = np.eye(4)
    vector = _vector(value)
    amount = facts.convert(value, "deg" if is_rotation(value) else "m")
    if not amount or (vector is None and amount[0] != 0):
        return None
    if vector is not None and is_rotation(value) and vector.any():
        matrix[:3, :3] = _rotation(vector / np.linalg.norm(vector), math.radians(amount[0]))
    elif vector is not None:
        matrix[:3, 3] = amount[0] * vector
    matrix[:3, 3] += _offset(facts, value)
    return matrix


def _rotation(axis: Vector, angle_rad: float) -> NDArray[np.float64]:
    """Rodrigues' formula."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle_rad) * cross + (1 - math.cos(angle_rad)) * (cross @ cross))


def angles_of(facts: Facts, value: Value) -> list[float] | None:
    """The angles of a rotation, degrees; None where its units are not those of an angle."""
    return facts.convert(value, "deg") if (value.units() or "deg") in ANGLES_DEG else None
