# SPDX-License-Identifier: MIT
"""What can go wrong in the life of a mount: servers that are killed, mounts in mounts, renames that break off."""

from __future__ import annotations

import errno
import io
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import mountinfo, rename
from fastlegacy.faces.mount.ending import umount
from fastlegacy.faces.mount.places import Places, is_dead_mount
from fastlegacy.faces.mount.rename import recover, renamed

Serve = Callable[..., Any]
Wait = Callable[..., bool]

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting without fusermount is for root")


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "kept.txt").write_text("kept")
    return folder


@contextmanager
def opened(path: Path, mode: str) -> Iterator[io.FileIO]:
    """Open a file without a buffer; closing it may fail, as its server may be gone."""
    file = io.FileIO(path, mode)
    try:
        yield file
    finally:
        with suppress(OSError):
            file.close()


# ------------------------------------------------------------------------------------ killed


@pytest.mark.fuse
@pytest.mark.parametrize("watched", [True, pytest.param(False, marks=as_root)])
def test_killed_with_open_files_and_started_again(
    serve: Serve, demo: Path, served: ModuleType, wait: Wait, watched: bool
) -> None:
    """With and without fusermount's watcher, which takes the dead mount away."""
    mount = serve(environment={} if watched else {"PATH": "/nonexistent"})
    with opened(demo / "data0001.img", "r") as virtual, opened(demo / "result", "w") as real:
        assert virtual.read(8) == b"a header"
        os.lseek(virtual.fileno(), 5000, os.SEEK_SET)
        real.write(b"written")
        with mmap.mmap(virtual.fileno(), 0, prot=mmap.PROT_READ) as mapped:
            first = mapped[:8]
        mount.process.kill()
        mount.process.wait()
        again = serve()
        # who had files open gets errors, and hangs nowhere
        for use in (lambda: os.fstatvfs(virtual.fileno()), lambda: real.write(b"more")):
            with pytest.raises(OSError, match="not connected") as raised:
                use()
            assert raised.value.errno == errno.ENOTCONN
        assert first == b"a header"
        assert (demo / "data0001.img").read_bytes() == served.content(0)
        assert (demo / "result").read_bytes() == b"written", "what had reached the server is there"
        again.interrupt()
    assert sorted(os.listdir(demo)) == ["kept.txt", "result"]
    assert os.listdir(demo.parent) == ["demo"]


@pytest.mark.fuse
@as_root
def test_what_the_kernel_remembers_of_a_dead_mount_does_not_keep_it_alive(serve: Serve, demo: Path) -> None:
    mount = serve(environment={"PATH": "/nonexistent"})
    os.stat(demo)  # the next one is not asked of the server, for a second
    mount.process.kill()
    mount.process.wait()
    assert is_dead_mount(str(demo))
    serve().interrupt()


_LOOK = """
import sys
from fastlegacy.faces.mount.checks import make_ready
from fastlegacy.faces.mount.places import Places
make_ready(Places.of(sys.argv[1]), rename=False)
"""


@pytest.mark.fuse
@pytest.mark.parametrize("lazy", [False, True])
def test_a_mount_that_hangs_can_be_ended(serve: Serve, demo: Path, lazy: bool) -> None:
    mount = serve()
    with mount.stopped():
        # what looks at such a mount keeps it in use, and so must be another process
        look = subprocess.run([sys.executable, "-c", _LOOK, f"{demo}/."], capture_output=True, text=True, timeout=100)
        assert f", which does not answer; end it by: fastlegacy umount --lazy {demo}" in look.stderr
        with pytest.raises(MountError, match=f"is unmounted, but its server .process {mount.process.pid}"):
            umount(f"{demo.parent}/./{demo.name}/", lazy=lazy, timeout_s=0.2)
        assert mountinfo.find(str(demo)) is None
        assert os.listdir(demo) == ["kept.txt"]
    mount.end()


@pytest.mark.fuse
@as_root
@pytest.mark.parametrize("kills", [3])
def test_several_dead_mounts_over_each_other_are_all_removed(serve: Serve, demo: Path, kills: int) -> None:
    mounts = [serve(environment={"PATH": "/nonexistent"})]
    for _ in range(kills - 1):
        mounts[-1].process.kill()
        mounts[-1].process.wait()
        mounts.append(serve(environment={"PATH": "/nonexistent"}))
    mounts[-1].process.kill()
    mounts[-1].process.wait()
    serve().interrupt()
    assert mountinfo.find(os.path.realpath(demo)) is None
    assert os.listdir(demo) == ["kept.txt"]


