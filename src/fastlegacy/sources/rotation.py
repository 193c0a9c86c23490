# SPDX-License-Identifier: MIT
"""The rotation that the user names: in, a stack and the name of a motor; out, the angles of its frames.

In a scan of bliss that is the name of a motor or counter. Elsewhere it is a path in the file, or a name in one of the
groups where NeXus keeps what the sample stands on: ``transformations`` and ``goniometer``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from fastlegacy.errors import UrlError
from fastlegacy.hdf5.files import Context, default_context
from fastlegacy.hdf5.links import place_of
from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import DataUrl, parse_url
from fastlegacy.model import Geometry
from fastlegacy.sources._bliss_motors import Motors
from fastlegacy.sources._facts import ANGLES_DEG, Facts
from fastlegacy.sources._frames import geometry_of_frames
from fastlegacy.sources._images import images_at
from fastlegacy.sources.bliss import scan_of
from fastlegacy.sources.find import Found, claim_of

__all__ = ["rotation_in", "rotation_of"]

_GROUPS = ("sample/transformations", "sample/goniometer", "instrument/goniometer", "sample")
_STEPS = ("increment", "increment_set", "range_average")
_MOST_NAMES = 12


def rotation_of(stack: Stack, name: str, context: Context | None = None) -> Geometry:
    """Return what a named motor says of a stack's frames: their angles, start and step, and nothing else.

    Raises
    ------
    UrlError
        If there is no such motor, or it does not turn, with the names of those that do.
    """
    context = context or default_context()
    named = parse_url(stack.url)
    assert named.dataset is not None
    file = os.path.abspath(named.file)
    with context.no_h5_left():
        claim = claim_of(context, named)
        found = Found(named.dataset, "") if claim is None else claim.found
        first = _first_frame(context, file, found, named.dataset)
        frames = sum(block.frames or 0 for block in found.blocks) or stack.stored_shape[0]
        geometry = rotation_in(context, file, found.path, name, frames)
    return geometry_of_frames(geometry, stack.stored_shape, named.selection, first)


def rotation_in(context: Context, file: str, path: str, name: str, frames: int | None = None) -> Geometry:
    """Return what a named motor says of the frames at a path: of all of them, along the first axis.

    Parameters
    ----------
    context : Context
    file, path : str
        The dataset, or the group with its blocks.
    name : str
        A motor or counter of the scan; elsewhere a path in the file, or a name beside the sample.
    frames : int, optional
        How many there are; by default as many as the dataset has.

    Raises
    ------
    UrlError
        If there is no such motor, or it does not turn, with the names of those that do.
    """
    facts = Facts(context, file)
    if frames is None:
        images = images_at(context, file, path)
        frames = 1 if images is None else images.shape[0]
    scan = scan_of(context, file, path)
    if scan is not None and "/" not in name:
        Motors(facts, scan, frames).put_named(name)
    else:
        _put_axis(facts, path, name, frames)
    return facts.geometry()


def _first_frame(context: Context, file: str, found: Found, path: str) -> int:
    """Where in a series of blocks the one at a path begins; 0 where the path is that of the whole."""
    before = 0
    here = None if path == found.path else place_of(context, file, path)
    for block in found.blocks if here is not None else ():
        if block.path and place_of(context, file, block.path) == here:
            return before
        before += block.frames or 0
    return 0


def _put_axis(facts: Facts, path: str, name: str, frames: int) -> None:
    """Put an axis: a list with an angle for each frame, or one angle with a step beside it."""
    place = _place_of(facts, path, name)
    value = None if place is None else facts.read(place)
    if place is None or value is None:
        raise _unusable(facts, path, f"there is no {name!r}", frames)
    if value.units() and value.units() not in ANGLES_DEG:
        raise _unusable(facts, path, f"{name!r} is measured in {value.units()!r}, which is no angle", frames)
    angles = facts.convert(value, "deg")
    if angles is None:
        raise _unusable(facts, path, f"{name!r} has no numbers", frames)
    where = str(DataUrl(facts.file, place))
    if len(angles) >= frames > 1 and len(set(angles[:frames])) > 1:
        facts.angles(angles[:frames], where)
        return
    if len(angles) > 1 and len(angles) < frames:
        raise _unusable(facts, path, f"{name!r} has {len(angles)} values for {frames} frames", frames)
    for step_name in _STEPS if len(angles) == 1 or frames == 1 else ():
        step = facts.number(f"{place}_{step_name}", "deg")
        if step:
            facts.put("start_deg", angles[0], where)
            facts.put("step_deg", step, f"{where}_{step_name}")
            return
    raise _unusable(facts, path, f"{name!r} does not turn", frames)


def _place_of(facts: Facts, path: str, name: str) -> str | None:
    """Path of an axis: as it is named, or in one of the groups of the entry."""
    if "/" in name:
        return name if name.startswith("/") else f"/{name}"
    groups = [group for group in _groups(path) if name in facts.members(group)]
    return f"{groups[0]}/{name}" if groups else None


def _groups(path: str) -> Iterator[str]:
    entry = path.split("/")[1]
    for group in _GROUPS:
        yield f"/{entry}/{group}"


def _unusable(facts: Facts, path: str, why: str, frames: int) -> UrlError:
    """An error that says what else there is: all that turns."""
    there: dict[str, None] = {}
    for group in _groups(path):
        lists = facts.lists(group, {frames})
        there |= {name: None for name, values in lists.items() if values.size > 1 and len(set(values.tolist())) > 1}
        names = facts.members(group)
        there |= {name: None for name in names if any(f"{name}_{step}" in names for step in _STEPS)}
    few = ", ".join(list(there)[:_MOST_NAMES]) + (", ..." if len(there) > _MOST_NAMES else "")
    hint = f"name one of those that turn: {few}" if there else "name the path of a list with an angle for each frame"
    return UrlError(why, file=facts.file, hint=hint)
