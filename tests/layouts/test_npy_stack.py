# SPDX-License-Identifier: MIT
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlegacy.index.tree import Tree
from fastlegacy.layouts.npy_stack import LAYOUT
from fastlegacy.model import StackFacts
from fastlegacy.pixels import PixelPolicy


@pytest.mark.parametrize("dtype", ["<u2", ">u4", "<f4"])
def test_numpy_maps_the_whole_stack(pixel_stack: Callable[..., Any], tmp_path: Path, dtype: str) -> None:
    stack = pixel_stack(dtype=dtype)
    tree = Tree(stack, LAYOUT, stem="scan")
    assert list(tree) == ["scan.npy"]
    (tmp_path / "scan.npy").write_bytes(tree["scan.npy"].read())
    mapped = np.load(tmp_path / "scan.npy", mmap_mode="r")
    assert mapped.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(mapped, stack.pixels)


def test_leading_axes_are_flat(pixel_stack: Callable[..., Any]) -> None:
    stack = pixel_stack(shape=(2, 3, 2, 2))
    assert b"'shape': (6, 2, 2)" in Tree(stack, LAYOUT)["data.npy"].read(0, 128)


def test_there_is_only_file_0(pixel_stack: Callable[..., Any]) -> None:
    with pytest.raises(IndexError, match="only file 0"):
        LAYOUT.pieces(pixel_stack().facts, 1)


@pytest.mark.parametrize("stored", ["<u2", ">u2"])
def test_the_header_follows_the_type_that_the_user_wants(
    whole_file: Any, facts_of: Callable[..., StackFacts], stored: str
) -> None:
    frames = np.array([[[0, 65535]], [[65534, 7]]], stored)
    data = whole_file(LAYOUT, facts_of(frames, policy=PixelPolicy(dtype="i4")), frames)
    found = np.load(io.BytesIO(data))
    assert found.dtype == np.dtype(f"{stored[0]}i4")
    assert found.tolist() == [[[0, -1]], [[65534, 7]]]
