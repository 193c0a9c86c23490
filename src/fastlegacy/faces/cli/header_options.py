# SPDX-License-Identifier: MIT
"""The options that say what headers tell of the measurement: geometry, detector, motors and counters."""

from __future__ import annotations

import argparse
import math
from typing import Any

from fastlegacy.errors import UrlError
from fastlegacy.faces.headers import HEADERS, Headers, parse_headers

__all__ = ["add_header_options", "chosen_headers", "headers"]

_SERIES = ("motors", "counters")


def add_header_options(parser: argparse.ArgumentParser) -> None:
    """Add the group ``headers``."""
    group = parser.add_argument_group(
        "headers",
        "What is written into headers that have a place for it. Units may be given, as in 140mm or 43.5keV. Beam and "
        "pixel size are those of the stored frames, whatever becomes of these.",
    )
    group.add_argument(
        "--geometry",
        metavar="FILE",
        help="a file that knows it: .poni (pyFAI), .par (ImageD11, CrysAlis), fastlegacy.toml; options go before it",
    )
    for header in HEADERS:
        group.add_argument(f"--{header.option}", metavar=header.metavar, help=header.help)
    group.add_argument(
        "--omega-motor",
        metavar="NAME",
        default="",
        help="the motor that turns the sample, where the file leaves a choice: a name in the scan, such as diffrz",
    )
    group.add_argument(
        "--angles",
        metavar="PATH",
        help="rotation angles in degrees at the start of each frame: path of a dataset in the HDF5 file",
    )
    for option, what in (("motor", "position"), ("counter", "reading")):
        group.add_argument(
            f"--{option}",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help=f"{what}: a number, or the path of a dataset with one for each frame; may be given several times",
        )


def chosen_headers(args: argparse.Namespace) -> Headers:
    """Return all that the options say of headers.

    Raises
    ------
    UrlError
        If a value is not understood.
    """
    return Headers(headers(args), args.geometry, args.omega_motor)


def headers(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of the measurement: name in Geometry -> value, only those that were given.

    Of motors and counters, those that stand in the HDF5 file are paths: see :func:`with_values_of_frames`.

    Raises
    ------
    UrlError
        If a value is not understood.
    """
    texts = {header.option: getattr(args, header.option.replace("-", "_")) for header in HEADERS}
    values = parse_headers({option: text for option, text in texts.items() if text is not None}, "--")
    if ("start_deg" in values) != ("step_deg" in values):
        raise UrlError("--startangle and --stepangle make sense only together", hint="give both, or none")
    if args.angles is not None:
        if "start_deg" in values:
            raise UrlError("--angles and --startangle exclude each other", hint="give one of them")
        values["angles_deg"] = args.angles
    if args.omega_motor and ("start_deg" in values or args.angles is not None):
        raise UrlError("--omega-motor and given angles exclude each other", hint="give one of them")
    for name in _SERIES:
        option = name.removesuffix("s")
        if texts := getattr(args, option):
            values[name] = dict(_named_value(text, f"--{option}") for text in texts)
    return values


def _named_value(text: str, what: str) -> tuple[str, float | str]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name or not equals or not value:
        hint = "write NAME=NUMBER, or NAME=/path/of/a/dataset with one number for each frame"
        raise UrlError(f"{what}: {text!r} is not understood", hint=hint)
    try:
        number = float(value)
    except ValueError:
        return name, value
    if not math.isfinite(number):
        raise UrlError(f"{what}: {value!r} is no position or reading", hint="give a number, or leave it out")
    return name, number
