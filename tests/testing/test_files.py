# SPDX-License-Identifier: MIT
"""Files with one stack."""

import h5py
import numpy as np
import pytest

from fastlegacy.testing.files import LIBVERS, write_stack
from fastlegacy.testing.frames import counting_frames, plain_frames


def read(url):
    path, _, dataset = url.partition("::")
    with h5py.File(path) as file:
        return file[dataset][()]


@pytest.mark.parametrize("libver", LIBVERS)
@pytest.mark.parametrize("chunks", [None, (1, 10, 12), (2, 4, 5), (3, 10, 12)])
def test_round_trip(tmp_path, libver, chunks):
    frames = counting_frames(5, (10, 12), ">u2")
    result = read(write_stack(tmp_path / "a.h5", frames, chunks=chunks, libver=libver))
    assert result.dtype == frames.dtype
    np.testing.assert_array_equal(result, frames)


def test_user_block_moves_hdf5(tmp_path):
    frames = plain_frames(2, (10, 12), "i4")
    url = write_stack(tmp_path / "a.h5", frames, filters="bslz4", userblock=1024)
    raw = (tmp_path / "a.h5").read_bytes()
    assert raw[:1024] == b"#" * 1024
    assert raw[1024:1032] == b"\x89HDF\r\n\x1a\n"
    np.testing.assert_array_equal(read(url), frames)


@pytest.mark.parametrize("written", [slice(0, 0), slice(1, 3)])
def test_what_is_not_written_is_unallocated(tmp_path, written):
    frames = counting_frames(4, (10, 12))
    url = write_stack(tmp_path / "a.h5", frames, filters="gzip", fillvalue=77, written=written)
    expected = np.full_like(frames, 77)
    expected[written] = frames[written]
    np.testing.assert_array_equal(read(url), expected)
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["/entry/data/data"].id.get_num_chunks() == len(range(4)[written])


def test_dtype_as_stored(tmp_path):
    url = write_stack(tmp_path / "a.h5", counting_frames(2, dtype="u4"), dtype=">i8")
    assert read(url).dtype == np.dtype(">i8")
