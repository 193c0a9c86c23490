# SPDX-License-Identifier: MIT
"""Masks: where files keep them, what their numbers mean, and what is said of those that cannot be used."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fastlegacy.errors import FastlegacyError, NotAStackError, SourceError, UrlError
from fastlegacy.hdf5.files import Context
from fastlegacy.hdf5.url import DataUrl
from fastlegacy.sources.masks import classes_of, find_mask, mask_of, read_mask
from fastlegacy.testing.bliss import bliss_scan
from fastlegacy.testing.files import write_stack
from fastlegacy.testing.filters import filter_arguments
from fastlegacy.testing.frames import counting_frames

SHAPE = (20, 30)
FRAMES = counting_frames(4, SHAPE, "u2")
MASK = np.zeros(SHAPE, "u4")
MASK[5:7] = 1
MASK[:, 11] |= 1
MASK[0, 0], MASK[1, 2], MASK[3, 4], MASK[19, 29] = 2, 64, 1 << 8, 1 << 31
CLASSES = np.where(MASK & 1, 1, np.where(MASK & 0xFFFE, 2, 0)).astype("u1")


def file_with(path: Path, *masks: str, data: str = "/entry/data/data", mask: Any = MASK, **options: Any) -> str:
    """Write a stack, and the mask under each of some names; the url of the stack."""
    url = write_stack(path, FRAMES, data)
    with h5py.File(path, "r+") as file:
        for name in masks:
            file.create_dataset(name, data=mask, **options)
    return url


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fastlegacy.masks" and r.levelno >= logging.WARNING]


# ---------------------------------------------------------------------------------------------------- what numbers mean


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(0, 0), (1, 1), (2, 2), (4, 2), (8, 2), (16, 2), (64, 2), (3, 1), (1 << 8, 2), (1 << 15, 2)],
        *[(1 << 16, 0), (1 << 31, 0), ((1 << 31) + 1, 1), ((1 << 31) + 2, 2), (0xFFFFFFFF, 1)],
    ],
)
def test_bits_of_nxmx(value: int, expected: int) -> None:
    for dtype in ("<u4", ">u4", "u8", "i8"):
        assert classes_of(np.array([[value]], dtype)).tolist() == [[expected]]


@given(st.sampled_from(["i1", "u1", "<i2", ">u2", "<i4", "u8"]).flatmap(lambda dtype: arrays.arrays(dtype, (3, 4))))
def test_small_and_signed_integers_have_the_same_bits(mask: np.ndarray) -> None:
    expected = [1 if int(v) & 1 else 2 if int(v) & 0xFFFE else 0 for v in mask.reshape(-1)]
    assert classes_of(mask).reshape(-1).tolist() == expected


def test_truth_values_and_floats_are_gaps() -> None:
    assert classes_of(np.array([[True, False]])).tolist() == [[1, 0]]
    assert classes_of(np.array([[0.0, 2.0, np.nan, -0.5]])).tolist() == [[0, 1, 1, 1]]


# ---------------------------------------------------------------------------------------------------- in the file


@pytest.mark.parametrize(
    "name",
    [
        "/entry/data/pixel_mask",
        "/entry/data/mask",
        "/entry/pixel_mask",
        "/entry/instrument/detector/pixel_mask",
        "/entry/instrument/detector/mask",
        "/entry/instrument/detector/detectorSpecific/pixel_mask",
        "/entry/instrument/eiger/pixel_mask",
        "/entry/instrument_1/detector_1/mask",
        "/entry/instrument/detector/threshold_1_channel/pixel_mask",
    ],
)
def test_where_a_mask_may_be(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    url = file_with(tmp_path / "a.h5", name)
    mask = find_mask(url)
    assert mask is not None
    assert mask.where == f"{tmp_path / 'a.h5'}::{name}"
    assert (mask.classes.dtype, mask.gaps, mask.bad) == (np.uint8, int((CLASSES == 1).sum()), 3)
    np.testing.assert_array_equal(mask.classes, CLASSES)
    assert warnings(caplog) == []


@pytest.mark.parametrize(
    "name",
    [
        "/entry/instrument/pixel_mask",  # of which detector?
        "/entry/other/pixel_mask",
        "/entry/mask",
        "/mask",
        "/entry/instrument/detector/flatfield",
        "/x/pixel_mask",
    ],
)
def test_what_is_not_the_detectors_mask(tmp_path: Path, name: str) -> None:
    assert find_mask(file_with(tmp_path / "a.h5", name)) is None


def test_the_nearest_mask_counts(tmp_path: Path) -> None:
    url = file_with(tmp_path / "a.h5", "/entry/instrument/detector/pixel_mask")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/entry/data/pixel_mask"] = np.ones(SHAPE, "u4")
    mask = find_mask(url)
    assert mask is not None
    assert mask.gaps == 600


@pytest.mark.parametrize("filters", ["bslz4", "gzip", "lz4", "blosc-lz4"])
@pytest.mark.parametrize("dtype", ["u1", ">u2", "i4", "u8"])
def test_masks_of_any_type_and_filter(tmp_path: Path, filters: str, dtype: str) -> None:
    small = np.where(CLASSES == 2, 2, MASK & 1).astype(dtype)
    name = "/entry/instrument/detector/pixel_mask"
    url = file_with(tmp_path / "a.h5", name, mask=small, chunks=SHAPE, **filter_arguments(filters))
    mask = find_mask(url)
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, CLASSES)


def test_a_mask_of_truth_values(tmp_path: Path) -> None:
    mask = find_mask(file_with(tmp_path / "a.h5", "/entry/data/mask", mask=MASK == 1, compression="gzip"))
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, MASK == 1)


@pytest.mark.parametrize("shape", [(30, 20), (600,), (20, 31), (0, 20, 30), (2, 2, 20, 30)])
def test_another_shape_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, shape: tuple[int, ...]) -> None:
    assert find_mask(file_with(tmp_path / "a.h5", "/entry/data/pixel_mask", mask=np.ones(shape, "u4"))) is None
    assert warnings(caplog) == []


def test_planes_that_are_the_same_are_one_mask(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = find_mask(file_with(tmp_path / "a.h5", "/entry/data/pixel_mask", mask=np.stack([MASK] * 3)))
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, CLASSES)
    assert warnings(caplog) == []


def test_planes_that_differ_are_united_and_it_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    other = np.zeros_like(MASK)
    other[9, 9], other[5, 5], other[0, 0] = 1, 2, 1
    mask = find_mask(file_with(tmp_path / "a.h5", "/entry/data/pixel_mask", mask=np.stack([MASK, other])))
    assert mask is not None
    expected = CLASSES.copy()
    expected[9, 9] = expected[0, 0] = 1
    np.testing.assert_array_equal(mask.classes, expected)
    assert "2 masks that differ" in warnings(caplog)[0]


def test_a_mask_for_each_frame_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert find_mask(file_with(tmp_path / "a.h5", "/entry/data/pixel_mask", mask=np.stack([MASK] * 9))) is None
    assert "has 9 planes" in warnings(caplog)[0]


def test_channels_of_a_threshold(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    channels = [f"/entry/instrument/detector/{name}_channel/pixel_mask" for name in ("threshold_1", "threshold_2")]
    url = file_with(tmp_path / "a.h5", *channels)
    mask = find_mask(url)
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, CLASSES)
    assert warnings(caplog) == []
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file[channels[1]][12, 12] = 1
    mask = find_mask(url)
    assert mask is not None
    assert (mask.classes[12, 12], mask.classes[0, 0], mask.gaps) == (1, 2, int((CLASSES == 1).sum()) + 1)
    assert "threshold_2_channel" in warnings(caplog)[0]


def test_of_several_detectors_the_one_in_the_path_counts(tmp_path: Path) -> None:
    for data in ("/1.1/measurement/eiger", "/1.1/instrument/eiger/data"):
        url = file_with(tmp_path / "a.h5", "/1.1/instrument/frelon/pixel_mask", data=data)
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file.require_group("/1.1/instrument/eiger")
        assert find_mask(url) is None  # that of the neighbour is not ours
        with h5py.File(tmp_path / "a.h5", "r+") as file:
            file["/1.1/instrument/eiger/pixel_mask"] = MASK * 0 + 1
        mask = find_mask(url)
        assert mask is not None
        assert mask.gaps == 600


def test_of_several_detectors_none_counts_where_it_is_open_which(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = file_with(tmp_path / "a.h5", "/entry/instrument/one/pixel_mask", "/entry/instrument/two/pixel_mask")
    assert find_mask(url) is not None  # they are the same
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/entry/instrument/two/pixel_mask"][3, 3] = 1
    assert find_mask(url) is None
    assert "several detectors" in warnings(caplog)[0]


def test_a_mask_that_may_say_which_pixels_are_good_is_not_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert find_mask(file_with(tmp_path / "a.h5", "/entry/data/mask", mask=CLASSES == 0)) is None
    assert "more than half" in warnings(caplog)[0]


def test_a_mask_does_not_mask_itself(tmp_path: Path) -> None:
    file_with(tmp_path / "a.h5", "/entry/instrument/detector/pixel_mask")
    assert find_mask(f"{tmp_path / 'a.h5'}::/entry/instrument/detector/pixel_mask") is None


# ---------------------------------------------------------------------------------------------------- behind links


def test_a_dectris_master(tmp_path: Path) -> None:
    """The frames are in another file, by an external link; the mask is in the master."""
    write_stack(tmp_path / "x_data_000001.h5", FRAMES, "/entry/data/data", filters="bslz4")
    with h5py.File(tmp_path / "x_master.h5", "w") as file:
        file["/entry/data/data_000001"] = h5py.ExternalLink("x_data_000001.h5", "/entry/data/data")
        file["/entry/instrument/detector/detectorSpecific/pixel_mask"] = MASK
    mask = find_mask((str(tmp_path / "x_master.h5"), "/entry/data/data_000001"))
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, CLASSES)
    assert find_mask(f"{tmp_path / 'x_data_000001.h5'}::/entry/data/data") is None


def test_a_bliss_scan_whose_mask_is_with_lima(tmp_path: Path) -> None:
    """The master has a soft link to a virtual dataset; its sources know the detector."""
    url = bliss_scan(tmp_path, FRAMES, files=2)
    assert find_mask(url) is None
    with h5py.File(tmp_path / "scan0001" / "eiger_0000.h5", "r+") as file:
        file["/entry_0000/ESRF-ID11/eiger/detector_information/pixel_mask"] = MASK
    mask = find_mask(url)
    assert mask is not None
    assert mask.where.startswith(str(tmp_path / "scan0001" / "eiger_0000.h5"))
    np.testing.assert_array_equal(mask.classes, CLASSES)


def test_a_mask_behind_links(tmp_path: Path) -> None:
    url = file_with(tmp_path / "a.h5")
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["/m"] = MASK
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/somewhere"] = h5py.ExternalLink("mask.h5", "/m")
        file["/entry/instrument/detector/pixel_mask"] = h5py.SoftLink("/somewhere")
    mask = find_mask(url)
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, CLASSES)


def test_an_instrument_behind_a_link(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "meta.h5", "w") as file:
        file["/it/eiger/pixel_mask"] = MASK
    url = file_with(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/entry/instrument"] = h5py.ExternalLink("meta.h5", "/it")
    assert find_mask(url) is not None


@pytest.mark.parametrize("link", [h5py.ExternalLink("gone.h5", "/m"), h5py.SoftLink("/gone")])
def test_a_link_that_leads_nowhere_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture, link: Any) -> None:
    url = file_with(tmp_path / "a.h5", "/entry/pixel_mask")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["/entry/data/pixel_mask"] = link
    mask = find_mask(url)
    assert mask is not None
    assert mask.where.endswith("::/entry/pixel_mask")  # the next one is taken
    (text,) = warnings(caplog)
    assert f"{tmp_path / 'a.h5'}::/entry/data/pixel_mask cannot be used" in text
    with pytest.raises(FastlegacyError):
        read_mask(f"{tmp_path / 'a.h5'}::/entry/data/pixel_mask", SHAPE)


def test_a_damaged_mask_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = file_with(tmp_path / "a.h5", "/entry/data/pixel_mask", chunks=SHAPE, compression="gzip")
    with h5py.File(tmp_path / "a.h5") as file:
        where = file["/entry/data/pixel_mask"].id.get_chunk_info(0).byte_offset
    with open(tmp_path / "a.h5", "r+b") as raw:
        raw.seek(where)
        raw.write(b"damage")
    assert find_mask(url) is None
    assert "cannot be used" in warnings(caplog)[0]
    with pytest.raises(FastlegacyError):
        read_mask(f"{tmp_path / 'a.h5'}::/entry/data/pixel_mask", SHAPE)


def test_many_motors_beside_the_detector(tmp_path: Path) -> None:
    url = file_with(tmp_path / "a.h5", "/1.1/instrument/eiger/pixel_mask", data="/1.1/measurement/eiger")
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        for i in range(300):
            file[f"/1.1/instrument/motor{i}/value"] = 0.0
            file[f"/{i}.2/instrument/eiger/pixel_mask"] = MASK * 0 + 1
    mask = find_mask(url)
    assert mask is not None
    np.testing.assert_array_equal(mask.classes, CLASSES)


def test_no_file_stays_open(tmp_path: Path) -> None:
    url = file_with(tmp_path / "a.h5", "/entry/data/pixel_mask")
    context = Context()
    assert find_mask(url, context) is not None
    with h5py.File(tmp_path / "a.h5", "r+") as file:  # impossible while it is open for reading
        del file["/entry/data/pixel_mask"]
    assert find_mask(url, context) is None


# ---------------------------------------------------------------------------------------------------- selections


@pytest.mark.parametrize(
    "selection",
    ["1:3", "...", "0", ":,2:18,::3", ":,:,5:6", "0,1:4,:", ":,5,:", ":,:,11", "...,::2", "2,...,3:9"],
)
def test_rows_and_columns_are_selected_of_the_mask(tmp_path: Path, selection: str) -> None:
    url = file_with(tmp_path / "a.h5", "/entry/data/pixel_mask")
    named = f"{url.replace('::', '?path=')}&slice={selection}"
    mask = find_mask(named)
    assert mask is not None
    every = np.broadcast_to(CLASSES, FRAMES.shape)[eval(f"np.s_[{selection}]")]
    assert mask.classes.flags.c_contiguous
    for plane in every.reshape(-1, *every.shape[-2:]):
        np.testing.assert_array_equal(mask.classes, plane)


def test_a_url_that_is_parsed_already(tmp_path: Path) -> None:
    url = DataUrl(file_with(tmp_path / "a.h5", "/entry/pixel_mask").partition("::")[0], "/entry/data/data")
    assert find_mask(url) is not None
    with pytest.raises(UrlError, match="not a dataset in it"):
        find_mask(tmp_path / "a.h5")


# ---------------------------------------------------------------------------------------------------- by its name


def test_a_mask_in_an_hdf5_file(tmp_path: Path) -> None:
    file_with(tmp_path / "a.h5", "/any/name")
    mask = read_mask(f"{tmp_path / 'a.h5'}::/any/name", SHAPE)
    np.testing.assert_array_equal(mask.classes, CLASSES)
    assert mask.where == f"{tmp_path / 'a.h5'}::/any/name"
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["truth"] = np.stack([MASK == 1] * 2)
    for url in (f"{tmp_path / 'a.h5'}::/truth", f"{tmp_path / 'a.h5'}?path=/truth&slice=1"):
        np.testing.assert_array_equal(read_mask(url, SHAPE).classes, MASK == 1)


def image_files(folder: Path, mask: np.ndarray) -> dict[str, str]:
    files = {}
    for suffix, kind in (
        ("edf", fabio.edfimage.EdfImage),
        ("tif", fabio.tifimage.TifImage),
        ("cbf", fabio.cbfimage.CbfImage),
    ):
        files[suffix] = str(folder / f"m.{suffix}")
        kind(data=mask.astype("i4")).write(files[suffix])
    files["npy"] = str(folder / "m.npy")
    np.save(files["npy"], mask)
    return files


def test_image_files(tmp_path: Path) -> None:
    mask = np.where(CLASSES == 2, 2, CLASSES)
    for file in image_files(tmp_path, mask).values():
        np.testing.assert_array_equal(read_mask(file, SHAPE).classes, CLASSES, err_msg=file)


def test_whatever_is_drawn_is_masked(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, "i4")
    mask[0, :5] = 1, 255, -1, -2, 1 << 16
    for name, file in image_files(tmp_path, mask).items():
        assert read_mask(file, SHAPE).classes[0, :6].tolist() == [1, 1, 1, 2, 2, 0], name
    np.save(tmp_path / "b.npy", MASK == 1)
    np.testing.assert_array_equal(read_mask(tmp_path / "b.npy", SHAPE).classes, MASK == 1)
    np.save(tmp_path / "f.npy", np.where(MASK == 1, np.nan, 0))
    np.testing.assert_array_equal(read_mask(tmp_path / "f.npy", SHAPE).classes, MASK == 1)


def test_another_shape_is_an_error_that_says_both(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", np.zeros((30, 20), "u1"))
    with pytest.raises(UrlError, match=r"shape \(30, 20\), and the frames have \(20, 30\).*orientation of the stored"):
        read_mask(tmp_path / "m.npy", SHAPE)
    with pytest.raises(UrlError, match=r"shape \(30, 20\), and the frames have \(20, 31\).*as many rows"):
        read_mask(tmp_path / "m.npy", (20, 31))
    url = file_with(tmp_path / "a.h5", "/m")
    with pytest.raises(UrlError, match=r"a\.h5::/m: the mask has the shape \(20, 30\), and the frames have \(2, 3\)"):
        read_mask(url.replace("/entry/data/data", "/m"), (2, 3))
    with pytest.raises(UrlError, match=r"an array: the mask has the shape \(20, 30\)"):
        mask_of(MASK, (2, 3))
    np.testing.assert_array_equal(mask_of((MASK == 1).tolist(), SHAPE).classes, MASK == 1)


def test_what_is_no_mask(tmp_path: Path) -> None:
    file_with(tmp_path / "a.h5", "/many", mask=np.stack([MASK] * 9))
    (tmp_path / "text.txt").write_text("hello")
    np.save(tmp_path / "three.npy", np.zeros((3, *SHAPE), "u1"))
    for name, says in [
        ("nothing.edf", "cannot be read as a mask: .*No such file"),
        ("text.txt", "cannot be read as a mask"),
        ("three.npy", "has 3 images, and a mask is one"),
        ("a.h5", "names an HDF5 file, not a mask in it; add the mask's path"),
        ("a.h5::/many", "has 9 planes"),
    ]:
        with pytest.raises(UrlError, match=says):
            read_mask(os.fspath(tmp_path / name), SHAPE)
    for name, error in [
        ("a.h5::/nothing", NotAStackError),
        ("gone.h5::/x", SourceError),
        ("a.h5::/entry", NotAStackError),
    ]:
        with pytest.raises(error):
            read_mask(os.fspath(tmp_path / name), SHAPE)
