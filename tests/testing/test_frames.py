# SPDX-License-Identifier: MIT
"""The frames that everything else is tested with."""

import numpy as np
import pytest

from fastlegacy.testing.frames import EIGER_4M, counting_frames, detector_frames, detector_mask, plain_frames

DTYPES = ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f4", "f8"]


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("code", DTYPES)
def test_dtype_and_gaps(code, byteorder):
    dtype = np.dtype(byteorder + code)
    frames = detector_frames(4, (60, 70), dtype)
    assert frames.dtype == dtype
    highest = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
    np.testing.assert_array_equal(frames == highest, np.broadcast_to(detector_mask((60, 70)), frames.shape))


def test_frames_differ_and_seed_repeats_them():
    frames = detector_frames(9, (60, 70), "u2")
    assert len({frame.tobytes() for frame in frames}) == 9
    np.testing.assert_array_equal(frames, detector_frames(9, (60, 70), "u2"))
    assert not np.array_equal(frames, detector_frames(9, (60, 70), "u2", seed=1))


def test_eiger_modules():
    mask = detector_mask(EIGER_4M)
    columns = mask.all(axis=0).nonzero()[0]
    rows = mask.all(axis=1).nonzero()[0]
    assert list(columns) == list(range(1028, 1040))
    assert list(rows) == [*range(512, 550), *range(1062, 1100), *range(1612, 1650)]


def test_no_frames():
    assert detector_frames(0, (6, 7)).shape == (0, 6, 7)


def test_counting_frames_tell_where_they_belong():
    frames = counting_frames(3, (4, 5), first=7)
    assert frames[0, 0, 0] == 8000
    assert frames[2, 3, 4] == 10019


@pytest.mark.parametrize("code", DTYPES)
def test_plain_frames_use_the_range(code):
    frames = plain_frames(2, (6, 7), code)
    if frames.dtype.kind != "f":
        limits = np.iinfo(frames.dtype)
        assert frames.max() == limits.max
        assert frames.min() == limits.min
    assert (frames < 0).any() == (frames.dtype.kind in "if")
