# SPDX-License-Identifier: MIT
"""Files of Lambda detectors, in micrometres and lists of one."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import SourceError
from fastlegacy.sources.find import find_stacks, open_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.lambda_ import lambda_scan

FRAMES = counting_frames(4, (44, 30), "u2")


def test_modules_with_gaps(tmp_path: Path) -> None:
    url = lambda_scan(tmp_path, FRAMES)
    (info,) = find_stacks(url.partition("::")[0])
    assert (info.url, info.source, info.why) == (url, "lambda", "detector lambda, written by a Lambda")
    with h5py.File(url.partition("::")[0]) as file:
        expected = file["entry/instrument/detector/data"][()]
    assert not expected[:, 12:16].any()
    with open_stack(url.partition("::")[0]) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 4), expected)


def test_micrometres_and_lists_of_one(tmp_path: Path) -> None:
    url = lambda_scan(tmp_path, FRAMES)
    with open_stack(url) as stack:
        known = stack.geometry
    assert (known.pixel_x_m, known.pixel_y_m) == (5.5e-05, 5.5e-05)
    assert (known.sensor_material, known.sensor_thickness_m, known.saturation_counts) == ("GaAs", 0.0005, 4095)
    assert (known.detector, known.distance_m, known.wavelength_angstrom) == ("Lambda", None, None)
    assert known.origin["pixel_x_m"] == f"{url.removesuffix('/data')}/x_pixel_size"


def test_units_that_are_written_are_believed(tmp_path: Path) -> None:
    url = lambda_scan(tmp_path, FRAMES)
    with h5py.File(url.partition("::")[0], "r+") as file:
        file["entry/instrument/detector/x_pixel_size"].attrs["units"] = "mm"
        file["entry/instrument/detector/distance"] = [0.0]
    with open_stack(url) as stack:
        assert (stack.geometry.pixel_x_m, stack.geometry.distance_m) == (0.055, None)


def test_a_missing_module(tmp_path: Path) -> None:
    url = lambda_scan(tmp_path, FRAMES)
    (tmp_path / "scan_m02.nxs").unlink()
    with pytest.raises(SourceError, match="scan_m02"):
        open_stack(url)
    with open_stack(url, missing="fill") as stack:
        assert not stack[0][16:28].any()
        assert stack[0][:12].any()
        assert stack.geometry.pixel_x_m == 5.5e-05


def test_another_detector_is_not_claimed(tmp_path: Path) -> None:
    url = lambda_scan(tmp_path, FRAMES)
    with h5py.File(url.partition("::")[0], "r+") as file:
        del file["entry/instrument/detector/description"]
    assert [info.source for info in find_stacks(url.partition("::")[0])] == ["dataset"]
