# SPDX-License-Identifier: MIT
"""Frames of 4 megapixels from stored chunks into an array: whole, in part, on all cores, sparse, through every codec.

Files are in the page cache, and nothing decoded is kept: each round decodes.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray

import fastlegacy
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import EIGER_4M, detector_frames, detector_mask

Note: TypeAlias = Callable[[str, str, int], None]

FRAME = 2
FRAMES = 4
RANGE = 1 << 20
CUT = 10
CODECS = ["bszstd", "bitshuffle", "lz4", "shuffle+lz4", "gzip", "shuffle+gzip", "zstd", "shuffle+zstd", "blosc-lz4"]
CODECS += ["blosc-zstd-bitshuffle", "blosc2-zstd"]
LZ4_BLOCK = 8192
"""Bytes of a block of bitshuffle, where nobody says otherwise."""


def rival(name: str) -> Any:
    """Return a module, or skip."""
    return pytest.importorskip(name, reason=f"{name} is not installed (extra `bench`)", exc_type=ImportError)


def lz4_alone(folder: Path) -> Callable[[NDArray[np.uint8], int, int], int]:
    """LZ4 of hdf5plugin's library on the blocks of a chunk, ``(chunk, first, number)``, in a loop in C."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler, to call LZ4 in a loop")
    library = folder / "lz4_alone.so"
    source = Path(__file__).with_name("lz4_alone.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    loop = ctypes.CDLL(str(library)).lz4_alone
    path = hdf5plugin.get_config().registered_filters["bshuf"]
    lz4 = ctypes.cast(ctypes.CDLL(path).LZ4_decompress_safe, ctypes.c_void_p)

    def run(chunk: NDArray[np.uint8], first: int, number: int) -> int:
        data = ctypes.c_void_p(chunk.ctypes.data)
        return int(loop(lz4, data, ctypes.c_size_t(chunk.size), LZ4_BLOCK, first, number))

    return run


@pytest.fixture(params=["uint16", "uint32"])
def dtype(request: pytest.FixtureRequest) -> str:
    """What detectors of this kind write."""
    return str(request.param)


@pytest.fixture
def url(dtype: str, make_stack: Callable[[str], str]) -> str:
    """A stack, bitshuffle+LZ4."""
    return make_stack(dtype)


@pytest.fixture
def dataset(url: str) -> Iterator[Any]:
    """The stack, as h5py has it."""
    path, _, name = url.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        yield file[name]


@pytest.fixture
def stack(url: str) -> Iterator[fastlegacy.Stack]:
    """The stack; no room is there for what was decoded."""
    with fastlegacy.open(url, memory_bytes=16 << 20) as opened:
        yield opened


@pytest.fixture
def one_core() -> Iterator[None]:
    """Keep this process on one core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


def chunk_of(dataset: Any, frame: int = FRAME) -> NDArray[np.uint8]:
    """Stored bytes of a frame."""
    return np.frombuffer(dataset.id.read_direct_chunk((frame, 0, 0))[1], np.uint8)


# ------------------------------------------------------------------------------------------------ whole frames


@pytest.mark.usefixtures("one_core")
class TestWholeFrame:
    """A frame of bitshuffle+LZ4 into the caller's array."""

    def test_fastlegacy(self, benchmark: Any, note: Note, stack: fastlegacy.Stack, dataset: Any) -> None:
        out = np.empty(stack.shape[1:], stack.dtype)
        note(f"decode one frame, {stack.dtype}", "fastlegacy", out.nbytes)
        benchmark(stack.read, FRAME, out=out)
        np.testing.assert_array_equal(out, dataset[FRAME])

    def test_lz4_alone(self, benchmark: Any, note: Note, dataset: Any, tmp_path: Path) -> None:
        """The limit: the same blocks, not transposed, always into the same 8 KiB."""
        run, chunk = lz4_alone(tmp_path), chunk_of(dataset)
        blocks = dataset[FRAME].nbytes // LZ4_BLOCK
        note(f"decode one frame, {dataset.dtype}", "LZ4 alone", blocks * LZ4_BLOCK)
        assert benchmark(run, chunk, 0, blocks) == blocks

    def test_h5py_read_direct(self, benchmark: Any, note: Note, dataset: Any) -> None:
        """``dataset.read_direct(array, np.s_[i])``: no new memory."""
        out = np.empty(dataset.shape[1:], dataset.dtype)
        note(f"decode one frame, {dataset.dtype}", "h5py read_direct", out.nbytes)
        benchmark(dataset.read_direct, out, np.s_[FRAME])
        np.testing.assert_array_equal(out, dataset[FRAME])

    def test_h5py_index(self, benchmark: Any, note: Note, dataset: Any) -> None:
        """``dataset[i]``, as most programs do it."""
        note(f"decode one frame, {dataset.dtype}", "h5py dataset[i]", dataset[FRAME].nbytes)
        assert benchmark(dataset.__getitem__, FRAME).shape == dataset.shape[1:]

    def test_bitshuffle(self, benchmark: Any, note: Note, dataset: Any) -> None:
        """The package ``bitshuffle``, from bytes in memory."""
        decode = rival("bitshuffle").decompress_lz4
        body, frame = chunk_of(dataset)[12:], dataset[FRAME]
        note(f"decode one frame, {dataset.dtype}", "bitshuffle", frame.nbytes)
        out = benchmark(decode, body, frame.shape, frame.dtype, LZ4_BLOCK // frame.itemsize)
        np.testing.assert_array_equal(out, frame)


@pytest.mark.usefixtures("one_core")
class TestRange:
    """1 MiB of a frame into memory that stays in the L2 cache, each round the next one."""

    def test_fastlegacy(self, benchmark: Any, note: Note, dtype: str, stack: fastlegacy.Stack, dataset: Any) -> None:
        pixels = min(RANGE // stack.dtype.itemsize, stack.shape[1] * stack.shape[2] // 2)
        out = np.empty(pixels, stack.dtype)
        starts = itertools.cycle(range(0, stack.shape[1] * stack.shape[2] - pixels, pixels))
        note(f"1 MiB of a frame, {dtype}", "fastlegacy", out.nbytes)
        benchmark(lambda: stack.core.read(next(starts), out.view(np.uint8)))
        stack.core.read(pixels, out.view(np.uint8))
        np.testing.assert_array_equal(out, dataset[0].reshape(-1)[pixels : 2 * pixels])

    def test_lz4_alone(self, benchmark: Any, note: Note, dtype: str, dataset: Any, tmp_path: Path) -> None:
        run, chunk = lz4_alone(tmp_path), chunk_of(dataset, 0)
        whole = dataset[0].nbytes // LZ4_BLOCK
        blocks = min(RANGE // LZ4_BLOCK, whole // 2)
        firsts = itertools.cycle(range(0, whole - blocks, max(1, blocks)))
        note(f"1 MiB of a frame, {dtype}", "LZ4 alone", blocks * LZ4_BLOCK)
        assert benchmark(lambda: run(chunk, next(firsts), blocks)) == blocks


class TestAllCores:
    """``read_frames`` on one core and on all."""

    @pytest.mark.parametrize("threads", [1, None])
    def test_read_frames(self, benchmark: Any, note: Note, stack: fastlegacy.Stack, threads: int | None) -> None:
        numbers = np.zeros((FRAMES, *stack.shape[1:]), stack.dtype)
        who = "fastlegacy, one core" if threads else "fastlegacy"
        note(f"{FRAMES} frames, {len(os.sched_getaffinity(0))} cores, {stack.dtype}", who, numbers.nbytes)
        benchmark(stack.read_frames, 0, FRAMES, numbers, threads)
        np.testing.assert_array_equal(numbers[1], stack[1])

    @pytest.mark.parametrize("threads", [1, None])
    @pytest.mark.parametrize("codec", ["gzip", "bszstd", "shuffle+lz4", "blosc-zstd-bitshuffle", "zstd"])
    def test_other_filters(
        self, benchmark: Any, note: Note, measuring: bool, tmp_path: Path, codec: str, threads: int | None
    ) -> None:
        frames = detector_frames(FRAMES, EIGER_4M if measuring else (300, 260), "u4")
        url = write_stack(tmp_path / "codec.h5", frames, filters=codec)
        with fastlegacy.open(url, memory_bytes=64 << 20) as stack:
            numbers = np.zeros((FRAMES, *stack.shape[1:]), stack.dtype)
            who = "fastlegacy, one core" if threads else "fastlegacy"
            note(f"{FRAMES} frames, {len(os.sched_getaffinity(0))} cores, {codec}", who, numbers.nbytes)
            benchmark(stack.read_frames, 0, FRAMES, numbers, threads)
            np.testing.assert_array_equal(numbers, frames)


# ---------------------------------------------------------------------------------------------------- sparse


@pytest.mark.usefixtures("one_core")
class TestSparse:
    """Pixels above a cut, with a mask, into memory that is used again."""

    def test_fastlegacy(self, benchmark: Any, note: Note, stack: fastlegacy.Stack, dataset: Any) -> None:
        bad = detector_mask(stack.shape[1:])
        out = np.zeros(bad.size + 1, np.uint32), np.zeros(bad.size + 1, stack.dtype)
        note(f"pixels above {CUT}, {stack.dtype}", "fastlegacy", dataset[FRAME].nbytes)
        indices, values = benchmark(fastlegacy.sparse, stack, FRAME, CUT, bad, out)
        expected = np.flatnonzero((dataset[FRAME] > CUT) & ~bad)
        np.testing.assert_array_equal(indices, expected)
        np.testing.assert_array_equal(values, dataset[FRAME].reshape(-1)[expected])

    def test_bslz4_to_sparse(self, benchmark: Any, note: Note, dataset: Any) -> None:
        find = rival("bslz4_to_sparse").bslz4_to_sparse
        good = (~detector_mask(dataset.shape[1:])).astype(np.uint8).ravel()
        out = np.zeros(good.size, dataset.dtype), np.zeros(good.size, np.uint32)
        note(f"pixels above {CUT}, {dataset.dtype}", "bslz4_to_sparse", dataset[FRAME].nbytes)
        number, _ = benchmark(find, dataset, FRAME, CUT, good, out)
        assert number == ((dataset[FRAME].ravel() > CUT) & (good == 1)).sum()


# ---------------------------------------------------------------------------------------------------- codecs


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> str:
    """A filter pipeline."""
    return str(request.param)


@pytest.fixture
def coded(codec: str, dtype: str, measuring: bool, tmp_path: Path) -> str:
    """Url of a stack through that pipeline."""
    frames = detector_frames(1, EIGER_4M if measuring else (300, 260), dtype)
    return write_stack(tmp_path / "codec.h5", frames, filters=codec)


@pytest.mark.usefixtures("one_core")
class TestCodecs:
    """A frame through other filters than bitshuffle+LZ4."""

    def test_fastlegacy(self, benchmark: Any, note: Note, codec: str, coded: str) -> None:
        with fastlegacy.open(coded, memory_bytes=16 << 20) as stack:
            out = np.empty(stack.shape[1:], stack.dtype)
            note(f"{codec}, {stack.dtype}", "fastlegacy", out.nbytes)
            benchmark(stack.read, 0, out=out)

    def test_h5py_read_direct(self, benchmark: Any, note: Note, codec: str, coded: str) -> None:
        path, _, name = coded.partition("::")
        with h5py.File(path, "r", locking=False) as file:
            out = np.empty(file[name].shape[1:], file[name].dtype)
            note(f"{codec}, {out.dtype}", "h5py read_direct", out.nbytes)
            benchmark(file[name].read_direct, out, np.s_[0])

    def test_hidefix(self, benchmark: Any, note: Note, codec: str, coded: str, dtype: str) -> None:
        """It knows deflate and shuffle."""
        if codec not in ("gzip", "shuffle+gzip"):
            pytest.skip("hidefix does not undo this filter")
        path, _, name = coded.partition("::")
        dataset = rival("hidefix").Index(path).dataset(name.lstrip("/"))
        places = tuple(slice(0, size) for size in dataset.shape())
        note(f"{codec}, {dtype}", "hidefix", np.dtype(dtype).itemsize * int(np.prod(dataset.shape())))
        out = benchmark(lambda: dataset[places])
        assert out.dtype == dtype

    def test_imagecodecs(self, benchmark: Any, note: Note, codec: str, coded: str) -> None:
        """From bytes in memory."""
        name = {"gzip": "zlib_decode", "zstd": "zstd_decode"}.get(codec)
        if name is None:
            pytest.skip("imagecodecs has no function for a chunk of this filter")
        decode = getattr(rival("imagecodecs"), name)
        path, _, dataset = coded.partition("::")
        with h5py.File(path, "r", locking=False) as file:
            frame, chunk = file[dataset][0], chunk_of(file[dataset], 0)
        note(f"{codec}, {frame.dtype}", "imagecodecs", frame.nbytes)
        assert len(benchmark(decode, chunk.tobytes(), out=frame.nbytes)) == frame.nbytes
