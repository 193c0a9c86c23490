# SPDX-License-Identifier: MIT
"""Files of NXmx: where chains of transformations put the detector, and the channels of filewriter 2."""

from __future__ import annotations

import json
import logging
import math
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import UrlError
from fastlegacy.sources.find import find_stacks, open_stack
from fastlegacy.testing.frames import counting_frames
from fastlegacy.testing.nxmx import filewriter2_series, nxmx_scan

FRAMES = counting_frames(5, (20, 30), "u2")
PYTHON = Path("/usr/bin/python3")

READER = """
import json, sys
import dxtbx
image = dxtbx.load(sys.argv[1])
panel, beam, scan = image.get_detector()[0], image.get_beam(), image.get_scan()
print(json.dumps({
    "beam_mm": panel.get_ray_intersection(beam.get_s0()),  # in pixels it is corrected for parallax
    "pixel_mm": panel.get_pixel_size(),
    "distance_mm": panel.get_distance(),
    "wavelength": beam.get_wavelength(),
    "oscillation": scan.get_oscillation(),
    "exposure": scan.get_exposure_times()[0],
    "thickness_mm": panel.get_thickness(),
    "trusted": panel.get_trusted_range(),
}))
"""


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fastlegacy.sources" and r.levelno >= logging.WARNING]


def test_everything_that_a_scan_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = nxmx_scan(tmp_path, FRAMES)
    (info,) = find_stacks(url.partition("::")[0])
    assert (info.url, info.source, info.why) == (url, "nxmx", "the definition NXmx")
    with open_stack(url.partition("::")[0]) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 5), FRAMES)
        known = stack.geometry
    assert (known.beam_x_px, known.beam_y_px) == (11.5, 7.5)
    assert (known.distance_m, known.wavelength_angstrom) == (0.2893, 0.97625)
    assert (known.pixel_x_m, known.pixel_y_m) == (7.5e-05, 7.5e-05)
    assert (known.exposure_s, known.period_s, known.saturation_counts) == (0.004, 0.005, 65534)
    assert (known.sensor_material, known.sensor_thickness_m) == ("Si", 0.00045)
    assert (known.detector, known.start_time) == ("Eiger 16M, S/N E-32-0117", "2026-03-01T12:00:00Z")
    assert (known.start_deg, known.step_deg) == (10.0, 0.1)
    assert known.angles_deg == pytest.approx(10 + np.arange(5) * 0.1)
    assert known.motors == {"phi": pytest.approx(math.degrees(0.5))}
    file = url.partition("::")[0]
    assert known.origin["distance_m"] == f"{file}::/entry/instrument/detector/module/fast_pixel_direction"
    assert known.origin["start_deg"] == f"{file}::/entry/sample/transformations/omega"
    assert warned(caplog) == []


