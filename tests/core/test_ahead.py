# SPDX-License-Identifier: MIT
"""What is decoded before anybody asks for it: which frames, how many bytes, and that readers never notice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (its import registers the filters)
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlegacy import _serve
from fastlegacy.hdf5 import chunks
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.index.tree import Tree
from fastlegacy.registry import plugins
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames

LAYOUTS = plugins("fastlegacy.layouts", "LAYOUT")
SHAPE = (300, 260)
FRAME_BYTES = 300 * 260 * 4
REQUEST = 131_072
THREAD = 4711


class Reader:
    """A thread of a program that reads the files of a tree, by way of what the kernel's requests become."""

    def __init__(self, tree: Tree, handles: _serve.Handles, thread: int = THREAD) -> None:
        self.files = list(tree.values())
        self.handles = handles
        self.thread = thread

    @contextmanager
    def opened(self, number: int) -> Iterator[Callable[[int, int], bytes]]:
        file = self.files[number]
        handle = self.handles.open_virtual(file.open(), file.name)

        def read(offset: int, size: int) -> bytes:
            data = file.read(offset, size)
            self.handles.seen(handle, self.thread, offset, len(data))
            return data

        try:
            yield read
        finally:
            self.handles.release(handle)

    def all_of(self, number: int) -> bytes:
        """Read a file from end to end."""
        size = self.files[number].size
        with self.opened(number) as read:
            return b"".join(read(offset, REQUEST) for offset in range(0, size, REQUEST))


@pytest.fixture
def handles() -> Iterator[_serve.Handles]:
    made = _serve.Handles()
    made.prefetch(1)
    yield made
    made.end_prefetch()


@pytest.fixture
def scan(tmp_path: Path) -> Callable[..., tuple[Tree, Context, Any]]:
    """Return a function that makes a tree of 12 frames with a cache of its own, and gives that and the pixels."""
    frames = detector_frames(12, SHAPE, "u4")
    urls: dict[str, str] = {}

    def make(filters: str = "gzip", layout: str = "edf", cache_bytes: int = 1 << 27) -> tuple[Tree, Context, Any]:
        if filters not in urls:
            path = tmp_path / f"{filters}.h5"
            urls[filters] = write_stack(path, frames, filters=filters, chunks=(1, *SHAPE))
        context = Context(cache_bytes)
        return Tree(Stack(urls[filters], context=context), LAYOUTS[layout]), context, frames

    return make


def contents(tree: Tree) -> list[bytes]:
    """Return the bytes of all files, read by another stack with a cache of its own."""
    return [file.read() for file in Tree(Stack(tree.facts.url, context=Context()), tree.layout).values()]


