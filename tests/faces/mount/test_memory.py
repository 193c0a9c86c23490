# SPDX-License-Identifier: MIT
"""A mount stays below ``--memory``, whatever is read from it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest

from fastlegacy.testing.mounts import mount_command, mounted

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("fuse")]

FRAMES, SHAPE = 20, (1024, 2048)  # 168 MB: with what a process takes by itself, more than the bound
MEMORY_MB, DEFAULT_MB = 192, 512
IN_A_LARGE_CHUNK = 30  # 252 MB
READERS = 8
BINARY = b"\x0c\x1a\x04\xd5"  # what comes before the pixels in a CBF
STORED: dict[str, dict[str, Any]] = {
    "gzip": {"compression": "gzip", "compression_opts": 1},
    "bslz4": dict(hdf5plugin.Bitshuffle()),
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
    """Different in each; from one pixel to the next it is a step that one byte holds."""
    return np.add.outer(np.arange(SHAPE[0], dtype="<u4") % 7 * number, np.arange(SHAPE[1], dtype="<u4") % 5)


def body(content: bytes, format: str) -> bytes:
    """The bytes of the pixels in a file."""
    n = SHAPE[0] * SHAPE[1]
    if format == "edf":
        return content[-4 * n :]
    start = content.index(BINARY) + len(BINARY)
    return content[start : start + n]


def expected_body(number: int, format: str) -> bytes:
    """The same from its definition: pixels, or the step to each pixel as one byte (CBF's byte offset)."""
    pixels = frame(number)
    if format == "edf":
        return pixels.tobytes()
    steps = np.diff(pixels.astype(np.int64).reshape(-1), prepend=0)
    assert abs(steps).max() < 128
    return steps.astype(np.int8).tobytes()


def scan(path: Path, stored: str, frames: int, in_a_chunk: int) -> str:
    """Write frames, so many in each chunk; return the url of the stack."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("data", (frames, *SHAPE), "<u4", chunks=(in_a_chunk, *SHAPE), **STORED[stored])
        for first in range(0, frames, in_a_chunk):
            data[first : first + in_a_chunk] = np.stack([frame(first + k) for k in range(in_a_chunk)])
    return f"{path}::/data"


def read_all(work: Path, frames: int, format: str) -> list[str]:
    """Read all files of a mount, eight at a time; return those that are not what they should be."""
    wrong: list[str] = []

    def reader(seed: int) -> None:
        for number in range(seed, frames, READERS):
            name = work / f"data{number + 1:04d}.{format}"
            content = name.read_bytes()
            if len(content) != name.stat().st_size or body(content, format) != expected_body(number, format):
                wrong.append(name.name)

    readers = [threading.Thread(target=reader, args=(seed,)) for seed in range(READERS)]
    for each in readers:
        each.start()
    for each in readers:
        each.join()
    return wrong


@pytest.mark.parametrize("format", ["edf", "cbf"])
@pytest.mark.parametrize("stored", STORED)
def test_it_stays_below_the_bound_under_load(tmp_path: Path, stored: str, format: str) -> None:
    # h5py takes four times a frame for itself: one for each reader is more than the bound already
    frames = READERS if stored == "h5py" else FRAMES
    url, work = scan(tmp_path / "scan.h5", stored, frames, 1), tmp_path / "work"
    options = ("--format", format, "--memory", f"{MEMORY_MB}MB", "--companions", "none")
    with mounted(mount_command(url, work, *options), work):
        assert read_all(work, frames, format) == []
        assert highest_mb(work) < MEMORY_MB


@pytest.mark.parametrize("stored", ["gzip", "bslz4"])
def test_it_stays_below_512_mb_by_default_with_chunks_of_half_of_that(tmp_path: Path, stored: str) -> None:
    url, work = scan(tmp_path / "scan.h5", stored, IN_A_LARGE_CHUNK, IN_A_LARGE_CHUNK), tmp_path / "work"
    with mounted(mount_command(url, work, "--format", "edf", "--companions", "none"), work):
        assert read_all(work, IN_A_LARGE_CHUNK, "edf") == []
        assert highest_mb(work) < DEFAULT_MB
