# SPDX-License-Identifier: MIT
"""Attributes that C tells by itself are those that Python would tell; where it is not sure, it asks Python."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fastlegacy import _serve
from fastlegacy.errors import DecodeError, MountError
from fastlegacy.faces.mount import _refuse
from fastlegacy.faces.mount._loop import address_of
from fastlegacy.faces.mount.native import NativeNames
from fastlegacy.faces.mount.operations import Operations
from fastlegacy.faces.mount.overlay import Overlay
from fastlegacy.faces.mount.real import RealFolder
from fastlegacy.faces.mount.virtual import VirtualEntries
from fastlegacy.index import tree as tree_module
from fastlegacy.index.epoch import EPOCH
from fastlegacy.index.folder import Folder, Slot
from fastlegacy.index.tree import Tree
from fastlegacy.layouts.cbf import LAYOUT as CBF

FIELDS = ("mode", "ino", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks")
TIMES = ("atime", "mtime", "ctime")

Told = dict[str, Any] | int


class Served:
    """A union without a mount, asked as libfuse asks: by the functions of its table."""

    def __init__(self, root: Tree | Folder, folder: Path, high: ModuleType, *, give_away: bool = False) -> None:
        self.high, self.folder, self.version = high, folder, 0
        folder.mkdir(exist_ok=True)
        self.fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
        self.virtual = VirtualEntries(root, label="u", uid=12, gid=34)
        self.handles = _serve.Handles()
        real = RealFolder(self.fd, give_away=give_away)
        self.native = NativeNames(self.virtual, real)
        self.handles.serve(self.native.names)
        self.operations = Operations(
            Overlay(real, self.virtual),
            self.handles,
            lambda: (os.geteuid(), os.getegid(), os.getpid()),
            kernel_checks=True,
            on_init=lambda: None,
            version=lambda: self.version,
            names=self.native,
        )
        self.python: list[str | None] = []
        prototypes = {entry[0]: entry[1] for entry in high.fuse_operations._fields_}
        self._callbacks = [
            prototypes["getattr"](self._getattr),
            prototypes["fgetattr"](self._fgetattr),
            prototypes["open"](self._open),
        ]
        names = ("getattr", "fgetattr", "open")
        addresses = [self.handles.before(*each) for each in zip(names, map(address_of, self._callbacks), strict=True)]
        self._slots = [type(own)(at) for own, at in zip(self._callbacks, addresses, strict=True)]

    def _getattr(self, path: bytes, out: Any) -> int:
        return self._fgetattr(path, out, None)

    def _fgetattr(self, path: bytes | None, out: Any, info: Any) -> int:
        self.python.append(None if path is None else os.fsdecode(path))
        told = self.by_python(None if path is None else os.fsdecode(path), info.contents if info else None)
        if isinstance(told, int):
            return told
        self.high.set_st_attrs(out.contents, {f"st_{name}": value for name, value in told.items()}, use_ns=True)
        return 0

    def _open(self, path: bytes, info: Any) -> int:
        self.python.append(os.fsdecode(path))
        try:
            self.operations("open", os.fsdecode(path), info.contents)
        except OSError as error:
            return -(error.errno or 0)
        return 0

    def open(self, path: str, flags: int = os.O_RDONLY) -> Any:
        """What libfuse gets: the structure that the open has filled, or an errno below zero."""
        info = self.high.fuse_file_info(flags=flags)
        return self._slots[2](os.fsencode(path), info) or info

    def by_python(self, path: str | None, info: Any = None) -> Told:
        """What Python tells: attributes, or an errno below zero."""
        try:
            found = self.operations("getattr", path, info)
        except OSError as error:
            return -(error.errno or 0)
        return {name: found.get(f"st_{name}", 0) for name in FIELDS} | {name: found[f"st_{name}"] for name in TIMES}

    def ask(self, path: str | None, handle: int | None = None) -> Told:
        """What libfuse is told."""
        with _refuse._whole_stat(self.high):
            out = self.high.c_stat()
        ctypes.memset(ctypes.byref(out), 0xA5, ctypes.sizeof(out))
        raw = None if path is None else os.fsencode(path)
        if handle is None:
            code = self._slots[0](raw, ctypes.cast(ctypes.byref(out), ctypes.POINTER(self.high.c_stat)))
        else:
            info = self.high.fuse_file_info(fh=handle)
            code = self._slots[1](raw, ctypes.cast(ctypes.byref(out), ctypes.POINTER(self.high.c_stat)), info)
        if code:
            return int(code)
        times = {name: getattr(out, f"st_{name}spec") for name in TIMES}
        return {name: getattr(out, f"st_{name}") for name in FIELDS} | {
            name: time.tv_sec * 10**9 + time.tv_nsec for name, time in times.items()
        }

    def ask_c(self, path: str) -> Told:
        """What libfuse is told, without Python."""
        self.python.clear()
        told = self.ask(path)
        assert self.python == [], "Python was asked"
        return told

    def ask_both(self, path: str) -> Told:
        """What libfuse is told, which Python had to be asked for."""
        self.python.clear()
        told = self.ask(path)
        assert self.python == [path], "C has told it by itself"
        return told

    def end(self) -> None:
        self.handles.serve(None)
        os.close(self.fd)


@contextmanager
def without_the_rights_of_root() -> Iterator[None]:
    """Be another user, if this one is root, who may look everywhere."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.fixture
