# SPDX-License-Identifier: MIT
"""The binary files of CrysAlisPro: bad pixels of a detector (.ccd) and the sweeps of an experiment (.run).

Neither is documented. What is written here are those fields that two independent programs agree on, fabio
(``xcaliburimage.py``) and cryio (``crysalis.py``, checked with CrysAlis's own ``dc editruns``), in the sizes that .ccd
files of CrysAlisPro itself have. All that they call unknown is 0.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from fastlegacy.companions._masked import Rectangle

__all__ = ["Sweep", "ccd_bytes", "run_bytes"]

_TEXT_BYTES = 256
_LARGEST = 0xFFFF
_CCD_VERSION = 0x0001000C
_RECTANGLE, _CORNERS, _MOST_CORNERS = 1, 4, 6
_OMEGA = 0


@dataclass(frozen=True, slots=True)
class Sweep:
    """One omega scan, all angles in degrees: theta, kappa and phi stay at 0.

    Attributes
    ----------
    index : int
        Number of the sweep, counted from 0.
    start_deg, end_deg, width_deg : float
        From where to where omega goes, and the part of it that a frame takes.
    frames : int
    exposure_s : float
        Of one frame.
    """

    index: int
    start_deg: float
    end_deg: float
    width_deg: float
    frames: int
    exposure_s: float


def ccd_bytes(rectangles: Iterable[Rectangle]) -> bytes:
    """Return a .ccd file whose bad pixels are those of the rectangles.

    Rectangles beyond pixel 65535, which the format has no numbers for, are left out.
    """
    held = [found for found in rectangles if max(found.bottom, found.right) <= _LARGEST + 1][:_LARGEST]
    names = ("", "n/a", "n/a", "n/a", "", "", "")
    head = struct.pack("<Idd", _CCD_VERSION, 0.0, 0.0) + b"".join(map(_text, names)) + bytes(2 * 3 + 2 * (2 + 8 + 8))
    polygons = struct.pack("<H", len(held)) + b"".join(map(_polygon, held))
    # no points, columns of four binnings and rows; scintillator, two gains, machine function; rows of three binnings
    return head + polygons + bytes(2 + 4 * 2 + 2 + (2 + 8 + 8 + 2) + 3 * 2)


def run_bytes(name: str, sweeps: Iterable[Sweep]) -> bytes:
    """Return a .run file of an experiment, without the folder of its frames, which is not known here."""
    packed = [_sweep(sweep) for sweep in sweeps]
    return _text(name) + _text("") + struct.pack("<Qd", len(packed), 0.0) + b"".join(packed)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")[: _TEXT_BYTES - 1].ljust(_TEXT_BYTES, b"\0")


def _polygon(found: Rectangle) -> bytes:
    unused = (0,) * (_MOST_CORNERS - 2)
    x, y = (found.left, found.right - 1, *unused), (found.top, found.bottom - 1, *unused)
    return struct.pack(f"<HH{_MOST_CORNERS}H{_MOST_CORNERS}H", _RECTANGLE, _CORNERS, *x, *y)


def _sweep(sweep: Sweep) -> bytes:
    # omega (of a phi scan), theta, kappa, phi
    fixed_deg = (0.0, 0.0, 0.0, 0.0)
    return struct.pack(
        "<HHI8dIId",
        sweep.index & _LARGEST,
        _OMEGA,
        0,
        *fixed_deg,
        sweep.start_deg,
        sweep.end_deg,
        sweep.width_deg,
        0.0,
        sweep.frames,
        sweep.frames,
        sweep.exposure_s,
    )
