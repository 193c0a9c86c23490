# SPDX-License-Identifier: MIT
"""Stacks that lie in other files."""

import shutil

import h5py
import numpy as np
import pytest

from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.virtual import (
    external_chain,
    soft_links,
    virtual_modules,
    virtual_nested,
    virtual_printf,
    virtual_series,
    virtual_strided,
)

FRAMES = counting_frames(12, (20, 24), "u2")


def read(url):
    path, _, dataset = url.partition("::")
    with h5py.File(path) as file:
        return file[dataset][()]


@pytest.mark.parametrize(
    "build",
    [
        virtual_series,
        virtual_nested,
        lambda folder, frames: virtual_nested(folder, frames, depth=3),
        virtual_printf,
        virtual_strided,
        external_chain,
        lambda folder, frames: soft_links(folder / "a.h5", frames),
    ],
    ids=["series", "nested", "nested deeply", "printf", "strided", "external", "soft"],
)
def test_shows_the_frames_wherever_the_folder_is(tmp_path, build):
    (tmp_path / "here").mkdir()
    url = build(tmp_path / "here", FRAMES)
    np.testing.assert_array_equal(read(url), FRAMES)
    shutil.move(tmp_path / "here", tmp_path / "there")
    np.testing.assert_array_equal(read(url.replace("/here/", "/there/")), FRAMES)


def test_uneven_series_with_gaps(tmp_path):
    shown = read(virtual_series(tmp_path, FRAMES[:11], files=3, gap=2, fillvalue=9))
    assert shown.shape == (17, 20, 24)
    expected = [*FRAMES[:4], None, None, *FRAMES[4:8], None, None, *FRAMES[8:11], None, None]
    for frame, wanted in zip(shown, expected, strict=True):
        np.testing.assert_array_equal(frame, np.full((20, 24), 9) if wanted is None else wanted)


def test_virtual_dataset_of_another_dtype(tmp_path):
    shown = read(virtual_series(tmp_path, FRAMES, dtype=">u4"))
    assert shown.dtype == np.dtype(">u4")
    np.testing.assert_array_equal(shown, FRAMES)


def test_missing_source_is_fill_value(tmp_path):
    (tmp_path / "printf").mkdir()
    shown = read(virtual_series(tmp_path, FRAMES, missing=[1]))
    np.testing.assert_array_equal(shown[4:8], 0)
    np.testing.assert_array_equal(shown[8:], FRAMES[8:])
    shown = read(virtual_printf(tmp_path / "printf", FRAMES, missing=[2]))
    np.testing.assert_array_equal(shown[:8], FRAMES[:8])


def test_printf_needs_even_files(tmp_path):
    with pytest.raises(ValueError, match="evenly"):
        virtual_printf(tmp_path, FRAMES, files=5)


def test_modules_and_gaps(tmp_path):
    shown = read(virtual_modules(tmp_path, FRAMES, grid=(2, 3), gap=2))
    covered = shown != 65535
    np.testing.assert_array_equal(shown[covered], FRAMES[covered])
    np.testing.assert_array_equal(covered[0].all(axis=0).nonzero()[0], [])
    assert list((~covered[0]).all(axis=0).nonzero()[0]) == [6, 7, 14, 15, 22, 23]
    assert list((~covered[0]).all(axis=1).nonzero()[0]) == [9, 10]


def test_missing_end_of_a_chain(tmp_path):
    with pytest.raises((KeyError, OSError)):
        read(external_chain(tmp_path, FRAMES, missing=True))
