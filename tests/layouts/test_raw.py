# SPDX-License-Identifier: MIT
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fabio.binaryimage import BinaryImage

from fastlegacy.index.tree import Tree
from fastlegacy.layouts.flat import LAYOUT as FLAT
from fastlegacy.layouts.raw import LAYOUT
from fastlegacy.model import StackFacts
from fastlegacy.pixels import PixelPolicy


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i4", ">f8"])
def test_the_file_is_the_pixels_in_little_endian(pixel_stack: Callable[..., Any], dtype: str) -> None:
    stack = pixel_stack(dtype=dtype)
    data = Tree(stack, LAYOUT)["data0002.bin"].read()
    assert data == stack.pixels[1].astype(np.dtype(dtype).newbyteorder("<")).tobytes()


@pytest.mark.parametrize("dtype", ["<u2", ">i4"])
def test_fabio_reads_it_as_binary_without_offset(pixel_stack: Callable[..., Any], tmp_path: Path, dtype: str) -> None:
    stack = pixel_stack(dtype=dtype, shape=(2, 7, 13))
    path = tmp_path / "frame.bin"
    path.write_bytes(Tree(stack, LAYOUT)["data0001.bin"].read())
    little = np.dtype(dtype).newbyteorder("<")
    image = BinaryImage().read(str(path), 13, 7, offset=0, bytecode=little.str)
    np.testing.assert_array_equal(image.data.reshape(7, 13), stack.pixels[0])


def test_it_has_not_the_suffix_of_flat() -> None:
    assert LAYOUT.suffix != FLAT.suffix


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("i4", [0, 7, 65534, -1]),
        ("u4", [0, 7, 65534, 2**32 - 1]),
        ("u1", [0, 7, 255, 255]),
        ("f4", [0, 7, 65534, np.nan]),
    ],
)
def test_pixels_have_the_type_that_the_user_wants(
    whole_file: Any, facts_of: Callable[..., StackFacts], wanted: str, expected: list[float]
) -> None:
    frames = np.array([[[0, 7], [65534, 65535]]], ">u2")
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(dtype=wanted)), frames)
    np.testing.assert_array_equal(np.frombuffer(data, f"<{wanted}"), np.array(expected, wanted))


@pytest.mark.parametrize("shape", [(2, 1, 9), (2, 9, 1), (2, 7, 13)], ids=str)
def test_odd_shapes(whole_file: Any, facts_of: Callable[..., StackFacts], shape: tuple[int, int, int]) -> None:
    frames = np.arange(np.prod(shape)).reshape(shape).astype(">u4")
    data = whole_file(LAYOUT, facts_of(frames), frames, 1)
    np.testing.assert_array_equal(np.frombuffer(data, "<u4").reshape(shape[1:]), frames[1])
