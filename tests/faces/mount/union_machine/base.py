# SPDX-License-Identifier: MIT
"""The two folders that are compared, what is open in them, and what has to be the same after each step."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from union_machine.compare import (
    PLACES,
    Result,
    Tree,
    differences,
    eventually,
    is_file,
    outcome,
    read_whole,
    seen,
    tree,
    walk,
)

__all__ = [
    "FIRST",
    "FOLDERS",
    "NAMES",
    "SECOND",
    "Base",
    "CannotStart",
    "Handle",
    "Operation",
    "data",
    "folders",
    "modes",
    "names",
    "paths",
    "places",
]

FIRST, SECOND = b"data0001.img", b"data0002.img"
NAMES = (b"a", b"b", b"caf\xe9\xff", FIRST, SECOND)
FOLDERS = (b"d1", b"d2")

_REMOVED = "is gone: the dead mount is removed"  # what a server says that comes after a killed one

Operation = Callable[[bytes], Any]

names = st.sampled_from(NAMES)
folders = st.sampled_from(FOLDERS)
paths = st.one_of(
    names, names, folders, st.builds(os.path.join, folders, names), st.just(os.path.join(FIRST, b"below"))
)
data = st.binary(min_size=1, max_size=9000)
places = st.sampled_from(PLACES)
modes = st.sampled_from((0o600, 0o644, 0o755, 0o4711))


class CannotStart(Exception):
    """The mount did not come: nothing was compared."""


class Handle:
    """A file that is open on both sides; without a plain one, a virtual file and its bytes."""

    def __init__(self, path: bytes, mounted: int, plain: int | None, content: bytes = b"") -> None:
        self.path, self.mounted, self.plain, self.content = path, mounted, plain, content

    def close(self) -> None:
        """Close it on both sides."""
        os.close(self.mounted)
        if self.plain is not None:
            os.close(self.plain)

    def has_links(self) -> bool:
        """Tell whether the file has several names."""
        return self.plain is not None and os.fstat(self.plain).st_nlink > 1

    def is_same_file(self, other: Handle) -> bool:
        """Tell whether both are of one real file."""
        return None not in (self.plain, other.plain) and os.path.sameopenfile(self.plain or 0, other.plain or 0)


class Base(RuleBasedStateMachine):
    """A mount, the folder below it, and a plain folder."""

    start: Callable[[Path], Any]
    served: ModuleType
    room: Path

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(dir=self.room))
        self.folder, self.plain = self.home / "demo", self.home / "plain"
        self.folder.mkdir()
        self.plain.mkdir()
        self.at, self.there = os.fsencode(self.folder), os.fsencode(self.plain)
        self.covered = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        self.real = b"/proc/self/fd/%d" % self.covered  # there with and without a server
        self.handles: list[Handle] = []
        self.virtual = {os.fsencode(f"data{i + 1:04d}.img"): self.served.content(i) for i in range(self.served.FRAMES)}
        self.begin()

    def begin(self) -> None:
        """Mount, and note how many files the server has open."""
        self.mount = type(self).start(self.folder)
        if self.mount.first_line != "ready":
            raise CannotStart(self.mount.fails())

    @initialize()
    def fill(self) -> None:
        """Begin with a few entries of each kind: most operations need some."""
        text = b"0123456789" * 900
        for root in (self.at, self.there):
            os.mkdir(os.path.join(root, b"d1"), 0o755)
            for name in (b"a", b"d1/b", FIRST):
                Path(os.fsdecode(os.path.join(root, name))).write_bytes(text)
            os.symlink(b"a", os.path.join(root, b"caf\xe9\xff"))

    def teardown(self) -> None:
        """Compare all of it once more, through the mount and below it; the server has nothing to complain of."""
        try:
            self.close_all()
            if self.mount.process.poll() is None:
                self.contents_are_the_same()
                self.server_has_closed_all()
                _, errors = self.mount.interrupt()
                lines = [line for line in errors.splitlines() if _REMOVED not in line]
                assert lines == [], lines
            kept = {path for path, _ in walk(self.real)}
            assert kept == {path for path, _ in walk(self.there)}
        finally:
            self.mount.clean()
            os.close(self.covered)
            shutil.rmtree(self.home)

    def server_has_closed_all(self) -> None:
        """Nothing of the folder is open in the server when nothing is open in the mount."""
        ours = os.path.realpath(self.at) + b"/"

        def open_files() -> list[bytes]:
            links = Path(f"/proc/{self.mount.process.pid}/fd").iterdir()
            texts = [outcome(lambda link=link: os.readlink(os.fsencode(link))) for link in links]
            return [text for what, text in texts if what == "ok" and text.startswith(ours)]

        assert eventually(lambda: not open_files()), open_files()

    # ---- what is expected

    def is_virtual(self, path: bytes) -> bool:
        """Tell whether a virtual file is seen there."""
        return path in self.virtual and not os.path.lexists(os.path.join(self.there, path))

    def below_mount(self, path: bytes) -> bytes:
        """Where an entry of the mount or the plain folder is without a kernel's cache before it."""
        inside = os.path.relpath(path, self.at)
        return path if inside.startswith(b"..") else os.path.join(self.real, inside)

    def same(self, path: bytes, work: Operation, *, if_virtual: str) -> Result:
        """Do it on both sides; of a virtual file, `if_virtual` is the errno."""
        head, _, below = path.partition(b"/")
        got = outcome(lambda: work(os.path.join(self.at, path)))
        if below and self.is_virtual(head):
            assert got == ("error", "ENOTDIR"), (path, got)
        elif self.is_virtual(path):
            assert got == ("error", if_virtual), (path, got)
        else:
            wanted = outcome(lambda: work(os.path.join(self.there, path)))
            assert got == wanted, (path, got, wanted)
        return got

    def close_all(self) -> None:
        """Close all."""
        while self.handles:
            self.handles.pop().close()

    # ---- both are the same

    @invariant()
    def what_is_done_is_done_at_once(self) -> None:
        """Below the mount everything is as in the plain folder as soon as an operation has returned."""
        got, wanted = tree(self.real, links=False), tree(self.there, links=False)
        assert got == wanted, differences(got, wanted)
        for path in wanted:
            if is_file(os.path.join(self.there, path)):
                assert seen(os.path.join(self.real, path)) == seen(os.path.join(self.there, path)), path

    @invariant()
    def trees_are_the_same(self) -> None:
        """Names, types, sizes, owners, permissions; how many links a file has where none is open."""

        def shown() -> Tree:
            return tree(self.at, links=not self.handles)

        assert eventually(lambda: shown() == self.wanted_tree()), differences(shown(), self.wanted_tree())

    def wanted_tree(self) -> Tree:
        """The plain folder, and the virtual files."""
        wanted = tree(self.there, links=not self.handles)
        owner = (os.geteuid(), os.getegid())
        for name, content in self.virtual.items():
            links = 1 if not self.handles else 0
            mode = stat.S_IFREG | 0o444
            wanted.setdefault(name, (1, "file", mode, *owner, len(content), False, links, b""))
        return wanted

    @invariant()
    def times_and_numbers_are_the_same(self) -> None:
        """Times of change, to the nanosecond, and inode numbers are those of the folder below, or of the frames."""

        def facts(root: bytes, path: bytes) -> tuple[int, int]:
            status = os.lstat(os.path.join(root, path))
            return status.st_mtime_ns, status.st_ino

        for path, _ in [*walk(self.there)]:
            assert eventually(lambda path=path: facts(self.at, path) == facts(self.real, path)), (  # type: ignore[misc]
                path,
                facts(self.at, path),
                facts(self.real, path),
            )
        for name in self.virtual:
            if self.is_virtual(name):
                assert eventually(lambda name=name: facts(self.at, name)[0] == self.served.MTIME_NS), name  # type: ignore[misc]

    @rule()
    def contents_are_the_same(self) -> None:
        """All bytes of small files, and those that may have been written of large ones."""
        for path, _ in [*walk(self.there)]:
            here, there = os.path.join(self.at, path), os.path.join(self.there, path)
            if is_file(there):
                assert eventually(lambda here=here, there=there: seen(here) == seen(there)), path  # type: ignore[misc]
        for name, content in self.virtual.items():
            if self.is_virtual(name):
                assert eventually(
                    lambda name=name, content=content: read_whole(os.path.join(self.at, name)) == content  # type: ignore[misc]
                ), name
