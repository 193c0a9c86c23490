# SPDX-License-Identifier: MIT
"""The options that say which files to make from which dataset: the same for ``mount`` and ``export``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastlegacy import units
from fastlegacy.errors import UrlError
from fastlegacy.registry import plugins

if TYPE_CHECKING:
    from fastlegacy.index.tree import Tree

__all__ = ["add_source_arguments", "add_tree_options", "add_url_arguments", "geometry", "opened_tree"]

_Parse = Callable[[str, str], float]

# option, name in Geometry, how it is read, metavar, help
_GEOMETRY: tuple[tuple[str, tuple[str, ...], _Parse, str, str], ...] = (
    ("startangle", ("start_deg",), units.angle_deg, "DEG", "rotation angle at the start of the first frame (deg, rad)"),
    ("stepangle", ("step_deg",), units.angle_deg, "DEG", "rotation from frame to frame (deg, rad)"),
    ("expotime", ("exposure_s",), units.time_s, "S", "exposure time of a frame (s, ms, us)"),
    (
        "wavelength",
        ("wavelength_angstrom",),
        units.wavelength_angstrom,
        "A",
        "wavelength in angstrom (A, nm, m), or photon energy with its unit (keV, eV)",
    ),
    ("x0", ("beam_x_px",), units.pixels_px, "PX", "direct beam, pixels along the rows from the first pixel's centre"),
    (
        "y0",
        ("beam_y_px",),
        units.pixels_px,
        "PX",
        "direct beam, pixels along the columns from the first pixel's centre",
    ),
    ("distance", ("distance_m",), units.length_m, "MM", "from sample to detector; a bare number is in mm (mm, cm, m)"),
    (
        "pixelsize",
        ("pixel_x_m", "pixel_y_m"),
        lambda text, what: units.length_m(text, what, default="um"),
        "UM",
        "edge of a pixel; a bare number is in micrometres (um, mm, m)",
    ),
)


def add_url_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``FILE[::DATASET] [DATASET]``."""
    parser.add_argument("source", metavar="FILE[::DATASET]", help="HDF5 file, alone or with a dataset in it")
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="path of the dataset, if not given before")


def add_source_arguments(parser: argparse.ArgumentParser, *, folder: str) -> None:
    """Add ``FILE[::DATASET] [DATASET] FOLDER``."""
    add_url_arguments(parser)
    parser.add_argument("folder", metavar="FOLDER", help=folder)


def add_tree_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for names, formats, geometry and reading."""
    files = parser.add_argument_group("files")
    names = list(plugins("fastlegacy.layouts", "LAYOUT"))
    files.add_argument("--format", choices=names, default="edf", help="format of the files (default: edf)")
    files.add_argument("--stem", default="data", help="names begin with this (default: data)")
    files.add_argument("--first", type=int, default=1, metavar="N", help="number of the first file (default: 1)")
    headers = parser.add_argument_group(
        "headers", "What is written into headers that have a place for it. Units may be given, as in 140mm or 43.5keV."
    )
    for option, _, _, metavar, text in _GEOMETRY:
        headers.add_argument(f"--{option}", metavar=metavar, help=text)
    headers.add_argument("--run", type=int, metavar="N", help="run number")
    reading = parser.add_argument_group("reading")
    reading.add_argument(
        "--missing",
        choices=("error", "fill"),
        default="error",
        help="when a file behind a virtual dataset is missing: stop (error, default), or show its frames as fill value",
    )
    reading.add_argument("--memory", metavar="MB", help="most memory for caches, such as 512MB or 2GB")


def geometry(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of the geometry: name in Geometry -> value, only those that were given.

    Raises
    ------
    UrlError
        If a value is not understood.
    """
    values: dict[str, Any] = {}
    for option, names, parse, _, _ in _GEOMETRY:
        text = getattr(args, option)
        if text is not None:
            values.update(dict.fromkeys(names, parse(text, f"--{option}")))
    if args.run is not None:
        values["run"] = args.run
    if ("start_deg" in values) != ("step_deg" in values):
        raise UrlError("--startangle and --stepangle make sense only together", hint="give both, or none")
    return values


@contextmanager
def opened_tree(args: argparse.Namespace) -> Iterator[Tree]:
    """Open the stack that the arguments name; yield the tree of it that the options describe.

    Raises
    ------
    FastlegacyError
        If an option's value is not understood, there is no such stack, or the format cannot hold it.
    """
    from fastlegacy.faces import library

    # what was typed is looked at before any file is
    values = geometry(args)
    memory = None if args.memory is None else units.memory_bytes(args.memory, "--memory")
    with library.open(args.source, args.dataset, missing=args.missing, memory_bytes=memory) as stack:
        yield library.tree(stack, format=args.format, stem=args.stem, first=args.first, **values)
