# SPDX-License-Identifier: MIT
"""Rectangles of a mask: together they are the mask, whatever it looks like."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastlegacy.companions._masked import Rectangle, frame_mask, full_bands, rectangles

shapes = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
masks = st.one_of(
    arrays.arrays(bool, shapes),
    # mostly masked, so that full rows and columns are frequent
    arrays.arrays(bool, shapes, elements=st.integers(0, 9).map(bool)),
)


def painted(shape: tuple[int, ...], found: list[Rectangle]) -> np.ndarray[Any, Any]:
    count = np.zeros(shape, int)
    for top, bottom, left, right in found:
        assert top < bottom
        assert left < right
        count[top:bottom, left:right] += 1
    return count


@given(mask=masks)
def test_rectangles_cover_the_masked_pixels_and_no_other(mask: Any) -> None:
    np.testing.assert_array_equal(painted(mask.shape, rectangles(mask)) > 0, mask)


@given(mask=masks)
def test_rectangles_that_are_not_full_bands_do_not_overlap(mask: Any) -> None:
    others = rectangles(mask)[len(full_bands(mask)) :]
    assert painted(mask.shape, others).max(initial=0) <= 1


@given(mask=masks)
def test_full_bands_are_the_rows_and_columns_without_a_valid_pixel(mask: Any) -> None:
    bands = full_bands(mask)
    rows = {row for band in bands if band.right - band.left == mask.shape[1] for row in range(band.top, band.bottom)}
    columns = {x for band in bands if band.bottom - band.top == mask.shape[0] for x in range(band.left, band.right)}
    if not mask.all():
        assert rows == set(np.flatnonzero(mask.all(axis=1)))
        assert columns == set(np.flatnonzero(mask.all(axis=0)))


def test_the_largest_rectangle_comes_first_after_the_bands() -> None:
    mask = np.zeros((20, 20), bool)
    mask[3, 3] = mask[10:12, 5:9] = mask[15, :] = mask[18, 0:3] = True
    assert rectangles(mask) == [
        Rectangle(15, 16, 0, 20),
        Rectangle(10, 12, 5, 9),
        Rectangle(18, 19, 0, 3),
        Rectangle(3, 4, 3, 4),
    ]


def test_no_mask_and_no_padding_is_no_mask(make_scene: Callable[..., Any]) -> None:
    assert frame_mask(make_scene()) is None


def test_what_surrounds_the_image_is_masked(make_scene: Callable[..., Any]) -> None:
    masked = frame_mask(make_scene(shape=(2, 3), frame_shape=(4, 5), image_at=(0, 1)))
    assert masked is not None
    np.testing.assert_array_equal(~masked, np.pad(np.ones((2, 3), bool), ((0, 2), (1, 1))))


def test_gaps_and_bad_pixels_of_the_image_are_masked(make_scene: Callable[..., Any]) -> None:
    mask = np.array([[0, 1, 2], [0, 0, 0]], np.uint8)
    masked = frame_mask(make_scene(shape=(2, 3), frame_shape=(3, 3), image_at=(1, 0), mask=mask))
    assert masked is not None
    np.testing.assert_array_equal(masked, np.array([[1, 1, 1], [0, 1, 1], [0, 0, 0]], bool))
