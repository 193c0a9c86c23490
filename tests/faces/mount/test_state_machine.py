# SPDX-License-Identifier: MIT
"""Random operations on a mount and on a plain folder: results, errnos and trees are the same.

The plain folder has the real files only; what virtual files do to an operation is said by `expected`, from the rules
of `fastlegacy.faces.mount.overlay`. In CI this takes less than a minute; ``./run test --long`` goes on for an hour.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

MOST = 1 << 20  # files are compared whole up to this size, else at their ends and where something was written
PLACES = (0, 1, 4095, 4096, 70_000, 5 << 30)
FIRST, SECOND = b"data0001.img", b"data0002.img"
NAMES = (b"a", b"b", b"caf\xe9\xff", FIRST, SECOND)
FOLDERS = (b"d1", b"d2")
TARGETS = (b"a", b"b", b"d1", b"nowhere", b"../a")

Result = tuple[str, Any]
Operation = Callable[[bytes], Any]

names = st.sampled_from(NAMES)
folders = st.sampled_from(FOLDERS)
paths = st.one_of(names, folders, st.builds(os.path.join, folders, names), st.just(os.path.join(FIRST, b"below")))
data = st.binary(min_size=1, max_size=9000)
places = st.sampled_from(PLACES)
modes = st.sampled_from((0o600, 0o644, 0o755, 0o4711))
flags = st.sampled_from(
    (
        os.O_RDONLY,
        os.O_RDWR,
        os.O_WRONLY | os.O_CREAT,
        os.O_RDWR | os.O_CREAT | os.O_EXCL,
        os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
        os.O_RDWR | os.O_TRUNC,
        os.O_WRONLY | os.O_CREAT | os.O_APPEND,
        os.O_RDWR | os.O_APPEND,
    )
)


def outcome(work: Callable[[], Any]) -> Result:
    """What an operation returns, or the name of its errno."""
    try:
        return "ok", work()
    except OSError as exc:
        return "error", errno.errorcode.get(exc.errno or 0, str(exc))


class Handle:
    """A file that is open on both sides; without a plain one, a virtual file and its bytes."""

    def __init__(self, mounted: int, plain: int | None, content: bytes = b"") -> None:
        self.mounted, self.plain, self.content = mounted, plain, content

    def close(self) -> None:
        """Close it on both sides."""
        os.close(self.mounted)
        if self.plain is not None:
            os.close(self.plain)


class MountAndFolder(RuleBasedStateMachine):
    """The rules; `start`, `served` and `room` are set for each run by the test."""

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
        self.mount = type(self).start(self.folder)
        assert self.mount.first_line == "ready"
        self.handles: list[Handle] = []
        self.virtual = {os.fsencode(f"data{i + 1:04d}.img"): self.served.content(i) for i in range(self.served.FRAMES)}

    def teardown(self) -> None:
        """Compare all of it once more, through the mount and below it."""
        try:
            self.close_all()
            if self.mount.process.poll() is None:
                self.contents_are_the_same()
                self.mount.interrupt()
            assert set(walk(self.at)) == set(walk(self.there))
        finally:
            self.mount.clean()
            shutil.rmtree(self.home)

    # ---- what is expected

    def is_virtual(self, path: bytes) -> bool:
        """Tell whether a virtual file is seen there."""
        return path in self.virtual and not os.path.lexists(os.path.join(self.there, path))

    def same(self, path: bytes, work: Operation, *, if_virtual: str, **_: Any) -> Result:
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

    # ---- files

    @rule(path=paths, how=flags, mode=modes)
    def open(self, path: bytes, how: int, mode: int) -> None:
        """Open, make, empty."""
        if len(self.handles) > 6:
            self.handles.pop(0).close()
        mask = os.umask(0o022)
        got = outcome(lambda: os.open(os.path.join(self.at, path), how, mode))
        head, _, below = path.partition(b"/")
        if below and self.is_virtual(head):
            wanted: Result = ("error", "ENOTDIR")
        elif not self.is_virtual(path):
            wanted = outcome(lambda: os.open(os.path.join(self.there, path), how, mode))
        elif how & os.O_EXCL:
            wanted = ("error", "EEXIST")
        elif how & os.O_TRUNC:  # hides the virtual file; the kernel does not say what permissions were wished for
            wanted = outcome(lambda: os.open(os.path.join(self.there, path), how | os.O_CREAT, 0o644))
        elif how & os.O_ACCMODE:
            wanted = ("error", "EROFS")
        else:
            assert got[0] == "ok", (path, got)
            self.handles.append(Handle(got[1], None, self.virtual[path]))
            wanted = got
        os.umask(mask)
        assert got[0] == wanted[0], (path, how, got, wanted)
        if got[0] == "error":
            assert got == wanted, (path, how)
        elif got is not wanted:
            self.handles.append(Handle(got[1], wanted[1]))

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 6), place=places, text=data)
    def write(self, which: int, place: int, text: bytes) -> None:
        """Write through an open file, at its end with O_APPEND."""
        handle = self.handles[which % len(self.handles)]
        got = outcome(lambda: os.pwrite(handle.mounted, text, place))
        wanted = (
            ("error", "EBADF") if handle.plain is None else outcome(lambda: os.pwrite(handle.plain or 0, text, place))
        )
        assert got == wanted

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 6), place=places, size=st.integers(1, 9000))
    def read(self, which: int, place: int, size: int) -> None:
        """Read through an open file."""
        handle = self.handles[which % len(self.handles)]
        got = outcome(lambda: os.pread(handle.mounted, size, place))
        if handle.plain is None:
            assert got == ("ok", handle.content[place : place + size])
        else:
            assert got == outcome(lambda: os.pread(handle.plain or 0, size, place))

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 6), size=st.sampled_from((0, 1, 5000, 100_000)))
    def cut(self, which: int, size: int) -> None:
        """Cut or lengthen an open file, and sync it."""
        handle = self.handles[which % len(self.handles)]
        got = outcome(lambda: os.ftruncate(handle.mounted, size))
        assert got == (
            ("error", "EINVAL") if handle.plain is None else outcome(lambda: os.ftruncate(handle.plain or 0, size))
        )
        assert outcome(lambda: os.fsync(handle.mounted)) == ("ok", None)

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 6))
    def map(self, which: int) -> None:
        """Map an open file into memory, and read that."""
        handle = self.handles[which % len(self.handles)]

        def mapped(fd: int) -> bytes:
            size = min(os.fstat(fd).st_size, MOST)
            try:
                with mmap.mmap(fd, size, prot=mmap.PROT_READ) as view:
                    return view[:]
            except ValueError:  # nothing in it
                return b""

        got = outcome(lambda: mapped(handle.mounted))
        assert got == (("ok", handle.content) if handle.plain is None else outcome(lambda: mapped(handle.plain or 0)))

    @precondition(lambda self: self.handles)
    @rule(which=st.integers(0, 6))
    def close(self, which: int) -> None:
        """Close one."""
        self.handles.pop(which % len(self.handles)).close()

    def close_all(self) -> None:
        """Close all."""
        while self.handles:
            self.handles.pop().close()

    # ---- names

    @rule(path=paths, mode=modes)
    def mkdir(self, path: bytes, mode: int) -> None:
        """Make a folder."""
        self.same(path, lambda p: os.mkdir(p, mode & 0o777), if_virtual="EEXIST")

    @rule(path=paths)
    def rmdir(self, path: bytes) -> None:
        """Remove a folder; files that were removed while they are open would still be in it."""
        self.close_all()
        self.same(path, os.rmdir, if_virtual="ENOTDIR")

    @rule(path=paths)
    def unlink(self, path: bytes) -> None:
        """Remove a file, open or not."""
        self.same(path, os.unlink, if_virtual="EROFS")

    @rule(old=paths, new=paths)
    def rename(self, old: bytes, new: bytes) -> None:
        """Rename files and folders, over others too."""
        self.close_all()
        here, there = (os.path.join(self.at, p) for p in (old, new))
        got = outcome(lambda: os.rename(here, there))
        assert got == self.renamed(old, new), (old, new, got)

    def renamed(self, old: bytes, new: bytes) -> Result:
        """What a rename has to be."""
        plain = [os.path.join(self.there, p) for p in (old, new)]
        for path in (old, new):
            head, _, below = path.partition(b"/")
            if below and self.is_virtual(head):
                return self.first_fault(old, new)
        if self.is_virtual(old):
            if old == new:
                return "ok", None
            if os.path.dirname(new) and not os.path.isdir(os.path.dirname(plain[1])):
                return outcome(lambda: os.lstat(os.path.join(os.path.dirname(plain[1]), b"x")))
            return "error", "EISDIR" if is_folder(plain[1]) else "EROFS"
        if self.is_virtual(new) and is_folder(plain[0]):
            return "error", "ENOTDIR"
        return outcome(lambda: os.rename(*plain))

    def first_fault(self, old: bytes, new: bytes) -> Result:
        """The errno where a path goes through a file: that of the first path that leads nowhere."""
        for path in (old, new):
            head, _, below = path.partition(b"/")
            if below and self.is_virtual(head):
                return "error", "ENOTDIR"
            above = os.path.dirname(os.path.join(self.there, path))
            if not os.path.isdir(above):
                return outcome(lambda above=above: os.lstat(os.path.join(above, b"x")))  # type: ignore[misc]
        raise AssertionError("both paths lead somewhere")

    @rule(path=paths, text=st.sampled_from(TARGETS))
    def symlink(self, path: bytes, text: bytes) -> None:
        """Make a symbolic link."""
        self.same(path, lambda p: os.symlink(text, p), if_virtual="EEXIST")

    @rule(old=names, new=paths)
    def link(self, old: bytes, new: bytes) -> None:
        """Give a file one more name."""
        self.close_all()
        work = [lambda root=root: link(root, old, new) for root in (self.at, self.there)]  # type: ignore[misc]
        got = outcome(work[0])
        head, _, below = new.partition(b"/")
        if self.is_virtual(old):
            plain = os.path.join(self.there, new)
            if below and self.is_virtual(head):
                wanted: Result = ("error", "ENOTDIR")
            elif self.is_virtual(new) or os.path.lexists(plain):
                wanted = ("error", "EEXIST")
            elif not os.path.isdir(os.path.dirname(plain)):
                wanted = outcome(lambda: os.lstat(plain))
            else:
                wanted = ("error", "EROFS")
        elif not os.path.lexists(os.path.join(self.there, old)):
            wanted = ("error", "ENOENT")
        elif below and self.is_virtual(head):
            wanted = ("error", "ENOTDIR")
        elif self.is_virtual(new):
            wanted = ("error", "EEXIST")
        else:
            wanted = outcome(work[1])
        assert got == wanted, (old, new)

    @rule(path=paths)
    def readlink(self, path: bytes) -> None:
        """Text of a link."""
        self.same(path, os.readlink, if_virtual="EINVAL")

    # ---- attributes

    @rule(path=paths, mode=modes)
    def chmod(self, path: bytes, mode: int) -> None:
        """Set permissions."""
        self.same(path, lambda p: os.chmod(p, mode), if_virtual="EROFS")

    @rule(path=paths, time_ns=st.integers(0, 4_000_000_000_000_000_000))
    def utime(self, path: bytes, time_ns: int) -> None:
        """Set times, to the nanosecond."""

        def set_and_see(p: bytes) -> tuple[int, int]:
            os.utime(p, ns=(time_ns, time_ns + 1), follow_symlinks=False)
            found = os.lstat(p)
            return (0 if stat.S_ISLNK(found.st_mode) else found.st_atime_ns, found.st_mtime_ns)

        self.same(path, set_and_see, if_virtual="EROFS")

    @rule(path=paths, size=st.sampled_from((0, 3, 70_000, 6 << 30)))
    def truncate(self, path: bytes, size: int) -> None:
        """Cut or lengthen by name."""
        self.same(path, lambda p: os.truncate(p, size), if_virtual="EROFS")

    # ---- the world around

    @rule(name=st.sampled_from((b"a", b"b", b"z", FIRST)), text=data)
    def somebody_writes_below(self, name: bytes, text: bytes) -> None:
        """Another program writes into the real folder; the kernel remembers what it knew for a second."""
        self.close_all()
        if os.path.islink(os.path.join(self.there, name)) or os.path.isdir(os.path.join(self.there, name)):
            return
        for root in (self.at + b"_real", self.there):
            new = os.path.join(root, b".new")
            Path(os.fsdecode(new)).write_bytes(text)
            os.rename(new, os.path.join(root, name))
        assert eventually(lambda: read_whole(os.path.join(self.at, name)) == text), name

    @rule(name=st.sampled_from((b"a", b"b", b"z", FIRST)))
    def somebody_removes_below(self, name: bytes) -> None:
        """Another program removes a file of the real folder."""
        self.close_all()
        got = [
            outcome(lambda root=root: os.unlink(os.path.join(root, name))) for root in (self.at + b"_real", self.there)
        ]  # type: ignore[misc]
        assert got[0] == got[1]
        gone = name not in self.virtual
        assert is_folder(os.path.join(self.there, name)) or eventually(
            lambda: os.path.lexists(os.path.join(self.at, name)) != gone
        )

    @rule(seed=st.integers(0, 9))
    def threads(self, seed: int) -> None:
        """Several at once: each its own file, and all of them a virtual one."""
        faults: list[object] = []

        def work(number: int) -> None:
            try:
                for root in (self.at, self.there):
                    with open(os.path.join(root, b"t%d" % number), "wb") as file:
                        for i in range(20):
                            file.seek((i * 7919 * (seed + 1)) % 200_000)
                            file.write(bytes([number]) * (100 + i))
                for name, content in self.virtual.items():
                    if self.is_virtual(name) and read_whole(os.path.join(self.at, name)) != content:
                        faults.append(name)
            except OSError as exc:
                faults.append(exc)

        running = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for one in running:
            one.start()
        for one in running:
            one.join()
        assert not faults

    @rule()
    def kill_and_mount_again(self) -> None:
        """The server is killed with files open; nothing that was written is lost."""
        self.mount.process.kill()
        self.mount.process.wait()
        while self.handles:
            handle = self.handles.pop()
            if handle.plain is not None:
                os.close(handle.plain)
            outcome(lambda fd=handle.mounted: os.close(fd))  # type: ignore[misc]
        self.mount = type(self).start(self.folder)  # what the killed one has left is no hindrance
        assert self.mount.first_line == "ready"

    # ---- both are the same

    @invariant()
    def trees_are_the_same(self) -> None:
        """Names, types, sizes, permissions; how many links a file has where none is open."""

        def look() -> bool:
            return tree(self.at, links=not self.handles) == self.wanted_tree()

        assert eventually(look), differences(tree(self.at, links=not self.handles), self.wanted_tree())

    def wanted_tree(self) -> dict[bytes, tuple[object, ...]]:
        """The plain folder, and the virtual files."""
        wanted = tree(self.there, links=not self.handles)
        for name, content in self.virtual.items():
            wanted.setdefault(name, (stat.S_IFREG | 0o444, len(content), 1 if not self.handles else 0))
        return wanted

    @rule()
    def contents_are_the_same(self) -> None:
        """All bytes of small files, and those that may have been written of large ones."""
        for path in walk(self.there):
            here, there = os.path.join(self.at, path), os.path.join(self.there, path)
            if stat.S_ISREG(os.lstat(there).st_mode):
                assert eventually(lambda here=here, there=there: seen(here) == seen(there)), path  # type: ignore[misc]
        for name, content in self.virtual.items():
            if self.is_virtual(name):
                assert read_whole(os.path.join(self.at, name)) == content


def eventually(holds: Callable[[], bool], timeout_s: float = 4) -> bool:
    """Tell whether something holds now, or a little later: the kernel remembers attributes for a second."""
    end = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def link(root: bytes, old: bytes, new: bytes) -> None:
    """Make a hard link."""
    os.link(os.path.join(root, old), os.path.join(root, new), follow_symlinks=False)


def is_folder(path: bytes) -> bool:
    """Tell whether a folder, and no link to one, is there."""
    return os.path.isdir(path) and not os.path.islink(path)


def read_whole(path: bytes) -> bytes:
    """All bytes of a file; none where there is none."""
    try:
        return Path(os.fsdecode(path)).read_bytes()
    except OSError:
        return b""


def seen(path: bytes) -> list[bytes]:
    """The bytes of a file by which it is compared."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size <= MOST:
            return [file.read()]
        return [os.pread(file.fileno(), 120_000, place) for place in (*PLACES, size - 120_000)]