def frames_there(tree: Tree, context: Context) -> list[int]:
    """Return the frames whose chunk is in the cache, by asking for one pixel of each and counting the misses."""
    found = []
    for number, file in enumerate(tree.values()):
        before = context.cache.misses
        file.read(file.size // 2, 4)
        if context.cache.misses == before:
            found.append(number)
    return found


@pytest.mark.parametrize("filters", ["gzip", "bslz4", "bszstd", "lz4"])
def test_who_reads_in_order_finds_the_next_frames(scan: Any, handles: Any, filters: str) -> None:
    tree, context, _ = scan(filters)
    Reader(tree, handles).all_of(0)
    assert handles.wait_for_prefetch()
    there = frames_there(tree, context)
    assert set(there) >= {1, 2}
    assert handles.statistics()["prefetched"] == context.cache.ahead_loads >= 2


@pytest.mark.parametrize(("order", "expected"), [((0, 3), 6), ((9, 7), 5), ((11, 10), 9), ((2, 2, 3), 4)])
def test_the_step_from_file_to_file_is_learned(scan: Any, handles: Any, order: Any, expected: int) -> None:
    tree, context, _ = scan()
    reader = Reader(tree, handles)
    for number in order:
        reader.all_of(number)
    assert handles.wait_for_prefetch()
    assert expected in frames_there(tree, context)


def test_who_goes_on_in_order_decodes_nothing_himself(scan: Any, handles: Any) -> None:
    tree, context, frames = scan()
    reader = Reader(tree, handles)
    for number in range(len(frames)):
        misses = context.cache.misses
        assert reader.all_of(number)[-FRAME_BYTES:] == frames[number].tobytes()
        assert context.cache.misses == misses + (number == 0)
        assert handles.wait_for_prefetch()
    assert handles.statistics()["prefetched"] == context.cache.ahead_hits == len(frames) - 1
    assert context.cache.ahead_bytes == 0


def test_who_looks_at_headers_only_makes_no_work(scan: Any, handles: Any) -> None:
    tree, context, _ = scan()
    reader = Reader(tree, handles)
    for number in range(6):
        with reader.opened(number) as read:
            read(0, 16_384)
    assert handles.wait_for_prefetch()
    assert context.cache.ahead_loads == 0


def test_who_jumps_makes_no_work(tmp_path: Path, handles: Any) -> None:
    frames = detector_frames(2, (2600, 2500), "u4")
    url = write_stack(tmp_path / "large.h5", frames, filters="gzip", chunks=(1, 260, 2500))
    context = Context(1 << 28)
    reader = Reader(Tree(Stack(url, context=context), LAYOUTS["edf"]), handles)
    size = reader.files[0].size
    with reader.opened(0) as read:
        for offset in (0, size // 2, size // 5, size - REQUEST, size // 3):
            read(offset, REQUEST)
    assert handles.wait_for_prefetch()
    assert context.cache.ahead_loads == 0


def test_what_waits_to_be_decoded_for_who_jumps_is_not(
    scan: Any, handles: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    make_loader = chunks._loader

    def slow_loader(*words: Any) -> Callable[..., Any]:
        load = make_loader(*words)

        def wait_and_load(*chunk: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                assert go_on.wait(20)
            return load(*chunk)

        return wait_and_load

    monkeypatch.setattr(chunks, "_loader", slow_loader)
    tree, context, _ = scan("scaleoffset", "cbf")  # h5py decodes it
    reader = Reader(tree, handles)
    try:
        reader.all_of(0)
        assert begun.wait(20)  # frame 1; others wait behind it
        with reader.opened(9) as read:
            read(0, 512)
    finally:
        go_on.set()
    assert handles.wait_for_prefetch()
    assert handles.statistics()["prefetched"] == context.cache.ahead_loads == 1


def test_the_next_ranges_of_one_frame(tmp_path: Path, handles: Any) -> None:
    frames = detector_frames(1, (2600, 2500), "u4")
    url = write_stack(tmp_path / "large.h5", frames, filters="gzip", chunks=(1, 260, 2500))
    context = Context(1 << 28)
    reader = Reader(Tree(Stack(url, context=context), LAYOUTS["edf"]), handles)
    with reader.opened(0) as read:
        for offset in range(0, 3 * REQUEST, REQUEST):
            read(offset, REQUEST)
        assert handles.wait_for_prefetch()
        assert context.cache.ahead_loads == 1  # 2 MiB from 256 KiB on: the second of 2.6 MB each
        misses = context.cache.misses
        for offset in range(3 * REQUEST, reader.files[0].size, REQUEST):
            read(offset, REQUEST)
            assert handles.wait_for_prefetch()
    assert context.cache.misses == misses
    assert context.cache.ahead_loads == context.cache.ahead_hits == 9


def test_files_of_many_frames(tmp_path: Path, handles: Any) -> None:
    frames = detector_frames(40, SHAPE, "u4")
    url = write_stack(tmp_path / "scan.h5", frames, filters="gzip", chunks=(1, *SHAPE))
    context = Context(1 << 28)
    tree = Tree(Stack(url, context=context), LAYOUTS["npy-stack"])
    reader = Reader(tree, handles)
    with reader.opened(0) as read:
        got = []
        for offset in range(0, reader.files[0].size, REQUEST):
            got.append(read(offset, REQUEST))
            assert handles.wait_for_prefetch()
    assert b"".join(got)[-frames.nbytes :] == frames.tobytes()
    assert context.cache.misses == 1
    assert context.cache.ahead_loads == 39


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("filters", ["gzip", "bslz4"])
def test_the_bytes_are_the_same_in_every_layout(scan: Any, handles: Any, layout: str, filters: str) -> None:
    tree, context, _ = scan(filters, layout)
    expected = contents(tree)
    reader = Reader(tree, handles)
    for number, data in enumerate(expected):
        assert reader.all_of(number) == data
        assert handles.wait_for_prefetch()
    # who reads one file may be through before anybody else begins
    assert context.cache.ahead_loads > 0 or len(expected) == 1


@pytest.mark.parametrize("layout", ["cbf", "esperanto"])
def test_encoded_frames_are_encoded_before(scan: Any, handles: Any, layout: str) -> None:
    tree, context, _ = scan("bslz4", layout)
    reader = Reader(tree, handles)
    reader.all_of(0)
    assert handles.wait_for_prefetch()
    misses = context.cache.misses
    reader.all_of(1)
    assert context.cache.misses == misses
    assert context.cache.ahead_hits >= 1


@pytest.mark.parametrize("kind", ["contiguous", "none"])
def test_what_needs_no_decoding_is_left_alone(tmp_path: Path, handles: Any, kind: str) -> None:
    frames = detector_frames(4, SHAPE, "u4")
    chunks = (1, *SHAPE) if kind == "none" else None
    url = write_stack(tmp_path / "scan.h5", frames, filters="none", chunks=chunks)
    context = Context(1 << 27)
    reader = Reader(Tree(Stack(url, context=context), LAYOUTS["edf"]), handles)
    for number in range(4):
        assert reader.all_of(number)[-FRAME_BYTES:] == frames[number].tobytes()
    assert handles.wait_for_prefetch()
    assert context.cache.ahead_loads == 0


@pytest.mark.parametrize("filters", ["gzip", "bslz4"])
def test_a_quarter_of_the_cache_is_the_bound(scan: Any, handles: Any, filters: str) -> None:
    tree, context, _ = scan(filters)
    context.cache.max_bytes = 5 * FRAME_BYTES
    reader = Reader(tree, handles)
    for number in range(12):
        reader.all_of(number)
        assert handles.wait_for_prefetch()
        assert context.cache.ahead_bytes <= context.cache.max_bytes // 4 * 9 // 8 + 1
        assert context.cache.used_bytes <= context.cache.max_bytes


def test_a_cache_without_room_for_a_frame_is_left_to_the_readers(scan: Any, handles: Any) -> None:
    tree, context, frames = scan(cache_bytes=FRAME_BYTES)
    reader = Reader(tree, handles)
    for number in range(12):
        assert reader.all_of(number)[-FRAME_BYTES:] == frames[number].tobytes()
    assert handles.wait_for_prefetch()
    assert context.cache.ahead_loads == 0


def test_a_damaged_frame_is_told_to_who_reads_it_only(scan: Any, handles: Any) -> None:
    tree, _, frames = scan()
    path = Path(tree.facts.url.partition("::")[0])
    with h5py.File(path, "r") as file:
        place = file["/entry/data/data"].id.get_chunk_info(1)
    with open(path, "r+b") as raw:
        stamp = os.stat(path)
        raw.seek(place.byte_offset + 10)
        raw.write(b"\xff" * 2_000)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    reader = Reader(tree, handles)
    assert reader.all_of(0)[-FRAME_BYTES:] == frames[0].tobytes()
    assert handles.wait_for_prefetch()
    assert handles.take_errors() == []
    with pytest.raises(Exception, match="damaged"):
        reader.all_of(1)
    assert reader.all_of(2)[-FRAME_BYTES:] == frames[2].tobytes()


def test_files_that_are_closed_and_forgotten_meanwhile(scan: Any, handles: Any) -> None:
    for _ in range(20):
        tree, _, _ = scan()
        reader = Reader(tree, handles)
        reader.all_of(0)
        del tree, reader
        handles.take_errors()
    assert handles.wait_for_prefetch()
    handles.release(handles.open_virtual(scan()[0]["data0001.edf"].open(), "x"))
    handles.take_errors()
    assert handles.sources == []


def test_the_end_does_not_wait_for_what_nobody_needs(scan: Any) -> None:
    tree, context, _ = scan()
    handles = _serve.Handles()
    handles.prefetch(2)
    Reader(tree, handles).all_of(0)
    handles.end_prefetch()
    loads = context.cache.ahead_loads
    Reader(tree, handles).all_of(1)
    assert context.cache.ahead_loads == loads
    assert handles.statistics()["prefetched"] <= loads


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 11), st.floats(0, 1), st.integers(1, 6)), min_size=5, max_size=40
    ),
    filters=st.sampled_from(["gzip", "bslz4"]),
    layout=st.sampled_from(["edf", "cbf", "esperanto", "npy-stack"]),
    room=st.integers(1, 40),
)
def test_any_reading_by_several_threads(scan: Any, steps: Any, filters: str, layout: str, room: int) -> None:
    tree, context, _ = scan(filters, layout, cache_bytes=room * FRAME_BYTES // 2)
    expected = contents(tree)
    handles = _serve.Handles()
    handles.prefetch(2)
    readers = [Reader(tree, handles, thread) for thread in (1, 2, 3)]
    wrong: list[str] = []

    def run(which: int) -> None:
        for who, number, place, requests in steps:
            if who != which:
                continue
            data = expected[number % len(expected)]
            with readers[who].opened(number % len(expected)) as read:
                for k in range(requests):
                    offset = int(place * len(data)) + k * REQUEST
                    if read(offset, REQUEST) != data[offset : offset + REQUEST]:
                        wrong.append(f"{who} {number} {offset}")

    threads = [threading.Thread(target=run, args=(which,)) for which in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    handles.end_prefetch()
    assert wrong == []
    # what two threads load is counted as it is allocated: a little more than was asked for, or a buffer that was kept,
    # of up to a sixteenth of the room
    more = max(FRAME_BYTES // 4, context.cache.max_bytes // 16)
    assert context.cache.ahead_bytes <= context.cache.max_bytes // 4 + 2 * more
    # what was decoded last stays, even if there is no room for it
    assert context.cache.used_bytes <= max(context.cache.max_bytes, FRAME_BYTES * 9 // 8)


def test_several_readers_keep_their_steps(scan: Any, handles: Any) -> None:
    tree, context, _ = scan()
    first, second = Reader(tree, handles, 1), Reader(tree, handles, 2)
    for number in (0, 2):
        first.all_of(number)
        second.all_of(number + 1)
    assert handles.wait_for_prefetch()
    assert {4, 5} <= set(frames_there(tree, context))


def test_more_readers_than_are_remembered(scan: Any, handles: Any) -> None:
    tree, _, frames = scan()
    for thread in range(100):
        assert Reader(tree, handles, thread).all_of(thread % 12)[-FRAME_BYTES:] == frames[thread % 12].tobytes()
    assert handles.wait_for_prefetch()


def test_no_threads_no_prefetch(scan: Any) -> None:
    tree, context, _ = scan()
    handles = _serve.Handles()
    handles.prefetch(0)
    Reader(tree, handles).all_of(0)
    assert handles.wait_for_prefetch()
    assert context.cache.ahead_loads == 0
