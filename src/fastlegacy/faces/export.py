# SPDX-License-Identifier: MIT
"""Writes virtual files as real files, with the bytes and times that a mount shows.

All names are looked at before anything is written. Each file is written under a hidden name and put into place
when it is complete, so under a final name there is never a part of a file. What was exported before is known by its
size, its time and its header, and is not written again: an export that was stopped goes on where it stopped.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastlegacy.errors import ExportError, UrlError
from fastlegacy.faces.export_plan import Plan, plan
from fastlegacy.faces.export_writer import Report, Writer
from fastlegacy.faces.shard import ALL, Shard

if TYPE_CHECKING:
    from fastlegacy.faces.shown import Shown
    from fastlegacy.index.folder import Folder
    from fastlegacy.index.tree import Tree

__all__ = ["ExportReport", "export"]

_THREADS_MAX = 8


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did.

    Attributes
    ----------
    folder : str
    written, done, kept : int
        Files written now, files that were there from an earlier export, other files that were left as they are.
    written_bytes : int
    seconds : float
    """

    folder: str
    written: int
    done: int
    kept: int
    written_bytes: int
    seconds: float


def export(
    tree: Tree | Folder | Shown,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    keep: bool = False,
    threads: int | None = None,
    progress: Report | None = None,
    shard: Shard = ALL,
    todo: Plan | None = None,
) -> ExportReport:
    """Write all files of a tree into a folder, which is made when it is not there (as those below it are).

    Each thread has one buffer: of a whole file up to 64 MiB, or of 16 MiB of a larger one.

    Parameters
    ----------
    tree : Tree, Folder or Collection
        What to write.
    folder : path
        Where to.
    overwrite, keep : bool
        What to do with other files of the same names: replace them, or leave them (at most one of the two).
    threads : int, optional
        How many files to write at the same time; by default one for each core, at most 8.
    progress : callable, optional
        Called from the calling thread with the files and bytes that were done since the last call.
    shard : Shard
        The part of it that is to be written here: ``Shard(3, 8)`` is the third of eight.
    todo : Plan, optional
        What is to be done, where that is known by now.

    Raises
    ------
    ExportError
        If there are other files of the same names (nothing was written then), if the file system refuses, or,
        after all other files are written, if some frames or stacks could not be read.
    FilterError
        If a compression filter is missing.
    UrlError
        If both `overwrite` and `keep` are true, or `threads` is less than 1.
    """
    if overwrite and keep:
        raise UrlError("export: overwrite and keep exclude each other", hint="give one of them")
    if threads is not None and threads < 1:
        raise UrlError(f"export: {threads} threads are not possible", hint="give 1 or more")
    start = time.monotonic()
    target = Path(folder)
    todo = plan(tree, target, overwrite=overwrite, keep=keep, shard=shard) if todo is None else todo
    if todo.conflict is not None:
        raise _conflict_error(todo, target)
    size = Writer(target, overwrite, threads or _default_threads(), progress).run(todo) if todo.to_write else 0
    if todo.closed:
        raise _closed_error(todo, target)
    return ExportReport(str(target), todo.to_write, todo.done, todo.kept, size, time.monotonic() - start)


def _default_threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _THREADS_MAX)


def _closed_error(todo: Plan, folder: Path) -> ExportError:
    count = len(todo.closed)
    error = ExportError(
        f"{count} {'stack' if count == 1 else 'stacks'} could not be opened, the first because of: {todo.closed[0]}",
        file=str(folder),
        hint="the files of all others are complete; the same command tries again only what is missing",
    )
    error.__cause__ = todo.closed[0]
    return error


def _conflict_error(todo: Plan, folder: Path) -> ExportError:
    others = todo.conflicts - 1
    more = f", and {others} more like it" if others else ""
    return ExportError(
        f"there is another file of this name already{more}; nothing was written",
        file=str(folder / (todo.conflict or "")),
        hint="overwrite (--force) replaces such files, keep (--no-clobber) leaves them; folders are never replaced",
    )
