# SPDX-License-Identifier: MIT
import errno
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastlegacy.errors import DecodeError, ExportError, FilterError, UrlError
from fastlegacy.faces import export_writer, library
from fastlegacy.faces.export import export
from fastlegacy.index.tree import Tree, VirtualFile
from fastlegacy.layouts.edf import LAYOUT as EDF
from fastlegacy.layouts.npy_stack import LAYOUT as NPY_STACK
from fastlegacy.testing.files import write_stack


@pytest.fixture
def tree(pixel_stack: Callable[..., Any]) -> Tree:
    return Tree(pixel_stack(shape=(12, 3, 5)), EDF)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def spoil(monkeypatch: pytest.MonkeyPatch, name: str, what: BaseException) -> None:
    """Make the reads of one file fail."""

    def fail(*_: object) -> int:
        raise what

    open_file = VirtualFile.open

    def opened(self: VirtualFile) -> Any:
        file = open_file(self)
        return SimpleNamespace(size=file.size, read_into=fail) if self.name == name else file

    monkeypatch.setattr(VirtualFile, "open", opened)


@pytest.mark.parametrize("threads", [1, 3, 40, None])
def test_the_files_are_those_of_the_tree(tree: Tree, tmp_path: Path, threads: int | None) -> None:
    folder = tmp_path / "a" / "b"
    report = export(tree, folder, threads=threads)
    assert names(folder) == list(tree)
    for file in tree.values():
        assert (folder / file.name).read_bytes() == file.read()
        assert (folder / file.name).stat().st_mtime_ns == file.mtime_ns
    assert (report.folder, report.written, report.done, report.kept) == (str(folder), 12, 0, 0)
    assert report.written_bytes == sum(file.size for file in tree.values())
    assert report.seconds > 0