def walk(root: bytes) -> Iterator[bytes]:
    """Paths below a folder."""
    for folder, below, files in os.walk(root):
        for name in (*below, *files):
            yield os.path.relpath(os.path.join(folder, name), root)


def tree(root: bytes, *, links: bool) -> dict[bytes, tuple[object, ...]]:
    """Path -> mode, size and number of links (of files), or text (of links)."""
    found: dict[bytes, tuple[object, ...]] = {}
    for path in walk(root):
        try:
            status = os.lstat(os.path.join(root, path))
            text = os.readlink(os.path.join(root, path)) if stat.S_ISLNK(status.st_mode) else b""
        except OSError as exc:
            found[path] = (exc.errno,)
            continue
        if stat.S_ISREG(status.st_mode):
            found[path] = (status.st_mode, status.st_size, status.st_nlink if links else 0)
        else:
            found[path] = (status.st_mode, text)
    return found


def differences(one: dict[bytes, Any], other: dict[bytes, Any]) -> dict[bytes, tuple[Any, Any]]:
    """What is not the same in two trees."""
    return {key: (one.get(key), other.get(key)) for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


@pytest.fixture
def machine(serve: Callable[..., Any], served: ModuleType, tmp_path: Path) -> type[MountAndFolder]:
    """The state machine, for mounts that are ended whatever happens."""

    class Machine(MountAndFolder):
        pass

    Machine.start = staticmethod(lambda folder: serve(folder))
    Machine.served, Machine.room = served, tmp_path
    return Machine


SOME = settings(deadline=None, suppress_health_check=list(HealthCheck), stateful_step_count=50, max_examples=8)


@pytest.mark.timeout(300)
def test_a_mount_is_as_a_plain_folder(machine: type[MountAndFolder]) -> None:
    run_state_machine_as_test(machine, settings=SOME)


@pytest.mark.long
@pytest.mark.timeout(5000)
def test_a_mount_is_as_a_plain_folder_for_an_hour(machine: type[MountAndFolder]) -> None:
    end = time.monotonic() + 3600
    while time.monotonic() < end:
        run_state_machine_as_test(machine, settings=settings(SOME, max_examples=50, stateful_step_count=80))
