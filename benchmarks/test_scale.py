# SPDX-License-Identifier: MIT
"""Many files: how soon a long scan is mounted and listed, and how soon a proposal of thousands of scans is there.

The scan is 100 files of 1000 frames behind one virtual dataset; the proposal 500 files of bliss with 20 scans each,
and the files of LImA behind them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from fastlegacy.faces.collection import Collection
from fastlegacy.faces.recipe import Recipe
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.mounts import mount_command, mounted

Note = Callable[[str, str, int], None]

FILES, FRAMES, SHAPE = 100, 1000, (16, 32)
MOTORS, COUNTERS, POINTS = 60, 30, 4
LONG_AGO_NS = 10**18  # what was written a moment ago is not remembered


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


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_start(benchmark: Any, note: Note, long_scan: str, work: Path) -> None:
    """From the command to the first answer, Python's own start included."""
    note("mount 100 files of 1000 frames", "fastlegacy", 0)
    with ExitStack() as current:

        def mount() -> None:
            current.enter_context(mounted(mount_command(long_scan, work), work))

        benchmark.pedantic(mount, setup=current.close, rounds=4)
        assert (work / "data99999.edf").stat().st_size > np.prod(SHAPE) * 4


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_listing(benchmark: Any, note: Note, long_scan: str, work: Path) -> None:
    """All 100 000 names."""
    note("list 100 000 files", "fastlegacy", 0)
    with mounted(mount_command(long_scan, work), work):
        names = benchmark.pedantic(os.listdir, (work,), rounds=4)
    assert len(names) == FILES * FRAMES
    assert {"data0001.edf", "data100000.edf"} < set(names)


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Url of a dataset of a million chunks, of which HDF5 has chosen the places."""
    path = tmp_path_factory.mktemp("million") / "long.h5"
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 2, 4))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with h5py.File(path, "w", libver="latest") as file:
        space = h5py.h5s.create_simple((10**6, 2, 4))
        h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT8, space, plist)
    return f"{path}::/data"


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_start_of_a_million(benchmark: Any, note: Note, million: str, work: Path) -> None:
    """From the command to the first name in the folder."""
    note("mount a million files", "fastlegacy", 0)
    with ExitStack() as current:

        def mount() -> None:
            current.enter_context(mounted(mount_command(million, work), work))
            with os.scandir(work) as entries:
                next(entries)

        benchmark.pedantic(mount, setup=current.close, rounds=4)
        assert (work / "data1000000.edf").stat().st_size > 8


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_listing_of_a_million(benchmark: Any, note: Note, million: str, work: Path) -> None:
    """All names."""
    note("list a million files", "fastlegacy", 0)
    with mounted(mount_command(million, work), work):
        names = benchmark.pedantic(os.listdir, (work,), rounds=3)
    assert len(names) == 10**6


@pytest.fixture(scope="module")
def proposal(measuring: bool, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with copies of one dataset, and how many scans are in it."""
    datasets, scans = (500, 20) if measuring else (15, 3)
    folder = tmp_path_factory.mktemp("proposal")
    frames = np.arange(POINTS * np.prod(SHAPE), dtype=np.uint32).reshape(POINTS, *SHAPE)
    bliss_dataset(
        folder / "sample_0000",
        {f"{i + 1}.1": frames for i in range(scans)},
        frames_per_file=POINTS,
        moved={f"motor{i}": np.linspace(0, i, POINTS).tolist() for i in range(2)},
        positions={f"still{i}": float(i) for i in range(MOTORS - 2)},
        counters={f"counter{i}": np.full(POINTS, float(i)).tolist() for i in range(COUNTERS)},
    )
    for path in (folder / "sample_0000").rglob("*"):
        os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    for i in range(1, datasets):
        shutil.copytree(folder / "sample_0000", folder / f"sample_{i:04d}")
    return folder, datasets * scans


@pytest.mark.parametrize("again", [False, True], ids=["cold", "again"])
def test_proposal(benchmark: Any, note: Note, proposal: tuple[Path, int], tmp_path: Path, again: bool) -> None:
    """Until all folders are known; no scan is opened."""
    folder, scans = proposal
    note(f"a proposal of {scans} scans", "from memory" if again else "first time", 0)
    memory, recipe = tmp_path / "memory", Recipe.of("edf")

    def begin() -> int:
        with Collection([str(folder)], recipe, memory=memory) as collection:
            return len(collection.stands)

    def forget() -> None:
        if not again:
            shutil.rmtree(memory, ignore_errors=True)

    if again:
        begin()
    assert benchmark.pedantic(begin, setup=forget, rounds=3) == scans
