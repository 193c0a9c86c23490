# SPDX-License-Identifier: MIT
"""The keys of an EDF header that may differ from frame to frame, each as wide for all frames of a stack.

Motors and counters stand in pairs of lines as SPEC and ID11 write them: ``motor_mne`` has the names, ``motor_pos`` the
values, in the same order and with spaces between them. ``Omega`` is the angle that ImageD11 looks for, ``time_of_day``
the time in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass

from fastlegacy.errors import LayoutError
from fastlegacy.layouts._moments import known_start
from fastlegacy.layouts._text import angle_text, printable
from fastlegacy.model import StackFacts

__all__ = ["FORBIDDEN", "Readings", "frame_keys"]

FORBIDDEN = ";{}"
"""What no value of an EDF header may have in it, besides what is not printable."""

_NUMBER_WIDTH = len("-1.23456789012e-300")

_Values = float | Sequence[float]


@dataclass(frozen=True, slots=True)
class Readings:
    """Motors, or counters: one line with their names and one with their values for each frame.

    Attributes
    ----------
    prefix : str
        Of the two keys: ``"motor"`` or ``"counter"``.
    names : str
        As the header has them.
    values : tuple of (float, or sequence of float with one value for each frame)
    """

    prefix: str
    names: str
    values: tuple[_Values, ...]

    @classmethod
    def of(cls, facts: StackFacts, prefix: str, readings: Mapping[str, _Values]) -> Readings:
        """Return the readings of a stack.

        Raises
        ------
        LayoutError
            If one of them has fewer values than there are frames.
        """
        for name, value in readings.items():
            if isinstance(value, Sized) and len(value) < facts.shape[0]:
                raise LayoutError(
                    f"the {prefix} {name} has {len(value)} values for {facts.shape[0]} frames",
                    file=facts.url,
                    hint=f"give one value for each frame, a single one for all, or leave the {prefix} out",
                )
        names = " ".join([printable(name, f"{FORBIDDEN} ") for name in readings])
        return cls(prefix, names, tuple(readings.values()))

    def keys(self, frame: int) -> list[tuple[str, str]]:
        """Return the two lines, or none where there are no readings."""
        if not self.values:
            return []
        values = " ".join([_number(value, frame) for value in self.values])
        return [(f"{self.prefix}_mne", self.names), (f"{self.prefix}_pos", values)]


def _number(value: _Values, frame: int) -> str:
    if isinstance(value, Sized):
        return f"{float(value[frame]):<{_NUMBER_WIDTH}.12g}"
    return f"{float(value):.12g}"


def frame_keys(facts: StackFacts, frame: int) -> list[tuple[str, str]]:
    """Return angle, index and time of a frame, as far as they are known.

    Raises
    ------
    LayoutError
        If the angle does not fit.
    """
    keys = []
    angle_deg = facts.geometry.angle_deg(frame)
    if angle_deg is not None:
        keys.append(("Omega", angle_text(angle_deg, facts, frame, "Omega")))
    if facts.leading_shape:
        keys.append(("FrameIndex", _index_text(facts, frame)))
    start = known_start(facts, frame) if facts.geometry.start_time is not None else None
    if start is not None:
        keys.append(("time_of_day", f"{start.timestamp():19.6f}"))
    return keys


def _index_text(facts: StackFacts, frame: int) -> str:
    # by hand, because it is done for each frame of a whole scan, where NumPy's way takes longer than all the rest
    index = []
    for length in reversed(facts.leading_shape):
        frame, i = divmod(frame, length)
        index.append(f"{i:{len(str(length - 1))}d}")
    return " ".join(reversed(index))