def served_here(tmp_path: Path) -> Iterator[Callable[[Tree | Folder], Served]]:
    """Return a function that serves a tree or folder."""
    try:
        high = _refuse.load()
    except MountError as error:
        pytest.skip(str(error))
    made: list[Served] = []

    def make(root: Tree | Folder, *, give_away: bool = False) -> Served:
        made.append(Served(root, tmp_path / f"demo{len(made) or ''}", high, give_away=give_away))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def flat(served_here: Callable[..., Served], served: ModuleType) -> Served:
    tree = served.make_tree()
    tree.add({"mask.txt": b"12345"})
    return served_here(tree)


@pytest.fixture
def deep(served_here: Callable[..., Served], served: ModuleType) -> Served:
    return served_here(served.make_folder())


def test_every_path_is_told_as_python_tells_it(deep: Served) -> None:
    (deep.folder / "real").write_bytes(b"1234567")
    (deep.folder / "link").symlink_to("/etc")
    (deep.folder / "deep").mkdir()
    (deep.folder / "deep/data").write_bytes(b"x")
    (deep.folder / "img").symlink_to("deep")
    names = ["", "img", "deep", "deep/pix", "real", "link", "link/passwd", "img/x", "deep/data", "deep/data/x"]
    names += [f"deep/pix/{name}" for name in ("data0001.pix", "data0012.pix", "data0013.pix", "data1.pix", "nothing")]
    names += ["img/data0001.img", ".", "..", "deep/..", "deep/../real", "deep//data", "deep/pix/../data", "x" * 300]
    paths = [f"/{name}" for name in names]
    expected = {path: deep.by_python(path) for path in paths}
    assert {path: deep.ask(path) for path in paths} == expected
    assert {path: deep.ask(path) for path in paths} == expected
    assert sum(isinstance(told, dict) for told in expected.values()) >= 9


def test_virtual_files_are_told_without_python(flat: Served, served: ModuleType) -> None:
    first = flat.ask_both("/data0001.img")
    assert isinstance(first, dict)
    assert (first["size"], first["uid"], first["gid"]) == (len(served.content(0)), 12, 34)
    for name in ("data0001.img", "data0007.img", "mask.txt"):
        assert flat.ask_c(f"/{name}") == flat.by_python(f"/{name}")
    assert flat.ask_both("/data0013.img") == -errno.ENOENT
    assert flat.handles.statistics()["attributes"] == 3


def test_a_real_file_wins_at_once(flat: Served) -> None:
    virtual = flat.ask("/data0001.img")
    (flat.folder / "data0001.img").write_bytes(b"real")
    told = flat.ask_c("/data0001.img")
    assert isinstance(told, dict)
    assert told["size"] == 4
    assert told == flat.by_python("/data0001.img")
    (flat.folder / "data0001.img").unlink()
    assert flat.ask_c("/data0001.img") == virtual
    (flat.folder / "data0001.img").mkdir()
    assert flat.ask_both("/data0001.img") == flat.by_python("/data0001.img")


def test_what_hides_a_folder_hides_its_files(deep: Served) -> None:
    path = "/deep/pix/data0001.pix"
    virtual = deep.ask(path)
    assert deep.ask_c(path) == virtual
    (deep.folder / "deep").write_bytes(b"")
    assert deep.ask_both(path) == -errno.ENOTDIR
    (deep.folder / "deep").unlink()
    elsewhere = deep.folder.parent / "elsewhere"
    (elsewhere / "pix").mkdir(parents=True)
    (elsewhere / "pix/data0001.pix").write_bytes(b"a secret")
    (deep.folder / "deep").symlink_to(elsewhere)
    assert deep.ask_both(path) == deep.by_python(path)
    assert isinstance(deep.ask(path), int)
    (deep.folder / "deep").unlink()
    (deep.folder / "deep/pix").mkdir(parents=True)
    assert deep.ask_c(path) == virtual


