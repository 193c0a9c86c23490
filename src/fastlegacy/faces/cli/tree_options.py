# SPDX-License-Identifier: MIT
"""The options that say which files to make from which stacks: the same for ``mount`` and ``export``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastlegacy import units
from fastlegacy.errors import LayoutError, UrlError
from fastlegacy.faces.choices import layouts_of, options_of
from fastlegacy.faces.cli.header_options import add_header_options, chosen_headers
from fastlegacy.faces.cli.pixel_options import add_pixel_options, pixels
from fastlegacy.faces.wanted import Wanted, frames_of_range, frames_of_text

if TYPE_CHECKING:
    from fastlegacy.faces.collection import Collection
    from fastlegacy.hdf5.url import DataUrl

__all__ = ["add_source_arguments", "add_tree_options", "add_url_arguments", "opened_collection", "sources_and_folder"]

_USAGE = "fastlegacy {} [options] SOURCE [SOURCE ...] FOLDER"
_DATA_CACHE = ".fastlegacy-cache"


def add_url_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``FILE[::DATASET] [DATASET]``."""
    parser.add_argument("source", metavar="FILE[::DATASET]", help="HDF5 file, alone or with a dataset in it")
    parser.add_argument("dataset", metavar="DATASET", nargs="?", help="path of the dataset, if not given before")


def add_source_arguments(parser: argparse.ArgumentParser, command: str, *, folder: str) -> None:
    """Add ``SOURCE... FOLDER``."""
    parser.usage = _USAGE.format(command)
    parser.add_argument(
        "words",
        nargs="+",
        metavar="SOURCE ... FOLDER",
        help="what to show: an HDF5 file, FILE::DATASET, FILE and DATASET as two words, or a folder with HDF5 files; "
        f"several of them, if you like; at the end, {folder}",
    )


