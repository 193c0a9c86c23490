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

from fastlegacy.errors import DecodeError, FastlegacyError, SourceError
from fastlegacy.faces.placing import export_error
from fastlegacy.faces.shard import ALL, Shard
from fastlegacy.faces.shown import Shown
from fastlegacy.index.folder import Folder, trees_of
from fastlegacy.model import Literal, piece_size

if TYPE_CHECKING:
    from fastlegacy.index.tree import Tree, VirtualFile

__all__ = ["FileState", "Plan", "TreePlan", "plan"]

# what file systems keep of a time: all, 100 ns (SMB, NTFS), microseconds, seconds (HFS+), two seconds (FAT)
_TIME_STEPS_NS = (1, 100, 1_000, 1_000_000_000, 2_000_000_000)


class FileState(IntEnum):
    """What is to be done with a file."""

    TO_WRITE = 0
    DONE = 1
    KEPT = 2
    CONFLICT = 3
    OF_ANOTHER_SHARD = 4


class TreePlan:
    """What is to be done with the files of one tree.

    Attributes
    ----------
    path : str
        Folder of the files relative to that of the export, ``""`` for itself.
    tree : Tree
    states : bytearray
        A :class:`FileState` for each file of the tree, by its index: a byte for each, whatever is in the folder.
    """

    def __init__(self, path: str, tree: Tree) -> None:
        self.path = path
        self.tree = tree
        self.states = bytearray(len(tree))

    def to_write(self) -> Iterator[str]:
        """Iterate over the names of the files that are to be written."""
        return (name for name, state in zip(self.tree, self.states, strict=True) if state == FileState.TO_WRITE)

    @property
    def has_something_to_write(self) -> bool:
        """Some of the files are to be written."""
        return FileState.TO_WRITE in self.states

    @property
    def bytes_to_write(self) -> int | None:
        """Size of the files that are to be written; None where it depends on pixels."""
        if self.tree.is_encoded:
            return None
        numbers = self.tree.names_by_number
        count = self.states.count(FileState.TO_WRITE, 0, len(numbers))
        frames = count * self.tree.size_of(numbers.name(0)) if count else 0
        # the few files beside those of the frames have sizes of their own
        return frames + sum(self.tree.size_of(name) for name in self.to_write() if numbers.index(name) is None)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export has to do.

    Attributes
    ----------
    trees : tuple of TreePlan
    closed : tuple of FastlegacyError
        Why stacks could not be opened: their files are not in the plan.
    conflict : str or None
        First path (in sorting order, relative to the folder) that another file has already.
    """

    trees: tuple[TreePlan, ...]
    conflict: str | None
    closed: tuple[FastlegacyError, ...] = ()

    @property
    def to_write(self) -> int:
        """How many files are to be written."""
        return self._count(FileState.TO_WRITE)

    @property
    def done(self) -> int:
        """How many files are there from an earlier export."""
        return self._count(FileState.DONE)

    @property
    def kept(self) -> int:
        """How many other files are left as they are."""
        return self._count(FileState.KEPT)

    @property
    def conflicts(self) -> int:
        """How many other files are in the way."""
        return self._count(FileState.CONFLICT)

    @property
    def bytes_to_write(self) -> int | None:
        """Size of all files that are to be written; None where that of some depends on pixels."""
        total = 0
        for part in self.trees:
            size = part.bytes_to_write
            if size is None:
                return None
            total += size
        return total

    def _count(self, state: FileState) -> int:
        return sum(part.states.count(state) for part in self.trees)


def plan(
    root: Tree | Folder | Shown,
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    keep: bool = False,
    shard: Shard = ALL,
) -> Plan:
    """Find out what an export has to do, without changing anything.

    Parameters
    ----------
    root : Tree, Folder or Collection
        What is to be written; of a collection, stacks that cannot be opened are passed over.
    folder : path
        Where to.
    overwrite, keep : bool
        What to do with other files of the same names.
    shard : Shard
        The part of it that is wanted.

    Raises
    ------
    ExportError
        If a folder cannot be read, or is not a folder.
    FilterError
        If a compression filter is missing that is needed to compare a file.
    """
    top = root.root if isinstance(root, Shown) else Folder.of(root)
    closed: list[FastlegacyError] = []
    slots, has_all = shard.stacks(top.walk())
    many = isinstance(root, Shown)
    trees = trees_of(slots, (lambda path, error: closed.append(error)) if many else None)
    parts = tuple(TreePlan(path, tree) for path, tree in trees)
    for turn, part in enumerate(() if has_all else parts):
        mine = shard.files(len(part.states), turn)
        part.states[:] = [
            FileState.TO_WRITE if index in mine else FileState.OF_ANOTHER_SHARD for index in range(len(part.states))
        ]
    if closed and not parts:
        raise closed[0]
    conflicts: list[str] = []
    for part in parts:
        target = Path(folder, part.path)
        try:
            conflict = _look_into(target, part, overwrite=overwrite, keep=keep)
        except FastlegacyError:
            raise
        except OSError as error:
            raise export_error(error, target) from error
        if conflict is not None:
            conflicts.append(f"{part.path}/{conflict}" if part.path else conflict)
    return Plan(parts, min(conflicts, default=None), tuple(closed))


def _look_into(folder: Path, part: TreePlan, *, overwrite: bool, keep: bool) -> str | None:
    """Find the states of the files of a tree; return the first name that is in the way."""
    conflict: str | None = None
    for entry, file in _present(part.tree, folder):
        if part.states[file.index] == FileState.OF_ANOTHER_SHARD:
            continue
        state = _state(file, entry, overwrite=overwrite, keep=keep)
        part.states[file.index] = state
        if state == FileState.CONFLICT:
            conflict = entry.name if conflict is None else min(conflict, entry.name)
    return conflict


def _present(tree: Tree, folder: Path) -> Iterator[tuple[os.DirEntry[str], VirtualFile]]:
    try:
        found = os.scandir(folder)
    except FileNotFoundError:
        if os.path.lexists(folder):
            raise
        return  # it is made when the export begins
    # by what is in the folder, not by what is in the tree: that may be a million names that are not there
    with found as entries:
        for entry in entries:
            if entry.name in tree:
                yield entry, tree[entry.name]


def _state(file: VirtualFile, entry: os.DirEntry[str], *, overwrite: bool, keep: bool) -> FileState:
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISREG(facts.st_mode) and _has_same_time(file, facts) and _has_same_content(file, facts, entry.path):
        return FileState.DONE
    if keep:
        return FileState.KEPT
    return FileState.TO_WRITE if overwrite and not stat.S_ISDIR(facts.st_mode) else FileState.CONFLICT


def _has_same_time(file: VirtualFile, facts: os.stat_result) -> bool:
    return facts.st_mtime_ns in (file.mtime_ns - file.mtime_ns % step for step in _TIME_STEPS_NS)


def _has_same_content(file: VirtualFile, facts: os.stat_result, path: str) -> bool:
    try:
        return facts.st_size == file.size and _has_same_header(file, path)
    except (DecodeError, SourceError):
        return False  # what cannot be read now is not what was exported


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
