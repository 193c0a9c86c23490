# SPDX-License-Identifier: MIT
"""``ls -l`` of 1000 CBF files of 4 megapixels, whose sizes depend on all their pixels.

It must not take longer than decoding the frames once on all cores, and must cost nothing the second time, also after a
remount. Where the disk is too small for 1000 frames there are fewer; the name of the group says how many.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import numpy as np
import pytest

import fastlegacy
from fastlegacy.testing.files import create_file
from fastlegacy.testing.filters import filter_arguments
from fastlegacy.testing.frames import EIGER_4M, detector_frames
from fastlegacy.testing.mounts import mount_command, mounted
from fastlegacy.testing.storage import stored_chunk

Note: TypeAlias = Callable[[str, str, int], None]

DECODER = Path(__file__).with_name("decode_frames.py")
CORES = len(os.sched_getaffinity(0))
FRAMES, FEWER, DISTINCT = 1000, 250, 20
BLOCK = 4 * CORES
ROUNDS = 3
AGAIN = 10


@pytest.fixture(scope="module")
def url(measuring: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Url of a stack, u32, bitshuffle+LZ4. Some frames are distinct, and stored again and again."""
    path = tmp_path_factory.mktemp("sizes") / "scan.h5"
    distinct = detector_frames(DISTINCT if measuring else 3, EIGER_4M if measuring else (300, 260), "u4")
    chunks = [stored_chunk(frame[None], "bslz4") for frame in distinct]
    frames = FRAMES if measuring else 24
    # twice as much as is needed: a disk that is nearly full is slow
    if shutil.disk_usage(path.parent).free < 2 * frames * max(map(len, chunks)):
        frames = FEWER
    with create_file(path, libver="latest") as file:
        shape = distinct.shape[1:]
        data = file.create_dataset("data", (frames, *shape), "u4", chunks=(1, *shape), **filter_arguments("bslz4"))
        for i in range(frames):
            data.id.write_direct_chunk((i, 0, 0), chunks[i % len(chunks)])
    yield f"{path}::/data"
    path.unlink()


@pytest.fixture
def stack(url: str) -> Iterator[fastlegacy.Stack]:
    """The stack."""
    with fastlegacy.open(url) as opened:
        yield opened


@pytest.fixture
def noted(note: Note, stack: fastlegacy.Stack) -> Callable[[str], None]:
    """Return a function that says who is measured."""
    n, ny, nx = stack.shape
    size = n * ny * nx * stack.dtype.itemsize
    return lambda who: note(f"sizes of {n} CBF files", who, size)


@pytest.fixture
def side_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where mounts remember sizes."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("FASTLEGACY_CACHE", str(folder))
    return folder


def new_tree(stack: fastlegacy.Stack) -> fastlegacy.Tree:
    """The files; no size is known."""
    tree = fastlegacy.tree(stack, "cbf", companions=())
    assert isinstance(tree, fastlegacy.Tree)
    return tree


# ---------------------------------------------------------------------------------------------- without a mount


def test_decode_only(benchmark: Any, noted: Callable[[str], None], stack: fastlegacy.Stack) -> None:
    """``stack.read_frames`` in blocks, all cores, always into the same memory."""
    noted("decode only")
    out = np.empty((BLOCK, *stack.shape[1:]), stack.dtype)

    def decode() -> None:
        for start in range(0, len(stack), BLOCK):
            stop = min(start + BLOCK, len(stack))
            stack.read_frames(start, stop, out=out[: stop - start])

    benchmark.pedantic(decode, rounds=ROUNDS)
    last = len(stack) % BLOCK or BLOCK
    np.testing.assert_array_equal(out[last - 1], stack[-1])


@contextmanager
def decoders(url: str) -> Iterator[list[tuple[IO[str], IO[str]]]]:
    """As many processes with h5py as there are cores: what to write to each, and what to read from it."""
    path, _, name = url.partition("::")
    with ExitStack() as running:
        pipes: list[tuple[IO[str], IO[str]]] = []
        for _ in range(CORES):
            command = [sys.executable, str(DECODER), path, name]
            process = running.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            assert process.stdin is not None
            assert process.stdout is not None
            pipes.append((process.stdin, process.stdout))
        assert [output.readline() for _, output in pipes] == ["ready\n"] * CORES
        yield pipes


