# SPDX-License-Identifier: MIT
"""The virtual layer: a tree, or folders of trees, seen as the read-only entries that a mount adds to a folder.

All paths begin with a slash. Whatever would change with another shape of what is shown is in this module.
"""

from __future__ import annotations

import stat
import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from fastlegacy.faces.mount.real import Attributes
from fastlegacy.index.epoch import EPOCH
from fastlegacy.index.folder import Folder
from fastlegacy.index.tree import Tree

if TYPE_CHECKING:
    from fastlegacy.index.tree import VirtualFile

__all__ = ["Entry", "VirtualEntries"]

_BLOCK_BYTES = 128 * 1024  # the largest request of libfuse 2: programs that heed st_blksize read in such steps

Entry = tuple[str, int, int]
"""Name, type (the ``S_IFMT`` bits; 0: not known) and inode number of an entry of a folder."""


class VirtualEntries:
    """The entries that a tree, or a folder of trees, adds to a folder.

    Parameters
    ----------
    root : Tree, Folder, or callable
        What is shown; a function returns what is shown at the moment.
    label : str
        What it is made from; inode numbers depend on it and on the path alone.
    uid, gid : int
        Owner of all files.
    mode : int
        Permissions of all files.

    Attributes
    ----------
    common : dict
        What the attributes of all files have in common.
    on_size : callable, optional
        Is told (path of its folder, tree, index, size, epoch before it was looked for) of each file whose size was
        asked for.
    on_folder : callable, optional
        Is told (path, time of modification in ns, epoch before it was looked for) of each virtual folder whose
        attributes were asked for.
    """

    def __init__(
        self, root: Tree | Folder | Callable[[], Folder], *, label: str, uid: int, gid: int, mode: int = 0o444
    ) -> None:
        if isinstance(root, Tree | Folder):
            folder = Folder.of(root)
            self._shown: Callable[[], Folder] = lambda: folder
        else:
            self._shown = root
        self._seed = zlib.crc32(_bytes(label))
        self.on_size: Callable[[str, Tree, int, int, int], None] | None = None
        self.on_folder: Callable[[str, int, int], None] | None = None
        self.common: Attributes = {
            "st_mode": stat.S_IFREG | mode,
            "st_nlink": 1,
            "st_uid": uid,
            "st_gid": gid,
            "st_blksize": _BLOCK_BYTES,
        }

    @property
    def _root(self) -> Folder:
        return self._shown()

    # ---- files

    def __contains__(self, path: str) -> bool:
        return path[1:] in self._root

    def file(self, path: str) -> VirtualFile:
        """Return the virtual file; KeyError if there is none."""
        return self._root[path[1:]]

    def attributes(self, path: str, size: int | None = None) -> Attributes | None:
        """Attributes of a virtual file, None if there is none; its size is looked for unless it is given.

        Raises
        ------
        DecodeError, SourceError
            If the size depends on pixels, and they cannot be read.
        """
        epoch = EPOCH.now
        found = self._root.find(path[1:])
        if found is None:
            return None
        tree, name = found
        index = tree.index_of(name)
        if size is None:
            size = tree.size_of(name)
            if self.on_size is not None:
                self.on_size(path.rpartition("/")[0] or "/", tree, index, size, epoch)
        sizes: Attributes = {"st_ino": self.inode(path), "st_size": size, "st_blocks": -(-size // 512)}
        return self.common | sizes | _times(tree.mtime_ns_of(index))

    def source(self, path: str) -> str | None:
        """Tell where the pixels of a virtual file are from: url of the dataset, and the frame's number from 0.

        None for what holds no pixels, and where there is no virtual file.
        """
        found = self._root.find(path[1:])
        if found is None:
            return None
        tree, name = found
        index = tree.index_of(name)
        if index >= len(tree.names_by_number):
            return None
        return f"{tree.facts.url} frame {tree.frame_of(index)}" if tree.layout.per_frame else tree.facts.url

    # ---- folders

    def is_folder(self, path: str) -> bool:
        """Tell whether there is a virtual folder; the root is one."""
        return self._root.folder(path[1:]) is not None

    def folders_in(self, path: str) -> int:
        """Count the virtual folders in a folder."""
        found = self._root.folder(path[1:])
        return 0 if found is None else len(found.children)

    def folder_attributes(self, path: str) -> Attributes | None:
        """Attributes of a virtual folder, but for owner and permissions; None if there is none."""
        epoch = EPOCH.now
        found = self._root.folder(path[1:])
        if found is None:
            return None
        mtime_ns = found.mtime_ns
        if self.on_folder is not None:
            self.on_folder(path, mtime_ns, epoch)
        links = 2 + len(found.children)  # its name, its ".", and the ".." of each folder in it
        facts: Attributes = {"st_mode": stat.S_IFDIR, "st_nlink": links, "st_ino": self.inode(path), "st_size": 0}
        return facts | {"st_blocks": 0, "st_blksize": _BLOCK_BYTES} | _times(mtime_ns)

    def folders(self, path: str) -> Iterator[Entry]:
        """Iterate over the virtual folders in a folder, whatever it is."""
        found = self._root.folder(path[1:])
        seed = self.inode_seed(path)
        for name in () if found is None else found.children:
            yield name, stat.S_IFDIR, zlib.crc32(_bytes(name), seed) or 1

    def files(self, path: str) -> Iterator[Entry]:
        """Iterate over the virtual files in a folder, whatever it is."""
        found = self._root.folder(path[1:])
        seed = self.inode_seed(path)
        for name in () if found is None else found.files:
            yield name, stat.S_IFREG, zlib.crc32(_bytes(name), seed) or 1

    def make_trees(self, path: str) -> None:
        """Make all trees of the files in a folder."""
        found = self._root.folder(path[1:])
        for slot in () if found is None else found.slots:
            slot.found()

    def trees_now(self, path: str) -> list[Tree] | None:
        """Trees of the files in a folder, if there is one and all of its trees were made; else None."""
        found = self._root.folder(path[1:])
        trees = [slot.now for slot in found.slots] if found is not None else [None]
        made = [tree for tree in trees if tree is not None]
        return made if len(made) == len(trees) else None

    # ---- both

    def spelled(self, folder: str, name: str) -> str | None:
        """Return the name of a file or folder in a folder that is given in any case; None if there is none."""
        found = self._root.folder(folder[1:])
        return None if found is None else found.spelled(name)

    def inode(self, path: str) -> int:
        """Inode number of a file or folder, the same at every mount."""
        # 32 bits: with a larger number stat() of a 32-bit program fails (EOVERFLOW), and old programs are what this
        # is for. Paths that differ in no more than four neighbouring digits never share a number.
        return self._crc32(path) or 1

    def inode_seed(self, folder: str) -> int:
        """CRC-32 of all that comes before the name of an entry of a folder."""
        return self._crc32(folder if folder == "/" else f"{folder}/")

    def _crc32(self, path: str) -> int:
        return zlib.crc32(_bytes(path[1:]), self._seed)


def _times(mtime_ns: int) -> Attributes:
    return {"st_atime": mtime_ns, "st_mtime": mtime_ns, "st_ctime": mtime_ns}


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
