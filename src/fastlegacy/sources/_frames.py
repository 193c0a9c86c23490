# SPDX-License-Identifier: MIT
"""The geometry of some frames, rows and columns of a stack: in, that of the whole and a slice; out, that of the part.

A file says one angle, one motor position, one reading for each frame that was taken. Who opens a part of them gets the
numbers of that part; and the direct beam moves with the first row and column that is shown.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlegacy.hdf5.url import Selection
from fastlegacy.model import Geometry
from fastlegacy.sources._facts import regular_steps

__all__ = ["geometry_of_frames"]

_log = logging.getLogger("fastlegacy.sources")

_Items = list[int | slice]


def geometry_of_frames(
    geometry: Geometry, shape: tuple[int, ...], selection: Selection | None = None, first: int = 0
) -> Geometry:
    """Return the geometry of the frames that a slice of a dataset leaves.

    Parameters
    ----------
    geometry : Geometry
        Its lists have one value for each frame of the whole, or for each place along its first axis.
    shape : tuple of int
        Of the dataset, (..., ny, nx).
    selection : tuple, optional
        Indices and slices, as in a url.
    first : int
        Place of the dataset's first frame in the whole: of one block of several that is not 0.
    """
    items = _expanded(selection or (), len(shape))
    lead = shape[:-2]
    if not all(isinstance(item, slice) for item in items[-2:]):
        _log.info("the slice takes an axis of the image away: neither angles nor beam are known of what is left")
        unknown = replace(geometry, beam_x_px=None, beam_y_px=None, pixel_x_m=None, pixel_y_m=None)
        return _per_frame(unknown, lead, None, first)
    flat = np.arange(math.prod(lead)).reshape(lead)[tuple(items[:-2])].reshape(-1)
    return _cropped(_per_frame(geometry, lead, flat, first), shape, items)


def _expanded(selection: Selection, axes: int) -> _Items:
    given = list(selection) if ... in selection else [*selection, ...]
    at = given.index(...)
    items = given[:at] + [slice(None)] * (axes - len(given) + 1) + given[at + 1 :]
    return [item for item in items if isinstance(item, int | slice)]


def _per_frame(geometry: Geometry, lead: tuple[int, ...], flat: NDArray[np.int64] | None, first: int) -> Geometry:
    """Lists of the chosen frames, whose numbers in the dataset are `flat`; None: they are no frames of it."""
    inner, total = math.prod(lead[1:]), math.prod(lead)
    places = None if flat is None else flat // inner + first  # along the first axis of the whole

    def chosen(values: Sequence[float]) -> tuple[float, ...] | None:
        index = flat if inner > 1 and len(values) >= total else places
        if index is None or len(values) <= int(index.max()):
            return None
        return tuple(values[i] for i in index)

    angles = None if geometry.angles_deg is None else chosen(geometry.angles_deg)
    changes: dict[str, Any] = {"angles_deg": angles, "start_deg": None, "step_deg": None}
    for name in ("motors", "counters"):
        changes[name] = _lists(getattr(geometry, name), chosen)
    if geometry.start_deg is not None and geometry.step_deg is not None and places is not None:
        changes |= _steps(geometry.start_deg, geometry.step_deg, places, angles)
    elif angles is not None:
        changes |= _sweep(geometry.step_deg, angles)
    origin = dict(geometry.origin)
    if changes["start_deg"] is not None and "angles_deg" in origin:
        origin.setdefault("start_deg", origin["angles_deg"])
        origin.setdefault("step_deg", origin["angles_deg"])
    return _with_origins(replace(geometry, **changes, origin=origin))


def _sweep(width: float | None, angles: tuple[float, ...]) -> dict[str, float | None]:
    """Start and step of frames that are one sweep of several; of others how far each of them turns."""
    steps = regular_steps(angles) if width is not None and len(angles) > 2 else None
    return {"step_deg": width} if steps is None else {"start_deg": steps[0], "step_deg": steps[1]}


def _lists(values: Mapping[str, Any], chosen: Any) -> dict[str, Any]:
    found = {name: value if isinstance(value, int | float) else chosen(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def _steps(
    start: float, step: float, places: NDArray[np.int64], angles: tuple[float, ...] | None
) -> dict[str, float | tuple[float, ...] | None]:
    """Start and step of frames that are evenly spaced; where they are not, their angles, and how far each turns."""
    gaps = np.unique(np.diff(places))
    if len(gaps) <= 1 and (len(places) == 1 or gaps[0] > 0):
        gap = int(gaps[0]) if len(gaps) else 1
        first = start + step * int(places[0]) if angles is None else angles[0]
        return {"start_deg": first, "step_deg": step * gap}
    return {"angles_deg": angles or tuple(start + step * int(i) for i in places), "step_deg": step}


def _cropped(geometry: Geometry, shape: tuple[int, ...], items: _Items) -> Geometry:
    """Beam and pixel size where rows and columns are cut off, or only every so many are taken."""
    changes: dict[str, Any] = {}
    for axis, size, item in zip("yx", shape[-2:], items[-2:], strict=True):
        assert isinstance(item, slice)
        start, _, step = item.indices(size)
        beam, pixel = getattr(geometry, f"beam_{axis}_px"), getattr(geometry, f"pixel_{axis}_m")
        if (start, step) != (0, 1) and beam is not None:
            changes[f"beam_{axis}_px"] = (beam - start) / step
        if step != 1 and pixel is not None:
            changes[f"pixel_{axis}_m"] = pixel * step
    return replace(geometry, **changes) if changes else geometry


def _with_origins(geometry: Geometry) -> Geometry:
    """Keep the origins of what is still known."""
    known = {name: where for name, where in geometry.origin.items() if getattr(geometry, name) not in (None, {})}
    return replace(geometry, origin=known)
