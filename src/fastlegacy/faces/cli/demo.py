# SPDX-License-Identifier: MIT
"""``fastlegacy demo``: shows on a scan made here that every pixel agrees."""

from __future__ import annotations

import argparse

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command

__all__ = ["COMMAND"]

_LEAST = 2


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--frames", type=int, default=20, metavar="N", help="frames of the scan (default: 20)")


def _run(args: argparse.Namespace) -> int:
    if args.frames < _LEAST:
        raise UrlError(f"a demonstration of {args.frames} frames shows nothing", hint=f"give at least {_LEAST}")
    from fastlegacy.faces.demo import demo

    return demo(args.frames)


COMMAND = Command(
    "demo", "make a small scan, mount it as EDF and CBF, and compare every pixel with h5py", _configure, _run
)