def add_tree_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for selections, names, formats, pixels, headers and reading."""
    _add_selections(parser)
    group = parser.add_argument_group("files")
    group.add_argument(
        "--format",
        type=_formats,
        default="edf",
        metavar="NAME[,NAME]",
        help="format of the files (default: edf; `fastlegacy formats` lists them); several are a folder each",
    )
    group.add_argument(
        "--name",
        metavar="TEMPLATE",
        help="names of the files, with the folders that they are in: 'img_####' or 'img_{index:04d}' (numbers with "
        "zeros before them), 'img_{index}' (without), '{file}/{scan}/{detector}/{format}/{stem}_####'",
    )
    group.add_argument("--stem", help="names begin with this (default: data; of several stacks, the file's name)")
    group.add_argument("--first", type=int, metavar="N", help="number of the first file (default: 1)")
    group.add_argument("--reverse", action="store_true", help="number the files backwards: the first frame comes last")
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
    group.add_argument("--memory", metavar="MB", help="most memory of the process, such as 2GB (default: 512MB)")
    group.add_argument(
        "--remember",
        choices=("user", "data", "nothing"),
        default="user",
        help="where to keep what was learnt of the files for the next time: in your cache folder (default), or in "
        f"{_DATA_CACHE} beside the data, for everybody",
    )


def _add_selections(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("selection", "Which scans and frames are shown; all of them by default.")
    group.add_argument(
        "--scan", type=_names, default=(), metavar="NAME[,NAME]", help="only these scans, such as 1.1,3.1 or '2.*'"
    )
    group.add_argument(
        "--detector-name",
        type=_names,
        default=(),
        metavar="NAME[,NAME]",
        help="only the images of these detectors, such as eiger or 'frelon*'",
    )
    group.add_argument(
        "--channel",
        type=_numbers,
        default=(),
        metavar="N[,N]",
        help="only these thresholds of detectors with several, counted from 1",
    )
    frames = group.add_mutually_exclusive_group()
    frames.add_argument(
        "--frames", metavar="START:STOP[:STEP]", help="only these frames of each scan, counted from 0 (0:100:2)"
    )
    frames.add_argument(
        "--image-range",
        metavar="FIRST,LAST",
        help="only the files with these numbers, both of them too (1,100); they keep their numbers",
    )


def sources_and_folder(words: Sequence[str]) -> tuple[list[str | DataUrl], str]:
    """Return what to show, and where.

    Of three words the second may be the path of a dataset in the first: it is, where the file holds it, or where there
    is no file or folder of that name.

    Raises
    ------
    UrlError
        If there are too few words.
    """
    from fastlegacy.hdf5.url import parse_url

    *sources, folder = words
    if not sources:
        raise UrlError(
            f"{folder!r} alone is too little", hint="give what to show, then the folder for it; see `--help`"
        )
    if len(sources) == 2 and _is_dataset(*sources):
        return [parse_url(sources[0], sources[1])], folder
    return list(sources), folder


def _is_dataset(file: str, path: str) -> bool:
    from fastlegacy.errors import FastlegacyError
    from fastlegacy.hdf5.files import Context
    from fastlegacy.hdf5.links import locate

    if "::" in path or os.path.isdir(file) or not os.path.exists(file):
        return "::" not in path + file and not os.path.exists(path)
    if not os.path.exists(path):
        return True
    context = Context()
    try:
        with context.no_h5_left():
            locate(context, file, path)
    except FastlegacyError:
        return False
    return True


@contextmanager
def opened_collection(
    args: argparse.Namespace, sources: Sequence[str | DataUrl], *, follow: bool = False
) -> Iterator[Collection]:
    """Yield all files of the sources that the options describe.

    Raises
    ------
    FastlegacyError
        If an option's value is not understood, a source is not there, or the format cannot hold a stack.
    """
    from fastlegacy.faces.collection import Collection
    from fastlegacy.faces.guard import Guard
    from fastlegacy.faces.memory import DEFAULT_BYTES, bound_process
    from fastlegacy.faces.progress import Looking
    from fastlegacy.faces.recipe import Recipe
    from fastlegacy.index.store import cache_folder
    from fastlegacy.index.template import Template

    # what was typed is looked at before any file is
    headers = chosen_headers(args)
    wanted, first = _wanted(args)
    folder = {"user": cache_folder(), "data": _beside(sources), "nothing": None}[args.remember]
    recipe = Recipe.of(
        args.format,
        first=first,
        reverse=args.reverse,
        options=_format_options(args),
        companions=_companions(args.companions),
        remember_sizes=folder is not None,
        remember_in=folder if args.remember == "data" else None,
        **pixels(args),
    )
    template = None if args.name is None else Template(args.name)
    bound_process(DEFAULT_BYTES if args.memory is None else units.memory_bytes(args.memory, "--memory"))
    with (
        closing(Guard()) as guard,
        Looking(quiet=bool(args.quiet)) as told,
        Collection(
            sources,
            recipe,
            wanted=wanted,
            template=template,
            stem=args.stem,
            headers=headers,
            missing=args.missing,
            follow=follow,
            memory=folder,
            told=told,
            guard=guard,
        ) as collection,
    ):
        yield collection


def _wanted(args: argparse.Namespace) -> tuple[Wanted, int]:
    """Which stacks and frames, and the number of the first file."""
    first = 1 if args.first is None else args.first
    frames = None
    if args.frames is not None:
        frames = frames_of_text(args.frames)
    elif args.image_range is not None:
        frames, first = frames_of_range(args.image_range, first)
    return Wanted(args.scan, args.detector_name, args.channel, frames), first


def _beside(sources: Sequence[str | DataUrl]) -> Path:
    """The cache folder beside the first of the sources."""
    from fastlegacy.hdf5.url import DataUrl, parse_url

    named = sources[0] if isinstance(sources[0], DataUrl) else parse_url(sources[0])
    path = Path(os.path.realpath(named.file))
    return (path if path.is_dir() else path.parent) / _DATA_CACHE


def _names(text: str) -> tuple[str, ...]:
    names = tuple(word.strip() for word in text.split(","))
    if "" in names:
        raise argparse.ArgumentTypeError(f"{text!r} is not understood; give names with commas")
    return names


def _numbers(text: str) -> tuple[int, ...]:
    if not all(word.strip().isdecimal() and int(word) for word in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is not understood; give numbers from 1 on with commas")
    return tuple(int(word) for word in text.split(","))


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
