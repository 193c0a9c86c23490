# SPDX-License-Identifier: MIT
"""A scan exported as EDF files: on all cores, on one, and the same bytes written from memory by one thread.

Each round writes to an empty folder of the disk that temporary files are on, and waits until it has everything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.faces.export import export
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.edf import LAYOUT

Note = Callable[[str, str, int], None]

ROUNDS = 4


def on_disk(folder: Path, measuring: bool) -> None:
    """Wait until all file systems have written everything, so that no other work is measured."""
    assert folder.is_dir()
    if measuring:
        os.sync()


@pytest.fixture
def tree(scan: str) -> Tree:
    """The scan as EDF files, of which nothing is kept in memory."""
    return Tree(Stack(scan, context=Context(1 << 26)), LAYOUT)


@pytest.mark.parametrize(("who", "threads"), [("fastlegacy", None), ("fastlegacy, one thread", 1)])
def test_export(
    benchmark: Any, note: Note, measuring: bool, tree: Tree, tmp_path: Path, who: str, threads: int | None
) -> None:
    """Decoded and written."""
    folder = tmp_path / "out"
    note("export of 24 frames to the disk", who, sum(file.size for file in tree.values()))

    def run() -> None:
        export(tree, folder, threads=threads)
        on_disk(folder, measuring)

    benchmark.pedantic(run, setup=lambda: shutil.rmtree(folder, ignore_errors=True), rounds=ROUNDS)
    assert sorted(path.name for path in folder.iterdir()) == sorted(tree)


def test_the_same_bytes(benchmark: Any, note: Note, measuring: bool, tree: Tree, tmp_path: Path) -> None:
    """What the disk and its file system need."""
    folder = tmp_path / "out"
    contents = [(file.name, file.read()) for file in tree.values()]
    note("export of 24 frames to the disk", "bytes in memory", sum(len(data) for _, data in contents))

    def run() -> None:
        folder.mkdir()
        for name, data in contents:
            (folder / name).write_bytes(data)
        on_disk(folder, measuring)

    benchmark.pedantic(run, setup=lambda: shutil.rmtree(folder, ignore_errors=True), rounds=ROUNDS)
