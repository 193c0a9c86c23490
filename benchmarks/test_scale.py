# SPDX-License-Identifier: MIT
"""A long scan, 100 files of 1000 frames behind one virtual dataset: how soon it is mounted, and how soon listed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from fastlegacy.testing.mounts import mount_command, mounted

Note = Callable[[str, str, int], None]

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("needs_fuse")]

FILES, FRAMES, SHAPE = 100, 1000, (16, 32)


@pytest.fixture(scope="module")
def long_scan(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Url of the virtual dataset; all frames are the same, small one."""
    folder = tmp_path_factory.mktemp("long")
    frame = np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE)
    layout = h5py.VirtualLayout((FILES * FRAMES, *SHAPE), frame.dtype)
    chunk = None
    for i in range(FILES):
        path = folder / f"data_{i:04d}.h5"
        with h5py.File(path, "w") as file:
            shape = (FRAMES, *SHAPE)
            data = file.create_dataset(
                "entry/data", shape, frame.dtype, chunks=(1, *SHAPE), compression=hdf5plugin.Bitshuffle()
            )
            if chunk is None:
                data[0] = frame
                chunk = data.id.read_direct_chunk((0, 0, 0))[1]
            for k in range(FRAMES):
                data.id.write_direct_chunk((k, 0, 0), chunk)
        layout[i * FRAMES : (i + 1) * FRAMES] = h5py.VirtualSource(path.name, "entry/data", shape)
    with h5py.File(folder / "master.h5", "w") as file:
        file.create_virtual_dataset("data", layout)
    return f"{folder / 'master.h5'}::/data"


def test_start(benchmark: Any, note: Note, long_scan: str, work: Path) -> None:
    """From the command to the first answer, Python's own start included."""
    note("mount 100 files of 1000 frames", "fastlegacy", 0)
    with ExitStack() as current:

        def mount() -> None:
            current.enter_context(mounted(mount_command(long_scan, work), work))

        benchmark.pedantic(mount, setup=current.close, rounds=4)
        assert (work / "data99999.edf").stat().st_size > np.prod(SHAPE) * 4


def test_listing(benchmark: Any, note: Note, long_scan: str, work: Path) -> None:
    """All 100 000 names."""
    note("list 100 000 files", "fastlegacy", 0)
    with mounted(mount_command(long_scan, work), work):
        names = benchmark.pedantic(os.listdir, (work,), rounds=4)
    assert len(names) == FILES * FRAMES
    assert {"data0001.edf", "data100000.edf"} < set(names)
