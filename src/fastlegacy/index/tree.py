# SPDX-License-Identifier: MIT
"""A stack seen through a layout as a mapping from file names to virtual files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from fastlegacy._view import PieceFile
from fastlegacy.errors import FastlegacyError, LayoutError, UrlError
from fastlegacy.index.names import Names, folded, spelled_like
from fastlegacy.index.sizes import Sizes
from fastlegacy.index.view import StackLike, View
from fastlegacy.model import CodedPixels, Layout, Literal, Padding, Piece, Pixels, StackFacts, piece_size
from fastlegacy.pixels import Code, Coded, Form

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from fastlegacy.index.sidecar import Rows, SideFile

__all__ = ["Live", "Tree", "VirtualFile"]

_BESIDE = 1024
_POWERS_OF_TEN = 10 ** np.arange(1, 19, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """What is there of a stack that is still being written.

    Attributes
    ----------
    frames : ndarray of bool (frames,)
        Which frames can be read.
    times_ns : ndarray of int64 (frames,)
        When each of them was seen first, nanoseconds since 1970.
    finished : bool
        No more frames will come.
    """

    frames: NDArray[np.bool_]
    times_ns: NDArray[np.int64]
    finished: bool = False


class Tree(Mapping[str, "VirtualFile"]):
    """The virtual files of one stack: name -> :class:`VirtualFile`.

    Nothing is kept for a file of a fixed layout: names, sizes and contents are computed, so a million files take as
    much memory as ten. Of an encoded layout the sizes are kept that were measured.

    Parameters
    ----------
    source : Stack or View
        Where the pixels come from.
    layout : Layout
        What the files look like.
    stem : str
        Names begin with it, unless the layout has other ideas.
    first : int
        Number of the first file in the names.
    digits : int, optional
        Numbers are padded with zeros to so many digits; by default as the layout wants.
    ending : str, optional
        What comes after the number, suffix and all; by default the layout's suffix.
    reverse : bool
        Numbers run backwards.
    exact : bool
        Names begin with the stem as it is, whatever the layout thinks.
    options : mapping, optional
        Options of the layout.
    side_file : SideFile, optional
        Where measured sizes are remembered.
    live : Live, optional
        Of a stack that is still being written: which frames are there.
    like : Tree, optional
        A tree of the same frames by the same layout: what it has measured is taken over.
    changed_ns : int
        When the headers were changed, nanoseconds since 1970: no file is older.

    Raises
    ------
    LayoutError
        If the layout cannot hold this stack.
    UrlError
        If the names are not possible, or an option is not one of the layout's.

    Attributes
    ----------
    view : View
    stack : Stack
    layout : Layout
    facts : StackFacts
        What the layout is told.
    """

    def __init__(
        self,
        source: StackLike | View,
        layout: Layout,
        *,
        stem: str = "data",
        first: int = 1,
        digits: int | None = None,
        ending: str | None = None,
        reverse: bool = False,
        exact: bool = False,
        options: Mapping[str, Any] | None = None,
        side_file: SideFile | None = None,
        live: Live | None = None,
        like: Tree | None = None,
        changed_ns: int = 0,
    ) -> None:
        self.view = source if isinstance(source, View) else View(source)
        self.stack = self.view.stack
        self.layout = layout
        self.facts = self.view.facts_for(_completed(layout, options or {}))
        self._code = layout.code(self.facts)
        count = self.facts.shape[0] if layout.per_frame else 1
        self.names_by_number = Names(
            layout.stem(self.facts, stem) if layout.per_frame and not exact else stem,
            layout.suffix if ending is None else ending,
            count,
            first,
            layout.digits if digits is None else digits,
            numbered=layout.per_frame,
            reverse=reverse,
        )
        self.changed_ns = changed_ns
        self._live = live
        self._there = None if live is None else self._files_there(live)
        self._extras: dict[str, bytes] = {}
        self._size = self._checked_size(count)
        self._digests: dict[int, bytes] = {}
        self._sizes: Sizes
        if like is not None and like.view.core is self.view.core:
            self._sizes, self._digests = like._sizes, like._digests
            return
        what = f"the {layout.name} files of {self.facts.url}"
        # not by a method: a tree in a ring with its sizes would be there, and its pixels, until Python looks for rings
        measure = partial(_measured, self.view, self._code)
        known = None if like is None else like._known_sizes(self.facts.shape[0])
        counts = 0 if self._code is None else self._code.counts
        self._sizes = Sizes(measure, self.facts.shape[0], what=what, counts=counts, side_file=side_file, known=known)

    def __repr__(self) -> str:
        return f"<Tree of {len(self.names_by_number)} {self.layout.name} files of {self.facts.url}>"

    # ------------------------------------------------------------------------------------ names

    def __len__(self) -> int:
        frames = len(self.names_by_number) if self._there is None else int(np.count_nonzero(self._there))
        return frames + len(self._extras)

    def __iter__(self) -> Iterator[str]:
        if self._there is None:
            yield from self.names_by_number
        else:
            yield from (self.names_by_number.name(index) for index in np.flatnonzero(self._there).tolist())
        yield from self._extras

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._extras or self._number(name) is not None)

    def spelled(self, name: str) -> str | None:
        """Return the name of a file that is given in any case; None if there is none.

        Of several that differ in case only it is the one that is spelled so, or else the first by its bytes.
        """
        found = [extra for extra in self._extras if folded(extra) == folded(name)]
        numbered = self.names_by_number.spelled(name)
        if numbered is not None and numbered in self:
            found.append(numbered)
        return spelled_like(name, found)

    def _number(self, name: str) -> int | None:
        """Index of the file of a frame that is there; None for every other name."""
        index = self.names_by_number.index(name)
        return None if index is None or (self._there is not None and not self._there[index]) else index

    def _files_there(self, live: Live) -> NDArray[np.bool_]:
        """Which files are there: those of frames that are, unless they change with each frame that follows."""
        if not live.finished and not (
            self.layout.per_frame and self.frame_of(0) == 0 and not self.names_by_number.reverse
        ):
            return np.zeros(len(self.names_by_number), bool)
        if not self.layout.per_frame:
            return np.ones(len(self.names_by_number), bool)
        return np.array([live.frames[self.frame_of(index)] for index in range(len(self.names_by_number))], bool)

    def _known_sizes(self, frames: int) -> Rows:
        """What was measured of frames that were there, for a tree of so many frames."""
        there = None if self._live is None else self._live.frames
        return self._sizes.rows(frames, there)

    def __getitem__(self, name: str) -> VirtualFile:
        return VirtualFile(self, name, self.index_of(name))

    def names(self) -> Iterator[str]:
        """Return all names, in the order of their numbers."""
        return iter(self)

    def index_of(self, name: str) -> int:
        """Return the index of a file, counted from 0: those with numbers come first.

        Raises
        ------
        KeyError
            If there is no such file.
        """
        index = self._number(name)
        if index is not None:
            return index
        return len(self.names_by_number) + list(self._extras).index(name) if name in self._extras else _no_file(name)

    def add(self, files: Mapping[str, bytes]) -> None:
        """Show small files beside those of the frames, under their own names.

        Raises
        ------
        LayoutError
            If a frame's file has such a name.
        """
        for name, data in files.items():
            if not name or "/" in name or "\0" in name or self.names_by_number.index(name) is not None:
                raise LayoutError(f"{name!r} cannot be the name of a file beside the frames", file=self.facts.url)
            self._extras[name] = bytes(data)

    # ------------------------------------------------------------------------------------ sizes and times

    def mtime_ns_of(self, index: int) -> int:
        """Return when a file was modified, nanoseconds since 1970.

        That is the newest time of the HDF5 files behind it, of a scan that is being written the moment when the frame
        was seen first, or that of the last change of its header.
        """
        live = self._live
        if live is None or index >= len(self.names_by_number) or not self.layout.per_frame:
            return max(self.facts.mtime_ns, self.changed_ns)
        return max(int(live.times_ns[self.frame_of(index)]), self.changed_ns)

    @property
    def mtime_ns(self) -> int:
        """Newest time of a file in it."""
        return max(self.facts.mtime_ns, self.changed_ns)

    @property
    def is_whole(self) -> bool:
        """All files are there that the names tell of, and the frames' files are all of one time."""
        return self._live is None

    @property
    def is_steady(self) -> bool:
        """The size of a file is the same each time it is asked for, as long as the headers are."""
        return True

    @property
    def extras(self) -> Mapping[str, bytes]:
        """The small files beside those of the frames."""
        return MappingProxyType(self._extras)

    @property
    def is_encoded(self) -> bool:
        """The size of a file depends on its pixels."""
        return self._size is None

    @property
    def file_size(self) -> int | None:
        """Size of each frame's file, bytes (0 when there is none); None where they differ."""
        return self._size

    def is_measured(self, index: int) -> bool:
        """Whether the size of a frame's file is known without decoding anything."""
        return self._size is not None or self._sizes.known(self.frame_of(index)) is not None

    def size_of(self, name: str) -> int:
        """Return the exact size of a file, bytes. What depends on pixels is measured when it is first asked for.

        Raises
        ------
        KeyError
            If there is no such file.
        SourceError, DecodeError
            If the pixels had to be read, and cannot be.
        """
        return self._size_at(self.index_of(name))

    def sizes_beside(self, index: int) -> tuple[int, NDArray[np.int64]] | None:
        """Return the sizes of a file and of some thousand beside it; None as long as one frame was not measured.

        Returns
        -------
        first : int
            Index of the first of them.
        sizes : ndarray of int64
            Bytes.
        """
        if self._size is not None or not self.is_frame(index):
            return None
        first = index - index % _BESIDE
        frames = [self.frame_of(other) for other in range(first, min(first + _BESIDE, len(self.names_by_number)))]
        rows = self._sizes.rows_of(frames)
        if rows is None:
            return None
        # what is not encoded has one size where the numbers have as many digits, see Layout.pieces
        kinds, examples, kind_of = np.unique(_digits(rows), axis=0, return_index=True, return_inverse=True)
        more = np.empty(len(kinds), np.int64)
        for kind, example in enumerate(examples.tolist()):
            size, *counts = rows[example].tolist()
            try:
                pieces = self.layout.pieces(self.facts, first + example, Coded(size, tuple(counts)))
            except FastlegacyError:  # who asks for that file is told
                return None
            more[kind] = self._total(pieces) - size
        return first, rows[:, 0] + more[kind_of.reshape(-1)]

    def _size_at(self, index: int) -> int:
        if self._size is not None and index < len(self.names_by_number):
            return self._size
        return self._total(self.pieces_of(index))

    def _total(self, pieces: tuple[Piece, ...]) -> int:
        return sum(piece_size(piece, self.facts) for piece in pieces)

    def _checked_size(self, count: int) -> int | None:
        """Return the size of all files, None where they differ; an error where the layout cannot hold the stack."""
        # of an encoded frame nothing is known yet, and headers do not ask how large it is
        coded = None if self._code is None else Coded(1, (0, 0))
        # what does not fit shows at one of the ends, where numbers and angles have their extremes
        pieces = [self.layout.pieces(self.facts, index, coded) for index in {0, count - 1} if 0 <= index < count]
        for piece in (piece for some in pieces for piece in some):
            if isinstance(piece, Pixels) and (form := self.view.form(piece.form, piece.byteorder)) is not None:
                self.view.how(form)
        if self._code is not None:
            self.view.how(self._code.form, self._code)
            return self.layout.constant_size(self.facts)
        sizes = {self._total(some) for some in pieces}
        if len(sizes) > 1:
            raise LayoutError(
                f"the files of the format {self.layout.name} have different sizes: {sorted(sizes)} bytes",
                file=self.facts.url,
                hint="this is a fault of the layout; please report it",
            )
        return max(sizes, default=0)

    # ------------------------------------------------------------------------------------ contents

    def pieces_of(self, index: int, *, digest: bool = False) -> tuple[Piece, ...]:
        """Return what the file with this index is made of.

        Parameters
        ----------
        index : int
        digest : bool
            A layout that writes the MD5 of the encoded pixels gets it; otherwise zeros of the same length.
        """
        numbered = len(self.names_by_number)
        if index >= numbered:
            return (Literal(list(self._extras.values())[index - numbered]),)
        if self._code is None:
            return self.layout.pieces(self.facts, index)
        frame = self.frame_of(index)
        coded = self._sizes.get(frame)
        if digest and self._code.digest:
            coded = Coded(coded.size, coded.counts, self._digest(frame, coded, self._code))
        return self.layout.pieces(self.facts, index, coded)

    def _digest(self, frame: int, coded: Coded, code: Code) -> bytes:
        if frame not in self._digests:
            data = self.view.core.encoded(frame, coded.size, self.view.how(code.form, code))
            self._digests[frame] = hashlib.md5(data, usedforsecurity=False).digest()
        return self._digests[frame]

    def frame_of(self, index: int) -> int:
        """Return the frame that is in a file, both counted from 0 (layouts with one file for each frame)."""
        return self.layout.frame_of(self.facts, index)

    def is_frame(self, index: int) -> bool:
        """Tell whether a file is one with frames, and not a small one beside them."""
        return index < len(self.names_by_number)

    def frame_in_file(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return (ny, nx) of the frame in the files, and the row and column in it where the image begins."""
        form: Form | None = None
        if self._code is not None:
            form = self._code.form
        elif self.names_by_number:
            found = (piece for piece in self.layout.pieces(self.facts, 0) if isinstance(piece, Pixels))
            form = next((piece.form for piece in found), None)
        return (self.facts.shape[1:], (0, 0)) if form is None else (form.shape, form.at)

    def open_pieces(self, index: int) -> PieceFile:
        """Return the bytes of a file as an object of the kernels, with the chunk maps it needs loaded.

        Raises
        ------
        SourceError, FilterError
            If the HDF5 files cannot be read, or a filter is missing.
        """
        pieces = [self._for_core(piece) for piece in self.pieces_of(index, digest=True)]
        has_form = any(kind in ("formed", "coded") for kind, *_ in pieces)
        return PieceFile(self.view.core if has_form else self.stack.core, pieces)

    def _for_core(self, piece: Piece) -> tuple[object, ...]:
        match piece:
            case Literal(data):
                return "literal", data
            case Padding(size, value):
                return "padding", size, value
            case CodedPixels(frame, code, size):
                self.stack.prepare(frame, frame)
                return "coded", frame, size, self.view.how(code.form, code)
            case Pixels(first, frames, byteorder, form):
                if frames:
                    self.stack.prepare(first, first + frames - 1)
                form = self.view.form(form, byteorder)
                if form is not None:
                    return "formed", first, frames, self.view.how(form)
                return "pixels", first, frames, _must_swap(self.facts, byteorder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what measures sizes ahead, and remember them."""
        self._sizes.close()


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
        return f"<VirtualFile {self.name} of {self._tree!r}>"

    @property
    def size(self) -> int:
        """Exact size in bytes; measured when it depends on the pixels and is not known yet.

        Raises
        ------
        SourceError, DecodeError
            If the pixels had to be read, and cannot be.
        """
        return self._tree.size_of(self.name) if self._core is None else self._core.size

    @property
    def mtime_ns(self) -> int:
        """When it was modified, nanoseconds since 1970: see :meth:`Tree.mtime_ns_of`."""
        return self._tree.mtime_ns_of(self.index)

    @property
    def tree(self) -> Tree:
        """The tree it is a file of."""
        return self._tree

    @property
    def stays(self) -> bool:
        """Its bytes are the same as long as the headers are: not so of what tells how many frames there are by now."""
        return self._tree.is_frame(self.index)

    @property
    def facts(self) -> StackFacts:
        """What its layout is told of the stack."""
        return self._tree.facts

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What the file is made of, in order."""
        return self._tree.pieces_of(self.index, digest=True)

    def open(self) -> PieceFile:
        """Return the bytes of the file as an object of the kernels, with the chunk maps it needs loaded.

        Raises
        ------
        SourceError, FilterError
            If the HDF5 files cannot be read, or a filter is missing.
        """
        return self._tree.open_pieces(self.index)

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


def _measured(view: View, code: Code | None, frame: int) -> tuple[int, ...]:
    assert code is not None
    return view.measure(frame, code)


def _digits(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many digits numbers have that are not negative."""
    return np.searchsorted(_POWERS_OF_TEN, numbers, side="right") + 1


def _no_file(name: str) -> int:
    raise KeyError(name)


def _must_swap(facts: StackFacts, byteorder: str) -> bool:
    """Tell whether stored pixels have the other byte order than the one asked for."""
    return byteorder != "|" and facts.dtype.newbyteorder(byteorder) != facts.dtype  # type: ignore[arg-type]


def _completed(layout: Layout, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a layout: what was given, else the default."""
    for name, value in given.items():
        option = layout.options.get(name)
        if option is None:
            known = ", ".join(layout.options) or "none"
            raise UrlError(f"the format {layout.name} has no option {name!r}", hint=f"there are: {known}")
        if type(value) is not type(option.default) or (option.choices and value not in option.choices):
            wanted = ", ".join(map(str, option.choices)) or type(option.default).__name__
            raise UrlError(f"{name}={value!r} is no choice of the format {layout.name}", hint=f"there are: {wanted}")
    return {name: given.get(name, option.default) for name, option in layout.options.items()}
