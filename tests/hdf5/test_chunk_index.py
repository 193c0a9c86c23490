# SPDX-License-Identifier: MIT
"""The chunk map is what h5py says of each chunk, whoever reads the index, and takes no memory beside its arrays."""

from __future__ import annotations

import itertools
import subprocess
import sys

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastlegacy import _chunks
from fastlegacy.errors import SourceError
from fastlegacy.hdf5 import chunks

NOWHERE = 2**64 - 1
AXES = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4)), min_size=1, max_size=4)


def index_of(chunk, grid):
    n = int(np.prod(grid))
    arrays = np.full(n, NOWHERE, np.uint64), np.zeros(n, np.uint64), np.zeros(n, np.uint32)
    return _chunks.ChunkIndex(chunk, grid, *arrays), arrays


@pytest.mark.parametrize("by_h5py", [False, True])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
@settings(deadline=None)
@given(axes=AXES, data=st.data())
def test_it_is_what_hdf5_says_of_each_chunk(by_h5py, libver, axes, data):
    shape, chunk = tuple(n for n, _ in axes), tuple(min(n, c) for n, c in axes)
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    with h5py.File("x.h5", "w", driver="core", backing_store=False, libver=libver) as file:
        dset = file.create_dataset("d", shape, "u2", chunks=chunk, maxshape=(None, *shape[1:]), shuffle=True)
        places = list(np.ndindex(grid))
        written = data.draw(st.sets(st.sampled_from(places)))
        for place in written:
            bare = data.draw(st.booleans())
            offset = tuple(i * c for i, c in zip(place, chunk, strict=True))
            dset.id.write_direct_chunk(offset, bytes(2 * int(np.prod(chunk))), filter_mask=int(bare))
        file.flush()
        with pytest.MonkeyPatch.context() as patch:
            if by_h5py:
                patch.setattr(chunks, "_chunk_iterator", lambda: None)
            found = chunks.read_chunk_map(dset, shape, "x.h5", "d", False)
        for number, place in enumerate(places):
            told = dset.id.get_chunk_info_by_coord(tuple(i * c for i, c in zip(place, chunk, strict=True)))
            expected = (told.byte_offset, told.size, told.filter_mask) if place in written else (NOWHERE, 0, 0)
            assert tuple(int(array[number]) for array in found) == expected


def test_hdf5_calls_the_function_in_c():
    assert chunks._chunk_iterator() is not None or h5py.version.hdf5_version_tuple < (1, 14, 0)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3)), min_size=1, max_size=3), st.data())
def test_what_lies_outside_or_comes_twice_is_counted(axes, data):
    chunk, grid = [c for c, _ in axes], [n for _, n in axes]
    index, arrays = index_of(chunk, grid)
    place = st.tuples(*(st.integers(0, 4) for _ in axes))
    seen, outside, doubles = {}, 0, 0
    for number, at in enumerate(data.draw(st.lists(place, max_size=12))):
        index.put([i * c for i, c in zip(at, chunk, strict=True)], number % 2, 100 + number, number)
        if any(i >= n for i, n in zip(at, grid, strict=True)):
            outside += 1
        else:
            doubles += at in seen
            seen[at] = 100 + number, number, number % 2
    assert (index.outside, index.doubles) == (outside, doubles)
    for number, at in enumerate(np.ndindex(*grid)):
        assert tuple(int(array[number]) for array in arrays) == seen.get(at, (NOWHERE, 0, 0))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 8)), max_size=8))
def test_chunks_are_in_order_if_none_reaches_into_the_next(pairs):
    addresses, sizes = np.array(pairs or np.zeros((0, 2)), np.uint64).reshape(-1, 2).T.copy()
    there = [(a, s) for a, s in pairs if a % 5]
    addresses[addresses % 5 == 0] = NOWHERE
    apart = all(a + s <= b for (a, s), (b, _) in itertools.pairwise(there))
    assert _chunks.chunks_in_order(addresses, sizes) == apart


def test_a_chunk_that_reaches_beyond_all_addresses_is_not_in_order():
    assert not _chunks.chunks_in_order(np.array([8], np.uint64), np.array([NOWHERE - 4], np.uint64))


def test_arrays_of_other_sizes_are_refused():
    index, arrays = index_of([2], [3])
    for wrong in [([0], [3]), ([2, 2], [3]), ([2], [4]), ([2], [-3])]:
        with pytest.raises(ValueError, match=r"impossible|one element"):
            _chunks.ChunkIndex(*wrong, *arrays)
    with pytest.raises(ValueError, match="one number for each axis"):
        index.put([0, 0], 0, 0, 0)
    with pytest.raises(ValueError, match="as many"):
        _chunks.chunks_in_order(arrays[0], arrays[1][:1])


def test_two_chunks_of_one_place_are_damage(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "d.h5", "w") as file:
        dset = file.create_dataset("d", (4,), "u1", chunks=(2,), data=[1, 2, 3, 4])

        def twice(dset, index):
            for _ in range(2):
                index.put([0], 0, 100, 2)

        monkeypatch.setattr(chunks, "_tell_all_chunks", twice)
        with pytest.raises(SourceError, match="two chunks have one place"):
            chunks.read_chunk_map(dset, (4,), "d.h5", "d", False)


_MILLION = """
import sys, h5py
from fastlegacy.hdf5 import chunks

def highest():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))

with h5py.File(sys.argv[1]) as file:
    before = highest()
    found = chunks.read_chunk_map(file["d"], (10**6, 2, 4), "x", "d", False)
    print(highest() - before, int(found[0][-1] != chunks.NOWHERE))
"""


def test_a_million_chunks_take_what_their_arrays_take(tmp_path):
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1, 2, 4))
    plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    plist.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    with h5py.File(tmp_path / "m.h5", "w", libver="latest") as file:
        space = h5py.h5s.create_simple((10**6, 2, 4))
        h5py.h5d.create(file.id, b"d", h5py.h5t.NATIVE_UINT8, space, plist)
    if chunks._chunk_iterator() is None:
        pytest.skip("HDF5 is older than 1.14: h5py makes an object for each chunk")
    done = subprocess.run(
        [sys.executable, "-c", _MILLION, str(tmp_path / "m.h5")], capture_output=True, text=True, check=True
    )
    kilobytes, is_there = map(int, done.stdout.split())
    assert is_there
    assert kilobytes < 30_000  # 20 bytes for each
