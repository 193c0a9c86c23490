# SPDX-License-Identifier: MIT
"""Trees below one another: named folders in as a mapping of paths to virtual files out.

A tree may be made only when somebody looks for its files: see :class:`Slot`. Of thousands of scans only those are open
that are in use.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from fastlegacy.errors import FastlegacyError, UrlError
from fastlegacy.index.epoch import EPOCH
from fastlegacy.index.names import folded, spelled_like
from fastlegacy.index.tree import Tree, VirtualFile

if TYPE_CHECKING:
    from fastlegacy.index.view import StackLike

__all__ = ["Folder", "Shelf", "Slot", "trees_of"]

_NAME_MAX = 255
_MOST_OPEN = 48
_ERROR_HOLDS_S = 2.0

Make = Callable[["Tree | None"], Tree]


class Shelf:
    """Knows which slots have a tree just now, and lets go of those that nobody asked for longest.

    Parameters
    ----------
    most : int
        How many may have one.
    """

    def __init__(self, most: int = _MOST_OPEN) -> None:
        self._most = most
        self._slots: OrderedDict[int, Slot] = OrderedDict()
        self._lock = threading.Lock()

    def used(self, slot: Slot) -> None:
        """Note that a slot is in use."""
        with self._lock:
            self._slots[id(slot)] = slot
            self._slots.move_to_end(id(slot))
            oldest = list(self._slots.values())[: max(0, len(self._slots) - self._most)]
            for each in oldest:
                del self._slots[id(each)]
        for each in oldest:
            each.let_go()


class Slot:
    """The place of a tree that is made when it is first asked for. Safe for threads.

    Parameters
    ----------
    make : callable
        Makes the tree; it is given the one that was there before, if the slot is renewed.
    shelf : Shelf, optional
        Where it is noted that it is in use; without one, the tree stays.
    mtime_ns : int
        Time of the folder as long as there is no tree.
    gone : callable, optional
        Called when the tree was let go of.
    may_come : callable, optional
        Tells of an error whether it only says that there is nothing to be seen, perhaps not yet: that is no error then.
    """

    def __init__(
        self,
        make: Make,
        shelf: Shelf | None = None,
        *,
        mtime_ns: int = 0,
        gone: Callable[[], None] | None = None,
        may_come: Callable[[FastlegacyError], bool] = lambda error: False,
    ) -> None:
        self._make = make
        self._gone = gone
        self._may_come = may_come
        self._shelf = shelf
        self._mtime_ns = mtime_ns
        self._tree: Tree | None = None
        self._failed: tuple[float, FastlegacyError] | None = None
        self._lock = threading.RLock()

    @classmethod
    def of(cls, tree: Tree | Slot) -> Slot:
        """Return a slot as it is, and a tree in a slot of its own."""
        if isinstance(tree, Slot):
            return tree
        slot = cls(lambda before: tree)
        slot._tree = tree
        return slot

    @property
    def now(self) -> Tree | None:
        """The tree, if it was made."""
        return self._tree

    @property
    def mtime_ns(self) -> int:
        """Newest time of its files, nanoseconds since 1970."""
        tree = self._tree
        return self._mtime_ns if tree is None else tree.mtime_ns

    def tree(self) -> Tree:
        """Return the tree; make it if need be.

        Raises
        ------
        FastlegacyError
            If it cannot be made. The same error comes again for two seconds, so that a listing is not a hundred tries.
        """
        tree = self._tree
        if tree is None:
            with self._lock:
                tree = self._tree or self._made(None)
        if self._shelf is not None:
            self._shelf.used(self)
        return tree

    def found(self) -> Tree | None:
        """Return the tree; None where there is nothing to be seen.

        Raises
        ------
        FastlegacyError
            If it cannot be made, and that will stay so.
        """
        try:
            return self.tree()
        except FastlegacyError as error:
            if not self._may_come(error):
                raise
            return None

    def keep(self, tree: Tree) -> None:
        """Take a tree that is being made, while whoever makes it holds its own lock."""
        self._tree = tree

    def renew(self) -> None:
        """Make the tree anew, if it was made: what it is made from has changed.

        Raises
        ------
        FastlegacyError
            If it cannot be made; the one that was there stays.
        """
        with self._lock:
            self._failed = None
            if self._tree is not None:
                self._made(self._tree)

    def let_go(self) -> None:
        """Forget the tree: it is made again when it is asked for. Files that are open go on."""
        with self._lock:
            tree, self._tree = self._tree, None
        if tree is not None:
            EPOCH.advance()
            tree.close()
            if self._gone is not None:
                self._gone()

    def _made(self, before: Tree | None) -> Tree:
        if self._failed is not None and time.monotonic() < self._failed[0]:
            raise self._failed[1].with_traceback(None)  # else it grows by each that raises it
        had, mtime_ns = self._tree is not None, self.mtime_ns
        try:
            self._tree = self._make(before)
        except FastlegacyError as error:
            self._failed = time.monotonic() + _ERROR_HOLDS_S, error
            raise
        self._failed = None
        if had or self.mtime_ns != mtime_ns:
            EPOCH.advance()
        return self._tree


class Folder(Mapping[str, VirtualFile]):
    """A folder of virtual files: path relative to it (``"edf/data0001.edf"``) -> :class:`VirtualFile`.

    Nothing is kept for a file: a folder knows its trees, and a tree computes its files. What counts or lists all files
    makes all trees; what looks for one makes those of the folder that it is in.

    Parameters
    ----------
    children : mapping, or iterable of pairs, of str to (Tree, Slot or Folder)
        What is in the folders below this one. They are shown in this order.
    files : Tree or Slot, or several, optional
        The files that are in this folder itself; they are shown first.

    Raises
    ------
    UrlError
        If a name is not possible, or is there twice.

    Examples
    --------
    >>> Folder({"edf": Tree(stack, EDF), "cbf": Tree(stack, CBF)})["edf/data0001.edf"]  # doctest: +SKIP
    """

    def __init__(
        self,
        children: Mapping[str, Tree | Slot | Folder] | Iterable[tuple[str, Tree | Slot | Folder]] = (),
        *,
        files: Tree | Slot | Iterable[Tree | Slot] | None = None,
    ) -> None:
        given = (files,) if isinstance(files, Tree | Slot) else files or ()
        self._slots = tuple(map(Slot.of, given))
        self._children: dict[str, Folder] = {}
        known = [slot.now for slot in self._slots if slot.now is not None] if self._slots else []
        for name, child in children.items() if isinstance(children, Mapping) else children:
            _check_name(name)
            if name in self._children or (known and any(name in tree for tree in known)):
                raise UrlError(
                    f"there are two entries of the name {name!r} in one folder", hint="name them differently"
                )
            self._children[name] = Folder.of(child)
        self._in_any_case: dict[str, list[str]] | None = None

    @classmethod
    def of(cls, root: Tree | Slot | Folder) -> Folder:
        """Return a folder as it is, and a tree as the folder that its files are in."""
        return root if isinstance(root, Folder) else cls(files=root)

    def __repr__(self) -> str:
        return f"<Folder of {len(self._slots)} trees, folders: {', '.join(self._children) or 'none'}>"

    def __len__(self) -> int:
        return sum(len(tree) for _, tree in self.trees())

    def __iter__(self) -> Iterator[str]:
        for path, tree in self.trees():
            yield from (f"{path}/{name}" for name in tree) if path else tree

    def __contains__(self, path: object) -> bool:
        return isinstance(path, str) and self.find(path) is not None

    def __getitem__(self, path: str) -> VirtualFile:
        tree, name = self._found(path)
        return tree[name]

    def size_of(self, path: str) -> int:
        """Return the size of a file, bytes; nothing is opened for it.

        Raises
        ------
        KeyError
            If there is no such file.
        DecodeError, SourceError
            If the size depends on pixels, and they cannot be read.
        """
        tree, name = self._found(path)
        return tree.size_of(name)

    @property
    def children(self) -> Mapping[str, Folder]:
        """The folders in this one; those that were made of a tree have it in their :attr:`slots`."""
        return MappingProxyType(self._children)

    @property
    def slots(self) -> tuple[Slot, ...]:
        """The trees in this folder itself, or where they will be."""
        return self._slots

    @property
    def files(self) -> Iterator[str]:
        """Names of the files in this folder itself."""
        trees = (slot.found() for slot in self._slots)
        return (name for tree in trees if tree is not None for name in tree)

    @property
    def stacks(self) -> tuple[StackLike, ...]:
        """The stacks behind the trees that were made, each once."""
        trees = [slot.now for _, slot in self.walk()]
        return tuple({id(tree.stack): tree.stack for tree in trees if tree is not None}.values())

    @property
    def mtime_ns(self) -> int:
        """Newest time of a file in it, nanoseconds since 1970; 0 where there is none."""
        newest = [slot.mtime_ns for slot in self._slots] + [child.mtime_ns for child in self._children.values()]
        return max(newest, default=0)

    def folder(self, path: str) -> Folder | None:
        """Return the folder at a path (``""``: this one); None if there is none."""
        found: Folder | None = self
        for name in path.split("/") if path else ():
            found = None if found is None else found._children.get(name)
        return found

    def spelled(self, name: str) -> str | None:
        """Return the name of a file or folder in this folder itself that is given in any case; None if there is none.

        Of several that differ in case only it is the one that is spelled so, or else the first by its bytes.
        """
        if self._in_any_case is None:
            known: dict[str, list[str]] = {}
            for child in self._children:
                known.setdefault(folded(child), []).append(child)
            self._in_any_case = known
        trees = (slot.found() for slot in self._slots)
        files = [tree.spelled(name) for tree in trees if tree is not None]
        names = [*self._in_any_case.get(folded(name), ()), *(file for file in files if file is not None)]
        return spelled_like(name, names)

    def walk(self) -> Iterator[tuple[str, Slot]]:
        """Iterate over all slots, each with the path of the folder that its files are in; nothing is made."""
        for slot in self._slots:
            yield "", slot
        for name, child in self._children.items():
            for path, slot in child.walk():
                yield f"{name}/{path}" if path else name, slot

    def trees(self, failed: Callable[[str, FastlegacyError], None] | None = None) -> Iterator[tuple[str, Tree]]:
        """Iterate over all trees, each with the path of the folder that its files are in.

        Parameters
        ----------
        failed : callable, optional
            Is told the path and the error of each tree that cannot be made.

        Raises
        ------
        FastlegacyError
            If one cannot be made, and nobody wants to be told.
        """
        return trees_of(self.walk(), failed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all trees that were made: stop what measures sizes ahead, and remember them."""
        for _, slot in self.walk():
            if slot.now is not None:
                slot.now.close()

    def find(self, path: str) -> tuple[Tree, str] | None:
        """Return the tree that holds a file, and the file's name in it; None if there is no such file."""
        above, slash, name = path.rpartition("/")
        found = self.folder(above) if above or not slash else None
        if found is None:
            return None
        trees = (slot.found() for slot in found._slots)
        return next(((tree, name) for tree in trees if tree is not None and name in tree), None)

    def _found(self, path: str) -> tuple[Tree, str]:
        found = self.find(path)
        if found is None:
            raise KeyError(path)
        return found


def trees_of(
    slots: Iterable[tuple[str, Slot]], failed: Callable[[str, FastlegacyError], None] | None = None
) -> Iterator[tuple[str, Tree]]:
    """Iterate over the trees of slots: see :meth:`Folder.trees`."""
    for path, slot in slots:
        try:
            tree = slot.found()
        except FastlegacyError as error:
            if failed is None:
                raise
            failed(path, error)
        else:
            if tree is not None:
                yield path, tree


@lru_cache(4096)
def _check_name(name: str) -> None:
    if name in ("", ".", "..") or any(char in "/\\\0" for char in name):
        raise UrlError(f"{name!r} is no name of a folder", hint="give a name without slashes, such as edf")
    if len(name.encode("utf-8", "surrogateescape")) > _NAME_MAX:
        raise UrlError(f"the folder name {name} is too long", hint=f"at most {_NAME_MAX} bytes are possible")
