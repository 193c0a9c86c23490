# SPDX-License-Identifier: MIT
"""What is really stored of a stack."""

import h5py
import numpy as np
import pytest

from fastlegacy.hdf5.inventory import stored_bytes, written_frames
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.storage import write_compact
from fastlegacy.testing.virtual import virtual_modules, virtual_series, virtual_strided

FRAMES = counting_frames(12, (20, 30), "u2")


def by_h5py(url):
    """Bytes, and frames with any chunk, of one chunked dataset."""
    path, _, dataset = url.partition("::")
    with h5py.File(path) as file:
        stored = file[dataset]
        frames = set()
        for i in range(stored.id.get_num_chunks()):
            start = stored.id.get_chunk_info(i).chunk_offset[0]
            frames |= set(range(start, start + stored.chunks[0]))
        return stored.id.get_storage_size(), [i in frames for i in range(len(stored))]


@pytest.mark.parametrize("filters", ["none", "bslz4", "lzf", "scaleoffset"])
@pytest.mark.parametrize("chunks", [(1, 20, 30), (5, 8, 30), (2, 20, 7)])
@pytest.mark.parametrize("written", [None, slice(0, 0), slice(3, 7)])
def test_one_dataset(tmp_path, filters, chunks, written):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters=filters, chunks=chunks, written=written)
    with Stack(url) as stack:
        assert (stored_bytes(stack), written_frames(stack).tolist()) == by_h5py(url)


def test_without_chunks(tmp_path):
    for url in (write_stack(tmp_path / "a.h5", FRAMES), write_compact(tmp_path / "b.h5", FRAMES)):
        with Stack(url) as stack:
            assert stored_bytes(stack) == FRAMES.nbytes
            assert written_frames(stack).all()
    with Stack(write_stack(tmp_path / "c.h5", FRAMES, written=slice(0, 0))) as stack:
        assert stored_bytes(stack) == 0
        assert not written_frames(stack).any()


@pytest.mark.parametrize("written", [0, 1, 7, 12])
def test_scan_that_was_stopped(tmp_path, written):
    with Stack(bliss_scan(tmp_path, FRAMES, files=3, written=written)) as stack:
        assert written_frames(stack).tolist() == [i < written for i in range(12)]
        assert (stored_bytes(stack) > 0) == (written > 0)


def test_gaps_and_strides(tmp_path):
    with Stack(virtual_series(tmp_path, FRAMES, gap=2)) as stack:
        assert written_frames(stack).tolist() == ([True] * 4 + [False] * 2) * 3
        sizes = [by_h5py(f"{tmp_path / f'master_{i:04d}.h5'}::/entry_0000/measurement/data")[0] for i in range(3)]
        assert stored_bytes(stack) == sum(sizes)
    for build in (virtual_strided, virtual_modules):
        with Stack(build(tmp_path, FRAMES)) as stack:
            assert written_frames(stack).all()


@pytest.mark.parametrize(
    ("text", "place"),
    [("3:9", slice(3, 9)), ("0,:,:", 0), ("5,:,:", 5), ("::5,2:4", slice(None, None, 5)), ("7:8", slice(7, 8))],
)
def test_of_a_slice(tmp_path, text, place):
    url = write_stack(tmp_path / "a.h5", FRAMES, filters="bslz4", chunks=(2, 20, 30), written=slice(4, 8))
    wanted = np.isin(np.arange(12), np.arange(4, 8))[place]
    with Stack(f"{url.replace('::', '?path=')}&slice={text}") as stack:
        assert written_frames(stack).tolist() == np.atleast_1d(wanted).tolist()


def test_more_axes(tmp_path):
    frames = np.zeros((2, 3, 20, 30), "u2")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("d", frames.shape, "u2", chunks=(1, 2, 20, 30), compression="gzip")
        data[1, 2] = 7
    with Stack(tmp_path / "a.h5", "/d") as stack:
        assert written_frames(stack).tolist() == [False] * 5 + [True]
