# SPDX-License-Identifier: MIT
"""The cache of chunks: its bound holds, and a chunk that many want is loaded once."""

import gc
import os
import threading
import time
import types
import weakref

import h5py
import numpy as np
import pytest

from fastlegacy import _core
from fastlegacy.errors import DecodeError
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import write_stack

SHAPE = (40, 8, 16)
ARRAY = np.arange(np.prod(SHAPE), dtype="<u4").reshape(SHAPE)
CHUNK_BYTES = 8 * 16 * 4
H5PY_BYTES = 5 * CHUNK_BYTES  # what loading a chunk through h5py may take, and the chunk


def stack_of(cache, load, name="p.h5::/d"):
    dataset = _core.Dataset(name, SHAPE, (1, *SHAPE[1:]), bytes(4), _core.Files(1), cache, "python", loader=load)
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(SHAPE)]
    return _core.Stack(SHAPE, bytes(4), [(dataset, axes, (0, 0, 0))])


def load_frame(number):
    return np.frombuffer(ARRAY[number].tobytes(), np.uint8)


def read(stack, frame):
    out = np.empty(SHAPE[1:], "<u4")
    stack.read(frame * 128, out.reshape(-1).view(np.uint8))
    return out


class Seen:
    """What can be looked for after its end."""


def run_all(work, n):
    threads = [threading.Thread(target=work, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize("room", [0, 1, CHUNK_BYTES, 5 * CHUNK_BYTES + 7, 1 << 20])
def test_bound_holds_under_eight_threads(room):
    cache = _core.Cache(room)
    stack = stack_of(cache, load_frame)
    wrong = []

    def work(seed):
        frames = np.random.default_rng(seed).integers(0, SHAPE[0], 200)
        wrong.extend(frame for frame in frames if not np.array_equal(read(stack, frame), ARRAY[frame]))

    run_all(work, 8)
    assert wrong == []
    assert cache.used_bytes <= room
    assert cache.hits + cache.misses == 8 * 200
    # what h5py may need for the chunk that was loaded last had to be free meanwhile
    assert cache.used_bytes >= min(SHAPE[0], (room - H5PY_BYTES) // CHUNK_BYTES) * CHUNK_BYTES


@pytest.mark.parametrize(("room", "most"), [(H5PY_BYTES - 1, 1), (2 * H5PY_BYTES - 1, 1), (1 << 20, 8)])
def test_so_many_load_at_once_as_there_is_room_for(room, most):
    lock, all_here = threading.Lock(), threading.Barrier(most)
    now, highest, wrong = 0, 0, []

    def load(number):
        nonlocal now, highest
        with lock:
            now += 1
            highest = max(highest, now)
        all_here.wait(30)  # as many as there is room for do come
        with lock:
            now -= 1
        return load_frame(number)

    stack = stack_of(_core.Cache(room), load)

    def work(seed):
        wrong.extend(f for f in range(seed, SHAPE[0], 8) if not np.array_equal(read(stack, f), ARRAY[f]))

    run_all(work, 8)
    assert wrong == []
    assert highest == most


def test_a_chunk_larger_than_the_bound_is_loaded_once_for_who_reads_it_in_parts():
    loads = []
    pixels = np.arange(2 * 40_000, dtype="<u4").reshape(2, 200, 200)

    def load(number):
        loads.append(number)
        return np.frombuffer(pixels[number].tobytes(), np.uint8)

    cache = _core.Cache(100_000)
    dataset = _core.Dataset(
        "p.h5::/d", pixels.shape, (1, 200, 200), bytes(4), _core.Files(1), cache, "python", loader=load
    )
    axes = [(0, 1, n, k, 0, 1) for k, n in enumerate(pixels.shape)]
    stack = _core.Stack(pixels.shape, bytes(4), [(dataset, axes, (0, 0, 0))])
    out = np.empty(80_000, "<u4")
    for begin in range(0, 80_000, 1000):
        stack.read(begin, out[begin : begin + 1000].view(np.uint8))
    assert np.array_equal(out, pixels.reshape(-1))
    assert loads == [0, 1]
    assert cache.used_bytes < 2 * 160_000


def test_a_chunk_that_many_want_is_loaded_once():
    calls, gate = [], threading.Barrier(8)

    def load(number):
        calls.append(number)
        time.sleep(0.05)
        return load_frame(number)

    cache = _core.Cache(1 << 20)
    stack = stack_of(cache, load)

    def work(_):
        gate.wait()
        for frame in (3, 5):
            assert np.array_equal(read(stack, frame), ARRAY[frame])

    run_all(work, 8)
    assert sorted(calls) == [3, 5]
    assert (cache.hits, cache.misses) == (14, 2)


def test_those_that_wait_for_a_load_that_fails_try_again():
    calls, gate, errors = [], threading.Barrier(4), []

    def load(number):
        calls.append(number)
        time.sleep(0.02)
        if len(calls) <= 2:
            raise OSError("not now")
        return load_frame(number)

    cache = _core.Cache(1 << 20)
    stack = stack_of(cache, load)

    def work(_):
        gate.wait()
        try:
            assert np.array_equal(read(stack, 3), ARRAY[3])
        except DecodeError as exc:
            errors.append(str(exc))

    run_all(work, 4)
    assert len(errors) == 2
    assert len(calls) == 3
    assert cache.used_bytes == CHUNK_BYTES


def test_least_recently_used_goes_first():
    calls = []

    def load(number):
        calls.append(number)
        return load_frame(number)

    stack = stack_of(_core.Cache(H5PY_BYTES + 2 * CHUNK_BYTES), load)  # for two beside the one that is loaded
    for frame in (0, 1, 2, 0, 3, 0, 1):
        read(stack, frame)
    assert calls == [0, 1, 2, 3, 1]


def test_a_smaller_bound_takes_effect_at_once():
    cache = _core.Cache(1 << 20)
    stack = stack_of(cache, load_frame)
    for frame in range(10):
        read(stack, frame)
    assert cache.used_bytes == 10 * CHUNK_BYTES
    cache.max_bytes = 4 * CHUNK_BYTES + 1
    assert cache.max_bytes == 4 * CHUNK_BYTES + 1
    assert cache.used_bytes == 4 * CHUNK_BYTES
    assert np.array_equal(read(stack, 0), ARRAY[0])


def test_chunks_of_a_dataset_that_is_gone_are_forgotten():
    cache = _core.Cache(1 << 20)
    kept = stack_of(cache, load_frame)
    gone = stack_of(cache, load_frame)
    read(kept, 0)
    for frame in range(5):
        read(gone, frame)
    del gone
    gc.collect()
    assert cache.used_bytes == CHUNK_BYTES
    other = stack_of(cache, lambda number: load_frame(number + 1))
    assert np.array_equal(read(other, 0), ARRAY[1])


def test_datasets_do_not_see_each_others_chunks():
    cache = _core.Cache(1 << 20)
    stacks = [stack_of(cache, lambda n, i=i: load_frame((n + i) % 40), f"{i}::/d") for i in range(50)]
    for i, stack in enumerate(stacks):
        assert np.array_equal(read(stack, 2), ARRAY[(2 + i) % 40])


def test_bounds_that_are_none():
    for value in (-1, 2**64, "much"):
        with pytest.raises((OverflowError, TypeError)):
            _core.Cache(value)


@pytest.mark.parametrize("filters", ["bslz4", "bszstd"])
def test_the_beginning_of_a_chunk_is_read_without_the_rest(tmp_path, filters):
    frames = np.random.default_rng(5).poisson(3, (2, 400, 400)).astype("u4")
    stack = Stack(write_stack(tmp_path / "a.h5", frames, filters=filters))
    whole = frames[0].tobytes()
    stack.prepare(0, 1)
    cache = stack.cache
    before = cache.misses, cache.used_bytes
    for size in (4, 100, 8192, 15_360, 40_000, 65_536):
        out = np.empty(size, np.uint8)
        stack.core.read(0, out)
        assert out.tobytes() == whole[:size]
    assert (cache.misses, cache.used_bytes) == before
    # who goes on from there needs the chunk, and when all of it was read, it is forgotten as ever
    at = 15_360
    while at < len(whole):
        out = np.empty(min(131_072, len(whole) - at), np.uint8)
        stack.core.read(at // 4, out)
        assert out.tobytes() == whole[at : at + len(out)]
        at += len(out)
    assert cache.misses == before[0] + 1
    out = np.empty(4, np.uint8)
    stack.core.read(20_000, out)
    assert cache.misses == before[0] + 2


def test_a_damaged_beginning_is_an_error(tmp_path):
    frames = np.random.default_rng(5).poisson(3, (1, 400, 400)).astype("u4")
    url = write_stack(tmp_path / "a.h5", frames, filters="bslz4")
    stack = Stack(url)
    stack.prepare(0, 0)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        chunk = file[url.partition("::")[2]].id.get_chunk_info(0)
    with open(tmp_path / "a.h5", "r+b") as file:
        stamp = os.fstat(file.fileno())
        file.seek(chunk.byte_offset + 12)
        file.write(b"\xff" * 40)
    os.utime(tmp_path / "a.h5", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(DecodeError):
        stack.core.read(0, np.empty(4096, np.uint8))


def test_a_ring_that_is_broken_at_the_dataset_is_let_go_of():
    """The garbage collector goes on in the order in which objects came to be: a dictionary does when it is filled."""
    gone = []
    for _ in range(20):
        ring = {}
        load = types.MethodType(lambda ring, number: load_frame(number), ring)
        stack = stack_of(_core.Cache(1 << 20), load)
        read(stack, 0)
        ring["stack"] = stack
        ring["seen"] = Seen()  # which goes with it
        gone.append(weakref.ref(ring["seen"]))
        del ring, load, stack
    gc.collect()
    assert [seen() for seen in gone] == [None] * 20


def test_a_ring_of_a_dataset_and_its_cache_is_let_go_of():
    class Ring:
        def __init__(self):
            self.cache = _core.Cache(1 << 20)
            self.stack = stack_of(self.cache, self.load)
            read(self.stack, 0)

        def load(self, number):
            return load_frame(number)

    gc.collect()
    rings = [weakref.ref(Ring()) for _ in range(20)]
    gc.collect()
    assert [ring() for ring in rings] == [None] * 20
    again = Ring()
    assert np.array_equal(read(again.stack, 3), ARRAY[3])
