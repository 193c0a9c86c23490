# SPDX-License-Identifier: MIT
"""A stack seen through a layout as a mapping from file names to virtual files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from fastlegacy._core import PieceFile
from fastlegacy.errors import LayoutError
from fastlegacy.index.names import Names
from fastlegacy.model import Layout, Literal, Padding, Piece, Pixels, StackFacts, piece_size

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fastlegacy.hdf5.stack import Stack

__all__ = ["Tree", "VirtualFile"]


class Tree(Mapping[str, "VirtualFile"]):
    """The virtual files of one stack: name -> :class:`VirtualFile`.

    Nothing is kept for a file: names, sizes and contents are computed, so a million files take as much memory as
    ten. All files have the same size and the same times.

    Parameters
    ----------
    stack : Stack
        Where the pixels come from.
    layout : Layout
        What the files look like.
    stem : str
        Names begin with it.
    first : int
        Number of frame 0 in the names.
    digits : int
        Numbers are padded with zeros to so many digits.

    Raises
    ------
    LayoutError
        If the layout cannot hold this stack.
    UrlError
        If the names are not possible.
    """

    def __init__(self, stack: Stack, layout: Layout, *, stem: str = "data", first: int = 1, digits: int = 4) -> None:
        self.stack = stack
        self.layout = layout
        frames = stack.facts.shape[0]
        count = frames if layout.per_frame else 1
        self.names_by_number = Names(stem, layout.suffix, count, first, digits, numbered=layout.per_frame)
        self._size = self._checked_size(count)

    def __repr__(self) -> str:
        return f"<Tree of {len(self)} {self.layout.name} files of {self.stack.facts.url}>"

    def __len__(self) -> int:
        return len(self.names_by_number)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names_by_number)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.names_by_number.index(name) is not None

    def __getitem__(self, name: str) -> VirtualFile:
        index = self.index_of(name)
        return VirtualFile(self, name, index)

    def names(self) -> Iterator[str]:
        """Return all names, in the order of the frames."""
        return iter(self)

    def index_of(self, name: str) -> int:
        """Return the index of a file (the frame, for a layout with one file for each), counted from 0.

        Raises
        ------
        KeyError
            If there is no such file.
        """
        index = self.names_by_number.index(name)
        if index is None:
            raise KeyError(name)
        return index

    @property
    def file_size(self) -> int:
        """Size of each file, bytes; 0 when there is none."""
        return self._size

    def size_of(self, name: str) -> int:
        """Return the size of a file, bytes, without touching the HDF5 file.

        Raises
        ------
        KeyError
            If there is no such file.
        """
        self.index_of(name)
        return self._size

    def pieces_of(self, index: int) -> tuple[Piece, ...]:
        """Return what the file with this index is made of."""
        return self.layout.pieces(self.stack.facts, index)

    def _checked_size(self, count: int) -> int:
        # what does not fit shows at one of the ends, where numbers and angles have their extremes
        sizes = {self._measure(index) for index in {0, count - 1} if 0 <= index < count}
        if len(sizes) > 1:
            raise LayoutError(
                f"the files of the format {self.layout.name} have different sizes: {sorted(sizes)} bytes",
                file=self.stack.facts.url,
                hint="this is a fault of the layout; please report it",
            )
        return max(sizes, default=0)

    def _measure(self, index: int) -> int:
        facts = self.stack.facts
        return sum(piece_size(piece, facts) for piece in self.layout.pieces(facts, index))


class VirtualFile:
    """One file of a tree. Made by :class:`Tree`; costs nothing until it is read.

    Attributes
    ----------
    name : str
    index : int
        Which file of the tree, counted from 0.
    """

    __slots__ = ("_core", "_tree", "index", "name")

    def __init__(self, tree: Tree, name: str, index: int) -> None:
        self._tree = tree
        self._core: PieceFile | None = None
        self.name = name
        self.index = index

    def __repr__(self) -> str:
        return f"<VirtualFile {self.name} of {self.size} bytes>"

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self._tree.size_of(self.name)

    @property
    def mtime_ns(self) -> int:
        """Newest modification time of the HDF5 files behind it, nanoseconds since 1970."""
        return self._tree.stack.facts.mtime_ns

    @property
    def facts(self) -> StackFacts:
        """Facts of the stack that it is made from."""
        return self._tree.stack.facts

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What the file is made of, in order."""
        return self._tree.pieces_of(self.index)

    def open(self) -> PieceFile:
        """Return the bytes of the file as an object of ``_core``, with the chunk maps it needs loaded.

        Raises
        ------
        SourceError, FilterError
            If the HDF5 files cannot be read, or a filter is missing.
        """
        facts = self._tree.stack.facts
        pieces = self.pieces
        for piece in pieces:
            if isinstance(piece, Pixels) and piece.frames:
                self._tree.stack.prepare(piece.first, piece.first + piece.frames - 1)
        return PieceFile(self._tree.stack.core, [_as_tuple(piece, facts) for piece in pieces])

    def read_into(self, buffer: Buffer, offset: int = 0) -> int:
        """Fill a writable buffer with the bytes from `offset` on; return how many there were.

        Raises
        ------
        SourceError, DecodeError
            If the pixels cannot be read.
        """
        if self._core is None:
            self._core = self.open()
        return self._core.read_into(buffer, offset)

    def read(self, offset: int = 0, size: int = -1) -> bytes:
        """Return at most `size` bytes from `offset` on (-1: all that there are).

        Raises
        ------
        SourceError, DecodeError
            If the pixels cannot be read.
        """
        if offset < 0:
            raise ValueError(f"offset {offset} is negative")
        rest = max(self.size - offset, 0)
        buffer = bytearray(rest if size < 0 else min(size, rest))
        done = self.read_into(buffer, offset) if buffer else 0
        return bytes(memoryview(buffer)[:done])


def _as_tuple(piece: Piece, facts: StackFacts) -> tuple[object, ...]:
    match piece:
        case Literal(data):
            return "literal", data
        case Padding(size, value):
            return "padding", size, value
        case Pixels(first, frames, byteorder):
            return "pixels", first, frames, _must_swap(facts, byteorder)


def _must_swap(facts: StackFacts, byteorder: str) -> bool:
    """Tell whether stored pixels have the other byte order than the one asked for."""
    return byteorder != "|" and facts.dtype.newbyteorder(byteorder) != facts.dtype  # type: ignore[arg-type]
