# SPDX-License-Identifier: MIT
"""A scan, mounts of it, and the programs that read them; each test skips by itself where its program is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

from fastlegacy.testing.mounts import mount_command, mounted, reason_for_no_mount

from .scans import bragg_frames, bragg_mask, write_nxmx


@dataclass(frozen=True)
class Scan:
    """The scan of `scans.py`: its url, its pixels as stored, and its mask (1 gap, 2 dead)."""

    url: str
    frames: NDArray[np.uint32]
    mask: NDArray[np.uint32]

    @property
    def file(self) -> str:
        return self.url.partition("::")[0]

    def marked(self, gap: int, bad: int) -> NDArray[np.int64]:
        """Return the frames with these numbers where the mask is."""
        return np.where(self.mask == 0, self.frames.astype(np.int64), np.where(self.mask == 1, gap, bad))


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    """Write the scan once for all tests."""
    frames = bragg_frames()
    return Scan(write_nxmx(tmp_path_factory.mktemp("scan") / "bragg.h5", frames), frames, bragg_mask())


Mount = Callable[..., contextlib.AbstractContextManager[Path]]


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """Return ``mount(url, *options, name="mount")``: a folder that is mounted while a ``with`` lasts."""
    reason = reason_for_no_mount()
    if reason:
        if os.environ.get("FASTLEGACY_REQUIRE_FUSE") == "1":
            pytest.fail(f"FUSE is required here: {reason}")
        pytest.skip(reason)

    @contextlib.contextmanager
    def start(url: str, *options: str, name: str = "mount") -> Iterator[Path]:
        with mounted(mount_command(url, tmp_path / name, *options), tmp_path / name) as folder:
            yield folder

    return start


Program = Callable[[str], str]


@pytest.fixture
def program() -> Program:
    """Return a finder of programs: on the PATH, or beside the Python of the tests."""

    def find(name: str) -> str:
        found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find


@pytest.fixture
def python_with() -> Callable[[str], str]:
    """Return a finder of a Python that has a module.

    Asked are the one that FASTLEGACY_PROGRAMS_PYTHON names, that of the tests, and that of the system.
    """

    def find(module: str) -> str:
        wanted = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({module!r}) is None)"
        for python in (os.environ.get("FASTLEGACY_PROGRAMS_PYTHON"), sys.executable, "/usr/bin/python3"):
            if python and shutil.which(python) and not subprocess.run([python, "-c", wanted], env=_clean()).returncode:
                return python
        pytest.skip(f"no Python has {module}")

    return find


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return ``run(*words, cwd=tmp_path, good=True)``: what a program that ended well has printed."""

    def start(*words: str | Path, cwd: Path = tmp_path, good: bool = True) -> subprocess.CompletedProcess[str]:
        command = [str(word) for word in words]
        done = subprocess.run(command, cwd=cwd, env=_clean(), capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == good, f"{' '.join(command)[:200]}\n{(done.stdout + done.stderr)[-3000:]}"
        return done

    return start


def _clean() -> dict[str, str]:
    """Nothing of our Python for other ones, but the plugins of HDF5 for libraries that have none."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return kept | {"HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
