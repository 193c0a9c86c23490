# SPDX-License-Identifier: MIT
"""Files for every way in which HDF5 keeps bytes."""

import h5py
import numpy as np
import pytest

from fastlegacy.testing.frames import counting_frames, plain_frames
from fastlegacy.testing.storage import (
    CHUNK_INDEXES,
    stored_chunk,
    write_compact,
    write_external_raw,
    write_indexed,
    write_masked,
    write_unfiltered_edges,
)

SIGNATURES = {
    "fixed array": b"FAHD",
    "extensible array": b"EAHD",
    "B-tree 2": b"BTHD",
    "B-tree 1": b"TREE\x01",  # node type 1: chunks
}


def read(url):
    path, _, dataset = url.partition("::")
    with h5py.File(path) as file:
        return file[dataset][()]


@pytest.mark.parametrize("filters", ["none", "bslz4"])
@pytest.mark.parametrize("index", CHUNK_INDEXES)
def test_index_is_the_one_asked_for(tmp_path, index, filters):
    frames = counting_frames(7, (12, 16))
    if index == "implicit" and filters != "none":
        with pytest.raises(ValueError, match="another index"):
            write_indexed(tmp_path / "a.h5", frames, index, filters=filters)
        return
    np.testing.assert_array_equal(read(write_indexed(tmp_path / "a.h5", frames, index, filters=filters)), frames)
    raw = (tmp_path / "a.h5").read_bytes()
    assert {name for name, mark in SIGNATURES.items() if mark in raw} == {index} & set(SIGNATURES)


def test_unknown_index_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'tree'; there are single"):
        write_indexed(tmp_path / "a.h5", counting_frames(1), "tree")


def test_compact_and_raw(tmp_path):
    frames = counting_frames(5, (12, 17), ">u2")
    np.testing.assert_array_equal(read(write_compact(tmp_path / "a.h5", frames)), frames)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["/entry/data/data"].id.get_create_plist().get_layout() == h5py.h5d.COMPACT
    np.testing.assert_array_equal(read(write_external_raw(tmp_path / "b.h5", frames, files=3)), frames)
    assert (tmp_path / "b.h5.2.raw").stat().st_size == frames.nbytes // 3


@pytest.mark.parametrize("chunks", [None, (2, 8, 9)])
@pytest.mark.parametrize(
    ("filters", "masks"),
    [("bslz4", [0, 1]), ("shuffle+gzip", [0, 1, 2, 3]), ("shuffle+gzip+fletcher32", [0, 1, 2, 4, 5, 7])],
)
def test_masks_are_stored_and_read(tmp_path, filters, masks, chunks):
    frames = counting_frames(8, (20, 31), "u4")
    url = write_masked(tmp_path / "a.h5", frames, filters, masks, chunks=chunks)
    np.testing.assert_array_equal(read(url), frames)
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["/entry/data/data"].id
        found = [data.get_chunk_info(i).filter_mask for i in range(data.get_num_chunks())]
    assert set(found) == set(masks)


def test_stored_chunk_without_filters_is_the_array():
    frame = plain_frames(1, (6, 7), ">i2")
    assert stored_chunk(frame) == frame.tobytes()
    assert stored_chunk(frame, "bslz4", mask=1) == frame.tobytes()


def test_edges_without_filter(tmp_path):
    frames = counting_frames(3, (20, 30), "u2")
    url = write_unfiltered_edges(tmp_path / "a.h5", frames, "gzip", (1, 16, 16))
    np.testing.assert_array_equal(read(url), frames)
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["/entry/data/data"].id
        infos = [data.get_chunk_info(i) for i in range(data.get_num_chunks())]
    whole = [info.size for info in infos if info.chunk_offset[1:] == (0, 0)]
    partial = {info.size for info in infos if info.chunk_offset[1:] != (0, 0)}
    assert partial == {16 * 16 * 2}
    assert max(whole) < 16 * 16 * 2
