# SPDX-License-Identifier: MIT
"""Which frames of a stack are there in full, wherever their pixels come from."""

import os

import h5py
import numpy as np
import pytest

from fastlegacy.hdf5.blocks import Block
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.inventory import frames_in_full
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.live import LiveScan
from fastlegacy.testing.storage import write_compact
from fastlegacy.testing.virtual import virtual_modules, virtual_series

FRAMES = counting_frames(10, (20, 30), "u2")


def check(stack):
    for i in np.flatnonzero(stack.written()):
        assert np.array_equal(stack[int(i)], FRAMES[i])


@pytest.mark.parametrize("chunk", [(1, 20, 30), (1, 8, 7), (1, 20, 7), (1, 5, 30)])
def test_a_frame_of_which_one_chunk_is_missing_is_not_there(tmp_path, chunk):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        data = file.create_dataset("d", (6, 20, 30), "u2", chunks=chunk)
        data[:3] = 1
        data[3, : chunk[1], : chunk[2]] = 1
        data[4, -1, -1] = 1
    complete = chunk == (1, 20, 30)
    with Stack(path, "/d", growing=True, context=Context()) as stack:
        assert stack.written().tolist() == [True] * 3 + [complete] * 2 + [False]
    if not complete:
        with Stack(f"{path}?path=/d&slice=:,:{chunk[1]},:{chunk[2]}", growing=True, context=Context()) as stack:
            assert stack.written().tolist() == [True] * 4 + [False] * 2
        with Stack(f"{path}?path=/d&slice=:,-1:,-1:", growing=True, context=Context()) as stack:
            assert stack.written().tolist() == [True] * 3 + [False, True, False]


@pytest.mark.parametrize("growing", [False, True])
def test_one_frame_in_one_piece(tmp_path, growing):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["one"] = FRAMES[0]
        file["series"] = FRAMES
        file.create_dataset("nothing", (3, 20, 30), "u2")
    context = Context()
    with Stack(path, "/one", growing=growing, context=context) as stack:
        assert stack.written().tolist() == [True]
    with Stack(path, "/series", growing=growing, context=context) as stack:
        assert stack.written().all() == (not growing)
    with Stack(path, "/nothing", growing=growing, context=context) as stack:
        assert not stack.written().any()
    with Stack(write_compact(tmp_path / "b.h5", FRAMES), growing=growing, context=context) as stack:
        assert stack.written().all()


def test_bytes_beyond_the_end_of_the_file(tmp_path):
    """Where the index has come before the data, and the file is not as long yet."""
    shape = (8, 64, 64)
    frames = np.arange(np.prod(shape), dtype="u4").reshape(shape)
    for filters, chunk in (("none", None), ("none", (1, 64, 64))):
        path = tmp_path / f"{chunk}.h5"
        url = write_stack(path, frames, filters=filters, chunks=chunk)
        stack = Stack(url, context=Context())
        assert stack.written().all()
        parts = stack.parts
        source = parts[0].source
        chunk_map = source.chunk_map()
        begin = source.core.address if chunk is None else int(chunk_map[0][0])
        for n in (0, 1, 5):
            for beyond in (0, 1, 16383):
                size = begin + n * 64 * 64 * 4 + beyond
                found = frames_in_full(parts, (8,), lambda _, size=size: size, False)
                assert found.sum() == n


@pytest.mark.parametrize("build", [virtual_modules, virtual_series])
def test_gaps_of_a_virtual_dataset_are_not_waited_for(tmp_path, build):
    with Stack(build(tmp_path, FRAMES), growing=True, context=Context()) as stack:
        assert stack.written().all()


def test_a_module_that_is_missing(tmp_path):
    """Part of every frame."""
    url = virtual_modules(tmp_path, FRAMES)
    sources = Stack(url, context=Context()).files()[1:]
    os.rename(sources[0], tmp_path / "away")
    with Stack(url, growing=True, context=Context()) as stack:
        assert not stack.written().any()


def test_a_source_that_is_shorter_than_its_mapping(tmp_path):
    """The virtual dataset was made for the whole scan, the source gets longer with each frame."""
    context = Context()
    with LiveScan(tmp_path, FRAMES, "plain") as scan:
        scan.write(4)
        with h5py.File(tmp_path / "v.h5", "w") as file:
            layout = h5py.VirtualLayout((10, 20, 30), "u2")
            source = h5py.VirtualSource("plain.h5", "entry/data/data", (12, 20, 30), "u2")
            layout[:] = source[:10]
            file.create_virtual_dataset("d", layout)
        stack = Stack(tmp_path / "v.h5", "/d", growing=True, context=context)
        assert np.flatnonzero(stack.written()).tolist() == [0, 1, 2, 3]
        check(stack)
        scan.write(6)
        stack = Stack(tmp_path / "v.h5", "/d", growing=True, context=context, after=stack)
        assert stack.written().all()
        check(stack)


@pytest.mark.parametrize("written", [4, 10])
def test_a_virtual_dataset_that_only_h5py_can_read(tmp_path, written):
    """There is no telling which of its frames come from where: all are there, or none."""
    write_stack(tmp_path / "a.h5", FRAMES, "/d", chunks=(1, 20, 30), written=slice(0, written))
    with h5py.File(tmp_path / "v.h5", "w") as file:
        layout = h5py.VirtualLayout((10, 20, 30), "u4")
        layout[:] = h5py.VirtualSource("a.h5", "d", (10, 20, 30), "u2")
        file.create_virtual_dataset("d", layout)
    with Stack(tmp_path / "v.h5", "/d", growing=True, context=Context()) as stack:
        assert [by for _, by in stack.decoders()] == ["h5py"]
        assert stack.written().all() == (written == 10)
        assert np.array_equal(stack[3], FRAMES[3])


def test_a_block_that_is_shorter_than_it_will_be(tmp_path):
    """The frames of the next one stay in their places."""
    for i, n in enumerate((3, 5)):
        write_stack(tmp_path / f"{i}.h5", FRAMES[5 * i : 5 * i + n], "/d", filters="bslz4")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        for i in range(3):
            file[f"g/{i}"] = h5py.ExternalLink(f"{i}.h5", "/d")
    blocks = [Block("/g/0", 5), Block("/g/1", 5), Block("/g/2", 5)]
    with Stack(tmp_path / "m.h5", "/g", growing=True, context=Context(), blocks=blocks) as stack:
        assert stack.shape == (15, 20, 30)
        assert np.flatnonzero(stack.written()).tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
        check(stack)
        assert not stack[3].any()
        assert not stack[14].any()
