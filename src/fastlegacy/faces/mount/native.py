# SPDX-License-Identifier: MIT
"""Tells C what it may answer by itself: names, sizes and times of a folder and its virtual files, from its trees.

What is told of a folder holds as long as :data:`fastlegacy.index.epoch.EPOCH` stays the same. It is told when somebody
looks into the folder for the first time, and again after each change.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np

from fastlegacy.faces.mount.real import RealFolder
from fastlegacy.faces.mount.virtual import VirtualEntries
from fastlegacy.index.epoch import EPOCH
from fastlegacy.index.tree import Tree

if TYPE_CHECKING:
    from fastlegacy._names import Names

__all__ = ["NativeNames"]

_TIMES_MOST = 1000

Series = tuple[str, str, bool, int, int, int, bool, int, int]
"""Stem, ending, numbered, digits, first, count, reverse, size (-1: files differ), time of modification in ns."""


class NativeNames:
    """Keeps C informed. Safe for threads.

    Parameters
    ----------
    virtual : VirtualEntries
        What is shown.
    real : RealFolder
        What is below it.
    """

    def __init__(self, virtual: VirtualEntries, real: RealFolder) -> None:
        from fastlegacy._names import Names

        common = virtual.common
        self.names: Names = Names(
            real.dirfd,
            EPOCH.address,
            uid=common["st_uid"],
            gid=common["st_gid"],
            mode=common["st_mode"],
            block_bytes=common["st_blksize"],
            gives_away=real.give_away,
            keep=EPOCH,
        )
        self._virtual = virtual
        self._times: tuple[int, dict[str, int]] = 0, {}  # of virtual folders, as they were at an epoch
        virtual.on_size = self._learn
        virtual.on_folder = self._learn_folder

    def tell(self, folder: str, version: Callable[[], int], *, make: bool = False) -> None:
        """Tell C of the files in a folder, unless it knows, or they are not as simple as C needs them.

        Parameters
        ----------
        folder : str
            Its path, ``"/"`` or ``"/a/b"``.
        version : callable
            Returns the version of all headers.
        make : bool
            Make the trees that are not there yet, because all of the files are asked for.

        Raises
        ------
        FastlegacyError
            If one cannot be made.
        """
        if self.names.knows(folder):
            return
        if make:
            self._virtual.make_trees(folder)
        epoch, now = EPOCH.now, version()
        trees = self._virtual.trees_now(folder)
        if trees is None or not all(tree.is_whole for tree in trees):
            return
        series = [row for tree in trees for row in _series(tree)]
        texts = [folder, *(text for row in series for text in row[:2])]
        if all(os.fsencode(text) == text.encode("utf-8", "surrogateescape") for text in texts):
            self.names.tell(
                folder,
                epoch,
                now,
                self._virtual.inode_seed(folder),
                series,
                folders=self._virtual.folders_in(folder),
                inode=0 if folder == "/" else self._virtual.inode(folder),
            )
            known, times = self._times
            if known == epoch and folder in times:
                self.names.learn_folder(folder, times[folder], epoch)

    def _learn_folder(self, folder: str, mtime_ns: int, epoch: int) -> None:
        """Tell C when a virtual folder was modified: now, or when it hears of the folder, which may be later."""
        known, times = self._times
        if known != epoch or len(times) >= _TIMES_MOST:
            times = {}
            self._times = epoch, times
        times[folder] = mtime_ns
        self.names.learn_folder(folder, mtime_ns, epoch)

    def _learn(self, folder: str, tree: Tree, index: int, size: int, epoch: int) -> None:
        """Tell C a size that Python was asked for; where those of all frames are known, the ones beside it as well."""
        if not tree.is_frame(index) or not self.names.knows(folder):
            return
        beside = tree.sizes_beside(index) if type(tree) is Tree else None
        first, sizes = beside or (index, np.array([size], np.int64))
        name = tree.names_by_number.name(first)
        self.names.learn(f"/{name}" if folder == "/" else f"{folder}/{name}", sizes, epoch)


def _series(tree: Tree) -> Iterable[Series]:
    names = tree.names_by_number
    # another kind of tree may have sizes of its own
    size = tree.file_size if type(tree) is Tree and tree.file_size is not None else -1
    if len(names):
        facts = names.first, len(names), names.reverse, size, tree.mtime_ns_of(0)
        yield names.stem, names.suffix, names.numbered, names.digits, *facts
    for index, (name, data) in enumerate(tree.extras.items(), len(names)):
        yield name, "", False, 0, 0, 1, False, len(data), tree.mtime_ns_of(index)
