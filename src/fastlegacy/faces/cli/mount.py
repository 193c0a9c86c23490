# SPDX-License-Identifier: MIT
"""``fastlegacy mount``: the files of a dataset in a folder, as long as it runs."""

from __future__ import annotations

import argparse
import sys

from fastlegacy.faces.cli.command import Command
from fastlegacy.faces.cli.tree_options import add_source_arguments, add_tree_options, opened_tree

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser, folder="where to mount; it is made when it is not there")
    add_tree_options(parser)
    group = parser.add_argument_group("mount")
    group.add_argument("--rename", action="store_true", help="move FOLDER to FOLDER_real meanwhile, not mount over it")
    group.add_argument("--allow-other", action="store_true", help="let other users see the files")
    group.add_argument("-o", dest="options", metavar="OPTS", help="more options for FUSE, separated by commas")


def _run(args: argparse.Namespace) -> int:
    from fastlegacy.faces.mount.session import mount
    from fastlegacy.faces.mount.statistics import report

    with opened_tree(args) as (url, tree):

        def announce() -> None:
            names = f"{next(iter(tree))} and on" if tree else "no files"
            _say(args, f"{len(tree)} virtual files ({names}) of {url} are in {args.folder}; Ctrl-C ends it")

        statistics = mount(
            tree,
            args.folder,
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
