# SPDX-License-Identifier: MIT
"""Rotations that are not one even sweep: in, an angle for each frame; out, where frames start and how far they turn.

Sweeps go back and forth, begin anew for each step of another motor, stop and go on. The few steps between sweeps say
nothing of how far one frame turns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["frame_width_deg", "starts_deg"]

_ALIKE = 0.25  # steps inside sweeps differ by no more than this part of themselves

Angles = NDArray[np.float64]


def starts_deg(centres_deg: Angles, widths_deg: Angles | None = None) -> Angles | None:
    """Where frames start whose middle is known.

    Parameters
    ----------
    centres_deg : ndarray, shape (n,)
    widths_deg : ndarray, shape (n,), optional
        How far each frame turns. Without them a frame turns as far as it is from one to the next inside a sweep.

    Returns
    -------
    ndarray, shape (n,), or None
        None where neither widths nor sweeps are known.
    """
    if widths_deg is None:
        step = _usual_step(centres_deg)
        if not step:
            return None
        widths_deg = np.full(len(centres_deg), step)
    return centres_deg - _turns(centres_deg, widths_deg) / 2


def frame_width_deg(angles_deg: Angles, widths_deg: Angles | None = None) -> float | None:
    """How far one frame turns, as a rule: signed where all turn in one direction. None where nothing says it.

    Where only angles are known, that is their spacing, if most of them are spaced alike: zero where the rotation stands
    still for most of the frames.
    """
    if widths_deg is None:
        step = _usual_step(angles_deg)
        if step is None:
            return None
        widths_deg = np.full(len(angles_deg), step)
    turns = _turns(angles_deg, widths_deg)
    width = float(np.median(np.abs(turns)))
    return float(f"{-width if (turns <= 0).all() and width else width:.10g}")


def _turns(angles_deg: Angles, widths_deg: Angles) -> Angles:
    """How far each frame turns, and in which direction.

    Widths of both signs say the direction themselves. Where all have the same sign, some programs mean that and others
    write no signs at all: there the angles say it, and the widths only where these do not.
    """
    if (widths_deg > 0).any() and (widths_deg < 0).any():
        return widths_deg
    steps = np.diff(angles_deg)
    usual = _usual_step(angles_deg)
    known = np.where(_alike(steps, usual), np.sign(steps), 0.0) if usual else np.zeros(len(steps))
    before, after = np.append(0.0, known), np.append(known, 0.0)
    direction = np.where(before != 0, before, after)
    otherwise = np.sign(known.sum()) or np.sign(widths_deg.sum()) or 1.0
    return np.asarray(np.where(direction != 0, direction, otherwise) * np.abs(widths_deg))


def _usual_step(angles_deg: Angles) -> float | None:
    """The size of most steps from frame to frame, degrees; None where more than half of them are of other sizes."""
    sizes = np.abs(np.diff(angles_deg))
    if not sizes.size:
        return None
    usual = float(np.median(sizes))
    return usual if 2 * int(_alike(sizes, usual).sum()) >= sizes.size else None


def _alike(steps: Angles, usual: float) -> NDArray[np.bool_]:
    return np.asarray(np.abs(np.abs(steps) - usual) <= _ALIKE * usual)
