# SPDX-License-Identifier: MIT
"""The union of :mod:`overlay`, with names that are found in any case: what ``--ignore-case`` is.

The exact name counts first. Where there is none, that entry is meant whose name differs in case only; of several, real
or virtual, the first by its bytes. So a new file whose name differs from an existing one in case only *is* the existing
one, as programs of Windows expect it.
"""

from __future__ import annotations

import errno
import inspect
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any

from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import Attributes, Caller, RealFolder, failure
from fastlegacy.faces.mount.virtual import VirtualEntries
from fastlegacy.index.names import folded, spelled_like

if TYPE_CHECKING:
    from fastlegacy.index.tree import VirtualFile

__all__ = ["AnyCase", "RealNames"]

_PATHS = {"path", "old", "new", "existing"}  # parameters of Overlay's methods
_NAMES_MAX = 200_000
_SETTLED_NS = 2_500_000_000  # the coarsest times of modification are those of FAT, 2 s

ByFold = dict[str, list[str]]


class RealNames:
    """Names in the real folder that are given in any case. Safe for threads.

    A folder is listed when somebody looks for a name that is not there as it is spelled. What was listed holds until
    the folder's time of modification is another one.

    Parameters
    ----------
    real : RealFolder
    clock_ns : callable
        Tells the time, nanoseconds since 1970.
    """

    def __init__(self, real: RealFolder, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._real = real
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[tuple[int, ...], ByFold]] = OrderedDict()
        self._count = 0

    def alike(self, folder: str, name: str) -> list[str]:
        """Return the names in a folder that differ from one in nothing but case; none where it cannot be listed."""
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            return self._names(folder).get(folded(name), [])
        return []

    def _names(self, folder: str) -> ByFold:
        found = self._real.attributes(folder)
        state = found["st_ino"], found["st_mtime"], found["st_ctime"]
        with self._lock:
            known = self._known.get(folder)
            if known is not None and known[0] == state:
                self._known.move_to_end(folder)
                return known[1]
        now_ns = self._clock_ns()
        names = self._listed(folder)
        # what is put into the folder within the same tick of the file system's clock does not change its time
        if now_ns - found["st_mtime"] > _SETTLED_NS:
            self._keep(folder, state, names)
        return names

    def _listed(self, folder: str) -> ByFold:
        names: ByFold = {}
        fd = self._real.open_folder(folder)
        try:
            for entry in self._real.entries(fd):
                names.setdefault(folded(entry.name), []).append(entry.name)
        finally:
            self._real.close_folder(fd)
        return names

    def _keep(self, folder: str, state: tuple[int, ...], names: ByFold) -> None:
        with self._lock:
            before = self._known.pop(folder, None)
            self._count += len(names) - (0 if before is None else len(before[1]))
            self._known[folder] = state, names
            while self._count > _NAMES_MAX:
                self._count -= len(self._known.popitem(last=False)[1][1])


def _spelled(method: FunctionType) -> Callable[..., Any]:
    """Return a method of the overlay that takes paths in any case."""
    places = [place for place, name in enumerate(inspect.signature(method).parameters) if name in _PATHS]

    @wraps(method)
    def call(self: AnyCase, *words: Any) -> Any:
        given = [self, *words]
        for place in places:
            given[place] = self.spelled(given[place])
        return method(*given)

    return call


class AnyCase(Overlay):
    """The union with names that are found in any case; parameters as those of :class:`Overlay`, and one more.

    What a method of Overlay takes as a path (positional, and called so) is looked for before the method is called, of
    all methods but those that are below.

    Parameters
    ----------
    asks_again : bool
        The kernel asks anew, and by the name, who is told ESTALE: Linux does.
    **more
        As for Overlay.
    """

    def __init__(self, real: RealFolder, virtual: VirtualEntries, *, asks_again: bool = True, **more: Any) -> None:
        super().__init__(real, virtual, **more)
        self._asks_again = asks_again
        self._names = RealNames(real)

    def spelled(self, path: str) -> str:
        """Return the path of an entry as it is spelled; a name that is not there in any case stays as it is."""
        if self._is_there(path):
            return path
        above, _, name = path.rpartition("/")
        above = self.spelled(above) if above else ""
        return f"{above}/{self._name(above or '/', name)}"

    def _is_there(self, path: str) -> bool:
        if path in self._virtual or self._virtual.is_folder(path):
            return True
        try:
            return self._real.exists(path)
        except NotADirectoryError:
            return False

    def _name(self, folder: str, name: str) -> str:
        path = f"{folder.rstrip('/')}/{name}"
        if self._is_there(path):
            return name
        found = self._names.alike(folder, name)
        virtual = self._virtual.spelled(folder, name)
        return spelled_like(name, found if virtual is None else [*found, virtual]) or name

    def virtual_attributes(self, path: str, size: int) -> Attributes:
        """Attributes of an open virtual file, whatever may hide it by now."""
        if path not in self._virtual:
            path = self._virtual_path(path)
        return super().virtual_attributes(path, size)

    def _virtual_path(self, path: str) -> str:
        folder = ""
        for name in path.strip("/").split("/"):
            folder = f"{folder}/{self._virtual.spelled(folder or '/', name) or name}"
        return folder

    def open(self, path: str, flags: int, caller: Caller) -> int | VirtualFile:
        """Open a file that is there.

        Raises
        ------
        OSError
            As that of Overlay, but ESTALE where there is nothing: the kernel believed that there is something, as it
            knows a name for each spelling. It asks again then, and makes the file if that is wanted.
        """
        try:
            return super().open(self.spelled(path), flags, caller)
        except FileNotFoundError as error:
            if not self._asks_again:
                raise
            raise failure(errno.ESTALE, path) from error

    def rename(self, old: str, new: str) -> None:
        """Rename a real entry, over that of a name in other case too; or change only the case of its name."""
        old, found = self.spelled(old), self.spelled(new)
        if found == old:
            above, _, name = new.rpartition("/")
            found = f"{self.spelled(above) if above else ''}/{name}"
        super().rename(old, found)


def _complete() -> None:
    """Let all the other methods that take paths take them in any case: also those that Overlay gets one day."""
    for name, method in vars(Overlay).items():
        if not isinstance(method, FunctionType) or name.startswith("_") or name in vars(AnyCase):
            continue
        if _PATHS & set(inspect.signature(method).parameters):
            setattr(AnyCase, name, _spelled(method))


_complete()
