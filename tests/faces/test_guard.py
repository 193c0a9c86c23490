# SPDX-License-Identifier: MIT
"""Files on which HDF5 itself crashes or hangs: they are an error, and nobody dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import SourceError
from fastlegacy.faces import guard as guard_module
from fastlegacy.faces.guard import Guard
from fastlegacy.testing.files import write_stack

FRAMES = np.arange(3 * 16 * 20, dtype="u2").reshape(3, 16, 20)


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    """A guard with little patience, in a program without threads of its own, whatever other tests have left."""
    monkeypatch.setattr(guard_module.threading, "active_count", lambda: 1)
    with closing(Guard(limit_s=1)) as made:
        yield made


@pytest.fixture
def scan(tmp_path: Path) -> str:
    """Path of a good file."""
    return write_stack(tmp_path / "scan.h5", FRAMES, filters="bslz4").partition("::")[0]


def crash(_: str) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(_: str) -> None:
    while True:
        pass


def end(_: str) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail(_: str) -> None:
    raise ValueError


@pytest.mark.parametrize("fate", [crash, hang])
def test_a_child_dies_in_place_of_this_process(
    guard: Guard, scan: str, fate: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "look_closely", fate)
    with pytest.raises(SourceError, match="HDF5 crashes or hangs"):
        guard(scan)


@pytest.mark.parametrize("fate", [end, fail])
def test_other_ends_say_nothing_of_the_file(
    guard: Guard, scan: str, fate: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "look_closely", fate)
    guard(scan)


def test_a_file_is_looked_into_again_when_it_has_changed(
    guard: Guard, scan: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = tmp_path / "tried"

    def note(_: str) -> None:
        with open(tried, "a") as file:
            file.write("x")

    monkeypatch.setattr(guard_module, "look_closely", note)
    guard(scan)
    guard(scan)
    assert tried.read_text() == "x"
    os.utime(scan, ns=(1, 1))
    guard(scan)
    assert tried.read_text() == "xx"


def test_what_is_not_there_is_for_others_to_say(guard: Guard, tmp_path: Path) -> None:
    guard(str(tmp_path / "none.h5"))


# ------------------------------------------------------------------------------------- with libhdf5 as it is


def damaged(tmp_path: Path) -> list[Path]:
    """Copies of a virtual dataset, each with one byte of the heap changed that has the names of its sources."""
    write_stack(tmp_path / "source.h5", FRAMES, filters="bslz4")
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource("source.h5", "/entry/data/data", FRAMES.shape)
    with h5py.File(tmp_path / "master.h5", "w") as h5:
        h5.create_virtual_dataset("data", layout)
    data = (tmp_path / "master.h5").read_bytes()
    heap = data.index(b"GCOL")
    found = []
    for place in (48, 49, 64, 80, 81, 96, 97, 98):
        path = tmp_path / f"damaged{place}.h5"
        path.write_bytes(data[: heap + place] + bytes([data[heap + place] ^ 0x80]) + data[heap + place + 1 :])
        found.append(path)
    return found


def test_with_threads_another_process_is_asked(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That it survives: this process opens each file that the guard lets pass."""
    files = damaged(tmp_path)
    monkeypatch.setattr(guard_module.threading, "active_count", lambda: 2)
    outcomes = [passes(guard, path) for path in files]
    monkeypatch.setattr(guard_module.threading, "active_count", lambda: 1)
    assert outcomes == [passes(Guard(limit_s=1), path) for path in files]
    assert passes(guard, tmp_path / "master.h5")
    assert passes(guard, tmp_path / "source.h5")


def passes(guard: Guard, path: Path) -> bool:
    try:
        guard(str(path), "/data")
    except SourceError:
        return False
    return True


@pytest.mark.parametrize("word", ["info", "ls", "export", "show", "mount"])
def test_no_command_dies_of_a_damaged_heap(tmp_path: Path, word: str) -> None:
    ends = {
        "export": [str(tmp_path / "out")],
        "show": ["--png", str(tmp_path / "out.png")],
        "mount": [str(tmp_path / "folder"), "-o", "no_such_option"],
    }
    for path in damaged(tmp_path)[-3:]:
        source = [str(path)] if word == "ls" else [str(path), "/data"]
        command = [sys.executable, "-m", "fastlegacy", word, *source, *ends.get(word, [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=90)
        assert done.returncode in (0, 1), (path, done.returncode, done.stderr)
        assert "Traceback" not in done.stderr
