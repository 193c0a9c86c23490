# SPDX-License-Identifier: MIT
"""Motors and counters of a bliss scan: in, the scan's group; out, angles, positions and readings of its frames.

Source: bliss' documentation, "Nexus Format"; fscan's, "Musst/Maestrio Calculated Counters".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastlegacy.hdf5.url import DataUrl
from fastlegacy.sources._facts import ANGLES_DEG, Facts, Value, regular_steps

__all__ = ["ROTATIONS", "Motors"]

ROTATIONS = ("rot", "diffrz", "omega", "phi", "srot", "hrsrot", "hsrot", "mhsrot", "mrsrot", "hrrz")
"""Rotations of ESRF's beamlines, in the order in which they are looked for; others are known by their units."""

_MOST = 64  # motors, and counters: what a header can hold
_POSITIONERS = ("positioners", "positioners_start", "start_positioners")


class Motors:
    """Reads what moved during a scan, and what did not.

    Parameters
    ----------
    facts : Facts
        Where it is put.
    scan : str
        The scan's group, ``/1.1``.
    frames : int
        How many frames the detector has in the scan.
    """

    def __init__(self, facts: Facts, scan: str, frames: int) -> None:
        self._facts = facts
        self._scan = scan
        self._frames = frames
        self._instrument = set(facts.members(f"{scan}/instrument"))
        self._measured = facts.members(f"{scan}/measurement")

    def put(self) -> None:
        """Put angles, motors, counters and, from a monochromator, the wavelength."""
        positions = self._positions()
        self._put_angles(positions)
        self._put_energy(positions)
        motors = {name: _plain(value) for name, value in positions.items()}
        # what moved comes first, so that it is not what is left out
        ordered = sorted(motors, key=lambda name: isinstance(motors[name], float))[:_MOST]
        if ordered:
            where = f"{self._scan}/instrument/{self._group_of_positions()}"
            self._facts.put("motors", {name: motors[name] for name in ordered}, str(DataUrl(self._facts.file, where)))
        self._put_counters(motors)

    # ------------------------------------------------------------------------------------ rotation

    def _put_angles(self, positions: dict[str, Value]) -> None:
        for name in ROTATIONS:
            if self._put_centred(name) or self._put_started(self._series(name)):
                return
        for value in positions.values():
            if value.units() in ANGLES_DEG and self._put_started(self._fitting(value)):
                return
        for name in ROTATIONS:
            if self._put_begun(name):
                return

    def _put_begun(self, name: str) -> bool:
        """Put start and step of a scan that was stopped, or still runs: fewer angles are there than frames."""
        value = self._series(name, shorter=True)
        steps = None if value is None else regular_steps(self._facts.convert(value, "deg") or ())
        if value is None or steps is None:
            return False
        self._facts.put("start_deg", steps[0], value.where)
        return self._facts.put("step_deg", steps[1], value.where)

    def _put_centred(self, name: str) -> bool:
        """Put the starts of frames of which the middle is known: a half of their width before it."""
        middle, width = self._series(f"{name}_center"), self._series(f"{name}_delta")
        angles = None if middle is None else self._changing(middle)
        if middle is None or angles is None:
            return False
        turn = None if width is None else self._facts.convert(width, "deg")
        half = np.asarray(turn) / 2 if turn is not None else _spacing(angles) / 2
        self._facts.angles([float(f"{angle:.10g}") for angle in angles - half], middle.where)
        return True

    def _put_started(self, value: Value | None) -> bool:
        angles = None if value is None else self._changing(value)
        if value is None or angles is None:
            return False
        self._facts.angles(angles.tolist(), value.where)
        return True

    def _changing(self, value: Value) -> NDArray[np.float64] | None:
        """Angles of all frames, degrees; None where they do not change, so that nothing turned."""
        angles = self._facts.convert(value, "deg")
        if angles is None or len(angles) < 2 or np.ptp(angles) == 0:
            return None
        return np.asarray(angles)

    def _series(self, name: str, *, shorter: bool = False) -> Value | None:
        """What was recorded under a name for each frame, or perhaps for the first ones only."""
        paths = [f"{self._scan}/measurement/{name}"] if name in self._measured else []
        paths += [f"{self._scan}/instrument/{name}/value"] if name in self._instrument else []
        for path in paths:
            value = self._fitting(self._facts.read(path), shorter=shorter)
            if value is not None:
                return value
        return None

    def _fitting(self, value: Value | None, *, shorter: bool = False) -> Value | None:
        """The value, if it is a list of numbers with one for each frame."""
        if value is None or value.scalar or not value.is_numbers or value.data.ndim != 1:
            return None
        if len(value.data) < self._frames and not shorter:
            return None
        return Value(value.data[: self._frames], value.scalar, value.attrs, value.where)

    # ------------------------------------------------------------------------------------ everything else

    def _positions(self) -> dict[str, Value]:
        """Positions by name: numbers, or lists with one for each frame."""
        group = f"{self._scan}/instrument/{self._group_of_positions()}"
        values = self._facts.lists(group, {1, self._frames})
        return {name: value for name, value in values.items() if np.isfinite(value.data).all()}

    def _group_of_positions(self) -> str:
        return next((name for name in _POSITIONERS if name in self._instrument), _POSITIONERS[0])

    def _put_energy(self, positions: dict[str, Value]) -> None:
        """Put the wavelength, where exactly one motor is called an energy and counts in keV."""
        named = [value for name, value in positions.items() if "energy" in name.lower() and value.data.size == 1]
        energies = [value for value in named if value.units() == "kev"]
        if len(energies) == 1:
            self._facts.energy(energies[0].where.rpartition("::")[2], "kev")

    def _put_counters(self, motors: dict[str, float | Sequence[float]]) -> None:
        values = self._facts.lists(f"{self._scan}/measurement", {self._frames})
        names = [name for name, value in values.items() if name not in motors and not value.scalar][:_MOST]
        counters = {name: tuple(values[name].data.tolist()) for name in names}
        if counters:
            self._facts.put("counters", counters, str(DataUrl(self._facts.file, f"{self._scan}/measurement")))


def _plain(value: Value) -> float | Sequence[float]:
    return float(value.data[0]) if value.data.size == 1 else tuple(value.data.tolist())


def _spacing(angles: NDArray[np.float64]) -> float:
    """From one frame to the next, as a rule: where sweeps follow one another, the few steps between do not count."""
    return float(np.median(np.diff(angles)))
