# SPDX-License-Identifier: MIT
"""``fastlegacy mount``: the files of a dataset in a folder, as long as it runs."""

from __future__ import annotations

import argparse
import sys

from fastlegacy.faces.cli.command import Command
from fastlegacy.faces.cli.tree_options import (
    add_source_arguments,
    add_tree_options,
    opened_collection,
    sources_and_folder,
)

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser, "mount", folder="the folder to mount on, which is made when it is not there")
    add_tree_options(parser)
    group = parser.add_argument_group("mount")
    group.add_argument(
        "--follow",
        action="store_true",
        help="show scans and frames as they are being written; finished ones stay as they are",
    )
    group.add_argument("--rename", action="store_true", help="move FOLDER to FOLDER_real meanwhile, not mount over it")
    group.add_argument("--allow-other", action="store_true", help="let other users see the files")
    group.add_argument("-o", dest="options", metavar="OPTS", help="more options for FUSE, separated by commas")


def _run(args: argparse.Namespace) -> int:
    from fastlegacy.faces.mount.session import mount
    from fastlegacy.faces.mount.statistics import report

    sources, folder = sources_and_folder(args.words)
    with opened_collection(args, sources, follow=args.follow) as collection:

        def announce() -> None:
            _say(args, f"{collection.summary()} of {collection.label} are in {folder}; Ctrl-C ends it")

        statistics = mount(
            collection,
            folder,
            rename=args.rename,
            allow_other=args.allow_other,
            options=args.options,
            on_ready=announce,
        )
    if not args.quiet:
        print(report(statistics))
    return 0


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(f"fastlegacy: {text}", file=sys.stderr, flush=True)


COMMAND = Command("mount", "show a dataset as legacy files in a folder", _configure, _run)
