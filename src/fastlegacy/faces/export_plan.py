# SPDX-License-Identifier: MIT
"""What an export has to do: which files of a tree are in a folder already, and which of them are in the way."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

from fastlegacy.faces.placing import export_error
from fastlegacy.model import Literal, piece_size

if TYPE_CHECKING:
    from fastlegacy.index.tree import Tree, VirtualFile

__all__ = ["FileState", "Plan", "plan"]

# what file systems keep of a time: all, 100 ns (SMB, NTFS), microseconds, seconds (HFS+), two seconds (FAT)
_TIME_STEPS_NS = (1, 100, 1_000, 1_000_000_000, 2_000_000_000)


class FileState(IntEnum):
    """What is to be done with a file."""

    TO_WRITE = 0
    DONE = 1
    KEPT = 2
    CONFLICT = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export has to do.

    Attributes
    ----------
    states : bytearray
        A :class:`FileState` for each file of the tree, by its index: a byte for each, whatever is in the folder.
    conflict : str or None
        First name (in sorting order) that another file has already.
    """

    states: bytearray
    conflict: str | None

    @property
    def to_write(self) -> int:
        """How many files are to be written."""
        return self.states.count(FileState.TO_WRITE)

    @property
    def done(self) -> int:
        """How many files are there from an earlier export."""
        return self.states.count(FileState.DONE)

    @property
    def kept(self) -> int:
        """How many other files are left as they are."""
        return self.states.count(FileState.KEPT)

    @property
    def conflicts(self) -> int:
        """How many other files are in the way."""
        return self.states.count(FileState.CONFLICT)


def plan(tree: Tree, folder: str | os.PathLike[str], *, overwrite: bool = False, keep: bool = False) -> Plan:
    """Find out what an export has to do, without changing anything.

    Raises
    ------
    ExportError
        If the folder cannot be read, or is not a folder.
    """
    states = bytearray(len(tree))
    conflict: str | None = None
    try:
        for entry, file in _present(tree, folder):
            state = _state(file, entry, overwrite=overwrite, keep=keep)
            states[file.index] = state
            if state == FileState.CONFLICT:
                conflict = entry.name if conflict is None else min(conflict, entry.name)
    except OSError as error:
        raise export_error(error, Path(folder)) from error
    return Plan(states, conflict)


def _present(tree: Tree, folder: str | os.PathLike[str]) -> Iterator[tuple[os.DirEntry[str], VirtualFile]]:
    if not os.path.lexists(folder):
        return  # it is made when the export begins
    # by what is in the folder, not by what is in the tree: that may be a million names that are not there
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in tree:
                yield entry, tree[entry.name]


def _state(file: VirtualFile, entry: os.DirEntry[str], *, overwrite: bool, keep: bool) -> FileState:
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISREG(facts.st_mode) and _has_same_facts(file, facts) and _has_same_header(file, entry.path):
        return FileState.DONE
    if keep:
        return FileState.KEPT
    return FileState.TO_WRITE if overwrite and not stat.S_ISDIR(facts.st_mode) else FileState.CONFLICT


def _has_same_facts(file: VirtualFile, facts: os.stat_result) -> bool:
    times = (file.mtime_ns - file.mtime_ns % step for step in _TIME_STEPS_NS)
    return facts.st_size == file.size and facts.st_mtime_ns in times


def _has_same_header(file: VirtualFile, path: str) -> bool:
    offset = 0
    with open(path, "rb") as stream:
        for piece in file.pieces:
            if isinstance(piece, Literal):
                stream.seek(offset)
                if stream.read(len(piece.data)) != piece.data:
                    return False
            offset += piece_size(piece, file.facts)
    return True
