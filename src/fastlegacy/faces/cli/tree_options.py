# SPDX-License-Identifier: MIT
"""The options that say which files to make from which dataset: the same for ``mount`` and ``export``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fastlegacy import units
from fastlegacy.errors import LayoutError, UrlError
from fastlegacy.faces.choices import layouts_of, options_of
from fastlegacy.faces.cli.header_options import add_header_options, headers, with_side_file, with_values_of_frames
from fastlegacy.faces.cli.pixel_options import add_pixel_options, pixels

if TYPE_CHECKING:
    from fastlegacy.index.folder import Folder
    from fastlegacy.index.tree import Tree

__all__ = ["add_source_arguments", "add_tree_options", "add_url_arguments", "opened_tree"]


def add_url_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``FILE[::DATASET] [DATASET]``."""
    parser.add_argument("source", metavar="FILE[::DATASET]", help="HDF5 file, alone or with a dataset in it")
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="path of the dataset, if not given before")


def add_source_arguments(parser: argparse.ArgumentParser, *, folder: str) -> None:
    """Add ``FILE[::DATASET] [DATASET] FOLDER``."""
    add_url_arguments(parser)
    parser.add_argument("folder", metavar="FOLDER", help=folder)


def add_tree_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for names, formats, pixels, headers and reading."""
    group = parser.add_argument_group("files")
    group.add_argument(
        "--format",
        type=_formats,
        default="edf",
        metavar="NAME[,NAME]",
        help="format of the files (default: edf; `fastlegacy formats` lists them); several are a folder each",
    )
    group.add_argument("--stem", default="data", help="names begin with this (default: data)")
    group.add_argument("--first", type=int, default=1, metavar="N", help="number of the first file (default: 1)")
    group.add_argument(
        "-O",
        "--option",
        dest="format_options",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of a format (`fastlegacy formats NAME` lists them), of one of several as cbf:NAME=VALUE; "
        "may be given several times",
    )
    group.add_argument(
        "--companions",
        default="auto",
        metavar="NAME[,NAME]",
        help="small files beside the frames: auto (default): what the format's programs want, none, or names",
    )
    add_pixel_options(parser)
    add_header_options(parser)
    group = parser.add_argument_group("reading")
    group.add_argument(
        "--missing",
        choices=("error", "fill"),
        default="error",
        help="when a file behind a virtual dataset is missing: stop (error, default), or show its frames as fill value",
    )
    group.add_argument("--memory", metavar="MB", help="most memory for caches, such as 512MB or 2GB")


@contextmanager
def opened_tree(args: argparse.Namespace) -> Iterator[tuple[str, Tree | Folder]]:
    """Open the stack that the arguments name; yield its url, and the files of it that the options describe.

    Raises
    ------
    FastlegacyError
        If an option's value is not understood, there is no such stack, or the format cannot hold it.
    """
    from fastlegacy.faces import library

    # what was typed is looked at before any file is
    values = headers(args)
    choices = pixels(args) | {"options": _format_options(args), "companions": _companions(args.companions)}
    memory = None if args.memory is None else units.memory_bytes(args.memory, "--memory")
    with library.open(args.source, args.dataset, missing=args.missing, memory_bytes=memory) as opened:
        stack = with_side_file(opened, args.geometry)
        values = with_values_of_frames(values, stack)
        tree = library.tree(stack, args.format, args.stem, first=args.first, remember_sizes=True, **choices, **values)
        try:
            yield stack.url, tree
        finally:
            tree.close()


def _formats(text: str) -> str:
    try:
        layouts_of(text)
    except LayoutError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _format_options(args: argparse.Namespace) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in args.format_options:
        name, equals, value = text.partition("=")
        if not name.strip() or not equals:
            raise UrlError(f"--option: {text!r} is not understood", hint="write NAME=VALUE, or FORMAT:NAME=VALUE")
        given[name.strip()] = value.strip()
    options_of(layouts_of(args.format), given)
    return given


def _companions(text: str) -> list[str] | None:
    if text == "auto":
        return None
    names = [] if text == "none" else [name.strip() for name in text.split(",")]
    if "" in names:
        raise UrlError(f"--companions: {text!r} is not understood", hint="give auto, none, or names with commas")
    return names