@pytest.mark.skipif(not Path("/usr/bin/dials.import").exists(), reason="DIALS of the system is not installed")
@pytest.mark.parametrize("two_theta", [0.0, 20.0])
def test_dxtbx_says_the_same(tmp_path: Path, two_theta: float) -> None:
    url = nxmx_scan(tmp_path, FRAMES, beam_px=(14.25, 3.5), two_theta_deg=two_theta)
    done = subprocess.run(
        [PYTHON, "-c", READER, url.partition("::")[0]], capture_output=True, text=True, check=False, env={}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    theirs = json.loads(done.stdout)
    with open_stack(url) as stack:
        ours = stack.geometry
    beam_px = np.divide(theirs["beam_mm"], theirs["pixel_mm"])
    assert [ours.beam_x_px, ours.beam_y_px] == pytest.approx(beam_px - 0.5, abs=1e-6)
    assert ours.distance_m == pytest.approx(theirs["distance_mm"] / 1000)
    assert [ours.pixel_x_m, ours.pixel_y_m] == pytest.approx([pixel / 1000 for pixel in theirs["pixel_mm"]])
    assert ours.wavelength_angstrom == pytest.approx(theirs["wavelength"])
    assert [ours.start_deg, ours.step_deg] == pytest.approx(theirs["oscillation"])
    assert ours.sensor_thickness_m == pytest.approx(theirs["thickness_mm"] / 1000)
    assert ours.saturation_counts == theirs["trusted"][1]


def test_an_inclined_detector_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_stack(nxmx_scan(tmp_path, FRAMES, two_theta_deg=20)) as stack:
        assert stack.geometry.distance_m == pytest.approx(0.2893)
    (text,) = warned(caplog)
    assert "inclined by 20 deg" in text


def test_a_chain_with_relative_names_and_other_units(tmp_path: Path) -> None:
    url = nxmx_scan(tmp_path, FRAMES)
    with h5py.File(url.partition("::")[0], "r+") as file:
        arm = file["entry/instrument/detector/transformations"]
        arm["det_z"].attrs["depends_on"] = "two_theta"
        arm["det_z"][()] = 28.93
        arm["det_z"].attrs["units"] = "cm"
        offset = file["entry/instrument/detector/module/module_offset"]
        offset.attrs["offset"] = offset.attrs["offset"] * 1000
        offset.attrs["offset_units"] = np.bytes_("mm")
        file["entry/instrument/beam/incident_wavelength"].attrs["units"] = "nm"
    with open_stack(url) as stack:
        known = stack.geometry
    assert (known.distance_m, known.beam_x_px, known.beam_y_px) == (0.2893, 11.5, 7.5)
    assert known.wavelength_angstrom == 9.7625


def test_fields_stand_in_where_there_is_no_chain(tmp_path: Path) -> None:
    url = nxmx_scan(tmp_path, FRAMES)
    with h5py.File(url.partition("::")[0], "r+") as file:
        detector = file["entry/instrument/detector"]
        del detector["module"]
        for name, value, unit in (
            ("distance", 150.0, "mm"),
            ("beam_center_x", 20.0, "pixel"),
            ("beam_center_y", 0.0, "pixel"),
            ("x_pixel_size", 75.0, "um"),
        ):
            detector[name] = value
            detector[name].attrs["units"] = unit
    with open_stack(url) as stack:
        known = stack.geometry
    assert (known.distance_m, known.beam_x_px, known.beam_y_px) == (0.15, 19.5, None)
    assert (known.pixel_x_m, known.pixel_y_m) == (7.5e-05, None)


def test_energy_where_there_is_no_wavelength(tmp_path: Path) -> None:
    url = nxmx_scan(tmp_path, FRAMES)
    with h5py.File(url.partition("::")[0], "r+") as file:
        beam = file["entry/instrument/beam"]
        del beam["incident_wavelength"]
        beam["incident_energy"] = 12398.419843320026
        beam["incident_energy"].attrs["units"] = "eV"
    with open_stack(url) as stack:
        assert stack.geometry.wavelength_angstrom == 1.0
        assert stack.geometry.origin["wavelength_angstrom"].endswith("/incident_energy")


@pytest.mark.parametrize("breaks", ["circle", "units", "gone", "vector"])
def test_a_chain_that_is_broken_leaves_the_rest(tmp_path: Path, breaks: str, caplog: pytest.LogCaptureFixture) -> None:
    url = nxmx_scan(tmp_path, FRAMES)
    with h5py.File(url.partition("::")[0], "r+") as file:
        arm = file["entry/instrument/detector/transformations"]
        if breaks == "circle":
            arm["two_theta"].attrs["depends_on"] = f"{arm.name}/det_z"
        elif breaks == "units":
            arm["det_z"].attrs["units"] = "furlong"
        elif breaks == "vector":
            arm["det_z"].attrs["vector"] = [1.0]
        else:
            del arm["det_z"]
    with open_stack(url) as stack:
        assert stack.geometry.wavelength_angstrom == 0.97625
        assert stack.geometry.start_deg == 10.0
        np.testing.assert_array_equal(stack[4], FRAMES[4])
    assert len(warned(caplog)) == (1 if breaks in ("circle", "units") else 0)


def test_blocks_beside_the_images_are_not_a_series_of_their_own(tmp_path: Path) -> None:
    """Diamond's files link to their data files as well."""
    url = nxmx_scan(tmp_path, FRAMES)
    file = url.partition("::")[0]
    with h5py.File(file, "r+") as h5:
        h5["entry/data/data_000001"] = h5py.ExternalLink("scan_data_000001.h5", "/entry/data/data")
    assert next(find_stacks(file)).url == url
    with open_stack(file) as stack:
        assert stack.geometry.distance_m == 0.2893


# ---------------------------------------------------------------------------------------------------- channels


def test_each_channel_is_a_stack(tmp_path: Path) -> None:
    frames = np.stack([FRAMES, FRAMES + 1000, FRAMES + 2000], axis=1)
    url = filewriter2_series(tmp_path, frames)
    file = url.partition("::")[0]
    found = list(find_stacks(file))
    assert [info.url for info in found] == [f"{file}?path=/entry/data/data&slice=:,{i}" for i in range(3)]
    assert [info.why.split(",")[0] for info in found] == [
        f"detector {name}" for name in ("threshold_1", "threshold_2", "difference")
    ]
    thresholds = []
    for number, info in enumerate(found):
        with open_stack(info.url) as stack:
            assert stack.shape == (5, 20, 30)
            np.testing.assert_array_equal(stack.read_frames(0, 5), frames[:, number])
            assert (stack.geometry.start_deg, stack.geometry.step_deg) == (10.0, 0.25)
            assert (stack.geometry.distance_m, stack.geometry.beam_x_px) == (0.15, 11.5)
            thresholds.append(stack.geometry.threshold_ev)
    assert thresholds == [10000.0, 20000.0, None]
    with pytest.raises(UrlError, match=r"holds 3 stacks \(/entry/data/data&slice=:,0, "):
        open_stack(file)


def test_some_frames_of_a_channel(tmp_path: Path) -> None:
    frames = np.stack([FRAMES, FRAMES + 1000], axis=1)
    url = filewriter2_series(tmp_path, frames, channels=("threshold_1", "threshold_2"))
    with open_stack(f"{url.replace('::', '?path=')}&slice=1:4,1") as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 3), FRAMES[1:4] + 1000)
        assert (stack.geometry.start_deg, stack.geometry.step_deg) == (10.25, 0.25)


def test_one_channel_needs_no_path(tmp_path: Path) -> None:
    url = filewriter2_series(tmp_path, FRAMES[:, None], channels=("threshold_1",))
    with open_stack(url.partition("::")[0]) as stack:
        assert stack.url.endswith("?path=/entry/data/data&slice=:,0")
        assert stack.geometry.threshold_ev == 10000.0
