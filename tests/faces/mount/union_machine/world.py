# SPDX-License-Identifier: MIT
"""Rules for the world around: other programs that change the folder below, threads, and a server that is killed."""

from __future__ import annotations

import os
import stat
import threading
import traceback
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from union_machine.base import FIRST, Base, data
from union_machine.compare import Result, eventually, is_file, is_folder, outcome, read_whole

__all__ = ["World"]

_RECORD = 100  # bytes of each record that is written when the server is killed
_ROUNDS = 20
_KILLS = 2  # in one example: to start a server takes a second

some = st.sampled_from((b"a", b"b", b"z", b"d1/b", FIRST))


class World(Base):
    """What happens beside those who use the mount one after the other."""

    kills = 0

    # ---- somebody changes the folder below

    @rule(name=some, text=data)
    def somebody_writes_below(self, name: bytes, text: bytes) -> None:
        """Another program replaces a file; the kernel remembers what it knew for a second."""
        self.close_all()
        if not self.is_free_for_a_file(name):
            return
        for root in (self.at + b"_real", self.there):
            new = os.path.join(root, b".new")
            Path(os.fsdecode(new)).write_bytes(text)
            os.rename(new, os.path.join(root, name))
        assert eventually(lambda: read_whole(os.path.join(self.at, name)) == text), name

    def is_free_for_a_file(self, name: bytes) -> bool:
        """Tell whether a file can be put there without following a link."""
        path = os.path.join(self.there, name)
        above = os.path.dirname(path)
        return (
            not os.path.islink(path) and not os.path.isdir(path) and os.path.isdir(above) and not os.path.islink(above)
        )

    @rule(name=some)
    def somebody_removes_below(self, name: bytes) -> None:
        """Another program removes a file."""
        self.close_all()
        got = [outcome(lambda root=root: os.unlink(os.path.join(root, name))) for root in self.both_below()]  # type: ignore[misc]
        assert got[0] == got[1]
        gone = name not in self.virtual
        assert is_folder(os.path.join(self.there, name)) or eventually(
            lambda: os.path.lexists(os.path.join(self.at, name)) != gone
        )

    @rule(name=some, texts=st.tuples(data, data, data))
    def somebody_appends_while_a_program_appends(self, name: bytes, texts: tuple[bytes, bytes, bytes]) -> None:
        """Two programs append to a file, one of them through the mount: nothing is lost of either."""
        if not self.is_free_for_a_file(name):
            return
        if any(handle.has_links() for handle in self.handles):
            self.close_all()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        if self.is_virtual(name):
            flags |= os.O_TRUNC
        for root in (self.at, self.there):
            fd = os.open(os.path.join(root, name), flags, 0o644)
            os.write(fd, texts[0])
            with open(self.below_mount(os.path.join(root, name)), "ab") as other:
                other.write(texts[1])
            os.write(fd, texts[2])
            os.close(fd)
        wanted = os.path.join(self.there, name)
        assert os.path.getsize(wanted) > 1 << 20 or eventually(
            lambda: read_whole(os.path.join(self.at, name)) == read_whole(wanted)
        ), name

    @rule(name=some, size=st.sampled_from((0, 1, 100, 5000)), text=data)
    def somebody_changes_a_file_in_place(self, name: bytes, size: int, text: bytes) -> None:
        """Another program cuts a file and writes into it."""
        self.close_all()
        if not is_file(os.path.join(self.there, name)) or not self.is_free_for_a_file(name.rpartition(b"/")[0] + b"/x"):
            return
        for root in self.both_below():
            with open(os.path.join(root, name), "r+b") as file:
                file.truncate(size)
                file.seek(size // 2)
                file.write(text)
        wanted = read_whole(os.path.join(self.there, name))
        assert eventually(lambda: read_whole(os.path.join(self.at, name)) == wanted), name

    @rule(name=st.sampled_from((b"d1", b"d2", b"d1/deep")), away=st.booleans())
    def somebody_makes_or_moves_a_folder(self, name: bytes, away: bool) -> None:
        """Another program makes a folder, or gives it another name."""
        self.close_all()
        got = []
        for root in self.both_below():
            path = os.path.join(root, name)
            work: Callable[[], None] = lambda path=path: os.rename(path, path + b"x") if away else os.mkdir(path, 0o755)  # type: ignore[misc] # noqa: E731
            got.append(outcome(work))
        assert got[0] == got[1]
        is_there = os.path.lexists(os.path.join(self.there, name))
        assert eventually(lambda: os.path.lexists(os.path.join(self.at, name)) == is_there), name
        if away and got[0][0] == "ok":
            self.kind_is_known(name + b"x")

    def kind_is_known(self, name: bytes) -> None:
        """What was an entry of another kind a moment ago: the kernel takes that for a fault, for one look."""

        def kind(root: bytes) -> Result:
            return outcome(lambda: stat.S_IFMT(os.lstat(os.path.join(root, name)).st_mode))

        wanted, looks = kind(self.there), []

        def is_known() -> bool:
            looks.append(kind(self.at))
            return looks[-1] == wanted

        assert eventually(is_known), (name, looks[-1], wanted)
        assert looks.count(("error", "EIO")) <= 1, (name, looks)

    def both_below(self) -> tuple[bytes, bytes]:
        """The folder below the mount as others see it, and the plain folder."""
        return self.at + b"_real", self.there

    # ---- several at once

    @rule(seed=st.integers(0, 9))
    def threads(self, seed: int) -> None:
        """Several at once: each its own file and folder, and all of them the virtual ones."""

        def write(root: bytes, number: int) -> None:
            with open(os.path.join(root, b"t%d" % number), "wb") as file:
                for i in range(_ROUNDS):
                    file.seek((i * 7919 * (seed + 1)) % 200_000)
                    file.write(bytes([number]) * (100 + i))

        def live(root: bytes, number: int) -> None:
            own = os.path.join(root, b"own%d" % number)
            os.mkdir(own)
            for i in range(3):
                one, other, more = (os.path.join(own, b"%s%d" % (word, i)) for word in (b"one", b"other", b"more"))
                Path(os.fsdecode(one)).write_bytes(b"%d" % number)
                os.rename(one, other)
                os.link(other, more)
                os.unlink(other)
                assert read_whole(more) == b"%d" % number
                os.unlink(more)
            os.rmdir(own)

        def work(number: int) -> None:
            for root in (self.at, self.there):
                write(root, number)
                live(root, number)
            for name, content in list(self.virtual.items())[number:] + list(self.virtual.items())[:number]:
                if self.is_virtual(name):
                    assert read_whole(os.path.join(self.at, name)) == content, name

        at_once(*(lambda number=number: work(number) for number in range(4)))  # type: ignore[misc]

    @rule()
    def one_of_several_makes_a_file(self) -> None:
        """Of those who make a file with O_EXCL at the same time, here and below, one is told that it has."""
        won: list[tuple[int, int]] = []
        gate = threading.Barrier(4)

        def work(number: int) -> None:
            root = (self.at, self.real)[number % 2]
            for i in range(_ROUNDS):
                gate.wait(100)
                try:
                    os.close(os.open(os.path.join(root, b"race%d" % i), os.O_WRONLY | os.O_CREAT | os.O_EXCL))
                    won.append((i, number))
                except FileExistsError:
                    continue

        at_once(*(lambda number=number: work(number) for number in range(4)))  # type: ignore[misc]
        for i in range(_ROUNDS):
            os.unlink(os.path.join(self.at, b"race%d" % i))
        assert sorted(i for i, _ in won) == [*range(_ROUNDS)], won

    @rule()
    def somebody_looks_while_a_file_is_replaced(self) -> None:
        """Who looks below, and who asks for it here, always finds the file that others are replacing."""
        done = threading.Event()
        below, here, new = (os.path.join(root, b"kept") for root in (self.real, self.at, self.at + b"/."))
        new += b".new"
        Path(os.fsdecode(here)).write_bytes(b"0")

        def replace() -> None:
            try:
                for i in range(_ROUNDS):
                    Path(os.fsdecode(new)).write_bytes(b"%d" % i)
                    os.rename(new, here)
            finally:
                done.set()

        def look() -> None:
            while not done.is_set():
                assert Path(os.fsdecode(below)).read_bytes().isdigit()
                found = outcome(lambda: os.lstat(here))
                assert found[0] == "ok" or found[1] == "ESTALE", found  # replaced twice in that moment

        at_once(replace, look)
        assert read_whole(below) == b"%d" % (_ROUNDS - 1)
        os.unlink(here)

    # ---- the server dies

    @precondition(lambda self: self.kills < _KILLS)
    @rule(busy=st.booleans())
    def kill_and_mount_again(self, busy: bool) -> None:
        """The server is killed with files open, and while somebody writes: nothing that was written is lost."""
        self.kills += 1
        records: list[int] = []
        writer = threading.Thread(target=self.write_records, args=(records,))
        if busy:
            writer.start()
            assert eventually(lambda: len(records) > 3)
        self.mount.process.kill()
        self.mount.process.wait()
        if busy:
            writer.join()
            self.all_records_are_there(len(records))
        while self.handles:
            handle = self.handles.pop()
            if handle.plain is not None:
                os.close(handle.plain)
            outcome(lambda fd=handle.mounted: os.close(fd))  # type: ignore[misc]
        self.begin()  # what the killed one has left is no hindrance

    def write_records(self, done: list[int]) -> None:
        """Append records until the server is dead; count those of which it was said that they are written."""
        fd = os.open(os.path.join(self.at, b"records"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while os.write(fd, bytes([len(done) % 251]) * _RECORD) == _RECORD:
                done.append(len(done))
        except OSError:
            return
        finally:
            outcome(lambda: os.close(fd))

    def all_records_are_there(self, count: int) -> None:
        """Of one more record, of which nobody was told any more, all may be there, or a part."""
        below = os.path.join(self.real, b"records")
        found = read_whole(below)
        assert count * _RECORD <= len(found) <= (count + 1) * _RECORD, (len(found), count)
        assert found == b"".join(bytes([i % 251]) * _RECORD for i in range(count + 1))[: len(found)]
        os.unlink(below)


def at_once(*works: Callable[[], None]) -> None:
    """Do several things in threads, and raise what went wrong first."""
    faults: list[str] = []

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except (OSError, AssertionError, threading.BrokenBarrierError) as exc:
            faults.append("".join(traceback.format_exception(exc)))

    running = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for one in running:
        one.start()
    for one in running:
        one.join()
    assert not faults, "\n".join(faults)
