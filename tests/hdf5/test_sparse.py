# SPDX-License-Identifier: MIT
"""Pixels above a cut, without the frame: what numpy finds in the frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlegacy
from fastlegacy._codec import simd_levels
from fastlegacy.errors import DecodeError
from fastlegacy.hdf5.stack import Stack
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames, detector_mask, plain_frames
from fastlegacy.testing.storage import stored_chunk

SHAPE = (67, 131)


def by_numpy(frame, cut, mask=None):
    wanted = frame.reshape(-1) > cut
    if mask is not None:
        wanted &= mask.reshape(-1) == 0
    indices = np.flatnonzero(wanted)
    return indices, frame.reshape(-1)[indices]


def same(found, expected):
    indices, values = found
    assert indices.dtype == np.uint32
    np.testing.assert_array_equal(indices, expected[0])
    np.testing.assert_array_equal(values, expected[1])


@pytest.fixture(scope="module")
def stacks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparse")
    made = {}
    for dtype in ("u1", "u2", "u4"):
        frames = detector_frames(2, SHAPE, dtype)
        made[dtype] = (frames, Stack(write_stack(folder / f"{dtype}.h5", frames, filters="bslz4")))
    yield made
    for _, stack in made.values():
        stack.close()


@pytest.mark.parametrize("simd", simd_levels())
@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@settings(max_examples=40, deadline=None)
@given(cut=st.sampled_from([0, 1, 2, 7, 254, 255]) | st.integers(0, 255), seed=st.none() | st.integers(0, 99))
def test_it_is_what_numpy_finds(stacks, simd, dtype, cut, seed):
    frames, stack = stacks[dtype]
    mask = None if seed is None else np.random.default_rng(seed).random(SHAPE) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTLEGACY_SIMD", simd)
        same(stack.sparse(1, cut, mask), by_numpy(frames[1], cut, mask))


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4"])
@pytest.mark.parametrize("cut", [-1, -0.5, 0.5, 3.9, 10**12, float("inf"), float("nan")])
def test_a_cut_may_be_any_number(stacks, dtype, cut):
    frames, stack = stacks[dtype]
    same(stack.sparse(0, cut), by_numpy(frames[0].astype("f8"), cut))


@pytest.mark.parametrize("filters", ["none", "gzip", "shuffle+lz4", "bszstd", "lzf"])
@pytest.mark.parametrize("dtype", ["u2", ">u2", "i2", "i4", "u8", "f4", "f8"])
def test_any_storage_and_dtype(tmp_path, filters, dtype):
    frames = plain_frames(3, SHAPE, dtype)
    mask = detector_mask(SHAPE)
    with Stack(write_stack(tmp_path / "a.h5", frames, filters=filters, chunks=(2, 30, 131))) as stack:
        for cut in (0, 41, -7):
            same(fastlegacy.sparse(stack, -1, cut, mask), by_numpy(frames[2], cut, mask))


@pytest.mark.parametrize("mask", ["bool", "u1", "i4", "path", "none"])
def test_masks_of_every_kind(tmp_path, stacks, mask):
    frames, stack = stacks["u2"]
    bad = detector_mask(SHAPE)
    np.save(tmp_path / "mask.npy", bad.astype("u1"))
    asked = {"path": tmp_path / "mask.npy", "none": None}.get(mask)
    if mask not in ("path", "none"):
        asked = (bad * 4).astype(mask)
    same(fastlegacy.sparse(stack, 0, 0, asked), by_numpy(frames[0], 0, None if mask == "none" else bad))


def test_memory_is_used_again(stacks):
    frames, stack = stacks["u4"]
    out = np.empty(frames[0].size + 1, np.uint32), np.empty(frames[0].size + 1, np.uint32)
    for frame in (0, 1):
        indices, values = stack.sparse(frame, 2, out=out)
        same((indices, values), by_numpy(frames[frame], 2))
        assert np.shares_memory(indices, out[0])
        assert np.shares_memory(values, out[1])


def test_a_frame_of_which_every_pixel_is_found(tmp_path):
    for dtype in ("u1", "u2", "u4"):
        frames = np.full((1, 64, 1024), 7, dtype)
        with Stack(write_stack(tmp_path / "a.h5", frames, filters="bslz4")) as stack:
            same(stack.sparse(0, 6), by_numpy(frames[0], 6))
            assert len(stack.sparse(0, 7)[0]) == 0


@pytest.mark.parametrize("frame", [2, -3])
def test_a_frame_that_is_not_there(stacks, frame):
    with pytest.raises(IndexError, match="of 2 frames"):
        stacks["u2"][1].sparse(frame)


@pytest.mark.parametrize("sizes", [(SHAPE[0] * SHAPE[1], 10**5), (10**5, SHAPE[0] * SHAPE[1])])
def test_memory_that_is_too_small(stacks, sizes):
    out = np.empty(sizes[0], np.uint32), np.empty(sizes[1], np.uint16)
    with pytest.raises(ValueError, match="contiguous array of 8778"):
        stacks["u2"][1].sparse(0, out=out)


def test_a_mask_of_another_shape(stacks):
    with pytest.raises(ValueError, match="mask of shape"):
        stacks["u2"][1].sparse(0, mask=np.zeros((3, 4), bool))


def test_a_damaged_frame(tmp_path):
    frames = detector_frames(1, SHAPE, "u2")
    url = write_stack(tmp_path / "a.h5", frames, filters="bslz4")
    data = (tmp_path / "a.h5").read_bytes()
    chunk = stored_chunk(frames, "bslz4")
    (tmp_path / "a.h5").write_bytes(data.replace(chunk, chunk[:16] + bytes(len(chunk) - 16)))
    with Stack(url) as stack, pytest.raises(DecodeError, match="frame 0"):
        stack.sparse(0)
