# SPDX-License-Identifier: MIT
"""The oracle: every pixel is what h5py reads, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (its filters are for h5py)
import numpy as np
import pytest

from fastlegacy.hdf5.stack import Stack
from fastlegacy.hdf5.url import parse_url


def read_by_h5py(url: str) -> Any:
    """What h5py reads: the dataset, or the url's selection of it."""
    named = parse_url(url)
    assert named.dataset is not None
    with h5py.File(named.file, "r", locking=False) as file:
        return file[named.dataset][() if named.selection is None else named.selection]


def compare(url: str, **options: Any) -> set[str]:
    """Compare frames, the whole, and random ranges of pixels; returns by whom it was decoded."""
    expected = read_by_h5py(url)
    flat = expected.reshape(-1)
    with Stack(url, **options) as stack:
        assert stack.shape == (flat.size // (stack.shape[1] * stack.shape[2]), *expected.shape[-2:])
        assert stack.facts.leading_shape == expected.shape[:-2]
        assert stack.dtype == expected.dtype
        for frame, wanted in zip(stack, expected.reshape(stack.shape), strict=True):
            assert frame.dtype == wanted.dtype
            assert frame.tobytes() == wanted.tobytes()
        ranges = np.sort(np.random.default_rng(expected.size).integers(0, flat.size + 1, (6, 2)), axis=1)
        for start, stop in [(0, flat.size), *ranges.tolist()]:
            out = np.full((stop - start) * flat.itemsize + 16, 0xA5, np.uint8)
            stack.core.read(start, out[8:-8])
            assert out[8:-8].tobytes() == flat[start:stop].tobytes()
            assert (out[:8] == 0xA5).all()
            assert (out[-8:] == 0xA5).all()
        return {by for _, by in stack.decoders()}


@pytest.fixture(scope="session")
def same_as_h5py() -> Callable[..., set[str]]:
    """``same_as_h5py(url, **options of Stack)``."""
    return compare


@pytest.fixture(scope="session")
def h5py_reads() -> Callable[[str], Any]:
    """``h5py_reads(url)``."""
    return read_by_h5py
