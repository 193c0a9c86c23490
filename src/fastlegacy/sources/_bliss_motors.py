# SPDX-License-Identifier: MIT
"""Motors and counters of a bliss scan: in, the scan's group; out, angles, positions and readings of its frames.

Source: bliss' documentation, "Nexus Format"; fscan's, "Musst/Maestrio Calculated Counters".
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastlegacy.errors import UrlError
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.sources._facts import ANGLES_DEG, Facts, Value, regular_steps
from fastlegacy.sources._sweeps import starts_deg

__all__ = ["ROTATIONS", "Motors"]

ROTATIONS = ("rot", "diffrz", "omega", "phi", "srot", "hrsrot", "hsrot", "mhsrot", "mrsrot", "hrrz")
"""Rotations of ESRF's beamlines, in the order in which they are looked for; others are known by their units."""

Values = NDArray[np.float64]

_MOST = 64  # motors, and counters: what a header can hold
_MOST_NAMES = 12  # of those that a hint lists
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
        self._measured = set(facts.members(f"{scan}/measurement"))
        group = next((name for name in _POSITIONERS if name in self._instrument), _POSITIONERS[0])
        self._home_of_positions = f"{scan}/instrument/{group}"

    def put(self) -> None:
        """Put angles, motors, counters and, from a monochromator, the wavelength."""
        positions = self._positions()
        self._put_angles(positions)
        self._put_energy(positions)
        motors = {name: _plain(value) for name, value in positions.items()}
        # what moved comes first, so that it is not what is left out
        ordered = sorted(motors, key=lambda name: isinstance(motors[name], float))[:_MOST]
        if ordered:
            where = str(DataUrl(self._facts.file, self._home_of_positions))
            self._facts.put("motors", {name: motors[name] for name in ordered}, where)
        self._put_counters(motors)

    # ------------------------------------------------------------------------------------ rotation

    def put_named(self, name: str) -> None:
        """Put the angles of a motor or counter that the user names.

        Raises
        ------
        UrlError
            If there is none of that name, if it did not turn or is no angle, or if it has other angles than one for
            each frame.
        """
        scan = self._scan.strip("/")
        values = self._values([*self._paths(name), f"{self._home_of_positions}/{name}"])
        shown = values or self._values(self._paths(f"{name}_center"))
        if not shown:
            raise self._unusable(f"there is no motor or counter {name!r} in the scan {scan}")
        units = next((value.units() for value in shown if value.units()), "")
        if units and units not in ANGLES_DEG:
            raise self._unusable(f"{name!r} is measured in {units!r}, which is no angle")
        whole = [value for value in values if self._fitting(value) is not None]
        if self._put_centred(name, units) or any(self._put_started(self._fitting(value), units) for value in whole):
            return
        if self._put_begun(name, units) or self._put_only(values, units):
            return
        if whole or all(value.data.size == 1 for value in shown):
            raise self._unusable(f"{name!r} did not move in the scan {scan}")
        raise self._unusable(f"{name!r} has {shown[0].data.size} values for {self._frames} frames")

    def _values(self, paths: Sequence[str]) -> list[Value]:
        return [value for path in paths if (value := self._facts.read(path)) is not None]

    def _put_only(self, values: Sequence[Value], units: str) -> bool:
        """Put the angle of the only frame."""
        angles = self._facts.convert(values[0], "deg", units or None) if values and self._frames == 1 else None
        if angles:
            self._facts.put("angles_deg", (angles[0],), values[0].where)
        return bool(angles)

    def _unusable(self, why: str) -> UrlError:
        lists = self._facts.lists(f"{self._scan}/measurement", {self._frames}) | self._positions()
        moved = sorted(name for name, value in lists.items() if value.size > 1 and np.ptp(value) != 0)
        few = ", ".join(moved[:_MOST_NAMES]) + (", ..." if len(moved) > _MOST_NAMES else "")
        hint = f"name one of those that change from frame to frame: {few}" if moved else "nothing moved in this scan"
        return UrlError(why, file=self._facts.file, hint=hint)

    def _put_angles(self, positions: dict[str, Values]) -> None:
        for name in ROTATIONS:
            if self._put_centred(name) or self._put_started(self._series(name)):
                return
        for name, value in positions.items():
            if value.size > 1 and self._put_started(self._fitting(self._angle(name))):
                return
        for name in ROTATIONS:
            if self._put_begun(name):
                return

    def _angle(self, name: str) -> Value | None:
        """A position, if its units are those of an angle."""
        value = self._facts.read(f"{self._home_of_positions}/{name}")
        return value if value is not None and value.units() in ANGLES_DEG else None

    def _put_begun(self, name: str, units: str = "") -> bool:
        """Put start and step of a scan that was stopped, or still runs: fewer angles are there than frames."""
        centre, width = self._series(f"{name}_center", shorter=True), self._series(f"{name}_delta", shorter=True)
        value = centre or self._series(name, shorter=True)
        angles = None if value is None else self._facts.convert(value, "deg", units or None)
        if value is None or angles is None:
            return False
        starts = _starts(angles, self._widths(width, len(angles), units)) if value is centre else angles
        steps = regular_steps(starts or ())
        if steps is None:
            return False
        self._facts.put("start_deg", steps[0], value.where)
        return self._facts.put("step_deg", steps[1], value.where)

    def _put_centred(self, name: str, units: str = "") -> bool:
        """Put the starts of frames of which the middle is known: a half of their width before it."""
        middle, width = self._series(f"{name}_center"), self._series(f"{name}_delta")
        angles = None if middle is None else self._changing(middle, units)
        if middle is None or angles is None:
            return False
        widths = self._widths(width, len(angles), units)
        starts = _starts(angles, widths)
        if starts is None:
            return False
        self._facts.angles(starts, middle.where, widths, width.where if width is not None else "")
        return True

    def _widths(self, value: Value | None, count: int, units: str) -> list[float] | None:
        widths = None if value is None else self._facts.convert(value, "deg", units or None)
        return None if widths is None or len(widths) < count else widths[:count]

    def _put_started(self, value: Value | None, units: str = "") -> bool:
        angles = None if value is None else self._changing(value, units)
        if value is None or angles is None:
            return False
        self._facts.angles(angles, value.where)
        return True

    def _changing(self, value: Value, units: str) -> list[float] | None:
        """Angles of all frames, degrees; None where they do not change, so that nothing turned."""
        angles = self._facts.convert(value, "deg", units or None)
        return None if angles is None or len(set(angles)) < 2 else angles

    def _series(self, name: str, *, shorter: bool = False) -> Value | None:
        """What was recorded under a name for each frame, or perhaps for the first ones only."""
        for path in self._paths(name):
            value = self._fitting(self._facts.read(path), shorter=shorter)
            if value is not None:
                return value
        return None

    def _paths(self, name: str) -> list[str]:
        paths = [f"{self._scan}/measurement/{name}"] if name in self._measured else []
        return paths + ([f"{self._scan}/instrument/{name}/value"] if name in self._instrument else [])

    def _fitting(self, value: Value | None, *, shorter: bool = False) -> Value | None:
        """The value, if it is a list of numbers with one for each frame."""
        if value is None or value.scalar or not value.is_numbers or value.data.ndim != 1:
            return None
        if len(value.data) < self._frames and not shorter:
            return None
        return Value(value.data[: self._frames], value.scalar, value.attrs, value.where)

    # ------------------------------------------------------------------------------------ everything else

    def _positions(self) -> dict[str, Values]:
        """Positions by name, without their units: numbers, or lists with one for each frame."""
        values = self._facts.lists(self._home_of_positions, {1, self._frames})
        return {name: value for name, value in values.items() if np.isfinite(value).all()}

    def _put_energy(self, positions: dict[str, Values]) -> None:
        """Put the wavelength, where exactly one motor is called an energy and counts in keV."""
        named = [name for name, value in positions.items() if "energy" in name.lower() and value.size == 1]
        paths = [f"{self._home_of_positions}/{name}" for name in named]
        energies = [path for path in paths if (value := self._facts.read(path)) is not None and value.units() == "kev"]
        if len(energies) == 1:
            self._facts.energy(energies[0], "kev")

    def _put_counters(self, motors: dict[str, float | Sequence[float]]) -> None:
        values = self._facts.lists(f"{self._scan}/measurement", {self._frames})
        names = [name for name, value in values.items() if name not in motors and value.ndim][:_MOST]
        counters = {name: tuple(values[name].tolist()) for name in names}
        if counters:
            self._facts.put("counters", counters, str(DataUrl(self._facts.file, f"{self._scan}/measurement")))


def _plain(values: Values) -> float | Sequence[float]:
    return float(values.item()) if values.size == 1 else tuple(values.tolist())


def _starts(centres_deg: list[float], widths_deg: list[float] | None) -> list[float] | None:
    starts = starts_deg(np.asarray(centres_deg), None if widths_deg is None else np.asarray(widths_deg))
    return None if starts is None else [float(f"{angle:.10g}") for angle in starts]
