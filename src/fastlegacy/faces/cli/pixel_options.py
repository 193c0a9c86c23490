# SPDX-License-Identifier: MIT
"""The options that say what becomes of pixels: masks, limits, type, binning and orientation."""

from __future__ import annotations

import argparse
import math
from typing import Any, get_args

from fastlegacy.errors import UrlError
from fastlegacy.faces.choices import pixel_code
from fastlegacy.pixels import Saturate

__all__ = ["add_pixel_options", "pixels"]


def add_pixel_options(parser: argparse.ArgumentParser) -> None:
    """Add the groups ``pixels`` and ``orientation``."""
    group = parser.add_argument_group(
        "pixels", "What becomes of them, where it is not what the format does by itself; docs/pixels.md tells more."
    )
    group.add_argument(
        "--mask",
        metavar="FILE",
        default="auto",
        help="mask of the detector: an image, or file.h5::/path; auto (default): that of the HDF5 file; none",
    )
    group.add_argument("--mask-value", metavar="V", help="what masked pixels become: a number, or nan")
    group.add_argument(
        "--saturate",
        choices=get_args(Saturate),
        help="pixels that are too large for the file: the largest number, their lowest bits, an error",
    )
    group.add_argument("--dtype", metavar="TYPE", help="type of the pixels in the files, such as i4 or int32")
    group.add_argument("--binning", metavar="N", type=int, default=1, help="make one pixel of N x N, their sum")
    group = parser.add_argument_group("orientation", "How images are turned, in this order.")
    group.add_argument("--transpose", action="store_true", help="rows become columns")
    group.add_argument("--flip-ud", action="store_true", help="turn upside down: the last row becomes the first")
    group.add_argument("--flip-lr", action="store_true", help="turn left to right: the last column becomes the first")
    group.add_argument(
        "--rotation", type=int, choices=(0, 90, 180, 270), default=0, help="turn counter-clockwise, degrees"
    )


def pixels(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options say of pixels, as keyword arguments of ``fastlegacy.tree``.

    Raises
    ------
    UrlError
        If a value is not understood.
    """
    if args.binning < 1:
        raise UrlError(f"--binning: {args.binning} is not possible", hint="give 1 or more")
    return {
        "mask": args.mask,
        "mask_value": None if args.mask_value is None else _mask_value(args.mask_value),
        "saturate": args.saturate,
        "dtype": None if args.dtype is None else pixel_code(args.dtype),
        "binning": args.binning,
        "transpose": args.transpose,
        "flip_ud": args.flip_ud,
        "flip_lr": args.flip_lr,
        "rotation_deg": args.rotation,
    }


def _mask_value(text: str) -> int | float:
    for kind in (int, float):
        try:
            value: int | float = kind(text)
        except ValueError:
            continue
        if not math.isinf(value):
            return value
    raise UrlError(f"--mask-value: {text!r} is not understood", hint="give a number, or nan")
