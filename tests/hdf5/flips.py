# SPDX-License-Identifier: MIT
"""Flips bits of each byte of a small HDF5 file: true pixels, an error, wrong pixels, a hang or a crash.

Run as a program it does so for all kinds of files, with every byte, and prints a table: ``python tests/hdf5/flips.py``.
A flip is tried in a process of its own group of flips, which is ended when it does not come back in time.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.nxmx import nxmx_scan

PATTERNS = (0x01, 0x80, 0xFF)
LIMIT_S = 20.0
_EACH = 400  # flips that a process tries before a new one takes over: HDF5 may keep something of a damaged file

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Sample:
    """A file of which bytes are flipped, how it is read, and where in it pixels are stored."""

    path: Path
    url: str
    frames: Array
    stored: tuple[tuple[int, int], ...]

    def is_pixel(self, place: int) -> bool:
        """Whether a byte belongs to a stored chunk."""
        return any(at <= place < at + size for at, size in self.stored)


@dataclass
class Outcome:
    """How often each thing happened, and the flips (place, pattern) of what must not."""

    counts: Counter[str] = field(default_factory=Counter)
    flips: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def add(self, what: str, place: int, pattern: int) -> None:
        """Count a flip."""
        self.counts[what] += 1
        if what not in ("true", "error"):
            self.flips.setdefault(what, []).append((place, pattern))


# ---------------------------------------------------------------------------------------------------- files


def frames_of(n: int = 3, shape: tuple[int, int] = (16, 20)) -> Array:
    """Counts as of a detector: most of them small."""
    rng = np.random.default_rng(3)
    frames = rng.poisson(2.0, (n, *shape)).astype("<u2")
    frames[:, 3, 4:7] = 3000
    return frames


KINDS: dict[str, dict[str, Any]] = {
    "bslz4": dict(hdf5plugin.Bitshuffle()),
    "bszstd": dict(hdf5plugin.Bitshuffle(cname="zstd")),
    "gzip": {"compression": "gzip", "shuffle": True},
    "zstd": dict(hdf5plugin.Zstd()),
    "lz4": dict(hdf5plugin.LZ4()),
    "blosc": dict(hdf5plugin.Blosc(cname="lz4")),
    "none": {},
}


def _nxmx(folder: Path, frames: Array) -> tuple[Path, str]:
    url = nxmx_scan(folder, frames)
    return Path(url.partition("::")[0]), url


def _bliss(folder: Path, frames: Array) -> tuple[Path, str]:
    master = bliss_dataset(folder, {"1.1": frames})
    return Path(master), f"{master}::/1.1/measurement/eiger"


BUILT: dict[str, Callable[[Path, Array], tuple[Path, str]]] = {"nxmx": _nxmx, "bliss": _bliss}
"""Masters of conventions, with all that they say of an experiment; the frames are in other files."""


def make(folder: Path, kind: str) -> Sample:
    """Write a file of a kind: ``FILTER[+fletcher32][+latest]``, ``contiguous``, ``virtual[+latest]``, one of BUILT."""
    name, *more = kind.split("+")
    frames = frames_of()
    if name in BUILT:
        path, url = BUILT[name](folder, frames)
        return Sample(path, url, frames, ())
    path = folder / "a.h5"
    latest = "latest" in more
    if name == "virtual":
        return _virtual(folder, frames, latest=latest)
    chunks: Any = None if name == "contiguous" else (1, *frames.shape[1:])
    filters = dict(KINDS.get(name, {}))
    if "fletcher32" in more:
        filters["fletcher32"] = True
    with h5py.File(path, "w", libver="latest" if latest else "earliest") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        entry["title"] = "a title"
        dset = entry.create_dataset("data", data=frames, chunks=chunks, **filters)
        dset.attrs["interpretation"] = "image"
    return Sample(path, f"{path}::/entry/data", frames, _stored(path, "/entry/data"))


def _stored(path: Path, dataset: str) -> tuple[tuple[int, int], ...]:
    with h5py.File(path) as file:
        dset = file[dataset]
        if not dset.chunks:
            return ((dset.id.get_offset(), dset.nbytes),)
        infos = [dset.id.get_chunk_info(i) for i in range(dset.id.get_num_chunks())]
    return tuple((info.byte_offset, info.size) for info in infos)


def _virtual(folder: Path, frames: Array, *, latest: bool) -> Sample:
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for i, frame in enumerate(frames):
        with h5py.File(folder / f"source_{i}.h5", "w") as file:
            file.create_dataset("d", data=frame[None], chunks=(1, *frame.shape), **KINDS["bslz4"])
        layout[i] = h5py.VirtualSource(f"source_{i}.h5", "d", (1, *frames.shape[1:]))[0]
    path = folder / "a.h5"
    with h5py.File(path, "w", libver="latest" if latest else ("earliest", "v110")) as file:
        file.create_group("entry").attrs["NX_class"] = "NXentry"
        file.create_virtual_dataset("entry/data", layout, fillvalue=0)
    return Sample(path, f"{path}::/entry/data", frames, ())


# ---------------------------------------------------------------------------------------------------- one flip


def by_fastlegacy(url: str, frames: Array) -> str:
    """Read as a mount does: the stack, what its convention says of it, all of its frames."""
    from fastlegacy.errors import FastlegacyError
    from fastlegacy.hdf5.files import Context
    from fastlegacy.sources.find import open_stack

    try:
        with open_stack(url, context=Context(1 << 20)) as stack:
            if stack.shape != frames.shape:
                return "other shape"
            if stack.dtype != frames.dtype:
                return "other type"
            there = [np.array_equal(stack[i], frames[i]) for i in range(len(frames))]
    except (FastlegacyError, MemoryError):
        return "error"
    return "true" if all(there) else "wrong"


def _work(link: Connection, path: Path, url: str, frames: Array, flips: list[tuple[int, int]]) -> None:
    logging.disable(logging.CRITICAL)
    data = path.read_bytes()
    for number, (place, pattern) in enumerate(flips):
        flipped = bytearray(data)
        flipped[place] ^= pattern
        try:
            path.unlink(missing_ok=True)  # another inode: HDF5 must not take it for the file before
            path.write_bytes(flipped)
            link.send((number, None))
            link.send((number, by_fastlegacy(url, frames)))
        except Exception as exc:  # whatever it is, it is an outcome
            link.send((number, f"exception {type(exc).__name__}"))
    link.close()


def _try_some(sample: Sample, flips: list[tuple[int, int]], limit_s: float) -> Iterator[tuple[int, int, str]]:
    """Outcomes of some flips; a process that hangs or dies is replaced behind the flip that did it."""
    spawn = get_context("fork")
    while flips:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as copy:
            folder = Path(shutil.copytree(sample.path.parent, Path(copy) / "flip"))
            path = folder / sample.path.name
            here, there = spawn.Pipe(duplex=False)
            url = sample.url.replace(str(sample.path), str(path))
            worker = spawn.Process(target=_work, args=(there, path, url, sample.frames, flips[:_EACH]))
            worker.start()
            there.close()
            number = -1
            failed = ""
            done = 0
            while done < min(len(flips), _EACH) and not failed:
                try:
                    failed = "" if here.poll(limit_s) else "hang"
                    what = None if failed else here.recv()
                except EOFError:
                    failed = "crash"
                    what = None
                if what is not None:
                    number, outcome = what
                    if outcome is not None:
                        done = number + 1
                        yield (*flips[number], outcome)
            if failed:
                yield (*flips[done], failed)
                done += 1
                worker.kill()
            worker.join()
            flips = flips[done:]


def campaign(sample: Sample, flips: Sequence[tuple[int, int]], limit_s: float = LIMIT_S) -> Outcome:
    """Try flips (place, pattern) of a file, one at a time."""
    outcome = Outcome()
    for place, pattern, what in _try_some(sample, list(flips), limit_s):
        where = "" if what in ("true", "error") else " in pixels" if sample.is_pixel(place) else " in structure"
        outcome.add(what + where, place, pattern)
    return outcome


def all_flips(sample: Sample, patterns: Iterable[int] = ()) -> list[tuple[int, int]]:
    """Every byte of a file with every pattern; without patterns with one bit of each byte, another one each time."""
    places = range(sample.path.stat().st_size)
    patterns = tuple(patterns)
    return [(place, pattern) for place in places for pattern in patterns or (1 << (place * 5 + 3) % 8,)]


def pixel_bytes(sample: Sample) -> int:
    """Bytes of stored chunks."""
    return sum(size for _, size in sample.stored)


ALL = (
    *KINDS,
    *(f"{name}+fletcher32" for name in ("bslz4", "gzip", "none")),
    *(f"{name}+latest" for name in ("bslz4", "none")),
    "bslz4+fletcher32+latest",
    "contiguous",
    "virtual",
    "virtual+latest",
)


def main() -> None:
    """Print a table of all kinds, or of those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=ALL)
    parser.add_argument("--all", action="store_true", help="three patterns for each byte, instead of a single bit")
    parser.add_argument("--show", action="store_true", help="list the flips that gave something wrong")
    args = parser.parse_args()
    show: Callable[..., None] = print
    show(f"{'kind':<26} {'bytes':>6} {'of pixels':>9}  outcomes")
    for kind in args.kinds:
        with tempfile.TemporaryDirectory() as folder:
            sample = make(Path(folder), kind)
            start = time.monotonic()
            outcome = campaign(sample, all_flips(sample, PATTERNS if args.all else ()))
            text = ", ".join(f"{what}: {n}" for what, n in sorted(outcome.counts.items()))
            size = sample.path.stat().st_size
            show(f"{kind:<26} {size:6} {pixel_bytes(sample):9}  {text}  ({time.monotonic() - start:.0f} s)")
            for what, flips in outcome.flips.items() if args.show else ():
                if "pixels" not in what:
                    show(f"    {what}: {' '.join(f'{place:#x}^{pattern:02x}' for place, pattern in flips)}")
            sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
    main()
