# SPDX-License-Identifier: MIT
"""Files that are removed or replaced while somebody has them open, or has just closed them."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fastlegacy.faces.mount.hidden import HiddenFiles
from fastlegacy.faces.mount.real import RealFolder

HIDDEN = "/.fuse_hidden0001"


@pytest.fixture
def mounted(serve: Callable[..., Any], tmp_path: Path) -> Iterator[Path]:
    """A mounted folder; the log of the mount has to be empty at the end."""
    mount = serve()
    yield tmp_path / "demo"
    _, errors = mount.interrupt()
    assert errors == ""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    return tmp_path / "demo_real"


@pytest.fixture
def hidden(union: SimpleNamespace) -> Iterator[SimpleNamespace]:
    """An object that hides, who uses a file as the test says, and a file in the folder."""
    users = iter(())
    made = SimpleNamespace(folder=union.folder, users=users)
    made.files = HiddenFiles(RealFolder(union.fd, give_away=False), lambda _device, _inode: next(made.users))
    (union.folder / "mine").write_text("mine")
    yield made
    assert not list(made.users)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.fuse
def test_a_rename_that_is_refused_costs_no_file_that_somebody_has_open(mounted: Path, real: Path) -> None:
    (mounted / "results").write_text("precious")
    with open(mounted / "results") as viewer:
        with pytest.raises(OSError, match="Read-only") as caught:
            os.rename(mounted / "data0001.img", mounted / "results")
        assert caught.value.errno == errno.EROFS
        assert (mounted / "results").read_text() == "precious"
        assert viewer.read() == "precious"
    assert (real / "results").read_text() == "precious"


@pytest.mark.fuse
def test_two_names_of_an_open_file_are_both_kept_by_a_rename(mounted: Path, real: Path) -> None:
    (mounted / "one").write_text("x")
    os.link(mounted / "one", mounted / "other")
    with open(mounted / "other"):
        os.rename(mounted / "one", mounted / "other")  # POSIX: nothing to do
        assert {"one", "other"} <= set(names(real))


@pytest.mark.fuse
def test_a_frame_that_somebody_reads_can_be_saved_over(
    mounted: Path, real: Path, served: ModuleType, wait: Callable[[Callable[[], bool]], bool]
) -> None:
    frame = mounted / "data0001.img"
    with open(frame, "rb", buffering=0) as viewer:
        assert viewer.read(10) == served.content(0)[:10]
        (mounted / "new").write_text("corrected")
        os.rename(mounted / "new", frame)
        assert (real / "data0001.img").read_text() == frame.read_text() == "corrected"
        assert viewer.read() == served.content(0)[10:]
        assert wait(lambda: os.fstat(viewer.fileno()).st_size == len(served.content(0)))
    frame.unlink()
    assert wait(lambda: frame.read_bytes() == served.content(0))


@pytest.mark.fuse
def test_a_replaced_file_goes_on_for_who_has_it_open_and_leaves_nothing_behind(
    mounted: Path, real: Path, wait: Callable[[Callable[[], bool]], bool]
) -> None:
    (mounted / "a").write_text("old")
    with open(mounted / "a", "r+") as viewer:
        (mounted / "b").write_text("newer")
        os.rename(mounted / "b", mounted / "a")
        assert (mounted / "a").read_text() == "newer"
        viewer.truncate(2)
        assert viewer.read() == "ol"
        assert os.fstat(viewer.fileno()).st_size == 2
    assert wait(lambda: names(real) == ["a"])
    assert (real / "a").read_text() == "newer"


@pytest.mark.fuse
def test_a_folder_can_be_removed_as_soon_as_its_files_are_closed_and_removed(mounted: Path) -> None:
    for _ in range(300):
        (mounted / "folder").mkdir()
        (mounted / "folder/x").write_text("1")
        assert (mounted / "folder/x").read_text() == "1"
        (mounted / "folder/x").unlink()
        (mounted / "folder").rmdir()


def test_a_removed_file_that_is_open_has_the_hidden_name_only(hidden: SimpleNamespace) -> None:
    hidden.users = iter([(1, 0)])
    hidden.files.hide("/mine", HIDDEN, is_replaced=False)
    assert names(hidden.folder) == [HIDDEN[1:]]


def test_a_file_to_be_replaced_keeps_its_name(hidden: SimpleNamespace) -> None:
    hidden.users = iter([(1, 0)])
    hidden.files.hide("/mine", HIDDEN, is_replaced=True)
    assert names(hidden.folder) == [HIDDEN[1:], "mine"]
    hidden.files.remove_all()
    assert names(hidden.folder) == ["mine"]


def test_a_file_to_be_replaced_keeps_its_name_where_there_are_no_links(
    hidden: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_keywords: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    hidden.users = iter([(1, 0)])
    hidden.files.hide("/mine", HIDDEN, is_replaced=True)
    assert names(hidden.folder) == ["mine"]


def test_who_is_just_closing_a_file_is_waited_for(hidden: SimpleNamespace) -> None:
    hidden.users = iter([(2, 2), (1, 1), (0, 0)])
    hidden.files.hide("/mine", HIDDEN, is_replaced=False)
    assert names(hidden.folder) == []


@pytest.mark.fuse
def test_who_looks_while_a_file_is_replaced_is_never_told_that_it_is_not_there(mounted: Path) -> None:
    kept, new, done = mounted / "kept", mounted / "new", threading.Event()
    kept.write_text("0")
    seen: set[str] = set()

    def look() -> None:
        while not done.is_set():
            try:
                kept.lstat()
                seen.add(kept.read_text())
            except OSError as error:
                if error.errno != errno.ESTALE:  # replaced once more while the kernel was looking it up again
                    raise

    with ThreadPoolExecutor(2) as pool:
        lookers = [pool.submit(look) for _ in range(2)]
        for number in range(300):
            new.write_text(str(number))
            new.rename(kept)
        done.set()
        for looker in lookers:
            looker.result()
    assert seen <= {str(number) for number in range(300)}


def test_a_folder_is_swept_of_what_nobody_has_open_any_more(hidden: SimpleNamespace) -> None:
    (hidden.folder / "other").write_text("other")
    hidden.users = iter([(1, 0), (1, 0)])
    hidden.files.hide("/mine", HIDDEN, is_replaced=False)
    hidden.files.hide("/other", f"{HIDDEN}2", is_replaced=False)
    hidden.users = iter(())
    hidden.files.sweep("/elsewhere")
    counted = {(hidden.folder / HIDDEN[1:]).stat().st_ino: (0, 0)}
    hidden.files._users = lambda _device, inode: counted.get(inode, (1, 0))
    hidden.files.sweep("/")
    assert names(hidden.folder) == [f"{HIDDEN[1:]}2"]


def test_a_hidden_frame_is_found_until_it_is_forgotten(union: SimpleNamespace) -> None:
    union.overlay.hide("/data0001.img", HIDDEN, is_replaced=True)
    assert union.overlay.attributes(HIDDEN) == union.overlay.attributes("/data0001.img")
    with pytest.raises(FileNotFoundError):
        union.overlay.unlink(HIDDEN)  # libfuse does so when it is closed
    with pytest.raises(FileNotFoundError):
        union.overlay.attributes(HIDDEN)
    with pytest.raises(OSError, match="Read-only"):
        union.overlay.hide("/data0001.img", HIDDEN, is_replaced=False)
