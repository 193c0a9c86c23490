# SPDX-License-Identifier: MIT
"""Shows on a scan made here, in a minute, that legacy programs get every byte that HDF5 holds.

Makes a small Eiger-like scan, mounts it over a folder by ``fastlegacy mount`` in a process of its own, reads each
frame with fabio, compares it with what h5py reads, and unmounts. Where nothing can be mounted, the same files are
compared through the library.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import EIGER_4M, detector_frames
from fastlegacy.testing.mounts import is_mount_point, mount_command, mounted, reason_for_no_mount

__all__ = ["demo"]

_OPTIONS = ("--format", "edf", "--startangle", "-90", "--stepangle", "0.05")
_FILES = 2

Read = Callable[[int], bytes]
"""Gives a frame's whole file."""

Parse = Callable[[int, bytes], Any]
"""Gives a frame's pixels as fabio reads them."""


@dataclass(slots=True)
class _Outcome:
    """What was compared. Times are in seconds, sizes in bytes."""

    frames: int = 0
    wrong: int = 0
    file_bytes: int = 0
    pixel_bytes: int = 0
    first_s: float = 0.0
    h5py_s: float = 0.0
    start_s: float = 0.0
    again_s: float = 0.0
    result_kept: bool = True


def demo(number: int = 20) -> int:
    """Run the demonstration and print its table.

    Parameters
    ----------
    number : int
        Frames of the scan, at least 2.

    Returns
    -------
    int
        0 if all bytes agree, else 1.
    """
    with tempfile.TemporaryDirectory(prefix="fastlegacy-demo-") as name:
        folder = Path(name)
        print(f"making a scan of {number} frames, {EIGER_4M[0]} x {EIGER_4M[1]} uint32, bitshuffle+LZ4 ...", flush=True)
        url = bliss_scan(folder / "scan", detector_frames(number, EIGER_4M, "uint32"), files=_FILES)
        stored = sum(path.stat().st_size for path in (folder / "scan").rglob("*.h5"))
        reason = reason_for_no_mount()
        if reason is None:
            outcome = _through_a_mount(url, folder / "work")
        else:
            print(f"{reason}: nothing can be mounted here, so the same checks go through the library")
            outcome = _through_the_library(url)
        _print_table(outcome, stored, mounted=reason is None)
    return 1 if outcome.wrong or not outcome.result_kept else 0


def _through_a_mount(url: str, work: Path) -> _Outcome:
    import fabio

    def read(frame: int) -> bytes:
        with open(work / _name(frame), "rb", buffering=0) as file:
            return file.readall()

    def parse(frame: int, _data: bytes) -> Any:
        with fabio.open(str(work / _name(frame))) as image:
            return image.data

    work.mkdir()
    start = time.perf_counter()
    with mounted(mount_command(url, work, *_OPTIONS), work):
        started = time.perf_counter() - start
        outcome = _compare(url, read, parse)
        outcome.start_s = started
        outcome.again_s = _time_of(work.glob("data*.edf"))
        (work / "result.txt").write_text("saved beside the frames\n", encoding="ascii")
    outcome.result_kept = not is_mount_point(work) and os.listdir(work) == ["result.txt"]
    return outcome


def _through_the_library(url: str) -> _Outcome:
    import fabio.edfimage
    import fabio.fabioutils

    from fastlegacy.faces import library

    with library.open(url) as stack:
        tree = library.tree(stack, format="edf")

        def read(frame: int) -> bytes:
            return tree[_name(frame)].read()

        def parse(_frame: int, data: bytes) -> Any:
            return fabio.edfimage.EdfImage().read(fabio.fabioutils.BytesIO(data)).data

        return _compare(url, read, parse)


def _name(frame: int) -> str:
    return f"data{frame + 1:04d}.edf"


def _compare(url: str, read: Read, parse: Parse) -> _Outcome:
    """Compare each frame's file with what h5py reads: fabio's pixels, and the bytes at the file's end."""
    outcome = _Outcome()
    with _h5py_dataset(url) as dataset:
        outcome.frames = len(dataset)
        for frame in range(outcome.frames):
            start = time.perf_counter()
            expected = dataset[frame]
            between = time.perf_counter()
            data = read(frame)
            outcome.first_s += time.perf_counter() - between
            pixels = parse(frame, data)
            outcome.h5py_s += between - start
            wanted = expected.tobytes()
            outcome.file_bytes += len(data)
            outcome.pixel_bytes += len(wanted)
            same = pixels.dtype == expected.dtype and pixels.tobytes() == wanted and data.endswith(wanted)
            if not same:
                outcome.wrong += 1
                print(f"frame {frame} differs from what h5py reads")
    return outcome


@contextmanager
def _h5py_dataset(url: str) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401  (its import registers the filters with h5py)

    path, _, name = url.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        yield file[name]


def _time_of(paths: Iterator[Path]) -> float:
    start = time.perf_counter()
    for path in sorted(paths):
        with open(path, "rb", buffering=0) as file:
            file.readall()
    return time.perf_counter() - start


def _print_table(outcome: _Outcome, stored: int, *, mounted: bool) -> None:
    print()
    _row("HDF5 files on disk", f"{stored / 1e6:.1f} MB")
    _row("the same as EDF files", f"{outcome.file_bytes / 1e6:.1f} MB, {outcome.frames} files")
    if mounted:
        _row("mounted after", f"{outcome.start_s:.2f} s")
    _row("read for the first time", _speed(outcome.first_s, outcome.file_bytes))
    if mounted:
        _row("read again (page cache)", _speed(outcome.again_s, outcome.file_bytes))
    _row("h5py dataset[i]", _speed(outcome.h5py_s, outcome.pixel_bytes))
    if mounted:
        _row("a file saved beside them", "kept" if outcome.result_kept else "LOST")
    good = outcome.frames - outcome.wrong
    _row("frames equal to h5py's", f"{good} of {outcome.frames}, every byte" if good else "none")


def _row(what: str, value: str) -> None:
    print(f"  {what:<28}{value}")


def _speed(seconds: float, size: int) -> str:
    return f"{seconds:.2f} s, {size / seconds / 1e6:.0f} MB/s"