@pytest.mark.fuse
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
def test_a_server_that_dies_while_somebody_saves(serve: Serve, demo: Path, wait: Wait, number: int) -> None:
    mount = serve()
    with opened(demo / "result", "w") as real:
        for step in range(100):
            assert real.write(bytes([step]) * 1000) == 1000
        mount.process.send_signal(number)
        mount.process.wait()
        with pytest.raises(OSError, match="not connected"):
            real.write(b"more")
    serve().interrupt()
    saved = (demo / "result").read_bytes()
    assert saved == b"".join(bytes([step]) * 1000 for step in range(100))


# ------------------------------------------------------------------------------------ one in another


@pytest.mark.fuse
def test_a_folder_inside_another_mount(serve: Serve, demo: Path, served: ModuleType) -> None:
    outer = serve()
    (demo / "inner").mkdir()
    inner = serve(demo / "inner", frames=3)
    assert len(os.listdir(demo / "inner")) == 3
    (demo / "inner" / "result").write_text("saved")
    assert (demo / "inner" / "data0001.img").read_bytes() == served.content(0)
    assert (demo / "data0009.img").read_bytes() == served.content(8)
    inner.interrupt()
    assert os.listdir(demo / "inner") == ["result"]
    assert sorted(os.listdir(demo.with_name("demo_real"))) == ["inner", "kept.txt"]
    outer.interrupt()
    assert (demo / "inner" / "result").read_text() == "saved"
    assert sorted(os.listdir(demo)) == ["inner", "kept.txt"]


@pytest.mark.fuse
def test_a_mount_below_that_was_there_before_is_seen_through_the_outer_one(
    serve: Serve, demo: Path, served: ModuleType
) -> None:
    (demo / "inner").mkdir()
    inner = serve(demo / "inner", frames=3)
    outer = serve()
    assert len(os.listdir(demo / "inner")) == 3
    assert (demo / "inner" / "data0002.img").read_bytes() == served.content(1)
    outer.interrupt()
    assert len(os.listdir(demo / "inner")) == 3
    inner.interrupt()
    assert os.listdir(demo / "inner") == []


# ------------------------------------------------------------------------------------ --rename that breaks off

_STEPS = ("open", "fsync", "link", "rename", "mkdir", "chmod", "rmdir", "unlink")


class Killed:
    """Python's ``os`` for the module rename, in which the process dies after (or before) the n-th step."""

    def __init__(self, steps: int, *, before: bool) -> None:
        self._left = steps
        self._before = before

    def __getattr__(self, name: str) -> Any:
        original = getattr(os, name)
        if name not in _STEPS:
            return original

        def step(*args: Any, **kwargs: Any) -> Any:
            self._left -= 1
            if self._before and self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            found = original(*args, **kwargs)
            if self._left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return step


def test_killed_after_each_step_of_renaming(tmp_path: Path) -> None:
    """Each system call that changes something is the last one once, there and back."""
    ends: list[int] = []
    for number in range(100):
        folder = tmp_path / str(number) / "demo"
        folder.mkdir(parents=True, mode=0o750)
        (folder / "kept").write_text("data")
        places = Places.of(folder)
        pid = os.fork()
        if pid == 0:
            rename.os = Killed(number // 2, before=bool(number % 2))  # type: ignore[assignment]
            with renamed(places):
                pass
            os._exit(0)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        recover(places)
        assert os.listdir(folder) == ["kept"], number
        with renamed(places):
            assert os.listdir(places.real) == ["kept"], number
        assert os.listdir(folder.parent) == ["demo"], number
        assert os.listdir(folder) == ["kept"], number
        assert folder.stat().st_mode & 0o777 == 0o750, number
        if ends[-1] == 0:
            break
    assert set(ends[:-1]) == {-signal.SIGKILL}
    assert ends[-1] == 0, "no step is left"
    assert len(ends) > 20


@pytest.mark.fuse
@as_root
def test_a_killed_server_with_rename_and_open_files(serve: Serve, demo: Path) -> None:
    mount = serve(environment={"PATH": "/nonexistent"}, rename=True)
    with opened(demo / "data0001.img", "r") as file:
        assert file.read(8) == b"a header"
        (demo / "result").write_text("saved")
        mount.process.kill()
        mount.process.wait()
        serve(rename=True).interrupt()
    assert sorted(os.listdir(demo)) == ["kept.txt", "result"]
    assert os.listdir(demo.parent) == ["demo"]