def test_a_folder_that_may_not_be_looked_into_does_not_uncover_what_is_below(deep: Served) -> None:
    path = "/deep/pix/data0001.pix"
    virtual = deep.ask(path)
    (deep.folder / "deep/pix").mkdir(parents=True)
    (deep.folder / "deep").chmod(0)
    with without_the_rights_of_root():
        assert deep.ask_both(path) == -errno.EACCES
    (deep.folder / "deep").chmod(0o755)
    with without_the_rights_of_root():
        assert deep.ask_c(path) == virtual


@pytest.mark.parametrize("give_away", [False, True])
def test_folders_are_told_without_python(
    served_here: Callable[..., Served], served: ModuleType, give_away: bool
) -> None:
    here = served_here(served.make_folder(), give_away=give_away)
    here.folder.chmod(0o3751)
    paths = ["/", "/img", "/deep", "/deep/pix"]
    for path in [*paths, "/img/data0001.img", "/deep/pix/data0001.pix", *paths]:
        here.ask(path)

    def all_told() -> dict[str, Told]:
        told = {path: here.ask_c(path) for path in paths}
        assert told == {path: here.by_python(path) for path in paths}
        return told

    virtual = all_told()["/deep/pix"]
    assert isinstance(virtual, dict)
    assert virtual["mode"] == stat.S_IFDIR | 0o3751
    (here.folder / "deep").mkdir()
    (here.folder / "deep").chmod(0o700)
    if os.geteuid() == 0:
        os.chown(here.folder / "deep", 1234, 5678)
    below = all_told()["/deep/pix"]
    assert isinstance(below, dict)
    assert below["mode"] == stat.S_IFDIR | 0o700
    if os.geteuid() == 0:
        assert (below["uid"], below["gid"]) == ((1234, 5678) if give_away else (os.geteuid(), os.getegid()))
    (here.folder / "deep/pix").mkdir()
    merged = all_told()["/deep/pix"]
    assert isinstance(merged, dict)
    assert merged["ino"] == virtual["ino"]
    assert merged["mtime"] != virtual["mtime"]
    (here.folder / "real").mkdir()
    assert here.ask_both("/real") == here.by_python("/real")
    (here.folder / "deep/pix").rmdir()
    (here.folder / "deep/pix").write_bytes(b"a file")
    told = here.ask_c("/deep/pix")
    assert told == here.by_python("/deep/pix")
    assert isinstance(told, dict)
    assert told["size"] == 6


def test_a_folder_is_as_new_as_the_tree_that_was_made(served_here: Callable[..., Served], served: ModuleType) -> None:
    here = served_here(Folder({"img": Slot(lambda before: served.make_tree(3), mtime_ns=5)}))
    here.native.tell("/img", lambda: 0)
    assert not here.native.names.knows("/img"), "nothing has been made"
    before = here.ask("/img")
    assert isinstance(before, dict)
    assert before["mtime"] == 5
    here.ask("/img/data0001.img")
    after = [here.ask("/img"), here.ask("/img"), here.ask_c("/img")]
    assert after == 3 * [here.by_python("/img")]
    assert after[0] != before


def test_sizes_that_have_to_be_measured_are_asked_for_once(
    served_here: Callable[..., Served], served: ModuleType
) -> None:
    asked: list[str] = []

    class Measured(Tree):
        def size_of(self, name: str) -> int:
            asked.append(name)
            if name == "data0002.img":
                raise DecodeError("damaged", file="a.h5", dataset="/b")
            return 1000 + self.index_of(name)

    here = served_here(Measured(served.MemoryStack(), served.HeaderAndPixels()))
    assert here.ask("/data0001.img") == here.ask("/data0001.img") == here.ask_c("/data0001.img")
    third = here.ask_both("/data0003.img")
    assert isinstance(third, dict)
    assert third["size"] == 1002
    assert here.ask_c("/data0003.img") == third
    assert here.ask_both("/data0002.img") == here.ask_both("/data0002.img") == -errno.EIO
    assert asked.count("data0003.img") == 1
    # a size that was looked for before a change is not believed after it
    EPOCH.advance()
    here.ask("/data0004.img")
    here.native.names.learn("/data0005.img", np.array([5]), EPOCH.now - 1)
    here.ask_both("/data0005.img")
    here.native.names.learn("/data0006.img", np.array([6]), EPOCH.now)
    told = here.ask_c("/data0006.img")
    assert isinstance(told, dict)
    assert told["size"] == 6


