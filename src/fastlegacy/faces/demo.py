# SPDX-License-Identifier: MIT
"""Shows on a scan made here, in a minute, that legacy programs get every pixel that HDF5 holds.

Makes a small Eiger-like scan, mounts it as EDF and CBF files by ``fastlegacy mount`` in a process of its own, reads
each frame with fabio, compares it with what h5py reads, and unmounts. Where nothing can be mounted, the same files are
compared through the library.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import EIGER_4M, detector_frames
from fastlegacy.testing.mounts import is_mount_point, mount_command, mounted, reason_for_no_mount

__all__ = ["demo"]

_FORMATS = ("edf", "cbf")
_OPTIONS = ("--format", ",".join(_FORMATS), "--startangle", "-90", "--stepangle", "0.05")
_FILES = 2

Read = Callable[[str], bytes]
"""Gives a whole file by its path in the folder."""

Parse = Callable[[str, bytes], Any]
"""Gives the pixels of a file as fabio reads them."""


@dataclass(slots=True)
class _Outcome:
    """What was compared. Times are in seconds, sizes in bytes; mappings are by format."""

    frames: int = 0
    wrong: int = 0
    file_bytes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FORMATS, 0))
    pixel_bytes: int = 0
    first_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_FORMATS, 0.0))
    h5py_s: float = 0.0
    start_s: float = 0.0
    sizes_s: float = 0.0
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
        0 if all pixels agree, else 1.
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

    def read(path: str) -> bytes:
        with open(work / path, "rb", buffering=0) as file:
            return file.readall()

    def parse(path: str, _data: bytes) -> Any:
        with fabio.open(str(work / path)) as image:
            return image.data

    work.mkdir()
    # the scan is gone afterwards: nobody needs the sizes of its files again
    command = ["env", "FASTLEGACY_CACHE=none", *mount_command(url, work, *_OPTIONS)]
    start = time.perf_counter()
    with mounted(command, work):
        started = time.perf_counter()
        size = sum(path.stat().st_size for path in sorted((work / "cbf").iterdir()))
        measured = time.perf_counter()
        outcome = _compare(url, read, parse)
        outcome.start_s, outcome.sizes_s = started - start, measured - started
        if size != outcome.file_bytes["cbf"]:
            print("the sizes of the CBF files are not what was read from them")
            outcome.wrong = outcome.frames
        outcome.again_s = _time_of((work / "edf").glob("data*.edf"))
        (work / "result.txt").write_text("saved beside the frames\n", encoding="ascii")
    outcome.result_kept = not is_mount_point(work) and os.listdir(work) == ["result.txt"]
    return outcome


def _through_the_library(url: str) -> _Outcome:
    import fabio.cbfimage
    import fabio.edfimage
    import fabio.fabioutils

    from fastlegacy.faces import library

    readers = {"edf": fabio.edfimage.EdfImage, "cbf": fabio.cbfimage.CbfImage}
    with library.open(url) as stack:
        files = library.tree(stack, format=_FORMATS)

        def read(path: str) -> bytes:
            return files[path].read()

        def parse(path: str, data: bytes) -> Any:
            return readers[path[-3:]]().read(fabio.fabioutils.BytesIO(data)).data

        return _compare(url, read, parse)


def _compare(url: str, read: Read, parse: Parse) -> _Outcome:
    """Compare each frame's files with what h5py reads: fabio's pixels, and the bytes at the end of an EDF file."""
    outcome = _Outcome()
    with _h5py_dataset(url) as dataset:
        outcome.frames = len(dataset)
        for frame in range(outcome.frames):
            start = time.perf_counter()
            expected = dataset[frame]
            outcome.h5py_s += time.perf_counter() - start
            outcome.pixel_bytes += expected.nbytes
            wrong = [name for name in _FORMATS if not _is_same(outcome, name, frame, expected, read, parse)]
            outcome.wrong += bool(wrong)
            if wrong:
                print(f"frame {frame} differs from what h5py reads: {', '.join(wrong)}")
    return outcome


def _is_same(outcome: _Outcome, name: str, frame: int, expected: Any, read: Read, parse: Parse) -> bool:
    path = f"{name}/data{frame + 1:04d}.{name}"
    start = time.perf_counter()
    data = read(path)
    outcome.first_s[name] += time.perf_counter() - start
    outcome.file_bytes[name] += len(data)
    if name == "cbf":
        # in the scan all bits of a masked pixel are set; CBF files for XDS have -1 there
        expected = np.where(expected == np.iinfo(expected.dtype).max, -1, expected.astype("i4")).astype("i4")
    pixels = parse(path, data)
    same: bool = pixels.dtype == expected.dtype and pixels.tobytes() == expected.tobytes()
    return same and (name == "cbf" or data.endswith(expected.tobytes()))


@contextmanager
def _h5py_dataset(url: str) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401  (its import registers the filters with h5py)

    path, _, name = url.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        yield file[name]


def _time_of(paths: Iterable[Path]) -> float:
    start = time.perf_counter()
    for path in sorted(paths):
        with open(path, "rb", buffering=0) as file:
            file.readall()
    return time.perf_counter() - start


def _print_table(outcome: _Outcome, stored: int, *, mounted: bool) -> None:
    print()
    _row("HDF5 files on disk", f"{stored / 1e6:.1f} MB")
    for name in _FORMATS:
        _row(f"the same as {name.upper()} files", f"{outcome.file_bytes[name] / 1e6:.1f} MB, {outcome.frames} files")
    if mounted:
        _row("mounted after", f"{outcome.start_s:.2f} s")
        _row("first `ls -l` of the CBF", f"{outcome.sizes_s:.2f} s, all sizes exact")
    for name in _FORMATS:
        _row(f"{name.upper()} read for the first time", _speed(outcome.first_s[name], outcome.pixel_bytes))
    if mounted:
        _row("EDF again (page cache)", _speed(outcome.again_s, outcome.pixel_bytes))
    _row("h5py dataset[i]", _speed(outcome.h5py_s, outcome.pixel_bytes))
    if mounted:
        _row("a file saved beside them", "kept" if outcome.result_kept else "LOST")
    good = outcome.frames - outcome.wrong
    _row("frames equal to h5py's", f"{good} of {outcome.frames}, every pixel of both" if good else "none")


def _row(what: str, value: str) -> None:
    print(f"  {what:<30}{value}")


def _speed(seconds: float, size: int) -> str:
    return f"{seconds:.2f} s, {size / seconds / 1e6:.0f} MB/s of pixels"
