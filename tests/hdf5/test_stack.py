# SPDX-License-Identifier: MIT
"""A stack as a user has it: a sequence, memory of the caller's, threads, processes, closing."""

import multiprocessing
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from fastlegacy.errors import MountError, NotAStackError, SourceError, UrlError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.stack import Stack
from fastlegacy.model import Geometry
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames, detector_frames
from fastlegacy.testing.virtual import virtual_series

FRAMES = counting_frames(9, (20, 31), ">u2")


@pytest.fixture
def url(tmp_path):
    return write_stack(tmp_path / "a.h5", FRAMES, "/entry/data", filters="bslz4")


@pytest.fixture
def stack(url):
    with Stack(url) as stack:
        yield stack


def test_facts(stack, url, tmp_path):
    assert stack.shape == (9, 20, 31)
    assert stack.dtype == ">u2"
    assert len(stack) == 9
    assert stack.url == stack.facts.url == url
    assert stack.facts.leading_shape == (9,)
    assert stack.facts.mtime_ns == (tmp_path / "a.h5").stat().st_mtime_ns
    assert stack.files() == [str(tmp_path / "a.h5")]
    assert stack.decoders() == [(url, "kernel")]
    assert repr(stack) == f"<Stack {url}: 9 frames of 20 x 31 >u2>"
    assert stack.geometry == Geometry()


def test_newest_file_gives_the_time(tmp_path):
    import os

    url = virtual_series(tmp_path, FRAMES)
    os.utime(tmp_path / "master_0001.h5", ns=(5, 4_000_000_000_123_456_789))
    with Stack(url) as stack:
        assert stack.facts.mtime_ns == 4_000_000_000_123_456_789
        assert stack.files() == [
            str(tmp_path / name) for name in ("master.h5", *(f"master_{i:04d}.h5" for i in range(3)))
        ]


def test_a_sequence(stack):
    for index in (0, 8, -1, -9, np.int64(3)):
        assert np.array_equal(stack[index], FRAMES[index])
    for index in (slice(None), slice(2, 5), slice(None, None, -3), slice(5, 2), slice(-2, 100)):
        assert [frame.tobytes() for frame in stack[index]] == [frame.tobytes() for frame in FRAMES[index]]
    assert [frame.tobytes() for frame in stack] == [frame.tobytes() for frame in FRAMES]
    assert next(reversed(stack)).tobytes() == FRAMES[8].tobytes()
    for index in (9, -10, 10**20):
        with pytest.raises(IndexError, match="of 9 frames"):
            stack[index]
    for index in ("1", 1.0, None):
        with pytest.raises(TypeError):
            stack[index]


def test_memory_of_the_caller(stack):
    room = np.zeros((3, 20, 31), ">u2")
    assert stack.read(4, room[1]) is not None
    assert np.array_equal(room[1], FRAMES[4])
    assert not room[0].any()
    assert not room[2].any()
    out = np.empty((20, 31), ">u2")
    assert stack.read(-1, out=out) is out


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((20, 31), "<u2"),
        np.zeros((20, 31), ">u4"),
        np.zeros((20, 30), ">u2"),
        np.zeros((1, 20, 31), ">u2"),
        np.zeros((31, 20), ">u2").T,
        np.zeros((20, 62), ">u2")[:, ::2],
        np.frombuffer(bytes(20 * 31 * 2), ">u2").reshape(20, 31),
    ],
    ids=["byte order", "dtype", "shape", "axes", "order", "steps", "read-only"],
)
def test_memory_that_does_not_fit(stack, out):
    with pytest.raises(ValueError, match=r"C-contiguous array of shape \(20, 31\) and dtype >u2"):
        stack.read(0, out)
    assert not out.any()


@pytest.mark.parametrize("threads", [None, 1, 2, 8, 100])
@pytest.mark.parametrize(("start", "stop"), [(0, 9), (2, 7), (3, 4), (5, 5)])
def test_read_frames(stack, threads, start, stop):
    assert np.array_equal(stack.read_frames(start, stop, threads=threads), FRAMES[start:stop])
    out = np.empty((stop - start, 20, 31), ">u2")
    assert stack.read_frames(start, stop, out, threads) is out
    assert np.array_equal(out, FRAMES[start:stop])


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (0, 10), (5, 4), (10, 10)])
def test_read_frames_that_are_not_there(stack, start, stop):
    with pytest.raises(IndexError, match="of 9 frames"):
        stack.read_frames(start, stop)


