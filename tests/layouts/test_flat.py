# SPDX-License-Identifier: MIT
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlegacy.index.tree import Tree
from fastlegacy.layouts.flat import LAYOUT
from fastlegacy.model import StackFacts
from fastlegacy.pixels import PixelPolicy


def test_the_header_says_what_follows(pixel_stack: Callable[..., Any]) -> None:
    data = Tree(pixel_stack(), LAYOUT)["data0001.raw"].read(0, 256)
    assert data == b"BINARY slow     3 x fast     5 header 256 bytes type uint16".ljust(253) + b"\r\n\x1a"


@pytest.mark.parametrize("dtype", ["<u4", ">u4", "<i2", ">i2", ">f8", "u1"])
def test_the_pixels_are_little_endian(pixel_stack: Callable[..., Any], dtype: str) -> None:
    stack = pixel_stack(dtype=dtype)
    data = Tree(stack, LAYOUT)["data0002.raw"].read()
    pixels = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), offset=256).reshape(3, 5)
    np.testing.assert_array_equal(pixels, stack.pixels[1])


def test_swapped_pixels_can_be_read_from_any_byte(pixel_stack: Callable[..., Any]) -> None:
    file = Tree(pixel_stack(dtype=">u4"), LAYOUT)["data0001.raw"]
    whole = file.read()
    assert all(file.read(start, 7) == whole[start : start + 7] for start in range(250, file.size))


def test_large_numbers_keep_the_size(pixel_stack: Callable[..., Any]) -> None:
    tree = Tree(pixel_stack(shape=(1, 1, 7)), LAYOUT)
    assert tree.file_size == 256 + 14


@pytest.mark.parametrize("stored", ["<u4", ">u4"])
def test_the_header_follows_the_type_that_the_user_wants(
    whole_file: Any, facts_of: Callable[..., StackFacts], stored: str
) -> None:
    frames = np.array([[[0, 7, 2**31 - 1], [2**31, 2**32 - 2, 2**32 - 1]]], stored)
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(dtype="i4")), frames)
    assert data[:256] == b"BINARY slow     2 x fast     3 header 256 bytes type int32".ljust(253) + b"\r\n\x1a"
    assert np.frombuffer(data, "<i4", offset=256).tolist() == [0, 7, 2**31 - 1, 2**31 - 1, 2**31 - 1, -1]


def test_the_bits_of_a_masked_u4_pixel_are_those_of_minus_one(
    whole_file: Any, facts_of: Callable[..., StackFacts]
) -> None:
    frames = np.array([[[5, 2**32 - 1]]], "<u4")
    data = whole_file(LAYOUT, facts_of(frames), frames)
    assert np.frombuffer(data, "<i4", offset=256).tolist() == [5, -1]


def test_another_mask_value_needs_no_other_type(whole_file: Any, facts_of: Callable[..., StackFacts]) -> None:
    frames = np.array([[[5, 65535]]], ">u2")
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(mask_value=0)), frames)
    assert b"type uint16 " in data[:256]
    assert np.frombuffer(data, "<u2", offset=256).tolist() == [5, 0]
