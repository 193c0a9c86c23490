# SPDX-License-Identifier: MIT
"""Files of LImA without the master of bliss."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from fastlegacy.hdf5.files import Context
from fastlegacy.sources.find import claims, find_stacks, open_stack
from fastlegacy.testing.bliss import bliss_dataset, bliss_scan
from fastlegacy.testing.frames import counting_frames

FRAMES = counting_frames(4, (20, 30), "u4")
HOME = "/entry_0000/ESRF-ID11/eiger"


def test_a_file_of_lima_alone(tmp_path: Path) -> None:
    bliss_scan(tmp_path, FRAMES, files=2, written=3)
    file = tmp_path / "scan0001" / "eiger_0001.h5"
    (info,) = find_stacks(file)
    assert (info.url, info.source, info.why) == (f"{file}::{HOME}/data", "lima", "detector eiger, written by LImA")
    assert (info.frames, info.frames_stored) == (2, 1)
    with open_stack(file) as stack:
        known = stack.geometry
        np.testing.assert_array_equal(stack[0], FRAMES[2])
    assert (known.pixel_x_m, known.pixel_y_m, known.exposure_s) == (7.5e-05, 7.5e-05, 0.01)
    assert (known.detector, known.start_time) == ("Dectris EIGER2 CdTe 4M", "2026-03-01T12:00:00.000000+0100")
    assert known.origin["pixel_y_m"] == f"{file}::{HOME}/detector_information/pixel_size/ysize"
    assert (known.start_deg, known.angles_deg) == (None, None)


def test_the_soft_link_in_measurement_is_the_same_stack(tmp_path: Path) -> None:
    bliss_scan(tmp_path, FRAMES, files=1)
    with open_stack(f"{tmp_path}/scan0001/eiger_0000.h5::/entry_0000/measurement/data") as stack:
        assert stack.geometry.pixel_x_m == 7.5e-05


def test_lima2_knows_thresholds_and_the_beam(tmp_path: Path) -> None:
    both = np.stack([FRAMES, FRAMES + 1000], axis=1)
    bliss_dataset(tmp_path, {"1.1": both})
    file = tmp_path / "scan0001" / "eiger_0000.h5"
    with h5py.File(file, "r+") as h5:
        info = h5[f"{HOME}/detector_information"]
        del info["pixel_size"]
        for name, value in {
            "x_pixel_size": 1e-4,
            "y_pixel_size": 2e-4,
            "detector_distance": 0.3,
            "beam_center_x": 15.0,
            "beam_center_y": 0.0,
            "saturation_value": 30000,
        }.items():
            info[name] = value
        h5[f"{HOME}/beam/incident_wavelength"] = 0.5
    found = list(find_stacks(file))
    assert [info.url for info in found] == [f"{file}?path={HOME}/data&slice=:,{i}" for i in (0, 1)]
    with open_stack(found[1].url) as stack:
        known = stack.geometry
        np.testing.assert_array_equal(stack[1], FRAMES[1] + 1000)
    assert (known.pixel_x_m, known.pixel_y_m, known.distance_m) == (1e-4, 2e-4, 0.3)
    assert (known.beam_x_px, known.beam_y_px) == (14.5, None)
    assert (known.saturation_counts, known.wavelength_angstrom) == (30000, 0.5)


def finished(file: Path) -> bool:
    (claim,) = claims(Context(), str(file))
    assert claim.source.name == "lima"
    return claim.source.finished(Context(), str(file), claim.found)  # type: ignore[attr-defined, no-any-return]


def test_finished_is_what_has_all_its_frames_or_an_end(tmp_path: Path) -> None:
    bliss_scan(tmp_path, FRAMES, files=2, written=3)
    whole, begun = (tmp_path / "scan0001" / f"eiger_000{i}.h5" for i in (0, 1))
    assert (finished(whole), finished(begun)) == (True, False)
    with h5py.File(whole, "r+") as h5:
        h5[f"{HOME}/acquisition/nb_frames"][()] = 4  # the rest comes in the next file, or still in this one
    assert not finished(whole)
    for file in (whole, begun):
        with h5py.File(file, "r+") as h5:
            h5["entry_0000/end_time"] = "2026-03-01T12:01:00.000000+0100"
        assert finished(file)
