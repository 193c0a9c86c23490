# SPDX-License-Identifier: MIT
"""The motor that the user names as the one that turns."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from fastlegacy.errors import UrlError
from fastlegacy.hdf5.files import Context
from fastlegacy.sources.find import open_stack
from fastlegacy.sources.rotation import rotation_in, rotation_of
from fastlegacy.testing.bliss import bliss_dataset
from fastlegacy.testing.frames import counting_frames

FRAMES = counting_frames(5, (4, 6), "u2")
ROT = [10.0, 10.5, 11.0, 11.5, 12.0]
TILT = [3.0, 4.0, 5.0, 6.0, 7.0]
PATH = "/1.1/measurement/eiger"


@pytest.fixture
def scan(tmp_path: Path) -> str:
    return bliss_dataset(
        tmp_path,
        {"1.1": FRAMES},
        moved={"rot": ROT, "tilt": TILT, "short": [1.0, 2.0, 3.0], "odd": [1.0, 2.0, 7.0], "still": [2.0] * 5},
        positions={"mu": 0.5},
        units={"tilt": "deg", "dty": "mm"},
        counters={"spin_center": np.array(TILT) + 0.5, "spin_delta": np.ones(5), "mon": [9, 8, 7, 6, 5]},
    )


@pytest.mark.parametrize(
    ("name", "angles", "start", "step", "where"),
    [
        ("tilt", TILT, 3.0, 1.0, "measurement/tilt"),
        ("rot", ROT, 10.0, 0.5, "measurement/rot"),
        ("spin", TILT, 3.0, 1.0, "measurement/spin_center"),
        ("mon", [9, 8, 7, 6, 5], 9.0, -1.0, "measurement/mon"),
        ("spin_center", np.array(TILT) + 0.5, 3.5, 1.0, "measurement/spin_center"),
    ],
)
def test_a_motor_or_counter_of_a_scan(
    scan: str, name: str, angles: list[float], start: float, step: float, where: str
) -> None:
    with open_stack(scan) as stack:
        found = rotation_of(stack, name)
    assert found.angles_deg == tuple(angles)
    assert (found.start_deg, found.step_deg) == (start, step)
    assert found.origin == dict.fromkeys(("angles_deg", "start_deg", "step_deg"), f"{scan}::/1.1/{where}")
    assert (found.motors, found.title) == ({}, None)


def test_fewer_positions_than_frames_go_on_as_they_began(scan: str) -> None:
    found = rotation_in(Context(), scan, PATH, "short")
    assert (found.angles_deg, found.start_deg, found.step_deg) == (None, 1.0, 1.0)


def test_a_slice_has_the_angles_of_its_frames(scan: str) -> None:
    with open_stack(f"{scan}?path={PATH}&slice=1::2") as stack:
        found = rotation_of(stack, "tilt")
    assert found.angles_deg == (4.0, 6.0)
    assert (found.start_deg, found.step_deg) == (4.0, 2.0)


def test_a_motor_that_is_among_the_positioners_only(scan: str) -> None:
    with h5py.File(scan, "r+") as h5:
        del h5["1.1/measurement/tilt"], h5["1.1/instrument/tilt"]
        h5["1.1/instrument/positioners/tilt"].attrs["units"] = "rad"
    found = rotation_in(Context(), scan, PATH, "tilt")
    assert found.angles_deg == pytest.approx(np.rad2deg(TILT))
    assert found.origin["angles_deg"] == f"{scan}::/1.1/instrument/positioners/tilt"


def test_units_that_stand_elsewhere_count(scan: str) -> None:
    """In `measurement` there are often none."""
    with h5py.File(scan, "r+") as h5:
        del h5["1.1/instrument/tilt/value"].attrs["units"]
        h5["1.1/instrument/positioners/tilt"].attrs["units"] = "mrad"
    found = rotation_in(Context(), scan, PATH, "tilt")
    assert found.angles_deg == pytest.approx(np.rad2deg(TILT) / 1000)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("omega", r"there is no motor or counter 'omega' in the scan 1\.1"),
        ("still", r"'still' did not move in the scan 1\.1"),
        ("mu", r"'mu' did not move"),
        ("odd", r"'odd' has 3 values for 5 frames"),
    ],
)
def test_what_does_not_turn_is_an_error_that_says_what_does(scan: str, name: str, message: str) -> None:
    with pytest.raises(UrlError, match=message) as caught:
        rotation_in(Context(), scan, PATH, name)
    assert caught.value.hint == "name one of those that change from frame to frame: mon, rot, spin_center, tilt"


def test_a_length_is_no_angle(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, moved={"dty": ROT}, units={"dty": "mm"})
    with pytest.raises(UrlError, match="'dty' is measured in 'mm', which is no angle"):
        rotation_in(Context(), file, PATH, "dty")


def test_nothing_moved_at_all(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES}, positions={"rot": 4.0})
    with pytest.raises(UrlError) as caught:
        rotation_in(Context(), file, PATH, "rot")
    assert caught.value.hint == "nothing moved in this scan"


def test_the_angle_of_the_only_frame(tmp_path: Path) -> None:
    file = bliss_dataset(tmp_path, {"1.1": FRAMES[:1]}, positions={"rot": 4.0})
    found = rotation_in(Context(), file, PATH, "rot")
    assert (found.angles_deg, found.start_deg, found.step_deg) == ((4.0,), None, None)


# ---------------------------------------------------------------------------------------------------- other conventions


@pytest.fixture
def entry(tmp_path: Path) -> str:
    file = str(tmp_path / "a.h5")
    with h5py.File(file, "w") as h5:
        h5["entry/data/data"] = FRAMES
        h5["entry/sample/transformations/phi"] = np.deg2rad(ROT)
        h5["entry/sample/transformations/phi"].attrs["units"] = "rad"
        h5["entry/sample/transformations/x"] = TILT
        h5["entry/sample/transformations/x"].attrs["units"] = "mm"
        h5["entry/sample/goniometer/omega"] = 7.0
        h5["entry/sample/goniometer/omega_increment"] = 0.25
        h5["entry/sample/goniometer/chi"] = 1.0
        h5["entry/sample/goniometer/kappa"] = [0.0, 1.0]
        h5["entry/elsewhere/angles"] = TILT
        h5["entry/title"] = "text"
    return file


@pytest.mark.parametrize(
    ("name", "angles", "start", "step", "where"),
    [
        ("phi", ROT, 10.0, 0.5, "/entry/sample/transformations/phi"),
        ("omega", None, 7.0, 0.25, "/entry/sample/goniometer/omega"),
        ("/entry/elsewhere/angles", TILT, 3.0, 1.0, "/entry/elsewhere/angles"),
        ("entry/sample/goniometer/omega", None, 7.0, 0.25, "/entry/sample/goniometer/omega"),
    ],
)
def test_a_name_beside_the_sample_or_a_path(
    entry: str, name: str, angles: list[float] | None, start: float, step: float, where: str
) -> None:
    with open_stack(entry, "/entry/data/data") as stack:
        found = rotation_of(stack, name)
    assert found.angles_deg == (None if angles is None else pytest.approx(angles))
    assert (found.start_deg, found.step_deg) == (pytest.approx(start), pytest.approx(step))
    assert found.origin["start_deg"] == f"{entry}::{where}"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("theta", "there is no 'theta'"),
        ("/entry/nothing", "there is no '/entry/nothing'"),
        ("chi", "'chi' does not turn"),
        ("kappa", "'kappa' has 2 values for 5 frames"),
        ("x", "'x' is measured in 'mm', which is no angle"),
        ("/entry/title", "'/entry/title' has no numbers"),
    ],
)
def test_no_such_axis(entry: str, name: str, message: str) -> None:
    with pytest.raises(UrlError, match=message) as caught:
        rotation_in(Context(), entry, "/entry/data/data", name)
    assert caught.value.hint == "name one of those that turn: phi, x, omega"


def test_blocks_have_the_angles_of_the_whole(tmp_path: Path) -> None:
    file = str(tmp_path / "m_master.h5")
    with h5py.File(file, "w") as h5:
        for i, first in enumerate((0, 3)):
            with h5py.File(tmp_path / f"m_data_00000{i + 1}.h5", "w") as data:
                data["entry/data/data"] = FRAMES[first : first + 3]
            h5[f"entry/data/data_00000{i + 1}"] = h5py.ExternalLink(f"m_data_00000{i + 1}.h5", "/entry/data/data")
        h5["entry/sample/goniometer/phi"] = TILT
    with open_stack(file) as stack:
        assert rotation_of(stack, "phi").angles_deg == tuple(TILT)
    with open_stack(file, "/entry/data/data_000002") as stack:
        assert rotation_of(stack, "phi").angles_deg == tuple(TILT[3:])
    with open_stack(f"{file}?path=/entry/data/data_000002&slice=1:") as stack:
        assert rotation_of(stack, "phi").angles_deg == (7.0,)
