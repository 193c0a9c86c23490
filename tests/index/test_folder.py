# SPDX-License-Identifier: MIT
import os
import random
import threading
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastlegacy.errors import SourceError, UrlError
from fastlegacy.index import folder as module
from fastlegacy.index.folder import Folder, Shelf, Slot
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


def test_entries_are_found_in_any_case(folder: Folder, stack: Any) -> None:
    a = folder.children["a"]
    assert [folder.spelled(name) for name in ("EDF", "edf", "A", "b", "data0001.edf")] == [
        "edf",
        "edf",
        "a",
        None,
        None,
    ]
    assert [a.spelled(name) for name in ("B", "DATA.npy", "data.NPY", "DATA0001.NPY")] == [
        "b",
        "data.npy",
        "data.npy",
        None,
    ]
    tree = Tree(stack, EDF)
    tree.add({"XDS.INP": b"", "xds.inp": b""})
    names = {"DATA0003.EDF": "data0003.edf", "data0004.EDF": None, "xds.inp": "xds.inp", "Xds.Inp": "XDS.INP"}
    assert {name: tree.spelled(name) for name in names} == names
    both = Folder({"Data0001.EDF": tree, "data0001.Edf": tree}, files=tree)
    assert [both.spelled(name) for name in ("data0001.edf", "DATA0001.edf")] == ["data0001.edf", "Data0001.EDF"]


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
    assert repr(folder) == "<Folder of 0 trees, folders: a, b>"
    assert repr(Folder.of(Tree(stack, EDF))) == "<Folder of 1 trees, folders: none>"


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


# ------------------------------------------------------------------------------------------------- slots


class Maker:
    """Makes trees of a stack, and knows how often."""

    def __init__(self, stack: Any, layout: Any = EDF) -> None:
        self.stack = stack
        self.layout = layout
        self.before: list[Tree | None] = []
        self.fails = False

    def __call__(self, before: Tree | None) -> Tree:
        self.before.append(before)
        if self.fails:
            raise SourceError("is gone", file="a.h5")
        return Tree(self.stack, self.layout)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A list with the time."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_a_tree_is_made_when_it_is_asked_for_and_once(stack: Any) -> None:
    make = Maker(stack)
    slot = Slot(make, mtime_ns=5)
    assert (slot.now, slot.mtime_ns, make.before) == (None, 5, [])
    tree = slot.tree()
    assert slot.tree() is slot.now is tree
    assert slot.mtime_ns == stack.facts.mtime_ns
    assert make.before == [None]


def test_eight_threads_make_one_tree(stack: Any) -> None:
    make = Maker(stack)
    barrier = threading.Barrier(8)

    def slow(before: Tree | None) -> Tree:
        for _ in range(200):
            os.sched_yield()
        return make(before)

    slot = Slot(slow, Shelf(1))

    def ask(_: int) -> Tree:
        barrier.wait(60)
        return slot.tree()

    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(ask, range(8)))
    assert len({id(tree) for tree in trees}) == len(make.before) == 1


def test_an_error_holds_for_two_seconds(stack: Any, clock: list[float]) -> None:
    make = Maker(stack)
    make.fails = True
    slot = Slot(make)
    errors = []
    for now in (100.0, 100.5, 101.9):
        clock[0] = now
        with pytest.raises(SourceError, match="is gone") as caught:
            slot.tree()
        errors.append(caught.value)
    assert len(make.before) == 1
    assert errors[0] is errors[1] is errors[2]
    make.fails = False
    clock[0] = 102.1
    assert slot.tree() is slot.now
    assert len(make.before) == 2


def test_an_error_that_is_held_does_not_grow(stack: Any, clock: list[float]) -> None:
    make = Maker(stack)
    make.fails = True
    slot = Slot(make)
    for _ in range(50):
        with pytest.raises(SourceError) as caught:
            slot.tree()
    frames, trace = 0, caught.value.__traceback__
    while trace is not None:
        frames, trace = frames + 1, trace.tb_next
    assert frames < 10


def test_what_is_renewed_gets_the_tree_that_was_there(stack: Any) -> None:
    make = Maker(stack)
    slot = Slot(make)
    slot.renew()
    assert make.before == []
    first = slot.tree()
    slot.renew()
    assert slot.now is not first
    assert make.before == [None, first]


def test_a_tree_that_cannot_be_renewed_stays(stack: Any, clock: list[float]) -> None:
    make = Maker(stack)
    slot = Slot(make)
    first = slot.tree()
    make.fails = True
    for _ in range(2):
        with pytest.raises(SourceError):
            slot.renew()
        assert slot.tree() is first
    make.fails = False
    slot.renew()
    assert slot.now is not first


def test_to_be_renewed_is_tried_though_an_error_is_held(stack: Any, clock: list[float]) -> None:
    make = Maker(stack)
    make.fails = True
    slot = Slot(make)
    with pytest.raises(SourceError):
        slot.tree()
    make.fails = False
    slot.renew()
    assert slot.now is None
    assert slot.tree() is slot.now


