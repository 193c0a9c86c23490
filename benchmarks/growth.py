# SPDX-License-Identifier: MIT
"""How the cost of a frame grows: with its size, its chunks, and the length of the scan. Draws a plot.

    ./run bench --plot            # writes docs/growth.svg and prints the table

Each point is the best of several rounds on one core, in one process, files in the page cache: data like those of an
Eiger (Poisson background, peaks, gaps), u4, bitshuffle+LZ4. The last picture is the time to open a scan and read its
first frame, through a virtual dataset over files of 1000 frames.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np

import fastlegacy
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.frames import detector_frames

_ROUNDS = 7
_LEAST_S = 0.02


@dataclass(frozen=True)
class Point:
    """One measurement.

    Attributes
    ----------
    picture : str
        The axis that is varied.
    x : float
    who : str
    seconds : float
    """

    picture: str
    x: float
    who: str
    seconds: float


def best(job: Callable[[], object]) -> float:
    """Shortest of several rounds, seconds for one call."""
    job()
    start = time.perf_counter()
    job()
    once = max(time.perf_counter() - start, 1e-9)
    calls = max(1, int(_LEAST_S / once))
    found = once
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            job()
        found = min(found, (time.perf_counter() - start) / calls)
    return found


def write(path: Path, frames: np.ndarray[Any, Any], chunks: tuple[int, int, int]) -> str:
    """Write a stack; return its url."""
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=frames, chunks=chunks, **hdf5plugin.Bitshuffle(cname="lz4"))
    return f"{path}::/data"


def frame_times(url: str, picture: str, x: float) -> Iterator[Point]:
    """Time to decode one frame, and to read its EDF file, by fastlegacy; and to decode it by h5py."""
    cache = fastlegacy.open(url, memory_bytes=1).cache  # nothing is found in a cache: each round decodes
    assert cache.max_bytes == 1
    with fastlegacy.open(url) as stack:
        out = np.empty(stack.shape[1:], stack.dtype)
        middle = len(stack) // 2
        yield Point(picture, x, "fastlegacy", best(lambda: stack.read(middle, out)))
        file = fastlegacy.tree(stack, "edf", companions=())[f"data{middle + 1:04d}.edf"]
        buffer = bytearray(file.size)
        yield Point(picture, x, "fastlegacy, EDF file", best(lambda: file.read_into(buffer)))
    name, _, dataset = url.partition("::")
    with h5py.File(name, "r", rdcc_nbytes=0) as h5:
        dset = h5[dataset]
        yield Point(picture, x, "h5py", best(lambda: dset.read_direct(out, np.s_[middle])))


def frames_of(megapixels: float, number: int = 2) -> np.ndarray[Any, Any]:
    """Frames that look real."""
    side = int((megapixels * 1e6) ** 0.5) // 16 * 16
    return detector_frames(number, (side, side), "u4")


def by_size(folder: Path) -> Iterator[Point]:
    """One chunk for each frame."""
    for megapixels in (0.25, 0.5, 1, 2, 4, 8, 16):
        frames = frames_of(megapixels)
        yield from frame_times(write(folder / "size.h5", frames, (1, *frames.shape[1:])), "megapixels", megapixels)


def by_chunks(folder: Path) -> Iterator[Point]:
    """4 megapixels in stripes."""
    frames = frames_of(4)
    for count in (1, 2, 4, 8, 16):
        chunk = (1, frames.shape[1] // count, frames.shape[2])
        yield from frame_times(write(folder / "chunks.h5", frames, chunk), "chunks per frame", count)


def by_frames_in_chunk(folder: Path) -> Iterator[Point]:
    """Half a megapixel; one frame of a chunk is wanted."""
    frames = detector_frames(100, (704, 704), "u4")
    for count in (1, 2, 5, 10, 20, 50, 100):
        url = write(folder / "frames.h5", frames, (count, *frames.shape[1:]))
        yield from frame_times(url, "frames per chunk", count)


def by_length(folder: Path) -> Iterator[Point]:
    """Open a scan, and read the first frame."""
    frames = detector_frames(1, (64, 64), "u4")
    for count in (10, 100, 1000, 10_000, 100_000):
        files = max(1, count // 1000)
        url = bliss_scan(folder / f"n{count}", frames, files=files, frames_per_file=count // files)

        def ours(url: str = url) -> None:
            with fastlegacy.open(url) as stack:
                stack[0]

        def theirs(url: str = url) -> None:
            name, _, dataset = url.partition("::")
            with h5py.File(name, "r") as h5:
                h5[dataset][0]

        yield Point("frames of the scan", count, "fastlegacy", best(ours))
        yield Point("frames of the scan", count, "h5py", best(theirs))


def table(points: list[Point]) -> str:
    """Milliseconds, a line for each place."""
    lines = []
    for picture in dict.fromkeys(point.picture for point in points):
        here = [point for point in points if point.picture == picture]
        names = list(dict.fromkeys(point.who for point in here))
        lines.append(f"{picture:<20}" + "".join(f"{name:>24}" for name in names) + "   (ms)")
        for x in dict.fromkeys(point.x for point in here):
            times = {point.who: point.seconds * 1e3 for point in here if point.x == x}
            lines.append(f"{x:<20g}" + "".join(f"{times[name]:>24.2f}" for name in names))
        lines.append("")
    return "\n".join(lines)


def draw(points: list[Point], path: Path, title: str) -> None:
    """Draw one picture for each axis into an SVG file."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "fastlegacy"  # the same picture for the same numbers
    from matplotlib import pyplot

    pictures = list(dict.fromkeys(point.picture for point in points))
    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for picture, axis in zip(pictures, axes.flat, strict=True):
        here = [point for point in points if point.picture == picture]
        for who in dict.fromkeys(point.who for point in here):
            line = [(point.x, point.seconds * 1e3) for point in here if point.who == who]
            axis.plot(*zip(*line, strict=True), marker="o", label=who)
        axis.set(xscale="log", yscale="log", xlabel=picture, ylabel="ms")
        axis.set_xticks(sorted({point.x for point in here}), [f"{x:g}" for x in sorted({point.x for point in here})])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, metadata={"Date": None})


def machine() -> str:
    """Name of the processor, and how many cores this process may use."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if os.path.exists("/proc/cpuinfo") else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {len(os.sched_getaffinity(0))} cores"


def main() -> None:
    """Measure, print the table, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--svg", type=Path, default=Path("docs/growth.svg"), help="where to draw (docs/growth.svg)")
    parser.add_argument("--json", type=Path, default=Path("build/growth.json"), help="where to keep the numbers")
    parser.add_argument("--redraw", action="store_true", help="draw from the numbers that were kept")
    args = parser.parse_args()
    if args.redraw:
        kept = json.loads(args.json.read_text(encoding="utf-8"))
        points, name = [Point(**point) for point in kept["points"]], kept["machine"]
    else:
        name = machine()
        with tempfile.TemporaryDirectory() as folder:
            axes = (by_size, by_chunks, by_frames_in_chunk, by_length)
            points = [point for measure in axes for point in measure(Path(folder))]
        args.json.parent.mkdir(parents=True, exist_ok=True)
        kept = {"machine": name, "points": [asdict(point) for point in points]}
        args.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    print(f"{name}; u4, bitshuffle+LZ4, one core, best of {_ROUNDS} rounds\n\n{table(points)}")
    draw(points, args.svg, f"{name}; u4, bitshuffle+LZ4, one core; ./run bench --plot")


if __name__ == "__main__":
    main()
