# SPDX-License-Identifier: MIT
"""Files that are replaced or removed while somebody has them open, or has just closed them, on a mount."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import pytest


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