def test_a_shelf_lets_go_of_what_nobody_asked_for_longest(stack: Any) -> None:
    gone: list[int] = []
    shelf = Shelf(2)
    slots = [Slot(Maker(stack), shelf, gone=lambda i=i: gone.append(i)) for i in range(4)]
    for i in (0, 1, 0, 2):
        slots[i].tree()
    assert gone == [1]
    assert [slot.now is None for slot in slots] == [False, True, False, True]
    slots[3].tree()
    assert gone == [1, 0]
    slots[1].tree()
    assert gone == [1, 0, 2]


def test_what_was_let_go_of_is_made_again_and_its_files_go_on(stack: Any) -> None:
    make = Maker(stack)
    slot = Slot(make)
    first = slot.tree()
    file = first["data0001.edf"].open()
    slot.let_go()
    slot.let_go()
    assert slot.now is None
    again = slot.tree()
    assert again is not first
    assert make.before == [None, None]
    expected = again["data0001.edf"].read()
    buffer = bytearray(len(expected))
    assert file.read_into(buffer, 0) == len(expected)
    assert buffer == expected


def test_a_tree_in_a_slot_of_its_own_stays(stack: Any) -> None:
    tree = Tree(stack, EDF)
    slot = Slot.of(tree)
    assert slot.now is slot.tree() is tree
    assert Slot.of(slot) is slot
    slot.let_go()
    assert slot.tree() is tree


def test_many_threads_on_a_small_shelf(stack: Any) -> None:
    shelf = Shelf(3)
    slots = [Slot(Maker(stack), shelf) for _ in range(12)]
    expected = Tree(stack, EDF)["data0002.edf"].read()

    def work(seed: int) -> bool:
        choose = random.Random(seed)
        return all(choose.choice(slots).tree()["data0002.edf"].read() == expected for _ in range(60))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert sum(slot.now is not None for slot in slots) <= 3


# ------------------------------------------------------------------------------------------------- folders of slots


def test_several_trees_may_be_in_one_folder(stack: Any) -> None:
    folder = Folder({"x": Folder()}, files=[Tree(stack, EDF), Slot(Maker(stack, CBF)), Slot(Maker(stack, NPY_STACK))])
    names = [f"data000{i}.{suffix}" for suffix in ("edf", "cbf") for i in (1, 2, 3)] + ["data.npy"]
    assert list(folder) == list(folder.files) == names
    assert len(folder) == 7
    assert folder["data0002.cbf"].read() == Tree(stack, CBF)["data0002.cbf"].read()
    assert folder["data.npy"].read() == Tree(stack, NPY_STACK)["data.npy"].read()
    assert [tree.layout.name for _, tree in folder.trees()] == ["edf", "cbf", "npy-stack"]


def test_what_looks_at_folders_makes_nothing(stack: Any) -> None:
    makers = [Maker(stack) for _ in range(4)]
    a, b, c, d = (Slot(make, mtime_ns=i) for i, make in enumerate(makers))
    folder = Folder({"a": a, "b": Folder({"c": c}, files=b)}, files=[d])
    assert [(path, slot) for path, slot in folder.walk()] == [("", d), ("a", a), ("b", b), ("b/c", c)]
    assert folder.folder("b/c") is not None
    assert folder.folder("b/d") is None
    assert folder.mtime_ns == 3
    assert folder.children["b"].mtime_ns == 2
    assert folder.stacks == ()
    assert list(folder.children) == ["a", "b"]
    assert folder.slots == (d,)
    assert repr(folder).startswith("<Folder of 1 trees")
    folder.close()
    assert [make.before for make in makers] == [[], [], [], []]


def test_what_looks_for_a_file_makes_the_trees_of_its_folder_only(stack: Any) -> None:
    makers = {name: Maker(stack) for name in "abc"}
    folder = Folder({"a": Slot(makers["a"]), "b": Folder({"c": Slot(makers["c"])}, files=Slot(makers["b"]))})
    assert "b/data0002.edf" in folder
    assert "b/nothing" not in folder
    assert {name: len(make.before) for name, make in makers.items()} == {"a": 0, "b": 1, "c": 0}
    assert len(folder.stacks) == 1
    assert list(folder.children["b"].files) == [f"data000{i}.edf" for i in (1, 2, 3)]
    assert {name: len(make.before) for name, make in makers.items()} == {"a": 0, "b": 1, "c": 0}
    assert len(folder) == 9
    assert {name: len(make.before) for name, make in makers.items()} == {"a": 1, "b": 1, "c": 1}


def test_a_tree_that_cannot_be_made_is_an_error_of_its_folder_only(stack: Any) -> None:
    bad = Maker(stack)
    bad.fails = True
    folder = Folder({"bad": Slot(bad), "good": Slot(Maker(stack))})
    assert len(list(folder.children["good"].files)) == 3
    assert "good/data0001.edf" in folder
    with pytest.raises(SourceError):
        folder.find("bad/data0001.edf")
    with pytest.raises(SourceError):
        list(folder.children["bad"].files)
