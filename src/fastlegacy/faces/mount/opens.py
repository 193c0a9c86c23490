# SPDX-License-Identifier: MIT
"""Has the files ready that a program will open next, so that C can open them without Python.

To open a virtual file is to write its header, which is Python's. Who opens files one after the other would wait for
that each time, and longer where another thread keeps Python busy. So a thread prepares those that follow, some at a
time; when the middle one of them is opened it goes on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from fastlegacy.errors import FastlegacyError
from fastlegacy.index.epoch import EPOCH

if TYPE_CHECKING:
    from fastlegacy._serve import Handles
    from fastlegacy.faces.mount.pages import KernelPages
    from fastlegacy.index.tree import Tree, VirtualFile

__all__ = ["Opens"]

_FIRST, _MOST = 4, 64  # files that are prepared at a time; it doubles as long as somebody comes for them
_MOST_ENCODED = 2  # their headers may have to tell what only encoding the frame shows


class Opens:
    """Runs from ``with`` until its end.

    Parameters
    ----------
    handles : fastlegacy._serve.Handles
    pages : KernelPages
    find : callable
        Returns the virtual file of a path, or raises KeyError.
    """

    def __init__(self, handles: Handles, pages: KernelPages, find: Callable[[str], VirtualFile]) -> None:
        self._handles = handles
        self._pages = pages
        self._find = find
        self._lock = threading.Lock()
        self._tree: Tree | None = None  # of the file that was opened last, and which one it was
        self._index = self._step = 0
        self._until: int | None = None  # the last one that is prepared, or will be at once
        self._count = _FIRST
        self._thread = threading.Thread(target=self._run, name="fastlegacy-opens", daemon=True)

    def __enter__(self) -> Opens:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handles.end_opens()
        self._thread.join()

    def opened(self, path: str, file: VirtualFile) -> None:
        """Know that Python has opened a file."""
        with self._lock:
            known, distance = file.tree is self._tree, file.index - self._index
            if known and distance == 0:
                return  # many programs open a file twice
            in_order = known and self._comes_next(distance)
            if not in_order:
                in_order = known and abs(distance) == 1
                self._step, self._until, self._count = distance if known else 0, None, _FIRST
            self._tree, self._index = file.tree, file.index
        if in_order:
            self._handles.ask_for_opens(path)

    def _comes_next(self, distance: int) -> bool:
        """Tell whether the order goes on, from the last file that Python opened. C may have opened those between."""
        if self._step == 0:
            return False
        steps, rest = divmod(distance, self._step)
        ready = 0 if self._until is None else (self._until - self._index) // self._step
        return rest == 0 and 1 <= steps <= ready + 1

    def _run(self) -> None:
        while (path := self._handles.wait_for_opens()) is not None:
            try:
                self._prepare_after(path)
            except (FastlegacyError, KeyError):
                continue  # who opens the file is told

    def _prepare_after(self, path: str) -> None:
        file = self._find(path)
        with self._lock:
            if file.tree is not self._tree or self._step == 0:
                return
            step = self._step
            ready = 0 if self._until is None else (self._until - file.index) // step
            if not 0 <= ready <= 2 * _MOST:
                ready = 0  # somebody is further on than was prepared
            most = _MOST_ENCODED if file.tree.is_encoded else _MOST
            count = min(self._count, most)
            self._count = min(2 * count, most)
        for k in range(count):
            index = file.index + (ready + 1 + k) * step
            with self._lock:
                if file.tree is not self._tree or step != self._step:
                    return
                self._until = index  # before it is: who opens it may be quick
            if not self._prepare(path, file.tree, index, asks=k == count // 2):
                return

    def _prepare(self, path: str, tree: Tree, index: int, *, asks: bool) -> bool:
        if not 0 <= index < len(tree.names_by_number) or not tree.is_frame(index) or not tree.is_measured(index):
            return False
        name = tree.names_by_number.name(index)
        version, epoch = self._pages.version(), EPOCH.now
        folder = path[: path.rindex("/") + 1]
        return self._pages.prepare(folder + name, version, epoch, tree[name].open(), asks=asks)
