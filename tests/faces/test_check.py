# SPDX-License-Identifier: MIT
"""``fastlegacy.check``: damage in known places is found there, and nowhere else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import fastlegacy
from fastlegacy.errors import FastlegacyError
from fastlegacy.faces.check import StackReport, as_plain, check
from fastlegacy.hdf5.chunk_check import ChunkCheck
from fastlegacy.hdf5.stack import Stack
from fastlegacy.sources.find import find_stacks, open_stack
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.dectris import dectris_series
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames, detector_frames
from fastlegacy.testing.lambda_ import lambda_scan
from fastlegacy.testing.lima import lima2_file, lima_file
from fastlegacy.testing.nxmx import filewriter2_series, nxmx_scan
from fastlegacy.testing.virtual import virtual_modules, virtual_nested, virtual_series, virtual_strided

FRAMES = detector_frames(6, (40, 50), "u4")

BUILDERS: dict[str, Callable[[Path], Any]] = {
    "bliss": lambda folder: bliss_dataset(folder, {"1.1": FRAMES, "2.1": FRAMES}),
    "dectris": lambda folder: dectris_series(folder, FRAMES),
    "filewriter2": lambda folder: filewriter2_series(folder, FRAMES),
    "lambda": lambda folder: lambda_scan(folder, FRAMES),
    "lima": lambda folder: lima_file(folder / "a.h5", FRAMES),
    "lima2": lambda folder: lima2_file(folder / "a.h5", FRAMES),
    "nxmx": lambda folder: nxmx_scan(folder, FRAMES),
    "plain": lambda folder: write_stack(folder / "a.h5", FRAMES, filters="bslz4"),
    "virtual": lambda folder: virtual_series(folder, FRAMES),
    "nested": lambda folder: virtual_nested(folder, FRAMES),
    "modules": lambda folder: virtual_modules(folder, FRAMES),
    "strided": lambda folder: virtual_strided(folder, FRAMES),
}


def stored_chunks(folder: Path) -> list[tuple[str, str, int, int, int]]:
    """(file, dataset, number, address, size) of each chunk of each series in a folder, found by h5py alone."""
    found: list[tuple[str, str, int, int, int]] = []
    for path in sorted(folder.rglob("*.h5")) + sorted(folder.rglob("*.nxs")):

        def visit(name: str, thing: Any, path: Path = path) -> None:
            if not isinstance(thing, h5py.Dataset) or thing.is_virtual or not thing.chunks or len(thing.shape) < 3:
                return
            grid = tuple(-(-n // c) for n, c in zip(thing.shape, thing.chunks, strict=True))
            for i in range(thing.id.get_num_chunks()):
                info = thing.id.get_chunk_info(i)
                place = tuple(o // c for o, c in zip(info.chunk_offset, thing.chunks, strict=True))
                number = int(np.ravel_multi_index(place, grid))
                found.append((str(path), f"/{name}", number, info.byte_offset, info.size))

        with h5py.File(path, locking=False) as file:
            file.visititems(visit)
    return found


def overwrite(path: str | Path, at: int, data: bytes) -> None:
    """Write into a file."""
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def wrong_frames(url: str) -> list[int]:
    """Frames that cannot be read one by one: what `check` says in another way."""
    wrong = []
    with open_stack(url, missing="fill") as stack:
        for frame in range(len(stack)):
            try:
                stack[frame]
            except FastlegacyError:
                wrong.append(frame)
    return wrong


@pytest.mark.parametrize("convention", BUILDERS)
def test_each_convention_is_good_until_a_chunk_is_damaged(tmp_path: Path, convention: str) -> None:
    BUILDERS[convention](tmp_path)
    good = check(tmp_path)
    assert good.is_good
    assert good.stacks
    chunks = stored_chunks(tmp_path)
    assert sum(stack.chunks for stack in good.stacks) == len(chunks)  # each once, whoever shows it
    file, dataset, number, at, size = chunks[len(chunks) // 2]
    overwrite(file, at, b"\xff" * min(size, 60))
    bad = check(tmp_path)
    assert not bad.is_good
    assert not bad.faults
    found = {(d.file, d.dataset, d.chunk, d.cause) for stack in bad.stacks for d in stack.damages}
    assert found == {(file, dataset, number, "damaged")}
    assert any(stack.damages for stack in bad.stacks)
    for stack in bad.stacks:
        assert stack.damaged_frames == wrong_frames(stack.url)


def test_all_frames_of_a_chunk_are_named(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4", chunks=(2, 20, 50))
    file, _, number, at, _ = next(c for c in stored_chunks(tmp_path) if c[2] == 3)
    overwrite(file, at, bytes(8))
    (stack,) = check(url).stacks
    (damage,) = stack.damages
    assert (damage.chunk, damage.frames, damage.cause) == (number, (2, 3), "damaged")
    assert "states another size" in damage.text
    assert "chunk" not in damage.text.partition("(")[0]


def test_only_what_a_url_selects_is_read(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    file, _, _, at, _ = next(c for c in stored_chunks(tmp_path) if c[2] == 4)
    overwrite(file, at, bytes(8))
    url = f"{tmp_path}/a.h5?path=/entry/data/data&slice="
    (first,) = check(f"{url}0:4").stacks
    assert (first.is_good, first.chunks, first.frames) == (True, 4, 4)
    (last,) = check(f"{url}3:6").stacks
    assert last.damaged_frames == [1]


def test_frames_that_were_never_written_are_no_fault(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        dset = h5.create_dataset("/entry/data/data", (6, 40, 50), "u4", chunks=(1, 40, 50))
        dset[1], dset[4] = FRAMES[1], FRAMES[4]
    report = check(tmp_path / "a.h5")
    (stack,) = report.stacks
    assert report.is_good
    assert (stack.never_written, stack.chunks, stack.missing_frames) == (4, 2, 0)


def test_missing_sources_of_a_virtual_dataset(tmp_path: Path) -> None:
    """All that is there can be decoded: still not all is well."""
    url = virtual_series(tmp_path, FRAMES)
    first = min(Path(c[0]) for c in stored_chunks(tmp_path))
    first.unlink()
    report = check(url)
    (stack,) = report.stacks
    assert not report.is_good
    assert (stack.damages, stack.never_written) == ([], 0)
    assert stack.missing_frames == 6 - stack.chunks > 0
    assert str(first.name) in stack.missing[0]


def test_a_missing_data_file_of_a_series(tmp_path: Path) -> None:
    dectris_series(tmp_path, FRAMES, blocks=(2, 2, 2))
    gone = Path(stored_chunks(tmp_path)[-1][0])
    gone.unlink()
    report = check(next(tmp_path.glob("*_master.h5")))
    assert not report.is_good
    assert gone.name in str(as_plain(report))


def test_a_file_that_is_replaced_meanwhile(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    write_stack(tmp_path / "other.h5", FRAMES + 1, filters="bslz4")

    def begin(url: str, chunks: int) -> None:
        os.replace(tmp_path / "other.h5", tmp_path / "a.h5")

    (stack,) = check(url, begin=begin).stacks
    assert {damage.cause for damage in stack.damages} == {"changed"}
    assert stack.changed == (str(tmp_path / "a.h5"),)
    assert not stack.is_good


def test_a_file_that_is_written_to_after_it_was_read(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    (stack,) = check(url, note=lambda chunks, size: os.utime(tmp_path / "a.h5", ns=(1, 1))).stacks
    assert stack.changed == (str(tmp_path / "a.h5"),)
    assert not stack.is_good


@pytest.mark.parametrize("spoil", ["empty", "cut", "no signature"])
def test_files_that_cannot_be_opened_are_listed(tmp_path: Path, spoil: str) -> None:
    write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    write_stack(tmp_path / "b.h5", FRAMES, filters="bslz4")
    size = os.path.getsize(tmp_path / "a.h5")
    if spoil == "no signature":
        overwrite(tmp_path / "a.h5", 0, b"nothing")
    else:
        os.truncate(tmp_path / "a.h5", 0 if spoil == "empty" else size // 2)
    report = check(tmp_path)
    assert [fault.where for fault in report.faults] == [str(tmp_path / "a.h5")]
    assert "is cut short" in report.faults[0].text or "not an HDF5 file" in report.faults[0].text
    assert [stack.is_good for stack in report.stacks] == [True]


def test_a_dataset_in_one_piece_and_one_that_h5py_reads(tmp_path: Path) -> None:
    frames = counting_frames(5, (30, 20), "u2")
    write_stack(tmp_path / "whole.h5", frames, chunks=None)
    write_stack(tmp_path / "szip.h5", frames, filters="lzf")
    report = check(tmp_path)
    assert report.is_good
    assert [stack.read_bytes for stack in report.stacks] == [frames.nbytes] * 2


def test_an_index_that_is_damaged_is_told_of_all_frames(tmp_path: Path) -> None:
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4")
    data = (tmp_path / "a.h5").read_bytes()
    at = data.index(b"TREE", data.index(b"TREE") + 1)
    while data[at + 4] != 1:  # the B-tree of chunks, not that of a group
        at = data.index(b"TREE", at + 1)
    overwrite(tmp_path / "a.h5", at, b"TREX")
    (stack,) = check(url).stacks
    assert stack.damaged_frames == [*range(6)]
    assert stack.damages[0].chunk is None
    assert stack.read_bytes == 0


def test_a_chunk_is_read_once_by_any_number_of_threads(tmp_path: Path) -> None:
    frames = counting_frames(300, (12, 10), "u2")
    url = write_stack(tmp_path / "a.h5", frames, filters="gzip", chunks=(1, 12, 10))
    for threads in (1, 2, 7):
        noted: list[tuple[int, int]] = []
        read = ChunkCheck(threads)
        with Stack(url) as stack:
            found = read(stack, note=lambda *done, noted=noted: noted.append(done))  # type: ignore[misc]
            assert (found.chunks, found.read_bytes, found.damages) == (300, frames.nbytes, [])
            assert [sum(column) for column in zip(*noted, strict=True)] == [300, frames.nbytes]
            assert read(stack).chunks == 0  # all is known of it


def test_the_library_has_it(tmp_path: Path) -> None:
    write_stack(tmp_path / "a.h5", FRAMES)
    report = fastlegacy.check([tmp_path / "a.h5", str(tmp_path)])
    assert isinstance(report, fastlegacy.CheckReport)
    assert [stack.url for stack in report.stacks] == [info.url for info in find_stacks(tmp_path)]
    assert as_plain(report)["good"] is True


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(fastlegacy.SourceError, match="No such file"):
        check(tmp_path / "none.h5")
    write_stack(tmp_path / "a.h5", FRAMES)
    report = check(f"{tmp_path}/a.h5::/no/such")
    assert "no/such" in report.faults[0].where


def test_a_folder_with_the_same_stack_by_two_names_is_read_once(tmp_path: Path) -> None:
    bliss_dataset(tmp_path, {"1.1": FRAMES})
    report = check(tmp_path)
    assert sum(stack.chunks for stack in report.stacks) == 6
    master = next(stack for stack in report.stacks if stack.frames == 6)
    assert isinstance(master, StackReport)
    shutil.rmtree(tmp_path / "scan0001")
    again = check(tmp_path)
    assert not again.is_good
