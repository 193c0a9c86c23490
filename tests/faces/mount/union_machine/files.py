# SPDX-License-Identifier: MIT
"""Rules for the bytes of files: open, read, write, cut, map."""

from __future__ import annotations

import mmap
import os

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from union_machine.base import FIRST, Base, Handle, data, modes, paths, places
from union_machine.compare import PLACES, Result, outcome, read_whole

__all__ = ["Files"]

_MOST_OPEN = 7
_MAPPED = 1 << 20  # at most so much is mapped

flags = st.sampled_from(
    (
        os.O_RDONLY,
        os.O_RDWR,
        os.O_WRONLY | os.O_CREAT,
        os.O_RDWR | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
        os.O_RDWR | os.O_TRUNC,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        os.O_RDWR | os.O_APPEND,
        os.O_RDWR | os.O_CREAT | os.O_APPEND,
    )
)
numbers = st.integers(0, _MOST_OPEN - 1)
uses = st.sampled_from(("write", "cut", "map", "map", "read"))


class Files(Base):
    """What is done to the bytes of files."""

    @rule(path=paths, how=flags, mode=modes, then=uses, place=places, text=data)
    def open(self, path: bytes, how: int, mode: int, then: str, place: int, text: bytes) -> None:
        """Open, make, empty; use it at once, and keep it open."""
        self.do_open(path, how, mode, then, place, text)

    def do_open(self, path: bytes, how: int, mode: int, then: str, place: int, text: bytes) -> None:
        """Open and use on both sides."""
        if len(self.handles) >= _MOST_OPEN:
            self.handles.pop(0).close()
        mask = os.umask(0o022)
        try:
            got = outcome(lambda: os.open(os.path.join(self.at, path), how, mode))
            wanted = self.opened(path, how, mode, got)
        finally:
            os.umask(mask)
        assert got[0] == wanted[0], (path, how, got, wanted)
        if got[0] == "error":
            assert got == wanted, (path, how)
        elif got is wanted:
            self.handles.append(Handle(path, got[1], None, self.virtual[path]))
        else:
            self.keep(Handle(path, got[1], wanted[1]))
        if got[0] == "ok":
            self.use(self.handles[-1], then, place, text)

    def use(self, handle: Handle, how: str, place: int, text: bytes) -> None:
        """Do something with an open file."""
        if how == "write":
            self.written(handle, place, text)
        elif how == "cut":
            self.was_cut(handle, (0, 5000, 100_000)[len(text) % 3])
        elif how == "map":
            self.changed_by_map(handle, place % (1 << 17), text)
        else:
            self.was_read(handle, place, len(text))

    def opened(self, path: bytes, how: int, mode: int, got: Result) -> Result:
        """What opening has to give; `got` itself for a virtual file that is opened for reading."""
        head, _, below = path.partition(b"/")
        if below and self.is_virtual(head):
            return "error", "ENOTDIR"
        if not self.is_virtual(path):
            return outcome(lambda: os.open(os.path.join(self.there, path), how, mode))
        if how & os.O_EXCL:
            return "error", "EEXIST"
        if how & os.O_TRUNC:  # hides the virtual file; the kernel does not say what permissions were wished for
            return outcome(lambda: os.open(os.path.join(self.there, path), how | os.O_CREAT, 0o644))
        if how & os.O_ACCMODE:
            return "error", "EROFS"
        assert got[0] == "ok", (path, got)
        return got

    def keep(self, handle: Handle) -> None:
        """Keep it open. For the kernel each name of a file is a file of its own, so only one may be open."""
        if handle.has_links():
            for other in [one for one in self.handles if one.is_same_file(handle)]:
                self.handles.remove(other)
                other.close()
        self.handles.append(handle)

    @precondition(lambda self: self.handles)
    @rule(which=numbers, place=places, text=data)
    def write(self, which: int, place: int, text: bytes) -> None:
        """Write through an open file, at its end with O_APPEND."""
        self.written(self.handles[which % len(self.handles)], place, text)

    def written(self, handle: Handle, place: int, text: bytes) -> None:
        """Write on both sides."""
        got = outcome(lambda: os.pwrite(handle.mounted, text, place))
        if handle.plain is None:
            assert got == ("error", "EBADF")
        else:
            assert got == outcome(lambda: os.pwrite(handle.plain or 0, text, place))

    @precondition(lambda self: self.handles)
    @rule(which=numbers, place=places, size=st.integers(1, 9000))
    def read(self, which: int, place: int, size: int) -> None:
        """Read through an open file."""
        self.was_read(self.handles[which % len(self.handles)], place, size)

    def was_read(self, handle: Handle, place: int, size: int) -> None:
        """Read on both sides."""
        got = outcome(lambda: os.pread(handle.mounted, size, place))
        if handle.plain is None:
            assert got == ("ok", handle.content[place : place + size])
        else:
            assert got == outcome(lambda: os.pread(handle.plain or 0, size, place))

    @precondition(lambda self: self.handles)
    @rule(which=numbers, size=st.sampled_from((0, 1, 5000, 100_000)))
    def cut(self, which: int, size: int) -> None:
        """Cut or lengthen an open file, and sync it."""
        self.was_cut(self.handles[which % len(self.handles)], size)

    @precondition(lambda self: self.handles)
    @rule(which=numbers, place=places, size=st.integers(1, 9000))
    def allocate(self, which: int, place: int, size: int) -> None:
        """Take space for a part of an open file, which makes it longer where need be."""
        handle = self.handles[which % len(self.handles)]
        got = outcome(lambda: os.posix_fallocate(handle.mounted, place, size))
        if handle.plain is None:
            assert got == ("error", "EBADF")
        else:
            assert got == outcome(lambda: os.posix_fallocate(handle.plain or 0, place, size))

    def was_cut(self, handle: Handle, size: int) -> None:
        """Cut or lengthen on both sides."""
        got = outcome(lambda: os.ftruncate(handle.mounted, size))
        if handle.plain is None:
            assert got == ("error", "EINVAL")
        else:
            assert got == outcome(lambda: os.ftruncate(handle.plain or 0, size))
        assert outcome(lambda: os.fsync(handle.mounted)) == ("ok", None)

    @rule(path=paths, size=st.sampled_from((0, 3, 70_000, 6 << 30)))
    def truncate(self, path: bytes, size: int) -> None:
        """Cut or lengthen by name."""
        if any(handle.has_links() for handle in self.handles):
            self.close_all()
        self.same(path, lambda p: os.truncate(p, size), if_virtual="EROFS")

    # ---- mapped into memory

    @precondition(lambda self: self.handles)
    @rule(which=numbers)
    def map(self, which: int) -> None:
        """Map an open file into memory, and read that."""
        handle = self.handles[which % len(self.handles)]
        got = outcome(lambda: mapped(handle.mounted))
        assert got == (("ok", handle.content) if handle.plain is None else outcome(lambda: mapped(handle.plain or 0)))

    @precondition(lambda self: self.handles)
    @rule(which=numbers, place=st.sampled_from(PLACES[:-1]), text=data)
    def write_through_a_map(self, which: int, place: int, text: bytes) -> None:
        """Change what is mapped; it is in the file when it was synced."""
        self.changed_by_map(self.handles[which % len(self.handles)], place, text)

    def changed_by_map(self, handle: Handle, place: int, text: bytes) -> None:
        """Change by way of a map on both sides."""
        got = outcome(lambda: write_mapped(handle.mounted, place, text))
        if handle.plain is not None:
            assert got == outcome(lambda: write_mapped(handle.plain or 0, place, text))
        else:
            assert got == (("ok", 0) if place >= len(handle.content) else ("error", "EACCES"))

    @rule(
        path=st.sampled_from((b"a", b"b", b"d1/b", FIRST)),
        how=st.sampled_from((os.O_RDWR, os.O_RDWR | os.O_APPEND)),
        place=places,
        text=data,
    )
    def change_a_file_by_a_map(self, path: bytes, how: int, place: int, text: bytes) -> None:
        """Open a file that is likely to be there, and change it by a map."""
        self.do_open(path, how, 0o644, "map", place, text)

    # ---- more

    @precondition(lambda self: self.handles)
    @rule(which=numbers)
    def close(self, which: int) -> None:
        """Close one."""
        self.handles.pop(which % len(self.handles)).close()

    # all rules are chosen alike: what shall be done more often has more names
    open_2 = open_3 = open_4 = open_5 = open_6 = open_7 = open_8 = open
    write_2 = write_3 = write
    read_2 = read
    cut_2 = cut
    write_through_a_map_2 = write_through_a_map

    @rule(name=st.sampled_from((FIRST, b"data0007.img")))
    def read_by_way_of_a_link(self, name: bytes) -> None:
        """A symbolic link leads to a virtual file as to a real one."""
        if self.is_virtual(name):
            way = os.path.join(self.at, b"way")
            os.symlink(name, way)
            got = read_whole(way)
            os.unlink(way)
            assert got == self.virtual[name], name


def mapped(fd: int) -> bytes:
    """The bytes of a file, by a map of it."""
    size = min(os.fstat(fd).st_size, _MAPPED)
    try:
        with mmap.mmap(fd, size, prot=mmap.PROT_READ) as view:
            return view[:]
    except ValueError:  # nothing in it
        return b""


def write_mapped(fd: int, place: int, text: bytes) -> int:
    """Write by a map of a file as far as it goes, and sync; returns how many bytes."""
    size = min(os.fstat(fd).st_size, _MAPPED)
    if place >= size:
        return 0
    with mmap.mmap(fd, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE) as view:
        text = text[: size - place]
        view[place : place + len(text)] = text
        view.flush()
    return len(text)
