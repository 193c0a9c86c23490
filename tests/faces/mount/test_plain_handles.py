# SPDX-License-Identifier: MIT
"""Open files without C: what they say of versions and sizes is what those with C say, which are the oracle here."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy._serve import Handles
from fastlegacy.faces.mount.plain_handles import PlainHandles

FRAME_BYTES = 4064


@pytest.fixture
def tree(served: ModuleType) -> Any:
    return served.make_tree(broken=True)


def info(handle: int) -> SimpleNamespace:
    return SimpleNamespace(fh=handle)


_OF_C = {"before", "serve", "sources"} | {"prefetch", "end_prefetch", "seen", "wait_for_prefetch"}
_OF_C |= {"prepare", "is_prepared", "ask_for_opens", "wait_for_opens", "end_opens"}


def test_it_has_all_that_the_others_have() -> None:
    def public(cls: type) -> set[str]:
        return {name for name in dir(cls) if not name.startswith("_")}

    # what is about C, or about memory that C would use after it was freed
    assert public(Handles) - _OF_C <= public(PlainHandles)
    assert PlainHandles().statistics().keys() == Handles().statistics().keys()


@given(offset=st.integers(0, FRAME_BYTES + 10), size=st.integers(0, FRAME_BYTES + 10))
def test_any_range_of_a_virtual_file_is_the_slice_of_the_whole(served: ModuleType, offset: int, size: int) -> None:
    handles = PlainHandles()
    handle = handles.open_virtual(served.make_tree()["data0003.img"].open(), "/data0003.img")
    whole = served.content(2)
    assert len(whole) == FRAME_BYTES == handles.size(handle)
    assert handles.read(None, size, offset, info(handle)) == whole[offset : offset + size]


def test_a_real_file_is_read_and_written_at_any_place(tmp_path: Path) -> None:
    handles = PlainHandles()
    handle = handles.open_real(os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT))
    assert handles.write(None, b"0123456789", 0, info(handle)) == 10
    assert handles.write(None, b"ab", 4, info(handle)) == 2
    assert handles.read(None, 4, 3, info(handle)) == b"3ab6"
    handles.flush(None, info(handle))
    fd = handles.fd(handle)
    assert handles.size(handle) == -1
    handles.close(None, info(handle))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
    counts = handles.statistics()
    assert (counts["writes"], counts["write_bytes"], counts["real_read_bytes"], counts["releases"]) == (2, 12, 4, 1)


def test_a_frame_that_cannot_be_read_is_an_error_and_in_the_log(tree: Any, served: ModuleType) -> None:
    handles = PlainHandles()
    name = tree.names_by_number.name(served.BROKEN_FRAME)
    handle = handles.open_virtual(tree[name].open(), f"/{name}")
    for _ in range(70):
        with pytest.raises(OSError, match="Input/output") as caught:
            handles.read(None, 4096, 0, info(handle))
        assert caught.value.errno == errno.EIO
    messages = handles.take_errors()
    assert len(messages) == 65
    assert messages[0].startswith(f"/{name}, bytes 0 to 4096: ")
    assert messages[-1] == "and 6 more reads that failed"
    assert handles.take_errors() == []
    assert handles.statistics()["errors"] == 70


def test_what_is_no_open_file_is_an_error(tree: Any) -> None:
    handles = PlainHandles()
    handle = handles.open_virtual(tree["data0001.img"].open(), "/data0001.img")
    for call in (
        lambda: handles.write(None, b"x", 0, info(handle)),
        lambda: handles.read(None, 1, 0, info(handle + 1)),
        lambda: handles.flush(None, info(0)),
    ):
        with pytest.raises(OSError, match="Bad file descriptor"):
            call()


def test_a_failed_write_tells_what_was_written_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handles = PlainHandles()
    handle = handles.open_real(os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT))
    write, calls = os.write, iter([3, 3, 0])

    def some(fd: int, data: bytes) -> int:
        count = next(calls)
        if not count:
            raise OSError(errno.ENOSPC, "full")
        return write(fd, data[:count])

    monkeypatch.setattr(os, "write", some)
    assert handles.write(None, b"0123456789", 0, info(handle)) == 6
    calls = iter([0])
    with pytest.raises(OSError, match="full"):
        handles.write(None, b"0123456789", 0, info(handle))
    handles.release(handle)


STEPS: dict[str, Callable[[Any, Any, list[int]], Any]] = {
    "open at 1": lambda h, tree, opened: opened.append(h.open_virtual(tree["data0001.img"].open(), "/a", 1)),
    "open at 2": lambda h, tree, opened: opened.append(h.open_virtual(tree["data0001.img"].open(), "/a", 2)),
    "open another": lambda h, tree, opened: opened.append(h.open_virtual(tree["data0002.img"].open(), "/b", 1)),
    "of the same size": lambda h, tree, opened: h.retire("/a", 2, FRAME_BYTES),
    "of another size": lambda h, tree, opened: h.retire("/a", 2, 1),
    "of another size later": lambda h, tree, opened: h.retire("/a", 3, 1),
    "stale": lambda h, tree, opened: [h.is_stale(handle) for handle in opened],
    "settled": lambda h, tree, opened: [h.is_settled("/a", h.number(handle)) for handle in opened[:2]],
    "sizes": lambda h, tree, opened: [(h.size(handle), h.fd(handle)) for handle in opened],
    "close": lambda h, tree, opened: h.release(opened.pop()) if opened else None,
    "counts": lambda h, tree, opened: [h.statistics()[name] for name in ("opened", "releases", "errors")],
}


@given(steps=st.lists(st.sampled_from(sorted(STEPS)), max_size=20))
def test_versions_are_kept_as_with_c(served: ModuleType, steps: list[str]) -> None:
    made = [(Handles(), list[int]()), (PlainHandles(), list[int]())]
    tree = served.make_tree()
    for step in steps:
        first, second = (STEPS[step](handles, tree, opened) for handles, opened in made)
        assert first == second, step
    for handles, opened in made:
        for handle in opened:
            handles.release(handle)


def test_who_has_read_is_settled_and_who_is_stale_cannot_read_on(tree: Any) -> None:
    handles = PlainHandles()
    handle = handles.open_virtual(tree["data0001.img"].open(), "/a", 1)
    assert not handles.is_settled("/a", handles.number(handle))
    handles.read(None, 1, 0, info(handle))
    assert handles.is_settled("/a", handles.number(handle))
    assert handles.retire("/a", 2, 1) == (1, 1)
    with pytest.raises(OSError, match="Stale"):
        handles.read(None, 1, 0, info(handle))
