# SPDX-License-Identifier: MIT
"""``fastlegacy mount``: the files of a dataset in a folder, as long as it runs."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command, not_for_windows
from fastlegacy.faces.cli.tree_options import (
    add_source_arguments,
    add_tree_options,
    opened_collection,
    sources_and_folder,
)

if TYPE_CHECKING:
    from fastlegacy.hdf5.url import DataUrl

__all__ = ["COMMAND"]

_log = logging.getLogger("fastlegacy.mount")
_NOT_SETTINGS = {"command", "execute", "words", "debug", "quiet", "verbose"}


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
    group.add_argument(
        "--prefetch",
        metavar="THREADS",
        type=int,
        help="threads that decode what a program will read next; 0: none (default: the number of cores - 1)",
    )
    group.add_argument("--ignore-case", action="store_true", help="find names in any case, as Windows programs ask")
    group.add_argument(
        "--copy-up",
        action="store_true",
        help="let programs change frames: each becomes a real file in FOLDER first (default: read-only)",
    )
    group.add_argument(
        "--no-xattr",
        dest="xattr",
        action="store_false",
        help="no extended attributes: the kernel asks for one before each write, which small writes feel",
    )
    group.add_argument(
        "--read-timeout",
        metavar="SECONDS",
        type=float,
        default=60.0,
        help="a read that the file system of an HDF5 file does not answer for so long fails (60; 0: wait for ever)",
    )
    group.add_argument("-o", dest="options", metavar="OPTS", help="more options for FUSE, separated by commas")
    group = parser.add_argument_group("background")
    group.add_argument("--background", action="store_true", help="return as soon as the mount answers; it goes on")
    group.add_argument(
        "--pid-file", metavar="FILE", help="where its process is noted (default: in the user's runtime folder)"
    )
    group.add_argument(
        "--log-file", metavar="FILE", help="its log (default: ~/.local/state/fastlegacy/, named after FOLDER)"
    )


def _run(args: argparse.Namespace) -> int:
    sources, folder = sources_and_folder(args.words)
    if not args.background:
        for name in ("pid_file", "log_file"):
            if getattr(args, name) is not None:
                hint = "add --background, or leave it out"
                raise UrlError(f"--{name.replace('_', '-')} is for mounts in the background", hint=hint)
        from fastlegacy.faces.mount.service import tell_ready

        _serve(args, sources, folder, tell_ready)
        return 0
    not_for_windows("--background", hint="leave it out, and let the window stay open")
    from fastlegacy.faces.mount.background import Files, in_background

    files = Files(folder, log=args.log_file, pid=args.pid_file)
    return in_background(lambda ready: _serve(args, sources, folder, ready), files, quiet=bool(args.quiet))


def _serve(args: argparse.Namespace, sources: Sequence[str | DataUrl], folder: str, ready: Callable[[], None]) -> None:
    """Mount until the end; then tell what was served."""
    from fastlegacy.faces.mount.figures import Figures
    from fastlegacy.faces.mount.statistics import report

    mount = _mount_of_this_system()
    with opened_collection(args, sources, follow=args.follow) as collection:

        def announce() -> None:
            end = f"fastlegacy umount {folder}" if args.background else "Ctrl-C"
            _say(args, f"{collection.summary()} of {collection.label} are in {folder}; {end} ends it")
            ready()

        statistics = mount(
            collection,
            folder,
            rename=args.rename,
            allow_other=args.allow_other,
            ignore_case=args.ignore_case,
            options=args.options,
            prefetch=args.prefetch,
            xattr=args.xattr,
            copy_up=args.copy_up,
            read_timeout_s=args.read_timeout,
            settings=_settings(args, sources),
            on_ready=announce,
        )
    if args.background:
        _log.info("served: %s", Figures.of(statistics))
    elif not args.quiet:
        print(report(statistics))


def _mount_of_this_system() -> Callable[..., dict[str, Any]]:
    if sys.platform == "win32":
        from fastlegacy.faces.mount import winfsp

        return winfsp.mount
    from fastlegacy.faces.mount.session import mount

    return mount


def _settings(args: argparse.Namespace, sources: Sequence[str | DataUrl]) -> dict[str, object]:
    """Return all choices by the names of their options, those that were not made with their defaults."""
    chosen = {name.replace("_", "-"): value for name, value in vars(args).items() if name not in _NOT_SETTINGS}
    return {"sources": [str(source) for source in sources], **chosen}


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(f"fastlegacy: {text}", file=sys.stderr, flush=True)


COMMAND = Command("mount", "show a dataset as legacy files in a folder", _configure, _run)
