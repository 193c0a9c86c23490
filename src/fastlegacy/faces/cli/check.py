# SPDX-License-Identifier: MIT
"""``fastlegacy check``: reads everything, and lists what is damaged."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from fastlegacy.errors import UrlError
from fastlegacy.faces.cli.command import Command, add_json_option, print_json

if TYPE_CHECKING:
    from fastlegacy.faces.check import CheckReport, StackReport
    from fastlegacy.faces.progress import Progress

__all__ = ["COMMAND", "ranges"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", metavar="URL_FILE_OR_FOLDER", nargs="+", help="stacks, HDF5 files, and folders to look through"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="chunks read at a time (default: cores)")
    add_json_option(parser)


def _run(args: argparse.Namespace) -> int:
    from fastlegacy.faces.check import as_plain, check

    if args.threads is not None and args.threads < 1:
        raise UrlError("--threads has to be 1 at least")
    with _Shown(is_quiet=bool(args.quiet)) as shown:
        report = check(args.paths, threads=args.threads, begin=shown.begin, note=shown.note)
    if args.json:
        print_json(as_plain(report))
    else:
        _tell(report)
    if not (report.stacks or report.faults):
        print(f"fastlegacy: no stack of frames in {', '.join(args.paths)}", file=sys.stderr)
        return 1
    return 0 if report.is_good else 1


class _Shown:
    """The progress of one stack after the other."""

    def __init__(self, *, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._progress: Progress | None = None

    def __enter__(self) -> _Shown:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.close()

    def begin(self, url: str, chunks: int) -> None:
        """Show the next stack."""
        from fastlegacy.faces.progress import Progress

        self.__exit__()
        if self._is_quiet:
            return
        self._progress = Progress(chunks, what="chunks")
        if sys.stderr.isatty():
            print(url, file=sys.stderr)

    def note(self, chunks: int, size: int) -> None:
        """Show what was read."""
        if self._progress is not None:
            self._progress(chunks, size)


def _tell(report: CheckReport) -> None:
    from fastlegacy.faces.progress import human

    for stack in report.stacks:
        _tell_stack(stack)
    for fault in report.faults:
        print(f"{fault.where}: cannot be read: {fault.text}")
    bad = sum(not stack.is_good for stack in report.stacks) + len(report.faults)
    size = human(sum(stack.read_bytes for stack in report.stacks))
    chunks, frames = sum(stack.chunks for stack in report.stacks), sum(stack.frames for stack in report.stacks)
    found = f"{bad} of {len(report.stacks) + len(report.faults)} with faults" if bad else "all is well"
    print(f"{len(report.stacks)} stacks, {frames} frames, {chunks} chunks, {size} decoded: {found}")


def _tell_stack(stack: StackReport) -> None:
    words = [f"{stack.frames} frames"]
    if stack.never_written:
        words.append(f"{stack.never_written} never written")
    damaged = stack.damaged_frames
    if damaged:
        words.append(f"{len(damaged)} damaged: {ranges(damaged)}")
    if stack.missing_frames:
        words.append(f"{stack.missing_frames} missing")
    print(f"{stack.url}: {'good' if stack.is_good else 'FAULTS'}, {', '.join(words)}")
    for damage in stack.damages:
        chunk = "" if damage.chunk is None else f" chunk {damage.chunk}"
        frames = f" (frames {ranges(damage.frames)})" if damage.frames else ""
        print(f"  {damage.cause}: {damage.file}::{damage.dataset}{chunk}{frames}: {damage.text}")
    for text in stack.missing:
        print(f"  missing: {text}")
    for file in stack.changed:
        print(f"  changed: {file} was written to while it was read; check it again")


def ranges(numbers: Sequence[int]) -> str:
    """Return sorted numbers as people write them: ``0-4, 7, 9-11``."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


COMMAND = Command("check", "read everything in files and folders, and list what is damaged", _configure, _run)
