# SPDX-License-Identifier: MIT
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlegacy.index.tree import Tree
from fastlegacy.layouts.flat import LAYOUT


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
