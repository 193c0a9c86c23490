# SPDX-License-Identifier: MIT
"""Masters with damage at random places: an error of ours, or frames; never anything else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from fastlegacy.errors import FastlegacyError
from fastlegacy.sources.find import find_stacks, open_stack
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.lambda_ import lambda_scan
from fastlegacy.testing.nxmx import filewriter2_series, nxmx_scan

FRAMES = counting_frames(4, (20, 30), "u2")
BUILDERS: dict[str, Callable[[Path], str]] = {
    "bliss": lambda folder: (
        bliss_dataset(folder, {"1.1": FRAMES}, moved={"rot": range(4)}) + "::/1.1/measurement/eiger"
    ),
    "dectris": lambda folder: dectris_series(folder, FRAMES, blocks=(2, 2)),
    "nxmx": lambda folder: nxmx_scan(folder, FRAMES),
    "filewriter 2": lambda folder: filewriter2_series(folder, FRAMES[:, None], channels=("threshold_1",)),
    "lambda": lambda folder: lambda_scan(folder, FRAMES),
}


def _global_heaps(data: bytearray) -> set[int]:
    """Where HDF5 keeps texts of variable length: libhdf5 2.0 itself never ends with one of no length."""
    starts = [i for i in range(0, len(data) - 4, 8) if data[i : i + 4] == b"GCOL"]
    return {place for start in starts for place in range(start, start + 4096)}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", BUILDERS)
def test_damage(tmp_path: Path, name: str, seed: int) -> None:
    url = BUILDERS[name](tmp_path)
    master = Path(url.partition("::")[0])
    data = bytearray(master.read_bytes())
    rng = np.random.default_rng(seed)
    spared = _global_heaps(data)
    for place in rng.integers(8, len(data), 30):
        if place not in spared:
            data[place] ^= 1 << rng.integers(0, 8)
    master.write_bytes(data)
    with suppress(FastlegacyError):
        for info in find_stacks(master):
            assert info.url.startswith(str(master))
    with suppress(FastlegacyError), open_stack(url, missing="fill") as stack:
        assert stack.url == url
