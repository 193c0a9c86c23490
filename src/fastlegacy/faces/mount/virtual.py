# SPDX-License-Identifier: MIT
"""The virtual layer: a tree of virtual files, seen as the read-only entries of a folder.

The trees of today are flat: all their files lie in the root folder. Everything that would change with folders in a
tree is in this module.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

from fastlegacy.faces.mount.real import Attributes

if TYPE_CHECKING:
    from fastlegacy._core import PieceFile

__all__ = ["OpenableFile", "VirtualEntries", "VirtualTree"]

_BLOCK_BYTES = 128 * 1024  # the largest request of libfuse 2: programs that heed st_blksize read in such steps


class OpenableFile(Protocol):
    """What the mount needs of a virtual file."""

    def open(self) -> PieceFile:
        """Return the file's bytes, ready to be read."""
        ...


class VirtualTree(Protocol):
    """What the mount needs of a tree: names and sizes by arithmetic, a file only when it is opened."""

    def __contains__(self, name: object, /) -> bool:
        """Tell whether there is a file of this name."""
        ...

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in order."""
        ...

    def __getitem__(self, name: str, /) -> OpenableFile:
        """Return a file; KeyError if it is not there."""
        ...

    def size_of(self, name: str, /) -> int:
        """Exact size of a file, bytes."""
        ...


class VirtualEntries:
    """The entries that a tree adds to a folder.

    Parameters
    ----------
    tree : VirtualTree
        The files.
    url : str
        What the tree is made from; inode numbers depend on it and on the name alone.
    mtime_ns : int
        Time of all files, nanoseconds since 1970.
    uid, gid : int
        Owner of all files.
    """

    def __init__(self, tree: VirtualTree, *, url: str, mtime_ns: int, uid: int, gid: int) -> None:
        self._tree = tree
        self._seed = zlib.crc32(url.encode("utf-8", "surrogateescape"))
        self._common: Attributes = {
            "st_mode": stat.S_IFREG | 0o444,
            "st_nlink": 1,
            "st_uid": uid,
            "st_gid": gid,
            "st_blksize": _BLOCK_BYTES,
            "st_atime": mtime_ns,
            "st_mtime": mtime_ns,
            "st_ctime": mtime_ns,
        }

    def __contains__(self, path: str) -> bool:
        return _name(path) in self._tree

    def file(self, path: str) -> OpenableFile:
        """Return the virtual file; KeyError if there is none."""
        return self._tree[_name(path)]

    def attributes(self, path: str) -> Attributes | None:
        """Attributes of a virtual file; None if there is none."""
        name = _name(path)
        if name not in self._tree:
            return None
        size = self._tree.size_of(name)
        return self._common | {"st_ino": self.inode(name), "st_size": size, "st_blocks": -(-size // 512)}

    def names(self, folder: str) -> Iterator[str]:
        """Iterate over the names that the tree adds to a folder."""
        return iter(self._tree if folder.strip("/") == "" else ())

    def inode(self, name: str) -> int:
        """Inode number of a file, the same at every mount."""
        # 32 bits: with a larger number stat() of a 32-bit program fails (EOVERFLOW), and old programs are what this
        # is for. Names that differ in no more than four neighbouring digits never share a number.
        return zlib.crc32(name.encode("utf-8", "surrogateescape"), self._seed) or 1


def _name(path: str) -> str:
    """Name of an entry of the root folder; one of a folder below it keeps its slash, and so is in no flat tree."""
    return path.removeprefix("/")
