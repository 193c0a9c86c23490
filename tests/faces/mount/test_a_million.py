# SPDX-License-Identifier: MIT
"""A million files are mounted and listed in less than 100 MB of memory."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import fabio
import h5py
import numpy as np
import pytest

import fastlegacy
from fastlegacy.testing.mounts import mount_command, mounted

pytestmark = [pytest.mark.fuse, pytest.mark.usefixtures("fuse")]

FRAMES = 10**6
MOST_KB = 100_000


def highest_kb(work: Path) -> int:
    """The most memory that the server of a mount has ever had."""
    status = (work / ".fastlegacy" / "status").read_text(encoding="utf-8").splitlines()
    pid = next(line.split()[1] for line in status if line.startswith("process:"))
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


@pytest.fixture
def long_scan(tmp_path: Path) -> str:
    """Url of a million frames, of which the last one is [[0, 1, 2, 3], [4, 5, 6, 7]] and the others are zeros."""
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 2, 4))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    with h5py.File(tmp_path / "long.h5", "w", libver="latest") as file:
        space = h5py.h5s.create_simple((FRAMES, 2, 4))
        dset = h5py.Dataset(h5py.h5d.create(file.id, b"data", h5py.h5t.NATIVE_UINT8, space, plist))
        dset[-1] = np.arange(8).reshape(2, 4)
    return f"{tmp_path / 'long.h5'}::/data"


def test_a_million_files_in_less_than_100_mb(long_scan: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with mounted(mount_command(long_scan, work), work):
        with os.scandir(work) as entries:
            assert sum(entry.name.endswith(".edf") for entry in entries) == FRAMES
        # from here on it is known where all chunks are
        assert (work / f"data{FRAMES}.edf").read_bytes()[-8:] == bytes(range(8))
        assert highest_kb(work) < MOST_KB


def test_a_million_encoded_files_of_known_sizes_in_less_than_100_mb(long_scan: str, tmp_path: Path) -> None:
    work = tmp_path / "work"
    with fastlegacy.open(long_scan) as stack, fastlegacy.tree(stack, "cbf", companions=()) as tree:
        sizes = tree._sizes
        zeros, last = sizes.get(0), sizes.get(FRAMES - 1)
        assert zeros.size == last.size == 8  # a byte for each difference
        for frame in range(FRAMES):
            sizes.put(frame, zeros)
    with mounted(mount_command(long_scan, work, "--format", "cbf", "--companions", "none"), work):
        with os.scandir(work) as entries:
            assert sum(entry.name.endswith(".cbf") for entry in entries) == FRAMES
        paths = [work / "data0001.cbf", work / f"data{FRAMES}.cbf"]
        for path in paths:
            assert path.stat().st_size == len(path.read_bytes())
        assert fabio.open(str(paths[1])).data.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
        assert highest_kb(work) < MOST_KB


def test_going_back_in_a_listing(tmp_path: Path) -> None:
    """``telldir`` and ``seekdir``, as Samba uses them: also after the end was seen."""
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["data"] = np.zeros((3000, 2, 2), "u2")
    work = tmp_path / "work"
    libc = ctypes.CDLL(None, use_errno=True)
    libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
    libc.telldir.restype = ctypes.c_long
    libc.opendir.argtypes, libc.seekdir.argtypes = [ctypes.c_char_p], [ctypes.c_void_p, ctypes.c_long]
    libc.readdir.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = libc.rewinddir.argtypes = [ctypes.c_void_p]
    name_at = 8 + 8 + 2 + 1  # in struct dirent: inode, place, length, type

    def names(folder: int, places: list[int]) -> list[bytes]:
        found = []
        while True:
            places.append(libc.telldir(folder))
            entry = libc.readdir(folder)
            if not entry:
                return found
            found.append(ctypes.string_at(entry + name_at))

    with mounted(mount_command(f"{tmp_path / 'scan.h5'}::/data", work), work):
        folder = libc.opendir(os.fsencode(work))
        places: list[int] = []
        whole = names(folder, places)
        assert len(set(whole)) == len(whole) == 2 + 3000
        for number in (2500, 1, 3000, 3001, 3002):
            libc.seekdir(folder, places[number])
            assert names(folder, []) == whole[number:]
        libc.rewinddir(folder)
        assert names(folder, []) == whole
        libc.closedir(folder)
