# SPDX-License-Identifier: MIT
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fastlegacy.index.tree import Tree
from fastlegacy.layouts.npy import LAYOUT, npy_header


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
