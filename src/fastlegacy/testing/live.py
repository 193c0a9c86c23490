# SPDX-License-Identifier: MIT
"""A detector at work: another process writes a scan frame by frame, and stops after each step until told to go on.

With it a reader of files that grow is tested without waiting: after each step it is known what is in the files.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Literal, Self

import h5py
import numpy as np
from numpy.typing import NDArray

from fastlegacy.testing.files import Array, StrPath, create_file
from fastlegacy.testing.filters import filter_arguments
from fastlegacy.testing.storage import stored_chunk

__all__ = ["CONVENTIONS", "LiveScan"]

CONVENTIONS = ("bliss", "dectris", "swmr", "plain", "contiguous")

_LIMA = "/entry_0000/measurement/data"
_END_SECONDS = 30.0


class LiveScan:
    """A scan that is being written by another process, from ``with`` on until its end.

    Conventions: ``bliss`` is a master with a virtual dataset over LImA's files, each of which is made, with all its
    frames allocated on paper, when the scan gets there; its frames are stored one by one. ``dectris`` is a master with
    links to blocks, each of which appears as a whole. ``swmr`` and ``plain`` are one dataset that gets longer, with and
    without HDF5's single-writer mode. ``contiguous`` is one dataset without chunks.

    Parameters
    ----------
    folder : path-like
        Is created.
    frames : ndarray, shape (n, ny, nx)
        The scan when it is complete.
    convention : str
        One of `CONVENTIONS`.
    each : int
        Frames of a file of LImA, or of a block of Dectris.
    virtual : {"start", "end"}
        When bliss writes its virtual dataset.
    filters : str
        Of the datasets with the pixels.
    chunk : int
        Frames of a chunk, for ``swmr`` and ``plain``.
    libver : str
        Of the file that is kept open, one of `fastlegacy.testing.files.LIBVERS`; ``swmr`` is always "latest".

    Attributes
    ----------
    url : str
        Of the stack; for ``dectris`` of the group that the blocks are in.
    blocks : list of (str, int)
        For ``dectris``: path of each block, and its frames.
    process : int
        Id of the writing process.
    """

    def __init__(
        self,
        folder: StrPath,
        frames: Array,
        convention: str,
        *,
        each: int = 4,
        virtual: Literal["start", "end"] = "start",
        filters: str = "bslz4",
        chunk: int = 1,
        libver: str = "default",
    ) -> None:
        if convention not in CONVENTIONS:
            raise ValueError(f"convention={convention!r} is none of {CONVENTIONS}")
        folder = os.path.abspath(folder)
        os.makedirs(folder, exist_ok=True)
        self._total = len(frames)
        self._convention = convention
        self._each = each
        self._told = 0
        options = {"each": each, "virtual": virtual, "filters": filters, "chunk": chunk, "libver": libver}
        self._begin = (folder, frames, convention, options)
        self.blocks = (
            [(f"/entry/data/data_{i + 1:06d}", n) for i, n in enumerate(_lengths(self._total, each))]
            if convention == "dectris"
            else []
        )
        self.url = os.path.join(folder, _URLS[convention])
        self.process = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-c", "from fastlegacy.testing.live import _work; _work()"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.process = self._process.pid
        try:
            self._ask(self._begin)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._process.stdout.close()

    def write(self, n: int = 1) -> None:
        """Write the next frames. They are in the files, and flushed, when this returns."""
        self._ask(("write", n))
        self._told = min(self._total, self._told + n)

    def finish(self) -> None:
        """End the scan: everything that is still to be written is, and all files are closed."""
        self._ask(("finish", 0))
        if self._convention == "dectris":
            self._told = self._total

    def kill(self) -> None:
        """Let the writer die at once, as it would without power."""
        self._process.kill()
        self._process.wait()

    @property
    def written(self) -> NDArray[np.bool_]:
        """Which frames a reader has to see by now: ndarray of bool, shape (n,)."""
        seen = self._told
        if self._convention == "dectris" and seen < self._total:
            seen -= seen % self._each
        return np.arange(self._total) < seen

    def _ask(self, message: Any) -> None:
        assert self._process.stdin
        assert self._process.stdout
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()
        answer = pickle.load(self._process.stdout)
        if answer:
            raise RuntimeError(f"the writer has failed:\n{answer}")


_URLS = {
    "bliss": "sample_0001.h5::/1.1/measurement/eiger",
    "dectris": "series_master.h5::/entry/data",
    "swmr": "swmr.h5::/entry/data/data",
    "plain": "plain.h5::/entry/data/data",
    "contiguous": "contiguous.h5::/entry/data/data",
}

_Writer = Iterator[None]


def _work() -> None:
    """What the other process does: a message comes in, a step is done, an answer goes out."""
    messages, answers = sys.stdin.buffer, sys.stdout.buffer
    writer: Any = None
    while True:
        try:
            message = pickle.load(messages)
        except EOFError:
            return
        answer = ""
        try:
            if writer is None:
                folder, frames, convention, options = message
                writer = _WRITERS[convention](folder, frames, **options)
                next(writer)
            elif message[0] == "write":
                for _ in range(message[1]):
                    next(writer, None)
            else:
                writer.close()
        except Exception:
            answer = traceback.format_exc()
        pickle.dump(answer, answers)
        answers.flush()


def _lengths(total: int, each: int) -> list[int]:
    return [min(each, total - first) for first in range(0, total, each)]


def _bliss(folder: str, frames: Array, *, each: int, virtual: str, filters: str, libver: str, **_: Any) -> _Writer:
    """Each ``next`` is one frame more; closing the generator ends the scan, as for the other writers here."""
    shape, detector = frames.shape[1:], "eiger"
    os.makedirs(os.path.join(folder, "scan0001"))
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    sources = []
    for i, length in enumerate(_lengths(len(frames), each)):
        sources.append((os.path.join("scan0001", f"{detector}_{i:04d}.h5"), length))
        source = h5py.VirtualSource(sources[-1][0], _LIMA, (length, *shape), frames.dtype)
        layout[i * each : i * each + length] = source
    with create_file(os.path.join(folder, "sample_0001.h5"), libver=libver) as master:
        scan = _begin_scan(master, detector)
        if virtual == "start":
            scan.create_virtual_dataset(f"instrument/{detector}/data", layout)
        master.flush()
        try:
            yield
            for i, (source, length) in enumerate(sources):
                part = frames[i * each : i * each + length]
                yield from _lima(os.path.join(folder, source), part, detector, filters)
        finally:
            if virtual == "end":
                scan.create_virtual_dataset(f"instrument/{detector}/data", layout)
            scan["end_time"] = "2026-03-01T12:01:00.000000+01:00"


def _begin_scan(master: Any, detector: str) -> Any:
    master.attrs["creator"] = "blissdata"
    scan = master.create_group("1.1")
    scan.attrs["NX_class"] = "NXentry"
    scan["title"] = "fscan"
    scan["start_time"] = "2026-03-01T12:00:00.000000+01:00"
    scan[f"instrument/{detector}/acq_parameters/acq_expo_time"] = 0.01
    scan[f"measurement/{detector}"] = h5py.SoftLink(f"/1.1/instrument/{detector}/data")
    return scan


def _lima(path: str, frames: Array, detector: str, filters: str) -> _Writer:
    shape = frames.shape[1:]
    home = f"/entry_0000/ESRF-ID11/{detector}"
    with create_file(path) as file:
        file.attrs.update({"NX_class": "NXroot", "creator": "LIMA-1.10.0", "default": "entry_0000"})
        data = file.create_dataset(
            f"{home}/data", frames.shape, frames.dtype, chunks=(1, *shape), maxshape=(None, *shape),
            **filter_arguments(filters),
        )  # fmt: skip
        data.attrs["interpretation"] = "image"
        file[_LIMA] = h5py.SoftLink(f"{home}/data")
        for i, frame in enumerate(frames):
            data.id.write_direct_chunk((i, *(0 for _ in shape)), stored_chunk(frame[None], filters))
            file.flush()
            yield


def _dectris(folder: str, frames: Array, *, each: int, filters: str, libver: str, **_: Any) -> _Writer:
    with create_file(os.path.join(folder, "series_master.h5"), libver=libver) as master:
        for i in range(len(_lengths(len(frames), each))):
            name = f"data_{i + 1:06d}"
            master[f"entry/data/{name}"] = h5py.ExternalLink(f"series_{name}.h5", "/entry/data/data")
        master["entry/instrument/detector/description"] = b"Dectris EIGER2 CdTe 4M"
        master["entry/instrument/detector/detectorSpecific/nimages"] = np.uint32(len(frames))
        master["entry/instrument/detector/detectorSpecific/ntrigger"] = np.uint32(1)
    count, done = 0, 0
    try:
        yield
        for count in range(1, len(frames) + 1):
            if count % each == 0 or count == len(frames):
                _write_block(folder, frames, done, count, filters, each)
                done = count
            yield
    finally:
        for first in range(done, len(frames), each):
            _write_block(folder, frames, first, min(first + each, len(frames)), filters, each)


def _write_block(folder: str, frames: Array, first: int, stop: int, filters: str, each: int) -> None:
    """A block under its name is complete: it is written under another one."""
    path = os.path.join(folder, f"series_data_{first // each + 1:06d}.h5")
    with create_file(f"{path}.part") as file:
        options = filter_arguments(filters)
        part = frames[first:stop]
        data = file.create_dataset("entry/data/data", data=part, chunks=(1, *frames.shape[1:]), **options)
        data.attrs["image_nr_low"] = np.int32(first + 1)
        data.attrs["image_nr_high"] = np.int32(stop)
    os.rename(f"{path}.part", path)


def _swmr(folder: str, frames: Array, *, filters: str, chunk: int, **_: Any) -> _Writer:
    yield from _resized(os.path.join(folder, "swmr.h5"), frames, filters, chunk, "latest", swmr=True)


def _plain(folder: str, frames: Array, *, filters: str, chunk: int, libver: str, **_: Any) -> _Writer:
    yield from _resized(os.path.join(folder, "plain.h5"), frames, filters, chunk, libver, swmr=False)


def _resized(path: str, frames: Array, filters: str, chunk: int, libver: str, *, swmr: bool) -> _Writer:
    shape = frames.shape[1:]
    with create_file(path, libver=libver) as file:
        data = file.create_dataset(
            "entry/data/data", (0, *shape), frames.dtype, chunks=(chunk, *shape), maxshape=(None, *shape),
            **filter_arguments(filters),
        )  # fmt: skip
        if swmr:
            file.swmr_mode = True
        file.flush()
        yield
        for i, frame in enumerate(frames):
            data.resize(i + 1, axis=0)
            data[i] = frame
            file.flush()
            yield


def _contiguous(folder: str, frames: Array, *, libver: str, **_: Any) -> _Writer:
    with create_file(os.path.join(folder, "contiguous.h5"), libver=libver) as file:
        data = file.create_dataset("entry/data/data", frames.shape, frames.dtype)
        file.flush()
        yield
        for i, frame in enumerate(frames):
            data[i] = frame
            file.flush()
            yield


_WRITERS: dict[str, Callable[..., _Writer]] = {
    "bliss": _bliss,
    "dectris": _dectris,
    "swmr": _swmr,
    "plain": _plain,
    "contiguous": _contiguous,
}