def test_once_all_sizes_are_known_python_is_asked_for_few(
    served_here: Callable[..., Served], pixel_stack: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "_BESIDE", 8)
    tree = Tree(pixel_stack(shape=(20, 6, 7)), CBF)
    tree.add({"XDS.INP": b"12345"})
    paths = [f"/{name}" for name in tree]
    assert all(file.size for file in tree.values())
    here = served_here(tree)
    here.ask_both(paths[3])
    assert here.ask_both(paths[3]) == here.ask_c(paths[3])
    told = [here.ask_c(path) for path in paths[:8]]
    here.ask_both(paths[8])
    here.ask_both(paths[19])
    told += [here.ask_c(path) for path in paths[8:]]
    assert told == [here.by_python(path) for path in paths]


def test_a_tree_that_was_made_anew_is_told_anew(served_here: Callable[..., Served], served: ModuleType) -> None:
    number = 3

    def make(_before: Tree | None) -> Tree:
        return served.make_tree(number)

    slot = Slot(make)
    here = served_here(Folder({"img": slot}))
    assert here.ask_both("/img/data0004.img") == -errno.ENOENT
    here.ask_both("/img/data0003.img")
    here.ask_c("/img/data0003.img")
    number = 4
    slot.renew()
    told = here.ask_both("/img/data0004.img")
    assert isinstance(told, dict)
    assert here.ask_c("/img/data0004.img") == told
    slot.let_go()
    assert here.ask_both("/img/data0004.img") == told


def test_who_has_an_old_file_open_is_for_python(flat: Served) -> None:
    opened = SimpleNamespace(flags=os.O_RDONLY, fh=0, keep_cache=0, direct_io=0)
    flat.operations("open", "/data0001.img", opened)
    before = flat.ask("/data0001.img")
    assert flat.ask_c("/data0001.img") == before
    flat.version = 1
    EPOCH.advance()
    flat.ask_both("/data0002.img")
    flat.ask_c("/data0002.img")
    assert flat.ask_both("/data0001.img") == before
    flat.handles.release(opened.fh)
    assert flat.ask_c("/data0001.img") == before


def test_open_files_are_told_without_a_path(flat: Served) -> None:
    opened = SimpleNamespace(flags=os.O_RDONLY, fh=0, keep_cache=0, direct_io=0)
    flat.operations("open", "/data0001.img", opened)
    assert flat.ask(None, opened.fh) == flat.by_python(None, opened)
    assert flat.python == [None], "nobody has looked into the folder yet"
    expected = flat.ask("/data0001.img")
    flat.python.clear()
    (flat.folder / "data0001.img").write_bytes(b"real")
    assert flat.ask(None, opened.fh) == expected
    assert flat.python == []
    flat.handles.retire("/data0001.img", 9, 5)
    assert flat.ask(None, opened.fh) == flat.by_python(None, opened) == -errno.ESTALE
    real = flat.handles.open_real(os.open(flat.folder / "data0001.img", os.O_RDONLY))
    told = flat.ask(None, real)
    assert isinstance(told, dict)
    assert (told["size"], flat.python) == (4, [])
    for handle in (opened.fh, real):
        flat.handles.release(handle)


def test_many_threads_ask_while_all_changes(flat: Served) -> None:
    expected = flat.ask("/data0005.img")
    wrong: list[Told] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            told = flat.ask("/data0005.img")
            if told != expected:
                wrong.append(told)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        EPOCH.advance()
        flat.native.tell("/", lambda: 0)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.fuse
def test_a_listing_of_a_mount_hardly_asks_python(serve: Callable[..., Any], tmp_path: Path) -> None:
    mount = serve(frames=2000)
    folder = tmp_path / "demo"
    (folder / "data0003.img").write_bytes(b"real")
    (folder / "more").mkdir()
    found = subprocess.run(["ls", "-ln", str(folder)], check=True, capture_output=True, text=True).stdout.split("\n")
    names = [line.split()[8] for line in found[1:-1]]
    assert names == [f"data{number:04d}.img" for number in range(1, 2001)] + ["more"]
    sizes = {line.split()[8]: int(line.split()[4]) for line in found[1:-2]}
    assert sizes.pop("data0003.img") == 4
    assert set(sizes.values()) == {os.stat(folder / "data0001.img").st_size}
    statistics, errors = mount.interrupt()
    assert errors == ""
    told = statistics["operations"]["getattr"]
    assert told["calls"] >= 2000
    assert 0 < told["python_calls"] < 100
