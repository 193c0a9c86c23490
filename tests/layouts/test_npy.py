# SPDX-License-Identifier: MIT
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlegacy.index.tree import Tree
from fastlegacy.layouts.npy import LAYOUT, npy_header
from fastlegacy.model import StackFacts
from fastlegacy.pixels import PixelPolicy


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", "<u8", ">f8", "<f4"])
def test_the_bytes_are_those_of_np_save(pixel_stack: Callable[..., Any], dtype: str) -> None:
    stack = pixel_stack(dtype=dtype)
    saved = io.BytesIO()
    np.save(saved, stack.pixels[3])
    assert Tree(stack, LAYOUT)["data0004.npy"].read() == saved.getvalue()


@pytest.mark.parametrize("shape", [(1,), (3, 5), (2162, 2068), (10**6, 2162, 2068), (10**18,) * 3, (10**30,) * 4])
def test_numpy_reads_the_header(shape: tuple[int, ...]) -> None:
    data = npy_header(np.dtype("<u2"), shape)
    stream = io.BytesIO(data)
    assert np.lib.format.read_magic(stream) == (1, 0)
    assert np.lib.format.read_array_header_1_0(stream) == (shape, False, np.dtype("<u2"))
    assert stream.tell() == len(data)
    assert len(data) % 64 == 0
    assert len(data) == 128 or shape[0] > 10**6


@pytest.mark.parametrize("stored", ["<u4", ">u4"])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("i4", [0, 7, 2**31 - 1, -1]),
        ("u2", [0, 7, 65535, 65535]),
        ("i8", [0, 7, 2**32 - 2, -1]),
        ("f4", [0, 7, 2**32, np.nan]),
        ("u1", [0, 7, 255, 255]),
    ],
)
def test_the_header_follows_the_type_that_the_user_wants(
    whole_file: Any, facts_of: Callable[..., StackFacts], stored: str, wanted: str, expected: list[float]
) -> None:
    frames = np.array([[[0, 7, 2**32 - 2, 2**32 - 1]]], stored)
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(dtype=wanted)), frames)
    found = np.load(io.BytesIO(data))
    assert found.dtype == (np.dtype(wanted).newbyteorder(stored[0]) if wanted != "u1" else np.dtype("u1"))
    np.testing.assert_array_equal(found, np.array([expected], wanted))


def test_unsigned_32_bit_pixels_beyond_the_signed_ones_stay_what_they_are(
    whole_file: Any, facts_of: Callable[..., StackFacts]
) -> None:
    frames = np.array([[[2**31 - 1, 2**31, 2**32 - 1]]], "<u4")
    np.testing.assert_array_equal(np.load(io.BytesIO(whole_file(LAYOUT, facts_of(frames), frames))), frames[0])