def test_read_frames_into_what_does_not_fit(stack):
    with pytest.raises(ValueError, match=r"shape \(3, 20, 31\)"):
        stack.read_frames(0, 3, np.empty((4, 20, 31), ">u2"))


@pytest.mark.parametrize("filters", ["bslz4", "zstd", "blosc-lz4", "lzf", "none"])
@pytest.mark.parametrize("cache_bytes", [1 << 20, 3000, 0])
def test_eight_threads(tmp_path, filters, cache_bytes):
    """One stack, chunks of several frames, a cache that is too small: every frame is right, and the bound holds."""
    frames = detector_frames(24, (30, 40), "u2")
    context = Context(cache_bytes)
    wrong = []
    with Stack(write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=(5, 16, 40)), context=context) as stack:

        def work(seed):
            numbers = np.random.default_rng(seed).integers(0, 24, 60)
            wrong.extend(int(i) for i in numbers if not np.array_equal(stack[i], frames[i]))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert context.cache.used_bytes <= cache_bytes
    assert wrong == []


@pytest.mark.parametrize("filters", ["bslz4", "zstd", "lzf"])
@pytest.mark.parametrize("cache_bytes", [0, 300_000, 2 << 20, 64 << 20])
def test_large_chunks_in_pieces(tmp_path, filters, cache_bytes):
    """Parts of frames, in any order, by four threads: buffers that serve again never show what was in them."""
    frames = detector_frames(6, (300, 400), "u2")
    flat = frames.reshape(-1)
    context = Context(cache_bytes)
    wrong = []
    with Stack(write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=(2, 300, 400)), context=context) as stack:

        def work(seed):
            for start in np.random.default_rng(seed).integers(0, flat.size - 70_000, 40):
                out = np.empty(70_000, "u2")
                stack.core.read(start, out.view(np.uint8))
                if not np.array_equal(out, flat[start : start + out.size]):
                    wrong.append(int(start))
                if context.cache.used_bytes > cache_bytes + 4 * 2 * frames[0].nbytes * 2:  # what is being read just now
                    wrong.append(context.cache.used_bytes)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
        assert wrong == []
        # what was decoded last is kept even if it is larger
        assert context.cache.used_bytes <= max(cache_bytes, bool(cache_bytes) * 2 * frames[0].nbytes * 9 // 8)
        context.cache.max_bytes = 0
        assert context.cache.used_bytes == 0


def test_threads_that_open_and_close(tmp_path):
    """Stacks share files and cache: one that is closed does not disturb the others."""
    urls = [write_stack(tmp_path / f"{i}.h5", FRAMES + i, filters=("bslz4", "lzf")[i % 2]) for i in range(6)]
    context = Context(max_open=2)

    def work(seed):
        for i in np.random.default_rng(seed).integers(0, 6, 15):
            with Stack(urls[i], context=context) as stack:
                assert np.array_equal(stack.read_frames(0, 9, threads=2), FRAMES + i)

    with ThreadPoolExecutor(6) as pool:
        for _ in pool.map(work, range(6)):
            pass


def frame_sum(stack, index):
    return int(stack[index].sum(dtype=np.int64))


def test_pickled_to_other_processes(tmp_path, url):
    context = multiprocessing.get_context("spawn")
    with Stack(url, geometry=Geometry(start_deg=3.0)) as stack, ProcessPoolExecutor(2, mp_context=context) as pool:
        sums = pool.map(frame_sum_of, [(pickle.dumps(stack), i) for i in range(4)])
        assert list(sums) == [int(frame.sum(dtype=np.int64)) for frame in FRAMES[:4]]


def frame_sum_of(task):
    return frame_sum(pickle.loads(task[0]), task[1])


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_keeps_what_was_asked_for(tmp_path, protocol):
    url = virtual_series(tmp_path, FRAMES, missing=[1]).replace("::", "?path=") + "&slice=2:,3:9"
    stack = Stack(url, missing="fill", geometry=Geometry(start_deg=3.0))
    with stack, pickle.loads(pickle.dumps(stack, protocol)) as other:
        assert other.facts == stack.facts
        assert other.shape == (7, 6, 31)
        assert [a.tobytes() for a in other] == [a.tobytes() for a in stack]


def test_pickled_with_a_relative_name(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Stack("a.h5::/entry/data") as stack:
        raw = pickle.dumps(stack)
    monkeypatch.chdir("/")
    with pickle.loads(raw) as other:
        assert np.array_equal(other[1], FRAMES[1])


def test_closed(url):
    with Stack(url) as stack:
        assert stack[0].any()
    assert repr(stack).endswith(", closed>")
    for read in (lambda: stack[0], lambda: stack.read_frames(0, 2), lambda: stack.prepare(0, 0)):
        with pytest.raises(SourceError, match="the stack is closed"):
            read()
    stack.close()
    with Stack(url) as again:
        assert np.array_equal(again[0], FRAMES[0])


def test_the_file_can_be_written_again_when_closed(url, tmp_path):
    with Stack(url) as stack:
        assert stack[0].any()
    write_stack(tmp_path / "a.h5", FRAMES + 1, "/entry/data", filters="lzf")
    with Stack(url) as stack:
        assert np.array_equal(stack[0], FRAMES[0] + 1)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["more"] = 1


def test_with_geometry_shares_all_but_the_geometry(stack):
    other = stack.with_geometry(Geometry(wavelength_angstrom=1.0))
    assert other.core is stack.core
    assert (other.geometry.wavelength_angstrom, stack.geometry.wavelength_angstrom) == (1.0, None)
    assert np.array_equal(other[2], FRAMES[2])


@pytest.mark.parametrize("slices", ["20:", "5:5", "::-1", "...,31", ":,:,:,:", "12,:,:"])
def test_slices_that_give_nothing(url, slices):
    with pytest.raises(UrlError, match=r"its shape is \(9, 20, 31\)"):
        Stack(f"{url.replace('::', '?path=')}&slice={slices}")


def test_slices_that_leave_less_than_a_frame(url):
    with pytest.raises(NotAStackError, match="less than a frame"):
        Stack(f"{url.replace('::', '?path=')}&slice=1,2")


NOT_STACKS = {
    "scalar": np.uint16(3),
    "line": np.arange(5),
    "text": "hello",
    "bool": np.zeros((3, 4, 5), bool),
    "half": np.zeros((3, 4, 5), "f2"),
    "complex": np.zeros((3, 4, 5), "c8"),
    "table": np.zeros((3, 4, 5), [("a", "u2"), ("b", "f4")]),
    "empty": h5py.Empty("u2"),
    "no rows": np.zeros((3, 0, 5), "u2"),
    "no frames": np.zeros((0, 4, 5), "u2"),
    "many axes": np.zeros((1,) * 11, "u2"),
    "very many axes": np.zeros((1,) * 20, "u2"),
}


@pytest.mark.parametrize("name", NOT_STACKS)
def test_what_is_no_stack(tmp_path, name):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file[name] = NOT_STACKS[name]
    with pytest.raises(NotAStackError) as caught:
        Stack(tmp_path / "a.h5", name)
    assert caught.value.dataset == f"/{name}"
    assert caught.value.hint


def test_a_file_without_a_dataset(tmp_path, url):
    with pytest.raises(UrlError, match="add ::/path"):
        Stack(tmp_path / "a.h5")


def test_a_mount_may_not_cover_what_hdf5_itself_has_to_open(tmp_path):
    """A virtual dataset of another dtype than its source is read by h5py, and the source is named absolutely."""
    folder = tmp_path / "data"
    folder.mkdir()
    with h5py.File(folder / "source.h5", "w") as file:
        file["x"] = np.ones((3, 8, 9), np.uint16)
    layout = h5py.VirtualLayout((3, 8, 9), np.uint32)
    layout[:] = h5py.VirtualSource(str(folder / "source.h5"), "x", (3, 8, 9))
    with h5py.File(tmp_path / "master.h5", "w") as file:
        file.create_virtual_dataset("x", layout)
    with Stack(tmp_path / "master.h5", "x", context=Context()) as stack:
        with pytest.raises(MountError, match=r"source\.h5.*through the mount"):
            stack.redirect(str(folder), "/proc/self/fd/0")
        assert (stack[2] == 1).all()


@pytest.mark.parametrize("filters", ["gzip", "bslz4", "none"])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_read_frames_of_chunks_with_several(tmp_path, filters, threads):
    frames = np.arange(11 * 6 * 8, dtype="u2").reshape(11, 6, 8)
    with Stack(write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=(4, 6, 8))) as several:
        np.testing.assert_array_equal(several.read_frames(0, 11, threads=threads), frames)
        np.testing.assert_array_equal(several.read_frames(3, 10, threads=threads), frames[3:10])
