# SPDX-License-Identifier: MIT
"""A stack in memory: the kernels read from it what NumPy holds."""

import numpy as np
import pytest

from fastlegacy.errors import NotAStackError, SourceError
from fastlegacy.model import Geometry
from fastlegacy.sources.array import ArrayStack

CODES = ("u1", "<u2", ">u4", "<u8", "i1", ">i2", "<i4", ">i8", "<f4", ">f8")


def pixels(shape: tuple[int, ...], code: str) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.integers(0, 100, shape).astype(code)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (3, 4, 6), (2, 3, 4, 6)])
def test_every_frame_is_that_of_the_array(code: str, shape: tuple[int, ...]) -> None:
    array = pixels(shape, code)
    with ArrayStack(array) as stack:
        assert stack.shape == (array.size // 24, 4, 6)
        assert stack.facts.leading_shape == shape[:-2]
        assert stack.dtype == array.dtype
        frames = array.reshape(-1, 4, 6)
        for i in range(-len(stack), len(stack)):
            assert stack[i].dtype == array.dtype
            np.testing.assert_array_equal(stack[i], frames[i])
        with pytest.raises(IndexError, match=f"frame {len(stack)} of {len(stack)} frames"):
            stack[len(stack)]


def test_arrays_that_do_not_lie_in_one_piece() -> None:
    array = pixels((6, 8, 10), "<u2")
    for odd in (array[::2, ::-1, 1::3], array.transpose(2, 0, 1), np.asfortranarray(array)):
        np.testing.assert_array_equal([ArrayStack(odd)[i] for i in range(len(odd))], odd)


def test_the_array_may_change_afterwards() -> None:
    array = pixels((2, 3), "u1")
    stack = ArrayStack(array)
    before = array.copy()
    array[:] = 0
    np.testing.assert_array_equal(stack[0], before)


def test_facts_are_those_that_were_given() -> None:
    stack = ArrayStack(np.zeros((2, 3, 4), "u2"), url="mine", mtime_ns=7, geometry=Geometry(exposure_s=0.5))
    assert (stack.url, stack.facts.url, stack.facts.mtime_ns, stack.geometry.exposure_s) == ("mine", "mine", 7, 0.5)
    assert (stack.files(), stack.signature()) == ([], [])
    other = stack.with_geometry(Geometry(exposure_s=2.0))
    assert (other.geometry.exposure_s, stack.geometry.exposure_s) == (2.0, 0.5)
    np.testing.assert_array_equal(other[1], stack[1])
    assert repr(stack) == "<ArrayStack mine: 2 frames of 3 x 4 uint16>"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(4),
        np.zeros((0, 3, 4)),
        np.zeros((3, 0)),
        np.zeros((3, 4), bool),
        np.zeros((3, 4), "c8"),
        np.zeros((3, 4), "f2"),
        np.zeros((3, 4), "S3"),
        np.zeros((1,) * 11),
        3,
    ],
)
def test_what_is_no_series_of_frames_is_refused(array: np.ndarray) -> None:
    with pytest.raises(NotAStackError, match="mine: "):
        ArrayStack(array, url="mine")


def test_a_closed_stack_is_not_read() -> None:
    with ArrayStack(np.zeros((3, 4), "u2")) as stack:
        pass
    with pytest.raises(SourceError, match="the stack is closed"):
        stack[0]
    assert "closed" in repr(stack)
