# SPDX-License-Identifier: MIT
"""Virtual TIFF files in the hands of libtiff's tools, ImageMagick and GraphicsMagick.

What these make of a virtual file is what they make of a real one that tifffile has written with the same pixels; and
where they have a place for such numbers, it is the pixels themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from fastlegacy.testing.files import write_stack
from fastlegacy.testing.frames import detector_frames

from .conftest import Mount, Run

pytestmark = [pytest.mark.programs, pytest.mark.fuse]

DTYPES = ("u1", "u2", "u4", "i2", "i4", "f4")
SHAPE = (195, 487)
Stack = tuple[str, np.ndarray[Any, Any]]


@pytest.fixture
def stack(tmp_path: Path, dtype: str) -> Stack:
    """Return the url and the pixels of a small stack."""
    frames = detector_frames(2, SHAPE, "f8" if dtype == "f4" else dtype)
    if dtype == "f4":
        frames = np.where(frames > 1e30, np.nan, frames / 7).astype("f4")
    if dtype in ("i2", "i4"):
        frames[:, 3, 5:7] = -1, np.iinfo(dtype).min
    return write_stack(tmp_path / "stack.h5", frames, filters="bslz4"), frames


@pytest.mark.parametrize("dtype", DTYPES)
def test_libtiff_copies_the_pixels_and_warns_of_nothing(
    stack: Stack, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path, dtype: str
) -> None:
    tiffcp, tiffinfo, tiffcmp = (program(name) for name in ("tiffcp", "tiffinfo", "tiffcmp"))
    url, frames = stack
    with mount(url, "--format", "tiff") as folder:
        for i, frame in enumerate(frames):
            path = folder / f"data{i + 1:04d}.tif"
            done = run(tiffinfo, path)
            assert done.stderr == ""
            assert f"Image Width: {SHAPE[1]} Image Length: {SHAPE[0]}" in done.stdout
            assert f"Bits/Sample: {8 * frame.dtype.itemsize}" in done.stdout
            assert run(tiffcp, "-c", "zip", path, "copy.tif").stderr == ""
            run(tiffcmp, path, "copy.tif")
            found = tifffile.imread(tmp_path / "copy.tif")
            assert found.dtype == frame.dtype
            np.testing.assert_array_equal(found, frame)


@pytest.mark.parametrize("words", [("convert-im6.q16",), ("gm", "convert")], ids=["imagemagick", "graphicsmagick"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_magick_converts_as_it_converts_files_by_tifffile(
    stack: Stack, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path, dtype: str, words: tuple[str]
) -> None:
    """Both hold 16 bits: they scale larger numbers down, and floating-point numbers in ways of their own."""
    convert = (program(words[0]), *words[1:])
    url, frames = stack
    tifffile.imwrite(tmp_path / "real.tif", frames[0], photometric="minisblack")
    options = ("-endian", "LSB", "-depth", "16")
    with mount(url, "--format", "tiff") as folder:
        run(*convert, folder / "data0001.tif", *options, "gray:virtual.gray")
    run(*convert, "real.tif", *options, "gray:real.gray")
    found = np.fromfile(tmp_path / "virtual.gray", "<u2").reshape(SHAPE)
    np.testing.assert_array_equal(found, np.fromfile(tmp_path / "real.gray", "<u2").reshape(SHAPE))
    if dtype in ("u1", "u2", "u4"):
        full = np.iinfo(dtype).max
        np.testing.assert_array_equal(found, np.rint(frames[0] * (65535 / full)).astype(int))


@pytest.mark.parametrize("dtype", ["u4"])
def test_32_bits_reach_imagemagick_whole_by_dtype_u2(
    stack: Stack, mount: Mount, run: Run, program: Callable[[str], str], tmp_path: Path, dtype: str
) -> None:
    convert, identify = program("convert-im6.q16"), program("identify-im6.q16")
    url, frames = stack
    with mount(url, "--format", "tiff", "--dtype", "u2") as folder:
        run(convert, folder / "data0001.tif", "-endian", "LSB", "-depth", "16", "gray:out.gray")
        verbose = run(identify, "-verbose", folder / "data0001.tif")
    found = np.fromfile(tmp_path / "out.gray", "<u2").reshape(SHAPE)
    np.testing.assert_array_equal(found, frames[0].clip(0, 65535))
    assert verbose.stderr == ""
    assert re.search(r"mean: ([0-9.]+)", verbose.stdout)[1].startswith(f"{found.mean():.1f}")  # type: ignore[index]
