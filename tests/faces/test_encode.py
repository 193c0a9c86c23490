# SPDX-License-Identifier: MIT
"""``fastlegacy.encode``: the bytes that a mount shows, from pixels in memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import fabio
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import fastlegacy
from fastlegacy.errors import LayoutError, NotAStackError, UrlError
from fastlegacy.testing.files import write_stack

FORMATS = fastlegacy.formats()
GEOMETRY: dict[str, Any] = {"start_deg": -3.0, "step_deg": 0.5, "exposure_s": 0.1, "wavelength_angstrom": 1.0}
FRAMES = np.random.default_rng(8).poisson(4, (3, 36, 44)).astype("u2")
FRAMES[1, 3, 4] = 65535


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("choices", [{}, {"transpose": True, "binning": 2}], ids=["plain", "turned"])
def test_the_bytes_are_those_of_the_same_pixels_in_hdf5(tmp_path: Path, format: str, choices: dict[str, Any]) -> None:
    layout = FORMATS[format]
    pixels = FRAMES if not layout.per_frame else FRAMES[1]
    url = write_stack(tmp_path / "a.h5", pixels, "/e/d", filters="bslz4", chunks=pixels.shape)
    with fastlegacy.open(url) as stack:
        tree = fastlegacy.tree(stack, format, companions=[], **choices, **GEOMETRY)
        expected = next(iter(tree.values())).read()
        time = stack.facts.mtime_ns
    assert fastlegacy.encode(pixels, format, url=url, mtime_ns=time, **choices, **GEOMETRY) == expected


def test_fabio_reads_it(tmp_path: Path) -> None:
    for format in ("edf", "cbf", "tiff"):
        path = tmp_path / f"x{FORMATS[format].suffix}"
        path.write_bytes(fastlegacy.encode(FRAMES[0], format, exposure_s=0.1))
        with fabio.open(str(path)) as image:
            np.testing.assert_array_equal(image.data, FRAMES[0])


def test_one_frame_may_have_a_leading_axis() -> None:
    assert fastlegacy.encode(FRAMES[:1], "npy") == fastlegacy.encode(FRAMES[0], "npy")
    with pytest.raises(LayoutError, match="one file for each frame, and there are 3; encode them one by one"):
        fastlegacy.encode(FRAMES, "npy")
    np.testing.assert_array_equal(np.load(io.BytesIO(fastlegacy.encode(FRAMES, "npy-stack"))), FRAMES)


@given(st.sampled_from(["u1", "<u2", ">u4", "i2", ">i4", "f4"]), st.integers(1, 9), st.integers(1, 9), st.data())
def test_any_image_comes_back(dtype: str, ny: int, nx: int, data: st.DataObject) -> None:
    values = data.draw(st.lists(st.integers(0, 120), min_size=ny * nx, max_size=ny * nx))
    image = np.array(values).reshape(ny, nx).astype(dtype)
    np.testing.assert_array_equal(np.load(io.BytesIO(fastlegacy.encode(image, "npy"))), image)
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(fastlegacy.encode(image, "tiff"))), image)
    np.testing.assert_array_equal(
        tifffile.imread(io.BytesIO(fastlegacy.encode(image[::-1, ::-1].T, "tiff"))), image[::-1, ::-1].T
    )


def test_masks_and_limits() -> None:
    image = np.array([[0, 1, 65535], [70000, 2, 3]], "u4")
    mask = np.array([[0, 1, 0], [0, 0, 2]])
    data = fastlegacy.encode(image, "npy", mask=mask, mask_value=-7, dtype="i2")
    assert np.load(io.BytesIO(data)).tolist() == [[0, -7, 32767], [32767, 2, -7]]
    with pytest.raises(LayoutError):
        fastlegacy.encode(image, "npy", dtype="u2", saturate="error")
    with pytest.raises(UrlError, match=r"shape \(3, 2\).*orientation of the stored"):
        fastlegacy.encode(image, "npy", mask=mask.T)
    turned = fastlegacy.encode(image, "npy", mask=mask, mask_value=9, rotation_deg=90)
    np.testing.assert_array_equal(np.load(io.BytesIO(turned)), np.rot90(np.where(mask, 9, image)))


def test_options_by_their_names_or_in_a_mapping() -> None:
    plain, summed = fastlegacy.encode(FRAMES[0], "cbf"), fastlegacy.encode(FRAMES[0], "cbf", md5=True)
    assert b"Content-MD5" in summed
    assert b"Content-MD5" not in plain
    assert fastlegacy.encode(FRAMES[0], "cbf", options={"md5": "yes"}) == summed


def test_names_that_mean_nothing() -> None:
    with pytest.raises(TypeError, match=r"'wavelenght' is no value of the format cbf; there are .*md5"):
        fastlegacy.encode(FRAMES[0], "cbf", wavelenght=1.0)
    with pytest.raises(TypeError, match="'md5' is no value of the format edf"):
        fastlegacy.encode(FRAMES[0], "edf", md5=True)
    with pytest.raises(LayoutError, match="no format 'papyrus'"):
        fastlegacy.encode(FRAMES[0], "papyrus")
    with pytest.raises(LayoutError, match="are several formats"):
        fastlegacy.encode(FRAMES[0], "edf,cbf")
    with pytest.raises(NotAStackError):
        fastlegacy.encode(np.zeros((3, 4), "c8"), "edf")
