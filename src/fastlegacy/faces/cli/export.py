# SPDX-License-Identifier: MIT
"""``fastlegacy export``: the files of a mount as real files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fastlegacy.faces.cli.command import Command
from fastlegacy.faces.cli.tree_options import (
    add_source_arguments,
    add_tree_options,
    opened_collection,
    sources_and_folder,
)

if TYPE_CHECKING:
    from fastlegacy.faces.collection import Collection

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser, "export", folder="the folder to write to, which is made when it is not there")
    parser.add_argument("--threads", type=int, metavar="N", help="files written at a time (default: cores, up to 8)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("-f", "--force", action="store_true", help="replace other files of the same names")
    others.add_argument("-n", "--no-clobber", action="store_true", help="leave other files of the same names")
    add_tree_options(parser)


def _run(args: argparse.Namespace) -> int:
    sources, folder = sources_and_folder(args.words)
    with opened_collection(args, sources) as collection:
        return (_show_plan if args.dry_run else _export)(args, collection, folder)


def _export(args: argparse.Namespace, collection: Collection, folder: str) -> int:
    from fastlegacy.faces.export import export
    from fastlegacy.faces.export_plan import plan
    from fastlegacy.faces.progress import Progress, human

    options = {"overwrite": args.force, "keep": args.no_clobber, "threads": args.threads}
    if args.quiet:
        export(collection, folder, **options)
        return 0
    todo = plan(collection, folder, overwrite=args.force, keep=args.no_clobber)
    with Progress(todo.to_write) as progress:
        report = export(collection, folder, progress=progress, todo=todo, **options)
    print(
        f"{report.folder}: {report.written} files written ({human(report.written_bytes)} in {report.seconds:.1f} s)"
        f", {report.done} were there already, {report.kept} others left as they are"
    )
    return 0


def _show_plan(args: argparse.Namespace, collection: Collection, folder: str) -> int:
    from fastlegacy.faces.export_plan import plan
    from fastlegacy.faces.progress import human

    todo = plan(collection, folder, overwrite=args.force, keep=args.no_clobber)
    size = todo.bytes_to_write
    print(
        f"{folder}: {todo.to_write} files to write"
        f" ({'how large depends on the pixels' if size is None else human(size)})"
        f", {todo.done} are there already, {todo.kept} others left as they are, {todo.conflicts} in the way"
    )
    return 1 if todo.conflicts else 0


COMMAND = Command("export", "write the files of a dataset into a folder", _configure, _run)
