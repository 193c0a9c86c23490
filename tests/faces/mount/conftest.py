# SPDX-License-Identifier: MIT
"""Mounts for tests: each in a process of its own, always unmounted in the end."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fastlegacy.errors import MountError
from fastlegacy.faces.mount import _refuse, ending, mountinfo
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import Caller, RealFolder
from fastlegacy.faces.mount.virtual import VirtualEntries
from fastlegacy.index.folder import Folder
from fastlegacy.index.tree import Tree
from fastlegacy.testing.beside import module_at

_PROGRAM = Path(__file__).with_name("served.py")


@pytest.fixture(scope="session")
def served() -> ModuleType:
    """The module ``served.py`` beside this file."""
    return module_at(_PROGRAM)


@pytest.fixture
def me() -> Caller:
    """Return this process as a caller."""
    return Caller(os.geteuid(), os.getegid())


@pytest.fixture
def union(tmp_path: Path, served: ModuleType) -> Iterator[SimpleNamespace]:
    """An overlay over an empty folder, without a mount: ``overlay``, ``folder``, ``fd``."""
    with _united(tmp_path / "demo", served.make_tree()) as made:
        yield made


@pytest.fixture
def nested(tmp_path: Path, served: ModuleType) -> Iterator[SimpleNamespace]:
    """Like ``union``, with virtual folders: ``img`` and ``deep/pix``."""
    with _united(tmp_path / "demo", served.make_folder()) as made:
        yield made


@contextmanager
def _united(folder: Path, root: Tree | Folder) -> Iterator[SimpleNamespace]:
    folder.mkdir()
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    virtual = VirtualEntries(root, label="u", uid=12, gid=34)
    overlay = Overlay(RealFolder(fd, give_away=False), virtual, new_file_mode=0o640)
    yield SimpleNamespace(overlay=overlay, folder=folder, fd=fd, virtual=virtual)
    os.close(fd)


@pytest.fixture(scope="session")
def fuse() -> None:
    """Skip where nothing can be mounted; fail there if the environment says that it must be possible."""
    try:
        _refuse.load()
        _refuse.check_device()
    except MountError as error:
        if os.environ.get("FASTLEGACY_REQUIRE_FUSE") == "1":
            pytest.fail(f"FUSE is required here: {error}")
        pytest.skip(f"no FUSE: {error}")


class Served:
    """A mount that a process of its own serves."""

    def __init__(self, folder: Path, options: dict[str, Any], environment: dict[str, str], program: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-X", "dev", str(program), str(folder), json.dumps(options)]
        pipe = subprocess.PIPE
        env = os.environ | environment
        self.process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env)
        assert self.process.stdout
        self.first_line = self.process.stdout.readline().strip()
        if self.first_line == "ready":
            assert wait_for(lambda: mountinfo.find(os.path.realpath(folder)) is not None)

    def end(self) -> tuple[dict[str, Any], str]:
        """Wait for the end; return the statistics and what was written to standard error."""
        out, err = self.process.communicate(timeout=100)
        assert self.process.returncode == 0, err
        return json.loads(out), err

    def interrupt(self) -> tuple[dict[str, Any], str]:
        """Press ctrl-c, and wait for the end."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Let it do nothing meanwhile, as one does whose disk hangs."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED)
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def fails(self) -> str:
        """Wait for the end of a mount that was not possible; return the message."""
        _, err = self.process.communicate(timeout=100)
        assert self.process.returncode == 1, err
        return err

    def clean(self) -> None:
        """Leave nothing behind, whatever has happened."""
        folder = os.path.realpath(self.folder)
        if self.process.poll() is None:
            # a server that hangs in a request to itself cannot even be killed before the connection is cut
            if mountinfo.find(folder) and os.geteuid() == 0:
                subprocess.run(["umount", "-f", folder], check=False, capture_output=True)
            self.process.kill()
            self.process.wait(100)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream
            stream.close()
        while mountinfo.find(folder):
            ending.remove_dead(folder)


@pytest.fixture
def serve(fuse: None, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Return a starter of mounts: ``serve(**options of mount())``, by default on ``tmp_path / "demo"``."""
    started: list[Served] = []

    def start(
        folder: Path = tmp_path / "demo",
        environment: dict[str, str] | None = None,
        program: Path = _PROGRAM,
        **options: Any,
    ) -> Served:
        started.append(Served(folder, options, environment or {}, program))
        return started[-1]

    yield start
    for mount in started:
        mount.clean()


@contextmanager
def _quietly(mount: Served, folder: Path) -> Iterator[Path]:
    """Yield a mounted folder; the log of the mount has to be empty at the end."""
    yield folder
    _, errors = mount.interrupt()
    assert errors == ""


@pytest.fixture
def mounted(serve: Callable[..., Served], tmp_path: Path) -> Iterator[Path]:
    """A mounted folder; the log is empty at the end."""
    with _quietly(serve(), tmp_path / "demo") as folder:
        yield folder


@pytest.fixture
def folders(serve: Callable[..., Served], tmp_path: Path) -> Iterator[Path]:
    """A mounted folder with virtual ones in it, ``img`` and ``deep/pix``; the log is empty at the end."""
    with _quietly(serve(folders=True), tmp_path / "demo") as folder:
        yield folder


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """The folder itself, beside its mount."""
    return tmp_path / "demo_real"


@pytest.fixture
def wait() -> Callable[[Callable[[], bool]], bool]:
    """Return a function that waits up to twenty seconds for a condition."""
    return wait_for


def wait_for(condition: Callable[[], bool], timeout_s: float = 100) -> bool:
    """Wait until a condition holds; tell whether it does."""
    end = time.monotonic() + timeout_s
    while True:
        is_late = time.monotonic() > end  # before the last look: this process may have slept
        if condition():
            return True
        if is_late:
            return False
        time.sleep(0.01)


@pytest.fixture(scope="session")
def union_machine() -> ModuleType:
    """The package ``union_machine`` beside this file: a mount and a plain folder, compared."""
    sys.path.insert(0, str(_PROGRAM.parent))
    try:
        return importlib.import_module("union_machine")
    finally:
        sys.path.pop(0)


@pytest.fixture
def machine(union_machine: ModuleType, serve: Callable[..., Served], served: ModuleType, tmp_path: Path) -> type[Any]:
    """The state machine, for mounts that are ended whatever happens."""

    class Machine(union_machine.MountAndFolder):  # type: ignore[name-defined, misc]
        start = staticmethod(lambda folder: serve(folder))
        room = tmp_path

    Machine.served = served
    return Machine
