# SPDX-License-Identifier: MIT
"""A mount of many damaged files, a byte flipped in each: true bytes or an error, and the mount is there to the end.

The flips are fixed; among them are those on which libhdf5 itself crashes or hangs. `tests/hdf5/flips.py` tries all.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from fastlegacy.testing.beside import module_at
from fastlegacy.testing.mounts import mounted

pytestmark = pytest.mark.fuse

# as `fastlegacy mount`, with less patience for HDF5
PROGRAM = """
import sys
from fastlegacy.faces.cli.main import main
from fastlegacy.faces.guard import Guard
from fastlegacy.index import crawl
crawl.helper.__defaults__ = (60.0,)
Guard.__init__.__defaults__ = (3,)
sys.exit(main(sys.argv[1:]))
"""
EACH = 30


@pytest.fixture(scope="module")
def flips() -> ModuleType:
    """The module ``tests/hdf5/flips.py``."""
    return module_at(Path(__file__).parents[2] / "hdf5" / "flips.py")


def read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


@pytest.mark.parametrize("kind", ["virtual", "bslz4+fletcher32", "bslz4+fletcher32+latest"])
def test_a_mount_of_damaged_files_lives_and_its_pixels_are_true(tmp_path: Path, flips: ModuleType, kind: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    sample = flips.make(data, kind)
    whole = sample.path.read_bytes()
    places = np.flatnonzero(np.frombuffer(whole, "u1"))
    if kind == "virtual":  # in the heap, which has the names of the sources
        heap = whole.index(b"GCOL")
        places = np.arange(heap + 16, heap + 16 + 3 * EACH)
    for i, place in enumerate(places[:: max(1, len(places) // EACH)]):
        copy = bytearray(whole)
        copy[place] ^= 0x80
        (data / f"flip{i:02}.h5").write_bytes(copy)
    folder = tmp_path / "mount"
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        "mount",
        str(data),
        str(folder),
        "--format",
        "flat",
        "--remember",
        "nothing",
    ]
    outcomes: Counter[str] = Counter()
    with mounted(command, folder):
        good = [read(folder / "a" / "flat" / f"a_{i + 1:04}.raw") for i in range(len(sample.frames))]
        assert all(each and each.endswith(frame.tobytes()) for each, frame in zip(good, sample.frames, strict=True))
        for name in listed(folder):
            if not name.startswith("flip"):
                continue
            for i, frame in enumerate(sample.frames):
                found = read(folder / name / "flat" / f"{name}_{i + 1:04}.raw")
                outcomes["error" if found is None else "true" if found.endswith(frame.tobytes()) else "wrong"] += 1
        (folder / "notes").write_text("it is alive")
        assert (folder / "notes").read_text() == "it is alive"
    assert outcomes["wrong"] == 0
    assert outcomes["true"] > 0
