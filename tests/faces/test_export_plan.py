# SPDX-License-Identifier: MIT
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.errors import ExportError
from fastlegacy.faces.export_plan import FileState, plan
from fastlegacy.index.tree import Tree, VirtualFile
from fastlegacy.layouts.edf import LAYOUT as EDF


@pytest.fixture
def tree(pixel_stack: Callable[..., Any]) -> Tree:
    return Tree(pixel_stack(), EDF)


def write(folder: Path, file: VirtualFile, *, mtime_ns: int | None = None) -> Path:
    path = folder / file.name
    path.write_bytes(file.read())
    os.utime(path, ns=(0, file.mtime_ns if mtime_ns is None else mtime_ns))
    return path


def test_a_folder_that_is_not_there_is_empty(tree: Tree, tmp_path: Path) -> None:
    todo = plan(tree, tmp_path / "new")
    assert (todo.to_write, todo.done, todo.kept, todo.conflicts, todo.conflict) == (4, 0, 0, 0, None)
    assert not (tmp_path / "new").exists()


def test_files_that_are_not_of_the_tree_do_not_matter(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "data001.edf").touch()
    (tmp_path / "notes.txt").touch()
    assert plan(tree, tmp_path).to_write == 4


@pytest.mark.parametrize("step_ns", [1, 100, 1000, 10**9, 2 * 10**9])
def test_an_exported_file_is_done_whatever_the_file_system_keeps_of_times(
    tree: Tree, tmp_path: Path, step_ns: int
) -> None:
    file = tree["data0002.edf"]
    write(tmp_path, file, mtime_ns=file.mtime_ns - file.mtime_ns % step_ns)
    assert plan(tree, tmp_path).trees[0].states == bytes([FileState.TO_WRITE, FileState.DONE, 0, 0])


def change_time(path: Path) -> None:
    os.utime(path, ns=(0, 1_600_000_001_123_456_789))


def change_size(path: Path) -> None:
    times = path.stat()
    with path.open("ab") as stream:
        stream.write(b"x")
    os.utime(path, ns=(0, times.st_mtime_ns))


def change_header(path: Path) -> None:
    times = path.stat()
    path.write_bytes(path.read_bytes().replace(b"Image = 1", b"Image = 2"))
    os.utime(path, ns=(0, times.st_mtime_ns))


def make_link(path: Path) -> None:
    path.rename(path.with_suffix(".other"))
    path.symlink_to(path.with_suffix(".other"))


@pytest.mark.parametrize("change", [change_time, change_size, change_header, make_link])
def test_other_files_are_in_the_way(tree: Tree, tmp_path: Path, change: Callable[[Path], None]) -> None:
    change(write(tmp_path, tree["data0003.edf"]))
    change(write(tmp_path, tree["data0002.edf"]))
    todo = plan(tree, tmp_path)
    assert (todo.conflict, todo.conflicts, todo.to_write) == ("data0002.edf", 2, 2)
    assert plan(tree, tmp_path, overwrite=True).to_write == 4
    assert plan(tree, tmp_path, keep=True).kept == 2


def test_a_folder_is_never_replaced(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "data0001.edf").mkdir()
    assert plan(tree, tmp_path, overwrite=True).conflict == "data0001.edf"
    assert plan(tree, tmp_path, keep=True).kept == 1


def test_a_file_is_no_folder(tree: Tree, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"file.*choose a folder"):
        plan(tree, tmp_path / "file")
