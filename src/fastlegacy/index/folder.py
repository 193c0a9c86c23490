# SPDX-License-Identifier: MIT
"""Trees below one another: named folders in as a mapping of paths to virtual files out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from fastlegacy.errors import UrlError
from fastlegacy.index.tree import Tree, VirtualFile

if TYPE_CHECKING:
    from fastlegacy.index.view import StackLike

__all__ = ["Folder"]

_NAME_MAX = 255


class Folder(Mapping[str, VirtualFile]):
    """A folder of virtual files: path relative to it (``"edf/data0001.edf"``) -> :class:`VirtualFile`.

    Nothing is kept for a file: a folder knows its trees, and a tree computes its files.

    Parameters
    ----------
    children : mapping, or iterable of pairs, of str to (Tree or Folder)
        What is in the folders below this one. They are shown in this order.
    files : Tree, optional
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
        children: Mapping[str, Tree | Folder] | Iterable[tuple[str, Tree | Folder]] = (),
        *,
        files: Tree | None = None,
    ) -> None:
        self._files = files
        self._children: dict[str, Folder] = {}
        for name, child in children.items() if isinstance(children, Mapping) else children:
            _check_name(name)
            if name in self._children or (files is not None and name in files):
                raise UrlError(
                    f"there are two entries of the name {name!r} in one folder", hint="name them differently"
                )
            self._children[name] = Folder.of(child)

    @classmethod
    def of(cls, root: Tree | Folder) -> Folder:
        """Return a folder as it is, and a tree as the folder that its files are in."""
        return root if isinstance(root, Folder) else cls(files=root)

    def __repr__(self) -> str:
        return f"<Folder of {len(self)} files, folders: {', '.join(self._children) or 'none'}>"

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
        """The folders in this one; the tree behind one that was made of a tree is its :attr:`files`."""
        return MappingProxyType(self._children)

    @property
    def files(self) -> Tree | None:
        """The files in this folder itself, without those in folders below it."""
        return self._files

    @property
    def stacks(self) -> tuple[StackLike, ...]:
        """All stacks behind the files, each once."""
        return tuple({id(tree.stack): tree.stack for _, tree in self.trees()}.values())

    @property
    def mtime_ns(self) -> int:
        """Newest time of a file in it, nanoseconds since 1970; 0 where there is none."""
        return max((tree.stack.facts.mtime_ns for _, tree in self.trees()), default=0)

    def folder(self, path: str) -> Folder | None:
        """Return the folder at a path (``""``: this one); None if there is none."""
        found: Folder | None = self
        for name in path.split("/") if path else ():
            found = None if found is None else found._children.get(name)
        return found

    def trees(self) -> Iterator[tuple[str, Tree]]:
        """Iterate over all trees, each with the path of the folder that its files are in."""
        if self._files is not None:
            yield "", self._files
        for name, child in self._children.items():
            for path, tree in child.trees():
                yield f"{name}/{path}" if path else name, tree

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all trees: stop what measures sizes ahead, and remember them."""
        for _, tree in self.trees():
            tree.close()

    def find(self, path: str) -> tuple[Tree, str] | None:
        """Return the tree that holds a file, and the file's name in it; None if there is no such file."""
        above, slash, name = path.rpartition("/")
        found = self.folder(above) if above or not slash else None
        if found is None or found._files is None or name not in found._files:
            return None
        return found._files, name

    def _found(self, path: str) -> tuple[Tree, str]:
        found = self.find(path)
        if found is None:
            raise KeyError(path)
        return found


def _check_name(name: str) -> None:
    if name in ("", ".", "..") or any(char in "/\\\0" for char in name):
        raise UrlError(f"{name!r} is no name of a folder", hint="give a name without slashes, such as edf")
    if len(name.encode("utf-8", "surrogateescape")) > _NAME_MAX:
        raise UrlError(f"the folder name {name} is too long", hint=f"at most {_NAME_MAX} bytes are possible")