@pytest.mark.parametrize("threads", [1, 4])
def test_a_large_file_is_written_in_segments(
    pixel_stack: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    monkeypatch.setattr(export_writer, "SEGMENT_BYTES", 100)
    monkeypatch.setattr(export_writer, "WHOLE_BYTES", 150)
    stack = pixel_stack(shape=(30, 3, 5))
    seen: list[tuple[int, int]] = []
    export(Tree(stack, NPY_STACK), tmp_path, threads=threads, progress=lambda files, size: seen.append((files, size)))
    np.testing.assert_array_equal(np.load(tmp_path / "data.npy"), stack.pixels)
    assert names(tmp_path) == ["data.npy"]
    assert tuple(map(sum, zip(*seen, strict=True))) == (1, 128 + 900)


def test_progress_is_told_in_the_calling_thread(tree: Tree, tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []
    export(tree, tmp_path, progress=lambda *done: seen.append((threading.get_ident(), *done)))
    assert seen == [(threading.get_ident(), 1, tree["data0001.edf"].size)] * 12


def test_it_goes_on_where_it_stopped(tree: Tree, tmp_path: Path) -> None:
    export(tree, tmp_path)
    kept = (tmp_path / "data0001.edf").stat()
    (tmp_path / "data0005.edf").unlink()
    report = export(tree, tmp_path)
    assert (report.written, report.done) == (1, 11)
    assert (tmp_path / "data0001.edf").stat().st_ino == kept.st_ino
    assert export(tree, tmp_path).written == 0


def test_other_files_stop_it_before_anything_is_written(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "data0007.edf").write_text("mine")
    (tmp_path / "data0003.edf").write_text("mine")
    with pytest.raises(ExportError, match=r"data0003\.edf.*and 1 more.*nothing was written.*--force"):
        export(tree, tmp_path)
    assert names(tmp_path) == ["data0003.edf", "data0007.edf"]


def test_keep_leaves_other_files(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "data0003.edf").write_text("mine")
    report = export(tree, tmp_path, keep=True)
    assert (report.written, report.kept) == (11, 1)
    assert (tmp_path / "data0003.edf").read_text() == "mine"


def test_overwrite_replaces_other_files(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text("mine")
    (tmp_path / "data0003.edf").symlink_to("elsewhere")
    report = export(tree, tmp_path, overwrite=True)
    assert (report.written, report.kept) == (12, 0)
    assert (tmp_path / "data0003.edf").read_bytes() == tree["data0003.edf"].read()
    assert (tmp_path / "elsewhere").read_text() == "mine"


@pytest.mark.parametrize("threads", [1, 40])
def test_a_frame_that_cannot_be_read_does_not_stop_the_others(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    spoil(monkeypatch, "data0004.edf", DecodeError("chunk 3 is damaged", file="scan.h5", dataset="/x", frame=3))
    with pytest.raises(ExportError, match=r"1 of 12 files.*scan\.h5::/x frame 3: chunk 3 is damaged.*other files"):
        export(tree, tmp_path, threads=threads)
    assert names(tmp_path) == [name for name in tree if name != "data0004.edf"]


def test_a_missing_filter_stops_it(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, "data0001.edf", FilterError("no filter 32099"))
    with pytest.raises(FilterError):
        export(tree, tmp_path, threads=1)
    assert "data0012.edf" not in names(tmp_path)


@pytest.mark.parametrize("threads", [1, 40])
def test_a_full_disk_leaves_no_part_of_a_file(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    def full(fd: int, data: memoryview, offset: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ExportError, match=r"No space left.*goes on where it stopped") as caught:
        export(tree, tmp_path, threads=threads)
    assert caught.value.errno == errno.ENOSPC
    assert names(tmp_path) == []


def test_short_writes_are_gone_on_with(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:100], offset))
    export(tree, tmp_path)
    assert (tmp_path / "data0012.edf").read_bytes() == tree["data0012.edf"].read()


@pytest.mark.parametrize(("layout", "threads"), [(EDF, 2), (NPY_STACK, 4)])
def test_ctrl_c_leaves_nothing_half_done(
    pixel_stack: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Any, threads: int
) -> None:
    monkeypatch.setattr(export_writer, "SEGMENT_BYTES", 100)
    tree = Tree(pixel_stack(shape=(60, 3, 5)), layout)

    def interrupt(files: int, size: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(tree, tmp_path, threads=threads, progress=interrupt)
    assert len(names(tmp_path)) < len(tree)
    for name in names(tmp_path):
        assert (tmp_path / name).read_bytes() == tree[name].read()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fastlegacy-export")]


def test_a_file_that_appears_meanwhile_is_not_replaced(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_file = VirtualFile.open

    def opened(self: VirtualFile) -> Any:
        (tmp_path / "data0006.edf").write_text("mine")
        return open_file(self)

    monkeypatch.setattr(VirtualFile, "open", opened)
    with pytest.raises(ExportError, match=r"data0006\.edf"):
        export(tree, tmp_path)
    assert (tmp_path / "data0006.edf").read_text() == "mine"


def test_options_that_make_no_sense(tree: Tree, tmp_path: Path) -> None:
    with pytest.raises(UrlError, match="exclude each other"):
        export(tree, tmp_path, overwrite=True, keep=True)
    with pytest.raises(UrlError, match="0 threads"):
        export(tree, tmp_path, threads=0)


def test_a_folder_that_cannot_be_made(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="file/folder"):
        export(tree, tmp_path / "file" / "folder")


def test_after_a_kill_it_tidies_up_and_goes_on(tmp_path: Path) -> None:
    frames = np.random.default_rng(1).poisson(3, (20, 50, 60)).astype("u2")
    url = write_stack(tmp_path / "scan.h5", frames, filters="bslz4")
    out = tmp_path / "out"
    code = f"""
import os
import fastlegacy.faces.library as library
from fastlegacy.faces.export import export
from fastlegacy.faces import export_writer
place, placed = export_writer.place, []

def killed(part, final, **options):
    if len(placed) == 7:
        os.kill(os.getpid(), 9)
    place(part, final, **options)
    placed.append(final)

export_writer.place = killed
export(library.tree(library.open({url!r})), {str(out)!r}, threads=1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert len(names(out)) == 8
    assert [name for name in names(out) if name.startswith(".")]
    with library.open(url) as stack:
        tree = library.tree(stack)
        report = export(tree, out)
        assert (report.written, report.done) == (13, 7)
        assert names(out) == list(tree)
        assert all((out / name).read_bytes() == tree[name].read() for name in tree)
