# SPDX-License-Identifier: MIT
"""Scans of bliss: which stacks there are, and what the file says of their geometry."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastlegacy.errors import UrlError
from fastlegacy.hdf5.files import Context
from fastlegacy.sources._facts import regular_steps
from fastlegacy.sources.find import claims, find_stacks, open_stack
from fastlegacy.testing.bliss import bliss_dataset, bliss_scan
from fastlegacy.testing.frames import counting_frames

FRAMES = counting_frames(5, (20, 30), "u4")
ROT = [10.0, 10.5, 11.0, 11.5, 12.0]


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "fastlegacy.sources" and r.levelno >= logging.WARNING]


def pixels(url: str) -> np.ndarray:
    file, _, path = url.partition("::")
    with h5py.File(file) as h5:
        return h5[path][()]


# ---------------------------------------------------------------------------------------------------- which stacks


def test_every_scan_and_sub_scan_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {name: FRAMES + i for i, name in enumerate(("1.1", "10.1", "2.1", "2.2"))})
    found = list(find_stacks(file))
    assert [info.url for info in found] == [f"{file}::/{n}/measurement/eiger" for n in ("1.1", "2.1", "2.2", "10.1")]
    assert {info.source for info in found} == {"bliss"}
    assert [info.why for info in found][1] == "scan 2.1, detector eiger, a scan of bliss"
    for info in found:
        with open_stack(info.url) as stack:
            np.testing.assert_array_equal(stack.read_frames(0, 5), pixels(info.url))


def test_a_file_with_one_scan_needs_no_path(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": ROT})
    with open_stack(file) as stack:
        assert stack.url == f"{file}::/1.1/measurement/eiger"
        assert stack.geometry.start_deg == 10.0


def test_a_file_with_several_scans_says_their_names(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES, "2.1": FRAMES})
    with pytest.raises(UrlError, match=r"holds 2 stacks \(/1\.1/measurement/eiger, /2\.1/measurement/eiger\)"):
        open_stack(file)


def test_two_detectors_and_one_that_is_in_the_instrument_only(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES})
    with h5py.File(file, "r+") as h5:
        h5["1.1/instrument/basler/data"] = FRAMES
        h5["1.1/measurement/frelon"] = FRAMES
        h5["1.1/measurement/mca"] = np.zeros((5, 64))
        h5["1.1/instrument/pilatus"] = h5py.ExternalLink("nothing.h5", "/x")
    paths = [info.url.partition("::")[2] for info in find_stacks(file)]
    assert paths == ["/1.1/measurement/eiger", "/1.1/measurement/frelon", "/1.1/instrument/basler/data"]


def test_scans_that_a_file_of_the_proposal_links_to(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path / "raw", {"1.1": FRAMES, "2.1": FRAMES}, moved={"rot": ROT})
    proposal = tmp_path / "proposal.h5"
    with h5py.File(proposal, "w") as h5:
        for scan in ("1.1", "2.1"):
            h5[f"sample_0001_{scan}"] = h5py.ExternalLink("raw/sample_0001.h5", scan)
    assert [info.why.split(",")[0] for info in find_stacks(proposal)] == [
        "scan sample_0001_1.1",
        "scan sample_0001_2.1",
    ]
    with open_stack(f"{proposal}::/sample_0001_2.1/measurement/eiger") as stack:
        assert stack.geometry.step_deg == 0.5
        assert stack.geometry.pixel_x_m == 7.5e-05
        np.testing.assert_array_equal(stack.read_frames(0, 5), pixels(f"{file}::/2.1/measurement/eiger"))


def test_thresholds_of_lima2_are_stacks_of_their_own(tmp_path: Path) -> None:
    both = np.stack([FRAMES, FRAMES + 1000], axis=1)
    file = bliss_dataset(tmp_path, {"1.1": both}, moved={"rot": ROT})
    found = list(find_stacks(file))
    assert [info.url for info in found] == [f"{file}?path=/1.1/measurement/eiger&slice=:,{i}" for i in (0, 1)]
    assert ["detector eiger_threshold_2" in info.why for info in found] == [False, True]
    with open_stack(found[1].url) as stack:
        np.testing.assert_array_equal(stack.read_frames(0, 5), FRAMES + 1000)
        assert stack.geometry.angles_deg == tuple(ROT)
    with open_stack(f"{file}::/1.1/measurement/eiger") as stack:
        assert stack.geometry.angles_deg == tuple(np.repeat(ROT, 2))
        assert (stack.geometry.start_deg, stack.geometry.step_deg) == (None, 0.5)


def test_unwritten_frames_are_told(tmp_path: Path) -> None:
    url = bliss_scan(tmp_path, FRAMES, files=2, frames_per_file=4, written=5)
    (info,) = find_stacks(url.partition("::")[0])
    assert (info.frames, info.frames_stored) == (8, 5)


# ---------------------------------------------------------------------------------------------------- geometry


def test_everything_that_bliss_and_lima_say(tmp_path: Path) -> None:
    file = bliss_dataset(
        tmp_path,
        {"1.1": FRAMES},
        moved={"rot": ROT},
        positions={"dty": 1.5, "energy": 43.5},
        units={"dty": "mm", "energy": "keV", "rot": "deg"},
        counters={"fpico6": [5, 4, 3, 2, 1], "short": [1, 2]},
    )
    with open_stack(f"{file}::/1.1/measurement/eiger") as stack:
        known = stack.geometry
    assert known.angles_deg == tuple(ROT)
    assert (known.start_deg, known.step_deg) == (10.0, 0.5)
    assert (known.pixel_x_m, known.pixel_y_m, known.exposure_s) == (7.5e-05, 7.5e-05, 0.01)
    assert (known.title, known.start_time) == ("fscan", "2026-03-01T12:00:00.000000+01:00")
    assert known.detector == "Dectris EIGER2 CdTe 4M"
    assert known.wavelength_angstrom == pytest.approx(12.398419843320026 / 43.5, rel=1e-15)
    assert known.motors == {"rot": tuple(ROT), "dty": 1.5, "energy": 43.5}
    assert known.counters == {"fpico6": (5.0, 4.0, 3.0, 2.0, 1.0)}
    assert (known.distance_m, known.beam_x_px, known.saturation_counts) == (None, None, None)
    lima = f"{tmp_path}/scan0001/eiger_0000.h5::/entry_0000/ESRF-ID11/eiger/detector_information"
    assert known.origin["pixel_x_m"] == f"{lima}/pixel_size/xsize"
    assert known.origin["exposure_s"] == f"{file}::/1.1/instrument/eiger/acq_parameters/acq_expo_time"
    assert known.origin["angles_deg"] == known.origin["start_deg"] == f"{file}::/1.1/measurement/rot"
    assert known.origin["wavelength_angstrom"] == f"{file}::/1.1/instrument/positioners/energy"
    assert known.origin["motors"] == f"{file}::/1.1/instrument/positioners"
    assert set(known.origin) == {
        name for name in type(known).__slots__ if name != "origin" and getattr(known, name) not in (None, {})
    }


@pytest.mark.parametrize("path", ["/1.1/measurement/eiger", "/1.1/instrument/eiger/data"])
def test_either_path_of_a_detector_has_the_geometry(tmp_path: Path, path: str) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": ROT})
    with open_stack(f"{file}::{path}") as stack:
        assert (stack.geometry.start_deg, stack.geometry.exposure_s) == (10.0, 0.01)


def test_the_middle_of_frames_gives_their_start(tmp_path: Path) -> None:
    middle, width = np.array(ROT) + 0.2, [0.4] * 5
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, counters={"rot_center": middle, "rot_delta": width})
    with open_stack(file) as stack:
        assert stack.geometry.angles_deg == tuple(ROT)
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, counters={"diffrz_center": middle})
    with open_stack(file) as stack:
        assert stack.geometry.angles_deg == pytest.approx(np.array(ROT) - 0.05)
        assert stack.geometry.step_deg == 0.5


@pytest.mark.parametrize(
    ("moved", "units", "start", "step"),
    [
        ({"diffrz": ROT}, {}, 10.0, 0.5),
        ({"omega": ROT[::-1]}, {}, 12.0, -0.5),
        ({"dty": [1, 2, 3, 4, 5], "rot": ROT}, {}, 10.0, 0.5),
        ({"huber": ROT}, {"huber": "deg"}, 10.0, 0.5),
        ({"huber": np.deg2rad(ROT)}, {"huber": "rad"}, pytest.approx(10.0), pytest.approx(0.5)),
        ({"dty": [1, 2, 3, 4, 5]}, {"dty": "mm"}, None, None),
        ({"dty": [1, 2, 3, 4, 5]}, {}, None, None),
        ({"rot": [7.0] * 5}, {}, None, None),
        ({"rot": [7.0] * 5, "omega": ROT}, {}, 10.0, 0.5),
        ({"rot": ROT[:3]}, {}, 10.0, 0.5),
        ({"rot": ROT[:1]}, {}, None, None),
        ({"rot": [359.0, 359.5, 360.0, 360.5, 361.0]}, {}, 359.0, 0.5),
    ],
)
def test_which_motor_turns(tmp_path: Path, moved: dict, units: dict, start: float | None, step: float | None) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved=moved, units=units)
    with open_stack(file) as stack:
        assert stack.geometry.start_deg == start
        assert stack.geometry.step_deg == step


def test_angles_that_are_not_regular_are_kept_one_by_one(tmp_path: Path) -> None:
    angles = [0.0, 1.0, 2.0, 90.0, 91.0]
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": angles})
    with open_stack(file) as stack:
        assert stack.geometry.angles_deg == tuple(angles)
        assert (stack.geometry.start_deg, stack.geometry.step_deg) == (None, 1.0)
        assert stack.geometry.origin["step_deg"] == f"{file}::/1.1/measurement/rot"
        assert stack.geometry.angle_deg(3) == 90.0


@pytest.mark.parametrize(
    ("selection", "frames"),
    [("1:4", [1, 2, 3]), ("::2", [0, 2, 4]), ("3", [3]), ("-2:", [3, 4]), ("2:4,5:,::2", [2, 3])],
)
def test_a_slice_has_the_angles_of_its_frames(tmp_path: Path, selection: str, frames: list[int]) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": ROT}, counters={"mon": [0, 1, 2, 3, 4]})
    with open_stack(f"{file}?path=/1.1/measurement/eiger&slice={selection}") as stack:
        known = stack.geometry
        assert len(stack) == len(frames)
        assert known.angles_deg == tuple(ROT[i] for i in frames)
        assert known.start_deg == ROT[frames[0]]
        assert known.step_deg == (0.5 if len(frames) == 1 else ROT[frames[1]] - ROT[frames[0]])
        assert known.counters == {"mon": tuple(map(float, frames))}
        assert known.pixel_x_m == (1.5e-4 if selection.endswith("::2") and "," in selection else 7.5e-5)


def test_a_stack_travels_with_its_geometry(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": ROT})
    with open_stack(file) as stack, pickle.loads(pickle.dumps(stack)) as other:
        assert other.geometry == stack.geometry
        np.testing.assert_array_equal(other[2], FRAMES[2])


def test_a_scan_without_an_end_is_not_finished(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES, "2.1": FRAMES}, running=["2.1"])
    found = claims(Context(), file)
    assert [claim.found.scan for claim in found] == ["1.1", "2.1"]
    assert [claim.source.finished(Context(), file, claim.found) for claim in found] == [True, False]  # type: ignore[attr-defined]


# ---------------------------------------------------------------------------------------------------- what is missing


def test_a_missing_file_of_lima_leaves_the_rest(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": ROT}, frames_per_file=2)
    (tmp_path / "scan0001" / "eiger_0000.h5").unlink()
    with open_stack(f"{file}::/1.1/measurement/eiger", missing="fill") as stack:
        assert (stack.geometry.start_deg, stack.geometry.exposure_s) == (10.0, 0.01)
        assert stack.geometry.pixel_x_m == 7.5e-05
        assert "eiger_0001.h5" in stack.geometry.origin["pixel_x_m"]


def test_what_cannot_be_read_is_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"rot": ROT})
    with h5py.File(file, "r+") as h5:
        del h5["1.1/instrument/eiger/acq_parameters/acq_expo_time"], h5["1.1/title"]
        h5["1.1/instrument/eiger/acq_parameters/acq_expo_time"] = "soon"
        h5["1.1/title"] = h5py.ExternalLink("nothing.h5", "/title")
    with open_stack(file) as stack:
        assert stack.geometry.title is None
        assert stack.geometry.exposure_s == 0.01  # as LImA says it
        assert stack.geometry.start_deg == 10.0
        np.testing.assert_array_equal(stack[4], FRAMES[4])
    (text,) = warned(caplog)
    assert "/1.1/title" in text
    assert "acq_expo_time is not a number" in text


def test_a_scan_without_anything_else_is_still_a_stack(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["3.1/measurement/det"] = FRAMES
        h5["x.1/measurement/det"] = FRAMES
        h5["4.1"] = 3
    with open_stack(tmp_path / "a.h5") as stack:
        assert stack.url.endswith("::/3.1/measurement/det")
        np.testing.assert_array_equal(stack[0], FRAMES[0])
    assert [info.source for info in find_stacks(tmp_path / "a.h5")] == ["bliss", "dataset"]
    assert warned(caplog) == []


def test_no_more_motors_and_counters_than_a_header_can_hold(tmp_path: Path) -> None:
    file = bliss_dataset(
        tmp_path,
        {"1.1": FRAMES},
        moved={"rot": ROT},
        positions={f"a{i}": float(i) for i in range(100)},
        counters={f"c{i}": [i] * 5 for i in range(100)},
    )
    with open_stack(file) as stack:
        assert (len(stack.geometry.motors), len(stack.geometry.counters)) == (64, 64)
        assert stack.geometry.motors["rot"] == tuple(ROT)


@given(
    st.floats(-720, 720),
    st.floats(0.001, 5) | st.floats(-5, -0.001),
    st.lists(st.floats(-0.04, 0.04), min_size=3, max_size=40),
)
def test_regular_angles_are_told_from_others(start: float, step: float, noise: list[float]) -> None:
    exact = start + step * np.arange(len(noise))
    noise[0] = noise[-1] = 0.0
    found = regular_steps(tuple(exact + step * np.array(noise)))
    assert found is not None
    assert found == (pytest.approx(start), pytest.approx(step, rel=1e-6))
    exact[1] += 0.2 * step
    assert regular_steps(tuple(exact)) is None


@pytest.mark.parametrize("angles", [(), (1.0,), (2.0, 2.0, 2.0)])
def test_no_step_is_made_up(angles: tuple[float, ...]) -> None:
    assert regular_steps(angles) is None
