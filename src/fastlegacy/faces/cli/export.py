# SPDX-License-Identifier: MIT
"""``fastlegacy export``: the files of a mount as real files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command
from fastlegacy.faces.cli.tree_options import (
    add_source_arguments,
    add_tree_options,
    opened_collection,
    sources_and_folder,
)
from fastlegacy.faces.shard import Shard

if TYPE_CHECKING:
    from fastlegacy.faces.collection import Collection
    from fastlegacy.faces.export import ExportReport
    from fastlegacy.hdf5.url import DataUrl

__all__ = ["COMMAND", "export_shard"]

_WHOLE = "1/1"


def _configure(parser: argparse.ArgumentParser) -> None:
    add_source_arguments(parser, "export", folder="the folder to write to, which is made when it is not there")
    parser.add_argument("--threads", type=int, metavar="N", help="files written at a time (default: cores, up to 8)")
    parser.add_argument(
        "--shard", metavar="N/OF", default=_WHOLE, help="write only this part, such as 3/8: for arrays of jobs"
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="write by the workers of a Dask cluster: its scheduler's address, or local (needs fastlegacy[dask])",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    others = parser.add_mutually_exclusive_group()
    others.add_argument("-f", "--force", action="store_true", help="replace other files of the same names")
    others.add_argument("-n", "--no-clobber", action="store_true", help="leave other files of the same names")
    add_tree_options(parser)


def _run(args: argparse.Namespace) -> int:
    if args.dask is not None:
        return _by_dask(args)
    sources, folder = sources_and_folder(args.words)
    shard = Shard.parse(args.shard)
    with opened_collection(args, sources) as collection:
        return (_show_plan if args.dry_run else _export)(args, collection, folder, shard)


def export_shard(args: argparse.Namespace, sources: Sequence[str | DataUrl], folder: str, shard: Shard) -> ExportReport:
    """Do what the options say for one shard, without a word: this is what a worker of a cluster does."""
    from fastlegacy.faces.export import export

    with opened_collection(args, sources) as collection:
        return export(collection, folder, shard=shard, **_options(args))


def _options(args: argparse.Namespace) -> dict[str, Any]:
    return {"overwrite": args.force, "keep": args.no_clobber, "threads": args.threads}


def _export(args: argparse.Namespace, collection: Collection, folder: str, shard: Shard) -> int:
    from fastlegacy.faces.export import export
    from fastlegacy.faces.export_plan import plan
    from fastlegacy.faces.progress import Progress

    if args.quiet:
        export(collection, folder, shard=shard, **_options(args))
        return 0
    todo = plan(collection, folder, overwrite=args.force, keep=args.no_clobber, shard=shard)
    with Progress(todo.to_write) as progress:
        report = export(collection, folder, progress=progress, todo=todo, **_options(args))
    _tell(report)
    return 0


def _by_dask(args: argparse.Namespace) -> int:
    from fastlegacy.faces.cluster import export_by_dask
    from fastlegacy.hdf5.url import DataUrl, parse_url

    if args.dry_run or args.shard != _WHOLE:
        raise UrlError("--dask goes neither with --dry-run nor with --shard", hint="leave one of them out")
    given, folder = sources_and_folder(args.words)
    named = [source if isinstance(source, DataUrl) else parse_url(source) for source in given]
    # workers have other working folders
    sources = [replace(source, file=os.path.abspath(source.file)) for source in named]
    there = argparse.Namespace(**{**vars(args), "quiet": True, "execute": None})
    for name in ("geometry", "mask"):
        path = getattr(args, name)
        if path is not None and os.path.exists(path):
            setattr(there, name, os.path.abspath(path))
    job = partial(export_shard, there, sources, os.path.abspath(folder))
    report = export_by_dask(args.dask, job, told=None if args.quiet else _tell_shard)
    if not args.quiet:
        _tell(report)
    return 0


def _tell_shard(done: int, count: int) -> None:
    print(f"fastlegacy: {done} of {count} shards are written", file=sys.stderr, flush=True)


def _tell(report: ExportReport) -> None:
    from fastlegacy.faces.progress import human

    print(
        f"{report.folder}: {report.written} files written ({human(report.written_bytes)} in {report.seconds:.1f} s)"
        f", {report.done} were there already, {report.kept} others left as they are"
    )


def _show_plan(args: argparse.Namespace, collection: Collection, folder: str, shard: Shard) -> int:
    from fastlegacy.faces.export_plan import plan
    from fastlegacy.faces.progress import human

    todo = plan(collection, folder, overwrite=args.force, keep=args.no_clobber, shard=shard)
    size = todo.bytes_to_write
    print(
        f"{folder}: {todo.to_write} files to write"
        f" ({'how large depends on the pixels' if size is None else human(size)})"
        f", {todo.done} are there already, {todo.kept} others left as they are, {todo.conflicts} in the way"
    )
    return 1 if todo.conflicts else 0


COMMAND = Command("export", "write the files of a dataset into a folder", _configure, _run)
