# SPDX-License-Identifier: MIT
"""``fastlegacy ls``: which stacks of frames there are in files and folders."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from fastlegacy.faces.cli.command import Command, add_json_option, print_json
from fastlegacy.faces.cli.stack_text import as_plain, describe

if TYPE_CHECKING:
    from fastlegacy.model import StackInfo

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", metavar="FILE_OR_FOLDER", nargs="+", help="HDF5 files, and folders to look through")
    add_json_option(parser)


def _run(args: argparse.Namespace) -> int:
    from fastlegacy.faces import library
    from fastlegacy.faces.cli.guarded import guarded

    for path in args.paths:
        guarded(path)
    found = [info for path in args.paths for info in library.stacks(path)]
    if args.json:
        print_json([as_plain(info) for info in found])
    else:
        for info in found:
            _show(info)
    if not found:
        print(f"fastlegacy: no stack of frames in {', '.join(args.paths)}", file=sys.stderr)
    return 0 if found else 1


def _show(info: StackInfo) -> None:
    text = describe(info)
    print(info.url)
    print(f"  {text['shape']} {text['dtype']}, chunks {text['chunks']}, filters {text['filters']}")
    print(f"  stored {text['stored']}, frames {text['frames']}, found as {info.source}: {info.why}")


COMMAND = Command("ls", "list the stacks of frames in files and folders", _configure, _run)
