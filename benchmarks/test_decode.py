# SPDX-License-Identifier: MIT
"""One frame of 4 megapixels from bitshuffle+LZ4 into an array, on one core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (its import registers the filters)
import numpy as np
import pytest

import fastlegacy

Note = Callable[[str, str, int], None]

FRAME = 2


@pytest.fixture(params=["uint16", "uint32"])
def url(request: pytest.FixtureRequest, make_stack: Callable[[str], str], measuring: bool) -> str:
    """A stack of each dtype that detectors of this kind write."""
    return make_stack(request.param)


@pytest.fixture
def dataset(url: str) -> Any:
    """The stack, as h5py has it."""
    path, _, name = url.partition("::")
    with h5py.File(path, "r", locking=False) as file:
        yield file[name]


def test_fastlegacy(benchmark: Any, note: Note, url: str, dataset: Any) -> None:
    """``stack.read(i, out=array)``."""
    with fastlegacy.open(url) as stack:
        out = np.empty(stack.shape[1:], stack.dtype)
        note(f"decode one frame, {stack.dtype}", "fastlegacy", out.nbytes)
        benchmark(stack.read, FRAME, out=out)
    np.testing.assert_array_equal(out, dataset[FRAME])


def test_h5py_read_direct(benchmark: Any, note: Note, dataset: Any) -> None:
    """``dataset.read_direct(array, np.s_[i])``: no new memory."""
    out = np.empty(dataset.shape[1:], dataset.dtype)
    note(f"decode one frame, {dataset.dtype}", "h5py read_direct", out.nbytes)
    benchmark(dataset.read_direct, out, np.s_[FRAME])
    np.testing.assert_array_equal(out, dataset[FRAME])


def test_h5py_index(benchmark: Any, note: Note, dataset: Any) -> None:
    """``dataset[i]``, as most programs do it."""
    note(f"decode one frame, {dataset.dtype}", "h5py dataset[i]", dataset[FRAME].nbytes)
    assert benchmark(dataset.__getitem__, FRAME).shape == dataset.shape[1:]
