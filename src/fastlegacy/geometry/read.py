# SPDX-License-Identifier: MIT
"""Reads a side file by whichever reader knows it, and puts geometries from several places over each other."""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

from fastlegacy.errors import UrlError
from fastlegacy.geometry.reader import Reader, Shape, read_bytes
from fastlegacy.model import Geometry
from fastlegacy.registry import plugins

__all__ = ["over", "read_geometry", "readers"]

_HEAD_BYTES = 4096
_SERIES = ("motors", "counters")


def readers() -> dict[str, Reader]:
    """All readers by name."""
    return plugins("fastlegacy.geometry", "READER")


def read_geometry(path: str | os.PathLike[str], shape: Shape | None = None, frames: int | None = None) -> Geometry:
    """Return the geometry that a file beside the data tells.

    Parameters
    ----------
    path : str or path
        A ``.poni`` file of pyFAI, a ``.par`` file of ImageD11 or CrysAlis, or a ``fastlegacy.toml``.
    shape : tuple of int, optional
        (ny, nx) of the stored frames. Files that count pixels from another corner, or in a padded frame, cannot be
        told of the stored frames without it.
    frames : int, optional
        How many frames there are: as many as a list of angles, positions or readings has to have.

    Returns
    -------
    Geometry
        Beam and pixel size are those of the stored frames. ``origin`` names the file for each value.

    Raises
    ------
    UrlError
        If the file is of no known kind, not understood, or has lists for another number of frames.
    SourceError
        If it cannot be read.
    """
    path = Path(path)
    head = read_bytes(path, _HEAD_BYTES)
    for reader in readers().values():
        if reader.recognises(path, head):
            found = reader.read(path, shape)
            _check_lists(path, found, frames)
            return found
    kinds = "; ".join(f"{reader.name}: {reader.summary}" for reader in readers().values())
    raise UrlError("this is no file with a geometry that is known here", file=path, hint=f"there are {kinds}")


def _check_lists(path: Path, found: Geometry, frames: int | None) -> None:
    lists: dict[str, object] = {"angles_deg": found.angles_deg, **found.motors, **found.counters}
    for name, values in lists.items():
        if frames is not None and isinstance(values, list | tuple) and len(values) != frames:
            raise UrlError(
                f"{name}: there are {len(values)} numbers, and {frames} frames",
                file=path,
                hint="give one number for each frame",
            )


def over(upper: Geometry, lower: Geometry) -> Geometry:
    """Return the values of one geometry, and where it has none, those of another, with their origins.

    Angles of one frame after the other go with start and step: whichever the upper one has, it has both.

    Parameters
    ----------
    upper : Geometry
        Such as that of a side file.
    lower : Geometry
        Such as that of the HDF5 file.
    """
    names = [field.name for field in fields(Geometry) if field.name not in ("origin", *_SERIES)]
    said = {name: getattr(upper, name) for name in names if getattr(upper, name) is not None}
    if "start_deg" in said:
        said.setdefault("angles_deg", None)
    origin = {name: where for name, where in lower.origin.items() if name not in said} | dict(upper.origin)
    for name in _SERIES:  # those of both are there
        places = dict.fromkeys(each.origin[name] for each in (upper, lower) if name in each.origin)
        if places:
            origin[name] = ", ".join(places)
    motors, counters = ({**getattr(lower, name), **getattr(upper, name)} for name in _SERIES)
    return replace(replace(lower, **said), motors=motors, counters=counters, origin=origin)
