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
