# SPDX-License-Identifier: MIT
"""A mount stays below ``--memory``, whatever is read from it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from fastlegacy.testing.mounts import mount_command, mounted

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("fuse")]

FRAMES, SHAPE = 16, (2048, 2048)
MEMORY_MB = 192
READERS = 8
STORED = {
    "gzip": {"compression": "gzip", "compression_opts": 1},
    "blosc": dict(hdf5plugin.Blosc()),
    "h5py": {"scaleoffset": 0},
}


def highest_mb(work: Path) -> float:
    """The most memory that the server of a mount has ever had."""
    status = (work / ".fastlegacy" / "status").read_text(encoding="utf-8").splitlines()
    pid = next(line.split()[1] for line in status if line.startswith("process:"))
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def frame(number: int) -> np.ndarray:
    """Different in each."""
    return np.add.outer(np.arange(SHAPE[0], dtype="<u4") % 7 * number, np.arange(SHAPE[1], dtype="<u4") % 5)


@pytest.mark.parametrize("format", ["edf", "cbf"])
@pytest.mark.parametrize("stored", STORED)
def test_it_stays_below_the_bound_under_load(tmp_path: Path, stored: str, format: str) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        data = file.create_dataset("data", (FRAMES, *SHAPE), "<u4", chunks=(1, *SHAPE), **STORED[stored])
        for number in range(FRAMES):
            data[number] = frame(number)
    work = tmp_path / "work"
    wrong: list[str] = []

    def reader(seed: int) -> None:
        for number in range(seed, FRAMES, READERS):
            name = work / f"data{number + 1:04d}.{format}"
            content = name.read_bytes()
            if len(content) != os.stat(name).st_size or (
                format == "edf" and content[-4 * SHAPE[0] * SHAPE[1] :] != frame(number).tobytes()
            ):
                wrong.append(name.name)

    options = ("--format", format, "--memory", f"{MEMORY_MB}MB", "--companions", "none")
    with mounted(mount_command(f"{tmp_path / 'scan.h5'}::/data", work, *options), work):
        readers = [threading.Thread(target=reader, args=(seed,)) for seed in range(READERS)]
        for each in readers:
            each.start()
        for each in readers:
            each.join()
        assert wrong == []
        assert highest_mb(work) < MEMORY_MB
