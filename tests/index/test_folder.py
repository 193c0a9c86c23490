# SPDX-License-Identifier: MIT
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fastlegacy.errors import UrlError
from fastlegacy.index.folder import Folder
from fastlegacy.index.sidecar import SideFile
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.cbf import LAYOUT as CBF
from fastlegacy.layouts.edf import LAYOUT as EDF
from fastlegacy.layouts.npy import LAYOUT as NPY
from fastlegacy.layouts.npy_stack import LAYOUT as NPY_STACK
from fastlegacy.layouts.sfrm import LAYOUT as SFRM


@pytest.fixture
def stack(pixel_stack: Callable[..., Any]) -> Any:
    return pixel_stack(shape=(3, 4, 5))


@pytest.fixture
def folder(stack: Any, pixel_stack: Callable[..., Any]) -> Folder:
    """``edf/`` and ``a/b/`` of one stack, ``a/`` of another one that is newer."""
    newer = pixel_stack(shape=(2, 4, 5), mtime_ns=stack.facts.mtime_ns + 1)
    a = Folder({"b": Tree(stack, NPY)}, files=Tree(newer, NPY_STACK))
    return Folder({"edf": Tree(stack, EDF), "a": a})


PATHS = [*(f"edf/data000{i}.edf" for i in (1, 2, 3)), "a/data.npy", *(f"a/b/data000{i}.npy" for i in (1, 2, 3))]


def test_a_folder_is_a_mapping_of_paths(folder: Folder) -> None:
    assert list(folder) == list(folder.keys()) == PATHS
    assert len(folder) == len(PATHS)
    assert all(path in folder for path in PATHS)
    assert [file.name for file in folder.values()] == [path.rpartition("/")[2] for path in PATHS]
    assert folder.get("nothing") is None


def test_files_are_those_of_the_trees(folder: Folder, stack: Any) -> None:
    assert folder["a/b/data0002.npy"].read() == Tree(stack, NPY)["data0002.npy"].read()
    assert folder.size_of("edf/data0003.edf") == Tree(stack, EDF).size_of("data0003.edf")
    found = folder.find("edf/data0001.edf")
    assert found is not None
    assert (found[0].layout.name, found[1]) == ("edf", "data0001.edf")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "edf",
        "edf/",
        "/edf/data0001.edf",
        "edf//data0001.edf",
        "./edf/data0001.edf",
        "data0001.edf",
        "edf/data0004.edf",
        "edf/data0001.edf/x",
        "a/b",
        "a/../edf/data0001.edf",
        "/a/data.npy",
    ],
)
def test_what_is_no_file_is_a_key_error(folder: Folder, path: str) -> None:
    assert path not in folder
    assert folder.find(path) is None
    for look_up in (folder.__getitem__, folder.size_of):
        with pytest.raises(KeyError):
            look_up(path)
    assert 3 not in folder


def test_folders_are_found_by_path(folder: Folder) -> None:
    assert folder.folder("") is folder
    a, b = folder.folder("a"), folder.folder("a/b")
    assert a is folder.children["a"]
    assert a is not None
    assert b is a.children["b"]
    assert b is not None
    assert b.files is not None
    assert (list(b.files), dict(b.children)) == (["data0001.npy", "data0002.npy", "data0003.npy"], {})
    for path in ("/", "a/", "/a", "a/c", "edf/data0001.edf", ".", "a/.", "a//b"):
        assert folder.folder(path) is None


def test_trees_come_with_their_folders(folder: Folder) -> None:
    assert [(path, tree.layout.name) for path, tree in folder.trees()] == [
        ("edf", "edf"),
        ("a", "npy-stack"),
        ("a/b", "npy"),
    ]


def test_each_stack_is_there_once(folder: Folder, stack: Any) -> None:
    assert len(folder.stacks) == 2
    assert folder.stacks[0] is stack


def test_its_time_is_that_of_the_newest_file(folder: Folder, stack: Any) -> None:
    newest = stack.facts.mtime_ns + 1
    assert [folder.mtime_ns, folder.children["a"].mtime_ns, folder.children["edf"].mtime_ns] == [
        newest,
        newest,
        newest - 1,
    ]


def test_a_tree_as_a_folder_has_its_own_names(stack: Any) -> None:
    tree = Tree(stack, EDF)
    folder = Folder.of(tree)
    assert list(folder) == list(tree)
    assert folder["data0002.edf"].read() == tree["data0002.edf"].read()
    assert Folder.of(folder) is folder
    assert "/data0002.edf" not in folder


def test_a_folder_may_be_empty(stack: Any) -> None:
    folder = Folder({"a": Folder(), "b": Folder({"c": Folder()})})
    assert (len(folder), list(folder), folder.stacks, folder.mtime_ns) == (0, [], (), 0)
    assert folder.folder("b/c") is not None
    assert repr(folder) == "<Folder of 0 files, folders: a, b>"
    assert repr(Folder.of(Tree(stack, EDF))) == "<Folder of 3 files, folders: none>"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\\b", "a\0", "x" * 256, "é" * 128])
def test_impossible_names_are_refused(name: str) -> None:
    with pytest.raises(UrlError, match="folder"):
        Folder({name: Folder()})


def test_two_entries_of_one_name_are_refused(stack: Any) -> None:
    with pytest.raises(UrlError, match="two entries of the name 'a'"):
        Folder([("a", Folder()), ("a", Folder())])
    with pytest.raises(UrlError, match="two entries"):
        Folder({"data0001.edf": Folder()}, files=Tree(stack, EDF))
    assert list(Folder({"data0001": Folder()}, files=Tree(stack, EDF)).children) == ["data0001"]


def test_a_million_files_take_no_memory(stack: Any) -> None:
    stack.facts = replace(stack.facts, shape=(10**6, 4, 5), leading_shape=(10**6,))
    tracemalloc.start()
    folder = Folder({"a": Folder({"edf": Tree(stack, EDF)})})
    assert sum(1 for _ in folder) == len(folder) == 10**6
    assert all(f"a/edf/data{i:04d}.edf" in folder for i in range(1, 5000))
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_closing_a_folder_remembers_the_sizes_of_all_trees(stack: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "cbf.sizes", tmp_path / "sfrm.sizes"]
    cbf, sfrm = (
        Tree(stack, layout, side_file=SideFile(path, "key", ()))
        for layout, path in zip((CBF, SFRM), paths, strict=True)
    )
    folder = Folder({"a": Folder({"b": cbf})}, files=sfrm)
    for path in ("a/b/data0001.cbf", "data0001.sfrm"):
        assert folder.size_of(path) == len(folder[path].read())
    assert not any(path.exists() for path in paths)
    folder.close()
    assert all(path.exists() for path in paths)