def test_decode_h5py(benchmark: Any, noted: Callable[[str], None], stack: fastlegacy.Stack, url: str) -> None:
    """``dataset[i]``, in one process for each core."""
    noted(f"decode with h5py, {CORES} processes")
    ends = [len(stack) * k // CORES for k in range(CORES + 1)]
    with decoders(url) as pipes:

        def decode() -> list[str]:
            for (inputs, _), start, stop in zip(pipes, ends[:-1], ends[1:], strict=True):
                inputs.write(f"{start} {stop}\n")
                inputs.flush()
            return [output.readline() for _, output in pipes]

        assert benchmark.pedantic(decode, rounds=ROUNDS) == ["done\n"] * CORES


def test_sizes_of_a_tree(benchmark: Any, noted: Callable[[str], None], stack: fastlegacy.Stack) -> None:
    """``tree.size_of(name)`` in the order of the names, of a new tree each time."""
    noted("tree.size_of")

    def sizes(tree: fastlegacy.Tree) -> dict[str, int]:
        return {name: tree.size_of(name) for name in tree}

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (new_tree(stack),), {}

    found = benchmark.pedantic(sizes, setup=setup, rounds=ROUNDS)
    check(found, stack)


# ------------------------------------------------------------------------------------------------- through a mount


def listed(folder: Path) -> str:
    """What ``ls -l`` prints."""
    environment = os.environ | {"LC_ALL": "C"}
    command = ["ls", "-l", str(folder)]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout


def sizes_in(text: str) -> dict[str, int]:
    """Sizes by name, from what ``ls -l`` prints."""
    lines = (line.split() for line in text.splitlines())
    return {words[-1]: int(words[4]) for words in lines if words[-1].endswith(".cbf")}


def check(sizes: dict[str, int], stack: fastlegacy.Stack) -> None:
    """Compare sizes of some files with what is read of them."""
    tree = new_tree(stack)
    assert set(sizes) == set(tree)
    for name in [*tree][:: max(1, len(tree) // 7)]:
        assert sizes[name] == len(tree[name].read())


def mount(url: str, folder: Path) -> list[str]:
    """Command that mounts."""
    return mount_command(url, folder, "--format", "cbf", "--companions", "none")


@pytest.fixture
def forgotten(measuring: bool) -> Callable[[], None]:
    """Return a function that waits until the kernel has to ask the mount again: what it was told is valid for 1 s."""
    return lambda: time.sleep(1.2 if measuring else 0.0)


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_ls_first(
    benchmark: Any, noted: Callable[[str], None], stack: fastlegacy.Stack, url: str, work: Path, side_files: Path
) -> None:
    """``ls -l``; no size is known."""
    noted("ls -l, first")
    with ExitStack() as current:

        def remount() -> tuple[tuple[Any, ...], dict[str, Any]]:
            current.close()
            shutil.rmtree(side_files, ignore_errors=True)
            current.enter_context(mounted(mount(url, work), work))
            return (work,), {}

        text = benchmark.pedantic(listed, setup=remount, rounds=ROUNDS)
    check(sizes_in(text), stack)


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse", "side_files")
def test_ls_second(
    benchmark: Any,
    noted: Callable[[str], None],
    stack: fastlegacy.Stack,
    url: str,
    work: Path,
    forgotten: Callable[[], None],
) -> None:
    """``ls -l`` again in the same mount."""
    noted("ls -l, second")
    with mounted(mount(url, work), work):
        first = listed(work)
        assert benchmark.pedantic(listed, (work,), setup=forgotten, rounds=AGAIN) == first
    check(sizes_in(first), stack)


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_ls_remounted(
    benchmark: Any, noted: Callable[[str], None], stack: fastlegacy.Stack, url: str, work: Path, side_files: Path
) -> None:
    """``ls -l`` in a new mount, when an older one has measured all sizes."""
    noted("ls -l, after a remount")
    with mounted(mount(url, work), work):
        first = sizes_in(listed(work))
    assert len(list(side_files.rglob("*.sizes"))) == 1
    with ExitStack() as current:

        def remount() -> tuple[tuple[Any, ...], dict[str, Any]]:
            current.close()
            current.enter_context(mounted(mount(url, work), work))
            return (work,), {}

        text = benchmark.pedantic(listed, setup=remount, rounds=AGAIN)
    assert sizes_in(text) == first
    check(first, stack)


@pytest.mark.fuse
@pytest.mark.usefixtures("needs_fuse")
def test_ls_of_edf(
    benchmark: Any,
    noted: Callable[[str], None],
    stack: fastlegacy.Stack,
    url: str,
    work: Path,
    forgotten: Callable[[], None],
) -> None:
    """``ls -l`` of as many EDF files, whose size is fixed: what a listing costs without sizes to measure."""
    noted("ls -l, EDF")
    with mounted(mount_command(url, work, "--format", "edf"), work):
        text = benchmark.pedantic(listed, (work,), setup=forgotten, rounds=AGAIN)
    assert text.count(".edf\n") == len(stack)
