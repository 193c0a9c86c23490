# SPDX-License-Identifier: MIT
"""Exports of folders, of files with sizes of their own, and of files beside the frames."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fastlegacy.errors import ExportError, FilterError
from fastlegacy.faces import export_writer, library
from fastlegacy.faces.export import export
from fastlegacy.faces.export_plan import FileState, plan
from fastlegacy.index.folder import Folder
from fastlegacy.index.tree import Tree, VirtualFile
from fastlegacy.index.view import View
from fastlegacy.layouts.cbf import LAYOUT as CBF
from fastlegacy.layouts.edf import LAYOUT as EDF
from fastlegacy.layouts.npy import LAYOUT as NPY
from fastlegacy.layouts.npy_stack import LAYOUT as NPY_STACK
from fastlegacy.pixels import Code
from fastlegacy.testing.files import write_stack

FRAMES = np.random.default_rng(5).poisson(2, (6, 20, 30)).astype("<i4")


@pytest.fixture
def folder(pixel_stack: Callable[..., Any]) -> Folder:
    stack = pixel_stack(shape=(5, 3, 5))
    return Folder({"edf": Tree(stack, EDF), "deep": Folder({"npy": Tree(stack, NPY)}, files=Tree(stack, NPY_STACK))})


@pytest.fixture
def encoded(tmp_path: Path) -> Iterator[Folder]:
    url = write_stack(tmp_path / "scan.h5", FRAMES, filters="bslz4")
    with library.open(url) as stack:
        yield Folder({"cbf": Tree(stack, CBF), "edf": Tree(stack, EDF)})


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


@pytest.mark.parametrize("threads", [1, 3, 40])
def test_the_files_are_those_of_the_folders(folder: Folder, tmp_path: Path, threads: int) -> None:
    report = export(folder, tmp_path / "out", threads=threads)
    assert files_in(tmp_path / "out") == sorted(folder)
    for path, file in folder.items():
        assert (tmp_path / "out" / path).read_bytes() == file.read()
        assert (tmp_path / "out" / path).stat().st_mtime_ns == file.mtime_ns
    assert (report.written, report.written_bytes) == (11, sum(file.size for file in folder.values()))


def test_it_goes_on_where_it_stopped(folder: Folder, tmp_path: Path) -> None:
    export(folder, tmp_path)
    (tmp_path / "edf/data0002.edf").unlink()
    shutil.rmtree(tmp_path / "deep/npy")
    todo = plan(folder, tmp_path)
    assert [(part.path, list(part.states)) for part in todo.trees] == [
        ("edf", [FileState.DONE, FileState.TO_WRITE, *[FileState.DONE] * 3]),
        ("deep", [FileState.DONE]),
        ("deep/npy", [FileState.TO_WRITE] * 5),
    ]
    report = export(folder, tmp_path)
    assert (report.written, report.done) == (6, 5)
    assert files_in(tmp_path) == sorted(folder)


def test_other_files_in_any_folder_stop_it_before_anything_is_written(folder: Folder, tmp_path: Path) -> None:
    for path in ("edf/data0003.edf", "deep/npy/data0004.npy", "deep/npy/data0001.npy"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("mine")
    (tmp_path / "data0001.edf").touch()
    before = files_in(tmp_path)
    assert plan(folder, tmp_path).conflict == "deep/npy/data0001.npy"
    with pytest.raises(ExportError, match=r"deep/npy/data0001\.npy.*and 2 more.*nothing was written"):
        export(folder, tmp_path)
    assert files_in(tmp_path) == before
    report = export(folder, tmp_path, keep=True)
    assert (report.written, report.kept) == (8, 3)
    assert (tmp_path / "edf/data0003.edf").read_text() == "mine"
    assert export(folder, tmp_path, overwrite=True).written == 3
    assert (tmp_path / "edf/data0003.edf").read_bytes() == folder["edf/data0003.edf"].read()


def test_a_file_where_a_folder_should_be_stops_it_before_anything_is_written(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("mine")
    for options in ({}, {"overwrite": True}, {"keep": True}):
        with pytest.raises(ExportError, match=r"deep.*choose a folder"):
            export(folder, tmp_path, **options)
    assert files_in(tmp_path) == ["deep"]


def test_a_folder_that_is_a_link_to_one_is_written_into(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/edf").symlink_to(tmp_path / "elsewhere")
    export(folder, tmp_path / "out")
    assert len(files_in(tmp_path / "elsewhere")) == 5
    assert export(folder, tmp_path / "out").written == 0
    (tmp_path / "out/edf").unlink()
    (tmp_path / "out/edf").symlink_to("nowhere")
    with pytest.raises(ExportError, match="edf"):
        plan(folder, tmp_path / "out")


def test_folders_are_made_only_for_files_that_are_written(folder: Folder, tmp_path: Path) -> None:
    assert export(Folder({"empty": Folder(), "deep": Folder()}), tmp_path / "out").written == 0
    assert not (tmp_path / "out").exists()
    export(Folder({"empty": Folder(), "edf": folder.children["edf"]}), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["edf"]


def test_what_dead_processes_left_in_any_folder_is_removed(folder: Folder, tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from fastlegacy.faces.placing import Parts
opened = []
for name in ("edf", "deep/npy", "other"):
    folder = Path({str(tmp_path)!r}, name)
    folder.mkdir(parents=True)
    opened.append(Parts(folder).create())
    opened[-1].__enter__()
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert len(files_in(tmp_path)) == 3
    export(folder, tmp_path)
    left = set(files_in(tmp_path)) - set(folder)
    assert [path.rpartition("/")[0] for path in left] == ["other"], "it is no folder of this export"


# ---- files with sizes of their own


@pytest.mark.parametrize("threads", [1, 40])
def test_encoded_files_are_measured_once_at_most(
    encoded: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    measured: Counter[int] = Counter()
    measure = View.measure

    def counted(view: View, frame: int, code: Code) -> Any:
        measured[frame] += 1
        return measure(view, frame, code)

    monkeypatch.setattr(View, "measure", counted)
    monkeypatch.setattr(export_writer, "SEGMENT_BYTES", 100)
    reads: list[tuple[int, int]] = []
    report = export(encoded, tmp_path / "out", threads=threads, progress=lambda *done: reads.append(done))
    assert sorted(measured.items()) == [(frame, 1) for frame in range(6)]
    assert report.written_bytes == sum(path.stat().st_size for path in (tmp_path / "out").rglob("*.*"))
    assert tuple(map(sum, zip(*reads, strict=True))) == (12, report.written_bytes)
    for path, file in encoded.items():
        assert (tmp_path / "out" / path).read_bytes() == file.read()


def test_an_encoded_file_is_made_as_a_whole(encoded: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ranges: list[tuple[str, int, int]] = []
    copy = export_writer.Writer._copy

    def copied(self: Any, target: Any, opened: Any, part: Any, start: int, end: int) -> int:
        ranges.append((target.file.name, start, end))
        return copy(self, target, opened, part, start, end)

    monkeypatch.setattr(export_writer, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(export_writer.Writer, "_copy", copied)
    export(encoded, tmp_path / "out", threads=40)
    counts = Counter(name for name, _, _ in ranges)
    assert all(count == 1 for name, count in counts.items() if name.endswith(".cbf"))
    assert all(count > 1 for name, count in counts.items() if name.endswith(".edf"))


def test_encoded_files_that_are_there_are_known_again(encoded: Folder, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(encoded, out)
    assert plan(encoded, out).done == 12
    path = out / "cbf/data0002.cbf"
    times = path.stat()
    path.write_bytes(path.read_bytes() + b"x")
    os.utime(path, ns=(0, times.st_mtime_ns))
    assert plan(encoded, out).conflict == "cbf/data0002.cbf"


def test_how_much_there_is_to_write_is_told_where_it_is_known(
    encoded: Folder, folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(View, "measure", lambda *_: pytest.fail("a frame was measured"))
    assert plan(encoded, tmp_path / "out").bytes_to_write is None
    todo = plan(folder, tmp_path / "out")
    assert todo.bytes_to_write == sum(file.size for file in folder.values())
    export(Folder({"edf": folder.children["edf"]}), tmp_path / "out")
    assert plan(folder, tmp_path / "out").bytes_to_write == todo.bytes_to_write - todo.trees[0].bytes_to_write
    export(folder, tmp_path / "out")
    assert plan(folder, tmp_path / "out").bytes_to_write == 0


@pytest.mark.parametrize("threads", [1, 40])
def test_a_damaged_frame_does_not_stop_the_others(tmp_path: Path, threads: int) -> None:
    url = write_stack(tmp_path / "scan.h5", FRAMES, filters="bslz4")
    path, _, name = url.partition("::")
    with h5py.File(path) as file:
        chunk = file[name].id.get_chunk_info(2)
    with open(path, "r+b") as raw:
        raw.seek(chunk.byte_offset + 12)
        raw.write(b"\xff" * (chunk.size - 12))
    with library.open(url) as stack:
        folder = Folder({"cbf": Tree(stack, CBF), "edf": Tree(stack, EDF)})
        with pytest.raises(ExportError, match=r"2 of 12 files.*frame 2"):
            export(folder, tmp_path / "out", threads=threads)
        bad = {"cbf/data0003.cbf", "edf/data0003.edf"}
        assert files_in(tmp_path / "out") == sorted(set(folder) - bad)
        again = plan(folder, tmp_path / "out")
        assert (again.to_write, again.done) == (2, 10)
        other = tmp_path / "out/cbf/data0003.cbf"
        other.write_bytes(b"what was exported before the damage")
        os.utime(other, ns=(0, stack.facts.mtime_ns))
        assert plan(folder, tmp_path / "out").conflict == "cbf/data0003.cbf"


def test_a_missing_filter_is_told_as_such_when_files_are_compared(
    encoded: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(encoded, tmp_path / "out")

    def missing(*_: object) -> int:
        raise FilterError("no filter 32099")

    monkeypatch.setattr(VirtualFile, "size", property(missing))
    with pytest.raises(FilterError):
        plan(encoded, tmp_path / "out")


# ---- files beside the frames


def test_files_beside_the_frames_are_written_and_compared(pixel_stack: Callable[..., Any], tmp_path: Path) -> None:
    tree = Tree(pixel_stack(), EDF)
    tree.add({"XDS.INP": b"JOB= ALL\n", "empty": b""})
    todo = plan(tree, tmp_path)
    assert todo.bytes_to_write == sum(file.size for file in tree.values()) == 4 * tree["data0001.edf"].size + 9
    assert export(tree, tmp_path).written == 6
    assert (tmp_path / "XDS.INP").read_bytes() == b"JOB= ALL\n"
    assert plan(tree, tmp_path).done == 6
    (tmp_path / "XDS.INP").write_bytes(b"JOB= XYZ\n")
    assert plan(tree, tmp_path).conflict == "XDS.INP", "it is somebody's own by now"
    for name in ("XDS.INP", "data0002.edf"):
        (tmp_path / name).unlink()
    todo = plan(tree, tmp_path)
    assert list(todo.trees[0].to_write()) == ["data0002.edf", "XDS.INP"]
    assert todo.bytes_to_write == tree["data0002.edf"].size + 9


@pytest.mark.timeout(300)
def test_a_folder_of_hundreds_of_scans_that_is_killed_on_the_way_and_started_again(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    scans = {f"scan_{number:03d}": FRAMES[:2] + number for number in range(300)}
    for name, frames in scans.items():
        write_stack(raw / f"{name}.h5", frames, filters="bslz4")
    command = [sys.executable, "-m", "fastlegacy", "export", "--format", "raw", str(raw), str(out)]
    killed = """
import os, sys
from fastlegacy.faces import export_writer
from fastlegacy.faces.cli.main import main
place, placed = export_writer.place, []

def place_or_die(part, final, **options):
    if len(placed) >= 250:
        os.kill(os.getpid(), 9)
    place(part, final, **options)
    placed.append(final)

export_writer.place = place_or_die
main(sys.argv[1:])
"""
    assert subprocess.run([sys.executable, "-c", killed, *command[3:]], check=False).returncode == -9
    assert 250 <= sum(path.suffix == ".bin" for path in out.rglob("[!.]*")) < 600
    subprocess.run(command, check=True, capture_output=True)
    found = sorted(path for path in out.rglob("*") if path.is_file())
    assert [path.name for path in found] == [f"{name}_{k}.bin" for name in scans for k in ("0001", "0002")]
    for path in found:
        name, _, number = path.stem.rpartition("_")
        assert path.read_bytes() == scans[name][int(number) - 1].tobytes()
